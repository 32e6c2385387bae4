//! The limiter's book-keeping, phase by phase; what its rules achieve stands in `overloads`.

use std::time::Duration;

use proptest::prelude::*;

use super::{Limiter, Outcome, Permit, Refused, Settings};
use crate::{
    admission::limit::{Aimd, Gradient2, Limit, Vegas},
    moment::Moment,
};

const CALL: Duration = Duration::from_millis(10);

fn at_ms(ms: u64) -> Moment {
    Moment(ms * 1_000_000)
}

fn limiter(rule: Limit) -> Limiter {
    Limiter::new(rule, Settings::default(), 1, at_ms(0))
}

fn acquire(limiter: &mut Limiter, now: Moment) -> Vec<Permit> {
    std::iter::from_fn(|| limiter.try_acquire(now).ok()).collect()
}

/// Fills the limit every 10 ms, one caller more than is let in, and answers all with `outcome`.
fn rounds(limiter: &mut Limiter, from_ms: u64, until_ms: u64, outcome: Outcome) {
    for ms in (from_ms..until_ms).step_by(10) {
        for permit in acquire(limiter, at_ms(ms)) {
            limiter.release(at_ms(ms + 9), permit, outcome);
        }
    }
}

#[test]
fn as_many_as_the_limit_are_in_flight_and_not_one_more() {
    let mut limiter = limiter(Limit::Vegas(Vegas::default()));
    let mut permits = acquire(&mut limiter, at_ms(0));
    assert_eq!(
        (permits.len(), limiter.limit(), limiter.in_flight()),
        (20, 20, 20)
    );
    assert!(matches!(limiter.try_acquire(at_ms(1)), Err(Refused)));
    limiter.release(at_ms(1), permits.remove(0), Outcome::Ignored);
    assert!(limiter.try_acquire(at_ms(1)).is_ok());
    assert_eq!(limiter.refused_total, 2);
}

#[test]
fn limit_moves_at_the_end_of_a_window_and_not_before() {
    let mut limiter = limiter(Limit::Aimd(Aimd::default()));
    rounds(&mut limiter, 0, 100, Outcome::Done(CALL));
    assert_eq!(limiter.limit(), 20);
    rounds(&mut limiter, 100, 110, Outcome::Done(CALL));
    assert_eq!(limiter.limit(), 21);
}

#[test]
fn few_outcomes_prolong_the_window() {
    let mut limiter = limiter(Limit::Aimd(Aimd::default()));
    for second in 0..30 {
        assert_eq!(limiter.limit(), 20, "second {second}");
        let permits = acquire(&mut limiter, at_ms(second * 1_000));
        for (permit, outcome) in permits
            .into_iter()
            .zip([Outcome::Done(CALL)].into_iter().chain([Outcome::Ignored; 99]))
        {
            limiter.release(at_ms(second * 1_000 + 10), permit, outcome);
        }
    }
    assert_eq!(limiter.limit(), 21);
}

#[test]
fn dead_station_takes_the_limit_to_its_floor_and_a_live_one_brings_it_back() {
    for rule in [
        Limit::Gradient2(Gradient2::default()),
        Limit::Vegas(Vegas::default()),
        Limit::Aimd(Aimd::default()),
    ] {
        let mut limiter = limiter(rule);
        rounds(&mut limiter, 0, 20_000, Outcome::Dropped);
        assert!(limiter.limit() <= 3, "{}", limiter.limit());
        rounds(&mut limiter, 20_000, 30_000, Outcome::Done(CALL));
        assert!(limiter.limit() >= 20, "{}", limiter.limit());
    }
}

#[test]
fn one_drop_in_two_hundred_is_put_down_to_chance() {
    let mut limiter = limiter(Limit::Aimd(Aimd::default()));
    for ms in (0..110).step_by(10) {
        for (index, permit) in acquire(&mut limiter, at_ms(ms)).into_iter().enumerate() {
            let is_odd = ms == 50 && index == 0;
            let outcome = if is_odd {
                Outcome::Dropped
            } else {
                Outcome::Done(CALL)
            };
            limiter.release(at_ms(ms + 9), permit, outcome);
        }
    }
    assert_eq!(limiter.limit(), 21);
}

#[test]
fn limit_stays_within_floor_and_ceiling() {
    let settings = Settings {
        initial: 20,
        floor: 15,
        ceiling: 30,
        ..Settings::default()
    };
    let mut limiter = Limiter::new(Limit::Aimd(Aimd::default()), settings, 1, at_ms(0));
    rounds(&mut limiter, 0, 5_000, Outcome::Done(CALL));
    assert_eq!(limiter.limit(), 30);
    rounds(&mut limiter, 5_000, 10_000, Outcome::Dropped);
    assert_eq!(limiter.limit(), 15);
}

/// Runs up to the first probe; returns when it began.
fn until_probe(limiter: &mut Limiter, latency: Duration) -> u64 {
    for ms in (0..20_000).step_by(10) {
        rounds(limiter, ms, ms + 10, Outcome::Done(latency));
        if limiter.probes_total > 0 {
            return ms + 10;
        }
    }
    panic!("no probe within 20 s");
}

#[test]
fn probe_lets_a_quarter_in_and_its_latency_becomes_the_baseline() {
    let mut limiter = limiter(Limit::Vegas(Vegas::default()));
    let mut ms = until_probe(&mut limiter, CALL);
    let quarter = limiter.limit();
    let faster = CALL / 2;
    let mut asked = 0;
    while limiter.limit() == quarter {
        let permits = acquire(&mut limiter, at_ms(ms));
        assert!(permits.len() as u32 <= quarter);
        asked += permits.len();
        for permit in permits {
            limiter.release(at_ms(ms + 5), permit, Outcome::Done(faster));
        }
        ms += 10;
    }
    assert_eq!(asked as u32, (8 * quarter).max(30));
    let baseline = limiter.baseline().unwrap();
    assert!(baseline.abs_diff(faster) < faster / 15, "{baseline:?}");
    assert!(limiter.limit() >= quarter * 4);
}

#[test]
fn answers_to_calls_from_before_a_probe_do_not_count_for_it() {
    let mut limiter = limiter(Limit::Vegas(Vegas::default()));
    let mut permits = acquire(&mut limiter, at_ms(0));
    let held = permits.pop().unwrap();
    for permit in permits {
        limiter.release(at_ms(9), permit, Outcome::Done(CALL));
    }
    let ms = until_probe(&mut limiter, CALL);
    limiter.release(at_ms(ms), held, Outcome::Done(Duration::from_secs(50)));
    rounds(&mut limiter, ms, ms + 1_000, Outcome::Done(CALL));
    assert_eq!(limiter.probes_total, 1);
    let baseline = limiter.baseline().unwrap();
    assert!(baseline.abs_diff(CALL) < CALL / 15, "{baseline:?}");
}

#[test]
fn probe_that_gets_no_answer_is_given_up() {
    let mut limiter = limiter(Limit::Gradient2(Gradient2::default()));
    let ms = until_probe(&mut limiter, CALL);
    let quarter = limiter.limit();
    rounds(&mut limiter, ms, ms + 9_000, Outcome::Ignored);
    assert_eq!(limiter.limit(), quarter);
    rounds(&mut limiter, ms + 9_000, ms + 10_100, Outcome::Ignored);
    assert!(limiter.limit() >= quarter * 4);
}

#[test]
fn drops_during_a_probe_make_room_in_its_cohort_and_no_more() {
    let mut limiter = limiter(Limit::Vegas(Vegas::default()));
    let mut ms = until_probe(&mut limiter, CALL);
    let quarter = limiter.limit();
    // The last of the cohort stay out; hundreds admitted after them are dropped.
    let mut held = Vec::new();
    for _ in 0..200 {
        ms += 10;
        let mut permits = acquire(&mut limiter, at_ms(ms));
        if held.is_empty() {
            held.extend(permits.pop());
        }
        for permit in permits {
            limiter.release(at_ms(ms + 5), permit, Outcome::Dropped);
        }
    }
    assert_eq!(limiter.limit(), quarter);
    rounds(&mut limiter, ms + 10, ms + 2_000, Outcome::Done(CALL));
    assert!(limiter.limit() > quarter);
    for permit in held {
        limiter.release(at_ms(ms + 3_000), permit, Outcome::Dropped);
    }
    assert_eq!(limiter.in_flight(), 0);
}

#[test]
fn stall_of_half_a_minute_is_forgotten_within_two_seconds() {
    for rule in [
        Limit::Gradient2(Gradient2::default()),
        Limit::Vegas(Vegas::default()),
    ] {
        let mut limiter = limiter(rule);
        rounds(&mut limiter, 0, 5_000, Outcome::Done(CALL));
        rounds(&mut limiter, 5_000, 7_000, Outcome::Done(Duration::from_secs(30)));
        let stalled = limiter.limit();
        rounds(&mut limiter, 7_000, 9_000, Outcome::Done(CALL));
        assert!(limiter.limit() > stalled, "{stalled} {}", limiter.limit());
    }
}

#[test]
fn nobody_is_probed_for_while_nobody_is_refused() {
    let mut limiter = limiter(Limit::Vegas(Vegas::default()));
    for ms in (0..60_000).step_by(10) {
        let permit = limiter.try_acquire(at_ms(ms)).unwrap();
        limiter.release(at_ms(ms + 9), permit, Outcome::Done(CALL));
    }
    assert_eq!((limiter.probes_total, limiter.limit()), (0, 20));
}

#[test]
fn limiters_with_different_seeds_probe_at_different_times() {
    let begun: Vec<u64> = (0..8)
        .map(|seed| {
            let rule = Limit::Gradient2(Gradient2::default());
            let settings = Settings {
                probe_every: Duration::from_secs(80),
                ..Settings::default()
            };
            until_probe(&mut Limiter::new(rule, settings, seed, at_ms(0)), CALL)
        })
        .collect();
    assert!(
        begun.iter().all(|&ms| (5_000..=10_300).contains(&ms)),
        "{begun:?}"
    );
    assert!(begun.iter().any(|&ms| ms.abs_diff(begun[0]) > 1_000), "{begun:?}");
}

#[test]
fn pressure_rises_with_calls_in_flight_and_then_with_refusals() {
    let mut limiter = limiter(Limit::Aimd(Aimd::default()));
    assert_eq!(limiter.pressure().share(), 0.0);
    let half: Vec<Permit> = (0..10).map(|_| limiter.try_acquire(at_ms(0)).unwrap()).collect();
    assert!((limiter.pressure().share() - 0.45).abs() < 1e-9);
    for permit in half {
        limiter.release(at_ms(1), permit, Outcome::Ignored);
    }
    rounds(&mut limiter, 10, 200, Outcome::Done(CALL));
    // One caller in 21 was refused.
    assert!(
        (0.85..0.91).contains(&limiter.pressure().share()),
        "{}",
        limiter.pressure().share()
    );
}

#[test]
fn limiter_is_about_a_kibibyte() {
    assert!(size_of::<Limiter>() < 1_280, "{}", size_of::<Limiter>());
}

proptest! {
    #[test]
    fn books_balance_whatever_happens(
        kind in 0..3u8,
        steps in prop::collection::vec((0..40u64, 0..6u8, 0..8u8, 0..200u64), 1..1_500),
    ) {
        let rule = match kind {
            0 => Limit::Gradient2(Gradient2::default()),
            1 => Limit::Vegas(Vegas::default()),
            _ => Limit::Aimd(Aimd::default()),
        };
        let settings = Settings { probe_every: Duration::from_secs(1), ..Settings::default() };
        let mut limiter = Limiter::new(rule, settings.clone(), 1, at_ms(0));
        let mut permits: Vec<Permit> = Vec::new();
        let mut now_ms = 0;
        for (gap_ms, asks, answers, latency_ms) in steps {
            now_ms += gap_ms;
            for _ in 0..asks * 8 {
                let has_room = limiter.in_flight() < limiter.limit();
                let permit = limiter.try_acquire(at_ms(now_ms));
                prop_assert_eq!(permit.is_ok(), has_room);
                permits.extend(permit);
            }
            for index in 0..answers * 6 {
                if permits.is_empty() { break; }
                let permit = permits.swap_remove(latency_ms as usize % permits.len());
                let outcome = match index % 5 {
                    0 => Outcome::Dropped,
                    1 => Outcome::Ignored,
                    _ => Outcome::Done(Duration::from_millis(latency_ms)),
                };
                limiter.release(at_ms(now_ms), permit, outcome);
            }
            prop_assert_eq!(limiter.in_flight() as usize, permits.len());
            prop_assert!((1..=settings.ceiling).contains(&limiter.limit()));
            prop_assert!((0.0..=1.0).contains(&limiter.pressure().share()));
        }
    }
}

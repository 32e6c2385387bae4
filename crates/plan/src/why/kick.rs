//! Whether it comes back by itself after too much: the kick test for metastable failure.
//!
//! At the busiest load, held, a few minutes of more are published, then as before. A system that stays down although its
//! load is what it could carry before is metastable: retries and work for those who gave up keep it there (N. Bronson and
//! others, "Metastable Failures in Distributed Systems", HotOS 2021; L. Huang and others, OSDI 2022). Then the users are sent away
//! until it recovers, and how many may stay is found by halving.
//!
//! The fluid does not begin what nobody waits for any more, which is the very loop that is looked for: this is
//! simulated event by event, within a budget.

use serde::Serialize;

use crate::{
    engine,
    network::{Network, RandomFaults, TimedFault},
    outcome::{Minute, Outcome},
    plan::Fault,
};

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Kick {
    pub factor: f64,
    pub seconds: f64,
    /// Users who were there all the time.
    pub users: f64,
    /// It cannot carry them without any kick: then there is nothing to come back to.
    pub is_down_before: bool,
    /// Seconds after the kick's end; none if it did not come back while it was watched.
    pub recovers_after_s: Option<f64>,
    pub watched_s: f64,
    /// To so many users it must fall to recover, if it does not by itself; 0 if it does not even without any.
    pub users_to_recover: Option<f64>,
}

/// Calm before it, how long it is watched after it, and when users are sent away.
const BEFORE: f64 = 600.0;
const WATCHED: f64 = 1_800.0;
const SENT_AWAY_AFTER: f64 = 300.0;
const HALVINGS: u32 = 5;
/// What of a minute may be bad beyond what was so before, and how much longer a latency may be.
const BAD_MORE: f64 = 0.02;
const LATENCY_MORE: f64 = 2.0;
const LATENCY_LEAST: f64 = 0.02;

/// Kicks a network; none if nobody is there.
pub fn kick(network: &Network, factor: f64, seconds: f64, visits: f64) -> Option<Kick> {
    let users = network.users.iter().map(|&(_, users)| users).fold(0.0, f64::max);
    if users < 1.0 || !users.is_finite() {
        return None;
    }
    let seconds = if seconds.is_nan() {
        60.0
    } else {
        seconds.clamp(1.0, 1_800.0)
    };
    let factor = if factor.is_nan() {
        1.0
    } else {
        factor.clamp(1.0, 100.0)
    };
    let test = Test {
        network,
        users,
        factor,
        seconds,
        visits,
    };
    let outcome = test.run(1.0);
    let is_down_before = test.is_down_before(&outcome);
    let recovers_after_s = test.recovery(&outcome);
    let users_to_recover = (!is_down_before && recovers_after_s.is_none()).then(|| {
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..HALVINGS {
            let middle = (low + high) / 2.0;
            if test.recovery(&test.run(middle)).is_some() {
                low = middle;
            } else {
                high = middle;
            }
        }
        users * low
    });
    Some(Kick {
        factor,
        seconds,
        users,
        is_down_before,
        recovers_after_s,
        watched_s: WATCHED,
        users_to_recover,
    })
}

struct Test<'a> {
    network: &'a Network,
    users: f64,
    factor: f64,
    seconds: f64,
    visits: f64,
}

impl Test<'_> {
    /// The kick, and then a part of the users.
    fn run(&self, stays: f64) -> Outcome {
        let end = BEFORE + self.seconds;
        let mut kicked = self.network.clone();
        kicked.length = end + WATCHED;
        kicked.users = if stays < 1.0 {
            let away = end + SENT_AWAY_AFTER;
            let rest = self.users * stays;
            vec![
                (0.0, self.users),
                (away, self.users),
                (away + 60.0, rest),
                (kicked.length, rest),
            ]
        } else {
            vec![(0.0, self.users), (kicked.length, self.users)]
        };
        kicked.bursts.clear();
        kicked.random = RandomFaults::default();
        kicked.faults = vec![TimedFault {
            at: BEFORE,
            node: kicked.stations.first().map_or(0, |station| station.node),
            fault: Fault::Kick {
                factor: self.factor,
                seconds: self.seconds,
            },
        }];
        engine::hybrid::run(&kicked, 0, self.visits)
    }

    /// Of the calm minutes: the bad share, and the 95th percentile. The first ones fill the system.
    fn calm(&self, outcome: &Outcome) -> (f64, f64) {
        let minutes = (BEFORE / 60.0) as usize;
        let calm = outcome.minutes.iter().take(minutes).skip(2);
        calm.fold((0.0, 0.0_f64), |(bad, p95), minute| {
            (
                bad + bad_share(minute) / (minutes - 2) as f64,
                p95.max(minute.latency_s[1]),
            )
        })
    }

    fn is_down_before(&self, outcome: &Outcome) -> bool {
        self.calm(outcome).0 > 0.5
    }

    /// Seconds from the kick's end to the first minute from which on all is as before.
    fn recovery(&self, outcome: &Outcome) -> Option<f64> {
        let (bad, p95) = self.calm(outcome);
        let end = ((BEFORE + self.seconds) / 60.0) as usize;
        let after = outcome.minutes.get(end..)?;
        let is_slow = |minute: &Minute| minute.latency_s[1] > (p95 * LATENCY_MORE).max(p95 + LATENCY_LEAST);
        // One minute's percentile is of few events: three of four that are slow are not by chance.
        let stays_slow = |place: usize| {
            let around = after.iter().skip(place.saturating_sub(3)).take(4);
            is_slow(&after[place]) && around.filter(|minute| is_slow(minute)).count() >= 3
        };
        let last_ill = (0..after.len())
            .rev()
            .find(|&place| bad_share(&after[place]) > bad + BAD_MORE || stays_slow(place));
        match last_ill {
            None => Some(0.0),
            // Well for five minutes, or it was by chance.
            Some(last) if last + 5 < after.len() => Some((last + 1) as f64 * 60.0),
            Some(_) => None,
        }
    }
}

fn bad_share(minute: &Minute) -> f64 {
    let failed = minute.failed / minute.published.max(1.0);
    let bad = minute.bad_s / (minute.wanted * 60.0).max(1.0);
    failed.max(bad)
}

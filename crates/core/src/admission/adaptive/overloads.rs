//! What each rule makes of a station whose capacity is known: under half of it, all of it,
//! twice and five times of it, after an overload, and when the capacity changes. The names
//! of the tests say what holds, and what does not.

use std::time::Duration;

use super::station::{Seen, Spread, Stage, World};
use crate::admission::limit::{Aimd, Gradient2, Limit, Vegas};

/// How long a service takes, unless a story says otherwise.
const SERVICE_MS: f64 = 10.0;

/// The two rules that look for a queue.
fn seekers() -> [Limit; 2] {
    [
        Limit::Gradient2(Gradient2::default()),
        Limit::Vegas(Vegas::default()),
    ]
}

/// AIMD that is told which latency is too long: twice a service of 10 ms.
fn bounded_aimd() -> Limit {
    Limit::Aimd(Aimd {
        latency_max: Duration::from_millis(20),
        ..Aimd::default()
    })
}

fn stage(until_s: f64, load: f64, servers: usize) -> Stage {
    Stage {
        until_s,
        offered: load * capacity(servers, SERVICE_MS),
        servers,
        service_ms: SERVICE_MS,
    }
}

fn capacity(servers: usize, service_ms: f64) -> f64 {
    servers as f64 * 1e3 / service_ms
}

/// Half a minute under one load, of which the last 25 seconds are judged.
fn steady(rule: &Limit, spread: Spread, servers: usize, load: f64, seed: u64) -> Seen {
    World::new(rule.clone(), spread, &[stage(30.0, load, servers)], seed).run(5.0, 30.0)
}

#[test]
fn gradient2_and_vegas_keep_capacity_and_three_service_times_under_overload_from_four_servers_on() {
    for servers in [4, 16, 64] {
        for (load, seed) in [(2.0, 1), (2.0, 2), (5.0, 3), (5.0, 4)] {
            for rule in seekers() {
                let seen = steady(&rule, Spread::Narrow, servers, load, seed);
                let goodput = seen.goodput / capacity(servers, SERVICE_MS);
                assert!(
                    goodput > 0.95 && seen.p99_ms < 3.0 * SERVICE_MS,
                    "{servers} {rule:?} {seen:?}"
                );
            }
        }
    }
}

#[test]
fn vegas_keeps_the_shorter_queue() {
    for servers in [16, 64] {
        let [gradient2, vegas] = seekers().map(|rule| steady(&rule, Spread::Narrow, servers, 2.0, 1));
        assert!(
            vegas.p99_ms < 2.0 * SERVICE_MS && vegas.p99_ms < gradient2.p99_ms,
            "{vegas:?}"
        );
    }
}

#[test]
fn half_the_load_is_let_in_without_a_refusal_by_any_rule() {
    for servers in [4, 16, 64] {
        for rule in seekers().into_iter().chain([bounded_aimd()]) {
            let seen = steady(&rule, Spread::Narrow, servers, 0.5, 1);
            assert!(
                seen.refused < 0.001 && seen.p50_ms < 1.1 * SERVICE_MS,
                "{servers} {rule:?} {seen:?}"
            );
        }
    }
}

#[test]
fn at_the_brink_goodput_stays_but_p99_reaches_three_and_a_half_service_times() {
    for servers in [16, 64] {
        for (rule, seed) in seekers().into_iter().chain([bounded_aimd()]).zip(1..) {
            let seen = steady(&rule, Spread::Narrow, servers, 1.0, seed);
            let goodput = seen.goodput / capacity(servers, SERVICE_MS);
            assert!(
                goodput > 0.9 && seen.p99_ms < 3.5 * SERVICE_MS,
                "{servers} {rule:?} {seen:?}"
            );
        }
    }
}

#[test]
fn single_server_keeps_capacity_but_calls_last_five_services_by_gradient2_and_seven_by_vegas() {
    for (rule, services) in seekers().into_iter().zip([5.0, 7.0]) {
        let world = &mut World::new(rule.clone(), Spread::Narrow, &[stage(60.0, 2.0, 1)], 1);
        let seen = world.run(30.0, 60.0);
        assert!(
            seen.goodput > 95.0 && seen.p99_ms < services * SERVICE_MS,
            "{rule:?} {seen:?}"
        );
    }
}

#[test]
fn irregular_services_cost_gradient2_a_tenth_and_vegas_a_fifth_of_capacity() {
    // The slowest hundredth of exponential services takes 4.6 times the mean by itself.
    let unloaded_p99_ms = 46.0;
    for (rule, goodput_min) in seekers().into_iter().zip([0.9, 0.8]) {
        for (servers, load) in [(16, 2.0), (16, 5.0), (64, 2.0), (64, 5.0)] {
            for seed in 1..4 {
                let seen = steady(&rule, Spread::Exponential, servers, load, seed);
                let goodput = seen.goodput / capacity(servers, SERVICE_MS);
                assert!(
                    goodput > goodput_min && seen.p99_ms < 1.3 * unloaded_p99_ms,
                    "{servers} {seed} {rule:?} {seen:?}"
                );
            }
        }
    }
}

#[test]
fn after_an_overload_nobody_is_refused_and_nobody_waits_within_two_seconds() {
    for servers in [4, 16, 64] {
        for rule in seekers().into_iter().chain([bounded_aimd()]) {
            let stages = [stage(10.0, 5.0, servers), stage(20.0, 0.5, servers)];
            let mut world = World::new(rule.clone(), Spread::Narrow, &stages, 1);
            world.run(0.0, 12.0);
            let seen = world.run(12.0, 20.0);
            assert!(
                seen.refused == 0.0 && seen.p50_ms < 1.1 * SERVICE_MS && seen.p99_ms < 2.0 * SERVICE_MS,
                "{servers} {rule:?} {seen:?}"
            );
        }
    }
}

#[test]
fn gradient2_and_vegas_follow_a_capacity_that_halves_or_doubles_under_overload() {
    let changes = [(8, 10.0), (32, 10.0), (16, 20.0), (16, 5.0)];
    for (servers, service_ms) in changes {
        for (rule, seed) in seekers().into_iter().zip(1..) {
            let before = stage(20.0, 5.0, 16);
            let after = Stage {
                until_s: 45.0,
                servers,
                service_ms,
                ..before
            };
            let mut world = World::new(rule.clone(), Spread::Narrow, &[before, after], seed);
            world.run(0.0, 25.0);
            let seen = world.run(25.0, 45.0);
            let goodput = seen.goodput / capacity(servers, service_ms);
            assert!(
                goodput > 0.9 && seen.p99_ms < 3.0 * service_ms,
                "{servers} {service_ms} {rule:?} {seen:?}"
            );
        }
    }
}

#[test]
fn aimd_holds_the_latency_it_is_told_and_no_other() {
    for load in [2.0, 5.0] {
        let told = steady(&bounded_aimd(), Spread::Narrow, 16, load, 1);
        assert!(
            told.goodput > 0.95 * 1_600.0 && told.p99_ms < 3.0 * SERVICE_MS,
            "{told:?}"
        );
        // Not told, it grows for as long as nothing is dropped: to 5 s of queue or the ceiling.
        let untold = steady(&Limit::Aimd(Aimd::default()), Spread::Narrow, 16, load, 1);
        assert!(
            untold.goodput > 0.95 * 1_600.0 && untold.p99_ms > 10.0 * SERVICE_MS,
            "{untold:?}"
        );
    }
}

#[test]
fn aimd_told_a_latency_below_one_service_starves() {
    let before = stage(20.0, 5.0, 16);
    let slower = Stage {
        until_s: 45.0,
        service_ms: 21.0,
        ..before
    };
    let mut world = World::new(bounded_aimd(), Spread::Narrow, &[before, slower], 1);
    world.run(0.0, 25.0);
    let seen = world.run(25.0, 45.0);
    assert!(seen.goodput < 0.5 * capacity(16, 21.0), "{seen:?}");
}

#[test]
fn one_seed_twice_is_the_same_story() {
    let [first, second] = [(); 2].map(|()| {
        let rule = Limit::Vegas(Vegas::default());
        let mut world = World::new(rule, Spread::Exponential, &[stage(10.0, 2.0, 16)], 7);
        world.run(0.0, 10.0);
        world.answers
    });
    assert!(first == second);
}

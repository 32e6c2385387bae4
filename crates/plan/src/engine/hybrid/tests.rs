//! Hybrid says what exact says, within what chance does to both, for a part of the visits.

use super::*;
use crate::{
    engine::exact::{
        self,
        tests::{queue, stack, troubled},
    },
    network::Law,
    outcome::Outcome,
};

/// Mean of a figure over replications, and its standard error.
fn over_replications(runs: &[Outcome], figure: &dyn Fn(&Outcome) -> f64) -> (f64, f64) {
    let len = runs.len() as f64;
    let mean = runs.iter().map(figure).sum::<f64>() / len;
    let variance = runs
        .iter()
        .map(|run| (figure(run) - mean) * (figure(run) - mean))
        .sum::<f64>()
        / (len - 1.0);
    (mean, libm::sqrt(variance / len))
}

/// A name, the figure, and what of it may differ by the making: places of histograms, warm-ups.
type Figure = (&'static str, fn(&Outcome) -> f64, f64);

const FIGURES: [Figure; 8] = [
    ("p50", |run| run.latency(None, 0.5).unwrap(), 0.01),
    ("p95", |run| run.latency(None, 0.95).unwrap(), 0.015),
    ("p99", |run| run.latency(None, 0.99).unwrap(), 0.02),
    ("published", |run| run.classes[0].published, 0.005),
    ("delivered", |run| run.classes[0].delivered, 0.01),
    ("busy", |run| run.stations.last().unwrap().busy_share, 0.02),
    ("away", |run| run.bad.disconnected_s, 0.02),
    ("egress", |run| run.usage.egress_bytes, 0.01),
];

fn assert_agrees(network: &Network, replications: u32, share: f64) {
    let exact: Vec<Outcome> = (0..replications)
        .map(|replication| exact::run(network, replication))
        .collect();
    let budget = exact[0].visits * share;
    let hybrid: Vec<Outcome> = (0..replications)
        .map(|replication| run(network, replication, budget))
        .collect();
    let spent = hybrid[0].visits / exact[0].visits;
    assert!(spent < share * 1.3 + 0.02, "{spent} of the visits for {share}");
    assert!(hybrid[0].sampled_share < 1.0);
    for (name, figure, making) in FIGURES {
        let (of_exact, exact_error) = over_replications(&exact, &figure);
        let (of_hybrid, hybrid_error) = over_replications(&hybrid, &figure);
        let error = libm::sqrt(exact_error * exact_error + hybrid_error * hybrid_error);
        let apart = (of_hybrid - of_exact).abs();
        assert!(
            apart <= 3.5 * error + making * of_exact,
            "{name}: exact {of_exact} ± {exact_error}, hybrid {of_hybrid} ± {hybrid_error}, {spent} of the visits"
        );
    }
}

#[test]
fn a_calm_day_needs_a_tenth_of_the_visits() {
    let mut network = stack(3_600.0);
    network.users = vec![(0.0, 100.0), (1_800.0, 300.0), (3_600.0, 100.0)];
    assert_agrees(&network, 6, 0.15);
}

#[test]
fn trouble_is_followed_and_the_rest_is_sampled() {
    let mut network = troubled(3_600.0);
    network.users = vec![(0.0, 200.0), (3_600.0, 200.0)];
    assert_agrees(&network, 6, 0.5);
}

#[test]
fn a_station_that_is_nearly_full_is_simulated_in_part_and_loaded_by_the_rest() {
    let network = queue(4, 0.9, Law::Exponential { mean: 0.01 }, 900.0);
    assert_agrees(&network, 8, 0.5);
}

#[test]
fn who_can_pay_for_all_gets_all() {
    let network = troubled(600.0);
    let all = run(&network, 0, 1e12);
    assert_eq!(all.sampled_share, 1.0);
    let exact = exact::run(&network, 0);
    assert_eq!(
        serde_json::to_string(&all.classes).unwrap(),
        serde_json::to_string(&exact.classes).unwrap()
    );
}

#[test]
fn any_budget_is_a_budget() {
    let network = stack(120.0);
    for budget in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(run(&network, 0, budget).classes[0].published > 0.0, "{budget}");
    }
}

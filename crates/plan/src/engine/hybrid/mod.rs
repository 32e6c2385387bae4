//! Hybrid: all of what carries over from one moment to the next, and a sample of the calm rest.
//!
//! A budget of station visits is spent on windows of ten seconds. Those that must be followed come first: a station
//! nearly full, waiting, a failure, a deploy, a machine that boots, and the recovery. What is left goes to calm windows by
//! what they tell (J. Neyman, 1934: as many of a kind as it has, times how much it varies), none with less than a
//! hundredth; each stands for as many as its chance says. If what must be followed is more than the budget, a
//! part of its publications is simulated and the others load the stations.

use super::exact::{Expected, Run, Unlike, Windows};
use crate::{network::Network, outcome::Outcome};

/// A calm window's least chance.
const CHANCE_MIN: f64 = 0.01;
/// A second of warm-up for a window of ten.
const WARM_UP: f64 = 1.1;
/// Of the budget, what connects leave to publications at least.
const LEAST: f64 = 0.25;
/// Events for each visit of the budget at most, and for storms on top: what cannot be left out may take as much again.
/// What needs more is cut.
const EVENTS_A_VISIT: f64 = 2.0;
const EVENTS: f64 = 3e6;
/// Of the budget, what is kept for trouble that nobody foresaw.
const RESERVE: f64 = 0.25;

/// Simulates a network with about so many station visits.
pub fn run(network: &Network, replication: u32, visits_budget: f64) -> Outcome {
    begin(network, replication, visits_budget).finish()
}

/// A run at its beginning, to be cloned and changed on its way.
pub fn begin(network: &Network, replication: u32, visits_budget: f64) -> Run {
    Run::sampled(network, replication, |expected| plan(expected, visits_budget))
}

/// Lets such a run go on as another network, with windows by what is expected of that.
///
/// # Errors
/// If the network has another shape: see [`Run::change`].
pub fn change(run: &mut Run, network: &Network, visits_budget: f64) -> Result<(), Unlike> {
    run.change_sampled(network, |expected| plan(expected, visits_budget))
}

/// Which windows are simulated, by what is expected of them.
fn plan(expected: &[Expected], budget: f64) -> Windows {
    let budget = if budget.is_nan() { 0.0 } else { budget.max(0.0) };
    let visits =
        |windows: &mut dyn Iterator<Item = &Expected>| windows.map(|window| window.visits).sum::<f64>();
    let all = visits(&mut expected.iter());
    // Who comes, comes; something is always left for what they send.
    let connects = expected.iter().map(|window| window.connects).sum::<f64>();
    let allowed = EVENTS + (budget + connects) * EVENTS_A_VISIT;
    let budget = (budget - connects).max(budget * LEAST);
    let must = visits(&mut expected.iter().filter(|window| window.carries_over));
    if all <= budget {
        return Windows {
            chances: vec![1.0; expected.len()],
            thin: 1.0,
            budget: f64::INFINITY,
            reserve: 0.0,
            events_max: f64::INFINITY,
        };
    }
    let spendable = budget * (1.0 - RESERVE);
    let thin = (spendable / must.max(1.0)).min(1.0);
    let left = (spendable - must * thin).max(0.0);
    // Waits vary as the load grows towards what a station can do.
    let tells: Vec<f64> = expected
        .iter()
        .map(|window| window.publications * (0.05 + window.load / (1.0 - window.load.min(0.95))))
        .collect();
    let chance = |place: usize, each: f64| {
        if expected[place].carries_over {
            1.0
        } else {
            (tells[place] * each).clamp(CHANCE_MIN, 1.0)
        }
    };
    let cost = |each: f64| -> f64 {
        let calm = (0..expected.len()).filter(|&place| !expected[place].carries_over);
        calm.map(|place| chance(place, each) * expected[place].visits * WARM_UP)
            .sum()
    };
    let (mut low, mut high) = (0.0, 1.0 / tells.iter().copied().fold(1e-9, f64::max) * 1e3);
    for _ in 0..50 {
        let each = (low + high) / 2.0;
        if cost(each) > left {
            high = each
        } else {
            low = each
        }
    }
    Windows {
        chances: (0..expected.len()).map(|place| chance(place, low)).collect(),
        thin,
        budget,
        reserve: budget * RESERVE,
        events_max: allowed,
    }
}

#[cfg(test)]
mod tests;

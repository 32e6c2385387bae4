//! The design one regrets least, whatever the inputs turn out to be.
//!
//! Users, what they send and what work costs are not known before the launch. Worlds are drawn in which they
//! differ from the plan; in each, every design of the frontier holds or breaks. Its *regret* there is what it costs
//! above the cheapest that holds in that world; of a design that breaks, a month's budget besides, which
//! stands for the harm (assumed: nobody's contract says it). The design whose worst regret is least is told
//! (L. Savage, "The Theory of Statistical Decision", 1951).

use serde::Serialize;

use super::{Design, loaded, trial::Trial};
use crate::{
    draw::{Key, Purpose, Stream},
    plan::{Failure, Fault, Plan},
    price::Book,
};

/// Ranges of what is not known, as factors of what the plan says, each even on a logarithmic scale: assumed.
const USERS: (f64, f64) = (0.7, 1.5);
const RATES: (f64, f64) = (0.7, 1.4);
const WORK: (f64, f64) = (1.0, 1.6);

/// See the module.
#[derive(Debug, Clone, Serialize)]
pub struct Steadiest {
    /// Of the frontier.
    pub design: usize,
    /// Money a month, in the worst of the worlds.
    pub regret: f64,
    /// Of each design of the frontier: its worst regret, and the share of the worlds in which it holds.
    pub of_each: Vec<(f64, f64)>,
    pub worlds: u32,
}

/// None if there is nothing to choose.
pub(super) fn steadiest(plan: &Plan, book: &Book, frontier: &[Design], worlds: u32) -> Option<Steadiest> {
    if frontier.len() < 2 || worlds == 0 {
        return None;
    }
    let mut worst = vec![0.0_f64; frontier.len()];
    let mut held = vec![0_u32; frontier.len()];
    for world in 0..worlds {
        let key = Key {
            seed: plan.seed,
            replication: world,
            entity: 0,
            purpose: Purpose::Parameter,
        };
        let mut stream = Stream::new(key);
        let [users, rates, work] = [USERS, RATES, WORK].map(|range| within(range, stream.unit()));
        let tried: Vec<Option<Trial>> = frontier
            .iter()
            .map(|design| Trial::of(&in_world(&design.plan, users, rates, work), book))
            .collect();
        let holds = |trial: &Option<Trial>| trial.as_ref().is_some_and(|trial| trial.holds(0.0));
        let monthly = |trial: &Option<Trial>| trial.as_ref().map_or(0.0, |trial| trial.monthly);
        let cheapest = tried.iter().filter(|trial| holds(trial)).map(monthly);
        let cheapest = cheapest.fold(f64::INFINITY, f64::min);
        // Where none holds they differ by their price alone.
        let least = match cheapest.is_finite() {
            true => cheapest,
            false => tried.iter().map(monthly).fold(f64::INFINITY, f64::min),
        };
        for (place, trial) in tried.iter().enumerate() {
            let harm = if holds(trial) { 0.0 } else { plan.contract.budget };
            held[place] += u32::from(holds(trial));
            worst[place] = worst[place].max(monthly(trial) - least + harm);
        }
    }
    let design = (0..worst.len()).min_by(|a, b| worst[*a].total_cmp(&worst[*b]))?;
    Some(Steadiest {
        design,
        regret: worst[design],
        of_each: worst
            .into_iter()
            .zip(held)
            .map(|(worst, held)| (worst, f64::from(held) / f64::from(worlds)))
            .collect(),
        worlds,
    })
}

fn within((low, high): (f64, f64), share: f64) -> f64 {
    low * libm::exp(share * libm::log(high / low))
}

/// The plan where there are so many times the users, the publications of each, and the time of all work.
fn in_world(plan: &Plan, users: f64, rates: f64, work: f64) -> Plan {
    let mut plan = loaded(plan, users);
    for class in &mut plan.scenario.classes {
        class.rate *= rates;
    }
    let slow = plan.topology.nodes.iter().map(|node| Failure {
        at_hour: 0.0,
        node: node.id.clone(),
        what: Fault::Slow {
            factor: work,
            seconds: plan.scenario.hours * 3_600.0,
        },
    });
    plan.failures.scheduled.extend(slow);
    plan
}

//! A contract clause by clause, held against one outcome.
//!
//! What a run says, not a verdict: whether it holds by chance or for sure is for replications to tell.

use serde::Serialize;
use tidegate_plan::{Outcome, Plan};

/// What was promised, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Clause {
    pub what: What,
    /// Of all classes if none.
    pub class: Option<String>,
    /// Of a latency.
    pub percentile: Option<f64>,
    pub promised: f64,
    /// None if there was nothing to measure.
    pub measured: Option<f64>,
    pub is_kept: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A share; at least.
    Uptime,
    /// Seconds; at most.
    Latency,
    /// Money a month; at most.
    Budget,
    /// A share of the deliveries; at most.
    Loss,
    /// Seconds in which 95 % of those who were cut off are back; at most.
    Reconnect,
}

/// All clauses, in the order a contract is read. `monthly` is the bill; without one, nothing is said about the budget.
pub fn clauses(plan: &Plan, outcome: &Outcome, monthly: Option<f64>) -> Vec<Clause> {
    let contract = &plan.contract;
    let uptime = outcome.uptime(contract.weigh);
    let mut clauses = vec![Clause {
        what: What::Uptime,
        class: None,
        percentile: None,
        promised: contract.uptime,
        measured: Some(uptime),
        is_kept: uptime >= contract.uptime,
    }];
    for target in &contract.latency {
        let measured = outcome.latency(target.class.as_deref(), target.percentile);
        clauses.push(Clause {
            class: target.class.clone(),
            percentile: Some(target.percentile),
            ..at_most(What::Latency, target.within, measured)
        });
    }
    if monthly.is_some() {
        clauses.push(at_most(What::Budget, contract.budget, monthly));
    }
    if let Some(loss) = contract.loss {
        let delivered: f64 = outcome.classes.iter().map(|class| class.delivered).sum();
        let lost: f64 = outcome.classes.iter().map(|class| class.lost).sum();
        let measured = (delivered + lost > 0.0).then(|| lost / (delivered + lost));
        clauses.push(at_most(What::Loss, loss, measured));
    }
    if let Some(reconnect) = contract.reconnect {
        clauses.push(at_most(
            What::Reconnect,
            reconnect,
            outcome.reconnect_s.quantile(0.95),
        ));
    }
    clauses
}

/// What was not measured breaks nothing: nobody was cut off, nothing was sent.
fn at_most(what: What, promised: f64, measured: Option<f64>) -> Clause {
    Clause {
        what,
        class: None,
        percentile: None,
        promised,
        measured,
        is_kept: measured.is_none_or(|measured| measured <= promised),
    }
}

//! One design, tried: what it costs, and how far it is from breaking or from keeping its contract.
//!
//! The fluid model answers in milliseconds and may be wrong by a little, so a search asks it, and what it
//! finds is confirmed event by event.

use serde::Serialize;

use crate::{
    compile, engine,
    judge::{Promise, What},
    network::Network,
    outcome::Outcome,
    plan::Plan,
    price::{self, Book},
};

/// Counted for a clause of which nothing could be measured although something was sent.
const UNMEASURED: f64 = 10.0;

/// A clause, and what a design comes to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    #[serde(flatten)]
    pub promise: Promise,
    /// None if there was nothing to measure.
    pub measured: Option<f64>,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    pub(super) monthly: f64,
    /// All but the budget.
    pub(super) clauses: Vec<Measured>,
    /// By how much the worst clause is above its limit, of the limit; negative below.
    pub(super) worst: f64,
    /// All clauses that break together: what a search goes down along.
    pub(super) excess: f64,
}

impl Trial {
    /// None if the design cannot be built or priced.
    pub(super) fn of(plan: &Plan, book: &Book) -> Option<Self> {
        let network = compile::compile(plan).ok()?;
        let outcome = engine::fluid::run(&network);
        let monthly = price::bill(plan, &network, book, &outcome).ok()?.total;
        let promises = Promise::all_of(plan).into_iter();
        let clauses: Vec<Measured> = promises
            .filter(|promise| promise.what != What::Budget)
            .map(|promise| Measured {
                measured: promise.measure(plan, &outcome, None),
                promise,
            })
            .collect();
        let over: Vec<f64> = clauses.iter().map(over).collect();
        Some(Self {
            monthly,
            worst: over.iter().copied().fold(-1.0, f64::max),
            excess: over.iter().map(|over| libm::log1p(over.max(0.0))).sum(),
            clauses,
        })
    }

    /// Every clause is kept, with a share of its limit to spare.
    pub(super) fn holds(&self, guard: f64) -> bool {
        self.worst <= -guard
    }

    /// The clause that is furthest beyond its limit, or nearest to it.
    pub(super) fn worst_clause(&self) -> Option<&Measured> {
        self.clauses.iter().max_by(|a, b| over(a).total_cmp(&over(b)))
    }
}

/// What a design is used for, without which machines do it.
#[derive(Debug, Clone)]
pub(super) struct Usage {
    network: Network,
    outcome: Outcome,
}

impl Usage {
    /// None if the design cannot be built.
    pub(super) fn of(plan: &Plan) -> Option<Self> {
        let network = compile::compile(plan).ok()?;
        let outcome = Outcome {
            stations: Vec::new(),
            ..engine::fluid::run(&network)
        };
        Some(Self { network, outcome })
    }

    /// What another design costs a month that is used the same, with the machines it has at first.
    pub(super) fn price(&self, plan: &Plan, book: &Book) -> Option<f64> {
        let bill = price::bill(plan, &self.network, book, &self.outcome);
        bill.ok().map(|bill| bill.total)
    }
}

/// What was measured above what was promised, as a share of that; of an uptime, of what may be bad.
pub(super) fn over(clause: &Measured) -> f64 {
    let Some(measured) = clause.measured else {
        return if clause.promise.what == What::Latency {
            UNMEASURED
        } else {
            -1.0
        };
    };
    let (measured, allowed) = match clause.promise.what {
        What::Uptime => (1.0 - measured, 1.0 - clause.promise.promised),
        _ => (measured, clause.promise.promised),
    };
    if allowed <= 0.0 {
        return if measured <= 0.0 { 0.0 } else { UNMEASURED };
    }
    measured / allowed - 1.0
}

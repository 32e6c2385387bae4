//! Makes a failing plan small: leaves out actions, first many at once, then one by one, as
//! long as the same promise is still broken.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{
    checks::Violation,
    mutation::Mutation,
    plan::Plan,
    world::{Outcome, run},
};

/// Runs tried at most.
const RUNS_MAX: usize = 600;

/// Runs a plan; a panic is a violation, too (where the build unwinds).
pub fn try_run(plan: &Plan, mutation: Option<Mutation>, wants_lines: bool) -> Outcome {
    let outcome = catch_unwind(AssertUnwindSafe(|| run(plan, mutation, wants_lines)));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let violation = Violation {
            check: "panic",
            detail: text.unwrap_or_default(),
        };
        Outcome {
            violation: Some(violation),
            ..Outcome::default()
        }
    })
}

/// Returns the smallest plan found that breaks the same promise.
pub fn shrink(plan: &Plan, mutation: Option<Mutation>, check: &'static str) -> Plan {
    let mut best = plan.clone();
    let mut runs = 0;
    let mut chunk = (best.actions.len() / 2).max(1);
    loop {
        let mut at = 0;
        let mut has_shrunk = false;
        while at < best.actions.len() && runs < RUNS_MAX {
            let mut candidate = best.clone();
            let end = (at + chunk).min(candidate.actions.len());
            candidate.actions.drain(at..end);
            runs += 1;
            let outcome = try_run(&candidate, mutation, false);
            if outcome
                .violation
                .is_some_and(|violation| violation.check == check)
            {
                best = candidate;
                has_shrunk = true;
            } else {
                at = end;
            }
        }
        if runs >= RUNS_MAX || (chunk == 1 && !has_shrunk) {
            return best;
        }
        chunk = (chunk / 2).max(1);
    }
}

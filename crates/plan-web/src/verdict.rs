//! Whether a text's plan keeps its contract, as the command line says it: the same judge, the same runs.
//!
//! It takes seconds, so it tells after each run how far it is and how each clause stands by then, and shows the first
//! run as soon as there is one.

use serde::{Deserialize, Serialize};
use tidegate_plan::{
    Plan, file,
    judge::{Clause, Effort, Fidelity, Judge, Judgement},
    outcome::Outcome,
};

use crate::{
    Failed, Tell, Told,
    fork::{Forked, Forks, Kept},
    run::{self, Run},
};

/// What is to be judged, and how closely: as the command line does if it is not said.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Asked {
    pub text: String,
    #[serde(default)]
    pub effort: Effort,
    /// The plan that is gone on from, and compared with.
    #[serde(default)]
    pub from: Option<Kept>,
}

/// How far it is.
#[derive(Debug, Serialize)]
pub struct Judging {
    runs: u32,
    /// As far as is known by now.
    wanted: u32,
    clauses: Vec<Clause>,
    /// The first run, when it is made.
    run: Option<Box<Run>>,
}

/// A plan and what was found of it.
#[derive(Debug, Clone)]
pub struct Judged {
    pub plan: Plan,
    pub judgement: Judgement,
    /// The first runs, each on its own.
    pub first: Vec<Outcome>,
    pub forked: Option<Forked>,
}

/// Runs whose minutes are accounted for: as many as pairs prove a cause.
const FIRST_RUNS: usize = 4;

/// Judges a text's plan.
pub fn judge(asked: &Asked, tell: Tell<'_>) -> Result<Judged, Failed> {
    let plan = file::parse(&asked.text).map_err(Failed::of_file)?;
    let mut judge = Judge::new(&plan, &asked.effort).map_err(|refused| Failed::of(refused.to_string()))?;
    let mut forks = match &asked.from {
        Some(kept) => Some(Forks::new(kept, &plan, &judge, &asked.effort)?),
        None => None,
    };
    let mut first: Vec<Outcome> = Vec::new();
    while !judge.is_done() {
        let number = judge.runs();
        let outcome = match &mut forks {
            Some(forks) => forks.replicate(&judge, number),
            None => judge.replicate(number),
        };
        if first.len() < FIRST_RUNS {
            first.push(outcome.clone());
        }
        judge.take(number, outcome);
        if !judge.is_done() {
            let so_far = judge.judgement();
            let clauses = run::shown(so_far.clauses.clone());
            let forked = forks.as_ref().map(Forks::forked);
            let run = (number == 0).then(|| Box::new(Run::of(&plan, so_far, &first, forked)));
            tell(&Told::Judging(Judging {
                runs: judge.runs(),
                wanted: judge.wanted(),
                clauses,
                run,
            }));
        }
    }
    let judgement = match asked.effort.fidelity {
        // What would settle a clause takes a while; a slider has to follow at once.
        Fidelity::Fluid => judge.judgement(),
        Fidelity::Hybrid | Fidelity::Exact => judge.finish(),
    };
    Ok(Judged {
        plan,
        judgement,
        first,
        forked: forks.as_ref().map(Forks::forked),
    })
}

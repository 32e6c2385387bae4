//! A plan beside the one that was kept: on the same chance, run for run, and with its past where it can have that.
//!
//! ```text
//!   kept  ───────────┬───────────► measured
//!                    └─ at_s ────► this plan, measured        each pair of runs is a difference
//! ```
//!
//! Where this plan cannot take over, both run from their beginning, and it is told why. So does the fluid, which has no state.

use serde::{Deserialize, Serialize};
use tidegate_plan::{
    Plan, file,
    judge::{Effort, Judge, Promise, student},
    network::Network,
    outcome::Outcome,
    price::{self, Book},
};

use crate::Failed;

/// The plan that was kept, and the second from which this one goes on.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    pub text: String,
    pub at_s: f64,
}

/// What differs.
#[derive(Debug, Clone, Serialize)]
pub struct Forked {
    at_s: f64,
    /// Why the past is not shared; none if it is.
    unlike: Option<String>,
    pairs: Vec<Pair>,
}

/// A promise of both, over all runs. The interval is of the difference, at 95 %; none of a single run.
#[derive(Debug, Clone, Serialize)]
struct Pair {
    #[serde(flatten)]
    promise: Promise,
    before: Option<f64>,
    after: Option<f64>,
    interval: Option<[f64; 2]>,
}

/// Makes pairs of runs.
pub struct Forks {
    kept: Judge,
    at_s: f64,
    unlike: Option<String>,
    before: Side,
    after: Side,
    /// By promise, of each run that has both.
    differences: Vec<Vec<f64>>,
}

/// One of both, and what its runs come to.
struct Side {
    plan: Plan,
    network: Network,
    book: Option<Book>,
    all: Outcome,
}

impl Side {
    fn of(plan: &Plan, judge: &Judge) -> Self {
        Self {
            plan: plan.clone(),
            network: judge.judgement().network,
            book: Book::by_name(&plan.book),
            all: Outcome::default(),
        }
    }

    fn measure(&self, promise: &Promise, outcome: &Outcome) -> Option<f64> {
        let bill = |book| price::bill(&self.plan, &self.network, book, outcome).ok();
        let monthly = self.book.as_ref().and_then(bill).map(|bill| bill.total);
        promise.measure(&self.plan, outcome, monthly)
    }
}

impl Forks {
    /// Of a plan, its judge, and the plan that was kept.
    pub fn new(kept: &Kept, plan: &Plan, judge: &Judge, effort: &Effort) -> Result<Self, Failed> {
        let before = file::parse(&kept.text).map_err(|errors| {
            let first = errors.into_iter().next().map(|error| error.message);
            Failed::of(format!(
                "the plan that was kept cannot be read: {}",
                first.unwrap_or_default()
            ))
        })?;
        let of_kept = Judge::new(&before, effort)
            .map_err(|refused| Failed::of(format!("the plan that was kept cannot run: {refused}")))?;
        let at_s = kept.at_s.floor().max(0.0);
        let before = Side::of(&before, &of_kept);
        let unlike = match of_kept.begin(0) {
            None => Some("the fluid model has no state to go on from".to_owned()),
            Some(_) if at_s >= before.network.length => Some("the kept run ends before".to_owned()),
            Some(run) => (judge.could_take_over(&run, at_s).err()).map(|unlike| unlike.reason().to_owned()),
        };
        Ok(Self {
            differences: vec![Vec::new(); Promise::all_of(plan).len()],
            after: Side::of(plan, judge),
            kept: of_kept,
            at_s,
            unlike,
            before,
        })
    }

    /// The run with a number, of this plan; the kept one's is measured beside it.
    pub fn replicate(&mut self, judge: &Judge, number: u32) -> Outcome {
        let [before, after] = match self.kept.begin(number).filter(|_| self.unlike.is_none()) {
            None => [self.kept.replicate(number), judge.replicate(number)],
            Some(mut run) => {
                run.run_until(self.at_s);
                let mut fork = run.clone();
                match judge.take_over(&mut fork) {
                    Ok(()) => [run.finish(), fork.finish()],
                    // It could before, so it can: told all the same, if it cannot.
                    Err(unlike) => {
                        self.unlike = Some(unlike.reason().to_owned());
                        [run.finish(), judge.replicate(number)]
                    }
                }
            }
        };
        for (promise, differences) in Promise::all_of(&self.after.plan)
            .iter()
            .zip(&mut self.differences)
        {
            let both = (
                self.before.measure(promise, &before),
                self.after.measure(promise, &after),
            );
            if let (Some(before), Some(after)) = both {
                differences.push(after - before);
            }
        }
        self.before.all.merge(&before);
        self.after.all.merge(&after);
        after
    }

    /// What the pairs come to so far.
    pub fn forked(&self) -> Forked {
        let promises = Promise::all_of(&self.after.plan).into_iter();
        Forked {
            at_s: self.at_s,
            unlike: self.unlike.clone(),
            pairs: promises
                .zip(&self.differences)
                .map(|(promise, differences)| Pair {
                    before: self.before.measure(&promise, &self.before.all),
                    after: self.after.measure(&promise, &self.after.all),
                    interval: interval(differences),
                    promise,
                })
                .collect(),
        }
    }
}

/// The mean of differences at 95 %; none of fewer than two.
fn interval(differences: &[f64]) -> Option<[f64; 2]> {
    if differences.len() < 2 {
        return None;
    }
    let runs = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / runs;
    let squares: f64 = differences.iter().map(|one| (one - mean) * (one - mean)).sum();
    let half = student::quantile(0.975, runs - 1.0) * (squares / (runs - 1.0) / runs).sqrt();
    Some([mean - half, mean + half])
}

//! Whether a plan keeps its contract: HOLDS, BREAKS or TOO CLOSE, with the chance that it holds.
//!
//! A run is one course of chance. So runs are added, each with its own chance, until every clause's interval lies on
//! one side of what was promised, or until enough were made. All clauses on the good side: it holds. One on the bad
//! side: it breaks. Else it is too close, and what would settle it is told: more runs, or the figure of
//! the model to whose range a clause is most sensitive.
//!
//! ```text
//!   Judge::new ─► wanted() ─► replicate(n), anywhere ─► take(n, outcome), in any order ─► finish()
//!                    ▲                                          │
//!                    └──────────── more, twice as many ◄────────┘
//! ```
//!
//! Runs are merged in the order of their numbers, whoever made them first, so the same plan has the same judgement
//! on any number of threads. How intervals are made stands in `spread` and `estimate`, what is measured in `clause`. HOLDS is wrong at most as
//! often as one clause's interval is (all clauses must pass: R. Berger's intersection-union test, 1982); BREAKS is
//! told of the clause that breaks, with its own confidence.
//!
//! It leaves out why: that is `why`.

mod clause;
mod estimate;
mod rare;
mod spread;
pub mod student;
mod unknown;
pub(crate) mod words;

#[cfg(test)]
pub(crate) mod tests;

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use self::estimate::{Each, Estimate, Sureness};
pub use self::{
    clause::{Clause, Promise, What},
    rare::Rare,
    unknown::{Unknown, unknowns},
};
use crate::{
    compile::{CompileError, compile},
    engine,
    network::Network,
    outcome::Outcome,
    plan::Plan,
    price::{self, Bill, Book},
};

/// How closely it is looked at, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Effort {
    pub fidelity: Fidelity,
    /// Runs before the first look, and at most; looks are at twice as many each time.
    pub runs_min: u32,
    pub runs_max: u32,
    /// Station visits of one hybrid run.
    pub visits: f64,
    /// Of each clause's interval, over all looks: 0.95.
    pub confidence: f64,
}

/// How a run is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fidelity {
    /// Once, as the mean of what may happen: its intervals are what it is off by.
    Fluid,
    Hybrid,
    Exact,
}

impl Default for Effort {
    /// About a second or two of one core for a day or an event, unless it is close.
    fn default() -> Self {
        Self {
            fidelity: Fidelity::Hybrid,
            runs_min: 8,
            runs_max: 32,
            visits: 500_000.0,
            confidence: 0.95,
        }
    }
}

/// Runs at most, whatever is asked for.
pub const RUNS_MAX: u32 = 1_024;
/// Visits of one run at most.
const VISITS_MAX: f64 = 1e9;
/// Runs without which nothing can be said about chance.
const RUNS_FEW: u32 = 8;
/// What the fluid is off by, as part of a latency or of the bad time: below its knee, and before `exact`.
/// Assumed: its tests hold it within 3 to 15 % of what is known.
const FLUID_ERROR: f64 = 0.1;

impl Effort {
    /// The same, with numbers that can be.
    fn bounded(self) -> Self {
        let whole = |value: f64, low: f64, high: f64| {
            if value.is_nan() {
                low
            } else {
                value.clamp(low, high)
            }
        };
        let once = self.fidelity == Fidelity::Fluid;
        let runs_max = if once { 1 } else { self.runs_max.clamp(1, RUNS_MAX) };
        Self {
            fidelity: self.fidelity,
            runs_min: self.runs_min.clamp(1, runs_max),
            runs_max,
            visits: whole(self.visits, 0.0, VISITS_MAX),
            confidence: whole(self.confidence, 0.5, 0.9999),
        }
    }

    /// How often the runs are looked at, at most.
    fn looks(self) -> u32 {
        let (mut looks, mut runs) = (1, self.runs_min);
        while runs < self.runs_max {
            runs = runs.saturating_mul(2);
            looks += 1;
        }
        looks
    }
}

/// What is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Holds,
    Breaks,
    TooClose,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Holds => "HOLDS",
            Self::Breaks => "BREAKS",
            Self::TooClose => "TOO CLOSE",
        })
    }
}

/// What would tell of a clause that is too close.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settle {
    /// Runs in all, if chance is what is in the way.
    pub runs: Option<u32>,
    /// The figure that moves the clause most, to be measured.
    pub unknown: Option<Unknown>,
}

/// Why nothing can be judged.
#[derive(Debug, Clone, PartialEq)]
pub enum Refused {
    Compile(CompileError),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compile(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Refused {}

/// What was found, and what it was found from.
#[derive(Debug, Clone, Serialize)]
pub struct Judgement {
    pub verdict: Verdict,
    /// That all clauses hold, as if each were on its own; none of a single run.
    pub probability: Option<f64>,
    pub clauses: Vec<Clause>,
    pub fidelity: Fidelity,
    pub confidence: f64,
    pub runs: u32,
    /// What a month costs; none where a price is missing.
    pub bill: Option<Bill>,
    /// Why there is no bill. Then its clause is too close for good.
    pub unpriced: Vec<String>,
    /// Failures by chance, and what each would cost: beside what the runs met of them.
    pub rare: Vec<Rare>,
    /// All runs, added up.
    #[serde(skip)]
    pub outcome: Outcome,
    #[serde(skip)]
    pub network: Network,
}

/// The interval, at 95 %, of a figure of all runs by that of each; none of fewer than two.
pub(crate) fn spread_of(figure: f64, each: &[f64]) -> Option<[f64; 2]> {
    Some(spread::Spread::of(figure, each)?.interval(0.95, 1))
}

/// Judges a plan: makes as many runs as it takes.
///
/// # Errors
/// If the plan cannot run.
pub fn judge(plan: &Plan, effort: &Effort) -> Result<Judgement, Refused> {
    let mut judge = Judge::new(plan, effort)?;
    while judge.step() {}
    Ok(judge.finish())
}

/// A judgement under way. See the module.
#[derive(Debug, Clone)]
pub struct Judge {
    plan: Plan,
    network: Network,
    book: Option<Book>,
    effort: Effort,
    promises: Vec<Promise>,
    rare: Vec<Rare>,
    /// Runs that are to be made before the next look.
    wanted: u32,
    merged: Outcome,
    /// By clause.
    each: Vec<Each>,
    /// Taken before one with a lower number was.
    early: BTreeMap<u32, Outcome>,
}

impl Judge {
    /// # Errors
    /// If the plan cannot run.
    pub fn new(plan: &Plan, effort: &Effort) -> Result<Self, Refused> {
        let network = compile(plan).map_err(Refused::Compile)?;
        Ok(Self::of(plan, network, effort))
    }

    /// Of a network that is another than the plan's own: with a part taken out, or made by hand.
    pub fn of(plan: &Plan, network: Network, effort: &Effort) -> Self {
        let effort = effort.bounded();
        let promises = Promise::all_of(plan);
        Self {
            rare: match effort.fidelity {
                // It has one run, which is all there is to it.
                Fidelity::Fluid => Vec::new(),
                Fidelity::Hybrid | Fidelity::Exact => rare::rare(&network, plan.contract.weigh),
            },
            book: Book::by_name(&plan.book),
            plan: plan.clone(),
            network,
            effort,
            each: promises.iter().map(Each::of).collect(),
            promises,
            wanted: effort.runs_min,
            merged: Outcome::default(),
            early: BTreeMap::new(),
        }
    }

    /// With a price book in place of the one the plan names.
    #[must_use]
    pub fn with_book(mut self, book: Book) -> Self {
        self.book = Some(book);
        self
    }

    /// So many runs are wanted, as far as is known by now: those with the numbers from [`runs`](Self::runs) to below this.
    pub fn wanted(&self) -> u32 {
        self.wanted
    }

    /// Runs that were merged.
    pub fn runs(&self) -> u32 {
        self.merged.runs
    }

    /// The verdict stands, or there will not be more.
    pub fn is_done(&self) -> bool {
        self.runs() >= self.wanted
    }

    /// Makes the run with a number: the same wherever it is made.
    pub fn replicate(&self, number: u32) -> Outcome {
        match self.effort.fidelity {
            Fidelity::Fluid => engine::fluid::run(&self.network),
            Fidelity::Hybrid => engine::hybrid::run(&self.network, number, self.effort.visits),
            Fidelity::Exact => engine::exact::run(&self.network, number),
        }
    }

    /// The run with a number at its beginning, to be forked on its way; none of the fluid, which has no state.
    pub fn begin(&self, number: u32) -> Option<engine::exact::Run> {
        match self.effort.fidelity {
            Fidelity::Fluid => None,
            Fidelity::Hybrid => Some(engine::hybrid::begin(&self.network, number, self.effort.visits)),
            Fidelity::Exact => Some(engine::exact::Run::new(&self.network, number)),
        }
    }

    /// Lets a run that another judge of the same fidelity began go on as one of its own.
    ///
    /// # Errors
    /// If they have no past in common.
    pub fn take_over(&self, run: &mut engine::exact::Run) -> Result<(), engine::exact::Unlike> {
        match self.effort.fidelity {
            Fidelity::Hybrid => engine::hybrid::change(run, &self.network, self.effort.visits),
            Fidelity::Fluid | Fidelity::Exact => run.change(&self.network),
        }
    }

    /// Whether it can, once a run that was begun is at a second.
    ///
    /// # Errors
    /// If they have no past in common.
    pub fn could_take_over(
        &self,
        run: &engine::exact::Run,
        second: f64,
    ) -> Result<(), engine::exact::Unlike> {
        run.could_change(&self.network, second)
    }

    /// Takes the run with a number. Those that are not wanted, or were taken before, are left.
    pub fn take(&mut self, number: u32, outcome: Outcome) {
        if number < self.runs() || number >= self.wanted {
            return;
        }
        self.early.insert(number, outcome);
        while let Some(outcome) = self.early.remove(&self.merged.runs) {
            self.merge(&outcome);
        }
        if self.is_done() && self.wanted < self.effort.runs_max {
            let clauses = self.clauses(self.monthly(&self.merged));
            if clauses
                .iter()
                .any(|clause| clause.standing == Verdict::TooClose && clause.measured.is_some())
            {
                self.wanted = self.wanted.saturating_mul(2).min(self.effort.runs_max);
            }
        }
    }

    fn merge(&mut self, outcome: &Outcome) {
        let monthly = self.monthly(outcome);
        for (promise, each) in self.promises.iter().zip(&mut self.each) {
            match each {
                Each::Figures(figures) => figures.extend(promise.measure(&self.plan, outcome, monthly)),
                Each::Times(times) => times.extend(promise.times(outcome)),
            }
        }
        self.merged.merge(outcome);
    }

    /// Makes the next run; whether more are wanted.
    pub fn step(&mut self) -> bool {
        if !self.is_done() {
            let number = self.runs();
            let outcome = self.replicate(number);
            self.take(number, outcome);
        }
        !self.is_done()
    }

    /// What is found so far.
    pub fn judgement(&self) -> Judgement {
        let (bill, unpriced) = self.bill(&self.merged);
        let clauses = self.clauses(bill.as_ref().map(|bill| bill.total));
        Judgement {
            verdict: verdict(&clauses),
            probability: clauses
                .iter()
                .map(|clause| clause.probability)
                .try_fold(1.0, |all, one| Some(all * one?)),
            clauses,
            fidelity: self.effort.fidelity,
            confidence: self.effort.confidence,
            runs: self.merged.runs,
            bill,
            unpriced,
            rare: self.rare.clone(),
            outcome: self.merged.clone(),
            network: self.network.clone(),
        }
    }

    /// What is found, and which figure each clause that is too close is most sensitive to: two runs of the fluid for each.
    pub fn finish(self) -> Judgement {
        let mut judgement = self.judgement();
        if judgement.clauses.iter().any(|clause| clause.settle.is_some()) {
            let unknowns = unknowns(&self.plan, &judgement.clauses);
            for (clause, unknowns) in judgement.clauses.iter_mut().zip(unknowns) {
                if let Some(settle) = &mut clause.settle {
                    settle.unknown = unknowns.into_iter().next();
                }
            }
        }
        judgement
    }

    fn clauses(&self, monthly: Option<f64>) -> Vec<Clause> {
        let promises = self.promises.iter().zip(&self.each);
        promises
            .map(|(promise, each)| self.clause(promise, each, monthly))
            .collect()
    }

    fn clause(&self, promise: &Promise, each: &Each, monthly: Option<f64>) -> Clause {
        let measured = promise.measure(&self.plan, &self.merged, monthly);
        let (runs, runs_kept) = each.count(promise);
        let mut clause = Clause {
            promise: promise.clone(),
            measured,
            is_kept: measured.is_none_or(|figure| promise.is_kept_by(figure)),
            interval: None,
            standing: Verdict::Holds,
            probability: Some(1.0),
            runs,
            runs_kept,
            settle: None,
        };
        let Some(measured) = measured else {
            // Nobody was cut off, nothing was sent: that breaks nothing. But without a price nothing is known of the bill.
            if promise.what == What::Budget {
                clause.standing = Verdict::TooClose;
                clause.probability = None;
            }
            return clause;
        };
        let sureness = Sureness {
            confidence: self.effort.confidence,
            looks: self.effort.looks(),
        };
        let estimate = match self.effort.fidelity {
            Fidelity::Fluid => {
                let spread = promise.spread_of_model(measured, FLUID_ERROR);
                // No more of its runs would tell; those of another fidelity may.
                Some(Estimate {
                    runs: Some(RUNS_FEW),
                    ..Estimate::of_figure(promise, &spread, sureness)
                })
            }
            Fidelity::Hybrid | Fidelity::Exact => {
                let variance = match promise.what {
                    What::Uptime => rare::variance(&self.rare),
                    What::Latency | What::Budget | What::Loss | What::Reconnect => 0.0,
                };
                each.estimate(promise, measured, variance, sureness)
            }
        };
        clause.interval = estimate.map(|estimate| estimate.interval);
        clause.probability = estimate.map(|estimate| estimate.probability);
        clause.standing = clause
            .interval
            .map_or(Verdict::TooClose, |interval| promise.standing(interval));
        if clause.standing == Verdict::TooClose {
            clause.settle = Some(Settle {
                runs: estimate.map_or(Some(RUNS_FEW), |estimate| estimate.runs),
                unknown: None,
            });
        }
        clause
    }

    fn monthly(&self, outcome: &Outcome) -> Option<f64> {
        let book = self.book.as_ref()?;
        price::bill(&self.plan, &self.network, book, outcome)
            .ok()
            .map(|bill| bill.total)
    }

    /// The bill, or why there is none.
    fn bill(&self, outcome: &Outcome) -> (Option<Bill>, Vec<String>) {
        let Some(book) = &self.book else {
            let names = Book::NAMES.join(", ");
            let why = format!("there is no price book `{}`; there are {names}", self.plan.book);
            return (None, vec![why]);
        };
        match price::bill(&self.plan, &self.network, book, outcome) {
            Ok(bill) => (Some(bill), Vec::new()),
            Err(missing) => (None, missing.iter().map(ToString::to_string).collect()),
        }
    }
}

fn verdict(clauses: &[Clause]) -> Verdict {
    let is = |standing| move |clause: &Clause| clause.standing == standing;
    if clauses.iter().any(is(Verdict::Breaks)) {
        Verdict::Breaks
    } else if clauses.iter().all(is(Verdict::Holds)) {
        Verdict::Holds
    } else {
        Verdict::TooClose
    }
}

//! The cheapest topology that holds, and what the money buys.
//!
//! ```text
//!   plan ─► knobs ─► search (fluid, thousands of trials) ─► confirm (event by event) ─► cheapest
//!                       ├─ with more users ─────────────► cheapest with a margin, frontier
//!                       ├─ uncertain inputs ────────────► least regret
//!                       ├─ one clause relaxed ──────────► what binds, and what it costs
//!                       └─ the best that was not enough ► why it is impossible
//! ```
//!
//! Counts, sizes and options are varied; the tiers and the edges are the user's. A search ends at a design that no
//! single change, and no swap of two, makes cheaper: a good design, and no proof that there is none better.
//! The budget does not stop it: a design above the budget is still an answer, and says by how much.

mod knob;
mod proof;
mod regret;
mod reserve;
mod search;
mod trial;

use serde::Serialize;

pub use self::{
    knob::{Change, changes},
    proof::Impossible,
    regret::Steadiest,
    trial::Measured,
};
use self::{
    knob::{Knob, Places, Spends},
    reserve::Reserve,
    search::Search,
    trial::Trial,
};
use crate::{
    compile,
    judge::{Clause, Verdict, What},
    plan::Plan,
    price::Book,
};

/// What a search may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wishes {
    /// Users more than planned that the roomy design must hold: a share, 0 to 4; 0.2.
    pub margin: f64,
    /// Trials of the fluid model, all together: about 5 ms each for a scenario of 60 hours; 4,000.
    pub trials: u32,
    /// Designs that are confirmed at most for each answer: a verdict each; 8.
    pub confirmations: u32,
    /// Draws of what is uncertain, for the least regret; 32.
    pub worlds: u32,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            margin: 0.2,
            trials: 4_000,
            confirmations: 8,
            worlds: 32,
        }
    }
}

/// What a confirmation said.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Confirmed {
    pub holds: bool,
    /// It may hold, and nobody can be sure of it.
    pub is_close: bool,
    /// The clause that decided it.
    pub clause: Option<Measured>,
}

impl Confirmed {
    /// Of a design that cannot be built.
    pub const NO: Self = Self {
        holds: false,
        is_close: false,
        clause: None,
    };

    /// By the clauses of a judgement, all but the budget.
    pub fn of(clauses: &[Clause]) -> Self {
        let broken = clauses
            .iter()
            .find(|clause| clause.promise.what != What::Budget && clause.standing != Verdict::Holds);
        Self {
            holds: broken.is_none(),
            is_close: broken.is_some_and(|clause| clause.standing == Verdict::TooClose),
            clause: broken.map(|clause| Measured {
                promise: clause.promise.clone(),
                measured: clause.measured,
            }),
        }
    }
}

/// One design.
#[derive(Debug, Clone, Serialize)]
pub struct Design {
    #[serde(skip)]
    pub plan: Plan,
    /// From the plan that was given.
    pub changes: Vec<Change>,
    pub monthly: f64,
    /// By the fluid model, without the budget.
    pub clauses: Vec<Measured>,
    /// Times the planned users it still holds, 0.25 to 4; 0 if it does not.
    pub headroom: f64,
    /// Whether a run event by event holds as well; none if that was not asked.
    pub confirmed: Option<bool>,
}

/// A clause, and what it would save to promise a little less.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shadow {
    pub clause: Measured,
    /// What is promised instead, and what a design for that costs.
    pub relaxed: f64,
    pub monthly: f64,
    pub saves: f64,
}

/// A cheaper design, and the clause it breaks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Excuse {
    pub changes: Vec<Change>,
    pub monthly: f64,
    pub clause: Measured,
    /// Only event by event: the fluid model took it for good.
    pub by_events: bool,
    /// It may hold, and nobody can be sure of it.
    pub is_close: bool,
}

/// See the module.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    pub currency: String,
    pub budget: f64,
    pub given: Design,
    pub cheapest: Option<Design>,
    pub roomy: Option<Design>,
    /// Cheapest first; each holds more users than those before it.
    pub frontier: Vec<Design>,
    pub steadiest: Option<Steadiest>,
    /// Dearest clause first.
    pub binding: Vec<Shadow>,
    pub rejected: Vec<Excuse>,
    /// Why nothing holds within the budget.
    pub impossible: Option<Impossible>,
    /// If it is: what holds when coalescible classes are conflated, and the rate to one client.
    pub conflated: Option<(f64, Design)>,
    pub trials: u32,
}

/// Why there was nothing to search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    Compile(String),
    /// A node of the plan has no price.
    NoPrice,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Compile(error) => f.write_str(error),
            Self::NoPrice => f.write_str("not every node has a price: `plan run` tells which"),
        }
    }
}

impl std::error::Error for Refused {}

/// Loads beyond the planned one for which the frontier is searched.
const LOADS: [f64; 3] = [1.5, 2.0, 3.0];
const EXCUSES_MAX: usize = 8;
/// Two designs cost the same if they differ by less than this part.
const SAME_PRICE: f64 = 0.005;
/// Headroom is told between these.
const HEADROOM_MIN: f64 = 0.25;
pub const HEADROOM_MAX: f64 = 4.0;
const HEADROOM_STEPS: u32 = 7;

/// Searches. `confirm` judges a design event by event; it may take as long as it likes.
///
/// # Errors
/// The plan cannot be built or priced as it is.
pub fn optimize(
    plan: &Plan,
    book: &Book,
    wishes: &Wishes,
    confirm: &mut dyn FnMut(&Plan) -> Confirmed,
) -> Result<Found, Refused> {
    compile::compile(plan).map_err(|error| Refused::Compile(error.to_string()))?;
    Trial::of(plan, book).ok_or(Refused::NoPrice)?;
    let knobs = knob::knobs(plan, book);
    let mut work = Work {
        plan,
        book,
        knobs: &knobs,
        confirm,
        confirmations: wishes.confirmations,
        excuses: Vec::new(),
        trials: 0,
        trials_max: wishes.trials,
    };
    Ok(work.all(wishes))
}

struct Work<'a> {
    plan: &'a Plan,
    book: &'a Book,
    knobs: &'a [Knob],
    confirm: &'a mut dyn FnMut(&Plan) -> Confirmed,
    confirmations: u32,
    excuses: Vec<Excuse>,
    /// Made so far, and at most.
    trials: u32,
    trials_max: u32,
}

impl<'a> Work<'a> {
    fn all(&mut self, wishes: &Wishes) -> Found {
        // Half of the trials for the plan as it is, the rest shared by what is asked besides.
        let part = wishes.trials / 8;
        let mut search = self.search(1.0, part * 4);
        let given = self.design(
            &mut search,
            &self.knobs.iter().map(|knob| knob.given).collect::<Places>(),
        );
        let starts = [search.lean(), search.given(), search.ample()];
        let found = self.confirmed(&mut search, &starts, f64::INFINITY);
        let (places, reserve) =
            found.map_or((None, Reserve::NONE), |(places, reserve)| (Some(places), reserve));
        self.note_cheaper(&mut search, places.as_ref());
        let cheapest = places.as_ref().map(|places| Design {
            confirmed: Some(true),
            ..self.design(&mut search, places)
        });
        let is_too_dear = cheapest
            .as_ref()
            .is_none_or(|design| design.monthly > self.plan.contract.budget);
        let impossible =
            is_too_dear.then(|| proof::impossible(&mut search, self.plan, self.book, cheapest.as_ref()));
        self.trials += search.trials();

        let from = places.clone().unwrap_or_else(|| search.given());
        let (roomy, frontier) = match &cheapest {
            Some(cheapest) => self.frontier(cheapest, &from, wishes.margin, part),
            None => (None, Vec::new()),
        };
        let binding = match (&cheapest, &places) {
            (Some(cheapest), Some(places)) => self.binding(cheapest, places, reserve, part),
            _ => Vec::new(),
        };
        let conflated = is_too_dear.then(|| self.conflated(&from, part)).flatten();
        let steadiest = regret::steadiest(self.plan, self.book, &frontier, wishes.worlds);
        self.excuses.sort_by(|a, b| a.monthly.total_cmp(&b.monthly));
        // What differs in what costs nothing, and breaks the same, is told once.
        self.excuses.dedup_by(|a, b| {
            a.by_events == b.by_events
                && a.clause.promise == b.clause.promise
                && (a.monthly - b.monthly).abs() < SAME_PRICE * b.monthly
        });
        self.excuses.truncate(EXCUSES_MAX);
        Found {
            currency: self.book.currency.clone(),
            budget: self.plan.contract.budget,
            given,
            cheapest,
            roomy,
            frontier,
            steadiest,
            binding,
            rejected: std::mem::take(&mut self.excuses),
            impossible,
            conflated,
            trials: self.trials,
        }
    }

    fn search(&self, load: f64, trials: u32) -> Search<'a> {
        let trials = trials.min(self.trials_max.saturating_sub(self.trials));
        Search::new(loaded(self.plan, load), self.book, self.knobs, trials)
    }

    /// What is one step cheaper than the found, or was given, and why it was not taken.
    fn note_cheaper(&mut self, search: &mut Search<'_>, found: Option<&Places>) {
        let mut designs = vec![search.given()];
        if let Some(found) = found {
            designs.extend(search.downs(found));
        }
        for places in designs {
            let Some(trial) = search.trial(&places).cloned() else {
                continue;
            };
            if let (false, Some(clause)) = (trial.holds(0.0), trial.worst_clause()) {
                self.excuses.push(Excuse {
                    changes: changes(self.plan, &search.plan(&places)),
                    monthly: trial.monthly,
                    clause: clause.clone(),
                    by_events: false,
                    is_close: false,
                });
            }
        }
    }

    /// The cheapest for more and more users, and that with the margin among them.
    fn frontier(
        &mut self,
        cheapest: &Design,
        from: &Places,
        margin: f64,
        trials: u32,
    ) -> (Option<Design>, Vec<Design>) {
        let mut frontier = vec![cheapest.clone()];
        let mut roomy = None;
        let margin = 1.0 + margin.clamp(0.0, 4.0);
        let loads = std::iter::once(margin).chain(LOADS.into_iter().filter(|load| *load > margin));
        let mut start = from.clone();
        for load in loads {
            let mut search = self.search(load, trials / 2);
            let ample = search.ample();
            let starts = [start.clone(), ample];
            let places = match load == margin {
                true => self
                    .confirmed(&mut search, &starts, f64::INFINITY)
                    .map(|(places, _)| places),
                false => search
                    .cheapest(&starts, 0.0)
                    .map(|places| search.tidy(places, 0.0)),
            };
            self.trials += search.trials();
            let Some(places) = places else {
                break;
            };
            start.clone_from(&places);
            // Told for the users that are planned.
            let mut planned = self.search(1.0, 1);
            let mut design = self.design(&mut planned, &places);
            if load == margin {
                design.confirmed = Some(true);
                roomy = Some(design.clone());
            }
            let last = frontier.last().expect("it begins with the cheapest");
            if design.headroom > last.headroom + 0.01 && design.monthly >= last.monthly {
                frontier.push(design);
            }
        }
        (roomy, frontier)
    }

    /// What each clause costs: the cheapest with that clause relaxed, and as much in reserve as events wanted.
    fn binding(&mut self, cheapest: &Design, from: &Places, reserve: Reserve, trials: u32) -> Vec<Shadow> {
        let mut shadows = Vec::new();
        let each = trials / (cheapest.clauses.len() as u32 + 1);
        let cheapest_of = |work: &mut Self, plan: Plan| {
            let left = work.trials_max.saturating_sub(work.trials);
            let mut search = Search::new(plan, work.book, work.knobs, each.min(left));
            let found = reserve.places(&mut search, std::slice::from_ref(from));
            let monthly = found.and_then(|places| Some(search.trial(&places)?.monthly));
            work.trials += search.trials();
            monthly
        };
        let Some(kept) = cheapest_of(self, self.plan.clone()) else {
            return shadows;
        };
        for clause in &cheapest.clauses {
            let relaxed = relaxed(clause);
            let mut plan = self.plan.clone();
            if !relax(&mut plan, clause, relaxed) {
                continue;
            }
            let Some(monthly) = cheapest_of(self, plan) else {
                continue;
            };
            let saves = kept - monthly;
            let monthly = cheapest.monthly - saves;
            if saves > 0.5 {
                shadows.push(Shadow {
                    clause: clause.clone(),
                    relaxed,
                    monthly,
                    saves,
                });
            }
        }
        shadows.sort_by(|a, b| b.saves.total_cmp(&a.saves));
        shadows
    }

    /// The best rate at which conflation makes it hold within the budget.
    fn conflated(&mut self, from: &Places, trials: u32) -> Option<(f64, Design)> {
        let places: Vec<usize> = (0..self.knobs.len())
            .filter(|place| self.knobs[*place].spends == Spends::Quality)
            .collect();
        let most = places.iter().map(|place| self.knobs[*place].len()).max()?;
        for value in 1..most {
            let turn = |mut design: Places| {
                for place in &places {
                    design[*place] = value.min(self.knobs[*place].len() - 1);
                }
                design
            };
            let mut search = self.search(1.0, trials);
            let starts = [turn(from.clone()), turn(search.lean()), turn(search.ample())];
            let found = self.confirmed(&mut search, &starts, self.plan.contract.budget);
            self.trials += search.trials();
            let Some((found, _)) = found else {
                continue;
            };
            let design = Design {
                confirmed: Some(true),
                ..self.design(&mut search, &found)
            };
            let mut nodes = design.plan.topology.nodes.iter();
            let rate = nodes.find_map(|node| node.options.conflate_rate.filter(|rate| *rate > 0.0))?;
            return Some((rate, design));
        }
        None
    }

    fn design(&mut self, search: &mut Search<'_>, places: &Places) -> Design {
        let plan = search.plan(places);
        let trial = search.trial(places).cloned();
        let headroom = headroom(&plan, self.book);
        Design {
            changes: changes(self.plan, &plan),
            monthly: trial.as_ref().map_or(0.0, |trial| trial.monthly),
            clauses: trial.map(|trial| trial.clauses).unwrap_or_default(),
            headroom,
            confirmed: None,
            plan,
        }
    }
}

/// The same with so many times the users.
pub(crate) fn loaded(plan: &Plan, load: f64) -> Plan {
    let mut plan = plan.clone();
    for (_, users) in &mut plan.scenario.users.points {
        *users *= load;
    }
    plan
}

/// Times the planned users it holds.
fn headroom(plan: &Plan, book: &Book) -> f64 {
    let holds = |load| Trial::of(&loaded(plan, load), book).is_some_and(|trial| trial.holds(0.0));
    let (mut low, mut high) = (HEADROOM_MIN, HEADROOM_MAX);
    if !holds(low) {
        return 0.0;
    }
    if holds(high) {
        return high;
    }
    for _ in 0..HEADROOM_STEPS {
        let middle = (low * high).sqrt();
        if holds(middle) {
            low = middle
        } else {
            high = middle
        }
    }
    low
}

/// A little less than was promised: 5 ms or a twentieth of a latency, half as much bad time again, a tenth of the rest.
fn relaxed(clause: &Measured) -> f64 {
    match clause.promise.what {
        What::Uptime => 1.0 - (1.0 - clause.promise.promised) * 1.5,
        What::Latency => clause.promise.promised + (clause.promise.promised * 0.05).max(0.005),
        What::Budget | What::Loss | What::Reconnect => clause.promise.promised * 1.1,
    }
}

/// Changes one clause of a plan's contract; no if it is not there.
fn relax(plan: &mut Plan, clause: &Measured, to: f64) -> bool {
    let contract = &mut plan.contract;
    match clause.promise.what {
        What::Uptime => contract.uptime = to,
        What::Budget => return false,
        What::Loss => contract.loss = Some(to),
        What::Reconnect => contract.reconnect = Some(to),
        What::Latency => {
            let target = contract.latency.iter_mut().find(|target| {
                target.class == clause.promise.class && Some(target.percentile) == clause.promise.percentile
            });
            match target {
                Some(target) => target.within = to,
                None => return false,
            }
        }
    }
    true
}

#[cfg(test)]
mod tests;

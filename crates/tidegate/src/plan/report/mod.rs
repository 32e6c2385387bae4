//! What a run of a plan came to, ready to be shown: one value, and a file for each form of it.
//!
//! ```text
//!   Plan, Judgement ───────────────► Report ─┬─► text    for a terminal
//!                                            ├─► json    for programs: the value itself, with `version`
//!                                            ├─► html    for people who were not there
//!                                            └─► junit   for CI: each clause is a test, and each error that rules find
//!   remarks on files ───────────────────────────► sarif   for code review: mistakes, findings, clauses that do not hold
//! ```
//! Nothing is computed in the forms but what a picture needs. Names that come from a file are escaped where they
//! are written, in each form its own way.

mod chart;
pub mod escape;
pub mod html;
pub mod json;
pub mod junit;
pub mod sarif;
pub mod shown;
pub mod table;
pub mod text;

use serde::Serialize;
use tidegate_plan::{
    Network, Outcome, Plan,
    histogram::Histogram,
    judge::{self, Judgement, Promise},
    network::Stage,
    outcome::{BadTime, ClassOutcome, Mark, Minute},
    plan::Weigh,
    price::Bill,
};

use super::trial::{CutShort, Fidelity, Judged};

/// Version of the JSON: what is there keeps its name and its meaning; what is new may come beside it.
const VERSION: u32 = 1;

/// See the module.
#[derive(Debug, Serialize)]
pub struct Report {
    pub version: u32,
    /// Of the program that made it.
    pub tidegate: &'static str,
    pub file: String,
    pub title: String,
    pub verdict: Verdict,
    /// The chance that the contract holds, and the confidence of its clauses' intervals; none of a single run.
    pub probability: Option<f64>,
    pub confidence: f64,
    pub clauses: Vec<Clause>,
    /// What may happen besides what the runs met.
    pub rare: Vec<Rare>,
    pub fidelity: Fidelity,
    pub runs: u32,
    pub seed: u64,
    pub length_s: f64,
    /// Share of the time that was simulated event by event, and visits of stations in that.
    pub sampled_share: f64,
    pub visits: f64,
    /// More runs were wanted, and there was no time for them.
    pub cut_short: Option<CutShort>,
    pub error_budget: ErrorBudget,
    pub connections: Connections,
    /// Busiest first.
    pub stations: Vec<Station>,
    pub classes: Vec<Class>,
    /// None where a price is missing.
    pub bill: Option<Bill>,
    /// Why there is no bill.
    pub unpriced: Vec<String>,
    /// What happened in the first run.
    pub marks: Vec<Mark>,
    /// Of the first run, for charts; programs take them from `tidegate plan export --csv`.
    #[serde(skip)]
    pub minutes: Vec<Minute>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Verdict {
    #[serde(rename = "HOLDS")]
    Holds,
    #[serde(rename = "BREAKS")]
    Breaks,
    #[serde(rename = "TOO CLOSE")]
    TooClose,
}

impl Verdict {
    pub fn word(self) -> &'static str {
        match self {
            Self::Holds => "HOLDS",
            Self::Breaks => "BREAKS",
            Self::TooClose => "TOO CLOSE",
        }
    }
}

impl From<judge::Verdict> for Verdict {
    fn from(verdict: judge::Verdict) -> Self {
        match verdict {
            judge::Verdict::Holds => Self::Holds,
            judge::Verdict::Breaks => Self::Breaks,
            judge::Verdict::TooClose => Self::TooClose,
        }
    }
}

/// What was promised, and what came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Clause {
    #[serde(flatten)]
    pub promise: Promise,
    /// None if there was nothing to measure: nobody was cut off, nothing was sent.
    pub measured: Option<f64>,
    /// Where it is at the report's confidence, and the chance that it holds; none of a single run.
    pub interval: Option<[f64; 2]>,
    pub probability: Option<f64>,
    pub verdict: Verdict,
    /// Of one that is too close: runs in all that would tell, if chance is in the way.
    pub runs_to_settle: Option<u32>,
    /// And the figure of the model to whose range it is most sensitive, in words.
    pub measure_to_settle: Option<String>,
}

impl From<&judge::Clause> for Clause {
    fn from(clause: &judge::Clause) -> Self {
        let settle = clause.settle.as_ref();
        // One that moves it by nothing that shows would settle nothing.
        let unknown = settle
            .and_then(|settle| settle.unknown.as_ref())
            .filter(|unknown| clause.promise.say(unknown.at_low) != clause.promise.say(unknown.at_high));
        Self {
            promise: clause.promise.clone(),
            measured: clause.measured,
            interval: clause.interval,
            probability: clause.probability,
            verdict: clause.standing.into(),
            runs_to_settle: settle.and_then(|settle| settle.runs),
            measure_to_settle: unknown.map(|unknown| unknown.sentence(&clause.promise)),
        }
    }
}

/// A failure by chance: what one costs, and how many a run meets on average.
#[derive(Debug, Serialize)]
pub struct Rare {
    /// None of a deploy, which goes through several.
    pub node: Option<String>,
    pub what: &'static str,
    pub per_run: f64,
    /// Of the uptime, at the busiest moment.
    pub uptime_cost: f64,
}

/// What may be bad of a run, and what was, on average of the runs: user-seconds, requests or seconds, as the contract weighs.
#[derive(Debug, Serialize)]
pub struct ErrorBudget {
    pub weigh: Weigh,
    pub allowed: f64,
    pub spent: f64,
    /// User-seconds, by what they were lost to.
    pub disconnected_s: f64,
    pub refused_s: f64,
    pub late_s: f64,
}

/// Who was connected, and who was not; counts are of one run on average.
#[derive(Debug, Serialize)]
pub struct Connections {
    pub wanted_max: f64,
    pub connected_max: f64,
    pub connects: f64,
    pub connects_failed: f64,
    pub reconnect_s: Histogram,
}

/// One station of a node.
#[derive(Debug, Serialize)]
pub struct Station {
    /// In the network, and in each minute.
    #[serde(skip)]
    pub place: usize,
    pub name: String,
    pub node: String,
    pub stage: Stage,
    pub machines: u32,
    pub busy_share: f64,
    /// Of its minutes the 99th percentile, and the worst.
    pub busy_p99_minute: f64,
    pub busy_max_minute: f64,
    pub waiting_max: f64,
    /// Of one run on average.
    pub refused: f64,
    pub timed_out: f64,
    pub wait_s: Histogram,
}

/// One class of events; counts are of one run on average.
#[derive(Debug, Serialize)]
pub struct Class {
    pub name: String,
    pub published: f64,
    pub failed: f64,
    pub retried: f64,
    pub delivered: f64,
    pub conflated: f64,
    pub lost: f64,
    pub late: f64,
    pub latency_s: Histogram,
    pub lag_s: Histogram,
    pub waits: Vec<Wait>,
}

/// What a stage has of a latency, seconds: it spreads a percentile over the stages as the events near it were.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Wait {
    pub stage: Stage,
    pub p95_s: f64,
    pub p99_s: f64,
}

impl Report {
    pub fn new(file: &str, plan: &Plan, judged: &Judged) -> Self {
        let Judged { judgement, cut_short } = judged;
        let Judgement { outcome, network, .. } = judgement;
        let runs = f64::from(outcome.runs.max(1));
        let node = |place: u32| {
            plan.topology
                .nodes
                .get(place as usize)
                .map(|node| node.id.clone())
        };
        Self {
            version: VERSION,
            tidegate: env!("CARGO_PKG_VERSION"),
            file: file.to_owned(),
            title: plan.title.clone(),
            verdict: judgement.verdict.into(),
            probability: judgement.probability,
            confidence: judgement.confidence,
            clauses: judgement.clauses.iter().map(Clause::from).collect(),
            rare: judgement
                .rare
                .iter()
                .map(|rare| Rare {
                    node: rare.node.and_then(node),
                    what: rare.what,
                    per_run: rare.per_run,
                    uptime_cost: rare.uptime_cost,
                })
                .collect(),
            fidelity: judgement.fidelity.into(),
            runs: outcome.runs,
            seed: network.seed,
            length_s: outcome.length,
            sampled_share: outcome.sampled_share,
            visits: outcome.visits,
            cut_short: *cut_short,
            error_budget: ErrorBudget::new(plan, outcome),
            connections: Connections {
                wanted_max: network.users.iter().map(|&(_, users)| users).fold(0.0, f64::max),
                connected_max: outcome.connected_max,
                connects: outcome.connects / runs,
                connects_failed: outcome.connects_failed / runs,
                reconnect_s: outcome.reconnect_s.clone(),
            },
            stations: stations(plan, network, outcome),
            classes: outcome
                .classes
                .iter()
                .map(|class| Class::new(class, runs))
                .collect(),
            bill: judgement.bill.clone(),
            unpriced: judgement.unpriced.clone(),
            marks: outcome.marks.clone(),
            minutes: outcome.minutes.clone(),
        }
    }
}

impl ErrorBudget {
    fn new(plan: &Plan, outcome: &Outcome) -> Self {
        let runs = f64::from(outcome.runs.max(1));
        let BadTime {
            disconnected_s,
            refused_s,
            late_s,
            bad_requests,
            requests,
            bad_clock_s,
        } = outcome.bad;
        let (spent, all) = match plan.contract.weigh {
            Weigh::UserMinutes => (disconnected_s + refused_s + late_s, outcome.wanted_s),
            Weigh::Requests => (bad_requests, requests),
            Weigh::Time => (bad_clock_s, outcome.length * runs),
        };
        Self {
            weigh: plan.contract.weigh,
            allowed: all / runs * (1.0 - plan.contract.uptime),
            spent: spent / runs,
            disconnected_s: disconnected_s / runs,
            refused_s: refused_s / runs,
            late_s: late_s / runs,
        }
    }
}

fn stations(plan: &Plan, network: &Network, outcome: &Outcome) -> Vec<Station> {
    let runs = f64::from(outcome.runs.max(1));
    let mut stations: Vec<Station> = network
        .stations
        .iter()
        .zip(&outcome.stations)
        .enumerate()
        .map(|(place, (station, outcome))| Station {
            place,
            name: station.name.clone(),
            node: plan
                .topology
                .nodes
                .get(station.node as usize)
                .map_or_else(String::new, |node| node.id.clone()),
            stage: station.stage,
            machines: station.machines,
            busy_share: outcome.busy_share,
            busy_p99_minute: outcome.busy_p99_minute,
            busy_max_minute: outcome.busy_max_minute,
            waiting_max: outcome.waiting_max,
            refused: outcome.refused / runs,
            timed_out: outcome.timed_out / runs,
            wait_s: outcome.wait_s.clone(),
        })
        .collect();
    stations.sort_by(|a, b| {
        b.busy_p99_minute
            .total_cmp(&a.busy_p99_minute)
            .then_with(|| a.name.cmp(&b.name))
    });
    stations
}

impl Class {
    fn new(class: &ClassOutcome, runs: f64) -> Self {
        let (p95, p99) = (class.latency_s.quantile(0.95), class.latency_s.quantile(0.99));
        let near_p95: f64 = class.waits.iter().map(|wait| wait.near_p95_s).sum();
        let beyond_p99: f64 = class.waits.iter().map(|wait| wait.beyond_p99_s).sum();
        let part = |of: Option<f64>, wait: f64, all: f64| match all > 0.0 {
            true => of.unwrap_or(0.0) * wait / all,
            false => 0.0,
        };
        Self {
            name: class.name.clone(),
            published: class.published / runs,
            failed: class.failed / runs,
            retried: class.retried / runs,
            delivered: class.delivered / runs,
            conflated: class.conflated / runs,
            lost: class.lost / runs,
            late: class.late / runs,
            latency_s: class.latency_s.clone(),
            lag_s: class.lag_s.clone(),
            waits: class
                .waits
                .iter()
                .map(|wait| Wait {
                    stage: wait.stage,
                    p95_s: part(p95, wait.near_p95_s, near_p95),
                    p99_s: part(p99, wait.beyond_p99_s, beyond_p99),
                })
                .filter(|wait| wait.p95_s > 0.0 || wait.p99_s > 0.0)
                .collect(),
        }
    }
}

/// A stage's name, as everywhere.
pub fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Uplink => "uplink",
        Stage::Lb => "lb",
        Stage::Admit => "admit",
        Stage::Work => "work",
        Stage::Engine => "engine",
        Stage::Cache => "cache",
        Stage::Bus => "bus",
        Stage::Poll => "poll",
        Stage::Fanout => "fanout",
        Stage::Outbox => "outbox",
        Stage::Downlink => "downlink",
        Stage::Backoff => "backoff",
        Stage::Reconnect => "reconnect",
    }
}

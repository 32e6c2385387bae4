//! What a run of a plan came to, ready to be shown: one value, and a file for each form of it.
//!
//! ```text
//!   Plan, Network, Outcomes, Bill ─► Report ─┬─► text    for a terminal
//!                                            ├─► json    for programs: the value itself, with `version`
//!                                            ├─► html    for people who were not there
//!                                            └─► junit   for CI: each clause is a test
//! ```
//! Nothing is computed in the forms but what a picture needs. Names that come from a file are escaped where they
//! are written, in each form its own way.

mod chart;
pub mod escape;
pub mod html;
pub mod json;
pub mod junit;
pub mod shown;
pub mod table;
pub mod text;

use serde::Serialize;
use tidegate_plan::{
    Network, Outcome, Plan,
    histogram::Histogram,
    network::Stage,
    outcome::{BadTime, ClassOutcome, Mark, Minute},
    plan::Weigh,
    price::Bill,
};

use super::trial::Fidelity;

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
    pub clauses: Vec<Clause>,
    pub fidelity: Fidelity,
    pub runs: u32,
    pub seed: u64,
    pub length_s: f64,
    /// Share of the time that was simulated event by event, and visits of stations in that.
    pub sampled_share: f64,
    pub visits: f64,
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

/// What was promised, and what came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Clause {
    pub what: What,
    /// Of a latency: of all classes together if none.
    pub class: Option<String>,
    /// Of a latency, 0 to 1.
    pub percentile: Option<f64>,
    /// Shares, seconds, or money a month.
    pub limit: f64,
    /// None if there was nothing to measure: nobody was cut off, nothing was sent.
    pub measured: Option<f64>,
    pub verdict: Verdict,
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

/// Runs that were added up, and what they cost.
pub struct Ran<'a> {
    pub file: &'a str,
    pub plan: &'a Plan,
    pub network: &'a Network,
    pub fidelity: Fidelity,
    pub outcome: &'a Outcome,
    pub bill: Result<Bill, Vec<String>>,
}

impl Report {
    pub fn new(ran: Ran) -> Self {
        let Ran {
            file,
            plan,
            network,
            fidelity,
            outcome,
            bill,
        } = ran;
        let (bill, unpriced) = match bill {
            Ok(bill) => (Some(bill), Vec::new()),
            Err(why) => (None, why),
        };
        let clauses = clauses(plan, outcome, bill.as_ref().map(|bill| bill.total));
        let runs = f64::from(outcome.runs.max(1));
        Self {
            version: VERSION,
            tidegate: env!("CARGO_PKG_VERSION"),
            file: file.to_owned(),
            title: plan.title.clone(),
            verdict: verdict(&clauses),
            clauses,
            fidelity,
            runs: outcome.runs,
            seed: plan.seed,
            length_s: outcome.length,
            sampled_share: outcome.sampled_share,
            visits: outcome.visits,
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
            bill,
            unpriced,
            marks: outcome.marks.clone(),
            minutes: outcome.minutes.clone(),
        }
    }
}

/// All clauses, in the order a contract is read. Without a bill, nothing is said about the budget.
pub fn clauses(plan: &Plan, outcome: &Outcome, monthly: Option<f64>) -> Vec<Clause> {
    let contract = &plan.contract;
    let uptime = outcome.uptime(contract.weigh);
    let mut clauses = vec![Clause {
        verdict: kept(uptime >= contract.uptime),
        ..at_most(What::Uptime, contract.uptime, Some(uptime))
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
        let measured = outcome.reconnect_s.quantile(0.95);
        clauses.push(at_most(What::Reconnect, reconnect, measured));
    }
    clauses
}

/// What was not measured breaks nothing.
fn at_most(what: What, limit: f64, measured: Option<f64>) -> Clause {
    Clause {
        what,
        class: None,
        percentile: None,
        limit,
        measured,
        verdict: kept(measured.is_none_or(|measured| measured <= limit)),
    }
}

fn kept(is_kept: bool) -> Verdict {
    match is_kept {
        true => Verdict::Holds,
        false => Verdict::Breaks,
    }
}

/// A contract is as good as its worst clause.
fn verdict(clauses: &[Clause]) -> Verdict {
    let has = |verdict| clauses.iter().any(|clause| clause.verdict == verdict);
    if has(Verdict::Breaks) {
        Verdict::Breaks
    } else if has(Verdict::TooClose) {
        Verdict::TooClose
    } else {
        Verdict::Holds
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

//! A judgement, as a page shows it: with the runs it was found from.

use serde::Serialize;
use tidegate_plan::{
    Plan,
    histogram::Histogram,
    judge::{Clause, Fidelity, Judgement, Rare, Verdict, What},
    network::Stage,
    outcome::{BadTime, ClassOutcome, Ledger, Mark, Outcome, StationOutcome},
    price::Bill,
    why::{self, Account, Stack},
};

use crate::{columns::Columns, fork::Forked};

/// See the module.
#[derive(Debug, Serialize)]
pub struct Run {
    fidelity: Fidelity,
    runs: u32,
    length_s: f64,
    sampled_share: f64,
    visits: f64,
    connected_max: f64,
    connects_failed: f64,
    verdict: Verdict,
    /// That all clauses hold; none of a single run.
    probability: Option<f64>,
    /// Of each clause's interval.
    confidence: f64,
    clauses: Vec<Clause>,
    rare: Vec<Rare>,
    columns: Columns,
    stations: Vec<Station>,
    classes: Vec<ClassOutcome>,
    reconnect_s: Histogram,
    bad: BadTime,
    wanted_s: f64,
    worst: Vec<Ledger>,
    marks: Vec<Mark>,
    /// Where those near each promised percentile were.
    stacks: Vec<Stack>,
    /// Where the error budget went, in the first few runs.
    account: Account,
    /// What a month costs; none where a price is missing.
    bill: Option<Bill>,
    /// Why there is no bill.
    unpriced: Vec<String>,
    /// Beside the plan that was kept, if one was.
    forked: Option<Forked>,
}

#[derive(Debug, Serialize)]
struct Station {
    /// Of its node.
    node: String,
    stage: Stage,
    #[serde(flatten)]
    outcome: StationOutcome,
}

impl Run {
    /// Of a judgement, and of the first of its runs: their minutes are accounted for one by one.
    pub fn of(plan: &Plan, judgement: Judgement, first: &[Outcome], forked: Option<Forked>) -> Self {
        let nodes = &plan.topology.nodes;
        let Judgement { outcome, network, .. } = judgement;
        Self {
            stacks: why::stacks(plan, &network, &outcome),
            account: why::account(plan, &network, first),
            fidelity: judgement.fidelity,
            runs: judgement.runs,
            length_s: outcome.length,
            sampled_share: outcome.sampled_share,
            visits: outcome.visits,
            connected_max: outcome.connected_max,
            connects_failed: outcome.connects_failed,
            verdict: judgement.verdict,
            probability: judgement.probability,
            confidence: judgement.confidence,
            clauses: shown(judgement.clauses),
            rare: judgement.rare,
            columns: Columns::of(&outcome),
            stations: network
                .stations
                .iter()
                .zip(outcome.stations)
                .map(|(station, outcome)| Station {
                    node: nodes
                        .get(station.node as usize)
                        .map_or_else(String::new, |node| node.id.clone()),
                    stage: station.stage,
                    outcome,
                })
                .collect(),
            classes: outcome.classes,
            reconnect_s: outcome.reconnect_s,
            bad: outcome.bad,
            wanted_s: outcome.wanted_s,
            worst: outcome.worst,
            marks: outcome.marks,
            bill: judgement.bill,
            unpriced: judgement.unpriced,
            forked,
        }
    }
}

/// Without a price there is nothing to show of the budget; `unpriced` says why.
pub fn shown(mut clauses: Vec<Clause>) -> Vec<Clause> {
    clauses.retain(|clause| clause.promise.what != What::Budget || clause.measured.is_some());
    clauses
}

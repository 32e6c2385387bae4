//! A run, as a page shows it.

use serde::{Deserialize, Serialize};
use tidegate_plan::{
    Network, Outcome, Plan, compile, engine, file,
    histogram::Histogram,
    network::Stage,
    outcome::{BadTime, ClassOutcome, Ledger, Mark, StationOutcome},
    price::{self, Bill, Book},
};

use crate::{
    Failed,
    clauses::{Clause, clauses},
    columns::Columns,
};

/// What is to be run, and how closely.
#[derive(Debug, Deserialize)]
pub struct Asked {
    text: String,
    fidelity: Fidelity,
    /// Runs that are added up; of the fluid there is one.
    #[serde(default)]
    replications: u32,
    /// Station visits of one hybrid run.
    #[serde(default)]
    visits: f64,
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Fidelity {
    Fluid,
    Hybrid,
    Exact,
}

/// More are for the command line, which has all cores.
const REPLICATIONS_MAX: u32 = 64;
const VISITS_MAX: f64 = 1e9;

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
    clauses: Vec<Clause>,
    columns: Columns,
    stations: Vec<Station>,
    classes: Vec<ClassOutcome>,
    reconnect_s: Histogram,
    bad: BadTime,
    wanted_s: f64,
    worst: Vec<Ledger>,
    marks: Vec<Mark>,
    /// What a month costs; none where a price is missing.
    bill: Option<Bill>,
    /// Why there is no bill.
    unpriced: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Station {
    /// Of its node.
    node: String,
    stage: Stage,
    #[serde(flatten)]
    outcome: StationOutcome,
}

/// Runs a text's plan.
pub fn run(asked: &Asked) -> Result<Run, Failed> {
    let plan = file::parse(&asked.text).map_err(Failed::of_file)?;
    let network = compile::compile(&plan).map_err(|error| Failed::of(error.to_string()))?;
    let outcome = outcome(&network, asked);
    Ok(shown(asked.fidelity, &plan, &network, outcome))
}

fn outcome(network: &Network, asked: &Asked) -> Outcome {
    let runs = asked.replications.clamp(1, REPLICATIONS_MAX);
    let visits = asked.visits.clamp(0.0, VISITS_MAX);
    let mut sum = Outcome::default();
    match asked.fidelity {
        Fidelity::Fluid => return engine::fluid::run(network),
        Fidelity::Hybrid => (0..runs).for_each(|run| sum.merge(&engine::hybrid::run(network, run, visits))),
        Fidelity::Exact => (0..runs).for_each(|run| sum.merge(&engine::exact::run(network, run))),
    }
    sum
}

fn shown(fidelity: Fidelity, plan: &Plan, network: &Network, outcome: Outcome) -> Run {
    let nodes = &plan.topology.nodes;
    let columns = Columns::of(&outcome);
    let (bill, unpriced) = priced(plan, network, &outcome);
    let clauses = clauses(plan, &outcome, bill.as_ref().map(|bill| bill.total));
    let stations = network.stations.iter().zip(outcome.stations);
    Run {
        fidelity,
        runs: outcome.runs,
        length_s: outcome.length,
        sampled_share: outcome.sampled_share,
        visits: outcome.visits,
        connected_max: outcome.connected_max,
        connects_failed: outcome.connects_failed,
        clauses,
        columns,
        stations: stations
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
        bill,
        unpriced,
    }
}

/// The bill, or why there is none.
fn priced(plan: &Plan, network: &Network, outcome: &Outcome) -> (Option<Bill>, Vec<String>) {
    let Some(book) = Book::by_name(&plan.book) else {
        let names = Book::NAMES.join(", ");
        return (
            None,
            vec![format!(
                "there is no price book `{}`; there are {names}",
                plan.book
            )],
        );
    };
    match price::bill(plan, network, &book, outcome) {
        Ok(bill) => (Some(bill), Vec::new()),
        Err(missing) => (None, missing.iter().map(ToString::to_string).collect()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidegate_plan::file;

    fn run(fidelity: &str) -> Value {
        let request = json!({"op": "run", "text": file::TEMPLATE, "fidelity": fidelity, "replications": 1, "visits": 1e5});
        serde_json::from_slice(&crate::answer(request.to_string().as_bytes())).unwrap()
    }

    #[test]
    fn a_run_has_what_charts_and_a_contract_need() {
        for fidelity in ["fluid", "hybrid"] {
            let run = run(fidelity);
            assert_eq!(run["fidelity"], fidelity, "{}", run["errors"]);
            assert_eq!(run["columns"]["hours"].as_array().unwrap().len(), 48 * 60);
            let stations = run["stations"].as_array().unwrap();
            assert_eq!(run["columns"]["busy"].as_array().unwrap().len(), stations.len());
            assert!(stations.iter().any(|station| station["node"] == "ws"));
            let kinds: Vec<&str> = run["clauses"]
                .as_array()
                .unwrap()
                .iter()
                .map(|clause| clause["what"].as_str().unwrap())
                .collect();
            assert_eq!(kinds, ["uptime", "latency", "budget", "reconnect"]);
            let lines = run["bill"]["lines"].as_array().unwrap();
            let sum: f64 = lines.iter().map(|line| line["amount"].as_f64().unwrap()).sum();
            assert!((sum - run["bill"]["total"].as_f64().unwrap()).abs() < 1e-6 && sum > 10.0);
            // A tenth of a second is about right for two ways of 20 ms and more.
            let p95 = run["clauses"][1]["measured"].as_f64().unwrap();
            assert!(p95 > 0.02 && p95 < 5.0, "{p95}");
        }
    }

    #[test]
    fn the_same_question_has_the_same_answer() {
        assert_eq!(run("hybrid"), run("hybrid"));
    }

    #[test]
    fn a_failure_is_a_mark_and_costs_uptime() {
        let run = run("hybrid");
        assert!(!run["marks"].as_array().unwrap().is_empty());
        assert!(run["clauses"][0]["measured"].as_f64().unwrap() < 1.0);
    }
}

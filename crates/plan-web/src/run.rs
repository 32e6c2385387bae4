//! A run, as a page shows it.

use serde::{Deserialize, Serialize};
use tidegate_plan::{
    Plan, file,
    histogram::Histogram,
    judge::{Clause, Effort, Fidelity, Judge, Judgement, Rare, Verdict, What},
    network::Stage,
    outcome::{BadTime, ClassOutcome, Ledger, Mark, StationOutcome},
    price::Bill,
};

use crate::{Failed, columns::Columns};

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

/// More are for the command line, which has all cores.
const REPLICATIONS_MAX: u32 = 64;

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
    let runs = asked.replications.clamp(1, REPLICATIONS_MAX);
    let effort = Effort {
        fidelity: asked.fidelity,
        runs_min: runs,
        runs_max: runs,
        visits: asked.visits,
        ..Effort::default()
    };
    let mut judge = Judge::new(&plan, &effort).map_err(|refused| Failed::of(refused.to_string()))?;
    while judge.step() {}
    // What would settle a clause takes a while; a slider has to follow at once.
    let judgement = match asked.fidelity {
        Fidelity::Hybrid | Fidelity::Exact if runs > 1 => judge.finish(),
        Fidelity::Fluid | Fidelity::Hybrid | Fidelity::Exact => judge.judgement(),
    };
    Ok(shown(&plan, judgement))
}

fn shown(plan: &Plan, judgement: Judgement) -> Run {
    let nodes = &plan.topology.nodes;
    let Judgement { outcome, network, .. } = judgement;
    let columns = Columns::of(&outcome);
    let mut clauses = judgement.clauses;
    // Without a price there is nothing to show of the budget; `unpriced` says why.
    clauses.retain(|clause| clause.promise.what != What::Budget || clause.measured.is_some());
    let stations = network.stations.iter().zip(outcome.stations);
    Run {
        fidelity: judgement.fidelity,
        runs: judgement.runs,
        length_s: outcome.length,
        sampled_share: outcome.sampled_share,
        visits: outcome.visits,
        connected_max: outcome.connected_max,
        connects_failed: outcome.connects_failed,
        verdict: judgement.verdict,
        probability: judgement.probability,
        clauses,
        rare: judgement.rare,
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
        bill: judgement.bill,
        unpriced: judgement.unpriced,
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
    fn several_runs_have_a_verdict_and_say_what_would_settle_it() {
        let request = json!({"op": "run", "text": file::TEMPLATE, "fidelity": "hybrid", "replications": 4, "visits": 1e5});
        let run: Value = serde_json::from_slice(&crate::answer(request.to_string().as_bytes())).unwrap();
        assert_eq!(run["runs"], 4);
        let chance = run["probability"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&chance));
        let clauses = run["clauses"].as_array().unwrap();
        let is = |standing: &str| clauses.iter().any(|clause| clause["standing"] == standing);
        let verdict = match (is("breaks"), is("too-close")) {
            (true, _) => "breaks",
            (false, true) => "too-close",
            (false, false) => "holds",
        };
        assert_eq!(run["verdict"], verdict);
        for clause in clauses {
            let (low, high) = (&clause["interval"][0], &clause["interval"][1]);
            let measured = clause["measured"].as_f64().unwrap();
            assert!(
                low.as_f64().unwrap() <= measured && measured <= high.as_f64().unwrap(),
                "{clause}"
            );
            assert_eq!(clause["settle"].is_null(), clause["standing"] != "too-close");
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

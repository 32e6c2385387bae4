//! The planner for a page: a request in JSON goes in, an answer in JSON comes out.
//!
//! What may be asked stands in [`Request`]; how a page calls it from JavaScript, in `face`, which exists only
//! in WebAssembly. The same request has the same answer, byte for byte, here, in a page and in CI: of what was
//! asked before it keeps the last judgement alone, so that who asks why need not wait for it again. What takes long
//! tells how far it is ([`Told`]). A request may carry what came with a link, so its text is as hostile as any.

mod columns;
#[cfg(target_arch = "wasm32")]
mod face;
mod fork;
mod kinds;
mod lint;
mod optimize;
mod run;
mod verdict;
mod why;

use std::{cell::RefCell, collections::BTreeMap};

use serde::{Deserialize, Serialize};
use tidegate_plan::{
    Plan, component,
    file::{self, FileError},
    plan::Options,
    why::{Depth, Progress},
};

/// What may be asked.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
enum Request {
    /// The plan a text says.
    Parse { text: String },
    /// The text that says a plan, and the plan as it is read back.
    Write { plan: Box<Plan> },
    /// The kinds of nodes: whom each may call, and the sizes it may have.
    Kinds,
    /// Whether a text's plan keeps its contract, and what it comes to.
    Judge(verdict::Asked),
    /// Why it does, or does not.
    Why {
        #[serde(flatten)]
        asked: verdict::Asked,
        #[serde(default)]
        depth: Depth,
    },
    /// The cheapest design that does.
    Optimize(optimize::Asked),
    /// What rules find in a text's plan.
    Lint(lint::Asked),
}

/// What is told while an answer takes long.
#[derive(Debug, Serialize)]
#[serde(tag = "told", rename_all = "kebab-case")]
enum Told<'a> {
    Judging(verdict::Judging),
    Explaining(Progress),
    Searching(&'a optimize::Searching),
}

/// Takes what is told.
type Tell<'a> = &'a mut dyn FnMut(&Told<'_>);

thread_local! {
    static LAST: RefCell<Option<(verdict::Asked, verdict::Judged)>> = const { RefCell::new(None) };
}

/// A text and its plan, in step.
#[derive(Debug, Serialize)]
struct Document {
    plan: Plan,
    /// Only after a plan was written.
    text: Option<String>,
    /// What it lacks before it can run.
    missing: Vec<Fault>,
    /// What counts for each node, where its options are not set: by its id.
    defaults: BTreeMap<String, Options>,
}

/// What is wrong with a request.
#[derive(Debug, Serialize)]
struct Failed {
    errors: Vec<Fault>,
}

/// One thing that is wrong, and where in the text, if it is there; both from 1.
#[derive(Debug, Serialize)]
struct Fault {
    line: Option<u32>,
    column: Option<u32>,
    message: String,
}

impl From<FileError> for Fault {
    fn from(error: FileError) -> Self {
        let help = match error.help.as_str() {
            "" => String::new(),
            help => format!(" ({help})"),
        };
        let is_there = error.span.is_some();
        Self {
            line: is_there.then_some(error.line),
            column: is_there.then_some(error.column),
            message: format!("{}: {}{help}", error.message, error.allowed),
        }
    }
}

impl Failed {
    fn of(message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            errors: vec![Fault {
                line: None,
                column: None,
                message,
            }],
        }
    }

    fn of_file(errors: Vec<FileError>) -> Self {
        Self {
            errors: errors.into_iter().map(Fault::from).collect(),
        }
    }
}

/// Answers a request; whatever is wrong with it is in the answer. Until then `tell` takes how far it is.
pub fn answer(request: &[u8], tell: &mut dyn FnMut(&[u8])) -> Vec<u8> {
    let mut tell = |told: &Told<'_>| tell(&written(told));
    match serde_json::from_slice(request) {
        Err(error) => written(&Failed::of(format!("this is no request: {error}"))),
        Ok(request) => match answered(request, &mut tell) {
            Ok(answer) => written(&answer),
            Err(failed) => written(&failed),
        },
    }
}

fn answered(request: Request, tell: Tell<'_>) -> Result<Answer, Failed> {
    match request {
        Request::Parse { text } => document(&text, None).map(Answer::Document),
        Request::Write { plan } => {
            let text = file::write(&plan);
            document(&text, Some(text.clone())).map(Answer::Document)
        }
        Request::Kinds => Ok(Answer::Kinds(kinds::kinds())),
        Request::Judge(asked) => {
            let judged = verdict::judge(&asked, tell)?;
            let run = run::Run::of(
                &judged.plan,
                judged.judgement.clone(),
                &judged.first,
                judged.forked.clone(),
            );
            LAST.set(Some((asked, judged)));
            Ok(Answer::Run(Box::new(run)))
        }
        Request::Why { asked, .. } if asked.from.is_some() => Err(Failed::of(
            "causes are found by runs from the beginning: ask without `from`",
        )),
        Request::Why { asked, depth } => {
            let last = LAST.take().filter(|(of, _)| *of == asked);
            let (of, judged) = match last {
                Some(last) => last,
                None => {
                    let judged = verdict::judge(&asked, tell)?;
                    (asked, judged)
                }
            };
            let explained = why::explain(&judged, &depth, tell);
            LAST.set(Some((of, judged)));
            Ok(Answer::Explained(Box::new(explained)))
        }
        Request::Optimize(asked) => {
            optimize::search(&asked, tell).map(|optimized| Answer::Optimized(Box::new(optimized)))
        }
        Request::Lint(asked) => lint::look(&asked).map(Answer::Linted),
    }
}

fn written(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("all keys are strings")
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Document(Box<Document>),
    Kinds(Vec<kinds::KindFacts>),
    Run(Box<run::Run>),
    Explained(Box<why::Explained>),
    Optimized(Box<optimize::Optimized>),
    Linted(lint::Linted),
}

fn document(read: &str, text: Option<String>) -> Result<Box<Document>, Failed> {
    let (plan, missing) = file::draft(read).map_err(Failed::of_file)?;
    let nodes = plan.topology.nodes.iter();
    let defaults = nodes
        .map(|node| (node.id.clone(), component::options(node)))
        .collect();
    Ok(Box::new(Document {
        plan,
        text,
        missing: missing.into_iter().map(Fault::from).collect(),
        defaults,
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn ask(request: &Value) -> Value {
        told(request).1
    }

    /// What was told, and the answer.
    fn told(request: &Value) -> (Vec<Value>, Value) {
        let mut all = Vec::new();
        let mut tell = |told: &[u8]| all.push(serde_json::from_slice(told).unwrap());
        let answer = answer(request.to_string().as_bytes(), &mut tell);
        (all, serde_json::from_slice(&answer).unwrap())
    }

    #[test]
    fn a_text_is_a_plan_and_the_plan_a_text() {
        let parsed = ask(&json!({"op": "parse", "text": file::TEMPLATE}));
        assert_eq!(parsed["plan"]["title"], "A chat");
        assert_eq!(parsed["missing"], json!([]));
        // What is not set of a node is what counts for its kind.
        assert_eq!(
            parsed["plan"]["topology"]["nodes"][1]["options"]["resume_window"],
            Value::Null
        );
        assert_eq!(parsed["defaults"]["ws"]["resume_window"], 120.0);
        let written = ask(&json!({"op": "write", "plan": parsed["plan"]}));
        assert_eq!(written["plan"], parsed["plan"]);
        let again = ask(&json!({"op": "parse", "text": written["text"]}));
        assert_eq!(again["plan"], parsed["plan"]);
    }

    #[test]
    fn an_empty_canvas_can_be_drawn_in_and_says_what_it_lacks() {
        let mut plan = ask(&json!({"op": "parse", "text": file::TEMPLATE}))["plan"].clone();
        plan["failures"]["scheduled"] = json!([]);
        plan["topology"] = json!({"nodes": [], "edges": []});
        let empty = ask(&json!({"op": "write", "plan": plan}));
        assert_eq!(empty["plan"]["topology"]["nodes"], json!([]), "{empty}");
        assert_eq!(empty["missing"].as_array().unwrap().len(), 1);
        let node = |id: &str, kind: &str| json!({"id": id, "kind": kind, "count": 1, "size": "", "zones": 1, "options": {}});
        plan["topology"]["nodes"] = json!([node("ws", "ws"), node("postgres", "postgres")]);
        let loose = ask(&json!({"op": "write", "plan": plan}));
        assert_eq!(
            loose["plan"]["topology"]["nodes"].as_array().unwrap().len(),
            2,
            "{loose}"
        );
        assert!(loose["missing"].as_array().unwrap().len() >= 2, "{loose}");
        plan["topology"]["edges"] =
            json!([{"from": "clients", "to": "ws"}, {"from": "ws", "to": "postgres"}]);
        let whole = ask(&json!({"op": "write", "plan": plan}));
        assert_eq!(whole["missing"], json!([]), "{whole}");
    }

    #[test]
    fn what_is_wrong_stands_at_its_line() {
        let text = file::TEMPLATE.replace("uptime = \"99.9%\"", "uptime = 99.9");
        let answer = ask(&json!({"op": "parse", "text": text}));
        let line = text.lines().position(|line| line.starts_with("uptime")).unwrap() + 1;
        assert_eq!(answer["errors"][0]["line"], line);
        assert!(
            answer["errors"][0]["message"]
                .as_str()
                .unwrap()
                .contains("uptime")
        );
    }

    #[test]
    fn an_edge_that_makes_no_sense_is_no_draft() {
        let text = file::TEMPLATE.replace("ws -> server -> postgres", "postgres -> ws");
        let answer = ask(&json!({"op": "parse", "text": text}));
        assert!(answer["errors"].is_array(), "{answer}");
    }

    #[test]
    fn rules_tell_what_is_weak_with_evidence_and_a_way_out() {
        let text = file::TEMPLATE.replace("[topology]", "[clients]\njitter = \"none\"\n[topology]");
        let request = json!({"op": "lint", "text": text, "today": "2030-01-01", "with_pairs": false});
        let answer = ask(&request);
        assert_eq!(ask(&request), answer, "the same every time");
        let findings = answer["findings"].as_array().unwrap();
        let of = |rule: &str| findings.iter().find(|finding| finding["rule"] == rule).unwrap();
        let storm = of("L12");
        assert_eq!(
            (&storm["severity"], &storm["keys"][0]),
            (&json!("warning"), &json!("clients.jitter"))
        );
        assert_eq!(storm["nodes"], json!(["ws"]));
        assert!(
            storm["evidence"].as_str().unwrap().contains("500 connections"),
            "{storm}"
        );
        assert!(storm["fix"].as_str().unwrap().contains("`jitter = \"full\"`"));
        assert_eq!(of("L35")["name"], "stale-price");
        let wrong = ask(&json!({"op": "lint", "text": "title = 1"}));
        assert_eq!(wrong["errors"][0]["line"], 1);
    }

    #[test]
    fn every_kind_has_a_size_and_is_called_by_someone() {
        let kinds = ask(&json!({"op": "kinds"}));
        let kinds = kinds.as_array().unwrap();
        assert_eq!(kinds.len(), 11);
        for kind in kinds {
            assert!(!kind["sizes"].as_array().unwrap().is_empty(), "{kind}");
            let calls = |other: &Value| other["calls"].as_array().unwrap().contains(&kind["kind"]);
            assert!(kind["is_first"] == true || kinds.iter().any(calls), "{kind}");
        }
    }

    /// A small effort, of so many runs.
    fn judge(fidelity: &str, runs: u32) -> Value {
        let effort = json!({"fidelity": fidelity, "runs_min": runs, "runs_max": runs, "visits": 1e5});
        json!({"op": "judge", "text": file::TEMPLATE, "effort": effort})
    }

    #[test]
    fn a_run_has_what_charts_and_a_contract_need() {
        for fidelity in ["fluid", "hybrid"] {
            let run = ask(&judge(fidelity, 1));
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
    fn a_judgement_tells_how_far_it_is_and_what_would_settle_it() {
        let (told, run) = told(&judge("hybrid", 4));
        let runs: Vec<&Value> = told.iter().map(|told| &told["runs"]).collect();
        assert_eq!(runs, [1, 2, 3]);
        assert!(
            told.iter()
                .all(|told| told["told"] == "judging" && told["wanted"] == 4)
        );
        // The first run is shown before the others are there.
        assert_eq!(told[0]["run"]["runs"], 1);
        assert!(told[1]["run"].is_null());
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
    fn a_fork_has_the_kept_runs_past_and_says_what_differs_since() {
        let hours = |run: &Value, line: &str| run["columns"][line].as_array().unwrap().clone();
        let twice = file::TEMPLATE.replace("count = 2", "count = 3");
        assert_ne!(twice, file::TEMPLATE);
        let from = json!({"text": file::TEMPLATE, "at_s": 86_400.0});
        let mut request = judge("hybrid", 4);
        let kept = ask(&request);
        assert!(kept["forked"].is_null());
        request["from"] = from.clone();
        let same = ask(&request);
        for pair in same["forked"]["pairs"].as_array().unwrap() {
            assert_eq!(pair["before"], pair["after"], "{pair}");
            assert_eq!(pair["interval"], json!([0.0, 0.0]), "{pair}");
        }
        request["text"] = json!(twice);
        let (told, forked) = told(&request);
        assert!(forked["forked"]["unlike"].is_null(), "{}", forked["forked"]);
        assert_eq!(told[0]["run"]["forked"]["at_s"], 86_400.0);
        // A minute is a point.
        for line in ["p95", "wanted", "delivered"] {
            assert_eq!(
                hours(&forked, line)[..24 * 60],
                hours(&kept, line)[..24 * 60],
                "{line}"
            );
        }
        assert_ne!(hours(&forked, "p95"), hours(&kept, "p95"));
        let pairs = forked["forked"]["pairs"].as_array().unwrap();
        let bill = pairs.iter().find(|pair| pair["what"] == "budget").unwrap();
        assert!(bill["interval"][0].as_f64().unwrap() > 1.0, "{bill}");
        for pair in pairs {
            let of = |run: &Value| -> Value {
                let clauses = run["clauses"].as_array().unwrap();
                let is_it =
                    |clause: &&Value| clause["what"] == pair["what"] && clause["class"] == pair["class"];
                clauses.iter().find(is_it).unwrap()["measured"].clone()
            };
            assert_eq!(
                (&pair["before"], &pair["after"]),
                (&of(&kept), &of(&forked)),
                "{pair}"
            );
        }
        request["op"] = json!("why");
        assert!(ask(&request)["errors"].is_array());
    }

    #[test]
    fn what_cannot_take_over_is_compared_from_the_beginning_and_says_why() {
        let mut request = judge("hybrid", 2);
        request["from"] = json!({"text": file::TEMPLATE.replace("seed = 1", "seed = 2"), "at_s": 60.0});
        let unlike = |request: &Value| -> String {
            let run = ask(request);
            assert!(
                run["forked"]["pairs"][0]["interval"].is_array(),
                "{}",
                run["errors"]
            );
            run["forked"]["unlike"].as_str().unwrap().to_owned()
        };
        assert!(unlike(&request).contains("seed"));
        request["from"] = json!({"text": file::TEMPLATE, "at_s": 1e9});
        assert!(unlike(&request).contains("ends before"));
        request["from"] = json!({"text": "title = 1", "at_s": 0.0});
        let message = ask(&request)["errors"][0]["message"].as_str().unwrap().to_owned();
        assert!(message.contains("kept cannot be read"), "{message}");
    }

    #[test]
    fn a_run_says_where_events_wait_and_where_the_error_budget_went() {
        let run = ask(&judge("hybrid", 2));
        let stack = &run["stacks"][0];
        let layers = stack["layers"].as_array().unwrap();
        let sum: f64 = layers
            .iter()
            .map(|layer| layer["seconds"].as_f64().unwrap())
            .sum();
        assert!((sum / stack["latency_s"].as_f64().unwrap() - 1.0).abs() < 1e-3);
        let lines = run["account"]["lines"].as_array().unwrap();
        let bad: f64 = lines.iter().map(|line| line["user_min"].as_f64().unwrap()).sum();
        assert!((bad - run["account"]["bad_min"].as_f64().unwrap()).abs() < 1e-6 && bad > 0.0);
        assert!(!run["marks"].as_array().unwrap().is_empty());
    }

    #[test]
    fn why_is_the_same_whether_it_was_judged_before_or_not() {
        let judge = judge("hybrid", 2);
        let why = json!({
            "op": "why", "text": judge["text"], "effort": judge["effort"],
            "depth": {"pairs": 2, "visits": 5e4, "candidates": 1},
        });
        let (first, fresh) = told(&why);
        let (again, kept) = told(&why);
        assert_eq!(fresh, kept);
        assert_eq!(first[0]["told"], "judging");
        assert!(again.iter().all(|told| told["told"] == "explaining"), "{again:?}");
        let parts: Vec<&str> = again.iter().map(|told| told["part"].as_str().unwrap()).collect();
        assert_eq!(parts.first(), Some(&"screen"));
        assert_eq!(parts.last(), Some(&"kick"));
        assert!(
            fresh["clauses"][1]["sentence"]
                .as_str()
                .unwrap()
                .starts_with("all p95 is ")
        );
        assert!(fresh["kick"]["sentence"].as_str().unwrap().contains("users"));
        let causes = fresh["clauses"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|clause| clause["causes"].as_array().unwrap());
        assert!(causes.clone().count() > 0);
        for cause in causes {
            assert!(!cause["words"].as_str().unwrap().is_empty());
        }
    }

    #[test]
    fn the_file_of_a_design_that_was_found_holds_for_the_money_that_was_said() {
        let effort = json!({"fidelity": "fluid"});
        let (told, found) = told(&json!({
            "op": "optimize", "text": file::TEMPLATE, "effort": effort, "trials": 1000,
        }));
        assert!(
            told.iter()
                .any(|told| told["told"] == "searching" && told["holds"] == true)
        );
        let cheapest = &found["cheapest"];
        let text = &found["texts"]["cheapest"];
        assert!(!cheapest["changes"].as_array().unwrap().is_empty(), "{found}");
        let fluid = json!({"fidelity": "fluid"});
        let run = ask(&json!({"op": "judge", "text": text, "effort": fluid}));
        let monthly = |value: &Value| value.as_f64().unwrap();
        assert!((monthly(&run["bill"]["total"]) - monthly(&cheapest["monthly"])).abs() < 0.01);
        assert!(monthly(&cheapest["monthly"]) < monthly(&found["given"]["monthly"]));
        assert_eq!(
            found["frontier"].as_array().unwrap().len(),
            found["texts"]["frontier"].as_array().unwrap().len()
        );
    }

    #[test]
    fn a_plan_that_cannot_run_is_refused_in_words() {
        let text = file::TEMPLATE.replace("ws -> server -> postgres", "ws -> server");
        for op in ["judge", "why", "optimize"] {
            let answer = ask(&json!({"op": op, "text": text}));
            assert!(answer["errors"][0]["message"].is_string(), "{op}: {answer}");
        }
    }

    #[test]
    fn the_same_question_has_the_same_answer() {
        assert_eq!(ask(&judge("hybrid", 1)), ask(&judge("hybrid", 1)));
    }

    #[test]
    fn junk_is_answered() {
        for junk in [
            &b""[..],
            b"{",
            b"\xff\xfe",
            b"[]",
            b"{\"op\":\"fly\"}",
            b"{\"op\":\"write\",\"plan\":{}}",
        ] {
            let answer: Value = serde_json::from_slice(&answer(junk, &mut |_| {})).unwrap();
            assert!(answer["errors"][0]["message"].is_string());
        }
        let deep = format!("{{\"op\":\"parse\",\"text\":{}", "[".repeat(1_000_000));
        assert!(!answer(deep.as_bytes(), &mut |_| {}).is_empty());
        let long = json!({"op": "parse", "text": "x".repeat(10_000_000)});
        assert!(
            ask(&long)["errors"][0]["message"]
                .as_str()
                .unwrap()
                .contains("bytes")
        );
    }
}

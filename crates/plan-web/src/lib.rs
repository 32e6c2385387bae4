//! The planner for a page: a request in JSON goes in, an answer in JSON comes out.
//!
//! What may be asked stands in [`Request`]; how a page calls it from JavaScript, in `face`, which exists only
//! in WebAssembly. It keeps nothing between two requests: the same request has the same answer, byte for byte, here,
//! in a page and in CI. A request may carry what came with a link, so its text is as hostile as any.

mod columns;
#[cfg(target_arch = "wasm32")]
mod face;
mod kinds;
mod run;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_plan::{
    Plan, component,
    file::{self, FileError},
    plan::Options,
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
    /// What a text's plan comes to.
    Run(run::Asked),
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

/// Answers a request; whatever is wrong with it is in the answer.
pub fn answer(request: &[u8]) -> Vec<u8> {
    let answered = match serde_json::from_slice::<Request>(request) {
        Err(error) => Err(Failed::of(format!("this is no request: {error}"))),
        Ok(Request::Parse { text }) => document(&text, None).map(Answer::Document),
        Ok(Request::Write { plan }) => {
            let text = file::write(&plan);
            document(&text, Some(text.clone())).map(Answer::Document)
        }
        Ok(Request::Kinds) => Ok(Answer::Kinds(kinds::kinds())),
        Ok(Request::Run(asked)) => run::run(&asked).map(|run| Answer::Run(Box::new(run))),
    };
    let written = match &answered {
        Ok(answer) => serde_json::to_vec(answer),
        Err(failed) => serde_json::to_vec(failed),
    };
    written.expect("all keys are strings")
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Document(Box<Document>),
    Kinds(Vec<kinds::KindFacts>),
    Run(Box<run::Run>),
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
        serde_json::from_slice(&answer(request.to_string().as_bytes())).unwrap()
    }

    #[test]
    fn a_text_is_a_plan_and_the_plan_a_text() {
        let parsed = ask(&json!({"op": "parse", "text": file::TEMPLATE}));
        assert_eq!(parsed["plan"]["title"], "A chat");
        assert_eq!(parsed["missing"], json!([]));
        // What is not set of a node is what counts for its kind.
        assert_eq!(
            parsed["plan"]["topology"]["nodes"][1]["options"]["drain"],
            Value::Null
        );
        assert_eq!(parsed["defaults"]["ws"]["drain"], 30.0);
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
            let answer: Value = serde_json::from_slice(&answer(junk)).unwrap();
            assert!(answer["errors"][0]["message"].is_string());
        }
        let deep = format!("{{\"op\":\"parse\",\"text\":{}", "[".repeat(1_000_000));
        assert!(!answer(deep.as_bytes()).is_empty());
        let long = json!({"op": "parse", "text": "x".repeat(10_000_000)});
        assert!(
            ask(&long)["errors"][0]["message"]
                .as_str()
                .unwrap()
                .contains("bytes")
        );
    }
}

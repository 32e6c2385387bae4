//! `tidegate plan compare --from`: a design that takes over from another at a moment of the run.

mod told;

use std::{
    fs,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use told::{err, out, text};

/// Too little for its second hour: what is slow then is the servers.
const PLAN: &str = r#"
title = "fork"
prices = "aws-us-east-1"
[contract]
uptime = "99%"
budget = 400
[contract.latency]
all = "p95 < 200ms"
[scenario]
length = "2h"
users = { shape = "constant", base = 100 }
[class.chat]
rate = "0.2/s"
bytes = "300B"
room = { law = "fixed", size = 10 }
durable = true
[topology]
ways = ["clients -> lb -> ws -> server -> postgres"]
[node.lb]
kind = "lb"
[node.ws]
kind = "ws"
[node.server]
kind = "server"
count = 1
size = "t4g.small"
[node.postgres]
kind = "postgres"
size = "db.t4g.small"
[[failure]]
at = "1h30min"
node = "server"
what = "slow"
factor = 40
lasts = "20min"
[failures]
crashes_per_year = 0
deploys_per_week = 0
"#;

#[test]
fn a_design_takes_over_at_a_moment_and_the_past_is_shared() {
    let dir = tempfile::tempdir().expect("a directory");
    let [a, same, more] = [("a", 1), ("same", 1), ("more", 3)].map(|(name, count)| {
        let file = dir.path().join(format!("{name}.toml"));
        fs::write(&file, PLAN.replace("count = 1", &format!("count = {count}"))).expect("written");
        file
    });
    let late = |compared: &Value, side: &str| -> f64 {
        let clauses = compared["clauses"].as_array().expect("clauses");
        let clause = clauses.iter().find(|clause| {
            clause["name"]
                .as_str()
                .is_some_and(|name| name.starts_with("p95"))
        });
        clause.expect("a latency")[side].as_f64().expect("measured")
    };
    // It goes on as it was: not a bit differs.
    let compared = json(&["compare", text(&a), text(&same), "--from", "1h", "--runs", "2"]);
    assert_eq!(compared["from_s"].as_f64(), Some(3_600.0));
    for clause in compared["clauses"].as_array().expect("clauses") {
        assert_eq!(clause["a"], clause["b"], "{clause}");
    }
    // Three servers from the first hour on meet what happens then; from the last minutes on they come too late.
    let fidelity = ["--runs", "2", "--fidelity", "exact"];
    let from = |at: &str| {
        let mut arguments = vec!["compare", text(&a), text(&more), "--from", at];
        arguments.extend(fidelity);
        json(&arguments)
    };
    let (early, later) = (from("1h"), from("1h55min"));
    assert!(late(&early, "b") < late(&early, "a") / 2.0, "{early:#}");
    assert!(late(&later, "b") > late(&later, "a") * 0.9, "{later:#}");
    let told = plan(&["compare", text(&a), text(&more), "--from", "1h", "--runs", "2"]);
    assert!(out(&told).contains("both are A until 1h;"), "{}", out(&told));
}

#[test]
fn what_cannot_take_over_is_told_why() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, from: &str, to: &str| {
        let file = dir.path().join(name);
        fs::write(&file, PLAN.replace(from, to)).expect("written");
        file
    };
    let a = write("a.toml", "count = 1", "count = 1");
    let crowd = write("crowd.toml", "base = 100", "base = 101");
    let standby = write(
        "standby.toml",
        "size = \"db.t4g.small\"",
        "size = \"db.t4g.small\"\nstandby = true",
    );
    for (b, options, words) in [
        (
            &crowd,
            ["--from", "1h"],
            "its users come and stay otherwise; run it from the beginning",
        ),
        (&standby, ["--from", "1h"], "gains or loses what stands by"),
        (&a, ["--from", "3h"], "the run lasts 2h"),
        (&a, ["--from", "soon"], "a time with its unit"),
    ] {
        let refused = plan(&["compare", text(&a), text(b), options[0], options[1]]);
        // What is no time at all is a wrong command line.
        let status = if options[1] == "soon" { 2 } else { 3 };
        assert_eq!(refused.status.code(), Some(status), "{options:?}");
        assert!(err(&refused).contains(words), "{words}: {}", err(&refused));
    }
    let fluid = plan(&[
        "compare",
        text(&a),
        text(&a),
        "--from",
        "1h",
        "--fidelity",
        "fluid",
    ]);
    assert!(
        fluid.status.code() == Some(3) && err(&fluid).contains("has no state"),
        "{}",
        err(&fluid)
    );
}

fn json(arguments: &[&str]) -> Value {
    let mut all = arguments.to_vec();
    all.push("--json");
    let made = plan(&all);
    assert!(made.status.success(), "{}", err(&made));
    serde_json::from_str(out(&made)).expect("JSON")
}

fn plan(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .arg("plan")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the binary")
}

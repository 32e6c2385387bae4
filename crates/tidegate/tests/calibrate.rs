//! A server is measured, a plan takes what was measured, and the server is held against the plan: the real binary,
//! small counts. Structure and order are asked for, and sizes that no machine misses; no times.

#[allow(dead_code, reason = "shared with tests that use more of it")]
mod support;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    thread,
};

use serde_json::Value;
use support::Server;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const READ_KEY: &str = "reader-reader-reader-reader-reader";
const SYNC: &str = "[[namespace]]\nname = \"sync\"\ndurability = \"sync\"\n";

/// Rooms of ten, in which each of 40 publishes twice a second: 80 publications and 800 deliveries.
const PLAN: &str = r#"
title = "as it is loaded"
prices = "aws-us-east-1"
[contract]
uptime = "99%"
budget = 400
[contract.latency]
all = "p95 < 200ms"
[scenario]
length = "2h"
users = { shape = "constant", base = 40 }
network_p50 = "0s"
network_p95 = "0s"
[class.rooms]
rate = "2/s"
bytes = "600B"
room = { law = "fixed", size = 10 }
[topology]
ways = ["clients -> ws"]
[node.ws]
kind = "ws"
size = "c7g.medium"
[failures]
crashes_per_year = 0
deploys_per_week = 0
"#;

#[test]
fn a_server_is_measured_planned_with_and_held_against_its_plan() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str| dir.path().join(name).to_str().expect("a plain path").to_owned();
    let (costs, plan, calibrated) = (file("costs.toml"), file("plan.toml"), file("calibrated.toml"));
    let server = Server::started(&format!(
        "[engine]\nkind = \"log\"\ndir = \"DATA\"\n[auth]\nkeys = [{{ algorithm = \"HS256\", secret = \"{SECRET}\" }}]\n\
         [[api.keys]]\nname = \"reader\"\nsecret = \"{READ_KEY}\"\nscopes = [\"read\"]\n[[namespace]]\nname = \"load\"\n{SYNC}"
    ));
    let url = format!("ws://{}/v1/ws", server.address());
    let pid = server.pid().to_string();

    let measured = tidegate(&[
        "load",
        "calibrate",
        "--url",
        &url,
        "--secret",
        SECRET,
        "--pid",
        &pid,
        "--emit",
        &costs,
        "--rounds",
        "2",
        "--connections",
        "40",
        "--sizes",
        "2,20",
        "--seconds",
        "1",
        "--idle-seconds",
        "1",
        "--sync",
        "sync",
        "--date",
        "a test",
    ]);
    assert!(measured.status.success(), "{}", err(&measured));
    let text = fs::read_to_string(&costs).expect("the costs were written");
    for line in ["format = 1", "measured = \"a test\"", "payload_bytes = 500"] {
        assert!(text.lines().any(|each| each == line), "{line}: {text}");
    }
    let value = |name: &str| {
        let (_, rest) = text.split_once(&format!("[figure.{name}]\nvalue = "))?;
        rest.lines().next()?.parse::<f64>().ok()
    };
    // What a nanosecond and a tenth of a second would be beside.
    for name in ["handshake", "delivery", "resume"] {
        let value = value(name).unwrap_or_else(|| panic!("{name}: {text}"));
        assert!((1e-7..0.1).contains(&value), "{name} {value}");
    }
    assert!(value("base-bytes").expect("always read") > 1e6, "{text}");

    fs::write(&plan, PLAN).expect("a writable directory");
    let told = tidegate(&[
        "plan",
        "calibrate",
        &plan,
        "--costs",
        &costs,
        "--out",
        &calibrated,
        "--json",
    ]);
    assert_eq!(told.status.code(), Some(0), "{}", err(&told));
    let told: Value = serde_json::from_slice(&told.stdout).expect("JSON");
    let delivery = &told["figures"].as_array().expect("a list").iter();
    let delivery = delivery.clone().find(|figure| figure["figure"] == "ws.delivery");
    let after = delivery.expect("it was measured")["after"]["mid"].as_f64();
    assert_eq!(after, value("delivery"));
    assert_eq!(
        (&told["node"], &told["unused"][0]),
        (&"ws".into(), &"replay".into()),
        "{told}"
    );
    let text = fs::read_to_string(&calibrated).expect("it was written");
    assert!(
        text.contains("costs = \"measured\"") && text.contains("[costs.measured]"),
        "{text}"
    );
    let again = tidegate(&["plan", "calibrate", &calibrated, "--costs", &costs]);
    assert!(out(&again).contains("the plan has just these"), "{}", out(&again));

    // As the plan has it: a publication in a room of ten has nine who hear of it, and its sender.
    let metrics = format!("http://{}/metrics", server.address());
    let load = || {
        let url = url.clone();
        thread::spawn(move || {
            tidegate(&[
                "load",
                "rooms",
                "--url",
                &url,
                "--secret",
                SECRET,
                "--rooms",
                "4",
                "--subscribers",
                "10",
                "--rate",
                "80",
                "--seconds",
                "4",
                "--poisson",
            ])
        })
    };
    let drift = |plan: &str, words: &[&str]| {
        let all = [
            "plan",
            "drift",
            plan,
            "--metrics",
            &metrics,
            "--over",
            "1s",
            "--json",
            "--api-key",
            READ_KEY,
        ];
        tidegate(&[&all, words].concat())
    };
    let running = load();
    support::wait_until("all are connected", || {
        let text = http(&server.address(), "/metrics");
        text.contains("\ntidegate_connections 40.0\n")
    });
    let within = drift(&calibrated, &["--tolerance", "1000%"]);
    let moved = drift(&calibrated, &["--tolerance", "0.1%"]);
    assert!(running.join().expect("it ends").status.success());
    assert_eq!(within.status.code(), Some(0), "{}{}", out(&within), err(&within));
    let figures: Value = serde_json::from_slice(&within.stdout).expect("JSON");
    let figure = |name: &str| {
        let mut all = figures["figures"].as_array().expect("a list").iter();
        all.find(|figure| figure["figure"] == name).expect(name).clone()
    };
    let connections = figure("connections, at the most");
    assert_eq!(
        (&connections["planned"], &connections["measured"]),
        (&40.0.into(), &40.0.into())
    );
    for (name, planned) in [("publications", 80.0), ("deliveries", 800.0)] {
        let figure = figure(name);
        let is_near =
            |value: &Value, share: f64| (value.as_f64().expect("a number") / planned - 1.0).abs() < share;
        assert!(is_near(&figure["planned"], 0.02), "{figure}");
        assert!(is_near(&figure["measured"], 0.6), "{figure}");
    }
    // Something always moves by a thousandth: memory does.
    assert_eq!(moved.status.code(), Some(1), "{}{}", out(&moved), err(&moved));
}

/// `bench/fidelity.py` in small: counts and directions, which hold on any machine, and no times.
#[test]
fn a_plan_and_its_server_count_the_same_and_turn_the_same_way() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::started("[engine]\nkind = \"memory\"\n[[namespace]]\nname = \"load\"\n");
    let url = format!("ws://{}/v1/ws", server.address());
    let pid = server.pid().to_string();
    let [few, many] = [0.5, 8.0].map(|rate: f64| {
        let path = dir.path().join("plan.toml");
        fs::write(
            &path,
            PLAN.replace("rate = \"2/s\"", &format!("rate = \"{rate}/s\"")),
        )
        .expect("writable");
        let path = path.to_str().expect("a plain path");
        let planned = json(&tidegate(&["plan", "run", path, "--fidelity", "fluid", "--json"]));
        let total = (rate * 40.0).to_string();
        let measured = json(&tidegate(&[
            "load",
            "rooms",
            "--url",
            &url,
            "--pid",
            &pid,
            "--rooms",
            "4",
            "--subscribers",
            "10",
            "--rate",
            &total,
            "--seconds",
            "2",
            "--poisson",
            "--json",
        ]));
        let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value}"));
        let class = &planned["classes"][0];
        let per_second = number(&class["published"]) / number(&planned["length_s"]);
        let (published, delivered) = (
            number(&measured["rooms"]["published"]),
            number(&measured["rooms"]["delivered"]),
        );
        // Four standard errors of a Poisson count.
        let expected = per_second * 2.0;
        assert!(
            (published - expected).abs() < 4.0 * expected.sqrt() + 1.0,
            "{published} of {expected}"
        );
        let receivers = number(&class["delivered"]) / number(&class["published"]);
        assert!(
            (delivered / published - receivers).abs() < 0.02,
            "{delivered} of {published}, {receivers}"
        );
        let busy = planned["stations"].as_array().expect("a list").iter();
        let busy = busy
            .map(|station| number(&station["busy_share"]))
            .fold(0.0, f64::max);
        (
            busy,
            number(&measured["cpu_user_s"]) + number(&measured["cpu_kernel_s"]),
        )
    });
    // Sixteen times as much: of the model nearly so; a busier server saves wake-ups, and its clock ticks.
    assert!(many.0 > 8.0 * few.0 && many.0 < 17.0 * few.0, "{few:?} {many:?}");
    assert!(many.1 > few.1, "{few:?} {many:?}");

    // A longer window is a later return.
    let recovered = ["500ms", "8s"].map(|window| {
        let path = dir.path().join("crash.toml");
        let crash = "[[failure]]\nat = \"1h\"\nnode = \"ws\"\nwhat = \"crash\"\nback_after = \"1s\"\n";
        let clients = format!("[clients]\nbackoff_first = \"{window}\"\nbackoff_max = \"8s\"\n");
        fs::write(&path, format!("{PLAN}{crash}{clients}")).expect("writable");
        let path = path.to_str().expect("a plain path");
        let run = json(&tidegate(&["plan", "run", path, "--runs", "4", "--json"]));
        run["connections"]["reconnect_s"]["p99"]
            .as_f64()
            .expect("somebody was cut off")
    });
    assert!(
        recovered[0] >= 1.0 && recovered[1] > recovered[0],
        "{recovered:?}"
    );
}

#[test]
fn what_cannot_be_held_against_a_plan_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).expect("a writable directory");
        path.to_str().expect("a plain path").to_owned()
    };
    let plan = file("plan.toml", PLAN);
    let junk = file("junk.txt", "<html>");
    let nowhere = dir.path().join("nowhere");
    let nowhere = nowhere.to_str().expect("a plain path");
    for (words, said) in [
        (vec!["drift", &plan, "--metrics", &junk], "is given twice"),
        (
            vec!["drift", &plan, "--metrics", &junk, "--metrics", &junk],
            "no metric `tidegate_",
        ),
        (
            vec!["drift", &plan, "--metrics", "http://127.0.0.1:9/metrics"],
            "does not answer",
        ),
        (
            vec!["drift", &plan, "--metrics", &junk, "--metrics", nowhere],
            "there is no file",
        ),
        (
            vec!["calibrate", &plan, "--costs", nowhere],
            "`tidegate load calibrate --emit FILE` writes one",
        ),
        (vec!["calibrate", &plan, "--costs", &junk], "line 1"),
        (
            vec!["calibrate", &plan, "--costs", &plan, "--node", "x"],
            "unknown field",
        ),
    ] {
        let ended = tidegate(&[&["plan"], words.as_slice()].concat());
        assert_eq!(ended.status.code(), Some(3), "{words:?}: {}", out(&ended));
        assert!(err(&ended).contains(said), "{words:?}: {}", err(&ended));
    }
    let nobody = tidegate(&["load", "calibrate", "--emit", nowhere]);
    assert!(
        !nobody.status.success() && err(&nobody).contains("`--pid`"),
        "{}",
        err(&nobody)
    );
    assert!(!Path::new(nowhere).exists());
}

fn tidegate(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(words)
        .output()
        .expect("the binary runs")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}{}", out(output), err(output)))
}

/// A body, by the plainest of clients.
fn http(address: &str, path: &str) -> String {
    use std::io::{Read, Write};
    let mut text = String::new();
    let mut stream = std::net::TcpStream::connect(address).expect("it runs");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {READ_KEY}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    stream.read_to_string(&mut text).expect("it answers");
    text
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

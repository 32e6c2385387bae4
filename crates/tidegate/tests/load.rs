//! `tidegate load` in several processes, against a real server: they count what one would, and
//! nothing is left behind when one of them, or their parent, is killed.

// Of the support, only what starts servers and waits is used here.
#[allow(dead_code, reason = "shared with tests that use more of it")]
mod support;

use std::{
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{Server, wait_until};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn several_processes_count_what_one_does() {
    let server = server("");
    let viral = [
        "viral",
        "--subscribers",
        "31",
        "--quiet",
        "4",
        "--rate",
        "20",
        "--seconds",
        "1",
    ];
    let (alone, shared) = (
        load(&server, &viral, &[]),
        load(&server, &viral, &["--processes", "3"]),
    );
    assert_eq!(alone.get("processes"), None);
    assert_eq!(shared["processes"], 3.0);
    for report in [&alone, &shared] {
        assert_counts(&report["viral"], 20, 20 * 31);
        assert_counts(&report["quiet"], 4, 4 * 5);
        assert_eq!(report["closed_connections"], 0.0);
        let p99 = report["viral"]["p99_ms"].as_f64().unwrap();
        let max = report["viral"]["max_ms"].as_f64().unwrap();
        assert!(p99 > 0.0 && max >= p99 && max < 60_000.0, "{report}");
    }

    let rooms = [
        "rooms",
        "--rooms",
        "7",
        "--subscribers",
        "3",
        "--rate",
        "30",
        "--seconds",
        "1",
    ];
    for processes in [["--processes", "1"], ["--processes", "4"]] {
        assert_counts(&load(&server, &rooms, &processes)["rooms"], 30, 30 * 3);
    }

    // Those that stop reading are in both processes; in the end they read on.
    let slow = [
        "slow",
        "--subscribers",
        "20",
        "--stopped",
        "4",
        "--rate",
        "10",
        "--seconds",
        "1",
    ];
    let report = load(&server, &slow, &["--processes", "2"]);
    assert_counts(&report["others"], 10, 10 * 16);
    assert_counts(&report["stopped"], 10, 10 * 4);
}

#[test]
fn silent_connections_are_shared_too() {
    let server = server("");
    let silent = ["--connections", "50", "--rooms", "5", "--processes", "3"];
    let idle = load(&server, &["idle", "--seconds", "0.1"], &silent);
    assert_eq!(
        (&idle["connections"], &idle["processes"]),
        (&50.0.into(), &3.0.into())
    );
    assert!(idle["connects_per_second"].as_f64().unwrap() > 0.0, "{idle}");
    let storm = load(&server, &["storm"], &silent);
    assert_eq!(
        (&storm["connections"], &storm["processes"]),
        (&50.0.into(), &3.0.into())
    );
    assert!(
        storm["seconds_until_all_are_back"].as_f64().unwrap() > 0.0,
        "{storm}"
    );
}

#[test]
fn one_that_runs_out_of_descriptors_splits_by_itself() {
    let server = server("");
    let limited = |words: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n 256; exec \"$@\"", "sh"]);
        command.arg(env!("CARGO_BIN_EXE_tidegate"));
        command.args(arguments(&server, words, &[])).stdin(Stdio::null());
        command.output().expect("a shell")
    };
    let viral = [
        "viral",
        "--subscribers",
        "500",
        "--quiet",
        "0",
        "--rate",
        "5",
        "--seconds",
        "1",
    ];
    let report = report(&limited(&viral));
    assert_eq!(report["processes"], 3.0);
    assert_counts(&report["viral"], 5, 5 * 500);

    let output = limited(&["publish", "--publishers", "300", "--seconds", "1"]);
    assert_failure(
        &output,
        &["300 connections", "one process of 256 descriptors", "ulimit -n"],
    );
}

#[test]
fn what_cannot_be_split_says_so() {
    let server = server("");
    let output = run(&server, &["publish", "--publishers", "5"], &["--processes", "2"]);
    assert_failure(&output, &["`publish`", "one process only"]);
}

#[test]
fn a_server_that_refuses_is_quoted_with_the_way_out() {
    let server = server("[limits]\nconnections_max = 10\n");
    let rooms = ["rooms", "--rooms", "4", "--subscribers", "5"];
    for processes in ["1", "2"] {
        let output = run(&server, &rooms, &["--processes", processes]);
        let words = ["503", "were let in", "limits.connections_max", "ulimit -n"];
        assert_failure(&output, &words);
        let said = String::from_utf8_lossy(&output.stderr);
        let (_, counts) = said.split_once(": of ").expect("counts");
        let numbers = counts.split([' ', '.']).filter_map(|word| word.parse().ok());
        let counts: Vec<usize> = numbers.take(3).collect();
        let [wanted, let_in, refused] = counts[..] else {
            panic!("{said}");
        };
        assert!(let_in <= 10 && let_in + refused == wanted, "{said}");
        assert_eq!(said.contains("process "), processes == "2", "{said}");
    }
}

#[test]
fn one_killed_process_ends_the_run_in_words() {
    let server = server("");
    let generator = spawn(&server);
    let children = three_children(&generator);
    kill(children[1], Signal::KILL);
    let output = generator.wait_with_output().expect("it ends");
    assert_failure(&output, &["process ", " of 3 ended early", "signal: 9"]);
    assert!(output.stdout.is_empty(), "no report of half a run");
    wait_until("the others are gone", || {
        !children.iter().any(|pid| is_alive(*pid))
    });
}

#[test]
fn one_that_hangs_ends_the_run_in_words() {
    let server = server("");
    let generator = spawn(&server);
    let children = three_children(&generator);
    kill(children[2], Signal::STOP);
    let output = generator.wait_with_output().expect("it ends");
    assert_failure(&output, &["process ", " of 3 has been silent for"]);
    wait_until("all are gone", || !children.iter().any(|pid| is_alive(*pid)));
}

#[test]
fn processes_whose_parent_is_killed_end() {
    let server = server("");
    let mut generator = spawn(&server);
    let children = three_children(&generator);
    generator.kill().expect("it runs");
    generator.wait().expect("it ends");
    wait_until("all are gone", || !children.iter().any(|pid| is_alive(*pid)));
}

// --- helpers

fn server(more: &str) -> Server {
    let config = format!(
        "{more}[engine]\nkind = \"memory\"\n[auth]\nsecret = \"{SECRET}\"\n[[namespace]]\nname = \"load\"\n"
    );
    Server::started(&config)
}

fn arguments(server: &Server, words: &[&str], more: &[&str]) -> Vec<String> {
    let url = format!("ws://{}/v1/ws", server.address());
    let rest = ["--json", "--secret", SECRET, "--url", &url];
    let all = ["load"].iter().chain(words).chain(more).chain(&rest);
    all.map(|word| (*word).to_owned()).collect()
}

fn generator(server: &Server, words: &[&str], more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(arguments(server, words, more)).stdin(Stdio::null());
    command
}

fn run(server: &Server, words: &[&str], more: &[&str]) -> Output {
    generator(server, words, more).output().expect("the binary")
}

fn load(server: &Server, words: &[&str], more: &[&str]) -> Value {
    report(&run(server, words, more))
}

fn report(output: &Output) -> Value {
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{words}{}",
        String::from_utf8_lossy(&output.stdout)
    );
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

fn assert_counts(class: &Value, published: u64, delivered: u64) {
    let counts = ["published", "delivered", "lost", "doubled", "out_of_order"];
    let counted = counts.map(|name| class[name].as_u64().unwrap_or(u64::MAX));
    assert_eq!(counted, [published, delivered, 0, 0, 0], "{class}");
}

fn assert_failure(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in words {
        assert!(said.contains(word), "{word}: {said}");
    }
}

/// A run of three processes that goes on for longer than any test.
fn spawn(server: &Server) -> Child {
    let viral = ["viral", "--subscribers", "30", "--quiet", "0", "--seconds", "600"];
    generator(server, &viral, &["--processes", "3"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary")
}

/// Its processes, once each of them has connections.
fn three_children(generator: &Child) -> Vec<u32> {
    let mut children = Vec::new();
    wait_until("three processes are connected", || {
        children = children_of(generator.id());
        children.len() == 3 && children.iter().all(|pid| sockets_of(*pid) >= 10)
    });
    children
}

fn children_of(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("a /proc").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|(_, of)| of == parent))
        .collect()
}

fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != "Z")
}

/// State and parent (proc_pid_stat(5)).
fn stat(pid: u32) -> Option<(String, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit(')').next()?.split_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

fn sockets_of(pid: u32) -> usize {
    let Ok(open) = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd")) else {
        return 0;
    };
    let targets = open
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok());
    targets
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}

fn kill(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid as i32).expect("not zero");
    kill_process(pid, signal).expect("it runs");
}

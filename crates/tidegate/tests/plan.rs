//! `tidegate plan` as people and CI meet it: the real binary, files good and bad, words and exit codes.

#[path = "plan/check.rs"]
mod check;
mod markup;
mod told;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use told::{err, out, text};

/// A right plan that is quick to run; the parts that tests break are named in it.
const SMALL: &str = r#"
title = "small"
prices = "aws-us-east-1"
[contract]
uptime = "99%"
budget = 400
[contract.latency]
all = "p95 < 200ms"
[scenario]
length = "2h"
users = { shape = "constant", base = 50 }
[class.chat]
rate = "0.1/s"
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
size = "t4g.small"
[node.postgres]
kind = "postgres"
size = "db.t4g.small"
[failures]
crashes_per_year = 0
deploys_per_week = 0
"#;

#[test]
fn the_template_is_written_checked_and_run() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("plan.toml");
    let made = plan(&["new", text(&file)]);
    assert_eq!(code(&made), 0, "{}", err(&made));
    assert!(fs::read_to_string(&file).expect("written").contains("[contract]"));

    let checked = plan(&["check", text(&file), "--no-run"]);
    assert_eq!(code(&checked), 0, "{}", err(&checked));
    for words in ["good", "A chat", "48 h", "100 to 1,000", "2 ws", "99.9 % uptime"] {
        assert!(out(&checked).contains(words), "{words}: {}", out(&checked));
    }

    let ran = plan(&["run", text(&file), "--fidelity", "fluid"]);
    assert!([0, 1].contains(&code(&ran)), "{}", err(&ran));
    for words in [
        "Contract",
        "uptime, of user-minutes",
        "p95 of all classes",
        "Bill of a month, USD",
        "× ",
        "total",
    ] {
        assert!(out(&ran).contains(words), "{words}: {}", out(&ran));
    }
}

#[test]
fn a_file_is_never_overwritten() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("mine.toml");
    fs::write(&file, "mine").expect("written");
    let made = plan(&["new", text(&file)]);
    assert_eq!(code(&made), 3);
    assert!(err(&made).contains("is there already"), "{}", err(&made));
    assert_eq!(fs::read_to_string(&file).expect("there"), "mine");
}

#[test]
fn the_library_is_listed_and_given() {
    let list = plan(&["new", "--list"]);
    assert_eq!(code(&list), 0);
    assert!(out(&list).contains("websocket-scaling-match"), "{}", out(&list));
    let unknown = plan(&["new", "--scenario", "nothing", "-"]);
    assert_eq!(code(&unknown), 3);
    assert!(err(&unknown).contains("viral-room"), "{}", err(&unknown));
    let given = plan(&["new", "--scenario", "viral-room.holds", "-"]);
    let stored = fs::read_to_string(scenarios().join("viral-room.holds.toml")).expect("there");
    assert_eq!(out(&given), stored);
}

#[test]
fn every_scenario_of_the_library_is_right() {
    let files: Vec<PathBuf> = fs::read_dir(scenarios())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    let mut arguments = vec!["check", "--no-run"];
    arguments.extend(files.iter().map(|file| text(file)));
    let checked = plan(&arguments);
    assert_eq!(code(&checked), 0, "{}", err(&checked));
    assert_eq!(out(&checked).matches(": good").count(), files.len());
}

#[test]
fn a_mistake_is_told_with_its_place_and_the_way_out() {
    for (from, to, place, words) in [
        // A cycle.
        (
            "-> postgres\"]",
            "-> postgres -> ws\"]",
            "bad.toml:18:",
            "postgres",
        ),
        // A tier that is named and is not there.
        ("[node.postgres]", "[node.database]", "bad.toml:", "postgres"),
        // A negative rate, and one that is no number.
        ("\"0.1/s\"", "\"-0.1/s\"", "bad.toml:13:8", "-0.1/s"),
        ("budget = 400", "budget = nan", "bad.toml:6:10", "nan"),
        // A unit that was forgotten.
        ("p95 < 200ms", "p95 < 200", "bad.toml:8:7", "ms"),
        ("\"2h\"", "2", "bad.toml:10:10", "`scenario.length` cannot be 2"),
        // A key nobody knows.
        ("durable = true", "durabel = true", "bad.toml:16:1", "durable"),
        // A size without a price.
        (
            "\"db.t4g.small\"",
            "\"db.r6g.large\"",
            "bad.toml:26:1",
            "db.r6g.large",
        ),
        (
            "\"aws-us-east-1\"",
            "\"aws-moon-1\"",
            "bad.toml:3:1",
            "aws-moon-1",
        ),
        ("[contract]", "[contract", "bad.toml:4", "TOML"),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("bad.toml");
        let bad = SMALL.replacen(from, to, 1);
        assert_ne!(bad, SMALL, "{from}");
        fs::write(&file, &bad).expect("written");
        let checked = plan(&["check", text(&file)]);
        assert_eq!(code(&checked), 3, "{to}: {}", out(&checked));
        assert!(
            err(&checked).contains(place) && err(&checked).contains(words),
            "{to}: {place} {words}: {}",
            err(&checked)
        );
        assert!(!err(&checked).contains('\u{1b}'), "no colours in a pipe");
    }
}

#[test]
fn mistakes_are_shown_beside_their_lines_in_code_review() {
    let dir = tempfile::tempdir().expect("a directory");
    let (good, bad, log) = (
        dir.path().join("good.toml"),
        dir.path().join("b d.toml"),
        dir.path().join("log.sarif"),
    );
    fs::write(&good, SMALL).expect("written");
    fs::write(
        &bad,
        SMALL
            .replace("\"2h\"", "2")
            .replace("budget = 400", "budget = -1"),
    )
    .expect("written");
    let gone = "gone.toml";
    let checked = plan(&[
        "check",
        "--no-run",
        text(&good),
        text(&bad),
        gone,
        "--sarif",
        text(&log),
    ]);
    assert_eq!(code(&checked), 3);
    let log: Value = serde_json::from_str(&fs::read_to_string(&log).expect("written")).expect("JSON");
    // What SARIF 2.1.0 requires.
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    assert_eq!(run["tool"]["driver"]["name"], "tidegate plan");
    let rules = list(&run["tool"]["driver"]["rules"]);
    let results = list(&run["results"]);
    assert_eq!(results.len(), 3, "{results:#?}");
    for result in results {
        let rule = &rules[number(&result["ruleIndex"]) as usize];
        assert_eq!(rule["id"], result["ruleId"]);
        assert!(rule["shortDescription"]["text"].is_string() && result["message"]["text"].is_string());
        assert_eq!(result["level"], "error");
    }
    let place = |at: usize| &results[at]["locations"][0]["physicalLocation"];
    assert_eq!(
        (
            &place(0)["region"]["startLine"],
            &place(0)["region"]["startColumn"]
        ),
        (&6.into(), &10.into())
    );
    assert_eq!(place(1)["region"]["startLine"], 10);
    let uri = place(0)["artifactLocation"]["uri"].as_str().expect("a URI");
    assert!(
        uri.starts_with("file:///") && uri.ends_with("/b%20d.toml"),
        "{uri}"
    );
    assert_eq!(place(2)["artifactLocation"]["uri"], "gone.toml");
}

#[test]
fn what_cannot_be_read_has_no_answer() {
    let dir = tempfile::tempdir().expect("a directory");
    let (junk, binary) = (dir.path().join("junk.toml"), dir.path().join("binary.toml"));
    let empty = dir.path().join("empty.toml");
    fs::write(&empty, "").expect("written");
    fs::write(&junk, vec![b'x'; 10 << 20]).expect("written");
    fs::write(&binary, b"title = \"\xff\"").expect("written");
    for (file, words) in [
        (text(&junk), "more than 1 MiB"),
        (text(&binary), "binary.toml:1: this is not UTF-8"),
        ("/nonexistent.toml", "there is no file"),
        (text(dir.path()), "cannot read"),
        (text(&empty), "add `title = "),
    ] {
        let ran = plan(&["run", file]);
        assert_eq!(code(&ran), 3, "{file}");
        assert!(err(&ran).contains(words), "{words}: {}", err(&ran));
        assert_eq!(code(&plan(&["check", file])), 3, "{file}");
        for command in ["lint", "explain", "optimize"] {
            assert_eq!(code(&plan(&[command, file])), 3, "{command} {file}");
        }
    }
    // A wrong command line is clap's to tell.
    assert_eq!(code(&plan(&["run"])), 2);
    assert_eq!(code(&plan(&["run", "x.toml", "--runs", "0"])), 2);
    let ran = from_stdin(&["run", "-"], "title = 1");
    assert_eq!(code(&ran), 3);
    assert!(err(&ran).contains("<stdin>:1:9"), "{}", err(&ran));
}

#[test]
fn the_exit_status_is_the_verdict() {
    let holds = from_stdin(&["run", "-", "--runs", "8"], SMALL);
    assert_eq!(code(&holds), 0, "{}{}", out(&holds), err(&holds));
    assert!(out(&holds).starts_with("HOLDS  small"), "{}", out(&holds));
    let breaks = from_stdin(&["run", "-", "--runs", "8"], &SMALL.replace("200ms", "60ms"));
    assert_eq!(code(&breaks), 1, "{}", err(&breaks));
    let close = from_stdin(&["run", "-", "--runs", "1"], SMALL);
    assert_eq!(
        code(&close),
        2,
        "one run tells nothing of chance: {}",
        err(&close)
    );
    assert!(
        out(&close).starts_with("TOO CLOSE  small") && out(&close).contains("`--runs 8`"),
        "{}",
        out(&close)
    );
    assert!(
        out(&breaks).starts_with("BREAKS  small\nbroken: p95 of all classes"),
        "{}",
        out(&breaks)
    );
}

#[test]
fn the_json_has_a_version_and_adds_up() {
    let ran = from_stdin(&["run", "-", "--json", "--runs", "8"], SMALL);
    let report: Value = serde_json::from_str(out(&ran)).expect("JSON");
    assert_eq!(
        (&report["version"], &report["verdict"]),
        (&1.into(), &"HOLDS".into())
    );
    assert_eq!(
        (&report["file"], &report["fidelity"], &report["runs"]),
        (&"<stdin>".into(), &"hybrid".into(), &8.into())
    );
    let whats: Vec<&str> = list(&report["clauses"])
        .iter()
        .map(|clause| clause["what"].as_str().expect("a word"))
        .collect();
    assert_eq!(whats, ["uptime", "latency", "budget"]);
    let lines = list(&report["bill"]["lines"]);
    let mut sum = 0.0;
    for line in lines {
        let (quantity, rate, amount) = (
            number(&line["quantity"]),
            number(&line["rate"]),
            number(&line["amount"]),
        );
        assert!((quantity * rate - amount).abs() < 1e-9, "{line}");
        sum += amount;
    }
    assert!((sum - number(&report["bill"]["total"])).abs() < 1e-6 && lines.len() >= 5);
    let busy: Vec<f64> = list(&report["stations"])
        .iter()
        .map(|station| number(&station["busy_p99_minute"]))
        .collect();
    assert!(busy.len() >= 4 && busy.is_sorted_by(|a, b| a >= b), "{busy:?}");
    // What a class waits for adds up to its percentile.
    let chat = &report["classes"][0];
    let waits: f64 = list(&chat["waits"])
        .iter()
        .map(|wait| number(&wait["p95_s"]))
        .sum();
    assert!(
        (waits / number(&chat["latency_s"]["p95"]) - 1.0).abs() < 1e-9,
        "{chat}"
    );

    let again = from_stdin(&["run", "-", "--json", "--runs", "8"], SMALL);
    assert_eq!(out(&ran), out(&again), "the same question has the same answer");
}

#[test]
fn each_clause_is_a_test_of_junit() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, junit) = (dir.path().join("a<&\"b.toml"), dir.path().join("junit.xml"));
    fs::write(&file, SMALL.replace("200ms", "60ms")).expect("written");
    let ran = plan(&["run", text(&file), "--fidelity", "fluid", "--junit", text(&junit)]);
    assert_eq!(code(&ran), 1, "{}", err(&ran));
    let xml = fs::read_to_string(&junit).expect("written");
    let elements = markup::elements(&xml);
    let of = |name: &str| {
        elements
            .iter()
            .filter(|(element, _)| element == name)
            .collect::<Vec<_>>()
    };
    // What the schema of JUnit (Jenkins) requires, and what CI shows.
    let suite = &of("testsuite")[0].1;
    assert_eq!(
        (&*suite["tests"], &*suite["failures"], &*suite["errors"]),
        ("3", "1", "0")
    );
    assert!(
        suite["name"].ends_with("a&lt;&amp;&quot;b.toml"),
        "{}",
        suite["name"]
    );
    assert!(
        of("testcase")
            .iter()
            .all(|(_, it)| !it["name"].is_empty() && !it["classname"].is_empty())
    );
    assert_eq!(of("testcase").len(), 3);
    let failure = &of("failure")[0].1;
    assert_eq!(failure["type"], "BREAKS");
    assert!(
        failure["message"].contains("promised ≤ 60 ms"),
        "{}",
        failure["message"]
    );
}

#[test]
fn the_html_is_one_file_that_runs_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, html) = (
        dir.path().join("a<img src=x>.toml"),
        dir.path().join("report.html"),
    );
    let hostile = SMALL.replace(
        "\"small\"",
        r#""</title><script>alert('x')</script>&\u0000\"' onload=\"x""#,
    );
    fs::write(&file, hostile).expect("written");
    let ran = plan(&["run", text(&file), "--runs", "8", "--html", text(&html)]);
    assert_eq!(code(&ran), 0, "{}", err(&ran));
    let page = fs::read_to_string(&html).expect("written");
    // Whatever a name says, the reader sees it as text.
    let elements = markup::elements(&page);
    for (name, attributes) in &elements {
        assert!(
            !["script", "img", "link", "iframe", "a"].contains(&&**name),
            "<{name}>"
        );
        for (key, value) in attributes {
            let is_harmless = !key.starts_with("on") && !["src", "href"].contains(&&**key);
            assert!(is_harmless && !value.contains("url("), "{key}={value}");
        }
    }
    assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)") && page.contains("a&lt;img src=x&gt;.toml"));
    assert!(
        page.contains("default-src &#39;none&#39;")
            && !page.contains("http://")
            && !page.contains("https://")
    );
    let of = |name: &str| elements.iter().filter(|(element, _)| element == name).count();
    assert_eq!(of("svg"), 4);
    assert!(of("tr") > 15 && of("table") >= 4, "{}", of("tr"));
    for words in [
        "HOLDS",
        "Contract",
        "Where it waits",
        "Bill of a month",
        "Stations",
    ] {
        assert!(page.contains(words), "{words}");
    }
}

#[test]
fn the_text_fits_a_hundred_columns() {
    for scenario in ["websocket-scaling-match", "market-data.holds"] {
        let file = scenarios().join(format!("{scenario}.toml"));
        let ran = plan(&["run", text(&file), "--fidelity", "hybrid", "--runs", "1"]);
        for line in out(&ran).lines() {
            assert!(line.chars().count() <= 100, "{scenario}: {line}");
        }
        assert!(!out(&ran).contains('\u{1b}'), "no colours in a pipe");
    }
}

#[test]
fn a_hostile_title_does_not_steer_the_terminal() {
    let hostile = SMALL.replace("\"small\"", r#""a\u001b[2J\u202eb""#);
    for arguments in [
        ["check", "-", "--no-run"].as_slice(),
        &["check", "-", "--fidelity", "fluid"],
        &["run", "-", "--fidelity", "fluid"],
    ] {
        let ran = from_stdin(arguments, &hostile);
        let said = format!("{}{}", out(&ran), err(&ran));
        assert!(said.contains("a\u{fffd}[2J\u{fffd}b"), "{said}");
        assert!(!said.contains(['\u{1b}', '\u{202e}']), "{said:?}");
    }
}

#[test]
fn a_book_of_ones_own_takes_the_place_of_the_plans() {
    let dir = tempfile::tempdir().expect("a directory");
    let book = dir.path().join("book.toml");
    let aws = fs::read_to_string(scenarios().join("../prices/aws-us-east-1.toml")).expect("there");
    fs::write(&book, aws.replace("aws-us-east-1", "mine")).expect("written");
    let ran = from_stdin(
        &["run", "-", "--fidelity", "fluid", "--json", "--book", text(&book)],
        SMALL,
    );
    let report: Value = serde_json::from_str(out(&ran)).expect("JSON");
    assert_eq!(report["bill"]["book"], "mine", "{}", err(&ran));
    fs::write(&book, "name = 5").expect("written");
    let ran = from_stdin(&["run", "-", "--book", text(&book)], SMALL);
    assert_eq!(code(&ran), 3);
    assert!(err(&ran).contains("book.toml:1"), "{}", err(&ran));
}

#[test]
fn two_designs_are_compared_under_the_same_chance() {
    let dir = tempfile::tempdir().expect("a directory");
    let (a, b) = (dir.path().join("a.toml"), dir.path().join("b.toml"));
    fs::write(&a, SMALL).expect("written");
    // The same but for its seed, which does not count.
    fs::write(&b, format!("seed = 99\n{SMALL}")).expect("written");
    let compared = plan(&["compare", text(&a), text(&b), "--runs", "3", "--json"]);
    assert_eq!(code(&compared), 0, "{}", err(&compared));
    let same: Value = serde_json::from_str(out(&compared)).expect("JSON");
    for difference in list(&same["clauses"]).iter().chain(list(&same["nodes"])) {
        assert_eq!(difference["says"], "same", "{difference}");
    }
    assert_eq!(same["is_same_question"], true);

    let more = SMALL.replace(
        "[node.ws]\nkind = \"ws\"",
        "[node.ws]\nkind = \"ws\"\ncount = 3\nzones = 2\n[node.redis]\nkind = \"redis\"",
    );
    let more = more.replace("postgres\"]", "postgres\", \"ws -> redis\"]");
    fs::write(&b, more).expect("written");
    let compared = plan(&["compare", text(&a), text(&b), "--runs", "4"]);
    assert_eq!(code(&compared), 0, "{}", err(&compared));
    let line = |name: &str| {
        let found = out(&compared)
            .lines()
            .find(|line| line.trim_start().starts_with(name));
        found
            .unwrap_or_else(|| panic!("{name}: {}", out(&compared)))
            .to_owned()
    };
    assert!(
        line("bill").ends_with("worse") && line("bill").contains("+$"),
        "{}",
        line("bill")
    );
    assert!(line("ws ").ends_with("less"), "{}", line("ws "));
    assert!(out(&compared).contains("4 pairs of runs"), "{}", out(&compared));
}

/// Its only `ws` is away for ten minutes of two hours: nothing else is wrong.
fn broken() -> String {
    let crash = "[[failure]]\nat = \"1h\"\nnode = \"ws\"\nwhat = \"crash\"\nback_after = \"10min\"\n";
    format!("{SMALL}{crash}")
}

#[test]
fn the_cause_is_what_it_would_hold_without() {
    let explained = from_stdin(&["explain", "-", "--json"], &broken());
    assert_eq!(code(&explained), 1, "{}", err(&explained));
    let answer: Value = serde_json::from_str(out(&explained)).expect("JSON");
    let uptime = &answer["clauses"][0];
    let cause = &uptime["causes"][0];
    assert_eq!(
        (&uptime["promise"]["what"], &uptime["standing"]),
        (&"uptime".into(), &"breaks".into())
    );
    assert_eq!(
        (&cause["is_proven"], &cause["would_hold"]),
        (&true.into(), &true.into()),
        "{cause}"
    );
    assert!(number(&cause["before"]) < 0.95 && number(&cause["after"]) > 0.99);
    assert_eq!(answer["account"]["lines"][0]["node"], "ws");

    let told = from_stdin(&["explain", "-"], &broken());
    for words in [
        "BREAKS",
        "because of the failure of ws",
        "and then it holds",
        "Error budget",
        "Kick:",
    ] {
        assert!(out(&told).contains(words), "{words}: {}", out(&told));
    }
}

#[test]
fn the_cheapest_design_that_holds_is_found_and_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, better) = (dir.path().join("plan.toml"), dir.path().join("better.toml"));
    fs::write(&file, broken()).expect("written");
    let found = plan(&["optimize", text(&file), "--runs", "8", "--out", text(&better)]);
    assert_eq!(code(&found), 0, "{}{}", out(&found), err(&found));
    for words in [
        "does not hold the planned users",
        "ws: count 1 → 2",
        "added, 1 x redis",
        "Cheaper, and why not",
    ] {
        assert!(out(&found).contains(words), "{words}: {}", out(&found));
    }
    let ran = plan(&["run", text(&better), "--json"]);
    assert_eq!(code(&ran), 0, "{}", out(&ran));

    let poor = broken().replace("budget = 400", "budget = 20");
    let found = from_stdin(&["optimize", "-", "--fidelity", "fluid", "--json"], &poor);
    assert_eq!(code(&found), 1, "{}", err(&found));
    let answer: Value = serde_json::from_str(out(&found)).expect("JSON");
    assert_eq!(answer["version"], 1);
    let why = answer["impossible"]["why"].as_str().expect("a reason");
    assert!(["traffic", "too-dear"].contains(&why), "{why}");
}

#[test]
fn a_plan_is_exported_for_other_tools() {
    let exported = from_stdin(&["export", "-", "--json"], SMALL);
    let value: Value = serde_json::from_str(out(&exported)).expect("JSON");
    assert_eq!(value["plan"]["title"], "small");
    assert!(list(&value["network"]["stations"]).len() >= 4);

    let hostile = SMALL.replace("\"small\"", r#""x\"]; evil [label=\"y""#);
    let dot = from_stdin(&["export", "-", "--dot"], &hostile);
    assert!(out(&dot).contains("\"ws\" -> \"server\";"), "{}", out(&dot));
    assert!(
        out(&dot).contains(r#"label="x\"]; evil [label=\"y";"#),
        "{}",
        out(&dot)
    );

    let csv = from_stdin(&["export", "-", "--csv", "--fidelity", "fluid"], SMALL);
    let rows: Vec<&str> = out(&csv).lines().collect();
    assert_eq!(rows.len(), 121, "a title and two hours");
    let columns = rows[0].split(',').count();
    assert!(rows.iter().all(|row| row.split(',').count() == columns) && columns > 20);
    assert!(
        rows[1..]
            .iter()
            .all(|row| row.split(',').all(|cell| cell.parse::<f64>().is_ok()))
    );

    assert_eq!(
        code(&from_stdin(&["export", "-"], SMALL)),
        2,
        "a form is asked for"
    );
}

#[test]
fn the_page_is_served_on_this_machine_with_the_plan_in_its_address() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("plan.toml");
    fs::write(&file, SMALL).expect("written");
    let mut child = command(&["open", text(&file)])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary");
    let mut url = String::new();
    BufReader::new(child.stdout.take().expect("piped"))
        .read_line(&mut url)
        .expect("an address");
    let (host, rest) = url
        .trim()
        .strip_prefix("http://")
        .and_then(|url| url.split_once('/'))
        .expect("a URL");
    let (path, fragment) = rest.split_once('#').expect("a plan");
    assert!(
        host.starts_with("127.0.0.1:") && path == "planner/" && fragment.starts_with("1."),
        "{url}"
    );
    for (path, status, words) in [
        ("/planner/", "200", "content-security-policy: default-src 'none'"),
        ("/", "308", "location: /planner/"),
        ("/v1/publish", "404", ""),
        ("/planner/../../etc/passwd", "404", ""),
    ] {
        let answer = get(host, path);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(words),
            "{path}: {answer:.300}"
        );
    }
    let pid = rustix::process::Pid::from_raw(child.id() as i32).expect("not zero");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

fn get(host: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(host).expect("it listens");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn the_book_tells_of_every_command_and_option() {
    let book = fs::read_to_string(scenarios().join("../docs/planner.md")).expect("there");
    let help = plan(&["--help"]);
    let commands = out(&help).split("Commands:").nth(1).expect("a list");
    let names: Vec<&str> = commands
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty() && !name.starts_with('-'))
        .collect();
    assert!(names.contains(&"run") && names.contains(&"open"), "{names:?}");
    for name in names {
        assert!(book.contains(&format!("`plan {name}")), "plan {name}");
        let help = plan(&[name, "--help"]);
        let words = out(&help)
            .split([' ', ',', '\n'])
            .filter(|word| word.starts_with("--"));
        for option in words.filter(|option| *option != "--help") {
            let option = option.trim_end_matches(['.', ')', '`', ';']);
            assert!(book.contains(option), "plan {name} {option}");
        }
    }
}

#[test]
fn the_schema_knows_the_keys() {
    let schema: Value = serde_json::from_str(out(&plan(&["schema"]))).expect("JSON");
    assert!(schema["properties"]["contract"].is_object(), "{schema}");
}

fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios")
}

fn plan(arguments: &[&str]) -> Output {
    command(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the binary")
}

fn from_stdin(arguments: &[&str], input: &str) -> Output {
    let mut child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary");
    let mut stdin = child.stdin.take().expect("piped");
    // It may refuse its command line before it reads.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.arg("plan").args(arguments).env_remove("NO_COLOR");
    command
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("no signal")
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

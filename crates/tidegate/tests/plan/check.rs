//! `plan check` and `plan lint` in CI: statuses, places, forms, and the time there is.

use super::*;

/// As [`SMALL`], with two of each: no rule finds an error.
fn sound() -> String {
    SMALL
        .replace("[node.ws]\nkind = \"ws\"", "[node.ws]\nkind = \"ws\"\ncount = 2\nzones = 2\n[node.redis]\nkind = \"redis\"\ncount = 2\nzones = 2")
        .replace("[node.server]\nkind = \"server\"", "[node.server]\nkind = \"server\"\ncount = 2\nzones = 2")
        .replace("[node.postgres]\nkind = \"postgres\"", "[node.postgres]\nkind = \"postgres\"\nstandby = true\nzones = 2")
        .replace("postgres\"]", "postgres\", \"ws -> redis\"]")
}

#[test]
fn a_check_judges_and_asks_the_rules() {
    let fluid = ["check", "-", "--fidelity", "fluid"];
    let good = from_stdin(&fluid, &sound());
    assert_eq!(code(&good), 0, "{}{}", out(&good), err(&good));
    assert!(out(&good).contains("<stdin>: HOLDS"), "{}", out(&good));
    let breaks = from_stdin(&fluid, &sound().replace("200ms", "60ms"));
    assert_eq!(code(&breaks), 1, "{}", out(&breaks));
    let close = from_stdin(&["check", "-", "--runs", "1"], &sound());
    assert_eq!(code(&close), 2, "{}", out(&close));
    // The contract holds, and clients give up before it says they may.
    let flawed = sound().replace("[topology]", "[clients]\ntimeout = \"150ms\"\n[topology]");
    let flawed = from_stdin(&fluid, &flawed);
    assert_eq!(code(&flawed), 4, "{}", out(&flawed));
    for words in [
        "HOLDS",
        "<stdin>:18:1: error L11 timeout-inversion",
        "→ `timeout",
        "common mistake: retries",
    ] {
        assert!(out(&flawed).contains(words), "{words}: {}", out(&flawed));
    }
}

#[test]
fn of_several_plans_the_gravest_counts_and_all_are_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str| dir.path().join(name);
    let (good, breaks, wrong) = (file("good.toml"), file("breaks.toml"), file("wrong.toml"));
    fs::write(&good, sound()).expect("written");
    fs::write(
        &breaks,
        sound()
            .replace("200ms", "60ms")
            .replace("[topology]", "[clients]\njitter = \"none\"\n[topology]"),
    )
    .expect("written");
    fs::write(&wrong, SMALL.replace("\"2h\"", "2")).expect("written");
    let (log, xml) = (file("plan.sarif"), file("plan.xml"));
    let checked = plan(&[
        "check",
        text(&good),
        text(&breaks),
        text(&wrong),
        "--fidelity",
        "fluid",
        "--json",
        "--sarif",
        text(&log),
        "--junit",
        text(&xml),
    ]);
    assert_eq!(code(&checked), 3, "{}", err(&checked));
    let answer: Value = serde_json::from_str(out(&checked)).expect("JSON");
    let says: Vec<&str> = list(&answer["files"])
        .iter()
        .map(|file| file["says"].as_str().expect("a word"))
        .collect();
    assert_eq!(
        (&answer["status"], &says[..]),
        (&3.into(), &["holds", "breaks", "invalid"][..])
    );
    assert_eq!(answer["files"][1]["report"]["verdict"], "BREAKS");
    assert_eq!(answer["files"][2]["mistakes"][0]["line"], 10);
    let finding = &answer["files"][1]["findings"][0];
    assert!(finding["rule"].is_string() && finding["evidence"].is_string() && finding["fix"].is_string());

    let log: Value = serde_json::from_str(&fs::read_to_string(&log).expect("written")).expect("JSON");
    let run = &log["runs"][0];
    let results = list(&run["results"]);
    let rules = list(&run["tool"]["driver"]["rules"]);
    for result in results {
        let rule = &rules[number(&result["ruleIndex"]) as usize];
        assert_eq!(rule["id"], result["ruleId"]);
    }
    let cites = |rule: &str| results.iter().filter(|result| result["ruleId"] == rule).count();
    assert_eq!((cites("plan-contract"), cites("plan-file")), (1, 1));
    assert!(cites("L10") > 0 && results.iter().any(|result| result["level"] == "note"));
    let broken = results
        .iter()
        .find(|result| result["ruleId"] == "plan-contract")
        .expect("there");
    assert_eq!(
        broken["locations"][0]["physicalLocation"]["region"]["startLine"],
        8
    );

    let xml = fs::read_to_string(&xml).expect("written");
    let elements = markup::elements(&xml);
    let of = |name: &str| elements.iter().filter(|(element, _)| element == name).count();
    assert_eq!(of("testsuite"), 3);
    assert!(of("failure") >= 2 && xml.contains("type=\"INVALID\"") && xml.contains("type=\"BREAKS\""));

    let html = plan(&[
        "check",
        text(&good),
        text(&breaks),
        "--html",
        text(&file("x.html")),
    ]);
    assert_eq!(code(&html), 3);
    assert!(err(&html).contains("shows one plan"), "{}", err(&html));
}

#[test]
fn the_template_passes_its_check() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("plan.toml");
    assert_eq!(code(&plan(&["new", text(&file)])), 0);
    let checked = plan(&["check", text(&file), "--fidelity", "fluid"]);
    assert_eq!(code(&checked), 0, "{}{}", out(&checked), err(&checked));
}

#[test]
fn findings_have_places_evidence_and_a_way_out() {
    let file = scenarios().join("websocket-scaling-match.toml");
    let linted = plan(&["lint", text(&file), "--json"]);
    assert_eq!(code(&linted), 4, "{}", err(&linted));
    let answer: Value = serde_json::from_str(out(&linted)).expect("JSON");
    let findings = list(&answer["files"][0]["findings"]);
    let jitter = findings
        .iter()
        .find(|finding| finding["keys"][0] == "clients.jitter")
        .expect("there");
    let source = fs::read_to_string(&file).expect("there");
    let line = source
        .lines()
        .nth(number(&jitter["line"]) as usize - 1)
        .expect("there");
    assert_eq!(line, "jitter = \"none\"");
    assert_eq!(
        jitter["mistake"],
        "reconnect backoff and connection-aware planning"
    );
    let told = plan(&["lint", text(&file)]);
    for line in out(&told).lines().filter(|line| line.starts_with(' ')) {
        assert!(line.chars().count() <= 100, "{line}");
    }
    assert!(out(&told).contains("error L12 reconnect") && !out(&told).contains('\u{1b}'));
    let holds = plan(&[
        "lint",
        text(&scenarios().join("websocket-scaling-match.holds.toml")),
    ]);
    assert_eq!(code(&holds), 0, "{}", out(&holds));
}

#[test]
fn time_that_is_used_up_is_told() {
    let file = scenarios().join("websocket-scaling-match.holds.toml");
    let ran = plan(&["run", text(&file), "--within", "1ms", "--json"]);
    assert_eq!(code(&ran), 2, "{}", err(&ran));
    let report: Value = serde_json::from_str(out(&ran)).expect("JSON");
    assert!(
        number(&report["runs"]) < 8.0 && number(&report["cut_short"]["wanted"]) >= 8.0,
        "{report:#}"
    );
    let ran = from_stdin(&["run", "-", "--within", "10m", "--runs", "8", "--json"], SMALL);
    let report: Value = serde_json::from_str(out(&ran)).expect("JSON");
    assert_eq!((code(&ran), &report["cut_short"]), (0, &Value::Null));
}

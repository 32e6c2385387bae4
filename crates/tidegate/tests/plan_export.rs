//! `tidegate plan export` as other tools meet it: each form is read by what it is made for, the server's own
//! check, a YAML parser, a shell and the load generator.

mod told;

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use told::{err, out, text as path};
use yaml_rust2::{Yaml, YamlLoader};

/// Rooms, one room for all that is coalescible, and small rooms of what is; a zone more, an autoscaler, names that
/// YAML and Kubernetes would take for something else.
const PLAN: &str = r#"
title = "a: [b] # \"c\"\nd"
prices = "aws-us-east-1"
[contract]
uptime = "99%"
budget = 4000
reconnect = "20s"
loss = "1%"
[contract.latency]
all = "p95 < 200ms"
[scenario]
length = "2h"
users = { shape = "constant", base = 40 }
slow_readers = "10%"
[class.chat]
rate = "0.1/s"
bytes = "300B"
room = { law = "geometric", mean = 10 }
durable = true
[class.cursor]
rate = "1/s"
bytes = "90B"
room = { law = "fixed", size = 4 }
coalescible = true
[class.price]
rate = "0.1/s"
bytes = "180B"
room = { law = "everyone" }
coalescible = true
newest_of = "room"
[class.emoji]
rate = "0.1/s"
bytes = "80B"
room = { law = "zipf", exponent = 1.1, largest_share = "30%" }
priority = 0
[[burst]]
kind = "mmpp"
factor = 3
quiet = "10min"
loud = "5s"
classes = ["chat"]
[topology]
ways = [
  "clients -> lb -> limit -> on -> app_1 -> app-1",
  "on -> cache",
  "app_1 -> jobs -> hands -> app-1",
]
[node.lb]
kind = "lb"
[node.limit]
kind = "limiter"
[node.on]
kind = "ws"
count = 3
zones = 3
autoscale_max = 6
drain = "20s"
conflate_rate = "5/s"
[node.app_1]
kind = "server"
count = 2
[node.app-1]
kind = "postgres"
standby = true
zones = 2
[node.cache]
kind = "redis"
[node.jobs]
kind = "stream"
count = 3
[node.hands]
kind = "worker"
autoscale_max = 4
[failures]
crashes_per_year = 0
deploys_per_week = 0
"#;

#[test]
fn the_configuration_of_every_scenario_passes_the_servers_check() {
    let dir = tempfile::tempdir().expect("a directory");
    for plan in library(dir.path()) {
        let made = export(&plan, &["--tidegate"]);
        check(dir.path(), &made, &plan);
        // Each value has beside it what it comes from.
        let is_value = |line: &&str| !line.is_empty() && !line.starts_with(['#', '[']);
        for line in made.lines().filter(is_value) {
            let (value, why) = line
                .split_once(" # ")
                .unwrap_or_else(|| panic!("no reason: {line}"));
            assert!(value.contains(" = ") && why.len() > 5, "{line}");
        }
        let classes = fs::read_to_string(&plan)
            .expect("a plan")
            .matches("\n[class.")
            .count();
        assert_eq!(
            made.matches("[[namespace]]").count(),
            classes,
            "{}",
            plan.display()
        );
    }
}

#[test]
fn limits_follow_from_the_plan() {
    let dir = tempfile::tempdir().expect("a directory");
    let plan = library(dir.path()).remove(0);
    let made = export(&plan, &["--tidegate"]);
    for line in [
        // Three machines of which one is away carry 40 users: 20 each, and a fifth more.
        "connections_max = 24 ",
        // 40 connections' drain over the plan's 20 s.
        "within = \"20s\" ",
        "come_back = \"elsewhere\" ",
        // A t4g.small of the plan's default for `ws` has 2 GB.
        "memory_max = \"1525MiB\" ",
        // 0.3 + 1 + 0.1 + 0.1 while the chat is loud: twice that, and two.
        "connection_publishes = 5 ",
        "name = \"cursor\" ",
        "lane = \"latest\" ",
        // The price is one for the whole room, a cursor one for each of four.
        "keys_max = 1 ",
        "keys_max = 4 ",
        // Nothing durable, shed first, and the contract agrees to a loss.
        "lane = \"lossy\" ",
        "durability = \"sync\" ",
    ] {
        assert!(made.contains(line), "{line}\n{made}");
    }
    // A lone machine sends its clients to its successor.
    let text = fs::read_to_string(&plan).expect("a plan");
    let alone = text.replace("count = 3\nzones = 3\nautoscale_max = 6", "count = 1");
    let file = dir.path().join("alone.toml");
    fs::write(&file, alone).expect("written");
    let made = export(&file, &["--tidegate"]);
    assert!(
        made.contains("come_back = \"here\" ") && made.contains("connections_max = 48 "),
        "{made}"
    );
}

#[test]
fn a_compose_file_has_every_node_and_the_configuration_in_it() {
    let dir = tempfile::tempdir().expect("a directory");
    for plan in library(dir.path()) {
        let made = export(&plan, &["--compose"]);
        let file = one(&made);
        let services = file["services"].as_hash().expect("services");
        for (name, service) in services {
            let name = name.as_str().expect("a name");
            assert!(
                service["image"].as_str().is_some_and(|image| !image.is_empty()),
                "{name}"
            );
            assert!(
                service["deploy"]["replicas"]
                    .as_i64()
                    .is_some_and(|count| count > 0),
                "{name}"
            );
            for other in list(&service["depends_on"]) {
                assert!(services.contains_key(other), "{name} → {other:?}");
            }
            for config in list(&service["configs"]) {
                assert!(
                    !file["configs"][config["source"].as_str().expect("named")].is_badvalue(),
                    "{name}"
                );
            }
        }
        let config = file["configs"]["tidegate"]["content"].as_str().expect("inside");
        check(dir.path(), config, &plan);
    }
    let made = export(&dir.path().join("plan.toml"), &["--compose"]);
    let file = one(&made);
    let services = &file["services"];
    assert_eq!(services["on"]["deploy"]["replicas"].as_i64(), Some(3));
    assert_eq!(
        services["on"]["deploy"]["resources"]["limits"]["cpus"].as_str(),
        Some("1")
    );
    // Its clients' drain, and ten seconds.
    assert_eq!(services["on"]["stop_grace_period"].as_str(), Some("30s"));
    assert_eq!(services["app-1"]["image"].as_str(), Some("postgres:17"));
    assert_eq!(services["jobs"]["image"].as_str(), Some("nats:2"));
    // A worker asks the stream that the plan's edge leads from.
    assert!(list(&services["hands"]["depends_on"]).contains(&Yaml::String("jobs".to_owned())));
    assert!(services["jobs"]["depends_on"].is_badvalue());
    assert!(services["limit"].is_badvalue(), "in the process of its callers");
    // The limiter is looked through: the balancer leads to the machines behind it.
    let balancer = file["configs"]["haproxy-lb"]["content"].as_str().expect("inside");
    for line in [
        "balance leastconn",
        "option httpchk GET /v1/ready",
        "server-template on- 1-3 on:8600 check inter 10s fall 2",
    ] {
        assert!(balancer.contains(line), "{line}\n{balancer}");
    }
}

#[test]
fn kubernetes_manifests_are_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    for plan in library(dir.path()) {
        let documents = YamlLoader::load_from_str(&export(&plan, &["--kubernetes"])).expect("YAML");
        let mut seen = BTreeSet::new();
        for document in documents.iter().filter(|document| !document.is_null()) {
            let kind = document["kind"].as_str().expect("a kind");
            let name = document["metadata"]["name"].as_str().expect("a name");
            let is_label = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-';
            assert!(name.chars().all(is_label) && name.len() <= 63, "{name}");
            assert!(
                seen.insert((kind.to_owned(), name.to_owned())),
                "{kind} {name} twice"
            );
            let template = &document["spec"]["template"];
            if !template.is_badvalue() {
                assert_eq!(
                    document["spec"]["selector"]["matchLabels"]["app"], template["metadata"]["labels"]["app"],
                    "{kind} {name}"
                );
                let container = &template["spec"]["containers"][0];
                for volume in list(&container["volumeMounts"]) {
                    let claims = list(&document["spec"]["volumeClaimTemplates"]);
                    let named = claims.iter().map(|claim| &claim["metadata"]["name"]);
                    let others = list(&template["spec"]["volumes"]);
                    let mut names = named.chain(others.iter().map(|volume| &volume["name"]));
                    assert!(names.any(|name| *name == volume["name"]), "{volume:?}");
                }
            }
            if kind == "ConfigMap" {
                check(
                    dir.path(),
                    document["data"]["tidegate.toml"].as_str().expect("inside"),
                    &plan,
                );
            }
        }
    }
    let made = export(&dir.path().join("plan.toml"), &["--kubernetes"]);
    let documents = YamlLoader::load_from_str(&made).expect("YAML");
    let of = |kind: &str, name: &str| {
        let found = documents.iter().find(|document| {
            document["kind"].as_str() == Some(kind) && document["metadata"]["name"].as_str() == Some(name)
        });
        found.unwrap_or_else(|| panic!("no {kind} {name}\n{made}"))
    };
    let pod = &of("StatefulSet", "on")["spec"]["template"]["spec"];
    // Five until balancers forget it, the drain's twenty, and ten.
    assert_eq!(pod["terminationGracePeriodSeconds"].as_i64(), Some(35));
    let container = &pod["containers"][0];
    assert_eq!(
        container["readinessProbe"]["httpGet"]["path"].as_str(),
        Some("/v1/ready")
    );
    assert_eq!(
        container["livenessProbe"]["httpGet"]["path"].as_str(),
        Some("/v1/live")
    );
    assert_eq!(
        container["lifecycle"]["preStop"]["sleep"]["seconds"].as_i64(),
        Some(5)
    );
    assert_eq!(container["resources"]["requests"]["cpu"].as_str(), Some("900m"));
    let scaler = &of("HorizontalPodAutoscaler", "on")["spec"];
    assert_eq!(
        (scaler["minReplicas"].as_i64(), scaler["maxReplicas"].as_i64()),
        (Some(3), Some(6))
    );
    assert_eq!(
        scaler["metrics"][0]["pods"]["metric"]["name"].as_str(),
        Some("tidegate_connections")
    );
    assert_eq!(
        of("PodDisruptionBudget", "on")["spec"]["maxUnavailable"].as_i64(),
        Some(1)
    );
    // `app_1` and `app-1` come to the same label: the second has a number.
    of("Deployment", "app-1");
    assert_eq!(
        of("Service", "app-1-2")["spec"]["type"].as_str(),
        Some("ExternalName")
    );
    assert_eq!(
        of("Service", "lb")["spec"]["selector"]["app"].as_str(),
        Some("on")
    );
    assert_eq!(
        of("HorizontalPodAutoscaler", "hands")["spec"]["maxReplicas"].as_i64(),
        Some(4)
    );
}

#[test]
fn alert_rules_name_only_metrics_that_there_are() {
    let book = fs::read_to_string(root().join("docs/metrics.md")).expect("the book");
    let known: Vec<(&str, &str)> = book
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .map(|(name, rest)| (name, rest.split(" |").next().unwrap_or_default()))
        .collect();
    assert!(known.len() > 50, "{known:?}");
    let dir = tempfile::tempdir().expect("a directory");
    for plan in library(dir.path()) {
        let made = export(&plan, &["--alerts"]);
        let file = one(&made);
        let rules = list(&file["groups"][0]["rules"]);
        assert!(rules.len() >= 10, "{made}");
        let mut names = BTreeSet::new();
        for rule in rules {
            let name = rule["alert"].as_str().expect("a name");
            assert!(names.insert(name), "{name} twice");
            assert!(["critical", "warning"].contains(&rule["labels"]["severity"].as_str().expect("one")));
            for text in ["summary", "description"] {
                assert!(
                    rule["annotations"][text]
                        .as_str()
                        .is_some_and(|text| !text.is_empty()),
                    "{name}"
                );
            }
            let expression = rule["expr"].as_str().expect("an expression");
            assert_eq!(
                expression.matches('(').count(),
                expression.matches(')').count(),
                "{expression}"
            );
            let threshold = expression.rsplit(' ').next().expect("a threshold");
            assert!(threshold.parse::<f64>().is_ok_and(f64::is_finite), "{expression}");
            let is_of_name = |char: char| char.is_ascii_alphanumeric() || char == '_';
            let mut found = 0;
            for (at, _) in expression.match_indices("tidegate_") {
                let rest = &expression[at..];
                let end = rest.find(|char| !is_of_name(char)).unwrap_or(rest.len());
                let metric = known.iter().find(|(name, _)| *name == &rest[..end]);
                let (_, labels) = metric.unwrap_or_else(|| panic!("no metric {}", &rest[..end]));
                if let Some(selector) = rest[end..].strip_prefix('{') {
                    let label = selector.split(['=', '!']).next().expect("a label");
                    assert!(labels.split(", ").any(|known| known == label), "{expression}");
                }
                found += 1;
            }
            assert!(found > 0, "{expression}");
        }
    }
}

#[test]
fn the_load_script_runs_against_a_server() {
    let dir = tempfile::tempdir().expect("a directory");
    let plan = library(dir.path()).remove(0);
    let script = dir.path().join("load.sh");
    let made = export(&plan, &["--load-script"]);
    fs::write(&script, &made).expect("written");
    // What its header asks of the server is what it needs.
    let config: String = made
        .lines()
        .filter_map(|line| line.strip_prefix("#   "))
        .map(|line| format!("{line}\n"))
        .collect();
    let file = dir.path().join("tidegate.toml");
    fs::write(
        &file,
        format!("listen = \"127.0.0.1:0\"\n[engine]\nkind = \"memory\"\n{config}"),
    )
    .expect("written");
    let server = Server::start(&file);
    // The same commands, for a second each.
    let short = dir.path().join("tidegate");
    let shim = format!(
        "#!/bin/sh\nwords=\nskip=\nfor word; do\n  if [ -n \"$skip\" ]; then word=1; skip=; fi\n  \
         if [ \"$word\" = --seconds ]; then skip=1; fi\n  words=\"$words $word\"\ndone\n\
         echo \"$words\"\nexec {} $words\n",
        env!("CARGO_BIN_EXE_tidegate")
    );
    fs::write(&short, shim).expect("written");
    fs::set_permissions(&short, fs::Permissions::from_mode(0o755)).expect("allowed");
    let ran = Command::new("sh")
        .arg(&script)
        .env("TIDEGATE", &short)
        .env("TIDEGATE_URL", format!("ws://{}/v1/ws", server.address))
        .stdin(Stdio::null())
        .output()
        .expect("a shell");
    assert!(ran.status.success(), "{}\n{}", out(&ran), err(&ran));
    for workload in ["load rooms", "load mixed", "load slow", "load storm"] {
        assert!(out(&ran).contains(workload), "{workload}\n{}", out(&ran));
    }
}

#[test]
fn a_scale_is_a_share_of_the_users() {
    let dir = tempfile::tempdir().expect("a directory");
    let plan = root().join("scenarios/chat-at-scale.holds.toml");
    let whole = export(&plan, &["--load-script", "--scale", "1"]);
    let tenth = export(&plan, &["--load-script", "--scale", "0.1"]);
    let own = export(&plan, &["--load-script"]);
    let connections = |script: &str| -> f64 {
        let storm = script
            .lines()
            .find(|line| line.contains(" load storm "))
            .expect("a storm");
        let words: Vec<&str> = storm.split(' ').collect();
        let at = words
            .iter()
            .position(|word| *word == "--connections")
            .expect("given");
        words[at + 1].parse().expect("a number")
    };
    assert!(
        (connections(&whole) / connections(&tenth) - 10.0).abs() < 0.1,
        "{whole}\n{tenth}"
    );
    assert!(
        connections(&own) <= connections(&whole),
        "no more than one machine opens"
    );
    for wrong in [["--scale", "0"], ["--scale", "2"], ["--scale", "nan"]] {
        let refused = run(&["plan", "export", path(&plan), "--load-script", wrong[0], wrong[1]]);
        assert_eq!(refused.status.code(), Some(2), "{wrong:?}");
    }
    let elsewhere = run(&["plan", "export", path(&plan), "--json", "--scale", "0.5"]);
    assert_eq!(elsewhere.status.code(), Some(3));
    drop(dir);
}

#[test]
fn a_design_without_tidegate_has_no_such_forms() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("hosted.toml");
    let hosted = "title = \"h\"\nprices = \"aws-us-east-1\"\n[contract]\nuptime = \"99%\"\nbudget = 400\n\
        [contract.latency]\nall = \"p95 < 200ms\"\n[scenario]\nlength = \"1h\"\nusers = { shape = \"constant\", base = 50 }\n\
        [class.chat]\nrate = \"0.1/s\"\nbytes = \"300B\"\nroom = { law = \"fixed\", size = 10 }\n\
        [topology]\nways = [\"clients -> far\"]\n[node.far]\nkind = \"hosted\"\n";
    fs::write(&file, hosted).expect("written");
    for form in [
        "--tidegate",
        "--compose",
        "--kubernetes",
        "--alerts",
        "--load-script",
    ] {
        let refused = run(&["plan", "export", path(&file), form, "--fidelity", "fluid"]);
        assert_eq!(refused.status.code(), Some(3), "{form}");
        assert!(
            err(&refused).contains("`far` holds the connections, and is not Tidegate"),
            "{}",
            err(&refused)
        );
    }
    let two = run(&["plan", "export", path(&file), "--json", "--dot"]);
    assert_eq!(two.status.code(), Some(2));
}

/// A server, ended with the test.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(config: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["serve", "--config", path(config)])
            .current_dir(config.parent().expect("a folder"))
            .env("TIDEGATE_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let address = lines
            .by_ref()
            .map(|line| line.expect("text"))
            .find_map(|line| {
                let at = line.find("127.0.0.1:")?;
                let rest = &line[at..];
                let end = rest["127.0.0.1:".len()..]
                    .find(|char: char| !char.is_ascii_digit())
                    .map_or(rest.len(), |end| end + "127.0.0.1:".len());
                Some(rest[..end].to_owned())
            })
            .expect("it tells where it listens");
        // What else it tells is taken, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The plan above, and every scenario of the library.
fn library(dir: &Path) -> Vec<PathBuf> {
    let own = dir.join("plan.toml");
    fs::write(&own, PLAN).expect("written");
    let mut files: Vec<PathBuf> = fs::read_dir(root().join("scenarios"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files.insert(0, own);
    files
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn export(plan: &Path, form: &[&str]) -> String {
    let mut arguments = vec!["plan", "export", path(plan), "--fidelity", "fluid"];
    arguments.extend(form);
    let made = run(&arguments);
    assert!(made.status.success(), "{}: {}", plan.display(), err(&made));
    out(&made).to_owned()
}

/// As the server reads it.
fn check(dir: &Path, config: &str, plan: &Path) {
    let file = dir.join("checked.toml");
    fs::write(&file, config).expect("written");
    let checked = run(&["config", "check", path(&file)]);
    assert!(
        checked.status.success(),
        "{}: {}\n{config}",
        plan.display(),
        err(&checked)
    );
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(arguments)
        .env("TIDEGATE_SECRET", "a-secret-of-more-than-thirty-two-bytes")
        .stdin(Stdio::null())
        .output()
        .expect("the binary")
}

fn one(text: &str) -> Yaml {
    let mut documents = YamlLoader::load_from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(documents.len(), 1);
    documents.remove(0)
}

/// A list, or nothing where there is none.
fn list(value: &Yaml) -> &[Yaml] {
    value.as_vec().map_or(&[], |list| list)
}

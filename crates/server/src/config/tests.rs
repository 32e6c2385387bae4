//! Files as people write them, and the mistakes they make.

use std::{collections::BTreeSet, fs};

use proptest::prelude::*;
use serde_json::Value;
use tidegate_core::{
    admission::{Adaptive, Rate, Rule},
    policy::Durability,
};
use tidegate_engine::LogConfig;

use super::*;
use crate::auth::{Algorithm, Scope};

const NAMESPACE: &str = "[[namespace]]\nname = \"chat\"\n";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn parse(source: &str) -> Result<Config, ConfigErrors> {
    Config::parse(source, "tidegate.toml", Path::new(""), &Overrides::default())
}

/// Messages and labels of everything wrong with `source`, with a namespace added so that there is one.
fn problems(source: &str) -> Vec<String> {
    let source = format!("{source}\n{NAMESPACE}");
    let errors = parse(&source).expect_err(&source);
    let line = |p: &Problem| format!("{} | {} | {}", p.message, p.label, p.help);
    errors.problems().iter().map(line).collect()
}

/// The single problem of `source` says all of `words`.
fn assert_problem(source: &str, words: &[&str]) {
    let problems = problems(source);
    assert_eq!(problems.len(), 1, "{source}: {problems:#?}");
    for word in words {
        assert!(
            problems[0].contains(word),
            "{source}: {word:?} is not in {:?}",
            problems[0]
        );
    }
}

#[test]
fn the_defaults_are_those_of_core() {
    let config = parse(NAMESPACE).unwrap();
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.edge, EdgeLimits::default());
    assert_eq!(config.namespaces, [Policy::with_defaults("chat")]);
    assert_eq!(config.listen, "127.0.0.1:8600".parse().unwrap());
    assert_eq!(config.engine, EngineConfig::Log(LogConfig { dir: "data".into() }));
    assert!(config.is_development() && config.shards >= 1 && !config.demo && !config.deflate);
    assert!(config.tls.is_none() && config.api_keys.is_empty() && config.origins.is_empty());
}

#[test]
fn the_example_is_complete_and_equal_to_the_defaults() {
    let config = parse(&example()).unwrap();
    let mut defaults = parse(NAMESPACE).unwrap();
    defaults.namespaces = config.namespaces.clone();
    assert_eq!(format!("{config:?}"), format!("{defaults:?}"));
    assert_eq!(
        config.namespaces[0],
        Policy::with_defaults("chat"),
        "the first has every key with its default"
    );
    let names: Vec<&str> = config
        .namespaces
        .iter()
        .map(|policy| policy.namespace.as_str())
        .collect();
    assert_eq!(names, ["chat", "room", "cursor", "px", "load"]);

    let text = example();
    walk(&schema(), &mut |key| {
        let stands = |line: &str| {
            line.trim_start_matches(['#', '[']).starts_with(key) || line.contains(&format!(" {key} = "))
        };
        assert!(
            text.lines().any(stands) || text.contains(&format!(".{key}]")),
            "{key} is not in the example"
        );
    });
}

#[test]
fn what_the_example_has_as_comments_is_valid_too() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("hs.key"), SECRET).unwrap();
    // Lines such as `#key = value` are keys, `# Words` are words.
    let is_key = |line: &str| line.starts_with('#') && !line.starts_with("# ");
    let lines: Vec<String> = example()
        .lines()
        .map(|line| {
            if is_key(line) {
                line[1..].to_owned()
            } else {
                line.to_owned()
            }
        })
        .collect();
    let source = lines
        .join("\n")
        .replace("env:TIDEGATE_SECRET", SECRET)
        .replace("env:TIDEGATE_API_KEY", SECRET);
    let errors = Config::parse(&source, "", folder.path(), &Overrides::default()).unwrap_err();
    // The example shows both ways to give a key; only that is too much.
    let messages: Vec<&str> = errors
        .problems()
        .iter()
        .map(|problem| problem.message.as_str())
        .collect();
    assert_eq!(
        messages,
        [
            "this key has two kinds of material",
            "this API key is there in two ways"
        ]
    );
}

#[test]
fn development_needs_no_file() {
    let config = Config::development();
    assert!(config.is_development());
    assert!(config.namespaces.iter().any(|policy| policy.namespace == "chat"));
}

#[test]
fn every_key_can_be_set() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("api.key"), format!("{SECRET}\n")).unwrap();
    let source = format!(
        r#"
        listen = "0.0.0.0:443"
        shards = 3
        demo = true
        origins = {{ allow = "https://*.example.com" }}
        deflate.enabled = true
        [tls]
        cert = "cert.pem"
        key = "/etc/key.pem"
        [engine]
        dir = "store"
        [auth]
        secret = "{SECRET}"
        jwks_url = "https://issuer.example.com/jwks"
        jwks_algorithms = ["ES256"]
        audience = "a"
        leeway = "0s"
        [limits]
        connections_max = 19_000
        frame_bytes_max = "128KiB"
        unsent_bytes = "16KiB"
        ping_interval = "50ms"
        unacknowledged_max = "20s"
        shutdown_timeout = "4s"
        [drain]
        within = "1m"
        reconnects_per_second = 250
        come_back = "here"
        first_slot = "3s"
        [[api.keys]]
        name = "backend"
        secret = "file:api.key"
        scopes = ["publish"]
        [[namespace]]
        name = "chat"
        durability = "sync"
        history = {{ count = 10, bytes = "1GiB", age = "1h", page_max = 5 }}
        dedup_age = "1h"
        presence.enabled = false
        "#
    );
    let config = Config::parse(&source, "t", folder.path(), &Overrides::default()).unwrap();
    assert_eq!(
        (config.listen.port(), config.shards, config.demo, config.deflate),
        (443, 3, true, true)
    );
    assert_eq!(config.origins, ["https://*.example.com"]);
    let tls = config.tls.unwrap();
    assert_eq!(
        (tls.cert, tls.key),
        (folder.path().join("cert.pem"), "/etc/key.pem".into())
    );
    assert_eq!(
        config.engine,
        EngineConfig::Log(LogConfig {
            dir: folder.path().join("store")
        })
    );
    assert_eq!(config.auth.keys.len(), 1);
    assert_eq!(config.auth.jwks.unwrap().algorithms, [Algorithm::ES256]);
    assert_eq!(config.auth.audience, ["a"]);
    assert_eq!(config.edge.connections_max, Some(19_000));
    assert_eq!(
        (config.limits.frame_bytes_max, config.edge.unsent_bytes),
        (128 << 10, 16 << 10)
    );
    assert_eq!(config.limits.ping_interval, Duration::from_millis(50));
    assert_eq!(config.edge.unacknowledged_max, Duration::from_secs(20));
    let drain = DrainConfig {
        come_back: ComeBack::Here {
            first_slot: Duration::from_secs(3),
            patience: Duration::from_secs(2),
        },
        within: Duration::from_secs(60),
        reconnects_per_second: 250,
    };
    assert_eq!(config.drain, drain);
    let key = config
        .api_keys
        .find(SECRET)
        .expect("the file's last newline does not count");
    assert!(key.scopes.allow(Scope::Publish) && !key.scopes.allow(Scope::Admin));
    let policy = &config.namespaces[0];
    assert_eq!(
        (policy.durability, policy.history.count, policy.history_page_max),
        (Durability::Sync, 10, 5)
    );
    assert_eq!(
        (policy.window_count, policy.replay_max),
        (10, 10),
        "defaults give way to a smaller history"
    );
    assert!(!policy.presence.enabled && policy.presence.sample == 20);
}

#[test]
fn the_command_line_counts_for_more() {
    let overrides = Overrides {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        shards: Some(7),
        demo: true,
        drain: Some(Duration::from_secs(7)),
    };
    let source = format!("listen = \"0.0.0.0:80\"\nshards = 2\ndrain.within = \"1m\"\n{NAMESPACE}");
    let config = Config::parse(&source, "", Path::new(""), &overrides).unwrap();
    assert_eq!((config.listen.port(), config.shards, config.demo), (0, 7, true));
    assert_eq!(config.drain.within, Duration::from_secs(7));

    let public = Overrides {
        listen: Some("0.0.0.0:80".parse().unwrap()),
        ..Default::default()
    };
    let errors = Config::development_with(&public).unwrap_err().to_string();
    assert!(
        errors.contains("not loopback") && errors.contains("development mode"),
        "{errors}"
    );
}

#[test]
fn clients_come_back_to_whoever_can_take_them() {
    let come_back = |source: &str| parse(&format!("{source}\n{NAMESPACE}")).unwrap().drain.come_back;
    let here = ComeBack::Here {
        first_slot: Duration::from_secs(1),
        patience: Duration::from_millis(2_500),
    };
    // Neither engine is shared with another process.
    assert_eq!(
        (come_back(""), come_back("engine.kind = \"memory\"")),
        (here, here)
    );
    assert_eq!(come_back("drain.come_back = \"elsewhere\""), ComeBack::Elsewhere);
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let source = "listen = \"nowhere\"\nlissten = 1\n\n[limits]\nconnect_timeout = 10\noutbox_bytes_max = \"1K\"\n\n\
                  [[namespace]]\nname = \"Chat\"\ndurability = \"none\"\nhistory = { count = -1, bites = 2 }\n";
    let text = parse(source).unwrap_err().to_string();
    for (line, words) in [
        (1, "`listen` cannot be \"nowhere\""),
        (2, "unknown key `lissten`"),
        (5, "`limits.connect_timeout` cannot be 10"),
        (6, "`limits.outbox_bytes_max` cannot be \"1K\""),
        (9, "`namespace.name` cannot be \"Chat\""),
        (10, "`namespace.durability` cannot be \"none\""),
        (11, "`namespace.history.count` cannot be -1"),
        (11, "unknown key `namespace.history.bites`"),
    ] {
        assert!(text.contains(words), "{words} is not in\n{text}");
        assert!(
            text.contains(&format!("--> tidegate.toml:{line}:")),
            "line {line} is not in\n{text}"
        );
    }
    assert!(text.ends_with("tidegate.toml: 8 errors"), "{text}");
    assert!(
        text.contains("did you mean `listen`?") && text.contains("did you mean `bytes`?"),
        "{text}"
    );
    assert!(
        text.contains("a duration with its unit, \"10ms\" to \"5m\""),
        "{text}"
    );
}

#[test]
fn the_rendering_is_rustc_s() {
    let text = parse(&format!("[limits]\nrooms_max = 0\n{NAMESPACE}"))
        .unwrap_err()
        .to_string();
    let expected = "\
error: `limits.rooms_max` cannot be 0
 --> tidegate.toml:2:13
  |
2 | rooms_max = 0
  |             ^ a whole number, 1 to 100000

tidegate.toml: 1 error";
    assert_eq!(text, expected);
}

#[test]
fn broken_toml_is_told_with_everything_else() {
    let problems = problems("[limits]\nrooms_max = \nping_interval = 5\n[unclosed\n");
    assert!(problems.len() >= 3, "{problems:#?}");
    assert!(problems.iter().any(|p| p.starts_with("this is not TOML")));
    assert!(
        problems
            .iter()
            .any(|p| p.contains("`limits.ping_interval` cannot be 5"))
    );
}

#[test]
fn single_mistakes_say_what_is_allowed() {
    for (source, words) in [
        ("shards = 0", &["\"auto\", or a whole number, 1 to 1024"][..]),
        ("shards = 1.5", &["a number with a fraction", "1 to 1024"]),
        ("shards = \"all\"", &["\"all\"", "auto"]),
        ("demo = 1", &["true or false"]),
        ("listen = \"localhost\"", &["an address and a port"]),
        ("limits = 3", &["`limits` cannot be 3", "a table"]),
        ("[limits]\nping_interval = \"1ms\"", &["\"10ms\" to \"10m\""]),
        ("[limits]\nrooms_max = 99999999999999999999999", &["1 to 100000"]),
        ("[engine]\nkind = \"redis\"", &["one of \"log\", \"memory\""]),
        ("[drain]\nwithin = \"2h\"", &["\"0s\" to \"1h\""]),
        ("[drain]\nreconnects_per_second = 0", &["1 to 1000000"]),
        (
            "[drain]\ncome_back = \"never\"",
            &["\"auto\", \"here\", \"elsewhere\""],
        ),
        ("[limits]\nunacknowledged_max = \"0s\"", &["\"100ms\" to \"1h\""]),
        ("[tls]\ncert = \"a\"", &["`tls.key` is missing", "add `key = "]),
        (
            "[origins]\nallow = [\"app.example.com\"]",
            &["`origins.allow` cannot have", "https://"],
        ),
        ("[origins]\nallow = [\"https://a.test/path\"]", &["no path"]),
        ("[origins]\nallow = [7]", &["a list with a number"]),
        ("[auth]\nleeway = \"1h\"", &["\"0s\" to \"5m\""]),
        (
            "[api]\nkeys = [{ name = \"a\", scopes = [\"fly\"], secret = \"0123456789abcdef\" }]",
            &["\"fly\"", "\"publish\""],
        ),
        (
            "[limits]\nping_intervall = \"5s\"",
            &["did you mean `ping_interval`?"],
        ),
        (
            "[limits]\nxyzzy = 1",
            &["nothing of this name", "`ping_interval`"],
        ),
    ] {
        let all = problems(source);
        assert!(
            words.iter().all(|word| all[0].contains(word)),
            "{source}: {all:#?}"
        );
    }
}

#[test]
fn what_clashes_is_refused() {
    let namespace = |rest: &str| format!("[[namespace]]\nname = \"b\"\n{rest}");
    for (source, words) in [
        (
            namespace("window = { count = 2000 }"),
            &["`window.count` (2000) is above `history.count` (1000) of `b`"][..],
        ),
        (
            namespace("history.bytes = \"1KiB\"\nwindow.bytes = \"2KiB\""),
            &["`window.bytes` (2KiB)", "at most 1KiB"],
        ),
        (
            namespace("replay_max = 1001"),
            &["`replay_max` (1001)", "raise `history.count`"],
        ),
        (
            namespace("presence = { sample = 300 }"),
            &["`presence.sample` (300)"],
        ),
        (
            namespace("state = { enabled = true }"),
            &["`b` keeps a state", "lane = \"latest\""],
        ),
        (
            format!(
                "[engine]\nkind = \"memory\"\n{}",
                namespace("durability = \"sync\"")
            ),
            &["`memory` engine", "\"append\""],
        ),
        (
            "[[namespace]]\nname = \"chat\"".to_owned(),
            &["`chat` is there twice"],
        ),
        (
            "listen = \"0.0.0.0:8600\"".to_owned(),
            &["not loopback", "development mode", "auth"],
        ),
        ("listen = \"[::]:8600\"".to_owned(), &["not loopback"]),
        (
            "[auth]\njwks_url = \"http://issuer.example.com/\"".to_owned(),
            &["`https` address"],
        ),
        (
            "[auth]\njwks_url = \"https://a.test/\"\njwks_cooldown = \"1h\"".to_owned(),
            &["jwks_cooldown", "at most 10m"],
        ),
        ("[limits]\nrefresh_ahead = \"0s\"".to_owned(), &["above"]),
    ] {
        assert_problem(&source, words);
    }
    let kept = "lane = \"latest\"\nkeys_max = 5\nstate = { enabled = true, bytes = \"1MiB\", age = \"1h\" }";
    assert!(parse(&namespace(kept)).is_ok());
    let errors = parse("shards = 1").unwrap_err().to_string();
    assert!(errors.contains("there is no `[[namespace]]`"), "{errors}");
    assert!(parse("namespace = []").is_ok(), "none at all, on purpose");
}

#[test]
fn keys_that_cannot_be_used_are_refused() {
    for (source, words) in [
        (
            "secret = \"short\"",
            &["`auth.secret` cannot be used", "5 bytes", "at least 32"][..],
        ),
        (
            "secret = \"env:TIDEGATE_NOT_SET\"",
            &["`TIDEGATE_NOT_SET` is not set"],
        ),
        (
            "secret = \"file:/nonexistent/key\"",
            &["`/nonexistent/key` cannot be read"],
        ),
        ("keys = [{ algorithm = \"ES256\" }]", &["nothing to check with"]),
        (
            "keys = [{ algorithm = \"none\", secret = \"x\" }]",
            &["`auth.keys.algorithm` cannot be \"none\""],
        ),
        (
            "keys = [{ secret = \"0123456789abcdef0123456789abcdef\" }]",
            &["`auth.keys.algorithm` is missing"],
        ),
        (
            "keys = [{ algorithm = \"ES256\", public_key = \"pem\" }]",
            &["`auth.keys.public_key`", "PEM"],
        ),
        (
            "keys = [{ algorithm = \"ES256\", secret = \"0123456789abcdef0123456789abcdef\" }]",
            &["ES256 is checked with a public key"],
        ),
    ] {
        // A key that cannot be used is told once: not also as "there are no keys".
        assert_problem(&format!("listen = \"0.0.0.0:1\"\n[auth]\n{source}"), words);
    }
    let two = format!("{{ algorithm = \"HS256\", kid = \"a\", secret = \"{SECRET}\" }}");
    assert_problem(
        &format!("[auth]\nkeys = [{two}, {two}]"),
        &["two keys for HS256 named \"a\""],
    );
    let key = "name = \"a\", scopes = \"read\"";
    assert_problem(
        &format!("[api]\nkeys = [{{ {key}, secret = \"short\" }}]"),
        &["5 bytes; at least 16"],
    );
    assert_problem(
        &format!("[api]\nkeys = [{{ {key}, hash = \"abc\" }}]"),
        &["64 hexadecimal digits"],
    );
    assert_problem(
        &format!("[api]\nkeys = [{{ {key} }}]"),
        &["neither `secret` nor `hash`"],
    );
}

#[test]
fn secrets_are_not_shown() {
    let source = "[auth]\nsecret = \"hunter2\"\n[[auth.keys]]\nsecret = 'swordfish\nalgorithm = 1\n";
    let text = parse(source).unwrap_err().to_string();
    assert!(text.contains("`auth.secret` cannot be used"), "{text}");
    assert!(!text.contains("hunter2") && !text.contains("swordfish"), "{text}");
}

#[test]
fn files_that_cannot_be_read_are_told_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let load = |name: &str| Config::load(&folder.path().join(name)).unwrap_err().to_string();
    assert!(load("absent.toml").contains("tidegate config example"));
    assert!(load(".").contains("cannot be read"));
    fs::write(folder.path().join("large"), vec![b'#'; 2 << 20]).unwrap();
    assert!(load("large").contains("larger than 1MiB"));
    fs::write(folder.path().join("latin"), b"# caf\xe9").unwrap();
    assert!(load("latin").contains("not UTF-8 at byte 5"));
}

#[test]
fn hostile_files_end_in_errors() {
    for source in [
        "[".repeat(100_000),
        format!("a = {}", "[".repeat(100_000)),
        "a.".repeat(100_000) + "a = 1",
        "\0\u{feff}= = =".repeat(1_000),
        "[[namespace]]\n".repeat(2_000),
        "listen = \"\u{202e}\"\n".repeat(50),
    ] {
        assert!(parse(&source).is_err_and(|errors| !errors.to_string().is_empty()));
    }
}

#[test]
fn an_outbox_must_hold_a_frame_and_a_publication() {
    let source = "[limits]\noutbox_bytes_max = \"16KiB\"\n[[namespace]]\nname = \"chat\"\npayload_bytes_max = \"4KiB\"\n";
    let errors = parse(source).unwrap_err().to_string();
    assert!(
        errors.contains("`limits.outbox_bytes_max` (16KiB) is below one frame (64KiB)"),
        "{errors}"
    );
    assert!(errors.ends_with("1 error"), "{errors}");

    let source = "[limits]\noutbox_bytes_max = \"64KiB\"\n[[namespace]]\nname = \"big\"\npayload_bytes_max = \"60KiB\"\n";
    let errors = parse(source).unwrap_err().to_string();
    assert!(
        errors.contains("is below one publication of `big`") && errors.contains("at least 82KiB"),
        "{errors}"
    );
}

proptest! {
    #[test]
    fn damaged_files_end_in_a_configuration_or_in_errors(place in 0usize..20_000, cut in 0usize..40, text in "[\\PC\n]{0,12}") {
        let example = example();
        let at = |place: usize| (0..=place % example.len()).rev().find(|place| example.is_char_boundary(*place));
        let (from, to) = (at(place).unwrap_or(0), at(place + cut).unwrap_or(0));
        let source = format!("{}{text}{}", &example[..from], &example[to.max(from)..]);
        if let Err(errors) = parse(&source) {
            prop_assert!(errors.to_string().contains("error"));
            prop_assert!(!errors.render(Paint::Colours).is_empty());
        }
    }

    #[test]
    fn any_text_ends_in_errors(source in "\\PC{0,200}|[a-z\\[\\]{}=.,\"'# \n0-9]{0,200}") {
        prop_assert!(parse(&source).is_err_and(|errors| !errors.to_string().is_empty()));
    }
}

#[test]
fn the_reference_in_the_docs_is_made_from_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, reference()).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text == reference(),
        "run `UPDATE_DOCS=1 cargo test -p tidegate-server reference` to write it anew"
    );
}

#[test]
fn the_schema_takes_the_example_and_names_every_key() {
    let example: toml::Table = toml::from_str(&example()).unwrap();
    let example = serde_json::to_value(example).unwrap();
    holds(&schema(), &example, "");
    let mut names = BTreeSet::new();
    walk(&schema(), &mut |name| {
        names.insert(name.to_owned());
    });
    assert!(
        ["listen", "outbox_bytes_max", "jwks_url", "scopes", "page_max"]
            .iter()
            .all(|name| names.contains(*name))
    );
}

/// Calls `each` with every key of a schema.
fn walk(schema: &Value, each: &mut dyn FnMut(&str)) {
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, inner) in properties.into_iter().flatten() {
        each(name);
        walk(inner, each);
        walk(&inner["items"], each);
    }
}

/// As much of JSON Schema as ours uses for objects: known keys, required keys, defaults equal to the example's.
fn holds(schema: &Value, value: &Value, path: &str) {
    match value {
        Value::Object(object) => {
            for (name, inner) in object {
                let known = schema["properties"]
                    .get(name)
                    .unwrap_or_else(|| panic!("{path}.{name} is not in the schema"));
                holds(known, inner, &format!("{path}.{name}"));
            }
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(
                    object.contains_key(name.as_str().unwrap()),
                    "{path}: {name} is required"
                );
            }
        }
        // Namespaces after the first differ from the defaults on purpose.
        Value::Array(items) if schema["items"]["properties"].is_object() => {
            holds(&schema["items"], &items[0], path)
        }
        _ if path == ".namespace.name" => {}
        _ => assert_eq!(&schema["default"], value, "{path}"),
    }
}

#[test]
fn admission_is_said_for_all_and_for_each() {
    let config = parse(&format!(
        "[admission]\nrule = \"vegas\"\nfloor = 8\nceiling = 100\nuser_publishes = 5\nserver_publishes = 7\nburst = \"10ms\"\n\
         [admission.calls]\nrule = \"off\"\nceiling = 50\n{NAMESPACE}publish_rate = 1000\n"
    ))
    .unwrap();
    let admission = config.admission;
    let all = Adaptive {
        rule: Rule::Vegas,
        floor: 8,
        ceiling: 100,
    };
    assert_eq!((admission.publishes, admission.replays), (all, all));
    let calls = Adaptive {
        rule: Rule::Off,
        ceiling: 50,
        ..all
    };
    assert_eq!(admission.calls, calls);
    // Its own floor gives way to the ceiling of all.
    assert_eq!(admission.handshakes, Adaptive { floor: 100, ..all });
    let rate = |per_second, burst| Some(Rate { per_second, burst });
    assert_eq!(admission.rates.user_publishes, rate(5, 1), "at least one passes");
    assert_eq!(admission.rates.connection_publishes, None);
    let policy = &config.namespaces[0];
    assert_eq!(
        (policy.publish_rate, policy.room_publish_rate),
        (rate(1_000, 10), None)
    );
    let default = parse(NAMESPACE).unwrap();
    assert_eq!(default.admission, tidegate_core::Admission::default());
}

#[test]
fn a_floor_above_its_ceiling_is_refused_for_the_class_that_has_it() {
    let text = parse(&format!(
        "[admission]\nceiling = 10\n[admission.replays]\nfloor = 20\n{NAMESPACE}"
    ))
    .unwrap_err()
    .to_string();
    assert!(
        text.contains("the floor of `admission.replays` (20) is above its ceiling (10)"),
        "{text}"
    );
    assert!(text.contains("the floor of `admission.publishes` (64)"), "{text}");
}

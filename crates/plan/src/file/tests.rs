use proptest::prelude::*;
use serde_json::Value;

use super::{
    keys::{Key, Kind, NODE, Need, ROOT, Section},
    read::{quantity, read_default},
    *,
};
use crate::{
    draw,
    plan::{Fault, RoomLaw, Session, Shape},
};

/// What a file needs at least.
const SMALL: &str = r#"
title = "small"
prices = "aws-us-east-1"
[contract]
uptime = "99.9%"
budget = 100
[contract.latency]
all = "p95 < 120ms"
[scenario]
length = "24h"
users = { shape = "constant", base = 10 }
[class.chat]
rate = "1/30s"
bytes = "200B"
room = { law = "everyone" }
[topology]
ways = ["clients -> ws"]
[node.ws]
kind = "ws"
size = "c7g.medium"
"#;

/// The mistakes of the small file with one text in place of another.
fn mistakes(old: &str, new: &str) -> Vec<FileError> {
    assert!(SMALL.contains(old), "{old}");
    parse(&SMALL.replace(old, new)).expect_err(new)
}

/// The only mistake, which says all of that.
fn assert_mistake(old: &str, new: &str, words: &[&str]) {
    let errors = mistakes(old, new);
    assert_eq!(errors.len(), 1, "{new}: {errors:#?}");
    let text = errors[0].to_string();
    for word in words {
        assert!(text.contains(word), "{new}: {word:?} is not in {text:?}");
    }
    assert!(!errors[0].allowed.is_empty());
}

#[test]
fn what_is_left_out_takes_its_default() {
    let plan = parse(SMALL).unwrap();
    assert_eq!((plan.seed, plan.contract.late_factor), (1, 10.0));
    assert_eq!(
        plan.scenario.session,
        Session::Weibull {
            shape: 0.5,
            scale: 1_200.0
        }
    );
    assert_eq!(plan.scenario.classes[0].rate, 1.0 / 30.0);
    assert_eq!(plan.scenario.classes[0].room, RoomLaw::Everyone);
    assert_eq!(plan.scenario.clients.backoff_max, 30.0);
    assert_eq!(plan.failures.deploys_per_week, 2.0);
    assert_eq!(plan.topology.nodes[0].options, Default::default());
    assert_eq!(plan.briefing, Default::default());
}

#[test]
fn a_mistake_tells_its_place_its_value_and_what_is_allowed() {
    let errors = mistakes("uptime = \"99.9%\"", "uptime = \"99.9\"");
    let error = &errors[0];
    assert_eq!((error.line, error.column), (5, 10));
    assert_eq!(&SMALL[error.span.clone().unwrap()].len(), &"\"99.9%".len());
    assert_eq!(error.message, "`contract.uptime` cannot be \"99.9\"");
    assert_eq!(error.allowed, "a share in percent, \"50%\" to \"99.9999%\"");
}

#[test]
fn units_that_were_forgotten_are_told() {
    assert_mistake(
        "length = \"24h\"",
        "length = 24",
        &["`scenario.length` cannot be 24", "\"24h\" or \"24min\""],
    );
    assert_mistake(
        "bytes = \"200B\"",
        "bytes = 200",
        &["cannot be 200", "\"200B\" or \"200KiB\""],
    );
    assert_mistake("rate = \"1/30s\"", "rate = 0.5", &["cannot be 0.5", "\"0.5/s\""]);
    assert_mistake(
        "uptime = \"99.9%\"",
        "uptime = 99.9",
        &["its unit is missing: \"99.9%\""],
    );
    assert_mistake(
        "\"p95 < 120ms\"",
        "\"p95 < 120\"",
        &["`contract.latency.all` cannot be \"p95 < 120\""],
    );
    assert_mistake("\"p95 < 120ms\"", "120", &["cannot be 120", "p95 < 120ms"]);
    assert_mistake(
        "budget = 100",
        "budget = \"100 $\"",
        &["cannot be \"100 $\"", "without quotes and without a unit"],
    );
    assert_mistake(
        "length = \"24h\"",
        "length = \"24 hours\"",
        &["units are ms, s, min, h and d"],
    );
}

#[test]
fn values_out_of_bounds_are_refused() {
    assert_mistake(
        "budget = 100",
        "budget = -1",
        &["cannot be -1", "a number, 0 to 1000000000"],
    );
    assert_mistake("budget = 100", "budget = nan", &["cannot be nan"]);
    assert_mistake("budget = 100", "budget = inf", &["cannot be inf"]);
    assert_mistake("budget = 100", "budget = 1e308", &["cannot be 1e308"]);
    assert_mistake(
        "rate = \"1/30s\"",
        "rate = \"-1/s\"",
        &["`class.chat.rate` cannot be \"-1/s\"", "\"0/s\" to \"1000/s\""],
    );
    assert_mistake(
        "uptime = \"99.9%\"",
        "uptime = \"100.5%\"",
        &["\"50%\" to \"99.9999%\""],
    );
    assert_mistake(
        "kind = \"ws\"",
        "kind = \"ws\"\ncount = 1_000_000_000",
        &["cannot be 1000000000", "1 to 10000"],
    );
    assert_mistake(
        "kind = \"ws\"",
        "kind = \"ws\"\ncount = 99999999999999999999",
        &["1 to 10000"],
    );
    assert_mistake(
        "kind = \"ws\"",
        "kind = \"ws\"\ncount = 1.5",
        &["cannot be 1.5", "a whole number"],
    );
    assert_mistake("base = 10", "base = 1e300", &["cannot be 1e300"]);
    assert_mistake(
        "title = \"small\"",
        "title = \"small\"\nseed = 9007199254740992",
        &["`seed` cannot be 9007199254740992"],
    );
    assert_mistake("title = \"small\"", "title = \"\"", &["1 to 200 bytes"]);
    assert_mistake(
        "prices = \"aws-us-east-1\"",
        "prices = \"../../etc\"",
        &["letters, digits"],
    );
}

#[test]
fn keys_that_are_unknown_are_told_with_the_closest() {
    assert_mistake(
        "budget = 100",
        "budget = 100\nlos = \"1%\"",
        &[
            "unknown key `contract.los`",
            "did you mean `loss`?",
            "`late_factor`",
        ],
    );
    assert_mistake(
        "kind = \"ws\"",
        "kind = \"ws\"\npartitons = 3",
        &["unknown key `node.ws.partitons`", "nothing of this name"],
    );
    assert_mistake(
        "kind = \"ws\"",
        "kind = \"ws\"\npool = 3",
        &[
            "`node.ws.pool` does not go with `kind = \"ws\"`",
            "\"server\", \"worker\"",
        ],
    );
    assert_mistake(
        "kind = \"ws\"",
        "kind = \"websocket\"",
        &["cannot be \"websocket\"", "one of \"lb\", \"ws\""],
    );
    assert_mistake("kind = \"ws\"", "kind = \"hostd\"", &["did you mean \"hosted\"?"]);
    assert_mistake(
        "law = \"everyone\"",
        "law = \"everyone\", size = 3",
        &["does not go with `law = \"everyone\"`", "\"fixed\""],
    );
    assert_mistake(
        "title = \"small\"",
        "title = \"small\"\nnodes = 3",
        &["unknown key `nodes`", "did you mean `node`?"],
    );
}

#[test]
fn wrong_types_are_refused() {
    assert_mistake("title = \"small\"", "title = 3", &["`title` cannot be 3"]);
    assert_mistake(
        "kind = \"ws\"",
        "kind = \"ws\"\ntokens = \"yes\"",
        &["`node.ws.tokens`", "true or false"],
    );
    assert_mistake(
        "room = { law = \"everyone\" }",
        "room = 3",
        &["`class.chat.room` cannot be 3", "a table"],
    );
    assert_mistake("[\"clients -> ws\"]", "\"clients -> ws\"", &["a list of at most"]);
    assert_mistake("[\"clients -> ws\"]", "[3]", &["`topology.ways` cannot be 3"]);
    let errors = parse(&format!("burst = 3\n{SMALL}")).unwrap_err();
    assert!(errors[0].to_string().contains("`burst` cannot be 3"));
    let errors = parse(&format!("node = [3]\n{}", SMALL.replace("[node.ws]", "[nod.ws]"))).unwrap_err();
    assert!(
        errors[0].to_string().contains("`node` cannot be a list of 1"),
        "{errors:?}"
    );
}

#[test]
fn what_is_missing_is_told() {
    assert_mistake(
        "budget = 100\n",
        "",
        &["`contract.budget` is missing", "add `budget = 860`"],
    );
    assert_mistake("kind = \"ws\"\n", "", &["`node.ws.kind` is missing"]);
    assert_mistake("all = \"p95 < 120ms\"", "", &["`contract.latency` is empty"]);
    assert_mistake(", base = 10", "", &["needs `base` and `peak`"]);
    assert_mistake(
        "{ shape = \"constant\", base = 10 }",
        "{ base = 10 }",
        &["neither a `shape` nor `points`"],
    );
    assert_mistake(
        "{ law = \"everyone\" }",
        "{ law = \"zipf\", exponent = 1 }",
        &["`class.chat.room.largest_share` is missing"],
    );
    let missing: Vec<String> = parse("")
        .unwrap_err()
        .into_iter()
        .map(|error| error.message)
        .collect();
    for key in [
        "title", "prices", "contract", "scenario", "class", "topology", "node",
    ] {
        assert!(
            missing.contains(&format!("`{key}` is missing")),
            "{key}: {missing:?}"
        );
    }
}

#[test]
fn many_mistakes_are_told_at_once_in_their_order() {
    let text = SMALL
        .replace("99.9%", "99.9")
        .replace("200B", "200")
        .replace("clients -> ws", "clients -> sw");
    let errors = parse(&text).unwrap_err();
    let lines: Vec<u32> = errors.iter().map(|error| error.line).collect();
    assert_eq!(lines, [5, 14, 17], "{errors:#?}");
    assert!(
        errors[2].to_string().contains("did you mean `ws`?"),
        "{}",
        errors[2]
    );
}

#[test]
fn names_are_plain_and_stand_there_once() {
    assert_mistake(
        "[class.chat]",
        "[class.\"Chat Room\"]",
        &["cannot have the name \"Chat Room\"", "a letter first"],
    );
    assert_mistake("[class.chat]", "[class.all]", &["neither `clients` nor `all`"]);
    let errors = parse(&format!("{SMALL}[node.ws]\nkind = \"ws\"\nsize = \"x\"\n")).unwrap_err();
    assert!(errors[0].to_string().contains("duplicate key"), "{errors:?}");
    assert_eq!(errors[0].line, 21);
}

/// The small file with these ways, and these kinds of nodes beside the `ws`.
fn built(ways: &[&str], kinds: &[&str]) -> Result<Plan, Vec<FileError>> {
    let nodes: String = kinds
        .iter()
        .map(|kind| format!("[node.{kind}]\nkind = \"{kind}\"\nsize = \"x\"\n"))
        .collect();
    parse(&(SMALL.replace("[\"clients -> ws\"]", &format!("{ways:?}")) + &nodes))
}

fn assert_unbuildable(ways: &[&str], kinds: &[&str], words: &[&str]) {
    let errors = built(ways, kinds).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    for word in words {
        assert!(
            errors[0].to_string().contains(word),
            "{word:?} is not in {}",
            errors[0]
        );
    }
}

#[test]
fn ways_become_edges() {
    let plan = built(
        &[
            "clients -> lb -> ws -> server",
            "ws -> postgres",
            "server->postgres",
            "clients -> lb -> server",
        ],
        &["lb", "server", "postgres"],
    )
    .unwrap();
    let edges: Vec<String> = plan
        .topology
        .edges
        .iter()
        .map(|edge| format!("{} {}", edge.from, edge.to))
        .collect();
    assert_eq!(
        edges,
        [
            "clients lb",
            "lb ws",
            "ws server",
            "ws postgres",
            "server postgres",
            "lb server"
        ]
    );
    let ids: Vec<&str> = plan.topology.nodes.iter().map(|node| node.id.as_str()).collect();
    assert_eq!(ids, ["ws", "lb", "server", "postgres"], "as they are written");
}

#[test]
fn as_many_edges_as_there_can_be_are_written_and_read_back() {
    let ids: Vec<String> = (0..62).map(|place| format!("w{place:02}")).collect();
    let mut ways = vec!["clients -> ws".to_owned()];
    let mut nodes = String::new();
    for (place, id) in ids.iter().enumerate() {
        nodes += &format!("[node.{id}]\nkind = \"redis\"\n");
        ways.push(format!("ws -> {id}"));
        ways.extend(
            ids[place + 1..]
                .iter()
                .rev()
                .map(|other| format!("{id} -> {other}")),
        );
    }
    let plan = parse(&(SMALL.replace("[\"clients -> ws\"]", &format!("{ways:?}")) + &nodes)).unwrap();
    assert_eq!(plan.topology.edges.len(), 1 + 62 + 62 * 61 / 2);
    assert_eq!(parse(&write(&plan)).unwrap(), plan);
}

#[test]
fn what_cannot_be_built_is_told() {
    assert_unbuildable(
        &["clients -> ws -> stream -> server -> queue -> worker -> stream"],
        &["stream", "server", "queue", "worker"],
        &[
            "ways lead in a circle: ",
            "stream -> server -> queue -> worker -> stream",
        ],
    );
    assert_unbuildable(
        &["clients -> ws -> ws"],
        &[],
        &["ways lead in a circle: ws -> ws"],
    );
    assert_unbuildable(
        &["clients -> ws -> clients"],
        &[],
        &["`ws` cannot call the clients"],
    );
    assert_unbuildable(
        &["clients -> ws"],
        &["redis"],
        &["no way leads from the clients to `redis`"],
    );
    assert_unbuildable(
        &["clients -> ws -> lb"],
        &["lb"],
        &["`ws` cannot call `lb`", "the kind `ws` calls `server`"],
    );
    assert_unbuildable(
        &["clients -> ws", "clients -> postgres"],
        &["postgres"],
        &["clients call `lb`"],
    );
    assert_unbuildable(&["ws"], &[], &["at least two names"]);
    assert_unbuildable(
        &["clients -> ws -> posgres"],
        &["postgres"],
        &["\"posgres\", which is not there", "did you mean `postgres`?"],
    );
    assert_unbuildable(
        &["clients -> ws -> replica"],
        &["replica"],
        &["`replica` is a replica of nothing"],
    );
}

#[test]
fn tiers_that_are_missing_are_told() {
    let errors = built(&["clients -> lb -> server"], &["lb", "server"]).unwrap_err();
    let messages: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
    assert!(
        messages.contains(&"no way leads from the clients to a `ws` or a `hosted` node"),
        "{messages:?}"
    );
    assert_mistake(
        "bytes = \"200B\"",
        "bytes = \"200B\"\ndurable = true",
        &[
            "`class.chat` is durable, and there is no place to store it",
            "ws -> postgres",
        ],
    );
    let durable = SMALL.replace("bytes = \"200B\"", "bytes = \"200B\"\ndurable = true");
    let durable = durable.replace("clients -> ws", "clients -> ws -> stream");
    assert!(parse(&(durable + "[node.stream]\nkind = \"stream\"\nsize = \"kinesis-shard\"\n")).is_ok());
}

#[test]
fn what_clashes_is_told() {
    let with = |text: &str| {
        let errors = parse(&format!("{SMALL}{text}")).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:#?}");
        errors[0].to_string()
    };
    assert!(with("[[failure]]\nat = \"25h\"\nnode = \"ws\"\nwhat = \"crash\"").contains("after the end"));
    assert!(
        with("[[failure]]\nat = \"2h\"\nnode = \"wss\"\nwhat = \"crash\"").contains("did you mean `ws`?")
    );
    assert!(
        with("[[failure]]\nat = \"2h\"\nnode = \"ws\"\nwhat = \"crash\"\nmachines = 2").contains("at most 1")
    );
    assert!(with("[[failure]]\nat = \"2h\"\nnode = \"ws\"\nwhat = \"failover\"").contains("no primary"));
    assert!(with("[[failure]]\nat = \"2h\"\nnode = \"ws\"\nwhat = \"cold\"").contains("no cache"));
    assert!(
        with("[[failure]]\nat = \"2h\"\nnode = \"ws\"\nwhat = \"slow\"\nlasts = \"3s\"")
            .contains("`failure.factor` is missing")
    );
    let mmpp = "[[burst]]\nkind = \"mmpp\"\nfactor = 3\nquiet = \"1h\"\nloud = \"1min\"\nclasses = []";
    assert!(with(mmpp).contains("`burst.classes` cannot be empty"));
    let cluster = "[[burst]]\nkind = \"cluster\"\nshare = \"30%\"\ndelay_p95 = \"2s\"\n";
    assert!(
        with(&format!("{cluster}delay_p50 = \"3s\"\nclass = \"chat\""))
            .contains("is above `burst.delay_p95` (2s)")
    );
    assert!(
        with(&format!("{cluster}delay_p50 = \"1s\"\nclass = \"chatt\"")).contains("did you mean `chat`?")
    );
    assert!(
        with(&format!(
            "{cluster}delay_p50 = \"1s\"\nclass = \"chat\"\nat = [\"25h\"]"
        ))
        .contains("at most 24h")
    );
    assert!(with("[clients]\nbackoff_first = \"1min\"").contains("`clients.backoff_first` (1min) is above"));
    assert_mistake(
        "all = \"p95 < 120ms\"",
        "move = \"p95 < 120ms\"",
        &["\"move\", which is not there"],
    );
    assert_mistake(
        "\"p95 < 120ms\"",
        "[\"p95 < 120ms\", \"p95 < 1s\"]",
        &["this percentile twice"],
    );
    assert_mistake(
        "{ shape = \"constant\", base = 10 }",
        "{ shape = \"daily\", base = 10, peak = 3 }",
        &["is above `peak` (3)"],
    );
    assert_mistake(
        "{ shape = \"constant\", base = 10 }",
        "{ shape = \"viral\", base = 1, peak = 3, peak_at = \"25h\" }",
        &["\"0h\" to \"24h\""],
    );
    assert_mistake(
        "{ shape = \"constant\", base = 10 }",
        "{ points = [[\"0h\", 1], [\"25h\", 3]] }",
        &["after the end"],
    );
    assert_mistake(
        "{ shape = \"constant\", base = 10 }",
        "{ points = [[\"2h\", 1], [\"1h\", 3]] }",
        &["by hour"],
    );
    assert_mistake(
        "{ shape = \"constant\", base = 10 }",
        "{ points = [[\"0h\", 1], [1, 3]] }",
        &["`scenario.users.points` cannot be a list of 2"],
    );
    assert_mistake(
        "kind = \"ws\"",
        "kind = \"ws\"\ncount = 3\nautoscale_max = 2",
        &["is below its `count` (3)"],
    );
}

#[test]
fn costs_that_were_measured_are_named_by_who_has_them() {
    let named = |costs: &str| {
        let node = "size = \"c7g.medium\"\ncosts = \"mine\"\n";
        SMALL.replace("size = \"c7g.medium\"\n", node) + "[costs.mine]\nmeasured = \"today\"\n" + costs
    };
    let plan = parse(&named(
        "delivery = [\"4us\", \"5us\", \"9us\"]\ntls = \"0s\"\nconnection-bytes = \"5000B\"\n",
    ))
    .unwrap();
    let costs = plan.costs[0].costs;
    assert_eq!(
        (costs.delivery.low, costs.delivery.mid, costs.delivery.high),
        (4e-6, 5e-6, 9e-6)
    );
    assert_eq!((costs.tls.high, costs.connection_bytes.low), (0.0, 5_000.0));
    assert_eq!(costs.publish, crate::component::Costs::default().publish);
    assert_eq!(parse(&write(&plan)).unwrap(), plan);
    for (wrong, words) in [
        ("delivery = [\"4us\", \"3us\", \"9us\"]", "must rise"),
        ("delivery = [\"4us\", \"5us\"]", "a list of three"),
        ("delivery = [\"4us\", 5, \"9us\"]", "a list of three"),
        ("delivery = 5", "a list of three"),
        ("delivery = \"5\"", "a list of three"),
        ("delivery = \"5h\"", "a list of three"),
        ("delivry = \"5us\"", "did you mean `delivery`?"),
    ] {
        let errors = parse(&named(&format!("{wrong}\n"))).expect_err(wrong);
        let text = errors[0].to_string() + &errors[0].allowed;
        assert!(errors.len() == 1 && text.contains(words), "{wrong}: {errors:#?}");
    }
    let errors = parse(&named("").replace("costs.mine", "costs.mein")).expect_err("another name");
    assert!(
        errors[0].to_string().contains("names costs that are not there"),
        "{errors:#?}"
    );
}

#[test]
fn points_may_stand_in_place_of_a_shape() {
    let text = SMALL.replace(
        "{ shape = \"constant\", base = 10 }",
        "{ points = [[\"0h\", 1], [\"90min\", 7.5]] }",
    );
    let users = parse(&text).unwrap().scenario.users;
    assert_eq!((users.shape, users.points), (None, vec![(0.0, 1.0), (1.5, 7.5)]));
    let text = SMALL.replace("base = 10", "points = [[\"0h\", 1], [\"1h\", 7]]");
    assert_eq!(parse(&text).unwrap().scenario.users.shape, Some(Shape::Constant));
}

#[test]
fn hostile_files_end_in_errors_and_soon() {
    let unique_keys: String = (0..60_000).map(|n| format!("a{n} = 1\n")).collect();
    let unique_nodes: String = (0..10_000)
        .map(|n| format!("[node.a{n}]\nkind = \"ws\"\n"))
        .collect();
    let long_way = format!("ways = [\"{}\"]", "a -> ".repeat(100_000));
    for text in [
        "x".repeat(10_000_000),
        "[".repeat(1 << 20),
        "\n".repeat(1 << 20),
        format!("a = {}", "[".repeat(1_000_000)),
        format!("a = {}", "{a=".repeat(300_000)),
        "a.".repeat(500_000) + "a = 1",
        "\0\u{feff}= = =".repeat(50_000),
        "[[burst]]\n".repeat(100_000),
        "a = 1\n".repeat(100_000),
        unique_keys,
        unique_nodes,
        format!("[topology]\n{long_way}"),
        format!("title = \"{}\"", "\u{202e}".repeat(300_000)),
        format!("[scenario]\nlength = \"{}h\"", "9".repeat(1_000_000)),
        "seed = 1e309\n[contract]\nuptime = \"1e9%\"".to_owned(),
    ] {
        let errors = parse(&text).expect_err("it is junk");
        assert!((1..=ERRORS_MAX).contains(&errors.len()));
        for error in errors {
            assert!(error.to_string().len() < 4_000, "{}", error.to_string().len());
            assert!(error.span.is_none_or(|span| span.end <= text.len()));
        }
    }
}

#[test]
fn the_template_holds_and_is_rewritten_as_the_same_plan() {
    let plan = parse(TEMPLATE).unwrap_or_else(|errors| panic!("{errors:#?}"));
    assert_eq!(parse(&write(&plan)).unwrap(), plan);
    assert!(matches!(
        plan.failures.scheduled[0].what,
        Fault::Crash {
            machines: 1,
            seconds: None
        }
    ));
}

#[test]
fn the_canonical_text_reads_well() {
    let text = write(&parse(TEMPLATE).unwrap());
    for line in [
        "title = \"A chat\"",
        "uptime = \"99.9%\"",
        "all = \"p95 < 120ms\"",
        "users = { shape = \"daily\", base = 100, peak = 1000 }",
        "[class.message]",
        "rate = \"0.02/s\"",
        "  \"clients -> lb -> ws -> server -> postgres\",",
        "  \"ws -> redis\",",
        "at = \"20.5h\"",
    ] {
        assert!(text.lines().any(|each| each == line), "{line} is not in\n{text}");
    }
    // Defaults are not repeated.
    for key in ["seed", "weigh", "session", "[clients]", "priority"] {
        assert!(!text.contains(key), "{key} is in\n{text}");
    }
}

#[test]
fn every_default_and_example_can_be_read_and_is_canonical() {
    let mut count = 0;
    every_key(&ROOT, &mut |section, key| {
        count += 1;
        assert!(key.doc.len() > 2 && !key.doc.contains('|'), "{}", key.name);
        for tag in key.only {
            let tag_key = section
                .key(section.tag.expect("it has cases"))
                .expect("it is there");
            assert!(
                matches!(tag_key.kind, Kind::Choice(choices) if choices.contains(tag)),
                "{tag}"
            );
        }
        let (Need::Required(text) | Need::Default(text) | Need::Open(text)) = key.need;
        if !text.is_empty() {
            assert!(read_default(key, text).is_some(), "{} = {text}", key.name);
        }
        if let Kind::Duration(least, most)
        | Kind::Hours(least, most)
        | Kind::Share(least, most)
        | Kind::Bytes(least, most)
        | Kind::Rate(least, most)
        | Kind::ByteRate(least, most) = key.kind
        {
            let [least, most] = [least, most].map(|text| quantity(key.kind, text));
            assert!(least.is_some() && least < most, "{}", key.name);
        }
    });
    assert!(count > 100, "the table was walked: {count}");
    // A default that is written is left out again: it stands in the table as it would be written.
    let defaults = "[clients]\nbackoff_first = \"500ms\"\nbackoff_max = \"30s\"\njitter = \"full\"\nretries = 3\n\
                    timeout = \"5s\"\npatience = \"5min\"\n[failures]\ncrashes_per_year = 1\ndeploys_per_week = 2\ncommon_cause = \"10%\"\n";
    let plan = parse(&format!("{SMALL}{defaults}")).unwrap();
    assert_eq!(write(&plan), write(&parse(SMALL).unwrap()));
}

fn every_key(section: &'static Section, each: &mut dyn FnMut(&'static Section, &'static Key)) {
    for key in section.keys {
        each(section, key);
        match key.kind {
            Kind::Table(inner) | Kind::Tables { section: inner, .. } | Kind::Named { section: inner, .. } => {
                every_key(inner, each);
            }
            _ => {}
        }
    }
}

/// Writes files with any values the table allows.
struct Author {
    chance: draw::Stream,
}

impl Author {
    fn file(&mut self) -> String {
        let kinds = [
            "lb", "ws", "server", "postgres", "replica", "redis", "stream", "queue", "worker", "limiter",
        ];
        let mut text = String::from("title = \"any\"\n");
        text += &format!("seed = {}\nprices = \"hetzner-eu\"\n", self.below(1 << 31));
        text +=
            "[briefing]\ntext = \"\"\"\none \\\"two\\\\\n\\u0007 three\n\"\"\"\nhints = [\"a\\tb\", \"ü\"]\n";
        text += "[contract]\n";
        text += &self.keys(&keys::CONTRACT, None, &["latency"]);
        text += "[contract.latency]\nb = [\"p50 < 10.5ms\", \"p99.99 < 2s\"]\nall = \"p95 < 1min\"\n";
        text += "[scenario]\nlength = \"100h\"\n";
        let users = match self.below(3) {
            0 => format!(
                "{{ points = [[\"0h\", {}], [\"1h20min\", {}]] }}",
                self.unit(),
                self.below(1_000)
            ),
            1 => format!(
                "{{ shape = \"{}\", base = 3, peak = {} }}",
                self.shape(),
                4 + self.below(1_000)
            ),
            _ => format!(
                "{{ shape = \"daily\", base = 3.5, peak = 9, peak_at = \"{}h\" }}",
                self.below(24)
            ),
        };
        text += &format!("users = {users}\n");
        text += &format!("session = {{ {} }}\n", self.inline(&keys::SESSION));
        text += &self.ordered("network_p50", "network_p95");
        text += &self.keys(
            &keys::SCENARIO,
            None,
            &["length", "users", "session", "network_p50", "network_p95"],
        );
        for name in ["b", "a"] {
            text += &format!("[class.{name}]\nroom = {{ {} }}\n", self.inline(&keys::ROOM));
            text += &self.keys(&keys::CLASS, None, &["room", "durable"]);
        }
        text += "[[burst]]\nkind = \"mmpp\"\nclasses = [\"a\", \"b\"]\n";
        text += &self.keys(&keys::BURST, Some("mmpp"), &["kind", "classes"]);
        text += "[[burst]]\nkind = \"cluster\"\nclass = \"a\"\nat = [\"3h\", \"99h59min\"]\n";
        text += &self.ordered("delay_p50", "delay_p95");
        text += &self.keys(
            &keys::BURST,
            Some("cluster"),
            &["kind", "class", "at", "delay_p50", "delay_p95"],
        );
        text += "[clients]\n";
        text += &self.ordered("backoff_first", "backoff_max");
        text += &self.keys(&keys::CLIENTS, None, &["backoff_first", "backoff_max"]);
        text += "[topology]\nways = [\"clients -> limiter -> lb -> ws -> server -> postgres -> replica\", \
                 \"ws -> stream -> worker -> redis\", \"worker -> postgres\", \"server -> queue -> worker\"]\n";
        for kind in kinds {
            text += &format!("[node.{kind}]\nkind = \"{kind}\"\nsize = \"x\"\n");
            text += &self.keys(
                &keys::NODE,
                Some(kind),
                &["kind", "size", "autoscale_max", "costs"],
            );
            if kind == "ws" {
                text += "costs = \"mine\"\n";
            }
        }
        for name in ["others", "mine"] {
            text += &format!("[costs.{name}]\nmeasured = \"then and there\"\n");
            text += &self.keys(&keys::COSTS, None, &["measured"]);
        }
        text += "[failures]\n";
        text += &self.keys(&keys::FAILURES, None, &[]);
        for what in ["crash", "zone", "slow", "deploy", "loss", "kick"] {
            text += &format!(
                "[[failure]]\nat = \"{}h\"\nnode = \"ws\"\nwhat = \"{what}\"\n",
                self.unit()
            );
            text += &self.keys(&keys::FAILURE, Some(what), &["at", "node", "what", "machines"]);
        }
        text
    }

    /// Lines for most keys of a section.
    fn keys(&mut self, section: &'static Section, tag: Option<&str>, without: &[&str]) -> String {
        let mut text = String::new();
        for key in section.keys {
            let fits = key.only.is_empty() || tag.is_some_and(|tag| key.only.contains(&tag));
            let is_needed = matches!(key.need, Need::Required(_));
            if fits && !without.contains(&key.name) && (is_needed || self.below(3) > 0) {
                text += &format!("{} = {}\n", key.name, self.value(key.kind));
            }
        }
        text
    }

    fn inline(&mut self, section: &'static Section) -> String {
        let Some(Kind::Choice(choices)) = section.key("law").map(|key| key.kind) else {
            unreachable!("laws have names");
        };
        let law = choices[self.below(choices.len() as u32) as usize];
        let keys = self.keys(section, Some(law), &["law"]);
        let keys: Vec<&str> = keys.lines().collect();
        [vec![format!("law = \"{law}\"").as_str()], keys]
            .concat()
            .join(", ")
    }

    fn ordered(&mut self, low: &str, high: &str) -> String {
        let least = self.unit();
        format!("{low} = \"{least}s\"\n{high} = \"{}s\"\n", least + self.unit())
    }

    fn value(&mut self, kind: Kind) -> String {
        let part = match self.below(4) {
            0 => 0.0,
            1 => 1.0,
            _ => self.unit(),
        };
        let between = |least: &str, most: &str| {
            let [least, most] = [least, most].map(|text| quantity(kind, text).unwrap());
            (least + (most - least) * part).min(most)
        };
        match kind {
            Kind::Duration(least, most) => format!("{:?}", units::print_duration(between(least, most))),
            Kind::Hours(least, most) => format!("{:?}", units::print_hours(between(least, most))),
            Kind::Share(least, most) => format!("{:?}", units::print_share(between(least, most))),
            Kind::Bytes(least, most) => format!("{:?}", units::print_bytes(between(least, most).floor())),
            Kind::Rate(least, most) => format!("{:?}", units::print_rate(between(least, most))),
            Kind::ByteRate(least, most) => {
                format!("{:?}", units::print_byte_rate(between(least, most).floor()))
            }
            Kind::Number(least, most) => format!("{}", (least + (most - least) * part).min(most)),
            Kind::Count(least, most) => (least + ((most - least) as f64 * part) as u64).to_string(),
            Kind::Range(inner) => {
                let print = |number: f64| match inner {
                    Kind::Bytes(..) => format!("{:?}", units::print_bytes(number.floor())),
                    _ => format!("{:?}", units::print_duration(number)),
                };
                let low = self.unit() * 5.0;
                let (mid, high) = (low + self.unit(), low + 1.0 + self.unit());
                match self.below(3) {
                    0 => print(low),
                    _ => format!("[{}, {}, {}]", print(low), print(mid), print(high)),
                }
            }
            Kind::Flag => (self.below(2) == 0).to_string(),
            Kind::Choice(choices) => format!("{:?}", choices[self.below(choices.len() as u32) as usize]),
            Kind::Word => format!("\"w-{}.x\"", self.below(100)),
            _ => unreachable!("written by hand"),
        }
    }

    fn shape(&mut self) -> &'static str {
        Shape::ALL[self.below(Shape::ALL.len() as u32) as usize].name()
    }

    fn below(&mut self, len: u32) -> u32 {
        self.chance.below(len)
    }

    fn unit(&mut self) -> f64 {
        self.chance.unit()
    }
}

proptest! {
    #[test]
    fn every_plan_is_written_and_read_back_as_itself(seed in any::<u64>()) {
        let key = draw::Key { seed, replication: 0, entity: 0, purpose: draw::Purpose::Sample };
        let text = Author { chance: draw::Stream::new(key) }.file();
        let plan = parse(&text).unwrap_or_else(|errors| panic!("{errors:#?}\n{text}"));
        let written = write(&plan);
        let again = parse(&written).unwrap_or_else(|errors| panic!("{errors:#?}\n{written}"));
        prop_assert_eq!(&again, &plan, "{}", written);
        prop_assert_eq!(write(&again), written);
    }

    #[test]
    fn damaged_files_end_in_a_plan_or_in_errors(place in 0usize..20_000, cut in 0usize..40, text in "[\\PC\n]{0,12}") {
        let at = |place: usize| (0..=place % TEMPLATE.len()).rev().find(|place| TEMPLATE.is_char_boundary(*place));
        let (from, to) = (at(place).unwrap_or(0), at(place + cut).unwrap_or(0));
        let damaged = format!("{}{text}{}", &TEMPLATE[..from], &TEMPLATE[to.max(from)..]);
        match parse(&damaged) {
            Ok(plan) => prop_assert_eq!(parse(&write(&plan)).unwrap(), plan),
            Err(errors) => prop_assert!(!errors.is_empty() && errors.iter().all(|error| error.line > 0)),
        }
    }

    #[test]
    fn any_text_ends_in_errors(text in "\\PC{0,200}|[a-z\\[\\]{}=.,\"'# \n0-9]{0,200}") {
        prop_assert!(parse(&text).is_err_and(|errors| !errors.is_empty()));
    }
}

#[test]
fn the_schema_takes_what_the_reader_takes() {
    let schema = schema();
    let json = |text: &str| serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap();
    for text in [SMALL, TEMPLATE, &write(&parse(TEMPLATE).unwrap())] {
        holds(&schema, &json(text), "").unwrap();
    }
    for (old, new) in [
        ("budget = 100\n", ""),
        ("budget = 100", "budget = \"100\""),
        ("budget = 100", "budget = -1"),
        ("kind = \"ws\"", "kind = \"ws\"\npool = 3"),
        ("kind = \"ws\"", "kind = \"web\""),
        ("law = \"everyone\"", "law = \"zipf\""),
        ("length = \"24h\"", "length = 24"),
        ("title", "titel"),
    ] {
        assert!(
            holds(&schema, &json(&SMALL.replace(old, new)), "").is_err(),
            "{new}"
        );
    }
}

/// As much of JSON Schema as ours uses, but for patterns.
fn holds(schema: &Value, value: &Value, path: &str) -> Result<(), String> {
    let refuse = |why: &str| Err(format!("{path}: {why}: {value}"));
    if let Some(any) = schema["anyOf"].as_array() {
        return match any.iter().any(|schema| holds(schema, value, path).is_ok()) {
            true => Ok(()),
            false => refuse("none of them"),
        };
    }
    if schema["const"] != Value::Null && schema["const"] != *value {
        return refuse("another");
    }
    if schema["enum"].as_array().is_some_and(|all| !all.contains(value)) {
        return refuse("not one of them");
    }
    let is_right = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("number") => value.is_number(),
        Some("integer") => value.is_u64(),
        Some("boolean") => value.is_boolean(),
        other => other.is_none(),
    };
    if !is_right {
        return refuse("another type");
    }
    if let (Some(number), Some(least)) = (value.as_f64(), schema["minimum"].as_f64())
        && !(least..=schema["maximum"].as_f64().unwrap_or(f64::MAX)).contains(&number)
    {
        return refuse("out of bounds");
    }
    for each in value.as_array().into_iter().flatten() {
        if schema["items"].is_object() {
            holds(&schema["items"], each, path)?;
        }
    }
    let Some(object) = value.as_object() else {
        return Ok(());
    };
    for name in schema["required"].as_array().into_iter().flatten() {
        if !object.contains_key(name.as_str().unwrap()) {
            return refuse(&format!("{name} is missing"));
        }
    }
    for (name, inner) in object {
        let path = format!("{path}.{name}");
        if schema["propertyNames"].is_object() {
            holds(&schema["propertyNames"], &Value::from(name.as_str()), &path)?;
        }
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => return refuse(&format!("{name} is unknown")),
            (Value::Null, Value::Null) => {}
            (Value::Null, others) => holds(others, inner, &path)?,
            (known, _) => holds(known, inner, &path)?,
        }
    }
    for case in schema["allOf"].as_array().into_iter().flatten() {
        if holds(&case["if"], value, path).is_ok() {
            holds(&case["then"], value, path)?;
        }
    }
    Ok(())
}

#[test]
fn names_are_those_of_the_plan() {
    let json = |value: Value| value.as_str().unwrap().to_owned();
    for shape in Shape::ALL {
        assert_eq!(json(serde_json::to_value(shape).unwrap()), shape.name());
    }
    for kind in crate::plan::Kind::ALL {
        assert_eq!(json(serde_json::to_value(kind).unwrap()), kind.name());
    }
    let options = serde_json::to_value(crate::plan::Options::default()).unwrap();
    for name in options.as_object().unwrap().keys() {
        assert!(NODE.key(name).is_some(), "the option {name} has no key");
    }
}

//! From what was read to the plan, and what clashes in it.
//!
//! Runs on a file with mistakes, too, so that more of them are found at once; then its plan is not for use.

use super::{
    keys::{self, Section},
    mistake::{Mistakes, closest},
    read::{Table, absent},
};
use crate::{
    component::{Costs, Interval},
    plan::{
        Briefing, Burst, Class, Clients, Contract, Failure, Failures, Fault, Jitter, Kind, NamedCosts,
        NewestOf, Node, Options, Plan, RoomLaw, Scenario, Session, Shape, Target, Users, Weigh,
    },
    shape::Made,
};

pub(super) fn plan(root: &Table, mistakes: &mut Mistakes) -> Plan {
    let contract = Part::of(root, "contract", &keys::CONTRACT);
    let classes: Vec<Class> = root
        .named("class")
        .iter()
        .map(|named| class(&named.name, &named.table))
        .collect();
    let bursts = bursts(root, &classes, mistakes);
    let scenario = scenario(root, classes, bursts, mistakes);
    let contract = self::contract(&contract, &scenario.classes, mistakes);
    let costs: Vec<NamedCosts> = root
        .named("costs")
        .iter()
        .map(|named| costs(&named.name, &named.table))
        .collect();
    known_costs(root, &costs, mistakes);
    let nodes = root
        .named("node")
        .iter()
        .map(|named| node(&named.name, &named.table, mistakes))
        .collect();
    let topology = super::check::topology(root, nodes, &scenario.classes, mistakes);
    let failures = failures(root, &topology.nodes, scenario.hours, mistakes);
    Plan {
        title: root.text("title").unwrap_or_default().to_owned(),
        briefing: briefing(&Part::of(root, "briefing", &keys::BRIEFING)),
        seed: root.number("seed").unwrap_or_default() as u64,
        book: root.text("prices").unwrap_or_default().to_owned(),
        contract,
        scenario,
        topology,
        failures,
        costs,
    }
}

/// What was measured; what was not keeps its usual figure.
fn costs(name: &str, table: &Table) -> NamedCosts {
    let mut costs = Costs::default();
    for (key, ..) in Costs::default().each() {
        if let (Some([low, mid, high]), Some(cost)) = (table.range(key), costs.named(key)) {
            *cost = Interval { low, mid, high };
        }
    }
    NamedCosts {
        name: name.to_owned(),
        measured: table.text("measured").map(str::to_owned),
        costs,
    }
}

fn known_costs(root: &Table, costs: &[NamedCosts], mistakes: &mut Mistakes) {
    for named in root.named("node") {
        let Some(name) = named.table.text("costs") else {
            continue;
        };
        if costs.iter().all(|costs| costs.name != name) {
            let message = format!(
                "`node.{}.costs` names costs that are not there: {name:?}",
                named.name
            );
            let names = costs.iter().map(|costs| costs.name.as_str());
            mistakes
                .note(named.table.span("costs"), message, known("costs", name, names))
                .help("`tidegate load calibrate` measures them, `tidegate plan calibrate` writes `[costs.NAME]`");
        }
    }
}

/// A table of the file, or its defaults where it is absent.
enum Part<'a> {
    Written(&'a Table),
    Absent(Box<Table>),
}

impl<'a> Part<'a> {
    fn of(parent: &'a Table, name: &str, section: &'static Section) -> Self {
        match parent.table(name) {
            Some(table) => Self::Written(table),
            None => Self::Absent(Box::new(absent(section))),
        }
    }
}

impl std::ops::Deref for Part<'_> {
    type Target = Table;
    fn deref(&self) -> &Table {
        match self {
            Self::Written(table) => table,
            Self::Absent(table) => table,
        }
    }
}

fn briefing(table: &Table) -> Briefing {
    let list = |name| table.texts(name).iter().map(|(text, _)| text.clone()).collect();
    Briefing {
        text: table.text("text").unwrap_or_default().to_owned(),
        hints: list("hints"),
        mistakes: list("mistakes"),
    }
}

fn contract(table: &Table, classes: &[Class], mistakes: &mut Mistakes) -> Contract {
    let latency = table.targets("latency").iter().map(|target| {
        let class = (target.class != super::ALL).then(|| target.class.clone());
        if let Some(class) = &class {
            known_class(
                class,
                Some(target.span.clone()),
                classes,
                "contract.latency",
                mistakes,
            );
        }
        Target {
            class,
            percentile: target.percentile,
            within: target.within,
        }
    });
    let latency = latency.collect();
    Contract {
        uptime: table.number("uptime").unwrap_or_default(),
        weigh: match table.text("weigh") {
            Some("requests") => Weigh::Requests,
            Some("time") => Weigh::Time,
            _ => Weigh::UserMinutes,
        },
        latency,
        budget: table.number("budget").unwrap_or_default(),
        loss: table.number("loss"),
        reconnect: table.number("reconnect"),
        late_factor: table.number("late_factor").unwrap_or_default(),
    }
}

fn known_class(
    name: &str,
    span: Option<super::read::Span>,
    classes: &[Class],
    path: &str,
    mistakes: &mut Mistakes,
) {
    if !classes.iter().any(|class| class.name == name) {
        let message = format!(
            "`{path}` names the class {:?}, which is not there",
            super::read::shortened(name)
        );
        let names = classes.iter().map(|class| class.name.as_str());
        let allowed = known("class", name, names);
        mistakes.note(span, message, allowed);
    }
}

/// What is there, for who named something that is not.
pub(super) fn known<'a>(what: &str, name: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    match closest(name, names.clone()) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => {
            let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
            match names.is_empty() {
                true => format!("there is no {what} at all"),
                false => format!("one of {}", names.join(", ")),
            }
        }
    }
}

fn scenario(root: &Table, classes: Vec<Class>, bursts: Vec<Burst>, mistakes: &mut Mistakes) -> Scenario {
    let table = Part::of(root, "scenario", &keys::SCENARIO);
    in_order(&table, "network_p50", "network_p95", "scenario", mistakes);
    let hours = table.number("length").unwrap_or(1.0);
    Scenario {
        hours,
        users: users(&Part::of(&table, "users", &keys::USERS), hours, mistakes),
        session: session(&Part::of(&table, "session", &keys::SESSION)),
        bursts,
        classes,
        abuse: table.number("abuse").unwrap_or_default(),
        slow_readers: table.number("slow_readers").unwrap_or_default(),
        slow_reader_rate: table.number("slow_reader_rate").unwrap_or_default(),
        network_p50: table.number("network_p50").unwrap_or_default(),
        network_p95: table.number("network_p95").unwrap_or_default(),
        clients: clients(&Part::of(root, "clients", &keys::CLIENTS), mistakes),
    }
}

/// A median is not above its 95th percentile.
fn in_order(table: &Table, low: &str, high: &str, path: &str, mistakes: &mut Mistakes) {
    let (Some(least), Some(most)) = (table.number(low), table.number(high)) else {
        return;
    };
    if least > most {
        let print = super::units::print_duration;
        let message = format!(
            "`{path}.{low}` ({}) is above `{path}.{high}` ({})",
            print(least),
            print(most)
        );
        mistakes.note(
            table.span(low).or(table.span(high)),
            message,
            format!("lower `{low}`, or raise `{high}`"),
        );
    }
}

fn users(table: &Table, hours: f64, mistakes: &mut Mistakes) -> Users {
    let shape = table
        .text("shape")
        .and_then(|name| Shape::ALL.into_iter().find(|shape| shape.name() == name));
    let nobody = Users {
        shape,
        points: vec![(0.0, 0.0), (hours, 0.0)],
    };
    if let Some(points) = table.points("points") {
        if points.last().is_some_and(|(hour, _)| *hour > hours) {
            let message = "`scenario.users.points` go on after the end of the scenario";
            let allowed = format!(
                "at most {}, or raise `scenario.length`",
                super::units::print_hours(hours)
            );
            mistakes.note(table.span("points"), message, allowed);
        }
        return Users {
            shape,
            points: points.to_vec(),
        };
    }
    let Some(shape) = shape else {
        // A wrong shape has a mistake of its own.
        if table.span.is_some() && !table.is_wrong("shape") && !table.is_wrong("points") {
            let message = "`scenario.users` has neither a `shape` nor `points`";
            let allowed = "add `shape = \"live-event\", base = 220, peak = 3400`, or `points = [[\"0h\", 220], [\"12h\", 900]]`";
            mistakes.note(table.span.clone(), message, allowed);
        }
        return nobody;
    };
    let peak = match shape {
        Shape::Constant => table.number("base"),
        _ => table.number("peak"),
    };
    let (Some(base), Some(peak)) = (table.number("base"), peak) else {
        if table.is_wrong("base") || table.is_wrong("peak") {
            return nobody;
        }
        let message = format!(
            "`scenario.users` needs `base` and `peak` with the shape \"{}\"",
            shape.name()
        );
        mistakes.note(table.span.clone(), message, "add `base = 220, peak = 3400`");
        return nobody;
    };
    if base > peak {
        let message = format!("`scenario.users.base` ({base}) is above `peak` ({peak})");
        mistakes.note(table.span("base"), message, "lower `base`, or raise `peak`");
    }
    let peak_at = table.number("peak_at");
    let last = if shape.is_daily() { 24.0 } else { hours };
    if peak_at.is_some_and(|at| at > last) {
        let message = format!(
            "`scenario.users.peak_at` ({}) is after {}",
            super::units::print_hours(peak_at.unwrap_or_default()),
            if shape.is_daily() {
                "the end of the day"
            } else {
                "the end of the scenario"
            }
        );
        mistakes.note(
            table.span("peak_at"),
            message,
            format!("\"0h\" to \"{}\"", super::units::print_hours(last)),
        );
        return nobody;
    }
    Users::of(shape, Made { base, peak, peak_at }, hours)
}

fn session(table: &Table) -> Session {
    let number = |name| table.number(name).unwrap_or(1.0);
    match table.text("law") {
        Some("exponential") => Session::Exponential { mean: number("mean") },
        Some("fixed") => Session::Fixed {
            length: number("length"),
        },
        _ => Session::Weibull {
            shape: number("shape"),
            scale: number("scale"),
        },
    }
}

fn class(name: &str, table: &Table) -> Class {
    let number = |name| table.number(name).unwrap_or_default();
    Class {
        name: name.to_owned(),
        rate: number("rate"),
        bytes: number("bytes"),
        room: table.table("room").map_or(RoomLaw::Everyone, room),
        durable: table.flag("durable").unwrap_or_default(),
        coalescible: table.flag("coalescible").unwrap_or_default(),
        newest_of: match table.text("newest_of") {
            Some("room") => NewestOf::Room,
            _ => NewestOf::User,
        },
        priority: number("priority") as u8,
    }
}

fn room(table: &Table) -> RoomLaw {
    let number = |name| table.number(name).unwrap_or(1.0);
    match table.text("law") {
        Some("fixed") => RoomLaw::Fixed { size: number("size") },
        Some("geometric") => RoomLaw::Geometric { mean: number("mean") },
        Some("zipf") => RoomLaw::Zipf {
            exponent: number("exponent"),
            largest_share: number("largest_share"),
        },
        _ => RoomLaw::Everyone,
    }
}

fn bursts(root: &Table, classes: &[Class], mistakes: &mut Mistakes) -> Vec<Burst> {
    let hours = root
        .table("scenario")
        .and_then(|scenario| scenario.number("length"));
    let mut bursts = Vec::new();
    for table in root.tables("burst") {
        let number = |name| table.number(name).unwrap_or_default();
        if table.text("kind") == Some("mmpp") {
            if table.span("classes").is_some() && table.texts("classes").is_empty() {
                mistakes.note(
                    table.span("classes"),
                    "`burst.classes` cannot be empty",
                    "name one class at least",
                );
            }
            for (name, span) in table.texts("classes") {
                known_class(name, Some(span.clone()), classes, "burst.classes", mistakes);
            }
            bursts.push(Burst::Mmpp {
                factor: number("factor"),
                quiet: number("quiet"),
                loud: number("loud"),
                classes: table
                    .texts("classes")
                    .iter()
                    .map(|(name, _)| name.clone())
                    .collect(),
            });
            continue;
        }
        if let Some(name) = table.text("class") {
            known_class(name, table.span("class"), classes, "burst.class", mistakes);
        }
        in_order(table, "delay_p50", "delay_p95", "burst", mistakes);
        let at_hours = table.numbers("at").to_vec();
        if let (Some(late), Some(hours)) = (at_hours.iter().find(|at| Some(**at) > hours), hours) {
            let message = format!(
                "`burst.at` has {}, after the end of the scenario",
                super::units::print_hours(*late)
            );
            mistakes.note(
                table.span("at"),
                message,
                format!("at most {}", super::units::print_hours(hours)),
            );
        }
        bursts.push(Burst::Cluster {
            at_hours,
            per_hour: number("per_hour"),
            share: number("share"),
            delay_p50: number("delay_p50"),
            delay_p95: number("delay_p95"),
            class: table.text("class").unwrap_or_default().to_owned(),
        });
    }
    bursts
}

fn clients(table: &Table, mistakes: &mut Mistakes) -> Clients {
    in_order(table, "backoff_first", "backoff_max", "clients", mistakes);
    let number = |name| table.number(name).unwrap_or_default();
    Clients {
        backoff_first: number("backoff_first"),
        backoff_max: number("backoff_max"),
        jitter: match table.text("jitter") {
            Some("none") => Jitter::None,
            Some("equal") => Jitter::Equal,
            _ => Jitter::Full,
        },
        retries: table.count("retries").unwrap_or_default(),
        retry_budget: table.number("retry_budget"),
        timeout: number("timeout"),
        patience: number("patience"),
    }
}

fn node(name: &str, table: &Table, mistakes: &mut Mistakes) -> Node {
    let kind = table
        .text("kind")
        .and_then(|name| Kind::ALL.into_iter().find(|kind| kind.name() == name));
    let count = table.count("count").unwrap_or(1);
    let options = options(table);
    if options.autoscale_max.is_some_and(|most| most < count) {
        let message = format!(
            "`node.{name}.autoscale_max` ({}) is below its `count` ({count})",
            options.autoscale_max.unwrap_or_default()
        );
        mistakes.note(
            table.span("autoscale_max"),
            message,
            format!("at least {count}: `count` is the least"),
        );
    }
    Node {
        id: name.to_owned(),
        kind: kind.unwrap_or(Kind::Server),
        count,
        size: table.text("size").unwrap_or_default().to_owned(),
        zones: table.count("zones").unwrap_or(1),
        options,
    }
}

fn options(table: &Table) -> Options {
    Options {
        waiting_max: table.count("waiting_max"),
        service: table.number("service"),
        timeout: table.number("timeout"),
        retries: table.count("retries"),
        retry_jitter: table.flag("retry_jitter"),
        retry_budget: table.number("retry_budget"),
        pool: table.count("pool"),
        standby: table.flag("standby"),
        connections_max: table.count("connections_max"),
        failover: table.number("failover"),
        staleness_max: table.number("staleness_max"),
        partitions: table.count("partitions"),
        poll: table.number("poll"),
        visibility: table.number("visibility"),
        hit_rate: table.number("hit_rate"),
        warm_up: table.number("warm_up"),
        rate: table.number("rate"),
        burst: table.number("burst"),
        counts_reconnects: table.flag("counts_reconnects"),
        autoscale_max: table.count("autoscale_max"),
        autoscale_target: table.number("autoscale_target"),
        autoscale_delay: table.number("autoscale_delay"),
        boot: table.number("boot"),
        drain: table.number("drain"),
        resume_window: table.number("resume_window"),
        rebalance: table.flag("rebalance"),
        outbox_bytes: table.count("outbox_bytes"),
        conflate_rate: table.number("conflate_rate"),
        tokens: table.flag("tokens"),
        lanes: table.flag("lanes"),
        handshakes_max: table.number("handshakes_max"),
        health_interval: table.number("health_interval"),
        health_failures: table.count("health_failures"),
        costs: table.text("costs").map(str::to_owned),
    }
}

fn failures(root: &Table, nodes: &[Node], hours: f64, mistakes: &mut Mistakes) -> Failures {
    let chance = Part::of(root, "failures", &keys::FAILURES);
    let number = |name| chance.number(name).unwrap_or_default();
    let scheduled = root
        .tables("failure")
        .iter()
        .map(|table| failure(table, nodes, hours, mistakes))
        .collect();
    Failures {
        scheduled,
        crashes_per_year: number("crashes_per_year"),
        deploys_per_week: number("deploys_per_week"),
        common_cause: number("common_cause"),
    }
}

fn failure(table: &Table, nodes: &[Node], hours: f64, mistakes: &mut Mistakes) -> Failure {
    let number = |name| table.number(name).unwrap_or_default();
    let at_hour = number("at");
    if at_hour > hours {
        let message = format!(
            "`failure.at` ({}) is after the end of the scenario",
            super::units::print_hours(at_hour)
        );
        mistakes.note(
            table.span("at"),
            message,
            format!("at most {}", super::units::print_hours(hours)),
        );
    }
    let what = match table.text("what") {
        Some("zone") => Fault::Zone {
            seconds: number("lasts"),
        },
        Some("slow") => Fault::Slow {
            factor: number("factor"),
            seconds: number("lasts"),
        },
        Some("failover") => Fault::Failover,
        Some("deploy") => Fault::Deploy,
        Some("cold") => Fault::Cold,
        Some("loss") => Fault::Loss {
            share: number("share"),
            seconds: number("lasts"),
        },
        Some("kick") => Fault::Kick {
            factor: number("factor"),
            seconds: number("lasts"),
        },
        _ => Fault::Crash {
            machines: table.count("machines").unwrap_or(1),
            seconds: table.number("back_after"),
        },
    };
    let name = table.text("node").unwrap_or_default();
    match nodes.iter().find(|node| node.id == name) {
        Some(node) => fits(table, node, what, mistakes),
        None if !name.is_empty() => {
            let names = nodes.iter().map(|node| node.id.as_str());
            let message = format!("`failure.node` names {name:?}, which is not there");
            mistakes.note(table.span("node"), message, known("node", name, names));
        }
        None => {}
    }
    Failure {
        at_hour,
        node: name.to_owned(),
        what,
    }
}

/// What can happen to some nodes only.
fn fits(table: &Table, node: &Node, what: Fault, mistakes: &mut Mistakes) {
    let (id, most) = (&node.id, node.count.max(node.options.autoscale_max.unwrap_or(0)));
    match what {
        Fault::Crash { machines, .. } if machines > most => {
            let message = format!("`failure.machines` ({machines}) is above the machines of `{id}`");
            mistakes.note(table.span("machines"), message, format!("at most {most}"));
        }
        Fault::Failover if !matches!(node.kind, Kind::Postgres | Kind::Redis) => {
            let message = format!("`{id}` has no primary that could fail over");
            mistakes.note(
                table.span("what"),
                message,
                "\"failover\" is for `postgres` and `redis`",
            );
        }
        Fault::Cold if node.kind != Kind::Redis => {
            let message = format!("`{id}` is no cache that could go cold");
            mistakes.note(table.span("what"), message, "\"cold\" is for `redis`");
        }
        Fault::Crash { .. }
        | Fault::Zone { .. }
        | Fault::Slow { .. }
        | Fault::Failover
        | Fault::Deploy
        | Fault::Cold
        | Fault::Loss { .. }
        | Fault::Kick { .. } => {}
    }
}

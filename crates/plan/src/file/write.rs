//! The canonical text of a plan: what is said, in the order of the table of keys, and nothing that is a default.
//!
//! `parse(write(plan))` is the plan again. For a canvas, which rewrites the file after each change, and
//! for diffs: the same plan is the same text.

use std::fmt::Write;

use super::{
    keys::{self, Key, Kind, Need, Section},
    units,
};
use crate::{
    component::{Costs, Interval},
    plan::{
        Briefing, Burst, Contract, Edge, Failure, Fault, NamedCosts, Node, Plan, RoomLaw, Scenario, Session,
        Users,
    },
};

/// Width at which a list of texts or points goes on in the next line.
const WIDTH_MAX: usize = 100;

/// Returns the canonical text of a plan.
pub fn write(plan: &Plan) -> String {
    let mut text = String::new();
    let mut root = Block::new(&keys::ROOT, "");
    root.text("title", &plan.title);
    root.number("seed", plan.seed as f64);
    root.text("prices", &plan.book);
    root.finish(&mut text);
    briefing(&mut text, &plan.briefing);
    contract(&mut text, &plan.contract);
    scenario(&mut text, &plan.scenario);
    topology(&mut text, &plan.topology.edges);
    for each in &plan.topology.nodes {
        node(&mut text, each);
    }
    failures(&mut text, plan);
    for each in &plan.costs {
        costs(&mut text, each);
    }
    text
}

/// Lines under one header.
struct Block {
    section: &'static Section,
    header: String,
    lines: Vec<String>,
}

impl Block {
    fn new(section: &'static Section, header: impl Into<String>) -> Self {
        Self {
            section,
            header: header.into(),
            lines: Vec::new(),
        }
    }

    fn key(&self, name: &str) -> &'static Key {
        let key = self.section.key(name);
        key.unwrap_or_else(|| unreachable!("no key `{name}` in `{}`", self.section.header))
    }

    /// A value that is written already; left out if it is the default.
    fn put(&mut self, name: &str, value: String) {
        if !matches!(self.key(name).need, Need::Default(default) if default == value) {
            self.lines.push(format!("{name} = {value}"));
        }
    }

    fn number(&mut self, name: &str, number: f64) {
        let value = match self.key(name).kind {
            Kind::Duration(..) => quoted(&units::print_duration(number)),
            Kind::Hours(..) => quoted(&units::print_hours(number)),
            Kind::Share(..) => quoted(&units::print_share(number)),
            Kind::Bytes(..) => quoted(&units::print_bytes(number)),
            Kind::Rate(..) => quoted(&units::print_rate(number)),
            Kind::ByteRate(..) => quoted(&units::print_byte_rate(number)),
            _ => number.to_string(),
        };
        self.put(name, value);
    }

    fn maybe(&mut self, name: &str, number: Option<f64>) {
        if let Some(number) = number {
            self.number(name, number);
        }
    }

    fn range(&mut self, name: &str, range: Interval) {
        let print = |number: f64| match self.key(name).kind {
            Kind::Range(Kind::Bytes(..)) => quoted(&units::print_bytes(number)),
            _ => quoted(&units::print_duration(number)),
        };
        let Interval { low, mid, high } = range;
        let value = match low == high {
            true => print(mid),
            false => format!("[{}, {}, {}]", print(low), print(mid), print(high)),
        };
        self.put(name, value);
    }

    fn flag(&mut self, name: &str, flag: bool) {
        self.put(name, flag.to_string());
    }

    fn text(&mut self, name: &str, text: &str) {
        self.put(name, quoted(text));
    }

    fn texts(&mut self, name: &str, texts: &[String]) {
        let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
        self.put(name, list(&texts, name.len()));
    }

    /// A closed set, as its serialization names it.
    fn named(&mut self, name: &str, value: impl serde::Serialize) {
        if let Ok(serde_json::Value::String(text)) = serde_json::to_value(value) {
            self.text(name, &text);
        }
    }

    /// As lines under the header.
    fn finish(self, text: &mut String) {
        if self.lines.is_empty() && self.header.is_empty() {
            return;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        if !self.header.is_empty() {
            let _ = writeln!(text, "{}", self.header);
        }
        for line in self.lines {
            let _ = writeln!(text, "{line}");
        }
    }

    /// As one value.
    fn inline(self) -> String {
        format!("{{ {} }}", self.lines.join(", "))
    }
}

fn briefing(text: &mut String, briefing: &Briefing) {
    let mut block = Block::new(&keys::BRIEFING, "[briefing]");
    if briefing.text.contains('\n') {
        // Line breaks stay as they are; whatever could end it is escaped.
        let lines: Vec<String> = briefing.text.split('\n').map(escaped).collect();
        block.put("text", format!("\"\"\"\n{}\n\"\"\"", lines.join("\n")));
    } else if !briefing.text.is_empty() {
        block.text("text", &briefing.text);
    }
    for (name, texts) in [("hints", &briefing.hints), ("mistakes", &briefing.mistakes)] {
        if !texts.is_empty() {
            block.texts(name, texts);
        }
    }
    if !block.lines.is_empty() {
        block.finish(text);
    }
}

fn contract(text: &mut String, contract: &Contract) {
    let mut block = Block::new(&keys::CONTRACT, "[contract]");
    block.number("uptime", contract.uptime);
    block.named("weigh", contract.weigh);
    block.number("budget", contract.budget);
    block.maybe("loss", contract.loss);
    block.maybe("reconnect", contract.reconnect);
    block.number("late_factor", contract.late_factor);
    block.finish(text);
    let _ = writeln!(text, "\n[contract.latency]");
    let mut classes: Vec<(&str, Vec<String>)> = Vec::new();
    for target in &contract.latency {
        let class = target.class.as_deref().unwrap_or(super::ALL);
        let limit = quoted(&units::print_target(target.percentile, target.within));
        match classes.iter_mut().find(|(name, _)| *name == class) {
            Some((_, limits)) => limits.push(limit),
            None => classes.push((class, vec![limit])),
        }
    }
    for (class, limits) in classes {
        let _ = match limits.as_slice() {
            [limit] => writeln!(text, "{class} = {limit}"),
            limits => writeln!(text, "{class} = [{}]", limits.join(", ")),
        };
    }
}

fn scenario(text: &mut String, scenario: &Scenario) {
    let mut block = Block::new(&keys::SCENARIO, "[scenario]");
    block.number("length", scenario.hours);
    block.put("users", users(&scenario.users, scenario.hours));
    block.put("session", session(scenario.session));
    block.number("network_p50", scenario.network_p50);
    block.number("network_p95", scenario.network_p95);
    block.number("abuse", scenario.abuse);
    block.number("slow_readers", scenario.slow_readers);
    block.number("slow_reader_rate", scenario.slow_reader_rate);
    block.finish(text);

    for class in &scenario.classes {
        let mut block = Block::new(&keys::CLASS, format!("[class.{}]", class.name));
        block.number("rate", class.rate);
        block.number("bytes", class.bytes);
        block.put("room", room(class.room));
        block.flag("durable", class.durable);
        block.flag("coalescible", class.coalescible);
        block.named("newest_of", class.newest_of);
        block.number("priority", f64::from(class.priority));
        block.finish(text);
    }
    for each in &scenario.bursts {
        burst(text, each);
    }

    let clients = &scenario.clients;
    let mut block = Block::new(&keys::CLIENTS, "[clients]");
    block.number("backoff_first", clients.backoff_first);
    block.number("backoff_max", clients.backoff_max);
    block.named("jitter", clients.jitter);
    block.number("retries", f64::from(clients.retries));
    block.maybe("retry_budget", clients.retry_budget);
    block.number("timeout", clients.timeout);
    block.number("patience", clients.patience);
    if !block.lines.is_empty() {
        block.finish(text);
    }
}

fn users(users: &Users, hours: f64) -> String {
    let mut block = Block::new(&keys::USERS, "");
    if let Some(shape) = users.shape {
        block.text("shape", shape.name());
    }
    match users.made(hours) {
        Some(made) => {
            block.number("base", made.base);
            if users.shape != Some(crate::plan::Shape::Constant) {
                block.number("peak", made.peak);
                block.maybe("peak_at", made.peak_at);
            }
        }
        None => {
            let points = users.points.iter();
            let points: Vec<String> = points
                .map(|(hour, users)| format!("[{}, {users}]", quoted(&units::print_hours(*hour))))
                .collect();
            block.put("points", list(&points, WIDTH_MAX / 2));
        }
    }
    block.inline()
}

fn session(session: Session) -> String {
    let mut block = Block::new(&keys::SESSION, "");
    match session {
        Session::Weibull { shape, scale } => {
            block.text("law", "weibull");
            block.number("shape", shape);
            block.number("scale", scale);
        }
        Session::Exponential { mean } => {
            block.text("law", "exponential");
            block.number("mean", mean);
        }
        Session::Fixed { length } => {
            block.text("law", "fixed");
            block.number("length", length);
        }
    }
    block.inline()
}

fn room(room: RoomLaw) -> String {
    let mut block = Block::new(&keys::ROOM, "");
    match room {
        RoomLaw::Fixed { size } => {
            block.text("law", "fixed");
            block.number("size", size);
        }
        RoomLaw::Geometric { mean } => {
            block.text("law", "geometric");
            block.number("mean", mean);
        }
        RoomLaw::Zipf {
            exponent,
            largest_share,
        } => {
            block.text("law", "zipf");
            block.number("exponent", exponent);
            block.number("largest_share", largest_share);
        }
        RoomLaw::Everyone => block.text("law", "everyone"),
    }
    block.inline()
}

fn burst(text: &mut String, burst: &Burst) {
    let mut block = Block::new(&keys::BURST, "[[burst]]");
    match burst {
        Burst::Mmpp {
            factor,
            quiet,
            loud,
            classes,
        } => {
            block.text("kind", "mmpp");
            block.number("factor", *factor);
            block.number("quiet", *quiet);
            block.number("loud", *loud);
            block.texts("classes", classes);
        }
        Burst::Cluster {
            at_hours,
            per_hour,
            share,
            delay_p50,
            delay_p95,
            class,
        } => {
            block.text("kind", "cluster");
            let hours: Vec<String> = at_hours
                .iter()
                .map(|at| quoted(&units::print_hours(*at)))
                .collect();
            block.put("at", list(&hours, 2));
            block.number("per_hour", *per_hour);
            block.number("share", *share);
            block.number("delay_p50", *delay_p50);
            block.number("delay_p95", *delay_p95);
            block.text("class", class);
        }
    }
    block.finish(text);
}

/// Edges that follow each other make one way.
fn topology(text: &mut String, edges: &[Edge]) {
    let mut ways: Vec<String> = Vec::new();
    let mut last: Option<&str> = None;
    for edge in edges {
        match ways.last_mut() {
            Some(way) if last == Some(&edge.from) && way.len() < WIDTH_MAX => {
                let _ = write!(way, " -> {}", edge.to);
            }
            _ => ways.push(format!("{} -> {}", edge.from, edge.to)),
        }
        last = Some(&edge.to);
    }
    let ways: Vec<String> = ways.iter().map(|way| quoted(way)).collect();
    let _ = write!(text, "\n[topology]\nways = [\n");
    for way in ways {
        let _ = writeln!(text, "  {way},");
    }
    text.push_str("]\n");
}

fn node(text: &mut String, node: &Node) {
    let mut block = Block::new(&keys::NODE, format!("[node.{}]", node.id));
    block.named("kind", node.kind);
    block.number("count", f64::from(node.count));
    if !node.size.is_empty() {
        block.text("size", &node.size);
    }
    block.number("zones", f64::from(node.zones));
    // Options are named as their keys, and those that are open are null.
    let options = serde_json::to_value(&node.options).unwrap_or_default();
    for key in keys::NODE.keys {
        match &options[key.name] {
            serde_json::Value::Number(number) => block.maybe(key.name, number.as_f64()),
            serde_json::Value::Bool(flag) => block.flag(key.name, *flag),
            serde_json::Value::String(text) => block.text(key.name, text),
            serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => {}
        }
    }
    block.finish(text);
}

fn failures(text: &mut String, plan: &Plan) {
    let failures = &plan.failures;
    let mut block = Block::new(&keys::FAILURES, "[failures]");
    block.number("crashes_per_year", failures.crashes_per_year);
    block.number("deploys_per_week", failures.deploys_per_week);
    block.number("common_cause", failures.common_cause);
    if !block.lines.is_empty() {
        block.finish(text);
    }
    for each in &failures.scheduled {
        failure(text, each);
    }
}

fn failure(text: &mut String, failure: &Failure) {
    let mut block = Block::new(&keys::FAILURE, "[[failure]]");
    block.number("at", failure.at_hour);
    block.text("node", &failure.node);
    match failure.what {
        Fault::Crash { machines, seconds } => {
            block.text("what", "crash");
            block.number("machines", f64::from(machines));
            block.maybe("back_after", seconds);
        }
        Fault::Zone { seconds } => {
            block.text("what", "zone");
            block.number("lasts", seconds);
        }
        Fault::Slow { factor, seconds } => {
            block.text("what", "slow");
            block.number("factor", factor);
            block.number("lasts", seconds);
        }
        Fault::Failover => block.text("what", "failover"),
        Fault::Deploy => block.text("what", "deploy"),
        Fault::Cold => block.text("what", "cold"),
        Fault::Loss { share, seconds } => {
            block.text("what", "loss");
            block.number("share", share);
            block.number("lasts", seconds);
        }
        Fault::Kick { factor, seconds } => {
            block.text("what", "kick");
            block.number("factor", factor);
            block.number("lasts", seconds);
        }
    }
    block.finish(text);
}

/// What is not the usual.
fn costs(text: &mut String, named: &NamedCosts) {
    let mut block = Block::new(&keys::COSTS, format!("[costs.{}]", named.name));
    if let Some(measured) = &named.measured {
        block.text("measured", measured);
    }
    for ((name, _, value), (_, _, usual)) in named.costs.each().into_iter().zip(Costs::default().each()) {
        if value != usual {
            block.range(name, value);
        }
    }
    block.finish(text);
}

/// A list, broken into lines where it is long; `before` characters stand before it.
fn list(values: &[String], before: usize) -> String {
    let one_line = format!("[{}]", values.join(", "));
    if before + one_line.len() <= WIDTH_MAX {
        return one_line;
    }
    let mut text = "[\n".to_owned();
    let mut line = String::new();
    for value in values {
        if !line.is_empty() && line.len() + value.len() > WIDTH_MAX {
            let _ = writeln!(text, " {line}");
            line.clear();
        }
        let _ = write!(line, " {value},");
    }
    let _ = write!(text, " {line}\n]");
    text
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

/// As it stands within quotes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\t' => escaped.push_str("\\t"),
            '\r' => escaped.push_str("\\r"),
            char if char.is_control() => {
                let _ = write!(escaped, "\\u{:04X}", u32::from(char));
            }
            char => escaped.push(char),
        }
    }
    escaped
}

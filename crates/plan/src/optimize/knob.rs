//! What may be changed of a plan: each knob is one setting with the values it may have.
//!
//! A design is a place on every knob, so that designs are compared, remembered and varied without looking at
//! what they mean. What costs money goes from cheap to dear; what costs nothing begins with what the
//! plan says, and its last value is what usually helps. Edges are not varied: which tiers there are is the user's;
//! but several machines of `ws` get the bus they need.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    component::{self, options},
    plan::{Clients, Edge, Jitter, Kind, Node, Options, Plan},
    price::Book,
};

/// Machines of a node that are tried at least.
const COUNT_MAX: u32 = 8;
/// More than that of one node is another problem.
const COUNT_LIMIT: u32 = 64;
const ZONES_MAX: u32 = 3;
/// Of a bus that is added.
const BUSES_MAX: u32 = 3;
/// Publications a second to one client that a conflating `ws` may be told, the best first.
const CONFLATE: [f64; 5] = [20.0, 10.0, 5.0, 2.0, 1.0];

/// A place on every knob.
pub(super) type Places = Vec<u8>;

/// One setting.
#[derive(Debug, Clone)]
pub(super) struct Knob {
    /// Place in the topology; none of what is the clients'.
    node: Option<usize>,
    pub(super) what: &'static str,
    values: Vec<Setting>,
    /// Of what the plan says.
    pub(super) given: u8,
    pub(super) spends: Spends,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spends {
    Money,
    Nothing,
    /// What users see: only turned when nothing else helps.
    Quality,
}

#[derive(Debug, Clone, PartialEq)]
enum Setting {
    AsGiven,
    Count(u32),
    Size(&'static str),
    Standby(bool),
    Partitions(u32),
    Pool(u32),
    Tokens,
    Resume,
    Lanes,
    PushTo,
    RetryBudget,
    /// Longer waits with jitter, few tries, within a budget.
    GentleClients,
    Conflate(f64),
}

/// One difference between two plans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// None of the clients.
    pub node: Option<String>,
    pub what: &'static str,
    pub from: String,
    pub to: String,
}

/// All knobs of a plan.
pub(super) fn knobs(plan: &Plan, book: &Book) -> Vec<Knob> {
    let mut knobs = Vec::new();
    for (place, node) in plan.topology.nodes.iter().enumerate() {
        of_node(place, node, book, &mut knobs);
    }
    if let Some(bus) = bus(plan) {
        // It is there as soon as several machines need it.
        let place = Some(plan.topology.nodes.len());
        let counts = (1..=BUSES_MAX).map(Setting::Count).collect();
        knobs.extend(paid(place, "count", counts, &Setting::Count(bus.0.count)));
    }
    let gentle = gentle(&plan.scenario.clients);
    if gentle != plan.scenario.clients {
        knobs.push(free(None, "backoff", vec![Setting::GentleClients]));
    }
    let is_coalescible = plan.scenario.classes.iter().any(|class| class.coalescible);
    for (place, node) in plan.topology.nodes.iter().enumerate() {
        if is_coalescible && node.kind == Kind::Ws {
            let given = node.options.conflate_rate.filter(|rate| *rate > 0.0);
            let rates = CONFLATE
                .iter()
                .filter(|rate| given.is_none_or(|given| **rate < given));
            let values = rates.map(|rate| Setting::Conflate(*rate)).collect();
            knobs.push(Knob {
                spends: Spends::Quality,
                ..free(Some(place), "conflate_rate", values)
            });
        }
    }
    knobs
}

fn of_node(place: usize, node: &Node, book: &Book, knobs: &mut Vec<Knob>) {
    let Some(size) = component::size(&node.size, node.kind) else {
        return;
    };
    let set = options(node);
    let place = Some(place);
    // The primary of a database is one; what more it has are standbys.
    if !size.managed && node.kind != Kind::Postgres {
        let most = node
            .count
            .saturating_mul(2)
            .clamp(COUNT_MAX, COUNT_LIMIT.max(node.count));
        let counts = (1..=most).map(Setting::Count).collect();
        knobs.extend(paid(place, "count", counts, &Setting::Count(node.count)));
        let mut sizes: Vec<_> = component::sizes_of(node.kind)
            .filter(|other| !other.managed && other.kinds == size.kinds)
            .filter_map(|other| Some((book.entries.get(other.name)?.rate, other.name)))
            .collect();
        sizes.sort_by(|a, b| a.0.total_cmp(&b.0));
        let sizes = sizes.into_iter().map(|(_, name)| Setting::Size(name)).collect();
        knobs.extend(paid(place, "size", sizes, &Setting::Size(size.name)));
    }
    if node.kind == Kind::Postgres {
        let mut sizes: Vec<_> = component::sizes_of(node.kind)
            .filter(|other| other.kinds == size.kinds)
            .filter_map(|other| Some((book.entries.get(other.name)?.rate, other.name)))
            .collect();
        sizes.sort_by(|a, b| a.0.total_cmp(&b.0));
        let sizes = sizes.into_iter().map(|(_, name)| Setting::Size(name)).collect();
        knobs.extend(paid(place, "size", sizes, &Setting::Size(size.name)));
        let given = Setting::Standby(set.standby == Some(true));
        let both = vec![Setting::Standby(false), Setting::Standby(true)];
        knobs.extend(paid(place, "standby", both, &given));
    }
    let pools = |pool: u32| {
        [pool.saturating_mul(2), pool.saturating_mul(4)]
            .map(Setting::Pool)
            .to_vec()
    };
    match node.kind {
        Kind::Ws => {
            if set.tokens == Some(false) {
                knobs.push(free(place, "tokens", vec![Setting::Tokens]));
            }
            if set.resume_window.is_none_or(|window| window < RESUME) {
                knobs.push(free(place, "resume_window", vec![Setting::Resume]));
            }
            if set.lanes == Some(false) {
                knobs.push(free(place, "lanes", vec![Setting::Lanes]));
            }
        }
        Kind::Server | Kind::Worker => {
            knobs.push(free(place, "pool", pools(set.pool.unwrap_or(10))));
        }
        Kind::Stream => {
            let partitions = set.partitions.unwrap_or(node.count);
            let more = [2, 4].map(|times| Setting::Partitions(partitions.saturating_mul(times)));
            knobs.push(free(place, "partitions", more.to_vec()));
        }
        _ => {}
    }
    if matches!(node.kind, Kind::Stream | Kind::Queue) && set.poll.is_some_and(|poll| poll > 0.0) {
        knobs.push(free(place, "poll", vec![Setting::PushTo]));
    }
    if set.retries.is_some_and(|retries| retries > 0) && set.retry_budget.is_none() {
        knobs.push(free(place, "retry_budget", vec![Setting::RetryBudget]));
    }
}

/// None if there is nothing to choose.
fn paid(node: Option<usize>, what: &'static str, values: Vec<Setting>, given: &Setting) -> Option<Knob> {
    let given = values.iter().position(|value| value == given)?;
    (values.len() > 1).then_some(Knob {
        node,
        what,
        values,
        given: given as u8,
        spends: Spends::Money,
    })
}

fn free(node: Option<usize>, what: &'static str, more: Vec<Setting>) -> Knob {
    let mut values = vec![Setting::AsGiven];
    values.extend(more);
    Knob {
        node,
        what,
        values,
        given: 0,
        spends: Spends::Nothing,
    }
}

/// Seconds for which a session is kept: the default of `ws`.
const RESUME: f64 = 120.0;

/// Full jitter as M. Brooker has it ("Exponential Backoff and Jitter", 2015), and a budget for retries of a tenth as
/// in Google's book on site reliability (2016, chapter 21).
fn gentle(clients: &Clients) -> Clients {
    Clients {
        backoff_first: clients.backoff_first.max(0.5),
        backoff_max: clients.backoff_max.max(20.0),
        jitter: Jitter::Full,
        retries: clients.retries.min(2),
        retry_budget: Some(clients.retry_budget.map_or(0.1, |budget| budget.min(0.1))),
        timeout: clients.timeout.max(5.0),
        patience: clients.patience,
    }
}

impl Knob {
    /// Leaves only the first so many values, and the one that was given.
    #[cfg(test)]
    pub(super) fn shorten(&mut self, len: usize) {
        if self.spends == Spends::Money {
            self.values.truncate(len.max(usize::from(self.given) + 1));
        }
    }

    pub(super) fn len(&self) -> u8 {
        self.values.len() as u8
    }

    /// Where it stands at first: what costs nothing is taken.
    pub(super) fn lean(&self) -> u8 {
        match self.spends {
            Spends::Money => 0,
            Spends::Nothing => self.len() - 1,
            Spends::Quality => 0,
        }
    }

    pub(super) fn ample(&self) -> u8 {
        match self.spends {
            Spends::Money | Spends::Nothing => self.len() - 1,
            Spends::Quality => 0,
        }
    }

    fn set(&self, plan: &mut Plan, place: u8) {
        let Some(setting) = self.values.get(usize::from(place)) else {
            return;
        };
        let Some(node) = self.node.and_then(|node| plan.topology.nodes.get_mut(node)) else {
            if matches!(setting, Setting::GentleClients) {
                plan.scenario.clients = gentle(&plan.scenario.clients);
            }
            return;
        };
        match *setting {
            Setting::AsGiven | Setting::GentleClients => {}
            Setting::Count(count) => {
                if count != node.count {
                    node.zones = count.min(node.zones.max(ZONES_MAX));
                }
                node.count = count;
            }
            Setting::Size(name) => name.clone_into(&mut node.size),
            Setting::Standby(standby) => {
                node.options.standby = Some(standby);
                node.zones = if standby { node.zones.max(2) } else { node.zones };
            }
            Setting::Partitions(partitions) => node.options.partitions = Some(partitions),
            Setting::Pool(pool) => node.options.pool = Some(pool),
            Setting::Tokens => node.options.tokens = Some(true),
            Setting::Resume => node.options.resume_window = Some(RESUME),
            Setting::Lanes => node.options.lanes = Some(true),
            Setting::PushTo => node.options.poll = Some(0.0),
            Setting::RetryBudget => node.options.retry_budget = Some(0.1),
            Setting::Conflate(rate) => node.options.conflate_rate = Some(rate),
        }
    }
}

/// The plan with every knob where the places say.
pub(super) fn apply(plan: &Plan, knobs: &[Knob], places: &[u8]) -> Plan {
    let nodes = plan.topology.nodes.len();
    let bus = bus(plan);
    let mut plan = plan.clone();
    let turned = |plan: &mut Plan, is_meant: &dyn Fn(&Knob) -> bool| {
        for (knob, place) in knobs.iter().zip(places) {
            if *place != knob.given && is_meant(knob) {
                knob.set(plan, *place);
            }
        }
    };
    turned(&mut plan, &|knob| knob.node.is_none_or(|node| node < nodes));
    let needs_bus = plan
        .topology
        .nodes
        .iter()
        .any(|node| node.kind == Kind::Ws && node.count > 1);
    if let (true, Some((node, edges))) = (needs_bus, bus) {
        plan.topology.nodes.push(node);
        plan.topology.edges.extend(edges);
        turned(&mut plan, &|knob| knob.node == Some(nodes));
    }
    plan
}

/// The bus that a plan lacks whose `ws` might be several, and its edges.
fn bus(plan: &Plan) -> Option<(Node, Vec<Edge>)> {
    let nodes = &plan.topology.nodes;
    let kind_of = |id: &str| nodes.iter().find(|node| node.id == id).map(|node| node.kind);
    let has_bus = |id: &str| {
        let from = plan.topology.edges.iter().filter(|edge| edge.from == id);
        from.map(|edge| kind_of(&edge.to))
            .any(|kind| matches!(kind, Some(Kind::Redis | Kind::Stream)))
    };
    let lacking: Vec<&Node> = nodes
        .iter()
        .filter(|node| node.kind == Kind::Ws && !has_bus(&node.id))
        .collect();
    if lacking.is_empty() {
        return None;
    }
    let mut id = "bus".to_owned();
    while kind_of(&id).is_some() {
        id.push('-');
    }
    let edges = lacking.iter().map(|node| Edge {
        from: node.id.clone(),
        to: id.clone(),
    });
    let edges = edges.collect();
    let node = Node {
        id,
        kind: Kind::Redis,
        count: 1,
        size: String::new(),
        zones: 1,
        options: Options::default(),
    };
    Some((node, edges))
}

/// What differs between two plans of the same nodes, as a file has it.
pub fn changes(from: &Plan, to: &Plan) -> Vec<Change> {
    let mut changes = Vec::new();
    let after: BTreeMap<&str, &Node> = to
        .topology
        .nodes
        .iter()
        .map(|node| (node.id.as_str(), node))
        .collect();
    for node in &from.topology.nodes {
        let Some(other) = after.get(node.id.as_str()) else {
            continue;
        };
        let mut note = |what, from: String, to: String| {
            if from != to {
                let node = Some(node.id.clone());
                changes.push(Change { node, what, from, to });
            }
        };
        let (old, new) = (options(node), options(other));
        note("count", node.count.to_string(), other.count.to_string());
        note("size", size_name(node), size_name(other));
        note("standby", flag(old.standby), flag(new.standby));
        note("partitions", number(old.partitions), number(new.partitions));
        note("pool", number(old.pool), number(new.pool));
        note("tokens", flag(old.tokens), flag(new.tokens));
        note(
            "resume_window",
            seconds(old.resume_window),
            seconds(new.resume_window),
        );
        note("lanes", flag(old.lanes), flag(new.lanes));
        note("poll", seconds(old.poll), seconds(new.poll));
        note("retry_budget", share(old.retry_budget), share(new.retry_budget));
        note("conflate_rate", rate(old.conflate_rate), rate(new.conflate_rate));
    }
    for node in &to.topology.nodes {
        if !from.topology.nodes.iter().any(|old| old.id == node.id) {
            changes.push(Change {
                node: Some(node.id.clone()),
                what: "added",
                from: String::new(),
                to: format!("{} x {} {}", node.count, node.kind.name(), size_name(node)),
            });
        }
    }
    let (old, new) = (&from.scenario.clients, &to.scenario.clients);
    if old != new {
        let to = told(new);
        changes.push(Change {
            node: None,
            what: "clients",
            from: told(old),
            to,
        });
    }
    changes
}

fn size_name(node: &Node) -> String {
    match node.size.as_str() {
        "" => component::default_of(node.kind).to_owned(),
        size => size.to_owned(),
    }
}

fn flag(value: Option<bool>) -> String {
    value.unwrap_or(false).to_string()
}

fn number(value: Option<u32>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn seconds(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| format!("{value}s"))
}

fn share(value: Option<f64>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| format!("{}%", value * 100.0))
}

fn rate(value: Option<f64>) -> String {
    match value {
        Some(value) if value > 0.0 => format!("{value}/s"),
        _ => "as they come".to_owned(),
    }
}

fn told(clients: &Clients) -> String {
    let jitter = match clients.jitter {
        Jitter::None => "no",
        Jitter::Equal => "equal",
        Jitter::Full => "full",
    };
    format!(
        "backoff {}s to {}s, {jitter} jitter, {} retries, budget {}",
        clients.backoff_first,
        clients.backoff_max,
        clients.retries,
        share(clients.retry_budget)
    )
}

//! The topology: ways become edges, and what cannot be built is told.
//!
//! A topology is a graph without cycles that begins at the clients, reaches every node, has an edge that
//! holds connections, and a place to store what must be stored. Which kind may call which is said here, once, for
//! files and for who draws.

use std::collections::BTreeSet;

use super::{
    build::known,
    mistake::Mistakes,
    read::{Span, Table, shortened},
};
use crate::plan::{CLIENTS, Class, Edge, Kind, Node, Topology};

impl Kind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Lb,
        Self::Ws,
        Self::Server,
        Self::Postgres,
        Self::Replica,
        Self::Redis,
        Self::Stream,
        Self::Queue,
        Self::Worker,
        Self::Limiter,
        Self::Hosted,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lb => "lb",
            Self::Ws => "ws",
            Self::Server => "server",
            Self::Postgres => "postgres",
            Self::Replica => "replica",
            Self::Redis => "redis",
            Self::Stream => "stream",
            Self::Queue => "queue",
            Self::Worker => "worker",
            Self::Limiter => "limiter",
            Self::Hosted => "hosted",
        }
    }

    /// The kinds that the clients may call.
    pub const FIRST: &[Self] = &[Self::Lb, Self::Ws, Self::Hosted, Self::Server, Self::Limiter];

    /// The kinds it may call.
    pub fn calls(self) -> &'static [Self] {
        match self {
            Self::Lb => &[Self::Ws, Self::Hosted, Self::Server, Self::Limiter],
            Self::Limiter => &[Self::Lb, Self::Ws, Self::Hosted, Self::Server, Self::Redis],
            Self::Ws | Self::Hosted => &[
                Self::Server,
                Self::Postgres,
                Self::Replica,
                Self::Redis,
                Self::Stream,
                Self::Queue,
                Self::Limiter,
                Self::Worker,
            ],
            Self::Server => &[
                Self::Postgres,
                Self::Replica,
                Self::Redis,
                Self::Stream,
                Self::Queue,
                Self::Ws,
                Self::Hosted,
                Self::Limiter,
            ],
            Self::Worker => &[
                Self::Postgres,
                Self::Replica,
                Self::Redis,
                Self::Stream,
                Self::Queue,
                Self::Server,
                Self::Ws,
                Self::Hosted,
            ],
            Self::Stream => &[Self::Worker, Self::Ws, Self::Server],
            Self::Queue => &[Self::Worker],
            Self::Redis => &[Self::Ws, Self::Redis],
            Self::Postgres => &[Self::Replica, Self::Postgres],
            Self::Replica => &[],
        }
    }
}

pub(super) fn topology(
    root: &Table,
    nodes: Vec<Node>,
    classes: &[Class],
    mistakes: &mut Mistakes,
) -> Topology {
    let table = root.table("topology");
    let ways = table.map_or(&[][..], |table| table.texts("ways"));
    let (written, is_whole) = edges(ways, &nodes, mistakes);
    let span = table.and_then(|table| table.span("ways"));
    // Kinds that were not understood are servers here: what follows from them would mislead.
    let kinds_are_known = root
        .named("node")
        .iter()
        .all(|named| named.table.text("kind").is_some());
    if kinds_are_known {
        callers(&written, &nodes, mistakes);
        let is_read = span.is_some() && !nodes.is_empty();
        if !cycle(&written, mistakes) && is_read && is_whole {
            tiers(root, &written, &nodes, classes, span, mistakes);
        }
    }
    let edges = written
        .iter()
        .map(|edge| Edge {
            from: edge.from.to_owned(),
            to: edge.to.to_owned(),
        })
        .collect();
    Topology { nodes, edges }
}

/// An edge, and the place of its right end.
struct Written<'a> {
    from: &'a str,
    to: &'a str,
    span: Span,
}

/// Each edge once, where it is first written; and whether all were understood.
fn edges<'a>(
    ways: &'a [(String, Span)],
    nodes: &[Node],
    mistakes: &mut Mistakes,
) -> (Vec<Written<'a>>, bool) {
    let (mut edges, mut seen, mut is_whole) = (Vec::new(), BTreeSet::new(), true);
    for (way, span) in ways {
        let names: Vec<&str> = way.split("->").map(str::trim).collect();
        if names.len() < 2 {
            let message = format!("`topology.ways` cannot have {:?}", shortened(way));
            mistakes.note(
                Some(span.clone()),
                message,
                "at least two names with `->` between: \"clients -> lb -> ws\"",
            );
            is_whole = false;
            continue;
        }
        let is_known = |name: &str| name == CLIENTS || nodes.iter().any(|node| node.id == name);
        for name in names.iter().filter(|name| !is_known(name)) {
            is_whole = false;
            let message = format!(
                "{:?} leads over {:?}, which is not there",
                shortened(way),
                shortened(name)
            );
            let ids = nodes.iter().map(|node| node.id.as_str()).chain([CLIENTS]);
            mistakes
                .note(Some(span.clone()), message, known("node", name, ids))
                .help(format!("or add `[node.{}]`", shortened(name)));
        }
        for pair in names
            .windows(2)
            .filter(|pair| pair.iter().all(|name| is_known(name)))
        {
            // Ways that part later begin alike.
            if seen.insert((pair[0], pair[1])) {
                edges.push(Written {
                    from: pair[0],
                    to: pair[1],
                    span: span.clone(),
                });
            }
        }
    }
    (edges, is_whole)
}

/// Whether each may call what it calls.
fn callers(edges: &[Written<'_>], nodes: &[Node], mistakes: &mut Mistakes) {
    let kind = |name: &str| nodes.iter().find(|node| node.id == name).map(|node| node.kind);
    // Who calls itself is told as a circle.
    for edge in edges.iter().filter(|edge| edge.from != edge.to) {
        let Some(to) = kind(edge.to) else {
            let message = format!("`{}` cannot call the clients", edge.from);
            mistakes
                .note(Some(edge.span.clone()), message, "ways begin at `clients`")
                .help("what is published to them goes back by the same way, and is not drawn");
            continue;
        };
        let allowed = kind(edge.from).map_or(Kind::FIRST, Kind::calls);
        if !allowed.contains(&to) {
            let message = format!(
                "`{}` cannot call `{}`, which is of the kind `{}`",
                edge.from,
                edge.to,
                to.name()
            );
            let names: Vec<String> = allowed.iter().map(|kind| format!("`{}`", kind.name())).collect();
            let said = match (names.is_empty(), kind(edge.from)) {
                (true, Some(from)) => format!("the kind `{}` calls nothing", from.name()),
                (false, Some(from)) => format!("the kind `{}` calls {}", from.name(), names.join(", ")),
                (_, None) => format!("clients call {}", names.join(", ")),
            };
            mistakes.note(Some(edge.span.clone()), message, said);
        }
    }
}

/// Tells one cycle, if there is any.
fn cycle(edges: &[Written<'_>], mistakes: &mut Mistakes) -> bool {
    // Whoever is called by nobody that is left is taken away; what stays is on a cycle, or behind one.
    // Who calls the clients is told elsewhere.
    let mut left: Vec<&Written<'_>> = edges.iter().filter(|edge| edge.to != CLIENTS).collect();
    loop {
        let called: BTreeSet<&str> = left.iter().map(|edge| edge.to).collect();
        let before = left.len();
        left.retain(|edge| called.contains(edge.from));
        if left.is_empty() {
            return false;
        }
        if left.len() == before {
            break;
        }
    }
    // Everyone left is called by someone left: walking back from any must come by the same node twice.
    let mut path = vec![left[0].from];
    let start = loop {
        let last = path[path.len() - 1];
        let caller = left
            .iter()
            .find(|edge| edge.to == last)
            .expect("kept because it is called")
            .from;
        match path.iter().position(|name| *name == caller) {
            Some(start) => break start,
            None => path.push(caller),
        }
    };
    let mut names = path.split_off(start);
    names.push(names[0]);
    names.reverse();
    let closing = left
        .iter()
        .filter(|edge| names.windows(2).any(|pair| pair == [edge.from, edge.to]));
    let span = closing.map(|edge| edge.span.clone()).next_back();
    let message = format!("ways lead in a circle: {}", names.join(" -> "));
    mistakes
        .note(
            span,
            message,
            "who calls and who is called must differ all along a way",
        )
        .help("an answer goes back by itself; what a consumer sends on needs no edge to who feeds it");
    true
}

/// What is not reached, and what is missing.
fn tiers(
    root: &Table,
    edges: &[Written<'_>],
    nodes: &[Node],
    classes: &[Class],
    span: Option<Span>,
    mistakes: &mut Mistakes,
) {
    let reached = reached(CLIENTS, edges);
    let named = |id: &str| root.named("node").iter().find(|named| named.name == id);
    for node in nodes.iter().filter(|node| !reached.contains(node.id.as_str())) {
        let place = named(&node.id).map(|named| named.span.clone());
        let message = format!("no way leads from the clients to `{}`", node.id);
        mistakes.note(place, message, "add it to `topology.ways`, or take it away");
    }
    let holds = |kind: Kind| matches!(kind, Kind::Ws | Kind::Hosted);
    let mut holders = nodes
        .iter()
        .filter(|node| holds(node.kind) && reached.contains(node.id.as_str()))
        .peekable();
    if holders.peek().is_none() {
        mistakes.note(
            span.clone(),
            "no way leads from the clients to a `ws` or a `hosted` node",
            "somebody must hold the connections: \"clients -> lb -> ws\"",
        );
        return;
    }
    let stores = |kind: Kind| matches!(kind, Kind::Postgres | Kind::Stream);
    let is_stored = holders.any(|holder| {
        let behind = self::reached(&holder.id, edges);
        holder.kind == Kind::Hosted
            || nodes
                .iter()
                .any(|node| stores(node.kind) && behind.contains(node.id.as_str()))
    });
    for class in classes.iter().filter(|class| class.durable && !is_stored) {
        let named = root.named("class").iter().find(|named| named.name == class.name);
        let place = named.and_then(|named| named.table.span("durable").or(Some(named.span.clone())));
        let message = format!(
            "`class.{}` is durable, and there is no place to store it",
            class.name
        );
        mistakes
            .note(place, message, "a way from `ws` to a `postgres` or a `stream`")
            .help("add \"ws -> postgres\" to `topology.ways`, or `durable = false`");
    }
    for node in nodes.iter().filter(|node| node.kind == Kind::Replica) {
        if !nodes.iter().any(|node| node.kind == Kind::Postgres) {
            let place = named(&node.id).map(|named| named.span.clone());
            let message = format!("`{}` is a replica of nothing", node.id);
            mistakes.note(
                place,
                message,
                "add a `postgres` node, and \"postgres -> replica\"",
            );
        }
    }
}

/// Everyone behind.
fn reached<'a>(from: &'a str, edges: &[Written<'a>]) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::from([from]);
    let mut left = vec![from];
    while let Some(name) = left.pop() {
        for edge in edges.iter().filter(|edge| edge.from == name) {
            if reached.insert(edge.to) {
                left.push(edge.to);
            }
        }
    }
    reached
}

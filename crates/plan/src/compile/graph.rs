//! The edges of a plan, resolved and known to make sense, and who is reached over them.

use std::collections::BTreeMap;

use super::CompileError;
use crate::plan::{CLIENTS, Kind, Plan};

/// Nodes and edges of a plan at most: beyond, nobody drew it.
const NODES_MAX: usize = 1_000;
const EDGES_MAX: usize = 10_000;

/// See the module. Nodes are told by their places in the plan.
pub(super) struct Graph<'a> {
    pub plan: &'a Plan,
    /// Whom the clients call.
    first: Vec<usize>,
    /// Whom each node calls, in the order of the plan.
    calls: Vec<Vec<usize>>,
}

/// What a node may call; nobody calls the clients.
pub fn may_call(from: Kind) -> &'static [Kind] {
    match from {
        Kind::Lb => &[Kind::Ws, Kind::Hosted, Kind::Server, Kind::Limiter],
        Kind::Limiter => &[Kind::Lb, Kind::Ws, Kind::Hosted, Kind::Server, Kind::Redis],
        Kind::Ws | Kind::Hosted => &[
            Kind::Server,
            Kind::Postgres,
            Kind::Replica,
            Kind::Redis,
            Kind::Stream,
            Kind::Queue,
            Kind::Limiter,
            Kind::Worker,
        ],
        Kind::Server => &[
            Kind::Postgres,
            Kind::Replica,
            Kind::Redis,
            Kind::Stream,
            Kind::Queue,
            Kind::Ws,
            Kind::Hosted,
            Kind::Limiter,
        ],
        Kind::Worker => &[
            Kind::Postgres,
            Kind::Replica,
            Kind::Redis,
            Kind::Stream,
            Kind::Queue,
            Kind::Server,
            Kind::Ws,
            Kind::Hosted,
        ],
        Kind::Stream => &[Kind::Worker, Kind::Ws, Kind::Server],
        Kind::Queue => &[Kind::Worker],
        Kind::Redis => &[Kind::Ws, Kind::Redis],
        Kind::Postgres => &[Kind::Replica, Kind::Postgres],
        Kind::Replica => &[],
    }
}

/// What clients may call.
pub const CLIENTS_MAY_CALL: &[Kind] = &[Kind::Lb, Kind::Ws, Kind::Hosted, Kind::Server, Kind::Limiter];

impl<'a> Graph<'a> {
    pub fn new(plan: &'a Plan) -> Result<Self, CompileError> {
        let topology = &plan.topology;
        if topology.nodes.len() > NODES_MAX || topology.edges.len() > EDGES_MAX {
            return Err(CompileError::of_plan(
                format!(
                    "{} nodes and {} edges",
                    topology.nodes.len(),
                    topology.edges.len()
                ),
                format!(
                    "at most {NODES_MAX} and {EDGES_MAX} are planned; give one node a count instead of drawing each machine"
                ),
            ));
        }
        let mut places = BTreeMap::new();
        for (place, node) in topology.nodes.iter().enumerate() {
            if node.id == CLIENTS {
                return Err(CompileError::of_node(
                    &node.id,
                    "the clients are no node",
                    "choose another id",
                ));
            }
            if places.insert(node.id.as_str(), place).is_some() {
                return Err(CompileError::of_node(
                    &node.id,
                    "two nodes have this id",
                    "rename one",
                ));
            }
        }
        let mut graph = Self {
            plan,
            first: Vec::new(),
            calls: vec![Vec::new(); topology.nodes.len()],
        };
        for edge in &topology.edges {
            let wrong = |what: String, way: String| CompileError::of_edge(&edge.from, &edge.to, what, way);
            let place = |id: &str| {
                places.get(id).copied().ok_or_else(|| {
                    let known: Vec<&str> = places.keys().copied().take(20).collect();
                    wrong(
                        format!("there is no node `{id}`"),
                        format!("the nodes are: {}", known.join(", ")),
                    )
                })
            };
            let to = place(&edge.to)?;
            let (allowed, calls) = if edge.from == CLIENTS {
                (CLIENTS_MAY_CALL, &mut graph.first)
            } else {
                let from = place(&edge.from)?;
                if from == to {
                    return Err(wrong(
                        "a node does not call itself".into(),
                        "remove the edge".into(),
                    ));
                }
                (may_call(topology.nodes[from].kind), &mut graph.calls[from])
            };
            let kind = topology.nodes[to].kind;
            if !allowed.contains(&kind) {
                let names: Vec<&str> = allowed
                    .iter()
                    .map(|&kind| crate::component::of(kind).name)
                    .collect();
                return Err(wrong(
                    format!("a {} is not called from there", crate::component::of(kind).name),
                    if names.is_empty() {
                        "it calls nobody; turn the edge around or remove it".into()
                    } else {
                        format!("it may call: {}", names.join(", "))
                    },
                ));
            }
            if !calls.contains(&to) {
                calls.push(to);
            }
        }
        Ok(graph)
    }

    pub fn kind(&self, node: usize) -> Kind {
        self.plan.topology.nodes[node].kind
    }

    pub fn id(&self, node: usize) -> &'a str {
        &self.plan.topology.nodes[node].id
    }

    /// The first of that kind a node calls.
    pub fn callee(&self, node: usize, kind: Kind) -> Option<usize> {
        self.calls[node]
            .iter()
            .copied()
            .find(|&callee| self.kind(callee) == kind)
    }

    /// Whether one calls the other.
    pub fn are_joined(&self, a: usize, b: usize) -> bool {
        self.calls[a].contains(&b) || self.calls[b].contains(&a)
    }

    /// Nodes of that kind, in the order of the plan.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = usize> + '_ {
        (0..self.calls.len()).filter(move |&node| self.kind(node) == kind)
    }

    /// The load balancers and limiters between the clients and a node, in their order; none if it is not reached over
    /// such.
    ///
    /// The way over a limiter counts for more than the shortest one: it was drawn to be used.
    pub fn way_in(&self, target: usize) -> Option<Vec<usize>> {
        for limiter in self.of_kind(Kind::Limiter) {
            if let (Some(mut to), Some(from)) = (
                self.search(&self.first, limiter),
                self.search(&self.calls[limiter], target),
            ) {
                to.push(limiter);
                for node in from {
                    if !to.contains(&node) {
                        to.push(node);
                    }
                }
                return Some(to);
            }
        }
        self.search(&self.first, target)
    }

    /// The shortest way from callees to a target over load balancers and limiters, without the target.
    fn search(&self, from: &[usize], target: usize) -> Option<Vec<usize>> {
        let mut before: Vec<Option<usize>> = vec![None; self.calls.len()];
        let mut seen = vec![false; self.calls.len()];
        let mut line = Vec::new();
        for &node in from {
            if !seen[node] {
                seen[node] = true;
                line.push(node);
            }
        }
        let mut next = 0;
        while next < line.len() {
            let node = line[next];
            next += 1;
            if node == target {
                let mut way = Vec::new();
                let mut at = node;
                while let Some(earlier) = before[at] {
                    way.push(earlier);
                    at = earlier;
                }
                way.reverse();
                return Some(way);
            }
            if !matches!(self.kind(node), Kind::Lb | Kind::Limiter) {
                continue;
            }
            for &callee in &self.calls[node] {
                if !seen[callee] {
                    seen[callee] = true;
                    before[callee] = Some(node);
                    line.push(callee);
                }
            }
        }
        None
    }
}

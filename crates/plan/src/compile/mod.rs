//! A plan made ready to run: nodes become stations, edges become ways through them.
//!
//! ```text
//!   graph     edges: who calls whom, and whether that makes sense
//!   stations  nodes × component: machines, cores, memory, repair
//!   ways      classes × edges: which stations a publish and a connect visit
//!   rooms     room laws → who receives;   course   points → users over time;   chance   failures drawn
//! ```
//!
//! What the edges mean:
//! - Clients reach `ws` (or what is hosted) over load balancers and limiters. One node holds connections.
//! - What is durable is decided by a `server`, if `ws` calls one, or clients do and it calls `ws`; all else is
//!   relayed by `ws` alone. Whoever decides stores: in a queue or stream that leads to workers (their writes follow on their
//!   own: lag, not latency), else in the Postgres it calls, else in a stream. With none of these, Tidegate's own log
//!   on disk keeps it.
//! - A server reads once for each piece of its work: from the replica it calls, else from Postgres; what a Redis it calls knows
//!   is not read there.
//! - Several machines of `ws` need a bus: a Redis or a stream they call, or that calls them.
//! - A connect shows a token, which costs nobody anything; with `tokens = false` the servers are asked, and they the
//!   database.
//!
//! What it leaves out: two nodes that hold connections, connections to Postgres held while its cores are short
//! (they are two stations in a row), and how stale a replica's answer is.

mod chance;
mod course;
mod graph;
mod rooms;
mod stations;
mod ways;

use std::fmt;

pub use chance::random_faults;

use crate::{
    component::Figure,
    network::{Flow, Law, Network, RandomFaults, TimedFault},
    plan::{Class, Plan, Scenario},
};

/// Why a plan cannot run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileError {
    pub node: Option<String>,
    /// From, to.
    pub edge: Option<(String, String)>,
    pub what: String,
    /// The way out.
    pub way: String,
}

impl CompileError {
    fn of_plan(what: impl Into<String>, way: impl Into<String>) -> Self {
        Self {
            node: None,
            edge: None,
            what: what.into(),
            way: way.into(),
        }
    }

    fn of_node(node: &str, what: impl Into<String>, way: impl Into<String>) -> Self {
        Self {
            node: Some(node.into()),
            ..Self::of_plan(what, way)
        }
    }

    fn of_edge(from: &str, to: &str, what: impl Into<String>, way: impl Into<String>) -> Self {
        Self {
            edge: Some((from.into(), to.into())),
            ..Self::of_plan(what, way)
        }
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((from, to)) = &self.edge {
            write!(formatter, "edge `{from}` → `{to}`: ")?;
        } else if let Some(node) = &self.node {
            write!(formatter, "node `{node}`: ")?;
        }
        write!(formatter, "{}; {}", self.what, self.way)
    }
}

impl std::error::Error for CompileError {}

/// Compiles a plan with the middle of every figure.
pub fn compile(plan: &Plan) -> Result<Network, CompileError> {
    compile_with(plan, &|figure| figure.value.mid)
}

/// Compiles a plan with other values of what is not known exactly.
pub fn compile_with(plan: &Plan, choose: &dyn Fn(&Figure) -> f64) -> Result<Network, CompileError> {
    let graph = graph::Graph::new(plan)?;
    let length = bounded(plan.scenario.hours * 3_600.0, 60.0, 366.0 * 86_400.0);
    let users = course::course(&plan.scenario.users.points, length);
    let crowd = rooms::Crowd::of(&users);
    let mut built = stations::Built::new(&graph, choose)?;
    let ways = ways::Ways::new(&graph, &mut built)?;
    let scenario = &plan.scenario;
    let flows = scenario
        .classes
        .iter()
        .map(|class| flow(class, plan, &ways, &mut built, crowd))
        .collect::<Result<Vec<Flow>, CompileError>>()?;
    let connect = ways.connect(&mut built)?;
    let hard_deadline = flows.iter().map(|flow| hard_deadline(plan, flow)).collect();
    let edge_station = built.edge_station(ways.edge);
    let edge = &built.options[ways.edge];
    Ok(Network {
        seed: plan.seed,
        length,
        users,
        session: scenario.session,
        bursts: scenario.bursts.clone(),
        clients: scenario.clients,
        edge: Some(edge_station),
        faults: faults(plan)?,
        random: RandomFaults {
            crashes_per_year: plan.failures.crashes_per_year,
            deploys_per_week: plan.failures.deploys_per_week,
            common_cause: plan.failures.common_cause,
        },
        network: network_law(scenario),
        slow_readers: share(scenario.slow_readers),
        slow_reader_rate: bounded(scenario.slow_reader_rate, 0.0, 1e12),
        outbox_bytes: edge.outbox_bytes.map_or(0.0, f64::from),
        conflate_rate: bounded(edge.conflate_rate.unwrap_or(0.0), 0.0, 1e6),
        abuse: ways.abuse(scenario, &built),
        hard_deadline,
        flows,
        connect,
        stations: built.stations,
    })
}

fn flow(
    class: &Class,
    plan: &Plan,
    ways: &ways::Ways,
    built: &mut stations::Built,
    crowd: rooms::Crowd,
) -> Result<Flow, CompileError> {
    let rooms = rooms::rooms(class.room, crowd);
    let way = ways.publish(class, &rooms, built)?;
    let targets = plan
        .contract
        .latency
        .iter()
        .filter(|target| target.class.as_ref().is_none_or(|name| *name == class.name))
        .map(|target| (target.percentile, target.within))
        .collect();
    Ok(Flow {
        name: class.name.clone(),
        rate: bounded(class.rate, 0.0, 1e6),
        bytes: bounded(class.bytes, 0.0, 1e9),
        receivers: rooms.receivers,
        receivers_at: rooms.at,
        receivers_max: rooms.max,
        coalescible: class.coalescible,
        newest_of: class.newest_of,
        durable: class.durable,
        priority: class.priority,
        steps: way.steps,
        aside: way.aside,
        targets,
    })
}

/// Later than this, a delivery is as bad as none: a multiple of the strictest target, or what a client waits for.
fn hard_deadline(plan: &Plan, flow: &Flow) -> f64 {
    let strictest = flow
        .targets
        .iter()
        .map(|&(_, within)| within)
        .fold(f64::INFINITY, f64::min);
    let deadline = strictest * plan.contract.late_factor;
    if deadline.is_finite() && deadline > 0.0 {
        deadline
    } else {
        bounded(plan.scenario.clients.timeout, 1e-3, 1e6)
    }
}

fn faults(plan: &Plan) -> Result<Vec<TimedFault>, CompileError> {
    let mut faults = Vec::new();
    for failure in &plan.failures.scheduled {
        let node = plan
            .topology
            .nodes
            .iter()
            .position(|node| node.id == failure.node)
            .ok_or_else(|| {
                CompileError::of_node(
                    &failure.node,
                    "a failure is planned of it, and it is not there",
                    "name a node of the topology",
                )
            })?;
        faults.push(TimedFault {
            at: bounded(failure.at_hour * 3_600.0, 0.0, f64::MAX),
            node: node as u32,
            fault: failure.what,
        });
    }
    faults.sort_by(|a, b| a.at.total_cmp(&b.at));
    Ok(faults)
}

/// The lognormal of a median and a 95th percentile.
fn network_law(scenario: &Scenario) -> Law {
    /// The 95th percentile of the standard normal.
    const NORMAL_P95: f64 = 1.644_853_626_951_472_7;
    let median = bounded(scenario.network_p50, 0.0, 1e3);
    let p95 = bounded(scenario.network_p95, 0.0, 1e3);
    if median <= 0.0 {
        return Law::Zero;
    }
    if p95 <= median {
        return Law::Fixed { mean: median };
    }
    // A sigma of 3 is a p95 of 139 medians.
    let sigma = (libm::log(p95 / median) / NORMAL_P95).min(3.0);
    Law::Lognormal {
        mean: median * libm::exp(sigma * sigma / 2.0),
        cv2: libm::expm1(sigma * sigma),
    }
}

/// A number of a plan, or the lower bound of one that is none.
fn bounded(value: f64, low: f64, high: f64) -> f64 {
    if value.is_nan() {
        low
    } else {
        value.clamp(low, high)
    }
}

fn share(value: f64) -> f64 {
    bounded(value, 0.0, 1.0)
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
pub(crate) mod tests;

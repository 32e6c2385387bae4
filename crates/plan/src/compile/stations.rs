//! Nodes made to stations: what a machine of a node can do at once, how much fits, and how it comes back.

use super::{CompileError, bounded, graph::Graph};
use crate::{
    component::{self, Costs, Figure, MANAGED_CORES, Size, figures},
    network::{Law, Scale, Stage, Station, StationId},
    plan::{Kind, Options},
};

/// Machines, cores and the like of one node at most.
const COUNT_MAX: u32 = 100_000;

/// Where a figure is from that the plan has costs of.
const MEASURED: &str = "measured: the plan's own costs";

/// What each node is made of, and the stations that were made so far.
pub(super) struct Built<'a> {
    choose: &'a dyn Fn(&Figure) -> f64,
    pub stations: Vec<Station>,
    /// Of each node, defaults filled in.
    pub options: Vec<Options>,
    pub sizes: Vec<&'static Size>,
    pub costs: Vec<Costs>,
    kinds: Vec<Kind>,
    ids: Vec<String>,
    counts: Vec<u32>,
    zones: Vec<u32>,
    /// (node, what for, the other node): its station.
    made: Vec<((usize, Job, usize), StationId)>,
}

/// What a station of a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Job {
    Pass,
    Handshakes,
    Admit,
    Fanout,
    Work,
    /// Connections to Postgres of another node.
    Pool,
    Write,
    Read,
    Cache,
    Bus,
    Append,
    Send,
    Take,
    Check,
}

impl<'a> Built<'a> {
    pub fn new(graph: &Graph, choose: &'a dyn Fn(&Figure) -> f64) -> Result<Self, CompileError> {
        let nodes = &graph.plan.topology.nodes;
        let mut built = Self {
            choose,
            stations: Vec::new(),
            options: nodes.iter().map(component::options).collect(),
            sizes: Vec::new(),
            costs: Vec::new(),
            kinds: nodes.iter().map(|node| node.kind).collect(),
            ids: nodes.iter().map(|node| node.id.clone()).collect(),
            counts: nodes.iter().map(|node| node.count).collect(),
            zones: nodes.iter().map(|node| node.zones.max(1)).collect(),
            made: Vec::new(),
        };
        for node in nodes {
            if node.count == 0 || node.count > COUNT_MAX {
                return Err(CompileError::of_node(
                    &node.id,
                    format!("its count is {}", node.count),
                    format!("give it 1 to {COUNT_MAX}, or remove it"),
                ));
            }
            let size = component::size(&node.size, node.kind).ok_or_else(|| {
                let known: Vec<&str> = component::sizes_of(node.kind).map(|size| size.name).collect();
                CompileError::of_node(
                    &node.id,
                    format!(
                        "`{}` is no known size of a {}",
                        node.size,
                        component::of(node.kind).name
                    ),
                    format!("known are: {}", known.join(", ")),
                )
            })?;
            built.sizes.push(size);
            let costs = match &node.options.costs {
                None => Costs::default(),
                Some(name) => of_plan(graph, name).ok_or_else(|| {
                    let of_plan = graph.plan.costs.iter().map(|costs| costs.name.as_str());
                    let known: Vec<&str> = of_plan.take(20).collect();
                    CompileError::of_node(
                        &node.id,
                        format!("no measured costs `{name}` were given"),
                        if known.is_empty() {
                            "`tidegate load calibrate` measures them and `tidegate plan calibrate` puts them into a plan; or remove `costs`"
                                .to_owned()
                        } else {
                            format!("known are: {}", known.join(", "))
                        },
                    )
                })?,
            };
            let costs = costs.checked().map_err(|name| {
                CompileError::of_node(
                    &node.id,
                    format!("its measured cost `{name}` is not in order"),
                    "low, mid and high must rise, from 0 on",
                )
            })?;
            built.costs.push(costs);
        }
        Ok(built)
    }

    /// The value of a figure in this run.
    pub fn value(&self, figure: &Figure) -> f64 {
        bounded((self.choose)(figure), 0.0, 1e12)
    }

    /// A time as long as a figure says.
    pub fn law(&self, figure: &Figure) -> Law {
        law(self.value(figure), figure.cv2)
    }

    /// The same, of the main work of a node, which its `service` option may set.
    pub fn work_law(&self, node: usize, figure: &Figure) -> Law {
        law(self.work(node, figure), figure.cv2)
    }

    pub fn work(&self, node: usize, figure: &Figure) -> f64 {
        match self.options[node].service {
            Some(service) => bounded(service, 0.0, 1e6),
            None => self.value(figure),
        }
    }

    /// A figure with a measured range in place of the usual one.
    pub fn measured(&self, figure: &Figure, value: component::Interval) -> f64 {
        let source = match value == figure.value {
            true => figure.source,
            false => MEASURED,
        };
        self.value(&Figure {
            value,
            source,
            ..*figure
        })
    }

    /// Machines that work, whatever stands by.
    pub fn working(&self, node: usize) -> u32 {
        if self.stands_by(node) {
            1
        } else {
            self.machines(node)
        }
    }

    /// Machines of a node, those that stand by included.
    pub fn machines(&self, node: usize) -> u32 {
        if self.sizes[node].managed {
            return 1;
        }
        if self.kinds[node] == Kind::Postgres && self.options[node].standby == Some(true) {
            return self.counts[node].max(2);
        }
        self.counts[node]
    }

    /// Whether only one machine of it works: who writes must be one, and so must who knows all keys.
    fn stands_by(&self, node: usize) -> bool {
        matches!(self.kinds[node], Kind::Postgres | Kind::Redis) && self.machines(node) > 1
    }

    /// Machines it may grow to.
    pub fn machines_max(&self, node: usize) -> u32 {
        let most = self.options[node].autoscale_max.unwrap_or(0).min(COUNT_MAX);
        self.working(node)
            .max(if self.can_scale(node) { most } else { 0 })
    }

    fn can_scale(&self, node: usize) -> bool {
        !self.sizes[node].managed
            && matches!(
                self.kinds[node],
                Kind::Ws | Kind::Server | Kind::Worker | Kind::Limiter | Kind::Replica
            )
    }

    /// The station of a node that holds connections.
    pub fn edge_station(&mut self, node: usize) -> StationId {
        self.station(node, Job::Admit, node)
    }

    /// The station of a node for a job, made when first asked for. `other` is whose connections a pool is; else the node.
    pub fn station(&mut self, node: usize, job: Job, other: usize) -> StationId {
        let key = (node, job, other);
        if let Some((_, id)) = self.made.iter().find(|(made, _)| *made == key) {
            return *id;
        }
        let station = self.make(node, job, other);
        let id = StationId(self.stations.len() as u32);
        self.stations.push(station);
        self.made.push((key, id));
        id
    }

    fn make(&self, node: usize, job: Job, other: usize) -> Station {
        let (kind, options, size) = (self.kinds[node], &self.options[node], self.sizes[node]);
        let machines = self.machines(node);
        let cores = size.cores;
        let (what, stage, servers) = match job {
            Job::Pass => ("pass", Stage::Lb, cores),
            Job::Handshakes => (
                "handshakes",
                Stage::Reconnect,
                if size.managed { 1 } else { cores },
            ),
            Job::Admit => ("admit", Stage::Admit, cores),
            Job::Fanout => ("fan-out", Stage::Fanout, cores),
            Job::Work => ("work", Stage::Work, cores),
            Job::Pool => ("connections", Stage::Engine, self.connections(node, other)),
            Job::Write => ("writes", Stage::Engine, cores),
            Job::Read => ("reads", Stage::Engine, cores),
            // One thread does all commands.
            Job::Cache => ("cache", Stage::Cache, 1),
            Job::Bus if kind == Kind::Redis => ("bus", Stage::Bus, 1),
            Job::Bus => ("bus", Stage::Bus, self.partitions_each(node)),
            Job::Append => ("append", Stage::Engine, self.partitions_each(node)),
            Job::Send => ("send", Stage::Engine, cores),
            Job::Take => (
                "jobs",
                Stage::Work,
                options.pool.unwrap_or(10).clamp(1, COUNT_MAX),
            ),
            Job::Check => ("check", Stage::Admit, cores),
        };
        // What waits for no core shares none: a pool, a pace, jobs that call others.
        let shares = !matches!(job, Job::Pool | Job::Handshakes | Job::Take);
        let group = if shares {
            node
        } else {
            self.kinds.len() + self.stations.len()
        };
        let holds = matches!(job, Job::Admit) && matches!(kind, Kind::Ws);
        let (idle, each) = if holds {
            let costs = &self.costs[node];
            (
                self.measured(&figures::WS_IDLE, costs.idle),
                self.measured(&figures::WS_CONNECTION_BYTES, costs.connection_bytes),
            )
        } else {
            (0.0, 0.0)
        };
        let base = match kind {
            Kind::Ws => self.measured(&figures::WS_BASE_BYTES, self.costs[node].base_bytes),
            _ => 0.0,
        };
        let scale = match options.autoscale_max {
            Some(most) if most > machines && self.can_scale(node) => Some(Scale {
                machines_max: most.min(COUNT_MAX),
                target: bounded(options.autoscale_target.unwrap_or(0.5), 0.05, 1.0),
                delay: bounded(options.autoscale_delay.unwrap_or(60.0), 0.0, 86_400.0),
                boot: bounded(options.boot.unwrap_or(120.0), 0.0, 86_400.0),
                rebalances: options.rebalance.unwrap_or(kind != Kind::Ws),
            }),
            _ => None,
        };
        let takeover = self.stands_by(node).then(|| match kind {
            Kind::Postgres => match options.failover {
                Some(seconds) => bounded(seconds, 0.0, 86_400.0),
                None => self.value(&figures::POSTGRES_FAILOVER),
            },
            _ => self.value(&figures::REDIS_TAKEOVER),
        });
        let repair = match kind {
            // Of three, two elect another that leads the partitions of the third.
            Kind::Stream if machines >= 3 => self.value(&figures::STREAM_ELECT),
            _ => self.value(&component::of(kind).repair),
        };
        let name = if job == Job::Pool {
            format!("{}: {what} of {}", self.ids[node], self.ids[other])
        } else {
            format!("{}: {what}", self.ids[node])
        };
        Station {
            name,
            node: node as u32,
            group: group as u32,
            stage,
            machines,
            scale,
            servers: servers.max(1),
            waiting_max: options.waiting_max,
            timeout: options.timeout.filter(|timeout| *timeout > 0.0),
            retries: options.retries.unwrap_or(0).min(100),
            retry_jitter: options.retry_jitter.unwrap_or(true),
            retry_budget: options.retry_budget,
            idle_cost: idle,
            memory: size.memory,
            memory_base: base,
            memory_per_connection: each,
            repair,
            takeover,
            zones: self.zones[node],
            drain: bounded(options.drain.unwrap_or(0.0), 0.0, 86_400.0),
        }
    }

    /// Connections that another node has to this Postgres: its pools, or its part of what the database takes.
    fn connections(&self, node: usize, other: usize) -> u32 {
        let pool = self.options[other].pool.unwrap_or(10).clamp(1, COUNT_MAX);
        let wanted = pool.saturating_mul(self.machines_max(other).max(1));
        wanted
            .min(
                self.options[node]
                    .connections_max
                    .unwrap_or(component::CONNECTIONS_MAX),
            )
            .max(1)
    }

    /// Partitions that a machine of a stream serves at once.
    fn partitions_each(&self, node: usize) -> u32 {
        if self.is_sharded(node) {
            return 1;
        }
        let partitions = self.options[node].partitions.unwrap_or(1).clamp(1, COUNT_MAX);
        partitions
            .div_ceil(self.machines(node))
            .min(self.sizes[node].cores)
    }

    /// Whether its count is of shards that somebody else runs.
    pub fn is_sharded(&self, node: usize) -> bool {
        self.kinds[node] == Kind::Stream && self.sizes[node].cores == MANAGED_CORES
    }
}

/// Costs that the plan itself has.
fn of_plan(graph: &Graph, name: &str) -> Option<Costs> {
    let named = graph.plan.costs.iter().find(|costs| costs.name == name)?;
    Some(named.costs)
}

/// A law by mean and squared coefficient of variation.
pub(super) fn law(mean: f64, cv2: f64) -> Law {
    if mean <= 0.0 {
        Law::Zero
    } else if cv2 <= 0.0 {
        Law::Fixed { mean }
    } else {
        Law::Lognormal { mean, cv2 }
    }
}

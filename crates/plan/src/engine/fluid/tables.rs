//! The network as the fluid needs it: cores that are shared, and what one event asks of each.

use crate::network::{Flow, Machine, Network, Scale, Share, Stage, StationId, Step};

/// Machines of one node: they fail, scale and are deployed together.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Its place in the plan.
    pub id: u32,
    pub name: String,
    pub machines: u32,
    pub zones: u32,
    pub scale: Option<Scale>,
    pub takeover: Option<f64>,
    pub repair: f64,
    pub drain: f64,
    pub holds_connections: bool,
    pub is_managed: bool,
}

/// Servers that stations share: one queue at each machine.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub node: usize,
    /// At each machine.
    pub servers: u32,
    /// Jobs that may wait at each machine.
    pub waiting_max: Option<f64>,
    /// A caller gives up after this.
    pub timeout: Option<f64>,
    /// Tries of the caller after the first, and what pays for them.
    pub retries: u32,
    pub retry_budget: Option<f64>,
}

#[derive(Debug)]
pub(super) struct Tables<'a> {
    pub network: &'a Network,
    pub nodes: Vec<Node>,
    pub groups: Vec<Group>,
    /// Of each station.
    pub group_of: Vec<usize>,
    /// Whether a station is the first of its group.
    pub leads: Vec<bool>,
    /// The groups each flow visits, each once, by its first visit.
    pub orders: Vec<Vec<usize>>,
    pub edge: Option<usize>,
    /// Of each flow: receivers of one publication on average, and the share that is sent at its own rate.
    pub receivers: Vec<f64>,
    /// Each room counted as one receiver at least.
    pub receivers_of_one: Vec<f64>,
    pub kept: Vec<f64>,
}

/// What one event asks of one group: all its machines together.
///
/// What grows with the receivers is kept apart, so that it can be scaled with the users of the moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Demand {
    pub jobs: f64,
    pub work: f64,
    pub work_growing: f64,
    /// Second moments: of what is fixed, mixed, and growing.
    pub squares: [f64; 3],
}

impl Demand {
    pub fn work_at(&self, growth: f64) -> f64 {
        self.work + self.work_growing * growth
    }

    pub fn squares_at(&self, growth: f64) -> f64 {
        self.squares[0] + growth * (self.squares[1] + growth * self.squares[2])
    }
}

impl<'a> Tables<'a> {
    pub fn new(network: &'a Network) -> Self {
        let mut tables = Self {
            network,
            nodes: Vec::new(),
            groups: Vec::new(),
            group_of: Vec::new(),
            leads: Vec::new(),
            orders: Vec::new(),
            edge: None,
            receivers: network.flows.iter().map(Flow::receivers_mean).collect(),
            receivers_of_one: (network.flows.iter())
                .map(|flow| super::books::receivers(flow, 1.0))
                .collect(),
            kept: (network.flows.iter())
                .map(|flow| network.kept(flow).max(1e-9))
                .collect(),
        };
        let mut keys: Vec<(u32, u32)> = Vec::new();
        for (place, station) in network.stations.iter().enumerate() {
            let holds = network.edge == Some(StationId(place as u32));
            let node = tables
                .nodes
                .iter()
                .position(|node| node.id == station.node)
                .unwrap_or_else(|| {
                    tables.nodes.push(Node {
                        id: station.node,
                        name: station.name.split(':').next().unwrap_or_default().to_owned(),
                        machines: station.machines.max(1),
                        zones: station.zones.max(1),
                        scale: station.scale,
                        takeover: station.takeover,
                        repair: station.repair.max(0.0),
                        drain: station.drain.max(0.0),
                        holds_connections: false,
                        is_managed: station.is_managed(),
                    });
                    tables.nodes.len() - 1
                });
            tables.nodes[node].holds_connections |= holds;
            let key = (station.node, station.group);
            let group = keys.iter().position(|&known| known == key).unwrap_or_else(|| {
                keys.push(key);
                tables.groups.push(Group {
                    node,
                    servers: 1,
                    waiting_max: None,
                    timeout: None,
                    retries: 0,
                    retry_budget: None,
                });
                tables.groups.len() - 1
            });
            let row = &mut tables.groups[group];
            row.servers = row.servers.max(station.servers);
            row.waiting_max = smaller(row.waiting_max, station.waiting_max.map(f64::from));
            row.timeout = smaller(row.timeout, station.timeout);
            row.retries = row.retries.max(station.retries);
            row.retry_budget = smaller(row.retry_budget, station.retry_budget);
            tables.leads.push(!tables.group_of.contains(&group));
            tables.group_of.push(group);
            if holds {
                tables.edge = Some(place);
            }
        }
        for flow in &network.flows {
            let mut order = Vec::new();
            for step in &flow.steps {
                let group = tables.group(step);
                if !order.contains(&group) {
                    order.push(group);
                }
            }
            tables.orders.push(order);
        }
        tables
    }

    pub fn group(&self, step: &Step) -> usize {
        self.group_of[step.station.0 as usize]
    }

    /// What an event on its way asks of each group, with so many machines of each node and so warm caches.
    pub fn demands(
        &self,
        steps: &[Step],
        flow: Option<&Flow>,
        machines: &[f64],
        warm: &[f64],
    ) -> Vec<Demand> {
        let mut demands = vec![Demand::default(); self.groups.len()];
        for step in steps {
            let group = self.group(step);
            let demand = &mut demands[group];
            let share = share_of(step, warm);
            let (mean, square) = (step.service.mean(), second_moment(step));
            let receivers: &[(f64, f64)] = match (step.machine, flow) {
                (Machine::Receivers, Some(flow)) => &flow.receivers,
                _ => {
                    demand.jobs += share;
                    demand.work += share * mean;
                    demand.squares[0] += share * square;
                    continue;
                }
            };
            let machines = machines[self.groups[group].node].max(1.0);
            for &(count, part) in receivers {
                let hit = machines_hit(machines, count);
                let each = count / hit * step.per_receiver;
                let times = share * part * hit;
                demand.jobs += times;
                demand.work += times * mean;
                demand.work_growing += times * each;
                demand.squares[0] += times * square;
                demand.squares[1] += times * 2.0 * mean * each;
                demand.squares[2] += times * each * each;
            }
        }
        demands
    }
}

/// Machines that hold at least one of so many receivers.
pub(super) fn machines_hit(machines: f64, receivers: f64) -> f64 {
    if machines <= 1.0 {
        return 1.0;
    }
    (machines * (1.0 - libm::pow(1.0 - 1.0 / machines, receivers.max(1.0)))).max(1.0)
}

/// Share of the events that makes a visit, with so warm caches, by station.
pub(super) fn share_of(step: &Step, warm: &[f64]) -> f64 {
    match step.share {
        Share::All => 1.0,
        Share::Of { share } => share,
        Share::Misses { cache, hit_rate, .. } => 1.0 - hit_rate * warm[cache.0 as usize],
    }
}

fn second_moment(step: &Step) -> f64 {
    let mean = step.service.mean();
    mean * mean * (1.0 + step.service.cv2())
}

fn smaller(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

/// The place of a stage in [`Stage::ALL`].
pub(super) fn place_of(stage: Stage) -> usize {
    Stage::ALL
        .iter()
        .position(|&other| other == stage)
        .expect("all stages are listed")
}

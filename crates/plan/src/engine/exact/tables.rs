//! A network in the form the run reads: flat vectors, nanoseconds, prepared laws.
//!
//! Nothing here changes during a run. Entities are named by a hash of what the plan calls them, never by their places,
//! so that one node more or less leaves every other's chance as it was.

use crate::{
    draw::{Key, Purpose, Stream},
    engine::kernel::{NEVER, Nanos, law::Drawn, nanos, pool::SERVERS_MAX},
    network::{Machine, Network, RandomFaults, Share, Stage, Step, TimedFault},
    plan::{Burst, Jitter, NewestOf, Session},
};

/// Machines of one node are at most so many: what more there are is no plan but a mistake.
const MACHINES_MAX: u32 = 16_384;

/// See the module.
#[derive(Debug)]
pub(super) struct Tables {
    pub seed: u64,
    pub replication: u32,
    pub length: Nanos,
    pub users: Vec<(f64, f64)>,
    pub session: Session,
    pub session_mean: f64,
    pub clients: Clients,
    pub stations: Vec<StationTable>,
    pub pools: Vec<PoolTable>,
    pub nodes: Vec<NodeTable>,
    pub visits: Vec<Visit>,
    /// By flow: until delivered; then by flow: aside; then the connect's.
    pub ways: Vec<Way>,
    pub flows: Vec<FlowTable>,
    pub edge: Option<usize>,
    pub network: Drawn,
    pub slow_readers: f64,
    pub slow_reader_rate: f64,
    pub outbox_bytes: f64,
    pub conflate_rate: f64,
    /// More is published than by who behaves.
    pub abuse_factor: f64,
    pub bursts: Vec<BurstTable>,
    pub faults: Vec<TimedFault>,
    pub random: RandomFaults,
    /// Rooms grow, or something is conflated.
    pub changes_pace: bool,
    /// By flow, then pool: what one publication asks.
    pub work: Vec<super::windows::Work>,
    /// Hops between zones of one publication, by flow.
    pub crosses: Vec<f64>,
}

#[derive(Debug)]
pub(super) struct Clients {
    pub backoff_first: f64,
    pub backoff_max: f64,
    pub jitter: Jitter,
    pub retries: u32,
    pub retry_budget: Option<f64>,
    pub timeout: Nanos,
    pub patience: Nanos,
}

#[derive(Debug)]
pub(super) struct StationTable {
    pub name: String,
    pub entity: u32,
    pub stage: Stage,
    pub node: usize,
    pub pool: usize,
    pub waiting_max: usize,
    pub timeout: Nanos,
    pub retries: u32,
    pub retry_jitter: bool,
    pub retry_budget: Option<f64>,
    pub memory_base: f64,
    pub memory_per_connection: f64,
}

#[derive(Debug)]
pub(super) struct PoolTable {
    pub node: usize,
    pub servers: u32,
    /// CPU of each connection held: seconds a second.
    pub idle_cost: f64,
}

#[derive(Debug)]
pub(super) struct NodeTable {
    /// Its place in the plan.
    pub id: u32,
    pub name: String,
    pub entity: u32,
    pub machines: u32,
    pub scale: Option<crate::network::Scale>,
    pub repair: Nanos,
    pub takeover: Option<Nanos>,
    pub zones: u32,
    pub drain: Nanos,
    /// Connections that one machine's memory holds.
    pub connections_max: u32,
    pub pools: Vec<usize>,
    /// Seconds for which it is not as usual after it went cold.
    pub warm_up: f64,
    /// Deploys strike it: it runs the application or holds connections.
    pub deploys: bool,
}

impl NodeTable {
    /// Machines that work when all are up.
    pub fn working(&self) -> u32 {
        if self.takeover.is_some() { 1 } else { self.machines }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Visit {
    pub station: usize,
    pub node: usize,
    pub pool: usize,
    pub machine: Machine,
    pub service: Drawn,
    pub per_receiver: f64,
    pub travel: Drawn,
    pub travel_stage: Stage,
    pub share: Chosen,
    /// Share of the ways there that cross zones.
    pub crosses: f64,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Chosen {
    All,
    Of(f64),
    Misses {
        node: usize,
        hit_rate: f64,
        warm_up: f64,
    },
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub first: u32,
    pub end: u32,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Publish(usize),
    Aside(usize),
    Connect,
}

#[derive(Debug)]
pub(super) struct FlowTable {
    pub name: String,
    pub entity: u32,
    pub rate: f64,
    pub bytes: f64,
    /// (receivers, share of the publications up to here, share of them)
    pub receivers: Vec<(u32, f64, f64)>,
    pub receivers_mean: f64,
    /// Users of whom that is true, if rooms grow with them.
    pub receivers_at: f64,
    pub coalescible: bool,
    newest_of: NewestOf,
    pub is_conflated: bool,
    /// Share that is sent, at its own rate.
    pub kept: f64,
    pub durable: bool,
    pub hard_deadline: Nanos,
    /// Share of its deliveries that is materialised.
    pub sampled: f64,
    pub has_aside: bool,
    /// The network is not already in its steps.
    pub uplink: bool,
    pub downlink: bool,
}

impl FlowTable {
    /// Publications a second to a room of so many, and of one key of it.
    pub fn rates(&self, members: f64, rate: f64) -> (f64, f64) {
        let room = members * rate;
        match self.newest_of {
            NewestOf::User => (room, rate),
            NewestOf::Room => (room, room),
        }
    }
}

#[derive(Debug, PartialEq)]
pub(super) enum BurstTable {
    Mmpp {
        factor: f64,
        quiet: f64,
        loud: f64,
        flows: Vec<usize>,
    },
    Cluster {
        at: Vec<f64>,
        per_hour: f64,
        share: f64,
        delay: (f64, f64),
        flow: usize,
    },
}

impl Tables {
    pub fn new(network: &Network, replication: u32) -> Self {
        let mut pools: Vec<PoolTable> = Vec::new();
        let mut pool_keys: Vec<(u32, u32)> = Vec::new();
        let mut nodes: Vec<NodeTable> = Vec::new();
        let mut stations = Vec::new();
        for (place, station) in network.stations.iter().enumerate() {
            let holds = network.edge.is_some_and(|edge| edge.0 as usize == place);
            let node = nodes
                .iter()
                .position(|node| node.id == station.node)
                .unwrap_or_else(|| {
                    nodes.push(NodeTable {
                        id: station.node,
                        name: station.name.clone(),
                        entity: entity_of(&station.name),
                        machines: 0,
                        scale: None,
                        repair: nanos(station.repair),
                        takeover: None,
                        zones: station.zones.max(1),
                        drain: nanos(station.drain),
                        connections_max: u32::MAX,
                        pools: Vec::new(),
                        warm_up: 0.0,
                        deploys: false,
                    });
                    nodes.len() - 1
                });
            let pool = pool_keys
                .iter()
                .position(|&key| key == (station.node, station.group))
                .unwrap_or_else(|| {
                    pool_keys.push((station.node, station.group));
                    pools.push(PoolTable {
                        node,
                        servers: 1,
                        idle_cost: 0.0,
                    });
                    nodes[node].pools.push(pools.len() - 1);
                    pools.len() - 1
                });
            let row = &mut nodes[node];
            row.machines = row.machines.max(station.machines.clamp(1, MACHINES_MAX));
            row.scale = row.scale.or(station.scale);
            row.takeover = row.takeover.or(station.takeover.map(nanos));
            row.deploys |= holds || station.stage == Stage::Work;
            if station.memory > 0.0 && station.memory_per_connection > 0.0 {
                let room = (station.memory - station.memory_base) / station.memory_per_connection;
                row.connections_max = row.connections_max.min(room as u32);
            }
            pools[pool].servers = pools[pool].servers.max(station.servers);
            pools[pool].idle_cost += station.idle_cost.max(0.0);
            stations.push(StationTable {
                name: station.name.clone(),
                entity: entity_of(&station.name),
                stage: station.stage,
                node,
                pool,
                waiting_max: station.waiting_max.map_or(usize::MAX, |max| max as usize),
                timeout: station.timeout.map_or(NEVER, nanos),
                retries: station.retries,
                retry_jitter: station.retry_jitter,
                retry_budget: station.retry_budget,
                memory_base: station.memory_base,
                memory_per_connection: station.memory_per_connection,
            });
        }
        let mut visits = Vec::new();
        let mut ways = Vec::new();
        let mut way = |steps: &[Step], kind| {
            let first = visits.len() as u32;
            visits.extend(steps.iter().map(|step| visit_of(step, &stations, &nodes)));
            ways.push(Way {
                first,
                end: visits.len() as u32,
                kind,
            });
        };
        for (place, flow) in network.flows.iter().enumerate() {
            way(&flow.steps, Kind::Publish(place));
        }
        for (place, flow) in network.flows.iter().enumerate() {
            way(&flow.aside, Kind::Aside(place));
        }
        way(&network.connect, Kind::Connect);
        for visit in &visits {
            if let Chosen::Misses { node, warm_up, .. } = visit.share {
                nodes[node].warm_up = nodes[node].warm_up.max(warm_up);
            }
        }
        let flows: Vec<FlowTable> = (0..network.flows.len())
            .map(|place| flow_of(network, place))
            .collect();
        let abuse_factor = 1.0 + 9.0 * share(network.abuse);
        let users = network.users.clone();
        let user_seconds = integral(&users, network.length);
        let expected: f64 = flows
            .iter()
            .map(|flow| flow.rate * flow.receivers_mean * abuse_factor * user_seconds)
            .sum();
        let mut tables = Self {
            seed: network.seed,
            replication,
            length: nanos(network.length),
            users,
            session: network.session,
            session_mean: session_mean(network.session),
            clients: Clients {
                backoff_first: network.clients.backoff_first.clamp(1e-3, 1e6),
                backoff_max: network.clients.backoff_max.clamp(1e-3, 1e6),
                jitter: network.clients.jitter,
                retries: network.clients.retries.min(64),
                retry_budget: network.clients.retry_budget,
                timeout: nanos(network.clients.timeout).max(1),
                patience: nanos(network.clients.patience),
            },
            edge: network.edge.map(|edge| stations[edge.0 as usize].node),
            stations,
            pools,
            nodes,
            visits,
            ways,
            flows,
            network: Drawn::of(network.network),
            slow_readers: share(network.slow_readers),
            slow_reader_rate: network.slow_reader_rate.max(1.0),
            outbox_bytes: network.outbox_bytes.max(0.0),
            conflate_rate: network.conflate_rate,
            abuse_factor,
            bursts: network
                .bursts
                .iter()
                .filter_map(|burst| burst_of(network, burst))
                .collect(),
            faults: network.faults.clone(),
            random: network.random,
            changes_pace: false,
            work: Vec::new(),
            crosses: Vec::new(),
        };
        // Few events are all looked at; of many, 1 of 64 tells as much, and of a large room a few receivers.
        let sampled = (SAMPLES / expected.max(1.0)).clamp(1.0 / 64.0, 1.0);
        for flow in &mut tables.flows {
            flow.sampled = sampled
                .min(SAMPLES_EACH / flow.receivers_mean.max(1.0))
                .max(sampled / 1e4);
            tables.changes_pace |= flow.receivers_at > 0.0 || flow.is_conflated;
        }
        tables.work = tables.work_of_flows();
        tables.crosses = tables.crosses_of_flows();
        tables
    }

    /// How many want to be connected, and how fast that grows a second.
    pub fn users_at(&self, second: f64) -> (f64, f64) {
        let next = self.users.partition_point(|point| point.0 <= second);
        let Some(&(to, after)) = self.users.get(next) else {
            return (self.users.last().map_or(0.0, |point| point.1.max(0.0)), 0.0);
        };
        let Some(&(from, before)) = next.checked_sub(1).and_then(|last| self.users.get(last)) else {
            return (after.max(0.0), 0.0);
        };
        let slope = (after - before) / (to - from).max(1e-9);
        ((before + slope * (second - from)).max(0.0), slope)
    }

    pub fn stream(&self, entity: u32, purpose: Purpose) -> Stream {
        Stream::new(Key {
            seed: self.seed,
            replication: self.replication,
            entity,
            purpose,
        })
    }

    pub fn connect_way(&self) -> usize {
        self.ways.len() - 1
    }

    /// Mean time of a session, and one drawn: seconds.
    pub fn session(&self, stream: &mut Stream) -> f64 {
        match self.session {
            Session::Weibull { shape, scale } => stream.weibull(shape.clamp(0.05, 100.0), scale.max(0.0)),
            Session::Exponential { mean } => stream.exponential(mean.max(0.0)),
            Session::Fixed { length } => length.max(0.0),
        }
    }
}

/// Deliveries that are all looked at: percentiles of so many are known to a few parts in a thousand.
const SAMPLES: f64 = 1e6;
/// Receivers of one publication that are looked at, on average, at most.
const SAMPLES_EACH: f64 = 8.0;

/// A name as a number: FNV-1a.
pub(super) fn entity_of(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

fn share(share: f64) -> f64 {
    if share.is_nan() {
        0.0
    } else {
        share.clamp(0.0, 1.0)
    }
}

fn session_mean(session: Session) -> f64 {
    match session {
        Session::Weibull { shape, scale } => {
            scale.max(0.0) * libm::tgamma(1.0 + 1.0 / shape.clamp(0.05, 100.0))
        }
        Session::Exponential { mean } => mean.max(0.0),
        Session::Fixed { length } => length.max(0.0),
    }
    .clamp(1e-3, 1e12)
}

/// User-seconds below straight lines.
fn integral(points: &[(f64, f64)], length: f64) -> f64 {
    let inner: f64 = points
        .windows(2)
        .map(|pair| (pair[1].0 - pair[0].0) * (pair[0].1 + pair[1].1) / 2.0)
        .sum();
    let last = points
        .last()
        .map_or(0.0, |&(at, users)| (length - at).max(0.0) * users);
    inner + last
}

fn visit_of(step: &Step, stations: &[StationTable], nodes: &[NodeTable]) -> Visit {
    let station = step.station.0 as usize;
    let (node, pool) = (stations[station].node, stations[station].pool);
    let zones = f64::from(nodes[node].zones);
    Visit {
        station,
        node,
        pool,
        machine: step.machine,
        service: Drawn::of(step.service),
        per_receiver: step.per_receiver.clamp(0.0, 1e6) * 1e9,
        travel: Drawn::of(step.travel),
        travel_stage: step.travel_stage,
        share: match step.share {
            Share::All => Chosen::All,
            Share::Of { share: of } => Chosen::Of(share(of)),
            Share::Misses {
                cache,
                hit_rate,
                warm_up,
            } => Chosen::Misses {
                node: stations[cache.0 as usize].node,
                hit_rate: share(hit_rate),
                warm_up: warm_up.max(0.0),
            },
        },
        crosses: 1.0 - 1.0 / zones,
    }
}

fn flow_of(network: &Network, place: usize) -> FlowTable {
    let flow = &network.flows[place];
    let total: f64 = flow.receivers.iter().map(|row| row.1.max(0.0)).sum();
    let mut sum = 0.0;
    let receivers: Vec<(u32, f64, f64)> = flow
        .receivers
        .iter()
        .map(|&(count, weight)| {
            let weight = weight.max(0.0) / total.max(f64::MIN_POSITIVE);
            sum += weight;
            ((count.clamp(0.0, 1e9) + 0.5) as u32, sum, weight)
        })
        .collect();
    let travels = |stage| {
        flow.steps
            .iter()
            .any(|step| step.travel_stage == stage && step.travel.mean() > 0.0)
    };
    FlowTable {
        name: flow.name.clone(),
        entity: entity_of(&flow.name),
        rate: flow.rate.clamp(0.0, 1e9),
        bytes: flow.bytes.max(0.0),
        receivers_mean: receivers.iter().map(|row| f64::from(row.0) * row.2).sum(),
        receivers,
        receivers_at: if flow.receivers_at > 0.0 {
            flow.receivers_at
        } else {
            0.0
        },
        coalescible: flow.coalescible,
        newest_of: flow.newest_of,
        is_conflated: network.is_conflated(flow),
        kept: network.kept(flow).max(1e-9),
        durable: flow.durable,
        hard_deadline: network
            .hard_deadline
            .get(place)
            .map_or(NEVER, |&after| nanos(after)),
        sampled: 1.0,
        has_aside: !flow.aside.is_empty(),
        uplink: !travels(Stage::Uplink),
        downlink: !travels(Stage::Downlink),
    }
}

fn burst_of(network: &Network, burst: &Burst) -> Option<BurstTable> {
    let place = |name: &String| network.flows.iter().position(|flow| flow.name == *name);
    match burst {
        Burst::Mmpp {
            factor,
            quiet,
            loud,
            classes,
        } => Some(BurstTable::Mmpp {
            factor: factor.clamp(0.0, 1e6),
            quiet: quiet.clamp(1e-3, 1e12),
            loud: loud.clamp(1e-3, 1e12),
            // None named is all.
            flows: if classes.is_empty() {
                (0..network.flows.len()).collect()
            } else {
                classes.iter().filter_map(place).collect()
            },
        }),
        Burst::Cluster {
            at_hours,
            per_hour,
            share: of,
            delay_p50,
            delay_p95,
            class,
        } => Some(BurstTable::Cluster {
            at: at_hours.iter().map(|hour| hour * 3_600.0).collect(),
            per_hour: per_hour.clamp(0.0, 3_600.0),
            share: share(*of),
            // The 95th percentile of a standard normal is 1.645.
            delay: (
                libm::log(delay_p50.clamp(1e-6, 1e9)),
                libm::log((delay_p95 / delay_p50.max(1e-6)).clamp(1.0, 1e6)) / 1.644_853_626_951_472_7,
            ),
            flow: place(class)?,
        }),
    }
}

/// Whether nobody ever waits at a pool.
pub(super) fn is_endless(servers: u32) -> bool {
    servers > SERVERS_MAX
}

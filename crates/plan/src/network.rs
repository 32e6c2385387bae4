//! A plan made ready to run: stations, and the ways through them.
//!
//! `compile` turns nodes into stations and edges into ways; from here on nothing knows what a database
//! is. All three fidelities run this.
//!
//! ```text
//!   a publish   uplink ─► lb ─► ws: admit ─► [server] ─► [store] ─► ws: fanout ─► outbox ─► downlink
//!                                     └─ aside: queue ─► worker ─► postgres       (lag, not latency)
//!   a connect   lb ─► ws: handshake ─► [server] ─► [postgres or redis]
//! ```

use serde::Serialize;

use crate::{
    conflate::Conflation,
    plan::{Burst, Clients, NewestOf, Session},
};

/// See the module. Stations and ways are told by their places in the vectors.
#[derive(Debug, Clone, Serialize)]
pub struct Network {
    pub seed: u64,
    /// Length, seconds.
    pub length: f64,
    /// (second, users who want to be connected), by second; straight between them.
    pub users: Vec<(f64, f64)>,
    pub session: Session,
    pub bursts: Vec<Burst>,
    pub clients: Clients,
    pub stations: Vec<Station>,
    pub flows: Vec<Flow>,
    /// What a connect visits.
    pub connect: Vec<Step>,
    /// The stations that hold connections: cut off when one of their machines dies.
    pub edge: Option<StationId>,
    /// Failures that happen for sure, by time; [`random_faults`](crate::compile::random_faults) draws the others for each
    /// replication.
    pub faults: Vec<TimedFault>,
    pub random: RandomFaults,
    /// One way between a user and the first node.
    pub network: Law,
    /// Share of the readers that is slow, their bytes a second, and the bytes that may wait for one.
    pub slow_readers: f64,
    pub slow_reader_rate: f64,
    pub outbox_bytes: f64,
    /// Coalescible flows leave in at most so many writes a second to one reader and room (see [`crate::conflate`]); 0 is each
    /// as it comes. What a receiver costs in the steps counts with it already, at the rate of the flow.
    pub conflate_rate: f64,
    /// Share of the users that publishes ten times as much.
    pub abuse: f64,
    /// An outage counts as one from the first moment; later than this many seconds is as bad as none, by flow.
    pub hard_deadline: Vec<f64>,
}

/// The place of a station.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct StationId(pub u32);

/// Where an event waits, as in the live server, then the tiers behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    Uplink,
    Lb,
    Admit,
    /// The application's servers.
    Work,
    /// Ordered and stored: Postgres, stream.
    Engine,
    Cache,
    /// Between `ws` nodes.
    Bus,
    /// Until a consumer asks again.
    Poll,
    Fanout,
    Outbox,
    Downlink,
    /// Until the next try.
    Backoff,
    /// Until the connection is back.
    Reconnect,
}

impl Stage {
    pub const ALL: [Self; 13] = [
        Self::Uplink,
        Self::Lb,
        Self::Admit,
        Self::Work,
        Self::Engine,
        Self::Cache,
        Self::Bus,
        Self::Poll,
        Self::Fanout,
        Self::Outbox,
        Self::Downlink,
        Self::Backoff,
        Self::Reconnect,
    ];
}

/// Machines of one node that serve one queue each, first come first served.
#[derive(Debug, Clone, Serialize)]
pub struct Station {
    pub name: String,
    /// The place of its node in the plan: failures of that strike here.
    pub node: u32,
    /// Stations of one node may share its machines' cores: then they share a group.
    pub group: u32,
    pub stage: Stage,
    pub machines: u32,
    /// Machines that come and go.
    pub scale: Option<Scale>,
    /// Served at once by each machine: cores, connections, partitions.
    pub servers: u32,
    /// What may wait at each machine; none is unbounded.
    pub waiting_max: Option<u32>,
    /// Its caller gives up after this, and tries so often.
    pub timeout: Option<f64>,
    pub retries: u32,
    pub retry_jitter: bool,
    pub retry_budget: Option<f64>,
    /// CPU for each connection held, seconds a second: heartbeats.
    pub idle_cost: f64,
    /// Memory: bytes of a machine, of itself, and of each connection.
    pub memory: f64,
    pub memory_base: f64,
    pub memory_per_connection: f64,
    /// How a machine comes back.
    pub repair: f64,
    /// Only one machine does the work; the others stand by, and take over after this many seconds.
    pub takeover: Option<f64>,
    /// Failure domains its machines are spread over, in turn.
    pub zones: u32,
    /// Seconds over which a machine that leaves in order sends its connections away.
    pub drain: f64,
}

/// Machines that come and go.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Scale {
    pub machines_max: u32,
    /// Utilisation it aims at.
    pub target: f64,
    /// Seconds from the load to the decision, and from that to the machine.
    pub delay: f64,
    pub boot: f64,
    /// Those connected move to new machines, too.
    pub rebalances: bool,
}

/// A class of events, and its way.
#[derive(Debug, Clone, Serialize)]
pub struct Flow {
    pub name: String,
    /// Publications a second of one user.
    pub rate: f64,
    /// Of one delivery on the wire.
    pub bytes: f64,
    /// How many receive one: (receivers, share of the publications), by receivers.
    pub receivers: Vec<(f64, f64)>,
    /// Users of whom `receivers` is true, if rooms grow with them; 0 if they do not.
    pub receivers_at: f64,
    /// The largest room in the busiest hour.
    pub receivers_max: f64,
    pub coalescible: bool,
    pub newest_of: NewestOf,
    pub durable: bool,
    pub priority: u8,
    /// Until delivered.
    pub steps: Vec<Step>,
    /// What follows on its own, once it was accepted: jobs.
    pub aside: Vec<Step>,
    /// Percentile and seconds, if the contract names this class.
    pub targets: Vec<(f64, f64)>,
}

/// One visit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    pub station: StationId,
    pub machine: Machine,
    /// What is asked of a server.
    pub service: Law,
    /// On top, seconds for each receiver at that machine: fan-out is one long visit.
    pub per_receiver: f64,
    /// Of the way there, without a queue.
    pub travel: Law,
    pub travel_stage: Stage,
    /// The share of events that makes this visit: what a cache did not answer.
    pub share: Share,
}

/// Which of a station's machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Machine {
    /// Any: in turn.
    Any,
    /// The one the user is connected to.
    Home,
    /// By room: partitions.
    Room,
    /// Each that holds a receiver, with its part of them.
    Receivers,
}

/// How many make a visit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Share {
    All,
    Of {
        share: f64,
    },
    /// What a cache at that station does not know; all of it after it went cold, then less over `warm_up` seconds.
    Misses {
        cache: StationId,
        hit_rate: f64,
        warm_up: f64,
    },
}

/// A law of times, seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "law", rename_all = "kebab-case")]
pub enum Law {
    Zero,
    Fixed {
        mean: f64,
    },
    Exponential {
        mean: f64,
    },
    /// By mean and squared coefficient of variation.
    Lognormal {
        mean: f64,
        cv2: f64,
    },
    /// Evenly from 0: the wait for the next poll.
    Uniform {
        max: f64,
    },
}

impl Law {
    /// Mean, seconds.
    pub fn mean(self) -> f64 {
        match self {
            Self::Zero => 0.0,
            Self::Fixed { mean } | Self::Exponential { mean } | Self::Lognormal { mean, .. } => mean,
            Self::Uniform { max } => max / 2.0,
        }
    }

    /// Squared coefficient of variation.
    pub fn cv2(self) -> f64 {
        match self {
            Self::Zero | Self::Fixed { .. } => 0.0,
            Self::Exponential { .. } => 1.0,
            Self::Lognormal { cv2, .. } => cv2,
            Self::Uniform { .. } => 1.0 / 3.0,
        }
    }
}

/// Something goes wrong at a second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TimedFault {
    pub at: f64,
    /// The place of the node in the plan.
    pub node: u32,
    pub fault: crate::plan::Fault,
}

/// Failures by chance: a year's crashes of one machine, a week's deploys, and the share that strikes all at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct RandomFaults {
    pub crashes_per_year: f64,
    pub deploys_per_week: f64,
    pub common_cause: f64,
}

/// Memory of what is managed: never short.
const MANAGED_MEMORY: f64 = 1e15;

impl Network {
    /// The part between two seconds, as a run of its own: the same users, and what goes wrong in it.
    #[must_use]
    pub fn part(&self, from: f64, to: f64) -> Self {
        let (from, to) = (from.clamp(0.0, self.length), to.clamp(0.0, self.length));
        let length = (to - from).max(0.0);
        let within = |at: f64| (0.0..length).contains(&at);
        let mut users = vec![(0.0, self.users_at(from))];
        users.extend(
            (self.users.iter())
                .map(|&(at, users)| (at - from, users))
                .filter(|&(at, _)| at > 0.0 && at < length),
        );
        users.push((length, self.users_at(to)));
        let bursts = self.bursts.iter().cloned().map(|mut burst| {
            if let Burst::Cluster { at_hours, .. } = &mut burst {
                at_hours.iter_mut().for_each(|at| *at -= from / 3_600.0);
                at_hours.retain(|at| within(at * 3_600.0));
            }
            burst
        });
        let faults = (self.faults.iter())
            .map(|fault| TimedFault {
                at: fault.at - from,
                ..*fault
            })
            .filter(|fault| within(fault.at));
        Self {
            length,
            users,
            bursts: bursts.collect(),
            faults: faults.collect(),
            ..self.clone()
        }
    }

    /// How many want to be connected at a second.
    pub fn users_at(&self, second: f64) -> f64 {
        let next = self.users.partition_point(|point| point.0 <= second);
        let Some(&(to, after)) = self.users.get(next) else {
            return self.users.last().map_or(0.0, |point| point.1);
        };
        let Some(&(from, before)) = next.checked_sub(1).and_then(|last| self.users.get(last)) else {
            return after;
        };
        before + (after - before) * (second - from) / (to - from).max(1e-9)
    }

    /// Whether newer publications of a flow take the place of older ones.
    pub fn is_conflated(&self, flow: &Flow) -> bool {
        flow.coalescible && self.conflate_rate > 0.0
    }

    /// What becomes of a flow's publications in a room of so many, each of whom publishes so often a second.
    pub fn conflation(&self, flow: &Flow, members: f64, rate: f64) -> Conflation {
        if !self.is_conflated(flow) {
            return Conflation::NONE;
        }
        let (room_rate, key_rate) = flow.rates(members, rate);
        Conflation::new(self.conflate_rate, room_rate, key_rate)
    }

    /// Share of a flow's deliveries that is sent, at its own rate and in its mean room.
    pub fn kept(&self, flow: &Flow) -> f64 {
        self.conflation(flow, flow.receivers_mean(), flow.rate).kept()
    }
}

impl Flow {
    /// Receivers of one publication, on average.
    pub fn receivers_mean(&self) -> f64 {
        self.receivers.iter().map(|(count, share)| count * share).sum()
    }

    /// Publications a second to a room of so many, and of what is one key of it.
    pub fn rates(&self, members: f64, rate: f64) -> (f64, f64) {
        let room = members.max(1.0) * rate;
        match self.newest_of {
            NewestOf::User => (room, rate),
            NewestOf::Room => (room, room),
        }
    }
}

impl Station {
    /// Whether somebody else runs it: none of its machines crashes by itself, and its memory is no concern.
    pub fn is_managed(&self) -> bool {
        self.memory >= MANAGED_MEMORY
    }
}

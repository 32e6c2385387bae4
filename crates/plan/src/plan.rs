//! What a plan file says, once it is known to be right.
//!
//! One file is one question: *will this topology keep this contract, for this scenario?* It holds a
//! [`Scenario`] (who comes, and what they send), a [`Contract`] (what was promised, for how much money), a
//! [`Topology`] (what is built) and [`Failure`]s (what goes wrong). Reading text, units and errors
//! belong to `file`; defaults and costs of the nodes to `component`.
//!
//! Times are seconds, hours where the name says so; rates are per second; shares are 0 to 1.

use serde::{Deserialize, Serialize};

use crate::component::Costs;

/// A plan file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub title: String,
    pub briefing: Briefing,
    /// All chance follows from it.
    pub seed: u64,
    /// The name of the price book, such as `aws-us-east-1`.
    pub book: String,
    pub contract: Contract,
    pub scenario: Scenario,
    pub topology: Topology,
    pub failures: Failures,
    /// What was measured, by the names that nodes' options give.
    #[serde(default)]
    pub costs: Vec<NamedCosts>,
}

/// Costs that were measured on one machine, and take the place of the usual ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamedCosts {
    pub name: String,
    /// When and where: for people.
    #[serde(default)]
    pub measured: Option<String>,
    pub costs: Costs,
}

/// For who plays it as a lesson.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Briefing {
    pub text: String,
    /// Shown one at a time, when asked for.
    pub hints: Vec<String>,
    pub mistakes: Vec<String>,
}

/// What was promised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contract {
    /// Share of the time that must be good: 0.999.
    pub uptime: f64,
    pub weigh: Weigh,
    /// From publish to deliver.
    pub latency: Vec<Target>,
    /// A month, in the currency of the book.
    pub budget: f64,
    /// Share of deliveries that may be missed for good, if that was promised.
    pub loss: Option<f64>,
    /// Longest until 95 % of those who lost their connection are back, seconds, if that was promised.
    pub reconnect: Option<f64>,
    /// A delivery later than this many times its target is as bad as none: 10.
    pub late_factor: f64,
}

/// What uptime is a share of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weigh {
    /// Of the minutes users wanted to be connected.
    UserMinutes,
    /// Of what was asked: publishes and connects.
    Requests,
    /// Of the clock: a second in which 5 % of the users are worse off is bad.
    Time,
}

/// A percentile of a class's publish-to-deliver latency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Of all classes together if none.
    pub class: Option<String>,
    /// 0 to 1: 0.95.
    pub percentile: f64,
    /// Seconds.
    pub within: f64,
}

/// Who comes, and what they send.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// How long it lasts.
    pub hours: f64,
    pub users: Users,
    pub session: Session,
    pub bursts: Vec<Burst>,
    pub classes: Vec<Class>,
    /// Share of the users that publishes ten times as much as it may.
    pub abuse: f64,
    /// Share of the users that reads slowly, and how fast: bytes a second.
    pub slow_readers: f64,
    pub slow_reader_rate: f64,
    /// One way between a user and the first node, seconds: the median, and the 95th percentile.
    pub network_p50: f64,
    pub network_p95: f64,
    /// What a client does that was cut off.
    pub clients: Clients,
}

/// How many want to be connected: a monotone cubic through points (Fritsch and Carlson, 1980).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Users {
    /// The shape it was made of, if it was one.
    pub shape: Option<Shape>,
    /// (hour, users), by hour; at least two.
    pub points: Vec<(f64, f64)>,
}

/// A named course of a day or an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    Constant,
    /// Low at night, high in the evening.
    Daily,
    /// Narrow, each morning.
    MorningSurge,
    /// Up within the hour, down unevenly.
    Viral,
    /// Up at once, and it stays.
    FlashSale,
    /// By steps.
    Rollout,
    /// A warm-up, a peak of hours, a slow leaving.
    LiveEvent,
}

/// How long a user stays.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "law", rename_all = "kebab-case")]
pub enum Session {
    /// Many short ones, few of hours: shape 0.5 and scale 20 minutes fit a week of a first-person shooter's.
    Weibull {
        shape: f64,
        scale: f64,
    },
    Exponential {
        mean: f64,
    },
    Fixed {
        length: f64,
    },
}

/// When there is more of everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Burst {
    /// A Markov-modulated Poisson process of two states: `factor` times as much while it is loud.
    Mmpp {
        factor: f64,
        quiet: f64,
        loud: f64,
        classes: Vec<String>,
    },
    /// Something happens, and a share of all users reacts to it, each after a lognormal delay.
    Cluster {
        at_hours: Vec<f64>,
        per_hour: f64,
        share: f64,
        delay_p50: f64,
        delay_p95: f64,
        class: String,
    },
}

/// One class of events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Class {
    pub name: String,
    /// Publications a second of one user.
    pub rate: f64,
    /// Of one delivery on the wire.
    pub bytes: f64,
    pub room: RoomLaw,
    /// It must be stored before it is acknowledged.
    pub durable: bool,
    /// A newer one makes an older one worthless.
    pub coalescible: bool,
    /// If it is: an older one of whom.
    #[serde(default)]
    pub newest_of: NewestOf,
    /// 0 is shed first.
    pub priority: u8,
}

/// Whose older publications a newer one makes worthless.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NewestOf {
    /// Those of the same user: a place, a cursor.
    #[default]
    User,
    /// All of the room: a price, a count, the state of a match.
    Room,
}

/// How many users share a room.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "law", rename_all = "kebab-case")]
pub enum RoomLaw {
    Fixed {
        size: f64,
    },
    Geometric {
        mean: f64,
    },
    /// Sizes fall as 1/rank^exponent; the largest has a share of all users.
    Zipf {
        exponent: f64,
        largest_share: f64,
    },
    /// All users in one room.
    Everyone,
}

/// What a client does that was cut off or refused.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Clients {
    /// The first wait, and the longest: seconds. Each doubles the last.
    pub backoff_first: f64,
    pub backoff_max: f64,
    pub jitter: Jitter,
    /// Tries of one publish after the first.
    pub retries: u32,
    /// Retries allowed for each success; none is no budget.
    pub retry_budget: Option<f64>,
    /// An answer later than this is none: seconds.
    pub timeout: f64,
    /// They give up after so long without a connection: seconds.
    pub patience: f64,
}

/// How a wait is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Jitter {
    None,
    /// Half of it is fixed.
    Equal,
    /// Evenly from 0.
    Full,
}

/// What is built.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Topology {
    pub nodes: Vec<Node>,
    pub edges: Vec<Edge>,
}

/// Several machines of one kind that share a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    pub id: String,
    pub kind: Kind,
    /// Machines, shards, partitions' brokers: what the kind counts.
    pub count: u32,
    /// An entry of the price book, such as `c7g.medium`.
    pub size: String,
    /// Failure domains they are spread over.
    pub zones: u32,
    pub options: Options,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The load balancer.
    Lb,
    /// Tidegate.
    Ws,
    /// The application's own servers.
    Server,
    Postgres,
    Replica,
    /// A cache, and a bus between `ws` nodes.
    Redis,
    /// Ordered partitions: NATS JetStream, Kafka, Kinesis.
    Stream,
    /// Jobs: SQS, RabbitMQ.
    Queue,
    Worker,
    /// A rate limiter.
    Limiter,
    /// A hosted real-time service in place of `ws`: API Gateway, Ably.
    Hosted,
}

/// One edge: `from` calls `to`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Edge {
    pub from: String,
    pub to: String,
}

/// Where an edge comes from that begins at the users.
pub const CLIENTS: &str = "clients";

/// What can be set of a node; each is for some kinds only, and has a default for each of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Any: what may wait at one machine; without it nothing limits it.
    pub waiting_max: Option<u32>,
    /// Any: mean seconds of one unit of work, in place of the default.
    pub service: Option<f64>,
    /// Any: seconds after which its caller gives up, and tries of the caller after the first.
    pub timeout: Option<f64>,
    pub retries: Option<u32>,
    /// Callers' wait between tries has jitter, and a budget.
    pub retry_jitter: Option<bool>,
    pub retry_budget: Option<f64>,
    /// Server, worker: connections to Postgres, each machine.
    pub pool: Option<u32>,
    /// Postgres: a standby in another zone that takes over.
    pub standby: Option<bool>,
    /// Postgres: connections it takes.
    pub connections_max: Option<u32>,
    /// Postgres: seconds from failure until it answers again.
    pub failover: Option<f64>,
    /// Replica: it serves reads, and how far it lags behind is bounded by this, seconds.
    pub staleness_max: Option<f64>,
    /// Stream: partitions; hosted Kinesis: shards.
    pub partitions: Option<u32>,
    /// Stream, queue: seconds between two polls of a consumer; 0 is push.
    pub poll: Option<f64>,
    /// Queue: seconds until a job that was not acknowledged is given out again.
    pub visibility: Option<f64>,
    /// Redis: share of reads it answers when warm, and seconds until it is.
    pub hit_rate: Option<f64>,
    pub warm_up: Option<f64>,
    /// Limiter: publishes a second of one user, and its burst.
    pub rate: Option<f64>,
    pub burst: Option<f64>,
    /// Limiter: a reconnect counts as abuse.
    pub counts_reconnects: Option<bool>,
    /// Any that may scale: machines at most, the utilisation it aims at, seconds to notice, to decide and to boot.
    pub autoscale_max: Option<u32>,
    pub autoscale_target: Option<f64>,
    pub autoscale_delay: Option<f64>,
    pub boot: Option<f64>,
    /// Ws: seconds over which a drain spreads its clients.
    pub drain: Option<f64>,
    /// Ws: seconds for which a session may be resumed from memory.
    pub resume_window: Option<f64>,
    /// Ws: new connections are moved to new machines.
    pub rebalance: Option<bool>,
    /// Ws: bytes that may wait for one client; what happens then follows the class.
    pub outbox_bytes: Option<u32>,
    /// Ws: coalescible classes leave in at most so many writes a second to one client and room (`max_rate` in the lane
    /// `latest`): the first at once, then the newest at the end of each window; 0 is each as it comes.
    pub conflate_rate: Option<f64>,
    /// Ws: tokens are checked without asking the servers.
    pub tokens: Option<bool>,
    /// Ws: an own lane for what has priority.
    pub lanes: Option<bool>,
    /// Ws: handshakes a second and core it takes.
    pub handshakes_max: Option<f64>,
    /// Lb: seconds between health checks, and how many must fail.
    pub health_interval: Option<f64>,
    pub health_failures: Option<u32>,
    /// Ws: costs that were measured, by the name of a [`NamedCosts`].
    pub costs: Option<String>,
}

/// What goes wrong.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Failures {
    /// Each happens for sure.
    pub scheduled: Vec<Failure>,
    /// Crashes of one machine a year, on average.
    pub crashes_per_year: f64,
    /// Deploys a week, each of all `ws`, `server` and `worker` machines in turn.
    pub deploys_per_week: f64,
    /// Share of failures that strikes all machines of a node at once.
    pub common_cause: f64,
}

/// One failure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub at_hour: f64,
    pub node: String,
    pub what: Fault,
}

/// What happens to a node.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Fault {
    /// So many machines die, and come back by themselves after the kind's own time, or after `seconds`.
    Crash { machines: u32, seconds: Option<f64> },
    /// All machines of one zone.
    Zone { seconds: f64 },
    /// All work takes `factor` times as long.
    Slow { factor: f64, seconds: f64 },
    /// The primary fails over to its standby, or is repaired.
    Failover,
    /// All machines are replaced, one after the other.
    Deploy,
    /// What Redis knew is forgotten.
    Cold,
    /// Links to it lose this share of what is sent.
    Loss { share: f64, seconds: f64 },
    /// `factor` times as much is published: the kick of a test for metastable failure.
    Kick { factor: f64, seconds: f64 },
}

//! The words of the command line, and the plan that follows from them.

use std::{net::SocketAddr, time::Duration};

use clap::{Args as ClapArgs, Subcommand};

use crate::plan::{PROCESSES_MAX, Plan, Share};

/// `tidegate load`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    pub(crate) workload: Workload,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Workload {
    /// One large room beside quiet ones; both are reported apart.
    Viral {
        #[command(flatten)]
        target: Target,
        /// Subscribers of the large room.
        #[arg(long, default_value_t = 8_000)]
        subscribers: usize,
        /// Publications a second in it.
        #[arg(long, default_value_t = 5.0)]
        rate: f64,
        /// Quiet rooms, of 5 subscribers and 1 publication a second each.
        #[arg(long, default_value_t = 100)]
        quiet: usize,
        /// Subscribers that stop reading.
        #[arg(long, default_value_t = 0)]
        stopped: usize,
    },
    /// Many small rooms.
    Rooms {
        #[command(flatten)]
        target: Target,
        /// How many.
        #[arg(long, default_value_t = 2_000)]
        rooms: usize,
        /// Subscribers of each.
        #[arg(long, default_value_t = 10)]
        subscribers: usize,
        /// Publications a second in all of them together, by a member of each room in turn.
        #[arg(long, default_value_t = 2_000.0)]
        rate: f64,
    },
    /// Raises the rate of one room until p99 is above a limit.
    Saturate {
        #[command(flatten)]
        target: Target,
        /// Subscribers of the room.
        #[arg(long, default_value_t = 1_000)]
        subscribers: usize,
        /// The limit, milliseconds.
        #[arg(long, default_value_t = 200)]
        limit_ms: u64,
    },
    /// Connections that are joined to a room and silent: what each costs.
    Idle {
        #[command(flatten)]
        target: Target,
        /// How many.
        #[arg(long, default_value_t = 10_000)]
        connections: usize,
        /// Rooms they are spread over.
        #[arg(long, default_value_t = 1_000)]
        rooms: usize,
    },
    /// All drop, all return: the time until the last is joined again.
    Storm {
        #[command(flatten)]
        target: Target,
        /// How many.
        #[arg(long, default_value_t = 10_000)]
        connections: usize,
        /// Rooms they are spread over.
        #[arg(long, default_value_t = 1_000)]
        rooms: usize,
        /// Do not drop: wait until the server was killed and is there again.
        #[arg(long)]
        wait_restart: bool,
    },
    /// Like `viral`, where some subscribers stop reading.
    Slow {
        #[command(flatten)]
        target: Target,
        /// Subscribers of the room.
        #[arg(long, default_value_t = 5_000)]
        subscribers: usize,
        /// Of them, those that stop reading.
        #[arg(long, default_value_t = 50)]
        stopped: usize,
        /// Publications a second.
        #[arg(long, default_value_t = 5.0)]
        rate: f64,
    },
    /// Acknowledged publications a second.
    Publish {
        #[command(flatten)]
        target: Target,
        /// Publishers.
        #[arg(long, default_value_t = 100)]
        publishers: usize,
        /// Publications a second of all together.
        #[arg(long, default_value_t = 20_000.0)]
        rate: f64,
        /// The namespace published in.
        #[arg(long, default_value = "load")]
        namespace: String,
    },
    /// The bare server to compare with: it writes one pre-framed buffer per subscriber.
    Floor {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:8700")]
        listen: SocketAddr,
        /// All pending frames of a subscriber in one call.
        #[arg(long)]
        corked: bool,
        /// Other rooms' turns come in between slices of 128 subscribers.
        #[arg(long, conflicts_with = "corked")]
        fair: bool,
    },
}

/// What is measured, and how it is told.
#[derive(Debug, Clone, ClapArgs)]
pub struct Target {
    /// The server, such as ws://127.0.0.1:8600/v1/ws (plain, on this machine).
    #[arg(long, default_value = "ws://127.0.0.1:8600/v1/ws")]
    pub(crate) url: String,
    /// A token that every connection sends.
    #[arg(long, conflicts_with = "secret")]
    pub(crate) token: Option<String>,
    /// An HS256 secret: every connection gets a token of its own.
    #[arg(long)]
    pub(crate) secret: Option<String>,
    /// How long to measure.
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Bytes of a payload.
    #[arg(long, default_value_t = 500)]
    pub(crate) payload: usize,
    /// The server's process: its CPU and memory are measured too.
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// One JSON object instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Processes that share the connections; as many as their descriptors need if not given.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(PROCESSES_MAX)))]
    pub(crate) processes: Option<u32>,
    /// Which share of the plan this process has: it was started by another.
    #[arg(long, hide = true)]
    pub(crate) part: Option<Share>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| format!("{text:?} is no number of seconds"))?;
    match (0.1..=3_600.0).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err("between 0.1 and 3600 seconds are possible".to_owned()),
    }
}

impl Workload {
    /// What is measured, and the plan that follows from the words; the floor has neither.
    pub(crate) fn plan(&self) -> Option<(&Target, Plan)> {
        Some(match self {
            Self::Viral {
                target,
                subscribers,
                rate,
                quiet,
                stopped,
            } => (target, Plan::viral(*subscribers, *rate, *quiet, *stopped)),
            Self::Rooms {
                target,
                rooms,
                subscribers,
                rate,
            } => (target, Plan::rooms(*rooms, *subscribers, *rate)),
            Self::Saturate {
                target, subscribers, ..
            } => (target, Plan::saturate(*subscribers, 1.0)),
            Self::Idle {
                target,
                connections,
                rooms,
            } => (target, Plan::silent("idle", *connections, *rooms)),
            Self::Storm {
                target,
                connections,
                rooms,
                ..
            } => (target, Plan::silent("storm", *connections, *rooms)),
            Self::Slow {
                target,
                subscribers,
                stopped,
                rate,
            } => (target, Plan::viral(*subscribers, *rate, 0, *stopped)),
            Self::Publish {
                target,
                publishers,
                rate,
                namespace,
            } => (target, Plan::publish(*publishers, *rate, namespace)),
            Self::Floor { .. } => return None,
        })
    }
}

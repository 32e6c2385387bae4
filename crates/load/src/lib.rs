//! An open-loop load generator, and the floor to compare with.
//!
//! Open loop: publications leave at their intended times, whatever the server does, and a
//! latency counts from the intended time. A server that stalls is charged for all that waited (no
//! coordinated omission).
//!
//! ```text
//!   workload   what is done in which order, and what is asked of the outcome
//!   plan       who subscribes to what, what is published how often, which process has which
//!   crew       carries out a plan, alone or in several processes
//!   part       one process's share: a turn at a time
//!   parts      the other processes, as the parent sees them
//!   child      one of them, as it sees itself
//!   tally      what one process counted, told to another and merged
//!   swarm      thousands of connections on one epoll, received as cheaply as can be
//!   floor      the bare server: accept, and write pre-framed buffers
//!   report     percentiles, losses, the server's CPU and memory
//! ```

mod child;
mod crew;
mod floor;
mod part;
mod parts;
mod plan;
mod process;
mod report;
mod swarm;
mod tally;
mod workload;

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use clap::{Args as ClapArgs, Subcommand};

use crate::plan::{PROCESSES_MAX, Plan, Share};

/// `tidegate load`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    workload: Workload,
}

#[derive(Debug, Subcommand)]
enum Workload {
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
        /// Publications a second in all of them together.
        #[arg(long, default_value_t = 1_000.0)]
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
    url: String,
    /// A token that every connection sends.
    #[arg(long, conflicts_with = "secret")]
    token: Option<String>,
    /// An HS256 secret: every connection gets a token of its own.
    #[arg(long)]
    secret: Option<String>,
    /// How long to measure.
    #[arg(long, default_value = "10", value_parser = seconds)]
    seconds: Duration,
    /// Bytes of a payload.
    #[arg(long, default_value_t = 500)]
    payload: usize,
    /// The server's process: its CPU and memory are measured too.
    #[arg(long)]
    pid: Option<u32>,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Processes that share the connections; as many as their descriptors need if not given.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(PROCESSES_MAX)))]
    processes: Option<u32>,
    /// Which share of the plan this process has: it was started by another.
    #[arg(long, hide = true)]
    part: Option<Share>,
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

/// What went wrong; said to whoever runs it.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The address.
    #[error("{0:?} is not an address like ws://127.0.0.1:8600/v1/ws")]
    Url(String),
    /// The system.
    #[error("{what}: {why}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's words.
        why: std::io::Error,
    },
    /// The server.
    #[error("the server {0}")]
    Server(String),
    /// The token.
    #[error("cannot make a token: {0}")]
    Token(String),
    /// The server, to someone who wanted to come in.
    #[error("{why}, when {joined} of {wanted} connections had joined{}", way_out(why))]
    Refused {
        /// Its words.
        why: String,
        /// Connections that are in.
        joined: usize,
        /// Connections this process wanted.
        wanted: usize,
    },
    /// Descriptors.
    #[error(
        "{wanted} connections in {processes} processes, but each may open {allowed} descriptors only; \
         raise `ulimit -n`, or want less"
    )]
    Descriptors {
        /// Wanted.
        wanted: usize,
        /// How many there may be.
        processes: usize,
        /// Allowed.
        allowed: u64,
    },
    /// A workload that cannot be split.
    #[error(
        "`{0}` runs in one process only: all its connections publish, and one process publishes on schedule"
    )]
    OneProcess(&'static str),
    /// One of several processes.
    #[error("process {number} of {of} {why}; the others are ended too")]
    Part {
        /// Which, from 1.
        number: usize,
        /// Of how many.
        of: usize,
        /// What it did.
        why: String,
    },
    /// A parent of another version.
    #[error("the command {0} is unknown")]
    Command(String),
}

/// What can be done about a refusal.
fn way_out(why: &str) -> &'static str {
    match why.contains(" 503") {
        true => {
            ": a server says 503 when it is out of descriptors or at its `limits.connections_max`; \
             raise `ulimit -n` where it starts, or want fewer connections"
        }
        false => "",
    }
}

impl LoadError {
    fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |why| Self::System { what, why }
    }
}

impl Workload {
    /// What is measured, and the plan that follows from the words; the floor has neither.
    fn plan(&self) -> Option<(&Target, Plan)> {
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

/// Runs a workload. Fails when something was lost, doubled or out of order.
pub fn run(args: Args) -> ExitCode {
    let Some((target, plan)) = args.workload.plan() else {
        return serve_floor(&args.workload);
    };
    if let Some(share) = target.part {
        return child::serve(target, &plan, share);
    }
    let outcome = match &args.workload {
        Workload::Saturate {
            subscribers,
            limit_ms,
            ..
        } => workload::saturate(target, *subscribers, Duration::from_millis(*limit_ms)),
        Workload::Idle { .. } => workload::idle(target, plan),
        Workload::Storm { wait_restart, .. } => workload::storm(target, plan, *wait_restart),
        Workload::Publish { .. } => workload::publish(target, plan),
        Workload::Viral { .. } | Workload::Rooms { .. } | Workload::Slow { .. } | Workload::Floor { .. } => {
            workload::play(target, plan)
        }
    };
    match outcome {
        Ok(report) if report.is_clean() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(2),
        Err(error) => fail(&error),
    }
}

fn serve_floor(workload: &Workload) -> ExitCode {
    let Workload::Floor { listen, corked, fair } = workload else {
        unreachable!("only the floor has no plan");
    };
    let mode = match (corked, fair) {
        (true, _) => floor::Mode::Corked,
        (_, true) => floor::Mode::Fair,
        _ => floor::Mode::Plain,
    };
    match floor::serve(*listen, mode) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &LoadError) -> ExitCode {
    eprintln!("tidegate load: {error}");
    ExitCode::FAILURE
}

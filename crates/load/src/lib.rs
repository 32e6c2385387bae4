//! An open-loop load generator, and the floor to compare with.
//!
//! Open loop: publications leave at their intended times, whatever the server does, and a
//! latency counts from the intended time. A server that stalls is charged for all that waited (no
//! coordinated omission).
//!
//! ```text
//!   workload   what is sent when, and what is asked of the outcome
//!   swarm      thousands of connections on one epoll, received as cheaply as can be
//!   floor      the bare server: accept, and write pre-framed buffers
//!   report     percentiles, losses, the server's CPU and memory
//! ```

mod floor;
mod process;
mod report;
mod swarm;
mod workload;

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use clap::{Args as ClapArgs, Subcommand};

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
    /// Descriptors.
    #[error("{wanted} connections, but this process may open {allowed} descriptors only")]
    Descriptors {
        /// Wanted.
        wanted: usize,
        /// Allowed.
        allowed: u64,
    },
}

impl LoadError {
    fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |why| Self::System { what, why }
    }
}

/// Runs a workload. Fails when something was lost, doubled or out of order.
pub fn run(args: Args) -> ExitCode {
    let outcome = match args.workload {
        Workload::Viral {
            target,
            subscribers,
            rate,
            quiet,
            stopped,
        } => workload::viral(&target, subscribers, rate, quiet, stopped),
        Workload::Rooms {
            target,
            rooms,
            subscribers,
            rate,
        } => workload::rooms(&target, rooms, subscribers, rate),
        Workload::Saturate {
            target,
            subscribers,
            limit_ms,
        } => workload::saturate(&target, subscribers, Duration::from_millis(limit_ms)),
        Workload::Idle {
            target,
            connections,
            rooms,
        } => workload::idle(&target, connections, rooms),
        Workload::Storm {
            target,
            connections,
            rooms,
            wait_restart,
        } => workload::storm(&target, connections, rooms, wait_restart),
        Workload::Slow {
            target,
            subscribers,
            stopped,
            rate,
        } => workload::viral(&target, subscribers, rate, 0, stopped),
        Workload::Publish {
            target,
            publishers,
            rate,
            namespace,
        } => workload::publish(&target, publishers, rate, &namespace),
        Workload::Floor { listen, corked, fair } => {
            let mode = match (corked, fair) {
                (true, _) => floor::Mode::Corked,
                (_, true) => floor::Mode::Fair,
                _ => floor::Mode::Plain,
            };
            return match floor::serve(listen, mode) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("tidegate load: {error}");
                    ExitCode::FAILURE
                }
            };
        }
    };
    match outcome {
        Ok(report) if report.is_clean() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(2),
        Err(error) => {
            eprintln!("tidegate load: {error}");
            ExitCode::FAILURE
        }
    }
}

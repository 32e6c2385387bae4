//! The words of the command line, and the plan that follows from them.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, Subcommand, ValueEnum};

use crate::calibrate;
use crate::plan::{Bid, Burst, Lane, Mixed, PROCESSES_MAX, Plan, Share, Slow};

/// `tidegate load`.
#[derive(Debug, ClapArgs)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(subcommand)]
    pub(crate) workload: Workload,
}

const AFTER_HELP: &str = "\
Every workload accounts for everything: what was published was acknowledged, rejected or left without an answer; \
what was acknowledged came to every subscriber, or was told to be left out. If a sum does not add up, it says \
which, and the exit status is 2.";

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
    },
    /// As `viral`, as large and as busy as one machine stands: 80 MB a second beside 1,000 quiet rooms.
    Hot {
        #[command(flatten)]
        target: Target,
        /// Subscribers of the hot room.
        #[arg(long, default_value_t = 8_000)]
        subscribers: usize,
        /// Publications a second in it.
        #[arg(long, default_value_t = 20.0)]
        rate: f64,
        /// Quiet rooms, of 5 subscribers and 1 publication a second each.
        #[arg(long, default_value_t = 1_000)]
        quiet: usize,
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
        /// Do not drop: wait until the server has sent all away, each with its slot, and all are back. Without a
        /// rate one publication a second.
        #[arg(long, conflicts_with = "wait_restart")]
        drain: bool,
        /// Publications a second all the while, in all rooms together. Then each comes back by itself after the wait
        /// that the server asks for, and resumes by position. Without it all come at once.
        #[arg(long, default_value_t = 0.0)]
        rate: f64,
    },
    /// One room in which some read slowly, or not at all, while others read. In the end all read on: what
    /// they missed is replayed, or told.
    Slow {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        lane: LaneOf,
        /// Subscribers of the room, those that are slow included.
        #[arg(long, default_value_t = 5_000)]
        subscribers: usize,
        /// Of them, those that stop reading.
        #[arg(long, default_value_t = 50)]
        stopped: usize,
        /// Of them, those that read at the rate of `--trickle`.
        #[arg(long, default_value_t = 0)]
        trickling: usize,
        /// A rate such as 1Mbit or 125kB, a second: through a receive buffer as small as the kernel gives.
        /// What is inside TCP counts: WebSocket frames and what they hold.
        #[arg(long, default_value = "1Mbit", value_parser = bytes_per_second)]
        trickle: f64,
        /// Publications a second.
        #[arg(long, default_value_t = 5.0)]
        rate: f64,
        /// Keys that they have in turn; 0 for none.
        #[arg(long, default_value_t = 0)]
        keys: u32,
    },
    /// A quiet rate with bursts on top; latencies in the quiet, in bursts, and in the half second after one.
    Burst {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        lane: LaneOf,
        /// Subscribers of the room.
        #[arg(long, default_value_t = 1_000)]
        subscribers: usize,
        /// Publications a second in the quiet.
        #[arg(long, default_value_t = 10.0)]
        rate: f64,
        /// How many times that in a burst.
        #[arg(long, default_value_t = 20.0, value_parser = factor)]
        factor: f64,
        /// How long a burst is.
        #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(10..=60_000))]
        burst_ms: u64,
        /// From the begin of one to the begin of the next: more than the burst itself.
        #[arg(long, default_value = "3", value_parser = seconds)]
        every: Duration,
    },
    /// Publishers above what the server takes: unloaded, the peak, a multiple of it, and after.
    /// Needs a `limits.in_flight_max` above what it has in flight, or that is what it measures.
    Flood {
        #[command(flatten)]
        target: Target,
        /// Publishers.
        #[arg(long, default_value_t = 200)]
        publishers: usize,
        /// Rooms they publish in, in turn. With few rooms a server joins what one subscriber gets into few writes,
        /// and the generator, which takes each apart again, is full before it.
        #[arg(long, default_value_t = 100)]
        rooms: usize,
        /// Subscribers of each.
        #[arg(long, default_value_t = 50)]
        subscribers: usize,
        /// Publications a second, unloaded.
        #[arg(long, default_value_t = 400.0, value_parser = factor)]
        rate: f64,
        /// How many times the peak is offered.
        #[arg(long, default_value_t = 5.0, value_parser = factor)]
        times: f64,
    },
    /// Chat (`load:`, reliable), cursors (`lossy:`), ticks (`latest:`) and members that come and go, all over the same connections.
    Mixed {
        #[command(flatten)]
        target: Target,
        /// Rooms of each kind.
        #[arg(long, default_value_t = 20)]
        rooms: usize,
        /// Members of each; every one publishes.
        #[arg(long, default_value_t = 25)]
        members: usize,
        /// Chat publications a second in each room.
        #[arg(long, default_value_t = 1.0)]
        chat: f64,
        /// Cursor moves a second in each room.
        #[arg(long, default_value_t = 50.0)]
        cursors: f64,
        /// Ticks a second in each room.
        #[arg(long, default_value_t = 20.0)]
        ticks: f64,
        /// Keys of the ticks of a room.
        #[arg(long, default_value_t = 50)]
        keys: u32,
        /// Members that leave a room, or come again, a second.
        #[arg(long, default_value_t = 1.0)]
        churn: f64,
        /// Instead: bids (`load:`, reliable) alone and beside a flood of cursors (`lossy:`), in turn, over one connection each way.
        #[arg(long)]
        bid: bool,
        /// With `--bid`: subscribers of both.
        #[arg(long, default_value_t = 100)]
        subscribers: usize,
        /// With `--bid`: bids a second.
        #[arg(long, default_value_t = 50.0)]
        bids: f64,
        /// With `--bid`: cursor moves a second beside them.
        #[arg(long, default_value_t = 500.0)]
        flood: f64,
        /// With `--bid`: subscribers read at this rate, such as 4Mbit a second.
        #[arg(long, value_parser = bytes_per_second)]
        trickle: Option<f64>,
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
    /// What a handshake, a publication, a delivery and a silent connection cost this server on this machine, for
    /// `tidegate plan calibrate`. Asks for `--pid`; `--seconds` are those of all publishing in rooms together. Under a
    /// minute, as it is.
    Calibrate {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        calibrate: CostsAsked,
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

/// How much is measured.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct CostsAsked {
    /// Where the costs are written, as TOML.
    #[arg(long, value_name = "FILE")]
    pub(crate) emit: PathBuf,
    /// Rounds: intervals are of what differs between them.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=100))]
    rounds: u32,
    /// Connections that are added in each round, and stay.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(10..=10_000))]
    connections: u32,
    /// Subscribers of the rooms that are published in: at least two sizes, better three.
    #[arg(long, value_name = "SIZE,…", default_value = "10,100,1000", value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    sizes: Vec<u32>,
    /// How long all are silent; 0 leaves it out. As long as the server's `ping_interval`, or pings do not count as
    /// often as they come.
    #[arg(long, value_name = "SECONDS", default_value_t = 25, value_parser = clap::value_parser!(u64).range(0..=600))]
    idle_seconds: u64,
    /// A namespace with `durability = "sync"`: how much later its acknowledgements are.
    #[arg(long, value_name = "NAMESPACE")]
    sync: Option<String>,
    /// The day, or what else is to be remembered of this measurement.
    #[arg(long, value_name = "TEXT")]
    date: Option<String>,
}

impl CostsAsked {
    pub(crate) fn ask(&self) -> calibrate::Ask {
        calibrate::Ask {
            rounds: self.rounds as usize,
            connections: self.connections as usize,
            sizes: self.sizes.iter().map(|size| *size as usize).collect(),
            idle: Duration::from_secs(self.idle_seconds),
            sync: self.sync.clone(),
            date: self.date.clone(),
        }
    }
}

/// Which namespace is published in, and what it promises.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct LaneOf {
    /// The namespace.
    #[arg(long, default_value = "load")]
    namespace: String,
    /// Its lane, as configured at the server: in a reliable one nothing may be left out.
    #[arg(long, value_enum, default_value = "reliable")]
    lane: LaneName,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LaneName {
    Reliable,
    Latest,
    Lossy,
}

impl LaneOf {
    fn lane(&self) -> Lane {
        match self.lane {
            LaneName::Reliable => Lane::Reliable,
            LaneName::Latest | LaneName::Lossy => Lane::Skipping,
        }
    }
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
    /// Publications leave as many independent users would send them (a Poisson process, the same each time), rather
    /// than one interval apart.
    #[arg(long)]
    pub(crate) poisson: bool,
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

fn factor(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if (0.01..=1e7).contains(&factor) => Ok(factor),
        _ => Err(format!("{text:?} is no number from 0.01 to 10000000")),
    }
}

/// `1Mbit`, `500kbit`, `125kB`, a second.
fn bytes_per_second(text: &str) -> Result<f64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let per_unit = match &text[digits.len()..] {
        "kbit" => 1e3 / 8.0,
        "Mbit" => 1e6 / 8.0,
        "kB" => 1e3,
        "MB" => 1e6,
        _ => return Err(format!("{text:?} is no rate such as 1Mbit, 500kbit or 125kB")),
    };
    match digits.parse::<f64>().map(|number| number * per_unit) {
        Ok(rate) if (100.0..=1e10).contains(&rate) => Ok(rate),
        _ => Err(format!("{text:?} is no rate from 0.1kB to 10000MB")),
    }
}

impl Workload {
    /// What is measured, and the plan that follows from the words; the floor has neither, and `calibrate` makes its own.
    pub(crate) fn plan(&self) -> Option<(&Target, Plan)> {
        let (target, plan) = self.even_plan()?;
        match target.poisson {
            true => Some((target, plan.poisson())),
            false => Some((target, plan)),
        }
    }

    fn even_plan(&self) -> Option<(&Target, Plan)> {
        Some(match self {
            Self::Viral {
                target,
                subscribers,
                rate,
                quiet,
            } => (target, Plan::viral("viral", *subscribers, *rate, *quiet)),
            Self::Hot {
                target,
                subscribers,
                rate,
                quiet,
            } => (target, Plan::hot(*subscribers, *rate, *quiet)),
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
                drain,
                rate,
                ..
            } => match *rate > 0.0 || *drain {
                true => {
                    let rate = if *rate > 0.0 { *rate } else { 1.0 };
                    (target, Plan::busy_storm(*connections, *rooms, rate))
                }
                false => (target, Plan::silent("storm", *connections, *rooms)),
            },
            Self::Slow {
                target,
                lane,
                subscribers,
                stopped,
                trickling,
                trickle,
                rate,
                keys,
            } => {
                let slow = Slow {
                    namespace: &lane.namespace,
                    lane: lane.lane(),
                    subscribers: *subscribers,
                    stopped: *stopped,
                    trickling: *trickling,
                    bytes_per_second: *trickle,
                    rate: *rate,
                    keys: *keys,
                };
                (target, Plan::slow(&slow))
            }
            Self::Burst {
                target,
                lane,
                subscribers,
                rate,
                factor,
                burst_ms,
                every,
            } => {
                let for_ns = burst_ms * 1_000_000;
                let burst = Burst {
                    factor: *factor,
                    for_ns,
                    every_ns: (every.as_nanos() as u64).max(for_ns + 1_000_000),
                };
                (
                    target,
                    Plan::burst(&lane.namespace, lane.lane(), *subscribers, *rate, burst),
                )
            }
            Self::Flood {
                target,
                publishers,
                rooms,
                subscribers,
                rate,
                ..
            } => (target, Plan::flood(*publishers, *rooms, *subscribers, *rate)),
            Self::Mixed {
                target,
                bid: true,
                subscribers,
                bids,
                flood,
                trickle,
                ..
            } => {
                let bid = Bid {
                    subscribers: *subscribers,
                    bids: *bids,
                    cursors: *flood,
                    bytes_per_second: *trickle,
                };
                (target, Plan::bid(&bid))
            }
            Self::Mixed {
                target,
                rooms,
                members,
                chat,
                cursors,
                ticks,
                keys,
                churn,
                ..
            } => {
                let mixed = Mixed {
                    rooms: *rooms,
                    members: *members,
                    chat: *chat,
                    cursors: *cursors,
                    ticks: *ticks,
                    keys: *keys,
                    churn: *churn,
                };
                (target, Plan::mixed(&mixed))
            }
            Self::Publish {
                target,
                publishers,
                rate,
                namespace,
            } => (target, Plan::publish(*publishers, *rate, namespace)),
            Self::Calibrate { .. } | Self::Floor { .. } => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_units() {
        assert_eq!(bytes_per_second("1Mbit"), Ok(125_000.0));
        assert_eq!(bytes_per_second("0.5MB"), Ok(500_000.0));
        assert_eq!(bytes_per_second("500kbit"), Ok(62_500.0));
        for wrong in ["1", "1M", "Mbit", "-1Mbit", "0kB", "1e99MB", ""] {
            assert!(bytes_per_second(wrong).is_err(), "{wrong}");
        }
    }
}

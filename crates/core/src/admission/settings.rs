//! What admission is set to: `[admission]` of the configuration.

use std::time::Duration;

use super::{
    adaptive::{Limiter, Settings},
    bucket::Rate,
    limit::{Aimd, Gradient2, Limit, Vegas},
};
use crate::moment::Moment;

/// Which rule moves a limit; see `limit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Compares latencies now and in the long run.
    Gradient2,
    /// Estimates the queue.
    Vegas,
    /// Adds one, takes a tenth.
    Aimd,
    /// No limit but the fixed ones.
    Off,
}

/// One adaptive limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adaptive {
    /// What moves it.
    pub rule: Rule,
    /// It never goes below: what may be under way however slow it is. High enough that the noise of a disk
    /// refuses nobody.
    pub floor: u32,
    /// Nor above.
    pub ceiling: u32,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self {
            rule: Rule::Gradient2,
            floor: 64,
            ceiling: 10_000,
        }
    }
}

/// Where a limit begins, between its floor and its ceiling: a start that turns nobody away
/// before anything was measured.
const INITIAL: u32 = 256;

impl Adaptive {
    /// A limiter with these settings; none if the rule is off.
    pub fn limiter(&self, seed: u64, now: Moment) -> Option<Limiter> {
        let rule = match self.rule {
            Rule::Gradient2 => Limit::Gradient2(Gradient2::default()),
            Rule::Vegas => Limit::Vegas(Vegas::default()),
            Rule::Aimd => Limit::Aimd(Aimd::default()),
            Rule::Off => return None,
        };
        let settings = Settings {
            initial: INITIAL.clamp(self.floor, self.ceiling),
            floor: self.floor,
            ceiling: self.ceiling,
            ..Settings::default()
        };
        Some(Limiter::new(rule, settings, seed, now))
    }
}

/// Token buckets; none is no limit. Those of rooms and namespaces stand in their policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rates {
    /// Commands of one connection, pings and leaving excepted.
    pub connection_commands: Option<Rate>,
    /// Publishes of one connection.
    pub connection_publishes: Option<Rate>,
    /// Publishes of one user over all its connections.
    pub user_publishes: Option<Rate>,
    /// Publishes from one address.
    pub address_publishes: Option<Rate>,
    /// Publishes of the whole server.
    pub server_publishes: Option<Rate>,
    /// Connections from one address.
    pub address_handshakes: Option<Rate>,
}

/// All of admission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// Publishes of one shard: from admitted until they are stored and fanned out here.
    pub publishes: Adaptive,
    /// Reads of history of one shard, for joins and for `history`.
    pub replays: Adaptive,
    /// Handshakes of one shard: from the upgrade (with TLS: from accept) to connected.
    pub handshakes: Adaptive,
    /// Calls of the HTTP API.
    pub calls: Adaptive,
    /// How long a publish above the limit may wait for a place; see `gate`.
    pub stall_max: Duration,
    /// Token buckets.
    pub rates: Rates,
    /// Users, addresses, rooms with a bucket of their own, each; beyond it newcomers share one.
    pub keys_max: usize,
}

/// Times `stall_max` that publishes may wait for an engine that gives no answer at all.
const STANDSTILL: u32 = 50;

impl Admission {
    /// The longest that a publish waits for a place, whether answers come or not.
    pub fn wait_max(&self) -> Duration {
        self.stall_max * STANDSTILL
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            publishes: Adaptive::default(),
            replays: Adaptive::default(),
            handshakes: Adaptive {
                floor: 1_024,
                ..Adaptive::default()
            },
            calls: Adaptive::default(),
            stall_max: Duration::from_millis(20),
            rates: Rates::default(),
            keys_max: 65_536,
        }
    }
}

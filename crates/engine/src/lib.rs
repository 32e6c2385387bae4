//! Orders, keeps and spreads publications: one `Engine`, several backends, one conformance suite.

use std::{path::PathBuf, time::Instant};

use tidegate_core::{
    Policy, WallClock,
    request::{Event, Features, Request},
};

/// Which backend, from the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineConfig {
    /// In memory; a restart forgets everything.
    Memory,
    /// On this machine's disk.
    Log(LogConfig),
}

/// The `log` engine's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Where the store is; made if missing. One process at a time.
    pub dir: PathBuf,
}

/// Called, from the engine's thread, when a port that was empty has events.
pub type Waker = Box<dyn Fn() + Send + Sync>;

/// A running engine.
pub struct Engine {}

/// One user of the engine: a shard, or the HTTP API.
pub struct Port {}

/// Why an engine does not start, or died. For the operator.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Placeholder of the signatures.
    #[error("{0}")]
    Store(String),
}

/// Whether the engine can do its work now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It can.
    Ready,
    /// It rejects publishes; why, in words.
    Failing(String),
}

#[allow(unused_variables)]
impl Engine {
    /// Starts it, with one port per waker. `started` is `Moment(0)`.
    pub fn start(
        config: &EngineConfig,
        policies: Vec<Policy>,
        wall: WallClock,
        started: Instant,
        wakers: Vec<Waker>,
    ) -> Result<(Engine, Vec<Port>), EngineError> {
        todo!()
    }
    /// What it can promise.
    pub fn features(&self) -> Features {
        todo!()
    }
    /// Whether it can do its work now.
    pub fn health(&self) -> Health {
        todo!()
    }
    /// Finishes what was submitted, syncs, and ends its threads.
    pub fn stop(self) -> Result<(), EngineError> {
        todo!()
    }
}

#[allow(unused_variables, clippy::result_large_err)]
impl Port {
    /// Hands a request over; gives it back when the way is full.
    pub fn try_submit(&mut self, request: Request) -> Result<(), Request> {
        todo!()
    }
    /// Takes the next event; never waits.
    pub fn try_event(&mut self) -> Option<Event> {
        todo!()
    }
}

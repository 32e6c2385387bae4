//! Orders, keeps and spreads publications: one [`Engine`], two backends, one conformance suite.
//!
//! ```text
//!   port 0 ──┐ requests, one bounded way      ┌──► port 0   events, one bounded way each
//!   port 1 ──┼────────────────► thread ───────┼──► port 1
//!   api    ──┘   take a group, handle it,     └──► api
//!                commit it once, then tell
//! ```
//!
//! The engine's thread takes everything that waits as one group. What a group changes is one
//! batch of the store and at most one fdatasync; only then is anyone told. The rooms
//! themselves ([`rooms`]) are a state machine that is handed `now`; this file and `runner` are what
//! touches threads and clocks.

mod bell;
mod metrics;
mod port;
mod presence;
mod retention;
mod room;
pub mod rooms;
mod runner;
mod state;
pub mod store;

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::{JoinHandle, Thread},
    time::{Duration, Instant},
};

use tidegate_core::{Admission, Policy, WallClock, request::Features};

pub use bell::Bell;
pub use metrics::{Metrics, Quantiles};
pub use port::Port;
pub use store::StoreError;

use metrics::Shared;

/// Ports of one engine: a bit each in a room's set.
pub const PORTS_MAX: usize = 128;
/// Requests of all ports together that wait for the engine; beyond it `try_submit` gives them back.
const REQUESTS_MAX: usize = 16_384;
/// Events that wait for one port; beyond it the engine waits for that port.
const EVENTS_MAX: usize = 16_384;

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

impl EngineConfig {
    /// What the backend can promise.
    pub fn features(&self) -> Features {
        match self {
            Self::Memory => Features {
                name: "memory",
                survives_restart: false,
                sync: false,
                shared: false,
                publish_typical: Duration::from_micros(20),
            },
            Self::Log(_) => Features {
                name: "log",
                survives_restart: true,
                sync: true,
                shared: false,
                publish_typical: Duration::from_millis(2),
            },
        }
    }
}

/// Called, from the engine's thread, when a port has new events.
pub type Waker = Box<dyn Fn() + Send + Sync>;

/// A running engine.
pub struct Engine {
    features: Features,
    shared: Arc<Shared>,
    is_stopped: Arc<AtomicBool>,
    bell: Arc<Bell>,
    thread: Option<JoinHandle<Result<(), StoreError>>>,
}

/// Why an engine does not start, or ended badly. For the operator.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// More ports than a room's set has bits.
    #[error("{0} shards; at most {max} are possible, set `shards` lower", max = PORTS_MAX - 2)]
    TooManyPorts(usize),
    /// The operating system gave no thread.
    #[error("cannot start the engine's thread: {0}")]
    Thread(#[from] std::io::Error),
    /// A bug of ours: its message is in the log.
    #[error("the engine's thread panicked")]
    Panicked,
}

/// Whether the engine can do its work now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It can.
    Ready,
    /// It rejects publishes; why, in words.
    Failing(String),
}

impl Engine {
    /// Starts it, with one port per waker. `started` is `Moment(0)`.
    pub fn start(
        config: &EngineConfig,
        policies: Vec<Policy>,
        wall: WallClock,
        started: Instant,
        wakers: Vec<Waker>,
    ) -> Result<(Engine, Vec<Port>), EngineError> {
        Self::start_with(&Admission::default(), config, policies, wall, started, wakers)
    }

    /// The same, with rates for publishes.
    pub fn start_with(
        admission: &Admission,
        config: &EngineConfig,
        policies: Vec<Policy>,
        wall: WallClock,
        started: Instant,
        wakers: Vec<Waker>,
    ) -> Result<(Engine, Vec<Port>), EngineError> {
        if wakers.len() > PORTS_MAX {
            return Err(EngineError::TooManyPorts(wakers.len()));
        }
        let store = store::Store::open(config)?;
        let shared = Arc::new(Shared::default());
        let is_stopped = Arc::new(AtomicBool::new(false));
        let sleeper = Arc::new(OnceLock::<Thread>::new());
        let bell = Bell::new({
            let sleeper = sleeper.clone();
            move || _ = sleeper.get().map(Thread::unpark)
        });
        let (requests, incoming) = crossbeam_channel::bounded(REQUESTS_MAX);
        let mut ports = Vec::new();
        let mut outlets = Vec::new();
        for (index, wake) in wakers.into_iter().enumerate() {
            let (events, receiver) = crossbeam_channel::bounded(EVENTS_MAX);
            let is_gone = Arc::new(AtomicBool::new(false));
            ports.push(Port::new(
                index as u8,
                requests.clone(),
                bell.clone(),
                receiver,
                is_gone.clone(),
            ));
            outlets.push(runner::Outlet::new(events, wake, is_gone));
        }
        drop(requests);
        let admission = admission.clone();
        let run = runner::Parts {
            store,
            wall,
            started,
            incoming,
            is_stopped: is_stopped.clone(),
            bell: bell.clone(),
            outlets,
            shared: shared.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("tidegate-engine".into())
            .spawn(move || {
                // Before the bell is armed for the first time.
                let _ = sleeper.set(std::thread::current());
                runner::run(run, policies, &admission)
            })?;
        let engine = Engine {
            features: config.features(),
            shared,
            is_stopped,
            bell,
            thread: Some(thread),
        };
        Ok((engine, ports))
    }

    /// What it can promise.
    pub fn features(&self) -> Features {
        self.features
    }

    /// Whether it can do its work now.
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// What it counted.
    pub fn metrics(&self) -> Metrics {
        self.shared.metrics()
    }

    /// Watches health and metrics after the engine has moved elsewhere.
    pub fn watch(&self) -> Watch {
        Watch(self.shared.clone())
    }

    /// Finishes what was submitted, syncs, and ends its thread.
    pub fn stop(mut self) -> Result<(), EngineError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), EngineError> {
        self.is_stopped.store(true, Ordering::SeqCst);
        self.bell.ring();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => Ok(result?),
            Some(Err(_)) => Err(EngineError::Panicked),
            None => Ok(()),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!(%error, "the engine ended badly");
        }
    }
}

/// An engine's health and metrics, for whoever shows them.
#[derive(Clone)]
pub struct Watch(Arc<Shared>);

impl Watch {
    /// Whether the engine can do its work now.
    pub fn health(&self) -> Health {
        self.0.health()
    }

    /// What the engine counted.
    pub fn metrics(&self) -> Metrics {
        self.0.metrics()
    }
}

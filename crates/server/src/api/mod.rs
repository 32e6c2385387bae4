//! The back office: HTTP over the connections that turned out not to be WebSockets.
//!
//! ```text
//!   shard ── HandedOver ──► serve ──► routes ──► engine (a port like a shard's)
//!                                        └─────► shards (questions with an answer)
//! ```
//!
//! It has a small runtime and a thread of its own, so that nothing a backend asks for can
//! take a shard's turn. `routes` is the API, `problem` how it says no, `metrics` what is
//! scraped, `sending_away` how clients are told to come back later, `assets` the pages in the
//! binary, `planner` one of them without a server.

mod assets;
mod calls;
mod engine;
mod metrics;
mod planner;
mod problem;
mod publishing;
mod routes;
mod sending_away;
mod serve;
mod stream;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, atomic::AtomicBool},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tidegate_core::{Policy, admission::Adaptive};
use tidegate_engine::{Port, Watch};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::{
    auth::ApiKeys,
    config::{DrainConfig, EdgeLimits},
    control::{HandedOver, ShardHandle},
    edge::{AcceptCounters, memory::Memory},
};

pub use metrics::{METRICS, Metric};
pub use planner::{PLANNER_PATH, serve_planner};
pub use routes::ROUTES;

/// All that the back office is made of.
pub struct Parts {
    /// Connections to serve.
    pub handed_over: mpsc::Receiver<HandedOver>,
    /// Its own way to the engine.
    pub port: Port,
    /// Notified when that port has news.
    pub news: Arc<Notify>,
    /// The engine's health and metrics.
    pub watch: Watch,
    /// Every shard.
    pub shards: Vec<ShardHandle>,
    /// Every namespace.
    pub policies: Vec<Policy>,
    /// Who may call.
    pub api_keys: ApiKeys,
    /// Without keys, on loopback: everyone may call.
    pub is_development: bool,
    /// Serve the demo's pages.
    pub has_demo: bool,
    /// What the acceptor counts.
    pub accepted: Arc<AcceptCounters>,
    /// How memory stands.
    pub memory: Arc<Memory>,
    /// The limit of calls.
    pub calls: Adaptive,
    /// How clients are sent away.
    pub drain: DrainConfig,
    /// All are being sent away.
    pub is_draining: Arc<AtomicBool>,
    /// Asks for that, and within which time.
    pub want_drain: mpsc::Sender<Duration>,
    /// Bounds of HTTP.
    pub limits: EdgeLimits,
    /// `Moment(0)`.
    pub started: Instant,
}

/// What every request can reach.
struct State {
    engine: engine::EngineClient,
    watch: Watch,
    shards: Vec<ShardHandle>,
    policies: BTreeMap<String, Policy>,
    api_keys: ApiKeys,
    is_development: bool,
    has_demo: bool,
    accepted: Arc<AcceptCounters>,
    drain: DrainConfig,
    is_draining: Arc<AtomicBool>,
    want_drain: mpsc::Sender<Duration>,
    request_timeout: Duration,
    body_bytes_max: usize,
    started: Instant,
    requests: metrics::RequestCounts,
    memory: Arc<Memory>,
    calls: calls::Calls,
}

impl State {
    /// When a request that comes now must be answered.
    fn deadline(&self) -> tokio::time::Instant {
        tokio::time::Instant::now() + self.request_timeout
    }
}

/// A running back office; ends when dropped.
pub struct BackOffice {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl BackOffice {
    /// Starts its thread.
    pub fn start(parts: Parts) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("back-office".into())
            .spawn(move || runtime.block_on(run(parts, stopped)))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for BackOffice {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by its own hook.
            let _ = thread.join();
        }
    }
}

async fn run(parts: Parts, stopped: oneshot::Receiver<()>) {
    let limits = parts.limits;
    let state = Arc::new(State {
        engine: engine::EngineClient::new(parts.port),
        watch: parts.watch,
        shards: parts.shards,
        policies: parts
            .policies
            .into_iter()
            .map(|p| (p.namespace.clone(), p))
            .collect(),
        api_keys: parts.api_keys,
        is_development: parts.is_development,
        has_demo: parts.has_demo,
        accepted: parts.accepted,
        drain: parts.drain,
        is_draining: parts.is_draining,
        want_drain: parts.want_drain,
        request_timeout: limits.http_request_timeout,
        body_bytes_max: limits.http_body_bytes_max,
        started: parts.started,
        requests: metrics::RequestCounts::default(),
        memory: parts.memory,
        calls: calls::Calls::new(&parts.calls, parts.started),
    });
    let routes = routes::router(state.clone());
    let news = parts.news;
    let answers = state.clone();
    let drain = tokio::spawn(async move {
        loop {
            news.notified().await;
            answers.engine.drain();
        }
    });
    serve::serve(routes, parts.handed_over, &limits, stopped).await;
    drain.abort();
}

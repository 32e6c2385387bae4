//! A whole server in one value: started from a configuration, stopped within a deadline.
//!
//! Started from the inside out (engine, shards, back office, then the door), stopped from
//! the outside in, so that whoever is let in finds everything behind the door.
//!
//! ```text
//!   drain:    not ready ─► door shut ─► sessions sent away at slots ─┐
//!   shutdown:              door shut ────────────────────────────────┴─► the rest closed ─► back office ─► engine
//! ```

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crossbeam_channel::{Receiver, bounded};
use mio::{Poll, net::TcpListener};
use tidegate_core::{
    Policy, WallClock,
    drain::{ComeBack, Pacing},
    policy::Durability,
};
use tidegate_engine::{Bell, Engine, EngineError, Port, Waker};
use tokio::sync::{Notify, mpsc};
use tracing::{error, info};

use crate::{
    acceptor::{self, Acceptor, Addresses, INTAKE_MAX, Intake, Newcomer, SocketOptions},
    api::{self, BackOffice},
    auth::{JwksError, Verifier},
    config::{Config, DrainConfig},
    control::{HandedOver, ShardCommand, ShardHandle},
    demo::Ticker,
    driver::{Driver, Parts, WAKER},
    edge::{
        AcceptCounters,
        authority::{AuthorityParts, KeyKeeper},
        crowd::{Crowd, CrowdLimits},
        handshake::Door,
        memory::{Memory, Watchman, memory_max},
        origin::Origins,
        tls::{Certificates, TlsError, TlsFiles},
        unsent::Unsent,
    },
};

/// Connections that wait for the back office to take them; beyond it 503.
const HANDED_OVER_MAX: usize = 256;
/// How often a stop looks whether the shards have ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);
/// What a shard may take beyond its deadline before the stop gives up on it.
const GRACE: Duration = Duration::from_secs(2);

/// Why a server does not start, or did not stop as it should.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {why}")]
    Listen {
        /// Which.
        addr: SocketAddr,
        /// Why.
        why: io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address of the tokens' keys cannot be used.
    #[error(transparent)]
    Keys(#[from] JwksError),
    /// The engine does not start, or did not stop cleanly.
    #[error("the engine: {0}")]
    Engine(#[from] EngineError),
    /// The configuration promises what the engine cannot keep.
    #[error("namespace `{namespace}` promises {promise}, which the engine `{engine}` cannot keep; {way_out}")]
    Promise {
        /// Whose policy.
        namespace: String,
        /// What.
        promise: &'static str,
        /// Which engine.
        engine: &'static str,
        /// What to do.
        way_out: &'static str,
    },
    /// The system gives no thread, or no poll.
    #[error("cannot start {what}: {why}")]
    System {
        /// What.
        what: &'static str,
        /// Why.
        why: io::Error,
    },
    /// A shard did not end in time, so the engine cannot be stopped cleanly either.
    #[error("a shard did not end in time; what waited for its clients is lost to them")]
    Stuck,
}

impl ServeError {
    fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |why| Self::System { what, why }
    }
}

/// A running server.
pub struct Server {
    addr: SocketAddr,
    drain: DrainConfig,
    shutdown_timeout: Duration,
    /// Told to probes.
    is_draining: Arc<AtomicBool>,
    /// `POST /v1/drain`.
    drain_wanted: mpsc::Receiver<Duration>,
    // In the order of the stop.
    acceptor: Acceptor,
    shards: Vec<ShardThread>,
    keys: Option<KeyKeeper>,
    certificates: Option<Certificates>,
    ticker: Option<Ticker>,
    watchman: Watchman,
    office: BackOffice,
    engine: Engine,
}

struct ShardThread {
    handle: ShardHandle,
    thread: thread::JoinHandle<()>,
}

impl Server {
    /// Starts everything; the address takes connections when this returns.
    pub fn start(config: &Config) -> Result<Self, ServeError> {
        check_promises(config)?;
        let started = Instant::now();
        let wall = wall_clock();
        let certificates = config.tls.as_ref().map(|tls| {
            let (cert, key) = (tls.cert.clone(), tls.key.clone());
            Certificates::start(TlsFiles { cert, key })
        });
        let certificates = certificates.transpose()?;
        let (listener, addr) = listen(config)?;
        let connections_max = connections_max(config);
        let verifier = Arc::new(Verifier::new(&config.auth)?);

        let nests: Vec<Nest> = (0..config.shards)
            .map(|_| Nest::new())
            .collect::<io::Result<_>>()
            .map_err(ServeError::system("a shard's poll"))?;
        let news = Arc::new(Notify::new());
        let (engine, mut ports) = start_engine(config, wall, started, &nests, &news)?;

        let memory = Memory::new(config.edge.memory_max.unwrap_or_else(memory_max));
        let bells = nests.iter().map(|nest| nest.bell.clone()).collect();
        let watchman =
            Watchman::start(memory.clone(), bells).map_err(ServeError::system("the watch over memory"))?;
        let (wanted, keys_wanted) = mpsc::channel(1);
        let (back_office, handed_over) = mpsc::channel(HANDED_OVER_MAX);
        let common = Common {
            config,
            wall,
            started,
            door: Arc::new(Door {
                origins: Origins::new(&config.origins),
                has_deflate: config.deflate,
                head_bytes_max: config.edge.head_bytes_max,
                frame_bytes_max: config.limits.frame_bytes_max,
            }),
            certificates: certificates.as_ref(),
            authority: AuthorityParts {
                verifier: verifier.clone(),
                wall,
                wanted,
            },
            back_office,
            memory: memory.clone(),
        };
        let api_port = ports.pop();
        let ticker = config.demo.then(|| ports.pop()).flatten().map(Ticker::start);
        let ticker = ticker
            .transpose()
            .map_err(ServeError::system("the demo's ticker"))?;
        let mut shards = Vec::new();
        let mut intakes = Vec::new();
        for (index, (nest, port)) in nests.into_iter().zip(ports).enumerate() {
            let (shard, intake) = common.start_shard(index, nest, port)?;
            shards.push(shard);
            intakes.push(intake);
        }
        let handles: Vec<ShardHandle> = shards.iter().map(|shard| shard.handle.clone()).collect();

        let keys = config
            .auth
            .jwks
            .is_some()
            .then(|| KeyKeeper::start(verifier, keys_wanted, handles));
        let keys = keys
            .transpose()
            .map_err(ServeError::system("the keeper of keys"))?;
        let counters = Arc::new(AcceptCounters::default());
        let is_draining = Arc::new(AtomicBool::new(false));
        let (want_drain, drain_wanted) = mpsc::channel(1);
        let office = BackOffice::start(api::Parts {
            handed_over,
            port: api_port.expect("the engine gave a port per waker"),
            news,
            watch: engine.watch(),
            shards: shards.iter().map(|shard| shard.handle.clone()).collect(),
            policies: config.namespaces.clone(),
            api_keys: config.api_keys.clone(),
            is_development: config.is_development(),
            has_demo: config.demo,
            accepted: counters.clone(),
            memory,
            calls: config.admission.calls,
            drain: config.drain,
            is_draining: is_draining.clone(),
            want_drain,
            limits: config.edge.clone(),
            started,
        });
        let office = office.map_err(ServeError::system("the back office"))?;
        let crowd = Crowd::new(CrowdLimits {
            per_user_max: config.edge.connections_per_user_max,
            per_address_max: config.edge.connections_per_address_max,
        });
        let addresses = Addresses::new(config, crowd, started);
        let acceptor = Acceptor::start(listener, intakes, connections_max, addresses, counters)
            .map_err(ServeError::system("the acceptor"))?;
        info!(%addr, shards = config.shards, connections_max, "listening");
        Ok(Self {
            addr,
            drain: config.drain,
            shutdown_timeout: config.edge.shutdown_timeout,
            is_draining,
            drain_wanted,
            acceptor,
            shards,
            keys,
            certificates,
            ticker,
            watchman,
            office,
            engine,
        })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Reads the certificate again, soon.
    pub fn reload_certificates(&self) {
        if let Some(certificates) = &self.certificates {
            certificates.reload();
        }
    }

    /// How long a drain takes that nobody asked to be shorter.
    pub fn drain_within(&self) -> Duration {
        self.drain.within
    }

    /// Waits until the HTTP API asks for a drain; returns within which time. Cancelling it loses nothing.
    pub async fn drain_wanted(&mut self) -> Duration {
        match self.drain_wanted.recv().await {
            Some(within) => within,
            // The back office is gone, and asks for nothing more.
            None => std::future::pending().await,
        }
    }

    /// Lets nobody in any more, sends every client away at its slot, and stops.
    pub fn drain(mut self, within: Duration) -> Result<(), ServeError> {
        self.is_draining.store(true, Ordering::Relaxed);
        self.acceptor.stop();
        // Without slots, all are closed by the stop itself.
        if !within.is_zero() {
            let until = Instant::now()
                + match self.drain.come_back {
                    ComeBack::Here { .. } => self.shutdown_timeout,
                    ComeBack::Elsewhere => within + self.shutdown_timeout,
                };
            let pacing = Pacing {
                within,
                per_second: self.drain.reconnects_per_second,
                shards: self.shards.len() as u16,
            };
            let (gone, all_gone) = bounded::<Infallible>(0);
            for shard in &self.shards {
                let command = ShardCommand::Drain {
                    come_back: self.drain.come_back,
                    pacing,
                    gone: gone.clone(),
                };
                shard.tell(command, until + GRACE);
            }
            drop(gone);
            // Nothing is ever sent: it ends when the last shard lets go of its end.
            let _ = all_gone.recv_deadline(until);
        }
        let deadline = self.shutdown_timeout;
        self.shutdown(deadline)
    }

    /// Lets nobody in any more, tells every client, gives their outboxes until the deadline,
    /// and stops the engine, which finishes what it was given.
    pub fn shutdown(mut self, deadline: Duration) -> Result<(), ServeError> {
        let until = Instant::now() + deadline;
        self.acceptor.stop();
        drop(self.certificates);
        drop(self.keys);
        drop(self.ticker);
        drop(self.watchman);
        for shard in &self.shards {
            shard.tell(ShardCommand::ShutDown { until }, until + GRACE);
        }
        // It ends its own connections while the shards end theirs.
        drop(self.office);
        for shard in self.shards {
            while !shard.thread.is_finished() {
                if Instant::now() > until + GRACE {
                    return Err(ServeError::Stuck);
                }
                thread::sleep(LOOK_INTERVAL);
            }
            if shard.thread.join().is_err() {
                error!("a shard ended by a panic");
            }
        }
        self.engine.stop()?;
        info!("stopped");
        Ok(())
    }
}

impl ShardThread {
    /// Its commands may be full for a moment; it takes some every turn.
    fn tell(&self, mut command: ShardCommand, until: Instant) {
        while let Err(back) = self.handle.try_send(command) {
            if self.thread.is_finished() || Instant::now() > until {
                return;
            }
            command = back;
            thread::sleep(LOOK_INTERVAL);
        }
    }
}

/// What a shard sleeps in, and how it is woken; there before the shard, because the engine
/// must know how to wake it.
struct Nest {
    poll: Poll,
    bell: Arc<Bell>,
}

impl Nest {
    fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), WAKER)?;
        let bell = Bell::new(move || {
            if let Err(error) = waker.wake() {
                error!(%error, "a shard cannot be woken");
            }
        });
        Ok(Self { poll, bell })
    }
}

/// What every shard gets alike.
struct Common<'a> {
    config: &'a Config,
    wall: WallClock,
    started: Instant,
    door: Arc<Door>,
    certificates: Option<&'a Certificates>,
    authority: AuthorityParts,
    back_office: mpsc::Sender<HandedOver>,
    memory: Arc<Memory>,
}

impl Common<'_> {
    /// A room's subscribers are spread evenly, so each shard sees its part of a crowd.
    fn policies_of_a_shard(&self) -> Vec<Policy> {
        let mut policies = self.config.namespaces.clone();
        for policy in &mut policies {
            policy.crowd.above = policy.crowd.above.div_ceil(self.config.shards as u32);
        }
        policies
    }

    fn start_shard(&self, index: usize, nest: Nest, port: Port) -> Result<(ShardThread, Intake), ServeError> {
        let Nest { poll, bell } = nest;
        let (handle, commands) = ShardHandle::new(bell.clone());
        let (sockets, intake): (_, Receiver<Newcomer>) = bounded(INTAKE_MAX);
        let load = Arc::new(AtomicUsize::new(0));
        let parts = Parts {
            index: index as u16,
            poll,
            bell: bell.clone(),
            policies: self.policies_of_a_shard(),
            limits: self.config.limits.clone(),
            admission: self.config.admission.clone(),
            edge: self.config.edge.clone(),
            wall: self.wall,
            started: self.started,
            seed: rand::random(),
            port,
            intake,
            commands,
            load: load.clone(),
            door: self.door.clone(),
            tls: self.certificates.map(Certificates::current),
            authority: self.authority.clone(),
            back_office: self.back_office.clone(),
            memory: self.memory.clone(),
        };
        let thread = thread::Builder::new()
            .name(format!("shard-{index}"))
            .spawn(move || Driver::new(parts).run())
            .map_err(ServeError::system("a shard's thread"))?;
        Ok((ShardThread { handle, thread }, Intake { sockets, bell, load }))
    }
}

fn start_engine(
    config: &Config,
    wall: WallClock,
    started: Instant,
    nests: &[Nest],
    news: &Arc<Notify>,
) -> Result<(Engine, Vec<Port>), ServeError> {
    let shards = nests.iter().map(|nest| {
        let bell = nest.bell.clone();
        Box::new(move || bell.ring()) as Waker
    });
    let news = news.clone();
    let api = std::iter::once(Box::new(move || news.notify_one()) as Waker);
    // The ticker looks for itself, twice a second.
    let ticker = config.demo.then(|| Box::new(|| ()) as Waker);
    let (engine, ports) = Engine::start_with(
        &config.admission,
        &config.engine,
        config.namespaces.clone(),
        wall,
        started,
        shards.chain(ticker).chain(api).collect(),
    )?;
    Ok((engine, ports))
}

/// A configuration that asks for more than the engine gives is refused, in words.
fn check_promises(config: &Config) -> Result<(), ServeError> {
    let features = config.engine.features();
    for policy in &config.namespaces {
        if policy.durability == Durability::Sync && !features.sync {
            return Err(ServeError::Promise {
                namespace: policy.namespace.clone(),
                promise: "`durability = \"sync\"`",
                engine: features.name,
                way_out: "take `[engine] kind = \"log\"`, or `durability = \"append\"`",
            });
        }
    }
    Ok(())
}

fn listen(config: &Config) -> Result<(TcpListener, SocketAddr), ServeError> {
    let options = SocketOptions {
        send_buffer_bytes: config.edge.send_buffer_bytes,
        unsent_bytes: Unsent::first_bytes(config.edge.unsent_bytes),
        unacknowledged_max: config.edge.unacknowledged_max,
    };
    acceptor::listen(config.listen, options)
        .and_then(|listener| listener.local_addr().map(|addr| (listener, addr)))
        .map_err(|why| ServeError::Listen {
            addr: config.listen,
            why,
        })
}

/// Raises the limit of descriptors, and says what can be held with it.
fn connections_max(config: &Config) -> usize {
    let descriptors = acceptor::raise_descriptor_limit();
    let fitting = acceptor::connections_that_fit(descriptors);
    let wanted = config.edge.connections_max.unwrap_or(fitting);
    if wanted > fitting {
        tracing::warn!(
            wanted,
            fitting,
            descriptors,
            "`limits.connections_max` is above what the descriptor limit allows"
        );
    }
    info!(
        descriptors,
        connections_max = wanted.min(fitting),
        "descriptor limit"
    );
    wanted.min(fitting)
}

fn wall_clock() -> WallClock {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallClock {
        origin_us: since_epoch.as_micros() as u64,
    }
}

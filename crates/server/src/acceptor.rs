//! Accepts sockets and hands each to the least loaded shard.
//!
//! One thread. Socket options are set on the listener once, because Linux lets an
//! accepted socket inherit them: accepting costs one system call. When something
//! has run out (descriptors, connections, shards with room) a newcomer is refused in
//! words, never left waiting and never accepted in a loop: one descriptor is kept in
//! reserve for just that.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Sender, TrySendError};
use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};
use tidegate_core::{
    Admission, Moment,
    admission::{Buckets, Table},
    request::Address,
};
use tracing::{debug, info, warn};

use crate::{
    config::Config,
    edge::{
        AcceptCounters, Refusal,
        connection::Guest,
        crowd::{Crowd, Full, address_of},
    },
};
use tidegate_engine::Bell;

/// Connections that wait in the kernel to be accepted: a storm's first wave. The
/// kernel has its own bound, `net.core.somaxconn`.
pub const BACKLOG: i32 = 16_384;
/// New sockets that wait for one shard; beyond it the next shard is tried, then 503.
pub const INTAKE_MAX: usize = 4_096;
/// Sockets refused that may still read why; beyond it the oldest is cut off.
const DOORSTEP_MAX: usize = 64;
const DOORSTEP_TIME: Duration = Duration::from_millis(500);
/// How long to leave the kernel's queue alone after it could not be served.
const BREATH: Duration = Duration::from_millis(20);
/// Sockets accepted before newcomers' words are looked after again.
const BATCH: usize = 256;

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);

const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    Retry-After: 2\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 51\r\n\r\n\
    This server has no room for another connection now.";

/// What sockets get; inherited from the listener.
#[derive(Debug, Clone, Copy)]
pub struct SocketOptions {
    /// `SO_SNDBUF`: a bound on what the kernel holds for one connection. The kernel doubles it for its own needs.
    pub send_buffer_bytes: usize,
    /// `TCP_NOTSENT_LOWAT`: what is above it waits in our outbox, where it can still be overtaken.
    pub unsent_bytes: u32,
    /// `TCP_USER_TIMEOUT`: what is sent and not acknowledged for so long ends the connection. A peer that vanished
    /// is found by pings too, but they need a turn of the pulse; and one whose kernel is full acknowledges probes for ever.
    pub unacknowledged_max: Duration,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            send_buffer_bytes: 256 << 10,
            unsent_bytes: 32 << 10,
            unacknowledged_max: Duration::from_secs(50),
        }
    }
}

/// Binds and listens.
pub fn listen(addr: SocketAddr, options: SocketOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(addr),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(options.send_buffer_bytes)?;
    socket.set_tcp_notsent_lowat(options.unsent_bytes)?;
    socket.set_tcp_user_timeout(Some(options.unacknowledged_max))?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Raises the limit of open descriptors as far as it may; returns what it got.
pub fn raise_descriptor_limit() -> u64 {
    let before = getrlimit(Resource::Nofile);
    // A process that may (root, CAP_SYS_RESOURCE) raises the hard limit too.
    let wanted = 1 << 20;
    let steps = [before.maximum.map(|hard| hard.max(wanted)), before.maximum];
    for limit in steps.into_iter().flatten() {
        let raised = Rlimit {
            current: Some(limit),
            maximum: Some(limit.max(before.maximum.unwrap_or(limit))),
        };
        if before.maximum.is_some_and(|hard| limit > hard) && limit > system_descriptor_limit() {
            continue;
        }
        if setrlimit(Resource::Nofile, raised).is_ok() {
            break;
        }
    }
    getrlimit(Resource::Nofile).current.unwrap_or(wanted)
}

/// Above it the kernel takes no limit, not even from root.
fn system_descriptor_limit() -> u64 {
    let text = std::fs::read_to_string("/proc/sys/fs/nr_open").unwrap_or_default();
    text.trim().parse().unwrap_or(u64::MAX)
}

/// How many connections fit into `descriptors`, leaving some for the engine's files, the
/// back office's connections and the acceptor's own needs.
pub fn connections_that_fit(descriptors: u64) -> usize {
    let reserve = (descriptors / 25).clamp(64, 1_000).min(descriptors / 2);
    (descriptors - reserve) as usize
}

/// A socket on its way to a shard.
pub(crate) struct Newcomer {
    pub(crate) socket: TcpStream,
    /// Where it comes from, if anything depends on it.
    pub(crate) guest: Option<Box<Guest>>,
}

/// What depends on where connections come from.
pub(crate) struct Addresses {
    pub(crate) crowd: Arc<Crowd>,
    /// How often each may connect.
    pub(crate) rate: Option<Buckets<Address>>,
    /// Shards ask for it.
    pub(crate) are_limited: bool,
    /// `Moment(0)`.
    pub(crate) started: Instant,
}

impl Addresses {
    pub(crate) fn new(config: &Config, crowd: Arc<Crowd>, started: Instant) -> Self {
        let Admission { rates, keys_max, .. } = &config.admission;
        Self {
            rate: (rates.address_handshakes)
                .map(|rate| Buckets::new(rate, *keys_max, rand::random(), Moment(0))),
            are_limited: crowd.counts() || rates.address_publishes.is_some(),
            crowd,
            started,
        }
    }

    /// Lets one in, or says why not.
    fn admit(&mut self, ip: IpAddr) -> Result<Option<Box<Guest>>, Refusal> {
        let address = address_of(ip);
        if let Some(rate) = &mut self.rate {
            let now = Moment(self.started.elapsed().as_nanos() as u64);
            let taken = rate.try_take(&address, now, 1);
            taken.map_err(|_| Refusal::AddressRate)?;
        }
        if !self.are_limited {
            return Ok(None);
        }
        let place = self.crowd.enter(address).map_err(|Full| Refusal::AddressMax)?;
        let place = Some(place);
        Ok(Some(Box::new(Guest { address, place })))
    }
}

/// One shard's door.
pub(crate) struct Intake {
    /// New sockets.
    pub sockets: Sender<Newcomer>,
    /// Wakes the shard.
    pub bell: Arc<Bell>,
    /// Sockets the shard has or will get; it counts down.
    pub load: Arc<AtomicUsize>,
}

/// A running acceptor.
pub struct Acceptor {
    stop: Arc<AtomicBool>,
    waker: Arc<mio::Waker>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Acceptor {
    /// Starts to accept from `listener`.
    pub(crate) fn start(
        mut listener: TcpListener,
        intakes: Vec<Intake>,
        connections_max: usize,
        addresses: Addresses,
        counters: Arc<AcceptCounters>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Arc::new(mio::Waker::new(poll.registry(), WAKER)?);
        let stop = Arc::new(AtomicBool::new(false));
        let mut work = Work {
            listener,
            intakes,
            connections_max,
            addresses,
            counters,
            reserve: open_reserve(),
            doorstep: VecDeque::new(),
            is_full: false,
        };
        let stopped = stop.clone();
        let thread = thread::Builder::new()
            .name("acceptor".to_owned())
            .spawn(move || work.run(poll, &stopped))?;
        Ok(Self {
            stop,
            waker,
            thread: Some(thread),
        })
    }

    /// Accepts no more; the port is free afterwards.
    pub fn stop(&mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        self.stop.store(true, Ordering::SeqCst);
        if let Err(error) = self.waker.wake() {
            warn!(%error, "the acceptor cannot be woken");
        }
        let _ = thread.join();
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.end();
    }
}

struct Work {
    listener: TcpListener,
    intakes: Vec<Intake>,
    connections_max: usize,
    addresses: Addresses,
    counters: Arc<AcceptCounters>,
    /// Given up for a moment to accept, and refuse, when descriptors have run out.
    reserve: Option<File>,
    /// Refused sockets that may still read why.
    doorstep: VecDeque<(TcpStream, Instant)>,
    /// Said once, until there is room again.
    is_full: bool,
}

/// What became of one try to accept.
enum Accepted {
    One,
    /// The kernel's queue is empty.
    None,
    /// Not now: come back in a moment.
    Later,
}

impl Work {
    fn run(&mut self, mut poll: Poll, stop: &AtomicBool) {
        let mut events = Events::with_capacity(8);
        let mut again = None;
        while !stop.load(Ordering::SeqCst) {
            let timeout = match again {
                Some(pause) => Some(pause),
                None if self.doorstep.is_empty() => None,
                None => Some(DOORSTEP_TIME / 8),
            };
            if let Err(error) = poll.poll(&mut events, timeout)
                && error.kind() != ErrorKind::Interrupted
            {
                warn!(%error, "the acceptor cannot wait for connections");
                thread::sleep(BREATH);
            }
            again = self.accept_batch();
            self.count_buckets();
            self.sweep_doorstep();
        }
        // Who waits in the kernel's queue has connected: a shard says in words that it is too late.
        for _ in 0..BACKLOG as usize / BATCH {
            if self.accept_batch().is_none() {
                break;
            }
        }
    }

    fn count_buckets(&self) {
        let mut table = Table::default();
        table.add(self.addresses.rate.as_ref());
        let counts = [table.buckets, table.evicted_total, table.overflowed_total];
        for (shared, count) in self.counters.buckets.iter().zip(counts) {
            shared.store(count, Ordering::Relaxed);
        }
    }

    /// Accepts what waits; says when to come back, if there may be more.
    fn accept_batch(&mut self) -> Option<Duration> {
        let mut rung = 0u64;
        let mut result = Some(Duration::ZERO);
        for _ in 0..BATCH {
            match self.accept(&mut rung) {
                Accepted::One => {}
                Accepted::None => {
                    result = None;
                    break;
                }
                Accepted::Later => {
                    result = Some(BREATH);
                    break;
                }
            }
        }
        // One wake-up for a whole batch.
        for (index, intake) in self.intakes.iter().enumerate() {
            if rung & 1 << (index % 64) != 0 {
                intake.bell.ring();
            }
        }
        result
    }

    fn accept(&mut self, rung: &mut u64) -> Accepted {
        match self.listener.accept() {
            Ok((socket, peer)) => {
                self.counters.accepted_total.fetch_add(1, Ordering::Relaxed);
                match self.addresses.admit(peer.ip()) {
                    Ok(guest) => self.place(Newcomer { socket, guest }, rung),
                    Err(refusal) => self.refuse(socket, refusal),
                }
                Accepted::One
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Accepted::None,
            Err(error) if is_out_of_descriptors(&error) => self.refuse_with_reserve(&error),
            // The peer gave up while it waited, or a signal came.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                ) =>
            {
                Accepted::One
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                Accepted::Later
            }
        }
    }

    /// Hands a socket to the least loaded shard that has room.
    fn place(&mut self, mut newcomer: Newcomer, rung: &mut u64) {
        let load = |intake: &Intake| intake.load.load(Ordering::Relaxed);
        let total: usize = self.intakes.iter().map(load).sum();
        if total >= self.connections_max {
            if !self.is_full {
                warn!(
                    connections_max = self.connections_max,
                    "no room for more connections, refusing"
                );
            }
            self.is_full = true;
            return self.refuse(newcomer.socket, Refusal::ConnectionsMax);
        }
        if self.is_full && total < self.connections_max - self.connections_max / 16 {
            info!(connections = total, "room for connections again");
            self.is_full = false;
        }
        let Some(least) = (0..self.intakes.len()).min_by_key(|index| load(&self.intakes[*index])) else {
            return self.refuse(newcomer.socket, Refusal::ShardsBusy);
        };
        for step in 0..self.intakes.len() {
            let index = (least + step) % self.intakes.len();
            let intake = &self.intakes[index];
            intake.load.fetch_add(1, Ordering::Relaxed);
            match intake.sockets.try_send(newcomer) {
                Ok(()) => {
                    *rung |= 1 << (index % 64);
                    return;
                }
                Err(TrySendError::Full(back) | TrySendError::Disconnected(back)) => {
                    intake.load.fetch_sub(1, Ordering::Relaxed);
                    // Its owner must know that it has work.
                    intake.bell.ring();
                    newcomer = back;
                }
            }
        }
        self.refuse(newcomer.socket, Refusal::ShardsBusy);
    }

    fn refuse(&mut self, socket: TcpStream, refusal: Refusal) {
        self.counters.refuse(refusal);
        debug!(reason = refusal.name(), "refused a connection");
        say_busy(&socket);
        if self.doorstep.len() == DOORSTEP_MAX {
            self.doorstep.pop_front();
        }
        self.doorstep.push_back((socket, Instant::now() + DOORSTEP_TIME));
    }

    /// No descriptor is left: what stands on the doorstep goes, and the reserve is lent for
    /// one refusal. Otherwise the kernel's queue would stay full and we would spin on it.
    fn refuse_with_reserve(&mut self, error: &io::Error) -> Accepted {
        if !self.is_full {
            warn!(%error, "out of descriptors, refusing connections");
        }
        self.is_full = true;
        self.doorstep.clear();
        if self.reserve.take().is_none() {
            self.reserve = open_reserve();
            return Accepted::Later;
        }
        let accepted = self.listener.accept();
        let result = match &accepted {
            Ok((socket, _)) => {
                self.counters.accepted_total.fetch_add(1, Ordering::Relaxed);
                self.counters.refuse(Refusal::Descriptors);
                say_busy(socket);
                Accepted::One
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Accepted::None,
            Err(_) => Accepted::Later,
        };
        drop(accepted);
        self.reserve = open_reserve();
        result
    }

    /// Reads what the refused still send, so that closing does not take our words from them.
    fn sweep_doorstep(&mut self) {
        let now = Instant::now();
        self.doorstep
            .retain_mut(|(socket, until)| now < *until && is_still_talking(socket));
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

fn open_reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

/// A new socket's buffer is empty, so these words fit or the peer is gone.
fn say_busy(mut socket: &TcpStream) {
    let _ = socket.write(BUSY);
    let _ = is_still_talking(socket);
    let _ = socket.shutdown(Shutdown::Write);
}

/// Throws away a little of what waits; false once the peer has ended.
fn is_still_talking(mut socket: &TcpStream) -> bool {
    let mut scratch = [0; 4096];
    for _ in 0..4 {
        match socket.read(&mut scratch) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;

    use super::*;

    #[test]
    fn the_words_of_refusal_are_as_long_as_they_say() {
        let text = std::str::from_utf8(BUSY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("Content-Length: {}", body.len())),
            "{}",
            body.len()
        );
    }

    #[test]
    fn an_accepted_socket_inherits_the_options_of_its_listener() {
        let options = SocketOptions {
            send_buffer_bytes: 64 << 10,
            unsent_bytes: 16 << 10,
            unacknowledged_max: Duration::from_secs(7),
        };
        let listener = listen("127.0.0.1:0".parse().unwrap(), options).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        let socket = SockRef::from(&socket);
        assert!(socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), 16 << 10);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(7)));
        assert_eq!(socket.send_buffer_size().unwrap(), 2 * (64 << 10));
    }

    #[test]
    fn a_share_of_the_descriptors_is_kept_back() {
        assert_eq!(connections_that_fit(20_000), 19_200);
        assert_eq!(connections_that_fit(1_048_576), 1_047_576);
        assert_eq!(connections_that_fit(256), 192);
        assert_eq!(connections_that_fit(10), 5);
    }
}

//! One shard's thread: the only place that holds both a `Shard` and sockets.
//!
//! A turn takes what has come, lets the shard think, and writes what came of it:
//!
//! ```text
//!   poll ─► newcomers ─► commands ─► reads ─► tokens ─► events ─► timeouts ─► requests
//!     ▲                                                                           │
//!     └──────────── farewells ◄── one write per dirty outbox ◄── a slice of fan-out
//! ```
//!
//! Everything in it is bounded, so that no input can keep the others waiting: what is
//! left over goes on next turn, and while something is left over the thread does not sleep.
//! `door` is how a socket becomes a session, `talk` what is said over it, `parting` how it ends.

mod door;
mod parting;
mod talk;

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, TryRecvError};
use mio::{Events, Poll, Token, event};
use rustls::ServerConfig;
use slab::Slab;
use tidegate_core::{
    Admission, ConnId, Limits, Moment, Policies, Policy, Shard, WallClock,
    request::{Event, Request},
    shard::Setup,
};
use tidegate_engine::{Bell, Port};
use tidegate_wire::ws::reader::Inflater;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::{
    acceptor::Newcomer,
    config::EdgeLimits,
    control::{HandedOver, ShardCommand, ShardCounters},
    edge::{
        EdgeCounters, HandshakeFailure,
        authority::{Authority, AuthorityParts},
        connection::Connection,
        gate::HandshakeGate,
        handshake::{Door, RETRY_AFTER},
        memory::Memory,
        pulse::Pulse,
        queue::{Queue, Slot},
        transport::Buffers,
    },
};

/// Wakes the poll.
pub(crate) const WAKER: Token = Token(usize::MAX);
/// Readiness taken at once; the rest is taken by the next poll.
const EVENTS_MAX: usize = 1024;
/// New sockets taken in one turn.
const NEWCOMERS_MAX: usize = 256;
/// Commands of the back office in one turn.
const COMMANDS_PER_TURN: usize = 32;
/// Events of the engine in one turn.
const ENGINE_EVENTS_MAX: usize = 2048;
/// How soon to try again when the engine takes no more requests.
const ENGINE_PAUSE: Duration = Duration::from_millis(1);
/// A turn's share of fan-out: other rooms' publications wait no longer than this.
const SLICE_TIME: Duration = Duration::from_micros(500);
/// A turn's share of the engine's events: what is left goes on next turn, after a slice of fan-out. Replays are what can
/// make them long.
const EVENTS_TIME: Duration = Duration::from_micros(500);
/// And of reads: more, because what is not read waits unseen in the kernel, and a refusal should come at once. TLS handshakes
/// are what can make them long.
const READS_TIME: Duration = Duration::from_millis(5);
/// How often a shard is told how memory stands.
const PRESSURE_INTERVAL: Duration = Duration::from_millis(100);
/// How long a connection that ends may still take its last words, and say its own.
const FAREWELL_TIME: Duration = Duration::from_secs(2);

/// Sockets of one shard that were told goodbye and have not gone yet; beyond it the oldest is cut off.
const FAREWELLS_MAX: usize = 4096;

/// All that a driver is made of; it is put together in its own thread.
pub(crate) struct Parts {
    pub(crate) index: u16,
    pub(crate) poll: Poll,
    pub(crate) bell: Arc<Bell>,
    pub(crate) policies: Vec<Policy>,
    pub(crate) limits: Limits,
    pub(crate) admission: Admission,
    pub(crate) edge: EdgeLimits,
    pub(crate) wall: WallClock,
    pub(crate) started: Instant,
    pub(crate) seed: u64,
    pub(crate) port: Port,
    pub(crate) intake: Receiver<Newcomer>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) commands: Receiver<ShardCommand>,
    /// Sockets this shard has or will get; the acceptor counts up.
    pub(crate) load: Arc<AtomicUsize>,
    pub(crate) door: Arc<Door>,
    pub(crate) tls: Option<Arc<ArcSwap<ServerConfig>>>,
    pub(crate) authority: AuthorityParts,
    pub(crate) back_office: mpsc::Sender<HandedOver>,
}

/// See the module.
pub(crate) struct Driver {
    poll: Poll,
    bell: Arc<Bell>,
    started: Instant,
    now: Moment,
    shard: Shard,

    connections: Slab<Connection>,
    /// The place in `connections` of each session, by the session's index.
    places: Vec<u32>,
    generation: u32,
    load: Arc<AtomicUsize>,
    half_open: Queue,
    farewells: Queue,
    pulse: Pulse,
    /// Connections to be read: the kernel may hold more of them than was taken.
    ready: Vec<Slot>,

    port: Port,
    /// Taken from the engine while looking whether there is anything to take.
    early: Option<Event>,
    /// The engine took no more: this one goes first.
    stuck: Option<Request>,
    intake: Receiver<Newcomer>,
    gate: HandshakeGate,
    memory: Arc<Memory>,
    /// When to tell the shard how memory stands.
    pressure_due: Moment,
    commands: Receiver<ShardCommand>,
    /// Something was left over: do not sleep.
    has_leftovers: bool,
    /// Visits of one slice of fan-out.
    slice: SliceSize,
    /// Held while sessions are being sent away; whoever ordered it waits until it is dropped.
    gone: Option<Sender<Infallible>>,
    /// When who is refused for that may come back.
    retry_after: Duration,
    /// Set when the shard ends.
    until: Option<Instant>,

    door: Arc<Door>,
    tls: Option<Arc<ArcSwap<ServerConfig>>>,
    inflater: Inflater,
    authority: Authority,
    /// Tokens whose keys are being fetched.
    unverified: VecDeque<(ConnId, String)>,
    /// When to try these again, should nobody say that keys have come.
    keys_due: Moment,
    back_office: mpsc::Sender<HandedOver>,
    edge_limits: EdgeLimits,
    counters: EdgeCounters,
}

impl Driver {
    /// Puts a driver together.
    pub(crate) fn new(parts: Parts) -> Self {
        let now = Moment(parts.started.elapsed().as_nanos() as u64);
        let gate = HandshakeGate::new(&parts.admission.handshakes, parts.seed.rotate_left(31), now);
        let limits = &parts.limits;
        let pulse = Pulse::new(limits.ping_interval, now);
        let setup = Setup {
            index: parts.index,
            policies: Policies::new(parts.policies),
            limits: parts.limits,
            admission: parts.admission,
            wall: parts.wall,
            seed: parts.seed,
        };
        Self {
            poll: parts.poll,
            bell: parts.bell,
            started: parts.started,
            now,
            shard: Shard::new(setup),
            connections: Slab::new(),
            places: Vec::new(),
            generation: 0,
            load: parts.load,
            half_open: Queue::new(parts.edge.handshake_timeout),
            farewells: Queue::new(FAREWELL_TIME),
            pulse,
            ready: Vec::new(),
            port: parts.port,
            early: None,
            stuck: None,
            intake: parts.intake,
            gate,
            memory: parts.memory,
            pressure_due: Moment(0),
            commands: parts.commands,
            has_leftovers: false,
            slice: SliceSize::default(),
            gone: None,
            retry_after: RETRY_AFTER,
            until: None,
            door: parts.door,
            tls: parts.tls,
            inflater: Inflater::default(),
            authority: parts.authority.assemble(),
            unverified: VecDeque::new(),
            keys_due: Moment(0),
            back_office: parts.back_office,
            edge_limits: parts.edge,
            counters: EdgeCounters::default(),
        }
    }

    /// Turns until it is told to end.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut buffers = Buffers::new();
        while !self.has_ended() {
            let timeout = self.sleep_time();
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != std::io::ErrorKind::Interrupted
            {
                // There is nothing to be done about it, but spinning on it would be worse.
                warn!(%error, "the shard cannot wait for its sockets");
                std::thread::sleep(ENGINE_PAUSE);
            }
            self.bell.disarm();
            self.tick();
            let begun = self.now;
            self.turn(&events, &mut buffers);
            self.tick();
            self.counters.turns_total += 1;
            let turn_us = self.now.since(begun).as_micros() as u64;
            self.counters.turn_us.saturating_record(turn_us.max(1));
        }
    }

    fn turn(&mut self, events: &Events, buffers: &mut Buffers) {
        self.has_leftovers = false;
        for event in events {
            self.on_readiness(event);
        }
        self.take_newcomers();
        self.take_commands();
        self.read_ready(buffers);
        self.verify();
        self.take_events();
        self.shard.handle_timeout(self.now);
        self.press();
        self.end_overdue();
        self.move_pulse();
        self.submit();
        self.fan_out_and_flush();
        self.part_with_closing();
        if self.gone.is_some() && self.shard.waiting().sessions == 0 {
            self.gone = None;
        }
    }

    /// Tells the shard how memory stands, a few times a second, so that it sheds or stops to.
    fn press(&mut self) {
        if self.now >= self.pressure_due {
            self.pressure_due = self.now + PRESSURE_INTERVAL;
            self.shard.handle_pressure(self.memory.pressure(), self.now);
        }
    }

    fn tick(&mut self) {
        self.now = Moment(self.started.elapsed().as_nanos() as u64);
    }

    /// How long the next poll may take. The bell is armed before the channels are looked
    /// at for the last time: who sends after that look rings.
    fn sleep_time(&mut self) -> Option<Duration> {
        if self.has_leftovers || !self.ready.is_empty() || self.shard.has_fan_out() {
            return Some(Duration::ZERO);
        }
        self.bell.arm();
        if !self.intake.is_empty() || !self.commands.is_empty() {
            return Some(Duration::ZERO);
        }
        if self.early.is_none() && self.shard.wants_events() {
            self.early = self.port.try_event();
        }
        if self.early.is_some() {
            return Some(Duration::ZERO);
        }
        let pause = self.stuck.is_some().then(|| self.now + ENGINE_PAUSE);
        let pulse = (!self.connections.is_empty()).then(|| self.pulse.deadline());
        let keys = (!self.unverified.is_empty()).then_some(self.keys_due);
        let until = self
            .until
            .map(|until| self.now + until.saturating_duration_since(Instant::now()));
        let pressure = self.shard.is_shedding().then_some(self.pressure_due);
        let deadlines = [
            pressure,
            self.shard.deadline(),
            self.half_open.deadline(),
            self.farewells.deadline(),
            pulse,
            pause,
            keys,
            until,
        ];
        let deadline = deadlines.into_iter().flatten().min()?;
        Some(deadline.since(self.now))
    }

    fn on_readiness(&mut self, event: &event::Event) {
        let Token(index) = event.token();
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let slot = Slot {
            index: index as u32,
            generation: connection.generation,
        };
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            connection.flags.has_ended |= event.is_read_closed() || event.is_error();
            if !std::mem::replace(&mut connection.flags.is_ready, true) {
                self.ready.push(slot);
            }
        }
        if event.is_writable() && std::mem::take(&mut connection.flags.is_blocked) {
            let most = self.edge_limits.unsent_bytes;
            let unsent = connection.unsent.handle_room(most, talk::to_ms(self.now));
            connection.hold_unsent(unsent);
            self.write(slot);
        }
    }

    fn take_commands(&mut self) {
        for _ in 0..COMMANDS_PER_TURN {
            match self.commands.try_recv() {
                Ok(command) => self.on_command(command),
                Err(TryRecvError::Empty) => return,
                // The server was dropped without a word: nobody could end this thread any more.
                Err(TryRecvError::Disconnected) if self.until.is_none() => self.on_shut_down(Instant::now()),
                Err(TryRecvError::Disconnected) => return,
            }
        }
        self.has_leftovers = true;
    }

    /// Whoever asked may have given up: then the answer goes nowhere.
    fn on_command(&mut self, command: ShardCommand) {
        match command {
            ShardCommand::Disconnect { user, reply } => {
                let _ = reply.send(self.shard.disconnect(user.as_bytes(), self.now));
            }
            ShardCommand::Rooms {
                prefix,
                after,
                order,
                limit,
                reply,
            } => {
                let _ = reply.send(self.shard.rooms(&prefix, &after, order, limit, self.now));
            }
            ShardCommand::Counters { reply } => {
                let mut edge = self.counters.clone();
                edge.handshakes = self.gate.counters();
                let core = self.shard.counters().clone();
                let gate = self.shard.gate_counters();
                let _ = reply.send(Box::new(ShardCounters { core, gate, edge }));
            }
            ShardCommand::KeysRefreshed => self.verify_again(),
            ShardCommand::Drain {
                come_back,
                pacing,
                gone,
            } => {
                let slots = self.shard.drain(come_back, pacing, self.now);
                self.retry_after = self.retry_after.max(slots.window);
                self.gone = Some(gone);
            }
            ShardCommand::Rebalance {
                percent,
                pacing,
                reply,
            } => {
                let _ = reply.send(self.shard.rebalance(percent, pacing, self.now));
            }
            ShardCommand::ShutDown { until } => self.on_shut_down(until),
        }
    }

    fn take_events(&mut self) {
        let mut share = Share::of(EVENTS_TIME);
        for _ in 0..ENGINE_EVENTS_MAX {
            if !self.shard.wants_events() {
                return;
            }
            if share.is_spent() {
                break;
            }
            let Some(event) = self.early.take().or_else(|| self.port.try_event()) else {
                return;
            };
            self.shard.handle_event(event, self.now);
        }
        self.has_leftovers = true;
    }

    fn submit(&mut self) {
        while let Some(request) = self.stuck.take().or_else(|| self.shard.poll_request()) {
            if let Err(request) = self.port.try_push(request) {
                self.stuck = Some(request);
                break;
            }
        }
        // Once, after the last: woken by the first, the engine would make a group of each.
        self.port.ring();
    }

    /// One slice of fan-out, and one write for each outbox that got something.
    fn fan_out_and_flush(&mut self) {
        let begun = Instant::now();
        let visited = match self.shard.has_fan_out() {
            true => self.shard.fan_out(self.slice.visits(), self.now),
            false => 0,
        };
        while let Some(conn) = self.shard.poll_dirty() {
            if let Some(slot) = self.slot_of(conn) {
                self.write(slot);
            }
        }
        if self.slice.learn(visited, begun.elapsed()) {
            self.shard.learn_visit_cost(self.slice.visit_ns as u32);
        }
    }

    /// Finds the socket of a session.
    fn slot_of(&self, conn: ConnId) -> Option<Slot> {
        let index = *self.places.get(conn.index as usize)?;
        let connection = self.connections.get(index as usize)?;
        let is_it = connection.session() == Some(conn);
        is_it.then_some(Slot {
            index,
            generation: connection.generation,
        })
    }

    /// Finds the socket of a slot, if that is still the same.
    fn connection(&mut self, slot: Slot) -> Option<&mut Connection> {
        let connection = self.connections.get_mut(slot.index as usize)?;
        (connection.generation == slot.generation).then_some(connection)
    }

    fn on_shut_down(&mut self, until: Instant) {
        self.until = Some(until);
        self.shard.shut_down(self.now);
        while let Some(slot) = self.half_open.pop() {
            if self.is_half_open(slot) {
                self.turn_away(slot, HandshakeFailure::Draining);
            }
        }
        debug!(sockets = self.connections.len(), "the shard says goodbye");
    }

    /// Whether all said goodbye, or the time is over.
    fn has_ended(&self) -> bool {
        self.until
            .is_some_and(|until| self.connections.is_empty() || Instant::now() >= until)
    }

    fn count_sockets(&mut self) {
        self.counters.sockets = self.connections.len() as u64;
    }

    fn leave_load(&self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is left of a step's time.
struct Share {
    begun: Instant,
    time: Duration,
    asked: u32,
}

impl Share {
    fn of(time: Duration) -> Self {
        Self {
            begun: Instant::now(),
            time,
            asked: 0,
        }
    }

    /// Asked before each piece of work; looks at the clock now and then.
    fn is_spent(&mut self) -> bool {
        self.asked += 1;
        self.asked.is_multiple_of(4) && self.begun.elapsed() > self.time
    }
}

/// How many subscribers a slice of fan-out visits, so that with its writes it takes about [`SLICE_TIME`].
#[derive(Debug)]
struct SliceSize {
    /// Moving average of a visit's cost.
    visit_ns: u64,
}

impl Default for SliceSize {
    fn default() -> Self {
        Self {
            visit_ns: SLICE_TIME.as_nanos() as u64 / 128,
        }
    }
}

impl SliceSize {
    fn visits(&self) -> usize {
        (SLICE_TIME.as_nanos() as u64 / self.visit_ns.max(1)).clamp(32, 1024) as usize
    }

    /// Says whether it learned something.
    fn learn(&mut self, visited: usize, elapsed: Duration) -> bool {
        // A few visits say little: what else was written in that turn would count as theirs.
        let is_telling = visited >= 32;
        if is_telling {
            let visit_ns = elapsed.as_nanos() as u64 / visited as u64;
            self.visit_ns = (self.visit_ns * 7 + visit_ns) / 8;
        }
        is_telling
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_takes_about_its_time() {
        let mut slice = SliceSize::default();
        assert_eq!(slice.visits(), 128);
        for _ in 0..64 {
            slice.learn(slice.visits(), Duration::from_micros(4) * slice.visits() as u32);
        }
        assert!((120..=130).contains(&slice.visits()), "{}", slice.visits());
        for _ in 0..64 {
            slice.learn(100, Duration::from_secs(1));
        }
        assert_eq!(slice.visits(), 32);
        for _ in 0..128 {
            slice.learn(1000, Duration::ZERO);
        }
        assert_eq!(slice.visits(), 1024);
    }
}

//! One shard: its sessions, its rooms, what they ask of the engine and what waits
//! in their outboxes. This file is its face and its sessions; what happens to a
//! command, a join and an event, and to the table of rooms, is told in the files of those names.
//!
//! ```text
//!   handle_message ─► command ─► join ─┐             ┌─► poll_request ─► engine
//!   handle_event   ─► event ───────────┴─► tables ───┤
//!   handle_timeout ─► timers ──────────┘             └─► fan_out ─► poll_dirty ─► socket
//! ```

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    io::IoSlice,
    time::Duration,
};

use bytes::Bytes;
use foldhash::{
    SharedSeed,
    fast::{FixedState, SeedableRandomState},
};
use hashbrown::HashMap;
use slab::Slab;
use tidegate_wire::{
    CloseReason, Codec, Reject, RejectCode, RoomName,
    codec::BadCommand,
    frame::{self, Notice, Ok as Reply, Push},
    ws,
};

use crate::{
    Admission, Counters, GateCounters, Limits, Moment, Policies, WallClock,
    admission::Permit,
    drain::Drain,
    encoder::Encoder,
    gate::Gate,
    grant::Claims,
    join::PendingJoin,
    outbox::{Lane, Pile},
    request::{Address, Event, Exit, Request, SessionKey, Ticket},
    room::{Attach, Room, RoomId},
    session::{Session, Stage},
};

/// One connection of one shard. Indices are dense and reused; the generation tells reuses apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    /// Place in the shard's table of sessions: small, dense, reused.
    pub index: u32,
    /// Which use of that place.
    pub generation: u32,
}

impl ConnId {
    /// Returns it as the engine names it.
    pub fn key(self) -> SessionKey {
        SessionKey(u64::from(self.generation) << 32 | u64::from(self.index))
    }
}

/// What the edge negotiated for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// How frames are written.
    pub codec: Codec,
    /// permessage-deflate was agreed on.
    pub deflate: bool,
}

/// What a shard is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Which shard this is, from 0.
    pub index: u16,
    /// Every namespace.
    pub policies: Policies,
    /// Every bound.
    pub limits: Limits,
    /// Who is let in when there is more than can be served.
    pub admission: Admission,
    /// For stamps and pongs.
    pub wall: WallClock,
    /// For made-up names: different at every start.
    pub seed: u64,
}

/// What is held and what waits in a shard now, each under a bound of [`Limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Sessions, those that close included.
    pub sessions: usize,
    /// Requests for the engine.
    pub requests: usize,
    /// Requests whose answer has not come.
    pub tickets: usize,
    /// Pieces in all outboxes.
    pub frames: usize,
    /// Bytes of all feeds.
    pub feeds_bytes: usize,
    /// Bytes of them that are still to be fanned out.
    pub pending_bytes: usize,
}

/// A joined room, as an operator sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct RoomState {
    /// Its name.
    pub name: RoomName,
    /// Its subscribers on this shard.
    pub subscribers: u32,
    /// The share of this shard's time that its fan-out asks for: 1 is all of it, more is too much.
    pub share: f32,
    /// Above its policy's share.
    pub is_hot: bool,
}

/// How rooms are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoomOrder {
    /// By name.
    Name,
    /// Those that ask for the most of the shard's time first.
    Share,
}

/// A request that waits for the engine's answer.
#[derive(Debug)]
pub(crate) enum Pending {
    Publish {
        conn: ConnId,
        id: u32,
        /// Where it is fanned out on this shard, if anywhere.
        room: Option<RoomId>,
    },
    History {
        conn: ConnId,
        id: u32,
    },
    Presence {
        conn: ConnId,
        id: u32,
    },
    Replay {
        room: RoomId,
        join: Box<PendingJoin>,
    },
    State {
        room: RoomId,
        number: u64,
    },
}

#[derive(Debug)]
pub(crate) struct Ticketed {
    pub(crate) pending: Pending,
    /// Its place, where places are limited.
    pub(crate) permit: Option<Permit>,
}

/// What is to happen at a moment, unless it is of no more use then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// `connect` did not come.
    Connect(ConnId),
    /// No answer came.
    Request(Ticket),
    /// The room has been empty long enough, if this is still the same emptiness.
    Linger(RoomId, u32),
    /// Attach again.
    Attach(RoomId),
    /// The room has rested: its next walk may begin.
    Walk(RoomId),
    /// A subscriber's `max_rate` lets it have its next batch.
    Rate(ConnId, RoomId),
    /// Those who wait for a place have waited long enough.
    Lines,
    /// The room was hot: is it still?
    Heat(RoomId),
    /// Ask for a new token, if this is still the expiry.
    Refresh(ConnId, Moment),
    /// Close, if this is still the expiry.
    Expire(ConnId, Moment),
    /// Tell some more of those who are sent away.
    Drain,
    /// A session that was sent away is to come back elsewhere.
    Slot(ConnId),
}

/// See the module.
pub struct Shard {
    pub(crate) setup: Setup,
    pub(crate) sessions: Slab<Session>,
    pub(crate) rooms: Slab<Room>,
    pub(crate) rooms_by_name: HashMap<RoomName, RoomId, SeedableRandomState>,
    pub(crate) pending: HashMap<Ticket, Ticketed, FixedState>,
    pub(crate) pile: Pile,
    pub(crate) encoder: Encoder,
    pub(crate) counters: Counters,
    pub(crate) gate: Gate,

    /// For the engine, in order.
    pub(crate) requests: VecDeque<Request>,
    /// Tokens to verify.
    pub(crate) verify: VecDeque<(ConnId, String)>,
    /// Rooms whose walk has not begun: they go before the next slice of a long one.
    pub(crate) fresh: VecDeque<RoomId>,
    /// Rooms whose walk is under way, in the order of their turns.
    pub(crate) ready: VecDeque<RoomId>,
    /// Sessions that were behind, and whose outbox is clear.
    pub(crate) catching_up: VecDeque<u32>,
    pub(crate) dirty: Vec<u32>,
    closing: Vec<ConnId>,
    pub(crate) drain: Drain,
    timers: BinaryHeap<Reverse<(Moment, Timer)>>,

    pub(crate) decoded: Vec<Result<frame::Request, BadCommand>>,
    pub(crate) too_slow: Vec<u32>,
    pub(crate) early: Vec<(u32, RoomId, Moment)>,
    generation: u32,
    ticket: u64,
    pub(crate) nonce: u64,
    /// Times that a room's state was begun to be read.
    pub(crate) state_loads: u64,
    /// Bytes of all feeds, and of what of them is still to be fanned out.
    pub(crate) feeds_bytes: usize,
    pub(crate) pending_bytes: usize,
    /// What a visit costs, nanoseconds.
    pub(crate) visit_ns: u32,
    /// Where the search for feeds to trim goes on.
    pub(crate) trim_at: usize,
    /// And the search for idle rooms.
    pub(crate) look_at: usize,
}

/// What a visit costs until it was measured.
const VISIT_NS: u32 = 5_000;
/// The face towards the driver: inputs.
impl Shard {
    /// Makes an empty shard.
    pub fn new(setup: Setup) -> Self {
        // Names come from outside: the seed keeps their collisions from being chosen.
        let hasher = SeedableRandomState::with_seed(setup.seed, SharedSeed::global_fixed());
        let timeout = setup.limits.request_timeout;
        let gate = Gate::new(&setup.admission, &setup.policies, timeout, setup.seed);
        Self {
            setup,
            sessions: Slab::new(),
            rooms: Slab::new(),
            rooms_by_name: HashMap::with_hasher(hasher),
            pending: HashMap::default(),
            pile: Pile::default(),
            encoder: Encoder::default(),
            counters: Counters::default(),
            gate,
            requests: VecDeque::new(),
            verify: VecDeque::new(),
            fresh: VecDeque::new(),
            ready: VecDeque::new(),
            catching_up: VecDeque::new(),
            dirty: Vec::new(),
            closing: Vec::new(),
            drain: Drain::default(),
            timers: BinaryHeap::new(),
            decoded: Vec::new(),
            too_slow: Vec::new(),
            early: Vec::new(),
            generation: 0,
            ticket: 0,
            nonce: 0,
            state_loads: 0,
            feeds_bytes: 0,
            pending_bytes: 0,
            visit_ns: VISIT_NS,
            trim_at: 0,
            look_at: 0,
        }
    }

    /// A WebSocket was opened, from nowhere in particular; as [`Self::handle_open_from`].
    pub fn handle_open(&mut self, link: Link, now: Moment) -> Option<ConnId> {
        self.handle_open_from(link, Address::default(), now)
    }

    /// A WebSocket was opened; none when `sessions_max` is reached, or all are being sent away.
    pub fn handle_open_from(&mut self, link: Link, address: Address, now: Moment) -> Option<ConnId> {
        if self.sessions.len() >= self.setup.limits.sessions_max || self.is_draining() {
            return None;
        }
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let mut session = Session::new(generation, link);
        session.toll = self.gate.toll(address, now);
        let index = self.sessions.insert(session) as u32;
        let conn = ConnId { index, generation };
        self.set_timer(now + self.setup.limits.connect_timeout, Timer::Connect(conn));
        self.counters.connections += 1;
        self.counters.connections_total += 1;
        Some(conn)
    }

    /// One whole WebSocket message arrived: text for JSON, binary for protobuf; inflated, UTF-8 checked.
    pub fn handle_message(&mut self, conn: ConnId, message: &[u8], now: Moment) {
        if self.is_open(conn) {
            self.on_message(conn, message, now);
        }
    }

    /// The verifier's answer to `poll_verify`.
    pub fn handle_verified(&mut self, conn: ConnId, result: Result<Claims, Reject>, now: Moment) {
        if self.is_open(conn) {
            self.on_verified(conn, result, now);
        }
    }

    /// The engine said something.
    pub fn handle_event(&mut self, event: Event, now: Moment) {
        self.on_event(event, now);
    }

    /// The socket is gone. The `ConnId` is dead afterwards.
    pub fn handle_closed(&mut self, conn: ConnId, now: Moment) {
        if !self.is_alive(conn) {
            return;
        }
        if self.sessions[conn.index as usize].stage != Stage::Closing {
            self.counters.closes_other_total += 1;
        }
        self.vacate(conn, now);
        let mut session = self.sessions.remove(conn.index as usize);
        self.counters.outbox_bytes -= session.outbox.bytes() as u64;
        session.outbox.discard(&mut self.pile);
        self.counters.connections -= 1;
        self.counters.leaving -= u64::from(session.slot.is_some());
    }

    /// `deadline` has passed.
    pub fn handle_timeout(&mut self, now: Moment) {
        while let Some(Reverse((at, timer))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            self.on_timer(timer, now);
        }
    }

    /// Puts an edge's own small pre-framed bytes (WebSocket ping, pong) into the control lane.
    pub fn push_control(&mut self, conn: ConnId, framed: Bytes, now: Moment) {
        if self.is_open(conn) {
            self.enqueue(conn, Lane::Control, framed, now);
        }
    }

    /// Ends a connection with one of RFC 6455's own numbers: a close frame goes last,
    /// then `poll_closing` names it.
    pub fn close_with(&mut self, conn: ConnId, code: u16, reason: &str, now: Moment) {
        if self.is_open(conn) {
            self.counters.closes_other_total += 1;
            self.end(conn, code, reason, now);
        }
    }

    /// Ends a connection for a reason of ours.
    pub fn close(&mut self, conn: ConnId, reason: CloseReason, now: Moment) {
        if !self.is_open(conn) {
            return;
        }
        let place = CloseReason::ALL.iter().position(|r| *r == reason);
        self.counters.closes_total[place.expect("ALL is all")] += 1;
        // What could not be read in time will be asked for again, by position.
        if reason == CloseReason::TooSlow {
            let session = &mut self.sessions[conn.index as usize];
            let dropped = session.outbox.clear(&mut self.pile);
            self.counters.outbox_bytes -= dropped as u64;
        }
        self.end(conn, reason.number(), reason.name(), now);
    }

    /// Ends every connection of `user`; returns how many.
    pub fn disconnect(&mut self, user: &[u8], now: Moment) -> u32 {
        let is_theirs = |session: &Session| session.stage == Stage::Ready && session.user == user;
        let found: Vec<ConnId> = self
            .sessions
            .iter()
            .filter(|(_, session)| is_theirs(session))
            .map(|(index, session)| conn_id(index, session))
            .collect();
        for conn in &found {
            self.close(*conn, CloseReason::Disconnected, now);
        }
        found.len() as u32
    }

    /// Tells every client that the server stops, and closes all.
    pub fn shut_down(&mut self, now: Moment) {
        let open: Vec<ConnId> = self.sessions.iter().map(|(i, s)| conn_id(i, s)).collect();
        for conn in open {
            if self.is_open(conn) {
                self.push(conn, &Push::Notice(Notice::Shutdown), now);
                self.close(conn, CloseReason::Shutdown, now);
            }
        }
    }
}

/// The face towards the driver: outputs.
impl Shard {
    /// Next request for the engine.
    pub fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// Next token to verify; answer by `handle_verified`, at once or later.
    pub fn poll_verify(&mut self) -> Option<(ConnId, String)> {
        self.verify.pop_front()
    }

    /// Whether the engine's events should be taken now. When fan-out is far behind they
    /// wait at the engine, whose bound then rejects publishers.
    pub fn wants_events(&self) -> bool {
        self.pending_bytes < self.setup.limits.pending_bytes_max
    }

    /// Next connection whose outbox got something since it was last named here.
    pub fn poll_dirty(&mut self) -> Option<ConnId> {
        while let Some(index) = self.dirty.pop() {
            // The session may be gone, and its place used again: then it says for itself.
            if let Some(session) = self.sessions.get_mut(index as usize)
                && std::mem::take(&mut session.outbox.is_dirty)
            {
                session.outbox.try_all();
                return Some(conn_id(index as usize, session));
            }
        }
        None
    }

    /// Fills `slices` with the front of the outbox, in the order to be written; returns how many.
    pub fn outbox<'a>(&'a self, conn: ConnId, slices: &mut [IoSlice<'a>]) -> usize {
        match self.is_alive(conn) {
            true => self.sessions[conn.index as usize].outbox.fill(&self.pile, slices),
            false => 0,
        }
    }

    /// The lanes of the pieces that `outbox` shows, in their order: how many, and the lanes in which more waits behind
    /// them, one bit each.
    pub fn outbox_lanes(&self, conn: ConnId, lanes: &mut [Lane]) -> (usize, u8) {
        match self.is_alive(conn) {
            true => self.sessions[conn.index as usize]
                .outbox
                .fill_lanes(&self.pile, lanes),
            false => (0, 0),
        }
    }

    /// Bytes waiting in the outbox.
    pub fn outbox_bytes(&self, conn: ConnId) -> usize {
        match self.is_alive(conn) {
            true => self.sessions[conn.index as usize].outbox.bytes(),
            false => 0,
        }
    }

    /// How many bytes the reader of an outbox takes in so much time; none while it was never behind.
    pub fn reader_takes(&self, conn: ConnId, time: Duration) -> Option<usize> {
        let session = self.sessions.get(conn.index as usize)?;
        let is_it = session.generation == conn.generation && session.pace.is_known();
        is_it.then(|| session.pace.bytes_in(time))
    }

    /// The first `len` bytes of the outbox were written.
    pub fn handle_written(&mut self, conn: ConnId, len: usize, now: Moment) {
        if !self.is_alive(conn) {
            return;
        }
        let session = &mut self.sessions[conn.index as usize];
        session.outbox.advance(&mut self.pile, len);
        session.outbox.try_all();
        session.pace.learn(len, session.outbox.bytes(), now);
        self.counters.outbox_bytes -= len as u64;
        if session.may_catch_up(&self.setup.limits) && !std::mem::replace(&mut session.is_catching_up, true) {
            self.catching_up.push_back(conn.index);
        }
        if session.parked.is_some() {
            self.unpark_joins(conn, now);
        }
    }

    /// Next connection that ends: its close frame is the last thing in its outbox. The driver
    /// writes what it can within a short time, shuts the socket, then calls `handle_closed`.
    pub fn poll_closing(&mut self) -> Option<ConnId> {
        self.closing.pop()
    }

    /// When `handle_timeout` wants to be called.
    pub fn deadline(&self) -> Option<Moment> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How admission stands, and what it counted.
    pub fn gate_counters(&self) -> GateCounters {
        self.gate.counters()
    }

    /// What waits now.
    pub fn waiting(&self) -> Waiting {
        Waiting {
            sessions: self.sessions.len(),
            requests: self.requests.len(),
            tickets: self.pending.len(),
            frames: self.pile.len(),
            feeds_bytes: self.feeds_bytes,
            pending_bytes: self.pending_bytes,
        }
    }

    /// Rooms joined here, whose name begins with `prefix` and comes after `after`: the first `limit` in their order.
    pub fn rooms(
        &self,
        prefix: &str,
        after: &str,
        order: RoomOrder,
        limit: usize,
        now: Moment,
    ) -> Vec<RoomState> {
        let rooms = self.rooms.iter().map(|(_, room)| room);
        let mut found: Vec<(&Room, f32)> = rooms
            .filter(|room| !room.subscribers.is_empty())
            .filter(|room| room.name.starts_with(prefix) && room.name.as_str() > after)
            .map(|room| (room, room.heat.share(self.visit_ns, now)))
            .collect();
        let by_name = |a: &Room, b: &Room| a.name.as_str().cmp(b.name.as_str());
        found.sort_unstable_by(|(a, a_share), (b, b_share)| match order {
            RoomOrder::Name => by_name(a, b),
            RoomOrder::Share => b_share.total_cmp(a_share).then_with(|| by_name(a, b)),
        });
        found.truncate(limit);
        let states = found.into_iter().map(|(room, share)| RoomState {
            name: room.name.clone(),
            subscribers: room.subscribers.len() as u32,
            share,
            is_hot: room.heat.is_hot,
        });
        states.collect()
    }
}

/// Sessions: replies, closing, timers.
impl Shard {
    /// Whether the id names a session of the table, closing or not.
    pub(crate) fn is_alive(&self, conn: ConnId) -> bool {
        let session = self.sessions.get(conn.index as usize);
        session.is_some_and(|session| session.generation == conn.generation)
    }

    pub(crate) fn is_open(&self, conn: ConnId) -> bool {
        self.is_alive(conn) && self.sessions[conn.index as usize].stage != Stage::Closing
    }

    pub(crate) fn is_ready(&self, conn: ConnId) -> bool {
        self.is_alive(conn) && self.sessions[conn.index as usize].stage == Stage::Ready
    }

    pub(crate) fn reply(&mut self, conn: ConnId, id: u32, result: &Result<Reply, Reject>, now: Moment) {
        self.reply_in(conn, Lane::Control, id, result, now);
    }

    pub(crate) fn reply_in(
        &mut self,
        conn: ConnId,
        lane: Lane,
        id: u32,
        result: &Result<Reply, Reject>,
        now: Moment,
    ) {
        let link = self.sessions[conn.index as usize].link;
        let frame = self.encoder.reply(link, id, result);
        self.enqueue(conn, lane, frame, now);
    }

    pub(crate) fn reject(&mut self, conn: ConnId, id: u32, reject: Reject, now: Moment) {
        let place = RejectCode::ALL.iter().position(|c| *c == reject.code);
        self.counters.rejects_total[place.expect("ALL is all")] += 1;
        self.reply(conn, id, &Err(reject), now);
    }

    /// Puts a frame into an outbox; a session past its bound is closed instead.
    pub(crate) fn enqueue(&mut self, conn: ConnId, lane: Lane, frame: Bytes, now: Moment) {
        let limits = &self.setup.limits;
        let session = &mut self.sessions[conn.index as usize];
        let (outbox, pace) = (&session.outbox, session.pace);
        if outbox.is_over(&self.pile, pace, frame.len(), limits, now) {
            return self.close(conn, CloseReason::TooSlow, now);
        }
        self.append(conn, lane, frame, now);
    }

    pub(crate) fn append(&mut self, conn: ConnId, lane: Lane, frame: Bytes, now: Moment) {
        let outbox = &mut self.sessions[conn.index as usize].outbox;
        self.counters.outbox_bytes += frame.len() as u64;
        outbox.push(&mut self.pile, lane, frame, now);
        if !outbox.is_dirty {
            outbox.is_dirty = true;
            self.dirty.push(conn.index);
        }
    }

    fn end(&mut self, conn: ConnId, code: u16, reason: &str, now: Moment) {
        self.vacate(conn, now);
        let session = &mut self.sessions[conn.index as usize];
        let stale = session
            .outbox
            .clear_lanes(&mut self.pile, &[Lane::Latest, Lane::Lossy]);
        self.counters.outbox_bytes -= stale as u64;
        self.sessions[conn.index as usize].stage = Stage::Closing;
        // In the reliable lane, so that it goes last.
        let frame = ws::frame::close_frame(code, reason);
        self.append(conn, Lane::Reliable, frame, now);
        self.closing.push(conn);
    }

    /// Takes a session out of everything it is in.
    fn vacate(&mut self, conn: ConnId, now: Moment) {
        while let Some(membership) = self.sessions[conn.index as usize].memberships.last() {
            self.unsubscribe(conn, membership.room, Exit::Lost, now);
        }
        let session = &mut self.sessions[conn.index as usize];
        session.verifying = None;
        session.grants = None;
        session.behind = None;
        for (room, _) in session.parked.take().map(|parked| *parked).unwrap_or_default() {
            self.rooms[room.0 as usize].replaying -= 1;
            self.linger_if_idle(room, now);
        }
    }

    /// Keeps a request until its answer comes, or its time is over.
    pub(crate) fn issue(&mut self, pending: Pending, now: Moment) -> Ticket {
        self.issue_with(pending, None, now)
    }

    /// The same for one that has its place.
    pub(crate) fn issue_with(&mut self, pending: Pending, permit: Option<Permit>, now: Moment) -> Ticket {
        self.ticket += 1;
        let ticket = Ticket(self.ticket);
        self.pending.insert(ticket, Ticketed { pending, permit });
        self.set_timer(now + self.setup.limits.request_timeout, Timer::Request(ticket));
        ticket
    }

    pub(crate) fn set_timer(&mut self, at: Moment, timer: Timer) {
        self.timers.push(Reverse((at, timer)));
    }

    fn on_timer(&mut self, timer: Timer, now: Moment) {
        match timer {
            Timer::Connect(conn) => {
                if self.is_alive(conn) && self.sessions[conn.index as usize].stage == Stage::Opened {
                    self.close(conn, CloseReason::HandshakeTimeout, now);
                }
            }
            Timer::Request(ticket) => {
                if let Some(ticketed) = self.pending.remove(&ticket) {
                    self.on_request_timeout(ticketed, now);
                }
            }
            Timer::Linger(room_id, lingers) => {
                let room = self.rooms.get(room_id.0 as usize);
                if room.is_some_and(|room| room.is_idle() && room.lingers == lingers) {
                    self.drop_room(room_id, now);
                }
            }
            Timer::Attach(room_id) => {
                let room = self.rooms.get(room_id.0 as usize);
                if room.is_some_and(|room| matches!(room.attach, Attach::Retry(at) if at <= now)) {
                    self.ask_attach(room_id);
                }
            }
            Timer::Walk(room_id) => {
                if let Some(room) = self.rooms.get_mut(room_id.0 as usize)
                    && std::mem::take(&mut room.has_walk_timer)
                {
                    self.begin_walk(room_id, now);
                }
            }
            Timer::Lines => self.lines_due(now),
            Timer::Heat(room_id) => self.look_at_heat(room_id, now),
            Timer::Rate(conn, room_id) => {
                if self.is_ready(conn) {
                    self.rate_lets(conn, room_id, now);
                }
            }
            Timer::Refresh(conn, expires) => {
                if self.is_ready(conn) && self.sessions[conn.index as usize].expires == Some(expires) {
                    let in_ms = expires.since(now).as_millis() as u64;
                    let notice = Push::Notice(Notice::TokenExpiring { in_ms });
                    self.push(conn, &notice, now);
                    self.set_timer(expires, Timer::Expire(conn, expires));
                }
            }
            Timer::Drain => self.on_drain_step(now),
            Timer::Slot(conn) => self.on_slot(conn, now),
            Timer::Expire(conn, expires) => {
                if self.is_ready(conn) && self.sessions[conn.index as usize].expires == Some(expires) {
                    self.close(conn, CloseReason::TokenExpired, now);
                }
            }
        }
    }

    /// A name for logs and the HTTP API: unique in this process.
    pub(crate) fn connection_name(&self, conn: ConnId) -> String {
        format!("c{}-{:010x}", self.setup.index, conn.key().0)
    }

    /// A made-up user for a connection without a token's subject.
    pub(crate) fn guest_name(&self, conn: ConnId) -> String {
        // SplitMix64's finisher: neighbours look unlike.
        let mut x = self.setup.seed ^ conn.key().0 ^ u64::from(self.setup.index) << 48;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        format!("guest-{:012x}", (x ^ (x >> 31)) >> 16)
    }
}

pub(crate) fn conn_id(index: usize, session: &Session) -> ConnId {
    ConnId {
        index: index as u32,
        generation: session.generation,
    }
}

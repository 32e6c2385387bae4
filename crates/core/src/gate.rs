//! Who is let in: a shard's admission, put together.
//!
//! ```text
//!   publish ─► rights ─► buckets ─► shed? ─► a place? ─────────────► engine
//!                 │         │         │         └─ none ─► a line ─►│
//!                 └─────────┴─────────┴─► reject     └─► reject     └─► answer: the next in line
//! ```
//!
//! The cheap questions come first, and a refusal costs nothing but its words. What is behind
//! each answer is told in `admission`. Here are the calls, and the words.

use std::{hash::BuildHasher, time::Duration};

use foldhash::{SharedSeed, fast::SeedableRandomState};
use tidegate_wire::{Publication, Reject, RejectCode, RoomName};

use crate::{
    admission::{
        Admission, Bucket, Class, Exceeded, Limiter, Marks, Outcome, Permit, Pressure, Quotas, Rates, Scope,
        Shedder, Stall, retry_ms,
    },
    counters::{GateCounters, LimitCounters},
    join::PendingJoin,
    moment::Moment,
    outbox::Lane,
    planted::{Bug, Planted},
    policy::Policies,
    request::{Address, HistoryQuery, NewPublication, Request},
    room::RoomId,
    shard::{ConnId, Pending, Shard, Timer},
};

/// Bytes of publishes that wait for a place; beyond it refused.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// Places of which every room keeps the buffer from walk to walk: 64 bytes, whatever a burst once took.
const UNWALKED_KEPT: usize = 4;
/// Longest wait for want of a place: a latency of seconds was a standstill, and is over when it is over.
const RETRY_OVERLOADED_MAX: Duration = Duration::from_secs(2);
/// What a class that is being shed is asked to wait: shedding ends one class after the other, half a second each.
const SHED_RETRY: Duration = Duration::from_secs(2);

/// A publish that waits for a place.
pub(crate) struct WaitingPublish {
    conn: ConnId,
    id: u32,
    publish: Box<NewPublication>,
}

/// A read of history that waits for a place.
pub(crate) enum WaitingRead {
    Join {
        room: RoomId,
        join: PendingJoin,
    },
    History {
        conn: ConnId,
        id: u32,
        room: RoomName,
        query: HistoryQuery,
    },
}

/// One connection's own buckets; only there if it is limited.
pub(crate) struct Toll {
    pub(crate) address: Address,
    commands: Option<Bucket>,
    publishes: Option<Bucket>,
}

/// See the module.
pub(crate) struct Gate {
    publishes: Option<Limiter>,
    line: Stall<WaitingPublish>,
    line_bytes: usize,
    replays: Option<Limiter>,
    reads: Stall<WaitingRead>,
    quotas: Quotas,
    rates: Rates,
    shedder: Shedder,
    /// Rooms of which deliveries were left out, and that was not told yet.
    shed_rooms: Vec<RoomId>,
    /// When the lines are looked at next, at the latest.
    looks_at: Option<Moment>,
    jitter: SeedableRandomState,
    answers: u64,
    counters: GateCounters,
    pub(crate) planted: Planted,
}

impl Gate {
    pub(crate) fn new(
        admission: &Admission,
        policies: &Policies,
        request_timeout: Duration,
        seed: u64,
    ) -> Self {
        let now = Moment(0);
        Self {
            publishes: admission.publishes.limiter(seed, now),
            line: Stall::new(admission.stall_max, admission.wait_max(), now),
            line_bytes: 0,
            replays: admission.replays.limiter(seed.rotate_left(17), now),
            // A join is no burst: it waits its turn for as long as its client would wait for an answer.
            reads: Stall::new(request_timeout / 2, request_timeout, now),
            quotas: Quotas::new(admission, policies, seed, now),
            rates: admission.rates.clone(),
            shedder: Shedder::new(Marks::default()),
            shed_rooms: Vec::new(),
            looks_at: None,
            jitter: SeedableRandomState::with_seed(seed, SharedSeed::global_fixed()),
            answers: 0,
            counters: GateCounters::default(),
            planted: Planted::default(),
        }
    }

    #[cfg(feature = "planted")]
    pub(crate) fn plant(&mut self, planted: Planted) {
        self.planted = planted;
        self.line.planted = planted;
        self.shedder.planted = planted;
    }

    /// The buckets of a new connection, if it has any.
    pub(crate) fn toll(&self, address: Address, now: Moment) -> Option<Box<Toll>> {
        let rates = &self.rates;
        let is_needed = rates.connection_commands.is_some()
            || rates.connection_publishes.is_some()
            || rates.address_publishes.is_some();
        is_needed.then(|| {
            Box::new(Toll {
                address,
                commands: rates.connection_commands.map(|rate| Bucket::full(rate, now)),
                publishes: rates.connection_publishes.map(|rate| Bucket::full(rate, now)),
            })
        })
    }

    /// What was counted, and how things stand.
    pub(crate) fn counters(&self) -> GateCounters {
        let mut counters = self.counters.clone();
        let limiters = [self.publishes.as_ref(), self.replays.as_ref()];
        for (state, limiter) in counters.limits.iter_mut().zip(limiters) {
            if let Some(limiter) = limiter {
                // Whom the limiter refuses may wait: refused are those who could not.
                let refused_total = state.refused_total;
                *state = LimitCounters {
                    refused_total,
                    ..LimitCounters::of(limiter)
                };
            }
        }
        counters.limits[0].waiting = self.line.len() as u64;
        counters.limits[1].waiting = self.reads.len() as u64;
        counters.limits[0].waited_total = self.line.waited_total;
        counters.limits[1].waited_total = self.reads.waited_total;
        for (sum, count) in counters.exceeded_total.iter_mut().zip(self.quotas.refused_total) {
            *sum += count;
        }
        counters.buckets = self.quotas.table();
        counters.shed_total = self.shedder.shed_total;
        counters.is_shedding = Class::SHEDDABLE.map(|class| u64::from(self.shedder.is_shedding(class)));
        counters
    }

    /// When a client may try again that was refused for want of a place: after the calls under way, and
    /// as many of those who wait with it as there are places, spread over as long again.
    fn retry(&mut self, limiter: Option<Duration>) -> u32 {
        let wait = limiter.unwrap_or_default().saturating_mul(4);
        retry_ms(wait.min(RETRY_OVERLOADED_MAX), self.chance())
    }

    fn exceeded(&mut self, exceeded: Exceeded) -> Reject {
        exceeded.reject(self.chance())
    }

    /// 0 to 1, another for each answer.
    fn chance(&mut self) -> f64 {
        self.answers += 1;
        let chance = self.jitter.hash_one(self.answers) >> 11;
        chance as f64 / (1u64 << 53) as f64
    }

    fn shed(&mut self, class: Class) -> Result<(), Reject> {
        if self.shedder.try_admit(class).is_ok() {
            return Ok(());
        }
        let retry_ms = retry_ms(SHED_RETRY, self.chance());
        let detail = "the server is short of memory, or of time";
        Err(Reject::retry(RejectCode::Overloaded, retry_ms, detail))
    }

    /// Whether a read of history may go: none if it must wait.
    fn try_read(&mut self, now: Moment) -> Option<Option<Permit>> {
        match &mut self.replays {
            None => Some(None),
            Some(limiter) => limiter.try_acquire(now).ok().map(Some),
        }
    }
}

/// Publishes.
impl Shard {
    /// One command of a connection; an error if it sends too many.
    pub(crate) fn take_command(&mut self, conn: ConnId, now: Moment) -> Result<(), Reject> {
        let toll = self.sessions[conn.index as usize].toll.as_deref_mut();
        let Some(bucket) = toll.and_then(|toll| toll.commands.as_mut()) else {
            return Ok(());
        };
        bucket.try_take(now, 1).map_err(|wait| self.exceeded_own(wait))
    }

    fn exceeded_own(&mut self, wait: Duration) -> Reject {
        let scope = Scope::Connection;
        self.gate.counters.exceeded_total[scope as usize] += 1;
        self.gate.exceeded(Exceeded { scope, wait })
    }

    /// Whether a publish is within its rates, and may go or wait. Nothing was made of it yet.
    pub(crate) fn admit_rates(&mut self, conn: ConnId, room: &RoomName, now: Moment) -> Result<(), Reject> {
        self.gate.shed(Class::Publish)?;
        let session = &mut self.sessions[conn.index as usize];
        let toll = session.toll.as_deref_mut();
        if let Some(bucket) = toll.and_then(|toll| toll.publishes.as_mut())
            && let Err(wait) = bucket.try_take(now, 1)
        {
            return Err(self.exceeded_own(wait));
        }
        let session = &self.sessions[conn.index as usize];
        let taken = self
            .gate
            .quotas
            .try_take(&session.user, session.source(), room, now);
        taken.map_err(|exceeded| self.gate.exceeded(exceeded))
    }

    /// A place for one publish, or one in the line.
    ///
    /// # Errors
    /// There is neither.
    pub(crate) fn admit_place(&mut self, lane: Lane, now: Moment) -> Result<Place, Reject> {
        let gate = &mut self.gate;
        let Some(limiter) = &mut gate.publishes else {
            return Ok(Place::Now(None));
        };
        // In an overload half of the places are kept from those who can do without.
        let gives_way = lane == Lane::Lossy
            && gate.line.is_overloaded()
            && limiter.in_flight() >= limiter.limit().div_ceil(2);
        if gate.line.is_empty()
            && !gives_way
            && let Ok(permit) = limiter.try_acquire(now)
        {
            gate.line.handle_admitted(now);
            return Ok(Place::Now(Some(permit)));
        }
        let is_full =
            gate.line.len() >= self.setup.limits.requests_max || gate.line_bytes >= WAITING_BYTES_MAX;
        if !is_full && gate.line.may_wait(now) {
            return Ok(Place::Line);
        }
        Err(self.refuse_publish())
    }

    fn refuse_publish(&mut self) -> Reject {
        self.gate.counters.limits[0].refused_total += 1;
        let latency = self.gate.publishes.as_ref().map(Limiter::latency);
        let retry_ms = self.gate.retry(latency);
        Reject::retry(
            RejectCode::Overloaded,
            retry_ms,
            "more publishes than can be stored",
        )
    }

    /// Sends a publish that has its place, or lets it wait.
    pub(crate) fn submit_publish(
        &mut self,
        conn: ConnId,
        id: u32,
        publish: Box<NewPublication>,
        place: Place,
        now: Moment,
    ) {
        match place {
            Place::Now(permit) => {
                let room = self.rooms_by_name.get(&publish.room).copied();
                let ticket = self.issue_with(Pending::Publish { conn, id, room }, permit, now);
                self.requests.push_back(Request::Publish { ticket, publish });
            }
            Place::Line => {
                self.gate.line_bytes += weight(&publish);
                self.gate.line.push(WaitingPublish { conn, id, publish }, now);
                self.watch_lines(now);
            }
        }
    }

    /// The engine has a publish, or not. Its place is free when this shard has fanned it out, too: storing is only
    /// half of the work, and more of it than can be fanned out would pile up behind it.
    pub(crate) fn publish_stored(
        &mut self,
        room: Option<RoomId>,
        permit: Option<Permit>,
        outcome: Answered,
        now: Moment,
    ) {
        let room = room.and_then(|room| self.rooms.get_mut(room.0 as usize));
        match (permit, room.filter(|room| room.is_ready)) {
            (Some(permit), Some(room)) if matches!(outcome, Answered::Done) => room.unwalked.push(permit),
            (permit, _) => self.publish_answered(permit, outcome, now),
        }
    }

    /// A room's walk is done: what was stored before it ended holds no place any more.
    pub(crate) fn release_walked(&mut self, room_id: RoomId, now: Moment) {
        let mut walked = std::mem::take(&mut self.rooms[room_id.0 as usize].unwalked);
        for permit in walked.drain(..) {
            self.publish_answered(Some(permit), Answered::Done, now);
        }
        // Who gets a free place is sent or refused: no room goes, and nothing is stored. The next walk uses the
        // buffer again.
        walked.shrink_to(UNWALKED_KEPT);
        self.rooms[room_id.0 as usize].unwalked = walked;
    }

    /// A publish was answered, or will not be.
    pub(crate) fn publish_answered(&mut self, permit: Option<Permit>, outcome: Answered, now: Moment) {
        let (Some(permit), Some(limiter)) = (permit, &mut self.gate.publishes) else {
            return;
        };
        let outcome = outcome.of(&permit, now);
        limiter.release(now, permit, outcome);
        self.gate.line.handle_answer(now);
        if !self.gate.line.is_empty() && !self.gate.planted.is(Bug::HoldLine) {
            self.move_line(now);
        }
    }

    /// Refuses those who waited too long, and lets in as many as there are places.
    fn move_line(&mut self, now: Moment) {
        while let Some(overdue) = self.gate.line.pop_overdue(now) {
            self.gate.line_bytes -= weight(&overdue.publish);
            if self.is_ready(overdue.conn) && !self.gate.planted.is(Bug::RefuseSilently) {
                let reject = self.refuse_publish();
                self.sessions[overdue.conn.index as usize].in_flight -= 1;
                self.reject(overdue.conn, overdue.id, reject, now);
            }
        }
        while !self.gate.line.is_empty()
            && let Some(limiter) = &mut self.gate.publishes
            && let Ok(permit) = limiter.try_acquire(now)
        {
            let WaitingPublish { conn, id, publish } = self.gate.line.pop().expect("it is not empty");
            self.gate.line_bytes -= weight(&publish);
            self.submit_publish(conn, id, publish, Place::Now(Some(permit)), now);
        }
    }
}

/// Where a publish may go.
pub(crate) enum Place {
    /// To the engine.
    Now(Option<Permit>),
    /// Behind those who wait.
    Line,
}

/// How a request ended, for its limiter.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answered {
    /// It was done.
    Done,
    /// It was refused, or not answered in time.
    Failed,
    /// It was refused for a reason of its own, which tells nothing about the engine.
    Own,
}

impl Answered {
    pub(crate) fn by<T>(result: &Result<T, Reject>) -> Self {
        match result {
            Ok(_) => Self::Done,
            Err(reject) => match reject.code {
                RejectCode::Unavailable
                | RejectCode::Overloaded
                | RejectCode::Timeout
                | RejectCode::Draining => Self::Failed,
                _ => Self::Own,
            },
        }
    }

    fn of(self, permit: &Permit, now: Moment) -> Outcome {
        match self {
            Self::Done => Outcome::Done(now.since(permit.admitted())),
            Self::Failed => Outcome::Dropped,
            Self::Own => Outcome::Ignored,
        }
    }
}

fn weight(publish: &NewPublication) -> usize {
    size_of::<NewPublication>() + publish.data.as_bytes().len() + publish.msg.len() + publish.key.len()
}

/// Reads of history.
impl Shard {
    /// Whether joins with a replay and pages of history are served at the moment.
    pub(crate) fn admit_replay(&mut self) -> Result<(), Reject> {
        self.gate.shed(Class::Replay)
    }

    /// Asks for a page of history for a join, now or when there is a place.
    pub(crate) fn read_for_join(
        &mut self,
        room: RoomId,
        mut join: PendingJoin,
        query: HistoryQuery,
        now: Moment,
    ) {
        self.rooms[room.0 as usize].replaying += 1;
        let Some(permit) = self.gate.try_read(now) else {
            join.handle_unread(&query);
            return self.wait_to_read(WaitingRead::Join { room, join }, now);
        };
        let name = self.rooms[room.0 as usize].name.clone();
        let join = Box::new(join);
        let ticket = self.issue_with(Pending::Replay { room, join }, permit, now);
        self.requests.push_back(Request::History {
            ticket,
            room: name,
            query,
        });
    }

    /// The same for a client's `history`.
    pub(crate) fn read_for_client(
        &mut self,
        conn: ConnId,
        id: u32,
        room: RoomName,
        query: HistoryQuery,
        now: Moment,
    ) {
        let Some(permit) = self.gate.try_read(now) else {
            let waiting = WaitingRead::History {
                conn,
                id,
                room,
                query,
            };
            return self.wait_to_read(waiting, now);
        };
        let ticket = self.issue_with(Pending::History { conn, id }, permit, now);
        self.requests.push_back(Request::History { ticket, room, query });
    }

    fn wait_to_read(&mut self, waiting: WaitingRead, now: Moment) {
        self.gate.reads.push(waiting, now);
        if self.gate.reads.len() > self.setup.limits.requests_max {
            let oldest = self.gate.reads.pop().expect("one was pushed");
            self.refuse_read(oldest, now);
        }
        self.watch_lines(now);
    }

    /// A read was answered, or will not be.
    pub(crate) fn read_answered(&mut self, permit: Option<Permit>, outcome: Answered, now: Moment) {
        let (Some(permit), Some(limiter)) = (permit, &mut self.gate.replays) else {
            return;
        };
        let outcome = outcome.of(&permit, now);
        limiter.release(now, permit, outcome);
        self.gate.reads.handle_answer(now);
        self.move_reads(now);
    }

    fn move_reads(&mut self, now: Moment) {
        while let Some(overdue) = self.gate.reads.pop_overdue(now) {
            self.refuse_read(overdue, now);
        }
        self.gate.reads.handle_admitted(now);
        // What is taken out asks for a place again, and may not need one any more.
        while !self.gate.reads.is_empty()
            && self
                .gate
                .replays
                .as_ref()
                .is_none_or(|limiter| limiter.in_flight() < limiter.limit())
        {
            match self.gate.reads.pop().expect("it is not empty") {
                WaitingRead::Join { room, join } => {
                    self.rooms[room.0 as usize].replaying -= 1;
                    self.continue_join(room, join, now);
                }
                WaitingRead::History {
                    conn,
                    id,
                    room,
                    query,
                } if self.is_ready(conn) => {
                    self.read_for_client(conn, id, room, query, now);
                }
                WaitingRead::History { .. } => {}
            }
        }
    }

    fn refuse_read(&mut self, waiting: WaitingRead, now: Moment) {
        self.gate.counters.limits[1].refused_total += 1;
        let latency = self.gate.replays.as_ref().map(Limiter::latency);
        let retry_ms = self.gate.retry(latency);
        let detail = "more reads of history than can be served";
        let reject = Reject::retry(RejectCode::Overloaded, retry_ms, detail);
        match waiting {
            WaitingRead::Join { room, join } => {
                self.rooms[room.0 as usize].replaying -= 1;
                self.refuse_join(room, &join, reject, now);
                self.linger_if_idle(room, now);
            }
            WaitingRead::History { conn, id, .. } if self.is_ready(conn) => {
                self.sessions[conn.index as usize].in_flight -= 1;
                self.reject(conn, id, reject, now);
            }
            WaitingRead::History { .. } => {}
        }
    }

    /// Makes sure that those who wait are looked after, should no answer come.
    fn watch_lines(&mut self, now: Moment) {
        let deadlines = [self.gate.line.deadline(), self.gate.reads.deadline()];
        if let Some(at) = deadlines.into_iter().flatten().min()
            && self.gate.looks_at.is_none_or(|looks_at| at < looks_at)
        {
            self.gate.looks_at = Some(at);
            self.set_timer(at.max(now), Timer::Lines);
        }
    }

    /// The first in a line has waited long enough.
    pub(crate) fn lines_due(&mut self, now: Moment) {
        self.gate.looks_at = None;
        self.move_line(now);
        self.move_reads(now);
        self.watch_lines(now);
    }
}

/// Shedding.
impl Shard {
    /// Takes in how the process's memory stands; a few times a second.
    pub fn handle_pressure(&mut self, pressure: Pressure, now: Moment) {
        self.gate.shedder.handle_pressure(now, pressure);
        self.tell_shed(now);
    }

    /// Whether anything gives way at the moment: then `handle_pressure` must be called on, for it to end.
    pub fn is_shedding(&self) -> bool {
        self.gate.shedder.is_shedding(Class::Lossy)
    }

    /// Whether work of this class gives way at the moment. The edge asks for handshakes.
    ///
    /// # Errors
    /// It does; this is counted.
    pub fn try_admit(&mut self, class: Class) -> Result<(), crate::admission::Shed> {
        self.gate.shedder.try_admit(class)
    }

    /// Whether publications of a room are left out for all its subscribers here.
    pub(crate) fn is_shed(&self, room_id: RoomId) -> bool {
        self.rooms[room_id.0 as usize].policy.lane == Lane::Lossy && self.is_shedding()
    }

    /// Leaves a publication out for all its subscribers here. Each is told with the next that it gets, or
    /// when it is looked at memory again.
    pub(crate) fn leave_out(&mut self, room_id: RoomId, publication: Publication, now: Moment) {
        let room = &mut self.rooms[room_id.0 as usize];
        self.gate.shedder.shed_total[Class::Lossy as usize] += room.subscribers.len() as u64;
        let before = room.feed.bytes();
        self.pending_bytes += room.feed.push_left_out(publication, now);
        self.feeds_bytes = self.feeds_bytes - before + room.feed.bytes();
        if !std::mem::replace(&mut room.has_left_out, true) {
            self.gate.shed_rooms.push(room_id);
        }
    }

    /// Tells subscribers what was left out since they were last told.
    fn tell_shed(&mut self, now: Moment) {
        for room_id in std::mem::take(&mut self.gate.shed_rooms) {
            // It may be gone, and its place used again.
            let room = self.rooms.get_mut(room_id.0 as usize);
            let is_untold = room.is_some_and(|room| std::mem::take(&mut room.has_left_out));
            if is_untold && !self.gate.planted.is(Bug::ForgetShed) {
                self.begin_walk(room_id, now);
            }
        }
    }
}

//! One simulated client: the SDK's session (`sdk/typescript/src/session.ts`), step for step,
//! with a [`View`] of every room that compares what comes with what was published.
//!
//! ```text
//!   open ─► connect (with every room to resume) ─► connected ─► closed ─► waits, full jitter ─► open
//! ```

mod asked;
mod frames;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use tidegate_core::{Lane, Limits, Link, Moment};
use tidegate_wire::{
    Codec, Command, Payload, Request, RoomName,
    code::{CloseReason, ComeBack},
    frame::{Connect, Connected, Filter, History, Join, Publish, Wishes},
    parts::ServerReader,
    ws::reader::{Reader, Role},
};

use crate::{
    calls::Calls,
    chance::Chance,
    engine::EngineRoom,
    mutation::{Mutation, Planted},
    network::Parting,
    plan::{JoinOptions, Plan},
    view::View,
};

const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(8);
const REFRESH_RETRY: Duration = Duration::from_secs(5);

/// What a client wants of the world.
#[derive(Debug)]
pub enum Out {
    Open,
    /// One whole message.
    Send(Bytes),
    /// The answer to a WebSocket ping.
    Pong,
    Close,
}

/// The truth a client is checked against.
pub type Rooms = BTreeMap<RoomName, EngineRoom>;

use asked::Asked;

/// How far a client has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Idle,
    Connecting,
    Connected,
    Waiting,
    /// For good: told to stay away, or quit.
    Closed,
}

/// A room as the client keeps it.
#[derive(Debug)]
pub struct RoomState {
    pub options: JoinOptions,
    pub view: View,
    pub is_joined: bool,
    /// The wishes last asked for.
    asked: Wishes,
    join_id: u32,
    retry_at: Option<Moment>,
    /// When to ask for the wishes again, that were refused.
    filter_at: Option<Moment>,
}

/// See the module.
pub struct Client {
    pub user: String,
    pub link: Link,
    pub state: State,
    pub rooms: BTreeMap<RoomName, RoomState>,
    pub calls: Calls,
    pub asked: Asked,
    /// Nothing that it asks is too much.
    pub expects_calm: bool,
    /// Live events since the world looked: which room, which offset, what they promise.
    pub live: Vec<(RoomName, u64, Option<Lane>)>,
    pub acknowledged: u64,
    /// Its slot was told since the world looked: in so many milliseconds.
    pub told: Option<u64>,
    /// It was sent away since the world looked. What it asked before without an answer, if anything.
    pub parted: Option<Option<Command>>,
    /// How the shard parted with this connection.
    pub parting: Option<Parting>,
    id: usize,
    chance: Chance,
    planted: Planted,
    limits: Limits,
    has_expiry: bool,
    is_open: bool,
    reader: Reader,
    parts: ServerReader,
    attempts: u32,
    next_id: u32,
    /// Messages sent over this connection.
    sent: u64,
    next_message: u64,
    connect_id: u32,
    refresh_id: u32,
    joins: BTreeMap<u32, Join>,
    /// Changes of wishes that are not answered.
    filters: BTreeMap<u32, RoomName>,
    left: BTreeSet<RoomName>,
    retry_at: Option<Moment>,
    /// When to come back, if it was told.
    slot_at: Option<Moment>,
    open_by: Option<Moment>,
    ping_at: Moment,
    ping_id: u32,
    silent_at: Option<Moment>,
    refresh_at: Option<Moment>,
}

/// What the applications ask.
impl Client {
    pub fn new(id: usize, plan: &Plan, mutation: Option<Mutation>) -> Self {
        let mut chance = Chance::of(plan.seed, "client", id);
        let link = Link {
            codec: chance.pick(&[Codec::Json, Codec::Binary]),
            deflate: plan.has_deflate && chance.one_in(2),
        };
        // Some users have two connections.
        let user = if id % 3 == 2 { id - 1 } else { id };
        Self {
            user: format!("u{user}"),
            link,
            state: State::Idle,
            rooms: BTreeMap::new(),
            // What is refused again and again would be tried for longer than the run.
            calls: match plan.is_strained {
                true => Calls::new(3, 100),
                false => Calls::new(8, 1_000),
            },
            asked: Asked::default(),
            expects_calm: false,
            live: Vec::new(),
            acknowledged: 0,
            told: None,
            parted: None,
            parting: None,
            id,
            has_expiry: plan.has_expiry && chance.one_in(2),
            chance,
            planted: Planted::new(mutation, plan.seed, id),
            limits: plan.limits.clone(),
            is_open: false,
            reader: Reader::new(Role::Client, 16 << 20, link.deflate),
            parts: ServerReader::new(link.codec),
            attempts: 0,
            next_id: 0,
            sent: 0,
            next_message: 0,
            connect_id: 0,
            refresh_id: 0,
            joins: BTreeMap::new(),
            filters: BTreeMap::new(),
            left: BTreeSet::new(),
            retry_at: None,
            slot_at: None,
            open_by: None,
            ping_at: Moment(0),
            ping_id: 0,
            silent_at: None,
            refresh_at: None,
        }
    }

    pub fn connect(&mut self, now: Moment, out: &mut Vec<Out>) {
        if matches!(self.state, State::Idle | State::Closed) {
            self.begin(now, out);
        }
    }

    pub fn quit(&mut self, now: Moment, out: &mut Vec<Out>) {
        if self.is_open {
            out.push(Out::Close);
        }
        self.end(now);
    }

    pub fn join(&mut self, room: &RoomName, options: JoinOptions, now: Moment, out: &mut Vec<Out>) {
        if self.rooms.contains_key(room) {
            return;
        }
        let state = RoomState {
            options,
            view: View::default(),
            is_joined: false,
            asked: Wishes::default(),
            join_id: 0,
            retry_at: None,
            filter_at: None,
        };
        self.rooms.insert(room.clone(), state);
        if self.state == State::Connected {
            self.send_join(room, now, out);
        }
    }

    pub fn leave(&mut self, room: &RoomName, now: Moment, out: &mut Vec<Out>) {
        let Some(state) = self.rooms.remove(room) else {
            return;
        };
        self.joins.remove(&state.join_id);
        self.filters.retain(|_, name| name != room);
        if self.state == State::Connected {
            self.send(Command::Leave { room: room.clone() }, now, out);
        } else if state.join_id != 0 {
            self.left.insert(room.clone());
        }
    }

    /// Wants something else of a room. What is under way is not changed: a join that is says
    /// so when it is done.
    pub fn filter(&mut self, name: &RoomName, wishes: &Wishes, now: Moment, out: &mut Vec<Out>) {
        let Some(room) = self.rooms.get_mut(name) else {
            return;
        };
        room.options.wishes = wishes.clone();
        if room.is_joined {
            self.send_filter(name, now, out);
        }
    }

    /// Publishes so many bytes of padding; or none, and takes the key out of the room's state.
    pub fn publish(
        &mut self,
        room: &RoomName,
        key: Bytes,
        lane: Option<Lane>,
        bytes: Option<usize>,
        now: Moment,
        out: &mut Vec<Out>,
    ) {
        if self.state == State::Closed {
            return;
        }
        self.next_message += 1;
        let name = format!("c{}-{}", self.id, self.next_message);
        let pad = bytes.map(|bytes| "x".repeat(bytes));
        let data = match (self.link.codec, self.next_message % 2, pad) {
            (_, _, None) => Payload::Delete,
            (Codec::Binary, 0, Some(pad)) => Payload::Bytes(format!("{name}:{pad}").into()),
            (_, _, Some(pad)) => Payload::Json(format!("{{\"n\":\"{name}\",\"pad\":\"{pad}\"}}").into()),
        };
        self.calls.add(Command::Publish(Publish {
            room: room.clone(),
            lane,
            data,
            msg: name.into(),
            key,
            sent_us: now.0 / 1_000,
        }));
        self.work(now, out);
    }

    pub fn read_history(&mut self, room: &RoomName, now: Moment, out: &mut Vec<Out>) {
        if self.state == State::Closed {
            return;
        }
        self.calls.add(Command::History(History {
            room: room.clone(),
            since: None,
            limit: 20,
            reverse: false,
        }));
        self.work(now, out);
    }
}

/// What the world tells.
impl Client {
    /// The token to show: the user, and when it ends.
    fn token(&self, now: Moment) -> String {
        match self.has_expiry {
            true => format!("{}@{}", self.user, (now.0 / 1_000_000) + 8_000),
            false => self.user.clone(),
        }
    }

    pub fn opened(&mut self, now: Moment, out: &mut Vec<Out>) {
        if self.state != State::Connecting {
            return out.push(Out::Close);
        }
        self.is_open = true;
        self.asked.clear();
        self.sent = 0;
        self.reader = Reader::new(Role::Client, 16 << 20, self.link.deflate);
        self.parts = ServerReader::new(self.link.codec);
        let names: Vec<RoomName> = self.rooms.keys().cloned().collect();
        let resume = names.iter().map(|name| self.join_body(name)).collect();
        let connect = Connect {
            token: self.token(now),
            resume,
            ..Connect::default()
        };
        self.connect_id = self.send(Command::Connect(connect), now, out);
    }

    /// The socket is gone.
    pub fn closed(&mut self, code: u16, now: Moment, _out: &mut Vec<Out>) {
        if matches!(self.state, State::Closed | State::Waiting | State::Idle) {
            return;
        }
        self.is_open = false;
        let is_sent_away = code == CloseReason::Shutdown.number();
        if let Some(parting) = self.parting.filter(|_| is_sent_away) {
            self.parted = Some(self.calls.unanswered(parting.taken).cloned());
        }
        let come_back = CloseReason::from_number(code).map_or(ComeBack::Yes, CloseReason::come_back);
        match come_back {
            ComeBack::Yes | ComeBack::WithNewToken => self.wait(is_sent_away, now),
            ComeBack::No => self.end(now),
        }
    }

    pub fn tick(&mut self, now: Moment, out: &mut Vec<Out>) {
        let is_due = |at: Option<Moment>| at.is_some_and(|at| at <= now);
        match self.state {
            State::Waiting if is_due(self.retry_at) => self.begin(now, out),
            State::Connecting if is_due(self.open_by) => self.drop_connection(now, out),
            State::Connected if is_due(self.silent_at) => self.drop_connection(now, out),
            _ => self.work(now, out),
        }
    }

    /// When `tick` wants to be called.
    pub fn wake_at(&self) -> Option<Moment> {
        match self.state {
            State::Idle | State::Closed => None,
            State::Waiting => self.retry_at,
            State::Connecting => self.open_by,
            State::Connected => {
                let rooms = self
                    .rooms
                    .values()
                    .flat_map(|room| [room.retry_at, room.filter_at])
                    .flatten();
                let times = [
                    Some(self.ping_at),
                    self.silent_at,
                    self.refresh_at,
                    self.calls.next_at(),
                ];
                times.into_iter().flatten().chain(rooms).min()
            }
        }
    }
}

/// Connecting.
impl Client {
    fn begin(&mut self, now: Moment, out: &mut Vec<Out>) {
        self.retry_at = None;
        self.slot_at = None;
        self.open_by = Some(now + OPEN_TIMEOUT);
        self.state = State::Connecting;
        out.push(Out::Open);
    }

    fn drop_connection(&mut self, now: Moment, out: &mut Vec<Out>) {
        out.push(Out::Close);
        self.is_open = false;
        self.wait(false, now);
    }

    /// Its slot; or full jitter, up to a bound that doubles.
    fn wait(&mut self, is_sent_away: bool, now: Moment) {
        self.forget_connection();
        self.state = State::Waiting;
        // A slot that is over counts only where the server itself closes at it.
        self.slot_at = self.slot_at.filter(|slot| is_sent_away || *slot > now);
        if let Some(slot) = self.slot_at {
            self.retry_at = Some(slot.max(now));
            return;
        }
        let bound = match self.attempts {
            0 => self.limits.reconnect_window,
            attempts => (BACKOFF_MIN * 2u32.pow(attempts.min(8))).min(BACKOFF_MAX),
        };
        self.attempts += 1;
        self.retry_at = Some(now + self.chance.within(bound));
    }

    fn end(&mut self, _now: Moment) {
        self.forget_connection();
        self.calls.clear();
        self.is_open = false;
        self.retry_at = None;
        self.slot_at = None;
        self.state = State::Closed;
    }

    fn forget_connection(&mut self) {
        let planted = &mut self.planted;
        self.calls.connection_lost(|command| {
            if let Command::Publish(publish) = command
                && planted.strikes(Mutation::RenameMessage)
            {
                publish.msg = format!("again-{}", self.id).into();
            }
        });
        self.asked.clear();
        self.joins.clear();
        self.filters.clear();
        self.left.clear();
        self.silent_at = None;
        self.refresh_at = None;
        self.open_by = None;
        for room in self.rooms.values_mut() {
            room.is_joined = false;
            room.join_id = 0;
            room.retry_at = None;
            room.filter_at = None;
        }
    }

    fn on_connected(&mut self, connected: &Connected, now: Moment, out: &mut Vec<Out>) {
        self.attempts = 0;
        self.ping_at = now;
        self.open_by = None;
        self.state = State::Connected;
        self.plan_refresh(connected.expires_in_ms, now);
        for room in std::mem::take(&mut self.left) {
            self.send(Command::Leave { room }, now, out);
        }
        let unasked = self.rooms.iter().filter(|(_, room)| room.join_id == 0);
        for name in unasked.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.send_join(&name, now, out);
        }
        self.work(now, out);
    }

    fn plan_refresh(&mut self, expires_in_ms: Option<u64>, now: Moment) {
        self.refresh_at = expires_in_ms.map(|ms| {
            let ahead = ms / 5 * (75 + self.chance.below(26)) / 100;
            now + Duration::from_millis((ms - ahead).max(1_000))
        });
    }
}

/// Commands.
impl Client {
    /// Does what is due.
    fn work(&mut self, now: Moment, out: &mut Vec<Out>) {
        if self.state != State::Connected {
            return;
        }
        self.calls.take_overdue(now);
        while let Some(command) = self.calls.send_next(self.next_id + 1, self.sent + 1, now) {
            self.next_id += 1;
            self.sent += 1;
            let request = Request {
                id: self.next_id,
                command: command.clone(),
            };
            self.asked.add(self.next_id, self.sent, &request.command, now);
            out.push(Out::Send(encode(self.link.codec, &request)));
        }
        let is_due = |room: &RoomState| room.retry_at.is_some_and(|at| at <= now);
        let due = self.rooms.iter().filter(|(_, room)| is_due(room));
        for name in due.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.send_join(&name, now, out);
        }
        let is_due = |room: &RoomState| room.filter_at.is_some_and(|at| at <= now);
        let due = self.rooms.iter().filter(|(_, room)| is_due(room));
        for name in due.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.send_wishes(&name, now, out);
        }
        if self.refresh_at.is_some_and(|at| at <= now) {
            self.refresh(now, out);
        }
        if self.ping_at <= now {
            let patience = self.limits.ping_interval;
            self.ping_at = now + patience;
            self.silent_at = Some(self.silent_at.unwrap_or(now + patience * 2));
            self.ping_id = self.send(Command::Ping { t0_ms: 0.0 }, now, out);
        }
    }

    fn refresh(&mut self, now: Moment, out: &mut Vec<Out>) {
        self.refresh_at = None;
        let token = self.token(now);
        self.refresh_id = self.send(Command::Refresh { token }, now, out);
    }

    fn send_join(&mut self, name: &RoomName, now: Moment, out: &mut Vec<Out>) {
        let (id, join) = self.join_body(name);
        let command = Command::Join(join);
        self.sent += 1;
        self.asked.add(id, self.sent, &command, now);
        out.push(Out::Send(encode(self.link.codec, &Request { id, command })));
    }

    fn join_body(&mut self, name: &RoomName) -> (u32, Join) {
        self.next_id += 1;
        let id = self.next_id;
        let state = self
            .rooms
            .get_mut(name)
            .expect("the caller took it from the rooms");
        let mut since = state.view.position();
        if since.is_some() && self.planted.strikes(Mutation::ForgetPosition) {
            since = None;
        }
        state.join_id = id;
        state.retry_at = None;
        let JoinOptions {
            last,
            enter,
            members,
            wishes,
            state: with_state,
        } = state.options.clone();
        let mut join = Join {
            room: name.clone(),
            since,
            last,
            enter,
            members,
            wishes,
            state: with_state,
        };
        self.joins.insert(id, join.clone());
        state.asked = join.wishes.clone();
        alter(&self.planted, &mut join.wishes);
        (id, join)
    }

    fn send_filter(&mut self, name: &RoomName, now: Moment, out: &mut Vec<Out>) {
        if let Some(state) = self.rooms.get_mut(name) {
            state.view.on_filter(&state.options.wishes);
            self.send_wishes(name, now, out);
        }
    }

    /// Asks for the wishes of a room, for the first time or once more.
    fn send_wishes(&mut self, name: &RoomName, now: Moment, out: &mut Vec<Out>) {
        let Some(state) = self.rooms.get_mut(name) else {
            return;
        };
        state.filter_at = None;
        let room = name.clone();
        let mut wishes = state.options.wishes.clone();
        let before = std::mem::replace(&mut state.asked, wishes.clone());
        if self.planted.strikes(Mutation::IgnoreFilter) {
            wishes = before;
        }
        alter(&self.planted, &mut wishes);
        let id = self.send(Command::Filter(Filter { room, wishes }), now, out);
        self.filters.insert(id, name.clone());
    }

    fn send(&mut self, command: Command, now: Moment, out: &mut Vec<Out>) -> u32 {
        self.next_id += 1;
        self.sent += 1;
        let id = self.next_id;
        self.asked.add(id, self.sent, &command, now);
        out.push(Out::Send(encode(self.link.codec, &Request { id, command })));
        id
    }
}

/// Wishes as a server has them: some planted bugs are there.
fn alter(planted: &Planted, wishes: &mut Wishes) {
    if planted.is(Mutation::IgnoreKeys) {
        wishes.keys = None;
    }
    if planted.is(Mutation::IgnoreRate) {
        wishes.max_rate = None;
    }
    if planted.is(Mutation::SlackRate) && wishes.max_rate.is_some() {
        wishes.max_rate = Some(0.1);
    }
}

fn encode(codec: Codec, request: &Request) -> Bytes {
    let mut bytes = Vec::new();
    codec.encode_request(request, &mut bytes);
    bytes.into()
}

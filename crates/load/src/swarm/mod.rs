//! Thousands of connections on one epoll, received as cheaply as can be: one buffer, a scan for
//! the offset and the intended time in each event, a histogram.
//!
//! How they come in, and come back, is in `opening` (handshakes, refusals) and `entry` (local addresses,
//! tokens); what each subscriber was given in `subscription`; what is sent, and what was answered, in
//! `publishing`; those that read slowly in `trickle`.

mod entry;
mod opening;
mod publishing;
mod scan;
mod subscription;
mod trickle;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    io::{self, Read, Write},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use mio::{Events, Poll, Token, Waker, net::TcpStream};
use tidegate_wire::ws::{
    frame::{Opcode, client_frame, parse_header},
    handshake,
};

pub(crate) use self::publishing::{Outgoing, SLOT_NS};
use self::{
    entry::Tokens,
    publishing::Record,
    scan::{number_after, text_after},
    subscription::{Seen, Subscription},
};
use crate::{
    LoadError, Target,
    plan::{Burst, Plan, Reading, Role, SEATS_MAX, Timeline},
    process::steady_ns,
    returned::{Returned, WayBack},
    tally::{Answers, Received, Slot, histogram},
};

/// The swarm's clock says this when it starts, so that every intended time has 13 digits.
const CLOCK_START_NS: u64 = 1_000_000_000_000;
const WAKER: Token = Token(usize::MAX);
const KEY: [u8; 16] = *b"tidegate load ws";
/// Bytes one connection may have unsent; beyond it a publish is not sent, and counted so.
const UNSENT_MAX: usize = 16 << 20;
/// Frames of one connection that have begun to come in parts, as the protocol has it.
const PARTS_MAX: usize = 8;
/// The id of the first join; the others of a connection follow.
const JOIN_ID: u64 = 2;
/// The id of the first publish: what is below is connect and joins.
const PUBLISH_ID: u64 = JOIN_ID + SEATS_MAX as u64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Closed,
    Opening,
    Joining,
    Ready,
}

struct Connection {
    reading: Reading,
    /// Its own in the whole run: the local address and the token's subject follow from it.
    number: usize,
    stage: Stage,
    socket: Option<TcpStream>,
    partial: Vec<u8>,
    unsent: Vec<u8>,
    /// What comes in several WebSocket frames, and what comes in several parts, by their number.
    message: Vec<u8>,
    parts: Vec<(u64, Vec<u8>)>,
    seats: Vec<Subscription>,
    /// Replies to joins still to come.
    joins_left: usize,
    /// Publishes without an answer.
    in_flight: u64,
    /// Attempts since it was last in.
    attempts: u32,
    /// Bytes it may read now, while it trickles.
    allowance: f64,
    /// It has left the rooms that it enters.
    is_away: bool,
    way_back: WayBack,
}

/// See the file.
pub(crate) struct Swarm {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    address: SocketAddr,
    host: String,
    path: String,
    tokens: Tokens,
    connections: Vec<Connection>,
    opening: usize,
    opening_max: usize,
    /// The last refusal's words, and when somebody last came in, or was refused for the first time since.
    refusal: Option<(String, Instant)>,
    ready: usize,
    next_to_open: usize,
    /// Whether who is lost comes back by itself, and whether all read as fast as they can.
    comes_back: bool,
    reads_all: bool,
    /// Who comes back when, on the machine's clock.
    returns: BinaryHeap<Reverse<(u64, usize)>>,
    /// Upper end of the wait before the first attempt to come back, as the server says.
    reconnect_ms: u64,
    trickling: Vec<usize>,
    trickled_ns: u64,
    /// When the swarm's clock started, on the machine's; 0 until then.
    clock_started_ns: u64,
    timeline: Timeline,
    slotted: Option<usize>,
    /// Count of members that every subscription which enters should have heard in the end.
    members: Option<u64>,
    /// What was sent, by id.
    records: Vec<Record>,
    pub(crate) received: Vec<Received>,
    pub(crate) answers: Vec<Answers>,
    pub(crate) slots: Vec<Slot>,
    /// When the last play began, and how long its acknowledgements took.
    play_began_ns: u64,
    pub(crate) played_ack_us: Histogram<u64>,
    /// Publishes that will never be answered: their connection is gone.
    pub(crate) abandoned: u64,
    pub(crate) closed: u64,
    pub(crate) closes: BTreeMap<u64, u64>,
    pub(crate) turned_away: u64,
    pub(crate) notices: u64,
    pub(crate) returned: Returned,
    /// Seeded chance (xorshift): masks nobody attacks, and waits.
    chance: u32,
}

impl Swarm {
    pub(crate) fn new(target: &Target, plan: &Plan, processes: usize) -> Result<Self, LoadError> {
        let wrong = || LoadError::Url(target.url.clone());
        let rest = target.url.strip_prefix("ws://").ok_or_else(wrong)?;
        let (host, path) = rest.split_once('/').ok_or_else(wrong)?;
        let address = host.parse().map_err(|_| wrong())?;
        let phases = plan.phases.len();
        Ok(Self {
            poll: Poll::new().map_err(LoadError::system("poll"))?,
            events: Events::with_capacity(2048),
            buffer: vec![0; 256 << 10],
            address,
            host: host.to_owned(),
            path: format!("/{path}"),
            tokens: Tokens::of(target),
            connections: Vec::new(),
            opening: 0,
            opening_max: opening::share_of_opening(processes),
            refusal: None,
            ready: 0,
            next_to_open: 0,
            comes_back: false,
            reads_all: false,
            returns: BinaryHeap::new(),
            reconnect_ms: 0,
            trickling: Vec::new(),
            trickled_ns: 0,
            clock_started_ns: 0,
            timeline: Timeline::default(),
            slotted: plan.slotted,
            members: plan.classes.iter().find_map(|class| class.members),
            records: Vec::new(),
            received: plan.classes.iter().map(|_| Received::new(phases)).collect(),
            answers: Vec::new(),
            slots: Vec::new(),
            play_began_ns: 0,
            played_ack_us: histogram(),
            abandoned: 0,
            closed: 0,
            closes: BTreeMap::new(),
            turned_away: 0,
            notices: 0,
            returned: Returned::default(),
            chance: 0x9e37_79b9,
        })
    }

    /// Adds a connection, with its number in the whole run; `open_some` opens it.
    pub(crate) fn add(&mut self, role: &Role, number: usize) {
        self.connections.push(Connection {
            reading: role.reading,
            number,
            stage: Stage::Closed,
            socket: None,
            partial: Vec::new(),
            unsent: Vec::new(),
            message: Vec::new(),
            parts: Vec::new(),
            seats: role.seats.iter().map(Subscription::new).collect(),
            joins_left: 0,
            in_flight: 0,
            attempts: 0,
            allowance: 0.0,
            is_away: false,
            way_back: WayBack::default(),
        });
    }

    /// Something that ends a `turn` early, from another thread.
    pub(crate) fn waker(&self) -> Result<Arc<Waker>, LoadError> {
        let waker = Waker::new(self.poll.registry(), WAKER).map_err(LoadError::system("eventfd"))?;
        Ok(Arc::new(waker))
    }

    /// Begins to play at a moment of the machine's clock; returns what the swarm's says then. That one
    /// starts with the first play, and goes on: what is late is as late as it is.
    pub(crate) fn begin_play(&mut self, at_ns: u64, phase: usize, burst: Option<Burst>) -> u64 {
        if self.clock_started_ns == 0 {
            self.clock_started_ns = at_ns;
        }
        self.comes_back = true;
        let begun = CLOCK_START_NS + at_ns.saturating_sub(self.clock_started_ns);
        self.timeline.begin(begun, phase, burst);
        self.play_began_ns = begun;
        self.played_ack_us.reset();
        begun
    }

    /// From now on all read as fast as they can, those that are away come back, and those that left a room return to it.
    pub(crate) fn settle(&mut self) -> Result<(), LoadError> {
        self.reads_all = true;
        self.trickling.clear();
        for index in 0..self.connections.len() {
            if self.connections[index].reading != Reading::Always {
                self.read(index)?;
            }
            let connection = &self.connections[index];
            if connection.is_away && connection.stage == Stage::Ready {
                self.churn(index, None);
            }
        }
        Ok(())
    }

    /// Nanoseconds on the swarm's clock: intended times are of it.
    pub(crate) fn now_ns(&self) -> u64 {
        CLOCK_START_NS + steady_ns().saturating_sub(self.clock_started_ns)
    }

    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Drops every connection at once, without a word.
    pub(crate) fn drop_all(&mut self) {
        for index in 0..self.connections.len() {
            match self.comes_back {
                true => self.lose(index, None, String::new()),
                false => {
                    let connection = &mut self.connections[index];
                    (connection.socket, connection.stage) = (None, Stage::Closed);
                }
            }
        }
        (self.ready, self.opening) = (0, 0);
    }

    /// From now on it publishes; no other process does.
    pub(crate) fn expect_answers(&mut self, streams: usize, phases: usize) {
        self.answers = (0..streams).map(|_| Answers::new(phases)).collect();
    }

    /// How many are joined.
    pub(crate) fn ready(&self) -> usize {
        self.ready
    }

    /// Subscriptions that have not heard of all members.
    pub(crate) fn unsettled(&self) -> u64 {
        let Some(members) = self.members.filter(|_| self.reads_all) else {
            return 0;
        };
        let seats = self.connections.iter().flat_map(|connection| &connection.seats);
        seats
            .filter(|seat| seat.enters && seat.members != members)
            .count() as u64
    }

    /// Handles what has come; waits at most so long for something.
    pub(crate) fn turn(&mut self, wait: Duration) -> Result<(), LoadError> {
        let wait = self.return_some(wait)?;
        let wait = match self.trickling.is_empty() {
            true => wait,
            false => wait.min(trickle::EVERY),
        };
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(1));
        let polled = self.poll.poll(&mut events, Some(wait));
        if let Err(error) = polled
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(LoadError::System {
                what: "poll",
                why: error,
            });
        }
        for event in &events {
            if event.token() == WAKER {
                continue;
            }
            let index = event.token().0;
            if event.is_writable() {
                self.write(index);
            }
            if event.is_readable() {
                self.read(index)?;
            }
        }
        self.events = events;
        self.trickle()
    }

    fn write(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        let Some(socket) = &mut connection.socket else {
            return;
        };
        let mut written = 0;
        while written < connection.unsent.len() {
            match socket.write(&connection.unsent[written..]) {
                Ok(len) => written += len,
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    let why = format!("cannot connect to {}: {error}", self.address);
                    return self.lose(index, None, why);
                }
                // Reading tells the rest: there may be a last word.
                Err(_) => break,
            }
        }
        connection.unsent.drain(..written);
        if connection.unsent.is_empty() && connection.unsent.capacity() > 4096 {
            connection.unsent = Vec::new();
        }
    }

    fn read(&mut self, index: usize) -> Result<(), LoadError> {
        let connection = &self.connections[index];
        if connection.stage == Stage::Ready && connection.reading != Reading::Always && !self.reads_all {
            // Stopped, or in its own time.
            return Ok(());
        }
        self.read_some(index, usize::MAX).map(|_| ())
    }

    /// Reads at most so many bytes; returns how many there were.
    fn read_some(&mut self, index: usize, most: usize) -> Result<usize, LoadError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let outcome = self.read_into(index, &mut buffer, most);
        self.buffer = buffer;
        outcome
    }

    fn read_into(&mut self, index: usize, buffer: &mut [u8], most: usize) -> Result<usize, LoadError> {
        let mut total = 0;
        loop {
            let connection = &mut self.connections[index];
            let Some(socket) = &mut connection.socket else {
                return Ok(total);
            };
            let kept = connection.partial.len();
            buffer[..kept].copy_from_slice(&connection.partial);
            let end = buffer.len().min(kept.saturating_add(most - total));
            if end == kept {
                return Ok(total);
            }
            let len = match socket.read(&mut buffer[kept..end]) {
                Ok(0) => {
                    self.lose(index, None, "the server closed a connection".to_owned());
                    return Ok(total);
                }
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(total),
                Err(error) => {
                    self.lose(index, None, format!("a connection failed: {error}"));
                    return Ok(total);
                }
            };
            total += len;
            let used = self.take(index, &buffer[..kept + len])?;
            let connection = &mut self.connections[index];
            connection.partial.clear();
            if connection.socket.is_none() {
                return Ok(total);
            }
            connection.partial.extend_from_slice(&buffer[used..kept + len]);
            if connection.partial.is_empty() {
                connection.partial = Vec::new();
            }
            if kept + len < end {
                return Ok(total);
            }
            // One that just joined may be one of those that read in their own time.
            if connection.stage == Stage::Ready && connection.reading != Reading::Always && !self.reads_all {
                return Ok(total);
            }
        }
    }

    /// A connection is over, by a close code or without a word; `why` is a sentence.
    fn lose(&mut self, index: usize, code: Option<u16>, why: String) {
        let connection = &mut self.connections[index];
        connection.socket = None;
        connection.partial = Vec::new();
        connection.unsent = Vec::new();
        (connection.message, connection.parts) = (Vec::new(), Vec::new());
        match connection.stage {
            Stage::Ready => {
                connection.stage = Stage::Closed;
                self.abandoned += std::mem::take(&mut connection.in_flight);
                for seat in &mut connection.seats {
                    seat.on_closed(&mut self.received[seat.class]);
                }
                self.ready -= 1;
                self.closed += 1;
                *self.closes.entry(code.unwrap_or(1006).into()).or_default() += 1;
                if self.comes_back {
                    self.come_back_when_due(index);
                }
            }
            Stage::Opening | Stage::Joining => self.refuse(index, why),
            Stage::Closed => {}
        }
    }

    /// Takes all whole frames; returns the bytes used.
    fn take(&mut self, index: usize, bytes: &[u8]) -> Result<usize, LoadError> {
        let mut at = 0;
        if self.connections[index].stage == Stage::Opening {
            match handshake::parse_response(bytes, KEY) {
                Ok(None) => return Ok(0),
                Ok(Some(len)) => at = len,
                Err(why) => {
                    self.refuse(index, why);
                    return Ok(bytes.len());
                }
            }
            self.connections[index].stage = Stage::Joining;
            self.introduce(index)?;
        }
        let now_ns = self.now_ns();
        loop {
            let header =
                parse_header(&bytes[at..]).map_err(|error| LoadError::Server(format!("sent {error}")))?;
            let Some((header, start)) = header else {
                return Ok(at);
            };
            let end = at + start + header.len as usize;
            if end > bytes.len() {
                return Ok(at);
            }
            let payload = &bytes[at + start..end];
            at = end;
            match header.opcode {
                Opcode::Text if header.fin => self.on_message(index, payload, now_ns)?,
                Opcode::Text | Opcode::Continuation => {
                    let message = &mut self.connections[index].message;
                    message.extend_from_slice(payload);
                    if header.fin {
                        let message = std::mem::take(message);
                        self.on_message(index, &message, now_ns)?;
                    }
                }
                Opcode::Ping => self.send(index, Opcode::Pong, payload),
                Opcode::Close => {
                    let code = payload
                        .first_chunk()
                        .map_or(1005, |code| u16::from_be_bytes(*code));
                    let why = format!("the server closed a connection with {code}");
                    self.lose(index, Some(code), why);
                    return Ok(bytes.len());
                }
                Opcode::Binary | Opcode::Pong => {}
            }
            if self.connections[index].socket.is_none() {
                return Ok(bytes.len());
            }
        }
    }

    fn on_message(&mut self, index: usize, payload: &[u8], now_ns: u64) -> Result<(), LoadError> {
        match () {
            () if payload.starts_with(scan::EVENT) => self.on_event(index, payload, now_ns),
            () if payload.starts_with(b"{\"id\":") => self.on_reply(index, payload, now_ns)?,
            () if payload.starts_with(b"{\"gap\"") => {
                if let Some((seat, received)) = self.seat_of(index, payload) {
                    seat.on_gap(payload, received);
                }
            }
            () if payload.starts_with(b"{\"members\"") => {
                if let Some((seat, received)) = self.seat_of(index, payload) {
                    received.members_pushes += 1;
                    seat.on_members(payload);
                }
            }
            () if payload.starts_with(b"{\"notice\"") => self.on_notice(index, payload),
            () if payload.starts_with(b"{\"part\"") => {
                if let Some(whole) = self.on_part(index, payload)? {
                    self.on_message(index, &whole, now_ns)?;
                }
            }
            // Pushes of a later server.
            () => {}
        }
        Ok(())
    }

    /// A piece of a large frame; returns that when it was the last.
    fn on_part(&mut self, index: usize, push: &[u8]) -> Result<Option<Vec<u8>>, LoadError> {
        let wrong = || LoadError::Server(format!("sent a part of {} bytes that is none", push.len()));
        let push: serde_json::Value = serde_json::from_slice(push).map_err(|_| wrong())?;
        let part = &push["part"];
        let (number, text) = part["message"]
            .as_u64()
            .zip(part["text"].as_str())
            .ok_or_else(wrong)?;
        let open = &mut self.connections[index].parts;
        let place = match open.iter().position(|(other, _)| *other == number) {
            Some(place) => place,
            None if open.len() < PARTS_MAX => {
                open.push((number, Vec::new()));
                open.len() - 1
            }
            None => return Err(wrong()),
        };
        open[place].1.extend_from_slice(text.as_bytes());
        let is_last = part["more"] != true;
        Ok(is_last.then(|| open.swap_remove(place).1))
    }

    /// The subscription of a connection that a push is about.
    fn seat_of(&mut self, index: usize, push: &[u8]) -> Option<(&mut Subscription, &mut Received)> {
        let room = text_after(push, b"\"room\":\"")?;
        let seats = &mut self.connections[index].seats;
        let seat = seats.iter_mut().find(|seat| seat.room.as_bytes() == room)?;
        let received = &mut self.received[seat.class];
        Some((seat, received))
    }

    fn on_reply(&mut self, index: usize, payload: &[u8], now_ns: u64) -> Result<(), LoadError> {
        let Some(id) = number_after(payload, b"{\"id\":") else {
            return Ok(());
        };
        let is_ok = payload.windows(5).take(24).any(|five| five == b"\"ok\":");
        if id >= PUBLISH_ID {
            self.on_answer(index, id, payload, is_ok.then_some(()), now_ns);
            return Ok(());
        }
        if !is_ok {
            return self.on_turned_away(index, payload);
        }
        let connection = &mut self.connections[index];
        match id.checked_sub(JOIN_ID) {
            None => {
                let reconnect_ms = number_after(payload, b"\"reconnect_ms\":");
                self.reconnect_ms = reconnect_ms.unwrap_or(self.reconnect_ms);
            }
            Some(place) => {
                let seat = &mut connection.seats[place as usize];
                seat.on_joined(payload, &mut self.received[seat.class]);
                connection.joins_left -= 1;
            }
        }
        if connection.joins_left == 0 && connection.stage == Stage::Joining {
            self.on_ready(index);
        }
        Ok(())
    }

    fn on_event(&mut self, index: usize, payload: &[u8], now_ns: u64) {
        let Some(event) = scan::event(payload) else {
            return;
        };
        let connection = &mut self.connections[index];
        let in_its_own_time = connection.reading != Reading::Always;
        let seat = match &mut connection.seats[..] {
            [seat] => seat,
            seats => match seats.iter_mut().find(|seat| seat.room.as_bytes() == event.room) {
                Some(seat) => seat,
                None => return,
            },
        };
        let received = &mut self.received[seat.class];
        let seen = seat.on_event(event.offset, received);
        // What the stopped and the trickling read once all is over says nothing of its age.
        if let (Seen::Live, Some(intended)) = (seen, event.intended)
            && !(in_its_own_time && self.reads_all)
        {
            let (phase, _) = self.timeline.phase(intended);
            received.latency_us[phase].saturating_record((now_ns.saturating_sub(intended) / 1_000).max(1));
        }
    }

    fn on_notice(&mut self, index: usize, notice: &[u8]) {
        self.notices += 1;
        if text_after(notice, b"\"kind\":\"") == Some(b"draining")
            && let Some(in_ms) = number_after(notice, b"\"in_ms\":")
        {
            let slot_ns = steady_ns() + in_ms * 1_000_000;
            let way_back = &mut self.connections[index].way_back;
            way_back.on_told(slot_ns, &mut self.returned);
        }
    }

    fn send(&mut self, index: usize, opcode: Opcode, payload: &[u8]) {
        let mask = self.draw().to_ne_bytes();
        client_frame(&mut self.connections[index].unsent, opcode, payload, mask);
        self.write(index);
    }

    fn draw(&mut self) -> u32 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 17;
        self.chance ^= self.chance << 5;
        self.chance
    }
}

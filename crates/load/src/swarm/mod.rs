//! Thousands of connections on one epoll, received as cheaply as can be: one buffer, a scan for
//! the offset and the intended time in each event, a histogram. How they come in is in `opening`
//! (handshakes, refusals) and `entry` (local addresses, tokens).

mod entry;
mod opening;

use std::{
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

use self::entry::Tokens;
use crate::{LoadError, Target, process::steady_ns, report::histogram, tally::Received};

/// The swarm's clock says this when it starts, so that every intended time has 13 digits.
const CLOCK_START_NS: u64 = 1_000_000_000_000;
const WAKER: Token = Token(usize::MAX);
const KEY: [u8; 16] = *b"tidegate load ws";

/// What a connection is for.
#[derive(Debug, Clone)]
pub(crate) struct Role {
    /// The room it joins; none for a publisher.
    pub(crate) room: Option<String>,
    /// Which class its deliveries count in.
    pub(crate) class: usize,
    /// It stops reading once it has joined.
    pub(crate) is_stopped: bool,
}

impl Role {
    pub(crate) fn publisher() -> Self {
        Self {
            room: None,
            class: 0,
            is_stopped: false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Closed,
    Opening,
    Joining,
    Ready,
}

struct Connection {
    role: Role,
    /// Its own in the whole run: the local address and the token's subject follow from it.
    number: usize,
    stage: Stage,
    socket: Option<TcpStream>,
    partial: Vec<u8>,
    unsent: Vec<u8>,
    last_offset: u64,
    delivered: u64,
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
    refused: usize,
    /// The first refusal's words.
    refusal: Option<(String, Instant)>,
    ready: usize,
    next_to_open: usize,
    /// When the swarm's clock started, on the machine's.
    clock_started_ns: u64,
    pub(crate) received: Vec<Received>,
    /// Intended times of publishes by their ids, and the acknowledgements' latencies.
    intended: Vec<u64>,
    pub(crate) acknowledged: u64,
    pub(crate) rejected: u64,
    pub(crate) ack_us: Histogram<u64>,
    pub(crate) closed: usize,
    mask: u32,
}

impl Swarm {
    pub(crate) fn new(target: &Target, classes: usize, processes: usize) -> Result<Self, LoadError> {
        let wrong = || LoadError::Url(target.url.clone());
        let rest = target.url.strip_prefix("ws://").ok_or_else(wrong)?;
        let (host, path) = rest.split_once('/').ok_or_else(wrong)?;
        let address = host.parse().map_err(|_| wrong())?;
        Ok(Self {
            poll: Poll::new().map_err(LoadError::system("poll"))?,
            events: Events::with_capacity(2048),
            buffer: vec![0; 256 << 10],
            address,
            host: host.to_owned(),
            path: format!("/{path}"),
            tokens: Tokens::of(target),
            opening_max: opening::share_of_opening(processes),
            connections: Vec::new(),
            opening: 0,
            refused: 0,
            refusal: None,
            ready: 0,
            next_to_open: 0,
            clock_started_ns: steady_ns(),
            received: (0..classes).map(|_| Received::new()).collect(),
            intended: vec![0],
            acknowledged: 0,
            rejected: 0,
            ack_us: histogram(),
            closed: 0,
            mask: 0x9e37_79b9,
        })
    }

    /// Adds a connection with its number in the whole run; `open_some` opens it.
    pub(crate) fn add(&mut self, role: Role, number: usize) {
        self.connections.push(Connection {
            role,
            number,
            stage: Stage::Closed,
            socket: None,
            partial: Vec::new(),
            unsent: Vec::new(),
            last_offset: 0,
            delivered: 0,
        });
    }

    /// Something that ends a `turn` early, from another thread.
    pub(crate) fn waker(&self) -> Result<Arc<Waker>, LoadError> {
        let waker = Waker::new(self.poll.registry(), WAKER).map_err(LoadError::system("eventfd"))?;
        Ok(Arc::new(waker))
    }

    /// Starts the clock at a moment of the machine's; returns what it says then.
    pub(crate) fn start_clock(&mut self, at_ns: u64) -> u64 {
        self.clock_started_ns = at_ns;
        CLOCK_START_NS
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
        for connection in &mut self.connections {
            connection.socket = None;
            connection.stage = Stage::Closed;
        }
        (self.ready, self.opening, self.closed) = (0, 0, 0);
    }

    /// How many are joined.
    pub(crate) fn ready(&self) -> usize {
        self.ready
    }

    /// Handles what has come; waits at most so long for something.
    pub(crate) fn turn(&mut self, wait: Duration) -> Result<(), LoadError> {
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
        Ok(())
    }

    fn write(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        let Some(socket) = &mut connection.socket else {
            return;
        };
        while !connection.unsent.is_empty() {
            match socket.write(&connection.unsent) {
                Ok(len) => {
                    connection.unsent.drain(..len);
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    let why = format!("cannot connect to {}: {error}", self.address);
                    return self.lose(index, why);
                }
                // Reading tells the rest: there may be a last word.
                Err(_) => return,
            }
        }
        if connection.unsent.capacity() > 4096 {
            connection.unsent = Vec::new();
        }
    }

    fn read(&mut self, index: usize) -> Result<(), LoadError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let outcome = self.read_into(index, &mut buffer);
        self.buffer = buffer;
        outcome
    }

    fn read_into(&mut self, index: usize, buffer: &mut [u8]) -> Result<(), LoadError> {
        loop {
            let connection = &mut self.connections[index];
            if connection.role.is_stopped && connection.stage == Stage::Ready {
                return Ok(());
            }
            let Some(socket) = &mut connection.socket else {
                return Ok(());
            };
            let kept = connection.partial.len();
            buffer[..kept].copy_from_slice(&connection.partial);
            let len = match socket.read(&mut buffer[kept..]) {
                Ok(0) => {
                    self.lose(index, "the server closed a connection".to_owned());
                    return Ok(());
                }
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => {
                    self.lose(index, format!("a connection failed: {error}"));
                    return Ok(());
                }
            };
            let used = self.take(index, &buffer[..kept + len])?;
            let connection = &mut self.connections[index];
            connection.partial.clear();
            connection.partial.extend_from_slice(&buffer[used..kept + len]);
            if connection.partial.is_empty() {
                connection.partial = Vec::new();
            }
            if kept + len < buffer.len() {
                return Ok(());
            }
        }
    }

    /// A connection is over; `why` is a sentence.
    fn lose(&mut self, index: usize, why: String) {
        let connection = &mut self.connections[index];
        connection.socket = None;
        match connection.stage {
            Stage::Ready => {
                connection.stage = Stage::Closed;
                self.ready -= 1;
                self.closed += 1;
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
                Opcode::Text if payload.starts_with(b"{\"event\"") => self.on_event(index, payload, now_ns),
                Opcode::Text => self.on_reply(index, payload, now_ns)?,
                Opcode::Ping => self.send(index, Opcode::Pong, payload),
                Opcode::Close => {
                    let code = payload
                        .first_chunk()
                        .map_or(1005, |code| u16::from_be_bytes(*code));
                    self.lose(index, format!("the server closed a connection with {code}"));
                    return Ok(bytes.len());
                }
                _ => {}
            }
        }
    }

    fn on_reply(&mut self, index: usize, payload: &[u8], now_ns: u64) -> Result<(), LoadError> {
        let Some(id) = number_after(payload, b"{\"id\":") else {
            return Ok(());
        };
        let is_ok = payload.windows(5).take(24).any(|five| five == b"\"ok\":");
        let connection = &mut self.connections[index];
        let last = if connection.role.room.is_some() { 2 } else { 1 };
        if id <= 2 && connection.stage == Stage::Joining {
            if !is_ok {
                return Err(LoadError::Server(format!(
                    "said {}",
                    String::from_utf8_lossy(payload)
                )));
            }
            if id == last {
                connection.stage = Stage::Ready;
                connection.last_offset = number_after(payload, b"\"offset\":").unwrap_or(0);
                self.ready += 1;
                self.opening -= 1;
            }
            return Ok(());
        }
        match is_ok {
            true => self.acknowledged += 1,
            false => self.rejected += 1,
        }
        if let Some(intended) = self.intended.get(id as usize - 2).filter(|_| is_ok) {
            self.ack_us
                .saturating_record((now_ns.saturating_sub(*intended) / 1_000).max(1));
        }
        Ok(())
    }

    fn on_event(&mut self, index: usize, payload: &[u8], now_ns: u64) {
        let connection = &mut self.connections[index];
        let received = &mut self.received[connection.role.class];
        let Some(offset) = number_after(payload, b"\"offset\":") else {
            return;
        };
        connection.delivered += 1;
        received.delivered += 1;
        if offset <= connection.last_offset {
            // Seen before: the same again, or late.
            received.doubled += 1;
            return;
        }
        received.out_of_order += u64::from(offset != connection.last_offset + 1);
        connection.last_offset = offset;
        if let Some(intended) = number_after(payload, b"{\"t\":") {
            received
                .latency_us
                .saturating_record((now_ns.saturating_sub(intended) / 1_000).max(1));
        }
    }

    fn send(&mut self, index: usize, opcode: Opcode, payload: &[u8]) {
        // Unpredictable enough for a mask nobody attacks (xorshift).
        self.mask ^= self.mask << 13;
        self.mask ^= self.mask >> 17;
        self.mask ^= self.mask << 5;
        let mask = self.mask.to_ne_bytes();
        client_frame(&mut self.connections[index].unsent, opcode, payload, mask);
        self.write(index);
    }

    /// Publishes from a connection, `intended` being of the swarm's clock.
    pub(crate) fn publish(&mut self, index: usize, room: &str, intended: u64, pad: &str) {
        let id = self.intended.len() + 2;
        self.intended.push(intended);
        let publish =
            format!(r#"{{"id":{id},"publish":{{"room":"{room}","data":{{"t":{intended},"p":"{pad}"}}}}}}"#);
        self.send(index, Opcode::Text, publish.as_bytes());
    }
}

/// The digits right behind `marker`, looked for near the beginning.
fn number_after(payload: &[u8], marker: &[u8]) -> Option<u64> {
    let near = &payload[..payload.len().min(256)];
    let at = near.windows(marker.len()).position(|window| window == marker)? + marker.len();
    let digits = payload[at..].iter().take_while(|byte| byte.is_ascii_digit());
    let mut any = false;
    let number = digits.fold(0u64, |number, digit| {
        any = true;
        number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))
    });
    any.then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_times_are_found_where_the_server_writes_them() {
        let event = br#"{"event":{"room":"load:hot","offset":42,"data":{"t":1234567,"p":"x"},"from":"a"}}"#;
        assert_eq!(number_after(event, b"\"offset\":"), Some(42));
        assert_eq!(number_after(event, b"{\"t\":"), Some(1_234_567));
        assert_eq!(number_after(b"{}", b"\"offset\":"), None);
        assert_eq!(number_after(b"\"offset\":x", b"\"offset\":"), None);
    }
}

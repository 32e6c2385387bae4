//! How a swarm comes in: so many handshakes at a time, connect and joins in one frame, and what is
//! known of those that were refused. Who is lost while something is played, or is told to come later,
//! comes back as an SDK would: at its slot, or after a random wait, longer each time.

use std::{
    cmp::Reverse,
    io,
    time::{Duration, Instant},
};

use mio::{Interest, Token};
use tidegate_wire::ws::{frame::Opcode, handshake};

use super::{JOIN_ID, KEY, Reading, Stage, Swarm, entry, number_after};
use crate::{LoadError, process::steady_ns};

/// Connections whose handshake is under way at a time, in all processes.
const OPENING_MAX: usize = 512;
/// Since somebody last came in, until refusals end the run.
const REFUSAL_WAIT: Duration = Duration::from_secs(2);
/// Upper end of the wait before a second attempt; twice as long before each further one, up to the other.
const AGAIN_MS: u64 = 100;
const AGAIN_MS_MAX: u64 = 2_000;

/// How many handshakes one of so many processes may have under way.
pub(super) fn share_of_opening(processes: usize) -> usize {
    (OPENING_MAX / processes).max(1)
}

impl Swarm {
    /// From now on `open_some` opens what is closed.
    pub(crate) fn reopen(&mut self) {
        self.next_to_open = 0;
        self.returns.clear();
        self.refusal = None;
    }

    /// Opens some more, as long as not too many are under way.
    pub(crate) fn open_some(&mut self) -> Result<(), LoadError> {
        while self.opening < self.opening_max && self.next_to_open < self.connections.len() {
            let index = self.next_to_open;
            self.next_to_open += 1;
            if self.connections[index].stage == Stage::Closed {
                self.open(index)?;
            }
        }
        Ok(())
    }

    /// Opens those whose wait is over; returns how long to wait for the next, at most `wait`.
    pub(super) fn return_some(&mut self, wait: Duration) -> Result<Duration, LoadError> {
        while let Some(Reverse((at_ns, index))) = self.returns.peek().copied() {
            let left = Duration::from_nanos(at_ns.saturating_sub(steady_ns()));
            if !left.is_zero() {
                return Ok(wait.min(left));
            }
            if self.opening >= self.opening_max {
                break;
            }
            self.returns.pop();
            if self.connections[index].stage == Stage::Closed {
                self.open(index)?;
            }
        }
        Ok(wait)
    }

    fn open(&mut self, index: usize) -> Result<(), LoadError> {
        let way_back = &self.connections[index].way_back;
        way_back.on_attempt(steady_ns(), &mut self.returned);
        match self.try_open(index) {
            Ok(()) => {
                self.opening += 1;
                Ok(())
            }
            // A server that is not there says so at once, on loopback.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && self.comes_back => {
                self.come_back(index, self.again_ms());
                Ok(())
            }
            Err(why) => Err(LoadError::System { what: "connect", why }),
        }
    }

    fn try_open(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        let is_slow = matches!(connection.reading, Reading::Trickling(_));
        let mut stream = entry::connect(self.address, connection.number, is_slow)?;
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(index), both)?;
        connection.stage = Stage::Opening;
        connection.unsent = handshake::request(&self.host, &self.path, KEY, &["tidegate.v1.json"]);
        connection.partial = Vec::new();
        connection.socket = Some(stream);
        Ok(())
    }

    /// Sends connect, and the joins behind it.
    pub(super) fn introduce(&mut self, index: usize) -> Result<(), LoadError> {
        let token = self.tokens.make(self.connections[index].number)?;
        let mut all = format!(r#"{{"id":1,"connect":{{"token":"{token}"}}}}"#);
        let connection = &mut self.connections[index];
        for (id, seat) in (JOIN_ID..).zip(&connection.seats) {
            all.push_str(&seat.join(id));
        }
        connection.joins_left = connection.seats.len();
        connection.is_away = false;
        self.send(index, Opcode::Text, all.as_bytes());
        Ok(())
    }

    /// All its joins were answered, or it has none.
    pub(super) fn on_ready(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        connection.stage = Stage::Ready;
        (connection.attempts, connection.in_flight, connection.allowance) = (0, 0, 0.0);
        connection.way_back.on_back(steady_ns(), &mut self.returned);
        self.ready += 1;
        self.opening -= 1;
        if let Some((_, since)) = &mut self.refusal {
            *since = Instant::now();
        }
        if matches!(connection.reading, Reading::Trickling(_))
            && !self.reads_all
            && !self.trickling.contains(&index)
        {
            self.trickling.push(index);
        }
    }

    /// Connect or a join was rejected: later, or never.
    pub(super) fn on_turned_away(&mut self, index: usize, reject: &[u8]) -> Result<(), LoadError> {
        let words = String::from_utf8_lossy(reject);
        let later = 100..200;
        if !later.contains(&number_after(reject, b"\"code\":").unwrap_or(0)) {
            return Err(LoadError::Server(format!("said {words}")));
        }
        let after_ms = number_after(reject, b"\"retry_after_ms\":").unwrap_or(AGAIN_MS);
        if matches!(self.connections[index].stage, Stage::Joining) {
            self.turn_away(index, format!("the server said {words}"), after_ms, AGAIN_MS);
        }
        Ok(())
    }

    /// Someone who was coming in was turned away. It tries again; but where nobody comes in any more the run ends.
    pub(super) fn refuse(&mut self, index: usize, why: String) {
        self.turn_away(index, why, 0, self.again_ms());
    }

    /// Upper end of the wait after a refusal: never less than the server's own window, where it has told one.
    fn again_ms(&self) -> u64 {
        match self.comes_back {
            true => self.reconnect_ms.max(AGAIN_MS),
            false => AGAIN_MS,
        }
    }

    fn turn_away(&mut self, index: usize, why: String, after_ms: u64, spread_ms: u64) {
        let connection = &mut self.connections[index];
        (connection.socket, connection.stage) = (None, Stage::Closed);
        connection.unsent = Vec::new();
        let spread_ms = (spread_ms << connection.attempts.min(10)).min(AGAIN_MS_MAX.max(spread_ms));
        connection.attempts += 1;
        self.opening -= 1;
        self.turned_away += 1;
        let since = self.refusal.take().map_or_else(Instant::now, |(_, since)| since);
        self.refusal = Some((why, since));
        let wait_ms = after_ms + u64::from(self.draw()) % spread_ms.max(1);
        self.come_back_in(index, wait_ms);
    }

    /// It was lost: comes back at its slot, or after a random wait in the server's window.
    pub(super) fn come_back_when_due(&mut self, index: usize) {
        let way_back = &mut self.connections[index].way_back;
        way_back.on_lost(steady_ns(), &mut self.returned);
        match way_back.slot_ns {
            Some(slot_ns) => self.returns.push(Reverse((slot_ns, index))),
            None => self.come_back(index, self.reconnect_ms),
        }
    }

    /// Comes back after a random wait below a bound.
    pub(super) fn come_back(&mut self, index: usize, spread_ms: u64) {
        let wait_ms = u64::from(self.draw()) % spread_ms.max(1);
        self.come_back_in(index, wait_ms);
    }

    fn come_back_in(&mut self, index: usize, wait_ms: u64) {
        let at_ns = steady_ns() + wait_ms * 1_000_000;
        self.returns.push(Reverse((at_ns, index)));
    }

    /// The error that refusals are, once nobody comes in any more.
    pub(crate) fn refusal(&self) -> Option<LoadError> {
        let (why, since) = self.refusal.as_ref()?;
        (since.elapsed() > REFUSAL_WAIT).then(|| LoadError::Refused {
            why: why.clone(),
            joined: self.ready,
            refused: self.connections.len() - self.ready,
            wanted: self.connections.len(),
        })
    }
}

//! How a swarm comes in: so many handshakes at a time, connect and join in one frame, and what is
//! known of those that were refused.

use std::{
    io,
    time::{Duration, Instant},
};

use mio::{Interest, Token};
use tidegate_wire::ws::{frame::Opcode, handshake};

use super::{KEY, Stage, Swarm, entry};
use crate::LoadError;

/// Connections whose handshake is under way at a time, in all processes.
const OPENING_MAX: usize = 512;
/// From the first refusal until the run ends, if what is under way is still undecided.
const REFUSAL_WAIT: Duration = Duration::from_secs(2);

/// How many handshakes one of so many processes may have under way.
pub(super) fn share_of_opening(processes: usize) -> usize {
    (OPENING_MAX / processes).max(1)
}

impl Swarm {
    /// From now on `open_some` opens what is closed.
    pub(crate) fn reopen(&mut self) {
        self.next_to_open = 0;
    }

    /// Opens some more, as long as not too many are under way and nobody was refused.
    pub(crate) fn open_some(&mut self) -> Result<(), LoadError> {
        while self.refusal.is_none()
            && self.opening < self.opening_max
            && self.next_to_open < self.connections.len()
        {
            let index = self.next_to_open;
            self.next_to_open += 1;
            if self.connections[index].stage == Stage::Closed {
                self.open(index).map_err(LoadError::system("connect"))?;
            }
        }
        Ok(())
    }

    fn open(&mut self, index: usize) -> io::Result<()> {
        let mut stream = entry::connect(self.address, self.connections[index].number)?;
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(index), both)?;
        let head = handshake::request(&self.host, &self.path, KEY, &["tidegate.v1.json"]);
        let connection = &mut self.connections[index];
        connection.stage = Stage::Opening;
        connection.unsent = head;
        connection.partial = Vec::new();
        connection.socket = Some(stream);
        self.opening += 1;
        Ok(())
    }

    /// Sends connect, and the join behind it.
    pub(super) fn introduce(&mut self, index: usize) -> Result<(), LoadError> {
        let token = self.tokens.make(self.connections[index].number)?;
        let join = match &self.connections[index].role.room {
            Some(room) => format!(r#"{{"id":2,"join":{{"room":"{room}"}}}}"#),
            None => String::new(),
        };
        let both = format!(r#"{{"id":1,"connect":{{"token":"{token}"}}}}{join}"#);
        self.send(index, Opcode::Text, both.as_bytes());
        Ok(())
    }

    /// Someone who was coming in was turned away. That ends the run, but not before it is known
    /// how many were let in.
    pub(super) fn refuse(&mut self, index: usize, why: String) {
        self.connections[index].socket = None;
        self.connections[index].stage = Stage::Closed;
        self.opening -= 1;
        self.refused += 1;
        self.refusal.get_or_insert((why, Instant::now()));
    }

    /// The error that refusals are, once all that was under way is decided.
    pub(crate) fn refusal(&self) -> Option<LoadError> {
        let (why, since) = self.refusal.as_ref()?;
        let is_decided = self.opening == 0 || since.elapsed() > REFUSAL_WAIT;
        is_decided.then(|| LoadError::Refused {
            why: why.clone(),
            joined: self.ready,
            refused: self.refused,
            wanted: self.connections.len(),
        })
    }
}

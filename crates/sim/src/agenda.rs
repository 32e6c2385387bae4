//! What will happen, in order of time and, at one time, in the order it was planned.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_core::{Moment, request::Event};

use crate::network::{Mark, Stamp};

/// What a client sends over a link.
#[derive(Debug, Clone)]
pub enum Up {
    Open,
    Message(Bytes),
    Pong,
    /// The client's end is closed, or the link was cut.
    End,
}

/// One thing that will happen.
#[derive(Debug)]
pub enum Happening {
    /// An action of the plan.
    Act(usize),
    /// A client wanted to be called.
    Wake(usize),
    /// Something arrives at the server over a link.
    Up(usize, Up),
    /// The server accepted a link.
    Opened(usize),
    /// A link takes more from its buffer.
    Drain(usize),
    /// Bytes arrive at the client; and when they were put out, if they were written at once.
    Down(usize, Vec<u8>, Option<Stamp>),
    /// Everything that was put out before the mark has arrived.
    Marked(usize, Mark),
    /// The link ended; the client hears of it.
    DownEnd(usize),
    /// A shard's turn.
    Turn(usize),
    /// The engine has something to do.
    Engine,
    /// Events arrive at a shard, if that is still the same server.
    Events(usize, u32, Vec<Event>),
    /// Everyone a shard sent away must be gone, if that is still the same server; the next takes its place.
    Gone(usize, u32),
    /// When all is calm again someone publishes: the how manieth.
    Probe(usize),
    /// The faults end.
    Heal,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Agenda {
    planned: BTreeMap<(Moment, u64), Happening>,
    count: u64,
}

impl Agenda {
    pub fn plan(&mut self, at: Moment, happening: Happening) {
        self.count += 1;
        self.planned.insert((at, self.count), happening);
    }

    /// The next, if it is not after `end`.
    pub fn next(&mut self, end: Moment) -> Option<(Moment, Happening)> {
        let entry = self.planned.first_entry()?;
        let (at, _) = *entry.key();
        (at <= end).then(|| (at, entry.remove()))
    }
}

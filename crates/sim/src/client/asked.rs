//! What a client asked over one connection and was not answered yet: each command is answered once.

use std::{collections::BTreeMap, time::Duration};

use tidegate_core::Moment;
use tidegate_wire::Command;

use crate::{
    checks::{Violation, broken},
    network::Mark,
};

/// How soon an answer is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// In the turn that takes the command.
    AtOnce,
    /// When it was done by the engine, or refused: within the time for that.
    Later,
    /// Whenever a token is verified, a room attached, a replay read. At rest all are answered.
    Whenever,
}

#[derive(Debug)]
struct Unanswered {
    due: Due,
    /// Which message of the connection it was.
    place: u64,
    at: Moment,
}

/// Time for every answer where all is well: pings and tokens go on at rest.
const ANSWERED: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, Default)]
pub struct Asked {
    by_id: BTreeMap<u32, Unanswered>,
    connect: Option<u32>,
    /// The last publish that was stored.
    stored: u32,
}

impl Asked {
    /// A command is sent as this message of the connection.
    pub fn add(&mut self, id: u32, place: u64, command: &Command, at: Moment) {
        let due = match command {
            Command::Ping { .. } | Command::Leave { .. } | Command::Filter(_) => Due::AtOnce,
            Command::Publish(_) | Command::History(_) | Command::Presence(_) => Due::Later,
            Command::Connect(_) | Command::Refresh { .. } | Command::Join(_) => Due::Whenever,
        };
        if let Command::Connect(connect) = command {
            self.connect = Some(id);
            let resumed = connect.resume.iter().map(|(id, _)| *id);
            self.by_id
                .extend(resumed.map(|id| (id, Unanswered { due, place, at })));
        }
        self.by_id.insert(id, Unanswered { due, place, at });
    }

    /// An answer came.
    pub fn answered(&mut self, id: u32) -> Result<(), Violation> {
        if self.connect == Some(id) {
            self.connect = None;
        }
        match self.by_id.remove(&id) {
            Some(_) => Ok(()),
            None => broken("answer", format!("{id} was not asked, or was answered before")),
        }
    }

    /// Publishes are stored in the order in which they were sent; those that were refused are sent again.
    pub fn stored(&mut self, id: u32) -> Result<(), Violation> {
        let before = std::mem::replace(&mut self.stored, id);
        match before < id {
            true => Ok(()),
            false => broken("answer", format!("publish {id} was stored after {before}")),
        }
    }

    /// Nothing waited for this client: what was due has come.
    pub fn check_mark(&self, mark: &Mark) -> Result<(), Violation> {
        // Until it is let in, all waits.
        if self.connect.is_some() {
            return Ok(());
        }
        let is_missing = |asked: &Unanswered| match asked.due {
            Due::AtOnce => asked.place <= mark.taken,
            Due::Later => asked.place <= mark.taken_long_ago,
            Due::Whenever => false,
        };
        match self.by_id.iter().find(|(_, asked)| is_missing(asked)) {
            None => Ok(()),
            Some(missing) => broken("answer", format!("{missing:?} was not answered by {:?}", mark.at)),
        }
    }

    /// Nothing is under way any more, but for what was asked a moment ago.
    pub fn check_at_rest(&self, now: Moment) -> Result<(), Violation> {
        let is_late = |asked: &Unanswered| now.since(asked.at) > ANSWERED;
        match self.by_id.iter().find(|(_, asked)| is_late(asked)) {
            None => Ok(()),
            Some(missing) => broken("answer", format!("{missing:?} was never answered")),
        }
    }

    /// The connection is over.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

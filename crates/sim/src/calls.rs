//! A client's commands that wait for their turn or their answer, as the SDK keeps them:
//! publications in one line, reads in another; what is rejected for now, not answered or
//! lost with its connection is sent again, a publication under its message id.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use tidegate_core::Moment;
use tidegate_wire::Command;

const IN_FLIGHT_MAX: usize = 16;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A command until it is answered.
#[derive(Debug, Clone)]
pub struct Call {
    pub command: Command,
    pub tries: u32,
    order: u64,
    /// Which message of its connection it was.
    place: u64,
    sent_at: Moment,
    not_before: Moment,
}

/// See the module.
#[derive(Debug)]
pub struct Calls {
    tries_max: u32,
    waiting_max: usize,
    publishes: VecDeque<Call>,
    reads: VecDeque<Call>,
    in_flight: BTreeMap<u32, Call>,
    order: u64,
    /// Tried too often.
    pub given_up: u64,
}

impl Calls {
    /// None; each is tried so often, and so many wait at most.
    pub fn new(tries_max: u32, waiting_max: usize) -> Self {
        Self {
            tries_max,
            waiting_max,
            publishes: VecDeque::new(),
            reads: VecDeque::new(),
            in_flight: BTreeMap::new(),
            order: 0,
            given_up: 0,
        }
    }

    /// Takes a command in, unless too many wait.
    pub fn add(&mut self, command: Command) {
        if self.len() >= self.waiting_max {
            return;
        }
        self.order += 1;
        let call = Call {
            command,
            tries: 0,
            order: self.order,
            place: 0,
            sent_at: Moment(0),
            not_before: Moment(0),
        };
        self.wait(call, Moment(0));
    }

    /// How many wait or are in flight.
    pub fn len(&self) -> usize {
        self.publishes.len() + self.reads.len() + self.in_flight.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn wait(&mut self, mut call: Call, not_before: Moment) {
        call.not_before = not_before;
        let line = match call.command {
            Command::Publish(_) => &mut self.publishes,
            _ => &mut self.reads,
        };
        let place = line.partition_point(|other| other.order < call.order);
        line.insert(place, call);
    }

    /// The next that may be sent, under this id, as the connection's message number `place`.
    pub fn send_next(&mut self, id: u32, place: u64, now: Moment) -> Option<&Command> {
        if self.in_flight.len() >= IN_FLIGHT_MAX {
            return None;
        }
        let is_due = |line: &VecDeque<Call>| line.front().is_some_and(|call| call.not_before <= now);
        let line = match (is_due(&self.publishes), is_due(&self.reads)) {
            (true, _) => &mut self.publishes,
            (false, true) => &mut self.reads,
            (false, false) => return None,
        };
        let mut call = line.pop_front()?;
        call.sent_at = now;
        call.place = place;
        Some(&self.in_flight.entry(id).or_insert(call).command)
    }

    /// The call with this id has its answer.
    pub fn answered(&mut self, id: u32) -> Option<Call> {
        self.in_flight.remove(&id)
    }

    /// One of the first `taken` messages of the connection that is not answered.
    pub fn unanswered(&self, taken: u64) -> Option<&Command> {
        let call = self.in_flight.values().find(|call| call.place <= taken);
        call.map(|call| &call.command)
    }

    /// It may succeed later.
    pub fn put_back(&mut self, mut call: Call, not_before: Moment) {
        call.tries += 1;
        if call.tries >= self.tries_max {
            self.given_up += 1;
            return;
        }
        self.wait(call, not_before);
    }

    /// Those without an answer for too long wait again.
    pub fn take_overdue(&mut self, now: Moment) {
        let is_overdue = |call: &Call| call.sent_at + ANSWER_TIMEOUT <= now;
        let overdue = self.in_flight.iter().filter(|(_, call)| is_overdue(call));
        for id in overdue.map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Some(call) = self.in_flight.remove(&id) {
                self.put_back(call, now);
            }
        }
    }

    /// What was in flight is sent again on the next connection, in its old order.
    pub fn connection_lost(&mut self, mut renamed: impl FnMut(&mut Command)) {
        for (_, mut call) in std::mem::take(&mut self.in_flight) {
            renamed(&mut call.command);
            self.wait(call, Moment(0));
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.publishes.clear();
        self.reads.clear();
        self.in_flight.clear();
    }

    /// When to look again.
    pub fn next_at(&self) -> Option<Moment> {
        let answers = self.in_flight.values().map(|call| call.sent_at + ANSWER_TIMEOUT);
        let lines = [&self.publishes, &self.reads]
            .into_iter()
            .filter_map(VecDeque::front);
        let can_send = self.in_flight.len() < IN_FLIGHT_MAX;
        let turns = lines.filter(|_| can_send).map(|call| call.not_before);
        answers.chain(turns).min()
    }
}

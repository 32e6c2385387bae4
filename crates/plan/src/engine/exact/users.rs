//! Who wants to be connected, who is, and how those come back who were cut off.
//!
//! The population follows the plan's curve: users come at the rate that keeps it there (sessions that end, plus its
//! slope, plus what is missing after a minute), and where it falls faster than sessions end, users leave before
//! their time. None of this depends on the topology: two designs meet the same users.

use super::{Far, NEVER, Nanos, State, nanos, publish, seconds, tables::Tables};
use crate::{
    draw::{Purpose, Stream},
    plan::{Jitter, Session},
};

/// No machine, no job.
pub(super) const NONE: u32 = u32::MAX;
/// Seconds in which the population comes back to its curve.
const CORRECTION: f64 = 60.0;
/// Publications that wait in one client for its connection; what more there is fails at once.
const PENDING_MAX: u8 = 32;
/// Users that are followed one by one: 100 MB of them. Whoever plans for more plans for several such deployments.
const USERS_MAX: usize = 2_000_000;

/// Users by their places; a place is taken again after its user left.
#[derive(Debug, Clone)]
pub(super) struct Users {
    /// The machine they are connected to.
    pub home: Vec<u32>,
    /// How many users the place has had.
    pub made: Vec<u32>,
    /// Without a connection since.
    since: Vec<Nanos>,
    tries: Vec<u8>,
    was_cut: Vec<bool>,
    /// The events that are theirs: any other of that kind is void.
    leave: Vec<u32>,
    dial: Vec<u32>,
    /// The connect on its way.
    dialing: Vec<u32>,
    /// Publications that wait for the connection: the last, and how many.
    pending: Vec<u32>,
    pendings: Vec<u8>,
    /// Their place among those who want.
    place: Vec<u32>,
    pub wanted: Vec<u32>,
    free: Vec<u32>,
    pub connected: u32,
    sessions: Stream,
    leaves: Stream,
    pub backoff: Stream,
    /// What was counted up to.
    settled: Nanos,
}

impl Users {
    pub fn new(tables: &Tables) -> Self {
        Self {
            home: Vec::new(),
            made: Vec::new(),
            since: Vec::new(),
            tries: Vec::new(),
            was_cut: Vec::new(),
            leave: Vec::new(),
            dial: Vec::new(),
            dialing: Vec::new(),
            pending: Vec::new(),
            pendings: Vec::new(),
            place: Vec::new(),
            wanted: Vec::new(),
            free: Vec::new(),
            connected: 0,
            sessions: tables.stream(0, Purpose::Session),
            leaves: tables.stream(2, Purpose::Session),
            backoff: tables.stream(0, Purpose::Backoff),
            settled: 0,
        }
    }

    /// Bytes they take, about.
    pub fn bytes(&self) -> usize {
        // Eight numbers of four bytes, one of eight and three of one.
        self.home.capacity() * 43 + (self.wanted.capacity() + self.free.capacity()) * 4
    }

    pub fn dialing(&self, user: u32) -> u32 {
        self.dialing[user as usize]
    }

    pub fn set_dialing(&mut self, user: u32, job: u32) {
        self.dialing[user as usize] = job;
    }

    fn add(&mut self, now: Nanos) -> u32 {
        let user = self.free.pop().unwrap_or_else(|| {
            self.home.push(NONE);
            self.made.push(0);
            self.since.push(0);
            self.tries.push(0);
            self.was_cut.push(false);
            self.leave.push(0);
            self.dial.push(0);
            self.dialing.push(NONE);
            self.pending.push(NONE);
            self.pendings.push(0);
            self.place.push(0);
            (self.home.len() - 1) as u32
        });
        let at = user as usize;
        self.made[at] += 1;
        self.home[at] = NONE;
        self.since[at] = now;
        self.tries[at] = 0;
        self.was_cut[at] = false;
        self.dialing[at] = NONE;
        self.place[at] = self.wanted.len() as u32;
        self.wanted.push(user);
        user
    }
}

impl State {
    /// At the beginning all are connected, each somewhere in the middle of a session.
    pub(super) fn begin_users(&mut self, tables: &Tables) {
        let (count, _) = tables.users_at(0.0);
        for _ in 0..(count.min(USERS_MAX as f64) + 0.5) as usize {
            let rest = rest_of_session(tables, &mut self.users.sessions, &self.ziggurat);
            let user = self.users.add(0);
            self.users.leave[user as usize] = self.far.push(nanos(rest), Far::Leave(user).pack());
            match self.choose_edge(tables) {
                Some(machine) => self.connect(tables, user, machine),
                None => self.dial_at(user, 0),
            }
        }
    }

    /// How many come more than go, a second.
    pub(super) fn drive(&self, tables: &Tables) -> f64 {
        let (target, slope) = tables.users_at(seconds(self.now));
        let missing = target - self.users.wanted.len() as f64;
        target / tables.session_mean + slope + missing / CORRECTION
    }

    /// One comes, or one leaves before its time.
    pub(super) fn on_user_change(&mut self, tables: &Tables) {
        self.settle();
        if self.drive(tables) >= 0.0 {
            let length = tables.session(&mut self.users.sessions);
            if self.users.wanted.len() >= USERS_MAX {
                return;
            }
            let user = self.users.add(self.now);
            self.users.leave[user as usize] = self
                .far
                .push(self.now.saturating_add(nanos(length)), Far::Leave(user).pack());
            self.dial_at(user, self.now);
        } else if !self.users.wanted.is_empty() {
            let place = self.users.leaves.below(self.users.wanted.len() as u32);
            let user = self.users.wanted[place as usize];
            self.leave(tables, user);
        }
    }

    pub(super) fn on_leave(&mut self, tables: &Tables, user: u32, number: u32) {
        if self.users.leave[user as usize] == number && self.is_wanted(user) {
            self.settle();
            self.leave(tables, user);
        }
    }

    fn is_wanted(&self, user: u32) -> bool {
        let place = self.users.place[user as usize] as usize;
        self.users.wanted.get(place) == Some(&user)
    }

    fn leave(&mut self, tables: &Tables, user: u32) {
        let at = user as usize;
        self.part(tables, user);
        self.fail_pending(user, NEVER);
        let place = self.users.place[at] as usize;
        self.users.wanted.swap_remove(place);
        if let Some(&moved) = self.users.wanted.get(place) {
            self.users.place[moved as usize] = place as u32;
        }
        self.users.place[at] = NONE;
        self.users.made[at] += 1;
        self.users.free.push(user);
    }

    /// Ends a connection, if there is one.
    fn part(&mut self, tables: &Tables, user: u32) {
        let home = std::mem::replace(&mut self.users.home[user as usize], NONE);
        if home != NONE {
            self.users.connected -= 1;
            if let Some(edge) = tables.edge {
                self.nodes[edge].machines[home as usize].connections -= 1;
            }
        }
    }

    /// A connection is lost; its user notices at once.
    pub(super) fn cut(&mut self, tables: &Tables, user: u32, first: First) {
        self.settle();
        self.part(tables, user);
        let at = user as usize;
        self.users.since[at] = self.now;
        self.users.was_cut[at] = true;
        self.users.tries[at] = 0;
        let wait = match first {
            First::AtOnce => 0,
            First::AfterBackoff => self.backoff(tables, 0),
        };
        self.dial_at(user, self.now + wait);
    }

    /// All connections of a machine are lost.
    pub(super) fn cut_all(&mut self, tables: &Tables, machine: u32) {
        for place in 0..self.users.wanted.len() {
            let user = self.users.wanted[place];
            if self.users.home[user as usize] == machine {
                self.cut(tables, user, First::AfterBackoff);
            }
        }
    }

    /// Sends the connections of a machine, or a share of them, away, spread evenly over a time.
    pub(super) fn spread(&mut self, machine: u32, share: f64, over: Nanos) {
        for place in 0..self.users.wanted.len() {
            let user = self.users.wanted[place];
            if self.users.home[user as usize] == machine
                && (share >= 1.0 || self.users.backoff.unit() < share)
            {
                let at = self.now + (self.users.backoff.unit() * over as f64) as Nanos;
                // One place of events serves both: who is connected does not dial.
                self.users.dial[user as usize] = self.far.push(at, Far::Move(user).pack());
            }
        }
    }

    /// The moment to move to another machine, if it is still connected.
    pub(super) fn on_move(&mut self, tables: &Tables, user: u32, number: u32) {
        if self.users.dial[user as usize] == number
            && self.is_wanted(user)
            && self.users.home[user as usize] != NONE
        {
            self.cut(tables, user, First::AtOnce);
        }
    }

    fn dial_at(&mut self, user: u32, at: Nanos) {
        self.users.dialing[user as usize] = NONE;
        self.users.dial[user as usize] = self.far.push(at.max(self.now), Far::Dial(user).pack());
    }

    pub(super) fn on_dial(&mut self, tables: &Tables, user: u32, number: u32) {
        let at = user as usize;
        if self.users.dial[at] != number || !self.is_wanted(user) || self.users.home[at] != NONE {
            return;
        }
        self.books.dialed += 1.0;
        self.users.dialing[at] = NONE;
        if self.is_full() {
            self.on_dial_failed(tables, user, self.users.made[at], NONE);
            return;
        }
        self.begin_connect(tables, user);
    }

    /// A connect came back.
    pub(super) fn on_connected(&mut self, tables: &Tables, user: u32, made: u32, job: u32, machine: u32) {
        let at = user as usize;
        if self.users.made[at] != made || self.users.dialing[at] != job {
            return;
        }
        self.settle();
        let node = tables.edge.map(|edge| &self.nodes[edge]);
        let is_up = node.is_none_or(|node| {
            let row = node.machines.get(machine as usize);
            row.is_some_and(|row| row.is_up)
        });
        let has_room = tables.edge.is_none_or(|edge| {
            is_up
                && self.nodes[edge].machines[machine as usize].connections
                    < tables.nodes[edge].connections_max
        });
        if !is_up || !has_room {
            self.on_dial_failed(tables, user, made, job);
            return;
        }
        if self.users.was_cut[at] {
            self.books.reconnect.record(self.now - self.users.since[at], 1.0);
        }
        self.connect(tables, user, machine);
        self.books.connects += 1.0;
        self.release_pending(tables, user);
    }

    fn connect(&mut self, tables: &Tables, user: u32, machine: u32) {
        self.users.home[user as usize] = machine;
        self.users.dialing[user as usize] = NONE;
        self.users.connected += 1;
        if let Some(edge) = tables.edge {
            self.nodes[edge].machines[machine as usize].connections += 1;
        }
        self.books.connected_max = self.books.connected_max.max(f64::from(self.users.connected));
    }

    /// A connect was refused or given up: once more after a wait, or another user comes in the place of who
    /// lost patience. So how many want to be connected never depends on how well that goes.
    pub(super) fn on_dial_failed(&mut self, tables: &Tables, user: u32, made: u32, job: u32) {
        let at = user as usize;
        if self.users.made[at] != made || self.users.dialing[at] != job {
            return;
        }
        self.books.dials_failed += 1.0;
        let tries = self.users.tries[at];
        let without = self.now - self.users.since[at];
        if without > tables.clients.patience {
            self.books.connects_failed += 1.0;
            if self.users.was_cut[at] {
                // It never came back: at least as long as this.
                self.books.reconnect.record(without, 1.0);
            }
            self.fail_pending(user, NEVER);
            self.users.since[at] = self.now;
            self.users.was_cut[at] = false;
            self.users.tries[at] = 0;
        } else {
            self.users.tries[at] = tries.saturating_add(1);
        }
        let wait = self.backoff(tables, tries);
        self.dial_at(user, self.now + wait);
    }

    /// The wait before a client's next try.
    pub(super) fn backoff(&mut self, tables: &Tables, tries: u8) -> Nanos {
        let clients = &tables.clients;
        let doubled = clients.backoff_first * (1u64 << tries.min(40)) as f64;
        let wait = doubled.min(clients.backoff_max.max(clients.backoff_first));
        nanos(match clients.jitter {
            Jitter::None => wait,
            Jitter::Equal => wait / 2.0 + wait / 2.0 * self.users.backoff.unit(),
            Jitter::Full => wait * self.users.backoff.unit(),
        })
    }

    /// A publication waits for its user's connection.
    pub(super) fn pend(&mut self, tables: &Tables, job: u32) {
        let at = self.jobs[job as usize].user as usize;
        if self.users.pendings[at] >= PENDING_MAX {
            self.fail_pending(at as u32, tables.clients.timeout);
        }
        if self.users.pendings[at] >= PENDING_MAX {
            self.fail_publish(job);
            return;
        }
        self.users.pendings[at] += 1;
        let last = std::mem::replace(&mut self.users.pending[at], job);
        let row = &mut self.jobs[job as usize];
        row.phase = publish::Phase::Pending;
        row.end = self.now;
        row.link = last;
    }

    /// Those that wait too long fail; the others go on waiting.
    fn fail_pending(&mut self, user: u32, older_than: Nanos) {
        let at = user as usize;
        let mut next = std::mem::replace(&mut self.users.pending[at], NONE);
        self.users.pendings[at] = 0;
        let mut kept = NONE;
        while next != NONE {
            let job = next;
            let row = &mut self.jobs[job as usize];
            next = row.link;
            if older_than == NEVER || self.now.saturating_sub(row.tried) > older_than {
                self.fail_publish(job);
            } else {
                row.link = kept;
                kept = job;
                self.users.pendings[at] += 1;
            }
        }
        self.users.pending[at] = kept;
    }

    fn release_pending(&mut self, tables: &Tables, user: u32) {
        self.fail_pending(user, tables.clients.timeout);
        let at = user as usize;
        let mut next = std::mem::replace(&mut self.users.pending[at], NONE);
        self.users.pendings[at] = 0;
        while next != NONE {
            let job = next;
            next = self.jobs[job as usize].link;
            self.send_pending(tables, job);
        }
    }

    /// Counts the time since the last change.
    pub(super) fn settle(&mut self) {
        let passed = seconds(self.now - self.users.settled);
        self.users.settled = self.now;
        let (wanted, connected) = (self.users.wanted.len() as f64, f64::from(self.users.connected));
        self.books.settle(passed, wanted, connected);
    }
}

/// Whether a client that was cut off waits before it tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    AtOnce,
    AfterBackoff,
}

/// What is left of a session that is seen at a moment of no meaning: a length drawn by how much time it takes up, and a
/// place in it.
fn rest_of_session(tables: &Tables, stream: &mut Stream, ziggurat: &super::Ziggurat) -> f64 {
    match tables.session {
        // It has no memory.
        Session::Exponential { .. } => tables.session(stream),
        Session::Fixed { length } => length.max(0.0) * stream.unit(),
        Session::Weibull { shape, scale } => {
            let shape = shape.clamp(0.05, 100.0);
            let length = scale.max(0.0) * libm::pow(gamma(1.0 + 1.0 / shape, stream, ziggurat), 1.0 / shape);
            length * stream.unit()
        }
    }
}

/// Gamma of a shape above 1 and scale 1 (G. Marsaglia and W. W. Tsang, "A Simple Method for Generating Gamma Variables", 2000).
fn gamma(shape: f64, stream: &mut Stream, ziggurat: &super::Ziggurat) -> f64 {
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (3.0 * libm::sqrt(d));
    loop {
        let x = ziggurat.normal(stream);
        let v = 1.0 + c * x;
        if v > 0.0 {
            let v = v * v * v;
            if libm::log(stream.unit()) < 0.5 * x * x + d - d * v + d * libm::log(v) {
                return d * v;
            }
        }
    }
}

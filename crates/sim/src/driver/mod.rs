//! One shard and what the server's driver does for it, turn by turn, in the driver's order
//! (`crates/server/src/driver`): inputs, tokens, events, deadlines, requests, one slice of
//! fan-out, writes, endings. Afterwards the bounds are checked.

mod bounds;
mod fair;
mod marks;
mod pressure;
pub mod slots;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io::IoSlice,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use tidegate_core::{
    ConnId, Lane, Link, Moment, Policies, Setup, Shard,
    admission::Class,
    grant::{Claims, Grant},
    request::{Address, Event, Request},
};
use tidegate_wire::{CloseReason, Codec, Offset, Reject, RejectCode, RoomName};

use crate::{
    agenda::{Agenda, Happening},
    chance::Chance,
    checks::Violation,
    engine::Engine,
    mutation::{Mutation, Planted},
    network::{Head, Network, Stamp},
    plan::Pace,
};
use fair::{Fairness, Shown};
use pressure::Pressed;
use slots::SentAway;

const PING: &[u8] = &[0x89, 0];
/// How long a connection that ends may take to write its last words.
pub const FAREWELL: Duration = Duration::from_secs(1);
/// Events taken in one turn.
const EVENTS_MAX: usize = 64;
/// Pause before a full engine is asked again.
const ENGINE_PAUSE: Duration = Duration::from_millis(1);

/// What came from the network.
#[derive(Debug)]
pub enum Input {
    Open(usize, Link),
    Message(usize, Bytes),
    Pong(usize),
    End(usize),
}

/// What a shard's turn touches.
pub struct Outside<'a> {
    pub network: &'a mut Network,
    pub engine: &'a mut Engine,
    pub agenda: &'a mut Agenda,
}

/// See the module.
pub struct Node {
    pub index: usize,
    pub shard: Shard,
    pub inputs: VecDeque<Input>,
    pub events: VecDeque<Event>,
    pub turn_at: Option<Moment>,
    pub held_until: Moment,
    /// The verifier of tokens neither lingers nor fails any more.
    pub is_healed: bool,
    /// When each publication came here, also in visits of the fan-out.
    pub born: BTreeMap<(RoomName, Offset), (u64, Moment)>,
    /// Where rooms stand; those that are not attached are missing.
    heads: BTreeMap<RoomName, Head>,
    /// The last attach asked for.
    asked: BTreeMap<RoomName, u64>,
    /// Connections to mark when nothing waits for them.
    to_mark: BTreeSet<ConnId>,
    setup: Setup,
    /// What the namespaces promise, whatever the shard was told.
    promised: Policies,
    pace: Pace,
    turn_ends: Moment,
    visits_total: u64,
    subscriptions_max: usize,
    links: BTreeMap<ConnId, usize>,
    heard: BTreeMap<ConnId, Moment>,
    blocked: BTreeSet<ConnId>,
    /// Blocked before the last write.
    was_blocked: BTreeSet<ConnId>,
    /// When they last were.
    cleared: BTreeMap<ConnId, Moment>,
    writable: Vec<ConnId>,
    verifying: VecDeque<(Moment, ConnId, String)>,
    farewells: BTreeMap<ConnId, Moment>,
    /// Who is sent away.
    sent: SentAway,
    stuck: Option<Request>,
    pressed: Pressed,
    /// Rooms of which something was left out since the shard was told how memory stands.
    untold: BTreeSet<RoomName>,
    codecs: BTreeMap<ConnId, Codec>,
    /// When messages were taken, and how many by then.
    taken: BTreeMap<ConnId, VecDeque<(Moment, u64)>>,
    fairness: BTreeMap<ConnId, Fairness>,
    /// A promise that was seen to be broken in the turn under way.
    found: Option<Violation>,
    next_pulse: Moment,
    chance: Chance,
    grants: Rc<[Grant]>,
    planted: Planted,
    turns: u64,
}

impl Node {
    pub fn new(
        setup: Setup,
        promised: Policies,
        pace: Pace,
        seed: u64,
        grants: Rc<[Grant]>,
        planted: Planted,
    ) -> Self {
        Self::begin(setup, promised, pace, seed, grants, planted, Moment(0))
    }

    fn begin(
        setup: Setup,
        promised: Policies,
        pace: Pace,
        seed: u64,
        grants: Rc<[Grant]>,
        planted: Planted,
        now: Moment,
    ) -> Self {
        let index = usize::from(setup.index);
        Self {
            index,
            shard: {
                let mut shard = Shard::new(setup.clone());
                if let Some(bug) = planted.bug() {
                    shard.plant(bug);
                }
                shard.learn_visit_cost(pace.visit_ns);
                shard
            },
            inputs: VecDeque::new(),
            events: VecDeque::new(),
            turn_at: None,
            held_until: now,
            is_healed: false,
            born: BTreeMap::new(),
            heads: BTreeMap::new(),
            asked: BTreeMap::new(),
            to_mark: BTreeSet::new(),
            promised,
            pace,
            turn_ends: now,
            visits_total: 0,
            subscriptions_max: 0,
            links: BTreeMap::new(),
            heard: BTreeMap::new(),
            blocked: BTreeSet::new(),
            was_blocked: BTreeSet::new(),
            cleared: BTreeMap::new(),
            writable: Vec::new(),
            verifying: VecDeque::new(),
            farewells: BTreeMap::new(),
            sent: SentAway::new(now),
            stuck: None,
            pressed: Pressed::default(),
            untold: BTreeSet::new(),
            codecs: BTreeMap::new(),
            taken: BTreeMap::new(),
            fairness: BTreeMap::new(),
            found: None,
            next_pulse: now + setup.limits.ping_interval,
            chance: Chance::of(seed ^ now.0, "shard", index),
            grants,
            planted,
            turns: 0,
            setup,
        }
    }

    /// Begins anew, as the next process would. Its links must have been cut.
    pub fn restart(&mut self, now: Moment) {
        let setup = Setup {
            seed: self.chance.number(),
            ..self.setup.clone()
        };
        // Bytes of the process before may still be on their way, with their count of visits.
        let (turn_at, visits_total, is_healed) = (self.turn_at, self.visits_total, self.is_healed);
        let pressed = self.pressed.inherited(now);
        let seed = self.chance.number();
        *self = Self::begin(
            setup,
            self.promised.clone(),
            self.pace,
            seed,
            self.grants.clone(),
            self.planted.clone(),
            now,
        );
        self.turn_at = turn_at;
        self.visits_total = visits_total;
        self.is_healed = is_healed;
        self.pressed = pressed;
    }

    /// The links that are open here.
    pub fn links(&self) -> Vec<usize> {
        self.links.values().copied().collect()
    }

    /// Plans a turn at `at`, unless there is an earlier one.
    pub fn plan_turn(&mut self, at: Moment, agenda: &mut Agenda) {
        let at = at.max(self.held_until).max(self.turn_ends);
        if self.turn_at.is_none_or(|planned| at < planned) {
            self.turn_at = Some(at);
            agenda.plan(at, Happening::Turn(self.index));
        }
    }

    /// A link's buffer has place again.
    pub fn on_writable(&mut self, conn: ConnId) -> bool {
        if self.blocked.contains(&conn) && !self.planted.strikes(Mutation::ForgetWritable) {
            self.writable.push(conn);
            return true;
        }
        false
    }

    /// One turn.
    pub fn turn(&mut self, now: Moment, outside: &mut Outside<'_>) -> Result<(), Violation> {
        self.turns += 1;
        self.turn_ends = now + self.pace.turn_time;
        self.look_at_pressure(now);
        while let Some(input) = self.inputs.pop_front() {
            self.on_input(input, now, outside);
        }
        self.verify(now);
        self.take_events(now);
        if self.shard.deadline().is_some_and(|at| at <= now) {
            self.shard.handle_timeout(now);
        }
        self.plant_closes(now);
        self.end_overdue(now, outside);
        self.move_pulse(now);
        self.submit(now, outside);
        let subscriptions = self.shard.counters().subscriptions as usize;
        self.subscriptions_max = self.subscriptions_max.max(subscriptions);
        if self.shard.has_fan_out() {
            self.visits_total += self.shard.fan_out(self.pace.visits, now) as u64;
        }
        for conn in std::mem::take(&mut self.writable) {
            self.write(conn, now, outside);
        }
        while let Some(conn) = self.shard.poll_dirty() {
            if !self.planted.strikes(Mutation::ForgetDirty) {
                self.write(conn, now, outside);
            }
        }
        while let Some(conn) = self.shard.poll_closing() {
            // Its socket may have ended before.
            if !self.links.contains_key(&conn) {
                continue;
            }
            self.farewells.insert(conn, now + FAREWELL);
            self.note_parting(conn, now, outside.network);
            self.write(conn, now, outside);
        }
        self.submit(now, outside);
        self.mark(now, outside);
        self.check(now, outside)?;
        self.plan_next(now, outside);
        Ok(())
    }

    fn on_input(&mut self, input: Input, now: Moment, outside: &mut Outside<'_>) {
        match input {
            Input::Open(link, kind) => {
                let client = outside.network.links[link].client;
                let address = Address(client as u128 % 4);
                let is_shed = self.shard.try_admit(Class::Handshake).is_err();
                let opened = (!is_shed).then(|| self.shard.handle_open_from(kind, address, now));
                let Some(conn) = opened.flatten() else {
                    return outside.network.finish(link, now, outside.agenda);
                };
                self.codecs.insert(conn, kind.codec);
                self.links.insert(conn, link);
                self.heard.insert(conn, now);
                outside.network.accept(link, conn, now, outside.agenda);
            }
            Input::Message(link, message) => {
                if let Some(conn) = outside.network.links[link].conn {
                    self.heard.insert(conn, now);
                    let taken = &mut outside.network.links[link].taken;
                    *taken += 1;
                    self.taken.entry(conn).or_default().push_back((now, *taken));
                    let codec = self.codecs.get(&conn).copied().unwrap_or(Codec::Json);
                    self.give_message(conn, codec, &message, now);
                }
            }
            Input::Pong(link) => {
                if let Some(conn) = outside.network.links[link].conn {
                    self.heard.insert(conn, now);
                }
            }
            Input::End(link) => {
                if let Some(conn) = outside.network.links[link].conn {
                    self.remove(conn, now, outside);
                }
            }
        }
    }

    /// Tokens are `user` or `user@the millisecond it ends`. Now and then it takes a while, or fails.
    fn verify(&mut self, now: Moment) {
        while let Some((conn, token)) = self.shard.poll_verify() {
            let delay = match self.chance.below(8) {
                0 if !self.is_healed => Duration::from_millis(self.chance.below(300)),
                _ => Duration::ZERO,
            };
            self.verifying.push_back((now + delay, conn, token));
        }
        while let Some(place) = self.verifying.iter().position(|(at, ..)| *at <= now) {
            let Some((_, conn, token)) = self.verifying.remove(place) else {
                break;
            };
            let (user, expires) = match token.split_once('@') {
                Some((user, ms)) => (user, ms.parse::<u64>().ok().map(|ms| Moment(ms * 1_000_000))),
                None => (token.as_str(), None),
            };
            let result = match (
                expires.is_some_and(|at| at <= now),
                !self.is_healed && self.chance.one_in(64),
            ) {
                (true, _) => Err(Reject::new(RejectCode::TokenExpired, "")),
                (_, true) => Err(Reject::retry(RejectCode::Unavailable, 500, "no keys")),
                _ => Ok(Claims {
                    user: Bytes::copy_from_slice(user.as_bytes()),
                    info: Bytes::new(),
                    expires,
                    grants: self.grants.clone(),
                }),
            };
            self.shard.handle_verified(conn, result, now);
        }
    }

    fn take_events(&mut self, now: Moment) {
        for _ in 0..EVENTS_MAX {
            if !self.shard.wants_events() {
                return;
            }
            let Some(event) = self.events.pop_front() else {
                return;
            };
            self.watch_event(&event, now);
            self.shard.handle_event(event, now);
        }
    }

    fn end_overdue(&mut self, now: Moment, outside: &mut Outside<'_>) {
        let overdue = self.farewells.iter().filter(|(_, at)| **at <= now);
        for conn in overdue.map(|(conn, _)| *conn).collect::<Vec<_>>() {
            self.remove(conn, now, outside);
        }
    }

    fn move_pulse(&mut self, now: Moment) {
        let forgives = self.planted.is(Mutation::KeepSilent);
        if now < self.next_pulse {
            return;
        }
        let interval = self.setup.limits.ping_interval;
        self.next_pulse = now + interval;
        for conn in self.links.keys().copied().collect::<Vec<_>>() {
            if self.farewells.contains_key(&conn) {
                continue;
            }
            let heard = self.heard.get(&conn).copied().unwrap_or_default();
            if now.since(heard) >= interval * 2 && !forgives {
                self.shard.close(conn, CloseReason::PingTimeout, now);
            } else {
                self.shard.push_control(conn, Bytes::from_static(PING), now);
            }
        }
    }

    fn submit(&mut self, now: Moment, outside: &mut Outside<'_>) {
        while outside.engine.has_place() {
            let Some(request) = self.stuck.take().or_else(|| self.shard.poll_request()) else {
                return;
            };
            self.watch_request(&request);
            outside.engine.submit(self.index as u8, request, now);
        }
        self.stuck = self.stuck.take().or_else(|| self.shard.poll_request());
    }

    /// Writes one outbox into its link, as far as that takes it.
    fn write(&mut self, conn: ConnId, now: Moment, outside: &mut Outside<'_>) {
        let Some(link) = self.links.get(&conn).copied() else {
            return;
        };
        let was_blocked = self.blocked.remove(&conn);
        if !was_blocked && self.was_blocked.remove(&conn) && self.planted.strikes(Mutation::LoseCatchUp) {
            let waits = self.shard.outbox_bytes(conn);
            self.shard.handle_written(conn, waits, now);
        }
        let stamp = (!was_blocked).then_some(Stamp {
            at: now,
            visits: self.visits_total,
        });
        loop {
            let mut slices = [IoSlice::new(&[]); 16];
            let count = self.shard.outbox(conn, &mut slices);
            if count == 0 {
                break;
            }
            let shown: usize = slices[..count].iter().map(|slice| slice.len()).sum();
            let mut lanes = [Lane::Control; 16];
            let (_, rest) = self.shard.outbox_lanes(conn, &mut lanes);
            let pieces: Vec<(Lane, usize)> = lanes
                .into_iter()
                .zip(slices[..count].iter().map(|s| s.len()))
                .collect();
            let taken = outside
                .network
                .write(link, &slices[..count], stamp, now, outside.agenda);
            if taken == 0 {
                self.blocked.insert(conn);
                return;
            }
            let pieces = Shown {
                pieces: &pieces,
                rest,
            };
            let fairness = self.fairness.entry(conn).or_default();
            if let Err(violation) = fairness.took(&pieces, taken) {
                self.found = Some(violation);
            }
            let mut told = taken;
            if taken < shown && self.planted.strikes(Mutation::OverstateWritten) {
                told += 1;
            }
            if self.planted.strikes(Mutation::UnderstateWritten) {
                told -= 1;
            }
            self.shard.handle_written(conn, told, now);
        }
        if was_blocked {
            self.to_mark.insert(conn);
            self.was_blocked.insert(conn);
            self.cleared.insert(conn, now);
        }
        if self.farewells.contains_key(&conn) {
            self.remove(conn, now, outside);
        }
    }

    /// The connection is over at this end.
    fn remove(&mut self, conn: ConnId, now: Moment, outside: &mut Outside<'_>) {
        let Some(link) = self.links.remove(&conn) else {
            return;
        };
        self.heard.remove(&conn);
        self.blocked.remove(&conn);
        self.farewells.remove(&conn);
        self.to_mark.remove(&conn);
        self.was_blocked.remove(&conn);
        self.cleared.remove(&conn);
        self.codecs.remove(&conn);
        self.taken.remove(&conn);
        self.fairness.remove(&conn);
        outside.network.links[link].conn = None;
        outside.network.finish(link, now, outside.agenda);
        if !self.planted.strikes(Mutation::ForgetClosed) {
            self.shard.handle_closed(conn, now);
        }
    }

    fn plan_next(&mut self, now: Moment, outside: &mut Outside<'_>) {
        let has_events = !self.events.is_empty() && self.shard.wants_events();
        let busy = (self.shard.has_fan_out() || has_events).then(|| now + Duration::from_micros(20));
        let full = self.stuck.is_some().then(|| now + ENGINE_PAUSE);
        let verified = self.verifying.iter().map(|(at, ..)| *at).min();
        let farewell = self.farewells.values().min().copied();
        let times = [
            busy,
            full,
            verified,
            farewell,
            self.shard.deadline(),
            self.pressed.look_at(),
            Some(self.next_pulse),
        ];
        if let Some(at) = times.into_iter().flatten().min() {
            self.plan_turn(at.max(now + Duration::from_micros(1)), outside.agenda);
        }
    }
}

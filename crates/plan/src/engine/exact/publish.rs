//! What is sent, and its way: through stations, with tries and waits, to its receivers.
//!
//! A job is one try on one way. It has at most one event, its next arrival: on arrival at a station it is known when it
//! will leave. Whose answer comes too late for its caller goes on as a ghost, and works for nobody, as in a real
//! server; the next try is another job. Fan-out needs no event: one visit for each machine that holds a receiver, and a
//! sample of its receivers with their places in it.

use super::{
    State,
    books::Sample,
    tables::{Chosen, Kind, Tables, Visit, is_endless},
    users::NONE,
};
use crate::{
    draw::Stream,
    engine::kernel::{NEVER, Nanos, law::Ziggurat, seconds},
    network::{Machine, Stage},
    outcome::Stay,
};

/// Retries that a budget lets through at once (assumed; as the bucket of an SDK that is idle fills up).
pub(super) const TOKENS_MAX: f64 = 100.0;
/// The first wait between two tries of one station for another: 100 ms (assumed; the first wait of common RPC clients).
const RETRY_FIRST: f64 = 1e8;
/// The longest of those, 10 s.
const RETRY_MAX: f64 = 1e10;
/// TCP sends again after this at the earliest: Linux's 200 ms, doubled each time.
const RESEND: f64 = 2e8;
/// Tries of a job that nobody waits for; a queue gives it up then (assumed; a common limit before the dead letters).
const ASIDE_TRIES: u8 = 8;
/// Stays that a ledger keeps.
const STAYS_MAX: usize = 32;

/// One try of one publication, connect or job. Its fields are used together, so they lie together: a cache line and a half.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    /// Published; of a connect, dialled.
    pub began: Nanos,
    /// This try.
    pub tried: Nanos,
    /// Its caller gives up.
    deadline: Nanos,
    /// It leaves the machine where it is.
    pub end: Nanos,
    /// The event that is its own.
    pub number: u32,
    /// Next in its user's list of those that wait for the connection.
    pub link: u32,
    /// The step it comes to, and the one it is at.
    step: u32,
    at_step: u32,
    pub way: u32,
    pub user: u32,
    made: u32,
    /// Of the edge, for visits at home.
    home: u32,
    node: u32,
    machine: u32,
    room: u32,
    pub receivers: u32,
    samples: u32,
    pub weight: f32,
    trace: u32,
    tries: u8,
    step_tries: u8,
    is_ghost: bool,
    pub phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Free,
    /// It comes to its step.
    Arrives,
    /// It leaves its last step.
    Ends,
    /// Its caller gives up on this station.
    TimesOut,
    /// It was lost with its machine.
    Lost,
    /// The client's next try.
    TriesAgain,
    /// It waits for its user's connection.
    Pending,
}

impl Job {
    pub fn is_open(&self) -> bool {
        self.phase != Phase::Free && !self.is_ghost
    }

    /// Whether it is at a machine of a node.
    pub fn is_at(&self, node: usize, machine: u32, now: Nanos) -> bool {
        matches!(self.phase, Phase::Arrives | Phase::Ends | Phase::TimesOut)
            && (self.node, self.machine) == (node as u32, machine)
            && self.end > now
    }
}

/// Where a sampled event waited.
#[derive(Debug, Clone, Default)]
pub(super) struct Trace {
    pub stays: Vec<Stay>,
}

/// Events at a rate that changes: the next is when the rate has summed up to an exponential draw.
#[derive(Debug, Clone)]
pub(super) struct Source {
    stream: Stream,
    left: f64,
    /// A nanosecond.
    rate: f64,
    since: Nanos,
    pub next: Nanos,
}

impl Source {
    pub fn new(mut stream: Stream, ziggurat: &Ziggurat) -> Self {
        Self {
            left: ziggurat.exponential(&mut stream),
            stream,
            rate: 0.0,
            since: 0,
            next: NEVER,
        }
    }

    pub fn tick(stream: Stream) -> Self {
        Self {
            stream,
            left: 0.0,
            rate: 0.0,
            since: 0,
            next: 0,
        }
    }

    /// From now on so many a second.
    pub fn set_rate(&mut self, now: Nanos, rate: f64) {
        self.left = (self.left - self.rate * (now - self.since) as f64).max(0.0);
        self.since = now;
        self.rate = rate / 1e9;
        self.plan();
    }

    /// After one: the next.
    pub fn draw(&mut self, now: Nanos, ziggurat: &Ziggurat) {
        self.left = ziggurat.exponential(&mut self.stream);
        self.since = now;
        self.plan();
    }

    fn plan(&mut self) {
        self.next = if self.rate > 0.0 {
            self.since.saturating_add((self.left / self.rate) as Nanos)
        } else {
            NEVER
        };
    }
}

impl State {
    /// Somebody publishes.
    pub(super) fn publish(&mut self, tables: &Tables, flow: usize) {
        if self.users.wanted.is_empty() {
            return;
        }
        let row = &tables.flows[flow];
        let stream = &mut self.flows[flow].room;
        let user = self.users.wanted[stream.below(self.users.wanted.len() as u32) as usize];
        let (share, within) = (stream.unit(), stream.bits());
        let place = row
            .receivers
            .partition_point(|size| size.1 < share)
            .min(row.receivers.len().saturating_sub(1));
        let (receivers, room) = match row.receivers.get(place) {
            Some(&(receivers, _, of_all)) => {
                // As many rooms of that size as hold its part of the users; so the largest is always the same.
                let rooms = of_all * self.users.wanted.len() as f64 / f64::from(receivers.max(1));
                let rooms = (rooms as u32).max(1);
                let within = ((u64::from(within) * u64::from(rooms)) >> 32) as u32;
                (
                    receivers,
                    within.wrapping_mul(0x9E37_79B1) ^ (place as u32).wrapping_mul(0x85EB_CA6B),
                )
            }
            None => (0, 0),
        };
        let expected = f64::from(receivers) * tables.sampled;
        let samples = (expected + self.flows[flow].sample.unit()) as u32;
        let weight = 1.0;
        self.books.on_published(tables, flow, weight);
        let trace = if samples > 0 { self.take_trace() } else { NONE };
        let job = self.take_job(Job {
            began: self.now,
            tried: self.now,
            deadline: self.now.saturating_add(tables.clients.timeout),
            end: self.now,
            number: 0,
            link: NONE,
            step: 0,
            at_step: 0,
            way: flow as u32,
            user,
            made: self.users.made[user as usize],
            home: NONE,
            node: NONE,
            machine: NONE,
            room,
            receivers,
            samples,
            weight: weight as f32,
            trace,
            tries: 0,
            step_tries: 0,
            is_ghost: false,
            phase: Phase::Arrives,
        });
        self.send(tables, job, 0);
    }

    /// A user dials: its connect goes its way.
    pub(super) fn begin_connect(&mut self, tables: &Tables, user: u32) {
        let home = self.choose_edge(tables).unwrap_or(NONE);
        let job = self.take_job(Job {
            began: self.now,
            tried: self.now,
            deadline: self.now.saturating_add(tables.clients.timeout),
            end: self.now,
            number: 0,
            link: NONE,
            step: 0,
            at_step: 0,
            way: tables.connect_way() as u32,
            user,
            made: self.users.made[user as usize],
            home,
            node: NONE,
            machine: NONE,
            room: user,
            receivers: 0,
            samples: 0,
            weight: 1.0,
            trace: NONE,
            tries: 0,
            step_tries: 0,
            is_ghost: false,
            phase: Phase::Arrives,
        });
        self.users.set_dialing(user, job);
        if home == NONE && tables.edge.is_some() {
            // Nobody listens.
            self.fail_try(tables, job);
            return;
        }
        let travel = tables.network.draw(&self.ziggurat, &mut self.users.backoff);
        self.begin_way(tables, job, travel);
    }

    /// Machines that take connections, in turn.
    pub(super) fn choose_edge(&mut self, tables: &Tables) -> Option<u32> {
        let Some(edge) = tables.edge else { return Some(0) };
        let node = &mut self.nodes[edge];
        let turn = node.turn;
        node.turn = turn.wrapping_add(1);
        let len = node.open.len();
        (len > 0).then(|| node.open[turn as usize % len])
    }

    /// A publication leaves its client, or waits for the connection.
    fn send(&mut self, tables: &Tables, job: u32, wait: Nanos) {
        let row = &mut self.jobs[job as usize];
        let home = self.users.home[row.user as usize];
        if home == NONE || self.users.made[row.user as usize] != row.made {
            self.pend(tables, job);
            return;
        }
        row.home = home;
        row.step = tables.ways[row.way as usize].first;
        let Kind::Publish(flow) = tables.ways[row.way as usize].kind else {
            return;
        };
        let uplink = if tables.flows[flow].uplink {
            tables.network.draw(&self.ziggurat, &mut self.flows[flow].network)
        } else {
            0.0
        };
        let trace = row.trace;
        self.stay(trace, Stage::Uplink, None, uplink as Nanos, 0, 0);
        self.begin_way(tables, job, wait as f64 + uplink);
    }

    /// The connection is back.
    pub(super) fn send_pending(&mut self, tables: &Tables, job: u32) {
        let row = &self.jobs[job as usize];
        let (trace, waited) = (row.trace, self.now - row.end);
        self.stay(trace, Stage::Reconnect, None, waited, 0, 0);
        self.send(tables, job, 0);
    }

    /// To the first step it makes, after a wait.
    fn begin_way(&mut self, tables: &Tables, job: u32, wait: f64) {
        let start = self.now.saturating_add(wait as Nanos);
        let way = tables.ways[self.jobs[job as usize].way as usize];
        self.jobs[job as usize].step = way.first;
        let at = self.go_on(tables, job, start, way.first);
        let at = self.give_up_at(tables, job, at);
        if let Some(at) = at {
            let number = self.near.push(at, job);
            self.jobs[job as usize].number = number;
        }
    }

    /// Finds the next step from one on, and when it gets there; at the end of the way it ends.
    fn go_on(&mut self, tables: &Tables, job: u32, from: Nanos, step: u32) -> Nanos {
        let row = &mut self.jobs[job as usize];
        let end = tables.ways[row.way as usize].end;
        let mut step = step;
        while step < end {
            let visit = &tables.visits[step as usize];
            let taken = match visit.share {
                Chosen::All => true,
                Chosen::Of(share) => self.stations[visit.station].choice.unit() < share,
                Chosen::Misses {
                    node,
                    hit_rate,
                    warm_up,
                } => {
                    let warm = match self.nodes[node].cold_since {
                        Some(since) => (seconds(self.now - since) / warm_up.max(1e-9)).min(1.0),
                        None => 1.0,
                    };
                    self.stations[visit.station].choice.unit() >= hit_rate * warm
                }
            };
            if taken {
                row.step = step;
                row.phase = Phase::Arrives;
                row.step_tries = 0;
                let state = &mut self.stations[visit.station];
                let mut travel = visit.travel.draw(&self.ziggurat, &mut state.choice);
                let loss = self.nodes[visit.node].loss;
                if loss > 0.0 {
                    let mut resend = RESEND;
                    for _ in 0..6 {
                        if state.choice.unit() >= loss {
                            break;
                        }
                        travel += resend;
                        resend *= 2.0;
                    }
                }
                let trace = row.trace;
                self.stay(trace, visit.travel_stage, None, travel as Nanos, 0, 0);
                return from.saturating_add(travel as Nanos);
            }
            step += 1;
        }
        row.step = end;
        row.phase = Phase::Ends;
        from
    }

    /// If its caller will have given up by then, the caller's next try is planned, and this one goes on as a ghost.
    fn give_up_at(&mut self, tables: &Tables, job: u32, at: Nanos) -> Option<Nanos> {
        let row = &mut self.jobs[job as usize];
        if at <= row.deadline || row.is_ghost {
            return Some(at);
        }
        let deadline = row.deadline;
        let mut next = *row;
        // The ghost stays where the work is; what is known of the publication goes with the next try.
        row.is_ghost = true;
        row.trace = NONE;
        row.samples = 0;
        next.phase = Phase::TriesAgain;
        next.end = self.now;
        (next.node, next.machine) = (NONE, NONE);
        let is_connect = tables.ways[next.way as usize].kind == Kind::Connect;
        let again = self.take_job(next);
        if is_connect {
            self.hand_over_dial(next.user, job, again);
        }
        let number = self.near.push(deadline.max(self.now), again);
        self.jobs[again as usize].number = number;
        Some(at)
    }

    fn hand_over_dial(&mut self, user: u32, from: u32, to: u32) {
        if self.users.dialing(user) == from {
            self.users.set_dialing(user, to);
        }
    }

    /// The event of a job; its next, if it has one.
    pub(super) fn handle_job(&mut self, tables: &Tables, job: u32, number: u32) -> Option<Nanos> {
        let row = &self.jobs[job as usize];
        if row.number != number {
            return None;
        }
        match row.phase {
            Phase::Arrives => self.arrive(tables, job),
            Phase::Ends => {
                self.end_way(tables, job);
                None
            }
            Phase::TimesOut => self.fail_step(tables, job),
            Phase::Lost => {
                self.jobs[job as usize].step = self.jobs[job as usize].at_step;
                self.fail_step(tables, job)
            }
            Phase::TriesAgain => {
                self.fail_try(tables, job);
                None
            }
            Phase::Pending | Phase::Free => None,
        }
    }

    /// It comes to a station.
    fn arrive(&mut self, tables: &Tables, job: u32) -> Option<Nanos> {
        let now = self.now;
        let row = &mut self.jobs[job as usize];
        let visit = &tables.visits[row.step as usize];
        if visit.machine == Machine::Receivers {
            self.fan_out(tables, job);
            return None;
        }
        let station = &mut self.stations[visit.station];
        let node = &mut self.nodes[visit.node];
        let machine = match visit.machine {
            Machine::Home => node
                .machines
                .get(row.home as usize)
                .filter(|machine| machine.is_up)
                .map(|_| row.home),
            Machine::Room => node.of_room(row.room),
            Machine::Any | Machine::Receivers => {
                let len = node.open.len();
                let turn = station.turn;
                station.turn = turn.wrapping_add(1);
                (len > 0).then(|| node.open[if len == 1 { 0 } else { turn as usize % len }])
            }
        };
        let table = &tables.stations[visit.station];
        let Some(machine) = machine else {
            self.books.on_refused(visit.station, f64::from(row.weight));
            return self.fail_step(tables, job);
        };
        let pool = &mut self.pools[visit.pool];
        let waiting = pool.waiting(machine as usize, now);
        if waiting >= table.waiting_max && pool.backlog(machine as usize, now) > 0 {
            self.books.on_refused(visit.station, f64::from(row.weight));
            return self.fail_step(tables, job);
        }
        let drawn = visit.service.draw(&self.ziggurat, &mut station.service);
        let service = (drawn * node.slow * self.stretch[visit.pool]) as Nanos;
        let start = pool.serve(machine as usize, now, service);
        let end = start.saturating_add(service);
        self.books.on_visit(
            visit.station,
            visit.pool,
            start - now,
            start,
            service,
            waiting,
            f64::from(row.weight),
        );
        (row.node, row.machine, row.end, row.at_step) = (visit.node as u32, machine, end, row.step);
        if let Kind::Publish(flow) = tables.ways[row.way as usize].kind {
            self.books.usage.interzone_bytes +=
                tables.flows[flow].bytes * visit.crosses * f64::from(row.weight);
        }
        if row.trace != NONE {
            let (trace, ahead) = (
                row.trace,
                waiting + self.pools[visit.pool].busy(machine as usize, now),
            );
            // It is one of the busy ones itself, unless it waits.
            let ahead = if start > now {
                ahead
            } else {
                ahead.saturating_sub(1)
            };
            self.stay(
                trace,
                table.stage,
                Some(visit.station),
                start - now,
                service,
                ahead as u32,
            );
        }
        if end - now > table.timeout {
            self.books
                .on_timed_out(visit.station, f64::from(self.jobs[job as usize].weight));
            self.jobs[job as usize].phase = Phase::TimesOut;
            let at = now.saturating_add(table.timeout);
            return self.give_up_at(tables, job, at);
        }
        if table.retry_budget.is_some() {
            let state = &mut self.stations[visit.station];
            state.tokens = (state.tokens + table.retry_budget.unwrap_or(0.0)).min(TOKENS_MAX);
        }
        let next = self.jobs[job as usize].step + 1;
        let at = self.go_on(tables, job, end, next);
        self.give_up_at(tables, job, at)
    }

    /// A station refused it, lost it or was too slow: the caller tries there again, or the whole try failed.
    fn fail_step(&mut self, tables: &Tables, job: u32) -> Option<Nanos> {
        let row = &mut self.jobs[job as usize];
        let visit = &tables.visits[row.step as usize];
        let table = &tables.stations[visit.station];
        let state = &mut self.stations[visit.station];
        let has_token = table.retry_budget.is_none() || state.tokens >= 1.0;
        if u32::from(row.step_tries) < table.retries.min(200) && has_token {
            if table.retry_budget.is_some() {
                state.tokens -= 1.0;
            }
            let mut wait = (RETRY_FIRST * (1u64 << row.step_tries.min(30)) as f64).min(RETRY_MAX);
            if table.retry_jitter {
                wait *= state.choice.unit();
            }
            row.step_tries += 1;
            row.phase = Phase::Arrives;
            let (trace, at) = (row.trace, self.now + wait as Nanos);
            self.stay(trace, Stage::Backoff, Some(visit.station), wait as Nanos, 0, 0);
            return self.give_up_at(tables, job, at);
        }
        self.fail_try(tables, job);
        None
    }

    /// A try failed: the client's next, or it failed for good.
    fn fail_try(&mut self, tables: &Tables, job: u32) {
        let row = &mut self.jobs[job as usize];
        if row.is_ghost {
            self.free_job(job);
            return;
        }
        match tables.ways[row.way as usize].kind {
            Kind::Connect => {
                let (user, made) = (row.user, row.made);
                self.free_job(job);
                self.on_dial_failed(tables, user, made, job);
            }
            Kind::Aside(flow) => {
                if row.tries >= ASIDE_TRIES {
                    self.books.classes[flow].asides_dropped += f64::from(row.weight);
                    self.free_job(job);
                    return;
                }
                let wait = 1e9 * f64::from(1u32 << row.tries);
                row.tries += 1;
                self.begin_way(tables, job, wait);
            }
            Kind::Publish(flow) => {
                let clients = &tables.clients;
                let has_token = clients.retry_budget.is_none() || self.tokens >= 1.0;
                if u32::from(row.tries) >= clients.retries || !has_token {
                    self.fail_publish(tables, job);
                    return;
                }
                if clients.retry_budget.is_some() {
                    self.tokens -= 1.0;
                }
                let tries = row.tries;
                row.tries += 1;
                self.books.classes[flow].retried += f64::from(row.weight);
                let waited = self.now.saturating_sub(row.tried);
                let trace = row.trace;
                let wait = self.backoff(tables, tries);
                // The tries that failed are one wait to who reads the ledger.
                if trace != NONE {
                    self.traces[trace as usize].stays.clear();
                    let before = self.now - self.jobs[job as usize].began;
                    self.stay(trace, Stage::Backoff, None, before.max(waited) + wait, 0, 0);
                }
                let row = &mut self.jobs[job as usize];
                row.tried = self.now.saturating_add(wait);
                row.deadline = row.tried.saturating_add(clients.timeout);
                self.send(tables, job, wait);
            }
        }
    }

    /// A publication failed for good.
    pub(super) fn fail_publish(&mut self, tables: &Tables, job: u32) {
        let row = &self.jobs[job as usize];
        let flow = row.way as usize;
        let user = row.user as usize;
        // Who has no connection is worse off already.
        let is_connected = self.users.made[user] == row.made && self.users.home[user] != NONE;
        self.books
            .on_failed(tables, flow, f64::from(row.weight), is_connected);
        self.free_job(job);
    }

    /// It reached the end of its way.
    fn end_way(&mut self, tables: &Tables, job: u32) {
        let row = self.jobs[job as usize];
        match tables.ways[row.way as usize].kind {
            Kind::Connect if row.is_ghost => self.free_job(job),
            Kind::Connect => {
                self.free_job(job);
                self.on_connected(tables, row.user, row.made, job, row.home);
            }
            Kind::Aside(flow) => {
                self.books.classes[flow]
                    .lag
                    .record(self.now - row.began, f64::from(row.weight));
                self.free_job(job);
            }
            // It has no fan-out of its own: its receivers have it now.
            Kind::Publish(_) => self.fan_out(tables, job),
        }
    }

    /// A publication is accepted, and goes to its receivers.
    fn fan_out(&mut self, tables: &Tables, job: u32) {
        let row = self.jobs[job as usize];
        let flow = row.way as usize;
        if row.is_ghost {
            // The next try has the same id: it is known, and not sent twice.
            self.free_job(job);
            return;
        }
        let table = &tables.flows[flow];
        let weight = f64::from(row.weight);
        self.books.on_accepted(tables, flow, weight);
        if let Some(budget) = tables.clients.retry_budget {
            self.tokens = (self.tokens + budget).min(TOKENS_MAX);
        }
        if table.has_aside {
            self.begin_aside(tables, &row, flow);
        }
        let wanted = self.users.wanted.len().max(1) as f64;
        let online = f64::from(row.receivers) * f64::from(self.users.connected) / wanted;
        let kept = self.count_deliveries(tables, flow, &row, online);
        let first = row.step;
        let end = tables.ways[flow].end;
        match (first < end, tables.edge) {
            (true, Some(edge)) if row.receivers > 0 => {
                self.visit_receivers(tables, job, flow, edge, kept);
            }
            _ => {
                let at = self.now;
                for _ in 0..row.samples {
                    self.deliver(tables, flow, &row, at, row.trace, None);
                }
            }
        }
        self.free_job(job);
    }

    fn begin_aside(&mut self, tables: &Tables, row: &Job, flow: usize) {
        let way = tables.flows.len() + flow;
        let job = self.take_job(Job {
            began: self.now,
            tried: self.now,
            deadline: NEVER,
            end: self.now,
            way: way as u32,
            trace: NONE,
            samples: 0,
            tries: 0,
            step_tries: 0,
            phase: Phase::Arrives,
            ..*row
        });
        self.books.usage.queue_jobs += f64::from(row.weight);
        self.begin_way(tables, job, 0.0);
    }

    /// One long visit at each machine that holds a receiver.
    fn visit_receivers(&mut self, tables: &Tables, job: u32, flow: usize, edge: usize, kept: f64) {
        let row = self.jobs[job as usize];
        let machines = self.nodes[edge].machines.len();
        let connected = f64::from(self.users.connected.max(1));
        let mut left = row.receivers;
        let mut samples_left = row.samples;
        let mut connections_left = self.users.connected;
        let scale = connected / self.users.wanted.len().max(1) as f64;
        left = {
            let online = f64::from(left) * scale;
            (online + self.flows[flow].sample.unit()).min(f64::from(left)) as u32
        };
        // Samples whose receiver is away get it when they are back, if it was kept for them.
        let away = self.count_away(flow, samples_left, scale);
        samples_left -= away;
        for _ in 0..away {
            self.books.on_away(tables, flow, f64::from(row.weight));
        }
        for machine in 0..machines {
            let here = &self.nodes[edge].machines[machine];
            if here.connections == 0 || left == 0 {
                continue;
            }
            let share = f64::from(here.connections) / f64::from(connections_left.max(1));
            let is_last = here.connections >= connections_left;
            connections_left = connections_left.saturating_sub(here.connections);
            let part = if is_last {
                left
            } else {
                part_of(left, share, &mut self.flows[flow].sample)
            };
            if part == 0 {
                continue;
            }
            let samples = if is_last {
                samples_left
            } else {
                let of = f64::from(part) / f64::from(left);
                part_of(samples_left, of, &mut self.flows[flow].sample)
            };
            left -= part;
            samples_left -= samples;
            self.visit_part(
                tables,
                job,
                flow,
                machine as u32,
                Part {
                    receivers: part,
                    samples,
                    kept,
                },
            );
        }
    }

    fn count_away(&mut self, flow: usize, samples: u32, connected: f64) -> u32 {
        if connected >= 1.0 {
            return 0;
        }
        (0..samples)
            .filter(|_| self.flows[flow].sample.unit() >= connected)
            .count() as u32
    }

    /// The visits of one machine, from the first of the fan-out on.
    fn visit_part(&mut self, tables: &Tables, job: u32, flow: usize, machine: u32, part: Part) {
        let row = self.jobs[job as usize];
        let weight = f64::from(row.weight);
        let end_step = tables.ways[flow].end;
        let mut at = self.now;
        // Where each sample is in the last long visit: its beginning, and how long each receiver takes.
        let mut slots: Option<(Nanos, Nanos, f64)> = None;
        let copies = (part.samples > 0).then(|| self.copy_trace(row.trace));
        for step in row.step..end_step {
            let visit: &Visit = &tables.visits[step as usize];
            let node = &self.nodes[visit.node];
            let machine = machine as usize % node.machines.len().max(1);
            let is_first = step == row.step;
            let station = &mut self.stations[visit.station];
            if !is_first {
                let travel = visit.travel.draw(&self.ziggurat, &mut station.choice);
                at = at.saturating_add(travel as Nanos);
            }
            let base = visit.service.draw(&self.ziggurat, &mut station.service);
            let factor = node.slow * self.stretch[visit.pool];
            let each = visit.per_receiver * part.kept * factor;
            let service = (base * factor + each * f64::from(part.receivers)) as Nanos;
            let pool = &mut self.pools[visit.pool];
            let waiting = if is_endless(tables.pools[visit.pool].servers) {
                0
            } else {
                pool.waiting(machine, self.now)
            };
            let start = pool.serve(machine, at, service);
            self.books.on_visit(
                visit.station,
                visit.pool,
                start - at,
                start,
                service,
                waiting,
                weight,
            );
            if let Some(trace) = copies {
                let stage = tables.stations[visit.station].stage;
                self.stay(
                    trace,
                    stage,
                    Some(visit.station),
                    start - at,
                    service,
                    waiting as u32,
                );
            }
            slots = Some((start, (base * factor) as Nanos, each));
            at = start.saturating_add(service);
        }
        let Some(trace) = copies else { return };
        for _ in 0..part.samples {
            let done = match slots {
                Some((start, base, each)) => {
                    let place = self.flows[flow].sample.below(part.receivers.max(1)) + 1;
                    start
                        .saturating_add(base)
                        .saturating_add((each * f64::from(place)) as Nanos)
                }
                None => at,
            };
            self.deliver(tables, flow, &row, done, trace, Some(at));
        }
        self.free_trace(trace);
    }

    /// One sampled delivery leaves the server: the outbox, if its reader is slow, the network, and the books.
    fn deliver(
        &mut self,
        tables: &Tables,
        flow: usize,
        row: &Job,
        at: Nanos,
        trace: u32,
        end: Option<Nanos>,
    ) {
        let table = &tables.flows[flow];
        let stream = &mut self.flows[flow].sample;
        let mut outbox = 0.0;
        if tables.conflate_rate > 0.0 && table.coalescible {
            outbox += stream.unit() / tables.conflate_rate;
        }
        if tables.slow_readers > 0.0 && stream.unit() < tables.slow_readers {
            outbox += (self.outbox + table.bytes) / tables.slow_reader_rate;
            if self.outbox_full > 0.0 && stream.unit() < self.outbox_full {
                // It found no room; who counts it is `count_deliveries`.
                return;
            }
        }
        let outbox = (outbox * 1e9) as Nanos;
        let downlink = if table.downlink {
            tables.network.draw(&self.ziggurat, stream) as Nanos
        } else {
            0
        };
        let latency = at
            .saturating_sub(row.began)
            .saturating_add(outbox)
            .saturating_add(downlink);
        let sample = Sample {
            flow,
            began: row.began,
            latency,
            outbox,
            downlink,
            receivers: f64::from(row.receivers),
            // Of its long visit it did not wait for those behind it.
            shorter: end.map_or(0, |end| end.saturating_sub(at)),
            weight: f64::from(row.weight) / tables.sampled,
        };
        let stays: &[Stay] = if trace == NONE {
            &[]
        } else {
            &self.traces[trace as usize].stays
        };
        self.books.on_delivered(tables, &sample, stays);
    }

    fn stay(
        &mut self,
        trace: u32,
        stage: Stage,
        station: Option<usize>,
        waited: Nanos,
        served: Nanos,
        ahead: u32,
    ) {
        if trace == NONE || (waited == 0 && served == 0) {
            return;
        }
        let stays = &mut self.traces[trace as usize].stays;
        if stays.len() < STAYS_MAX {
            stays.push(Stay {
                stage,
                station: station.map(|station| station as u32),
                waited_s: seconds(waited),
                served_s: seconds(served),
                ahead,
            });
        }
    }

    fn take_trace(&mut self) -> u32 {
        if let Some(trace) = self.traces_free.pop() {
            self.traces[trace as usize].stays.clear();
            return trace;
        }
        self.traces.push(Trace {
            stays: Vec::with_capacity(STAYS_MAX),
        });
        (self.traces.len() - 1) as u32
    }

    fn copy_trace(&mut self, from: u32) -> u32 {
        let to = self.take_trace();
        if from != NONE {
            let [from, to] = self
                .traces
                .get_disjoint_mut([from as usize, to as usize])
                .expect("the copy is another");
            to.stays.extend_from_slice(&from.stays);
        }
        to
    }

    fn free_trace(&mut self, trace: u32) {
        if trace != NONE {
            self.traces_free.push(trace);
        }
    }

    fn take_job(&mut self, row: Job) -> u32 {
        match self.jobs_free.pop() {
            Some(job) => {
                self.jobs[job as usize] = row;
                job
            }
            None => {
                self.jobs.push(row);
                (self.jobs.len() - 1) as u32
            }
        }
    }

    fn free_job(&mut self, job: u32) {
        let row = &mut self.jobs[job as usize];
        let trace = std::mem::replace(&mut row.trace, NONE);
        row.phase = Phase::Free;
        row.number = 0;
        self.free_trace(trace);
        self.jobs_free.push(job);
    }
}

/// Receivers at one machine.
#[derive(Debug, Clone, Copy)]
struct Part {
    receivers: u32,
    samples: u32,
    /// Share of them that no newer one replaces.
    kept: f64,
}

/// How many of `len` fall to a share: each by itself if few, else as if normal.
fn part_of(len: u32, share: f64, stream: &mut Stream) -> u32 {
    if len <= 32 {
        let limit = (share * 4_294_967_296.0) as u64;
        return (0..len).filter(|_| u64::from(stream.bits()) < limit).count() as u32;
    }
    let mean = f64::from(len) * share;
    let deviation = libm::sqrt(mean * (1.0 - share).max(0.0));
    (mean + deviation * stream.normal() + 0.5).clamp(0.0, f64::from(len)) as u32
}

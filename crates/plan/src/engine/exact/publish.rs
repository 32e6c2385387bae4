//! What is sent, and its way through stations, with tries and waits, until it is accepted.
//!
//! A job is one try on one way. It has at most one event, its next arrival: on arrival at a station it is known when it
//! will leave. Whose answer comes too late for its caller goes on as a ghost, and works for nobody, as in a real
//! server; the next try is another job.

use super::{
    State,
    books::Visited,
    tables::{Chosen, Kind, Tables},
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
/// Jobs at once: 60 MB of them. Where so many wait, a real deployment has run out of memory; what more there is is refused.
const JOBS_MAX: usize = 500_000;
/// Events at once of which it is known where they waited: 25 MB of them. Of the others only how long they took is.
const TRACES_MAX: usize = 16_384;
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
    pub deadline: Nanos,
    /// It leaves the machine where it is.
    pub end: Nanos,
    /// The event that is its own.
    pub number: u32,
    /// Next in its user's list of those that wait for the connection.
    pub link: u32,
    /// The step it comes to, and the one it is at.
    pub step: u32,
    pub at_step: u32,
    pub way: u32,
    pub user: u32,
    pub made: u32,
    /// Of the edge, for visits at home.
    pub home: u32,
    pub node: u32,
    pub machine: u32,
    pub room: u32,
    pub receivers: u32,
    pub samples: u32,
    /// What it stands for, and what of that is in its own window.
    pub weight: f32,
    pub count: f32,
    pub trace: u32,
    pub tries: u8,
    pub step_tries: u8,
    pub is_ghost: bool,
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
    pub(super) fn publish(&mut self, tables: &Tables, flow: usize, (weight, count): (f64, f64)) {
        if self.users.wanted.is_empty() {
            return;
        }
        if self.is_full() {
            self.books.on_published(tables, flow, count);
            self.books.on_failed(
                flow,
                weight,
                Some(tables.flows[flow].receivers_mean * self.paces[flow].conflation.kept()),
            );
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
                let growth = self.paces[flow].growth;
                let receivers = if growth == 1.0 {
                    receivers
                } else {
                    (f64::from(receivers) * growth + 0.5).max(1.0) as u32
                };
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
        let expected = f64::from(receivers) * row.sampled;
        let samples = (expected + self.flows[flow].sample.unit()) as u32;
        self.books.on_published(tables, flow, count);
        let has_room = self.traces.len() - self.traces_free.len() < TRACES_MAX;
        let trace = if samples > 0 && has_room {
            self.take_trace()
        } else {
            NONE
        };
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
            count: count as f32,
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
            count: 1.0,
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

    /// No job can be added.
    pub(super) fn is_full(&self) -> bool {
        self.jobs.len() - self.jobs_free.len() >= JOBS_MAX
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
    pub(super) fn begin_way(&mut self, tables: &Tables, job: u32, wait: f64) {
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
        let is_full = self.is_full();
        let row = &mut self.jobs[job as usize];
        if at <= row.deadline || row.is_ghost {
            return Some(at);
        }
        let deadline = row.deadline;
        if is_full {
            // There is no room for a ghost.
            row.phase = Phase::TriesAgain;
            row.end = self.now;
            return Some(deadline.max(self.now));
        }
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
        self.fill_background(tables, visit.pool, machine as usize);
        let row = &mut self.jobs[job as usize];
        let station = &mut self.stations[visit.station];
        let node = &self.nodes[visit.node];
        let pool = &mut self.pools[visit.pool];
        let waiting = pool.waiting(machine as usize, now);
        let is_connect = tables.ways[row.way as usize].kind == Kind::Connect && !row.is_ghost;
        if waiting >= table.waiting_max && pool.backlog(machine as usize, now) > 0 {
            self.books.on_refused(visit.station, f64::from(row.weight));
            return self.fail_step(tables, job);
        }
        if is_connect && now.saturating_add(pool.backlog(machine as usize, now)) > row.deadline {
            // Who dialled is gone when it would be its turn, and a closed socket is no work.
            self.books.on_timed_out(visit.station, f64::from(row.weight));
            return self.wait_in_vain(job);
        }
        let drawn = visit.service.draw(&self.ziggurat, &mut station.service);
        let service = (drawn * node.slow * self.stretch[visit.pool]) as Nanos;
        let start = pool.serve(machine as usize, now, service);
        let end = start.saturating_add(service);
        self.books.on_visit(
            visit.station,
            visit.pool,
            &Visited {
                waited: start - now,
                start,
                service,
                waiting,
            },
            (f64::from(row.weight), f64::from(row.count)),
        );
        (row.node, row.machine, row.end, row.at_step) = (visit.node as u32, machine, end, row.step);
        if tables.ways[row.way as usize].kind == Kind::Connect {
            self.books.connecting += 1.0;
        }
        if let Kind::Publish(flow) = tables.ways[row.way as usize].kind {
            self.books.usage.interzone_bytes +=
                tables.flows[flow].bytes * visit.crosses * f64::from(row.count);
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

    /// Its caller gives up, and nothing of it is left.
    fn wait_in_vain(&mut self, job: u32) -> Option<Nanos> {
        let row = &mut self.jobs[job as usize];
        row.phase = Phase::TriesAgain;
        row.end = self.now;
        (row.node, row.machine) = (NONE, NONE);
        Some(row.deadline.max(self.now))
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
                    self.fail_publish(job);
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
    pub(super) fn fail_publish(&mut self, job: u32) {
        let row = &self.jobs[job as usize];
        let flow = row.way as usize;
        let user = row.user as usize;
        // Who has no connection is worse off already.
        let is_connected = self.users.made[user] == row.made && self.users.home[user] != NONE;
        let missed = is_connected.then_some(f64::from(row.receivers) * self.paces[flow].conflation.kept());
        self.books.on_failed(flow, f64::from(row.weight), missed);
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

    pub(super) fn stay(
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

    pub(super) fn take_trace(&mut self) -> u32 {
        if let Some(trace) = self.traces_free.pop() {
            self.traces[trace as usize].stays.clear();
            return trace;
        }
        self.traces.push(Trace {
            stays: Vec::with_capacity(STAYS_MAX),
        });
        (self.traces.len() - 1) as u32
    }

    pub(super) fn copy_trace(&mut self, from: u32) -> u32 {
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

    pub(super) fn free_trace(&mut self, trace: u32) {
        if trace != NONE {
            self.traces_free.push(trace);
        }
    }

    pub(super) fn take_job(&mut self, row: Job) -> u32 {
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

    pub(super) fn free_job(&mut self, job: u32) {
        let row = &mut self.jobs[job as usize];
        let trace = std::mem::replace(&mut row.trace, NONE);
        row.phase = Phase::Free;
        row.number = 0;
        self.free_trace(trace);
        self.jobs_free.push(job);
    }
}

//! Exact: each publish, each connect, each failure, event by event.
//!
//! A [`Run`] is a value: it goes forward to a moment ([`Run::run_until`]), it can be cloned there, changed
//! ([`Run::strike`], [`Run::change`]) and both finished ([`Run::finish`]): that is how a run is scrubbed, and forked at
//! a minute. [`Snapshots`] keeps such clones.
//!
//! ```text
//!   tables    the network, prepared            mod        the clock: which event is next
//!   users     who wants to be connected        publish    what they send, through stations
//!   deliver   from there to its receivers      scale      machines that come and go
//!   failures  what breaks, and comes back      books      what is counted
//!   windows   what of it all is simulated      pace       how fast flows go now
//!   fork      another plan from here on, and moments to go back to
//! ```

mod books;
mod deliver;
mod failures;
mod fork;
mod pace;
mod publish;
mod scale;
mod tables;
mod users;
mod windows;

#[cfg(test)]
pub(super) mod tests;

use std::rc::Rc;

use self::{
    books::Books,
    failures::{Act, Node},
    pace::{Pace, SlowPace},
    publish::{Job, Source, Trace},
    tables::{Kind, Tables},
    users::Users,
    windows::{Manner, Sampling, Work},
};
pub use self::{
    fork::{Snapshots, Unlike},
    windows::{Expected, Windows},
};
use super::kernel::{NEVER, Nanos, heap::Heap, law::Ziggurat, nanos, pool::Pool, seconds};
use crate::{
    draw::{Purpose, Stream},
    network::{Network, TimedFault},
    outcome::Outcome,
};

/// Simulates a network, each event of it.
pub fn run(network: &Network, replication: u32) -> Outcome {
    Run::new(network, replication).finish()
}

/// A run, anywhere between its beginning and its end.
#[derive(Debug, Clone)]
pub struct Run {
    tables: Rc<Tables>,
    state: State,
}

/// Publications that went in, and where they are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Balance {
    pub published: f64,
    /// They reached the fan-out.
    pub accepted: f64,
    pub failed: f64,
    /// On their way, or waiting for their user's connection.
    pub resident: f64,
}

impl Run {
    /// A run at its beginning.
    pub fn new(network: &Network, replication: u32) -> Self {
        let tables = Rc::new(Tables::new(network, replication));
        let state = State::new(&tables, network);
        Self { tables, state }
    }

    /// A run at its beginning, of which only some windows are simulated: those that are chosen by what is expected of them.
    pub fn sampled(network: &Network, replication: u32, choose: impl FnOnce(&[Expected]) -> Windows) -> Self {
        let mut run = Self::new(network, replication);
        let windows = choose(&run.tables.expected());
        run.state.events_max = windows.events();
        run.state.begin_sampling(&run.tables, windows);
        run
    }

    /// Follows so many events at most. A run that needs more is cut there: its outcome ends at that moment, and a mark says so.
    #[must_use]
    pub fn limited(mut self, events_max: u64) -> Self {
        self.state.events_max = events_max;
        self
    }

    /// Goes forward to a second of the run; never back.
    pub fn run_until(&mut self, second: f64) {
        let end = nanos(second).min(self.tables.length);
        self.state.run_until(&self.tables, end);
    }

    /// Where it is, seconds.
    pub fn now(&self) -> f64 {
        seconds(self.state.now)
    }

    /// Lets something go wrong now that the network did not foresee.
    pub fn strike(&mut self, node: u32, fault: crate::plan::Fault) {
        let at = seconds(self.state.now);
        self.state
            .plan_fault(&self.tables, TimedFault { at, node, fault });
    }

    /// Gives a node so many machines from now on: what an operator would do by hand.
    pub fn set_machines(&mut self, node: u32, machines: u32) {
        self.state.set_machines(&self.tables, node, machines);
    }

    /// Where all that was published is.
    pub fn balance(&self) -> Balance {
        self.state.balance(&self.tables)
    }

    /// Goes to the end, and tells what it came to.
    pub fn finish(mut self) -> Outcome {
        self.state.run_until(&self.tables, self.tables.length);
        self.state.outcome(&self.tables)
    }

    /// What it came to so far.
    pub fn outcome(&self) -> Outcome {
        self.clone().state.outcome(&self.tables)
    }
}

/// All that changes.
#[derive(Debug, Clone)]
struct State {
    now: Nanos,
    ziggurat: Ziggurat,
    /// Jobs at stations.
    near: Heap,
    /// Sessions, waits between tries, failures: seldom, so they do not make the near ones slow.
    far: Heap,
    /// One for each flow, then the one of new users, then the tick.
    sources: Vec<Source>,
    /// The first of them, and when.
    source: (Nanos, usize),
    jobs: Vec<Job>,
    jobs_free: Vec<u32>,
    traces: Vec<Trace>,
    traces_free: Vec<u32>,
    pools: Vec<Pool>,
    /// By pool: how much longer work takes as heartbeats take their part.
    stretch: Vec<f64>,
    nodes: Vec<Node>,
    stations: Vec<StationState>,
    flows: Vec<FlowState>,
    users: Users,
    acts: Vec<Act>,
    acts_free: Vec<u32>,
    /// By burst: it is loud.
    loud: Vec<bool>,
    bursts: Vec<Stream>,
    kick: f64,
    /// Clients' retries that are left, by successes.
    tokens: f64,
    /// What waits for one slow reader, bytes; the part of what comes that finds no room; bytes that came this second.
    outbox: f64,
    outbox_full: f64,
    outbox_in: f64,
    /// Of the last second, to one reader.
    outbox_input: f64,
    paces: Vec<Pace>,
    slow_pace: SlowPace,
    /// By flow, then pool: what one publication asks at these paces.
    work: Vec<Work>,
    /// Publications a second of each flow, and what they ask of each pool in one.
    rates: Vec<f64>,
    asked: Vec<Work>,
    ticks: u64,
    /// Events so far, and after how many it is cut.
    events: u64,
    events_max: u64,
    is_cut: bool,
    /// How this moment is simulated.
    manner: Manner,
    sampling: Option<Box<Sampling>>,
    /// When something is known to happen.
    foreseen: Vec<Nanos>,
    books: Books,
}

#[derive(Debug, Clone)]
struct StationState {
    service: Stream,
    choice: Stream,
    /// Whose turn it is.
    turn: u32,
    /// Retries that are left, by successes.
    tokens: f64,
}

#[derive(Debug, Clone)]
struct FlowState {
    /// Who publishes, into which room.
    room: Stream,
    network: Stream,
    sample: Stream,
}

/// What a far event is: its kind, and of whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Far {
    Leave(u32),
    Dial(u32),
    Move(u32),
    Act(u32),
}

impl Far {
    const BITS: u32 = 30;

    fn pack(self) -> u32 {
        let (kind, of) = match self {
            Self::Leave(of) => (0, of),
            Self::Dial(of) => (1, of),
            Self::Move(of) => (2, of),
            Self::Act(of) => (3, of),
        };
        (kind << Self::BITS) | of
    }

    fn unpack(what: u32) -> Self {
        let of = what & ((1 << Self::BITS) - 1);
        match what >> Self::BITS {
            0 => Self::Leave(of),
            1 => Self::Dial(of),
            2 => Self::Move(of),
            _ => Self::Act(of),
        }
    }
}

/// Events of one run at most: a minute or two. What needs more is planned with the hybrid, or is a mistake.
const EVENTS_MAX: f64 = 1e9;
/// A sampled run is not cut before so many: less than a second.
const EVENTS_LEAST: f64 = 1e6;
const TICK: Nanos = 1_000_000_000;

impl State {
    fn new(tables: &Tables, network: &Network) -> Self {
        let pools = tables.pools.iter().map(|pool| {
            let machines = tables.nodes[pool.node].machines as usize;
            Pool::new(machines, pool.servers)
        });
        let mut state = Self {
            now: 0,
            ziggurat: Ziggurat::default(),
            near: Heap::default(),
            far: Heap::default(),
            sources: Vec::new(),
            source: (NEVER, 0),
            jobs: Vec::new(),
            jobs_free: Vec::new(),
            traces: Vec::new(),
            traces_free: Vec::new(),
            pools: pools.collect(),
            stretch: vec![1.0; tables.pools.len()],
            nodes: tables.nodes.iter().map(Node::new).collect(),
            stations: (tables.stations.iter())
                .map(|station| StationState {
                    service: tables.stream(station.entity, Purpose::Service),
                    choice: tables.stream(station.entity, Purpose::Choice),
                    turn: 0,
                    tokens: publish::TOKENS_MAX,
                })
                .collect(),
            flows: (tables.flows.iter())
                .map(|flow| FlowState {
                    room: tables.stream(flow.entity, Purpose::Room),
                    network: tables.stream(flow.entity, Purpose::Network),
                    sample: tables.stream(flow.entity, Purpose::Sample),
                })
                .collect(),
            users: Users::new(tables),
            acts: Vec::new(),
            acts_free: Vec::new(),
            loud: vec![false; tables.bursts.len()],
            bursts: (0..tables.bursts.len())
                .map(|burst| tables.stream(burst as u32, Purpose::Burst))
                .collect(),
            kick: 1.0,
            tokens: publish::TOKENS_MAX,
            outbox: 0.0,
            outbox_full: 0.0,
            outbox_in: 0.0,
            outbox_input: 0.0,
            paces: vec![Pace::USUAL; tables.flows.len()],
            slow_pace: SlowPace::default(),
            work: tables.work.iter().map(|work| work.at(1.0)).collect(),
            rates: vec![0.0; tables.flows.len()],
            asked: vec![Work::default(); tables.pools.len()],
            ticks: 0,
            events: 0,
            events_max: EVENTS_MAX as u64,
            is_cut: false,
            manner: Manner::WHOLE,
            sampling: None,
            foreseen: Vec::new(),
            books: Books::new(tables),
        };
        let sources = tables
            .flows
            .iter()
            .map(|flow| tables.stream(flow.entity, Purpose::Publish));
        let arrivals = tables.stream(0, Purpose::Arrival);
        state.sources = sources
            .chain([arrivals])
            .map(|stream| Source::new(stream, &state.ziggurat))
            .collect();
        state
            .sources
            .push(Source::tick(tables.stream(1, Purpose::Arrival)));
        state.begin_users(tables);
        state.begin_bursts(tables);
        state.begin_faults(tables, network);
        state.retune(tables);
        state
    }

    fn run_until(&mut self, tables: &Tables, end: Nanos) {
        if self.is_cut {
            return;
        }
        loop {
            let (near, far) = (self.near.next_at(), self.far.next_at());
            let next = near.min(far).min(self.source.0);
            if next >= end {
                break;
            }
            self.events += 1;
            if self.events > self.events_max {
                return self.cut_here();
            }
            self.now = next;
            if near == next {
                let event = self.near.peek().expect("it has the next");
                match self.handle_job(tables, event.what, event.number) {
                    Some(at) => {
                        self.jobs[event.what as usize].number = self.near.replace_top(at, event.what);
                    }
                    None => drop(self.near.pop()),
                }
            } else if self.source.0 == next {
                self.handle_source(tables, self.source.1);
            } else {
                let event = self.far.pop().expect("it has the next");
                self.handle_far(tables, Far::unpack(event.what), event.number);
            }
        }
        self.now = self.now.max(end);
    }

    /// More happens than is followed: the run ends here.
    fn cut_here(&mut self) {
        self.is_cut = true;
        let (hour, minute) = (self.now / (3_600 * TICK), self.now / (60 * TICK) % 60);
        self.books.mark_always(
            self.now,
            format!(
                "cut at {hour} h {minute} min: more than {} events",
                self.events_max
            ),
        );
    }

    fn handle_source(&mut self, tables: &Tables, source: usize) {
        if source < tables.flows.len() {
            let weights = self.manner.weights();
            self.publish(tables, source, weights);
            self.sources[source].draw(self.now, &self.ziggurat);
            self.choose_source();
        } else if source == tables.flows.len() {
            self.on_user_change(tables);
            self.sources[source].draw(self.now, &self.ziggurat);
            self.choose_source();
        } else {
            self.tick(tables);
        }
    }

    fn handle_far(&mut self, tables: &Tables, what: Far, number: u32) {
        match what {
            Far::Leave(user) => self.on_leave(tables, user, number),
            Far::Dial(user) => self.on_dial(tables, user, number),
            Far::Move(user) => self.on_move(tables, user, number),
            Far::Act(act) => {
                self.acts_free.push(act);
                let act = self.acts[act as usize];
                self.on_act(tables, act);
            }
        }
    }

    /// Once a second: what changes slowly, and the books of the second.
    fn tick(&mut self, tables: &Tables) {
        self.settle();
        self.ticks += 1;
        self.count_window(tables);
        self.fill_outbox(tables);
        self.weigh_heartbeats(tables);
        self.watch_scale(tables);
        self.close_second(tables);
        self.watch_windows(tables);
        self.retune(tables);
    }

    /// Rates follow the users, the bursts and the kicks.
    fn retune(&mut self, tables: &Tables) {
        self.set_paces(tables);
        let simulated = if self.manner.is_on { self.manner.thin } else { 0.0 };
        for flow in 0..tables.flows.len() {
            self.rates[flow] = self.rate(tables, flow);
            self.sources[flow].set_rate(self.now, self.rates[flow] * simulated);
        }
        self.set_asked(tables);
        let drive = self.drive(tables);
        let flows = tables.flows.len();
        self.sources[flows].set_rate(self.now, drive.abs());
        self.sources[flows + 1].next = (self.now / TICK + 1) * TICK;
        self.choose_source();
    }

    /// Publications of a flow that are made now, a second.
    fn rate(&self, tables: &Tables, flow: usize) -> f64 {
        let users = self.users.wanted.len() as f64;
        let mut rate = tables.flows[flow].rate * users * tables.abuse_factor * self.kick;
        for (burst, loud) in tables.bursts.iter().zip(&self.loud) {
            if let tables::BurstTable::Mmpp { factor, flows, .. } = burst
                && *loud
                && flows.contains(&flow)
            {
                rate *= factor;
            }
        }
        rate
    }

    fn choose_source(&mut self) {
        self.source = (NEVER, 0);
        for (place, source) in self.sources.iter().enumerate() {
            if source.next < self.source.0 {
                self.source = (source.next, place);
            }
        }
    }

    fn plan_act(&mut self, at: Nanos, act: Act) {
        let place = match self.acts_free.pop() {
            Some(place) => {
                self.acts[place as usize] = act;
                place
            }
            None => {
                self.acts.push(act);
                (self.acts.len() - 1) as u32
            }
        };
        self.far.push(at.max(self.now), Far::Act(place).pack());
    }

    fn balance(&self, tables: &Tables) -> Balance {
        let mut resident = 0.0;
        for job in &self.jobs {
            if job.is_open() && matches!(tables.ways[job.way as usize].kind, Kind::Publish(_)) {
                resident += f64::from(job.weight);
            }
        }
        Balance {
            published: self.books.classes.iter().map(|class| class.published).sum(),
            accepted: self.books.classes.iter().map(|class| class.accepted).sum(),
            failed: self.books.classes.iter().map(|class| class.failed).sum(),
            resident,
        }
    }
}

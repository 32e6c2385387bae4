//! Windows of a run that are simulated, and what is put in the place of those that are not.
//!
//! Users, connects, failures and machines always go on event by event; what is left out are publications. A window
//! that is left out fills the books of load and traffic with what is expected of it; percentiles and failures come from
//! those simulated, each weighed by what it stands for. A second before a window its publications begin and
//! count for nothing, so that it finds stations as they would be.

use super::{
    NEVER, Nanos, State, TICK,
    tables::{BurstTable, Chosen, Tables, Visit},
};
use crate::{
    draw::{Purpose, Stream},
    engine::kernel::law::Drawn,
    network::Machine,
};

/// Seconds of a window.
pub const WINDOW: u64 = 10;
/// A wait as long as this is not forgotten between windows.
const BACKLOG: Nanos = 50_000_000;
/// Users without a connection that are no calm.
const AWAY: f64 = 0.005;
/// After trouble it is seen to be over for this long.
const RECOVERY: Nanos = 30_000_000_000;
/// However little is left to spend, so many publications a second are simulated.
const RATE_MIN: f64 = 5.0;
/// Pieces that background work between two visits is put into at most.
const PIECES: u32 = 4;
/// What a piece costs, in visits.
const BACKGROUND: f64 = 0.3;

/// What is expected of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// Station visits of its publications.
    pub visits: f64,
    pub publications: f64,
    /// Station visits of its connects, which are never left out.
    pub connects: f64,
    /// Of the station that is used most: 0 to 1 and beyond.
    pub load: f64,
    /// What happens in it does not end in it.
    pub carries_over: bool,
}

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Windows {
    /// By window: its chance; 1 is for sure.
    pub chances: Vec<f64>,
    /// Share of the publications that is simulated where all should be; the others load the stations.
    pub thin: f64,
    /// Station visits to spend on publications.
    pub budget: f64,
    /// Of that, what is kept for trouble that nobody foresaw.
    pub reserve: f64,
    /// Events after which the run is cut.
    pub events_max: f64,
}

impl Windows {
    /// Events after which the run is cut: as planned, within what a run may have.
    pub(super) fn events(&self) -> u64 {
        self.events_max.clamp(super::EVENTS_LEAST, super::EVENTS_MAX) as u64
    }
}

/// Windows, and where in them the run is.
#[derive(Debug, Clone)]
pub(super) struct Sampling {
    windows: Windows,
    next: Manner,
    /// Chances so far: at each whole number one window is taken.
    chances: f64,
    /// Trouble, and its recovery, until then.
    trouble_until: Nanos,
    /// When something is known to happen, in order.
    pub foreseen: Vec<Nanos>,
    pub simulated_s: f64,
    passed_s: f64,
    /// By pool and machine: up to when background work was put in.
    filled: Vec<Vec<Nanos>>,
    background: Stream,
}

/// How a window is simulated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Manner {
    pub is_on: bool,
    /// Windows it stands for.
    pub stands_for: f64,
    pub thin: f64,
}

impl Manner {
    pub const WHOLE: Self = Self {
        is_on: true,
        stands_for: 1.0,
        thin: 1.0,
    };
    const OFF: Self = Self {
        is_on: false,
        stands_for: 0.0,
        thin: 1.0,
    };
    /// Publications go, and count for nothing.
    const WARM_UP: Self = Self {
        is_on: true,
        stands_for: 0.0,
        thin: 1.0,
    };

    /// What one publication counts for: of its window and all it stands for, and of its window alone.
    pub fn weights(self) -> (f64, f64) {
        let of_window = if self.stands_for > 0.0 {
            1.0 / self.thin
        } else {
            0.0
        };
        (self.stands_for / self.thin, of_window)
    }
}

/// What one publication of a flow asks of a pool, on average.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Work {
    pub visits: f64,
    /// Nanoseconds, and their squares.
    pub sum: f64,
    pub squares: f64,
    /// What comes on top for the receivers: the sum, and of the squares what is mixed and what is its own.
    each: [f64; 3],
}

impl Work {
    /// If all receivers of one together cost so many times as much.
    pub fn at(&self, cost: f64) -> Self {
        Self {
            sum: self.sum + cost * self.each[0],
            squares: self.squares + cost * (self.each[1] + cost * self.each[2]),
            each: [0.0; 3],
            ..*self
        }
    }
}

impl Tables {
    /// By flow, then pool.
    pub fn work_of_flows(&self) -> Vec<Work> {
        let mut work = vec![Work::default(); self.flows.len() * self.pools.len()];
        for flow in 0..self.flows.len() {
            for way in [self.ways[flow], self.ways[self.flows.len() + flow]] {
                for visit in &self.visits[way.first as usize..way.end as usize] {
                    let of = self.work_of(flow, visit);
                    let row = &mut work[flow * self.pools.len() + visit.pool];
                    row.visits += of.visits;
                    row.sum += of.sum;
                    row.squares += of.squares;
                    for (each, of) in row.each.iter_mut().zip(of.each) {
                        *each += of;
                    }
                }
            }
        }
        work
    }

    /// Hops between zones of one publication, by flow, on average.
    pub fn crosses_of_flows(&self) -> Vec<f64> {
        let crosses = |flow: usize| {
            let way = self.ways[flow];
            let visits = &self.visits[way.first as usize..way.end as usize];
            let crosses = visits
                .iter()
                .map(|visit| visit.crosses * self.work_of(flow, visit).visits);
            crosses.sum()
        };
        (0..self.flows.len()).map(crosses).collect()
    }

    fn work_of(&self, flow: usize, visit: &Visit) -> Work {
        let share = match visit.share {
            Chosen::All => 1.0,
            Chosen::Of(share) => share,
            Chosen::Misses { hit_rate, .. } => 1.0 - hit_rate,
        };
        let (mean, cv2) = visit.service.moments();
        let square = mean * mean * (1.0 + cv2);
        if visit.machine != Machine::Receivers {
            return Work {
                visits: share,
                sum: share * mean,
                squares: share * square,
                each: [0.0; 3],
            };
        }
        let machines = f64::from(self.nodes[visit.node].machines);
        let mut work = Work::default();
        for &(receivers, _, of_all) in &self.flows[flow].receivers {
            let receivers = f64::from(receivers);
            // So many machines hold at least one, if they are spread evenly.
            let visits = machines * -libm::expm1(receivers * libm::log1p(-1.0 / machines.max(1.0 + 1e-9)));
            let visits = visits.clamp(receivers.min(1.0), machines);
            let part = visit.per_receiver * receivers / visits.max(1.0);
            let times = of_all * share * visits;
            work.visits += times;
            work.sum += times * mean;
            work.squares += times * square;
            work.each[0] += times * part;
            work.each[1] += times * 2.0 * mean * part;
            work.each[2] += times * part * part;
        }
        work
    }

    /// What is expected of each window, if nothing goes wrong in it.
    pub fn expected(&self) -> Vec<Expected> {
        let pools = self.pools.len();
        let windows = self.length.div_ceil(WINDOW * TICK);
        let connect = self.ways[self.connect_way()];
        let connect = f64::from(connect.end - connect.first);
        let usual: Vec<f64> = (0..self.flows.len())
            .map(|flow| self.usual_factor(flow))
            .collect();
        (0..windows)
            .map(|window| {
                let (users, _) = self.users_at((window * WINDOW) as f64 + WINDOW as f64 / 2.0);
                let costs = self.flows.iter().map(|flow| match flow.receivers_at {
                    at if at > 0.0 => (users / at).min(1e6),
                    _ => 1.0,
                });
                let work: Vec<Work> = costs
                    .enumerate()
                    .flat_map(|(flow, cost)| {
                        let of = &self.work[flow * pools..][..pools];
                        of.iter().map(move |work| work.at(cost))
                    })
                    .collect();
                let work = &work;
                let mut expected = Expected {
                    visits: 0.0,
                    publications: 0.0,
                    connects: users / self.session_mean * WINDOW as f64 * connect,
                    load: 0.0,
                    carries_over: false,
                };
                for (flow, row) in self.flows.iter().enumerate() {
                    let publications = row.rate * users * self.abuse_factor * usual[flow] * WINDOW as f64;
                    expected.publications += publications;
                    let visits = work[flow * pools..][..pools]
                        .iter()
                        .map(|work| work.visits)
                        .sum::<f64>();
                    expected.visits += publications * visits;
                }
                for (pool, table) in self.pools.iter().enumerate() {
                    let rates = |flow: usize| self.flows[flow].rate * users * self.abuse_factor * usual[flow];
                    let asked = self.asked(work, pool, rates);
                    let open = f64::from(self.nodes[table.node].working());
                    let (load, carries_over) = self.load(asked, pool, open, users);
                    expected.load = expected.load.max(load);
                    expected.carries_over |= carries_over;
                }
                expected
            })
            .collect()
    }

    /// What all flows ask of a pool in a second, at rates.
    fn asked(&self, work: &[Work], pool: usize, rate: impl Fn(usize) -> f64) -> Work {
        let mut asked = Work::default();
        for flow in 0..self.flows.len() {
            let of = work[flow * self.pools.len() + pool];
            asked.visits += rate(flow) * of.visits;
            asked.sum += rate(flow) * of.sum;
            asked.squares += rate(flow) * of.squares;
        }
        asked
    }

    /// A pool's utilisation, and whether what happens there is remembered for a second and more.
    fn load(&self, asked: Work, pool: usize, machines: f64, users: f64) -> (f64, bool) {
        let table = &self.pools[pool];
        if super::tables::is_endless(table.servers) {
            return (0.0, false);
        }
        let servers = f64::from(table.servers.max(1));
        let Work { sum, squares, .. } = asked;
        let load = sum / 1e9 / (machines * servers) + table.idle_cost * users / (machines * servers);
        // Queues forget in about this time (the relaxation time of M/M/1, with work in its usual lumps).
        let lump = if sum > 0.0 { squares / sum / 1e9 } else { 0.0 };
        let slack = (1.0 - libm::sqrt(load.min(1.0))).max(1e-6);
        (load, load > LOAD_MAX || lump / servers / (slack * slack) > 1.0)
    }

    /// Mean factor of the bursts of a flow.
    fn usual_factor(&self, flow: usize) -> f64 {
        self.bursts.iter().fold(1.0, |sum, burst| match burst {
            BurstTable::Mmpp {
                factor,
                quiet,
                loud,
                flows,
            } if flows.contains(&flow) => sum * (quiet + factor * loud) / (quiet + loud),
            BurstTable::Mmpp { .. } | BurstTable::Cluster { .. } => sum,
        })
    }
}

/// A station as full as this is followed without a break: 0.8 of what it can do.
const LOAD_MAX: f64 = 0.8;

impl State {
    pub(super) fn begin_sampling(&mut self, tables: &Tables, windows: Windows) {
        let mut foreseen = std::mem::take(&mut self.foreseen);
        foreseen.sort_unstable();
        let mut background = tables.stream(4, Purpose::Sample);
        let offset = background.unit();
        self.sampling = Some(Box::new(Sampling {
            windows,
            next: Manner::OFF,
            chances: offset,
            trouble_until: 0,
            foreseen,
            simulated_s: 0.0,
            passed_s: 0.0,
            filled: self.pools.iter().map(|pool| vec![0; pool.machines()]).collect(),
            background,
        }));
        self.manner = self.choose_window(tables, 0);
        self.retune(tables);
    }

    /// Chooses those to come by another plan; what was chosen stays.
    pub(super) fn set_windows(&mut self, windows: Windows) {
        if let Some(sampling) = &mut self.sampling {
            sampling.windows = windows;
        }
    }

    /// Each second: is it still calm, and how does the next window go?
    pub(super) fn watch_windows(&mut self, tables: &Tables) {
        if self.sampling.is_none() {
            return;
        }
        let second = self.now / TICK;
        let is_trouble = self.is_trouble(tables);
        let now = self.now;
        let sampling = self.sampling.as_mut().expect("looked at above");
        if is_trouble {
            sampling.trouble_until = now.saturating_add(RECOVERY);
        }
        match second % WINDOW {
            place if place == WINDOW - 1 => {
                let next = self.choose_window(tables, second / WINDOW + 1);
                let sampling = self.sampling.as_mut().expect("looked at above");
                sampling.next = next;
                if next.is_on && !self.manner.is_on {
                    self.manner = Manner {
                        thin: next.thin,
                        ..Manner::WARM_UP
                    };
                }
            }
            0 => self.manner = sampling.next,
            // Trouble does not wait for the next window.
            _ if is_trouble && !self.manner.is_on => {
                self.manner = Manner {
                    thin: self.thin_now(tables),
                    ..Manner::WHOLE
                };
            }
            _ => {}
        }
    }

    fn choose_window(&mut self, tables: &Tables, window: u64) -> Manner {
        let reserve = self
            .sampling
            .as_ref()
            .map_or(0.0, |sampling| sampling.windows.reserve);
        let (thin_now, thin_calm) = (self.thin_now(tables), self.thin_left(tables, reserve));
        let Some(sampling) = &mut self.sampling else {
            return Manner::WHOLE;
        };
        let chance = sampling
            .windows
            .chances
            .get(window as usize)
            .copied()
            .unwrap_or(1.0);
        let (from, to) = (window * WINDOW * TICK, (window + 1) * WINDOW * TICK);
        let first = sampling.foreseen.partition_point(|&at| at < from);
        let is_foreseen = sampling.foreseen.get(first).is_some_and(|&at| at < to);
        if chance >= 1.0 {
            return Manner {
                thin: sampling.windows.thin,
                ..Manner::WHOLE
            };
        }
        if is_foreseen || from < sampling.trouble_until {
            return Manner {
                thin: thin_now,
                ..Manner::WHOLE
            };
        }
        sampling.chances += chance;
        if sampling.chances < 1.0 {
            return Manner::OFF;
        }
        sampling.chances -= 1.0;
        Manner {
            is_on: true,
            stands_for: 1.0 / chance,
            thin: thin_calm,
        }
    }

    /// Share of the publications to simulate in trouble: as planned, or less as the budget runs out.
    fn thin_now(&self, tables: &Tables) -> f64 {
        let planned = self
            .sampling
            .as_ref()
            .map_or(1.0, |sampling| sampling.windows.thin);
        self.thin_left(tables, 0.0).min(planned)
    }

    /// A twentieth of what is left, but for a reserve, for one window: what lasts is seen ever more coarsely, but seen.
    fn thin_left(&self, tables: &Tables, reserve: f64) -> f64 {
        let Some(sampling) = &self.sampling else {
            return 1.0;
        };
        // Background costs about as much as what it is background of.
        let spent = self.books.simulated - self.books.connecting + self.books.background * BACKGROUND;
        let left = (sampling.windows.budget - reserve - spent).max(0.0);
        let (mut visits, mut rate) = (1.0, 1e-9);
        for (flow, source) in tables.flows.iter().zip(0..) {
            let work = &tables.work[source * tables.pools.len()..][..tables.pools.len()];
            let of_one = work.iter().map(|work| work.visits).sum::<f64>();
            let published = flow.rate * self.kick * self.users.wanted.len() as f64;
            visits += published * of_one * WINDOW as f64;
            rate += published;
        }
        (left / 20.0 / visits).clamp((RATE_MIN / rate).min(1.0), 1.0)
    }

    fn is_trouble(&self, tables: &Tables) -> bool {
        let away = self.users.wanted.len() as f64 - f64::from(self.users.connected);
        if away > (AWAY * self.users.wanted.len() as f64).max(3.0) || self.kick != 1.0 {
            return true;
        }
        let nodes = tables.nodes.iter().zip(&self.nodes);
        if nodes
            .into_iter()
            .any(|(table, node)| node.is_in_trouble(table, self.now))
        {
            return true;
        }
        let users = self.users.wanted.len() as f64;
        tables
            .pools
            .iter()
            .zip(&self.pools)
            .enumerate()
            .any(|(place, (table, pool))| {
                let open = &self.nodes[table.node].open;
                let waits = |&machine: &u32| pool.backlog(machine as usize, self.now) > BACKLOG;
                let (_, carries_over) =
                    tables.load(self.asked[place], place, open.len().max(1) as f64, users);
                carries_over || open.iter().any(waits)
            })
    }

    /// A second is over: one without publications brings what it would have brought.
    pub(super) fn count_window(&mut self, tables: &Tables) {
        let Some(sampling) = &mut self.sampling else {
            return;
        };
        sampling.passed_s += 1.0;
        if self.manner.is_on && self.manner.thin < 1.0 {
            self.fill_machines(tables);
        }
        if self.manner.stands_for > 0.0 {
            if let Some(sampling) = &mut self.sampling {
                sampling.simulated_s += self.manner.thin;
            }
            return;
        }
        let pools = tables.pools.len();
        for flow in 0..tables.flows.len() {
            let count = self.rates[flow];
            if count <= 0.0 {
                continue;
            }
            for pool in 0..pools {
                let work = self.work_now(tables, flow, pool).sum;
                self.books.on_heartbeats(pool, self.now, work * count);
            }
            self.books.on_published(tables, flow, count);
            let crosses = tables.crosses[flow];
            self.books.usage.interzone_bytes += tables.flows[flow].bytes * crosses * count;
            if tables.flows[flow].has_aside {
                self.books.usage.queue_jobs += count;
            }
            let wanted = self.users.wanted.len().max(1) as f64;
            let online = f64::from(self.users.connected) / wanted;
            let receivers = tables.flows[flow].receivers_mean * self.paces[flow].growth;
            self.count_deliveries(tables, flow, count, receivers, receivers * online);
        }
    }

    /// What is asked of each pool now: of what is not simulated, a part.
    pub(super) fn set_asked(&mut self, tables: &Tables) {
        if self.sampling.is_some() {
            for pool in 0..tables.pools.len() {
                self.asked[pool] = tables.asked(&self.work, pool, |flow| self.rates[flow]);
            }
        }
    }

    /// Background work comes to a machine before a visit: what the publications that are not simulated ask of it.
    #[inline]
    pub(super) fn fill_background(&mut self, tables: &Tables, pool: usize, machine: usize) {
        if self.manner.thin < 1.0 {
            self.put_background(tables, pool, machine);
        }
    }

    /// Machines that nothing simulated came to have worked, too.
    fn fill_machines(&mut self, tables: &Tables) {
        for pool in 0..tables.pools.len() {
            if super::tables::is_endless(tables.pools[pool].servers) {
                continue;
            }
            let node = tables.pools[pool].node;
            for place in 0..self.nodes[node].open.len() {
                let machine = self.nodes[node].open[place];
                self.put_background(tables, pool, machine as usize);
            }
        }
    }

    fn put_background(&mut self, tables: &Tables, pool: usize, machine: usize) {
        let open = self.nodes[tables.pools[pool].node].open.len().max(1) as f64;
        let Work {
            visits, sum, squares, ..
        } = self.asked[pool];
        let factor = self.nodes[tables.pools[pool].node].slow * self.stretch[pool];
        // Who has no connection sends nothing.
        let online = f64::from(self.users.connected) / (self.users.wanted.len() as f64).max(1.0);
        let hidden = (1.0 - self.manner.thin) * online;
        let now = self.now;
        let Some(sampling) = &mut self.sampling else {
            return;
        };
        let filled = &mut sampling.filled[pool];
        if filled.len() <= machine {
            filled.resize(machine + 1, now);
        }
        // What was before this window was not left out.
        let from = filled[machine].max(now.saturating_sub(TICK));
        filled[machine] = now;
        let gap = (now - from) as f64;
        let count = self
            .ziggurat
            .poisson(&mut sampling.background, visits / 1e9 / open * hidden * gap);
        if count == 0 || visits <= 0.0 {
            return;
        }
        let pieces = count.min(PIECES);
        let each = f64::from(count) / f64::from(pieces);
        let mean = sum / visits;
        let cv2 = (squares / visits / (mean * mean) - 1.0).max(0.0) / each;
        let drawn = Drawn::lognormal(mean * each, cv2);
        self.events += 1;
        self.books.background += f64::from(pieces);
        for piece in 0..pieces {
            let place = (f64::from(piece) + sampling.background.unit()) / f64::from(pieces);
            let at = from + (gap * place) as Nanos;
            let service = (drawn.draw(&self.ziggurat, &mut sampling.background) * factor) as Nanos;
            self.pools[pool].serve(machine, at, service);
        }
    }

    /// Share of the run that was simulated event by event.
    pub(super) fn sampled_share(&self) -> f64 {
        match &self.sampling {
            Some(sampling) => sampling.simulated_s / sampling.passed_s.max(1.0),
            None => 1.0,
        }
    }

    /// Something will happen then.
    pub(super) fn foresee(&mut self, at: Nanos) {
        match &mut self.sampling {
            Some(sampling) => {
                let place = sampling.foreseen.partition_point(|&other| other < at);
                sampling.foreseen.insert(place, at);
            }
            None if at < NEVER => self.foreseen.push(at),
            None => {}
        }
    }

    /// It is no calm until then.
    pub(super) fn expect_trouble(&mut self, until: Nanos) {
        if let Some(sampling) = &mut self.sampling {
            sampling.trouble_until = sampling.trouble_until.max(until);
        }
    }
}

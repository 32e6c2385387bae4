//! Fluid: rates instead of events, in milliseconds.
//!
//! Time goes in steps. In each, users come, go and come back (`users`), machines die, return and scale (`machines`),
//! events flow through the groups of servers, and what is more than a group can do waits in its backlog (this file). What chance
//! adds to that, the wait before a group that keeps up, follows from its utilisation and the variability of its jobs (`erlang`);
//! how all waits of a way add up is convolved, never summed by percentile (`latency`). What was met is counted by `books`.
//!
//! Bursts are not drawn: each kind of burst is a phase with its share of the time, in which waits are those of its own
//! load; backlogs grow by the mean of all phases, and by what one burst piles up. So the fluid is the same for every
//! seed but for failures by chance, which are those of replication 0.
//!
//! What it leaves out: the order of events, rooms that are hot by chance, priorities, and users who give up.

mod books;
mod latency;
mod machines;
mod places;
mod tables;
mod users;

#[cfg(test)]
mod tests;

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use self::{
    books::{Books, Moment},
    latency::{Load, Meets, Tail, Way},
    machines::Machines,
    places::{Counts, Places},
    tables::{Demand, Tables},
    users::Users,
};
use crate::{
    compile::random_faults,
    conflate::Conflation,
    erlang::{self, Queue, Variability},
    network::Network,
    outcome::Outcome,
    plan::Burst,
};

/// Runs a network, as the mean of what may happen.
pub fn run(network: &Network) -> Outcome {
    let tables = Tables::new(network);
    Fluid::new(&tables).run()
}

/// Above this utilisation a wait is that of a backlog, which takes time to build, and not that of a steady state.
const BUSY_MAX: f64 = 0.98;

/// Settings that are kept, about 100 kB each.
const SETTINGS_MAX: usize = 64;

/// A part of the time in which some classes are published more.
#[derive(Debug)]
struct Phase {
    share: f64,
    /// How long it lasts, seconds.
    lasts: f64,
    /// By flow.
    factors: Vec<f64>,
}

/// All users react at a moment that is known before.
#[derive(Debug)]
struct Trigger {
    flow: usize,
    at: f64,
    share: f64,
    median: f64,
    sigma: f64,
    /// Nearly all have reacted.
    ends: f64,
}

/// What stays the same until a machine comes or goes or a cache knows more.
struct Setting {
    number: i32,
    machines: Vec<f64>,
    flows: Vec<Vec<Demand>>,
    asides: Vec<Vec<Demand>>,
    connect: Vec<Demand>,
    ways: Vec<Way>,
    aside_ways: Vec<Option<Way>>,
}

struct Fluid<'a> {
    tables: &'a Tables<'a>,
    network: &'a Network,
    phases: Vec<Phase>,
    triggers: Vec<Trigger>,
    machines: Machines,
    users: Users<'a>,
    /// Of the machines as they are, since which version; those that were before may come again.
    setting: Rc<Setting>,
    version: u32,
    settings: BTreeMap<Vec<u64>, Rc<Setting>>,
    now: f64,
    /// Seconds of work that wait before each group, on all its machines.
    backlogs: Vec<f64>,
    /// Accepted and not yet delivered, by flow.
    inside: Vec<f64>,
    /// Jobs that wait aside, by flow.
    asides: Vec<f64>,
    /// Share of each group's arrivals that finds no room, and of each flow's tries that fail.
    refused: Vec<f64>,
    fails: Vec<f64>,
    handshake_rate: f64,
    /// Moments that were looked at already.
    known: BTreeMap<[i32; 6], usize>,
    last: ([i32; 6], usize),
    books: Books,
    scratch: RefCell<Scratch>,
}

/// Room that each new entry uses again.
#[derive(Default)]
struct Scratch {
    counts: Counts,
    places: Places,
}

impl<'a> Fluid<'a> {
    fn new(tables: &'a Tables<'a>) -> Self {
        let network = tables.network;
        let mut faults = network.faults.clone();
        faults.extend(random_faults(network, 0));
        faults.sort_by(|a, b| a.at.total_cmp(&b.at));
        let machines = Machines::new(tables, &faults);
        let first = Rc::new(setting(tables, &machines, 0));
        Self {
            tables,
            network,
            phases: phases(network),
            triggers: triggers(network),
            users: Users::new(network),
            version: machines.version,
            settings: BTreeMap::from([(machines.state(), Rc::clone(&first))]),
            setting: first,
            now: 0.0,
            backlogs: vec![0.0; tables.groups.len()],
            inside: vec![0.0; network.flows.len()],
            asides: vec![0.0; network.flows.len()],
            refused: vec![0.0; tables.groups.len()],
            fails: vec![0.0; network.flows.len()],
            handshake_rate: 0.0,
            known: BTreeMap::new(),
            last: ([i32::MIN; 6], 0),
            books: Books::new(network, tables.groups.len()),
            scratch: RefCell::default(),
            machines,
        }
    }

    fn run(mut self) -> Outcome {
        let length = self.network.length;
        while self.now < length {
            let step = self.step_len().min(length - self.now);
            self.step(step);
            self.now += step;
        }
        let Self {
            books,
            users,
            machines,
            tables,
            ..
        } = self;
        books.finish(tables, users, machines)
    }

    /// A second while something happens, longer while it goes on, up to a minute in calm; never across a minute or an event.
    fn step_len(&self) -> f64 {
        let near = self.triggers.iter().any(|trigger| trigger.is_near(self.now));
        let since = self.now - self.machines.last_change;
        let disturbed =
            near || self.users.are_disturbed() || self.backlogs.iter().any(|&backlog| backlog > 0.0);
        let step: f64 = if disturbed && since < 120.0 || near {
            1.0
        } else if disturbed && since < 1_200.0 {
            4.0
        } else if disturbed || self.asides.iter().any(|&jobs| jobs > 1.0) {
            10.0
        } else if self.tables.nodes.iter().any(|node| node.scale.is_some()) {
            20.0
        } else {
            60.0
        };
        let minute = 60.0 - self.now % 60.0;
        // Just past an event, so that it is met at its moment.
        let event = self.machines.next() - self.now + 1e-6;
        step.min(if minute > 1e-3 { minute } else { 60.0 })
            .min(event.max(0.05))
    }

    fn step(&mut self, step: f64) {
        let cut = self.machines.step(self.tables, self.now);
        if self.machines.version != self.version {
            self.version = self.machines.version;
            if self.settings.len() >= SETTINGS_MAX {
                self.settings.clear();
            }
            let number = self.version as i32;
            let setting = (self.settings)
                .entry(self.machines.state())
                .or_insert_with(|| Rc::new(setting(self.tables, &self.machines, number)));
            self.setting = Rc::clone(setting);
        }
        let groups = self.tables.groups.len();
        let flows = self.network.flows.len();
        let capacities: Vec<f64> = (0..groups).map(|group| self.capacity(group)).collect();
        // Publishes first: who is connected is served beside those that knock.
        let published: Vec<f64> = (0..flows).map(|flow| self.publish_rate(flow)).collect();
        let tries: Vec<f64> = (0..flows)
            .map(|flow| {
                erlang::tries(
                    self.fails[flow],
                    self.network.clients.retries,
                    self.network.clients.retry_budget,
                )
            })
            .collect();
        let growth: Vec<f64> = (0..flows).map(|flow| self.growth(flow)).collect();
        let conflations: Vec<Conflation> = (0..flows)
            .map(|flow| self.conflation(flow, published[flow], growth[flow]))
            .collect();
        // What a receiver costs is of the flow's own rate: of more that is published, less is sent.
        let costs: Vec<f64> = (0..flows)
            .map(|flow| growth[flow] * conflations[flow].kept() / self.tables.kept[flow])
            .collect();
        let idle = self.idle();
        let mut passes = vec![1.0_f64; groups];
        let mut loads = vec![0.0; groups];
        for round in 0..2 {
            loads.fill(0.0);
            for flow in 0..flows {
                let mut rate = published[flow] * tries[flow];
                // A try that fails is put out to nobody; what is tried again is put out once.
                let put_out = (1.0 / tries[flow]).min(1.0 - self.fails[flow]);
                self.each_group(flow, |group, demand| {
                    loads[group] += rate * (demand.work + put_out * costs[flow] * demand.work_growing);
                    rate *= passes[group].min(1.0);
                });
            }
            for group in 0..groups {
                let again = erlang::tries(
                    self.refused[group],
                    self.tables.groups[group].retries,
                    self.tables.groups[group].retry_budget,
                );
                loads[group] = loads[group] * again + idle[group];
                if round == 0 && loads[group] > capacities[group] {
                    passes[group] = (capacities[group] / loads[group]).max(0.0);
                }
            }
        }
        let handshakes = self.handshakes(&capacities, &loads);
        let made = self.users.step(self.now, step, cut, handshakes);
        self.handshake_rate = made / step;
        for (load, demand) in loads.iter_mut().zip(&self.setting.connect) {
            *load += made / step * demand.work;
        }
        let overflow = self.pile_up(step, &capacities, &loads, &mut passes);
        let entry = self.look(&published, &tries, &costs, &capacities, &loads);
        let refuses = &self.books.entry(entry).refuses;
        for group in 0..groups {
            self.refused[group] = overflow[group].max(refuses[group]);
        }
        let moment = self.flow_on(step, &published, &tries, &growth, &capacities, &loads, &passes);
        let busy: Vec<f64> = (0..groups)
            .map(|group| {
                if capacities[group] > 0.0 {
                    loads[group] / capacities[group]
                } else {
                    0.0
                }
            })
            .collect();
        let mut busy_nodes = vec![0.0_f64; self.tables.nodes.len()];
        for (group, busy) in self.tables.groups.iter().zip(&busy) {
            busy_nodes[group.node] = busy_nodes[group.node].max(*busy);
        }
        self.machines
            .scale(self.tables, &busy_nodes, self.users.session, self.now, step);
        self.books.count(
            self.tables,
            &Moment {
                now: self.now,
                step,
                entry,
                busy: &busy,
                backlogs: &self.backlogs,
                capacities: &capacities,
                refused: &self.refused,
                connected: self.users.connected,
                wanted: self.users.wanted,
                away: self.users.away,
                handshakes: made,
                conflations: &conflations,
                nodes: &self.machines.nodes,
                flows: moment,
            },
        );
    }

    /// Seconds of work a second that a group can do.
    fn capacity(&self, group: usize) -> f64 {
        let group = &self.tables.groups[group];
        let node = &self.machines.nodes[group.node];
        f64::from(group.servers) * node.working / node.slow
    }

    /// Publications a second of a flow, of all users, without tries again.
    fn publish_rate(&self, flow: usize) -> f64 {
        let row = &self.network.flows[flow];
        let bursts: f64 = self
            .phases
            .iter()
            .map(|phase| phase.share * phase.factors[flow])
            .sum();
        let abuse = 1.0 + 9.0 * self.network.abuse;
        let steady = self.users.connected * row.rate * bursts * abuse * self.machines.kick;
        let triggered: f64 = self
            .triggers
            .iter()
            .filter(|trigger| trigger.flow == flow)
            .map(|trigger| trigger.rate(self.now) * self.users.connected)
            .sum();
        let rate = steady + triggered;
        if rate.is_finite() { rate.max(0.0) } else { 0.0 }
    }

    fn conflation(&self, flow: usize, published: f64, growth: f64) -> Conflation {
        let row = &self.network.flows[flow];
        if !self.network.is_conflated(row) {
            return Conflation::NONE;
        }
        let rate = published / self.users.connected.max(1e-9);
        self.network
            .conflation(row, self.tables.receivers[flow] * growth, rate)
    }

    fn growth(&self, flow: usize) -> f64 {
        let at = self.network.flows[flow].receivers_at;
        if at > 0.0 {
            (self.users.connected / at).min(1e6)
        } else {
            1.0
        }
    }

    /// CPU for those who are connected.
    fn idle(&self) -> Vec<f64> {
        let mut idle = vec![0.0; self.tables.groups.len()];
        if let Some(edge) = self.tables.edge {
            idle[self.tables.group_of[edge]] = self.users.connected * self.network.stations[edge].idle_cost;
        }
        idle
    }

    /// The groups a flow visits, each once, by its first visit.
    fn each_group(&self, flow: usize, mut visit: impl FnMut(usize, &Demand)) {
        for &group in &self.tables.orders[flow] {
            visit(group, &self.setting.flows[flow][group]);
        }
    }

    /// Handshakes a second that fit beside the rest; a tenth of each group is theirs whatever else there is.
    fn handshakes(&self, capacities: &[f64], loads: &[f64]) -> f64 {
        let mut most = f64::INFINITY;
        for (group, demand) in self.setting.connect.iter().enumerate() {
            if demand.jobs > 0.0 {
                let spare = (capacities[group] - loads[group]).max(0.1 * capacities[group]);
                most = most.min(spare / demand.work.max(1e-12));
            }
        }
        if let Some(edge) = self.tables.edge
            && capacities[self.tables.group_of[edge]] <= 0.0
        {
            most = 0.0;
        }
        most.min(1e12)
    }

    /// What is more than a group can do waits, or finds no room: the share that is refused, by group.
    fn pile_up(&mut self, step: f64, capacities: &[f64], loads: &[f64], passes: &mut [f64]) -> Vec<f64> {
        let mut refused = vec![0.0; loads.len()];
        for group in 0..loads.len() {
            let (capacity, load) = (capacities[group], loads[group]);
            let before = self.backlogs[group];
            if capacity <= 0.0 {
                // Nobody is there to hold what waits.
                self.backlogs[group] = 0.0;
                passes[group] = 0.0;
                refused[group] = 1.0;
                continue;
            }
            let mut after = (before + (load - capacity) * step).max(0.0);
            if after < 1e-9 * capacity {
                after = 0.0;
            }
            let row = &self.tables.groups[group];
            let mut room = f64::INFINITY;
            if let Some(waiting) = row.waiting_max {
                let each = self.books.mean_job(group);
                room = waiting * self.setting.machines[row.node] * each;
            }
            if let Some(timeout) = row.timeout {
                // Its caller is gone by then, and it is not begun.
                room = room.min(timeout * capacity);
            }
            if after > room {
                refused[group] = ((after - room) / (load * step).max(f64::MIN_POSITIVE)).min(1.0);
                after = room;
            }
            self.backlogs[group] = after;
            let out = before + load * step * (1.0 - refused[group]) - after;
            passes[group] = if load > 0.0 {
                (out / (load * step)).max(0.0)
            } else {
                1.0
            };
        }
        refused
    }

    /// What became of each flow in this step.
    #[expect(
        clippy::too_many_arguments,
        reason = "columns of one step, by flow and by group"
    )]
    fn flow_on(
        &mut self,
        step: f64,
        published: &[f64],
        tries: &[f64],
        growth: &[f64],
        capacities: &[f64],
        loads: &[f64],
        passes: &[f64],
    ) -> Vec<books::Flowed> {
        let mut flowed = Vec::with_capacity(published.len());
        for flow in 0..published.len() {
            let (mut kept, mut delay, mut passed) = (1.0, 0.0, 1.0);
            let refused = &self.refused;
            let backlogs = &self.backlogs;
            let groups = &self.tables.groups;
            let mut dead = 0.0_f64;
            self.each_group(flow, |group, demand| {
                if demand.jobs <= 0.0 {
                    return;
                }
                // A visit that only some make concerns only those.
                let share = demand.jobs.min(1.0);
                let again = libm::pow(refused[group], f64::from(groups[group].retries) + 1.0);
                kept *= 1.0 - share * again;
                if capacities[group] > 0.0 {
                    delay += share * backlogs[group] / capacities[group];
                } else {
                    dead = dead.max(share);
                }
                passed *= 1.0 + share * (passes[group] - 1.0);
            });
            let timed_out = if delay > self.network.clients.timeout {
                1.0
            } else {
                0.0
            };
            let fails = (1.0_f64 - kept).max(dead).max(timed_out).clamp(0.0, 1.0);
            // Half of the way there in each step, or tries and failures chase each other.
            self.fails[flow] += (fails - self.fails[flow]) * (1.0 - libm::exp(-step / 2.0));
            let good = (tries[flow] * (1.0 - fails)).min(1.0);
            let events = published[flow] * step;
            let accepted = events * good;
            let all = self.inside[flow] + accepted;
            // What flows through is what was let in, and what the backlogs release of what waits.
            let is_empty = delay <= 0.0;
            let out = if is_empty {
                all
            } else {
                (accepted * (passed / kept.max(1e-9))).min(all)
            };
            self.inside[flow] = all - out;
            let (jobs_done, lag) = self.work_aside(flow, out, step, capacities, loads);
            flowed.push(books::Flowed {
                published: events,
                failed: events - accepted,
                retried: events * (tries[flow] - 1.0),
                out,
                fails: 1.0 - good,
                receivers: if growth[flow] == 1.0 {
                    self.tables.receivers_of_one[flow]
                } else {
                    books::receivers(&self.network.flows[flow], growth[flow])
                },
                jobs_done,
                lag,
            });
        }
        flowed
    }

    /// Jobs that follow on their own get what publishes leave: those done, and how long the last one waits.
    fn work_aside(
        &mut self,
        flow: usize,
        jobs: f64,
        step: f64,
        capacities: &[f64],
        loads: &[f64],
    ) -> (f64, f64) {
        if self.network.flows[flow].aside.is_empty() {
            return (0.0, 0.0);
        }
        let wanted: f64 = self
            .network
            .flows
            .iter()
            .filter(|flow| !flow.aside.is_empty())
            .count() as f64;
        let mut rate = f64::INFINITY;
        for (group, demand) in self.setting.asides[flow].iter().enumerate() {
            if demand.work > 0.0 {
                let spare = (capacities[group] - loads[group]).max(0.0) / wanted;
                rate = rate.min(spare / demand.work);
            }
        }
        let all = self.asides[flow] + jobs;
        let done = all.min(rate * step);
        self.asides[flow] = all - done;
        let lag = if rate > 0.0 { self.asides[flow] / rate } else { 1e6 };
        (done, lag.min(1e6))
    }

    /// The entry of a moment like this one: waits and latencies of each phase.
    fn look(
        &mut self,
        published: &[f64],
        tries: &[f64],
        costs: &[f64],
        capacities: &[f64],
        loads: &[f64],
    ) -> usize {
        let busiest = loads
            .iter()
            .zip(capacities)
            .map(|(load, capacity)| if *capacity > 0.0 { load / capacity } else { 0.0 })
            .fold(0.0, f64::max);
        let loudest = self
            .phases
            .iter()
            .flat_map(|phase| &phase.factors)
            .copied()
            .fold(1.0, f64::max);
        // Moments of nearly the same load are one: the nearer to a knee, the nearer must they be.
        let grows = self.network.flows.iter().any(|flow| flow.receivers_at > 0.0);
        let (near, width) = match busiest * loudest {
            _ if grows => (2, 0.03),
            busy if busy < 0.15 => (0, 0.15),
            busy if busy < 0.4 => (1, 0.06),
            _ => (2, 0.03),
        };
        let level = |value: f64, width: f64| (libm::log1p(value.max(0.0)) / width) as i32;
        let delay = self
            .backlogs
            .iter()
            .zip(capacities)
            .map(|(backlog, capacity)| if *capacity > 0.0 { backlog / capacity } else { 0.0 })
            .fold(0.0, f64::max);
        let users = self.users.connected.max(1e-9);
        let all: f64 = published
            .iter()
            .zip(tries)
            .map(|(rate, tries)| rate * tries)
            .sum();
        let hot: f64 = self
            .machines
            .nodes
            .iter()
            .map(|node| node.hot * node.slow + node.loss)
            .sum();
        let key = [
            self.setting.number.wrapping_mul(4) + near,
            level(self.users.connected, width),
            // In calm, all of what follows follows from the users.
            level(all / users * 1e6, width),
            level(self.handshake_rate / users * self.users.session / 4.0, 0.7),
            level(delay * 1e3, 0.2),
            level(hot * 20.0, 0.05),
        ];
        if key == self.last.0 {
            return self.last.1;
        }
        if let Some(&entry) = self.known.get(&key) {
            self.last = (key, entry);
            return entry;
        }
        let entry = self.new_entry(published, tries, costs, capacities, loads);
        let place = self.books.add(entry);
        self.known.insert(key, place);
        self.last = (key, place);
        place
    }

    fn new_entry(
        &self,
        published: &[f64],
        tries: &[f64],
        costs: &[f64],
        capacities: &[f64],
        loads: &[f64],
    ) -> books::Entry {
        let groups = self.tables.groups.len();
        let mean: Vec<f64> = (0..published.len())
            .map(|flow| {
                self.phases
                    .iter()
                    .map(|phase| phase.share * phase.factors[flow])
                    .sum()
            })
            .collect();
        let mut entry = books::Entry::new(groups);
        let scratch = &mut *self.scratch.borrow_mut();
        let counts = &mut scratch.counts;
        let loss = self.loss();
        let idle = self.idle();
        let none = vec![0.0; groups];
        for phase in &self.phases {
            let mut tails = vec![Tail::default(); groups];
            let mut waits = vec![0.0; groups];
            for group in 0..groups {
                let (mut jobs, mut work, mut squares) = (0.0, 0.0, 0.0);
                for flow in 0..published.len() {
                    let factor = if mean[flow] > 0.0 {
                        phase.factors[flow] / mean[flow]
                    } else {
                        1.0
                    };
                    let rate = published[flow] * factor;
                    for (demand, rate) in [
                        (&self.setting.flows[flow][group], rate * tries[flow]),
                        (&self.setting.asides[flow][group], rate),
                    ] {
                        jobs += rate * demand.jobs;
                        work += rate * demand.work_at(costs[flow]);
                        squares += rate * demand.squares_at(costs[flow]);
                    }
                }
                let connect = &self.setting.connect[group];
                jobs += self.handshake_rate * connect.jobs;
                work += self.handshake_rate * connect.work;
                squares += self.handshake_rate * connect.squares[0];
                let row = &self.tables.groups[group];
                let node = &self.machines.nodes[row.node];
                let each = if jobs > 0.0 { work / jobs } else { 0.0 };
                entry.job[group] += phase.share * each;
                if capacities[group] <= 0.0 || jobs <= 0.0 {
                    continue;
                }
                let cv2 = if each > 0.0 {
                    (squares / jobs / (each * each) - 1.0).max(0.0)
                } else {
                    0.0
                };
                let busy = (work + idle[group]) / capacities[group];
                entry.busy_max[group] = entry.busy_max[group].max(busy);
                // The fullest machine is what its users meet.
                let felt = (busy * node.hot).min(BUSY_MAX);
                let service = each * node.slow;
                let queue = Queue {
                    servers: row.servers,
                    rate: felt * f64::from(row.servers) / service.max(1e-12),
                    service,
                };
                tails[group] = tail(queue, cv2);
                // A burst piles up what is too much for as long as it lasts; half of that is met on average.
                let calm = loads[group] <= capacities[group];
                if busy > 1.0 && calm && phase.lasts.is_finite() {
                    waits[group] += (busy - 1.0) * phase.lasts / 2.0;
                }
                if let Some(waiting) = row.waiting_max {
                    let open = Queue {
                        rate: busy * f64::from(row.servers) / service.max(1e-12),
                        ..queue
                    };
                    let refused = open.refused(waiting as u32);
                    entry.refuses[group] += phase.share * refused;
                    waits[group] = waits[group].min(waiting * service / f64::from(row.servers));
                }
                if let Some(timeout) = row.timeout {
                    waits[group] = waits[group].min(timeout);
                }
            }
            for group in 0..groups {
                if capacities[group] > 0.0 {
                    waits[group] += self.backlogs[group] / capacities[group];
                }
            }
            let flows = (0..published.len())
                .map(|flow| {
                    let factor = if mean[flow] > 0.0 {
                        phase.factors[flow] / mean[flow]
                    } else {
                        1.0
                    };
                    let way = &self.setting.ways[flow];
                    let load = Load {
                        tails: &tails,
                        backlogs: &waits,
                        growth: costs[flow],
                    };
                    let deadline = self.network.hard_deadline.get(flow);
                    let meets = Meets {
                        loss,
                        deadline: deadline.copied().unwrap_or(f64::INFINITY),
                    };
                    let taken = way.take(load, meets, counts);
                    let slowest = way.stays(taken.slowest, load);
                    books::Latency {
                        // Of what is published in a step, this part falls into the phase.
                        share: phase.share * factor,
                        taken,
                        slowest,
                        // The backlog of jobs is told apart.
                        lag: self.setting.aside_ways[flow].as_ref().map(|way| {
                            let load = Load {
                                backlogs: &none,
                                ..load
                            };
                            way.take(load, Meets::NOTHING, counts)
                        }),
                    }
                })
                .collect();
            entry.phases.push(books::PhaseEntry {
                share: phase.share,
                tails,
                waits,
                flows,
            });
        }
        entry.settle(self.network, costs, published, &mut scratch.places);
        entry
    }

    /// Share of what is sent that is lost on a link to some node, and sent again by TCP.
    fn loss(&self) -> f64 {
        self.machines
            .nodes
            .iter()
            .map(|node| node.loss)
            .fold(0.0, f64::max)
    }
}

impl Trigger {
    fn is_near(&self, now: f64) -> bool {
        now >= self.at - 1.0 && now < self.ends
    }

    /// Reactions a second of one user: the density of a lognormal.
    fn rate(&self, now: f64) -> f64 {
        let since = now - self.at;
        if since <= 0.0 || !self.is_near(now) {
            return 0.0;
        }
        let off = libm::log(since / self.median) / self.sigma;
        self.share * libm::exp(-off * off / 2.0) / (since * self.sigma * libm::sqrt(std::f64::consts::TAU))
    }
}

fn setting(tables: &Tables, machines: &Machines, number: i32) -> Setting {
    let network = tables.network;
    let working: Vec<f64> = machines.nodes.iter().map(|node| node.working.max(1.0)).collect();
    let warm = &machines.warm;
    Setting {
        number,
        flows: network
            .flows
            .iter()
            .map(|flow| tables.demands(&flow.steps, Some(flow), &working, warm))
            .collect(),
        asides: network
            .flows
            .iter()
            .map(|flow| tables.demands(&flow.aside, None, &working, warm))
            .collect(),
        connect: tables.demands(&network.connect, None, &working, warm),
        ways: network
            .flows
            .iter()
            .map(|flow| Way::new(tables, &flow.steps, Some(flow), &working, warm))
            .collect(),
        aside_ways: network
            .flows
            .iter()
            .map(|flow| (!flow.aside.is_empty()).then(|| Way::new(tables, &flow.aside, None, &working, warm)))
            .collect(),
        machines: working,
    }
}

/// The tail of a queue's waits.
fn tail(queue: Queue, cv2: f64) -> Tail {
    // So many servers, so little to do: nobody waits, and the recursion would be long.
    if queue.servers > 64 && queue.utilisation() < 0.5 {
        return Tail::default();
    }
    let waits = queue.waits();
    let mean = queue.wait_mean_of(Variability {
        arrivals: 1.0,
        services: cv2,
    });
    if mean > 0.0 && mean.is_finite() {
        Tail {
            waits,
            falls: waits / mean,
        }
    } else {
        Tail::default()
    }
}

/// The calm, then one phase for each burst that comes by chance.
fn phases(network: &Network) -> Vec<Phase> {
    let flows = network.flows.len();
    let mut phases = vec![Phase {
        share: 1.0,
        lasts: f64::INFINITY,
        factors: vec![1.0; flows],
    }];
    for burst in &network.bursts {
        let (share, lasts, factors) = match burst {
            Burst::Mmpp {
                factor,
                quiet,
                loud,
                classes,
            } => {
                let factors = network
                    .flows
                    .iter()
                    .map(|flow| {
                        let is_meant = classes.is_empty() || classes.contains(&flow.name);
                        if is_meant { factor.clamp(0.0, 1e6) } else { 1.0 }
                    })
                    .collect();
                (loud / (quiet + loud), *loud, factors)
            }
            Burst::Cluster {
                per_hour,
                share,
                delay_p95,
                class,
                ..
            } => {
                // Nearly all react within the 95th percentile of their delays.
                let lasts = delay_p95.max(1.0);
                let factors = network
                    .flows
                    .iter()
                    .map(|flow| {
                        if flow.name == *class && flow.rate > 0.0 {
                            1.0 + (share / lasts / flow.rate).min(1e6)
                        } else {
                            1.0
                        }
                    })
                    .collect();
                (per_hour * lasts / 3_600.0, lasts, factors)
            }
        };
        if share > 0.0 && share.is_finite() {
            let share = share.min(0.9 * phases[0].share);
            phases[0].share -= share;
            phases.push(Phase {
                share,
                lasts,
                factors,
            });
        }
    }
    phases
}

fn triggers(network: &Network) -> Vec<Trigger> {
    /// The 95th percentile of the standard normal.
    const NORMAL_P95: f64 = 1.644_853_626_951_472_7;
    /// Beyond, they are part of the mean.
    const TRIGGERS_MAX: usize = 1_000;
    let mut triggers = Vec::new();
    for burst in &network.bursts {
        let Burst::Cluster {
            at_hours,
            share,
            delay_p50,
            delay_p95,
            class,
            ..
        } = burst
        else {
            continue;
        };
        let Some(flow) = network.flows.iter().position(|flow| flow.name == *class) else {
            continue;
        };
        let median = if delay_p50.is_finite() {
            delay_p50.clamp(0.5, 1e5)
        } else {
            1.0
        };
        let sigma = (libm::log((delay_p95 / median).max(1.05)) / NORMAL_P95).min(3.0);
        for &hour in at_hours.iter().take(TRIGGERS_MAX) {
            triggers.push(Trigger {
                flow,
                at: hour * 3_600.0,
                share: share.clamp(0.0, 1.0),
                median,
                sigma,
                ends: hour * 3_600.0 + median * libm::exp(3.0 * sigma) + 1.0,
            });
        }
    }
    triggers
}

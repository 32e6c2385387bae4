//! What breaks and comes back, and what happens by the clock: crashes, zones, deploys, bursts.
//!
//! A crash takes what its machine was doing and whom it held. Those who called learn at once (a connection that breaks
//! says so). Failures by chance are drawn before the run, each machine from a stream of its own: one machine more
//! never moves another's crash.

use std::ops::Range;

use super::{
    Nanos, State, nanos, publish, seconds,
    tables::{BurstTable, NodeTable, Tables},
    users::NONE,
};
use crate::{
    draw::Purpose,
    network::{Network, TimedFault},
    plan::Fault,
};

const YEAR: f64 = 365.0 * 86_400.0;
const WEEK: f64 = 7.0 * 86_400.0;
/// Failures of one kind and machine in one run; more is no plan but a mistake.
const DRAWN_MAX: usize = 10_000;
/// A machine that leaves in order and has nobody to send away is gone for at least this long: 1 s.
const DRAIN_MIN: Nanos = 1_000_000_000;
/// Reactions to one trigger that are sent one by one.
const REACTIONS_MAX: f64 = 2e6;

/// The machines of a node.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub machines: Vec<Machine>,
    /// Those that take new work.
    pub open: Vec<u32>,
    /// The one that works, if the others stand by.
    active: Option<u32>,
    pub turn: u32,
    pub slow: f64,
    slows: u32,
    pub loss: f64,
    pub cold_since: Option<Nanos>,
    /// Utilisation, smoothed; machines that boot; since when there are too many.
    pub load: f64,
    pub booting: u32,
    pub low_since: Option<Nanos>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Machine {
    pub is_up: bool,
    is_draining: bool,
    /// It was taken out of service, and does not come back by itself.
    is_gone: bool,
    pub connections: u32,
}

/// What is going to happen.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    Fault(TimedFault),
    Up {
        node: usize,
        machine: u32,
    },
    TakeOver {
        node: usize,
    },
    SlowEnds {
        node: usize,
        factor: f64,
    },
    LossEnds {
        node: usize,
    },
    KickEnds {
        factor: f64,
    },
    /// A deploy comes to a machine; its clients are away; the new one is there.
    Replace {
        node: usize,
        machine: u32,
    },
    Drained {
        node: usize,
        machine: u32,
        is_deploy: bool,
    },
    Replaced {
        node: usize,
        machine: u32,
    },
    Boot {
        node: usize,
    },
    Switch {
        burst: usize,
    },
    Trigger {
        burst: usize,
    },
    React {
        flow: usize,
    },
}

impl Node {
    pub fn new(table: &NodeTable) -> Self {
        let up = Machine {
            is_up: true,
            ..Machine::default()
        };
        let mut node = Self {
            machines: vec![up; table.machines as usize],
            open: Vec::new(),
            active: table.takeover.map(|_| 0),
            turn: 0,
            slow: 1.0,
            slows: 0,
            loss: 0.0,
            cold_since: None,
            load: 0.0,
            booting: 0,
            low_since: None,
        };
        node.reopen(table);
        node
    }

    /// The machine that has a room: the next that is up, counted from its own.
    pub fn of_room(&self, room: u32) -> Option<u32> {
        let len = self.machines.len() as u32;
        if let Some(active) = self.active {
            return self.open.contains(&active).then_some(active);
        }
        (0..len)
            .map(|step| (room % len + step) % len)
            .find(|&machine| self.machines[machine as usize].is_up)
    }

    fn reopen(&mut self, table: &NodeTable) {
        self.open.clear();
        for (place, machine) in self.machines.iter().enumerate() {
            let works = table.takeover.is_none() || self.active == Some(place as u32);
            if machine.is_up && !machine.is_draining && works {
                self.open.push(place as u32);
            }
        }
    }

    /// Something of it is not as usual.
    pub fn is_in_trouble(&self, table: &NodeTable, now: Nanos) -> bool {
        let is_missing = |machine: &Machine| !machine.is_gone && (!machine.is_up || machine.is_draining);
        let is_cold = self
            .cold_since
            .is_some_and(|since| seconds(now - since) < table.warm_up);
        self.booting > 0
            || self.slow != 1.0
            || self.loss > 0.0
            || self.open.is_empty()
            || is_cold
            || self.machines.iter().any(is_missing)
    }

    /// Machines that are paid.
    pub fn paid(&self) -> usize {
        self.machines.iter().filter(|machine| !machine.is_gone).count() + self.booting as usize
    }
}

impl State {
    pub(super) fn begin_faults(&mut self, tables: &Tables, network: &Network) {
        for &fault in &network.faults {
            self.plan_fault(tables, fault);
        }
        let random = network.random;
        for node in 0..tables.nodes.len() {
            self.plan_crashes(tables, node, 0..tables.nodes[node].machines, 0.0);
        }
        let deploys = random.deploys_per_week.clamp(0.0, 1e6) / WEEK;
        let mut stream = tables.stream(1, Purpose::Failure);
        let mut at = 0.0;
        for _ in 0..DRAWN_MAX {
            if deploys <= 0.0 {
                break;
            }
            at += stream.exponential(1.0 / deploys);
            if at >= network.length {
                break;
            }
            for node in tables.nodes.iter().filter(|node| node.deploys) {
                let fault = Fault::Deploy;
                self.plan_fault(
                    tables,
                    TimedFault {
                        at,
                        node: node.id,
                        fault,
                    },
                );
            }
        }
    }

    /// Crashes by chance of some machines of a node, from a second on.
    pub(super) fn plan_crashes(&mut self, tables: &Tables, node: usize, machines: Range<u32>, from: f64) {
        let random = tables.random;
        let crashes = random.crashes_per_year.clamp(0.0, 1e9) / YEAR;
        let table = &tables.nodes[node];
        for machine in machines {
            let mut stream = tables.stream(table.entity.wrapping_add(machine), Purpose::Failure);
            let mut at = 0.0;
            for _ in 0..DRAWN_MAX {
                if crashes <= 0.0 {
                    break;
                }
                at += stream.exponential(1.0 / crashes);
                let all = stream.unit() < random.common_cause;
                if at >= seconds(tables.length) {
                    break;
                }
                let fault = Fault::Crash {
                    machines: if all { table.machines } else { 1 },
                    seconds: None,
                };
                if at >= from {
                    let node = table.id;
                    self.plan_fault(tables, TimedFault { at, node, fault });
                }
            }
        }
    }

    pub(super) fn plan_fault(&mut self, _tables: &Tables, fault: TimedFault) {
        self.foresee(nanos(fault.at));
        self.plan_act(nanos(fault.at), Act::Fault(fault));
    }

    pub(super) fn begin_bursts(&mut self, tables: &Tables) {
        for (burst, table) in tables.bursts.iter().enumerate() {
            match table {
                BurstTable::Mmpp { quiet, .. } => {
                    let at = nanos(self.bursts[burst].exponential(*quiet));
                    self.plan_act(at, Act::Switch { burst });
                }
                BurstTable::Cluster { at, per_hour, .. } => {
                    for &at in at {
                        self.foresee(nanos(at));
                        self.plan_act(nanos(at), Act::Trigger { burst });
                    }
                    let mut at = 0.0;
                    for _ in 0..DRAWN_MAX {
                        if *per_hour <= 0.0 {
                            break;
                        }
                        at += self.bursts[burst].exponential(3_600.0 / per_hour);
                        if at >= seconds(tables.length) {
                            break;
                        }
                        self.foresee(nanos(at));
                        self.plan_act(nanos(at), Act::Trigger { burst });
                    }
                }
            }
        }
    }

    pub(super) fn on_act(&mut self, tables: &Tables, act: Act) {
        match act {
            Act::Fault(fault) => self.on_fault(tables, fault),
            Act::Up { node, machine } => self.bring_up(tables, node, machine),
            Act::TakeOver { node } => self.take_over(tables, node),
            Act::SlowEnds { node, factor } => {
                let row = &mut self.nodes[node];
                row.slows = row.slows.saturating_sub(1);
                // Division may leave a rest; without any left it is 1.
                row.slow = if row.slows == 0 { 1.0 } else { row.slow / factor };
            }
            Act::LossEnds { node } => self.nodes[node].loss = 0.0,
            Act::KickEnds { factor } => {
                self.kick /= factor;
                self.retune(tables);
            }
            Act::Replace { node, machine } => self.begin_drain(tables, node, machine, true),
            Act::Drained {
                node,
                machine,
                is_deploy,
            } => self.on_drained(tables, node, machine, is_deploy),
            Act::Replaced { node, machine } => {
                self.bring_up(tables, node, machine);
                self.replace_next(tables, node, machine + 1);
            }
            Act::Boot { node } => self.on_booted(tables, node),
            Act::Switch { burst } => {
                let BurstTable::Mmpp { quiet, loud, .. } = &tables.bursts[burst] else {
                    return;
                };
                self.loud[burst] = !self.loud[burst];
                let mean = if self.loud[burst] { *loud } else { *quiet };
                let at = self
                    .now
                    .saturating_add(nanos(self.bursts[burst].exponential(mean)));
                self.plan_act(at, Act::Switch { burst });
                self.retune(tables);
            }
            Act::Trigger { burst } => self.on_trigger(tables, burst),
            // Each is simulated, and counts for itself, wherever it falls.
            Act::React { flow } => self.publish(tables, flow, (1.0, 1.0)),
        }
    }

    /// A share of all users reacts, each in its own time.
    fn on_trigger(&mut self, tables: &Tables, burst: usize) {
        let BurstTable::Cluster {
            share, delay, flow, ..
        } = &tables.bursts[burst]
        else {
            return;
        };
        let expected = (share * self.users.wanted.len() as f64).min(REACTIONS_MAX);
        let stream = &mut self.bursts[burst];
        let count = self.ziggurat.poisson(stream, expected);
        self.books.mark(
            self.now,
            format!("{} reacts: {count} at once", tables.flows[*flow].name),
        );
        // Nearly all have reacted after two deviations.
        self.expect_trouble(self.now.saturating_add(nanos(libm::exp(delay.0 + 2.0 * delay.1))));
        for _ in 0..count {
            let stream = &mut self.bursts[burst];
            let wait = libm::exp(delay.0 + delay.1 * self.ziggurat.normal(stream));
            let at = self.now.saturating_add(nanos(wait));
            self.plan_act(at, Act::React { flow: *flow });
        }
    }

    fn on_fault(&mut self, tables: &Tables, fault: TimedFault) {
        if let Fault::Kick { factor, seconds } = fault.fault {
            let factor = if factor.is_nan() {
                1.0
            } else {
                factor.clamp(1e-3, 1e3)
            };
            self.kick *= factor;
            self.books
                .mark(self.now, format!("a kick: {factor} times as much"));
            self.plan_act(self.now.saturating_add(nanos(seconds)), Act::KickEnds { factor });
            self.retune(tables);
            return;
        }
        let Some(node) = tables.nodes.iter().position(|node| node.id == fault.node) else {
            return;
        };
        let table = &tables.nodes[node];
        let name = &table.name;
        let len = self.nodes[node].machines.len() as u32;
        match fault.fault {
            Fault::Crash { machines, seconds } => {
                let down = seconds.map_or(table.repair, nanos);
                let mut left = machines.min(len);
                self.books
                    .mark(self.now, format!("{name}: {left} of {len} machines crash"));
                // The one that works first: a standby's crash is no failure to anyone.
                let first = self.nodes[node].active.unwrap_or(0);
                for step in 0..len {
                    let machine = (first + step) % len;
                    if left > 0 && self.nodes[node].machines[machine as usize].is_up {
                        self.crash(tables, node, machine, down);
                        left -= 1;
                    }
                }
            }
            Fault::Zone { seconds } => {
                self.books.mark(self.now, format!("{name}: a zone is lost"));
                let first = self.nodes[node].active.unwrap_or(0);
                for machine in (0..len).filter(|machine| machine % table.zones == first % table.zones) {
                    self.crash(tables, node, machine, nanos(seconds));
                }
            }
            Fault::Failover => {
                self.books.mark(self.now, format!("{name}: fails over"));
                let first = self.nodes[node].active.or(self.nodes[node].open.first().copied());
                if let Some(machine) = first {
                    self.crash(tables, node, machine, table.repair);
                }
            }
            Fault::Slow { factor, seconds } => {
                let factor = if factor.is_nan() {
                    1.0
                } else {
                    factor.clamp(1e-3, 1e6)
                };
                self.books
                    .mark(self.now, format!("{name}: all takes {factor} times as long"));
                self.nodes[node].slow *= factor;
                self.nodes[node].slows += 1;
                self.plan_act(
                    self.now.saturating_add(nanos(seconds)),
                    Act::SlowEnds { node, factor },
                );
            }
            Fault::Deploy => {
                self.books
                    .mark(self.now, format!("{name}: deploy of {len} machines"));
                self.replace_next(tables, node, 0);
            }
            Fault::Cold => {
                self.books
                    .mark(self.now, format!("{name}: knows nothing any more"));
                self.nodes[node].cold_since = Some(self.now);
            }
            Fault::Loss { share, seconds } => {
                self.books
                    .mark(self.now, format!("{name}: its links lose {:.1} %", share * 100.0));
                self.nodes[node].loss = if share.is_nan() {
                    0.0
                } else {
                    share.clamp(0.0, 0.999)
                };
                self.plan_act(self.now.saturating_add(nanos(seconds)), Act::LossEnds { node });
            }
            // Of all, above.
            Fault::Kick { .. } => {}
        }
    }

    /// A machine dies, with all it was doing.
    fn crash(&mut self, tables: &Tables, node: usize, machine: u32, down: Nanos) {
        if !self.nodes[node].machines[machine as usize].is_up {
            return;
        }
        self.go_down(tables, node, machine);
        for job in 0..self.jobs.len() {
            if self.jobs[job].is_at(node, machine, self.now) {
                self.jobs[job].phase = publish::Phase::Lost;
                self.jobs[job].end = self.now;
                let number = self.near.push(self.now, job as u32);
                self.jobs[job].number = number;
            }
        }
        for &pool in &tables.nodes[node].pools {
            self.pools[pool].reset(machine as usize, self.now);
        }
        if tables.edge == Some(node) {
            self.cut_all(tables, machine);
        }
        self.plan_act(self.now.saturating_add(down), Act::Up { node, machine });
    }

    fn go_down(&mut self, tables: &Tables, node: usize, machine: u32) {
        let table = &tables.nodes[node];
        let row = &mut self.nodes[node];
        row.machines[machine as usize].is_up = false;
        row.machines[machine as usize].is_draining = false;
        if row.active == Some(machine) {
            row.active = Some(NONE);
            let takeover = table.takeover.unwrap_or(0);
            if row.machines.iter().any(|machine| machine.is_up) {
                self.plan_act(self.now.saturating_add(takeover), Act::TakeOver { node });
            }
        }
        self.nodes[node].reopen(table);
    }

    fn take_over(&mut self, tables: &Tables, node: usize) {
        let row = &mut self.nodes[node];
        if row.active == Some(NONE)
            && let Some(machine) = row.machines.iter().position(|machine| machine.is_up)
        {
            row.active = Some(machine as u32);
            row.reopen(&tables.nodes[node]);
            self.books.mark(
                self.now,
                format!("{}: the standby has taken over", tables.nodes[node].name),
            );
        }
    }

    fn bring_up(&mut self, tables: &Tables, node: usize, machine: u32) {
        let row = &mut self.nodes[node];
        let up = &mut row.machines[machine as usize];
        if up.is_gone || up.is_up {
            return;
        }
        up.is_up = true;
        let others = row.machines.iter().filter(|machine| machine.is_up).count() - 1;
        // With another one up a takeover is on its way.
        if row.active == Some(NONE) && others == 0 {
            row.active = Some(machine);
        }
        row.reopen(&tables.nodes[node]);
        for &pool in &tables.nodes[node].pools {
            self.pools[pool].reset(machine as usize, self.now);
        }
        self.books.mark(
            self.now,
            format!("{}: a machine is back", tables.nodes[node].name),
        );
    }

    fn replace_next(&mut self, tables: &Tables, node: usize, from: u32) {
        let row = &self.nodes[node];
        let next = (from..row.machines.len() as u32).find(|&machine| row.machines[machine as usize].is_up);
        match next {
            Some(machine) => self.plan_act(self.now, Act::Replace { node, machine }),
            None => self.books.mark(
                self.now,
                format!("{}: the deploy is done", tables.nodes[node].name),
            ),
        }
    }

    /// A machine leaves in order: no new work, its clients are sent away over a while.
    pub(super) fn begin_drain(&mut self, tables: &Tables, node: usize, machine: u32, is_deploy: bool) {
        let table = &tables.nodes[node];
        if !self.nodes[node].machines[machine as usize].is_up {
            if is_deploy {
                self.replace_next(tables, node, machine + 1);
            }
            return;
        }
        self.nodes[node].machines[machine as usize].is_draining = true;
        self.nodes[node].reopen(table);
        let mut over = DRAIN_MIN;
        if tables.edge == Some(node) && self.nodes[node].machines[machine as usize].connections > 0 {
            over = over.max(table.drain);
            self.spread(machine, 1.0, table.drain);
        }
        self.plan_act(
            self.now.saturating_add(over),
            Act::Drained {
                node,
                machine,
                is_deploy,
            },
        );
    }

    fn on_drained(&mut self, tables: &Tables, node: usize, machine: u32, is_deploy: bool) {
        if !self.nodes[node].machines[machine as usize].is_up {
            // It crashed meanwhile, and comes back as any that did.
            if is_deploy {
                self.replace_next(tables, node, machine + 1);
            }
            return;
        }
        self.go_down(tables, node, machine);
        if tables.edge == Some(node) {
            self.cut_all(tables, machine);
        }
        if is_deploy {
            let table = &tables.nodes[node];
            let back = self
                .now
                .saturating_add(table.scale.map_or(table.repair, |scale| nanos(scale.boot)));
            self.plan_act(back, Act::Replaced { node, machine });
        } else {
            self.nodes[node].machines[machine as usize].is_gone = true;
        }
    }

    /// A machine more.
    pub(super) fn add_machine(&mut self, tables: &Tables, node: usize) {
        let row = &mut self.nodes[node];
        let machine = match row.machines.iter().position(|machine| machine.is_gone) {
            Some(machine) => machine,
            None => {
                row.machines.push(Machine::default());
                for &pool in &tables.nodes[node].pools {
                    self.pools[pool].grow(self.now);
                }
                row.machines.len() - 1
            }
        };
        self.nodes[node].machines[machine] = Machine::default();
        self.bring_up(tables, node, machine as u32);
    }
}

//! Machines that die, come back, take over, are deployed and scaled.

use super::tables::{Node, Tables};
use crate::{
    network::{Network, Share, TimedFault},
    outcome::Mark,
    plan::Fault,
};

/// A node at a moment.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// Machines that take work.
    pub working: f64,
    /// Machines that are paid for: all but those not yet ordered.
    pub owned: f64,
    /// All work takes so many times as long.
    pub slow: f64,
    /// Share of what is sent to it that is lost.
    pub loss: f64,
    /// Load of its fullest machine, of the mean.
    pub hot: f64,
    /// Machines that stand by and could take over.
    spare: f64,
    /// Machines ordered and not yet there.
    booting: f64,
    busy: f64,
    above_since: Option<f64>,
    below_since: Option<f64>,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Strike { node: usize, fault: Fault },
    Back { node: usize, machines: f64 },
    TakeOver { node: usize },
    Slower { node: usize, factor: f64 },
    Loses { node: usize, share: f64 },
    Kick { factor: f64 },
    Deploy { node: usize, left: f64 },
    Booted { node: usize, machines: f64 },
}

/// What happened to those connected.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cut {
    /// Share of them that was cut off at once.
    pub share: f64,
    /// Share of them that is sent away over so many seconds.
    pub sent_away: f64,
    pub over: f64,
}

#[derive(Debug)]
pub(super) struct Machines {
    pub nodes: Vec<State>,
    /// How warm each station is, if it is a cache: 0 to 1.
    pub warm: Vec<f64>,
    cold_since: Vec<Option<(f64, f64)>>,
    pub kick: f64,
    /// Latest first.
    acts: Vec<(f64, Act)>,
    pub marks: Vec<Mark>,
    /// Counts every change that matters to what an event asks.
    pub version: u32,
    pub last_change: f64,
}

impl Machines {
    /// What an event asks of the nodes follows from this: machines that work, and how warm caches are; in bits.
    pub fn state(&self) -> Vec<u64> {
        let working = self.nodes.iter().map(|node| node.working);
        working
            .chain(self.warm.iter().copied())
            .map(f64::to_bits)
            .collect()
    }

    pub fn new(tables: &Tables, faults: &[TimedFault]) -> Self {
        let nodes = tables
            .nodes
            .iter()
            .map(|node| {
                let machines = f64::from(node.machines);
                State {
                    working: if node.takeover.is_some() { 1.0 } else { machines },
                    owned: machines,
                    slow: 1.0,
                    loss: 0.0,
                    hot: 1.0,
                    spare: if node.takeover.is_some() {
                        machines - 1.0
                    } else {
                        0.0
                    },
                    booting: 0.0,
                    busy: 0.0,
                    above_since: None,
                    below_since: None,
                }
            })
            .collect();
        let stations = tables.network.stations.len();
        let mut machines = Self {
            nodes,
            warm: vec![1.0; stations],
            cold_since: vec![None; stations],
            kick: 1.0,
            acts: Vec::new(),
            marks: Vec::new(),
            version: 0,
            last_change: f64::NEG_INFINITY,
        };
        for fault in faults {
            if let Some(node) = tables.nodes.iter().position(|node| node.id == fault.node) {
                machines.plan(
                    fault.at,
                    Act::Strike {
                        node,
                        fault: fault.fault,
                    },
                );
            }
        }
        machines
    }

    fn plan(&mut self, at: f64, act: Act) {
        let at = if at.is_nan() { f64::INFINITY } else { at };
        let place = self.acts.partition_point(|&(later, _)| later > at);
        self.acts.insert(place, (at, act));
    }

    /// When the next thing happens.
    pub fn next(&self) -> f64 {
        self.acts.last().map_or(f64::INFINITY, |&(at, _)| at)
    }

    /// Does what is due, and tells what became of those connected.
    pub fn step(&mut self, tables: &Tables, now: f64) -> Cut {
        let mut cut = Cut::default();
        while let Some(&(at, act)) = self.acts.last() {
            if at > now {
                break;
            }
            self.acts.pop();
            self.version += 1;
            self.last_change = now;
            self.act(tables, now, act, &mut cut);
        }
        self.warm_up(tables.network, now);
        cut
    }

    fn act(&mut self, tables: &Tables, now: f64, act: Act, cut: &mut Cut) {
        match act {
            Act::Strike { node, fault } => self.strike(tables, now, node, fault, cut),
            Act::Back { node, machines } => {
                let of = &tables.nodes[node];
                let state = &mut self.nodes[node];
                if of.takeover.is_some() {
                    if state.working < 1.0 {
                        state.working = 1.0;
                        state.spare += machines - 1.0;
                    } else {
                        state.spare += machines;
                    }
                } else {
                    rejoin(of, state, machines);
                }
                self.mark(now, of, "back");
            }
            Act::TakeOver { node } => {
                let state = &mut self.nodes[node];
                if state.working < 1.0 && state.spare >= 1.0 {
                    state.spare -= 1.0;
                    state.working = 1.0;
                    self.mark(now, &tables.nodes[node], "taken over");
                }
            }
            Act::Slower { node, factor } => {
                self.nodes[node].slow = (self.nodes[node].slow * factor).max(1e-3);
                if factor < 1.0 {
                    self.mark(now, &tables.nodes[node], "as fast as before");
                }
            }
            Act::Loses { node, share } => self.nodes[node].loss = share.clamp(0.0, 1.0),
            Act::Kick { factor } => self.kick = (self.kick * factor).max(0.0),
            Act::Deploy { node, left } => self.deploy(tables, now, node, left, cut),
            Act::Booted { node, machines } => {
                self.nodes[node].booting -= machines;
                rejoin(&tables.nodes[node], &mut self.nodes[node], machines);
                self.mark(now, &tables.nodes[node], "has booted more");
            }
        }
    }

    fn strike(&mut self, tables: &Tables, now: f64, node: usize, fault: Fault, cut: &mut Cut) {
        let of = &tables.nodes[node];
        let (working, spare) = (self.nodes[node].working, self.nodes[node].spare);
        match fault {
            Fault::Crash { machines, seconds } => {
                let machines = f64::from(machines).min(working + spare);
                self.lose(tables, now, node, machines, seconds.unwrap_or(of.repair), cut);
                self.mark(now, of, "crashed");
            }
            Fault::Zone { seconds } => {
                if !of.is_managed {
                    let machines = f64::ceil((working + spare) / f64::from(of.zones));
                    self.lose(tables, now, node, machines, seconds, cut);
                }
                self.mark(now, of, "lost a zone");
            }
            Fault::Slow { factor, seconds } => {
                let factor = if factor.is_finite() {
                    factor.clamp(1e-3, 1e6)
                } else {
                    1.0
                };
                self.act(tables, now, Act::Slower { node, factor }, cut);
                self.plan(
                    now + seconds.max(0.0),
                    Act::Slower {
                        node,
                        factor: 1.0 / factor,
                    },
                );
                self.mark(now, of, "slow");
            }
            Fault::Failover => {
                let machines = if of.takeover.is_some() { 1.0 } else { working };
                self.lose(tables, now, node, machines, of.repair, cut);
                self.mark(now, of, "fails over");
            }
            Fault::Deploy => {
                self.mark(now, of, "is deployed");
                if of.takeover.is_some() {
                    self.lose(tables, now, node, 1.0, of.repair, cut);
                } else {
                    self.deploy(tables, now, node, working, cut);
                }
            }
            Fault::Cold => {
                for (place, station) in tables.network.stations.iter().enumerate() {
                    if station.node == of.id {
                        self.chill(tables.network, now, place);
                    }
                }
                self.mark(now, of, "cold");
            }
            Fault::Loss { share, seconds } => {
                self.act(tables, now, Act::Loses { node, share }, cut);
                self.plan(now + seconds.max(0.0), Act::Loses { node, share: 0.0 });
                self.mark(now, of, "links to it lose");
            }
            Fault::Kick { factor, seconds } => {
                let factor = if factor.is_finite() {
                    factor.clamp(1e-3, 1e6)
                } else {
                    1.0
                };
                self.act(tables, now, Act::Kick { factor }, cut);
                self.plan(now + seconds.max(0.0), Act::Kick { factor: 1.0 / factor });
                self.mark(now, of, "kick");
            }
        }
    }

    /// So many machines are gone for so many seconds.
    fn lose(&mut self, tables: &Tables, now: f64, node: usize, machines: f64, seconds: f64, cut: &mut Cut) {
        if machines < 1.0 {
            return;
        }
        let of = &tables.nodes[node];
        let state = &mut self.nodes[node];
        if let Some(takeover) = of.takeover {
            // The one that works is among them, and then those that stand by.
            let down = machines.min(1.0 + state.spare);
            state.spare -= (down - state.working).max(0.0);
            state.working = 0.0;
            self.plan(now + takeover.max(0.0), Act::TakeOver { node });
            self.plan(now + seconds.max(0.0), Act::Back { node, machines: down });
        } else {
            let down = machines.min(state.working);
            if of.holds_connections && state.working > 0.0 {
                cut.share = 1.0 - (1.0 - cut.share) * (1.0 - down / state.working);
            }
            state.working -= down;
            self.plan(now + seconds.max(0.0), Act::Back { node, machines: down });
        }
        // What only it knew is forgotten with the machine.
        for (place, station) in tables.network.stations.iter().enumerate() {
            if station.node == of.id {
                self.chill(tables.network, now, place);
            }
        }
    }

    /// One machine is replaced, then the next.
    fn deploy(&mut self, tables: &Tables, now: f64, node: usize, left: f64, cut: &mut Cut) {
        let of = &tables.nodes[node];
        let state = &mut self.nodes[node];
        if left < 1.0 || state.working < 1.0 {
            return;
        }
        if of.holds_connections {
            if state.working > 1.0 {
                cut.sent_away += 1.0 / state.working;
                cut.over = cut.over.max(of.drain);
            } else {
                cut.share = 1.0;
            }
        }
        state.working -= 1.0;
        let back = now + of.drain + of.repair;
        self.plan(back, Act::Back { node, machines: 1.0 });
        self.plan(
            back + 1e-3,
            Act::Deploy {
                node,
                left: left - 1.0,
            },
        );
    }

    fn chill(&mut self, network: &Network, now: f64, station: usize) {
        let warm_up = network
            .flows
            .iter()
            .flat_map(|flow| flow.steps.iter().chain(&flow.aside))
            .chain(&network.connect)
            .find_map(|step| match step.share {
                Share::Misses { cache, warm_up, .. } if cache.0 as usize == station => Some(warm_up),
                Share::All | Share::Of { .. } | Share::Misses { .. } => None,
            });
        if let Some(warm_up) = warm_up {
            self.warm[station] = 0.0;
            self.cold_since[station] = Some((now, warm_up.max(1e-3)));
            self.version += 1;
        }
    }

    /// Caches know more with time, in steps that are worth a new sum.
    fn warm_up(&mut self, network: &Network, now: f64) {
        for place in 0..network.stations.len() {
            let Some((since, warm_up)) = self.cold_since[place] else {
                continue;
            };
            // Who holds nothing knows nothing.
            let warm = f64::floor(((now - since) / warm_up).min(1.0) * 10.0) / 10.0;
            if warm > self.warm[place] {
                self.warm[place] = warm;
                self.version += 1;
                self.last_change = now;
            }
            if warm >= 1.0 {
                self.cold_since[place] = None;
            }
        }
    }

    /// Machines come and go with the utilisation of a node; who is connected spreads over them as sessions end.
    pub fn scale(&mut self, tables: &Tables, busy: &[f64], session: f64, now: f64, step: f64) {
        for (node, of) in tables.nodes.iter().enumerate() {
            let state = &mut self.nodes[node];
            if state.hot > 1.0 {
                state.hot = 1.0 + (state.hot - 1.0) * libm::exp(-step / session.max(1.0));
                if state.hot < 1.005 {
                    state.hot = 1.0;
                }
            }
            let Some(scale) = of.scale else { continue };
            state.busy += (busy[node] - state.busy) * (step / 30.0).min(1.0);
            let have = state.working + state.booting;
            let wanted = f64::ceil(have * state.busy / scale.target).min(f64::from(scale.machines_max));
            // A tenth more is not worth a machine: Kubernetes' tolerance. Fewer only after five minutes: its window.
            if state.busy > scale.target * 1.1 && wanted > have {
                let since = *state.above_since.get_or_insert(now);
                if now - since >= scale.delay {
                    let more = wanted - have;
                    state.booting += more;
                    state.owned += more;
                    state.above_since = None;
                    self.plan(now + scale.boot, Act::Booted { node, machines: more });
                    self.mark(now, of, "scales out");
                }
                continue;
            }
            state.above_since = None;
            let base = f64::from(of.machines);
            let enough = f64::ceil(state.working * state.busy / scale.target).max(base);
            if state.booting == 0.0 && enough < state.working && !of.holds_connections {
                let since = *state.below_since.get_or_insert(now);
                if now - since >= scale.delay + 300.0 {
                    state.owned -= state.working - enough;
                    state.working = enough;
                    state.below_since = None;
                    self.version += 1;
                }
            } else {
                state.below_since = None;
            }
        }
    }

    fn mark(&mut self, at: f64, node: &Node, what: &str) {
        /// More than anybody reads.
        const MARKS_MAX: usize = 2_000;
        if self.marks.len() < MARKS_MAX {
            self.marks.push(Mark {
                at_s: at,
                what: format!("{}: {what}", node.name),
            });
        }
    }
}

/// Machines take work again; those that hold connections begin without any.
fn rejoin(of: &Node, state: &mut State, machines: f64) {
    let before = state.working;
    state.working += machines;
    let moves = of.scale.is_some_and(|scale| scale.rebalances);
    if of.holds_connections && before > 0.0 && !moves {
        state.hot *= state.working / before;
    }
}

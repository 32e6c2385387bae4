//! What a clause would be without one wait, one failure, one habit: the only thing that is called a cause.
//!
//! The same users, bursts and failures are run again with one thing taken out (common random numbers), so that the
//! difference is owed to it alone. Everything that could be to blame is tried on the fluid; what moves a clause most there,
//! and where events wait longest, is run again in pairs at a closer fidelity, whose spread gives the interval.
//!
//! Parts do not add up: two stations in a row may each be the cause of a latency that is long enough for both.

use serde::Serialize;

use super::{Depth, Part, Progress, node_name};
use crate::{
    engine,
    judge::{Clause, Fidelity, Promise, Verdict, What, spread_of},
    network::{Law, Network, RandomFaults, Stage},
    outcome::Outcome,
    plan::{Burst, Plan},
    price::{self, Book},
};

/// What is taken out.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "removed", rename_all = "kebab-case")]
pub enum Removed {
    /// The queue before the servers of a node: there are always enough.
    Wait {
        node: String,
    },
    /// What the servers of a node do: it takes no time.
    Work {
        node: String,
    },
    /// Until a consumer asks again.
    Poll,
    /// Until a reader's next turn.
    Conflation,
    /// The way between users and the first node.
    Network,
    /// Tries after the first, of clients and between nodes.
    Retries,
    /// What it costs to connect again: the storm after a failure.
    Reconnects,
    SlowReaders,
    /// One failure that happens for sure.
    Failure {
        node: String,
        at_s: f64,
    },
    /// Crashes and deploys by chance.
    Chance,
    /// One kind of burst, by its place in the scenario.
    Burst {
        place: usize,
    },
}

impl Removed {
    /// As what stands after "because of".
    pub fn words(&self) -> String {
        match self {
            Self::Wait { node } => format!("the wait for {node}"),
            Self::Work { node } => format!("the work at {node}"),
            Self::Poll => "the wait for the next poll".to_owned(),
            Self::Conflation => "the wait for a reader's next turn".to_owned(),
            Self::Network => "the network between users and the first node".to_owned(),
            Self::Retries => "tries again".to_owned(),
            Self::Reconnects => "the work of connecting again".to_owned(),
            Self::SlowReaders => "readers that are slow".to_owned(),
            Self::Failure { node, at_s } => format!("the failure of {node} at hour {:.1}", at_s / 3_600.0),
            Self::Chance => "crashes and deploys by chance".to_owned(),
            Self::Burst { place } => format!("burst {}", place + 1),
        }
    }
}

/// What one clause owes to one thing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cause {
    pub removed: Removed,
    /// The clause's figure with it, and without.
    pub before: f64,
    pub after: f64,
    /// How much better it is without: of uptime the share it gains, of all else what is less.
    pub gain: f64,
    /// Of `gain`, over pairs of runs, at 95 %; none of the fluid.
    pub interval: Option<[f64; 2]>,
    /// Without it the clause would be kept.
    pub would_hold: bool,
    pub fidelity: Fidelity,
    /// The interval leaves out nothing at all: it may be called because.
    pub is_proven: bool,
}

/// Of each clause what it owes to, the most first; and the runs with nothing taken out.
pub(super) fn causes(
    plan: &Plan,
    network: &Network,
    clauses: &[Clause],
    depth: &Depth,
    tell: &mut dyn FnMut(Progress),
) -> (Vec<Vec<Cause>>, Vec<Outcome>) {
    let mut told = |part, done: usize, of: usize| {
        tell(Progress {
            part,
            done: done as u32,
            of: of as u32,
        });
    };
    let promises: Vec<&Promise> = clauses.iter().map(|clause| &clause.promise).collect();
    let candidates = candidates(plan, network);
    let screen = Pairs::of(plan, network, depth, Fidelity::Fluid);
    let of = candidates.len();
    let screened: Vec<Vec<Option<Cause>>> = candidates
        .iter()
        .enumerate()
        .map(|(done, (removed, without))| {
            told(Part::Screen, done, of);
            screen.causes(removed, without, &promises)
        })
        .collect();
    // How many are worth it is known only after the first runs.
    told(Part::Pairs, 0, 0);
    let pairs = Pairs::of(plan, network, depth, depth.fidelity);
    let mut found = vec![Vec::new(); promises.len()];
    if depth.fidelity == Fidelity::Fluid {
        for row in screened {
            for (place, cause) in row.into_iter().enumerate() {
                found[place].extend(cause);
            }
        }
    } else {
        let chosen = choose(&screened, &candidates, &pairs, clauses, depth);
        let of = chosen.len();
        for (done, (removed, without)) in chosen.into_iter().map(|place| &candidates[place]).enumerate() {
            told(Part::Pairs, done, of);
            for (place, cause) in pairs.causes(removed, without, &promises).into_iter().enumerate() {
                found[place].extend(cause);
            }
        }
    }
    for causes in &mut found {
        // The way to the users is given; what a design can change comes before it. What is proven comes before what is not.
        let given = |cause: &Cause| cause.removed == Removed::Network;
        causes.sort_by(|a: &Cause, b| {
            (b.is_proven, given(a))
                .cmp(&(a.is_proven, given(b)))
                .then(b.gain.total_cmp(&a.gain))
        });
        prefer_waits(causes);
    }
    (found, pairs.before)
}

/// All that may be to blame, each with the network without it.
fn candidates(plan: &Plan, network: &Network) -> Vec<(Removed, Network)> {
    let mut all = Vec::new();
    let mut push = |removed, change: &dyn Fn(&mut Network)| {
        let mut without = network.clone();
        change(&mut without);
        all.push((removed, without));
    };
    let mut pools: Vec<(u32, u32)> = network
        .stations
        .iter()
        .map(|station| (station.node, station.group))
        .collect();
    pools.sort_unstable();
    pools.dedup();
    for pool in pools {
        let is_in = |place: usize| {
            let station = &network.stations[place];
            (station.node, station.group) == pool
        };
        let place = (0..network.stations.len())
            .find(|&place| is_in(place))
            .expect("pools are those of stations");
        let node = node_name(plan, &network.stations[place]);
        push(Removed::Wait { node: node.clone() }, &|without| {
            for (_, station) in in_pool(without, &is_in) {
                station.servers = PLENTY;
                station.waiting_max = None;
            }
        });
        push(Removed::Work { node }, &|without| {
            let flows = without.flows.iter_mut();
            let steps = flows.flat_map(|flow| flow.steps.iter_mut().chain(&mut flow.aside));
            for step in steps.chain(&mut without.connect) {
                if is_in(step.station.0 as usize) {
                    step.service = Law::Zero;
                    step.per_receiver = 0.0;
                }
            }
        });
    }
    let polls = |flow: &crate::network::Flow| flow.steps.iter().any(|step| step.travel_stage == Stage::Poll);
    if network.flows.iter().any(polls) {
        push(Removed::Poll, &|without| {
            let flows = without.flows.iter_mut();
            for step in flows.flat_map(|flow| &mut flow.steps) {
                if step.travel_stage == Stage::Poll {
                    step.travel = Law::Zero;
                }
            }
        });
    }
    if network.conflate_rate > 0.0 {
        push(Removed::Conflation, &|without| without.conflate_rate = 0.0);
    }
    if network.network != Law::Zero {
        push(Removed::Network, &|without| without.network = Law::Zero);
    }
    if network.clients.retries > 0 || network.stations.iter().any(|station| station.retries > 0) {
        push(Removed::Retries, &|without| {
            without.clients.retries = 0;
            without
                .stations
                .iter_mut()
                .for_each(|station| station.retries = 0);
        });
    }
    if !network.connect.is_empty() {
        push(Removed::Reconnects, &|without| {
            without
                .connect
                .iter_mut()
                .for_each(|step| step.service = Law::Zero);
        });
    }
    if network.slow_readers > 0.0 {
        push(Removed::SlowReaders, &|without| without.slow_readers = 0.0);
    }
    for (place, fault) in network.faults.iter().enumerate().take(FAILURES_MAX) {
        let node = plan.topology.nodes.get(fault.node as usize);
        let node = node.map_or_else(|| fault.node.to_string(), |node| node.id.clone());
        let at_s = fault.at;
        push(Removed::Failure { node, at_s }, &|without| {
            without.faults.remove(place);
        });
    }
    if network.random != RandomFaults::default() {
        push(Removed::Chance, &|without| {
            without.random = RandomFaults::default()
        });
    }
    for place in 0..network.bursts.len() {
        push(Removed::Burst { place }, &|without| {
            // In its place one that changes nothing, so that the others keep their draws.
            without.bursts[place] = Burst::Mmpp {
                factor: 1.0,
                quiet: 1e9,
                loud: 1.0,
                classes: Vec::new(),
            };
        });
    }
    all
}

fn in_pool<'a>(
    network: &'a mut Network,
    is_in: &'a impl Fn(usize) -> bool,
) -> impl Iterator<Item = (usize, &'a mut crate::network::Station)> {
    network
        .stations
        .iter_mut()
        .enumerate()
        .filter(|(place, _)| is_in(*place))
}

/// Servers that nobody ever waits for: see `engine::kernel::pool`.
const PLENTY: u32 = 2_000;
/// Failures that are taken out one by one.
const FAILURES_MAX: usize = 20;

/// Runs with nothing taken out, to be compared with.
struct Pairs<'a> {
    plan: &'a Plan,
    network: &'a Network,
    book: Option<Book>,
    fidelity: Fidelity,
    visits: f64,
    before: Vec<Outcome>,
    /// As [`Pairs::sums`] makes them.
    sums: Vec<Outcome>,
}

impl<'a> Pairs<'a> {
    fn of(plan: &'a Plan, network: &'a Network, depth: &Depth, fidelity: Fidelity) -> Self {
        let runs = match fidelity {
            Fidelity::Fluid => 1,
            Fidelity::Hybrid | Fidelity::Exact => depth.pairs.clamp(2, PAIRS_MAX),
        };
        let mut pairs = Self {
            plan,
            network,
            book: Book::by_name(&plan.book),
            fidelity,
            visits: depth.visits,
            before: Vec::new(),
            sums: Vec::new(),
        };
        pairs.before = (0..runs).map(|run| pairs.run(network, run)).collect();
        pairs.sums = pairs.sums(&pairs.before);
        pairs
    }

    fn run(&self, network: &Network, run: u32) -> Outcome {
        match self.fidelity {
            Fidelity::Fluid => engine::fluid::run(network),
            Fidelity::Hybrid => engine::hybrid::run(network, run, self.visits),
            Fidelity::Exact => engine::exact::run(network, run),
        }
    }

    fn causes(&self, removed: &Removed, without: &Network, promises: &[&Promise]) -> Vec<Option<Cause>> {
        let after: Vec<Outcome> = (0..self.before.len() as u32)
            .map(|run| self.run(without, run))
            .collect();
        let after = self.sums(&after);
        let each = promises.iter();
        each.map(|promise| self.cause(removed, without, promise, &after))
            .collect()
    }

    /// All runs added up; then all but one, of each.
    fn sums(&self, runs: &[Outcome]) -> Vec<Outcome> {
        let but = |left_out: usize| {
            let mut sum = Outcome::default();
            let kept = runs.iter().enumerate().filter(|(run, _)| *run != left_out);
            kept.for_each(|(_, outcome)| sum.merge(outcome));
            sum
        };
        match self.fidelity {
            Fidelity::Fluid => vec![but(usize::MAX)],
            Fidelity::Hybrid | Fidelity::Exact => std::iter::once(usize::MAX)
                .chain(0..runs.len())
                .map(but)
                .collect(),
        }
    }

    fn figure(&self, promise: &Promise, network: &Network, outcome: &Outcome) -> Option<f64> {
        let monthly = match promise.what {
            What::Budget => {
                let bill = price::bill(self.plan, network, self.book.as_ref()?, outcome);
                Some(bill.ok()?.total)
            }
            What::Uptime | What::Latency | What::Loss | What::Reconnect => None,
        };
        promise.measure(self.plan, outcome, monthly)
    }

    fn cause(
        &self,
        removed: &Removed,
        without: &Network,
        promise: &Promise,
        after: &[Outcome],
    ) -> Option<Cause> {
        // What is no longer there to be measured (nobody is cut off) is as good as can be.
        let best = match promise.what {
            What::Uptime => 1.0,
            What::Latency | What::Budget | What::Loss | What::Reconnect => 0.0,
        };
        let pairs = self.sums.iter().zip(after).filter_map(|(before, after)| {
            let before = self.figure(promise, self.network, before)?;
            let after = self.figure(promise, without, after).unwrap_or(best);
            Some((before, after, promise.gain(before, after)))
        });
        let pairs: Vec<(f64, f64, f64)> = pairs.collect();
        let (&(before, after, gain), but_one) = pairs.split_first()?;
        // What each pair adds: the jackknife's pseudo-values (J. Tukey, 1958), of sums that leave out one pair.
        let runs = but_one.len() as f64;
        let values: Vec<f64> = but_one
            .iter()
            .map(|(_, _, but)| runs * gain - (runs - 1.0) * but)
            .collect();
        let interval = spread_of(gain, &values);
        let spent = promise.gain(before, best).abs();
        Some(Cause {
            removed: removed.clone(),
            before,
            after,
            gain,
            interval,
            would_hold: promise.is_kept_by(after),
            fidelity: self.fidelity,
            is_proven: match interval {
                Some([low, _]) => low > 0.0,
                None => self.fidelity == Fidelity::Fluid && gain > FLUID_LEAST * spent,
            },
        })
    }
}

/// Less than this of a figure is no cause on the fluid: its waits are put into classes of some percent.
const FLUID_LEAST: f64 = 0.02;
const PAIRS_MAX: u32 = 64;

/// The candidates that are worth pairs: of each clause those that move it most on the fluid, and the longest wait. Of clauses
/// that hold only the first, and none where others do not.
fn choose(
    screened: &[Vec<Option<Cause>>],
    candidates: &[(Removed, Network)],
    pairs: &Pairs,
    clauses: &[Clause],
    depth: &Depth,
) -> Vec<usize> {
    let mut chosen = Vec::new();
    let trouble = clauses.iter().any(|clause| clause.standing != Verdict::Holds);
    for (place, clause) in clauses.iter().enumerate() {
        let mut ranked: Vec<(usize, f64)> = screened
            .iter()
            .enumerate()
            .filter_map(|(candidate, row)| Some((candidate, row[place].as_ref()?.gain)))
            .filter(|(_, gain)| *gain > 0.0)
            .collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        let wanted = match clause.standing {
            Verdict::Holds if trouble => 0,
            Verdict::Holds => 1,
            Verdict::Breaks | Verdict::TooClose => depth.candidates.max(1),
        };
        chosen.extend(ranked.into_iter().take(wanted).map(|(candidate, _)| candidate));
    }
    // The fluid may not see it; the run does.
    let waits = pairs.before.first().into_iter().flat_map(|run| &run.stations);
    let longest = waits
        .enumerate()
        .filter(|(_, station)| !station.wait_s.is_empty())
        .max_by(|a, b| {
            let mean = |station: &crate::outcome::StationOutcome| station.wait_s.sum() / station.wait_s.len();
            mean(a.1).total_cmp(&mean(b.1))
        });
    if let Some((station, _)) = longest {
        let node = node_name(pairs.plan, &pairs.network.stations[station]);
        let wait = Removed::Wait { node };
        chosen.extend(candidates.iter().position(|(removed, _)| *removed == wait));
    }
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

/// Work is named before the wait for it only if it is more than that wait.
fn prefer_waits(causes: &mut Vec<Cause>) {
    let waits: Vec<(String, f64)> = causes
        .iter()
        .filter_map(|cause| match &cause.removed {
            Removed::Wait { node } => Some((node.clone(), cause.gain)),
            _ => None,
        })
        .collect();
    causes.retain(|cause| match &cause.removed {
        Removed::Work { node } => !waits
            .iter()
            .any(|(name, gain)| name == node && *gain > 0.0 && cause.gain < WORK_MORE * gain),
        _ => true,
    });
}

const WORK_MORE: f64 = 1.25;

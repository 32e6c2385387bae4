//! Another plan from a moment on, and moments of a run to go back to.
//!
//! A run that is changed keeps all that happened and all that is under way: users, connections, jobs, lines, failures
//! that were drawn. So the other network must have the same stations and ways, the same users and the same failures so far;
//! counts, sizes, options, costs, rates and what clients do may differ, and hold from then on, and more may fail.
//! What does not fit is refused: it has no past in common, and is run from its beginning.

use std::{fmt, mem, rc::Rc};

use super::{
    Expected, Run, State, TICK, Windows,
    publish::{Job, Trace},
    seconds,
    tables::Tables,
};
use crate::{
    network::{Network, TimedFault},
    outcome::Outcome,
};

/// Why a run cannot go on as another network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlike(String);

impl Unlike {
    /// In what it is another.
    pub fn reason(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Unlike {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}; run it from the beginning", self.0)
    }
}

impl std::error::Error for Unlike {}

impl Run {
    /// Goes on as another network of the same shape, from this second on.
    ///
    /// # Errors
    /// If it has another shape; then the run is as it was.
    pub fn change(&mut self, network: &Network) -> Result<(), Unlike> {
        let tables = self.tables_of(network)?;
        self.go_on(tables);
        Ok(())
    }

    /// The same of a run of which only windows are simulated: those to come are chosen anew.
    pub(in crate::engine) fn change_sampled(
        &mut self,
        network: &Network,
        choose: impl FnOnce(&[Expected]) -> Windows,
    ) -> Result<(), Unlike> {
        let tables = self.tables_of(network)?;
        let windows = choose(&tables.expected());
        self.state.events_max = windows.events();
        self.state.set_windows(windows);
        self.go_on(tables);
        Ok(())
    }

    /// Whether the run could go on as another network once it is at a second; it is not run until then.
    ///
    /// # Errors
    /// What [`change`](Self::change) would refuse there.
    pub fn could_change(&self, network: &Network, second: f64) -> Result<(), Unlike> {
        let tables = Tables::new(network, self.tables.replication);
        match unlike(&self.tables, &tables, second) {
            Some(what) => Err(Unlike(what)),
            None => Ok(()),
        }
    }

    fn tables_of(&self, network: &Network) -> Result<Tables, Unlike> {
        let tables = Tables::new(network, self.tables.replication);
        match unlike(&self.tables, &tables, self.now()) {
            Some(what) => Err(Unlike(what)),
            None => Ok(tables),
        }
    }

    fn go_on(&mut self, tables: Tables) {
        // The second that ends now is closed by the plan that it was of.
        let now = self.state.now + 1;
        self.state.run_until(&self.tables, now.min(self.tables.length));
        let before = mem::replace(&mut self.tables, Rc::new(tables));
        self.state.change(&before, &self.tables);
    }

    /// Bytes that it takes, about.
    pub fn bytes(&self) -> usize {
        self.state.bytes()
    }
}

impl Trace {
    fn bytes(&self) -> usize {
        self.stays.capacity() * size_of::<crate::outcome::Stay>()
    }
}

impl State {
    fn change(&mut self, before: &Tables, tables: &Tables) {
        for (pool, table) in self.pools.iter_mut().zip(&tables.pools) {
            pool.set_servers(table.servers, self.now);
        }
        if !tables.changes_pace {
            // Else the next second puts them together.
            self.paces.fill(super::Pace::USUAL);
            self.work = tables.work.iter().map(|work| work.at(1.0)).collect();
        }
        for (node, table) in tables.nodes.iter().enumerate() {
            let (had, has) = (before.nodes[node].machines, table.machines);
            if has > had {
                self.plan_crashes(tables, node, had..has, seconds(self.now));
            }
            if has == had && before.nodes[node].scale == table.scale {
                continue;
            }
            let wanted = match table.scale {
                // Whatever the autoscaler had come to, within its new bounds.
                Some(scale) => (self.nodes[node].paid() as u32).clamp(has, scale.machines_max.max(has)),
                None => has,
            };
            if wanted as usize != self.nodes[node].paid() {
                self.set_machines(tables, table.id, wanted);
            }
        }
        for fault in more_faults(&before.faults, &tables.faults).unwrap_or_default() {
            let at = fault.at.max(seconds(self.now));
            self.plan_fault(tables, TimedFault { at, ..fault });
        }
        // Rates and what is asked follow at the next whole second, as they do each second.
    }

    fn bytes(&self) -> usize {
        let traces = self.traces.capacity() * size_of::<Trace>();
        let stays: usize = self.traces.iter().map(Trace::bytes).sum();
        size_of::<Self>()
            + self.near.bytes()
            + self.far.bytes()
            + self.jobs.capacity() * size_of::<Job>()
            + traces
            + stays
            + self.pools.iter().map(super::Pool::bytes).sum::<usize>()
            + self.users.bytes()
            + self.books.bytes()
    }
}

/// What fails in the other of two lists of failures and not in the one; none if it lacks some of the one.
fn more_faults(had: &[TimedFault], has: &[TimedFault]) -> Option<Vec<TimedFault>> {
    let mut more = has.to_vec();
    for fault in had {
        let place = more.iter().position(|other| other == fault)?;
        more.remove(place);
    }
    Some(more)
}

/// In what two networks differ that a run cannot change at a second of it; nothing if it can.
fn unlike(a: &Tables, b: &Tables, now: f64) -> Option<String> {
    if a.seed != b.seed {
        return Some("its seed is another".to_owned());
    }
    if a.length != b.length {
        return Some(format!(
            "it lasts {:.0} s, and the run {:.0} s",
            seconds(b.length),
            seconds(a.length)
        ));
    }
    if a.users != b.users || a.session != b.session {
        return Some("its users come and stay otherwise".to_owned());
    }
    if a.bursts != b.bursts {
        return Some("its bursts are others".to_owned());
    }
    match more_faults(&a.faults, &b.faults) {
        Some(more) if a.random == b.random => {
            if let Some(early) = more.iter().find(|fault| fault.at < now) {
                return Some(format!(
                    "something fails at {:.0} s of it that did not in the run, which is at {now:.0} s",
                    early.at
                ));
            }
        }
        _ => return Some("its failures are others".to_owned()),
    }
    let names =
        |tables: &Tables| -> Vec<String> { tables.flows.iter().map(|flow| flow.name.clone()).collect() };
    if names(a) != names(b) {
        return Some(format!("its classes are {}", names(b).join(", ")));
    }
    if a.edge != b.edge || a.nodes.len() != b.nodes.len() || a.pools.len() != b.pools.len() {
        return Some("its topology is another".to_owned());
    }
    for (of, to) in a.stations.iter().zip(&b.stations) {
        if (&of.name, of.node, of.pool, of.stage) != (&to.name, to.node, to.pool, to.stage) {
            return Some(format!("where the run has `{}`, it has `{}`", of.name, to.name));
        }
    }
    if a.stations.len() != b.stations.len() {
        return Some(format!(
            "it has {} stations, and the run {}",
            b.stations.len(),
            a.stations.len()
        ));
    }
    for (of, to) in a.nodes.iter().zip(&b.nodes) {
        if of.id != to.id {
            return Some("its nodes stand in another order".to_owned());
        }
        if of.takeover.is_some() != to.takeover.is_some() {
            return Some(format!("`{}` gains or loses what stands by", to.name));
        }
        if of.takeover.is_some() && to.machines < of.machines {
            return Some(format!("`{}` loses a machine that stands by", to.name));
        }
    }
    let ways = |tables: &Tables| -> Vec<Vec<usize>> {
        let of = |way: &super::tables::Way| {
            let visits = &tables.visits[way.first as usize..way.end as usize];
            visits.iter().map(|visit| visit.station).collect()
        };
        tables.ways.iter().map(of).collect()
    };
    match ways(a) == ways(b) {
        true => None,
        false => Some("its events go another way".to_owned()),
    }
}

/// Moments of a run to go back to: it, every so many seconds.
///
/// They are bounded in number and in memory. At a bound every other one goes and the steps are twice as long, so that what is
/// kept stays even over the run.
#[derive(Debug, Clone)]
pub struct Snapshots {
    step_s: f64,
    kept: Vec<Run>,
    bytes: usize,
}

/// Half an hour.
pub const SNAPSHOT_S: f64 = 1_800.0;
const SNAPSHOTS_MAX: usize = 128;
/// A quarter of what a run may take.
const SNAPSHOT_BYTES_MAX: usize = 32 << 20;

impl Snapshots {
    /// Goes through a run from where it is to its end, and keeps it at its beginning and at every step.
    pub fn of(run: Run) -> (Self, Outcome) {
        Self::within(run, SNAPSHOT_S, SNAPSHOT_BYTES_MAX)
    }

    fn within(mut run: Run, step_s: f64, bytes_max: usize) -> (Self, Outcome) {
        let mut snapshots = Self {
            step_s,
            kept: Vec::new(),
            bytes: 0,
        };
        let end = seconds(run.tables.length);
        let begin = run.now();
        loop {
            snapshots.keep(&run, bytes_max);
            let next = match snapshots.kept.last() {
                Some(last) => last.now() + snapshots.step_s,
                None => begin + snapshots.step_s,
            };
            if next >= end || run.state.is_cut {
                break;
            }
            run.run_until(next);
        }
        (snapshots, run.finish())
    }

    fn keep(&mut self, run: &Run, bytes_max: usize) {
        self.bytes += run.bytes();
        self.kept.push(run.clone());
        while self.kept.len() > 1 && (self.kept.len() > SNAPSHOTS_MAX || self.bytes > bytes_max) {
            let mut place = 0;
            self.kept.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            self.bytes = self.kept.iter().map(Run::bytes).sum();
            self.step_s *= 2.0;
        }
    }

    /// The run at a whole second: gone on from the last snapshot before it.
    pub fn at(&self, second: f64) -> Run {
        let tick = seconds(TICK);
        let second = if second.is_nan() {
            0.0
        } else {
            (second / tick).floor() * tick
        };
        let after = self.kept.partition_point(|run| run.now() <= second);
        let mut run = self.kept[after.saturating_sub(1)].clone();
        run.run_until(second);
        run
    }

    /// How many are kept, and bytes they take, about.
    pub fn held(&self) -> (usize, usize) {
        (self.kept.len(), self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::{
            exact::{
                self,
                tests::{stack, troubled},
            },
            hybrid,
        },
        plan::Fault,
    };

    const VISITS: f64 = 10_000.0;

    /// What makes another network of one.
    type Change = fn(&mut Network);

    fn json(outcome: &Outcome) -> String {
        serde_json::to_string(outcome).unwrap()
    }

    /// A fault, a deploy, cold caches, and users that come and go.
    fn eventful() -> Network {
        let mut network = troubled(330.0);
        network.users = vec![(0.0, 40.0), (150.0, 100.0), (330.0, 50.0)];
        network
    }

    #[test]
    fn a_run_that_goes_on_unchanged_is_the_whole_run() {
        let network = eventful();
        for second in [0.0, 117.0, 240.0] {
            let whole = json(&exact::run(&network, 3));
            let mut run = Run::new(&network, 3);
            run.run_until(second);
            let mut other = run.clone();
            other.change(&network).unwrap();
            assert!(
                json(&run.finish()) == whole && json(&other.finish()) == whole,
                "exact at {second}"
            );

            let whole = json(&hybrid::run(&network, 3, VISITS));
            let mut run = hybrid::begin(&network, 3, VISITS);
            run.run_until(second);
            hybrid::change(&mut run, &network, VISITS).unwrap();
            assert!(json(&run.finish()) == whole, "hybrid at {second}");
        }
    }

    #[test]
    fn the_past_is_shared_and_what_follows_is_the_other_plans() {
        let mut network = stack(600.0);
        network.users = vec![(0.0, 100.0), (600.0, 100.0)];
        let mut slower = network.clone();
        for flow in &mut slower.flows {
            flow.rate *= 3.0;
        }
        let mut more = slower.clone();
        for station in &mut more.stations {
            station.machines *= 2;
        }
        let busy = |outcome: &Outcome, minute: usize| {
            let busy = &outcome.minutes[minute].busy;
            f64::from(busy.iter().copied().fold(0.0, f32::max))
        };
        let before = exact::run(&network, 0);
        let fork = |network: &Network, to: &Network| {
            let mut run = Run::new(network, 0);
            run.run_until(300.0);
            run.change(to).unwrap();
            run.finish()
        };
        let (three, double) = (fork(&network, &slower), fork(&network, &more));
        for minute in 0..5 {
            for other in [&three, &double] {
                assert_eq!(
                    serde_json::to_string(&before.minutes[minute]).unwrap(),
                    serde_json::to_string(&other.minutes[minute]).unwrap(),
                    "minute {minute}"
                );
            }
        }
        let (once, three_times, on_twice) = (busy(&before, 8), busy(&three, 8), busy(&double, 8));
        assert!((three_times / once - 3.0).abs() < 0.6, "{once} {three_times}");
        assert!(on_twice < three_times * 0.7, "{three_times} {on_twice}");
        assert!(double.minutes[8].machines[1] == 2 * before.minutes[8].machines[1]);
    }

    #[test]
    fn more_may_fail_from_then_on_and_not_before() {
        let mut network = stack(600.0);
        network.users = vec![(0.0, 100.0), (600.0, 100.0)];
        let struck = |at: f64| {
            let mut struck = network.clone();
            let fault = Fault::Slow {
                factor: 3.0,
                seconds: 200.0,
            };
            for station in &network.stations {
                let node = station.node;
                struck.faults.push(TimedFault { at, node, fault });
            }
            struck
        };
        let busy = |outcome: &Outcome, minute: usize| {
            let busy = &outcome.minutes[minute].busy;
            f64::from(busy.iter().copied().fold(0.0, f32::max))
        };
        let calm = exact::run(&network, 0);
        for at in [300.0, 330.0] {
            let mut run = Run::new(&network, 0);
            assert_eq!(run.could_change(&struck(at), 300.0), Ok(()));
            run.run_until(300.0);
            run.change(&struck(at)).unwrap();
            let outcome = run.finish();
            assert_eq!(
                serde_json::to_string(&calm.minutes[..5]).unwrap(),
                serde_json::to_string(&outcome.minutes[..5]).unwrap()
            );
            let (without, with) = (busy(&calm, 7), busy(&outcome, 7));
            assert!(with > without * 2.0, "{at}: {without} {with}");
            assert!(outcome.marks.len() > calm.marks.len(), "{at}");
        }
        let mut run = Run::new(&network, 0);
        let foreseen = run.could_change(&struck(299.0), 300.0).unwrap_err();
        run.run_until(300.0);
        assert_eq!(run.change(&struck(299.0)), Err(foreseen.clone()));
        assert!(foreseen.to_string().contains("fails at 299 s"), "{foreseen}");
        // What is to come is on its way already: it is not taken back.
        let mut run = Run::new(&struck(330.0), 0);
        run.run_until(300.0);
        assert!(run.change(&network).is_err());
    }

    #[test]
    fn what_has_another_past_is_refused_and_the_run_stays() {
        let network = eventful();
        let whole = json(&exact::run(&network, 0));
        let mut run = Run::new(&network, 0);
        run.run_until(210.0);
        let others: [(&str, Change); 7] = [
            ("seed", |network| network.seed += 1),
            ("users come", |network| network.users[0].1 += 1.0),
            ("failures are others", |network| network.faults.clear()),
            ("classes are", |network| network.flows[0].name.push('x')),
            ("where the run has", |network| network.stations[0].name.push('x')),
            ("stands by", |network| {
                let station = &mut network.stations[0];
                station.takeover = match station.takeover {
                    Some(_) => None,
                    None => Some(5.0),
                };
            }),
            ("another way", |network| {
                network.flows[0].steps.pop();
            }),
        ];
        for (words, change) in others {
            let mut other = network.clone();
            change(&mut other);
            let refused = run.change(&other).unwrap_err().to_string();
            assert!(
                refused.contains(words) && refused.contains("from the beginning"),
                "{words}: {refused}"
            );
        }
        assert!(json(&run.finish()) == whole);
    }

    #[test]
    fn any_moment_is_reached_from_a_snapshot_within_bounds() {
        let network = eventful();
        let whole = json(&exact::run(&network, 0));
        let (snapshots, outcome) = Snapshots::within(Run::new(&network, 0), 22.0, usize::MAX);
        assert!(json(&outcome) == whole);
        let (count, bytes) = snapshots.held();
        assert_eq!(count, 15);
        for second in [-1.0, 22.0, 199.5, 1e9, f64::NAN] {
            let run = snapshots.at(second);
            let reached = if second.is_nan() {
                0.0
            } else {
                second.floor().clamp(0.0, 330.0)
            };
            assert_eq!(run.now(), reached, "{second}");
            assert!(json(&run.finish()) == whole, "{second}");
        }
        // A third of the room: longer steps, and no less right.
        let (fewer, outcome) = Snapshots::within(Run::new(&network, 0), 22.0, bytes / 3);
        let (count, held) = fewer.held();
        assert!(
            (2..=5).contains(&count) && held <= bytes / 3,
            "{count}, {held} of {bytes}"
        );
        assert!(json(&outcome) == whole && json(&fewer.at(250.0).finish()) == whole);
        // With no room at all the beginning is kept.
        let (none, _) = Snapshots::within(Run::new(&network, 0), 22.0, 0);
        assert_eq!(none.held().0, 1);
        assert!(json(&none.at(250.0).finish()) == whole);
    }
}

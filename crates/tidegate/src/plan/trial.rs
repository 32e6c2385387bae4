//! Runs of a network, on all cores, in the order of their replications.
//!
//! The planner is pure and has no threads; runs do not know of each other, so they are spread here. What
//! is computed does not depend on how many cores there are: results are taken in the order of the replications.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Write},
    num::NonZero,
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use serde::Serialize;
use tidegate_plan::{Network, Outcome, engine};

/// More tell nothing that matters.
const RUNS_MAX: i64 = 1_000;
/// Station visits of one hybrid run: about a second of one core.
const VISITS: f64 = 2_500_000.0;
/// Whoever waits longer is told how far it is.
const SILENCE: Duration = Duration::from_secs(1);

/// How closely a plan is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fidelity {
    /// Rates and expectations, a minute at a time: a few milliseconds, and no chance.
    Fluid,
    /// Event by event where it matters, and a sample of the calm rest.
    Hybrid,
    /// Every event.
    Exact,
}

#[derive(Args, Debug, Clone, Copy)]
pub struct Effort {
    /// How closely it is run.
    #[arg(long, value_enum, default_value_t = Fidelity::Hybrid)]
    pub fidelity: Fidelity,
    /// Runs, each with its own chance; a fluid run has none, so there is one.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=RUNS_MAX))]
    runs: u32,
}

impl Effort {
    /// Runs there will be.
    pub fn runs(self) -> u32 {
        match self.fidelity {
            Fidelity::Fluid => 1,
            Fidelity::Hybrid | Fidelity::Exact => self.runs,
        }
    }

    /// One run.
    pub fn run(self, network: &Network, replication: u32) -> Outcome {
        match self.fidelity {
            Fidelity::Fluid => engine::fluid::run(network),
            Fidelity::Hybrid => engine::hybrid::run(network, replication, VISITS),
            Fidelity::Exact => engine::exact::run(network, replication),
        }
    }
}

/// Does a job for each replication on all cores, and gives what came of it to `take`, in their order.
pub fn each<T: Send>(runs: u32, job: impl Fn(u32) -> T + Sync, mut take: impl FnMut(T)) {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let next = AtomicU32::new(0);
    let mut progress = Progress::new(runs);
    thread::scope(|scope| {
        // What is ready waits for those before it; a bound keeps the fastest thread from running ahead of the slowest.
        let (done, results) = mpsc::sync_channel(cores);
        for _ in 0..cores.min(runs as usize) {
            let (done, next, job) = (done.clone(), &next, &job);
            scope.spawn(move || {
                loop {
                    let replication = next.fetch_add(1, Ordering::Relaxed);
                    if replication >= runs || done.send((replication, job(replication))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        let mut early = BTreeMap::new();
        let mut taken = 0;
        for (replication, result) in results {
            early.insert(replication, result);
            while let Some(result) = early.remove(&taken) {
                take(result);
                taken += 1;
            }
            progress.tell(taken + early.len() as u32);
        }
    });
    progress.clear();
}

/// A line on a terminal, while it takes long.
struct Progress {
    runs: u32,
    started: Instant,
    is_shown: bool,
    is_terminal: bool,
}

impl Progress {
    fn new(runs: u32) -> Self {
        Self {
            runs,
            started: Instant::now(),
            is_shown: false,
            is_terminal: io::stderr().is_terminal(),
        }
    }

    fn tell(&mut self, done: u32) {
        if self.is_terminal && self.started.elapsed() > SILENCE {
            self.is_shown = true;
            // That it is not seen harms nothing.
            let _ = write!(io::stderr().lock(), "\rrun {done} of {} ", self.runs);
        }
    }

    fn clear(&self) {
        if self.is_shown {
            let _ = write!(io::stderr().lock(), "\r{:40}\r", "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_their_replications() {
        let mut taken = Vec::new();
        let slow_when_even = |replication: u32| {
            let rounds = if replication.is_multiple_of(2) { 200_000 } else { 1 };
            (
                replication,
                (0..rounds).fold(0_u64, |sum, n| sum ^ std::hint::black_box(n)),
            )
        };
        each(50, slow_when_even, |(replication, _)| taken.push(replication));
        assert_eq!(taken, (0..50).collect::<Vec<u32>>());
        each(0, |_| (), |()| panic!("there is none"));
    }
}

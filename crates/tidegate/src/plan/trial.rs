//! Runs of a network, on all cores, in the order of their replications.
//!
//! The planner is pure and has no threads; runs do not know of each other, so they are spread here. What
//! is computed does not depend on how many cores there are: results are taken in the order of the replications.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Write},
    num::NonZero,
    ops::Range,
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use serde::Serialize;
use tidegate_plan::judge::{self, Effort, Judge, Judgement};
use tidegate_server::config::parse_duration;

/// More tell nothing that matters.
const RUNS_MAX: i64 = 1_000;
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

impl From<judge::Fidelity> for Fidelity {
    fn from(fidelity: judge::Fidelity) -> Self {
        match fidelity {
            judge::Fidelity::Fluid => Self::Fluid,
            judge::Fidelity::Hybrid => Self::Hybrid,
            judge::Fidelity::Exact => Self::Exact,
        }
    }
}

#[derive(Args, Debug, Clone, Copy)]
pub struct Asked {
    /// How closely it is run.
    #[arg(long, value_enum, default_value_t = Fidelity::Hybrid)]
    fidelity: Fidelity,
    /// Runs, each with its own chance; as many as it takes if absent, at most 32. A fluid run has no chance, so there is one.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=RUNS_MAX))]
    runs: Option<u32>,
}

impl Asked {
    /// As the judge takes it.
    pub fn effort(self) -> Effort {
        let own = Effort::default();
        Effort {
            fidelity: match self.fidelity {
                Fidelity::Fluid => judge::Fidelity::Fluid,
                Fidelity::Hybrid => judge::Fidelity::Hybrid,
                Fidelity::Exact => judge::Fidelity::Exact,
            },
            runs_min: self.runs.unwrap_or(own.runs_min),
            runs_max: self.runs.unwrap_or(own.runs_max),
            ..own
        }
    }

    /// The same, with a number of runs that is known before.
    pub fn effort_fixed(self) -> Effort {
        let effort = self.effort();
        Effort {
            runs_max: effort.runs_min,
            ..effort
        }
    }
}

/// How long runs may be made.
#[derive(Args, Debug, Clone, Copy, Default)]
pub struct Within {
    /// Make no more runs after this time; what is not settled by then is too close: `2s`.
    #[arg(long, value_name = "TIME", value_parser = within)]
    within: Option<Duration>,
}

impl Within {
    /// Whether there is an end.
    pub fn is_set(self) -> bool {
        self.within.is_some()
    }
}

fn within(text: &str) -> Result<Duration, &'static str> {
    parse_duration(text)
        .filter(|time| !time.is_zero())
        .ok_or("a time such as 500ms, 2s or 1m")
}

/// What was found in the time there was.
pub struct Judged {
    pub judgement: Judgement,
    /// It ran out while more runs were wanted: how many.
    pub cut_short: Option<CutShort>,
}

/// See [`Judged`].
#[derive(Debug, Clone, Copy, Serialize)]
pub struct CutShort {
    pub wanted: u32,
    pub within_s: f64,
}

/// Makes the runs a judge wants, until it knows.
pub fn judged(judge: Judge) -> Judgement {
    judged_within(judge, Within::default()).judgement
}

/// The same, in so much time; at least one run is made.
pub fn judged_within(mut judge: Judge, Within { within }: Within) -> Judged {
    let started = Instant::now();
    let is_over = || within.is_some_and(|within| started.elapsed() >= within);
    // What one run would tell is better than nothing.
    while !judge.is_done() && (judge.runs() == 0 || !is_over()) {
        // It takes runs while others are being made.
        let maker = judge.clone();
        let first = judge.runs();
        each_until(
            first..judge.wanted(),
            |number| number > 0 && is_over(),
            |number| maker.replicate(number),
            |number, outcome| judge.take(number, outcome),
        );
    }
    let cut_short = within.filter(|_| !judge.is_done()).map(|within| CutShort {
        wanted: judge.wanted(),
        within_s: within.as_secs_f64(),
    });
    Judged {
        judgement: judge.finish(),
        cut_short,
    }
}

/// Does a job for each replication on all cores, and gives what came of it to `take`, in their order.
pub fn each<T: Send>(numbers: Range<u32>, job: impl Fn(u32) -> T + Sync, take: impl FnMut(u32, T)) {
    each_until(numbers, |_| false, job, take);
}

/// The same, until one is not to be begun any more, nor those after it.
fn each_until<T: Send>(
    numbers: Range<u32>,
    is_over: impl Fn(u32) -> bool + Sync,
    job: impl Fn(u32) -> T + Sync,
    mut take: impl FnMut(u32, T),
) {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let next = AtomicU32::new(numbers.start);
    let mut progress = Progress::new(numbers.end);
    thread::scope(|scope| {
        // What is ready waits for those before it; a bound keeps the fastest thread from running ahead of the slowest.
        let (done, results) = mpsc::sync_channel(cores);
        for _ in 0..cores.min(numbers.len()) {
            let (done, next, job, end) = (done.clone(), &next, &job, numbers.end);
            let is_over = &is_over;
            scope.spawn(move || {
                loop {
                    let replication = next.fetch_add(1, Ordering::Relaxed);
                    // Numbers are given out in order, and what was begun is ended: there is no gap.
                    if replication >= end
                        || is_over(replication)
                        || done.send((replication, job(replication))).is_err()
                    {
                        return;
                    }
                }
            });
        }
        drop(done);
        let mut early = BTreeMap::new();
        let mut taken = numbers.start;
        for (replication, result) in results {
            early.insert(replication, result);
            while let Some(result) = early.remove(&taken) {
                take(taken, result);
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
        each(3..50, slow_when_even, |number, (replication, _)| {
            assert_eq!(number, replication);
            taken.push(replication);
        });
        assert_eq!(taken, (3..50).collect::<Vec<u32>>());
        each(5..5, |_| (), |_, ()| panic!("there is none"));
    }

    #[test]
    fn what_is_over_is_not_begun_and_leaves_no_gap() {
        let mut taken = Vec::new();
        each_until(
            0..50,
            |number| number >= 7,
            |number| number,
            |number, _| taken.push(number),
        );
        assert_eq!(taken, (0..7).collect::<Vec<u32>>());
    }

    #[test]
    fn times_are_read() {
        assert_eq!(within("2s"), Ok(Duration::from_secs(2)));
        assert!(within("0s").is_err() && within("2").is_err() && within("soon").is_err());
    }
}

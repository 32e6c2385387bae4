//! A closed world for limiters: callers, a limiter, and a station that serves first come,
//! first served, with so many servers and so long a service. Its capacity is known, so what
//! a limiter makes of it can be judged. Time is simulated and chance is seeded.
//!
//! Who is refused does not come back; a caller that is let in waits as long as it takes.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::Duration,
};

use super::{Limiter, Outcome, Permit, Settings};
use crate::{admission::limit::Limit, moment::Moment};

const SECOND_NS: f64 = 1e9;

/// How long services last around their mean.
#[derive(Debug, Clone, Copy)]
pub(super) enum Spread {
    /// Evenly within a fifth of it.
    Narrow,
    /// Exponentially: as irregular as queueing theory likes it.
    Exponential,
}

/// What holds from one second of the story to another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stage {
    pub(super) until_s: f64,
    /// Calls a second.
    pub(super) offered: f64,
    pub(super) servers: usize,
    pub(super) service_ms: f64,
}

/// What was seen between two seconds of the story.
#[derive(Debug)]
pub(super) struct Seen {
    /// Answers a second.
    pub(super) goodput: f64,
    /// Share of the callers refused.
    pub(super) refused: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

pub(super) struct World {
    chance: u64,
    limiter: Limiter,
    spread: Spread,
    stages: Vec<Stage>,
    now: f64,
    queue: VecDeque<(f64, Permit)>,
    /// Ends of services in nanoseconds, and which.
    serving: BinaryHeap<Reverse<(u64, usize)>>,
    served: Vec<Option<(f64, Permit)>>,
    /// When it ended, and its latency in seconds.
    pub(super) answers: Vec<(f64, f64)>,
    /// When, and whether it was refused.
    asks: Vec<(f64, bool)>,
}

impl World {
    pub(super) fn new(rule: Limit, spread: Spread, stages: &[Stage], seed: u64) -> Self {
        Self {
            chance: seed,
            limiter: Limiter::new(rule, Settings::default(), seed, Moment(0)),
            spread,
            stages: stages.to_vec(),
            now: 0.0,
            queue: VecDeque::new(),
            serving: BinaryHeap::new(),
            served: Vec::new(),
            answers: Vec::new(),
            asks: Vec::new(),
        }
    }

    /// Plays the next stages up to `until_s`, and tells what was seen after `from_s`.
    pub(super) fn run(&mut self, from_s: f64, until_s: f64) -> Seen {
        let mut arrival = self.now + self.gap();
        while self.now < until_s {
            let ends = self
                .serving
                .peek()
                .map_or(f64::INFINITY, |Reverse((ns, _))| *ns as f64 / SECOND_NS);
            // Ends are whole nanoseconds, so one may lie just before its beginning.
            self.now = arrival.min(ends).max(self.now);
            if ends <= arrival {
                self.on_served();
            } else {
                self.on_arrival();
                arrival = self.now + self.gap();
            }
            self.serve();
        }
        self.seen(from_s, until_s)
    }

    fn on_arrival(&mut self) {
        let permit = self.limiter.try_acquire(moment(self.now));
        self.asks.push((self.now, permit.is_err()));
        if let Ok(permit) = permit {
            self.queue.push_back((self.now, permit));
        }
    }

    fn on_served(&mut self) {
        let Reverse((_, index)) = self.serving.pop().expect("peeked above");
        let (asked, permit) = self.served[index].take().expect("in service");
        let latency = self.now - asked;
        self.answers.push((self.now, latency));
        let outcome = Outcome::Done(Duration::from_secs_f64(latency));
        self.limiter.release(moment(self.now), permit, outcome);
    }

    fn serve(&mut self) {
        while self.serving.len() < self.stage().servers {
            let Some(call) = self.queue.pop_front() else {
                return;
            };
            let ends = self.now + self.service();
            self.serving
                .push(Reverse(((ends * SECOND_NS) as u64, self.served.len())));
            self.served.push(Some(call));
        }
    }

    fn stage(&self) -> Stage {
        let stage = self.stages.iter().find(|stage| self.now < stage.until_s);
        *stage.or(self.stages.last()).expect("there is a stage")
    }

    fn gap(&mut self) -> f64 {
        -self.uniform().ln() / self.stage().offered
    }

    fn service(&mut self) -> f64 {
        let mean = self.stage().service_ms / 1e3;
        match self.spread {
            Spread::Narrow => mean * (0.8 + 0.4 * self.uniform()),
            Spread::Exponential => mean * -self.uniform().ln(),
        }
    }

    /// Above 0, up to 1 (SplitMix64).
    fn uniform(&mut self) -> f64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.chance;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((x ^ (x >> 31)) >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    fn seen(&self, from_s: f64, until_s: f64) -> Seen {
        let within = |at: f64| from_s <= at && at < until_s;
        let mut latencies: Vec<f64> = (self.answers.iter().filter(|(at, _)| within(*at)))
            .map(|(_, latency)| latency * 1e3)
            .collect();
        latencies.sort_by(f64::total_cmp);
        let asks: Vec<bool> = (self.asks.iter().filter(|(at, _)| within(*at)))
            .map(|(_, is_refused)| *is_refused)
            .collect();
        Seen {
            goodput: latencies.len() as f64 / (until_s - from_s),
            refused: asks.iter().filter(|refused| **refused).count() as f64 / asks.len() as f64,
            p50_ms: latencies[latencies.len() / 2],
            p99_ms: latencies[latencies.len() * 99 / 100],
        }
    }
}

fn moment(at_s: f64) -> Moment {
    Moment((at_s * SECOND_NS) as u64)
}

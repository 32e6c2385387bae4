//! How many calls may be in flight to something whose capacity nobody told us.
//!
//! A [`Limiter`] hands out permits up to a limit, measures what becomes of them over
//! windows of a tenth of a second or more, and lets its rule (see `limit`) move the limit at the
//! end of each. It never queues: who is refused is told so at once.
//!
//! From time to time, and only while it refuses, it *probes*: a quarter of the limit is
//! let in until the queue has drained and a percentile is measured; that is the latency
//! without a queue, to which the rule compares. Probes are jittered, so that
//! limiters with the same start do not probe together; one costs about half a window's work.
//!
//! ```text
//!   measuring ──(due, and refusing)──► draining ──(a quarter in flight)──► probing
//!       ▲                                                                     │
//!       └─────────────(enough of the first cohort are answered)──────────────┘
//! ```

#[cfg(test)]
mod overloads;
#[cfg(test)]
mod station;
#[cfg(test)]
mod tests;

use std::{hash::BuildHasher, time::Duration};

use foldhash::{SharedSeed, fast::SeedableRandomState};

use super::{
    limit::{Limit, Measured},
    shed::Pressure,
    window::{Histogram, LATENCY_MAX, Quantile},
};
use crate::moment::Moment;

/// A probe lets in this part of the limit. From four servers on both rules settle at about
/// twice the capacity at most, so a quarter is below it, even if the baseline is twice what it
/// should be.
const PROBE_DIVISOR: f64 = 4.0;

/// What a limiter is set to.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The limit before anything is known: calls, `floor` to `ceiling`; 20.
    pub initial: u32,
    /// The limit never goes below: calls, 1 or more; 2, so that a probe can be told from a standstill.
    pub floor: u32,
    /// Nor above: calls; 1,000, which is what may pile up behind a call that never returns.
    pub ceiling: u32,
    /// Shortest window: 10 ms to 10 s; 100 ms. It lasts twice the latency last measured, but
    /// no longer than ten of these, unless outcomes are few.
    pub window: Duration,
    /// Fewest outcomes that make a window: 10 to 10,000; 30.
    pub outcomes_min: u32,
    /// What of the latencies in a window is compared; the median. Higher ones react to
    /// queues sooner, and to noise as well.
    pub quantile: Quantile,
    /// Dropped calls of a hundred that are put down to chance: 0 to 100; 1.
    pub drops_percent_max: u32,
    /// Longest time between two probes: 1 s to 1 h; 10 s. The shortest is half of it.
    pub probe_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            initial: 20,
            floor: 2,
            ceiling: 1_000,
            window: Duration::from_millis(100),
            outcomes_min: 30,
            quantile: Quantile::P50,
            drops_percent_max: 1,
            probe_every: Duration::from_secs(10),
        }
    }
}

/// Leave to make one call; goes back with [`Limiter::release`]. One that is lost
/// occupies its place for good.
#[must_use = "a permit that is not released occupies its place for good"]
#[derive(Debug)]
pub struct Permit {
    admitted: Moment,
    /// The number of the probe this call is measured for; 0 if none.
    probe: u64,
}

impl Permit {
    /// When it was given.
    pub fn admitted(&self) -> Moment {
        self.admitted
    }
}

/// There is no room for one more call now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Answered after this long.
    Done(Duration),
    /// Refused by what stands behind, or not answered in time.
    Dropped,
    /// Over without telling anything: cancelled, or wrong from the start.
    Ignored,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Measuring,
    Draining,
    Probing,
}

/// See the module. About a kibibyte.
pub struct Limiter {
    rule: Limit,
    settings: Settings,
    /// The limit with its fraction, so that small steps add up.
    estimate: f64,
    in_flight: u32,
    phase: Phase,

    // The window that runs.
    window_started: Moment,
    latencies: Histogram,
    dropped: u32,
    peak: u32,
    admitted: u32,
    refused: u32,
    /// Answers to calls admitted before are left out: they tell of a probe.
    counted_from: Moment,
    /// Of a probe: how many of the first admitted are, or may still be, answered.
    cohort: u32,

    /// The percentile of the last window that had one.
    latency_last: Duration,
    /// Of those who asked in the last window.
    refused_share_last: f64,
    peak_last: u32,

    probe_due: Moment,
    /// The limit at the last probe: one that has halved since puts the baseline in doubt.
    probe_estimate: f64,
    jitter: SeedableRandomState,

    /// Calls refused.
    pub refused_total: u64,
    /// Probes begun.
    pub probes_total: u64,
}

impl Limiter {
    /// A limiter that moves by `rule`; `seed` spreads its probes.
    pub fn new(rule: Limit, settings: Settings, seed: u64, now: Moment) -> Self {
        assert!(
            1 <= settings.floor && settings.floor <= settings.initial && settings.initial <= settings.ceiling,
            "limits in order"
        );
        let mut limiter = Self {
            rule,
            estimate: f64::from(settings.initial),
            in_flight: 0,
            phase: Phase::Measuring,
            window_started: now,
            latencies: Histogram::default(),
            dropped: 0,
            peak: 0,
            admitted: 0,
            refused: 0,
            counted_from: now,
            cohort: 0,
            latency_last: Duration::ZERO,
            refused_share_last: 0.0,
            peak_last: 0,
            probe_due: now,
            probe_estimate: f64::from(settings.initial),
            jitter: SeedableRandomState::with_seed(seed, SharedSeed::global_fixed()),
            refused_total: 0,
            probes_total: 0,
            settings,
        };
        limiter.probe_due = now + limiter.probe_wait();
        limiter
    }

    /// Asks for one call.
    ///
    /// # Errors
    /// As many as may be are in flight.
    pub fn try_acquire(&mut self, now: Moment) -> Result<Permit, Refused> {
        if self.in_flight >= self.limit() {
            self.refused = self.refused.saturating_add(1);
            self.refused_total += 1;
            return Err(Refused);
        }
        self.in_flight += 1;
        self.admitted = self.admitted.saturating_add(1);
        self.peak = self.peak.max(self.in_flight);
        let mut probe = 0;
        if self.phase == Phase::Probing && self.cohort < self.cohort_min() {
            self.cohort += 1;
            probe = self.probes_total;
        }
        Ok(Permit { admitted: now, probe })
    }

    /// Gives a permit back, and tells what became of the call.
    pub fn release(&mut self, now: Moment, permit: Permit, outcome: Outcome) {
        self.in_flight -= 1;
        match self.phase {
            Phase::Measuring => {
                match outcome {
                    Outcome::Done(latency) if permit.admitted >= self.counted_from => {
                        self.latencies.record(latency);
                    }
                    Outcome::Done(_) | Outcome::Ignored => {}
                    Outcome::Dropped => self.dropped += 1,
                }
                self.on_measured(now);
            }
            Phase::Draining => self.on_drained(now),
            Phase::Probing => {
                if permit.probe == self.probes_total {
                    match outcome {
                        Outcome::Done(latency) => self.latencies.record(latency),
                        Outcome::Dropped | Outcome::Ignored => self.cohort -= 1,
                    }
                }
                self.on_probed(now);
            }
        }
    }

    /// Returns how many calls may be in flight now; a quarter during a probe.
    pub fn limit(&self) -> u32 {
        match self.phase {
            Phase::Measuring => self.estimate as u32,
            Phase::Draining | Phase::Probing => ((self.estimate / PROBE_DIVISOR) as u32).max(1),
        }
    }

    /// Returns how many calls are in flight.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Returns how long calls took, by the percentile of the last window; zero before the first.
    pub fn latency(&self) -> Duration {
        self.latency_last
    }

    /// Returns what the rule takes for the latency without a queue.
    pub fn baseline(&self) -> Option<Duration> {
        self.rule.baseline()
    }

    /// Returns how hard the limit presses, 0 to 1: up to 0.9 by the calls in flight, the
    /// rest by the share of callers that had to be refused.
    pub fn pressure(&self) -> Pressure {
        let in_flight = f64::from(self.in_flight.max(self.peak_last));
        Pressure::new(0.9 * (in_flight / self.estimate).min(1.0) + 0.1 * self.refused_share_last)
    }

    fn on_measured(&mut self, now: Moment) {
        let outcomes = self.latencies.len() + self.dropped;
        // Of a window as short as the latency, the slower half would be missing. Yet a stall
        // must not put off the next window for as long as it lasted.
        let length = (self.latency_last * 2).clamp(self.settings.window, self.settings.window * 10);
        if outcomes < self.settings.outcomes_min || now.since(self.window_started) < length {
            return;
        }
        let measured = Measured {
            latency: self.latencies.quantile(self.settings.quantile),
            is_dropping: u64::from(self.dropped) * 100
                > u64::from(outcomes) * u64::from(self.settings.drops_percent_max),
            peak: self.peak,
            is_refusing: self.refused > 0,
        };
        self.latency_last = measured.latency.unwrap_or(self.latency_last);
        let next = self.rule.next(self.estimate, measured);
        self.estimate = next.clamp(f64::from(self.settings.floor), f64::from(self.settings.ceiling));

        let asked = (f64::from(self.admitted) + f64::from(self.refused)).max(1.0);
        self.refused_share_last = f64::from(self.refused) / asked;
        self.peak_last = self.peak;
        let is_doubtful = self.estimate < self.probe_estimate / 2.0;
        if self.rule.needs_probes() && self.refused > 0 && (now >= self.probe_due || is_doubtful) {
            self.phase = Phase::Draining;
            self.probes_total += 1;
        }
        self.start_window(now);
    }

    fn on_drained(&mut self, now: Moment) {
        if self.in_flight <= self.limit() {
            self.phase = Phase::Probing;
            self.cohort = 0;
            self.start_window(now);
        } else if now.since(self.window_started) > self.settings.probe_every {
            self.end_probe(now);
        }
    }

    fn on_probed(&mut self, now: Moment) {
        let answered = self.latencies.len();
        // The first answers are the fast ones, so the whole cohort is judged: once enough
        // of it is answered for the percentile not to depend on the rest.
        if self.cohort >= self.cohort_min() && answered >= self.settings.quantile.halfway_to_all(self.cohort)
        {
            for _ in answered..self.cohort {
                self.latencies.record(LATENCY_MAX);
            }
            if let Some(latency) = self.latencies.quantile(self.settings.quantile) {
                self.rule.rebase(latency);
            }
            self.end_probe(now);
        } else if now.since(self.window_started) > self.settings.probe_every {
            self.end_probe(now);
        }
    }

    fn end_probe(&mut self, now: Moment) {
        // Where calls are slow probes are long: they may take a twentieth of the time.
        let length = now.since(self.window_started);
        self.probe_due = now + self.probe_wait().max(length * 20);
        self.probe_estimate = self.estimate;
        self.phase = Phase::Measuring;
        self.counted_from = now;
        self.start_window(now);
    }

    /// Calls a probe measures: at least eight rounds of what it lets in.
    fn cohort_min(&self) -> u32 {
        self.settings.outcomes_min.max(8 * self.limit())
    }

    fn start_window(&mut self, now: Moment) {
        self.window_started = now;
        self.latencies.clear();
        (self.dropped, self.admitted, self.refused) = (0, 0, 0);
        self.peak = self.in_flight;
    }

    /// The time to the next probe: half to all of the longest; the first come sooner, for
    /// a limiter born into an overload has never seen its station without a queue.
    fn probe_wait(&self) -> Duration {
        let chance = self.jitter.hash_one(self.probes_total) >> 11;
        let share = 0.5 + 0.5 * (chance as f64 / (1u64 << 53) as f64);
        let longest = self.settings.probe_every / (8 >> self.probes_total.min(3));
        longest.mul_f64(share)
    }
}

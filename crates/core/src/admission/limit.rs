//! How a concurrency limit follows what was measured: three rules, one closed set.
//!
//! A rule is asked once per window. It is given what was measured and the limit as it
//! stands, and returns the next one; when a window ends, what a probe is, and the
//! bounds of the limit belong to `adaptive`.
//!
//! * [`Gradient2`]: the limit shrinks as the latency of the last window exceeds the long-term one.
//!   After `Gradient2Limit` of Netflix's concurrency-limits (2018).
//! * [`Vegas`]: of `limit` calls, `limit × (1 - base / latency)` are waiting in a queue; keep that
//!   between two marks. After L. Brakmo, S. O'Malley and L. Peterson, "TCP Vegas: New Techniques
//!   for Congestion Detection and Avoidance" (SIGCOMM 1994), with the marks of Netflix's `VegasLimit`.
//! * [`Aimd`]: one more while all is well, a share less when it is not. After D.-M. Chiu and R. Jain,
//!   "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance in Computer
//!   Networks" (1989).
//!
//! Three things differ from the originals. Latencies are percentiles of a window, never single
//! samples or averages. The unloaded latency is measured by a probe that lets the queue drain first:
//! a baseline taken over from a loaded moment, as by both originals, drifts upwards for as long as
//! an overload lasts. And a lower latency than the baseline moves that of Vegas an eighth of the
//! way, lest the noise of many windows ratchet it down.

use std::time::Duration;

/// What one window told.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// The percentile of the calls that were answered; none if none was.
    pub latency: Option<Duration>,
    /// More calls were dropped than is put down to chance.
    pub is_dropping: bool,
    /// Most calls in flight at once.
    pub peak: u32,
    /// The limit held someone back.
    pub is_refusing: bool,
}

/// The rule that moves a limit.
#[derive(Debug, Clone)]
pub enum Limit {
    /// Compares latencies now and in the long run. For services whose latency varies by itself.
    Gradient2(Gradient2),
    /// Estimates the queue. For services whose unloaded latency is steady; the shortest queue.
    Vegas(Vegas),
    /// Needs nothing but drops and a bound. For services whose latency says little.
    Aimd(Aimd),
}

impl Limit {
    /// Returns the limit after a window that told `measured`.
    pub fn next(&mut self, limit: f64, measured: Measured) -> f64 {
        match self {
            Self::Gradient2(gradient) => gradient.next(limit, measured),
            Self::Vegas(vegas) => vegas.next(limit, measured),
            Self::Aimd(aimd) => aimd.next(limit, measured),
        }
    }

    /// Takes over the latency a probe measured with no queue.
    pub fn rebase(&mut self, latency: Duration) {
        match self {
            Self::Gradient2(gradient) => gradient.long_ns = latency.as_nanos() as f64,
            Self::Vegas(vegas) => vegas.rebase(latency.as_nanos() as f64),
            Self::Aimd(_) => {}
        }
    }

    /// Whether a probe is of any use.
    pub fn needs_probes(&self) -> bool {
        !matches!(self, Self::Aimd(_))
    }

    /// Returns what is taken for the latency without a queue; none before the first window.
    pub fn baseline(&self) -> Option<Duration> {
        let baseline_ns = match self {
            Self::Gradient2(gradient) => gradient.long_ns,
            Self::Vegas(vegas) => vegas.base_ns,
            Self::Aimd(_) => 0.0,
        };
        (baseline_ns > 0.0).then(|| Duration::from_nanos(baseline_ns as u64))
    }
}

/// See the module. With capacity `c` and all of it asked for, the limit settles where
/// `limit × (1 - tolerance × c / limit) = √limit`: at 1.9 `c` for 16 servers, 1.65 `c` for 64.
#[derive(Debug, Clone)]
pub struct Gradient2 {
    /// How much longer than in the long run calls may take before the limit shrinks.
    /// A ratio, 1 to 3; 1.5.
    pub tolerance: f64,
    /// Share of the step that is taken at each window: 0 (never) to 1 (all of it); 0.2.
    pub smoothing: f64,
    /// Windows after which a lasting change has become the long run, 10 to 10,000; 600: a minute.
    pub long_windows: u32,
    /// The latency in the long run; 0 before the first window.
    long_ns: f64,
}

impl Default for Gradient2 {
    fn default() -> Self {
        Self {
            tolerance: 1.5,
            smoothing: 0.2,
            long_windows: 600,
            long_ns: 0.0,
        }
    }
}

impl Gradient2 {
    fn next(&mut self, limit: f64, measured: Measured) -> f64 {
        let gradient = match measured.latency {
            Some(latency) => self.gradient(latency.as_nanos() as f64, measured.is_refusing),
            None => 1.0,
        };
        if measured.is_dropping {
            return limit * (1.0 - self.smoothing * 0.5);
        }
        if is_idle(limit, measured) {
            return limit;
        }
        // What may wait: enough to notice that there is room for more.
        let waiting = limit.sqrt();
        limit + self.smoothing * (limit * gradient + waiting - limit)
    }

    fn gradient(&mut self, short_ns: f64, is_refusing: bool) -> f64 {
        if self.long_ns == 0.0 {
            self.long_ns = short_ns;
        }
        // While the limit refuses, the queue it lets in is part of every latency: what is
        // higher then is left to probes.
        if !is_refusing || short_ns < self.long_ns {
            self.long_ns += (short_ns - self.long_ns) * 2.0 / (f64::from(self.long_windows) + 1.0);
        }
        // Drift recovery: an overload that is over must not be forgiven for another minute.
        if self.long_ns > short_ns * 2.0 {
            self.long_ns *= 0.9;
        }
        // At most halved, so that one odd window is not a collapse.
        (self.tolerance * self.long_ns / short_ns).clamp(0.5, 1.0)
    }
}

/// See the module. With capacity `c` and all of it asked for, the limit settles between
/// `c + alpha` and `c + beta`.
#[derive(Debug, Clone)]
pub struct Vegas {
    /// Below this many waiting the limit grows; calls per log10 of the limit, 1 to 10; 3.
    pub alpha: f64,
    /// Above this many waiting it shrinks; calls per log10 of the limit, above `alpha`; 6.
    pub beta: f64,
    /// Up to this many waiting it grows fast, by `beta`; calls per log10 of the limit, below `alpha`; 1.
    pub threshold: f64,
    /// Share of the step that is taken at each window: 0 (never) to 1 (all of it); 1.
    pub smoothing: f64,
    /// The latency without a queue; 0 before the first window.
    base_ns: f64,
}

impl Default for Vegas {
    fn default() -> Self {
        Self {
            alpha: 3.0,
            beta: 6.0,
            threshold: 1.0,
            smoothing: 1.0,
            base_ns: 0.0,
        }
    }
}

impl Vegas {
    fn next(&mut self, limit: f64, measured: Measured) -> f64 {
        // Below ten the logarithm would stop the limit from moving.
        let unit = limit.log10().max(1.0);
        let waiting = measured.latency.map(|latency| self.waiting(limit, latency));
        let step = match waiting {
            _ if measured.is_dropping => -unit,
            None => 0.0,
            Some(_) if is_idle(limit, measured) => 0.0,
            Some(waiting) if waiting <= self.threshold * unit => self.beta * unit,
            Some(waiting) if waiting < self.alpha * unit => unit,
            Some(waiting) if waiting > self.beta * unit => -unit,
            Some(_) => 0.0,
        };
        limit + self.smoothing * step
    }

    /// A probe is few calls. Where it tells nearly the same as the one before, half of the
    /// difference is put down to chance: a baseline a fifth too low costs a third of the capacity.
    fn rebase(&mut self, latency_ns: f64) {
        let is_near = (0.85..1.2).contains(&(latency_ns / self.base_ns));
        self.base_ns = if is_near {
            (self.base_ns + latency_ns) / 2.0
        } else {
            latency_ns
        };
    }

    fn waiting(&mut self, limit: f64, latency: Duration) -> f64 {
        let latency_ns = (latency.as_nanos() as f64).max(1.0);
        if self.base_ns == 0.0 {
            self.base_ns = latency_ns;
        } else if latency_ns < self.base_ns {
            self.base_ns += (latency_ns - self.base_ns) / 8.0;
        }
        (limit * (1.0 - self.base_ns / latency_ns)).max(0.0)
    }
}

/// See the module. It swings between `backoff` and 1 times the limit at which
/// calls begin to drop or to last longer than `latency_max`.
#[derive(Debug, Clone)]
pub struct Aimd {
    /// What is left of the limit after a bad window: a ratio, 0.5 to below 1; 0.9.
    pub backoff: f64,
    /// What is added after a good one: calls, 1 to 10; 1.
    pub step: f64,
    /// A window whose percentile is above this is a bad one; 1 ms to 60 s; 5 s, the time
    /// after which the client is told `timeout` anyway.
    pub latency_max: Duration,
}

impl Default for Aimd {
    fn default() -> Self {
        Self {
            backoff: 0.9,
            step: 1.0,
            latency_max: Duration::from_secs(5),
        }
    }
}

impl Aimd {
    fn next(&mut self, limit: f64, measured: Measured) -> f64 {
        let is_slow = measured.latency.is_some_and(|latency| latency > self.latency_max);
        if measured.is_dropping || is_slow {
            limit * self.backoff
        } else if is_idle(limit, measured) {
            limit
        } else {
            limit + self.step
        }
    }
}

/// Whether the callers, not the limit, decided how much was in flight: then a good
/// latency says nothing about a higher limit.
fn is_idle(limit: f64, measured: Measured) -> bool {
    f64::from(measured.peak) < limit / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(latency_ms: u64) -> Measured {
        Measured {
            latency: Some(Duration::from_millis(latency_ms)),
            is_dropping: false,
            peak: 1_000,
            is_refusing: true,
        }
    }

    fn rules() -> [Limit; 3] {
        [
            Limit::Gradient2(Gradient2::default()),
            Limit::Vegas(Vegas::default()),
            Limit::Aimd(Aimd::default()),
        ]
    }

    #[test]
    fn steady_latency_lets_every_rule_grow() {
        for mut limit in rules() {
            let first = limit.next(20.0, busy(10));
            assert!(limit.next(first, busy(10)) > first && first > 20.0, "{limit:?}");
        }
    }

    #[test]
    fn drops_make_every_rule_shrink_even_with_no_answer_at_all() {
        for mut limit in rules() {
            let dead = Measured {
                latency: None,
                is_dropping: true,
                peak: 1,
                is_refusing: false,
            };
            assert!(limit.next(20.0, dead) < 20.0, "{limit:?}");
        }
    }

    #[test]
    fn few_in_flight_let_no_rule_grow() {
        for mut limit in rules() {
            let idle = Measured { peak: 9, ..busy(10) };
            limit.next(20.0, idle);
            assert_eq!(limit.next(20.0, idle), 20.0, "{limit:?}");
        }
    }

    #[test]
    fn gradient_halves_at_most_and_takes_a_fifth_of_the_step() {
        let mut limit = Limit::Gradient2(Gradient2::default());
        limit.rebase(Duration::from_millis(10));
        // 100 × 0.5 + √100 is 40 less: a fifth of that is 8.
        assert!((limit.next(100.0, busy(1_000)) - 92.0).abs() < 1e-9);
    }

    #[test]
    fn gradient_forgets_an_overload_within_twenty_windows() {
        let mut limit = Limit::Gradient2(Gradient2::default());
        limit.rebase(Duration::from_secs(1));
        for _ in 0..20 {
            limit.next(100.0, busy(100));
        }
        assert!(limit.baseline().unwrap() <= Duration::from_millis(210));
    }

    #[test]
    fn vegas_holds_still_between_its_marks_and_steps_outside() {
        // Of 100, those waiting at 10 ms base: 0, 4, 10 and 20; log10 is 2.
        for (latency_us, step) in [(10_000, 12.0), (10_417, 2.0), (11_111, 0.0), (12_500, -2.0)] {
            let mut limit = Limit::Vegas(Vegas::default());
            limit.rebase(Duration::from_millis(10));
            let measured = Measured {
                latency: Some(Duration::from_micros(latency_us)),
                ..busy(0)
            };
            assert!(
                (limit.next(100.0, measured) - 100.0 - step).abs() < 1e-9,
                "{latency_us}"
            );
        }
    }

    #[test]
    fn aimd_adds_one_and_takes_a_tenth() {
        let mut limit = Limit::Aimd(Aimd::default());
        assert_eq!(limit.next(100.0, busy(10)), 101.0);
        assert_eq!(limit.next(100.0, busy(5_001)), 90.0);
    }
}

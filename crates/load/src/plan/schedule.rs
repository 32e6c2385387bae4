//! When each publication is meant to leave, and which phase of the run a time belongs to.
//!
//! ```text
//!   ── quiet ──────────┬─ burst ─┬─ quiet: the first SETTLING of it is `after` ──┬─ burst ─┬──
//!   0            every − for   every                                       2·every − for
//! ```

/// A quiet time that comes right after a burst, and is told apart.
const SETTLING_NS: u64 = 500_000_000;

/// Bursts on top of a base rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Burst {
    /// How many times the base rate.
    pub(crate) factor: f64,
    pub(crate) for_ns: u64,
    pub(crate) every_ns: u64,
}

/// The phases of a plan with bursts, in this order.
pub(crate) const BURST_PHASES: [&str; 3] = ["quiet", "burst", "after"];

impl Burst {
    /// Nanoseconds until the next burst begins; zero within one.
    fn until_next(self, since_begin_ns: u64) -> u64 {
        (self.every_ns - self.for_ns).saturating_sub(since_begin_ns % self.every_ns)
    }

    fn phase(self, since_begin_ns: u64) -> usize {
        match () {
            () if self.until_next(since_begin_ns) == 0 => 1,
            () if since_begin_ns >= self.every_ns && since_begin_ns % self.every_ns < SETTLING_NS => 2,
            () => 0,
        }
    }
}

/// How intended times lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrivals {
    /// One interval apart.
    Even,
    /// As many independent users would send: a Poisson process. Each gap follows from the seed and its number.
    Poisson { seed: u64 },
}

impl Arrivals {
    /// The gap before a number, in parts of the mean one.
    fn gap(self, count: u64) -> f64 {
        match self {
            Self::Even => 1.0,
            Self::Poisson { seed } => {
                // SplitMix64 (Steele, Lea, Flood, 2014), by its counter.
                let mut mixed = (seed << 32)
                    .wrapping_add(count)
                    .wrapping_add(1)
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15);
                mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                mixed ^= mixed >> 31;
                let uniform = ((mixed >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
                -uniform.ln()
            }
        }
    }
}

/// Intended times at a rate, with bursts or without.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Schedule {
    /// Between two; zero for a stream that is silent.
    pub(crate) interval_ns: f64,
    pub(crate) arrivals: Arrivals,
    pub(crate) burst: Option<Burst>,
}

impl Schedule {
    pub(crate) fn per_second(rate: f64) -> Self {
        Self {
            interval_ns: if rate > 0.0 { 1e9 / rate } else { 0.0 },
            arrivals: Arrivals::Even,
            burst: None,
        }
    }

    /// The intended time of number `count` after the first, if the one before it is meant for `before`.
    pub(crate) fn next(&self, first: f64, count: u64, before: f64) -> f64 {
        let gap_ns = self.interval_ns * self.arrivals.gap(count);
        match (self.burst, self.arrivals) {
            // Not a sum of intervals, so that a rate for a time is as many publications as it says.
            (None, Arrivals::Even) => first + count as f64 * self.interval_ns,
            (None, Arrivals::Poisson { .. }) => before + gap_ns,
            (Some(burst), _) => match burst.until_next(before as u64) {
                0 => before + gap_ns / burst.factor,
                // The first of a burst leaves when it begins.
                left => before + gap_ns.min(left as f64),
            },
        }
    }
}

/// Which phase an intended time belongs to.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    /// When each play began, and its phase.
    plays: Vec<(u64, usize)>,
    burst: Option<Burst>,
}

impl Timeline {
    pub(crate) fn begin(&mut self, at_ns: u64, phase: usize, burst: Option<Burst>) {
        self.plays.push((at_ns, phase));
        self.burst = burst;
    }

    /// The phase of a time, and how long after its play's begin that is.
    pub(crate) fn phase(&self, intended_ns: u64) -> (usize, u64) {
        let after = self.plays.partition_point(|(at, _)| *at <= intended_ns);
        let Some((begun, phase)) = self.plays[..after].last() else {
            return (0, 0);
        };
        let since = intended_ns - begun;
        (self.burst.map_or(*phase, |burst| burst.phase(since)), since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_burst_has_its_factor_of_publications_at_its_time() {
        let burst = Burst {
            factor: 10.0,
            for_ns: 100 * MS,
            every_ns: 1_000 * MS,
        };
        let schedule = Schedule {
            burst: Some(burst),
            ..Schedule::per_second(100.0)
        };
        let mut timeline = Timeline::default();
        timeline.begin(5, 0, Some(burst));
        let mut counts = [0u32; 3];
        let mut at = 0.0;
        while at < 3e9 {
            counts[timeline.phase(5 + at as u64).0] += 1;
            at = schedule.next(0.0, 0, at);
        }
        // 900 ms at 100 a second and 100 ms at 1,000, three times; of two quiet times half a second is `after`.
        assert!(counts[1].abs_diff(300) <= 3, "{counts:?}");
        assert!(counts[0].abs_diff(90 + 2 * 40) <= 3, "{counts:?}");
        assert!(counts[2].abs_diff(2 * 50) <= 3, "{counts:?}");
    }

    #[test]
    fn a_poisson_process_has_the_rate_and_the_spread_of_one() {
        let schedule = Schedule {
            arrivals: Arrivals::Poisson { seed: 3 },
            ..Schedule::per_second(1_000.0)
        };
        let (mut at, mut gaps) = (0.0, Vec::new());
        for count in 1..=100_000u64 {
            let next = schedule.next(0.0, count, at);
            gaps.push((next - at) / 1e6);
            at = next;
        }
        let mean = gaps.iter().sum::<f64>() / 1e5;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / 1e5;
        assert!(
            (mean - 1.0).abs() < 0.02 && (variance - 1.0).abs() < 0.05,
            "{mean} {variance}"
        );
        let other = Arrivals::Poisson { seed: 4 };
        assert_ne!(other.gap(1), schedule.arrivals.gap(1));
    }

    #[test]
    fn phases_are_those_of_the_play_a_time_is_in() {
        let mut timeline = Timeline::default();
        timeline.begin(100, 0, None);
        timeline.begin(200, 1, None);
        timeline.begin(300, 0, None);
        let phases = [50, 100, 199, 200, 299, 300, 9_000].map(|at| timeline.phase(at).0);
        assert_eq!(phases, [0, 0, 0, 1, 1, 0, 0]);
    }
}

//! A token bucket: so many a second on average, so many at once.
//!
//! The level is counted in billionths of a token, because a rate of `r` tokens a
//! second is then exactly `r` of them per nanosecond: refilling is one product,
//! nothing is rounded, and a bucket looked at a million times a second grants what
//! one looked at once an hour grants. Nothing runs in between; the level is brought
//! up to date when someone asks. The table of buckets by key is in `buckets`.

use std::time::Duration;

use crate::moment::Moment;

/// One token, in the units of a level.
const TOKEN: u64 = 1_000_000_000;

/// How fast a bucket fills, and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Tokens a second; 0 never refills, so that `burst` is all there ever is.
    pub per_second: u32,
    /// Tokens a full bucket holds: the most that pass at one moment. 0 lets nothing pass.
    pub burst: u32,
}

/// What one key may still take. 24 bytes.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Billionths of a token. At most `burst` tokens, below 2^62, so sums cannot wrap.
    level: u64,
    /// When `level` was right.
    at: Moment,
    rate: Rate,
}

impl Bucket {
    /// A full bucket.
    pub fn full(rate: Rate, now: Moment) -> Self {
        Self {
            level: u64::from(rate.burst) * TOKEN,
            at: now,
            rate,
        }
    }

    /// Takes `n` tokens, all or none.
    ///
    /// # Errors
    /// The time until the same request would pass, exact to the nanosecond if nobody
    /// takes in between; [`Duration::MAX`] if it never would: `n` is above the burst,
    /// or the bucket does not refill.
    pub fn try_take(&mut self, now: Moment, n: u32) -> Result<(), Duration> {
        self.refill(now);
        let price = u64::from(n) * TOKEN;
        if let Some(left) = self.level.checked_sub(price) {
            self.level = left;
            return Ok(());
        }
        if n > self.rate.burst || self.rate.per_second == 0 {
            return Err(Duration::MAX);
        }
        let missing = price - self.level;
        Err(Duration::from_nanos(
            missing.div_ceil(u64::from(self.rate.per_second)),
        ))
    }

    /// Whether nothing is missing. A full bucket can be forgotten: a new one is the same.
    pub fn is_full(&self, now: Moment) -> bool {
        self.level_at(now) == self.level_max()
    }

    /// Returns the whole tokens that could be taken.
    pub fn tokens(&self, now: Moment) -> u32 {
        (self.level_at(now) / TOKEN) as u32
    }

    fn refill(&mut self, now: Moment) {
        self.level = self.level_at(now);
        self.at = self.at.max(now);
    }

    fn level_at(&self, now: Moment) -> u64 {
        let elapsed_ns = now.0.saturating_sub(self.at.0);
        // A product that saturates is more than any bucket holds.
        let refill = elapsed_ns.saturating_mul(u64::from(self.rate.per_second));
        self.level.saturating_add(refill).min(self.level_max())
    }

    fn level_max(&self) -> u64 {
        u64::from(self.rate.burst) * TOKEN
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn burst_passes_at_once_then_one_per_interval() {
        let rate = Rate {
            per_second: 3,
            burst: 2,
        };
        let mut bucket = Bucket::full(rate, Moment(0));
        assert_eq!(bucket.try_take(Moment(0), 1), Ok(()));
        assert_eq!(bucket.try_take(Moment(0), 1), Ok(()));
        // A third of a second, rounded up: at 333,333,333 ns a billionth of a token is missing.
        assert_eq!(
            bucket.try_take(Moment(0), 1),
            Err(Duration::from_nanos(333_333_334))
        );
        assert_eq!(
            bucket.try_take(Moment(333_333_333), 1),
            Err(Duration::from_nanos(1))
        );
        assert_eq!(bucket.try_take(Moment(333_333_334), 1), Ok(()));
    }

    #[test]
    fn what_can_never_pass_is_told_so() {
        let mut small = Bucket::full(
            Rate {
                per_second: 10,
                burst: 5,
            },
            Moment(0),
        );
        assert_eq!(small.try_take(Moment(0), 6), Err(Duration::MAX));
        let mut dry = Bucket::full(
            Rate {
                per_second: 0,
                burst: 1,
            },
            Moment(0),
        );
        assert_eq!(dry.try_take(Moment(0), 1), Ok(()));
        assert_eq!(dry.try_take(Moment(u64::MAX), 1), Err(Duration::MAX));
    }

    #[test]
    fn odd_rate_does_not_drift_in_an_hour_of_asking() {
        let mut bucket = Bucket::full(
            Rate {
                per_second: 7,
                burst: 1,
            },
            Moment(0),
        );
        let (step, end) = (1_000_003, 3_600 * 1_000_000_000);
        let mut passed = 0;
        for now in (0..=end).step_by(step) {
            passed += u32::from(bucket.try_take(Moment(now), 1).is_ok());
        }
        // Each grant waits for the next question, so at most one step late: 7 ms in 1 s.
        let at_least = 3_600 * 7 * 992 / 1_000;
        assert!((at_least..=3_600 * 7 + 1).contains(&passed), "{passed}");
    }

    #[test]
    fn extremes_do_not_overflow() {
        let rate = Rate {
            per_second: u32::MAX,
            burst: u32::MAX,
        };
        let mut bucket = Bucket::full(rate, Moment(0));
        assert_eq!(bucket.try_take(Moment(0), u32::MAX), Ok(()));
        assert_eq!(bucket.try_take(Moment(0), u32::MAX), Err(Duration::from_secs(1)));
        assert_eq!(bucket.try_take(Moment(u64::MAX), u32::MAX), Ok(()));
        assert_eq!(bucket.try_take(Moment(0), 1), Err(Duration::from_nanos(1)));
    }

    #[test]
    fn bucket_is_24_bytes() {
        assert_eq!(size_of::<Bucket>(), 24);
    }

    fn any_rate() -> impl Strategy<Value = Rate> {
        (1..5_000u32, 1..100u32).prop_map(|(per_second, burst)| Rate { per_second, burst })
    }

    /// Gaps between questions in nanoseconds, and how much each asks for.
    fn any_asks() -> impl Strategy<Value = Vec<(u64, u32)>> {
        let gap = prop_oneof![0..1_000u64, 0..50_000_000u64, 0..5_000_000_000u64];
        prop::collection::vec((gap, 0..20u32), 1..80)
    }

    proptest! {
        #[test]
        fn no_interval_passes_more_than_burst_and_rate(rate in any_rate(), asks in any_asks()) {
            let mut now = 0;
            let mut bucket = Bucket::full(rate, Moment(now));
            let mut passed: Vec<(u64, u32)> = Vec::new();
            for (gap, n) in asks {
                now += gap;
                if bucket.try_take(Moment(now), n).is_ok() {
                    passed.push((now, n));
                }
            }
            for (first, &(from, _)) in passed.iter().enumerate() {
                let mut sum = 0u128;
                for &(until, n) in &passed[first..] {
                    sum += u128::from(n);
                    let refill = u128::from(until - from) * u128::from(rate.per_second);
                    let bound = u128::from(rate.burst) * u128::from(TOKEN) + refill;
                    prop_assert!(sum * u128::from(TOKEN) <= bound);
                }
            }
        }

        #[test]
        fn what_has_its_tokens_is_never_refused(rate in any_rate(), asks in any_asks()) {
            let mut now = 0;
            let mut bucket = Bucket::full(rate, Moment(now));
            // The twin counts in 128 bits and refills nanosecond ranges, never capped early.
            let full = u128::from(rate.burst) * u128::from(TOKEN);
            let mut twin = full;
            for (gap, n) in asks {
                now += gap;
                twin = full.min(twin + u128::from(gap) * u128::from(rate.per_second));
                let price = u128::from(n) * u128::from(TOKEN);
                prop_assert_eq!(bucket.tokens(Moment(now)) as u128, twin / u128::from(TOKEN));
                prop_assert_eq!(bucket.is_full(Moment(now)), twin == full);
                let passes = bucket.try_take(Moment(now), n).is_ok();
                prop_assert_eq!(passes, price <= twin);
                if passes {
                    twin -= price;
                }
            }
        }

        #[test]
        fn retry_hint_is_exact(rate in any_rate(), asks in any_asks()) {
            let mut now = 0;
            let mut bucket = Bucket::full(rate, Moment(now));
            for (gap, n) in asks {
                now += gap;
                let Err(wait) = bucket.try_take(Moment(now), n) else { continue };
                if n > rate.burst {
                    prop_assert_eq!(wait, Duration::MAX);
                    continue;
                }
                let passes_at = Moment(now) + wait;
                let early = bucket.clone().try_take(Moment(passes_at.0 - 1), n);
                prop_assert_eq!(early, Err(Duration::from_nanos(1)));
                prop_assert_eq!(bucket.clone().try_take(passes_at, n), Ok(()));
            }
        }

        #[test]
        fn asking_often_changes_nothing(rate in any_rate(), asks in any_asks(), cuts in 1..50u64) {
            let mut now = 0;
            let (mut seldom, mut often) = (Bucket::full(rate, Moment(0)), Bucket::full(rate, Moment(0)));
            for (gap, n) in asks {
                for cut in 1..cuts {
                    prop_assert_eq!(often.try_take(Moment(now + gap * cut / cuts), 0), Ok(()));
                }
                now += gap;
                prop_assert_eq!(seldom.try_take(Moment(now), n), often.try_take(Moment(now), n));
            }
        }
    }
}

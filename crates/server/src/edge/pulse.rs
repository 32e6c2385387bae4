//! Who is visited next for a ping: a hand that goes round the table of connections once
//! per ping interval, a few places at a time.
//!
//! There is no timer per connection. Whoever the hand meets is pinged, or closed if
//! nothing came from it for two intervals; so silence is noticed within three.

use std::time::Duration;

use tidegate_core::Moment;

/// How often the hand moves in one round, at most.
const STEPS: u32 = 64;
/// And not more often than this.
const STEP_MIN: Duration = Duration::from_millis(5);

/// See the module.
#[derive(Debug)]
pub(crate) struct Pulse {
    interval: Duration,
    step: Duration,
    moved: Moment,
    place: usize,
    /// Part of a place, in billionths, that was too little to move.
    rest: u64,
}

/// Places to visit: from `start` on, `count` of them, beginning anew at the table's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Visits {
    pub(crate) start: usize,
    pub(crate) count: usize,
}

impl Pulse {
    pub(crate) fn new(interval: Duration, now: Moment) -> Self {
        let step = (interval / STEPS).max(STEP_MIN).min(interval);
        Self {
            interval,
            step,
            moved: now,
            place: 0,
            rest: 0,
        }
    }

    /// Silence that ends a connection, in milliseconds.
    pub(crate) fn silence_max_ms(&self) -> u32 {
        (self.interval * 2).as_millis() as u32
    }

    /// When the hand moves next.
    pub(crate) fn deadline(&self) -> Moment {
        self.moved + self.step
    }

    /// Moves the hand over a table with `len` places.
    pub(crate) fn advance(&mut self, len: usize, now: Moment) -> Visits {
        if now < self.deadline() || len == 0 {
            if len == 0 {
                (self.moved, self.rest) = (now, 0);
            }
            return Visits { start: 0, count: 0 };
        }
        // After a long pause one round is enough.
        let elapsed = now.since(self.moved).min(self.interval).as_nanos();
        let billionths =
            elapsed * 1_000_000_000 / self.interval.as_nanos().max(1) * len as u128 + u128::from(self.rest);
        let count = ((billionths / 1_000_000_000) as usize).min(len);
        self.rest = (billionths % 1_000_000_000) as u64;
        self.moved = now;
        let start = self.place % len;
        self.place = (start + count) % len;
        Visits { start, count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hand_meets_everyone_once_per_interval() {
        for len in [1usize, 7, 1000] {
            let interval = Duration::from_secs(25);
            let mut pulse = Pulse::new(interval, Moment(0));
            let mut met = vec![0; len];
            let (mut now, rounds) = (Moment(0), 4);
            while now < Moment(0) + interval * rounds {
                now = pulse.deadline() + Duration::from_micros(10);
                let visits = pulse.advance(len, now);
                for step in 0..visits.count {
                    met[(visits.start + step) % len] += 1;
                }
            }
            let fair = |&times: &u32| (rounds - 1..=rounds + 1).contains(&times);
            assert!(met.iter().all(fair), "{len}: {met:?}");
        }
    }

    #[test]
    fn an_empty_table_and_a_long_pause_do_no_harm() {
        let mut pulse = Pulse::new(Duration::from_secs(1), Moment(0));
        assert_eq!(pulse.advance(0, Moment(5_000_000_000)).count, 0);
        assert_eq!(pulse.advance(10, Moment(5_000_000_001)).count, 0);
        assert_eq!(pulse.advance(10, Moment(500_000_000_000)).count, 10);
    }
}

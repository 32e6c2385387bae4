//! How much of a shard's time a room's fan-out takes: which rooms are hot.
//!
//! What counts is what the room *asks for*: a visit of each subscriber for whatever happens in it (a publication,
//! a change of members, a gap), at the measured cost of a visit. So a room that is batched because it is hot does not look cool for it.

use std::time::Duration;

use crate::{moment::Moment, policy::Hot};

/// Memory of the moving average.
const MEMORY: Duration = Duration::from_secs(1);

/// See the module. Sixteen bytes of every room.
#[derive(Debug, Clone, Copy, Default)]
pub struct Heat {
    /// Visits asked for in about the last second.
    visits: f32,
    at: Moment,
    /// Above its policy's share, and not yet clearly below it again.
    pub is_hot: bool,
}

impl Heat {
    /// Something that happened in the room asks for so many visits.
    pub fn add(&mut self, subscribers: usize, now: Moment) {
        self.visits = self.visits_at(now) + subscribers as f32;
        self.at = now;
    }

    fn visits_at(&self, now: Moment) -> f32 {
        let past = now.since(self.at).as_secs_f32() / MEMORY.as_secs_f32();
        self.visits * (-past).exp()
    }

    /// The share of the shard's time it asks for, where a visit costs `visit_ns`: 1 is all of it, more is too much.
    pub fn share(&self, visit_ns: u32, now: Moment) -> f32 {
        self.visits_at(now) * visit_ns as f32 / MEMORY.as_nanos() as f32
    }

    /// Judges anew; says whether the judgement changed. What is hot stays so until it asks for half the share.
    pub fn judge(&mut self, policy: &Hot, visit_ns: u32, now: Moment) -> bool {
        let limit = match self.is_hot {
            true => policy.share / 2.0,
            false => policy.share,
        };
        let is_hot = policy.share > 0.0 && self.share(visit_ns, now) >= limit;
        is_hot != std::mem::replace(&mut self.is_hot, is_hot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_hot_by_the_time_it_asks_for_and_cools_slowly() {
        let policy = Hot {
            share: 0.2,
            batch: Duration::ZERO,
        };
        let mut heat = Heat::default();
        let ms = |n: u64| Moment(n * 1_000_000);
        // 20 publications a second to 1,000 subscribers at 5 us: a tenth of the shard.
        for n in 0..100 {
            heat.add(1_000, ms(n * 50));
            assert!(!heat.judge(&policy, 5_000, ms(n * 50)));
        }
        assert!((0.09..0.11).contains(&heat.share(5_000, ms(4_950))), "{heat:?}");
        // Four times as many.
        for n in 0..400u64 {
            heat.add(1_000, ms(5_000 + n * 25 / 2));
            heat.judge(&policy, 5_000, ms(5_000 + n * 25 / 2));
        }
        assert!(heat.is_hot && heat.share(5_000, ms(10_000)) > 0.35);
        // Three quarters of the limit is not cool.
        for n in 0..200u64 {
            heat.add(750, ms(10_000 + n * 25));
            assert!(!heat.judge(&policy, 5_000, ms(10_000 + n * 25)));
        }
        assert!(heat.judge(&policy, 5_000, ms(17_000)) && !heat.is_hot);
    }
}

//! How many handshakes one shard has under way, and how many it may.
//!
//! A handshake takes its place before anything costly is done for it (with TLS: before
//! the first byte is read) and gives it back when it is connected, or gone. What it
//! takes is measured in between, so peers that dawdle could hold all places and say nothing. Hence a place is lent:
//! when there is no other, one that was taken more than a second ago is taken back,
//! and its peer goes on without.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use tidegate_core::{
    LimitCounters, Moment,
    admission::{Adaptive, Limiter, Outcome, Permit},
};

use super::queue::Slot;

/// How long a place is the peer's own.
const LENT: Duration = Duration::from_secs(1);

/// See the module. No larger than the limit's ceiling, and those that came through within a second.
pub(crate) struct HandshakeGate {
    limiter: Option<Limiter>,
    /// By the connection's place; the generation tells its uses apart.
    under_way: HashMap<u32, (u32, Permit)>,
    by_age: VecDeque<(Slot, Moment)>,
}

impl HandshakeGate {
    pub(crate) fn new(adaptive: &Adaptive, seed: u64, now: Moment) -> Self {
        Self {
            limiter: adaptive.limiter(seed, now),
            under_way: HashMap::new(),
            by_age: VecDeque::new(),
        }
    }

    /// Whether one more may begin.
    pub(crate) fn try_enter(&mut self, slot: Slot, now: Moment) -> bool {
        let Some(limiter) = &mut self.limiter else {
            return true;
        };
        // Those that are through need not be remembered.
        while let Some((oldest, since)) = self.by_age.front().copied() {
            let is_under_way = (self.under_way.get(&oldest.index))
                .is_some_and(|(generation, _)| *generation == oldest.generation);
            let is_overdue = now.since(since) > LENT && limiter.in_flight() >= limiter.limit();
            if is_under_way && !is_overdue {
                break;
            }
            self.by_age.pop_front();
            if is_under_way && let Some((_, permit)) = self.under_way.remove(&oldest.index) {
                limiter.release(now, permit, Outcome::Ignored);
            }
        }
        let Ok(permit) = limiter.try_acquire(now) else {
            return false;
        };
        if let Some((_, stale)) = self.under_way.insert(slot.index, (slot.generation, permit)) {
            limiter.release(now, stale, Outcome::Ignored);
        }
        self.by_age.push_back((slot, now));
        true
    }

    /// It is connected.
    pub(crate) fn connected(&mut self, slot: Slot, now: Moment) {
        self.release(slot, now, |permit| Outcome::Done(now.since(permit.admitted())));
    }

    /// It came to nothing, or is none.
    pub(crate) fn left(&mut self, slot: Slot, now: Moment) {
        self.release(slot, now, |_| Outcome::Ignored);
    }

    fn release(&mut self, slot: Slot, now: Moment, outcome: impl FnOnce(&Permit) -> Outcome) {
        if let Some(permit) = self.take(slot)
            && let Some(limiter) = &mut self.limiter
        {
            let outcome = outcome(&permit);
            limiter.release(now, permit, outcome);
        }
    }

    fn take(&mut self, slot: Slot) -> Option<Permit> {
        let (generation, _) = self.under_way.get(&slot.index)?;
        if *generation != slot.generation {
            return None;
        }
        self.under_way.remove(&slot.index).map(|(_, permit)| permit)
    }

    /// How it stands.
    pub(crate) fn counters(&self) -> LimitCounters {
        self.limiter.as_ref().map(LimitCounters::of).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(index: u32) -> Slot {
        Slot { index, generation: 1 }
    }

    fn at_ms(ms: u64) -> Moment {
        Moment(ms * 1_000_000)
    }

    fn two() -> HandshakeGate {
        let adaptive = Adaptive {
            floor: 2,
            ceiling: 2,
            ..Adaptive::default()
        };
        HandshakeGate::new(&adaptive, 1, at_ms(0))
    }

    #[test]
    fn the_third_of_two_is_refused_until_one_is_through() {
        let mut gate = two();
        assert!(gate.try_enter(slot(1), at_ms(0)) && gate.try_enter(slot(2), at_ms(0)));
        assert!(!gate.try_enter(slot(3), at_ms(900)));
        gate.connected(slot(1), at_ms(901));
        assert!(gate.try_enter(slot(3), at_ms(902)));
        gate.left(slot(2), at_ms(903));
        gate.left(slot(2), at_ms(903));
        assert_eq!(gate.counters().in_flight, 1);
    }

    #[test]
    fn who_dawdles_loses_its_place_to_a_newcomer_and_to_nobody_else() {
        let mut gate = two();
        assert!(gate.try_enter(slot(1), at_ms(0)) && gate.try_enter(slot(2), at_ms(0)));
        assert!(!gate.try_enter(slot(3), at_ms(1_000)));
        assert!(gate.try_enter(slot(3), at_ms(1_001)));
        // One was enough; what it does later counts for nothing.
        assert_eq!(gate.counters().in_flight, 2);
        gate.connected(slot(1), at_ms(1_002));
        assert_eq!(gate.counters().in_flight, 2);
        gate.connected(slot(2), at_ms(1_003));
        assert_eq!(gate.counters().in_flight, 1);
    }

    #[test]
    fn thousands_that_came_through_leave_nothing() {
        let mut gate = two();
        for n in 0..10_000 {
            assert!(gate.try_enter(slot(n), at_ms(n.into())));
            gate.connected(slot(n), at_ms(n.into()));
        }
        assert!(gate.by_age.len() <= 2 && gate.under_way.is_empty());
    }
}

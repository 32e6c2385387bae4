//! Connections that must come to something within a fixed time: half-open handshakes, farewells.
//!
//! All wait equally long, so their order of coming is their order of ending: a plain
//! queue, no timer per connection. Who came through in time is skipped when it is met.

use std::{collections::VecDeque, time::Duration};

use tidegate_core::Moment;

/// A place in the table of connections, in one of its uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Queue {
    time: Duration,
    waiting: VecDeque<(Slot, Moment)>,
}

impl Queue {
    pub(crate) fn new(time: Duration) -> Self {
        Self {
            time,
            waiting: VecDeque::new(),
        }
    }

    pub(crate) fn push(&mut self, slot: Slot, now: Moment) {
        self.waiting.push_back((slot, now + self.time));
    }

    /// Takes the oldest, whether its time is over or not.
    pub(crate) fn pop(&mut self) -> Option<Slot> {
        let (slot, _) = self.waiting.pop_front()?;
        if self.waiting.is_empty() && self.waiting.capacity() > 1024 {
            // A storm is over: give its memory back.
            self.waiting = VecDeque::new();
        }
        Some(slot)
    }

    /// Takes one whose time is over.
    pub(crate) fn pop_due(&mut self, now: Moment) -> Option<Slot> {
        match self.waiting.front() {
            Some((_, until)) if *until <= now => self.pop(),
            _ => None,
        }
    }

    /// Forgets those at the front that `is_waiting` says are through, so that they wake nobody.
    pub(crate) fn skip(&mut self, is_waiting: impl Fn(Slot) -> bool) {
        while let Some((slot, _)) = self.waiting.front() {
            if is_waiting(*slot) {
                return;
            }
            self.pop();
        }
    }

    /// When the next one is due.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        self.waiting.front().map(|(_, until)| *until)
    }

    /// How many wait, those included that are through already.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(index: u32) -> Slot {
        Slot { index, generation: 1 }
    }

    #[test]
    fn they_are_due_in_the_order_they_came() {
        let mut queue = Queue::new(Duration::from_nanos(10));
        queue.push(slot(1), Moment(0));
        queue.push(slot(2), Moment(5));
        assert_eq!(queue.deadline(), Some(Moment(10)));
        assert_eq!(queue.pop_due(Moment(9)), None);
        assert_eq!(queue.pop_due(Moment(15)), Some(slot(1)));
        assert_eq!(queue.pop_due(Moment(15)), Some(slot(2)));
        assert_eq!((queue.pop_due(Moment(15)), queue.len()), (None, 0));
    }

    #[test]
    fn those_who_came_through_wake_nobody() {
        let mut queue = Queue::new(Duration::from_nanos(10));
        for (index, at) in [(1, 0), (2, 1), (3, 2), (4, 3)] {
            queue.push(slot(index), Moment(at));
        }
        queue.skip(|slot| slot.index == 3);
        assert_eq!(queue.deadline(), Some(Moment(12)));
        assert_eq!(queue.len(), 2);
    }
}

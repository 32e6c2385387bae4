//! What happens next: events by time, and by the order of their making at one time.
//!
//! An array heap of four children to a parent: half as many levels as with two, and the four lie in one cache
//! line. Most events make one other; [`Heap::replace_top`] puts it in the place of the first at the cost of one
//! walk instead of two. What became void is not searched for: its maker keeps the number it got
//! ([`Event::number`]) and ignores any other.

use super::Nanos;

/// One event, 16 bytes: when, which in order of making, and what it means to its maker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    pub at: Nanos,
    pub number: u32,
    pub what: u32,
}

impl Event {
    #[inline]
    fn is_before(self, other: Self) -> bool {
        // Numbers start again after 2^32: of two at one time the one is first from which the other is ahead. So what is
        // made while the first is handled never comes before it.
        let earlier = (self.number.wrapping_sub(other.number) as i32) < 0;
        self.at < other.at || (self.at == other.at && earlier)
    }
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Heap {
    events: Vec<Event>,
    made: u32,
}

impl Heap {
    /// Bytes it takes, about.
    pub fn bytes(&self) -> usize {
        self.events.capacity() * size_of::<Event>()
    }

    /// The first.
    #[inline]
    pub fn peek(&self) -> Option<Event> {
        self.events.first().copied()
    }

    /// When the first is.
    #[inline]
    pub fn next_at(&self) -> Nanos {
        self.events.first().map_or(super::NEVER, |event| event.at)
    }

    pub fn len(&self) -> usize {
        self.events.len()
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Adds one, and returns its number.
    #[inline]
    pub fn push(&mut self, at: Nanos, what: u32) -> u32 {
        let event = self.make(at, what);
        let mut place = self.events.len();
        self.events.push(event);
        while place > 0 {
            let parent = (place - 1) / 4;
            if !event.is_before(self.events[parent]) {
                break;
            }
            self.events[place] = self.events[parent];
            place = parent;
        }
        self.events[place] = event;
        event.number
    }

    /// Removes the first.
    #[inline]
    pub fn pop(&mut self) -> Option<Event> {
        let first = self.peek()?;
        let last = self.events.pop().expect("peeked above");
        if !self.events.is_empty() {
            self.sink(last);
        }
        Some(first)
    }

    /// Puts another in the place of the first, and returns its number.
    #[inline]
    pub fn replace_top(&mut self, at: Nanos, what: u32) -> u32 {
        if self.events.is_empty() {
            return self.push(at, what);
        }
        let event = self.make(at, what);
        self.sink(event);
        event.number
    }

    fn make(&mut self, at: Nanos, what: u32) -> Event {
        self.made = self.made.wrapping_add(1);
        Event {
            at,
            number: self.made,
            what,
        }
    }

    /// From the top down.
    #[inline]
    fn sink(&mut self, event: Event) {
        let len = self.events.len();
        let mut place = 0;
        loop {
            let first = place * 4 + 1;
            if first >= len {
                break;
            }
            let mut least = first;
            for child in first + 1..(first + 4).min(len) {
                if self.events[child].is_before(self.events[least]) {
                    least = child;
                }
            }
            if !self.events[least].is_before(event) {
                break;
            }
            self.events[place] = self.events[least];
            place = least;
        }
        self.events[place] = event;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn events_come_by_time_and_then_by_the_order_of_their_making(
            steps in prop::collection::vec((0u8..4, 0u64..40), 1..300),
        ) {
            let mut heap = Heap::default();
            let mut model: Vec<(u64, u32)> = Vec::new();
            for (what, at) in steps {
                match what {
                    0 => {
                        model.sort_unstable();
                        let expected = (!model.is_empty()).then(|| model.remove(0));
                        prop_assert_eq!(heap.pop().map(|event| (event.at, event.number)), expected);
                    }
                    1 => {
                        model.sort_unstable();
                        if !model.is_empty() {
                            model.remove(0);
                        }
                        let number = heap.replace_top(at, 0);
                        model.push((at, number));
                    }
                    _ => {
                        let number = heap.push(at, 0);
                        model.push((at, number));
                    }
                }
                prop_assert_eq!(heap.len(), model.len());
                prop_assert_eq!(heap.next_at(), model.iter().min().map_or(u64::MAX, |least| least.0));
            }
        }
    }
}

//! What is waiting for one session: two lanes under one byte bound.
//!
//! The outbox decides in which order frames leave and when a reader is too slow.
//! It does not encode (see `encoder`) and does not write (see the server's `flush`).
//! Frames of all sessions hang in one [`Pile`] as linked lists, so that queueing a
//! frame allocates nothing and an idle session holds no buffer.
//!
//! ```text
//!   control   ─► reply ─► pong ─►            always first
//!   reliable  ─► event ─► event ─► event ─►  in order
//!                ▲ `written` bytes of the frame in progress are with the kernel:
//!                  it is finished before anything overtakes it
//! ```

use std::{io::IoSlice, time::Duration};

use bytes::Bytes;

use crate::moment::Moment;

/// Bytes a waiting frame costs beyond its own: its node and its share of the buffer.
/// Counted against the bound, so that a million tiny frames cannot hide.
pub const FRAME_OVERHEAD: usize = 64;

const NONE: u32 = u32::MAX;

/// Which frames go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Replies, pings, notices.
    Control,
    /// Publications, members, gaps: in order.
    Reliable,
}

struct Node {
    frame: Bytes,
    next: u32,
    queued_ms: u32,
}

/// The waiting frames of every session of a shard.
#[derive(Default)]
pub struct Pile {
    nodes: Vec<Node>,
    free: Vec<u32>,
}

impl Pile {
    fn insert(&mut self, frame: Bytes, now: Moment) -> u32 {
        let node = Node {
            frame,
            next: NONE,
            queued_ms: to_ms(now),
        };
        if let Some(index) = self.free.pop() {
            self.nodes[index as usize] = node;
            return index;
        }
        self.nodes.push(node);
        (self.nodes.len() - 1) as u32
    }

    fn remove(&mut self, index: u32) -> Node {
        let empty = Node {
            frame: Bytes::new(),
            next: NONE,
            queued_ms: 0,
        };
        let node = std::mem::replace(&mut self.nodes[index as usize], empty);
        self.free.push(index);
        // After a peak nothing may be waiting: give the memory back.
        if self.free.len() == self.nodes.len() && self.nodes.len() > 4096 {
            *self = Self::default();
        }
        node
    }

    /// Frames waiting in all outboxes.
    pub fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Whether nothing waits anywhere.
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[derive(Clone, Copy)]
struct List {
    head: u32,
    tail: u32,
}

const EMPTY: List = List {
    head: NONE,
    tail: NONE,
};

impl List {
    fn push(&mut self, pile: &mut Pile, frame: Bytes, now: Moment) {
        let index = pile.insert(frame, now);
        if self.head == NONE {
            self.head = index;
        } else {
            pile.nodes[self.tail as usize].next = index;
        }
        self.tail = index;
    }

    fn pop(&mut self, pile: &mut Pile) -> Option<Bytes> {
        if self.head == NONE {
            return None;
        }
        let node = pile.remove(self.head);
        self.head = node.next;
        if self.head == NONE {
            self.tail = NONE;
        }
        Some(node.frame)
    }
}

/// The frames waiting for one session.
pub struct Outbox {
    control: List,
    reliable: List,
    /// Bytes of waiting frames, without overhead, less `written`.
    bytes: u32,
    /// Frames waiting.
    frames: u32,
    /// Bytes of the frame in progress that the kernel has.
    written: u32,
    /// The lane of the frame in progress; meaningful while `written > 0`.
    lane: Lane,
    /// Named in the shard's list of dirty outboxes.
    pub(crate) is_dirty: bool,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            control: EMPTY,
            reliable: EMPTY,
            bytes: 0,
            frames: 0,
            written: 0,
            lane: Lane::Control,
            is_dirty: false,
        }
    }
}

impl Outbox {
    /// Puts a whole frame (or several, joined) at the end of its lane.
    pub fn push(&mut self, pile: &mut Pile, lane: Lane, frame: Bytes, now: Moment) {
        self.bytes += frame.len() as u32;
        self.frames += 1;
        let list = match lane {
            Lane::Control => &mut self.control,
            Lane::Reliable => &mut self.reliable,
        };
        list.push(pile, frame, now);
    }

    /// Bytes still to be written.
    pub fn bytes(&self) -> usize {
        self.bytes as usize
    }

    /// Whether nothing waits.
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// Whether one more frame of `len` bytes would break the byte bound, or the oldest
    /// reliable frame has waited longer than `age_max`.
    pub fn is_over(&self, pile: &Pile, len: usize, bytes_max: usize, age_max: Duration, now: Moment) -> bool {
        let weight = self.bytes() + self.frames as usize * FRAME_OVERHEAD;
        if weight + len + FRAME_OVERHEAD > bytes_max && self.frames > 0 {
            return true;
        }
        self.reliable.head != NONE && {
            let queued_ms = pile.nodes[self.reliable.head as usize].queued_ms;
            u128::from(to_ms(now).saturating_sub(queued_ms)) > age_max.as_millis()
        }
    }

    /// Fills `slices` with the front of what is to be written; returns how many.
    pub fn fill<'a>(&self, pile: &'a Pile, slices: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        let mut skip = self.written as usize;
        let order = match (self.written > 0, self.lane) {
            // The frame in progress goes first, then control overtakes the rest.
            (true, Lane::Reliable) => {
                let node = &pile.nodes[self.reliable.head as usize];
                let Some(first) = slices.first_mut() else {
                    return 0;
                };
                *first = IoSlice::new(&node.frame[skip..]);
                count = 1;
                skip = 0;
                [self.control.head, node.next]
            }
            _ => [self.control.head, self.reliable.head],
        };
        for mut index in order {
            while index != NONE && count < slices.len() {
                let node = &pile.nodes[index as usize];
                slices[count] = IoSlice::new(&node.frame[skip..]);
                skip = 0;
                count += 1;
                index = node.next;
            }
        }
        count
    }

    /// The first `len` bytes of what `fill` showed were written.
    pub fn advance(&mut self, pile: &mut Pile, mut len: usize) {
        self.bytes -= len as u32;
        while len > 0 {
            let lane = if self.written > 0 {
                self.lane
            } else if self.control.head != NONE {
                Lane::Control
            } else {
                Lane::Reliable
            };
            let list = match lane {
                Lane::Control => &mut self.control,
                Lane::Reliable => &mut self.reliable,
            };
            let left = pile.nodes[list.head as usize].frame.len() - self.written as usize;
            if len < left {
                self.written += len as u32;
                self.lane = lane;
                return;
            }
            list.pop(pile);
            self.frames -= 1;
            self.written = 0;
            len -= left;
        }
    }

    /// Drops all that waits, but for the frame in progress. Returns the bytes dropped.
    pub fn clear(&mut self, pile: &mut Pile) -> usize {
        let before = self.bytes;
        let in_progress = (self.written > 0).then(|| {
            let list = match self.lane {
                Lane::Control => &mut self.control,
                Lane::Reliable => &mut self.reliable,
            };
            list.pop(pile).expect("a frame in progress is at its lane's head")
        });
        while self.control.pop(pile).is_some() {}
        while self.reliable.pop(pile).is_some() {}
        (self.bytes, self.frames) = (0, 0);
        if let Some(frame) = in_progress {
            self.bytes = frame.len() as u32 - self.written;
            self.frames = 1;
            let lane = self.lane;
            match lane {
                Lane::Control => &mut self.control,
                Lane::Reliable => &mut self.reliable,
            }
            .push(pile, frame, Moment::default());
        }
        (before - self.bytes) as usize
    }

    /// Drops everything: the session is gone.
    pub fn discard(&mut self, pile: &mut Pile) {
        self.written = 0;
        self.clear(pile);
    }
}

/// Milliseconds since the start: enough for 49 days, then ages read as zero once.
fn to_ms(now: Moment) -> u32 {
    (now.0 / 1_000_000) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn front(outbox: &Outbox, pile: &Pile) -> String {
        let mut slices = [IoSlice::new(&[]); 16];
        let count = outbox.fill(pile, &mut slices);
        let bytes: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
        assert_eq!(bytes.len(), outbox.bytes());
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn control_goes_first_but_never_into_a_frame() {
        let (mut pile, mut outbox, now) = (Pile::default(), Outbox::default(), Moment(0));
        outbox.push(&mut pile, Lane::Reliable, "event1.".into(), now);
        outbox.push(&mut pile, Lane::Reliable, "event2.".into(), now);
        outbox.push(&mut pile, Lane::Control, "pong.".into(), now);
        assert_eq!(front(&outbox, &pile), "pong.event1.event2.");
        outbox.advance(&mut pile, 5 + 3);
        outbox.push(&mut pile, Lane::Control, "reply.".into(), now);
        assert_eq!(front(&outbox, &pile), "nt1.reply.event2.");
        outbox.advance(&mut pile, 4 + 2);
        assert_eq!(front(&outbox, &pile), "ply.event2.");
        outbox.advance(&mut pile, 11);
        assert!(outbox.is_empty() && pile.is_empty());
    }

    #[test]
    fn clearing_keeps_the_frame_in_progress_whole() {
        let (mut pile, mut outbox, now) = (Pile::default(), Outbox::default(), Moment(0));
        outbox.push(&mut pile, Lane::Reliable, "event1.".into(), now);
        outbox.push(&mut pile, Lane::Reliable, "event2.".into(), now);
        outbox.advance(&mut pile, 2);
        outbox.push(&mut pile, Lane::Control, "pong.".into(), now);
        assert_eq!(outbox.clear(&mut pile), 12);
        outbox.push(&mut pile, Lane::Control, "close.".into(), now);
        assert_eq!(front(&outbox, &pile), "ent1.close.");
        outbox.discard(&mut pile);
        assert!(outbox.is_empty() && pile.is_empty() && outbox.bytes() == 0);
    }

    #[test]
    fn bytes_and_age_are_bounded_but_a_first_frame_always_fits() {
        let (mut pile, mut outbox) = (Pile::default(), Outbox::default());
        let age = Duration::from_secs(1);
        let over = |outbox: &Outbox, pile: &Pile, now| outbox.is_over(pile, 900, 1000, age, Moment(now));
        assert!(!over(&outbox, &pile, 0));
        outbox.push(&mut pile, Lane::Reliable, vec![0; 10].into(), Moment(0));
        assert!(over(&outbox, &pile, 0));
        assert!(!outbox.is_over(&pile, 10, 1000, age, Moment(1_000_000_000)));
        assert!(outbox.is_over(&pile, 10, 1000, age, Moment(1_002_000_000)));
    }
}

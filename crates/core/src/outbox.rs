//! What is waiting for one session: four lanes under one byte bound.
//!
//! The outbox decides in which order frames leave and when a reader is too slow.
//! It does not encode (see `encoder`) and does not write (see the server's `flush`).
//! Frames of all sessions hang in one [`Pile`] as linked lists, so that queueing a
//! frame allocates nothing and an idle session holds no buffer.
//!
//! ```text
//!   control   ─► reply ─► pong ─►            always first
//!   reliable  ─► event ─► event ─► event ─►  in order
//!   latest    ─► event ─► event ─►           after reliable, and
//!   lossy     ─► event ─►                    after latest, but see below
//!                ▲ `written` bytes of the frame in progress are with the kernel:
//!                  it is finished before anything overtakes it
//! ```
//!
//! **Nobody starves.** After [`RUN_MAX`] bytes of one lane every lane below it in which something
//! waits gets one frame out. So a waiting frame is overtaken, per lane above its own, by at most [`RUN_MAX`] bytes and one
//! frame between two frames of its own lane. Control always goes first, and waits for no more than the frame in progress:
//! large frames come in parts (see `tidegate_wire::parts`).

use std::{io::IoSlice, time::Duration};

use bytes::Bytes;
pub use tidegate_wire::Lane;
use tidegate_wire::{parts::WHOLE_BYTES_MAX, ws::frame::split_server_frames};

use crate::{
    limits::Limits,
    moment::Moment,
    pace::Pace,
    planted::{Bug, Planted},
};

/// Bytes a waiting frame costs beyond its own: its node and its share of the buffer.
/// Counted against the bound, so that a million tiny frames cannot hide.
pub const FRAME_OVERHEAD: usize = 64;

/// Frames that are joined, and leave as one, are at most this long together.
pub const JOINED_BYTES_MAX: usize = WHOLE_BYTES_MAX;

/// Bytes of one lane after which those below get a frame out.
pub const RUN_MAX: u32 = 32 << 10;

const NONE: u32 = u32::MAX;

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
    pub(crate) planted: Planted,
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
            *self = Self {
                planted: self.planted,
                ..Self::default()
            };
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
    lists: [List; 4],
    /// Bytes of waiting frames, without overhead, less `written`.
    bytes: u32,
    /// Frames waiting.
    frames: u32,
    /// Bytes of the frame in progress that the kernel has.
    written: u32,
    /// The lane of the frame in progress; meaningful while `written > 0`.
    lane: Lane,
    turns: Turns,
    /// Lanes that got something since the last write was tried, one bit each.
    untried: u8,
    /// Named in the shard's list of dirty outboxes.
    pub(crate) is_dirty: bool,
}

/// Whose turn it is among the lanes below control.
#[derive(Clone, Copy, Default)]
struct Turns {
    /// Bytes that went out since the lanes below last had theirs.
    run: u32,
    /// Lanes that are owed a frame, one bit each.
    owed: u8,
}

impl Turns {
    fn next(self, heads: &[u32; 4]) -> Option<Lane> {
        let waits = |lane: Lane| heads[lane as usize] != NONE;
        let is_owed = |lane: Lane| self.owed & lane.bit() != 0;
        if waits(Lane::Control) {
            return Some(Lane::Control);
        }
        let owed = Lane::ALL.into_iter().find(|lane| is_owed(*lane) && waits(*lane));
        owed.or_else(|| Lane::ALL.into_iter().find(|lane| waits(*lane)))
    }

    /// A frame of `lane` went out; `heads` is what is left.
    fn done(&mut self, lane: Lane, len: usize, heads: &[u32; 4], planted: Planted) {
        if lane == Lane::Control || planted.is(Bug::StarveLanes) {
            return;
        }
        if self.owed & lane.bit() != 0 {
            self.owed &= !lane.bit();
            return;
        }
        self.run += len as u32;
        if self.run >= RUN_MAX {
            let below = Lane::ALL.into_iter().filter(|other| *other > lane);
            let waiting = below.filter(|other| heads[*other as usize] != NONE);
            *self = Self {
                run: 0,
                owed: waiting.fold(0, |owed, other| owed | other.bit()),
            };
        }
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            lists: [EMPTY; 4],
            bytes: 0,
            frames: 0,
            written: 0,
            lane: Lane::Control,
            turns: Turns::default(),
            untried: 0,
            is_dirty: false,
        }
    }
}

impl Outbox {
    /// Puts a whole frame (or several, joined) at the end of its lane. Joined ones that are long together are taken
    /// apart, so that other lanes can come in between.
    pub fn push(&mut self, pile: &mut Pile, lane: Lane, frame: Bytes, now: Moment) {
        self.bytes += frame.len() as u32;
        self.untried |= lane.bit();
        let list = &mut self.lists[lane as usize];
        if frame.len() <= JOINED_BYTES_MAX {
            list.push(pile, frame, now);
            self.frames += 1;
            return;
        }
        for frame in split_server_frames(frame) {
            list.push(pile, frame, now);
            self.frames += 1;
        }
    }

    /// A write is tried now with all that waits.
    pub fn try_all(&mut self) {
        self.untried = 0;
    }

    /// Whether something in a lane was left over by the last write.
    pub fn is_stuck(&self, lane: Lane) -> bool {
        !self.is_clear(lane) && self.untried & lane.bit() == 0
    }

    /// Whether nothing waits in a lane.
    pub fn is_clear(&self, lane: Lane) -> bool {
        self.lists[lane as usize].head == NONE
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

    /// Whether one more frame of `len` bytes would break a hard bound: the bytes; or the time that the oldest
    /// reliable frame has waited; or the time that this frame will have waited, once the oldest has waited long enough
    /// for the measured pace to be believed.
    pub fn is_over(&self, pile: &Pile, pace: Pace, len: usize, limits: &Limits, now: Moment) -> bool {
        let weight = self.bytes() + self.frames as usize * FRAME_OVERHEAD;
        if weight + len + FRAME_OVERHEAD > limits.outbox_bytes_max && self.frames > 0 {
            return true;
        }
        let age = self.age(pile, now);
        age > limits.outbox_age_max
            || (age > limits.outbox_age_soft
                && age + pace.time_for(self.bytes() + len) > limits.outbox_age_max)
    }

    /// Whether so much waits that what may be left out should be: a soft bound, in the time it takes the reader, with
    /// a ceiling in bytes.
    pub fn is_over_soft(&self, pace: Pace, limits: &Limits) -> bool {
        self.bytes() > limits.outbox_bytes_max / 4 || pace.time_for(self.bytes()) > limits.outbox_age_soft
    }

    /// How long the oldest reliable frame has waited.
    fn age(&self, pile: &Pile, now: Moment) -> Duration {
        match self.lists[Lane::Reliable as usize].head {
            NONE => Duration::ZERO,
            oldest => {
                let queued_ms = pile.nodes[oldest as usize].queued_ms;
                Duration::from_millis(to_ms(now).saturating_sub(queued_ms).into())
            }
        }
    }

    /// Fills `slices` with the front of what is to be written; returns how many.
    pub fn fill<'a>(&self, pile: &'a Pile, slices: &mut [IoSlice<'a>]) -> usize {
        let mut heads = self.lists.map(|list| list.head);
        let mut turns = self.turns;
        let mut skip = self.written as usize;
        let mut count = 0;
        while count < slices.len() {
            // The frame in progress goes first, then control overtakes the rest.
            let lane = match skip > 0 {
                true => Some(self.lane),
                false => turns.next(&heads),
            };
            let Some(lane) = lane else {
                break;
            };
            let node = &pile.nodes[heads[lane as usize] as usize];
            slices[count] = IoSlice::new(&node.frame[skip..]);
            skip = 0;
            count += 1;
            heads[lane as usize] = node.next;
            turns.done(lane, node.frame.len(), &heads, pile.planted);
        }
        count
    }

    /// The lanes of the pieces that `fill` shows, in their order; returns how many, and the lanes in which more waits
    /// behind them, one bit each.
    pub fn fill_lanes(&self, pile: &Pile, lanes: &mut [Lane]) -> (usize, u8) {
        let mut heads = self.lists.map(|list| list.head);
        let mut turns = self.turns;
        let mut is_begun = self.written > 0;
        let mut count = 0;
        while count < lanes.len() {
            let lane = match std::mem::take(&mut is_begun) {
                true => Some(self.lane),
                false => turns.next(&heads),
            };
            let Some(lane) = lane else {
                break;
            };
            let node = &pile.nodes[heads[lane as usize] as usize];
            lanes[count] = lane;
            count += 1;
            heads[lane as usize] = node.next;
            turns.done(lane, node.frame.len(), &heads, pile.planted);
        }
        let rest = Lane::ALL.into_iter().filter(|lane| heads[*lane as usize] != NONE);
        (count, rest.fold(0, |bits, lane| bits | lane.bit()))
    }

    /// The first `len` bytes of what `fill` showed were written.
    pub fn advance(&mut self, pile: &mut Pile, mut len: usize) {
        self.bytes -= len as u32;
        while len > 0 {
            let lane = match self.written > 0 {
                true => self.lane,
                false => {
                    let heads = self.lists.map(|list| list.head);
                    self.turns
                        .next(&heads)
                        .expect("no more is written than was shown")
                }
            };
            let list = &mut self.lists[lane as usize];
            let frame_len = pile.nodes[list.head as usize].frame.len();
            let left = frame_len - self.written as usize;
            if len < left {
                self.written += len as u32;
                self.lane = lane;
                return;
            }
            list.pop(pile);
            self.frames -= 1;
            self.written = 0;
            len -= left;
            self.turns
                .done(lane, frame_len, &self.lists.map(|list| list.head), pile.planted);
        }
    }

    /// Drops all that waits, but for the frame in progress. Returns the bytes dropped.
    pub fn clear(&mut self, pile: &mut Pile) -> usize {
        self.clear_lanes(pile, &Lane::ALL)
    }

    /// Drops what waits in some lanes, but for the frame in progress. Returns the bytes dropped.
    pub fn clear_lanes(&mut self, pile: &mut Pile, lanes: &[Lane]) -> usize {
        let before = self.bytes;
        for lane in lanes {
            let list = &mut self.lists[*lane as usize];
            let in_progress = (self.written > 0 && self.lane == *lane)
                .then(|| list.pop(pile))
                .flatten();
            while let Some(frame) = list.pop(pile) {
                self.bytes -= frame.len() as u32;
                self.frames -= 1;
            }
            if let Some(frame) = in_progress {
                list.push(pile, frame, Moment::default());
            }
        }
        (before - self.bytes) as usize
    }

    /// Drops everything: the session is gone.
    pub fn discard(&mut self, pile: &mut Pile) {
        self.bytes += std::mem::take(&mut self.written);
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
    fn lanes_leave_in_order_and_a_long_run_lets_those_below_have_a_frame() {
        let (mut pile, mut outbox, now) = (Pile::default(), Outbox::default(), Moment(0));
        let half = RUN_MAX as usize / 2;
        for n in 0..4u8 {
            outbox.push(&mut pile, Lane::Reliable, vec![b'0' + n; half].into(), now);
        }
        outbox.push(&mut pile, Lane::Lossy, "lossy.".into(), now);
        outbox.push(&mut pile, Lane::Latest, "latest1.".into(), now);
        outbox.push(&mut pile, Lane::Latest, "latest2.".into(), now);
        outbox.push(&mut pile, Lane::Control, "pong.".into(), now);
        let run = |n: u8| String::from_utf8(vec![b'0' + n; half]).unwrap();
        let expected = [
            "pong.",
            &run(0),
            &run(1),
            "latest1.lossy.",
            &run(2),
            &run(3),
            "latest2.",
        ]
        .concat();
        assert_eq!(front(&outbox, &pile), expected);
        // However it is taken, it comes in that order.
        let mut seen = String::new();
        for len in [3, half, 7, half, 2, 5, 1_000_000] {
            let shown = front(&outbox, &pile);
            let len = len.min(shown.len());
            seen.push_str(&shown[..len]);
            outbox.advance(&mut pile, len);
        }
        assert_eq!(seen, expected);
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
    fn bytes_and_time_are_bounded_but_a_first_frame_always_fits() {
        let limits = Limits {
            outbox_bytes_max: 1_000,
            outbox_age_max: Duration::from_secs(4),
            outbox_age_soft: Duration::from_secs(1),
            ..Limits::default()
        };
        let (mut pile, mut outbox) = (Pile::default(), Outbox::default());
        let ms = |n: u64| Moment(n * 1_000_000);
        let pace = Pace::default();
        assert!(!outbox.is_over(&pile, pace, 2_000, &limits, ms(0)));
        outbox.push(&mut pile, Lane::Reliable, vec![0; 100].into(), ms(0));
        assert!(outbox.is_over(&pile, pace, 900, &limits, ms(0)));
        assert!(!outbox.is_over(&pile, pace, 10, &limits, ms(4_000)));
        assert!(outbox.is_over(&pile, pace, 10, &limits, ms(4_002)));
        // A byte every 20 ms: the frame would wait two seconds and more.
        let mut slow = Pace::default();
        for n in 1..100 {
            slow.learn(20, 1_000, ms(n * 20));
        }
        assert_eq!(slow.time_for(100), Duration::from_millis(100));
        assert!(!outbox.is_over_soft(slow, &limits));
        outbox.push(&mut pile, Lane::Reliable, vec![0; 400].into(), ms(0));
        assert!(
            outbox.is_over_soft(pace, &limits),
            "bytes have a ceiling of their own"
        );
        let limits = Limits {
            outbox_age_max: Duration::from_millis(1_200),
            ..limits
        };
        assert!(
            !outbox.is_over(&pile, slow, 10, &limits, ms(900)),
            "not long enough to be believed"
        );
        assert!(outbox.is_over(&pile, slow, 10, &limits, ms(1_001)));
        assert!(!outbox.is_over(&pile, pace, 10, &limits, ms(1_001)));
    }
}

//! A room's recent past and what is still to be fanned out: one sequence.
//!
//! Every entry is encoded at most once per kind of link, when the first subscriber
//! of that kind needs it. A subscriber holds the number of the next entry it needs,
//! so one visit gives it everything that came since the last visit, joined into one
//! piece of bytes that all subscribers who stood at the same place share.
//!
//! ```text
//!   first               walked            end
//!     │ the replay window │ still to fan out │
//!     ├───┬───┬───┬───┬───┼───┬───┬───┬──────┤
//! ```
//!
//! Bounds: entries below `walked` are trimmed by count and bytes; those above are
//! bounded by the shard, which stops taking events from the engine (`Shard::wants_events`).

use std::collections::VecDeque;

use bytes::Bytes;
use tidegate_wire::{
    Offset, Publication, RoomName,
    frame::{MembersChange, Push},
};

use crate::{
    encoder::{Encoder, LINKS},
    shard::Link,
};

/// Frames joined for one visit are at most this long; more are several pieces.
const JOINED_BYTES_MAX: usize = 64 << 10;
/// Joined pieces kept at a time. Past it frames go one by one, which copies nothing.
const JOINED_PIECES_MAX: usize = 32;

/// What decides which bytes a subscriber gets: its link, and whether it watches members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant(u8);

impl Variant {
    /// Makes one.
    pub fn new(link: Link, watches_members: bool) -> Self {
        Self((link.number() + if watches_members { LINKS } else { 0 }) as u8)
    }

    /// Whether it receives members pushes.
    pub fn watches_members(self) -> bool {
        usize::from(self.0) >= LINKS
    }

    fn link(self) -> Link {
        Link::from_number(usize::from(self.0) % LINKS)
    }
}

/// One thing that happened in a room.
#[derive(Debug, Clone)]
pub enum Item {
    /// Goes to every subscriber.
    Publication(Publication),
    /// Goes to those who watch members.
    Members(MembersChange),
    /// Goes to every subscriber.
    Gap(Push),
}

struct Entry {
    item: Item,
    weight: u32,
    frames: [Option<Bytes>; LINKS],
}

struct Piece {
    variant: Variant,
    from: u64,
    to: u64,
    batch: Batch,
}

/// Bytes for one subscriber, and how many publications are in them.
#[derive(Clone)]
pub struct Batch {
    /// One or more whole frames; may be empty.
    pub bytes: Bytes,
    /// Publications in them.
    pub publications: u32,
}

/// See the module.
#[derive(Default)]
pub struct Feed {
    entries: VecDeque<Entry>,
    first: u64,
    walked: u64,
    bytes: usize,
    pending_bytes: usize,
    complete_since: Offset,
    /// Entries below this number are of a history that broke off: never replayed.
    replay_from: u64,
    pieces: Vec<Piece>,
}

impl Feed {
    /// Adds an entry to be fanned out; returns its weight.
    pub fn push(&mut self, item: Item) -> usize {
        let weight = self.push_walked(item);
        self.pending_bytes += weight;
        weight
    }

    /// Begins anew after an attach: `window` is known, nothing of it is to be fanned out.
    pub fn restart(&mut self, head: Offset, window: Vec<Publication>) {
        debug_assert!(self.walked == self.end(), "restarted with subscribers waiting");
        self.first = self.end();
        self.entries.clear();
        self.pieces.clear();
        self.bytes = 0;
        self.complete_since = window.first().map_or(head, |first| first.offset - 1);
        for publication in window {
            self.push_walked(Item::Publication(publication));
        }
        self.walked = self.end();
    }

    fn push_walked(&mut self, item: Item) -> usize {
        let weight = match &item {
            Item::Publication(publication) => publication.weight(),
            Item::Members(change) => 64 * (change.joined.len() + change.left.len()),
            Item::Gap(_) => 0,
        } + size_of::<Entry>();
        self.bytes += weight;
        self.entries.push_back(Entry {
            item,
            weight: weight as u32,
            frames: [const { None }; LINKS],
        });
        weight
    }

    /// The number the next entry will get.
    pub fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Every publication with a greater offset, up to the head, is here.
    pub fn complete_since(&self) -> Offset {
        self.complete_since
    }

    /// Bytes of all entries.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of entries that some subscriber has not got yet.
    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// What is here so far is of a history that broke off; a new one goes on after `offset`.
    pub fn break_at(&mut self, offset: Offset) {
        self.complete_since = offset;
        self.replay_from = self.end();
    }

    /// A walk begins: what was joined for the last one is of no more use.
    pub fn start_walk(&mut self) {
        self.pieces.clear();
    }

    /// Every subscriber has got everything below `seq`. Returns the bytes that are no longer pending.
    pub fn finish_walk(&mut self, seq: u64) -> usize {
        let range = (self.walked.max(self.first) - self.first) as usize..(seq - self.first) as usize;
        let done: usize = self.entries.range(range).map(|e| e.weight as usize).sum();
        self.walked = seq;
        self.pending_bytes -= done;
        if self.walked == self.end() {
            self.pieces = Vec::new();
        }
        done
    }

    /// Trims the replay window to `count` entries and `bytes`; what is pending stays.
    /// Returns the bytes freed.
    pub fn trim(&mut self, count: usize, bytes: usize) -> usize {
        let before = self.bytes;
        while (self.entries.len() > count || self.bytes > bytes) && self.first < self.walked {
            let entry = self.entries.pop_front().expect("first < walked <= end");
            self.first += 1;
            self.bytes -= entry.weight as usize;
            if let (Item::Publication(publication), true) = (entry.item, self.first > self.replay_from) {
                self.complete_since = self.complete_since.max(publication.offset);
            }
        }
        before - self.bytes
    }

    /// How many entries are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The publications after `offset`, oldest first, with their entries' numbers.
    pub fn publications_after(&self, offset: Offset) -> impl DoubleEndedIterator<Item = (u64, &Publication)> {
        let first = self.first;
        let broken = self.replay_from.saturating_sub(first) as usize;
        let numbered = self.entries.iter().enumerate().skip(broken);
        numbered.filter_map(move |(place, entry)| match &entry.item {
            Item::Publication(publication) if publication.offset > offset => {
                Some((first + place as u64, publication))
            }
            Item::Publication(_) | Item::Members(_) | Item::Gap(_) => None,
        })
    }

    /// The frame of one entry; empty if this variant does not get it.
    pub fn frame(&mut self, seq: u64, variant: Variant, room: &RoomName, encoder: &mut Encoder) -> Batch {
        let entry = &mut self.entries[(seq - self.first) as usize];
        let publications = u32::from(matches!(entry.item, Item::Publication(_)));
        if matches!(entry.item, Item::Members(_)) && !variant.watches_members() {
            return Batch {
                bytes: Bytes::new(),
                publications: 0,
            };
        }
        let link = variant.link();
        let bytes = entry.frames[link.number()].get_or_insert_with(|| match &entry.item {
            Item::Publication(publication) => encoder.event(link, room, publication),
            Item::Members(change) => encoder.push(link, &Push::Members(change.clone())),
            Item::Gap(gap) => encoder.push(link, gap),
        });
        Batch {
            bytes: bytes.clone(),
            publications,
        }
    }

    /// The next bytes for a subscriber that stands at `seq`, and where it stands then.
    /// Several frames are joined once, for all who stand there.
    pub fn batch(
        &mut self,
        seq: u64,
        variant: Variant,
        room: &RoomName,
        encoder: &mut Encoder,
    ) -> (Batch, u64) {
        if seq + 1 == self.end() {
            return (self.frame(seq, variant, room, encoder), seq + 1);
        }
        let known = self.pieces.iter().find(|p| p.from == seq && p.variant == variant);
        if let Some(piece) = known {
            return (piece.batch.clone(), piece.to);
        }
        if self.pieces.len() == JOINED_PIECES_MAX {
            return (self.frame(seq, variant, room, encoder), seq + 1);
        }
        let mut joined = Vec::new();
        let (mut to, mut publications) = (seq, 0);
        while to < self.end() {
            let next = self.frame(to, variant, room, encoder);
            if !joined.is_empty() && joined.len() + next.bytes.len() > JOINED_BYTES_MAX {
                break;
            }
            joined.extend_from_slice(&next.bytes);
            publications += next.publications;
            to += 1;
        }
        let batch = Batch {
            bytes: joined.into(),
            publications,
        };
        self.pieces.push(Piece {
            variant,
            from: seq,
            to,
            batch: batch.clone(),
        });
        (batch, to)
    }
}

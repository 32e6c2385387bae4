//! What retention must know of a room's kept publications, by chunks: so that it neither reads
//! nor removes one at a time.
//!
//! A chunk holds up to a sixteenth of what the policy keeps, at least one publication. The oldest chunk goes
//! as soon as the rest is enough by count, or what is kept is too much by bytes, or all of it is too
//! old. So up to a chunk more than the policy's count stays on disk; readers are not shown it.

use std::collections::VecDeque;

use tidegate_core::policy::Retention as Bounds;
use tidegate_wire::{Offset, Publication};

use crate::store::Header;

/// Parts of a bound that make a chunk.
const PARTS: u64 = 16;
/// Publications in a chunk at most.
const CHUNK_MAX: u64 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Chunk {
    last: Offset,
    count: u64,
    bytes: u64,
    first_us: u64,
    last_us: u64,
}

impl Chunk {
    fn has_place(&self, at_us: u64, bounds: &Bounds) -> bool {
        let count_max = (u64::from(bounds.count) / PARTS).min(CHUNK_MAX);
        let age_us = bounds.age.as_micros() as u64;
        self.count < count_max && self.bytes < bounds.bytes / PARTS && at_us < self.first_us + age_us / PARTS
    }
}

/// What is to be done with a room's oldest publications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// They stay.
    Nothing,
    /// Nobody has looked at them since the room was loaded: read up to this offset, then `learn`.
    Read(Offset),
    /// `drop_oldest`.
    Drop,
}

/// See the module.
#[derive(Debug)]
pub struct Retention {
    /// Of what was there when the room was loaded, the oldest that were looked at.
    before: VecDeque<Chunk>,
    /// All that came since,
    since: VecDeque<Chunk>,
    /// from this offset on.
    since_from: Offset,
}

impl Retention {
    /// Of a room as it was loaded.
    pub fn new(header: &Header) -> Self {
        Self {
            before: VecDeque::new(),
            since: VecDeque::new(),
            since_from: header.head.offset + 1,
        }
    }

    /// A publication was ordered and is kept.
    pub fn append(&mut self, publication: &Publication, bounds: &Bounds) {
        append(&mut self.since, publication, bounds);
    }

    /// What is to be done now.
    pub fn due(&self, header: &Header, bounds: &Bounds, now_us: u64) -> Due {
        let before_us = now_us.saturating_sub(bounds.age.as_micros() as u64);
        let is_heavy = header.bytes > bounds.bytes && header.count() > 1;
        if header.count() == 0 {
            return Due::Nothing;
        }
        let is_unknown = self.before.is_empty() && header.oldest < self.since_from;
        if is_unknown {
            let is_over =
                header.count() > u64::from(bounds.count) || is_heavy || header.oldest_us < before_us;
            let to = (header.oldest + CHUNK_MAX).min(self.since_from) - 1;
            return if is_over { Due::Read(to) } else { Due::Nothing };
        }
        let Some(chunk) = self.before.front().or(self.since.front()) else {
            return Due::Nothing;
        };
        let rest = header.head.offset - chunk.last;
        let is_over = rest >= u64::from(bounds.count) || is_heavy || chunk.last_us < before_us;
        if is_over { Due::Drop } else { Due::Nothing }
    }

    /// Takes what was read of the oldest publications, up to the offset that `due` named.
    pub fn learn(&mut self, to: Offset, read: &[Publication], bounds: &Bounds, header: &Header) {
        for publication in read {
            append(&mut self.before, publication, bounds);
        }
        match self.before.back_mut() {
            Some(chunk) => chunk.last = to,
            // They cannot be read: they weigh as much as others, and are as young as can be.
            None => {
                let count = 1 + to - header.oldest;
                self.before.push_back(Chunk {
                    last: to,
                    count,
                    bytes: header.bytes / header.count().max(1) * count,
                    first_us: header.oldest_us,
                    last_us: header.touched_us,
                });
            }
        }
    }

    /// Takes the oldest chunk out of the header; the store removes it later. Returns how many that were.
    pub fn drop_oldest(&mut self, header: &mut Header) -> u64 {
        let Some(gone) = self.before.pop_front().or_else(|| self.since.pop_front()) else {
            return 0;
        };
        let next = self.before.front().or_else(|| {
            let is_next = gone.last + 1 >= self.since_from;
            self.since.front().filter(|_| is_next)
        });
        header.oldest = gone.last + 1;
        header.bytes = header.bytes.saturating_sub(gone.bytes);
        // Unknown where nobody looked yet: then at least as old as those that went.
        header.oldest_us = next.map_or(gone.last_us, |next| next.first_us);
        if header.count() == 0 {
            (header.oldest_us, header.bytes) = (0, 0);
        }
        gone.count
    }

    /// Bytes in memory.
    pub fn memory_bytes(&self) -> usize {
        (self.before.len() + self.since.len()) * size_of::<Chunk>()
    }
}

fn append(chunks: &mut VecDeque<Chunk>, publication: &Publication, bounds: &Bounds) {
    let (bytes, at_us) = (publication.weight() as u64, publication.stamps.ordered_us);
    match chunks.back_mut() {
        Some(chunk) if chunk.has_place(at_us, bounds) => {
            chunk.last = publication.offset;
            chunk.count += 1;
            chunk.bytes += bytes;
            chunk.last_us = at_us;
        }
        _ => chunks.push_back(Chunk {
            last: publication.offset,
            count: 1,
            bytes,
            first_us: at_us,
            last_us: at_us,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tidegate_wire::{Epoch, Payload, Position, Stamps};

    use super::*;

    const COUNT: u32 = 100;
    const BYTES: u64 = 4_000;
    const AGE_US: u64 = 1_000;

    fn bounds() -> Bounds {
        Bounds {
            count: COUNT,
            bytes: BYTES,
            age: Duration::from_micros(AGE_US),
        }
    }

    fn publication(offset: Offset, size: usize, at_us: u64) -> Publication {
        Publication {
            offset,
            data: Payload::Bytes(vec![0; size].into()),
            from: Default::default(),
            msg: Default::default(),
            key: Default::default(),
            lane: None,
            stamps: Stamps {
                sent_us: 0,
                received_us: 0,
                ordered_us: at_us,
            },
        }
    }

    proptest! {
        /// Publications of random size and pace; the room is loaded anew now and then, and some of what is read
        /// then is damaged.
        #[test]
        fn a_room_keeps_what_its_policy_says_and_a_chunk_more_at_most(
            steps in prop::collection::vec((1..120usize, 0..40u64, prop::bool::weighted(0.02)), 1..600),
            damaged in prop::bool::weighted(0.2),
        ) {
            let mut header = Header {
                id: 1,
                head: Position { epoch: Epoch(1), offset: 0 },
                oldest: 1,
                oldest_us: 0,
                bytes: 0,
                touched_us: 0,
            };
            let mut kept: VecDeque<Publication> = VecDeque::new();
            let mut retention = Retention::new(&header);
            let mut now_us = 1_000_000;
            for (size, pause_us, is_loaded_anew) in steps {
                now_us += pause_us;
                if is_loaded_anew {
                    retention = Retention::new(&header);
                }
                let new = publication(header.head.offset + 1, size, now_us);
                if header.count() == 0 {
                    header.oldest_us = now_us;
                }
                header.head.offset = new.offset;
                header.touched_us = now_us;
                header.bytes += new.weight() as u64;
                retention.append(&new, &bounds());
                kept.push_back(new);
                loop {
                    match retention.due(&header, &bounds(), now_us) {
                        Due::Nothing => break,
                        Due::Drop => {
                            prop_assert!(retention.drop_oldest(&mut header) > 0);
                            kept.retain(|p| p.offset >= header.oldest);
                        }
                        Due::Read(to) => {
                            let read: Vec<_> = kept.iter().take_while(|p| p.offset <= to).cloned().collect();
                            prop_assert_eq!(read[0].offset, header.oldest);
                            retention.learn(to, if damaged { &[] } else { &read }, &bounds(), &header);
                        }
                    }
                }
                prop_assert_eq!(header.count(), kept.len() as u64);
                prop_assert!(header.count() > 0, "the newest goes by age alone");
                prop_assert!(header.count() < u64::from(COUNT + COUNT / 16 + CHUNK_MAX as u32));
                if !damaged {
                    let bytes: usize = kept.iter().map(Publication::weight).sum();
                    prop_assert_eq!(header.bytes, bytes as u64);
                    prop_assert!(header.bytes <= BYTES);
                    prop_assert!(kept[0].stamps.ordered_us + AGE_US + AGE_US / 16 >= now_us);
                    prop_assert!(header.oldest_us <= kept[0].stamps.ordered_us);
                }
            }
        }
    }
}

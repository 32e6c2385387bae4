//! Which epoch a room begins in that the store knows nothing of.
//!
//! It is derived, not drawn, so that looking at a room writes nothing and a restart gives the same: who stands
//! at offset 0 of a silent room has missed nothing.
//!
//! ```text
//!   epoch = hash(store's id, generation, last forgotten in the name's slot, name)
//! ```
//!
//! Whatever may have taken a room's publications changes one of these: another store its id, a power cut the
//! generation, and the sweep, in the batch that takes the room out, what its slot says.

use std::hash::{DefaultHasher, Hasher};

use tidegate_wire::{Epoch, RoomName};

/// Slots that names share: to forget a room gives a new epoch to the silent rooms of its slot, and to no other.
/// Their keys and numbers take at most 1.2 MB of the store, however many rooms come and go.
const SLOTS: u64 = 1 << 16;

/// Of the store, since it was opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fresh {
    /// The store's id: random, made with it.
    pub store: u64,
    /// Rises when what was written may be gone.
    pub generation: u64,
}

impl Fresh {
    /// The epoch of a room of which there is nothing; `forgotten` is what its slot says.
    ///
    /// With another release of the standard library the hash may be another one: then every epoch it gives is
    /// new, which is more than is needed and never a lie.
    pub(super) fn epoch(self, room: &RoomName, forgotten: u64) -> Epoch {
        let mut hasher = DefaultHasher::new();
        for number in [self.store, self.generation, forgotten] {
            hasher.write(&number.to_le_bytes());
        }
        hasher.write(room.as_bytes());
        Epoch(hasher.finish())
    }
}

/// Where the store keeps the id of the room that was last forgotten among those of this name's slot. An id is
/// given to one room and goes once, so no slot ever says the same again.
pub(super) fn slot_key(room: &RoomName) -> Vec<u8> {
    let mut hasher = DefaultHasher::new();
    hasher.write(room.as_bytes());
    let slot = (hasher.finish() % SLOTS) as u16;
    [b"forgotten".as_slice(), &slot.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_may_have_taken_a_room_gives_it_another_epoch() {
        let name = |name: &str| RoomName::parse(name).unwrap();
        let (room, other) = (name("chat:a"), name("chat:b"));
        let fresh = Fresh {
            store: 1,
            generation: 2,
        };
        let epoch = fresh.epoch(&room, 3);
        assert_eq!(epoch, fresh.epoch(&room, 3));
        let others = [
            fresh.epoch(&other, 3),
            fresh.epoch(&room, 4),
            Fresh { store: 2, ..fresh }.epoch(&room, 3),
            Fresh {
                generation: 3,
                ..fresh
            }
            .epoch(&room, 3),
        ];
        assert!(!others.contains(&epoch), "{epoch} {others:?}");
        assert_eq!(slot_key(&room), slot_key(&name("chat:a")));
        assert_ne!(
            slot_key(&room),
            slot_key(&other),
            "one goes, the other keeps its epoch"
        );
    }
}

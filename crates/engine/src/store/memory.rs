//! Rooms in memory: a restart forgets everything.

use std::collections::{BTreeMap, VecDeque};

use tidegate_core::state::Newest;
use tidegate_wire::{Offset, Position, Publication, RoomName};

use super::{Found, Header, Range, Remembered, new_epoch};

/// See the module.
#[derive(Default)]
pub struct MemoryStore {
    rooms: BTreeMap<RoomName, Header>,
    publications: hashbrown::HashMap<u64, VecDeque<Publication>, foldhash::fast::RandomState>,
    /// The newest of each key, by room.
    held: hashbrown::HashMap<u64, BTreeMap<Offset, Publication>, foldhash::fast::RandomState>,
    ids: u64,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn load(&mut self, room: &RoomName) -> (Header, Vec<Remembered>) {
        let ids = &mut self.ids;
        let header = self.rooms.entry(room.clone()).or_insert_with(|| {
            *ids += 1;
            Header {
                id: *ids,
                head: Position {
                    epoch: new_epoch(),
                    offset: 0,
                },
                oldest: 1,
                oldest_us: 0,
                bytes: 0,
                touched_us: 0,
            }
        });
        (*header, Vec::new())
    }

    pub(super) fn append(&mut self, header: &Header, publication: &Publication) {
        let kept = self.publications.entry(header.id).or_default();
        kept.push_back(publication.clone());
    }

    pub(super) fn write_header(&mut self, room: &RoomName, header: &Header) {
        self.rooms.insert(room.clone(), *header);
    }

    pub(super) fn trim(&mut self, room: &RoomName, header: &Header) {
        self.write_header(room, header);
        if let Some(kept) = self.publications.get_mut(&header.id) {
            let gone = kept.partition_point(|p| p.offset < header.oldest);
            kept.drain(..gone);
            if kept.is_empty() {
                self.publications.remove(&header.id);
            }
        }
    }

    pub(super) fn remove(&mut self, room: &RoomName) {
        if let Some(header) = self.rooms.remove(room) {
            self.publications.remove(&header.id);
            self.held.remove(&header.id);
        }
    }

    pub(super) fn hold(&mut self, header: &Header, publication: &Publication) {
        let held = self.held.entry(header.id).or_default();
        held.insert(publication.offset, publication.clone());
    }

    pub(super) fn let_go(&mut self, header: &Header, offset: Offset) {
        if let Some(held) = self.held.get_mut(&header.id) {
            held.remove(&offset);
            if held.is_empty() {
                self.held.remove(&header.id);
            }
        }
    }

    pub(super) fn load_state(&self, header: &Header) -> Vec<Newest<()>> {
        let held = self.held.get(&header.id).into_iter().flatten();
        held.map(|(_, publication)| Newest::of(publication)).collect()
    }

    pub(super) fn has_state(&self, header: &Header) -> bool {
        self.held.contains_key(&header.id)
    }

    pub(super) fn read_one(&self, header: &Header, offset: Offset) -> Option<Publication> {
        self.held.get(&header.id)?.get(&offset).cloned()
    }

    pub(super) fn read(&self, header: &Header, range: Range) -> Vec<Publication> {
        let Some(kept) = self.publications.get(&header.id) else {
            return Vec::new();
        };
        let from = kept.partition_point(|p| p.offset < range.from);
        let to = kept.partition_point(|p| p.offset <= range.to).max(from);
        let found = kept.range(from..to);
        match range.reverse {
            true => take(found.rev(), range),
            false => take(found, range),
        }
    }

    pub(super) fn rooms_after(&self, after: &[u8], limit: usize) -> Found {
        let rooms = self.rooms.iter().skip_while(|(name, _)| name.as_bytes() <= after);
        let found: Vec<_> = rooms
            .take(limit)
            .map(|(name, header)| (name.clone(), *header))
            .collect();
        let last = found.last().filter(|_| found.len() == limit);
        let next = last.map(|(name, _)| name.as_bytes().to_vec());
        (found, next)
    }
}

fn take<'a>(found: impl Iterator<Item = &'a Publication>, range: Range) -> Vec<Publication> {
    let mut bytes = 0;
    let fits = |publication: &&Publication| {
        let is_first = bytes == 0;
        bytes += publication.weight().max(1);
        is_first || bytes <= range.bytes_max
    };
    found.take(range.limit).take_while(fits).cloned().collect()
}

//! Rooms on disk, in fjall: a few keyspaces, one journal, one batch per group.
//!
//! ```text
//!   rooms         name                  → header
//!   publications  id ‖ offset           → publication        big-endian, so that order is order
//!   messages      id ‖ from ‖ ff ‖ msg  → offset, time
//!   state         id ‖ key              → offset, time, weight of the key's newest publication
//!   meta          id, next_id, generation, boot, clean, forgotten ‖ slot
//! ```
//!
//! The newest publication of a key stays among the publications when history is trimmed, below the room's oldest.
//!
//! **What a power cut may take.** A room that is not synced may lose its newest offsets, which
//! subscribers have seen. The store notes the kernel's boot id and whether it was closed: if the
//! machine went down without closing it, the *generation* rises, and such a room gets a new epoch when it
//! is next opened. A killed process alone loses nothing: what was committed is with the kernel.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::{Buf, BufMut, Bytes};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch as WriteBatch, PersistMode};
use tidegate_core::{
    Policy,
    policy::Durability,
    state::{Newest, State},
};
use tidegate_wire::{Offset, Position, Publication, RoomName};

use super::{
    Found, Header, Range, Remembered, StoreError,
    fresh::{Fresh, slot_key},
    new_epoch, record,
};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Room ids are taken in blocks, so that a new room costs no extra write.
const ID_BLOCK: u64 = 1024;
/// Bytes of headers in memory before they are flushed: a sweep steps over all versions of a header that are there.
const ROOMS_MEMTABLE: u64 = 8 << 20;
/// Of the threads that flush and compact.
const WORKER_NICE: i32 = 10;

/// See the module.
pub struct LogStore {
    dir: PathBuf,
    /// None between a failure and a reopening that succeeded.
    open: Option<Open>,
}

struct Open {
    db: Database,
    rooms: Keyspace,
    publications: Keyspace,
    messages: Keyspace,
    state: Keyspace,
    meta: Keyspace,
    batch: Option<WriteBatch>,
    fresh: Fresh,
    next_id: u64,
    ids_end: u64,
}

impl LogStore {
    /// Opens the store, or makes it.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let mut store = Self {
            dir: dir.to_owned(),
            open: None,
        };
        store.open_again(false)?;
        Ok(store)
    }

    fn open_again(&mut self, suspect_sync: bool) -> Result<(), StoreError> {
        let dir = self.dir.display().to_string();
        let failed = |why: fjall::Error| match why {
            fjall::Error::Locked => StoreError::Locked(dir.clone()),
            other => StoreError::Open {
                dir: dir.clone(),
                why: words(&other),
            },
        };
        fs::create_dir_all(&self.dir).map_err(|error| failed(error.into()))?;
        let db = open_in_background(&self.dir).map_err(failed)?;
        let keyspace = |name| db.keyspace(name, KeyspaceCreateOptions::default);
        let rooms = || KeyspaceCreateOptions::default().max_memtable_size(ROOMS_MEMTABLE);
        let mut open = Open {
            rooms: db.keyspace("rooms", rooms).map_err(failed)?,
            publications: keyspace("publications").map_err(failed)?,
            messages: keyspace("messages").map_err(failed)?,
            state: keyspace("state").map_err(failed)?,
            meta: keyspace("meta").map_err(failed)?,
            batch: None,
            fresh: Fresh {
                store: 0,
                generation: 0,
            },
            next_id: 0,
            ids_end: 0,
            db: db.clone(),
        };
        let number = |key: &str| -> Result<u64, StoreError> {
            let value = open.meta.get(key).map_err(failed)?;
            Ok(value.and_then(|v| (&v[..]).try_get_u64_le().ok()).unwrap_or(0))
        };
        let boot = fs::read(BOOT_ID).unwrap_or_default();
        let boot_before = open.meta.get("boot").map_err(failed)?;
        let was_closed = number("clean")? == 1;
        let rebooted = boot_before.is_some_and(|before| before[..] != boot[..]);
        let generation = number("generation")? + u64::from(suspect_sync || (rebooted && !was_closed));
        let next_id = number("next_id")?;
        // None in a new store, and in one from before there were any.
        let id = match number("id")? {
            0 => new_epoch().0,
            id => id,
        };
        open.fresh = Fresh {
            store: id,
            generation,
        };
        open.next_id = next_id;
        open.ids_end = next_id;

        // Also proves that writing works.
        let mut batch = db.batch();
        batch.insert(&open.meta, "boot", boot);
        batch.insert(&open.meta, "clean", 0u64.to_le_bytes());
        batch.insert(&open.meta, "generation", generation.to_le_bytes());
        batch.insert(&open.meta, "id", id.to_le_bytes());
        batch.commit().map_err(failed)?;
        db.persist(PersistMode::SyncAll).map_err(failed)?;
        self.open = Some(open);
        Ok(())
    }

    pub(super) fn reopen(&mut self, suspect_sync: bool) -> Result<(), StoreError> {
        // The old one must let go of its lock first.
        self.open = None;
        self.open_again(suspect_sync)
    }

    fn opened(&self) -> Result<&Open, StoreError> {
        let closed = || StoreError::Write("the store is not open after a failure".to_owned());
        self.open.as_ref().ok_or_else(closed)
    }

    pub(super) fn load(
        &mut self,
        room: &RoomName,
        policy: &Policy,
    ) -> Result<(Header, Vec<Remembered>), StoreError> {
        let dir = self.dir.display().to_string();
        let closed = || StoreError::Write("the store is not open after a failure".to_owned());
        let open = self.open.as_mut().ok_or_else(closed)?;
        let Some(found) = open.rooms.get(room.as_bytes()).map_err(read_failed)? else {
            let epoch = open.fresh.epoch(room, open.last_forgotten(room)?);
            let header = Header {
                id: open.take_id()?,
                head: Position { epoch, offset: 0 },
                oldest: 1,
                oldest_us: 0,
                bytes: 0,
                touched_us: 0,
            };
            // Written with its first publication: looking at a room makes nothing.
            return Ok((header, Vec::new()));
        };
        let what = "room";
        let (mut header, generation) =
            record::read_header(&found).ok_or(StoreError::Damaged { dir, what })?;
        open.find_head(&mut header)?;
        if generation != open.fresh.generation && policy.durability == Durability::Append {
            header.head.epoch = new_epoch();
            let value = record::write_header(&header, open.fresh.generation);
            open.stage(|batch, open| batch.insert(&open.rooms, room.as_bytes(), value));
        }
        let mut remembered = Vec::new();
        for guard in open.messages.prefix(header.id.to_be_bytes()) {
            let (key, value) = guard.into_inner().map_err(read_failed)?;
            let mut value = &value[..];
            if let (Ok(offset), Ok(at_us)) = (value.try_get_u64_le(), value.try_get_u64_le()) {
                remembered.push(Remembered {
                    key: Bytes::copy_from_slice(&key[8..]),
                    offset,
                    at_us,
                });
            }
        }
        remembered.sort_by_key(|message| (message.at_us, message.offset));
        Ok((header, remembered))
    }

    pub(super) fn append(&mut self, header: &Header, publication: &Publication) {
        if let Some(open) = &mut self.open {
            let key = publication_key(header.id, publication.offset);
            let record = record::write_publication(publication);
            open.stage(|batch, open| batch.insert(&open.publications, key, record));
        }
    }

    pub(super) fn write_header(&mut self, room: &RoomName, header: &Header) {
        if let Some(open) = &mut self.open {
            let record = record::write_header(header, open.fresh.generation);
            open.stage(|batch, open| batch.insert(&open.rooms, room.as_bytes(), record));
        }
    }

    pub(super) fn remember(&mut self, header: &Header, message: &Remembered) {
        if let Some(open) = &mut self.open {
            let mut value = Vec::with_capacity(16);
            value.put_u64_le(message.offset);
            value.put_u64_le(message.at_us);
            let key = id_key(header.id, &message.key);
            open.stage(|batch, open| batch.insert(&open.messages, key, value));
        }
    }

    pub(super) fn forget(&mut self, header: &Header, key: &Bytes) {
        if let Some(open) = &mut self.open {
            let key = id_key(header.id, key);
            open.stage(|batch, open| batch.remove(&open.messages, key));
        }
    }

    pub(super) fn hold(&mut self, header: &Header, newest: &Newest<()>) {
        if let Some(open) = &mut self.open {
            let (key, record) = (id_key(header.id, &newest.key), record::write_newest(newest));
            open.stage(|batch, open| batch.insert(&open.state, key, record));
        }
    }

    pub(super) fn let_go(&mut self, header: &Header, offset: Offset) {
        // Above the oldest it is history's, and goes with it.
        if let Some(open) = self.open.as_mut().filter(|_| offset < header.oldest) {
            let key = publication_key(header.id, offset);
            open.stage(|batch, open| batch.remove(&open.publications, key));
        }
    }

    pub(super) fn forget_key(&mut self, header: &Header, key: &Bytes) {
        if let Some(open) = &mut self.open {
            let key = id_key(header.id, key);
            open.stage(|batch, open| batch.remove(&open.state, key));
        }
    }

    pub(super) fn load_state(&self, header: &Header) -> Result<Vec<Newest<()>>, StoreError> {
        let mut found = Vec::new();
        for guard in self.opened()?.state.prefix(header.id.to_be_bytes()) {
            let (key, value) = guard.into_inner().map_err(read_failed)?;
            found.extend(record::read_newest(Bytes::copy_from_slice(&key[8..]), &value));
        }
        Ok(found)
    }

    pub(super) fn has_state(&self, header: &Header) -> Result<bool, StoreError> {
        let first = self.opened()?.state.prefix(header.id.to_be_bytes()).next();
        let first = first.map(fjall::Guard::into_inner).transpose();
        first.map(|first| first.is_some()).map_err(read_failed)
    }

    pub(super) fn read_one(
        &self,
        header: &Header,
        offset: Offset,
    ) -> Result<Option<Publication>, StoreError> {
        let key = publication_key(header.id, offset);
        let found = self.opened()?.publications.get(key).map_err(read_failed)?;
        Ok(found.and_then(|record| record::read_publication(offset, &record)))
    }

    pub(super) fn trim(&mut self, room: &RoomName, header: &Header, from: Offset, held: &State<()>) {
        if let Some(open) = &mut self.open {
            open.stage(|batch, open| {
                for offset in (from..header.oldest).filter(|offset| held.at(*offset).is_none()) {
                    batch.remove(&open.publications, publication_key(header.id, offset));
                }
            });
        }
        self.write_header(room, header);
    }

    pub(super) fn remove(&mut self, room: &RoomName, header: &Header) {
        if let Some(open) = &mut self.open {
            open.stage(|batch, open| {
                batch.remove(&open.rooms, room.as_bytes());
                batch.insert(&open.meta, slot_key(room), header.id.to_le_bytes());
            });
        }
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.batch.is_some())
    }

    pub(super) fn commit(&mut self) -> Result<(), StoreError> {
        let closed = || StoreError::Write("the store is not open after a failure".to_owned());
        let open = self.open.as_mut().ok_or_else(closed)?;
        let Some(batch) = open.batch.take() else {
            return Ok(());
        };
        let outcome = batch.durability(Some(PersistMode::Buffer)).commit();
        outcome.map_err(|error| write_failed(&error))
    }

    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        let outcome = self.opened()?.db.persist(PersistMode::SyncData);
        outcome.map_err(|error| StoreError::Sync(words(&error)))
    }

    pub(super) fn read(&self, header: &Header, range: Range) -> Result<Vec<Publication>, StoreError> {
        let open = self.opened()?;
        let mut found = Vec::new();
        if range.from > range.to {
            return Ok(found);
        }
        let keys = publication_key(header.id, range.from)..=publication_key(header.id, range.to);
        let iter = open.publications.range(keys);
        let mut bytes = 0;
        let mut take = |guard: fjall::Guard| -> Result<bool, StoreError> {
            let (key, value) = guard.into_inner().map_err(read_failed)?;
            let offset = (&key[8..]).try_get_u64().ok();
            let publication = offset.and_then(|offset| record::read_publication(offset, &value));
            let Some(publication) = publication else {
                let dir = self.dir.display().to_string();
                let what = "publication";
                return Err(StoreError::Damaged { dir, what });
            };
            bytes += publication.weight().max(1);
            if !found.is_empty() && bytes > range.bytes_max {
                return Ok(false);
            }
            found.push(publication);
            Ok(found.len() < range.limit)
        };
        match range.reverse {
            true => {
                for guard in iter.rev() {
                    if !take(guard)? {
                        break;
                    }
                }
            }
            false => {
                for guard in iter {
                    if !take(guard)? {
                        break;
                    }
                }
            }
        }
        Ok(found)
    }

    pub(super) fn rooms_after(&self, after: &[u8], limit: usize) -> Result<Found, StoreError> {
        let open = self.opened()?;
        let start = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
        let (mut rooms, mut next) = (Vec::new(), None);
        for (seen, guard) in open.rooms.range::<&[u8], _>(start).take(limit).enumerate() {
            let (key, value) = guard.into_inner().map_err(read_failed)?;
            let name = std::str::from_utf8(&key)
                .ok()
                .and_then(|name| RoomName::parse(name).ok());
            if let (Some(name), Some((header, _))) = (name, record::read_header(&value)) {
                rooms.push((name, header));
            }
            next = (seen + 1 == limit).then(|| key.to_vec());
        }
        Ok((rooms, next))
    }

    pub(super) fn close(&mut self) -> Result<(), StoreError> {
        self.commit()?;
        self.sync()?;
        let open = self.opened()?;
        let failed = |error: fjall::Error| write_failed(&error);
        open.meta.insert("clean", 1u64.to_le_bytes()).map_err(failed)?;
        let outcome = open.db.persist(PersistMode::SyncAll);
        outcome.map_err(|error| StoreError::Sync(words(&error)))
    }
}

impl Open {
    fn stage(&mut self, write: impl FnOnce(&mut WriteBatch, &Open)) {
        let mut batch = self.batch.take().unwrap_or_else(|| self.db.batch());
        write(&mut batch, self);
        self.batch = Some(batch);
    }

    /// Publications that came after the header was written.
    fn find_head(&self, header: &mut Header) -> Result<(), StoreError> {
        let next = publication_key(header.id, header.head.offset + 1);
        for guard in self
            .publications
            .range(next..=publication_key(header.id, Offset::MAX))
        {
            let (key, value) = guard.into_inner().map_err(read_failed)?;
            header.head.offset = (&key[8..])
                .try_get_u64()
                .expect("eight bytes of a key of sixteen");
            // A damaged one is there all the same.
            if let Some(publication) = record::read_publication(header.head.offset, &value) {
                header.bytes += publication.weight() as u64;
                header.touched_us = publication.stamps.ordered_us;
            }
        }
        Ok(())
    }

    /// What the name's slot says; 0 if none of its rooms was ever forgotten.
    fn last_forgotten(&self, room: &RoomName) -> Result<u64, StoreError> {
        let found = self.meta.get(slot_key(room)).map_err(read_failed)?;
        Ok(found.and_then(|id| (&id[..]).try_get_u64_le().ok()).unwrap_or(0))
    }

    fn take_id(&mut self) -> Result<u64, StoreError> {
        if self.next_id == self.ids_end {
            self.ids_end += ID_BLOCK;
            let end = self.ids_end.to_le_bytes();
            // Rides with the batch of the room that needs it.
            self.stage(|batch, open| batch.insert(&open.meta, "next_id", end));
        }
        self.next_id += 1;
        Ok(self.next_id)
    }
}

/// Opens the database from a thread of low priority, which fjall's workers inherit: flushes and
/// compaction then take what the engine and the shards leave of a core (setpriority(2)).
fn open_in_background(dir: &Path) -> Result<Database, fjall::Error> {
    let dir = dir.to_owned();
    let open = move || {
        if let Err(error) = rustix::process::setpriority_process(None, WORKER_NICE) {
            tracing::debug!(%error, "the store's workers keep the usual priority");
        }
        let builder = Database::builder(dir).manual_journal_persist(true);
        builder.worker_threads(1).open()
    };
    let opener = std::thread::Builder::new()
        .name("tidegate-opener".into())
        .spawn(open)?;
    opener.join().expect("opening does not panic")
}

fn publication_key(id: u64, offset: Offset) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&id.to_be_bytes());
    key[8..].copy_from_slice(&offset.to_be_bytes());
    key
}

fn id_key(id: u64, key: &[u8]) -> Vec<u8> {
    [&id.to_be_bytes()[..], key].concat()
}

fn read_failed(error: fjall::Error) -> StoreError {
    StoreError::Read(words(&error))
}

/// A poisoned store failed where nobody asked, perhaps in a sync: what was not synced is suspect.
fn write_failed(error: &fjall::Error) -> StoreError {
    match error {
        fjall::Error::Poisoned => StoreError::Sync(words(error)),
        other => StoreError::Write(words(other)),
    }
}

/// The system's words where there are some.
fn words(error: &fjall::Error) -> String {
    match error {
        fjall::Error::Io(error) => error.to_string(),
        fjall::Error::Poisoned => "an earlier write failed".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_from_before_it_had_an_id_opens_and_gets_one() {
        let dir = tempfile::tempdir().unwrap();
        let (policy, now) = (Policy::with_defaults("chat"), 7);
        let name = |name: &str| RoomName::parse(name).unwrap();
        let (kept, silent) = (name("chat:kept"), name("chat:silent"));
        let mut store = LogStore::open(dir.path()).unwrap();
        let mut header = store.load(&kept, &policy).unwrap().0;
        (header.head.offset, header.oldest, header.touched_us) = (1, 2, now);
        store.write_header(&kept, &header);
        let before = store.load(&silent, &policy).unwrap().0.head;
        store.opened().unwrap().meta.remove("id").unwrap();
        store.close().unwrap();
        drop(store);

        let mut store = LogStore::open(dir.path()).unwrap();
        assert_eq!(store.load(&kept, &policy).unwrap().0, header);
        let after = store.load(&silent, &policy).unwrap().0.head;
        assert_ne!(before, after);
        store.reopen(false).unwrap();
        assert_eq!(store.load(&silent, &policy).unwrap().0.head, after);
        store.reopen(true).unwrap();
        let suspect = store.load(&silent, &policy).unwrap().0.head;
        assert_ne!(suspect, after, "what was published in it may be gone");
    }

    #[test]
    fn a_poisoned_store_is_suspected_of_a_lost_sync() {
        let poisoned = write_failed(&fjall::Error::Poisoned);
        assert!(matches!(poisoned, StoreError::Sync(_)), "{poisoned:?}");
        let full = write_failed(&std::io::Error::from(std::io::ErrorKind::StorageFull).into());
        assert!(matches!(full, StoreError::Write(_)), "{full:?}");
    }
}

//! What is done for rooms when nobody asks: what retention no longer keeps is removed, what is old is forgotten, and
//! what is idle leaves memory.
//!
//! All of it in bounded steps, for requests wait meanwhile. A room that cannot be read is left as it is, and said once.

use std::time::Duration;

use tidegate_core::{Moment, Policy};
use tidegate_wire::RoomName;

use super::{Rooms, add_lost, load};
use crate::{
    retention::Due,
    room::{Load, Loaded},
    state::has_to_stay,
    store::{Header, Range, Store, StoreError},
};

/// A room nobody asked for leaves memory after this.
const IDLE: Duration = Duration::from_secs(60);
/// Rooms looked at in one sweep.
const SWEEP_ROOMS: usize = 16;
/// What one call of `trim` may do: publications removed, and chunks read before that.
const TRIM_REMOVED_MAX: u64 = 1024;
const TRIM_READS_MAX: u32 = 1;

impl Rooms {
    /// Removes what retention no longer keeps; staged for the next commit. A bounded step: others wait for it.
    pub fn trim(&mut self, now_us: u64, store: &mut Store) -> Result<(), StoreError> {
        let (mut removed, mut reads) = (0, 0);
        while removed < TRIM_REMOVED_MAX && reads < TRIM_READS_MAX {
            // Room after room, so that one which always has something to remove keeps no other waiting.
            let next = self.to_trim.range(self.trim_at..).next();
            let Some(index) = next.or_else(|| self.to_trim.first()).copied() else {
                break;
            };
            self.trim_at = index + 1;
            let room = self.rooms.get_mut(index);
            let Some((name, policy, loaded)) =
                room.and_then(|room| Some((&room.name, &room.policy, room.loaded.as_mut()?)))
            else {
                self.to_trim.remove(&index);
                continue;
            };
            self.load -= loaded.load();
            let done = trim_step(name, policy, loaded, now_us, store);
            self.load += loaded.load();
            match done? {
                Trimmed::Nothing => _ = self.to_trim.remove(&index),
                Trimmed::Removed(count) => removed += count,
                Trimmed::Looked => reads += 1,
            }
        }
        Ok(())
    }

    /// Whether `trim` has more to do.
    pub fn wants_trim(&self) -> bool {
        !self.to_trim.is_empty()
    }

    /// Now and then: lets idle rooms leave memory, and ages what is kept of rooms that
    /// nobody publishes to. A bounded step.
    pub fn sweep(&mut self, now: Moment, now_us: u64, store: &mut Store) -> Result<(), StoreError> {
        for _ in 0..SWEEP_ROOMS.min(self.rooms.len()) {
            self.sweep_at = (self.sweep_at + 1) % self.rooms.capacity().max(1);
            let index = self.sweep_at;
            let Some(room) = self.rooms.get_mut(index) else {
                continue;
            };
            if let Some(loaded) = &mut room.loaded {
                self.load -= loaded.load();
                loaded.forget_old(&room.policy, now_us, store);
                loaded.state.step(&loaded.header, &room.policy, now_us, store);
                add_lost(&mut self.lost, loaded);
                self.load += loaded.load();
                if loaded.retention.due(&loaded.header, &room.policy.history, now_us) != Due::Nothing {
                    self.to_trim.insert(index);
                    continue;
                }
            }
            let is_idle = room.ports.is_empty() && room.presence.is_settled() && now.since(room.used) > IDLE;
            // In memory alone, a room's message ids live nowhere else.
            let is_kept_elsewhere = matches!(store, Store::Log(_));
            let remembers_nothing = room.loaded.as_ref().is_none_or(Loaded::remembers_nothing);
            if is_idle && (is_kept_elsewhere || remembers_nothing) {
                let room = self.rooms.remove(index);
                self.by_name.remove(&room.name);
                self.load -= room.loaded.map_or_else(Load::default, |loaded| loaded.load());
            }
        }
        self.sweep_store(now, now_us, store)
    }

    /// Ages rooms of the store that are not in memory, and forgets those that are long empty.
    fn sweep_store(&mut self, now: Moment, now_us: u64, store: &mut Store) -> Result<(), StoreError> {
        let (rooms, next) = store.rooms_after(&self.sweep_store_after, SWEEP_ROOMS)?;
        self.sweep_store_after = next.unwrap_or_default();
        for (name, header) in rooms {
            if self.by_name.contains_key(&name) {
                continue;
            }
            let Some(policy) = self.policies.of(&name).cloned() else {
                continue;
            };
            let age = policy.history.age.max(policy.dedup_age).as_micros() as u64;
            let is_aged =
                header.count() > 0 && header.oldest_us + (policy.history.age.as_micros() as u64) < now_us;
            let is_forgotten = header.count() == 0 && header.touched_us + age < now_us;
            if is_aged && let Some(index) = self.room(&name, now) {
                match load(&mut self.rooms[index], store, &mut self.load) {
                    Ok(_) => _ = self.to_trim.insert(index),
                    Err(error) => skip_damaged(&name, error)?,
                }
            } else if is_forgotten && let Err(error) = forget_room(&name, &policy, &header, now_us, store) {
                skip_damaged(&name, error)?;
            }
        }
        Ok(())
    }
}

/// Takes a room out of the store that has no history any more, unless it has a state.
fn forget_room(
    name: &RoomName,
    policy: &Policy,
    header: &Header,
    now_us: u64,
    store: &mut Store,
) -> Result<(), StoreError> {
    if has_to_stay(header, policy, now_us, store)? {
        return Ok(());
    }
    let (header, remembered) = store.load(name, policy)?;
    let keys = store.load_state(&header)?;
    for message in &remembered {
        store.forget(&header, &message.key);
    }
    for newest in &keys {
        store.forget_key(&header, &newest.key);
        store.let_go(&header, newest.offset);
    }
    store.remove(name, &header);
    Ok(())
}

/// One room's trouble is its own; any other is the store's.
fn skip_damaged(room: &RoomName, error: StoreError) -> Result<(), StoreError> {
    match error {
        StoreError::Damaged { .. } | StoreError::Read(_) => {
            tracing::warn!(%error, room = room.as_str(), "a room cannot be read; it is left as it is");
            Ok(())
        }
        other => Err(other),
    }
}

enum Trimmed {
    Nothing,
    Removed(u64),
    Looked,
}

/// Removes one chunk, or looks at one.
fn trim_step(
    name: &RoomName,
    policy: &Policy,
    loaded: &mut Loaded,
    now_us: u64,
    store: &mut Store,
) -> Result<Trimmed, StoreError> {
    let header = &mut loaded.header;
    let from = header.oldest;
    match loaded.retention.due(header, &policy.history, now_us) {
        Due::Nothing => Ok(Trimmed::Nothing),
        Due::Drop => {
            let count = loaded.retention.drop_oldest(header);
            store.trim(name, header, from, loaded.state.held());
            Ok(Trimmed::Removed(count))
        }
        Due::Read(to) => {
            let range = Range {
                from,
                to,
                limit: usize::MAX,
                bytes_max: usize::MAX,
                reverse: false,
            };
            let oldest = match store.read(header, range) {
                Ok(oldest) => oldest,
                // Said once: these are not read again.
                Err(error) => skip_damaged(name, error).map(|()| Vec::new())?,
            };
            loaded
                .retention
                .learn(to, &oldest, &policy.history, &loaded.header);
            Ok(Trimmed::Looked)
        }
    }
}

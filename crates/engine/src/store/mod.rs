//! Where rooms and their publications are kept: in memory, or on disk.
//!
//! Writes are staged, then committed as one batch, then, where a room asks for it, synced.
//! Reads see what was committed.

mod fresh;
mod log;
mod memory;
mod record;

use bytes::Bytes;
use tidegate_core::{
    Policy,
    state::{Newest, State},
};
use tidegate_wire::{Offset, Position, Publication, RoomName};

use crate::EngineConfig;
pub use log::LogStore;
pub use memory::MemoryStore;

/// What a store knows of a room without reading its publications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The store's own short name for it.
    pub id: u64,
    /// The last publication.
    pub head: Position,
    /// The oldest publication kept; `head.offset + 1` when none is.
    pub oldest: Offset,
    /// When that one was ordered, microseconds since the Unix epoch; 0 when none is kept.
    pub oldest_us: u64,
    /// Bytes of all that is kept.
    pub bytes: u64,
    /// When something was last published.
    pub touched_us: u64,
}

impl Header {
    /// Publications kept.
    pub fn count(&self) -> u64 {
        (self.head.offset + 1).saturating_sub(self.oldest)
    }
}

/// A message id that is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// Who sent it and the id: see `room::message_key`.
    pub key: Bytes,
    /// What it became.
    pub offset: Offset,
    /// When, microseconds since the Unix epoch.
    pub at_us: u64,
}

/// Which publications to read.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// The first offset.
    pub from: Offset,
    /// The last offset, included.
    pub to: Offset,
    /// At most this many.
    pub limit: usize,
    /// Stop before more than this many bytes, but after the first.
    pub bytes_max: usize,
    /// Newest first.
    pub reverse: bool,
}

/// Some rooms, and the name after which to look for more.
pub type Found = (Vec<(RoomName, Header)>, Option<Vec<u8>>);

/// What went wrong with the store. For the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error("the store in {0} is in use by another process; stop it, or set another `engine.dir`")]
    Locked(String),
    /// It cannot be opened.
    #[error("cannot open the store in {dir}: {why}")]
    Open {
        /// Where.
        dir: String,
        /// The system's words.
        why: String,
    },
    /// It was written by something else, or damaged.
    #[error("the store in {dir} holds a {what} that cannot be read")]
    Damaged {
        /// Where.
        dir: String,
        /// What.
        what: &'static str,
    },
    /// A write did not go through.
    #[error("writing failed: {0}")]
    Write(String),
    /// A sync did not go through: what was written since the last one may be lost.
    #[error("fdatasync failed: {0}")]
    Sync(String),
    /// A read did not go through.
    #[error("reading failed: {0}")]
    Read(String),
}

/// One of the backends.
pub enum Store {
    /// In memory.
    Memory(MemoryStore),
    /// On disk.
    Log(LogStore),
}

impl Store {
    /// Opens what the configuration names.
    pub fn open(config: &EngineConfig) -> Result<Self, StoreError> {
        Ok(match config {
            EngineConfig::Memory => Self::Memory(MemoryStore::new()),
            EngineConfig::Log(config) => Self::Log(LogStore::open(&config.dir)?),
        })
    }

    /// Finds a room, or makes it; with the message ids that are remembered for it, oldest first.
    pub fn load(
        &mut self,
        room: &RoomName,
        policy: &Policy,
    ) -> Result<(Header, Vec<Remembered>), StoreError> {
        match self {
            Self::Memory(store) => Ok(store.load(room)),
            Self::Log(store) => store.load(room, policy),
        }
    }

    /// Stages a publication that is to be kept, the room's newest. Its header may be written some
    /// publications later; that of an empty room must be written with it.
    pub fn append(&mut self, header: &Header, publication: &Publication) {
        match self {
            Self::Memory(store) => store.append(header, publication),
            Self::Log(store) => store.append(header, publication),
        }
    }

    /// Stages a room's header.
    pub fn write_header(&mut self, room: &RoomName, header: &Header) {
        match self {
            Self::Memory(store) => store.write_header(room, header),
            Self::Log(store) => store.write_header(room, header),
        }
    }

    /// Stages a message id to be remembered.
    pub fn remember(&mut self, header: &Header, message: &Remembered) {
        match self {
            // A room in memory remembers by itself, and is never dropped while it does.
            Self::Memory(_) => {}
            Self::Log(store) => store.remember(header, message),
        }
    }

    /// Stages a message id to be forgotten.
    pub fn forget(&mut self, header: &Header, key: &Bytes) {
        match self {
            Self::Memory(_) => {}
            Self::Log(store) => store.forget(header, key),
        }
    }

    /// Stages a publication that history does not keep, but the room's state does.
    pub fn append_to_state(&mut self, header: &Header, publication: &Publication) {
        match self {
            // `hold` is given it too.
            Self::Memory(_) => {}
            Self::Log(store) => store.append(header, publication),
        }
    }

    /// Stages that a publication which was appended is its key's newest: it stays when history is trimmed.
    pub fn hold(&mut self, header: &Header, newest: &Newest<()>, publication: &Publication) {
        match self {
            Self::Memory(store) => store.hold(header, publication),
            Self::Log(store) => store.hold(header, newest),
        }
    }

    /// Stages that a publication is no longer its key's newest.
    pub fn let_go(&mut self, header: &Header, offset: Offset) {
        match self {
            Self::Memory(store) => store.let_go(header, offset),
            Self::Log(store) => store.let_go(header, offset),
        }
    }

    /// Stages that a key is no longer part of the room's state.
    pub fn forget_key(&mut self, header: &Header, key: &Bytes) {
        match self {
            Self::Memory(_) => {}
            Self::Log(store) => store.forget_key(header, key),
        }
    }

    /// Reads which keys a room's state has, and where their publications are.
    pub fn load_state(&self, header: &Header) -> Result<Vec<Newest<()>>, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.load_state(header)),
            Self::Log(store) => store.load_state(header),
        }
    }

    /// Whether a room's state has any key.
    pub fn has_state(&self, header: &Header) -> Result<bool, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.has_state(header)),
            Self::Log(store) => store.has_state(header),
        }
    }

    /// Reads publications that are held, one by one; stops before more than `bytes_max`, but after the first.
    pub fn read_held(
        &self,
        header: &Header,
        offsets: impl Iterator<Item = Offset>,
        bytes_max: usize,
    ) -> Result<Vec<Publication>, StoreError> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        for offset in offsets {
            let publication = match self {
                Self::Memory(store) => store.read_one(header, offset),
                Self::Log(store) => store.read_one(header, offset)?,
            };
            // One that is damaged or gone hides no other.
            let Some(publication) = publication else {
                tracing::warn!(offset, "a key's newest publication cannot be read");
                continue;
            };
            bytes += publication.weight().max(1);
            if !found.is_empty() && bytes > bytes_max {
                break;
            }
            found.push(publication);
        }
        Ok(found)
    }

    /// Stages the removal of publications `from..header.oldest`, but for those that are held.
    pub fn trim(&mut self, room: &RoomName, header: &Header, from: Offset, held: &State<()>) {
        match self {
            Self::Memory(store) => store.trim(room, header),
            Self::Log(store) => store.trim(room, header, from, held),
        }
    }

    /// Stages that a room was never there. Publications must be trimmed, and keys let go, before.
    /// One of that name begins in another epoch.
    pub fn remove(&mut self, room: &RoomName, header: &Header) {
        match self {
            Self::Memory(store) => store.remove(room),
            Self::Log(store) => store.remove(room, header),
        }
    }

    /// Whether something is staged.
    pub fn is_dirty(&self) -> bool {
        match self {
            Self::Memory(_) => false,
            Self::Log(store) => store.is_dirty(),
        }
    }

    /// Makes what is staged one atomic batch that survives the process.
    pub fn commit(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Log(store) => store.commit(),
        }
    }

    /// Returns when what was committed survives a power cut.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Log(store) => store.sync(),
        }
    }

    /// Reads publications that are there.
    pub fn read(&self, header: &Header, range: Range) -> Result<Vec<Publication>, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.read(header, range)),
            Self::Log(store) => store.read(header, range),
        }
    }

    /// Some rooms after `after`, by name, for the sweep; and where to go on, if there are more. A header may
    /// lack the newest publications, but says whether there are any.
    pub fn rooms_after(&self, after: &[u8], limit: usize) -> Result<Found, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.rooms_after(after, limit)),
            Self::Log(store) => store.rooms_after(after, limit),
        }
    }

    /// After a failure: opens anew what is on disk. `suspect_sync` says that what was
    /// written and not synced may be gone.
    pub fn reopen(&mut self, suspect_sync: bool) -> Result<(), StoreError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Log(store) => store.reopen(suspect_sync),
        }
    }

    /// Ends in order: the next start need not suspect anything.
    pub fn close(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Log(store) => store.close(),
        }
    }
}

/// A new epoch: random, so that no two histories share one.
fn new_epoch() -> tidegate_wire::Epoch {
    use std::hash::{BuildHasher, Hasher};
    // The standard library's hasher keys are the system's randomness.
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.write_u128(
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos(),
    );
    tidegate_wire::Epoch(hasher.finish())
}

//! One publication as it is kept and spread, and the payload inside it.
//!
//! The server never parses a payload: JSON stays the bytes the publisher sent
//! (checked to be well formed once, in the codec), other bytes stay bytes.
//! Everything here is shared bytes and numbers, so a clone copies no payload and
//! may cross threads.

use bytes::Bytes;

use crate::{lane::Lane, position::Offset};

/// Longest `msg` id in bytes.
pub const MSG_ID_BYTES_MAX: usize = 64;
/// Longest `key` in bytes.
pub const KEY_BYTES_MAX: usize = 128;

/// What a publisher sends and subscribers receive, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// One well-formed JSON value, nested at most [`crate::json::DEPTH_MAX`] deep.
    Json(Bytes),
    /// Anything else. JSON connections see it as base64 in `bytes`.
    Bytes(Bytes),
    /// Nothing: its key is no longer part of the room's state.
    Delete,
}

impl Payload {
    /// Returns the bytes as they were sent.
    pub fn as_bytes(&self) -> &Bytes {
        match self {
            Self::Json(bytes) | Self::Bytes(bytes) => bytes,
            Self::Delete => &NOTHING,
        }
    }

    /// Whether it takes its key out of the room's state.
    pub fn is_delete(&self) -> bool {
        matches!(self, Self::Delete)
    }
}

static NOTHING: Bytes = Bytes::new();

/// When a publication passed each early stage: microseconds since the Unix epoch,
/// 0 where unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamps {
    /// The sender's own clock, as it told in `sent_at`; not to be trusted.
    pub sent_us: u64,
    /// The edge had the bytes.
    pub received_us: u64,
    /// The engine had ordered it (and synced it, where the namespace is durable).
    pub ordered_us: u64,
}

/// One publication at its offset in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Its number in the room's epoch, from 1.
    pub offset: Offset,
    /// What it promises less than its namespace does; none if it does not.
    pub lane: Option<Lane>,
    /// What was sent.
    pub data: Payload,
    /// The user who published; empty for none (a server, or development mode).
    pub from: Bytes,
    /// The publisher's id of it, at most [`MSG_ID_BYTES_MAX`] bytes of UTF-8; empty for none.
    pub msg: Bytes,
    /// What it is about, at most [`KEY_BYTES_MAX`] bytes of UTF-8; empty for none.
    pub key: Bytes,
    /// Where its time went so far.
    pub stamps: Stamps,
}

impl Publication {
    /// Whether it changes a room's state: it is about a key, and is more than fresh or not at all.
    pub fn is_of_state(&self) -> bool {
        !self.key.is_empty() && self.lane != Some(Lane::Lossy)
    }

    /// Bytes this counts as, for retention and limits: payload and texts.
    pub fn weight(&self) -> usize {
        self.data.as_bytes().len() + self.from.len() + self.msg.len() + self.key.len()
    }
}

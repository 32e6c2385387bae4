//! The boundary to an engine: what a shard asks, what comes back.
//!
//! A shard (or the HTTP API) is a *port* of the engine. Requests go out and events
//! come back over two bounded, ordered ways; nothing else is shared. An answer may
//! take a microsecond or a broker's ten milliseconds: nothing here assumes which,
//! and nothing but the order of one port's own events is promised.
//!
//! ```text
//!   port ── Request ──► engine      Publish, History, ...   answered under their ticket
//!   port ◄─ Event ───── engine      Attached, then every Publication of that room, in order
//! ```
//!
//! **Attach** is the one seam that recovery stands on: between `Attached { head }` and
//! the matching detach, the port gets every publication after `head`, each once, in
//! order. If an engine cannot prove that, it says `Broken` and the port attaches anew.

use std::time::Duration;

use bytes::Bytes;
use tidegate_wire::{
    Lane, Offset, Payload, Position, Publication, Reject, RoomName,
    frame::{HistoryPage, Members, MembersChange, Published},
};

/// Names a request of one port, so that its answer finds home.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// One connection of one port, for presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(pub u64);

/// What a port asks of the engine.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Begin to send this room's publications and members here. Answered by [`Event::Attached`].
    Attach {
        /// Which room.
        room: RoomName,
        /// Given back in the answer: the port's count of attaches.
        nonce: u64,
    },
    /// Send no more of this room here. Not answered.
    Detach {
        /// Which room.
        room: RoomName,
    },
    /// Order, keep and spread. Answered by [`Event::Published`].
    Publish {
        /// For the answer.
        ticket: Ticket,
        /// What, boxed to keep the others small.
        publish: Box<NewPublication>,
    },
    /// Read kept publications. Answered by [`Event::History`].
    History {
        /// For the answer.
        ticket: Ticket,
        /// Which room.
        room: RoomName,
        /// Where from, and how much.
        query: HistoryQuery,
    },
    /// Read a page of a room's state. Answered by [`Event::State`].
    State {
        /// For the answer.
        ticket: Ticket,
        /// Which room.
        room: RoomName,
        /// Where from, and how much.
        query: StateQuery,
    },
    /// List members. Answered by [`Event::Presence`].
    Presence {
        /// For the answer.
        ticket: Ticket,
        /// Which room.
        room: RoomName,
        /// At most this many in the sample.
        limit: u32,
    },
    /// A connection enters the room's members. Not answered: the change comes as [`Event::Members`].
    Enter {
        /// Which room.
        room: RoomName,
        /// Which connection.
        session: SessionKey,
        /// Who: connections of one user are one member.
        user: Bytes,
        /// JSON shown to others; empty for none. The newest connection's counts.
        info: Bytes,
    },
    /// A connection is no longer among the members. Not answered.
    Exit {
        /// Which room.
        room: RoomName,
        /// Which connection.
        session: SessionKey,
        /// Who.
        user: Bytes,
        /// How it went.
        exit: Exit,
    },
}

/// How a member goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It said so: gone at once.
    Left,
    /// Its connection was lost: listed until the policy's lease runs out, or it returns.
    Lost,
}

/// An IP address for counting: IPv4 as IPv6 has it, IPv6 by its first 64 bits, which is what one
/// subscriber of a network is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Address(pub u128);

impl Address {
    /// Of the octets of an IPv6 address; IPv4 comes mapped, `::ffff:a.b.c.d`.
    pub fn from_octets(octets: [u8; 16]) -> Self {
        let whole = u128::from_be_bytes(octets);
        match whole >> 32 {
            0xffff => Self(whole),
            _ => Self(whole & !u128::from(u64::MAX)),
        }
    }
}

/// From where a publication came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A connection from this address.
    Client(Address),
    /// The HTTP API, or the server itself.
    Backend,
}

/// A publication on its way in.
#[derive(Debug, Clone, PartialEq)]
pub struct NewPublication {
    /// Where to.
    pub room: RoomName,
    /// What it promises less than its namespace does; none if it does not.
    pub lane: Option<Lane>,
    /// What.
    pub data: Payload,
    /// The user who publishes; empty for none.
    pub from: Bytes,
    /// Idempotence id, unique per room and `from`; empty for none.
    pub msg: Bytes,
    /// What it is about; empty for none.
    pub key: Bytes,
    /// The sender's clock; microseconds since the Unix epoch, 0 unknown.
    pub sent_us: u64,
    /// When the edge had it; the same unit.
    pub received_us: u64,
    /// Whose buckets it takes from.
    pub source: Source,
}

/// Which kept publications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Forward: those after it. Reverse: those before it. None: from the oldest, or from the head back.
    pub since: Option<Position>,
    /// At most this many, and at least one if there is one.
    pub limit: u32,
    /// Stop before the page weighs more than this many bytes, but after the first.
    pub bytes_max: usize,
    /// Newest first.
    pub reverse: bool,
}

/// Which part of a room's state. Pages are of the moment at which each is read: what is published
/// in between moves to the end, and comes as an event besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateQuery {
    /// Those with greater offsets; 0 for all.
    pub after: Offset,
    /// At most this many, and at least one if there is one.
    pub limit: u32,
    /// Stop before the page weighs more than this many bytes, but after the first.
    pub bytes_max: usize,
}

/// A part of a room's state.
#[derive(Debug, Clone, PartialEq)]
pub struct StatePage {
    /// The room's head.
    pub head: Position,
    /// The newest publications of their keys, by rising offset.
    pub publications: Vec<Publication>,
    /// There is more after them.
    pub more: bool,
}

/// What the engine tells a port.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The room's publications after `head` follow, each once, in order.
    Attached {
        /// Which room.
        room: RoomName,
        /// The nonce of the `Attach`.
        nonce: u64,
        /// Where it stands, or why it cannot be attached (the port may try again after the reject's time).
        result: Result<Attachment, Reject>,
    },
    /// A new publication in an attached room.
    Publication {
        /// Which room.
        room: RoomName,
        /// What, with its offset in the attachment's epoch.
        publication: Publication,
    },
    /// Continuity is lost: the attachment is over, attach again.
    Broken {
        /// Which room.
        room: RoomName,
    },
    /// Who came and went in an attached room; coalesced, at the policy's interval.
    Members(MembersChange),
    /// The answer to `Publish`. `Ok` means ordered and, where the policy says so, synced.
    Published {
        /// Whose.
        ticket: Ticket,
        /// Where it stands; or why it is not acknowledged. After `Unavailable` and `Timeout` it may have been kept all
        /// the same: who repeats it uses the same `msg`.
        result: Result<Published, Reject>,
    },
    /// The answer to `History`.
    History {
        /// Whose.
        ticket: Ticket,
        /// The page.
        result: Result<HistoryPage, Reject>,
    },
    /// The answer to `State`. It shows what the publications told here before it came to, and no more.
    State {
        /// Whose.
        ticket: Ticket,
        /// The page.
        result: Result<StatePage, Reject>,
    },
    /// The answer to `Presence`.
    Presence {
        /// Whose.
        ticket: Ticket,
        /// Who is there.
        result: Result<Members, Reject>,
    },
}

/// Where a room stands when a port attaches.
#[derive(Debug, Clone, PartialEq)]
pub struct Attachment {
    /// The last publication before those that will follow.
    pub head: Position,
    /// The oldest publication the engine still keeps; `head.offset + 1` when none.
    pub oldest: Offset,
    /// The newest publications up to `head`, oldest first, without holes: as many as the engine
    /// has at hand within the policy's window; may be empty.
    pub window: Vec<Publication>,
    /// Who is here: everyone, or above `members_max` the count and a sample.
    pub members: Members,
}

/// What an engine can promise. A configuration that asks for more is refused at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// Its name in the configuration and in messages.
    pub name: &'static str,
    /// Publications survive a restart of the process.
    pub survives_restart: bool,
    /// `durability = "sync"` can be kept.
    pub sync: bool,
    /// Several processes can share it.
    pub shared: bool,
    /// What one publish usually takes, for timeouts and admission.
    pub publish_typical: Duration,
}

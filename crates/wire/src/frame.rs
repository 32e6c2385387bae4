//! The frames of the native protocol, v1, as values. Codecs turn them into bytes.
//!
//! ```text
//!  client  Request { id, Command }      connect refresh join leave publish history presence ping
//!  server  Reply   { id, Ok | Reject }  exactly one for each Request
//!          Push                         event members gap notice part
//! ```
//!
//! Owned values, because decoding reads from a buffer the whole shard shares. The
//! server encodes events without building a `ServerFrame` (see the codecs'
//! `encode_event`): the owned form is for clients, tests and small replies.

use bytes::Bytes;

use crate::{
    code::Reject,
    lane::Lane,
    position::{Epoch, Offset, Position},
    publication::{KEY_BYTES_MAX, Payload, Publication},
    room::RoomName,
};

/// How frames are written on one connection; the WebSocket subprotocol decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// `tidegate.v1.json`: text frames, one or more JSON objects each.
    Json,
    /// `tidegate.v1.bin`: binary frames, length-delimited protobuf (`docs/tidegate.proto`).
    Binary,
}

impl Codec {
    /// Returns the WebSocket subprotocol's name.
    pub fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "tidegate.v1.json",
            Self::Binary => "tidegate.v1.bin",
        }
    }
}

/// One command with the number its reply will carry.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// From 1; the client chooses, unique among its commands in flight.
    pub id: u32,
    /// What to do.
    pub command: Command,
}

/// What a client can ask.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Must come first.
    Connect(Connect),
    /// Replaces the token before it expires.
    Refresh {
        /// The new token.
        token: String,
    },
    /// Subscribes to a room.
    Join(Join),
    /// Changes what a subscription receives: replaces `keys` and `max_rate` of its join.
    Filter(Filter),
    /// Ends a subscription.
    Leave {
        /// Which.
        room: RoomName,
    },
    /// Sends a publication to a room.
    Publish(Publish),
    /// Reads a room's kept publications.
    History(History),
    /// Reads who is in a room.
    Presence(Presence),
    /// Measures the clock offset; see [`Pong`].
    Ping {
        /// The client's clock when it sent this: milliseconds since the Unix epoch.
        t0_ms: f64,
    },
}

/// Introduces the client.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Connect {
    /// A JWT; empty where the server is in development mode.
    pub token: String,
    /// The client library's name, for the operator; at most 64 bytes.
    pub client_name: String,
    /// And its version; at most 64 bytes.
    pub client_version: String,
    /// Joins to do at once, each answered under its own id.
    pub resume: Vec<(u32, Join)>,
}

/// Subscribes to a room.
#[derive(Debug, Clone, PartialEq)]
pub struct Join {
    /// Which room.
    pub room: RoomName,
    /// Start after this position. A gap is told if that cannot be done.
    pub since: Option<Position>,
    /// Start with the last n publications; with `since`, only when there is a gap.
    pub last: Option<u32>,
    /// Be listed among the room's members.
    pub enter: bool,
    /// Receive `members` pushes, and the members in the reply.
    pub members: bool,
    /// Receive less.
    pub wishes: Wishes,
    /// Start with the room's state; with `since`, only when there is a gap.
    pub state: bool,
}

/// How much less than everything a subscriber wants.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wishes {
    /// Only publications with one of these keys, at most [`KEYS_MAX`]; none for all.
    pub keys: Option<Vec<Bytes>>,
    /// In lanes `latest` and `lossy`: publications come in at most so many batches a second; none for no bound.
    pub max_rate: Option<f64>,
}

/// Keys in one filter.
pub const KEYS_MAX: usize = 1_000;
/// Bounds of `max_rate`, batches a second.
pub const MAX_RATE: std::ops::RangeInclusive<f64> = 0.1..=1_000.0;

impl Wishes {
    /// Whether it wants everything.
    pub fn is_all(&self) -> bool {
        self.keys.is_none() && self.max_rate.is_none()
    }

    /// Says what is wrong with it, for the client.
    pub fn check(&self) -> Result<(), String> {
        let keys = self.keys.as_deref().unwrap_or_default();
        if keys.len() > KEYS_MAX {
            return Err(format!("`keys` has {} keys; at most {KEYS_MAX}", keys.len()));
        }
        if let Some(key) = keys.iter().find(|key| key.len() > KEY_BYTES_MAX) {
            return Err(format!("a key of {} bytes; at most {KEY_BYTES_MAX}", key.len()));
        }
        match self.max_rate {
            Some(rate) if !MAX_RATE.contains(&rate) => {
                let (least, most) = MAX_RATE.into_inner();
                Err(format!(
                    "`max_rate` is {rate}; {least} to {most} batches a second are possible"
                ))
            }
            _ => Ok(()),
        }
    }
}

/// Changes what a subscription receives.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// Which.
    pub room: RoomName,
    /// What it receives from now on.
    pub wishes: Wishes,
}

/// Sends a publication.
#[derive(Debug, Clone, PartialEq)]
pub struct Publish {
    /// Where to.
    pub room: RoomName,
    /// What it promises less than its namespace does; none if it does not. Never [`Lane::Control`].
    pub lane: Option<Lane>,
    /// What.
    pub data: Payload,
    /// The publisher's own id of it, for idempotence; empty for none.
    pub msg: Bytes,
    /// What it is about; empty for none.
    pub key: Bytes,
    /// The sender's clock, microseconds since the Unix epoch; 0 for unknown.
    pub sent_us: u64,
}

/// Reads kept publications.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// Of which room.
    pub room: RoomName,
    /// Forward: those after this position. Reverse: those before it. None: from the oldest, or from the head back.
    pub since: Option<Position>,
    /// At most this many; the server has its own ceiling.
    pub limit: u32,
    /// Newest first.
    pub reverse: bool,
}

/// Reads who is in a room.
#[derive(Debug, Clone, PartialEq)]
pub struct Presence {
    /// Which room.
    pub room: RoomName,
    /// At most this many members; the server has its own ceiling.
    pub limit: u32,
}

/// What a server sends.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerFrame {
    /// The answer to the command with this id.
    Reply {
        /// The request's id.
        id: u32,
        /// What came of it.
        result: Result<Ok, Reject>,
    },
    /// Something that was not asked for.
    Push(Push),
}

/// The answer "yes", by command.
#[derive(Debug, Clone, PartialEq)]
pub enum Ok {
    /// To `connect`.
    Connected(Connected),
    /// To `refresh`.
    Refreshed {
        /// Milliseconds until the new token expires; none if it does not.
        expires_in_ms: Option<u64>,
    },
    /// To `join`; replayed publications follow as events, in order, before live ones.
    Joined(Joined),
    /// To `filter`.
    Filtered,
    /// To `leave`.
    Left,
    /// To `publish`.
    Published(Published),
    /// To `history`.
    History(HistoryPage),
    /// To `presence`.
    Presence(Members),
    /// To `ping`.
    Pong(Pong),
}

/// To `connect`.
#[derive(Debug, Clone, PartialEq)]
pub struct Connected {
    /// This connection's name in logs, metrics and the HTTP API.
    pub connection: String,
    /// Who the token says you are; in development mode a made-up name.
    pub user: String,
    /// Milliseconds until the token expires; none if it does not.
    pub expires_in_ms: Option<u64>,
    /// The server sends WebSocket pings this often; silence for twice this time is a dead server.
    pub ping_ms: u32,
    /// Largest frame a client may send, in bytes.
    pub frame_bytes_max: u32,
    /// Upper end of the random wait before the first reconnect, milliseconds.
    pub reconnect_ms: u32,
}

/// What became of a position given in `since`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing was missed, or nothing was asked for.
    None,
    /// `replayed` publications follow.
    Replay,
    /// Some are lost; see the reason.
    Gap(GapReason),
}

/// Why publications could not be replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// The room's history was lost, and offsets began anew.
    Epoch,
    /// Retention removed what came after the position.
    Trimmed,
    /// More were missed than the namespace replays.
    TooFar,
    /// The engine lost its place and cannot prove that nothing was missed.
    Continuity,
    /// Lane `latest`: they were replaced by newer ones of the same key while they waited.
    Conflated,
    /// Lane `lossy`: they were too old, or too many, for a reader that is behind.
    Dropped,
}

impl GapReason {
    /// Every reason.
    pub const ALL: &'static [Self] = &[
        Self::Epoch,
        Self::Trimmed,
        Self::TooFar,
        Self::Continuity,
        Self::Conflated,
        Self::Dropped,
    ];

    /// Returns the name that travels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::Trimmed => "trimmed",
            Self::TooFar => "too_far",
            Self::Continuity => "continuity",
            Self::Conflated => "conflated",
            Self::Dropped => "dropped",
        }
    }
}

/// To `join`.
#[derive(Debug, Clone, PartialEq)]
pub struct Joined {
    /// Which room.
    pub room: RoomName,
    /// Its epoch now.
    pub epoch: Epoch,
    /// Its head when the join was done: live events have greater offsets.
    pub offset: Offset,
    /// What became of `since`.
    pub recovery: Recovery,
    /// How many events follow before live ones.
    pub replayed: u32,
    /// Who is here, when asked for.
    pub members: Option<Members>,
    /// The room's state follows: so many keys, before live events.
    pub state: Option<u32>,
}

/// To `publish`: where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Its position.
    pub position: Position,
    /// The `msg` id was published before; this is where.
    pub duplicate: bool,
}

/// To `history`.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryPage {
    /// Of which room.
    pub room: RoomName,
    /// The room's head.
    pub head: Position,
    /// The oldest publication still kept; `head.offset + 1` when none is.
    pub oldest: Offset,
    /// The page, in the order asked for.
    pub publications: Vec<Publication>,
    /// There is more in this direction.
    pub more: bool,
    /// `since` could not be honoured: the page starts at the oldest kept.
    pub gap: Option<GapReason>,
}

/// Someone in a room. A user with several connections is one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The token's subject, or the connection's name where there is none.
    pub user: Bytes,
    /// The token's `info`: JSON, as it is; empty for none.
    pub info: Bytes,
}

/// Who is in a room: all of them, or in a large room a sample.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    /// How many members there are.
    pub count: u32,
    /// Some or all of them.
    pub sample: Vec<Member>,
}

/// To `ping`: RFC 5905's four timestamps, less the client's own fourth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pong {
    /// The client's, given back. Milliseconds since the Unix epoch, all three.
    pub t0_ms: f64,
    /// The server had the bytes.
    pub t1_ms: f64,
    /// The server answered.
    pub t2_ms: f64,
}

/// Something that was not asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Push {
    /// A publication in a joined room.
    Event {
        /// Which room.
        room: RoomName,
        /// What.
        publication: Publication,
    },
    /// Who came and went.
    Members(MembersChange),
    /// Publications were lost; what follows continues at `position`.
    Gap {
        /// In which room.
        room: RoomName,
        /// Where live events go on: the next has a greater offset in this epoch.
        position: Position,
        /// Why.
        reason: GapReason,
        /// How many; 0 where nobody knows.
        count: u64,
    },
    /// A word from the server.
    Notice(Notice),
    /// A piece of a large frame; see [`crate::parts`].
    Part(Part),
}

/// A piece of a large frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Which frame: the same number in all its parts, another than that of any frame still under way.
    pub message: u32,
    /// Another part of it follows.
    pub more: bool,
    /// The next of its bytes; in JSON whole characters.
    pub piece: Bytes,
}

/// Who came and went since the last such push.
#[derive(Debug, Clone, PartialEq)]
pub struct MembersChange {
    /// In which room.
    pub room: RoomName,
    /// How many members there are now.
    pub count: u32,
    /// New members; empty in a large room.
    pub joined: Vec<Member>,
    /// Users who left; empty in a large room.
    pub left: Vec<Bytes>,
    /// The room is large: only the count and this sample are told.
    pub sample: Option<Vec<Member>>,
}

impl MembersChange {
    /// Tells everyone, or in a large room a sample, in place of what was known.
    pub fn all(room: &RoomName, members: Members) -> Self {
        Self {
            room: room.clone(),
            count: members.count,
            joined: Vec::new(),
            left: Vec::new(),
            sample: Some(members.sample),
        }
    }
}

/// A word from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Send `refresh` within this time, or be closed.
    TokenExpiring {
        /// Milliseconds.
        in_ms: u64,
    },
    /// The new token no longer grants this room: you are out of it.
    Removed {
        /// Which room.
        room: RoomName,
    },
    /// The server stops; the close follows.
    Shutdown,
    /// The connection will be closed: come back when this time is over, not earlier and not at
    /// random. It is this client's slot, and others have the times around it.
    Draining {
        /// Milliseconds from now.
        in_ms: u64,
    },
}

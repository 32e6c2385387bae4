//! The messages of docs/tidegate.proto, for prost: held equal to it by a test in `binary`.
//!
//! Texts are shared bytes here, which are the same on the wire; whoever reads them checks UTF-8.

use bytes::Bytes;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ClientFrame {
    #[prost(uint32, tag = "1")]
    pub(super) id: u32,
    #[prost(oneof = "ClientFrameCommand", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10")]
    pub(super) command: Option<ClientFrameCommand>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ServerFrame {
    #[prost(uint32, tag = "1")]
    pub(super) id: u32,
    #[prost(
        oneof = "ServerFrameBody",
        tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16"
    )]
    pub(super) body: Option<ServerFrameBody>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Position {
    #[prost(fixed64, tag = "1")]
    pub(super) epoch: u64,
    #[prost(uint64, tag = "2")]
    pub(super) offset: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Connect {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) token: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) client_name: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) client_version: Bytes,
    #[prost(message, repeated, tag = "4")]
    pub(super) resume: Vec<Resume>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Resume {
    #[prost(uint32, tag = "1")]
    pub(super) id: u32,
    #[prost(message, optional, tag = "2")]
    pub(super) join: Option<Join>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Refresh {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) token: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Join {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) room: Bytes,
    #[prost(message, optional, tag = "2")]
    pub(super) since: Option<Position>,
    #[prost(uint32, optional, tag = "3")]
    pub(super) last: Option<u32>,
    #[prost(bool, tag = "4")]
    pub(super) enter: bool,
    #[prost(bool, tag = "5")]
    pub(super) members: bool,
    #[prost(message, optional, tag = "6")]
    pub(super) keys: Option<Keys>,
    #[prost(double, optional, tag = "7")]
    pub(super) max_rate: Option<f64>,
    #[prost(bool, tag = "8")]
    pub(super) state: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Keys {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(super) keys: Vec<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Filter {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) room: Bytes,
    #[prost(message, optional, tag = "2")]
    pub(super) keys: Option<Keys>,
    #[prost(double, optional, tag = "3")]
    pub(super) max_rate: Option<f64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Leave {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) room: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Publish {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) room: Bytes,
    #[prost(oneof = "PublishPayload", tags = "2, 3")]
    pub(super) payload: Option<PublishPayload>,
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) msg: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    pub(super) key: Bytes,
    #[prost(uint64, tag = "6")]
    pub(super) sent_us: u64,
    #[prost(bool, tag = "7")]
    pub(super) delete: bool,
    #[prost(enumeration = "Lane", tag = "8")]
    pub(super) lane: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Lane {
    Unspecified = 0,
    Reliable = 1,
    Latest = 2,
    Lossy = 3,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct History {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) room: Bytes,
    #[prost(message, optional, tag = "2")]
    pub(super) since: Option<Position>,
    #[prost(uint32, optional, tag = "3")]
    pub(super) limit: Option<u32>,
    #[prost(bool, tag = "4")]
    pub(super) reverse: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Presence {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) room: Bytes,
    #[prost(uint32, optional, tag = "2")]
    pub(super) limit: Option<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Ping {
    #[prost(double, tag = "1")]
    pub(super) t0_ms: f64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Connected {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) connection: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) user: Bytes,
    #[prost(uint64, optional, tag = "3")]
    pub(super) expires_in_ms: Option<u64>,
    #[prost(uint32, tag = "4")]
    pub(super) ping_ms: u32,
    #[prost(uint32, tag = "5")]
    pub(super) frame_bytes_max: u32,
    #[prost(uint32, tag = "6")]
    pub(super) reconnect_ms: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Refreshed {
    #[prost(uint64, optional, tag = "1")]
    pub(super) expires_in_ms: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Joined {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) room: Bytes,
    #[prost(message, optional, tag = "2")]
    pub(super) position: Option<Position>,
    #[prost(enumeration = "Recovery", tag = "3")]
    pub(super) recovery: i32,
    #[prost(enumeration = "GapReason", tag = "4")]
    pub(super) reason: i32,
    #[prost(uint32, tag = "5")]
    pub(super) replayed: u32,
    #[prost(message, optional, tag = "6")]
    pub(super) members: Option<Members>,
    #[prost(uint32, optional, tag = "7")]
    pub(super) state_keys: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Recovery {
    None = 0,
    Replay = 1,
    Gap = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(super) enum GapReason {
    Unspecified = 0,
    Epoch = 1,
    Trimmed = 2,
    TooFar = 3,
    Continuity = 4,
    Conflated = 5,
    Dropped = 6,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Filtered {}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Left {}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Published {
    #[prost(message, optional, tag = "1")]
    pub(super) position: Option<Position>,
    #[prost(bool, tag = "2")]
    pub(super) duplicate: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Publication {
    #[prost(uint64, tag = "1")]
    pub(super) offset: u64,
    #[prost(oneof = "PublicationPayload", tags = "2, 3")]
    pub(super) payload: Option<PublicationPayload>,
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) from: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    pub(super) msg: Bytes,
    #[prost(bytes = "bytes", tag = "6")]
    pub(super) key: Bytes,
    #[prost(uint64, tag = "7")]
    pub(super) sent_us: u64,
    #[prost(uint64, tag = "8")]
    pub(super) received_us: u64,
    #[prost(uint64, tag = "9")]
    pub(super) ordered_us: u64,
    #[prost(bool, tag = "10")]
    pub(super) delete: bool,
    #[prost(enumeration = "Lane", tag = "11")]
    pub(super) lane: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct HistoryPage {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) room: Bytes,
    #[prost(message, optional, tag = "2")]
    pub(super) head: Option<Position>,
    #[prost(uint64, tag = "3")]
    pub(super) oldest: u64,
    #[prost(message, repeated, tag = "4")]
    pub(super) publications: Vec<Publication>,
    #[prost(bool, tag = "5")]
    pub(super) more: bool,
    #[prost(enumeration = "GapReason", tag = "6")]
    pub(super) gap: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Member {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) user: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) info: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Members {
    #[prost(uint32, tag = "1")]
    pub(super) count: u32,
    #[prost(message, repeated, tag = "2")]
    pub(super) sample: Vec<Member>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Pong {
    #[prost(double, tag = "1")]
    pub(super) t0_ms: f64,
    #[prost(double, tag = "2")]
    pub(super) t1_ms: f64,
    #[prost(double, tag = "3")]
    pub(super) t2_ms: f64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Reject {
    #[prost(uint32, tag = "1")]
    pub(super) code: u32,
    #[prost(uint32, optional, tag = "2")]
    pub(super) retry_after_ms: Option<u32>,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) detail: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Event {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) room: Bytes,
    #[prost(message, optional, tag = "2")]
    pub(super) publication: Option<Publication>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct MembersChange {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) room: Bytes,
    #[prost(uint32, tag = "2")]
    pub(super) count: u32,
    #[prost(message, repeated, tag = "3")]
    pub(super) joined: Vec<Member>,
    #[prost(bytes = "bytes", repeated, tag = "4")]
    pub(super) left: Vec<Bytes>,
    #[prost(message, optional, tag = "5")]
    pub(super) sample: Option<Sample>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Sample {
    #[prost(message, repeated, tag = "1")]
    pub(super) members: Vec<Member>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Gap {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) room: Bytes,
    #[prost(message, optional, tag = "2")]
    pub(super) position: Option<Position>,
    #[prost(enumeration = "GapReason", tag = "3")]
    pub(super) reason: i32,
    #[prost(uint64, tag = "4")]
    pub(super) count: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Part {
    #[prost(uint32, tag = "1")]
    pub(super) message: u32,
    #[prost(bool, tag = "2")]
    pub(super) more: bool,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) frame: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Notice {
    #[prost(oneof = "NoticeKind", tags = "1, 2, 3, 4")]
    pub(super) kind: Option<NoticeKind>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TokenExpiring {
    #[prost(uint64, tag = "1")]
    pub(super) in_ms: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Removed {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) room: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Shutdown {}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Draining {
    #[prost(uint64, tag = "1")]
    pub(super) in_ms: u64,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum ClientFrameCommand {
    #[prost(message, tag = "2")]
    Connect(Connect),
    #[prost(message, tag = "3")]
    Refresh(Refresh),
    #[prost(message, tag = "4")]
    Join(Join),
    #[prost(message, tag = "5")]
    Leave(Leave),
    #[prost(message, tag = "6")]
    Publish(Publish),
    #[prost(message, tag = "7")]
    History(History),
    #[prost(message, tag = "8")]
    Presence(Presence),
    #[prost(message, tag = "9")]
    Ping(Ping),
    #[prost(message, tag = "10")]
    Filter(Filter),
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum ServerFrameBody {
    #[prost(message, tag = "2")]
    Connected(Connected),
    #[prost(message, tag = "3")]
    Refreshed(Refreshed),
    #[prost(message, tag = "4")]
    Joined(Joined),
    #[prost(message, tag = "5")]
    Left(Left),
    #[prost(message, tag = "6")]
    Published(Published),
    #[prost(message, tag = "7")]
    History(HistoryPage),
    #[prost(message, tag = "8")]
    Presence(Members),
    #[prost(message, tag = "9")]
    Pong(Pong),
    #[prost(message, tag = "10")]
    Reject(Reject),
    #[prost(message, tag = "11")]
    Event(Event),
    #[prost(message, tag = "12")]
    Members(MembersChange),
    #[prost(message, tag = "13")]
    Gap(Gap),
    #[prost(message, tag = "14")]
    Notice(Notice),
    #[prost(message, tag = "15")]
    Filtered(Filtered),
    #[prost(message, tag = "16")]
    Part(Part),
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum PublishPayload {
    #[prost(bytes = "bytes", tag = "2")]
    Json(Bytes),
    #[prost(bytes = "bytes", tag = "3")]
    Bytes(Bytes),
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum PublicationPayload {
    #[prost(bytes = "bytes", tag = "2")]
    Json(Bytes),
    #[prost(bytes = "bytes", tag = "3")]
    Bytes(Bytes),
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum NoticeKind {
    #[prost(message, tag = "1")]
    TokenExpiring(TokenExpiring),
    #[prost(message, tag = "2")]
    Removed(Removed),
    #[prost(message, tag = "3")]
    Shutdown(Shutdown),
    #[prost(message, tag = "4")]
    Draining(Draining),
}

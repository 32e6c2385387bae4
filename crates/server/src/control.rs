//! What the back office asks of a shard's driver: connections handed over, and
//! questions with an answer. Values over bounded channels; no shard state is shared.

use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;
use tokio::sync::oneshot;

/// An accepted connection that turned out not to be a WebSocket upgrade: the back
/// office serves it by HTTP. `read_ahead` holds the (plaintext) bytes already read.
#[derive(Debug)]
pub struct HandedOver {
    /// Non-blocking.
    pub stream: TcpStream,
    /// The TLS session, when the listener has TLS; its handshake is done.
    pub tls: Option<Box<rustls::ServerConnection>>,
    /// Bytes of the request already read (and decrypted).
    pub read_ahead: Bytes,
    /// Who.
    pub peer: SocketAddr,
}

/// What the back office asks of one shard.
#[derive(Debug)]
pub enum ShardCommand {
    /// End all connections of a user; answers how many there were.
    Disconnect {
        /// The user.
        user: String,
        /// How many were ended.
        reply: oneshot::Sender<u32>,
    },
    /// List rooms joined on this shard whose name begins with `prefix`, by name.
    Rooms {
        /// May be empty.
        prefix: String,
        /// Only names after this one.
        after: String,
        /// At most this many.
        limit: usize,
        /// The list.
        reply: oneshot::Sender<Vec<RoomSummary>>,
    },
    /// Copy the counters, for a scrape.
    Counters {
        /// The copy.
        reply: oneshot::Sender<tidegate_core::Counters>,
    },
}

/// A room as one shard sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomSummary {
    /// Its name.
    pub room: String,
    /// Connections joined on this shard.
    pub subscribers: u32,
}

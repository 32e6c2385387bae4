//! What the back office asks of a shard's driver: connections handed over, and
//! questions with an answer. Values over bounded channels; no shard state is shared.

use std::{
    convert::Infallible,
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, TrySendError};
use tokio::sync::oneshot;

use tidegate_core::{
    drain::{ComeBack, Pacing, Slots},
    shard::{RoomOrder, RoomState},
};
use tidegate_engine::Bell;

use crate::edge::EdgeCounters;

/// Commands that wait for one shard; beyond it [`ShardHandle::try_send`] gives them back.
pub const COMMANDS_MAX: usize = 256;

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
    /// List rooms joined on this shard whose name begins with `prefix`.
    Rooms {
        /// May be empty.
        prefix: String,
        /// Only names after this one.
        after: String,
        /// Which first.
        order: RoomOrder,
        /// At most this many.
        limit: usize,
        /// The list.
        reply: oneshot::Sender<Vec<RoomState>>,
    },
    /// Copy the counters, for a scrape.
    Counters {
        /// The copy.
        reply: oneshot::Sender<Box<ShardCounters>>,
    },
    /// The verifier's keys were fetched anew (or could not be): verify again what waits for them.
    KeysRefreshed,
    /// Send every session away, each at its slot, and let no other in.
    Drain {
        /// Where to.
        come_back: ComeBack,
        /// How fast.
        pacing: Pacing,
        /// Dropped when the last session has gone.
        gone: Sender<Infallible>,
    },
    /// Send so many of a hundred sessions away, each at its slot.
    Rebalance {
        /// 1 to 100.
        percent: u8,
        /// How fast.
        pacing: Pacing,
        /// What came of it.
        reply: oneshot::Sender<Slots>,
    },
    /// Tell every client, close all, and end the thread, at the latest at this time.
    ShutDown {
        /// The latest.
        until: Instant,
    },
}

/// All that one shard counts.
#[derive(Debug, Clone)]
pub struct ShardCounters {
    /// Sessions, rooms, outboxes.
    pub core: tidegate_core::Counters,
    /// Admission.
    pub gate: tidegate_core::GateCounters,
    /// Sockets, bytes, turns.
    pub edge: EdgeCounters,
}

/// One shard, as the back office reaches it.
#[derive(Debug, Clone)]
pub struct ShardHandle {
    commands: Sender<ShardCommand>,
    bell: Arc<Bell>,
}

impl ShardHandle {
    /// Makes a handle and the shard's end of it.
    pub fn new(bell: Arc<Bell>) -> (Self, Receiver<ShardCommand>) {
        let (commands, receiver) = crossbeam_channel::bounded(COMMANDS_MAX);
        (Self { commands, bell }, receiver)
    }

    /// Hands a command over; gives it back when too many wait, or the shard has ended.
    pub fn try_send(&self, command: ShardCommand) -> Result<(), ShardCommand> {
        match self.commands.try_send(command) {
            Ok(()) => {
                self.bell.ring();
                Ok(())
            }
            Err(TrySendError::Full(command) | TrySendError::Disconnected(command)) => Err(command),
        }
    }
}

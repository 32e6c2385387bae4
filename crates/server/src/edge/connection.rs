//! One socket as the driver knows it: small, because an idle connection is one of these.

use mio::net::TcpStream;
use rustls::ServerConnection;
use socket2::SockRef;
use tidegate_core::{ConnId, request::Address};
use tidegate_wire::ws::reader::Reader;

use super::{crowd::Place, unsent::Unsent};

/// How far a connection has come.
pub(crate) enum Phase {
    /// The HTTP head is coming, beneath it perhaps TLS; what came of it is kept.
    Head(Vec<u8>),
    /// A WebSocket with its session.
    Open {
        /// The session.
        conn: ConnId,
        /// Takes frames apart.
        reader: Reader,
    },
    /// The last word is with the kernel. What the peer still sends is thrown away, because
    /// closing over unread bytes would reset the connection and take that word back.
    Lingering,
}

/// One socket.
pub(crate) struct Connection {
    pub(crate) phase: Phase,
    /// Boxed: most servers have TLS in front of them, and with it a kilobyte more hardly counts.
    pub(crate) tls: Option<Box<ServerConnection>>,
    pub(crate) socket: TcpStream,
    /// Tells this use of the table's place from others.
    pub(crate) generation: u32,
    /// When something last came: milliseconds since the start, wrapping.
    pub(crate) heard_ms: u32,
    /// What the kernel may hold unsent.
    pub(crate) unsent: Unsent,
    pub(crate) flags: Flags,
    /// Where it comes from, if anything depends on it.
    pub(crate) guest: Option<Box<Guest>>,
}

/// Where a connection comes from, and its share of what that may have.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) address: Address,
    /// Given back when this is dropped.
    pub(crate) place: Option<Place>,
}

/// What is known of a socket between its edges.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flags {
    /// The kernel takes no more; an edge will tell when it does.
    pub(crate) is_blocked: bool,
    /// In the list of those to be read.
    pub(crate) is_ready: bool,
    /// The peer's end was seen: read up to it, short reads notwithstanding.
    pub(crate) has_ended: bool,
    /// The close frame is in the outbox.
    pub(crate) is_closing: bool,
    /// Messages are binary: the subprotocol says so.
    pub(crate) is_binary: bool,
}

impl Connection {
    pub(crate) fn new(socket: TcpStream, generation: u32, heard_ms: u32, unsent_bytes_max: u32) -> Self {
        Self {
            phase: Phase::Head(Vec::new()),
            tls: None,
            socket,
            generation,
            heard_ms,
            unsent: Unsent::new(unsent_bytes_max),
            flags: Flags::default(),
            guest: None,
        }
    }

    /// Tells the kernel what it may hold unsent, if that changed. A kernel that refuses holds what it did.
    pub(crate) fn hold_unsent(&self, bytes: Option<u32>) {
        if let Some(bytes) = bytes {
            let _ = SockRef::from(&self.socket).set_tcp_notsent_lowat(bytes);
        }
    }

    /// Its session, once it has one.
    pub(crate) fn session(&self) -> Option<ConnId> {
        match &self.phase {
            Phase::Open { conn, .. } => Some(*conn),
            Phase::Head(_) | Phase::Lingering => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_small() {
        // Times every idle connection: see docs/benchmarks.md, `idle`.
        assert!(size_of::<Connection>() <= 128, "{}", size_of::<Connection>());
    }
}

//! What a connection is before and beneath its session: TLS, the HTTP head, the
//! WebSocket's frames, silence and lingering.

pub(crate) mod authority;
pub(crate) mod connection;
mod counters;
pub(crate) mod crowd;
pub(crate) mod gate;
pub(crate) mod handshake;
pub mod memory;
pub mod origin;
pub(crate) mod pulse;
pub(crate) mod queue;
pub mod tls;
pub(crate) mod transport;
pub(crate) mod unsent;

pub use counters::{AcceptCounters, EdgeCounters, HandshakeFailure, Refusal};

//! What a connection is before and beneath its session: TLS, the HTTP head, the
//! WebSocket's frames, silence and lingering.

mod counters;

pub use counters::{AcceptCounters, EdgeCounters, HandshakeFailure, Refusal};

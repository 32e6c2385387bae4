//! The WebSocket codec (RFC 6455) with permessage-deflate (RFC 7692), without I/O, for
//! both roles.
//!
//! ```text
//!   handshake   the HTTP upgrade: bytes of a head in, what it asks for out; answers
//!   frame       one frame: its header, whole frames to send
//!   reader      a connection's byte stream in, whole messages out
//!   deflate     compressing a message once, for everyone it goes to
//! ```
//!
//! Messages are compressed without context takeover, so that one compressed frame serves
//! every subscriber and an idle connection keeps no window.

pub mod deflate;
pub mod frame;
pub mod handshake;
pub mod reader;

pub use frame::ProtocolError;

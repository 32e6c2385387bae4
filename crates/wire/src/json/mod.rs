//! The JSON codec: `tidegate.v1.json`. Objects, one after another, in text frames.
//!
//! Payloads pass through as the bytes that were sent: decoding keeps the raw JSON value,
//! encoding splices it in. What is decoded is small and typed; what is hot (events) is
//! written by hand, without an intermediate value.
//!
//! ```text
//!   command   a client's commands, decoded
//!   reply     what a server sends, encoded
//!   client    the other direction of both, for clients and tests
//! ```

mod client;
mod command;
mod reply;

pub use client::{decode_server, encode_request};
pub use command::{check_depth, decode, delete, lane, payload, present};
pub use reply::{encode_event, encode_publication, encode_push, encode_reply};

/// Deepest nesting of a JSON payload: receivers may parse recursively.
pub const DEPTH_MAX: usize = 128;

//! All that travels: rooms' names, positions, publications, frames and their codecs, codes.
//!
//! Pure: no clock, no socket, no file, no thread. Bytes in, values out, and back.
//! The specification for people is `docs/protocol.md`; the numbers live in [`code`].

pub mod binary;
pub mod code;
pub mod codec;
pub mod frame;
pub mod json;
pub mod lane;
pub mod parts;
pub mod position;
pub mod publication;
pub mod room;
pub mod ws;

pub use code::{CloseReason, Reject, RejectCode};
pub use frame::{Codec, Command, Request, ServerFrame};
pub use lane::Lane;
pub use position::{Epoch, Offset, Position};
pub use publication::{Payload, Publication, Stamps};
pub use room::RoomName;

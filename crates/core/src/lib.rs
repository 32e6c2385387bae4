//! One shard's sessions and rooms as a pure state machine.
//!
//! Messages and `now` go in; requests to the engine, dirty outboxes and the next
//! deadline come out. No socket, file, clock, thread, lock or `async` is named
//! here: the server's driver brings them.

pub mod admission;
mod command;
pub mod counters;
pub mod drain;
mod encoder;
mod event;
mod fanout;
mod feed;
mod gate;
pub mod grant;
mod heat;
mod join;
pub mod limits;
mod members;
pub mod moment;
mod outbox;
mod pace;
pub mod planted;
pub mod policy;
pub mod request;
mod room;
mod rooms;
mod session;
pub mod shard;
pub mod state;
mod walks;

pub use admission::Admission;
pub use counters::{Counters, GateCounters, LimitCounters};
pub use limits::Limits;
pub use moment::{Moment, WallClock};
pub use outbox::Lane;
pub use policy::{Policies, Policy};
pub use shard::{ConnId, Link, Setup, Shard};

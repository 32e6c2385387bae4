//! One shard's sessions and rooms as a pure state machine.
//!
//! Messages and `now` go in; requests to the engine, dirty outboxes and the next
//! deadline come out. No socket, file, clock, thread, lock or `async` is named
//! here: the server's driver brings them.

pub mod counters;
pub mod grant;
pub mod limits;
pub mod moment;
pub mod policy;
pub mod request;
pub mod shard;

pub use counters::Counters;
pub use limits::Limits;
pub use moment::{Moment, WallClock};
pub use policy::{Policies, Policy};
pub use shard::{ConnId, Link, Setup, Shard};

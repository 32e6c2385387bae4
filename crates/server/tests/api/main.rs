//! The HTTP API as a backend meets it: over sockets, against a whole server with the memory engine.
//! WebSocket clients are the edge tests' own.

mod client;
mod connections;
mod operating;
mod publishing;
mod reading;
mod refusals;
#[allow(dead_code, reason = "the edge tests use the rest")]
#[path = "../edge/world.rs"]
mod world;

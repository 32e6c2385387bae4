//! The HTTP API as a backend meets it: over sockets, against a whole server with the memory engine.

mod connections;
mod http;
mod operating;
mod publishing;
mod reading;
mod refusals;
mod sending_away;
mod state;
#[allow(dead_code, reason = "the edge tests use the rest")]
#[path = "../edge/world.rs"]
mod world;

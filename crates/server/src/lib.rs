//! The edge: everything between a socket and `tidegate_core::Shard`.
//!
//! ```text
//!              ┌─ acceptor ─┐ least loaded        ┌────────── one thread per shard ─────────┐
//!  listener ──►│  sockets   │────────────────────►│ driver: poll → read → Shard → flush     │
//!              └────────────┘                     └──┬──────────▲──────────────▲────────────┘
//!                                         HandedOver │          │ ShardCommand │ events
//!                                                    ▼          │              ▼
//!                                              api: the back office ───────► engine
//! ```
//!
//! Only `driver` holds both a `Shard` and a socket. The back office serves plain HTTP on
//! the same port, from connections that turned out not to be WebSockets.

pub mod acceptor;
pub mod api;
pub mod auth;
pub mod config;
pub mod control;
mod demo;
mod driver;
pub mod edge;
mod flush;
pub mod serve;

pub use serve::{ServeError, Server};

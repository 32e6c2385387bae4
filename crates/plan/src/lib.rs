//! The capacity planner: a scenario, a contract and a topology go in; a verdict with its reasons, the bill,
//! the lint findings and the cheapest topology that holds come out.
//!
//! ```text
//!   text ─► file ─► Plan ─► compile ─► Network ─► engine ─► Outcome ─► judge ─► verdict, why
//!                    │                                         │
//!                    ├─► lint ─► findings                      └─► price ─► bill
//!                    └─► optimize ─► other plans, each judged the same way
//! ```
//!
//! Pure: text in, values out; no clock, file, socket or thread, so that the command line, CI and a page
//! compute the same. The same seed gives the same bytes on every machine: chance is drawn by a counter
//! (`draw`), and what is not exact in IEEE 754 comes from `libm`, never from the platform.

pub mod compile;
pub mod component;
pub mod conflate;
pub mod draw;
pub mod engine;
pub mod erlang;
pub mod expect;
pub mod file;
pub mod histogram;
pub mod judge;
mod kind;
pub mod lint;
pub mod network;
pub mod optimize;
pub mod outcome;
pub mod plan;
pub mod price;
pub mod shape;
pub mod why;

pub use network::Network;
pub use outcome::Outcome;
pub use plan::Plan;

//! What runs a network: one model, in three fidelities.
//!
//! `exact` simulates each publish, on the `kernel`'s clock and stations; `fluid` follows rates
//! instead of events, in milliseconds.

pub mod exact;
pub mod fluid;
pub mod kernel;

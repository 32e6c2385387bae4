//! What runs a network: one model, in three fidelities.
//!
//! `exact` simulates each publish, on the `kernel`'s clock and stations; `fluid` follows rates and means in steps of
//! time, in milliseconds.

pub mod exact;
pub mod fluid;
pub mod kernel;

//! What runs a network: one model, in three fidelities.
//!
//! `exact` simulates each publish, on the `kernel`'s clock and stations; `hybrid` does so for the moments that
//! decide, and for a sample of the others; `fluid` follows rates instead of events, in milliseconds.

pub mod exact;
pub mod fluid;
pub mod hybrid;
pub mod kernel;

//! What runs a network: one model, in three fidelities.
//!
//! `exact` simulates each publish, on the `kernel`'s clock and stations.

pub mod exact;
pub mod kernel;

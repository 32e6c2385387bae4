//! What runs a network: one model, in three fidelities.
//!
//! `exact` simulates each publish; `hybrid` simulates all of what carries over from one moment to the next and a
//! sample of the calm rest. Both are the same machine, on the `kernel`'s clock and stations. `fluid` follows rates and
//! means in steps of time, in milliseconds.

pub mod exact;
pub mod fluid;
pub mod hybrid;
pub mod kernel;

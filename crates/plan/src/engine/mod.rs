//! The engines: each runs a network and gives an outcome.

pub mod fluid;

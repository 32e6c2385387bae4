//! Deterministic simulation: the real shards of `tidegate-core` between simulated clients,
//! network and engine, all of it decided by a seed. What is checked stands in [`checks`].
//!
//! ```text
//!   plan(seed) ─► world ─┬─ clients ── network ── driver + Shard ── engine
//!                        └─ every frame, turn and rest is checked ─► shrink ─► a short trace
//! ```

pub mod agenda;
pub mod calls;
pub mod chance;
pub mod checks;
pub mod client;
pub mod driver;
pub mod engine;
pub mod keyed;
pub mod mutation;
mod network;
pub mod plan;
pub mod presence;
pub mod shrink;
mod strain;
pub mod trace;
pub mod view;
pub mod wanted;
pub mod world;

//! placeholder
/// Deepest nesting of a JSON payload.
pub const DEPTH_MAX: usize = 128;

//! placeholder
pub mod deflate;
pub mod frame;

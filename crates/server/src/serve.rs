//! A whole server in one value.

/// A running server.
pub struct Server {}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {}

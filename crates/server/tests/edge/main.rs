//! What only sockets can show: the whole server on a free port, with real clients and hostile ones.

mod admission;
mod deflate;
mod endings;
mod handshakes;
mod hostile;
mod lanes;
mod rooms;
mod state;
mod tls;
mod tokens;
mod world;

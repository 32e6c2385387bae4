//! The end of a turn for one connection: its outbox into its socket.
//!
//! One vectored write takes all that waits, control before reliable, so that a connection
//! that is behind gets many publications with one system call. What the kernel does not
//! take stays in the outbox.

use std::io::IoSlice;

use mio::net::TcpStream;
use rustls::ServerConnection;
use tidegate_core::{ConnId, Moment, Shard};

use crate::edge::{
    EdgeCounters,
    transport::{Sent, send, send_tls},
};

/// Frames given to the kernel in one call.
const SLICES: usize = 64;

/// How a flush ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Nothing is left.
    All,
    /// The kernel takes no more until it tells.
    Blocked,
    /// The socket broke.
    Gone,
}

/// Writes until the outbox is empty or the kernel is full.
pub(crate) fn flush(
    shard: &mut Shard,
    conn: ConnId,
    socket: &TcpStream,
    mut tls: Option<&mut ServerConnection>,
    counters: &mut EdgeCounters,
    now: Moment,
) -> Flushed {
    loop {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = shard.outbox(conn, &mut slices);
        if count == 0 {
            return match tls {
                Some(tls) => rest(send_tls(socket, tls, counters)),
                None => Flushed::All,
            };
        }
        let wanted: usize = slices[..count].iter().map(|slice| slice.len()).sum();
        match send(socket, tls.as_deref_mut(), &slices[..count], counters) {
            Sent::Bytes(written) => {
                shard.handle_written(conn, written, now);
                // A short write to a stream means that the kernel is full (epoll(7)): trying
                // again would only be told so. TLS writes a record at a time.
                if written < wanted && tls.is_none() && written > 0 {
                    return Flushed::Blocked;
                }
            }
            Sent::Blocked => return Flushed::Blocked,
            Sent::Gone => return Flushed::Gone,
        }
    }
}

fn rest(sent: Sent) -> Flushed {
    match sent {
        Sent::Bytes(_) => Flushed::All,
        Sent::Blocked => Flushed::Blocked,
        Sent::Gone => Flushed::Gone,
    }
}

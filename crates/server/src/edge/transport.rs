//! Bytes from and to one socket, with or without TLS.
//!
//! Reads go into buffers the whole shard shares, so that an idle connection holds none.
//! Writes take the outbox's slices as they are: without TLS one system call, with TLS one
//! record where it fits, then one system call.

use std::io::{self, ErrorKind, IoSlice, Read, Write};

use mio::net::TcpStream;
use rustls::ServerConnection;
use socket2::SockRef;

use super::EdgeCounters;

/// What one read may bring: a bound on what one connection does in a turn.
pub(crate) const READ_BYTES: usize = 64 << 10;
/// Plaintext of one read, and of a record begun before.
const PLAIN_BYTES: usize = READ_BYTES + (32 << 10);
/// Plaintext put into rustls at once: one record.
const RECORD_BYTES: usize = 16 << 10;

/// The shard's read buffers.
pub(crate) struct Buffers {
    raw: Box<[u8]>,
    /// Only filled where there is TLS.
    plain: Vec<u8>,
}

impl Buffers {
    pub(crate) fn new() -> Self {
        Self {
            raw: vec![0; READ_BYTES].into_boxed_slice(),
            plain: Vec::new(),
        }
    }
}

/// What a read brought.
pub(crate) enum Arrived<'a> {
    /// Bytes of the peer, decrypted; may be none where TLS spoke for itself.
    Bytes(&'a mut [u8]),
    /// The same, and the peer says that these are the last.
    Last(&'a mut [u8]),
    /// Nothing is waiting.
    Nothing,
    /// The peer ended, or the socket broke.
    End,
    /// What came is not TLS, or not acceptable TLS.
    TlsFailed,
}

/// Whether to read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum More {
    /// The kernel may hold more.
    Maybe,
    /// It was empty.
    No,
}

/// Reads once.
pub(crate) fn receive<'a>(
    mut socket: &TcpStream,
    tls: Option<&mut ServerConnection>,
    buffers: &'a mut Buffers,
    counters: &mut EdgeCounters,
) -> (Arrived<'a>, More) {
    counters.reads_total += 1;
    let count = match socket.read(&mut buffers.raw) {
        Ok(0) => return (Arrived::End, More::No),
        Ok(count) => count,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return (Arrived::Nothing, More::No),
        Err(error) if error.kind() == ErrorKind::Interrupted => return (Arrived::Nothing, More::Maybe),
        Err(_) => return (Arrived::End, More::No),
    };
    counters.read_bytes_total += count as u64;
    // On a stream a short read means that the kernel had no more (epoll(7)): a later byte
    // or end is a new edge, an end that is there already is told by the event.
    let more = if count == buffers.raw.len() {
        More::Maybe
    } else {
        More::No
    };
    let Some(tls) = tls else {
        return (Arrived::Bytes(&mut buffers.raw[..count]), more);
    };
    buffers.plain.resize(PLAIN_BYTES, 0);
    match decrypt(tls, &buffers.raw[..count], &mut buffers.plain) {
        Decrypted::Bytes(len) => (Arrived::Bytes(&mut buffers.plain[..len]), more),
        Decrypted::Last(len) => (Arrived::Last(&mut buffers.plain[..len]), More::No),
        Decrypted::Failed => (Arrived::TlsFailed, More::No),
    }
}

enum Decrypted {
    Bytes(usize),
    Last(usize),
    Failed,
}

fn decrypt(tls: &mut ServerConnection, mut raw: &[u8], plain: &mut [u8]) -> Decrypted {
    let mut filled = 0;
    while !raw.is_empty() {
        let Ok(_) = tls.read_tls(&mut raw) else {
            return Decrypted::Failed;
        };
        if tls.process_new_packets().is_err() {
            return Decrypted::Failed;
        }
        loop {
            if filled == plain.len() {
                // Plaintext is never longer than what carried it.
                return Decrypted::Failed;
            }
            match tls.reader().read(&mut plain[filled..]) {
                // close_notify: whatever may follow it is not the peer's.
                Ok(0) => return Decrypted::Last(filled),
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return Decrypted::Failed,
            }
        }
    }
    Decrypted::Bytes(filled)
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// So many of the given bytes are on their way.
    Bytes(usize),
    /// The kernel takes no more now: an edge will tell when it does.
    Blocked,
    /// The socket broke.
    Gone,
}

/// Writes what it can of `slices`.
pub(crate) fn send(
    socket: &TcpStream,
    tls: Option<&mut ServerConnection>,
    slices: &[IoSlice<'_>],
    counters: &mut EdgeCounters,
) -> Sent {
    let Some(tls) = tls else {
        return sent(Quiet { socket, counters }.write_vectored(slices));
    };
    // One record at a time, and only when the one before is gone: what waits, waits in the
    // outbox, where it can still be overtaken.
    match send_tls(socket, tls, counters) {
        Sent::Bytes(_) => {}
        other => return other,
    }
    let count = match write_record(tls, slices) {
        Ok(count) => count,
        Err(_) => return Sent::Gone,
    };
    match send_tls(socket, tls, counters) {
        // It is in the record, and the record is rustls's to send.
        Sent::Bytes(_) | Sent::Blocked => Sent::Bytes(count),
        Sent::Gone => Sent::Gone,
    }
}

fn write_record(tls: &mut ServerConnection, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let mut fitting = 0;
    let mut bytes = 0;
    for slice in slices {
        if bytes + slice.len() > RECORD_BYTES {
            break;
        }
        bytes += slice.len();
        fitting += 1;
    }
    if fitting == 0 {
        let first = slices
            .first()
            .map_or(&[][..], |slice| &slice[..slice.len().min(RECORD_BYTES)]);
        return tls.writer().write(first);
    }
    tls.writer().write_vectored(&slices[..fitting])
}

/// Writes what TLS itself has to say; `Bytes` when nothing of it is left.
pub(crate) fn send_tls(socket: &TcpStream, tls: &mut ServerConnection, counters: &mut EdgeCounters) -> Sent {
    while tls.wants_write() {
        match sent(tls.write_tls(&mut Quiet { socket, counters })) {
            Sent::Bytes(_) => {}
            other => return other,
        }
    }
    Sent::Bytes(0)
}

fn sent(result: io::Result<usize>) -> Sent {
    match result {
        Ok(0) => Sent::Gone,
        Ok(count) => Sent::Bytes(count),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Sent::Blocked,
        // Nothing was written; there is no other reason than a signal to be told so.
        Err(error) if error.kind() == ErrorKind::Interrupted => Sent::Bytes(0),
        Err(_) => Sent::Gone,
    }
}

/// Writes that count themselves and never raise SIGPIPE, whatever the process did with it.
struct Quiet<'a> {
    socket: &'a TcpStream,
    counters: &'a mut EdgeCounters,
}

impl Quiet<'_> {
    fn count(&mut self, result: io::Result<usize>, wanted: usize) -> io::Result<usize> {
        self.counters.writes_total += 1;
        let written = *result.as_ref().unwrap_or(&0);
        self.counters.written_bytes_total += written as u64;
        self.counters.writes_blocked_total += u64::from(written < wanted);
        result
    }
}

impl Write for Quiet<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = SockRef::from(self.socket).send_with_flags(bytes, libc::MSG_NOSIGNAL);
        self.count(result, bytes.len())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        // `send` is a little cheaper than `sendmsg`, and one slice is the usual case.
        if let [slice] = slices {
            return self.write(slice);
        }
        let wanted = slices.iter().map(|slice| slice.len()).sum();
        let result = SockRef::from(self.socket).send_vectored_with_flags(slices, libc::MSG_NOSIGNAL);
        self.count(result, wanted)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! A connection that was handed over, as hyper wants it: first what was read already,
//! then the socket, through TLS where there is some.
//!
//! A peer that takes nothing of what it asked for is given up after a while. One that is
//! still sending when the last word was said is listened to a little longer: closing over
//! its bytes would reset the connection, and the word could be lost with it.

use std::{
    io::{self, Read, Write},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use rustls::ServerConnection;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::watch,
    time::{Sleep, sleep},
};

use crate::control::HandedOver;

/// How long a peer may go on sending after the last word.
const LINGER: Duration = Duration::from_millis(500);

pub(super) struct Stream {
    socket: TcpStream,
    tls: Option<Box<ServerConnection>>,
    read_ahead: Bytes,
    /// How long a write may make no progress.
    write_timeout: Duration,
    /// Runs while a write waits for the peer.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Runs after the last word.
    lingering: Option<Pin<Box<Sleep>>>,
    stopping: watch::Receiver<bool>,
}

impl Stream {
    pub(super) fn new(
        handed_over: HandedOver,
        write_timeout: Duration,
        stopping: watch::Receiver<bool>,
    ) -> io::Result<Self> {
        Ok(Self {
            socket: TcpStream::from_std(handed_over.stream)?,
            tls: handed_over.tls,
            read_ahead: handed_over.read_ahead,
            write_timeout,
            stalled: None,
            lingering: None,
            stopping,
        })
    }

    /// A write's outcome; one that waits too long becomes an error.
    fn in_time<T>(&mut self, context: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.stalled = None;
            return poll;
        }
        let timeout = self.write_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn try_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(tls) = &mut self.tls else {
            return Pin::new(&mut self.socket).poll_write(context, bytes);
        };
        // First what waits: rustls' buffer must not grow with a reader that stands still.
        ready!(poll_drain(tls, &mut self.socket, context))?;
        let len = tls.writer().write(bytes)?;
        match poll_drain(tls, &mut self.socket, context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(len)),
        }
    }

    fn try_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(tls) = &mut self.tls {
            ready!(poll_drain(tls, &mut self.socket, context))?;
        }
        Pin::new(&mut self.socket).poll_flush(context)
    }

    /// Reads and forgets, until the peer ends too or the time is over.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let lingering = self.lingering.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        if *self.stopping.borrow() || lingering.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let mut bytes = [0; 4096];
        loop {
            let mut bytes = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut self.socket).poll_read(context, &mut bytes));
            if read.is_err() || bytes.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }
}

/// The socket as rustls wants it: `WouldBlock` where it would wait, having arranged to be woken.
struct Blocking<'a, 'b, 'c> {
    socket: &'a mut TcpStream,
    context: &'b mut Context<'c>,
}

impl Read for Blocking<'_, '_, '_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut out = ReadBuf::new(out);
        match Pin::new(&mut *self.socket).poll_read(self.context, &mut out) {
            Poll::Ready(result) => result.map(|()| out.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Blocking<'_, '_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match Pin::new(&mut *self.socket).poll_write(self.context, bytes) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes what rustls holds; pending while the socket takes no more.
fn poll_drain(
    tls: &mut ServerConnection,
    socket: &mut TcpStream,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while tls.wants_write() {
        match tls.write_tls(&mut Blocking { socket, context }) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
    Poll::Ready(Ok(()))
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.read_ahead.has_remaining() {
            let len = this.read_ahead.len().min(out.remaining());
            out.put_slice(&this.read_ahead.split_to(len));
            return Poll::Ready(Ok(()));
        }
        let Some(tls) = &mut this.tls else {
            return Pin::new(&mut this.socket).poll_read(context, out);
        };
        loop {
            match tls.reader().read(out.initialize_unfilled()) {
                Ok(len) => {
                    out.advance(len);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The peer ended without saying so in TLS: an end all the same.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(error)),
            }
            let socket = &mut this.socket;
            match tls.read_tls(&mut Blocking { socket, context }) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
            tls.process_new_packets().map_err(io::Error::other)?;
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = this.try_write(context, bytes);
        this.in_time(context, poll)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let poll = this.try_flush(context);
        this.in_time(context, poll)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingering.is_none() {
            if let Some(tls) = &mut this.tls {
                tls.send_close_notify();
            }
            let poll = this.try_flush(context);
            ready!(this.in_time(context, poll))?;
            ready!(Pin::new(&mut this.socket).poll_shutdown(context))?;
        }
        this.poll_linger(context).map(Ok)
    }
}

//! Those that read slowly: so many bytes a second, a little at a time.
//!
//! What a slow reader has not read waits in three places: the server's outbox, the server's kernel, and its own.
//! Only the first two are the server's doing, so a trickling connection asks its kernel for a
//! receive buffer as small as it gives (`RECEIVE_BUFFER`, see `entry`); what is left there is read at the same
//! rate as the rest, and counts in the age of what is seen.

use std::time::Duration;

use super::{Reading, Swarm};
use crate::{LoadError, process::steady_ns};

/// How often they read.
pub(super) const EVERY: Duration = Duration::from_millis(2);

/// Longest time of which the allowance is kept when nothing came: then it reads at once what comes.
const KEPT: Duration = Duration::from_millis(10);

/// `SO_RCVBUF` of a trickling connection: the kernel doubles it, and counts its own bookkeeping in it.
pub(super) const RECEIVE_BUFFER: usize = 4 << 10;

/// `TCP_MAXSEG` of a trickling connection, as on an Ethernet: with loopback's 64 KiB one segment
/// would not fit in that buffer.
pub(super) const SEGMENT: u32 = 1448;

impl Swarm {
    /// Lets the trickling read what they may.
    pub(super) fn trickle(&mut self) -> Result<(), LoadError> {
        if self.trickling.is_empty() {
            return Ok(());
        }
        let now_ns = steady_ns();
        let elapsed = now_ns.saturating_sub(self.trickled_ns);
        if elapsed < EVERY.as_nanos() as u64 {
            return Ok(());
        }
        self.trickled_ns = now_ns;
        let seconds = Duration::from_nanos(elapsed).as_secs_f64();
        for place in 0..self.trickling.len() {
            let index = self.trickling[place];
            let connection = &mut self.connections[index];
            let Reading::Trickling(rate) = connection.reading else {
                continue;
            };
            // A turn of ours that came late is made up for: the link it stands for would not have waited.
            let kept = rate * KEPT.as_secs_f64().max(seconds);
            connection.allowance = (connection.allowance + rate * seconds).min(kept);
            let most = connection.allowance as usize;
            if most > 0 {
                let len = self.read_some(index, most)?;
                self.connections[index].allowance -= len as f64;
            }
        }
        let connections = &self.connections;
        self.trickling
            .retain(|index| connections[*index].stage == super::Stage::Ready);
        Ok(())
    }
}

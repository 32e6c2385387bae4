//! What is said over a connection: bytes in, messages to the shard; outbox to bytes out.

use std::time::Duration;

use tidegate_core::{ConnId, Moment, grant::Claims};
use tidegate_wire::{
    CloseReason, Reject, RejectCode,
    ws::{
        frame::{Opcode, server_frame},
        reader::Message,
    },
};

use super::{Driver, READS_TIME, Share};
use crate::{
    edge::{
        HandshakeFailure,
        authority::Answer,
        connection::{Connection, Phase},
        crowd::Full,
        queue::Slot,
        transport::{Arrived, Buffers, More, receive},
    },
    flush::{Flushed, flush},
};

/// Tokens that wait for keys; beyond it the client is told to come back later.
const UNVERIFIED_MAX: usize = 4096;
/// How long to wait for word of them.
const KEYS_PATIENCE: Duration = Duration::from_secs(1);
/// When a user may try again that has too many connections: one of them may have gone.
const USER_RETRY_MS: u32 = 10_000;
/// When to come back then.
const KEYS_RETRY_MS: u32 = 2_000;

impl Driver {
    /// Reads once from each connection that has something, as far as the turn's share goes.
    /// Who may have more is read again next turn, after all the others.
    pub(super) fn read_ready(&mut self, buffers: &mut Buffers) {
        let mut share = Share::of(READS_TIME);
        let mut ready = std::mem::take(&mut self.ready);
        let mut count = 0;
        for slot in &ready {
            if share.is_spent() {
                break;
            }
            self.read(*slot, buffers);
            count += 1;
        }
        ready.drain(..count);
        // Those to be read again were put into a new list: they go behind the rest.
        ready.append(&mut self.ready);
        self.ready = ready;
    }

    fn read(&mut self, slot: Slot, buffers: &mut Buffers) {
        let now_ms = to_ms(self.now);
        let Some(connection) = self.connections.get_mut(slot.index as usize) else {
            return;
        };
        if connection.generation != slot.generation {
            return;
        }
        connection.flags.is_ready = false;
        let tls = connection.tls.as_deref_mut();
        let (arrived, more) = receive(&connection.socket, tls, buffers, &mut self.counters);
        match arrived {
            Arrived::Bytes(bytes) => {
                connection.heard_ms = now_ms;
                let read_again = more == More::Maybe || connection.flags.has_ended;
                self.on_bytes(slot, bytes);
                if read_again && let Some(connection) = self.connection(slot) {
                    connection.flags.is_ready = true;
                    self.ready.push(slot);
                }
            }
            Arrived::Last(bytes) => {
                self.on_bytes(slot, bytes);
                self.on_end(slot);
            }
            // The end that was told belonged to another socket in this place.
            Arrived::Nothing => connection.flags.has_ended = false,
            Arrived::End => self.on_end(slot),
            Arrived::TlsFailed => self.on_tls_failed(slot),
        }
    }

    fn on_bytes(&mut self, slot: Slot, bytes: &mut [u8]) {
        match &self.connections[slot.index as usize].phase {
            Phase::Head(_) => self.on_head_bytes(slot, bytes),
            Phase::Open { .. } => self.on_frames(slot, bytes),
            Phase::Lingering => {}
        }
    }

    pub(super) fn on_frames(&mut self, slot: Slot, bytes: &mut [u8]) {
        let Some(Connection {
            phase: Phase::Open { conn, reader },
            flags,
            ..
        }) = self.connections.get_mut(slot.index as usize)
        else {
            return;
        };
        // After our close frame nothing more is taken; the peer's own is answered by silence.
        if flags.is_closing {
            return;
        }
        let (conn, now, shard) = (*conn, self.now, &mut self.shard);
        let is_binary = flags.is_binary;
        let mut input = reader.input(bytes, &mut self.inflater);
        loop {
            match input.next() {
                Ok(Some(Message::Text(text))) if !is_binary => shard.handle_message(conn, text, now),
                Ok(Some(Message::Binary(bytes))) if is_binary => shard.handle_message(conn, bytes, now),
                // The other kind of frame than was agreed on.
                Ok(Some(Message::Text(_) | Message::Binary(_))) => {
                    return shard.close(conn, CloseReason::Malformed, now);
                }
                Ok(Some(Message::Ping(payload))) => {
                    shard.push_control(conn, server_frame(Opcode::Pong, payload), now);
                }
                // That something came at all is what counts.
                Ok(Some(Message::Pong(_))) => {}
                Ok(Some(Message::Close { code, .. })) => {
                    return shard.close_with(conn, code.unwrap_or(1000), "", now);
                }
                Ok(None) => return,
                Err(error) => return shard.close_with(conn, error.code, error.reason, now),
            }
        }
    }

    fn on_end(&mut self, slot: Slot) {
        if self.is_half_open(slot) {
            return self.fail(slot, HandshakeFailure::Gone);
        }
        self.remove(slot);
    }

    fn on_tls_failed(&mut self, slot: Slot) {
        // The alert that says why is waiting in rustls.
        self.write_tls_rest(slot);
        if self.is_half_open(slot) {
            return self.fail(slot, HandshakeFailure::Tls);
        }
        self.remove(slot);
    }

    /// Writes what waits for a connection, unless the kernel is known to be full.
    pub(super) fn write(&mut self, slot: Slot) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(slot.index as usize) else {
            return;
        };
        if connection.generation != slot.generation || connection.flags.is_blocked {
            return;
        }
        let Some(conn) = connection.session() else {
            return self.write_tls_rest(slot);
        };
        let tls = connection.tls.as_deref_mut();
        match flush(
            &mut self.shard,
            conn,
            &connection.socket,
            tls,
            &mut self.counters,
            now,
        ) {
            Flushed::All if connection.flags.is_closing => self.linger(slot),
            Flushed::All => {}
            Flushed::Blocked => {
                connection.flags.is_blocked = true;
                let takes_in = |time| self.shard.reader_takes(conn, time);
                let unsent = connection.unsent.handle_full(takes_in, to_ms(now));
                connection.hold_unsent(unsent);
            }
            Flushed::Gone => self.remove(slot),
        }
    }

    fn write_tls_rest(&mut self, slot: Slot) {
        if let Some(Connection {
            tls: Some(tls),
            socket,
            ..
        }) = self.connections.get_mut(slot.index as usize)
        {
            let _ = crate::edge::transport::send_tls(socket, tls, &mut self.counters);
        }
    }

    /// Answers what can be answered at once; where keys must be fetched first, the token waits.
    pub(super) fn verify(&mut self) {
        while let Some((conn, token)) = self.shard.poll_verify() {
            self.verify_one(conn, token);
        }
        if !self.unverified.is_empty() && self.keys_due <= self.now {
            self.verify_again();
        }
    }

    /// The keys are here, or will not come.
    pub(super) fn verify_again(&mut self) {
        self.keys_due = self.now + KEYS_PATIENCE;
        for (conn, token) in std::mem::take(&mut self.unverified) {
            self.verify_one(conn, token);
        }
    }

    fn verify_one(&mut self, conn: ConnId, token: String) {
        let result = match self.authority.verify(&token, self.now) {
            Answer::Verified(result) => result,
            Answer::KeysAsked if self.unverified.len() < UNVERIFIED_MAX => {
                if self.unverified.is_empty() {
                    self.keys_due = self.now + KEYS_PATIENCE;
                }
                return self.unverified.push_back((conn, token));
            }
            Answer::KeysAsked => {
                let detail = "too many tokens wait for the issuer's keys";
                Err(Reject::retry(RejectCode::Overloaded, KEYS_RETRY_MS, detail))
            }
        };
        let slot = self.slot_of(conn);
        let result = match (result, slot) {
            (Ok(claims), Some(slot)) => self.check_crowd(slot, claims),
            (result, _) => result,
        };
        let is_in = result.is_ok();
        self.shard.handle_verified(conn, result, self.now);
        if let Some(slot) = slot.filter(|_| is_in) {
            self.gate.connected(slot, self.now);
        }
    }

    /// Whether one more connection of this user may be.
    fn check_crowd(&mut self, slot: Slot, claims: Claims) -> Result<Claims, Reject> {
        let guest = self.connections[slot.index as usize].guest.as_deref_mut();
        let Some(place) = guest.and_then(|guest| guest.place.as_mut()) else {
            return Ok(claims);
        };
        match place.name(&claims.user) {
            Ok(()) => Ok(claims),
            Err(Full) => Err(Reject::retry(
                RejectCode::RateLimited,
                USER_RETRY_MS,
                "this user has as many connections as may be",
            )),
        }
    }
}

impl Connection {
    /// For how long nothing came.
    pub(super) fn silence_ms(&self, now: Moment) -> u32 {
        to_ms(now).wrapping_sub(self.heard_ms)
    }
}

/// Wraps after 49 days; only differences count.
pub(super) fn to_ms(now: Moment) -> u32 {
    (now.0 / 1_000_000) as u32
}

//! How connections end: politely where the peer allows it, in any case soon.
//!
//! ```text
//!   close frame in the outbox ─► written ─► our end shut ─► peer's end, or FAREWELL_TIME ─► closed
//! ```

use std::net::Shutdown;

use bytes::Bytes;
use tidegate_wire::CloseReason;

use super::{Driver, FAREWELLS_MAX};
use crate::edge::{HandshakeFailure, connection::Phase, queue::Slot, transport::send_tls};

/// An empty ping.
const PING: &[u8] = &[0x89, 0];

impl Driver {
    /// Connections the shard has closed: their close frame is in the outbox, or written already.
    pub(super) fn part_with_closing(&mut self) {
        while let Some(conn) = self.shard.poll_closing() {
            let Some(slot) = self.slot_of(conn) else {
                continue;
            };
            let connection = &mut self.connections[slot.index as usize];
            connection.flags.is_closing = true;
            self.farewells.push(slot, self.now);
            self.bound_farewells();
            // The dirty outboxes were flushed, unless this one got its close only just now.
            self.write(slot);
        }
    }

    /// The last word is with the kernel: shuts our end and waits for the peer's.
    pub(super) fn linger(&mut self, slot: Slot) {
        let Some(connection) = self.connection(slot) else {
            return;
        };
        let is_known = connection.flags.is_closing;
        let is_half_open = matches!(connection.phase, Phase::Head(_));
        let session = connection.session();
        connection.phase = Phase::Lingering;
        connection.flags.is_closing = true;
        let connection = &mut self.connections[slot.index as usize];
        if let Some(tls) = &mut connection.tls {
            tls.send_close_notify();
            let _ = send_tls(&connection.socket, tls, &mut self.counters);
        }
        let is_shut = connection.socket.shutdown(Shutdown::Write).is_ok();
        if let Some(conn) = session {
            self.shard.handle_closed(conn, self.now);
        }
        self.counters.half_open -= u64::from(is_half_open);
        if !is_shut || connection.flags.has_ended {
            return self.remove(slot);
        }
        if !is_known {
            self.farewells.push(slot, self.now);
            self.bound_farewells();
        }
    }

    fn bound_farewells(&mut self) {
        if self.farewells.len() > FAREWELLS_MAX
            && let Some(oldest) = self.farewells.pop()
        {
            self.remove(oldest);
        }
    }

    /// Ends those whose time is over.
    pub(super) fn end_overdue(&mut self) {
        while let Some(slot) = self.half_open.pop_due(self.now) {
            if self.is_half_open(slot) {
                self.fail(slot, HandshakeFailure::Timeout);
            }
        }
        while let Some(slot) = self.farewells.pop_due(self.now) {
            self.remove(slot);
        }
        // Those who came through would only wake us.
        let (connections, half_open, farewells) =
            (&self.connections, &mut self.half_open, &mut self.farewells);
        let is_there = |slot: Slot, is_half_open: bool| {
            let connection = connections.get(slot.index as usize);
            connection.is_some_and(|connection| {
                connection.generation == slot.generation
                    && matches!(connection.phase, Phase::Head(_)) == is_half_open
            })
        };
        half_open.skip(|slot| is_there(slot, true));
        farewells.skip(|slot| is_there(slot, false));
    }

    /// Pings whoever is next, and ends those who were silent for too long.
    pub(super) fn move_pulse(&mut self) {
        let places = self.connections.capacity();
        let visits = self.pulse.advance(places, self.now);
        for step in 0..visits.count {
            let place = (visits.start + step) % places;
            if let Some(connection) = self.connections.get(place)
                && let Some(conn) = connection.session()
                && !connection.flags.is_closing
            {
                if connection.silence_ms(self.now) >= self.pulse.silence_max_ms() {
                    self.shard.close(conn, CloseReason::PingTimeout, self.now);
                } else {
                    self.shard.push_control(conn, Bytes::from_static(PING), self.now);
                }
            }
        }
    }

    /// Forgets a socket, which closes it.
    pub(super) fn remove(&mut self, slot: Slot) {
        if self.connection(slot).is_none() {
            return;
        }
        self.gate.left(slot, self.now);
        let connection = self.connections.remove(slot.index as usize);
        match connection.phase {
            Phase::Head(_) => self.counters.half_open -= 1,
            Phase::Open { conn, .. } => self.shard.handle_closed(conn, self.now),
            Phase::Lingering => {}
        }
        self.count_sockets();
        self.leave_load();
    }
}

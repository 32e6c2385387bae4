//! How a socket becomes a session, or goes to the back office, or is refused in words.

use std::{
    io::IoSlice,
    net::{SocketAddr, TcpStream as StdStream},
};

use bytes::Bytes;
use mio::{Interest, Token};
use rustls::ServerConnection;
use tidegate_core::admission::Class;
use tidegate_wire::ws::reader::{Reader, Role};
use tokio::sync::mpsc::error::TrySendError;
use tracing::debug;

use super::{Driver, NEWCOMERS_MAX, talk::to_ms};
use crate::{
    acceptor::Newcomer,
    control::HandedOver,
    edge::{
        HandshakeFailure,
        connection::{Connection, Phase},
        handshake::{Judgement, Upgrade, busy_response, judge},
        queue::Slot,
        transport::{Sent, send, send_tls},
    },
};

impl Driver {
    pub(super) fn take_newcomers(&mut self) {
        for _ in 0..NEWCOMERS_MAX {
            let Ok(newcomer) = self.intake.try_recv() else {
                return;
            };
            self.on_newcomer(newcomer);
        }
        self.has_leftovers = true;
    }

    fn on_newcomer(&mut self, newcomer: Newcomer) {
        let Newcomer { mut socket, guest } = newcomer;
        // TLS is what costs: before its first byte is the time to say no, in no words.
        if self.tls.is_some() && self.shard.try_admit(Class::Handshake).is_err() {
            self.counters.fail(HandshakeFailure::Shed);
            return self.leave_load();
        }
        let tls = match &self.tls {
            Some(config) => match ServerConnection::new(config.load_full()) {
                Ok(tls) => Some(Box::new(tls)),
                Err(error) => {
                    debug!(%error, "no TLS for a new connection");
                    self.counters.fail(HandshakeFailure::Tls);
                    return self.leave_load();
                }
            },
            None => None,
        };
        let entry = self.connections.vacant_entry();
        let token = Token(entry.key());
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut socket, token, interest) {
            debug!(%error, "a new connection cannot be watched");
            self.counters.fail(HandshakeFailure::Gone);
            return self.leave_load();
        }
        self.generation = self.generation.wrapping_add(1);
        let slot = Slot {
            index: entry.key() as u32,
            generation: self.generation,
        };
        if tls.is_some() && !self.gate.try_enter(slot, self.now) {
            self.counters.fail(HandshakeFailure::Overloaded);
            return self.leave_load();
        }
        let mut connection = Connection::new(
            socket,
            self.generation,
            to_ms(self.now),
            self.edge_limits.unsent_bytes,
        );
        connection.tls = tls;
        connection.guest = guest;
        entry.insert(connection);
        self.count_sockets();
        self.counters.half_open += 1;
        self.half_open.push(slot, self.now);
        // A shard that ends takes nobody.
        if self.until.is_some() {
            self.turn_away(slot, HandshakeFailure::Draining);
        } else if self.counters.half_open as usize > self.edge_limits.handshakes_max {
            self.drop_oldest_half_open();
        }
    }

    /// Refuses someone who has no session: there is no room, now.
    pub(super) fn turn_away(&mut self, slot: Slot, failure: HandshakeFailure) {
        self.counters.fail(failure);
        self.say(slot, &busy_response(self.retry_after));
        self.linger(slot);
    }

    fn drop_oldest_half_open(&mut self) {
        while let Some(slot) = self.half_open.pop() {
            if self.is_half_open(slot) {
                return self.fail(slot, HandshakeFailure::TooManyHalfOpen);
            }
        }
    }

    pub(super) fn is_half_open(&self, slot: Slot) -> bool {
        let connection = self.connections.get(slot.index as usize);
        connection.is_some_and(|connection| {
            connection.generation == slot.generation && matches!(connection.phase, Phase::Head(_))
        })
    }

    /// Ends a handshake without a word: there is none the peer would understand.
    pub(super) fn fail(&mut self, slot: Slot, failure: HandshakeFailure) {
        debug!(reason = failure.name(), "handshake failed");
        self.counters.fail(failure);
        self.remove(slot);
    }

    /// Bytes of the HTTP head, or what TLS needed to say before it.
    pub(super) fn on_head_bytes(&mut self, slot: Slot, bytes: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(slot.index as usize) else {
            return;
        };
        if let Some(tls) = &mut connection.tls {
            match send_tls(&connection.socket, tls, &mut self.counters) {
                Sent::Bytes(_) => {}
                Sent::Blocked => connection.flags.is_blocked = true,
                Sent::Gone => return self.fail(slot, HandshakeFailure::Gone),
            }
        }
        let Phase::Head(kept) = &mut connection.phase else {
            return;
        };
        if bytes.is_empty() {
            return;
        }
        // Usually the whole head is there at once: then nothing is copied.
        if kept.is_empty() {
            let judgement = judge(bytes, 0, &self.door);
            return self.on_judgement(slot, judgement, bytes);
        }
        let mut head = std::mem::take(kept);
        let judged = head.len();
        head.extend_from_slice(bytes);
        let judgement = judge(&head, judged, &self.door);
        self.on_judgement(slot, judgement, &mut head);
    }

    fn on_judgement(&mut self, slot: Slot, judgement: Judgement, head: &mut [u8]) {
        match judgement {
            Judgement::Partial => {
                if let Some(connection) = self.connection(slot) {
                    connection.phase = Phase::Head(head.to_vec());
                }
            }
            Judgement::Upgrade(upgrade) => {
                let rest = &mut head[upgrade.len..];
                self.on_upgrade(slot, upgrade, rest);
            }
            Judgement::HandOver => self.hand_over(slot, Bytes::copy_from_slice(head)),
            Judgement::Refuse { response, failure } => {
                debug!(reason = failure.name(), "handshake refused");
                self.counters.fail(failure);
                self.say(slot, &response);
                self.linger(slot);
            }
        }
    }

    fn on_upgrade(&mut self, slot: Slot, upgrade: Upgrade, rest: &mut [u8]) {
        // Behind TLS it has its place already.
        let is_plain = self.tls.is_none();
        if is_plain && self.shard.try_admit(Class::Handshake).is_err() {
            return self.turn_away(slot, HandshakeFailure::Shed);
        }
        if is_plain && !self.gate.try_enter(slot, self.now) {
            return self.turn_away(slot, HandshakeFailure::Overloaded);
        }
        let guest = self.connections[slot.index as usize].guest.as_ref();
        let address = guest.map(|guest| guest.address).unwrap_or_default();
        let Some(conn) = self.shard.handle_open_from(upgrade.link, address, self.now) else {
            self.gate.left(slot, self.now);
            let failure = match self.shard.is_draining() {
                true => HandshakeFailure::Draining,
                false => HandshakeFailure::SessionsMax,
            };
            return self.turn_away(slot, failure);
        };
        let index = conn.index as usize;
        if index >= self.places.len() {
            self.places.resize(index + 1, u32::MAX);
        }
        self.places[index] = slot.index;
        let connection = &mut self.connections[slot.index as usize];
        let reader = Reader::new(Role::Server, self.door.frame_bytes_max, upgrade.has_deflate);
        connection.flags.is_binary = upgrade.link.codec == tidegate_wire::Codec::Binary;
        connection.phase = Phase::Open { conn, reader };
        self.counters.half_open -= 1;
        self.counters.upgrades_total += 1;
        // It goes first in the outbox, with whatever is answered to what came with the head.
        self.shard.push_control(conn, upgrade.response, self.now);
        if !rest.is_empty() {
            self.on_frames(slot, rest);
        }
    }

    fn hand_over(&mut self, slot: Slot, read_ahead: Bytes) {
        let index = slot.index as usize;
        let Ok(peer) = self.connections[index].socket.peer_addr() else {
            return self.fail(slot, HandshakeFailure::Gone);
        };
        let back_office = self.back_office.clone();
        let permit = match back_office.try_reserve() {
            Ok(permit) => permit,
            Err(TrySendError::Full(()) | TrySendError::Closed(())) => {
                return self.turn_away(slot, HandshakeFailure::BackOfficeBusy);
            }
        };
        self.gate.left(slot, self.now);
        let mut connection = self.connections.remove(index);
        if let Err(error) = self.poll.registry().deregister(&mut connection.socket) {
            debug!(%error, "a connection could not be handed over");
        }
        permit.send(handed_over(connection, read_ahead, peer));
        self.counters.half_open -= 1;
        self.counters.handed_over_total += 1;
        self.count_sockets();
        self.leave_load();
    }

    /// Says a few words to a connection that has no session; what does not fit is lost.
    fn say(&mut self, slot: Slot, words: &[u8]) {
        let connection = &mut self.connections[slot.index as usize];
        let tls = connection.tls.as_deref_mut();
        let _ = send(
            &connection.socket,
            tls,
            &[IoSlice::new(words)],
            &mut self.counters,
        );
    }
}

fn handed_over(connection: Connection, read_ahead: Bytes, peer: SocketAddr) -> HandedOver {
    let stream = StdStream::from(connection.socket);
    HandedOver {
        stream,
        tls: connection.tls,
        read_ahead,
        peer,
    }
}

//! One shard: its sessions, its rooms, what they ask of the engine and what waits
//! in their outboxes. (Signatures first; bodies follow.)

use std::io::IoSlice;

use bytes::Bytes;
use tidegate_wire::{CloseReason, Codec, Reject};

use crate::{
    Counters, Limits, Moment, Policies, WallClock,
    grant::Claims,
    request::{Event, Request},
};

/// One connection of one shard. Indices are dense and reused; the generation tells reuses apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    /// Place in the shard's table of sessions: small, dense, reused.
    pub index: u32,
    /// Which use of that place.
    pub generation: u32,
}

/// What the edge negotiated for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// How frames are written.
    pub codec: Codec,
    /// permessage-deflate was agreed on.
    pub deflate: bool,
}

/// What a shard is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Which shard this is, from 0.
    pub index: u16,
    /// Every namespace.
    pub policies: Policies,
    /// Every bound.
    pub limits: Limits,
    /// For stamps and pongs.
    pub wall: WallClock,
    /// For made-up names and samples.
    pub seed: u64,
}

/// See the module.
pub struct Shard {
    #[expect(dead_code, reason = "bodies follow")]
    setup: Setup,
}

#[allow(unused_variables, missing_docs)]
impl Shard {
    /// Makes an empty shard.
    pub fn new(setup: Setup) -> Self {
        Self { setup }
    }
    /// A WebSocket was opened; none when `sessions_max` is reached.
    pub fn handle_open(&mut self, link: Link, now: Moment) -> Option<ConnId> {
        todo!()
    }
    /// One whole WebSocket message arrived (text for JSON, binary for protobuf; inflated, UTF-8 checked).
    pub fn handle_message(&mut self, conn: ConnId, message: &[u8], now: Moment) {
        todo!()
    }
    /// The verifier's answer to `poll_verify`.
    pub fn handle_verified(&mut self, conn: ConnId, result: Result<Claims, Reject>, now: Moment) {
        todo!()
    }
    /// The engine said something.
    pub fn handle_event(&mut self, event: Event, now: Moment) {
        todo!()
    }
    /// The socket is gone. The `ConnId` is dead afterwards.
    pub fn handle_closed(&mut self, conn: ConnId, now: Moment) {
        todo!()
    }
    /// `deadline` has passed.
    pub fn handle_timeout(&mut self, now: Moment) {
        todo!()
    }
    /// Puts an edge's own small pre-framed bytes (WebSocket ping, pong) into the control lane and marks the outbox dirty.
    pub fn push_control(&mut self, conn: ConnId, framed: Bytes, now: Moment) {
        todo!()
    }
    /// Ends a connection: a close frame with `code` and `reason` goes last, then `poll_closing` names it.
    pub fn close_with(&mut self, conn: ConnId, code: u16, reason: &str, now: Moment) {
        todo!()
    }
    /// Ends a connection for a reason of ours.
    pub fn close(&mut self, conn: ConnId, reason: CloseReason, now: Moment) {
        todo!()
    }
    /// Ends every connection of `user`; returns how many.
    pub fn disconnect(&mut self, user: &[u8], now: Moment) -> u32 {
        todo!()
    }
    /// Tells every client that the server stops, and closes all.
    pub fn shut_down(&mut self, now: Moment) {
        todo!()
    }
    /// Next request for the engine.
    pub fn poll_request(&mut self) -> Option<Request> {
        todo!()
    }
    /// Next token to verify; answer by `handle_verified`, at once or later.
    pub fn poll_verify(&mut self) -> Option<(ConnId, String)> {
        todo!()
    }
    /// Puts waiting publications into outboxes: at most `visits` subscribers, large rooms in slices,
    /// other rooms in between. Returns how many were visited.
    pub fn fan_out(&mut self, visits: usize, now: Moment) -> usize {
        todo!()
    }
    /// Whether some subscriber still waits for `fan_out`.
    pub fn has_fan_out(&self) -> bool {
        todo!()
    }
    /// Next connection whose outbox got something since it was last named here.
    pub fn poll_dirty(&mut self) -> Option<ConnId> {
        todo!()
    }
    /// Fills `slices` with the front of the outbox, in the order to be written; returns how many.
    pub fn outbox<'a>(&'a self, conn: ConnId, slices: &mut [IoSlice<'a>]) -> usize {
        todo!()
    }
    /// Bytes waiting in the outbox.
    pub fn outbox_bytes(&self, conn: ConnId) -> usize {
        todo!()
    }
    /// The first `n` bytes of the outbox were written.
    pub fn handle_written(&mut self, conn: ConnId, n: usize, now: Moment) {
        todo!()
    }
    /// Next connection that ends: its close frame is the last thing in its outbox. The driver
    /// writes what it can within a short time, shuts the socket, then calls `handle_closed`.
    pub fn poll_closing(&mut self) -> Option<ConnId> {
        todo!()
    }
    /// When `handle_timeout` wants to be called.
    pub fn deadline(&self) -> Option<Moment> {
        todo!()
    }
    /// What was counted.
    pub fn counters(&self) -> &Counters {
        todo!()
    }
    /// Rooms joined here, whose name begins with `prefix` and comes after `after`, by name.
    pub fn rooms(&self, prefix: &str, after: &str, limit: usize) -> Vec<(String, u32)> {
        todo!()
    }
}

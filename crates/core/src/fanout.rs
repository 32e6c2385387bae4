//! The hot loop: from a room's feed into its subscribers' outboxes.
//!
//! A walk visits every subscriber once and gives each all it has not got. A large
//! room's walk is cut into slices; other rooms come in between, and what is
//! published meanwhile joins the visits still to come: a shard that is behind puts
//! several publications into one write. Nothing is allocated or copied per visit.

use slab::Slab;

use crate::{
    encoder::Encoder,
    limits::Limits,
    moment::Moment,
    outbox::{Lane, Pile},
    room::Room,
    session::Session,
};

/// What the walk needs besides the room.
pub struct Outboxes<'a> {
    /// Whose outboxes.
    pub sessions: &'a mut Slab<Session>,
    /// Their frames.
    pub pile: &'a mut Pile,
    /// For entries nobody needed before.
    pub encoder: &'a mut Encoder,
    /// Sessions whose outbox got something.
    pub dirty: &'a mut Vec<u32>,
    /// Sessions that are past their bound: to be closed, they got nothing.
    pub too_slow: &'a mut Vec<u32>,
    /// The bounds.
    pub limits: &'a Limits,
    /// The turn's time.
    pub now: Moment,
}

/// What a slice of a walk did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Slice {
    /// Subscribers visited.
    pub visits: usize,
    /// Publications put into outboxes.
    pub deliveries: u64,
    /// Bytes put into outboxes.
    pub bytes: usize,
}

/// Visits at most `visits` subscribers of `room`, from where its walk stands.
pub fn walk(room: &mut Room, visits: usize, out: &mut Outboxes<'_>) -> Slice {
    let mut slice = Slice::default();
    let end = room.subscribers.len().min(room.walk + visits);
    for index in room.walk..end {
        visit(room, index, out, &mut slice);
    }
    slice.visits = end - room.walk;
    room.walk = end;
    slice
}

/// Gives one subscriber all it has not got.
pub fn visit(room: &mut Room, index: usize, out: &mut Outboxes<'_>, slice: &mut Slice) {
    let subscriber = &mut room.subscribers[index];
    let session = &mut out.sessions[subscriber.session as usize];
    while subscriber.seq < room.feed.end() {
        let (batch, next) = room
            .feed
            .batch(subscriber.seq, subscriber.variant, &room.name, out.encoder);
        subscriber.seq = next;
        let len = batch.bytes.len();
        if len == 0 {
            continue;
        }
        let outbox = &mut session.outbox;
        let (bytes_max, age_max) = (out.limits.outbox_bytes_max, out.limits.outbox_age_max);
        if outbox.is_over(out.pile, len, bytes_max, age_max, out.now) {
            subscriber.seq = room.feed.end();
            out.too_slow.push(subscriber.session);
            return;
        }
        outbox.push(out.pile, Lane::Reliable, batch.bytes, out.now);
        slice.deliveries += u64::from(batch.publications);
        slice.bytes += len;
        if !outbox.is_dirty {
            outbox.is_dirty = true;
            out.dirty.push(subscriber.session);
        }
    }
}

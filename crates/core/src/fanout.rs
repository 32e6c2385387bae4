//! The hot loop: from a room's feed into its subscribers' outboxes.
//!
//! A walk visits every subscriber once and gives each all it has not got. A large
//! room's walk is cut into slices; other rooms come in between, and what is
//! published meanwhile joins the visits still to come: a shard that is behind puts
//! several publications into one write. Nothing is allocated or copied per visit.
//!
//! In the lanes `latest` and `lossy` a subscriber whose last frames are still waiting in its outbox is *behind*: it is passed over,
//! and comes back when they are gone (`catch_up`), to what is still worth it then. So what waits for
//! it is never more than one round, and nothing in it is older than the time it took to write the one before.

use std::time::Duration;

use slab::Slab;
use tidegate_wire::{
    Position,
    frame::{MembersChange, Push},
};

use crate::{
    counters::Counters,
    encoder::Encoder,
    feed::{Batch, Budget, Face, LeftOut},
    limits::Limits,
    members::Mirror,
    moment::Moment,
    outbox::{Lane, Pile},
    pace::Pace,
    planted::Bug,
    room::{Room, RoomId},
    session::Session,
    state::serve,
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
    /// Sessions that wait for their `max_rate`, and until when.
    pub early: &'a mut Vec<(u32, RoomId, Moment)>,
    /// The bounds.
    pub limits: &'a Limits,
    /// What is counted.
    pub counters: &'a mut Counters,
    /// The turn's time.
    pub now: Moment,
}

/// Visits at most `visits` subscribers of `room`, from where its walk stands. Returns how many.
pub fn walk(room_id: RoomId, room: &mut Room, visits: usize, out: &mut Outboxes<'_>) -> usize {
    let begin = room.walk;
    let end = room.subscribers.len().min(begin + visits);
    for index in begin..end {
        let is_last = index > 1 && index + 1 == room.subscribers.len();
        if is_last && out.pile.planted.is(Bug::MissSubscriber) {
            room.subscribers[index].seq = room.feed.end();
            continue;
        }
        visit(room_id, room, index, out);
    }
    room.walk = end;
    end - begin
}

/// Gives one subscriber all it has not got, unless it is behind or early.
fn visit(room_id: RoomId, room: &mut Room, index: usize, out: &mut Outboxes<'_>) {
    let epoch = room.epoch();
    let subscriber = &mut room.subscribers[index];
    if subscriber.seq >= room.feed.end() {
        return;
    }
    let lane = room.policy.lane;
    // A rate that was lifted may have left it far behind, too.
    let is_far = subscriber.is_behind || room.feed.has_trimmed(subscriber.seq);
    if subscriber.wishes.is_some() || (lane != Lane::Reliable && is_far) {
        return catch_up(room_id, room, index, out);
    }
    let session = &mut out.sessions[subscriber.session as usize];
    if room.feed.has_lossy() && session.outbox.is_over_soft(session.pace, out.limits) {
        return catch_up(room_id, room, index, out);
    }
    if is_behind(session, lane, out.limits) {
        subscriber.is_behind = true;
        return session.fall_behind(room_id, lane);
    }
    let face = Face {
        room: &room.name,
        epoch,
        policy: &room.policy,
    };
    while subscriber.seq < room.feed.end() {
        let (batch, next) = room
            .feed
            .batch(subscriber.seq, subscriber.variant, face, out.encoder, out.now);
        subscriber.seq = next;
        subscriber.offset = batch.offset.unwrap_or(subscriber.offset);
        if !out.push(subscriber.session, lane, batch) {
            subscriber.seq = room.feed.end();
            return;
        }
    }
}

/// Gives a subscriber that was behind, or wants less than everything, what is worth it now.
pub fn catch_up(room_id: RoomId, room: &mut Room, index: usize, out: &mut Outboxes<'_>) {
    let lane = room.policy.lane;
    let subscriber = &mut room.subscribers[index];
    let session = &mut out.sessions[subscriber.session as usize];
    if is_behind(session, lane, out.limits) {
        subscriber.is_behind = true;
        return session.fall_behind(room_id, lane);
    }
    // First what it was promised when it joined.
    if subscriber.snapshot.is_some() && !serve::send(room_id, room, index, out) {
        return;
    }
    let subscriber = &mut room.subscribers[index];
    let session = &mut out.sessions[subscriber.session as usize];
    if let Some(wishes) = &mut subscriber.wishes
        && let Some(at) = wishes.not_before(out.now)
    {
        if !std::mem::replace(&mut wishes.has_timer, true) {
            out.early.push((subscriber.session, room_id, at));
        }
        return;
    }
    let bytes_max = out.limits.outbox_bytes_max / 2;
    let rounds = |time| round_bytes(session.pace, time, bytes_max);
    let bytes = match lane {
        Lane::Lossy => rounds(room.policy.deadline / 4),
        Lane::Latest => rounds(ROUND_TIME),
        // All of it, or the connection is closed.
        Lane::Control | Lane::Reliable => usize::MAX,
    };
    let spares = session.outbox.is_over_soft(session.pace, out.limits);
    let budget = Budget { bytes, spares };
    let keys = subscriber.wishes.as_ref().and_then(|wishes| wishes.keys.as_ref());
    let place = (subscriber.seq, subscriber.offset);
    let has_missed_members = subscriber.variant.watches_members() && room.feed.has_trimmed(subscriber.seq);
    let choice = room.feed.choose(place, keys, &room.policy, budget, out.now);
    (subscriber.seq, subscriber.offset) = (choice.next, choice.offset);
    subscriber.is_behind = choice.next < room.feed.end();
    if subscriber.is_behind {
        session.fall_behind(room_id, lane);
    }
    let (session, variant) = (subscriber.session, subscriber.variant);
    if choice.left_out != LeftOut::NOTHING {
        let position = Position {
            epoch: room.epoch(),
            offset: choice.gap_offset,
        };
        let link = out.sessions[session as usize].link;
        let told = choice.left_out.frames(&room.name, position, link, out.encoder);
        let batch = Batch {
            bytes: told.into(),
            left_out: choice.left_out,
            ..Batch::EMPTY
        };
        if !out.push(session, lane, batch) {
            return;
        }
    }
    if has_missed_members {
        // Some differences are gone; those that follow change nothing that is not in here.
        let members = room.mirror.as_deref().map(Mirror::members).unwrap_or_default();
        let change = Push::Members(MembersChange::all(&room.name, members));
        let link = out.sessions[session as usize].link;
        let batch = Batch {
            bytes: out.encoder.push(link, &change),
            ..Batch::EMPTY
        };
        if !out.push(session, lane, batch) {
            return;
        }
    }
    for seq in choice.seqs {
        let batch = room.feed.frame(seq, variant, &room.name, out.encoder);
        if !out.push(session, lane, batch) {
            return;
        }
    }
}

/// Whether the last frames of a lane still wait, or so much else that the rest of the bound is for what must come.
fn is_behind(session: &Session, lane: Lane, limits: &Limits) -> bool {
    lane > Lane::Reliable
        && (session.outbox.is_stuck(lane) || session.outbox.is_over_soft(session.pace, limits))
}

/// What a reader of this pace is given at a time: what it takes in `time`, or [`BUDGET_MIN`]; never more than `most`.
pub fn round_bytes(pace: Pace, time: Duration, most: usize) -> usize {
    pace.bytes_in(time).max(BUDGET_MIN).min(most)
}

/// What a subscriber that is behind is given at least at a time, bytes, where half of its outbox holds as much.
const BUDGET_MIN: usize = 4 << 10;
/// What a `latest` subscriber that is behind is given at most at a time: the last of it is no older than this, and
/// what it takes to be written.
pub const ROUND_TIME: Duration = Duration::from_millis(50);

impl Outboxes<'_> {
    /// Puts frames into an outbox; false, and nothing, if that is past its bound.
    pub fn push(&mut self, session: u32, lane: Lane, batch: Batch) -> bool {
        let Batch {
            bytes,
            publications,
            left_out,
            offset: _,
        } = batch;
        let len = bytes.len();
        if len == 0 {
            return true;
        }
        let Session { outbox, pace, .. } = &mut self.sessions[session as usize];
        if outbox.is_over(self.pile, *pace, len, self.limits, self.now) {
            self.too_slow.push(session);
            return false;
        }
        outbox.push(self.pile, lane, bytes, self.now);
        self.counters.deliveries_total += u64::from(publications);
        self.counters.outbox_bytes += len as u64;
        self.counters.conflated_total += left_out.conflated;
        self.counters.dropped_total += left_out.dropped;
        if !outbox.is_dirty {
            outbox.is_dirty = true;
            self.dirty.push(session);
        }
        true
    }
}

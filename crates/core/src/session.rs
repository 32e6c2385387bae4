//! One connection as the shard knows it: who it is, what it may, which rooms it is in.
//!
//! Small, because an idle connection is one of these and little more; what only a
//! few need at a time is boxed.

use std::{collections::VecDeque, rc::Rc};

use bytes::Bytes;
use tidegate_wire::{RoomName, frame};

use crate::{
    gate::Toll,
    grant::{Grant, Right, allows},
    join::PendingJoin,
    limits::Limits,
    moment::Moment,
    outbox::{Lane, Outbox},
    pace::Pace,
    request::Source,
    room::RoomId,
    shard::Link,
};

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Opened; `connect` must come.
    Opened,
    /// The token of its `connect` is being verified.
    Verifying,
    /// Commands are taken.
    Ready,
    /// The close frame is in the outbox; nothing more is taken or given.
    Closing,
}

/// One room a session is in, seen from the session.
#[derive(Debug, Clone, Copy)]
pub struct Membership {
    /// Which.
    pub room: RoomId,
    /// This session's place among the room's subscribers.
    pub subscriber: u32,
    /// Listed among the room's members.
    pub has_entered: bool,
}

/// Rooms in which a session is behind.
#[derive(Debug, Default)]
pub struct Behind {
    /// Which.
    pub rooms: Vec<RoomId>,
    /// Their lanes, one bit each.
    pub lanes: u8,
}

/// A join that is not done yet.
#[derive(Debug, Clone, Copy)]
pub struct Joining {
    /// Of which room.
    pub room: RoomId,
    /// It was left meanwhile: the join will be refused.
    pub was_left: bool,
}

/// What waits for a verifier.
#[derive(Debug, Default)]
pub struct Verifying {
    /// The command's id.
    pub id: u32,
    /// Commands that came after `connect`, in order.
    pub held: VecDeque<frame::Request>,
}

/// See the module.
pub struct Session {
    /// Tells this use of the table's place from others.
    pub generation: u32,
    /// What the edge negotiated.
    pub link: Link,
    /// How far it has come.
    pub stage: Stage,
    /// Commands waiting for the engine.
    pub in_flight: u32,
    /// Joins that are not done yet.
    pub joining: Vec<Joining>,
    /// What waits to be written.
    pub outbox: Outbox,
    /// How fast the reader takes it.
    pub pace: Pace,
    /// Where it is behind.
    pub behind: Option<Box<Behind>>,
    /// Named in the shard's list of sessions that catch up.
    pub is_catching_up: bool,
    /// The token's subject, or a made-up name.
    pub user: Bytes,
    /// JSON shown to others; empty for none.
    pub info: Bytes,
    /// What it may do.
    pub grants: Option<Rc<[Grant]>>,
    /// When the token ends.
    pub expires: Option<Moment>,
    /// When it is to come back: it is being sent away.
    pub slot: Option<Moment>,
    /// The rooms it is in.
    pub memberships: Vec<Membership>,
    /// A token is being verified.
    pub verifying: Option<Box<Verifying>>,
    /// Joins whose replay waits for room in the outbox, in order. Boxed: nearly no session has any.
    #[expect(clippy::box_collection, reason = "8 bytes in every session instead of 32")]
    pub parked: Option<Box<VecDeque<(RoomId, PendingJoin)>>>,
    /// Its own buckets; none where nothing is limited by connection or address.
    pub(crate) toll: Option<Box<Toll>>,
}

impl Session {
    /// A connection that was just opened.
    pub fn new(generation: u32, link: Link) -> Self {
        Self {
            generation,
            link,
            stage: Stage::Opened,
            in_flight: 0,
            joining: Vec::new(),
            outbox: Outbox::default(),
            pace: Pace::default(),
            behind: None,
            is_catching_up: false,
            user: Bytes::new(),
            info: Bytes::new(),
            grants: None,
            expires: None,
            slot: None,
            memberships: Vec::new(),
            verifying: None,
            parked: None,
            toll: None,
        }
    }

    /// Whether its token grants `right` in `room`.
    pub fn may(&self, right: Right, room: &RoomName) -> bool {
        let grants = self.grants.as_deref().unwrap_or_default();
        allows(grants, room, right)
    }

    /// Where its publishes come from.
    pub fn source(&self) -> Source {
        let address = self.toll.as_ref().map(|toll| toll.address);
        Source::Client(address.unwrap_or_default())
    }

    /// It will be given the rest of a room when that lane of its outbox is clear.
    pub fn fall_behind(&mut self, room: RoomId, lane: Lane) {
        let behind = self.behind.get_or_insert_default();
        behind.lanes |= lane.bit();
        if !behind.rooms.contains(&room) {
            behind.rooms.push(room);
        }
    }

    /// Whether it is behind in a lane that is clear now, and so little else waits that it may be given more.
    pub fn may_catch_up(&self, limits: &Limits) -> bool {
        self.outbox.bytes() <= limits.outbox_bytes_max / 4
            && self.behind.as_ref().is_some_and(|behind| {
                let mut lanes = Lane::ALL.into_iter();
                lanes.any(|lane| behind.lanes & lane.bit() != 0 && self.outbox.is_clear(lane))
            })
    }

    /// The join of `room` that is under way.
    pub fn joining(&mut self, room: RoomId) -> Option<&mut Joining> {
        self.joining.iter_mut().find(|joining| joining.room == room)
    }

    /// A join is done, or refused.
    pub fn end_joining(&mut self, room: RoomId) {
        self.joining.retain(|joining| joining.room != room);
    }

    /// The place of `room` among its memberships.
    pub fn membership(&self, room: RoomId) -> Option<usize> {
        self.memberships.iter().position(|m| m.room == room)
    }
}

//! One room on one shard: where it stands, who is subscribed, what is still to fan out.
//!
//! Subscribers are a dense array. Each knows its session and its place among the
//! session's memberships, and the membership knows its place here, so that leaving
//! is a swap on both sides.

use std::rc::Rc;

use tidegate_wire::{Offset, Position, RoomName};

use crate::{
    feed::{Feed, Variant},
    join::PendingJoin,
    members::Mirror,
    moment::Moment,
    policy::Policy,
};

/// A place in the shard's table of rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomId(pub u32);

/// Where a room stands towards the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attach {
    /// Asked for; the answer carries this nonce.
    Asked(u64),
    /// Publications come. The head is the last one known here.
    Live(Position),
    /// Refused while there were subscribers: asked again at this moment.
    Retry(Moment),
}

/// One subscription, seen from the room.
#[derive(Debug, Clone, Copy)]
pub struct Subscriber {
    /// The session's place in the shard's table.
    pub session: u32,
    /// This room's place among the session's memberships.
    pub membership: u16,
    /// Which bytes it gets.
    pub variant: Variant,
    /// The next entry of the feed it needs.
    pub seq: u64,
}

/// See the module.
pub struct Room {
    /// Its name.
    pub name: RoomName,
    /// Its namespace's policy.
    pub policy: Rc<Policy>,
    /// Where it stands.
    pub attach: Attach,
    /// The last epoch and head told to subscribers; survives a broken attachment.
    pub last: Option<Position>,
    /// The oldest publication the engine kept when it was attached.
    pub oldest: Offset,
    /// Recent past and what waits for fan-out.
    pub feed: Feed,
    /// Who gets it.
    pub subscribers: Vec<Subscriber>,
    /// How many of them watch members.
    pub watchers: u32,
    /// Next subscriber to visit in the walk under way.
    pub walk: usize,
    /// The feed's end when that walk began.
    pub walk_end: u64,
    /// Named in the shard's list of rooms with something to fan out.
    pub is_ready: bool,
    /// Joins that wait for the attachment.
    pub waiting: Vec<PendingJoin>,
    /// Joins that wait elsewhere: for a history page, or for room in an outbox.
    pub replaying: u32,
    /// Who is here, where anyone entered.
    pub mirror: Option<Box<Mirror>>,
    /// Counts the times it became empty, so that an old linger ends nothing.
    pub lingers: u32,
}

impl Room {
    /// A room that was just asked for.
    pub fn new(name: RoomName, policy: Rc<Policy>, nonce: u64) -> Self {
        Self {
            name,
            policy,
            attach: Attach::Asked(nonce),
            last: None,
            oldest: 0,
            feed: Feed::default(),
            subscribers: Vec::new(),
            watchers: 0,
            walk: 0,
            walk_end: 0,
            is_ready: false,
            waiting: Vec::new(),
            replaying: 0,
            mirror: None,
            lingers: 0,
        }
    }

    /// Whether nobody is in it or on the way in.
    pub fn is_idle(&self) -> bool {
        self.subscribers.is_empty() && self.waiting.is_empty() && self.replaying == 0
    }

    /// Where it stands, when attached.
    pub fn head(&self) -> Option<Position> {
        match self.attach {
            Attach::Live(head) => Some(head),
            Attach::Asked(_) | Attach::Retry(_) => None,
        }
    }
}

//! One room on one shard: where it stands, who is subscribed, what is still to fan out.
//!
//! Subscribers are a dense array. Each knows its session and its place among the
//! session's memberships, and the membership knows its place here, so that leaving
//! is a swap on both sides.

use std::{rc::Rc, time::Duration};

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashSet;
use tidegate_wire::{Epoch, Offset, Position, RoomName, frame::Wishes};

use crate::{
    admission::Permit,
    feed::{Feed, Variant},
    heat::Heat,
    join::PendingJoin,
    members::Mirror,
    moment::Moment,
    outbox::Lane,
    policy::Policy,
    state::serve::{Served, Snapshot},
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
#[derive(Debug)]
pub struct Subscriber {
    /// The session's place in the shard's table.
    pub session: u32,
    /// This room's place among the session's memberships.
    pub membership: u16,
    /// Which bytes it gets.
    pub variant: Variant,
    /// The next entry of the feed it needs.
    pub seq: u64,
    /// In the lanes `latest` and `lossy`: the last offset it was given or told about.
    pub offset: Offset,
    /// It was passed over in a walk, and catches up when its outbox is clear.
    pub is_behind: bool,
    /// What it wants less than everything; few do.
    pub wishes: Option<Box<Wants>>,
    /// The rest of the state it was promised when it joined.
    pub snapshot: Option<Box<Snapshot>>,
}

/// What a subscriber wants of a room.
#[derive(Debug, Default)]
pub struct Wants {
    /// Only these keys; none for all.
    pub keys: Option<HashSet<Bytes, FixedState>>,
    /// Least time between two batches.
    pub interval: Duration,
    /// When the last one was.
    last: Option<Moment>,
    /// A timer will bring the next.
    pub has_timer: bool,
}

impl Wants {
    /// As a client asked; none if it wants everything.
    pub fn of(wishes: &Wishes) -> Option<Box<Self>> {
        if wishes.is_all() {
            return None;
        }
        Some(Box::new(Self {
            keys: wishes.keys.as_ref().map(|keys| keys.iter().cloned().collect()),
            interval: wishes
                .max_rate
                .map_or(Duration::ZERO, |rate| Duration::from_secs_f64(1.0 / rate)),
            last: None,
            has_timer: false,
        }))
    }

    /// Whether it wants publications of a key.
    pub fn has(&self, key: &Bytes) -> bool {
        self.keys.as_ref().is_none_or(|keys| keys.contains(key))
    }

    /// When the next batch may come, if not now; now counts as one.
    pub fn not_before(&mut self, now: Moment) -> Option<Moment> {
        if self.interval.is_zero() {
            return None;
        }
        let next = self
            .last
            .map(|last| last + self.interval)
            .filter(|next| *next > now);
        if next.is_none() {
            self.last = Some(now);
        }
        next
    }
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
    /// The next walk begins no sooner: its rest after the last began.
    pub rests_until: Moment,
    /// How much of the shard's time it asks for.
    pub heat: Heat,
    /// A timer will begin it.
    pub has_walk_timer: bool,
    /// Named in the shard's list of rooms with something to fan out.
    pub is_ready: bool,
    /// Joins that wait for the attachment, or for the room's state.
    pub waiting: Vec<PendingJoin>,
    /// Joins that wait elsewhere, for a history page or for room in an outbox; and pages of the state that were asked for.
    pub replaying: u32,
    /// The newest of each key, once someone joined with the state.
    pub state: Option<Box<Served>>,
    /// Subscribers that are being given it.
    pub state_readers: u32,
    /// Who is here, where anyone entered.
    pub mirror: Option<Box<Mirror>>,
    /// Counts the times it became empty, so that an old linger ends nothing.
    pub lingers: u32,
    /// Something was left out for all, while the server sheds, and no walk that tells it has begun since.
    pub has_left_out: bool,
    /// Places of publishes that are stored, and wait for the walk under way.
    pub unwalked: Vec<Permit>,
}

impl Room {
    /// A room that was just asked for.
    pub fn new(name: RoomName, policy: Rc<Policy>, nonce: u64) -> Self {
        Self {
            feed: Feed::new(policy.lane),
            name,
            policy,
            attach: Attach::Asked(nonce),
            last: None,
            oldest: 0,
            subscribers: Vec::new(),
            watchers: 0,
            walk: 0,
            walk_end: 0,
            rests_until: Moment(0),
            heat: Heat::default(),
            has_walk_timer: false,
            is_ready: false,
            waiting: Vec::new(),
            replaying: 0,
            state: None,
            state_readers: 0,
            mirror: None,
            lingers: 0,
            has_left_out: false,
            unwalked: Vec::new(),
        }
    }

    /// Least time between two walks: longer while it is too large, or too hot, for each publication to get a write of
    /// its own.
    pub fn rest(&self) -> Duration {
        self.policy.batch.max(self.thinning())
    }

    /// Whether, of the publications of one key that leave together, only the newest does.
    pub fn conflates(&self) -> bool {
        match self.policy.lane {
            Lane::Latest => true,
            Lane::Lossy => !self.thinning().is_zero(),
            Lane::Reliable | Lane::Control => false,
        }
    }

    fn thinning(&self) -> Duration {
        let Policy { crowd, hot, .. } = &*self.policy;
        let is_crowd = crowd.above > 0 && self.subscribers.len() > crowd.above as usize;
        let by_size = if is_crowd { crowd.batch } else { Duration::ZERO };
        let by_heat = if self.heat.is_hot {
            hot.batch
        } else {
            Duration::ZERO
        };
        by_size.max(by_heat)
    }

    /// Whether nobody is in it or on the way in.
    pub fn is_idle(&self) -> bool {
        self.subscribers.is_empty() && self.waiting.is_empty() && self.replaying == 0
    }

    /// The last epoch known.
    pub fn epoch(&self) -> Epoch {
        self.last.map_or(Epoch(0), |last| last.epoch)
    }

    /// Where it stands, when attached.
    pub fn head(&self) -> Option<Position> {
        match self.attach {
            Attach::Live(head) => Some(head),
            Attach::Asked(_) | Attach::Retry(_) => None,
        }
    }
}

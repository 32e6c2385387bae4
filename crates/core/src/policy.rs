//! What a namespace promises: the policy of every room whose name begins with it.
//!
//! The configuration file is parsed elsewhere (`server/config`); what arrives here
//! is already valid.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use tidegate_wire::{Payload, Reject, RejectCode, RoomName};

use crate::{admission::Rate, outbox::Lane};

/// When a publish is acknowledged, and so what a crash may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// After the append: survives `kill -9` of the process, not a power cut.
    Append,
    /// After fdatasync: survives a power cut.
    Sync,
}

/// How much of a room's past is kept. Whatever bound is reached first trims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Publications; 0 keeps none.
    pub count: u32,
    /// Bytes of publications ([`tidegate_wire::Publication::weight`]).
    pub bytes: u64,
    /// Age of a publication.
    pub age: Duration,
}

/// What is kept of a room's state: the newest publication of each key, besides `Policy::keys_max`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatePolicy {
    /// Bytes of publications ([`tidegate_wire::Publication::weight`]); beyond it the oldest goes.
    pub bytes: u64,
    /// A key that nobody published to for so long is no longer part of it; none keeps it.
    pub age: Option<Duration>,
}

impl StatePolicy {
    /// What was ordered before this moment is too old; microseconds since the Unix epoch, as `now_us`.
    pub fn before_us(&self, now_us: u64) -> u64 {
        self.age
            .map_or(0, |age| now_us.saturating_sub(age.as_micros() as u64))
    }
}

/// How presence works in a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresencePolicy {
    /// Whether members may enter at all.
    pub enabled: bool,
    /// How long a member whose connection was lost stays listed.
    pub lease: Duration,
    /// Least time between two `members` pushes of one room.
    pub interval: Duration,
    /// Above this many members only the count and a sample are told.
    pub members_max: u32,
    /// Size of that sample.
    pub sample: u32,
}

/// When a room is so large that its subscribers get fewer writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crowd {
    /// More subscribers than this on one shard; 0 for never.
    pub above: u32,
    /// Least time between two walks then.
    pub batch: Duration,
}

/// When a room takes so much of its shard that its subscribers get fewer writes.
#[derive(Debug, Clone, PartialEq)]
pub struct Hot {
    /// Share of the shard's time that its fan-out asks for, 0 to 1; 0 for never.
    pub share: f32,
    /// Least time between two walks then.
    pub batch: Duration,
}

/// One namespace.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Its name, the part before the colon.
    pub namespace: String,
    /// What its publications promise to a subscriber that falls behind; never [`Lane::Control`].
    pub lane: Lane,
    /// `Lossy`: how long a publication is worth delivering.
    pub deadline: Duration,
    /// `Latest`: keys of one room whose newest publication is kept for those who are behind, and in its state;
    /// beyond it the oldest goes.
    pub keys_max: u32,
    /// `Latest`: the newest publication of each key is kept by the engine, for those who join; none keeps none.
    pub state: Option<StatePolicy>,
    /// Least time between two walks of one room: what comes in between leaves in one write. Zero for none.
    pub batch: Duration,
    /// What becomes of large rooms.
    pub crowd: Crowd,
    /// What becomes of hot rooms.
    pub hot: Hot,
    /// When a publish is acknowledged.
    pub durability: Durability,
    /// What is kept for history and recovery.
    pub history: Retention,
    /// Largest page of a `history` command, publications.
    pub history_page_max: u32,
    /// Most publications replayed on a join; beyond it, a gap `too_far`.
    pub replay_max: u32,
    /// The recent past each shard keeps in memory for its joined rooms: publications and bytes.
    pub window_count: u32,
    /// And bytes.
    pub window_bytes: usize,
    /// How long a `msg` id is remembered.
    pub dedup_age: Duration,
    /// Most `msg` ids remembered per room.
    pub dedup_count: u32,
    /// Largest payload, bytes.
    pub payload_bytes_max: usize,
    /// Publishes into all of its rooms together; none for no limit.
    pub publish_rate: Option<Rate>,
    /// Publishes into each of its rooms; none for no limit.
    pub room_publish_rate: Option<Rate>,
    /// How presence works.
    pub presence: PresencePolicy,
}

impl Policy {
    /// The policy of a namespace that sets nothing.
    pub fn with_defaults(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            lane: Lane::Reliable,
            deadline: Duration::from_millis(500),
            keys_max: 10_000,
            state: None,
            batch: Duration::ZERO,
            crowd: Crowd {
                above: 0,
                batch: Duration::from_millis(100),
            },
            hot: Hot {
                share: 0.25,
                batch: Duration::ZERO,
            },
            durability: Durability::Append,
            history: Retention {
                count: 1_000,
                bytes: 16 << 20,
                age: Duration::from_secs(24 * 3600),
            },
            history_page_max: 200,
            replay_max: 1_000,
            window_count: 256,
            window_bytes: 256 << 10,
            dedup_age: Duration::from_secs(120),
            dedup_count: 10_000,
            payload_bytes_max: 32 << 10,
            publish_rate: None,
            room_publish_rate: None,
            presence: PresencePolicy {
                enabled: true,
                lease: Duration::from_secs(10),
                interval: Duration::from_millis(250),
                members_max: 200,
                sample: 20,
            },
        }
    }

    /// Whether anything can be read back from the engine.
    pub fn keeps_history(&self) -> bool {
        self.history.count > 0
    }

    /// Whether a publish is one that its rooms take, whoever sends it, and by whatever way.
    ///
    /// # Errors
    /// It deletes where there is no state, is too large, or promises more than its namespace.
    pub fn check_publish(&self, lane: Option<Lane>, data: &Payload) -> Result<(), Reject> {
        if data.is_delete() {
            self.check_state()?;
        }
        let len = data.as_bytes().len();
        if len > self.payload_bytes_max {
            let detail = format!("payload of {len} bytes; at most {}", self.payload_bytes_max);
            return Err(Reject::new(RejectCode::TooLarge, detail));
        }
        self.check_lane(lane)
    }

    /// A publication may promise less than its namespace: fresh or not at all. That one key's newest is enough is told by the
    /// namespace only, because order within a room is kept.
    fn check_lane(&self, lane: Option<Lane>) -> Result<(), Reject> {
        let is_less = |lane| lane == self.lane || lane == Lane::Lossy;
        match lane {
            Some(lane) if !is_less(lane) => {
                let detail = format!(
                    "a publication in {:?} is `{}`, or `lossy`; not `{}`",
                    self.namespace,
                    self.lane.name(),
                    lane.name()
                );
                Err(Reject::new(RejectCode::Disabled, detail))
            }
            _ => Ok(()),
        }
    }

    /// Whether its rooms have a state.
    ///
    /// # Errors
    /// They have none.
    pub fn check_state(&self) -> Result<(), Reject> {
        match self.state {
            Some(_) => Ok(()),
            None => {
                let detail = format!("namespace {:?} keeps no state", self.namespace);
                Err(Reject::new(RejectCode::Disabled, detail))
            }
        }
    }
}

/// The namespace of `room` is not configured.
pub fn unknown_namespace(room: &RoomName) -> Reject {
    let detail = format!("no namespace {:?}", room.namespace());
    Reject::new(RejectCode::UnknownNamespace, detail)
}

/// Every namespace of the configuration, for one thread. Cheap to clone; `Vec<Policy>`
/// is what crosses threads.
#[derive(Debug, Clone, Default)]
pub struct Policies(Rc<BTreeMap<String, Rc<Policy>>>);

impl Policies {
    /// Collects policies by their namespace.
    pub fn new(policies: impl IntoIterator<Item = Policy>) -> Self {
        let by_name = policies
            .into_iter()
            .map(|policy| (policy.namespace.clone(), Rc::new(policy)));
        Self(Rc::new(by_name.collect()))
    }

    /// Finds the policy of `room`; none if its namespace is not configured.
    pub fn of(&self, room: &RoomName) -> Option<&Rc<Policy>> {
        self.0.get(room.namespace())
    }

    /// Returns every policy, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Rc<Policy>> {
        self.0.values()
    }
}

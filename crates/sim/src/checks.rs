//! What must hold. A [`View`] is what one client was given of one room; it is compared with
//! the engine's truth with every frame, and its ledger must balance:
//!
//! ```text
//!   from ──► delivered one by one, in order ──► told as a gap ──► delivered ... ──► the head
//!            from + delivered + gapped == where it stands
//! ```
//!
//! Publications in a lane that conflates or drops would be a third column of the ledger.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tidegate_core::Limits;
use tidegate_wire::{
    Epoch, Offset, Position, Publication,
    frame::{GapReason, HistoryPage, Joined, Members, MembersChange, Published, Recovery},
};

use crate::engine::EngineRoom;

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which promise: the same when the run is made smaller.
    pub check: &'static str,
    /// What was seen.
    pub detail: String,
}

/// Makes a violation.
pub fn broken<T>(check: &'static str, detail: impl Into<String>) -> Result<T, Violation> {
    let detail = detail.into();
    Err(Violation { check, detail })
}

/// Where a room's publications went, as seen by one client within one epoch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ledger {
    /// Where it began.
    pub from: Offset,
    /// Came as events.
    pub delivered: u64,
    /// Told as lost.
    pub gapped: u64,
}

impl Ledger {
    fn position(&self) -> Offset {
        self.from + self.delivered + self.gapped
    }
}

/// See the module.
#[derive(Debug)]
pub struct View {
    epoch: Epoch,
    /// Where it stands; none before the first join, or while nothing of a replay has come.
    seen: Option<Position>,
    ledger: Ledger,
    /// What the connection must give next.
    next: Offset,
    /// Events of a replay still to come.
    pub replaying: u32,
    /// Members, where they were asked for.
    pub members: Option<BTreeSet<Bytes>>,
    pub members_count: u32,
    messages: BTreeSet<Bytes>,
}

impl Default for View {
    fn default() -> Self {
        Self {
            epoch: Epoch(0),
            seen: None,
            ledger: Ledger::default(),
            next: 1,
            replaying: 0,
            members: None,
            members_count: 0,
            messages: BTreeSet::new(),
        }
    }
}

impl View {
    /// The position a join begins after.
    pub fn position(&self) -> Option<Position> {
        self.seen
    }

    /// A join was answered.
    pub fn on_joined(
        &mut self,
        joined: &Joined,
        since: Option<Position>,
        room: &EngineRoom,
        limits: &Limits,
    ) -> Result<(), Violation> {
        let Some(story) = room.story_of(joined.epoch) else {
            return broken("epoch", format!("no history has the epoch of {joined:?}"));
        };
        let head = story.head().offset;
        if joined.offset > head || u64::from(joined.replayed) > joined.offset {
            return broken("position", format!("the head is {head}: {joined:?}"));
        }
        let start = joined.offset - u64::from(joined.replayed);
        match (since, joined.recovery) {
            (None, Recovery::Gap(_)) => return broken("gap", format!("nothing was asked for: {joined:?}")),
            (None, Recovery::None | Recovery::Replay) => {
                if let Some(seen) = self.seen {
                    let detail = format!("it stood at {seen:?} and began anew: {joined:?}");
                    return broken("resume", detail);
                }
                self.begin(start);
            }
            (Some(since), Recovery::None | Recovery::Replay) => {
                if since.epoch != joined.epoch || since.offset != start {
                    return broken("resume", format!("since {since:?}: {joined:?}"));
                }
            }
            (Some(since), Recovery::Gap(reason)) => {
                check_reason(since, joined, reason, room, limits)?;
                match since.epoch == joined.epoch && start >= since.offset {
                    true => self.ledger.gapped += start - since.offset,
                    false => self.begin(start),
                }
                self.seen = None;
            }
        }
        self.epoch = joined.epoch;
        if joined.replayed == 0 {
            self.seen = Some(Position {
                epoch: joined.epoch,
                offset: joined.offset,
            });
        }
        self.next = start + 1;
        self.replaying = joined.replayed;
        if let Some(members) = &joined.members {
            self.members_count = members.count;
            self.members = Some(users(members));
        }
        self.balance()
    }

    fn begin(&mut self, start: Offset) {
        self.messages.clear();
        self.ledger = Ledger {
            from: start,
            ..Ledger::default()
        };
    }

    /// An event came.
    pub fn on_event(&mut self, publication: &Publication, room: &EngineRoom) -> Result<(), Violation> {
        let offset = publication.offset;
        if offset != self.next {
            let detail = format!("expected {}, got {offset}", self.next);
            return broken("order", detail);
        }
        let truth = room.story_of(self.epoch).and_then(|story| story.at(offset));
        if truth != Some(publication) {
            let detail = format!("{:?} was published, {publication:?} came", truth);
            return broken("content", detail);
        }
        if !self.messages.insert(publication.key.clone()) {
            return broken("idempotence", format!("{:?} came twice", publication.key));
        }
        self.ledger.delivered += 1;
        self.next += 1;
        self.replaying = self.replaying.saturating_sub(1);
        self.seen = Some(Position {
            epoch: self.epoch,
            offset,
        });
        self.balance()
    }

    /// A gap was told while joined.
    pub fn on_gap(
        &mut self,
        position: Position,
        reason: GapReason,
        room: &EngineRoom,
    ) -> Result<(), Violation> {
        if room.story_of(position.epoch).is_none() {
            return broken("epoch", format!("no history has the epoch of {position:?}"));
        }
        let is_same = position.epoch == self.epoch;
        let is_true = match reason {
            GapReason::Epoch => !is_same,
            GapReason::Continuity => is_same && room.has_broken && position.offset + 1 >= self.next,
            GapReason::Trimmed | GapReason::TooFar | GapReason::Conflated | GapReason::Dropped => false,
        };
        if !is_true {
            return broken(
                "gap",
                format!("{reason:?} at {position:?}, next was {}", self.next),
            );
        }
        if is_same {
            self.ledger.gapped += position.offset + 1 - self.next;
        } else {
            self.messages.clear();
            self.ledger = Ledger {
                from: position.offset,
                ..Ledger::default()
            };
        }
        self.epoch = position.epoch;
        self.seen = Some(position);
        self.next = position.offset + 1;
        self.balance()
    }

    fn balance(&self) -> Result<(), Violation> {
        if self.ledger.position() + 1 != self.next {
            return broken(
                "conservation",
                format!("next is {}: {:?}", self.next, self.ledger),
            );
        }
        Ok(())
    }

    /// A change of members came.
    pub fn on_members(&mut self, change: &MembersChange) {
        self.members_count = change.count;
        let members = self.members.get_or_insert_default();
        if let Some(sample) = &change.sample {
            *members = sample.iter().map(|member| member.user.clone()).collect();
            return;
        }
        for user in &change.left {
            members.remove(user);
        }
        members.extend(change.joined.iter().map(|member| member.user.clone()));
    }

    /// At rest: everything published was delivered, or told as lost.
    pub fn check_at_rest(&self, room: &EngineRoom) -> Result<(), Violation> {
        let head = room.story().head();
        if self.seen != Some(head) || self.ledger.position() != head.offset {
            let detail = format!(
                "the head is {head:?}, it stands at {:?}: {:?}",
                self.seen, self.ledger
            );
            return broken("conservation", detail);
        }
        if self.members.is_some() {
            let truth = room.presence.members(&room.policy.presence);
            let is_large = truth.count > room.policy.presence.members_max;
            if truth.count != self.members_count || (!is_large && self.members != Some(users(&truth))) {
                let detail = format!("{truth:?}, but it saw {} {:?}", self.members_count, self.members);
                return broken("presence", detail);
            }
        }
        Ok(())
    }
}

fn users(members: &Members) -> BTreeSet<Bytes> {
    members.sample.iter().map(|member| member.user.clone()).collect()
}

/// A gap costs the reader what it has: it must have its reason.
fn check_reason(
    since: Position,
    joined: &Joined,
    reason: GapReason,
    room: &EngineRoom,
    limits: &Limits,
) -> Result<(), Violation> {
    let is_same = since.epoch == joined.epoch;
    let Some(story) = room.story_of(joined.epoch) else {
        return broken("epoch", format!("no history has the epoch of {joined:?}"));
    };
    let is_true = match reason {
        GapReason::Epoch => !is_same,
        // Whatever was true of the history that is gone.
        GapReason::Trimmed | GapReason::TooFar if !is_same => true,
        GapReason::Trimmed => story.oldest > since.offset + 1 || !room.policy.keeps_history(),
        GapReason::TooFar => {
            let missed = story.log.iter().filter(|p| p.offset > since.offset);
            let bytes: usize = missed.clone().map(|p| p.weight() * 4 / 3 + 512).sum();
            missed.count() > room.policy.replay_max as usize || bytes > limits.outbox_bytes_max / 2
        }
        GapReason::Continuity | GapReason::Conflated | GapReason::Dropped => false,
    };
    match is_true {
        true => Ok(()),
        false => broken(
            "gap",
            format!("{reason:?} without a reason, since {since:?}: {joined:?}"),
        ),
    }
}

/// An acknowledged publication is where the answer says.
pub fn check_published(
    published: &Published,
    from: &[u8],
    msg: &[u8],
    room: &EngineRoom,
) -> Result<(), Violation> {
    let Position { epoch, offset } = published.position;
    let found = room.story_of(epoch).and_then(|story| story.at(offset));
    match found.is_some_and(|p| p.msg == msg && p.from == from) {
        true => Ok(()),
        false => broken("acknowledged", format!("{published:?}, but there is {found:?}")),
    }
}

/// A page of history is a run of what was published.
pub fn check_page(page: &HistoryPage, room: &EngineRoom) -> Result<(), Violation> {
    let Some(story) = room.story_of(page.head.epoch) else {
        return broken("epoch", format!("no history has the epoch of {:?}", page.head));
    };
    let is_run = page
        .publications
        .windows(2)
        .all(|pair| pair[1].offset == pair[0].offset + 1);
    let is_true = page.publications.iter().all(|p| story.at(p.offset) == Some(p));
    match is_run && is_true {
        true => Ok(()),
        false => broken("history", format!("{page:?}")),
    }
}

/// In every history, what was published once stands once. The key names it, whatever its
/// message id says.
pub fn check_messages(name: &str, room: &EngineRoom) -> Result<(), Violation> {
    for story in &room.stories {
        let mut seen: BTreeMap<&Bytes, Offset> = BTreeMap::new();
        for publication in &story.log {
            if let Some(first) = seen.insert(&publication.key, publication.offset) {
                let (key, again) = (&publication.key, publication.offset);
                return broken(
                    "idempotence",
                    format!("{key:?} in {name} at {first} and at {again}"),
                );
            }
        }
    }
    Ok(())
}

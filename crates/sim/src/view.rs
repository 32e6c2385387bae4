//! What one client was given of one room, compared with the engine's truth with every frame.
//! Each offset that it passes has its reason, and its ledger must balance:
//!
//! ```text
//!   from ─► delivered one by one, offsets rise ─► ... ─► the head
//!     what is passed over was told as a gap (lost, conflated, dropped), or was not wanted,
//!     or a replay in `latest` had a newer one of its key
//!     from + delivered + told + gapped + passed == where it stands
//! ```
//!
//! A gap that tells what was left out comes before the events between which that is missing:
//! `ahead` holds what was told and is not yet passed over. Where nothing waits (a
//! [`Mark`](crate::network::Mark), the world at rest) it must be used up, and in `latest` the
//! newest of every wanted key must be here. With `keys` nobody promises exact counts; then
//! whatever was surely wanted must be here, replaced or expired as the lane allows.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use tidegate_core::{Lane, Limits, Moment, Policy};
use tidegate_wire::{
    Epoch, Offset, Position, Publication,
    frame::{GapReason, Join, Joined, Members, MembersChange, Recovery, Wishes},
};

use crate::{
    checks::{Violation, broken, check_reason},
    engine::{EngineRoom, Story},
    keyed::Keyed,
    network::{Head, Mark},
    wanted::{Wanted, is_wanted},
};

/// Above this the newest publication of every key stays, as far as `keys_max` goes.
const ROOMY_WINDOWS: usize = 1 << 20;

/// Batches at a subscriber's `max_rate` in which all keys fit, with the smallest outbox there is.
const ROUNDS_MAX: u32 = 8;

/// Where a room's publications went, as seen by one client within one epoch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ledger {
    /// Where it began.
    pub from: Offset,
    /// Came as events.
    pub delivered: u64,
    /// Told as conflated or dropped.
    pub told: u64,
    /// Told as lost.
    pub gapped: u64,
    /// Not wanted, or replaced before it was replayed.
    pub passed: u64,
}

impl Ledger {
    fn position(&self) -> Offset {
        self.from + self.delivered + self.told + self.gapped + self.passed
    }
}

/// See the module.
#[derive(Debug)]
pub struct View {
    lane: Lane,
    epoch: Epoch,
    /// Where it stands; none before the first join, or while nothing of a replay has come.
    seen: Option<Position>,
    ledger: Ledger,
    /// All below were delivered or passed over.
    next: Offset,
    /// Events that follow have greater offsets: a gap said so.
    goes_on_after: Offset,
    /// What a replay will bring.
    replay: VecDeque<Offset>,
    /// Where live events began.
    joined_at: Offset,
    /// Live events since then.
    live: u64,
    /// Told as left out since then, and of that not passed over yet.
    told: u64,
    ahead: u64,
    wanted: Wanted,
    /// When the last live events were put out, if it is known.
    batch_at: Option<Moment>,
    /// The newest of each key that came: lane `latest`.
    newest: BTreeMap<Bytes, Offset>,
    /// The shard's memory is so small that newest ones may go.
    may_forget_keys: bool,
    /// Members, where they were asked for.
    pub members: Option<BTreeSet<Bytes>>,
    pub members_count: u32,
    messages: BTreeSet<Bytes>,
    keyed: Keyed,
}

impl Default for View {
    fn default() -> Self {
        Self {
            lane: Lane::Reliable,
            epoch: Epoch(0),
            seen: None,
            ledger: Ledger::default(),
            next: 1,
            goes_on_after: 0,
            replay: VecDeque::new(),
            joined_at: 0,
            live: 0,
            told: 0,
            ahead: 0,
            wanted: Wanted::default(),
            batch_at: None,
            newest: BTreeMap::new(),
            may_forget_keys: false,
            members: None,
            members_count: 0,
            messages: BTreeSet::new(),
            keyed: Keyed::default(),
        }
    }
}

/// Joining.
impl View {
    /// The position a join begins after.
    pub fn position(&self) -> Option<Position> {
        self.seen
    }

    /// Whether events of a replay, or of the room's state, are still to come.
    pub fn is_replaying(&self) -> bool {
        !self.replay.is_empty() || self.keyed.is_loading()
    }

    /// A join was answered.
    pub fn on_joined(
        &mut self,
        joined: &Joined,
        join: &Join,
        room: &EngineRoom,
        limits: &Limits,
        now: Moment,
    ) -> Result<(), Violation> {
        let Some(story) = room.story_of(joined.epoch) else {
            return broken("epoch", format!("no history has the epoch of {joined:?}"));
        };
        let head = story.head().offset;
        if joined.offset > head || u64::from(joined.replayed) > joined.offset {
            return broken("position", format!("the head is {head}: {joined:?}"));
        }
        self.lane = room.policy.lane;
        self.may_forget_keys = limits.windows_bytes_max < ROOMY_WINDOWS;
        let is_resumed = join.since.is_some() && matches!(joined.recovery, Recovery::None | Recovery::Replay);
        let after = match join.since.filter(|_| is_resumed) {
            Some(since) => since.offset,
            None => 0,
        };
        let mut replay = replay_of(story, after, joined.offset, self.lane, &join.wishes);
        let replayed = joined.replayed as usize;
        if replayed > replay.len() || (is_resumed && replayed != replay.len()) {
            let detail = format!("{} were to be replayed: {join:?}: {joined:?}", replay.len());
            return broken("replay", detail);
        }
        if !is_resumed && joined.replayed > join.last.unwrap_or(0) {
            return broken("replay", format!("more than was asked for: {join:?}: {joined:?}"));
        }
        replay.drain(..replay.len() - replayed);
        let start = match is_resumed {
            true => after,
            false => replay.front().map_or(joined.offset, |first| first - 1),
        };
        match (join.since, joined.recovery) {
            (None, Recovery::Gap(_)) => return broken("gap", format!("nothing was asked for: {joined:?}")),
            (None, Recovery::None | Recovery::Replay) => {
                if let Some(seen) = self.seen {
                    let detail = format!("it stood at {seen:?} and began anew: {joined:?}");
                    return broken("resume", detail);
                }
                self.begin(start);
            }
            (Some(since), Recovery::None | Recovery::Replay) => {
                if since.epoch != joined.epoch {
                    return broken("resume", format!("since {since:?}: {joined:?}"));
                }
                self.rewind(start);
            }
            (Some(since), Recovery::Gap(reason)) => {
                check_reason(since, joined, reason, room, limits)?;
                match since.epoch == joined.epoch && start >= since.offset {
                    true => {
                        self.rewind(since.offset);
                        self.ledger.gapped += start - since.offset;
                    }
                    false => self.begin(start),
                }
                self.seen = None;
            }
        }
        // What was not wanted before is not made up for.
        let is_known = self.wanted.is_everything() && join.wishes.keys.is_none();
        let policy = &room.policy;
        self.keyed
            .on_joined(joined, join, is_resumed, story, policy, now)?;
        if is_resumed && !is_known {
            self.keyed = Keyed::default();
        }
        self.epoch = joined.epoch;
        self.next = start + 1;
        self.goes_on_after = start;
        self.replay = replay;
        self.joined_at = joined.offset;
        (self.live, self.told, self.ahead) = (0, 0, 0);
        self.wanted = Wanted::of(&join.wishes);
        self.batch_at = None;
        if self.replay.is_empty() {
            self.replay_ended();
            self.seen = self.joined_position();
        }
        if let Some(members) = &joined.members {
            self.members_count = members.count;
            self.members = Some(users(members));
        }
        self.balance()
    }

    /// None while the room's state is still to come: who comes back begins anew.
    fn joined_position(&self) -> Option<Position> {
        let position = Position {
            epoch: self.epoch,
            offset: self.joined_at,
        };
        (!self.keyed.is_loading()).then_some(position)
    }

    fn begin(&mut self, start: Offset) {
        self.messages.clear();
        self.newest.clear();
        self.ledger = Ledger {
            from: start,
            ..Ledger::default()
        };
    }

    /// What was passed over behind the last position is looked at once more.
    fn rewind(&mut self, to: Offset) {
        // A gap told of what is before the position it named, and nothing has followed.
        self.ledger.told += (to + 1).saturating_sub(self.next);
        let behind = self.next.saturating_sub(to + 1);
        let passed = behind.min(self.ledger.passed);
        self.ledger.passed -= passed;
        self.ledger.told -= (behind - passed).min(self.ledger.told);
        self.next = to + 1;
    }

    fn replay_ended(&mut self) {
        self.ledger.passed += self.joined_at + 1 - self.next;
        self.next = self.joined_at + 1;
    }

    /// A change of wishes was sent,
    pub fn on_filter(&mut self, wishes: &Wishes) {
        self.wanted.change(wishes);
    }

    /// and answered.
    pub fn on_filtered(&mut self, now: Moment) {
        self.wanted.changed(now);
    }
}

/// What comes.
impl View {
    /// An event came.
    pub fn on_event(
        &mut self,
        publication: &Publication,
        room: &EngineRoom,
        now: Moment,
    ) -> Result<(), Violation> {
        let offset = publication.offset;
        if let Some(story) = room.story_of(self.epoch).filter(|_| self.keyed.is_loading()) {
            if story.at(offset) != Some(publication) {
                return broken("content", format!("{publication:?} was not published"));
            }
            let is_last = self.keyed.on_event(publication, story, &room.policy, now)?;
            self.seen = self.joined_position().filter(|_| is_last);
            return Ok(());
        }
        if offset < self.next || offset <= self.goes_on_after {
            let (next, after) = (self.next, self.goes_on_after);
            let detail = format!("expected {next} or more, after {after}, got {offset}");
            return broken("order", detail);
        }
        let truth = room.story_of(self.epoch).and_then(|story| story.at(offset));
        if truth != Some(publication) {
            let detail = format!("{:?} was published, {publication:?} came", truth);
            return broken("content", detail);
        }
        let name = match publication.data.is_delete() {
            true => &publication.msg,
            false => publication.data.as_bytes(),
        };
        if !self.messages.insert(name.clone()) {
            let detail = format!("{:?} came twice", publication.data);
            return broken("idempotence", detail);
        }
        if let Some(expected) = self.replay.pop_front() {
            if expected != offset {
                let detail = format!("expected {expected}, got {offset}");
                return broken("replay", detail);
            }
            self.ledger.passed += offset - self.next;
        } else {
            if !self.wanted.may_have(publication) {
                return broken("filter", format!("{publication:?} was not wanted"));
            }
            self.pass(offset - 1, room)?;
            self.live += 1;
        }
        self.ledger.delivered += 1;
        self.next = offset + 1;
        self.keyed.apply(publication);
        if self.lane_of(publication) == Lane::Latest {
            self.newest.insert(publication.key.clone(), offset);
        }
        self.seen = Some(Position {
            epoch: self.epoch,
            offset,
        });
        if offset < self.joined_at && self.replay.is_empty() {
            self.replay_ended();
        }
        self.balance()
    }

    /// It goes on after `offset`: what is passed over has its reason.
    fn pass(&mut self, offset: Offset, room: &EngineRoom) -> Result<(), Violation> {
        while self.next <= offset {
            let missing = self.next;
            let truth = room.story_of(self.epoch).and_then(|story| story.at(missing));
            let must_come = truth.is_none_or(|publication| self.lane_of(publication) == Lane::Reliable);
            if self.wanted.is_everything() {
                if must_come || self.ahead == 0 {
                    let check = if must_come { "order" } else { "conservation" };
                    return broken(check, format!("{missing} is missing, and nothing told"));
                }
                self.use_told();
            } else {
                let was_wanted = truth.is_some_and(|publication| self.wanted.surely_has(publication));
                if was_wanted && must_come {
                    return broken("filter", format!("{missing} was wanted, and did not come"));
                }
                // Of those who want some keys, only what was surely wanted can be missed.
                match was_wanted && self.ahead > 0 {
                    true => self.use_told(),
                    false => self.ledger.passed += 1,
                }
            }
            self.next += 1;
        }
        Ok(())
    }

    /// What a publication promises: its room's lane, or less.
    fn lane_of(&self, publication: &Publication) -> Lane {
        publication.lane.map_or(self.lane, |lane| lane.max(self.lane))
    }

    fn use_told(&mut self) {
        self.ahead -= 1;
        self.ledger.told += 1;
    }

    /// A gap was told while joined.
    pub fn on_gap(
        &mut self,
        position: Position,
        reason: GapReason,
        count: u64,
        room: &EngineRoom,
        now: Moment,
    ) -> Result<(), Violation> {
        let Some(story) = room.story_of(position.epoch) else {
            return broken("epoch", format!("no history has the epoch of {position:?}"));
        };
        if self.keyed.is_loading()
            && let Some(story) = room.story_of(self.epoch)
        {
            let is_whole = self.keyed.on_gap(reason, count, story, &room.policy, now)?;
            if is_whole {
                self.seen = self.joined_position();
                return Ok(());
            }
        }
        let is_same = position.epoch == self.epoch;
        let goes_on = is_same && position.offset + 1 >= self.next && position.offset <= story.head().offset;
        let is_true = match reason {
            GapReason::Epoch => !is_same,
            GapReason::Continuity => goes_on && room.has_broken,
            GapReason::Conflated => goes_on && count > 0 && self.lane == Lane::Latest,
            // Also of what promises less than its room.
            GapReason::Dropped => goes_on && count > 0,
            GapReason::Trimmed | GapReason::TooFar => false,
        };
        if !is_true || self.is_replaying() {
            return broken(
                "gap",
                format!(
                    "{reason:?} of {count} at {position:?}; next is {} in {:?}, lane {:?}",
                    self.next, self.epoch, self.lane
                ),
            );
        }
        if !matches!(reason, GapReason::Conflated | GapReason::Dropped) {
            self.keyed = Keyed::default();
        }
        match reason {
            // What is passed over is seen when events go on: another gap may tell the rest of it.
            GapReason::Conflated | GapReason::Dropped => {
                self.told += count;
                self.ahead += count;
                self.check_told(story)?;
            }
            _ => {
                self.pass(self.goes_on_after, room)?;
                // The last of what was told as left out may have been followed by nothing.
                let before = room.story_of(self.epoch).map_or(0, |story| story.head().offset);
                let end = if is_same { position.offset } else { before };
                let rest = (end + 1).saturating_sub(self.next);
                if self.ahead > rest && self.wanted.is_everything() {
                    let detail = format!("{} told, {rest} left before {reason:?}", self.ahead);
                    return broken("conservation", detail);
                }
                if is_same {
                    let told = self.ahead.min(rest);
                    self.ledger.told += told;
                    self.ledger.gapped += rest - told;
                } else {
                    self.begin(position.offset);
                }
                (self.joined_at, self.live, self.told, self.ahead) = (position.offset, 0, 0, 0);
                self.next = position.offset + 1;
            }
        }
        self.epoch = position.epoch;
        self.seen = Some(position);
        self.goes_on_after = position.offset;
        self.balance()
    }

    /// No more can be left out than was published while joined, and might have been wanted.
    fn check_told(&self, story: &Story) -> Result<(), Violation> {
        let published = &story.log[self.joined_at as usize..];
        let wanted = match self.wanted.is_everything() {
            true => published.len(),
            false => published.iter().filter(|p| self.wanted.may_have(p)).count(),
        };
        if self.live + self.told > wanted as u64 {
            let detail = format!(
                "{} delivered and {} told, of {wanted} since {}",
                self.live, self.told, self.joined_at
            );
            return broken("conservation", detail);
        }
        Ok(())
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

    /// Live events that came were put out at this moment.
    pub fn check_rate(&mut self, at: Moment) -> Result<(), Violation> {
        let before = self.batch_at.replace(at).filter(|before| *before != at);
        let (Some(before), Some(interval)) = (before, self.wanted.interval()) else {
            return Ok(());
        };
        match at.since(before) >= interval {
            true => Ok(()),
            false => broken(
                "rate",
                format!("batches at {before:?} and {at:?}, no closer than {interval:?} were wanted"),
            ),
        }
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
}

/// Where nothing waits.
impl View {
    /// Nothing waited for this subscriber when the shard stood at `head`: it has all it wants.
    pub fn check_mark(&self, head: &Head, mark: &Mark, room: &EngineRoom) -> Result<(), Violation> {
        let rounds = self.wanted.interval_max() * ROUNDS_MAX;
        let is_early = mark.at.since(head.at) < rest_max(&room.policy) + rounds
            || mark.at.since(mark.idle_since) < rounds;
        if is_early || head.position.offset < self.joined_at {
            return Ok(());
        }
        self.check_complete(head.position, room)
    }

    /// At rest: everything published was delivered, or told as lost.
    pub fn check_at_rest(&self, room: &EngineRoom) -> Result<(), Violation> {
        self.check_complete(room.story().head(), room)?;
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

    fn check_complete(&self, head: Position, room: &EngineRoom) -> Result<(), Violation> {
        let standing = || {
            format!(
                "the head is {head:?}, it stands at {:?}, {} told ahead: {:?}",
                self.seen, self.ahead, self.ledger
            )
        };
        if self.keyed.is_loading() && !self.wanted.interval_max().is_zero() {
            return Ok(());
        }
        let rest = (head.offset + 1).checked_sub(self.next);
        let Some(rest) = rest.filter(|_| self.epoch == head.epoch && !self.is_replaying()) else {
            return broken("conservation", standing());
        };
        if self.wanted.is_everything() && self.ahead != rest {
            return broken("conservation", standing());
        }
        let Some(story) = room.story_of(head.epoch) else {
            return broken("epoch", standing());
        };
        let rest = &story.log[(self.next - 1) as usize..head.offset as usize];
        let must_come = |p: &&Publication| self.lane_of(p) == Lane::Reliable && self.wanted.surely_has(p);
        if let Some(missing) = rest.iter().find(must_come) {
            return broken("filter", format!("{missing:?} did not come; {}", standing()));
        }
        self.check_newest(head.offset, story, room)
    }

    /// The newest of every key that is surely wanted came.
    fn check_newest(&self, head: Offset, story: &Story, room: &EngineRoom) -> Result<(), Violation> {
        let mut newest = BTreeMap::new();
        let kept = |p: &&Publication| self.lane_of(p) == Lane::Latest;
        for publication in story.log[self.joined_at as usize..head as usize]
            .iter()
            .filter(kept)
        {
            newest.insert(&publication.key, publication);
        }
        let keys_max = room.policy.keys_max as usize;
        if self.may_forget_keys || newest.len() > keys_max {
            return Ok(());
        }
        for (key, publication) in newest {
            let came = self.newest.get(key).copied().unwrap_or(0);
            if came < publication.offset && self.wanted.surely_has(publication) {
                let detail = format!("of {key:?} {came} came, the newest is {}", publication.offset);
                return broken("newest", detail);
            }
        }
        self.keyed.check(head, story, keys_max, |publication| {
            self.wanted.surely_has(publication)
        })
    }
}

/// The longest that a room of this policy rests between walks.
pub fn rest_max(policy: &Policy) -> Duration {
    let crowd = if policy.crowd.above > 0 {
        policy.crowd.batch
    } else {
        Duration::ZERO
    };
    let hot = if policy.hot.share > 0.0 {
        policy.hot.batch
    } else {
        Duration::ZERO
    };
    policy.batch.max(crowd).max(hot)
}

/// What a replay brings of what is after `after`, up to `head`.
fn replay_of(story: &Story, after: Offset, head: Offset, lane: Lane, wishes: &Wishes) -> VecDeque<Offset> {
    if lane != Lane::Latest && wishes.keys.is_none() {
        return (after + 1..=head).collect();
    }
    let missed = story.log[after as usize..head as usize].iter().rev();
    let mut keys = BTreeSet::new();
    // What is fresh or not at all is replaced by nothing, and replaces nothing.
    let is_replayed = |p: &&Publication| {
        let is_aside = lane != Lane::Latest || p.lane == Some(Lane::Lossy);
        is_wanted(wishes, p) && (is_aside || keys.insert(p.key.clone()))
    };
    let mut replay: VecDeque<Offset> = missed.filter(is_replayed).map(|p| p.offset).collect();
    replay.make_contiguous().reverse();
    replay
}

fn users(members: &Members) -> BTreeSet<Bytes> {
    members.sample.iter().map(|member| member.user.clone()).collect()
}

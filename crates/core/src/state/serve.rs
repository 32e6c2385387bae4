//! A room's state on a shard: read from the engine once, kept up by what is published, given to
//! each who joins at the pace of its socket.
//!
//! ```text
//!   engine ── pages ──► loading ──► done ── slices ──► outbox of a joiner
//!   feed ── publications ─┴───────────┘                then what came since, by the feed
//! ```
//!
//! **The join.** The reply counts the keys; with it the subscriber stands at the feed's end, so what is published from
//! then on is for it to catch up with, in the lane `latest` like anyone who is behind. The keys follow by rising offset, up to the head
//! of the join, one slice each time its outbox is clear. Nothing is kept for it but where it stands: what a newer publication has replaced by
//! then is left out, a gap tells how many that were, and the newer ones follow.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use tidegate_wire::{Offset, Position, Publication, Reject, frame::Wishes};

use super::{Newest, State};
use crate::{
    fanout::{Outboxes, ROUND_TIME, round_bytes},
    feed::{Batch, LeftOut},
    join::PendingJoin,
    moment::Moment,
    outbox::FRAME_OVERHEAD,
    policy::Policy,
    request::{Request, StatePage, StateQuery},
    room::{Room, RoomId},
    session::Session,
    shard::{Pending, Shard},
};

/// One page of the engine: keys, and bytes.
const PAGE_KEYS_MAX: u32 = 1_000;
const PAGE_BYTES_MAX: usize = 256 << 10;
/// What a joiner is given at a time, bytes: no more than its socket takes in a round, and no more than a quarter of an
/// outbox, but at least one key. Small, so that one turn can serve many.
const SLICE_BYTES: usize = 64 << 10;
/// Keys that one publication makes go at most.
const STEP_MAX: usize = 64;

/// See the module. Its bound is the policy's, as the engine's; all of them count as windows do.
pub struct Served {
    newest: State<Publication>,
    load: Load,
}

enum Load {
    /// Pages are being read.
    Asked {
        /// Which attempt.
        number: u64,
        /// Keys deleted meanwhile: a page that was read before may still show them. No more than the policy's keys.
        deleted: BTreeMap<Bytes, Offset>,
    },
    /// It is whole.
    Done,
}

/// Where a joiner stands in the state it was promised.
#[derive(Debug)]
pub struct Snapshot {
    /// It has got those up to this offset.
    after: Offset,
    /// The head of its join.
    to: Offset,
    /// Keys it was promised and has not got.
    left: u32,
    /// Where they are, if it wants some keys alone.
    wanted: Option<VecDeque<Offset>>,
}

impl Served {
    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.newest.weight() as usize + self.newest.index_bytes()
    }

    fn apply(&mut self, publication: &Publication, policy: &Policy, now_us: u64) {
        if !publication.is_of_state() {
            return;
        }
        if publication.data.is_delete() {
            self.newest.remove(&publication.key);
            if let Load::Asked { deleted, .. } = &mut self.load {
                deleted.insert(publication.key.clone(), publication.offset);
            }
        } else {
            self.newest
                .insert(Newest::of(publication).with(publication.clone()));
        }
        self.keep_bounds(policy, now_us);
    }

    fn take_page(&mut self, page: Vec<Publication>, head: Offset, policy: &Policy, now_us: u64) {
        let Load::Asked { deleted, .. } = &self.load else {
            return;
        };
        for publication in page {
            // What is beyond the head comes as a publication.
            let is_deleted = deleted
                .get(&publication.key)
                .is_some_and(|at| *at > publication.offset);
            if publication.offset <= head && !is_deleted {
                self.newest.insert(Newest::of(&publication).with(publication));
            }
        }
        self.keep_bounds(policy, now_us);
    }

    fn keep_bounds(&mut self, policy: &Policy, now_us: u64) {
        let Some(state) = &policy.state else {
            return;
        };
        for _ in 0..STEP_MAX {
            let gone = self
                .newest
                .pop_before(state.before_us(now_us))
                .or_else(|| self.newest.pop_over(policy.keys_max, state.bytes));
            if gone.is_none() {
                break;
            }
        }
    }

    /// Whether more was deleted while it is read than is worth remembering.
    fn is_overrun(&self, policy: &Policy) -> bool {
        match &self.load {
            Load::Asked { deleted, .. } => deleted.len() > policy.keys_max as usize,
            Load::Done => false,
        }
    }

    /// Promises it, as it is now, to one who joins at `head`.
    fn snapshot(&mut self, wishes: &Wishes, head: Offset, policy: &Policy, now_us: u64) -> Snapshot {
        let before_us = policy.state.as_ref().map_or(0, |state| state.before_us(now_us));
        while self.newest.pop_before(before_us).is_some() {}
        let wanted = wishes.keys.as_ref().map(|keys| {
            let found = keys.iter().filter_map(|key| self.newest.offset_of(key));
            let mut offsets: Vec<Offset> = found.filter(|offset| *offset <= head).collect();
            offsets.sort_unstable();
            offsets.dedup();
            VecDeque::from(offsets)
        });
        let left = match &wanted {
            Some(wanted) => wanted.len(),
            None => self.newest.len(),
        };
        Snapshot {
            after: 0,
            to: head,
            left: left as u32,
            wanted,
        }
    }

    /// The next key of a snapshot that is still as it was.
    fn next(&self, snapshot: &mut Snapshot) -> Option<&Publication> {
        let newest = match &mut snapshot.wanted {
            None => self.newest.between(snapshot.after, snapshot.to).next(),
            Some(wanted) => loop {
                if let Some(newest) = self.newest.at(*wanted.front()?) {
                    break Some(newest);
                }
                wanted.pop_front();
            },
        };
        newest.map(|newest| &newest.value)
    }
}

impl Snapshot {
    /// Keys that are still to come.
    pub fn left(&self) -> u32 {
        self.left
    }

    fn got(&mut self, offset: Offset) {
        self.after = offset;
        self.left -= 1;
        if let Some(wanted) = &mut self.wanted {
            wanted.pop_front();
        }
    }
}

/// Gives a joiner the next slice of the state it was promised. Returns whether that was the last.
pub fn send(room_id: RoomId, room: &mut Room, index: usize, out: &mut Outboxes<'_>) -> bool {
    let (lane, epoch) = (room.policy.lane, room.epoch());
    let subscriber = &mut room.subscribers[index];
    let Some(snapshot) = &mut subscriber.snapshot else {
        return true;
    };
    let Session { link, pace, .. } = out.sessions[subscriber.session as usize];
    let slice_max = round_bytes(pace, ROUND_TIME, SLICE_BYTES.min(out.limits.outbox_bytes_max / 4));
    let (mut slice, mut count, mut has_more) = (Vec::new(), 0, false);
    while let Some(publication) = room.state.as_ref().and_then(|served| served.next(snapshot)) {
        has_more = !slice.is_empty() && slice.len() + publication.weight() + FRAME_OVERHEAD > slice_max;
        if has_more {
            break;
        }
        slice.extend_from_slice(&out.encoder.event(link, &room.name, publication));
        snapshot.got(publication.offset);
        count += 1;
    }
    let left_out = LeftOut {
        conflated: if has_more { 0 } else { snapshot.left.into() },
        dropped: 0,
    };
    let position = Position {
        epoch,
        offset: snapshot.to,
    };
    slice.append(&mut left_out.frames(&room.name, position, link, out.encoder));
    let batch = Batch {
        bytes: slice.into(),
        left_out,
        ..Batch::EMPTY
    };
    let session = subscriber.session;
    if !out.push(session, lane, batch) {
        return false;
    }
    out.counters.state_sent_total += count;
    if has_more {
        subscriber.is_behind = true;
        out.sessions[session as usize].fall_behind(room_id, lane);
        return false;
    }
    subscriber.snapshot = None;
    room.state_readers -= 1;
    true
}

impl Shard {
    /// Promises a room's state to a joiner; none while it is still to be read.
    pub(crate) fn promise_state(
        &mut self,
        room_id: RoomId,
        wishes: &Wishes,
        head: Offset,
        now: Moment,
    ) -> Option<Snapshot> {
        let now_us = self.setup.wall.at_us(now);
        self.with_state(room_id, |state, policy| {
            let served = state.as_mut()?;
            let is_done = matches!(served.load, Load::Done);
            is_done.then(|| served.snapshot(wishes, head, policy, now_us))
        })
    }

    /// A join waits for the room's state, which is read unless that is under way.
    pub(crate) fn wait_for_state(&mut self, room_id: RoomId, join: PendingJoin, now: Moment) {
        let room = &mut self.rooms[room_id.0 as usize];
        room.waiting.push(join);
        if room.state.is_some() {
            return;
        }
        self.state_loads += 1;
        let number = self.state_loads;
        room.state = Some(Box::new(Served {
            newest: State::default(),
            load: Load::Asked {
                number,
                deleted: BTreeMap::new(),
            },
        }));
        self.ask_state(room_id, number, 0, now);
    }

    fn ask_state(&mut self, room_id: RoomId, number: u64, after: Offset, now: Moment) {
        let room = &mut self.rooms[room_id.0 as usize];
        room.replaying += 1;
        let room = room.name.clone();
        let pending = Pending::State {
            room: room_id,
            number,
        };
        let ticket = self.issue(pending, now);
        let query = StateQuery {
            after,
            limit: PAGE_KEYS_MAX,
            bytes_max: PAGE_BYTES_MAX,
        };
        self.requests.push_back(Request::State { ticket, room, query });
    }

    /// The engine's page.
    pub(crate) fn on_state_page(
        &mut self,
        room_id: RoomId,
        number: u64,
        result: Result<StatePage, Reject>,
        now: Moment,
    ) {
        let now_us = self.setup.wall.at_us(now);
        let room = &mut self.rooms[room_id.0 as usize];
        room.replaying -= 1;
        let load = room.state.as_ref().map(|served| &served.load);
        let is_current = matches!(load, Some(Load::Asked { number: asked, .. }) if *asked == number);
        match (result, room.head()) {
            (Ok(page), Some(head)) if is_current => {
                let last = page.publications.last().map(|last| last.offset);
                let next = last.filter(|_| page.more);
                self.with_state(room_id, |state, policy| {
                    let served = state.as_mut().expect("it is the current one");
                    served.take_page(page.publications, head.offset, policy, now_us);
                    if next.is_none() {
                        served.load = Load::Done;
                    }
                });
                if let Some(after) = next {
                    return self.ask_state(room_id, number, after, now);
                }
            }
            (Err(reject), _) if is_current => {
                self.drop_state(room_id);
                let room = &mut self.rooms[room_id.0 as usize];
                let (refused, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut room.waiting)
                    .into_iter()
                    .partition(PendingJoin::wants_state);
                room.waiting = waiting;
                for join in refused {
                    self.refuse_join(room_id, &join, reject.clone(), now);
                }
            }
            // The room was attached anew meanwhile: who still waits has it read again.
            _ => {}
        }
        self.continue_waiting(room_id, now);
        self.linger_if_idle(room_id, now);
    }

    /// A publication of the room, on its way into the feed.
    pub(crate) fn apply_to_state(&mut self, room_id: RoomId, publication: &Publication, now: Moment) {
        if self.rooms[room_id.0 as usize].state.is_none() {
            return;
        }
        let now_us = self.setup.wall.at_us(now);
        let is_overrun = self.with_state(room_id, |state, policy| {
            let served = state.as_mut().expect("seen above");
            served.apply(publication, policy, now_us);
            served.is_overrun(policy)
        });
        if is_overrun {
            self.drop_state(room_id);
        }
    }

    /// The attachment broke: pages that were asked for show another moment than what will follow.
    pub(crate) fn stop_loading_state(&mut self, room_id: RoomId) {
        let state = &self.rooms[room_id.0 as usize].state;
        if state
            .as_ref()
            .is_some_and(|served| !matches!(served.load, Load::Done))
        {
            self.drop_state(room_id);
        }
    }

    /// Forgets a room's state: its history broke off, or nobody is there. Who was promised it is told a gap by the caller.
    pub(crate) fn drop_state(&mut self, room_id: RoomId) {
        self.with_state(room_id, |state, _| *state = None);
        let room = &mut self.rooms[room_id.0 as usize];
        if room.state_readers > 0 {
            for subscriber in &mut room.subscribers {
                subscriber.snapshot = None;
            }
            room.state_readers = 0;
        }
    }

    /// Memory is short: a state that nobody is being given can be read again.
    pub(crate) fn spare_state(&mut self, room_id: RoomId) {
        let room = &self.rooms[room_id.0 as usize];
        let state = room.state.as_ref().filter(|_| room.state_readers == 0);
        if state.is_some_and(|served| matches!(served.load, Load::Done)) {
            self.drop_state(room_id);
        }
    }

    fn with_state<T>(
        &mut self,
        room_id: RoomId,
        change: impl FnOnce(&mut Option<Box<Served>>, &Policy) -> T,
    ) -> T {
        let room = &mut self.rooms[room_id.0 as usize];
        let bytes = |room: &Room| room.state.as_ref().map_or(0, |served| served.bytes());
        let before = bytes(room);
        let outcome = change(&mut room.state, &room.policy);
        self.feeds_bytes = self.feeds_bytes - before + bytes(room);
        outcome
    }
}

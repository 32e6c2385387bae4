//! Joining a room, and what a returning subscriber missed.
//!
//! A join waits for the room to be attached; then the feed decides. It holds every
//! publication after its `complete_since`, so a position at or past it is resumed
//! from memory; an older one is bridged by history pages from the engine until the
//! feed is reached. Subscribing and the last look at the feed are one step: nothing
//! falls between replay and live, nothing comes twice. A join with the room's state waits until
//! that is here (`state::serve`), and is given it in place of a replay.
//!
//! ```text
//!   join ─► waiting (attach) ─► plan ─┬─► finish: reply, replay, subscribe
//!                                ▲    ├─► fetch a page ──► history answer ──┐
//!                                │    └─► park until the outbox drains ──┐  │
//!                                └───────────────────────────────────────┴──┘
//! ```

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashSet;
use tidegate_wire::{
    Offset, Position, Publication, Reject, RejectCode,
    frame::{GapReason, HistoryPage, Join, Joined, Ok as Reply, Recovery, Wishes},
};

use crate::{
    feed::Variant,
    grant::Right,
    limits::Limits,
    moment::Moment,
    outbox::{FRAME_OVERHEAD, Lane},
    policy::{Policy, unknown_namespace},
    request::{HistoryQuery, Request},
    room::{Room, RoomId, Subscriber, Wants},
    session::{Joining, Membership, Stage},
    shard::{ConnId, Shard},
    state::serve::Snapshot,
};

/// Bytes asked for in one history page of a replay.
const PAGE_BYTES_MAX: usize = 256 << 10;
/// How often the last n are read again when the feed moved on meanwhile.
const TAIL_READS_MAX: u8 = 3;

/// A join that is not done yet.
#[derive(Debug)]
pub struct PendingJoin {
    /// Whose.
    pub conn: ConnId,
    /// The command's id.
    pub id: u32,
    since: Option<Position>,
    last: u32,
    enter: bool,
    members: bool,
    wishes: Wishes,
    state: bool,
    /// Why `since` could not be honoured, once known.
    gap: Option<GapReason>,
    /// What history pages brought, oldest first.
    collected: Vec<Publication>,
    collected_bytes: usize,
    tail_reads: u8,
    /// Whether the engine knows a position that is past this shard's head.
    ahead: Ahead,
}

/// A client may come from a shard that is further: the engine's answer arrives behind all publications that it knew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ahead {
    Unknown,
    Asked,
    Answered,
}

impl PendingJoin {
    fn new(conn: ConnId, id: u32, join: &Join) -> Self {
        Self {
            conn,
            id,
            since: join.since,
            last: join.last.unwrap_or(0),
            enter: join.enter,
            members: join.members,
            wishes: join.wishes.clone(),
            state: join.state,
            gap: None,
            collected: Vec::new(),
            collected_bytes: 0,
            tail_reads: 0,
            ahead: Ahead::Unknown,
        }
    }

    fn wants_replay(&self) -> bool {
        self.since.is_some() && self.gap.is_none()
    }

    /// Whether it begins with the room's state: asked for, and not to be replayed instead.
    pub(crate) fn wants_state(&self) -> bool {
        self.state && !self.wants_replay()
    }

    fn give_up(&mut self, reason: GapReason) {
        self.gap = Some(reason);
        self.forget();
    }

    fn forget(&mut self) {
        self.collected = Vec::new();
        self.collected_bytes = 0;
    }

    /// There is no place for what was to be read: it was not asked, and is planned anew.
    pub(crate) fn handle_unread(&mut self, query: &HistoryQuery) {
        if self.ahead == Ahead::Asked {
            self.ahead = Ahead::Unknown;
        }
        self.tail_reads -= u8::from(query.reverse);
    }

    fn collect(&mut self, publications: impl IntoIterator<Item = Publication>) {
        for publication in publications {
            self.collected_bytes += replay_weight(&publication);
            self.collected.push(publication);
        }
    }
}

/// What to do with a join now.
#[derive(Debug, PartialEq)]
enum Plan {
    /// Everything is at hand: what was collected, then the feed after this offset.
    Finish { after: Offset },
    /// Read this first.
    Fetch(HistoryQuery),
}

fn plan(room: &Room, head: Position, join: &mut PendingJoin, limits: &Limits) -> Plan {
    if let (Some(since), true) = (join.since, join.wants_replay()) {
        let at = join.collected.last().map_or(since.offset, |p| p.offset);
        let missed = head.offset.saturating_sub(since.offset);
        if since.epoch == head.epoch && since.offset > head.offset && join.ahead == Ahead::Unknown {
            join.ahead = Ahead::Asked;
            return Plan::Fetch(HistoryQuery {
                since: Some(since),
                limit: 1,
                bytes_max: PAGE_BYTES_MAX,
                reverse: false,
            });
        } else if since.epoch != head.epoch || since.offset > head.offset {
            join.give_up(GapReason::Epoch);
        } else if missed > u64::from(room.policy.replay_max) {
            join.give_up(GapReason::TooFar);
        } else if at < room.feed.complete_since() {
            return Plan::Fetch(HistoryQuery {
                since: Some(Position {
                    epoch: since.epoch,
                    offset: at,
                }),
                limit: room.policy.replay_max,
                bytes_max: PAGE_BYTES_MAX,
                reverse: false,
            });
        } else {
            let at_hand = room.feed.publications_after(at).map(|(_, p)| replay_weight(p));
            if join.collected_bytes + at_hand.sum::<usize>() <= replay_bytes_max(limits) {
                return Plan::Finish { after: at };
            }
            join.give_up(GapReason::TooFar);
        }
    }
    if join.state {
        return Plan::Finish { after: head.offset };
    }
    plan_tail(room, head, join, limits)
}

/// The last n, or just the head.
fn plan_tail(room: &Room, head: Position, join: &mut PendingJoin, limits: &Limits) -> Plan {
    let wanted = join.last.min(room.policy.replay_max) as usize;
    if wanted == 0 {
        return Plan::Finish { after: head.offset };
    }
    // Newest first, until there are enough or they are too heavy together.
    let mut room_left = replay_bytes_max(limits);
    let mut count = 0;
    let mut after = head.offset;
    // Older ones may have holes between them: what outlived the window does, what is lossy does not.
    let without_holes = room.feed.complete_since();
    for (_, publication) in room.feed.publications_after(without_holes).rev() {
        if count == wanted || replay_weight(publication) > room_left {
            join.forget();
            return Plan::Finish { after };
        }
        room_left -= replay_weight(publication);
        count += 1;
        after = publication.offset - 1;
    }
    let feed_has_all = room.feed.complete_since() < room.oldest || room.feed.complete_since() == 0;
    if count == wanted || feed_has_all {
        join.forget();
        return Plan::Finish { after };
    }
    let meets_feed = |join: &PendingJoin| {
        let last = join.collected.last();
        last.is_some_and(|last| last.offset >= room.feed.complete_since())
    };
    if meets_feed(join) {
        let first_in_feed = after + 1;
        join.collected.retain(|p| p.offset < first_in_feed);
        let mut keep_from = join.collected.len().saturating_sub(wanted - count);
        let weights = join.collected.iter().map(replay_weight);
        let mut weight: usize = weights.skip(keep_from).sum();
        while weight > room_left {
            weight -= replay_weight(&join.collected[keep_from]);
            keep_from += 1;
        }
        join.collected.drain(..keep_from);
        return Plan::Finish { after };
    }
    if join.tail_reads == TAIL_READS_MAX || !room.policy.keeps_history() {
        join.forget();
        return Plan::Finish { after };
    }
    join.tail_reads += 1;
    join.forget();
    Plan::Fetch(HistoryQuery {
        since: None,
        limit: wanted as u32,
        bytes_max: replay_bytes_max(limits),
        reverse: true,
    })
}

/// A replay may fill half an outbox, so that live publications still fit.
fn replay_bytes_max(limits: &Limits) -> usize {
    limits.outbox_bytes_max / 2
}

/// What a publication may take in an outbox: base64 and names included, generously.
fn replay_weight(publication: &Publication) -> usize {
    publication.weight() * 4 / 3 + 2 * FRAME_OVERHEAD + 256
}

impl Shard {
    /// Takes a `join` command, also from `connect`'s `resume`.
    pub(crate) fn on_join(&mut self, conn: ConnId, id: u32, join: &Join, now: Moment) {
        let room = match self.admit_join(conn, join, now) {
            Ok(room) => room,
            Err(reject) => return self.reject(conn, id, reject, now),
        };
        self.sessions[conn.index as usize].joining.push(Joining {
            room,
            was_left: false,
        });
        let pending = PendingJoin::new(conn, id, join);
        self.continue_join(room, pending, now);
    }

    fn admit_join(&mut self, conn: ConnId, join: &Join, now: Moment) -> Result<RoomId, Reject> {
        let session = &mut self.sessions[conn.index as usize];
        let Some(policy) = self.setup.policies.of(&join.room).cloned() else {
            return Err(unknown_namespace(&join.room));
        };
        if !session.may(Right::Join, &join.room) {
            return Err(forbidden("join", &join.room));
        }
        if join.enter || join.members {
            if !policy.presence.enabled {
                let detail = format!("namespace {:?} has no presence", policy.namespace);
                return Err(Reject::new(RejectCode::Disabled, detail));
            }
            if !session.may(Right::Presence, &join.room) {
                return Err(forbidden("presence", &join.room));
            }
        }
        check_wishes(&join.wishes, &policy)?;
        if join.state {
            policy.check_state()?;
        }
        let rooms = session.memberships.len() + session.joining.len();
        if rooms >= self.setup.limits.rooms_max {
            let detail = format!("{} rooms joined", self.setup.limits.rooms_max);
            return Err(Reject::new(RejectCode::Limit, detail));
        }
        if self.requests.len() >= self.setup.limits.requests_max {
            return Err(self.overloaded("requests wait for the engine"));
        }
        if let Some(room) = self.rooms_by_name.get(&join.room).copied() {
            if session.membership(room).is_some() || session.joining(room).is_some() {
                let detail = format!("{:?} is joined, or a join is under way", join.room.as_str());
                return Err(Reject::new(RejectCode::AlreadyJoined, detail));
            }
            return Ok(room);
        }
        self.open_room(&join.room, policy, now)
    }

    /// What became of the client's wish, or of its right, while its join was under way.
    fn second_thoughts(&mut self, room_id: RoomId, conn: ConnId) -> Option<Reject> {
        let name = &self.rooms[room_id.0 as usize].name;
        let session = &mut self.sessions[conn.index as usize];
        if session.joining(room_id).is_some_and(|joining| joining.was_left) {
            let detail = "left before the join was done";
            return Some(Reject::new(RejectCode::NotJoined, detail));
        }
        (!session.may(Right::Join, name)).then(|| forbidden("join", name))
    }

    /// Takes a join as far as it can go now.
    pub(crate) fn continue_join(&mut self, room_id: RoomId, mut join: PendingJoin, now: Moment) {
        if !self.is_ready(join.conn) {
            return self.linger_if_idle(room_id, now);
        }
        if let Some(reject) = self.second_thoughts(room_id, join.conn) {
            self.refuse_join(room_id, &join, reject, now);
            return self.linger_if_idle(room_id, now);
        }
        let room = &mut self.rooms[room_id.0 as usize];
        let Some(head) = room.head() else {
            join.forget();
            room.waiting.push(join);
            return;
        };
        match plan(room, head, &mut join, &self.setup.limits) {
            Plan::Fetch(query) => {
                if let Err(reject) = self.admit_replay() {
                    self.refuse_join(room_id, &join, reject, now);
                    return self.linger_if_idle(room_id, now);
                }
                self.read_for_join(room_id, join, query, now);
            }
            Plan::Finish { after } => self.finish_join(room_id, join, head, after, now),
        }
    }

    /// The engine's page for a join.
    pub(crate) fn on_replay_page(
        &mut self,
        room_id: RoomId,
        mut join: Box<PendingJoin>,
        result: Result<HistoryPage, Reject>,
        now: Moment,
    ) {
        let room = &mut self.rooms[room_id.0 as usize];
        room.replaying -= 1;
        let was_ahead = join.ahead == Ahead::Asked;
        if was_ahead {
            join.ahead = Ahead::Answered;
        }
        match result {
            // What matters came before it.
            Ok(HistoryPage { gap: None, .. }) if was_ahead => {}
            Err(Reject {
                code: RejectCode::Disabled,
                ..
            }) if was_ahead => {}
            Ok(page) if join.wants_replay() => {
                let came_to_end = page.publications.is_empty();
                match page.gap {
                    Some(reason) => join.give_up(reason),
                    None if came_to_end => join.give_up(GapReason::Trimmed),
                    None => join.collect(page.publications),
                }
                if join.collected_bytes > replay_bytes_max(&self.setup.limits) {
                    join.give_up(GapReason::TooFar);
                }
            }
            Ok(page) => join.collect(page.publications.into_iter().rev()),
            Err(reject) if reject.code == RejectCode::Disabled && join.wants_replay() => {
                join.give_up(GapReason::Trimmed);
            }
            Err(reject) => {
                self.refuse_join(room_id, &join, reject, now);
                return self.linger_if_idle(room_id, now);
            }
        }
        self.continue_join(room_id, *join, now);
    }

    /// Answers a join "no", if its session still waits for it.
    pub(crate) fn refuse_join(&mut self, room_id: RoomId, join: &PendingJoin, reject: Reject, now: Moment) {
        if self.is_ready(join.conn) {
            self.sessions[join.conn.index as usize].end_joining(room_id);
            self.reject(join.conn, join.id, reject, now);
        }
    }

    fn finish_join(
        &mut self,
        room_id: RoomId,
        join: PendingJoin,
        head: Position,
        after: Offset,
        now: Moment,
    ) {
        let conn = join.conn;
        let session = &mut self.sessions[conn.index as usize];
        let room = &mut self.rooms[room_id.0 as usize];

        // Leave room for live publications: a large replay waits until the reader has
        // taken what is already there.
        let at_hand = room.feed.publications_after(after).map(|(_, p)| replay_weight(p));
        let replay_bytes = join.collected_bytes + at_hand.sum::<usize>();
        let waiting_bytes = session.outbox.bytes();
        if waiting_bytes > 0 && waiting_bytes + replay_bytes > replay_bytes_max(&self.setup.limits) {
            room.replaying += 1;
            session.parked.get_or_insert_default().push_back((room_id, join));
            return;
        }
        let snapshot = match join.wants_state() {
            true => match self.promise_state(room_id, &join.wishes, head.offset, now) {
                Some(snapshot) => Some(snapshot),
                None => return self.wait_for_state(room_id, join, now),
            },
            false => None,
        };
        let session = &mut self.sessions[conn.index as usize];
        let room = &mut self.rooms[room_id.0 as usize];

        let variant = Variant::new(session.link, join.members);
        let mut frames: Vec<Bytes> = Vec::new();
        let lane = room.policy.lane;
        let wants = Wants::of(&join.wishes);
        let is_wanted =
            |publication: &Publication| wants.as_ref().is_none_or(|wants| wants.has(&publication.key));
        // What is fresh or not at all takes no place of what is kept.
        let is_aside = |publication: &Publication| publication.lane == Some(Lane::Lossy);
        let mut newer: HashSet<Bytes, FixedState> = HashSet::default();
        if lane == Lane::Latest {
            let kept = room.feed.publications_after(after).filter(|(_, p)| !is_aside(p));
            newer.extend(kept.map(|(_, p)| p.key.clone()));
        }
        let mut collected: Vec<&Publication> = Vec::new();
        for publication in join.collected.iter().rev().filter(|p| is_wanted(p)) {
            // Where only the newest of a key counts, only that is replayed.
            if lane != Lane::Latest || is_aside(publication) || newer.insert(publication.key.clone()) {
                collected.push(publication);
            }
        }
        for publication in collected.into_iter().rev() {
            frames.push(self.encoder.event(session.link, &room.name, publication));
        }
        let wanted = room.feed.publications_after(after).filter(|(_, p)| is_wanted(p));
        let seqs: Vec<u64> = wanted.map(|(seq, _)| seq).collect();
        for seq in seqs {
            frames.push(room.feed.frame(seq, variant, &room.name, &mut self.encoder).bytes);
        }

        let replayed = frames.len() as u32;
        let recovery = match join.gap {
            Some(reason) => Recovery::Gap(reason),
            None if replayed > 0 => Recovery::Replay,
            None => Recovery::None,
        };
        let members = join.members.then(|| {
            let mirror = room.mirror.as_deref();
            mirror.map(|mirror| mirror.members()).unwrap_or_default()
        });
        let reply = Reply::Joined(Joined {
            room: room.name.clone(),
            epoch: head.epoch,
            offset: head.offset,
            recovery,
            replayed,
            members,
            state: snapshot.as_ref().map(Snapshot::left),
        });

        session.end_joining(room_id);
        session.memberships.push(Membership {
            room: room_id,
            subscriber: room.subscribers.len() as u32,
            has_entered: join.enter,
        });
        room.subscribers.push(Subscriber {
            session: conn.index,
            membership: (session.memberships.len() - 1) as u16,
            variant,
            seq: room.feed.end(),
            offset: head.offset,
            is_behind: false,
            wishes: wants,
            snapshot: snapshot.filter(|snapshot| snapshot.left() > 0).map(Box::new),
        });
        let has_snapshot = room
            .subscribers
            .last()
            .is_some_and(|last| last.snapshot.is_some());
        room.state_readers += u32::from(has_snapshot);
        room.watchers += u32::from(join.members);
        if join.enter {
            self.requests.push_back(Request::Enter {
                room: room.name.clone(),
                session: conn.key(),
                user: session.user.clone(),
                info: session.info.clone(),
            });
        }
        self.counters.subscriptions += 1;
        self.counters.replayed_total += u64::from(replayed);
        self.counters.gaps_total += u64::from(join.gap.is_some());
        // In the lane of its events: it must not overtake those of a subscription to the
        // same room that was left a moment ago.
        self.reply_in(conn, lane, join.id, &Ok(reply), now);
        if self.is_ready(conn) {
            for frame in frames {
                self.append(conn, lane, frame, now);
            }
        }
        if has_snapshot && self.is_ready(conn) {
            self.catch_up_in(conn.index, room_id, now);
            self.end_visits(now);
        }
    }

    /// The outbox drained: joins that waited for room go on.
    pub(crate) fn unpark_joins(&mut self, conn: ConnId, now: Moment) {
        loop {
            let limits = &self.setup.limits;
            let session = &mut self.sessions[conn.index as usize];
            if session.stage != Stage::Ready || session.outbox.bytes() > replay_bytes_max(limits) / 2 {
                return;
            }
            let Some(parked) = session.parked.as_deref_mut() else {
                return;
            };
            let Some((room, join)) = parked.pop_front() else {
                session.parked = None;
                return;
            };
            let others = parked.len();
            self.rooms[room.0 as usize].replaying -= 1;
            self.continue_join(room, join, now);
            // It still does not fit: wait until the outbox is emptier.
            let parked = &self.sessions[conn.index as usize].parked;
            if parked.as_ref().is_some_and(|parked| parked.len() > others) {
                return;
            }
        }
    }
}

/// Nothing may be left out where everything is promised.
pub(crate) fn check_wishes(wishes: &Wishes, policy: &Policy) -> Result<(), Reject> {
    match (policy.lane, wishes.max_rate) {
        (Lane::Reliable, Some(_)) => {
            let detail = format!(
                "namespace {:?} is `reliable`, where nothing is left out: no `max_rate`",
                policy.namespace
            );
            Err(Reject::new(RejectCode::Disabled, detail))
        }
        _ => Ok(()),
    }
}

/// The token does not grant `right` in `room`.
pub(crate) fn forbidden(right: &str, room: &str) -> Reject {
    let detail = format!("the token does not grant {right} in {room:?}");
    Reject::new(RejectCode::Forbidden, detail)
}

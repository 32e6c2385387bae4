//! What the engine says, and what becomes of it: answers find their session,
//! publications go into their room's feed, and a broken attachment is mended.

use tidegate_wire::{
    Publication, Reject, RejectCode, RoomName,
    frame::{GapReason, MembersChange, Ok as Reply, Push},
};

use crate::{
    feed::Item,
    gate::Answered,
    members::Mirror,
    moment::Moment,
    outbox::Lane,
    planted::Bug,
    request::{Attachment, Event, Request},
    room::{Attach, RoomId},
    shard::{ConnId, Pending, Shard, Ticketed, Timer},
};

/// When to ask again for a page that did not fit into the outbox.
const PAGE_RETRY_MS: u32 = 100;

impl Shard {
    pub(crate) fn on_event(&mut self, event: Event, now: Moment) {
        match event {
            Event::Publication { room, publication } => self.on_publication(&room, publication, now),
            Event::Published { ticket, result } => {
                if let Some(Ticketed {
                    pending: Pending::Publish { conn, id, room },
                    permit,
                }) = self.pending.remove(&ticket)
                {
                    self.publish_stored(room, permit, Answered::by(&result), now);
                    self.answer(conn, id, Lane::Control, result.map(Reply::Published), now);
                }
            }
            Event::History { ticket, result } => {
                let Some(Ticketed { pending, permit }) = self.pending.remove(&ticket) else {
                    return;
                };
                if !self.keeps_place(&pending) {
                    self.read_answered(permit, Answered::by(&result), now);
                }
                match pending {
                    Pending::History { conn, id } => {
                        self.answer_page(conn, id, result.map(Reply::History), now);
                    }
                    Pending::Replay { room, join } => self.on_replay_page(room, join, result, now),
                    Pending::Publish { .. } | Pending::Presence { .. } | Pending::State { .. } => {}
                }
            }
            Event::State { ticket, result } => {
                if let Some(Ticketed {
                    pending: Pending::State { room, number },
                    ..
                }) = self.pending.remove(&ticket)
                {
                    self.on_state_page(room, number, result, now);
                }
            }
            Event::Presence { ticket, result } => {
                if let Some(Ticketed {
                    pending: Pending::Presence { conn, id },
                    ..
                }) = self.pending.remove(&ticket)
                {
                    self.answer(conn, id, Lane::Control, result.map(Reply::Presence), now);
                }
            }
            Event::Members(change) => self.on_members(change, now),
            Event::Attached { room, nonce, result } => self.on_attached(&room, nonce, result, now),
            Event::Broken { room } => self.on_broken(&room),
        }
    }

    /// A planted bug.
    fn keeps_place(&self, pending: &Pending) -> bool {
        let is_gone = matches!(pending, Pending::History { conn, .. } if !self.is_ready(*conn));
        is_gone && self.gate.planted.is(Bug::KeepReadPlace)
    }

    fn answer(&mut self, conn: ConnId, id: u32, lane: Lane, result: Result<Reply, Reject>, now: Moment) {
        if !self.is_ready(conn) {
            return;
        }
        self.sessions[conn.index as usize].in_flight -= 1;
        match result {
            Ok(reply) => self.reply_in(conn, lane, id, &Ok(reply), now),
            Err(reject) => self.reject(conn, id, reject, now),
        }
    }

    /// A page is bulk: it goes in the reliable lane, where it holds up no reply and no pong, and takes no more
    /// than half an outbox, so that live publications still fit.
    fn answer_page(&mut self, conn: ConnId, id: u32, result: Result<Reply, Reject>, now: Moment) {
        if !self.is_ready(conn) {
            return;
        }
        let session = &mut self.sessions[conn.index as usize];
        session.in_flight -= 1;
        let reply = match result {
            Ok(reply) => Ok(reply),
            Err(reject) => return self.reject(conn, id, reject, now),
        };
        let waiting = session.outbox.bytes();
        let frame = self.encoder.reply(session.link, id, &reply);
        if waiting > 0 && waiting + frame.len() > self.setup.limits.outbox_bytes_max / 2 {
            let detail = "the pages before it have not been read yet";
            let reject = Reject::retry(RejectCode::RateLimited, PAGE_RETRY_MS, detail);
            return self.reject(conn, id, reject, now);
        }
        self.enqueue(conn, Lane::Reliable, frame, now);
    }

    fn on_publication(&mut self, name: &RoomName, publication: Publication, now: Moment) {
        let Some(room_id) = self.rooms_by_name.get(name).copied() else {
            return;
        };
        let room = &mut self.rooms[room_id.0 as usize];
        let Attach::Live(head) = &mut room.attach else {
            return;
        };
        debug_assert!(
            publication.offset > head.offset,
            "the engine keeps a room's order"
        );
        head.offset = publication.offset;
        room.last = Some(*head);
        self.counters.publications_total += 1;
        if self.is_shed(room_id) {
            return self.leave_out(room_id, publication, now);
        }
        self.feed(room_id, Item::Publication(publication), now);
    }

    fn on_members(&mut self, change: MembersChange, now: Moment) {
        let Some(room_id) = self.rooms_by_name.get(&change.room).copied() else {
            return;
        };
        let room = &mut self.rooms[room_id.0 as usize];
        let mirror = room.mirror.get_or_insert_default();
        mirror.apply(&change);
        if mirror.is_empty() {
            room.mirror = None;
        }
        if room.watchers > 0 {
            self.feed(room_id, Item::Members(change), now);
        }
    }

    fn on_attached(&mut self, name: &RoomName, nonce: u64, result: Result<Attachment, Reject>, now: Moment) {
        let Some(room_id) = self.rooms_by_name.get(name).copied() else {
            return;
        };
        let room = &mut self.rooms[room_id.0 as usize];
        if room.attach != Attach::Asked(nonce) {
            return;
        }
        match result {
            Ok(attachment) => self.on_live(room_id, attachment, now),
            Err(reject) if room.subscribers.is_empty() => {
                let waiting = std::mem::take(&mut room.waiting);
                for join in waiting {
                    self.refuse_join(room_id, &join, reject.clone(), now);
                }
                let room = &mut self.rooms[room_id.0 as usize];
                if room.is_idle() {
                    return self.drop_room(room_id, now);
                }
                self.retry_attach(room_id, &reject, now);
            }
            Err(reject) => self.retry_attach(room_id, &reject, now),
        }
        self.continue_waiting(room_id, now);
    }

    fn retry_attach(&mut self, room_id: RoomId, reject: &Reject, now: Moment) {
        let wait = std::time::Duration::from_millis(reject.retry_after_ms.unwrap_or(1_000).into());
        self.rooms[room_id.0 as usize].attach = Attach::Retry(now + wait);
        self.set_timer(now + wait, Timer::Attach(room_id));
    }

    fn on_live(&mut self, room_id: RoomId, attachment: Attachment, now: Moment) {
        let room = &mut self.rooms[room_id.0 as usize];
        let Attachment {
            head,
            oldest,
            window,
            members,
        } = attachment;
        let before = room.last.replace(head);
        room.attach = Attach::Live(head);
        room.oldest = oldest;
        let mut mirror = Mirror::default();
        mirror.reset(&members);
        let has_changed = *room.mirror.take().unwrap_or_default() != mirror;
        room.mirror = (!mirror.is_empty()).then(|| Box::new(mirror));
        // Who watched members through a broken attachment was told nothing meanwhile: all of
        // them, in the form that replaces what was known.
        if has_changed && room.watchers > 0 {
            let change = MembersChange::all(&room.name, members);
            self.feed(room_id, Item::Members(change), now);
        }
        let room = &mut self.rooms[room_id.0 as usize];
        let Some(before) = before.filter(|_| !room.subscribers.is_empty()) else {
            self.skip_walk(room_id, now);
            self.drop_state(room_id);
            let room = &mut self.rooms[room_id.0 as usize];
            let bytes_before = room.feed.bytes();
            let conflates = room.conflates();
            room.feed.restart(head.offset, window, conflates, now);
            room.walk_end = room.feed.end();
            self.feeds_bytes = self.feeds_bytes - bytes_before + room.feed.bytes();
            return self.trim(room_id);
        };

        // Subscribers stayed through a broken attachment: give them what came
        // meanwhile if it is provably all there, else say that there is a gap.
        let known_since = window.first().map_or(head.offset, |first| first.offset - 1);
        if head.epoch == before.epoch && before.offset >= known_since {
            for publication in window {
                if publication.offset > before.offset {
                    self.feed(room_id, Item::Publication(publication), now);
                }
            }
            return;
        }
        let reason = match head.epoch == before.epoch {
            true => GapReason::Continuity,
            false => GapReason::Epoch,
        };
        let gap = Push::Gap {
            room: room.name.clone(),
            position: head,
            reason,
            count: match reason {
                GapReason::Continuity => head.offset.saturating_sub(before.offset),
                _ => 0,
            },
        };
        self.counters.gaps_total += room.subscribers.len() as u64;
        self.drop_state(room_id);
        self.feed(room_id, Item::Gap(gap), now);
        self.rooms[room_id.0 as usize].feed.break_at(head.offset);
    }

    /// Joins that waited for the attachment go on.
    pub(crate) fn continue_waiting(&mut self, room_id: RoomId, now: Moment) {
        let Some(room) = self.rooms.get_mut(room_id.0 as usize) else {
            return;
        };
        if room.head().is_none() {
            return;
        }
        let waiting = std::mem::take(&mut room.waiting);
        for join in waiting {
            self.continue_join(room_id, join, now);
        }
        self.linger_if_idle(room_id, now);
    }

    fn on_broken(&mut self, name: &RoomName) {
        let Some(room_id) = self.rooms_by_name.get(name).copied() else {
            return;
        };
        if let Attach::Live(_) = self.rooms[room_id.0 as usize].attach {
            self.stop_loading_state(room_id);
            self.ask_attach(room_id);
        }
    }

    /// Asks the engine for this room's publications.
    pub(crate) fn ask_attach(&mut self, room_id: RoomId) {
        self.nonce += 1;
        let room = &mut self.rooms[room_id.0 as usize];
        room.attach = Attach::Asked(self.nonce);
        self.requests.push_back(Request::Attach {
            room: room.name.clone(),
            nonce: self.nonce,
        });
    }

    /// Adds to a room's feed; whoever is subscribed gets it in a walk.
    pub(crate) fn feed(&mut self, room_id: RoomId, item: Item, now: Moment) {
        if let Item::Publication(publication) = &item {
            self.apply_to_state(room_id, publication, now);
        }
        let room = &mut self.rooms[room_id.0 as usize];
        room.heat.add(room.subscribers.len(), now);
        let was_judged_hot = room.heat.is_hot;
        if room.heat.judge(&room.policy.hot, self.visit_ns, now) {
            self.on_heat(room_id, was_judged_hot, now);
        }
        let room = &mut self.rooms[room_id.0 as usize];
        // A newer publication of a key takes the place of the older one, which may go at once.
        let before = room.feed.bytes();
        let weight = room.feed.push(item, room.conflates(), now);
        self.feeds_bytes = self.feeds_bytes - before + room.feed.bytes();
        self.pending_bytes += weight;
        self.begin_walk(room_id, now);
    }

    /// No answer came in time.
    pub(crate) fn on_request_timeout(&mut self, ticketed: Ticketed, now: Moment) {
        let Ticketed { pending, permit } = ticketed;
        match &pending {
            Pending::Publish { .. } if self.gate.planted.is(Bug::KeepPublishPlace) => {}
            Pending::Publish { .. } => self.publish_answered(permit, Answered::Failed, now),
            Pending::History { .. } | Pending::Replay { .. } => {
                self.read_answered(permit, Answered::Failed, now);
            }
            Pending::Presence { .. } | Pending::State { .. } => {}
        }
        let reject = || Reject::retry(RejectCode::Timeout, 1_000, "no answer from the engine in time");
        match pending {
            Pending::Publish { conn, id, .. }
            | Pending::History { conn, id }
            | Pending::Presence { conn, id } => {
                self.answer(conn, id, Lane::Control, Err(reject()), now);
            }
            Pending::Replay { room, join } => self.on_replay_page(room, join, Err(reject()), now),
            Pending::State { room, number } => self.on_state_page(room, number, Err(reject()), now),
        }
    }
}

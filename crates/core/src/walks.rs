//! Walks: which room's subscribers are visited next, and who catches up.
//!
//! ```text
//!   feed ─► begin_walk ─► fresh ──┐
//!               ▲                 ├─► fan_out, a slice at a time ─► finish_walk ─► trim
//!   rests ──────┘         ready ──┘                                     │
//!   outbox clear ─► catching_up ──► fan_out            more came ◄──────┘
//! ```

use std::time::Duration;

use tidegate_wire::CloseReason;

use crate::{
    fanout::{Outboxes, catch_up, walk},
    moment::Moment,
    room::{Room, RoomId},
    shard::{ConnId, Shard, Timer, conn_id},
};

/// How often a hot room that gets no publications is looked at.
const HEAT_LOOK: Duration = Duration::from_secs(1);

impl Shard {
    /// Puts waiting publications into outboxes: at most `visits` subscribers, large rooms in slices,
    /// other rooms in between. Returns how many were visited.
    pub fn fan_out(&mut self, visits: usize, now: Moment) -> usize {
        // A quarter is kept for walks under way, so that many fresh rooms cannot starve a large one.
        let share = visits - visits / 4;
        // However many rooms a session is behind in, half of the visits are for walks.
        let mut done = self.catch_up(visits / 2, now).min(visits / 2);
        while done < visits {
            let next = match share.checked_sub(done).filter(|left| *left > 0) {
                Some(left) => match self.fresh.pop_front() {
                    Some(fresh) => Some((fresh, left)),
                    None => self.ready.pop_front().map(|ready| (ready, visits - done)),
                },
                None => {
                    let next = self.ready.pop_front().or_else(|| self.fresh.pop_front());
                    next.map(|room_id| (room_id, visits - done))
                }
            };
            let Some((room_id, slice_visits)) = next else {
                break;
            };
            done += self.with_outboxes(room_id, now, |room, out| walk(room_id, room, slice_visits, out));
            let room = &self.rooms[room_id.0 as usize];
            if room.walk < room.subscribers.len() {
                self.ready.push_back(room_id);
            } else {
                self.finish_walk(room_id, now);
            }
            self.end_visits(now);
        }
        done
    }

    /// Gives sessions that were behind what is worth it now; about `visits` rooms.
    fn catch_up(&mut self, visits: usize, now: Moment) -> usize {
        let mut done = 0;
        while done < visits {
            let Some(index) = self.catching_up.pop_front() else {
                break;
            };
            // The session may be gone, and its place used again.
            let Some(session) = self.sessions.get_mut(index as usize).filter(|s| s.is_catching_up) else {
                continue;
            };
            session.is_catching_up = false;
            let rooms = session
                .behind
                .take()
                .map(|behind| behind.rooms)
                .unwrap_or_default();
            for room_id in rooms {
                done += 1;
                self.catch_up_in(index, room_id, now);
            }
            self.end_visits(now);
        }
        done
    }

    pub(crate) fn catch_up_in(&mut self, session: u32, room_id: RoomId, now: Moment) {
        // It may have left meanwhile.
        let Some(session) = self.sessions.get(session as usize) else {
            return;
        };
        if let Some(place) = session.membership(room_id) {
            let subscriber = session.memberships[place].subscriber as usize;
            self.with_outboxes(room_id, now, |room, out| catch_up(room_id, room, subscriber, out));
        }
    }

    fn with_outboxes<T>(
        &mut self,
        room_id: RoomId,
        now: Moment,
        visit: impl FnOnce(&mut Room, &mut Outboxes<'_>) -> T,
    ) -> T {
        let mut out = Outboxes {
            sessions: &mut self.sessions,
            pile: &mut self.pile,
            encoder: &mut self.encoder,
            dirty: &mut self.dirty,
            too_slow: &mut self.too_slow,
            early: &mut self.early,
            limits: &self.setup.limits,
            counters: &mut self.counters,
            now,
        };
        visit(&mut self.rooms[room_id.0 as usize], &mut out)
    }

    /// What visits left to do: those who are too slow go, those who are early come back.
    pub(crate) fn end_visits(&mut self, now: Moment) {
        for (index, room, at) in std::mem::take(&mut self.early) {
            let conn = conn_id(index as usize, &self.sessions[index as usize]);
            self.set_timer(at, Timer::Rate(conn, room));
        }
        for index in std::mem::take(&mut self.too_slow) {
            let conn = conn_id(index as usize, &self.sessions[index as usize]);
            self.close(conn, CloseReason::TooSlow, now);
        }
    }

    /// Whether some subscriber still waits for `fan_out`.
    pub fn has_fan_out(&self) -> bool {
        !self.fresh.is_empty() || !self.ready.is_empty() || !self.catching_up.is_empty()
    }

    /// Ends the walk of a room without subscribers.
    pub(crate) fn skip_walk(&mut self, room_id: RoomId, now: Moment) {
        let room = &mut self.rooms[room_id.0 as usize];
        debug_assert!(room.subscribers.is_empty());
        self.pending_bytes -= room.feed.finish_walk(room.feed.end());
        if std::mem::take(&mut room.is_ready) {
            room.walk = 0;
            self.fresh.retain(|fresh| *fresh != room_id);
            self.ready.retain(|ready| *ready != room_id);
        }
        self.release_walked(room_id, now);
    }

    /// There is something to fan out: begins a walk, unless one is under way or the room has to rest.
    pub(crate) fn begin_walk(&mut self, room_id: RoomId, now: Moment) {
        let room = &mut self.rooms[room_id.0 as usize];
        if room.is_ready || room.feed.end() == room.walk_end {
            return;
        }
        if room.rests_until > now {
            if !std::mem::replace(&mut room.has_walk_timer, true) {
                let at = room.rests_until;
                self.set_timer(at, Timer::Walk(room_id));
            }
            return;
        }
        room.rests_until = now + room.rest();
        room.is_ready = true;
        room.walk = 0;
        room.walk_end = room.feed.end();
        room.feed.start_walk();
        self.fresh.push_back(room_id);
    }

    /// Everyone was visited: what came meanwhile needs another walk.
    fn finish_walk(&mut self, room_id: RoomId, now: Moment) {
        let room = &mut self.rooms[room_id.0 as usize];
        self.pending_bytes -= room.feed.finish_walk(room.walk_end);
        room.walk = 0;
        let has_more = room.feed.end() > room.walk_end && !room.subscribers.is_empty();
        if has_more && room.rests_until <= now {
            room.rests_until = now + room.rest();
            room.walk_end = room.feed.end();
            room.feed.start_walk();
            self.ready.push_back(room_id);
        } else {
            room.is_ready = false;
            match has_more {
                true => self.begin_walk(room_id, now),
                false => {
                    self.pending_bytes -= room.feed.finish_walk(room.feed.end());
                    room.walk_end = room.feed.end();
                }
            }
        }
        self.release_walked(room_id, now);
        self.trim(room_id);
    }

    /// A room became hot, or is hot no more.
    pub(crate) fn on_heat(&mut self, room_id: RoomId, was_hot: bool, now: Moment) {
        if was_hot {
            self.counters.hot_rooms -= 1;
            return;
        }
        self.counters.hot_rooms += 1;
        self.counters.hot_rooms_total += 1;
        self.set_timer(now + HEAT_LOOK, Timer::Heat(room_id));
    }

    /// A room that fell silent is not hot for ever.
    pub(crate) fn look_at_heat(&mut self, room_id: RoomId, now: Moment) {
        let Some(room) = self
            .rooms
            .get_mut(room_id.0 as usize)
            .filter(|room| room.heat.is_hot)
        else {
            return;
        };
        match room.heat.judge(&room.policy.hot, self.visit_ns, now) {
            true => self.on_heat(room_id, true, now),
            false => self.set_timer(now + HEAT_LOOK, Timer::Heat(room_id)),
        }
    }

    /// What a visit costs, its share of the write included, as the driver measures it; nanoseconds.
    pub fn learn_visit_cost(&mut self, visit_ns: u32) {
        self.visit_ns = visit_ns;
    }

    /// A subscriber's next batch may come.
    pub(crate) fn rate_lets(&mut self, conn: ConnId, room_id: RoomId, now: Moment) {
        let Some(place) = self.sessions[conn.index as usize].membership(room_id) else {
            return;
        };
        let subscriber = self.sessions[conn.index as usize].memberships[place].subscriber;
        let subscriber = &mut self.rooms[room_id.0 as usize].subscribers[subscriber as usize];
        if let Some(wants) = &mut subscriber.wishes {
            wants.has_timer = false;
        }
        if subscriber.seq < self.rooms[room_id.0 as usize].feed.end() {
            self.catch_up_in(conn.index, room_id, now);
            self.end_visits(now);
        }
    }
}

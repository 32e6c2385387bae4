//! The table of a shard's rooms: how one is opened and left, how long it lingers, what
//! all their windows may take.
//!
//! What goes on in a room that is there is told in `join`, `event` and `walks`. A search of
//! the table looks at a few places, and the next one goes on from there: no table is too large for a turn.

use std::rc::Rc;

use tidegate_wire::{Reject, RoomName};

use crate::{
    moment::Moment,
    policy::Policy,
    request::{Exit, Request},
    room::{Room, RoomId},
    shard::{ConnId, Shard, Timer},
};

/// Places of the table of rooms looked at in one search.
const LOOKS_MAX: usize = 64;

impl Shard {
    /// Makes room for a room, and asks for it.
    pub(crate) fn open_room(
        &mut self,
        name: &RoomName,
        policy: Rc<Policy>,
        now: Moment,
    ) -> Result<RoomId, Reject> {
        if self.rooms.len() >= self.setup.limits.rooms_total_max && !self.drop_an_idle_room(now) {
            return Err(self.overloaded("too many rooms on this shard"));
        }
        let room_id = RoomId(self.rooms.insert(Room::new(name.clone(), policy, 0)) as u32);
        self.rooms_by_name.insert(name.clone(), room_id);
        self.counters.rooms += 1;
        self.ask_attach(room_id);
        Ok(room_id)
    }

    /// Ends a subscription, on both sides.
    pub(crate) fn unsubscribe(&mut self, conn: ConnId, room_id: RoomId, exit: Exit, now: Moment) {
        let session = &mut self.sessions[conn.index as usize];
        let place = session.membership(room_id).expect("the caller saw it");
        let membership = session.memberships.swap_remove(place);
        let user = session.user.clone();
        if let Some(moved) = session.memberships.get(place) {
            let room = &mut self.rooms[moved.room.0 as usize];
            room.subscribers[moved.subscriber as usize].membership = place as u16;
        }

        let room = &mut self.rooms[room_id.0 as usize];
        let mut index = membership.subscriber as usize;
        let variant = room.subscribers[index].variant;
        room.watchers -= u32::from(variant.watches_members());
        room.state_readers -= u32::from(room.subscribers[index].snapshot.is_some());
        // The walk under way must neither skip nor repeat anyone: first close the hole
        // among those visited, then among the rest.
        if index < room.walk {
            room.walk -= 1;
            room.subscribers.swap(index, room.walk);
            self.tell_place(room_id, index);
            index = self.rooms[room_id.0 as usize].walk;
        }
        self.rooms[room_id.0 as usize].subscribers.swap_remove(index);
        self.tell_place(room_id, index);

        let room = &self.rooms[room_id.0 as usize];
        if membership.has_entered {
            self.requests.push_back(Request::Exit {
                room: room.name.clone(),
                session: conn.key(),
                user,
                exit,
            });
        }
        self.counters.subscriptions -= 1;
        self.linger_if_idle(room_id, now);
    }

    /// A subscriber was moved to `index`: its session must know.
    fn tell_place(&mut self, room_id: RoomId, index: usize) {
        if let Some(moved) = self.rooms[room_id.0 as usize].subscribers.get(index) {
            let session = &mut self.sessions[moved.session as usize];
            let membership = session.memberships.get_mut(moved.membership as usize);
            // The one being removed has no membership any more.
            if let Some(membership) = membership.filter(|m| m.room == room_id) {
                membership.subscriber = index as u32;
            }
        }
    }

    /// An empty room stays attached for a while, for those who come back.
    pub(crate) fn linger_if_idle(&mut self, room_id: RoomId, now: Moment) {
        let Some(room) = self.rooms.get_mut(room_id.0 as usize) else {
            return;
        };
        if room.is_idle() {
            room.lingers = room.lingers.wrapping_add(1);
            let timer = Timer::Linger(room_id, room.lingers);
            self.set_timer(now + self.setup.limits.room_linger, timer);
        }
    }

    /// Detaches and forgets an idle room.
    pub(crate) fn drop_room(&mut self, room_id: RoomId, now: Moment) {
        self.skip_walk(room_id, now);
        self.drop_state(room_id);
        let room = self.rooms.remove(room_id.0 as usize);
        self.rooms_by_name.remove(&room.name);
        self.counters.rooms -= 1;
        self.counters.hot_rooms -= u64::from(room.heat.is_hot);
        self.feeds_bytes -= room.feed.bytes();
        self.pending_bytes -= room.feed.pending_bytes();
        self.requests.push_back(Request::Detach { room: room.name });
    }

    /// Drops some idle room. Looks at a few places of the table only, on from where it
    /// looked last, so that a full table costs a join little.
    fn drop_an_idle_room(&mut self, now: Moment) -> bool {
        for _ in 0..LOOKS_MAX {
            self.look_at = (self.look_at + 1) % self.rooms.capacity().max(1);
            if self.rooms.get(self.look_at).is_some_and(Room::is_idle) {
                self.drop_room(RoomId(self.look_at as u32), now);
                return true;
            }
        }
        false
    }

    /// Keeps a room's window, and all windows together, within their bounds.
    pub(crate) fn trim(&mut self, room_id: RoomId) {
        let room = &mut self.rooms[room_id.0 as usize];
        let (count, bytes) = (room.policy.window_count as usize, room.policy.window_bytes);
        self.feeds_bytes -= room.feed.trim(count, bytes, room.policy.keys_max as usize);
        for _ in 0..LOOKS_MAX {
            if self.feeds_bytes <= self.setup.limits.windows_bytes_max {
                return;
            }
            self.trim_at = (self.trim_at + 1) % self.rooms.capacity().max(1);
            if let Some(room) = self.rooms.get_mut(self.trim_at) {
                let keys_max = room.feed.aged() / 2;
                self.feeds_bytes -= room.feed.trim(room.feed.len() / 2, usize::MAX, keys_max);
                self.spare_state(RoomId(self.trim_at as u32));
            }
        }
    }
}

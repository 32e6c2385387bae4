//! Where the rooms of a shard stand, and when nothing waits for a connection: then its client
//! must have all it wants. The shard is only looked at from outside: what it was told of its
//! rooms says how far they are.

use std::rc::Rc;

use tidegate_core::{
    ConnId, Lane, Moment,
    request::{Event, Request},
};

use super::{Node, Outside};
use crate::network::{Head, Mark};

/// Connections are marked in every turn of this number, and when they were blocked before.
const TURNS: u64 = 32;

/// With more connections than this only those that were blocked are marked.
const MARK_ALL_MAX: usize = 64;

impl Node {
    /// An event is given to the shard.
    pub(super) fn watch_event(&mut self, event: &Event, now: Moment) {
        match event {
            Event::Publication { room, publication } => {
                let key = (room.clone(), publication.offset);
                self.born.insert(key, (self.visits_total, now));
                if let Some(head) = self.heads.get_mut(room) {
                    head.position.offset = publication.offset;
                    head.at = now;
                }
                let policy = self.setup.policies.of(room);
                match policy.is_some_and(|policy| policy.lane == Lane::Lossy) && self.shard.is_shedding() {
                    true => _ = self.untold.insert(room.clone()),
                    // What was left out before is told before it.
                    false => _ = self.untold.remove(room),
                }
            }
            Event::Attached { room, nonce, result } => {
                // What was missed comes otherwise, and offsets may begin anew.
                self.born.retain(|(other, _), _| other != room);
                if let Ok(attachment) = result
                    && self.asked.get(room) == Some(nonce)
                {
                    let position = attachment.head;
                    self.heads.insert(room.clone(), Head { position, at: now });
                }
            }
            Event::Broken { room } => {
                self.born.retain(|(other, _), _| other != room);
                self.heads.remove(room);
            }
            Event::Published { .. }
            | Event::History { .. }
            | Event::State { .. }
            | Event::Presence { .. }
            | Event::Members(_) => {}
        }
    }

    /// A request leaves the shard.
    pub(super) fn watch_request(&mut self, request: &Request) {
        match request {
            Request::Attach { room, nonce } => {
                self.asked.insert(room.clone(), *nonce);
                self.heads.remove(room);
            }
            Request::Detach { room } => {
                self.asked.remove(room);
                self.heads.remove(room);
            }
            Request::Publish { .. }
            | Request::History { .. }
            | Request::State { .. }
            | Request::Presence { .. }
            | Request::Enter { .. }
            | Request::Exit { .. } => {}
        }
    }

    /// Marks those for whom nothing waits.
    pub(super) fn mark(&mut self, now: Moment, outside: &mut Outside<'_>) {
        if self.turns.is_multiple_of(TURNS) && self.links.len() <= MARK_ALL_MAX {
            self.to_mark.extend(self.links.keys().copied());
        }
        if self.to_mark.is_empty() || self.shard.has_fan_out() {
            return;
        }
        let mut heads = self.heads.clone();
        heads.retain(|room, _| !self.untold.contains(room));
        let heads = Rc::new(heads);
        let idle = |conn: &ConnId| self.shard.outbox_bytes(*conn) == 0 && !self.farewells.contains_key(conn);
        let marked: Vec<ConnId> = self.to_mark.iter().copied().filter(idle).collect();
        for conn in marked {
            self.to_mark.remove(&conn);
            if let Some(link) = self.links.get(&conn).copied() {
                let taken_long_ago = self.taken_long_ago(conn, now);
                let heads = heads.clone();
                let cleared = self.cleared.get(&conn).copied().unwrap_or_default();
                // What was due while turns were held up is put out in rounds that begin afterwards.
                let idle_since = cleared.max(self.held_until);
                let mark = Mark {
                    at: now,
                    idle_since,
                    heads,
                    taken: outside.network.links[link].taken,
                    taken_long_ago,
                };
                outside.network.mark(link, mark, now, outside.agenda);
            }
        }
    }

    /// How many messages of a connection had been taken when there was time enough to answer them: to wait for a
    /// place, or to be told that there is none, and for the engine.
    fn taken_long_ago(&mut self, conn: ConnId, now: Moment) -> u64 {
        let timeout = self.setup.limits.request_timeout;
        let patience = timeout.max(self.setup.admission.wait_max()) + timeout;
        let Some(taken) = self.taken.get_mut(&conn) else {
            return 0;
        };
        // The last of them stays: it tells how many there were.
        while taken.get(1).is_some_and(|(at, _)| *at + patience <= now) {
            taken.pop_front();
        }
        let first = taken.front().filter(|(at, _)| *at + patience <= now);
        first.map_or(0, |(_, count)| *count)
    }
}

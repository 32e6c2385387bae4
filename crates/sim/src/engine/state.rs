//! The simulated engine's states, said naively: from all that was published, every time.

use tidegate_core::{
    Policy,
    request::{StatePage, StateQuery},
};
use tidegate_wire::{Publication, RoomName};

use super::{Engine, EngineRoom};
use crate::mutation::Mutation;

/// The newest of each key after these publications, as of then: oldest first.
pub fn state_of<'a>(log: &'a [Publication], policy: &Policy, now_us: u64) -> Vec<&'a Publication> {
    let Some(bounds) = &policy.state else {
        return Vec::new();
    };
    let mut state: Vec<&Publication> = Vec::new();
    let mut weight = 0;
    for publication in log.iter().filter(|publication| publication.is_of_state()) {
        if let Some(place) = state.iter().position(|kept| kept.key == publication.key) {
            weight -= state.remove(place).weight() as u64;
        }
        if !publication.data.is_delete() {
            weight += publication.weight() as u64;
            state.push(publication);
        }
        let before_us = bounds.before_us(publication.stamps.ordered_us);
        let is_over = |state: &[&Publication], weight| {
            let is_old = state.first().is_some_and(|p| p.stamps.ordered_us < before_us);
            is_old || (state.len() > 1 && (state.len() > policy.keys_max as usize || weight > bounds.bytes))
        };
        while is_over(&state, weight) {
            weight -= state.remove(0).weight() as u64;
        }
    }
    let before_us = bounds.before_us(now_us);
    state.retain(|publication| publication.stamps.ordered_us >= before_us);
    state
}

impl EngineRoom {
    /// Its state now.
    fn state(&self, now_us: u64) -> Vec<&Publication> {
        state_of(&self.story().log, &self.policy, now_us)
    }
}

impl Engine {
    /// A page of a room's state. Now and then it is shorter than was asked for.
    pub(super) fn state(&mut self, name: &RoomName, query: &StateQuery, now_us: u64) -> StatePage {
        let limit = match self.chance.one_in(2) {
            true => query.limit.min(3),
            false => query.limit,
        };
        let (misses, shows_before) = (
            self.planted.is(Mutation::MissKey),
            self.planted.is(Mutation::ShowReplaced),
        );
        let shows_deleted = self.planted.is(Mutation::ForgetDelete);
        let room = self.room(name);
        let mut state = room.state(now_us);
        let log = &room.story().log;
        if misses && state.len() > 2 {
            state.remove(1);
        }
        let before = |publication: &Publication| {
            let older = log[..publication.offset as usize - 1].iter().rev();
            let mut older = older.filter(|p| p.is_of_state() && !p.data.is_delete());
            older.find(|p| p.key == publication.key)
        };
        if shows_before {
            state = state.iter().map(|p| before(p).unwrap_or(p)).collect();
        }
        if shows_deleted {
            let deletes = log.iter().filter(|p| p.is_of_state() && p.data.is_delete());
            state.extend(deletes.filter_map(before));
        }
        state.sort_by_key(|publication| publication.offset);
        state.dedup_by_key(|publication| publication.offset);
        state.retain(|publication| publication.offset > query.after);
        let mut bytes = 0;
        let fits = |publication: &&Publication| {
            let is_first = bytes == 0;
            bytes += publication.weight().max(1);
            is_first || bytes <= query.bytes_max
        };
        let page = state.iter().copied().take(limit as usize).take_while(fits);
        let publications: Vec<Publication> = page.cloned().collect();
        StatePage {
            head: room.story().head(),
            more: publications.len() < state.len(),
            publications,
        }
    }
}

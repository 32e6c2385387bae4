//! What one client knows of a room's state: what it was promised when it joined, and the map that
//! the events since then make of it.
//!
//! ```text
//!   joined { state: 3 } ─► so many events, rising, none above the join ─► live ones
//!                          less those that a gap tells: newer ones follow
//! ```

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tidegate_core::{Moment, Policy};
use tidegate_wire::{
    Offset, Publication,
    frame::{GapReason, Join, Joined},
};

use crate::{
    checks::{Violation, broken},
    engine::{Story, state_of},
    wanted::is_wanted,
};

/// The part of a state that is still to come.
#[derive(Debug)]
struct Loading {
    join: Join,
    /// The head of the join.
    to: Offset,
    /// The last that came.
    after: Offset,
    left: u64,
    /// The newest of each key at `to`: nothing else may come.
    newest: BTreeSet<Offset>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Keyed {
    loading: Option<Loading>,
    /// The newest of each key; none if it is not known.
    map: Option<BTreeMap<Bytes, Offset>>,
}

impl Keyed {
    /// Whether a part of the state is still to come.
    pub fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    /// A join was answered; what was missed is replayed, or it begins anew.
    pub fn on_joined(
        &mut self,
        joined: &Joined,
        join: &Join,
        is_resumed: bool,
        story: &Story,
        policy: &Policy,
        now: Moment,
    ) -> Result<(), Violation> {
        if joined.state.is_some() != (join.state && !is_resumed) {
            return broken("state", format!("{join:?} was answered by {joined:?}"));
        }
        self.loading = None;
        if !is_resumed {
            self.map = None;
        }
        let Some(count) = joined.state else {
            return Ok(());
        };
        let log = &story.log[..joined.offset as usize];
        let mut newest = BTreeMap::new();
        for publication in log.iter().filter(|p| p.is_of_state()) {
            newest.insert(&publication.key, publication);
        }
        let is_there = |p: &&&Publication| !p.data.is_delete() && is_wanted(&join.wishes, p);
        let newest: BTreeSet<Offset> = newest.values().filter(is_there).map(|p| p.offset).collect();
        let kept = state_of(log, policy, now.0 / 1_000);
        let least = kept.iter().filter(|p| is_wanted(&join.wishes, p)).count();
        if (count as usize) < least || count as usize > newest.len() || joined.replayed > 0 {
            let detail = format!("{least} to {} keys were there: {joined:?}", newest.len());
            return broken("state", detail);
        }
        self.map = Some(BTreeMap::new());
        self.loading = Some(Loading {
            join: join.clone(),
            to: joined.offset,
            after: 0,
            left: count.into(),
            newest,
        });
        self.take(0, story, policy, now).map(|_| ())
    }

    /// An event came while a part of the state was still to come. Returns whether that was the last.
    pub fn on_event(
        &mut self,
        publication: &Publication,
        story: &Story,
        policy: &Policy,
        now: Moment,
    ) -> Result<bool, Violation> {
        let Some(loading) = &mut self.loading else {
            return Ok(true);
        };
        let offset = publication.offset;
        if offset <= loading.after || !loading.newest.remove(&offset) {
            let Loading { to, after, left, .. } = loading;
            let detail = format!("{left} are to come after {after}, up to {to}, got {publication:?}");
            return broken("state", detail);
        }
        loading.after = offset;
        self.apply(publication);
        self.take(1, story, policy, now)
    }

    /// A gap came while a part of the state was still to come: it tells the rest, or ends it. Returns
    /// whether the rest was told.
    pub fn on_gap(
        &mut self,
        reason: GapReason,
        count: u64,
        story: &Story,
        policy: &Policy,
        now: Moment,
    ) -> Result<bool, Violation> {
        match (&self.loading, reason) {
            (Some(loading), GapReason::Conflated) if count == loading.left => {
                self.take(count, story, policy, now)
            }
            (Some(Loading { left, .. }), GapReason::Conflated | GapReason::Dropped) => broken(
                "state",
                format!("{left} were to come, a gap tells {count} {reason:?}"),
            ),
            _ => {
                *self = Self::default();
                Ok(false)
            }
        }
    }

    fn take(&mut self, count: u64, story: &Story, policy: &Policy, now: Moment) -> Result<bool, Violation> {
        let Some(loading) = &mut self.loading else {
            return Ok(true);
        };
        loading.left -= count;
        if loading.left > 0 {
            return Ok(false);
        }
        // What is still there was there all the time.
        let state = state_of(&story.log, policy, now.0 / 1_000);
        let mut promised = state
            .iter()
            .filter(|p| p.offset <= loading.to && is_wanted(&loading.join.wishes, p));
        let map = self.map.as_ref();
        let is_missing = |p: &&&Publication| map.is_some_and(|map| map.get(&p.key) != Some(&p.offset));
        if let Some(missing) = promised.find(is_missing) {
            return broken("state", format!("{missing:?} did not come; {map:?}"));
        }
        self.loading = None;
        Ok(true)
    }

    /// A publication came.
    pub fn apply(&mut self, publication: &Publication) {
        let Some(map) = self.map.as_mut().filter(|_| publication.is_of_state()) else {
            return;
        };
        match publication.data.is_delete() {
            true => map.remove(&publication.key),
            false => map.insert(publication.key.clone(), publication.offset),
        };
    }

    /// Nothing waits, and whatever is the newest of a key at `head` and wanted came: no key has an
    /// older value, and none that was deleted is there.
    pub fn check(
        &self,
        head: Offset,
        story: &Story,
        keys_max: usize,
        is_wanted: impl Fn(&Publication) -> bool,
    ) -> Result<(), Violation> {
        let Some(map) = &self.map else {
            return Ok(());
        };
        let mut newest = BTreeMap::new();
        for publication in story.log[..head as usize].iter().filter(|p| p.is_of_state()) {
            newest.insert(&publication.key, publication);
        }
        // Beyond so many keys, and the empty one, the oldest may have gone at a shard before they came.
        if newest.len() >= keys_max {
            return Ok(());
        }
        for (key, offset) in map {
            let truth = newest.get(key).filter(|truth| is_wanted(truth));
            if truth.is_some_and(|truth| truth.data.is_delete() || truth.offset != *offset) {
                return broken("state", format!("{key:?} is that of {offset}, not {truth:?}"));
            }
        }
        Ok(())
    }
}

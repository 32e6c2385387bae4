//! The simulated engine's members of one room: who holds whom, leases, and what is
//! still to be told. The same promises as the real engine's, said more simply.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tidegate_core::{
    Moment,
    policy::PresencePolicy,
    request::{Exit, SessionKey},
};
use tidegate_wire::{
    RoomName,
    frame::{Member, Members, MembersChange},
};

#[derive(Debug, Default)]
struct Entry {
    info: Bytes,
    holders: BTreeSet<(u8, SessionKey)>,
    lease_ends: Option<Moment>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Presence {
    entries: BTreeMap<Bytes, Entry>,
    /// Changed since it was told, and whether it was listed then.
    changed: BTreeMap<Bytes, bool>,
    leases: BTreeSet<(Moment, Bytes)>,
    told_at: Option<Moment>,
    /// Some port knows only a count and a sample.
    was_large: bool,
}

impl Presence {
    pub fn enter(&mut self, holder: (u8, SessionKey), user: &Bytes, info: Bytes) {
        let was_listed = self.entries.contains_key(user);
        let entry = self.entries.entry(user.clone()).or_default();
        if let Some(at) = entry.lease_ends.take() {
            self.leases.remove(&(at, user.clone()));
        }
        entry.holders.insert(holder);
        if !was_listed || entry.info != info {
            entry.info = info;
            self.changed.entry(user.clone()).or_insert(was_listed);
        }
    }

    pub fn exit(&mut self, holder: (u8, SessionKey), user: &Bytes, exit: Exit, lease: Moment, now: Moment) {
        let Some(entry) = self.entries.get_mut(user) else {
            return;
        };
        entry.holders.remove(&holder);
        if !entry.holders.is_empty() || entry.lease_ends.is_some() {
            return;
        }
        if exit == Exit::Lost && lease > now {
            entry.lease_ends = Some(lease);
            self.leases.insert((lease, user.clone()));
        } else {
            self.remove(&user.clone());
        }
    }

    /// All connections of a port are lost.
    pub fn lose(&mut self, port: u8, lease: Moment, now: Moment) {
        let held = self.entries.iter().flat_map(|(user, entry)| {
            let theirs = entry.holders.iter().filter(|(of, _)| *of == port);
            theirs.map(|holder| (*holder, user.clone()))
        });
        for (holder, user) in held.collect::<Vec<_>>() {
            self.exit(holder, &user, Exit::Lost, lease, now);
        }
    }

    fn remove(&mut self, user: &Bytes) {
        self.entries.remove(user);
        self.changed.entry(user.clone()).or_insert(true);
    }

    /// When `poll_change` has something to do.
    pub fn deadline(&self, policy: &PresencePolicy) -> Option<Moment> {
        let lease = self.leases.first().map(|(at, _)| *at);
        let tell = (!self.changed.is_empty()).then(|| self.tell_at(policy));
        [lease, tell].into_iter().flatten().min()
    }

    fn tell_at(&self, policy: &PresencePolicy) -> Moment {
        self.told_at.map_or(Moment(0), |at| at + policy.interval)
    }

    /// Ends leases, and gives the difference if it is time and there is any.
    pub fn poll_change(
        &mut self,
        room: &RoomName,
        policy: &PresencePolicy,
        now: Moment,
    ) -> Option<MembersChange> {
        while let Some((at, user)) = self.leases.first().cloned()
            && at <= now
        {
            self.leases.pop_first();
            self.remove(&user);
        }
        if self.changed.is_empty() || now < self.tell_at(policy) {
            return None;
        }
        let changed = std::mem::take(&mut self.changed);
        let joined: Vec<Member> = changed.keys().filter_map(|user| self.member(user)).collect();
        let is_gone =
            |(user, was_listed): &(&Bytes, &bool)| **was_listed && !self.entries.contains_key(*user);
        let left: Vec<Bytes> = changed
            .iter()
            .filter(is_gone)
            .map(|(user, _)| user.clone())
            .collect();
        if joined.is_empty() && left.is_empty() {
            return None;
        }
        self.told_at = Some(now);
        let mut change = MembersChange {
            room: room.clone(),
            count: self.entries.len() as u32,
            joined,
            left,
            sample: None,
        };
        let is_large = self.entries.len() > policy.members_max as usize;
        if is_large || self.was_large {
            change.sample = Some(self.members(policy).sample);
            (change.joined, change.left) = (Vec::new(), Vec::new());
        }
        self.was_large = is_large;
        Some(change)
    }

    fn member(&self, user: &Bytes) -> Option<Member> {
        let info = self.entries.get(user)?.info.clone();
        let user = user.clone();
        Some(Member { user, info })
    }

    /// Everyone, or of a large room the count and a sample.
    pub fn members(&self, policy: &PresencePolicy) -> Members {
        let limit = match self.entries.len() > policy.members_max as usize {
            true => policy.sample as usize,
            false => usize::MAX,
        };
        Members {
            count: self.entries.len() as u32,
            sample: self
                .entries
                .keys()
                .take(limit)
                .filter_map(|user| self.member(user))
                .collect(),
        }
    }

    /// The members for a port that attaches: it will hear of each of them that leaves.
    pub fn show(&mut self, policy: &PresencePolicy) -> Members {
        for (user, was_listed) in &mut self.changed {
            *was_listed |= self.entries.contains_key(user);
        }
        self.was_large |= self.entries.len() > policy.members_max as usize;
        self.members(policy)
    }

    /// The users who are listed.
    pub fn users(&self) -> BTreeSet<Bytes> {
        self.entries.keys().cloned().collect()
    }
}

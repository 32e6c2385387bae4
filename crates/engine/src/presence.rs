//! One room's members: users, the connections that hold them, and what is still to be told.
//!
//! A user is a member while at least one connection holds it. When the last one is lost
//! without a word, a lease keeps the user listed for a while, so that a reload or a
//! reconnect is not told as leaving and coming. Changes are told at most once per
//! interval: the first at once, the rest joined into one difference.

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

/// One connection of one port.
pub type Holder = (u8, SessionKey);

#[derive(Debug, Default)]
struct Entry {
    info: Bytes,
    holders: Vec<Holder>,
    /// Set while nobody holds it.
    lease_ends: Option<Moment>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Presence {
    entries: BTreeMap<Bytes, Entry>,
    /// Changed since the last difference, and whether it was listed then.
    changed: BTreeMap<Bytes, bool>,
    told_at: Option<Moment>,
    /// Some port knows only a count and a sample: the next difference must be whole.
    was_large: bool,
    leases: BTreeSet<(Moment, Bytes)>,
}

impl Presence {
    /// A connection enters.
    pub fn enter(&mut self, holder: Holder, user: &Bytes, info: Bytes) {
        let is_listed = self.entries.contains_key(user);
        let entry = self.entries.entry(user.clone()).or_default();
        if let Some(at) = entry.lease_ends.take() {
            self.leases.remove(&(at, user.clone()));
        }
        if !entry.holders.contains(&holder) {
            entry.holders.push(holder);
        }
        if !is_listed || entry.info != info {
            entry.info = info;
            self.changed.entry(user.clone()).or_insert(is_listed);
        }
    }

    /// A connection goes.
    pub fn exit(&mut self, holder: Holder, user: &Bytes, exit: Exit, policy: &PresencePolicy, now: Moment) {
        let Some(entry) = self.entries.get_mut(user) else {
            return;
        };
        entry.holders.retain(|held_by| *held_by != holder);
        if !entry.holders.is_empty() || entry.lease_ends.is_some() {
            return;
        }
        match exit {
            Exit::Lost if !policy.lease.is_zero() => {
                entry.lease_ends = Some(now + policy.lease);
                self.leases.insert((now + policy.lease, user.clone()));
            }
            Exit::Lost | Exit::Left => self.remove(user),
        }
    }

    /// All connections of a port are lost.
    pub fn drop_port(&mut self, port: u8, policy: &PresencePolicy, now: Moment) {
        let of_port = |entry: &Entry| {
            entry
                .holders
                .iter()
                .filter(|h| h.0 == port)
                .copied()
                .collect::<Vec<_>>()
        };
        let lost: Vec<(Bytes, Vec<Holder>)> = self
            .entries
            .iter()
            .map(|(user, entry)| (user.clone(), of_port(entry)))
            .collect();
        for (user, holders) in lost {
            for holder in holders {
                self.exit(holder, &user, Exit::Lost, policy, now);
            }
        }
    }

    fn remove(&mut self, user: &Bytes) {
        self.entries.remove(user);
        self.changed.entry(user.clone()).or_insert(true);
    }

    /// Ends the leases that have run out.
    pub fn expire(&mut self, now: Moment) {
        while let Some((at, user)) = self.leases.first().cloned() {
            if at > now {
                break;
            }
            self.leases.pop_first();
            self.remove(&user);
        }
    }

    /// When `expire` or `poll_change` has something to do.
    pub fn deadline(&self, policy: &PresencePolicy) -> Option<Moment> {
        let lease = self.leases.first().map(|(at, _)| *at);
        let tell = (!self.changed.is_empty()).then(|| self.tell_at(policy));
        [lease, tell].into_iter().flatten().min()
    }

    fn tell_at(&self, policy: &PresencePolicy) -> Moment {
        self.told_at.map_or(Moment(0), |at| at + policy.interval)
    }

    /// The difference since the last one, if it is time and there is any.
    pub fn poll_change(
        &mut self,
        room: &RoomName,
        policy: &PresencePolicy,
        now: Moment,
    ) -> Option<MembersChange> {
        if self.changed.is_empty() || now < self.tell_at(policy) {
            return None;
        }
        let mut change = MembersChange {
            room: room.clone(),
            count: self.entries.len() as u32,
            joined: Vec::new(),
            left: Vec::new(),
            sample: None,
        };
        for (user, was_listed) in std::mem::take(&mut self.changed) {
            match self.entries.get(&user) {
                Some(entry) => change.joined.push(member(&user, entry)),
                None if was_listed => change.left.push(user),
                // Came and went in between: nobody needs to know.
                None => {}
            }
        }
        if change.joined.is_empty() && change.left.is_empty() {
            return None;
        }
        self.told_at = Some(now);
        let is_large = self.is_large(policy);
        if is_large || self.was_large {
            // Also the first time it is small again: then the sample is everyone.
            change.sample = Some(self.members(policy.members_max, policy).sample);
            change.joined = Vec::new();
            change.left = Vec::new();
        }
        self.was_large = is_large;
        Some(change)
    }

    fn is_large(&self, policy: &PresencePolicy) -> bool {
        self.entries.len() > policy.members_max as usize
    }

    /// The members: at most `limit` of them, and of a large room only a sample.
    pub fn members(&self, limit: u32, policy: &PresencePolicy) -> Members {
        let limit = match self.is_large(policy) {
            true => limit.min(policy.sample),
            false => limit,
        };
        let sample = self.entries.iter().take(limit as usize);
        Members {
            count: self.entries.len() as u32,
            sample: sample.map(|(user, entry)| member(user, entry)).collect(),
        }
    }

    /// The members for a port that attaches. Whoever it sees here is told when they leave, even
    /// if their coming was not told to the others yet.
    pub fn show(&mut self, policy: &PresencePolicy) -> Members {
        for (user, was_listed) in &mut self.changed {
            *was_listed |= self.entries.contains_key(user);
        }
        self.was_large |= self.is_large(policy);
        self.members(policy.members_max, policy)
    }

    /// How many members are listed.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody is listed and nothing is left to tell.
    pub fn is_settled(&self) -> bool {
        self.entries.is_empty() && self.changed.is_empty()
    }
}

fn member(user: &Bytes, entry: &Entry) -> Member {
    Member {
        user: user.clone(),
        info: entry.info.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A lease of ten seconds, told every second, large above three.
    fn test_policy() -> PresencePolicy {
        PresencePolicy {
            enabled: true,
            lease: Duration::from_secs(10),
            interval: Duration::from_secs(1),
            members_max: 3,
            sample: 2,
        }
    }

    fn at(seconds: u64) -> Moment {
        Moment(seconds * 1_000_000_000)
    }

    fn holder(n: u64) -> Holder {
        (0, SessionKey(n))
    }

    fn poll(presence: &mut Presence, now: Moment) -> Option<(u32, usize, usize, Option<usize>)> {
        let room = RoomName::parse("chat:a").unwrap();
        let change = presence.poll_change(&room, &test_policy(), now)?;
        let sample = change.sample.map(|sample| sample.len());
        Some((change.count, change.joined.len(), change.left.len(), sample))
    }

    #[test]
    fn the_first_change_is_told_at_once_and_the_rest_joined() {
        let mut presence = Presence::default();
        presence.enter(holder(1), &"ann".into(), Bytes::new());
        assert_eq!(poll(&mut presence, at(5)), Some((1, 1, 0, None)));
        presence.enter(holder(2), &"bob".into(), Bytes::new());
        presence.enter(holder(3), &"cleo".into(), Bytes::new());
        assert_eq!(poll(&mut presence, at(5)), None);
        assert_eq!(presence.deadline(&test_policy()), Some(at(6)));
        presence.exit(holder(3), &"cleo".into(), Exit::Left, &test_policy(), at(5));
        assert_eq!(poll(&mut presence, at(6)), Some((2, 1, 0, None)));
    }

    #[test]
    fn who_was_shown_to_a_port_is_told_to_leave_though_others_never_heard_of_them() {
        let (mut presence, policy) = (Presence::default(), test_policy());
        presence.enter(holder(1), &"ann".into(), Bytes::new());
        poll(&mut presence, at(5));
        presence.enter(holder(2), &"bob".into(), Bytes::new());
        assert_eq!(presence.show(&policy).count, 2);
        presence.exit(holder(2), &"bob".into(), Exit::Left, &policy, at(5));
        assert_eq!(poll(&mut presence, at(6)), Some((1, 0, 1, None)));
    }

    #[test]
    fn who_was_shown_a_sample_is_told_everyone_when_the_room_is_small_again() {
        let (mut presence, policy) = (Presence::default(), test_policy());
        for n in 0..3 {
            presence.enter(holder(n), &format!("u{n}").into(), Bytes::new());
        }
        assert_eq!(poll(&mut presence, at(1)), Some((3, 3, 0, None)));
        // Large only for a moment between two differences, in which a port attaches.
        presence.enter(holder(3), &"u3".into(), Bytes::new());
        assert_eq!(presence.show(&policy).sample.len(), 2);
        presence.exit(holder(3), &"u3".into(), Exit::Left, &policy, at(1));
        assert_eq!(poll(&mut presence, at(2)), Some((3, 0, 0, Some(3))));
        presence.exit(holder(2), &"u2".into(), Exit::Left, &policy, at(4));
        assert_eq!(poll(&mut presence, at(5)), Some((2, 0, 1, None)));
    }

    #[test]
    fn a_lost_connection_keeps_its_user_for_the_lease() {
        let (mut presence, policy) = (Presence::default(), test_policy());
        presence.enter(holder(1), &"ann".into(), Bytes::new());
        presence.enter(holder(2), &"ann".into(), Bytes::new());
        poll(&mut presence, at(1));
        presence.exit(holder(1), &"ann".into(), Exit::Left, &policy, at(2));
        presence.exit(holder(2), &"ann".into(), Exit::Lost, &policy, at(2));
        presence.expire(at(11));
        assert_eq!((poll(&mut presence, at(11)), presence.len()), (None, 1));
        presence.enter(holder(3), &"ann".into(), Bytes::new());
        presence.expire(at(30));
        assert_eq!((poll(&mut presence, at(30)), presence.len()), (None, 1));
        presence.exit(holder(3), &"ann".into(), Exit::Lost, &policy, at(30));
        presence.expire(at(40));
        assert_eq!(poll(&mut presence, at(40)), Some((0, 0, 1, None)));
        assert!(presence.is_settled());
    }

    #[test]
    fn a_large_room_tells_a_count_and_a_sample_until_it_is_small_again() {
        let (mut presence, policy) = (Presence::default(), test_policy());
        for n in 0..5 {
            presence.enter(holder(n), &format!("u{n}").into(), Bytes::new());
        }
        assert_eq!(poll(&mut presence, at(1)), Some((5, 0, 0, Some(2))));
        for n in 0..2 {
            presence.exit(holder(n), &format!("u{n}").into(), Exit::Left, &policy, at(2));
        }
        assert_eq!(poll(&mut presence, at(3)), Some((3, 0, 0, Some(3))));
        presence.exit(holder(2), &"u2".into(), Exit::Left, &policy, at(4));
        assert_eq!(poll(&mut presence, at(5)), Some((2, 0, 1, None)));
    }
}

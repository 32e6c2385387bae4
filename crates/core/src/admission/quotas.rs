//! Whose publishes are too many: the buckets of a user, an address, a room, a namespace
//! and the server, taken from in that order.
//!
//! Each shard has one of these, and the engine has one. The engine's is exact: its one thread
//! sees every publish. A shard's refuses only what the engine's would refuse too, for the shard sees
//! no more than the engine does; but it says so before anything was handed over, so a flood
//! costs the engine nothing.
//!
//! From narrow to wide: who floods empties its own bucket, and the room's stays for the others. What a wider
//! bucket refuses has been taken from the narrower ones.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use tidegate_wire::RoomName;

use super::{
    bucket::{Bucket, Rate},
    buckets::Buckets,
    settings::Admission,
};
use crate::{
    moment::Moment,
    policy::Policies,
    request::{Address, Source},
};

/// Whose bucket was empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Scope {
    /// One connection's.
    Connection,
    /// One user's.
    User,
    /// One address's.
    Address,
    /// One room's.
    Room,
    /// One namespace's.
    Namespace,
    /// The whole server's.
    Server,
}

impl Scope {
    /// Every one, from narrow to wide.
    pub const ALL: &'static [Self] = &[
        Self::Connection,
        Self::User,
        Self::Address,
        Self::Room,
        Self::Namespace,
        Self::Server,
    ];

    /// Returns the label's value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::User => "user",
            Self::Address => "address",
            Self::Room => "room",
            Self::Namespace => "namespace",
            Self::Server => "server",
        }
    }
}

/// A bucket was empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// Whose.
    pub scope: Scope,
    /// When it holds a token again.
    pub wait: Duration,
}

struct OfNamespace {
    whole: Option<Bucket>,
    rooms: Option<Buckets<RoomName>>,
}

/// See the module.
pub struct Quotas {
    users: Option<Buckets<Bytes>>,
    addresses: Option<Buckets<Address>>,
    /// Those that have a rate.
    namespaces: BTreeMap<String, OfNamespace>,
    server: Option<Bucket>,
    is_empty: bool,
    /// Refused, in the order of [`Scope::ALL`].
    pub refused_total: [u64; Scope::ALL.len()],
}

impl Quotas {
    /// Full buckets.
    pub fn new(admission: &Admission, policies: &Policies, seed: u64, now: Moment) -> Self {
        let rates = &admission.rates;
        let keys_max = admission.keys_max;
        let with_rates = policies
            .iter()
            .filter(|policy| policy.publish_rate.is_some() || policy.room_publish_rate.is_some());
        let namespaces: BTreeMap<String, OfNamespace> = with_rates
            .map(|policy| {
                let of = OfNamespace {
                    whole: bucket(policy.publish_rate, now),
                    rooms: buckets(policy.room_publish_rate, keys_max, seed, now),
                };
                (policy.namespace.clone(), of)
            })
            .collect();
        let is_empty = namespaces.is_empty()
            && rates.user_publishes.is_none()
            && rates.address_publishes.is_none()
            && rates.server_publishes.is_none();
        Self {
            users: buckets(rates.user_publishes, keys_max, seed, now),
            addresses: buckets(rates.address_publishes, keys_max, seed, now),
            namespaces,
            server: bucket(rates.server_publishes, now),
            is_empty,
            refused_total: Default::default(),
        }
    }

    /// Takes one publish of `user`, which is empty or a backend's name where a backend publishes.
    ///
    /// # Errors
    /// Whose bucket is empty, and until when.
    pub fn try_take(
        &mut self,
        user: &Bytes,
        source: Source,
        room: &RoomName,
        now: Moment,
    ) -> Result<(), Exceeded> {
        if self.is_empty {
            return Ok(());
        }
        let result = self.take(user, source, room, now);
        if let Err(exceeded) = result {
            self.refused_total[exceeded.scope as usize] += 1;
        }
        result
    }

    fn take(&mut self, user: &Bytes, source: Source, room: &RoomName, now: Moment) -> Result<(), Exceeded> {
        let refuse = |scope| move |wait| Exceeded { scope, wait };
        // A backend speaks for many: what it may is its API key's matter.
        if let Source::Client(address) = source {
            if let Some(users) = &mut self.users {
                users.try_take(user, now, 1).map_err(refuse(Scope::User))?;
            }
            if let Some(addresses) = &mut self.addresses {
                let taken = addresses.try_take(&address, now, 1);
                taken.map_err(refuse(Scope::Address))?;
            }
        }
        if let Some(of) = self.namespaces.get_mut(room.namespace()) {
            if let Some(rooms) = &mut of.rooms {
                rooms.try_take(room, now, 1).map_err(refuse(Scope::Room))?;
            }
            if let Some(whole) = &mut of.whole {
                whole.try_take(now, 1).map_err(refuse(Scope::Namespace))?;
            }
        }
        match &mut self.server {
            Some(server) => server.try_take(now, 1).map_err(refuse(Scope::Server)),
            None => Ok(()),
        }
    }

    /// Returns how many buckets there are, how many gave way to newcomers, and how many requests found no
    /// place for a bucket of their own.
    pub fn table(&self) -> Table {
        let mut table = Table::default();
        table.add(self.users.as_ref());
        table.add(self.addresses.as_ref());
        for of in self.namespaces.values() {
            table.add(of.rooms.as_ref());
        }
        table
    }
}

/// What the tables of buckets hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Table {
    /// Buckets now.
    pub buckets: u64,
    /// Full ones that gave their place away.
    pub evicted_total: u64,
    /// Requests that shared the overflow bucket.
    pub overflowed_total: u64,
}

impl Table {
    /// Adds one table's.
    pub fn add<K: std::hash::Hash + Eq + Clone>(&mut self, buckets: Option<&Buckets<K>>) {
        if let Some(buckets) = buckets {
            self.buckets += buckets.len() as u64;
            self.evicted_total += buckets.evicted_total;
            self.overflowed_total += buckets.overflowed_total;
        }
    }
}

fn bucket(rate: Option<Rate>, now: Moment) -> Option<Bucket> {
    rate.map(|rate| Bucket::full(rate, now))
}

fn buckets<K: std::hash::Hash + Eq + Clone>(
    rate: Option<Rate>,
    keys_max: usize,
    seed: u64,
    now: Moment,
) -> Option<Buckets<K>> {
    rate.map(|rate| Buckets::new(rate, keys_max, seed, now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{admission::Rates, policy::Policy};

    const HOME: Source = Source::Client(Address(1));

    fn rate(per_second: u32) -> Option<Rate> {
        Some(Rate {
            per_second,
            burst: per_second,
        })
    }

    fn quotas(rates: Rates, policy: Policy) -> Quotas {
        let admission = Admission {
            rates,
            ..Admission::default()
        };
        Quotas::new(&admission, &Policies::new([policy]), 1, Moment(0))
    }

    fn taken(quotas: &mut Quotas, user: &'static str, source: Source, room: &str, of: usize) -> usize {
        let (user, room) = (
            Bytes::from_static(user.as_bytes()),
            RoomName::parse(room).unwrap(),
        );
        (0..of)
            .filter(|_| quotas.try_take(&user, source, &room, Moment(0)).is_ok())
            .count()
    }

    #[test]
    fn one_user_who_floods_leaves_the_room_to_the_others() {
        let policy = Policy {
            room_publish_rate: rate(10),
            ..Policy::with_defaults("chat")
        };
        let rates = Rates {
            user_publishes: rate(4),
            ..Rates::default()
        };
        let mut quotas = quotas(rates, policy);
        assert_eq!(taken(&mut quotas, "eve", HOME, "chat:a", 1_000), 4);
        assert_eq!(taken(&mut quotas, "ann", HOME, "chat:a", 1_000), 4);
        assert_eq!(taken(&mut quotas, "bob", HOME, "chat:a", 1_000), 2);
        assert_eq!(taken(&mut quotas, "bob", HOME, "chat:b", 1_000), 0);
        let refused = |scope: Scope| quotas.refused_total[scope as usize];
        // Bob's other two tokens went when the room was full.
        assert_eq!((refused(Scope::User), refused(Scope::Room)), (3 * 996 + 1_000, 2));
    }

    #[test]
    fn room_namespace_and_server_are_counted_for_backends_too_and_users_are_not() {
        let policy = Policy {
            room_publish_rate: rate(5),
            publish_rate: rate(8),
            ..Policy::with_defaults("chat")
        };
        let rates = Rates {
            user_publishes: rate(1),
            address_publishes: rate(1),
            server_publishes: rate(9),
            ..Rates::default()
        };
        let mut quotas = quotas(rates, policy);
        assert_eq!(taken(&mut quotas, "api:x", Source::Backend, "chat:a", 100), 5);
        assert_eq!(taken(&mut quotas, "api:x", Source::Backend, "chat:b", 100), 3);
        assert_eq!(taken(&mut quotas, "api:x", Source::Backend, "other:b", 100), 1);
        assert_eq!(quotas.refused_total, [0, 0, 0, 95 + 95, 2, 99]);
    }

    #[test]
    fn one_address_is_one_however_many_users_it_names() {
        let rates = Rates {
            address_publishes: rate(3),
            ..Rates::default()
        };
        let mut quotas = quotas(rates, Policy::with_defaults("chat"));
        let users = ["a", "b", "c", "d", "e"];
        let passed: usize = users
            .iter()
            .map(|user| taken(&mut quotas, user, HOME, "chat:a", 1))
            .sum();
        assert_eq!(passed, 3);
        assert_eq!(
            taken(&mut quotas, "f", Source::Client(Address(2)), "chat:a", 9),
            3
        );
    }
}

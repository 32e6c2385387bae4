//! Who is here already: connections by address and by user, over all shards.
//!
//! Shards share nothing, and a user's connections may be on any of them, so the counts
//! stand here, behind a lock that is taken when a connection comes and when it goes, and
//! never in between. A [`Place`] is one connection's share of them: when it is dropped, however the connection
//! ended, it is given back. So the counts cannot drift.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tidegate_core::request::Address;

/// How many at a time; 0 for no bound.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CrowdLimits {
    pub(crate) per_user_max: usize,
    pub(crate) per_address_max: usize,
}

/// See the module. Its size is that of what it counts: connections.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    limits: CrowdLimits,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    users: HashMap<Vec<u8>, usize>,
    addresses: HashMap<Address, usize>,
}

/// One connection among the others; it goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    crowd: Arc<Crowd>,
    address: Address,
    user: Option<Box<[u8]>>,
}

/// There are as many as may be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Crowd {
    pub(crate) fn new(limits: CrowdLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            inner: Mutex::default(),
        })
    }

    /// Whether anything is counted.
    pub(crate) fn counts(&self) -> bool {
        self.limits.per_user_max > 0 || self.limits.per_address_max > 0
    }

    /// One more connection from an address.
    pub(crate) fn enter(self: &Arc<Self>, address: Address) -> Result<Place, Full> {
        let place = || Place {
            crowd: self.clone(),
            address,
            user: None,
        };
        let max = self.limits.per_address_max;
        if max == 0 {
            return Ok(place());
        }
        count_up(&mut self.inner().addresses, address, max)?;
        Ok(place())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The connection turned out to be this user's.
    pub(crate) fn name(&mut self, user: &[u8]) -> Result<(), Full> {
        let max = self.crowd.limits.per_user_max;
        if max == 0 || user.is_empty() || self.user.is_some() {
            return Ok(());
        }
        count_up(&mut self.crowd.inner().users, user.to_vec(), max)?;
        self.user = Some(user.into());
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.crowd.inner();
        if self.crowd.limits.per_address_max > 0 {
            count_down(&mut inner.addresses, self.address);
        }
        if let Some(user) = self.user.take() {
            count_down(&mut inner.users, user.into_vec());
        }
    }
}

fn count_up<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: K, max: usize) -> Result<(), Full> {
    let count = counts.entry(key).or_default();
    if *count >= max {
        return Err(Full);
    }
    *count += 1;
    Ok(())
}

fn count_down<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: K) {
    if let Entry::Occupied(mut entry) = counts.entry(key) {
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
        }
    }
}

/// As it is counted.
pub(crate) fn address_of(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(ip) => Address::from_octets(ip.to_ipv6_mapped().octets()),
        IpAddr::V6(ip) => Address::from_octets(ip.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(per_user_max: usize, per_address_max: usize) -> Arc<Crowd> {
        Crowd::new(CrowdLimits {
            per_user_max,
            per_address_max,
        })
    }

    fn address(text: &str) -> Address {
        address_of(text.parse().unwrap())
    }

    #[test]
    fn a_place_is_given_back_when_it_is_dropped_and_nothing_is_left_of_it() {
        let crowd = crowd(1, 2);
        let mut one = crowd.enter(address("10.0.0.1")).unwrap();
        let two = crowd.enter(address("10.0.0.1")).unwrap();
        assert_eq!(crowd.enter(address("10.0.0.1")).unwrap_err(), Full);
        let mut other = crowd.enter(address("10.0.0.2")).unwrap();
        one.name(b"ann").unwrap();
        assert_eq!(other.name(b"ann"), Err(Full));
        other.name(b"bob").unwrap();
        drop(one);
        let mut again = crowd.enter(address("10.0.0.1")).unwrap();
        again.name(b"ann").unwrap();
        drop((two, other, again));
        let inner = crowd.inner();
        assert!(inner.users.is_empty() && inner.addresses.is_empty());
    }

    #[test]
    fn guests_are_nobody_in_particular() {
        let crowd = crowd(1, 0);
        for _ in 0..3 {
            let mut place = crowd.enter(Address::default()).unwrap();
            place.name(b"").unwrap();
        }
    }

    #[test]
    fn an_ipv6_subscriber_is_one_address_and_ipv4_neighbours_are_two() {
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_ne!(address("10.0.0.1"), address("10.0.0.2"));
        assert_eq!(address("::ffff:10.0.0.1"), address("10.0.0.1"));
    }
}

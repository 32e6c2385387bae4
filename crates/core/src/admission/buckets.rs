//! Token buckets by key: by user, by address, by room.
//!
//! A full bucket need not be remembered: a new one is its equal. So the table is
//! bounded and exact at once, as long as fewer than `keys_max` keys are short of
//! tokens at the same time: a newcomer takes the place of a full bucket. A hand goes
//! round the places, a few steps for each newcomer, as a clock does over pages.
//!
//! **At the bound**, when the hand meets no full bucket, the newcomer takes from the
//! *overflow* bucket, one for all who found no place, of the same rate. Known keys keep their own
//! buckets, strangers share, and nothing is let past unlimited. This is counted.
//!
//! ```text
//!   heads  [ 3 | · | 0 | · ]       a chain per hash, linked by place: no tombstones,
//!            │       │             hence never a rehash; all memory is taken at birth
//!   places [ ann ][ bob ][ eve ][ joe ]
//!              ▲ hand
//! ```

use std::{
    hash::{BuildHasher, Hash},
    time::Duration,
};

use foldhash::{SharedSeed, fast::SeedableRandomState};

use super::bucket::{Bucket, Rate};
use crate::moment::Moment;

/// Places the hand looks at for one newcomer: enough that with a quarter of all buckets
/// full a newcomer misses them once in ten, few enough to stay within a microsecond.
const STEPS_MAX: usize = 8;

const NONE: u32 = u32::MAX;

struct Place<K> {
    key: K,
    bucket: Bucket,
    next: u32,
}

/// Buckets of one rate, by key.
pub struct Buckets<K> {
    rate: Rate,
    places: Vec<Place<K>>,
    keys_max: usize,
    /// First place of each chain; a power of two of them.
    heads: Vec<u32>,
    hand: usize,
    overflow: Bucket,
    hasher: SeedableRandomState,
    /// Full buckets that gave their place to a newcomer.
    pub evicted_total: u64,
    /// Requests that took from the overflow bucket, granted or not.
    pub overflowed_total: u64,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    /// A table of at most `keys_max` buckets (1 to 2^31). `seed` keeps clients from
    /// choosing keys that meet in one chain.
    pub fn new(rate: Rate, keys_max: usize, seed: u64, now: Moment) -> Self {
        assert!((1..=1 << 31).contains(&keys_max), "{keys_max} buckets");
        Self {
            rate,
            places: Vec::with_capacity(keys_max),
            keys_max,
            heads: vec![NONE; keys_max.next_power_of_two()],
            hand: 0,
            overflow: Bucket::full(rate, now),
            hasher: SeedableRandomState::with_seed(seed, SharedSeed::global_fixed()),
            evicted_total: 0,
            overflowed_total: 0,
        }
    }

    /// Takes `n` tokens from the bucket of `key`, all or none; see [`Bucket::try_take`].
    ///
    /// # Errors
    /// The time until it would pass.
    pub fn try_take(&mut self, key: &K, now: Moment, n: u32) -> Result<(), Duration> {
        let chain = self.chain(key);
        let mut at = self.heads[chain];
        while at != NONE {
            let place = &mut self.places[at as usize];
            if place.key == *key {
                return place.bucket.try_take(now, n);
            }
            at = place.next;
        }
        let mut bucket = Bucket::full(self.rate, now);
        // What a full bucket refuses is above the burst, and worth no place.
        bucket.try_take(now, n)?;
        if n == 0 {
            return Ok(());
        }
        let Some(index) = self.vacate(now) else {
            self.overflowed_total += 1;
            return self.overflow.try_take(now, n);
        };
        let place = Place {
            key: key.clone(),
            bucket,
            next: self.heads[chain],
        };
        if index == self.places.len() {
            self.places.push(place);
        } else {
            self.places[index] = place;
        }
        self.heads[chain] = index as u32;
        Ok(())
    }

    /// Returns how many keys have a bucket; those not listed have a full one.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether no key has taken anything yet.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Returns a place for a newcomer: a new one, or that of a full bucket near the hand.
    fn vacate(&mut self, now: Moment) -> Option<usize> {
        if self.places.len() < self.keys_max {
            return Some(self.places.len());
        }
        for _ in 0..STEPS_MAX.min(self.keys_max) {
            let index = self.hand;
            self.hand = (self.hand + 1) % self.keys_max;
            if self.places[index].bucket.is_full(now) {
                self.unlink(index);
                self.evicted_total += 1;
                return Some(index);
            }
        }
        None
    }

    fn unlink(&mut self, index: usize) {
        let (chain, next) = (self.chain(&self.places[index].key), self.places[index].next);
        let mut at = self.heads[chain];
        if at == index as u32 {
            self.heads[chain] = next;
            return;
        }
        while self.places[at as usize].next != index as u32 {
            at = self.places[at as usize].next;
        }
        self.places[at as usize].next = next;
    }

    fn chain(&self, key: &K) -> usize {
        self.hasher.hash_one(key) as usize & (self.heads.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const RATE: Rate = Rate {
        per_second: 10,
        burst: 2,
    };

    fn at_ms(ms: u64) -> Moment {
        Moment(ms * 1_000_000)
    }

    #[test]
    fn keys_do_not_take_from_each_other() {
        let mut buckets = Buckets::new(RATE, 4, 1, at_ms(0));
        assert_eq!(buckets.try_take(&"ann", at_ms(0), 2), Ok(()));
        assert_eq!(
            buckets.try_take(&"ann", at_ms(0), 1),
            Err(Duration::from_millis(100))
        );
        assert_eq!(buckets.try_take(&"bob", at_ms(0), 2), Ok(()));
        assert_eq!(buckets.len(), 2);
    }

    #[test]
    fn full_bucket_gives_its_place_and_a_short_one_keeps_it() {
        let mut buckets = Buckets::new(RATE, 2, 1, at_ms(0));
        buckets.try_take(&"ann", at_ms(0), 1).unwrap(); // full again at 100 ms
        buckets.try_take(&"bob", at_ms(0), 2).unwrap(); // full again at 200 ms
        assert_eq!(buckets.try_take(&"eve", at_ms(100), 2), Ok(()));
        assert_eq!((buckets.len(), buckets.evicted_total), (2, 1));
        // Bob was not forgotten: half of his burst is still missing.
        assert_eq!(
            buckets.try_take(&"bob", at_ms(100), 2),
            Err(Duration::from_millis(100))
        );
    }

    #[test]
    fn strangers_share_one_bucket_while_every_place_is_active() {
        let mut buckets = Buckets::new(RATE, 2, 1, at_ms(0));
        buckets.try_take(&0, at_ms(0), 2).unwrap();
        buckets.try_take(&1, at_ms(0), 2).unwrap();
        let passed = (2..1_000).filter(|key| buckets.try_take(key, at_ms(0), 1).is_ok());
        assert_eq!(passed.count(), RATE.burst as usize);
        assert_eq!((buckets.len(), buckets.overflowed_total), (2, 998));
        // Once the first are full again, a stranger has a place of its own.
        assert_eq!(buckets.try_take(&7, at_ms(200), 2), Ok(()));
        assert_eq!(buckets.overflowed_total, 998);
    }

    #[test]
    fn flood_of_keys_costs_no_memory() {
        let mut buckets = Buckets::new(RATE, 64, 1, at_ms(0));
        let room = buckets.places.capacity();
        for key in 0..100_000u32 {
            let _ = buckets.try_take(&key, at_ms(u64::from(key)), 1);
        }
        assert_eq!((buckets.len(), buckets.places.capacity()), (64, room));
        // A key a millisecond, each short for 100 ms, is more than 64 places hold.
        assert!(buckets.overflowed_total > 0 && buckets.evicted_total > 0);
    }

    #[test]
    fn asking_for_more_than_the_burst_takes_no_place() {
        let mut buckets = Buckets::new(RATE, 2, 1, at_ms(0));
        assert_eq!(buckets.try_take(&"ann", at_ms(0), 3), Err(Duration::MAX));
        assert!(buckets.is_empty());
    }

    proptest! {
        /// The exactness the header promises: until someone overflows, a bounded table
        /// answers as one that never forgets.
        #[test]
        fn forgetting_full_buckets_is_not_noticed(
            seed: u64,
            keys_max in 1..12usize,
            asks in prop::collection::vec((0..30u64, 0..40u8, 0..4u32), 1..400),
        ) {
            let mut now = 0;
            let mut buckets = Buckets::new(RATE, keys_max, seed, at_ms(now));
            let mut twin: BTreeMap<u8, Bucket> = BTreeMap::new();
            for (gap, key, n) in asks {
                now += gap;
                let answer = buckets.try_take(&key, at_ms(now), n);
                if buckets.overflowed_total > 0 {
                    break;
                }
                let bucket = twin.entry(key).or_insert_with(|| Bucket::full(RATE, at_ms(now)));
                prop_assert_eq!(answer, bucket.try_take(at_ms(now), n));
                prop_assert!(buckets.len() <= keys_max);
            }
        }
    }
}

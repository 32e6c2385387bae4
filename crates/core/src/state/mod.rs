//! A room's state: the newest publication of each key, within bounds.
//!
//! ```text
//!   by_key      "AAPL" ─► 41     "MSFT" ─► 17     "NVDA" ─► 44
//!   by_offset   17 ─► MSFT       41 ─► AAPL       44 ─► NVDA
//!               oldest: goes first, by age or beyond a bound
//! ```
//!
//! One structure for both who keep it: the engine holds where each publication is, a shard
//! the publications themselves ([`serve`]). Trees, not hash tables: keys come from outside.

pub mod serve;

use std::{collections::BTreeMap, ops::Bound};

use bytes::Bytes;
use tidegate_wire::{Offset, Publication};

/// What one key weighs in memory besides its publication: two nodes of trees.
pub const KEY_OVERHEAD: usize = 128;

/// The newest of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest<T> {
    /// Which key.
    pub key: Bytes,
    /// Its newest publication's offset.
    pub offset: Offset,
    /// When that was ordered, microseconds since the Unix epoch.
    pub at_us: u64,
    /// What it weighs ([`Publication::weight`]).
    pub weight: u64,
    /// Itself, or what says where it is.
    pub value: T,
}

impl Newest<()> {
    /// What a publication is as its key's newest.
    pub fn of(publication: &Publication) -> Self {
        Self {
            key: publication.key.clone(),
            offset: publication.offset,
            at_us: publication.stamps.ordered_us,
            weight: publication.weight() as u64,
            value: (),
        }
    }

    /// The same, with a value.
    pub fn with<T>(self, value: T) -> Newest<T> {
        Newest {
            key: self.key,
            offset: self.offset,
            at_us: self.at_us,
            weight: self.weight,
            value,
        }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct State<T> {
    by_key: BTreeMap<Bytes, Offset>,
    by_offset: BTreeMap<Offset, Newest<T>>,
    weight: u64,
    keys_bytes: usize,
}

impl<T> Default for State<T> {
    fn default() -> Self {
        Self {
            by_key: BTreeMap::new(),
            by_offset: BTreeMap::new(),
            weight: 0,
            keys_bytes: 0,
        }
    }
}

impl<T> State<T> {
    /// Puts a key's newest in; returns the one before. One that is older than what is there changes nothing.
    pub fn insert(&mut self, newest: Newest<T>) -> Option<Newest<T>> {
        if self
            .offset_of(&newest.key)
            .is_some_and(|offset| offset >= newest.offset)
        {
            return None;
        }
        let before = self.remove(&newest.key.clone());
        self.weight += newest.weight;
        self.keys_bytes += newest.key.len();
        self.by_key.insert(newest.key.clone(), newest.offset);
        self.by_offset.insert(newest.offset, newest);
        before
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &Bytes) -> Option<Newest<T>> {
        let offset = self.by_key.get(key).copied()?;
        self.take(offset)
    }

    fn take(&mut self, offset: Offset) -> Option<Newest<T>> {
        let gone = self.by_offset.remove(&offset)?;
        self.by_key.remove(&gone.key);
        self.weight -= gone.weight;
        self.keys_bytes -= gone.key.len();
        Some(gone)
    }

    /// Takes the oldest out if there are more keys, or more weight, than may be; the newest stays.
    pub fn pop_over(&mut self, keys_max: u32, weight_max: u64) -> Option<Newest<T>> {
        let is_over = self.len() > keys_max as usize || self.weight > weight_max;
        match is_over && self.len() > 1 {
            true => self.pop_oldest(),
            false => None,
        }
    }

    /// Takes the oldest out if it was ordered before a moment.
    pub fn pop_before(&mut self, before_us: u64) -> Option<Newest<T>> {
        let (_, oldest) = self.by_offset.first_key_value()?;
        match oldest.at_us < before_us {
            true => self.pop_oldest(),
            false => None,
        }
    }

    fn pop_oldest(&mut self) -> Option<Newest<T>> {
        let offset = *self.by_offset.first_key_value()?.0;
        self.take(offset)
    }

    /// The offset of a key's newest.
    pub fn offset_of(&self, key: &Bytes) -> Option<Offset> {
        self.by_key.get(key).copied()
    }

    /// What is at an offset.
    pub fn at(&self, offset: Offset) -> Option<&Newest<T>> {
        self.by_offset.get(&offset)
    }

    /// Those after an offset and up to another, oldest first.
    pub fn between(&self, after: Offset, to: Offset) -> impl Iterator<Item = &Newest<T>> {
        // An empty range must not be asked of a tree.
        let range = (after < to).then(|| {
            self.by_offset
                .range((Bound::Excluded(after), Bound::Included(to)))
        });
        range.into_iter().flatten().map(|(_, newest)| newest)
    }

    /// When the newest of all was ordered; 0 when there is none.
    pub fn newest_us(&self) -> u64 {
        self.by_offset
            .last_key_value()
            .map_or(0, |(_, newest)| newest.at_us)
    }

    /// Keys.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// What all publications weigh.
    pub fn weight(&self) -> u64 {
        self.weight
    }

    /// Bytes in memory, without the publications.
    pub fn index_bytes(&self) -> usize {
        self.keys_bytes + self.len() * KEY_OVERHEAD
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn newest(key: u8, offset: Offset, weight: u64) -> Newest<()> {
        Newest {
            key: vec![key].into(),
            offset,
            at_us: offset * 10,
            weight,
            value: (),
        }
    }

    proptest! {
        /// Against a list of everything that was put in.
        #[test]
        fn the_newest_of_each_key_is_kept_and_the_oldest_goes_first(
            steps in prop::collection::vec((0..12u8, 1..50u64, 0..6u8), 1..200),
        ) {
            let mut state = State::default();
            let mut naive: Vec<(u8, Offset, u64)> = Vec::new();
            for (n, (key, weight, what)) in steps.into_iter().enumerate() {
                let offset = 1 + n as u64;
                match what {
                    0 => {
                        let gone = state.remove(&vec![key].into()).map(|gone| gone.offset);
                        let known = naive.iter().find(|(k, _, _)| *k == key).map(|(_, offset, _)| *offset);
                        prop_assert_eq!(gone, known);
                        naive.retain(|(k, _, _)| *k != key);
                    }
                    1 => {
                        let gone = state.pop_before(offset * 5).map(|gone| gone.offset);
                        let is_old = naive.first().is_some_and(|(_, at, _)| at * 10 < offset * 5);
                        let known = is_old.then(|| naive.remove(0).1);
                        prop_assert_eq!(gone, known);
                    }
                    _ => {
                        state.insert(newest(key, offset, weight));
                        // A page that comes late is older than what is there.
                        state.insert(newest(key, offset - 1, 7));
                        naive.retain(|(k, _, _)| *k != key);
                        naive.push((key, offset, weight));
                        while naive.len() > 1
                            && (naive.len() > 8 || naive.iter().map(|(_, _, w)| w).sum::<u64>() > 150)
                        {
                            let gone = state.pop_over(8, 150).map(|gone| gone.offset);
                            prop_assert_eq!(gone, Some(naive.remove(0).1));
                        }
                        prop_assert_eq!(state.pop_over(8, 150), None);
                    }
                }
                let kept: Vec<_> = state.between(0, Offset::MAX).map(|k| (k.key[0], k.offset, k.weight)).collect();
                prop_assert_eq!(&kept, &naive);
                prop_assert_eq!(state.weight(), naive.iter().map(|(_, _, w)| w).sum::<u64>());
                prop_assert_eq!((state.len(), state.is_empty()), (naive.len(), naive.is_empty()));
                for (key, offset, _) in naive.iter().copied() {
                    prop_assert_eq!(state.offset_of(&vec![key].into()), Some(offset));
                }
            }
        }
    }
}

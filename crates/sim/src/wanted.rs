//! What a subscriber asked to get of a room, and since when.
//!
//! A change of wishes races with events: those that were put out before it arrived come under
//! the wishes before. A client knows when it sent a change and when it was answered, so of
//! each publication it knows under which wishes it may have been put out: not before it was
//! ordered, and not after the answer to the change that ended them.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use tidegate_core::Moment;
use tidegate_wire::{Publication, frame::Wishes};

#[derive(Debug)]
struct Held {
    keys: Option<BTreeSet<Bytes>>,
    /// Least time between two batches.
    interval: Duration,
    /// When the change that ended them was answered.
    ended: Option<Moment>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Wanted {
    held: Vec<Held>,
}

impl Wanted {
    /// As a join asks.
    pub fn of(wishes: &Wishes) -> Self {
        let mut wanted = Self::default();
        wanted.change(wishes);
        wanted
    }

    /// A change was sent.
    pub fn change(&mut self, wishes: &Wishes) {
        self.held.push(Held {
            keys: wishes.keys.as_ref().map(|keys| keys.iter().cloned().collect()),
            interval: wishes
                .max_rate
                .map_or(Duration::ZERO, |rate| Duration::from_secs_f64(1.0 / rate)),
            ended: None,
        });
    }

    /// The next change in line was answered.
    pub fn changed(&mut self, now: Moment) {
        let current = self.held.len().saturating_sub(1);
        if let Some(held) = self.held[..current].iter_mut().find(|held| held.ended.is_none()) {
            held.ended = Some(now);
        }
    }

    /// Whether every key was wanted all the time.
    pub fn is_everything(&self) -> bool {
        self.held.iter().all(|held| held.keys.is_none())
    }

    /// The longest that a batch may have to wait.
    pub fn interval_max(&self) -> Duration {
        let intervals = self.held.iter().map(|held| held.interval);
        intervals.max().unwrap_or_default()
    }

    /// The least time between two batches, while its wishes have not changed.
    pub fn interval(&self) -> Option<Duration> {
        match &self.held[..] {
            [held] => Some(held.interval),
            _ => None,
        }
    }

    fn under<'a>(&'a self, publication: &Publication) -> impl Iterator<Item = bool> + 'a {
        let ordered = Moment(publication.stamps.ordered_us * 1_000);
        let key = publication.key.clone();
        self.held
            .iter()
            .filter(move |held| held.ended.is_none_or(|ended| ordered <= ended))
            .map(move |held| held.keys.as_ref().is_none_or(|keys| keys.contains(&key)))
    }

    /// Whether it may have been put out to this subscriber.
    pub fn may_have(&self, publication: &Publication) -> bool {
        self.under(publication).any(|has| has)
    }

    /// Whether it was wanted, whenever it was put out.
    pub fn surely_has(&self, publication: &Publication) -> bool {
        self.under(publication).all(|has| has)
    }
}

/// Whether a join with these wishes is replayed a publication.
pub fn is_wanted(wishes: &Wishes, publication: &Publication) -> bool {
    let keys = wishes.keys.as_ref();
    keys.is_none_or(|keys| keys.contains(&publication.key))
}

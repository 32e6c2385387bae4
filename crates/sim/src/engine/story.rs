//! The truth about a room: every publication of every history it had, and who is in it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tidegate_core::Policy;
use tidegate_wire::{Epoch, Offset, Position, Publication};

use crate::presence::Presence;

/// One history of a room, from its first publication.
#[derive(Debug)]
pub struct Story {
    pub epoch: Epoch,
    /// All of them, also those that are no longer kept.
    pub log: Vec<Publication>,
    /// The oldest that is kept.
    pub oldest: Offset,
    pub(super) messages: BTreeMap<(Bytes, Bytes), Offset>,
}

/// Everything about one room.
#[derive(Debug)]
pub struct EngineRoom {
    pub policy: Policy,
    /// Histories, the last one is that of now.
    pub stories: Vec<Story>,
    pub presence: Presence,
    /// Attachments of this room broke.
    pub has_broken: bool,
    pub(super) ports: BTreeSet<u8>,
}

impl Story {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            log: Vec::new(),
            oldest: 1,
            messages: BTreeMap::new(),
        }
    }

    pub fn head(&self) -> Position {
        Position {
            epoch: self.epoch,
            offset: self.log.len() as u64,
        }
    }

    /// The publication at an offset.
    pub fn at(&self, offset: Offset) -> Option<&Publication> {
        self.log.get(usize::try_from(offset.checked_sub(1)?).ok()?)
    }

    pub(super) fn shown_oldest(&self, policy: &Policy) -> Offset {
        let next = self.log.len() as u64 + 1;
        self.oldest.max(next.saturating_sub(policy.history.count.into()))
    }
}

impl EngineRoom {
    /// The history of now.
    pub fn story(&self) -> &Story {
        self.stories.last().expect("a room has a story")
    }

    /// The history with this epoch; the latest, if a bug makes two.
    pub fn story_of(&self, epoch: Epoch) -> Option<&Story> {
        self.stories.iter().rev().find(|story| story.epoch == epoch)
    }
}

//! What must hold, apart from what a [`View`](crate::view::View) is given: gaps have their
//! reason, acknowledgements and pages are true, and nothing stands twice.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_core::Limits;
use tidegate_wire::{
    Offset, Position,
    frame::{GapReason, HistoryPage, Joined, Published},
};

use crate::engine::EngineRoom;

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which promise: the same when the run is made smaller.
    pub check: &'static str,
    /// What was seen.
    pub detail: String,
}

/// Makes a violation.
pub fn broken<T>(check: &'static str, detail: impl Into<String>) -> Result<T, Violation> {
    let detail = detail.into();
    Err(Violation { check, detail })
}

/// A gap costs the reader what it has: it must have its reason.
pub fn check_reason(
    since: Position,
    joined: &Joined,
    reason: GapReason,
    room: &EngineRoom,
    limits: &Limits,
) -> Result<(), Violation> {
    let is_same = since.epoch == joined.epoch;
    let Some(story) = room.story_of(joined.epoch) else {
        return broken("epoch", format!("no history has the epoch of {joined:?}"));
    };
    let is_true = match reason {
        GapReason::Epoch => !is_same,
        // Whatever was true of the history that is gone.
        GapReason::Trimmed | GapReason::TooFar if !is_same => true,
        GapReason::Trimmed => story.oldest > since.offset + 1 || !room.policy.keeps_history(),
        GapReason::TooFar => {
            let missed = story.log.iter().filter(|p| p.offset > since.offset);
            let bytes: usize = missed.clone().map(|p| p.weight() * 4 / 3 + 512).sum();
            missed.count() > room.policy.replay_max as usize || bytes > limits.outbox_bytes_max / 2
        }
        GapReason::Continuity | GapReason::Conflated | GapReason::Dropped => false,
    };
    match is_true {
        true => Ok(()),
        false => broken(
            "gap",
            format!("{reason:?} without a reason, since {since:?}: {joined:?}"),
        ),
    }
}

/// An acknowledged publication is where the answer says.
pub fn check_published(
    published: &Published,
    from: &[u8],
    msg: &[u8],
    room: &EngineRoom,
) -> Result<(), Violation> {
    let Position { epoch, offset } = published.position;
    let found = room.story_of(epoch).and_then(|story| story.at(offset));
    match found.is_some_and(|p| p.msg == msg && p.from == from) {
        true => Ok(()),
        false => broken("acknowledged", format!("{published:?}, but there is {found:?}")),
    }
}

/// A page of history is a run of what was published.
pub fn check_page(page: &HistoryPage, room: &EngineRoom) -> Result<(), Violation> {
    let Some(story) = room.story_of(page.head.epoch) else {
        return broken("epoch", format!("no history has the epoch of {:?}", page.head));
    };
    let is_run = page
        .publications
        .windows(2)
        .all(|pair| pair[1].offset == pair[0].offset + 1);
    let is_true = page.publications.iter().all(|p| story.at(p.offset) == Some(p));
    match is_run && is_true {
        true => Ok(()),
        false => broken("history", format!("{page:?}")),
    }
}

/// In every history, what was published once stands once. Its payload names it, whatever its
/// message id says.
pub fn check_messages(name: &str, room: &EngineRoom) -> Result<(), Violation> {
    for story in &room.stories {
        let mut seen: BTreeMap<&Bytes, Offset> = BTreeMap::new();
        for publication in &story.log {
            // What deletes has no payload.
            let data = match publication.data.is_delete() {
                true => &publication.msg,
                false => publication.data.as_bytes(),
            };
            if let Some(first) = seen.insert(data, publication.offset) {
                let again = publication.offset;
                return broken(
                    "idempotence",
                    format!("{data:?} in {name} at {first} and at {again}"),
                );
            }
        }
    }
    Ok(())
}

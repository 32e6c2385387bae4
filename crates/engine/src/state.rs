//! A room's state at the engine: which publication is the newest of each key, and how it stays so.
//!
//! Here are offsets alone; the publications are the store's, and outlive their history there
//! (`Store::hold`). What a publish may change is bounded: its own key, and some that are too many or too old.

use tidegate_core::{
    Policy,
    policy::StatePolicy,
    request::{StatePage, StateQuery},
    state::{Newest, State},
};
use tidegate_wire::Publication;

use crate::store::{Header, Store, StoreError};

/// Keys that one step lets go at most.
const STEP_MAX: usize = 64;

/// Keys that went without a delete.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lost {
    /// Beyond the bound of keys, or of bytes.
    pub evicted: u64,
    /// Past their age.
    pub expired: u64,
}

/// See the module.
#[derive(Default)]
pub struct Keyed {
    newest: State<()>,
    lost: Lost,
}

impl Keyed {
    /// Reads it. What a namespace no longer keeps is let go.
    pub fn load(header: &Header, policy: &Policy, store: &mut Store) -> Result<Self, StoreError> {
        let mut keyed = Self::default();
        for newest in store.load_state(header)? {
            match policy.state {
                Some(_) => _ = keyed.newest.insert(newest),
                None => let_go(&newest, header, store),
            }
        }
        Ok(keyed)
    }

    /// Whether a publication becomes part of it.
    pub fn takes(policy: &Policy, publication: &Publication) -> bool {
        policy.state.is_some() && publication.is_of_state() && !publication.data.is_delete()
    }

    /// A publication was ordered, and appended.
    pub fn apply(&mut self, header: &Header, policy: &Policy, publication: &Publication, store: &mut Store) {
        if policy.state.is_none() || !publication.is_of_state() {
            return;
        }
        if publication.data.is_delete() {
            if let Some(gone) = self.newest.remove(&publication.key) {
                let_go(&gone, header, store);
            }
        } else {
            let newest = Newest {
                // Never before the one before it, whatever became of the clock: the oldest is the first by offset.
                at_us: publication.stamps.ordered_us.max(self.newest.newest_us()),
                ..Newest::of(publication)
            };
            store.hold(header, &newest, publication);
            if let Some(before) = self.newest.insert(newest) {
                store.let_go(header, before.offset);
            }
        }
        self.step(header, policy, publication.stamps.ordered_us, store);
    }

    /// Lets go of some that are too old, or too many.
    pub fn step(&mut self, header: &Header, policy: &Policy, now_us: u64, store: &mut Store) {
        let Some(state) = &policy.state else {
            return;
        };
        for _ in 0..STEP_MAX {
            if let Some(gone) = self.newest.pop_before(state.before_us(now_us)) {
                self.lost.expired += 1;
                let_go(&gone, header, store);
            } else if let Some(gone) = self.newest.pop_over(policy.keys_max, state.bytes) {
                self.lost.evicted += 1;
                let_go(&gone, header, store);
            } else {
                break;
            }
        }
    }

    /// Reads a page. What is too old is not shown, whether it was let go or not.
    pub fn page(
        &self,
        header: &Header,
        state: &StatePolicy,
        query: StateQuery,
        now_us: u64,
        store: &Store,
    ) -> Result<StatePage, StoreError> {
        let before_us = state.before_us(now_us);
        let rest = self.newest.between(query.after, header.head.offset);
        let offsets = rest
            .filter(|newest| newest.at_us >= before_us)
            .map(|newest| newest.offset)
            .take(query.limit.max(1) as usize);
        let publications = store.read_held(header, offsets, query.bytes_max)?;
        let last = publications.last().map(|last| last.offset);
        let more = last.is_some_and(|last| self.newest.between(last, header.head.offset).next().is_some());
        Ok(StatePage {
            head: header.head,
            publications,
            more,
        })
    }

    /// Which offsets are held.
    pub fn held(&self) -> &State<()> {
        &self.newest
    }

    /// What was lost since this was last asked.
    pub fn take_lost(&mut self) -> Lost {
        std::mem::take(&mut self.lost)
    }
}

fn let_go(gone: &Newest<()>, header: &Header, store: &mut Store) {
    store.forget_key(header, &gone.key);
    store.let_go(header, gone.offset);
}

/// Whether a room that is not in memory, and has no history, has a state that has to stay.
pub fn has_to_stay(header: &Header, policy: &Policy, now_us: u64, store: &Store) -> Result<bool, StoreError> {
    match &policy.state {
        None => Ok(false),
        // Every key is as old as the room's last publication, or older.
        Some(state) if header.touched_us < state.before_us(now_us) => Ok(false),
        Some(_) => store.has_state(header),
    }
}

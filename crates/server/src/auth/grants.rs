//! Equal grants share their memory: one small table per shard thread.
//!
//! Thousands of tokens of one application grant the same. Kept apart they would be
//! most of an idle connection's memory.

use std::{
    hash::{BuildHasher, Hash, Hasher},
    rc::Rc,
    time::Duration,
};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use tidegate_core::{
    Moment, WallClock,
    grant::{Claims, Grant},
};

use super::AuthClaims;

/// Different grants remembered. Beyond it those that no session holds any more go; and
/// if that is too few, all are forgotten: sessions keep theirs, newcomers share anew.
const GRANTS_MAX: usize = 1_024;

/// Remembers grants, so that equal ones are one.
#[derive(Debug, Default)]
pub struct GrantInterner {
    table: HashTable<Rc<[Grant]>>,
    hasher: RandomState,
}

impl GrantInterner {
    /// Returns the shared copy of `grants`.
    pub fn intern(&mut self, grants: Vec<Grant>) -> Rc<[Grant]> {
        let hash = hash(&self.hasher, &grants);
        if let Some(known) = self.table.find(hash, |known| **known == *grants) {
            return known.clone();
        }
        if self.table.len() >= GRANTS_MAX {
            self.table.retain(|known| Rc::strong_count(known) > 1);
            // So that a full table is swept once for many newcomers, not once for each.
            if self.table.len() > GRANTS_MAX / 4 * 3 {
                self.table.clear();
            }
        }
        let grants: Rc<[Grant]> = grants.into();
        let hasher = &self.hasher;
        self.table
            .insert_unique(hash, grants.clone(), |known| self::hash(hasher, known));
        grants
    }

    /// Turns what a token says into what a session holds.
    pub fn claims(&mut self, claims: AuthClaims, wall: WallClock) -> Claims {
        Claims {
            user: claims.user,
            info: claims.info,
            expires: claims.expires_unix.map(|seconds| moment_at(seconds, wall)),
            grants: self.intern(claims.grants),
        }
    }
}

/// The moment of a wall-clock second; as far as moments reach.
fn moment_at(seconds: u64, wall: WallClock) -> Moment {
    let since_start = seconds.saturating_mul(1_000_000).saturating_sub(wall.origin_us);
    Moment(0) + Duration::from_micros(since_start.min(u64::MAX / 1_000))
}

fn hash(hasher: &RandomState, grants: &[Grant]) -> u64 {
    let mut state = hasher.build_hasher();
    for grant in grants {
        grant.pattern.hash(&mut state);
        grant.rights.0.hash(&mut state);
    }
    state.finish()
}

#[cfg(test)]
mod tests {
    use tidegate_core::grant::Rights;

    use super::*;

    fn grants(pattern: &str) -> Vec<Grant> {
        vec![Grant {
            pattern: pattern.to_owned(),
            rights: Rights::ALL,
        }]
    }

    #[test]
    fn equal_grants_share_their_memory() {
        let mut interner = GrantInterner::default();
        let (a, b) = (
            interner.intern(grants("chat:*")),
            interner.intern(grants("chat:*")),
        );
        assert!(Rc::ptr_eq(&a, &b));
        assert!(!Rc::ptr_eq(&a, &interner.intern(grants("chat:a"))));
    }

    #[test]
    fn the_table_is_bounded_whether_sessions_hold_on_or_not() {
        let mut interner = GrantInterner::default();
        let mut held = Vec::new();
        for n in 0..10 * GRANTS_MAX {
            held.push(interner.intern(grants(&format!("user:{n}"))));
            assert!(interner.table.len() <= GRANTS_MAX);
        }
        held.clear();
        for n in 0..10 * GRANTS_MAX {
            interner.intern(grants(&format!("other:{n}")));
            assert!(interner.table.len() <= GRANTS_MAX);
        }
    }

    #[test]
    fn expiry_becomes_a_moment() {
        let wall = WallClock {
            origin_us: 1_000_000_000,
        };
        assert_eq!(moment_at(1_010, wall), Moment(10_000_000_000));
        assert_eq!(moment_at(5, wall), Moment(0), "before the start");
        assert!(
            moment_at(u64::MAX, wall) > Moment(u64::MAX / 2),
            "never, as far as moments reach"
        );
    }
}

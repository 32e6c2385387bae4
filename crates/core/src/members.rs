//! One room's members as this shard last heard of them, for replies to joins.
//!
//! The engine keeps the truth and sends differences; above the policy's
//! `members_max` it sends only a count and a sample, and so does this.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_wire::frame::{Member, Members, MembersChange};

/// See the module.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mirror {
    count: u32,
    info_by_user: BTreeMap<Bytes, Bytes>,
}

impl Mirror {
    /// Replaces everything.
    pub fn reset(&mut self, members: &Members) {
        self.count = members.count;
        self.info_by_user = to_map(&members.sample);
    }

    /// Applies a difference.
    pub fn apply(&mut self, change: &MembersChange) {
        self.count = change.count;
        if let Some(sample) = &change.sample {
            self.info_by_user = to_map(sample);
            return;
        }
        for user in &change.left {
            self.info_by_user.remove(user);
        }
        for member in &change.joined {
            self.info_by_user.insert(member.user.clone(), member.info.clone());
        }
    }

    /// Returns the count and whom it knows.
    pub fn members(&self) -> Members {
        let sample = self.info_by_user.iter().map(|(user, info)| Member {
            user: user.clone(),
            info: info.clone(),
        });
        Members {
            count: self.count,
            sample: sample.collect(),
        }
    }

    /// Whether nobody is here.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

fn to_map(members: &[Member]) -> BTreeMap<Bytes, Bytes> {
    let pairs = members.iter().map(|m| (m.user.clone(), m.info.clone()));
    pairs.collect()
}

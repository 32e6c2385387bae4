//! Tokens into claims for one shard, at once wherever the keys are known.
//!
//! A shard never waits: when a token names a key that must be fetched first, the back
//! office is asked to fetch it, and tells every shard when it is done.

use std::sync::Arc;

use tidegate_core::{Moment, WallClock, grant::Claims};
use tidegate_wire::Reject;
use tokio::sync::mpsc;

use crate::auth::{GrantInterner, Verdict, Verifier};

/// What came of a token.
pub(crate) enum Answer {
    /// Taken or refused.
    Verified(Result<Claims, Reject>),
    /// Its key is not known yet, and was asked for.
    KeysAsked,
}

/// See the module.
pub(crate) struct Authority {
    verifier: Arc<Verifier>,
    grants: GrantInterner,
    wall: WallClock,
    keys: mpsc::Sender<()>,
}

impl Authority {
    /// `keys` reaches the task that fetches keys.
    pub(crate) fn new(verifier: Arc<Verifier>, wall: WallClock, keys: mpsc::Sender<()>) -> Self {
        Self { verifier, grants: GrantInterner::default(), wall, keys }
    }

    pub(crate) fn verify(&mut self, token: &str, now: Moment) -> Answer {
        let _ = (token, now, &self.verifier, &mut self.grants, self.wall, &self.keys);
        todo!()
    }
}

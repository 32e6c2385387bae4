//! Tokens into claims for one shard, at once wherever the keys are known.
//!
//! A shard never waits: when a token names a key that must be fetched first, the
//! [`KeyKeeper`] is asked to fetch it, and tells every shard when it has tried.

use std::{io, sync::Arc, thread};

use tidegate_core::{Moment, WallClock, grant::Claims};
use tidegate_wire::Reject;
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use crate::{
    auth::{GrantInterner, Verdict, Verifier},
    control::{ShardCommand, ShardHandle},
};

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
    wanted: mpsc::Sender<()>,
}

impl Authority {
    pub(crate) fn verify(&mut self, token: &str, now: Moment) -> Answer {
        let now_unix = self.wall.at_us(now) / 1_000_000;
        match self.verifier.verify(token, now_unix) {
            Verdict::Ok(claims) => Answer::Verified(Ok(self.grants.claims(claims, self.wall))),
            Verdict::Rejected(reject) => Answer::Verified(Err(reject)),
            Verdict::NeedsKeys => {
                // One that is asked for already will do.
                let _ = self.wanted.try_send(());
                Answer::KeysAsked
            }
        }
    }
}

/// What a shard's authority is made of; crosses to its thread.
#[derive(Clone)]
pub(crate) struct AuthorityParts {
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) wall: WallClock,
    /// Reaches the keeper of keys.
    pub(crate) wanted: mpsc::Sender<()>,
}

impl AuthorityParts {
    pub(crate) fn assemble(self) -> Authority {
        Authority {
            verifier: self.verifier,
            grants: GrantInterner::default(),
            wall: self.wall,
            wanted: self.wanted,
        }
    }
}

/// Fetches keys from their address: at intervals, and when a shard meets a token that
/// no known key signed. A thread of its own, which sleeps almost always.
pub(crate) struct KeyKeeper {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl KeyKeeper {
    /// Starts to keep the verifier's keys fresh, telling `shards` after each try.
    pub(crate) fn start(
        verifier: Arc<Verifier>,
        mut wanted: mpsc::Receiver<()>,
        shards: Vec<ShardHandle>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, mut stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("keys".to_owned()).spawn(move || {
            runtime.block_on(async {
                let tell = || tell(&shards);
                let on_demand = async {
                    while wanted.recv().await.is_some() {
                        if let Err(error) = verifier.refresh().await {
                            debug!(%error, "no new keys");
                        }
                        tell();
                    }
                };
                tokio::select! {
                    _ = &mut stopped => {}
                    () = verifier.keep_fresh(tell) => {}
                    () = on_demand => {}
                }
            });
        })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for KeyKeeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn tell(shards: &[ShardHandle]) {
    for shard in shards {
        // A shard whose commands are full is told after the next try; its tokens wait within their bound.
        let _ = shard.try_send(ShardCommand::KeysRefreshed);
    }
}

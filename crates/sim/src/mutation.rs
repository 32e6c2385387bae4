//! Planted bugs: what the simulation must find. They sit where the simulated world touches
//! a shard, never inside it, so that the shard that is checked is the one that is shipped.

use crate::chance::Chance;

/// One planted bug. Most strike once in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mutation {
    /// A publication does not reach one shard.
    DropPublication,
    /// A publication reaches a shard twice.
    RepeatPublication,
    /// Two publications reach a shard in the wrong order.
    SwapPublications,
    /// A publish is acknowledged, and nothing is kept.
    AcknowledgeUnkept,
    /// An acknowledgement names the position before.
    AcknowledgeElsewhere,
    /// An attachment breaks, and nobody is told.
    ForgetBroken,
    /// An attach is never answered.
    ForgetAttached,
    /// The history begins anew under its old epoch.
    KeepEpoch,
    /// A message id is forgotten at once.
    ForgetMessage,
    /// A page of history lacks one publication.
    ThinHistory,
    /// A member's exit does not reach the engine.
    ForgetExit,
    /// A change of members reaches no shard.
    ForgetMembers,
    /// A client comes back and does not say where it stood.
    ForgetPosition,
    /// A client repeats a publish under another message id.
    RenameMessage,
    /// More bytes are said to be written than were.
    OverstateWritten,
    /// Fewer bytes are said to be written than were.
    UnderstateWritten,
    /// An outbox that got something is not written.
    ForgetDirty,
    /// A connection that the kernel had no room for is not written again.
    ForgetWritable,
    /// The end of a socket is not told to the shard.
    ForgetClosed,
}

impl Mutation {
    /// Every one.
    pub const ALL: &'static [Self] = &[
        Self::DropPublication,
        Self::RepeatPublication,
        Self::SwapPublications,
        Self::AcknowledgeUnkept,
        Self::AcknowledgeElsewhere,
        Self::ForgetBroken,
        Self::ForgetAttached,
        Self::KeepEpoch,
        Self::ForgetMessage,
        Self::ThinHistory,
        Self::ForgetExit,
        Self::ForgetMembers,
        Self::ForgetPosition,
        Self::RenameMessage,
        Self::OverstateWritten,
        Self::UnderstateWritten,
        Self::ForgetDirty,
        Self::ForgetWritable,
        Self::ForgetClosed,
    ];
}

/// The bug planted in one part of a run, and when it strikes.
#[derive(Debug, Clone)]
pub struct Planted {
    mutation: Option<Mutation>,
    chances: u64,
    strikes_at: u64,
}

impl Planted {
    /// Plants it, or nothing, in the part `index` of a run.
    pub fn new(mutation: Option<Mutation>, seed: u64, index: usize) -> Self {
        Self {
            mutation,
            chances: 0,
            strikes_at: Chance::of(seed, "planted", index).range(1, 20),
        }
    }

    /// Whether this bug is planted here at all.
    pub fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// Whether it strikes at this chance to do so: only at one of the first twenty.
    pub fn strikes(&mut self, mutation: Mutation) -> bool {
        if !self.is(mutation) {
            return false;
        }
        self.chances += 1;
        self.chances == self.strikes_at
    }
}

//! Planted bugs: what the simulation must find. They sit where the simulated world touches
//! a shard, or in the policies it is given, so that the shard that is checked is the one that is
//! shipped; but for those that only its inside can have ([`Bug`]), which exist with the feature
//! `planted` of `tidegate-core` alone. `docs/simulation.md` lists them.

use tidegate_core::planted::Bug;

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
    /// A gap tells one more than was left out.
    MiscountGap,
    /// A gap names a position that is one too far.
    MoveGap,
    /// What was left out is not told.
    ForgetGap,
    /// Shards forget the newest publications of keys that left the window.
    ForgetKey,
    /// Shards take `latest` for `lossy`.
    MixLanes,
    /// Shards know no deadline.
    IgnoreDeadline,
    /// The keys of a join are not looked at, neither in its replay nor afterwards.
    IgnoreKeys,
    /// A change of wishes is answered, and changes nothing.
    IgnoreFilter,
    /// `max_rate` is not looked at.
    IgnoreRate,
    /// The timer of `max_rate` comes far too late.
    SlackRate,
    /// The walk after a room's rest never begins.
    LoseBatchTimer,
    /// What is put out next for a connection that was blocked vanishes.
    LoseCatchUp,
    /// Connections that are silent are not closed.
    KeepSilent,
    /// Who is sent elsewhere is closed before its slot.
    IgnoreSlot,
    /// All slots are the same.
    SameSlots,
    /// One session is not sent away with the others.
    ForgetSession,
    /// A client that was told its slot comes back at a random time.
    ComeEarly,
    /// Who is sent away is closed before it was answered.
    PartUnanswered,
    /// A state shows keys that were deleted.
    ForgetDelete,
    /// A state lacks one key.
    MissKey,
    /// A state shows what was replaced.
    ShowReplaced,
    /// However much of a lane leaves, those below it wait until it is empty.
    StarveLanes,
    /// A walk never reaches the last of three subscribers or more.
    MissSubscriber,
    /// An answer makes place, and nobody who waits for one is let in.
    HoldLine,
    /// Of those who wait for a place the last goes first.
    LastFirst,
    /// Who waited for a place in vain is not told.
    RefuseSilently,
    /// A publish that was not answered in time keeps its place.
    KeepPublishPlace,
    /// A page of history whose reader is gone keeps its place.
    KeepReadPlace,
    /// What should give way last goes first.
    ShedReversed,
    /// Pings are not answered while anything gives way.
    ShedPings,
    /// What was left out while memory is short is not told.
    ForgetShed,
    /// Memory is said to be shorter than it is.
    OverstatePressure,
    /// Memory is there again, and the shard is not told.
    ForgetRelief,
    /// The engine grants what is above a rate.
    IgnoreRates,
    /// A refusal does not say when to try again.
    ForgetRetry,
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
        Self::MiscountGap,
        Self::MoveGap,
        Self::ForgetGap,
        Self::ForgetKey,
        Self::MixLanes,
        Self::IgnoreDeadline,
        Self::IgnoreKeys,
        Self::IgnoreFilter,
        Self::IgnoreRate,
        Self::SlackRate,
        Self::LoseBatchTimer,
        Self::LoseCatchUp,
        Self::KeepSilent,
        Self::IgnoreSlot,
        Self::SameSlots,
        Self::ForgetSession,
        Self::ComeEarly,
        Self::PartUnanswered,
        Self::ForgetDelete,
        Self::MissKey,
        Self::ShowReplaced,
        Self::StarveLanes,
        Self::MissSubscriber,
        Self::HoldLine,
        Self::LastFirst,
        Self::RefuseSilently,
        Self::KeepPublishPlace,
        Self::KeepReadPlace,
        Self::ShedReversed,
        Self::ShedPings,
        Self::ForgetShed,
        Self::OverstatePressure,
        Self::ForgetRelief,
        Self::IgnoreRates,
        Self::ForgetRetry,
    ];

    /// The bug of the shard that it is, if it is one.
    pub fn bug(self) -> Option<Bug> {
        match self {
            Self::StarveLanes => Some(Bug::StarveLanes),
            Self::MissSubscriber => Some(Bug::MissSubscriber),
            Self::HoldLine => Some(Bug::HoldLine),
            Self::LastFirst => Some(Bug::LastFirst),
            Self::RefuseSilently => Some(Bug::RefuseSilently),
            Self::KeepPublishPlace => Some(Bug::KeepPublishPlace),
            Self::KeepReadPlace => Some(Bug::KeepReadPlace),
            Self::ShedReversed => Some(Bug::ShedReversed),
            Self::ShedPings => Some(Bug::ShedPings),
            Self::ForgetShed => Some(Bug::ForgetShed),
            _ => None,
        }
    }
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

    /// The bug that is planted inside a shard, if it is one of those.
    pub fn bug(&self) -> Option<Bug> {
        self.mutation.and_then(Mutation::bug)
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

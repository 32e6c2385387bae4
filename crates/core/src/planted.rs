//! Bugs that can be planted inside a shard, for the simulation to find.
//!
//! Only with the feature `planted` is there a way to plant one. Without it [`Planted::is`] is `false` before the program
//! runs, and nothing is left of the places that ask. `crates/sim` alone asks for the feature, and is none of the workspace's default
//! members: neither `cargo build` nor `cargo build -p tidegate` has it (`tests/purity.sh`). Whoever builds all of the workspace
//! together gets a server in which those places compare a value, and nobody who could change it.

/// One planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// However much of a lane leaves, those below it wait until it is empty.
    StarveLanes,
    /// An answer makes place, and nobody is let in from the line.
    HoldLine,
    /// Of those in the line the last goes first.
    LastFirst,
    /// Who waited in vain is not told.
    RefuseSilently,
    /// A publish that was not answered in time keeps its place.
    KeepPublishPlace,
    /// A page of history whose reader is gone keeps its place.
    KeepReadPlace,
    /// What should go last goes first.
    ShedReversed,
    /// Pings are not answered while anything is shed.
    ShedPings,
    /// What was left out while the server sheds is not told.
    ForgetShed,
    /// A walk never reaches the last of three subscribers or more.
    MissSubscriber,
}

/// The bug planted in a shard, if any.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Planted(Option<Bug>);

impl Planted {
    #[cfg(feature = "planted")]
    pub(crate) fn of(bug: Bug) -> Self {
        Self(Some(bug))
    }

    pub(crate) fn is(self, bug: Bug) -> bool {
        cfg!(feature = "planted") && self.0 == Some(bug)
    }
}

#[cfg(feature = "planted")]
impl crate::Shard {
    /// Plants a bug, before anything else is done.
    pub fn plant(&mut self, bug: Bug) {
        self.pile.planted = Planted::of(bug);
        self.gate.plant(Planted::of(bug));
    }
}

//! Lanes: which frames go first, and what becomes of them when the reader is behind.

/// What is promised of what travels in it; a lane leaves before those below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Replies, pings, notices.
    Control,
    /// Every publication, in order; past the bound the connection is closed, and resumes by position.
    Reliable,
    /// The newest publication of each key: while the reader is behind, it is replaced.
    Latest,
    /// Fresh or not at all: while the reader is behind, what is past its deadline is dropped.
    Lossy,
}

impl Lane {
    /// Every lane, in the order in which they leave.
    pub const ALL: [Self; 4] = [Self::Control, Self::Reliable, Self::Latest, Self::Lossy];

    /// Its place in a set of lanes.
    pub fn bit(self) -> u8 {
        1 << self as u8
    }

    /// Returns the name that travels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Reliable => "reliable",
            Self::Latest => "latest",
            Self::Lossy => "lossy",
        }
    }

    /// Finds the lane of a publication by its name.
    pub fn of_publication(name: &str) -> Option<Self> {
        let mut lanes = Self::ALL.into_iter().filter(|lane| *lane != Self::Control);
        lanes.find(|lane| lane.name() == name)
    }
}

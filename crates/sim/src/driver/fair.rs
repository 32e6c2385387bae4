//! No lane of a connection starves: seen from its link, which is given pieces of lanes, one after the other.
//!
//! Once so much of a lane has left while something waited in one below it, the next frame is not
//! another of the same lane. And nothing but the frame that is under way goes before control.

use tidegate_core::Lane;

use crate::checks::{Violation, broken};

/// Bytes of one lane after which every lane below it in which something waits sends a frame.
const RUN: usize = 32 << 10;

/// The longest frame: a part, with what its text is escaped by. One of `latest` may go beyond the run: it was its
/// turn, because so much of `reliable` had left.
const FRAME_MAX: usize = 36 << 10;

const LANES: usize = Lane::ALL.len();

/// What a link was shown of an outbox.
pub struct Shown<'a> {
    /// The pieces, in their order: whose, and how long.
    pub pieces: &'a [(Lane, usize)],
    /// Lanes in which more waits behind them, one bit each.
    pub rest: u8,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Fairness {
    /// Bytes of one lane, by its number, that have left while something waited in another.
    overtaken: [[usize; LANES]; LANES],
    /// The first piece is the rest of a frame.
    is_begun: bool,
}

impl Fairness {
    /// The link took so many bytes of what it was shown.
    pub fn took(&mut self, shown: &Shown<'_>, mut taken: usize) -> Result<(), Violation> {
        for (place, (lane, len)) in shown.pieces.iter().enumerate() {
            if taken == 0 {
                return Ok(());
            }
            let behind = &shown.pieces[place + 1..];
            let waits =
                |other: Lane| shown.rest & other.bit() != 0 || behind.iter().any(|(lane, _)| *lane == other);
            if !std::mem::take(&mut self.is_begun) {
                self.check_turn(*lane, waits)?;
            }
            let part = taken.min(*len);
            for other in Lane::ALL {
                let overtaken = self.overtaken.iter_mut().enumerate();
                for (by, bytes) in overtaken.map(|(by, row)| (by, &mut row[other as usize])) {
                    match waits(other) && other != *lane {
                        true if by == *lane as usize => *bytes += part,
                        true => {}
                        false => *bytes = 0,
                    }
                }
            }
            self.is_begun = part < *len;
            taken -= part;
        }
        Ok(())
    }

    /// A frame of `lane` begins to leave while something waits in others.
    fn check_turn(&self, lane: Lane, waits: impl Fn(Lane) -> bool) -> Result<(), Violation> {
        if lane == Lane::Control {
            return Ok(());
        }
        if waits(Lane::Control) {
            return broken("lanes", format!("{lane:?} goes before control"));
        }
        let run = match lane {
            Lane::Latest => RUN + FRAME_MAX,
            Lane::Control | Lane::Reliable | Lane::Lossy => RUN,
        };
        for below in Lane::ALL.into_iter().filter(|below| *below > lane) {
            let overtaken = self.overtaken[lane as usize][below as usize];
            if waits(below) && overtaken >= run {
                let detail =
                    format!("{overtaken} bytes of {lane:?} have left while {below:?} waits, and more leaves");
                return broken("lanes", detail);
            }
        }
        Ok(())
    }
}

//! What goes first when not everything can be served.
//!
//! Work has a class, and the classes give way in one order: what its receivers can do
//! without, then what they can ask for again, then newcomers, then publishes. Control frames (replies,
//! pings, notices, closing) never: they are how a client learns what became of it.
//!
//! [`Pressure`] is 0 to 1, the worst of what presses: limiters and memory. A class is
//! refused as soon as pressure reaches its mark, and let in again only after pressure has been
//! a slack below it for a while; and one class at a time, because what is let in again presses
//! again. Without both, shedding would switch itself on and off.
//!
//! ```text
//!  1.00 ─
//!  0.97 ─ publish     ▲ at once, as many         │ one, after each `calm`
//!  0.90 ─ handshake   │ as are reached           │ spent `slack` below
//!  0.80 ─ replay      │                          │ the mark of the last
//!  0.70 ─ lossy       │                          ▼
//! ```

use std::time::Duration;

use crate::{
    moment::Moment,
    planted::{Bug, Planted},
};

/// How close something is to its bound: 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Pressure(f64);

impl Pressure {
    /// Brings `share` between 0 and 1; what is not a number is 1, for something is wrong.
    pub fn new(share: f64) -> Self {
        Self(if share.is_nan() {
            1.0
        } else {
            share.clamp(0.0, 1.0)
        })
    }

    /// How much of `bound` is used; a bound of 0 is always reached.
    pub fn of(used: u64, bound: u64) -> Self {
        match bound {
            0 => Self(1.0),
            bound => Self::new(used as f64 / bound as f64),
        }
    }

    /// Returns the worse of both.
    pub fn or(self, other: Self) -> Self {
        if other.0 > self.0 { other } else { self }
    }

    /// Returns it as a number, 0 to 1.
    pub fn share(self) -> f64 {
        self.0
    }
}

/// What some work is, by how soon it gives way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Publications their readers can do without: cursors, typing, samples.
    Lossy,
    /// Replays and pages of history: the client asks again, a little later.
    Replay,
    /// New connections: others are served before more come.
    Handshake,
    /// Publishes into reliable rooms.
    Publish,
    /// Replies, pings, notices, closing.
    Control,
}

impl Class {
    /// Those that can be refused, first to go first.
    pub const SHEDDABLE: [Self; 4] = [Self::Lossy, Self::Replay, Self::Handshake, Self::Publish];

    /// Returns the label's value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lossy => "lossy",
            Self::Replay => "replay",
            Self::Handshake => "handshake",
            Self::Publish => "publish",
            Self::Control => "control",
        }
    }
}

/// When a class is refused, and when it is let in again.
#[derive(Debug, Clone)]
pub struct Marks {
    /// Pressure from which each of [`Class::SHEDDABLE`] is refused: ascending, above `slack`
    /// to 1. By [`Limiter::pressure`](super::Limiter::pressure), 0.9 is a limit reached, and 0.97 one that
    /// refuses seven callers in ten.
    pub refuse: [f64; 4],
    /// How far below its mark pressure must be before a class is let in again: 0.01 to 0.5.
    pub slack: f64,
    /// And for how long: 100 ms to 1 min. All classes are back after four times this.
    pub calm: Duration,
}

impl Default for Marks {
    fn default() -> Self {
        Self {
            refuse: [0.70, 0.80, 0.90, 0.97],
            slack: 0.1,
            calm: Duration::from_millis(500),
        }
    }
}

/// This class gives way at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shed;

/// See the module.
#[derive(Debug, Clone)]
pub struct Shedder {
    marks: Marks,
    /// How many classes are refused, from the first of [`Class::SHEDDABLE`].
    refused: usize,
    calm_since: Option<Moment>,
    /// What was refused, by class.
    pub shed_total: [u64; 4],
    pub(crate) planted: Planted,
}

impl Shedder {
    /// One that refuses nothing yet.
    pub fn new(marks: Marks) -> Self {
        assert!(
            marks.refuse.is_sorted() && marks.refuse[0] > marks.slack,
            "marks in order: {marks:?}"
        );
        Self {
            marks,
            refused: 0,
            calm_since: None,
            shed_total: [0; 4],
            planted: Planted::default(),
        }
    }

    /// Takes in how things stand; once a turn is often enough.
    pub fn handle_pressure(&mut self, now: Moment, pressure: Pressure) {
        let reached = self
            .marks
            .refuse
            .iter()
            .filter(|&&mark| pressure.0 >= mark)
            .count();
        if reached > self.refused {
            self.refused = reached;
        }
        if self.refused == 0 || pressure.0 >= self.marks.refuse[self.refused - 1] - self.marks.slack {
            self.calm_since = None;
            return;
        }
        let since = *self.calm_since.get_or_insert(now);
        if now.since(since) >= self.marks.calm {
            self.refused -= 1;
            self.calm_since = None;
        }
    }

    /// Lets work of a class in, or counts its refusal.
    ///
    /// # Errors
    /// The class gives way at the moment.
    pub fn try_admit(&mut self, class: Class) -> Result<(), Shed> {
        if !self.is_shedding(class) {
            return Ok(());
        }
        self.shed_total[class as usize] += 1;
        Err(Shed)
    }

    /// Whether a class is refused.
    pub fn is_shedding(&self, class: Class) -> bool {
        if self.planted.is(Bug::ShedReversed) {
            return Class::SHEDDABLE[4 - self.refused..].contains(&class);
        }
        Class::SHEDDABLE[..self.refused].contains(&class)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Class; 5] = [
        Class::Lossy,
        Class::Replay,
        Class::Handshake,
        Class::Publish,
        Class::Control,
    ];

    fn at_ms(ms: u64) -> Moment {
        Moment(ms * 1_000_000)
    }

    fn refused(shedder: &Shedder) -> Vec<Class> {
        ALL.into_iter()
            .filter(|&class| shedder.is_shedding(class))
            .collect()
    }

    #[test]
    fn classes_give_way_at_once_and_in_order() {
        let mut shedder = Shedder::new(Marks::default());
        for (pressure, count) in [(0.69, 0), (0.70, 1), (0.85, 2), (0.90, 3), (1.0, 4)] {
            shedder.handle_pressure(at_ms(0), Pressure::new(pressure));
            assert_eq!(refused(&shedder), ALL[..count]);
        }
    }

    #[test]
    fn classes_come_back_one_by_one_after_calm() {
        let mut shedder = Shedder::new(Marks::default());
        shedder.handle_pressure(at_ms(0), Pressure::new(1.0));
        let counts: Vec<usize> = (0..=24)
            .map(|tenth| {
                shedder.handle_pressure(at_ms(tenth * 100), Pressure::default());
                refused(&shedder).len()
            })
            .collect();
        // The wait for the next begins at the observation after the last.
        assert_eq!(counts[4..=5], [4, 3]);
        assert_eq!(counts[10..=11], [3, 2]);
        assert_eq!(counts[16..=17], [2, 1]);
        assert_eq!(counts[22..=23], [1, 0]);
    }

    #[test]
    fn pressure_around_a_mark_does_not_flap() {
        let mut shedder = Shedder::new(Marks::default());
        let mut changes = 0;
        for ms in 0..60_000 {
            let before = refused(&shedder);
            let pressure = 0.80 + if ms % 200 < 100 { 0.05 } else { -0.09 };
            shedder.handle_pressure(at_ms(ms), Pressure::new(pressure));
            changes += usize::from(before != refused(&shedder));
        }
        assert_eq!((changes, refused(&shedder).len()), (1, 2));
    }

    #[test]
    fn one_moment_of_pressure_starts_the_calm_anew() {
        let mut shedder = Shedder::new(Marks::default());
        for ms in 0..10_000 {
            let pressure = if ms % 400 == 0 { 0.75 } else { 0.0 };
            shedder.handle_pressure(at_ms(ms), Pressure::new(pressure));
        }
        assert_eq!(refused(&shedder), [Class::Lossy]);
    }

    #[test]
    fn refusals_are_counted_by_class() {
        let mut shedder = Shedder::new(Marks::default());
        shedder.handle_pressure(at_ms(0), Pressure::of(85, 100));
        let answers = ALL.map(|class| shedder.try_admit(class));
        assert_eq!(answers, [Err(Shed), Err(Shed), Ok(()), Ok(()), Ok(())]);
        assert_eq!(shedder.shed_total, [1, 1, 0, 0]);
    }

    #[test]
    fn pressure_is_a_share_whatever_is_given() {
        assert_eq!(Pressure::new(-1.0).share(), 0.0);
        assert_eq!(Pressure::new(7.0).share(), 1.0);
        assert_eq!(Pressure::new(f64::NAN).share(), 1.0);
        assert_eq!(Pressure::of(1, 0).share(), 1.0);
        assert_eq!(Pressure::of(1, 4).or(Pressure::of(1, 2)).share(), 0.5);
    }

    proptest! {
        #[test]
        fn order_holds_and_control_is_never_refused(
            steps in prop::collection::vec((0..300u64, 0.0..1.1f64), 1..200),
        ) {
            let mut shedder = Shedder::new(Marks::default());
            let mut now_ms = 0;
            for (gap_ms, pressure) in steps {
                now_ms += gap_ms;
                shedder.handle_pressure(at_ms(now_ms), Pressure::new(pressure));
                let refused = refused(&shedder);
                prop_assert_eq!(&refused[..], &ALL[..refused.len()]);
                prop_assert!(!refused.contains(&Class::Control));
                // At its mark or above it, a class is refused now, not soon.
                let marks = Marks::default().refuse;
                let reached = marks.iter().filter(|&&mark| pressure >= mark).count();
                prop_assert!(refused.len() >= reached);
            }
        }
    }
}

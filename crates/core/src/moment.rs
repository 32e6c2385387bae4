//! A moment: nanoseconds since the process started. Time is always a parameter.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

/// Nanoseconds since the process started; monotonic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// Returns how long after `earlier` this is; zero if it is not after.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;
    fn add(self, duration: Duration) -> Moment {
        Moment(self.0.saturating_add(duration.as_nanos() as u64))
    }
}

impl Sub<Duration> for Moment {
    type Output = Moment;
    fn sub(self, duration: Duration) -> Moment {
        Moment(self.0.saturating_sub(duration.as_nanos() as u64))
    }
}

/// Turns moments into wall-clock microseconds. The server sets it once, so that
/// `core` needs no clock and stamps never run backwards.
#[derive(Debug, Clone, Copy, Default)]
pub struct WallClock {
    /// Microseconds since the Unix epoch at `Moment(0)`.
    pub origin_us: u64,
}

impl WallClock {
    /// Returns microseconds since the Unix epoch at `now`.
    pub fn at_us(self, now: Moment) -> u64 {
        self.origin_us + now.0 / 1_000
    }
}

//! The clock, the events and the stations of the event-by-event engines.
//!
//! Time is whole nanoseconds, so that sums of times are exact and the same everywhere. A station is
//! not a queue of jobs but the times at which its servers are free next: who arrives learns at once when it will
//! start and end (first come, first served). So a visit costs one event, a timeout is known on arrival,
//! and no timer is ever cancelled.

pub mod heap;
pub mod law;
pub mod pool;
pub mod tally;

/// A moment or a length, nanoseconds.
pub type Nanos = u64;

/// Later than any run.
pub const NEVER: Nanos = u64::MAX;

/// Whole nanoseconds of seconds; what is negative or no number is none, what is too long is 292 years.
pub fn nanos(seconds: f64) -> Nanos {
    // A cast from f64 saturates; half of the range leaves room to add.
    ((seconds * 1e9) as u64).min(NEVER / 2)
}

/// Seconds of nanoseconds.
pub fn seconds(nanos: Nanos) -> f64 {
    nanos as f64 / 1e9
}

//! When one who was refused may come back, and the words for one who asked too often.
//!
//! A shard and the engine say the same, in the same bounds. Chance is handed in: it spreads
//! those who were refused together, lest they come back together.

use std::time::Duration;

use tidegate_wire::{Reject, RejectCode};

use super::quotas::Exceeded;

/// Shortest wait a client is asked for: below it the answer to the second try is the same.
const RETRY_MIN: Duration = Duration::from_millis(100);
/// Longest: by then things have changed.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// `wait` within bounds, to twice as long by `chance`, 0 to 1; in milliseconds.
pub fn retry_ms(wait: Duration, chance: f64) -> u32 {
    let wait = wait.clamp(RETRY_MIN, RETRY_MAX);
    wait.mul_f64(1.0 + chance).as_millis() as u32
}

impl Exceeded {
    /// The answer to whoever's bucket was empty; `chance` as for [`retry_ms`].
    pub fn reject(self, chance: f64) -> Reject {
        let detail = format!("the rate of this {} is spent", self.scope.name());
        Reject::retry(RejectCode::RateLimited, retry_ms(self.wait, chance), detail)
    }
}

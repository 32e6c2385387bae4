//! How many calls of the HTTP API may be under way: a limit that follows their latency.
//!
//! Health and metrics are not counted: who operates the server must see it most when it is busy.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tidegate_core::{
    LimitCounters, Moment,
    admission::{Adaptive, Limiter, Outcome, Permit},
};

/// See the module. The lock is held for a few additions, never across a wait.
pub(super) struct Calls {
    limiter: Option<Mutex<Limiter>>,
    started: Instant,
}

/// Leave for one call; goes back when it is dropped.
pub(super) struct Call<'a> {
    calls: &'a Calls,
    permit: Option<Permit>,
    outcome: Option<bool>,
}

impl Calls {
    pub(super) fn new(adaptive: &Adaptive, started: Instant) -> Self {
        let limiter = adaptive.limiter(rand::random(), now(started));
        Self {
            limiter: limiter.map(Mutex::new),
            started,
        }
    }

    /// Lets one more in.
    ///
    /// # Errors
    /// There is no place; when there may be one again.
    pub(super) fn try_begin(&self) -> Result<Call<'_>, Duration> {
        let Some(mut limiter) = self.limiter() else {
            return Ok(Call {
                calls: self,
                permit: None,
                outcome: None,
            });
        };
        match limiter.try_acquire(now(self.started)) {
            Ok(permit) => Ok(Call {
                calls: self,
                permit: Some(permit),
                outcome: None,
            }),
            Err(_) => Err(limiter.latency().saturating_mul(4).max(Duration::from_secs(1))),
        }
    }

    pub(super) fn counters(&self) -> LimitCounters {
        let limiter = self.limiter();
        limiter
            .map(|limiter| LimitCounters::of(&limiter))
            .unwrap_or_default()
    }

    fn limiter(&self) -> Option<MutexGuard<'_, Limiter>> {
        let limiter = self.limiter.as_ref()?;
        Some(limiter.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Call<'_> {
    /// It was answered: in time, or with a failure of ours.
    pub(super) fn end(mut self, is_done: bool) {
        self.outcome = Some(is_done);
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let (Some(permit), Some(mut limiter)) = (self.permit.take(), self.calls.limiter()) else {
            return;
        };
        let now = now(self.calls.started);
        let outcome = match self.outcome {
            Some(true) => Outcome::Done(now.since(permit.admitted())),
            Some(false) => Outcome::Dropped,
            // The caller went away.
            None => Outcome::Ignored,
        };
        limiter.release(now, permit, outcome);
    }
}

fn now(started: Instant) -> Moment {
    Moment(started.elapsed().as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_too_many_is_told_when_to_come_back_and_a_place_is_free_again_however_one_ends() {
        let adaptive = Adaptive {
            floor: 2,
            ceiling: 2,
            ..Adaptive::default()
        };
        let calls = Calls::new(&adaptive, Instant::now());
        let (one, two) = (calls.try_begin().ok().unwrap(), calls.try_begin().ok().unwrap());
        assert!(calls.try_begin().err().unwrap() >= Duration::from_secs(1));
        one.end(true);
        drop(two);
        assert_eq!(
            (calls.counters().in_flight, calls.counters().refused_total),
            (0, 1)
        );
    }
}

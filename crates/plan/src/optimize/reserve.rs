//! The cheapest design that events take for good, too.
//!
//! The fluid model knows means. Bursts and failures by chance break what is just good enough on average, and
//! do not tell what it lacks; more room mends that. So the next design is searched for more users than
//! were asked for, with more of every limit to spare, until events agree; and then between the last reserve that
//! was too small and the first that was not.

use super::{
    Excuse, Work,
    knob::{Places, changes},
    loaded,
    search::Search,
};

/// Users for which a design is searched, as a multiple of those asked for, and the share of each limit it must spare.
const RESERVES: [Reserve; 7] = [
    Reserve::NONE,
    // The same machines, with all that helps and costs nothing.
    Reserve::of(1.0, 0.0),
    Reserve::of(1.1, 0.1),
    Reserve::of(1.25, 0.2),
    Reserve::of(1.5, 0.35),
    Reserve::of(2.0, 0.5),
    Reserve::of(3.0, 0.5),
];
/// Looks between a reserve that is too small and one that is not.
const NARROWINGS: u32 = 2;
/// A saving for which it is worth to look between: a share of the price.
const NARROW_FROM: f64 = 0.02;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reserve {
    load: f64,
    guard: f64,
    /// What costs nothing is only changed where the fluid model sees that it helps.
    is_tidy: bool,
}

impl Reserve {
    pub(super) const NONE: Self = Self {
        load: 1.0,
        guard: 0.0,
        is_tidy: true,
    };

    const fn of(load: f64, guard: f64) -> Self {
        Self {
            load,
            guard,
            is_tidy: false,
        }
    }

    fn between(self, other: Self) -> Self {
        Self {
            load: f64::midpoint(self.load, other.load),
            guard: f64::midpoint(self.guard, other.guard),
            is_tidy: false,
        }
    }

    /// The cheapest by the fluid model that has the reserve, or as much of it as there is.
    pub(super) fn places(self, search: &mut Search<'_>, starts: &[Places]) -> Option<Places> {
        if self.is_tidy {
            let places = search.cheapest(starts, self.guard)?;
            return Some(search.tidy(places, self.guard));
        }
        let base = loaded(&search.base, self.load);
        search.cheapest_for(base, starts, self.guard)
    }
}

impl Work<'_> {
    /// The cheapest that a confirmation takes for good, for the users `search` is for; nothing that costs more
    /// than `most` is confirmed. Begun at several designs. And how much in reserve that was.
    pub(super) fn confirmed(
        &mut self,
        search: &mut Search<'_>,
        starts: &[Places],
        most: f64,
    ) -> Option<(Places, Reserve)> {
        let mut left = self.confirmations;
        let mut refused: Option<(Reserve, f64)> = None;
        let mut starts = starts.to_vec();
        let mut found = None;
        for reserve in RESERVES {
            let Some(places) = reserve.places(search, &starts) else {
                break;
            };
            let monthly = search.trial(&places).map_or(f64::INFINITY, |trial| trial.monthly);
            if monthly > most {
                return None;
            }
            left = left.checked_sub(1)?;
            if self.is_confirmed(search, &places) {
                found = Some((reserve, monthly, places));
                break;
            }
            refused = Some((reserve, monthly));
            // More is nearer to this than to where it began.
            starts = vec![search.helped(places), search.ample()];
        }
        let (mut held, mut monthly, mut found) = found?;
        let Some((mut small, mut too_cheap)) = refused else {
            return Some((found, held));
        };
        for _ in 0..NARROWINGS.min(left) {
            if monthly - too_cheap < NARROW_FROM * monthly {
                break;
            }
            let reserve = small.between(held);
            let starts = [found.clone()];
            let Some(places) = reserve.places(search, &starts) else {
                break;
            };
            let Some(price) = search.trial(&places).map(|trial| trial.monthly) else {
                break;
            };
            if price >= monthly - NARROW_FROM * monthly {
                // It is the same for less reserve.
                held = reserve;
            } else if self.is_confirmed(search, &places) {
                (held, monthly, found) = (reserve, price, places);
            } else {
                (small, too_cheap) = (reserve, price);
            }
        }
        Some((found, held))
    }

    /// Asks, and remembers what broke.
    fn is_confirmed(&mut self, search: &mut Search<'_>, places: &Places) -> bool {
        let plan = search.plan(places);
        let confirmed = (self.confirm)(&plan);
        if confirmed.holds {
            return true;
        }
        if let (Some(clause), Some(trial)) = (confirmed.clause, search.trial(places)) {
            self.excuses.push(Excuse {
                changes: changes(self.plan, &plan),
                monthly: trial.monthly,
                clause,
                by_events: true,
                is_close: confirmed.is_close,
            });
        }
        search.refuse(places.clone());
        false
    }
}

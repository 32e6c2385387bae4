//! The cheapest design that holds, by the fluid model.
//!
//! Integer search in three moves: *grow* from the least that could be built, along what mends most for its
//! price, until all clauses hold; *shrink*, largest saving first, for as long as they do; *swap* one thing
//! up for another down when that saves money. It is begun at several designs, and what was tried is remembered.
//! That finds a design no single change makes cheaper, not a proof that there is none: an
//! exact one would try some 10^10 designs (see "Stochastically constrained simulation optimization on integer-ordered
//! spaces", E. Nelson and R. Pasupathy, on what is known).

use std::collections::BTreeMap;

use super::{
    knob::{Knob, Places, Spends, apply},
    trial::{Trial, Usage},
};
use crate::{plan::Plan, price::Book};

/// See the module.
pub(super) struct Search<'a> {
    /// What is varied.
    pub(super) base: Plan,
    book: &'a Book,
    knobs: &'a [Knob],
    tried: BTreeMap<Places, Option<Trial>>,
    /// What events showed to break: taken for broken, with all that has no more of anything.
    refused: Vec<Places>,
    /// Trials that may still be made, and those made by searches on its behalf.
    left: u32,
    lent: u32,
    /// What traffic costs whoever is built.
    usage: Option<Usage>,
}

impl<'a> Search<'a> {
    pub(super) fn new(base: Plan, book: &'a Book, knobs: &'a [Knob], trials: u32) -> Self {
        Self {
            base,
            book,
            knobs,
            tried: BTreeMap::new(),
            refused: Vec::new(),
            left: trials,
            lent: 0,
            usage: None,
        }
    }

    /// The cheapest of the same plan with other users; what was refused stays refused.
    pub(super) fn cheapest_for(&mut self, base: Plan, starts: &[Places], guard: f64) -> Option<Places> {
        let mut other = Self {
            refused: self.refused.clone(),
            ..Self::new(base, self.book, self.knobs, self.left)
        };
        // No design may have as much to spare: a single database has its failures.
        let places = other.cheapest(starts, guard);
        let places = places.or_else(|| other.cheapest(starts, 0.0));
        self.left = other.left;
        self.lent += other.trials();
        places
    }

    pub(super) fn trials(&self) -> u32 {
        self.tried.len() as u32 + self.lent
    }

    pub(super) fn plan(&self, places: &[u8]) -> Plan {
        apply(&self.base, self.knobs, places)
    }

    /// None if it cannot be built or priced, or if no more may be tried.
    pub(super) fn trial(&mut self, places: &[u8]) -> Option<&Trial> {
        if !self.tried.contains_key(places) {
            self.left = self.left.checked_sub(1)?;
            let trial = Trial::of(&self.plan(places), self.book);
            self.tried.insert(places.to_vec(), trial);
        }
        self.tried.get(places).and_then(Option::as_ref)
    }

    pub(super) fn refuse(&mut self, places: Places) {
        self.refused.push(places);
    }

    fn is_refused(&self, places: &[u8]) -> bool {
        let has_no_more = |refused: &Places| {
            let mut knobs = self.knobs.iter().zip(refused.iter().zip(places));
            knobs.all(|(knob, (refused, place))| match knob.spends {
                Spends::Money => place <= refused,
                Spends::Nothing => place == refused || *refused == knob.lean(),
                Spends::Quality => place == refused,
            })
        };
        self.refused.iter().any(has_no_more)
    }

    fn holds(&mut self, places: &[u8], guard: f64) -> bool {
        !self.is_refused(places) && self.trial(places).is_some_and(|trial| trial.holds(guard))
    }

    fn monthly(&mut self, places: &[u8]) -> f64 {
        self.trial(places).map_or(f64::INFINITY, |trial| trial.monthly)
    }

    pub(super) fn given(&self) -> Places {
        self.knobs.iter().map(|knob| knob.given).collect()
    }

    pub(super) fn lean(&self) -> Places {
        self.knobs.iter().map(Knob::lean).collect()
    }

    pub(super) fn ample(&self) -> Places {
        self.knobs.iter().map(Knob::ample).collect()
    }

    /// The cheapest found from several starts.
    pub(super) fn cheapest(&mut self, starts: &[Places], guard: f64) -> Option<Places> {
        let mut best: Option<Places> = None;
        for start in starts {
            let Some(grown) = self.grow(start.clone(), guard) else {
                continue;
            };
            let found = self.shrink(grown, guard);
            let is_better = match &best {
                None => true,
                Some(best) => self.monthly(&found) < self.monthly(&best.clone()),
            };
            if is_better {
                best = Some(found);
            }
        }
        best
    }

    /// Up until it holds.
    pub(super) fn grow(&mut self, mut at: Places, guard: f64) -> Option<Places> {
        while !self.holds(&at, guard) {
            let here = self.trial(&at)?.clone();
            let was_refused = here.holds(guard);
            let mut best: Option<(f64, Places)> = None;
            for next in self.ups(&at) {
                if was_refused && self.is_refused(&next) {
                    continue;
                }
                let Some(trial) = self.trial(&next) else {
                    continue;
                };
                let mends = here.excess - trial.excess + 0.1 * (here.worst - trial.worst).clamp(-1.0, 1.0);
                // Of a refused design nothing tells what it lacks: the least that is more.
                let gain = if was_refused { 1.0 } else { mends };
                // What mends and costs nothing comes first.
                let worth = gain / (trial.monthly - here.monthly).max(0.01);
                if gain > 1e-9 && best.as_ref().is_none_or(|(most, _)| worth > *most) {
                    best = Some((worth, next));
                }
            }
            at = best?.1;
        }
        Some(at)
    }

    /// Down, and across, as long as it holds.
    fn shrink(&mut self, mut at: Places, guard: f64) -> Places {
        loop {
            let next = self.first_cheaper(self.downs(&at), &at, guard);
            let next = next.or_else(|| self.first_cheaper(self.swaps(&at), &at, guard));
            match next {
                Some(next) => at = next,
                None => return at,
            }
        }
    }

    /// The one that saves most of those that hold: tried from the largest saving on.
    fn first_cheaper(&mut self, designs: Vec<Places>, at: &[u8], guard: f64) -> Option<Places> {
        let here = self.monthly(at);
        // Most need no trial: what they cost is known well enough before.
        let than = self.price(at)?;
        let mut cheaper: Vec<(f64, Places)> = designs
            .into_iter()
            .filter_map(|places| Some((self.price(&places)?, places)))
            .filter(|(price, _)| *price < than - 0.005)
            .collect();
        cheaper.sort_by(|a, b| a.0.total_cmp(&b.0));
        let holds = cheaper
            .into_iter()
            .find(|(_, places)| self.holds(places, guard) && self.monthly(places) < here - 0.005);
        holds.map(|(_, places)| places)
    }

    /// What a design costs if it is used as the largest would be: right but for machines that come and go.
    fn price(&mut self, places: &[u8]) -> Option<f64> {
        if self.usage.is_none() {
            let ample = self.plan(&self.ample());
            self.usage = Some(Usage::of(&ample)?);
        }
        let usage = self.usage.as_ref()?;
        usage.price(&self.plan(places), self.book)
    }

    /// The same with all that usually helps and costs nothing.
    pub(super) fn helped(&self, mut at: Places) -> Places {
        for (place, knob) in self.knobs.iter().enumerate() {
            if knob.spends == Spends::Nothing {
                at[place] = knob.lean();
            }
        }
        at
    }

    /// What costs nothing and changes nothing is as it was given.
    pub(super) fn tidy(&mut self, mut at: Places, guard: f64) -> Places {
        for (place, knob) in self.knobs.iter().enumerate() {
            if at[place] == knob.given || knob.spends == Spends::Money {
                continue;
            }
            let mut less = at.clone();
            less[place] = knob.given;
            if self.holds(&less, guard) && self.monthly(&less) <= self.monthly(&at) + 0.005 {
                at = less;
            }
        }
        at
    }

    /// Each with one knob turned up; what costs nothing also to any other value.
    fn ups(&self, at: &[u8]) -> Vec<Places> {
        self.turned(at, |knob, place| match knob.spends {
            Spends::Money if knob.what == "count" => vec![place + 1, place.saturating_mul(2) + 1],
            Spends::Money => (place + 1..knob.len()).collect(),
            Spends::Nothing => (0..knob.len()).collect(),
            Spends::Quality => Vec::new(),
        })
    }

    /// Each with one knob turned down.
    pub(super) fn downs(&self, at: &[u8]) -> Vec<Places> {
        self.turned(at, |knob, place| match knob.spends {
            Spends::Money if knob.what == "count" => {
                vec![place / 2, place.saturating_sub(1)]
            }
            Spends::Money => (0..place).collect(),
            Spends::Nothing | Spends::Quality => Vec::new(),
        })
    }

    /// Each with one knob up and another down.
    fn swaps(&self, at: &[u8]) -> Vec<Places> {
        let one_up = self.turned(at, |knob, place| match knob.spends {
            Spends::Money => vec![place + 1],
            Spends::Nothing | Spends::Quality => Vec::new(),
        });
        let mut swaps = Vec::new();
        for up in one_up {
            let raised = up.iter().zip(at).position(|(new, old)| new > old);
            for down in self.downs(at) {
                let mut both = up.clone();
                let Some(lowered) = down.iter().zip(at).position(|(new, old)| new < old) else {
                    continue;
                };
                if raised != Some(lowered) {
                    both[lowered] = down[lowered];
                    swaps.push(both);
                }
            }
        }
        swaps
    }

    fn turned(&self, at: &[u8], to: impl Fn(&Knob, u8) -> Vec<u8>) -> Vec<Places> {
        let mut designs = Vec::new();
        for (place, knob) in self.knobs.iter().enumerate() {
            let mut values = to(knob, at[place]);
            values.sort_unstable();
            values.dedup();
            for value in values {
                if value < knob.len() && value != at[place] {
                    let mut other = at.to_vec();
                    other[place] = value;
                    designs.push(other);
                }
            }
        }
        designs
    }
}

//! Who was sent away or lost, and how all came back: the slots told, the attempts against them,
//! and how long each was away.
//!
//! A slot is a server's: how evenly they lie is its work, and the same on any machine. When the
//! attempts were made is this program's, which may be late.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::{
    report::ms,
    tally::{add_pairs, buckets, from_buckets, from_pairs, histogram, pairs},
};

/// A tenth of a second: how finely slots and attempts are counted.
const STEP_NS: u64 = 100_000_000;
/// Steps of a second.
const STEPS: u64 = 10;

/// See the file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Returned {
    /// By tenths of a second of the machine's clock.
    slots: BTreeMap<u64, u64>,
    attempts: BTreeMap<u64, u64>,
    /// The first slot and the last, on that clock.
    first_ns: u64,
    last_ns: u64,
    /// Attempts that came before their slot.
    early: u64,
    /// Connections that the server closed or lost without a slot.
    unslotted: u64,
    /// From the slot, or where there was none the loss, until joined again.
    back_us: Histogram<u64>,
    /// From the loss until joined again.
    away_us: Histogram<u64>,
}

impl Default for Returned {
    fn default() -> Self {
        Self {
            slots: BTreeMap::new(),
            attempts: BTreeMap::new(),
            first_ns: u64::MAX,
            last_ns: 0,
            early: 0,
            unslotted: 0,
            back_us: histogram(),
            away_us: histogram(),
        }
    }
}

/// What one connection knows of its own way back.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WayBack {
    /// When it was told to come back, if it was.
    pub(crate) slot_ns: Option<u64>,
    /// When it was lost; 0 while it is there.
    lost_ns: u64,
}

impl WayBack {
    /// The server told a slot.
    pub(crate) fn on_told(&mut self, slot_ns: u64, returned: &mut Returned) {
        self.slot_ns = Some(slot_ns);
        *returned.slots.entry(slot_ns / STEP_NS).or_default() += 1;
        returned.first_ns = returned.first_ns.min(slot_ns);
        returned.last_ns = returned.last_ns.max(slot_ns);
    }

    /// The connection is gone.
    pub(crate) fn on_lost(&mut self, now_ns: u64, returned: &mut Returned) {
        self.lost_ns = now_ns;
        returned.unslotted += u64::from(self.slot_ns.is_none());
    }

    /// It tries to come back.
    pub(crate) fn on_attempt(&self, now_ns: u64, returned: &mut Returned) {
        if self.lost_ns > 0 {
            *returned.attempts.entry(now_ns / STEP_NS).or_default() += 1;
            returned.early += u64::from(self.slot_ns.is_some_and(|slot_ns| now_ns < slot_ns));
        }
    }

    /// It is back, and joined.
    pub(crate) fn on_back(&mut self, now_ns: u64, returned: &mut Returned) {
        let WayBack { slot_ns, lost_ns } = std::mem::take(self);
        if lost_ns > 0 {
            let due_ns = slot_ns.unwrap_or(lost_ns).max(lost_ns);
            let us = |since_ns: u64| (now_ns.saturating_sub(since_ns) / 1_000).max(1);
            returned.back_us.saturating_record(us(due_ns));
            returned.away_us.saturating_record(us(lost_ns));
        }
    }
}

/// The most in any second.
fn peak(steps: &BTreeMap<u64, u64>) -> u64 {
    let in_second = |from: &u64| steps.range(from..&(from + STEPS)).map(|(_, count)| count).sum();
    steps.keys().map(in_second).max().unwrap_or(0)
}

impl Returned {
    pub(crate) fn figures(&self) -> Vec<(&'static str, f64)> {
        let told: u64 = self.slots.values().sum();
        let seconds = self.last_ns.saturating_sub(self.first_ns) as f64 / 1e9;
        let mut figures = vec![
            ("reconnects_peak_per_second", peak(&self.attempts) as f64),
            ("back_p50_ms", ms(&self.back_us, 0.5)),
            ("back_p99_ms", ms(&self.back_us, 0.99)),
            ("back_max_ms", ms(&self.back_us, 1.0)),
            ("away_p99_ms", ms(&self.away_us, 0.99)),
        ];
        if told > 1 && seconds > 0.0 {
            // So many intervals, not so many slots, fill the time from the first to the last.
            let paced = (told - 1) as f64 / seconds;
            figures.extend([
                ("slots_told", told as f64),
                ("slots_seconds", seconds),
                ("slots_per_second", paced),
                ("slots_peak_per_second", peak(&self.slots) as f64),
                ("reconnects_peak_to_paced", peak(&self.attempts) as f64 / paced),
                ("attempts_before_slot", self.early as f64),
                ("lost_without_slot", self.unslotted as f64),
            ]);
        }
        figures
    }

    /// What should not be where a server sends its clients away.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.unslotted > 0 {
            wrong.push(format!("{} connections were lost without a slot", self.unslotted));
        }
        if self.early > 0 {
            wrong.push(format!("{} attempts came before their slot", self.early));
        }
        wrong
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "slots": pairs(&self.slots), "attempts": pairs(&self.attempts), "first_ns": self.first_ns,
            "last_ns": self.last_ns, "early": self.early, "unslotted": self.unslotted,
            "back_us": buckets(&self.back_us), "away_us": buckets(&self.away_us),
        })
    }

    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        Some(Self {
            slots: from_pairs(&value["slots"])?,
            attempts: from_pairs(&value["attempts"])?,
            first_ns: value["first_ns"].as_u64()?,
            last_ns: value["last_ns"].as_u64()?,
            early: value["early"].as_u64()?,
            unslotted: value["unslotted"].as_u64()?,
            back_us: from_buckets(&value["back_us"])?,
            away_us: from_buckets(&value["away_us"])?,
        })
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        add_pairs(&mut self.slots, &other.slots);
        add_pairs(&mut self.attempts, &other.attempts);
        self.first_ns = self.first_ns.min(other.first_ns);
        self.last_ns = self.last_ns.max(other.last_ns);
        self.early += other.early;
        self.unslotted += other.unslotted;
        self.back_us += &other.back_us;
        self.away_us += &other.away_us;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn what_comes_back_is_held_against_its_slot() {
        let mut returned = Returned::default();
        // Ten a second for three seconds; the eleventh comes early, the last is late by two seconds.
        for n in 0..30u64 {
            let slot_ns = (100_000 + n * 100) * MS;
            let mut way = WayBack::default();
            way.on_told(slot_ns, &mut returned);
            way.on_attempt(1, &mut returned);
            way.on_lost(99_000 * MS, &mut returned);
            let at_ns = match n {
                10 => slot_ns - 1,
                29 => slot_ns + 2_000 * MS,
                _ => slot_ns,
            };
            way.on_attempt(at_ns, &mut returned);
            way.on_back(at_ns + MS, &mut returned);
        }
        let figures: BTreeMap<_, _> = returned.figures().into_iter().collect();
        assert_eq!(figures["slots_told"], 30.0);
        assert!((figures["slots_per_second"] - 10.0).abs() < 0.01, "{figures:?}");
        assert_eq!(figures["slots_peak_per_second"], 10.0);
        assert_eq!(
            figures["reconnects_peak_per_second"], 11.0,
            "the early one is in the second before"
        );
        assert_eq!(figures["attempts_before_slot"], 1.0);
        assert!(
            figures["back_max_ms"] > 1_900.0 && figures["back_p50_ms"] < 1.1,
            "{figures:?}"
        );
        assert_eq!(returned.wrong().len(), 1);

        WayBack::default().on_lost(1, &mut returned);
        assert_eq!(returned.wrong().len(), 2);
        let told = serde_json::from_str(&returned.to_json().to_string()).unwrap();
        assert_eq!(Returned::from_json(&told), Some(returned));
    }
}

//! Times by size, found without a logarithm: where many are counted, and few are read.
//!
//! A place is the first bits of the number itself: 128 places for each doubling, half a percent each.

use crate::histogram::Histogram;

const BITS: u32 = 7;
/// 2^-20 seconds.
const FIRST: u64 = (1_023 - 20) << BITS;
/// To 2^20 seconds.
const LEN: usize = 40 << BITS;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Places {
    weights: Vec<f64>,
    /// Nothing is below or above.
    lowest: usize,
    highest: usize,
    len: f64,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            weights: vec![0.0; LEN],
            lowest: LEN,
            highest: 0,
            len: 0.0,
        }
    }
}

/// The places of some times, rising, and how many are in each: found once, and counted as often as they are met.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    runs: Vec<(u16, u16)>,
    len: u32,
}

/// Room to find places in, nought between two uses.
#[derive(Debug)]
pub(super) struct Counts {
    counts: Vec<u16>,
}

impl Default for Counts {
    fn default() -> Self {
        Self { counts: vec![0; LEN] }
    }
}

impl Counts {
    /// Where these times are, fewer than 65,536 of them.
    pub fn place(&mut self, times: &[f64]) -> Placed {
        let (mut lowest, mut highest) = (LEN - 1, 0);
        for &seconds in times {
            let place = place_of(seconds);
            self.counts[place] += 1;
            lowest = lowest.min(place);
            highest = highest.max(place);
        }
        let mut runs = Vec::with_capacity((highest + 1).saturating_sub(lowest).min(times.len()));
        for (place, count) in self.counts.iter_mut().enumerate().take(highest + 1).skip(lowest) {
            if *count > 0 {
                runs.push((place as u16, *count));
                *count = 0;
            }
        }
        Placed {
            runs,
            len: times.len() as u32,
        }
    }
}

impl Placed {
    /// The times that these shares of all, rising, stay within; 0 of none.
    pub fn quantiles<const N: usize>(&self, shares: [f64; N]) -> [f64; N] {
        let mut found = [0.0; N];
        let (mut below, mut next) = (0, 0);
        for &(place, count) in &self.runs {
            below += u32::from(count);
            while next < N && f64::from(below) >= shares[next] * f64::from(self.len) {
                found[next] = middle_of(usize::from(place));
                next += 1;
            }
        }
        found
    }
}

impl Places {
    /// Counts each of these so often.
    pub fn add_all(&mut self, placed: &Placed, weight: f64) {
        let (Some(&(lowest, _)), Some(&(highest, _))) = (placed.runs.first(), placed.runs.last()) else {
            return;
        };
        for &(place, count) in &placed.runs {
            self.weights[usize::from(place)] += f64::from(count) * weight;
        }
        self.lowest = self.lowest.min(usize::from(lowest));
        self.highest = self.highest.max(usize::from(highest));
        self.len += f64::from(placed.len) * weight;
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        if self.lowest <= self.highest {
            self.weights[self.lowest..=self.highest].fill(0.0);
        }
        (self.lowest, self.highest, self.len) = (LEN, 0, 0.0);
    }

    pub fn add(&mut self, seconds: f64, weight: f64) {
        let place = place_of(seconds);
        self.weights[place] += weight;
        self.lowest = self.lowest.min(place);
        self.highest = self.highest.max(place);
        self.len += weight;
    }

    /// The times that these shares of all, rising, stay within; 0 of none.
    pub fn quantiles<const N: usize>(&self, shares: [f64; N]) -> [f64; N] {
        let mut found = [0.0; N];
        let (mut below, mut next) = (0.0, 0);
        for place in self.lowest..=self.highest {
            below += self.weights[place];
            // What is added up in another order may miss the last by a rounding.
            while next < N && (below >= shares[next] * self.len || place == self.highest) {
                found[next] = middle_of(place);
                next += 1;
            }
        }
        found
    }

    /// Counts all of it in a histogram.
    pub fn put_into(&self, histogram: &mut Histogram) {
        for place in self.lowest..=self.highest {
            if self.weights[place] > 0.0 {
                histogram.record(middle_of(place), self.weights[place]);
            }
        }
    }
}

fn place_of(seconds: f64) -> usize {
    let place = (seconds.max(0.0).to_bits() >> (52 - BITS)).saturating_sub(FIRST);
    (place as usize).min(LEN - 1)
}

fn middle_of(place: usize) -> f64 {
    if place == 0 {
        // It also holds all that is shorter.
        return 0.0;
    }
    f64::from_bits(((place as u64 + FIRST) << (52 - BITS)) | (1 << (51 - BITS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_to_half_a_percent() {
        let mut places = Places::default();
        for ms in 1..=1_000 {
            places.add(f64::from(ms) / 1e3, 2.0);
        }
        for (share, seconds) in [0.05, 0.5, 0.95]
            .into_iter()
            .zip(places.quantiles([0.05, 0.5, 0.95]))
        {
            assert!((seconds / share - 1.0).abs() < 0.005, "{share} {seconds}");
        }
        let mut histogram = Histogram::default();
        places.put_into(&mut histogram);
        assert_eq!(histogram.len(), 2_000.0);
        assert!((histogram.quantile(0.95).unwrap() / 0.95 - 1.0).abs() < 0.01);
        assert_eq!(Places::default().quantiles([0.5]), [0.0]);
        for odd in [0.0, -1.0, f64::NAN, 1e300] {
            places.add(odd, 1.0);
        }
    }

    #[test]
    fn what_was_placed_is_counted_as_if_one_by_one() {
        let mut counts = Counts::default();
        let (mut one_by_one, mut at_once) = (Places::default(), Places::default());
        for scale in [1e-3, 7.0] {
            let times: Vec<f64> = (0..509)
                .map(|place| f64::from(place * 37 % 101) * scale)
                .collect();
            times.iter().for_each(|&seconds| one_by_one.add(seconds, 0.5));
            let placed = counts.place(&times);
            at_once.add_all(&placed, 0.5);
            let mut alone = Places::default();
            times.iter().for_each(|&seconds| alone.add(seconds, 1.0));
            let shares = [0.01, 0.5, 0.93, 0.99, 1.0];
            assert_eq!(placed.quantiles(shares), alone.quantiles(shares));
        }
        let shares = [0.1, 0.5, 0.77, 0.999];
        assert_eq!(one_by_one.quantiles(shares), at_once.quantiles(shares));
        at_once.clear();
        assert_eq!(at_once.quantiles([0.5]), [0.0]);
        assert_eq!(counts.place(&[]).quantiles([0.5]), [0.0]);
    }
}

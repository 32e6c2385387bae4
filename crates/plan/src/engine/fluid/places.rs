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

impl Places {
    pub fn add(&mut self, seconds: f64, weight: f64) {
        let place = (seconds.max(0.0).to_bits() >> (52 - BITS)).saturating_sub(FIRST);
        let place = (place as usize).min(LEN - 1);
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
}

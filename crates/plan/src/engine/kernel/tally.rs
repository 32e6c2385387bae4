//! Times counted by size, quickly: the engine's side of a [`Histogram`].
//!
//! Places are eighths of an octave sixteen times over (128 to an octave, 0.8 % wide) and found by shifts,
//! where a histogram's logarithm would cost more than the visit it counts.

use super::{Nanos, seconds};
use crate::histogram::Histogram;

/// 2^10 ns, a microsecond: all below have one place.
const LOWEST: u32 = 10;
/// 2^47 ns, 39 hours: all above have the last.
const HIGHEST: u32 = 47;
const PART: u32 = 7;
const PLACES: usize = 1 + (((HIGHEST - LOWEST) as usize) << PART);

/// See the module.
#[derive(Debug, Clone)]
pub struct Tally {
    weights: Vec<f64>,
    len: f64,
    sum: f64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            weights: vec![0.0; PLACES],
            len: 0.0,
            sum: 0.0,
        }
    }
}

impl Tally {
    /// Counts one.
    #[inline]
    pub fn record(&mut self, time: Nanos, weight: f64) {
        self.weights[place_of(time)] += weight;
        self.len += weight;
        self.sum += time as f64 * weight;
    }

    pub fn len(&self) -> f64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0.0
    }

    /// Mean of what was counted, seconds; 0 of nothing.
    pub fn mean_s(&self) -> f64 {
        if self.is_empty() {
            0.0
        } else {
            self.sum / self.len / 1e9
        }
    }

    /// The times that shares of all stay within, seconds; shares rise.
    pub fn quantiles<const N: usize>(&self, shares: [f64; N]) -> [f64; N] {
        let mut found = [0.0; N];
        if self.is_empty() {
            return found;
        }
        let (mut next, mut below) = (0, 0.0);
        for (place, &weight) in self.weights.iter().enumerate() {
            below += weight;
            while next < N && below >= self.len * shares[next] && weight > 0.0 {
                found[next] = middle_of(place);
                next += 1;
            }
        }
        found
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        if !self.is_empty() {
            self.weights.fill(0.0);
            (self.len, self.sum) = (0.0, 0.0);
        }
    }

    /// Bytes it takes, about.
    pub fn bytes(&self) -> usize {
        self.weights.capacity() * size_of::<f64>()
    }

    /// As reports keep it.
    pub fn histogram(&self) -> Histogram {
        let mut histogram = Histogram::default();
        for (place, &weight) in self.weights.iter().enumerate() {
            if weight > 0.0 {
                histogram.record(middle_of(place), weight);
            }
        }
        histogram
    }
}

#[inline]
fn place_of(time: Nanos) -> usize {
    if time < 1 << LOWEST {
        return 0;
    }
    let time = time.min((1 << HIGHEST) - 1);
    let octave = 63 - time.leading_zeros();
    let part = (time >> (octave - PART)) & ((1 << PART) - 1);
    1 + (((octave - LOWEST) as usize) << PART) + part as usize
}

fn middle_of(place: usize) -> f64 {
    let Some(place) = place.checked_sub(1) else {
        return 0.0;
    };
    let octave = LOWEST + (place >> PART) as u32;
    let part = (place & ((1 << PART) - 1)) as u64 + (1 << PART);
    seconds(part << (octave - PART)) + seconds(1 << (octave - PART)) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_again_within_half_a_percent() {
        for time in [1_024u64, 1_500, 999_999, 120_000_000, 3_600_000_000_000] {
            let middle = middle_of(place_of(time)) * 1e9;
            assert!((middle / time as f64 - 1.0).abs() < 0.004, "{time}: {middle}");
        }
        assert_eq!(middle_of(place_of(3)), 0.0);
        assert_eq!(place_of(u64::MAX), PLACES - 1);
    }

    #[test]
    fn percentiles_and_the_mean_are_those_of_a_histogram() {
        let mut tally = Tally::default();
        for ms in 1..=1_000 {
            tally.record(ms * 1_000_000, 2.0);
        }
        assert!((tally.mean_s() - 0.5005).abs() < 1e-9);
        let [p50, p95] = tally.quantiles([0.5, 0.95]);
        assert!((p50 / 0.5 - 1.0).abs() < 0.01 && (p95 / 0.95 - 1.0).abs() < 0.01);
        assert!((tally.histogram().quantile(0.95).unwrap() / 0.95 - 1.0).abs() < 0.015);
        tally.clear();
        assert_eq!(tally.quantiles([0.5]), [0.0]);
    }
}

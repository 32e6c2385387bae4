//! Times by size, to one part in a hundred.
//!
//! Places grow by 1 % from a microsecond to 28 hours: a percentile is off by at most half of that. Counts are weights, so that what was
//! sampled counts for what it stands for. Histograms add up; percentiles do not.

use serde::{Serialize, Serializer, ser::SerializeStruct};

/// The lower end of the first place, seconds.
const LOWEST: f64 = 1e-6;
/// What a percentile is off by at most, as part of it: half a place.
pub const RESOLUTION: f64 = 0.005;
/// ln 1.01.
const LN_GROWTH: f64 = 0.009_950_330_853_168_083;
const PLACES: usize = 2_550;

/// See the module. Nothing is kept until the first is counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    weights: Vec<f64>,
    len: f64,
    sum: f64,
}

impl Histogram {
    /// Counts one time, seconds, with a weight.
    pub fn record(&mut self, seconds: f64, weight: f64) {
        if self.weights.is_empty() {
            self.weights = vec![0.0; PLACES];
        }
        self.weights[place_of(seconds)] += weight;
        self.len += weight;
        self.sum += seconds * weight;
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        if self.weights.is_empty() {
            self.weights.clone_from(&other.weights);
        } else {
            for (weight, other) in self.weights.iter_mut().zip(&other.weights) {
                *weight += other;
            }
        }
        self.len += other.len;
        self.sum += other.sum;
    }

    /// All weights.
    pub fn len(&self) -> f64 {
        self.len
    }

    /// Whether nothing is counted.
    pub fn is_empty(&self) -> bool {
        self.len == 0.0
    }

    /// All times by their weights, seconds.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The time that a share of all, 0 to 1, stays within; none without any.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let rank = self.len * share;
        let mut below = 0.0;
        let mut last = None;
        for (place, &weight) in self.weights.iter().enumerate() {
            if weight > 0.0 {
                last = Some(place);
                below += weight;
                if below >= rank {
                    break;
                }
            }
        }
        last.map(middle_of)
    }

    /// The share of all that took at most so long; those in its own place are taken as spread evenly over it.
    pub fn share_within(&self, seconds: f64) -> f64 {
        if self.is_empty() {
            return 1.0;
        }
        let place = place_of(seconds);
        let below: f64 = self.weights.iter().take(place).sum();
        let into = libm::log(seconds.max(LOWEST) / LOWEST) / LN_GROWTH - place as f64;
        ((below + self.weights[place] * into.clamp(0.0, 1.0)) / self.len).min(1.0)
    }

    /// The share of all that took longer.
    pub fn share_above(&self, seconds: f64) -> f64 {
        if self.is_empty() {
            return 0.0;
        }
        let above: f64 = self.weights.iter().skip(place_of(seconds) + 1).sum();
        above / self.len
    }
}

impl Serialize for Histogram {
    /// Its percentiles: nobody reads its places.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Histogram", 5)?;
        fields.serialize_field("count", &self.len)?;
        for (name, share) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999)] {
            fields.serialize_field(name, &self.quantile(share))?;
        }
        fields.end()
    }
}

fn place_of(seconds: f64) -> usize {
    if seconds <= LOWEST {
        return 0;
    }
    ((libm::log(seconds / LOWEST) / LN_GROWTH) as usize).min(PLACES - 1)
}

fn middle_of(place: usize) -> f64 {
    LOWEST * libm::exp((place as f64 + 0.5) * LN_GROWTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_half_a_percent() {
        let mut histogram = Histogram::default();
        for ms in 1..=1_000 {
            histogram.record(f64::from(ms) / 1e3, 1.0);
        }
        for share in [0.01, 0.5, 0.95, 0.99, 1.0] {
            let seconds = histogram.quantile(share).unwrap();
            assert!((seconds / share - 1.0).abs() < 0.0051, "{share}: {seconds}");
        }
        assert!((histogram.share_above(0.75) - 0.25).abs() < 0.01);
        assert_eq!(Histogram::default().quantile(0.5), None);
        for share in [0.1, 0.5, 0.95] {
            // Of a place of one percent, the part that is meant.
            assert!((histogram.share_within(share) - share).abs() < 0.0025);
        }
        assert_eq!(
            (histogram.share_within(0.0), histogram.share_within(1e9)),
            (0.0, 1.0)
        );
    }

    #[test]
    fn weights_count_for_what_they_stand_for() {
        let (mut one, mut other) = (Histogram::default(), Histogram::default());
        one.record(0.001, 98.0);
        other.record(1.0, 2.0);
        one.merge(&other);
        assert!(one.quantile(0.97).unwrap() < 0.0011);
        assert!(one.quantile(0.99).unwrap() > 0.99);
        assert_eq!(one.len(), 100.0);
    }

    #[test]
    fn the_longest_and_the_shortest_have_a_place() {
        let mut histogram = Histogram::default();
        histogram.record(0.0, 1.0);
        histogram.record(1e9, 1.0);
        assert!(histogram.quantile(1.0).unwrap() > 90_000.0);
    }
}

//! What one process counted, and how it tells another: JSON, histograms as their buckets.
//!
//! Counts of several processes are added; histograms are merged bucket by bucket, so a percentile
//! is that of all deliveries together and never an average of percentiles.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::report::histogram;

/// How far a process is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// Which of the commands it was given it is at.
    pub(crate) task: u64,
    /// When that was done, on the machine's steady clock.
    pub(crate) done_ns: Option<u64>,
    /// Connections that are joined.
    pub(crate) ready: u64,
    pub(crate) delivered: u64,
    /// Publishes that were acknowledged or rejected.
    pub(crate) acknowledged: u64,
    pub(crate) rejected: u64,
    /// Publications sent, by stream; empty where nothing is published.
    pub(crate) sent: Vec<u64>,
}

impl Status {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "task": self.task, "done_ns": self.done_ns, "ready": self.ready, "delivered": self.delivered,
            "acknowledged": self.acknowledged, "rejected": self.rejected, "sent": self.sent,
        })
    }

    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        Some(Self {
            task: value["task"].as_u64()?,
            done_ns: value["done_ns"].as_u64(),
            ready: value["ready"].as_u64()?,
            delivered: value["delivered"].as_u64()?,
            acknowledged: value["acknowledged"].as_u64()?,
            rejected: value["rejected"].as_u64()?,
            sent: numbers(&value["sent"])?,
        })
    }

    /// Adds another process: all are done when the last is.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.done_ns = self.done_ns.zip(other.done_ns).map(|(one, other)| one.max(other));
        self.ready += other.ready;
        self.delivered += other.delivered;
        self.acknowledged += other.acknowledged;
        self.rejected += other.rejected;
        add_each(&mut self.sent, &other.sent);
    }
}

/// What was received, by class.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Received {
    pub(crate) latency_us: Histogram<u64>,
    pub(crate) delivered: u64,
    pub(crate) doubled: u64,
    pub(crate) out_of_order: u64,
}

impl Received {
    pub(crate) fn new() -> Self {
        Self {
            latency_us: histogram(),
            delivered: 0,
            doubled: 0,
            out_of_order: 0,
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "latency_us": buckets(&self.latency_us), "delivered": self.delivered,
            "doubled": self.doubled, "out_of_order": self.out_of_order,
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        Some(Self {
            latency_us: from_buckets(&value["latency_us"])?,
            delivered: value["delivered"].as_u64()?,
            doubled: value["doubled"].as_u64()?,
            out_of_order: value["out_of_order"].as_u64()?,
        })
    }

    fn merge(&mut self, other: &Self) {
        self.latency_us += &other.latency_us;
        self.delivered += other.delivered;
        self.doubled += other.doubled;
        self.out_of_order += other.out_of_order;
    }
}

/// What came of a run, in one process or in all.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tally {
    pub(crate) classes: Vec<Received>,
    pub(crate) ack_us: Histogram<u64>,
    pub(crate) acknowledged: u64,
    pub(crate) rejected: u64,
    /// Connections the server closed after they were joined.
    pub(crate) closed: u64,
    pub(crate) sent: Vec<u64>,
}

impl Tally {
    pub(crate) fn to_json(&self) -> Value {
        let classes: Vec<Value> = self.classes.iter().map(Received::to_json).collect();
        json!({
            "classes": classes, "ack_us": buckets(&self.ack_us), "acknowledged": self.acknowledged,
            "rejected": self.rejected, "closed": self.closed, "sent": self.sent,
        })
    }

    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        let classes = value["classes"].as_array()?.iter();
        Some(Self {
            classes: classes.map(Received::from_json).collect::<Option<_>>()?,
            ack_us: from_buckets(&value["ack_us"])?,
            acknowledged: value["acknowledged"].as_u64()?,
            rejected: value["rejected"].as_u64()?,
            closed: value["closed"].as_u64()?,
            sent: numbers(&value["sent"])?,
        })
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (class, others) in self.classes.iter_mut().zip(&other.classes) {
            class.merge(others);
        }
        self.ack_us += &other.ack_us;
        self.acknowledged += other.acknowledged;
        self.rejected += other.rejected;
        self.closed += other.closed;
        add_each(&mut self.sent, &other.sent);
    }
}

fn add_each(sums: &mut Vec<u64>, others: &[u64]) {
    sums.resize(sums.len().max(others.len()), 0);
    for (sum, other) in sums.iter_mut().zip(others) {
        *sum += other;
    }
}

/// `[value, count, value, count, …]`: recorded again, every value falls into the bucket it came
/// from, since all histograms of this program have the same bounds.
fn buckets(histogram: &Histogram<u64>) -> Vec<u64> {
    histogram
        .iter_recorded()
        .flat_map(|bucket| [bucket.value_iterated_to(), bucket.count_at_value()])
        .collect()
}

fn from_buckets(value: &Value) -> Option<Histogram<u64>> {
    let mut histogram = histogram();
    let numbers = numbers(value)?;
    let (pairs, []) = numbers.as_chunks::<2>() else {
        return None;
    };
    for [value, count] in pairs {
        histogram.record_n(*value, *count).ok()?;
    }
    Some(histogram)
}

fn numbers(value: &Value) -> Option<Vec<u64>> {
    value.as_array()?.iter().map(Value::as_u64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(latencies: impl Iterator<Item = u64>) -> Tally {
        let mut received = Received::new();
        for latency in latencies {
            received.latency_us.record(latency).unwrap();
            received.delivered += 1;
        }
        (received.doubled, received.out_of_order) = (1, 2);
        Tally {
            classes: vec![received],
            ack_us: histogram(),
            acknowledged: 3,
            rejected: 4,
            closed: 5,
            sent: vec![6],
        }
    }

    #[test]
    fn a_tally_told_and_understood_is_the_same() {
        let told = tally((1..5_000).map(|n| n * n));
        let text = told.to_json().to_string();
        let understood = Tally::from_json(&serde_json::from_str(&text).unwrap()).unwrap();
        let (ours, theirs) = (&told.classes[0].latency_us, &understood.classes[0].latency_us);
        assert!(ours.iter_recorded().eq(theirs.iter_recorded()));
        for quantile in [0.0, 0.5, 0.99, 0.999, 1.0] {
            assert_eq!(
                ours.value_at_quantile(quantile),
                theirs.value_at_quantile(quantile)
            );
        }
        assert_eq!(understood.to_json(), told.to_json());
    }

    #[test]
    fn percentiles_of_merged_tallies_are_those_of_all_values_together() {
        // The slow process has a tenth of the deliveries: an average of both p50 or p99 would be far off.
        let (mut fast, slow) = (
            tally((0..900).map(|_| 1_000)),
            tally((0..100).map(|n| 100_000 + n)),
        );
        let together = tally((0..900).map(|_| 1_000).chain((0..100).map(|n| 100_000 + n)));
        fast.merge(&slow);
        let (merged, expected) = (&fast.classes[0], &together.classes[0]);
        assert!(
            merged
                .latency_us
                .iter_recorded()
                .eq(expected.latency_us.iter_recorded())
        );
        assert_eq!(merged.delivered, 1_000);
        assert_eq!((merged.doubled, merged.out_of_order), (2, 4));
        assert_eq!(
            (fast.acknowledged, fast.rejected, fast.closed, &fast.sent[..]),
            (6, 8, 10, &[12][..])
        );
    }

    #[test]
    fn all_are_done_when_the_last_is() {
        let mut one = Status {
            done_ns: Some(5),
            sent: vec![7],
            ready: 2,
            ..Status::default()
        };
        let other = Status {
            done_ns: Some(9),
            ready: 3,
            ..Status::default()
        };
        one.merge(&other);
        assert_eq!((one.done_ns, one.ready, &one.sent[..]), (Some(9), 5, &[7][..]));
        assert_eq!(Status::from_json(&one.to_json()), Some(one.clone()));
        one.merge(&Status::default());
        assert_eq!(one.done_ns, None);
    }
}

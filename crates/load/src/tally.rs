//! What one process counted, and how it tells another: JSON, histograms as their buckets.
//!
//! Counts of several processes are added; histograms are merged bucket by bucket, so a percentile
//! is that of all deliveries together and never an average of percentiles. Whether the sums add up
//! is asked once all are merged (see `accounts`).

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::returned::Returned;

/// An empty histogram: one to ten minutes in microseconds, two digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 2).expect("constant bounds")
}

pub(crate) fn histograms(count: usize) -> Vec<Histogram<u64>> {
    (0..count).map(|_| histogram()).collect()
}

/// All of them together.
pub(crate) fn sum_of(histograms: &[Histogram<u64>]) -> Histogram<u64> {
    histograms.iter().fold(histogram(), |mut sum, other| {
        sum += other;
        sum
    })
}

/// How far a process is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// Which of the commands it was given it is at.
    pub(crate) task: u64,
    /// When that was done, on the machine's steady clock.
    pub(crate) done_ns: Option<u64>,
    /// Connections that are joined.
    pub(crate) ready: u64,
    /// Connections that were lost.
    pub(crate) closed: u64,
    /// Subscriptions whose last count of members is not what the plan ends with.
    pub(crate) unsettled: u64,
    /// Publishes that will never be answered: their connection is gone, or was when they were due.
    pub(crate) abandoned: u64,
    /// By stream; empty where nothing is published.
    pub(crate) sent: Vec<u64>,
    pub(crate) acknowledged: Vec<u64>,
    pub(crate) rejected: Vec<u64>,
    /// p99 of the acknowledgements of what was played last, once it has left; 0 before.
    pub(crate) ack_p99_us: u64,
    /// By class: publications that were delivered, or told to be left out.
    pub(crate) accounted: Vec<u64>,
}

impl Status {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "task": self.task, "done_ns": self.done_ns, "ready": self.ready, "closed": self.closed,
            "unsettled": self.unsettled, "abandoned": self.abandoned, "sent": self.sent,
            "acknowledged": self.acknowledged, "rejected": self.rejected, "accounted": self.accounted,
            "ack_p99_us": self.ack_p99_us,
        })
    }

    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        Some(Self {
            task: value["task"].as_u64()?,
            done_ns: value["done_ns"].as_u64(),
            ready: value["ready"].as_u64()?,
            closed: value["closed"].as_u64()?,
            unsettled: value["unsettled"].as_u64()?,
            abandoned: value["abandoned"].as_u64()?,
            sent: numbers(&value["sent"])?,
            acknowledged: numbers(&value["acknowledged"])?,
            rejected: numbers(&value["rejected"])?,
            ack_p99_us: value["ack_p99_us"].as_u64()?,
            accounted: numbers(&value["accounted"])?,
        })
    }

    /// Adds another process: all are done when the last is.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.done_ns = self.done_ns.zip(other.done_ns).map(|(one, other)| one.max(other));
        self.ready += other.ready;
        self.closed += other.closed;
        self.unsettled += other.unsettled;
        self.abandoned += other.abandoned;
        // One process publishes.
        self.ack_p99_us = self.ack_p99_us.max(other.ack_p99_us);
        add_each(&mut self.sent, &other.sent);
        add_each(&mut self.acknowledged, &other.acknowledged);
        add_each(&mut self.rejected, &other.rejected);
        add_each(&mut self.accounted, &other.accounted);
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.iter().sum()
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.iter().sum()
    }

    pub(crate) fn rejected(&self) -> u64 {
        self.rejected.iter().sum()
    }
}

/// What was received, by class.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Received {
    /// Of live publications, from the intended send to the last byte read, by phase of the former.
    pub(crate) latency_us: Vec<Histogram<u64>>,
    /// Each counted once per subscriber, replays included.
    pub(crate) delivered: u64,
    /// Of them, those that were replayed after a close.
    pub(crate) replayed: u64,
    /// Newest of their key, given on a first join: published before anybody counted.
    pub(crate) snapshots: u64,
    /// Told by `gap`, or by the reply to a join that replays the newest of each key only.
    pub(crate) conflated: u64,
    pub(crate) dropped: u64,
    /// Told by a `gap` in which history was lost to the subscriber: `too_far`, `trimmed`, `continuity`.
    pub(crate) missed: u64,
    /// Holes that nobody told of.
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    /// Publications that came after such a hole.
    pub(crate) out_of_order: u64,
    /// Times the history began anew: nobody knows what was lost then.
    pub(crate) new_epochs: u64,
    pub(crate) members_pushes: u64,
    /// Connections the server closed after they were joined, and those that came back.
    pub(crate) closed: u64,
    pub(crate) came_back: u64,
}

impl Received {
    pub(crate) fn new(phases: usize) -> Self {
        Self {
            latency_us: histograms(phases),
            delivered: 0,
            replayed: 0,
            snapshots: 0,
            conflated: 0,
            dropped: 0,
            missed: 0,
            lost: 0,
            doubled: 0,
            out_of_order: 0,
            new_epochs: 0,
            members_pushes: 0,
            closed: 0,
            came_back: 0,
        }
    }

    /// Publications whose fate is known.
    pub(crate) fn accounted(&self) -> u64 {
        self.delivered + self.conflated + self.dropped + self.missed + self.lost
    }

    fn counts(&self) -> [(&'static str, u64); 13] {
        [
            ("delivered", self.delivered),
            ("replayed", self.replayed),
            ("snapshots", self.snapshots),
            ("conflated", self.conflated),
            ("dropped", self.dropped),
            ("missed", self.missed),
            ("lost", self.lost),
            ("doubled", self.doubled),
            ("out_of_order", self.out_of_order),
            ("new_epochs", self.new_epochs),
            ("members_pushes", self.members_pushes),
            ("closed", self.closed),
            ("came_back", self.came_back),
        ]
    }

    /// The same, in the same order.
    fn counts_mut(&mut self) -> [&mut u64; 13] {
        [
            &mut self.delivered,
            &mut self.replayed,
            &mut self.snapshots,
            &mut self.conflated,
            &mut self.dropped,
            &mut self.missed,
            &mut self.lost,
            &mut self.doubled,
            &mut self.out_of_order,
            &mut self.new_epochs,
            &mut self.members_pushes,
            &mut self.closed,
            &mut self.came_back,
        ]
    }

    fn to_json(&self) -> Value {
        let mut all = Map::new();
        all.insert("latency_us".into(), each_buckets(&self.latency_us));
        all.extend(self.counts().map(|(name, count)| (name.to_owned(), count.into())));
        Value::Object(all)
    }

    fn from_json(value: &Value) -> Option<Self> {
        let mut received = Self::new(0);
        received.latency_us = each_from_buckets(&value["latency_us"])?;
        let names = received.counts().map(|(name, _)| name);
        for (name, count) in names.into_iter().zip(received.counts_mut()) {
            *count = value[name].as_u64()?;
        }
        Some(received)
    }

    fn merge(&mut self, other: &Self) {
        merge_each(&mut self.latency_us, &other.latency_us);
        for (count, (_, other)) in self.counts_mut().into_iter().zip(other.counts()) {
            *count += other;
        }
    }
}

/// What became of publishes, by stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answers {
    pub(crate) sent: u64,
    /// Of them, those whose connection was gone, or took no more, when they were due.
    pub(crate) unsent: u64,
    pub(crate) acknowledged: u64,
    /// By code.
    pub(crate) rejected: BTreeMap<u64, u64>,
    pub(crate) unanswered: u64,
    /// From the intended send to the answer, by phase.
    pub(crate) ack_us: Vec<Histogram<u64>>,
    pub(crate) reject_us: Vec<Histogram<u64>>,
    /// What rejects asked for; milliseconds.
    pub(crate) retry_after_ms: Histogram<u64>,
}

impl Answers {
    pub(crate) fn new(phases: usize) -> Self {
        Self {
            sent: 0,
            unsent: 0,
            acknowledged: 0,
            rejected: BTreeMap::new(),
            unanswered: 0,
            ack_us: histograms(phases),
            reject_us: histograms(phases),
            retry_after_ms: histogram(),
        }
    }

    pub(crate) fn rejected(&self) -> u64 {
        self.rejected.values().sum()
    }

    fn to_json(&self) -> Value {
        json!({
            "sent": self.sent, "unsent": self.unsent, "acknowledged": self.acknowledged,
            "rejected": pairs(&self.rejected), "unanswered": self.unanswered,
            "ack_us": each_buckets(&self.ack_us), "reject_us": each_buckets(&self.reject_us),
            "retry_after_ms": buckets(&self.retry_after_ms),
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        Some(Self {
            sent: value["sent"].as_u64()?,
            unsent: value["unsent"].as_u64()?,
            acknowledged: value["acknowledged"].as_u64()?,
            rejected: from_pairs(&value["rejected"])?,
            unanswered: value["unanswered"].as_u64()?,
            ack_us: each_from_buckets(&value["ack_us"])?,
            reject_us: each_from_buckets(&value["reject_us"])?,
            retry_after_ms: from_buckets(&value["retry_after_ms"])?,
        })
    }

    fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.unsent += other.unsent;
        self.acknowledged += other.acknowledged;
        add_pairs(&mut self.rejected, &other.rejected);
        self.unanswered += other.unanswered;
        merge_each(&mut self.ack_us, &other.ack_us);
        merge_each(&mut self.reject_us, &other.reject_us);
        self.retry_after_ms += &other.retry_after_ms;
    }
}

/// What was answered to the publishes that were meant to leave in one tenth of a second.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Slot {
    pub(crate) ack_us: Histogram<u64>,
    pub(crate) rejected: u64,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            ack_us: histogram(),
            rejected: 0,
        }
    }
}

/// What came of a run, in one process or in all.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tally {
    pub(crate) classes: Vec<Received>,
    /// By stream; empty where nothing is published.
    pub(crate) answers: Vec<Answers>,
    pub(crate) slots: Vec<Slot>,
    /// Connections lost after they were joined, by close code; 1006 without a close frame.
    pub(crate) closes: BTreeMap<u64, u64>,
    /// Attempts to come back that were turned away.
    pub(crate) turned_away: u64,
    /// Subscriptions whose last count of members is not what the plan ends with.
    pub(crate) unsettled: u64,
    pub(crate) notices: u64,
    pub(crate) returned: Returned,
}

impl Tally {
    pub(crate) fn to_json(&self) -> Value {
        let classes: Vec<Value> = self.classes.iter().map(Received::to_json).collect();
        let answers: Vec<Value> = self.answers.iter().map(Answers::to_json).collect();
        let slots = self.slots.iter();
        let slots: Vec<Value> = slots
            .map(|slot| json!([slot.rejected, buckets(&slot.ack_us)]))
            .collect();
        json!({
            "classes": classes, "answers": answers, "slots": slots, "closes": pairs(&self.closes),
            "turned_away": self.turned_away, "unsettled": self.unsettled, "notices": self.notices,
            "returned": self.returned.to_json(),
        })
    }

    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        let classes = value["classes"].as_array()?.iter();
        let answers = value["answers"].as_array()?.iter();
        let slots = value["slots"].as_array()?.iter();
        let slot = |value: &Value| {
            Some(Slot {
                rejected: value[0].as_u64()?,
                ack_us: from_buckets(&value[1])?,
            })
        };
        Some(Self {
            classes: classes.map(Received::from_json).collect::<Option<_>>()?,
            answers: answers.map(Answers::from_json).collect::<Option<_>>()?,
            slots: slots.map(slot).collect::<Option<_>>()?,
            closes: from_pairs(&value["closes"])?,
            turned_away: value["turned_away"].as_u64()?,
            unsettled: value["unsettled"].as_u64()?,
            notices: value["notices"].as_u64()?,
            returned: Returned::from_json(&value["returned"])?,
        })
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (class, others) in self.classes.iter_mut().zip(&other.classes) {
            class.merge(others);
        }
        // One process publishes, whichever tells first.
        match self.answers.is_empty() {
            true => self.answers.clone_from(&other.answers),
            false => {
                for (answers, others) in self.answers.iter_mut().zip(&other.answers) {
                    answers.merge(others);
                }
            }
        }
        if self.slots.is_empty() {
            self.slots.clone_from(&other.slots);
        }
        add_pairs(&mut self.closes, &other.closes);
        self.turned_away += other.turned_away;
        self.unsettled += other.unsettled;
        self.notices += other.notices;
        self.returned.merge(&other.returned);
    }
}

fn add_each(sums: &mut Vec<u64>, others: &[u64]) {
    sums.resize(sums.len().max(others.len()), 0);
    for (sum, other) in sums.iter_mut().zip(others) {
        *sum += other;
    }
}

pub(crate) fn add_pairs(sums: &mut BTreeMap<u64, u64>, others: &BTreeMap<u64, u64>) {
    for (code, count) in others {
        *sums.entry(*code).or_default() += count;
    }
}

fn merge_each(sums: &mut [Histogram<u64>], others: &[Histogram<u64>]) {
    for (sum, other) in sums.iter_mut().zip(others) {
        *sum += other;
    }
}

pub(crate) fn pairs(map: &BTreeMap<u64, u64>) -> Vec<[u64; 2]> {
    map.iter().map(|(code, count)| [*code, *count]).collect()
}

pub(crate) fn from_pairs(value: &Value) -> Option<BTreeMap<u64, u64>> {
    let pair = |pair: &Value| Some((pair[0].as_u64()?, pair[1].as_u64()?));
    value.as_array()?.iter().map(pair).collect()
}

/// `[value, count, value, count, …]`: recorded again, every value falls into the bucket it came
/// from, since all histograms of this program have the same bounds.
pub(crate) fn buckets(histogram: &Histogram<u64>) -> Vec<u64> {
    histogram
        .iter_recorded()
        .flat_map(|bucket| [bucket.value_iterated_to(), bucket.count_at_value()])
        .collect()
}

fn each_buckets(histograms: &[Histogram<u64>]) -> Value {
    histograms.iter().map(buckets).collect()
}

pub(crate) fn from_buckets(value: &Value) -> Option<Histogram<u64>> {
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

fn each_from_buckets(value: &Value) -> Option<Vec<Histogram<u64>>> {
    value.as_array()?.iter().map(from_buckets).collect()
}

fn numbers(value: &Value) -> Option<Vec<u64>> {
    value.as_array()?.iter().map(Value::as_u64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(latencies: impl Iterator<Item = u64>) -> Tally {
        let mut received = Received::new(2);
        for latency in latencies {
            received.latency_us[1].record(latency).unwrap();
            received.delivered += 1;
        }
        for (n, count) in received.counts_mut().into_iter().enumerate().skip(1) {
            *count = n as u64;
        }
        let mut answers = Answers::new(1);
        (answers.sent, answers.acknowledged, answers.unanswered) = (6, 3, 1);
        answers.rejected = BTreeMap::from([(100, 2)]);
        answers.retry_after_ms.record(250).unwrap();
        Tally {
            classes: vec![received],
            answers: vec![answers],
            slots: vec![Slot::default()],
            closes: BTreeMap::from([(4001, 5)]),
            turned_away: 7,
            unsettled: 8,
            notices: 9,
            returned: Returned::default(),
        }
    }

    #[test]
    fn a_tally_told_and_understood_is_the_same() {
        let told = tally((1..5_000).map(|n| n * n));
        let text = told.to_json().to_string();
        let understood = Tally::from_json(&serde_json::from_str(&text).unwrap()).unwrap();
        let (ours, theirs) = (
            &told.classes[0].latency_us[1],
            &understood.classes[0].latency_us[1],
        );
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
            merged.latency_us[1]
                .iter_recorded()
                .eq(expected.latency_us[1].iter_recorded())
        );
        assert_eq!(merged.delivered, 1_000);
        let counts = merged
            .counts()
            .into_iter()
            .zip(expected.counts())
            .skip(1)
            .all(|((_, sum), (_, one))| sum == 2 * one);
        assert!(counts, "{merged:?}");
        let answers = &fast.answers[0];
        assert_eq!((answers.sent, answers.rejected()), (12, 4));
        assert_eq!((fast.closes[&4001], fast.turned_away), (10, 14));
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
            accounted: vec![1, 2],
            ..Status::default()
        };
        one.merge(&other);
        assert_eq!((one.done_ns, one.ready, &one.sent[..]), (Some(9), 5, &[7][..]));
        assert_eq!(one.accounted, [1, 2]);
        assert_eq!(Status::from_json(&one.to_json()), Some(one.clone()));
        one.merge(&Status::default());
        assert_eq!(one.done_ns, None);
    }
}

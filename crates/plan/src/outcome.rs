//! What one run of a network came to.
//!
//! Counts and histograms, never averages of percentiles: runs are merged by adding them up
//! ([`Outcome::merge`]), and everything that is reported is read from the sum.

use serde::Serialize;

use crate::{histogram::Histogram, network::Stage};

/// See the module.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outcome {
    /// Runs that were added up.
    pub runs: u32,
    /// Length of one, seconds.
    pub length: f64,
    pub classes: Vec<ClassOutcome>,
    pub stations: Vec<StationOutcome>,
    pub minutes: Vec<Minute>,
    pub reconnect_s: Histogram,
    pub bad: BadTime,
    /// User-seconds in which users wanted to be connected.
    pub wanted_s: f64,
    pub connects: f64,
    pub connects_failed: f64,
    pub connected_mean: f64,
    pub connected_max: f64,
    pub usage: Usage,
    /// Share of the time that was simulated event by event; 1 if all was, 0 of the fluid.
    pub sampled_share: f64,
    /// Station visits that were simulated.
    pub visits: f64,
    /// Slowest first; a few of each hour.
    pub worst: Vec<Ledger>,
    /// What happened, by time.
    pub marks: Vec<Mark>,
}

/// One class of events.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ClassOutcome {
    pub name: String,
    pub published: f64,
    /// Refused or timed out after all tries.
    pub failed: f64,
    pub retried: f64,
    pub delivered: f64,
    /// A newer one took its place.
    pub conflated: f64,
    /// Missed for good by a receiver.
    pub lost: f64,
    /// Delivered later than its hard deadline.
    pub late: f64,
    /// Publish to deliver, seconds.
    pub latency_s: Histogram,
    /// Until what follows on its own was done: jobs.
    pub lag_s: Histogram,
    /// Seconds in each stage: waits and service of sampled events, and the same of those near each percentile.
    pub waits: Vec<StageWait>,
}

/// Seconds in one stage, in sum over sampled events.
#[derive(Debug, Clone, Serialize)]
pub struct StageWait {
    pub stage: Stage,
    /// All sampled events.
    pub all_s: f64,
    /// Those between the 93rd and 97th percentile of their class: those a p95 is made of.
    pub near_p95_s: f64,
    /// Those above the 99th.
    pub beyond_p99_s: f64,
}

/// One station.
#[derive(Debug, Clone, Default, Serialize)]
pub struct StationOutcome {
    pub name: String,
    pub visits: f64,
    /// Refused for want of room, or given up by the caller.
    pub refused: f64,
    pub timed_out: f64,
    pub busy_share: f64,
    /// Of its minutes, the 99th percentile, and the worst.
    pub busy_p99_minute: f64,
    pub busy_max_minute: f64,
    pub waiting_max: f64,
    pub machine_seconds: f64,
    pub memory_max: f64,
    pub wait_s: Histogram,
}

/// One minute of the run: what charts show.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Minute {
    pub wanted: f64,
    pub connected: f64,
    pub published: f64,
    pub delivered: f64,
    pub failed: f64,
    /// User-seconds that were bad.
    pub bad_s: f64,
    /// Of all deliveries, seconds: p50, p95, p99; 0 without any.
    pub latency_s: [f64; 3],
    /// Utilisation of each station, and what waits there at most.
    pub busy: Vec<f32>,
    pub waiting: Vec<f32>,
    pub machines: Vec<u32>,
}

/// User-seconds that were bad, by what they were lost to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct BadTime {
    pub disconnected_s: f64,
    pub refused_s: f64,
    pub late_s: f64,
    /// Requests, for a contract that weighs by them.
    pub bad_requests: f64,
    pub requests: f64,
    /// Seconds of the clock in which 5 % of the users were worse off.
    pub bad_clock_s: f64,
}

/// What the bill is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Usage {
    pub egress_bytes: f64,
    pub interzone_bytes: f64,
    pub connections_new: f64,
    pub connection_seconds: f64,
    pub queue_jobs: f64,
    pub messages: f64,
    pub stored_bytes: f64,
}

/// One event, and where it waited.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ledger {
    pub at_s: f64,
    pub class: u32,
    pub latency_s: f64,
    pub receivers: f64,
    pub stays: Vec<Stay>,
}

/// A stay in one stage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Stay {
    pub stage: Stage,
    /// None of the network.
    pub station: Option<u32>,
    pub waited_s: f64,
    pub served_s: f64,
    /// Those who were there before it.
    pub ahead: u32,
}

/// Something happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mark {
    pub at_s: f64,
    pub what: String,
}

impl Outcome {
    /// Adds another run of the same network.
    pub fn merge(&mut self, other: &Self) {
        if self.runs == 0 {
            *self = other.clone();
            return;
        }
        self.runs += other.runs;
        for (class, other) in self.classes.iter_mut().zip(&other.classes) {
            class.merge(other);
        }
        for (station, other) in self.stations.iter_mut().zip(&other.stations) {
            station.merge(other);
        }
        self.reconnect_s.merge(&other.reconnect_s);
        self.bad.add(&other.bad);
        self.wanted_s += other.wanted_s;
        self.connects += other.connects;
        self.connects_failed += other.connects_failed;
        let share = f64::from(other.runs) / f64::from(self.runs);
        self.connected_mean += (other.connected_mean - self.connected_mean) * share;
        self.connected_max = self.connected_max.max(other.connected_max);
        self.usage.add(&other.usage);
        self.sampled_share += (other.sampled_share - self.sampled_share) * share;
        self.visits += other.visits;
        self.worst.extend(other.worst.iter().cloned());
        self.worst.sort_by(|a, b| b.latency_s.total_cmp(&a.latency_s));
        self.worst.truncate(WORST_MAX);
    }

    /// Share of the time that was good, as a contract weighs it.
    pub fn uptime(&self, weigh: crate::plan::Weigh) -> f64 {
        use crate::plan::Weigh;
        let (bad, all) = match weigh {
            Weigh::UserMinutes => {
                let bad = self.bad.disconnected_s + self.bad.refused_s + self.bad.late_s;
                (bad, self.wanted_s)
            }
            Weigh::Requests => (self.bad.bad_requests, self.bad.requests),
            Weigh::Time => (self.bad.bad_clock_s, self.length * f64::from(self.runs)),
        };
        if all > 0.0 {
            (1.0 - bad / all).clamp(0.0, 1.0)
        } else {
            1.0
        }
    }

    /// Latency of a class, or of all together, at a percentile: seconds; none if nothing was delivered.
    pub fn latency(&self, class: Option<&str>, percentile: f64) -> Option<f64> {
        let mut all = Histogram::default();
        for each in &self.classes {
            if class.is_none_or(|class| each.name == class) {
                all.merge(&each.latency_s);
            }
        }
        all.quantile(percentile)
    }
}

/// Slowest events kept of one run, or of many.
pub const WORST_MAX: usize = 400;

impl ClassOutcome {
    fn merge(&mut self, other: &Self) {
        self.published += other.published;
        self.failed += other.failed;
        self.retried += other.retried;
        self.delivered += other.delivered;
        self.conflated += other.conflated;
        self.lost += other.lost;
        self.late += other.late;
        self.latency_s.merge(&other.latency_s);
        self.lag_s.merge(&other.lag_s);
        for (wait, other) in self.waits.iter_mut().zip(&other.waits) {
            wait.all_s += other.all_s;
            wait.near_p95_s += other.near_p95_s;
            wait.beyond_p99_s += other.beyond_p99_s;
        }
    }
}

impl StationOutcome {
    fn merge(&mut self, other: &Self) {
        let visits = self.visits + other.visits;
        self.busy_share = (self.busy_share * self.machine_seconds + other.busy_share * other.machine_seconds)
            / (self.machine_seconds + other.machine_seconds).max(f64::MIN_POSITIVE);
        self.visits = visits;
        self.refused += other.refused;
        self.timed_out += other.timed_out;
        // The worst of several runs is told, not their mean.
        self.busy_p99_minute = self.busy_p99_minute.max(other.busy_p99_minute);
        self.busy_max_minute = self.busy_max_minute.max(other.busy_max_minute);
        self.waiting_max = self.waiting_max.max(other.waiting_max);
        self.machine_seconds += other.machine_seconds;
        self.memory_max = self.memory_max.max(other.memory_max);
        self.wait_s.merge(&other.wait_s);
    }
}

impl BadTime {
    fn add(&mut self, other: &Self) {
        self.disconnected_s += other.disconnected_s;
        self.refused_s += other.refused_s;
        self.late_s += other.late_s;
        self.bad_requests += other.bad_requests;
        self.requests += other.requests;
        self.bad_clock_s += other.bad_clock_s;
    }
}

impl Usage {
    fn add(&mut self, other: &Self) {
        self.egress_bytes += other.egress_bytes;
        self.interzone_bytes += other.interzone_bytes;
        self.connections_new += other.connections_new;
        self.connection_seconds += other.connection_seconds;
        self.queue_jobs += other.queue_jobs;
        self.messages += other.messages;
        self.stored_bytes += other.stored_bytes;
    }
}

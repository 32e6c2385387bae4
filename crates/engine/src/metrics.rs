//! What the engine counts: written by its thread, copied by whoever asks.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hdrhistogram::Histogram;

use tidegate_core::admission::Scope;

use crate::Health;

/// Quantiles of a time or a size since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Quantiles {
    /// How many were recorded.
    pub count: u64,
    /// Their sum: seconds, or items.
    pub sum: f64,
    /// Half were at most this.
    pub p50: f64,
    /// 95 % were at most this.
    pub p95: f64,
    /// 99 % were at most this.
    pub p99: f64,
    /// The greatest.
    pub max: f64,
}

/// A copy of everything counted.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Publications ordered.
    pub publications_total: u64,
    /// Publishes answered as duplicates.
    pub duplicates_total: u64,
    /// Publishes rejected.
    pub rejects_total: u64,
    /// Of them, for want of a token, in the order of [`Scope::ALL`].
    pub exceeded_total: [u64; Scope::ALL.len()],
    /// Events handed to ports.
    pub events_total: u64,
    /// Groups handled.
    pub groups_total: u64,
    /// Times writing failed.
    pub failures_total: u64,
    /// Requests waiting now.
    pub requests_waiting: u64,
    /// Rooms in memory now.
    pub rooms: u64,
    /// Members listed now.
    pub members: u64,
    /// Bytes of recent publications and message ids in memory now.
    pub memory_bytes: u64,
    /// Keys of the state of rooms in memory now.
    pub state_keys: u64,
    /// Bytes of their publications.
    pub state_bytes: u64,
    /// Keys that went because there were too many, or too many bytes.
    pub state_evicted_total: u64,
    /// Keys that went because of their age.
    pub state_expired_total: u64,
    /// Publications per group.
    pub group_size: Quantiles,
    /// Seconds to append a group.
    pub append_seconds: Quantiles,
    /// Seconds of fdatasync.
    pub sync_seconds: Quantiles,
}

/// Shared between the engine's thread and its watchers. Locked once per group, by the
/// engine, and once per scrape.
pub(crate) struct Shared {
    pub(crate) publications: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) rejects: AtomicU64,
    exceeded: [AtomicU64; Scope::ALL.len()],
    pub(crate) events: AtomicU64,
    pub(crate) groups: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) waiting: AtomicU64,
    pub(crate) rooms: AtomicU64,
    pub(crate) members: AtomicU64,
    pub(crate) memory_bytes: AtomicU64,
    pub(crate) state_keys: AtomicU64,
    pub(crate) state_bytes: AtomicU64,
    pub(crate) state_evicted: AtomicU64,
    pub(crate) state_expired: AtomicU64,
    recorded: Mutex<Recorded>,
}

struct Recorded {
    health: Health,
    group_size: Series,
    append: Series,
    sync: Series,
}

struct Series {
    histogram: Histogram<u64>,
    sum: u64,
}

impl Series {
    fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, 60_000_000_000, 2);
        Self {
            histogram: histogram.expect("constant bounds"),
            sum: 0,
        }
    }

    fn record(&mut self, value: u64) {
        self.sum += value;
        self.histogram.saturating_record(value.max(1));
    }

    fn quantiles(&self, unit: f64) -> Quantiles {
        let at = |quantile| self.histogram.value_at_quantile(quantile) as f64 * unit;
        Quantiles {
            count: self.histogram.len(),
            sum: self.sum as f64 * unit,
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            max: self.histogram.max() as f64 * unit,
        }
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            publications: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            rejects: AtomicU64::new(0),
            exceeded: Default::default(),
            events: AtomicU64::new(0),
            groups: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            rooms: AtomicU64::new(0),
            members: AtomicU64::new(0),
            memory_bytes: AtomicU64::new(0),
            state_keys: AtomicU64::new(0),
            state_bytes: AtomicU64::new(0),
            state_evicted: AtomicU64::new(0),
            state_expired: AtomicU64::new(0),
            recorded: Mutex::new(Recorded {
                health: Health::Ready,
                group_size: Series::new(),
                append: Series::new(),
                sync: Series::new(),
            }),
        }
    }
}

impl Shared {
    pub(crate) fn health(&self) -> Health {
        self.recorded().health.clone()
    }

    pub(crate) fn set_health(&self, health: Health) {
        self.recorded().health = health;
    }

    /// What the engine's thread has refused for want of tokens.
    pub(crate) fn set_exceeded(&self, totals: &[u64; Scope::ALL.len()]) {
        for (shared, total) in self.exceeded.iter().zip(totals) {
            shared.store(*total, Ordering::Relaxed);
        }
    }

    /// A group that wrote something.
    pub(crate) fn record_group(&self, publications: u64, append: Duration, sync: Option<Duration>) {
        let mut recorded = self.recorded();
        recorded.group_size.record(publications);
        recorded.append.record(append.as_nanos() as u64);
        if let Some(sync) = sync {
            recorded.sync.record(sync.as_nanos() as u64);
        }
    }

    pub(crate) fn metrics(&self) -> Metrics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let recorded = self.recorded();
        Metrics {
            publications_total: read(&self.publications),
            duplicates_total: read(&self.duplicates),
            rejects_total: read(&self.rejects),
            exceeded_total: std::array::from_fn(|scope| read(&self.exceeded[scope])),
            events_total: read(&self.events),
            groups_total: read(&self.groups),
            failures_total: read(&self.failures),
            requests_waiting: read(&self.waiting),
            rooms: read(&self.rooms),
            members: read(&self.members),
            memory_bytes: read(&self.memory_bytes),
            state_keys: read(&self.state_keys),
            state_bytes: read(&self.state_bytes),
            state_evicted_total: read(&self.state_evicted),
            state_expired_total: read(&self.state_expired),
            group_size: recorded.group_size.quantiles(1.0),
            append_seconds: recorded.append.quantiles(1e-9),
            sync_seconds: recorded.sync.quantiles(1e-9),
        }
    }

    fn recorded(&self) -> std::sync::MutexGuard<'_, Recorded> {
        self.recorded
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

//! What one shard counts: plain numbers of its own, copied out on a scrape and summed.

use tidegate_wire::{CloseReason, RejectCode};

use crate::admission::{Class, Limiter, Scope, Table};

/// Counts since the start (and, where said, of now) of one shard.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// Sessions open now.
    pub connections: u64,
    /// Sessions opened.
    pub connections_total: u64,
    /// Rooms with a subscriber here now.
    pub rooms: u64,
    /// Rooms that ask for more than their policy's share of the shard's time now.
    pub hot_rooms: u64,
    /// Times a room became hot.
    pub hot_rooms_total: u64,
    /// Subscriptions now.
    pub subscriptions: u64,
    /// Commands received.
    pub commands_total: u64,
    /// Publications fanned out here.
    pub publications_total: u64,
    /// Publications put into outboxes, one per subscriber.
    pub deliveries_total: u64,
    /// Publications that a subscriber did not get because a newer one of their key was there: lane `latest`.
    pub conflated_total: u64,
    /// Publications that a subscriber did not get because they were too old, or too many: lane `lossy`.
    pub dropped_total: u64,
    /// Publications replayed on a join.
    pub replayed_total: u64,
    /// Keys of rooms' states given to those who joined.
    pub state_sent_total: u64,
    /// Gaps told.
    pub gaps_total: u64,
    /// Sessions now that have a slot, and are being sent away.
    pub leaving: u64,
    /// Slots told.
    pub slots_told_total: u64,
    /// Bytes waiting in all outboxes now.
    pub outbox_bytes: u64,
    /// Rejects, in the order of [`RejectCode::ALL`].
    pub rejects_total: [u64; RejectCode::ALL.len()],
    /// Closes by the server, in the order of [`CloseReason::ALL`].
    pub closes_total: [u64; CloseReason::ALL.len()],
    /// Closes with RFC 6455's own numbers, and sockets that just ended.
    pub closes_other_total: u64,
}

/// One adaptive limit: how it stands, and what it did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitCounters {
    /// Most that may be under way now; 0 without a limit.
    pub limit: u64,
    /// Under way now.
    pub in_flight: u64,
    /// Waiting for a place now.
    pub waiting: u64,
    /// How long the last ones took, nanoseconds.
    pub latency_ns: u64,
    /// Those that had to wait.
    pub waited_total: u64,
    /// Those that were refused.
    pub refused_total: u64,
    /// Times the latency without a queue was measured.
    pub probes_total: u64,
}

impl LimitCounters {
    /// What a limiter tells; it has no line to wait in.
    pub fn of(limiter: &Limiter) -> Self {
        Self {
            limit: limiter.limit().into(),
            in_flight: limiter.in_flight().into(),
            waiting: 0,
            latency_ns: limiter.latency().as_nanos() as u64,
            waited_total: 0,
            refused_total: limiter.refused_total,
            probes_total: limiter.probes_total,
        }
    }
}

/// What a shard's admission counts.
#[derive(Debug, Clone, Default)]
pub struct GateCounters {
    /// Publishes, and reads of history.
    pub limits: [LimitCounters; 2],
    /// Refused for want of a token, in the order of [`Scope::ALL`].
    pub exceeded_total: [u64; Scope::ALL.len()],
    /// Buckets.
    pub buckets: Table,
    /// Refused, or left out, by class.
    pub shed_total: [u64; Class::SHEDDABLE.len()],
    /// 1 for each class that is refused now.
    pub is_shedding: [u64; Class::SHEDDABLE.len()],
}

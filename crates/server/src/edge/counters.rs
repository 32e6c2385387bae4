//! What the edge counts: plain numbers of one shard, and the acceptor's shared ones.

use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;
use tidegate_core::LimitCounters;

/// Declares a closed set of labels.
macro_rules! labels {
    ($(#[$doc:meta])* $type:ident { $($(#[$vdoc:meta])* $variant:ident $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $type { $($(#[$vdoc])* $variant),* }

        impl $type {
            /// Every one, in the order of the counters' arrays.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// Returns the label's value.
            pub fn name(self) -> &'static str { match self { $(Self::$variant => $name),* } }
        }
    };
}

labels! {
    /// Why a socket was refused right after it was accepted.
    Refusal {
        /// `connections_max` is reached.
        ConnectionsMax "connections_max",
        /// The process or the system has no descriptor left.
        Descriptors "descriptors",
        /// As many from its address as may be.
        AddressMax "address_max",
        /// Its address connects too often.
        AddressRate "address_rate",
        /// Every shard has too many new sockets waiting.
        ShardsBusy "shards_busy",
    }
}

labels! {
    /// Why a connection ended before it became a session.
    HandshakeFailure {
        /// The request head did not come in time.
        Timeout "timeout",
        /// Too many were half open: the oldest gave way.
        TooManyHalfOpen "too_many_half_open",
        /// The socket ended.
        Gone "gone",
        /// TLS failed.
        Tls "tls",
        /// Not HTTP.
        Malformed "malformed",
        /// The head is above its bound.
        TooLarge "too_large",
        /// The origin is not allowed.
        Origin "origin",
        /// No such WebSocket.
        NotFound "not_found",
        /// Another version of WebSocket than 13, or no upgrade where one is needed.
        Upgrade "upgrade",
        /// No subprotocol that we speak.
        Subprotocol "subprotocol",
        /// `sessions_max` is reached.
        SessionsMax "sessions_max",
        /// More handshakes than can be served.
        Overloaded "overloaded",
        /// The server is short of memory.
        Shed "shed",
        /// The server sends its clients away, and takes no others.
        Draining "draining",
        /// The back office has too many connections waiting.
        BackOfficeBusy "back_office_busy",
    }
}

/// Counts since the start (and, where said, of now) of one shard's edge.
#[derive(Debug, Clone)]
pub struct EdgeCounters {
    /// Sockets now, whatever their state.
    pub sockets: u64,
    /// Sockets now whose handshake is not complete.
    pub half_open: u64,
    /// WebSockets opened.
    pub upgrades_total: u64,
    /// Connections given to the back office.
    pub handed_over_total: u64,
    /// The limit of handshakes.
    pub handshakes: LimitCounters,
    /// Handshakes that failed, in the order of [`HandshakeFailure::ALL`].
    pub handshakes_failed_total: [u64; HandshakeFailure::ALL.len()],
    /// Bytes read from sockets.
    pub read_bytes_total: u64,
    /// System calls that read.
    pub reads_total: u64,
    /// Bytes written to sockets.
    pub written_bytes_total: u64,
    /// System calls that wrote.
    pub writes_total: u64,
    /// Of those, how many the kernel did not take whole.
    pub writes_blocked_total: u64,
    /// Turns.
    pub turns_total: u64,
    /// How long turns took, without the sleep: microseconds.
    pub turn_us: Histogram<u64>,
}

impl Default for EdgeCounters {
    fn default() -> Self {
        // A turn above ten seconds counts as ten: the histogram's size is bounded.
        let turn_us = Histogram::new_with_bounds(1, 10_000_000, 2).expect("the bounds are valid");
        Self {
            sockets: 0,
            half_open: 0,
            upgrades_total: 0,
            handed_over_total: 0,
            handshakes: LimitCounters::default(),
            handshakes_failed_total: Default::default(),
            read_bytes_total: 0,
            reads_total: 0,
            written_bytes_total: 0,
            writes_total: 0,
            writes_blocked_total: 0,
            turns_total: 0,
            turn_us,
        }
    }
}

impl EdgeCounters {
    /// Counts a handshake that failed.
    pub fn fail(&mut self, failure: HandshakeFailure) {
        self.handshakes_failed_total[failure as usize] += 1;
    }
}

/// What the acceptor counts; read by a scrape while it runs.
#[derive(Debug, Default)]
pub struct AcceptCounters {
    /// Sockets accepted.
    pub accepted_total: AtomicU64,
    /// Buckets of addresses.
    pub buckets: [AtomicU64; 3],
    /// Sockets refused, in the order of [`Refusal::ALL`].
    pub refused_total: [AtomicU64; Refusal::ALL.len()],
}

impl AcceptCounters {
    /// Counts a socket that was refused.
    pub fn refuse(&self, refusal: Refusal) {
        self.refused_total[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }
}

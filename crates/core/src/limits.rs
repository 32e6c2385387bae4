//! Every bound of a shard: its value, its reason, what happens when it is reached.

use std::time::Duration;

/// The bounds of one shard. All of them can be set in the configuration, `[limits]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Sessions on this shard; beyond it `handle_open` refuses.
    pub sessions_max: usize,
    /// Largest message from a client, bytes; the edge closes with 1009 beyond it.
    pub frame_bytes_max: usize,
    /// Time from the upgrade to `connect`; then closed, `handshake_timeout`.
    pub connect_timeout: Duration,
    /// Rooms one connection may join; beyond it rejected, `limit`.
    pub rooms_max: usize,
    /// Commands of one connection that wait for the engine; beyond it rejected, `rate_limited`.
    pub in_flight_max: u32,
    /// Commands held while a token is being verified; beyond it closed, `flood`.
    pub held_commands_max: usize,
    /// Requests of the whole shard that wait for the engine; beyond it publishes and joins are rejected, `overloaded`.
    pub requests_max: usize,
    /// Bytes waiting in one outbox; beyond it closed, `too_slow`. Times `sessions_max` this is most of our memory.
    pub outbox_bytes_max: usize,
    /// How long the newest frame waiting in one outbox will have waited, at the reader's measured rate, and how long the
    /// oldest may have waited; beyond it closed, `too_slow`.
    pub outbox_age_max: Duration,
    /// The same, beyond which what may be left out for this reader is left out.
    pub outbox_age_soft: Duration,
    /// Time without an answer from the engine; then rejected, `timeout`.
    pub request_timeout: Duration,
    /// How long a room stays attached (and its window in memory) after its last subscriber left.
    pub room_linger: Duration,
    /// Rooms of the whole shard, lingering ones included; beyond it an idle one goes, or joins are rejected, `overloaded`.
    pub rooms_total_max: usize,
    /// Bytes of all rooms' windows together; beyond it windows are halved, one room after the other.
    pub windows_bytes_max: usize,
    /// Bytes of publications still to be fanned out; beyond it the engine's events wait.
    pub pending_bytes_max: usize,
    /// How long before its token's expiry a client is asked to refresh.
    pub refresh_ahead: Duration,
    /// WebSocket pings, told to clients in `connect`.
    pub ping_interval: Duration,
    /// Upper end of a client's random wait before the first reconnect.
    pub reconnect_window: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions_max: 1 << 20,
            frame_bytes_max: 64 << 10,
            connect_timeout: Duration::from_secs(10),
            rooms_max: 100,
            in_flight_max: 32,
            held_commands_max: 64,
            requests_max: 65_536,
            outbox_bytes_max: 1 << 20,
            outbox_age_max: Duration::from_secs(5),
            outbox_age_soft: Duration::from_secs(1),
            request_timeout: Duration::from_secs(5),
            room_linger: Duration::from_secs(30),
            rooms_total_max: 500_000,
            windows_bytes_max: 256 << 20,
            pending_bytes_max: 64 << 20,
            refresh_ahead: Duration::from_secs(30),
            ping_interval: Duration::from_secs(25),
            reconnect_window: Duration::from_secs(2),
        }
    }
}

//! What must hold for a shard: its bounds after every turn, its fairness, its emptiness at rest.

use tidegate_core::{Lane, Moment, shard::RoomOrder};
use tidegate_wire::{Offset, RoomName};

use super::{Node, Outside};
use crate::{
    checks::{Violation, broken},
    network::Stamp,
    view::rest_max,
};

/// How often all subscriptions of a shard may be visited while a publication waits for one of
/// them: the walk under way and the next, with the quarter of the visits that is kept for those.
const WALKS_MAX: u64 = 8;

/// Above this many connections each of them is looked at only now and then.
const LOOK_AT_ALL_MAX: usize = 64;

/// Bytes that the state of a room may have in memory: those of all its keys, with their index.
const STATE_MAX: usize = 64 << 10;

impl Node {
    /// The bounds, after every turn.
    pub(super) fn check(&mut self, now: Moment, outside: &Outside<'_>) -> Result<(), Violation> {
        if let Some(violation) = self.found.take() {
            return Err(violation);
        }
        self.check_shed(now)?;
        self.check_lines()?;
        let limits = &self.setup.limits;
        let waiting = self.shard.waiting();
        if waiting.sessions != self.links.len() {
            let detail = format!("{} sessions, {} links", waiting.sessions, self.links.len());
            return broken("sessions", detail);
        }
        // States that are being read, or are being given to someone, stay.
        let has_state = |room: &&RoomName| {
            self.promised
                .of(room)
                .is_some_and(|policy| policy.state.is_some())
        };
        let states = self.asked.keys().filter(has_state).count() * STATE_MAX;
        if waiting.feeds_bytes > limits.windows_bytes_max + waiting.pending_bytes + states {
            return broken("windows", format!("{waiting:?}"));
        }
        let window = self.setup.policies.iter().map(|policy| policy.window_bytes).max();
        if waiting.pending_bytes > limits.pending_bytes_max + window.unwrap_or(0) + (16 << 10) {
            return broken("pending", format!("{waiting:?}"));
        }
        let exits = (self.links.len() + 64) * limits.rooms_max;
        if waiting.requests > limits.requests_max + exits {
            return broken("requests", format!("{waiting:?}"));
        }
        if self.links.len() > LOOK_AT_ALL_MAX && !self.turns.is_multiple_of(256) {
            return Ok(());
        }
        let mut bytes = 0;
        for (conn, link) in &self.links {
            let waits = self.shard.outbox_bytes(*conn);
            bytes += waits;
            // Only a first frame may be larger than the bound.
            if waits > limits.outbox_bytes_max + limits.frame_bytes_max {
                return broken("outbox", format!("{waits} bytes for {conn:?}"));
            }
            if waits > 0 && !self.blocked.contains(conn) && self.writable.is_empty() {
                return broken(
                    "flush",
                    format!("{waits} bytes wait for {conn:?}, and nobody will write them"),
                );
            }
            let is_stuck = self.blocked.contains(conn) && !outside.network.is_full(*link);
            if is_stuck && !self.writable.contains(conn) {
                return broken("flush", format!("{conn:?} is blocked, its link has place"));
            }
        }
        if bytes as u64 != self.shard.counters().outbox_bytes {
            let counted = self.shard.counters().outbox_bytes;
            return broken("counters", format!("{bytes} bytes wait, {counted} are counted"));
        }
        Ok(())
    }

    /// Nobody waits for a place while there is one, and no more wait than may.
    fn check_lines(&self) -> Result<(), Violation> {
        for limit in self.shard.gate_counters().limits {
            let is_free = limit.waiting > 0 && limit.in_flight < limit.limit;
            if is_free || limit.waiting > self.setup.limits.requests_max as u64 {
                return broken("line", format!("{limit:?}"));
            }
        }
        Ok(())
    }

    /// Whether a publication that was put out to its subscriber at `stamp` was in time: in
    /// `reliable` with all subscribers of the shard visited at most so often in between, in
    /// `lossy` before its deadline.
    pub fn check_in_time(
        &self,
        room: &RoomName,
        offset: Offset,
        lane: Option<Lane>,
        stamp: Stamp,
    ) -> Result<u64, Violation> {
        let (Some((visits, at)), Some(policy)) =
            (self.born.get(&(room.clone(), offset)), self.promised.of(room))
        else {
            return Ok(0);
        };
        let age = stamp.at.since(*at);
        let lane = lane.map_or(policy.lane, |lane| lane.max(policy.lane));
        if lane == Lane::Lossy && age > policy.deadline {
            let detail = format!("{room:?} {offset} was put out after {age:?}");
            return broken("deadline", detail);
        }
        // Where less is promised it may have been behind until now; and a room may rest.
        if lane != Lane::Reliable || !rest_max(policy).is_zero() {
            return Ok(0);
        }
        let waited = stamp.visits.saturating_sub(*visits);
        let subscriptions = self.subscriptions_max as u64;
        match waited <= WALKS_MAX * subscriptions + self.pace.visits as u64 {
            true => Ok(waited),
            false => broken(
                "starvation",
                format!(
                    "{room:?} {offset} waited for {waited} visits; there are {subscriptions} subscriptions"
                ),
            ),
        }
    }

    /// At rest nothing waits.
    pub fn check_at_rest(&self) -> Result<(), Violation> {
        let waiting = self.shard.waiting();
        let held = self.shard.gate_counters().limits;
        if held.iter().any(|limit| limit.in_flight + limit.waiting > 0) {
            return broken("places", format!("nothing is under way: {held:?}"));
        }
        // What nobody is in any more has been detached.
        let joined = self
            .shard
            .rooms("", "", RoomOrder::Name, usize::MAX, Moment(0))
            .len() as u64;
        if joined != self.shard.counters().rooms {
            let detail = format!("{joined} rooms are joined, {} held", self.shard.counters().rooms);
            return broken("idle rooms", detail);
        }
        let is_empty = waiting.requests == 0 && waiting.tickets == 0 && waiting.pending_bytes == 0;
        let is_written = waiting.frames == 0 && self.shard.counters().outbox_bytes == 0;
        if !is_empty || !is_written || !self.events.is_empty() || self.shard.has_fan_out() {
            return broken("rest", format!("something waits: {waiting:?}"));
        }
        Ok(())
    }

    /// When everyone went, nothing is held for them.
    pub fn check_gone(&self) -> Result<(), Violation> {
        self.check_at_rest()?;
        let (waiting, counters) = (self.shard.waiting(), self.shard.counters());
        let is_empty = waiting.sessions == 0 && waiting.feeds_bytes == 0;
        match is_empty && counters.rooms == 0 && counters.subscriptions == 0 {
            true => Ok(()),
            false => broken("gone", format!("{waiting:?} {counters:?}")),
        }
    }
}

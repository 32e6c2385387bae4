//! Sending sessions away without a storm: each is told its slot, the time at which it is
//! to come back, and slots are spread evenly over a window.
//!
//! ```text
//!   drain, rebalance ─► a slot for each ─► told, a few at a time ─┬─ elsewhere: served until its slot ─┐
//!                                                                 └─ here ─────────────────────────────┴─► parting ─► closed
//! ```
//!
//! A session that parts begins nothing more, and is closed once what it asked before is answered: a publish
//! without an answer would leave its publisher in doubt.
//!
//! A shard knows only itself. It takes its own sessions for the same share of the server's
//! as any other shard has, so that slots of all shards interleave without a word between
//! them. What a client does with its slot is told in docs/protocol.md.

use std::{collections::VecDeque, time::Duration};

use tidegate_wire::{
    CloseReason, Reject, RejectCode,
    frame::{Notice, Push},
};

use crate::{
    moment::Moment,
    shard::{ConnId, Shard, Timer, conn_id},
};

/// Sessions told in one step: about a millisecond's work, so that deliveries go on between.
const TOLD_PER_STEP: usize = 128;
/// Between two steps.
const STEP: Duration = Duration::from_millis(1);

/// Where those who are sent away can come back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComeBack {
    /// To another process: each is served on until its slot, then closed.
    Elsewhere,
    /// To the process that replaces this one: all are closed now, and come back at their slots.
    Here {
        /// How long after now the first slot is: the other process has to start first.
        first_slot: Duration,
        /// How long the engine's answers to what was asked before are waited for.
        patience: Duration,
    },
}

/// How fast clients are to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pacing {
    /// The longest time over which slots are spread.
    pub within: Duration,
    /// Clients that come back each second, of the whole server; above it only where `within` is too short.
    pub per_second: u32,
    /// How many shards do the same now.
    pub shards: u16,
}

impl Pacing {
    /// The time over which so many sessions of one shard are spread.
    fn window(self, sessions: usize) -> Duration {
        let all = sessions as u64 * u64::from(self.shards.max(1));
        let needed_ns = u128::from(all) * 1_000_000_000 / u128::from(self.per_second.max(1));
        let within_ns = self.within.as_nanos();
        Duration::from_nanos(needed_ns.min(within_ns) as u64)
    }

    /// When the session of this place, of so many, is to come back: how long after the first slot.
    fn slot(self, shard: u16, place: usize, sessions: usize) -> Duration {
        let shards = u128::from(self.shards.max(1));
        let among_all = place as u128 * shards + u128::from(shard) % shards;
        let window_ns = self.window(sessions).as_nanos();
        Duration::from_nanos((window_ns * among_all / (sessions.max(1) as u128 * shards)) as u64)
    }
}

/// What came of an order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Slots {
    /// Sessions that are sent away.
    pub sessions: u32,
    /// The time over which they come back.
    pub window: Duration,
}

/// A shard's state of sending sessions away.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    /// Set for good when all are sent away; none where only some are, or nobody.
    come_back: Option<ComeBack>,
    /// Those who have a slot and have not been told yet.
    untold: VecDeque<ConnId>,
    /// Those who are closed when their answers are there, at the latest at this time.
    parting: Vec<(ConnId, Moment)>,
    /// That time, where all part together.
    parting_by: Moment,
    /// A step is planned.
    has_timer: bool,
}

/// Which sessions a share is made of: evenly spread over the table. Where a shard has a fraction of a
/// session to give, some shards round it up and some down, so that the sum is right.
#[derive(Debug, Clone, Copy)]
struct Picking {
    percent: u8,
    shard: u16,
    shards: u16,
}

impl Picking {
    fn picks(self, place: usize) -> bool {
        let shards = u64::from(self.shards);
        let ahead = u64::from(self.shard % self.shards) * 100;
        let up_to = |places: u64| (places * u64::from(self.percent) * shards + ahead) / (100 * shards);
        up_to(place as u64 + 1) > up_to(place as u64)
    }
}

impl Shard {
    /// Sends every session away, for good: no other is opened from now on.
    pub fn drain(&mut self, come_back: ComeBack, pacing: Pacing, now: Moment) -> Slots {
        if self.is_draining() {
            return Slots::default();
        }
        self.drain.come_back = Some(come_back);
        let first = match come_back {
            ComeBack::Elsewhere => now,
            ComeBack::Here { first_slot, patience } => {
                self.drain.parting_by = now + patience;
                // Who has a slot from before keeps it, but nobody is served until then.
                let told = self.sessions.iter().filter(|(_, session)| session.slot.is_some());
                let told = told.map(|(index, session)| (conn_id(index, session), now + patience));
                self.drain.parting = told.collect();
                now + first_slot
            }
        };
        let staying: Vec<ConnId> = self.staying().collect();
        self.send_away(&staying, pacing, first, now)
    }

    /// Sends away so many of a hundred sessions, evenly picked; the others notice nothing.
    pub fn rebalance(&mut self, percent: u8, pacing: Pacing, now: Moment) -> Slots {
        if self.is_draining() {
            return Slots::default();
        }
        let picking = Picking {
            percent: percent.min(100),
            shard: self.setup.index,
            shards: pacing.shards.max(1),
        };
        let picked: Vec<ConnId> = self
            .staying()
            .enumerate()
            .filter(|(place, _)| picking.picks(*place))
            .map(|(_, conn)| conn)
            .collect();
        self.send_away(&picked, pacing, now, now)
    }

    /// Whether all are being sent away.
    pub fn is_draining(&self) -> bool {
        self.drain.come_back.is_some()
    }

    /// Open sessions that have no slot.
    fn staying(&self) -> impl Iterator<Item = ConnId> {
        self.sessions
            .iter()
            .map(|(index, session)| (conn_id(index, session), session.slot))
            .filter(|(conn, slot)| slot.is_none() && self.is_open(*conn))
            .map(|(conn, _)| conn)
    }

    fn send_away(&mut self, conns: &[ConnId], pacing: Pacing, first: Moment, now: Moment) -> Slots {
        let count = conns.len();
        for (place, conn) in conns.iter().enumerate() {
            let slot = first + pacing.slot(self.setup.index, place, count);
            self.sessions[conn.index as usize].slot = Some(slot);
            self.drain.untold.push_back(*conn);
        }
        self.counters.leaving += count as u64;
        self.plan_step(now);
        Slots {
            sessions: count as u32,
            window: pacing.window(count),
        }
    }

    fn plan_step(&mut self, at: Moment) {
        let is_idle = self.drain.untold.is_empty() && self.drain.parting.is_empty();
        if !is_idle && !std::mem::replace(&mut self.drain.has_timer, true) {
            self.set_timer(at, Timer::Drain);
        }
    }

    /// Tells some, and closes those whose answers are there.
    pub(crate) fn on_drain_step(&mut self, now: Moment) {
        self.drain.has_timer = false;
        let is_here = matches!(self.drain.come_back, Some(ComeBack::Here { .. }));
        for _ in 0..TOLD_PER_STEP {
            let Some(conn) = self.drain.untold.pop_front() else {
                break;
            };
            if !self.is_open(conn) {
                continue;
            }
            let slot = self.sessions[conn.index as usize]
                .slot
                .expect("set with the queue");
            let in_ms = slot.since(now).as_millis() as u64;
            self.counters.slots_told_total += 1;
            self.push(conn, &Push::Notice(Notice::Draining { in_ms }), now);
            match is_here {
                true => self.drain.parting.push((conn, self.drain.parting_by)),
                false => self.set_timer(slot, Timer::Slot(conn)),
            }
        }
        self.part_with_answered(now);
        self.plan_step(now + STEP);
    }

    fn part_with_answered(&mut self, now: Moment) {
        let mut parting = std::mem::take(&mut self.drain.parting);
        parting.retain(|(conn, by)| {
            let is_waiting = self.is_open(*conn) && self.sessions[conn.index as usize].in_flight > 0;
            if is_waiting && now < *by {
                return true;
            }
            self.close(*conn, CloseReason::Shutdown, now);
            false
        });
        self.drain.parting = parting;
    }

    /// A session's slot has come.
    pub(crate) fn on_slot(&mut self, conn: ConnId, now: Moment) {
        if self.is_open(conn) {
            let by = now + self.setup.limits.request_timeout;
            self.drain.parting.push((conn, by));
            self.part_with_answered(now);
            self.plan_step(now + STEP);
        }
    }

    /// Why a command that begins something is not taken now, if so: what it began would have no end here.
    pub(crate) fn refuse_while_parting(&self, conn: ConnId, now: Moment) -> Option<Reject> {
        let slot = self.sessions[conn.index as usize].slot?;
        let is_here = matches!(self.drain.come_back, Some(ComeBack::Here { .. }));
        if !is_here && now < slot {
            return None;
        }
        let in_ms = u32::try_from(slot.since(now).as_millis()).unwrap_or(u32::MAX);
        let detail = "this connection ends; repeat it on the next";
        Some(Reject::retry(RejectCode::Draining, in_ms, detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn slots_of_all_shards_interleave_evenly() {
        let pacing = Pacing {
            within: MINUTE,
            per_second: 100,
            shards: 3,
        };
        let mut slots: Vec<Duration> = (0..3)
            .flat_map(|shard| (0..50).map(move |place| pacing.slot(shard, place, 50)))
            .collect();
        slots.sort();
        let expected: Vec<Duration> = (0..150).map(|n| Duration::from_millis(10) * n).collect();
        assert_eq!(slots, expected);
    }

    #[test]
    fn few_come_back_as_fast_as_they_may_and_many_within_the_time_given() {
        let pacing = Pacing {
            within: Duration::from_secs(30),
            per_second: 1_000,
            shards: 2,
        };
        assert_eq!(pacing.window(500), Duration::from_secs(1));
        assert_eq!(pacing.window(1_000_000), Duration::from_secs(30));
        assert_eq!(pacing.window(0), Duration::ZERO);
        let at_once = Pacing {
            within: Duration::ZERO,
            ..pacing
        };
        assert_eq!(at_once.slot(1, 7, 10), Duration::ZERO);
    }

    #[test]
    fn a_share_of_few_sessions_on_many_shards_is_that_share_of_all() {
        for (percent, shards, each, picked) in [
            (50, 2, 1, 1),
            (25, 8, 1, 2),
            (10, 4, 5, 2),
            (100, 3, 7, 21),
            (1, 1, 99, 0),
        ] {
            let sum: usize = (0..shards)
                .map(|shard| Picking {
                    percent,
                    shard,
                    shards,
                })
                .map(|picking| (0..each).filter(|place| picking.picks(*place)).count())
                .sum();
            assert_eq!(sum, picked, "{percent} % of {each} on each of {shards}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_slot_is_past_the_window_and_none_overflows(
            within_s in 0..=86_400u64,
            per_second in 0..=u32::MAX,
            shards in 0..=u16::MAX,
            shard in 0..=u16::MAX,
            sessions in 1..=(1usize << 24),
            part in 0.0..1.0f64,
        ) {
            let pacing = Pacing { within: Duration::from_secs(within_s), per_second, shards };
            let place = (sessions as f64 * part) as usize;
            let slot = pacing.slot(shard, place, sessions);
            let window = pacing.window(sessions);
            proptest::prop_assert!(window <= pacing.within);
            proptest::prop_assert!(slot < window || window.is_zero() && slot.is_zero());
            proptest::prop_assert!(pacing.slot(shard, sessions - 1, sessions) >= slot);
        }
    }
}

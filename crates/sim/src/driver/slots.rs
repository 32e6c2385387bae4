//! Sending away, seen from outside: what a shard was ordered to do, the slots that its clients were
//! told, and what it had taken from whom when it parted with them.

use std::{collections::BTreeMap, time::Duration};

use tidegate_core::{
    ConnId, Moment,
    drain::{ComeBack, Pacing},
};
use tidegate_wire::CloseReason;

use super::Node;
use crate::{
    checks::{Violation, broken},
    mutation::Mutation,
    network::{Network, Parting},
};

/// Slots of one second may be so many times those that were ordered.
const CROWDED: f64 = 1.5;

const SECOND: Duration = Duration::from_secs(1);

/// Slots are told in whole milliseconds.
pub const GRAIN: Duration = Duration::from_millis(1);

/// An order to send sessions away.
#[derive(Debug)]
struct Order {
    /// Slots are between these.
    from: Moment,
    to: Moment,
    per_second: f64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct SentAway {
    /// When this process began.
    since: Moment,
    orders: Vec<Order>,
    /// The slots that were told: how many at each time.
    slots: BTreeMap<Moment, u32>,
    /// Everyone is sent away until the server is replaced; answers are waited for until then.
    here_by: Option<Moment>,
    /// A planted bug: everyone is closed in the next turn.
    closes: bool,
}

impl SentAway {
    pub fn new(since: Moment) -> Self {
        Self {
            since,
            ..Self::default()
        }
    }
}

impl Node {
    /// Sends everyone away; false if that is under way.
    pub fn drain(&mut self, come_back: ComeBack, mut pacing: Pacing, now: Moment) -> bool {
        if self.shard.is_draining() {
            return false;
        }
        let mut from = now;
        if let ComeBack::Here { first_slot, patience } = come_back {
            from = now + first_slot;
            self.sent.here_by = Some(now + patience);
            self.sent.closes = self.planted.is(Mutation::PartUnanswered);
        } else {
            self.sent.closes = self.planted.is(Mutation::IgnoreSlot);
        }
        self.note_order(from, pacing);
        if self.planted.is(Mutation::SameSlots) {
            pacing.per_second = u32::MAX;
        }
        let forgets = come_back == ComeBack::Elsewhere && self.planted.is(Mutation::ForgetSession);
        match forgets {
            true => self.shard.rebalance(99, pacing, now),
            false => self.shard.drain(come_back, pacing, now),
        };
        true
    }

    /// Sends some away.
    pub fn rebalance(&mut self, percent: u8, pacing: Pacing, now: Moment) {
        self.note_order(now, pacing);
        self.shard.rebalance(percent, pacing, now);
    }

    fn note_order(&mut self, from: Moment, pacing: Pacing) {
        let paced = f64::from(pacing.per_second) / f64::from(pacing.shards);
        let needed = self.links.len() as f64 / pacing.within.as_secs_f64();
        self.sent.orders.push(Order {
            from,
            to: from + pacing.within,
            per_second: paced.max(needed),
        });
    }

    /// Planted bugs close those who are sent away before they should be.
    pub(super) fn plant_closes(&mut self, now: Moment) {
        if std::mem::take(&mut self.sent.closes) {
            for conn in self.links.keys() {
                self.shard.close(*conn, CloseReason::Shutdown, now);
            }
        }
    }

    /// A connection was closed.
    pub(super) fn note_parting(&self, conn: ConnId, now: Moment, network: &mut Network) {
        if let Some(link) = self.links.get(&conn) {
            let link = &mut network.links[*link];
            link.parting = Some(Parting {
                at: now,
                taken: link.taken,
                here_by: self.sent.here_by,
            });
        }
    }

    /// A client was told this slot, at `at`: it is within an order, and not one of too many.
    pub fn check_slot(&mut self, slot: Moment, at: Moment) -> Result<(), Violation> {
        let sent = &mut self.sent;
        if at < sent.since {
            return Ok(());
        }
        *sent.slots.entry(slot).or_default() += 1;
        if !sent
            .orders
            .iter()
            .any(|order| order.from <= slot + GRAIN && slot <= order.to)
        {
            return broken("slot", format!("{slot:?} is in none of {:?}", sent.orders));
        }
        let before = Moment(slot.0.saturating_sub(SECOND.as_nanos() as u64) + 1);
        for (from, to) in [(before, slot), (slot, slot + SECOND - GRAIN)] {
            let count: u32 = sent.slots.range(from..=to).map(|(_, count)| count).sum();
            let orders = sent
                .orders
                .iter()
                .filter(|order| order.from <= to + GRAIN && from <= order.to);
            let paced: f64 = orders.map(|order| order.per_second * CROWDED + 1.0).sum();
            if f64::from(count) > paced {
                return broken(
                    "slot",
                    format!("{count} slots between {from:?} and {to:?}: {:?}", sent.orders),
                );
            }
        }
        Ok(())
    }

    /// Everyone is sent away until another server takes this one's place.
    pub fn is_replaced(&self) -> bool {
        self.sent.here_by.is_some()
    }

    /// Everyone who was sent away is gone.
    pub fn check_drained(&self) -> Result<(), Violation> {
        match self.links.len() + self.shard.waiting().sessions {
            0 => Ok(()),
            _ => broken(
                "drained",
                format!("{} sessions are still there", self.links.len()),
            ),
        }
    }
}

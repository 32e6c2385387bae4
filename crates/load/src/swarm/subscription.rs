//! What one subscriber of one room has been given, and what it was told is left out.
//!
//! Every offset after the join is accounted for once: as delivered, as told by a `gap` or by the reply
//! to a join after a close, or as lost. A `gap` with a count comes before the publications it is about, so
//! it is a credit that the holes behind it are paid from; what is not used up when the connection
//! ends is given back, since the server begins from the last position then.

use std::rc::Rc;

use super::scan::{number_after, text_after};
use crate::{plan::Seat, tally::Received};

/// See the file.
pub(super) struct Subscription {
    pub(super) room: Rc<str>,
    pub(super) class: usize,
    pub(super) enters: bool,
    /// Sixteen hexadecimal digits; all zero before the first join.
    epoch: [u8; 16],
    /// All up to here is accounted for.
    last: u64,
    /// The room's head at the last join: what comes up to it is replayed.
    head: u64,
    /// Publications told to be left out whose holes have not come yet, and which kind.
    credit: u64,
    told: Told,
    /// Publications of a first join that are from before it.
    snapshot: u64,
    /// The last count of members heard.
    pub(super) members: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Conflated,
    Dropped,
}

/// What an event was.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Live,
    /// Replayed, given as a snapshot, or seen before.
    Other,
}

const NO_EPOCH: [u8; 16] = [0; 16];

impl Subscription {
    pub(super) fn new(seat: &Seat) -> Self {
        Self {
            room: seat.room.clone(),
            class: seat.class,
            enters: seat.enters,
            epoch: NO_EPOCH,
            last: 0,
            head: 0,
            credit: 0,
            told: Told::Dropped,
            snapshot: 0,
            members: 0,
        }
    }

    /// The join, from where it was left.
    pub(super) fn join(&self, id: u64) -> String {
        let room = &self.room;
        let since = match std::str::from_utf8(&self.epoch) {
            Ok(epoch) if self.epoch != NO_EPOCH => {
                format!(r#","since":{{"epoch":"{epoch}","offset":{}}}"#, self.last)
            }
            _ => String::new(),
        };
        let enter = if self.enters {
            r#","enter":true,"members":true"#
        } else {
            ""
        };
        format!(r#"{{"id":{id},"join":{{"room":"{room}"{since}{enter}}}}}"#)
    }

    /// The reply to a join.
    pub(super) fn on_joined(&mut self, reply: &[u8], received: &mut Received) {
        let number = |marker: &[u8]| number_after(reply, marker);
        let head = number(b"\"offset\":").unwrap_or(0);
        let replayed = number(b"\"replayed\":").unwrap_or(0);
        let epoch = text_after(reply, b"\"epoch\":\"").and_then(|text| text.try_into().ok());
        let epoch: [u8; 16] = epoch.unwrap_or(NO_EPOCH);
        self.on_members(reply);
        self.give_back(received);
        let was = std::mem::replace(&mut self.epoch, epoch);
        (self.head, self.snapshot) = (head, 0);
        if was == NO_EPOCH {
            (self.last, self.snapshot) = (head, replayed);
            return;
        }
        received.came_back += 1;
        // Who has seen nothing has lost nothing with the old epoch: the new one is due from its first publication.
        if was != epoch && self.last > 0 {
            received.new_epochs += 1;
            (self.last, self.snapshot) = (head, replayed);
            return;
        }
        match text_after(reply, b"\"recovery\":\"") {
            Some(b"gap") => {
                received.missed += head.saturating_sub(self.last);
                (self.last, self.snapshot) = (head, replayed);
            }
            // The newest of each key only: the others were conflated.
            Some(b"replay") => self.on_told(
                head.saturating_sub(self.last).saturating_sub(replayed),
                Told::Conflated,
                received,
            ),
            _ => {}
        }
    }

    /// A publication.
    pub(super) fn on_event(&mut self, offset: u64, received: &mut Received) -> Seen {
        if offset <= self.last {
            match offset <= self.head && self.snapshot > 0 {
                true => {
                    self.snapshot -= 1;
                    received.snapshots += 1;
                }
                // The same again, or late.
                false => received.doubled += 1,
            }
            return Seen::Other;
        }
        received.delivered += 1;
        let lost = self.pass(offset - 1, received);
        received.out_of_order += u64::from(lost > 0);
        self.last = offset;
        match offset <= self.head {
            true => {
                received.replayed += 1;
                Seen::Other
            }
            false => Seen::Live,
        }
    }

    pub(super) fn on_gap(&mut self, gap: &[u8], received: &mut Received) {
        let offset = number_after(gap, b"\"offset\":").unwrap_or(0);
        let count = number_after(gap, b"\"count\":").unwrap_or(0);
        match text_after(gap, b"\"reason\":\"") {
            Some(b"conflated") => self.on_told(count, Told::Conflated, received),
            Some(b"dropped") => self.on_told(count, Told::Dropped, received),
            _ => {
                let epoch = text_after(gap, b"\"epoch\":\"").and_then(|text| text.try_into().ok());
                let epoch = epoch.unwrap_or(NO_EPOCH);
                match std::mem::replace(&mut self.epoch, epoch) == epoch {
                    true => received.missed += offset.saturating_sub(self.last),
                    false => received.new_epochs += 1,
                }
                (self.last, self.credit) = (offset, 0);
                return;
            }
        }
        if offset > self.last {
            self.pass(offset, received);
            self.last = offset;
        }
    }

    pub(super) fn on_members(&mut self, push: &[u8]) {
        if self.enters
            && let Some(count) = number_after(push, b"\"count\":")
        {
            self.members = count;
        }
    }

    /// The connection is over.
    pub(super) fn on_closed(&mut self, received: &mut Received) {
        self.give_back(received);
        received.closed += 1;
    }

    fn give_back(&mut self, received: &mut Received) {
        let credit = std::mem::take(&mut self.credit);
        match self.told {
            Told::Conflated => received.conflated -= credit,
            Told::Dropped => received.dropped -= credit,
        }
    }

    fn on_told(&mut self, count: u64, told: Told, received: &mut Received) {
        match told {
            Told::Conflated => received.conflated += count,
            Told::Dropped => received.dropped += count,
        }
        self.credit += count;
        self.told = told;
    }

    /// Everything up to `offset` that has not come is paid from the credit, or lost. Returns what is lost.
    fn pass(&mut self, offset: u64, received: &mut Received) -> u64 {
        let skipped = offset.saturating_sub(self.last);
        let paid = skipped.min(self.credit);
        self.credit -= paid;
        received.lost += skipped - paid;
        skipped - paid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: &str = "9f3c5a7700e1d2b4";

    fn joined(rest: &str) -> String {
        format!(r#"{{"id":2,"ok":{{"room":"load:a","epoch":"{EPOCH}",{rest}}}}}"#)
    }

    fn gap(reason: &str, offset: u64, count: u64) -> String {
        format!(
            r#"{{"gap":{{"room":"load:a","reason":"{reason}","epoch":"{EPOCH}","offset":{offset},"count":{count}}}}}"#
        )
    }

    fn subscription() -> (Subscription, Received) {
        let seat = Seat {
            room: "load:a".into(),
            class: 0,
            enters: false,
        };
        let (mut subscription, mut received) = (Subscription::new(&seat), Received::new(1));
        let reply = joined(r#""offset":10,"recovery":"none","replayed":0"#);
        subscription.on_joined(reply.as_bytes(), &mut received);
        (subscription, received)
    }

    #[test]
    fn what_a_gap_tells_is_not_lost_and_what_none_tells_is() {
        let (mut subscription, mut received) = subscription();
        assert_eq!(subscription.on_event(11, &mut received), Seen::Live);
        // Three left out: 12, 13 before the next, 15 behind it.
        subscription.on_gap(gap("conflated", 13, 3).as_bytes(), &mut received);
        for offset in [14, 16] {
            subscription.on_event(offset, &mut received);
        }
        assert_eq!((received.delivered, received.conflated, received.lost), (3, 3, 0));
        subscription.on_event(19, &mut received);
        assert_eq!((received.lost, received.out_of_order), (2, 1));
        subscription.on_event(19, &mut received);
        assert_eq!((received.doubled, received.delivered), (1, 4));
        // All but the one that came twice.
        assert_eq!(received.accounted(), 9);
    }

    #[test]
    fn who_comes_back_asks_from_where_it_was_and_counts_what_is_replayed() {
        let (mut subscription, mut received) = subscription();
        subscription.on_event(11, &mut received);
        // Told of 4, of which 2 are behind the last that came: those the server will begin with.
        subscription.on_gap(gap("dropped", 13, 4).as_bytes(), &mut received);
        subscription.on_event(14, &mut received);
        subscription.on_closed(&mut received);
        assert_eq!((received.dropped, received.closed), (2, 1));
        assert!(
            subscription
                .join(3)
                .contains(&format!(r#""since":{{"epoch":"{EPOCH}","offset":14}}"#))
        );
        let reply = joined(r#""offset":17,"recovery":"replay","replayed":3"#);
        subscription.on_joined(reply.as_bytes(), &mut received);
        for offset in 15..=17 {
            assert_eq!(subscription.on_event(offset, &mut received), Seen::Other);
        }
        assert_eq!(subscription.on_event(18, &mut received), Seen::Live);
        assert_eq!(
            (received.replayed, received.lost, received.accounted()),
            (3, 0, 8)
        );
    }

    #[test]
    fn a_replay_of_the_newest_of_each_key_conflates_the_rest() {
        let (mut subscription, mut received) = subscription();
        subscription.on_closed(&mut received);
        let reply = joined(r#""offset":30,"recovery":"replay","replayed":2"#);
        subscription.on_joined(reply.as_bytes(), &mut received);
        for offset in [25, 30] {
            subscription.on_event(offset, &mut received);
        }
        assert_eq!(
            (received.delivered, received.conflated, received.lost),
            (2, 18, 0)
        );
        subscription.on_event(31, &mut received);
        assert_eq!(received.lost, 0);
    }

    #[test]
    fn a_gap_in_the_history_is_missed_and_a_new_epoch_is_nobody_knows() {
        let (mut subscription, mut received) = subscription();
        subscription.on_closed(&mut received);
        let reply = joined(r#""offset":40,"recovery":"gap","reason":"too_far","replayed":0"#);
        subscription.on_joined(reply.as_bytes(), &mut received);
        assert_eq!((received.missed, received.new_epochs), (30, 0));
        subscription.on_event(41, &mut received);
        subscription.on_closed(&mut received);
        let other = joined(r#""offset":3,"recovery":"gap","reason":"epoch","replayed":0"#);
        let other = other.replace(EPOCH, "0000000000000001");
        subscription.on_joined(other.as_bytes(), &mut received);
        assert_eq!((received.missed, received.new_epochs), (30, 1));
        subscription.on_event(4, &mut received);
        assert_eq!((received.lost, received.doubled), (0, 0));
    }

    #[test]
    fn who_has_seen_nothing_is_owed_all_of_a_new_epoch() {
        let seat = Seat {
            room: "load:a".into(),
            class: 0,
            enters: false,
        };
        for (recovery, missed) in [("gap", 3), ("replay", 0)] {
            let (mut subscription, mut received) = (Subscription::new(&seat), Received::new(1));
            let reply = joined(r#""offset":0,"recovery":"none","replayed":0"#);
            subscription.on_joined(reply.as_bytes(), &mut received);
            subscription.on_closed(&mut received);
            let replayed = 3 - missed;
            let other = joined(&format!(
                r#""offset":3,"recovery":"{recovery}","replayed":{replayed}"#
            ));
            let other = other.replace(EPOCH, "0000000000000001");
            subscription.on_joined(other.as_bytes(), &mut received);
            for offset in 1 + missed..=4 {
                subscription.on_event(offset, &mut received);
            }
            assert_eq!(
                (received.missed, received.lost, received.new_epochs),
                (missed, 0, 0)
            );
            assert_eq!(received.accounted(), 4);
        }
    }

    #[test]
    fn the_newest_of_each_key_from_before_a_first_join_is_no_delivery() {
        let seat = Seat {
            room: "latest:a".into(),
            class: 0,
            enters: false,
        };
        let (mut subscription, mut received) = (Subscription::new(&seat), Received::new(1));
        let reply = joined(r#""offset":10,"recovery":"replay","replayed":2"#);
        subscription.on_joined(reply.as_bytes(), &mut received);
        for offset in [4, 10, 11] {
            subscription.on_event(offset, &mut received);
        }
        assert_eq!(
            (received.snapshots, received.delivered, received.doubled),
            (2, 1, 0)
        );
    }
}

//! What may wait for a place: a burst may, an overload may not.
//!
//! Both begin alike: the limit is reached, and more comes. A burst is over when the line has been empty
//! again within `patience`; then nobody had to be refused. A line that has stood for
//! longer while answers came is an overload: waiting in it only adds to everyone's latency, so it is sent
//! away and newcomers are refused at once, until for a second nobody had to be: a flood has pauses of its
//! own, and a line that formed after each of them would make its share of everyone late.
//! This is the distinction of controlled delay between good and bad queues (K. Nichols and V. Jacobson,
//! "Controlling Queue Delay", ACM Queue 2012; B. Maurer, "Fail at Scale", ACM Queue 2015).
//!
//! The clock runs only while what stands behind makes progress. A disk that takes 200 ms for one
//! fdatasync is no overload, and who was there before it answers again is served: up to
//! `standstill`, when the disk's trouble is the client's too.
//!
//! ```text
//!   calm ──(line stands for `patience`, answers coming)──► overloaded: no line
//!    ▲                                                        │
//!    └──────────(nobody refused for a second)◄────────────────┘
//! ```

use std::{collections::VecDeque, time::Duration};

use crate::{
    moment::Moment,
    planted::{Bug, Planted},
};

/// For how long nobody must have been refused for an overload to be over; no less than `patience`.
const CALM: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub struct Stall<T> {
    line: VecDeque<(Moment, T)>,
    patience: Duration,
    /// The longest anyone waits, answers or not.
    standstill: Duration,
    /// Since when the line has not been empty, as far as answers came.
    standing_since: Moment,
    answered: Moment,
    /// When someone was last refused, in an overload.
    overloaded: Option<Moment>,
    /// Those who waited, however it ended.
    pub waited_total: u64,
    pub(crate) planted: Planted,
}

impl<T> Stall<T> {
    /// Nobody waits.
    pub fn new(patience: Duration, standstill: Duration, now: Moment) -> Self {
        Self {
            line: VecDeque::new(),
            patience,
            standstill,
            standing_since: now,
            answered: now,
            overloaded: None,
            waited_total: 0,
            planted: Planted::default(),
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.line.len()
    }

    /// Whether nobody waits: who comes now needs not stand behind anyone.
    pub fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Whether newcomers for whom there is no place are refused at once.
    pub fn is_overloaded(&self) -> bool {
        self.overloaded.is_some()
    }

    /// There is no place: whether the newcomer may wait for one. If not, it is refused.
    pub fn may_wait(&mut self, now: Moment) -> bool {
        if let Some(refused) = &mut self.overloaded {
            *refused = now;
            return false;
        }
        true
    }

    /// Puts one behind those who wait. The caller bounds how many.
    pub fn push(&mut self, waiting: T, now: Moment) {
        if self.line.is_empty() {
            self.standing_since = now;
        }
        self.waited_total += 1;
        self.line.push_back((now, waiting));
    }

    /// There was a place for one who came: an overload may be over.
    pub fn handle_admitted(&mut self, now: Moment) {
        if self
            .overloaded
            .is_some_and(|refused| now.since(refused) >= self.patience.max(CALM))
        {
            self.overloaded = None;
        }
    }

    /// What stands behind gave an answer.
    pub fn handle_answer(&mut self, now: Moment) {
        if now.since(self.answered) > self.patience {
            // It stood still: whoever waits did not wait for others.
            self.standing_since = now;
        }
        self.answered = now;
    }

    /// The next who waits, for a place.
    pub fn pop(&mut self) -> Option<T> {
        let next = match self.planted.is(Bug::LastFirst) {
            true => self.line.pop_back(),
            false => self.line.pop_front(),
        };
        next.map(|(_, waiting)| waiting)
    }

    /// One who is to be refused now; call it until there is none.
    pub fn pop_overdue(&mut self, now: Moment) -> Option<T> {
        let (since, _) = self.line.front()?;
        let stands = self.answered.since(self.standing_since) >= self.patience;
        if self.overloaded.is_none() && stands {
            self.overloaded = Some(now);
        }
        let is_over = self.overloaded.is_some() || now.since(*since) >= self.standstill;
        is_over.then(|| self.pop()).flatten()
    }

    /// When to ask `pop_overdue` next, if no answer comes before.
    pub fn deadline(&self) -> Option<Moment> {
        let (since, _) = self.line.front()?;
        Some(*since + self.standstill)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Moment {
        Moment(ms * 1_000_000)
    }

    fn overdue(stall: &mut Stall<u64>, now: Moment) -> usize {
        std::iter::from_fn(|| stall.pop_overdue(now)).count()
    }

    #[test]
    fn a_burst_waits_and_nobody_is_refused() {
        let mut stall = Stall::new(Duration::from_millis(50), Duration::from_secs(1), ms(0));
        for n in 0..1_000 {
            assert!(stall.may_wait(ms(0)));
            stall.push(n, ms(0));
        }
        for n in 0..1_000 {
            let now = ms(n / 25);
            assert_eq!(overdue(&mut stall, now), 0);
            stall.handle_answer(now);
            assert_eq!(stall.pop(), Some(n));
        }
        assert!(stall.is_empty() && !stall.is_overloaded());
    }

    #[test]
    fn a_line_that_stands_while_answers_come_is_sent_away_and_none_forms_until_it_is_calm() {
        let mut stall = Stall::new(Duration::from_millis(50), Duration::from_secs(1), ms(0));
        for n in 0..49 {
            stall.push(n, ms(n));
            stall.push(n, ms(n));
            stall.handle_answer(ms(n));
            stall.pop();
            assert_eq!(overdue(&mut stall, ms(n)), 0);
        }
        stall.handle_answer(ms(50));
        assert_eq!(overdue(&mut stall, ms(50)), 49);
        for n in 50..1_000 {
            stall.handle_admitted(ms(n));
            assert!(!stall.may_wait(ms(n)), "the overload lasts");
        }
        stall.handle_admitted(ms(1_998));
        assert!(stall.is_overloaded());
        stall.handle_admitted(ms(1_999));
        assert!(stall.may_wait(ms(1_999)));
    }

    #[test]
    fn a_disk_that_stands_still_for_a_moment_costs_nobody_its_publish() {
        let mut stall = Stall::new(Duration::from_millis(50), Duration::from_secs(1), ms(0));
        stall.handle_answer(ms(0));
        for n in 0..300 {
            assert!(stall.may_wait(ms(n)));
            stall.push(n, ms(n));
            assert_eq!(overdue(&mut stall, ms(n)), 0, "{n}");
        }
        for n in 0..300 {
            stall.handle_answer(ms(301 + n / 20));
            assert_eq!(overdue(&mut stall, ms(301 + n / 20)), 0);
            assert_eq!(stall.pop(), Some(n));
        }
    }

    #[test]
    fn what_stands_still_for_too_long_refuses_in_the_order_of_coming() {
        let mut stall = Stall::new(Duration::from_millis(50), Duration::from_secs(1), ms(0));
        for n in 0..10 {
            stall.push(n, ms(100 * n));
        }
        assert_eq!(stall.deadline(), Some(ms(1_000)));
        assert_eq!(overdue(&mut stall, ms(999)), 0);
        assert_eq!(stall.pop_overdue(ms(1_000)), Some(0));
        assert_eq!(overdue(&mut stall, ms(1_500)), 5);
    }
}

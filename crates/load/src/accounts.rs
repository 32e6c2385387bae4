//! Whether the sums add up: what was published, acknowledged and rejected against each other, and what was
//! acknowledged against what became of it.
//!
//! ```text
//!   published                  = acknowledged + rejected + unanswered + unsent
//!   acknowledged × subscribers = delivered + conflated + dropped + missed + lost + waiting
//! ```
//!
//! The left side comes from publishers, the right side from subscribers, so neither can hide what the other
//! does not know. `missed` is what a `gap` told of as lost history; `lost` a hole that nobody told
//! of; `waiting` had not come when the run ended. A publish without an answer, or answered `timeout`, may
//! have happened: then the right side may be larger by as many.

use crate::{
    plan::{ClassPlan, Lane, Plan},
    tally::{Answers, Received, Tally},
};

/// `timeout`: it may or may not have happened.
const TIMEOUT: u64 = 103;

/// What one class was owed, and what it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    /// Acknowledged publications times subscribers.
    pub(crate) due: u64,
    /// Those that may have happened, times subscribers.
    pub(crate) uncertain: u64,
    /// Due, and neither come nor told.
    pub(crate) waiting: u64,
}

impl Account {
    pub(crate) fn of(class: &ClassPlan, received: &Received, answers: &[Answers]) -> Self {
        let answers = class.stream.and_then(|stream| answers.get(stream));
        let due = answers.map_or(0, |answers| answers.acknowledged) * class.subscribers;
        Self {
            due,
            uncertain: answers.map_or(0, uncertain) * class.subscribers,
            waiting: due.saturating_sub(received.accounted()),
        }
    }
}

fn uncertain(answers: &Answers) -> u64 {
    answers.unanswered + answers.rejected.get(&TIMEOUT).copied().unwrap_or(0)
}

/// Each sum that is wrong, in words.
pub(crate) fn wrong(plan: &Plan, tally: &Tally) -> Vec<String> {
    let mut wrong = Vec::new();
    for (stream, answers) in plan.streams.iter().zip(&tally.answers) {
        let parts = answers.acknowledged + answers.rejected() + answers.unanswered + answers.unsent;
        if parts != answers.sent {
            wrong.push(format!(
                "{}: {} published, but {} acknowledged + {} rejected + {} unanswered + {} unsent = {parts}",
                stream.name,
                answers.sent,
                answers.acknowledged,
                answers.rejected(),
                answers.unanswered,
                answers.unsent
            ));
        }
    }
    for (class, received) in plan.classes.iter().zip(&tally.classes) {
        wrong.extend(
            wrong_in(class, received, &tally.answers)
                .into_iter()
                .map(|what| format!("{}: {what}", class.name)),
        );
    }
    if tally.unsettled > 0 {
        wrong.push(format!(
            "presence: {} subscriptions last heard a count of members that is not the one in the end",
            tally.unsettled
        ));
    }
    wrong
}

fn wrong_in(class: &ClassPlan, received: &Received, answers: &[Answers]) -> Vec<String> {
    let Account {
        due,
        uncertain,
        waiting,
    } = Account::of(class, received, answers);
    let Received {
        delivered,
        conflated,
        dropped,
        missed,
        lost,
        doubled,
        new_epochs,
        ..
    } = received;
    let mut wrong = Vec::new();
    let mut claim = |holds: bool, words: String| {
        if !holds {
            wrong.push(words);
        }
    };
    claim(*lost == 0, format!("{lost} lost, in holes that no gap told of"));
    claim(*doubled == 0, format!("{doubled} came twice, or late"));
    claim(
        *new_epochs == 0,
        format!("history began anew {new_epochs} times: nobody knows what was lost"),
    );
    let sum = format!(
        "{due} due, but {delivered} delivered + {conflated} conflated + {dropped} dropped + {missed} missed + {lost} \
         lost = {}",
        received.accounted()
    );
    claim(
        waiting == 0 || *new_epochs > 0,
        format!("{sum}: {waiting} had not come when the run ended"),
    );
    claim(
        received.accounted() <= due + uncertain,
        format!("{sum}: more than there were, {uncertain} uncertain ones included"),
    );
    claim(
        class.lane == Lane::Skipping || conflated + dropped == 0,
        format!("{conflated} conflated and {dropped} dropped in a reliable lane"),
    );
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten subscribers of a stream of which 8 of 10 were acknowledged.
    fn run(lane: Lane) -> (Plan, Tally) {
        let mut plan = Plan::viral("viral", 10, 1.0, 0);
        plan.classes[0].lane = lane;
        let mut answers = Answers::new(1);
        (answers.sent, answers.acknowledged) = (10, 8);
        answers.rejected.insert(100, 2);
        let mut received = Received::new(1);
        received.delivered = 80;
        let tally = Tally {
            classes: vec![received],
            answers: vec![answers],
            slots: Vec::new(),
            closes: Default::default(),
            turned_away: 0,
            unsettled: 0,
            notices: 0,
            returned: Default::default(),
        };
        (plan, tally)
    }

    fn wrong_after(lane: Lane, change: impl Fn(&mut Received, &mut Answers)) -> String {
        let (plan, mut tally) = run(lane);
        let Tally { classes, answers, .. } = &mut tally;
        change(&mut classes[0], &mut answers[0]);
        wrong(&plan, &tally).join("; ")
    }

    #[test]
    fn sums_that_add_up_are_not_wrong() {
        assert_eq!(wrong_after(Lane::Reliable, |_, _| ()), "");
        assert_eq!(
            wrong_after(Lane::Skipping, |received, _| {
                (
                    received.delivered,
                    received.conflated,
                    received.dropped,
                    received.missed,
                ) = (50, 20, 9, 1);
            }),
            ""
        );
    }

    #[test]
    fn each_sum_that_does_not_add_up_is_told() {
        for (words, change) in [
            (
                "79 delivered",
                (|received, _| received.delivered = 79) as fn(&mut Received, &mut Answers),
            ),
            ("1 had not come", |received, _| received.delivered = 79),
            ("more than there were", |received, _| received.delivered = 81),
            ("1 lost", |received, _| {
                (received.delivered, received.lost) = (79, 1);
            }),
            ("3 came twice", |received, _| received.doubled = 3),
            ("in a reliable lane", |received, _| {
                (received.delivered, received.dropped) = (79, 1);
            }),
            ("began anew 1 times", |received, _| received.new_epochs = 1),
            ("10 published, but 7 acknowledged", |_, answers| {
                answers.acknowledged = 7;
            }),
        ] {
            let said = wrong_after(Lane::Reliable, change);
            assert!(said.contains(words), "{words}: {said}");
        }
    }

    #[test]
    fn what_may_have_happened_may_have_come() {
        let unanswered = |received: &mut Received, answers: &mut Answers, delivered| {
            *answers.rejected.entry(100).or_default() = 1;
            answers.rejected.insert(TIMEOUT, 1);
            received.delivered = delivered;
        };
        for (delivered, is_right) in [(79, false), (80, true), (85, true), (90, true), (91, false)] {
            let said = wrong_after(Lane::Reliable, |received, answers| {
                unanswered(received, answers, delivered);
            });
            assert_eq!(said.is_empty(), is_right, "{delivered}: {said}");
        }
    }
}

//! One process's share of a plan: it opens, publishes on schedule and receives, a turn at a time.
//!
//! A part does one command after the other and says how far it is; whoever drives it (`crew` in
//! the same process, `child` in another) decides what is next. Times are on the machine's steady
//! clock, which all processes share.

use std::{rc::Rc, sync::Arc, time::Duration};

use serde_json::{Value, json};

use crate::{
    LoadError, Target,
    plan::{Burst, Plan, Share, Stream},
    process::steady_ns,
    swarm::{Outgoing, Swarm},
    tally::{Status, Tally},
};

/// Publications of one stream that leave in one turn, so that receiving goes on however far behind we are.
const RUN_MAX: usize = 64;

/// What a part is told to do. Until it is told more it goes on receiving.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    /// Connect and join with all that are closed. Done when the last is joined.
    Open { at_ns: u64 },
    /// Publish on schedule. Done when the last publication has left.
    Play {
        at_ns: u64,
        for_ns: u64,
        phase: usize,
        /// By stream; zero for one that is silent.
        intervals_ns: Vec<f64>,
    },
    /// Read as fast as can be, whoever did not. Done at once.
    Settle,
    /// Drop every connection without a word.
    Drop,
    /// Done when the server has dropped every connection.
    AwaitLoss,
}

impl Command {
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Open { at_ns } => json!({"do": "open", "at_ns": at_ns}),
            Self::Play {
                at_ns,
                for_ns,
                phase,
                intervals_ns,
            } => json!({
                "do": "play", "at_ns": at_ns, "for_ns": for_ns, "phase": phase, "intervals_ns": intervals_ns,
            }),
            Self::Settle => json!({"do": "settle"}),
            Self::Drop => json!({"do": "drop"}),
            Self::AwaitLoss => json!({"do": "await_loss"}),
        }
    }

    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        let at_ns = value["at_ns"].as_u64();
        match value["do"].as_str()? {
            "open" => Some(Self::Open { at_ns: at_ns? }),
            "play" => Some(Self::Play {
                at_ns: at_ns?,
                for_ns: value["for_ns"].as_u64()?,
                phase: value["phase"].as_u64()? as usize,
                intervals_ns: value["intervals_ns"]
                    .as_array()?
                    .iter()
                    .map(Value::as_f64)
                    .collect::<Option<_>>()?,
            }),
            "settle" => Some(Self::Settle),
            "drop" => Some(Self::Drop),
            "await_loss" => Some(Self::AwaitLoss),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Task {
    Receive,
    /// `closed` is how many were lost before.
    Open {
        at_ns: u64,
        closed: u64,
    },
    Play {
        at_ns: u64,
        end_ns: u64,
    },
    AwaitLoss,
}

/// A stream that is being sent.
struct Playing {
    stream: Stream,
    /// Connections that publish it, in turn.
    publishers: Vec<usize>,
    /// In all plays.
    sent: u64,
    begun_ns: u64,
    /// Since then, when the first and the next are meant to leave, and which the next is.
    first: f64,
    next: f64,
    count: u64,
}

impl Playing {
    /// When the next publication is meant to leave, on the swarm's clock; none if it is silent.
    fn next_ns(&self) -> Option<u64> {
        (self.stream.schedule.interval_ns > 0.0).then(|| self.begun_ns + self.next as u64)
    }
}

/// See the file.
pub(crate) struct Part {
    swarm: Swarm,
    streams: Vec<Playing>,
    burst: Option<Burst>,
    task: Task,
    task_number: u64,
    done_ns: Option<u64>,
    pad: String,
}

impl Part {
    pub(crate) fn new(target: &Target, plan: &Plan, share: Share) -> Result<Self, LoadError> {
        let mut swarm = Swarm::new(target, plan, share.of)?;
        let roles = plan.subscribers.iter();
        let roles = roles.flat_map(|(role, count)| std::iter::repeat_n(role, *count));
        let mut number = 0;
        for role in roles {
            if plan.is_in(share, number) {
                swarm.add(role, number);
            }
            number += 1;
        }
        let mut streams = Vec::new();
        if share.has_publishers() {
            let first = swarm.len();
            for (n, publisher) in plan.publishers.iter().enumerate() {
                swarm.add(publisher, number + n);
            }
            swarm.expect_answers(plan.streams.len(), plan.phases.len());
            streams.extend(plan.streams.iter().map(|stream| Playing {
                stream: stream.clone(),
                publishers: stream.publishers.clone().map(|n| first + n).collect(),
                sent: 0,
                begun_ns: 0,
                first: 0.0,
                next: 0.0,
                count: 0,
            }));
        }
        Ok(Self {
            swarm,
            streams,
            burst: plan.streams.iter().find_map(|stream| stream.schedule.burst),
            task: Task::Receive,
            task_number: 0,
            done_ns: None,
            // `{"t":…,"p":"…"}` with a time of 13 digits.
            pad: "x".repeat(target.payload.saturating_sub(26)),
        })
    }

    /// Something that ends a `turn` early, from another thread.
    pub(crate) fn waker(&self) -> Result<Arc<mio::Waker>, LoadError> {
        self.swarm.waker()
    }

    pub(crate) fn begin(&mut self, command: Command) -> Result<(), LoadError> {
        self.task_number += 1;
        self.done_ns = None;
        self.task = match command {
            Command::Open { at_ns } => {
                self.swarm.reopen();
                let closed = self.swarm.closed;
                Task::Open { at_ns, closed }
            }
            Command::Play {
                at_ns,
                for_ns,
                phase,
                intervals_ns,
            } => {
                let begun = self.swarm.begin_play(at_ns, phase, self.burst);
                for (n, playing) in self.streams.iter_mut().enumerate() {
                    let schedule = &mut playing.stream.schedule;
                    schedule.interval_ns = intervals_ns.get(n).copied().unwrap_or(schedule.interval_ns);
                    playing.begun_ns = begun;
                    // Streams of one rate do not beat together.
                    playing.first = (schedule.interval_ns * 0.37 * n as f64) % 1e9;
                    (playing.next, playing.count) = (playing.first, 0);
                }
                Task::Play {
                    at_ns,
                    end_ns: begun + for_ns,
                }
            }
            Command::Settle => {
                self.swarm.settle()?;
                self.done_ns = Some(steady_ns());
                Task::Receive
            }
            Command::Drop => {
                self.swarm.drop_all();
                self.done_ns = Some(steady_ns());
                Task::Receive
            }
            Command::AwaitLoss => Task::AwaitLoss,
        };
        Ok(())
    }

    /// Does what is due, and handles what has come; waits at most so long for something.
    pub(crate) fn turn(&mut self, wait: Duration) -> Result<(), LoadError> {
        let task = self.task;
        let is_done = match task {
            Task::Receive => {
                self.swarm.turn(wait)?;
                return Ok(());
            }
            Task::Open { at_ns, .. } if self.is_early(at_ns, wait)? => false,
            Task::Play { at_ns, .. } if self.is_early(at_ns, wait)? => false,
            Task::Open { closed, .. } => {
                self.swarm.open_some()?;
                if self.swarm.ready() < self.swarm.len() {
                    self.swarm.turn(wait)?;
                }
                if let Some(refusal) = self.swarm.refusal() {
                    return Err(refusal);
                }
                if self.swarm.closed > closed {
                    return Err(LoadError::Server(format!(
                        "closed {} connections that were joined while others were being opened",
                        self.swarm.closed - closed
                    )));
                }
                self.swarm.ready() == self.swarm.len()
            }
            Task::Play { end_ns, .. } => self.play(end_ns, wait)?,
            Task::AwaitLoss => {
                self.swarm.turn(wait)?;
                self.swarm.ready() == 0
            }
        };
        if is_done {
            self.done_ns = Some(steady_ns());
            self.task = Task::Receive;
        }
        Ok(())
    }

    /// Whether a task is for later; then it goes on receiving until that, and no longer.
    fn is_early(&mut self, at_ns: u64, wait: Duration) -> Result<bool, LoadError> {
        let left = at_ns.saturating_sub(steady_ns());
        if left > 0 {
            self.swarm.turn(wait.min(Duration::from_nanos(left)))?;
        }
        Ok(left > 0)
    }

    /// Sends what is due; returns whether the schedule is at its end.
    fn play(&mut self, end_ns: u64, wait: Duration) -> Result<bool, LoadError> {
        let now = self.swarm.now_ns();
        let mut next = end_ns;
        for (n, playing) in self.streams.iter_mut().enumerate() {
            for _ in 0..RUN_MAX {
                let Some(intended_ns) = playing.next_ns().filter(|at| *at <= now && *at < end_ns) else {
                    break;
                };
                let place = playing.sent as usize;
                let room: &Rc<str> = &playing.stream.rooms[place % playing.stream.rooms.len()];
                let publisher = playing.publishers[place % playing.publishers.len()];
                let outgoing = Outgoing {
                    stream: n,
                    kind: playing.stream.kind,
                    room,
                    number: playing.sent,
                    intended_ns,
                    pad: &self.pad,
                };
                self.swarm.publish(publisher, &outgoing);
                playing.sent += 1;
                playing.count += 1;
                let schedule = &playing.stream.schedule;
                playing.next = schedule.next(playing.first, playing.count, playing.next);
            }
            next = playing.next_ns().map_or(next, |at| next.min(at));
        }
        // What was due before the end leaves, however late we are.
        if now >= end_ns && next >= end_ns {
            return Ok(true);
        }
        let until_next = Duration::from_nanos(next.saturating_sub(now));
        self.swarm.turn(until_next.min(wait))?;
        Ok(false)
    }

    pub(crate) fn status(&self) -> Status {
        let answers = &self.swarm.answers;
        let received = &self.swarm.received;
        Status {
            task: self.task_number,
            done_ns: self.done_ns,
            ready: self.swarm.ready() as u64,
            closed: self.swarm.closed,
            unsettled: self.swarm.unsettled(),
            abandoned: self.swarm.abandoned + answers.iter().map(|answers| answers.unsent).sum::<u64>(),
            sent: answers.iter().map(|answers| answers.sent).collect(),
            acknowledged: answers.iter().map(|answers| answers.acknowledged).collect(),
            rejected: answers.iter().map(|answers| answers.rejected()).collect(),
            ack_p99_us: match self.task {
                Task::Receive => self.swarm.played_ack_us.value_at_quantile(0.99),
                Task::Open { .. } | Task::Play { .. } | Task::AwaitLoss => 0,
            },
            accounted: received.iter().map(|class| class.accounted()).collect(),
        }
    }

    pub(crate) fn tally(&self) -> Tally {
        Tally {
            classes: self.swarm.received.clone(),
            answers: self.swarm.answers(),
            slots: self.swarm.slots.clone(),
            closes: self.swarm.closes.clone(),
            turned_away: self.swarm.turned_away,
            unsettled: self.swarm.unsettled(),
            notices: self.swarm.notices,
            returned: self.swarm.returned.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_told_and_understood_are_the_same() {
        for command in [
            Command::Open { at_ns: u64::MAX },
            Command::Play {
                at_ns: 1,
                for_ns: 2,
                phase: 3,
                intervals_ns: vec![1e9 / 3.0, 0.0],
            },
            Command::Settle,
            Command::Drop,
            Command::AwaitLoss,
        ] {
            let text = command.to_json().to_string();
            let understood = Command::from_json(&serde_json::from_str(&text).unwrap());
            assert_eq!(understood, Some(command));
        }
        assert_eq!(Command::from_json(&json!({"do": "dance"})), None);
    }
}

//! Whoever carries out a plan: this process alone, or several where its descriptors do not suffice.
//!
//! The steps of a run are written once, over a status that is either of the one part or the sum
//! of all: connect, play, wait for what is still on the way, and count.

use std::time::{Duration, Instant};

use crate::{
    LoadError, Target,
    part::{Command, Part},
    parts::Parts,
    plan::{Plan, Share},
    process::{raise_descriptors, steady_ns},
    tally::{Status, Tally},
};

/// After the last publication: how long deliveries may still come.
const DRAIN: Duration = Duration::from_secs(10);
/// Where publishes are rejected nobody knows how many deliveries are to come: silence ends it.
const QUIET: Duration = Duration::from_millis(300);
/// Until all processes have heard of a common start.
const NOTICE: Duration = Duration::from_millis(200);
const STEP: Duration = Duration::from_millis(50);

enum Hands {
    Own(Box<Part>),
    Several(Parts),
}

/// See the file.
pub(crate) struct Crew {
    plan: Plan,
    hands: Hands,
}

impl Crew {
    /// As many processes as the plan needs, or as the command line says.
    pub(crate) fn gather(target: &Target, plan: Plan) -> Result<Self, LoadError> {
        let processes = plan.processes(raise_descriptors(), target.processes)?;
        if processes == 1 {
            return Self::alone(target, plan);
        }
        eprintln!("{} connections in {processes} processes", plan.connections());
        let hands = Hands::Several(Parts::start(processes)?);
        Ok(Self { plan, hands })
    }

    pub(crate) fn alone(target: &Target, plan: Plan) -> Result<Self, LoadError> {
        let part = Part::new(target, &plan, Share::WHOLE)?;
        let hands = Hands::Own(Box::new(part));
        Ok(Self { plan, hands })
    }

    pub(crate) fn processes(&self) -> usize {
        match &self.hands {
            Hands::Own(_) => 1,
            Hands::Several(parts) => parts.len(),
        }
    }

    /// Connects whatever is closed; returns how long that took until the last had joined.
    pub(crate) fn open(&mut self) -> Result<Duration, LoadError> {
        let at_ns = self.start_ns();
        self.begin(Command::Open { at_ns })?;
        let mut told = Instant::now();
        loop {
            let status = self.step(STEP * 2)?;
            if let Some(done_ns) = status.done_ns {
                return Ok(Duration::from_nanos(done_ns.saturating_sub(at_ns)));
            }
            if told.elapsed() > Duration::from_secs(2) {
                told = Instant::now();
                eprintln!("{} of {} connected", status.ready, self.plan.connections());
            }
        }
    }

    /// Publishes on schedule for so long, and waits for what is still on the way; returns how
    /// long the publishing took.
    pub(crate) fn play(&mut self, seconds: Duration) -> Result<Duration, LoadError> {
        let at_ns = self.start_ns();
        let before = self.status();
        let intervals_ns = self.plan.streams.iter().map(|stream| stream.interval_ns);
        self.begin(Command::Play {
            at_ns,
            for_ns: seconds.as_nanos() as u64,
            intervals_ns: intervals_ns.collect(),
        })?;
        let done_ns = self.until_done()?;
        self.drain(&before)?;
        Ok(Duration::from_nanos(done_ns.saturating_sub(at_ns)))
    }

    fn drain(&mut self, before: &Status) -> Result<(), LoadError> {
        let began = Instant::now();
        let (mut last_delivered, mut last_news) = (0, Instant::now());
        loop {
            let status = self.status();
            let answered = status.acknowledged + status.rejected - before.acknowledged - before.rejected;
            let sent: u64 = status.sent.iter().sum();
            let expected: u64 = self
                .plan
                .streams
                .iter()
                .zip(&status.sent)
                .map(|(stream, sent)| sent * stream.subscribers)
                .sum();
            if status.delivered != last_delivered {
                (last_delivered, last_news) = (status.delivered, Instant::now());
            }
            let is_all_there = match status.rejected {
                0 => status.delivered >= expected,
                _ => began.elapsed() > Duration::from_secs(1) && last_news.elapsed() > QUIET,
            };
            if (answered >= sent && is_all_there) || began.elapsed() > DRAIN {
                return Ok(());
            }
            self.step(STEP)?;
        }
    }

    /// Goes on receiving for so long.
    pub(crate) fn rest(&mut self, time: Duration) -> Result<(), LoadError> {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.step(left.min(STEP))?;
        }
    }

    /// Drops every connection.
    pub(crate) fn drop_all(&mut self) -> Result<(), LoadError> {
        self.begin(Command::Drop)?;
        self.until_done().map(|_| ())
    }

    /// Waits until the server has dropped every connection.
    pub(crate) fn await_loss(&mut self) -> Result<(), LoadError> {
        self.begin(Command::AwaitLoss)?;
        self.until_done().map(|_| ())
    }

    /// What was counted, and the plan it came of.
    pub(crate) fn finish(self) -> Result<(Tally, Plan), LoadError> {
        let tally = match self.hands {
            Hands::Own(part) => part.tally(),
            Hands::Several(parts) => parts.tally()?,
        };
        Ok((tally, self.plan))
    }

    /// A moment at which all can begin.
    fn start_ns(&self) -> u64 {
        match self.hands {
            Hands::Own(_) => steady_ns(),
            Hands::Several(_) => steady_ns() + NOTICE.as_nanos() as u64,
        }
    }

    fn begin(&mut self, command: Command) -> Result<(), LoadError> {
        match &mut self.hands {
            Hands::Own(part) => part.begin(command),
            Hands::Several(parts) => parts.begin(&command)?,
        }
        Ok(())
    }

    fn until_done(&mut self) -> Result<u64, LoadError> {
        loop {
            if let Some(done_ns) = self.status().done_ns {
                return Ok(done_ns);
            }
            self.step(STEP)?;
        }
    }

    fn step(&mut self, wait: Duration) -> Result<Status, LoadError> {
        match &mut self.hands {
            Hands::Own(part) => part.turn(wait)?,
            Hands::Several(parts) => parts.step(wait)?,
        }
        Ok(self.status())
    }

    fn status(&self) -> Status {
        match &self.hands {
            Hands::Own(part) => part.status(),
            Hands::Several(parts) => parts.status(),
        }
    }
}

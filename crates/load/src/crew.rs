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

/// After the last publication: how long nothing may come until what is missing is given up, and how long in all.
const SETTLE_QUIET: Duration = Duration::from_secs(10);
const SETTLE_MAX: Duration = Duration::from_secs(60);
/// Where some publishes may have happened or not, nobody knows how many deliveries are to come: silence ends it.
const QUIET: Duration = Duration::from_millis(1_000);
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
    /// When the last play began.
    play_began_ns: u64,
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
        Ok(Self {
            plan,
            hands,
            play_began_ns: 0,
        })
    }

    pub(crate) fn alone(target: &Target, plan: Plan) -> Result<Self, LoadError> {
        let part = Part::new(target, &plan, Share::WHOLE)?;
        let hands = Hands::Own(Box::new(part));
        Ok(Self {
            plan,
            hands,
            play_began_ns: 0,
        })
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

    /// Publishes on schedule for so long, at the plan's rates or at others; returns how long that took.
    pub(crate) fn play(&mut self, seconds: Duration, phase: usize) -> Result<Duration, LoadError> {
        self.begin_play(seconds, phase)?;
        self.until_played()
    }

    /// As `play`, with the time between two publications of each stream.
    pub(crate) fn play_at(
        &mut self,
        seconds: Duration,
        phase: usize,
        intervals_ns: Vec<f64>,
    ) -> Result<Duration, LoadError> {
        self.begin_play_at(seconds, phase, intervals_ns)?;
        self.until_played()
    }

    fn until_played(&mut self) -> Result<Duration, LoadError> {
        let done_ns = self.until_done()?;
        Ok(Duration::from_nanos(done_ns.saturating_sub(self.play_began_ns)))
    }

    /// Begins to publish for so long; the next command ends it earlier.
    pub(crate) fn begin_play(&mut self, seconds: Duration, phase: usize) -> Result<(), LoadError> {
        let intervals_ns = self.plan.streams.iter().map(|stream| stream.schedule.interval_ns);
        let intervals_ns = intervals_ns.collect();
        self.begin_play_at(seconds, phase, intervals_ns)
    }

    fn begin_play_at(
        &mut self,
        seconds: Duration,
        phase: usize,
        intervals_ns: Vec<f64>,
    ) -> Result<(), LoadError> {
        self.play_began_ns = self.start_ns();
        self.begin(Command::Play {
            at_ns: self.play_began_ns,
            for_ns: seconds.as_nanos() as u64,
            phase,
            intervals_ns,
        })
    }

    /// Goes on until something is so, or for so long; returns whether it is so.
    pub(crate) fn watch(
        &mut self,
        most: Duration,
        mut is_so: impl FnMut(&Status) -> bool,
    ) -> Result<bool, LoadError> {
        let until = Instant::now() + most;
        while Instant::now() < until {
            let status = self.step(STEP)?;
            if is_so(&status) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// All read as fast as they can, all come back, and what is still on the way is waited for.
    pub(crate) fn settle(&mut self) -> Result<(), LoadError> {
        self.begin(Command::Settle)?;
        self.until_done()?;
        self.drain(SETTLE_QUIET, SETTLE_MAX)
    }

    /// Waits until all that was published is answered, and accounted for where it was due, but no longer than so
    /// long without news, nor than so long in all.
    pub(crate) fn drain(&mut self, quiet_max: Duration, all_max: Duration) -> Result<(), LoadError> {
        let began = Instant::now();
        let (mut last, mut last_news) = (Status::default(), Instant::now());
        loop {
            let status = self.status();
            if status != last {
                (last, last_news) = (status, Instant::now());
            }
            let is_certain = last.abandoned == 0 && last.rejected() == 0;
            let is_done = self.is_settled(&last) && (is_certain || last_news.elapsed() > QUIET);
            if is_done || last_news.elapsed() > quiet_max || began.elapsed() > all_max {
                return Ok(());
            }
            self.step(STEP)?;
        }
    }

    fn is_settled(&self, status: &Status) -> bool {
        let answered = status.acknowledged() + status.rejected() + status.abandoned;
        let acknowledged = |stream: usize| status.acknowledged.get(stream).copied().unwrap_or(0);
        let mut classes = self.plan.classes.iter().zip(&status.accounted);
        answered >= status.sent()
            && status.ready as usize == self.plan.connections()
            && status.unsettled == 0
            && classes.all(|(class, accounted)| {
                let due = class
                    .stream
                    .map_or(0, |stream| acknowledged(stream) * class.subscribers);
                *accounted >= due
            })
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

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
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
            Hands::Own(part) => part.begin(command)?,
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

    pub(crate) fn status(&self) -> Status {
        match &self.hands {
            Hands::Own(part) => part.status(),
            Hands::Several(parts) => parts.status(),
        }
    }
}

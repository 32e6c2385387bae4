//! What a connection, a publication and a delivery cost a server on this machine: measured in rounds,
//! and written as TOML for the planner.
//!
//! ```text
//!   at rest                    what it costs to be there
//!   each round   connections   more of them, which stay: CPU of each handshake, memory of each
//!                rooms         of each size: CPU of a publication; over sizes a line,
//!                              whose height is the publish and whose slope is the delivery
//!                return        with nothing missed, and with some: CPU of a resume, and of each replay
//!                sync          how much later an acknowledgement is that waits for the disk
//!   silence                    with all connections, for as long as their pings take to go round
//! ```
//!
//! CPU is that of the server's process, all threads, user and kernel; what it takes at rest is taken off. A play
//! in which the generator itself was late is made again, a few times; a publish that was rejected ends the run. What this
//! costs in latency is not asked here: that is the planner's to say.

mod estimate;
mod figures;

use std::time::{Duration, Instant};

use self::estimate::{Estimate, line};
pub(crate) use self::figures::{Costs, Figure};
use crate::{
    LoadError, Target,
    crew::Crew,
    plan::Plan,
    process::{cpu_ns, raise_descriptors, resident_bytes},
    report::Report,
};

/// What is asked for.
pub(crate) struct Ask {
    pub(crate) rounds: usize,
    /// Connections that are added in each round.
    pub(crate) connections: usize,
    /// Subscribers of the rooms.
    pub(crate) sizes: Vec<usize>,
    /// How long the silence is; zero for none.
    pub(crate) idle: Duration,
    /// A namespace whose acknowledgements wait for the disk.
    pub(crate) sync: Option<String>,
    pub(crate) date: Option<String>,
}

/// The namespace of rooms; those of the other workloads are in it, too.
const NAMESPACE: &str = "load";
/// The share of a core that publishing in rooms of any size is meant to take, by what it costs on the machine of
/// docs/benchmarks.md: far below the knee, and far above what a machine does by itself.
const SHARE: f64 = 0.25;
const GUESS_PUBLISH: f64 = 50e-6;
const GUESS_DELIVERY: f64 = 8.3e-6;
/// Connections of the rooms of one size, but for one larger room.
const SEATS: usize = 200;
/// After something was opened or closed, until the server has nothing to do with that any more.
const CALM: Duration = Duration::from_millis(150);
/// Looks at the server at rest, and how long each is.
const REST_LOOKS: u32 = 3;
const REST_LOOK: Duration = Duration::from_millis(200);
/// A play that takes this much longer than it was meant to, and more than a moment, was late itself: it is no measure, and
/// tried again.
const LATE: f64 = 1.1;
const LATE_LEAST: Duration = Duration::from_millis(50);
const TRIES: usize = 5;
/// Rooms, their members and what these miss, in the part about returning.
const RETURN_ROOMS: usize = 20;
const RETURN_MEMBERS: usize = 10;
const RETURN_MISSED: usize = 20;
/// Publishes a second, in the part about the disk, and for how long.
const SYNC_RATE: f64 = 100.0;
const SYNC_FOR: Duration = Duration::from_millis(300);

/// The server's process, as it is seen from outside.
#[derive(Clone, Copy)]
struct Meter {
    pid: u32,
}

/// A look at it.
#[derive(Clone, Copy)]
struct Look {
    cpu_ns: u64,
    at: Instant,
}

impl Meter {
    fn look(self) -> Result<Look, LoadError> {
        let gone = || LoadError::Process(format!("process {} is not there", self.pid));
        Ok(Look {
            cpu_ns: cpu_ns(self.pid).ok_or_else(gone)?,
            at: Instant::now(),
        })
    }

    /// Seconds of CPU since a look, without what it takes at rest.
    fn cpu_since(self, before: Look, rest: f64) -> Result<f64, LoadError> {
        let now = self.look()?;
        let used = now.cpu_ns.saturating_sub(before.cpu_ns) as f64 / 1e9;
        Ok(used - rest * (now.at - before.at).as_secs_f64())
    }

    fn resident(self) -> f64 {
        resident_bytes(self.pid).0 as f64
    }
}

/// By round.
#[derive(Default)]
struct Rounds {
    handshake: Vec<f64>,
    connection_bytes: Vec<f64>,
    publish: Vec<f64>,
    delivery: Vec<f64>,
    resume: Vec<f64>,
    replay: Vec<f64>,
    sync: Vec<f64>,
    idle: Vec<f64>,
}

/// See the file.
pub(crate) fn calibrate(target: &Target, ask: &Ask) -> Result<Costs, LoadError> {
    let pid = target
        .pid
        .ok_or_else(|| LoadError::Process("whose CPU is to be measured is not known".to_owned()))?;
    raise_descriptors();
    let meter = Meter { pid };
    meter.look()?;
    let mut calibration = Calibration {
        target,
        ask,
        meter,
        rest: 0.0,
        idle: Vec::new(),
        rounds: Rounds::default(),
    };
    // A server that has let one in has finished starting: its fixed costs are not the connections'.
    let mut first = Crew::alone(target, Plan::one_connection())?;
    first.open()?;
    first.rest(CALM)?;
    let base_bytes = meter.resident();
    let rest = calibration.at_rest(&mut first)?;
    calibration.rest = rest;
    for number in 0..ask.rounds {
        calibration.connections(number)?;
        calibration.rest = calibration.at_rest(&mut first)?;
        calibration.rooms()?;
        calibration.returning()?;
        if let Some(namespace) = &ask.sync {
            calibration.sync(namespace)?;
        }
        calibration.calm()?;
        calibration.stayed()?;
        if !target.json {
            eprintln!("round {} of {}", number + 1, ask.rounds);
        }
    }
    calibration.silence(rest)?;
    calibration.stayed()?;
    Ok(Costs::of(target, ask, pid, calibration.figures(base_bytes)))
}

struct Calibration<'a> {
    target: &'a Target,
    ask: &'a Ask,
    meter: Meter,
    /// CPU it takes with all that is open and silent, cores.
    rest: f64,
    /// Connections that stay.
    idle: Vec<Crew>,
    rounds: Rounds,
}

impl Calibration<'_> {
    /// CPU with nothing asked of it, cores: the least of some looks, for what was closed is still being cleared away.
    fn at_rest(&mut self, first: &mut Crew) -> Result<f64, LoadError> {
        let mut least = f64::INFINITY;
        for _ in 0..REST_LOOKS {
            let before = self.meter.look()?;
            first.rest(REST_LOOK)?;
            let seconds = before.at.elapsed().as_secs_f64();
            least = least.min(self.meter.cpu_since(before, 0.0)? / seconds);
        }
        Ok(least)
    }

    /// Those that stay are heard, and the server has nothing left to do.
    fn calm(&mut self) -> Result<(), LoadError> {
        let each = CALM / self.idle.len().max(1) as u32;
        for crew in &mut self.idle {
            crew.rest(each)?;
        }
        Ok(())
    }

    /// Those that were to stay did; else what they cost is not known.
    fn stayed(&self) -> Result<(), LoadError> {
        let closed: u64 = self.idle.iter().map(|crew| crew.status().closed).sum();
        match closed {
            0 => Ok(()),
            closed => Err(LoadError::Unmeasured(format!(
                "the server closed {closed} connections that were to stay; was one of the two stopped for a while?"
            ))),
        }
    }

    /// More connections.
    fn connections(&mut self, number: usize) -> Result<(), LoadError> {
        let count = self.ask.connections;
        let plan = Plan::silent("calibrate", count, count / 10);
        let mut crew = Crew::alone(self.target, plan)?;
        let (before, resident) = (self.meter.look()?, self.meter.resident());
        crew.open()?;
        let cpu = self.meter.cpu_since(before, self.rest)?;
        // What was needed only for opening is given back meanwhile.
        crew.rest(CALM)?;
        let more = self.meter.resident() - resident;
        // The first round is also the first time that the server does this at all.
        if number > 0 || self.ask.rounds < 3 {
            self.rounds.handshake.push(cpu / count as f64);
            self.rounds.connection_bytes.push(more / count as f64);
        }
        self.idle.push(crew);
        Ok(())
    }

    /// Publications in rooms of each size.
    fn rooms(&mut self) -> Result<(), LoadError> {
        let sizes = &self.ask.sizes;
        let seconds = self.target.seconds.as_secs_f64() / (self.ask.rounds * sizes.len()) as f64;
        let mut points = Vec::new();
        for size in sizes.clone() {
            let rate = SHARE / (GUESS_PUBLISH + GUESS_DELIVERY * size as f64);
            // A handful at least, of which each is whole.
            let seconds = Duration::from_secs_f64(seconds.max(5.0 / rate));
            let mut late = 0.0;
            let mut each = None;
            for _ in 0..TRIES {
                match self.room(size, rate, seconds)? {
                    Ok(cpu) => each = Some(cpu),
                    Err(by) => late = by,
                }
                self.calm()?;
                if each.is_some() {
                    break;
                }
            }
            let each = each.ok_or_else(|| {
                LoadError::Unmeasured(format!(
                    "the generator itself was late: {rate:.0} publications a second into rooms of {size} took \
                     {:.0} % longer than they were meant to; give it a core of its own, or smaller `--sizes`",
                    100.0 * late
                ))
            })?;
            points.push((size as f64, each));
        }
        if let Some((publish, delivery)) = line(&points) {
            self.rounds.publish.push(publish);
            self.rounds.delivery.push(delivery);
        }
        Ok(())
    }

    /// CPU of a publication in rooms of a size; or by which share of its time the generator was late.
    fn room(&self, size: usize, rate: f64, seconds: Duration) -> Result<Result<f64, f64>, LoadError> {
        let plan = Plan::rooms((SEATS / size).max(1), size, rate);
        let mut crew = Crew::alone(self.target, plan)?;
        crew.open()?;
        crew.rest(CALM)?;
        let before = self.meter.look()?;
        let elapsed = crew.play(seconds, 0)?;
        crew.settle()?;
        let cpu = self.meter.cpu_since(before, self.rest)?;
        let acknowledged = clean(crew, seconds)?;
        Ok(match elapsed > seconds.mul_f64(LATE) + LATE_LEAST {
            true => Err(elapsed.as_secs_f64() / seconds.as_secs_f64() - 1.0),
            false => Ok(cpu / acknowledged),
        })
    }

    /// Members that return by their position.
    fn returning(&mut self) -> Result<(), LoadError> {
        let mut members = Crew::alone(self.target, Plan::returning(RETURN_ROOMS, RETURN_MEMBERS))?;
        members.open()?;
        let count = (RETURN_ROOMS * RETURN_MEMBERS) as f64;
        let mut each = [0.0; 2];
        for (place, missed) in [0, RETURN_MISSED].into_iter().enumerate() {
            members.drop_all()?;
            if missed > 0 {
                let publishes = (RETURN_ROOMS * missed) as f64;
                let seconds = Duration::from_millis(200);
                let rate = publishes / seconds.as_secs_f64();
                let mut writers = Crew::alone(self.target, Plan::written(RETURN_ROOMS, rate))?;
                writers.open()?;
                writers.play(seconds, 0)?;
                writers.settle()?;
                clean(writers, seconds)?;
            }
            self.calm()?;
            let before = self.meter.look()?;
            members.open()?;
            members.rest(CALM)?;
            each[place] = self.meter.cpu_since(before, self.rest)? / count;
        }
        self.rounds.resume.push(each[0]);
        self.rounds
            .replay
            .push((each[1] - each[0]) / RETURN_MISSED as f64);
        drop(members);
        self.calm()
    }

    /// Acknowledgements that wait for the disk, beside those that do not.
    fn sync(&mut self, namespace: &str) -> Result<(), LoadError> {
        let mut mean = [0.0; 2];
        for (place, namespace) in [NAMESPACE, namespace].into_iter().enumerate() {
            let mut crew = Crew::alone(self.target, Plan::publish(1, SYNC_RATE, namespace))?;
            crew.open()?;
            crew.play(SYNC_FOR, 0)?;
            crew.settle()?;
            let (tally, plan) = crew.finish()?;
            refused(&Report::of(&plan, &tally, SYNC_FOR))?;
            mean[place] = tally.answers[0].ack_us[0].mean() / 1e6;
        }
        self.rounds.sync.push(mean[1] - mean[0]);
        Ok(())
    }

    /// All connections, and nothing said.
    fn silence(&mut self, rest: f64) -> Result<(), LoadError> {
        let looks = self.ask.rounds as u32;
        let count = (self.ask.connections * self.idle.len()) as f64;
        if self.ask.idle.is_zero() {
            return Ok(());
        }
        for _ in 0..looks {
            let before = self.meter.look()?;
            let until = before.at + self.ask.idle / looks;
            while Instant::now() < until {
                for crew in &mut self.idle {
                    crew.rest(Duration::from_millis(20))?;
                }
            }
            let seconds = before.at.elapsed().as_secs_f64();
            let cpu = self.meter.cpu_since(before, rest)?;
            self.rounds.idle.push(cpu / seconds / count);
        }
        Ok(())
    }

    fn figures(&self, base_bytes: f64) -> Vec<Figure> {
        let rounds = &self.rounds;
        let sizes: Vec<String> = self.ask.sizes.iter().map(usize::to_string).collect();
        let sizes = sizes.join(", ");
        let count = self.ask.connections;
        let mut figures = Vec::new();
        let mut add = |name, unit, estimate: Option<Estimate>, how: String| match estimate {
            Some(estimate) if estimate.is_something() => figures.push(Figure {
                name,
                unit,
                estimate,
                how,
            }),
            Some(_) => eprintln!("{name} could not be told from nothing, and is left out"),
            None => {}
        };
        let mean = |rounds: &[f64]| Estimate::of(rounds);
        add(
            "handshake",
            "CPU s",
            mean(&rounds.handshake),
            format!("{count} connections at a time, each let in and joined to a room of ten, without TLS"),
        );
        add(
            "publish",
            "CPU s",
            mean(&rounds.publish),
            format!("the height of the line through rooms of {sizes}"),
        );
        add(
            "delivery",
            "CPU s",
            mean(&rounds.delivery),
            format!("the slope of the line through rooms of {sizes}"),
        );
        add(
            "idle",
            "CPU s/s",
            mean(&rounds.idle),
            format!(
                "{} connections, silent for {:.0} s, less the server at rest",
                count * self.idle.len(),
                self.ask.idle.as_secs_f64()
            ),
        );
        add(
            "connection-bytes",
            "bytes",
            mean(&rounds.connection_bytes),
            format!("of the process: {count} connections more each time; the kernel's socket is not in it"),
        );
        add(
            "base-bytes",
            "bytes",
            Some(Estimate::exactly(base_bytes)),
            "of the process, with one connection".to_owned(),
        );
        add(
            "sync",
            "s",
            mean(&rounds.sync),
            "mean acknowledgement in a namespace that waits for the disk, less that in one that does not"
                .to_owned(),
        );
        add(
            "resume",
            "CPU s",
            mean(&rounds.resume),
            format!(
                "{} members that return by position, nothing missed",
                RETURN_ROOMS * RETURN_MEMBERS
            ),
        );
        add(
            "replay",
            "CPU s",
            mean(&rounds.replay),
            format!("the same with {RETURN_MISSED} publications missed: each of them"),
        );
        figures
    }
}

/// Ends a crew; how many of its publishes were acknowledged, all of them.
fn clean(crew: Crew, elapsed: Duration) -> Result<f64, LoadError> {
    let (tally, plan) = crew.finish()?;
    refused(&Report::of(&plan, &tally, elapsed))?;
    let acknowledged: u64 = tally.answers.iter().map(|answers| answers.acknowledged).sum();
    match acknowledged {
        0 => Err(LoadError::Unmeasured("nothing was acknowledged".to_owned())),
        acknowledged => Ok(acknowledged as f64),
    }
}

/// What was rejected, lost or closed is no measure of what is not.
fn refused(report: &Report) -> Result<(), LoadError> {
    if report.rejected() > 0 {
        let why = "raise its limits, or measure one that has nothing else to do";
        return Err(LoadError::Unmeasured(format!(
            "the server rejected {} publishes; {why}",
            report.rejected()
        )));
    }
    match report.wrong.first() {
        Some(wrong) => Err(LoadError::Unmeasured(format!("a sum does not add up: {wrong}"))),
        None => Ok(()),
    }
}

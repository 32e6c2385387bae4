//! The workloads: what is done in which order, and what is asked of the outcome. `flood` has a file
//! of its own.

use std::time::{Duration, Instant};

use crate::{
    LoadError, Target,
    crew::Crew,
    plan::Plan,
    process::{Cpu, Memory, resident_bytes, syn_retransmits},
    report::{Report, acks, ms},
    tally::Tally,
};

/// Before a storm, and after it.
const STORM_CALM: Duration = Duration::from_secs(3);
/// Until all must be back, besides the time that the command line gives for the server to be killed in.
const STORM_MAX: Duration = Duration::from_secs(60);

/// What the server used while something was played.
pub(crate) struct Watch {
    pid: Option<u32>,
    cpu: Cpu,
    memory: u64,
}

impl Watch {
    pub(crate) fn begin(target: &Target) -> Self {
        Self {
            pid: target.pid,
            cpu: target.pid.map(Cpu::of).unwrap_or_default(),
            memory: target.pid.map_or(0, |pid| resident_bytes(pid).0),
        }
    }

    /// Both, until now.
    pub(crate) fn used(&self) -> Used {
        Used {
            cpu: self.cpu(),
            memory: self.memory(),
        }
    }

    fn cpu(&self) -> Option<Cpu> {
        Some(Cpu::of(self.pid?).since(self.cpu))
    }

    pub(crate) fn memory(&self) -> Option<Memory> {
        let (after, peak) = resident_bytes(self.pid?);
        Some(Memory {
            before: self.memory,
            after,
            peak,
        })
    }
}

/// What the server used; none where its process is not known.
pub(crate) struct Used {
    pub(crate) cpu: Option<Cpu>,
    pub(crate) memory: Option<Memory>,
}

/// Ends a run: what was counted in it, and the report that every workload gives, for its own figures to be added.
pub(crate) fn finish(crew: Crew, used: Used, elapsed: Duration) -> Result<(Report, Tally), LoadError> {
    let processes = crew.processes();
    let (tally, plan) = crew.finish()?;
    let mut report = Report {
        cpu: used.cpu,
        memory: used.memory,
        ..Report::of(&plan, &tally, elapsed)
    };
    if processes > 1 {
        report.figures.push(("processes", processes as f64));
    }
    Ok((report, tally))
}

/// Connects, plays a plan once, and reports.
pub(crate) fn play(target: &Target, plan: Plan) -> Result<Report, LoadError> {
    let report = play_for(target, plan, target.seconds)?;
    report.print(target.json);
    Ok(report)
}

fn play_for(target: &Target, plan: Plan, seconds: Duration) -> Result<Report, LoadError> {
    let mut crew = Crew::gather(target, plan)?;
    crew.open()?;
    let watch = Watch::begin(target);
    let elapsed = crew.play(seconds, 0)?;
    // Before those that stood still begin to read.
    let memory = watch.memory();
    crew.settle()?;
    let used = Used {
        memory,
        ..watch.used()
    };
    Ok(finish(crew, used, elapsed)?.0)
}

/// Bids alone, bids beside the flood, and again: what else the machine does hits both alike.
pub(crate) fn bid(target: &Target, plan: Plan) -> Result<Report, LoadError> {
    let rounds = 5;
    let each = target.seconds / (2 * rounds);
    let mut crew = Crew::gather(target, plan)?;
    crew.open()?;
    let watch = Watch::begin(target);
    let intervals = crew.plan().streams.iter();
    let beside: Vec<f64> = intervals.map(|stream| stream.schedule.interval_ns).collect();
    let alone: Vec<f64> = beside.iter().take(1).copied().chain([0.0]).collect();
    let mut elapsed = Duration::ZERO;
    for _ in 0..rounds {
        elapsed += crew.play_at(each, 0, alone.clone())?;
        elapsed += crew.play_at(each, 1, beside.clone())?;
        // What is left of the flood is not to be beside the bids that are alone.
        crew.rest(Duration::from_millis(300))?;
    }
    crew.settle()?;
    let (mut report, _) = finish(crew, watch.used(), elapsed)?;
    let p99 = |phase: usize| ms(&report.classes[0].phases[phase].1, 0.99);
    let (alone, beside) = (p99(0), p99(1));
    report.figures.push(("bids_alone_p99_ms", alone));
    report.figures.push(("bids_beside_p99_ms", beside));
    report
        .figures
        .push(("bids_beside_to_alone", beside / alone.max(1e-9)));
    report.print(target.json);
    Ok(report)
}

/// Raises the rate until it breaks.
pub(crate) fn saturate(target: &Target, subscribers: usize, limit: Duration) -> Result<Report, LoadError> {
    let (mut good, mut bad): (f64, Option<f64>) = (0.0, None);
    let mut rate = 100.0;
    let mut best = None;
    let seconds = target.seconds.min(Duration::from_secs(4));
    // Doubles until it breaks, then halves the way between: within 6 % after four steps.
    while bad.is_none_or(|bad| bad / good.max(1.0) > 1.06) && rate < 1e6 {
        let report = play_for(target, Plan::saturate(subscribers, rate), seconds)?;
        let class = &report.classes[0];
        let is_in_time = class.ms(0.99) <= limit.as_secs_f64() * 1_000.0;
        let holds = is_in_time && report.is_clean() && report.rejected() + report.closed() == 0;
        if !target.json {
            let verdict = if holds { "holds" } else { "breaks" };
            eprintln!(
                "{rate:>8.0}/s {verdict}: p99 {:.1} ms, lost {}, rejected {}, closed {}",
                class.ms(0.99),
                class.lost(),
                report.rejected(),
                report.closed()
            );
        }
        if holds {
            good = rate;
            best = Some(report);
        } else {
            bad = Some(rate);
            if good == 0.0 {
                return Err(LoadError::Server(format!("does not hold {rate}/s")));
            }
        }
        rate = bad.map_or(rate * 2.0, |bad| (good * bad).sqrt());
    }
    let mut report = best.ok_or_else(|| LoadError::Server("held nothing".to_owned()))?;
    let per_second = report.classes[0].received.delivered as f64 / report.elapsed.as_secs_f64();
    report.figures.push(("highest_rate", good));
    report.figures.push(("highest_deliveries_per_second", per_second));
    report.print(target.json);
    Ok(report)
}

/// Connects, and looks at what that costs.
pub(crate) fn idle(target: &Target, plan: Plan) -> Result<Report, LoadError> {
    let count = plan.connections() as f64;
    let mut crew = Crew::gather(target, plan)?;
    // A server that has let one in has finished starting: its fixed memory is not the connections'.
    let mut first = Crew::alone(target, Plan::one_connection())?;
    first.open()?;
    let watch = Watch::begin(target);
    let opened = crew.open()?;
    let cpu = watch.cpu();
    // What was needed only for opening is given back meanwhile.
    crew.rest(target.seconds)?;
    let memory = watch.memory();
    let (mut report, _) = finish(crew, Used { cpu, memory }, opened)?;
    report.figures.extend([
        ("connections", count),
        ("connects_per_second", count / opened.as_secs_f64()),
    ]);
    if let Some(cpu) = report.cpu {
        let us = cpu.total().as_secs_f64() * 1e6;
        report.figures.push(("cpu_us_per_connection", us / count));
    }
    if let Some(memory) = &report.memory {
        let more = memory.after.saturating_sub(memory.before) as f64;
        report.figures.push(("memory_bytes_per_connection", more / count));
    }
    report.print(target.json);
    Ok(report)
}

/// Drops all, and looks how long it takes until all are back.
pub(crate) fn storm(target: &Target, plan: Plan, wait_restart: bool) -> Result<Report, LoadError> {
    let connections = plan.connections();
    let mut crew = Crew::gather(target, plan)?;
    crew.open()?;
    eprintln!("{connections} connected");
    if wait_restart {
        crew.await_loss()?;
        let address = target
            .url
            .trim_start_matches("ws://")
            .split('/')
            .next()
            .unwrap_or_default();
        while std::net::TcpStream::connect(address).is_err() {
            crew.rest(Duration::from_millis(2))?;
        }
    }
    crew.drop_all()?;
    let watch = Watch::begin(target);
    let before = syn_retransmits();
    let elapsed = crew.open()?;
    let retransmitted = syn_retransmits().saturating_sub(before);
    let (mut report, _) = finish(crew, watch.used(), elapsed)?;
    report.figures.extend([
        ("connections", connections as f64),
        ("seconds_until_all_are_back", elapsed.as_secs_f64()),
        ("retransmitted_syns", retransmitted as f64),
    ]);
    report.print(target.json);
    Ok(report)
}

/// How connections are lost in a storm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// All are dropped here.
    Own,
    /// The server is killed, and started again.
    Crash,
    /// The server sends all away, each with its slot.
    Drain,
}

/// As `storm`, while publications go on: each comes back by itself, as an SDK would, and resumes by position.
pub(crate) fn busy_storm(target: &Target, plan: Plan, loss: Loss) -> Result<Report, LoadError> {
    let connections = plan.connections();
    let mut crew = Crew::gather(target, plan)?;
    crew.open()?;
    let watch = Watch::begin(target);
    let before = syn_retransmits();
    let mut elapsed = crew.play(STORM_CALM, 0)?;
    eprintln!("{connections} connected");
    let closed_before = crew.status().closed;
    if loss == Loss::Own {
        crew.drop_all()?;
    }
    // Played on until the last is back.
    let most = target.seconds + STORM_MAX;
    crew.begin_play(most, 1)?;
    let (began, mut lost) = (Instant::now(), None);
    let back = crew.watch(most, |status| {
        if status.closed > closed_before {
            lost.get_or_insert_with(Instant::now);
        }
        lost.is_some() && status.closed >= connections as u64 && status.ready as usize == connections
    })?;
    let until_back = Instant::now();
    elapsed += began.elapsed();
    elapsed += crew.play(STORM_CALM, 2)?;
    crew.settle()?;
    let retransmitted = syn_retransmits().saturating_sub(before);
    let (mut report, tally) = finish(crew, watch.used(), elapsed)?;
    report.figures.extend([
        ("connections", connections as f64),
        ("retransmitted_syns", retransmitted as f64),
    ]);
    if let (Some(lost), true) = (lost, back) {
        let seconds = until_back.saturating_duration_since(lost).as_secs_f64();
        report.figures.push(("seconds_until_all_are_back", seconds));
    }
    report.figures.extend(tally.returned.figures());
    if loss == Loss::Drain {
        report.wrong.extend(tally.returned.wrong());
    }
    report.print(target.json);
    Ok(report)
}

/// Publishes, and looks at the acknowledgements.
pub(crate) fn publish(target: &Target, plan: Plan) -> Result<Report, LoadError> {
    let mut crew = Crew::gather(target, plan)?;
    crew.open()?;
    let watch = Watch::begin(target);
    let elapsed = crew.play(target.seconds, 0)?;
    crew.settle()?;
    let (mut report, tally) = finish(crew, watch.used(), elapsed)?;
    let answers = &tally.answers[0];
    report.classes = vec![acks(answers)];
    let per_second = answers.acknowledged as f64 / elapsed.as_secs_f64();
    report.figures.push(("acknowledged_per_second", per_second));
    report.print(target.json);
    Ok(report)
}

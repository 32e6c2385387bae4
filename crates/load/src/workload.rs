//! The workloads: what is done in which order, and what is asked of the outcome.

use std::time::Duration;

use crate::{
    LoadError, Target,
    crew::Crew,
    plan::Plan,
    process::{Cpu, resident_bytes, syn_retransmits},
    report::{Class, Report},
    tally::Tally,
};

/// What the server used while something was played.
struct Watch {
    pid: Option<u32>,
    cpu: Cpu,
    memory: u64,
}

impl Watch {
    fn begin(target: &Target) -> Self {
        Self {
            pid: target.pid,
            cpu: target.pid.map(Cpu::of).unwrap_or_default(),
            memory: target.pid.map_or(0, resident_bytes),
        }
    }

    fn cpu(&self) -> Option<Cpu> {
        Some(Cpu::of(self.pid?).since(self.cpu))
    }

    fn memory(&self) -> Option<(u64, u64)> {
        Some((self.memory, resident_bytes(self.pid?)))
    }
}

/// What the plan promised beside what came.
fn classes(tally: &Tally, plan: &Plan) -> Vec<Class> {
    let mut classes: Vec<Class> = plan.classes.iter().map(|name| Class::new(name)).collect();
    for (stream, sent) in plan.streams.iter().zip(&tally.sent) {
        classes[stream.class].published += sent;
        classes[stream.class].expected += sent * stream.subscribers;
    }
    for (class, received) in classes.iter_mut().zip(&tally.classes) {
        class.latency_us = received.latency_us.clone();
        class.delivered = received.delivered;
        class.doubled = received.doubled;
        class.out_of_order = received.out_of_order;
    }
    // Rejected publishes were never promised to anyone; their deliveries are not missing.
    if tally.rejected > 0
        && let Some(first) = classes.first_mut()
    {
        let subscribers = plan.streams.first().map_or(0, |stream| stream.subscribers);
        first.expected = first.expected.saturating_sub(tally.rejected * subscribers);
    }
    classes
}

fn processes_figure(crew: &Crew) -> Option<(&'static str, f64)> {
    (crew.processes() > 1).then_some(("processes", crew.processes() as f64))
}

/// Connects, plays a plan once, and reports.
pub(crate) fn play(target: &Target, plan: Plan) -> Result<Report, LoadError> {
    let report = play_for(target, plan, target.seconds)?;
    report.print(target.json);
    Ok(report)
}

fn play_for(target: &Target, plan: Plan, seconds: Duration) -> Result<Report, LoadError> {
    let memory = Watch::begin(target);
    let mut crew = Crew::gather(target, plan)?;
    crew.open()?;
    let watch = Watch::begin(target);
    let elapsed = crew.play(seconds)?;
    let (cpu, memory) = (watch.cpu(), memory.memory());
    let mut figures = Vec::from_iter(processes_figure(&crew));
    let (tally, plan) = crew.finish()?;
    figures.push(("closed_connections", tally.closed as f64));
    Ok(Report {
        workload: plan.workload,
        elapsed,
        cpu,
        memory,
        rejected: tally.rejected,
        classes: classes(&tally, &plan),
        figures,
    })
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
        let holds =
            class.ms(0.99) <= limit.as_secs_f64() * 1_000.0 && report.is_clean() && report.rejected == 0;
        if !target.json {
            let verdict = if holds { "holds" } else { "breaks" };
            eprintln!(
                "{rate:>8.0}/s {verdict}: p99 {:.1} ms, lost {}, rejected {}",
                class.ms(0.99),
                class.lost(),
                report.rejected
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
    let per_second = report.classes[0].delivered as f64 / report.elapsed.as_secs_f64();
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
    let mut figures = vec![
        ("connections", count),
        ("connects_per_second", count / opened.as_secs_f64()),
    ];
    figures.extend(processes_figure(&crew));
    if let Some(cpu) = cpu {
        figures.push(("cpu_us_per_connection", cpu.total().as_secs_f64() * 1e6 / count));
    }
    if let Some((before, after)) = watch.memory() {
        figures.push((
            "memory_bytes_per_connection",
            after.saturating_sub(before) as f64 / count,
        ));
    }
    let report = Report {
        workload: "idle",
        elapsed: opened,
        cpu,
        memory: watch.memory(),
        rejected: 0,
        classes: Vec::new(),
        figures,
    };
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
    let mut figures = vec![
        ("connections", connections as f64),
        ("seconds_until_all_are_back", elapsed.as_secs_f64()),
        (
            "retransmitted_syns",
            syn_retransmits().saturating_sub(before) as f64,
        ),
    ];
    figures.extend(processes_figure(&crew));
    let report = Report {
        workload: "storm",
        elapsed,
        cpu: watch.cpu(),
        memory: watch.memory(),
        rejected: 0,
        classes: Vec::new(),
        figures,
    };
    report.print(target.json);
    Ok(report)
}

/// Publishes, and looks at the acknowledgements.
pub(crate) fn publish(target: &Target, plan: Plan) -> Result<Report, LoadError> {
    let mut crew = Crew::gather(target, plan)?;
    crew.open()?;
    let watch = Watch::begin(target);
    let elapsed = crew.play(target.seconds)?;
    let (cpu, memory) = (watch.cpu(), watch.memory());
    let (tally, _) = crew.finish()?;
    let mut class = Class::new("acks");
    class.published = tally.sent.iter().sum();
    class.expected = class.published.saturating_sub(tally.rejected);
    class.delivered = tally.acknowledged;
    class.latency_us = tally.ack_us.clone();
    let per_second = tally.acknowledged as f64 / elapsed.as_secs_f64();
    let report = Report {
        workload: "publish",
        elapsed,
        cpu,
        memory,
        rejected: tally.rejected,
        classes: vec![class],
        figures: vec![("acknowledged_per_second", per_second)],
    };
    report.print(target.json);
    Ok(report)
}

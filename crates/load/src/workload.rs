//! The workloads: what is sent when, and what is asked of the outcome.

use std::time::{Duration, Instant};

use crate::{
    LoadError, Target,
    process::{Cpu, resident_bytes, retransmits},
    report::{Class, Report},
    swarm::{Role, Swarm},
};

/// After the last publication: how long deliveries may still come.
const DRAIN: Duration = Duration::from_secs(10);
/// Members of a quiet room.
const QUIET_MEMBERS: usize = 5;
/// Publications a second in each quiet room.
const QUIET_RATE: f64 = 1.0;
/// Publishers of a saturated room: the server bounds what one connection has in flight.
const SATURATE_PUBLISHERS: usize = 64;

/// Something that is published at a fixed rate, whatever happens.
struct Stream {
    rooms: Vec<String>,
    /// Subscribers of each room, those that read.
    subscribers: u64,
    class: usize,
    /// Publishing connections, in turn.
    publishers: Vec<usize>,
    interval_ns: f64,
    sent: u64,
    first_ns: u64,
}

impl Stream {
    /// When the next publication is meant to leave, nanoseconds since the swarm's base.
    fn next_ns(&self) -> u64 {
        self.first_ns + (self.sent as f64 * self.interval_ns) as u64
    }
}

/// Sends every stream on schedule for so long, then waits for what is still on the way.
fn play(
    swarm: &mut Swarm,
    streams: &mut [Stream],
    target: &Target,
    seconds: Duration,
) -> Result<Duration, LoadError> {
    // `{"t":…,"p":"…"}` with a 13 digit time.
    let pad = "x".repeat(target.payload.saturating_sub(26));
    let begun = swarm.base.elapsed().as_nanos() as u64;
    let end = begun + seconds.as_nanos() as u64;
    for (n, stream) in streams.iter_mut().enumerate() {
        stream.sent = 0;
        stream.first_ns = begun + (stream.interval_ns * 0.37 * n as f64) as u64 % 1_000_000_000;
    }
    let acknowledged = swarm.acknowledged + swarm.rejected;
    let mut all_sent = 0;
    loop {
        let now = swarm.base.elapsed().as_nanos() as u64;
        let mut next = end;
        for stream in streams.iter_mut() {
            // A bounded burst, so that receiving goes on however far behind we are.
            for _ in 0..64 {
                let intended = stream.next_ns();
                if intended > now || intended >= end {
                    break;
                }
                let place = stream.sent as usize;
                let room = &stream.rooms[place % stream.rooms.len()];
                let publisher = stream.publishers[place % stream.publishers.len()];
                swarm.publish(publisher, room, intended, &pad);
                stream.sent += 1;
                all_sent += 1;
            }
            next = next.min(stream.next_ns());
        }
        if now >= end {
            break;
        }
        swarm.turn(Duration::from_nanos(next.saturating_sub(now).min(50_000_000)))?;
    }
    let elapsed = Duration::from_nanos(swarm.base.elapsed().as_nanos() as u64 - begun);
    let drained = Instant::now();
    loop {
        let answered = swarm.acknowledged + swarm.rejected - acknowledged;
        let is_rejected = swarm.rejected > 0;
        let expected: u64 = streams.iter().map(|s| s.sent * s.subscribers).sum();
        let delivered: u64 = swarm.received.iter().map(|r| r.delivered).sum();
        let all_there = answered >= all_sent && (delivered >= expected || is_rejected);
        if (all_there && !is_rejected) || drained.elapsed() > DRAIN {
            return Ok(elapsed);
        }
        let before = delivered;
        swarm.turn(Duration::from_millis(50))?;
        let after: u64 = swarm.received.iter().map(|r| r.delivered).sum();
        if all_there && before == after && drained.elapsed() > Duration::from_secs(1) {
            return Ok(elapsed);
        }
    }
}

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

fn subscriber(room: &str, class: usize) -> Role {
    Role {
        room: Some(room.to_owned()),
        class,
        is_stopped: false,
    }
}

fn publisher() -> Role {
    Role {
        room: None,
        class: 0,
        is_stopped: false,
    }
}

/// Moves what the swarm received into the report's classes.
fn classes(swarm: &mut Swarm, names: &[&'static str], streams: &[Stream]) -> Vec<Class> {
    let mut classes: Vec<Class> = names.iter().map(|name| Class::new(name)).collect();
    for stream in streams {
        classes[stream.class].published += stream.sent;
        classes[stream.class].expected += stream.sent * stream.subscribers;
    }
    for (class, received) in classes.iter_mut().zip(&swarm.received) {
        class.latency_us = received.latency_us.clone();
        class.delivered = received.delivered;
        class.doubled = received.doubled;
        class.out_of_order = received.out_of_order;
    }
    // Rejected publishes were never promised to anyone; their deliveries are not missing.
    if swarm.rejected > 0
        && let Some(first) = classes.first_mut()
    {
        let subscribers = streams.first().map_or(0, |stream| stream.subscribers);
        first.expected = first.expected.saturating_sub(swarm.rejected * subscribers);
    }
    classes
}

pub(crate) fn viral(
    target: &Target,
    subscribers: usize,
    rate: f64,
    quiet: usize,
    stopped: usize,
) -> Result<Report, LoadError> {
    let mut swarm = Swarm::new(target, 2)?;
    let memory = Watch::begin(target);
    let reading = subscribers.saturating_sub(stopped);
    swarm.add(subscriber("load:hot", 0), reading);
    let stands_still = Role {
        is_stopped: true,
        ..subscriber("load:hot", 0)
    };
    swarm.add(stands_still, stopped.min(subscribers));
    let quiet_rooms: Vec<String> = (0..quiet).map(|n| format!("load:quiet-{n}")).collect();
    for room in &quiet_rooms {
        swarm.add(subscriber(room, 1), QUIET_MEMBERS);
    }
    swarm.add(publisher(), 2);
    let last = swarm.len() - 1;
    swarm.open_all()?;
    let mut streams = vec![Stream {
        rooms: vec!["load:hot".to_owned()],
        subscribers: reading as u64,
        class: 0,
        publishers: vec![last],
        interval_ns: 1e9 / rate,
        sent: 0,
        first_ns: 0,
    }];
    if quiet > 0 {
        streams.push(Stream {
            interval_ns: 1e9 / (QUIET_RATE * quiet as f64),
            rooms: quiet_rooms,
            subscribers: QUIET_MEMBERS as u64,
            class: 1,
            publishers: vec![last - 1],
            sent: 0,
            first_ns: 0,
        });
    }
    let watch = Watch::begin(target);
    let elapsed = play(&mut swarm, &mut streams, target, target.seconds)?;
    let names: &[&str] = if quiet > 0 {
        &["viral", "quiet"]
    } else {
        &["viral"]
    };
    let report = Report {
        workload: "viral",
        elapsed,
        cpu: watch.cpu(),
        memory: memory.memory(),
        rejected: swarm.rejected,
        classes: classes(&mut swarm, names, &streams),
        figures: vec![("closed_connections", swarm.closed as f64)],
    };
    report.print(target.json);
    Ok(report)
}

pub(crate) fn rooms(
    target: &Target,
    rooms: usize,
    subscribers: usize,
    rate: f64,
) -> Result<Report, LoadError> {
    let mut swarm = Swarm::new(target, 1)?;
    let memory = Watch::begin(target);
    let names: Vec<String> = (0..rooms).map(|n| format!("load:room-{n}")).collect();
    for room in &names {
        swarm.add(subscriber(room, 0), subscribers);
    }
    // As in a chat: a member of the room writes.
    let publishers = (0..rooms).map(|room| room * subscribers).collect();
    swarm.open_all()?;
    let mut streams = [Stream {
        rooms: names,
        subscribers: subscribers as u64,
        class: 0,
        publishers,
        interval_ns: 1e9 / rate,
        sent: 0,
        first_ns: 0,
    }];
    let watch = Watch::begin(target);
    let elapsed = play(&mut swarm, &mut streams, target, target.seconds)?;
    let report = Report {
        workload: "rooms",
        elapsed,
        cpu: watch.cpu(),
        memory: memory.memory(),
        rejected: swarm.rejected,
        classes: classes(&mut swarm, &["rooms"], &streams),
        figures: Vec::new(),
    };
    report.print(target.json);
    Ok(report)
}

pub(crate) fn saturate(target: &Target, subscribers: usize, limit: Duration) -> Result<Report, LoadError> {
    let (mut good, mut bad): (f64, Option<f64>) = (0.0, None);
    let mut rate = 100.0;
    let mut best = None;
    // Doubles until it breaks, then halves the way between: within 6 % after four steps.
    while bad.is_none_or(|bad| bad / good.max(1.0) > 1.06) && rate < 1e6 {
        let report = saturate_once(target, subscribers, rate)?;
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

fn saturate_once(target: &Target, subscribers: usize, rate: f64) -> Result<Report, LoadError> {
    let mut swarm = Swarm::new(target, 1)?;
    swarm.add(subscriber("load:hot", 0), subscribers);
    swarm.add(publisher(), SATURATE_PUBLISHERS);
    let publishers = (swarm.len() - SATURATE_PUBLISHERS..swarm.len()).collect();
    swarm.open_all()?;
    let mut streams = [Stream {
        rooms: vec!["load:hot".to_owned()],
        subscribers: subscribers as u64,
        class: 0,
        publishers,
        interval_ns: 1e9 / rate,
        sent: 0,
        first_ns: 0,
    }];
    let watch = Watch::begin(target);
    let seconds = target.seconds.min(Duration::from_secs(4));
    let elapsed = play(&mut swarm, &mut streams, target, seconds)?;
    Ok(Report {
        workload: "saturate",
        elapsed,
        cpu: watch.cpu(),
        memory: watch.memory(),
        rejected: swarm.rejected,
        classes: classes(&mut swarm, &["viral"], &streams),
        figures: Vec::new(),
    })
}

pub(crate) fn idle(target: &Target, connections: usize, rooms: usize) -> Result<Report, LoadError> {
    let mut swarm = Swarm::new(target, 1)?;
    for n in 0..connections {
        swarm.add(subscriber(&format!("load:idle-{}", n % rooms.max(1)), 0), 1);
    }
    // A server that has let one in has finished starting: its fixed memory is not the connections'.
    let mut first = Swarm::new(target, 1)?;
    first.add(publisher(), 1);
    first.open_all()?;
    let watch = Watch::begin(target);
    let begun = Instant::now();
    swarm.open_all()?;
    let opened = begun.elapsed();
    let cpu = watch.cpu();
    // What was needed only for opening is given back meanwhile.
    let until = Instant::now() + target.seconds;
    while Instant::now() < until {
        swarm.turn(Duration::from_millis(100))?;
    }
    let count = connections as f64;
    let mut figures = vec![
        ("connections", count),
        ("connects_per_second", count / opened.as_secs_f64()),
    ];
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

pub(crate) fn storm(
    target: &Target,
    connections: usize,
    rooms: usize,
    wait_restart: bool,
) -> Result<Report, LoadError> {
    let mut swarm = Swarm::new(target, 1)?;
    for n in 0..connections {
        swarm.add(subscriber(&format!("load:storm-{}", n % rooms.max(1)), 0), 1);
    }
    swarm.open_all()?;
    eprintln!("{} connected", swarm.ready());
    if wait_restart {
        while swarm.ready() > 0 {
            swarm.turn(Duration::from_millis(10))?;
        }
        let address = target
            .url
            .trim_start_matches("ws://")
            .split('/')
            .next()
            .unwrap_or_default();
        while std::net::TcpStream::connect(address).is_err() {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    swarm.drop_all();
    let watch = Watch::begin(target);
    let before = retransmits();
    let begun = Instant::now();
    swarm.open_all()?;
    let elapsed = begun.elapsed();
    let report = Report {
        workload: "storm",
        elapsed,
        cpu: watch.cpu(),
        memory: watch.memory(),
        rejected: 0,
        classes: Vec::new(),
        figures: vec![
            ("connections", connections as f64),
            ("seconds_until_all_are_back", elapsed.as_secs_f64()),
            (
                "retransmitted_segments",
                retransmits().saturating_sub(before) as f64,
            ),
        ],
    };
    report.print(target.json);
    Ok(report)
}

pub(crate) fn publish(
    target: &Target,
    publishers: usize,
    rate: f64,
    namespace: &str,
) -> Result<Report, LoadError> {
    let mut swarm = Swarm::new(target, 1)?;
    swarm.add(publisher(), publishers);
    swarm.open_all()?;
    let mut streams = [Stream {
        rooms: (0..publishers)
            .map(|n| format!("{namespace}:publish-{n}"))
            .collect(),
        subscribers: 0,
        class: 0,
        publishers: (0..publishers).collect(),
        interval_ns: 1e9 / rate,
        sent: 0,
        first_ns: 0,
    }];
    let watch = Watch::begin(target);
    let elapsed = play(&mut swarm, &mut streams, target, target.seconds)?;
    let mut class = Class::new("acks");
    class.published = streams[0].sent;
    class.expected = streams[0].sent.saturating_sub(swarm.rejected);
    class.delivered = swarm.acknowledged;
    class.latency_us = swarm.ack_us.clone();
    let per_second = swarm.acknowledged as f64 / elapsed.as_secs_f64();
    let report = Report {
        workload: "publish",
        elapsed,
        cpu: watch.cpu(),
        memory: watch.memory(),
        rejected: swarm.rejected,
        classes: vec![class],
        figures: vec![("acknowledged_per_second", per_second)],
    };
    report.print(target.json);
    Ok(report)
}

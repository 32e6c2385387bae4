//! Rules on rooms and readers: hot rooms, how rooms are shared out, what waits without a bound, slow readers, and what a
//! fan-out costs in money and time.

use super::{
    Found, Severity,
    facts::{Facts, bytes, many, percent, working, written},
};
use crate::{
    judge::words::time,
    network::{Flow, Machine, Network, Step},
    plan::{Burst, Kind},
    price::MONTH_HOURS,
};

/// A room that is this part of what one core, or one partition, can do has no room to grow.
const HOT: f64 = 0.5;
/// What leaves to the internet, of the budget.
const EGRESS: f64 = 0.3;
/// Fan-out of the largest room, of a latency.
const FANOUT: f64 = 0.25;
/// Readers that stop together when a network has a bad moment (assumed).
const STALLED: f64 = 0.1;
/// Writes a second to one client that a person still sees, the most first.
const RATES: [f64; 7] = [30.0, 20.0, 10.0, 5.0, 4.0, 2.0, 1.0];

/// Seconds of one delivery in a room of so many: what is conflated is sent less in larger ones.
fn each(network: &Network, flow: &Flow, step: &Step, members: f64) -> f64 {
    let usual = network.kept(flow);
    let there = network.conflation(flow, members, flow.rate).kept();
    step.per_receiver * (there / usual.max(f64::MIN_POSITIVE)).min(1.0)
}

/// The fan-out of a flow.
fn fanout(flow: &Flow) -> Option<&Step> {
    flow.steps.iter().find(|step| step.machine == Machine::Receivers)
}

/// L15.
pub(super) fn hot_room(facts: &Facts<'_>, found: &mut Found) {
    let network = facts.network();
    for flow in &network.flows {
        let members = flow.receivers_max;
        let rate = members * flow.rate;
        for step in &flow.steps {
            let station = &network.stations[step.station.0 as usize];
            let machines = f64::from(working(station).max(1));
            let (work, what) = match step.machine {
                Machine::Receivers => {
                    let parts = machines.min(members.max(1.0));
                    let one = each(network, flow, step, members) * members / parts + step.service.mean();
                    (rate * one, "core")
                }
                Machine::Room => (rate * step.service.mean(), "partition"),
                Machine::Any | Machine::Home => continue,
            };
            if work <= HOT || facts.is_managed(station.node as usize) {
                continue;
            }
            let id = facts.id(station.node as usize);
            let severity = match work >= 1.0 {
                true => Severity::Error,
                false => Severity::Warning,
            };
            let evidence = format!(
                "the largest room of `{}` has {} users at the peak, {} publications a second and {} deliveries: {} of one {what} of each \
                 machine of `{id}`, and a room is in order on one",
                flow.name,
                many(members),
                many(rate),
                many(rate * members),
                percent(work)
            );
            let fix = match (what, flow.coalescible) {
                ("core", true) => conflate_words(facts, |network| {
                    let mut flow = flow.clone();
                    flow.receivers = vec![(members, 1.0)];
                    rate * members * network.kept(&flow) * 10e-6 / machines <= HOT / 2.0
                }),
                ("core", false) => format!(
                    "`coalescible = true` of `{}` with `conflate_rate` of `{id}`, if a newer one makes an older one worthless; else \
                     smaller rooms, or `count = {:.0}`",
                    flow.name,
                    libm::ceil(machines * work / HOT * 1.2)
                ),
                _ => format!(
                    "smaller rooms of `{}`: more `partitions` do not share one room",
                    flow.name
                ),
            };
            let key = match (what, flow.coalescible) {
                ("core", true) => "conflate_rate",
                _ => "count",
            };
            found
                .note(severity, evidence, fix)
                .at_class(&flow.name, "room")
                .at_node(id, key);
        }
    }
}

/// L16.
pub(super) fn shard_key(facts: &Facts<'_>, found: &mut Found) {
    let network = facts.network();
    let edge = facts.edge();
    let id = facts.id(edge);
    let machines = f64::from(facts.machines(edge));
    for flow in &network.flows {
        let Some(step) = fanout(flow).filter(|_| machines > 1.0 && !facts.is_managed(edge)) else {
            continue;
        };
        let members = flow.receivers_mean();
        // Of so many members some are on each machine, but for the luck of the draw.
        let met = machines * (1.0 - libm::pow(1.0 - 1.0 / machines, members));
        let passing = step.service.mean() * met;
        let delivering = step.per_receiver * members;
        let part = passing / (passing + delivering).max(f64::MIN_POSITIVE);
        if part <= 0.5 || flow.rate <= 0.0 || members < 1.5 {
            continue;
        }
        let busy = facts.busy(edge);
        let severity = match busy > 0.5 {
            true => Severity::Warning,
            false => Severity::Note,
        };
        let evidence = format!(
            "users of a room are on all {machines:.0} machines of `{id}`, so a publication of `{}` is put out on {met:.1} of them for {} \
             receivers: {} of its work is that, and `{id}` is {} busy in the worst minutes",
            flow.name,
            many(members),
            percent(part),
            percent(busy)
        );
        let fix = "fewer and larger machines (`size`, `count`), or users of one room sent to one machine: a plan for each group of rooms";
        found
            .note(severity, evidence, fix)
            .at_node(id, "count")
            .at_class(&flow.name, "room");
    }
    one_partition(facts, found);
}

/// One room with most of what a stream keeps is one partition with most of it.
fn one_partition(facts: &Facts<'_>, found: &mut Found) {
    let network = facts.network();
    for (place, node) in facts.nodes().filter(|(_, node)| node.kind == Kind::Stream) {
        let partitions = facts.options[place].partitions.unwrap_or(1);
        let stored = |flow: &&Flow| flow.steps.iter().any(|step| facts.is_at(step, place));
        let all: f64 = network.flows.iter().filter(stored).map(|flow| flow.rate).sum();
        let largest = network
            .flows
            .iter()
            .filter(stored)
            .map(|flow| (flow.rate * flow.receivers_max / facts.peak().max(1.0), flow))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let Some((of_room, flow)) = largest.filter(|_| partitions > 1 && all > 0.0) else {
            continue;
        };
        let part = of_room / all;
        if part <= 0.5 {
            continue;
        }
        let evidence = format!(
            "the largest room of `{}` has {} of what `{}` keeps, and a room is in one of its {partitions} partitions: the others share the rest",
            flow.name,
            percent(part),
            node.id
        );
        found
            .note(
                Severity::Warning,
                evidence,
                "a key below the room, if order within it need not be kept; else smaller rooms: more `partitions` change nothing",
            )
            .at_node(&node.id, "partitions")
            .at_class(&flow.name, "room");
    }
}

/// L17.
pub(super) fn unbounded(facts: &Facts<'_>, found: &mut Found) {
    let worth = facts.plan.scenario.clients.timeout;
    let network = facts.network();
    let mut open: Vec<&str> = Vec::new();
    for (place, node) in facts.nodes() {
        let is_open = node.options.waiting_max.is_none() && !facts.is_managed(place);
        if !is_open || !facts.is_in_path(place) {
            continue;
        }
        open.push(&node.id);
        let worst = network
            .stations
            .iter()
            .zip(&facts.outcome().stations)
            .enumerate()
            .filter(|(_, (station, _))| station.node as usize == place)
            .map(|(at, (station, outcome))| {
                let mean = service_at(network, at);
                let a_second = f64::from(working(station)) * f64::from(station.servers) / mean.max(1e-9);
                (
                    outcome.waiting_max / a_second,
                    outcome.waiting_max,
                    a_second / f64::from(working(station).max(1)),
                )
            })
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let Some((seconds, waiting, a_second)) = worst.filter(|(seconds, ..)| *seconds > worth) else {
            continue;
        };
        let evidence = format!(
            "up to {} wait at `{}`, {} of work, and who asked has given up after {}: it works for nobody while those who come new wait",
            many(waiting),
            node.id,
            time(seconds),
            time(worth)
        );
        found
            .note(
                Severity::Warning,
                evidence,
                format!(
                    "`waiting_max = {:.0}`: what comes when so many wait is refused at once",
                    libm::ceil(a_second * worth / 2.0)
                ),
            )
            .at_node(&node.id, "waiting_max");
    }
    if found.findings.is_empty() && !open.is_empty() {
        let evidence = format!(
            "nothing bounds what may wait at `{}`; in this scenario at most {} wait",
            open.join("`, `"),
            many(
                network
                    .stations
                    .iter()
                    .zip(&facts.outcome().stations)
                    .filter(|(station, _)| open.contains(&facts.id(station.node as usize)))
                    .map(|(_, outcome)| outcome.waiting_max)
                    .fold(0.0, f64::max)
            )
        );
        let finding = found.note(
            Severity::Note,
            evidence,
            "`waiting_max`: as many as are served while an answer is still worth something",
        );
        for id in open {
            finding.at_node(id, "waiting_max");
        }
    }
}

/// Mean service of a visit of a station.
fn service_at(network: &Network, at: usize) -> f64 {
    let (mut work, mut visits) = (0.0, 0.0);
    for flow in &network.flows {
        for step in flow.steps.iter().filter(|step| step.station.0 as usize == at) {
            work += flow.rate * (step.service.mean() + step.per_receiver * flow.receivers_mean());
            visits += flow.rate;
        }
    }
    if visits > 0.0 { work / visits } else { 0.0 }
}

/// L18.
pub(super) fn slow_consumer(facts: &Facts<'_>, found: &mut Found) {
    let edge = facts.edge();
    let node = facts.node(edge);
    if node.kind != Kind::Ws {
        return;
    }
    let scenario = &facts.plan.scenario;
    let outbox = f64::from(facts.options[edge].outbox_bytes.unwrap_or(0));
    // One machine may be gone.
    let machines = facts.machines(edge).saturating_sub(1).max(1);
    let held = facts.peak() / f64::from(machines);
    let free = facts
        .stations(edge)
        .find(|(station, _)| station.memory_per_connection > 0.0)
        .map_or(f64::INFINITY, |(station, _)| {
            station.memory - station.memory_base - held * station.memory_per_connection
        });
    let slow = scenario.slow_readers.max(STALLED);
    let needed = outbox * held * slow;
    if needed > free {
        let severity = match outbox * held * scenario.slow_readers > free {
            true => Severity::Error,
            false => Severity::Warning,
        };
        let why = match scenario.slow_readers >= STALLED {
            true => "read slowly",
            false => "stop for a moment, as when a mobile network does",
        };
        let evidence = format!(
            "{} may wait for each of {} connections of a machine of `{}`; when {} of them {why} that is {}, and {} are free",
            bytes(outbox),
            many(held),
            node.id,
            percent(slow),
            bytes(needed),
            bytes(free.max(0.0))
        );
        let fits = libm::floor(free.max(0.0) / (held * slow).max(1.0) / 2.0 / 1024.0).clamp(1.0, 1024.0);
        found
            .note(severity, evidence, format!("`outbox_bytes = \"{fits:.0}KiB\"`"))
            .at_node(&node.id, "outbox_bytes");
    }
    more_than_read(facts, edge, outbox, found);
}

/// Slow readers who are sent more than they read.
fn more_than_read(facts: &Facts<'_>, edge: usize, outbox: f64, found: &mut Found) {
    let (network, scenario) = (facts.network(), &facts.plan.scenario);
    if scenario.slow_readers <= 0.0 {
        return;
    }
    let loud = |flow: &Flow| {
        let factors = scenario.bursts.iter().filter_map(|burst| match burst {
            Burst::Mmpp {
                factor,
                classes,
                loud,
                ..
            } if classes.contains(&flow.name) => Some((*factor, *loud)),
            Burst::Mmpp { .. } | Burst::Cluster { .. } => None,
        });
        factors.fold(
            (1.0, f64::INFINITY),
            |most, one| if one.0 > most.0 { one } else { most },
        )
    };
    // What is conflated takes the pace of its reader.
    let waits: Vec<&Flow> = network
        .flows
        .iter()
        .filter(|flow| !network.is_conflated(flow))
        .collect();
    let sent = |flow: &Flow, factor: f64| flow.rate * factor * flow.receivers_mean() * flow.bytes;
    let calm: f64 = waits.iter().map(|flow| sent(flow, 1.0)).sum();
    let most: f64 = waits.iter().map(|flow| sent(flow, loud(flow).0)).sum();
    let lasts = waits
        .iter()
        .map(|flow| loud(flow).1)
        .fold(f64::INFINITY, f64::min);
    let reads = scenario.slow_reader_rate;
    let (rate, fills, when) = match calm > reads {
        true => (calm, outbox / (calm - reads), "always"),
        false if most > reads && outbox / (most - reads) < lasts => {
            (most, outbox / (most - reads), "while it is loud")
        }
        false => return,
    };
    let Some(largest) = waits.iter().max_by(|a, b| sent(a, 1.0).total_cmp(&sent(b, 1.0))) else {
        return;
    };
    let evidence = format!(
        "{} of the readers take {}/s and {when} are sent {}/s: what waits for each grows to {} in {}, and then they are cut off",
        percent(scenario.slow_readers),
        bytes(reads),
        bytes(rate),
        bytes(outbox),
        time(fills)
    );
    let id = facts.id(edge);
    let fix = match waits.iter().any(|flow| flow.coalescible) {
        true => conflate_words(facts, |network| {
            let flows = network.flows.iter();
            let left: f64 = flows.map(|flow| sent(flow, 1.0) * network.kept(flow)).sum();
            left <= reads
        }),
        false => format!(
            "`coalescible = true` of `{}` with `conflate_rate` of `{id}`, so that the newest takes the place of what waits",
            largest.name
        ),
    };
    found
        .note(Severity::Warning, evidence, fix)
        .at_node(id, "conflate_rate")
        .at_class(&largest.name, "coalescible");
}

/// The highest rate of those a person still sees that is enough, in words.
fn conflate_words(facts: &Facts<'_>, is_enough: impl Fn(&Network) -> bool) -> String {
    let mut network = facts.network().clone();
    let now = network.conflate_rate;
    for rate in RATES.into_iter().filter(|rate| now <= 0.0 || *rate < now) {
        network.conflate_rate = rate;
        if is_enough(&network) {
            return format!(
                "`conflate_rate = \"{rate:.0}/s\"` of `{}`: the newest is enough",
                facts.id(facts.edge())
            );
        }
    }
    format!(
        "`conflate_rate` of `{}` is not enough, even at one a second: smaller rooms, fewer bytes, or less often",
        facts.id(facts.edge())
    )
}

/// L19.
pub(super) fn fanout_bill(facts: &Facts<'_>, found: &mut Found) {
    let Some(bill) = &facts.judged.bill else { return };
    let budget = facts.plan.contract.budget;
    let egress = bill
        .lines
        .iter()
        .find(|line| line.node.is_none() && line.what.starts_with("egress"));
    let Some(line) = egress.filter(|line| line.amount > EGRESS * budget && budget > 0.0) else {
        return;
    };
    let network = facts.network();
    let hours = facts.plan.scenario.hours.max(f64::MIN_POSITIVE);
    let published = |flow: &Flow| {
        let classes = facts.outcome().classes.iter();
        let of = classes
            .filter(|class| class.name == flow.name)
            .map(|class| class.delivered);
        of.sum::<f64>() * MONTH_HOURS / hours
    };
    let Some(largest) = network
        .flows
        .iter()
        .max_by(|a, b| (published(a) * a.bytes).total_cmp(&(published(b) * b.bytes)))
    else {
        return;
    };
    let severity = match line.amount > budget {
        true => Severity::Error,
        false => Severity::Warning,
    };
    let evidence = format!(
        "{} GB leave in a month, {} of a budget of {}; most of it are {} M deliveries of `{}`, {} each{}",
        many(line.quantity),
        facts.money(line.amount),
        facts.money(budget),
        many(published(largest) / 1e6),
        largest.name,
        bytes(largest.bytes),
        match line.amount > budget {
            true => ": no choice of machines keeps this budget",
            false => "",
        }
    );
    let sent = |network: &Network| -> f64 {
        let flows = network.flows.iter();
        flows
            .map(|flow| flow.rate * flow.receivers_mean() * flow.bytes * network.kept(flow))
            .sum()
    };
    let now = sent(network);
    let fix = match network.flows.iter().any(|flow| flow.coalescible) {
        true => conflate_words(facts, |other| line.amount * sent(other) / now <= EGRESS * budget),
        false => format!(
            "`coalescible = true` of `{}` with a `conflate_rate`, if a newer one makes an older one worthless; else send what changed \
             (`bytes = \"{:.0}B\"`), or only to who looks",
            largest.name,
            libm::floor(largest.bytes * EGRESS * budget / line.amount).max(1.0)
        ),
    };
    found
        .note(severity, evidence, fix)
        .at_class(&largest.name, "bytes")
        .at_node(facts.id(facts.edge()), "conflate_rate")
        .at("contract.budget");
}

/// L20.
pub(super) fn fanout_latency(facts: &Facts<'_>, found: &mut Found) {
    let network = facts.network();
    let edge = facts.edge();
    let id = facts.id(edge);
    let machines = f64::from(facts.machines(edge).max(1));
    let takes = |flow: &Flow| {
        fanout(flow).map_or(0.0, |step| {
            each(network, flow, step, flow.receivers_max) * flow.receivers_max
                / machines.min(flow.receivers_max.max(1.0))
        })
    };
    for flow in &network.flows {
        let (takes, limit) = (takes(flow), facts.strictest_of(&flow.name));
        if takes <= FANOUT * limit || !limit.is_finite() {
            continue;
        }
        let severity = match takes > limit {
            true => Severity::Error,
            false => Severity::Warning,
        };
        let evidence = format!(
            "the largest room of `{}` has {} users at the peak, and `{id}` takes {} from its first to its last on each of {machines:.0} \
             machines; {} was promised",
            flow.name,
            many(flow.receivers_max),
            time(takes),
            time(limit)
        );
        let fix = format!(
            "`count = {:.0}` of `{id}`, or smaller rooms",
            libm::ceil(machines * takes / (FANOUT * limit))
        );
        found
            .note(severity, evidence, fix)
            .at_class(&flow.name, "room")
            .at_node(id, "count");
    }
    if facts.options[edge].lanes != Some(false) {
        return;
    }
    // In one lane what matters waits behind what does not.
    let behind = network.flows.iter().flat_map(|first| {
        let others = network
            .flows
            .iter()
            .filter(|other| other.priority < first.priority);
        others.map(move |other| (first, other))
    });
    let worst = behind
        .map(|(first, other)| (takes(other) / facts.strictest_of(&first.name), first, other))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let Some((part, first, other)) = worst else { return };
    let severity = match part > FANOUT {
        true => Severity::Warning,
        false => Severity::Note,
    };
    let evidence = format!(
        "`{}` shares its lane with `{}`, whose largest fan-out takes {} of a core, {} of the {} that `{}` was promised",
        first.name,
        other.name,
        time(takes(other)),
        percent(part),
        written(facts.strictest_of(&first.name)),
        first.name
    );
    found
        .note(
            severity,
            evidence,
            format!(
                "`lanes = true` of `{id}`: what has priority {} does not wait for the rest",
                first.priority
            ),
        )
        .at_node(id, "lanes")
        .at_class(&first.name, "priority");
}

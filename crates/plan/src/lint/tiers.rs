//! Rules on who stands where: load balancers, what machines of `ws` do besides, workers and what feeds them, replicas,
//! limiters, queues in the way.

use super::{
    Found, Severity,
    facts::{Facts, counted, many, percent, share_of, written},
    list,
};
use crate::{
    component::figures,
    judge::words::time,
    network::{Law, Stage},
    plan::{Burst, Kind, Options},
};

/// What consumers must be able to do, as a multiple of what comes in the worst minutes.
const CONSUMERS: f64 = 1.2;
/// The wait for a poll is this part of a latency at most.
const POLL: f64 = 0.25;
/// Below such a latency a queue that is stored has no place in the way.
const QUICK: f64 = 0.1;

/// L03.
pub(super) fn no_lb(facts: &Facts<'_>, found: &mut Found) {
    let mut called = facts.first();
    // What stands before and is no load balancer spreads nothing.
    let mut at = 0;
    while let Some(&place) = called.get(at) {
        at += 1;
        if facts.node(place).kind != Kind::Limiter {
            continue;
        }
        for kind in [Kind::Ws, Kind::Server] {
            if let Some(next) = facts.callee(place, kind).filter(|next| !called.contains(next)) {
                called.push(next);
            }
        }
    }
    for place in called {
        let node = facts.node(place);
        let machines = facts
            .working(place)
            .max(facts.options[place].autoscale_max.unwrap_or(0));
        if !matches!(node.kind, Kind::Ws | Kind::Server) || machines < 2 {
            continue;
        }
        let evidence = format!(
            "clients call `{}`, which has {machines} machines, and nobody sends them on: one that died is called by 1 in {machines} \
             until clients or a name server know",
            node.id
        );
        found
            .note(
                Severity::Warning,
                evidence,
                format!(
                    "a load balancer between: \"clients -> lb -> {}\" and `[node.lb]` with `kind = \"lb\"`",
                    node.id
                ),
            )
            .at_node(&node.id, "count")
            .at("topology.ways");
    }
}

/// L04.
pub(super) fn idle_lb(facts: &Facts<'_>, found: &mut Found) {
    for (place, node) in facts.nodes().filter(|(_, node)| node.kind == Kind::Lb) {
        let behind: Vec<usize> = [Kind::Ws, Kind::Server, Kind::Hosted, Kind::Limiter]
            .into_iter()
            .filter_map(|kind| facts.callee(place, kind))
            .flat_map(|next| match facts.node(next).kind {
                Kind::Limiter => facts.callee(next, Kind::Ws),
                _ => Some(next),
            })
            .collect();
        let machines: u32 = behind
            .iter()
            .map(|&next| {
                facts
                    .working(next)
                    .max(facts.options[next].autoscale_max.unwrap_or(0))
            })
            .sum();
        if behind.is_empty() || machines != 1 || facts.is_managed(behind[0]) {
            continue;
        }
        let price = facts.price(place).map_or_else(String::new, |price| {
            format!(", and costs {} a month", facts.money(price))
        });
        let behind = facts.id(behind[0]);
        let evidence = format!(
            "`{}` stands before one machine, `{behind}`{price}: there is nothing to balance",
            node.id
        );
        found
            .note(
                Severity::Note,
                evidence,
                format!("`count = 2` of `{behind}`, or \"clients -> {behind}\", which ends TLS itself"),
            )
            .at_node(behind, "count")
            .at_node(&node.id, "kind");
    }
}

/// L05.
pub(super) fn ws_shares_work(facts: &Facts<'_>, found: &mut Found) {
    let edge = facts.edge();
    let node = facts.node(edge);
    if node.kind != Kind::Ws {
        return;
    }
    let does: Vec<String> = [Kind::Postgres, Kind::Replica, Kind::Worker]
        .into_iter()
        .filter_map(|kind| facts.callee(edge, kind))
        .map(|place| format!("`{}`", facts.id(place)))
        .collect();
    if does.is_empty() {
        return;
    }
    let evidence = format!(
        "`{}` calls {} itself: {} connections of a machine wait together when that is slow, and a change of what is stored restarts \
         what holds them",
        node.id,
        list(&does),
        many(facts.held())
    );
    found
        .note(
            Severity::Warning,
            evidence,
            format!(
                "a tier for it: \"{} -> server -> …\", with `[node.server]` and `kind = \"server\"`",
                node.id
            ),
        )
        .at_node(&node.id, "kind")
        .at("topology.ways");
}

/// L14.
pub(super) fn stream_worker(facts: &Facts<'_>, found: &mut Found) {
    for (from, source) in facts.nodes() {
        if !matches!(source.kind, Kind::Stream | Kind::Queue) {
            continue;
        }
        let Some(place) = facts.callee(from, Kind::Worker) else {
            continue;
        };
        let (id, options) = (facts.id(place), &facts.options[place]);
        let machines = facts.working(place).max(options.autoscale_max.unwrap_or(0));
        let partitions = facts.options[from].partitions.unwrap_or(1);
        if source.kind == Kind::Stream && partitions < machines {
            let evidence = format!(
                "`{}` has {partitions} partitions and `{id}` {machines} machines: {} of them never have anything to take",
                source.id,
                machines - partitions
            );
            found
                .note(
                    Severity::Warning,
                    evidence,
                    format!("`partitions = {}`", machines.saturating_mul(2)),
                )
                .at_node(&source.id, "partitions")
                .at_node(id, "count");
        }
        let job = options.service.unwrap_or(figures::WORKER_JOB.value.mid);
        behind(facts, from, place, job, found);
        let visibility = facts.options[from].visibility.unwrap_or(f64::INFINITY);
        // Of jobs with the spread that is assumed, one in twenty takes three times the mean.
        if source.kind == Kind::Queue && 3.0 * job > visibility {
            let evidence = format!(
                "a job takes {} on average and often three times that, and after {} `{}` gives it to another: it is done twice",
                time(job),
                time(visibility),
                source.id
            );
            found
                .note(
                    Severity::Warning,
                    evidence,
                    format!("`visibility = \"{}\"`", written(10.0 * job)),
                )
                .at_node(&source.id, "visibility")
                .at_node(id, "service");
        }
    }
}

/// Whether consumers keep up, and how long they take for what was left.
fn behind(facts: &Facts<'_>, from: usize, place: usize, job: f64, found: &mut Found) {
    let jobs = facts
        .stations(place)
        .find(|(station, _)| station.stage == Stage::Work)
        .map(|(station, outcome)| (station, outcome.busy_p99_minute));
    let Some((station, measured)) = jobs else { return };
    let (machines, pool) = (station.machines, station.servers);
    let can = f64::from(machines) * f64::from(pool) / job.max(f64::MIN_POSITIVE);
    let comes = comes(facts, place);
    let busy = measured.max(comes / can);
    if busy * CONSUMERS <= 1.0 {
        return;
    }
    // As long as the database is away, jobs wait.
    let outage =
        facts
            .callee(place, Kind::Postgres)
            .map_or(facts.component(place).repair.value.mid, |database| {
                let options: &Options = &facts.options[database];
                match facts.machines(database) {
                    1 => facts.component(database).repair.value.mid,
                    _ => options.failover.unwrap_or(0.0),
                }
            });
    let (severity, after) = match busy >= 0.98 {
        true => (
            // Loud minutes pass; what is full for a hundredth of all minutes does not.
            match measured >= 0.98 || usual(facts, place) >= can {
                true => Severity::Error,
                false => Severity::Warning,
            },
            format!(
                "what waits after an outage of {} is never worked off while it is like that",
                time(outage)
            ),
        ),
        false => (
            Severity::Warning,
            format!(
                "what waits after an outage of {} takes {} to work off",
                time(outage),
                time(outage * busy / (1.0 - busy))
            ),
        ),
    };
    let (id, source) = (facts.id(place), facts.id(from));
    let evidence = format!(
        "`{id}` can do {:.0} jobs a second ({}, {pool} at once, {} each), and `{source}` gives it {:.0} a second \
         in the worst minutes of the peak; {after}",
        can,
        counted(machines, "machine"),
        time(job),
        (busy * can).max(comes),
    );
    let grow = libm::ceil(busy * 2.0 * f64::from(pool) / 5.0) * 5.0;
    let fix = match facts.node(from).kind {
        Kind::Stream => format!(
            "`count = {}` and `pool = {grow:.0}` of `{id}`, and `partitions = {}` of `{source}`, so that each has some to take",
            machines + 1,
            (machines + 1) * 2
        ),
        _ => format!("`count = {}` and `pool = {grow:.0}` of `{id}`", machines + 1),
    };
    found.note(severity, evidence, fix).at_node(id, "pool").at_node(
        source,
        match facts.node(from).kind {
            Kind::Stream => "partitions",
            _ => "kind",
        },
    );
}

/// Jobs a second on average.
fn usual(facts: &Facts<'_>, place: usize) -> f64 {
    let users = facts.outcome().wanted_s / facts.outcome().length.max(1.0);
    let flows = facts.network().flows.iter();
    flows
        .filter(|flow| flow.aside.iter().any(|step| facts.is_at(step, place)))
        .map(|flow| flow.rate * users)
        .sum()
}

/// Jobs a second at the peak, while it is loud, if that is more than a hundredth of the time.
fn comes(facts: &Facts<'_>, place: usize) -> f64 {
    let flows = facts.network().flows.iter();
    flows
        .filter(|flow| flow.aside.iter().any(|step| facts.is_at(step, place)))
        .map(|flow| {
            let bursts = facts.plan.scenario.bursts.iter();
            let factor = bursts
                .filter_map(|burst| match burst {
                    Burst::Mmpp {
                        factor,
                        quiet,
                        loud,
                        classes,
                    } if classes.contains(&flow.name) && loud / (quiet + loud) >= 0.01 => Some(*factor),
                    Burst::Mmpp { .. } | Burst::Cluster { .. } => None,
                })
                .fold(1.0, f64::max);
            flow.rate * facts.peak() * factor
        })
        .sum()
}

/// L23.
pub(super) fn replica_stale(facts: &Facts<'_>, found: &mut Found) {
    let strictest = facts.strictest();
    for (place, node) in facts.nodes() {
        let Some(replica) = facts.callee(place, Kind::Replica) else {
            continue;
        };
        let writes = [Kind::Postgres, Kind::Stream, Kind::Queue]
            .into_iter()
            .any(|kind| facts.callee(place, kind).is_some());
        let behind = facts.options[replica].staleness_max.unwrap_or(f64::INFINITY);
        let id = facts.id(replica);
        if writes && node.kind != Kind::Postgres && behind > strictest {
            let evidence = format!(
                "`{}` writes, and reads from `{id}`, which may be {} behind: who reads what they wrote {} ago does not find it",
                node.id,
                time(behind),
                time(strictest)
            );
            found
                .note(
                    Severity::Warning,
                    evidence,
                    format!(
                        "`staleness_max = \"{}\"`, and read what one wrote from the primary",
                        written(strictest)
                    ),
                )
                .at_node(id, "staleness_max");
        }
        let busy = facts.busy(replica);
        if busy >= 0.8 {
            let evidence = format!(
                "`{id}` is {} busy in the worst minutes: it applies what was written when reads let it, and falls behind by more than {}",
                percent(busy),
                time(behind)
            );
            found
                .note(
                    Severity::Warning,
                    evidence,
                    format!("`count = {}`", facts.node(replica).count + 1),
                )
                .at_node(id, "count");
        }
    }
}

/// L26.
pub(super) fn limiter_blind(facts: &Facts<'_>, found: &mut Found) {
    let scenario = &facts.plan.scenario;
    let honest: f64 = scenario.classes.iter().map(|class| class.rate).sum();
    let mut before_edge = false;
    for (place, node) in facts.nodes().filter(|(_, node)| node.kind == Kind::Limiter) {
        before_edge |= facts.is_in_path(place);
        let options = &facts.options[place];
        if options.counts_reconnects == Some(true) {
            let evidence = format!(
                "when a machine of `{}` dies {} users come back and each tries again; `{}` takes that for abuse and refuses them",
                facts.id(facts.edge()),
                many(facts.held()),
                node.id
            );
            found
                .note(Severity::Error, evidence, "`counts_reconnects = false`")
                .at_node(&node.id, "counts_reconnects");
        }
        if options.rate.is_some_and(|rate| rate < honest) {
            let evidence = format!(
                "`{}` lets {} a second of one user pass, and each user publishes {honest:.2} on average",
                node.id,
                options.rate.unwrap_or(0.0),
            );
            found
                .note(
                    Severity::Error,
                    evidence,
                    format!("`rate = \"{:.0}/s\"`", libm::ceil(3.0 * honest).max(1.0)),
                )
                .at_node(&node.id, "rate");
        }
        let callers: Vec<&str> = facts
            .plan
            .topology
            .edges
            .iter()
            .filter(|edge| edge.to == node.id)
            .filter(|edge| {
                facts.place(&edge.from).is_some_and(|from| {
                    matches!(facts.node(from).kind, Kind::Ws | Kind::Hosted | Kind::Server)
                })
            })
            .map(|edge| edge.from.as_str())
            .collect();
        if let Some(caller) = callers.first() {
            let evidence = format!(
                "`{caller}` calls `{}`: what is refused there has had its work done by `{caller}` already",
                node.id
            );
            found
                .note(
                    Severity::Warning,
                    evidence,
                    format!(
                        "put it before: \"clients -> lb -> {} -> {}\"",
                        node.id,
                        facts.id(facts.edge())
                    ),
                )
                .at_node(&node.id, "kind")
                .at("topology.ways");
        }
    }
    let more = 9.0 * scenario.abuse;
    if scenario.abuse > 0.0 && !before_edge {
        let severity = match more > 0.05 {
            true => Severity::Warning,
            false => Severity::Note,
        };
        let evidence = format!(
            "{} of the users publish ten times as much as they may, {} more of everything, and nobody refuses it",
            percent(scenario.abuse),
            percent(more)
        );
        let edge = facts.id(facts.edge());
        found
            .note(
                severity,
                evidence,
                format!(
                    "\"clients -> lb -> limiter -> {edge}\", with `kind = \"limiter\"`, `size = \"in-process\"`, `rate = \"{:.0}/s\"`",
                    libm::ceil(3.0 * honest).max(1.0)
                ),
            )
            .at("scenario.abuse")
            .at_node(edge, "kind");
    }
}

/// L29.
pub(super) fn queue_in_path(facts: &Facts<'_>, found: &mut Found) {
    for (place, node) in facts.nodes() {
        if !matches!(node.kind, Kind::Stream | Kind::Queue) {
            continue;
        }
        let mut worst: Option<(f64, &str, f64)> = None;
        let mut stored: Option<(f64, &str, f64)> = None;
        for flow in &facts.network().flows {
            let limit = facts.strictest_of(&flow.name);
            let is_there = flow.steps.iter().any(|step| facts.is_at(step, place));
            if !is_there || !limit.is_finite() {
                continue;
            }
            for step in &flow.steps {
                let part = step.travel.mean() * share_of(step.share) / limit;
                match step.travel {
                    Law::Uniform { max }
                        if step.travel_stage == Stage::Poll
                            && worst.is_none_or(|(most, ..)| max / limit > most) =>
                    {
                        worst = Some((max / limit, &flow.name, max));
                    }
                    _ if facts.is_at(step, place) && stored.is_none_or(|(most, ..)| part > most) => {
                        stored = Some((part, &flow.name, step.travel.mean()));
                    }
                    _ => {}
                }
            }
        }
        if let Some((part, class, poll)) = worst.filter(|(part, ..)| *part > POLL) {
            let limit = poll / part;
            let severity = match 0.95 * part > 1.0 {
                true => Severity::Error,
                false => Severity::Warning,
            };
            let evidence = format!(
                "`{class}` waits for the next poll of `{}`, {} on average and {} of one in twenty; {} is promised, and no machine makes it less",
                node.id,
                time(poll / 2.0),
                time(0.95 * poll),
                time(limit)
            );
            found
                .note(
                    severity,
                    evidence,
                    format!(
                        "`poll = \"0s\"` (push), or \"{}\" at most; or let `{class}` not pass it: a bus of its own, \"{} -> redis\"",
                        written(limit * POLL / 2.0),
                        facts.id(facts.edge())
                    ),
                )
                .at_node(&node.id, "poll")
                .at_class(class, "rate");
        }
        let is_quick = |class: &str| facts.strictest_of(class) <= QUICK;
        if let Some((part, class, persist)) =
            stored.filter(|(part, class, _)| *part > 0.05 && is_quick(class))
        {
            let evidence = format!(
                "`{class}` waits until `{}` has stored it, {} on average, {} of the {} that were promised",
                node.id,
                time(persist),
                percent(part),
                time(facts.strictest_of(class))
            );
            found
                .note(
                    Severity::Warning,
                    evidence,
                    format!("deliver first and store after: `durable = false` of `{class}`, or a stream that answers sooner"),
                )
                .at_node(&node.id, "kind")
                .at_class(class, "durable");
        }
    }
}

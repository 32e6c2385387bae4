//! Rules on room to spare: one machine less, few cores, scaling that comes late, pools, cold caches, money on the wrong tier.

use super::{
    Found, Severity, bursts,
    facts::{Facts, busy_in, bytes, counted, many, percent, share_of},
};
use crate::{
    compile::compile,
    component::{self, sizes_of},
    engine::fluid,
    erlang::{Queue, Variability, knee},
    judge::words::time,
    network::{Machine, Network, Share},
    outcome::{Outcome, StationOutcome},
    plan::{Fault, Kind, Plan, Session},
};

/// A tier that is as busy as that has no room.
const FULL: f64 = 0.98;
/// And one that is above this is close to it, however many cores it has.
const CLOSE: f64 = 0.85;
/// A line that costs this part of a latency shows in it.
const SHOWS: f64 = 0.05;
/// What a tier is asked to be at most, where a fix names a number.
const ROOMY: f64 = 0.6;

/// L06.
pub(super) fn one_less(facts: &Facts<'_>, found: &mut Found) {
    none_left(facts, found);
    for (place, node) in facts.nodes() {
        let machines = facts.working(place);
        if facts.is_managed(place) || machines < 2 || !facts.is_on_way(place) {
            continue;
        }
        let mut less = facts.plan.clone();
        less.topology.nodes[place].count = machines - 1;
        // With a bus, which one machine needs no more: the work per event is that of the real tier.
        let Some((network, outcome)) = calm(&less) else {
            continue;
        };
        let busy = busy_in(&network, &outcome, place);
        let now = facts.busy(place);
        if let Some((needed, memory)) = memory_of(facts, place, machines - 1)
            && needed > memory
        {
            let evidence = format!(
                "{} connections on {} machines of `{}` are {} each, and a machine has {}",
                many(facts.peak()),
                machines - 1,
                node.id,
                bytes(needed),
                bytes(memory)
            );
            let (key, fix) = bigger(facts, place, ROOMY);
            found.note(Severity::Error, evidence, fix).at_node(&node.id, key);
        }
        let wait = wait_at(facts, &network, place, busy);
        let shows = wait > 2.0 * SHOWS * facts.strictest() && busy > knee_of(&network, place);
        let severity = match busy {
            _ if busy >= FULL => Severity::Error,
            _ if busy >= CLOSE || shows => Severity::Warning,
            _ => continue,
        };
        let evidence = format!(
            "with one of {machines} machines gone `{}` is {} busy in the worst minutes, {} with all of them; of twenty that come \
             then, one waits {} or more",
            node.id,
            percent(busy),
            percent(now),
            time(wait)
        );
        let (key, fix) = bigger(facts, place, ROOMY);
        found.note(severity, evidence, fix).at_node(&node.id, key);
    }
}

/// The only machine that holds connections.
fn none_left(facts: &Facts<'_>, found: &mut Found) {
    let edge = facts.edge();
    let node = facts.node(edge);
    if facts.is_managed(edge) || facts.machines(edge) > 1 {
        return;
    }
    let crashes = facts
        .plan
        .failures
        .scheduled
        .iter()
        .find_map(|failure| match failure.what {
            Fault::Crash { seconds, .. } if failure.node == node.id => Some((failure.at_hour, seconds)),
            _ => None,
        });
    let repair = facts.component(edge).repair.value.mid;
    let (severity, happens) = match crashes {
        Some((at, seconds)) => (
            Severity::Error,
            format!(
                "a failure of the plan is just that, at {}, for {}",
                time(at * 3_600.0),
                time(seconds.unwrap_or(repair))
            ),
        ),
        None => (
            Severity::Warning,
            format!("a machine is back after {}", time(repair)),
        ),
    };
    let evidence = format!(
        "with one machine less than `{}` has nobody holds the {} connections of the peak; {happens}",
        node.id,
        many(facts.peak())
    );
    found
        .note(
            severity,
            evidence,
            "`count = 3` and `zones = 3`, of which one may be gone, and a bus between them (\"ws -> redis\")",
        )
        .at_node(&node.id, "count");
}

/// Bytes that a machine of the edge needs at the peak if so many are there, and has.
fn memory_of(facts: &Facts<'_>, place: usize, machines: u32) -> Option<(f64, f64)> {
    if place != facts.edge() {
        return None;
    }
    let (station, _) = facts
        .stations(place)
        .find(|(station, _)| station.memory_per_connection > 0.0)?;
    let held = facts.peak() / f64::from(machines.max(1));
    Some((
        station.memory_base + held * station.memory_per_connection,
        station.memory,
    ))
}

/// L07.
pub(super) fn small_hot(facts: &Facts<'_>, found: &mut Found) {
    for (place, node) in facts.nodes() {
        if facts.is_managed(place) || !facts.is_in_path(place) {
            continue;
        }
        let network = facts.network();
        let busy = on_cores(facts, place);
        let (knee, wait) = (knee_of(network, place), wait_at(facts, network, place, busy));
        let shows = busy > knee && wait > SHOWS * facts.strictest();
        if busy < FULL && !shows {
            continue;
        }
        let severity = match busy >= FULL {
            true => Severity::Error,
            false => Severity::Warning,
        };
        let said = match busy >= FULL {
            true => "and what comes then waits for the next hour".to_owned(),
            false => format!(
                "of twenty that come then, one waits {} or more, of the {} that were promised",
                time(wait),
                time(facts.strictest())
            ),
        };
        let evidence = format!(
            "`{}` is {} busy in the worst minutes, and the knee of {} is at {}; {said}",
            node.id,
            percent(busy),
            counted(facts.size(place).cores, "core"),
            percent(knee),
        );
        let (key, fix) = bigger(facts, place, ROOMY.max(knee));
        found.note(severity, evidence, fix).at_node(&node.id, key);
    }
}

/// Utilisation of a node's cores in the worst minutes: pools, and paces of handshakes, are not its cores.
fn on_cores(facts: &Facts<'_>, place: usize) -> f64 {
    let nodes = facts.plan.topology.nodes.len();
    facts
        .stations(place)
        .filter(|(station, _)| (station.group as usize) < nodes)
        .map(|(_, outcome)| outcome.busy_p99_minute)
        .fold(0.0, f64::max)
}

fn knee_of(network: &Network, place: usize) -> f64 {
    let servers = network
        .stations
        .iter()
        .filter(|station| station.node as usize == place && station.group as usize == place)
        .map(|station| station.servers)
        .max();
    knee(servers.unwrap_or(1))
}

/// The wait for a node's cores that one in twenty has, if they are so busy.
fn wait_at(facts: &Facts<'_>, network: &Network, place: usize, busy: f64) -> f64 {
    let (mut work, mut visits, mut servers) = (0.0, 0.0, 1);
    for flow in &network.flows {
        let receivers = flow.receivers_mean();
        for step in flow.steps.iter().chain(&flow.aside) {
            let station = &network.stations[step.station.0 as usize];
            if station.node as usize != place || station.group as usize != place {
                continue;
            }
            servers = station.servers.max(servers);
            let parts = match step.machine {
                Machine::Receivers => f64::from(station.machines.max(1)).min(receivers.max(1.0)),
                Machine::Any | Machine::Home | Machine::Room => 1.0,
            };
            let rate = flow.rate * share_of(step.share);
            work += rate * (step.service.mean() * parts + step.per_receiver * receivers);
            visits += rate * parts;
        }
    }
    if visits <= 0.0 || work <= 0.0 {
        return 0.0;
    }
    let service = work / visits;
    let busy = busy.min(0.99);
    let queue = Queue {
        servers,
        rate: busy * f64::from(servers) / service,
        service,
    };
    let wait = queue.wait_quantile(0.95, Variability::MARKOV);
    if wait.is_finite() { wait } else { facts.strictest() }
}

/// What makes a tier so little busy, as a key and words: tried on the fluid.
fn bigger(facts: &Facts<'_>, place: usize, most: f64) -> (&'static str, String) {
    let node = facts.node(place);
    let is_one = facts
        .stations(place)
        .any(|(station, _)| station.takeover.is_some())
        || node.kind == Kind::Postgres;
    if is_one {
        let own = facts.size(place);
        let mut larger: Vec<_> = sizes_of(node.kind)
            .filter(|size| !size.managed && size.kinds == own.kinds)
            .filter(|size| (size.cores, size.memory) > (own.cores, own.memory))
            .filter(|size| {
                facts
                    .book
                    .as_ref()
                    .is_none_or(|book| book.entry(size.name).is_some())
            })
            .collect();
        larger.sort_by(|a, b| {
            (a.cores, a.memory)
                .partial_cmp(&(b.cores, b.memory))
                .expect("no NaN")
        });
        for size in larger {
            let mut plan = facts.plan.clone();
            size.name.clone_into(&mut plan.topology.nodes[place].size);
            if is_enough(&plan, place, most) {
                return ("size", format!("`size = \"{}\"`", size.name));
            }
        }
        return (
            "size",
            "less of its work: a cache or a replica for reads, a stream before what it writes".to_owned(),
        );
    }
    let now = facts.working(place);
    let mut count = now;
    for _ in 0..8 {
        count = (count + count.div_ceil(2)).min(10_000);
        let mut plan = facts.plan.clone();
        plan.topology.nodes[place].count = count;
        // One may be gone.
        if is_enough(&plan, place, most * f64::from(count - 1) / f64::from(count)) {
            return ("count", format!("`count = {count}`, of which one may be gone"));
        }
    }
    (
        "count",
        format!(
            "no number of machines helps: {} each does the same of every event; send less (`conflate_rate`, smaller rooms)",
            node.id
        ),
    )
}

fn is_enough(plan: &Plan, place: usize, most: f64) -> bool {
    calm(plan).is_some_and(|(network, outcome)| busy_in(&network, &outcome, place) <= most)
}

/// A run of another plan in which nothing goes wrong. A machine that becomes one keeps its bus, where it has one.
fn calm(plan: &Plan) -> Option<(Network, Outcome)> {
    let mut network = compile(plan).ok()?;
    network.faults.clear();
    let outcome = fluid::run(&network);
    Some((network, outcome))
}

/// L08.
pub(super) fn scale_too_late(facts: &Facts<'_>, found: &mut Found) {
    bursts::too_quick(facts, found);
    for (place, node) in facts.nodes() {
        let Some((at, station)) = facts
            .network()
            .stations
            .iter()
            .enumerate()
            .filter(|(_, station)| station.node as usize == place)
            .find(|(_, station)| station.scale.is_some())
        else {
            continue;
        };
        let Some(scale) = station.scale else { continue };
        let lag = scale.delay + scale.boot;
        let ahead = libm::ceil(lag / 60.0) as usize;
        let minutes = &facts.outcome().minutes;
        let mut worst: Option<(f64, usize)> = None;
        for (minute, pair) in minutes.iter().zip(minutes.iter().skip(ahead)).enumerate() {
            let (now, later) = pair;
            let machines = now.machines.get(at).copied().unwrap_or(0);
            if machines >= scale.machines_max || now.wanted < 1.0 {
                continue;
            }
            let busy = f64::from(now.busy.get(at).copied().unwrap_or(0.0));
            let then = busy * later.wanted / now.wanted;
            if then >= 1.0 && worst.is_none_or(|(most, _)| then > most) {
                worst = Some((then, minute));
            }
        }
        let Some((then, minute)) = worst else { continue };
        let (now, later) = (&minutes[minute], &minutes[minute + ahead]);
        let is_full = minutes.iter().any(|minute| {
            let busy = f64::from(minute.busy.get(at).copied().unwrap_or(0.0));
            busy >= FULL
                && minute
                    .machines
                    .get(at)
                    .is_some_and(|&machines| machines < scale.machines_max)
        });
        let severity = match is_full {
            true => Severity::Error,
            false => Severity::Warning,
        };
        let evidence = format!(
            "a new machine of `{}` serves {} after it is needed ({} to decide, {} to boot); at {} there are {} users and {} then, and \
             the {} machines that are there would be {} busy",
            node.id,
            time(lag),
            time(scale.delay),
            time(scale.boot),
            time(minute as f64 * 60.0),
            many(now.wanted),
            many(later.wanted),
            now.machines.get(at).copied().unwrap_or(0),
            percent(then),
        );
        let mut count = node.count;
        while count < scale.machines_max {
            count += 1;
            let mut plan = facts.plan.clone();
            plan.topology.nodes[place].count = count;
            if is_enough(&plan, place, CLOSE) {
                break;
            }
        }
        found
            .note(
                severity,
                evidence,
                format!("have them there before: `count = {count}`"),
            )
            .at_node(&node.id, "count")
            .at_node(&node.id, "autoscale_delay");
    }
}

/// L09.
pub(super) fn sticky_scale(facts: &Facts<'_>, found: &mut Found) {
    let edge = facts.edge();
    let node = facts.node(edge);
    let Some(scale) = facts.stations(edge).find_map(|(station, _)| station.scale) else {
        return;
    };
    if scale.rebalances {
        return;
    }
    let stay = match facts.plan.scenario.session {
        Session::Weibull { shape, scale } => scale * libm::tgamma(1.0 + 1.0 / shape.max(0.1)),
        Session::Exponential { mean } => mean,
        Session::Fixed { length } => length,
    };
    let evidence = format!(
        "`{}` grows from {} to {} machines, and who is connected stays where they are: {} on average. New machines only get who comes new, \
         while the first hold {} of {}",
        node.id,
        node.count,
        scale.machines_max,
        time(stay),
        many(facts.peak() / f64::from(node.count.max(1))),
        many(facts.peak())
    );
    found
        .note(
            Severity::Warning,
            evidence,
            "`rebalance = true`: clients are moved to new machines, at slots",
        )
        .at_node(&node.id, "rebalance");
}

/// L21.
pub(super) fn wrong_tier(facts: &Facts<'_>, found: &mut Found) {
    let places = || {
        facts
            .nodes()
            .map(|(place, _)| place)
            .filter(|&place| !facts.is_managed(place))
    };
    let Some(hot) = places().max_by(|&a, &b| facts.busy(a).total_cmp(&facts.busy(b))) else {
        return;
    };
    let most = facts.busy(hot);
    if most < 0.8 {
        return;
    }
    for place in places().filter(|&place| place != hot) {
        let (count, busy) = (facts.working(place), facts.busy(place));
        let needed = (libm::ceil(busy * f64::from(count) / 0.5) as u32 + 1).max(2);
        if busy >= 0.5 * most || count < 3 || needed >= count {
            continue;
        }
        let node = facts.node(place);
        let saved = facts
            .price(place)
            .map(|price| price * f64::from(count - needed) / f64::from(count));
        let money = saved.map_or_else(String::new, |saved| {
            format!("; {} of them cost {} a month", count - needed, facts.money(saved))
        });
        let evidence = format!(
            "`{}` has {count} machines that are {} busy in the worst minutes, while `{}` is {} busy{money}",
            node.id,
            percent(busy),
            facts.id(hot),
            percent(most)
        );
        let (key, fix) = bigger(facts, hot, ROOMY);
        found
            .note(
                Severity::Warning,
                evidence,
                format!(
                    "`count = {needed}` of `{}`, and of `{}` {fix}",
                    node.id,
                    facts.id(hot)
                ),
            )
            .at_node(&node.id, "count")
            .at_node(facts.id(hot), key);
    }
}

/// L22.
pub(super) fn pool(facts: &Facts<'_>, found: &mut Found) {
    for (place, node) in facts.nodes().filter(|(_, node)| node.kind == Kind::Postgres) {
        let takes = facts.options[place]
            .connections_max
            .unwrap_or(component::CONNECTIONS_MAX);
        let callers: Vec<(usize, u32, u32)> = facts
            .nodes()
            .filter(|(_, node)| matches!(node.kind, Kind::Server | Kind::Worker))
            .filter(|&(from, _)| facts.callee(from, Kind::Postgres) == Some(place))
            .map(|(from, node)| {
                let machines = node.count.max(facts.options[from].autoscale_max.unwrap_or(0));
                (from, machines, facts.options[from].pool.unwrap_or(10))
            })
            .collect();
        let asked: u64 = callers
            .iter()
            .map(|&(_, machines, pool)| u64::from(machines) * u64::from(pool))
            .sum();
        if asked > u64::from(takes) {
            let said: Vec<String> = callers
                .iter()
                .map(|&(from, machines, pool)| format!("{machines} × {pool} of `{}`", facts.id(from)))
                .collect();
            let machines: u32 = callers.iter().map(|caller| caller.1).sum();
            let fits = (f64::from(takes) * 0.9 / f64::from(machines.max(1))) as u32;
            let evidence = format!(
                "pools ask for {asked} connections ({}), and `{}` takes {takes}: who comes last gets none",
                said.join(", "),
                node.id
            );
            let finding = found.note(
                Severity::Error,
                evidence,
                format!(
                    "`pool = {}` each, or a pooler before it and `connections_max = {asked}`",
                    fits.max(1)
                ),
            );
            for &(from, ..) in &callers {
                finding.at_node(facts.id(from), "pool");
            }
            finding.at_node(&node.id, "connections_max");
        }
        empty_before_full(facts, place, found);
    }
}

/// Pools that are empty while the cores behind them are idle.
fn empty_before_full(facts: &Facts<'_>, place: usize, found: &mut Found) {
    let id = facts.id(place);
    let nodes = facts.plan.topology.nodes.len();
    let cores = |busy: fn(&StationOutcome) -> f64| {
        facts
            .stations(place)
            .filter(|(station, _)| (station.group as usize) < nodes)
            .map(|(_, outcome)| busy(outcome))
            .fold(0.0, f64::max)
    };
    let usual = |outcome: &StationOutcome| outcome.busy_p99_minute;
    let worst = |outcome: &StationOutcome| outcome.busy_max_minute;
    // What a connection is held for grows with a database that is slow.
    let slow = facts
        .plan
        .failures
        .scheduled
        .iter()
        .filter(|failure| failure.node == id);
    let slow = slow.fold(1.0, |most, failure| match failure.what {
        Fault::Slow { factor, .. } => factor.max(most),
        _ => most,
    });
    for (station, outcome) in facts.stations(place) {
        let Some(of) = station.name.strip_prefix(&format!("{id}: connections of ")) else {
            continue;
        };
        let looks = [
            ("in the worst minutes".to_owned(), usual(outcome), cores(usual)),
            ("in the worst minute".to_owned(), worst(outcome), cores(worst)),
            (
                format!(
                    "in the worst minutes, while `{id}` is {slow} times as slow as a failure of the plan has it,"
                ),
                usual(outcome) * slow,
                cores(usual) * slow,
            ),
        ];
        let Some((when, busy, cores)) = looks
            .into_iter()
            .find(|&(_, busy, cores)| busy >= 0.5 && busy > 1.2 * cores && cores < CLOSE)
        else {
            continue;
        };
        let Some(from) = facts.place(of) else { continue };
        let severity = match busy >= FULL {
            true => Severity::Error,
            false => Severity::Warning,
        };
        let pool = facts.options[from].pool.unwrap_or(10);
        let evidence = format!(
            "{when} {} of the {} connections of `{of}` are asked for, and {} of the cores of `{id}`: events wait for a connection that \
             the database could serve",
            percent(busy),
            station.servers,
            percent(cores)
        );
        let enough = libm::ceil((f64::from(pool) * busy / 0.4).max(f64::from(pool) * 2.0));
        found
            .note(severity, evidence, format!("`pool = {enough:.0}`"))
            .at_node(of, "pool")
            .at_node(id, "connections_max");
    }
}

/// L25.
pub(super) fn cache_cold(facts: &Facts<'_>, found: &mut Found) {
    let network = facts.network();
    let steps = || {
        network
            .flows
            .iter()
            .flat_map(|flow| flow.steps.iter().chain(&flow.aside))
            .chain(&network.connect)
    };
    let behind = steps().find_map(|step| match step.share {
        Share::Misses {
            cache,
            hit_rate,
            warm_up,
        } => {
            let cache = network.stations[cache.0 as usize].node as usize;
            let database = network.stations[step.station.0 as usize].node as usize;
            Some((cache, database, hit_rate, warm_up))
        }
        Share::All | Share::Of { .. } => None,
    });
    let Some((cache, database, hit_rate, warm_up)) = behind else {
        return;
    };
    let mut cold = network.clone();
    cold.faults.clear();
    let flows = cold.flows.iter_mut();
    let steps = flows
        .flat_map(|flow| flow.steps.iter_mut().chain(&mut flow.aside))
        .chain(&mut cold.connect);
    for step in steps {
        if let Share::Misses { hit_rate, .. } = &mut step.share {
            *hit_rate = 0.0;
        }
    }
    let outcome = fluid::run(&cold);
    let busy = busy_in(&cold, &outcome, database);
    if busy < 0.9 {
        return;
    }
    let id = facts.id(cache);
    let happens = facts
        .plan
        .failures
        .scheduled
        .iter()
        .any(|failure| failure.node == id && matches!(failure.what, Fault::Cold | Fault::Crash { .. }));
    let severity = match happens {
        true => Severity::Error,
        false => Severity::Warning,
    };
    let evidence = format!(
        "`{id}` answers {} of the reads; when it knows nothing, for {}, `{}` is {} busy in the worst minutes, {} with it",
        percent(hit_rate),
        time(warm_up),
        facts.id(database),
        percent(busy),
        percent(facts.busy(database))
    );
    let mut plan = facts.plan.clone();
    plan.topology.nodes[cache].options.hit_rate = Some(0.0);
    let larger = sizes_of(facts.node(database).kind)
        .filter(|size| size.cores > facts.size(database).cores || size.memory > facts.size(database).memory)
        .filter(|size| {
            facts
                .book
                .as_ref()
                .is_none_or(|book| book.entry(size.name).is_some())
        })
        .find(|size| {
            size.name.clone_into(&mut plan.topology.nodes[database].size);
            is_enough(&plan, database, 0.9)
        });
    let fix = match larger {
        Some(size) => format!(
            "`size = \"{}\"` of `{}` bears it; or warm it before users come, and let those who ask for the same wait for one answer",
            size.name,
            facts.id(database)
        ),
        None => format!(
            "a `replica` beside `{}` for what the cache does not know, `count = 2` of `{id}`, and one answer for those who ask for the same",
            facts.id(database)
        ),
    };
    found
        .note(severity, evidence, fix)
        .at_node(id, "hit_rate")
        .at_node(facts.id(database), "size");
}

//! Rules on what is there when it is needed: single machines, promises of vendors, zones, standbys, failovers.

use super::{
    Found, Severity,
    facts::{Facts, percent},
    list,
};
use crate::{
    judge::words::{share, time},
    network::TimedFault,
    plan::{Fault, Kind},
};

/// Half an outage of a zone that made the news takes longer; assumed.
const ZONE_GONE: f64 = 600.0;
const YEAR_HOURS: f64 = 365.25 * 24.0;
const WEEK_HOURS: f64 = 7.0 * 24.0;
/// A ceiling that allows so many times the downtime of the contract is no matter of how agreements are written.
const FAR_BELOW: f64 = 3.0;

/// L01.
pub(super) fn spof(facts: &Facts<'_>, found: &mut Found) {
    let promised = facts.plan.contract.uptime;
    for (place, node) in facts.nodes() {
        let component = facts.component(place);
        let is_single = !facts.is_managed(place) && facts.machines(place) == 1;
        if !is_single || component.available_one >= promised || !facts.is_on_way(place) {
            continue;
        }
        let cost = facts.cost_of(vec![TimedFault {
            at: facts.peak_at(),
            node: place as u32,
            fault: Fault::Crash {
                machines: 1,
                seconds: None,
            },
        }]);
        let budget = facts.error_budget();
        let severity = match cost > budget {
            true => Severity::Error,
            false => Severity::Warning,
        };
        let evidence = format!(
            "`{}` is one machine, promised for {} of the time where the contract asks {}{}",
            node.id,
            share(component.available_one),
            share(promised),
            match cost > 0.0 {
                true => format!(
                    "; one crash of it at the peak takes {} of the uptime, and {} may be lost",
                    share(cost),
                    share(budget)
                ),
                false => String::new(),
            }
        );
        let (key, fix) = match node.kind {
            Kind::Postgres => ("standby", "give it `standby = true` and `zones = 2`".to_owned()),
            Kind::Ws => (
                "count",
                "give it `count = 2` and `zones = 2`, and a bus between them (\"ws -> redis\")".to_owned(),
            ),
            _ => ("count", "give it `count = 2` and `zones = 2`".to_owned()),
        };
        found.note(severity, evidence, fix).at_node(&node.id, key);
    }
}

/// L02.
pub(super) fn ceiling(facts: &Facts<'_>, found: &mut Found) {
    let promised = facts.plan.contract.uptime;
    let mut all = 1.0;
    let mut factors: Vec<(f64, usize)> = Vec::new();
    for (place, node) in facts.nodes().filter(|&(place, _)| facts.is_on_way(place)) {
        // Who runs in the process of another is there as long as that.
        if node.kind == Kind::Limiter && facts.is_managed(place) {
            continue;
        }
        let component = facts.component(place);
        let is_spread = node.zones > 1 || node.options.standby == Some(true);
        let is_several = facts.is_managed(place) || (facts.machines(place) > 1 && is_spread);
        let one = match is_several {
            true => component.available_several,
            false => component.available_one,
        };
        all *= one;
        factors.push((one, place));
    }
    if all >= promised {
        return;
    }
    factors.sort_by(|a, b| a.0.total_cmp(&b.0));
    let said: Vec<String> = factors
        .iter()
        .map(|&(one, place)| format!("{} of `{}`", share(one), facts.id(place)))
        .collect();
    let Some(&(weakest, place)) = factors.first() else {
        return;
    };
    let component = facts.component(place);
    let is_weak = weakest < component.available_several;
    let is_assumed = !is_weak && component.available_source.starts_with("assumed");
    let severity = match 1.0 - all > FAR_BELOW * facts.error_budget() {
        true => Severity::Error,
        false if is_assumed => Severity::Note,
        false => Severity::Warning,
    };
    let evidence = format!(
        "{} multiply to {}, and the contract asks {}; the least is that of `{}` ({})",
        list(&said),
        share(all),
        share(promised),
        facts.id(place),
        component.available_source
    );
    let reachable = libm::floor(all * 1e4) / 1e4;
    let (key, fix) = match (is_weak, facts.node(place).kind) {
        (true, Kind::Postgres) => (
            "standby",
            format!(
                "`standby = true` and `zones = 2` raise it to {}",
                share(component.available_several)
            ),
        ),
        (true, _) => (
            "count",
            format!(
                "`count = 2` and `zones = 2` raise it to {}",
                share(component.available_several)
            ),
        ),
        (false, _) if is_assumed => (
            "kind",
            format!(
                "count how often `{}` was away: its figure is assumed; or promise `uptime = \"{}\"`",
                facts.id(place),
                share(reachable).replace(' ', "")
            ),
        ),
        (false, _) => (
            "kind",
            format!(
                "take `{}` out of the way of what must be delivered, or promise what can be had: `uptime = \"{}\"`",
                facts.id(place),
                share(reachable).replace(' ', "")
            ),
        ),
    };
    found
        .note(severity, evidence, fix)
        .at_node(facts.id(place), key)
        .at("contract.uptime");
}

/// L24.
pub(super) fn replica_not_standby(facts: &Facts<'_>, found: &mut Found) {
    for (place, node) in facts.nodes() {
        let machines = facts.machines(place);
        let replica = facts.nodes().find(|(_, node)| node.kind == Kind::Replica);
        if let (Kind::Postgres, 1, Some((_, replica))) = (node.kind, machines, replica) {
            let repair = facts.component(place).repair.value.mid;
            let evidence = format!(
                "`{}` has no standby, and `{}` does not take over: it serves reads. Without the primary nothing is written \
                 for {}, where a standby takes {}",
                node.id,
                replica.id,
                time(repair),
                time(facts.options[place].failover.unwrap_or(0.0))
            );
            found
                .note(
                    Severity::Warning,
                    evidence,
                    format!("give `{}` `standby = true` and `zones = 2`", node.id),
                )
                .at_node(&node.id, "standby")
                .at_node(&replica.id, "kind");
        }
        if matches!(node.kind, Kind::Postgres | Kind::Redis) && machines > 2 {
            let evidence = format!(
                "of {machines} machines of `{}` one answers, {} busy in the worst minutes; the others stand by",
                node.id,
                percent(facts.busy(place))
            );
            let fix = match node.kind {
                Kind::Postgres => {
                    "take `count = 2`, and for reads a node of the kind `replica` that the servers call"
                }
                _ => "take `count = 2`, and a larger `size` if it is short of time",
            };
            found
                .note(Severity::Warning, evidence, fix)
                .at_node(&node.id, "count");
        }
    }
}

/// L30.
pub(super) fn one_zone(facts: &Facts<'_>, found: &mut Found) {
    for (place, node) in facts.nodes() {
        let machines = facts.machines(place);
        if facts.is_managed(place) || machines < 2 || node.zones > 1 || !facts.is_on_way(place) {
            continue;
        }
        let scheduled = facts.plan.failures.scheduled.iter();
        let is_planned = scheduled
            .filter(|failure| failure.node == node.id)
            .any(|failure| matches!(failure.what, Fault::Zone { .. }));
        let severity = match is_planned {
            true => Severity::Error,
            false => Severity::Warning,
        };
        let cost = facts.cost_of(vec![TimedFault {
            at: facts.peak_at(),
            node: place as u32,
            fault: Fault::Zone { seconds: ZONE_GONE },
        }]);
        let evidence = format!(
            "all {machines} machines of `{}` are in one zone; were it gone at the peak for {}, that took {} of the uptime \
             ({} may be lost){}",
            node.id,
            time(ZONE_GONE),
            share(cost),
            share(facts.error_budget()),
            match is_planned {
                true => ", and a failure of the plan is just that",
                false => "",
            }
        );
        let zones = machines.min(3);
        found
            .note(severity, evidence, format!("spread them: `zones = {zones}`"))
            .at_node(&node.id, "zones");
    }
}

/// L32.
pub(super) fn failover_budget(facts: &Facts<'_>, found: &mut Found) {
    let hours = facts.plan.scenario.hours;
    let allowed = hours * 3_600.0 * facts.error_budget();
    let mut parts: Vec<(f64, f64, usize)> = Vec::new();
    for (place, _) in facts.nodes().filter(|&(place, _)| facts.is_on_way(place)) {
        let (planned, by_chance) = outages(facts, place, hours);
        if planned + by_chance > 0.0 {
            parts.push((planned, by_chance, place));
        }
    }
    let planned: f64 = parts.iter().map(|part| part.0).sum();
    let all: f64 = parts.iter().map(|part| part.0 + part.1).sum();
    if all <= allowed {
        return;
    }
    parts.sort_by(|a, b| (b.0 + b.1).total_cmp(&(a.0 + a.1)));
    let severity = match planned > allowed {
        true => Severity::Error,
        false => Severity::Warning,
    };
    let said: Vec<String> = parts
        .iter()
        .filter(|part| part.0 + part.1 >= 0.01 * all)
        .map(|&(planned, by_chance, place)| {
            format!("`{}` for {}", facts.id(place), time(planned + by_chance))
        })
        .collect();
    let evidence = format!(
        "in {} it is expected to be without {}; {} of that leaves {}",
        time(hours * 3_600.0),
        list(&said),
        share(facts.plan.contract.uptime),
        time(allowed)
    );
    let worst = parts[0].2;
    let node = facts.node(worst);
    let (key, fix) = match node.kind {
        Kind::Postgres if facts.machines(worst) == 1 => (
            "standby",
            format!(
                "`standby = true` and `zones = 2`: it is back after {} and not after {}",
                time(facts.options[worst].failover.unwrap_or(0.0)),
                time(facts.component(worst).repair.value.mid)
            ),
        ),
        Kind::Postgres => (
            "failover",
            format!(
                "`failover = \"{}s\"` or less (a proxy before it, short times to live of its name), or a stream before it, so that \
                 what must be stored waits elsewhere: \"server -> stream -> worker -> {}\"",
                libm::floor(allowed / 2.0).max(1.0),
                node.id
            ),
        ),
        _ => (
            "count",
            "`count = 2` and `zones = 2`: no failure of one machine is one of the tier".to_owned(),
        ),
    };
    found
        .note(severity, evidence, fix)
        .at_node(&node.id, key)
        .at("contract.uptime");
}

/// Seconds in which a tier is expected to be gone as a whole: by failures of the plan, and by chance.
fn outages(facts: &Facts<'_>, place: usize, hours: f64) -> (f64, f64) {
    let (node, machines) = (facts.node(place), facts.machines(place));
    let Some((station, _)) = facts.stations(place).next() else {
        return (0.0, 0.0);
    };
    let away = station.takeover.unwrap_or(station.repair);
    let is_one = machines == 1 || station.takeover.is_some();
    let of_plan = facts.plan.failures.scheduled.iter();
    let planned = of_plan
        .filter(|failure| failure.node == node.id)
        .map(|failure| match failure.what {
            Fault::Failover => away,
            Fault::Crash { seconds, .. } if machines == 1 => seconds.unwrap_or(away),
            Fault::Crash { .. } if station.takeover.is_some() => away,
            Fault::Crash {
                machines: dead,
                seconds,
            } if dead >= machines => seconds.unwrap_or(away),
            Fault::Zone { seconds } if node.zones < 2 => seconds,
            Fault::Deploy if machines == 1 => station.repair,
            Fault::Crash { .. }
            | Fault::Zone { .. }
            | Fault::Deploy
            | Fault::Slow { .. }
            | Fault::Cold
            | Fault::Loss { .. }
            | Fault::Kick { .. } => 0.0,
        })
        .sum();
    if facts.is_managed(place) {
        return (planned, 0.0);
    }
    let failures = &facts.plan.failures;
    let strikes = match is_one {
        true => 1.0,
        false => failures.common_cause,
    };
    let crashes = failures.crashes_per_year * f64::from(machines) * strikes * hours / YEAR_HOURS;
    let is_deployed = matches!(node.kind, Kind::Ws | Kind::Server) && machines == 1;
    let deploys = match is_deployed {
        true => failures.deploys_per_week * hours / WEEK_HOURS,
        false => 0.0,
    };
    (planned, crashes * away + deploys * station.repair)
}

//! Rules on what was asked: promises that say little, traffic that never comes together, users too far away, old prices.

use super::{
    Found, Severity,
    facts::{Facts, percent},
    list,
};
use crate::{
    engine::fluid,
    judge::words::{percentile, time},
    network::Law,
    plan::{Burst, Shape},
    price::STALE_DAYS,
};

/// The network's part of a latency above which no design has room.
const FAR: f64 = 0.75;
/// One way, median, seconds: within a continent it is less.
const OCEAN: f64 = 0.06;

/// L27.
pub(super) fn closed_load(facts: &Facts<'_>, found: &mut Found) {
    let scenario = &facts.plan.scenario;
    let is_loud = |burst: &Burst| match burst {
        Burst::Mmpp { factor, .. } => *factor > 1.0,
        Burst::Cluster {
            at_hours,
            per_hour,
            share,
            ..
        } => *share > 0.0 && (*per_hour > 0.0 || !at_hours.is_empty()),
    };
    if scenario.bursts.iter().any(is_loud) {
        return;
    }
    let points = scenario.users.points.iter().map(|point| point.1);
    let is_flat = scenario.users.shape == Some(Shape::Constant)
        || points.clone().fold(f64::INFINITY, f64::min) >= points.fold(0.0, f64::max);
    let rates: Vec<String> = scenario
        .classes
        .iter()
        .map(|class| format!("`{}`", class.name))
        .collect();
    let evidence = format!(
        "{} {} published at {} rate all the time by each user{}: nothing ever comes together, as in averages, or in a load test that \
         waits for each answer before it sends again",
        list(&rates),
        if rates.len() == 1 { "is" } else { "are" },
        if rates.len() == 1 { "one" } else { "its own" },
        if is_flat {
            ", and the users are as many day and night"
        } else {
            ""
        },
    );
    let class = scenario.classes.first().map_or("", |class| &class.name);
    let fix = format!(
        "add what was seen in logs of a second, not of an hour: `[[burst]]` with `kind = \"mmpp\"`, `factor = 3`, `quiet = \"20min\"`, \
         `loud = \"1min\"`, `classes = [\"{class}\"]`"
    );
    found
        .note(Severity::Note, evidence, fix)
        .at("burst")
        .at("scenario");
}

/// L28.
pub(super) fn median(facts: &Facts<'_>, found: &mut Found) {
    let plan = facts.plan;
    for target in plan
        .contract
        .latency
        .iter()
        .filter(|target| target.percentile < 0.9)
    {
        let name = target.class.as_deref().unwrap_or("all");
        let severity = match target.percentile <= 0.5 {
            true => Severity::Error,
            false => Severity::Warning,
        };
        let one = percentile(target.percentile);
        let evidence = format!(
            "{one} of {name} leaves {} of the deliveries without any promise, and they are not spread evenly: of ten that a user \
             sees, one is later with a chance of {}",
            percent(1.0 - target.percentile),
            percent(1.0 - libm::pow(target.percentile, 10.0)),
        );
        found
            .note(
                severity,
                evidence,
                format!("promise `p95` or `p99`: `{name} = \"p95 < …\"`"),
            )
            .at(format!("contract.latency.{name}"));
    }
    let delivered: f64 = facts.outcome().classes.iter().map(|class| class.delivered).sum();
    for target in plan
        .contract
        .latency
        .iter()
        .filter(|target| target.class.is_none())
    {
        let hidden = facts.outcome().classes.iter().filter(|class| {
            let is_named = plan
                .contract
                .latency
                .iter()
                .any(|target| target.class.as_deref() == Some(&class.name));
            let part = class.delivered / delivered.max(f64::MIN_POSITIVE);
            !is_named && class.delivered > 0.0 && part < 1.0 - target.percentile
        });
        for class in hidden {
            let one = percentile(target.percentile);
            let evidence = format!(
                "`{}` is {} of all deliveries: were all of them late, {one} of all classes together would not show it",
                class.name,
                percent(class.delivered / delivered),
            );
            let fix = format!(
                "promise it by itself: `{} = \"{one} < {}\"`",
                class.name,
                time(target.within).replace(' ', "")
            );
            found
                .note(Severity::Note, evidence, fix)
                .at("contract.latency.all")
                .at_class(&class.name, "rate");
        }
    }
}

/// L31.
pub(super) fn cross_region(facts: &Facts<'_>, found: &mut Found) {
    // What is left if all machines were infinitely fast, by the fluid itself: an up and a down.
    let mut ideal = facts.network().clone();
    for flow in &mut ideal.flows {
        for step in &mut flow.steps {
            step.service = Law::Zero;
            step.per_receiver = 0.0;
            step.travel = Law::Zero;
        }
        flow.coalescible = false;
    }
    ideal.faults.clear();
    ideal.slow_readers = 0.0;
    let outcome = fluid::run(&ideal);
    let (median, p95) = (facts.plan.scenario.network_p50, facts.plan.scenario.network_p95);
    for target in &facts.plan.contract.latency {
        let Some(way) = outcome.latency(target.class.as_deref(), target.percentile) else {
            continue;
        };
        let name = target.class.as_deref().unwrap_or("all");
        let part = way / target.within.max(f64::MIN_POSITIVE);
        let is_ocean = median >= OCEAN && part > 0.5;
        if part <= FAR && !is_ocean {
            continue;
        }
        let severity = match part >= 1.0 {
            true => Severity::Error,
            false => Severity::Warning,
        };
        let evidence = format!(
            "from a user and to another takes {} at {} with machines that take no time at all (one way {} and, of one in twenty, \
             {}); {} is promised{}",
            time(way),
            percentile(target.percentile),
            time(median),
            time(p95),
            time(target.within),
            if median >= OCEAN {
                ", and that is the distance of an ocean"
            } else {
                ""
            }
        );
        let near = libm::floor(median * FAR * 0.9 / part * 1e3);
        let fix = format!(
            "serve users from where they are, so that `network_p50` is {near:.0} ms or less, or promise what the distance allows: \
             `{name} = \"{} < {:.0}ms\"`",
            percentile(target.percentile),
            libm::ceil(way / FAR * 100.0) * 10.0
        );
        found
            .note(severity, evidence, fix)
            .at("scenario.network_p50")
            .at(format!("contract.latency.{name}"));
    }
}

/// L35.
pub(super) fn stale_price(facts: &Facts<'_>, found: &mut Found) {
    let Some(book) = &facts.book else {
        return;
    };
    if facts.given.today.and_then(|today| book.is_stale(today)) == Some(true) {
        let evidence = format!(
            "the prices of `{}` are of {}, more than {STALE_DAYS} days before {}",
            book.name,
            book.as_of,
            facts.given.today.unwrap_or_default()
        );
        found
            .note(
                Severity::Warning,
                evidence,
                "take a newer book: a later version, or your vendor's list as a file (`--book prices.toml`, with its day in `as_of`)",
            )
            .at("prices");
    }
    if book.currency.trim().is_empty() {
        let evidence = format!(
            "the price book `{}` says no currency, so that a budget of {} is of nothing",
            book.name, facts.plan.contract.budget
        );
        found
            .note(
                Severity::Warning,
                evidence,
                "name it in the book: `currency = \"USD\"`",
            )
            .at("prices")
            .at("contract.budget");
    }
}

//! Rules that compare: the same plan with less of one thing, and with a figure at its ends. All by fluid runs.

use super::{Facts, Finding, Found, Given, Severity, facts::percent, found};
use crate::{
    component::FIGURES,
    judge::{Promise, Unknown, Verdict, unknowns},
    plan::{Edge, Kind, Plan},
};

/// What is worth a change of the design.
const WORTH: f64 = 0.05;
/// Figures that are told, the most telling first.
const TOLD: usize = 4;

/// L33.
pub(super) fn over_built(facts: &Facts<'_>, found: &mut Found) {
    let Some(price) = facts.judged.bill.as_ref().map(|bill| bill.total) else {
        return;
    };
    if facts.judged.verdict != Verdict::Holds {
        return;
    }
    let given = Given {
        with_pairs: false,
        ..*facts.given
    };
    let objections = |findings: &[Finding]| -> Vec<(&'static str, Vec<String>)> {
        let grave = findings
            .iter()
            .filter(|finding| finding.severity > Severity::Note);
        grave
            .map(|finding| (finding.rule, finding.nodes.clone()))
            .collect()
    };
    let now = objections(&others(facts));
    let doubted = turned(facts.plan, facts);
    let mut spared: Vec<(f64, Less)> = Vec::new();
    for less in candidates(facts) {
        let Ok(other) = Facts::of(&less.plan, &given) else {
            continue;
        };
        let saved = other.judged.bill.as_ref().map_or(0.0, |bill| price - bill.total);
        if other.judged.verdict != Verdict::Holds || saved <= WORTH * price {
            continue;
        }
        if !objections(&others(&other))
            .iter()
            .all(|objection| now.contains(objection))
        {
            continue;
        }
        // What is there for a figure that may be worse than its middle is not too much.
        if !turned(&less.plan, &other)
            .iter()
            .all(|figure| doubted.contains(figure))
        {
            continue;
        }
        spared.push((saved, less));
    }
    spared.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (saved, less) in spared {
        let evidence = format!(
            "without {} every clause is still kept by the fluid model, no other rule objects, and {} a month are saved, {} of the bill",
            less.what,
            facts.money(saved),
            percent(saved / price)
        );
        found
            .note(
                Severity::Note,
                evidence,
                format!("{}; `tidegate plan optimize` looks further", less.fix),
            )
            .at_node(facts.id(less.node), less.key);
    }
}

/// What the rules that make no pairs find.
fn others(facts: &Facts<'_>) -> Vec<Finding> {
    found(facts, |rule| !["L33", "L36"].contains(&rule.id))
}

/// Figures at one of whose ends a clause would break.
fn turned(plan: &Plan, facts: &Facts<'_>) -> Vec<&'static str> {
    let all = unknowns(plan, &facts.judged.clauses);
    let all = all.into_iter().flatten();
    all.filter(|unknown| unknown.turns)
        .map(|unknown| unknown.figure)
        .collect()
}

/// A plan with less of one thing.
struct Less {
    plan: Plan,
    node: usize,
    key: &'static str,
    what: String,
    fix: String,
}

fn candidates(facts: &Facts<'_>) -> Vec<Less> {
    let mut all = Vec::new();
    let stores = facts.plan.scenario.classes.iter().any(|class| class.durable);
    for (place, node) in facts.nodes() {
        if facts.is_managed(place) && node.kind != Kind::Replica {
            continue;
        }
        let mut plan = facts.plan.clone();
        let own = &mut plan.topology.nodes[place];
        if node.kind == Kind::Postgres && facts.machines(place) > 1 {
            // A run counts minutes, and not what is lost with a disk: who must store something keeps the second copy.
            if stores {
                continue;
            }
            (own.count, own.options.standby) = (1, Some(false));
            all.push(Less {
                plan,
                node: place,
                key: "standby",
                what: format!("the standby of `{}`", node.id),
                fix: "`standby = false`".to_owned(),
            });
        } else if node.count > 1 {
            own.count -= 1;
            all.push(Less {
                plan,
                node: place,
                key: "count",
                what: format!("one of {} machines of `{}`", node.count, node.id),
                fix: format!("`count = {}`", node.count - 1),
            });
        }
        // A tier that only answers reads may go as a whole.
        if matches!(node.kind, Kind::Replica | Kind::Redis) {
            all.push(Less {
                plan: without(facts.plan, place),
                node: place,
                key: "kind",
                what: format!("`{}`", node.id),
                fix: format!("take `{}` out of `topology.ways`", node.id),
            });
        }
    }
    all
}

/// A plan without a node: its failures go with it, and who called it calls whom it called.
fn without(plan: &Plan, place: usize) -> Plan {
    let mut plan = plan.clone();
    let node = plan.topology.nodes.remove(place);
    let (before, after): (Vec<String>, Vec<String>) = {
        let edges = &plan.topology.edges;
        let from = edges.iter().filter(|edge| edge.to == node.id);
        let to = edges.iter().filter(|edge| edge.from == node.id);
        (
            from.map(|edge| edge.from.clone()).collect(),
            to.map(|edge| edge.to.clone()).collect(),
        )
    };
    plan.topology
        .edges
        .retain(|edge| edge.from != node.id && edge.to != node.id);
    for from in &before {
        for to in &after {
            let edge = Edge {
                from: from.clone(),
                to: to.clone(),
            };
            if !plan.topology.edges.contains(&edge) {
                plan.topology.edges.push(edge);
            }
        }
    }
    plan.failures.scheduled.retain(|failure| failure.node != node.id);
    plan
}

/// L36.
pub(super) fn unknown_decides(facts: &Facts<'_>, found: &mut Found) {
    let clauses = &facts.judged.clauses;
    let mut told: Vec<&'static str> = Vec::new();
    let all = unknowns(facts.plan, clauses);
    for (clause, unknowns) in clauses.iter().zip(all) {
        // What moves it by less than is told of it decides nothing.
        let shows =
            |unknown: &&Unknown| clause.promise.say(unknown.at_low) != clause.promise.say(unknown.at_high);
        for unknown in unknowns.iter().filter(|unknown| unknown.turns).filter(shows) {
            if told.contains(&unknown.figure) || told.len() >= TOLD {
                continue;
            }
            told.push(unknown.figure);
            let promise: &Promise = &clause.promise;
            let evidence = format!(
                "{}; promised is {}",
                unknown.sentence(promise),
                promise.say(promise.promised)
            );
            let (place, key, fix) = measured(facts, unknown.figure);
            let finding = found.note(Severity::Warning, evidence, fix);
            match place {
                Some(place) => finding.at_node(facts.id(place), key),
                None => finding.at("title"),
            };
        }
    }
}

/// Where a figure may be said once it is measured, and how.
fn measured(facts: &Facts<'_>, figure: &str) -> (Option<usize>, &'static str, String) {
    let (kind, key) = match figure {
        "lb.pass" => (Kind::Lb, "service"),
        "server.work" => (Kind::Server, "service"),
        "postgres.write" => (Kind::Postgres, "service"),
        "postgres.failover" => (Kind::Postgres, "failover"),
        "postgres.read" => (Kind::Replica, "service"),
        "redis.command" => (Kind::Redis, "service"),
        "redis.hit-rate" => (Kind::Redis, "hit_rate"),
        "redis.warm-up" => (Kind::Redis, "warm_up"),
        "stream.append" | "kinesis.record" => (Kind::Stream, "service"),
        "queue.send" => (Kind::Queue, "service"),
        "worker.job" => (Kind::Worker, "service"),
        "limiter.check" => (Kind::Limiter, "service"),
        _ if figure.starts_with("ws.") => (Kind::Ws, "costs"),
        _ => {
            debug_assert!(FIGURES.iter().any(|known| known.name == figure));
            return (
                None,
                "",
                format!(
                    "measure `{figure}` where it runs; a design that holds at both ends does not depend on it"
                ),
            );
        }
    };
    let place = facts
        .nodes()
        .find(|(_, node)| node.kind == kind)
        .map(|(place, _)| place);
    let fix = match (place, key) {
        (Some(place), "costs") => format!(
            "measure it on such a machine (`tidegate load --emit`), and name the measured costs: `costs` of `{}`",
            facts.id(place)
        ),
        (Some(place), key) => format!("measure it, and say what it is: `{key}` of `{}`", facts.id(place)),
        (None, _) => format!(
            "measure `{figure}` where it runs; a design that holds at both ends does not depend on it"
        ),
    };
    (place, key, fix)
}

//! Networks of which it is known why.

use super::*;
use crate::{
    judge::{
        Effort, Judge,
        tests::{plan, queue},
    },
    network::{Law, Network, StationId, TimedFault},
    plan::{Fault, Jitter, Weigh},
};

/// Two queues in a row: the first is nine tenths full, the second three.
fn two_queues(seed: u64) -> Network {
    let mut network = queue(seed, 300.0);
    network.stations[0].name = "narrow".into();
    network.flows[0].steps[0].service = Law::Exponential { mean: 0.018 };
    let mut wide = network.stations[0].clone();
    (wide.name, wide.node) = ("wide".into(), 1);
    network.stations.push(wide);
    let mut step = network.flows[0].steps[0].clone();
    (step.station, step.service) = (StationId(1), Law::Exponential { mean: 0.006 });
    network.flows[0].steps.push(step);
    network
}

fn judged(plan: &Plan, network: Network) -> Judgement {
    let effort = Effort {
        fidelity: Fidelity::Exact,
        runs_min: 8,
        runs_max: 8,
        ..Effort::default()
    };
    let mut judge = Judge::of(plan, network, &effort);
    while judge.step() {}
    judge.finish()
}

fn exact() -> Depth {
    Depth {
        fidelity: Fidelity::Exact,
        pairs: 8,
        candidates: 8,
        ..Depth::default()
    }
}

fn of<'a>(why: &'a ClauseWhy, node: &str) -> &'a Cause {
    let is = |cause: &&Cause| matches!(&cause.removed, Removed::Wait { node: name } if name == node);
    why.causes.iter().find(is).unwrap()
}

#[test]
fn the_narrow_queue_is_the_cause_and_the_wide_one_is_not() {
    for depth in [
        exact(),
        Depth {
            fidelity: Fidelity::Fluid,
            ..exact()
        },
    ] {
        let plan = plan(0.12, 3);
        let judgement = judged(&plan, two_queues(3));
        assert_eq!(judgement.verdict, Verdict::Breaks);
        let why = why(&plan, &judgement, &depth);
        let latency = &why.clauses[1];
        assert_eq!(latency.promise.name(), "chat p95");
        let narrow = of(latency, "narrow");
        assert_eq!(latency.causes[0], *narrow, "{:?}", latency.causes);
        assert!(narrow.is_proven && narrow.would_hold, "{narrow:?}");
        // Without the wait it is the work of both, and a little wait for the second: their p95 is near 60 ms.
        assert!((0.04..0.08).contains(&narrow.after), "{narrow:?}");
        assert!((narrow.gain - (narrow.before - narrow.after)).abs() < 1e-12);
        let wide = of(latency, "wide");
        assert!(wide.gain.abs() < 0.03 * wide.before, "{wide:?}");
        assert!(
            latency.sentence.starts_with("chat p95 is ")
                && latency.sentence.contains("120 ms allowed")
                && latency.sentence.contains("because of the wait for narrow"),
            "{}",
            latency.sentence
        );
    }
}

#[test]
fn what_changes_nothing_is_not_called_a_cause() {
    let plan = plan(0.12, 3);
    let mut network = two_queues(3);
    network.flows[0].steps[0].service = Law::Fixed { mean: 0.15 };
    network.stations[0].servers = 2_000;
    let judgement = judged(&plan, network);
    let why = why(&plan, &judgement, &exact());
    let latency = &why.clauses[1];
    // Nobody waits; the time is the work itself.
    assert!(
        matches!(&latency.causes[0].removed, Removed::Work { node } if node == "narrow"),
        "{:?}",
        latency.causes
    );
    let is_wait = |cause: &&Cause| matches!(&cause.removed, Removed::Wait { node } if node == "narrow");
    assert!(
        latency
            .causes
            .iter()
            .filter(is_wait)
            .all(|cause| !cause.is_proven && cause.gain == 0.0)
    );
    let bill = &why.clauses[2];
    assert!(
        bill.causes
            .iter()
            .all(|cause| cause.gain.abs() < 1e-3 * cause.before.max(1.0))
    );
}

#[test]
fn a_stack_adds_up_to_the_percentile() {
    let plan = plan(0.12, 3);
    let judgement = judged(&plan, two_queues(3));
    let stacks = stacks(&plan, &judgement.network, &judgement.outcome);
    let stack = &stacks[0];
    let sum: f64 = stack.layers.iter().map(|layer| layer.seconds).sum();
    assert!((sum - stack.latency_s).abs() < 1e-9 * sum);
    assert_eq!(stack.latency_s, judgement.clauses[1].measured.unwrap());
    let seconds = |node: &str| -> f64 {
        let layers = stack
            .layers
            .iter()
            .filter(|layer| layer.node.as_deref() == Some(node));
        layers.map(|layer| layer.seconds).sum()
    };
    assert!(
        seconds("narrow") > 10.0 * seconds("wide") && seconds("wide") > 0.0,
        "{stack:?}"
    );
}

#[test]
fn a_failure_is_the_cause_of_the_time_it_takes_and_the_account_adds_up() {
    let mut plan = plan(1.0, 5);
    plan.contract.uptime = 0.999;
    let mut network = queue(5, 3_600.0);
    // All who publish while it is away fail: five minutes of an hour, after a quarter.
    network.clients.retries = 0;
    network.clients.timeout = 1.0;
    network.faults = vec![
        TimedFault {
            at: 900.0,
            node: 0,
            fault: Fault::Crash {
                machines: 1,
                seconds: Some(300.0),
            },
        },
        TimedFault {
            at: 2_700.0,
            node: 0,
            fault: Fault::Cold,
        },
    ];
    let judgement = judged(&plan, network);
    assert_eq!(judgement.clauses[0].standing, Verdict::Breaks);
    let why = why(&plan, &judgement, &exact());
    let uptime = &why.clauses[0];
    let is_failure = |cause: &&Cause| matches!(cause.removed, Removed::Failure { at_s, .. } if at_s == 900.0);
    assert!(
        uptime.causes.iter().take(1).any(|cause| is_failure(&cause)),
        "{:?}",
        uptime.causes
    );
    assert!(uptime.causes[0].would_hold && uptime.causes[0].is_proven);
    let account = &why.account;
    let sum: f64 = account.lines.iter().map(|line| line.user_min).sum();
    assert!((sum - account.bad_min).abs() < 1e-9 * sum && sum > 0.0);
    let bad = judgement.outcome.bad;
    let all = (bad.disconnected_s + bad.refused_s + bad.late_s) / 60.0 / f64::from(judgement.runs);
    assert!(
        (account.bad_min / all - 1.0).abs() < 1e-6,
        "{} {all}",
        account.bad_min
    );
    assert_eq!(account.lines[0].what, "crash");
    assert!((4.0..8.0).contains(&account.lines[0].minutes), "{account:?}");
    // Of 6,000 minutes six are allowed.
    assert!((account.allowed_min - 6.0).abs() < 1e-6);
    assert!((account.lines[0].budget_share - account.lines[0].user_min / 6.0).abs() < 1e-9);
    assert_eq!(judgement.network.faults.len(), 2);
    assert_eq!(plan.contract.weigh, Weigh::UserMinutes);
}

#[test]
fn what_came_by_chance_is_told_as_chance() {
    let mut network = queue(9, 3_600.0);
    network.clients.timeout = 1.0;
    network.stations[0].repair = 120.0;
    network.random.crashes_per_year = 2.0 * 24.0 * 365.0;
    let runs: Vec<_> = (0..4)
        .map(|run| crate::engine::exact::run(&network, run))
        .collect();
    let account = account::account(&plan(1.0, 9), &network, &runs);
    let crash = &account.lines[0];
    assert_eq!(
        (crash.what.as_str(), crash.is_chance),
        ("crash", true),
        "{account:?}"
    );
    assert_eq!(crash.node.as_deref(), Some("one"));
    assert!(crash.user_min > 0.9 * account.bad_min, "{account:?}");
}

/// Three fifths full; who waits for a second tries again, at once and often, or within a budget.
fn eager(retries: u32, budget: Option<f64>) -> Network {
    let mut network = queue(1, 3_600.0);
    network.flows[0].steps[0].service = Law::Exponential { mean: 0.012 };
    // Six seconds of work may wait: far more than anybody waits for.
    network.stations[0].waiting_max = Some(500);
    let clients = &mut network.clients;
    (clients.retries, clients.retry_budget) = (retries, budget);
    (clients.timeout, clients.backoff_first, clients.backoff_max) = (1.0, 0.01, 0.05);
    clients.jitter = Jitter::Full;
    network
}

#[test]
fn eager_retries_keep_it_down_and_a_budget_lets_it_come_back() {
    let down = kick(&eager(6, None), 3.0, 120.0, 2e6).unwrap();
    assert!(
        !down.is_down_before && down.recovers_after_s.is_none(),
        "{down:?}"
    );
    let users = down.users_to_recover.unwrap();
    // With seven tries each, a seventh of what one server does is safe; all of it is not.
    assert!(users > 5.0 && users < 60.0, "{down:?}");
    assert!(down.sentence().contains("must fall to"), "{}", down.sentence());
    let back = kick(&eager(6, Some(0.1)), 3.0, 120.0, 2e6).unwrap();
    assert!(
        back.recovers_after_s.is_some() && back.users_to_recover.is_none(),
        "{back:?}"
    );
    let calm = kick(&eager(0, None), 1.0, 60.0, 2e6).unwrap();
    assert_eq!(calm.recovers_after_s, Some(0.0), "{calm:?}");
}

#[test]
fn what_cannot_be_carried_anyway_is_not_called_metastable() {
    let mut network = eager(0, None);
    network.flows[0].steps[0].service = Law::Fixed { mean: 0.03 };
    let down = kick(&network, 2.0, 60.0, 1e6).unwrap();
    assert!(down.is_down_before && down.users_to_recover.is_none());
    network.users = vec![(0.0, 0.0)];
    assert_eq!(kick(&network, f64::NAN, f64::INFINITY, f64::NAN), None);
}

#[test]
fn a_whole_plan_is_explained_and_the_same_way_each_time() {
    let mut plan = crate::compile::samples::naive();
    plan.scenario.hours = 1.0;
    plan.scenario.users.points = vec![(0.0, 1_000.0), (1.0, 1_000.0)];
    let effort = Effort {
        runs_min: 2,
        runs_max: 2,
        visits: 20_000.0,
        ..Effort::default()
    };
    let judgement = crate::judge::judge(&plan, &effort).unwrap();
    let depth = Depth {
        pairs: 2,
        visits: 20_000.0,
        ..Depth::default()
    };
    let text = || serde_json::to_string(&why(&plan, &judgement, &depth)).unwrap();
    let first = text();
    assert_eq!(first, text());
    let why = why(&plan, &judgement, &depth);
    assert_eq!(why.clauses.len(), judgement.clauses.len());
    assert!(why.clauses.iter().all(|clause| clause.sentence.ends_with('.')));
    assert_eq!(why.stacks.len(), 1);
    assert!(why.kick.is_some());
}

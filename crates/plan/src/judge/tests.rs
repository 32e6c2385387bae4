//! Verdicts on queues whose answer is known.

use super::*;
use crate::{
    network::{Flow, Law, Machine, RandomFaults, Share, Stage, Station, StationId, Step},
    plan::{Contract, Session, Target, Weigh},
};

const MU: f64 = 100.0;
const LAMBDA: f64 = 50.0;

/// Of M/M/1 the time in the system is exponential with rate μ - λ: ln 20 of its means is the 95th percentile.
fn p95() -> f64 {
    libm::log(20.0) / (MU - LAMBDA)
}

/// A contract on one queue; nothing of it is built of nodes, so that only traffic is billed.
pub(crate) fn plan(within: f64, seed: u64) -> Plan {
    let mut plan = crate::compile::samples::naive();
    plan.topology = crate::plan::Topology::default();
    plan.seed = seed;
    plan.contract = Contract {
        uptime: 0.9,
        weigh: Weigh::UserMinutes,
        latency: vec![Target {
            class: Some("chat".into()),
            percentile: 0.95,
            within,
        }],
        budget: 1e9,
        loss: None,
        reconnect: None,
        late_factor: 10.0,
    };
    plan
}

/// M/M/1 for so many seconds.
pub(crate) fn queue(seed: u64, length: f64) -> Network {
    let users = 100.0;
    Network {
        seed,
        length,
        users: vec![(0.0, users), (length, users)],
        session: Session::Fixed { length: 1e9 },
        bursts: Vec::new(),
        clients: plan(1.0, 1).scenario.clients,
        stations: vec![Station {
            name: "one".into(),
            node: 0,
            group: 0,
            stage: Stage::Work,
            machines: 1,
            scale: None,
            servers: 1,
            waiting_max: None,
            timeout: None,
            retries: 0,
            retry_jitter: true,
            retry_budget: None,
            idle_cost: 0.0,
            memory: 0.0,
            memory_base: 0.0,
            memory_per_connection: 0.0,
            repair: 30.0,
            takeover: None,
            zones: 1,
            drain: 10.0,
        }],
        flows: vec![Flow {
            name: "chat".into(),
            rate: LAMBDA / users,
            bytes: 100.0,
            receivers: vec![(1.0, 1.0)],
            receivers_at: 0.0,
            receivers_max: 1.0,
            coalescible: false,
            newest_of: crate::plan::NewestOf::User,
            durable: false,
            priority: 1,
            steps: vec![Step {
                station: StationId(0),
                machine: Machine::Any,
                service: Law::Exponential { mean: 1.0 / MU },
                per_receiver: 0.0,
                travel: Law::Zero,
                travel_stage: Stage::Lb,
                share: Share::All,
            }],
            aside: Vec::new(),
            targets: Vec::new(),
        }],
        connect: Vec::new(),
        edge: None,
        faults: Vec::new(),
        random: RandomFaults::default(),
        network: Law::Zero,
        slow_readers: 0.0,
        slow_reader_rate: 1e9,
        outbox_bytes: 1e9,
        conflate_rate: 0.0,
        abuse: 0.0,
        hard_deadline: vec![1e6],
    }
}

fn exact(runs_min: u32, runs_max: u32) -> Effort {
    Effort {
        fidelity: Fidelity::Exact,
        runs_min,
        runs_max,
        ..Effort::default()
    }
}

fn judge_queue(within: f64, seed: u64, length: f64, effort: &Effort) -> Judgement {
    let mut judge = Judge::of(&plan(within, seed), queue(seed, length), effort);
    while judge.step() {}
    judge.finish()
}

fn latency(judgement: &Judgement) -> &Clause {
    let is_latency = |clause: &&Clause| clause.promise.what == What::Latency;
    judgement.clauses.iter().find(is_latency).unwrap()
}

#[test]
fn a_limit_far_above_holds_and_one_far_below_breaks_at_the_first_look() {
    let holds = judge_queue(p95() * 1.5, 1, 200.0, &exact(8, 64));
    assert_eq!((holds.verdict, holds.runs), (Verdict::Holds, 8));
    assert!(holds.probability.unwrap() > 0.999, "{:?}", holds.probability);
    assert_eq!(latency(&holds).settle, None);
    let breaks = judge_queue(p95() * 0.7, 1, 200.0, &exact(8, 64));
    assert_eq!((breaks.verdict, breaks.runs), (Verdict::Breaks, 8));
    assert!(breaks.probability.unwrap() < 0.001);
    assert_eq!((latency(&breaks).runs, latency(&breaks).runs_kept), (8, 0));
    assert_eq!(breaks.clauses[0].standing, Verdict::Holds, "the uptime does");
}

#[test]
fn a_limit_at_the_figure_itself_stays_too_close() {
    let mut chances = Vec::new();
    for seed in 0..8 {
        let close = judge_queue(p95(), seed, 100.0, &exact(4, 16));
        assert_eq!((close.verdict, close.runs), (Verdict::TooClose, 16), "{seed}");
        let clause = latency(&close);
        assert!(clause.settle.is_some());
        chances.push(clause.probability.unwrap());
    }
    let mean = chances.iter().sum::<f64>() / chances.len() as f64;
    assert!((0.25..0.75).contains(&mean), "{mean}: {chances:?}");
}

#[test]
fn more_runs_settle_what_is_close_as_was_foretold() {
    let within = p95() * 1.1;
    let few = judge_queue(within, 3, 100.0, &exact(4, 4));
    assert_eq!(few.verdict, Verdict::TooClose);
    let missing = latency(&few).settle.as_ref().unwrap().runs.unwrap();
    assert!((5..400).contains(&missing), "{missing}");
    let more = judge_queue(within, 3, 100.0, &exact(4, 256));
    assert_eq!(more.verdict, Verdict::Holds);
    assert!(more.runs > 4 && more.runs <= 256);
}

#[test]
fn about_the_stated_share_of_intervals_has_the_true_value() {
    let effort = Effort {
        confidence: 0.9,
        ..exact(8, 8)
    };
    let mut covered = 0;
    for seed in 0..100 {
        let judgement = judge_queue(p95(), 1_000 + seed, 60.0, &effort);
        let [low, high] = latency(&judgement).interval.unwrap();
        assert!(high / low < 1.6, "{low} {high} is no answer");
        covered += u32::from(low <= p95() && p95() <= high);
    }
    // 90 expected, and half a place of the histogram on each side; four standard errors are twelve.
    assert!((78..=100).contains(&covered), "{covered} of 100");
}

#[test]
fn more_runs_make_the_interval_narrower() {
    let widths = [8, 32, 128].map(|runs| {
        let judgement = judge_queue(1.0, 5, 60.0, &exact(runs, runs));
        let [low, high] = latency(&judgement).interval.unwrap();
        high - low
    });
    assert!(
        widths[1] < 0.7 * widths[0] && widths[2] < 0.8 * widths[1],
        "{widths:?}"
    );
}

#[test]
fn the_order_in_which_runs_come_does_not_matter() {
    let judge = || Judge::of(&plan(p95() * 1.02, 7), queue(7, 30.0), &exact(4, 8));
    let mut in_order = judge();
    while in_order.step() {}
    let mut as_they_come = judge();
    while !as_they_come.is_done() {
        let numbers: Vec<u32> = (as_they_come.runs()..as_they_come.wanted()).rev().collect();
        for number in numbers {
            let outcome = as_they_come.replicate(number);
            as_they_come.take(number, outcome.clone());
            // Twice is once.
            as_they_come.take(number, outcome);
        }
    }
    let bytes = |judge: &Judge| {
        let judgement = judge.judgement();
        serde_json::to_string(&(&judgement, &judgement.outcome)).unwrap()
    };
    assert_eq!(bytes(&in_order), bytes(&as_they_come));
}

#[test]
fn one_run_says_nothing_about_chance_and_any_effort_is_answered() {
    let one = judge_queue(p95() * 2.0, 1, 30.0, &exact(1, 1));
    assert_eq!((one.verdict, one.probability), (Verdict::TooClose, None));
    assert!(latency(&one).is_kept && latency(&one).interval.is_none());
    let odd = Effort {
        fidelity: Fidelity::Hybrid,
        runs_min: u32::MAX,
        runs_max: 0,
        visits: f64::NAN,
        confidence: f64::INFINITY,
    };
    assert_eq!(judge_queue(1.0, 1, 10.0, &odd).runs, 1);
    let fluid = Effort {
        fidelity: Fidelity::Fluid,
        ..Effort::default()
    };
    let holds = judge_queue(p95() * 1.5, 1, 600.0, &fluid);
    assert_eq!((holds.verdict, holds.runs), (Verdict::Holds, 1));
    assert_eq!(
        judge_queue(p95() * 0.7, 1, 600.0, &fluid).verdict,
        Verdict::Breaks
    );
    assert_eq!(
        judge_queue(p95() * 1.01, 1, 600.0, &fluid).verdict,
        Verdict::TooClose
    );
}

#[test]
fn a_figure_that_is_not_known_is_named_if_it_would_turn_a_clause() {
    let mut plan = crate::compile::samples::redundant();
    plan.scenario.hours = 2.0;
    plan.scenario.users.points = vec![(0.0, 2_000.0), (2.0, 2_000.0)];
    let fluid = Effort {
        fidelity: Fidelity::Fluid,
        ..Effort::default()
    };
    let first = judge(&plan, &fluid).unwrap();
    plan.contract.latency[0].within = latency(&first).measured.unwrap();
    let close = judge(&plan, &fluid).unwrap();
    assert_eq!(latency(&close).standing, Verdict::TooClose);
    let unknown = latency(&close).settle.as_ref().unwrap().unknown.as_ref().unwrap();
    assert!(unknown.turns && unknown.low < unknown.high, "{unknown:?}");
    assert!(unknown.at_low < unknown.at_high && !unknown.source.is_empty());
    let sentence = unknown.sentence(&latency(&close).promise);
    assert!(
        sentence.contains(unknown.figure) && sentence.contains("all p95"),
        "{sentence}"
    );
    // The one that moves it most comes first.
    let all = unknowns(&plan, &close.clauses);
    assert!(all[1].is_sorted_by(|a, b| a.range() >= b.range()));
}

#[test]
fn failures_that_no_run_met_are_not_forgotten() {
    let mut plan = crate::compile::samples::naive();
    plan.scenario.hours = 2.0;
    plan.scenario.users.points = vec![(0.0, 200.0), (2.0, 200.0)];
    plan.scenario.slow_readers = 0.0;
    let effort = Effort {
        runs_min: 4,
        runs_max: 4,
        visits: 20_000.0,
        ..Effort::default()
    };
    let calm = judge(&plan, &effort).unwrap();
    assert!(calm.rare.is_empty());
    plan.failures.crashes_per_year = 1.0;
    plan.failures.common_cause = 0.1;
    let rare = judge(&plan, &effort).unwrap();
    assert_eq!(rare.outcome.bad, calm.outcome.bad, "none came by chance");
    let width = |judgement: &Judgement| {
        let [low, high] = judgement.clauses[0].interval.unwrap();
        high - low
    };
    assert!(width(&rare) > width(&calm), "{} {}", width(&rare), width(&calm));
    assert!(
        rare.rare
            .iter()
            .all(|kind| kind.per_run > 0.0 && kind.per_run < 0.01)
    );
    assert!(
        rare.rare.iter().any(|kind| kind.uptime_cost > 1e-4),
        "{:?}",
        rare.rare
    );
}

#[test]
fn what_has_no_price_cannot_hold() {
    let mut plan = crate::compile::samples::naive();
    plan.scenario.hours = 0.5;
    plan.topology.nodes[0].size = "c7g.medium".into();
    plan.book = "nowhere".into();
    plan.contract.uptime = 0.5;
    plan.contract.latency.clear();
    let fluid = Effort {
        fidelity: Fidelity::Fluid,
        ..Effort::default()
    };
    let judgement = judge(&plan, &fluid).unwrap();
    assert_eq!(judgement.verdict, Verdict::TooClose);
    assert_eq!(judgement.unpriced.len(), 1);
    plan.topology.nodes.clear();
    assert!(judge(&plan, &fluid).is_err());
}

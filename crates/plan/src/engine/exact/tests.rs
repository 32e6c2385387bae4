//! Oracles: networks whose answer is known, and what must hold of any.

use super::*;
use crate::{
    network::{Flow, Law, Machine, RandomFaults, Share, Stage, Station, StationId, Step},
    plan::{Clients, Fault, Jitter, NewestOf, Session},
};

/// Users who stay, and one station without any cost.
pub(in crate::engine) fn network(users: f64, rate: f64, length: f64) -> Network {
    Network {
        seed: 1,
        length,
        users: vec![(0.0, users), (length, users)],
        session: Session::Fixed { length: 1e9 },
        bursts: Vec::new(),
        clients: Clients {
            backoff_first: 1.0,
            backoff_max: 30.0,
            jitter: Jitter::Full,
            retries: 0,
            retry_budget: None,
            timeout: 1e6,
            patience: 600.0,
        },
        stations: Vec::new(),
        flows: vec![Flow {
            name: "chat".to_owned(),
            rate,
            bytes: 100.0,
            receivers: vec![(1.0, 1.0)],
            receivers_at: 0.0,
            receivers_max: 1.0,
            coalescible: false,
            newest_of: NewestOf::User,
            durable: false,
            priority: 1,
            steps: Vec::new(),
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

pub(in crate::engine) fn station(name: &str, machines: u32, servers: u32) -> Station {
    Station {
        name: name.to_owned(),
        node: entity_number(name),
        group: 0,
        stage: Stage::Work,
        machines,
        scale: None,
        servers,
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
    }
}

pub(in crate::engine) fn entity_number(name: &str) -> u32 {
    tables::entity_of(name)
}

pub(in crate::engine) fn step(station: u32, machine: Machine, service: Law) -> Step {
    Step {
        station: StationId(station),
        machine,
        service,
        per_receiver: 0.0,
        travel: Law::Zero,
        travel_stage: Stage::Lb,
        share: Share::All,
    }
}

/// One station that is visited once: arrivals are Poisson.
pub(in crate::engine) fn queue(servers: u32, load: f64, service: Law, length: f64) -> Network {
    let rate = load * f64::from(servers) / service.mean();
    let mut network = network(100.0, rate / 100.0, length);
    network.stations.push(station("one", 1, servers));
    network.flows[0].steps.push(step(0, Machine::Any, service));
    network
}

/// Mean of a figure over seeds, and its standard error.
fn over_seeds(network: &Network, seeds: u64, figure: impl Fn(&Outcome) -> f64) -> (f64, f64) {
    let mut network = network.clone();
    let figures: Vec<f64> = (0..seeds)
        .map(|seed| {
            network.seed = seed;
            figure(&run(&network, 0))
        })
        .collect();
    let mean = figures.iter().sum::<f64>() / seeds as f64;
    let variance = figures.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (seeds - 1) as f64;
    (mean, libm::sqrt(variance / seeds as f64))
}

fn assert_oracle(what: &str, (mean, error): (f64, f64), expected: f64) {
    assert!(
        (mean - expected).abs() < 3.0 * error,
        "{what}: {mean} ± {error}, expected {expected}"
    );
    assert!(error < 0.05 * expected, "{what}: {error} is no answer");
}

fn wait(outcome: &Outcome) -> f64 {
    outcome.stations[0].wait_s.sum() / outcome.stations[0].wait_s.len()
}

/// Share of arrivals that wait, of M/M/c.
fn erlang_c(servers: u32, load: f64) -> f64 {
    let offered = load * f64::from(servers);
    let mut blocked = 1.0;
    for server in 1..=servers {
        blocked = offered * blocked / (f64::from(server) + offered * blocked);
    }
    blocked / (1.0 - load * (1.0 - blocked))
}

const SEEDS: u64 = 200;

#[test]
fn one_server_waits_as_in_mm1() {
    let network = queue(1, 0.7, Law::Exponential { mean: 0.01 }, 60.0);
    assert_oracle("M/M/1", over_seeds(&network, SEEDS, wait), 0.7 * 0.01 / 0.3);
}

#[test]
fn many_servers_wait_as_in_mmc() {
    let network = queue(4, 0.8, Law::Exponential { mean: 0.01 }, 30.0);
    let expected = erlang_c(4, 0.8) * 0.01 / (4.0 * 0.2);
    assert_oracle("M/M/4", over_seeds(&network, SEEDS, wait), expected);
}

#[test]
fn service_of_one_length_waits_as_in_md1() {
    let network = queue(1, 0.7, Law::Fixed { mean: 0.01 }, 60.0);
    assert_oracle(
        "M/D/1",
        over_seeds(&network, SEEDS, wait),
        0.7 * 0.01 / (2.0 * 0.3),
    );
}

#[test]
fn service_of_any_law_waits_by_pollaczek_and_khinchine() {
    let network = queue(1, 0.6, Law::Lognormal { mean: 0.01, cv2: 2.0 }, 60.0);
    assert_oracle(
        "M/G/1",
        over_seeds(&network, SEEDS, wait),
        0.6 * 0.01 * 3.0 / (2.0 * 0.4),
    );
}

#[test]
fn a_finite_buffer_refuses_as_in_mmck() {
    let mut network = queue(2, 0.9, Law::Exponential { mean: 0.01 }, 30.0);
    network.stations[0].waiting_max = Some(3);
    // Shares of the time with n in the system, up to 2 + 3.
    let offered: f64 = 1.8;
    let mut states = vec![1.0, offered];
    for n in 2..=5 {
        states.push(states[n - 1] * offered / 2.0);
    }
    let expected = states[5] / states.iter().sum::<f64>();
    let refused = |outcome: &Outcome| outcome.stations[0].refused / outcome.classes[0].published;
    assert_oracle("M/M/2/5", over_seeds(&network, SEEDS, refused), expected);
}

#[test]
fn queues_in_a_row_wait_as_each_alone() {
    let mut network = queue(1, 0.6, Law::Exponential { mean: 0.01 }, 60.0);
    network.stations.push(station("two", 1, 1));
    network.flows[0]
        .steps
        .push(step(1, Machine::Any, Law::Exponential { mean: 0.012 }));
    let second = |outcome: &Outcome| outcome.stations[1].wait_s.sum() / outcome.stations[1].wait_s.len();
    assert_oracle("first", over_seeds(&network, SEEDS, wait), 0.6 * 0.01 / 0.4);
    assert_oracle("second", over_seeds(&network, SEEDS, second), 0.72 * 0.012 / 0.28);
}

#[test]
fn sessions_are_as_long_as_their_law_says() {
    let mut network = network(200.0, 0.0, 20_000.0);
    network.session = Session::Weibull {
        shape: 0.5,
        scale: 60.0,
    };
    // By Little's law: users are arrivals times the mean session, 2 minutes.
    let mean = |outcome: &Outcome| outcome.connected_mean * outcome.length / outcome.connects;
    assert_oracle("sessions", over_seeds(&network, SEEDS / 4, mean), 120.0);
}

#[test]
fn the_population_follows_its_curve() {
    let mut network = network(0.0, 0.0, 7_200.0);
    network.users = vec![(0.0, 100.0), (3_600.0, 2_000.0), (7_200.0, 300.0)];
    network.session = Session::Weibull {
        shape: 0.5,
        scale: 1_200.0,
    };
    let outcome = run(&network, 0);
    for (minute, expected) in [(10, 432.5), (59, 1_984.0), (90, 1_135.8), (118, 370.0)] {
        let wanted = outcome.minutes[minute].wanted;
        assert!(
            (wanted / expected - 1.0).abs() < 0.12,
            "minute {minute}: {wanted}, expected {expected}"
        );
    }
}

#[test]
fn retries_settle_where_each_try_fails_as_often_as_all_do() {
    // M/M/1/1: a try fails with p = load / (1 + load), and the load is of all tries. Waits between tries make them Poisson.
    let mut network = queue(1, 0.4, Law::Exponential { mean: 0.01 }, 400.0);
    network.stations[0].waiting_max = Some(0);
    network.clients.retries = 3;
    network.clients.jitter = Jitter::Full;
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let p = (low + high) / 2.0;
        let load = 0.4 * (1.0 + p + p * p + p * p * p);
        if load / (1.0 + load) > p {
            low = p
        } else {
            high = p
        }
    }
    let refused = |outcome: &Outcome| {
        let station = &outcome.stations[0];
        station.refused / (station.refused + station.visits)
    };
    let (mean, error) = over_seeds(&network, 50, refused);
    assert!(
        (mean - low).abs() < 3.0 * error + 0.002 * low,
        "{mean} ± {error}, expected {low}"
    );
}

/// An edge with its connections, servers, a store, jobs aside, and everything that can go wrong.
pub(in crate::engine) fn stack(length: f64) -> Network {
    let mut network = network(300.0, 0.5, length);
    network.session = Session::Weibull {
        shape: 0.5,
        scale: 600.0,
    };
    network.clients.timeout = 2.0;
    network.clients.retries = 2;
    network.clients.retry_budget = Some(0.2);
    network.clients.patience = 60.0;
    network.network = Law::Lognormal { mean: 0.03, cv2: 0.5 };
    network.slow_readers = 0.02;
    network.slow_reader_rate = 2_000.0;
    network.outbox_bytes = 50_000.0;
    network.hard_deadline = vec![1.0];
    let mut edge = station("ws", 2, 2);
    edge.stage = Stage::Admit;
    edge.zones = 2;
    edge.repair = 10.0;
    edge.idle_cost = 5e-6;
    let mut fanout = edge.clone();
    fanout.name = "ws fanout".to_owned();
    fanout.stage = Stage::Fanout;
    let mut store = station("store", 2, 4);
    store.stage = Stage::Engine;
    store.takeover = Some(20.0);
    store.timeout = Some(0.5);
    store.retries = 1;
    store.waiting_max = Some(500);
    network.stations = vec![
        station("lb", 1, 10_000),
        edge,
        station("server", 2, 2),
        store,
        fanout,
        station("worker", 1, 2),
    ];
    network.edge = Some(StationId(1));
    let mut last = step(4, Machine::Receivers, Law::Fixed { mean: 20e-6 });
    last.per_receiver = 10e-6;
    network.flows[0].receivers = vec![(2.0, 0.5), (10.0, 0.4), (100.0, 0.1)];
    network.flows[0].steps = vec![
        step(0, Machine::Any, Law::Fixed { mean: 1e-4 }),
        step(1, Machine::Home, Law::Exponential { mean: 1e-4 }),
        step(2, Machine::Any, Law::Lognormal { mean: 2e-3, cv2: 1.0 }),
        step(3, Machine::Any, Law::Lognormal { mean: 2e-3, cv2: 1.0 }),
        last,
    ];
    network.flows[0].aside = vec![step(5, Machine::Any, Law::Lognormal { mean: 5e-3, cv2: 2.0 })];
    network.connect = vec![
        step(1, Machine::Home, Law::Exponential { mean: 2e-3 }),
        step(3, Machine::Any, Law::Exponential { mean: 2e-3 }),
    ];
    network
}

pub(in crate::engine) fn fault(at: f64, name: &str, fault: Fault) -> TimedFault {
    TimedFault {
        at,
        node: entity_number(name),
        fault,
    }
}

pub(in crate::engine) fn troubled(length: f64) -> Network {
    let mut network = stack(length);
    network.faults = vec![
        fault(
            100.0,
            "ws",
            Fault::Crash {
                machines: 1,
                seconds: None,
            },
        ),
        fault(200.0, "store", Fault::Failover),
        fault(300.0, "ws", Fault::Deploy),
        fault(
            400.0,
            "server",
            Fault::Slow {
                factor: 5.0,
                seconds: 30.0,
            },
        ),
        fault(450.0, "ws", Fault::Zone { seconds: 20.0 }),
        fault(
            500.0,
            "store",
            Fault::Loss {
                share: 0.1,
                seconds: 30.0,
            },
        ),
        fault(
            540.0,
            "ws",
            Fault::Kick {
                factor: 5.0,
                seconds: 10.0,
            },
        ),
    ];
    network
}

#[test]
fn what_went_in_came_out_or_is_inside() {
    let network = troubled(600.0);
    let mut run = Run::new(&network, 0);
    for second in [50.0, 100.5, 130.0, 205.0, 310.0, 460.0, 545.0, 599.0] {
        run.run_until(second);
        let balance = run.balance();
        let out = balance.accepted + balance.failed + balance.resident;
        assert_eq!(balance.published, out, "at {second}: {balance:?}");
    }
    assert!(run.balance().failed > 0.0 && run.balance().accepted > 80_000.0);
}

#[test]
fn a_crash_cuts_off_half_and_they_come_back() {
    let mut network = troubled(250.0);
    network.faults.truncate(1);
    let outcome = run(&network, 0);
    let reconnects = outcome.reconnect_s.len();
    assert!((100.0..200.0).contains(&reconnects), "{reconnects}");
    assert!(outcome.reconnect_s.quantile(0.95).unwrap() < 20.0);
    assert!(outcome.bad.disconnected_s > 10.0);
    assert!(outcome.marks.iter().any(|mark| mark.what.contains("crash")));
}

#[test]
fn more_capacity_never_hurts() {
    let mut network = troubled(600.0);
    for (few, many) in [(1, 2), (2, 4)] {
        let worst =
            |outcome: Outcome| outcome.classes[0].latency_s.sum() / outcome.classes[0].latency_s.len();
        network.stations[2].servers = few;
        let slow = worst(run(&network, 0));
        network.stations[2].servers = many;
        let fast = worst(run(&network, 0));
        assert!(
            fast <= slow * 1.0001,
            "{few} servers {slow}, {many} servers {fast}"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let network = troubled(600.0);
    let text = |replication| serde_json::to_string(&run(&network, replication)).unwrap();
    let first = text(0);
    assert_eq!(first, text(0));
    assert_ne!(first, text(1));
    let hash = first.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // It changes with the model, and with nothing else: not with the machine, the compiler or the day.
    assert_eq!(format!("{hash:016x}"), "fcc0e117be35795f");
}

#[test]
fn a_run_can_be_taken_up_and_forked() {
    let network = troubled(600.0);
    let whole = serde_json::to_string(&run(&network, 0)).unwrap();
    let mut first = Run::new(&network, 0);
    first.run_until(90.0);
    let mut fork = first.clone();
    first.run_until(310.0);
    assert_eq!(serde_json::to_string(&first.finish()).unwrap(), whole);
    fork.set_machines(entity_number("ws"), 4);
    let forked = fork.finish();
    assert_eq!(forked.minutes[8].machines[1], 4);
    assert_ne!(serde_json::to_string(&forked).unwrap(), whole);
}

#[test]
fn users_inside_are_those_who_come_times_how_long_they_stay() {
    // Little's law at a station: work done a second is the share of its servers at work.
    let network = queue(2, 0.6, Law::Exponential { mean: 0.01 }, 600.0);
    let outcome = run(&network, 0);
    let offered = outcome.stations[0].visits / outcome.length * 0.01 / 2.0;
    assert!(
        (outcome.stations[0].busy_share / offered - 1.0).abs() < 0.01,
        "{offered}"
    );
}

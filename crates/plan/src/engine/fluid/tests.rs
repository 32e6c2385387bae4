use proptest::prelude::*;

use super::*;
use crate::{
    compile::{
        compile,
        samples::{class, event, naive, node, redundant, topology},
    },
    erlang::Queue,
    network::{Flow, Law, Machine, RandomFaults, Share, Stage, Station, StationId, Step},
    plan::*,
};

/// Queues one behind the other, each with its servers and its mean service; one flow with one receiver, and users that
/// never change.
fn tandem(rate: f64, queues: &[(u32, f64)], law: impl Fn(f64) -> Law) -> Network {
    let stations = queues
        .iter()
        .enumerate()
        .map(|(place, &(servers, _))| Station {
            name: format!("q{place}: work"),
            node: place as u32,
            group: place as u32,
            stage: if place + 1 == queues.len() {
                Stage::Fanout
            } else {
                Stage::Work
            },
            machines: 1,
            scale: None,
            servers,
            waiting_max: None,
            timeout: None,
            retries: 0,
            retry_jitter: true,
            retry_budget: None,
            idle_cost: 0.0,
            memory: 1e9,
            memory_base: 0.0,
            memory_per_connection: 0.0,
            repair: 60.0,
            takeover: None,
            zones: 1,
            drain: 0.0,
        })
        .collect();
    let steps = queues
        .iter()
        .enumerate()
        .map(|(place, &(_, service))| Step {
            station: StationId(place as u32),
            machine: Machine::Any,
            service: law(service),
            per_receiver: 0.0,
            travel: Law::Zero,
            travel_stage: Stage::Work,
            share: Share::All,
        })
        .collect();
    Network {
        seed: 1,
        length: 3_600.0,
        users: vec![(0.0, 1_000.0), (3_600.0, 1_000.0)],
        session: Session::Exponential { mean: 1_200.0 },
        bursts: Vec::new(),
        clients: Clients {
            backoff_first: 1.0,
            backoff_max: 8.0,
            jitter: Jitter::Full,
            retries: 0,
            retry_budget: None,
            timeout: 5.0,
            patience: 60.0,
        },
        stations,
        flows: vec![Flow {
            name: "event".into(),
            rate: rate / 1_000.0,
            bytes: 100.0,
            receivers: vec![(1.0, 1.0)],
            receivers_at: 0.0,
            receivers_max: 1.0,
            coalescible: false,
            newest_of: NewestOf::User,
            durable: false,
            priority: 1,
            steps,
            aside: Vec::new(),
            targets: Vec::new(),
        }],
        connect: Vec::new(),
        edge: None,
        faults: Vec::new(),
        random: RandomFaults::default(),
        network: Law::Zero,
        slow_readers: 0.0,
        slow_reader_rate: 0.0,
        outbox_bytes: 0.0,
        conflate_rate: 0.0,
        abuse: 0.0,
        hard_deadline: vec![1.0],
    }
}

fn exponential(mean: f64) -> Law {
    Law::Exponential { mean }
}

fn near(a: f64, b: f64, relative: f64) {
    assert!((a - b).abs() <= relative * b.abs(), "{a} is not {b}");
}

fn latency(outcome: &Outcome, percentile: f64) -> f64 {
    outcome.latency(None, percentile).unwrap()
}

/// All that was published is accounted for, but for what is still inside.
fn is_conserved(network: &Network, outcome: &Outcome) {
    for (row, class) in network.flows.iter().zip(&outcome.classes) {
        // Rooms that grow are not counted back: their receivers change.
        if row.receivers_at > 0.0 {
            continue;
        }
        let each: f64 = row.receivers.iter().map(|(count, share)| count * share).sum();
        let out = (class.delivered + class.conflated + class.lost) / each;
        let inside = class.published - class.failed - out;
        assert!(
            inside >= -1e-6 * class.published,
            "{}: {inside} of {}",
            class.name,
            class.published
        );
        if outcome
            .stations
            .iter()
            .all(|station| station.busy_max_minute < 0.9)
        {
            assert!(inside <= 1e-6 * class.published + 1.0, "{}: {inside}", class.name);
        }
    }
}

#[test]
fn a_single_server_is_as_the_books_say() {
    for busy in [0.3, 0.6, 0.8, 0.9] {
        // The stay in M/M/1 is exponential: its p95 is ln 20 / (mu - lambda).
        let outcome = run(&tandem(busy * 1_000.0, &[(1, 0.001)], exponential));
        near(
            latency(&outcome, 0.95),
            libm::log(20.0) / (1_000.0 * (1.0 - busy)),
            0.05,
        );
        near(
            latency(&outcome, 0.5),
            libm::log(2.0) / (1_000.0 * (1.0 - busy)),
            0.05,
        );
        near(outcome.stations[0].busy_share, busy, 1e-3);
    }
}

#[test]
fn several_servers_wait_as_erlang_says() {
    for (servers, busy) in [(2, 0.7), (4, 0.8), (16, 0.9)] {
        let service = 0.01;
        let rate = busy * f64::from(servers) / service;
        let outcome = run(&tandem(rate, &[(servers, service)], exponential));
        let queue = Queue {
            servers,
            rate,
            service,
        };
        let wait = &outcome.stations[0].wait_s;
        near(wait.sum() / wait.len(), queue.wait_mean(), 0.03);
        near(
            wait.quantile(0.99).unwrap(),
            queue.wait_quantile(0.99, Variability::MARKOV),
            0.05,
        );
    }
}

#[test]
fn fixed_services_wait_half_as_long() {
    let outcome = run(&tandem(800.0, &[(1, 0.001)], |mean| Law::Fixed { mean }));
    let wait = &outcome.stations[0].wait_s;
    near(
        wait.sum() / wait.len(),
        erlang::pollaczek_khinchine(800.0, 0.001, 0.0),
        0.03,
    );
}

#[test]
fn stages_are_convolved_and_percentiles_not_added() {
    // Two M/M/1 in a row stay as the sum of two exponentials of the same rate (P. Burke): p95 is 4.744 means, where two p95
    // would be 5.99.
    let outcome = run(&tandem(700.0, &[(1, 0.001), (1, 0.001)], exponential));
    near(latency(&outcome, 0.95), 4.744 / 300.0, 0.05);
    // What the stages took is what all took.
    let class = &outcome.classes[0];
    let stages: f64 = class.waits.iter().map(|wait| wait.all_s).sum();
    near(stages, class.latency_s.sum(), 1e-3);
    let near_p95: f64 = class.waits.iter().map(|wait| wait.near_p95_s).sum();
    assert!(near_p95 > 0.0 && near_p95 < stages);
}

#[test]
fn what_does_not_fit_is_refused_and_retried() {
    let mut network = tandem(900.0, &[(1, 0.001)], exponential);
    network.stations[0].waiting_max = Some(4);
    let outcome = run(&network);
    let queue = Queue {
        servers: 1,
        rate: 900.0,
        service: 0.001,
    };
    near(
        outcome.classes[0].failed / outcome.classes[0].published,
        queue.refused(4),
        0.02,
    );
    is_conserved(&network, &outcome);
    // With three tries, less fails for good, and more is asked of the server.
    network.clients.retries = 2;
    let again = run(&network);
    assert!(again.classes[0].failed < 0.3 * outcome.classes[0].failed);
    assert!(again.classes[0].retried > 0.05 * again.classes[0].published);
    assert!(again.stations[0].busy_share > outcome.stations[0].busy_share);
    // The fixed point: each try fails with the chance that the load with all tries has.
    let share = again.classes[0].retried / again.classes[0].published;
    let fails = Queue {
        rate: 900.0 * (1.0 + share),
        ..queue
    }
    .refused(4);
    near(1.0 + share, erlang::tries(fails, 2, None), 0.03);
}

#[test]
fn a_backlog_grows_and_is_worked_off() {
    // Half as much again as the server does, for ten minutes: 300 s of work wait at the end, and as half of it is free
    // then, ten minutes later nothing does.
    let mut network = tandem(500.0, &[(1, 0.001)], exponential);
    network.clients.timeout = 1e6;
    network.hard_deadline = vec![10.0];
    network.faults = vec![crate::network::TimedFault {
        at: 600.0,
        node: 0,
        fault: Fault::Kick {
            factor: 3.0,
            seconds: 600.0,
        },
    }];
    let outcome = run(&network);
    near(outcome.stations[0].waiting_max, 300_000.0, 0.02);
    near(outcome.minutes[19].latency_s[0], 300.0, 0.2);
    assert!(outcome.minutes[5].latency_s[1] < 0.01);
    assert!(outcome.minutes[28].latency_s[1] > 10.0 && outcome.minutes[31].latency_s[1] < 0.02);
    assert!(outcome.bad.late_s > 0.0);
    is_conserved(&network, &outcome);
    near(outcome.classes[0].delivered, outcome.classes[0].published, 1e-3);
    assert_eq!(outcome.marks.len(), 1);
}

#[test]
fn naive_breaks_where_it_has_one_of_each() {
    let mut plan = naive();
    plan.failures.scheduled = vec![Failure {
        at_hour: 22.0,
        node: "db".into(),
        what: Fault::Failover,
    }];
    let network = compile(&plan).unwrap();
    let alone = run(&network);
    is_conserved(&network, &alone);
    assert_eq!(
        alone
            .marks
            .iter()
            .map(|mark| mark.what.as_str())
            .collect::<Vec<_>>(),
        ["db: fails over", "db: back"]
    );
    // Chat fails for ten minutes of repair; with a standby and writes aside it does not.
    let chat = &alone.classes[0];
    assert!(
        chat.failed > 0.9 * 3_000.0 * 0.02 * 1.07 * 600.0,
        "{}",
        chat.failed
    );
    let mut plan = redundant();
    plan.failures = naive().failures;
    plan.failures.scheduled = vec![Failure {
        at_hour: 22.0,
        node: "db".into(),
        what: Fault::Failover,
    }];
    let several = run(&compile(&plan).unwrap());
    assert!(
        several.classes[0].failed < 0.2 * chat.failed,
        "{}",
        several.classes[0].failed
    );
    assert!(several.uptime(Weigh::UserMinutes) >= alone.uptime(Weigh::UserMinutes));
}

#[test]
fn who_is_cut_off_comes_back_as_fast_as_hands_are_shaken() {
    let mut plan = redundant();
    plan.scenario.hours = 2.0;
    plan.scenario.users.points = vec![(0.0, 3_000.0), (2.0, 3_000.0)];
    plan.failures.scheduled = vec![Failure {
        at_hour: 1.0,
        node: "ws".into(),
        what: Fault::Crash {
            machines: 1,
            seconds: None,
        },
    }];
    let fast = run(&compile(&plan).unwrap());
    // Half of them, and within the first backoff.
    near(fast.reconnect_s.len(), 1_500.0, 0.02);
    assert!(
        fast.reconnect_s.quantile(0.95).unwrap() < 3.0,
        "{:?}",
        fast.reconnect_s.quantile(0.95)
    );
    assert!(fast.bad.disconnected_s > 500.0);
    // With 20 handshakes a second and core, and two cores once it is back, 1,500 take 38 seconds at least.
    plan.topology.nodes[1].options.handshakes_max = Some(20.0);
    let slow = run(&compile(&plan).unwrap());
    let p95 = slow.reconnect_s.quantile(0.95).unwrap();
    assert!((35.0..80.0).contains(&p95), "{p95}");
    assert!(slow.connects_failed > 0.0 && slow.bad.disconnected_s > 10.0 * fast.bad.disconnected_s);
}

#[test]
fn a_deploy_sends_all_away_and_loses_nobody_if_there_is_another_machine() {
    let mut plan = redundant();
    plan.scenario.hours = 2.0;
    plan.scenario.users.points = vec![(0.0, 3_000.0), (2.0, 3_000.0)];
    plan.failures.scheduled = vec![Failure {
        at_hour: 1.0,
        node: "ws".into(),
        what: Fault::Deploy,
    }];
    let two = run(&compile(&plan).unwrap());
    // Half are sent away, then all: those who went to the other one go again.
    assert!(two.reconnect_s.len() > 2_900.0, "{}", two.reconnect_s.len());
    assert!(two.bad.disconnected_s < 3_000.0, "{}", two.bad.disconnected_s);
    let mut plan = naive();
    plan.scenario.hours = 2.0;
    plan.scenario.users.points = vec![(0.0, 3_000.0), (2.0, 3_000.0)];
    plan.failures.scheduled = vec![Failure {
        at_hour: 1.0,
        node: "ws".into(),
        what: Fault::Deploy,
    }];
    let one = run(&compile(&plan).unwrap());
    assert!(one.bad.disconnected_s > 10.0 * two.bad.disconnected_s);
}

#[test]
fn machines_are_added_after_their_delay_and_boot() {
    let mut plan = redundant();
    let server = &mut plan.topology.nodes[2];
    server.count = 1;
    server.options.service = Some(0.05);
    server.options.autoscale_max = Some(6);
    let outcome = run(&compile(&plan).unwrap());
    let place = outcome
        .stations
        .iter()
        .position(|station| station.name == "server: work")
        .unwrap();
    let machines: Vec<u32> = outcome
        .minutes
        .iter()
        .map(|minute| minute.machines[place])
        .collect();
    assert_eq!(machines[60], 1);
    assert!(
        *machines.iter().max().unwrap() >= 3,
        "{:?}",
        machines.iter().max()
    );
    assert!(*machines.last().unwrap() < *machines.iter().max().unwrap());
    assert!(outcome.marks.iter().any(|mark| mark.what == "server: scales out"));
}

#[test]
fn a_cold_cache_sends_all_reads_to_the_database() {
    let mut plan = redundant();
    plan.failures.scheduled = vec![Failure {
        at_hour: 22.0,
        node: "redis".into(),
        what: Fault::Cold,
    }];
    let outcome = run(&compile(&plan).unwrap());
    let place = outcome
        .stations
        .iter()
        .position(|station| station.name == "db: writes")
        .unwrap();
    let busy = |hour: f64| outcome.minutes[(hour * 60.0) as usize].busy[place];
    assert!(busy(22.01) > 1.15 * busy(21.9), "{} {}", busy(22.01), busy(21.9));
    assert!(busy(22.2) < 1.05 * busy(21.9));
}

#[test]
fn conflation_and_usage_are_counted() {
    let mut plan = naive();
    plan.scenario.users.points = vec![(0.0, 300.0), (60.0, 300.0)];
    plan.scenario.slow_readers = 0.0;
    plan.scenario.classes[1] = Class {
        coalescible: true,
        ..class("move", 5.0, RoomLaw::Fixed { size: 10.0 })
    };
    let all = run(&compile(&plan).unwrap());
    plan.topology.nodes[0].options.conflate_rate = Some(1.0);
    let network = compile(&plan).unwrap();
    let conflated = run(&network);
    // The mean of bursts of three, one minute in 31.
    let rate = 5.0 * (1.0 + 2.0 / 31.0);
    let kept = network.conflation(&network.flows[1], 10.0, rate).kept();
    assert!((0.15..0.21).contains(&kept), "{kept}");
    near(
        conflated.classes[1].delivered / conflated.classes[1].published,
        kept * 10.0,
        0.05,
    );
    near(
        conflated.classes[1].conflated / conflated.classes[1].published,
        (1.0 - kept) * 10.0,
        0.05,
    );
    assert!(conflated.usage.egress_bytes < 0.3 * all.usage.egress_bytes);
    // The newest was sent a fifth of a second before its window ended, on average.
    let more =
        |share| conflated.latency(Some("move"), share).unwrap() - all.latency(Some("move"), share).unwrap();
    assert!((0.08..0.2).contains(&more(0.5)), "{}", more(0.5));
    assert!((0.4..0.65).contains(&more(0.95)), "{}", more(0.95));
    near(
        all.usage.stored_bytes,
        (all.classes[0].published - all.classes[0].failed) * 200.0,
        1e-3,
    );
    assert!(all.usage.connections_new > 1_000.0 && all.usage.queue_jobs == 0.0);
}

#[test]
fn rooms_of_all_grow_with_the_users() {
    let mut plan = event(topology(vec![node("ws", Kind::Ws, 1)], "clients>ws"));
    plan.scenario.bursts.clear();
    plan.scenario.slow_readers = 0.0;
    plan.scenario.classes = vec![class("shout", 0.001, RoomLaw::Everyone)];
    let outcome = run(&compile(&plan).unwrap());
    let minute = |hour: usize| &outcome.minutes[hour * 60];
    for hour in [2, 21, 59] {
        let users = minute(hour).connected;
        near(minute(hour).delivered, users * users * 0.001 * 60.0, 0.02);
    }
}

#[test]
fn a_large_room_takes_as_long_as_its_last_receiver() {
    // One machine, one core: 1,000 receivers at 8.3 µs, so that half of them wait 4.2 ms or more; twice as long with 2,000.
    let of = |users: f64| {
        let mut plan = event(topology(vec![node("ws", Kind::Ws, 1)], "clients>ws"));
        plan.scenario.bursts.clear();
        plan.scenario.network_p50 = 0.0;
        plan.scenario.hours = 2.0;
        plan.scenario.users.points = vec![(0.0, users / 2.0), (1.0, users), (2.0, users)];
        plan.scenario.classes = vec![class("shout", 1e-6, RoomLaw::Everyone)];
        run(&compile(&plan).unwrap()).minutes[110].latency_s[0]
    };
    near(of(1_000.0), 0.0042, 0.03);
    near(of(2_000.0), 0.00835, 0.03);
}

#[test]
fn the_same_network_gives_the_same_bytes() {
    let network = compile(&redundant()).unwrap();
    let text = |outcome: &Outcome| serde_json::to_string(outcome).unwrap();
    let first = run(&network);
    assert_eq!(text(&first), text(&run(&network)));
    assert_eq!(
        (first.runs, first.sampled_share, first.minutes.len()),
        (1, 0.0, 3_600)
    );
    assert!(!first.worst.is_empty() && first.worst[0].latency_s > latency(&first, 0.99));
    near(
        first.worst[0]
            .stays
            .iter()
            .map(|stay| stay.waited_s + stay.served_s)
            .sum(),
        first.worst[0].latency_s,
        1e-6,
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_plan_that_is_compiled_runs(
        plan in crate::compile::tests::any_plan(),
        faults in prop::collection::vec((0..9_usize, 0..8_u8, prop_oneof![Just(0.0), Just(30.0), Just(1e9)]), 0..6),
        odd in prop_oneof![Just(0.0), Just(1.0), Just(1e300), Just(f64::NAN)],
    ) {
        let mut plan = plan;
        for (node, what, number) in faults {
            let Some(node) = plan.topology.nodes.get(node).map(|node| node.id.clone()) else { continue };
            let what = match what {
                0 => Fault::Crash { machines: 2, seconds: Some(number) },
                1 => Fault::Zone { seconds: number },
                2 => Fault::Slow { factor: number, seconds: 60.0 },
                3 => Fault::Failover,
                4 => Fault::Deploy,
                5 => Fault::Cold,
                6 => Fault::Loss { share: number, seconds: 60.0 },
                _ => Fault::Kick { factor: number, seconds: 60.0 },
            };
            plan.failures.scheduled.push(Failure { at_hour: 0.3, node, what });
        }
        plan.scenario.clients.backoff_first = odd;
        plan.scenario.users.points = vec![(0.0, 100.0), (0.5, 2_000.0 + odd.min(1e12)), (1.0, 10.0)];
        if let Ok(network) = compile(&plan) {
            let outcome = run(&network);
            prop_assert_eq!(outcome.minutes.len(), 60);
            let bad = outcome.bad.disconnected_s + outcome.bad.refused_s + outcome.bad.late_s;
            prop_assert!(bad >= 0.0 && bad <= outcome.wanted_s * 1.001 + 1.0, "{} {}", bad, outcome.wanted_s);
            prop_assert!((0.0..=1.0).contains(&outcome.uptime(Weigh::UserMinutes)));
            for class in &outcome.classes {
                prop_assert!(class.delivered >= -1e-6 && class.failed >= -1e-6 && class.latency_s.sum().is_finite(), "{class:?}");
            }
        }
    }

    /// Paired: the same users meet one machine more. What is behind it has room: else more of the one lets through what
    /// is too much for the other.
    #[test]
    fn more_capacity_never_hurts(rate in 0.05..1.0_f64, servers in 1..4_u32, service in 0.001..0.2_f64, kick in 1.0..3.0_f64) {
        let mut plan = redundant();
        plan.scenario.hours = 4.0;
        plan.scenario.users.points = vec![(0.0, 300.0), (2.0, 2_000.0), (4.0, 300.0)];
        plan.scenario.bursts.clear();
        plan.scenario.slow_readers = 0.0;
        plan.scenario.classes[0].rate = rate / 20.0;
        plan.scenario.classes[1].rate = rate;
        plan.topology.nodes[2].options.service = Some(service);
        plan.failures.scheduled = vec![Failure {
            at_hour: 2.0,
            node: "server".into(),
            what: Fault::Kick { factor: kick, seconds: 120.0 },
        }];
        let mut outcomes = Vec::new();
        for more in 0..2 {
            plan.topology.nodes[2].count = servers + more;
            let network = compile(&plan).unwrap();
            let outcome = run(&network);
            is_conserved(&network, &outcome);
            outcomes.push(outcome);
        }
        let bad = |outcome: &Outcome| outcome.bad.disconnected_s + outcome.bad.refused_s + outcome.bad.late_s;
        prop_assert!(bad(&outcomes[1]) <= bad(&outcomes[0]) * 1.005 + 1.0, "{} {}", bad(&outcomes[0]), bad(&outcomes[1]));
        for percentile in [0.5, 0.95, 0.99] {
            let [few, many] = [0, 1].map(|place: usize| outcomes[place].latency(Some("chat"), percentile));
            if let (Some(few), Some(many)) = (few, many) {
                // Who would have failed is now late: more is counted, and only with none failing are they the same events.
                if outcomes[0].classes[0].failed <= 1e-3 * outcomes[0].classes[0].published {
                    prop_assert!(many <= few * 1.03, "{percentile}: {few} {many}");
                }
            }
        }
    }
}

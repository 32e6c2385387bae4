use proptest::prelude::*;

use super::{
    samples::{class, event, naive, node, redundant, topology},
    *,
};
use crate::{
    component::{Costs, Interval, figures},
    network::{Machine, Share, Stage, Step},
    plan::*,
};

fn names(network: &Network, steps: &[Step]) -> Vec<String> {
    steps
        .iter()
        .map(|step| network.stations[step.station.0 as usize].name.clone())
        .collect()
}

fn error(plan: &Plan) -> String {
    compile(plan).unwrap_err().to_string()
}

#[test]
fn one_of_each_stores_in_the_path() {
    let network = compile(&naive()).unwrap();
    let (chat, moves) = (&network.flows[0], &network.flows[1]);
    assert_eq!(
        names(&network, &chat.steps),
        [
            "ws: admit",
            "server: work",
            "db: writes",
            "db: connections of server",
            "db: writes",
            "ws: fan-out"
        ]
    );
    assert_eq!(names(&network, &moves.steps), ["ws: admit", "ws: fan-out"]);
    assert!(chat.aside.is_empty());
    // A token is enough to connect; TLS ends at `ws`.
    assert_eq!(names(&network, &network.connect), ["ws: admit"]);
    assert!(network.connect[0].service.mean() > 400e-6);
    let fanout = moves.steps.last().unwrap();
    assert_eq!(
        (fanout.machine, fanout.per_receiver),
        (Machine::Receivers, figures::WS_DELIVERY.value.mid)
    );
    // Both are done by the same cores.
    let group = |step: &Step| network.stations[step.station.0 as usize].group;
    assert_eq!(group(&moves.steps[0]), group(fanout));
    let pool = &network.stations[chat.steps[3].station.0 as usize];
    assert_eq!((pool.servers, pool.machines, pool.takeover), (10, 1, None));
    assert_ne!(pool.group, group(&chat.steps[4]));
}

#[test]
fn several_machines_cross_a_bus_and_write_aside() {
    let network = compile(&redundant()).unwrap();
    let chat = &network.flows[0];
    assert_eq!(
        names(&network, &chat.steps),
        [
            "lb: pass",
            "ws: admit",
            "server: work",
            "redis: cache",
            "db: writes",
            "jobs: send",
            "redis: bus",
            "ws: fan-out"
        ]
    );
    assert_eq!(
        names(&network, &chat.aside),
        ["worker: jobs", "db: connections of worker", "db: writes"]
    );
    assert_eq!(
        names(&network, &network.flows[1].steps),
        ["lb: pass", "ws: admit", "redis: bus", "ws: fan-out"]
    );
    assert!(matches!(chat.steps[4].share, Share::Misses { hit_rate: 0.9, .. }));
    let station = |name: &str| {
        network
            .stations
            .iter()
            .find(|station| station.name == name)
            .unwrap()
    };
    assert_eq!(station("db: writes").takeover, Some(75.0));
    assert_eq!(station("redis: bus").servers, 1);
    assert_eq!(station("worker: jobs").servers, 10);
    assert!(station("lb: pass").is_managed() && !station("ws: admit").is_managed());
    assert!(network.connect[1].service.mean() < 100e-6);
}

#[test]
fn every_step_leads_to_a_station_that_is_there() {
    for plan in [naive(), redundant()] {
        let network = compile(&plan).unwrap();
        for flow in &network.flows {
            assert_eq!(flow.steps.last().unwrap().machine, Machine::Receivers);
            for step in flow.steps.iter().chain(&flow.aside).chain(&network.connect) {
                assert!((step.station.0 as usize) < network.stations.len());
            }
        }
        assert_eq!(network.hard_deadline, [1.2, 1.2]);
        assert_eq!(network.length, 216_000.0);
        assert!((network.network.mean() - 0.0219).abs() < 0.0001);
    }
}

#[test]
fn without_a_bus_several_machines_are_refused() {
    let mut plan = naive();
    plan.topology.nodes[0].count = 2;
    assert!(
        error(&plan).starts_with("node `ws`: it may have several machines and no bus"),
        "{}",
        error(&plan)
    );
    plan.topology.nodes[0].count = 1;
    plan.topology.nodes[0].options.autoscale_max = Some(4);
    assert!(error(&plan).contains("no bus"));
    plan.topology.nodes.push(node("bus", Kind::Stream, 3));
    plan.topology.edges.extend(topology(Vec::new(), "bus>ws").edges);
    let network = compile(&plan).unwrap();
    assert_eq!(
        names(&network, &network.flows[1].steps),
        ["ws: admit", "bus: append", "ws: fan-out"]
    );
    assert_eq!(
        network.stations[network.edge.unwrap().0 as usize]
            .scale
            .unwrap()
            .machines_max,
        4
    );
}

#[test]
fn errors_name_the_place_and_the_way_out() {
    let mut plan = naive();
    plan.topology.edges.push(Edge {
        from: "db".into(),
        to: "ws".into(),
    });
    assert_eq!(
        error(&plan),
        "edge `db` → `ws`: a ws is not called from there; it may call: replica, postgres"
    );
    plan.topology.edges.pop();
    plan.topology.nodes[1].size = "huge".into();
    assert!(
        error(&plan).starts_with("node `server`: `huge` is no known size of a server; known are: t4g.small")
    );
    plan.topology.nodes[1].size.clear();
    plan.topology.nodes[0].options.tokens = Some(false);
    plan.topology.edges.remove(1);
    assert!(
        error(&plan).contains("calls nobody who knows"),
        "{}",
        error(&plan)
    );
    plan.topology.edges.clear();
    assert!(error(&plan).contains("no client reaches it"));
    plan.topology.nodes.clear();
    assert!(error(&plan).starts_with("nothing holds connections"));
    let mut plan = naive();
    plan.topology.nodes.push(node("jobs", Kind::Queue, 1));
    assert!(error(&plan).contains("nobody takes its jobs"));
    let mut plan = naive();
    plan.topology.nodes[0].options.costs = Some("mine".into());
    assert!(error(&plan).contains("no measured costs `mine`"));
}

#[test]
fn who_has_no_token_is_looked_up() {
    let mut plan = redundant();
    plan.topology.nodes[1].options.tokens = Some(false);
    plan.topology.nodes[1].options.handshakes_max = Some(100.0);
    let network = compile(&plan).unwrap();
    assert_eq!(
        names(&network, &network.connect),
        [
            "lb: pass",
            "ws: handshakes",
            "ws: admit",
            "server: work",
            "redis: cache",
            "db: writes"
        ]
    );
    assert_eq!(network.connect[1].service.mean(), 0.01);
}

#[test]
fn clients_may_publish_over_their_servers() {
    let nodes = vec![
        node("lb", Kind::Lb, 1),
        node("ws", Kind::Ws, 1),
        node("api", Kind::Server, 2),
        node("db", Kind::Postgres, 1),
        node("copy", Kind::Replica, 1),
    ];
    let plan = event(topology(nodes, "clients>lb lb>ws lb>api api>ws api>db api>copy"));
    let network = compile(&plan).unwrap();
    assert_eq!(
        names(&network, &network.flows[0].steps),
        [
            "lb: pass",
            "api: work",
            "copy: reads",
            "db: connections of api",
            "db: writes",
            "ws: admit",
            "ws: fan-out"
        ]
    );
    assert_eq!(
        names(&network, &network.flows[1].steps),
        ["lb: pass", "ws: admit", "ws: fan-out"]
    );
}

#[test]
fn a_hosted_service_stands_in_for_ws() {
    let nodes = vec![node("edge", Kind::Hosted, 1)];
    let network = compile(&event(topology(nodes, "clients>edge"))).unwrap();
    assert_eq!(
        names(&network, &network.flows[1].steps),
        ["edge: admit", "edge: fan-out"]
    );
    assert_eq!(
        names(&network, &network.connect),
        ["edge: handshakes", "edge: admit"]
    );
    assert_eq!(network.connect[0].service.mean(), 1.0 / 500.0);
}

#[test]
fn without_a_store_tidegates_own_log_keeps_it() {
    let network = compile(&event(topology(vec![node("ws", Kind::Ws, 1)], "clients>ws"))).unwrap();
    let sync = &network.flows[0].steps[1];
    assert_eq!((sync.travel_stage, sync.travel.mean()), (Stage::Engine, 0.002));
    assert_eq!(network.flows[1].steps.len(), 2);
}

#[test]
fn conflation_sends_less() {
    let mut plan = naive();
    plan.scenario.classes[1] = Class {
        coalescible: true,
        ..class("move", 5.0, RoomLaw::Fixed { size: 10.0 })
    };
    let each = compile(&plan).unwrap().flows[1]
        .steps
        .last()
        .unwrap()
        .per_receiver;
    plan.topology.nodes[0].options.conflate_rate = Some(2.0);
    let network = compile(&plan).unwrap();
    let flow = &network.flows[1];
    let fanout = flow.steps.last().unwrap();
    assert_eq!(
        (network.conflate_rate, network.kept(&network.flows[0])),
        (2.0, 1.0)
    );
    // Of half a second's publications the newest of each user, who has one in e^-2.5 less than always.
    let kept = -libm::expm1(-2.5) / 2.5;
    assert!((network.kept(flow) - kept).abs() < 1e-6);
    // And all ten users' leave in one write.
    assert!(
        fanout.per_receiver < kept * each / 7.5,
        "{} {each}",
        fanout.per_receiver
    );
}

#[test]
fn a_limiter_before_the_edge_keeps_abuse_out() {
    let mut plan = naive();
    plan.scenario.abuse = 0.02;
    assert_eq!(compile(&plan).unwrap().abuse, 0.02);
    plan.topology.nodes.push(Node {
        options: Options {
            rate: Some(1.04),
            ..Options::default()
        },
        ..node("limiter", Kind::Limiter, 1)
    });
    plan.topology
        .edges
        .extend(topology(Vec::new(), "clients>limiter limiter>ws").edges);
    let network = compile(&plan).unwrap();
    // Twice what others send instead of ten times as much: a ninth of the excess.
    assert!((network.abuse - 0.02 / 9.0).abs() < 1e-6, "{}", network.abuse);
    assert_eq!(names(&network, &network.flows[1].steps)[0], "limiter: check");
    // Behind the edge it protects nothing of it.
    let edges = &mut plan.topology.edges;
    edges.truncate(edges.len() - 2);
    edges.extend(topology(Vec::new(), "ws>limiter").edges);
    assert_eq!(compile(&plan).unwrap().abuse, 0.02);
}

#[test]
fn measured_costs_and_drawn_figures_take_the_place_of_the_usual() {
    let mut plan = naive();
    plan.topology.nodes[0].options.costs = Some("mine".into());
    plan.costs = vec![NamedCosts {
        name: "mine".to_owned(),
        measured: None,
        costs: Costs {
            delivery: Interval {
                low: 1e-6,
                mid: 2e-6,
                high: 4e-6,
            },
            ..Costs::default()
        },
    }];
    let each =
        |choose: &dyn Fn(&Figure) -> f64| compile_with(&plan, choose).unwrap().flows[1].steps[1].per_receiver;
    assert_eq!(each(&|figure| figure.value.mid), 2e-6);
    assert_eq!(each(&|figure| figure.value.at(1.0)), 4e-6);
    assert!(each(&|_| f64::NAN) >= 0.0);
}

#[test]
fn chance_strikes_machines_and_not_what_others_run() {
    let mut plan = redundant();
    plan.failures.crashes_per_year = 600.0;
    plan.failures.deploys_per_week = 20.0;
    let network = compile(&plan).unwrap();
    let faults = random_faults(&network, 0);
    assert_eq!(faults, random_faults(&network, 0));
    assert_ne!(faults, random_faults(&network, 1));
    assert!(faults.windows(2).all(|two| two[0].at <= two[1].at));
    let crashes = |node: u32| {
        faults
            .iter()
            .filter(|fault| fault.node == node && matches!(fault.fault, Fault::Crash { .. }))
            .count()
    };
    // 600 a year are 4.1 in 60 hours, of each of two machines.
    assert!((2..20).contains(&crashes(1)), "{}", crashes(1));
    assert_eq!((crashes(0), crashes(4)), (0, 0));
    let deployed: Vec<u32> = faults
        .iter()
        .filter(|fault| fault.fault == Fault::Deploy)
        .map(|fault| fault.node)
        .collect();
    assert!(deployed.contains(&1) && deployed.contains(&2) && !deployed.contains(&6));
}

/// Plans of any nodes and sensible edges, with odd numbers.
pub(crate) fn any_plan() -> impl Strategy<Value = Plan> {
    let kinds = [
        Kind::Lb,
        Kind::Ws,
        Kind::Server,
        Kind::Postgres,
        Kind::Replica,
        Kind::Redis,
        Kind::Stream,
        Kind::Queue,
        Kind::Worker,
        Kind::Limiter,
        Kind::Hosted,
    ];
    let value = prop_oneof![Just(0.0), Just(1e-9), Just(0.5), Just(3.0), Just(1e12)];
    let law = (0..4_u8, value.clone(), value.clone()).prop_map(|(law, a, b)| match law {
        0 => RoomLaw::Fixed { size: a },
        1 => RoomLaw::Geometric { mean: a },
        2 => RoomLaw::Zipf {
            exponent: a,
            largest_share: b,
        },
        _ => RoomLaw::Everyone,
    });
    let nodes = prop::collection::vec((0..kinds.len(), 1..5_u32, any::<bool>(), value.clone()), 1..9);
    let edges = prop::collection::vec((0..10_usize, 0..9_usize), 0..24);
    (nodes, edges, law, any::<[bool; 3]>(), value).prop_map(
        move |(nodes, edges, law, [durable, coalescible, asks], size)| {
            let nodes: Vec<Node> = nodes
                .iter()
                .enumerate()
                .map(|(place, &(kind, count, scales, value))| Node {
                    options: Options {
                        autoscale_max: scales.then_some(9),
                        conflate_rate: Some(value),
                        poll: Some(value),
                        service: scales.then_some(value),
                        handshakes_max: asks.then_some(value),
                        tokens: Some(!asks),
                        partitions: Some(value as u32),
                        connections_max: asks.then_some(value as u32),
                        ..Options::default()
                    },
                    ..node(&place.to_string(), kinds[kind], count)
                })
                .collect();
            // Most edges of a random plan are wrong; those that are kept make plans that are compiled.
            let edges = edges
                .into_iter()
                .filter(|&(from, to)| {
                    let Some(callee) = nodes.get(to) else { return false };
                    match from.checked_sub(1) {
                        None => Kind::FIRST.contains(&callee.kind),
                        Some(from) => {
                            from != to
                                && nodes
                                    .get(from)
                                    .is_some_and(|from| from.kind.calls().contains(&callee.kind))
                        }
                    }
                })
                .map(|(from, to)| Edge {
                    from: from
                        .checked_sub(1)
                        .map_or(CLIENTS.to_owned(), |from| from.to_string()),
                    to: to.to_string(),
                })
                .collect();
            let mut plan = event(Topology { nodes, edges });
            plan.scenario.hours = 1.0;
            plan.scenario.classes = vec![Class {
                durable,
                coalescible,
                bytes: size,
                ..class("any", size, law)
            }];
            plan
        },
    )
}

proptest! {
    #[test]
    fn any_plan_is_compiled_or_refused(plan in any_plan()) {
        match compile(&plan) {
            Ok(network) => {
                for flow in &network.flows {
                    let shares: f64 = flow.receivers.iter().map(|(_, share)| share).sum();
                    prop_assert!((shares - 1.0).abs() < 1e-3, "{:?}", flow.receivers);
                    prop_assert!((0.0..=1.0).contains(&network.kept(flow)));
                    for step in flow.steps.iter().chain(&flow.aside).chain(&network.connect) {
                        prop_assert!(step.service.mean().is_finite() && step.per_receiver.is_finite());
                        prop_assert!(step.travel.mean().is_finite());
                    }
                }
            }
            Err(error) => prop_assert!(!error.what.is_empty() && !error.way.is_empty()),
        }
    }
}

//! Plans for tests: the same event with one machine of each kind, and with several.

use crate::plan::*;

/// A node of a kind's own size, called as its kind.
pub(crate) fn node(id: &str, kind: Kind, count: u32) -> Node {
    Node {
        id: id.into(),
        kind,
        count,
        size: String::new(),
        zones: count.min(2),
        options: Options::default(),
    }
}

pub(crate) fn class(name: &str, rate: f64, room: RoomLaw) -> Class {
    Class {
        name: name.into(),
        rate,
        bytes: 200.0,
        room,
        durable: false,
        coalescible: false,
        newest_of: NewestOf::User,
        priority: 1,
    }
}

/// Edges as `from>to`.
pub(crate) fn topology(nodes: Vec<Node>, edges: &str) -> Topology {
    Topology {
        nodes,
        edges: edges
            .split_whitespace()
            .map(|edge| {
                let (from, to) = edge.split_once('>').expect("an edge is from>to");
                Edge {
                    from: from.into(),
                    to: to.into(),
                }
            })
            .collect(),
    }
}

/// A live event of 60 hours from 220 to 3,400 users, with chat that is kept and moves that are not.
pub(crate) fn event(topology: Topology) -> Plan {
    Plan {
        title: "An event".into(),
        briefing: Briefing::default(),
        seed: 7,
        book: "aws-us-east-1".into(),
        contract: Contract {
            uptime: 0.999,
            weigh: Weigh::UserMinutes,
            latency: vec![Target {
                class: None,
                percentile: 0.95,
                within: 0.12,
            }],
            budget: 860.0,
            loss: None,
            reconnect: None,
            late_factor: 10.0,
        },
        scenario: Scenario {
            hours: 60.0,
            users: Users {
                shape: None,
                points: vec![
                    (0.0, 220.0),
                    (18.0, 300.0),
                    (21.0, 3_400.0),
                    (26.0, 2_800.0),
                    (40.0, 400.0),
                    (60.0, 220.0),
                ],
            },
            session: Session::Weibull {
                shape: 0.5,
                scale: 1_200.0,
            },
            bursts: vec![Burst::Mmpp {
                factor: 3.0,
                quiet: 1_800.0,
                loud: 60.0,
                classes: Vec::new(),
            }],
            classes: vec![
                Class {
                    durable: true,
                    ..class("chat", 0.02, RoomLaw::Geometric { mean: 40.0 })
                },
                class("move", 0.5, RoomLaw::Fixed { size: 10.0 }),
            ],
            abuse: 0.0,
            slow_readers: 0.01,
            slow_reader_rate: 2_000.0,
            network_p50: 0.02,
            network_p95: 0.04,
            clients: Clients {
                backoff_first: 1.0,
                backoff_max: 30.0,
                jitter: Jitter::Full,
                retries: 2,
                retry_budget: Some(0.1),
                timeout: 5.0,
                patience: 300.0,
            },
        },
        topology,
        failures: Failures::default(),
        costs: Vec::new(),
    }
}

/// One machine of each.
pub(crate) fn naive() -> Plan {
    let nodes = vec![
        node("ws", Kind::Ws, 1),
        node("server", Kind::Server, 1),
        node("db", Kind::Postgres, 1),
    ];
    event(topology(nodes, "clients>ws ws>server server>db"))
}

/// Two of what matters, and writes aside.
pub(crate) fn redundant() -> Plan {
    let nodes = vec![
        node("lb", Kind::Lb, 1),
        node("ws", Kind::Ws, 2),
        node("server", Kind::Server, 2),
        node("redis", Kind::Redis, 2),
        node("jobs", Kind::Queue, 1),
        node("worker", Kind::Worker, 2),
        node("db", Kind::Postgres, 2),
    ];
    event(topology(
        nodes,
        "clients>lb lb>ws ws>redis ws>server server>redis server>db server>jobs jobs>worker worker>db",
    ))
}

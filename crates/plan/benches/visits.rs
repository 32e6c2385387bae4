//! How many station visits a second one core simulates: of the kernel's queues alone, and of whole networks.
//!
//! `cargo bench -p tidegate-plan --bench visits`. Time is the core's, as Linux counts it for this thread, so that a busy
//! machine does not show; the fastest and the median of rounds, for what still does.

#[path = "../examples/measure/mod.rs"]
#[allow(dead_code, reason = "it needs the time only")]
mod measure;

use std::hint::black_box;

use measure::on_core_s;
use tidegate_plan::{
    Network,
    draw::{Key, Purpose, Stream},
    engine::{
        exact, hybrid,
        kernel::{
            heap::Heap,
            law::{Drawn, Ziggurat},
            pool::Pool,
        },
    },
    network::{Flow, Law, Machine, RandomFaults, Share, Stage, Station, StationId, Step},
    plan::{Clients, Jitter, NewestOf, Session},
};

const ROUNDS: usize = 7;

fn main() {
    println!(
        "{:<34} {:>12} {:>14} {:>14}",
        "", "visits", "median a s", "fastest a s"
    );
    show("one queue of 4, no events", || recursion(4_000_000));
    show("4 queues of 4 in a row, events", || tandem(1_000_000));
    show("exact: chat, 1 h of 3,400 users", || {
        exact::run(&chat(3_600.0), 0).visits
    });
    show("exact: chat, 60 h of 900 users", || {
        let mut network = chat(216_000.0);
        network.users = vec![(0.0, 900.0), (216_000.0, 900.0)];
        exact::run(&network, 0).visits
    });
    show("hybrid: the same, 4 M visits", || {
        let mut network = chat(216_000.0);
        network.users = vec![(0.0, 900.0), (216_000.0, 900.0)];
        hybrid::run(&network, 0, 4e6).visits
    });
}

fn show(name: &str, mut round: impl FnMut() -> f64) {
    let mut rates: Vec<(f64, f64)> = (0..ROUNDS)
        .map(|_| {
            let began = on_core_s();
            let visits = black_box(round());
            (visits / (on_core_s() - began), visits)
        })
        .collect();
    rates.sort_by(|a, b| a.0.total_cmp(&b.0));
    let ((median, visits), (fastest, _)) = (rates[ROUNDS / 2], rates[ROUNDS - 1]);
    println!(
        "{name:<34} {visits:>12.0} {median:>14.0} {fastest:>14.0}   {:.2} s",
        visits / median
    );
}

fn stream(entity: u32) -> Stream {
    Stream::new(Key {
        seed: 1,
        replication: 0,
        entity,
        purpose: Purpose::Service,
    })
}

fn recursion(visits: u32) -> f64 {
    let (ziggurat, mut stream) = (Ziggurat::default(), stream(1));
    let mut pool = Pool::new(1, 4);
    let (gap, service) = (
        Drawn::of(Law::Exponential { mean: 1e-3 }),
        Drawn::of(Law::Exponential { mean: 3e-3 }),
    );
    let (mut now, mut waited) = (0, 0);
    for _ in 0..visits {
        now += gap.draw(&ziggurat, &mut stream) as u64;
        pool.waiting(0, now);
        waited += pool.serve(0, now, service.draw(&ziggurat, &mut stream) as u64) - now;
    }
    black_box(waited);
    f64::from(visits)
}

/// What the kernel alone can do: arrivals, four stations, one event a visit.
fn tandem(jobs: u32) -> f64 {
    let (ziggurat, mut stream) = (Ziggurat::default(), stream(2));
    let mut pools: Vec<Pool> = (0..4).map(|_| Pool::new(1, 4)).collect();
    let (gap, service) = (
        Drawn::of(Law::Exponential { mean: 1e-3 }),
        Drawn::of(Law::Exponential { mean: 3e-3 }),
    );
    let mut heap = Heap::default();
    const ARRIVAL: u32 = 4;
    heap.push(0, ARRIVAL);
    let (mut made, mut visits) = (0, 0);
    while let Some(event) = heap.peek() {
        let now = event.at;
        let stage = if event.what == ARRIVAL {
            made += 1;
            if made < jobs {
                let next = now + gap.draw(&ziggurat, &mut stream) as u64;
                heap.replace_top(next, ARRIVAL);
            } else {
                heap.pop();
            }
            0
        } else {
            event.what as usize
        };
        let service = service.draw(&ziggurat, &mut stream) as u64;
        let end = pools[stage].serve(0, now, service) + service;
        pools[stage].waiting(0, now);
        visits += 1;
        match (event.what == ARRIVAL, stage + 1 < pools.len()) {
            (true, _) => drop(heap.push(end, 1)),
            (false, true) => drop(heap.replace_top(end, stage as u32 + 1)),
            (false, false) => drop(heap.pop()),
        }
    }
    f64::from(visits)
}

/// A chat at the size of the reference scenario: through a balancer, an edge, a server and a store to rooms of ten.
fn chat(length: f64) -> Network {
    let station = |name: &str, node: u32, stage: Stage, machines: u32, servers: u32| Station {
        name: name.to_owned(),
        node,
        group: node,
        stage,
        machines,
        scale: None,
        servers,
        waiting_max: Some(1_000),
        timeout: Some(1.0),
        retries: 1,
        retry_jitter: true,
        retry_budget: Some(0.1),
        idle_cost: 5e-6,
        memory: 4e9,
        memory_base: 1e8,
        memory_per_connection: 15e3,
        repair: 30.0,
        takeover: None,
        zones: 2,
        drain: 30.0,
    };
    let step = |station: u32, machine: Machine, service: Law, per_receiver: f64| Step {
        station: StationId(station),
        machine,
        service,
        per_receiver,
        travel: Law::Fixed { mean: 2e-4 },
        travel_stage: Stage::Lb,
        share: Share::All,
    };
    Network {
        seed: 1,
        length,
        users: vec![(0.0, 3_400.0), (length, 3_400.0)],
        session: Session::Weibull {
            shape: 0.5,
            scale: 1_200.0,
        },
        bursts: Vec::new(),
        clients: Clients {
            backoff_first: 0.5,
            backoff_max: 30.0,
            jitter: Jitter::Full,
            retries: 3,
            retry_budget: Some(0.1),
            timeout: 5.0,
            patience: 120.0,
        },
        stations: vec![
            station("lb", 0, Stage::Lb, 1, 2_000),
            station("ws", 1, Stage::Admit, 2, 1),
            station("server", 2, Stage::Work, 2, 2),
            station("store", 3, Stage::Engine, 1, 4),
            station("ws fanout", 1, Stage::Fanout, 2, 1),
        ],
        flows: vec![Flow {
            name: "chat".to_owned(),
            rate: 0.02,
            bytes: 200.0,
            receivers: vec![(10.0, 1.0)],
            receivers_at: 0.0,
            receivers_max: 10.0,
            coalescible: false,
            newest_of: NewestOf::User,
            durable: true,
            priority: 1,
            steps: vec![
                step(0, Machine::Any, Law::Fixed { mean: 5e-5 }, 0.0),
                step(1, Machine::Home, Law::Exponential { mean: 3e-5 }, 0.0),
                step(2, Machine::Any, Law::Lognormal { mean: 2e-3, cv2: 1.0 }, 0.0),
                step(
                    3,
                    Machine::Any,
                    Law::Lognormal {
                        mean: 1.5e-3,
                        cv2: 1.0,
                    },
                    0.0,
                ),
                step(4, Machine::Receivers, Law::Fixed { mean: 2e-5 }, 8e-6),
            ],
            aside: Vec::new(),
            targets: Vec::new(),
        }],
        connect: vec![
            step(0, Machine::Any, Law::Fixed { mean: 5e-5 }, 0.0),
            step(1, Machine::Home, Law::Exponential { mean: 2e-3 }, 0.0),
            step(2, Machine::Any, Law::Lognormal { mean: 2e-3, cv2: 1.0 }, 0.0),
        ],
        edge: Some(StationId(1)),
        faults: Vec::new(),
        random: RandomFaults::default(),
        network: Law::Lognormal { mean: 0.03, cv2: 0.5 },
        slow_readers: 0.01,
        slow_reader_rate: 4_000.0,
        outbox_bytes: 262_144.0,
        conflate_rate: 0.0,
        abuse: 0.0,
        hard_deadline: vec![1.2],
    }
}

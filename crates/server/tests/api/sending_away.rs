//! Clients sent away: a drain as probes, newcomers and clients see it, and a rebalance.

use std::{
    io::Write,
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tidegate_wire::{
    Codec,
    frame::{Notice, Push, ServerFrame},
};

use crate::{
    http::{Http, KEYS, with_key},
    world::{Client, JSON, World, eventually, read_all, upgrade},
};

/// One slot a second: nobody but the first is gone before the test is over.
const SLOW: &str = "[drain]\ncome_back = \"elsewhere\"\nreconnects_per_second = 1\nwithin = \"1h\"\n\
    [limits]\nhandshake_timeout = \"1m\"";

/// The slot that a client is told; anything before it is dropped.
fn slot(client: &mut Client) -> u64 {
    loop {
        if let ServerFrame::Push(Push::Notice(Notice::Draining { in_ms })) = client.next() {
            return in_ms;
        }
    }
}

#[test]
fn a_draining_server_lets_nobody_in_and_serves_everyone_until_its_slot() {
    let mut world = World::start(2, SLOW);
    let mut probe = Http::to(&world);
    assert_eq!(probe.get("/v1/ready").text(200), "ready\n");
    let mut clients: Vec<Client> = (0..40).map(|_| world.join(Codec::Json, "chat:lobby")).collect();
    // Accepted before, and still in its handshake when the drain begins.
    let mut late = world.socket();
    let head = upgrade("/v1/ws", JSON);
    let (begun, rest) = head.as_bytes().split_at(40);
    late.write_all(begun).unwrap();
    eventually("a handshake waits", || {
        world.metric("tidegate_handshakes_waiting") >= 1
    });

    let server = world.server.take().expect("it runs");
    let draining = thread::spawn(move || server.drain(Duration::from_secs(3_600)));
    let mut slots: Vec<u64> = clients.iter_mut().map(slot).collect();
    slots.sort_unstable();
    // Those of both shards interleave: one a second of the whole server.
    assert_eq!(slots, (0..40).map(|n| n * 1_000).collect::<Vec<_>>());

    let problem = probe.get("/v1/ready").problem(503);
    assert_eq!(problem["name"], "draining");
    let metrics = probe.get("/metrics").text(200);
    for line in ["tidegate_draining 1", "tidegate_slots_told_total 40"] {
        let has_line = |of: &str| of.strip_suffix(".0").unwrap_or(of) == line;
        assert!(metrics.lines().any(has_line), "{line} is not in\n{metrics}");
    }
    probe.post("/v1/rebalance", &json!({"share": 10})).problem(503);
    assert!(
        TcpStream::connect(world.addr).is_err(),
        "nobody is accepted any more"
    );
    late.write_all(rest).unwrap();
    let (said, _) = read_all(&late);
    let said = String::from_utf8(said).expect("HTTP");
    assert!(said.starts_with("HTTP/1.1 503 "), "{said}");
    assert!(said.contains("Retry-After: 40\r\n"), "{said}");

    // Those with late slots talk on.
    let mut late: Vec<&mut Client> = clients.iter_mut().skip(38).collect();
    let id = late[0].publish("chat:lobby", "\"still here\"");
    late[0].reply(id);
    assert_eq!(late[1].event(), "\"still here\"");
    // When everyone has gone, it does not wait for their slots.
    drop((clients, probe));
    draining.join().expect("no panic").expect("a clean stop");
}

#[test]
fn a_drain_to_elsewhere_closes_each_at_its_slot_and_ends_with_the_last() {
    let mut world = World::start(
        2,
        "[drain]\ncome_back = \"elsewhere\"\nreconnects_per_second = 20",
    );
    let mut clients: Vec<Client> = (0..20).map(|_| world.join(Codec::Json, "chat:lobby")).collect();
    let server = world.server.take().expect("it runs");
    let began = Instant::now();
    let draining = thread::spawn(move || server.drain(Duration::from_secs(30)));
    let told: Vec<(u64, Duration)> = clients
        .iter_mut()
        .map(|client| (slot(client), began.elapsed()))
        .collect();
    for (client, (slot_ms, told_after)) in clients.iter_mut().zip(told) {
        assert_eq!(client.close_code(), (4000, "shutdown".to_owned()));
        client.read_to_end();
        // Told in whole milliseconds; never closed before.
        let slot = Duration::from_millis(slot_ms);
        assert!(began.elapsed() + told_after >= slot, "{slot:?} {told_after:?}");
    }
    draining.join().expect("no panic").expect("a clean stop");
}

#[test]
fn a_drain_to_here_closes_all_at_once_and_says_when_to_come_back() {
    let mut world = World::start(2, "[drain]\nreconnects_per_second = 10\nfirst_slot = \"7s\"");
    let mut clients: Vec<Client> = (0..6).map(|_| world.join(Codec::Json, "chat:lobby")).collect();
    let server = world.server.take().expect("it runs");
    let draining = thread::spawn(move || server.drain(Duration::from_secs(30)));
    let mut slots = Vec::new();
    for client in &mut clients {
        slots.push(slot(client));
        assert_eq!(client.close_code(), (4000, "shutdown".to_owned()));
        client.read_to_end();
    }
    // It has ended before the first slot: nobody waits for the last.
    draining.join().expect("no panic").expect("a clean stop");
    slots.sort_unstable();
    assert_eq!(slots, [7_000, 7_100, 7_200, 7_300, 7_400, 7_500]);
    std::net::TcpListener::bind(world.addr).expect("the port is free");
}

#[test]
fn a_drain_without_time_gives_no_slots() {
    let mut world = World::start(1, "");
    let mut client = world.join(Codec::Json, "chat:lobby");
    let server = world.server.take().expect("it runs");
    let draining = thread::spawn(move || server.drain(Duration::ZERO));
    assert!(matches!(
        client.next(),
        ServerFrame::Push(Push::Notice(Notice::Shutdown))
    ));
    assert_eq!(client.close_code(), (4000, "shutdown".to_owned()));
    client.read_to_end();
    draining.join().expect("no panic").expect("a clean stop");
}

#[test]
fn a_rebalance_sends_a_share_away_and_goes_on() {
    let world = World::start(2, "");
    let mut clients: Vec<Client> = (0..40).map(|_| world.join(Codec::Json, "chat:lobby")).collect();
    let mut http = Http::to(&world);
    let answer = http
        .post("/v1/rebalance", &json!({"share": 25, "within_ms": 0}))
        .ok();
    assert_eq!(answer, json!({"sessions": 10, "window_ms": 0}));
    eventually("they are gone", || world.metric("tidegate_connections") == 30);
    assert_eq!(world.metric("tidegate_closes_total{reason=\"shutdown\"}"), 10);
    assert_eq!(world.metric("tidegate_slots_told_total"), 10);
    assert_eq!(world.metric("tidegate_sessions_leaving"), 0);
    assert_eq!(world.metric("tidegate_draining"), 0);
    assert_eq!(http.get("/v1/ready").text(200), "ready\n");
    // Others come in, and whoever stayed hears them.
    let mut newcomer = world.join(Codec::Json, "chat:lobby");
    let id = newcomer.publish("chat:lobby", "1");
    newcomer.reply(id);
    let mut stayed = 0;
    for client in &mut clients {
        match client.next() {
            ServerFrame::Push(Push::Event { .. }) => stayed += 1,
            ServerFrame::Push(Push::Notice(Notice::Draining { in_ms: 0 })) => {
                assert_eq!(client.close_code(), (4000, "shutdown".to_owned()));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(stayed, 30);
}

#[test]
fn only_an_operator_sends_clients_away_and_only_in_words_that_mean_something() {
    let world = World::start(1, &format!("{KEYS}\n[auth]\nsecret = \"{}\"\n", "s".repeat(32)));
    let mut http = Http::to(&world);
    for path in ["/v1/drain", "/v1/rebalance"] {
        http.call("POST", path, "", "{\"share\":1}").problem(401);
        for key in ["writer-0123456789", "reader-0123456789"] {
            http.call("POST", path, &with_key(key), "{\"share\":1}")
                .problem(403);
        }
    }
    let mut ask = |path: &str, body: &str| http.call("POST", path, &with_key("operator-0123456789"), body);
    for body in [
        "",
        "{}",
        "[]",
        "{\"share\":0}",
        "{\"share\":101}",
        "{\"share\":-1}",
        "{\"share\":2.5}",
        "{\"share\":\"20%\"}",
        "{\"share\":5,\"within_ms\":3600001}",
        "{\"share\":5,\"within_ms\":-1}",
    ] {
        ask("/v1/rebalance", body).problem(400);
    }
    for body in ["{", "[]", "{\"within_ms\":3600001}", "{\"within_ms\":\"30s\"}"] {
        ask("/v1/drain", body).problem(400);
    }
    let answer = ask("/v1/drain", "").ok();
    assert_eq!(answer, json!({"within_ms": 30_000, "come_back": "here"}));
    // Whoever owns the server has not heard of it yet: a second wish is the same one.
    assert_eq!(ask("/v1/drain", "{}").problem(503)["name"], "draining");
}

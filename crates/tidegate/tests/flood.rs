//! Publishers above the limit, against a real process: each publish is answered, what was acknowledged is delivered,
//! what was refused is not, and afterwards all is as before.

// Of the support, signals and disks are for others.
#[allow(dead_code, reason = "shared with tests that use more of it")]
mod support;

use std::{collections::BTreeSet, thread};

use serde_json::{Value, json};
use support::{Client, Server};

const PUBLISHERS: u64 = 8;
const ROUNDS: u64 = 30;
/// Publishes of one connection sent before their answers are read.
const ROUND: u64 = 64;

const CONFIG: &str = r#"
[engine]
dir = "DATA"

[limits]
in_flight_max = 1000
# What waits for the one reader of everything must not be what gives way here.
outbox_bytes_max = "64MiB"
outbox_age_max = "1m"

[admission]
stall_max = "1ms"
publishes = { floor = 4, ceiling = 4 }

[[namespace]]
name = "flood"
"#;

fn publish(id: u64, number: u64) -> Value {
    json!({"id": id, "publish": {"room": "flood:a", "data": number, "msg": number.to_string()}})
}

/// Sends in rounds; returns the numbers acknowledged, and how many were refused.
fn flood(address: &str, publisher: u64) -> (Vec<u64>, u64) {
    let mut client = Client::connect(address, &format!("p{publisher}")).expect("the server is there");
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    for round in 0..ROUNDS {
        let first = round * ROUND;
        for n in first..first + ROUND {
            assert!(client.send(&publish(n + 2, publisher * 1_000_000 + n)));
        }
        let mut open: BTreeSet<u64> = (first..first + ROUND).collect();
        while !open.is_empty() {
            let reply = client.receive().expect("a flood closes nobody");
            let n = reply["id"].as_u64().expect("an answer") - 2;
            assert!(open.remove(&n), "each is answered once: {reply}");
            match reply.get("reject") {
                None => acknowledged.push(publisher * 1_000_000 + n),
                Some(reject) => {
                    assert_eq!(reject["code"], 102, "{reject}");
                    assert!(reject["retry_after_ms"].as_u64() >= Some(100), "{reject}");
                    refused += 1;
                }
            }
        }
    }
    (acknowledged, refused)
}

#[test]
fn a_flood_is_answered_and_its_sums_add_up() {
    let server = Server::started(CONFIG);
    let address = server.address();
    let mut reader = Client::connect(&address, "reader").expect("the server is there");
    assert!(reader.send(&json!({"id": 2, "join": {"room": "flood:a"}})));
    assert!(reader.receive().expect("a reply").get("ok").is_some());

    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let address = address.clone();
            thread::spawn(move || flood(&address, publisher))
        })
        .collect();
    let (mut acknowledged, mut refused) = (BTreeSet::new(), 0);
    for publisher in publishers {
        let (numbers, refusals) = publisher.join().expect("a publisher");
        refused += refusals;
        acknowledged.extend(numbers);
    }
    assert_eq!(
        acknowledged.len() as u64 + refused,
        PUBLISHERS * ROUNDS * ROUND,
        "all answered"
    );
    assert!(refused > 0, "eight times the limit is too much");
    assert!(!acknowledged.is_empty(), "some got through");

    // The overload is over: nobody is refused for long, and nothing else comes in between.
    let mut client = Client::connect(&address, "after").expect("the server is there");
    let mut last = None;
    for n in 0..1_000 {
        assert!(client.send(&publish(n + 2, 999_000_000 + n)));
        let reply = client.receive().expect("an answer");
        if reply.get("ok").is_some() {
            acknowledged.insert(999_000_000 + n);
            last = Some(n);
        }
        if last >= Some(50) {
            break;
        }
    }
    let last = 999_000_000 + last.expect("the server recovered");

    let mut delivered = BTreeSet::new();
    let mut offset = 0;
    while !delivered.contains(&last) {
        let frame = reader.receive().expect("the reader is not closed");
        let event = &frame["event"];
        let next = event["offset"]
            .as_u64()
            .unwrap_or_else(|| panic!("an event: {frame}"));
        assert_eq!(next, offset + 1, "no hole");
        offset = next;
        assert!(
            delivered.insert(event["data"].as_u64().expect("a number")),
            "once"
        );
    }
    assert_eq!(delivered, acknowledged);
}

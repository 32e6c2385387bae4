//! `kill -9` while keys are set and deleted, many rounds: after each start a joiner is given exactly the
//! state that what was acknowledged makes, whatever history has been trimmed meanwhile.
//!
//! The publisher repeats what was not acknowledged under the same `msg` id, so that in the end every offset is known.
//! `CRASH_ROUNDS` sets the rounds (15).

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{Client, Server, rounds_and_chance};

const KEYS: u64 = 60;
const IN_FLIGHT: usize = 24;

const CONFIG: &str = r#"
[engine]
kind = "log"
dir = "DATA"

[[namespace]]
name = "px"
lane = "latest"
history = { count = 40 }
replay_max = 10
window = { count = 8 }
state = { enabled = true }
"#;

/// One key set, or deleted.
#[derive(Clone)]
struct Change {
    key: u64,
    is_delete: bool,
}

#[test]
fn kill_nine_takes_no_key_and_brings_none_back() {
    let (rounds, mut chance) = rounds_and_chance(15);
    let mut server = Server::started(CONFIG);

    let mut changes: Vec<Change> = Vec::new();
    let mut offsets: BTreeMap<usize, u64> = BTreeMap::new();
    for round in 0..rounds {
        let mut client = Client::connect(&server.address(), "ann").expect("the server runs");
        let unacknowledged: Vec<usize> = (0..changes.len()).filter(|n| !offsets.contains_key(n)).collect();
        for number in &unacknowledged {
            assert!(client.send(&publish(*number, &changes[*number])));
        }
        for _ in &unacknowledged {
            let reply = client.receive().expect("an answer");
            assert!(acknowledge(&reply, &mut offsets), "{reply}");
        }
        assert_eq!(
            state(&server.address()),
            expected(&changes, &offsets),
            "round {round}: the state is what was acknowledged"
        );

        let until = Instant::now() + Duration::from_millis(20 + chance.below(120));
        let first = changes.len();
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(until.saturating_duration_since(Instant::now()));
                server.kill();
            });
            let mut waiting = 0;
            loop {
                while waiting < IN_FLIGHT {
                    let change = Change {
                        key: chance.below(KEYS),
                        is_delete: chance.below(4) == 0,
                    };
                    let is_sent = client.send(&publish(changes.len(), &change));
                    changes.push(change);
                    waiting += 1;
                    if !is_sent {
                        return;
                    }
                }
                let Some(reply) = client.receive() else {
                    return;
                };
                waiting -= usize::from(acknowledge(&reply, &mut offsets));
            }
        });
        assert!(changes.len() > first);
        server.start();
    }
    println!("{rounds} kills, {} changes acknowledged", offsets.len());
    assert!(offsets.len() > 100, "history was trimmed many times over");
}

fn publish(number: usize, change: &Change) -> Value {
    let mut publish =
        json!({"room": "px:eu", "key": format!("k{}", change.key), "msg": format!("m-{number}")});
    match change.is_delete {
        true => publish["delete"] = json!(true),
        false => publish["data"] = json!(number),
    }
    // Id 1 was `connect`.
    json!({"id": number + 2, "publish": publish})
}

fn acknowledge(reply: &Value, offsets: &mut BTreeMap<usize, u64>) -> bool {
    let Some(done) = reply.get("ok") else {
        assert!(reply.get("reject").is_none(), "{reply}");
        return false;
    };
    let number = reply["id"].as_u64().expect("an id") as usize - 2;
    offsets.insert(number, done["offset"].as_u64().expect("an offset"));
    true
}

/// What the changes make, in the order of their offsets: key, offset, data.
fn expected(changes: &[Change], offsets: &BTreeMap<usize, u64>) -> BTreeMap<String, (u64, u64)> {
    let mut ordered: Vec<(u64, usize)> = offsets
        .iter()
        .map(|(number, offset)| (*offset, *number))
        .collect();
    ordered.sort_unstable();
    let mut map = BTreeMap::new();
    for (offset, number) in ordered {
        let key = format!("k{}", changes[number].key);
        match changes[number].is_delete {
            true => map.remove(&key),
            false => map.insert(key, (offset, number as u64)),
        };
    }
    map
}

/// What a joiner is given.
fn state(address: &str) -> BTreeMap<String, (u64, u64)> {
    let mut client = Client::connect(address, "bob").expect("the server runs");
    assert!(client.send(&json!({"id": 2, "join": {"room": "px:eu", "state": true}})));
    let joined = client.receive().expect("an answer");
    let keys = joined["ok"]["state"]
        .as_u64()
        .unwrap_or_else(|| panic!("{joined}"));
    let (mut map, mut last) = (BTreeMap::new(), 0);
    for _ in 0..keys {
        let frame = client.receive().expect("a key");
        let event = &frame["event"];
        let offset = event["offset"].as_u64().unwrap_or_else(|| panic!("{frame}"));
        assert!(offset > last, "by rising offset");
        last = offset;
        let key = event["key"].as_str().expect("a key").to_owned();
        assert_eq!(
            map.insert(key, (offset, event["data"].as_u64().expect("data"))),
            None
        );
    }
    map
}

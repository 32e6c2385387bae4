//! `kill -9` while subscribers wait in rooms in which nothing was ever published: what is published between the
//! restart and their return is replayed, and none of them is told of a loss that was none.

use std::time::Duration;

use serde_json::json;

use crate::support::{Client, Server};

const ROOMS: usize = 24;
const ROUNDS: usize = 3;

const CONFIG: &str = r#"
[engine]
kind = "log"
dir = "DATA"

[[namespace]]
name = "chat"

[[namespace]]
name = "bank"
durability = "sync"
"#;

/// A subscription, over all rounds.
struct Waiting {
    room: String,
    epoch: Option<String>,
    seen: u64,
    published: u64,
}

#[test]
fn kill_nine_tells_no_loss_in_rooms_that_were_silent() {
    let mut server = Server::started(CONFIG);
    let mut all: Vec<Waiting> = (0..ROOMS)
        .map(|n| Waiting {
            room: format!("{}:{n}", ["chat", "bank"][n % 2]),
            epoch: None,
            seen: 0,
            published: 0,
        })
        .collect();
    for round in 0..=ROUNDS {
        let mut reader = Client::connect(&server.address(), "reader").expect("the server runs");
        reader.set_read_timeout(Duration::from_secs(20));
        for waiting in &mut all {
            join(&mut reader, waiting);
        }
        if round == ROUNDS {
            break;
        }
        server.kill();
        server.start();
        let mut publisher = Client::connect(&server.address(), "ann").expect("the server runs");
        // In each round to some more for the first time; to the last of them never.
        let reached = (round + 1) * ROOMS / (ROUNDS + 1);
        for (n, waiting) in all[..reached].iter_mut().enumerate() {
            for _ in 0..=n % 3 {
                let body = json!({"room": waiting.room, "data": waiting.published});
                assert!(publisher.send(&json!({"id": 2, "publish": body})));
                let reply = publisher.receive().expect("an answer");
                waiting.published += 1;
                assert_eq!(reply["ok"]["offset"], waiting.published, "{reply}");
            }
        }
    }
    assert!(all.iter().any(|waiting| waiting.published == 0));
}

/// Joins where it stood, and reads what it missed.
fn join(reader: &mut Client, waiting: &mut Waiting) {
    let Waiting { room, epoch, .. } = waiting;
    let mut body = json!({"room": room});
    if let Some(epoch) = epoch {
        body["since"] = json!({"epoch": epoch, "offset": waiting.seen});
    }
    assert!(reader.send(&json!({"id": 2, "join": body})));
    let joined = loop {
        let reply = reader.receive().expect("an answer");
        if reply.get("ok").is_some() || reply.get("reject").is_some() {
            break reply["ok"].clone();
        }
    };
    let missed = waiting.published - waiting.seen;
    let recovery = if missed == 0 { "none" } else { "replay" };
    assert_eq!(joined["recovery"], recovery, "{room}: {joined}");
    assert_eq!(joined["replayed"], missed, "{room}: {joined}");
    assert_eq!(joined["offset"], waiting.published, "{room}: {joined}");
    for offset in waiting.seen + 1..=waiting.published {
        let event = reader.receive().expect("an event");
        assert_eq!(event["event"]["room"], *room, "{event}");
        assert_eq!(event["event"]["offset"], offset, "{event}");
    }
    waiting.seen = waiting.published;
    *epoch = Some(joined["epoch"].as_str().expect("an epoch").to_owned());
}

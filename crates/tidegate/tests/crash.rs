//! `kill -9` under load, many rounds, and a full disk: nothing acknowledged is lost,
//! nothing happens twice, order is kept.
//!
//! Real processes, real sockets, a real disk. Publishers repeat what was not acknowledged
//! under the same `msg` id; subscribers resume by position. In the end the rooms' history is
//! read back and held against what everyone saw. `CRASH_ROUNDS` sets the rounds (50).

#[path = "crash/silent.rs"]
mod silent;
#[path = "crash/state.rs"]
mod state;
// Of the support, signals are for others.
#[allow(dead_code, reason = "shared with tests that use more of it")]
mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{Client, Server};

const ROOMS: [&str; 3] = ["chat:a", "chat:b", "chat:c"];
const PUBLISHERS: usize = 4;
const IN_FLIGHT: usize = 16;

// A replay may fill half an outbox: here it must hold all that a fast disk takes between two
// kills, since a subscriber may miss the whole of it.
const CONFIG: &str = r#"
[engine]
kind = "log"
dir = "DATA"

[limits]
outbox_bytes_max = "256MiB"

[[namespace]]
name = "chat"
durability = "sync"
history = { count = 10000000, bytes = "1GiB", age = "1h" }
replay_max = 1000000
dedup_age = "1h"
dedup_count = 1000000
"#;

/// Where an acknowledged publication stands, by its `msg` id.
type Acknowledged = Arc<Mutex<BTreeMap<String, (String, String, u64)>>>;

#[test]
fn kill_nine_loses_nothing_acknowledged() {
    let (rounds, mut chance) = support::rounds_and_chance(50);

    let mut server = Server::started(CONFIG);

    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Acknowledged::default();
    let progress = Arc::new(AtomicU64::new(0));
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|n| {
            let (address, stop) = (server.address(), stop.clone());
            let (acknowledged, progress) = (acknowledged.clone(), progress.clone());
            thread::spawn(move || publish(n, &address, &stop, &acknowledged, &progress))
        })
        .collect();
    let subscribers: Vec<_> = ROOMS
        .map(|room| {
            let (address, stop) = (server.address(), stop.clone());
            thread::spawn(move || subscribe(room, &address, &stop))
        })
        .into_iter()
        .collect();

    for round in 0..rounds {
        // Not before the load is under way again, then at a random moment of it.
        let before = progress.load(Ordering::Relaxed);
        support::wait_until("publishers make progress", || {
            progress.load(Ordering::Relaxed) >= before + 50
        });
        thread::sleep(Duration::from_millis(chance.below(120)));
        server.kill();
        server.start();
        assert!(server.is_running(), "round {round}: the server starts again");
    }
    stop.store(true, Ordering::Relaxed);
    let sent: Vec<u64> = publishers
        .into_iter()
        .map(|p| p.join().expect("a publisher"))
        .collect();

    let acknowledged = acknowledged.lock().expect("no publisher panicked").clone();
    assert_eq!(
        acknowledged.len() as u64,
        sent.iter().sum::<u64>(),
        "everything sent was acknowledged in the end"
    );
    for (room, subscriber) in ROOMS.iter().zip(subscribers) {
        let history = read_all(&server.address(), room);
        check_history(room, &history, &acknowledged);
        let seen = subscriber.join().expect("a subscriber");
        let in_history: Vec<(u64, String)> = history.iter().map(|e| (e.offset, e.msg.clone())).collect();
        assert_eq!(
            seen, in_history,
            "{room}: a subscriber saw exactly the history, in its order"
        );
    }
    println!(
        "{rounds} kills, {} acknowledged publications, none lost, none twice",
        acknowledged.len()
    );
}

/// One kept publication.
struct Kept {
    epoch: String,
    offset: u64,
    msg: String,
}

fn check_history(room: &str, history: &[Kept], acknowledged: &BTreeMap<String, (String, String, u64)>) {
    let by_msg: BTreeMap<&str, &Kept> = history.iter().map(|kept| (kept.msg.as_str(), kept)).collect();
    assert_eq!(by_msg.len(), history.len(), "{room}: no msg twice");
    for (place, kept) in history.iter().enumerate() {
        assert_eq!(kept.offset, place as u64 + 1, "{room}: offsets without a hole");
    }
    for (msg, (in_room, epoch, offset)) in acknowledged {
        if in_room == room {
            let kept = by_msg
                .get(msg.as_str())
                .unwrap_or_else(|| panic!("{room}: {msg} was acknowledged and is lost"));
            assert_eq!(
                (&kept.epoch, kept.offset),
                (epoch, *offset),
                "{room}: {msg} stands where it was acknowledged"
            );
        }
    }
    for publisher in 0..PUBLISHERS {
        let prefix = format!("p{publisher}-");
        let numbers = history.iter().filter_map(|kept| kept.msg.strip_prefix(&prefix));
        let numbers: Vec<u64> = numbers.map(|n| n.parse().expect("a number")).collect();
        assert!(
            numbers.is_sorted(),
            "{room}: publisher {publisher}'s order is kept"
        );
    }
}

/// Publishes until told to stop, then until everything is acknowledged. Returns how many.
fn publish(
    n: usize,
    address: &str,
    stop: &AtomicBool,
    acknowledged: &Acknowledged,
    progress: &AtomicU64,
) -> u64 {
    let mut next = 0;
    // In order: a repeat goes out before anything newer, so that order can be kept.
    let mut waiting: BTreeMap<u64, ()> = BTreeMap::new();
    loop {
        let Some(mut client) = Client::connect(address, &format!("p{n}")) else {
            support::pause();
            continue;
        };
        let repeats: Vec<u64> = waiting.keys().copied().collect();
        let mut in_flight = BTreeSet::new();
        let mut ok = repeats.into_iter().all(|number| {
            in_flight.insert(number);
            client.send(&publication(n, number))
        });
        while ok {
            while in_flight.len() < IN_FLIGHT && !stop.load(Ordering::Relaxed) && ok {
                waiting.insert(next, ());
                in_flight.insert(next);
                ok = client.send(&publication(n, next));
                next += 1;
            }
            if waiting.is_empty() {
                return next;
            }
            let Some(reply) = client.receive() else {
                break;
            };
            let Some(id) = reply["id"].as_u64() else {
                continue;
            };
            let number = id - 2;
            let Some(done) = reply.get("ok") else {
                panic!("a publish was rejected: {reply}");
            };
            let position = (
                room_of(number).to_owned(),
                done["epoch"].as_str().expect("an epoch").to_owned(),
                done["offset"].as_u64().expect("an offset"),
            );
            acknowledged
                .lock()
                .expect("not poisoned")
                .insert(format!("p{n}-{number}"), position);
            progress.fetch_add(1, Ordering::Relaxed);
            in_flight.remove(&number);
            waiting.remove(&number);
        }
    }
}

fn room_of(number: u64) -> &'static str {
    ROOMS[(number % ROOMS.len() as u64) as usize]
}

fn publication(n: usize, number: u64) -> Value {
    // Id 1 was `connect`.
    json!({"id": number + 2, "publish": {
        "room": room_of(number), "data": {"from": n, "number": number, "pad": "x".repeat(200)}, "msg": format!("p{n}-{number}")
    }})
}

/// Follows a room through every crash. Returns what it saw.
fn subscribe(room: &str, address: &str, stop: &AtomicBool) -> Vec<(u64, String)> {
    let mut seen: Vec<(u64, String)> = Vec::new();
    let mut epoch = None::<String>;
    let mut quiet_since = None::<Instant>;
    loop {
        let Some(mut client) = Client::connect(address, "reader") else {
            support::pause();
            continue;
        };
        client.set_read_timeout(Duration::from_millis(200));
        let mut join = json!({"id": 2, "join": {"room": room}});
        if let Some(epoch) = &epoch {
            let offset = seen.last().map_or(0, |(offset, _)| *offset);
            join["join"]["since"] = json!({"epoch": epoch, "offset": offset});
        } else {
            join["join"]["last"] = json!(1_000_000);
        }
        if !client.send(&join) {
            continue;
        }
        loop {
            let frame = match client.receive_or_quiet() {
                support::Received::Frame(frame) => frame,
                support::Received::Quiet => {
                    // Publishers are done when nothing has come for a while after the stop.
                    let is_over = stop.load(Ordering::Relaxed)
                        && quiet_since.get_or_insert_with(Instant::now).elapsed() > Duration::from_secs(2);
                    if is_over {
                        return seen;
                    }
                    continue;
                }
                support::Received::Closed => break,
            };
            quiet_since = None;
            if let Some(event) = frame.get("event") {
                let offset = event["offset"].as_u64().expect("an offset");
                let expected = seen.last().map_or(1, |(last, _)| last + 1);
                assert_eq!(offset, expected, "{room}: events follow each other");
                seen.push((offset, event["msg"].as_str().expect("a msg").to_owned()));
            } else if let Some(joined) = frame.get("ok").filter(|ok| ok.get("recovery").is_some()) {
                assert_ne!(joined["recovery"], "gap", "{room}: {joined}");
                epoch = Some(joined["epoch"].as_str().expect("an epoch").to_owned());
            } else {
                assert!(
                    frame.get("reject").is_none() && frame.get("gap").is_none(),
                    "{room}: {frame}"
                );
            }
        }
    }
}

fn read_all(address: &str, room: &str) -> Vec<Kept> {
    let mut client = Client::connect(address, "reader").expect("the server runs");
    let mut kept = Vec::new();
    let mut since = None::<Value>;
    for id in 2.. {
        let mut ask = json!({"id": id, "history": {"room": room, "limit": 200}});
        if let Some(since) = &since {
            ask["history"]["since"] = since.clone();
        }
        assert!(client.send(&ask));
        let reply = client.receive().expect("a page");
        let page = &reply["ok"];
        assert!(page.is_object() && page.get("gap").is_none(), "{reply}");
        let epoch = page["epoch"].as_str().expect("an epoch");
        for publication in page["publications"].as_array().expect("publications") {
            kept.push(Kept {
                epoch: epoch.to_owned(),
                offset: publication["offset"].as_u64().expect("an offset"),
                msg: publication["msg"].as_str().expect("a msg").to_owned(),
            });
        }
        if page["more"] != true {
            break;
        }
        since = kept
            .last()
            .map(|kept| json!({"epoch": kept.epoch, "offset": kept.offset}));
    }
    kept
}

#[test]
fn a_full_disk_rejects_in_words_and_recovers_when_there_is_space() {
    let Some(disk) = support::SmallDisk::mount(48 << 20) else {
        // Only where mounting is not allowed, and never in CI, which runs as root.
        assert!(
            std::env::var_os("CI").is_none(),
            "CI must be able to mount a tmpfs"
        );
        return;
    };
    let mut server = Server::new(disk.path(), CONFIG);
    server.start();
    let mut client = Client::connect(&server.address(), "p0").expect("the server runs");

    let ballast = disk.path().join("ballast");
    let mut acknowledged = Vec::new();
    let mut publish = |client: &mut Client, number: u64| {
        assert!(client.send(&publication(0, number * 3)));
        let reply = client.receive().expect("an answer, never a hang");
        if let Some(done) = reply.get("ok") {
            acknowledged.push((number * 3, done["offset"].as_u64().expect("an offset")));
            return None;
        }
        Some(reply["reject"].clone())
    };
    for number in 0..20 {
        assert_eq!(publish(&mut client, number), None);
    }
    support::fill(&ballast);
    let mut number = 20;
    let reject = loop {
        // What the store had allocated before may still take some.
        assert!(number < 1_000_000, "a full disk is noticed");
        if let Some(reject) = publish(&mut client, number) {
            break reject;
        }
        number += 1;
    };
    assert_eq!(reject["name"], "unavailable", "{reject}");
    assert!(
        reject["retry_after_ms"].as_u64().is_some()
            && reject["detail"].as_str().is_some_and(|d| !d.is_empty())
    );
    std::fs::remove_file(&ballast).expect("the ballast");
    support::wait_until("publishes are taken again", || {
        publish(&mut client, number).is_none()
    });
    number += 1;
    for number in number..number + 20 {
        assert_eq!(publish(&mut client, number), None);
    }
    server.kill();
    server.start();
    let history = read_all(&server.address(), ROOMS[0]);
    for (number, offset) in acknowledged {
        let kept = history.iter().find(|kept| kept.msg == format!("p0-{number}"));
        assert_eq!(
            kept.map(|kept| kept.offset),
            Some(offset),
            "p0-{number} was acknowledged"
        );
    }
    let msgs: BTreeSet<&str> = history.iter().map(|kept| kept.msg.as_str()).collect();
    assert_eq!(msgs.len(), history.len(), "no msg twice");
}

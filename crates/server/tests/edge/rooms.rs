//! The main way: connect, join, publish, event.

use tidegate_wire::{
    Codec,
    frame::{Ok as Reply, Published},
};

use crate::world::World;

#[test]
fn a_publication_reaches_every_subscriber_in_both_codecs() {
    let world = World::start(1, "");
    let mut ann = world.join(Codec::Json, "chat:lobby");
    let mut bob = world.join(Codec::Binary, "chat:lobby");
    let id = ann.publish("chat:lobby", r#"{"text":"hi"}"#);
    // The reply and the event may come in either order.
    assert_eq!(ann.event(), r#"{"text":"hi"}"#);
    assert_eq!(bob.event(), r#"{"text":"hi"}"#);
    let second = bob.publish("chat:lobby", "2");
    match bob.reply(second) {
        Reply::Published(Published { position, duplicate }) => {
            assert_eq!((position.offset, duplicate), (2, false));
        }
        other => panic!("{id} {other:?}"),
    }
    assert_eq!(ann.event(), "2");
}

#[test]
fn members_of_one_room_on_two_shards_see_the_same_order() {
    let world = World::start(2, "");
    // The least loaded shard gets the next one: eight land four and four.
    let mut clients: Vec<_> = (0..8).map(|_| world.join(Codec::Json, "chat:lobby")).collect();
    let mut names = std::collections::BTreeSet::new();
    let mut probe: Vec<_> = (0..4).map(|_| world.open(Codec::Json)).collect();
    for client in &mut probe {
        match client.ask_connect() {
            Reply::Connected(connected) => {
                names.insert(
                    connected
                        .connection
                        .split('-')
                        .next()
                        .unwrap_or_default()
                        .to_owned(),
                );
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(names.len(), 2, "both shards are used: {names:?}");
    for round in 0..50 {
        clients[round % 8].publish("chat:lobby", &round.to_string());
    }
    let mut seen = Vec::new();
    for client in &mut clients {
        seen.push((0..50).map(|_| client.event()).collect::<Vec<_>>());
    }
    assert!(seen.iter().all(|order| *order == seen[0]), "{seen:?}");
}

#[test]
fn many_publications_at_once_arrive_whole_and_in_order() {
    let world = World::start(1, "");
    let mut ann = world.connect(Codec::Json);
    let mut bobs: Vec<_> = (0..20).map(|_| world.join(Codec::Json, "chat:lobby")).collect();
    let payload = format!("\"{}\"", "x".repeat(5_000));
    for round in 0..200 {
        let id = ann.publish("chat:lobby", &format!("[{round},{payload}]"));
        ann.reply(id);
    }
    for bob in &mut bobs {
        for round in 0..200 {
            assert_eq!(bob.event(), format!("[{round},{payload}]"));
        }
    }
}

//! Readers that stop, over real sockets: what each lane promises them, and what it costs the server.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_wire::{
    Codec, Payload, RoomName, ServerFrame,
    frame::{Command, GapReason, Publish, Push},
};

use crate::world::{Client, World};

const LANES: &str = r#"
[[namespace]]
name = "px"
lane = "latest"
dedup_count = 0

[[namespace]]
name = "pos"
lane = "lossy"
deadline = "20ms"
"#;
const KEYS: u64 = 10;
/// More than the kernel holds for a reader that does not read.
const PUBLICATIONS: u64 = 6_000;

fn publish_keyed(client: &mut Client, room: &str, number: u64) {
    let data = format!("[{number},\"{}\"]", "x".repeat(2_000));
    let id = client.send(Command::Publish(Publish {
        room: RoomName::parse(room).expect("a room"),
        lane: None,
        data: Payload::Json(Bytes::from(data)),
        msg: Bytes::new(),
        key: Bytes::from((number % KEYS).to_string()),
        sent_us: 0,
    }));
    client.reply(id);
}

/// Reads until a publication with this offset, or a gap up to it, is there: how many came, were told to be missing and
/// why, and the newest of each key.
fn read_up_to(client: &mut Client, last: u64) -> (u64, u64, Option<GapReason>, BTreeMap<Bytes, u64>) {
    let (mut came, mut missing, mut why, mut newest) = (0, 0, None, BTreeMap::new());
    let mut at = 0;
    while at < last {
        match client.next() {
            ServerFrame::Push(Push::Event { publication, .. }) => {
                assert!(publication.offset > at, "in order");
                at = publication.offset;
                newest.insert(publication.key, publication.offset);
                came += 1;
            }
            ServerFrame::Push(Push::Gap {
                position,
                reason,
                count,
                ..
            }) => {
                assert!(position.offset >= at);
                at = position.offset;
                missing += count;
                why = Some(reason);
            }
            _ => {}
        }
    }
    (came, missing, why, newest)
}

#[test]
fn a_reader_that_stopped_is_given_the_newest_of_each_key_and_costs_one_round() {
    let world = World::start(1, LANES);
    let mut stopped = world.join(Codec::Json, "px:a");
    let mut other = world.join(Codec::Binary, "px:a");
    let mut writer = world.connect(Codec::Binary);
    for number in 1..=PUBLICATIONS {
        publish_keyed(&mut writer, "px:a", number);
        if number % 5 == 0 {
            let (came, missing, ..) = read_up_to(&mut other, number);
            assert_eq!((came, missing), (5, 0), "one that reads misses nothing");
        }
    }
    let waiting = world.metric("tidegate_outbox_bytes");
    assert!(
        waiting < 64 << 10,
        "{waiting} bytes wait for a reader of ten keys"
    );

    let (came, missing, why, newest) = read_up_to(&mut stopped, PUBLICATIONS);
    assert_eq!(came + missing, PUBLICATIONS);
    assert_eq!(why, Some(GapReason::Conflated));
    assert!(missing > 0 && came > KEYS, "{came} came, {missing} were replaced");
    let expected = PUBLICATIONS - KEYS + 1..=PUBLICATIONS;
    assert_eq!(
        newest.into_values().collect::<std::collections::BTreeSet<_>>(),
        expected.collect()
    );
    assert_eq!(world.metric("tidegate_conflated_publications_total"), missing);
    assert_eq!(world.metric("tidegate_closes_total{reason=\"too_slow\"}"), 0);
}

#[test]
fn a_lossy_reader_that_stopped_is_told_how_much_was_dropped() {
    let world = World::start(1, LANES);
    let mut stopped = world.join(Codec::Json, "pos:a");
    let mut writer = world.connect(Codec::Binary);
    for number in 1..=PUBLICATIONS {
        publish_keyed(&mut writer, "pos:a", number);
    }
    let waiting = world.metric("tidegate_outbox_bytes");
    assert!(waiting < 256 << 10, "{waiting} bytes wait");
    let (came, missing, why, _) = read_up_to(&mut stopped, PUBLICATIONS);
    assert_eq!(came + missing, PUBLICATIONS);
    assert_eq!(why, Some(GapReason::Dropped));
    assert_eq!(world.metric("tidegate_dropped_publications_total"), missing);
}

//! Those who join with a room's state, over real sockets.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_wire::{
    Codec, Payload, RoomName, ServerFrame,
    frame::{Command, GapReason, Join, Ok as Reply, Publish, Push, Wishes},
};

use crate::world::{Client, World};

const STATE: &str = r#"
[[namespace]]
name = "px"
lane = "latest"
dedup_count = 0
history = { count = 100 }
window = { count = 100 }
replay_max = 100
[namespace.state]
enabled = true
"#;
/// Ten times an outbox.
const KEYS: usize = 10_000;
const BYTES: usize = 1_000;

fn publish(client: &mut Client, key: usize, data: Payload) -> u32 {
    client.send(Command::Publish(Publish {
        room: RoomName::parse("px:a").expect("a room"),
        lane: None,
        data,
        msg: Bytes::new(),
        key: Bytes::from(format!("k{key}")),
        sent_us: 0,
    }))
}

fn value(n: usize) -> Payload {
    Payload::Json(Bytes::from(format!("[{n},\"{}\"]", "x".repeat(BYTES))))
}

fn join(client: &mut Client) -> usize {
    let id = client.send(Command::Join(Join {
        room: RoomName::parse("px:a").expect("a room"),
        since: None,
        last: None,
        enter: false,
        members: false,
        wishes: Wishes::default(),
        state: true,
    }));
    match client.reply(id) {
        Reply::Joined(joined) => joined.state.expect("it was asked for") as usize,
        other => panic!("{other:?}"),
    }
}

/// Reads until it has got everything up to this offset; the state's part must be what was promised.
fn read_up_to(client: &mut Client, promised: usize, last: u64) -> BTreeMap<Bytes, u64> {
    let (mut map, mut at, mut came, mut is_whole) = (BTreeMap::new(), 0, 0, promised == 0);
    while at < last {
        match client.next() {
            ServerFrame::Push(Push::Event { publication, .. }) => {
                assert!(publication.offset > at, "in order");
                at = publication.offset;
                match publication.data {
                    Payload::Delete => map.remove(&publication.key),
                    _ => map.insert(publication.key, publication.offset),
                };
                came += usize::from(!is_whole);
            }
            ServerFrame::Push(Push::Gap {
                position,
                reason,
                count,
                ..
            }) => {
                assert_eq!(reason, GapReason::Conflated);
                at = at.max(position.offset);
                if !is_whole {
                    assert_eq!(came + count as usize, promised);
                    is_whole = true;
                }
            }
            other => panic!("{other:?}"),
        }
        is_whole |= came == promised;
    }
    assert!(is_whole);
    map
}

#[test]
fn a_state_ten_times_the_outbox_reaches_those_who_read_and_costs_a_stopped_one_a_slice() {
    let world = World::start(2, STATE);
    let mut writer = world.connect(Codec::Binary);
    for from in (0..KEYS).step_by(16) {
        let ids: Vec<u32> = (from..(from + 16).min(KEYS))
            .map(|n| publish(&mut writer, n, value(n)))
            .collect();
        for id in ids {
            writer.reply(id);
        }
    }
    let head = KEYS as u64;
    let mut readers = [Codec::Json, Codec::Binary].map(|codec| world.connect(codec));
    let mut stopped = world.connect(Codec::Json);
    assert_eq!(join(&mut stopped), KEYS);
    for reader in &mut readers {
        let promised = join(reader);
        let map = read_up_to(reader, promised, head);
        assert_eq!(map.len(), KEYS);
        assert!(
            map.iter()
                .all(|(key, offset)| key == format!("k{}", offset - 1).as_bytes())
        );
    }

    // The stopped one has not got all: what is replaced or deleted meanwhile it never sees.
    for n in 0..500 {
        let id = publish(&mut writer, KEYS - 1 - n, value(n));
        writer.reply(id);
    }
    let id = publish(&mut writer, KEYS - 501, Payload::Delete);
    writer.reply(id);
    let head = head + 501;
    assert!(world.metric("tidegate_outbox_bytes") < 512 << 10);
    let map = read_up_to(&mut stopped, KEYS, head);
    assert_eq!(map.len(), KEYS - 1);
    let offset = |n: usize| map.get(format!("k{n}").as_bytes()).copied();
    assert_eq!(offset(KEYS - 1), Some(KEYS as u64 + 1));
    assert_eq!(offset(KEYS - 501), None);
    assert_eq!(offset(0), Some(1));
    let sent = world.metric("tidegate_state_sent_keys_total");
    assert!((2 * KEYS as u64..3 * KEYS as u64).contains(&sent), "{sent}");
    assert_eq!(world.metric("tidegate_closes_total{reason=\"too_slow\"}"), 0);
}

//! Stories of rooms that are large, or hot: found, counted, thinned, and no burden to others.

mod world;

use std::time::Duration;

use tidegate_core::{
    Lane, Limits, Policy,
    policy::{Crowd, Hot},
    shard::RoomOrder,
};
use tidegate_wire::frame::GapReason;
use world::{px::*, *};

fn join_all(world: &mut World, count: usize) -> Vec<ClientId> {
    let clients: Vec<ClientId> = (0..count).map(|n| world.connect(&format!("u{n}"))).collect();
    for client in &clients {
        world.join(*client, "px:a");
    }
    clients
}

#[test]
fn a_crowd_gets_fewer_writes_and_of_each_key_the_newest() {
    for (lane, expected, left_out) in [
        (Lane::Reliable, vec!["2", "3", "4", "5"], None),
        (Lane::Latest, vec!["4", "5"], Some((GapReason::Conflated, 2))),
        (Lane::Lossy, vec!["4", "5"], Some((GapReason::Dropped, 2))),
    ] {
        let mut world = World::with(
            Limits::default(),
            Policy {
                crowd: Crowd {
                    above: 3,
                    batch: Duration::from_millis(100),
                },
                ..policy(lane)
            },
        );
        let ann = world.connect("ann");
        let clients = join_all(&mut world, 4);
        for (key, text) in [("x", "1"), ("x", "2"), ("y", "3"), ("x", "4"), ("y", "5")] {
            publish(&mut world, ann, key, text);
        }
        // The first leaves at once, the others together.
        assert_eq!(texts(&mut world, clients[0]), ["1"]);
        world.advance(Duration::from_millis(101));
        assert_eq!(texts(&mut world, clients[0]), expected, "{lane:?}");
        let told: Vec<_> = gaps(&mut world, clients[0])
            .iter()
            .map(|gap| (gap.0, gap.2))
            .collect();
        assert_eq!(told, Vec::from_iter(left_out));
        // One leaves: three are no crowd.
        world.cut(clients[3]);
        world.advance(Duration::from_millis(101));
        for text in ["6", "7"] {
            publish(&mut world, ann, "x", text);
            assert_eq!(texts(&mut world, clients[0]), [text]);
        }
    }
}

#[test]
fn what_a_crowd_was_spared_can_still_be_replayed() {
    let mut world = World::with(
        Limits::default(),
        Policy {
            crowd: Crowd {
                above: 1,
                batch: Duration::from_millis(100),
            },
            ..policy(Lane::Lossy)
        },
    );
    let ann = world.connect("ann");
    let clients = join_all(&mut world, 2);
    for n in 1..=5 {
        publish(&mut world, ann, "x", &n.to_string());
    }
    world.advance(Duration::from_millis(101));
    assert_eq!(texts(&mut world, clients[0]), ["1", "5"]);
    let late = world.connect("late");
    let joined = world.join_with(
        late,
        tidegate_wire::frame::Join {
            last: Some(4),
            ..plain_join("px:a")
        },
    );
    assert_eq!(joined.replayed, 4);
    assert_eq!(texts(&mut world, late), ["2", "3", "4", "5"]);
}

#[test]
fn a_hot_room_is_found_batched_and_cools_by_itself() {
    let mut world = World::with(
        Limits::default(),
        Policy {
            hot: Hot {
                share: 0.5,
                batch: Duration::from_millis(50),
            },
            ..policy(Lane::Reliable)
        },
    );
    // A visit takes a millisecond: 100 subscribers are a tenth of the shard for each publication a second.
    world.shard.learn_visit_cost(1_000_000);
    let ann = world.connect("ann");
    let clients = join_all(&mut world, 100);
    let share = |world: &World| {
        let rooms = world.shard.rooms("", "", RoomOrder::Share, 1, world.now);
        (rooms[0].share, rooms[0].is_hot, world.shard.counters().hot_rooms)
    };
    for n in 0..4 {
        publish(&mut world, ann, "", &n.to_string());
        assert_eq!(texts(&mut world, clients[7]).len(), 1);
    }
    let (before, is_hot, hot_rooms) = share(&world);
    assert!(
        (0.35..0.45).contains(&before) && !is_hot && hot_rooms == 0,
        "{before}"
    );
    publish(&mut world, ann, "", "4");
    publish(&mut world, ann, "", "5");
    assert_eq!(share(&world).2, 1);
    world.advance(Duration::from_millis(51));
    let _ = texts(&mut world, clients[7]);
    for n in 6..16 {
        publish(&mut world, ann, "", &n.to_string());
    }
    assert_eq!(texts(&mut world, clients[7]).len(), 0);
    world.advance(Duration::from_millis(51));
    assert_eq!(texts(&mut world, clients[7]).len(), 10);
    // Nobody publishes any more: it is looked at all the same.
    world.advance(Duration::from_secs(1));
    assert!(share(&world).1);
    for _ in 0..4 {
        world.advance(Duration::from_secs(1));
    }
    let (_, is_hot, hot_rooms) = share(&world);
    assert!(!is_hot && hot_rooms == 0);
    for n in 0..3 {
        publish(&mut world, ann, "", &n.to_string());
        assert_eq!(texts(&mut world, clients[7]).len(), 1);
    }
    assert_eq!(world.shard.counters().hot_rooms_total, 1);
}

#[test]
fn a_hot_room_that_is_dropped_is_counted_no_more() {
    let mut world = World::with(
        Limits {
            room_linger: Duration::from_millis(10),
            ..Limits::default()
        },
        Policy {
            hot: Hot {
                share: 0.01,
                batch: Duration::ZERO,
            },
            ..policy(Lane::Reliable)
        },
    );
    world.shard.learn_visit_cost(1_000_000);
    let ann = world.connect("ann");
    let clients = join_all(&mut world, 100);
    publish(&mut world, ann, "", "1");
    assert_eq!(world.shard.counters().hot_rooms, 1);
    for client in clients {
        world.cut(client);
    }
    world.advance(Duration::from_millis(11));
    assert_eq!(
        (world.shard.counters().rooms, world.shard.counters().hot_rooms),
        (0, 0)
    );
    world.advance(Duration::from_secs(5));
}

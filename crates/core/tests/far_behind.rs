//! Stories of readers that are so far behind that what they missed has left the window.
//! The simulation found them; each is the smallest that shows it.

mod world;

use std::time::Duration;

use tidegate_core::{Lane, Limits, Policy, request::Event};
use tidegate_wire::{
    Epoch,
    frame::{Command, Filter, GapReason, Join, Ok as Reply, Recovery, Wishes},
};
use world::{px::*, *};

/// The engine's history is lost, and begins anew.
fn lose_history(world: &mut World) {
    let engine_room = world.engine.room(&room("px:a"));
    engine_room.epoch = Epoch(99);
    engine_room.log.clear();
    let broken = Event::Broken { room: room("px:a") };
    world.shard.handle_event(broken, world.now);
    world.turn();
}

#[test]
fn a_rate_that_is_lifted_after_the_window_moved_on_gives_what_is_left() {
    let mut world = world_of(Policy {
        window_count: 4,
        ..policy(Lane::Lossy)
    });
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    let slowly = Wishes {
        keys: None,
        max_rate: Some(0.1),
    };
    let join = Join {
        wishes: slowly,
        ..plain_join("px:a")
    };
    world.join_with(bob, join);
    for n in 1..=20 {
        publish(&mut world, ann, "", &n.to_string());
    }
    assert_eq!(texts(&mut world, bob), ["1"]);
    let everything = Filter {
        room: room("px:a"),
        wishes: Wishes::default(),
    };
    world.send(bob, Command::Filter(everything));
    world.turn();
    publish(&mut world, ann, "", "21");
    assert_eq!(texts(&mut world, bob), ["17", "18", "19", "20", "21"]);
    assert_eq!(gaps(&mut world, bob), [(GapReason::Dropped, position(1, 16), 15)]);
}

#[test]
fn what_left_the_window_is_told_though_nothing_follows() {
    let mut world = world_of(Policy {
        window_count: 0,
        ..policy(Lane::Lossy)
    });
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    world.join(bob, "px:a");
    world.read_on(bob, 0);
    for n in 1..=5 {
        publish(&mut world, ann, "", &n.to_string());
    }
    world.read_on(bob, usize::MAX);
    assert_eq!(texts(&mut world, bob), ["1"]);
    assert_eq!(gaps(&mut world, bob), [(GapReason::Dropped, position(1, 5), 4)]);
}

#[test]
fn who_was_behind_when_the_history_was_lost_is_told_that_first() {
    for (lane, reason) in [
        (Lane::Latest, GapReason::Conflated),
        (Lane::Lossy, GapReason::Dropped),
    ] {
        for window_count in [0, 2, 256] {
            let mut world = world_of(Policy {
                window_count,
                deadline: Duration::from_millis(100),
                ..policy(lane)
            });
            let (ann, bob) = (world.connect("ann"), world.connect("bob"));
            world.join(bob, "px:a");
            world.read_on(bob, 0);
            for n in 1..=5 {
                publish(&mut world, ann, "x", &n.to_string());
            }
            lose_history(&mut world);
            for n in 6..=8 {
                publish(&mut world, ann, "x", &n.to_string());
            }
            world.advance(Duration::from_millis(101));
            publish(&mut world, ann, "x", "9");
            world.read_on(bob, usize::MAX);
            // Of what was before nothing comes any more, for offsets begin anew.
            let told = gaps(&mut world, bob);
            let case = format!("{lane:?} {window_count}: {told:?}");
            assert_eq!(told[0], (GapReason::Epoch, position(99, 0), 0), "{case}");
            let received = texts(&mut world, bob);
            let left_out: u64 = told[1..].iter().map(|(_, _, count)| count).sum();
            assert!(told[1..].iter().all(|told| told.0 == reason), "{case}");
            assert_eq!(received.len() as u64 - 1 + left_out, 4, "{case}");
            assert_eq!(received[0], "1", "{case}");
        }
    }
}

#[test]
fn a_lost_history_is_told_though_there_was_another_gap_since() {
    for (lane, reason) in [
        (Lane::Latest, GapReason::Conflated),
        (Lane::Lossy, GapReason::Dropped),
    ] {
        for window_count in [0, 2, 256] {
            let mut world = world_of(Policy {
                window_count,
                ..policy(lane)
            });
            let (ann, bob) = (world.connect("ann"), world.connect("bob"));
            world.join(bob, "px:a");
            world.read_on(bob, 0);
            for n in 1..=3 {
                publish(&mut world, ann, "x", &n.to_string());
            }
            lose_history(&mut world);
            publish(&mut world, ann, "x", "4");
            // Two publications pass while the attachment is broken.
            world.engine.window = 1;
            world.engine.room(&room("px:a")).attached = false;
            for n in 5..=6 {
                publish(&mut world, ann, "x", &n.to_string());
            }
            let broken = Event::Broken { room: room("px:a") };
            world.shard.handle_event(broken, world.now);
            world.turn();
            publish(&mut world, ann, "x", "7");
            world.read_on(bob, usize::MAX);
            let told = gaps(&mut world, bob);
            let lost = (GapReason::Epoch, position(99, 0), 0);
            let missed = (GapReason::Continuity, position(99, 3), 2);
            assert_eq!(told[..2], [lost, missed], "{lane:?} {window_count}");
            // The last comes, or did not outlive the window and is told.
            match told.get(2) {
                Some(told) => assert_eq!(*told, (reason, position(99, 4), 1)),
                None => assert_eq!(texts(&mut world, bob), ["1", "7"]),
            }
        }
    }
}

#[test]
fn what_is_left_out_after_the_history_was_lost_is_counted_from_its_beginning() {
    let mut world = world_of(Policy {
        deadline: Duration::from_millis(100),
        ..policy(Lane::Lossy)
    });
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    world.join(bob, "px:a");
    for n in 1..=5 {
        publish(&mut world, ann, "", &n.to_string());
    }
    assert_eq!(texts(&mut world, bob).len(), 5);
    // The gap is the last that bob is given before it is behind.
    world.read_on(bob, 0);
    lose_history(&mut world);
    for n in 6..=7 {
        publish(&mut world, ann, "", &n.to_string());
    }
    world.advance(Duration::from_millis(101));
    world.read_on(bob, usize::MAX);
    let lost = (GapReason::Epoch, position(99, 0), 0);
    let dropped = (GapReason::Dropped, position(99, 2), 2);
    assert_eq!(gaps(&mut world, bob), [lost, dropped]);
}

#[test]
fn a_key_of_a_lost_history_costs_nobody_a_resume() {
    let mut world = world_of(Policy {
        window_count: 1,
        keys_max: 1,
        ..policy(Lane::Latest)
    });
    let (ann, bob, eve) = (world.connect("ann"), world.connect("bob"), world.connect("eve"));
    world.join(eve, "px:a");
    for n in 1..=9 {
        publish(&mut world, ann, &format!("k{n}"), "1");
    }
    lose_history(&mut world);
    for n in 1..=3 {
        publish(&mut world, ann, &format!("k{n}"), "2");
    }
    let join = Join {
        since: Some(position(99, 3)),
        ..plain_join("px:a")
    };
    assert_eq!(world.join_with(bob, join).recovery, Recovery::None);
}

#[test]
fn newest_publications_of_keys_give_way_when_all_windows_are_too_large() {
    let limits = Limits {
        windows_bytes_max: 8 << 10,
        ..Limits::default()
    };
    let mut world = World::with(limits, policy(Lane::Latest));
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    world.join(bob, "px:a");
    for n in 0..200 {
        publish(
            &mut world,
            ann,
            &format!("k{n}"),
            &format!("\"{}\"", "x".repeat(200)),
        );
        let waiting = world.shard.waiting();
        assert!(waiting.feeds_bytes <= 8 << 10, "{waiting:?}");
    }
    assert_eq!(texts(&mut world, bob).len(), 200);
}

#[test]
fn nothing_lossy_is_put_out_past_its_deadline_however_long_its_walk_takes() {
    let mut world = world_of(Policy {
        deadline: Duration::from_millis(100),
        batch: Duration::from_millis(150),
        ..policy(Lane::Lossy)
    });
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    let readers = [world.connect("cid"), world.connect("dan"), bob];
    for reader in readers {
        world.join(reader, "px:a");
    }
    publish(&mut world, ann, "", "1");
    // It rests until 150 ms: by then this one is too old, the next are not.
    publish(&mut world, ann, "", "2");
    world.advance(Duration::from_millis(160));
    assert_eq!(texts(&mut world, bob), ["1"]);
    assert_eq!(gaps(&mut world, bob), [(GapReason::Dropped, position(1, 2), 1)]);

    // A walk that takes long: what was joined for the first is too old for the last.
    for n in 3..=5 {
        world.send(ann, keyed_command("px:a", "", &n.to_string()));
        while world.ask_engine() {}
    }
    assert!(world.shard.deadline().is_some());
    world.now = world.now + Duration::from_millis(141);
    world.shard.handle_timeout(world.now);
    world.turn();
    let told: u64 = gaps(&mut world, bob).iter().map(|(_, _, count)| count).sum();
    assert_eq!((texts(&mut world, bob), told), (Vec::new(), 3));
}

#[test]
fn a_piece_joined_for_the_first_is_joined_anew_when_something_in_it_expires() {
    let mut world = world_of(Policy {
        deadline: Duration::from_millis(100),
        ..policy(Lane::Lossy)
    });
    let (ann, bob, eve) = (world.connect("ann"), world.connect("bob"), world.connect("eve"));
    world.join(bob, "px:a");
    world.join(eve, "px:a");
    for n in 1..=2 {
        world.send(ann, keyed_command("px:a", "", &n.to_string()));
        while world.ask_engine() {}
    }
    world.shard.fan_out(1, world.now);
    world.now = world.now + Duration::from_millis(101);
    publish(&mut world, ann, "", "3");
    assert_eq!(texts(&mut world, bob), ["1", "2", "3"]);
    assert_eq!(texts(&mut world, eve), ["3"]);
    assert_eq!(gaps(&mut world, eve), [(GapReason::Dropped, position(1, 2), 2)]);
}

#[test]
fn a_reader_that_trickles_keeps_no_walk_from_its_turn() {
    let limits = Limits {
        outbox_bytes_max: 16 << 10,
        ..Limits::default()
    };
    let policies = [Policy::with_defaults("chat"), policy(Lane::Latest)];
    let mut world = World::with_policies(limits, policies);
    let (ann, bob, eve) = (world.connect("ann"), world.connect("bob"), world.connect("eve"));
    world.join(bob, "chat:a");
    world.join(eve, "chat:b");
    let rooms = ["px:1", "px:2", "px:3", "px:4"];
    for name in rooms {
        world.join(bob, name);
    }
    world.read_on(bob, 0);
    world.send(
        ann,
        publish_command("chat:a", &format!("\"{}\"", "x".repeat(6_000)), ""),
    );
    world.turn();
    for name in rooms {
        world.send(ann, publish_command(name, "1", ""));
        world.turn();
    }
    world.send(ann, publish_command("chat:b", "1", ""));
    while world.ask_engine() {}
    let conn = world.client(bob).conn;
    for _ in 0..2 {
        world.shard.handle_written(conn, 1, world.now);
        world.shard.fan_out(2, world.now);
    }
    let waits = world.client(eve).conn;
    assert!(world.shard.outbox_bytes(waits) > 0);
}

#[test]
fn who_comes_from_a_shard_that_is_further_is_resumed_when_this_one_is_as_far() {
    let mut world = world_of(policy(Lane::Reliable));
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    world.join(ann, "px:a");
    publish(&mut world, ann, "", "1");
    // The engine has a second one, which this shard is not told of yet.
    let mut second = world.engine.room(&room("px:a")).log[0].clone();
    second.offset = 2;
    world.engine.room(&room("px:a")).log.push(second.clone());
    let since = |offset| Join {
        since: Some(position(1, offset)),
        ..plain_join("px:a")
    };
    world.engine.held = Some(Default::default());
    world.send(bob, Command::Join(since(2)));
    world.turn();
    let publication = Event::Publication {
        room: room("px:a"),
        publication: second,
    };
    world.shard.handle_event(publication, world.now);
    world.release();
    assert!(matches!(world.reply(bob), Ok(Reply::Joined(joined)) if
            (joined.offset, joined.recovery) == (2, Recovery::None)));
    // A position that nobody knows is of a history that is lost.
    let eve = world.connect("eve");
    assert_eq!(
        world.join_with(eve, since(7)).recovery,
        Recovery::Gap(GapReason::Epoch)
    );
}

#[test]
fn what_is_lossy_in_a_latest_room_takes_no_replay_from_what_is_kept() {
    let mut world = world_of(Policy {
        window_count: 1,
        keys_max: 1,
        ..policy(Lane::Latest)
    });
    let (ann, bob, eve) = (world.connect("ann"), world.connect("bob"), world.connect("eve"));
    world.join(eve, "px:a");
    publish(&mut world, ann, "x", "1");
    for n in 2..=4 {
        let Command::Publish(mut fleeting) = keyed_command("px:a", "x", &n.to_string()) else {
            unreachable!("it makes a publish")
        };
        fleeting.lane = Some(Lane::Lossy);
        world.send(ann, Command::Publish(fleeting));
        world.turn();
    }
    let join = Join {
        since: Some(position(1, 0)),
        ..plain_join("px:a")
    };
    world.join_with(bob, join);
    assert_eq!(texts(&mut world, bob), ["1", "2", "3", "4"]);

    // And the last three are the last three.
    let cid = world.connect("cid");
    let join = Join {
        last: Some(3),
        ..plain_join("px:a")
    };
    world.join_with(cid, join);
    assert_eq!(texts(&mut world, cid), ["2", "3", "4"]);
}

#[test]
fn around_a_lost_history_a_reliable_room_leaves_out_nothing() {
    let mut world = world_of(Policy {
        deadline: Duration::from_millis(100),
        batch: Duration::from_millis(150),
        ..policy(Lane::Reliable)
    });
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    world.join(bob, "px:a");
    publish(&mut world, ann, "", "1");
    let publish_lossy = |world: &mut World, text: &str| {
        let Command::Publish(mut fleeting) = keyed_command("px:a", "", text) else {
            unreachable!("it makes a publish")
        };
        fleeting.lane = Some(Lane::Lossy);
        world.send(ann, Command::Publish(fleeting));
        world.turn();
    };
    publish_lossy(&mut world, "2");
    lose_history(&mut world);
    publish_lossy(&mut world, "3");
    world.advance(Duration::from_millis(160));
    assert_eq!(texts(&mut world, bob), ["1", "2", "3"]);
    assert_eq!(gaps(&mut world, bob), [(GapReason::Epoch, position(99, 0), 0)]);
}

//! Stories of too much: who waits, who is refused, what goes first, and that the sums add up.

mod world;

use std::time::Duration;

use tidegate_core::{
    Admission, Lane, Limits, Policy,
    admission::{Adaptive, Class, Pressure, Rate, Rates},
    request::Event,
};
use tidegate_wire::{
    Reject, RejectCode, ServerFrame,
    frame::{Command, Filter, GapReason, History, Join, Ok as Reply, Push, Recovery, Wishes},
};
use world::*;

const MS: Duration = Duration::from_millis(1);

/// Eight may be under way, never more, never fewer.
fn eight() -> Admission {
    let eight = Adaptive {
        floor: 8,
        ceiling: 8,
        ..Adaptive::default()
    };
    Admission {
        publishes: eight,
        replays: eight,
        ..Admission::default()
    }
}

fn limits() -> Limits {
    Limits {
        in_flight_max: 10_000,
        ..Limits::default()
    }
}

fn outcomes(world: &mut World, client: ClientId) -> (usize, Vec<Reject>) {
    let (mut published, mut rejects) = (0, Vec::new());
    for frame in world.client(client).frames.drain(..) {
        match frame {
            ServerFrame::Reply {
                result: Ok(Reply::Published(_)),
                ..
            } => published += 1,
            ServerFrame::Reply {
                result: Err(reject), ..
            } => rejects.push(reject),
            ServerFrame::Reply { .. } | ServerFrame::Push(_) => {}
        }
    }
    (published, rejects)
}

#[test]
fn a_burst_above_the_limit_waits_and_is_stored_in_the_order_it_came() {
    let mut world = World::with_admission(eight(), limits(), [Policy::with_defaults("chat")]);
    let ann = world.connect("ann");
    world.engine.held = Some(Default::default());
    for n in 0..48 {
        world.send(ann, publish_command("chat:a", &n.to_string(), ""));
    }
    world.turn();
    assert_eq!(world.engine.held.as_ref().unwrap().len(), 8, "eight places");
    assert_eq!(world.shard.gate_counters().limits[0].waiting, 40);
    for _ in 0..18 {
        world.advance(MS);
        world.serve(4);
    }
    assert_eq!(outcomes(&mut world, ann), (48, vec![]));
    let log = &world.engine.room(&room("chat:a")).log;
    let stored: Vec<String> = log
        .iter()
        .map(|p| String::from_utf8(p.data.as_bytes().to_vec()).unwrap())
        .collect();
    assert_eq!(stored, (0..48).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_flood_is_refused_at_once_the_rest_is_as_fast_as_ever_and_nothing_is_lost_in_between() {
    let mut world = World::with_admission(eight(), limits(), [Policy::with_defaults("chat")]);
    let ann = world.connect("ann");
    world.engine.held = Some(Default::default());
    let (mut sent, mut published, mut refused) = (0, 0, 0);
    for ms in 0..1_000 {
        for _ in 0..20 {
            world.send(ann, publish_command("chat:a", "1", ""));
            sent += 1;
        }
        world.turn();
        if ms > 60 {
            let gate = world.shard.gate_counters().limits[0];
            assert_eq!((gate.waiting, gate.in_flight), (0, 8), "at {ms} ms");
        }
        world.advance(MS);
        world.serve(4);
        let (done, rejects) = outcomes(&mut world, ann);
        (published, refused) = (published + done, refused + rejects.len());
        for reject in rejects {
            assert_eq!(reject.code, RejectCode::Overloaded);
            assert!(
                (100..=200).contains(&reject.retry_after_ms.unwrap()),
                "{reject:?}"
            );
        }
    }
    assert!(published >= 3_960, "{published} of 4,000 that can be stored");
    for _ in 0..10 {
        world.advance(MS);
        world.serve(4);
    }
    let (done, rejects) = outcomes(&mut world, ann);
    (published, refused) = (published + done, refused + rejects.len());
    assert_eq!(published + refused, sent);
    assert_eq!(world.engine.room(&room("chat:a")).log.len(), published);
    assert_eq!(
        world.shard.gate_counters().limits[0].refused_total as usize,
        refused
    );

    // And when it is over, a burst may wait again.
    world.advance(MS * 1_010);
    world.send(ann, publish_command("chat:a", "1", ""));
    world.turn();
    for _ in 0..20 {
        world.send(ann, publish_command("chat:a", "1", ""));
    }
    world.turn();
    for _ in 0..10 {
        world.advance(MS);
        world.serve(4);
    }
    assert_eq!(outcomes(&mut world, ann), (21, vec![]));
}

#[test]
fn an_engine_that_gives_no_answer_is_waited_for_within_bounds() {
    let mut world = World::with_admission(eight(), limits(), [Policy::with_defaults("chat")]);
    let ann = world.connect("ann");
    world.engine.held = Some(Default::default());
    for _ in 0..20 {
        world.send(ann, publish_command("chat:a", "1", ""));
    }
    world.advance(MS * 900);
    assert_eq!(outcomes(&mut world, ann), (0, vec![]));
    world.advance(MS * 101);
    let (_, rejects) = outcomes(&mut world, ann);
    assert_eq!(rejects.len(), 12, "those without a place");
    world.advance(MS * 4_000);
    let (_, rejects) = outcomes(&mut world, ann);
    assert!(rejects.iter().all(|reject| reject.code == RejectCode::Timeout));
    assert_eq!(rejects.len(), 8);
}

#[test]
fn reads_that_wait_for_longer_keep_no_publish_waiting() {
    let mut world = World::with_admission(eight(), limits(), [Policy::with_defaults("chat")]);
    let ann = world.connect("ann");
    world.engine.held = Some(Default::default());
    let history = History {
        room: room("chat:a"),
        since: None,
        limit: 10,
        reverse: false,
    };
    for _ in 0..9 {
        world.send(ann, Command::History(history.clone()));
    }
    world.turn();
    for _ in 0..20 {
        world.send(ann, publish_command("chat:a", "1", ""));
    }
    world.advance(MS * 1_001);
    let (_, rejects) = outcomes(&mut world, ann);
    assert_eq!(rejects.len(), 12, "{rejects:?}");
}

#[test]
fn who_comes_from_a_shard_that_is_further_is_resumed_though_it_waited_for_a_place() {
    let mut world = World::with_admission(eight(), limits(), [Policy::with_defaults("chat")]);
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    world.join(ann, "chat:a");
    world.publish(ann, "chat:a", "1").unwrap();
    // The engine has a second one, which this shard is not told of yet.
    let mut second = world.engine.room(&room("chat:a")).log[0].clone();
    second.offset = 2;
    world.engine.room(&room("chat:a")).log.push(second.clone());
    world.engine.held = Some(Default::default());
    for _ in 0..8 {
        let history = History {
            room: room("chat:a"),
            since: None,
            limit: 10,
            reverse: false,
        };
        world.send(ann, Command::History(history));
    }
    let join = Join {
        since: Some(world.engine.room(&room("chat:a")).head()),
        ..plain_join("chat:a")
    };
    world.send(bob, Command::Join(join));
    world.turn();
    assert_eq!(world.shard.gate_counters().limits[1].waiting, 1);
    world.serve(1);
    let publication = Event::Publication {
        room: room("chat:a"),
        publication: second,
    };
    world.shard.handle_event(publication, world.now);
    world.release();
    assert!(matches!(world.reply(bob), Ok(Reply::Joined(joined)) if
            (joined.offset, joined.recovery) == (2, Recovery::None)));
}

#[test]
fn who_left_while_waiting_is_published_all_the_same() {
    let mut world = World::with_admission(eight(), limits(), [Policy::with_defaults("chat")]);
    let ann = world.connect("ann");
    world.engine.held = Some(Default::default());
    for _ in 0..20 {
        world.send(ann, publish_command("chat:a", "1", ""));
    }
    world.turn();
    world.cut(ann);
    for _ in 0..10 {
        world.advance(MS);
        world.serve(4);
    }
    assert_eq!(world.engine.room(&room("chat:a")).log.len(), 20);
    assert_eq!(world.shard.waiting().tickets, 0);
}

#[test]
fn joins_with_a_replay_wait_their_turn_and_all_get_in() {
    let mut world = World::with_admission(
        eight(),
        limits(),
        [Policy {
            window_count: 0,
            window_bytes: 0,
            ..Policy::with_defaults("chat")
        }],
    );
    world.engine.window = 0;
    let ann = world.connect("ann");
    for n in 0..5 {
        world.publish(ann, "chat:a", &n.to_string()).unwrap();
    }
    let bobs: Vec<ClientId> = (0..50).map(|n| world.connect(&format!("bob{n}"))).collect();
    let last = Join {
        last: Some(3),
        ..plain_join("chat:a")
    };
    world.join(ann, "chat:a");
    world.engine.held = Some(Default::default());
    for bob in &bobs {
        world.send(*bob, Command::Join(last.clone()));
    }
    world.turn();
    assert_eq!(world.engine.held.as_ref().unwrap().len(), 8);
    // One goes while it waits: nobody's place is lost with it.
    world.cut(bobs[40]);
    for _ in 0..60 {
        world.advance(MS);
        world.serve(1);
    }
    for (n, bob) in bobs.iter().enumerate().filter(|(n, _)| *n != 40) {
        assert_eq!(world.received(*bob, "chat:a").len(), 3, "bob{n}");
    }
    let gate = world.shard.gate_counters().limits[1];
    assert_eq!((gate.in_flight, gate.waiting, gate.refused_total), (0, 0, 0));
}

#[test]
fn a_rate_is_refused_with_the_time_until_it_allows_more() {
    let rate = |per_second| {
        Some(Rate {
            per_second,
            burst: per_second,
        })
    };
    let admission = Admission {
        rates: Rates {
            user_publishes: rate(5),
            connection_commands: rate(50),
            ..Rates::default()
        },
        ..Admission::default()
    };
    let mut world = World::with_admission(admission, limits(), [Policy::with_defaults("chat")]);
    let (one, two) = (world.connect("ann"), world.connect("ann"));
    let mut passed = 0;
    for _ in 0..5 {
        passed += usize::from(world.publish(one, "chat:a", "1").is_ok());
        passed += usize::from(world.publish(two, "chat:a", "1").is_ok());
    }
    assert_eq!(passed, 5, "of both connections together");
    let reject = world.publish(one, "chat:a", "1").unwrap_err();
    assert_eq!(reject.code, RejectCode::RateLimited);
    let wait_ms = reject.retry_after_ms.unwrap();
    assert!((200..=400).contains(&wait_ms), "{wait_ms}");
    world.advance(MS * wait_ms);
    world.publish(one, "chat:a", "1").unwrap();

    // A connection has rates of its own, for everything but pings and leaving: who has left must not be given any more.
    world.join(two, "chat:a");
    let filter = Filter {
        room: room("chat:b"),
        wishes: Wishes::default(),
    };
    let mut refused = 0;
    for _ in 0..60 {
        world.send(two, Command::Filter(filter.clone()));
        world.send(two, Command::Ping { t0_ms: 0.0 });
        world.turn();
        refused += usize::from(world.reply(two).unwrap_err().code == RejectCode::RateLimited);
        assert!(matches!(world.reply(two), Ok(Reply::Pong(_))));
    }
    assert!((10..=20).contains(&refused), "{refused}");
    world.send(two, Command::Leave { room: room("chat:a") });
    world.turn();
    assert_eq!(world.reply(two), Ok(Reply::Left));
}

#[test]
fn pressure_takes_lossy_deliveries_then_replays_then_handshakes_then_publishes_and_never_control() {
    let lossy = Policy {
        lane: Lane::Lossy,
        ..Policy::with_defaults("pos")
    };
    let chat = Policy {
        window_count: 0,
        ..Policy::with_defaults("chat")
    };
    let mut world = World::with_policies(limits(), [chat, lossy]);
    world.engine.window = 0;
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    world.join(bob, "pos:a");
    world.publish(ann, "pos:a", "1").unwrap();
    world.publish(ann, "chat:a", "1").unwrap();
    assert_eq!(world.received(bob, "pos:a").len(), 1);

    let press = |world: &mut World, percent: u64| {
        let now = world.now;
        world.shard.handle_pressure(Pressure::of(percent, 100), now);
        world.turn();
    };
    let last = Join {
        last: Some(1),
        ..plain_join("chat:a")
    };
    press(&mut world, 75);
    for n in 2..=4 {
        world.publish(ann, "pos:a", &n.to_string()).unwrap();
    }
    assert_eq!(world.received(bob, "pos:a"), []);
    press(&mut world, 75);
    let told: Vec<(GapReason, u64)> = world.pushes(bob).iter().map(gap).collect();
    assert_eq!(told, [(GapReason::Dropped, 3)]);
    assert_eq!(world.shard.counters().dropped_total, 3);
    assert!(world.shard.try_admit(Class::Handshake).is_ok());

    press(&mut world, 85);
    world.send(bob, Command::Join(last.clone()));
    world.turn();
    assert_eq!(world.reply(bob).unwrap_err().code, RejectCode::Overloaded);
    world.join(bob, "chat:b");
    assert!(world.shard.try_admit(Class::Handshake).is_ok());

    press(&mut world, 92);
    assert!(world.shard.try_admit(Class::Handshake).is_err());
    world.publish(ann, "chat:a", "2").unwrap();

    press(&mut world, 99);
    let reject = world.publish(ann, "chat:a", "3").unwrap_err();
    assert_eq!(reject.code, RejectCode::Overloaded);
    assert!(reject.retry_after_ms.unwrap() >= 2_000);
    world.send(ann, Command::Ping { t0_ms: 1.0 });
    world.turn();
    assert!(matches!(world.reply(ann), Ok(Reply::Pong(_))));

    // All of it comes back, in the opposite order, and what was missed is told before what comes.
    world.shard.handle_pressure(Pressure::of(75, 100), world.now);
    world.publish(ann, "pos:a", "5").unwrap_err();
    for _ in 0..30 {
        world.advance(MS * 100);
        press(&mut world, 10);
    }
    world.publish(ann, "pos:a", "6").unwrap();
    assert_eq!(world.received(bob, "pos:a"), [(5, "6".to_owned())]);
    assert_eq!(world.shard.gate_counters().is_shedding, [0; 4]);
    assert_eq!(world.shard.gate_counters().shed_total, [3, 1, 1, 2]);
    let joined = world.join_with(bob, last);
    assert_eq!(joined.replayed, 1);
}

#[test]
fn who_resumes_a_lossy_room_after_shedding_misses_nothing_that_is_kept() {
    let lossy = Policy {
        lane: Lane::Lossy,
        ..Policy::with_defaults("pos")
    };
    let mut world = World::with_policies(limits(), [lossy]);
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    world.join(bob, "pos:a");
    world.publish(ann, "pos:a", "1").unwrap();
    let head = world.engine.room(&room("pos:a")).head();
    world.shard.handle_pressure(Pressure::of(75, 100), world.now);
    world.publish(ann, "pos:a", "2").unwrap();
    world.cut(bob);
    world.publish(ann, "pos:a", "3").unwrap();
    let bob = world.connect("bob");
    let since = Join {
        since: Some(head),
        ..plain_join("pos:a")
    };
    assert_eq!(world.join_with(bob, since).replayed, 2);
    assert_eq!(world.received(bob, "pos:a").len(), 2);
}

#[test]
fn what_is_shed_is_told_to_those_who_wanted_it_and_counted_for_each() {
    let lossy = Policy {
        lane: Lane::Lossy,
        ..Policy::with_defaults("pos")
    };
    let mut world = World::with_policies(limits(), [lossy]);
    let ann = world.connect("ann");
    let (all, some, late) = (world.connect("all"), world.connect("some"), world.connect("late"));
    world.join(all, "pos:a");
    let one_key = Join {
        wishes: Wishes {
            keys: Some(vec!["x".into()]),
            max_rate: None,
        },
        ..plain_join("pos:a")
    };
    world.join_with(some, one_key);
    world.shard.handle_pressure(Pressure::of(75, 100), world.now);
    for (n, key) in ["x", "y", "y"].into_iter().enumerate() {
        world.send(ann, keyed_command("pos:a", key, &n.to_string()));
        world.turn();
    }
    world.join(late, "pos:a");
    world.send(ann, keyed_command("pos:a", "x", "3"));
    world.turn();
    world.shard.handle_pressure(Pressure::of(75, 100), world.now);
    world.turn();
    for (reader, count) in [(all, 4), (some, 2), (late, 1)] {
        let told: Vec<(GapReason, u64)> = world.pushes(reader).iter().map(gap).collect();
        assert_eq!(told, [(GapReason::Dropped, count)]);
    }
    assert_eq!(world.shard.counters().dropped_total, 7);
    assert_eq!(world.shard.waiting().pending_bytes, 0);
}

#[test]
fn who_is_behind_when_the_server_sheds_is_told_of_all_it_did_not_get() {
    let lossy = Policy {
        lane: Lane::Lossy,
        ..Policy::with_defaults("pos")
    };
    let mut world = World::with_policies(limits(), [lossy]);
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    world.join(bob, "pos:a");
    world.read_on(bob, 0);
    world.publish(ann, "pos:a", "1").unwrap();
    for n in 2..=4 {
        // Behind a frame that was not taken.
        world.publish(ann, "pos:a", &n.to_string()).unwrap();
    }
    world.shard.handle_pressure(Pressure::of(75, 100), world.now);
    world.publish(ann, "pos:a", "5").unwrap();
    for _ in 0..30 {
        world.advance(MS * 100);
        world.shard.handle_pressure(Pressure::of(10, 100), world.now);
        world.turn();
    }
    world.read_on(bob, usize::MAX);
    world.publish(ann, "pos:a", "6").unwrap();
    let got = world.received(bob, "pos:a");
    assert_eq!(got, [(1, "1".to_owned()), (6, "6".to_owned())]);
    let told: u64 = world.pushes(bob).iter().map(|push| gap(push).1).sum();
    assert_eq!(told, 4);
}

fn gap(push: &Push) -> (GapReason, u64) {
    match push {
        Push::Gap { reason, count, .. } => (*reason, *count),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_place_is_free_when_what_was_stored_is_fanned_out_too() {
    let mut world = World::with_admission(eight(), limits(), [Policy::with_defaults("chat")]);
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    world.join(bob, "chat:a");
    for n in 0..20 {
        world.send(ann, publish_command("chat:a", &n.to_string(), ""));
    }
    while world.ask_engine() {}
    let log = &world.engine.room(&room("chat:a")).log;
    assert_eq!(
        log.len(),
        8,
        "these are stored, and the others wait for their fan-out"
    );
    assert_eq!(world.shard.gate_counters().limits[0].in_flight, 8);
    world.turn();
    assert_eq!(outcomes(&mut world, ann), (20, vec![]));
    assert_eq!(world.received(bob, "chat:a").len(), 20);
    assert_eq!(world.shard.gate_counters().limits[0].in_flight, 0);

    // Nobody is there any more: nothing is fanned out, and no place is held for it.
    world.cut(bob);
    for n in 0..20 {
        world.send(ann, publish_command("chat:a", &n.to_string(), ""));
    }
    world.turn();
    world.advance(Duration::from_secs(60));
    assert_eq!(outcomes(&mut world, ann), (20, vec![]));
    assert_eq!(world.shard.gate_counters().limits[0].in_flight, 0);
}

//! Stories of rooms, through a shard with a hand-moved clock: what a user of the protocol sees.

mod world;

use std::time::Duration;

use tidegate_core::{
    Limits, Policy,
    request::{Event, Request},
};
use tidegate_wire::{
    CloseReason, Position, Reject, RejectCode,
    frame::{Command, Connect, GapReason, History, Join, Ok as Reply, Push, Recovery},
};
use world::*;

fn since(position: Position, name: &str) -> Join {
    Join {
        since: Some(position),
        ..plain_join(name)
    }
}

fn last(n: u32, name: &str) -> Join {
    Join {
        last: Some(n),
        ..plain_join(name)
    }
}

fn publish_numbers(world: &mut World, client: ClientId, name: &str, to: u64) {
    let from = world.engine.room(&room(name)).log.len() as u64 + 1;
    for n in from..=to {
        world.publish(client, name, &n.to_string()).unwrap();
    }
}

#[test]
fn a_publication_reaches_every_subscriber_in_order() {
    let mut world = World::new();
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    assert_eq!(world.join(ann, "chat:lobby").offset, 0);
    world.join(bob, "chat:lobby");
    publish_numbers(&mut world, ann, "chat:lobby", 3);
    assert_eq!(world.received(ann, "chat:lobby"), numbers(1, 3));
    assert_eq!(world.received(bob, "chat:lobby"), numbers(1, 3));
}

#[test]
fn the_same_msg_id_happens_once() {
    let mut world = World::new();
    let ann = world.connect("ann");
    world.join(ann, "chat:lobby");
    let first = world.publish_as(ann, "chat:lobby", "1", "m1").unwrap();
    let again = world.publish_as(ann, "chat:lobby", "1", "m1").unwrap();
    assert_eq!((first.position, false), (again.position, first.duplicate));
    assert!(again.duplicate);
    assert_eq!(world.received(ann, "chat:lobby"), numbers(1, 1));
}

#[test]
fn a_returning_subscriber_gets_nothing_a_replay_or_a_gap() {
    let mut world = World::new();
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    world.join(ann, "chat:lobby");
    publish_numbers(&mut world, ann, "chat:lobby", 5);
    let head = world.engine.room(&room("chat:lobby")).head();

    let joined = world.join_with(bob, since(head, "chat:lobby"));
    assert_eq!((joined.recovery, joined.replayed), (Recovery::None, 0));
    world.cut(bob);

    let bob = world.connect("bob");
    let joined = world.join_with(bob, since(Position { offset: 2, ..head }, "chat:lobby"));
    assert_eq!(
        (joined.recovery, joined.replayed, joined.offset),
        (Recovery::Replay, 3, 5)
    );
    assert_eq!(world.received(bob, "chat:lobby"), numbers(3, 5));

    let cleo = world.connect("cleo");
    let other = Position {
        epoch: tidegate_wire::Epoch(99),
        offset: 2,
    };
    let joined = world.join_with(cleo, since(other, "chat:lobby"));
    assert_eq!(joined.recovery, Recovery::Gap(GapReason::Epoch));
    assert_eq!(world.received(cleo, "chat:lobby"), []);
    publish_numbers(&mut world, ann, "chat:lobby", 6);
    assert_eq!(world.received(cleo, "chat:lobby"), numbers(6, 6));
}

#[test]
fn what_the_window_no_longer_holds_comes_from_the_engine() {
    let policy = Policy {
        window_count: 4,
        history_page_max: 200,
        ..Policy::with_defaults("chat")
    };
    let mut world = World::with(Limits::default(), policy);
    world.engine.window = 2;
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    world.join(ann, "chat:lobby");
    publish_numbers(&mut world, ann, "chat:lobby", 50);
    let head = world.engine.room(&room("chat:lobby")).head();
    let joined = world.join_with(bob, since(Position { offset: 7, ..head }, "chat:lobby"));
    assert_eq!((joined.recovery, joined.replayed), (Recovery::Replay, 43));
    assert_eq!(world.received(bob, "chat:lobby"), numbers(8, 50));

    let cleo = world.connect("cleo");
    assert_eq!(world.join_with(cleo, last(20, "chat:lobby")).replayed, 20);
    assert_eq!(world.received(cleo, "chat:lobby"), numbers(31, 50));
}

#[test]
fn publications_during_a_replay_are_neither_lost_nor_doubled() {
    let policy = Policy {
        window_count: 4,
        ..Policy::with_defaults("chat")
    };
    let mut world = World::with(Limits::default(), policy);
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    world.join(ann, "chat:lobby");
    publish_numbers(&mut world, ann, "chat:lobby", 20);
    let head = world.engine.room(&room("chat:lobby")).head();
    world.engine.held = Some(Default::default());
    world.send(
        bob,
        Command::Join(since(Position { offset: 3, ..head }, "chat:lobby")),
    );
    for n in 21..=40 {
        world.send(ann, publish_command("chat:lobby", &n.to_string(), ""));
    }
    world.turn();
    world.release();
    let Ok(Reply::Joined(joined)) = world.reply(bob) else {
        panic!("expected a joined");
    };
    assert_eq!(joined.recovery, Recovery::Replay);
    assert_eq!(world.received(bob, "chat:lobby"), numbers(4, 40));
}

#[test]
fn a_gap_says_why_and_last_still_follows() {
    let policy = Policy {
        replay_max: 10,
        window_count: 4,
        ..Policy::with_defaults("chat")
    };
    let mut world = World::with(Limits::default(), policy);
    let (ann, bob, cleo) = (world.connect("ann"), world.connect("bob"), world.connect("cleo"));
    world.join(ann, "chat:lobby");
    publish_numbers(&mut world, ann, "chat:lobby", 30);
    let head = world.engine.room(&room("chat:lobby")).head();
    let far = Join {
        last: Some(2),
        ..since(Position { offset: 1, ..head }, "chat:lobby")
    };
    let joined = world.join_with(bob, far);
    assert_eq!(
        (joined.recovery, joined.replayed),
        (Recovery::Gap(GapReason::TooFar), 2)
    );
    assert_eq!(world.received(bob, "chat:lobby"), numbers(29, 30));

    world.engine.room(&room("chat:lobby")).trimmed_to = 25;
    let joined = world.join_with(cleo, since(Position { offset: 22, ..head }, "chat:lobby"));
    assert_eq!(joined.recovery, Recovery::Gap(GapReason::Trimmed));
}

#[test]
fn members_come_and_go() {
    let mut world = World::new();
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    let watching = Join {
        enter: true,
        members: true,
        ..plain_join("chat:lobby")
    };
    world.join_with(ann, watching.clone());
    world.pushes(ann);
    let entering = Join {
        enter: true,
        ..plain_join("chat:lobby")
    };
    world.join_with(bob, entering);
    let pushes = world.pushes(ann);
    assert!(
        matches!(&pushes[..], [Push::Members(c)] if c.count == 2 && c.joined[0].user == "bob"),
        "{pushes:?}"
    );
    assert!(world.pushes(bob).is_empty(), "bob does not watch");
    let cleo = world.connect("cleo");
    let joined = world.join_with(cleo, watching);
    assert_eq!(joined.members.unwrap().sample.len(), 2);
    world.pushes(ann);
    world.cut(bob);
    let pushes = world.pushes(ann);
    assert!(
        matches!(&pushes[..], [Push::Members(c)] if c.count == 2 && c.left == ["bob"]),
        "{pushes:?}"
    );
}

#[test]
fn slow_reader_on_reliable_lane_is_closed_and_others_are_not() {
    let limits = Limits {
        outbox_bytes_max: 4096,
        ..Limits::default()
    };
    let mut world = World::with(limits, Policy::with_defaults("chat"));
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    world.join(ann, "chat:lobby");
    world.join(bob, "chat:lobby");
    world.client(bob).reads = 10;
    publish_numbers(&mut world, ann, "chat:lobby", 100);
    assert_eq!(world.received(ann, "chat:lobby"), numbers(1, 100));
    assert!(
        world.shard.counters().outbox_bytes == 0,
        "bob's outbox is gone with him"
    );
    let place = CloseReason::ALL
        .iter()
        .position(|r| *r == CloseReason::TooSlow)
        .unwrap();
    assert_eq!(world.shard.counters().closes_total[place], 1);
    assert_eq!(world.shard.counters().connections, 1);
}

#[test]
fn a_reader_that_waits_too_long_is_closed_however_little_waits() {
    let mut world = World::new();
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    world.join(ann, "chat:lobby");
    world.join(bob, "chat:lobby");
    world.client(bob).reads = 0;
    world.publish(ann, "chat:lobby", "1").unwrap();
    world.advance(Duration::from_secs(4));
    world.publish(ann, "chat:lobby", "2").unwrap();
    assert_eq!(world.shard.counters().connections, 2);
    world.advance(Duration::from_secs(2));
    world.publish(ann, "chat:lobby", "3").unwrap();
    assert_eq!(world.shard.counters().connections, 1);
}

#[test]
fn a_large_replay_waits_until_the_reader_has_room() {
    let limits = Limits {
        outbox_bytes_max: 64 << 10,
        ..Limits::default()
    };
    let mut world = World::with(limits, Policy::with_defaults("chat"));
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    for name in ["chat:a", "chat:b", "chat:c"] {
        world.join(ann, name);
        publish_numbers(&mut world, ann, name, 50);
    }
    world.client(bob).reads = 0;
    for name in ["chat:a", "chat:b", "chat:c"] {
        let head = world.engine.room(&room(name)).head();
        world.send(bob, Command::Join(since(Position { offset: 0, ..head }, name)));
    }
    world.turn();
    publish_numbers(&mut world, ann, "chat:c", 60);
    world.read_on(bob, usize::MAX);
    assert_eq!(world.client(bob).closed, None);
    assert_eq!(world.received(bob, "chat:a"), numbers(1, 50));
    assert_eq!(world.received(bob, "chat:b"), numbers(1, 50));
    assert_eq!(world.received(bob, "chat:c"), numbers(1, 60));
}

#[test]
fn fresh_rooms_leave_a_quarter_of_the_visits_to_walks_under_way() {
    let mut world = World::new();
    let ann = world.connect("ann");
    let large: Vec<ClientId> = (0..20).map(|n| world.connect(&format!("l{n}"))).collect();
    for client in &large {
        world.join(*client, "chat:large");
    }
    for n in 0..8 {
        let client = world.connect(&format!("s{n}"));
        world.join(client, "chat:small");
    }
    let send = |world: &mut World, name: &str, text: &str| {
        world.send(ann, publish_command(name, text, ""));
        world.ask_engine();
        let now = world.now;
        world.shard.fan_out(8, now)
    };
    send(&mut world, "chat:large", "1");
    // Each of these has as many subscribers as there are visits; twelve of the large room's wait.
    for n in 0..6 {
        assert_eq!(send(&mut world, "chat:small", &n.to_string()), 8);
    }
    for client in large {
        let conn = world.client(client).conn;
        assert!(world.shard.outbox_bytes(conn) > 0);
    }
}

#[test]
fn a_hot_room_is_sliced_and_quiet_rooms_come_in_between() {
    let mut world = World::new();
    world.visits = 0;
    let ann = world.open(JSON);
    world.visits = 128;
    let mut hot = Vec::new();
    for n in 0..1_000 {
        let client = world.connect(&format!("u{n}"));
        world.join(client, "chat:hot");
        hot.push(client);
    }
    let quiet = world.connect("quiet");
    world.join(quiet, "chat:quiet");
    world.send(ann, Command::Connect(Connect::default()));
    world.turn();
    for name in ["chat:hot", "chat:quiet", "chat:hot"] {
        world.send(ann, publish_command(name, "1", ""));
    }
    world.ask_engine();
    let now = world.now;
    assert_eq!(world.shard.fan_out(128, now), 128);
    assert_eq!(world.shard.fan_out(128, now), 128);
    world.visits = 0;
    let before = world.shard.counters().deliveries_total;
    // Both of the hot room's publications reach a subscriber in one visit.
    assert_eq!(before, 2 * (128 + 127) + 1);
    while world.shard.has_fan_out() {
        world.shard.fan_out(128, now);
    }
    world.turn();
    assert_eq!(world.received(quiet, "chat:quiet").len(), 1);
    for client in hot {
        let offsets: Vec<u64> = world.received(client, "chat:hot").iter().map(|e| e.0).collect();
        assert_eq!(offsets, [1, 2]);
    }
}

#[test]
fn leaving_in_the_middle_of_a_walk_skips_and_repeats_nobody() {
    for leaver in 0..20 {
        for after in [0, 3, 10, 19] {
            let mut world = World::new();
            let clients: Vec<ClientId> = (0..20).map(|n| world.connect(&format!("u{n}"))).collect();
            for client in &clients {
                world.join(*client, "chat:lobby");
            }
            world.send(clients[0], publish_command("chat:lobby", "1", ""));
            world.ask_engine();
            let now = world.now;
            world.shard.fan_out(after, now);
            world.cut(clients[leaver]);
            let late = world.connect("late");
            world.join(late, "chat:lobby");
            world.turn();
            for (n, client) in clients.iter().enumerate() {
                if n != leaver {
                    assert_eq!(
                        world.received(*client, "chat:lobby").len(),
                        1,
                        "{leaver} {after} {n}"
                    );
                }
            }
            assert_eq!(world.received(late, "chat:lobby"), []);
        }
    }
}

#[test]
fn a_broken_attachment_is_mended_from_the_window_or_told_as_a_gap() {
    let mut world = World::new();
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    world.join(bob, "chat:lobby");
    publish_numbers(&mut world, ann, "chat:lobby", 3);
    // Two publications pass while the attachment is broken.
    world.engine.room(&room("chat:lobby")).attached = false;
    publish_numbers(&mut world, ann, "chat:lobby", 5);
    let now = world.now;
    world.shard.handle_event(
        Event::Broken {
            room: room("chat:lobby"),
        },
        now,
    );
    world.turn();
    assert_eq!(world.received(bob, "chat:lobby"), numbers(1, 5));

    world.engine.window = 1;
    world.engine.room(&room("chat:lobby")).attached = false;
    publish_numbers(&mut world, ann, "chat:lobby", 9);
    world.shard.handle_event(
        Event::Broken {
            room: room("chat:lobby"),
        },
        now,
    );
    world.turn();
    let pushes = world.pushes(bob);
    assert!(
        matches!(pushes[..], [Push::Gap { position, reason: GapReason::Continuity, .. }] if position.offset == 9),
        "{pushes:?}"
    );
    publish_numbers(&mut world, ann, "chat:lobby", 10);
    assert_eq!(world.received(bob, "chat:lobby"), numbers(10, 10));
}

#[test]
fn members_who_went_while_the_attachment_was_broken_are_told() {
    let mut world = World::new();
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    let entering = Join {
        enter: true,
        members: true,
        ..plain_join("chat:lobby")
    };
    world.join_with(ann, entering.clone());
    world.join_with(bob, entering);
    world.engine.room(&room("chat:lobby")).attached = false;
    world.cut(bob);
    world.pushes(ann);
    let now = world.now;
    world.shard.handle_event(
        Event::Broken {
            room: room("chat:lobby"),
        },
        now,
    );
    world.turn();
    let pushes = world.pushes(ann);
    let [Push::Members(change)] = &pushes[..] else {
        panic!("expected members, got {pushes:?}");
    };
    let sample = change.sample.as_ref().unwrap();
    assert_eq!(
        (change.count, sample.len(), &sample[0].user[..]),
        (1, 1, &b"ann"[..])
    );
}

#[test]
fn a_room_left_before_its_join_was_done_is_not_joined() {
    let mut world = World::new();
    let ann = world.connect("ann");
    world.engine.held = Some(Default::default());
    let join = Join {
        enter: true,
        ..plain_join("chat:lobby")
    };
    world.send(ann, Command::Join(join));
    world.turn();
    let name = room("chat:lobby");
    world.send(ann, Command::Leave { room: name.clone() });
    world.turn();
    assert_eq!(world.reply(ann), Ok(Reply::Left));
    world.send(ann, Command::Leave { room: name.clone() });
    world.turn();
    assert_eq!(world.reply(ann).unwrap_err().code, RejectCode::NotJoined);
    world.release();
    assert_eq!(world.reply(ann).unwrap_err().code, RejectCode::NotJoined);
    assert!(world.engine.room(&name).members.is_empty());
    world.join(ann, "chat:lobby");
}

#[test]
fn an_engine_that_does_not_answer_is_told_as_a_timeout() {
    let mut world = World::new();
    let ann = world.connect("ann");
    world.engine.held = Some(Default::default());
    world.send(ann, publish_command("chat:lobby", "1", "m"));
    world.send(ann, Command::Join(plain_join("chat:lobby")));
    world.turn();
    world.advance(Duration::from_secs(6));
    assert_eq!(world.reply(ann).unwrap_err().code, RejectCode::Timeout);
    world.release();
    assert!(matches!(world.reply(ann), Ok(Reply::Joined(_))));
    assert!(world.publish_as(ann, "chat:lobby", "1", "m").unwrap().duplicate);
}

#[test]
fn an_engine_that_refuses_is_passed_on() {
    let mut world = World::new();
    let ann = world.connect("ann");
    world.engine.refuse = Some(Reject::retry(RejectCode::Unavailable, 500, "disk full"));
    let reject = world.publish(ann, "chat:lobby", "1").unwrap_err();
    assert_eq!(
        (reject.code, reject.retry_after_ms),
        (RejectCode::Unavailable, Some(500))
    );
    world.send(ann, Command::Join(plain_join("chat:lobby")));
    world.turn();
    assert_eq!(world.reply(ann).unwrap_err().code, RejectCode::Unavailable);
    world.engine.refuse = None;
    world.join(ann, "chat:lobby");
}

#[test]
fn an_empty_room_lingers_then_is_detached() {
    let mut world = World::new();
    let ann = world.connect("ann");
    world.join(ann, "chat:lobby");
    world.cut(ann);
    world.advance(Duration::from_secs(29));
    assert!(world.engine.room(&room("chat:lobby")).attached);
    assert_eq!(world.shard.counters().rooms, 1);
    world.advance(Duration::from_secs(2));
    assert!(!world.engine.room(&room("chat:lobby")).attached);
    assert_eq!(world.shard.counters().rooms, 0);
}

#[test]
fn history_is_read_in_pages_both_ways() {
    let mut world = World::new();
    let ann = world.connect("ann");
    publish_numbers(&mut world, ann, "chat:lobby", 10);
    let head = world.engine.room(&room("chat:lobby")).head();
    let ask = |since, limit, reverse| History {
        room: room("chat:lobby"),
        since,
        limit,
        reverse,
    };
    let offsets = |page: tidegate_wire::frame::HistoryPage| -> Vec<u64> {
        page.publications.iter().map(|p| p.offset).collect()
    };
    let page = world.history(ann, ask(None, 3, false)).unwrap();
    assert!(page.more);
    assert_eq!(offsets(page), [1, 2, 3]);
    let page = world
        .history(ann, ask(Some(Position { offset: 9, ..head }), 5, false))
        .unwrap();
    assert_eq!(offsets(page), [10]);
    let page = world.history(ann, ask(None, 2, true)).unwrap();
    assert_eq!(offsets(page), [10, 9]);
}

#[test]
fn requests_wait_while_the_engine_is_full() {
    let limits = Limits {
        requests_max: 1,
        ..Limits::default()
    };
    let mut world = World::with(limits, Policy::with_defaults("chat"));
    let ann = world.connect("ann");
    world.send(ann, publish_command("chat:a", "1", ""));
    world.send(ann, publish_command("chat:a", "2", ""));
    assert!(matches!(
        world.shard.poll_request(),
        Some(Request::Publish { .. })
    ));
    world.turn();
    assert_eq!(world.reply(ann).unwrap_err().code, RejectCode::Overloaded);
}

#[test]
fn pages_asked_for_together_come_as_the_reader_takes_them() {
    let limits = Limits {
        outbox_bytes_max: 16 << 10,
        ..Limits::default()
    };
    let mut world = World::with(limits, Policy::with_defaults("chat"));
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    let long = format!("\"{}\"", "x".repeat(500));
    for _ in 0..10 {
        world.publish(ann, "chat:lobby", &long).unwrap();
    }
    world.read_on(bob, 0);
    let ask = || History {
        room: room("chat:lobby"),
        since: None,
        limit: 10,
        reverse: false,
    };
    for _ in 0..5 {
        world.send(bob, Command::History(ask()));
    }
    world.turn();
    world.read_on(bob, usize::MAX);
    let answers: Vec<_> = (0..5).map(|_| world.reply(bob)).collect();
    let pages = answers
        .iter()
        .filter(|answer| matches!(answer, Ok(Reply::History(_))))
        .count();
    let is_told =
        |answer: &&Result<Reply, Reject>| matches!(answer, Err(r) if r.code == RejectCode::RateLimited);
    assert_eq!(
        (pages, answers.iter().filter(is_told).count()),
        (1, 4),
        "{answers:?}"
    );
    assert_eq!(world.client(bob).closed, None);
    assert!(world.history(bob, ask()).is_ok());
}

//! Stories of sessions that are sent away: slots told and kept, and nothing that was begun left open.

mod world;

use std::{collections::BTreeSet, time::Duration};

use tidegate_core::{
    Limits, Moment, Policy,
    drain::{ComeBack, Pacing, Slots},
};
use tidegate_wire::{
    CloseReason, RejectCode,
    frame::{Command, Notice, Ok as Reply, Push},
};
use world::*;

const PACING: Pacing = Pacing {
    within: Duration::from_secs(30),
    per_second: 10,
    shards: 1,
};
const HERE: ComeBack = ComeBack::Here {
    first_slot: Duration::from_secs(1),
    patience: Duration::from_secs(2),
};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The slot a client was told, which is all it was told.
fn slot(world: &mut World, client: ClientId) -> u64 {
    match world.pushes(client)[..] {
        [Push::Notice(Notice::Draining { in_ms })] => in_ms,
        ref other => panic!("expected a slot, got {other:?}"),
    }
}

fn is_closed(world: &mut World, client: ClientId) -> bool {
    let closed = world.client(client).closed;
    assert!(closed.is_none() || closed == Some(CloseReason::Shutdown.number()));
    closed.is_some()
}

fn connect(world: &mut World, count: usize) -> Vec<ClientId> {
    (0..count).map(|n| world.connect(&format!("user-{n}"))).collect()
}

#[test]
fn elsewhere_each_is_served_until_its_slot_and_closed_then() {
    let mut world = World::new();
    let clients = connect(&mut world, 10);
    for client in &clients {
        world.join(*client, "chat:lobby");
    }
    let now = world.now;
    let slots = world.shard.drain(ComeBack::Elsewhere, PACING, now);
    let window = Duration::from_secs(1);
    assert_eq!(slots, Slots { sessions: 10, window });
    world.advance(Duration::ZERO);
    let told: Vec<u64> = clients.iter().map(|client| slot(&mut world, *client)).collect();
    assert_eq!(told, (0..10).map(|n| n * 100).collect::<Vec<_>>());

    assert!(
        world.shard.handle_open(JSON, world.now).is_none(),
        "nobody is let in"
    );
    for gone in 1..=10 {
        for (n, client) in clients.iter().enumerate() {
            assert_eq!(is_closed(&mut world, *client), n < gone, "{n} of {gone}");
        }
        if gone < 10 {
            // Commands of any kind go on, and whoever is still there hears of it.
            let last = clients[9];
            world
                .publish(last, "chat:lobby", &gone.to_string())
                .expect("it goes on");
            assert_eq!(world.received(last, "chat:lobby").len(), 1);
            world.join(last, &format!("chat:room-{gone}"));
        }
        assert_eq!(world.shard.counters().leaving, 10 - gone as u64);
        world.advance(ms(100));
    }
    assert_eq!(world.shard.counters().slots_told_total, 10);
    assert_eq!(world.shard.counters().connections, 0);
}

#[test]
fn here_all_are_closed_at_once_and_told_when_to_come_back() {
    let mut world = World::new();
    let clients = connect(&mut world, 5);
    let now = world.now;
    world.shard.drain(HERE, PACING, now);
    world.advance(Duration::ZERO);
    for (n, client) in clients.into_iter().enumerate() {
        assert_eq!(slot(&mut world, client), 1_000 + n as u64 * 100);
        assert!(is_closed(&mut world, client));
    }
    assert_eq!(world.shard.counters().connections, 0);
}

#[test]
fn here_what_was_asked_before_is_answered_and_nothing_more_begins() {
    let mut world = World::new();
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    world.join(bob, "chat:lobby");
    world.engine.held = Some(Default::default());
    world.send(ann, publish_command("chat:lobby", "1", "m-1"));
    world.turn();
    let now = world.now;
    world.shard.drain(HERE, PACING, now);
    world.advance(ms(50));
    assert!(is_closed(&mut world, bob) && !is_closed(&mut world, ann));
    world.send(ann, publish_command("chat:lobby", "2", "m-2"));
    world.turn();
    let reject = world.reply(ann).unwrap_err();
    assert_eq!(reject.code, RejectCode::Draining);
    // Ann's slot is the first, one second after the drain began.
    assert_eq!(reject.retry_after_ms, Some(950));
    world.send(ann, Command::Ping { t0_ms: 1.0 });
    world.turn();
    assert!(matches!(world.reply(ann), Ok(Reply::Pong(_))));

    world.release();
    assert!(matches!(world.reply(ann), Ok(Reply::Published(_))));
    world.advance(ms(2));
    assert!(is_closed(&mut world, ann));
    assert_eq!(world.engine.room(&room("chat:lobby")).log.len(), 1);
}

#[test]
fn elsewhere_what_was_asked_before_the_slot_is_answered_and_nothing_begins_after_it() {
    let mut world = World::new();
    let clients = connect(&mut world, 3);
    let last = clients[2];
    let now = world.now;
    world.shard.drain(ComeBack::Elsewhere, PACING, now);
    world.advance(ms(199));
    world.engine.held = Some(Default::default());
    world.send(last, publish_command("chat:lobby", "1", "m-1"));
    world.turn();
    world.advance(ms(10));
    assert!(!is_closed(&mut world, last), "an answer is still to come");
    world.send(last, publish_command("chat:lobby", "2", "m-2"));
    world.turn();
    let reject = world.reply(last).unwrap_err();
    assert_eq!(
        (reject.code, reject.retry_after_ms),
        (RejectCode::Draining, Some(0))
    );
    world.release();
    assert!(matches!(world.reply(last), Ok(Reply::Published(_))));
    world.advance(ms(2));
    assert!(is_closed(&mut world, last));
    assert_eq!(world.engine.room(&room("chat:lobby")).log.len(), 1);
}

#[test]
fn elsewhere_an_engine_that_never_answers_does_not_keep_anyone() {
    let mut world = World::new();
    let ann = world.connect("ann");
    world.engine.held = Some(Default::default());
    world.send(ann, publish_command("chat:lobby", "1", "m-1"));
    world.turn();
    let now = world.now;
    world.shard.drain(ComeBack::Elsewhere, PACING, now);
    world.advance(Limits::default().request_timeout + ms(2));
    assert!(is_closed(&mut world, ann));
}

#[test]
fn here_answers_are_not_waited_for_without_end() {
    let mut world = World::new();
    let ann = world.connect("ann");
    world.engine.held = Some(Default::default());
    world.send(ann, publish_command("chat:lobby", "1", "m-1"));
    world.turn();
    let now = world.now;
    world.shard.drain(HERE, PACING, now);
    world.advance(ms(1_990));
    assert!(!is_closed(&mut world, ann));
    world.advance(ms(20));
    assert!(is_closed(&mut world, ann));
}

#[test]
fn a_share_is_sent_away_evenly_and_the_rest_notices_nothing() {
    let mut world = World::new();
    let clients = connect(&mut world, 20);
    let now = world.now;
    let slots = world.shard.rebalance(20, PACING, now);
    assert_eq!(slots.sessions, 4);
    // What goes already is not picked again: a quarter of the 16 that stay.
    assert_eq!(world.shard.rebalance(25, PACING, now).sessions, 4);
    world.advance(Duration::from_secs(1));
    let gone: Vec<usize> = (0..20).filter(|n| is_closed(&mut world, clients[*n])).collect();
    assert_eq!(gone.len(), 8);
    assert!(gone.windows(2).all(|pair| pair[1] - pair[0] <= 5), "{gone:?}");
    for (n, client) in clients.iter().enumerate() {
        assert_eq!(world.pushes(*client).len(), usize::from(gone.contains(&n)));
    }
    assert!(
        world.shard.handle_open(JSON, world.now).is_some(),
        "others come in"
    );
    assert_eq!(world.shard.counters().leaving, 0);
}

#[test]
fn who_has_a_slot_from_a_rebalance_keeps_it_when_all_are_sent_away() {
    let mut world = World::new();
    let clients = connect(&mut world, 4);
    let now = world.now;
    let slow = Pacing {
        per_second: 1,
        ..PACING
    };
    world.shard.rebalance(50, slow, now);
    world.advance(Duration::ZERO);
    let before: Vec<u64> = [1, 3].map(|n| slot(&mut world, clients[n])).to_vec();
    assert_eq!(before, [0, 1_000]);
    assert!(is_closed(&mut world, clients[1]) && !is_closed(&mut world, clients[3]));
    world.shard.drain(HERE, PACING, now);
    world.advance(Duration::ZERO);
    assert_eq!(world.pushes(clients[3]), [], "no second slot");
    assert!(is_closed(&mut world, clients[3]));
    assert_eq!([0, 2].map(|n| slot(&mut world, clients[n])), [1_000, 1_100]);
}

#[test]
fn thousands_are_told_a_few_at_a_time_and_no_two_slots_are_the_same() {
    let mut world = World::with(Limits::default(), Policy::with_defaults("chat"));
    let clients = connect(&mut world, 1_000);
    let began = world.now;
    let pacing = Pacing {
        per_second: 500,
        ..PACING
    };
    world.shard.drain(ComeBack::Elsewhere, pacing, began);
    world.shard.handle_timeout(world.now);
    let told_at_once = world.shard.counters().slots_told_total;
    assert!((1..=200).contains(&told_at_once), "{told_at_once}");
    world.advance(ms(20));
    assert_eq!(world.shard.counters().slots_told_total, 1_000);
    // Slots of those told later are nearer, in their own count: on the clock all are 2 ms apart.
    let now = world.now;
    let mut closed_at = BTreeSet::new();
    let mut last = (now, 1_000 - world.shard.counters().connections);
    while world.shard.counters().connections > 0 {
        world.advance(ms(2));
        let gone = 1_000 - world.shard.counters().connections;
        assert!(gone - last.1 <= 2, "{} at once", gone - last.1);
        last = (world.now, gone);
        closed_at.insert(world.now);
    }
    assert!(world.now <= began + Duration::from_secs(2) + ms(20) && world.now > Moment(0));
    assert!(closed_at.len() >= 900);
    assert!(clients.into_iter().all(|client| is_closed(&mut world, client)));
}

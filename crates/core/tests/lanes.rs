//! Stories of readers that fall behind, and of those who want less: lanes, keys, rates.

mod world;

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use tidegate_core::{Lane, Limits, Link, Policy};
use tidegate_wire::{
    CloseReason, Codec, Reject, RejectCode, ServerFrame,
    frame::{Command, Connect, Filter, GapReason, Join, Ok as Reply, Publish, Push, Recovery, Wishes},
    parts::WHOLE_BYTES_MAX,
};
use world::{px::*, *};

fn keys(keys: &[&str]) -> Wishes {
    let own = |key: &&str| Bytes::copy_from_slice(key.as_bytes());
    Wishes {
        keys: Some(keys.iter().map(own).collect()),
        max_rate: None,
    }
}

#[test]
fn latest_gives_a_reader_that_was_behind_the_newest_of_each_key_and_the_count() {
    let mut world = world_of(policy(Lane::Latest));
    let (ann, bob, eve) = (world.connect("ann"), world.connect("bob"), world.connect("eve"));
    world.join(bob, "px:a");
    world.join(eve, "px:a");
    world.read_on(bob, 0);
    publish(&mut world, ann, "x", "1");
    for n in 2..=9 {
        publish(
            &mut world,
            ann,
            if n % 2 == 0 { "x" } else { "y" },
            &n.to_string(),
        );
    }
    publish(&mut world, ann, "z", "10");
    // Who is not behind has everything.
    assert_eq!(world.received(eve, "px:a").len(), 10);
    assert_eq!(gaps(&mut world, eve), []);
    assert_eq!(world.received(bob, "px:a"), []);

    world.read_on(bob, usize::MAX);
    // The first was with the outbox already; then the newest of each, in order.
    assert_eq!(texts(&mut world, bob), ["1", "8", "9", "10"]);
    assert_eq!(gaps(&mut world, bob), [(GapReason::Conflated, position(1, 7), 6)]);
    publish(&mut world, ann, "x", "11");
    assert_eq!(texts(&mut world, bob), ["11"]);
    assert_eq!(gaps(&mut world, bob), []);
}

#[test]
fn latest_keeps_the_newest_of_a_key_for_whoever_is_behind_however_far() {
    let mut world = world_of(Policy {
        window_count: 4,
        keys_max: 3,
        ..policy(Lane::Latest)
    });
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    world.join(bob, "px:a");
    world.read_on(bob, 0);
    publish(&mut world, ann, "w", "0");
    for key in ["k1", "k2"] {
        publish(&mut world, ann, key, "1");
    }
    for n in 0..100 {
        publish(&mut world, ann, "x", &n.to_string());
    }
    world.read_on(bob, usize::MAX);
    assert_eq!(texts(&mut world, bob), ["0", "1", "1", "99"]);
    assert_eq!(
        gaps(&mut world, bob),
        [(GapReason::Conflated, position(1, 1), 99)]
    );

    // Beyond `keys_max` the oldest goes, and is counted.
    world.read_on(bob, 0);
    publish(&mut world, ann, "w", "2");
    for n in 0..20 {
        publish(&mut world, ann, &format!("key{n}"), "3");
    }
    world.read_on(bob, usize::MAX);
    let received = world.received(bob, "px:a");
    assert_eq!(received.len(), 1 + 3 + 4);
    let told: u64 = gaps(&mut world, bob).iter().map(|gap| gap.2).sum();
    assert_eq!(received.len() as u64 + told, 21);
}

#[test]
fn lossy_drops_what_is_past_its_deadline_and_says_how_many() {
    let mut world = world_of(Policy {
        deadline: Duration::from_millis(100),
        ..policy(Lane::Lossy)
    });
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    world.join(bob, "px:a");
    world.read_on(bob, 0);
    for n in 1..=5 {
        publish(&mut world, ann, "", &n.to_string());
    }
    world.advance(Duration::from_millis(101));
    for n in 6..=7 {
        publish(&mut world, ann, "", &n.to_string());
    }
    world.read_on(bob, usize::MAX);
    assert_eq!(texts(&mut world, bob), ["1", "6", "7"]);
    assert_eq!(gaps(&mut world, bob), [(GapReason::Dropped, position(1, 5), 4)]);
}

#[test]
fn lossy_gives_a_slow_reader_the_newest_that_fit() {
    let mut world = world_of(Policy {
        deadline: Duration::from_secs(60),
        ..policy(Lane::Lossy)
    });
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    world.join(bob, "px:a");
    world.read_on(bob, 0);
    let long = format!("\"{}\"", "x".repeat(1_000));
    for _ in 0..200 {
        publish(&mut world, ann, "", &long);
    }
    world.read_on(bob, usize::MAX);
    let offsets: Vec<u64> = world.received(bob, "px:a").iter().map(|event| event.0).collect();
    let told = gaps(&mut world, bob);
    assert_eq!((offsets[0], offsets.last()), (1, Some(&200)));
    assert!(offsets.len() < 80 && offsets[1..].windows(2).all(|pair| pair[1] == pair[0] + 1));
    let dropped = 200 - offsets.len() as u64;
    assert_eq!(told, [(GapReason::Dropped, position(1, offsets[1] - 1), dropped)]);
}

#[test]
fn a_reader_that_is_behind_where_little_counts_is_not_behind_where_all_does() {
    let chat = Policy::with_defaults("chat");
    let mut world = World::with_policies(Limits::default(), [policy(Lane::Lossy), chat]);
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    world.join(bob, "px:a");
    world.join(bob, "chat:a");
    world.read_on(bob, 0);
    for n in 0..50 {
        publish(&mut world, ann, "", &n.to_string());
        world.publish(ann, "chat:a", &n.to_string()).unwrap();
    }
    world.advance(Duration::from_secs(1));
    world.read_on(bob, usize::MAX);
    assert_eq!(world.received(bob, "chat:a").len(), 50);
    assert_eq!(world.received(bob, "px:a").len(), 1);
    assert_eq!(gaps(&mut world, bob), [(GapReason::Dropped, position(1, 50), 49)]);
}

#[test]
fn a_filter_chooses_among_keys_and_can_be_changed() {
    for lane in [Lane::Reliable, Lane::Latest, Lane::Lossy] {
        let mut world = world_of(policy(lane));
        let (ann, bob) = (world.connect("ann"), world.connect("bob"));
        publish(&mut world, ann, "a", "0");
        publish(&mut world, ann, "b", "0");
        let join = Join {
            wishes: keys(&["a", "c"]),
            last: Some(10),
            ..plain_join("px:a")
        };
        assert_eq!(world.join_with(bob, join).replayed, 1, "{lane:?}");
        for key in ["a", "b", "c"] {
            publish(&mut world, ann, key, "1");
        }
        assert_eq!(texts(&mut world, bob), ["0", "1", "1"], "{lane:?}");
        let filter = |wishes| {
            Command::Filter(Filter {
                room: room("px:a"),
                wishes,
            })
        };
        world.send(bob, filter(keys(&["b"])));
        world.turn();
        assert_eq!(world.reply(bob), Ok(Reply::Filtered));
        for key in ["a", "b", "c"] {
            publish(&mut world, ann, key, "2");
        }
        assert_eq!(world.received(bob, "px:a").len(), 1);
        world.send(bob, filter(Wishes::default()));
        world.turn();
        assert_eq!(world.reply(bob), Ok(Reply::Filtered));
        for key in ["a", "b", "c"] {
            publish(&mut world, ann, key, "3");
        }
        assert_eq!(world.received(bob, "px:a").len(), 3);
        assert_eq!(gaps(&mut world, bob), [], "what was not wanted is not missing");
        world.send(ann, filter(Wishes::default()));
        world.turn();
        assert_eq!(world.reply(ann).unwrap_err().code, RejectCode::NotJoined);
    }
}

#[test]
fn a_filtered_reader_of_a_reliable_room_misses_nothing_or_is_closed() {
    let mut world = world_of(Policy {
        window_count: 4,
        ..policy(Lane::Reliable)
    });
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    let join = Join {
        wishes: keys(&["a"]),
        ..plain_join("px:a")
    };
    world.join_with(bob, join);
    world.read_on(bob, 0);
    let long = format!("\"{}\"", "x".repeat(10_000));
    for _ in 0..50 {
        publish(&mut world, ann, "a", &long);
        publish(&mut world, ann, "b", &long);
    }
    world.read_on(bob, usize::MAX);
    assert_eq!(world.received(bob, "px:a").len(), 50);
    world.read_on(bob, 0);
    for _ in 0..150 {
        publish(&mut world, ann, "a", &long);
    }
    let place = CloseReason::ALL
        .iter()
        .position(|reason| *reason == CloseReason::TooSlow);
    assert_eq!(world.shard.counters().closes_total[place.unwrap()], 1);
}

#[test]
fn a_rate_lets_batches_come_no_faster() {
    let mut world = world_of(policy(Lane::Latest));
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    let slowly = Wishes {
        keys: None,
        max_rate: Some(10.0),
    };
    let join = Join {
        wishes: slowly.clone(),
        ..plain_join("px:a")
    };
    world.join_with(bob, join);
    let mut batches = 0;
    let mut delivered = 0;
    // A second at 100 a second, over two keys.
    for n in 0..100 {
        publish(
            &mut world,
            ann,
            if n % 2 == 0 { "x" } else { "y" },
            &n.to_string(),
        );
        let received = world.received(bob, "px:a").len();
        batches += usize::from(received > 0);
        delivered += received as u64;
        world.advance(Duration::from_millis(10));
        let received = world.received(bob, "px:a").len();
        batches += usize::from(received > 0);
        delivered += received as u64;
    }
    assert!((10..=11).contains(&batches), "{batches}");
    world.advance(Duration::from_secs(1));
    delivered += world.received(bob, "px:a").len() as u64;
    let told: u64 = gaps(&mut world, bob).iter().map(|gap| gap.2).sum();
    assert_eq!(delivered + told, 100);

    // Where everything is promised, nothing can be left out.
    let mut world = world_of(policy(Lane::Reliable));
    let bob = world.connect("bob");
    let join = Join {
        wishes: slowly,
        ..plain_join("px:a")
    };
    world.send(bob, Command::Join(join));
    world.turn();
    assert_eq!(world.reply(bob).unwrap_err().code, RejectCode::Disabled);
}

#[test]
fn a_room_that_rests_between_walks_gives_each_subscriber_one_write() {
    let mut world = world_of(Policy {
        batch: Duration::from_millis(30),
        ..policy(Lane::Reliable)
    });
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    world.join(bob, "px:a");
    publish(&mut world, ann, "", "1");
    // The first waits for nobody.
    assert_eq!(world.received(bob, "px:a").len(), 1);
    for n in 2..=5 {
        publish(&mut world, ann, "", &n.to_string());
    }
    assert_eq!(world.received(bob, "px:a"), []);
    world.advance(Duration::from_millis(31));
    assert_eq!(texts(&mut world, bob), ["2", "3", "4", "5"]);
    // A room that everyone left, and which is joined again, starts afresh.
    publish(&mut world, ann, "", "6");
    world.cut(bob);
    world.advance(Duration::from_secs(60));
    let eve = world.connect("eve");
    assert_eq!(world.join(eve, "px:a").offset, 6);
    publish(&mut world, ann, "", "7");
    assert_eq!(texts(&mut world, eve), ["7"]);
}

#[test]
fn control_waits_for_no_more_than_a_part_of_a_large_frame() {
    for codec in [Codec::Json, Codec::Binary] {
        let mut world = World::with(
            Limits::default(),
            Policy {
                payload_bytes_max: 256 << 10,
                ..policy(Lane::Reliable)
            },
        );
        let ann = world.connect("ann");
        let link = Link {
            codec,
            deflate: false,
        };
        let bob = world.open(link);
        world.send(bob, Command::Connect(Connect::default()));
        world.turn();
        world.reply(bob).unwrap();
        world.join(bob, "px:a");
        world.read_on(bob, 0);
        let long = format!("\"{}\"", "€".repeat(60_000));
        publish(&mut world, ann, "", &long);
        let conn = world.client(bob).conn;
        let waits = world.shard.outbox_bytes(conn);
        assert!(waits > 180_000, "{waits}");
        // The frame in progress is finished, then the pong goes.
        world.read_on(bob, 10);
        world.turn();
        let id = world.send(bob, Command::Ping { t0_ms: 1.0 });
        world.read_on(bob, WHOLE_BYTES_MAX + 1_000);
        world.turn();
        let frames: Vec<_> = world.client(bob).frames.drain(..).collect();
        assert!(
            matches!(&frames[..], [ServerFrame::Reply { id: of, .. }] if *of == id),
            "{frames:?}"
        );
        world.read_on(bob, usize::MAX);
        assert_eq!(texts(&mut world, bob), [long]);
    }
}

fn publish_in(
    world: &mut World,
    client: ClientId,
    lane: Lane,
    key: &str,
    text: &str,
) -> Result<Reply, Reject> {
    let Command::Publish(publish) = keyed_command("px:a", key, text) else {
        unreachable!("it is one")
    };
    world.send(
        client,
        Command::Publish(Publish {
            lane: Some(lane),
            ..publish
        }),
    );
    world.turn();
    world.reply(client)
}

#[test]
fn an_outbox_smaller_than_a_round_gives_rounds_of_half_of_it() {
    let limits = Limits {
        outbox_bytes_max: 4 << 10,
        ..Limits::default()
    };
    let mut world = World::with(limits, policy(Lane::Latest));
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    world.join(bob, "px:a");
    world.read_on(bob, 0);
    for n in 0..20 {
        publish(&mut world, ann, &n.to_string(), "\"a value of some length\"");
    }
    world.read_on(bob, usize::MAX);
    assert_eq!(texts(&mut world, bob).len(), 20);
}

#[test]
fn what_is_fresh_or_not_at_all_is_left_out_before_a_reader_of_everything_is_too_slow() {
    let limits = Limits {
        outbox_bytes_max: 40_000,
        ..Limits::default()
    };
    let mut world = World::with(
        limits,
        Policy {
            deadline: Duration::from_secs(1),
            ..policy(Lane::Reliable)
        },
    );
    let (ann, bob, eve) = (world.connect("ann"), world.connect("bob"), world.connect("eve"));
    world.join(bob, "px:a");
    world.join(eve, "px:a");
    world.read_on(bob, 0);
    let long = "x".repeat(800);
    let (mut edits, mut cursors) = (0u64, 0u64);
    for n in 0..60 {
        if n % 4 == 0 {
            edits += 1;
            publish(&mut world, ann, "", &format!("\"edit {n} {long}\""));
        } else {
            cursors += 1;
            publish_in(
                &mut world,
                ann,
                Lane::Lossy,
                "",
                &format!("\"cursor {n} {long}\""),
            )
            .unwrap();
        }
    }
    assert_eq!(world.received(eve, "px:a").len(), 60);
    assert_eq!(gaps(&mut world, eve), []);
    world.read_on(bob, usize::MAX);
    assert_eq!(world.client(bob).closed, None);
    let received = world.received(bob, "px:a");
    let of = |what: &str| received.iter().filter(|(_, text)| text.contains(what)).count() as u64;
    assert_eq!(of("edit"), edits, "every one of them");
    assert!(
        (1..cursors / 2).contains(&of("cursor")),
        "{} cursors",
        of("cursor")
    );
    assert!(received.windows(2).all(|pair| pair[0].0 < pair[1].0), "in order");
    let told = gaps(&mut world, bob);
    assert!(told.iter().all(|gap| gap.0 == GapReason::Dropped), "{told:?}");
    assert_eq!(told.iter().map(|gap| gap.2).sum::<u64>(), cursors - of("cursor"));
    assert_eq!(world.shard.counters().dropped_total, cursors - of("cursor"));
}

#[test]
fn a_publication_promises_less_than_its_namespace_and_never_more() {
    let refused = |world: &mut World, client, lane| {
        let reject = publish_in(world, client, lane, "k", "1").unwrap_err();
        (reject.code, reject.detail)
    };
    for (of_room, fits, is_more) in [
        (
            Lane::Reliable,
            [Lane::Reliable, Lane::Lossy],
            [Lane::Latest].as_slice(),
        ),
        (Lane::Latest, [Lane::Latest, Lane::Lossy], &[Lane::Reliable]),
        (
            Lane::Lossy,
            [Lane::Lossy, Lane::Lossy],
            &[Lane::Reliable, Lane::Latest],
        ),
    ] {
        let mut world = world_of(policy(of_room));
        let (ann, bob) = (world.connect("ann"), world.connect("bob"));
        world.join(bob, "px:a");
        for lane in fits {
            publish_in(&mut world, ann, lane, "k", "1").unwrap();
        }
        assert_eq!(world.received(bob, "px:a").len(), 2);
        for lane in is_more {
            let (code, detail) = refused(&mut world, ann, *lane);
            assert_eq!(code, RejectCode::Disabled);
            assert!(
                detail.contains(of_room.name()) && detail.contains(lane.name()),
                "{detail}"
            );
        }
    }
}

#[test]
fn in_latest_what_is_lossy_replaces_nothing_and_is_told_apart() {
    let mut world = world_of(Policy {
        deadline: Duration::from_millis(100),
        ..policy(Lane::Latest)
    });
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    world.join(bob, "px:a");
    world.read_on(bob, 0);
    publish(&mut world, ann, "k", "1");
    publish(&mut world, ann, "k", "2");
    publish(&mut world, ann, "k", "3");
    publish_in(&mut world, ann, Lane::Lossy, "k", "4").unwrap();
    world.advance(Duration::from_millis(101));
    publish_in(&mut world, ann, Lane::Lossy, "k", "5").unwrap();
    world.read_on(bob, usize::MAX);
    assert_eq!(texts(&mut world, bob), ["1", "3", "5"]);
    let told: Vec<_> = gaps(&mut world, bob).iter().map(|gap| (gap.0, gap.2)).collect();
    assert_eq!(told, [(GapReason::Conflated, 1), (GapReason::Dropped, 1)]);
}

#[test]
fn who_was_far_behind_is_told_all_members_anew() {
    let mut world = world_of(Policy {
        window_count: 4,
        ..policy(Lane::Latest)
    });
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    let watching = Join {
        members: true,
        ..plain_join("px:a")
    };
    world.join_with(bob, watching);
    world.read_on(bob, 0);
    publish(&mut world, ann, "x", "0");
    let entering = Join {
        enter: true,
        ..plain_join("px:a")
    };
    world.join_with(ann, entering);
    world.advance(Duration::from_secs(1));
    for n in 1..=20 {
        publish(&mut world, ann, "x", &n.to_string());
    }
    world.read_on(bob, usize::MAX);
    let told = world.pushes(bob).into_iter().find_map(|push| match push {
        Push::Members(change) => Some(change),
        _ => None,
    });
    let told = told.expect("the members");
    assert_eq!((told.count, told.sample.map(|sample| sample.len())), (1, Some(1)));
}

#[test]
fn who_returns_is_given_the_newest_of_each_key() {
    let mut world = world_of(policy(Lane::Latest));
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    let before = world.join(bob, "px:a");
    world.cut(bob);
    for n in 1..=20 {
        publish(
            &mut world,
            ann,
            if n % 2 == 0 { "x" } else { "y" },
            &n.to_string(),
        );
    }
    let bob = world.connect("bob");
    let join = Join {
        since: Some(tidegate_wire::Position {
            epoch: before.epoch,
            offset: before.offset,
        }),
        ..plain_join("px:a")
    };
    let joined = world.join_with(bob, join);
    assert_eq!((joined.recovery, joined.replayed), (Recovery::Replay, 2));
    assert_eq!(texts(&mut world, bob), ["19", "20"]);
}

#[derive(Debug, Clone)]
enum Step {
    Publish { key: usize },
    Read { client: usize, bytes: usize },
    Wait { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..5usize).prop_map(|key| Step::Publish { key }),
        3 => (0..3usize, 0..2_000usize).prop_map(|(client, bytes)| Step::Read { client, bytes }),
        2 => (0..60u64).prop_map(|ms| Step::Wait { ms }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    /// In = delivered + left out and told, for every reader, however it reads; in order; and at the end everyone has the
    /// newest of each key.
    #[test]
    fn what_is_published_is_delivered_or_told_to_be_missing(
        lane in prop_oneof![Just(Lane::Latest), Just(Lane::Lossy)],
        window_count in 2..20u32,
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut world = world_of(Policy {
            window_count,
            deadline: Duration::from_millis(50),
            ..policy(lane)
        });
        let ann = world.connect("ann");
        let readers = [world.connect("bob"), world.connect("eve"), world.connect("zoe")];
        for reader in readers {
            world.join(reader, "px:a");
        }
        let mut newest = std::collections::BTreeMap::new();
        let mut published = 0u64;
        let mut seen: [Vec<(u64, String)>; 3] = Default::default();
        let mut told = [0u64; 3];
        let finish = [0, 1, 2].map(|client| Step::Read { client, bytes: usize::MAX });
        for step in steps.into_iter().chain(finish) {
            match step {
                Step::Publish { key } => {
                    published += 1;
                    newest.insert(key, published);
                    publish(&mut world, ann, &key.to_string(), &published.to_string());
                }
                Step::Read { client, bytes } => world.read_on(readers[client], bytes),
                Step::Wait { ms } => world.advance(Duration::from_millis(ms)),
            }
            for (n, reader) in readers.into_iter().enumerate() {
                seen[n].extend(world.received(reader, "px:a"));
                told[n] += gaps(&mut world, reader).iter().map(|gap| gap.2).sum::<u64>();
            }
        }
        for n in 0..3 {
            prop_assert_eq!(seen[n].len() as u64 + told[n], published, "reader {}", n);
            prop_assert!(seen[n].windows(2).all(|pair| pair[0].0 < pair[1].0));
            if lane == Lane::Latest {
                for offset in newest.values() {
                    prop_assert!(seen[n].iter().any(|event| event.0 == *offset), "reader {} lacks {}", n, offset);
                }
            }
        }
    }
}

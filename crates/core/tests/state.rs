//! Stories of those who join a room with its state: what they are given, and when it is not the one of a moment ago.

mod world;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use proptest::prelude::*;
use tidegate_core::{Lane, Limits, Policy, policy::StatePolicy};
use tidegate_wire::{
    Payload, Position, Reject, RejectCode, ServerFrame,
    frame::{Command, GapReason, Join, Joined, Ok as Reply, Push, Recovery, Wishes},
};
use world::{
    px::{publish as set, world_of},
    *,
};

fn policy() -> Policy {
    Policy {
        lane: Lane::Latest,
        state: Some(StatePolicy {
            bytes: 16 << 20,
            age: None,
        }),
        ..Policy::with_defaults("px")
    }
}

fn with_state() -> Join {
    Join {
        state: true,
        ..plain_join("px:a")
    }
}

fn delete_command(key: &str) -> Command {
    match keyed_command("px:a", key, "0") {
        Command::Publish(mut publish) => {
            publish.data = Payload::Delete;
            Command::Publish(publish)
        }
        other => other,
    }
}

fn delete(world: &mut World, client: ClientId, key: &str) {
    world.send(client, delete_command(key));
    world.turn();
    assert!(matches!(world.reply(client), Ok(Reply::Published(_))));
}

/// A client's map: what every frame so far makes of it. Panics where a promise is broken.
#[derive(Default, Debug)]
struct Map {
    values: BTreeMap<String, (u64, String)>,
    offset: u64,
    /// The state's events that have come, and those that a gap told to be left out.
    state: u32,
    replaced: u32,
    promised: Option<u32>,
    gaps: Vec<(GapReason, u64)>,
}

impl Map {
    fn take(&mut self, world: &mut World, client: ClientId) {
        for frame in std::mem::take(&mut world.client(client).frames) {
            match frame {
                ServerFrame::Push(Push::Event { publication, .. }) => {
                    assert!(
                        publication.offset > self.offset,
                        "{publication:?} after {}",
                        self.offset
                    );
                    self.offset = publication.offset;
                    let key = String::from_utf8(publication.key.to_vec()).unwrap();
                    if self.is_whole() {
                        match publication.data.is_delete() {
                            true => _ = self.values.remove(&key),
                            false => {
                                _ = self
                                    .values
                                    .insert(key, (publication.offset, text(&publication.data)))
                            }
                        }
                    } else {
                        self.state += 1;
                        let before = self
                            .values
                            .insert(key, (publication.offset, text(&publication.data)));
                        assert_eq!(before, None, "a key comes once in a state");
                        assert!(!publication.data.is_delete());
                    }
                }
                ServerFrame::Push(Push::Gap {
                    reason,
                    count,
                    position,
                    ..
                }) => {
                    if reason == GapReason::Conflated && !self.is_whole() {
                        self.replaced = count as u32;
                        assert!(self.is_whole(), "{self:?}");
                        self.offset = position.offset;
                    } else {
                        self.gaps.push((reason, count));
                    }
                }
                ServerFrame::Reply {
                    result: Ok(Reply::Joined(joined)),
                    ..
                } => {
                    if joined.state.is_some() {
                        *self = Self {
                            gaps: std::mem::take(&mut self.gaps),
                            ..Self::default()
                        };
                        self.promised = joined.state;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn is_whole(&self) -> bool {
        self.state + self.replaced == self.promised.unwrap_or(0)
    }

    fn values(&self) -> Vec<(&str, &str)> {
        self.values
            .iter()
            .map(|(key, (_, text))| (&key[..], &text[..]))
            .collect()
    }
}

fn text(data: &Payload) -> String {
    String::from_utf8(data.as_bytes().to_vec()).unwrap()
}

fn join(world: &mut World, client: ClientId) -> Joined {
    world.join_with(client, with_state())
}

fn events(world: &mut World, client: ClientId) -> Vec<(u64, String)> {
    world.received(client, "px:a")
}

#[test]
fn a_joiner_gets_the_newest_of_each_key_then_what_follows() {
    let mut world = world_of(policy());
    world.engine.window = 2;
    let (ann, bob, eve) = (world.connect("ann"), world.connect("bob"), world.connect("eve"));
    for n in 1..=9 {
        set(&mut world, ann, ["a", "b", "c", "d", "e"][n % 5], &n.to_string());
    }
    delete(&mut world, ann, "c");
    world.send(ann, keyed_command("px:a", "", "\"no key\""));
    world.turn();
    world.reply(ann).unwrap();

    let joined = join(&mut world, bob);
    assert_eq!((joined.offset, joined.state, joined.replayed), (11, Some(4), 0));
    assert_eq!(joined.recovery, Recovery::None);
    let expected: Vec<(u64, String)> = [5, 6, 8, 9].map(|n| (n, n.to_string())).into();
    assert_eq!(events(&mut world, bob), expected);

    // From now on it is here: nothing more is read.
    world.engine.held = Some(VecDeque::new());
    assert_eq!(join(&mut world, eve).state, Some(4));
    assert_eq!(events(&mut world, eve), expected);
    assert_eq!(world.engine.held.take().unwrap().len(), 0);

    set(&mut world, ann, "a", "12");
    for client in [bob, eve] {
        assert_eq!(events(&mut world, client), [(12, "12".to_owned())]);
    }
    assert_eq!(world.shard.counters().state_sent_total, 8);
}

#[test]
fn a_delete_is_an_event_for_all_and_its_key_is_gone_for_those_who_come() {
    let mut world = world_of(policy());
    let (ann, bob, eve) = (world.connect("ann"), world.connect("bob"), world.connect("eve"));
    set(&mut world, ann, "a", "1");
    set(&mut world, ann, "b", "2");
    join(&mut world, bob);
    delete(&mut world, ann, "a");
    let mut map = Map::default();
    join_map(&mut world, eve, &mut map);
    assert_eq!(map.values(), [("b", "2")]);
    let last = world.client(bob).frames.pop_back().unwrap();
    match last {
        ServerFrame::Push(Push::Event { publication, .. }) => {
            assert_eq!((publication.offset, &publication.key[..]), (3, &b"a"[..]));
            assert_eq!(publication.data, Payload::Delete);
        }
        other => panic!("{other:?}"),
    }
    // One that is not there may be deleted as well.
    delete(&mut world, ann, "nobody");
    map.take(&mut world, eve);
    assert_eq!(map.values(), [("b", "2")]);
}

fn join_map(world: &mut World, client: ClientId, map: &mut Map) {
    world.send(client, Command::Join(with_state()));
    world.turn();
    map.take(world, client);
}

/// What is published while the state is read is in it, or follows; what is deleted does not come back.
#[test]
fn nothing_falls_between_the_pages_of_the_engine_and_what_is_published_meanwhile() {
    let mut world = world_of(policy());
    world.engine.window = 0;
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    for n in 0..8 {
        set(&mut world, ann, &format!("k{n}"), &n.to_string());
    }
    // Attached, but its first page has not been asked for.
    world.engine.held = Some(VecDeque::new());
    world.send(bob, Command::Join(with_state()));
    world.turn();
    world.release_some();
    // One page after the other, and after each something happens, before the next is read.
    for step in 0..3 {
        assert_eq!(world.engine.held.as_ref().map(VecDeque::len), Some(1));
        world.release_some();
        let next = world.engine.held.take();
        let publishes = match step {
            0 => vec![keyed_command("px:a", "k1", "\"new\""), delete_command("k0")],
            1 => vec![delete_command("k7"), keyed_command("px:a", "k9", "\"first\"")],
            _ => vec![keyed_command("px:a", "k9", "\"second\"")],
        };
        for publish in publishes {
            world.send(ann, publish);
        }
        world.turn();
        world.engine.held = next;
    }
    world.release();
    let mut map = Map::default();
    map.take(&mut world, bob);
    let values = map.values();
    let expected = [
        ("k1", "\"new\""),
        ("k2", "2"),
        ("k3", "3"),
        ("k4", "4"),
        ("k5", "5"),
        ("k6", "6"),
        ("k9", "\"second\""),
    ];
    assert_eq!(values, expected);
}

#[test]
fn a_large_state_waits_for_its_reader_and_what_is_replaced_meanwhile_is_left_out_and_told() {
    let bound = 256 << 10;
    let limits = Limits {
        outbox_bytes_max: bound,
        ..Limits::default()
    };
    let mut world = World::with(limits, policy());
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    let value = |n: usize| format!("\"{n}{}\"", "x".repeat(1_000));
    let keys = 1_500;
    for n in 0..keys {
        set(&mut world, ann, &format!("k{n}"), &value(n));
    }
    world.read_on(bob, 100_000);
    let mut map = Map::default();
    join_map(&mut world, bob, &mut map);
    assert_eq!(map.promised, Some(keys as u32));
    let conn = world.client(bob).conn;
    for n in 0..1_000 {
        set(&mut world, ann, &format!("k{}", n * 7 % keys), &value(n));
        if n % 20 == 0 {
            world.read_on(bob, 5_000);
            map.take(&mut world, bob);
        }
        assert!(
            world.shard.outbox_bytes(conn) < bound / 2,
            "it takes no more than a slice"
        );
    }
    assert!(!map.is_whole(), "it is still on its way: {} keys", map.state);
    world.read_on(bob, usize::MAX);
    map.take(&mut world, bob);
    assert!(map.is_whole() && map.replaced > 0);
    assert_eq!(world.client(bob).closed, None);
    let head = world.engine.room(&room("px:a")).head().offset;
    let state = world.engine.room(&room("px:a")).state(&all());
    assert_eq!(state.publications.len(), 3, "a page");
    assert_eq!(map.offset, head);
    let mut expected = BTreeMap::new();
    for publication in &world.engine.room(&room("px:a")).log {
        let key = String::from_utf8(publication.key.to_vec()).unwrap();
        expected.insert(key, (publication.offset, text(&publication.data)));
    }
    assert!(map.values == expected);
}

fn all() -> tidegate_core::request::StateQuery {
    tidegate_core::request::StateQuery {
        after: 0,
        limit: u32::MAX,
        bytes_max: usize::MAX,
    }
}

#[test]
fn who_wants_some_keys_gets_the_state_of_those() {
    let mut world = world_of(policy());
    let (ann, bob, eve) = (world.connect("ann"), world.connect("bob"), world.connect("eve"));
    for n in 0..9 {
        set(&mut world, ann, &format!("k{n}"), &n.to_string());
    }
    let keys = |keys: &[&str]| Wishes {
        keys: Some(
            keys.iter()
                .map(|key| Bytes::copy_from_slice(key.as_bytes()))
                .collect(),
        ),
        max_rate: Some(0.1),
    };
    let wishing = |wishes: Wishes| Join {
        wishes,
        ..with_state()
    };
    let joined = world.join_with(bob, wishing(keys(&["k7", "k2", "k2", "none"])));
    assert_eq!(joined.state, Some(2));
    assert_eq!(
        events(&mut world, bob),
        [(3, "2".to_owned()), (8, "7".to_owned())]
    );
    let joined = world.join_with(eve, wishing(keys(&["none"])));
    assert_eq!(joined.state, Some(0));
    assert_eq!(events(&mut world, eve), []);
}

#[test]
fn who_comes_back_is_replayed_what_it_missed_or_given_the_state() {
    let mut world = world_of(Policy {
        replay_max: 5,
        ..policy()
    });
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    for n in 1..=4 {
        set(&mut world, ann, ["a", "b"][n % 2], &n.to_string());
    }
    let epoch = world.engine.room(&room("px:a")).epoch;
    let since = |epoch, offset| Join {
        since: Some(Position { epoch, offset }),
        ..with_state()
    };
    let joined = world.join_with(bob, since(epoch, 3));
    assert_eq!(
        (joined.recovery, joined.state, joined.replayed),
        (Recovery::Replay, None, 1)
    );
    assert_eq!(events(&mut world, bob), [(4, "4".to_owned())]);
    leave(&mut world, bob);
    let joined = world.join_with(bob, since(epoch, 4));
    assert_eq!((joined.recovery, joined.state), (Recovery::None, None));
    leave(&mut world, bob);

    for n in 5..=10 {
        set(&mut world, ann, ["a", "b"][n % 2], &n.to_string());
    }
    let state = [(9, "9".to_owned()), (10, "10".to_owned())];
    let joined = world.join_with(bob, since(epoch, 4));
    assert_eq!(
        (joined.recovery, joined.state),
        (Recovery::Gap(GapReason::TooFar), Some(2))
    );
    assert_eq!(events(&mut world, bob), state);
    leave(&mut world, bob);
    let joined = world.join_with(bob, since(tidegate_wire::Epoch(77), 9));
    assert_eq!(
        (joined.recovery, joined.state),
        (Recovery::Gap(GapReason::Epoch), Some(2))
    );
    assert_eq!(events(&mut world, bob), state);
}

fn leave(world: &mut World, client: ClientId) {
    world.send(client, Command::Leave { room: room("px:a") });
    world.turn();
    world.reply(client).unwrap();
}

#[test]
fn a_key_that_nobody_publishes_to_ages_out_of_the_state() {
    let mut policy = policy();
    policy.state.as_mut().unwrap().age = Some(Duration::from_secs(10));
    let mut world = world_of(policy);
    let (ann, bob, eve) = (world.connect("ann"), world.connect("bob"), world.connect("eve"));
    set(&mut world, ann, "a", "1");
    join(&mut world, bob);
    world.advance(Duration::from_secs(8));
    set(&mut world, ann, "b", "2");
    world.advance(Duration::from_secs(3));
    assert_eq!(join(&mut world, eve).state, Some(1));
    assert_eq!(events(&mut world, eve), [(2, "2".to_owned())]);
}

#[test]
fn beyond_the_bounds_the_oldest_keys_go() {
    let mut world = world_of(Policy {
        keys_max: 3,
        ..policy()
    });
    let (ann, bob, eve) = (world.connect("ann"), world.connect("bob"), world.connect("eve"));
    for n in 1..=3 {
        set(&mut world, ann, &format!("k{n}"), &n.to_string());
    }
    join(&mut world, bob);
    set(&mut world, ann, "k1", "4");
    set(&mut world, ann, "k4", "5");
    assert_eq!(join(&mut world, eve).state, Some(3));
    let state: Vec<u64> = events(&mut world, eve)
        .iter()
        .map(|(offset, _)| *offset)
        .collect();
    assert_eq!(state, [3, 4, 5]);
}

#[test]
fn a_namespace_without_state_gives_none_and_takes_no_delete() {
    let mut world = world_of(Policy {
        state: None,
        ..policy()
    });
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    for command in [Command::Join(with_state()), delete_command("a")] {
        world.send(bob, command);
        world.turn();
        assert_eq!(world.reply(bob).unwrap_err().code, RejectCode::Disabled);
    }
    let mut world = world_of(policy());
    let _ = ann;
    let bob = world.connect("bob");
    world.send_text(bob, r#"{"id":90,"publish":{"room":"px:a","delete":true}}"#);
    world.send_text(
        bob,
        r#"{"id":91,"publish":{"room":"px:a","delete":true,"key":"a","data":1}}"#,
    );
    world.turn();
    for _ in 0..2 {
        assert_eq!(world.reply(bob).unwrap_err().code, RejectCode::Malformed);
    }
}

#[test]
fn an_engine_that_cannot_read_the_state_refuses_the_join_and_the_next_is_asked_anew() {
    let mut world = world_of(policy());
    let (ann, bob, eve) = (world.connect("ann"), world.connect("bob"), world.connect("eve"));
    set(&mut world, ann, "a", "1");
    world.join(ann, "px:a");
    world.engine.refuse = Some(Reject::retry(RejectCode::Unavailable, 100, "no"));
    world.send(bob, Command::Join(with_state()));
    world.turn();
    assert_eq!(world.reply(bob).unwrap_err().code, RejectCode::Unavailable);
    world.engine.refuse = None;
    assert_eq!(join(&mut world, bob).state, Some(1));

    // No answer at all.
    leave(&mut world, ann);
    leave(&mut world, bob);
    world.advance(Duration::from_secs(60));
    world.engine.held = Some(VecDeque::new());
    world.send(eve, Command::Join(with_state()));
    world.turn();
    world.release_some();
    world.advance(Duration::from_secs(6));
    assert_eq!(world.reply(eve).unwrap_err().code, RejectCode::Timeout);
    world.release();
    assert_eq!(join(&mut world, eve).state, Some(1));
}

#[test]
fn a_history_that_breaks_off_ends_the_state_under_way_with_a_gap() {
    let limits = Limits {
        outbox_bytes_max: 64 << 10,
        ..Limits::default()
    };
    let mut world = World::with(limits, policy());
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    for n in 0..200 {
        set(
            &mut world,
            ann,
            &format!("k{n}"),
            &format!("\"{}\"", "x".repeat(1_000)),
        );
    }
    world.read_on(bob, 1_000);
    world.send(bob, Command::Join(with_state()));
    world.turn();
    // The engine comes back with another history.
    let name = room("px:a");
    world.engine.rooms.remove(&name);
    world
        .shard
        .handle_event(tidegate_core::request::Event::Broken { room: name }, world.now);
    world.turn();
    world.read_on(bob, usize::MAX);
    assert!(matches!(
        world.reply(bob),
        Ok(Reply::Joined(Joined { state: Some(200), .. }))
    ));
    let gaps: Vec<_> = world.pushes(bob);
    assert!(
        matches!(
            gaps[..],
            [Push::Gap {
                reason: GapReason::Epoch,
                ..
            }]
        ),
        "{gaps:?}"
    );
    let got = events(&mut world, bob).len();
    assert!(got < 200, "{got}");
    assert_eq!(world.client(bob).closed, None);
    leave(&mut world, bob);
    set(&mut world, ann, "k1", "1");
    assert_eq!(join(&mut world, bob).state, Some(1));
}

#[test]
fn memory_that_is_short_gives_up_a_state_that_nobody_is_being_given() {
    let limits = Limits {
        windows_bytes_max: 1_000,
        ..Limits::default()
    };
    let mut world = World::with(limits, policy());
    let (ann, bob, eve) = (world.connect("ann"), world.connect("bob"), world.connect("eve"));
    for n in 0..50 {
        set(
            &mut world,
            ann,
            &format!("k{n}"),
            &format!("\"{}\"", "x".repeat(100)),
        );
    }
    for client in [bob, eve] {
        assert_eq!(join(&mut world, client).state, Some(50));
        assert_eq!(events(&mut world, client).len(), 50);
        let before = world.shard.waiting().feeds_bytes;
        set(&mut world, ann, "k0", "1");
        assert!(world.shard.waiting().feeds_bytes < before);
    }
    for client in [bob, eve] {
        leave(&mut world, client);
    }
    world.advance(Duration::from_secs(60));
    assert_eq!(world.shard.waiting().feeds_bytes, 0);
}

#[derive(Debug, Clone)]
enum Step {
    Publish {
        key: u8,
        size: usize,
    },
    Delete {
        key: u8,
    },
    Join(usize),
    Leave(usize),
    Cut(usize),
    Read(usize, usize),
    /// The engine holds what it is asked, until the next of these.
    Hold,
    Break,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0..12u8, 1..3_000usize).prop_map(|(key, size)| Step::Publish { key, size }),
        2 => (0..12u8).prop_map(|key| Step::Delete { key }),
        3 => (0..3usize).prop_map(Step::Join),
        1 => (0..3usize).prop_map(Step::Leave),
        1 => (0..3usize).prop_map(Step::Cut),
        4 => (0..3usize, 1..9_000usize).prop_map(|(who, bytes)| Step::Read(who, bytes)),
        2 => Just(Step::Hold),
        1 => Just(Step::Break),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]
    /// Readers of any pace, a room of any size, joins and leaves at any time: in the end every map is the room's.
    #[test]
    fn every_joiners_map_becomes_the_rooms_state(steps in prop::collection::vec(step(), 1..120)) {
        let limits = Limits { outbox_bytes_max: 24 << 10, ..Limits::default() };
        let mut world = World::with(limits, policy());
        world.engine.window = 3;
        let ann = world.connect("ann");
        let mut clients = [0, 1, 2].map(|n| (world.connect(&format!("c{n}")), Map::default(), false));
        for step in steps {
            match step {
                Step::Publish { key, size } => {
                    let text = format!("\"{}\"", "x".repeat(size));
                    world.send(ann, keyed_command("px:a", &format!("k{key}"), &text));
                }
                Step::Delete { key } => _ = world.send(ann, delete_command(&format!("k{key}"))),
                Step::Join(n) if !clients[n].2 => {
                    clients[n].2 = true;
                    clients[n].1 = Map::default();
                    world.send(clients[n].0, Command::Join(with_state()));
                }
                Step::Leave(n) if clients[n].2 => {
                    if world.engine.held.is_some() {
                        world.release();
                    }
                    world.read_on(clients[n].0, usize::MAX);
                    world.send(clients[n].0, Command::Leave { room: room("px:a") });
                    world.turn();
                    world.client(clients[n].0).frames.clear();
                    clients[n].2 = false;
                }
                Step::Cut(n) => {
                    world.cut(clients[n].0);
                    clients[n] = (world.connect(&format!("c{n}")), Map::default(), false);
                }
                Step::Read(n, bytes) => world.read_on(clients[n].0, bytes),
                Step::Hold => match world.engine.held.is_some() {
                    true => world.release(),
                    false => world.engine.held = Some(VecDeque::new()),
                },
                // What broke off may be whole again: the window has what was published since.
                Step::Break if world.engine.held.is_none() => {
                    world.turn();
                    let event = tidegate_core::request::Event::Broken { room: room("px:a") };
                    world.shard.handle_event(event, world.now);
                }
                Step::Join(_) | Step::Leave(_) | Step::Break => {}
            }
            world.turn();
            world.client(ann).frames.clear();
        }
        world.release();
        let mut expected = BTreeMap::new();
        for publication in &world.engine.room(&room("px:a")).log {
            let key = String::from_utf8(publication.key.to_vec()).unwrap();
            match publication.data.is_delete() {
                true => _ = expected.remove(&key),
                false => _ = expected.insert(key, (publication.offset, text(&publication.data))),
            }
        }
        for (client, mut map, is_joined) in clients {
            world.read_on(client, usize::MAX);
            prop_assert_eq!(world.client(client).closed, None);
            if is_joined {
                map.take(&mut world, client);
                prop_assert!(map.is_whole(), "{:?}", map.promised);
                prop_assert_eq!(&map.values, &expected);
            }
        }
    }
}

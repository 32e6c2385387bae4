//! A room's state against a list too simple to be wrong: random publishes, deletes, pauses, restarts and
//! reads by pages, on both stores, with and without a history beside it.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use tidegate_core::{
    Lane, Moment, Policies, Policy,
    policy::{Retention, StatePolicy},
    request::{Event, HistoryQuery, NewPublication, Request, StatePage, StateQuery, Ticket},
};
use tidegate_engine::{
    EngineConfig, LogConfig,
    rooms::{Group, Rooms},
    store::Store,
};
use tidegate_wire::{Payload, RejectCode, RoomName};

const KEYS_MAX: usize = 5;
const BYTES: usize = 200;
const AGE_US: u64 = 60;

#[derive(Debug, Clone)]
enum Step {
    Publish {
        key: u8,
        size: usize,
    },
    Delete {
        key: u8,
    },
    Read {
        limit: u32,
        bytes_max: usize,
    },
    Wait(u64),
    /// Time enough for every sweep.
    Sweep,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        // Key 0 is none.
        12 => (0..8u8, 1..60usize).prop_map(|(key, size)| Step::Publish { key, size }),
        3 => (1..8u8).prop_map(|key| Step::Delete { key }),
        6 => (1..9u32, 1..200usize).prop_map(|(limit, bytes_max)| Step::Read { limit, bytes_max }),
        3 => (1..40u64).prop_map(Step::Wait),
        1 => Just(Step::Sweep),
        1 => Just(Step::Restart),
    ]
}

#[derive(Default)]
struct Twin {
    head: u64,
    /// Key, offset, weight, time: oldest first.
    kept: Vec<(u8, u64, usize, u64)>,
}

impl Twin {
    fn change(&mut self, key: u8, size: Option<usize>, now_us: u64) {
        self.head += 1;
        if key != 0 {
            self.kept.retain(|k| k.0 != key);
            self.kept.retain(|k| k.3 >= now_us - AGE_US);
            if let Some(size) = size {
                self.kept.push((key, self.head, size + "ann".len() + 1, now_us));
            }
            while self.kept.len() > 1
                && (self.kept.len() > KEYS_MAX || self.kept.iter().map(|k| k.2).sum::<usize>() > BYTES)
            {
                self.kept.remove(0);
            }
        }
    }

    fn read(&self, now_us: u64) -> Vec<(u8, u64)> {
        let young = self.kept.iter().filter(|k| k.3 >= now_us - AGE_US);
        young.map(|k| (k.0, k.1)).collect()
    }
}

fn policy(history: u32) -> Policy {
    let plain = Policy::with_defaults("px");
    Policy {
        lane: Lane::Latest,
        keys_max: KEYS_MAX as u32,
        state: Some(StatePolicy {
            bytes: BYTES as u64,
            age: Some(Duration::from_micros(AGE_US)),
        }),
        history: Retention {
            count: history,
            bytes: 1_000,
            age: Duration::from_micros(AGE_US / 2),
        },
        dedup_age: Duration::from_micros(1),
        ..plain
    }
}

struct World {
    config: EngineConfig,
    policy: Policy,
    store: Option<Store>,
    rooms: Rooms,
    room: RoomName,
    now_us: u64,
}

impl World {
    fn new(config: EngineConfig, policy: Policy) -> Self {
        Self {
            store: Some(Store::open(&config).unwrap()),
            rooms: Rooms::new(Policies::new([policy.clone()])),
            room: RoomName::parse("px:eu").unwrap(),
            config,
            policy,
            now_us: 1_000_000,
        }
    }

    /// One request as one group, then all the trimming there is.
    fn ask(&mut self, request: Request) -> Event {
        let (now, store) = (Moment(self.now_us * 1_000), self.store.as_mut().unwrap());
        let mut group = Group::default();
        self.rooms
            .handle(0, request, now, self.now_us, store, &mut group)
            .unwrap();
        store.commit().unwrap();
        let mut events = group.take_events();
        self.rooms.read(now, self.now_us, store, &mut group);
        events.append(&mut group.synced_events);
        while self.rooms.wants_trim() {
            self.rooms.trim(self.now_us, store).unwrap();
            store.commit().unwrap();
        }
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0).1
    }

    fn publish(&mut self, key: u8, data: Payload) -> u64 {
        let publish = Box::new(NewPublication {
            room: self.room.clone(),
            lane: None,
            data,
            from: "ann".into(),
            msg: Bytes::new(),
            key: name(key),
            sent_us: 0,
            received_us: 0,
            source: tidegate_core::request::Source::Backend,
        });
        let ticket = Ticket(1);
        match self.ask(Request::Publish { ticket, publish }) {
            Event::Published { result, .. } => result.unwrap().position.offset,
            other => panic!("a publish is answered as one, not {other:?}"),
        }
    }

    fn page(&mut self, query: StateQuery) -> StatePage {
        let (ticket, room) = (Ticket(1), self.room.clone());
        match self.ask(Request::State { ticket, room, query }) {
            Event::State { result, .. } => result.unwrap(),
            other => panic!("a read is answered as one, not {other:?}"),
        }
    }

    /// All of it, page after page.
    fn state(&mut self, limit: u32, bytes_max: usize) -> Vec<(u8, u64)> {
        let (mut found, mut after) = (Vec::new(), 0);
        loop {
            let page = self.page(StateQuery {
                after,
                limit,
                bytes_max,
            });
            assert!(page.publications.len() <= limit as usize);
            let bytes: usize = page.publications.iter().map(|p| p.weight()).sum();
            assert!(bytes <= bytes_max || page.publications.len() == 1);
            for publication in page.publications {
                assert!(publication.offset > after && !publication.data.is_delete());
                after = publication.offset;
                found.push((publication.key[0], publication.offset));
            }
            if !page.more {
                return found;
            }
        }
    }

    fn sweep(&mut self) {
        let store = self.store.as_mut().unwrap();
        // One sweep looks at one place of a table of some.
        for _ in 0..16 {
            self.now_us += 100_000_000;
            let now = Moment(self.now_us * 1_000);
            self.rooms.sweep(now, self.now_us, store).unwrap();
            while self.rooms.wants_trim() {
                self.rooms.trim(self.now_us, store).unwrap();
            }
            store.commit().unwrap();
        }
    }

    fn restart(&mut self) {
        // What is in memory alone would be gone.
        if self.config != EngineConfig::Memory {
            self.store.take().unwrap().close().unwrap();
            self.store = Some(Store::open(&self.config).unwrap());
            self.rooms = Rooms::new(Policies::new([self.policy.clone()]));
        }
    }
}

fn name(key: u8) -> Bytes {
    match key {
        0 => Bytes::new(),
        key => vec![key].into(),
    }
}

fn bytes(size: usize) -> Payload {
    Payload::Bytes(vec![7; size].into())
}

fn check(config: EngineConfig, history: u32, steps: Vec<Step>) {
    let mut world = World::new(config, policy(history));
    let mut twin = Twin::default();
    for step in steps {
        match step {
            Step::Wait(us) => world.now_us += us,
            Step::Restart => world.restart(),
            Step::Sweep => {
                world.sweep();
                // Everything is too old by now, the room itself included, and begins anew.
                assert_eq!(world.state(9, 999), []);
                assert_eq!(world.rooms.load().state_keys, 0);
                twin = Twin {
                    head: world.page(ALL).head.offset,
                    kept: Vec::new(),
                };
            }
            Step::Publish { key, size } => {
                twin.change(key, Some(size), world.now_us);
                assert_eq!(world.publish(key, bytes(size)), twin.head);
            }
            Step::Delete { key } => {
                twin.change(key, None, world.now_us);
                assert_eq!(world.publish(key, Payload::Delete), twin.head);
            }
            Step::Read { limit, bytes_max } => {
                assert_eq!(world.state(limit, bytes_max), twin.read(world.now_us));
                assert_eq!(world.page(ALL).head.offset, twin.head);
            }
        }
    }
    assert_eq!(world.state(3, 999), twin.read(world.now_us));
    let load = world.rooms.load();
    let weight: usize = twin.kept.iter().map(|k| k.2).sum();
    assert_eq!(
        (load.state_keys, load.state_bytes),
        (twin.kept.len(), weight as u64)
    );
}

const ALL: StateQuery = StateQuery {
    after: 0,
    limit: u32::MAX,
    bytes_max: usize::MAX,
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_memory_store_agrees_with_the_twin(
        history in prop_oneof![Just(0), Just(3)],
        steps in prop::collection::vec(step(), 1..150),
    ) {
        check(EngineConfig::Memory, history, steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_log_store_agrees_with_the_twin(
        history in prop_oneof![Just(0), Just(3)],
        steps in prop::collection::vec(step(), 60..120),
    ) {
        let dir = tempfile::tempdir().unwrap();
        check(EngineConfig::Log(LogConfig { dir: dir.path().join("data") }), history, steps);
    }
}

fn on_disk(dir: &tempfile::TempDir) -> EngineConfig {
    EngineConfig::Log(LogConfig {
        dir: dir.path().join("data"),
    })
}

/// A state that nothing ages stays, however long nobody asks for its room.
#[test]
fn a_state_without_an_age_outlives_history_sweeps_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    for config in [EngineConfig::Memory, on_disk(&dir)] {
        for history in [0, 3] {
            let mut policy = policy(history);
            policy.state.as_mut().unwrap().age = None;
            let mut world = World::new(config.clone(), policy);
            world.room = RoomName::parse(&format!("px:{history}")).unwrap();
            world.publish(1, bytes(10));
            for _ in 0..20 {
                world.publish(2, bytes(10));
            }
            world.sweep();
            assert_eq!(world.rooms.len(), 0, "it left memory");
            world.sweep();
            world.restart();
            assert_eq!(world.state(9, 999), [(1, 1), (2, 21)]);
            world.publish(1, Payload::Delete);
            world.restart();
            assert_eq!(world.state(9, 999), [(2, 21)]);
        }
    }
}

/// Nothing of a state stays behind in the store: not what was replaced, not what went, and not what a
/// namespace no longer keeps.
#[test]
fn what_is_no_longer_state_takes_no_place() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(on_disk(&dir), policy(3));
    world.publish(1, bytes(10));
    world.publish(2, bytes(10));
    for _ in 0..80 {
        world.publish(2, bytes(10));
        world.publish(0, bytes(10));
    }
    assert_eq!(world.state(9, 999), [(1, 1), (2, 161)]);
    let history = |world: &mut World| {
        let (ticket, room) = (Ticket(1), world.room.clone());
        let query = HistoryQuery {
            since: None,
            limit: 99,
            bytes_max: usize::MAX,
            reverse: false,
        };
        match world.ask(Request::History { ticket, room, query }) {
            Event::History { result, .. } => result.unwrap(),
            other => panic!("{other:?}"),
        }
    };
    let offsets = |page: &[tidegate_wire::Publication]| page.iter().map(|p| p.offset).collect::<Vec<_>>();
    let page = history(&mut world);
    assert_eq!(
        (page.oldest, offsets(&page.publications)),
        (160, vec![160, 161, 162])
    );

    // The namespace keeps none any more: what was held goes when the room is next asked for.
    let policy = Policy {
        state: None,
        ..policy(3)
    };
    let with_state = std::mem::replace(&mut world.policy, policy);
    world.restart();
    let (ticket, room) = (Ticket(1), world.room.clone());
    match world.ask(Request::State {
        ticket,
        room,
        query: ALL,
    }) {
        Event::State { result, .. } => assert_eq!(result.unwrap_err().code, RejectCode::Disabled),
        other => panic!("{other:?}"),
    }
    assert_eq!(offsets(&history(&mut world).publications), [160, 161, 162]);
    world.publish(3, bytes(10));
    world.policy = with_state;
    world.restart();
    assert_eq!(
        world.state(9, 999),
        [],
        "it begins with what is published from now on"
    );
    world.publish(3, bytes(10));
    assert_eq!(world.state(9, 999), [(3, 164)]);
}

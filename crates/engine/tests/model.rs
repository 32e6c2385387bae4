//! Random publishes and reads against a twin too simple to be wrong, on both stores.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;
use tidegate_core::{
    Moment, Policies, Policy,
    policy::Retention,
    request::{Event, HistoryQuery, NewPublication, Request, Ticket},
};
use tidegate_engine::{
    EngineConfig, LogConfig,
    rooms::{Group, Rooms},
    store::Store,
};
use tidegate_wire::{Epoch, Payload, Position, RoomName};

const COUNT: usize = 4;
const BYTES: usize = 300;
const AGE_US: u64 = 50;
const DEDUP_COUNT: usize = 4;
const DEDUP_AGE_US: u64 = 20;

#[derive(Debug, Clone)]
enum Step {
    Publish {
        room: usize,
        size: usize,
        msg: u8,
    },
    Read {
        room: usize,
        limit: u32,
        reverse: bool,
    },
    Wait(u64),
    /// Time enough for every sweep.
    Sweep,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..2usize, 1..120usize, 0..6u8).prop_map(|(room, size, msg)| Step::Publish { room, size, msg }),
        6 => (0..2usize, 1..12u32, any::<bool>()).prop_map(|(room, limit, reverse)| Step::Read { room, limit, reverse }),
        3 => (1..30u64).prop_map(Step::Wait),
        1 => Just(Step::Sweep),
        1 => Just(Step::Restart),
    ]
}

#[derive(Default)]
struct Twin {
    /// Once anybody was told.
    epoch: Option<Epoch>,
    /// Those in which offsets are taken by publications that are gone.
    gone: Vec<Epoch>,
    head: u64,
    /// Offset, weight, time.
    kept: VecDeque<(u64, usize, u64)>,
    /// Id, offset, time.
    ids: VecDeque<(u8, u64, u64)>,
}

impl Twin {
    /// What it was told before stays true, and where the room begins anew no offset means two publications.
    fn is_told(&mut self, head: Position) {
        assert!(!self.gone.contains(&head.epoch), "{head:?} {:?}", self.gone);
        assert_eq!(head.epoch, *self.epoch.get_or_insert(head.epoch));
        assert_eq!(head.offset, self.head);
    }

    /// Forgotten, if anything was ever published in it; a silent one stays what it is where it is kept.
    fn sweep(&mut self, is_kept: bool) {
        if self.head > 0 || !is_kept {
            let mut gone = std::mem::take(&mut self.gone);
            gone.extend(self.epoch);
            *self = Self {
                gone,
                ..Self::default()
            };
        }
    }

    /// Its offset, and whether it had happened before. Id 0 is none.
    fn publish(&mut self, size: usize, msg: u8, now_us: u64) -> (u64, bool) {
        self.ids.retain(|id| id.2 + DEDUP_AGE_US >= now_us);
        if let Some(id) = self.ids.iter().find(|id| msg != 0 && id.0 == msg) {
            return (id.1, true);
        }
        self.head += 1;
        let weight = size + "ann".len() + usize::from(msg != 0);
        self.kept.push_back((self.head, weight, now_us));
        if msg != 0 {
            self.ids.push_back((msg, self.head, now_us));
            self.ids.drain(..self.ids.len().saturating_sub(DEDUP_COUNT));
        }
        let is_over = |kept: &VecDeque<(u64, usize, u64)>| {
            let bytes: usize = kept.iter().map(|k| k.1).sum();
            let is_old = kept.front().is_some_and(|k| k.2 < now_us.saturating_sub(AGE_US));
            kept.len() > COUNT || (bytes > BYTES && kept.len() > 1) || is_old
        };
        while is_over(&self.kept) {
            self.kept.pop_front();
        }
        (self.head, false)
    }

    fn read(&self, limit: u32, reverse: bool) -> Vec<u64> {
        let mut offsets: Vec<u64> = self.kept.iter().map(|k| k.0).collect();
        if reverse {
            offsets.reverse();
        }
        offsets.truncate(limit as usize);
        offsets
    }
}

fn policies() -> Policies {
    let plain = Policy::with_defaults("chat");
    Policies::new([Policy {
        history: Retention {
            count: COUNT as u32,
            bytes: BYTES as u64,
            age: Duration::from_micros(AGE_US),
        },
        dedup_count: DEDUP_COUNT as u32,
        dedup_age: Duration::from_micros(DEDUP_AGE_US),
        ..plain
    }])
}

/// One request as one group, then all the trimming there is.
fn ask(rooms: &mut Rooms, store: &mut Store, request: Request, now_us: u64) -> Event {
    let now = Moment(now_us * 1_000);
    let mut group = Group::default();
    rooms.handle(0, request, now, now_us, store, &mut group).unwrap();
    store.commit().unwrap();
    let mut events = group.take_events();
    rooms.read(now, now_us, store, &mut group);
    events.append(&mut group.synced_events);
    while rooms.wants_trim() {
        rooms.trim(now_us, store).unwrap();
        store.commit().unwrap();
    }
    assert_eq!(events.len(), 1, "{events:?}");
    events.remove(0).1
}

fn check(config: &EngineConfig, steps: Vec<Step>) {
    let mut store = Store::open(config).unwrap();
    let mut rooms = Rooms::new(policies());
    let mut twins = [Twin::default(), Twin::default()];
    let names = ["chat:a", "chat:b"].map(|name| RoomName::parse(name).unwrap());
    let mut now_us = 1_000_000;
    for step in steps {
        match step {
            Step::Wait(us) => now_us += us,
            Step::Sweep => {
                // One sweep looks at one place of a table of some.
                for _ in 0..16 {
                    now_us += 100_000_000;
                    rooms.sweep(Moment(now_us * 1_000), now_us, &mut store).unwrap();
                    while rooms.wants_trim() {
                        rooms.trim(now_us, &mut store).unwrap();
                    }
                    store.commit().unwrap();
                }
                assert!(rooms.is_empty());
                let is_kept = *config != EngineConfig::Memory;
                twins.iter_mut().for_each(|twin| twin.sweep(is_kept));
            }
            // What is in memory alone would be gone.
            Step::Restart if *config == EngineConfig::Memory => {}
            Step::Restart => {
                store.close().unwrap();
                drop(store);
                store = Store::open(config).unwrap();
                rooms = Rooms::new(policies());
            }
            Step::Publish { room, size, msg } => {
                let publish = Box::new(NewPublication {
                    room: names[room].clone(),
                    lane: None,
                    data: Payload::Bytes(vec![1; size].into()),
                    from: "ann".into(),
                    msg: match msg {
                        0 => Bytes::new(),
                        n => Bytes::from(vec![b'0' + n]),
                    },
                    key: Bytes::new(),
                    sent_us: 0,
                    received_us: 0,
                    source: tidegate_core::request::Source::Backend,
                });
                let ticket = Ticket(1);
                let request = Request::Publish { ticket, publish };
                let Event::Published { result, .. } = ask(&mut rooms, &mut store, request, now_us) else {
                    panic!("a publish is answered as one");
                };
                let published = result.unwrap();
                let expected = twins[room].publish(size, msg, now_us);
                assert_eq!((published.position.offset, published.duplicate), expected);
                twins[room].is_told(Position {
                    offset: twins[room].head,
                    ..published.position
                });
            }
            Step::Read { room, limit, reverse } => {
                let query = HistoryQuery {
                    since: None,
                    limit,
                    bytes_max: usize::MAX,
                    reverse,
                };
                let request = Request::History {
                    ticket: Ticket(1),
                    room: names[room].clone(),
                    query,
                };
                let Event::History { result, .. } = ask(&mut rooms, &mut store, request, now_us) else {
                    panic!("a read is answered as one");
                };
                let page = result.unwrap();
                let offsets: Vec<u64> = page.publications.iter().map(|p| p.offset).collect();
                let twin = &mut twins[room];
                assert_eq!(offsets, twin.read(limit, reverse));
                twin.is_told(page.head);
                assert_eq!(page.oldest, twin.kept.front().map_or(twin.head + 1, |k| k.0));
                assert_eq!(page.more, twin.kept.len() > limit as usize);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_memory_store_agrees_with_the_twin(steps in prop::collection::vec(step(), 1..150)) {
        check(&EngineConfig::Memory, steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_log_store_agrees_with_the_twin(steps in prop::collection::vec(step(), 60..120)) {
        let dir = tempfile::tempdir().unwrap();
        check(&EngineConfig::Log(LogConfig { dir: dir.path().join("data") }), steps);
    }
}

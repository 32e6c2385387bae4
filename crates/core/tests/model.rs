//! The model test: random commands, cuts, slow readers, broken attachments and half-done
//! turns, against a naive twin that keeps every room as one list.
//!
//! What is checked, for every subscription of every client: offsets follow each other
//! without a hole from where the join said they begin; a hole is only ever where a gap was
//! told; and when everything has come to rest, every subscriber has reached the head.

mod world;

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use tidegate_core::{Limits, Policy, request::Event};
use tidegate_wire::{
    Position, ServerFrame,
    frame::{Command, Join, Ok as Reply, Push, Recovery},
};
use world::*;

const ROOMS: [&str; 3] = ["chat:a", "chat:b", "chat:c"];
const CLIENTS: usize = 5;

#[derive(Debug, Clone)]
enum Step {
    Publish {
        client: usize,
        room: usize,
        repeat: bool,
    },
    Join {
        client: usize,
        room: usize,
        since: Option<u64>,
        last: Option<u32>,
    },
    Leave {
        client: usize,
        room: usize,
    },
    Reconnect {
        client: usize,
    },
    Read {
        client: usize,
        bytes: usize,
    },
    FanOut {
        visits: usize,
    },
    AskEngine,
    HoldEngine,
    ReleaseEngine,
    Break {
        room: usize,
    },
    Trim {
        room: usize,
        keep: usize,
    },
    Advance {
        ms: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (client, room) = (0..CLIENTS, 0..ROOMS.len());
    let who = (client.clone(), room.clone());
    prop_oneof![
        8 => (who.clone(), any::<bool>()).prop_map(|((client, room), repeat)| Step::Publish { client, room, repeat }),
        5 => (who.clone(), proptest::option::of(0..30u64), proptest::option::of(0..8u32))
            .prop_map(|((client, room), since, last)| Step::Join { client, room, since, last }),
        1 => who.prop_map(|(client, room)| Step::Leave { client, room }),
        1 => client.clone().prop_map(|client| Step::Reconnect { client }),
        2 => (client, prop_oneof![Just(0), 1..400usize, Just(usize::MAX)])
            .prop_map(|(client, bytes)| Step::Read { client, bytes }),
        4 => (0..4usize).prop_map(|visits| Step::FanOut { visits }),
        4 => Just(Step::AskEngine),
        1 => Just(Step::HoldEngine),
        1 => Just(Step::ReleaseEngine),
        1 => room.clone().prop_map(|room| Step::Break { room }),
        1 => (room, 0..6usize).prop_map(|(room, keep)| Step::Trim { room, keep }),
        1 => (1..3_000u64).prop_map(|ms| Step::Advance { ms }),
    ]
}

/// What one client believes about one room.
#[derive(Debug, Clone, Copy)]
struct Belief {
    next: u64,
}

struct Play {
    world: World,
    ids: Vec<ClientId>,
    believes: Vec<BTreeMap<String, Belief>>,
    asked: Vec<BTreeMap<u32, Option<Position>>>,
    messages: u64,
}

impl Play {
    fn new(window: usize, outbox_bytes_max: usize) -> Self {
        let limits = Limits {
            outbox_bytes_max,
            room_linger: Duration::from_secs(2),
            in_flight_max: 1_000,
            request_timeout: Duration::from_secs(3_600),
            ..Limits::default()
        };
        let policy = Policy {
            window_count: window as u32,
            replay_max: 25,
            ..Policy::with_defaults("chat")
        };
        let mut world = World::with(limits, policy);
        world.engine.window = window / 2;
        let ids = (0..CLIENTS).map(|n| world.connect(&format!("u{n}"))).collect();
        Self {
            world,
            ids,
            believes: vec![BTreeMap::new(); CLIENTS],
            asked: vec![BTreeMap::new(); CLIENTS],
            messages: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Publish { client, room, repeat } => {
                self.messages += u64::from(!repeat);
                let text = self.messages.to_string();
                self.world
                    .send(self.ids[client], publish_command(ROOMS[room], &text, &text));
            }
            Step::Join {
                client,
                room: place,
                since,
                last,
            } => {
                let head = self.world.engine.room(&room(ROOMS[place])).head();
                let since = since.map(|offset| Position {
                    epoch: head.epoch,
                    offset: offset.min(head.offset),
                });
                let join = Join {
                    since,
                    last,
                    ..plain_join(ROOMS[place])
                };
                let id = self.world.send(self.ids[client], Command::Join(join));
                self.asked[client].insert(id, since);
            }
            Step::Leave { client, room: place } => {
                self.world.send(
                    self.ids[client],
                    Command::Leave {
                        room: room(ROOMS[place]),
                    },
                );
            }
            Step::Reconnect { client } => self.reconnect(client),
            Step::Read { client, bytes } => self.world.client(self.ids[client]).reads = bytes,
            Step::FanOut { visits } => {
                let now = self.world.now;
                self.world.shard.fan_out(visits, now);
            }
            Step::AskEngine => {
                self.world.ask_engine();
            }
            Step::HoldEngine => {
                self.world.engine.held.get_or_insert_default();
            }
            Step::ReleaseEngine => self.world.release(),
            Step::Break { room: place } => {
                let now = self.world.now;
                let name = room(ROOMS[place]);
                if std::mem::take(&mut self.world.engine.room(&name).attached) {
                    self.world.shard.handle_event(Event::Broken { room: name }, now);
                }
            }
            Step::Trim { room: place, keep } => {
                let room = self.world.engine.room(&room(ROOMS[place]));
                room.trimmed_to = room.trimmed_to.max((room.log.len().saturating_sub(keep)) as u64);
            }
            Step::Advance { ms } => self.world.advance(Duration::from_millis(ms)),
        }
        self.look();
    }

    fn reconnect(&mut self, client: usize) {
        self.world.cut(self.ids[client]);
        let held = self.world.engine.held.take();
        self.ids[client] = self.world.connect(&format!("u{client}"));
        self.world.engine.held = held;
        self.believes[client].clear();
        self.asked[client].clear();
    }

    /// Every client looks at what it received.
    fn look(&mut self) {
        for client in 0..CLIENTS {
            let frames = std::mem::take(&mut self.world.client(self.ids[client]).frames);
            for frame in frames {
                self.look_at(client, frame);
            }
        }
    }

    fn look_at(&mut self, client: usize, frame: ServerFrame) {
        let believes = &mut self.believes[client];
        match frame {
            ServerFrame::Reply {
                id,
                result: Ok(Reply::Joined(joined)),
            } => {
                let since = self.asked[client].remove(&id).expect("asked for");
                let next = joined.offset + 1 - u64::from(joined.replayed);
                if let (Some(since), Recovery::None | Recovery::Replay) = (since, joined.recovery) {
                    assert_eq!(
                        next,
                        since.offset + 1,
                        "a replay begins after `since`: {joined:?}"
                    );
                }
                believes.insert(joined.room.to_string(), Belief { next });
            }
            ServerFrame::Reply {
                result: Ok(Reply::Left),
                ..
            }
            | ServerFrame::Reply {
                result: Ok(_) | Err(_),
                ..
            } => {}
            ServerFrame::Push(Push::Event { room, publication }) => {
                // What arrives after leaving is ignored, as the protocol says.
                let is_member = self.is_subscribed(client, &room);
                if let Some(belief) = self.believes[client].get_mut(room.as_str()) {
                    if publication.offset != belief.next && !is_member {
                        return;
                    }
                    assert_eq!(publication.offset, belief.next, "in {room} for client {client}");
                    belief.next += 1;
                    let text = String::from_utf8(publication.data.as_bytes().to_vec()).unwrap();
                    let kept = &self.world.engine.room(&room).log[publication.offset as usize - 1];
                    assert_eq!(kept.data.as_bytes(), text.as_bytes());
                }
            }
            ServerFrame::Push(Push::Gap { room, position, .. }) => {
                believes.insert(
                    room.to_string(),
                    Belief {
                        next: position.offset + 1,
                    },
                );
            }
            ServerFrame::Push(Push::Members(_) | Push::Notice(_) | Push::Part(_)) => {}
        }
    }

    fn is_subscribed(&self, client: usize, name: &str) -> bool {
        self.believes[client].contains_key(name)
    }

    /// Everything comes to rest, and everyone must have everything.
    fn settle(&mut self) {
        for client in &self.ids {
            self.world.clients[client.0].reads = usize::MAX;
        }
        self.world.release();
        for client in self.ids.clone() {
            self.world.read_on(client, usize::MAX);
        }
        self.world.advance(Duration::from_secs(2));
        self.look();
        // Whoever was too slow comes back and starts anew; the others are at the head.
        for client in 0..CLIENTS {
            if self.world.client(self.ids[client]).closed.is_some() {
                continue;
            }
            let open = self.world.joined_rooms();
            for (name, belief) in &self.believes[client].clone() {
                let head = self.world.engine.room(&room(name)).head().offset;
                let has_subscribers = open.iter().any(|room| room.as_str() == name);
                // Only a subscription that was left may stand behind.
                let was_left = belief.next != head + 1;
                assert!(
                    !was_left || !has_subscribers || self.left_or_cut(client, name),
                    "{name} {client}"
                );
            }
        }
        let counters = self.world.shard.counters();
        assert_eq!(counters.outbox_bytes, 0, "nothing waits");
    }

    /// Joins again to ask the server itself: "already joined" means it was not left.
    fn left_or_cut(&mut self, client: usize, name: &str) -> bool {
        self.world.client(self.ids[client]).frames.clear();
        self.world.send(self.ids[client], Command::Join(plain_join(name)));
        self.world.turn();
        if self.world.client(self.ids[client]).frames.is_empty() {
            return true;
        }
        self.world.reply(self.ids[client]).is_ok()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn subscribers_miss_nothing_that_no_gap_told(
        steps in proptest::collection::vec(step(), 1..120),
        window in 2..12usize,
        outbox_bytes_max in prop_oneof![Just(2_000usize), Just(1 << 20)],
    ) {
        let mut play = Play::new(window, outbox_bytes_max);
        for step in &steps {
            play.step(step);
        }
        play.settle();
    }
}

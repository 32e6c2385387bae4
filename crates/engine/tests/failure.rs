//! What a group of requests is told when the store fails: every request once, and members all the same.

use std::time::Duration;

use bytes::Bytes;
use tidegate_core::{
    Moment, Policies, Policy,
    policy::{Durability, PresencePolicy},
    request::{Event, Exit, NewPublication, Request, SessionKey, Ticket},
};
use tidegate_engine::{
    EngineConfig, StoreError,
    rooms::{Group, Rooms},
    store::Store,
};
use tidegate_wire::{Payload, RoomName};

fn room(name: &str) -> RoomName {
    RoomName::parse(name).unwrap()
}

fn publish(ticket: u64, name: &str, msg: &str) -> Request {
    let publish = NewPublication {
        room: room(name),
        lane: None,
        data: Payload::Json("1".into()),
        from: "ann".into(),
        msg: Bytes::copy_from_slice(msg.as_bytes()),
        key: Bytes::new(),
        sent_us: 0,
        received_us: 0,
        source: tidegate_core::request::Source::Backend,
    };
    Request::Publish {
        ticket: Ticket(ticket),
        publish: Box::new(publish),
    }
}

fn enter(user: &'static str) -> Request {
    Request::Enter {
        room: room("chat:a"),
        session: SessionKey(1),
        user: user.into(),
        info: Bytes::new(),
    }
}

fn presence(ticket: u64) -> Request {
    Request::Presence {
        ticket: Ticket(ticket),
        room: room("chat:a"),
        limit: 10,
    }
}

/// Rooms over the memory store, with a clock moved by hand.
struct Bench {
    rooms: Rooms,
    store: Store,
    now_us: u64,
}

impl Bench {
    fn new() -> Self {
        let chat = Policy::with_defaults("chat");
        let bank = Policy {
            namespace: "bank".into(),
            durability: Durability::Sync,
            ..chat.clone()
        };
        let brief = Policy {
            namespace: "brief".into(),
            dedup_age: Duration::from_secs(1),
            ..chat.clone()
        };
        let lease = PresencePolicy {
            lease: Duration::ZERO,
            ..chat.presence.clone()
        };
        let chat = Policy {
            presence: lease,
            ..chat
        };
        Self {
            rooms: Rooms::new(Policies::new([chat, bank, brief])),
            store: Store::open(&EngineConfig::Memory).unwrap(),
            now_us: 1,
        }
    }

    fn handle(&mut self, requests: impl IntoIterator<Item = Request>) -> Group {
        let mut group = Group::default();
        for request in requests {
            let now = Moment(self.now_us * 1_000);
            self.rooms
                .handle(0, request, now, self.now_us, &mut self.store, &mut group)
                .unwrap();
        }
        group
    }
}

/// Tickets answered, and whether with a reject.
fn answers(events: &[(u8, Event)]) -> Vec<(u64, bool)> {
    let answer = |(_, event): &(u8, Event)| match event {
        Event::Published { ticket, result } => Some((ticket.0, result.is_err())),
        Event::Presence { ticket, result } => Some((ticket.0, result.is_err())),
        _ => None,
    };
    let mut answers: Vec<_> = events.iter().filter_map(answer).collect();
    answers.sort_unstable();
    answers
}

#[test]
fn a_failed_sync_rejects_only_what_was_not_answered_before_it() {
    let mut bench = Bench::new();
    let mut group = bench.handle([publish(1, "chat:a", ""), publish(2, "bank:a", "")]);
    assert!(group.needs_sync());
    assert_eq!(answers(&group.take_events()), [(1, false)]);
    let told = bench.rooms.fail(group, &StoreError::Sync("no".into()));
    assert_eq!(answers(&told), [(2, true)]);
}

#[test]
fn a_failed_commit_rejects_every_publish_once_and_still_lists_members() {
    let mut bench = Bench::new();
    let requests = [
        publish(1, "chat:a", ""),
        enter("ann"),
        presence(2),
        publish(3, "bank:a", ""),
        publish(4, "what:a", ""),
    ];
    let group = bench.handle(requests);
    let told = bench.rooms.fail(group, &StoreError::Write("full".into()));
    assert_eq!(answers(&told), [(1, true), (2, false), (3, true), (4, true)]);
}

#[test]
fn members_are_not_refused_while_the_store_fails() {
    let error = StoreError::Write("full".into());
    let leave = Request::Exit {
        room: room("chat:a"),
        session: SessionKey(1),
        user: "ann".into(),
        exit: Exit::Left,
    };
    let detach = Request::Detach { room: room("chat:a") };
    for request in [enter("ann"), presence(1), detach, leave] {
        assert!(Rooms::refuse(&request, &error).is_none(), "{request:?}");
    }
    assert!(Rooms::refuse(&publish(2, "chat:a", ""), &error).is_some());
}

#[test]
fn a_message_id_is_not_honoured_past_its_age() {
    let mut bench = Bench::new();
    let mut is_duplicate = |at_us| {
        bench.now_us = at_us;
        let mut group = bench.handle([publish(at_us, "brief:a", "m")]);
        match group.take_events().pop() {
            Some((_, Event::Published { result, .. })) => result.unwrap().duplicate,
            other => panic!("{other:?}"),
        }
    };
    assert!(!is_duplicate(1));
    assert!(is_duplicate(1_000_001));
    assert!(!is_duplicate(1_000_002));
}

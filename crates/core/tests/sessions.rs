//! Stories of sessions: who is let in, for how long, what it may, and how it ends.

mod world;

use std::time::Duration;

use tidegate_core::{Limits, Policy, grant::Right};
use tidegate_wire::{
    CloseReason, RejectCode,
    frame::{Command, Connect, Notice, Ok as Reply, Presence, Push},
};
use world::*;

#[test]
fn commands_need_a_connect_and_a_grant() {
    let mut world = World::new();
    let ann = world.open(JSON);
    world.send(ann, Command::Join(plain_join("chat:lobby")));
    world.turn();
    assert_eq!(world.reply(ann).unwrap_err().code, RejectCode::NotConnected);

    world.grants = [grant("chat:lobby", &[Right::Join])].into();
    let bob = world.connect("bob");
    world.join(bob, "chat:lobby");
    let reject = world.publish(bob, "chat:lobby", "1").unwrap_err();
    assert_eq!(reject.code, RejectCode::Forbidden);
    let commands = [
        (Command::Join(plain_join("chat:other")), RejectCode::Forbidden),
        (Command::Join(plain_join("chat:lobby")), RejectCode::AlreadyJoined),
        (Command::Join(plain_join("px:AAPL")), RejectCode::UnknownNamespace),
        (
            Command::Leave {
                room: room("chat:other"),
            },
            RejectCode::NotJoined,
        ),
        (Command::Connect(Connect::default()), RejectCode::AlreadyConnected),
        (
            Command::Presence(Presence {
                room: room("chat:lobby"),
                limit: 1,
            }),
            RejectCode::Forbidden,
        ),
    ];
    for (command, code) in commands {
        world.send(bob, command.clone());
        world.turn();
        assert_eq!(world.reply(bob).unwrap_err().code, code, "{command:?}");
    }
}

#[test]
fn commands_sent_behind_connect_wait_for_the_verifier() {
    let mut world = World::new();
    let ann = world.open(JSON);
    world.send(
        ann,
        Command::Connect(Connect {
            token: "ann".into(),
            resume: vec![(77, plain_join("chat:a"))],
            ..Default::default()
        }),
    );
    world.send(ann, Command::Join(plain_join("chat:b")));
    world.turn();
    assert!(matches!(world.reply(ann), Ok(Reply::Connected(_))));
    for name in ["chat:a", "chat:b"] {
        assert!(matches!(world.reply(ann), Ok(Reply::Joined(joined)) if joined.room.as_str() == name));
    }
}

#[test]
fn a_refused_token_and_a_silent_client_are_closed() {
    let mut world = World::new();
    let (ann, bob) = (world.open(JSON), world.open(JSON));
    world.send(
        ann,
        Command::Connect(Connect {
            token: "bad".into(),
            ..Default::default()
        }),
    );
    world.turn();
    assert_eq!(world.reply(ann).unwrap_err().code, RejectCode::TokenInvalid);
    assert_eq!(world.client(ann).closed, Some(CloseReason::TokenInvalid.number()));
    world.advance(Duration::from_secs(9));
    assert_eq!(world.client(bob).closed, None);
    world.advance(Duration::from_secs(2));
    assert_eq!(
        world.client(bob).closed,
        Some(CloseReason::HandshakeTimeout.number())
    );
}

#[test]
fn an_expiring_token_is_asked_for_then_closed() {
    let mut world = World::new();
    // The token names its end, in milliseconds since the start; the world starts at one second.
    let (ann, bob) = (world.connect("ann@61000"), world.connect("bob@61000"));
    world.advance(Duration::from_secs(29));
    assert!(world.pushes(ann).is_empty());
    world.advance(Duration::from_secs(2));
    let asked = [Push::Notice(Notice::TokenExpiring { in_ms: 30_000 })];
    assert_eq!(world.pushes(ann), asked);
    world.send(
        ann,
        Command::Refresh {
            token: "ann@200000".into(),
        },
    );
    world.turn();
    assert!(matches!(
        world.reply(ann),
        Ok(Reply::Refreshed {
            expires_in_ms: Some(_)
        })
    ));
    world.advance(Duration::from_secs(40));
    assert_eq!(world.client(ann).closed, None);
    assert_eq!(world.client(bob).closed, Some(CloseReason::TokenExpired.number()));
}

#[test]
fn a_refresh_that_grants_less_removes_from_rooms() {
    let mut world = World::new();
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    for name in ["chat:a", "chat:b"] {
        world.join(ann, name);
    }
    world.grants = [grant("chat:a", &[Right::Join])].into();
    world.send(ann, Command::Refresh { token: "ann".into() });
    world.turn();
    let removed = [Push::Notice(Notice::Removed { room: room("chat:b") })];
    assert_eq!(world.pushes(ann), removed);
    for name in ["chat:a", "chat:b"] {
        world.publish(bob, name, "1").unwrap();
    }
    assert_eq!(world.received(ann, "chat:a"), numbers(1, 1));
    assert_eq!(world.received(ann, "chat:b"), []);

    world.send(ann, Command::Refresh { token: "eve".into() });
    world.turn();
    let _refreshed = world.reply(ann);
    assert_eq!(world.reply(ann).unwrap_err().code, RejectCode::TokenInvalid);
    assert_eq!(world.client(ann).closed, None);
}

#[test]
fn a_refresh_that_grants_less_ends_joins_under_way() {
    let mut world = World::new();
    let ann = world.connect("ann");
    world.engine.held = Some(Default::default());
    world.send(ann, Command::Join(plain_join("chat:b")));
    world.turn();
    world.grants = [grant("chat:a", &[Right::Join])].into();
    world.send(ann, Command::Refresh { token: "ann".into() });
    world.turn();
    let _refreshed = world.reply(ann);
    world.release();
    assert_eq!(world.reply(ann).unwrap_err().code, RejectCode::Forbidden);
}

#[test]
fn bounds_are_rejects_with_their_code() {
    let limits = Limits {
        rooms_max: 2,
        in_flight_max: 3,
        rooms_total_max: 3,
        ..Limits::default()
    };
    let policy = Policy {
        payload_bytes_max: 10,
        ..Policy::with_defaults("chat")
    };
    let mut world = World::with(limits, policy);
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    world.join(ann, "chat:a");
    world.join(ann, "chat:b");
    world.send(ann, Command::Join(plain_join("chat:c")));
    world.turn();
    assert_eq!(world.reply(ann).unwrap_err().code, RejectCode::Limit);
    assert_eq!(
        world.publish(ann, "chat:a", "12345678901").unwrap_err().code,
        RejectCode::TooLarge
    );
    world.join(bob, "chat:c");
    world.send(bob, Command::Join(plain_join("chat:d")));
    world.turn();
    assert_eq!(world.reply(bob).unwrap_err().code, RejectCode::Overloaded);
    world.engine.held = Some(Default::default());
    for _ in 0..4 {
        world.send(ann, publish_command("chat:a", "1", ""));
    }
    world.turn();
    assert_eq!(world.reply(ann).unwrap_err().code, RejectCode::RateLimited);
}

#[test]
fn a_user_can_be_disconnected_and_all_can_be_shut_down() {
    let mut world = World::new();
    let clients = [world.connect("ann"), world.connect("ann"), world.connect("bob")];
    let now = world.now;
    assert_eq!(world.shard.disconnect(b"ann", now), 2);
    world.turn();
    assert_eq!(
        world.client(clients[0]).closed,
        Some(CloseReason::Disconnected.number())
    );
    assert_eq!(world.client(clients[2]).closed, None);
    world.shard.shut_down(now);
    world.turn();
    assert_eq!(world.pushes(clients[2]), [Push::Notice(Notice::Shutdown)]);
    assert_eq!(
        world.client(clients[2]).closed,
        Some(CloseReason::Shutdown.number())
    );
    assert_eq!(world.shard.counters().connections, 0);
}

#[test]
fn what_is_no_frame_is_closed_and_what_is_a_bad_command_is_rejected() {
    let mut world = World::new();
    let (ann, bob) = (world.connect("ann"), world.connect("bob"));
    world.send_text(ann, r#"{"id":9,"publish":{"room":"nowhere"}}"#);
    world.turn();
    assert_eq!(world.reply(ann).unwrap_err().code, RejectCode::Malformed);
    world.send_text(bob, "hello");
    world.turn();
    assert_eq!(world.client(bob).closed, Some(CloseReason::Malformed.number()));
}

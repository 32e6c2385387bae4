//! Clients that break the rules: a code or a close, and everyone else goes on.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use tidegate_wire::{Codec, RejectCode, frame::ServerFrame};
use tungstenite::Message;

use crate::world::{JSON, World, frame, read_all, read_head, upgrade};

/// Sends bytes over an open WebSocket; returns the code of the close frame.
fn close_code(world: &World, bytes: &[u8]) -> u16 {
    let mut socket = world.socket();
    socket.write_all(upgrade("/v1/ws", JSON).as_bytes()).unwrap();
    assert!(read_head(&socket).contains("101"));
    // The server may close before it has read all of it.
    let _ = socket.write_all(bytes);
    let (answer, _) = read_all(&socket);
    let close = answer
        .iter()
        .position(|byte| *byte == 0x88)
        .expect("a close frame");
    u16::from_be_bytes([answer[close + 2], answer[close + 3]])
}

#[test]
fn each_violation_is_closed_with_its_number() {
    let world = World::start(1, "");
    let unmasked = [0x81, 2, b'{', b'}'];
    let oversize = {
        let mut bytes = vec![0x81, 0x80 | 127];
        bytes.extend_from_slice(&(u64::MAX >> 1).to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes
    };
    for (what, bytes, expected) in [
        ("unmasked", unmasked.to_vec(), 1002),
        ("reserved bits", frame(0xf1, b"{}"), 1002),
        ("reserved opcode", frame(0x83, b"{}"), 1002),
        ("a long ping", frame(0x89, &[0; 126]), 1002),
        ("oversize", oversize, 1009),
        ("above the limit", frame(0x81, &vec![b' '; (64 << 10) + 1]), 1009),
        ("not UTF-8", frame(0x81, b"\xff\xfe"), 1007),
        ("not JSON", frame(0x81, b"hello"), 4500),
        ("no id", frame(0x81, b"{}"), 4500),
        ("binary where text was agreed", frame(0x82, b"{}"), 4500),
        ("deep JSON", frame(0x81, "[".repeat(60_000).as_bytes()), 4500),
        ("close", frame(0x88, &1000u16.to_be_bytes()), 1000),
    ] {
        assert_eq!(close_code(&world, &bytes), expected, "{what}");
    }
    // And the server is well.
    world.join(Codec::Json, "chat:lobby");
}

#[test]
fn garbage_of_any_kind_ends_only_its_own_connection() {
    let world = World::start(1, "");
    let mut ann = world.join(Codec::Json, "chat:lobby");
    let mut noise = 0x9e37_79b9_7f4a_7c15u64;
    for round in 0..60 {
        let mut socket = world.socket();
        if round % 2 == 0 {
            socket.write_all(upgrade("/v1/ws", JSON).as_bytes()).unwrap();
        }
        let bytes: Vec<u8> = (0..5_000)
            .map(|_| {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                noise as u8
            })
            .collect();
        let _ = socket.write_all(&bytes);
    }
    ann.publish("chat:lobby", "1");
    assert_eq!(ann.event(), "1");
}

#[test]
fn a_handshake_that_drips_is_ended_in_time() {
    let world = World::start(1, "[limits]\nhandshake_timeout = \"300ms\"");
    let silent = world.socket();
    let mut dripping = world.socket();
    let began = Instant::now();
    dripping.write_all(b"GET /v1/ws HTTP/1.1\r\nHost: a").unwrap();
    let (_, waited) = read_all(&silent);
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    // The header goes on for ever, a byte at a time, and is ended all the same.
    while dripping.write_all(b"x").is_ok() {
        assert!(began.elapsed() < Duration::from_secs(5));
        std::thread::park_timeout(Duration::from_millis(10));
    }
    assert!(began.elapsed() >= Duration::from_millis(250));
}

#[test]
fn the_oldest_half_open_handshake_gives_way() {
    let world = World::start(1, "[limits]\nhandshakes_max = 8\nhandshake_timeout = \"1m\"");
    let oldest = world.socket();
    let _others: Vec<_> = (0..8).map(|_| world.socket()).collect();
    let (bytes, waited) = read_all(&oldest);
    assert!(bytes.is_empty() && waited < Duration::from_secs(10));
    world.join(Codec::Json, "chat:lobby");
}

#[test]
fn a_session_without_connect_is_closed() {
    let world = World::start(1, "[limits]\nconnect_timeout = \"200ms\"");
    let mut client = world.open(Codec::Json);
    assert_eq!(client.close_code(), (4004, "handshake_timeout".to_owned()));
}

#[test]
fn a_connection_above_the_bound_is_refused_in_words() {
    let world = World::start(1, "[limits]\nconnections_max = 3");
    let _held: Vec<_> = (0..3).map(|_| world.connect(Codec::Json)).collect();
    let mut refused = world.socket();
    let _ = refused.write_all(upgrade("/v1/ws", JSON).as_bytes());
    let head = read_head(&refused);
    assert!(
        head.starts_with("HTTP/1.1 503") && head.contains("Retry-After"),
        "{head}"
    );
}

#[test]
fn a_flood_of_pings_without_reading_is_closed_within_its_bound() {
    let world = World::start(
        1,
        "[limits]\noutbox_bytes_max = \"96KiB\"\nsend_buffer_bytes = \"16KiB\"",
    );
    let mut socket = world.socket();
    socket.write_all(upgrade("/v1/ws", JSON).as_bytes()).unwrap();
    socket.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    let ping = frame(0x89, &[7; 125]).repeat(64);
    let began = Instant::now();
    // It is closed although it never reads: the writes fail at last.
    while socket.write_all(&ping).is_ok() {
        assert!(began.elapsed() < Duration::from_secs(20), "still open");
    }
    world.join(Codec::Json, "chat:lobby");
}

#[test]
fn too_many_commands_in_flight_are_rejected_or_answered_never_lost() {
    let world = World::start(1, "[limits]\nin_flight_max = 4");
    let mut ann = world.connect(Codec::Json);
    let text: String = (100..1100)
        .map(|id| format!(r#"{{"id":{id},"publish":{{"room":"chat:lobby","data":{id}}}}}"#))
        .collect();
    ann.socket.send(Message::text(text)).unwrap();
    let mut answered = std::collections::BTreeSet::new();
    while answered.len() < 1000 {
        let ServerFrame::Reply { id, result } = ann.next() else {
            continue;
        };
        assert!(answered.insert(id), "{id} was answered twice");
        if let Err(reject) = result {
            assert_eq!(reject.code, RejectCode::RateLimited);
        }
    }
}

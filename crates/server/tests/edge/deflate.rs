//! permessage-deflate over a real socket, read by our own codec in the client's role.

use std::io::{Read, Write};

use tidegate_wire::ws::reader::{Inflater, Message, Reader, Role};

use crate::world::{JSON, World, frame, read_head, upgrade};

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

#[test]
fn a_large_publication_is_compressed_for_those_who_agreed_and_plain_for_others() {
    let world = World::start(1, "[deflate]\nenabled = true");
    let mut bob = world.join(tidegate_wire::Codec::Json, "chat:lobby");
    let mut socket = world.socket();
    socket
        .write_all(upgrade("/v1/ws", &format!("{JSON}{OFFER}")).as_bytes())
        .unwrap();
    let head = read_head(&socket);
    assert!(
        head.contains("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        "{head}"
    );
    let payload = format!("\"{}\"", "tide and gate ".repeat(500));
    socket
        .write_all(&frame(
            0x81,
            br#"{"id":1,"connect":{}}{"id":2,"join":{"room":"chat:lobby"}}"#,
        ))
        .unwrap();
    let (mut reader, mut inflater) = (Reader::new(Role::Client, 1 << 20, true), Inflater::default());
    let (mut text, mut raw, mut has_published) = (String::new(), 0, false);
    let mut buffer = vec![0; 64 << 10];
    while !text.contains("\"event\"") {
        let count = socket.read(&mut buffer).unwrap();
        assert!(count > 0, "{text}");
        raw += count;
        let mut input = reader.input(&mut buffer[..count], &mut inflater);
        while let Some(message) = input.next().unwrap() {
            if let Message::Text(bytes) = message {
                text.push_str(std::str::from_utf8(bytes).unwrap());
            }
        }
        if text.contains("\"recovery\"") && !has_published {
            has_published = true;
            bob.publish("chat:lobby", &payload);
        }
    }
    assert!(text.contains(&payload));
    assert!(
        raw < payload.len() / 2,
        "{raw} bytes for a payload of {}",
        payload.len()
    );
    assert_eq!(bob.event(), payload);
}

#[test]
fn without_the_configuration_nothing_is_compressed() {
    let world = World::start(1, "");
    let mut socket = world.socket();
    socket
        .write_all(upgrade("/v1/ws", &format!("{JSON}{OFFER}")).as_bytes())
        .unwrap();
    assert!(!read_head(&socket).contains("Extensions"));
}

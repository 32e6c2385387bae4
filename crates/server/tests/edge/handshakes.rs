//! What is answered to the first bytes of a connection.

use std::io::Write;

use crate::world::{JSON, World, frame, read_all, read_head, upgrade};

fn answer(world: &World, request: &str) -> String {
    let mut socket = world.socket();
    socket.write_all(request.as_bytes()).unwrap();
    read_head(&socket)
}

#[test]
fn http_is_served_on_the_same_port() {
    let world = World::start(1, "");
    let head = answer(&world, "GET /v1/live HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}

#[test]
fn a_websocket_is_opened_at_its_address_only_and_in_its_protocols_only() {
    let world = World::start(1, "");
    for (request, expected) in [
        (upgrade("/v1/ws", JSON), "101"),
        (upgrade("/v1/ws?from=page", JSON), "101"),
        (
            upgrade("/v1/ws", "Sec-WebSocket-Protocol: other, tidegate.v1.bin\r\n"),
            "101",
        ),
        (upgrade("/v2/ws", JSON), "404"),
        (upgrade("/v1/ws", ""), "400"),
        (upgrade("/v1/ws", "Sec-WebSocket-Protocol: mqtt\r\n"), "400"),
        (
            upgrade("/v1/ws", JSON).replace("Version: 13", "Version: 8"),
            "426",
        ),
        (
            upgrade("/v1/ws", JSON).replace("Upgrade: websocket\r\n", ""),
            "426",
        ),
        (upgrade("/v1/ws", JSON).replace("GET", "POST"), "4"),
        ("GET /v1/ws HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "426"),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".to_owned(), "400"),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(9_000)), "431"),
    ] {
        let head = answer(&world, &request);
        assert!(
            head.starts_with(&format!("HTTP/1.1 {expected}")),
            "{request}\n{head}"
        );
    }
}

#[test]
fn the_key_of_rfc_6455_is_answered_as_there() {
    let world = World::start(1, "");
    let head = answer(&world, &upgrade("/v1/ws", JSON)).to_ascii_lowercase();
    assert!(
        head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="),
        "{head}"
    );
    assert!(
        head.contains("sec-websocket-protocol: tidegate.v1.json"),
        "{head}"
    );
}

#[test]
fn pages_of_other_hosts_are_refused_unless_allowed() {
    let world = World::start(1, "");
    let from = |world: &World, origin: &str| {
        answer(world, &upgrade("/v1/ws", &format!("{JSON}Origin: {origin}\r\n")))
    };
    assert!(from(&world, "http://tidegate.test").contains("101"));
    assert!(from(&world, "https://evil.test").contains("403"));
    let world = World::start(1, "[origins]\nallow = [\"https://*.good.test\"]");
    assert!(from(&world, "https://app.good.test").contains("101"));
    assert!(from(&world, "http://tidegate.test").contains("403"));
}

#[test]
fn frames_may_come_together_with_the_head_and_in_any_pieces() {
    let world = World::start(1, "");
    let ping = frame(0x81, br#"{"id":7,"ping":{"t0":1}}"#);
    let mut whole = upgrade("/v1/ws", JSON).into_bytes();
    whole.extend(&ping);
    for piece in [whole.len(), 1, 7] {
        let mut socket = world.socket();
        socket.set_nodelay(true).unwrap();
        for bytes in whole.chunks(piece) {
            socket.write_all(bytes).unwrap();
        }
        assert!(read_head(&socket).contains("101"));
        socket.write_all(&frame(0x88, &1000u16.to_be_bytes())).unwrap();
        let (bytes, _) = read_all(&socket);
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains(r#"{"id":7,"ok""#), "{text}");
    }
}

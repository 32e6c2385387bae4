//! Connections: kept, in pieces, slow, idle, too many, over TLS.

use std::{
    io::{ErrorKind, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, pki_types::ServerName};
use serde_json::json;

use crate::{
    http::{Http, SHORT},
    world::{self, World, eventually, read_all},
};

#[test]
fn a_connection_is_kept_for_many_requests_refused_ones_included() {
    let world = World::start(1, "");
    let mut http = Http::to(&world);
    for round in 1..=50 {
        let body = json!({"room": "chat:a", "data": round});
        assert_eq!(http.post("/v1/publish", &body).ok()["offset"], round);
        http.post("/v1/publish", &json!({"room": "chat:a"})).problem(400);
    }
    assert_eq!(world.metric("tidegate_sockets_accepted_total"), 2);
}

#[test]
fn requests_may_come_together() {
    let world = World::start(1, "");
    let mut http = Http::to(&world);
    let mut bytes = String::new();
    for n in 0..20 {
        let body = json!({"room": "chat:a", "data": n}).to_string();
        let len = body.len();
        bytes += &format!("POST /v1/publish HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n{body}");
    }
    http.0.write_all(bytes.as_bytes()).unwrap();
    for n in 1..=20 {
        assert_eq!(http.answer().ok()["offset"], n);
    }
}

#[test]
fn a_body_may_come_in_any_pieces() {
    let world = World::start(1, "");
    let mut http = Http::to(&world);
    http.0.set_nodelay(true).unwrap();
    let body = json!({"room": "chat:a", "data": "piece by piece"}).to_string();
    let len = body.len();
    let request = format!("POST /v1/publish HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n{body}");
    for byte in request.as_bytes() {
        http.0.write_all(&[*byte]).unwrap();
    }
    assert_eq!(http.answer().ok()["offset"], 1);
}

/// Sends one byte after another, slowly, until the server ends the connection or answers.
fn drip(socket: &mut TcpStream, bytes: impl IntoIterator<Item = u8>) -> Duration {
    let began = Instant::now();
    socket.set_read_timeout(Some(Duration::from_millis(40))).unwrap();
    for byte in bytes {
        if socket.write_all(&[byte]).is_err() {
            return began.elapsed();
        }
        match socket.peek(&mut [0]) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            _ => return began.elapsed(),
        }
        if began.elapsed() > world::PATIENCE {
            break;
        }
    }
    panic!("not ended within {:?}", began.elapsed());
}

#[test]
fn a_slow_head_is_ended() {
    let world = World::start(1, SHORT);
    let mut socket = world.socket();
    let head = b"GET /v1/live HTTP/1.1\r\nX: "
        .iter()
        .copied()
        .chain(std::iter::repeat(b'x'));
    assert!(drip(&mut socket, head.take(2_000)) >= Duration::from_millis(250));
    // The second head of a connection is another one's to wait for.
    let mut http = Http::to(&world);
    http.get("/v1/live").text(200);
    let head = b"GET /v1/live HTTP/1.1\r\nX: "
        .iter()
        .copied()
        .chain(std::iter::repeat(b'x'));
    assert!(drip(&mut http.0, head.take(2_000)) >= Duration::from_millis(250));
}

#[test]
fn an_idle_connection_is_ended() {
    let world = World::start(1, SHORT);
    let mut http = Http::to(&world);
    http.get("/v1/live").text(200);
    let (_, waited) = read_all(&http.0);
    assert!(waited >= Duration::from_millis(250), "{waited:?}");
}

#[test]
fn a_slow_body_is_ended() {
    let world = World::start(1, SHORT);
    let mut http = Http::to(&world);
    let head = "POST /v1/publish HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
    http.0.write_all(head.as_bytes()).unwrap();
    let waited = drip(&mut http.0, std::iter::repeat_n(b' ', 100_000));
    assert!(waited >= Duration::from_millis(250), "{waited:?}");
    http.0.set_read_timeout(Some(world::PATIENCE)).unwrap();
    http.answer().problem(408);
    // What still comes of it is nobody's next request.
    read_all(&http.0);
}

#[test]
fn who_asks_and_never_reads_is_ended() {
    let world = World::start(
        1,
        "[limits]\nhttp_request_timeout = \"300ms\"\nhttp_connections_max = 1",
    );
    let mut http = Http::to(&world);
    http.0
        .set_write_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    // More answers than both sockets' buffers hold, as nobody reads them.
    let request = "GET /v1/openapi.json HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1_000);
    eventually("the only place is free again", || {
        let _ = http.0.write_all(request.as_bytes());
        Http::to(&world).get("/v1/live").status == 200
    });
}

#[test]
fn an_idle_connection_does_not_hold_up_the_end() {
    let mut world = World::start(1, "");
    let mut http = Http::to(&world);
    http.get("/v1/live").text(200);
    let began = Instant::now();
    world.stop(Duration::from_secs(5));
    let took = began.elapsed();
    // The back office gives those that are under way a second.
    assert!(took < Duration::from_millis(900), "{took:?}");
    read_all(&http.0);
}

#[test]
fn a_websocket_is_not_opened_over_a_connection_that_served_http() {
    let world = World::start(1, "");
    let mut http = Http::to(&world);
    http.get("/v1/live").text(200);
    let upgrade = world::upgrade("/v1/ws", world::JSON);
    http.0.write_all(upgrade.as_bytes()).unwrap();
    let answer = http.answer();
    assert_eq!(answer.headers["upgrade"], "websocket");
    assert_eq!(answer.headers["connection"], "close");
    let problem = answer.problem(426);
    assert!(
        problem["detail"].as_str().unwrap().contains("new connection"),
        "{problem}"
    );
    read_all(&http.0);
}

#[test]
fn connections_above_the_limit_are_told_to_come_back() {
    let world = World::start(1, "[limits]\nhttp_connections_max = 2");
    let mut kept = [Http::to(&world), Http::to(&world)];
    for http in &mut kept {
        http.get("/v1/live").text(200);
    }
    let refused = Http::to(&world).get("/v1/live");
    assert_eq!(refused.headers["retry-after"], "1");
    refused.text(503);
    let [mut first, second] = kept;
    drop(second);
    first.get("/v1/live").text(200);
    eventually("a place is free again", || {
        Http::to(&world).get("/v1/live").status == 200
    });
}

#[test]
fn the_api_is_served_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["tidegate.test".to_owned()]).expect("a certificate");
    std::fs::write(dir.path().join("key.pem"), signing_key.serialize_pem()).unwrap();
    std::fs::write(dir.path().join("cert.pem"), cert.pem()).unwrap();
    let world = World::start_in(dir, 1, "[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"");
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("tidegate.test").unwrap();
    let tls = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut http = Http(StreamOwned::new(tls, world.socket()));
    // More than a TLS record and the sockets' buffers together, there and back.
    let payload = "x".repeat(60_000);
    let publications = vec![json!({"room": "chat:a", "data": payload}); 16];
    let results = http
        .post("/v1/batch", &json!({"publications": publications}))
        .ok();
    assert_eq!(results["results"][15]["ok"]["offset"], 16);
    let mut read = 0;
    while read < 16 {
        let epoch = results["results"][0]["ok"]["epoch"].as_str().unwrap();
        let page = http
            .get(&format!("/v1/history?room=chat:a&since={epoch}:{read}"))
            .ok();
        let publications = page["publications"].as_array().unwrap();
        assert!(!publications.is_empty() && publications.iter().all(|p| p["data"] == payload));
        read += publications.len();
    }
    http.post("/v1/publish", &json!({"room": "nowhere:a", "data": 1}))
        .problem(404);
}

//! The HTTP API as a backend meets it: over sockets, against a whole server with the memory engine.
//!
//! The client here is as plain as HTTP/1.1 allows, so that what is sent and answered can be
//! read off byte by byte. WebSocket clients are the edge tests' own.

#[allow(dead_code, reason = "the edge tests use the rest")]
#[path = "edge/world.rs"]
mod world;

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, pki_types::ServerName};
use serde_json::{Value, json};
use tidegate_wire::{
    Codec, RoomName,
    frame::{Command, Connect, Join},
};
use world::{Client, World, eventually, read_all};

/// Keys, one per scope.
const KEYS: &str = r#"
[[api.keys]]
name = "writer"
secret = "writer-0123456789"
scopes = ["publish"]

[[api.keys]]
name = "reader"
secret = "reader-0123456789"
scopes = ["read"]

[[api.keys]]
name = "operator"
secret = "operator-0123456789"
scopes = ["admin"]
"#;

/// Short bounds, so that what runs into them is soon over.
const SHORT: &str = r#"
[limits]
handshake_timeout = "300ms"
http_head_timeout = "300ms"
http_request_timeout = "300ms"
http_body_bytes_max = "128KiB"
"#;

// ---- a client --------------------------------------------------------------------

/// One connection, kept alive.
struct Http<S = TcpStream>(S);

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Http {
    fn to(world: &World) -> Self {
        Self(world.socket())
    }
}

impl<S: Read + Write> Http<S> {
    fn call(&mut self, method: &str, target: &str, headers: &str, body: &str) -> Answer {
        let len = body.len();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: tidegate.test\r\nContent-Length: {len}\r\n{headers}\r\n{body}"
        );
        self.0.write_all(request.as_bytes()).expect("the server reads");
        self.answer()
    }

    fn get(&mut self, target: &str) -> Answer {
        self.call("GET", target, "", "")
    }

    fn post(&mut self, target: &str, body: &Value) -> Answer {
        self.call(
            "POST",
            target,
            "Content-Type: application/json\r\n",
            &body.to_string(),
        )
    }

    fn answer(&mut self) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap_or_else(|error| {
                panic!("{error} after the head's {:?}", String::from_utf8_lossy(&head))
            });
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("a head is ASCII");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().expect("a status line");
        let status = status.strip_prefix("HTTP/1.1 ").expect("HTTP/1.1");
        let headers: BTreeMap<_, _> = lines
            .map(|line| line.split_once(": ").expect("a header"))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let len = headers.get("content-length").expect("answers have a length");
        let mut body = vec![0; len.parse().expect("a length")];
        self.0.read_exact(&mut body).expect("a body");
        let status = status[..3].parse().expect("a status");
        Answer {
            status,
            headers,
            body,
        }
    }
}

impl Answer {
    #[track_caller]
    fn text(self, status: u16) -> String {
        let body = String::from_utf8(self.body).expect("a text");
        assert_eq!(self.status, status, "{body}");
        body
    }

    /// The body of a 200.
    #[track_caller]
    fn ok(self) -> Value {
        let kind = self.headers["content-type"].clone();
        let body = self.text(200);
        assert_eq!(kind, "application/json", "{body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// The body of a refusal, which is always a problem of RFC 9457.
    #[track_caller]
    fn problem(self, status: u16) -> Value {
        let kind = self.headers.get("content-type").cloned();
        let body = self.text(status);
        assert_eq!(kind.as_deref(), Some("application/problem+json"), "{body}");
        let problem: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], "about:blank");
        assert!(!problem["title"].as_str().expect("a title").is_empty());
        assert!(!problem["detail"].as_str().expect("a detail").is_empty());
        problem
    }
}

fn with_key(key: &str) -> String {
    format!("Authorization: Bearer {key}\r\n")
}

/// A client of that name in a room, listed there.
fn enter(world: &World, user: &str, room: &str) -> Client {
    let mut client = world.open(Codec::Json);
    let id = client.send(Command::Connect(Connect {
        token: user.into(),
        ..Connect::default()
    }));
    client.reply(id);
    let id = client.send(Command::Join(Join {
        room: RoomName::parse(room).expect("a room"),
        since: None,
        last: None,
        enter: true,
        members: false,
    }));
    client.reply(id);
    client
}

// ---- publishing ------------------------------------------------------------------

#[test]
fn a_publication_reaches_subscribers_on_every_shard_and_history() {
    let world = World::start(2, "");
    let mut subscribers: Vec<_> = (0..4).map(|_| world.join(Codec::Json, "chat:lobby")).collect();
    let mut http = Http::to(&world);
    let published = http
        .post(
            "/v1/publish",
            &json!({"room": "chat:lobby", "data": {"text": "hi"}, "from": "ann"}),
        )
        .ok();
    assert_eq!(published["offset"], 1);
    assert_eq!(published["duplicate"], false);
    assert_eq!(published["epoch"].as_str().unwrap().len(), 16);
    for subscriber in &mut subscribers {
        assert_eq!(subscriber.event(), r#"{"text":"hi"}"#);
    }
    let history = http.get("/v1/history?room=chat:lobby").ok();
    assert_eq!(history["epoch"], published["epoch"]);
    let publication = &history["publications"][0];
    assert_eq!(publication["offset"], 1);
    assert_eq!(publication["data"], json!({"text": "hi"}));
    assert_eq!(publication["from"], "ann");
}

#[test]
fn bytes_are_published_as_they_are() {
    let world = World::start(1, "");
    let mut http = Http::to(&world);
    let sent = json!({"room": "chat:lobby", "bytes": "AP8QgA=="});
    http.post("/v1/publish", &sent).ok();
    let history = http.get("/v1/history?room=chat:lobby").ok();
    assert_eq!(history["publications"][0]["bytes"], "AP8QgA==");
    assert!(history["publications"][0].get("data").is_none());
}

#[test]
fn a_batch_is_done_in_order_and_answered_item_by_item() {
    let world = World::start(1, "");
    let mut http = Http::to(&world);
    let batch = json!({"publications": [
        {"room": "chat:a", "data": 1},
        {"room": "nowhere:a", "data": 2},
        {"room": "chat:a", "data": 3},
        {"room": "chat:b", "data": 4},
        {"room": "not a room", "data": 5},
        {"room": "chat:a"},
    ]});
    let results = http.post("/v1/batch", &batch).ok();
    let results = results["results"].as_array().unwrap();
    let offset = |place: usize| &results[place]["ok"]["offset"];
    let status = |place: usize| &results[place]["problem"]["status"];
    assert_eq!(
        (offset(0), offset(2), offset(3)),
        (&json!(1), &json!(2), &json!(1))
    );
    assert_eq!(status(1), 404);
    assert_eq!(results[1]["problem"]["name"], "unknown_namespace");
    assert_eq!((status(4), status(5)), (&json!(400), &json!(400)));
    assert_eq!(results.len(), 6);
    let history = http.get("/v1/history?room=chat:a").ok();
    let data: Vec<_> = history["publications"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| &p["data"])
        .collect();
    assert_eq!(data, [1, 3]);
}

#[test]
fn a_broadcast_goes_to_each_room() {
    let world = World::start(2, "");
    let mut clients = ["chat:a", "chat:b"].map(|room| world.join(Codec::Json, room));
    let mut http = Http::to(&world);
    let broadcast = json!({"rooms": ["chat:a", "chat:b", "nowhere:c"], "data": "all"});
    let results = http.post("/v1/broadcast", &broadcast).ok();
    assert_eq!(results["results"][0]["ok"]["offset"], 1);
    assert_eq!(results["results"][1]["ok"]["offset"], 1);
    assert_eq!(results["results"][2]["problem"]["status"], 404);
    for client in &mut clients {
        assert_eq!(client.event(), "\"all\"");
    }
}

#[test]
fn batches_and_broadcasts_are_bounded() {
    let world = World::start(1, "");
    let mut http = Http::to(&world);
    for len in [0, 1_001] {
        let rooms = vec!["chat:a"; len];
        http.post("/v1/broadcast", &json!({"rooms": rooms, "data": 1}))
            .problem(400);
        let publications = vec![json!({"room": "chat:a", "data": 1}); len];
        http.post("/v1/batch", &json!({"publications": publications}))
            .problem(400);
    }
    let publications = vec![json!({"room": "chat:b", "data": 1}); 1_000];
    let results = http
        .post("/v1/batch", &json!({"publications": publications}))
        .ok();
    assert_eq!(results["results"][999]["ok"]["offset"], 1_000);
    assert_eq!(
        http.get("/v1/history?room=chat:a").ok()["publications"],
        json!([])
    );
}

#[test]
fn what_has_an_idempotency_key_happens_once() {
    let world = World::start(1, "");
    let mut http = Http::to(&world);
    let mut call = |target: &str, key: &str, body: &Value| {
        let headers = format!("Idempotency-Key: {key}\r\n");
        http.call("POST", target, &headers, &body.to_string()).ok()
    };
    let publish = json!({"room": "chat:a", "data": 1});
    let first = call("/v1/publish", "order-17", &publish);
    let again = call("/v1/publish", "order-17", &publish);
    assert_eq!(
        (&first["duplicate"], &again["duplicate"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(first["offset"], again["offset"]);
    assert_eq!(first["epoch"], again["epoch"]);
    assert_eq!(call("/v1/publish", "order-18", &publish)["offset"], 2);
    // The same key in another room is another publication.
    let elsewhere = json!({"room": "chat:b", "data": 1});
    assert_eq!(call("/v1/publish", "order-17", &elsewhere)["duplicate"], false);

    // In a batch each item has a place of its own under the key.
    let batch = json!({"publications": [{"room": "chat:c", "data": 1}, {"room": "chat:c", "data": 2}]});
    let first = call("/v1/batch", "batch-1", &batch);
    let again = call("/v1/batch", "batch-1", &batch);
    for place in 0..2 {
        let (first, again) = (&first["results"][place]["ok"], &again["results"][place]["ok"]);
        assert_eq!(first["offset"], place + 1);
        assert_eq!(again["offset"], place + 1);
        assert_eq!(
            (&first["duplicate"], &again["duplicate"]),
            (&json!(false), &json!(true))
        );
    }

    let broadcast = json!({"rooms": ["chat:d", "chat:e"], "data": 1});
    call("/v1/broadcast", "all-1", &broadcast);
    let again = call("/v1/broadcast", "all-1", &broadcast);
    for place in 0..2 {
        assert_eq!(again["results"][place]["ok"]["offset"], 1);
        assert_eq!(again["results"][place]["ok"]["duplicate"], true);
    }
}

#[test]
fn a_repeat_over_another_connection_is_one_publication_too() {
    let world = World::start(2, "");
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let mut http = Http::to(&world);
            std::thread::spawn(move || {
                let body = json!({"room": "chat:a", "data": 1}).to_string();
                http.call("POST", "/v1/publish", "Idempotency-Key: once\r\n", &body)
                    .ok()
            })
        })
        .collect();
    let answers: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
    let first = answers
        .iter()
        .filter(|answer| answer["duplicate"] == false)
        .count();
    assert_eq!(first, 1, "{answers:?}");
    assert!(answers.iter().all(|answer| answer["offset"] == 1), "{answers:?}");
}

#[test]
fn an_idempotency_key_is_a_short_visible_text() {
    let world = World::start(1, "");
    let body = json!({"room": "chat:a", "data": 1}).to_string();
    for key in ["", &"k".repeat(57), "caf\u{e9}"] {
        let headers = format!("Idempotency-Key: {key}\r\n");
        Http::to(&world)
            .call("POST", "/v1/publish", &headers, &body)
            .problem(400);
    }
    let headers = format!("Idempotency-Key: {}\r\n", "k".repeat(56));
    Http::to(&world).call("POST", "/v1/publish", &headers, &body).ok();
}

// ---- reading ---------------------------------------------------------------------

#[test]
fn history_is_read_page_by_page_in_both_directions() {
    let world = World::start(1, "");
    let mut http = Http::to(&world);
    let publications: Vec<_> = (1..=10).map(|n| json!({"room": "chat:a", "data": n})).collect();
    let results = http
        .post("/v1/batch", &json!({"publications": publications}))
        .ok();
    let epoch = results["results"][0]["ok"]["epoch"].as_str().unwrap().to_owned();
    let mut offsets = |query: &str| {
        let page = http.get(&format!("/v1/history?room=chat:a{query}")).ok();
        let publications = page["publications"].as_array().unwrap();
        let offsets: Vec<_> = publications
            .iter()
            .map(|p| p["offset"].as_u64().unwrap())
            .collect();
        (offsets, page["more"] == true)
    };
    assert_eq!(
        offsets(&format!("&since={epoch}:0&limit=3")),
        (vec![1, 2, 3], true)
    );
    assert_eq!(
        offsets(&format!("&since={epoch}:8&limit=3")),
        (vec![9, 10], false)
    );
    assert_eq!(offsets("&reverse=true&limit=2"), (vec![10, 9], true));
    assert_eq!(offsets(&format!("&since={epoch}:10")), (vec![], false));
}

#[test]
fn presence_tells_who_has_entered() {
    let world = World::start(2, "");
    let mut http = Http::to(&world);
    assert_eq!(http.get("/v1/presence?room=chat:a").ok()["count"], 0);
    let _clients = [enter(&world, "ann", "chat:a"), enter(&world, "bob", "chat:a")];
    eventually("both are listed", || {
        http.get("/v1/presence?room=chat:a").ok()["count"] == 2
    });
    let presence = http.get("/v1/presence?room=chat:a").ok().to_string();
    assert!(
        presence.contains("\"ann\"") && presence.contains("\"bob\""),
        "{presence}"
    );
}

#[test]
fn rooms_are_listed_by_prefix_and_page_with_their_subscribers() {
    let world = World::start(2, "");
    let mut http = Http::to(&world);
    let _clients: Vec<_> = ["chat:a", "chat:a", "chat:a", "chat:b", "chat:x"]
        .into_iter()
        .map(|room| world.join(Codec::Json, room))
        .collect();
    let all = http.get("/v1/rooms").ok();
    let expected = json!({"more": false, "rooms": [
        {"room": "chat:a", "subscribers": 3},
        {"room": "chat:b", "subscribers": 1},
        {"room": "chat:x", "subscribers": 1},
    ]});
    assert_eq!(all, expected);
    let first = http.get("/v1/rooms?limit=1").ok();
    assert_eq!(first["rooms"], json!([{"room": "chat:a", "subscribers": 3}]));
    assert_eq!(first["more"], true);
    let rest = http.get("/v1/rooms?limit=2&after=chat:a").ok();
    assert_eq!(rest["rooms"], json!(expected["rooms"].as_array().unwrap()[1..]));
    assert_eq!(rest["more"], false);
    let some = http.get("/v1/rooms?prefix=chat:x").ok();
    assert_eq!(some["rooms"], json!([{"room": "chat:x", "subscribers": 1}]));
}

#[test]
fn disconnect_ends_every_connection_of_that_user_and_no_other() {
    let world = World::start(2, "");
    let mut ann: Vec<_> = (0..3).map(|_| enter(&world, "ann", "chat:a")).collect();
    let mut bob = enter(&world, "bob", "chat:a");
    let mut http = Http::to(&world);
    let answer = http.post("/v1/disconnect", &json!({"user": "ann"})).ok();
    assert_eq!(answer, json!({"connections": 3}));
    for client in &mut ann {
        let (code, reason) = client.close_code();
        assert!((4000..5000).contains(&code), "{code} {reason}");
    }
    http.post("/v1/publish", &json!({"room": "chat:a", "data": "still"}))
        .ok();
    assert_eq!(bob.event(), "\"still\"");
    let answer = http.post("/v1/disconnect", &json!({"user": "nobody"})).ok();
    assert_eq!(answer, json!({"connections": 0}));
    http.post("/v1/disconnect", &json!({"user": ""})).problem(400);
}

// ---- operating -------------------------------------------------------------------

#[test]
fn what_probes_and_scrapers_ask_for_is_there() {
    let world = World::start(2, "");
    let mut http = Http::to(&world);
    assert_eq!(http.get("/v1/live").text(200), "live\n");
    assert_eq!(http.get("/v1/ready").text(200), "ready\n");
    let document = http.get("/v1/openapi.json").ok();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    let page = http.get("/");
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    assert!(page.text(200).starts_with("<!doctype html>"));

    http.post("/v1/publish", &json!({"room": "chat:a", "data": 1}))
        .ok();
    http.post("/v1/publish", &json!({"room": "nowhere:a", "data": 1}))
        .problem(404);
    let scrape = http.get("/metrics");
    let kind = scrape.headers["content-type"].clone();
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = scrape.text(200);
    assert!(text.ends_with("# EOF\n"), "{text}");
    for line in [
        "tidegate_engine_publications_total 1",
        "tidegate_engine_ready 1",
        "tidegate_http_requests_total{status=\"4xx\"} 1",
        "tidegate_http_requests_total{status=\"2xx\"} 5",
    ] {
        let has_line = text
            .lines()
            .any(|of| of == line || of.strip_prefix(line) == Some(".0"));
        assert!(has_line, "{line} is not in\n{text}");
    }
    for metric in tidegate_server::api::METRICS {
        assert!(
            text.contains(&format!("# HELP {} ", metric.name)),
            "{}",
            metric.name
        );
    }
}

#[test]
fn every_route_of_the_document_is_served_and_with_that_method_only() {
    let world = World::start(1, "");
    for (method, path) in tidegate_server::api::ROUTES {
        let mut http = Http::to(&world);
        let method = method.to_ascii_uppercase();
        let status = http.call(&method, path, "", "").status;
        assert!(matches!(status, 200 | 400), "{method} {path}: {status}");
        let other = if method == "GET" { "POST" } else { "GET" };
        let problem = http.call(other, path, "", "").problem(405);
        assert!(problem["detail"].as_str().unwrap().contains(other), "{problem}");
        http.call("DELETE", path, "", "").problem(405);
    }
}

// ---- how it says no --------------------------------------------------------------

#[test]
fn malformed_requests_are_problems_that_say_what_is_wrong() {
    let world = World::start(1, "");
    let mut http = Http::to(&world);
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\"room\"",
        "{\"room\":17,\"data\":1}",
        "{\"data\":1}",
        "{\"room\":\"chat:a\"}",
        "{\"room\":\"chat:a\",\"data\":1,\"bytes\":\"AA==\"}",
        "{\"room\":\"chat:a\",\"bytes\":\"not base64!\"}",
        "{\"room\":\"chat:a\",\"data\":{]}",
        "{\"room\":\"chat:a\",\"data\":1} and more",
        "{\"room\":\"lobby\",\"data\":1}",
        "{\"room\":\"chat:\",\"data\":1}",
        "{\"room\":\"chat:a b\",\"data\":1}",
        "{\"room\":\"chat:a\",\"data\":1,\"publications\":[",
    ] {
        let problem = http.call("POST", "/v1/publish", "", body).problem(400);
        assert_eq!(problem["title"], "malformed request", "{body}");
    }
    let deep = format!("{{\"room\":\"chat:a\",\"data\":{}", "[".repeat(50_000));
    http.call("POST", "/v1/publish", "", &deep).problem(400);
    let long = json!({"room": "chat:a", "data": 1, "msg": "m".repeat(1_000)});
    http.post("/v1/publish", &long).problem(400);
    for target in [
        "/v1/history",
        "/v1/history?room=",
        "/v1/history?room=lobby",
        "/v1/history?room=chat:a&limit=-1",
        "/v1/history?room=chat:a&limit=99999999999999999999",
        "/v1/history?room=chat:a&since=here",
        "/v1/history?room=chat:a&since=9f3c5a7700e1d2b4",
        "/v1/history?room=chat:a&reverse=perhaps",
        "/v1/history?room=%ff%fe",
        "/v1/presence",
        "/v1/presence?room=chat:a&limit=some",
        "/v1/rooms?limit=all",
    ] {
        http.get(target).problem(400);
    }
    // Nothing of all that was published, and the connection is still good.
    assert_eq!(
        http.get("/v1/history?room=chat:a").ok()["publications"],
        json!([])
    );
}

#[test]
fn a_namespace_that_is_not_configured_is_not_found() {
    let world = World::start(1, "");
    let mut http = Http::to(&world);
    let publish = json!({"room": "nowhere:a", "data": 1});
    for answer in [
        http.post("/v1/publish", &publish),
        http.get("/v1/history?room=nowhere:a"),
        http.get("/v1/presence?room=nowhere:a"),
    ] {
        let problem = answer.problem(404);
        assert_eq!(problem["name"], "unknown_namespace");
        assert!(
            problem["detail"].as_str().unwrap().contains("nowhere"),
            "{problem}"
        );
    }
}

#[test]
fn a_payload_above_its_namespace_is_too_large() {
    let world = World::start(1, "");
    let mut http = Http::to(&world);
    // A JSON text of exactly so many bytes.
    let sized = |bytes: usize| json!({"room": "chat:a", "data": "x".repeat(bytes - 2)});
    http.post("/v1/publish", &sized(64 << 10)).ok();
    let problem = http.post("/v1/publish", &sized((64 << 10) + 1)).problem(413);
    assert_eq!(problem["name"], "too_large");
}

#[test]
fn a_body_above_the_limit_is_too_large_whether_it_says_its_length_or_not() {
    let world = World::start(1, SHORT);
    let body = "x".repeat((128 << 10) + 1);
    Http::to(&world)
        .call("POST", "/v1/publish", "", &body)
        .problem(413);
    let mut http = Http::to(&world);
    let head = "POST /v1/publish HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    http.0.write_all(head.as_bytes()).unwrap();
    http.0
        .write_all(format!("{:x}\r\n{body}\r\n", body.len()).as_bytes())
        .unwrap();
    http.answer().problem(413);
}

#[test]
fn a_body_too_large_by_its_own_word_is_refused_before_it_comes() {
    let world = World::start(1, "");
    let mut http = Http::to(&world);
    let head = "POST /v1/publish HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n";
    http.0.write_all(head.as_bytes()).unwrap();
    http.answer().problem(413);
}

#[test]
fn nothing_is_read_of_a_caller_without_a_key() {
    let world = World::start(1, KEYS);
    let mut http = Http::to(&world);
    let head = "POST /v1/publish HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n";
    http.0.write_all(head.as_bytes()).unwrap();
    http.answer().problem(401);
}

#[test]
fn only_known_keys_get_in_and_only_as_far_as_their_scopes() {
    let world = World::start(1, KEYS);
    let publish = json!({"room": "chat:a", "data": 1}).to_string();
    let user = json!({"user": "ann"}).to_string();
    let calls = [
        (
            "POST",
            "/v1/publish",
            publish.as_str(),
            ["writer", "operator"].as_slice(),
        ),
        (
            "POST",
            "/v1/batch",
            r#"{"publications":[{"room":"chat:a","data":1}]}"#,
            &["writer", "operator"],
        ),
        (
            "POST",
            "/v1/broadcast",
            r#"{"rooms":["chat:a"],"data":1}"#,
            &["writer", "operator"],
        ),
        ("GET", "/v1/history?room=chat:a", "", &["reader", "operator"]),
        ("GET", "/v1/presence?room=chat:a", "", &["reader", "operator"]),
        ("GET", "/v1/rooms", "", &["reader", "operator"]),
        ("GET", "/metrics", "", &["reader", "operator"]),
        ("POST", "/v1/disconnect", &user, &["operator"]),
    ];
    let mut http = Http::to(&world);
    for (method, target, body, allowed) in calls {
        for name in ["writer", "reader", "operator"] {
            let headers = with_key(&format!("{name}-0123456789"));
            let answer = http.call(method, target, &headers, body);
            if allowed.contains(&name) {
                answer.text(200);
            } else {
                let problem = answer.problem(403);
                assert!(problem["detail"].as_str().unwrap().contains(name), "{problem}");
            }
        }
        for headers in [
            String::new(),
            with_key("writer-012345678"),
            with_key("writer-0123456789x"),
            with_key(""),
            "Authorization: Basic d3JpdGVyLTAxMjM0NTY3ODk=\r\n".to_owned(),
            "Authorization: writer-0123456789\r\n".to_owned(),
            "Authorization: Bearer \u{fc}\r\n".to_owned(),
        ] {
            let answer = http.call(method, target, &headers, body);
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
            answer.problem(401);
        }
    }
    // Probes need no key.
    for target in ["/v1/live", "/v1/ready", "/v1/openapi.json", "/"] {
        http.get(target).text(200);
    }
    // Six were allowed, three routes of two keys.
    let headers = with_key("reader-0123456789");
    let history = http.call("GET", "/v1/history?room=chat:a", &headers, "").ok();
    assert_eq!(history["publications"].as_array().unwrap().len(), 6);
    assert_eq!(history["publications"][0]["from"], "api:writer");
}

#[test]
fn the_same_idempotency_key_of_two_callers_is_two_publications() {
    let world = World::start(1, KEYS);
    let mut http = Http::to(&world);
    let body = json!({"room": "chat:a", "data": 1}).to_string();
    for (name, offset) in [("writer", 1), ("operator", 2)] {
        let headers = format!(
            "{}Idempotency-Key: 1\r\n",
            with_key(&format!("{name}-0123456789"))
        );
        let answer = http.call("POST", "/v1/publish", &headers, &body).ok();
        assert_eq!(
            (&answer["offset"], &answer["duplicate"]),
            (&json!(offset), &json!(false))
        );
    }
}

#[test]
fn other_routes_are_not_found() {
    let world = World::start(1, "");
    let mut http = Http::to(&world);
    for target in [
        "/v1",
        "/v1/",
        "/v1/publish/",
        "/v2/publish",
        "/etc/passwd",
        "/../Cargo.toml",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//",
    ] {
        http.get(target).problem(404);
    }
}

// ---- connections -----------------------------------------------------------------

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
fn a_reader_that_stands_still_is_ended() {
    let limits = format!("{SHORT}http_connections_max = 1");
    let world = World::start(1, &limits);
    let mut stopped = Http::to(&world);
    // Answers that nobody takes, until the kernel and the server hold no more of them.
    let requests = "GET /v1/openapi.json HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1_000);
    let timeout = Duration::from_millis(50);
    stopped.0.set_write_timeout(Some(timeout)).unwrap();
    while stopped.0.write(requests.as_bytes()).is_ok() {}
    eventually("its place is free again", || {
        Http::to(&world).get("/v1/live").status == 200
    });
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

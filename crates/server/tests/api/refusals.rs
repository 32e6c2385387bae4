//! How it says no: every refusal is a problem of RFC 9457.

use std::io::Write;

use serde_json::json;

use crate::{
    http::{Http, KEYS, SHORT, with_key},
    world::World,
};

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
fn a_length_above_the_limit_is_refused_before_the_body_comes() {
    let world = World::start(1, "");
    let mut http = Http::to(&world);
    let head = "POST /v1/publish HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n";
    http.0.write_all(head.as_bytes()).unwrap();
    http.answer().problem(413);
}

#[test]
fn who_may_not_is_told_so_before_the_body_comes() {
    let world = World::start(1, KEYS);
    for (key, status) in [("", 401), ("unknown-0123456789", 401), ("reader-0123456789", 403)] {
        let mut http = Http::to(&world);
        let key = with_key(key);
        let head = format!("POST /v1/publish HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n{key}\r\n");
        http.0.write_all(head.as_bytes()).unwrap();
        http.answer().problem(status);
    }
}

#[test]
fn an_early_refusal_reaches_who_first_sends_everything() {
    let world = World::start(1, KEYS);
    for key in ["", "writer-0123456789"] {
        // Far more than the sockets' buffers hold, so that it is sent while the refusal waits.
        let body = "x".repeat(8 << 20);
        let answer = Http::to(&world).call("POST", "/v1/publish", &with_key(key), &body);
        answer.problem(if key.is_empty() { 401 } else { 413 });
    }
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

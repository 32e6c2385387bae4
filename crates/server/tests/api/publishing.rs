//! Publishing: one, many, to many rooms, and once only.

use serde_json::{Value, json};
use tidegate_wire::Codec;

use crate::{http::Http, world::World};

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

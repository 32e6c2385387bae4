//! A room's state over HTTP: deletes, and pages of what there is.

use serde_json::json;

use crate::{http::Http, world::World};

const STATE: &str = "\n[[namespace]]\nname = \"px\"\nlane = \"latest\"\nhistory = { count = 2 }\nreplay_max = 2\n\
    window = { count = 2 }\n[namespace.state]\nenabled = true\n";

#[test]
fn a_state_is_read_by_pages_and_a_delete_takes_a_key_out() {
    let world = World::start(1, STATE);
    let mut http = Http::to(&world);
    for n in 1..=7 {
        let publish = json!({"room": "px:eu", "data": n, "key": format!("k{}", n % 5)});
        http.post("/v1/publish", &publish).ok();
    }
    let deleted = http
        .post(
            "/v1/publish",
            &json!({"room": "px:eu", "delete": true, "key": "k3"}),
        )
        .ok();
    assert_eq!(deleted["offset"], 8);
    let history = http.get("/v1/history?room=px:eu&reverse=true").ok();
    let last = &history["publications"][0];
    assert_eq!((&last["delete"], last.get("data")), (&json!(true), None));

    let page = http.get("/v1/state?room=px:eu&limit=3").ok();
    assert_eq!((&page["offset"], &page["more"]), (&json!(8), &json!(true)));
    assert_eq!(
        (&page["room"], &page["epoch"]),
        (&json!("px:eu"), &deleted["epoch"])
    );
    let offsets = |page: &serde_json::Value| -> Vec<u64> {
        let publications = page["publications"].as_array().unwrap();
        publications
            .iter()
            .map(|p| p["offset"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(offsets(&page), [4, 5, 6]);
    let page = http.get("/v1/state?room=px:eu&limit=3&after=6").ok();
    assert_eq!((offsets(&page), &page["more"]), (vec![7], &json!(false)));
    assert_eq!(page["publications"][0]["key"], "k2");
    assert_eq!(page["publications"][0]["data"], 7);
    let none = http.get("/v1/state?room=px:nowhere").ok();
    assert_eq!((offsets(&none), &none["offset"]), (vec![], &json!(0)));
    assert_eq!(world.metric("tidegate_engine_state_keys"), 4);
}

#[test]
fn what_has_no_state_is_refused_with_its_reason() {
    let world = World::start(1, STATE);
    let mut http = Http::to(&world);
    let names = |answer: serde_json::Value| (answer["name"].clone(), answer["status"].clone());
    let disabled = (json!("disabled"), json!(409));
    let publish = json!({"room": "chat:a", "delete": true, "key": "k"});
    assert_eq!(names(http.post("/v1/publish", &publish).problem(409)), disabled);
    assert_eq!(names(http.get("/v1/state?room=chat:a").problem(409)), disabled);
    for publish in [
        json!({"room": "px:a", "delete": true}),
        json!({"room": "px:a", "delete": true, "key": "k", "data": 1}),
    ] {
        http.post("/v1/publish", &publish).problem(400);
    }
}

//! Reading what rooms keep and who is there; ending connections.

use serde_json::json;
use tidegate_wire::Codec;

use crate::{
    http::{Http, enter},
    world::{World, eventually},
};

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

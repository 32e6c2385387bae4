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
    let mut rooms = |query: &str| {
        let page = http.get(&format!("/v1/rooms{query}")).ok();
        let rooms = page["rooms"].as_array().expect("a list").iter().map(|room| {
            let of_shards = room["shards"].as_array().expect("a list").iter();
            let sum: u64 = of_shards.map(|n| n.as_u64().expect("a count")).sum();
            assert_eq!(room["subscribers"], sum);
            (room["room"].as_str().expect("a name").to_owned(), sum)
        });
        (rooms.collect::<Vec<_>>(), page["more"] == true)
    };
    let named =
        |list: &[(&str, u64)]| -> Vec<_> { list.iter().map(|(room, n)| (room.to_string(), *n)).collect() };
    let all = named(&[("chat:a", 3), ("chat:b", 1), ("chat:x", 1)]);
    assert_eq!(rooms(""), (all.clone(), false));
    assert_eq!(rooms("?limit=1"), (all[..1].to_vec(), true));
    assert_eq!(rooms("?limit=2&after=chat:a"), (all[1..].to_vec(), false));
    assert_eq!(rooms("?prefix=chat:x"), (all[2..].to_vec(), false));
}

#[test]
fn a_rooms_subscribers_are_spread_over_the_shards_and_the_hottest_come_first() {
    let world = World::start(2, "");
    let mut http = Http::to(&world);
    let mut clients: Vec<_> = (0..6).map(|_| world.join(Codec::Json, "chat:z")).collect();
    let _quiet = world.join(Codec::Json, "chat:a");
    for _ in 0..20 {
        http.post("/v1/publish", &json!({"room": "chat:z", "data": 1}))
            .ok();
    }
    for client in &mut clients {
        assert_eq!(client.event(), "1");
    }
    let page = http.get("/v1/rooms?order=share").ok();
    let hottest = &page["rooms"][0];
    assert_eq!(
        (&hottest["room"], &hottest["shards"]),
        (&json!("chat:z"), &json!([3, 3]))
    );
    assert!(
        hottest["share"].as_f64() > page["rooms"][1]["share"].as_f64(),
        "{page}"
    );
    assert_eq!(hottest["hot"], false);
    http.get("/v1/rooms?order=size").problem(400);
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

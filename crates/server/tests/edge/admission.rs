//! Who is not let in: limits, caps and the memory ceiling, over real sockets.

use std::io::Write;

use tidegate_wire::{
    Codec, Reject, RejectCode,
    frame::{Command, Connect, Ok as Reply, ServerFrame},
};

use crate::world::{Client, JSON, World, eventually, read_all, read_head, upgrade};

/// The HTTP answer to one more WebSocket.
fn knock(world: &World) -> String {
    let mut socket = world.socket();
    // Who is refused at once may be gone before all is said.
    let _ = socket.write_all(upgrade("/v1/ws", JSON).as_bytes());
    read_head(&socket)
}

fn answer(client: &mut Client, id: u32) -> Result<Reply, Reject> {
    loop {
        if let ServerFrame::Reply { id: of, result } = client.next()
            && of == id
        {
            return result;
        }
    }
}

#[test]
fn handshakes_above_the_limit_are_told_when_to_come_back_and_http_is_served_all_the_same() {
    let world = World::start(1, "[admission.handshakes]\nfloor = 2\nceiling = 2\n");
    // Their `connect` has not come: they are under way.
    let mut one = world.open(Codec::Json);
    let _two = world.open(Codec::Json);
    let head = knock(&world);
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    assert!(head.to_ascii_lowercase().contains("retry-after: "), "{head}");
    assert_eq!(
        world.metric("tidegate_handshakes_failed_total{reason=\"overloaded\"}"),
        1
    );
    one.ask_connect();
    let mut three = world.open(Codec::Json);
    three.ask_connect();
}

#[test]
fn an_address_has_no_more_connections_than_it_may_and_gets_them_back() {
    let world = World::start(2, "[limits]\nconnections_per_address_max = 2\n");
    let one = world.connect(Codec::Json);
    let _two = world.connect(Codec::Json);
    let head = knock(&world);
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    drop(one);
    eventually("there is room again", || {
        knock(&world).starts_with("HTTP/1.1 101")
    });
}

#[test]
fn an_address_that_comes_back_in_a_loop_is_refused_before_it_is_read() {
    let world = World::start(1, "[admission]\naddress_handshakes = 1\nburst = \"3s\"\n");
    let heads: Vec<String> = (0..20).map(|_| knock(&world)).collect();
    let let_in = heads
        .iter()
        .filter(|head| head.starts_with("HTTP/1.1 101"))
        .count();
    let refused = heads
        .iter()
        .filter(|head| head.starts_with("HTTP/1.1 503"))
        .count();
    assert!(
        (3..=6).contains(&let_in) && let_in + refused == 20,
        "{let_in} {refused}"
    );
}

#[test]
fn a_user_has_no_more_connections_than_it_may_on_all_shards_together() {
    let world = World::start(2, "[limits]\nconnections_per_user_max = 2\n");
    let connect = |name: &str| {
        let mut client = world.open(Codec::Json);
        let id = client.send(Command::Connect(Connect {
            token: name.to_owned(),
            ..Connect::default()
        }));
        let result = answer(&mut client, id);
        (client, result)
    };
    let (one, result) = connect("ann");
    result.unwrap();
    let (_two, result) = connect("ann");
    result.unwrap();
    let (mut three, result) = connect("ann");
    assert_eq!(result.unwrap_err().code, RejectCode::RateLimited);
    assert_eq!(three.close_code().0, 4003);
    connect("bob").1.unwrap();
    drop(one);
    eventually("one of them has gone", || connect("ann").1.is_ok());
}

#[test]
fn a_rate_is_told_over_the_socket_with_the_time_to_wait() {
    let world = World::start(1, "[admission]\nconnection_publishes = 2\nburst = \"1s\"\n");
    let mut client = world.connect(Codec::Binary);
    let results: Vec<_> = (0..10)
        .map(|_| {
            let id = client.publish("chat:a", "1");
            answer(&mut client, id)
        })
        .collect();
    let rejects: Vec<&Reject> = results
        .iter()
        .filter_map(|result| result.as_ref().err())
        .collect();
    assert!((5..=8).contains(&rejects.len()), "{rejects:?}");
    assert!(
        rejects
            .iter()
            .all(|reject| reject.code == RejectCode::RateLimited)
    );
    assert!(rejects.iter().all(|reject| reject.retry_after_ms >= Some(100)));
    let counted = world.metric("tidegate_rates_exceeded_total{scope=\"connection\"}");
    assert_eq!(counted as usize, rejects.len());
}

#[test]
fn short_of_memory_newcomers_and_publishes_are_refused_and_who_is_there_is_answered() {
    let world = World::start(1, "[limits]\nmemory_max = \"512MiB\"\n");
    let mut client = world.connect(Codec::Json);
    let id = client.publish("chat:a", "1");
    answer(&mut client, id).unwrap();

    let ballast = vec![1u8; 600 << 20];
    eventually("publishes are refused", || {
        let id = client.publish("chat:a", "2");
        matches!(answer(&mut client, id), Err(reject) if reject.code == RejectCode::Overloaded)
    });
    let head = knock(&world);
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    let id = client.send(Command::Ping { t0_ms: 1.0 });
    assert!(matches!(answer(&mut client, id), Ok(Reply::Pong(_))));
    assert_eq!(world.metric("tidegate_shedding{class=\"publish\"}"), 1);
    assert!(world.metric("tidegate_shed_total{class=\"handshake\"}") >= 1);
    let mut socket = world.socket();
    let publish = r#"{"room":"chat:a","data":3}"#;
    let head = format!(
        "POST /v1/publish HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{publish}",
        publish.len()
    );
    socket.write_all(head.as_bytes()).unwrap();
    let (text, _) = read_all(&socket);
    assert!(
        text.starts_with(b"HTTP/1.1 503"),
        "{}",
        String::from_utf8_lossy(&text)
    );

    drop(ballast);
    eventually("publishes are taken again", || {
        let id = client.publish("chat:a", "4");
        answer(&mut client, id).is_ok()
    });
    eventually("newcomers are let in again", || {
        knock(&world).starts_with("HTTP/1.1 101")
    });
}

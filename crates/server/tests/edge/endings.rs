//! How connections end: slow readers, silent peers, a server that stops.

use std::{
    io::Write,
    net::Shutdown,
    time::{Duration, Instant},
};

use socket2::{SockFilter, SockRef};
use tidegate_wire::{
    Codec,
    frame::{Notice, Push, ServerFrame},
};
use tungstenite::Message;

use crate::world::{JSON, World, read_all, read_head, upgrade};

#[test]
fn a_slow_reader_is_closed_and_harms_nobody() {
    let world = World::start(
        1,
        "[limits]\noutbox_bytes_max = \"256KiB\"\nsend_buffer_bytes = \"32KiB\"",
    );
    let slow = world.socket();
    SockRef::from(&slow).set_recv_buffer_size(16 << 10).unwrap();
    let mut slow = crate::world::Client::open(slow, world.addr, Codec::Json);
    slow.ask_connect();
    slow.ask_join("chat:lobby");
    let mut bob = world.join(Codec::Json, "chat:lobby");
    let mut ann = world.connect(Codec::Json);
    let payload = format!("\"{}\"", "x".repeat(10_000));
    for round in 0..400 {
        let id = ann.publish("chat:lobby", &format!("[{round},{payload}]"));
        ann.reply(id);
        assert_eq!(bob.event(), format!("[{round},{payload}]"));
        if round % 20 == 0 {
            let waiting = world.metric("tidegate_outbox_bytes");
            assert!(waiting <= 256 << 10, "{waiting} bytes wait");
        }
    }
    assert_eq!(world.metric("tidegate_closes_total{reason=\"too_slow\"}"), 1);
    // It got the beginning, whole and in order, then its close or the end.
    let mut expected = 0;
    loop {
        match slow.socket.read() {
            Ok(Message::Text(text)) => {
                assert!(
                    text.contains(&format!(r#""data":[{expected},"#)),
                    "{expected}: {}",
                    &text[..60]
                );
                expected += 1;
            }
            Ok(Message::Close(frame)) => {
                assert_eq!(u16::from(frame.expect("a reason").code), 4001);
                break;
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    assert!(expected < 390, "the slow reader got everything");
}

#[test]
fn a_silent_peer_is_pinged_then_closed() {
    let world = World::start(1, "[limits]\nping_interval = \"100ms\"");
    let mut socket = world.socket();
    socket.write_all(upgrade("/v1/ws", JSON).as_bytes()).unwrap();
    assert!(read_head(&socket).contains("101"));
    let (bytes, waited) = read_all(&socket);
    assert_eq!(&bytes[..2], [0x89, 0], "a ping comes first: {bytes:?}");
    assert!(bytes.ends_with(b"\x88\x0e\x0f\xa2ping_timeout"), "{bytes:?}");
    assert!((150..5_000).contains(&waited.as_millis()), "{waited:?}");
}

/// From now on the peer's kernel drops whatever comes, unread and unacknowledged, as if its cable were cut.
fn cut(socket: &std::net::TcpStream) {
    // A program of classic BPF with one instruction: return 0, keep nothing of the packet.
    let nothing = SockFilter::new(0x06, 0, 0, 0);
    SockRef::from(socket).attach_filter(&[nothing]).unwrap();
}

#[test]
fn a_half_open_socket_with_data_on_its_way_ends_before_any_ping() {
    let world = World::start(
        1,
        "[limits]\nping_interval = \"10m\"\noutbox_age_max = \"10m\"\nunacknowledged_max = \"300ms\"",
    );
    let bob = world.join(Codec::Json, "chat:lobby");
    let mut ann = world.join(Codec::Json, "chat:lobby");
    cut(bob.socket.get_ref());
    let id = ann.publish("chat:lobby", "1");
    ann.reply(id);
    crate::world::eventually("the kernel gives it up", || {
        world.metric("tidegate_connections") == 1
    });
    // Nobody else is harmed: ann is silent for longer, but nothing of hers is unacknowledged.
    assert_eq!(ann.event(), "1");
    assert_eq!(world.metric("tidegate_closes_total{reason=\"other\"}"), 1);
}

#[test]
fn a_half_open_socket_without_data_on_its_way_is_found_by_pings() {
    let world = World::start(
        1,
        "[limits]\nping_interval = \"100ms\"\nunacknowledged_max = \"1h\"",
    );
    let bob = world.join(Codec::Json, "chat:lobby");
    cut(bob.socket.get_ref());
    crate::world::eventually("its silence is noticed", || {
        world.metric("tidegate_closes_total{reason=\"ping_timeout\"}") == 1
    });
    // Its farewell is bounded too.
    crate::world::eventually("its socket is closed", || world.metric("tidegate_sockets") <= 1);
}

#[test]
fn a_reader_whose_kernel_stays_full_is_ended_though_it_acknowledges_probes() {
    let world = World::start(
        1,
        "[limits]\nping_interval = \"10m\"\noutbox_age_max = \"10m\"\noutbox_bytes_max = \"64MiB\"\n\
         send_buffer_bytes = \"32KiB\"\nunacknowledged_max = \"300ms\"",
    );
    let stopped = world.socket();
    SockRef::from(&stopped).set_recv_buffer_size(16 << 10).unwrap();
    let mut stopped = crate::world::Client::open(stopped, world.addr, Codec::Json);
    stopped.ask_connect();
    stopped.ask_join("chat:lobby");
    let mut ann = world.connect(Codec::Json);
    let payload = format!("\"{}\"", "x".repeat(10_000));
    for _ in 0..100 {
        let id = ann.publish("chat:lobby", &payload);
        ann.reply(id);
    }
    crate::world::eventually("it is given up", || world.metric("tidegate_connections") == 1);
    assert_eq!(world.metric("tidegate_outbox_bytes"), 0);
}

#[test]
fn a_peer_that_answers_pings_stays() {
    let world = World::start(1, "[limits]\nping_interval = \"50ms\"");
    let mut bob = world.join(Codec::Json, "chat:lobby");
    let began = Instant::now();
    let mut pings = 0;
    while began.elapsed() < Duration::from_millis(600) {
        // tungstenite answers by itself.
        match bob.socket.read().expect("it stays open") {
            Message::Ping(_) => pings += 1,
            other => panic!("{other:?}"),
        }
        bob.socket.flush().unwrap();
    }
    assert!(pings >= 6, "{pings}");
    bob.publish("chat:lobby", "1");
    assert_eq!(bob.event(), "1");
}

#[test]
fn peers_that_end_halfway_leave_nothing_behind() {
    let world = World::start(1, "[limits]\nconnections_max = 4");
    // Each round would need a place that the one before gave back.
    for round in 0..20 {
        crate::world::eventually("a free place", || {
            let mut socket = world.socket();
            let _ = socket.write_all(upgrade("/v1/ws", JSON).as_bytes());
            let is_open = read_head(&socket).contains("101");
            match round % 4 {
                0 => socket.shutdown(Shutdown::Write).unwrap(),
                1 => SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap(),
                2 => drop(socket.write_all(&[0x81, 0xfe, 0x10])),
                _ => {}
            }
            is_open
        });
    }
}

#[test]
fn a_peer_that_shuts_its_end_is_let_go() {
    let world = World::start(1, "");
    let mut socket = world.socket();
    socket.write_all(upgrade("/v1/ws", JSON).as_bytes()).unwrap();
    assert!(read_head(&socket).contains("101"));
    socket.shutdown(Shutdown::Write).unwrap();
    let (_, waited) = read_all(&socket);
    assert!(waited < Duration::from_secs(5));
}

#[test]
fn a_server_that_stops_says_so_and_frees_its_port() {
    let mut world = World::start(2, "");
    let mut clients: Vec<_> = (0..6).map(|_| world.join(Codec::Json, "chat:lobby")).collect();
    let server = world.server.take().unwrap();
    let addr = world.addr;
    let stopping = std::thread::spawn(move || server.shutdown(Duration::from_secs(10)));
    let began = Instant::now();
    for client in &mut clients {
        assert!(matches!(
            client.next(),
            ServerFrame::Push(Push::Notice(Notice::Shutdown))
        ));
        assert_eq!(client.close_code(), (4000, "shutdown".to_owned()));
        client.read_to_end();
    }
    stopping.join().unwrap().expect("a clean stop");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    std::net::TcpListener::bind(addr).expect("the port is free");
}

#[test]
fn a_stop_does_not_wait_for_those_who_do_not_answer() {
    let mut world = World::start(1, "");
    let _silent = world.join(Codec::Json, "chat:lobby");
    let _half_open = world.socket();
    let began = Instant::now();
    world.stop(Duration::from_millis(300));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

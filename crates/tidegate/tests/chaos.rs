//! Slow, hostile and half-dead peers against a real server, over real sockets: what each subscriber got and was
//! told adds up, nobody else is harmed, and memory stays bounded. Counts and order, never times: how fast it
//! is says `bench/overload.py`.
//!
//! Most of it is played by `tidegate load`, whose exit status says whether all sums add up.

// Of the support, only what starts servers and waits is used here.
#[allow(dead_code, reason = "shared with tests that use more of it")]
mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use support::{Client, Received, Server, wait_until};

const MIB: u64 = 1 << 20;

/// What a debug build may grow by in any of these tests: each bounds its queues far below, and the rest is for
/// code that is touched for the first time, the allocator's arenas, and recent publications of the engine.
const GROWTH_MAX: u64 = 48 * MIB;

/// The generator's publishers are few, and each stands for many clients.
const IN_FLIGHT: &str = "in_flight_max = 1000\n";

#[test]
fn a_trickling_reader_of_a_latest_room_is_given_the_newest_and_told_the_rest() {
    let server = server(IN_FLIGHT);
    // 2.4 MB published in two seconds, of which 25 kB a second are read.
    let words = [
        "slow",
        "--namespace=latest",
        "--lane=latest",
        "--keys=5",
        "--subscribers=20",
        "--stopped=3",
        "--trickling=3",
        "--trickle=200kbit",
        "--rate=600",
        "--payload=2000",
        "--seconds=2",
    ];
    let watcher = Watcher::begin(&server.address(), "latest:slow", 1_200);
    let report = load(&server, &words);
    watcher.end(&server.address());
    // Two of one key that meet in one write are one, for those who keep up too, and they are told: on a busy
    // machine more of them.
    let others = &report["others"];
    assert_eq!(
        number(others, "delivered") + number(others, "conflated"),
        1_200 * 14,
        "{others}"
    );
    assert!(
        number(others, "delivered") * 3 > 2 * number(&report["trickling"], "delivered") * 14,
        "each has twice what a slow one has: {report}"
    );
    for name in ["stopped", "trickling"] {
        let class = &report[name];
        assert_eq!(number(class, "due"), 1_200 * 3);
        assert_eq!(
            number(class, "delivered") + number(class, "conflated"),
            1_200 * 3,
            "{class}"
        );
        assert!(
            number(class, "conflated") > number(class, "delivered"),
            "{name}: most were replaced before it had read them: {class}"
        );
    }
    assert_eq!(
        report["closed_connections"], 0.0,
        "slow is no reason to be closed"
    );
}

#[test]
fn stopped_readers_of_a_reliable_room_are_closed_and_come_back_to_all_they_missed() {
    let limits = "outbox_age_max = \"100ms\"\noutbox_bytes_max = \"4MiB\"\nsend_buffer_bytes = \"16KiB\"\n";
    let server = server(limits);
    // 800 kB for each of the stopped: more than the kernels hold, and less than a replay may weigh.
    let words = [
        "slow",
        "--subscribers=30",
        "--stopped=5",
        "--rate=200",
        "--payload=2000",
        "--seconds=2",
    ];
    let report = load(&server, &words);
    assert_all_delivered(&report["others"], 400 * 25);
    let stopped = &report["stopped"];
    assert_all_delivered(stopped, 400 * 5);
    assert!(number(stopped, "replayed") > 0, "{stopped}");
    assert_eq!(
        report["closes"],
        json!({"4001": 5}),
        "the stopped, and nobody else"
    );
    assert_eq!((number(stopped, "closed"), number(stopped, "came_back")), (5, 5));
}

#[test]
fn bids_come_whole_over_a_connection_on_which_cursors_are_dropped() {
    let server = server(IN_FLIGHT);
    let words = [
        "mixed",
        "--bid",
        "--subscribers=5",
        "--bids=20",
        "--flood=1000",
        "--payload=1000",
        "--trickle=1Mbit",
        "--seconds=3",
    ];
    let report = load(&server, &words);
    // Ten stretches of 0.3 s, in all of which bids are made, in five of them beside cursors.
    assert_all_delivered(&report["bids"], 60 * 5);
    let cursors = &report["cursors"];
    assert_eq!(number(cursors, "due"), 1_500 * 5);
    assert!(
        number(cursors, "dropped") > 0 && number(cursors, "delivered") > 0,
        "{cursors}"
    );
    assert_eq!(report["closed_connections"], 0.0);
}

#[test]
fn bursts_of_publications_in_parts_come_whole() {
    let server = server(IN_FLIGHT);
    // Above 16 KiB a frame travels in parts.
    let words = [
        "burst",
        "--subscribers=10",
        "--payload=20000",
        "--rate=20",
        "--factor=20",
        "--burst-ms=300",
        "--every=1",
        "--seconds=2",
        "--processes=2",
    ];
    let report = load(&server, &words);
    let burst = &report["burst"];
    assert_all_delivered(burst, number(burst, "published") * 10);
    let (quiet, inside) = (&burst["phases"]["quiet"], &burst["phases"]["burst"]);
    // 300 ms at 400 a second against 700 ms at 20, twice.
    assert!(number(inside, "count") > 5 * number(quiet, "count"), "{burst}");
}

#[test]
fn a_hot_room_and_quiet_ones_get_everything() {
    let server = server(IN_FLIGHT);
    let words = [
        "hot",
        "--subscribers=400",
        "--rate=50",
        "--quiet=20",
        "--seconds=2",
    ];
    let report = load(&server, &words);
    assert_all_delivered(&report["hot"], 100 * 400);
    assert_all_delivered(&report["quiet"], number(&report["quiet"], "published") * 5);
    assert_eq!(number(&report["quiet"], "published"), 40);
    assert_eq!(report["closed_connections"], 0.0);
}

#[test]
fn chat_cursors_ticks_and_presence_go_over_the_same_connections() {
    let server = server(IN_FLIGHT);
    let words = ["mixed", "--rooms=4", "--members=10", "--churn=10", "--seconds=2"];
    let report = load(&server, &words);
    for (name, published) in [("chat", 8), ("cursors", 400), ("ticks", 160)] {
        assert_all_delivered(&report[name], published * 10);
    }
    // That everyone heard of all members in the end is one of the sums.
    let churn = &report["publishes"]["presence"];
    assert_eq!(number(churn, "acknowledged"), number(churn, "published"));
    assert!(number(&report["presence"], "members_pushes") > 0);
}

#[test]
fn those_that_never_finish_a_head_or_a_frame_are_ended_and_harm_nobody() {
    let limits = "handshake_timeout = \"500ms\"\nconnect_timeout = \"500ms\"\n";
    let server = server(limits);
    let before = resident(&server);
    let address = server.address();
    let head = b"GET /v1/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: tidegate.v1.json\r\n\r\n";
    // A whole head, and then a frame of 60 KiB that never ends; or not even a head.
    let frame = [0x81, 0xfe, 0xf0, 0x00, 1, 2, 3, 4];
    let mut writers: Vec<Writer> = (0..200)
        .map(|n| {
            let text = if n % 2 == 0 { &head[..100] } else { &head[..] };
            let mut socket = TcpStream::connect(&address).expect("the server takes connections");
            socket.set_nonblocking(true).expect("a socket");
            let begun = socket.write(text).expect("an empty send buffer");
            assert_eq!(begun, text.len());
            if n % 2 == 1 {
                let _ = socket.write(&frame);
            }
            Writer {
                socket,
                is_ended: false,
            }
        })
        .collect();
    let mut talk = Talk::begin(&address);
    wait_until("all of them are ended", || {
        talk.exchange();
        for writer in &mut writers {
            writer.dribble();
        }
        writers.iter().all(|writer| writer.is_ended)
    });
    talk.end();
    assert_bounded(&server, before);
}

#[test]
fn floods_of_joins_are_each_answered_once_and_bounded() {
    let server = server("rooms_max = 50\n");
    let before = resident(&server);
    let address = server.address();
    let mut talk = Talk::begin(&address);
    const JOINS: u64 = 400;
    for flooder in 0..10 {
        let mut client = Client::connect(&address, "flooder").expect("the server takes connections");
        for n in 0..JOINS {
            let join =
                json!({"id": n + 2, "join": {"room": format!("load:flood-{flooder}-{n}"), "enter": true}});
            assert!(client.send(&join));
        }
        let mut codes: BTreeMap<u64, u64> = BTreeMap::new();
        let mut answered = vec![false; JOINS as usize];
        while answered.contains(&false) {
            let frame = client.receive().expect("it stays connected");
            let Some(id) = frame["id"].as_u64() else {
                continue;
            };
            let place = (id - 2) as usize;
            assert!(
                !std::mem::replace(&mut answered[place], true),
                "{id} is answered twice"
            );
            let code = frame["reject"]["code"].as_u64().unwrap_or(0);
            *codes.entry(code).or_default() += 1;
        }
        let joined = codes.remove(&0).unwrap_or(0);
        assert!((1..=50).contains(&joined), "{joined} joined, and {codes:?}");
        assert!(
            codes.keys().all(|code| (100..200).contains(code) || *code == 206),
            "later, or a limit: {codes:?}"
        );
        talk.exchange();
    }
    talk.end();
    assert_bounded(&server, before);
}

#[test]
fn a_peer_that_hangs_is_let_go_and_the_others_get_everything() {
    let server = server("ping_interval = \"500ms\"\noutbox_bytes_max = \"64KiB\"\n");
    let before = resident(&server);
    let address = server.address();
    let url = format!("ws://{address}/v1/ws");
    let mut hung = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args([
            "load",
            "slow",
            "--subscribers=100",
            "--stopped=0",
            "--rate=1",
            "--seconds=600",
            "--url",
            &url,
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary");
    // A hundred that read, and one that publishes.
    wait_until("they are connected", || {
        metric(&address, "tidegate_connections") == 101
    });
    let pid = Pid::from_raw(hung.id() as i32).expect("not zero");
    kill_process(pid, Signal::STOP).expect("it runs");
    let mut talk = Talk::begin(&address);
    // Their kernel still takes what fits, and acknowledges it: only silence tells.
    wait_until("they are let go", || {
        talk.publish("load:slow", 2_000);
        talk.exchange();
        metric(&address, "tidegate_connections") == 2
    });
    assert_eq!(
        metric(&address, "tidegate_outbox_bytes"),
        0,
        "nothing waits for those that are gone"
    );
    talk.end();
    assert_bounded(&server, before);
    hung.kill().expect("it is there");
    hung.wait().expect("it ends");
}

#[test]
fn a_sum_that_does_not_add_up_is_named_and_ends_a_run_with_status_2() {
    let server = server(IN_FLIGHT);
    // Said to be reliable, which it is not: what is conflated must not be.
    let words = [
        "slow",
        "--namespace=latest",
        "--keys=1",
        "--subscribers=4",
        "--stopped=2",
        "--rate=500",
        "--payload=4000",
        "--seconds=1",
    ];
    let output = generator(&server, &words).output().expect("the binary");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("the sums do not add up: stopped: "), "{said}");
    assert!(
        said.contains("conflated and 0 dropped in a reliable lane"),
        "{said}"
    );
}

// --- helpers

/// A server with these lines under `[limits]`.
fn server(limits: &str) -> Server {
    let config = format!(
        "[limits]\n{limits}\n[engine]\nkind = \"memory\"\n[[namespace]]\nname = \"load\"\n[[namespace]]\nname = \"latest\"\nlane = \
         \"latest\"\n[[namespace]]\nname = \"lossy\"\nlane = \"lossy\"\ndeadline = \"100ms\"\n"
    );
    Server::started(&config)
}

/// Keeps up with a room of keys, until it got or was told all that is due.
struct Watcher {
    room: &'static str,
    thread: JoinHandle<BTreeMap<String, u64>>,
}

impl Watcher {
    fn begin(address: &str, room: &'static str, due: u64) -> Self {
        let mut client = Client::connect(address, "watcher").expect("the server takes connections");
        client.send(&json!({"id": 2, "join": {"room": room}}));
        let reply = client.receive().expect("an answer");
        assert_eq!(reply["ok"]["offset"], 0, "{reply}");
        let watch = move || {
            let (mut newest, mut told) = (BTreeMap::new(), 0);
            while told < due {
                let frame = client.receive().expect("what is due");
                let (event, gap) = (&frame["event"], &frame["gap"]);
                if let Some(offset) = event["offset"].as_u64() {
                    let key = event["key"].as_str().expect("a key").to_owned();
                    assert!(newest.insert(key, offset) < Some(offset), "{frame}");
                    told += 1;
                } else if gap.is_object() {
                    assert_eq!(gap["reason"], "conflated", "{frame}");
                    told += number(gap, "count");
                }
            }
            assert_eq!(told, due);
            newest
        };
        let thread = thread::spawn(watch);
        Self { room, thread }
    }

    /// Has the newest of each key, as the room's history says.
    fn end(self, address: &str) {
        let seen = self.thread.join().expect("the watcher");
        let mut client = Client::connect(address, "reader").expect("the server takes connections");
        client.send(&json!({"id": 2, "history": {"room": self.room, "limit": 50, "reverse": true}}));
        let page = client.receive().expect("a page");
        let publications = page["ok"]["publications"].as_array().expect("publications");
        let mut newest = BTreeMap::new();
        for publication in publications {
            let key = publication["key"].as_str().expect("a key").to_owned();
            newest.entry(key).or_insert_with(|| number(publication, "offset"));
        }
        assert_eq!(seen, newest);
    }
}

/// Runs a workload whose sums must add up, and holds the server's memory against its bound.
fn load(server: &Server, words: &[&str]) -> Value {
    let output = generator(server, words).output().expect("the binary");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(report["wrong_sums"], json!([]));
    let growth = number(&report, "memory_peak_bytes") - number(&report, "memory_before_bytes");
    assert!(growth < GROWTH_MAX, "the server grew by {} MiB", growth / MIB);
    report
}

fn generator(server: &Server, words: &[&str]) -> Command {
    let url = format!("ws://{}/v1/ws", server.address());
    let pid = server.pid().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command
        .arg("load")
        .args(words)
        .args(["--json", "--url", &url, "--pid", &pid])
        .stdin(Stdio::null());
    command
}

fn number(of: &Value, name: &str) -> u64 {
    of[name]
        .as_u64()
        .unwrap_or_else(|| panic!("no number {name} in {of}"))
}

fn assert_all_delivered(class: &Value, due: u64) {
    let names = [
        "due",
        "delivered",
        "conflated",
        "dropped",
        "missed",
        "lost",
        "doubled",
        "out_of_order",
    ];
    assert_eq!(
        names.map(|name| number(class, name)),
        [due, due, 0, 0, 0, 0, 0, 0],
        "{class}"
    );
}

fn resident(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.expect("a number of kB") * 1024
}

fn assert_bounded(server: &Server, before: u64) {
    let growth = resident(server).saturating_sub(before);
    assert!(growth < GROWTH_MAX, "the server grew by {} MiB", growth / MIB);
}

/// One metric of the server, summed over its labels.
fn metric(address: &str, name: &str) -> u64 {
    let mut socket = TcpStream::connect(address).expect("the server takes connections");
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).expect("it is read");
    let mut text = String::new();
    socket.read_to_string(&mut text).expect("an answer");
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    lines
        .map(|value| value.trim().parse::<f64>().expect("a number") as u64)
        .sum()
}

/// Someone who writes a byte now and then.
struct Writer {
    socket: TcpStream,
    is_ended: bool,
}

impl Writer {
    fn dribble(&mut self) {
        if self.is_ended {
            return;
        }
        let mut answer = [0; 512];
        self.is_ended = match self.socket.read(&mut answer) {
            Ok(len) => len == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        };
        if !self.is_ended {
            let _ = self.socket.write(b"x");
        }
    }
}

/// Two well-behaved clients: one publishes, one must get all of it in order.
struct Talk {
    publisher: Client,
    subscriber: Client,
    published: u64,
    id: u64,
}

impl Talk {
    fn begin(address: &str) -> Self {
        let connect = |user| Client::connect(address, user).expect("the server takes connections");
        let (publisher, mut subscriber) = (connect("ann"), connect("bob"));
        subscriber.send(&json!({"id": 2, "join": {"room": "load:talk"}}));
        let reply = subscriber.receive().expect("an answer");
        assert_eq!(reply["ok"]["offset"], 0, "{reply}");
        Self {
            publisher,
            subscriber,
            published: 0,
            id: 1,
        }
    }

    /// Publishes, is acknowledged, and the other gets just that.
    fn exchange(&mut self) {
        self.publish("load:talk", 10);
        self.published += 1;
        let event = self.subscriber.receive().expect("it stays connected");
        assert_eq!(event["event"]["offset"], self.published, "{event}");
    }

    fn publish(&mut self, room: &str, len: usize) {
        self.id += 1;
        let publish = json!({"id": self.id, "publish": {"room": room, "data": "x".repeat(len)}});
        assert!(self.publisher.send(&publish));
        let reply = self.publisher.receive().expect("it stays connected");
        assert!(reply["id"] == self.id && reply.get("ok").is_some(), "{reply}");
    }

    /// Nothing more comes than was published.
    fn end(mut self) {
        assert!(self.published > 0);
        self.subscriber.send(&json!({"id": 3, "ping": {"t0": 1}}));
        let pong = self.subscriber.receive().expect("it stays connected");
        assert_eq!(pong["id"], 3, "{pong}");
        self.subscriber.set_read_timeout(Duration::from_millis(1));
        assert!(matches!(self.subscriber.receive_or_quiet(), Received::Quiet));
    }
}

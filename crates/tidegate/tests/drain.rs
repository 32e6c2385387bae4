//! Clients sent away by a real process, and back at the one that replaces it: nothing is missed, slots are
//! even and kept, and a second signal ends it at once. Counts and order, never times.

// Of the support, only what starts servers and waits is used here.
#[allow(dead_code, reason = "shared with tests that use more of it")]
mod support;

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Output, Stdio},
};

use serde_json::{Value, json};
use support::{Client, Received, Server, wait_until};

const CONFIG: &str = r#"
[engine]
kind = "log"
dir = "DATA"
[[namespace]]
name = "load"
durability = "sync"
history = { count = 100000, bytes = "256MiB" }
replay_max = 100000
[[namespace]]
name = "chat"
"#;

fn server(more: &str) -> Server {
    Server::started(&format!("{more}{CONFIG}"))
}

/// A storm of 300 subscribers and 4 publishers, once all are connected and publications flow.
struct Storm {
    process: Child,
    said: BufReader<std::process::ChildStderr>,
}

impl Storm {
    fn begin(server: &Server, words: &[&str]) -> Self {
        let url = format!("ws://{}/v1/ws", server.address());
        let mut process = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args([
                "load",
                "storm",
                "--connections=300",
                "--rooms=30",
                "--rate=300",
                "--payload=100",
            ])
            .args(words)
            .args(["--json", "--url", &url])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        let mut said = BufReader::new(process.stderr.take().expect("piped"));
        let mut line = String::new();
        while line.trim_end() != "304 connected" {
            line.clear();
            let len = said.read_line(&mut line).expect("UTF-8");
            assert!(len > 0, "it ended before all were connected");
        }
        Self { process, said }
    }

    /// What it reports; its exit status says whether all sums add up.
    fn end(mut self) -> Value {
        let (mut said, mut report) = (String::new(), String::new());
        let mut out = self.process.stdout.take().expect("piped");
        out.read_to_string(&mut report).expect("UTF-8");
        self.said.read_to_string(&mut said).expect("UTF-8");
        let status = self.process.wait().expect("it ends");
        assert!(status.success(), "{said}{report}");
        serde_json::from_str(&report).expect("one JSON object")
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn figure(report: &Value, name: &str) -> f64 {
    report[name]
        .as_f64()
        .unwrap_or_else(|| panic!("no figure {name} in {report}"))
}

/// Every subscriber of the storm was away once, came back, and has everything that was acknowledged.
fn assert_nothing_missed(report: &Value) {
    let class = &report["storm"];
    assert_eq!(
        (&class["closed"], &class["came_back"]),
        (&json!(300), &json!(300))
    );
    // What was never answered may have happened, and is delivered then too.
    assert!(class["delivered"].as_u64() >= class["due"].as_u64(), "{class}");
    for name in ["missed", "lost", "waiting", "doubled", "out_of_order"] {
        assert_eq!(class[name], 0, "{name}: {class}");
    }
    assert_eq!(report["wrong_sums"], json!([]));
}

fn assert_slots_are_even_and_kept(report: &Value) {
    assert_eq!(figure(report, "slots_told"), 304.0);
    assert_eq!(figure(report, "attempts_before_slot"), 0.0);
    assert_eq!(figure(report, "lost_without_slot"), 0.0);
    // As the server tells them: how punctual the clients of a busy machine are is another matter.
    let paced = figure(report, "slots_per_second");
    assert!((95.0..=105.0).contains(&paced), "{paced} a second");
    assert!(
        figure(report, "slots_peak_per_second") <= 1.1 * paced + 1.0,
        "{report}"
    );
}

#[test]
fn all_come_back_at_their_slots_to_the_process_that_replaces_the_one_that_stopped() {
    let mut server = server("drain = { reconnects_per_second = 100, first_slot = \"2s\" }\n");
    let storm = Storm::begin(&server, &["--drain"]);
    let mut readers: Vec<Reader> = (0..10).map(|_| Reader::join(&server)).collect();
    publish(&server, 1..=50);
    server.terminate();
    for reader in &mut readers {
        reader.read_to_the_end();
    }
    assert_eq!(server.ended(), Some(0), "a drain is a clean end");
    server.start();
    // While they are away more is published than they have seen.
    publish(&server, 51..=100);
    for reader in &mut readers {
        reader.resume(&server, 100);
    }
    let report = storm.end();
    assert_nothing_missed(&report);
    assert_slots_are_even_and_kept(&report);
    assert_eq!(report["closes"], json!({"4000": 304}));
}

/// Publishes and has each acknowledged, under the offsets that are expected.
fn publish(server: &Server, offsets: std::ops::RangeInclusive<u64>) {
    let mut client = Client::connect(&server.address(), "writer").expect("it listens");
    for offset in offsets {
        let publish = json!({"id": offset + 1, "publish": {"room": "chat:lobby", "data": offset}});
        assert!(client.send(&publish));
        let reply = client.receive().expect("an answer");
        assert_eq!(reply["ok"]["offset"], offset, "{reply}");
    }
}

/// One who follows a room over two connections.
struct Reader {
    client: Client,
    epoch: Value,
    seen: u64,
}

impl Reader {
    fn join(server: &Server) -> Self {
        let mut client = Client::connect(&server.address(), "reader").expect("it listens");
        assert!(client.send(&json!({"id": 2, "join": {"room": "chat:lobby"}})));
        let reply = client.receive().expect("an answer");
        let epoch = reply["ok"]["epoch"].clone();
        Self {
            client,
            epoch,
            seen: 0,
        }
    }

    fn see(&mut self, event: &Value) {
        self.seen += 1;
        assert_eq!(
            (&event["offset"], &event["data"]),
            (&json!(self.seen), &json!(self.seen))
        );
    }

    /// Up to the close: events in order, and a slot.
    fn read_to_the_end(&mut self) {
        let mut slots = 0;
        while let Some(frame) = self.client.receive() {
            match frame.get("event") {
                Some(event) => self.see(event),
                None => {
                    assert_eq!(frame["notice"]["kind"], "draining", "{frame}");
                    slots += 1;
                }
            }
        }
        assert_eq!(slots, 1);
    }

    /// Comes back, and reads on up to this offset.
    fn resume(&mut self, server: &Server, to: u64) {
        self.client = Client::connect(&server.address(), "reader").expect("it listens");
        let since = json!({"epoch": self.epoch, "offset": self.seen});
        let join = json!({"id": 2, "join": {"room": "chat:lobby", "since": since}});
        assert!(self.client.send(&join));
        let reply = self.client.receive().expect("an answer");
        assert_eq!(reply["ok"]["recovery"], "replay", "{reply}");
        assert_eq!(reply["ok"]["replayed"], to - self.seen);
        while self.seen < to {
            let frame = self.client.receive().expect("an event");
            self.see(&frame["event"]);
        }
    }
}

#[test]
fn all_go_elsewhere_one_after_the_other_while_the_rest_is_served() {
    // Elsewhere is, with an engine of this machine's, a process that starts when this one has ended.
    let mut server = server("drain = { reconnects_per_second = 100, come_back = \"elsewhere\" }\n");
    let storm = Storm::begin(&server, &["--drain", "--processes=2"]);
    server.terminate();
    assert_eq!(server.ended(), Some(0));
    server.start();
    let report = storm.end();
    assert_nothing_missed(&report);
    assert_slots_are_even_and_kept(&report);
    assert_eq!(report["closes"], json!({"4000": 304}));
    let replayed = &report["storm"]["replayed"];
    assert!(
        replayed.as_u64() > Some(0),
        "publications went on meanwhile: {report}"
    );
}

#[test]
fn after_a_crash_they_come_back_spread_over_the_servers_window() {
    let mut server = server("limits.reconnect_window = \"5s\"\n");
    let storm = Storm::begin(&server, &["--wait-restart"]);
    server.kill();
    server.start();
    let report = storm.end();
    assert_nothing_missed(&report);
    assert_eq!(report["closes"], json!({"1006": 304}));
    // Sixty a second, and those again that found nobody.
    assert!(figure(&report, "reconnects_peak_per_second") <= 200.0, "{report}");
}

#[test]
fn a_second_signal_ends_at_once() {
    // Slots so far apart that waiting for them would take hours.
    let mut server =
        server("drain = { reconnects_per_second = 1, within = \"1h\", come_back = \"elsewhere\" }\n");
    let mut clients: Vec<Client> = (0..100)
        .map(|n| Client::connect(&server.address(), &format!("user-{n}")).expect("it listens"))
        .collect();
    server.terminate();
    let mut slots = clients.iter_mut().map(|client| slot(client).expect("a slot"));
    assert!(slots.all(|in_ms| in_ms < 100_000));
    // Signals that come close together are one wish; asked for longer, it ends.
    wait_until("it ends", || {
        server.terminate();
        !server.is_running()
    });
    assert_eq!(server.ended(), Some(130));
    // Whoever was not due yet was cut off without a word.
    assert!(matches!(clients[99].receive_or_quiet(), Received::Closed));
}

/// The slot a client is told next; none when the connection ends before.
fn slot(client: &mut Client) -> Option<u64> {
    loop {
        let frame = client.receive()?;
        if frame["notice"]["kind"] == "draining" {
            return frame["notice"]["in_ms"].as_u64();
        }
    }
}

#[test]
fn a_share_goes_by_one_command_and_all_by_another() {
    let key = "operator-0123456789";
    let mut server = server(&format!(
        "api.keys = [{{ name = \"operator\", secret = \"{key}\", scopes = [\"admin\"] }}]\n"
    ));
    let mut clients: Vec<Client> = (0..10)
        .map(|n| {
            let mut client = Client::connect(&server.address(), &format!("user-{n}")).expect("it listens");
            assert!(client.send(&json!({"id": 2, "join": {"room": "chat:lobby"}})));
            assert!(client.receive().expect("an answer").get("ok").is_some());
            client
        })
        .collect();

    let refused = ask(&server, &["rebalance", "--share", "20%"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(err(&refused).contains("--api-key"), "{}", err(&refused));
    let wrong = ask(&server, &["rebalance", "--share", "0%", "--api-key", key]);
    assert!(err(&wrong).contains("1% to 100%"), "{}", err(&wrong));

    let done = ask(
        &server,
        &["rebalance", "--share", "20%", "--within", "0s", "--api-key", key],
    );
    assert_eq!(
        out(&done),
        "rebalancing: 2 sessions go within 0s\n",
        "{}",
        err(&done)
    );
    // The rest stays, and hears of what is published; others come in.
    let mut newcomer = Client::connect(&server.address(), "newcomer").expect("it listens");
    assert!(newcomer.send(&json!({"id": 2, "publish": {"room": "chat:lobby", "data": 1}})));
    assert!(newcomer.receive().expect("an answer").get("ok").is_some());
    let mut gone = 0;
    for client in &mut clients {
        let frame = client.receive().expect("a notice or an event");
        match frame.get("event") {
            Some(event) => assert_eq!(event["offset"], 1),
            None => {
                assert_eq!(frame, json!({"notice": {"kind": "draining", "in_ms": 0}}));
                assert!(client.receive().is_none());
                gone += 1;
            }
        }
    }
    assert_eq!(gone, 2);

    let done = ask(&server, &["drain", "--within", "7s", "--api-key", key]);
    let words = "draining: clients come back here within 7s, then the server ends\n";
    assert_eq!(out(&done), words, "{}", err(&done));
    assert!(slot(&mut newcomer).is_some() && newcomer.receive().is_none());
    assert_eq!(server.ended(), Some(0));
    let nobody = ask(&server, &["drain", "--api-key", key]);
    assert!(err(&nobody).contains("does not answer"), "{}", err(&nobody));
}

fn ask(server: &Server, words: &[&str]) -> Output {
    let url = format!("http://{}", server.address());
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(words)
        .args(["--server", &url])
        .env_remove("TIDEGATE_API_KEY")
        .stdin(Stdio::null())
        .output()
        .expect("the binary")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

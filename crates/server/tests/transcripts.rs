//! Plays the transcripts of conformance/ against a real server, in JSON and, transcoded by our own
//! codec, in the binary subprotocol. How they are written stands in conformance/README.md.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::Value;
use tidegate_server::{ServeError, Server, config::Config};
use tidegate_wire::{
    Codec, ServerFrame,
    code::{CloseReason, RejectCode},
    frame::GapReason,
};
use tungstenite::{Message, WebSocket, client::IntoClientRequest};

const PATIENCE: Duration = Duration::from_secs(20);

const CONFIG: &str = r#"
listen = "127.0.0.1:0"
shards = 1
[engine]
kind = "memory"
[[namespace]]
name = "chat"
[[namespace]]
name = "few"
history = { count = 3 }
replay_max = 3
window = { count = 1 }
[[namespace]]
name = "none"
payload_bytes_max = "1KiB"
history = { count = 0 }
presence = { enabled = false }
"#;

/// Added for a transcript whose first line has `tokens`.
const TOKENS: &str = r#"
[auth]
secret = "conformance-secret-conformance-secret"
"#;

struct Player {
    codec: Codec,
    address: String,
    server: Option<Server>,
    stopping: Option<JoinHandle<Result<(), ServeError>>>,
    clients: HashMap<String, Client>,
    bound: BTreeMap<String, Value>,
}

struct Client {
    socket: WebSocket<Line>,
    waiting: Vec<Value>,
    closed: Option<u16>,
}

/// A client's connection. Once it is mute, nothing that is written gets through: no pong either.
struct Line {
    stream: TcpStream,
    is_mute: bool,
}

impl Read for Line {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.read(into)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.is_mute {
            true => Ok(bytes.len()),
            false => self.stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Player {
    fn client(&mut self, name: &str) -> &mut Client {
        let (address, codec) = (&self.address, self.codec);
        self.clients.entry(name.to_owned()).or_insert_with(|| {
            let stream = TcpStream::connect(address).expect("the server listens");
            stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
            let mut request = format!("ws://{address}/v1/ws")
                .into_client_request()
                .expect("an address");
            let protocol = codec.subprotocol().parse().expect("a header value");
            request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
            let line = Line {
                stream,
                is_mute: false,
            };
            let (socket, _) = tungstenite::client(request, line).expect("a handshake");
            Client {
                socket,
                waiting: Vec::new(),
                closed: None,
            }
        })
    }

    fn play(&mut self, line: &Value) {
        if let Some(path) = line["post"].as_str() {
            return self.post(path, &line["body"].to_string());
        }
        if let Some(end) = line["server"].as_str() {
            // It waits for its clients' farewells, so they must be able to read meanwhile.
            let server = self.server.take().expect("it stops once");
            let ended = match end {
                "shutdown" => thread::spawn(move || server.shutdown(Duration::from_secs(5))),
                "drain" => thread::spawn(move || server.drain(Duration::from_secs(30))),
                other => panic!("a server does not {other}"),
            };
            self.stopping = Some(ended);
            return;
        }
        let Some(name) = line["client"].as_str() else {
            assert!(line.get("name").is_some(), "a line that says nothing: {line}");
            return;
        };
        let codec = self.codec;
        if let Some(commands) = line.get("send_all").and_then(Value::as_array) {
            let times = line["times"].as_u64().unwrap_or(1);
            let counted = |n: u64| commands.iter().map(move |command| (n, command));
            let texts: Vec<String> = (0..times)
                .flat_map(counted)
                .map(|(n, command)| {
                    let mut command = fill(command, &self.bound);
                    command["id"] = (command["id"].as_u64().expect("an id") + n).into();
                    command.to_string()
                })
                .collect();
            let message = match codec {
                Codec::Json => Message::text(texts.concat()),
                Codec::Binary => Message::binary(to_binary(&texts.concat())),
            };
            self.client(name).socket.send(message).expect("it is open");
        } else if let Some(send) = line.get("send") {
            let text = fill(send, &self.bound).to_string();
            let message = match codec {
                Codec::Json => Message::text(text),
                Codec::Binary => Message::binary(to_binary(&text)),
            };
            self.client(name).socket.send(message).expect("it is open");
        } else if let Some(text) = line["send_text"].as_str() {
            self.client(name)
                .socket
                .send(Message::text(text))
                .expect("it is open");
        } else if let Some(bytes) = line["send_hex"].as_str() {
            self.client(name)
                .socket
                .send(Message::binary(from_hex(bytes)))
                .expect("it is open");
        } else if line["mute"] == true {
            self.client(name).socket.get_mut().is_mute = true;
        } else if let Some(expected) = line.get("expect") {
            self.expect(name, expected);
        } else if let Some(code) = line["expect_close"].as_u64() {
            let client = self.client(name);
            while client.closed.is_none() {
                client.read(codec);
            }
            assert_eq!(client.closed.map(u64::from), Some(code));
        } else {
            panic!("a line that says nothing: {line}");
        }
    }

    /// Asks the HTTP API, and waits for its answer.
    fn post(&self, path: &str, body: &str) {
        let mut stream = TcpStream::connect(&self.address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        let (address, length) = (&self.address, body.len());
        let head = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n");
        write!(stream, "{head}Connection: close\r\n\r\n{body}").expect("it is open");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    fn expect(&mut self, name: &str, expected: &Value) {
        let codec = self.codec;
        let mut bound = self.bound.clone();
        let client = self.client(name);
        loop {
            let fitting = client.waiting.iter().position(|frame| {
                let mut trial = bound.clone();
                let is_fitting = fits(frame, expected, &mut trial);
                if is_fitting {
                    bound = trial;
                }
                is_fitting
            });
            if let Some(place) = fitting {
                client.waiting.remove(place);
                self.bound = bound;
                return;
            }
            assert!(
                client.read(codec),
                "{name} expects {expected}; it was closed with {:?} after {:?}",
                client.closed,
                client.waiting
            );
        }
    }
}

impl Client {
    /// Reads one message; false when the connection is over.
    fn read(&mut self, codec: Codec) -> bool {
        match self.socket.read() {
            Ok(Message::Text(text)) => {
                let frames = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
                self.waiting
                    .extend(frames.map(|frame| frame.expect("the server writes JSON")));
            }
            Ok(Message::Binary(bytes)) => {
                let decoded = codec.decode_server(&bytes, &mut |frame| self.waiting.push(to_json(&frame)));
                decoded.expect("the server writes protobuf");
            }
            Ok(Message::Close(frame)) => self.closed = frame.map(|frame| frame.code.into()),
            Ok(_) => {}
            Err(tungstenite::Error::Io(error)) => {
                panic!("nothing came: {error}; waiting: {:?}", self.waiting)
            }
            Err(_) => return false,
        }
        self.closed.is_none()
    }
}

fn to_binary(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let decoded = Codec::Json.decode(text.as_bytes(), &mut |request| {
        Codec::Binary.encode_request(&request.expect("a transcript sends whole commands"), &mut bytes);
    });
    decoded.expect("a transcript sends commands");
    bytes
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("ASCII");
        u8::from_str_radix(pair, 16).expect("hexadecimal digits")
    };
    digits.chunks(2).map(byte).collect()
}

fn to_json(frame: &ServerFrame) -> Value {
    let mut text = Vec::new();
    match frame {
        ServerFrame::Reply { id, result } => Codec::Json.encode_reply(*id, result, &mut text),
        ServerFrame::Push(push) => Codec::Json.encode_push(push, &mut text),
    }
    serde_json::from_slice(&text).expect("our own JSON")
}

/// Puts what was bound into a command.
fn fill(value: &Value, bound: &BTreeMap<String, Value>) -> Value {
    match value {
        Value::String(text) if text.starts_with('$') => bound.get(text).expect("bound before").clone(),
        Value::Array(items) => items.iter().map(|item| fill(item, bound)).collect(),
        Value::Object(fields) => {
            let filled = fields
                .iter()
                .map(|(name, value)| (name.clone(), fill(value, bound)));
            Value::Object(filled.collect())
        }
        other => other.clone(),
    }
}

/// Whether a frame has at least what is expected.
fn fits(frame: &Value, expected: &Value, bound: &mut BTreeMap<String, Value>) -> bool {
    match expected {
        Value::String(text) if text == "*" => true,
        Value::String(text) if text.starts_with('$') => {
            bound.entry(text.clone()).or_insert_with(|| frame.clone()) == frame
        }
        Value::Object(fields) => {
            let has = |(name, value): (&String, &Value)| {
                frame.get(name).is_some_and(|field| fits(field, value, bound))
            };
            frame.is_object() && fields.iter().all(has)
        }
        Value::Array(items) => frame.as_array().is_some_and(|there| {
            there.len() == items.len()
                && there
                    .iter()
                    .zip(items)
                    .all(|(field, item)| fits(field, item, bound))
        }),
        Value::Number(number) => frame.as_f64() == number.as_f64(),
        other => frame == other,
    }
}

/// Every transcript, in the order of their names.
fn transcripts() -> Vec<(PathBuf, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance");
    let entries = fs::read_dir(dir).expect("the transcripts").flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a transcript");
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

fn play_all(codec: Codec) {
    let config = tempfile::NamedTempFile::new().expect("a temporary file");
    let raw_of_the_other = match codec {
        Codec::Json => "\"send_hex\"",
        Codec::Binary => "\"send_text\"",
    };
    let mut played = 0;
    for (path, text) in transcripts() {
        if text.contains(raw_of_the_other) {
            continue;
        }
        let first: Value =
            serde_json::from_str(text.lines().next().expect("a name")).expect("a line is JSON");
        let tokens = if first["tokens"] == true { TOKENS } else { "" };
        let more = first["config"].as_str().unwrap_or("");
        fs::write(config.path(), [CONFIG, tokens, more].concat()).expect("a writable file");
        let config = Config::load(config.path()).expect("a good configuration");
        let server = Server::start(&config).expect("it starts");
        let mut player = Player {
            codec,
            address: server.addr().to_string(),
            server: Some(server),
            stopping: None,
            clients: HashMap::new(),
            bound: BTreeMap::new(),
        };
        for (number, line) in text.lines().enumerate() {
            println!("{}:{}", path.display(), number + 1);
            player.play(&serde_json::from_str(line).expect("a line is JSON"));
        }
        let Player {
            server,
            stopping,
            clients,
            ..
        } = player;
        drop(clients);
        if let Some(server) = server {
            server.shutdown(Duration::from_secs(5)).expect("it stops");
        }
        if let Some(stopping) = stopping {
            stopping.join().expect("no panic").expect("it stopped");
        }
        played += 1;
    }
    assert!(played >= 6, "{played} transcripts");
}

#[test]
fn the_transcripts_are_played_in_json() {
    play_all(Codec::Json);
}

#[test]
fn the_transcripts_are_played_in_binary() {
    play_all(Codec::Binary);
}

/// Rejects that no transcript shows, and why.
const REJECTS_NOT_SHOWN: &[(RejectCode, &str)] = &[
    (RejectCode::Timeout, "the memory engine answers at once"),
    (
        RejectCode::Draining,
        "a session is closed once the engine has answered, and the memory engine answers at once",
    ),
];

/// Closes that no transcript shows, and why.
const CLOSES_NOT_SHOWN: &[(CloseReason, &str)] = &[];

/// Reasons of a gap that no transcript shows, and why.
const GAPS_NOT_SHOWN: &[(GapReason, &str)] = &[(
    GapReason::Continuity,
    "the memory engine never breaks an attachment",
)];

#[test]
fn every_code_is_in_a_transcript_or_on_the_list_of_those_that_are_not() {
    let (mut rejects, mut closes, mut gaps) = (Vec::new(), Vec::new(), Vec::new());
    for (_, text) in transcripts() {
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).expect("a line is JSON");
            let said = &line["expect"];
            let reject = &said["reject"];
            if let Some(number) = reject["code"].as_u64() {
                let code = RejectCode::from_number(number as u16).expect("a code of the table");
                assert_eq!(reject["name"], code.name(), "{line}");
                rejects.push(code);
            }
            if let Some(number) = line["expect_close"].as_u64() {
                closes.extend(CloseReason::from_number(number as u16));
            }
            for reason in [&said["ok"]["reason"], &said["ok"]["gap"], &said["gap"]["reason"]] {
                gaps.extend(GapReason::ALL.iter().filter(|gap| *reason == gap.name()).copied());
            }
        }
    }
    assert_eq!(not_among(RejectCode::ALL, &rejects), firsts(REJECTS_NOT_SHOWN));
    assert_eq!(not_among(CloseReason::ALL, &closes), firsts(CLOSES_NOT_SHOWN));
    assert_eq!(not_among(GapReason::ALL, &gaps), firsts(GAPS_NOT_SHOWN));
}

fn not_among<T: Copy + PartialEq>(all: &[T], shown: &[T]) -> Vec<T> {
    all.iter().filter(|one| !shown.contains(one)).copied().collect()
}

fn firsts<T: Copy>(listed: &[(T, &str)]) -> Vec<T> {
    listed.iter().map(|(one, _)| *one).collect()
}

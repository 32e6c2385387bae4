//! Plays the transcripts of conformance/ against a real server, in JSON and, transcoded by our own
//! codec, in the binary subprotocol. How they are written stands in conformance/README.md.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    net::TcpStream,
    path::Path,
    time::Duration,
};

use serde_json::Value;
use tidegate_server::{Server, config::Config};
use tidegate_wire::{Codec, ServerFrame};
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
    clients: HashMap<String, Client>,
    bound: BTreeMap<String, Value>,
}

struct Client {
    socket: WebSocket<TcpStream>,
    waiting: Vec<Value>,
    closed: Option<u16>,
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
            let (socket, _) = tungstenite::client(request, stream).expect("a handshake");
            Client {
                socket,
                waiting: Vec::new(),
                closed: None,
            }
        })
    }

    fn play(&mut self, line: &Value) {
        let Some(name) = line["client"].as_str() else {
            return;
        };
        let codec = self.codec;
        if let Some(send) = line.get("send") {
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

fn play_all(codec: Codec) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance");
    let config = tempfile::NamedTempFile::new().expect("a temporary file");
    let mut played = 0;
    for entry in fs::read_dir(dir).expect("the transcripts").flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a transcript");
        if codec == Codec::Binary && text.contains("\"send_text\"") {
            continue;
        }
        let first: Value =
            serde_json::from_str(text.lines().next().expect("a name")).expect("a line is JSON");
        let tokens = if first["tokens"] == true { TOKENS } else { "" };
        fs::write(config.path(), [CONFIG, tokens].concat()).expect("a writable file");
        let config = Config::load(config.path()).expect("a good configuration");
        let server = Server::start(&config).expect("it starts");
        let mut player = Player {
            codec,
            address: server.addr().to_string(),
            clients: HashMap::new(),
            bound: BTreeMap::new(),
        };
        for (number, line) in text.lines().enumerate() {
            println!("{}:{}", path.display(), number + 1);
            player.play(&serde_json::from_str(line).expect("a line is JSON"));
        }
        drop(player);
        server.shutdown(Duration::from_secs(5)).expect("it stops");
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

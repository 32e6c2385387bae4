//! A whole server on a free port, and clients of it, blocking and plain.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tidegate_server::{Server, config::Config};
use tidegate_wire::{
    Codec, Payload, RoomName,
    frame::{Command, Connect, Join, Ok as Reply, Publish, Push, Request, ServerFrame, Wishes},
    parts::ServerReader,
};
use tungstenite::{
    Error, Message, WebSocket,
    client::IntoClientRequest,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

/// Longest wait for anything that must come; long, because the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running server; ends with the test.
pub struct World {
    pub server: Option<Server>,
    pub addr: SocketAddr,
    /// Configuration, certificates.
    pub dir: tempfile::TempDir,
}

impl World {
    /// Starts with the given shards and more lines of configuration, tables last.
    pub fn start(shards: usize, more: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        Self::start_in(dir, shards, more)
    }

    pub fn start_in(dir: tempfile::TempDir, shards: usize, more: &str) -> Self {
        let text = format!(
            "listen = \"127.0.0.1:0\"\nshards = {shards}\n{more}\n\
             [engine]\nkind = \"memory\"\n\
             [[namespace]]\nname = \"chat\"\npayload_bytes_max = \"64KiB\"\n"
        );
        let path = dir.path().join("tidegate.toml");
        std::fs::write(&path, text).expect("a writable folder");
        let config = Config::load(&path).unwrap_or_else(|errors| panic!("{errors}"));
        let server = Server::start(&config).unwrap_or_else(|error| panic!("{error}"));
        Self {
            addr: server.addr(),
            server: Some(server),
            dir,
        }
    }

    /// A socket that nothing was said over.
    pub fn socket(&self) -> TcpStream {
        let socket = TcpStream::connect(self.addr).expect("the server listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        socket
    }

    /// A metric's value, its labels included in `name`; 0 when it is not there.
    pub fn metric(&self, name: &str) -> u64 {
        let mut socket = self.socket();
        socket
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .expect("a socket");
        let (text, _) = read_all(&socket);
        let text = String::from_utf8(text).expect("metrics are text");
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse::<f64>().expect("a number") as u64)
    }

    /// An open WebSocket, `connect` not sent.
    pub fn open(&self, codec: Codec) -> Client {
        Client::open(self.socket(), self.addr, codec)
    }

    /// A client whose `connect` was answered.
    pub fn connect(&self, codec: Codec) -> Client {
        let mut client = self.open(codec);
        client.ask_connect();
        client
    }

    /// A client in a room.
    pub fn join(&self, codec: Codec, room: &str) -> Client {
        let mut client = self.connect(codec);
        client.ask_join(room);
        client
    }

    /// Stops it; everything must be over within the deadline.
    pub fn stop(&mut self, deadline: Duration) {
        if let Some(server) = self.server.take() {
            server.shutdown(deadline).expect("a clean stop");
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop(Duration::from_secs(2));
        }
    }
}

/// A client of the native protocol over any blocking stream.
pub struct Client<S = TcpStream> {
    pub socket: WebSocket<S>,
    codec: Codec,
    parts: ServerReader,
    next: u32,
    waiting: VecDeque<ServerFrame>,
}

impl<S: Read + Write> Client<S> {
    pub fn open(stream: S, addr: SocketAddr, codec: Codec) -> Self {
        let mut request = format!("ws://{addr}/v1/ws")
            .into_client_request()
            .expect("an address");
        let protocol = codec.subprotocol().parse().expect("a header value");
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        let (socket, response) = tungstenite::client(request, stream).expect("an upgrade");
        assert_eq!(response.headers()["Sec-WebSocket-Protocol"], codec.subprotocol());
        Self {
            socket,
            codec,
            parts: ServerReader::new(codec),
            next: 1,
            waiting: VecDeque::new(),
        }
    }

    pub fn send(&mut self, command: Command) -> u32 {
        let id = self.next;
        self.next += 1;
        let mut bytes = Vec::new();
        self.codec.encode_request(&Request { id, command }, &mut bytes);
        let message = match self.codec {
            Codec::Json => Message::text(String::from_utf8(bytes).expect("JSON is UTF-8")),
            Codec::Binary => Message::binary(bytes),
        };
        self.socket.send(message).expect("the server reads");
        id
    }

    pub fn next(&mut self) -> ServerFrame {
        loop {
            if let Some(frame) = self.waiting.pop_front() {
                return frame;
            }
            let message = self.socket.read().expect("a message");
            let bytes = match (&message, self.codec) {
                (Message::Text(text), Codec::Json) => text.as_bytes(),
                (Message::Binary(bytes), Codec::Binary) => bytes,
                (Message::Ping(_) | Message::Pong(_), _) => continue,
                _ => panic!("{message:?}"),
            };
            let waiting = &mut self.waiting;
            let sink = &mut |frame| waiting.push_back(frame);
            self.parts.read(bytes, sink).expect("frames of ours");
        }
    }

    /// The reply to a command; what comes before it is dropped.
    pub fn reply(&mut self, id: u32) -> Reply {
        loop {
            if let ServerFrame::Reply { id: of, result } = self.next()
                && of == id
            {
                return result.unwrap_or_else(|reject| panic!("{reject:?}"));
            }
        }
    }

    /// The next event's payload; anything else before it is dropped.
    pub fn event(&mut self) -> String {
        loop {
            if let ServerFrame::Push(Push::Event { publication, .. }) = self.next() {
                return String::from_utf8_lossy(publication.data.as_bytes()).into_owned();
            }
        }
    }

    pub fn ask_connect(&mut self) -> Reply {
        let id = self.send(Command::Connect(Connect::default()));
        self.reply(id)
    }

    pub fn ask_join(&mut self, room: &str) -> Reply {
        let room = RoomName::parse(room).expect("a room");
        let join = Join {
            room,
            since: None,
            last: None,
            enter: false,
            members: false,
            wishes: Wishes::default(),
            state: false,
        };
        let id = self.send(Command::Join(join));
        self.reply(id)
    }

    pub fn publish(&mut self, room: &str, data: &str) -> u32 {
        self.send(Command::Publish(Publish {
            room: RoomName::parse(room).expect("a room"),
            lane: None,
            data: Payload::Json(Bytes::copy_from_slice(data.as_bytes())),
            msg: Bytes::new(),
            key: Bytes::new(),
            sent_us: 0,
        }))
    }

    /// Reads up to the close frame; its code, and what the server sent as its reason.
    pub fn close_code(&mut self) -> (u16, String) {
        loop {
            match self.socket.read() {
                Ok(Message::Close(Some(CloseFrame { code, reason }))) => {
                    return (CloseCode::into(code), reason.to_string());
                }
                Ok(Message::Close(None)) => return (1005, String::new()),
                Ok(_) => {}
                Err(error) => panic!("no close frame but {error}"),
            }
        }
    }

    /// Reads up to the end of the stream.
    pub fn read_to_end(&mut self) {
        loop {
            match self.socket.read() {
                Ok(_) => {}
                Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Protocol(_)) => return,
                Err(Error::Io(error)) if is_end(error.kind()) => return,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn is_end(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe
    )
}

/// Everything a socket still gives, up to its end; and how long that took.
pub fn read_all(mut socket: &TcpStream) -> (Vec<u8>, Duration) {
    let began = Instant::now();
    let mut bytes = Vec::new();
    match socket.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if is_end(error.kind()) => {}
        Err(error) => panic!("the server did not end the connection: {error}"),
    }
    (bytes, began.elapsed())
}

/// Reads an HTTP response's head.
pub fn read_head(mut socket: &TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        assert_eq!(
            socket.read(&mut byte).expect("a head"),
            1,
            "{}",
            String::from_utf8_lossy(&head)
        );
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("a head is ASCII")
}

/// A handshake's bytes, with more headers.
pub fn upgrade(target: &str, more: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: tidegate.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// The usual subprotocol.
pub const JSON: &str = "Sec-WebSocket-Protocol: tidegate.v1.json\r\n";

/// A masked client frame.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    bytes.extend_from_slice(&mask);
    bytes.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}

/// Waits until `is_so`; fails when it does not come true.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

//! A client as plain as HTTP/1.1 allows, so that what is sent and answered can be read off
//! byte by byte. WebSocket clients are the edge tests' own.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::Value;
use tidegate_wire::{
    Codec, RoomName,
    frame::{Command, Connect, Join, Wishes},
};

use crate::world::{Client, World};

/// Keys, one per scope.
pub const KEYS: &str = r#"
[[api.keys]]
name = "writer"
secret = "writer-0123456789"
scopes = ["publish"]

[[api.keys]]
name = "reader"
secret = "reader-0123456789"
scopes = ["read"]

[[api.keys]]
name = "operator"
secret = "operator-0123456789"
scopes = ["admin"]
"#;

/// Short bounds, so that what runs into them is soon over.
pub const SHORT: &str = r#"
[limits]
handshake_timeout = "300ms"
http_head_timeout = "300ms"
http_request_timeout = "300ms"
http_body_bytes_max = "128KiB"
"#;

/// One connection, kept alive.
pub struct Http<S = TcpStream>(pub S);

pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Http {
    pub fn to(world: &World) -> Self {
        Self(world.socket())
    }
}

impl<S: Read + Write> Http<S> {
    pub fn call(&mut self, method: &str, target: &str, headers: &str, body: &str) -> Answer {
        let len = body.len();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: tidegate.test\r\nContent-Length: {len}\r\n{headers}\r\n{body}"
        );
        self.0.write_all(request.as_bytes()).expect("the server reads");
        self.answer()
    }

    pub fn get(&mut self, target: &str) -> Answer {
        self.call("GET", target, "", "")
    }

    pub fn post(&mut self, target: &str, body: &Value) -> Answer {
        self.call(
            "POST",
            target,
            "Content-Type: application/json\r\n",
            &body.to_string(),
        )
    }

    pub fn answer(&mut self) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap_or_else(|error| {
                panic!("{error} after the head's {:?}", String::from_utf8_lossy(&head))
            });
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("a head is ASCII");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().expect("a status line");
        let status = status.strip_prefix("HTTP/1.1 ").expect("HTTP/1.1");
        let headers: BTreeMap<_, _> = lines
            .map(|line| line.split_once(": ").expect("a header"))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let len = headers.get("content-length").expect("answers have a length");
        let mut body = vec![0; len.parse().expect("a length")];
        self.0.read_exact(&mut body).expect("a body");
        let status = status[..3].parse().expect("a status");
        Answer {
            status,
            headers,
            body,
        }
    }
}

impl Answer {
    #[track_caller]
    pub fn text(self, status: u16) -> String {
        let body = String::from_utf8(self.body).expect("a text");
        assert_eq!(self.status, status, "{body}");
        body
    }

    /// The body of a 200.
    #[track_caller]
    pub fn ok(self) -> Value {
        let kind = self.headers["content-type"].clone();
        let body = self.text(200);
        assert_eq!(kind, "application/json", "{body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// The body of a refusal, which is always a problem of RFC 9457.
    #[track_caller]
    pub fn problem(self, status: u16) -> Value {
        let kind = self.headers.get("content-type").cloned();
        let body = self.text(status);
        assert_eq!(kind.as_deref(), Some("application/problem+json"), "{body}");
        let problem: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], "about:blank");
        assert!(!problem["title"].as_str().expect("a title").is_empty());
        assert!(!problem["detail"].as_str().expect("a detail").is_empty());
        problem
    }
}

pub fn with_key(key: &str) -> String {
    format!("Authorization: Bearer {key}\r\n")
}

/// A client of that name in a room, listed there.
pub fn enter(world: &World, user: &str, room: &str) -> Client {
    let mut client = world.open(Codec::Json);
    let id = client.send(Command::Connect(Connect {
        token: user.into(),
        ..Connect::default()
    }));
    client.reply(id);
    let id = client.send(Command::Join(Join {
        room: RoomName::parse(room).expect("a room"),
        since: None,
        last: None,
        enter: true,
        members: false,
        wishes: Wishes::default(),
        state: false,
    }));
    client.reply(id);
    client
}

//! Tokens whose keys must be fetched: a session waits for them, a shard does not.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use serde_json::{Value, json};
use tidegate_wire::{
    Codec, RejectCode,
    frame::{Command, Connect, Ok as Reply, ServerFrame},
};

use crate::world::{Client, World};

const SECRET: &str = "a-secret-of-at-least-thirty-two-bytes";

/// What the issuer answers next: a document, or a status.
type Answer = Result<Value, u16>;

/// An issuer of keys on a free port, which answers only when it is told what.
fn issuer() -> (SocketAddr, Sender<Answer>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (tell, told): (_, Receiver<Answer>) = channel();
    thread::spawn(move || {
        while let Ok(answer) = told.recv() {
            let (mut socket, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
            while lines
                .next()
                .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
            {}
            let (status, body) = match answer {
                Ok(document) => (200, document.to_string()),
                Err(status) => (status, String::new()),
            };
            let head = format!(
                "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            socket.write_all((head + &body).as_bytes()).unwrap();
        }
    });
    (addr, tell)
}

fn start(issuer: SocketAddr) -> World {
    World::start(
        1,
        &format!(
            "[auth]\nsecret = \"{SECRET}\"\njwks_url = \"http://{issuer}/keys\"\njwks_cooldown = \"1s\"\njwks_timeout = \"20s\""
        ),
    )
}

/// An issuer's key: what signs, and what is published of it.
fn key() -> (EncodingKey, Value) {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let point = pair.der_bytes();
    let coordinate = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
    let jwk = json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "k1",
        "x": coordinate(1..33), "y": coordinate(33..65)});
    (
        EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap(),
        json!({"keys": [jwk]}),
    )
}

fn token(algorithm: Algorithm, key: &EncodingKey, user: &str) -> String {
    let header = Header {
        kid: Some("k1".to_owned()),
        ..Header::new(algorithm)
    };
    let claims = json!({"sub": user, "exp": 4_000_000_000u64,
        "grants": [{"rooms": ["chat:*"], "can": ["join", "publish"]}]});
    encode(&header, &claims, key).unwrap()
}

fn ask_connect(client: &mut Client, token: String) -> u32 {
    client.send(Command::Connect(Connect {
        token,
        ..Connect::default()
    }))
}

/// A client whose key is known already.
fn ann(world: &World) -> Client {
    let mut ann = world.open(Codec::Json);
    let id = ask_connect(
        &mut ann,
        token(
            Algorithm::HS256,
            &EncodingKey::from_secret(SECRET.as_bytes()),
            "ann",
        ),
    );
    ann.reply(id);
    ann.ask_join("chat:lobby");
    ann
}

#[test]
fn a_token_waits_for_its_key_while_the_shard_goes_on() {
    let (addr, tell) = issuer();
    let world = start(addr);
    let (key, document) = key();
    let mut bob = world.open(Codec::Json);
    let id = ask_connect(&mut bob, token(Algorithm::ES256, &key, "bob"));
    let mut ann = ann(&world);
    for round in 0..10 {
        ann.publish("chat:lobby", &round.to_string());
        assert_eq!(ann.event(), round.to_string());
    }
    tell.send(Ok(document)).unwrap();
    match bob.reply(id) {
        Reply::Connected(connected) => assert_eq!(connected.user, "bob"),
        other => panic!("{other:?}"),
    }
    bob.ask_join("chat:lobby");
    ann.publish("chat:lobby", "\"both\"");
    assert_eq!(bob.event(), "\"both\"");
}

#[test]
fn a_key_that_cannot_be_fetched_is_told_and_harms_nobody() {
    let (addr, tell) = issuer();
    let world = start(addr);
    let mut bob = world.open(Codec::Json);
    let id = ask_connect(&mut bob, token(Algorithm::ES256, &key().0, "bob"));
    tell.send(Err(500)).unwrap();
    match bob.next() {
        ServerFrame::Reply {
            id: of,
            result: Err(reject),
        } => {
            assert_eq!((of, reject.code), (id, RejectCode::Unavailable));
            assert!(reject.retry_after_ms.is_some());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(bob.close_code().0, 4003);
    ann(&world);
}

#[test]
fn a_wrong_token_is_refused_and_closed() {
    let world = World::start(1, &format!("[auth]\nsecret = \"{SECRET}\""));
    let mut eve = world.open(Codec::Json);
    ask_connect(
        &mut eve,
        token(
            Algorithm::HS256,
            &EncodingKey::from_secret(b"another secret of thirty-two bytes."),
            "eve",
        ),
    );
    assert!(
        matches!(eve.next(), ServerFrame::Reply { result: Err(reject), .. } if reject.code == RejectCode::TokenInvalid)
    );
    assert_eq!(eve.close_code(), (4101, "token_invalid".to_owned()));
}

//! TLS with real certificates and a real client of rustls.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    sync::Arc,
    time::Duration,
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName},
};
use tidegate_wire::Codec;

use crate::world::{Client, World, eventually, read_all};

const TLS: &str = "[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"";

/// Writes a fresh certificate; returns it.
fn write_certificate(dir: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["tidegate.test".to_owned()]).expect("a certificate");
    // The key first: the pair is complete when the certificate changes.
    std::fs::write(dir.join("key.pem"), signing_key.serialize_pem()).unwrap();
    std::fs::write(dir.join("cert.pem"), cert.pem()).unwrap();
    cert.der().clone()
}

fn start() -> (World, CertificateDer<'static>) {
    let dir = tempfile::tempdir().unwrap();
    let cert = write_certificate(dir.path());
    (World::start_in(dir, 1, TLS), cert)
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A TLS stream that trusts `cert` only; none if the server has another.
fn stream(world: &World, cert: &CertificateDer<'static>) -> Option<Stream> {
    let mut roots = RootCertStore::empty();
    roots.add(cert.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from("tidegate.test").unwrap();
    let mut tls = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = world.socket();
    while tls.is_handshaking() {
        tls.complete_io(&mut socket).ok()?;
    }
    assert_eq!(tls.alpn_protocol(), Some(&b"http/1.1"[..]));
    Some(StreamOwned::new(tls, socket))
}

#[test]
fn a_room_over_tls() {
    let (world, cert) = start();
    let open = || {
        Client::open(
            stream(&world, &cert).expect("the certificate is trusted"),
            world.addr,
            Codec::Json,
        )
    };
    let (mut ann, mut bob) = (open(), open());
    for client in [&mut ann, &mut bob] {
        client.ask_connect();
        client.ask_join("chat:lobby");
    }
    let payload = format!("\"{}\"", "x".repeat(60_000));
    for round in 0..40 {
        let data = format!("[{round},{payload}]");
        ann.publish("chat:lobby", &data);
        assert_eq!(ann.event(), data);
        assert_eq!(bob.event(), data);
    }
    ann.socket.close(None).unwrap();
    ann.read_to_end();
}

#[test]
fn http_over_tls_is_served_too() {
    let (world, cert) = start();
    let mut stream = stream(&world, &cert).unwrap();
    stream
        .write_all(b"GET /v1/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(
        answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[test]
fn what_is_not_tls_ends_at_once() {
    let (world, cert) = start();
    let mut socket = world.socket();
    socket.write_all(b"GET /v1/ws HTTP/1.1\r\n\r\n").unwrap();
    let (_, waited) = read_all(&socket);
    assert!(waited < Duration::from_secs(4), "{waited:?}");
    assert!(stream(&world, &cert).is_some());
}

#[test]
fn a_new_certificate_is_used_without_a_restart_and_a_broken_one_is_not() {
    let (world, old) = start();
    let mut before = Client::open(stream(&world, &old).unwrap(), world.addr, Codec::Json);
    before.ask_connect();
    std::fs::write(world.dir.path().join("cert.pem"), "not a certificate").unwrap();
    world.server.as_ref().unwrap().reload_certificates();
    assert!(stream(&world, &old).is_some());
    let new = write_certificate(world.dir.path());
    eventually("the new certificate", || stream(&world, &new).is_some());
    assert!(stream(&world, &old).is_none());
    // Who was there stays.
    before.ask_join("chat:lobby");
    before.publish("chat:lobby", "1");
    assert_eq!(before.event(), "1");
}

//! A server whose descriptors run out refuses in words, spins on nothing, and takes
//! connections again as soon as it can.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

const PATIENCE: Duration = Duration::from_secs(30);
const UPGRADE: &[u8] = b"GET /v1/ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: tidegate.v1.json\r\n\r\n";

struct Server {
    child: Child,
    addr: SocketAddr,
}

impl Server {
    fn start(dir: &tempfile::TempDir) -> Self {
        let config = dir.path().join("tidegate.toml");
        std::fs::write(
            &config,
            "[engine]\nkind = \"memory\"\n[[namespace]]\nname = \"chat\"\n",
        )
        .unwrap();
        let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args([
                "serve",
                "--shards",
                "1",
                "--listen",
                &addr.to_string(),
                "--config",
            ])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server's binary");
        let server = Self { child, addr };
        let started = Instant::now();
        while TcpStream::connect(addr).is_err() {
            assert!(started.elapsed() < PATIENCE, "the server does not start");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        server
    }

    fn limit_descriptors(&self, count: u64) {
        // The hard limit stays where ours is, so that the soft one can be raised again.
        let maximum = getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit {
            current: Some(count),
            maximum,
        };
        prlimit(Some(Pid::from_child(&self.child)), Resource::Nofile, limit).expect("our own child");
    }

    fn descriptors(&self) -> u64 {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .expect("it runs")
            .count() as u64
    }

    /// What a client that asks for a WebSocket is told: the status.
    fn ask(&self) -> (u16, TcpStream) {
        let mut socket = TcpStream::connect(self.addr).expect("the kernel's queue has room");
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // It may have been refused before it said what it wants.
        let _ = socket.write_all(UPGRADE);
        let mut head = Vec::new();
        let mut buffer = [0; 512];
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            match socket.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => head.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => panic!("no answer: {error}"),
            }
        }
        let text = String::from_utf8_lossy(&head);
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        (
            status.unwrap_or_else(|| panic!("refused without a word: {text:?}")),
            socket,
        )
    }
}

/// Processor time a process has used, in clock ticks (hundredths of a second).
fn ticks(server: &Server) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.child.id())).expect("it runs");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    [fields[11], fields[12]]
        .iter()
        .map(|field| field.parse::<u64>().expect("a number"))
        .sum()
}

#[test]
fn without_descriptors_newcomers_are_refused_in_words_and_those_inside_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir);
    let (status, mut inside) = server.ask();
    assert_eq!(status, 101);

    server.limit_descriptors(server.descriptors() + 2);
    let asked: Vec<(u16, TcpStream)> = (0..30).map(|_| server.ask()).collect();
    let refused = asked.iter().filter(|(status, _)| *status == 503).count();
    let taken = asked.iter().filter(|(status, _)| *status == 101).count();
    assert_eq!(refused + taken, 30, "{asked:?}");
    assert!(
        (1..=3).contains(&taken),
        "{taken} were taken with two descriptors left"
    );

    // A masked, empty ping is answered by a pong: nobody inside was harmed.
    inside.write_all(&[0x89, 0x80, 0, 0, 0, 0]).unwrap();
    let mut pong = [0; 2];
    inside.read_exact(&mut pong).unwrap();
    assert_eq!(pong, [0x8a, 0]);

    // Whoever waits while nothing can be accepted costs next to nothing.
    let before = ticks(&server);
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(500) {
        assert_eq!(server.ask().0, 503);
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let used = ticks(&server) - before;
    assert!(used <= 10, "{used} ticks in half a second");

    server.limit_descriptors(1_000);
    let (status, _socket) = server.ask();
    assert_eq!(status, 101);
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

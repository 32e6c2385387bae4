//! Real processes and real sockets for tests: the server, a plain client, a small disk.

use std::{
    fs,
    io::{ErrorKind, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket, client::IntoClientRequest};

/// Longest wait for anything; long, because the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server process that can be killed and started again at the same address.
pub struct Server {
    config: PathBuf,
    log: PathBuf,
    address: String,
    child: Option<Child>,
    /// Its directory, where it has one of its own: goes after it.
    dir: Option<TempDir>,
}

impl Server {
    /// One that runs, in a directory of its own.
    pub fn started(config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut server = Self::new(dir.path(), config);
        server.dir = Some(dir);
        server.start();
        server
    }

    /// Writes the configuration, `DATA` being a directory under `dir`. Does not start it.
    pub fn new(dir: &Path, config: &str) -> Self {
        let path = dir.join("tidegate.toml");
        let data = dir.join("data");
        fs::write(
            &path,
            config.replace("DATA", data.to_str().expect("a plain path")),
        )
        .expect("a writable directory");
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|l| l.local_addr())
            .expect("a free port")
            .port();
        Self {
            config: path,
            log: std::env::temp_dir().join(format!("tidegate-test-{}-{port}.log", std::process::id())),
            address: format!("127.0.0.1:{port}"),
            child: None,
            dir: None,
        }
    }

    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// Starts it and waits until it takes connections.
    pub fn start(&mut self) {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("a log file");
        let child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["serve", "--shards", "1", "--listen", &self.address, "--config"])
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the server's binary");
        self.child = Some(child);
        let started = Instant::now();
        while TcpStream::connect(&self.address).is_err() {
            assert!(
                self.is_running() && started.elapsed() < PATIENCE,
                "the server does not start:\n{}",
                self.logs()
            );
            pause();
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Its process; it runs.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it was started").id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it runs");
            child.wait().expect("it ends");
        }
    }

    /// SIGTERM, and nothing more.
    pub fn terminate(&self) {
        let pid = rustix::process::Pid::from_raw(self.pid() as i32).expect("not zero");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it was not waited for");
    }

    /// Its exit code, once it has ended; none if a signal ended it.
    pub fn ended(&mut self) -> Option<i32> {
        let mut child = self.child.take().expect("it was started");
        wait_until("the server ends", || matches!(child.try_wait(), Ok(Some(_))));
        child.wait().expect("it has ended").code()
    }

    fn logs(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let logs = self.logs();
            let lines: Vec<&str> = logs.lines().rev().take(40).collect();
            eprintln!("the server's last lines, newest first:\n{}", lines.join("\n"));
        }
        let _ = fs::remove_file(&self.log);
    }
}

/// What a read brought.
pub enum Received {
    Frame(Value),
    Quiet,
    Closed,
}

/// A blocking client of the JSON subprotocol.
pub struct Client {
    socket: WebSocket<TcpStream>,
    waiting: std::collections::VecDeque<Value>,
    /// Large frames that come in parts, by their number.
    parts: std::collections::BTreeMap<u64, String>,
}

impl Client {
    /// Connects with id 1, under a name that development mode believes; none when the server is not there.
    pub fn connect(address: &str, user: &str) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let mut request = format!("ws://{address}/v1/ws")
            .into_client_request()
            .expect("an address");
        let protocol = "tidegate.v1.json".parse().expect("a header value");
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        let (socket, _) = tungstenite::client(request, stream).ok()?;
        let mut client = Self {
            socket,
            waiting: Default::default(),
            parts: Default::default(),
        };
        client.send(&json!({"id": 1, "connect": {"token": user}}));
        let reply = client.receive()?;
        assert!(reply.get("ok").is_some(), "{reply}");
        Some(client)
    }

    pub fn set_read_timeout(&self, timeout: Duration) {
        self.socket
            .get_ref()
            .set_read_timeout(Some(timeout))
            .expect("not zero");
    }

    /// Returns whether it was written.
    pub fn send(&mut self, frame: &Value) -> bool {
        self.socket.send(Message::text(frame.to_string())).is_ok()
    }

    /// The next frame; none when the connection is over.
    pub fn receive(&mut self) -> Option<Value> {
        match self.receive_or_quiet() {
            Received::Frame(frame) => Some(frame),
            Received::Quiet => panic!("no answer within the read timeout"),
            Received::Closed => None,
        }
    }

    pub fn receive_or_quiet(&mut self) -> Received {
        loop {
            if let Some(frame) = self.waiting.pop_front() {
                return Received::Frame(frame);
            }
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    let frames = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
                    for frame in frames.collect::<Vec<_>>() {
                        let whole = self.whole(frame.expect("the server writes JSON"));
                        self.waiting.extend(whole);
                    }
                }
                Ok(Message::Close(_)) => return Received::Closed,
                Ok(_) => {}
                Err(tungstenite::Error::Io(error))
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Received::Quiet;
                }
                Err(_) => return Received::Closed,
            }
        }
    }
}

impl Client {
    /// The frame, or the one of which this was the last part.
    fn whole(&mut self, frame: Value) -> Option<Value> {
        let Some(part) = frame.get("part") else {
            return Some(frame);
        };
        let message = part["message"].as_u64().expect("a number");
        let text = self.parts.entry(message).or_default();
        text.push_str(part["text"].as_str().expect("a text"));
        if part["more"] == true {
            return None;
        }
        let text = self.parts.remove(&message).expect("just added to");
        Some(serde_json::from_str(&text).expect("the parts of a frame are a frame"))
    }
}

/// A tmpfs of a few MiB, unmounted when dropped.
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// None where mounting is not allowed.
    pub fn mount(bytes: u64) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tidegate-test"])
            .arg(dir.path())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success()).then_some(Self(dir))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// Writes to `path` until the disk is full.
pub fn fill(path: &Path) {
    let mut file = fs::File::create(path).expect("a file");
    for size in [1 << 20, 4096, 1] {
        let block = vec![0u8; size];
        while file.write_all(&block).is_ok() {}
    }
}

/// Waits for something another process does; fails after a minute.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "still waiting until {what}");
        pause();
    }
}

/// Between two looks at something that another process does.
pub fn pause() {
    thread::sleep(Duration::from_millis(5));
}

/// Seeded chance, so that a run can be repeated.
pub struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        // Marsaglia's xorshift.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// How often a server is killed, and chance for when. `CRASH_ROUNDS` and `CRASH_SEED` set both, and are printed for a
/// replay.
pub fn rounds_and_chance(rounds: u32) -> (u32, Chance) {
    let rounds = std::env::var("CRASH_ROUNDS").map_or(rounds, |n| n.parse().expect("a number"));
    let seed: u64 =
        std::env::var("CRASH_SEED").map_or_else(|_| rand::random(), |n| n.parse().expect("a number"));
    println!("CRASH_SEED={seed} CRASH_ROUNDS={rounds} replays this run's kill times");
    (rounds, Chance::new(seed))
}

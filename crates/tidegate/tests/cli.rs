//! The command line as people meet it: real processes, their words and exit codes.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tungstenite::{Message, client::IntoClientRequest};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// Longest wait for an answer; long, because the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn without_arguments_it_prints_its_help() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(2));
    for word in ["serve", "load", "token", "config", "Usage"] {
        assert!(err(&output).contains(word), "{word}: {}", err(&output));
    }
}

#[test]
fn the_example_passes_its_own_check() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("tidegate.toml");
    fs::write(&file, run(&["config", "example"]).stdout).expect("written");
    let output = run(&["config", "check", text(&file)]);
    assert!(output.status.success(), "{}", err(&output));
    assert!(
        out(&output).contains("good") && out(&output).contains("development mode"),
        "{}",
        out(&output)
    );
    let schema: Value = serde_json::from_slice(&run(&["config", "schema"]).stdout).expect("JSON");
    assert_eq!(schema["properties"]["listen"]["default"], "127.0.0.1:8600");
}

#[test]
fn a_check_tells_every_mistake_with_its_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("bad.toml");
    fs::write(&file, "shards = 0\nlisten = 5\nnamespaces = []\n").expect("written");
    for arguments in [
        ["config", "check", text(&file)].as_slice(),
        &["serve", "--config", text(&file)],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1));
        for words in [
            "bad.toml:1:10",
            "bad.toml:2:10",
            "bad.toml:3:1",
            "did you mean `namespace`?",
            "4 errors",
        ] {
            assert!(err(&output).contains(words), "{words}: {}", err(&output));
        }
    }
    let output = run(&["config", "check", "/nonexistent.toml"]);
    assert!(
        err(&output).contains("tidegate config example"),
        "{}",
        err(&output)
    );
}

#[test]
fn a_token_it_made_lets_its_bearer_in() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = config(
        dir.path(),
        &format!("[auth]\nsecret = \"{SECRET}\"\naudience = \"tests\"\n"),
    );
    let server = Server::start(&mut serve(dir.path(), &["--config", text(&file)]));

    let made = run(&[
        "token",
        "--config",
        text(&file),
        "--sub",
        "ann",
        "--grant",
        "chat:*=join,publish",
        "--expires",
        "5m",
    ]);
    assert!(made.status.success(), "{}", err(&made));
    let token = out(&made).trim().to_owned();
    let reply = connect(&server.address, &token);
    assert_eq!(reply["ok"]["user"], "ann", "{reply}");
    let left = reply["ok"]["expires_in_ms"].as_u64().expect("it expires");
    assert!(
        (200_000..=310_000).contains(&left),
        "five minutes and the leeway: {left}"
    );

    assert_eq!(connect(&server.address, "")["reject"]["name"], "token_invalid");
    let other = run(&["token", "--secret", &SECRET.replace('0', "9"), "--sub", "ann"]);
    assert_eq!(
        connect(&server.address, out(&other).trim())["reject"]["name"],
        "token_invalid"
    );
    server.signal("TERM");
    assert_eq!(server.end().code, Some(0));
}

#[test]
fn tokens_that_would_be_refused_are_not_made() {
    let long = "x".repeat(200);
    let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
    for (arguments, words) in [
        (vec!["--sub", "ann"], "--secret"),
        (vec!["--secret", "short", "--sub", "ann"], "at least 32"),
        (vec!["--secret", SECRET, "--sub", &long], "`sub` has 200 bytes"),
        (
            vec!["--secret", SECRET, "--sub", "ann", "--info", &deep],
            "nested",
        ),
        (vec!["--secret", SECRET, "--sub", "ann", "--info", "{"], "--info"),
        (
            vec!["--secret", SECRET, "--sub", "ann", "--grant", "chat:*"],
            "PATTERN=RIGHT",
        ),
        (
            vec!["--secret", SECRET, "--sub", "ann", "--grant", "chat:*=fly"],
            "join, publish, presence, history or all",
        ),
        (
            vec!["--secret", SECRET, "--sub", "ann", "--expires", "60"],
            "with its unit",
        ),
        (
            vec!["--secret", "env:TIDEGATE_NOT_SET", "--sub", "ann"],
            "is not set",
        ),
        (
            vec![
                "--private-key",
                "file:/nonexistent",
                "--algorithm",
                "ES256",
                "--sub",
                "ann",
            ],
            "cannot be read",
        ),
        (
            vec!["--private-key", "pem", "--algorithm", "RS256", "--sub", "ann"],
            "no private key",
        ),
        (
            vec!["--private-key", "pem", "--algorithm", "HS256", "--sub", "ann"],
            "`--secret`",
        ),
    ] {
        let output = run(&[&["token"], arguments.as_slice()].concat());
        assert!(
            !output.status.success() && out(&output).is_empty(),
            "{arguments:?}"
        );
        assert!(err(&output).contains(words), "{words}: {}", err(&output));
    }
}

#[test]
fn in_development_it_says_so_and_ends_cleanly() {
    for signal in ["INT", "TERM"] {
        let dir = tempfile::tempdir().expect("a directory");
        let server = Server::start(&mut serve(dir.path(), &["--demo"]));
        assert!(connect(&server.address, "")["ok"]["connection"].is_string());
        // A reload is not an end.
        server.signal("HUP");
        assert!(connect(&server.address, "anything")["ok"].is_object());
        server.signal(signal);
        let ended = server.end();
        assert_eq!(ended.code, Some(0), "{signal}: {}", ended.log);
        assert!(
            ended.said.contains("development mode") && ended.said.contains("open the demo"),
            "{}",
            ended.said
        );
        // Not a terminal: every line is JSON.
        let messages: Vec<String> = ended
            .log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect(line)["message"].to_string())
            .collect();
        for words in ["listening", "development mode", "SIGHUP", "stopped"] {
            assert!(
                messages.iter().any(|message| message.contains(words)),
                "{words}: {messages:?}"
            );
        }
    }
}

#[test]
fn what_stops_a_start_is_told_with_the_way_out() {
    let dir = tempfile::tempdir().expect("a directory");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").to_string();
    let output = serve(dir.path(), &["--listen", &port])
        .output()
        .expect("the binary");
    assert_failure(&output, &["another process listens there", "--listen"]);

    let output = serve(dir.path(), &["--listen", "0.0.0.0:0"])
        .output()
        .expect("the binary");
    assert_failure(&output, &["not loopback", "development mode", "[auth]"]);

    let output = serve(dir.path(), &["--log", "nonsense=nonsense"])
        .output()
        .expect("the binary");
    assert_failure(&output, &["log filter", "info"]);

    let server = Server::start(&mut serve(dir.path(), &[]));
    let output = serve(dir.path(), &[]).output().expect("the binary");
    assert_failure(&output, &["in use by another process", "engine.dir"]);
    drop(server);

    let file = config(dir.path(), "[tls]\ncert = \"absent.pem\"\nkey = \"absent.pem\"\n");
    let output = serve(dir.path(), &["--config", text(&file)])
        .output()
        .expect("the binary");
    assert_failure(&output, &["absent.pem", "[tls]"]);
}

#[test]
fn a_folder_that_may_not_be_written_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = config(dir.path(), "[engine]\ndir = \"locked/data\"\n");
    let locked = dir.path().join("locked");
    fs::create_dir(&locked).expect("made");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o500)).expect("ours");
    // Root may write anywhere: then a file stands where the folder should be.
    if fs::write(locked.join("probe"), "").is_ok() {
        fs::remove_file(locked.join("probe")).expect("just made");
        fs::write(locked.join("data"), "").expect("root may");
    }
    let output = serve(dir.path(), &["--config", text(&file)])
        .output()
        .expect("the binary");
    assert_failure(&output, &["cannot open the store", "locked/data"]);
}

// --- helpers

fn tidegate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(arguments).stdin(Stdio::null());
    for name in [
        "TIDEGATE_CONFIG",
        "TIDEGATE_LISTEN",
        "TIDEGATE_LOG",
        "TIDEGATE_LOG_FORMAT",
    ] {
        command.env_remove(name);
    }
    command
}

/// A server in `dir`, where its data goes too, on a free port unless the arguments say another.
fn serve(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = tidegate(&["serve", "--shards", "1"]);
    if !arguments.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    command.args(arguments).current_dir(dir);
    command
}

fn run(arguments: &[&str]) -> Output {
    tidegate(arguments).output().expect("the binary")
}

fn config(dir: &Path, more: &str) -> std::path::PathBuf {
    let file = dir.join("tidegate.toml");
    fs::write(&file, format!("{more}\n[[namespace]]\nname = \"chat\"\n")).expect("written");
    file
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn assert_failure(output: &Output, words: &[&str]) {
    assert_eq!(output.status.code(), Some(1), "{}", err(output));
    for word in words {
        assert!(err(output).contains(word), "{word}: {}", err(output));
    }
}

/// A server that has said where it listens.
struct Server {
    child: Child,
    said: BufReader<ChildStdout>,
    address: String,
}

/// What was left when a server had ended.
struct Ended {
    code: Option<i32>,
    /// Standard output, after the address.
    said: String,
    log: String,
}

impl Server {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        let mut said = BufReader::new(child.stdout.take().expect("piped"));
        let mut first = String::new();
        said.read_line(&mut first).expect("UTF-8");
        let Some(url) = first.trim_end().strip_prefix("tidegate listens on ws://") else {
            let mut log = String::new();
            let _ = child.stderr.take().expect("piped").read_to_string(&mut log);
            panic!("it said {first:?} and logged {log}");
        };
        let address = url.trim_end_matches("/v1/ws").to_owned();
        Self { child, said, address }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status();
        assert!(status.expect("kill").success());
    }

    fn end(mut self) -> Ended {
        let (mut said, mut log) = (String::new(), String::new());
        self.child
            .stderr
            .take()
            .expect("piped")
            .read_to_string(&mut log)
            .expect("UTF-8");
        self.said.read_to_string(&mut said).expect("UTF-8");
        Ended {
            code: self.child.wait().expect("it ends").code(),
            said,
            log,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connects with a token; returns the reply.
fn connect(address: &str, token: &str) -> Value {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let mut request = format!("ws://{address}/v1/ws")
        .into_client_request()
        .expect("an address");
    request.headers_mut().insert(
        "Sec-WebSocket-Protocol",
        "tidegate.v1.json".parse().expect("a header"),
    );
    let (mut socket, _) = tungstenite::client(request, stream).expect("a WebSocket");
    let frame = json!({"id": 1, "connect": {"token": token}}).to_string();
    socket.send(Message::text(frame)).expect("sent");
    match socket.read().expect("a reply") {
        Message::Text(text) => serde_json::from_str(&text).expect("JSON"),
        other => panic!("{other:?}"),
    }
}

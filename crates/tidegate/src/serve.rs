//! `tidegate serve`: starts the server, says where it is, and ends it cleanly.

use std::{
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args;
use tidegate_server::{
    ServeError, Server,
    config::{Config, Overrides, parse_duration, print_duration},
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use crate::{
    configure::{complain, report},
    log,
};

/// As the configuration allows.
const WITHIN_MAX: Duration = Duration::from_secs(3_600);
/// What a second signal ends with: 128 and SIGINT's number, as from a shell.
const IMPATIENT: i32 = 130;
/// Signals this close to the first are the same request.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

#[derive(Args)]
pub struct Arguments {
    /// The configuration. Without one: development mode, on loopback, no tokens needed.
    #[arg(long, short, value_name = "FILE", env = "TIDEGATE_CONFIG")]
    config: Option<PathBuf>,
    /// Where to listen, `ADDRESS:PORT`; counts for more than the configuration.
    #[arg(long, value_name = "ADDRESS", env = "TIDEGATE_LISTEN", value_parser = address)]
    listen: Option<SocketAddr>,
    /// Threads that serve connections; one per core if absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    shards: Option<u16>,
    /// Serve the demo page at `/` and the planner at `/planner/`, and publish the demo's price series.
    #[arg(long)]
    demo: bool,
    /// Over which time clients come back when the server stops, such as 30s; counts for more than the configuration.
    #[arg(long, value_name = "TIME", value_parser = within)]
    drain: Option<Duration>,
    #[command(flatten)]
    log: log::Options,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "an address and a port, such as 127.0.0.1:8600 or [::1]:8600".to_owned())
}

/// As `drain.within`.
pub fn within(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Some(within) if within <= WITHIN_MAX => Ok(within),
        Some(_) => Err(format!("at most {}", print_duration(WITHIN_MAX))),
        None => Err("a time with its unit, such as 30s".to_owned()),
    }
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let overrides = Overrides {
        listen: arguments.listen,
        shards: arguments.shards.map(usize::from),
        demo: arguments.demo,
        drain: arguments.drain,
    };
    let config = match &arguments.config {
        Some(file) => Config::load_with(file, &overrides),
        None => Config::development_with(&overrides),
    };
    let config = match config {
        Ok(config) => config,
        Err(errors) => {
            report(&errors);
            return ExitCode::FAILURE;
        }
    };
    if let Err(words) = log::start(&arguments.log) {
        complain(&format!("tidegate: {words}"));
        return ExitCode::FAILURE;
    }
    match serve(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            // Machines read the log, people the terminal; a terminal's log need not say it twice.
            match io::stderr().is_terminal() {
                true => complain(&format!("tidegate: {words}")),
                false => error!("{words}"),
            }
            ExitCode::FAILURE
        }
    }
}

/// Serves until a signal ends it; the error is a sentence with the way out.
fn serve(config: &Config) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot wait for signals: {error}"))?;
    // Before the start, so that a signal during it is not lost.
    let mut signals = runtime
        .block_on(async { Signals::new() })
        .map_err(|error| format!("cannot wait for signals: {error}"))?;
    let mut server = Server::start(config).map_err(|error| words(&error, config))?;
    announce(&server, config);

    let within = loop {
        let wish = runtime.block_on(async {
            tokio::select! {
                wish = signals.next() => wish,
                within = server.drain_wanted() => Wish::Drain(within),
            }
        });
        match wish {
            Wish::Reload => {
                info!("SIGHUP: reloading certificates");
                server.reload_certificates();
            }
            Wish::Stop => break server.drain_within(),
            Wish::Drain(within) => break within,
        }
    };
    info!(
        within = print_duration(within),
        "stopping: clients are sent away; a second signal ends at once"
    );
    let asked = Instant::now();
    let impatient = std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            // Whoever asks twice does not want to wait; but one request may come as two signals
            // (`timeout` sends to the process and to its group).
            loop {
                let wish = runtime.block_on(signals.next());
                if matches!(wish, Wish::Stop) && asked.elapsed() > SAME_SIGNAL {
                    break;
                }
            }
            warn!("ended at once by a second signal");
            std::process::exit(IMPATIENT);
        });
    if let Err(error) = impatient {
        warn!(%error, "a second signal will not be heard");
    }
    server.drain(within).map_err(|error| words(&error, config))
}

/// What a signal asks for.
enum Wish {
    Stop,
    /// The same by the HTTP API, within a time of its own.
    Drain(Duration),
    Reload,
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Wish {
        tokio::select! {
            // A reload that was asked for before the end is not lost in it.
            biased;
            _ = self.hang_up.recv() => Wish::Reload,
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.terminate.recv() => Wish::Stop,
        }
    }
}

/// Says plainly, on standard output, where it is: for whoever started it, and for scripts.
fn announce(server: &Server, config: &Config) {
    let address = server.addr();
    let (web, socket) = match config.tls {
        Some(_) => ("https", "wss"),
        None => ("http", "ws"),
    };
    let mut text = format!("tidegate listens on {socket}://{address}/v1/ws\n");
    if config.demo {
        text.push_str(&format!(
            "open the demo in two tabs: {web}://{address}/\nor the planner: {web}://{address}/planner/\n"
        ));
    }
    if config.is_development() {
        text.push_str(
            "development mode: there are no keys, so everyone on this machine gets in, without a token\n",
        );
        warn!("development mode: no keys are configured, so no token is asked for");
    }
    // Nobody may be reading; that does not stop a server.
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// An error in words, with the way out.
fn words(error: &ServeError, config: &Config) -> String {
    let way_out = match error {
        ServeError::Listen { addr, why } => match why.kind() {
            io::ErrorKind::AddrInUse => {
                "another process listens there; stop it, or choose another port with `--listen`".to_owned()
            }
            io::ErrorKind::PermissionDenied if addr.port() < 1024 => {
                "ports below 1024 need the capability CAP_NET_BIND_SERVICE; choose a higher one with `--listen`".to_owned()
            }
            io::ErrorKind::AddrNotAvailable => "this machine has no such address; 0.0.0.0 and [::] mean all of them".to_owned(),
            _ => "choose another address with `--listen`".to_owned(),
        },
        ServeError::Engine(error) => engine_way_out(&error.to_string(), config),
        ServeError::Tls(_) => "check `[tls]`: both files must be readable by this user, PEM, and belong together".to_owned(),
        ServeError::Keys(_) => "check `auth.jwks_url`".to_owned(),
        ServeError::System { .. } => "look at the limits of this user and this machine (`ulimit -a`)".to_owned(),
        // These say it themselves.
        ServeError::Promise { .. } | ServeError::Stuck => String::new(),
    };
    match way_out.is_empty() {
        true => error.to_string(),
        false => format!("{error}\n  {way_out}"),
    }
}

/// The store's errors have the system's words in them.
fn engine_way_out(error: &str, config: &Config) -> String {
    let dir = match &config.engine {
        tidegate_engine::EngineConfig::Log(log) => log.dir.display().to_string(),
        tidegate_engine::EngineConfig::Memory => return String::new(),
    };
    let error = error.to_lowercase();
    if error.contains("permission denied") {
        format!("this user may not write to `{dir}`; change its owner, or set another `engine.dir`")
    } else if error.contains("no space") {
        format!("the disk that holds `{dir}` is full; free some space, or set another `engine.dir`")
    } else if error.contains("read-only") {
        format!("the disk that holds `{dir}` can only be read; set another `engine.dir`")
    } else {
        String::new()
    }
}

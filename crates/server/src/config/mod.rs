//! The configuration: a TOML file becomes values that nothing has to check again.
//!
//! ```text
//!   keys (every key, once) ──► read ──► build ──► Config
//!        │                       └─────────┴────► ConfigErrors: all at once, with their places
//!        └──► document: example, reference, JSON Schema
//! ```
//!
//! Secrets and key files are read here too, so that `tidegate config check` finds what
//! is missing before a start does.

mod build;
mod document;
mod keys;
mod problem;
mod read;
mod units;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

pub use build::resolve;
pub use document::{example, reference, schema};
pub use problem::{ConfigErrors, Paint, Problem};
pub use units::{parse_duration, parse_size, print_duration, print_size};

use tidegate_core::{Admission, Limits, Policy, drain::ComeBack};
use tidegate_engine::EngineConfig;

use crate::auth::{ApiKeys, AuthConfig};

/// Largest configuration file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Everything a server is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Threads that serve connections; at least one.
    pub shards: usize,
    /// Serve the demo page and publish its price series.
    pub demo: bool,
    /// None for plain text.
    pub tls: Option<Tls>,
    /// What orders and keeps publications.
    pub engine: EngineConfig,
    /// Who gets in; with no keys at all this is development mode.
    pub auth: AuthConfig,
    /// Pages that may connect; when empty, those of the same host and port.
    pub origins: Vec<String>,
    /// Bounds of each shard.
    pub limits: Limits,
    /// Bounds of the edge and the back office.
    pub edge: EdgeLimits,
    /// Who is let in while there is more than can be served.
    pub admission: Admission,
    /// How clients are sent away.
    pub drain: DrainConfig,
    /// Keys of the HTTP API.
    pub api_keys: ApiKeys,
    /// Whether permessage-deflate is agreed to.
    pub deflate: bool,
    /// What each namespace promises.
    pub namespaces: Vec<Policy>,
}

/// `[tls]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// PEM: the certificate and those that vouch for it.
    pub cert: PathBuf,
    /// PEM: the private key.
    pub key: PathBuf,
}

/// Bounds that are not `core`'s; all of them in `[limits]`, explained in `keys`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "`keys` documents each under the same name")]
pub struct EdgeLimits {
    /// Connections of the whole server; none: what the descriptor limit leaves.
    pub connections_max: Option<usize>,
    /// 0: no bound.
    pub connections_per_user_max: usize,
    /// 0: no bound.
    pub connections_per_address_max: usize,
    /// None: a share of what there is.
    pub memory_max: Option<u64>,
    pub handshakes_max: usize,
    pub handshake_timeout: Duration,
    pub head_bytes_max: usize,
    pub send_buffer_bytes: usize,
    pub unsent_bytes: u32,
    pub unacknowledged_max: Duration,
    pub shutdown_timeout: Duration,
    pub http_connections_max: usize,
    pub http_body_bytes_max: usize,
    pub http_head_timeout: Duration,
    pub http_request_timeout: Duration,
}

impl Default for EdgeLimits {
    fn default() -> Self {
        build::edge_limits(&read::absent(&keys::LIMITS))
    }
}

/// `[drain]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainConfig {
    /// Where to, with this engine.
    pub come_back: ComeBack,
    /// The longest time over which they come back; zero for no slots.
    pub within: Duration,
    /// How many come back each second, where `within` leaves the time for it.
    pub reconnects_per_second: u32,
}

/// What the command line says; it counts for more than the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--listen`.
    pub listen: Option<SocketAddr>,
    /// `--shards`.
    pub shards: Option<usize>,
    /// `--demo`.
    pub demo: bool,
    /// `--drain`.
    pub drain: Option<Duration>,
}

impl Config {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        Self::load_with(path, &Overrides::default())
    }

    /// Reads a file, then applies the command line.
    pub fn load_with(path: &Path, overrides: &Overrides) -> Result<Self, ConfigErrors> {
        let name = path.display().to_string();
        let source = read_file(path).map_err(|problem| ConfigErrors::one(&name, problem))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&source, &name, folder, overrides)
    }

    /// Reads text. `name` stands in messages; relative paths begin at `folder`.
    pub fn parse(
        source: &str,
        name: &str,
        folder: &Path,
        overrides: &Overrides,
    ) -> Result<Self, ConfigErrors> {
        let mut problems = Vec::new();
        let root = read::read(source, &keys::ROOT, &mut problems);
        let config = build::config(&root, folder, overrides, &mut problems);
        match problems.is_empty() {
            true => Ok(config),
            false => Err(ConfigErrors::new(name, source, problems)),
        }
    }

    /// What a server without a file gets: loopback, no keys, and namespaces to play with.
    pub fn development() -> Self {
        Self::development_with(&Overrides::default()).expect("the example is valid; a test reads it")
    }

    /// The same, with the command line applied.
    pub fn development_with(overrides: &Overrides) -> Result<Self, ConfigErrors> {
        Self::parse(&example(), "", Path::new(""), overrides).map_err(|errors| {
            // The example's lines are nothing the reader wrote: only the words count.
            let problem = errors.problems().first().cloned().expect("never empty");
            ConfigErrors::one(
                "",
                Problem {
                    span: None,
                    ..problem
                },
            )
        })
    }

    /// Whether everyone gets in: there are no keys to check tokens with.
    pub fn is_development(&self) -> bool {
        self.auth.is_open()
    }
}

fn read_file(path: &Path) -> Result<String, Problem> {
    use std::io::{ErrorKind, Read};
    let refuse = |message: String, help: &str| Problem::at(None, message, "").help(help);
    let shown = path.display();
    let file = std::fs::File::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => refuse(
            format!("`{shown}` is not there"),
            "write one with `tidegate config example > tidegate.toml`",
        ),
        ErrorKind::PermissionDenied => refuse(
            format!("`{shown}` may not be read by this user"),
            "change its owner or its mode, or start as the user it belongs to",
        ),
        _ => refuse(format!("`{shown}` cannot be opened: {error}"), ""),
    })?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| refuse(format!("`{shown}` cannot be read: {error}"), ""))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let message = format!("`{shown}` is larger than {}", print_size(FILE_BYTES_MAX));
        return Err(refuse(message, "is it the right file?"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        refuse(
            format!("`{shown}` is not UTF-8 at byte {place}"),
            "TOML files are UTF-8",
        )
    })
}

#[cfg(test)]
mod tests;

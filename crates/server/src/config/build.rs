//! From what was read to what is used: values in their places, and what clashes.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use tidegate_core::{
    Admission, Lane, Limits, Policy,
    admission::{Adaptive, Rate, Rates, Rule},
    drain::ComeBack,
    policy::{Crowd, Durability, Hot, PresencePolicy, Retention, StatePolicy},
};
use tidegate_engine::{EngineConfig, LogConfig};
use tidegate_wire::room::is_namespace;

use super::{
    Config, DrainConfig, EdgeLimits, Overrides, Tls,
    keys::{self, Section},
    problem::Problem,
    read::{Table, absent},
    units::{print_duration, print_size},
};
use crate::auth::{
    API_KEY_BYTES_MIN, Algorithm, ApiKey, ApiKeys, AuthConfig, JwksConfig, Key, Scope, Scopes, check_url,
};

/// What an event frame adds to a payload, at most: room, user, ids, stamps.
const FRAME_OVERHEAD_BYTES: usize = 2 << 10;
/// Longest secret or key file.
const SECRET_BYTES_MAX: u64 = 64 << 10;

type Problems = Vec<Problem>;

/// Builds everything; with problems noted, the result is not for use.
pub(super) fn config(root: &Table, folder: &Path, overrides: &Overrides, problems: &mut Problems) -> Config {
    let of = |name: &str, section: &'static Section| Part::of(root, name, section);
    let limits_part = of("limits", &keys::LIMITS);
    let limits = limits(&limits_part);
    let edge = edge_limits(&limits_part);
    let admission_part = of("admission", &keys::ADMISSION);
    let admission = admission(&admission_part, problems);
    let burst = admission_part.duration("burst");
    let engine_part = of("engine", &keys::ENGINE);
    let auth = auth(&of("auth", &keys::AUTH), folder, problems);
    let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let engine = match engine_part.text("kind") {
        Some("memory") => EngineConfig::Memory,
        _ => EngineConfig::Log(LogConfig {
            dir: in_folder(folder, engine_part.text("dir").unwrap_or("data")),
        }),
    };
    let mut drain = drain(&of("drain", &keys::DRAIN), &engine, edge.shutdown_timeout);
    drain.within = overrides.drain.unwrap_or(drain.within);
    let config = Config {
        listen: overrides.listen.unwrap_or_else(|| root.address("listen")),
        shards: overrides
            .shards
            .or(root.number_or_auto("shards").map(|n| n as usize))
            .unwrap_or_else(cores)
            .max(1),
        demo: overrides.demo || root.flag("demo"),
        tls: root.table("tls").and_then(|table| tls(table, folder)),
        engine,
        auth,
        origins: of("origins", &keys::ORIGINS)
            .texts("allow")
            .iter()
            .map(|(text, _)| text.clone())
            .collect(),
        limits,
        edge,
        admission,
        drain,
        api_keys: api_keys(&of("api", &keys::API), folder, problems),
        deflate: of("deflate", &keys::DEFLATE).flag("enabled"),
        namespaces: namespaces(root, burst, problems),
    };
    check_origins(root, problems);
    check_limits(&limits_part, &config, problems);
    check_engine(root, &config, problems);
    check_listen(root, &config, overrides, problems);
    config
}

/// A table of the file, or its defaults where it is absent.
enum Part<'a> {
    Written(&'a Table),
    Absent(Table),
}

impl<'a> Part<'a> {
    fn of(parent: &'a Table, name: &str, section: &'static Section) -> Self {
        match parent.table(name) {
            Some(table) => Self::Written(table),
            None => Self::Absent(absent(section)),
        }
    }
}

impl std::ops::Deref for Part<'_> {
    type Target = Table;
    fn deref(&self) -> &Table {
        match self {
            Self::Written(table) => table,
            Self::Absent(table) => table,
        }
    }
}

fn in_folder(folder: &Path, path: &str) -> PathBuf {
    match folder.as_os_str().is_empty() {
        true => PathBuf::from(path),
        // Joining an absolute path gives that path.
        false => folder.join(path),
    }
}

fn tls(table: &Table, folder: &Path) -> Option<Tls> {
    let path = |name| Some(in_folder(folder, table.text(name)?));
    Some(Tls {
        cert: path("cert")?,
        key: path("key")?,
    })
}

fn limits(table: &Table) -> Limits {
    Limits {
        sessions_max: table.size("sessions_max"),
        frame_bytes_max: table.size("frame_bytes_max"),
        connect_timeout: table.duration("connect_timeout"),
        rooms_max: table.size("rooms_max"),
        in_flight_max: table.count("in_flight_max"),
        held_commands_max: table.size("held_commands_max"),
        requests_max: table.size("requests_max"),
        outbox_bytes_max: table.size("outbox_bytes_max"),
        outbox_age_max: table.duration("outbox_age_max"),
        outbox_age_soft: table
            .duration("outbox_age_soft")
            .min(table.duration("outbox_age_max")),
        request_timeout: table.duration("request_timeout"),
        room_linger: table.duration("room_linger"),
        rooms_total_max: table.size("rooms_total_max"),
        windows_bytes_max: table.size("windows_bytes_max"),
        pending_bytes_max: table.size("pending_bytes_max"),
        refresh_ahead: table.duration("refresh_ahead"),
        ping_interval: table.duration("ping_interval"),
        reconnect_window: table.duration("reconnect_window"),
    }
}

pub(super) fn edge_limits(table: &Table) -> EdgeLimits {
    EdgeLimits {
        connections_max: table
            .number_or_auto("connections_max")
            .map(|number| number as usize),
        connections_per_user_max: table.size("connections_per_user_max"),
        connections_per_address_max: table.size("connections_per_address_max"),
        memory_max: table.number_or_auto("memory_max"),
        handshakes_max: table.size("handshakes_max"),
        handshake_timeout: table.duration("handshake_timeout"),
        head_bytes_max: table.size("head_bytes_max"),
        send_buffer_bytes: table.size("send_buffer_bytes"),
        unsent_bytes: table.count("unsent_bytes"),
        unacknowledged_max: table.duration("unacknowledged_max"),
        shutdown_timeout: table.duration("shutdown_timeout"),
        http_connections_max: table.size("http_connections_max"),
        http_body_bytes_max: table.size("http_body_bytes_max"),
        http_head_timeout: table.duration("http_head_timeout"),
        http_request_timeout: table.duration("http_request_timeout"),
    }
}

// ---- admission

fn admission(table: &Table, problems: &mut Problems) -> Admission {
    let burst = table.duration("burst");
    Admission {
        publishes: adaptive(table, "publishes", problems),
        replays: adaptive(table, "replays", problems),
        handshakes: handshakes(table, problems),
        calls: adaptive(table, "calls", problems),
        stall_max: table.duration("stall_max"),
        rates: Rates {
            connection_commands: rate(table, "connection_commands", burst),
            connection_publishes: rate(table, "connection_publishes", burst),
            user_publishes: rate(table, "user_publishes", burst),
            address_publishes: rate(table, "address_publishes", burst),
            server_publishes: rate(table, "server_publishes", burst),
            address_handshakes: rate(table, "address_handshakes", burst),
        },
        keys_max: table.size("keys_max"),
    }
}

/// What is not said of a class is said for all.
fn adaptive(table: &Table, class: &str, problems: &mut Problems) -> Adaptive {
    let own = table.table(class);
    let place = |key: &str| own.filter(|own| own.is_written(key)).unwrap_or(table);
    let adaptive = Adaptive {
        rule: match place("rule").text("rule") {
            Some("vegas") => Rule::Vegas,
            Some("aimd") => Rule::Aimd,
            Some("off") => Rule::Off,
            _ => Rule::Gradient2,
        },
        floor: place("floor").count("floor"),
        ceiling: place("ceiling").count("ceiling"),
    };
    if adaptive.floor > adaptive.ceiling {
        let (low, high) = (place("floor"), place("ceiling"));
        let span = low.span("floor").or(high.span("ceiling"));
        let message = format!(
            "the floor of `admission.{class}` ({}) is above its ceiling ({})",
            adaptive.floor, adaptive.ceiling
        );
        problems.push(Problem::at(span, message, "lower `floor`, or raise `ceiling`"));
        return Adaptive::default();
    }
    adaptive
}

/// Their floor has a default of its own, which gives way to a ceiling that is written.
fn handshakes(table: &Table, problems: &mut Problems) -> Adaptive {
    let own = Part::of(table, "handshakes", &keys::ADMISSION_HANDSHAKES);
    let adaptive = adaptive(table, "handshakes", problems);
    match own.is_written("floor") {
        true => adaptive,
        false => Adaptive {
            floor: own.count("floor").min(adaptive.ceiling),
            ..adaptive
        },
    }
}

/// None for 0.
fn rate(table: &Table, key: &str, burst: Duration) -> Option<Rate> {
    let per_second = table.count(key);
    let at_once = (f64::from(per_second) * burst.as_secs_f64()) as u32;
    (per_second > 0).then(|| Rate {
        per_second,
        burst: at_once.max(1),
    })
}

fn drain(table: &Table, engine: &EngineConfig, shutdown_timeout: Duration) -> DrainConfig {
    let here = ComeBack::Here {
        first_slot: table.duration("first_slot"),
        // The other half is for their outboxes.
        patience: shutdown_timeout / 2,
    };
    DrainConfig {
        come_back: match table.text("come_back") {
            Some("here") => here,
            Some("elsewhere") => ComeBack::Elsewhere,
            _ if engine.features().shared => ComeBack::Elsewhere,
            _ => here,
        },
        within: table.duration("within"),
        reconnects_per_second: table.count("reconnects_per_second"),
    }
}

// ---- namespaces

fn namespaces(root: &Table, burst: Duration, problems: &mut Problems) -> Vec<Policy> {
    let tables = root.tables("namespace");
    if tables.is_empty() && !root.is_written("namespace") {
        problems.push(
            Problem::at(
                None,
                "there is no `[[namespace]]`, so every room would be refused",
                "",
            )
            .help(
                "add `[[namespace]]` with `name = \"chat\"`; `tidegate config example` shows what can be set",
            ),
        );
    }
    let mut seen = BTreeSet::new();
    let mut policies = Vec::new();
    for table in tables {
        // Without a name it was noted by the reader; its other values are checked all the same.
        let name = table.text("name").unwrap_or("unnamed");
        if !is_namespace(name) {
            let message = format!("`namespace.name` cannot be {name:?}");
            problems.push(Problem::at(
                table.span("name"),
                message,
                "1 to 32 of a-z, 0-9, `_` and `-`",
            ));
        }
        if table.is_written("name") && !seen.insert(name) {
            let message = format!("the namespace `{name}` is there twice");
            problems.push(Problem::at(
                table.span("name"),
                message,
                "each namespace has one policy",
            ));
        }
        policies.push(policy(name, table, burst, problems));
    }
    policies
}

fn policy(name: &str, table: &Table, burst: Duration, problems: &mut Problems) -> Policy {
    let state = state_policy(name, table, problems);
    let history = Part::of(table, "history", &keys::HISTORY);
    let window = Part::of(table, "window", &keys::WINDOW);
    let presence = Part::of(table, "presence", &keys::PRESENCE);
    let crowd = Part::of(table, "crowd", &keys::CROWD);
    let hot = Part::of(table, "hot", &keys::HOT);
    let (kept, kept_bytes) = (history.count("count"), history.number("bytes"));

    // What is written above the history is a mistake; a default there gives way to it.
    let mut within = |table: &Table, key: &str, path: &str, most: u64, show: fn(u64) -> String, of: &str| {
        let value = table.number(key);
        if value > most && table.is_written(key) {
            let message = format!(
                "`{path}` ({}) is above `{of}` ({}) of `{name}`",
                show(value),
                show(most)
            );
            let label = format!("at most {}, or raise `{of}`", show(most));
            problems.push(Problem::at(table.span(key), message, label));
        }
        value.min(most)
    };
    let plain = |number: u64| number.to_string();
    let kept_count = u64::from(kept);
    let replay_max = within(
        table,
        "replay_max",
        "replay_max",
        kept_count,
        plain,
        "history.count",
    );
    let window_count = within(
        &window,
        "count",
        "window.count",
        kept_count,
        plain,
        "history.count",
    );
    let window_bytes = within(
        &window,
        "bytes",
        "window.bytes",
        kept_bytes,
        print_size,
        "history.bytes",
    );
    let members_max = presence.number("members_max");
    let sample = within(
        &presence,
        "sample",
        "presence.sample",
        members_max,
        plain,
        "presence.members_max",
    );
    Policy {
        namespace: name.to_owned(),
        lane: match table.text("lane") {
            Some("latest") => Lane::Latest,
            Some("lossy") => Lane::Lossy,
            _ => Lane::Reliable,
        },
        deadline: table.duration("deadline"),
        keys_max: table.count("keys_max"),
        state,
        batch: table.duration("batch"),
        crowd: Crowd {
            above: crowd.count("above"),
            batch: crowd.duration("batch"),
        },
        hot: Hot {
            share: hot.count("percent") as f32 / 100.0,
            batch: hot.duration("batch"),
        },
        durability: match table.text("durability") {
            Some("sync") => Durability::Sync,
            _ => Durability::Append,
        },
        history: Retention {
            count: kept,
            bytes: kept_bytes,
            age: history.duration("age"),
        },
        history_page_max: history.count("page_max"),
        replay_max: replay_max as u32,
        window_count: window_count as u32,
        window_bytes: window_bytes as usize,
        dedup_age: table.duration("dedup_age"),
        dedup_count: table.count("dedup_count"),
        payload_bytes_max: table.size("payload_bytes_max"),
        publish_rate: rate(table, "publish_rate", burst),
        room_publish_rate: rate(table, "room_publish_rate", burst),
        presence: PresencePolicy {
            enabled: presence.flag("enabled"),
            lease: presence.duration("lease"),
            interval: presence.duration("interval"),
            members_max: members_max as u32,
            sample: sample as u32,
        },
    }
}

fn state_policy(name: &str, table: &Table, problems: &mut Problems) -> Option<StatePolicy> {
    let state = Part::of(table, "state", &keys::STATE);
    if !state.flag("enabled") {
        return None;
    }
    if table.text("lane") != Some("latest") {
        let message = format!("`{name}` keeps a state, which only the lane `latest` has");
        let label = "set `lane = \"latest\"`, or leave this out".to_owned();
        problems.push(Problem::at(state.span("enabled"), message, label));
    }
    let age = state.duration("age");
    Some(StatePolicy {
        bytes: state.number("bytes"),
        age: (!age.is_zero()).then_some(age),
    })
}

// ---- keys and secrets

/// Reads a secret or a key from `env:NAME` or `file:PATH`, or takes the text itself. The
/// error is a sentence for the operator.
pub fn resolve(text: &str, folder: &Path) -> Result<Vec<u8>, String> {
    if let Some(name) = text.strip_prefix("env:") {
        return match std::env::var(name) {
            Ok(value) if !value.is_empty() => Ok(value.into_bytes()),
            Ok(_) => Err(format!("the environment variable `{name}` is empty")),
            Err(_) => Err(format!("the environment variable `{name}` is not set")),
        };
    }
    let Some(path) = text.strip_prefix("file:") else {
        return Ok(text.as_bytes().to_vec());
    };
    let path = in_folder(folder, path);
    let cannot = |why: String| format!("`{}` cannot be read: {why}", path.display());
    use std::io::Read;
    let file = std::fs::File::open(&path).map_err(|error| cannot(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(SECRET_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| cannot(error.to_string()))?;
    if bytes.len() as u64 > SECRET_BYTES_MAX {
        return Err(cannot(format!(
            "it is larger than {}",
            print_size(SECRET_BYTES_MAX)
        )));
    }
    // Editors end files with a newline that nobody means.
    while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        bytes.pop();
    }
    Ok(bytes)
}

fn auth(table: &Table, folder: &Path, problems: &mut Problems) -> AuthConfig {
    let mut keys = Vec::new();
    if let Some(text) = table.text("secret") {
        let key = resolve(text, folder).and_then(|secret| {
            Key::from_secret(None, Algorithm::HS256, &secret).map_err(|error| error.to_string())
        });
        keep(key, "auth.secret", table.span("secret"), &mut keys, problems);
    }
    let mut names = BTreeSet::new();
    for table in table.tables("keys") {
        let algorithm = table
            .text("algorithm")
            .and_then(|name| name.parse::<Algorithm>().ok());
        let kid = table.text("kid");
        if let (Some(kid), Some(algorithm)) = (kid, algorithm)
            && !names.insert((kid, algorithm))
        {
            let message = format!("`auth.keys` has two keys for {} named {kid:?}", algorithm.name());
            problems.push(Problem::at(table.span("kid"), message, "give each its own `kid`"));
        }
        let material = match (table.text("secret"), table.text("public_key")) {
            (Some(secret), None) => Some(("secret", secret)),
            (None, Some(public_key)) => Some(("public_key", public_key)),
            (Some(_), Some(_)) => {
                let label = "a key has one of `secret` and `public_key`";
                problems.push(Problem::at(
                    table.span.clone(),
                    "this key has two kinds of material",
                    label,
                ));
                None
            }
            (None, None) if table.is_written("secret") || table.is_written("public_key") => None,
            (None, None) => {
                let label = "add `secret` (HS256, HS384, HS512) or `public_key` (all others)";
                problems.push(Problem::at(
                    table.span.clone(),
                    "this key has nothing to check with",
                    label,
                ));
                None
            }
        };
        if let (Some((name, text)), Some(algorithm)) = (material, algorithm) {
            let key = resolve(text, folder).and_then(|bytes| {
                let key = match name {
                    "secret" => Key::from_secret(kid, algorithm, &bytes),
                    _ => Key::from_pem(kid, algorithm, &bytes),
                };
                key.map_err(|error| error.to_string())
            });
            keep(
                key,
                &format!("auth.keys.{name}"),
                table.span(name),
                &mut keys,
                problems,
            );
        }
    }
    let texts = |name: &str| table.texts(name).iter().map(|(text, _)| text.clone()).collect();
    AuthConfig {
        keys,
        jwks: jwks(table, problems),
        audience: texts("audience"),
        issuer: texts("issuer"),
        leeway: table.duration("leeway"),
    }
}

fn keep(
    key: Result<Key, String>,
    path: &str,
    span: Option<Range<usize>>,
    keys: &mut Vec<Key>,
    problems: &mut Problems,
) {
    match key {
        Ok(key) => keys.push(key),
        Err(why) => problems.push(Problem::at(span, format!("`{path}` cannot be used"), why)),
    }
}

fn jwks(table: &Table, problems: &mut Problems) -> Option<JwksConfig> {
    let url = table.text("jwks_url")?;
    if check_url(url).is_err() {
        let message = format!("`auth.jwks_url` cannot be {url:?}");
        let label = "an `https` address, or an `http` one on loopback; no user, no fragment";
        problems.push(Problem::at(table.span("jwks_url"), message, label));
    }
    let (refresh, cooldown) = (table.duration("jwks_refresh"), table.duration("jwks_cooldown"));
    if cooldown > refresh {
        let message = "`auth.jwks_cooldown` is above `auth.jwks_refresh`";
        let span = table.span("jwks_cooldown").or(table.span("jwks_refresh"));
        problems.push(Problem::at(
            span,
            message,
            format!("at most {}", print_duration(refresh)),
        ));
    }
    let algorithms = table.texts("jwks_algorithms").iter();
    Some(JwksConfig {
        url: url.to_owned(),
        refresh,
        cooldown,
        timeout: table.duration("jwks_timeout"),
        algorithms: algorithms.filter_map(|(name, _)| name.parse().ok()).collect(),
    })
}

fn api_keys(table: &Table, folder: &Path, problems: &mut Problems) -> ApiKeys {
    let mut keys: Vec<ApiKey> = Vec::new();
    for table in table.tables("keys") {
        let name = table.text("name").unwrap_or("unnamed");
        if table.is_written("name") && keys.iter().any(|key| key.name == name) {
            let message = format!("the API key `{name}` is there twice");
            problems.push(Problem::at(table.span("name"), message, "give each its own name"));
        }
        let names = table.texts("scopes").iter();
        let scopes = names.fold(Scopes::default(), |scopes, (name, _)| {
            let known = Scope::ALL.iter().find(|(known, _)| known == name);
            known.map_or(scopes, |(_, scope)| scopes.with(*scope))
        });
        let mut refuse = |name: Option<&str>, message: &str, label: String| {
            let span = name.and_then(|name| table.span(name)).or(table.span.clone());
            problems.push(Problem::at(span, message, label));
        };
        match (table.text("secret"), table.text("hash")) {
            (Some(text), None) => match resolve(text, folder) {
                Ok(secret) if secret.len() >= API_KEY_BYTES_MIN => {
                    keys.push(ApiKey::from_secret(name, &secret, scopes));
                }
                Ok(secret) => {
                    let label = format!(
                        "it has {} bytes; at least {API_KEY_BYTES_MIN} are needed",
                        secret.len()
                    );
                    refuse(Some("secret"), "`api.keys.secret` cannot be used", label);
                }
                Err(why) => refuse(Some("secret"), "`api.keys.secret` cannot be used", why),
            },
            (None, Some(hash)) => match ApiKey::from_hash(name, hash, scopes) {
                Some(key) => keys.push(key),
                None => {
                    let label = "the key's SHA-256, 64 hexadecimal digits: `printf %s \"$KEY\" | sha256sum`"
                        .to_owned();
                    refuse(Some("hash"), "`api.keys.hash` cannot be used", label);
                }
            },
            (Some(_), Some(_)) => {
                let label = "a key has one of `secret` and `hash`".to_owned();
                refuse(None, "this API key is there in two ways", label);
            }
            (None, None) => refuse(
                None,
                "this API key has neither `secret` nor `hash`",
                "add one of them".to_owned(),
            ),
        }
    }
    ApiKeys::new(keys)
}

// ---- what clashes

fn check_origins(root: &Table, problems: &mut Problems) {
    let Some(table) = root.table("origins") else {
        return;
    };
    for (text, span) in table.texts("allow") {
        let authority = text.split_once("://").map(|(_, authority)| authority);
        let is_origin = authority.is_some_and(|a| !a.is_empty() && !a.contains(['/', '?', '#', '@', ' ']));
        let stars = text.matches('*').count();
        if text != "*" && (!is_origin || stars > 1) {
            let message = format!("`origins.allow` cannot have {text:?}");
            let label = "scheme and host, port where it is not the usual one, no path, one `*` at most: \
                         \"https://app.example.com\", \"https://*.example.com\", \"*\"";
            problems.push(Problem::at(span.clone(), message, label));
        }
    }
}

fn check_limits(table: &Table, config: &Config, problems: &mut Problems) {
    let limits = &config.limits;
    let soft = table.duration("outbox_age_soft");
    if soft > limits.outbox_age_max && table.is_written("outbox_age_soft") {
        let hard = print_duration(limits.outbox_age_max);
        let message = format!(
            "`limits.outbox_age_soft` ({}) is above `limits.outbox_age_max` ({hard})",
            print_duration(soft)
        );
        let label = format!("at most {hard}, or raise `limits.outbox_age_max`");
        problems.push(Problem::at(table.span("outbox_age_soft"), message, label));
    }
    let outbox = limits.outbox_bytes_max;
    let show = |bytes: usize| print_size(bytes as u64);
    let span = table.span("outbox_bytes_max").or(table.span("frame_bytes_max"));
    if outbox < limits.frame_bytes_max {
        let frame = show(limits.frame_bytes_max);
        let message = format!(
            "`limits.outbox_bytes_max` ({}) is below one frame ({frame})",
            show(outbox)
        );
        problems.push(Problem::at(
            span.clone(),
            message,
            format!("at least {frame}, or lower `limits.frame_bytes_max`"),
        ));
    }
    for policy in &config.namespaces {
        // Bytes that are no JSON travel as base64 in the JSON subprotocol.
        let largest = policy.payload_bytes_max.div_ceil(3) * 4 + FRAME_OVERHEAD_BYTES;
        if outbox < largest {
            let payload = show(policy.payload_bytes_max);
            let name = &policy.namespace;
            let message = format!(
                "`limits.outbox_bytes_max` ({}) is below one publication of `{name}` (`payload_bytes_max` {payload})",
                show(outbox)
            );
            let label = format!(
                "at least {}, or lower `payload_bytes_max` of `{name}`",
                show(largest)
            );
            problems.push(Problem::at(span.clone(), message, label));
        }
    }
    if limits.refresh_ahead.is_zero() && table.is_written("refresh_ahead") {
        let label = "above \"0s\": clients need a moment to fetch a token";
        problems.push(Problem::at(
            table.span("refresh_ahead"),
            "`limits.refresh_ahead` cannot be \"0s\"",
            label,
        ));
    }
}

fn check_engine(root: &Table, config: &Config, problems: &mut Problems) {
    if config.engine != EngineConfig::Memory {
        return;
    }
    for table in root.tables("namespace") {
        if table.text("durability") == Some("sync") {
            let name = table.text("name").unwrap_or("unnamed");
            let message =
                format!("`{name}` asks for `durability = \"sync\"`, which the `memory` engine cannot keep");
            let label = "\"append\", or `engine.kind = \"log\"`";
            problems.push(Problem::at(table.span("durability"), message, label));
        }
    }
}

fn check_listen(root: &Table, config: &Config, overrides: &Overrides, problems: &mut Problems) {
    if !config.is_development() || is_loopback(config.listen) {
        return;
    }
    // Keys that are there but cannot be used have a problem of their own.
    let wants_keys = root.table("auth").is_some_and(|auth| {
        ["secret", "keys", "jwks_url"]
            .iter()
            .any(|name| auth.is_written(name))
    });
    if wants_keys {
        return;
    }
    let span = match overrides.listen {
        Some(_) => None,
        None => root.span("listen"),
    };
    let message = format!(
        "there are no keys to check tokens with, and {} is not loopback",
        config.listen
    );
    let label = "without keys the server starts only on loopback, in development mode";
    problems.push(Problem::at(span, message, label).help(
        "set `[auth]` keys (`secret = \"env:TIDEGATE_SECRET\"` is the shortest way), or listen on 127.0.0.1",
    ));
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

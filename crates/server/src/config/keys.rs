//! Every key of the configuration file: its kind, default, bounds and meaning, once.
//!
//! From this table come the reader's checks (`read`), the example, the reference in
//! `docs/configuration.md` and the JSON Schema (`document`): they cannot disagree.
//! A test holds the defaults equal to those of `core`'s `Limits` and `Policy`.

use tidegate_wire::room::NAMESPACE_BYTES_MAX;

/// A table of the file, and what may stand in it.
#[derive(Debug)]
pub(super) struct Section {
    /// As in the file, `limits`; the namespace's inner tables are written `namespace.history`.
    pub path: &'static str,
    /// What it is for; a sentence or two.
    pub doc: &'static str,
    pub keys: &'static [Key],
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub name: &'static str,
    pub kind: Kind,
    /// TOML; none where the key has no default.
    pub default: Option<&'static str>,
    /// TOML, for a key without a default; empty for tables.
    pub example: &'static str,
    /// It must be there.
    pub is_required: bool,
    pub doc: &'static str,
}

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// `"10s"`, within bounds written the same way.
    Duration { min: &'static str, max: &'static str },
    /// `"64KiB"`, likewise.
    Size { min: &'static str, max: &'static str },
    /// Likewise, or `"auto"`.
    SizeOrAuto { min: &'static str, max: &'static str },
    /// A whole number.
    Count { min: u64, max: u64 },
    /// A whole number, or `"auto"`.
    CountOrAuto { min: u64, max: u64 },
    /// `true` or `false`.
    Flag,
    /// One of these.
    Choice(&'static [&'static str]),
    /// `"127.0.0.1:8600"`.
    Address,
    /// Text of at most so many bytes; never empty.
    Text { bytes_max: usize },
    /// A path; relative ones begin at the file's own folder.
    Path,
    /// A secret: itself, `env:NAME` or `file:PATH`.
    Secret,
    /// A public key: PEM, `env:NAME` or `file:PATH`.
    PublicKey,
    /// Texts; one alone may stand without brackets.
    Texts { count_max: usize },
    /// Some of these.
    Choices(&'static [&'static str]),
    /// A table.
    Table(&'static Section),
    /// Tables, `[[...]]` or `[{...}, ...]`.
    Tables {
        section: &'static Section,
        count_max: usize,
    },
}

impl Key {
    const fn required(self) -> Self {
        Self {
            is_required: true,
            ..self
        }
    }
}

const fn key(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        default: Some(default),
        example: "",
        is_required: false,
        doc,
    }
}

const fn open(name: &'static str, kind: Kind, example: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        default: None,
        example,
        is_required: false,
        doc,
    }
}

const fn duration(min: &'static str, max: &'static str) -> Kind {
    Kind::Duration { min, max }
}

const fn size(min: &'static str, max: &'static str) -> Kind {
    Kind::Size { min, max }
}

const fn count(min: u64, max: u64) -> Kind {
    Kind::Count { min, max }
}

/// Algorithms of tokens, as they stand in a token's header.
pub(super) const ALGORITHMS: &[&str] = &[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384",
    "EdDSA",
];

/// Those with a public key. A JWKS address is public, so an HS key from there would be no secret.
const PUBLIC_ALGORITHMS: &[&str] = &[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA",
];

/// The whole file.
pub(super) static ROOT: Section = Section {
    path: "",
    doc: "Values have units: durations \"250ms\", \"10s\", \"5m\", \"24h\", \"7d\"; sizes \"512B\", \"64KiB\", \"16MiB\", \"1GiB\". \
          Relative paths begin at this file's folder.",
    keys: &[
        key(
            "listen",
            Kind::Address,
            "\"127.0.0.1:8600\"",
            "Where to listen: address and port. Any address but loopback needs keys in `[auth]`.",
        ),
        key(
            "shards",
            Kind::CountOrAuto { min: 1, max: 1024 },
            "\"auto\"",
            "Threads that serve connections; `auto` is one per core.",
        ),
        key(
            "demo",
            Kind::Flag,
            "false",
            "Serve the demo page at `/` and the planner at `/planner/`, and publish the demo's price series into the rooms `px:*`. `--demo` does the same.",
        ),
        open(
            "tls",
            Kind::Table(&TLS),
            "",
            "TLS on the listener; without this table it speaks plain text.",
        ),
        open(
            "engine",
            Kind::Table(&ENGINE),
            "",
            "What orders and keeps publications.",
        ),
        open("auth", Kind::Table(&AUTH), "", "Who gets in."),
        open(
            "origins",
            Kind::Table(&ORIGINS),
            "",
            "Which web pages may connect.",
        ),
        open("limits", Kind::Table(&LIMITS), "", "Bounds."),
        open(
            "admission",
            Kind::Table(&ADMISSION),
            "",
            "Who is let in while there is more than can be served.",
        ),
        open("drain", Kind::Table(&DRAIN), "", "How clients are sent away."),
        open("api", Kind::Table(&API), "", "The HTTP API."),
        open("deflate", Kind::Table(&DEFLATE), "", "Compression."),
        open(
            "namespace",
            Kind::Tables {
                section: &NAMESPACE,
                count_max: 1_000,
            },
            "",
            "The namespaces.",
        ),
    ],
};

pub(super) static TLS: Section = Section {
    path: "tls",
    doc: "TLS on the listener. Both files are read again when they change, and on SIGHUP.",
    keys: &[
        open(
            "cert",
            Kind::Path,
            "\"cert.pem\"",
            "PEM: the certificate, followed by those that vouch for it.",
        )
        .required(),
        open("key", Kind::Path, "\"key.pem\"", "PEM: its private key.").required(),
    ],
};

pub(super) static ENGINE: Section = Section {
    path: "engine",
    doc: "What orders and keeps publications.",
    keys: &[
        key(
            "kind",
            Kind::Choice(&["log", "memory"]),
            "\"log\"",
            "`log` keeps them on this machine's disk; `memory` forgets everything on a restart.",
        ),
        key(
            "dir",
            Kind::Path,
            "\"data\"",
            "Folder of the `log` engine; made if missing. One process at a time.",
        ),
    ],
};

pub(super) static AUTH: Section = Section {
    path: "auth",
    doc: "Who gets in: the keys that tokens are checked with. With none at all the server starts only on loopback, in development mode, and lets everyone in.",
    keys: &[
        open(
            "secret",
            Kind::Secret,
            "\"env:TIDEGATE_SECRET\"",
            "An HS256 key, at least 32 bytes: the shortest way to tokens. `env:NAME` and `file:PATH` read it from there.",
        ),
        open(
            "keys",
            Kind::Tables {
                section: &AUTH_KEY,
                count_max: 32,
            },
            "",
            "More keys.",
        ),
        open(
            "jwks_url",
            Kind::Text { bytes_max: 2_000 },
            "\"https://issuer.example.com/.well-known/jwks.json\"",
            "Public keys are fetched from here; `https`, or `http` on loopback. Redirects are not followed.",
        ),
        key(
            "jwks_refresh",
            duration("10s", "7d"),
            "\"10m\"",
            "How often they are fetched anew. A token with an unknown `kid` has them fetched at once, but not more often than `jwks_cooldown`.",
        ),
        key(
            "jwks_cooldown",
            duration("1s", "1h"),
            "\"10s\"",
            "Least time between two fetches.",
        ),
        key(
            "jwks_timeout",
            duration("100ms", "1m"),
            "\"5s\"",
            "Longest time for one fetch; a failed one keeps the keys that are there.",
        ),
        key(
            "jwks_algorithms",
            Kind::Choices(PUBLIC_ALGORITHMS),
            "[\"RS256\", \"RS384\", \"RS512\", \"PS256\", \"PS384\", \"PS512\", \"ES256\", \"ES384\", \"EdDSA\"]",
            "Algorithms allowed with keys from there.",
        ),
        open(
            "audience",
            Kind::Texts { count_max: 16 },
            "[\"tidegate\"]",
            "A token's `aud` must name one of these; unchecked when absent.",
        ),
        open(
            "issuer",
            Kind::Texts { count_max: 16 },
            "[\"https://issuer.example.com\"]",
            "A token's `iss` must be one of these; unchecked when absent.",
        ),
        key(
            "leeway",
            duration("0s", "5m"),
            "\"10s\"",
            "How far the issuer's clock may be off.",
        ),
    ],
};

pub(super) static AUTH_KEY: Section = Section {
    path: "auth.keys",
    doc: "One key for tokens. It is used with its one algorithm only.",
    keys: &[
        open(
            "algorithm",
            Kind::Choice(ALGORITHMS),
            "\"ES256\"",
            "The algorithm, and no other.",
        )
        .required(),
        open(
            "secret",
            Kind::Secret,
            "\"file:hs.key\"",
            "For HS256, HS384 and HS512: at least 32, 48 or 64 bytes.",
        ),
        open(
            "public_key",
            Kind::PublicKey,
            "\"file:issuer.pem\"",
            "For all others: PEM (SubjectPublicKeyInfo).",
        ),
        open(
            "kid",
            Kind::Text { bytes_max: 256 },
            "\"2026-a\"",
            "Tokens that name a `kid` are checked with the key of that name; a key without one is tried for any token of its algorithm.",
        ),
    ],
};

pub(super) static ORIGINS: Section = Section {
    path: "origins",
    doc: "Which web pages may connect. Browsers name the page's origin; other clients need not, and are not stopped here.",
    keys: &[key(
        "allow",
        Kind::Texts { count_max: 256 },
        "[]",
        "Such as `https://app.example.com` or `https://*.example.com`; `*` alone allows any. When empty: pages of the same host and port.",
    )],
};

pub(super) static LIMITS: Section = Section {
    path: "limits",
    doc: "Bounds. What happens at each is said beside it.",
    keys: &[
        key(
            "connections_max",
            Kind::CountOrAuto {
                min: 1,
                max: 16_777_216,
            },
            "\"auto\"",
            "Connections of the whole server; beyond it refused with 503. `auto` is what the descriptor limit leaves.",
        ),
        key(
            "connections_per_user_max",
            count(0, 16_777_216),
            "0",
            "Connections of one user; beyond it the newcomer's `connect` is rejected, `rate_limited`, and it is closed, 4003. Guests are not counted. 0 for no bound.",
        ),
        key(
            "connections_per_address_max",
            count(0, 16_777_216),
            "0",
            "Connections from one address (IPv6: one /64); beyond it refused with 503. 0 for no bound.",
        ),
        key(
            "memory_max",
            Kind::SizeOrAuto {
                min: "16MiB",
                max: "1024TiB",
            },
            "\"auto\"",
            "Resident memory of the process. From 70 % of it on, work is shed: `docs/overload.md`. `auto` is 80 % of what the control group, or the machine, has.",
        ),
        key(
            "sessions_max",
            count(1, 16_777_216),
            "1048576",
            "Sessions on one shard; beyond it refused.",
        ),
        key(
            "handshakes_max",
            count(1, 1_048_576),
            "4096",
            "Connections of one shard that have not finished their HTTP head or TLS; beyond it the oldest goes.",
        ),
        key(
            "handshake_timeout",
            duration("10ms", "5m"),
            "\"5s\"",
            "Time from accept to a complete HTTP head, TLS included; then closed.",
        ),
        key(
            "connect_timeout",
            duration("10ms", "5m"),
            "\"10s\"",
            "Time from the upgrade to `connect`; then closed, `handshake_timeout`.",
        ),
        key(
            "head_bytes_max",
            size("512B", "64KiB"),
            "\"8KiB\"",
            "Largest HTTP head; beyond it 431.",
        ),
        key(
            "frame_bytes_max",
            size("1KiB", "16MiB"),
            "\"64KiB\"",
            "Largest message from a client; beyond it closed, 1009.",
        ),
        key(
            "rooms_max",
            count(1, 100_000),
            "100",
            "Rooms one connection may join; beyond it rejected, `limit`.",
        ),
        key(
            "in_flight_max",
            count(1, 65_536),
            "32",
            "Commands of one connection that wait for the engine; beyond it rejected, `rate_limited`.",
        ),
        key(
            "held_commands_max",
            count(1, 65_536),
            "64",
            "Commands held while a token is being verified; beyond it closed, `flood`.",
        ),
        key(
            "requests_max",
            count(1, 16_777_216),
            "65536",
            "Requests of one shard that wait for the engine; beyond it rejected, `overloaded`.",
        ),
        key(
            "request_timeout",
            duration("10ms", "5m"),
            "\"5s\"",
            "Time without an answer from the engine; then rejected, `timeout`.",
        ),
        key(
            "outbox_bytes_max",
            size("4KiB", "1GiB"),
            "\"1MiB\"",
            "Bytes waiting for one connection; beyond it closed, `too_slow`. At least one frame and one payload must fit. A replay may fill half of it; one that would take more is a gap, `too_far`.",
        ),
        key(
            "outbox_age_max",
            duration("10ms", "10m"),
            "\"5s\"",
            "How long the oldest frame waiting for one connection may have waited, and how long a new one may have to, at the reader's measured rate; beyond it closed, `too_slow`.",
        ),
        key(
            "outbox_age_soft",
            duration("10ms", "10m"),
            "\"1s\"",
            "The soft bound: while what waits for a connection takes its reader longer, publications in `latest` and `lossy` wait for it outside, where newer ones replace them. Not above `outbox_age_max`.",
        ),
        key(
            "room_linger",
            duration("0s", "1h"),
            "\"30s\"",
            "How long a room stays in memory after its last subscriber left.",
        ),
        key(
            "rooms_total_max",
            count(1, 16_777_216),
            "500000",
            "Rooms of one shard in memory; beyond it an idle one goes, or joins are rejected, `overloaded`.",
        ),
        key(
            "windows_bytes_max",
            size("64KiB", "1TiB"),
            "\"256MiB\"",
            "All replay windows of one shard; beyond it windows are halved, one room after the other.",
        ),
        key(
            "pending_bytes_max",
            size("64KiB", "64GiB"),
            "\"64MiB\"",
            "Publications of one shard still to be fanned out; beyond it the engine's events wait.",
        ),
        key(
            "refresh_ahead",
            duration("0s", "1h"),
            "\"30s\"",
            "How long before its token expires a client is asked to refresh.",
        ),
        key(
            "ping_interval",
            duration("10ms", "10m"),
            "\"25s\"",
            "Between WebSocket pings; a connection silent for twice as long is closed, `ping_timeout`.",
        ),
        key(
            "reconnect_window",
            duration("0s", "10m"),
            "\"2s\"",
            "Upper end of a client's random wait before its first attempt to reconnect.",
        ),
        key(
            "send_buffer_bytes",
            size("4KiB", "16MiB"),
            "\"256KiB\"",
            "`SO_SNDBUF`: what the kernel holds for one connection.",
        ),
        key(
            "unsent_bytes",
            size("1KiB", "16MiB"),
            "\"32KiB\"",
            "`TCP_NOTSENT_LOWAT` for the fastest readers; what is above it waits in our outbox, where it can still be replaced and overtaken. Slower readers get as much as they take in about 50 ms.",
        ),
        key(
            "unacknowledged_max",
            duration("100ms", "1h"),
            "\"50s\"",
            "`TCP_USER_TIMEOUT`: time for which what was sent may stay unacknowledged by the peer's kernel, or find it full; then closed.",
        ),
        key(
            "shutdown_timeout",
            duration("0s", "10m"),
            "\"5s\"",
            "How long a stop waits for answers of the engine, and for outboxes to empty, once nobody is to be served any more.",
        ),
        key(
            "http_connections_max",
            count(1, 1_048_576),
            "1024",
            "HTTP connections (API, metrics, pages) at a time; beyond it 503.",
        ),
        key(
            "http_body_bytes_max",
            size("1KiB", "64MiB"),
            "\"1MiB\"",
            "Largest HTTP request body; beyond it 413.",
        ),
        key(
            "http_head_timeout",
            duration("10ms", "5m"),
            "\"10s\"",
            "Time for an HTTP request's head, idle time between requests included; then closed.",
        ),
        key(
            "http_request_timeout",
            duration("10ms", "10m"),
            "\"30s\"",
            "Time for an HTTP request's body and answer, then 408 or 504; and for a reader that takes nothing of its answer, then closed.",
        ),
    ],
};

pub(super) static ADMISSION: Section = Section {
    path: "admission",
    doc: "Who is let in while there is more than can be served: `docs/overload.md` tells how to choose. Rates are numbers a second, 0 for no limit.",
    keys: &[
        key(
            "rule",
            Kind::Choice(RULES),
            "\"gradient2\"",
            "What moves the adaptive limits below, from measured latency. `gradient2` compares it with the long run, `vegas` estimates the queue, `aimd` reacts to failures and timeouts only, `off` sets no limits but the fixed ones.",
        ),
        key(
            "floor",
            count(1, 1_000_000),
            "64",
            "No adaptive limit goes below: what may be under way on one shard, however slow it is.",
        ),
        key(
            "ceiling",
            count(1, 1_000_000),
            "10000",
            "Nor above. Not below `floor`.",
        ),
        key(
            "stall_max",
            duration("1ms", "10s"),
            "\"20ms\"",
            "How long publishes above the limit may stand in line while others are stored; then they and newcomers are rejected at once, `overloaded`, until for a second nobody has to be. While nothing at all is stored they wait up to fifty times this.",
        ),
        open(
            "publishes",
            Kind::Table(&ADMISSION_PUBLISHES),
            "",
            "The limit of publishes under way, of each shard.",
        ),
        open(
            "replays",
            Kind::Table(&ADMISSION_REPLAYS),
            "",
            "The limit of reads of history under way, of each shard.",
        ),
        open(
            "handshakes",
            Kind::Table(&ADMISSION_HANDSHAKES),
            "",
            "The limit of handshakes under way, of each shard.",
        ),
        open(
            "calls",
            Kind::Table(&ADMISSION_CALLS),
            "",
            "The limit of HTTP API calls under way.",
        ),
        key(
            "burst",
            duration("1ms", "1m"),
            "\"2s\"",
            "What every rate lets through at once: as much as in this time, at least one.",
        ),
        key(
            "keys_max",
            count(1, 16_777_216),
            "65536",
            "Users, addresses, and rooms of a namespace, each, with a bucket of their own (about 100 bytes, taken where a rate is set); beyond it newcomers share one.",
        ),
        key(
            "connection_commands",
            count(0, 1_000_000_000),
            "0",
            "Commands of one connection, pings and leaving excepted; beyond it rejected, `rate_limited`.",
        ),
        key(
            "connection_publishes",
            count(0, 1_000_000_000),
            "0",
            "Publishes of one connection; beyond it rejected, `rate_limited`.",
        ),
        key(
            "user_publishes",
            count(0, 1_000_000_000),
            "0",
            "Publishes of one user over all its connections; beyond it rejected, `rate_limited`.",
        ),
        key(
            "address_publishes",
            count(0, 1_000_000_000),
            "0",
            "Publishes from one address (IPv6: one /64); beyond it rejected, `rate_limited`.",
        ),
        key(
            "server_publishes",
            count(0, 1_000_000_000),
            "0",
            "Publishes of the whole server, the HTTP API's included; beyond it rejected, `rate_limited`.",
        ),
        key(
            "address_handshakes",
            count(0, 1_000_000_000),
            "0",
            "New connections from one address (IPv6: one /64); beyond it 503 before anything is read; with TLS closed.",
        ),
    ],
};

const RULES: &[&str] = &["gradient2", "vegas", "aimd", "off"];

pub(super) static ADMISSION_PUBLISHES: Section = Section {
    path: "admission.publishes",
    doc: "From admitted to stored.",
    keys: OVERRIDES,
};

pub(super) static ADMISSION_REPLAYS: Section = Section {
    path: "admission.replays",
    doc: "Joins whose replay is not in memory, and `history`. Above the limit they wait their turn, for half of `limits.request_timeout`.",
    keys: OVERRIDES,
};

pub(super) static ADMISSION_HANDSHAKES: Section = Section {
    path: "admission.handshakes",
    doc: "From the upgrade (with TLS: from accept) to `connected`. Above the limit 503; with TLS closed before its handshake.",
    keys: &[
        OVERRIDES[0],
        key(
            "floor",
            count(1, 1_000_000),
            "1024",
            "In place of `admission.floor`: handshakes take the time of their clients' round trips, and little of the server's.",
        ),
        OVERRIDES[2],
    ],
};

pub(super) static ADMISSION_CALLS: Section = Section {
    path: "admission.calls",
    doc: "Calls of the HTTP API. Above the limit 503 with `Retry-After`.",
    keys: OVERRIDES,
};

/// Each for its class only.
const OVERRIDES: &[Key] = &[
    open(
        "rule",
        Kind::Choice(RULES),
        "\"vegas\"",
        "In place of `admission.rule`.",
    ),
    open(
        "floor",
        count(1, 1_000_000),
        "64",
        "In place of `admission.floor`.",
    ),
    open(
        "ceiling",
        count(1, 1_000_000),
        "10000",
        "In place of `admission.ceiling`.",
    ),
];

pub(super) static DRAIN: Section = Section {
    path: "drain",
    doc: "How clients are sent away when the server stops (SIGTERM, SIGINT, `tidegate drain`) or rebalances: each is told its slot, the time at which it comes back, so that they come back one after the other.",
    keys: &[
        key(
            "within",
            duration("0s", "1h"),
            "\"30s\"",
            "The longest time over which they come back; `--drain` counts for more. `0s`: no slots; a stop closes all at once, and they come back at random within `limits.reconnect_window`.",
        ),
        key(
            "reconnects_per_second",
            count(1, 1_000_000),
            "1000",
            "How many come back each second, where `within` leaves the time for it: what those who take them can bear beside their work.",
        ),
        key(
            "come_back",
            Kind::Choice(&["auto", "here", "elsewhere"]),
            "\"auto\"",
            "`here`: to the process that replaces this one. All are closed at once, this process ends, and they come back at their slots. `elsewhere`: to another server behind the same address. Each is served until its slot and closed then. `auto`: `elsewhere` where several processes share the engine; with `log` and `memory`, `here`.",
        ),
        key(
            "first_slot",
            duration("0s", "10m"),
            "\"1s\"",
            "`here`: when the first comes back. The process that replaces this one should listen by then.",
        ),
    ],
};

pub(super) static API: Section = Section {
    path: "api",
    doc: "The HTTP API. Each request needs a key with the right scope; only in development mode, and while there are no keys here, it is open.",
    keys: &[open(
        "keys",
        Kind::Tables {
            section: &API_KEY,
            count_max: 256,
        },
        "",
        "Keys.",
    )],
};

pub(super) static API_KEY: Section = Section {
    path: "api.keys",
    doc: "One key of the HTTP API.",
    keys: &[
        open("name", Kind::Text { bytes_max: 64 }, "\"backend\"", "Whose it is; in logs and metrics.").required(),
        open("secret", Kind::Secret, "\"env:TIDEGATE_API_KEY\"", "The key, at least 16 bytes."),
        open("hash", Kind::Text { bytes_max: 64 }, "\"0000000000000000000000000000000000000000000000000000000000000000\"",
            "Or its SHA-256, 64 hexadecimal digits: then the key itself is nowhere on this machine."),
        open("scopes", Kind::Choices(&["publish", "read", "admin"]), "[\"publish\", \"read\"]",
            "`publish`: publish, batch, broadcast. `read`: history, presence, rooms. `admin`: all of it, disconnecting users, and sending clients away.").required(),
    ],
};

pub(super) static DEFLATE: Section = Section {
    path: "deflate",
    doc: "permessage-deflate, without context takeover: each publication is compressed once and shared by all subscribers.",
    keys: &[key(
        "enabled",
        Kind::Flag,
        "false",
        "Whether it is agreed to when a client offers it. It saves bytes and costs CPU.",
    )],
};

pub(super) static NAMESPACE: Section = Section {
    path: "namespace",
    doc: "What the rooms `name:*` promise. A room outside every namespace is rejected, `unknown_namespace`.",
    keys: &[
        open(
            "name",
            Kind::Text {
                bytes_max: NAMESPACE_BYTES_MAX,
            },
            "\"chat\"",
            "The part before the colon: 1 to 32 of `a-z 0-9 _ -`.",
        )
        .required(),
        key(
            "lane",
            Kind::Choice(&["reliable", "latest", "lossy"]),
            "\"reliable\"",
            "What a subscriber that falls behind is promised. `reliable`: every publication, or a close and a resume by position. `latest`: the newest of each `key`. `lossy`: what is younger than `deadline`.",
        ),
        key(
            "deadline",
            duration("1ms", "1h"),
            "\"500ms\"",
            "`lossy`: how long a publication is worth delivering to a subscriber that is behind.",
        ),
        key(
            "keys_max",
            count(1, 1_000_000),
            "10000",
            "`latest`: keys of one room whose newest publication is kept, however old, for subscribers that are behind and in the room's state; beyond it the oldest goes.",
        ),
        open(
            "state",
            Kind::Table(&STATE),
            "",
            "`latest`: the newest publication of each key, kept for those who join.",
        ),
        key(
            "batch",
            duration("0s", "1s"),
            "\"0s\"",
            "Least time between two fan-outs of one room: publications that come in between leave together, in one write per subscriber. `0s`: each at once.",
        ),
        open("crowd", Kind::Table(&CROWD), "", "What becomes of large rooms."),
        open("hot", Kind::Table(&HOT), "", "What becomes of hot rooms."),
        key(
            "durability",
            Kind::Choice(&["append", "sync"]),
            "\"append\"",
            "When a publish is acknowledged. `append`: survives `kill -9`. `sync`: after fdatasync, survives a power cut.",
        ),
        open(
            "history",
            Kind::Table(&HISTORY),
            "",
            "How much of a room's past is kept.",
        ),
        key(
            "replay_max",
            count(0, 10_000_000),
            "1000",
            "Most publications replayed on a join; beyond it a gap, `too_far`. Not above `history.count`.",
        ),
        open("window", Kind::Table(&WINDOW), "", "The recent past in memory."),
        key(
            "dedup_age",
            duration("0s", "7d"),
            "\"2m\"",
            "How long a `msg` id is remembered: a publish repeated within it happens once.",
        ),
        key(
            "dedup_count",
            count(0, 10_000_000),
            "10000",
            "Most `msg` ids remembered per room.",
        ),
        key(
            "payload_bytes_max",
            size("1B", "16MiB"),
            "\"32KiB\"",
            "Largest payload; beyond it rejected, `too_large`.",
        ),
        key(
            "publish_rate",
            count(0, 1_000_000_000),
            "0",
            "Publishes a second into all rooms of the namespace together, the HTTP API's included; beyond it rejected, `rate_limited`. 0 for no limit; bursts by `admission.burst`.",
        ),
        key(
            "room_publish_rate",
            count(0, 1_000_000_000),
            "0",
            "The same for each of its rooms.",
        ),
        open("presence", Kind::Table(&PRESENCE), "", "Who is here."),
    ],
};

pub(super) static STATE: Section = Section {
    path: "namespace.state",
    doc: "Lane `latest`: the newest publication of each key is kept by the engine, whatever becomes of the history, and given to those who join with `state`. At most `keys_max` keys a room.",
    keys: &[
        key(
            "enabled",
            Kind::Flag,
            "false",
            "Whether it is kept. Only where `lane` is `latest`.",
        ),
        key(
            "bytes",
            size("1KiB", "1GiB"),
            "\"16MiB\"",
            "Bytes of one room's state; beyond it the oldest key goes.",
        ),
        key(
            "age",
            duration("0s", "3650d"),
            "\"0s\"",
            "A key that nobody published to for so long is no longer part of it. `0s`: for ever.",
        ),
    ],
};

pub(super) static CROWD: Section = Section {
    path: "namespace.crowd",
    doc: "Thinning of large rooms: subscribers get fewer writes, and in the lanes `latest` and `lossy` of each write only the newest publication of each `key`.",
    keys: &[
        key(
            "above",
            count(0, 10_000_000),
            "0",
            "Subscribers of a room, over all shards, above which it is thinned; 0 for never.",
        ),
        key(
            "batch",
            duration("1ms", "10s"),
            "\"100ms\"",
            "Least time between two fan-outs of such a room.",
        ),
    ],
};

pub(super) static HOT: Section = Section {
    path: "namespace.hot",
    doc: "Hot rooms are found by the share of a shard's time that their fan-out asks for; they are counted, listed (`GET /v1/rooms?order=share`), and thinned as a crowd is, if `batch` says so.",
    keys: &[
        key(
            "percent",
            count(0, 100),
            "25",
            "Percent of the shard's time above which a room is hot, until it is below half of it; 0 for never.",
        ),
        key(
            "batch",
            duration("0s", "10s"),
            "\"0s\"",
            "Least time between two fan-outs of a hot room. `0s`: as any other's.",
        ),
    ],
};

pub(super) static HISTORY: Section = Section {
    path: "namespace.history",
    doc: "How much of a room's past is kept. Whatever bound is reached first trims.",
    keys: &[
        key(
            "count",
            count(0, 4_294_967_295),
            "1000",
            "Publications; 0 keeps none.",
        ),
        key("bytes", size("0B", "1TiB"), "\"16MiB\"", "Bytes of publications."),
        key("age", duration("1s", "3650d"), "\"1d\"", "Age of a publication."),
        key(
            "page_max",
            count(1, 10_000),
            "200",
            "Largest page of a `history` command, publications.",
        ),
    ],
};

pub(super) static WINDOW: Section = Section {
    path: "namespace.window",
    doc: "The recent past that each shard keeps in memory for its joined rooms, so that most returning subscribers need no disk. Not above `history`.",
    keys: &[
        key("count", count(0, 1_000_000), "256", "Publications per room."),
        key("bytes", size("0B", "1GiB"), "\"256KiB\"", "Bytes per room."),
    ],
};

pub(super) static PRESENCE: Section = Section {
    path: "namespace.presence",
    doc: "Who is here.",
    keys: &[
        key("enabled", Kind::Flag, "true", "Whether members may enter at all."),
        key(
            "lease",
            duration("0s", "1h"),
            "\"10s\"",
            "How long a member whose connection was lost stays listed.",
        ),
        key(
            "interval",
            duration("10ms", "1m"),
            "\"250ms\"",
            "Least time between two `members` pushes of one room.",
        ),
        key(
            "members_max",
            count(0, 100_000),
            "200",
            "Above this many members only the count and a sample are told.",
        ),
        key(
            "sample",
            count(0, 1_000),
            "20",
            "Size of that sample. Not above `members_max`.",
        ),
    ],
};

//! Every key of a plan file: its kind, bounds, default and meaning, once.
//!
//! From this table come the reader's checks and messages (`read`), the canonical text (`write`), the reference
//! in `docs/plan-file.md` and the JSON Schema (`document`): they cannot disagree. A section may have a *tag*,
//! a key whose value says which of the others may stand beside it: `kind` of a node, `law` of a room.

/// A table of the file, and what may stand in it.
#[derive(Debug)]
pub(super) struct Section {
    /// Its header as it is written; without brackets it stands within another's line.
    pub header: &'static str,
    /// What it is for; a sentence or two.
    pub doc: &'static str,
    /// The key that says which others are allowed.
    pub tag: Option<&'static str>,
    pub keys: &'static [Key],
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub need: Need,
    /// Values of the section's tag it is for; empty for all of them.
    pub only: &'static [&'static str],
    pub doc: &'static str,
}

/// What happens without it; values are TOML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// It must be there; an example.
    Required(&'static str),
    /// This stands in for it.
    Default(&'static str),
    /// It is left open; an example. Of a node, its kind's own default counts.
    Open(&'static str),
}

/// What a value may be; bounds are written as the values are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// `"120ms"`: seconds.
    Duration(&'static str, &'static str),
    /// `"19h30min"`: hours.
    Hours(&'static str, &'static str),
    /// `["19h", "43h"]`.
    HoursList {
        count_max: usize,
    },
    /// `"99.9%"`: a share.
    Share(&'static str, &'static str),
    /// `"2KiB"`: whole bytes.
    Bytes(&'static str, &'static str),
    /// `"0.5/s"`: a second.
    Rate(&'static str, &'static str),
    /// `"16KiB/s"`: bytes a second.
    ByteRate(&'static str, &'static str),
    /// `["30us", "36us", "54us"]`, or one of them: at least, probably, at most; each of that kind.
    Range(&'static Kind),
    /// A plain number.
    Number(f64, f64),
    /// A whole number.
    Count(u64, u64),
    Flag,
    Choice(&'static [&'static str]),
    Text {
        bytes_max: usize,
    },
    /// Letters, digits, `.`, `-`, `_`.
    Word,
    Texts {
        count_max: usize,
        bytes_max: usize,
    },
    /// `[["0h", 220], ["12h", 900]]`: hours and users.
    Points {
        count_max: usize,
    },
    /// Keys of the reader's own: class names or `all`, each with `"p95 < 120ms"` or a list of those.
    Targets {
        count_max: usize,
    },
    Table(&'static Section),
    /// `[[header]]`.
    Tables {
        section: &'static Section,
        count_max: usize,
    },
    /// `[header.NAME]`: the name is the reader's own.
    Named {
        section: &'static Section,
        count_max: usize,
    },
}

impl Kind {
    /// Whether it has a header, or braces, of its own.
    pub(super) fn is_table(self) -> bool {
        matches!(
            self,
            Self::Table(_) | Self::Tables { .. } | Self::Named { .. } | Self::Targets { .. }
        )
    }
}

impl Section {
    /// The key of that name.
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

const fn key(name: &'static str, kind: Kind, need: Need, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        need,
        only: &[],
        doc,
    }
}

/// A key for some values of the tag.
const fn of(
    only: &'static [&'static str],
    name: &'static str,
    kind: Kind,
    need: Need,
    doc: &'static str,
) -> Key {
    Key {
        name,
        kind,
        need,
        only,
        doc,
    }
}

use Kind::{
    ByteRate, Bytes, Choice, Count, Duration, Flag, Hours, HoursList, Named, Number, Points, Range, Rate,
    Share, Table, Tables, Targets, Text, Texts, Word,
};
use Need::{Default, Open, Required};

/// Bounds of a file. What is planned is a system that people run, not the largest number a machine can hold.
pub(super) const NODES_MAX: usize = 64;
pub(super) const CLASSES_MAX: usize = 32;
const BURSTS_MAX: usize = 32;
const FAILURES_MAX: usize = 200;
const COSTS_MAX: usize = 16;
const POINTS_MAX: usize = 1_000;
/// More than there are edges between the most nodes without a cycle: each may stand in a way of its own.
const WAYS_MAX: usize = 4_096;
const TARGETS_MAX: usize = 64;
/// Longest name of a node or a class.
pub(super) const NAME_BYTES_MAX: usize = 32;
/// A seed is a whole number that JavaScript keeps exactly, too.
const SEED_MAX: u64 = (1 << 53) - 1;

/// The whole file.
pub(super) static ROOT: Section = Section {
    header: "",
    doc: "Will this topology keep this contract, for this scenario?",
    tag: None,
    keys: &[
        key(
            "title",
            Text { bytes_max: 200 },
            Required("\"Chat for a club\""),
            "What is planned, in a few words.",
        ),
        key(
            "seed",
            Count(0, SEED_MAX),
            Default("1"),
            "All chance follows from it: the same seed, the same run.",
        ),
        key(
            "prices",
            Word,
            Required("\"aws-us-east-1\""),
            "The price book: `aws-us-east-1`, `hetzner-eu`.",
        ),
        key(
            "briefing",
            Table(&BRIEFING),
            Open(""),
            "For who plays it as a lesson.",
        ),
        key("contract", Table(&CONTRACT), Required(""), "What was promised."),
        key("scenario", Table(&SCENARIO), Required(""), "Who comes."),
        key(
            "class",
            Named {
                section: &CLASS,
                count_max: CLASSES_MAX,
            },
            Required(""),
            "What they send: a table for each class of events.",
        ),
        key(
            "burst",
            Tables {
                section: &BURST,
                count_max: BURSTS_MAX,
            },
            Open(""),
            "When there is more of everything.",
        ),
        key(
            "clients",
            Table(&CLIENTS),
            Open(""),
            "What a client does that was cut off or refused.",
        ),
        key(
            "topology",
            Table(&TOPOLOGY),
            Required(""),
            "How the nodes call each other.",
        ),
        key(
            "node",
            Named {
                section: &NODE,
                count_max: NODES_MAX,
            },
            Required(""),
            "What is built: a table for each node.",
        ),
        key(
            "failures",
            Table(&FAILURES),
            Open(""),
            "What goes wrong by chance.",
        ),
        key(
            "failure",
            Tables {
                section: &FAILURE,
                count_max: FAILURES_MAX,
            },
            Open(""),
            "What goes wrong for sure.",
        ),
        key(
            "costs",
            Named {
                section: &COSTS,
                count_max: COSTS_MAX,
            },
            Open(""),
            "What was measured, in place of the usual.",
        ),
    ],
};

pub(super) static BRIEFING: Section = Section {
    header: "[briefing]",
    doc: "For who plays the plan as a lesson: what is asked, hints to be shown one at a time, and mistakes that are often made.",
    tag: None,
    keys: &[
        key(
            "text",
            Text { bytes_max: 8_192 },
            Open("\"A club opens its chat.\""),
            "What is asked.",
        ),
        key(
            "hints",
            Texts {
                count_max: 20,
                bytes_max: 1_000,
            },
            Open("[\"Look at the worst minute.\"]"),
            "Shown one at a time.",
        ),
        key(
            "mistakes",
            Texts {
                count_max: 20,
                bytes_max: 1_000,
            },
            Open("[\"One of each.\"]"),
            "Often made.",
        ),
    ],
};

pub(super) static CONTRACT: Section = Section {
    header: "[contract]",
    doc: "What was promised, and for how much money.",
    tag: None,
    keys: &[
        key(
            "uptime",
            Share("50%", "99.9999%"),
            Required("\"99.9%\""),
            "Share of the time that must be good.",
        ),
        key(
            "weigh",
            Choice(&["user-minutes", "requests", "time"]),
            Default("\"user-minutes\""),
            "What `uptime` is a share of: of the minutes users wanted to be connected; of what was asked, publishes and connects; or of the clock, where a second counts as bad in which 5 % of the users are worse off.",
        ),
        key(
            "budget",
            Number(0.0, 1e9),
            Required("860"),
            "A month, in the currency of the price book.",
        ),
        key(
            "loss",
            Share("0%", "100%"),
            Open("\"0.1%\""),
            "Share of the deliveries that may be missed for good, if that was promised.",
        ),
        key(
            "reconnect",
            Duration("1ms", "24h"),
            Open("\"30s\""),
            "Longest until 95 % of those who lost their connection are back, if that was promised.",
        ),
        key(
            "late_factor",
            Number(1.0, 1e4),
            Default("10"),
            "A delivery later than this many times its target is as bad as none (assumed).",
        ),
        key(
            "latency",
            Targets {
                count_max: TARGETS_MAX,
            },
            Required(""),
            "From publish to deliver. Each key is a class, or `all` for all of them together; each value a percentile and its limit, \"p95 < 120ms\", or a list of those.",
        ),
    ],
};

pub(super) static SCENARIO: Section = Section {
    header: "[scenario]",
    doc: "Who comes, for how long, and over which network.",
    tag: None,
    keys: &[
        key(
            "length",
            Hours("1min", "744h"),
            Required("\"60h\""),
            "How long it lasts; the bill is extrapolated to a month.",
        ),
        key(
            "users",
            Table(&USERS),
            Required("{ shape = \"live-event\", base = 220, peak = 3400 }"),
            "How many want to be connected.",
        ),
        key(
            "session",
            Table(&SESSION),
            Default("{ law = \"weibull\", shape = 0.5, scale = \"20min\" }"),
            "How long a user stays.",
        ),
        key(
            "network_p50",
            Duration("0s", "10s"),
            Default("\"20ms\""),
            "One way between a user and the first node: the median (assumed).",
        ),
        key(
            "network_p95",
            Duration("0s", "10s"),
            Default("\"40ms\""),
            "The same, the 95th percentile (assumed).",
        ),
        key(
            "abuse",
            Share("0%", "100%"),
            Default("\"0%\""),
            "Share of the users that publishes ten times as much as it may.",
        ),
        key(
            "slow_readers",
            Share("0%", "100%"),
            Default("\"0%\""),
            "Share of the users that reads slowly.",
        ),
        key(
            "slow_reader_rate",
            ByteRate("1B/s", "1GiB/s"),
            Default("\"16KiB/s\""),
            "How fast those read (assumed: the edge of a mobile network).",
        ),
    ],
};

/// Shapes, as `Shape` has them.
pub(super) const SHAPES: &[&str] = &[
    "constant",
    "daily",
    "morning-surge",
    "viral",
    "flash-sale",
    "rollout",
    "live-event",
];

pub(super) static USERS: Section = Section {
    header: "users",
    doc: "How many want to be connected: a named shape with its base and peak, or points, with a smooth curve through them that never overshoots.",
    tag: None,
    keys: &[
        key(
            "shape",
            Choice(SHAPES),
            Open("\"live-event\""),
            "`constant`: always `base`. `daily`: low at night, high in the evening. `morning-surge`: narrow, each morning. `viral`: up within the hour, down unevenly. `flash-sale`: up at once, and it stays. `rollout`: by steps. `live-event`: a warm-up, a peak of hours, a slow leaving.",
        ),
        key(
            "base",
            Number(0.0, 1e7),
            Open("220"),
            "Users at the quietest; needed with a shape.",
        ),
        key(
            "peak",
            Number(0.0, 1e7),
            Open("3400"),
            "Users at the busiest; needed with every shape but `constant`.",
        ),
        key(
            "peak_at",
            Hours("0h", "744h"),
            Open("\"43h\""),
            "The hour of the peak; of the day, with `daily` and `morning-surge`. Each shape has its own.",
        ),
        key(
            "points",
            Points {
                count_max: POINTS_MAX,
            },
            Open("[[\"0h\", 220], [\"12h\", 900]]"),
            "Hours and users, by hour, at least two; they count for more than `base` and `peak`.",
        ),
    ],
};

pub(super) static SESSION: Section = Section {
    header: "session",
    doc: "How long a user stays. The default fits a week of a first-person shooter's server: many short sessions, few of hours; mean 40 minutes, median 10.",
    tag: Some("law"),
    keys: &[
        key(
            "law",
            Choice(&["weibull", "exponential", "fixed"]),
            Required("\"weibull\""),
            "Its law.",
        ),
        of(
            &["weibull"],
            "shape",
            Number(0.2, 10.0),
            Required("0.5"),
            "Below 1: the longer a user has stayed, the longer they will.",
        ),
        of(
            &["weibull"],
            "scale",
            Duration("1s", "744h"),
            Required("\"20min\""),
            "63 % of the sessions are shorter.",
        ),
        of(
            &["exponential"],
            "mean",
            Duration("1s", "744h"),
            Required("\"20min\""),
            "Their mean.",
        ),
        of(
            &["fixed"],
            "length",
            Duration("1s", "744h"),
            Required("\"2h\""),
            "All of them.",
        ),
    ],
};

pub(super) static CLASS: Section = Section {
    header: "[class.NAME]",
    doc: "One class of events: a name, and what its users publish.",
    tag: None,
    keys: &[
        key(
            "rate",
            Rate("0/s", "1000/s"),
            Required("\"0.5/s\""),
            "Publications of one user, on average.",
        ),
        key(
            "bytes",
            Bytes("1B", "16MiB"),
            Required("\"200B\""),
            "One delivery on the wire, headers included.",
        ),
        key(
            "room",
            Table(&ROOM),
            Required("{ law = \"fixed\", size = 10 }"),
            "How many users share a room.",
        ),
        key(
            "durable",
            Flag,
            Default("false"),
            "It must be stored before it is acknowledged.",
        ),
        key(
            "coalescible",
            Flag,
            Default("false"),
            "A newer one makes an older one worthless.",
        ),
        key(
            "newest_of",
            Choice(&["user", "room"]),
            Default("\"user\""),
            "If it is coalescible: an older one of whom. `user`: of the same user (a place, a cursor). `room`: of all in the room (a price, a count, the state of a match).",
        ),
        key("priority", Count(0, 9), Default("1"), "0 is shed first."),
    ],
};

pub(super) static ROOM: Section = Section {
    header: "room",
    doc: "How many users share a room.",
    tag: Some("law"),
    keys: &[
        key(
            "law",
            Choice(&["fixed", "geometric", "zipf", "everyone"]),
            Required("\"fixed\""),
            "`fixed`: all of one size. `geometric`: many small, few large. `zipf`: sizes fall as 1 / rank^exponent. `everyone`: all users in one room.",
        ),
        of(
            &["fixed"],
            "size",
            Number(1.0, 1e7),
            Required("10"),
            "Users in each.",
        ),
        of(
            &["geometric"],
            "mean",
            Number(1.0, 1e7),
            Required("25"),
            "Users in each, on average.",
        ),
        of(
            &["zipf"],
            "exponent",
            Number(0.1, 5.0),
            Required("1.1"),
            "How fast sizes fall.",
        ),
        of(
            &["zipf"],
            "largest_share",
            Share("0.0001%", "100%"),
            Required("\"12%\""),
            "Share of all users that is in the largest.",
        ),
    ],
};

pub(super) static BURST: Section = Section {
    header: "[[burst]]",
    doc: "When there is more of everything: a process that is quiet or loud for random times, or something that happens and that many react to.",
    tag: Some("kind"),
    keys: &[
        key(
            "kind",
            Choice(&["mmpp", "cluster"]),
            Required("\"cluster\""),
            "`mmpp`: a Markov-modulated Poisson process of two states. `cluster`: users react to something, each after a while.",
        ),
        of(
            &["mmpp"],
            "factor",
            Number(1.0, 1_000.0),
            Required("4"),
            "So many times as much while it is loud.",
        ),
        of(
            &["mmpp"],
            "quiet",
            Duration("1s", "744h"),
            Required("\"20min\""),
            "How long it is quiet, on average.",
        ),
        of(
            &["mmpp"],
            "loud",
            Duration("1s", "744h"),
            Required("\"30s\""),
            "How long it is loud, on average.",
        ),
        of(
            &["mmpp"],
            "classes",
            Texts {
                count_max: CLASSES_MAX,
                bytes_max: NAME_BYTES_MAX,
            },
            Required("[\"chat\"]"),
            "Of these classes.",
        ),
        of(
            &["cluster"],
            "at",
            HoursList { count_max: 1_000 },
            Default("[]"),
            "It happens at these hours for sure.",
        ),
        of(
            &["cluster"],
            "per_hour",
            Number(0.0, 1_000.0),
            Default("0"),
            "And so often an hour by chance.",
        ),
        of(
            &["cluster"],
            "share",
            Share("0%", "100%"),
            Required("\"30%\""),
            "Share of all users that reacts.",
        ),
        of(
            &["cluster"],
            "delay_p50",
            Duration("0s", "1h"),
            Required("\"3s\""),
            "How long they take: the median.",
        ),
        of(
            &["cluster"],
            "delay_p95",
            Duration("0s", "1h"),
            Required("\"12s\""),
            "The same, the 95th percentile.",
        ),
        of(
            &["cluster"],
            "class",
            Word,
            Required("\"chat\""),
            "What each of them publishes.",
        ),
    ],
};

pub(super) static CLIENTS: Section = Section {
    header: "[clients]",
    doc: "What a client does that was cut off or refused. The backoff's defaults are those of Tidegate's SDK.",
    tag: None,
    keys: &[
        key(
            "backoff_first",
            Duration("0s", "1h"),
            Default("\"500ms\""),
            "The first wait before it tries again; each doubles the last.",
        ),
        key(
            "backoff_max",
            Duration("0s", "24h"),
            Default("\"30s\""),
            "The longest.",
        ),
        key(
            "jitter",
            Choice(&["none", "equal", "full"]),
            Default("\"full\""),
            "How a wait is drawn: not at all, its second half, or all of it, evenly from 0.",
        ),
        key(
            "retries",
            Count(0, 20),
            Default("3"),
            "Tries of one publish after the first (assumed).",
        ),
        key(
            "retry_budget",
            Share("0%", "1000%"),
            Open("\"10%\""),
            "Retries allowed for each success; without it nothing bounds them.",
        ),
        key(
            "timeout",
            Duration("1ms", "1h"),
            Default("\"5s\""),
            "An answer later than this is none (assumed).",
        ),
        key(
            "patience",
            Duration("1s", "24h"),
            Default("\"5min\""),
            "They give up after so long without a connection (assumed).",
        ),
    ],
};

pub(super) static TOPOLOGY: Section = Section {
    header: "[topology]",
    doc: "How the nodes call each other.",
    tag: None,
    keys: &[key(
        "ways",
        Texts {
            count_max: WAYS_MAX,
            bytes_max: 1_000,
        },
        Required("[\"clients -> lb -> ws -> server -> postgres\"]"),
        "Each is a chain: the left calls the right. `clients` are the users; ways branch and meet, and never lead back.",
    )],
};

/// Kinds of nodes, as `plan::Kind` has them.
pub(super) const KINDS: &[&str] = &[
    "lb", "ws", "server", "postgres", "replica", "redis", "stream", "queue", "worker", "limiter", "hosted",
];

const SCALES: &[&str] = &["ws", "server", "replica", "worker"];

pub(super) static NODE: Section = Section {
    header: "[node.NAME]",
    doc: "Several machines of one kind that share a job. What is left out of the options has a default of its kind.",
    tag: Some("kind"),
    keys: &[
        key(
            "kind",
            Choice(KINDS),
            Required("\"ws\""),
            "`lb`: the load balancer. `ws`: Tidegate. `server`: the application's own servers. `postgres`. `replica`: of Postgres, for reads. `redis`: a cache, and a bus between `ws` nodes. `stream`: ordered partitions. `queue`: jobs. `worker`: does them. `limiter`: a rate limiter. `hosted`: a hosted service in place of `ws`.",
        ),
        key(
            "count",
            Count(1, 10_000),
            Default("1"),
            "Machines, or what the kind counts: shards, brokers.",
        ),
        key(
            "size",
            Word,
            Open("\"c7g.medium\""),
            "An entry of the price book; each kind has one of its own.",
        ),
        key(
            "zones",
            Count(1, 16),
            Default("1"),
            "Failure domains they are spread over.",
        ),
        key(
            "waiting_max",
            Count(0, 100_000_000),
            Open("1000"),
            "What may wait at one machine; without it nothing limits it.",
        ),
        key(
            "service",
            Duration("1ns", "1h"),
            Open("\"2ms\""),
            "One unit of work, on average, in place of the default.",
        ),
        key(
            "timeout",
            Duration("1ms", "1h"),
            Open("\"500ms\""),
            "Its callers give up after this.",
        ),
        key(
            "retries",
            Count(0, 20),
            Open("2"),
            "Tries of its callers after the first.",
        ),
        key(
            "retry_jitter",
            Flag,
            Open("true"),
            "Its callers wait a random time between tries.",
        ),
        key(
            "retry_budget",
            Share("0%", "1000%"),
            Open("\"10%\""),
            "Retries its callers allow themselves for each success.",
        ),
        of(
            &["server", "worker"],
            "pool",
            Count(1, 100_000),
            Open("20"),
            "Connections to Postgres, each machine.",
        ),
        of(
            &["postgres"],
            "standby",
            Flag,
            Open("true"),
            "A standby in another zone takes over.",
        ),
        of(
            &["postgres", "replica"],
            "connections_max",
            Count(1, 100_000),
            Open("200"),
            "Connections it takes.",
        ),
        of(
            &["postgres"],
            "failover",
            Duration("1s", "24h"),
            Open("\"90s\""),
            "From the failure until it answers again.",
        ),
        of(
            &["replica"],
            "staleness_max",
            Duration("1ms", "24h"),
            Open("\"1s\""),
            "How far it may lag behind and still serve reads.",
        ),
        of(
            &["stream", "hosted"],
            "partitions",
            Count(1, 100_000),
            Open("8"),
            "Partitions, or shards: each is in order, and has one consumer.",
        ),
        of(
            &["stream", "queue"],
            "poll",
            Duration("0s", "1h"),
            Open("\"20ms\""),
            "Between two polls of a consumer; \"0s\" is push.",
        ),
        of(
            &["queue"],
            "visibility",
            Duration("1s", "24h"),
            Open("\"30s\""),
            "A job that was not acknowledged by then is given out again.",
        ),
        of(
            &["redis"],
            "hit_rate",
            Share("0%", "100%"),
            Open("\"90%\""),
            "Share of reads it answers when warm.",
        ),
        of(
            &["redis"],
            "warm_up",
            Duration("0s", "24h"),
            Open("\"10min\""),
            "Until it is warm.",
        ),
        of(
            &["limiter"],
            "rate",
            Rate("0/s", "1000000/s"),
            Open("\"5/s\""),
            "Publishes of one user that pass.",
        ),
        of(
            &["limiter"],
            "burst",
            Number(0.0, 1e6),
            Open("10"),
            "Publishes that pass at once.",
        ),
        of(
            &["limiter"],
            "counts_reconnects",
            Flag,
            Open("false"),
            "A reconnect counts as abuse.",
        ),
        of(
            SCALES,
            "autoscale_max",
            Count(1, 10_000),
            Open("8"),
            "Machines at most; `count` is the least.",
        ),
        of(
            SCALES,
            "autoscale_target",
            Share("1%", "100%"),
            Open("\"60%\""),
            "The utilisation it aims at.",
        ),
        of(
            SCALES,
            "autoscale_delay",
            Duration("0s", "24h"),
            Open("\"75s\""),
            "To notice and to decide.",
        ),
        of(
            SCALES,
            "boot",
            Duration("0s", "24h"),
            Open("\"90s\""),
            "Until a new machine serves.",
        ),
        of(
            &["ws"],
            "drain",
            Duration("0s", "24h"),
            Open("\"60s\""),
            "A drain spreads its clients over this.",
        ),
        of(
            &["ws"],
            "resume_window",
            Duration("0s", "24h"),
            Open("\"2min\""),
            "A session may be resumed from memory for this long.",
        ),
        of(
            &["ws"],
            "rebalance",
            Flag,
            Open("true"),
            "Connections move to new machines, too.",
        ),
        of(
            &["ws"],
            "outbox_bytes",
            Bytes("1KiB", "1GiB"),
            Open("\"256KiB\""),
            "What may wait for one client; what happens then follows the class.",
        ),
        of(
            &["ws"],
            "conflate_rate",
            Rate("0/s", "1000/s"),
            Open("\"10/s\""),
            "Coalescible classes leave in at most so many writes a second to one client and room, as with `max_rate` in the lane `latest`: the first publication goes at once, then a window of 1 / rate is closed, and at its end the newest of each user (or of the room: `newest_of`) goes. What is shown waits up to a window from its own send; a slow reader has longer windows and nothing else that waits. \"0/s\" sends each as it comes, and what a slow reader does not take waits in its outbox.",
        ),
        of(
            &["ws"],
            "tokens",
            Flag,
            Open("true"),
            "Tokens are checked without asking the servers.",
        ),
        of(
            &["ws"],
            "lanes",
            Flag,
            Open("true"),
            "What has priority has a lane of its own.",
        ),
        of(
            &["ws"],
            "handshakes_max",
            Rate("1/s", "1000000/s"),
            Open("\"350/s\""),
            "Handshakes it takes, each core.",
        ),
        of(
            &["lb"],
            "health_interval",
            Duration("100ms", "1h"),
            Open("\"10s\""),
            "Between two health checks.",
        ),
        of(
            &["lb"],
            "health_failures",
            Count(1, 100),
            Open("2"),
            "So many must fail.",
        ),
        key(
            "costs",
            Word,
            Open("\"measured\""),
            "The name of a table `[costs.NAME]`: what was measured counts, in place of the usual figures.",
        ),
    ],
};

/// CPU of one thing; a single text is one that is known exactly.
const CPU: Kind = Range(&Duration("0s", "10s"));
const SIZE: Kind = Range(&Bytes("0B", "1GiB"));

pub(super) static COSTS: Section = Section {
    header: "[costs.NAME]",
    doc: "What Tidegate costs on a machine that was measured: `tidegate load calibrate` measures, `tidegate plan calibrate` writes this, and a `ws` node names it. Each is at least, probably, at most; one that is left out keeps its usual figure.",
    tag: None,
    keys: &[
        key(
            "measured",
            Text { bytes_max: 200 },
            Open("\"2026-11-30: 2 cores, Linux 6.18\""),
            "When and where, for people.",
        ),
        key(
            "handshake",
            CPU,
            Open("[\"30us\", \"36us\", \"54us\"]"),
            "CPU to accept, to authenticate and to join one connection, without TLS.",
        ),
        key(
            "tls",
            CPU,
            Open("[\"200us\", \"500us\", \"2.9ms\"]"),
            "CPU that TLS adds to that, where no load balancer ends it; \"0s\" for none.",
        ),
        key(
            "publish",
            CPU,
            Open("[\"35us\", \"50us\", \"60us\"]"),
            "CPU of one publication, without its deliveries.",
        ),
        key(
            "put-out",
            CPU,
            Open("[\"8us\", \"15us\", \"25us\"]"),
            "Of that, what each further machine does that has receivers.",
        ),
        key(
            "delivery",
            CPU,
            Open("[\"7.5us\", \"8.3us\", \"10.9us\"]"),
            "CPU of one delivery with a write of its own.",
        ),
        key(
            "delivery-joined",
            CPU,
            Open("[\"150ns\", \"200ns\", \"400ns\"]"),
            "CPU of one that shares the write of another.",
        ),
        key(
            "idle",
            CPU,
            Open("[\"500ns\", \"2.2us\", \"4.7us\"]"),
            "CPU of one silent connection, each second.",
        ),
        key(
            "connection-bytes",
            SIZE,
            Open("[\"3000B\", \"4672B\", \"11000B\"]"),
            "Memory of one connection, the kernel's included.",
        ),
        key(
            "base-bytes",
            SIZE,
            Open("[\"150MB\", \"318MB\", \"500MB\"]"),
            "Memory without any, the operating system's included.",
        ),
        key(
            "sync",
            CPU,
            Open("[\"400us\", \"2ms\", \"4ms\"]"),
            "How long its own log on disk takes to have a publication.",
        ),
    ],
};

pub(super) static FAILURES: Section = Section {
    header: "[failures]",
    doc: "What goes wrong by chance.",
    tag: None,
    keys: &[
        key(
            "crashes_per_year",
            Number(0.0, 10_000.0),
            Default("1"),
            "Of one machine, on average (assumed: no public rate was found).",
        ),
        key(
            "deploys_per_week",
            Number(0.0, 1_000.0),
            Default("2"),
            "Each replaces all `ws` and `server` machines in turn (assumed).",
        ),
        key(
            "common_cause",
            Share("0%", "100%"),
            Default("\"10%\""),
            "Share of the failures that strikes all machines of a node at once (assumed).",
        ),
    ],
};

const LASTS: &[&str] = &["zone", "slow", "loss", "kick"];

pub(super) static FAILURE: Section = Section {
    header: "[[failure]]",
    doc: "One failure that happens for sure.",
    tag: Some("what"),
    keys: &[
        key("at", Hours("0h", "744h"), Required("\"43h\""), "When."),
        key("node", Word, Required("\"ws\""), "Where."),
        key(
            "what",
            Choice(&[
                "crash", "zone", "slow", "failover", "deploy", "cold", "loss", "kick",
            ]),
            Required("\"crash\""),
            "`crash`: machines die, and come back. `zone`: all machines of one zone are gone. `slow`: all work takes longer. `failover`: the primary fails over to its standby, or is repaired. `deploy`: all machines are replaced, one after the other. `cold`: what Redis knew is forgotten. `loss`: links to it lose what is sent. `kick`: more is published, to see whether it calms down again.",
        ),
        of(
            &["crash"],
            "machines",
            Count(1, 10_000),
            Default("1"),
            "So many at once.",
        ),
        of(
            &["crash"],
            "back_after",
            Duration("1s", "744h"),
            Open("\"2min\""),
            "They are back after this; without it after their kind's own time.",
        ),
        of(
            LASTS,
            "lasts",
            Duration("1s", "744h"),
            Required("\"30s\""),
            "For so long.",
        ),
        of(
            &["slow", "kick"],
            "factor",
            Number(1.0, 1_000.0),
            Required("5"),
            "So many times as long, or as much.",
        ),
        of(
            &["loss"],
            "share",
            Share("0%", "100%"),
            Required("\"2%\""),
            "Share that is lost.",
        ),
    ],
};

//! What is wrong, or weak, in a design by rules that many systems taught: each finding with its evidence and a way out.
//!
//! ```text
//!   Plan ─► compile ─► one fluid run ─► Facts ─► 36 rules ─► Findings, the gravest first
//!                                         └─► a few runs more: one machine less, a cold cache, a crash, ends of figures
//! ```
//!
//! A verdict says *whether*; a finding says *what to change*, also where the verdict is good: a design may hold for
//! reasons that will not last. Evidence is computed from this plan, never general advice; a fix names the key and a value
//! that satisfies the rule. A rule that the model cannot see (file descriptors, idle timeouts, two regions) asks for the
//! closest thing that a plan says, and its sentence in [`RULES`] tells which.
//!
//! An error is what breaks the contract, or loses what it was meant to protect, when the thing comes to pass that the rule
//! is about. A warning makes that likely or costs money. A note is worth knowing.

mod availability;
mod bursts;
mod capacity;
mod contract;
mod facts;
mod reconnect;
mod retries;
mod spare;
mod tiers;
mod traffic;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::Serialize;

use self::facts::Facts;
use crate::{compile::CompileError, plan::Plan, price::Book};

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    Note,
    Warning,
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// The four mistakes that designs of real-time backends make most, as the reference scenario has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mistake {
    Headroom,
    StreamsAndWorkers,
    Retries,
    Reconnects,
}

impl Mistake {
    /// What it is about, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Headroom => "headroom before spikes",
            Self::StreamsAndWorkers => "streams and workers scaled together",
            Self::Retries => "retries with backoff, priority and capacity",
            Self::Reconnects => "reconnect backoff and connection-aware planning",
        }
    }
}

/// A rule.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// `L01`.
    pub id: &'static str,
    /// `spof`.
    pub name: &'static str,
    /// When it has something to say.
    pub says: &'static str,
    /// The common mistake that it is a case of.
    pub mistake: Option<Mistake>,
    check: fn(&Facts<'_>, &mut Found),
}

const fn rule(
    id: &'static str,
    name: &'static str,
    mistake: Option<Mistake>,
    check: fn(&Facts<'_>, &mut Found),
    says: &'static str,
) -> Rule {
    Rule {
        id,
        name,
        says,
        mistake,
        check,
    }
}

/// All rules, by their ids.
#[rustfmt::skip]
pub static RULES: [Rule; 36] = [
    rule("L01", "spof", None, availability::spof,
        "One machine that every event or every connect depends on, and it is promised to be there for less of the time than the contract asks."),
    rule("L02", "ceiling", None, availability::ceiling,
        "What vendors promise of all that is on the way, multiplied, is less than the contract."),
    rule("L03", "no-lb", None, tiers::no_lb,
        "Clients call several machines with no load balancer between."),
    rule("L04", "idle-lb", None, tiers::idle_lb,
        "A load balancer before one machine that never becomes two."),
    rule("L05", "ws-shares-work", None, tiers::ws_shares_work,
        "The machines that hold connections also ask a database or do jobs."),
    rule("L06", "n-1", Some(Mistake::Headroom), capacity::one_less,
        "With one machine less the others are full at the peak, in cores or in memory; or there is no other that holds connections."),
    rule("L07", "small-hot", Some(Mistake::Headroom), capacity::small_hot,
        "In the worst minutes a tier is above the knee of as few cores as it has, and its line costs a part of the latency that shows."),
    rule("L08", "scale-too-late", Some(Mistake::Headroom), capacity::scale_too_late,
        "Users, or what they send together, come faster than machines: what is there is full before the first new one serves."),
    rule("L09", "sticky-scale", Some(Mistake::Headroom), capacity::sticky_scale,
        "Machines that hold connections are added, and those connected stay where they are."),
    rule("L10", "retry-layers", Some(Mistake::Retries), retries::layers,
        "Tries multiply over layers, or are made without a budget or without jitter."),
    rule("L11", "timeout-inversion", Some(Mistake::Retries), retries::timeouts,
        "Who asks gives up before whom it asks has made all its tries, or waits for longer than an answer is worth."),
    rule("L12", "reconnect", Some(Mistake::Reconnects), reconnect::storm,
        "Who was cut off comes back without jitter, faster than they can be taken, without a session to resume, or by way of the database."),
    rule("L13", "synchronised", Some(Mistake::Reconnects), reconnect::synchronised,
        "Something that is planned cuts more than a tenth of all connections within ten seconds."),
    rule("L14", "stream-worker", Some(Mistake::StreamsAndWorkers), tiers::stream_worker,
        "Fewer partitions than consumers, consumers with less than 1.2 times what comes in the worst minutes, or jobs longer than their visibility."),
    rule("L15", "hot-room", None, traffic::hot_room,
        "One room is more than half of what a core, or a partition, can do."),
    rule("L16", "shard-key", None, traffic::shard_key,
        "Machines are shared out by connection while what is shared is a room: most of the work is passing each publication on; or partitions, and one room has most of what is stored."),
    rule("L17", "unbounded", None, traffic::unbounded,
        "Nothing bounds what may wait."),
    rule("L18", "slow-consumer", None, traffic::slow_consumer,
        "What may wait for slow readers does not fit into memory, or they are sent more than they read."),
    rule("L19", "fanout-bill", None, traffic::fanout_bill,
        "What leaves to the internet is more than 30 % of the budget."),
    rule("L20", "fanout-latency", None, traffic::fanout_latency,
        "To the last of the largest room takes more than a quarter of the latency that was promised."),
    rule("L21", "wrong-tier", None, capacity::wrong_tier,
        "A tier has machines to spare while another is the bottleneck."),
    rule("L22", "pool", None, capacity::pool,
        "Pools ask for more connections than the database takes, or are empty before a core is busy."),
    rule("L23", "replica-stale", None, tiers::replica_stale,
        "Who writes reads from a replica that may be behind, with nothing that holds it to a moment."),
    rule("L24", "replica-not-standby", None, availability::replica_not_standby,
        "A replica is there and no standby, or standbys are counted as if they answered."),
    rule("L25", "cache-cold", None, capacity::cache_cold,
        "The database cannot do what a cold cache leaves to it."),
    rule("L26", "limiter-blind", None, tiers::limiter_blind,
        "A limiter counts reconnects as abuse, stands behind what it protects, or refuses what everybody sends; or there is abuse and no limiter."),
    rule("L27", "closed-load", None, contract::closed_load,
        "The traffic is averages: no burst, so that nothing ever comes together."),
    rule("L28", "median", None, contract::median,
        "A latency is promised of a median, or of all classes together where a whole class may be late unseen."),
    rule("L29", "queue-in-path", None, tiers::queue_in_path,
        "An event waits for a poll, or for a durable queue, within a latency that leaves no time for it."),
    rule("L30", "one-zone", None, availability::one_zone,
        "All machines of a tier are in one failure domain."),
    rule("L31", "cross-region", None, contract::cross_region,
        "The way of users to the first node and back takes most of the latency: they are too far away."),
    rule("L32", "failover-budget", None, availability::failover_budget,
        "Failures that are expected last longer than the error budget."),
    rule("L33", "over-built", None, spare::over_built,
        "With less the verdict is the same, no other rule objects, and more than 5 % is saved (pairs of fluid runs)."),
    rule("L34", "no-drain", Some(Mistake::Reconnects), reconnect::no_drain,
        "A machine that leaves in order sends its connections away faster than they can be taken elsewhere."),
    rule("L35", "stale-price", None, contract::stale_price,
        "The price book is older than 90 days, or says no currency."),
    rule("L36", "unknown-decides", None, spare::unknown_decides,
        "Within what a figure of the model may be, the verdict turns (fluid runs)."),
];

/// What a rule has found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// `L01`, and its name.
    pub rule: &'static str,
    pub name: &'static str,
    pub severity: Severity,
    /// In words; none if it is no case of one of the four.
    pub mistake: Option<&'static str>,
    /// The nodes it is about, and the class.
    pub nodes: Vec<String>,
    pub class: Option<String>,
    /// Keys of the file, most to the point first: `node.ws.count`, `clients.jitter`, `topology.ways`.
    pub keys: Vec<String>,
    /// What of this plan says so.
    pub evidence: String,
    /// What to change.
    pub fix: String,
}

/// What a plan is looked at with.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// Prices in place of those of the plan's own book.
    pub book: Option<&'a Book>,
    /// `2026-07-20`, if the age of prices is to be looked at.
    pub today: Option<&'a str>,
    /// Whether pairs of runs are made for what needs them ([`RULES`] L33 and L36): some dozens of fluid runs.
    pub with_pairs: bool,
}

/// All that the rules find in a plan: the gravest first, then by rule.
///
/// # Errors
/// If the plan cannot run.
pub fn lint(plan: &Plan, given: &Given<'_>) -> Result<Vec<Finding>, CompileError> {
    let facts = Facts::of(plan, given)?;
    let mut findings = found(&facts, |rule| {
        given.with_pairs || !["L33", "L36"].contains(&rule.id)
    });
    findings.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.rule.cmp(b.rule)));
    Ok(findings)
}

/// What those rules find, in their order.
fn found(facts: &Facts<'_>, is_asked: impl Fn(&Rule) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in RULES.iter().filter(|rule| is_asked(rule)) {
        let mut found = Found {
            rule,
            findings: Vec::new(),
        };
        (rule.check)(facts, &mut found);
        findings.append(&mut found.findings);
    }
    findings
}

/// Takes what one rule finds.
struct Found {
    rule: &'static Rule,
    findings: Vec<Finding>,
}

impl Found {
    /// Notes a finding; where it is comes after.
    fn note(
        &mut self,
        severity: Severity,
        evidence: impl Into<String>,
        fix: impl Into<String>,
    ) -> &mut Finding {
        self.findings.push(Finding {
            rule: self.rule.id,
            name: self.rule.name,
            severity,
            mistake: self.rule.mistake.map(Mistake::words),
            nodes: Vec::new(),
            class: None,
            keys: Vec::new(),
            evidence: evidence.into(),
            fix: fix.into(),
        });
        self.findings.last_mut().expect("pushed above")
    }
}

impl Finding {
    /// It is about a key of a node.
    fn at_node(&mut self, id: &str, key: &str) -> &mut Self {
        if !self.nodes.iter().any(|node| node == id) {
            self.nodes.push(id.to_owned());
        }
        self.at(format!("node.{id}.{key}"))
    }

    /// It is about a key of a class.
    fn at_class(&mut self, name: &str, key: &str) -> &mut Self {
        self.class.get_or_insert_with(|| name.to_owned());
        self.at(format!("class.{name}.{key}"))
    }

    /// It is about a key elsewhere.
    fn at(&mut self, key: impl Into<String>) -> &mut Self {
        self.keys.push(key.into());
        self
    }
}

/// Lists names as one reads them: `a`, `a and b`, `a, b and c`.
fn list<S: AsRef<str>>(names: &[S]) -> String {
    match names {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", first.join(", "), last.as_ref())
        }
    }
}

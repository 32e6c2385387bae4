//! What is scraped: one declared list, filled from the counters of shards, acceptor, engine
//! and the back office when someone asks.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text::encode},
    metrics::MetricType,
    registry::Registry,
};
use tidegate_core::{
    GateCounters, LimitCounters,
    admission::{Class, Scope, Table},
};
use tidegate_engine::{Metrics as EngineMetrics, Quantiles};
use tidegate_wire::{CloseReason, RejectCode};

use super::routes::ROUTES;
use crate::{
    control::ShardCounters,
    edge::{AcceptCounters, HandshakeFailure, Refusal, handshake::TARGET, memory::Memory},
};

/// One metric, as it is declared.
#[derive(Debug)]
pub struct Metric {
    /// Its name; a counter's gets `_total`.
    pub name: &'static str,
    /// Counter or gauge.
    pub kind: MetricType,
    /// The labels that tell its series apart, if there are several.
    pub labels: &'static [&'static str],
    /// What it is, with its unit.
    pub help: &'static str,
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    let kind = MetricType::Counter;
    Metric {
        name,
        kind,
        labels,
        help,
    }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    let kind = MetricType::Gauge;
    Metric {
        name,
        kind,
        labels,
        help,
    }
}

/// Every metric there is.
pub const METRICS: &[Metric] = &[
    gauge("tidegate_connections", &[], "Sessions open now"),
    counter("tidegate_connections_opened", &[], "Sessions opened"),
    gauge("tidegate_sockets", &[], "Sockets now, whatever their state"),
    gauge(
        "tidegate_handshakes_waiting",
        &[],
        "Sockets whose handshake is not complete",
    ),
    gauge(
        "tidegate_draining",
        &[],
        "1 while all sessions are being sent away, and no other is let in",
    ),
    gauge(
        "tidegate_sessions_leaving",
        &[],
        "Sessions that have a slot and have not gone yet",
    ),
    counter(
        "tidegate_slots_told",
        &[],
        "Sessions told when to come back, by a drain or a rebalance",
    ),
    counter("tidegate_sockets_accepted", &[], "Sockets accepted"),
    counter(
        "tidegate_sockets_refused",
        &["reason"],
        "Sockets refused right after they were accepted",
    ),
    counter(
        "tidegate_handshakes_failed",
        &["reason"],
        "Connections that ended before they became a session",
    ),
    gauge(
        "tidegate_rooms",
        &[],
        "Rooms with a subscriber or lingering, summed over shards",
    ),
    gauge("tidegate_subscriptions", &[], "Subscriptions now"),
    counter("tidegate_commands", &[], "Commands received over WebSocket"),
    counter(
        "tidegate_publications",
        &[],
        "Publications fanned out, summed over shards",
    ),
    counter(
        "tidegate_deliveries",
        &[],
        "Publications put into outboxes, one per subscriber",
    ),
    counter(
        "tidegate_replayed_publications",
        &[],
        "Publications replayed on a join",
    ),
    counter(
        "tidegate_state_sent_keys",
        &[],
        "Keys of rooms' states given to those who joined with it",
    ),
    counter("tidegate_gaps", &[], "Gaps told to subscribers"),
    gauge(
        "tidegate_hot_rooms",
        &[],
        "Rooms that ask for more than their namespace's share of a shard's time, summed over shards",
    ),
    counter(
        "tidegate_hot_rooms_found",
        &[],
        "Times a room became hot on a shard",
    ),
    counter(
        "tidegate_conflated_publications",
        &[],
        "Deliveries left out because a newer publication of the key was there: lane `latest`",
    ),
    counter(
        "tidegate_dropped_publications",
        &[],
        "Deliveries left out because they were too old, or too many for a reader that was behind: lane `lossy`",
    ),
    counter("tidegate_rejects", &["code"], "Commands rejected"),
    counter(
        "tidegate_closes",
        &["reason"],
        "Connections closed by the server; `other` ended by themselves or by RFC 6455's codes",
    ),
    gauge(
        "tidegate_admission_limit",
        &["class"],
        "Most of a class that may be under way now, summed over shards; 0 without a limit",
    ),
    gauge(
        "tidegate_admission_in_flight",
        &["class"],
        "Of a class under way now",
    ),
    gauge(
        "tidegate_admission_waiting",
        &["class"],
        "Of a class waiting for a place now",
    ),
    gauge(
        "tidegate_admission_latency_seconds",
        &["class"],
        "How long a class took in the last window, the slowest shard's median",
    ),
    counter(
        "tidegate_admission_waited",
        &["class"],
        "Of a class that had to wait for a place",
    ),
    counter(
        "tidegate_admission_refused",
        &["class"],
        "Of a class refused because the limit was reached",
    ),
    counter(
        "tidegate_admission_probes",
        &["class"],
        "Times the latency without a queue was measured",
    ),
    counter(
        "tidegate_rates_exceeded",
        &["scope"],
        "Commands and publishes rejected because a bucket was empty",
    ),
    gauge(
        "tidegate_buckets",
        &[],
        "Token buckets in memory: of users, addresses and rooms that took from theirs",
    ),
    counter(
        "tidegate_buckets_evicted",
        &[],
        "Full buckets that gave their place to a newcomer",
    ),
    counter(
        "tidegate_buckets_overflowed",
        &[],
        "Requests that found no place for a bucket of their own and took from the shared one",
    ),
    gauge(
        "tidegate_shedding",
        &["class"],
        "Shards that refuse a class now for want of memory",
    ),
    counter(
        "tidegate_shed",
        &["class"],
        "Refused for want of memory; `lossy`: deliveries left out",
    ),
    gauge(
        "tidegate_memory_max_bytes",
        &[],
        "Resident memory at which all that can be shed is shed",
    ),
    gauge("tidegate_outbox_bytes", &[], "Bytes waiting in all outboxes"),
    counter("tidegate_read_bytes", &[], "Bytes read from sockets"),
    counter("tidegate_written_bytes", &[], "Bytes written to sockets"),
    counter("tidegate_writes", &[], "System calls that wrote to sockets"),
    counter(
        "tidegate_writes_blocked",
        &[],
        "Writes the kernel did not take whole",
    ),
    counter("tidegate_turns", &[], "Turns of all shards"),
    gauge(
        "tidegate_turn_seconds",
        &["quantile"],
        "Time of a turn without its sleep, since the start",
    ),
    counter(
        "tidegate_engine_publications",
        &[],
        "Publications ordered by the engine",
    ),
    counter(
        "tidegate_engine_duplicates",
        &[],
        "Publishes answered as duplicates",
    ),
    counter("tidegate_engine_failures", &[], "Times the store failed"),
    counter("tidegate_engine_groups", &[], "Groups of requests handled"),
    gauge(
        "tidegate_engine_requests_waiting",
        &[],
        "Requests waiting for the engine",
    ),
    gauge("tidegate_engine_rooms", &[], "Rooms in the engine's memory"),
    gauge("tidegate_engine_members", &[], "Members listed in all rooms"),
    gauge(
        "tidegate_engine_memory_bytes",
        &[],
        "Bytes of recent publications and message ids in the engine's memory",
    ),
    gauge(
        "tidegate_engine_state_keys",
        &[],
        "Keys of the states of rooms in the engine's memory",
    ),
    gauge(
        "tidegate_engine_state_bytes",
        &[],
        "Bytes of the publications of those keys",
    ),
    counter(
        "tidegate_engine_state_evicted_keys",
        &[],
        "Keys that left a state because of `keys_max` or `state.bytes`",
    ),
    counter(
        "tidegate_engine_state_expired_keys",
        &[],
        "Keys that left a state because of `state.age`",
    ),
    gauge(
        "tidegate_engine_group_publications",
        &["quantile"],
        "Publications committed together, since the start",
    ),
    gauge(
        "tidegate_engine_append_seconds",
        &["quantile"],
        "Time to append a group, since the start",
    ),
    gauge(
        "tidegate_engine_sync_seconds",
        &["quantile"],
        "Time of fdatasync, since the start",
    ),
    gauge(
        "tidegate_engine_ready",
        &[],
        "1 while the engine can store, 0 while publishes are rejected",
    ),
    counter(
        "tidegate_http_requests",
        &["method", "route", "status"],
        "HTTP requests by route and class of status",
    ),
    gauge("tidegate_process_uptime_seconds", &[], "Time since the start"),
    gauge(
        "tidegate_process_resident_bytes",
        &[],
        "Resident memory of the process",
    ),
    gauge("tidegate_process_descriptors", &[], "Open file descriptors"),
    counter(
        "tidegate_process_cpu_seconds",
        &[],
        "CPU time of the process, user and system",
    ),
];

/// HTTP requests answered, one cell for each method, route and class of status.
#[derive(Debug)]
pub(super) struct RequestCounts(Vec<AtomicU64>);

const METHODS: [&str; 4] = ["GET", "HEAD", "POST", "other"];
const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The templates of every route; the last is what anything else is counted as.
fn templates() -> impl ExactSizeIterator<Item = &'static str> {
    const OTHERS: [&str; 4] = [TARGET, "/", "/{*path}", "other"];
    (0..ROUTES.len() + OTHERS.len()).map(|n| match ROUTES.get(n) {
        Some((_, path)) => path,
        None => OTHERS[n - ROUTES.len()],
    })
}

impl Default for RequestCounts {
    fn default() -> Self {
        let cells = METHODS.len() * templates().len() * STATUS_CLASSES.len();
        Self((0..cells).map(|_| AtomicU64::new(0)).collect())
    }
}

impl RequestCounts {
    /// Counts an answer to a request for a route, given as its template.
    pub(super) fn count(&self, method: &str, route: &str, status: u16) {
        let method = METHODS.iter().position(|name| *name == method);
        let method = method.unwrap_or(METHODS.len() - 1);
        let route = templates().position(|template| template == route);
        let route = route.unwrap_or(templates().len() - 1);
        let class = (status / 100).clamp(1, 5) as usize - 1;
        let cell = (method * templates().len() + route) * STATUS_CLASSES.len() + class;
        self.0[cell].fetch_add(1, Ordering::Relaxed);
    }

    /// The series that are not zero.
    fn series(&self) -> Labelled {
        let mut cells = self.0.iter();
        let mut series = Vec::new();
        for method in METHODS {
            for route in templates() {
                for (class, cell) in STATUS_CLASSES.into_iter().zip(&mut cells) {
                    let count = cell.load(Ordering::Relaxed);
                    if count > 0 {
                        series.push((vec![method, route, class], count as f64));
                    }
                }
            }
        }
        series
    }
}

/// What a scrape looks at.
pub(super) struct Sources<'a> {
    pub(super) shards: Vec<ShardCounters>,
    pub(super) accepted: &'a AcceptCounters,
    pub(super) engine: EngineMetrics,
    pub(super) is_ready: bool,
    pub(super) is_draining: bool,
    pub(super) requests: &'a RequestCounts,
    pub(super) started: Instant,
    pub(super) calls: LimitCounters,
    pub(super) memory: &'a Memory,
}

/// One metric's series: a label's value and a number.
type Series = Vec<(&'static str, f64)>;
/// The same with the values of several labels.
type Labelled = Vec<(Vec<&'static str>, f64)>;

#[derive(Debug)]
struct Filled(Vec<Labelled>);

impl Collector for Filled {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        for (metric, series) in METRICS.iter().zip(&self.0) {
            let mut of_metric = encoder.encode_descriptor(metric.name, metric.help, None, metric.kind)?;
            for (values, number) in series {
                let labels: Vec<_> = metric
                    .labels
                    .iter()
                    .copied()
                    .zip(values.iter().copied())
                    .collect();
                match labels.is_empty() {
                    false => write(of_metric.encode_family(&labels)?, metric.kind, *number)?,
                    true => write_one(&mut of_metric, metric.kind, *number)?,
                }
            }
        }
        Ok(())
    }
}

fn write(mut encoder: MetricEncoder<'_>, kind: MetricType, number: f64) -> Result<(), fmt::Error> {
    write_one(&mut encoder, kind, number)
}

fn write_one(encoder: &mut MetricEncoder<'_>, kind: MetricType, number: f64) -> Result<(), fmt::Error> {
    match kind {
        MetricType::Counter => encoder.encode_counter::<NoLabelSet, _, u64>(&number, None),
        _ => encoder.encode_gauge(&number),
    }
}

/// Renders a scrape in the OpenMetrics text format.
pub(super) fn render(sources: &Sources<'_>) -> String {
    let filled = METRICS.iter().map(|metric| match metric.name {
        "tidegate_http_requests" => sources.requests.series(),
        name => {
            let series = fill(name, sources).into_iter();
            series.map(|(value, number)| (vec![value], number)).collect()
        }
    });
    let filled = filled.collect();
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Filled(filled)));
    let mut text = String::new();
    encode(&mut text, &registry).expect("a String takes everything");
    text
}

fn fill(name: &str, sources: &Sources<'_>) -> Series {
    let one = |value: u64| vec![("", value as f64)];
    let core =
        |read: fn(&tidegate_core::Counters) -> u64| one(sources.shards.iter().map(|s| read(&s.core)).sum());
    let edge =
        |read: fn(&crate::edge::EdgeCounters) -> u64| one(sources.shards.iter().map(|s| read(&s.edge)).sum());
    let engine = &sources.engine;
    match name {
        "tidegate_connections" => core(|c| c.connections),
        "tidegate_connections_opened" => core(|c| c.connections_total),
        "tidegate_sockets" => edge(|c| c.sockets),
        "tidegate_handshakes_waiting" => edge(|c| c.half_open),
        "tidegate_draining" => one(sources.is_draining.into()),
        "tidegate_sessions_leaving" => core(|c| c.leaving),
        "tidegate_slots_told" => core(|c| c.slots_told_total),
        "tidegate_sockets_accepted" => one(sources.accepted.accepted_total.load(Ordering::Relaxed)),
        "tidegate_sockets_refused" => {
            let counts = &sources.accepted.refused_total;
            let read = |r: &Refusal| (r.name(), counts[*r as usize].load(Ordering::Relaxed) as f64);
            Refusal::ALL.iter().map(read).collect()
        }
        "tidegate_handshakes_failed" => {
            let sum = |f: &HandshakeFailure| {
                sources
                    .shards
                    .iter()
                    .map(|s| s.edge.handshakes_failed_total[*f as usize])
                    .sum::<u64>()
            };
            HandshakeFailure::ALL
                .iter()
                .map(|f| (f.name(), sum(f) as f64))
                .collect()
        }
        "tidegate_rooms" => core(|c| c.rooms),
        "tidegate_subscriptions" => core(|c| c.subscriptions),
        "tidegate_commands" => core(|c| c.commands_total),
        "tidegate_publications" => core(|c| c.publications_total),
        "tidegate_deliveries" => core(|c| c.deliveries_total),
        "tidegate_replayed_publications" => core(|c| c.replayed_total),
        "tidegate_state_sent_keys" => core(|c| c.state_sent_total),
        "tidegate_gaps" => core(|c| c.gaps_total),
        "tidegate_hot_rooms" => core(|c| c.hot_rooms),
        "tidegate_hot_rooms_found" => core(|c| c.hot_rooms_total),
        "tidegate_conflated_publications" => core(|c| c.conflated_total),
        "tidegate_dropped_publications" => core(|c| c.dropped_total),
        "tidegate_rejects" => {
            let sum = |n: usize| {
                sources
                    .shards
                    .iter()
                    .map(|s| s.core.rejects_total[n])
                    .sum::<u64>()
            };
            RejectCode::ALL
                .iter()
                .enumerate()
                .map(|(n, code)| (code.name(), sum(n) as f64))
                .collect()
        }
        "tidegate_closes" => {
            let sum = |n: usize| sources.shards.iter().map(|s| s.core.closes_total[n]).sum::<u64>();
            let mut closes: Series = CloseReason::ALL
                .iter()
                .enumerate()
                .map(|(n, reason)| (reason.name(), sum(n) as f64))
                .collect();
            closes.push((
                "other",
                sources
                    .shards
                    .iter()
                    .map(|s| s.core.closes_other_total)
                    .sum::<u64>() as f64,
            ));
            closes
        }
        "tidegate_admission_limit" => classes(sources, Sum::Total, |limit| limit.limit as f64),
        "tidegate_admission_in_flight" => classes(sources, Sum::Total, |limit| limit.in_flight as f64),
        "tidegate_admission_waiting" => classes(sources, Sum::Total, |limit| limit.waiting as f64),
        "tidegate_admission_latency_seconds" => {
            classes(sources, Sum::Greatest, |limit| limit.latency_ns as f64 / 1e9)
        }
        "tidegate_admission_waited" => classes(sources, Sum::Total, |limit| limit.waited_total as f64),
        "tidegate_admission_refused" => classes(sources, Sum::Total, |limit| limit.refused_total as f64),
        "tidegate_admission_probes" => classes(sources, Sum::Total, |limit| limit.probes_total as f64),
        "tidegate_rates_exceeded" => {
            let sum = |scope: Scope| {
                let shards = sources.shards.iter();
                let shards: u64 = shards.map(|s| s.gate.exceeded_total[scope as usize]).sum();
                shards + engine.exceeded_total[scope as usize]
            };
            let scopes = Scope::ALL.iter();
            scopes.map(|scope| (scope.name(), sum(*scope) as f64)).collect()
        }
        "tidegate_buckets" => buckets(sources, 0, |table| table.buckets),
        "tidegate_buckets_evicted" => buckets(sources, 1, |table| table.evicted_total),
        "tidegate_buckets_overflowed" => buckets(sources, 2, |table| table.overflowed_total),
        "tidegate_shedding" => shed(sources, |gate| gate.is_shedding),
        "tidegate_shed" => shed(sources, |gate| gate.shed_total),
        "tidegate_memory_max_bytes" => one(sources.memory.bytes_max()),
        "tidegate_outbox_bytes" => core(|c| c.outbox_bytes),
        "tidegate_read_bytes" => edge(|c| c.read_bytes_total),
        "tidegate_written_bytes" => edge(|c| c.written_bytes_total),
        "tidegate_writes" => edge(|c| c.writes_total),
        "tidegate_writes_blocked" => edge(|c| c.writes_blocked_total),
        "tidegate_turns" => edge(|c| c.turns_total),
        "tidegate_turn_seconds" => {
            // Merged, never averaged.
            let mut all = crate::edge::EdgeCounters::default().turn_us;
            for shard in &sources.shards {
                let _ = all.add(&shard.edge.turn_us);
            }
            [("0.5", 0.5), ("0.95", 0.95), ("0.99", 0.99), ("1", 1.0)]
                .map(|(label, q)| (label, all.value_at_quantile(q) as f64 / 1e6))
                .to_vec()
        }
        "tidegate_engine_publications" => one(engine.publications_total),
        "tidegate_engine_duplicates" => one(engine.duplicates_total),
        "tidegate_engine_failures" => one(engine.failures_total),
        "tidegate_engine_groups" => one(engine.groups_total),
        "tidegate_engine_requests_waiting" => one(engine.requests_waiting),
        "tidegate_engine_rooms" => one(engine.rooms),
        "tidegate_engine_members" => one(engine.members),
        "tidegate_engine_memory_bytes" => one(engine.memory_bytes),
        "tidegate_engine_state_keys" => one(engine.state_keys),
        "tidegate_engine_state_bytes" => one(engine.state_bytes),
        "tidegate_engine_state_evicted_keys" => one(engine.state_evicted_total),
        "tidegate_engine_state_expired_keys" => one(engine.state_expired_total),
        "tidegate_engine_group_publications" => quantiles(&engine.group_size),
        "tidegate_engine_append_seconds" => quantiles(&engine.append_seconds),
        "tidegate_engine_sync_seconds" => quantiles(&engine.sync_seconds),
        "tidegate_engine_ready" => one(sources.is_ready.into()),
        "tidegate_process_uptime_seconds" => vec![("", sources.started.elapsed().as_secs_f64())],
        "tidegate_process_resident_bytes" => one(resident_bytes().unwrap_or(0)),
        "tidegate_process_descriptors" => {
            one(std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count) as u64)
        }
        "tidegate_process_cpu_seconds" => vec![("", cpu_seconds())],
        _ => unreachable!("a test fills every declared metric"),
    }
}

/// How the shards' numbers become one.
#[derive(Clone, Copy)]
enum Sum {
    Total,
    Greatest,
}

fn classes(sources: &Sources<'_>, sum: Sum, read: fn(&LimitCounters) -> f64) -> Series {
    let of_shards = |limit: fn(&ShardCounters) -> &LimitCounters| {
        let numbers = sources.shards.iter().map(|shard| read(limit(shard)));
        match sum {
            Sum::Total => numbers.sum(),
            Sum::Greatest => numbers.fold(0.0, f64::max),
        }
    };
    vec![
        ("publish", of_shards(|shard| &shard.gate.limits[0])),
        ("replay", of_shards(|shard| &shard.gate.limits[1])),
        ("handshake", of_shards(|shard| &shard.edge.handshakes)),
        ("call", read(&sources.calls)),
    ]
}

/// Those of shards, and the acceptor's, of which `column` tells.
fn buckets(sources: &Sources<'_>, column: usize, read: fn(&Table) -> u64) -> Series {
    let shards: u64 = sources.shards.iter().map(|shard| read(&shard.gate.buckets)).sum();
    let acceptor = sources.accepted.buckets[column].load(Ordering::Relaxed);
    vec![("", (shards + acceptor) as f64)]
}

fn shed(sources: &Sources<'_>, read: fn(&GateCounters) -> [u64; Class::SHEDDABLE.len()]) -> Series {
    let sum = |class: Class| -> u64 {
        let shards = sources.shards.iter();
        shards.map(|shard| read(&shard.gate)[class as usize]).sum()
    };
    let series = Class::SHEDDABLE.iter();
    series.map(|class| (class.name(), sum(*class) as f64)).collect()
}

fn quantiles(of: &Quantiles) -> Series {
    vec![("0.5", of.p50), ("0.95", of.p95), ("0.99", of.p99), ("1", of.max)]
}

/// `VmRSS` of /proc/self/status.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn cpu_seconds() -> f64 {
    // Fields 14 and 15 of proc_pid_stat(5), in ticks; the name before them may hold spaces.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrape() -> String {
        let requests = RequestCounts::default();
        requests.count("GET", "/metrics", 200);
        render(&Sources {
            shards: vec![ShardCounters {
                core: Default::default(),
                gate: Default::default(),
                edge: Default::default(),
            }],
            accepted: &AcceptCounters::default(),
            engine: EngineMetrics::default(),
            is_ready: true,
            is_draining: false,
            requests: &requests,
            started: Instant::now(),
            calls: LimitCounters::default(),
            memory: &Memory::default(),
        })
    }

    #[test]
    fn every_declared_metric_is_filled_and_named_as_it_should_be() {
        let text = scrape();
        for metric in METRICS {
            assert!(metric.name.starts_with("tidegate_"), "{}", metric.name);
            let sample = match (metric.kind, metric.labels) {
                (MetricType::Counter, []) => format!("\n{}_total ", metric.name),
                (MetricType::Counter, [label, ..]) => format!("\n{}_total{{{label}=", metric.name),
                (_, []) => format!("\n{} ", metric.name),
                (_, [label, ..]) => format!("\n{}{{{label}=", metric.name),
            };
            assert!(text.contains(&sample), "{sample:?} in {text}");
        }
    }

    #[test]
    fn what_a_stranger_asks_for_adds_no_series() {
        let counts = RequestCounts::default();
        for n in 0..100 {
            counts.count(&format!("METHOD{n}"), &format!("/path/{n}"), 404);
        }
        assert_eq!(counts.series(), [(vec!["other", "other", "4xx"], 100.0)]);
    }

    #[test]
    fn the_book_lists_exactly_the_declared_metrics() {
        let book = include_str!("../../../../docs/metrics.md");
        for metric in METRICS {
            let total = if matches!(metric.kind, MetricType::Counter) {
                "_total"
            } else {
                ""
            };
            let label = metric.labels.join(", ");
            let row = format!("| `{}{total}` | {label} | {} |", metric.name, metric.help);
            assert!(book.contains(&row), "docs/metrics.md lacks the row\n{row}");
        }
        let rows = book
            .lines()
            .filter(|line| line.starts_with("| `tidegate_"))
            .count();
        assert_eq!(rows, METRICS.len(), "docs/metrics.md has rows that are no metric");
    }
}

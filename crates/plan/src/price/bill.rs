//! What a design costs a month, line by line: each is quantity × rate = amount.
//!
//! Machines are billed for the time they were there, so one that was scaled out costs from its boot on. What a
//! run used (bytes, jobs, messages) is taken for a month of the same: × 730 h / hours of the run.
//! Quantities that no plan states, such as the size of a disk, are assumed here, and told so in their line.

use serde::Serialize;

use super::{Book, Entry, Provenance, Sells, Unit};
use crate::{
    component,
    network::Network,
    outcome::Outcome,
    plan::{Kind, Node, Plan},
};

/// Hours of a month, as vendors count.
pub const MONTH_HOURS: f64 = 730.0;

/// Disk of one machine, GB: a database's, a stream's, and of all that only boot from it. Assumed.
const DATABASE_GB: f64 = 50.0;
const STREAM_GB: f64 = 20.0;
const BOOT_GB: f64 = 12.0;
/// Requests of one job: sent, received, deleted, in batches of ten (what SQS takes at most). Batching is assumed.
const REQUESTS_PER_JOB: f64 = 3.0 / 10.0;
/// What one unit of an AWS load balancer holds: new connections a second, active ones, GB an hour (AWS, Elastic Load
/// Balancing pricing).
const UNIT_NEW: f64 = 25.0;
const UNIT_ACTIVE: f64 = 3_000.0;
const UNIT_GB_HOUR: f64 = 1.0;
const GB: f64 = 1e9;

/// What a month costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bill {
    pub currency: String,
    /// The book, and of when it is.
    pub book: String,
    pub as_of: String,
    pub lines: Vec<Line>,
    /// Their sum.
    pub total: f64,
}

/// One line: `quantity` × `rate` = `amount`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// None of what belongs to the whole.
    pub node: Option<String>,
    pub what: String,
    pub quantity: f64,
    pub unit: Unit,
    pub rate: f64,
    pub amount: f64,
    /// Of the rate.
    pub provenance: Provenance,
    pub source: String,
}

/// A node whose size the book does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NoPrice {
    pub node: String,
    pub size: String,
    pub book: String,
}

impl std::fmt::Display for NoPrice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { node, size, book } = self;
        write!(
            f,
            "node `{node}`: the price book `{book}` has no price of `{size}`"
        )
    }
}

impl std::error::Error for NoPrice {}

/// What a plan costs a month, by what its runs used.
///
/// # Errors
/// Each node without a price.
pub fn bill(plan: &Plan, network: &Network, book: &Book, outcome: &Outcome) -> Result<Bill, Vec<NoPrice>> {
    let seconds = (outcome.length * f64::from(outcome.runs)).max(f64::MIN_POSITIVE);
    let mut draft = Draft {
        book,
        lines: Vec::new(),
        missing: Vec::new(),
        a_month: MONTH_HOURS * 3_600.0 / seconds,
        included_gb: 0.0,
    };
    for (place, node) in plan.topology.nodes.iter().enumerate() {
        draft.node(node, machines(network, outcome, place, node, seconds), outcome);
    }
    draft.traffic(outcome);
    if !draft.missing.is_empty() {
        return Err(draft.missing);
    }
    Ok(Bill {
        currency: book.currency.clone(),
        book: book.name.clone(),
        as_of: book.as_of.clone(),
        total: draft.lines.iter().map(|line| line.amount).sum(),
        lines: draft.lines,
    })
}

/// Machines of a node that were there, on average. All its stations are on the same ones.
fn machines(network: &Network, outcome: &Outcome, place: usize, node: &Node, seconds: f64) -> f64 {
    if is_managed(node) {
        return f64::from(node.count);
    }
    let there = network
        .stations
        .iter()
        .zip(&outcome.stations)
        .filter(|(station, _)| station.node as usize == place)
        .map(|(_, station)| station.machine_seconds / seconds)
        .fold(0.0, f64::max);
    // What no event visits costs nevertheless, with who stands by for it.
    let standby = u32::from(node.options.standby == Some(true));
    match there > 0.0 {
        true => there,
        false => f64::from(node.count.max(1 + standby)),
    }
}

/// Its own, or that of its kind.
fn size_of(node: &Node) -> &str {
    match node.size.as_str() {
        "" => component::default_of(node.kind),
        size => size,
    }
}

fn is_managed(node: &Node) -> bool {
    component::size(&node.size, node.kind).is_some_and(|size| size.managed)
}

struct Draft<'a> {
    book: &'a Book,
    lines: Vec<Line>,
    missing: Vec<NoPrice>,
    /// What a run used, times this, is what a month uses.
    a_month: f64,
    included_gb: f64,
}

impl Draft<'_> {
    fn node(&mut self, node: &Node, machines: f64, outcome: &Outcome) {
        // A limiter in the process of another costs what that does.
        let size = size_of(node);
        if size == "in-process" {
            return;
        }
        let Some(entry) = self.book.entry(size) else {
            self.missing.push(NoPrice {
                node: node.id.clone(),
                size: size.to_owned(),
                book: self.book.name.clone(),
            });
            return;
        };
        self.included_gb += entry.included_gb * machines;
        match entry.unit {
            Unit::Hour => {
                let machines = self.shards(node, entry, machines);
                let what = format!("{} × {}", short(machines), size);
                self.line(Some(node), &what, machines * MONTH_HOURS, entry);
            }
            Unit::Month => {
                let what = format!("{} × {}", short(machines), size);
                self.line(Some(node), &what, machines, entry);
            }
            Unit::MillionRequests if entry.kind == Sells::Queue => {
                let requests = outcome.usage.queue_jobs * REQUESTS_PER_JOB * self.a_month;
                self.line(
                    Some(node),
                    "requests, three a job in batches of ten",
                    requests / 1e6,
                    entry,
                );
            }
            Unit::MillionRequests => {
                let messages = outcome.usage.messages * self.a_month;
                self.line(
                    Some(node),
                    "messages, published and delivered",
                    messages / 1e6,
                    entry,
                );
            }
            Unit::MillionMinutes | Unit::Gb | Unit::GbMonth | Unit::LcuHour => {}
        }
        self.beside(node, machines, outcome);
    }

    /// Partitions are what is paid for where a stream is sold by its shards.
    fn shards(&self, node: &Node, entry: &Entry, machines: f64) -> f64 {
        match (entry.kind, node.options.partitions) {
            (Sells::Stream, Some(partitions)) => machines.max(f64::from(partitions)),
            _ => machines,
        }
    }

    /// What a node needs beside its machines: disks, units of a load balancer, minutes of connections.
    fn beside(&mut self, node: &Node, machines: f64, outcome: &Outcome) {
        match node.kind {
            Kind::Postgres | Kind::Replica => {
                if let Some(disk) = self.book.of(Sells::PostgresDisk) {
                    self.line(
                        Some(node),
                        "disks of 50 GB (assumed)",
                        machines * DATABASE_GB,
                        disk,
                    );
                }
            }
            Kind::Lb => {
                if let Some(unit) = self.book.of(Sells::LbUnit) {
                    let units = lb_units(outcome);
                    self.line(Some(node), "load balancer units", units * MONTH_HOURS, unit);
                }
            }
            Kind::Hosted => {
                if let Some(minutes) = self.book.entry(&format!("{}-minutes", size_of(node))) {
                    let used = outcome.usage.connection_seconds / 60.0 * self.a_month;
                    self.line(Some(node), "minutes of connections", used / 1e6, minutes);
                }
                if let Some(base) = self.book.entry(&format!("{}-base", size_of(node))) {
                    self.line(Some(node), "base", 1.0, base);
                }
            }
            // A cache's memory is in its price.
            Kind::Redis => {}
            Kind::Ws | Kind::Server | Kind::Stream | Kind::Queue | Kind::Worker | Kind::Limiter => {
                if let Some(disk) = self.book.of(Sells::Disk).filter(|_| !is_managed(node)) {
                    let (what, gb) = match node.kind {
                        Kind::Stream => ("disks of 20 GB (assumed)", STREAM_GB),
                        _ => ("disks of 12 GB (assumed)", BOOT_GB),
                    };
                    self.line(Some(node), what, machines * gb, disk);
                }
            }
        }
    }

    fn traffic(&mut self, outcome: &Outcome) {
        if let Some(egress) = self.book.of(Sells::Egress) {
            let gb = outcome.usage.egress_bytes / GB * self.a_month;
            let (what, gb) = match self.included_gb > 0.0 {
                true => (
                    format!("egress beyond {} GB that are included", short(self.included_gb)),
                    (gb - self.included_gb).max(0.0),
                ),
                false => ("egress".to_owned(), gb),
            };
            self.line(None, &what, gb, egress);
        }
        if let Some(interzone) = self.book.of(Sells::Interzone) {
            let gb = outcome.usage.interzone_bytes / GB * self.a_month;
            self.line(None, "between zones, both ways", gb, interzone);
        }
    }

    fn line(&mut self, node: Option<&Node>, what: &str, quantity: f64, entry: &Entry) {
        if quantity <= 0.0 {
            return;
        }
        self.lines.push(Line {
            node: node.map(|node| node.id.clone()),
            what: what.to_owned(),
            quantity,
            unit: entry.unit,
            rate: entry.rate,
            amount: quantity * entry.rate,
            provenance: entry.provenance,
            source: entry.source.clone(),
        });
    }
}

/// Units of a load balancer, on average: each minute the largest of its dimensions.
fn lb_units(outcome: &Outcome) -> f64 {
    let seconds = (outcome.length * f64::from(outcome.runs)).max(f64::MIN_POSITIVE);
    // How many are new, and how much is sent, is known of the whole run only.
    let new = outcome.usage.connections_new / seconds / UNIT_NEW;
    let sent = outcome.usage.egress_bytes / GB / (seconds / 3_600.0) / UNIT_GB_HOUR;
    let at_least = new.max(sent);
    if outcome.minutes.is_empty() {
        return at_least.max(outcome.connected_mean / UNIT_ACTIVE);
    }
    let units: f64 = outcome
        .minutes
        .iter()
        .map(|minute| at_least.max(minute.connected / UNIT_ACTIVE))
        .sum();
    units / outcome.minutes.len() as f64
}

/// A count without what does not matter of it.
fn short(count: f64) -> String {
    match (count - count.round()).abs() < 0.005 {
        true => format!("{count:.0}"),
        false => format!("{count:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{compile::compile, engine::fluid, file};

    /// The full stack of the reference scenario, each tier twice.
    const FULL: &str = r#"
title = "full"
prices = "aws-us-east-1"
[contract]
uptime = "99.9%"
budget = 860
[contract.latency]
all = "p95 < 120ms"
[scenario]
length = "60h"
users = { points = [["0h", 900], ["60h", 900]] }
session = { law = "exponential", mean = "40min" }
[class.match]
rate = "0.5/s"
bytes = "200B"
room = { law = "fixed", size = 10 }
[class.chat]
rate = "0.02/s"
bytes = "200B"
durable = true
room = { law = "fixed", size = 10 }
[topology]
ways = [
  "clients -> lb -> ws -> server -> queue -> worker -> postgres",
  "ws -> stream",
  "server -> replica",
  "server -> redis",
]
[node.lb]
kind = "lb"
[node.ws]
kind = "ws"
count = 2
size = "c7g.medium"
tokens = true
[node.server]
kind = "server"
count = 2
size = "t4g.small"
[node.queue]
kind = "queue"
size = "sqs"
[node.worker]
kind = "worker"
count = 2
size = "t4g.small"
[node.stream]
kind = "stream"
count = 3
size = "t4g.small"
[node.postgres]
kind = "postgres"
size = "db.t4g.medium"
standby = true
[node.replica]
kind = "replica"
size = "db.t4g.medium"
[node.redis]
kind = "redis"
count = 2
size = "cache.t4g.micro"
"#;

    fn run(text: &str) -> (Plan, Network, Outcome) {
        let plan = file::parse(text).unwrap_or_else(|errors| panic!("{errors:#?}"));
        let network = compile(&plan).unwrap_or_else(|error| panic!("{error:?}"));
        let outcome = fluid::run(&network);
        (plan, network, outcome)
    }

    fn amount(bill: &Bill, node: Option<&str>, what: &str) -> f64 {
        bill.lines
            .iter()
            .filter(|line| line.node.as_deref() == node && line.what.contains(what))
            .map(|line| line.amount)
            .sum()
    }

    #[test]
    fn the_full_stack_of_the_reference_costs_what_its_lines_say() {
        let (plan, network, mut outcome) = run(FULL);
        let book = Book::by_name("aws-us-east-1").unwrap();
        // 2.37 TB a month, and 0.5 TB between zones.
        let run_of_month = 60.0 / MONTH_HOURS;
        outcome.usage.egress_bytes = 2.37e12 * run_of_month;
        outcome.usage.interzone_bytes = 0.5e12 * run_of_month;
        let bill = bill(&plan, &network, &book, &outcome).unwrap();
        let near = |node: Option<&str>, what: &str, expected: f64| {
            let amount = amount(&bill, node, what);
            assert!(
                (amount - expected).abs() < 0.01 * expected,
                "{node:?} {what}: {amount}\n{:#?}",
                bill.lines
            );
        };
        near(Some("lb"), "1 × alb", 16.43);
        near(Some("lb"), "units", 18.95);
        near(Some("ws"), "c7g.medium", 53.0);
        near(Some("server"), "t4g.small", 24.53);
        near(Some("postgres"), "db.t4g.medium", 94.9);
        near(Some("postgres"), "disks", 11.5);
        near(Some("replica"), "", 53.2);
        near(Some("redis"), "", 23.36);
        near(Some("stream"), "", 36.79 + 4.8);
        near(Some("queue"), "", 5.67);
        near(None, "egress", 213.3);
        near(None, "between zones", 10.0);
        assert!(
            (bill.total - 596.0).abs() < 0.02 * 596.0,
            "{} {:#?}",
            bill.total,
            bill.lines
        );
        let sum: f64 = bill.lines.iter().map(|line| line.quantity * line.rate).sum();
        assert!((sum - bill.total).abs() < 1e-9);
    }

    #[test]
    fn a_node_without_a_price_is_named() {
        let (plan, network, outcome) = run(&FULL.replace("db.t4g.medium", "db.r6g.large"));
        let book = Book::by_name("aws-us-east-1").unwrap();
        let missing = bill(&plan, &network, &book, &outcome).unwrap_err();
        assert_eq!(missing.len(), 2);
        assert_eq!(
            missing[0].to_string(),
            "node `postgres`: the price book `aws-us-east-1` has no price of `db.r6g.large`"
        );
    }

    #[test]
    fn a_database_that_nobody_asks_costs_as_much_as_one_that_works() {
        let book = Book::by_name("aws-us-east-1").unwrap();
        let price = |text: &str| {
            let (plan, network, outcome) = run(text);
            amount(
                &bill(&plan, &network, &book, &outcome).unwrap(),
                Some("postgres"),
                "",
            )
        };
        let idle = FULL.replace("durable = true", "durable = false");
        assert_ne!(idle, FULL);
        let (plan, network, _) = run(&idle);
        let place = plan.topology.nodes.iter().position(|node| node.id == "postgres");
        assert!(
            network
                .stations
                .iter()
                .all(|station| Some(station.node as usize) != place)
        );
        assert!(
            (price(&idle) - price(FULL)).abs() < 1e-6,
            "{} {}",
            price(&idle),
            price(FULL)
        );
        assert!(price(&idle.replace("standby = true\n", "")) < 0.6 * price(FULL));
    }

    #[test]
    fn what_is_included_is_not_paid_twice() {
        let text = FULL
            .replace("aws-us-east-1", "hetzner-eu")
            .replace("kind = \"lb\"", "kind = \"lb\"\nsize = \"hetzner-lb\"")
            .replace("c7g.medium", "CCX13")
            .replace("t4g.small", "CX23")
            .replace("db.t4g.medium", "CCX13")
            .replace("cache.t4g.micro", "CX23")
            .replace("size = \"sqs\"", "size = \"CX23\"");
        let (plan, network, outcome) = run(&text);
        let book = Book::by_name("hetzner-eu").unwrap();
        let bill = bill(&plan, &network, &book, &outcome).unwrap();
        assert_eq!(amount(&bill, None, "egress"), 0.0);
        assert_eq!(amount(&bill, Some("ws"), "CCX13"), 2.0 * 12.49);
    }

    proptest! {
        #[test]
        fn more_of_anything_never_costs_less(
            egress in 0.0..1e13, jobs in 0.0..1e9, new in 0.0..1e7, connected in 0.0..1e5, more in 1.0..3.0,
        ) {
            let (plan, network, mut outcome) = run(FULL);
            let book = Book::by_name("aws-us-east-1").unwrap();
            outcome.usage.egress_bytes = egress;
            outcome.usage.queue_jobs = jobs;
            outcome.usage.connections_new = new;
            for minute in &mut outcome.minutes {
                minute.connected = connected;
            }
            let less = bill(&plan, &network, &book, &outcome).unwrap().total;
            for what in 0..5 {
                let mut outcome = outcome.clone();
                match what {
                    0 => outcome.usage.egress_bytes *= more,
                    1 => outcome.usage.queue_jobs *= more,
                    2 => outcome.usage.connections_new *= more,
                    3 => outcome.minutes.iter_mut().for_each(|minute| minute.connected *= more),
                    _ => outcome.stations.iter_mut().for_each(|station| station.machine_seconds *= more),
                }
                let total = bill(&plan, &network, &book, &outcome).unwrap().total;
                prop_assert!(total >= less, "{what}: {total} {less}");
            }
        }
    }
}

//! What came of a workload: the accounts, percentiles, the server's CPU and memory. As a table, or as
//! one JSON object.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::{
    accounts::{self, Account},
    plan::Plan,
    process::{Cpu, Memory},
    tally::{Answers, Received, Tally, histogram, sum_of},
};

/// Latencies and counts of one class of rooms.
pub(crate) struct Class {
    pub(crate) name: &'static str,
    /// Microseconds, from the intended send to the last byte read.
    pub(crate) latency_us: Histogram<u64>,
    /// The same by phase, where there are several.
    pub(crate) phases: Vec<(&'static str, Histogram<u64>)>,
    pub(crate) published: u64,
    pub(crate) account: Account,
    pub(crate) received: Received,
}

/// What became of the publishes of one stream.
pub(crate) struct Publishes {
    pub(crate) name: &'static str,
    pub(crate) phases: Vec<&'static str>,
    pub(crate) answers: Answers,
}

impl Class {
    /// Deliveries that were due and did not come, and of which nobody told.
    pub(crate) fn lost(&self) -> u64 {
        self.received.lost + self.account.waiting
    }

    pub(crate) fn ms(&self, quantile: f64) -> f64 {
        ms(&self.latency_us, quantile)
    }

    fn to_json(&self) -> Value {
        let received = &self.received;
        let mut all = Map::new();
        for (name, count) in [
            ("published", self.published),
            ("due", self.account.due),
            ("delivered", received.delivered),
            ("replayed", received.replayed),
            ("conflated", received.conflated),
            ("dropped", received.dropped),
            ("missed", received.missed),
            ("lost", self.lost()),
            ("waiting", self.account.waiting),
            ("doubled", received.doubled),
            ("out_of_order", received.out_of_order),
            ("snapshots", received.snapshots),
            ("members_pushes", received.members_pushes),
            ("closed", received.closed),
            ("came_back", received.came_back),
        ] {
            all.insert(name.into(), count.into());
        }
        all.extend(percentiles(&self.latency_us));
        if self.phases.len() > 1 {
            let phase =
                |(name, latency): &(&'static str, _)| ((*name).to_owned(), percentiles(latency).into());
            let phases: Map<String, Value> = self.phases.iter().map(phase).collect();
            all.insert("phases".into(), phases.into());
        }
        all.into()
    }
}

impl Publishes {
    fn to_json(&self) -> Value {
        let answers = &self.answers;
        let rejected: Map<String, Value> = answers
            .rejected
            .iter()
            .map(|(code, count)| (code.to_string(), (*count).into()))
            .collect();
        let mut all = Map::new();
        all.insert("published".into(), answers.sent.into());
        all.insert("acknowledged".into(), answers.acknowledged.into());
        all.insert("rejected".into(), answers.rejected().into());
        all.insert("rejected_by_code".into(), rejected.into());
        all.insert("unanswered".into(), answers.unanswered.into());
        all.insert("unsent".into(), answers.unsent.into());
        all.insert("acks".into(), percentiles(&sum_of(&answers.ack_us)).into());
        all.insert("rejects".into(), percentiles(&sum_of(&answers.reject_us)).into());
        let retry = &answers.retry_after_ms;
        let value = |quantile| json!(retry.value_at_quantile(quantile));
        if !retry.is_empty() {
            all.insert(
                "retry_after_ms".into(),
                json!({"p50": value(0.5), "p99": value(0.99), "max": value(1.0)}),
            );
        }
        if self.phases.len() > 1 {
            let each = self
                .phases
                .iter()
                .zip(answers.ack_us.iter().zip(&answers.reject_us));
            let phases: Map<String, Value> = each
                .map(|(name, (acks, rejects))| {
                    let both = json!({"acks": percentiles(acks), "rejects": percentiles(rejects)});
                    ((*name).to_owned(), both)
                })
                .collect();
            all.insert("phases".into(), phases.into());
        }
        all.into()
    }
}

/// See the file.
pub(crate) struct Report {
    pub(crate) workload: &'static str,
    pub(crate) elapsed: Duration,
    pub(crate) classes: Vec<Class>,
    pub(crate) publishes: Vec<Publishes>,
    pub(crate) closes: BTreeMap<u64, u64>,
    pub(crate) turned_away: u64,
    pub(crate) notices: u64,
    /// Each sum that does not add up, in words.
    pub(crate) wrong: Vec<String>,
    pub(crate) cpu: Option<Cpu>,
    pub(crate) memory: Option<Memory>,
    /// Figures of one workload only, by name.
    pub(crate) figures: Vec<(&'static str, f64)>,
}

impl Report {
    /// The accounts of a run.
    pub(crate) fn of(plan: &Plan, tally: &Tally, elapsed: Duration) -> Self {
        let classes = plan.classes.iter().zip(&tally.classes);
        let classes = classes.map(|(class, received)| Class {
            name: class.name,
            latency_us: sum_of(&received.latency_us),
            phases: plan
                .phases
                .iter()
                .copied()
                .zip(received.latency_us.iter().cloned())
                .collect(),
            published: class
                .stream
                .and_then(|stream| tally.answers.get(stream))
                .map_or(0, |answers| answers.sent),
            account: Account::of(class, received, &tally.answers),
            received: received.clone(),
        });
        let publishes = plan.streams.iter().zip(&tally.answers);
        let publishes = publishes.map(|(stream, answers)| Publishes {
            name: stream.name,
            phases: plan.phases.clone(),
            answers: answers.clone(),
        });
        Self {
            workload: plan.workload,
            elapsed,
            classes: classes.collect(),
            publishes: publishes.collect(),
            closes: tally.closes.clone(),
            turned_away: tally.turned_away,
            notices: tally.notices,
            wrong: accounts::wrong(plan, tally),
            cpu: None,
            memory: None,
            figures: Vec::new(),
        }
    }

    /// Whether all sums add up: nothing was lost, doubled or out of order.
    pub(crate) fn is_clean(&self) -> bool {
        self.wrong.is_empty()
    }

    pub(crate) fn rejected(&self) -> u64 {
        self.publishes
            .iter()
            .map(|stream| stream.answers.rejected())
            .sum()
    }

    pub(crate) fn closed(&self) -> u64 {
        self.closes.values().sum()
    }

    fn deliveries(&self) -> u64 {
        self.classes.iter().map(|class| class.received.delivered).sum()
    }

    fn cpu_us_per_delivery(&self) -> Option<f64> {
        let deliveries = self.deliveries();
        let cpu = self.cpu.filter(|_| deliveries > 0)?;
        Some(cpu.total().as_secs_f64() * 1e6 / deliveries as f64)
    }

    pub(crate) fn print(&self, as_json: bool) {
        match as_json {
            true => println!("{}", self.to_json()),
            false => self.print_table(),
        }
        for what in &self.wrong {
            eprintln!("the sums do not add up: {what}");
        }
    }

    fn to_json(&self) -> Value {
        let mut all = Map::new();
        all.insert("workload".into(), self.workload.into());
        all.insert("seconds".into(), self.elapsed.as_secs_f64().into());
        all.insert("rejected".into(), self.rejected().into());
        all.insert("closed_connections".into(), (self.closed() as f64).into());
        all.insert("turned_away".into(), self.turned_away.into());
        all.insert("notices".into(), self.notices.into());
        let closes: Map<String, Value> = self
            .closes
            .iter()
            .map(|(code, count)| (code.to_string(), (*count).into()))
            .collect();
        all.insert("closes".into(), closes.into());
        all.insert("wrong_sums".into(), json!(self.wrong));
        for class in &self.classes {
            all.insert(class.name.into(), class.to_json());
        }
        let publishes: Map<String, Value> = self
            .publishes
            .iter()
            .map(|stream| (stream.name.to_owned(), stream.to_json()))
            .collect();
        all.insert("publishes".into(), publishes.into());
        if let Some(cpu) = self.cpu {
            all.insert("cpu_user_s".into(), cpu.user.as_secs_f64().into());
            all.insert("cpu_kernel_s".into(), cpu.kernel.as_secs_f64().into());
        }
        if let Some(us) = self.cpu_us_per_delivery() {
            all.insert("cpu_us_per_delivery".into(), us.into());
        }
        if let Some(memory) = self.memory {
            all.insert("memory_before_bytes".into(), memory.before.into());
            all.insert("memory_bytes".into(), memory.after.into());
            all.insert("memory_peak_bytes".into(), memory.peak.into());
        }
        for (name, figure) in &self.figures {
            all.insert((*name).into(), (*figure).into());
        }
        Value::Object(all)
    }

    fn print_table(&self) {
        println!("{} for {:.1} s", self.workload, self.elapsed.as_secs_f64());
        self.print_accounts();
        self.print_latencies();
        if self.deliveries() > 0 {
            let per_second = self.deliveries() as f64 / self.elapsed.as_secs_f64().max(1e-9);
            println!("deliveries/s {per_second:.0}");
        }
        if let Some(cpu) = self.cpu {
            let per_delivery = self
                .cpu_us_per_delivery()
                .map(|us| format!(", {us:.2} µs per delivery"));
            println!(
                "server CPU {:.2} s ({:.2} user, {:.2} kernel){}",
                cpu.total().as_secs_f64(),
                cpu.user.as_secs_f64(),
                cpu.kernel.as_secs_f64(),
                per_delivery.unwrap_or_default()
            );
        }
        if let Some(memory) = self.memory {
            println!(
                "server memory {:.1} MiB before, {:.1} MiB at the end, {:.1} MiB at most",
                mib(memory.before),
                mib(memory.after),
                mib(memory.peak)
            );
        }
        for (name, figure) in &self.figures {
            println!("{} {figure:.3}", name.replace('_', " "));
        }
        if self.is_clean() {
            println!("all sums add up");
        }
    }

    fn print_accounts(&self) {
        for stream in &self.publishes {
            let answers = &stream.answers;
            println!(
                "{}: {} published = {} acknowledged + {} rejected{} + {} unanswered + {} unsent",
                stream.name,
                answers.sent,
                answers.acknowledged,
                answers.rejected(),
                by_code(&answers.rejected),
                answers.unanswered,
                answers.unsent
            );
        }
        for class in self.classes.iter().filter(|class| class.account.due > 0) {
            let received = &class.received;
            println!(
                "{}: {} due = {} delivered ({} replayed) + {} conflated + {} dropped + {} missed + {} lost + {} waiting",
                class.name,
                class.account.due,
                received.delivered,
                received.replayed,
                received.conflated,
                received.dropped,
                received.missed,
                received.lost,
                class.account.waiting
            );
        }
        if self.closed() > 0 || self.turned_away > 0 {
            println!(
                "{} connections closed{}, {} attempts to come in turned away",
                self.closed(),
                by_code(&self.closes),
                self.turned_away
            );
        }
    }

    fn print_latencies(&self) {
        let mut rows = Vec::new();
        for class in &self.classes {
            rows.push((class.name.to_owned(), class.latency_us.clone()));
            let phases = class.phases.iter().filter(|_| class.phases.len() > 1);
            rows.extend(phases.map(|(name, latency)| (format!("  {name}"), latency.clone())));
        }
        for stream in &self.publishes {
            for (kind, histograms) in [
                ("acks", &stream.answers.ack_us),
                ("rejects", &stream.answers.reject_us),
            ] {
                rows.push((format!("{} {kind}", stream.name), sum_of(histograms)));
                let phases = stream.phases.iter().zip(histograms);
                let phases = phases.filter(|_| stream.phases.len() > 1);
                rows.extend(phases.map(|(name, latency)| (format!("  {name}"), latency.clone())));
            }
        }
        rows.retain(|(_, latency)| !latency.is_empty());
        if !rows.is_empty() {
            println!(
                "{:<18} {:>11} {:>9} {:>9} {:>9} {:>9} {:>9}",
                "milliseconds", "count", "p50", "p95", "p99", "p99.9", "max"
            );
        }
        for (name, latency) in rows {
            println!(
                "{name:<18} {:>11} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {:>9.2}",
                latency.len(),
                ms(&latency, 0.5),
                ms(&latency, 0.95),
                ms(&latency, 0.99),
                ms(&latency, 0.999),
                ms(&latency, 1.0)
            );
        }
    }
}

/// A class whose latency is that of acknowledgements.
pub(crate) fn acks(answers: &Answers) -> Class {
    let mut received = Received::new(0);
    received.delivered = answers.acknowledged;
    Class {
        name: "acks",
        latency_us: answers.ack_us.iter().fold(histogram(), |mut sum, other| {
            sum += other;
            sum
        }),
        phases: Vec::new(),
        published: answers.sent,
        account: Account {
            due: answers.acknowledged,
            uncertain: 0,
            waiting: answers.unanswered,
        },
        received,
    }
}

pub(crate) fn ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1_000.0
}

fn percentiles(histogram: &Histogram<u64>) -> Map<String, Value> {
    let mut all = Map::new();
    all.insert("count".into(), histogram.len().into());
    for (name, quantile) in [
        ("p50_ms", 0.5),
        ("p95_ms", 0.95),
        ("p99_ms", 0.99),
        ("p999_ms", 0.999),
        ("max_ms", 1.0),
    ] {
        all.insert(name.into(), ms(histogram, quantile).into());
    }
    all
}

fn by_code(counts: &BTreeMap<u64, u64>) -> String {
    match counts.is_empty() {
        true => String::new(),
        false => {
            let each: Vec<String> = counts
                .iter()
                .map(|(code, count)| format!("{code}: {count}"))
                .collect();
            format!(" ({})", each.join(", "))
        }
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1 << 20) as f64
}

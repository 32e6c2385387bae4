//! What came of a workload: percentiles, losses, the server's CPU and memory.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::process::Cpu;

/// Latencies and counts of one class of rooms.
pub(crate) struct Class {
    pub(crate) name: &'static str,
    /// Microseconds, from the intended send to the last byte read.
    pub(crate) latency_us: Histogram<u64>,
    pub(crate) published: u64,
    pub(crate) expected: u64,
    pub(crate) delivered: u64,
    pub(crate) doubled: u64,
    pub(crate) out_of_order: u64,
}

/// An empty histogram: one microsecond to ten minutes, two digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 2).expect("constant bounds")
}

impl Class {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            latency_us: histogram(),
            published: 0,
            expected: 0,
            delivered: 0,
            doubled: 0,
            out_of_order: 0,
        }
    }

    pub(crate) fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.delivered - self.doubled)
    }

    pub(crate) fn ms(&self, quantile: f64) -> f64 {
        self.latency_us.value_at_quantile(quantile) as f64 / 1_000.0
    }

    fn is_clean(&self) -> bool {
        self.lost() == 0 && self.doubled == 0 && self.out_of_order == 0
    }
}

/// See the file.
pub(crate) struct Report {
    pub(crate) workload: &'static str,
    pub(crate) elapsed: Duration,
    pub(crate) classes: Vec<Class>,
    pub(crate) rejected: u64,
    pub(crate) cpu: Option<Cpu>,
    /// Resident bytes before and at the end.
    pub(crate) memory: Option<(u64, u64)>,
    /// Figures of one workload only, by name.
    pub(crate) figures: Vec<(&'static str, f64)>,
}

impl Report {
    /// Whether nothing was lost, doubled or out of order.
    pub(crate) fn is_clean(&self) -> bool {
        self.classes.iter().all(Class::is_clean)
    }

    fn deliveries(&self) -> u64 {
        self.classes.iter().map(|class| class.delivered).sum()
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
    }

    fn to_json(&self) -> Value {
        let mut all = Map::new();
        all.insert("workload".into(), self.workload.into());
        all.insert("seconds".into(), self.elapsed.as_secs_f64().into());
        all.insert("rejected".into(), self.rejected.into());
        for class in &self.classes {
            let figures = json!({
                "published": class.published, "delivered": class.delivered, "lost": class.lost(),
                "doubled": class.doubled, "out_of_order": class.out_of_order,
                "p50_ms": class.ms(0.5), "p95_ms": class.ms(0.95), "p99_ms": class.ms(0.99),
                "p999_ms": class.ms(0.999), "max_ms": class.ms(1.0),
            });
            all.insert(class.name.into(), figures);
        }
        if let Some(cpu) = self.cpu {
            all.insert("cpu_user_s".into(), cpu.user.as_secs_f64().into());
            all.insert("cpu_kernel_s".into(), cpu.kernel.as_secs_f64().into());
        }
        if let Some(us) = self.cpu_us_per_delivery() {
            all.insert("cpu_us_per_delivery".into(), us.into());
        }
        if let Some((before, after)) = self.memory {
            all.insert("memory_before_bytes".into(), before.into());
            all.insert("memory_bytes".into(), after.into());
        }
        for (name, figure) in &self.figures {
            all.insert((*name).into(), (*figure).into());
        }
        Value::Object(all)
    }

    fn print_table(&self) {
        println!("{} for {:.1} s", self.workload, self.elapsed.as_secs_f64());
        if !self.classes.is_empty() {
            println!(
                "{:>10} {:>10} {:>11} {:>8} {:>8} {:>8} {:>8} {:>8} {:>6} {:>7} {:>6}",
                "",
                "published",
                "delivered",
                "p50 ms",
                "p95 ms",
                "p99 ms",
                "p99.9",
                "max",
                "lost",
                "doubled",
                "order"
            );
        }
        for class in &self.classes {
            println!(
                "{:>10} {:>10} {:>11} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>6} {:>7} {:>6}",
                class.name,
                class.published,
                class.delivered,
                class.ms(0.5),
                class.ms(0.95),
                class.ms(0.99),
                class.ms(0.999),
                class.ms(1.0),
                class.lost(),
                class.doubled,
                class.out_of_order
            );
        }
        let per_second = self.deliveries() as f64 / self.elapsed.as_secs_f64().max(1e-9);
        if self.deliveries() > 0 {
            println!(
                "deliveries/s {per_second:.0}, rejected publishes {}",
                self.rejected
            );
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
        if let Some((before, after)) = self.memory {
            println!(
                "server memory {:.1} MiB before, {:.1} MiB at the end",
                mib(before),
                mib(after)
            );
        }
        for (name, figure) in &self.figures {
            println!("{} {figure:.3}", name.replace('_', " "));
        }
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1 << 20) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_doubled_or_out_of_order_is_not_clean() {
        let mut class = Class::new("hot");
        (class.expected, class.delivered) = (10, 10);
        assert!(class.is_clean());
        class.delivered = 9;
        assert_eq!((class.lost(), class.is_clean()), (1, false));
        (class.delivered, class.doubled) = (11, 1);
        assert_eq!((class.lost(), class.is_clean()), (0, false));
    }
}

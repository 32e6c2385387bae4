//! What one unit of work costs, and how long things take: each figure with its range and where it is from.
//!
//! The middle is what a plan computes with. The ends are how far it may be off: the same plan is run with values drawn
//! from between them, to see which unknown would turn the verdict.

use serde::{Deserialize, Serialize};

/// A number that is not known exactly: at least, probably, at most.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    pub low: f64,
    pub mid: f64,
    pub high: f64,
}

impl Interval {
    /// One that is known exactly.
    pub const fn exactly(value: f64) -> Self {
        Self {
            low: value,
            mid: value,
            high: value,
        }
    }

    /// The value at a share of its triangular law, 0 to 1: 0 is the low end, 1 the high one.
    pub fn at(self, share: f64) -> f64 {
        let range = self.high - self.low;
        if range.is_nan() || range <= 0.0 {
            return self.mid;
        }
        let share = share.clamp(0.0, 1.0);
        let below = (self.mid - self.low) / range;
        if share < below {
            self.low + f64::sqrt(share * range * (self.mid - self.low))
        } else {
            self.high - f64::sqrt((1.0 - share) * range * (self.high - self.mid))
        }
    }
}

/// A figure of the model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figure {
    /// By what reports and drawn values call it: `postgres.commit`.
    pub name: &'static str,
    pub unit: &'static str,
    pub value: Interval,
    /// Squared coefficient of variation, of a time that is drawn anew for each event.
    pub cv2: f64,
    /// A public one with its date, or "assumed".
    pub source: &'static str,
}

const fn figure(
    name: &'static str,
    unit: &'static str,
    range: [f64; 3],
    cv2: f64,
    source: &'static str,
) -> Figure {
    Figure {
        name,
        unit,
        value: Interval {
            low: range[0],
            mid: range[1],
            high: range[2],
        },
        cv2,
        source,
    }
}

const US: f64 = 1e-6;
const MS: f64 = 1e-3;

const MEASURED: &str = "docs/benchmarks.md: x86-64 VM, loopback, 500-byte payloads";

pub const LB_PASS: Figure = figure("lb.pass", "s", [0.3 * MS, 0.7 * MS, 1.5 * MS], 1.0, "assumed");
pub const LB_WORK: Figure = figure(
    "lb.work",
    "CPU s",
    [5.0 * US, 10.0 * US, 30.0 * US],
    0.0,
    "assumed",
);
pub const TLS_HANDSHAKE: Figure = figure(
    "tls.handshake",
    "CPU s",
    [0.2 * MS, 0.5 * MS, 2.9 * MS],
    0.0,
    "NGINX's published tests: 350 a second and core with RSA-2048 (2014), over 2,000 with ECDSA (2016)",
);

/// Delivery in one large room: 8.3 µs; beside quiet rooms 10.9.
pub const WS_DELIVERY: Figure = figure(
    "ws.delivery",
    "CPU s",
    [7.5 * US, 8.3 * US, 10.9 * US],
    0.0,
    MEASURED,
);
/// What is left of 13.5 µs for each delivery in rooms of ten, once ten deliveries are taken off; 20,000 acknowledged
/// ones a second on one core say the same.
pub const WS_PUBLISH: Figure = figure(
    "ws.publish",
    "CPU s",
    [35.0 * US, 50.0 * US, 60.0 * US],
    0.5,
    MEASURED,
);
/// Of that, what a machine does again for a publication that another one sent it.
pub const WS_PUT_OUT: Figure = figure(
    "ws.put-out",
    "CPU s",
    [8.0 * US, 15.0 * US, 25.0 * US],
    0.5,
    "assumed: a third of a publish",
);
/// Of a further delivery that leaves in the same write: 1,000 subscribers, 5.2 million a second.
pub const WS_DELIVERY_JOINED: Figure = figure(
    "ws.delivery-joined",
    "CPU s",
    [0.15 * US, 0.2 * US, 0.4 * US],
    0.0,
    MEASURED,
);
pub const WS_HANDSHAKE: Figure = figure(
    "ws.handshake",
    "CPU s",
    [30.0 * US, 36.0 * US, 54.0 * US],
    0.5,
    MEASURED,
);
pub const WS_IDLE: Figure = figure(
    "ws.idle",
    "CPU s/s",
    [0.5 * US, 2.2 * US, 4.7 * US],
    0.0,
    "Centrifugo's published test with 200,000 connections (2026-08); its own server's low end assumed",
);
/// 576 of the process, measured; the rest the kernel's socket.
pub const WS_CONNECTION_BYTES: Figure = figure(
    "ws.connection-bytes",
    "bytes",
    [3_000.0, 4_672.0, 11_000.0],
    0.0,
    "docs/benchmarks.md: 576 in the process; 4 KB in the kernel by Centrifugo's published tests (2026-08)",
);
pub const WS_BASE_BYTES: Figure = figure(
    "ws.base-bytes",
    "bytes",
    [150e6, 318e6, 500e6],
    0.0,
    "docs/benchmarks.md: 18 MB of the process; 300 MB of the operating system assumed",
);
/// Of those of a connection, what the kernel's socket has; a server's own memory says nothing of it.
pub const WS_CONNECTION_KERNEL_BYTES: Interval = Interval {
    low: 2_424.0,
    mid: 4_096.0,
    high: 10_424.0,
};
/// Of those of a machine, what its operating system has.
pub const WS_BASE_SYSTEM_BYTES: Interval = Interval {
    low: 132e6,
    mid: 300e6,
    high: 482e6,
};
/// Until an own log on disk has it: one fdatasync.
pub const WS_SYNC: Figure = figure(
    "ws.sync",
    "s",
    [0.4 * MS, 2.0 * MS, 4.0 * MS],
    0.5,
    "docs/benchmarks.md: 0.4 ms here; network disks 1.2, 2 and 4 ms by Netflix's service-capacity-modeling (2026)",
);
pub const WS_RESTART: Figure = figure("ws.restart", "s", [2.0, 5.0, 10.0], 0.0, "assumed");

/// Between two nodes of one region.
pub const HOP: Figure = figure(
    "hop",
    "s",
    [0.1 * MS, 0.3 * MS, 1.0 * MS],
    0.5,
    "assumed: within a zone, and between two",
);

pub const SERVER_WORK: Figure = figure(
    "server.work",
    "CPU s",
    [1.0 * MS, 2.0 * MS, 3.0 * MS],
    1.0,
    "assumed",
);
pub const MACHINE_REPAIR: Figure = figure("machine.repair", "s", [60.0, 120.0, 180.0], 0.0, "assumed");
pub const MACHINE_BOOT: Figure = figure("machine.boot", "s", [60.0, 120.0, 180.0], 0.0, "assumed");
pub const SCALE_DELAY: Figure = figure(
    "scale.delay",
    "s",
    [30.0, 60.0, 120.0],
    0.0,
    "Kubernetes decides every 15 s by metrics that are 15 to 60 s old",
);

pub const POSTGRES_COMMIT: Figure = figure(
    "postgres.commit",
    "s",
    [1.2 * MS, 2.0 * MS, 4.0 * MS],
    0.5,
    "network disks' writes by Netflix's service-capacity-modeling (2026)",
);
/// 4 cores do 2,500 to 4,000 transactions of some five statements.
pub const POSTGRES_WRITE: Figure = figure(
    "postgres.write",
    "CPU s",
    [0.2 * MS, 0.4 * MS, 1.2 * MS],
    1.0,
    "published pgbench runs: 4 cores do 2,500 to 4,000 transactions of five statements a second; one statement assumed",
);
pub const POSTGRES_READ: Figure = figure(
    "postgres.read",
    "CPU s",
    [0.16 * MS, 0.2 * MS, 0.27 * MS],
    1.0,
    "published pgbench runs: 4 cores do 15,000 to 25,000 reads a second",
);
pub const POSTGRES_STANDBY: Figure = figure(
    "postgres.standby",
    "times",
    [1.2, 1.25, 1.3],
    0.0,
    "published tests: a synchronous standby costs 20 to 30 %",
);
pub const POSTGRES_FAILOVER: Figure = figure(
    "postgres.failover",
    "s",
    [41.0, 75.0, 120.0],
    0.0,
    "the vendor says 60 to 120 s; applications reported 41 to 90, once six minutes",
);
pub const POSTGRES_REPAIR: Figure = figure("postgres.repair", "s", [300.0, 600.0, 1_800.0], 0.0, "assumed");
pub const REPLICA_REPAIR: Figure = figure(
    "replica.repair",
    "s",
    [1_800.0, 3_600.0, 14_400.0],
    0.0,
    "assumed",
);

pub const REDIS_COMMAND: Figure = figure(
    "redis.command",
    "CPU s",
    [2.5 * US, 6.25 * US, 10.0 * US],
    0.5,
    "published runs: 160,000 commands a second with one I/O thread, more than twice as many with several",
);
pub const REDIS_DELIVERY: Figure = figure(
    "redis.delivery",
    "CPU s",
    [1.0 * US, 1.54 * US, 2.5 * US],
    0.5,
    "Centrifugo's published test: 650,000 delivered messages of 256 bytes a second and instance",
);
pub const REDIS_TAKEOVER: Figure = figure("redis.takeover", "s", [10.0, 20.0, 60.0], 0.0, "assumed");
pub const REDIS_REPAIR: Figure = figure("redis.repair", "s", [60.0, 120.0, 300.0], 0.0, "assumed");
pub const REDIS_WARM_UP: Figure = figure("redis.warm-up", "s", [60.0, 300.0, 900.0], 0.0, "assumed");
pub const REDIS_HIT_RATE: Figure = figure("redis.hit-rate", "share", [0.8, 0.9, 0.97], 0.0, "assumed");

pub const STREAM_APPEND: Figure = figure(
    "stream.append",
    "CPU s",
    [10.0 * US, 20.0 * US, 40.0 * US],
    0.5,
    "assumed: 50,000 a second and core",
);
pub const STREAM_PERSIST: Figure = figure(
    "stream.persist",
    "s",
    [1.0 * MS, 2.5 * MS, 5.0 * MS],
    0.5,
    "published runs of JetStream with files: 1 to 5 ms",
);
pub const STREAM_ELECT: Figure = figure("stream.elect", "s", [2.0, 5.0, 15.0], 0.0, "assumed");
pub const KINESIS_RECORD: Figure = figure(
    "kinesis.record",
    "s",
    [1.0 * MS, 1.0 * MS, 1.0 * MS],
    0.0,
    "the vendor's limit: 1,000 records a second and shard",
);
pub const KINESIS_PERSIST: Figure = figure(
    "kinesis.persist",
    "s",
    [10.0 * MS, 20.0 * MS, 50.0 * MS],
    0.5,
    "assumed",
);

pub const QUEUE_SEND: Figure = figure(
    "queue.send",
    "CPU s",
    [20.0 * US, 40.0 * US, 80.0 * US],
    0.5,
    "assumed",
);
pub const QUEUE_PERSIST: Figure = figure(
    "queue.persist",
    "s",
    [5.0 * MS, 10.0 * MS, 20.0 * MS],
    0.5,
    "published runs of RabbitMQ with durable queues: 5 to 20 ms",
);
pub const WORKER_JOB: Figure = figure(
    "worker.job",
    "s",
    [20.0 * MS, 50.0 * MS, 200.0 * MS],
    2.0,
    "assumed",
);

pub const LIMITER_CHECK: Figure = figure(
    "limiter.check",
    "CPU s",
    [0.5 * US, 1.0 * US, 2.0 * US],
    0.0,
    "assumed",
);
pub const LIMITER_SHARED: Figure = figure(
    "limiter.shared",
    "s",
    [0.5 * MS, 0.7 * MS, 1.0 * MS],
    0.5,
    "assumed: a call to a machine of its own",
);

pub const HOSTED_PASS: Figure = figure(
    "hosted.pass",
    "s",
    [5.0 * MS, 10.0 * MS, 30.0 * MS],
    1.0,
    "assumed",
);
pub const HOSTED_DELIVERY: Figure = figure(
    "hosted.delivery",
    "s",
    [10.0 * US, 20.0 * US, 100.0 * US],
    0.0,
    "assumed",
);
pub const HOSTED_CONNECTS: Figure = figure(
    "hosted.connects",
    "1/s",
    [500.0, 500.0, 500.0],
    0.0,
    "API Gateway's quota of new connections (2026)",
);

/// All of them, for reports.
#[rustfmt::skip]
pub const FIGURES: &[Figure] = &[
    LB_PASS, LB_WORK, TLS_HANDSHAKE, WS_DELIVERY, WS_PUBLISH, WS_PUT_OUT, WS_DELIVERY_JOINED, WS_HANDSHAKE, WS_IDLE,
    WS_CONNECTION_BYTES, WS_BASE_BYTES, WS_SYNC, WS_RESTART, HOP, SERVER_WORK, MACHINE_REPAIR, MACHINE_BOOT, SCALE_DELAY,
    POSTGRES_COMMIT, POSTGRES_WRITE, POSTGRES_READ, POSTGRES_STANDBY, POSTGRES_FAILOVER, POSTGRES_REPAIR, REPLICA_REPAIR,
    REDIS_COMMAND, REDIS_DELIVERY, REDIS_TAKEOVER, REDIS_REPAIR, REDIS_WARM_UP, REDIS_HIT_RATE, STREAM_APPEND,
    STREAM_PERSIST, STREAM_ELECT, KINESIS_RECORD, KINESIS_PERSIST, QUEUE_SEND, QUEUE_PERSIST, WORKER_JOB, LIMITER_CHECK,
    LIMITER_SHARED, HOSTED_PASS, HOSTED_DELIVERY, HOSTED_CONNECTS,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_a_range_a_name_and_a_source() {
        for (place, figure) in FIGURES.iter().enumerate() {
            let Interval { low, mid, high } = figure.value;
            assert!(0.0 < low && low <= mid && mid <= high, "{}", figure.name);
            assert!(!figure.source.is_empty() && figure.cv2 >= 0.0);
            assert!(
                FIGURES[..place].iter().all(|other| other.name != figure.name),
                "{}",
                figure.name
            );
        }
    }

    #[test]
    fn a_value_is_drawn_from_its_range() {
        let range = WS_IDLE.value;
        assert_eq!((range.at(0.0), range.at(1.0)), (range.low, range.high));
        assert!(range.at(0.3) < range.at(0.31));
        let draws = 10_000;
        let mean = (0..draws)
            .map(|n| range.at((f64::from(n) + 0.5) / f64::from(draws)))
            .sum::<f64>()
            / f64::from(draws);
        assert!((mean - (range.low + range.mid + range.high) / 3.0).abs() < 1e-9);
        assert_eq!(Interval::exactly(3.0).at(0.9), 3.0);
    }
}

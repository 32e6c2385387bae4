//! What each kind of node is: its sizes, unit costs, defaults, failures, repair and promised availability.
//!
//! Nothing here computes; `compile` puts these numbers into stations. A number is a [`Figure`] with its
//! range and its source, so that a report can say what a verdict rests on.

mod costs;
mod defaults;
pub mod figures;
mod measured;
mod size;

pub use costs::Costs;
pub use defaults::{CONNECTIONS_MAX, options};
pub use figures::{FIGURES, Figure, Interval};
pub use measured::{Machine, Measured, MeasuredFigure, UNUSED};
pub use size::{MANAGED_CORES, SIZES, Size, default_of, size, sizes_of};

use crate::plan::Kind;

/// A kind of node.
#[derive(Debug, Clone, Copy)]
pub struct Component {
    pub kind: Kind,
    /// As a plan file calls it.
    pub name: &'static str,
    pub what: &'static str,
    /// How it fails.
    pub fails: &'static [&'static str],
    /// Until a machine of it is back, seconds.
    pub repair: Figure,
    /// Promised or usual availability of one, and of several in different zones.
    pub available_one: f64,
    pub available_several: f64,
    pub available_source: &'static str,
}

const EC2: &str = "Amazon's agreements on service levels: 99.5 % of one machine, 99.99 % of a region (2026)";
const RDS: &str = "Amazon's agreement for RDS in several zones: 99.95 % (2026); one machine as EC2";

/// Each kind once.
pub const ALL: &[Component] = &[
    Component {
        kind: Kind::Lb,
        name: "lb",
        what: "The load balancer: ends TLS, and gives each connection to a machine behind it.",
        fails: &[
            "its idle timeout cuts quiet connections",
            "slow health checks send connections to a dead machine",
            "long connections stay where they are when machines are added",
        ],
        repair: figures::MACHINE_REPAIR,
        available_one: 0.9999,
        available_several: 0.9999,
        available_source: "Amazon's agreement for load balancers: 99.99 % (2026)",
    },
    Component {
        kind: Kind::Ws,
        name: "ws",
        what: "Tidegate: holds the connections, orders what is published in a room and sends it to all in it.",
        fails: &[
            "a machine dies, and all who were on it come back at once",
            "one room is too large for one core",
            "slow readers fill their outboxes",
        ],
        repair: figures::WS_RESTART,
        available_one: 0.995,
        available_several: 0.9999,
        available_source: EC2,
    },
    Component {
        kind: Kind::Server,
        name: "server",
        what: "The application's own servers: decide what is stored, and who may connect.",
        fails: &[
            "all cores are busy",
            "its pool of connections is empty",
            "a deploy takes machines away",
        ],
        repair: figures::MACHINE_REPAIR,
        available_one: 0.995,
        available_several: 0.9999,
        available_source: EC2,
    },
    Component {
        kind: Kind::Postgres,
        name: "postgres",
        what: "The database: one machine that writes, and perhaps a standby that takes over.",
        fails: &[
            "no connection is free before a core is busy",
            "the primary dies: nothing is written until the standby took over",
            "checkpoints and locks stall it",
        ],
        repair: figures::POSTGRES_REPAIR,
        available_one: 0.995,
        available_several: 0.9995,
        available_source: RDS,
    },
    Component {
        kind: Kind::Replica,
        name: "replica",
        what: "A copy of the database for reads, a little behind; not a standby.",
        fails: &[
            "it lags behind a burst of writes",
            "who reads what he just wrote does not find it",
        ],
        repair: figures::REPLICA_REPAIR,
        available_one: 0.995,
        available_several: 0.9995,
        available_source: RDS,
    },
    Component {
        kind: Kind::Redis,
        name: "redis",
        what: "A cache before the database, and the bus between machines of `ws`; one thread does all commands.",
        fails: &[
            "it forgets what it knew, and all reads reach the database",
            "a failover loses its last writes",
        ],
        repair: figures::REDIS_REPAIR,
        available_one: 0.995,
        available_several: 0.9999,
        available_source: "Amazon's agreement for ElastiCache in several zones: 99.99 % (2026); one machine as EC2",
    },
    Component {
        kind: Kind::Stream,
        name: "stream",
        what: "Ordered partitions that are kept: a bus, a store, or the way to workers.",
        fails: &[
            "one partition is hotter than the others",
            "its consumers are slower than its producers",
        ],
        repair: figures::MACHINE_REPAIR,
        available_one: 0.995,
        available_several: 0.999,
        available_source: "assumed of what one runs on machines of EC2",
    },
    Component {
        kind: Kind::Queue,
        name: "queue",
        what: "Jobs that wait for a worker.",
        fails: &[
            "jobs that took too long are given out again",
            "one job that always fails comes back for ever",
        ],
        repair: figures::MACHINE_REPAIR,
        available_one: 0.999,
        available_several: 0.999,
        available_source: "Amazon's agreement for SQS: 99.9 % (2026)",
    },
    Component {
        kind: Kind::Worker,
        name: "worker",
        what: "Takes jobs from a queue or a stream, and writes what came of them.",
        fails: &[
            "what it calls is slow, and jobs pile up",
            "it tries again without end",
        ],
        repair: figures::MACHINE_REPAIR,
        available_one: 0.995,
        available_several: 0.9999,
        available_source: EC2,
    },
    Component {
        kind: Kind::Limiter,
        name: "limiter",
        what: "Refuses what one user publishes above a rate.",
        fails: &[
            "it counts reconnects as abuse",
            "it stands behind what it should protect",
        ],
        repair: figures::MACHINE_REPAIR,
        available_one: 0.995,
        available_several: 0.9999,
        available_source: EC2,
    },
    Component {
        kind: Kind::Hosted,
        name: "hosted",
        what: "A hosted real-time service in place of `ws`.",
        fails: &[
            "new connections are limited: 500 a second",
            "connections end after two hours, and many began together",
        ],
        repair: figures::MACHINE_REPAIR,
        available_one: 0.9995,
        available_several: 0.9995,
        available_source: "Amazon's agreement for API Gateway: 99.95 % (2026)",
    },
];

/// The one of a kind.
pub fn of(kind: Kind) -> &'static Component {
    ALL.iter()
        .find(|component| component.kind == kind)
        .expect("each kind is listed: a test")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_listed_once() {
        let kinds = [
            Kind::Lb,
            Kind::Ws,
            Kind::Server,
            Kind::Postgres,
            Kind::Replica,
            Kind::Redis,
            Kind::Stream,
            Kind::Queue,
            Kind::Worker,
            Kind::Limiter,
            Kind::Hosted,
        ];
        assert_eq!(ALL.len(), kinds.len());
        for kind in kinds {
            let component = of(kind);
            assert_eq!(serde_json::to_value(kind).unwrap(), component.name);
            assert!(
                component.available_one <= component.available_several && component.available_several < 1.0
            );
            assert!(!component.fails.is_empty());
        }
    }
}

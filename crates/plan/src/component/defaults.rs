//! What an option is that a plan does not set.

use super::{figures, size};
use crate::plan::{Kind, Node, Options};

/// Connections a Postgres takes at most, however much memory it has.
pub const CONNECTIONS_MAX: u32 = 5_000;

/// The options of a node with every default filled in that means something to its kind; the rest stays as it was set.
pub fn options(node: &Node) -> Options {
    let mut options = node.options.clone();
    let set = &mut options;
    set.retry_jitter.get_or_insert(true);
    set.retries.get_or_insert(0);
    if set.autoscale_max.is_some() {
        // Utilisation that Kubernetes' own examples aim at.
        set.autoscale_target.get_or_insert(0.5);
        set.autoscale_delay.get_or_insert(figures::SCALE_DELAY.value.mid);
        set.boot.get_or_insert(figures::MACHINE_BOOT.value.mid);
    }
    match node.kind {
        Kind::Lb => {
            // Application load balancers: every 30 s by default, and twice to fail; most set it to 10 s.
            set.health_interval.get_or_insert(10.0);
            set.health_failures.get_or_insert(2);
        }
        Kind::Ws => {
            // As Tidegate's own configuration has it: `drain.within` is 30 s, an outbox 1 MiB.
            set.drain.get_or_insert(30.0);
            set.resume_window.get_or_insert(120.0);
            set.rebalance.get_or_insert(false);
            set.outbox_bytes.get_or_insert(1024 * 1024);
            set.conflate_rate.get_or_insert(0.0);
            set.tokens.get_or_insert(true);
            set.lanes.get_or_insert(true);
        }
        Kind::Server => {
            // HikariCP's default.
            set.pool.get_or_insert(10);
        }
        Kind::Worker => {
            set.pool.get_or_insert(10);
            // A job whose worker died is given out again.
            set.retries = node.options.retries.or(Some(3));
        }
        Kind::Postgres | Kind::Replica => {
            set.standby
                .get_or_insert(node.kind == Kind::Postgres && node.count > 1);
            set.failover.get_or_insert(figures::POSTGRES_FAILOVER.value.mid);
            // RDS: memory / 9,531,392 bytes.
            let memory = size(&node.size, node.kind).map_or(1e9, |size| size.memory);
            let connections = ((memory / 9_531_392.0) as u32).clamp(20, CONNECTIONS_MAX);
            set.connections_max.get_or_insert(connections);
            if node.kind == Kind::Replica {
                set.staleness_max.get_or_insert(1.0);
            }
        }
        Kind::Redis => {
            set.hit_rate.get_or_insert(figures::REDIS_HIT_RATE.value.mid);
            set.warm_up.get_or_insert(figures::REDIS_WARM_UP.value.mid);
        }
        Kind::Stream => {
            set.partitions.get_or_insert(node.count.max(1).saturating_mul(4));
            set.poll.get_or_insert(0.0);
        }
        Kind::Queue => {
            set.poll.get_or_insert(0.0);
            // SQS's default.
            set.visibility.get_or_insert(30.0);
        }
        Kind::Limiter => {
            set.counts_reconnects.get_or_insert(false);
        }
        Kind::Hosted => {
            // API Gateway closes who does not take 32 KB frames; its outbox is not known.
            set.outbox_bytes.get_or_insert(128 * 1024);
            set.tokens.get_or_insert(true);
        }
    }
    options
}

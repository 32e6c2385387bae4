//! Failures by chance, drawn for one replication.

use crate::{
    draw::{Key, Purpose, Stream},
    network::{Network, Stage, TimedFault},
    plan::Fault,
};

/// Failures of one node in one run at most.
const FAULTS_MAX: usize = 1_000;

const YEAR: f64 = 365.25 * 86_400.0;
const WEEK: f64 = 7.0 * 86_400.0;

/// Crashes and deploys by chance, by time; those that happen for sure are in [`Network::faults`].
///
/// Machines that somebody else runs do not crash one by one. A deploy replaces the machines of all
/// nodes that hold connections or do the application's work, jobs included.
pub fn random_faults(network: &Network, replication: u32) -> Vec<TimedFault> {
    let mut nodes: Vec<u32> = network.stations.iter().map(|station| station.node).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let mut faults = Vec::new();
    for &node in &nodes {
        let mut own = network
            .stations
            .iter()
            .filter(|station| station.node == node && !station.is_managed());
        let Some(machines) = own.by_ref().map(|station| station.machines).max() else {
            continue;
        };
        let mut stream = Stream::new(Key {
            seed: network.seed,
            replication,
            entity: node,
            purpose: Purpose::Failure,
        });
        let rate = network.random.crashes_per_year * f64::from(machines) / YEAR;
        let mut at = 0.0;
        for _ in 0..FAULTS_MAX {
            // Draws are made whatever the rate, so that a rate changes times and not who is next.
            let gap = stream.exponential(1.0);
            let all = stream.unit() < network.random.common_cause;
            at += gap / rate.max(f64::MIN_POSITIVE);
            if at.is_nan() || at >= network.length {
                break;
            }
            faults.push(TimedFault {
                at,
                node,
                fault: Fault::Crash {
                    machines: if all { machines } else { 1 },
                    seconds: None,
                },
            });
        }
    }
    let rate = network.random.deploys_per_week / WEEK;
    let mut stream = Stream::new(Key {
        seed: network.seed,
        replication,
        entity: u32::MAX,
        purpose: Purpose::Failure,
    });
    let mut at = 0.0;
    for _ in 0..FAULTS_MAX {
        at += stream.exponential(1.0) / rate.max(f64::MIN_POSITIVE);
        if at.is_nan() || at >= network.length {
            break;
        }
        for &node in &nodes {
            let is_deployed = network.stations.iter().any(|station| {
                station.node == node
                    && matches!(station.stage, Stage::Fanout | Stage::Work)
                    && !station.is_managed()
            });
            if is_deployed {
                faults.push(TimedFault {
                    at,
                    node,
                    fault: Fault::Deploy,
                });
            }
        }
    }
    faults.sort_by(|a, b| a.at.total_cmp(&b.at));
    faults
}

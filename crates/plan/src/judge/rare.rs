//! What seldom goes wrong: crashes and deploys by chance, each forced once at the busiest moment.
//!
//! A few runs see few of the failures that chance brings, perhaps none, and then agree with each other too well.
//! But how often each comes is known, and the fluid tells what one costs. So the variance of uptime between runs is at least
//! the sum of rate × cost², as of a Poisson process; what replications show may only be more.

use serde::Serialize;

use crate::{
    engine::fluid,
    network::{Network, RandomFaults, Stage, TimedFault},
    plan::{Fault, Weigh},
};

/// One kind of failure by chance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rare {
    /// The place of its node in the plan; none of a deploy, which goes through several.
    pub node: Option<u32>,
    pub what: &'static str,
    /// How many a run meets on average.
    pub per_run: f64,
    /// What one takes of the uptime, at the busiest moment.
    pub uptime_cost: f64,
}

const YEAR: f64 = 365.25 * 86_400.0;
const WEEK: f64 = 7.0 * 86_400.0;

/// All kinds of failures that may come by chance, in the order of their nodes.
pub(super) fn rare(network: &Network, weigh: Weigh) -> Vec<Rare> {
    let random = network.random;
    let crashes = random.crashes_per_year > 0.0;
    let deploys = random.deploys_per_week > 0.0;
    if !crashes && !deploys {
        return Vec::new();
    }
    let mut calm = network.clone();
    calm.random = RandomFaults::default();
    calm.faults.clear();
    let at = busiest(network);
    let good = fluid::run(&calm).uptime(weigh);
    let cost = |faults: Vec<TimedFault>| {
        let mut struck = calm.clone();
        struck.faults = faults;
        (good - fluid::run(&struck).uptime(weigh)).max(0.0)
    };
    let mut rare = Vec::new();
    for (node, machines) in machines(network).into_iter().filter(|_| crashes) {
        let per_run = random.crashes_per_year * f64::from(machines) * network.length / YEAR;
        let common = random.common_cause.clamp(0.0, 1.0);
        let crash = |machines| {
            let seconds = None;
            let fault = Fault::Crash { machines, seconds };
            vec![TimedFault { at, node, fault }]
        };
        for (what, share, dead) in [
            ("a crash of one machine", 1.0 - common, 1),
            ("a crash of all its machines", common, machines),
        ] {
            if share > 0.0 {
                rare.push(Rare {
                    node: Some(node),
                    what,
                    per_run: per_run * share,
                    uptime_cost: cost(crash(dead)),
                });
            }
        }
    }
    if deploys {
        let deployed = network
            .stations
            .iter()
            .filter(|station| matches!(station.stage, Stage::Fanout | Stage::Work) && !station.is_managed());
        let mut nodes: Vec<u32> = deployed.map(|station| station.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let fault = Fault::Deploy;
        rare.push(Rare {
            node: None,
            what: "a deploy",
            per_run: random.deploys_per_week * network.length / WEEK,
            uptime_cost: cost(
                nodes
                    .into_iter()
                    .map(|node| TimedFault { at, node, fault })
                    .collect(),
            ),
        });
    }
    rare
}

/// What they add to the variance of one run's uptime.
pub(super) fn variance(rare: &[Rare]) -> f64 {
    rare.iter()
        .map(|kind| kind.per_run * kind.uptime_cost * kind.uptime_cost)
        .sum()
}

/// When most users want to be connected.
fn busiest(network: &Network) -> f64 {
    let mut most = (0.0, f64::MIN);
    for &(at, users) in &network.users {
        if users > most.1 && at < network.length {
            most = (at, users);
        }
    }
    most.0
}

/// Nodes whose machines crash by themselves, and how many they have.
fn machines(network: &Network) -> Vec<(u32, u32)> {
    let mut nodes: Vec<(u32, u32)> = Vec::new();
    for station in network.stations.iter().filter(|station| !station.is_managed()) {
        match nodes.iter_mut().find(|(node, _)| *node == station.node) {
            Some((_, machines)) => *machines = station.machines.max(*machines),
            None => nodes.push((station.node, station.machines)),
        }
    }
    nodes.sort_unstable();
    nodes
}

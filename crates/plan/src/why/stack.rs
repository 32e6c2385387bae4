//! Where the events near a contract's percentile were: their time by stage and node, which adds up to the latency.
//!
//! It shows; it does not prove. A long wait in one place may be owed to another one: see `cause`.

use serde::Serialize;

use crate::{
    judge::{Promise, What},
    network::{Flow, Network, Stage},
    outcome::{Outcome, StageWait},
    plan::Plan,
};

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stack {
    pub promise: Promise,
    pub latency_s: f64,
    /// In the order of the way.
    pub layers: Vec<Layer>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Layer {
    pub stage: Stage,
    /// None of the network and of waits between tries.
    pub node: Option<String>,
    pub seconds: f64,
}

/// Less than this of the whole is not worth a layer.
const SHARE_MIN: f64 = 1e-6;

/// One for each latency that was promised, if any of it was measured.
pub fn stacks(plan: &Plan, network: &Network, outcome: &Outcome) -> Vec<Stack> {
    let latencies = Promise::all_of(plan)
        .into_iter()
        .filter(|promise| promise.what == What::Latency);
    latencies
        .filter_map(|promise| stack(plan, network, outcome, promise))
        .collect()
}

fn stack(plan: &Plan, network: &Network, outcome: &Outcome, promise: Promise) -> Option<Stack> {
    let latency_s = promise.measure(plan, outcome, None)?;
    let percentile = promise.percentile?;
    let mut layers: Vec<Layer> = Vec::new();
    for stage in Stage::ALL {
        for (class, flow) in outcome.classes.iter().zip(&network.flows) {
            if promise.class.as_ref().is_some_and(|name| *name != class.name) {
                continue;
            }
            let seconds: f64 = class
                .waits
                .iter()
                .filter(|wait| wait.stage == stage)
                .map(|wait| near(wait, percentile))
                .sum();
            for (node, share) in nodes(plan, network, outcome, flow, stage) {
                add(&mut layers, stage, node, seconds * share);
            }
        }
    }
    // The mean of those near the percentile is close to it, not the same.
    let all: f64 = layers.iter().map(|layer| layer.seconds).sum();
    if all <= 0.0 || !all.is_finite() {
        return None;
    }
    for layer in &mut layers {
        layer.seconds *= latency_s / all;
    }
    layers.retain(|layer| layer.seconds > SHARE_MIN * latency_s);
    Some(Stack {
        promise,
        latency_s,
        layers,
    })
}

/// The events that a percentile is made of: those around the 95th, those beyond the 99th, or all.
fn near(wait: &StageWait, percentile: f64) -> f64 {
    if percentile >= 0.98 {
        wait.beyond_p99_s
    } else if percentile >= 0.9 {
        wait.near_p95_s
    } else {
        wait.all_s
    }
}

fn add(layers: &mut Vec<Layer>, stage: Stage, node: Option<String>, seconds: f64) {
    match layers
        .iter_mut()
        .find(|layer| layer.stage == stage && layer.node == node)
    {
        Some(layer) => layer.seconds += seconds,
        None => layers.push(Layer { stage, node, seconds }),
    }
}

/// The nodes a class's events pass in a stage, and the share of its time each has: by what a visit takes there on average.
fn nodes(
    plan: &Plan,
    network: &Network,
    outcome: &Outcome,
    flow: &Flow,
    stage: Stage,
) -> Vec<(Option<String>, f64)> {
    let mut found: Vec<(Option<String>, f64)> = Vec::new();
    for step in &flow.steps {
        let place = step.station.0 as usize;
        let (Some(station), Some(measured)) = (network.stations.get(place), outcome.stations.get(place))
        else {
            continue;
        };
        if station.stage != stage {
            continue;
        }
        let wait = if measured.wait_s.is_empty() {
            0.0
        } else {
            measured.wait_s.sum() / measured.wait_s.len()
        };
        let name = super::node_name(plan, station);
        found.push((Some(name), wait + step.service.mean() + f64::MIN_POSITIVE));
    }
    let all: f64 = found.iter().map(|(_, time)| time).sum();
    if found.is_empty() || all <= 0.0 || !all.is_finite() {
        return vec![(None, 1.0)];
    }
    for (_, time) in &mut found {
        *time /= all;
    }
    found
}

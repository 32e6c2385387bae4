//! Where the error budget went: which minutes were bad, and what had happened.
//!
//! Bad minutes that follow each other are an episode. In it a minute belongs to the failure that came last; without
//! one, to the station that was full; else to nothing that is known. That is when, not why: what a failure
//! costs is told by a run without it, see `cause`. Minutes of which less is bad than was allowed are one line, and so
//! is what a sampled run counted for calm moments beside those it simulated.

use serde::Serialize;

use super::node_name;
use crate::{
    network::Network,
    outcome::Outcome,
    plan::{Fault, Plan},
};

/// Of one run, on average.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Account {
    /// What was allowed, and what was bad: minutes of users.
    pub allowed_min: f64,
    pub bad_min: f64,
    /// The most first; their minutes add up to `bad_min`.
    pub lines: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    pub what: String,
    pub node: Option<String>,
    /// It comes by chance, and not for sure.
    pub is_chance: bool,
    /// Minutes of the clock that had any of it.
    pub minutes: f64,
    /// Minutes of users.
    pub user_min: f64,
    /// Of what was allowed: 1 is all of it.
    pub budget_share: f64,
    /// When it was first met, seconds.
    pub first_at_s: f64,
}

/// Minutes between two bad ones that are still one episode.
const GAP: usize = 2;
/// What happened so many seconds before an episode may be what it is owed to, if nothing else is known of it.
const LONG_BEFORE: f64 = 1_200.0;
/// Busier than this a station is full.
const FULL: f32 = 0.98;

impl Line {
    fn of_calm() -> Self {
        Self {
            what: "a little, all the time".to_owned(),
            node: None,
            is_chance: false,
            minutes: 0.0,
            user_min: 0.0,
            budget_share: 0.0,
            first_at_s: 0.0,
        }
    }
}

/// Something that went wrong.
struct Event {
    at: f64,
    what: &'static str,
    node: Option<String>,
    is_chance: bool,
}

/// By time: what was to happen for sure, and what a run's marks say happened besides.
fn events(plan: &Plan, network: &Network, run: &Outcome) -> Vec<Event> {
    let sure = network.faults.iter().map(|fault| Event {
        at: fault.at,
        what: said(fault.fault),
        node: plan
            .topology
            .nodes
            .get(fault.node as usize)
            .map(|node| node.id.clone()),
        is_chance: false,
    });
    let mut events: Vec<Event> = sure.collect();
    let is_sure = |at: f64| network.faults.iter().any(|fault| (fault.at - at).abs() < 1.0);
    for mark in run.marks.iter().filter(|mark| !is_sure(mark.at_s)) {
        let Some((station, text)) = mark.what.rsplit_once(": ") else {
            continue;
        };
        // By chance machines crash and deploys are made; nothing else.
        let what = if text.ends_with(" crash") || text == "crashed" {
            "crash"
        } else if text.starts_with("deploy of ") || text == "is deployed" {
            "deploy"
        } else {
            continue;
        };
        let of_node = network.stations.iter().find(|of_node| of_node.name == station);
        events.push(Event {
            at: mark.at_s,
            what,
            node: Some(of_node.map_or_else(|| station.to_owned(), |of_node| node_name(plan, of_node))),
            is_chance: true,
        });
    }
    events.sort_by(|a, b| a.at.total_cmp(&b.at));
    events
}

/// Adds up runs.
pub fn account(plan: &Plan, network: &Network, runs: &[Outcome]) -> Account {
    let allowed_share = (1.0 - plan.contract.uptime).max(0.0);
    let mut lines: Vec<Line> = Vec::new();
    let (mut wanted_s, mut bad_s) = (0.0, 0.0);
    for run in runs {
        let events = events(plan, network, run);
        wanted_s += run.wanted_s;
        let bad = run.bad.disconnected_s + run.bad.refused_s + run.bad.late_s;
        bad_s += bad;
        let mut rest = bad;
        let length = minute_length(run);
        let mut episode = 0;
        let mut last_bad: Option<usize> = None;
        for (place, minute) in run.minutes.iter().enumerate() {
            if minute.bad_s <= 0.0 {
                continue;
            }
            rest -= minute.bad_s;
            let at = place as f64 * length;
            let mut line = Line {
                minutes: length / 60.0,
                user_min: minute.bad_s / 60.0,
                first_at_s: at,
                ..Line::of_calm()
            };
            if minute.bad_s > allowed_share * minute.wanted * length {
                if last_bad.is_none_or(|last| place - last > GAP) {
                    episode = place;
                }
                last_bad = Some(place);
                // It may have struck a minute before its first bad one.
                let from = (episode as f64 - 1.0) * length;
                let last = |from: f64| {
                    let before = events.iter().rev();
                    before
                        .skip_while(|event| event.at >= at + length)
                        .find(|event| event.at >= from)
                };
                let full = fullest(network, &minute.busy);
                // A deploy comes to its second machine minutes later.
                let long_before = || last(from - LONG_BEFORE).filter(|_| full.is_none());
                if let Some(event) = last(from).or_else(long_before) {
                    line.what = event.what.to_owned();
                    line.node.clone_from(&event.node);
                    line.is_chance = event.is_chance;
                } else if let Some(station) = full {
                    line.what = "is full".to_owned();
                    line.node = Some(node_name(plan, &network.stations[station]));
                } else {
                    line.what = "nothing that is known".to_owned();
                }
            }
            add(&mut lines, line);
        }
        if rest.abs() > 1e-9 * bad {
            let calm = Line {
                user_min: rest / 60.0,
                ..Line::of_calm()
            };
            add(&mut lines, calm);
        }
    }
    let each = (runs.len() as f64).max(1.0);
    let allowed_min = allowed_share * wanted_s / 60.0 / each;
    for line in &mut lines {
        line.minutes /= each;
        line.user_min /= each;
        line.budget_share = line.user_min / allowed_min.max(f64::MIN_POSITIVE);
    }
    lines.sort_by(|a, b| b.user_min.total_cmp(&a.user_min));
    Account {
        allowed_min,
        bad_min: bad_s / 60.0 / each,
        lines,
    }
}

/// Long runs have long minutes.
fn minute_length(run: &Outcome) -> f64 {
    let minutes = (run.minutes.len() as f64).max(1.0);
    libm::ceil((run.length / minutes / 60.0).max(1e-9)) * 60.0
}

fn add(lines: &mut Vec<Line>, line: Line) {
    let same = |other: &&mut Line| {
        (&other.what, &other.node, other.is_chance) == (&line.what, &line.node, line.is_chance)
    };
    match lines.iter_mut().find(same) {
        Some(other) => {
            other.minutes += line.minutes;
            other.user_min += line.user_min;
            other.first_at_s = other.first_at_s.min(line.first_at_s);
        }
        None => lines.push(line),
    }
}

fn fullest(network: &Network, busy: &[f32]) -> Option<usize> {
    let mut most: Option<(usize, f32)> = None;
    for (place, &busy) in busy.iter().enumerate().take(network.stations.len()) {
        if busy >= FULL && most.is_none_or(|(_, most)| busy > most) {
            most = Some((place, busy));
        }
    }
    most.map(|(place, _)| place)
}

fn said(fault: Fault) -> &'static str {
    match fault {
        Fault::Crash { .. } => "crash",
        Fault::Zone { .. } => "loss of a zone",
        Fault::Slow { .. } => "slowness",
        Fault::Failover => "failover",
        Fault::Deploy => "deploy",
        Fault::Cold => "cold cache",
        Fault::Loss { .. } => "loss on its links",
        Fault::Kick { .. } => "more published",
    }
}

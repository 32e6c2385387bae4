//! Why a plan keeps its contract or does not: where events wait, what is the cause, where the error budget went, and whether
//! it comes back after too much.
//!
//! ```text
//!   stack     where those near the percentile were: shows, proves nothing
//!   cause     the same run without one thing: proves
//!   account   which minutes were bad, and what had happened
//!   kick      too much for a few minutes: does it recover?
//! ```

mod account;
mod cause;
mod kick;
mod stack;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::{
    account::{Account, Line, account},
    cause::{Cause, Removed},
    kick::{Kick, kick},
    stack::{Layer, Stack, stacks},
};
use crate::{
    judge::{Clause, Fidelity, Judgement, Promise, Verdict, What},
    network::Station,
    plan::Plan,
};

/// How deep it is looked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Depth {
    /// Of the pairs that prove a cause.
    pub fidelity: Fidelity,
    pub pairs: u32,
    /// Station visits of one hybrid run.
    pub visits: f64,
    /// What is run in pairs of each clause that does not hold.
    pub candidates: usize,
    /// The kick: so much is published, for so many seconds.
    pub kick_factor: f64,
    pub kick_seconds: f64,
}

impl Default for Depth {
    fn default() -> Self {
        Self {
            fidelity: Fidelity::Hybrid,
            pairs: 4,
            visits: 200_000.0,
            candidates: 3,
            kick_factor: 2.0,
            kick_seconds: 180.0,
        }
    }
}

/// See the module.
#[derive(Debug, Clone, Serialize)]
pub struct Why {
    pub clauses: Vec<ClauseWhy>,
    pub stacks: Vec<Stack>,
    pub account: Account,
    /// None if nobody comes.
    pub kick: Option<Kick>,
}

/// One clause, and what it owes to what.
#[derive(Debug, Clone, Serialize)]
pub struct ClauseWhy {
    pub promise: Promise,
    pub standing: Verdict,
    /// The most first.
    pub causes: Vec<Cause>,
    pub sentence: String,
}

/// How far it is: so many of so many trials of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Progress {
    pub part: Part,
    pub done: u32,
    /// 0 while it is not known.
    pub of: u32,
}

/// What takes its time, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Everything that may be to blame is taken out once, on the fluid.
    Screen,
    /// Runs, with and without what moved most there.
    Pairs,
    Kick,
}

/// One run of a kick is watched minute by minute, and there is but one: it may take so many times the visits.
const KICK_VISITS: f64 = 5.0;

/// Finds out why.
pub fn why(plan: &Plan, judgement: &Judgement, depth: &Depth) -> Why {
    why_telling(plan, judgement, depth, &mut |_| {})
}

/// The same, and tells how far it is: it may take seconds.
pub fn why_telling(plan: &Plan, judgement: &Judgement, depth: &Depth, tell: &mut dyn FnMut(Progress)) -> Why {
    let network = &judgement.network;
    let (causes, runs) = cause::causes(plan, network, &judgement.clauses, depth, tell);
    tell(Progress {
        part: Part::Kick,
        done: 0,
        of: 1,
    });
    let clauses = judgement.clauses.iter().zip(causes);
    Why {
        clauses: clauses
            .map(|(clause, causes)| ClauseWhy {
                promise: clause.promise.clone(),
                standing: clause.standing,
                sentence: sentence(clause, &causes),
                causes,
            })
            .collect(),
        stacks: stacks(plan, network, &judgement.outcome),
        account: account::account(plan, network, &runs),
        kick: kick(
            network,
            depth.kick_factor,
            depth.kick_seconds,
            KICK_VISITS * depth.visits,
        ),
    }
}

/// `chat p95 is 184 ms, 120 ms allowed: 131 ms of them because of the wait for worker; without it, it is 52 ms.`
fn sentence(clause: &Clause, causes: &[Cause]) -> String {
    let promise = &clause.promise;
    let Some(measured) = clause.measured else {
        return format!("{}: there was nothing to measure.", promise.name());
    };
    let allowed = match promise.what {
        What::Uptime => "promised",
        What::Latency | What::Budget | What::Loss | What::Reconnect => "allowed",
    };
    let is = format!(
        "{} is {}, {} {allowed}",
        promise.name(),
        promise.say(measured),
        promise.say(promise.promised)
    );
    if clause.standing == Verdict::Holds {
        return format!("{is}: it holds.");
    }
    match causes.iter().find(|cause| cause.is_proven) {
        None => format!("{is}: nothing that was taken out makes it better for sure."),
        Some(cause) => {
            let lost = match promise.what {
                What::Uptime => format!("{} are lost", promise.say(cause.gain)),
                What::Latency | What::Budget | What::Loss | What::Reconnect => {
                    format!("{} of it are", promise.say(cause.gain))
                }
            };
            format!(
                "{is}: {lost} because of {}; without it, it is {}.",
                cause.removed.words(),
                promise.say(cause.after)
            )
        }
    }
}

/// The id of a station's node; its own name, if it stands for none.
fn node_name(plan: &Plan, station: &Station) -> String {
    plan.topology
        .nodes
        .get(station.node as usize)
        .map_or_else(|| station.name.clone(), |node| node.id.clone())
}

impl Kick {
    /// In words.
    pub fn sentence(&self) -> String {
        let kick = format!(
            "{:.0} users, {} times as much for {}",
            self.users,
            self.factor,
            crate::judge::words::time(self.seconds)
        );
        match (self.is_down_before, self.recovers_after_s, self.users_to_recover) {
            (true, ..) => format!("{kick}: it does not carry them before any kick."),
            (false, Some(after), _) if after <= 0.0 => format!("{kick}: it recovers at once."),
            (false, Some(after), _) => {
                format!("{kick}: it recovers within {}.", crate::judge::words::time(after))
            }
            (false, None, Some(users)) if users < 1.0 => format!(
                "{kick}: it does not recover by itself, nor within {} of all users' leaving.",
                crate::judge::words::time(self.watched_s)
            ),
            (false, None, Some(users)) => {
                format!("{kick}: it does not recover by itself; it must fall to {users:.0} users.")
            }
            (false, None, None) => format!("{kick}: it does not recover by itself."),
        }
    }
}

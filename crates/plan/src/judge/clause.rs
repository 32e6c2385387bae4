//! A contract clause by clause: what was promised, and what runs say about it.
//!
//! What is measured, and how: nothing here decides when enough was measured (see `judge`).

use serde::Serialize;

use super::{Settle, Verdict, spread::Spread, words};
use crate::{histogram::Histogram, outcome::Outcome, plan::Plan};

/// One thing that was promised.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Promise {
    pub what: What,
    /// Of all classes if none.
    pub class: Option<String>,
    /// Of a latency or of a reconnect.
    pub percentile: Option<f64>,
    pub promised: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A share; at least.
    Uptime,
    /// Seconds; at most.
    Latency,
    /// Money a month; at most.
    Budget,
    /// A share of the deliveries; at most.
    Loss,
    /// Seconds in which those who were cut off are back; at most.
    Reconnect,
}

/// What was promised, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Clause {
    #[serde(flatten)]
    pub promise: Promise,
    /// Of all runs together; none if there was nothing to measure.
    pub measured: Option<f64>,
    /// What was measured is within what was promised.
    pub is_kept: bool,
    /// Where it is, with the confidence that was asked for; none of a single run.
    pub interval: Option<[f64; 2]>,
    pub standing: Verdict,
    /// The chance that it holds, by what is known now; none of a single run.
    pub probability: Option<f64>,
    /// Runs that measured it, and those of them in which it was kept.
    pub runs: u32,
    pub runs_kept: u32,
    /// What would tell, of one that is too close.
    pub settle: Option<Settle>,
}

/// Those who were cut off are back when so many of them are.
const RECONNECT_SHARE: f64 = 0.95;

impl Promise {
    /// All of a contract, in the order it is read.
    pub fn all_of(plan: &Plan) -> Vec<Self> {
        let contract = &plan.contract;
        let promise = |what, promised| Self {
            what,
            class: None,
            percentile: None,
            promised,
        };
        let mut promises = vec![promise(What::Uptime, contract.uptime)];
        promises.extend(contract.latency.iter().map(|target| Self {
            class: target.class.clone(),
            percentile: Some(target.percentile),
            ..promise(What::Latency, target.within)
        }));
        promises.push(promise(What::Budget, contract.budget));
        promises.extend(contract.loss.map(|loss| promise(What::Loss, loss)));
        promises.extend(contract.reconnect.map(|reconnect| Self {
            percentile: Some(RECONNECT_SHARE),
            ..promise(What::Reconnect, reconnect)
        }));
        promises
    }

    /// What runs that were added up come to; `monthly` is their bill. None where there is nothing to measure.
    pub fn measure(&self, plan: &Plan, outcome: &Outcome, monthly: Option<f64>) -> Option<f64> {
        match self.what {
            What::Uptime => Some(outcome.uptime(plan.contract.weigh)),
            What::Latency => outcome.latency(self.class.as_deref(), self.percentile?),
            What::Budget => monthly,
            What::Loss => {
                let delivered: f64 = outcome.classes.iter().map(|class| class.delivered).sum();
                let lost: f64 = outcome.classes.iter().map(|class| class.lost).sum();
                (delivered + lost > 0.0).then(|| lost / (delivered + lost))
            }
            What::Reconnect => outcome.reconnect_s.quantile(self.percentile?),
        }
    }

    /// Whether a figure is within what was promised.
    pub fn is_kept_by(&self, figure: f64) -> bool {
        match self.what {
            What::Uptime => figure >= self.promised,
            What::Latency | What::Budget | What::Loss | What::Reconnect => figure <= self.promised,
        }
    }

    /// How much better one figure is than another, in the clause's own unit: of uptime more, of all else less.
    pub fn gain(&self, before: f64, after: f64) -> f64 {
        match self.what {
            What::Uptime => after - before,
            What::Latency | What::Budget | What::Loss | What::Reconnect => before - after,
        }
    }

    /// What reports call it: `uptime`, `chat p95`, `bill`, `loss`, `reconnect p95`.
    pub fn name(&self) -> String {
        match self.what {
            What::Uptime => "uptime".to_owned(),
            What::Latency => {
                let class = self.class.as_deref().unwrap_or("all");
                format!("{class} {}", words::percentile(self.percentile.unwrap_or(0.0)))
            }
            What::Budget => "bill".to_owned(),
            What::Loss => "loss".to_owned(),
            What::Reconnect => format!("reconnect {}", words::percentile(RECONNECT_SHARE)),
        }
    }

    /// A figure of it in words: `184 ms`, `99.93 %`, `612.40`.
    pub fn say(&self, figure: f64) -> String {
        match self.what {
            What::Uptime | What::Loss => words::share(figure),
            What::Latency | What::Reconnect => words::time(figure),
            What::Budget => words::money(figure),
        }
    }

    /// The times that a percentile is of; none of what is no percentile.
    pub(super) fn times(&self, outcome: &Outcome) -> Option<Histogram> {
        match self.what {
            What::Latency => {
                let mut times = Histogram::default();
                for class in &outcome.classes {
                    if self.class.as_ref().is_none_or(|name| *name == class.name) {
                        times.merge(&class.latency_s);
                    }
                }
                Some(times)
            }
            What::Reconnect => Some(outcome.reconnect_s.clone()),
            What::Uptime | What::Budget | What::Loss => None,
        }
    }

    /// The spread of a figure that a model computes once, and is off by about so much of it: of the bad time, of a latency.
    pub(super) fn spread_of_model(&self, figure: f64, part: f64) -> Spread {
        let error = match self.what {
            What::Uptime => (1.0 - figure) * part,
            What::Latency | What::Loss | What::Reconnect => figure * part,
            // Machines are counted; only what is used is not sure.
            What::Budget => figure * part / 10.0,
        };
        Spread::of_model(figure, error)
    }

    /// On which side of what was promised an interval lies.
    pub(super) fn standing(&self, [low, high]: [f64; 2]) -> Verdict {
        match (self.is_kept_by(low), self.is_kept_by(high)) {
            (true, true) => Verdict::Holds,
            (false, false) => Verdict::Breaks,
            (true, false) | (false, true) => Verdict::TooClose,
        }
    }
}

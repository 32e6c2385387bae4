//! What runs say about one clause: where its figure is, the chance that it is within what was promised, and the runs that
//! would tell.
//!
//! A percentile q of weighted runs: of any time, the share of all events within it has a spread over the runs. The
//! times of which it cannot be told whether q of all are within them are the interval (C. Francisco and W. Fuller, 1991). A
//! run that went wrong moves such a share by its own part, however long its waits were, which a mean of percentiles
//! would not survive. Ends are widened by half a place of the histogram. The chance is that of the share
//! within what was promised.

use super::{
    clause::{Promise, What},
    spread::Spread,
};
use crate::histogram::{Histogram, RESOLUTION};

/// A clause's figure of each run.
#[derive(Debug, Clone)]
pub(super) enum Each {
    Figures(Vec<f64>),
    Times(Vec<Histogram>),
}

/// How sure one wants to be, in how many looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sureness {
    pub confidence: f64,
    pub looks: u32,
}

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Estimate {
    pub interval: [f64; 2],
    pub probability: f64,
    /// Runs in all that would tell; none if no number would.
    pub runs: Option<u32>,
}

impl Each {
    /// Of a promise, before any run.
    pub fn of(promise: &Promise) -> Self {
        match promise.what {
            What::Uptime | What::Budget | What::Loss => Self::Figures(Vec::new()),
            What::Latency | What::Reconnect => Self::Times(Vec::new()),
        }
    }

    /// Runs that had a figure, and those of them in which the promise was kept.
    pub fn count(&self, promise: &Promise) -> (u32, u32) {
        let (mut runs, mut kept) = (0, 0);
        let mut count = |figure: f64| {
            runs += 1;
            kept += u32::from(promise.is_kept_by(figure));
        };
        match self {
            Self::Figures(figures) => figures.iter().copied().for_each(&mut count),
            Self::Times(times) => times
                .iter()
                .filter_map(|times| times.quantile(promise.percentile.unwrap_or(0.0)))
                .for_each(&mut count),
        }
        (runs, kept)
    }

    /// What they say, of the figure of all; `variance` is what one run's has at least. None of fewer than two runs.
    pub fn estimate(
        &self,
        promise: &Promise,
        measured: f64,
        variance: f64,
        sureness: Sureness,
    ) -> Option<Estimate> {
        match self {
            Self::Figures(figures) => {
                let spread = Spread::of(measured, figures)?.widened(variance, figures.len());
                Some(Estimate::of_figure(promise, &spread, sureness))
            }
            Self::Times(times) => of_times(promise, times, measured, sureness),
        }
    }
}

impl Estimate {
    /// Of a figure with a spread.
    pub fn of_figure(promise: &Promise, spread: &Spread, sureness: Sureness) -> Self {
        let Sureness { confidence, looks } = sureness;
        let most = match promise.what {
            What::Uptime | What::Loss => 1.0,
            What::Latency | What::Budget | What::Reconnect => f64::MAX,
        };
        Self {
            interval: spread.interval(confidence, looks).map(|end| end.clamp(0.0, most)),
            probability: match promise.what {
                What::Uptime => spread.at_least(promise.promised),
                What::Latency | What::Budget | What::Loss | What::Reconnect => {
                    spread.at_most(promise.promised)
                }
            },
            runs: spread.runs_to_tell(promise.promised, confidence, looks),
        }
    }
}

fn of_times(promise: &Promise, times: &[Histogram], measured: f64, sureness: Sureness) -> Option<Estimate> {
    let Sureness { confidence, looks } = sureness;
    let share = promise.percentile?;
    let within = |seconds: f64| -> Option<Spread> {
        let each = times.iter().map(|run| (run.len(), run.share_within(seconds)));
        Spread::of_shares(&each.collect::<Vec<_>>())
    };
    let mut all = Histogram::default();
    for run in times {
        all.merge(run);
    }
    // How far above the share it is, or may be, for all that is known.
    let above = |seconds: f64, sign: f64| {
        within(seconds).map_or(0.0, |spread| {
            spread.figure - share + sign * spread.half(confidence, looks)
        })
    };
    within(measured)?;
    let (least, most) = (all.quantile(0.0)?, all.quantile(1.0)?);
    let high = first(measured, most, |seconds| above(seconds, -1.0) >= 0.0);
    let low = first(least, measured, |seconds| above(seconds, 1.0) >= 0.0);
    let promised = within(promise.promised)?;
    Some(Estimate {
        interval: [
            low.min(measured) * (1.0 - RESOLUTION),
            high.max(measured) * (1.0 + RESOLUTION),
        ],
        probability: promised.at_least(share),
        runs: promised.runs_to_tell(share, confidence, looks),
    })
}

/// The first time from `low` to `high` that passes, if those above it do, too; `high` if none does.
fn first(low: f64, high: f64, passes: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (low, high.max(low));
    // Each halves the places between: of 2,550 nothing is left but parts of one.
    for _ in 0..16 {
        let middle = f64::sqrt(low * high);
        if passes(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

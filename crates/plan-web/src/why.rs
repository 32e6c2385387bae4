//! Why a plan keeps its contract or does not: what each clause owes to what, by pairs of runs, and the kick test.
//!
//! Where events wait and where the error budget went come with every run; what is asked for here takes seconds more.

use serde::Serialize;
use tidegate_plan::{
    judge::{Fidelity, Promise, Verdict},
    why::{Cause, ClauseWhy, Depth, Kick, why_telling},
};

use crate::{Tell, Told, verdict::Judged};

/// See the module.
#[derive(Debug, Serialize)]
pub struct Explained {
    clauses: Vec<Clause>,
    /// None if nobody comes.
    kick: Option<Kicked>,
}

#[derive(Debug, Serialize)]
struct Clause {
    #[serde(flatten)]
    promise: Promise,
    standing: Verdict,
    sentence: String,
    /// The most first; what is not proven is told too, and called so.
    causes: Vec<Shown>,
}

/// A cause, and what is taken out in words.
#[derive(Debug, Serialize)]
struct Shown {
    words: String,
    before: f64,
    after: f64,
    gain: f64,
    interval: Option<[f64; 2]>,
    would_hold: bool,
    fidelity: Fidelity,
    is_proven: bool,
}

#[derive(Debug, Serialize)]
struct Kicked {
    #[serde(flatten)]
    kick: Kick,
    sentence: String,
}

/// Finds out why.
pub fn explain(judged: &Judged, depth: &Depth, tell: Tell<'_>) -> Explained {
    let why = why_telling(&judged.plan, &judged.judgement, depth, &mut |progress| {
        tell(&Told::Explaining(progress));
    });
    Explained {
        clauses: why.clauses.into_iter().map(Clause::from).collect(),
        kick: why.kick.map(|kick| Kicked {
            sentence: kick.sentence(),
            kick,
        }),
    }
}

impl From<ClauseWhy> for Clause {
    fn from(why: ClauseWhy) -> Self {
        Self {
            promise: why.promise,
            standing: why.standing,
            sentence: why.sentence,
            causes: why.causes.into_iter().map(Shown::from).collect(),
        }
    }
}

impl From<Cause> for Shown {
    fn from(cause: Cause) -> Self {
        Self {
            words: cause.removed.words(),
            before: cause.before,
            after: cause.after,
            gain: cause.gain,
            interval: cause.interval,
            would_hold: cause.would_hold,
            fidelity: cause.fidelity,
            is_proven: cause.is_proven,
        }
    }
}

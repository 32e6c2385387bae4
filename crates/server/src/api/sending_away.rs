//! `POST /v1/drain` and `POST /v1/rebalance`: clients are told to come back later.
//!
//! A drain is carried out by whoever owns the server, as on SIGTERM: here it is only asked
//! for. A rebalance is the shards' own affair.

use std::{sync::atomic::Ordering, time::Duration};

use axum::{extract::State as Extract, response::IntoResponse};
use serde::Deserialize;
use serde_json::json;
use tidegate_core::drain::{ComeBack, Pacing};
use tidegate_wire::{Reject, RejectCode};
use tracing::info;

use super::{
    State,
    problem::Problem,
    routes::{Answered, Shared, Whole, ask_shards, read},
};
use crate::control::ShardCommand;

/// Longest time over which clients come back, as for `drain.within`.
const WITHIN_MAX: Duration = Duration::from_secs(3_600);
/// When a probe may ask again; by then the process may be gone.
const RETRY_MS: u32 = 1_000;

#[derive(Deserialize, Default)]
struct DrainBody {
    within_ms: Option<u64>,
}

#[derive(Deserialize)]
struct RebalanceBody {
    /// Of a hundred sessions.
    share: u8,
    within_ms: Option<u64>,
}

/// Why not, while all are being sent away.
pub(super) fn refuse_while_draining(state: &State) -> Result<(), Problem> {
    match state.is_draining.load(Ordering::Relaxed) {
        true => Err(draining()),
        false => Ok(()),
    }
}

fn draining() -> Problem {
    Reject::retry(
        RejectCode::Draining,
        RETRY_MS,
        "the server sends its clients away and ends",
    )
    .into()
}

fn within(state: &State, asked_ms: Option<u64>) -> Result<Duration, Problem> {
    match asked_ms.map(Duration::from_millis) {
        None => Ok(state.drain.within),
        Some(asked) if asked <= WITHIN_MAX => Ok(asked),
        Some(_) => Err(Problem::bad_request(format!(
            "`within_ms` is at most {}",
            WITHIN_MAX.as_millis()
        ))),
    }
}

pub(super) async fn drain(Extract(state): Shared, Whole { body, .. }: Whole) -> Answered {
    let asked: DrainBody = match body.is_empty() {
        true => DrainBody::default(),
        false => read(&body)?,
    };
    let within = within(&state, asked.within_ms)?;
    refuse_while_draining(&state)?;
    // It holds one wish; a second before that is heard is the same one.
    state.want_drain.try_send(within).map_err(|_| draining())?;
    info!(
        within_ms = within.as_millis() as u64,
        "asked to drain by the HTTP API"
    );
    let come_back = match state.drain.come_back {
        ComeBack::Here { .. } => "here",
        ComeBack::Elsewhere => "elsewhere",
    };
    let answer = json!({"within_ms": within.as_millis() as u64, "come_back": come_back});
    Ok(axum::Json(answer).into_response())
}

pub(super) async fn rebalance(Extract(state): Shared, Whole { body, .. }: Whole) -> Answered {
    let asked: RebalanceBody = read(&body)?;
    if !(1..=100).contains(&asked.share) {
        return Err(Problem::bad_request(
            "`share` is 1 to 100: so many of a hundred sessions",
        ));
    }
    let pacing = Pacing {
        within: within(&state, asked.within_ms)?,
        per_second: state.drain.reconnects_per_second,
        shards: state.shards.len() as u16,
    };
    refuse_while_draining(&state)?;
    let told = ask_shards(&state, |reply| ShardCommand::Rebalance {
        percent: asked.share,
        pacing,
        reply,
    });
    let told = told.await?;
    let sessions: u32 = told.iter().map(|slots| slots.sessions).sum();
    let window = told.iter().map(|slots| slots.window).max().unwrap_or_default();
    let window_ms = window.as_millis() as u64;
    info!(sessions, window_ms, "sends a share of its sessions away");
    Ok(axum::Json(json!({"sessions": sessions, "window_ms": window_ms})).into_response())
}

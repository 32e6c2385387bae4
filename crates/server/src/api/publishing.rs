//! `POST /v1/publish`, `/v1/batch` and `/v1/broadcast`: what a backend publishes.
//!
//! All of a batch is submitted, in order, before the first answer is awaited; and one deadline is for all of it.

use axum::{Extension, body::Bytes, extract::State as Extract, http::HeaderMap, response::IntoResponse};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tidegate_core::{
    admission::{Class, Marks},
    policy::unknown_namespace,
    request::{Event, NewPublication, Request as EngineRequest, Source},
};
use tidegate_wire::{
    Payload, Reject, RejectCode, json as wire_json,
    publication::{KEY_BYTES_MAX, MSG_ID_BYTES_MAX},
};
use tokio::time::Instant;

use super::{
    State,
    engine::{Answer, EngineClient},
    problem::Problem,
    routes::{Answered, Caller, Shared, Whole, read, room_name, unexpected},
};

/// Publications in one batch, rooms in one broadcast.
const BATCH_MAX: usize = 1_000;
/// Longest `Idempotency-Key`: with a batch's index behind it, it is a message id.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 56;
/// When to publish again while memory is short.
const SHED_RETRY_MS: u32 = 2_000;

#[derive(Deserialize)]
struct PublishBody<'a> {
    room: String,
    lane: Option<String>,
    #[serde(borrow, default, deserialize_with = "wire_json::present")]
    data: Option<&'a RawValue>,
    bytes: Option<String>,
    #[serde(default)]
    delete: bool,
    #[serde(default)]
    msg: String,
    #[serde(default)]
    key: String,
    #[serde(default)]
    from: String,
}

#[derive(Deserialize)]
struct BatchBody<'a> {
    #[serde(borrow)]
    publications: Vec<PublishBody<'a>>,
}

#[derive(Deserialize)]
struct BroadcastBody<'a> {
    rooms: Vec<String>,
    lane: Option<String>,
    #[serde(borrow, default, deserialize_with = "wire_json::present")]
    data: Option<&'a RawValue>,
    bytes: Option<String>,
    #[serde(default)]
    delete: bool,
    #[serde(default)]
    msg: String,
    #[serde(default)]
    key: String,
    #[serde(default)]
    from: String,
}

/// The message id that an `Idempotency-Key` stands for.
fn idempotency(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = value
        .to_str()
        .ok()
        .filter(|key| (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()));
    match key {
        Some(key) => Ok(Some(key.to_owned())),
        None => {
            let detail = format!("Idempotency-Key is 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible characters");
            Err(Problem::bad_request(detail))
        }
    }
}

pub(super) async fn publish(
    Extract(state): Shared,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Whole { body, deadline }: Whole,
) -> Answered {
    let mut publish: PublishBody = read(&body)?;
    if let Some(key) = idempotency(&headers)? {
        publish.msg = key;
    }
    let publication = new_publication(&state, &caller, &publish)?;
    let answer = submit(&state, publication)?;
    let published = published(&state.engine, answer, deadline).await?;
    Ok(axum::Json(published).into_response())
}

pub(super) async fn batch(
    Extract(state): Shared,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Whole { body, deadline }: Whole,
) -> Answered {
    let mut batch: BatchBody = read(&body)?;
    bounded("publications", batch.publications.len())?;
    if let Some(key) = idempotency(&headers)? {
        for (place, publish) in batch.publications.iter_mut().enumerate() {
            publish.msg = format!("{key}#{place}");
        }
    }
    let publications = batch
        .publications
        .iter()
        .map(|publish| new_publication(&state, &caller, publish));
    all(&state, publications.collect(), deadline).await
}

pub(super) async fn broadcast(
    Extract(state): Shared,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Whole { body, deadline }: Whole,
) -> Answered {
    let mut broadcast: BroadcastBody = read(&body)?;
    bounded("rooms", broadcast.rooms.len())?;
    if let Some(key) = idempotency(&headers)? {
        broadcast.msg = key;
    }
    let publications = broadcast.rooms.into_iter().map(|room| {
        let publish = PublishBody {
            room,
            lane: broadcast.lane.clone(),
            data: broadcast.data,
            bytes: broadcast.bytes.clone(),
            delete: broadcast.delete,
            msg: broadcast.msg.clone(),
            key: broadcast.key.clone(),
            from: broadcast.from.clone(),
        };
        new_publication(&state, &caller, &publish)
    });
    all(&state, publications.collect(), deadline).await
}

fn bounded(what: &str, len: usize) -> Result<(), Problem> {
    match (1..=BATCH_MAX).contains(&len) {
        true => Ok(()),
        false => Err(Problem::bad_request(format!(
            "`{what}` has {len} items; 1 to {BATCH_MAX} are possible"
        ))),
    }
}

/// All are submitted, in order, before the first answer is awaited.
async fn all(
    state: &State,
    publications: Vec<Result<NewPublication, Problem>>,
    deadline: Instant,
) -> Answered {
    let answers: Vec<Result<Answer, Problem>> = publications
        .into_iter()
        .map(|publication| submit(state, publication?))
        .collect();
    let results = results(&state.engine, answers, deadline).await;
    Ok(axum::Json(json!({ "results": results })).into_response())
}

/// The answers so far as they come by the deadline, which is one for all.
async fn results(
    engine: &EngineClient,
    answers: Vec<Result<Answer, Problem>>,
    deadline: Instant,
) -> Vec<Value> {
    let mut results = Vec::with_capacity(answers.len());
    for answer in answers {
        let result = match answer {
            Ok(answer) => published(engine, answer, deadline).await,
            Err(problem) => Err(problem),
        };
        results.push(match result {
            Ok(ok) => json!({ "ok": ok }),
            Err(problem) => json!({ "problem": problem.to_json() }),
        });
    }
    results
}

fn new_publication(
    state: &State,
    caller: &Caller,
    publish: &PublishBody<'_>,
) -> Result<NewPublication, Problem> {
    let room = room_name(&publish.room)?;
    let Some(policy) = state.policies.get(room.namespace()) else {
        return Err(unknown_namespace(&room).into());
    };
    let data: Payload = match publish.delete {
        true => wire_json::delete(publish.data.is_some() || publish.bytes.is_some(), &publish.key),
        false => wire_json::payload(publish.data, publish.bytes.as_deref()),
    }
    .map_err(Problem::bad_request)?;
    let lane = publish.lane.as_deref().map(wire_json::lane).transpose();
    let lane = lane.map_err(Problem::bad_request)?;
    policy.check_publish(lane, &data)?;
    let text = |name: &str, text: &str, max: usize| match text.len() <= max {
        true => Ok(Bytes::copy_from_slice(text.as_bytes())),
        false => Err(Problem::bad_request(format!(
            "`{name}` has {} bytes; at most {max}",
            text.len()
        ))),
    };
    let from = match publish.from.is_empty() {
        // Keeps the ids of different callers apart, and says who it was.
        true => Bytes::from(format!("api:{}", caller.0)),
        false => text("from", &publish.from, 256)?,
    };
    let now_us = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Ok(NewPublication {
        lane,
        data,
        from,
        msg: text("msg", &publish.msg, MSG_ID_BYTES_MAX)?,
        key: text("key", &publish.key, KEY_BYTES_MAX)?,
        sent_us: 0,
        received_us: now_us.as_micros() as u64,
        source: Source::Backend,
        room,
    })
}

fn submit(state: &State, publication: NewPublication) -> Result<Answer, Problem> {
    // The last that a shard sheds, too: it says the same to its clients.
    if state.memory.pressure().share() >= Marks::default().refuse[Class::Publish as usize] {
        let detail = "the server is short of memory";
        return Err(Reject::retry(RejectCode::Overloaded, SHED_RETRY_MS, detail).into());
    }
    let publish = Box::new(publication);
    let answer = state
        .engine
        .submit(|ticket| EngineRequest::Publish { ticket, publish })?;
    Ok(answer)
}

async fn published(engine: &EngineClient, answer: Answer, deadline: Instant) -> Result<Value, Problem> {
    match engine.answer(answer, deadline).await? {
        Event::Published { result, .. } => {
            let published = result?;
            Ok(json!({
                "epoch": published.position.epoch.to_string(),
                "offset": published.position.offset,
                "duplicate": published.duplicate,
            }))
        }
        other => Err(unexpected(&other)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidegate_wire::RoomName;

    use super::*;

    #[test]
    fn answers_that_do_not_come_are_timeouts_by_one_deadline_for_all() {
        let (_engine, mut ports) = tidegate_engine::Engine::start(
            &tidegate_engine::EngineConfig::Memory,
            Vec::new(),
            Default::default(),
            std::time::Instant::now(),
            vec![Box::new(|| ())],
        )
        .expect("an engine in memory");
        // Nobody drains the answers, so none comes.
        let client = EngineClient::new(ports.remove(0));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        let began = std::time::Instant::now();
        let results = runtime.block_on(async {
            let room = RoomName::parse("chat:a").expect("a room");
            let limit = 1;
            let presence = |ticket| EngineRequest::Presence {
                ticket,
                room: room.clone(),
                limit,
            };
            let answers = (0..1_000).map(|_| Ok(client.submit(presence)?)).collect();
            results(&client, answers, Instant::now() + Duration::from_millis(50)).await
        });
        // With a time for each it would be fifty seconds.
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        assert_eq!(results.len(), 1_000);
        assert!(
            results
                .iter()
                .all(|result| result["problem"]["name"] == "timeout")
        );
    }
}

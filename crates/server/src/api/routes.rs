//! The API's routes. Each handler reads its request, asks the engine or the shards, answers.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    extract::{DefaultBodyLimit, FromRequest, MatchedPath, Path, Query, Request, State as Extract},
    http::{HeaderMap, Method, Response, StatusCode, header},
    middleware::{self, Next},
    response::IntoResponse,
    routing::{MethodRouter, any, get, post},
};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tidegate_core::{
    policy::unknown_namespace,
    request::{Event, HistoryQuery, Request as EngineRequest, StateQuery},
    shard::RoomOrder,
};
use tidegate_engine::Health;
use tidegate_wire::{Codec, Position, Reject, RejectCode, RoomName, frame::Ok as Reply, json as wire_json};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{
    State, assets, metrics,
    problem::Problem,
    publishing::{batch, broadcast, publish},
    sending_away::{drain, rebalance, refuse_while_draining},
};
use crate::{auth::Scope, control::ShardCommand, edge::handshake::TARGET};

/// Every route, with its method: held equal to the OpenAPI document by a test.
pub const ROUTES: &[(&str, &str)] = &[
    ("post", "/v1/publish"),
    ("post", "/v1/batch"),
    ("post", "/v1/broadcast"),
    ("get", "/v1/history"),
    ("get", "/v1/state"),
    ("get", "/v1/presence"),
    ("get", "/v1/rooms"),
    ("post", "/v1/disconnect"),
    ("post", "/v1/drain"),
    ("post", "/v1/rebalance"),
    ("get", "/v1/live"),
    ("get", "/v1/ready"),
    ("get", "/v1/openapi.json"),
    ("get", "/metrics"),
];

/// Rooms in one page.
const ROOMS_MAX: usize = 1_000;
/// Bytes of one history page.
const PAGE_BYTES_MAX: usize = 256 << 10;
/// Keys in one page of a state: what is asked for by default, and at most.
const STATE_DEFAULT: u32 = 200;
const STATE_MAX: u32 = 1_000;
/// A shard answers within a turn, or it is in trouble.
const SHARD_TIMEOUT: Duration = Duration::from_secs(2);

const OPENAPI: &str = include_str!("openapi.json");

pub(super) type Shared = Extract<Arc<State>>;
pub(super) type Answered = Result<Response<Body>, Problem>;

pub(super) fn router(state: Arc<State>) -> Router {
    // Who may not is told so from the head alone: a stranger cannot make us hold a body.
    let may = |scope, handler: MethodRouter<Arc<State>>| {
        handler.route_layer(middleware::from_fn_with_state((state.clone(), scope), authorize))
    };
    Router::new()
        .route("/v1/publish", may(Scope::Publish, post(publish)))
        .route("/v1/batch", may(Scope::Publish, post(batch)))
        .route("/v1/broadcast", may(Scope::Publish, post(broadcast)))
        .route("/v1/history", may(Scope::Read, get(history)))
        .route("/v1/state", may(Scope::Read, get(room_state)))
        .route("/v1/presence", may(Scope::Read, get(presence)))
        .route("/v1/rooms", may(Scope::Read, get(rooms)))
        .route("/v1/disconnect", may(Scope::Admin, post(disconnect)))
        .route("/v1/drain", may(Scope::Admin, post(drain)))
        .route("/v1/rebalance", may(Scope::Admin, post(rebalance)))
        .route("/v1/live", get(async || "live\n"))
        .route("/v1/ready", get(ready))
        .route("/v1/openapi.json", get(openapi))
        .route("/metrics", may(Scope::Read, get(scrape)))
        .route(TARGET, any(no_upgrade))
        .route("/", get(index))
        .route("/{*path}", get(page))
        .method_not_allowed_fallback(wrong_method)
        .fallback(not_found)
        .layer(DefaultBodyLimit::max(state.body_bytes_max))
        .layer(middleware::from_fn_with_state(state.clone(), count))
        .with_state(state)
}

async fn count(Extract(state): Shared, request: Request, next: Next) -> Response<Body> {
    let method = request.method().clone();
    // The template, not the path: strangers must not choose a label's values.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("other", MatchedPath::as_str);
    state
        .requests
        .count(method.as_str(), route, response.status().as_u16());
    response
}

async fn wrong_method(method: Method) -> Problem {
    let detail = format!("{method} is not answered here");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "wrong method", detail)
}

async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no such route", "see /v1/openapi.json")
}

/// The shards open WebSockets, and a connection that came here does not go back to them.
async fn no_upgrade() -> Response<Body> {
    let detail = "this connection already served HTTP; open a WebSocket on a new connection";
    let problem = Problem::new(StatusCode::UPGRADE_REQUIRED, "not on this connection", detail);
    let headers = [(header::UPGRADE, "websocket"), (header::CONNECTION, "close")];
    (headers, problem).into_response()
}

/// A request's body, bounded in size and in time.
pub(super) struct Whole {
    pub(super) body: Bytes,
    /// When the answer is due, the time for the body included.
    pub(super) deadline: Instant,
}

impl FromRequest<Arc<State>> for Whole {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Arc<State>) -> Result<Self, Problem> {
        let too_large = || {
            let detail = "the body is above `limits.http_body_bytes_max`";
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large", detail)
        };
        // A length that is told is believed; the layer's limit is for those that are not.
        if request.body().size_hint().lower() > state.body_bytes_max as u64 {
            return Err(too_large());
        }
        let deadline = state.deadline();
        match timeout_at(deadline, Bytes::from_request(request, state)).await {
            Ok(Ok(body)) => Ok(Self { body, deadline }),
            Ok(Err(why)) if why.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(too_large()),
            Ok(Err(why)) => Err(Problem::bad_request(why.body_text())),
            Err(_) => {
                let detail = "the body did not come within `limits.http_request_timeout`";
                Err(Problem::new(
                    StatusCode::REQUEST_TIMEOUT,
                    "the body is too slow",
                    detail,
                ))
            }
        }
    }
}

// ---- who may ---------------------------------------------------------------------

/// Who calls: the name of the API key.
#[derive(Clone)]
pub(super) struct Caller(pub(super) String);

async fn authorize(
    Extract((state, scope)): Extract<(Arc<State>, Scope)>,
    mut request: Request,
    next: Next,
) -> Answered {
    let caller = caller(&state, request.headers(), scope)?;
    request.extensions_mut().insert(caller);
    let call = state.calls.try_begin().map_err(|wait| {
        let detail = "more calls than can be answered";
        Reject::retry(RejectCode::Overloaded, wait.as_millis() as u32, detail)
    })?;
    let response = next.run(request).await;
    call.end(!response.status().is_server_error());
    Ok(response)
}

fn caller(state: &State, headers: &HeaderMap, scope: Scope) -> Result<Caller, Problem> {
    if state.api_keys.is_empty() && state.is_development {
        return Ok(Caller("development".to_owned()));
    }
    let unauthorized = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, "no valid key", detail);
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Err(unauthorized(
            "send `Authorization: Bearer <API key>`; keys are set under [api]",
        ));
    };
    let presented = value
        .to_str()
        .ok()
        .and_then(|value| value.strip_prefix("Bearer "));
    let Some(key) = presented.and_then(|presented| state.api_keys.find(presented.trim())) else {
        return Err(unauthorized("this API key is not known"));
    };
    match key.scopes.allow(scope) {
        true => Ok(Caller(key.name.clone())),
        false => {
            let detail = format!("the key {:?} lacks the scope for this", key.name);
            Err(Problem::new(StatusCode::FORBIDDEN, "not allowed", detail))
        }
    }
}

// ---- reading ---------------------------------------------------------------------

#[derive(Deserialize)]
struct HistoryParameters {
    room: String,
    since: Option<String>,
    limit: Option<u32>,
    #[serde(default)]
    reverse: bool,
}

async fn history(Extract(state): Shared, request: Request) -> Answered {
    let parameters: HistoryParameters = query(&request)?;
    let room = room_name(&parameters.room)?;
    let Some(policy) = state.policies.get(room.namespace()) else {
        return Err(unknown_namespace(&room).into());
    };
    let query = HistoryQuery {
        since: parameters.since.as_deref().map(position).transpose()?,
        limit: parameters.limit.unwrap_or(50).clamp(1, policy.history_page_max),
        bytes_max: PAGE_BYTES_MAX,
        reverse: parameters.reverse,
    };
    let answer = state
        .engine
        .submit(|ticket| EngineRequest::History { ticket, room, query })?;
    match state.engine.answer(answer, state.deadline()).await? {
        Event::History { result, .. } => ok_of_reply(Reply::History(result?)),
        other => Err(unexpected(&other)),
    }
}

#[derive(Deserialize)]
struct StateParameters {
    room: String,
    #[serde(default)]
    after: u64,
    limit: Option<u32>,
}

async fn room_state(Extract(state): Shared, request: Request) -> Answered {
    let parameters: StateParameters = query(&request)?;
    let room = room_name(&parameters.room)?;
    let Some(policy) = state.policies.get(room.namespace()) else {
        return Err(unknown_namespace(&room).into());
    };
    policy.check_state()?;
    let query = StateQuery {
        after: parameters.after,
        limit: parameters.limit.unwrap_or(STATE_DEFAULT).clamp(1, STATE_MAX),
        bytes_max: PAGE_BYTES_MAX,
    };
    let name = room.clone();
    let answer = state
        .engine
        .submit(|ticket| EngineRequest::State { ticket, room, query })?;
    let page = match state.engine.answer(answer, state.deadline()).await? {
        Event::State { result, .. } => result?,
        other => return Err(unexpected(&other)),
    };
    let head = json!({
        "room": name.as_str(),
        "epoch": page.head.epoch.to_string(),
        "offset": page.head.offset,
        "more": page.more,
    });
    let mut text = head.to_string().into_bytes();
    text.pop();
    text.extend_from_slice(b",\"publications\":[");
    for (place, publication) in page.publications.iter().enumerate() {
        if place > 0 {
            text.push(b',');
        }
        wire_json::encode_publication(publication, &mut text);
    }
    text.extend_from_slice(b"]}");
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

#[derive(Deserialize)]
struct PresenceParameters {
    room: String,
    limit: Option<u32>,
}

async fn presence(Extract(state): Shared, request: Request) -> Answered {
    let parameters: PresenceParameters = query(&request)?;
    let room = room_name(&parameters.room)?;
    let Some(policy) = state.policies.get(room.namespace()) else {
        return Err(unknown_namespace(&room).into());
    };
    let limit = parameters.limit.unwrap_or(100).min(policy.presence.members_max);
    let answer = state
        .engine
        .submit(|ticket| EngineRequest::Presence { ticket, room, limit })?;
    match state.engine.answer(answer, state.deadline()).await? {
        Event::Presence { result, .. } => ok_of_reply(Reply::Presence(result?)),
        other => Err(unexpected(&other)),
    }
}

/// The same JSON as over WebSocket: the codec writes the reply, its `ok` is the body.
fn ok_of_reply(reply: Reply) -> Answered {
    let mut bytes = Vec::new();
    Codec::Json.encode_reply(1, &Ok(reply), &mut bytes);
    #[derive(Deserialize)]
    struct Frame<'a> {
        #[serde(borrow)]
        ok: &'a RawValue,
    }
    let frame: Frame = serde_json::from_slice(&bytes).expect("our own JSON");
    Ok(json_text(frame.ok.get().to_owned()))
}

#[derive(Deserialize)]
struct RoomsParameters {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    after: String,
    #[serde(default)]
    order: Order,
    limit: Option<usize>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    #[default]
    Name,
    Share,
}

/// A room over all shards.
#[derive(Default)]
struct RoomOverall {
    /// Subscribers, by shard.
    shards: Vec<u32>,
    /// The largest share of a shard's time.
    share: f32,
    is_hot: bool,
}

async fn rooms(Extract(state): Shared, request: Request) -> Answered {
    let parameters: RoomsParameters = query(&request)?;
    let limit = parameters.limit.unwrap_or(100).clamp(1, ROOMS_MAX);
    let order = match parameters.order {
        Order::Name => RoomOrder::Name,
        Order::Share => RoomOrder::Share,
    };
    let answers = ask_shards(&state, |reply| ShardCommand::Rooms {
        prefix: parameters.prefix.clone(),
        after: parameters.after.clone(),
        order,
        limit: limit + 1,
        reply,
    });
    let answers = answers.await?;
    let shards = answers.len();
    let mut by_name: std::collections::BTreeMap<_, RoomOverall> = Default::default();
    for (shard, room) in answers
        .into_iter()
        .enumerate()
        .flat_map(|(n, rooms)| rooms.into_iter().map(move |room| (n, room)))
    {
        let overall = by_name.entry(room.name).or_default();
        overall.shards.resize(shards, 0);
        overall.shards[shard] = room.subscribers;
        overall.share = overall.share.max(room.share);
        overall.is_hot |= room.is_hot;
    }
    let more = by_name.len() > limit;
    let mut rooms: Vec<_> = by_name.into_iter().collect();
    if order == RoomOrder::Share {
        rooms.sort_by(|(_, a), (_, b)| b.share.total_cmp(&a.share));
    }
    let rooms = rooms.into_iter().take(limit).map(|(name, room)| {
        json!({
            "room": name.as_str(),
            "subscribers": room.shards.iter().sum::<u32>(),
            "shards": room.shards,
            "share": (f64::from(room.share) * 1e5).round() / 1e5,
            "hot": room.is_hot,
        })
    });
    let rooms: Vec<Value> = rooms.collect();
    Ok(axum::Json(json!({"rooms": rooms, "more": more})).into_response())
}

#[derive(Deserialize)]
struct DisconnectBody {
    user: String,
}

async fn disconnect(Extract(state): Shared, Whole { body, .. }: Whole) -> Answered {
    let DisconnectBody { user } = read(&body)?;
    if user.is_empty() {
        return Err(Problem::bad_request("`user` is empty"));
    }
    let counts = ask_shards(&state, |reply| ShardCommand::Disconnect {
        user: user.clone(),
        reply,
    });
    let connections: u32 = counts.await?.into_iter().sum();
    Ok(axum::Json(json!({ "connections": connections })).into_response())
}

/// Asks every shard, and waits for all.
pub(super) async fn ask_shards<T>(
    state: &State,
    command: impl Fn(oneshot::Sender<T>) -> ShardCommand,
) -> Result<Vec<T>, Problem> {
    let busy = || {
        Problem::from(Reject::retry(
            RejectCode::Overloaded,
            1_000,
            "a shard does not answer",
        ))
    };
    let mut answers = Vec::new();
    for shard in &state.shards {
        let (sender, receiver) = oneshot::channel();
        shard.try_send(command(sender)).map_err(|_| busy())?;
        answers.push(receiver);
    }
    let mut all = Vec::new();
    for answer in answers {
        let answer = tokio::time::timeout(SHARD_TIMEOUT, answer).await;
        all.push(answer.ok().and_then(Result::ok).ok_or_else(busy)?);
    }
    Ok(all)
}

// ---- operating -------------------------------------------------------------------

async fn ready(Extract(state): Shared) -> Answered {
    refuse_while_draining(&state)?;
    match state.watch.health() {
        Health::Ready => Ok("ready\n".into_response()),
        Health::Failing(why) => Err(Reject::retry(RejectCode::Unavailable, 1_000, why).into()),
    }
}

async fn openapi() -> Response<Body> {
    json_text(OPENAPI.to_owned())
}

async fn scrape(Extract(state): Shared) -> Answered {
    let counters = ask_shards(&state, |reply| ShardCommand::Counters { reply }).await?;
    let text = metrics::render(&metrics::Sources {
        shards: counters.into_iter().map(|counters| *counters).collect(),
        accepted: &state.accepted,
        engine: state.watch.metrics(),
        is_ready: state.watch.health() == Health::Ready,
        is_draining: state.is_draining.load(Ordering::Relaxed),
        requests: &state.requests,
        started: state.started,
        calls: state.calls.counters(),
        memory: &state.memory,
    });
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

async fn index(Extract(state): Shared, headers: HeaderMap) -> Response<Body> {
    assets::page("", state.has_demo, &headers)
}

async fn page(Extract(state): Shared, Path(path): Path<String>, headers: HeaderMap) -> Response<Body> {
    let response = assets::page(&path, state.has_demo, &headers);
    match response.status() {
        StatusCode::NOT_FOUND => not_found().await.into_response(),
        _ => response,
    }
}

// ---- small things ----------------------------------------------------------------

pub(super) fn read<'a, T: Deserialize<'a>>(body: &'a Bytes) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::bad_request(error.to_string()))
}

fn query<T: serde::de::DeserializeOwned>(request: &Request) -> Result<T, Problem> {
    let parameters = Query::<T>::try_from_uri(request.uri());
    parameters
        .map(|Query(parameters)| parameters)
        .map_err(|error| Problem::bad_request(error.body_text()))
}

pub(super) fn room_name(text: &str) -> Result<RoomName, Problem> {
    let shown: String = text.chars().take(64).collect();
    RoomName::parse(text).map_err(|error| Problem::bad_request(format!("room {shown:?}: {error}")))
}

/// `epoch:offset`.
fn position(text: &str) -> Result<Position, Problem> {
    let parsed = text.split_once(':').and_then(|(epoch, offset)| {
        Some(Position {
            epoch: epoch.parse().ok()?,
            offset: offset.parse().ok()?,
        })
    });
    parsed.ok_or_else(|| Problem::bad_request("`since` is written epoch:offset, as 9f3c5a7700e1d2b4:42"))
}

pub(super) fn unexpected(event: &Event) -> Problem {
    tracing::error!(?event, "the engine gave another answer than was asked for");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "a bug of ours",
        "the engine's answer was not understood",
    )
}

fn json_text(text: String) -> Response<Body> {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_lists_exactly_the_routes() {
        let document: Value = serde_json::from_str(OPENAPI).unwrap();
        let mut documented: Vec<(String, String)> = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                documented.push((method.clone(), path.clone()));
            }
        }
        let mut served: Vec<(String, String)> = ROUTES
            .iter()
            .map(|(method, path)| ((*method).to_owned(), (*path).to_owned()))
            .collect();
        documented.sort();
        served.sort();
        assert_eq!(documented, served);
    }
}

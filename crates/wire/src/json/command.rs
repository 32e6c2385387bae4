//! Commands: what a client sends, decoded.
//!
//! A command is read in two steps, so that a wrong body can still be answered under its id.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::DEPTH_MAX;
use crate::{
    code::{Reject, RejectCode},
    codec::{BadCommand, Malformed},
    frame::{Command, Connect, Filter, History, Join, Presence, Publish, Request, Wishes},
    lane::Lane,
    position::{Epoch, Offset, Position},
    publication::{KEY_BYTES_MAX, MSG_ID_BYTES_MAX, Payload},
    room::RoomName,
};

/// Longest client name and version in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Longest token in bytes.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// Most joins in one `connect`.
const RESUME_MAX: usize = 1_000;
/// Publications a `history` without `limit` asks for, and members a `presence`.
const LIMIT_DEFAULT: u32 = 50;
const MEMBERS_DEFAULT: u32 = 100;

/// Decodes all commands of one text message.
pub fn decode(message: &[u8], sink: &mut dyn FnMut(Result<Request, BadCommand>)) -> Result<(), Malformed> {
    let mut commands = serde_json::Deserializer::from_slice(message).into_iter::<RawRequest>();
    let mut any = false;
    for raw in &mut commands {
        any = true;
        let raw = raw.map_err(|error| Malformed(format!("not a command: {error}")))?;
        let id = raw.id;
        if id == 0 {
            return Err(Malformed("`id` is 0; ids begin at 1".into()));
        }
        let command = raw.command();
        sink(match command {
            Ok(command) => Ok(Request { id, command }),
            Err(detail) => Err(BadCommand {
                id,
                reject: Reject::new(RejectCode::Malformed, detail),
            }),
        });
    }
    match any {
        true => Ok(()),
        false => Err(Malformed("an empty message".into())),
    }
}

/// A command with its body unparsed: an id can be answered whatever the body is.
#[derive(Deserialize)]
struct RawRequest<'a> {
    id: u32,
    #[serde(borrow, default)]
    connect: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refresh: Option<&'a RawValue>,
    #[serde(borrow, default)]
    join: Option<&'a RawValue>,
    #[serde(borrow, default)]
    filter: Option<&'a RawValue>,
    #[serde(borrow, default)]
    leave: Option<&'a RawValue>,
    #[serde(borrow, default)]
    publish: Option<&'a RawValue>,
    #[serde(borrow, default)]
    history: Option<&'a RawValue>,
    #[serde(borrow, default)]
    presence: Option<&'a RawValue>,
    #[serde(borrow, default)]
    ping: Option<&'a RawValue>,
}

impl RawRequest<'_> {
    fn command(&self) -> Result<Command, String> {
        let bodies = [
            ("publish", self.publish),
            ("connect", self.connect),
            ("refresh", self.refresh),
            ("join", self.join),
            ("filter", self.filter),
            ("leave", self.leave),
            ("history", self.history),
            ("presence", self.presence),
            ("ping", self.ping),
        ];
        let mut present = bodies.into_iter().filter_map(|(name, body)| Some((name, body?)));
        let Some((name, body)) = present.next() else {
            return Err(
                "no command: one of connect, refresh, join, filter, leave, publish, history, presence, ping"
                    .into(),
            );
        };
        if let Some((other, _)) = present.next() {
            return Err(format!("both `{name}` and `{other}` in one command"));
        }
        match name {
            "publish" => parse::<RawPublish>(name, body)?.into_command(),
            "connect" => parse::<RawConnect>(name, body)?.into_command(),
            "refresh" => parse::<RawRefresh>(name, body)?.into_command(),
            "join" => Ok(Command::Join(parse::<RawJoin>(name, body)?.into_join()?)),
            "filter" => {
                let filter: RawFilter = parse(name, body)?;
                Ok(Command::Filter(Filter {
                    room: room(&filter.room)?,
                    wishes: wishes(filter.keys, filter.max_rate)?,
                }))
            }
            "leave" => Ok(Command::Leave {
                room: room(&parse::<RawLeave>(name, body)?.room)?,
            }),
            "history" => parse::<RawHistory>(name, body)?.into_command(),
            "presence" => parse::<RawPresence>(name, body)?.into_command(),
            _ => {
                let ping = parse::<RawPing>(name, body)?;
                Ok(Command::Ping { t0_ms: ping.t0 })
            }
        }
    }
}

pub(super) fn parse<'a, T: Deserialize<'a>>(name: &str, body: &'a RawValue) -> Result<T, String> {
    serde_json::from_str(body.get()).map_err(|error| format!("`{name}`: {error}"))
}

/// A string that borrows where it can.
pub(super) type Text<'a> = std::borrow::Cow<'a, str>;

pub(super) fn room(text: &str) -> Result<RoomName, String> {
    RoomName::parse(text).map_err(|error| {
        let shown: String = text.chars().take(64).collect();
        format!("`room` {shown:?}: {error}")
    })
}

/// Reads the lane of a publication.
pub fn lane(name: &str) -> Result<Lane, String> {
    Lane::of_publication(name).ok_or_else(|| {
        let shown: String = name.chars().take(64).collect();
        format!("`lane` {shown:?}: one of reliable, latest, lossy")
    })
}

fn bounded(field: &str, text: &str, bytes_max: usize) -> Result<Bytes, String> {
    match text.len() <= bytes_max {
        true => Ok(Bytes::copy_from_slice(text.as_bytes())),
        false => Err(format!("`{field}` has {} bytes; at most {bytes_max}", text.len())),
    }
}

#[derive(Deserialize)]
struct RawPosition<'a> {
    #[serde(borrow)]
    epoch: Text<'a>,
    offset: Offset,
}

impl RawPosition<'_> {
    fn into_position(self) -> Result<Position, String> {
        Ok(Position {
            epoch: epoch(&self.epoch)?,
            offset: self.offset,
        })
    }
}

pub(super) fn epoch(text: &str) -> Result<Epoch, String> {
    text.parse().map_err(|error| format!("`epoch`: {error}"))
}

#[derive(Deserialize)]
struct RawClient<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    version: Text<'a>,
}

#[derive(Deserialize)]
struct RawConnect<'a> {
    #[serde(borrow, default)]
    token: Text<'a>,
    #[serde(borrow, default)]
    client: Option<RawClient<'a>>,
    #[serde(borrow, default)]
    resume: Vec<RawResume<'a>>,
}

#[derive(Deserialize)]
struct RawResume<'a> {
    id: u32,
    #[serde(borrow)]
    room: Text<'a>,
    #[serde(borrow, default)]
    since: Option<RawPosition<'a>>,
    #[serde(default)]
    last: Option<u32>,
    #[serde(default)]
    enter: bool,
    #[serde(default)]
    members: bool,
    #[serde(borrow, default)]
    keys: Option<Vec<Text<'a>>>,
    #[serde(default)]
    max_rate: Option<f64>,
    #[serde(default)]
    state: bool,
}

impl RawConnect<'_> {
    fn into_command(self) -> Result<Command, String> {
        bounded("token", &self.token, TOKEN_BYTES_MAX)?;
        if self.resume.len() > RESUME_MAX {
            return Err(format!(
                "`resume` has {} rooms; at most {RESUME_MAX}",
                self.resume.len()
            ));
        }
        let (mut client_name, mut client_version) = (String::new(), String::new());
        if let Some(client) = self.client {
            bounded("client.name", &client.name, NAME_BYTES_MAX)?;
            bounded("client.version", &client.version, NAME_BYTES_MAX)?;
            (client_name, client_version) = (client.name.into_owned(), client.version.into_owned());
        }
        let resume = self.resume.into_iter().map(|raw| {
            if raw.id == 0 {
                return Err("`resume`: `id` is 0; ids begin at 1".to_owned());
            }
            let join = RawJoin {
                room: raw.room,
                since: raw.since,
                last: raw.last,
                enter: raw.enter,
                members: raw.members,
                keys: raw.keys,
                max_rate: raw.max_rate,
                state: raw.state,
            };
            Ok((raw.id, join.into_join()?))
        });
        Ok(Command::Connect(Connect {
            token: self.token.into_owned(),
            client_name,
            client_version,
            resume: resume.collect::<Result<_, _>>()?,
        }))
    }
}

#[derive(Deserialize)]
struct RawRefresh<'a> {
    #[serde(borrow)]
    token: Text<'a>,
}

impl RawRefresh<'_> {
    fn into_command(self) -> Result<Command, String> {
        bounded("token", &self.token, TOKEN_BYTES_MAX)?;
        Ok(Command::Refresh {
            token: self.token.into_owned(),
        })
    }
}

#[derive(Deserialize)]
struct RawJoin<'a> {
    #[serde(borrow)]
    room: Text<'a>,
    #[serde(borrow, default)]
    since: Option<RawPosition<'a>>,
    #[serde(default)]
    last: Option<u32>,
    #[serde(default)]
    enter: bool,
    #[serde(default)]
    members: bool,
    #[serde(borrow, default)]
    keys: Option<Vec<Text<'a>>>,
    #[serde(default)]
    max_rate: Option<f64>,
    #[serde(default)]
    state: bool,
}

fn wishes(keys: Option<Vec<Text<'_>>>, max_rate: Option<f64>) -> Result<Wishes, String> {
    let own = |key: Text<'_>| Bytes::copy_from_slice(key.as_bytes());
    let wishes = Wishes {
        keys: keys.map(|keys| keys.into_iter().map(own).collect()),
        max_rate,
    };
    wishes.check().map(|()| wishes)
}

#[derive(Deserialize)]
struct RawFilter<'a> {
    #[serde(borrow)]
    room: Text<'a>,
    #[serde(borrow, default)]
    keys: Option<Vec<Text<'a>>>,
    #[serde(default)]
    max_rate: Option<f64>,
}

impl RawJoin<'_> {
    fn into_join(self) -> Result<Join, String> {
        Ok(Join {
            room: room(&self.room)?,
            since: self.since.map(RawPosition::into_position).transpose()?,
            last: self.last,
            enter: self.enter,
            members: self.members,
            wishes: wishes(self.keys, self.max_rate)?,
            state: self.state,
        })
    }
}

#[derive(Deserialize)]
struct RawLeave<'a> {
    #[serde(borrow)]
    room: Text<'a>,
}

#[derive(Deserialize)]
struct RawPublish<'a> {
    #[serde(borrow)]
    room: Text<'a>,
    #[serde(borrow, default)]
    lane: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    bytes: Option<Text<'a>>,
    #[serde(borrow, default)]
    msg: Text<'a>,
    #[serde(borrow, default)]
    key: Text<'a>,
    #[serde(default)]
    sent_at: Option<f64>,
    #[serde(default)]
    delete: bool,
}

impl RawPublish<'_> {
    fn into_command(self) -> Result<Command, String> {
        Ok(Command::Publish(Publish {
            room: room(&self.room)?,
            lane: self.lane.as_deref().map(lane).transpose()?,
            data: match self.delete {
                true => delete(self.data.is_some() || self.bytes.is_some(), &self.key)?,
                false => payload(self.data, self.bytes.as_deref())?,
            },
            msg: bounded("msg", &self.msg, MSG_ID_BYTES_MAX)?,
            key: bounded("key", &self.key, KEY_BYTES_MAX)?,
            sent_us: self.sent_at.map_or(Ok(0), |ms| micros("sent_at", ms))?,
        }))
    }
}

/// Reads a field that is there: `null` is a value like any other, not an absence.
pub fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// A payload from the two fields it may come in: any JSON, or base64.
pub fn payload(data: Option<&RawValue>, bytes: Option<&str>) -> Result<Payload, String> {
    match (data, bytes) {
        (Some(data), None) => {
            check_depth(data.get().as_bytes())?;
            Ok(Payload::Json(Bytes::copy_from_slice(data.get().as_bytes())))
        }
        (None, Some(text)) => match BASE64.decode(text) {
            Ok(bytes) => Ok(Payload::Bytes(bytes.into())),
            Err(error) => Err(format!("`bytes` is not base64: {error}")),
        },
        (None, None) => Err("one of `data`, `bytes` and `delete` must be there".into()),
        (Some(_), Some(_)) => Err("both `data` and `bytes`".into()),
    }
}

/// The payload of a publish that takes its key out of the room's state.
pub fn delete(has_data: bool, key: &str) -> Result<Payload, String> {
    match (has_data, key.is_empty()) {
        (false, false) => Ok(Payload::Delete),
        (true, _) => Err("`delete` and data in one publish".into()),
        (false, true) => Err("`delete` needs a `key`".into()),
    }
}

/// Refuses well-formed JSON that is nested deeper than [`DEPTH_MAX`]. One pass, no recursion.
pub fn check_depth(json: &[u8]) -> Result<(), String> {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for &byte in json {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(format!("`data` is nested deeper than {DEPTH_MAX}"));
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// Milliseconds of a clock into microseconds; the year 10000 is far enough.
pub(super) fn micros(field: &str, ms: f64) -> Result<u64, String> {
    const MS_MAX: f64 = 253_402_300_800_000.0;
    match (0.0..MS_MAX).contains(&ms) {
        true => Ok((ms * 1_000.0).round() as u64),
        false => Err(format!("`{field}` is {ms}; milliseconds since 1970 are meant")),
    }
}

#[derive(Deserialize)]
struct RawHistory<'a> {
    #[serde(borrow)]
    room: Text<'a>,
    #[serde(borrow, default)]
    since: Option<RawPosition<'a>>,
    #[serde(default)]
    limit: Option<u32>,
    #[serde(default)]
    reverse: bool,
}

impl RawHistory<'_> {
    fn into_command(self) -> Result<Command, String> {
        Ok(Command::History(History {
            room: room(&self.room)?,
            since: self.since.map(RawPosition::into_position).transpose()?,
            limit: self.limit.unwrap_or(LIMIT_DEFAULT),
            reverse: self.reverse,
        }))
    }
}

#[derive(Deserialize)]
struct RawPresence<'a> {
    #[serde(borrow)]
    room: Text<'a>,
    #[serde(default)]
    limit: Option<u32>,
}

impl RawPresence<'_> {
    fn into_command(self) -> Result<Command, String> {
        Ok(Command::Presence(Presence {
            room: room(&self.room)?,
            limit: self.limit.unwrap_or(MEMBERS_DEFAULT),
        }))
    }
}

#[derive(Deserialize)]
struct RawPing {
    t0: f64,
}

//! The client's side: commands encoded, what a server sends decoded.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    command::{Text, delete, epoch, lane, micros, parse, payload, present, room},
    reply::{base64, bytes_string, float, millis, number, separated, string},
};
use crate::{
    code::{Reject, RejectCode},
    codec::Malformed,
    frame::{
        Command, Connected, GapReason, HistoryPage, Join, Joined, Member, Members, MembersChange, Notice,
        Ok as Reply, Part, Pong, Publish, Published, Push, Recovery, Request, ServerFrame, Wishes,
    },
    position::{Offset, Position},
    publication::{Payload, Publication, Stamps},
};

/// Appends a command.
pub fn encode_request(request: &Request, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":");
    number(request.id.into(), out);
    match &request.command {
        Command::Connect(connect) => {
            out.extend_from_slice(b",\"connect\":{\"token\":");
            string(&connect.token, out);
            out.extend_from_slice(b",\"client\":{\"name\":");
            string(&connect.client_name, out);
            out.extend_from_slice(b",\"version\":");
            string(&connect.client_version, out);
            out.extend_from_slice(b"},\"resume\":[");
            separated(&connect.resume, out, |(id, join), out| {
                out.extend_from_slice(b"{\"id\":");
                number((*id).into(), out);
                out.push(b',');
                join_fields(join, out);
                out.push(b'}');
            });
            out.push(b']');
        }
        Command::Refresh { token } => {
            out.extend_from_slice(b",\"refresh\":{\"token\":");
            string(token, out);
        }
        Command::Join(join) => {
            out.extend_from_slice(b",\"join\":{");
            join_fields(join, out);
        }
        Command::Filter(filter) => {
            out.extend_from_slice(b",\"filter\":{\"room\":");
            string(&filter.room, out);
            wishes_fields(&filter.wishes, out);
        }
        Command::Leave { room } => {
            out.extend_from_slice(b",\"leave\":{\"room\":");
            string(room, out);
        }
        Command::Publish(publish) => publish_fields(publish, out),
        Command::History(history) => {
            out.extend_from_slice(b",\"history\":{\"room\":");
            string(&history.room, out);
            since_field(history.since, out);
            out.extend_from_slice(b",\"limit\":");
            number(history.limit.into(), out);
            out.extend_from_slice(match history.reverse {
                true => b",\"reverse\":true",
                false => b",\"reverse\":false",
            });
        }
        Command::Presence(presence) => {
            out.extend_from_slice(b",\"presence\":{\"room\":");
            string(&presence.room, out);
            out.extend_from_slice(b",\"limit\":");
            number(presence.limit.into(), out);
        }
        Command::Ping { t0_ms } => {
            out.extend_from_slice(b",\"ping\":{\"t0\":");
            float(*t0_ms, out);
        }
    }
    out.extend_from_slice(b"}}");
}

fn join_fields(join: &Join, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"room\":");
    string(&join.room, out);
    since_field(join.since, out);
    if let Some(last) = join.last {
        out.extend_from_slice(b",\"last\":");
        number(last.into(), out);
    }
    for (name, is_set) in [
        (&b",\"enter\":true"[..], join.enter),
        (b",\"members\":true", join.members),
        (b",\"state\":true", join.state),
    ] {
        if is_set {
            out.extend_from_slice(name);
        }
    }
    wishes_fields(&join.wishes, out);
}

fn wishes_fields(wishes: &Wishes, out: &mut Vec<u8>) {
    if let Some(keys) = &wishes.keys {
        out.extend_from_slice(b",\"keys\":[");
        separated(keys, out, |key, out| bytes_string(key, out));
        out.push(b']');
    }
    if let Some(rate) = wishes.max_rate {
        out.extend_from_slice(format!(",\"max_rate\":{rate}").as_bytes());
    }
}

fn since_field(since: Option<Position>, out: &mut Vec<u8>) {
    if let Some(position) = since {
        out.extend_from_slice(b",\"since\":{\"epoch\":");
        string(&position.epoch.to_string(), out);
        out.extend_from_slice(b",\"offset\":");
        number(position.offset, out);
        out.push(b'}');
    }
}

fn publish_fields(publish: &Publish, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"publish\":{\"room\":");
    string(&publish.room, out);
    if let Some(lane) = publish.lane {
        out.extend_from_slice(b",\"lane\":");
        string(lane.name(), out);
    }
    match &publish.data {
        Payload::Json(json) => {
            out.extend_from_slice(b",\"data\":");
            out.extend_from_slice(json);
        }
        Payload::Bytes(bytes) => {
            out.extend_from_slice(b",\"bytes\":\"");
            base64(bytes, out);
            out.push(b'"');
        }
        Payload::Delete => out.extend_from_slice(b",\"delete\":true"),
    }
    for (name, text) in [(&b",\"msg\":"[..], &publish.msg), (b",\"key\":", &publish.key)] {
        if !text.is_empty() {
            out.extend_from_slice(name);
            bytes_string(text, out);
        }
    }
    if publish.sent_us > 0 {
        out.extend_from_slice(b",\"sent_at\":");
        millis(publish.sent_us, out);
    }
}

/// Decodes all frames of one text message from a server. Unknown pushes are skipped.
pub fn decode_server(message: &[u8], sink: &mut dyn FnMut(ServerFrame)) -> Result<(), Malformed> {
    for raw in serde_json::Deserializer::from_slice(message).into_iter::<RawServer>() {
        let raw = raw.map_err(|error| Malformed(error.to_string()))?;
        if let Some(frame) = raw.into_frame().map_err(Malformed)? {
            sink(frame);
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct RawServer<'a> {
    #[serde(default)]
    id: u32,
    #[serde(borrow, default)]
    ok: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reject: Option<RawReject<'a>>,
    #[serde(borrow, default)]
    event: Option<&'a RawValue>,
    #[serde(borrow, default)]
    members: Option<RawChange<'a>>,
    #[serde(borrow, default)]
    gap: Option<RawGap<'a>>,
    #[serde(borrow, default)]
    notice: Option<RawNotice<'a>>,
    #[serde(borrow, default)]
    part: Option<RawPart<'a>>,
}

#[derive(Deserialize)]
struct RawPart<'a> {
    message: u32,
    #[serde(default)]
    more: bool,
    #[serde(borrow)]
    text: Text<'a>,
}

#[derive(Deserialize)]
struct RawReject<'a> {
    code: u16,
    #[serde(default)]
    retry_after_ms: Option<u32>,
    #[serde(borrow, default)]
    detail: Text<'a>,
}

impl RawServer<'_> {
    fn into_frame(self) -> Result<Option<ServerFrame>, String> {
        let push = if let Some(ok) = self.ok {
            let ok: RawOk = parse("ok", ok)?;
            return Ok(Some(ServerFrame::Reply {
                id: self.id,
                result: Ok(ok.into_ok()?),
            }));
        } else if let Some(reject) = self.reject {
            let Some(code) = RejectCode::from_number(reject.code) else {
                return Err(format!("unknown reject code {}", reject.code));
            };
            return Ok(Some(ServerFrame::Reply {
                id: self.id,
                result: Err(Reject {
                    code,
                    retry_after_ms: reject.retry_after_ms,
                    detail: reject.detail.into_owned(),
                }),
            }));
        } else if let Some(event) = self.event {
            let event: RawEvent = parse("event", event)?;
            Push::Event {
                room: room(&event.room)?,
                publication: event.publication()?,
            }
        } else if let Some(change) = self.members {
            Push::Members(change.into_change()?)
        } else if let Some(gap) = self.gap {
            Push::Gap {
                room: room(&gap.room)?,
                position: Position {
                    epoch: epoch(&gap.epoch)?,
                    offset: gap.offset,
                },
                reason: gap_reason(&gap.reason)?,
                count: gap.count,
            }
        } else if let Some(notice) = self.notice {
            let Some(notice) = notice.into_notice()? else {
                return Ok(None);
            };
            Push::Notice(notice)
        } else if let Some(part) = self.part {
            Push::Part(Part {
                message: part.message,
                more: part.more,
                piece: Bytes::copy_from_slice(part.text.as_bytes()),
            })
        } else {
            return Ok(None);
        };
        Ok(Some(ServerFrame::Push(push)))
    }
}

/// Every reply's fields together: which are there tells which reply it is.
#[derive(Deserialize)]
struct RawOk<'a> {
    #[serde(default)]
    filtered: bool,
    #[serde(borrow, default)]
    connection: Option<Text<'a>>,
    #[serde(borrow, default)]
    user: Text<'a>,
    #[serde(default)]
    expires_in_ms: Option<u64>,
    #[serde(default)]
    ping_ms: u32,
    #[serde(default)]
    frame_bytes_max: u32,
    #[serde(default)]
    reconnect_ms: u32,
    #[serde(borrow, default)]
    room: Option<Text<'a>>,
    #[serde(borrow, default)]
    epoch: Option<Text<'a>>,
    #[serde(default)]
    offset: Offset,
    #[serde(borrow, default)]
    recovery: Option<Text<'a>>,
    #[serde(borrow, default)]
    reason: Option<Text<'a>>,
    #[serde(default)]
    replayed: u32,
    #[serde(borrow, default)]
    members: Option<RawMembers<'a>>,
    #[serde(default)]
    state: Option<u32>,
    #[serde(default)]
    duplicate: Option<bool>,
    #[serde(default)]
    oldest: Offset,
    #[serde(borrow, default)]
    publications: Option<Vec<&'a RawValue>>,
    #[serde(default)]
    more: bool,
    #[serde(borrow, default)]
    gap: Option<Text<'a>>,
    #[serde(default)]
    count: Option<u32>,
    #[serde(borrow, default)]
    sample: Vec<RawMember<'a>>,
    #[serde(default)]
    t0: Option<f64>,
    #[serde(default)]
    t1: f64,
    #[serde(default)]
    t2: f64,
}

impl RawOk<'_> {
    fn into_ok(self) -> Result<Reply, String> {
        let here = |text: &Option<Text<'_>>| epoch(text.as_deref().unwrap_or_default());
        if let Some(connection) = self.connection {
            return Ok(Reply::Connected(Connected {
                connection: connection.into_owned(),
                user: self.user.into_owned(),
                expires_in_ms: self.expires_in_ms,
                ping_ms: self.ping_ms,
                frame_bytes_max: self.frame_bytes_max,
                reconnect_ms: self.reconnect_ms,
            }));
        }
        if let Some(recovery) = self.recovery {
            return Ok(Reply::Joined(Joined {
                room: room(&self.room.unwrap_or_default())?,
                epoch: here(&self.epoch)?,
                offset: self.offset,
                recovery: match &*recovery {
                    "none" => Recovery::None,
                    "replay" => Recovery::Replay,
                    "gap" => Recovery::Gap(gap_reason(&self.reason.unwrap_or_default())?),
                    other => return Err(format!("unknown recovery {other:?}")),
                },
                replayed: self.replayed,
                members: self.members.map(RawMembers::into_members),
                state: self.state,
            }));
        }
        if let Some(duplicate) = self.duplicate {
            return Ok(Reply::Published(Published {
                position: Position {
                    epoch: here(&self.epoch)?,
                    offset: self.offset,
                },
                duplicate,
            }));
        }
        if let Some(publications) = self.publications {
            let publications = publications.into_iter().map(|raw| {
                let raw: RawEvent = parse("publication", raw)?;
                raw.publication()
            });
            return Ok(Reply::History(HistoryPage {
                room: room(&self.room.unwrap_or_default())?,
                head: Position {
                    epoch: here(&self.epoch)?,
                    offset: self.offset,
                },
                oldest: self.oldest,
                publications: publications.collect::<Result<_, _>>()?,
                more: self.more,
                gap: self.gap.map(|reason| gap_reason(&reason)).transpose()?,
            }));
        }
        if let Some(count) = self.count {
            let sample = self.sample;
            return Ok(Reply::Presence(RawMembers { count, sample }.into_members()));
        }
        if let Some(t0_ms) = self.t0 {
            return Ok(Reply::Pong(Pong {
                t0_ms,
                t1_ms: self.t1,
                t2_ms: self.t2,
            }));
        }
        if self.filtered {
            return Ok(Reply::Filtered);
        }
        match self.expires_in_ms {
            Some(ms) => Ok(Reply::Refreshed {
                expires_in_ms: Some(ms),
            }),
            None => Ok(Reply::Left),
        }
    }
}

#[derive(Deserialize)]
struct RawEvent<'a> {
    #[serde(borrow, default)]
    room: Text<'a>,
    offset: Offset,
    #[serde(borrow, default)]
    lane: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    bytes: Option<Text<'a>>,
    #[serde(borrow, default)]
    from: Text<'a>,
    #[serde(borrow, default)]
    msg: Text<'a>,
    #[serde(borrow, default)]
    key: Text<'a>,
    #[serde(default)]
    delete: bool,
    #[serde(default)]
    stamps: RawStamps,
}

#[derive(Deserialize, Default)]
struct RawStamps {
    #[serde(default)]
    sent: f64,
    #[serde(default)]
    received: f64,
    #[serde(default)]
    ordered: f64,
}

impl RawEvent<'_> {
    fn publication(&self) -> Result<Publication, String> {
        let copy = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        Ok(Publication {
            offset: self.offset,
            lane: self.lane.as_deref().map(lane).transpose()?,
            data: match self.delete {
                true => delete(self.data.is_some() || self.bytes.is_some(), &self.key)?,
                false => payload(self.data, self.bytes.as_deref())?,
            },
            from: copy(&self.from),
            msg: copy(&self.msg),
            key: copy(&self.key),
            stamps: Stamps {
                sent_us: micros("sent", self.stamps.sent)?,
                received_us: micros("received", self.stamps.received)?,
                ordered_us: micros("ordered", self.stamps.ordered)?,
            },
        })
    }
}

#[derive(Deserialize)]
struct RawMember<'a> {
    #[serde(borrow)]
    user: Text<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    info: Option<&'a RawValue>,
}

impl RawMember<'_> {
    fn into_member(self) -> Member {
        let info = self.info.map_or("", RawValue::get);
        Member {
            user: Bytes::copy_from_slice(self.user.as_bytes()),
            info: Bytes::copy_from_slice(info.as_bytes()),
        }
    }
}

#[derive(Deserialize)]
struct RawMembers<'a> {
    count: u32,
    #[serde(borrow, default)]
    sample: Vec<RawMember<'a>>,
}

impl RawMembers<'_> {
    fn into_members(self) -> Members {
        Members {
            count: self.count,
            sample: self.sample.into_iter().map(RawMember::into_member).collect(),
        }
    }
}

#[derive(Deserialize)]
struct RawChange<'a> {
    #[serde(borrow)]
    room: Text<'a>,
    count: u32,
    #[serde(borrow, default)]
    joined: Vec<RawMember<'a>>,
    #[serde(borrow, default)]
    left: Vec<Text<'a>>,
    #[serde(borrow, default)]
    sample: Option<Vec<RawMember<'a>>>,
}

impl RawChange<'_> {
    fn into_change(self) -> Result<MembersChange, String> {
        let members =
            |list: Vec<RawMember<'_>>| list.into_iter().map(RawMember::into_member).collect::<Vec<_>>();
        let left = self
            .left
            .iter()
            .map(|user| Bytes::copy_from_slice(user.as_bytes()));
        Ok(MembersChange {
            room: room(&self.room)?,
            count: self.count,
            left: left.collect(),
            joined: members(self.joined),
            sample: self.sample.map(members),
        })
    }
}

#[derive(Deserialize)]
struct RawGap<'a> {
    #[serde(borrow)]
    room: Text<'a>,
    #[serde(borrow)]
    reason: Text<'a>,
    #[serde(borrow)]
    epoch: Text<'a>,
    offset: Offset,
    #[serde(default)]
    count: u64,
}

fn gap_reason(name: &str) -> Result<GapReason, String> {
    let reason = GapReason::ALL.iter().find(|reason| reason.name() == name);
    reason.copied().ok_or_else(|| format!("unknown reason {name:?}"))
}

#[derive(Deserialize)]
struct RawNotice<'a> {
    #[serde(borrow)]
    kind: Text<'a>,
    #[serde(default)]
    in_ms: u64,
    #[serde(borrow, default)]
    room: Text<'a>,
}

impl RawNotice<'_> {
    fn into_notice(self) -> Result<Option<Notice>, String> {
        Ok(match &*self.kind {
            "token_expiring" => Some(Notice::TokenExpiring { in_ms: self.in_ms }),
            "removed" => Some(Notice::Removed {
                room: room(&self.room)?,
            }),
            "shutdown" => Some(Notice::Shutdown),
            "draining" => Some(Notice::Draining { in_ms: self.in_ms }),
            _ => None,
        })
    }
}

//! The binary codec: `tidegate.v1.bin`. Protobuf frames, each with its length before it.
//!
//! The messages are docs/tidegate.proto's; here they become the same values as the JSON
//! codec's, with the same checks. A payload is copied once per encoding, as it is.

mod client;
mod proto;

pub use client::{decode_server, encode_request};

use bytes::Bytes;
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint as varint_len},
};
use proto::{
    ClientFrameCommand as Ask, NoticeKind, PublicationPayload, PublishPayload, ServerFrameBody as Body,
};

use crate::{
    code::{Reject, RejectCode},
    codec::{BadCommand, Malformed},
    frame::{
        Command, Connect, Filter, GapReason, History, Join, Member, Members, Notice, Ok as Reply, Presence,
        Publish, Push, Recovery, Request, Wishes,
    },
    json,
    lane::Lane,
    position::{Epoch, Position},
    publication::{KEY_BYTES_MAX, MSG_ID_BYTES_MAX, Payload, Publication},
    room::RoomName,
};

/// As in the JSON codec: longest client name and version, longest token, most joins in one `connect`.
const NAME_BYTES_MAX: usize = 64;
const TOKEN_BYTES_MAX: usize = 16 << 10;
const RESUME_MAX: usize = 1_000;
/// What a `history` and a `presence` without `limit` ask for.
const LIMIT_DEFAULT: u32 = 50;
const MEMBERS_DEFAULT: u32 = 100;

// ---- commands ------------------------------------------------------------------

/// Decodes all commands of one binary message.
pub fn decode(message: &[u8], sink: &mut dyn FnMut(Result<Request, BadCommand>)) -> Result<(), Malformed> {
    let mut rest = Bytes::copy_from_slice(message);
    if rest.is_empty() {
        return Err(Malformed("an empty message".into()));
    }
    while !rest.is_empty() {
        let frame = proto::ClientFrame::decode_length_delimited(&mut rest);
        let frame = frame.map_err(|error| Malformed(format!("not a command: {error}")))?;
        let id = frame.id;
        if id == 0 {
            return Err(Malformed("`id` is 0; ids begin at 1".into()));
        }
        sink(match command(frame.command) {
            Ok(command) => Ok(Request { id, command }),
            Err(detail) => Err(BadCommand {
                id,
                reject: Reject::new(RejectCode::Malformed, detail),
            }),
        });
    }
    Ok(())
}

fn command(ask: Option<Ask>) -> Result<Command, String> {
    Ok(match ask.ok_or("no command, or one that is not known")? {
        Ask::Connect(connect) => Command::Connect(read_connect(connect)?),
        Ask::Refresh(refresh) => Command::Refresh {
            token: string("token", &refresh.token, TOKEN_BYTES_MAX)?,
        },
        Ask::Join(join) => Command::Join(read_join(join)?),
        Ask::Filter(filter) => Command::Filter(Filter {
            room: room(&filter.room)?,
            wishes: read_wishes(filter.keys, filter.max_rate)?,
        }),
        Ask::Leave(leave) => Command::Leave {
            room: room(&leave.room)?,
        },
        Ask::Publish(publish) => Command::Publish(read_publish(publish)?),
        Ask::History(history) => Command::History(History {
            room: room(&history.room)?,
            since: history.since.map(read_position),
            limit: history.limit.unwrap_or(LIMIT_DEFAULT),
            reverse: history.reverse,
        }),
        Ask::Presence(presence) => Command::Presence(Presence {
            room: room(&presence.room)?,
            limit: presence.limit.unwrap_or(MEMBERS_DEFAULT),
        }),
        Ask::Ping(ping) => Command::Ping { t0_ms: ping.t0_ms },
    })
}

fn read_connect(connect: proto::Connect) -> Result<Connect, String> {
    if connect.resume.len() > RESUME_MAX {
        return Err(format!(
            "`resume` has {} rooms; at most {RESUME_MAX}",
            connect.resume.len()
        ));
    }
    let resume = connect.resume.into_iter().map(|resume| match resume.id {
        0 => Err("`resume`: `id` is 0; ids begin at 1".to_owned()),
        id => Ok((id, read_join(resume.join.ok_or("`resume`: no `join`")?)?)),
    });
    Ok(Connect {
        resume: resume.collect::<Result<_, _>>()?,
        token: string("token", &connect.token, TOKEN_BYTES_MAX)?,
        client_name: string("client_name", &connect.client_name, NAME_BYTES_MAX)?,
        client_version: string("client_version", &connect.client_version, NAME_BYTES_MAX)?,
    })
}

fn read_wishes(keys: Option<proto::Keys>, max_rate: Option<f64>) -> Result<Wishes, String> {
    let read = |key: Bytes| utf8("keys", &key).map(|text| own(text.as_bytes()));
    let keys = keys.map(|keys| keys.keys.into_iter().map(read).collect());
    let wishes = Wishes {
        keys: keys.transpose()?,
        max_rate,
    };
    wishes.check().map(|()| wishes)
}

fn write_keys(wishes: &Wishes) -> Option<proto::Keys> {
    let keys = wishes.keys.clone()?;
    Some(proto::Keys { keys })
}

fn read_join(join: proto::Join) -> Result<Join, String> {
    Ok(Join {
        room: room(&join.room)?,
        since: join.since.map(read_position),
        last: join.last,
        enter: join.enter,
        members: join.members,
        wishes: read_wishes(join.keys, join.max_rate)?,
        state: join.state,
    })
}

fn read_publish(publish: proto::Publish) -> Result<Publish, String> {
    let key = bounded("key", &publish.key, KEY_BYTES_MAX)?;
    let data = match publish.payload {
        payload if publish.delete => json::delete(payload.is_some(), utf8("key", &key)?)?,
        Some(PublishPayload::Json(bytes)) => json_payload(bytes)?,
        Some(PublishPayload::Bytes(bytes)) => Payload::Bytes(own(&bytes)),
        None => return Err("one of `json`, `bytes` and `delete` must be there".into()),
    };
    Ok(Publish {
        room: room(&publish.room)?,
        lane: read_lane(publish.lane)?,
        data,
        msg: bounded("msg", &publish.msg, MSG_ID_BYTES_MAX)?,
        key,
        sent_us: publish.sent_us,
    })
}

fn read_lane(lane: i32) -> Result<Option<Lane>, String> {
    match proto::Lane::try_from(lane) {
        Ok(proto::Lane::Unspecified) => Ok(None),
        Ok(proto::Lane::Reliable) => Ok(Some(Lane::Reliable)),
        Ok(proto::Lane::Latest) => Ok(Some(Lane::Latest)),
        Ok(proto::Lane::Lossy) => Ok(Some(Lane::Lossy)),
        Err(_) => Err(format!(
            "`lane` {lane}: one of 1 (reliable), 2 (latest), 3 (lossy)"
        )),
    }
}

fn write_lane(lane: Option<Lane>) -> i32 {
    let lane = match lane {
        None | Some(Lane::Control) => proto::Lane::Unspecified,
        Some(Lane::Reliable) => proto::Lane::Reliable,
        Some(Lane::Latest) => proto::Lane::Latest,
        Some(Lane::Lossy) => proto::Lane::Lossy,
    };
    lane.into()
}

/// JSON goes to JSON connections as it is: it must be JSON.
fn json_payload(bytes: Bytes) -> Result<Payload, String> {
    let parsed = serde_json::from_slice::<&serde_json::value::RawValue>(&bytes);
    let raw = parsed.map_err(|error| format!("`json` is no JSON: {error}"))?;
    json::check_depth(raw.get().as_bytes())?;
    Ok(Payload::Json(Bytes::copy_from_slice(raw.get().as_bytes())))
}

/// Out of the message's buffer, which would otherwise be kept whole.
fn own(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn room(text: &[u8]) -> Result<RoomName, String> {
    let text = utf8("room", text)?;
    let shown = || text.chars().take(64).collect::<String>();
    RoomName::parse(text).map_err(|error| format!("`room` {:?}: {error}", shown()))
}

fn utf8<'a>(field: &str, text: &'a [u8]) -> Result<&'a str, String> {
    simdutf8::basic::from_utf8(text).map_err(|_| format!("`{field}` is not UTF-8"))
}

fn bounded(field: &str, text: &[u8], bytes_max: usize) -> Result<Bytes, String> {
    utf8(field, text)?;
    match text.len() <= bytes_max {
        true => Ok(own(text)),
        false => Err(format!("`{field}` has {} bytes; at most {bytes_max}", text.len())),
    }
}

fn string(field: &str, text: &[u8], bytes_max: usize) -> Result<String, String> {
    bounded(field, text, bytes_max)?;
    utf8(field, text).map(str::to_owned)
}

fn read_position(position: proto::Position) -> Position {
    Position {
        epoch: Epoch(position.epoch),
        offset: position.offset,
    }
}

// ---- what the server sends ---------------------------------------------------------

/// `ServerFrame.event` in docs/tidegate.proto.
const EVENT_TAG: u32 = 11;
/// `Publication.delete` there.
const DELETE_TAG: u32 = 10;

/// Appends an event: the hot one, so it is written as it comes, with no message built first.
pub fn encode_event(room: &RoomName, publication: &Publication, out: &mut Vec<u8>) {
    let texts = [
        (4, &publication.from),
        (5, &publication.msg),
        (6, &publication.key),
    ];
    let stamps = &publication.stamps;
    let stamps = [
        (7, stamps.sent_us),
        (8, stamps.received_us),
        (9, stamps.ordered_us),
    ];
    let payload = match &publication.data {
        Payload::Json(json) => Some((2, json)),
        Payload::Bytes(bytes) => Some((3, bytes)),
        Payload::Delete => None,
    };
    let delete_len = if payload.is_none() { number_len(1) } else { 0 };

    // Lengths stand before what they measure, so they are summed first, from the inside out.
    let present_texts = texts.iter().filter(|(_, text)| !text.is_empty());
    let present_stamps = stamps.iter().filter(|(_, us)| *us > 0);
    let lane = write_lane(publication.lane) as u64;
    let publication_len = number_len(publication.offset)
        + number_len(lane)
        + payload.map_or(delete_len, |(_, payload)| field_len(payload.len()))
        + present_texts
            .clone()
            .map(|(_, text)| field_len(text.len()))
            .sum::<usize>()
        + present_stamps
            .clone()
            .map(|(_, us)| number_len(*us))
            .sum::<usize>();
    let event_len = field_len(room.len()) + field_len(publication_len);
    let frame_len = field_len(event_len);
    out.reserve(varint_len(frame_len as u64) + frame_len);

    encode_varint(frame_len as u64, out);
    field(EVENT_TAG, event_len, out);
    field(1, room.len(), out);
    out.extend_from_slice(room.as_bytes());
    field(2, publication_len, out);
    if publication.offset > 0 {
        encode_key(1, WireType::Varint, out);
        encode_varint(publication.offset, out);
    }
    if let Some((tag, payload)) = payload {
        field(tag, payload.len(), out);
        out.extend_from_slice(payload);
    }
    for (tag, text) in present_texts {
        field(*tag, text.len(), out);
        out.extend_from_slice(text);
    }
    for (tag, us) in present_stamps {
        encode_key(*tag, WireType::Varint, out);
        encode_varint(*us, out);
    }
    if delete_len > 0 {
        encode_key(DELETE_TAG, WireType::Varint, out);
        encode_varint(1, out);
    }
    if lane > 0 {
        encode_key(11, WireType::Varint, out);
        encode_varint(lane, out);
    }
}

/// Appends what stands before a field's bytes. The tags here are below 16: one byte with the type.
fn field(tag: u32, len: usize, out: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(len as u64, out);
}

fn field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

/// As protobuf has it, a number that is 0 is not written.
fn number_len(value: u64) -> usize {
    if value > 0 { 1 + varint_len(value) } else { 0 }
}

/// Appends a push.
pub fn encode_push(push: &Push, out: &mut Vec<u8>) {
    let body = match push {
        Push::Event { room, publication } => return encode_event(room, publication, out),
        Push::Members(change) => Body::Members(proto::MembersChange {
            room: own(change.room.as_bytes()),
            count: change.count,
            joined: change.joined.iter().map(write_member).collect(),
            left: change.left.clone(),
            sample: change.sample.as_ref().map(|sample| proto::Sample {
                members: sample.iter().map(write_member).collect(),
            }),
        }),
        Push::Gap {
            room,
            position,
            reason,
            count,
        } => Body::Gap(proto::Gap {
            room: own(room.as_bytes()),
            position: Some(write_position(*position)),
            reason: write_reason(Some(*reason)),
            count: *count,
        }),
        Push::Part(part) => Body::Part(proto::Part {
            message: part.message,
            more: part.more,
            frame: part.piece.clone(),
        }),
        Push::Notice(notice) => Body::Notice(proto::Notice {
            kind: Some(match notice {
                Notice::TokenExpiring { in_ms } => {
                    NoticeKind::TokenExpiring(proto::TokenExpiring { in_ms: *in_ms })
                }
                Notice::Removed { room } => NoticeKind::Removed(proto::Removed {
                    room: own(room.as_bytes()),
                }),
                Notice::Shutdown => NoticeKind::Shutdown(proto::Shutdown {}),
                Notice::Draining { in_ms } => NoticeKind::Draining(proto::Draining { in_ms: *in_ms }),
            }),
        }),
    };
    write(0, body, out);
}

/// Appends a reply.
pub fn encode_reply(id: u32, result: &Result<Reply, Reject>, out: &mut Vec<u8>) {
    let body = match result {
        Ok(reply) => write_ok(reply),
        Err(reject) => Body::Reject(proto::Reject {
            code: reject.code.number().into(),
            retry_after_ms: reject.retry_after_ms,
            detail: own(reject.detail.as_bytes()),
        }),
    };
    write(id, body, out);
}

fn write(id: u32, body: Body, out: &mut Vec<u8>) {
    let body = Some(body);
    let frame = proto::ServerFrame { id, body };
    frame
        .encode_length_delimited(out)
        .expect("a Vec takes everything");
}

fn write_ok(reply: &Reply) -> Body {
    match reply {
        Reply::Connected(connected) => Body::Connected(proto::Connected {
            connection: own(connected.connection.as_bytes()),
            user: own(connected.user.as_bytes()),
            expires_in_ms: connected.expires_in_ms,
            ping_ms: connected.ping_ms,
            frame_bytes_max: connected.frame_bytes_max,
            reconnect_ms: connected.reconnect_ms,
        }),
        Reply::Refreshed { expires_in_ms } => Body::Refreshed(proto::Refreshed {
            expires_in_ms: *expires_in_ms,
        }),
        Reply::Joined(joined) => {
            let (recovery, reason) = match joined.recovery {
                Recovery::None => (proto::Recovery::None, None),
                Recovery::Replay => (proto::Recovery::Replay, None),
                Recovery::Gap(reason) => (proto::Recovery::Gap, Some(reason)),
            };
            Body::Joined(proto::Joined {
                room: own(joined.room.as_bytes()),
                position: Some(proto::Position {
                    epoch: joined.epoch.0,
                    offset: joined.offset,
                }),
                recovery: recovery.into(),
                reason: write_reason(reason),
                replayed: joined.replayed,
                members: joined.members.as_ref().map(write_members),
                state_keys: joined.state,
            })
        }
        Reply::Filtered => Body::Filtered(proto::Filtered {}),
        Reply::Left => Body::Left(proto::Left {}),
        Reply::Published(published) => Body::Published(proto::Published {
            position: Some(write_position(published.position)),
            duplicate: published.duplicate,
        }),
        Reply::History(page) => Body::History(proto::HistoryPage {
            room: own(page.room.as_bytes()),
            head: Some(write_position(page.head)),
            oldest: page.oldest,
            publications: page.publications.iter().map(write_publication).collect(),
            more: page.more,
            gap: write_reason(page.gap),
        }),
        Reply::Presence(members) => Body::Presence(write_members(members)),
        Reply::Pong(pong) => Body::Pong(proto::Pong {
            t0_ms: pong.t0_ms,
            t1_ms: pong.t1_ms,
            t2_ms: pong.t2_ms,
        }),
    }
}

fn write_publication(publication: &Publication) -> proto::Publication {
    proto::Publication {
        offset: publication.offset,
        lane: write_lane(publication.lane),
        payload: match &publication.data {
            Payload::Json(json) => Some(PublicationPayload::Json(json.clone())),
            Payload::Bytes(bytes) => Some(PublicationPayload::Bytes(bytes.clone())),
            Payload::Delete => None,
        },
        from: publication.from.clone(),
        msg: publication.msg.clone(),
        key: publication.key.clone(),
        sent_us: publication.stamps.sent_us,
        received_us: publication.stamps.received_us,
        ordered_us: publication.stamps.ordered_us,
        delete: publication.data.is_delete(),
    }
}

fn write_position(position: Position) -> proto::Position {
    proto::Position {
        epoch: position.epoch.0,
        offset: position.offset,
    }
}

fn write_member(member: &Member) -> proto::Member {
    proto::Member {
        user: member.user.clone(),
        info: member.info.clone(),
    }
}

fn write_members(members: &Members) -> proto::Members {
    proto::Members {
        count: members.count,
        sample: members.sample.iter().map(write_member).collect(),
    }
}

fn write_reason(reason: Option<GapReason>) -> i32 {
    let reason = match reason {
        None => proto::GapReason::Unspecified,
        Some(GapReason::Epoch) => proto::GapReason::Epoch,
        Some(GapReason::Trimmed) => proto::GapReason::Trimmed,
        Some(GapReason::TooFar) => proto::GapReason::TooFar,
        Some(GapReason::Continuity) => proto::GapReason::Continuity,
        Some(GapReason::Conflated) => proto::GapReason::Conflated,
        Some(GapReason::Dropped) => proto::GapReason::Dropped,
    };
    reason.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publication::Stamps;

    #[test]
    fn an_event_is_written_as_its_message_would_be() {
        let room = RoomName::parse("chat:lobby").unwrap();
        let some = |text: &'static str| Bytes::from_static(text.as_bytes());
        let stamps = Stamps {
            sent_us: 1_764_800_000_000_250,
            received_us: 0,
            ordered_us: 1,
        };
        for (offset, len) in [
            (0, 0),
            (1, 1),
            (127, 100),
            (128, 127),
            (u64::MAX, 128),
            (9, 70_000),
        ] {
            for data in [
                Payload::Json(vec![b'7'; len].into()),
                Payload::Bytes(vec![7; len].into()),
                Payload::Delete,
            ] {
                for (lane, from, msg, key, stamps) in [
                    (None, some(""), some(""), some(""), Stamps::default()),
                    (Some(Lane::Lossy), some("ann"), some("m-1"), some("k"), stamps),
                    (Some(Lane::Reliable), some(""), some("m"), some(""), stamps),
                ] {
                    let publication = Publication {
                        offset,
                        lane,
                        data: data.clone(),
                        from,
                        msg,
                        key,
                        stamps,
                    };
                    let mut expected = Vec::new();
                    let event = proto::Event {
                        room: own(room.as_bytes()),
                        publication: Some(write_publication(&publication)),
                    };
                    write(0, Body::Event(event), &mut expected);
                    let mut written = Vec::new();
                    encode_event(&room, &publication, &mut written);
                    assert_eq!(written, expected, "{publication:?}");
                }
            }
        }
    }
}

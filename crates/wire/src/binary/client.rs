//! The client's side: commands encoded, what a server sends decoded.

use bytes::Bytes;
use prost::Message;

use super::{
    json_payload, own,
    proto::{
        self, ClientFrameCommand as Ask, NoticeKind, PublicationPayload, PublishPayload,
        ServerFrameBody as Body,
    },
    read_lane, read_position, room, utf8, write_keys, write_lane, write_position,
};
use crate::{
    code::{Reject, RejectCode},
    codec::Malformed,
    frame::{
        Command, Connected, GapReason, HistoryPage, Join, Joined, Member, Members, MembersChange, Notice,
        Ok as Reply, Part, Pong, Published, Push, Recovery, Request, ServerFrame,
    },
    json,
    position::Position,
    publication::{Payload, Publication, Stamps},
};

/// Appends a command.
pub fn encode_request(request: &Request, out: &mut Vec<u8>) {
    let write_join = |join: &Join| proto::Join {
        room: own(join.room.as_bytes()),
        since: join.since.map(write_position),
        last: join.last,
        enter: join.enter,
        members: join.members,
        keys: write_keys(&join.wishes),
        max_rate: join.wishes.max_rate,
        state: join.state,
    };
    let command = match &request.command {
        Command::Connect(connect) => Ask::Connect(proto::Connect {
            token: own(connect.token.as_bytes()),
            client_name: own(connect.client_name.as_bytes()),
            client_version: own(connect.client_version.as_bytes()),
            resume: connect
                .resume
                .iter()
                .map(|(id, join)| proto::Resume {
                    id: *id,
                    join: Some(write_join(join)),
                })
                .collect(),
        }),
        Command::Refresh { token } => Ask::Refresh(proto::Refresh {
            token: own(token.as_bytes()),
        }),
        Command::Join(join) => Ask::Join(write_join(join)),
        Command::Filter(filter) => Ask::Filter(proto::Filter {
            room: own(filter.room.as_bytes()),
            keys: write_keys(&filter.wishes),
            max_rate: filter.wishes.max_rate,
        }),
        Command::Leave { room } => Ask::Leave(proto::Leave {
            room: own(room.as_bytes()),
        }),
        Command::Publish(publish) => Ask::Publish(proto::Publish {
            room: own(publish.room.as_bytes()),
            payload: match &publish.data {
                Payload::Json(json) => Some(PublishPayload::Json(json.clone())),
                Payload::Bytes(bytes) => Some(PublishPayload::Bytes(bytes.clone())),
                Payload::Delete => None,
            },
            msg: publish.msg.clone(),
            key: publish.key.clone(),
            sent_us: publish.sent_us,
            delete: publish.data.is_delete(),
            lane: write_lane(publish.lane),
        }),
        Command::History(history) => Ask::History(proto::History {
            room: own(history.room.as_bytes()),
            since: history.since.map(write_position),
            limit: Some(history.limit),
            reverse: history.reverse,
        }),
        Command::Presence(presence) => Ask::Presence(proto::Presence {
            room: own(presence.room.as_bytes()),
            limit: Some(presence.limit),
        }),
        Command::Ping { t0_ms } => Ask::Ping(proto::Ping { t0_ms: *t0_ms }),
    };
    let frame = proto::ClientFrame {
        id: request.id,
        command: Some(command),
    };
    frame
        .encode_length_delimited(out)
        .expect("a Vec takes everything");
}

/// Decodes all frames of one binary message from a server. Unknown bodies are skipped.
pub fn decode_server(message: &[u8], sink: &mut dyn FnMut(ServerFrame)) -> Result<(), Malformed> {
    let mut rest = Bytes::copy_from_slice(message);
    while !rest.is_empty() {
        let frame = proto::ServerFrame::decode_length_delimited(&mut rest);
        let frame = frame.map_err(|error| Malformed(error.to_string()))?;
        let id = frame.id;
        let Some(body) = frame.body else {
            continue;
        };
        if let Some(frame) = read_body(id, body).map_err(Malformed)? {
            sink(frame);
        }
    }
    Ok(())
}

fn read_body(id: u32, body: Body) -> Result<Option<ServerFrame>, String> {
    let reply = match body {
        Body::Event(event) => {
            let publication = event.publication.ok_or("an event without a publication")?;
            return Ok(Some(ServerFrame::Push(Push::Event {
                room: room(&event.room)?,
                publication: read_publication(publication)?,
            })));
        }
        Body::Members(change) => {
            return Ok(Some(ServerFrame::Push(Push::Members(MembersChange {
                room: room(&change.room)?,
                count: change.count,
                joined: change.joined.into_iter().map(read_member).collect(),
                left: change.left.iter().map(|user| own(user)).collect(),
                sample: change
                    .sample
                    .map(|sample| sample.members.into_iter().map(read_member).collect()),
            }))));
        }
        Body::Gap(gap) => {
            return Ok(Some(ServerFrame::Push(Push::Gap {
                room: room(&gap.room)?,
                position: here(gap.position)?,
                reason: read_reason(gap.reason)?.ok_or("a gap without a reason")?,
                count: gap.count,
            })));
        }
        Body::Notice(notice) => {
            let notice = match notice.kind {
                Some(NoticeKind::TokenExpiring(expiring)) => Notice::TokenExpiring {
                    in_ms: expiring.in_ms,
                },
                Some(NoticeKind::Removed(removed)) => Notice::Removed {
                    room: room(&removed.room)?,
                },
                Some(NoticeKind::Shutdown(proto::Shutdown {})) => Notice::Shutdown,
                Some(NoticeKind::Draining(draining)) => Notice::Draining {
                    in_ms: draining.in_ms,
                },
                None => return Ok(None),
            };
            return Ok(Some(ServerFrame::Push(Push::Notice(notice))));
        }
        Body::Part(part) => {
            return Ok(Some(ServerFrame::Push(Push::Part(Part {
                message: part.message,
                more: part.more,
                piece: own(&part.frame),
            }))));
        }
        Body::Reject(reject) => {
            let code = u16::try_from(reject.code).ok().and_then(RejectCode::from_number);
            return Ok(Some(ServerFrame::Reply {
                id,
                result: Err(Reject {
                    code: code.ok_or_else(|| format!("unknown reject code {}", reject.code))?,
                    retry_after_ms: reject.retry_after_ms,
                    detail: utf8("detail", &reject.detail)?.to_owned(),
                }),
            }));
        }
        Body::Connected(connected) => Reply::Connected(Connected {
            connection: utf8("connection", &connected.connection)?.to_owned(),
            user: utf8("user", &connected.user)?.to_owned(),
            expires_in_ms: connected.expires_in_ms,
            ping_ms: connected.ping_ms,
            frame_bytes_max: connected.frame_bytes_max,
            reconnect_ms: connected.reconnect_ms,
        }),
        Body::Refreshed(refreshed) => Reply::Refreshed {
            expires_in_ms: refreshed.expires_in_ms,
        },
        Body::Joined(joined) => read_joined(joined)?,
        Body::Filtered(proto::Filtered {}) => Reply::Filtered,
        Body::Left(proto::Left {}) => Reply::Left,
        Body::Published(published) => Reply::Published(Published {
            position: here(published.position)?,
            duplicate: published.duplicate,
        }),
        Body::History(page) => Reply::History(HistoryPage {
            room: room(&page.room)?,
            head: here(page.head)?,
            oldest: page.oldest,
            publications: page
                .publications
                .into_iter()
                .map(read_publication)
                .collect::<Result<_, _>>()?,
            more: page.more,
            gap: read_reason(page.gap)?,
        }),
        Body::Presence(members) => Reply::Presence(read_members(members)),
        Body::Pong(pong) => Reply::Pong(Pong {
            t0_ms: pong.t0_ms,
            t1_ms: pong.t1_ms,
            t2_ms: pong.t2_ms,
        }),
    };
    Ok(Some(ServerFrame::Reply {
        id,
        result: Ok(reply),
    }))
}

fn read_joined(joined: proto::Joined) -> Result<Reply, String> {
    let position = here(joined.position)?;
    let recovery = match proto::Recovery::try_from(joined.recovery) {
        Ok(proto::Recovery::None) => Recovery::None,
        Ok(proto::Recovery::Replay) => Recovery::Replay,
        Ok(proto::Recovery::Gap) => {
            Recovery::Gap(read_reason(joined.reason)?.ok_or("a gap without a reason")?)
        }
        Err(_) => return Err(format!("unknown recovery {}", joined.recovery)),
    };
    Ok(Reply::Joined(Joined {
        room: room(&joined.room)?,
        epoch: position.epoch,
        offset: position.offset,
        recovery,
        replayed: joined.replayed,
        members: joined.members.map(read_members),
        state: joined.state_keys,
    }))
}

fn here(position: Option<proto::Position>) -> Result<Position, String> {
    position
        .map(read_position)
        .ok_or_else(|| "no position".to_owned())
}

fn read_publication(publication: proto::Publication) -> Result<Publication, String> {
    Ok(Publication {
        offset: publication.offset,
        lane: read_lane(publication.lane)?,
        data: match publication.payload {
            payload if publication.delete => json::delete(payload.is_some(), utf8("key", &publication.key)?)?,
            Some(PublicationPayload::Json(json)) => json_payload(json)?,
            Some(PublicationPayload::Bytes(bytes)) => Payload::Bytes(own(&bytes)),
            None => return Err("a publication without a payload".to_owned()),
        },
        from: own(&publication.from),
        msg: own(&publication.msg),
        key: own(&publication.key),
        stamps: Stamps {
            sent_us: publication.sent_us,
            received_us: publication.received_us,
            ordered_us: publication.ordered_us,
        },
    })
}

fn read_member(member: proto::Member) -> Member {
    Member {
        user: own(&member.user),
        info: own(&member.info),
    }
}

fn read_members(members: proto::Members) -> Members {
    Members {
        count: members.count,
        sample: members.sample.into_iter().map(read_member).collect(),
    }
}

fn read_reason(reason: i32) -> Result<Option<GapReason>, String> {
    match proto::GapReason::try_from(reason) {
        Ok(proto::GapReason::Unspecified) => Ok(None),
        Ok(proto::GapReason::Epoch) => Ok(Some(GapReason::Epoch)),
        Ok(proto::GapReason::Trimmed) => Ok(Some(GapReason::Trimmed)),
        Ok(proto::GapReason::TooFar) => Ok(Some(GapReason::TooFar)),
        Ok(proto::GapReason::Continuity) => Ok(Some(GapReason::Continuity)),
        Ok(proto::GapReason::Conflated) => Ok(Some(GapReason::Conflated)),
        Ok(proto::GapReason::Dropped) => Ok(Some(GapReason::Dropped)),
        Err(_) => Err(format!("unknown reason {reason}")),
    }
}

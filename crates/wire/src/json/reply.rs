//! What a server sends, encoded: replies, pushes, and the hot one, events.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use crate::{
    code::Reject,
    frame::{Member, Members, Notice, Ok as Reply, Push, Recovery},
    position::Position,
    publication::{Payload, Publication},
    room::RoomName,
};

/// Appends an event.
pub fn encode_event(room: &RoomName, publication: &Publication, out: &mut Vec<u8>) {
    out.reserve(publication.weight() + room.len() + 160);
    out.extend_from_slice(b"{\"event\":{\"room\":");
    string(room, out);
    out.push(b',');
    publication_fields(publication, out);
    out.extend_from_slice(b"}}");
}

/// Appends a publication as an object of its own.
pub fn encode_publication(publication: &Publication, out: &mut Vec<u8>) {
    out.push(b'{');
    publication_fields(publication, out);
    out.push(b'}');
}

fn publication_fields(publication: &Publication, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"offset\":");
    number(publication.offset, out);
    if let Some(lane) = publication.lane {
        out.extend_from_slice(b",\"lane\":");
        string(lane.name(), out);
    }
    match &publication.data {
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
    let texts = [
        (&b",\"from\":"[..], &publication.from),
        (b",\"msg\":", &publication.msg),
        (b",\"key\":", &publication.key),
    ];
    for (name, text) in texts {
        if !text.is_empty() {
            out.extend_from_slice(name);
            bytes_string(text, out);
        }
    }
    let stamps = &publication.stamps;
    let stamps = [
        (&b"\"sent\":"[..], stamps.sent_us),
        (b"\"received\":", stamps.received_us),
        (b"\"ordered\":", stamps.ordered_us),
    ];
    if stamps.iter().any(|(_, us)| *us > 0) {
        out.extend_from_slice(b",\"stamps\":");
        let mut before = b'{';
        for (name, us) in stamps {
            if us > 0 {
                out.push(before);
                before = b',';
                out.extend_from_slice(name);
                millis(us, out);
            }
        }
        out.push(b'}');
    }
}

/// Appends a push.
pub fn encode_push(push: &Push, out: &mut Vec<u8>) {
    match push {
        Push::Event { room, publication } => encode_event(room, publication, out),
        Push::Members(change) => {
            out.extend_from_slice(b"{\"members\":{\"room\":");
            string(&change.room, out);
            out.extend_from_slice(b",\"count\":");
            number(change.count.into(), out);
            match &change.sample {
                Some(sample) => {
                    out.extend_from_slice(b",\"sample\":");
                    members(sample, out);
                }
                None => {
                    out.extend_from_slice(b",\"joined\":");
                    members(&change.joined, out);
                    out.extend_from_slice(b",\"left\":[");
                    separated(&change.left, out, |user, out| bytes_string(user, out));
                    out.push(b']');
                }
            }
            out.extend_from_slice(b"}}");
        }
        Push::Gap {
            room,
            position,
            reason,
            count,
        } => {
            out.extend_from_slice(b"{\"gap\":{\"room\":");
            string(room, out);
            out.extend_from_slice(b",\"reason\":");
            string(reason.name(), out);
            position_fields(*position, out);
            if *count > 0 {
                out.extend_from_slice(b",\"count\":");
                number(*count, out);
            }
            out.extend_from_slice(b"}}");
        }
        Push::Part(part) => {
            out.extend_from_slice(b"{\"part\":{\"message\":");
            number(part.message.into(), out);
            out.extend_from_slice(match part.more {
                true => b",\"more\":true",
                false => b",\"more\":false",
            });
            out.extend_from_slice(b",\"text\":");
            bytes_string(&part.piece, out);
            out.extend_from_slice(b"}}");
        }
        Push::Notice(notice) => {
            out.extend_from_slice(b"{\"notice\":{\"kind\":");
            match notice {
                Notice::TokenExpiring { in_ms } => {
                    out.extend_from_slice(b"\"token_expiring\",\"in_ms\":");
                    number(*in_ms, out);
                }
                Notice::Removed { room } => {
                    out.extend_from_slice(b"\"removed\",\"room\":");
                    string(room, out);
                }
                Notice::Shutdown => out.extend_from_slice(b"\"shutdown\""),
                Notice::Draining { in_ms } => {
                    out.extend_from_slice(b"\"draining\",\"in_ms\":");
                    number(*in_ms, out);
                }
            }
            out.extend_from_slice(b"}}");
        }
    }
}

/// Appends a reply.
pub fn encode_reply(id: u32, result: &Result<Reply, Reject>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":");
    number(id.into(), out);
    match result {
        Ok(reply) => {
            out.extend_from_slice(b",\"ok\":{");
            encode_ok(reply, out);
        }
        Err(reject) => {
            out.extend_from_slice(b",\"reject\":{\"code\":");
            number(reject.code.number().into(), out);
            out.extend_from_slice(b",\"name\":");
            string(reject.code.name(), out);
            if let Some(ms) = reject.retry_after_ms {
                out.extend_from_slice(b",\"retry_after_ms\":");
                number(ms.into(), out);
            }
            if !reject.detail.is_empty() {
                out.extend_from_slice(b",\"detail\":");
                string(&reject.detail, out);
            }
        }
    }
    out.extend_from_slice(b"}}");
}

fn encode_ok(reply: &Reply, out: &mut Vec<u8>) {
    match reply {
        Reply::Connected(connected) => {
            out.extend_from_slice(b"\"connection\":");
            string(&connected.connection, out);
            out.extend_from_slice(b",\"user\":");
            string(&connected.user, out);
            if let Some(ms) = connected.expires_in_ms {
                out.extend_from_slice(b",\"expires_in_ms\":");
                number(ms, out);
            }
            for (name, value) in [
                (&b",\"ping_ms\":"[..], connected.ping_ms),
                (b",\"frame_bytes_max\":", connected.frame_bytes_max),
                (b",\"reconnect_ms\":", connected.reconnect_ms),
            ] {
                out.extend_from_slice(name);
                number(value.into(), out);
            }
        }
        Reply::Refreshed { expires_in_ms } => {
            if let Some(ms) = expires_in_ms {
                out.extend_from_slice(b"\"expires_in_ms\":");
                number(*ms, out);
            }
        }
        Reply::Joined(joined) => {
            out.extend_from_slice(b"\"room\":");
            string(&joined.room, out);
            position_fields(
                Position {
                    epoch: joined.epoch,
                    offset: joined.offset,
                },
                out,
            );
            out.extend_from_slice(match joined.recovery {
                Recovery::None => b",\"recovery\":\"none\"",
                Recovery::Replay => b",\"recovery\":\"replay\"",
                Recovery::Gap(_) => b",\"recovery\":\"gap\"",
            });
            if let Recovery::Gap(reason) = joined.recovery {
                out.extend_from_slice(b",\"reason\":");
                string(reason.name(), out);
            }
            out.extend_from_slice(b",\"replayed\":");
            number(joined.replayed.into(), out);
            if let Some(list) = &joined.members {
                out.extend_from_slice(b",\"members\":{");
                members_fields(list, out);
                out.push(b'}');
            }
            if let Some(keys) = joined.state {
                out.extend_from_slice(b",\"state\":");
                number(keys.into(), out);
            }
        }
        Reply::Filtered => out.extend_from_slice(b"\"filtered\":true"),
        Reply::Left => {}
        Reply::Published(published) => {
            out.extend_from_slice(b"\"epoch\":");
            string(&published.position.epoch.to_string(), out);
            out.extend_from_slice(b",\"offset\":");
            number(published.position.offset, out);
            out.extend_from_slice(match published.duplicate {
                true => b",\"duplicate\":true",
                false => b",\"duplicate\":false",
            });
        }
        Reply::History(page) => {
            out.extend_from_slice(b"\"room\":");
            string(&page.room, out);
            position_fields(page.head, out);
            out.extend_from_slice(b",\"oldest\":");
            number(page.oldest, out);
            out.extend_from_slice(match page.more {
                true => b",\"more\":true",
                false => b",\"more\":false",
            });
            if let Some(reason) = page.gap {
                out.extend_from_slice(b",\"gap\":");
                string(reason.name(), out);
            }
            out.extend_from_slice(b",\"publications\":[");
            separated(&page.publications, out, encode_publication);
            out.push(b']');
        }
        Reply::Presence(list) => members_fields(list, out),
        Reply::Pong(pong) => {
            for (name, ms) in [
                (&b"\"t0\":"[..], pong.t0_ms),
                (b",\"t1\":", pong.t1_ms),
                (b",\"t2\":", pong.t2_ms),
            ] {
                out.extend_from_slice(name);
                float(ms, out);
            }
        }
    }
}

fn position_fields(position: Position, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"epoch\":");
    string(&position.epoch.to_string(), out);
    out.extend_from_slice(b",\"offset\":");
    number(position.offset, out);
}

fn members_fields(list: &Members, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"count\":");
    number(list.count.into(), out);
    out.extend_from_slice(b",\"sample\":");
    members(&list.sample, out);
}

fn members(list: &[Member], out: &mut Vec<u8>) {
    out.push(b'[');
    separated(list, out, |member, out| {
        out.extend_from_slice(b"{\"user\":");
        bytes_string(&member.user, out);
        if !member.info.is_empty() {
            out.extend_from_slice(b",\"info\":");
            out.extend_from_slice(&member.info);
        }
        out.push(b'}');
    });
    out.push(b']');
}

pub(super) fn separated<T>(items: &[T], out: &mut Vec<u8>, mut write: impl FnMut(&T, &mut Vec<u8>)) {
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write(item, out);
    }
}

pub(super) fn string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a str into a Vec");
}

/// Texts from outside are kept as bytes, checked to be UTF-8 when they came in.
pub(super) fn bytes_string(text: &[u8], out: &mut Vec<u8>) {
    string(&String::from_utf8_lossy(text), out);
}

pub(super) fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let len = base64::encoded_len(bytes.len(), true).expect("a payload is far below usize::MAX");
    out.resize(start + len, 0);
    let written = BASE64.encode_slice(bytes, &mut out[start..]);
    debug_assert_eq!(written, Ok(len));
}

pub(super) fn number(value: u64, out: &mut Vec<u8>) {
    serde_json::to_writer(out, &value).expect("a number into a Vec");
}

/// Microseconds as milliseconds with up to three decimals.
pub(super) fn millis(us: u64, out: &mut Vec<u8>) {
    number(us / 1_000, out);
    let fraction = us % 1_000;
    if fraction > 0 {
        let digits = [
            b'.',
            b'0' + (fraction / 100) as u8,
            b'0' + (fraction / 10 % 10) as u8,
            b'0' + (fraction % 10) as u8,
        ];
        let len = 4 - digits.iter().rev().take_while(|d| **d == b'0').count();
        out.extend_from_slice(&digits[..len]);
    }
}

pub(super) fn float(value: f64, out: &mut Vec<u8>) {
    serde_json::to_writer(out, &value).expect("a number into a Vec");
}

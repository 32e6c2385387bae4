//! Large frames in parts, so that nothing waits behind a whole one.
//!
//! A frame above [`WHOLE_BYTES_MAX`] travels as several pushes `part` of one `message` number, each a WebSocket message of
//! its own; frames of other lanes may come in between. Put together again, the pieces are the frame's bytes,
//! and are decoded as if they had come in one message. WebSocket's own fragments would not do: no other message may come between them
//! (RFC 6455, section 5.4).

use bytes::Bytes;

use crate::{
    codec::Malformed,
    frame::{Codec, Part, Push, ServerFrame},
};

/// A frame of more bytes than this travels in parts of at most so many.
pub const WHOLE_BYTES_MAX: usize = 16 << 10;

/// Messages of which a part has come and the last has not: one for each lane is all there can be.
const OPEN_MAX: usize = 8;
/// Bytes of one message put together.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Cuts an encoded frame into the parts of message `message`.
pub fn split(codec: Codec, message: u32, frame: &[u8]) -> impl Iterator<Item = Part> {
    let mut rest = frame;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut end = rest.len().min(WHOLE_BYTES_MAX);
        // A JSON part is text: no character is cut.
        while codec == Codec::Json && end < rest.len() && rest[end] & 0xc0 == 0x80 {
            end -= 1;
        }
        let piece = Bytes::copy_from_slice(&rest[..end]);
        rest = &rest[end..];
        let more = !rest.is_empty();
        Some(Part { message, more, piece })
    })
}

/// Reads what a server sends on one connection, and puts parts together.
#[derive(Debug)]
pub struct ServerReader {
    codec: Codec,
    open: Vec<(u32, Vec<u8>)>,
}

impl ServerReader {
    /// A reader at the beginning of a connection.
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            open: Vec::new(),
        }
    }

    /// Decodes all frames of one message; those in parts when their last part has come.
    pub fn read(&mut self, message: &[u8], sink: &mut dyn FnMut(ServerFrame)) -> Result<(), Malformed> {
        let Self { codec, open } = self;
        let mut outcome = Ok(());
        codec.decode_server(message, &mut |frame| {
            if let ServerFrame::Push(Push::Part(part)) = frame {
                if outcome.is_ok() {
                    outcome = take(*codec, open, part, sink);
                }
            } else {
                sink(frame);
            }
        })?;
        outcome
    }
}

fn take(
    codec: Codec,
    open: &mut Vec<(u32, Vec<u8>)>,
    part: Part,
    sink: &mut dyn FnMut(ServerFrame),
) -> Result<(), Malformed> {
    let known = open.iter().position(|(message, _)| *message == part.message);
    let place = match known {
        Some(place) => place,
        None if open.len() < OPEN_MAX => {
            open.push((part.message, Vec::new()));
            open.len() - 1
        }
        None => {
            return Err(Malformed(format!(
                "parts of more than {OPEN_MAX} messages at a time"
            )));
        }
    };
    let bytes = &mut open[place].1;
    if bytes.len() + part.piece.len() > MESSAGE_BYTES_MAX {
        return Err(Malformed(format!(
            "a message of more than {MESSAGE_BYTES_MAX} bytes in parts"
        )));
    }
    bytes.extend_from_slice(&part.piece);
    if part.more {
        return Ok(());
    }
    let (_, whole) = open.swap_remove(place);
    codec.decode_server(&whole, sink)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::{Member, Members, Ok as Reply},
        publication::{Payload, Publication, Stamps},
        room::RoomName,
    };

    fn event(len: usize) -> Push {
        Push::Event {
            room: RoomName::parse("chat:a").unwrap(),
            publication: Publication {
                offset: 1,
                lane: None,
                // Three bytes each, so that characters lie across every boundary.
                data: Payload::Json(format!("\"{}\"", "€".repeat(len / 3)).into()),
                from: Bytes::new(),
                msg: Bytes::new(),
                key: Bytes::new(),
                stamps: Stamps::default(),
            },
        }
    }

    #[test]
    fn parts_of_several_messages_come_together_whatever_lies_between() {
        for codec in [Codec::Json, Codec::Binary] {
            let pushes = [event(100_000), event(40_001)];
            let sample = vec![
                Member {
                    user: "ann".into(),
                    info: Bytes::new()
                };
                3_000
            ];
            let reply = Ok(Reply::Presence(Members { count: 3_000, sample }));
            let mut frames: Vec<Vec<u8>> = pushes
                .iter()
                .map(|push| {
                    let mut out = Vec::new();
                    codec.encode_push(push, &mut out);
                    out
                })
                .collect();
            let mut out = Vec::new();
            codec.encode_reply(7, &reply, &mut out);
            frames.push(out);
            let mut waiting: Vec<_> = frames
                .iter()
                .enumerate()
                .map(|(n, frame)| split(codec, n as u32, frame).collect::<std::collections::VecDeque<_>>())
                .collect();
            let mut reader = ServerReader::new(codec);
            let mut seen = Vec::new();
            while waiting.iter().any(|parts| !parts.is_empty()) {
                for part in waiting.iter_mut().filter_map(|parts| parts.pop_front()) {
                    assert!(part.piece.len() <= WHOLE_BYTES_MAX);
                    let mut out = Vec::new();
                    codec.encode_push(&Push::Part(part), &mut out);
                    reader.read(&out, &mut |frame| seen.push(frame)).unwrap();
                }
            }
            let sent = [
                ServerFrame::Push(pushes[0].clone()),
                ServerFrame::Push(pushes[1].clone()),
                ServerFrame::Reply { id: 7, result: reply },
            ];
            assert!(seen.len() == 3 && sent.iter().all(|frame| seen.contains(frame)));
            assert!(reader.open.is_empty());
        }
    }

    #[test]
    fn a_server_that_never_ends_its_messages_is_refused() {
        let mut reader = ServerReader::new(Codec::Binary);
        let mut read = |message| {
            let part = Part {
                message,
                more: true,
                piece: "x".into(),
            };
            let mut out = Vec::new();
            Codec::Binary.encode_push(&Push::Part(part), &mut out);
            reader.read(&out, &mut |_| {})
        };
        for message in 0..OPEN_MAX as u32 {
            read(message).unwrap();
        }
        assert!(read(0).is_ok());
        assert!(read(99).is_err());
    }
}

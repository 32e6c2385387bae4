//! Values into whole WebSocket frames, once per kind of link; never per subscriber.

use bytes::Bytes;
use tidegate_wire::{
    Codec, Publication, Reject, RoomName,
    frame::{Ok, Push},
    parts::{self, WHOLE_BYTES_MAX},
    ws::{
        deflate::Deflater,
        frame::{Opcode, server_frame},
    },
};

use crate::shard::Link;

/// Longest header of a frame of ours.
const HEADER_BYTES_MAX: usize = 10;
/// Every kind of link a frame can be encoded for, as small numbers.
pub const LINKS: usize = 4;

impl Link {
    /// Returns this link's number, below [`LINKS`].
    pub fn number(self) -> usize {
        let codec = match self.codec {
            Codec::Json => 0,
            Codec::Binary => 2,
        };
        codec + usize::from(self.deflate)
    }

    /// Returns the link with this number.
    pub fn from_number(number: usize) -> Self {
        Self {
            codec: if number & 2 == 0 {
                Codec::Json
            } else {
                Codec::Binary
            },
            deflate: number & 1 == 1,
        }
    }

    fn opcode(self) -> Opcode {
        match self.codec {
            Codec::Json => Opcode::Text,
            Codec::Binary => Opcode::Binary,
        }
    }
}

/// Encodes with buffers of its own that are used again.
#[derive(Default)]
pub struct Encoder {
    scratch: Vec<u8>,
    deflater: Option<Deflater>,
    /// Numbers the frames that travel in parts.
    message: u32,
}

impl Encoder {
    /// Encodes a publication for every subscriber on links like this one.
    pub fn event(&mut self, link: Link, room: &RoomName, publication: &Publication) -> Bytes {
        self.scratch.clear();
        link.codec.encode_event(room, publication, &mut self.scratch);
        self.finish(link)
    }

    /// Encodes a push for every subscriber on links like this one.
    pub fn push(&mut self, link: Link, push: &Push) -> Bytes {
        self.scratch.clear();
        link.codec.encode_push(push, &mut self.scratch);
        self.finish(link)
    }

    /// Encodes a reply. Not compressed: it is small, and one session's own.
    pub fn reply(&mut self, link: Link, id: u32, result: &Result<Ok, Reject>) -> Bytes {
        self.scratch.clear();
        link.codec.encode_reply(id, result, &mut self.scratch);
        let plain = Link {
            deflate: false,
            ..link
        };
        self.finish(plain)
    }

    fn finish(&mut self, link: Link) -> Bytes {
        let whole = self.frame(link);
        match whole.len() > WHOLE_BYTES_MAX + HEADER_BYTES_MAX {
            true => self.in_parts(link),
            false => whole,
        }
    }

    fn frame(&mut self, link: Link) -> Bytes {
        if link.deflate {
            let deflater = self.deflater.get_or_insert_with(Deflater::new);
            return deflater.compress_frame(link.opcode(), &self.scratch);
        }
        server_frame(link.opcode(), &self.scratch)
    }

    /// The WebSocket frames of all parts, one after another; the outbox takes them apart again.
    fn in_parts(&mut self, link: Link) -> Bytes {
        self.message = self.message.wrapping_add(1);
        let frame = std::mem::take(&mut self.scratch);
        let mut all = Vec::with_capacity(frame.len() + frame.len() / 4);
        for part in parts::split(link.codec, self.message, &frame) {
            self.scratch.clear();
            link.codec.encode_push(&Push::Part(part), &mut self.scratch);
            all.extend_from_slice(&self.frame(link));
        }
        self.scratch = frame;
        all.into()
    }
}

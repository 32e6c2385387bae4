//! One face for both codecs: the connection's subprotocol decides which.
//!
//! Decoding calls `sink` once per command, in order. A command that has an id but a
//! wrong body is a [`BadCommand`]: it can be answered. A message without even that is
//! [`Malformed`], and the connection ends.

use crate::{
    binary,
    code::Reject,
    frame::{Codec, Ok as Reply, Push, Request, ServerFrame},
    json,
    publication::Publication,
    room::RoomName,
};

/// A command that can only be answered "no".
#[derive(Debug, Clone, PartialEq)]
pub struct BadCommand {
    /// The command's id.
    pub id: u32,
    /// Always `malformed`, with the field and the value.
    pub reject: Reject,
}

/// Not a frame of this protocol: there is nothing to answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

impl Codec {
    /// Decodes all commands of one WebSocket message. Text messages are valid UTF-8 already.
    pub fn decode(
        self,
        message: &[u8],
        sink: &mut dyn FnMut(Result<Request, BadCommand>),
    ) -> Result<(), Malformed> {
        match self {
            Self::Json => json::decode(message, sink),
            Self::Binary => binary::decode(message, sink),
        }
    }

    /// Appends a reply.
    pub fn encode_reply(self, id: u32, result: &Result<Reply, Reject>, out: &mut Vec<u8>) {
        match self {
            Self::Json => json::encode_reply(id, result, out),
            Self::Binary => binary::encode_reply(id, result, out),
        }
    }

    /// Appends a push.
    pub fn encode_push(self, push: &Push, out: &mut Vec<u8>) {
        match self {
            Self::Json => json::encode_push(push, out),
            Self::Binary => binary::encode_push(push, out),
        }
    }

    /// Appends an event: the hot one. The payload is copied as it is, once.
    pub fn encode_event(self, room: &RoomName, publication: &Publication, out: &mut Vec<u8>) {
        match self {
            Self::Json => json::encode_event(room, publication, out),
            Self::Binary => binary::encode_event(room, publication, out),
        }
    }

    /// Appends a command, as a client does.
    pub fn encode_request(self, request: &Request, out: &mut Vec<u8>) {
        match self {
            Self::Json => json::encode_request(request, out),
            Self::Binary => binary::encode_request(request, out),
        }
    }

    /// Decodes all frames of one message from a server, as a client does.
    pub fn decode_server(self, message: &[u8], sink: &mut dyn FnMut(ServerFrame)) -> Result<(), Malformed> {
        match self {
            Self::Json => json::decode_server(message, sink),
            Self::Binary => binary::decode_server(message, sink),
        }
    }
}

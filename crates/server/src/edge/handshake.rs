//! What the first bytes of a connection ask for, and what is answered.
//!
//! ```text
//!   GET /v1/ws, Upgrade: websocket, a subprotocol of ours, an origin allowed ─► 101, a session
//!   any other WebSocket upgrade, or one that is wrong                        ─► 4xx in words
//!   any other HTTP request                                                   ─► the back office
//!   not HTTP                                                                 ─► 400
//! ```
//!
//! Pure: bytes in, a judgement out. The grammar is `wire`'s, the policy is here.

use bytes::Bytes;
use tidegate_core::Link;
use tidegate_wire::{
    Codec,
    ws::handshake::{self, Parsed, Refusal, Request},
};

use super::{HandshakeFailure, origin::Origins};

/// Where WebSockets are opened.
pub const TARGET: &str = "/v1/ws";
/// Our subprotocols; the client's order decides between them.
const CODECS: [Codec; 2] = [Codec::Json, Codec::Binary];
/// When a client that is refused for want of room may try again.
const RETRY_AFTER_SECS: u32 = 2;

/// The policy at the door.
#[derive(Debug)]
pub struct Door {
    /// Which pages may open a WebSocket.
    pub origins: Origins,
    /// Whether permessage-deflate is agreed to.
    pub has_deflate: bool,
    /// Largest HTTP head.
    pub head_bytes_max: usize,
    /// Largest message from a client.
    pub frame_bytes_max: usize,
}

/// What to do with a connection.
#[derive(Debug)]
pub(crate) enum Judgement {
    /// The head is not whole yet.
    Partial,
    /// Open a session.
    Upgrade(Upgrade),
    /// Plain HTTP, for the back office.
    HandOver,
    /// Say this, and end.
    Refuse { response: Vec<u8>, failure: HandshakeFailure },
}

/// A WebSocket that may be opened.
#[derive(Debug)]
pub(crate) struct Upgrade {
    /// What was agreed on.
    pub(crate) link: Link,
    /// The 101.
    pub(crate) response: Bytes,
    /// Bytes of the head; what follows are frames.
    pub(crate) len: usize,
}

/// Judges what has come. `judged` bytes of it were found to be partial before: they are
/// not parsed again until an end of the head can be seen, or a slow peer would cost its
/// length squared.
pub(crate) fn judge(bytes: &[u8], judged: usize, door: &Door) -> Judgement {
    let fresh = &bytes[judged.saturating_sub(3)..];
    let has_end = fresh.windows(2).any(|pair| pair == b"\n\n") || fresh.windows(3).any(|three| three == b"\n\r\n");
    if judged > 0 && !has_end {
        return partial(bytes, door);
    }
    match handshake::parse_request(bytes) {
        Ok(Parsed::Partial) => partial(bytes, door),
        Ok(Parsed::Request(request)) if request.len > door.head_bytes_max => too_large(),
        Ok(Parsed::Request(request)) => decide(&request, door),
        Err(error) => refuse(Refusal::BadRequest(error.to_string()), HandshakeFailure::Malformed),
    }
}

fn partial(bytes: &[u8], door: &Door) -> Judgement {
    match bytes.len() > door.head_bytes_max {
        true => too_large(),
        false => Judgement::Partial,
    }
}

fn decide(request: &Request<'_>, door: &Door) -> Judgement {
    let path = request.target.split('?').next().unwrap_or_default();
    if path != TARGET {
        return match request.is_upgrade {
            true => refuse(Refusal::NotFound, HandshakeFailure::NotFound),
            false => Judgement::HandOver,
        };
    }
    let wrong = |refusal| refuse(refusal, HandshakeFailure::Upgrade);
    if !request.is_upgrade || request.version != Some(b"13") {
        return wrong(Refusal::UpgradeRequired);
    }
    let Some(key) = request.key else {
        return wrong(Refusal::BadRequest("Sec-WebSocket-Key is missing".to_owned()));
    };
    if !door.origins.allow(request.origin, request.host) {
        return refuse(Refusal::Forbidden, HandshakeFailure::Origin);
    }
    let offers = |codec: &Codec| request.offers_protocol(codec.subprotocol());
    let Some(codec) = CODECS.into_iter().find(offers) else {
        let words = "offer tidegate.v1.json or tidegate.v1.bin in Sec-WebSocket-Protocol".to_owned();
        return refuse(Refusal::BadRequest(words), HandshakeFailure::Subprotocol);
    };
    let deflate = door.has_deflate && request.offers_deflate();
    let response = handshake::response(key, Some(codec.subprotocol()), deflate);
    let link = Link { codec, deflate };
    Judgement::Upgrade(Upgrade { link, response: response.into(), len: request.len })
}

fn too_large() -> Judgement {
    refuse(Refusal::HeadTooLarge, HandshakeFailure::TooLarge)
}

fn refuse(refusal: Refusal, failure: HandshakeFailure) -> Judgement {
    Judgement::Refuse { response: handshake::refusal(&refusal), failure }
}

/// There is no room now.
pub(crate) fn busy_response() -> Vec<u8> {
    handshake::refusal(&Refusal::Unavailable { retry_after_secs: RETRY_AFTER_SECS })
}

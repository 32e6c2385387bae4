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

use std::time::Duration;

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
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(2);

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
    Refuse {
        response: Vec<u8>,
        failure: HandshakeFailure,
    },
}

/// A WebSocket that may be opened.
#[derive(Debug)]
pub(crate) struct Upgrade {
    /// What was agreed on.
    pub(crate) link: Link,
    /// The client may compress.
    pub(crate) has_deflate: bool,
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
    let has_end =
        fresh.windows(2).any(|pair| pair == b"\n\n") || fresh.windows(3).any(|three| three == b"\n\r\n");
    if judged > 0 && !has_end {
        return partial(bytes, door);
    }
    match handshake::parse_request(bytes) {
        Ok(Parsed::Partial) => partial(bytes, door),
        Ok(Parsed::Request(request)) if request.len > door.head_bytes_max => too_large(),
        Ok(Parsed::Request(request)) => decide(&request, door),
        Err(error) => refuse(
            Refusal::BadRequest(error.to_string()),
            HandshakeFailure::Malformed,
        ),
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
    let deflate = door.has_deflate.then(|| request.deflate()).flatten();
    let response = handshake::response(key, Some(codec.subprotocol()), deflate);
    // A frame that is compressed once for all needs the full window.
    let link = Link {
        codec,
        deflate: deflate.is_some_and(|d| d.server_window_bits.is_none_or(|bits| bits == 15)),
    };
    Judgement::Upgrade(Upgrade {
        link,
        has_deflate: deflate.is_some(),
        response: response.into(),
        len: request.len,
    })
}

fn too_large() -> Judgement {
    refuse(Refusal::HeadTooLarge, HandshakeFailure::TooLarge)
}

fn refuse(refusal: Refusal, failure: HandshakeFailure) -> Judgement {
    Judgement::Refuse {
        response: handshake::refusal(&refusal),
        failure,
    }
}

/// There is no room now.
pub(crate) fn busy_response(retry_after: Duration) -> Vec<u8> {
    handshake::refusal(&Refusal::Unavailable {
        retry_after_secs: retry_after.as_secs_f64().ceil() as u32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door() -> Door {
        Door {
            origins: Origins::default(),
            has_deflate: true,
            head_bytes_max: 512,
            frame_bytes_max: 1024,
        }
    }

    fn upgrade(more: &str) -> String {
        format!(
            "GET /v1/ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        )
    }

    const BOTH: &str = "Sec-WebSocket-Protocol: tidegate.v1.bin, tidegate.v1.json\r\n";

    fn link(more: &str) -> Link {
        match judge(upgrade(more).as_bytes(), 0, &door()) {
            Judgement::Upgrade(upgrade) => upgrade.link,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_head_in_pieces_is_partial_until_its_last_byte() {
        let head = upgrade(BOTH);
        for len in 1..head.len() {
            for judged in [0, len - 1] {
                let judgement = judge(&head.as_bytes()[..len], judged, &door());
                assert!(matches!(judgement, Judgement::Partial), "{len}: {judgement:?}");
            }
        }
        for judged in 0..head.len() {
            assert!(
                matches!(judge(head.as_bytes(), judged, &door()), Judgement::Upgrade(_)),
                "{judged}"
            );
        }
    }

    #[test]
    fn deflate_is_agreed_to_only_where_one_compressed_frame_serves_all() {
        let offer = |text: &str| link(&format!("{BOTH}Sec-WebSocket-Extensions: {text}\r\n")).deflate;
        assert!(offer("permessage-deflate; client_max_window_bits"));
        assert!(offer("permessage-deflate; server_max_window_bits=15"));
        assert!(!offer("permessage-deflate; server_max_window_bits=10"));
        assert!(!link(BOTH).deflate);
    }

    #[test]
    fn a_head_that_is_too_large_is_refused_whole_or_not() {
        let long = upgrade(&format!("{BOTH}X: {}\r\n", "x".repeat(512)));
        for len in [513, long.len()] {
            let Judgement::Refuse { failure, .. } = judge(&long.as_bytes()[..len], 0, &door()) else {
                panic!("{len}");
            };
            assert_eq!(failure, HandshakeFailure::TooLarge);
        }
    }

    #[test]
    fn other_requests_go_to_the_back_office() {
        let request = b"POST /v1/publish HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";
        assert!(matches!(judge(request, 0, &door()), Judgement::HandOver));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_and_no_pieces_of_them_are_too_much(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 1..1500),
            is_request in proptest::bool::ANY,
            part in 0.0..1.0f64,
        ) {
            let mut bytes = bytes;
            if is_request {
                bytes.splice(0..0, upgrade(BOTH).into_bytes());
            }
            let judged = (bytes.len() as f64 * part) as usize;
            match judge(&bytes, judged, &door()) {
                Judgement::Upgrade(upgrade) => proptest::prop_assert!(upgrade.len <= bytes.len()),
                Judgement::Partial => proptest::prop_assert!(bytes.len() <= door().head_bytes_max),
                Judgement::HandOver | Judgement::Refuse { .. } => {}
            }
        }
    }
}

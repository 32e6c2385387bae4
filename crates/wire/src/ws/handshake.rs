//! The HTTP upgrade (RFC 6455, section 4): a head in, what it asks for out; answers.
//!
//! The grammar is httparse's. Policy (which path, which origin, which subprotocol) is the
//! edge's. Both sides are here, so that clients and tests speak the same.

use std::fmt::Write;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use sha1::{Digest, Sha1};

/// Headers of one request or response.
const HEADERS_MAX: usize = 64;
/// RFC 6455, section 1.3.
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What the bytes of a head hold so far.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "it lives for one call, and a box would cost more"
)]
pub enum Parsed<'a> {
    /// Its end has not come.
    Partial,
    /// A whole request.
    Request(Request<'a>),
}

/// Not an HTTP/1.1 head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an HTTP/1.1 request: {0}")]
pub struct HandshakeError(&'static str);

/// A request's head, as far as a WebSocket cares.
#[derive(Debug)]
pub struct Request<'a> {
    /// Bytes of the head, with its last empty line.
    pub len: usize,
    /// `GET` and so on.
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// It asks to become a WebSocket.
    pub is_upgrade: bool,
    /// `Host`.
    pub host: Option<&'a [u8]>,
    /// `Origin`: browsers always send it.
    pub origin: Option<&'a [u8]>,
    /// `Sec-WebSocket-Key`, if it is one: 16 bytes in base64.
    pub key: Option<&'a [u8]>,
    /// `Sec-WebSocket-Version`.
    pub version: Option<&'a [u8]>,
    protocols: [&'a [u8]; 4],
    extensions: [&'a [u8]; 4],
}

/// Reads a request's head from the beginning of `bytes`.
pub fn parse_request(bytes: &[u8]) -> Result<Parsed<'_>, HandshakeError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let len = match request.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(Parsed::Partial),
        Err(httparse::Error::TooManyHeaders) => return Err(HandshakeError("more than 64 headers")),
        Err(_) => return Err(HandshakeError("the head is malformed")),
    };
    let mut parsed = Request {
        len,
        method: request.method.unwrap_or_default(),
        target: request.path.unwrap_or_default(),
        is_upgrade: false,
        host: None,
        origin: None,
        key: None,
        version: None,
        protocols: [b""; 4],
        extensions: [b""; 4],
    };
    let (mut to_websocket, mut of_connection) = (false, false);
    for header in request.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        let value = header.value.trim_ascii();
        if is("upgrade") {
            to_websocket |= has_token(value, b"websocket");
        } else if is("connection") {
            of_connection |= has_token(value, b"upgrade");
        } else if is("host") {
            parsed.host = Some(value);
        } else if is("origin") {
            parsed.origin = Some(value);
        } else if is("sec-websocket-key") {
            let is_key = value.len() == 24 && BASE64.decode(value).is_ok_and(|key| key.len() == 16);
            parsed.key = is_key.then_some(value);
        } else if is("sec-websocket-version") {
            parsed.version = Some(value);
        } else if is("sec-websocket-protocol") {
            keep(&mut parsed.protocols, value);
        } else if is("sec-websocket-extensions") {
            keep(&mut parsed.extensions, value);
        }
    }
    parsed.is_upgrade = to_websocket && of_connection && parsed.method == "GET" && request.version == Some(1);
    Ok(Parsed::Request(parsed))
}

/// A header may come several times; more than four are not looked at.
fn keep<'a>(places: &mut [&'a [u8]; 4], value: &'a [u8]) {
    if let Some(place) = places.iter_mut().find(|place| place.is_empty()) {
        *place = value;
    }
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

fn has_token(value: &[u8], token: &[u8]) -> bool {
    tokens(value).any(|t| t.eq_ignore_ascii_case(token))
}

/// permessage-deflate as it was agreed on; always without context takeover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deflate {
    /// The client asked that the server's window be no larger: 9 to 15 bits.
    pub server_window_bits: Option<u8>,
}

impl Request<'_> {
    /// Whether the client offers this subprotocol.
    pub fn offers_protocol(&self, name: &str) -> bool {
        let all = self.protocols.iter().flat_map(|value| tokens(value));
        all.into_iter().any(|protocol| protocol == name.as_bytes())
    }

    /// The first offer of permessage-deflate that can be honoured.
    pub fn deflate(&self) -> Option<Deflate> {
        let offers = self.extensions.iter().flat_map(|value| tokens(value));
        offers.into_iter().find_map(deflate_offer)
    }
}

/// RFC 7692, section 7.1: an offer with an unknown or wrong parameter is declined.
fn deflate_offer(offer: &[u8]) -> Option<Deflate> {
    let mut parts = offer.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    if !parts.next()?.eq_ignore_ascii_case(b"permessage-deflate") {
        return None;
    }
    let mut deflate = Deflate {
        server_window_bits: None,
    };
    let mut seen: Vec<&[u8]> = Vec::new();
    for part in parts {
        let mut halves = part.splitn(2, |byte| *byte == b'=').map(<[u8]>::trim_ascii);
        let name = halves.next()?;
        let value = halves.next();
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
        match (name, value) {
            (
                b"server_no_context_takeover" | b"client_no_context_takeover" | b"client_max_window_bits",
                None,
            ) => {}
            (b"client_max_window_bits", Some(bits)) => {
                window_bits(bits)?;
            }
            (b"server_max_window_bits", Some(bits)) => deflate.server_window_bits = Some(window_bits(bits)?),
            _ => return None,
        }
    }
    // No window of 8 bits can be promised: a message of 256 bytes may reach 258 back.
    match deflate.server_window_bits {
        Some(8) => None,
        Some(_) | None => Some(deflate),
    }
}

fn window_bits(value: &[u8]) -> Option<u8> {
    let value = value
        .strip_prefix(b"\"")
        .and_then(|v| v.strip_suffix(b"\""))
        .unwrap_or(value);
    let bits = std::str::from_utf8(value).ok()?.parse().ok()?;
    let is_plain = !value.starts_with(b"0") && !value.starts_with(b"+");
    (is_plain && (8..=15).contains(&bits)).then_some(bits)
}

/// The answer to a key (RFC 6455, section 4.2.2).
pub fn accept_key(key: &[u8]) -> String {
    BASE64.encode(Sha1::new().chain_update(key).chain_update(ACCEPT_GUID).finalize())
}

/// The 101 that opens a WebSocket.
pub fn response(key: &[u8], protocol: Option<&str>, deflate: Option<Deflate>) -> Vec<u8> {
    let mut head = String::with_capacity(256);
    head.push_str("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    head.push_str("Sec-WebSocket-Accept: ");
    head.push_str(&accept_key(key));
    if let Some(protocol) = protocol {
        head.push_str("\r\nSec-WebSocket-Protocol: ");
        head.push_str(protocol);
    }
    if let Some(deflate) = deflate {
        head.push_str("\r\nSec-WebSocket-Extensions: permessage-deflate");
        head.push_str("; server_no_context_takeover; client_no_context_takeover");
        if let Some(bits) = deflate.server_window_bits {
            let _ = write!(head, "; server_max_window_bits={bits}");
        }
    }
    head.push_str("\r\n\r\n");
    head.into_bytes()
}

/// Why no WebSocket is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// 400, in words.
    BadRequest(String),
    /// 403: the origin is not allowed.
    Forbidden,
    /// 404.
    NotFound,
    /// 426: it must be a WebSocket of version 13.
    UpgradeRequired,
    /// 431.
    HeadTooLarge,
    /// 503: come back.
    Unavailable {
        /// When.
        retry_after_secs: u32,
    },
}

/// The response that says so; the connection ends after it.
pub fn refusal(refusal: &Refusal) -> Vec<u8> {
    let (status, extra, words) = match refusal {
        Refusal::BadRequest(words) => ("400 Bad Request", String::new(), words.as_str()),
        Refusal::Forbidden => ("403 Forbidden", String::new(), "this origin is not allowed"),
        Refusal::NotFound => (
            "404 Not Found",
            String::new(),
            "no WebSocket is opened here; try /v1/ws",
        ),
        Refusal::UpgradeRequired => (
            "426 Upgrade Required",
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n".to_owned(),
            "a WebSocket of version 13 is expected here",
        ),
        Refusal::HeadTooLarge => (
            "431 Request Header Fields Too Large",
            String::new(),
            "the request's head is too large",
        ),
        Refusal::Unavailable { retry_after_secs } => (
            "503 Service Unavailable",
            format!("Retry-After: {retry_after_secs}\r\n"),
            "the server has no room for more connections now",
        ),
    };
    let len = words.len() + 1;
    format!(
        "HTTP/1.1 {status}\r\n{extra}Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{words}\n"
    )
    .into_bytes()
}

/// A client's request to open a WebSocket; `key` is 16 random bytes.
pub fn request(host: &str, target: &str, key: [u8; 16], protocols: &[&str]) -> Vec<u8> {
    let key = BASE64.encode(key);
    let mut head = format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
    );
    if !protocols.is_empty() {
        let _ = write!(head, "Sec-WebSocket-Protocol: {}\r\n", protocols.join(", "));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// Reads the server's answer; none while its end has not come. Returns the head's length.
pub fn parse_response(bytes: &[u8], key: [u8; 16]) -> Result<Option<usize>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let len = match response.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(format!("not an HTTP response: {error}")),
    };
    let code = response.code.unwrap_or_default();
    if code != 101 {
        let reason = response.reason.unwrap_or_default();
        return Err(format!("the server answered {code} {reason}"));
    }
    let expected = accept_key(BASE64.encode(key).as_bytes());
    let accept = response
        .headers
        .iter()
        .find(|h| h.name.eq_ignore_ascii_case("sec-websocket-accept"));
    match accept.is_some_and(|header| header.value.trim_ascii() == expected.as_bytes()) {
        true => Ok(Some(len)),
        false => Err("the server's Sec-WebSocket-Accept is wrong".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(head: &str) -> Request<'_> {
        match parse_request(head.as_bytes()).unwrap() {
            Parsed::Request(request) => request,
            Parsed::Partial => panic!("partial: {head}"),
        }
    }

    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(
            accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn a_clients_request_is_understood_and_its_answer_too() {
        let key = [7; 16];
        let head = request("example.test", "/v1/ws?x=1", key, &["a", "tidegate.v1.json"]);
        for cut in 0..head.len() {
            assert!(
                matches!(parse_request(&head[..cut]), Ok(Parsed::Partial)),
                "{cut}"
            );
        }
        let text = String::from_utf8(head).unwrap();
        let parsed = whole(&text);
        assert!(parsed.is_upgrade && parsed.version == Some(b"13"));
        assert!(parsed.offers_protocol("tidegate.v1.json") && !parsed.offers_protocol("tidegate"));
        assert_eq!((parsed.target, parsed.len), ("/v1/ws?x=1", text.len()));
        let answer = response(parsed.key.unwrap(), Some("a"), parsed.deflate());
        assert_eq!(parse_response(&answer, key), Ok(Some(answer.len())));
        assert!(parse_response(&answer, [8; 16]).is_err());
    }

    #[test]
    fn deflate_is_agreed_on_only_as_it_can_be_kept() {
        let offer = |extensions: &str| {
            let head = format!("GET / HTTP/1.1\r\nSec-WebSocket-Extensions: {extensions}\r\n\r\n");
            whole(&head).deflate().map(|d| d.server_window_bits)
        };
        for (extensions, agreed) in [
            ("permessage-deflate", Some(None)),
            ("permessage-deflate; client_max_window_bits", Some(None)),
            (
                "permessage-deflate; client_max_window_bits=9; server_no_context_takeover",
                Some(None),
            ),
            ("permessage-deflate; server_max_window_bits=9", Some(Some(9))),
            ("permessage-deflate; server_max_window_bits=8", None),
            ("permessage-deflate; server_max_window_bits=16", None),
            ("permessage-deflate; server_max_window_bits", None),
            ("permessage-deflate; server_no_context_takeover=1", None),
            ("permessage-deflate; what", None),
            ("x-webkit-deflate-frame", None),
            ("permessage-deflate; what, permessage-deflate", Some(None)),
        ] {
            assert_eq!(offer(extensions), agreed, "{extensions}");
        }
    }

    #[test]
    fn other_requests_are_no_upgrades() {
        for head in [
            "GET /v1/ws HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST /v1/ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            "GET /v1/ws HTTP/1.0\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            "GET /v1/ws HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        ] {
            assert!(!whole(head).is_upgrade, "{head}");
        }
        assert!(parse_request(b"\x16\x03\x01\x02\x00\x01\x00").is_err());
        assert!(parse_request(b"hello there\r\n\r\n").is_err());
    }
}

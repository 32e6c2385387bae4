//! One WebSocket frame (RFC 6455, section 5.2): its header, read and written.
//!
//! ```text
//!   0               1               2 ...
//!  +-+-+-+-+-------+-+-------------+-------------------------------+
//!  |F|R|R|R|opcode |M| length (7)  | 16 bits if 126, 64 if 127     |
//!  |I|S|S|S| (4)   |A|             +-------------------------------+
//!  |N|V|V|V|       |S|             | 32 bits of mask, if M         |
//!  | |1|2|3|       |K|             +-------------------------------+
//!  +-+-+-+-+-------+-+-------------+ payload ...
//! ```

use bytes::Bytes;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// Goes on with a fragmented message.
    Continuation = 0,
    /// UTF-8.
    Text = 1,
    /// Anything.
    Binary = 2,
    /// The last frame.
    Close = 8,
    /// Asks for a pong.
    Ping = 9,
    /// Answers a ping.
    Pong = 10,
}

impl Opcode {
    /// Whether it may come within a fragmented message, and may not be fragmented itself.
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The message's last frame.
    pub fin: bool,
    /// Compressed (RFC 7692).
    pub rsv1: bool,
    /// What it is.
    pub opcode: Opcode,
    /// The mask, if there is one.
    pub mask: Option<[u8; 4]>,
    /// Bytes of payload.
    pub len: u64,
}

/// A violation of RFC 6455, and the code to close with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ProtocolError {
    /// 1002, 1007 or 1009.
    pub code: u16,
    /// For the operator.
    pub reason: &'static str,
}

/// Reads a header; none when more bytes are needed. Returns it and its length.
pub fn parse_header(bytes: &[u8]) -> Result<Option<(Header, usize)>, ProtocolError> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    let wrong = |reason| ProtocolError { code: 1002, reason };
    if first & 0x30 != 0 {
        return Err(wrong("a reserved bit that was not agreed on"));
    }
    let opcode = match first & 0x0f {
        0 => Opcode::Continuation,
        1 => Opcode::Text,
        2 => Opcode::Binary,
        8 => Opcode::Close,
        9 => Opcode::Ping,
        10 => Opcode::Pong,
        _ => return Err(wrong("a reserved opcode")),
    };
    let (len, used) = match second & 0x7f {
        126 => match rest {
            [a, b, ..] => (u64::from(u16::from_be_bytes([*a, *b])), 4),
            _ => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(bytes) if bytes[0] >= 0x80 => return Err(wrong("a length with its highest bit set")),
            Some(bytes) => (u64::from_be_bytes(*bytes), 10),
            None => return Ok(None),
        },
        short => (u64::from(short), 2),
    };
    let (mask, used) = match second & 0x80 {
        0 => (None, used),
        _ => match bytes[used..].first_chunk::<4>() {
            Some(mask) => (Some(*mask), used + 4),
            None => return Ok(None),
        },
    };
    let header = Header {
        fin: first & 0x80 != 0,
        rsv1: first & 0x40 != 0,
        opcode,
        mask,
        len,
    };
    Ok(Some((header, used)))
}

/// Appends an unmasked header of a whole message.
pub fn write_header(out: &mut Vec<u8>, opcode: Opcode, rsv1: bool, len: usize) {
    out.push(0x80 | if rsv1 { 0x40 } else { 0 } | opcode as u8);
    match len {
        0..=125 => out.push(len as u8),
        126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

/// A whole unmasked frame in one buffer.
pub fn server_frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(payload.len() + 10);
    write_header(&mut out, opcode, false, payload.len());
    out.extend_from_slice(payload);
    out.into()
}

/// The whole frames in bytes of ours, one after another; what is no whole frame comes last, as it is.
pub fn split_server_frames(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let header = parse_header(&bytes).ok().flatten();
        let len = header.map_or(bytes.len(), |(header, used)| used + header.len as usize);
        Some(bytes.split_to(len.min(bytes.len())))
    })
}

/// A close frame; a reason past 123 bytes is cut.
pub fn close_frame(code: u16, reason: &str) -> Bytes {
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(&reason.as_bytes()[..end]);
    server_frame(Opcode::Close, &payload)
}

/// Appends a whole masked frame, as clients send them.
pub fn client_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: [u8; 4]) {
    let start = out.len();
    write_header(out, opcode, false, payload.len());
    out[start + 1] |= 0x80;
    out.extend_from_slice(&mask);
    let from = out.len();
    out.extend_from_slice(payload);
    unmask(&mut out[from..], mask, 0);
}

/// Applies a mask in place (it is its own inverse). `at` is how many bytes of the payload
/// came before, modulo 4.
pub fn unmask(bytes: &mut [u8], mask: [u8; 4], at: usize) {
    let mut turned = mask;
    turned.rotate_left(at % 4);
    // Eight bytes at a time: the compiler makes vectors of it.
    let [a, b, c, d] = turned;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = bytes.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(turned.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_turns_with_the_payload() {
        let mask = [1, 2, 3, 4];
        let plain: Vec<u8> = (0..100).collect();
        let mut whole = plain.clone();
        unmask(&mut whole, mask, 0);
        for cut in 0..100 {
            let mut pieces = plain.clone();
            unmask(&mut pieces[..cut], mask, 0);
            unmask(&mut pieces[cut..], mask, cut);
            assert_eq!(pieces, whole);
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let frame = close_frame(4000, &"\u{e4}".repeat(100));
        assert_eq!(frame.len(), 2 + 2 + 122);
        assert!(std::str::from_utf8(&frame[4..]).is_ok());
    }
}

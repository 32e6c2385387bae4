//! A connection's byte stream in, whole messages out.
//!
//! Bytes arrive in a buffer that a whole shard shares. A message that is whole in it is
//! handed out as a slice of it, unmasked in place and not copied. Only what is cut off by the end of
//! the buffer is kept, and only as long as it is needed: an idle connection keeps nothing.
//!
//! Checked on the way: masks, reserved bits and opcodes, shortest lengths, fragmentation,
//! control frames, close codes, UTF-8 (as early as the bytes allow), and the size of
//! a message, also of an inflated one.

use flate2::{Decompress, FlushDecompress, Status};

use super::frame::{Header, Opcode, ProtocolError, parse_header, unmask};

/// Longest payload of a control frame (RFC 6455, section 5.5).
const CONTROL_BYTES_MAX: u64 = 125;
/// Longest header: 2 + 8 + 4 bytes.
const HEADER_BYTES_MAX: usize = 14;

/// Which end of the connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Frames that come must be masked.
    Server,
    /// Frames that come must not be masked.
    Client,
}

/// One whole message, or a control frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// Valid UTF-8.
    Text(&'a [u8]),
    /// Anything.
    Binary(&'a [u8]),
    /// To be answered by a pong with the same payload.
    Ping(&'a [u8]),
    /// An answer, or unasked for.
    Pong(&'a [u8]),
    /// The peer ends; nothing after it counts.
    Close {
        /// None when the frame was empty.
        code: Option<u16>,
        /// Valid UTF-8.
        reason: &'a [u8],
    },
}

/// Takes one connection's bytes apart.
pub struct Reader {
    role: Role,
    has_deflate: bool,
    message_bytes_max: u32,
    partial: Option<Box<Partial>>,
}

/// What the end of the buffer cut off.
#[derive(Default)]
struct Partial {
    header: [u8; HEADER_BYTES_MAX],
    header_len: u8,
    frame: Option<Progress>,
    /// The payload of a control frame under way.
    control: Vec<u8>,
    /// The message under way, of one frame or several.
    message: Option<Assembly>,
}

/// A frame whose payload is still coming.
struct Progress {
    header: Header,
    left: u64,
    mask_at: usize,
}

struct Assembly {
    opcode: Opcode,
    is_compressed: bool,
    data: Vec<u8>,
    /// Up to here the text is known to be UTF-8.
    valid_to: usize,
}

impl Reader {
    /// Makes a reader. `message_bytes_max` bounds a message, compressed and inflated;
    /// `has_deflate` says that permessage-deflate was agreed on.
    pub fn new(role: Role, message_bytes_max: usize, has_deflate: bool) -> Self {
        Self {
            role,
            has_deflate,
            message_bytes_max: message_bytes_max.min(u32::MAX as usize) as u32,
            partial: None,
        }
    }

    /// Takes newly arrived bytes; ask the input for messages until there are none.
    pub fn input<'a>(&'a mut self, bytes: &'a mut [u8], inflater: &'a mut Inflater) -> Input<'a> {
        Input {
            reader: self,
            bytes,
            at: 0,
            inflater,
            finished: Vec::new(),
        }
    }

    /// Bytes kept of what was cut off.
    pub fn kept_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| {
            let message = partial.message.as_ref().map_or(0, |m| m.data.capacity());
            size_of::<Partial>() + partial.control.capacity() + message
        })
    }

    /// Checks what can be known from a header alone.
    fn check(&self, header: &Header, header_len: usize) -> Result<(), ProtocolError> {
        let is_masked = header.mask.is_some();
        match self.role {
            Role::Server if !is_masked => return Err(wrong("a client's frame without a mask")),
            Role::Client if is_masked => return Err(wrong("a server's frame with a mask")),
            Role::Server | Role::Client => {}
        }
        let shortest = 2 + match header.len {
            0..=125 => 0,
            126..=0xffff => 2,
            _ => 8,
        };
        if header_len != shortest + if is_masked { 4 } else { 0 } {
            return Err(wrong("a length that is not written as short as can be"));
        }
        let message = self.partial.as_ref().and_then(|partial| partial.message.as_ref());
        if header.opcode.is_control() {
            if header.rsv1 {
                return Err(wrong("a compressed control frame"));
            }
            if !header.fin {
                return Err(wrong("a fragmented control frame"));
            }
            if header.len > CONTROL_BYTES_MAX {
                return Err(wrong("a control frame of more than 125 bytes"));
            }
            return Ok(());
        }
        match (header.opcode, message) {
            (Opcode::Continuation, None) => return Err(wrong("a continuation of nothing")),
            (Opcode::Continuation, Some(_)) if header.rsv1 => return Err(wrong("a compressed continuation")),
            (Opcode::Continuation, Some(_)) => {}
            (_, Some(_)) => return Err(wrong("a new message within a fragmented one")),
            (_, None) if header.rsv1 && !self.has_deflate => {
                return Err(wrong("a compressed message, which was not agreed on"));
            }
            (_, None) => {}
        }
        let so_far = message.map_or(0, |message| message.data.len() as u64);
        if so_far.saturating_add(header.len) > u64::from(self.message_bytes_max) {
            return Err(too_big());
        }
        Ok(())
    }
}

/// Newly arrived bytes being taken apart.
pub struct Input<'a> {
    reader: &'a mut Reader,
    bytes: &'a mut [u8],
    at: usize,
    inflater: &'a mut Inflater,
    /// A message that was put together, while it is looked at.
    finished: Vec<u8>,
}

/// What a step of the reader found, without borrowing it.
enum Step {
    /// A whole control frame or a whole message: in the input, or in `finished`.
    Whole(Opcode, bool, Place),
    /// All bytes are taken.
    Empty,
    /// Go on.
    More,
}

enum Place {
    Input(usize, usize),
    Finished,
}

impl Input<'_> {
    /// Returns the next message; none when all bytes are taken.
    #[expect(
        clippy::should_implement_trait,
        reason = "a message borrows the input: an iterator cannot lend"
    )]
    pub fn next(&mut self) -> Result<Option<Message<'_>>, ProtocolError> {
        loop {
            match self.step()? {
                Step::More => {}
                Step::Empty => {
                    self.free();
                    return Ok(None);
                }
                Step::Whole(opcode, is_compressed, place) => {
                    let payload = match place {
                        Place::Input(from, to) => &self.bytes[from..to],
                        Place::Finished => &self.finished,
                    };
                    let is_checked = matches!(place, Place::Finished) && !is_compressed;
                    let payload = match is_compressed {
                        true => self
                            .inflater
                            .inflate(payload, self.reader.message_bytes_max as usize)?,
                        false => payload,
                    };
                    return message(opcode, payload, is_checked).map(Some);
                }
            }
        }
    }

    fn step(&mut self) -> Result<Step, ProtocolError> {
        let partial = self.reader.partial.as_deref();
        if partial.is_some_and(|partial| partial.frame.is_some()) {
            return self.take_payload();
        }
        if partial.is_some_and(|partial| partial.header_len > 0) {
            return self.complete_header();
        }
        let rest = &self.bytes[self.at..];
        if rest.is_empty() {
            return Ok(Step::Empty);
        }
        let Some((header, header_len)) = parse_header(rest)? else {
            let partial = self.reader.partial.get_or_insert_default();
            partial.header[..rest.len()].copy_from_slice(rest);
            partial.header_len = rest.len() as u8;
            self.at = self.bytes.len();
            return Ok(Step::Empty);
        };
        self.reader.check(&header, header_len)?;
        self.at += header_len;
        let left = self.bytes.len() - self.at;
        let is_single = header.fin && header.opcode != Opcode::Continuation;
        if is_single && header.len <= left as u64 {
            let (from, to) = (self.at, self.at + header.len as usize);
            self.at = to;
            if let Some(mask) = header.mask {
                unmask(&mut self.bytes[from..to], mask, 0);
            }
            return Ok(Step::Whole(header.opcode, header.rsv1, Place::Input(from, to)));
        }
        self.begin(header);
        Ok(Step::More)
    }

    /// The header was cut off: take it byte by byte until it is whole.
    fn complete_header(&mut self) -> Result<Step, ProtocolError> {
        let Some(&byte) = self.bytes.get(self.at) else {
            return Ok(Step::Empty);
        };
        self.at += 1;
        let partial = self.reader.partial.as_deref_mut().expect("a header is under way");
        partial.header[partial.header_len as usize] = byte;
        partial.header_len += 1;
        let header_len = partial.header_len as usize;
        if let Some((header, used)) = parse_header(&partial.header[..header_len])? {
            partial.header_len = 0;
            self.reader.check(&header, used)?;
            self.begin(header);
        }
        Ok(Step::More)
    }

    /// A frame begins whose payload comes in pieces, or that is a fragment.
    fn begin(&mut self, header: Header) {
        let partial = self.reader.partial.get_or_insert_default();
        if !matches!(header.opcode, Opcode::Continuation) && !header.opcode.is_control() {
            partial.message = Some(Assembly {
                opcode: header.opcode,
                is_compressed: header.rsv1,
                data: Vec::new(),
                valid_to: 0,
            });
        }
        partial.frame = Some(Progress {
            left: header.len,
            mask_at: 0,
            header,
        });
    }

    fn take_payload(&mut self) -> Result<Step, ProtocolError> {
        let partial = self.reader.partial.as_deref_mut().expect("a frame is under way");
        let progress = partial.frame.as_mut().expect("a frame is under way");
        let header = progress.header;
        let len = (self.bytes.len() - self.at).min(progress.left as usize);
        let piece = &mut self.bytes[self.at..self.at + len];
        self.at += len;
        if let Some(mask) = header.mask {
            unmask(piece, mask, progress.mask_at);
        }
        progress.mask_at = (progress.mask_at + len) % 4;
        progress.left -= len as u64;
        let is_done = progress.left == 0;
        if header.opcode.is_control() {
            partial.control.extend_from_slice(piece);
            if !is_done {
                return Ok(Step::Empty);
            }
            partial.frame = None;
            self.finished = std::mem::take(&mut partial.control);
            return Ok(Step::Whole(header.opcode, false, Place::Finished));
        }

        let message = partial.message.as_mut().expect("a data frame has its message");
        message.data.extend_from_slice(piece);
        if message.opcode == Opcode::Text && !message.is_compressed {
            message.check_text(is_done && header.fin)?;
        }
        if !is_done {
            return Ok(Step::Empty);
        }
        partial.frame = None;
        if !header.fin {
            return Ok(Step::More);
        }
        let message = partial.message.take().expect("checked above");
        self.finished = message.data;
        Ok(Step::Whole(
            message.opcode,
            message.is_compressed,
            Place::Finished,
        ))
    }

    /// Nothing is cut off: keep nothing.
    fn free(&mut self) {
        let is_idle = |partial: &Partial| {
            partial.frame.is_none() && partial.message.is_none() && partial.header_len == 0
        };
        if self.reader.partial.as_deref().is_some_and(is_idle) {
            self.reader.partial = None;
        }
    }
}

impl Assembly {
    /// Fails as soon as the text cannot become UTF-8 any more.
    fn check_text(&mut self, is_last: bool) -> Result<(), ProtocolError> {
        match simdutf8::compat::from_utf8(&self.data[self.valid_to..]) {
            Ok(_) => self.valid_to = self.data.len(),
            Err(error) if error.error_len().is_none() && !is_last => self.valid_to += error.valid_up_to(),
            Err(_) => return Err(not_utf8()),
        }
        Ok(())
    }
}

fn message(opcode: Opcode, payload: &[u8], is_checked: bool) -> Result<Message<'_>, ProtocolError> {
    Ok(match opcode {
        Opcode::Text => {
            if !is_checked && simdutf8::basic::from_utf8(payload).is_err() {
                return Err(not_utf8());
            }
            Message::Text(payload)
        }
        Opcode::Binary => Message::Binary(payload),
        Opcode::Ping => Message::Ping(payload),
        Opcode::Pong => Message::Pong(payload),
        Opcode::Close => close(payload)?,
        Opcode::Continuation => unreachable!("a continuation ends as its message's own opcode"),
    })
}

fn close(payload: &[u8]) -> Result<Message<'_>, ProtocolError> {
    let (code, reason) = match payload {
        [] => {
            return Ok(Message::Close {
                code: None,
                reason: &[],
            });
        }
        [_] => return Err(wrong("a close code of one byte")),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    // RFC 6455, section 7.4; 1012 to 1014 are IANA's.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(wrong("a close code that may not be sent"));
    }
    if simdutf8::basic::from_utf8(reason).is_err() {
        return Err(not_utf8());
    }
    Ok(Message::Close {
        code: Some(code),
        reason,
    })
}

/// A decompressor that forgets after each message, and its output. One serves a whole shard.
#[derive(Default)]
pub struct Inflater {
    decompress: Option<Decompress>,
    output: Vec<u8>,
}

impl Inflater {
    /// Inflates one message of at most `bytes_max` bytes.
    fn inflate(&mut self, payload: &[u8], bytes_max: usize) -> Result<&[u8], ProtocolError> {
        let decompress = self.decompress.get_or_insert_with(|| Decompress::new(false));
        decompress.reset(false);
        self.output.clear();
        // A peak should not stay.
        self.output.shrink_to(64 << 10);
        for part in [payload, &[0, 0, 0xff, 0xff]] {
            let before = decompress.total_in();
            loop {
                let taken = (decompress.total_in() - before) as usize;
                if self.output.len() == self.output.capacity() {
                    self.output.reserve(4096);
                }
                let status = decompress
                    .decompress_vec(&part[taken..], &mut self.output, FlushDecompress::Sync)
                    .map_err(|_| wrong("a compressed message that is not deflate"))?;
                if self.output.len() > bytes_max {
                    return Err(too_big());
                }
                let is_taken = (decompress.total_in() - before) as usize == part.len();
                let has_room = self.output.len() < self.output.capacity();
                match status {
                    // A final block may end a message before its bytes end (RFC 7692, section 7.2.3.5).
                    Status::StreamEnd => return Ok(&self.output),
                    Status::Ok | Status::BufError if is_taken && has_room => break,
                    Status::BufError if has_room => {
                        return Err(wrong("a compressed message that is not deflate"));
                    }
                    Status::Ok | Status::BufError => {}
                }
            }
        }
        Ok(&self.output)
    }
}

fn wrong(reason: &'static str) -> ProtocolError {
    ProtocolError { code: 1002, reason }
}

fn not_utf8() -> ProtocolError {
    ProtocolError {
        code: 1007,
        reason: "text that is not UTF-8",
    }
}

fn too_big() -> ProtocolError {
    ProtocolError {
        code: 1009,
        reason: "a message above the limit",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ws::{deflate::Deflater, frame::client_frame};

    #[derive(Debug, Clone, PartialEq)]
    enum Owned {
        Text(Vec<u8>),
        Binary(Vec<u8>),
        Ping(Vec<u8>),
        Pong(Vec<u8>),
        Close(Option<u16>),
    }

    fn read(reader: &mut Reader, pieces: &[&[u8]]) -> Result<Vec<Owned>, ProtocolError> {
        let mut inflater = Inflater::default();
        let mut messages = Vec::new();
        for piece in pieces {
            let mut bytes = piece.to_vec();
            let mut input = reader.input(&mut bytes, &mut inflater);
            while let Some(message) = input.next()? {
                messages.push(match message {
                    Message::Text(text) => Owned::Text(text.to_vec()),
                    Message::Binary(bytes) => Owned::Binary(bytes.to_vec()),
                    Message::Ping(bytes) => Owned::Ping(bytes.to_vec()),
                    Message::Pong(bytes) => Owned::Pong(bytes.to_vec()),
                    Message::Close { code, .. } => Owned::Close(code),
                });
            }
        }
        Ok(messages)
    }

    fn server() -> Reader {
        Reader::new(Role::Server, 1 << 20, true)
    }

    fn masked(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        client_frame(&mut out, opcode, payload, [1, 2, 3, 4]);
        if !fin {
            out[0] &= 0x7f;
        }
        out
    }

    #[test]
    fn fragments_become_one_message_with_control_frames_between() {
        let stream = [
            masked(Opcode::Text, false, "h\u{e4}".as_bytes()),
            masked(Opcode::Ping, true, b"?"),
            masked(Opcode::Continuation, false, b""),
            masked(Opcode::Continuation, true, b"llo"),
        ]
        .concat();
        let mut reader = server();
        let messages = read(&mut reader, &[&stream]).unwrap();
        assert_eq!(
            messages,
            [Owned::Ping(b"?".to_vec()), Owned::Text("h\u{e4}llo".into())]
        );
        assert_eq!(reader.kept_bytes(), 0);
    }

    #[test]
    fn violations_are_told_with_their_code() {
        let mut unmasked = masked(Opcode::Text, true, b"hi");
        unmasked[1] &= 0x7f;
        let mut reserved = masked(Opcode::Text, true, b"hi");
        reserved[0] |= 0x20;
        let mut long = vec![0x82, 0xfe, 0, 5, 0, 0, 0, 0];
        long.extend_from_slice(b"hello");
        let huge = [0x82, 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for (bytes, code) in [
            (unmasked, 1002),
            (reserved, 1002),
            (long, 1002),
            (huge.to_vec(), 1009),
            (masked(Opcode::Continuation, true, b"x"), 1002),
            (masked(Opcode::Ping, false, b"x"), 1002),
            (masked(Opcode::Ping, true, &[0; 126]), 1002),
            (masked(Opcode::Text, true, b"\xff"), 1007),
            (masked(Opcode::Text, false, b"\xed\xa0"), 1007),
            (masked(Opcode::Close, true, &[3]), 1002),
            (masked(Opcode::Close, true, &1005u16.to_be_bytes()), 1002),
            (masked(Opcode::Close, true, b"\x03\xe8\xff"), 1007),
            (
                [
                    masked(Opcode::Text, false, b"a"),
                    masked(Opcode::Text, true, b"b"),
                ]
                .concat(),
                1002,
            ),
        ] {
            let error = read(&mut server(), &[&bytes]).unwrap_err();
            assert_eq!(error.code, code, "{bytes:x?}: {error}");
        }
    }

    #[test]
    fn a_small_message_that_inflates_beyond_the_limit_is_refused() {
        let bomb = vec![b'a'; 4 << 20];
        let frame = Deflater::new().compress_frame(Opcode::Text, &bomb);
        assert!(frame.len() < 16 << 10, "{}", frame.len());
        let mut client = Reader::new(Role::Client, 1 << 20, true);
        assert_eq!(read(&mut client, &[&frame]).unwrap_err().code, 1009);
        let mut client = Reader::new(Role::Client, 8 << 20, true);
        assert_eq!(read(&mut client, &[&frame]).unwrap(), [Owned::Text(bomb)]);
    }

    #[test]
    fn an_idle_reader_is_small() {
        assert!(size_of::<Reader>() <= 24);
    }

    fn any_message() -> impl Strategy<Value = (u8, Vec<u8>, u8)> {
        (0..5u8, proptest::collection::vec(any::<u8>(), 0..300), 0..4u8)
    }

    proptest! {
        #[test]
        fn any_split_of_the_stream_gives_the_same_messages(
            messages in proptest::collection::vec(any_message(), 0..8),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut stream = Vec::new();
            let mut expected = Vec::new();
            for (kind, payload, pieces) in messages {
                let text: Vec<u8> = payload.iter().map(|b| b % 128).collect();
                let short: Vec<u8> = payload.iter().copied().take(125).collect();
                let (opcode, payload) = match kind {
                    0 => (Opcode::Text, text),
                    1 => (Opcode::Binary, payload),
                    2 => (Opcode::Ping, short),
                    3 => (Opcode::Pong, short),
                    _ => (Opcode::Binary, text),
                };
                if opcode.is_control() || pieces == 0 {
                    stream.extend(masked(opcode, true, &payload));
                } else {
                    let size = payload.len() / pieces as usize + 1;
                    let parts: Vec<&[u8]> = payload.chunks(size).collect();
                    let count = parts.len().max(1);
                    for n in 0..count {
                        let part = parts.get(n).copied().unwrap_or_default();
                        let opcode = if n == 0 { opcode } else { Opcode::Continuation };
                        stream.extend(masked(opcode, n + 1 == count, part));
                    }
                }
                expected.push(match opcode {
                    Opcode::Text => Owned::Text(payload),
                    Opcode::Binary => Owned::Binary(payload),
                    Opcode::Ping => Owned::Ping(payload),
                    _ => Owned::Pong(payload),
                });
            }
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            places.sort_unstable();
            places.push(stream.len());
            let mut from = 0;
            let pieces: Vec<&[u8]> = places
                .iter()
                .map(|to| &stream[std::mem::replace(&mut from, *to)..*to])
                .collect();
            let mut reader = server();
            prop_assert_eq!(read(&mut reader, &pieces).unwrap(), expected);
            prop_assert_eq!(reader.kept_bytes(), 0);
        }

        #[test]
        fn what_is_compressed_is_inflated_to_the_same(
            payload in proptest::collection::vec(0..40u8, 0..5_000), cut in any::<prop::sample::Index>(),
        ) {
            let frame = Deflater::new().compress_frame(Opcode::Binary, &payload);
            let cut = cut.index(frame.len());
            let mut client = Reader::new(Role::Client, 1 << 20, true);
            let messages = read(&mut client, &[&frame[..cut], &frame[cut..]]).unwrap();
            prop_assert_eq!(messages, [Owned::Binary(payload)]);
        }
    }
}

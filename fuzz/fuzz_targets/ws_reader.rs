//! Any bytes, in any pieces, in both roles, with and without compression: no panic, and the
//! same messages however the stream is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_wire::ws::reader::{Inflater, Message, Reader, Role};

type Seen = (Vec<(u8, Vec<u8>)>, Option<u16>);

fn read(bytes: &[u8], role: Role, deflate: bool, piece: usize) -> Seen {
    let mut reader = Reader::new(role, 1 << 16, deflate);
    let mut inflater = Inflater::default();
    let mut seen = Vec::new();
    for chunk in bytes.chunks(piece) {
        let mut chunk = chunk.to_vec();
        let mut input = reader.input(&mut chunk, &mut inflater);
        loop {
            match input.next() {
                Ok(None) => break,
                Ok(Some(message)) => seen.push(match message {
                    Message::Text(text) => {
                        assert!(std::str::from_utf8(text).is_ok());
                        (1, text.to_vec())
                    }
                    Message::Binary(bytes) => (2, bytes.to_vec()),
                    Message::Ping(bytes) => (9, bytes.to_vec()),
                    Message::Pong(bytes) => (10, bytes.to_vec()),
                    Message::Close { reason, .. } => (8, reason.to_vec()),
                }),
                Err(error) => return (seen, Some(error.code)),
            }
        }
    }
    assert!(reader.kept_bytes() <= 2 * (1 << 16) + 1024);
    (seen, None)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (choice, bytes) = input;
    let role = if choice & 1 == 0 { Role::Server } else { Role::Client };
    let deflate = choice & 2 != 0;
    let whole = read(bytes, role, deflate, bytes.len().max(1));
    let pieces = read(bytes, role, deflate, 1 + (choice >> 2) as usize);
    // A piecewise reader may fail earlier within a text, never later and never otherwise.
    assert_eq!(whole.1.is_some(), pieces.1.is_some());
    assert_eq!(whole.0, pieces.0);
});

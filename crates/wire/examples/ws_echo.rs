//! An echo server for the WebSocket conformance suite: the very reader, frames and compressor
//! that the server uses, on plain threads. Prints its address; ends when its input does.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use tidegate_wire::ws::{
    deflate::Deflater,
    frame::{Opcode, close_frame, server_frame},
    handshake::{self, Parsed},
    reader::{Inflater, Message, Reader, Role},
};

/// The largest case sends 16 MiB.
const MESSAGE_BYTES_MAX: usize = 32 << 20;

fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || echo(stream));
        }
    });
    // Whoever started this holds the other end.
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}

fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 64 << 10];
    let mut head = Vec::new();
    let (deflate, rest) = loop {
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        head.extend_from_slice(&buffer[..len]);
        match handshake::parse_request(&head) {
            Ok(Parsed::Partial) => {}
            Ok(Parsed::Request(request)) => {
                let deflate = request.deflate();
                stream.write_all(&handshake::response(
                    request.key.unwrap_or_default(),
                    None,
                    deflate,
                ))?;
                break (deflate, head[request.len..].to_vec());
            }
            Err(_) => return Ok(()),
        }
    };
    let mut reader = Reader::new(Role::Server, MESSAGE_BYTES_MAX, deflate.is_some());
    let bits = deflate.and_then(|deflate| deflate.server_window_bits);
    let mut deflater = deflate.map(|_| Deflater::with_window_bits(bits.unwrap_or(15)));
    let mut inflater = Inflater::default();
    let mut bytes = rest;
    loop {
        let mut out = Vec::new();
        let is_over = answer(&mut reader, &mut bytes, &mut inflater, &mut deflater, &mut out);
        stream.write_all(&out)?;
        if is_over {
            // The peer reads our close frame before the connection ends.
            stream.shutdown(std::net::Shutdown::Write)?;
            while stream.read(&mut buffer)? > 0 {}
            return Ok(());
        }
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        bytes.clear();
        bytes.extend_from_slice(&buffer[..len]);
    }
}

/// Appends the answers to `out`; returns whether the connection is over.
fn answer(
    reader: &mut Reader,
    bytes: &mut [u8],
    inflater: &mut Inflater,
    deflater: &mut Option<Deflater>,
    out: &mut Vec<u8>,
) -> bool {
    let mut input = reader.input(bytes, inflater);
    // The suite counts what comes compressed.
    let mut frame = |opcode, payload: &[u8]| match deflater {
        Some(deflater) => deflater.compress_frame_always(opcode, payload),
        None => server_frame(opcode, payload),
    };
    loop {
        match input.next() {
            Ok(None) => return false,
            Ok(Some(Message::Text(text))) => out.extend(frame(Opcode::Text, text)),
            Ok(Some(Message::Binary(bytes))) => out.extend(frame(Opcode::Binary, bytes)),
            Ok(Some(Message::Ping(payload))) => out.extend(server_frame(Opcode::Pong, payload)),
            Ok(Some(Message::Pong(_))) => {}
            Ok(Some(Message::Close { code, .. })) => {
                out.extend(
                    code.map_or_else(|| server_frame(Opcode::Close, b""), |code| close_frame(code, "")),
                );
                return true;
            }
            Err(error) => {
                out.extend(close_frame(error.code, error.reason));
                return true;
            }
        }
    }
}

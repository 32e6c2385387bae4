//! Any bytes as an HTTP head: no panic, and what is understood lies within them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_wire::ws::handshake::{Parsed, accept_key, parse_request, parse_response, response};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Parsed::Request(request)) = parse_request(bytes) {
        assert!(request.len <= bytes.len());
        let _ = request.offers_protocol("tidegate.v1.json");
        let answer = response(request.key.unwrap_or_default(), None, request.deflate());
        assert!(answer.ends_with(b"\r\n\r\n"));
        let _ = accept_key(request.key.unwrap_or_default());
    }
    let _ = parse_response(bytes, [0; 16]);
});

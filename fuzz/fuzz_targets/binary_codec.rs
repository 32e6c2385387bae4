//! Any bytes as commands and as what a server sends: no panic, and what was understood is
//! written and understood again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_wire::{Codec, ServerFrame};

fuzz_target!(|bytes: &[u8]| {
    let codec = Codec::Binary;
    let mut requests = Vec::new();
    let _ = codec.decode(bytes, &mut |request| requests.extend(request.ok()));
    for request in &requests {
        let mut written = Vec::new();
        codec.encode_request(request, &mut written);
        let mut again = Vec::new();
        codec
            .decode(&written, &mut |request| {
                again.push(request.expect("written by us"))
            })
            .expect("written by us");
        // A NaN equals nothing, not even itself.
        let text = (format!("{request:?}"), format!("{:?}", again[0]));
        assert_eq!(text.0, text.1);
    }
    let mut frames = Vec::new();
    let _ = codec.decode_server(bytes, &mut |frame| frames.push(frame));
    for frame in &frames {
        let mut written = Vec::new();
        match frame {
            ServerFrame::Reply { id, result } => codec.encode_reply(*id, result, &mut written),
            ServerFrame::Push(push) => codec.encode_push(push, &mut written),
        }
        let mut again = Vec::new();
        codec
            .decode_server(&written, &mut |frame| again.push(frame))
            .expect("written by us");
        assert_eq!(format!("{frame:?}"), format!("{:?}", again[0]));
    }
});

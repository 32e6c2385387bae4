//! Measures `encode_event`, the codecs' hot path: nanoseconds for one 500-byte payload.
//!
//! `cargo run --release -p tidegate-wire --example encode_event`. Each figure is the median
//! of eleven runs; the buffer is reused, as in a shard, so that nothing is allocated.

use std::{hint::black_box, time::Instant};

use bytes::Bytes;
use tidegate_wire::{Codec, Payload, Publication, RoomName, Stamps};

const EVENTS: u32 = 200_000;
const RUNS: usize = 11;

fn main() {
    let room = RoomName::parse("chat:lobby").expect("a good name");
    let text = "x".repeat(489);
    let json = Payload::Json(format!("{{\"text\":\"{text}\"}}").into());
    let bytes = Payload::Bytes(vec![0xa5; 500].into());
    for (name, codec, data) in [
        ("json, JSON payload", Codec::Json, &json),
        ("json, bytes payload", Codec::Json, &bytes),
        ("binary, JSON payload", Codec::Binary, &json),
        ("binary, bytes payload", Codec::Binary, &bytes),
    ] {
        let publication = Publication {
            offset: 123_456,
            data: data.clone(),
            from: Bytes::from_static(b"ann"),
            msg: Bytes::from_static(b"b7c1-123456"),
            key: Bytes::new(),
            lane: None,
            stamps: Stamps {
                sent_us: 1_764_800_000_000_250,
                received_us: 1_764_800_000_001_125,
                ordered_us: 1_764_800_000_001_200,
            },
        };
        let mut out = Vec::new();
        let mut figures: Vec<f64> = (0..RUNS)
            .map(|_| {
                let start = Instant::now();
                for _ in 0..EVENTS {
                    out.clear();
                    codec.encode_event(black_box(&room), black_box(&publication), &mut out);
                    black_box(&out);
                }
                start.elapsed().as_nanos() as f64 / f64::from(EVENTS)
            })
            .collect();
        figures.sort_by(f64::total_cmp);
        let size = data.as_bytes().len();
        println!(
            "{name:22} {size} bytes in, {} out: {:.0} ns",
            out.len(),
            figures[RUNS / 2]
        );
    }
}

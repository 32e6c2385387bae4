//! Compressing a message once, for everyone it goes to (RFC 7692, section 7.2.1).

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};

use super::frame::{Opcode, server_frame, write_header};

/// Shorter messages are sent as they are: there is nothing to gain.
const LEN_MIN: usize = 64;
/// Ends every sync flush, and is left out on the wire.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// A compressor that forgets after each message. One serves a whole shard.
pub struct Deflater {
    compress: Compress,
    scratch: Vec<u8>,
}

impl Default for Deflater {
    fn default() -> Self {
        Self::new()
    }
}

impl Deflater {
    /// Makes one with a full window; it keeps about 256 KiB.
    pub fn new() -> Self {
        Self::with_window_bits(15)
    }

    /// Makes one with a window of 2^`bits` bytes, 9 to 15: for one connection that asked for it.
    pub fn with_window_bits(bits: u8) -> Self {
        // Raw deflate. Level 3: most of the gain at a fraction of level 6's time.
        let compress = Compress::new_with_window_bits(Compression::new(3), false, bits.clamp(9, 15));
        Self {
            compress,
            scratch: Vec::new(),
        }
    }

    /// Returns the whole frame of a message, compressed where that makes it shorter.
    pub fn compress_frame(&mut self, opcode: Opcode, payload: &[u8]) -> Bytes {
        let gains = payload.len() >= LEN_MIN && self.compress(payload) && self.scratch.len() < payload.len();
        match gains {
            true => self.frame(opcode),
            false => server_frame(opcode, payload),
        }
    }

    /// Returns the whole frame of a message, compressed whether that gains anything or not.
    pub fn compress_frame_always(&mut self, opcode: Opcode, payload: &[u8]) -> Bytes {
        match self.compress(payload) {
            true => self.frame(opcode),
            false => server_frame(opcode, payload),
        }
    }

    fn frame(&self, opcode: Opcode) -> Bytes {
        let mut frame = Vec::with_capacity(self.scratch.len() + 10);
        write_header(&mut frame, opcode, true, self.scratch.len());
        frame.extend_from_slice(&self.scratch);
        frame.into()
    }

    /// Compresses into the scratch buffer; false if that failed.
    fn compress(&mut self, payload: &[u8]) -> bool {
        self.compress.reset();
        self.scratch.clear();
        // Incompressible input grows by 5 bytes per 16 KiB block, and the flush adds a few.
        self.scratch.reserve(payload.len() + payload.len() / 1024 + 64);
        let mut at = 0;
        loop {
            let outcome = self
                .compress
                .compress_vec(&payload[at..], &mut self.scratch, FlushCompress::Sync);
            if outcome.is_err() {
                return false;
            }
            at = self.compress.total_in() as usize;
            if at == payload.len() && self.scratch.len() < self.scratch.capacity() {
                break;
            }
            self.scratch.reserve(256);
        }
        if !self.scratch.ends_with(&TAIL) {
            return false;
        }
        self.scratch.truncate(self.scratch.len() - TAIL.len());
        true
    }
}

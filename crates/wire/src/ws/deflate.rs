//! placeholder until the codec arrives
#![allow(missing_docs)]
use super::frame::{Opcode, server_frame};
use bytes::Bytes;
#[derive(Default)]
pub struct Deflater;
impl Deflater {
    pub fn new() -> Self {
        Self
    }
    pub fn compress_frame(&mut self, opcode: Opcode, payload: &[u8]) -> Bytes {
        server_frame(opcode, payload)
    }
}

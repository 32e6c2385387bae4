//! placeholder until the protobuf codec arrives
#![allow(missing_docs, unused_variables)]
use crate::{
    code::Reject,
    codec::{BadCommand, Malformed},
    frame::{Ok as Reply, Push, Request, ServerFrame},
    publication::Publication,
    room::RoomName,
};
pub fn decode(message: &[u8], sink: &mut dyn FnMut(Result<Request, BadCommand>)) -> Result<(), Malformed> {
    Err(Malformed("not yet".into()))
}
pub fn encode_reply(id: u32, result: &Result<Reply, Reject>, out: &mut Vec<u8>) {}
pub fn encode_push(push: &Push, out: &mut Vec<u8>) {}
pub fn encode_event(room: &RoomName, publication: &Publication, out: &mut Vec<u8>) {}
pub fn encode_request(request: &Request, out: &mut Vec<u8>) {}
pub fn decode_server(message: &[u8], sink: &mut dyn FnMut(ServerFrame)) -> Result<(), Malformed> {
    Err(Malformed("not yet".into()))
}

//! How publications and headers are written on disk. Numbers are little-endian.
//!
//! ```text
//!   publication  version=1 | kind | sent | received | ordered | from_len | msg_len | key_len | from msg key data
//!                u8          u8     u64    u64        u64       u32        u32       u32
//!   header       version=1 | id | epoch | generation | head | oldest | oldest_us | bytes | touched
//!                u8          u64  u64     u64          u64    u64      u64         u64     u64
//!   key of state version=1 | offset | at  | weight
//!                u8          u64      u64   u64
//! ```
//! The store checks sums of what it reads; what is checked here is the shape.

use bytes::{Buf, BufMut, Bytes};
use tidegate_wire::{Epoch, Lane, Offset, Payload, Position, Publication, Stamps};

use tidegate_core::state::Newest;

use super::Header;

const VERSION: u8 = 1;

pub(super) fn write_publication(publication: &Publication) -> Vec<u8> {
    let mut out = Vec::with_capacity(40 + publication.weight());
    out.put_u8(VERSION);
    let (kind, data) = match &publication.data {
        Payload::Json(data) => (0, data),
        Payload::Bytes(data) => (1, data),
        Payload::Delete => (2, publication.data.as_bytes()),
    };
    out.put_u8(kind | lane_bits(publication.lane) << 4);
    out.put_u64_le(publication.stamps.sent_us);
    out.put_u64_le(publication.stamps.received_us);
    out.put_u64_le(publication.stamps.ordered_us);
    let texts = [&publication.from, &publication.msg, &publication.key];
    for text in texts {
        out.put_u32_le(text.len() as u32);
    }
    for text in texts {
        out.put_slice(text);
    }
    out.put_slice(data);
    out
}

/// The upper half of `kind`.
fn lane_bits(lane: Option<Lane>) -> u8 {
    lane.map_or(0, |lane| lane as u8)
}

fn read_lane(bits: u8) -> Option<Option<Lane>> {
    let lanes = Lane::ALL.into_iter().filter(|lane| *lane != Lane::Control);
    let mut lanes = lanes.map(Some).chain([None]);
    lanes.find(|lane| lane_bits(*lane) == bits)
}

pub(super) fn read_publication(offset: Offset, record: &[u8]) -> Option<Publication> {
    let mut rest = Bytes::copy_from_slice(record);
    if rest.try_get_u8().ok()? != VERSION {
        return None;
    }
    let kind = rest.try_get_u8().ok()?;
    let (kind, lane) = (kind & 0x0f, read_lane(kind >> 4)?);
    let stamps = Stamps {
        sent_us: rest.try_get_u64_le().ok()?,
        received_us: rest.try_get_u64_le().ok()?,
        ordered_us: rest.try_get_u64_le().ok()?,
    };
    let mut lens = [0usize; 3];
    for len in &mut lens {
        *len = rest.try_get_u32_le().ok()? as usize;
    }
    let mut text = |len: usize| (len <= rest.len()).then(|| rest.split_to(len));
    let (from, msg, key) = (text(lens[0])?, text(lens[1])?, text(lens[2])?);
    let data = match kind {
        0 => Payload::Json(rest),
        1 => Payload::Bytes(rest),
        2 => Payload::Delete,
        _ => return None,
    };
    Some(Publication {
        offset,
        lane,
        data,
        from,
        msg,
        key,
        stamps,
    })
}

pub(super) fn write_header(header: &Header, generation: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(65);
    out.put_u8(VERSION);
    let numbers = [
        header.id,
        header.head.epoch.0,
        generation,
        header.head.offset,
        header.oldest,
        header.oldest_us,
        header.bytes,
        header.touched_us,
    ];
    for number in numbers {
        out.put_u64_le(number);
    }
    out
}

/// Returns the header and its generation.
pub(super) fn read_header(mut record: &[u8]) -> Option<(Header, u64)> {
    if record.try_get_u8().ok()? != VERSION || record.len() != 64 {
        return None;
    }
    let mut number = || record.get_u64_le();
    let (id, epoch, generation) = (number(), Epoch(number()), number());
    let header = Header {
        id,
        head: Position {
            epoch,
            offset: number(),
        },
        oldest: number(),
        oldest_us: number(),
        bytes: number(),
        touched_us: number(),
    };
    Some((header, generation))
}

pub(super) fn write_newest(newest: &Newest<()>) -> Vec<u8> {
    let mut out = Vec::with_capacity(25);
    out.put_u8(VERSION);
    for number in [newest.offset, newest.at_us, newest.weight] {
        out.put_u64_le(number);
    }
    out
}

pub(super) fn read_newest(key: Bytes, mut record: &[u8]) -> Option<Newest<()>> {
    if record.try_get_u8().ok()? != VERSION || record.len() != 24 {
        return None;
    }
    let mut number = || record.get_u64_le();
    let (offset, at_us, weight) = (number(), number(), number());
    Some(Newest {
        key,
        offset,
        at_us,
        weight,
        value: (),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_the_disk_and_damage_is_noticed() {
        let publication = Publication {
            offset: 7,
            lane: Some(Lane::Lossy),
            data: Payload::Json("{\"a\":1}".into()),
            from: "ann".into(),
            msg: "m-1".into(),
            key: Bytes::new(),
            stamps: Stamps {
                sent_us: 1,
                received_us: 2,
                ordered_us: 3,
            },
        };
        let record = write_publication(&publication);
        assert_eq!(read_publication(7, &record), Some(publication));
        for len in 0..record.len() - 7 {
            assert_eq!(read_publication(7, &record[..len]), None, "{len}");
        }
        let newest = Newest {
            key: "k".into(),
            offset: 1,
            at_us: 2,
            weight: 3,
            value: (),
        };
        let record = write_newest(&newest);
        assert_eq!(read_newest("k".into(), &record), Some(newest));
        assert_eq!(read_newest("k".into(), &record[1..]), None);
        let header = Header {
            id: 1,
            head: Position {
                epoch: Epoch(2),
                offset: 3,
            },
            oldest: 4,
            oldest_us: 5,
            bytes: 6,
            touched_us: 7,
        };
        let record = write_header(&header, 8);
        assert_eq!(read_header(&record), Some((header, 8)));
        assert_eq!(read_header(&record[1..]), None);
    }
}

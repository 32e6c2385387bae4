//! A shard under random inputs: opens, messages of any bytes, half-done turns, written bytes,
//! engine events that fit and that do not, time. No panic, and nothing waits without a bound.
#![no_main]

use std::{io::IoSlice, time::Duration};

use arbitrary::Arbitrary;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidegate_core::{
    Admission, ConnId, Lane, Limits, Link, Moment, Policies, Policy, Setup, Shard, WallClock,
    drain::{ComeBack, Pacing},
    grant::{Claims, Grant, Rights},
    policy::StatePolicy,
    request::{Attachment, Event, Request, StatePage},
};
use tidegate_wire::{
    Codec, Epoch, Payload, Position, Publication, Reject, RejectCode, RoomName, Stamps,
    frame::{HistoryPage, Members, MembersChange, Published},
};

#[derive(Arbitrary, Debug)]
enum Step {
    Open { binary: bool, deflate: bool },
    Text { conn: u8, bytes: Vec<u8> },
    Connect { conn: u8 },
    Join { conn: u8, room: u8, since: Option<u8>, last: Option<u8>, enter: bool, members: bool, state: bool, wishes: Wishes },
    Filter { conn: u8, room: u8, wishes: Wishes },
    Leave { conn: u8, room: u8 },
    Publish { conn: u8, room: u8, len: u8, key: u8 },
    Delete { conn: u8, key: u8 },
    History { conn: u8, room: u8, limit: u8, reverse: bool },
    Closed { conn: u8 },
    Written { conn: u8, len: u16 },
    Engine { refuse: bool },
    Broken { room: u8 },
    Members { room: u8, large: bool },
    FanOut { visits: u8 },
    Advance { ms: u16 },
    ShutDown,
    Drain { here: bool, within_ms: u16 },
    Rebalance { percent: u8, within_ms: u16 },
}

#[derive(Arbitrary, Debug)]
struct Wishes {
    keys: Option<Vec<bool>>,
    is_slow: bool,
}

impl Wishes {
    fn json(&self) -> String {
        let keys = self.keys.as_ref().map_or(String::new(), |keys| {
            let keys: Vec<String> = keys.iter().take(4).map(|key| format!("\"{}\"", u8::from(*key))).collect();
            format!(r#","keys":[{}]"#, keys.join(","))
        });
        format!("{keys}{}", if self.is_slow { r#","max_rate":2"# } else { "" })
    }
}

struct World {
    shard: Shard,
    now: Moment,
    conns: Vec<ConnId>,
    requests: Vec<Request>,
    offsets: [u64; 3],
}

const ROOMS: [&str; 3] = ["chat:a", "px:b", "pos:c"];

fn name(room: u8) -> RoomName {
    RoomName::parse(ROOMS[room as usize % 3]).unwrap()
}

impl World {
    fn conn(&self, n: u8) -> Option<ConnId> {
        (!self.conns.is_empty()).then(|| self.conns[n as usize % self.conns.len()])
    }

    fn say(&mut self, conn: u8, text: &str) {
        if let Some(conn) = self.conn(conn) {
            self.shard.handle_message(conn, text.as_bytes(), self.now);
        }
    }

    fn head(&self, room: &RoomName) -> Position {
        let place = ROOMS.iter().position(|r| *r == room.as_str()).unwrap_or(0);
        Position { epoch: Epoch(1), offset: self.offsets[place] }
    }

    fn publication(&mut self, room: &RoomName, lane: Option<Lane>, data: Payload, key: Bytes) -> Publication {
        let place = ROOMS.iter().position(|r| *r == room.as_str()).unwrap_or(0);
        self.offsets[place] += 1;
        Publication {
            offset: self.offsets[place],
            lane,
            data,
            from: "u".into(),
            msg: Bytes::new(),
            key,
            stamps: Stamps::default(),
        }
    }

    fn answer(&mut self, request: Request, refuse: bool) {
        let reject = Reject::retry(RejectCode::Unavailable, 100, "no");
        let now = self.now;
        let event = match request {
            Request::Attach { room, nonce } => {
                let head = self.head(&room);
                let attachment =
                    Attachment { head, oldest: 1, window: Vec::new(), members: Members::default() };
                let result = if refuse { Err(reject) } else { Ok(attachment) };
                Event::Attached { room, nonce, result }
            }
            Request::Publish { ticket, publish } => {
                if refuse {
                    Event::Published { ticket, result: Err(reject) }
                } else {
                    let publication = self.publication(&publish.room, publish.lane, publish.data, publish.key);
                    let room = publish.room;
                    self.shard.handle_event(Event::Publication { room: room.clone(), publication }, now);
                    let result = Ok(Published { position: self.head(&room), duplicate: false });
                    Event::Published { ticket, result }
                }
            }
            Request::History { ticket, room, query } => {
                let head = self.head(&room);
                let from = query.since.map_or(0, |since| since.offset) + 1;
                let publications = (from..=head.offset).take(query.limit as usize).map(|offset| Publication {
                    offset,
                    lane: None,
                    data: Payload::Json("1".into()),
                    from: Bytes::new(),
                    msg: Bytes::new(),
                    key: Bytes::new(),
                    stamps: Stamps::default(),
                });
                let page = HistoryPage {
                    room,
                    head,
                    oldest: 1,
                    publications: publications.collect(),
                    more: false,
                    gap: None,
                };
                Event::History { ticket, result: if refuse { Err(reject) } else { Ok(page) } }
            }
            Request::State { ticket, room, query } => {
                let head = self.head(&room);
                // Keys that were never published among them, and one that was and may be deleted.
                let publications = (query.after + 1..=head.offset).take(3).map(|offset| Publication {
                    offset,
                    lane: None,
                    data: Payload::Json("2".into()),
                    from: Bytes::new(),
                    msg: Bytes::new(),
                    key: vec![b'0' + (offset % 6) as u8].into(),
                    stamps: Stamps { ordered_us: now.0 / 2_000, ..Stamps::default() },
                });
                let publications: Vec<_> = publications.collect();
                let more = publications.last().is_some_and(|last| last.offset < head.offset);
                let page = StatePage { head, publications, more };
                Event::State { ticket, result: if refuse { Err(reject) } else { Ok(page) } }
            }
            Request::Presence { ticket, .. } => Event::Presence { ticket, result: Ok(Members::default()) },
            Request::Detach { .. } | Request::Enter { .. } | Request::Exit { .. } => return,
        };
        self.shard.handle_event(event, now);
    }

    fn step(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Open { binary, deflate } => {
                let codec = if binary { Codec::Binary } else { Codec::Json };
                self.conns.extend(self.shard.handle_open(Link { codec, deflate }, now));
            }
            Step::Text { conn, bytes } => {
                if let Some(conn) = self.conn(conn)
                    && std::str::from_utf8(&bytes).is_ok()
                {
                    self.shard.handle_message(conn, &bytes, now);
                }
            }
            Step::Connect { conn } => self.say(conn, r#"{"id":1,"connect":{"token":"x"}}"#),
            Step::Join { conn, room, since, last, enter, members, state, wishes } => {
                let since = since.map_or(String::new(), |offset| {
                    format!(r#","since":{{"epoch":"0000000000000001","offset":{offset}}}"#)
                });
                let last = last.map_or(String::new(), |last| format!(r#","last":{last}"#));
                let (room, wishes) = (name(room), wishes.json());
                self.say(
                    conn,
                    &format!(
                        r#"{{"id":2,"join":{{"room":"{room}"{since}{last},"enter":{enter},"members":{members},"state":{state}{wishes}}}}}"#
                    ),
                );
            }
            Step::Filter { conn, room, wishes } => {
                let (room, wishes) = (name(room), wishes.json());
                self.say(conn, &format!(r#"{{"id":6,"filter":{{"room":"{room}"{wishes}}}}}"#));
            }
            Step::Leave { conn, room } => {
                self.say(conn, &format!(r#"{{"id":3,"leave":{{"room":"{}"}}}}"#, name(room)));
            }
            Step::Publish { conn, room, len, key } => {
                let data = "x".repeat(len as usize * 8);
                let (room, key) = (name(room), key % 4);
                self.say(
                    conn,
                    &format!(r#"{{"id":4,"publish":{{"room":"{room}","data":"{data}","key":"{key}"}}}}"#),
                );
            }
            Step::Delete { conn, key } => {
                let (room, key) = (name(1), key % 4);
                self.say(conn, &format!(r#"{{"id":7,"publish":{{"room":"{room}","delete":true,"key":"{key}"}}}}"#));
            }
            Step::History { conn, room, limit, reverse } => {
                let room = name(room);
                self.say(
                    conn,
                    &format!(r#"{{"id":5,"history":{{"room":"{room}","limit":{limit},"reverse":{reverse}}}}}"#),
                );
            }
            Step::Closed { conn } => {
                if let Some(conn) = self.conn(conn) {
                    self.shard.handle_closed(conn, now);
                }
            }
            Step::Written { conn, len } => {
                if let Some(conn) = self.conn(conn) {
                    let mut slices = [IoSlice::new(&[]); 8];
                    let count = self.shard.outbox(conn, &mut slices);
                    let there: usize = slices[..count].iter().map(|slice| slice.len()).sum();
                    assert!(there <= self.shard.outbox_bytes(conn));
                    self.shard.handle_written(conn, there.min(len as usize), now);
                }
            }
            Step::Engine { refuse } => {
                self.requests.extend(std::iter::from_fn(|| self.shard.poll_request()));
                for request in std::mem::take(&mut self.requests) {
                    self.answer(request, refuse);
                }
            }
            Step::Broken { room } => self.shard.handle_event(Event::Broken { room: name(room) }, now),
            Step::Members { room, large } => {
                let change = MembersChange {
                    room: name(room),
                    count: 3,
                    joined: Vec::new(),
                    left: vec!["u".into()],
                    sample: large.then(Vec::new),
                };
                self.shard.handle_event(Event::Members(change), now);
            }
            Step::FanOut { visits } => {
                self.shard.fan_out(visits as usize, now);
            }
            Step::Advance { ms } => {
                self.now = now + Duration::from_millis(ms.into());
                self.shard.handle_timeout(self.now);
            }
            Step::ShutDown => self.shard.shut_down(now),
            Step::Drain { here, within_ms } => {
                let come_back = match here {
                    true => ComeBack::Here { first_slot: Duration::ZERO, patience: Duration::from_millis(50) },
                    false => ComeBack::Elsewhere,
                };
                self.shard.drain(come_back, pacing(within_ms), now);
            }
            Step::Rebalance { percent, within_ms } => {
                self.shard.rebalance(percent, pacing(within_ms), now);
            }
        }
        while let Some((conn, _)) = self.shard.poll_verify() {
            let grant = Grant { pattern: "*".into(), rights: Rights::ALL };
            let claims =
                Claims { user: Bytes::new(), info: Bytes::new(), expires: None, grants: [grant].into() };
            self.shard.handle_verified(conn, Ok(claims), self.now);
        }
        while self.shard.poll_dirty().is_some() {}
        while let Some(conn) = self.shard.poll_closing() {
            self.shard.handle_closed(conn, self.now);
        }
        for conn in &self.conns {
            assert!(self.shard.outbox_bytes(*conn) <= 8 * 1024, "an outbox beyond its bound");
        }
    }
}

fn pacing(within_ms: u16) -> Pacing {
    Pacing { within: Duration::from_millis(within_ms.into()), per_second: 10, shards: 2 }
}

fuzz_target!(|steps: Vec<Step>| {
    let policy = |namespace, lane| Policy {
        window_count: 4,
        replay_max: 20,
        keys_max: 2,
        deadline: Duration::from_millis(300),
        batch: if lane == Lane::Lossy { Duration::from_millis(20) } else { Duration::ZERO },
        lane,
        state: (lane == Lane::Latest).then_some(StatePolicy { bytes: 3_000, age: Some(Duration::from_secs(20)) }),
        ..Policy::with_defaults(namespace)
    };
    let limits = Limits { outbox_bytes_max: 4096, sessions_max: 8, ..Limits::default() };
    let setup = Setup {
        index: 0,
        policies: Policies::new([
            policy("chat", Lane::Reliable),
            policy("px", Lane::Latest),
            policy("pos", Lane::Lossy),
        ]),
        admission: Admission::default(),
        limits,
        wall: WallClock { origin_us: 1 },
        seed: 1,
    };
    let mut world = World {
        shard: Shard::new(setup),
        now: Moment(0),
        conns: Vec::new(),
        requests: Vec::new(),
        offsets: [0; 3],
    };
    for step in steps {
        world.step(step);
    }
});

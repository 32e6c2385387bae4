//! A small world for stories: one shard, a naive engine, clients that decode what
//! they are sent, and a clock moved by hand.
//!
//! The engine here keeps everything in plain lists and answers at once, unless it is
//! told to hold its answers. It is the naive twin the model test compares with.
#![allow(dead_code, reason = "each test uses its part")]

pub mod px;

use std::{
    collections::{BTreeMap, VecDeque},
    io::IoSlice,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use tidegate_core::{
    Admission, ConnId, Limits, Link, Moment, Policies, Policy, Setup, Shard, WallClock,
    grant::{Claims, Grant, Right, Rights},
    request::{Attachment, Event, Exit, Request, StatePage, StateQuery},
    shard::RoomOrder,
};
use tidegate_wire::{
    Codec, Epoch, Position, Publication, Reject, RejectCode, RoomName, ServerFrame, Stamps,
    frame::{
        Command, Connect, GapReason, History, HistoryPage, Join, Joined, Member, Members, MembersChange,
        Ok as Reply, Publish, Published, Push, Wishes,
    },
    parts::ServerReader,
    ws,
};

/// Keys in one page of a state: few, so that it comes in several.
const STATE_PAGE_MAX: u32 = 3;

/// Everything about a room, forever.
pub struct NaiveRoom {
    pub epoch: Epoch,
    pub log: Vec<Publication>,
    pub trimmed_to: u64,
    pub members: BTreeMap<Bytes, (Bytes, Vec<u64>)>,
    pub attached: bool,
}

/// See the module.
#[derive(Default)]
pub struct NaiveEngine {
    pub rooms: BTreeMap<RoomName, NaiveRoom>,
    pub held: Option<VecDeque<Request>>,
    pub window: usize,
    pub refuse: Option<Reject>,
    /// The clock for stamps.
    pub now_us: u64,
    epochs: u64,
}

impl NaiveEngine {
    pub fn room(&mut self, name: &RoomName) -> &mut NaiveRoom {
        let epochs = &mut self.epochs;
        self.rooms.entry(name.clone()).or_insert_with(|| {
            *epochs += 1;
            NaiveRoom {
                epoch: Epoch(*epochs),
                log: Vec::new(),
                trimmed_to: 0,
                members: BTreeMap::new(),
                attached: false,
            }
        })
    }

    fn handle(&mut self, request: Request, out: &mut Vec<Event>) {
        let window = self.window;
        let refuse = self.refuse.clone();
        let ordered_us = self.now_us;
        match request {
            Request::Attach { room: name, nonce } => {
                let room = self.room(&name);
                room.attached = refuse.is_none();
                let kept = &room.log[room.trimmed_to as usize..];
                let attachment = Attachment {
                    head: room.head(),
                    oldest: room.trimmed_to + 1,
                    window: kept[kept.len().saturating_sub(window)..].to_vec(),
                    members: room.members(),
                };
                out.push(Event::Attached {
                    room: name,
                    nonce,
                    result: refuse.map_or(Ok(attachment), Err),
                });
            }
            Request::Detach { room } => self.room(&room).attached = false,
            Request::Publish { ticket, publish } => {
                if let Some(reject) = refuse {
                    return out.push(Event::Published {
                        ticket,
                        result: Err(reject),
                    });
                }
                let room = self.room(&publish.room);
                let same =
                    |p: &&Publication| !p.msg.is_empty() && p.msg == publish.msg && p.from == publish.from;
                if let Some(first) = room.log.iter().find(same) {
                    let position = Position {
                        epoch: room.epoch,
                        offset: first.offset,
                    };
                    let result = Ok(Published {
                        position,
                        duplicate: true,
                    });
                    return out.push(Event::Published { ticket, result });
                }
                let publication = Publication {
                    offset: room.log.len() as u64 + 1,
                    data: publish.data,
                    from: publish.from,
                    msg: publish.msg,
                    key: publish.key,
                    lane: publish.lane,
                    stamps: Stamps {
                        ordered_us,
                        ..Stamps::default()
                    },
                };
                room.log.push(publication.clone());
                let position = room.head();
                if room.attached {
                    out.push(Event::Publication {
                        room: publish.room,
                        publication,
                    });
                }
                let result = Ok(Published {
                    position,
                    duplicate: false,
                });
                out.push(Event::Published { ticket, result });
            }
            Request::History { ticket, room, query } => {
                let result = Ok(self.room(&room).history(&room, &query));
                out.push(Event::History { ticket, result });
            }
            Request::State { ticket, room, query } => {
                let page = self.room(&room).state(&query);
                out.push(Event::State {
                    ticket,
                    result: refuse.map_or(Ok(page), Err),
                });
            }
            Request::Presence { ticket, room, limit } => {
                let mut members = self.room(&room).members();
                members.sample.truncate(limit as usize);
                out.push(Event::Presence {
                    ticket,
                    result: Ok(members),
                });
            }
            Request::Enter {
                room: name,
                session,
                user,
                info,
            } => {
                let room = self.room(&name);
                let entry = room.members.entry(user.clone()).or_default();
                let is_new = entry.1.is_empty();
                entry.0 = info.clone();
                entry.1.push(session.0);
                if is_new {
                    let joined = vec![Member { user, info }];
                    out.extend(room.change(&name, joined, vec![]));
                }
            }
            Request::Exit {
                room: name,
                session,
                user,
                exit: Exit::Left | Exit::Lost,
            } => {
                let room = self.room(&name);
                let entry = room.members.get_mut(&user).expect("entered before");
                entry.1.retain(|s| *s != session.0);
                if entry.1.is_empty() {
                    room.members.remove(&user);
                    out.extend(room.change(&name, vec![], vec![user]));
                }
            }
        }
    }
}

impl NaiveRoom {
    /// The newest of each key, those that were deleted left out.
    pub fn state(&self, query: &StateQuery) -> StatePage {
        let newest: BTreeMap<&Bytes, u64> = self.log.iter().map(|p| (&p.key, p.offset)).collect();
        let is_newest = |p: &&Publication| newest[&p.key] == p.offset;
        let is_there = |p: &&Publication| !p.key.is_empty() && !p.data.is_delete();
        let rest = self.log.iter().filter(|p| p.offset > query.after);
        let mut rest = rest.filter(is_newest).filter(is_there);
        let limit = query.limit.min(STATE_PAGE_MAX) as usize;
        StatePage {
            head: self.head(),
            publications: rest.by_ref().take(limit).cloned().collect(),
            more: rest.next().is_some(),
        }
    }

    pub fn head(&self) -> Position {
        Position {
            epoch: self.epoch,
            offset: self.log.len() as u64,
        }
    }

    fn members(&self) -> Members {
        let sample = self.members.iter().map(|(user, (info, _))| Member {
            user: user.clone(),
            info: info.clone(),
        });
        Members {
            count: self.members.len() as u32,
            sample: sample.collect(),
        }
    }

    fn change(&self, name: &RoomName, joined: Vec<Member>, left: Vec<Bytes>) -> Option<Event> {
        self.attached.then(|| {
            Event::Members(MembersChange {
                room: name.clone(),
                count: self.members.len() as u32,
                joined,
                left,
                sample: None,
            })
        })
    }

    fn history(&self, name: &RoomName, query: &tidegate_core::request::HistoryQuery) -> HistoryPage {
        let kept = &self.log[self.trimmed_to as usize..];
        let mut gap = None;
        let mut since = query.since.map(|p| p.offset);
        if let Some(position) = query.since {
            if position.epoch != self.epoch {
                (gap, since) = (Some(GapReason::Epoch), None);
            } else if !query.reverse && position.offset < self.trimmed_to {
                gap = Some(GapReason::Trimmed);
            }
        }
        let mut found: Vec<Publication> = kept
            .iter()
            .filter(|p| match (since, query.reverse) {
                (None, _) => true,
                (Some(offset), false) => p.offset > offset,
                (Some(offset), true) => p.offset < offset,
            })
            .cloned()
            .collect();
        if query.reverse {
            found.reverse();
        }
        let more = found.len() > query.limit as usize;
        found.truncate(query.limit as usize);
        HistoryPage {
            room: name.clone(),
            head: self.head(),
            oldest: self.trimmed_to + 1,
            publications: found,
            more,
            gap,
        }
    }
}

/// One client: what it has received and not looked at yet.
pub struct Client {
    pub conn: ConnId,
    link: Link,
    next_id: u32,
    /// It takes no more bytes than this per turn; none stops reading.
    pub reads: usize,
    partial: Vec<u8>,
    parts: ServerReader,
    kinds: BTreeMap<u32, &'static str>,
    pub frames: VecDeque<ServerFrame>,
    pub closed: Option<u16>,
}

/// See the module.
pub struct World {
    pub shard: Shard,
    pub engine: NaiveEngine,
    pub now: Moment,
    pub clients: Vec<Client>,
    pub visits: usize,
    pub grants: Rc<[Grant]>,
}

/// Names one client of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientId(pub usize);

pub fn room(name: &str) -> RoomName {
    RoomName::parse(name).unwrap()
}

pub fn all_rights() -> Rc<[Grant]> {
    Rc::new([Grant {
        pattern: "*".into(),
        rights: Rights::ALL,
    }])
}

pub const JSON: Link = Link {
    codec: Codec::Json,
    deflate: false,
};

impl World {
    pub fn new() -> Self {
        Self::with(Limits::default(), Policy::with_defaults("chat"))
    }

    pub fn with(limits: Limits, policy: Policy) -> Self {
        Self::with_policies(limits, [policy])
    }

    pub fn with_policies(limits: Limits, policies: impl IntoIterator<Item = Policy>) -> Self {
        Self::with_admission(Admission::default(), limits, policies)
    }

    pub fn with_admission(
        admission: Admission,
        limits: Limits,
        policies: impl IntoIterator<Item = Policy>,
    ) -> Self {
        let setup = Setup {
            index: 0,
            policies: Policies::new(policies),
            limits,
            admission,
            wall: WallClock { origin_us: 0 },
            seed: 7,
        };
        Self {
            shard: Shard::new(setup),
            engine: NaiveEngine {
                window: 256,
                ..Default::default()
            },
            now: Moment(1_000_000_000),
            clients: Vec::new(),
            visits: 128,
            grants: all_rights(),
        }
    }

    /// Opens and connects a client for this user.
    pub fn connect(&mut self, user: &str) -> ClientId {
        let client = self.open(JSON);
        self.send(
            client,
            Command::Connect(Connect {
                token: user.into(),
                ..Default::default()
            }),
        );
        self.turn();
        assert!(matches!(self.reply(client), Ok(Reply::Connected(_))));
        client
    }

    pub fn open(&mut self, link: Link) -> ClientId {
        let conn = self
            .shard
            .handle_open(link, self.now)
            .expect("within sessions_max");
        self.clients.push(Client {
            conn,
            link,
            next_id: 0,
            reads: usize::MAX,
            partial: Vec::new(),
            parts: ServerReader::new(link.codec),
            kinds: BTreeMap::new(),
            frames: VecDeque::new(),
            closed: None,
        });
        ClientId(self.clients.len() - 1)
    }

    pub fn joined_rooms(&self) -> Vec<RoomName> {
        let rooms = self.shard.rooms("", "", RoomOrder::Name, usize::MAX, self.now);
        rooms.into_iter().map(|room| room.name).collect()
    }

    pub fn client(&mut self, id: ClientId) -> &mut Client {
        &mut self.clients[id.0]
    }

    /// Sends a command; what comes of it is seen after a turn. Returns its id.
    pub fn send(&mut self, client: ClientId, command: Command) -> u32 {
        let c = &mut self.clients[client.0];
        c.next_id += 1;
        let request = tidegate_wire::Request {
            id: c.next_id,
            command,
        };
        let mut bytes = Vec::new();
        c.link.codec.encode_request(&request, &mut bytes);
        let conn = c.conn;
        self.shard.handle_message(conn, &bytes, self.now);
        request.id
    }

    pub fn send_text(&mut self, client: ClientId, text: &str) {
        let conn = self.clients[client.0].conn;
        self.shard.handle_message(conn, text.as_bytes(), self.now);
    }

    /// Joins and waits for the reply.
    pub fn join(&mut self, client: ClientId, name: &str) -> Joined {
        self.join_with(client, plain_join(name))
    }

    pub fn join_with(&mut self, client: ClientId, join: Join) -> Joined {
        self.send(client, Command::Join(join));
        self.turn();
        match self.reply(client) {
            Ok(Reply::Joined(joined)) => joined,
            other => panic!("expected a joined, got {other:?}"),
        }
    }

    /// Publishes JSON text and waits for the reply.
    pub fn publish(&mut self, client: ClientId, name: &str, text: &str) -> Result<Published, Reject> {
        self.publish_as(client, name, text, "")
    }

    pub fn publish_as(
        &mut self,
        client: ClientId,
        name: &str,
        text: &str,
        msg: &str,
    ) -> Result<Published, Reject> {
        self.send(client, publish_command(name, text, msg));
        self.turn();
        match self.reply(client) {
            Ok(Reply::Published(published)) => Ok(published),
            Ok(other) => panic!("expected a published, got {other:?}"),
            Err(reject) => Err(reject),
        }
    }

    pub fn history(&mut self, client: ClientId, history: History) -> Result<HistoryPage, Reject> {
        self.send(client, Command::History(history));
        self.turn();
        match self.reply(client) {
            Ok(Reply::History(page)) => Ok(page),
            Ok(other) => panic!("expected a page, got {other:?}"),
            Err(reject) => Err(reject),
        }
    }

    /// Verifies, asks the engine, fans out and writes, until nothing moves.
    pub fn turn(&mut self) {
        loop {
            let mut moved = self.verify();
            moved |= self.ask_engine();
            moved |= self.shard.fan_out(self.visits, self.now) > 0;
            moved |= self.flush();
            if !moved && !self.shard.has_fan_out() {
                break;
            }
        }
    }

    pub fn verify(&mut self) -> bool {
        let mut moved = false;
        while let Some((conn, token)) = self.shard.poll_verify() {
            moved = true;
            let (user, expires) = match token.split_once('@') {
                Some((user, ms)) => (user, Some(Moment(ms.parse::<u64>().unwrap() * 1_000_000))),
                None => (token.as_str(), None),
            };
            let result = match user {
                "bad" => Err(Reject::new(RejectCode::TokenInvalid, "")),
                _ => Ok(Claims {
                    user: Bytes::copy_from_slice(user.as_bytes()),
                    info: Bytes::new(),
                    expires,
                    grants: self.grants.clone(),
                }),
            };
            self.shard.handle_verified(conn, result, self.now);
        }
        moved
    }

    pub fn ask_engine(&mut self) -> bool {
        let mut events = Vec::new();
        let mut moved = false;
        self.engine.now_us = self.now.0 / 1_000;
        while let Some(request) = self.shard.poll_request() {
            moved = true;
            match &mut self.engine.held {
                Some(held) => held.push_back(request),
                None => self.engine.handle(request, &mut events),
            }
        }
        for event in events {
            self.shard.handle_event(event, self.now);
        }
        moved
    }

    /// The engine answers what it held.
    pub fn release(&mut self) {
        for request in self.engine.held.take().unwrap_or_default() {
            let mut events = Vec::new();
            self.engine.handle(request, &mut events);
            for event in events {
                self.shard.handle_event(event, self.now);
            }
        }
        self.turn();
    }

    /// The engine answers the first `count` of what it holds, and goes on holding.
    pub fn serve(&mut self, count: usize) {
        let mut events = Vec::new();
        for _ in 0..count {
            let held = self.engine.held.as_mut().expect("it holds");
            let Some(request) = held.pop_front() else {
                break;
            };
            self.engine.handle(request, &mut events);
        }
        for event in events {
            self.shard.handle_event(event, self.now);
        }
        self.turn();
    }

    /// The engine answers what it held so far, and holds what it is asked from then on.
    pub fn release_some(&mut self) {
        for request in self.engine.held.replace(VecDeque::new()).unwrap_or_default() {
            let mut events = Vec::new();
            self.engine.handle(request, &mut events);
            for event in events {
                self.shard.handle_event(event, self.now);
            }
        }
        self.turn();
    }

    fn flush(&mut self) -> bool {
        let mut moved = false;
        while let Some(conn) = self.shard.poll_dirty() {
            let client = self
                .clients
                .iter_mut()
                .find(|c| c.conn == conn)
                .expect("a client of ours");
            moved |= write_out(&mut self.shard, client, self.now);
        }
        while let Some(conn) = self.shard.poll_closing() {
            moved = true;
            self.shard.handle_closed(conn, self.now);
        }
        moved
    }

    /// The client reads on: what waits is written as far as it takes it.
    pub fn read_on(&mut self, client: ClientId, bytes: usize) {
        self.clients[client.0].reads = bytes;
        write_out(&mut self.shard, &mut self.clients[client.0], self.now);
        self.turn();
    }

    /// The socket is gone without a word.
    pub fn cut(&mut self, client: ClientId) {
        let conn = self.clients[client.0].conn;
        self.shard.handle_closed(conn, self.now);
        self.turn();
    }

    /// Moves the clock, through every deadline on the way.
    pub fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some(at) = self.shard.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.shard.handle_timeout(self.now);
            self.turn();
        }
        self.now = end;
        self.turn();
    }

    /// The oldest reply not looked at yet.
    pub fn reply(&mut self, client: ClientId) -> Result<Reply, Reject> {
        let frames = &mut self.clients[client.0].frames;
        let place = frames.iter().position(|f| matches!(f, ServerFrame::Reply { .. }));
        match frames.remove(place.expect("a reply")).expect("found above") {
            ServerFrame::Reply { result, .. } => result,
            ServerFrame::Push(_) => unreachable!("a reply was found"),
        }
    }

    /// All events of a room not looked at yet: offset and payload.
    pub fn received(&mut self, client: ClientId, name: &str) -> Vec<(u64, String)> {
        let mut events = Vec::new();
        self.clients[client.0].frames.retain(|frame| match frame {
            ServerFrame::Push(Push::Event { room, publication }) if room.as_str() == name => {
                let data = String::from_utf8(publication.data.as_bytes().to_vec()).unwrap();
                events.push((publication.offset, data));
                false
            }
            _ => true,
        });
        events
    }

    /// All other pushes not looked at yet.
    pub fn pushes(&mut self, client: ClientId) -> Vec<Push> {
        let mut pushes = Vec::new();
        self.clients[client.0].frames.retain(|frame| match frame {
            ServerFrame::Push(push) if !matches!(push, Push::Event { .. }) => {
                pushes.push(push.clone());
                false
            }
            _ => true,
        });
        pushes
    }
}

fn write_out(shard: &mut Shard, client: &mut Client, now: Moment) -> bool {
    let mut moved = false;
    while client.reads > 0 {
        let mut slices = [IoSlice::new(&[]); 8];
        let count = shard.outbox(client.conn, &mut slices);
        let mut bytes: Vec<u8> = slices[..count].iter().flat_map(|s| s.iter().copied()).collect();
        bytes.truncate(client.reads);
        if bytes.is_empty() {
            break;
        }
        moved = true;
        if client.reads != usize::MAX {
            client.reads -= bytes.len();
        }
        client.partial.extend_from_slice(&bytes);
        shard.handle_written(client.conn, bytes.len(), now);
    }
    while let Some((frame, used)) = take_frame(&client.partial) {
        client.partial.drain(..used);
        match frame {
            Frame::Close(code) => client.closed = Some(code),
            Frame::Message(payload) => {
                let frames = &mut client.frames;
                client
                    .parts
                    .read(&payload, &mut |frame| frames.push_back(frame))
                    .expect("the server's own frame");
            }
            Frame::Other => {}
        }
    }
    moved
}

enum Frame {
    Message(Vec<u8>),
    Close(u16),
    Other,
}

fn take_frame(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (header, start) = ws::frame::parse_header(bytes).expect("the server's own header")?;
    let end = start + header.len as usize;
    let payload = bytes.get(start..end)?;
    let frame = match header.opcode {
        ws::frame::Opcode::Text | ws::frame::Opcode::Binary if !header.rsv1 => {
            Frame::Message(payload.to_vec())
        }
        ws::frame::Opcode::Close => Frame::Close(u16::from_be_bytes([payload[0], payload[1]])),
        _ => Frame::Other,
    };
    Some((frame, end))
}

pub fn plain_join(name: &str) -> Join {
    Join {
        room: room(name),
        since: None,
        last: None,
        enter: false,
        members: false,
        wishes: Wishes::default(),
        state: false,
    }
}

pub fn publish_command(name: &str, text: &str, msg: &str) -> Command {
    Command::Publish(Publish {
        room: room(name),
        lane: None,
        data: tidegate_wire::Payload::Json(Bytes::copy_from_slice(text.as_bytes())),
        msg: Bytes::copy_from_slice(msg.as_bytes()),
        key: Bytes::new(),
        sent_us: 0,
    })
}

pub fn keyed_command(name: &str, key: &str, text: &str) -> Command {
    match publish_command(name, text, "") {
        Command::Publish(publish) => Command::Publish(Publish {
            key: Bytes::copy_from_slice(key.as_bytes()),
            ..publish
        }),
        other => other,
    }
}

pub fn grant(pattern: &str, rights: &[Right]) -> Grant {
    Grant {
        pattern: pattern.into(),
        rights: rights
            .iter()
            .fold(Rights::default(), |all, right| all.with(*right)),
    }
}

/// Publications whose text is their number.
pub fn numbers(from: u64, to: u64) -> Vec<(u64, String)> {
    (from..=to).map(|n| (n, n.to_string())).collect()
}

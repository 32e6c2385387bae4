//! Links between clients and shards: delay, bandwidth, a bounded buffer at the server's end,
//! and everything that goes wrong with them. What arrives, arrives in order and whole, or not at all.
//!
//! ```text
//!   shard ─► buffer ─(drained at the link's speed)─► delay ─► client
//!   shard ◄──────────────────────────────── delay ◄─ client
//! ```

use std::{
    collections::{BTreeMap, VecDeque},
    io::IoSlice,
    rc::Rc,
    time::Duration,
};

use tidegate_core::{ConnId, Moment};
use tidegate_wire::{Position, RoomName};

use crate::{
    agenda::{Agenda, Happening, Up},
    chance::Chance,
    plan::Side,
};

/// Speeds of a link that wavers, bytes a millisecond.
const WAVERS: [u64; 5] = [0, 1, 10, 100, 1_000];

/// How often a buffer is drained.
const DRAIN: Duration = Duration::from_millis(5);

/// When bytes were put out, if they were written at once.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    pub at: Moment,
    /// The shard's visits by then.
    pub visits: u64,
}

/// Where a room stood at a shard, and since when.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    pub position: Position,
    pub at: Moment,
}

/// At this moment nothing waited at the shard for a connection: when what is on its way has
/// arrived, its client has all it wants of what was published up to these heads.
#[derive(Debug, Clone)]
pub struct Mark {
    pub at: Moment,
    /// Since when everything was written that was put out, and no turn was held up.
    pub idle_since: Moment,
    pub heads: Rc<BTreeMap<RoomName, Head>>,
    /// The shard had taken so many messages of the connection,
    pub taken: u64,
    /// and so many when there was time enough for every answer.
    pub taken_long_ago: u64,
}

/// A connection was closed because it was sent away.
#[derive(Debug, Clone, Copy)]
pub struct Parting {
    pub at: Moment,
    /// The shard had so many messages by then.
    pub taken: u64,
    /// The shard sends all away until it is replaced, and waited for answers until then.
    pub here_by: Option<Moment>,
}

enum Piece {
    Bytes(Vec<u8>, Option<Stamp>),
    Mark(Mark),
}

/// One connection, from its opening to its end.
pub struct Link {
    pub client: usize,
    pub shard: usize,
    /// The shard's name of it, once accepted.
    pub conn: Option<ConnId>,
    /// The client still listens.
    pub has_client: bool,
    /// The server still listens.
    pub has_server: bool,
    /// Messages that the shard took.
    pub taken: u64,
    /// When it was told to come back.
    pub slot: Option<Moment>,
    pub parting: Option<Parting>,
    delay: Duration,
    bytes_per_ms: u64,
    buffer: VecDeque<Piece>,
    buffered: usize,
    buffer_max: usize,
    is_draining: bool,
    is_finished: bool,
    /// Nothing gets through, in either direction, and nobody is told.
    is_frozen: bool,
    silent_until: Moment,
    last_up: Moment,
    last_down: Moment,
}

/// What a client's network and machine do at present.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    pub stopped_until: Moment,
    pub slow: (Moment, u64),
    /// Its speed is another all the time.
    pub wavers_until: Moment,
    pub offline_until: Moment,
}

/// See the module.
pub struct Network {
    pub links: Vec<Link>,
    pub weather: Vec<Weather>,
    chances: Vec<Chance>,
}

impl Network {
    pub fn new(clients: usize, seed: u64) -> Self {
        Self {
            links: Vec::new(),
            weather: vec![Weather::default(); clients],
            chances: (0..clients)
                .map(|client| Chance::of(seed, "network", client))
                .collect(),
        }
    }

    /// A client opens a connection to one of these shards.
    pub fn open(&mut self, client: usize, shards: &[usize], now: Moment, agenda: &mut Agenda) -> usize {
        let chance = &mut self.chances[client];
        let index = self.links.len();
        self.links.push(Link {
            client,
            shard: chance.pick(shards),
            conn: None,
            has_client: true,
            has_server: false,
            taken: 0,
            slot: None,
            parting: None,
            delay: Duration::from_micros(chance.pick(&[50, 1_000, 20_000, 150_000])),
            bytes_per_ms: chance.pick(&[200, 2_000, 20_000]),
            buffer: VecDeque::new(),
            buffered: 0,
            buffer_max: chance.pick(&[600, 8 << 10, 64 << 10]),
            is_draining: false,
            is_finished: false,
            is_frozen: false,
            silent_until: Moment(0),
            last_up: now,
            last_down: now,
        });
        if self.weather[client].offline_until > now {
            agenda.plan(now + Duration::from_millis(200), Happening::DownEnd(index));
        } else {
            self.send_up(index, Up::Open, now, agenda);
        }
        index
    }

    /// The server accepts a link: the client hears of it before anything else.
    pub fn accept(&mut self, index: usize, conn: ConnId, now: Moment, agenda: &mut Agenda) {
        let link = &mut self.links[index];
        link.conn = Some(conn);
        link.has_server = true;
        link.last_down = link.last_down.max(now + link.delay).max(link.silent_until);
        agenda.plan(link.last_down, Happening::Opened(index));
    }

    /// The client sends something.
    pub fn send_up(&mut self, index: usize, up: Up, now: Moment, agenda: &mut Agenda) {
        let link = &mut self.links[index];
        let jitter = self.chances[link.client].below(200);
        if link.is_frozen || !link.has_client {
            return;
        }
        let arrives = (now + link.delay + Duration::from_micros(jitter)).max(link.silent_until);
        link.last_up = link.last_up.max(arrives);
        agenda.plan(link.last_up, Happening::Up(index, up));
    }

    /// The client ends the connection, or forgets it.
    pub fn close_client(&mut self, index: usize, now: Moment, agenda: &mut Agenda) {
        self.send_up(index, Up::End, now, agenda);
        self.links[index].has_client = false;
    }

    /// The shard writes; returns how many bytes the buffer took.
    pub fn write(
        &mut self,
        index: usize,
        slices: &[IoSlice<'_>],
        stamp: Option<Stamp>,
        now: Moment,
        agenda: &mut Agenda,
    ) -> usize {
        let link = &mut self.links[index];
        let mut place = link.buffer_max - link.buffered;
        let mut taken = Vec::new();
        for slice in slices {
            let part = slice.get(..place).unwrap_or(slice);
            taken.extend_from_slice(part);
            place -= part.len();
        }
        let len = taken.len();
        if len > 0 {
            link.buffered += len;
            link.buffer.push_back(Piece::Bytes(taken, stamp));
            self.plan_drain(index, now, agenda);
        }
        len
    }

    /// Sends a mark behind what was written.
    pub fn mark(&mut self, index: usize, mark: Mark, now: Moment, agenda: &mut Agenda) {
        let link = &mut self.links[index];
        if link.buffered > 0 {
            link.buffer.push_back(Piece::Mark(mark));
        } else if link.has_client && !link.is_frozen {
            link.last_down = link.last_down.max(now + link.delay);
            agenda.plan(link.last_down, Happening::Marked(index, mark));
        }
    }

    /// Whether the buffer takes no more.
    pub fn is_full(&self, index: usize) -> bool {
        let link = &self.links[index];
        link.buffered >= link.buffer_max
    }

    fn plan_drain(&mut self, index: usize, at: Moment, agenda: &mut Agenda) {
        let link = &mut self.links[index];
        if !link.is_draining && !link.is_frozen {
            link.is_draining = true;
            agenda.plan(at, Happening::Drain(index));
        }
    }

    /// Takes from the buffer what the link can carry; true if there is place again.
    pub fn drain(&mut self, index: usize, now: Moment, agenda: &mut Agenda) -> bool {
        let link = &mut self.links[index];
        link.is_draining = false;
        if link.is_frozen {
            return false;
        }
        let weather = self.weather[link.client];
        let waits = link.silent_until.max(weather.stopped_until);
        if waits > now && link.has_client {
            self.plan_drain(index, waits, agenda);
            return false;
        }
        let (slow_until, slow) = weather.slow;
        let speed = if now < weather.wavers_until {
            self.chances[link.client].pick(&WAVERS)
        } else if now < slow_until {
            slow
        } else {
            link.bytes_per_ms
        };
        let mut left = speed as usize * DRAIN.as_millis() as usize;
        link.last_down = link.last_down.max(now + link.delay);
        while (left > 0 || link.buffered == 0)
            && let Some(piece) = link.buffer.pop_front()
        {
            let (mut bytes, stamp) = match piece {
                Piece::Bytes(bytes, stamp) => (bytes, stamp),
                Piece::Mark(mark) => {
                    if link.has_client {
                        agenda.plan(link.last_down, Happening::Marked(index, mark));
                    }
                    continue;
                }
            };
            let rest = bytes.split_off(left.min(bytes.len()));
            left -= bytes.len();
            link.buffered -= bytes.len();
            if link.has_client {
                agenda.plan(link.last_down, Happening::Down(index, bytes, stamp));
            }
            if !rest.is_empty() {
                link.buffer.push_front(Piece::Bytes(rest, stamp));
            }
        }
        if link.buffered > 0 {
            self.plan_drain(index, now + DRAIN, agenda);
        } else if link.is_finished {
            agenda.plan(link.last_down, Happening::DownEnd(index));
        }
        true
    }

    /// The server ends the connection; what is in the buffer still goes.
    pub fn finish(&mut self, index: usize, now: Moment, agenda: &mut Agenda) {
        let link = &mut self.links[index];
        link.has_server = false;
        link.is_finished = true;
        self.plan_drain(index, now, agenda);
    }

    /// The connection is cut.
    pub fn cut(&mut self, index: usize, side: Side, now: Moment, agenda: &mut Agenda) {
        if matches!(side, Side::Both | Side::Server) {
            self.send_up(index, Up::End, now, agenda);
        }
        let link = &mut self.links[index];
        link.is_frozen = true;
        if matches!(side, Side::Both | Side::Client) {
            agenda.plan(link.last_down.max(now + link.delay), Happening::DownEnd(index));
        }
    }

    /// For a while nothing gets through.
    pub fn silence(&mut self, index: usize, until: Moment) {
        let link = &mut self.links[index];
        link.silent_until = link.silent_until.max(until);
    }

    /// All faults end, but for links that are cut.
    pub fn heal(&mut self, now: Moment, agenda: &mut Agenda) {
        self.weather.fill(Weather::default());
        for index in 0..self.links.len() {
            let link = &mut self.links[index];
            link.silent_until = Moment(0);
            if link.buffered > 0 {
                link.is_draining = false;
                self.plan_drain(index, now, agenda);
            }
        }
    }
}

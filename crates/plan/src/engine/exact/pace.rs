//! How fast each flow goes at the moment: its rate, how far its rooms have grown, what is conflated, and for whom it is too much.
//!
//! All of it changes slowly or with a burst, so it is put together when rates are, and read by each event.

use super::{State, tables::Tables, windows::Work};
use crate::conflate::{Conflation, Stream, writes_that_fit};

/// However much waits of what must all be sent, a reader is given so much of the rest: of each 32 KiB one frame.
const SHARE_MIN: f64 = 0.03;
/// A change of less is none to a slow reader.
const NEAR: f64 = 0.02;

/// A flow at this moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Receivers, in parts of those of the network.
    pub growth: f64,
    /// What each receiver costs, in parts of what it costs at the flow's own rate.
    pub each: f64,
    pub conflation: Conflation,
    /// The same to a slow reader.
    pub slow: Conflation,
    /// Seconds between two writes to one, if it is behind.
    pub slow_window: f64,
}

impl Pace {
    pub const USUAL: Self = Self {
        growth: 1.0,
        each: 1.0,
        conflation: Conflation::NONE,
        slow: Conflation::NONE,
        slow_window: 0.0,
    };
}

/// What slow readers were last asked to take, and how often they are written to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SlowPace {
    asked: f64,
    left: f64,
    writes: f64,
}

impl State {
    /// Puts the paces together.
    pub(super) fn set_paces(&mut self, tables: &Tables) {
        if !tables.changes_pace {
            return;
        }
        let users = self.users.wanted.len() as f64;
        let mut streams: Vec<(usize, Stream)> = Vec::new();
        let mut asked = 0.0;
        for (flow, row) in tables.flows.iter().enumerate() {
            let growth = if row.receivers_at > 0.0 {
                (users / row.receivers_at).min(1e6)
            } else {
                1.0
            };
            let mut pace = Pace {
                growth,
                ..Pace::USUAL
            };
            if row.is_conflated {
                let rate = self.rate(tables, flow) / users.max(1.0);
                let (room_rate, key_rate) = row.rates((row.receivers_mean * growth).max(1.0), rate);
                pace.conflation = Conflation::new(tables.conflate_rate, room_rate, key_rate);
                pace.slow = pace.conflation;
                pace.each = pace.conflation.kept() / row.kept;
                asked += row.bytes * room_rate * pace.conflation.kept();
                streams.push((
                    flow,
                    Stream {
                        bytes: row.bytes,
                        room_rate,
                        key_rate,
                    },
                ));
            }
            self.paces[flow] = pace;
        }
        if tables.slow_readers > 0.0 && !streams.is_empty() {
            self.slow_down(tables, &streams, asked);
        }
        let costs: Vec<f64> = self.paces.iter().map(|pace| pace.growth * pace.each).collect();
        self.work.clear();
        let pools = tables.pools.len();
        for (flow, cost) in costs.into_iter().enumerate() {
            let row = &tables.work[flow * pools..][..pools];
            self.work.extend(row.iter().map(|work| work.at(cost)));
        }
    }

    /// Who reads slowly gets what is newest less often, until it fits beside what must all be sent.
    fn slow_down(&mut self, tables: &Tables, streams: &[(usize, Stream)], asked: f64) {
        let rate = tables.slow_reader_rate;
        let left = (rate - self.outbox_input).max(SHARE_MIN * rate);
        if asked <= left {
            self.slow_pace = SlowPace::default();
            return;
        }
        let last = self.slow_pace;
        let is_near = (asked / last.asked - 1.0).abs() < NEAR && (left / last.left - 1.0).abs() < NEAR;
        if !is_near {
            let of: Vec<Stream> = streams.iter().map(|&(_, stream)| stream).collect();
            let writes = writes_that_fit(tables.conflate_rate, &of, left);
            self.slow_pace = SlowPace { asked, left, writes };
        }
        let writes = self.slow_pace.writes;
        for (flow, stream) in streams {
            self.paces[*flow].slow = Conflation::new(writes, stream.room_rate, stream.key_rate);
            self.paces[*flow].slow_window = 1.0 / writes;
        }
    }

    /// What one publication of a flow asks of a pool now.
    pub(super) fn work_now(&self, tables: &Tables, flow: usize, pool: usize) -> Work {
        self.work[flow * tables.pools.len() + pool]
    }
}

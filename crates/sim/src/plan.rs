//! What a seed means: the bounds and policies of a run, and everything that will be done
//! to it, with its time. A plan is data, so that a failure can be made smaller by leaving
//! actions out.

use std::time::Duration;

use bytes::Bytes;
use tidegate_core::{
    Admission, Lane, Limits, Moment, Policy,
    drain::Pacing,
    policy::{Retention, StatePolicy},
};
use tidegate_wire::{RoomName, frame::Wishes};

use crate::{chance::Chance, strain::strain};

/// One in so many runs has thousands of clients.
const CROWD_ONE_IN: u64 = 150;

const SIDES: [Side; 4] = [Side::Both, Side::Client, Side::Server, Side::Nobody];

/// How large a run is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Clients; none lets the seed choose: mostly some dozens, now and then thousands.
    pub clients: Option<usize>,
    /// Actions after everyone came; none lets the seed choose.
    pub steps: Option<usize>,
}

/// Who notices that a connection was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Both, soon.
    Both,
    /// The client; the server hears nothing any more.
    Client,
    /// The server; the client hears nothing any more.
    Server,
    /// Nobody: both hear nothing any more, until their patience ends.
    Nobody,
}

/// What becomes of history in a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// All is there, under its epochs.
    Kept,
    /// All is gone; offsets begin anew in new epochs.
    Lost,
}

/// How a client joins.
#[derive(Debug, Clone)]
pub struct JoinOptions {
    /// Start with the last n.
    pub last: Option<u32>,
    /// Be listed.
    pub enter: bool,
    /// Hear of others.
    pub members: bool,
    /// Less than everything.
    pub wishes: Wishes,
    /// Begin with the newest of each key.
    pub state: bool,
}

/// Which keys a row of publications has: `step` further each, of `count` in all. The first of
/// all keys is the empty one.
#[derive(Debug, Clone, Copy)]
pub struct Keys {
    pub first: usize,
    pub step: usize,
    pub count: usize,
}

impl Keys {
    /// The key of the nth publication.
    pub fn of(self, n: usize) -> Bytes {
        key((self.first + n * self.step) % self.count)
    }
}

fn key(n: usize) -> Bytes {
    match n {
        0 => Bytes::new(),
        _ => format!("k{n}").into(),
    }
}

/// One thing that is done to the world. Clients and rooms are named by their number.
#[derive(Debug, Clone)]
pub enum Action {
    Connect {
        client: usize,
    },
    Quit {
        client: usize,
    },
    Join {
        client: usize,
        room: usize,
        options: JoinOptions,
    },
    Leave {
        client: usize,
        room: usize,
    },
    Publish {
        client: usize,
        room: usize,
        count: usize,
        bytes: usize,
        keys: Keys,
    },
    /// Several clients publish many at once.
    Burst {
        room: usize,
        clients: usize,
        count: usize,
        bytes: usize,
        keys: Keys,
    },
    Filter {
        client: usize,
        room: usize,
        wishes: Wishes,
    },
    ReadHistory {
        client: usize,
        room: usize,
    },
    Cut {
        client: usize,
        side: Side,
    },
    /// One in so many connections is cut at once.
    Storm {
        one_in: usize,
        side: Side,
    },
    Silence {
        client: usize,
        time: Duration,
    },
    StopReading {
        client: usize,
        time: Duration,
    },
    Trickle {
        client: usize,
        bytes_per_ms: u64,
        time: Duration,
    },
    /// The client's link takes now more, now less, now nothing.
    Waver {
        client: usize,
        time: Duration,
    },
    Offline {
        client: usize,
        time: Duration,
    },
    Kick {
        client: usize,
    },
    HoldShard {
        shard: usize,
        time: Duration,
    },
    StallEngine {
        time: Duration,
    },
    SlowEngine {
        delay: Duration,
        time: Duration,
    },
    Refuse {
        keeps: bool,
        time: Duration,
    },
    LoseAnswers {
        count: u32,
    },
    Break {
        room: usize,
        shard: usize,
    },
    Trim {
        room: usize,
        keep: u64,
    },
    RestartEngine {
        fate: Fate,
    },
    RestartServer {
        fate: Fate,
    },
    /// A shard sends everyone elsewhere, then ends; another begins in its place.
    Drain {
        shard: usize,
        pacing: Pacing,
    },
    /// The server sends everyone away until it is replaced by one that knows all it knew.
    Replace {
        pacing: Pacing,
    },
    /// So much of the process's memory is used for a while.
    Pressure {
        percent: u8,
        time: Duration,
    },
    /// A shard sends some of a hundred elsewhere.
    Rebalance {
        shard: usize,
        percent: u8,
        pacing: Pacing,
    },
}

/// How fast a shard is.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Subscribers visited in one turn.
    pub visits: usize,
    /// How long a turn takes.
    pub turn_time: Duration,
    /// What a visit is said to cost, nanoseconds: rooms are hot for it.
    pub visit_ns: u32,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub clients: usize,
    pub shards: usize,
    pub limits: Limits,
    pub admission: Admission,
    /// More is asked for than is let in.
    pub is_strained: bool,
    pub policies: Vec<Policy>,
    pub rooms: Vec<RoomName>,
    /// Some publications promise less than their namespace.
    pub narrows: bool,
    /// Some take their key out of the state.
    pub deletes: bool,
    /// Keys of publications.
    pub keys: usize,
    pub pace: Pace,
    /// Requests that wait for the engine at most.
    pub engine_requests_max: usize,
    pub has_deflate: bool,
    pub has_expiry: bool,
    pub actions: Vec<(Moment, Action)>,
    /// When the faults end.
    pub ends: Moment,
}

impl Plan {
    /// Makes the plan of a seed.
    pub fn of(seed: u64, size: Size) -> Self {
        let mut chance = Chance::of(seed, "plan", 0);
        let is_crowd = chance.one_in(CROWD_ONE_IN);
        let clients = match is_crowd {
            true => chance.range(1_000, 3_000),
            false => chance.range(2, 24),
        };
        let steps = match is_crowd {
            true => chance.range(40, 120),
            false => chance.range(40, 240),
        };
        let clients = size.clients.unwrap_or(clients as usize);
        let steps = size.steps.unwrap_or(steps as usize);
        let is_big = clients > 200;
        let rooms = chance.range(1, if is_crowd { 2 } else { 6 }) as usize;
        let names = ["chat", "tiny", "live", "px", "pos"];
        let rooms: Vec<RoomName> = (0..rooms)
            .filter_map(|n| RoomName::parse(&format!("{}:{n}", chance.pick(&names))).ok())
            .collect();
        let mut plan = Self {
            seed,
            clients,
            shards: chance.range(1, 3) as usize,
            narrows: chance.one_in(3),
            deletes: chance.one_in(2),
            keys: chance.pick(&[1, 3, 8, 40]),
            limits: limits(&mut chance, is_big),
            admission: Admission::default(),
            is_strained: false,
            policies: names.iter().map(|name| policy(name, &mut chance)).collect(),
            rooms,
            pace: Pace {
                visits: chance.pick(&[4, 32, 256]),
                turn_time: Duration::from_micros(chance.pick(&[20, 1_000, 10_000])),
                visit_ns: chance.pick(&[1_000, 5_000_000]),
            },
            engine_requests_max: if is_big { 4096 } else { chance.pick(&[16, 256]) },
            has_deflate: chance.one_in(8),
            has_expiry: chance.one_in(3),
            actions: Vec::new(),
            ends: Moment(0) + Duration::from_secs(chance.range(12, 40)),
        };
        plan.begin(&mut chance);
        let menu = Menu::of(&mut chance);
        for _ in 0..steps {
            let at = Moment(chance.range(1_000_000_000, plan.ends.0));
            let action = plan.action(&menu, &mut chance);
            plan.actions.push((at, action));
        }
        plan.actions.sort_by_key(|(at, _)| *at);
        strain(&mut plan);
        plan
    }

    /// Everyone comes and joins some rooms.
    fn begin(&mut self, chance: &mut Chance) {
        for client in 0..self.clients {
            let at = Moment(chance.below(2_000_000_000));
            self.actions.push((at, Action::Connect { client }));
            for room in 0..self.rooms.len() {
                if chance.one_in(2) {
                    let options = self.join_options(room, chance);
                    let at = at + chance.within(Duration::from_secs(1));
                    self.actions.push((
                        at,
                        Action::Join {
                            client,
                            room,
                            options,
                        },
                    ));
                }
            }
        }
    }

    fn action(&self, menu: &Menu, chance: &mut Chance) -> Action {
        let client = chance.below(self.clients as u64) as usize;
        let room = chance.below(self.rooms.len() as u64) as usize;
        let shard = chance.below(self.shards as u64) as usize;
        let seconds = |from: u64, to: u64, chance: &mut Chance| Duration::from_millis(chance.range(from, to));
        match menu.draw(chance) {
            Kind::Publish => Action::Publish {
                client,
                room,
                count: chance.pick(&[1, 1, 1, 4, 30]),
                bytes: chance.pick(&[0, 20, 100, 600]),
                keys: self.keys_of(chance),
            },
            Kind::Burst => Action::Burst {
                room,
                clients: chance.range(1, self.clients.min(8) as u64) as usize,
                count: chance.pick(&[4, 16]),
                bytes: chance.pick(&[20, 600]),
                keys: self.keys_of(chance),
            },
            Kind::Filter => Action::Filter {
                client,
                room,
                wishes: self.wishes(room, chance),
            },
            Kind::Storm => Action::Storm {
                one_in: chance.pick(&[1, 1, 2, 3]),
                side: chance.pick(&SIDES),
            },
            Kind::Waver => Action::Waver {
                client,
                time: seconds(500, 8_000, chance),
            },
            Kind::Join => Action::Join {
                client,
                room,
                options: self.join_options(room, chance),
            },
            Kind::Leave => Action::Leave { client, room },
            Kind::ReadHistory => Action::ReadHistory { client, room },
            Kind::Connect => Action::Connect { client },
            Kind::Quit => Action::Quit { client },
            Kind::Kick => Action::Kick { client },
            Kind::Cut => Action::Cut {
                client,
                side: chance.pick(&SIDES),
            },
            Kind::Silence => Action::Silence {
                client,
                time: seconds(100, 15_000, chance),
            },
            Kind::StopReading => Action::StopReading {
                client,
                time: seconds(100, 8_000, chance),
            },
            Kind::Trickle => Action::Trickle {
                client,
                bytes_per_ms: chance.pick(&[1, 10, 50]),
                time: seconds(500, 8_000, chance),
            },
            Kind::Offline => Action::Offline {
                client,
                time: seconds(100, 12_000, chance),
            },
            Kind::HoldShard => Action::HoldShard {
                shard,
                time: seconds(1, 800, chance),
            },
            Kind::StallEngine => Action::StallEngine {
                time: seconds(10, 4_000, chance),
            },
            Kind::SlowEngine => Action::SlowEngine {
                delay: seconds(1, 1_500, chance),
                time: seconds(500, 5_000, chance),
            },
            Kind::Refuse => Action::Refuse {
                keeps: chance.one_in(2),
                time: seconds(10, 3_000, chance),
            },
            Kind::LoseAnswers => Action::LoseAnswers {
                count: chance.range(1, 6) as u32,
            },
            Kind::Break => Action::Break { room, shard },
            Kind::Trim => Action::Trim {
                room,
                keep: chance.below(12),
            },
            Kind::RestartEngine => Action::RestartEngine {
                fate: chance.pick(&[Fate::Kept, Fate::Kept, Fate::Lost]),
            },
            Kind::RestartServer => Action::RestartServer {
                fate: chance.pick(&[Fate::Kept, Fate::Kept, Fate::Lost]),
            },
            Kind::Drain => Action::Drain {
                shard,
                pacing: pacing(1, chance),
            },
            Kind::Replace => Action::Replace {
                pacing: pacing(self.shards as u16, chance),
            },
            Kind::Rebalance => Action::Rebalance {
                shard,
                percent: chance.pick(&[10, 50, 100]),
                pacing: pacing(1, chance),
            },
        }
    }

    fn keys_of(&self, chance: &mut Chance) -> Keys {
        Keys {
            first: chance.below(self.keys as u64) as usize,
            step: chance.pick(&[0, 1, 1]),
            count: self.keys,
        }
    }

    fn join_options(&self, room: usize, chance: &mut Chance) -> JoinOptions {
        JoinOptions {
            last: chance.one_in(3).then(|| chance.range(1, 12) as u32),
            enter: chance.one_in(2),
            members: chance.one_in(2),
            wishes: match chance.one_in(3) {
                true => self.wishes(room, chance),
                false => Wishes::default(),
            },
            state: self.has_state(room) && chance.one_in(2),
        }
    }

    /// Whether a room keeps the newest of each key.
    pub fn has_state(&self, room: usize) -> bool {
        let namespace = self.rooms[room].namespace();
        let mut policies = self.policies.iter();
        policies.any(|policy| policy.namespace == namespace && policy.state.is_some())
    }

    /// What a client may want of a room: some keys, and no more than so many batches a second.
    fn wishes(&self, room: usize, chance: &mut Chance) -> Wishes {
        let some = (0..self.keys).filter(|_| chance.one_in(2)).map(key).collect();
        let rate = chance.pick(&[None, Some(2.0), Some(30.0)]);
        let may_leave_out = !matches!(self.rooms[room].namespace(), "chat" | "tiny" | "live");
        Wishes {
            keys: (!chance.one_in(3)).then_some(some),
            max_rate: rate.filter(|_| may_leave_out),
        }
    }
}

fn pacing(shards: u16, chance: &mut Chance) -> Pacing {
    Pacing {
        within: Duration::from_secs(chance.pick(&[3, 6])),
        per_second: chance.pick(&[2, 5]),
        shards,
    }
}

fn limits(chance: &mut Chance, is_big: bool) -> Limits {
    let small = |chance: &mut Chance, bytes: usize, usual: usize| {
        if chance.one_in(2) && !is_big { bytes } else { usual }
    };
    let usual = Limits::default();
    Limits {
        outbox_bytes_max: small(chance, 16 << 10, 256 << 10),
        outbox_age_max: Duration::from_secs(chance.pick(&[2, 5])),
        outbox_age_soft: Duration::from_millis(chance.pick(&[200, 1_000])),
        connect_timeout: Duration::from_secs(3),
        request_timeout: Duration::from_secs(chance.pick(&[1, 3])),
        room_linger: Duration::from_millis(chance.pick(&[0, 200, 3_000])),
        requests_max: small(chance, 24, 65_536),
        windows_bytes_max: small(chance, 4 << 10, 64 << 20),
        pending_bytes_max: small(chance, 4 << 10, 16 << 20),
        refresh_ahead: Duration::from_secs(3),
        ping_interval: Duration::from_secs(if is_big { 10 } else { 3 }),
        reconnect_window: Duration::from_secs(1),
        ..usual
    }
}

fn policy(name: &str, chance: &mut Chance) -> Policy {
    let mut policy = Policy::with_defaults(name);
    policy.history_page_max = 20;
    policy.payload_bytes_max = 1024;
    policy.presence.lease = Duration::from_millis(chance.pick(&[0, 2_000]));
    policy.presence.interval = Duration::from_millis(chance.pick(&[0, 250]));
    (policy.presence.members_max, policy.presence.sample) = chance.pick(&[(200, 20), (6, 3)]);
    match name {
        "tiny" => {
            policy.window_count = chance.range(1, 8) as u32;
            policy.replay_max = chance.range(4, 20) as u32;
            policy.history.count = chance.range(4, 40) as u32;
        }
        "live" => {
            policy.history = Retention {
                count: 0,
                ..policy.history
            };
            policy.window_count = chance.range(0, 16) as u32;
        }
        "px" => {
            policy.lane = Lane::Latest;
            policy.keys_max = chance.pick(&[2, 5, 1_000]);
            policy.window_count = chance.pick(&[0, 4, 16, 256]);
            policy.replay_max = chance.pick(&[20, 1_000]);
            policy.state = (!chance.one_in(3)).then(|| StatePolicy {
                bytes: chance.pick(&[2 << 10, 1 << 20]),
                age: chance.pick(&[None, None, Some(Duration::from_secs(3))]),
            });
        }
        "pos" => {
            policy.lane = Lane::Lossy;
            policy.deadline = Duration::from_millis(chance.pick(&[20, 150, 1_000]));
            policy.window_count = chance.pick(&[0, 16, 256]);
            policy.history.count = chance.pick(&[0, 20, 1_000]);
        }
        _ => policy.window_count = chance.pick(&[8, 64, 256]),
    }
    policy.batch = Duration::from_millis(chance.pick(&[0, 0, 0, 30]));
    policy.crowd.above = chance.pick(&[0, 0, 3]);
    policy.crowd.batch = Duration::from_millis(100);
    policy.hot.share = chance.pick(&[0.0, 0.25]);
    policy.hot.batch = Duration::from_millis(chance.pick(&[0, 50]));
    policy
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Publish,
    Burst,
    Filter,
    Join,
    Leave,
    ReadHistory,
    Connect,
    Quit,
    Kick,
    Cut,
    Storm,
    Silence,
    StopReading,
    Trickle,
    Waver,
    Offline,
    HoldShard,
    StallEngine,
    SlowEngine,
    Refuse,
    LoseAnswers,
    Break,
    Trim,
    RestartEngine,
    RestartServer,
    Drain,
    Replace,
    Rebalance,
}

/// Which kinds of action a run has, and how often. Half of the faults are left out of
/// each run, so that what some of them hide is seen as well.
struct Menu(Vec<(Kind, u64)>);

impl Menu {
    fn of(chance: &mut Chance) -> Self {
        let always = [
            (Kind::Publish, 40),
            (Kind::Join, 10),
            (Kind::Leave, 4),
            (Kind::Connect, 2),
        ];
        let sometimes = [
            (Kind::ReadHistory, 3),
            (Kind::Quit, 1),
            (Kind::Kick, 1),
            (Kind::Burst, 2),
            (Kind::Filter, 8),
            (Kind::Storm, 1),
            (Kind::Waver, 5),
            (Kind::Cut, 6),
            (Kind::Silence, 2),
            (Kind::StopReading, 4),
            (Kind::Trickle, 3),
            (Kind::Offline, 2),
            (Kind::HoldShard, 2),
            (Kind::StallEngine, 2),
            (Kind::SlowEngine, 2),
            (Kind::Refuse, 3),
            (Kind::LoseAnswers, 3),
            (Kind::Break, 5),
            (Kind::Trim, 3),
            (Kind::RestartEngine, 1),
            (Kind::RestartServer, 1),
            (Kind::Drain, 1),
            (Kind::Replace, 1),
            (Kind::Rebalance, 1),
        ];
        let mut menu = always.to_vec();
        menu.extend(sometimes.into_iter().filter(|_| chance.one_in(2)));
        Self(menu)
    }

    fn draw(&self, chance: &mut Chance) -> Kind {
        let mut place = chance.below(self.0.iter().map(|(_, weight)| weight).sum());
        for (kind, weight) in &self.0 {
            if place < *weight {
                return *kind;
            }
            place -= weight;
        }
        Kind::Publish
    }
}

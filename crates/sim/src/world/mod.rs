//! A run: clients, network, shards and engine under one clock, moved by a plan.
//!
//! Everything that happens comes out of one agenda; nothing else moves time. When the plan
//! is done all faults end, the world comes to rest, and then every ledger must balance.

mod actions;
mod rest;
mod sent;

use std::{rc::Rc, time::Duration};

use tidegate_core::{
    Lane, Moment, Policies, Policy, Setup, WallClock,
    grant::{Grant, Rights},
    request::Event,
};
use tidegate_wire::ws::reader::Inflater;

use crate::{
    agenda::{Agenda, Happening, Up},
    checks::{Violation, broken},
    client::{Client, Out, State},
    driver::{Input, Node, Outside},
    engine::Engine,
    mutation::{Mutation, Planted},
    network::{Mark, Network, Stamp},
    plan::Plan,
    trace::Trace,
};

/// Time to come to rest after the faults end: reconnects, leases, timeouts.
const REST: Duration = Duration::from_secs(40);

/// When the faults have ended for so long, nothing that is asked is too much any more.
const CALM: Duration = Duration::from_secs(30);
/// More clients than this are a crowd.
const CROWD_MIN: usize = 200;
/// Then so many publish,
const PROBES: usize = 4;
/// one after the other.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Longer than any run.
const LONG: Duration = Duration::from_secs(3600);

/// Time until nothing is left of those who went, once pings have failed: lingering rooms, leases.
const GONE: Duration = Duration::from_secs(6);

/// What came of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The same for the same seed.
    pub hash: u64,
    pub violation: Option<Violation>,
    pub lines: Vec<String>,
    pub stats: Stats,
}

/// What happened in a run, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    pub happenings: u64,
    pub events: u64,
    pub acknowledged: u64,
    pub given_up: u64,
    pub connections: u64,
    pub gaps: u64,
    pub replayed: u64,
    pub too_slow: u64,
    /// Publications left out, by lane.
    pub conflated: u64,
    pub dropped: u64,
    /// Times a client was found to have all it wants.
    pub marks: u64,
    /// Most visits a publication waited for at a subscriber that was not blocked.
    pub visits_waited: u64,
    /// Slots that were told.
    pub slots: u64,
    /// Commands that waited for a place, that were refused for want of one, of a token, of memory.
    pub waited: u64,
    pub refused: u64,
    pub exceeded: u64,
    pub shed: u64,
}

impl Stats {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.happenings += other.happenings;
        self.events += other.events;
        self.acknowledged += other.acknowledged;
        self.given_up += other.given_up;
        self.connections += other.connections;
        self.gaps += other.gaps;
        self.replayed += other.replayed;
        self.too_slow += other.too_slow;
        self.conflated += other.conflated;
        self.dropped += other.dropped;
        self.marks += other.marks;
        self.visits_waited = self.visits_waited.max(other.visits_waited);
        self.slots += other.slots;
        self.waited += other.waited;
        self.refused += other.refused;
        self.exceeded += other.exceeded;
        self.shed += other.shed;
    }
}

/// See the module.
pub struct World {
    plan: Plan,
    now: Moment,
    agenda: Agenda,
    clients: Vec<Client>,
    /// Each client's connection at present.
    links: Vec<Option<usize>>,
    /// When each client will be called.
    wakes: Vec<Option<Moment>>,
    network: Network,
    nodes: Vec<Node>,
    engine: Engine,
    engine_at: Option<Moment>,
    /// When the last event on its way to each shard arrives.
    last_event: Vec<Moment>,
    /// Publications asked for.
    published: u64,
    /// Which server process each shard is of.
    servers: Vec<u32>,
    /// When each client was told to come back.
    slots: Vec<Option<Moment>>,
    /// A client came back too early.
    early: Option<Violation>,
    inflater: Inflater,
    trace: Trace,
    stats: Stats,
}

/// Runs a plan.
pub fn run(plan: &Plan, mutation: Option<Mutation>, wants_lines: bool) -> Outcome {
    let mut world = World::new(plan.clone(), mutation, wants_lines);
    let violation = world.run().err();
    if let Some(violation) = &violation {
        let Violation { check, detail } = violation;
        world
            .trace
            .say(world.now, "VIOLATION", format_args!("{check}: {detail}"));
    }
    world.stats.happenings = world.trace.events;
    Outcome {
        hash: world.trace.hash(),
        violation,
        lines: world.trace.lines().to_vec(),
        stats: world.stats,
    }
}

impl World {
    fn new(plan: Plan, mutation: Option<Mutation>, wants_lines: bool) -> Self {
        let policies = Policies::new(plan.policies.clone());
        let grants: Rc<[Grant]> = Rc::new([Grant {
            pattern: "*".into(),
            rights: Rights::ALL,
        }]);
        let shard_policies = plan
            .policies
            .iter()
            .cloned()
            .map(|policy| altered(policy, mutation));
        let shard_policies = Policies::new(shard_policies);
        let node = |index: usize| {
            let setup = Setup {
                index: index as u16,
                policies: shard_policies.clone(),
                limits: plan.limits.clone(),
                admission: plan.admission.clone(),
                wall: WallClock { origin_us: 0 },
                seed: plan.seed,
            };
            let planted = Planted::new(mutation, plan.seed, index);
            let promised = policies.clone();
            Node::new(setup, promised, plan.pace, plan.seed, grants.clone(), planted)
        };
        Self {
            now: Moment(0),
            agenda: Agenda::default(),
            clients: (0..plan.clients)
                .map(|id| Client::new(id, &plan, mutation))
                .collect(),
            links: vec![None; plan.clients],
            wakes: vec![None; plan.clients],
            network: Network::new(plan.clients, plan.seed),
            nodes: (0..plan.shards).map(node).collect(),
            engine: Engine::new(
                policies.clone(),
                &plan.admission,
                plan.engine_requests_max,
                plan.seed,
                mutation,
            ),
            engine_at: None,
            last_event: vec![Moment(0); plan.shards],
            published: 0,
            servers: vec![0; plan.shards],
            slots: vec![None; plan.clients],
            early: None,
            inflater: Inflater::default(),
            trace: Trace::new(wants_lines),
            stats: Stats::default(),
            plan,
        }
    }

    fn run(&mut self) -> Result<(), Violation> {
        for (place, (at, _)) in self.plan.actions.iter().enumerate() {
            self.agenda.plan(*at, Happening::Act(place));
        }
        self.agenda.plan(self.plan.ends, Happening::Heal);
        // Slow shards need longer than that for thousands of subscribers.
        let is_crowd = self.clients.len() > CROWD_MIN;
        for count in (0..PROBES).filter(|_| !is_crowd) {
            let at = self.plan.ends + CALM + PROBE_EVERY * count as u32;
            self.agenda.plan(at, Happening::Probe(count));
        }
        self.run_until(self.plan.ends + REST)?;
        self.check_at_rest()?;
        for client in 0..self.clients.len() {
            let now = self.now;
            self.with_client(client, |client, out| client.quit(now, out));
        }
        let gone = self.plan.limits.ping_interval * 3 + GONE;
        self.run_until(self.plan.ends + REST + gone)?;
        self.check_gone()
    }

    fn run_until(&mut self, end: Moment) -> Result<(), Violation> {
        while let Some((at, happening)) = self.agenda.next(end) {
            self.now = at;
            self.happen(happening)?;
            self.plan_engine();
        }
        Ok(())
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Violation> {
        let now = self.now;
        match happening {
            Happening::Act(place) => {
                let action = self.plan.actions[place].1.clone();
                self.trace.say(now, "action", format_args!("{action:?}"));
                self.act(&action);
            }
            Happening::Wake(client) => {
                if self.wakes[client] == Some(now) {
                    self.wakes[client] = None;
                }
                let is_due = self.clients[client].wake_at().is_some_and(|at| at <= now);
                self.with_client(client, |client, out| {
                    if is_due {
                        client.tick(now, out);
                    }
                });
            }
            Happening::Up(link, up) => self.on_up(link, up),
            Happening::Opened(link) => {
                if self.is_current(link) {
                    let client = self.network.links[link].client;
                    self.trace
                        .say(now, "opened", format_args!("client {client}, link {link}"));
                    self.with_client(client, |client, out| client.opened(now, out));
                }
            }
            Happening::Drain(link) => {
                let has_place = self.network.drain(link, now, &mut self.agenda);
                let Link { shard, conn } = self.link(link);
                if let (true, Some(conn)) = (has_place, conn)
                    && self.nodes[shard].on_writable(conn)
                {
                    self.nodes[shard].plan_turn(now, &mut self.agenda);
                }
            }
            Happening::Down(link, bytes, stamp) => return self.on_down(link, bytes, stamp),
            Happening::Marked(link, mark) => return self.on_marked(link, &mark),
            Happening::DownEnd(link) => {
                if self.is_current(link) {
                    let client = self.network.links[link].client;
                    self.trace
                        .say(now, "lost", format_args!("client {client}, link {link}"));
                    self.network.links[link].has_client = false;
                    self.links[client] = None;
                    self.with_client(client, |client, out| client.closed(1006, now, out));
                }
            }
            Happening::Turn(shard) => return self.on_turn(shard),
            Happening::Engine => {
                if self.engine_at == Some(now) {
                    self.engine_at = None;
                }
                let events = self.engine.step(now);
                self.engine.check_rates()?;
                self.spread(events);
            }
            Happening::Events(shard, server, events) => {
                if server == self.servers[shard] {
                    let node = &mut self.nodes[shard];
                    node.events.extend(events);
                    node.plan_turn(now, &mut self.agenda);
                }
            }
            Happening::Gone(shard, server) => return self.on_gone(shard, server),
            Happening::Probe(count) => self.probe(count),
            Happening::Heal => self.heal(),
        }
        self.early.take().map_or(Ok(()), Err)
    }

    fn plan_engine(&mut self) {
        let Some(at) = self.engine.deadline().map(|at| at.max(self.now)) else {
            return;
        };
        if self.engine_at.is_none_or(|planned| at < planned) {
            self.engine_at = Some(at);
            self.agenda.plan(at, Happening::Engine);
        }
    }

    /// Sends events on their way, in order for each shard.
    fn spread(&mut self, events: Vec<(u8, Event)>) {
        let mut by_shard: Vec<Vec<Event>> = vec![Vec::new(); self.nodes.len()];
        for (port, event) in events {
            self.trace
                .say(self.now, "engine", format_args!("to shard {port}: {event:?}"));
            by_shard[usize::from(port)].push(event);
        }
        for (shard, events) in by_shard.into_iter().enumerate() {
            if !events.is_empty() {
                let at = self.last_event[shard].max(self.now + Duration::from_micros(50));
                self.last_event[shard] = at;
                let server = self.servers[shard];
                self.agenda.plan(at, Happening::Events(shard, server, events));
            }
        }
    }

    fn on_turn(&mut self, shard: usize) -> Result<(), Violation> {
        let now = self.now;
        let node = &mut self.nodes[shard];
        // An earlier turn was planned later.
        if node.turn_at != Some(now) {
            return Ok(());
        }
        node.turn_at = None;
        if node.held_until > now {
            node.plan_turn(now, &mut self.agenda);
            return Ok(());
        }
        self.trace.say(now, "turn", format_args!("shard {shard}"));
        let mut outside = Outside {
            network: &mut self.network,
            engine: &mut self.engine,
            agenda: &mut self.agenda,
        };
        node.turn(now, &mut outside)
    }

    fn on_up(&mut self, link: usize, up: Up) {
        let client = self.network.links[link].client;
        self.trace.say(
            self.now,
            "up",
            format_args!("client {client}, link {link}: {up:?}"),
        );
        let input = match up {
            Up::Open => Input::Open(link, self.clients[client].link),
            Up::Message(message) => Input::Message(link, message),
            Up::Pong => Input::Pong(link),
            Up::End => Input::End(link),
        };
        let node = &mut self.nodes[self.network.links[link].shard];
        node.inputs.push_back(input);
        node.plan_turn(self.now, &mut self.agenda);
    }

    fn on_down(&mut self, link: usize, mut bytes: Vec<u8>, stamp: Option<Stamp>) -> Result<(), Violation> {
        if !self.is_current(link) {
            return Ok(());
        }
        let (now, client) = (self.now, self.network.links[link].client);
        self.trace.say(
            now,
            "down",
            format_args!("client {client}, link {link}: {} bytes", bytes.len()),
        );
        self.trace.mark(&bytes);
        let mut out = Vec::new();
        self.clients[client].parting = self.network.links[link].parting;
        let (rooms, inflater) = (&self.engine.rooms, &mut self.inflater);
        let result = self.clients[client].received(&mut bytes, rooms, inflater, now, &mut out);
        if let Err(Violation { check, detail }) = result {
            return broken(check, format!("client {client}: {detail}"));
        }
        self.check_sent_away(client, link, stamp)?;
        self.do_all(client, out);
        let live = std::mem::take(&mut self.clients[client].live);
        self.stats.events += live.len() as u64;
        let node = &self.nodes[self.network.links[link].shard];
        for (room, offset, lane) in live {
            if let Some(stamp) = stamp {
                self.clients[client].check_rate(&room, stamp.at)?;
                // Around a gap nothing that promises less than its room is left out.
                let has_broken = self.engine.rooms.get(&room).is_some_and(|room| room.has_broken);
                let lane = lane.filter(|_| !has_broken);
                let waited = node.check_in_time(&room, offset, lane, stamp)?;
                self.stats.visits_waited = self.stats.visits_waited.max(waited);
            }
        }
        Ok(())
    }

    fn on_marked(&mut self, link: usize, mark: &Mark) -> Result<(), Violation> {
        if !self.is_current(link) {
            return Ok(());
        }
        let client = self.network.links[link].client;
        self.stats.marks += 1;
        match self.clients[client].marked(mark, &self.engine.rooms) {
            Err(Violation { check, detail }) => broken(check, format!("client {client}: {detail}")),
            Ok(()) => Ok(()),
        }
    }

    fn with_client(&mut self, client: usize, act: impl FnOnce(&mut Client, &mut Vec<Out>)) {
        let mut out = Vec::new();
        act(&mut self.clients[client], &mut out);
        self.do_all(client, out);
    }

    /// Does what a client wants, and plans when to ask it again.
    fn do_all(&mut self, client: usize, out: Vec<Out>) {
        let now = self.now;
        for wish in out {
            match (wish, self.links[client]) {
                (Out::Open, _) => {
                    self.check_slot_is_kept(client);
                    let shards = self.open_shards();
                    let link = self.network.open(client, &shards, now, &mut self.agenda);
                    self.links[client] = Some(link);
                    self.stats.connections += 1;
                }
                (Out::Send(message), Some(link)) => {
                    self.network
                        .send_up(link, Up::Message(message), now, &mut self.agenda);
                }
                (Out::Pong, Some(link)) => self.network.send_up(link, Up::Pong, now, &mut self.agenda),
                (Out::Close, Some(link)) => {
                    self.network.close_client(link, now, &mut self.agenda);
                    self.links[client] = None;
                }
                (Out::Send(_) | Out::Pong | Out::Close, None) => {}
            }
        }
        if self.clients[client].state == State::Closed {
            self.slots[client] = None;
        }
        if let Some(at) = self.clients[client].wake_at().map(|at| at.max(now))
            && self.wakes[client].is_none_or(|planned| at < planned)
        {
            self.wakes[client] = Some(at);
            self.agenda.plan(at, Happening::Wake(client));
        }
    }

    fn is_current(&self, link: usize) -> bool {
        let of = &self.network.links[link];
        of.has_client && self.links[of.client] == Some(link)
    }

    fn link(&self, link: usize) -> Link {
        let link = &self.network.links[link];
        Link {
            shard: link.shard,
            conn: link.conn,
        }
    }
}

/// A policy as a shard has it: some planted bugs are there.
fn altered(mut policy: Policy, mutation: Option<Mutation>) -> Policy {
    match (mutation, policy.lane) {
        (Some(Mutation::ForgetKey), Lane::Latest) => (policy.keys_max, policy.window_count) = (0, 1),
        (Some(Mutation::MixLanes), Lane::Latest) => policy.lane = Lane::Lossy,
        (Some(Mutation::IgnoreDeadline), _) => policy.deadline = LONG,
        (Some(Mutation::LoseBatchTimer), _) if !policy.batch.is_zero() => policy.batch = LONG,
        _ => {}
    }
    policy
}

struct Link {
    shard: usize,
    conn: Option<tidegate_core::ConnId>,
}

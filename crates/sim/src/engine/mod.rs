//! The simulated engine: it orders, keeps and spreads as the contract in
//! `tidegate_core::request` says, is as slow and faulty as it is told to be, and
//! remembers everything that ever was: the truth that the checks compare with.
//!
//! ```text
//!   submit ─► waits until it arrives ─► step: handled in order ─► events for each port, in order
//! ```

mod faults;
mod rates;
mod state;
mod story;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tidegate_core::{
    Admission, Moment, Policies, Policy,
    request::{Attachment, Event, HistoryQuery, NewPublication, Request},
};
use tidegate_wire::{
    Epoch, Position, Publication, Reject, RejectCode, RoomName, Stamps,
    frame::{GapReason, HistoryPage, Published},
};

use crate::{
    chance::Chance,
    mutation::{Mutation, Planted},
    presence::Presence,
};

use rates::Rated;
pub use state::state_of;
pub use story::{EngineRoom, Story};

/// What is wrong with the engine, and until when.
#[derive(Debug, Default)]
pub struct Faults {
    pub stalled_until: Moment,
    pub slow: (Moment, std::time::Duration),
    pub refuses_until: Moment,
    pub keeps_while_refusing: bool,
    pub lost_answers: u32,
}

/// See the module.
pub struct Engine {
    pub rooms: BTreeMap<RoomName, EngineRoom>,
    pub faults: Faults,
    policies: Policies,
    chance: Chance,
    planted: Planted,
    requests_max: usize,
    incoming: VecDeque<(Moment, u8, Request)>,
    last_arrival: Moment,
    swapped: Option<(u8, Event)>,
    rated: Rated,
}

impl Engine {
    pub fn new(
        policies: Policies,
        admission: &Admission,
        requests_max: usize,
        seed: u64,
        mutation: Option<Mutation>,
    ) -> Self {
        Self {
            rated: Rated::new(admission, &policies, seed),
            rooms: BTreeMap::new(),
            faults: Faults::default(),
            policies,
            chance: Chance::of(seed, "engine", 0),
            planted: Planted::new(mutation, seed, 0),
            requests_max,
            incoming: VecDeque::new(),
            last_arrival: Moment(0),
            swapped: None,
        }
    }

    pub fn room(&mut self, name: &RoomName) -> &mut EngineRoom {
        if !self.rooms.contains_key(name) {
            let policy = self.policies.of(name).expect("the shard knows the namespaces");
            let room = EngineRoom {
                policy: Policy::clone(policy),
                stories: vec![Story::new(Epoch(self.chance.number()))],
                presence: Presence::default(),
                has_broken: false,
                ports: BTreeSet::new(),
            };
            self.rooms.insert(name.clone(), room);
        }
        self.rooms.get_mut(name).expect("inserted above")
    }

    /// Whether one more request may wait.
    pub fn has_place(&self) -> bool {
        self.incoming.len() < self.requests_max
    }

    /// Takes a request on its way.
    pub fn submit(&mut self, port: u8, request: Request, now: Moment) {
        let (until, delay) = self.faults.slow;
        let usual = std::time::Duration::from_micros(self.chance.range(20, 2_000));
        let delay = if now < until { delay } else { usual };
        self.last_arrival = self.last_arrival.max(now + delay);
        self.incoming.push_back((self.last_arrival, port, request));
    }

    /// When `step` wants to be called.
    pub fn deadline(&self) -> Option<Moment> {
        let first = self
            .incoming
            .front()
            .map(|(at, ..)| (*at).max(self.faults.stalled_until));
        let presence = self
            .rooms
            .values()
            .filter_map(|room| room.presence.deadline(&room.policy.presence));
        presence.chain(first).min()
    }

    /// Handles what has arrived, and tells members' changes whose time has come.
    pub fn step(&mut self, now: Moment) -> Vec<(u8, Event)> {
        let mut out = Vec::new();
        while let Some((at, ..)) = self.incoming.front()
            && *at <= now
            && self.faults.stalled_until <= now
        {
            let (_, port, request) = self.incoming.pop_front().expect("looked at above");
            self.handle(port, request, now, &mut out);
        }
        let names: Vec<RoomName> = self.rooms.keys().cloned().collect();
        for name in names {
            self.tell_members(&name, now, &mut out);
        }
        out
    }

    fn handle(&mut self, port: u8, request: Request, now: Moment, out: &mut Vec<(u8, Event)>) {
        let refuses = now < self.faults.refuses_until;
        match request {
            Request::Attach { room, nonce } => {
                let result = if refuses {
                    Err(unavailable())
                } else {
                    Ok(self.attach(port, &room))
                };
                if !self.planted.strikes(Mutation::ForgetAttached) {
                    out.push((port, Event::Attached { room, nonce, result }));
                }
            }
            Request::Detach { room } => _ = self.room(&room).ports.remove(&port),
            Request::Publish { ticket, publish } => {
                let mut result = Err(unavailable());
                if let Err(exceeded) = self.admit(&publish, now) {
                    result = Err(exceeded);
                } else if !refuses || self.faults.keeps_while_refusing {
                    let published = self.publish(*publish, now, out);
                    result = if refuses { result } else { Ok(published) };
                }
                self.answer(port, Event::Published { ticket, result }, out);
            }
            Request::History { ticket, room, query } => {
                let mut result = if refuses {
                    Err(unavailable())
                } else {
                    self.history(&room, &query)
                };
                if let Ok(page) = &mut result
                    && page.publications.len() > 2
                    && self.planted.strikes(Mutation::ThinHistory)
                {
                    page.publications.remove(1);
                }
                self.answer(port, Event::History { ticket, result }, out);
            }
            Request::State { ticket, room, query } => {
                let result = match refuses {
                    true => Err(unavailable()),
                    false => Ok(self.state(&room, &query, now.0 / 1_000)),
                };
                self.answer(port, Event::State { ticket, result }, out);
            }
            Request::Presence { ticket, room, limit } => {
                let room = self.room(&room);
                let mut members = room.presence.members(&room.policy.presence);
                members.sample.truncate(limit as usize);
                let result = Ok(members);
                self.answer(port, Event::Presence { ticket, result }, out);
            }
            Request::Enter {
                room,
                session,
                user,
                info,
            } => self.room(&room).presence.enter((port, session), &user, info),
            Request::Exit {
                room,
                session,
                user,
                exit,
            } => {
                if !self.planted.strikes(Mutation::ForgetExit) {
                    let room = self.room(&room);
                    let lease = now + room.policy.presence.lease;
                    room.presence.exit((port, session), &user, exit, lease, now);
                }
            }
        }
    }

    fn answer(&mut self, port: u8, event: Event, out: &mut Vec<(u8, Event)>) {
        if self.faults.lost_answers > 0 {
            self.faults.lost_answers -= 1;
            return;
        }
        out.push((port, event));
    }

    fn attach(&mut self, port: u8, name: &RoomName) -> Attachment {
        let room = self.room(name);
        room.ports.insert(port);
        let members = room.presence.show(&room.policy.presence);
        let (story, policy) = (room.story(), &room.policy);
        let mut bytes_left = policy.window_bytes;
        let fits = |publication: &&Publication| {
            let fits = publication.weight() <= bytes_left;
            bytes_left = bytes_left.saturating_sub(publication.weight());
            fits
        };
        // What is at hand may be older than what is kept, as in the real engine.
        let newest = story.log.iter().rev().take(policy.window_count.min(64) as usize);
        let mut window: Vec<Publication> = newest.take_while(fits).cloned().collect();
        window.reverse();
        Attachment {
            head: story.head(),
            oldest: story.shown_oldest(policy),
            window,
            members,
        }
    }

    fn publish(&mut self, new: NewPublication, now: Moment, out: &mut Vec<(u8, Event)>) -> Published {
        let forgets = self.planted.is(Mutation::ForgetMessage);
        let strays = self.planted.strikes(Mutation::AcknowledgeElsewhere);
        let loses = self.planted.strikes(Mutation::AcknowledgeUnkept);
        let room = self.room(&new.room);
        let policy = room.policy.clone();
        let ports: Vec<u8> = room.ports.iter().copied().collect();
        let story = room.stories.last_mut().expect("a room has a story");
        let key = (new.from.clone(), new.msg.clone());
        let epoch = story.epoch;
        if let Some(offset) = story.messages.get(&key).filter(|_| !forgets) {
            let position = Position {
                epoch,
                offset: *offset,
            };
            return Published {
                position,
                duplicate: true,
            };
        }
        let publication = Publication {
            offset: story.log.len() as u64 + 1,
            data: new.data,
            from: new.from,
            msg: new.msg,
            key: new.key,
            lane: new.lane,
            stamps: Stamps {
                sent_us: new.sent_us,
                received_us: new.received_us,
                ordered_us: now.0.div_ceil(1_000),
            },
        };
        let offset = publication.offset - u64::from(strays && publication.offset > 1);
        if !loses {
            story.log.push(publication.clone());
            story.messages.insert(key, publication.offset);
            story.oldest = story.shown_oldest(&policy);
            for port in ports {
                let room = new.room.clone();
                let publication = publication.clone();
                self.spread(port, Event::Publication { room, publication }, out);
            }
        }
        Published {
            position: Position { epoch, offset },
            duplicate: false,
        }
    }

    fn spread(&mut self, port: u8, event: Event, out: &mut Vec<(u8, Event)>) {
        if self.planted.strikes(Mutation::DropPublication) {
            return;
        }
        if self.planted.strikes(Mutation::RepeatPublication) {
            out.push((port, event.clone()));
        }
        if self.swapped.is_none() && self.planted.strikes(Mutation::SwapPublications) {
            self.swapped = Some((port, event));
            return;
        }
        out.push((port, event));
        if self.swapped.as_ref().is_some_and(|(swapped, _)| *swapped == port) {
            out.extend(self.swapped.take());
        }
    }

    fn history(&mut self, name: &RoomName, query: &HistoryQuery) -> Result<HistoryPage, Reject> {
        let room = self.room(name);
        if !room.policy.keeps_history() {
            return Err(Reject::new(RejectCode::Disabled, "no history is kept"));
        }
        let story = room.story();
        let (head, oldest) = (story.head(), story.shown_oldest(&room.policy));
        let mut gap = None;
        let since = query.since.and_then(|since| {
            if since.epoch != head.epoch || since.offset > head.offset {
                gap = Some(GapReason::Epoch);
                return None;
            }
            if !query.reverse && since.offset + 1 < oldest {
                gap = Some(GapReason::Trimmed);
                return None;
            }
            Some(since.offset)
        });
        let kept = &story.log[(oldest - 1) as usize..];
        let is_wanted = |p: &&Publication| match (since, query.reverse) {
            (None, _) => true,
            (Some(offset), false) => p.offset > offset,
            (Some(offset), true) => p.offset < offset,
        };
        let mut found: Vec<Publication> = kept.iter().filter(is_wanted).cloned().collect();
        if query.reverse {
            found.reverse();
        }
        let mut bytes = 0;
        let fits = |publication: &&Publication| {
            let is_first = bytes == 0;
            bytes += publication.weight().max(1);
            is_first || bytes <= query.bytes_max
        };
        let count = found
            .iter()
            .take(query.limit.max(1) as usize)
            .take_while(fits)
            .count();
        let more = found.len() > count;
        found.truncate(count);
        Ok(HistoryPage {
            room: name.clone(),
            head,
            oldest,
            publications: found,
            more,
            gap,
        })
    }

    fn tell_members(&mut self, name: &RoomName, now: Moment, out: &mut Vec<(u8, Event)>) {
        let room = self.room(name);
        let Some(change) = room.presence.poll_change(name, &room.policy.presence, now) else {
            return;
        };
        let ports: Vec<u8> = room.ports.iter().copied().collect();
        if self.planted.strikes(Mutation::ForgetMembers) {
            return;
        }
        out.extend(
            ports
                .into_iter()
                .map(|port| (port, Event::Members(change.clone()))),
        );
    }
}

fn unavailable() -> Reject {
    Reject::retry(RejectCode::Unavailable, 200, "refused by the simulation")
}

//! All rooms as a state machine: requests, `now` and a store in; events out, by group.
//!
//! ```text
//!   handle(request) ...  ─► staged in the store, events kept back in the group
//!   after commit         ─► events of rooms that need no sync
//!   after sync           ─► the others, then what was only read
//!   or after a failure   ─► `fail`: a reject to every request of the group, nothing spread
//! ```

mod sweep;

use std::collections::BTreeSet;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use slab::Slab;
use tidegate_core::{
    Moment, Policies, Policy,
    policy::Durability,
    request::{Attachment, Event, HistoryQuery, NewPublication, Request, StatePage, StateQuery, Ticket},
};
use tidegate_wire::{
    Offset, Position, Reject, RejectCode, RoomName,
    frame::{GapReason, HistoryPage, Published},
};

use crate::{
    retention::Due,
    room::{Load, Loaded, Ports, Room, message_key},
    state::{Keyed, Lost},
    store::{Range, Store, StoreError},
};

/// When a client may try again after a failure of the store.
const RETRY_MS: u32 = 1_000;

/// What a group of requests came to.
#[derive(Default)]
pub struct Group {
    /// May be told after the commit.
    pub events: Vec<(u8, Event)>,
    /// May be told after the sync.
    pub synced_events: Vec<(u8, Event)>,
    /// Publications ordered.
    pub publications: u64,
    /// Publishes that had been done before.
    pub duplicates: u64,
    /// Publishes refused.
    pub rejects: u64,
    reads: Vec<(u8, Ticket, RoomName, Read)>,
    /// What to answer if the group fails: whose answer is among `synced_events`, or still to be read,
    receipts: Vec<(u8, Receipt)>,
    /// and whose answer is among `events`.
    early_receipts: Vec<(u8, Receipt)>,
    needs_sync: bool,
}

#[derive(Clone)]
enum Receipt {
    Publish(Ticket),
    Attach(RoomName, u64),
    History(Ticket),
    State(Ticket),
}

/// What is read after the commit.
enum Read {
    History(HistoryQuery),
    State(StateQuery),
}

impl Group {
    /// Whether an fdatasync must come before `synced_events`.
    pub fn needs_sync(&self) -> bool {
        self.needs_sync
    }

    /// Takes `events`, to be told: a sync that fails later no longer rejects what they answer.
    pub fn take_events(&mut self) -> Vec<(u8, Event)> {
        self.early_receipts.clear();
        std::mem::take(&mut self.events)
    }
}

/// See the module.
pub struct Rooms {
    policies: Policies,
    rooms: Slab<Room>,
    by_name: HashMap<RoomName, usize, RandomState>,
    /// When a room's presence wants to be looked at.
    alarms: BTreeSet<(Moment, usize)>,
    /// Rooms that may be past their retention.
    to_trim: BTreeSet<usize>,
    /// Where `trim` goes on.
    trim_at: usize,
    sweep_at: usize,
    sweep_store_after: Vec<u8>,
    members: usize,
    load: Load,
    lost: Lost,
}

impl Rooms {
    /// No rooms.
    pub fn new(policies: Policies) -> Self {
        Self {
            policies,
            rooms: Slab::new(),
            by_name: HashMap::default(),
            alarms: BTreeSet::new(),
            to_trim: BTreeSet::new(),
            trim_at: 0,
            sweep_at: 0,
            sweep_store_after: Vec::new(),
            members: 0,
            load: Load::default(),
            lost: Lost::default(),
        }
    }

    /// Handles one request. An error is the store's: the whole group fails with it.
    pub fn handle(
        &mut self,
        port: u8,
        request: Request,
        now: Moment,
        now_us: u64,
        store: &mut Store,
        group: &mut Group,
    ) -> Result<(), StoreError> {
        let (receipts, events) = (group.receipts.len(), group.events.len());
        match self.try_handle(port, request, now, now_us, store, group) {
            Ok(()) => {}
            // One room's trouble is its own: the store goes on.
            Err(error @ (StoreError::Damaged { .. } | StoreError::Read(_))) => {
                let (port, receipt) = group.receipts.last().expect("what reads has a receipt");
                group.events.push((*port, rejected(receipt.clone(), &error)));
            }
            Err(other) => return Err(other),
        }
        if group.receipts.len() > receipts && group.events.len() > events {
            group.early_receipts.extend(group.receipts.pop());
        }
        Ok(())
    }

    fn try_handle(
        &mut self,
        port: u8,
        request: Request,
        now: Moment,
        now_us: u64,
        store: &mut Store,
        group: &mut Group,
    ) -> Result<(), StoreError> {
        match request {
            Request::Publish { ticket, publish } => {
                group.receipts.push((port, Receipt::Publish(ticket)));
                self.on_publish(port, ticket, *publish, now, now_us, store, group)
            }
            Request::Attach { room, nonce } => {
                group.receipts.push((port, Receipt::Attach(room.clone(), nonce)));
                self.on_attach(port, room, nonce, now, store, group)
            }
            Request::Detach { room } => {
                if let Some(&index) = self.by_name.get(&room) {
                    self.rooms[index].ports.remove(port);
                }
                Ok(())
            }
            Request::History { ticket, room, query } => {
                group.receipts.push((port, Receipt::History(ticket)));
                group.reads.push((port, ticket, room, Read::History(query)));
                Ok(())
            }
            Request::State { ticket, room, query } => {
                group.receipts.push((port, Receipt::State(ticket)));
                group.reads.push((port, ticket, room, Read::State(query)));
                Ok(())
            }
            Request::Presence { ticket, room, limit } => {
                let result = match self.policies.of(&room) {
                    None => Err(unknown(&room)),
                    Some(policy) if !policy.presence.enabled => Err(disabled(policy, "presence")),
                    Some(policy) => Ok(self.by_name.get(&room).map_or_else(Default::default, |index| {
                        self.rooms[*index].presence.members(limit, &policy.presence)
                    })),
                };
                group.events.push((port, Event::Presence { ticket, result }));
                Ok(())
            }
            Request::Enter {
                room,
                session,
                user,
                info,
            } => {
                self.with_presence(&room, now, group, |room| {
                    room.presence.enter((port, session), &user, info);
                });
                Ok(())
            }
            Request::Exit {
                room,
                session,
                user,
                exit,
            } => {
                self.with_presence(&room, now, group, |room| {
                    room.presence
                        .exit((port, session), &user, exit, &room.policy.presence, now);
                });
                Ok(())
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one call site, all different types")]
    fn on_publish(
        &mut self,
        port: u8,
        ticket: Ticket,
        new: NewPublication,
        now: Moment,
        now_us: u64,
        store: &mut Store,
        group: &mut Group,
    ) -> Result<(), StoreError> {
        let name = new.room.clone();
        let Some(index) = self.room(&name, now) else {
            group.rejects += 1;
            let result = Err(unknown(&name));
            group.events.push((port, Event::Published { ticket, result }));
            return Ok(());
        };
        let room = &mut self.rooms[index];
        let policy = room.policy.clone();
        let loaded = load(room, store, &mut self.load)?;
        // Even a duplicate must wait for the sync: the first may be in this very group.
        let needs_sync = policy.durability == Durability::Sync;
        group.needs_sync |= needs_sync;
        let events = match needs_sync {
            true => &mut group.synced_events,
            false => &mut group.events,
        };
        let message = (!new.msg.is_empty()).then(|| message_key(&new.from, &new.msg));
        let known = message
            .as_ref()
            .and_then(|key| loaded.known(key, &policy, now_us));
        let epoch = loaded.header.head.epoch;
        if let Some(offset) = known {
            group.duplicates += 1;
            let result = Ok(Published {
                position: Position { epoch, offset },
                duplicate: true,
            });
            events.push((port, Event::Published { ticket, result }));
            return Ok(());
        }
        self.load -= loaded.load();
        let publication = loaded.append(&name, &policy, new, message, now_us, store);
        self.load += loaded.load();
        add_lost(&mut self.lost, loaded);
        group.publications += 1;
        if loaded.retention.due(&loaded.header, &policy.history, now_us) != Due::Nothing {
            self.to_trim.insert(index);
        }
        let position = Position {
            epoch,
            offset: publication.offset,
        };
        for attached in room.ports.iter() {
            let event = Event::Publication {
                room: name.clone(),
                publication: publication.clone(),
            };
            events.push((attached, event));
        }
        let result = Ok(Published {
            position,
            duplicate: false,
        });
        events.push((port, Event::Published { ticket, result }));
        Ok(())
    }

    fn on_attach(
        &mut self,
        port: u8,
        name: RoomName,
        nonce: u64,
        now: Moment,
        store: &mut Store,
        group: &mut Group,
    ) -> Result<(), StoreError> {
        let Some(index) = self.room(&name, now) else {
            let result = Err(unknown(&name));
            let event = Event::Attached {
                room: name,
                nonce,
                result,
            };
            group.events.push((port, event));
            return Ok(());
        };
        let room = &mut self.rooms[index];
        let policy = room.policy.clone();
        let loaded = load(room, store, &mut self.load)?;
        let attachment = Attachment {
            head: loaded.header.head,
            oldest: loaded.oldest(&policy),
            window: loaded.recent.iter().cloned().collect(),
            members: Default::default(),
        };
        let attachment = Attachment {
            members: room.presence.show(&policy.presence),
            ..attachment
        };
        room.ports.insert(port);
        let event = Event::Attached {
            room: name,
            nonce,
            result: Ok(attachment),
        };
        // In line with the room's publications, which it must precede.
        match room.policy.durability {
            Durability::Sync => group.synced_events.push((port, event)),
            Durability::Append => group.events.push((port, event)),
        }
        Ok(())
    }

    /// Finds or makes a room in memory; none if its namespace is not configured.
    fn room(&mut self, name: &RoomName, now: Moment) -> Option<usize> {
        if let Some(&index) = self.by_name.get(name) {
            self.rooms[index].used = now;
            return Some(index);
        }
        let room = Room {
            name: name.clone(),
            policy: self.policies.of(name)?.clone(),
            loaded: None,
            ports: Ports::default(),
            presence: Default::default(),
            alarm: None,
            used: now,
        };
        let index = self.rooms.insert(room);
        self.by_name.insert(name.clone(), index);
        Some(index)
    }

    fn with_presence(
        &mut self,
        name: &RoomName,
        now: Moment,
        group: &mut Group,
        change: impl FnOnce(&mut Room),
    ) {
        let Some(index) = self.room(name, now) else {
            return;
        };
        let room = &mut self.rooms[index];
        self.members -= room.presence.len();
        change(room);
        self.members += room.presence.len();
        self.tell_members(index, now, group);
    }

    /// Tells a room's difference if it is time, and sets the next alarm.
    fn tell_members(&mut self, index: usize, now: Moment, group: &mut Group) {
        let room = &mut self.rooms[index];
        let policy = room.policy.clone();
        if let Some(change) = room.presence.poll_change(&room.name, &policy.presence, now) {
            let events = match policy.durability {
                Durability::Sync => &mut group.synced_events,
                Durability::Append => &mut group.events,
            };
            for port in room.ports.iter() {
                events.push((port, Event::Members(change.clone())));
            }
        }
        let alarm = room.presence.deadline(&policy.presence);
        if alarm != room.alarm {
            if let Some(at) = room.alarm {
                self.alarms.remove(&(at, index));
            }
            if let Some(at) = alarm {
                self.alarms.insert((at, index));
            }
            room.alarm = alarm;
        }
    }

    /// When `handle_timeout` wants to be called.
    pub fn deadline(&self) -> Option<Moment> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// Leases that ran out, differences whose time has come.
    pub fn handle_timeout(&mut self, now: Moment, group: &mut Group) {
        while let Some((at, index)) = self.alarms.first().copied() {
            if at > now {
                break;
            }
            self.alarms.pop_first();
            let room = &mut self.rooms[index];
            room.alarm = None;
            self.members -= room.presence.len();
            room.presence.expire(now);
            self.members += room.presence.len();
            self.tell_members(index, now, group);
        }
    }

    /// The reads of a group, after its writes were committed.
    pub fn read(&mut self, now: Moment, now_us: u64, store: &mut Store, group: &mut Group) {
        for (port, ticket, name, read) in std::mem::take(&mut group.reads) {
            let event = match read {
                Read::History(query) => {
                    let result = self.history(&name, &query, now, store);
                    Event::History { ticket, result }
                }
                Read::State(query) => {
                    let result = self.state(&name, query, (now, now_us), store);
                    Event::State { ticket, result }
                }
            };
            group.synced_events.push((port, event));
        }
    }

    fn state(
        &mut self,
        name: &RoomName,
        query: StateQuery,
        (now, now_us): (Moment, u64),
        store: &mut Store,
    ) -> Result<StatePage, Reject> {
        let Some(index) = self.room(name, now) else {
            return Err(unknown(name));
        };
        let room = &mut self.rooms[index];
        let policy = room.policy.clone();
        let Some(state) = &policy.state else {
            return Err(disabled(&policy, "state"));
        };
        let loaded = load(room, store, &mut self.load).map_err(|error| failed(&error))?;
        let page = loaded.state.page(&loaded.header, state, query, now_us, store);
        page.map_err(|error| failed(&error))
    }

    fn history(
        &mut self,
        name: &RoomName,
        query: &HistoryQuery,
        now: Moment,
        store: &mut Store,
    ) -> Result<HistoryPage, Reject> {
        let Some(index) = self.room(name, now) else {
            return Err(unknown(name));
        };
        let room = &mut self.rooms[index];
        let policy = room.policy.clone();
        if !policy.keeps_history() {
            return Err(disabled(&policy, "history"));
        }
        let loaded = load(room, store, &mut self.load).map_err(|error| failed(&error))?;
        let (header, oldest) = (loaded.header, loaded.oldest(&policy));
        let (range, gap) = range_of(oldest, header.head, query);
        let publications = store.read(&header, range).map_err(|error| failed(&error))?;
        let last = publications.last().map(|p| p.offset);
        let more = last.is_some_and(|last| match query.reverse {
            true => last > range.from,
            false => last < range.to,
        });
        Ok(HistoryPage {
            room: name.clone(),
            head: header.head,
            oldest,
            publications,
            more,
            gap,
        })
    }

    /// The store failed: rejects for every request of the group; nothing of it is spread.
    /// Every room is read anew when it is needed again, and whoever is attached attaches anew.
    pub fn fail(&mut self, group: Group, error: &StoreError) -> Vec<(u8, Event)> {
        // Members are in memory alone: who asked for them is answered.
        let is_of_members = |(_, event): &(u8, Event)| matches!(event, Event::Presence { .. });
        let mut events: Vec<(u8, Event)> = group.events.into_iter().filter(is_of_members).collect();
        let receipts = group.early_receipts.into_iter().chain(group.receipts);
        events.extend(receipts.map(|(port, receipt)| (port, rejected(receipt, error))));
        for (_, room) in &mut self.rooms {
            if let Some(loaded) = room.loaded.take() {
                self.load -= loaded.load();
            }
            for port in std::mem::take(&mut room.ports).iter() {
                let name = room.name.clone();
                events.push((port, Event::Broken { room: name }));
            }
        }
        self.to_trim.clear();
        events
    }

    /// The answer while the store does not work.
    pub fn refuse(request: &Request, error: &StoreError) -> Option<Event> {
        let receipt = match request {
            Request::Publish { ticket, .. } => Receipt::Publish(*ticket),
            Request::Attach { room, nonce } => Receipt::Attach(room.clone(), *nonce),
            Request::History { ticket, .. } => Receipt::History(*ticket),
            Request::State { ticket, .. } => Receipt::State(*ticket),
            Request::Detach { .. }
            | Request::Presence { .. }
            | Request::Enter { .. }
            | Request::Exit { .. } => return None,
        };
        Some(rejected(receipt, error))
    }

    /// A port is gone, and all its connections with it.
    pub fn drop_port(&mut self, port: u8, now: Moment, group: &mut Group) {
        let indices: Vec<usize> = self.rooms.iter().map(|(index, _)| index).collect();
        for index in indices {
            let room = &mut self.rooms[index];
            room.ports.remove(port);
            if room.presence.len() > 0 {
                let policy = room.policy.clone();
                room.presence.drop_port(port, &policy.presence, now);
                self.tell_members(index, now, group);
            }
        }
    }

    /// Rooms in memory.
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Whether no room is in memory.
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// Members listed in all rooms.
    pub fn members(&self) -> usize {
        self.members
    }

    /// What rooms in memory take.
    pub fn load(&self) -> Load {
        self.load
    }

    /// Keys that went without a delete, since the start.
    pub fn lost(&self) -> Lost {
        self.lost
    }
}

fn add_lost(total: &mut Lost, loaded: &mut Loaded) {
    let lost = loaded.state.take_lost();
    total.evicted += lost.evicted;
    total.expired += lost.expired;
}

fn load<'a>(room: &'a mut Room, store: &mut Store, total: &mut Load) -> Result<&'a mut Loaded, StoreError> {
    if room.loaded.is_none() {
        let (header, remembered) = store.load(&room.name, &room.policy)?;
        let state = Keyed::load(&header, &room.policy, store)?;
        let loaded = Loaded::new(header, remembered, state);
        *total += loaded.load();
        room.loaded = Some(loaded);
    }
    Ok(room.loaded.as_mut().expect("loaded above"))
}

/// What a query reads, and why it cannot begin where it asks.
fn range_of(oldest: Offset, head: Position, query: &HistoryQuery) -> (Range, Option<GapReason>) {
    let Position { epoch, offset: head } = head;
    let mut gap = None;
    let since = query.since.and_then(|since| {
        let is_ours = since.epoch == epoch && since.offset <= head;
        if !is_ours {
            gap = Some(GapReason::Epoch);
        } else if !query.reverse && since.offset + 1 < oldest {
            gap = Some(GapReason::Trimmed);
            return None;
        }
        is_ours.then_some(since.offset)
    });
    let (from, to) = match (since, query.reverse) {
        (None, _) => (oldest, head),
        (Some(offset), false) => (offset + 1, head),
        (Some(offset), true) => (oldest, offset.saturating_sub(1)),
    };
    let range = Range {
        from,
        to,
        limit: query.limit.max(1) as usize,
        bytes_max: query.bytes_max,
        reverse: query.reverse,
    };
    (range, gap)
}

fn rejected(receipt: Receipt, error: &StoreError) -> Event {
    let detail = format!("{error}; nothing is acknowledged, repeat it with the same `msg`");
    let reject = Reject::retry(RejectCode::Unavailable, RETRY_MS, detail);
    match receipt {
        Receipt::Publish(ticket) => Event::Published {
            ticket,
            result: Err(reject),
        },
        Receipt::Attach(room, nonce) => Event::Attached {
            room,
            nonce,
            result: Err(reject),
        },
        Receipt::History(ticket) => Event::History {
            ticket,
            result: Err(reject),
        },
        Receipt::State(ticket) => Event::State {
            ticket,
            result: Err(reject),
        },
    }
}

fn failed(error: &StoreError) -> Reject {
    Reject::retry(RejectCode::Unavailable, RETRY_MS, error.to_string())
}

fn unknown(room: &RoomName) -> Reject {
    let detail = format!("no namespace {:?}", room.namespace());
    Reject::new(RejectCode::UnknownNamespace, detail)
}

fn disabled(policy: &Policy, what: &str) -> Reject {
    let detail = format!("namespace {:?} keeps no {what}", policy.namespace);
    Reject::new(RejectCode::Disabled, detail)
}

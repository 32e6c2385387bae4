//! The engine's thread: takes groups, commits and syncs them, tells the ports.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, SendTimeoutError, Sender};
use foldhash::fast::RandomState;
use std::hash::BuildHasher;
use tidegate_core::{
    Admission, Moment, Policies, Policy, WallClock,
    admission::{Exceeded, Quotas},
    request::{Event, Request, Ticket},
};
use tidegate_wire::Reject;
use tracing::{error, info, warn};

use crate::{
    Bell, Health, Waker,
    metrics::Shared,
    rooms::{Group, Rooms},
    store::{Store, StoreError},
};

/// Requests handled as one group at most: bounds what one commit holds.
const GROUP_MAX: usize = 4096;
/// How often some rooms are swept: often and few, for publishes wait meanwhile.
const SWEEP: Duration = Duration::from_millis(62);
/// How often a failed store is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long a full port is waited for before it is woken once more.
const FULL_PAUSE: Duration = Duration::from_millis(10);

/// The way to one port.
pub(crate) struct Outlet {
    events: Sender<Event>,
    wake: Waker,
    has_news: bool,
    /// Set by the port's end; nothing is sent there any more.
    is_gone: Arc<AtomicBool>,
}

impl Outlet {
    pub(crate) fn new(events: Sender<Event>, wake: Waker, is_gone: Arc<AtomicBool>) -> Self {
        Self {
            events,
            wake,
            has_news: false,
            is_gone,
        }
    }

    fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Relaxed)
    }

    /// Waits while the port is full: a port never waits for the engine, so it will take.
    fn send(&mut self, mut event: Event) {
        if self.is_gone() {
            return;
        }
        self.has_news = true;
        loop {
            match self.events.send_timeout(event, FULL_PAUSE) {
                Ok(()) => return,
                Err(SendTimeoutError::Timeout(again)) => {
                    (self.wake)();
                    event = again;
                }
                Err(SendTimeoutError::Disconnected(_)) => {
                    self.is_gone.store(true, Ordering::Relaxed);
                    return;
                }
            }
        }
    }
}

pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) wall: WallClock,
    pub(crate) started: Instant,
    pub(crate) incoming: Receiver<(u8, Request)>,
    pub(crate) is_stopped: Arc<AtomicBool>,
    pub(crate) bell: Arc<Bell>,
    pub(crate) outlets: Vec<Outlet>,
    pub(crate) shared: Arc<Shared>,
}

struct Runner {
    parts: Parts,
    quotas: Quotas,
    rooms: Rooms,
    failed: Option<StoreError>,
    gone: Vec<bool>,
    next_tick: Moment,
}

/// Runs until the engine is stopped.
pub(crate) fn run(parts: Parts, policies: Vec<Policy>, admission: &Admission) -> Result<(), StoreError> {
    let policies = Policies::new(policies);
    // Keys are users', addresses' and rooms' names: which collide must not be for clients to choose.
    let seed = RandomState::default().hash_one(0);
    let mut runner = Runner {
        quotas: Quotas::new(admission, &policies, seed, Moment(0)),
        rooms: Rooms::new(policies),
        failed: None,
        gone: vec![false; parts.outlets.len()],
        next_tick: Moment(0) + SWEEP,
        parts,
    };
    while runner.turn() {}
    runner.parts.store.close()
}

/// A rate is spent, here exactly: all that is published comes by.
fn spent(exceeded: Exceeded, ticket: Ticket) -> Reject {
    let chance = ticket.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    exceeded.reject(chance as f64 / (1u64 << 32) as f64)
}

impl Runner {
    fn now(&self) -> Moment {
        Moment(self.parts.started.elapsed().as_nanos() as u64)
    }

    /// Waits for something to do and does it; false when the engine is to end and nothing waits any more.
    fn turn(&mut self) -> bool {
        self.wait();
        let is_stopped = self.parts.is_stopped.load(Ordering::SeqCst);
        self.do_group();
        self.forget_gone_ports();
        let now = self.now();
        if now >= self.next_tick {
            self.next_tick = now + if self.failed.is_some() { RETRY } else { SWEEP };
            self.tick(now);
        }
        !(is_stopped && self.parts.incoming.is_empty())
    }

    /// Sleeps until a port rings, or it is time for something. The bell is armed before the last look.
    fn wait(&self) {
        if self.rooms.wants_trim() {
            return;
        }
        let parts = &self.parts;
        parts.bell.arm();
        if parts.incoming.is_empty() && !parts.is_stopped.load(Ordering::SeqCst) {
            let next = self.rooms.deadline().unwrap_or(self.next_tick);
            std::thread::park_timeout(next.min(self.next_tick).since(self.now()));
        }
        parts.bell.disarm();
    }

    fn do_group(&mut self) {
        let now = self.now();
        let now_us = self.parts.wall.at_us(now);
        let mut group = Group::default();
        self.rooms.handle_timeout(now, &mut group);
        let incoming = self.parts.incoming.clone();
        for (port, request) in incoming.try_iter().take(GROUP_MAX) {
            // Members need no store: they come and go while it fails.
            if let Some(error) = &self.failed
                && let Some(event) = Rooms::refuse(&request, error)
            {
                self.parts.outlets[port as usize].send(event);
                continue;
            }
            if let Request::Publish { ticket, publish } = &request
                && let Err(exceeded) = self
                    .quotas
                    .try_take(&publish.from, publish.source, &publish.room, now)
            {
                let event = Event::Published {
                    ticket: *ticket,
                    result: Err(spent(exceeded, *ticket)),
                };
                self.parts.outlets[port as usize].send(event);
                group.rejects += 1;
                continue;
            }
            let store = &mut self.parts.store;
            if let Err(error) = self.rooms.handle(port, request, now, now_us, store, &mut group) {
                // The rest of what waits is refused, this group with it.
                self.fail(std::mem::take(&mut group), error);
            }
        }
        if self.failed.is_none() {
            self.commit(group, now);
        } else {
            self.tell(group.events.into_iter().chain(group.synced_events));
        }
        self.parts.shared.set_exceeded(&self.quotas.refused_total);
        let shared = &self.parts.shared;
        shared.groups.fetch_add(1, Ordering::Relaxed);
        shared
            .waiting
            .store(self.parts.incoming.len() as u64, Ordering::Relaxed);
        shared.rooms.store(self.rooms.len() as u64, Ordering::Relaxed);
        shared
            .members
            .store(self.rooms.members() as u64, Ordering::Relaxed);
        let (load, lost) = (self.rooms.load(), self.rooms.lost());
        for (shown, value) in [
            (&shared.memory_bytes, load.memory_bytes as u64),
            (&shared.state_keys, load.state_keys as u64),
            (&shared.state_bytes, load.state_bytes),
            (&shared.state_evicted, lost.evicted),
            (&shared.state_expired, lost.expired),
        ] {
            shown.store(value, Ordering::Relaxed);
        }
        self.ring();
    }

    fn commit(&mut self, mut group: Group, now: Moment) {
        let shared = self.parts.shared.clone();
        shared
            .publications
            .fetch_add(group.publications, Ordering::Relaxed);
        shared.duplicates.fetch_add(group.duplicates, Ordering::Relaxed);
        shared.rejects.fetch_add(group.rejects, Ordering::Relaxed);

        let begun = Instant::now();
        if let Err(error) = self.parts.store.commit() {
            return self.fail(group, error);
        }
        let append = begun.elapsed();
        let events = group.take_events();
        self.tell(events);
        let mut sync = None;
        if group.needs_sync() {
            // Those who need not wait are told before, not after.
            self.ring();
            let begun = Instant::now();
            if let Err(error) = self.parts.store.sync() {
                return self.fail(group, error);
            }
            sync = Some(begun.elapsed());
        }
        if group.publications > 0 {
            shared.record_group(group.publications, append, sync);
        }
        let now_us = self.parts.wall.at_us(now);
        self.rooms.read(now, now_us, &mut self.parts.store, &mut group);
        self.tell(group.synced_events);
        if self.rooms.wants_trim()
            && let Err(error) = self.rooms.trim(now_us, &mut self.parts.store)
        {
            self.fail(Group::default(), error);
        }
    }

    fn fail(&mut self, group: Group, error: StoreError) {
        error!(%error, "the store failed; publishes are rejected until it works again");
        self.parts.shared.failures.fetch_add(1, Ordering::Relaxed);
        self.parts.shared.set_health(Health::Failing(error.to_string()));
        let events = self.rooms.fail(group, &error);
        self.tell(events);
        self.failed = Some(error);
    }

    fn tick(&mut self, now: Moment) {
        if let Some(error) = &self.failed {
            let suspect_sync = matches!(error, StoreError::Sync(_));
            match self.parts.store.reopen(suspect_sync) {
                Ok(()) => {
                    info!("the store works again");
                    self.failed = None;
                    self.parts.shared.set_health(Health::Ready);
                }
                Err(again) => {
                    warn!(error = %again, "the store still fails");
                    self.parts.shared.set_health(Health::Failing(again.to_string()));
                    // A failed sync stays suspect until the store was opened anew.
                    if !suspect_sync {
                        self.failed = Some(again);
                    }
                }
            }
            return;
        }
        let now_us = self.parts.wall.at_us(now);
        if let Err(error) = self.rooms.sweep(now, now_us, &mut self.parts.store) {
            self.fail(Group::default(), error);
        }
        if self.parts.store.is_dirty()
            && let Err(error) = self.parts.store.commit()
        {
            self.fail(Group::default(), error);
        }
    }

    fn tell(&mut self, events: impl IntoIterator<Item = (u8, Event)>) {
        let mut count = 0;
        for (port, event) in events {
            self.parts.outlets[port as usize].send(event);
            count += 1;
        }
        self.parts.shared.events.fetch_add(count, Ordering::Relaxed);
    }

    /// Wakes the ports that have news: once per group, not once per event.
    fn ring(&mut self) {
        for outlet in &mut self.parts.outlets {
            if std::mem::take(&mut outlet.has_news) && !outlet.is_gone() {
                (outlet.wake)();
            }
        }
    }

    fn forget_gone_ports(&mut self) {
        for port in 0..self.gone.len() {
            if self.parts.outlets[port].is_gone() && !self.gone[port] {
                self.gone[port] = true;
                let now = self.now();
                let mut group = Group::default();
                self.rooms.drop_port(port as u8, now, &mut group);
                match self.failed {
                    None => self.commit(group, now),
                    Some(_) => self.tell(group.events.into_iter().chain(group.synced_events)),
                }
                self.ring();
            }
        }
    }
}

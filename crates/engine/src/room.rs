//! One room: who is attached, what was recent, which message ids are remembered.

use std::{
    collections::VecDeque,
    ops::{AddAssign, SubAssign},
    rc::Rc,
};

use bytes::{BufMut, Bytes, BytesMut};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use tidegate_core::{Moment, Policy, request::NewPublication};
use tidegate_wire::{Offset, Publication, RoomName, Stamps};

use crate::{
    presence::Presence,
    retention::Retention,
    state::Keyed,
    store::{Header, Remembered, Store},
};

/// Publications after which a kept room's header is written again: the store finds the rest by itself.
const HEADER_LAG: u64 = 32;
/// Recent publications at hand for those who attach; more comes from the store.
const RECENT_MAX: usize = 64;

/// A set of ports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ports(u128);

impl Ports {
    /// Adds one.
    pub fn insert(&mut self, port: u8) {
        self.0 |= 1 << port;
    }

    /// Takes one out.
    pub fn remove(&mut self, port: u8) {
        self.0 &= !(1 << port);
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each, from the lowest.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let port = (left != 0).then(|| left.trailing_zeros() as u8)?;
            left &= left - 1;
            Some(port)
        })
    }
}

/// What is known of a room that was read from the store.
pub struct Loaded {
    /// Where it stands.
    pub header: Header,
    /// The newest publications, without a hole up to the head.
    pub recent: VecDeque<Publication>,
    recent_bytes: usize,
    /// The head when the header was last written.
    header_written: Offset,
    /// When what is kept has to go.
    pub retention: Retention,
    /// The newest of each key.
    pub state: Keyed,
    messages: HashMap<Bytes, (Offset, u64), RandomState>,
    order: VecDeque<(u64, Bytes)>,
}

/// See the module.
pub struct Room {
    /// Its name.
    pub name: RoomName,
    /// Its namespace's policy.
    pub policy: Rc<Policy>,
    /// None after a failure of the store, until it is needed again.
    pub loaded: Option<Loaded>,
    /// Who is attached.
    pub ports: Ports,
    /// Who is in it.
    pub presence: Presence,
    /// When its presence wants to be looked at.
    pub alarm: Option<Moment>,
    /// When something was last asked of it.
    pub used: Moment,
}

impl Loaded {
    /// What the store knows.
    pub fn new(header: Header, remembered: Vec<Remembered>, state: Keyed) -> Self {
        let mut loaded = Self {
            header,
            recent: VecDeque::new(),
            recent_bytes: 0,
            header_written: header.head.offset,
            retention: Retention::new(&header),
            state,
            messages: HashMap::default(),
            order: VecDeque::new(),
        };
        for message in remembered {
            loaded.keep_message(message);
        }
        loaded
    }

    fn keep_message(&mut self, message: Remembered) {
        self.order.push_back((message.at_us, message.key.clone()));
        self.messages.insert(message.key, (message.offset, message.at_us));
    }

    /// The offset a message id became, if it is remembered and not too old.
    pub fn known(&self, key: &Bytes, policy: &Policy, now_us: u64) -> Option<Offset> {
        let (offset, at_us) = *self.messages.get(key)?;
        let age_us = policy.dedup_age.as_micros() as u64;
        (at_us + age_us >= now_us).then_some(offset)
    }

    /// The oldest publication that readers are shown: what retention has not removed yet, but
    /// no more than the policy's count.
    pub fn oldest(&self, policy: &Policy) -> Offset {
        let next = self.header.head.offset + 1;
        self.header
            .oldest
            .max(next.saturating_sub(policy.history.count.into()))
    }

    /// Orders a publication and stages it.
    pub fn append(
        &mut self,
        room: &RoomName,
        policy: &Policy,
        new: NewPublication,
        message: Option<Bytes>,
        now_us: u64,
        store: &mut Store,
    ) -> Publication {
        let publication = Publication {
            offset: self.header.head.offset + 1,
            data: new.data,
            from: new.from,
            msg: new.msg,
            key: new.key,
            lane: new.lane,
            stamps: Stamps {
                sent_us: new.sent_us,
                received_us: new.received_us,
                ordered_us: now_us,
            },
        };
        let header = &mut self.header;
        let was_empty = header.count() == 0;
        header.head.offset = publication.offset;
        header.touched_us = now_us;
        let is_kept = policy.keeps_history();
        if is_kept {
            header.bytes += publication.weight() as u64;
            if was_empty {
                header.oldest_us = now_us;
            }
            self.retention.append(&publication, &policy.history);
        } else if was_empty {
            header.oldest = publication.offset + 1;
        }
        if is_kept {
            store.append(header, &publication);
        } else {
            store.write_header(room, header);
            if Keyed::takes(policy, &publication) {
                store.append_to_state(header, &publication);
            }
        }
        self.state.apply(header, policy, &publication, store);
        if is_kept && (was_empty || header.head.offset - self.header_written >= HEADER_LAG) {
            store.write_header(room, header);
            self.header_written = header.head.offset;
        }

        self.recent_bytes += publication.weight();
        self.recent.push_back(publication.clone());
        let count_max = RECENT_MAX.min(policy.window_count as usize);
        while self.recent.len() > count_max || self.recent_bytes > policy.window_bytes {
            let Some(gone) = self.recent.pop_front() else {
                break;
            };
            self.recent_bytes -= gone.weight();
        }
        if let Some(key) = message {
            let message = Remembered {
                key,
                offset: publication.offset,
                at_us: now_us,
            };
            store.remember(&self.header, &message);
            self.keep_message(message);
        }
        self.forget_old(policy, now_us, store);
        publication
    }

    /// Forgets message ids that are past the window, some at a time.
    pub fn forget_old(&mut self, policy: &Policy, now_us: u64, store: &mut Store) {
        let before_us = now_us.saturating_sub(policy.dedup_age.as_micros() as u64);
        for _ in 0..4 {
            let is_over = self.order.len() > policy.dedup_count as usize;
            let is_old = self.order.front().is_some_and(|(at_us, _)| *at_us < before_us);
            if !is_over && !is_old {
                break;
            }
            let (at_us, key) = self.order.pop_front().expect("it has a front, or too many");
            // It may have been used again since: then it is remembered from then.
            if self
                .messages
                .get(&key)
                .is_some_and(|(_, used_us)| *used_us == at_us)
            {
                self.messages.remove(&key);
                store.forget(&self.header, &key);
            }
        }
    }

    /// Whether no message id is remembered.
    pub fn remembers_nothing(&self) -> bool {
        self.order.is_empty()
    }

    /// What it takes.
    pub fn load(&self) -> Load {
        let state = self.state.held();
        let messages = self.order.len() * 96;
        Load {
            memory_bytes: self.recent_bytes + messages + self.retention.memory_bytes() + state.index_bytes(),
            state_keys: state.len(),
            state_bytes: state.weight(),
        }
    }
}

/// What rooms in memory take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Bytes in memory: recent publications, message ids, what retention knows, keys.
    pub memory_bytes: usize,
    /// Keys of their state.
    pub state_keys: usize,
    /// Bytes of the publications of these keys; the store has them.
    pub state_bytes: u64,
}

impl AddAssign for Load {
    fn add_assign(&mut self, other: Self) {
        self.memory_bytes += other.memory_bytes;
        self.state_keys += other.state_keys;
        self.state_bytes += other.state_bytes;
    }
}

impl SubAssign for Load {
    fn sub_assign(&mut self, other: Self) {
        self.memory_bytes -= other.memory_bytes;
        self.state_keys -= other.state_keys;
        self.state_bytes -= other.state_bytes;
    }
}

/// A message id of one user, as it is remembered. `ff` is in no UTF-8.
pub fn message_key(from: &[u8], msg: &[u8]) -> Bytes {
    let mut key = BytesMut::with_capacity(from.len() + 1 + msg.len());
    key.put_slice(from);
    key.put_u8(0xff);
    key.put_slice(msg);
    key.freeze()
}

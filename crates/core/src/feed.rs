//! A room's recent past and what is still to be fanned out: one sequence.
//!
//! Every entry is encoded at most once per kind of link, when the first subscriber
//! of that kind needs it. A subscriber holds the number of the next entry it needs,
//! so one visit gives it everything that came since the last visit, joined into one
//! piece of bytes that all subscribers who stood at the same place share.
//!
//! ```text
//!   first               walked            end
//!     │ the replay window │ still to fan out │
//!     ├───┬───┬───┬───┬───┼───┬───┬───┬──────┤
//! ```
//!
//! In the lanes `latest` and `lossy` a subscriber that is behind stays at its number, and later takes what
//! is still worth it: not what a newer publication of the same key has replaced, not what is past
//! its deadline. The newest publication of a key outlives the window (`aged`), so that whoever is behind, however
//! far, gets it.
//!
//! Bounds: entries below `walked` are trimmed by count and bytes; those above are
//! bounded by the shard, which stops taking events from the engine (`Shard::wants_events`).

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};
use tidegate_wire::{
    Epoch, Offset, Payload, Position, Publication, RoomName,
    frame::{GapReason, MembersChange, Push},
};

use crate::{
    encoder::{Encoder, LINKS},
    moment::Moment,
    outbox::{JOINED_BYTES_MAX, Lane},
    policy::Policy,
    shard::Link,
};

/// Joined pieces kept at a time. Past it frames go one by one, which copies nothing.
const JOINED_PIECES_MAX: usize = 64;

/// What decides which bytes a subscriber gets: its link, and whether it watches members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant(u8);

impl Variant {
    /// Makes one.
    pub fn new(link: Link, watches_members: bool) -> Self {
        Self((link.number() + if watches_members { LINKS } else { 0 }) as u8)
    }

    /// Whether it receives members pushes.
    pub fn watches_members(self) -> bool {
        usize::from(self.0) >= LINKS
    }

    fn link(self) -> Link {
        Link::from_number(usize::from(self.0) % LINKS)
    }
}

/// One thing that happened in a room.
#[derive(Debug, Clone)]
pub enum Item {
    /// Goes to every subscriber.
    Publication(Publication),
    /// Goes to those who watch members.
    Members(MembersChange),
    /// Goes to every subscriber.
    Gap(Push),
}

struct Entry {
    item: Item,
    weight: u32,
    /// A newer publication of its key has come, in the lane `latest`; or it is left out for everyone.
    is_replaced: bool,
    /// When it came here.
    at: Moment,
    frames: [Option<Bytes>; LINKS],
}

impl Entry {
    /// What it promises in a room of this lane.
    fn lane(&self, of_room: Lane) -> Lane {
        match &self.item {
            Item::Publication(publication) => publication.lane.map_or(of_room, |lane| lane.max(of_room)),
            Item::Members(_) | Item::Gap(_) => of_room,
        }
    }

    /// Whether it is still worth delivering.
    fn is_worth(&self, policy: &Policy, now: Moment) -> bool {
        match self.lane(policy.lane) {
            Lane::Latest => !self.is_replaced,
            Lane::Lossy => !self.is_replaced && now.since(self.at) <= policy.deadline,
            Lane::Control | Lane::Reliable => true,
        }
    }
}

struct Piece {
    variant: Variant,
    from: u64,
    to: u64,
    /// When something in it expires: then it is joined anew.
    until: Moment,
    batch: Batch,
}

/// How many publications a subscriber did not get, by the reason that is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Replaced by a newer one of their key.
    pub conflated: u64,
    /// Too old, or too many.
    pub dropped: u64,
}

impl LeftOut {
    /// It got everything.
    pub const NOTHING: Self = Self {
        conflated: 0,
        dropped: 0,
    };

    fn count(&mut self, lane: Lane, publications: u64) {
        match lane {
            Lane::Latest => self.conflated += publications,
            Lane::Lossy | Lane::Reliable | Lane::Control => self.dropped += publications,
        }
    }

    /// The frames that tell it, one for each reason there is.
    pub fn frames(self, room: &RoomName, position: Position, link: Link, encoder: &mut Encoder) -> Vec<u8> {
        let reasons = [
            (GapReason::Conflated, self.conflated),
            (GapReason::Dropped, self.dropped),
        ];
        let mut frames = Vec::new();
        for (reason, count) in reasons.into_iter().filter(|(_, count)| *count > 0) {
            let gap = Push::Gap {
                room: room.clone(),
                position,
                reason,
                count,
            };
            frames.extend_from_slice(&encoder.push(link, &gap));
        }
        frames
    }
}

/// Bytes for one subscriber, and how many publications are in them.
#[derive(Clone)]
pub struct Batch {
    /// One or more whole frames; may be empty.
    pub bytes: Bytes,
    /// Publications in them.
    pub publications: u32,
    /// What was left out, which a gap in them tells.
    pub left_out: LeftOut,
    /// The last offset they cover, if any.
    pub offset: Option<Offset>,
}

impl Batch {
    /// Nothing.
    pub const EMPTY: Self = Self {
        bytes: Bytes::new(),
        publications: 0,
        left_out: LeftOut::NOTHING,
        offset: None,
    };
}

/// Whose feed it is, for frames.
#[derive(Clone, Copy)]
pub struct Face<'a> {
    /// The room's name.
    pub room: &'a RoomName,
    /// Its epoch now.
    pub epoch: Epoch,
    /// Its namespace's policy.
    pub policy: &'a Policy,
}

/// How much a subscriber that is behind, or wants less, is given.
#[derive(Clone, Copy)]
pub struct Budget {
    /// About so many bytes.
    pub bytes: usize,
    /// So much waits for it that nothing is given that is fresh or not at all.
    pub spares: bool,
}

/// What a subscriber that is behind, or wants less, is given next.
#[derive(Default)]
pub struct Choice {
    /// Entries to deliver, in order.
    pub seqs: Vec<u64>,
    /// Where it stands then: the number of the next entry,
    pub next: u64,
    /// and the last offset it was given or told about.
    pub offset: Offset,
    /// What it would have got, had it not been behind.
    pub left_out: LeftOut,
    /// The offset behind which they are told to be missing.
    pub gap_offset: Offset,
}

/// See the module.
#[derive(Default)]
pub struct Feed {
    /// The newest publication of each key outlives the window: lane `latest`.
    keeps_newest: bool,
    entries: VecDeque<Entry>,
    first: u64,
    walked: u64,
    bytes: usize,
    /// Publications in it that promise less than their namespace: fresh or not at all.
    lossy: usize,
    pending_bytes: usize,
    complete_since: Offset,
    /// The last offset here, or told to be skipped.
    newest: Offset,
    /// The last gap, and its number: it is told even when its entry has left the window.
    last_gap: Option<Box<(u64, Push)>>,
    /// The last at which the epoch was another.
    last_epoch: Option<Box<(u64, Push)>>,
    /// Entries below this number are of a history that broke off: never replayed.
    replay_from: u64,
    pieces: Vec<Piece>,
    keyed: Option<Box<Keyed>>,
}

/// The newest publication of each key, where newer ones replace older ones.
#[derive(Default)]
struct Keyed {
    /// The entry of each key.
    by_key: HashMap<Bytes, u64, FixedState>,
    /// Of them, those that left the window.
    aged: BTreeMap<u64, Entry>,
    aged_bytes: usize,
}

impl Keyed {
    fn forget(&mut self, seq: u64) -> Option<Entry> {
        let entry = self.aged.remove(&seq)?;
        self.aged_bytes -= entry.weight as usize;
        Some(entry)
    }

    /// Keeps an entry that leaves the window.
    fn keep(&mut self, seq: u64, entry: Entry) {
        self.aged_bytes += entry.weight as usize;
        self.aged.insert(seq, entry);
    }

    /// Of more than `keys_max` entries that left the window the oldest goes.
    fn forget_oldest(&mut self, keys_max: usize) -> Option<(u64, Offset)> {
        if self.aged.len() <= keys_max {
            return None;
        }
        let oldest = *self.aged.first_key_value()?.0;
        let gone = self.forget(oldest)?;
        let Item::Publication(publication) = &gone.item else {
            return None;
        };
        self.by_key.remove(&publication.key);
        Some((oldest, publication.offset))
    }
}

impl Feed {
    /// An empty feed of a room in this lane.
    pub fn new(lane: Lane) -> Self {
        Self {
            keeps_newest: lane == Lane::Latest,
            ..Self::default()
        }
    }

    /// Adds an entry to be fanned out; returns its weight. Where the room `conflates`, it takes the place of an older one
    /// of its key.
    pub fn push(&mut self, item: Item, conflates: bool, now: Moment) -> usize {
        let weight = self.push_walked(item, conflates, now);
        self.pending_bytes += weight;
        weight
    }

    /// Adds a publication that is left out for everyone, whatever it says: enough of it to count it where it was wanted.
    /// For those who come back it is not here. Returns its weight.
    pub fn push_left_out(&mut self, publication: Publication, now: Moment) -> usize {
        let offset = publication.offset;
        let nothing = Publication {
            data: Payload::Bytes(Bytes::new()),
            from: Bytes::new(),
            msg: Bytes::new(),
            ..publication
        };
        let weight = self.push(Item::Publication(nothing), false, now);
        let entry = self.entries.back_mut().expect("it was just pushed");
        entry.is_replaced = true;
        self.break_at(offset);
        weight
    }

    /// Begins anew after an attach: `window` is known, nothing of it is to be fanned out.
    pub fn restart(&mut self, head: Offset, window: Vec<Publication>, conflates: bool, now: Moment) {
        debug_assert!(self.walked == self.end(), "restarted with subscribers waiting");
        self.first = self.end();
        self.entries.clear();
        self.pieces.clear();
        self.bytes = 0;
        self.lossy = 0;
        self.keyed = None;
        self.last_gap = None;
        self.last_epoch = None;
        self.newest = head;
        self.complete_since = window.first().map_or(head, |first| first.offset - 1);
        for publication in window {
            self.push_walked(Item::Publication(publication), conflates, now);
        }
        self.walked = self.end();
    }

    fn push_walked(&mut self, item: Item, conflates: bool, now: Moment) -> usize {
        if let Item::Publication(publication) = &item {
            // What is fresh or not at all is nothing to keep in place of what is kept.
            let is_aside = self.keeps_newest && publication.lane == Some(Lane::Lossy);
            if conflates && !is_aside {
                self.replace(publication.key.clone());
            }
            self.lossy += usize::from(publication.lane == Some(Lane::Lossy));
        }
        let weight = match &item {
            Item::Publication(publication) => {
                self.newest = publication.offset;
                publication.weight()
            }
            Item::Members(change) => 64 * (change.joined.len() + change.left.len()),
            Item::Gap(gap) => {
                let told = Some(Box::new((self.end(), gap.clone())));
                if let Push::Gap { position, reason, .. } = gap {
                    self.newest = position.offset;
                    if *reason == GapReason::Epoch {
                        self.last_epoch = told.clone();
                    }
                }
                self.last_gap = told;
                0
            }
        } + size_of::<Entry>();
        self.bytes += weight;
        self.entries.push_back(Entry {
            item,
            weight: weight as u32,
            is_replaced: false,
            at: now,
            frames: [const { None }; LINKS],
        });
        weight
    }

    /// The next entry is the newest of `key`.
    fn replace(&mut self, key: Bytes) {
        let next = self.end();
        let keyed = self.keyed.get_or_insert_default();
        if let Some(before) = keyed.by_key.insert(key, next)
            && keyed.forget(before).is_none()
            && let Some(place) = before.checked_sub(self.first)
            && let Some(entry) = self.entries.get_mut(place as usize)
        {
            entry.is_replaced = true;
        }
    }

    fn entry(&self, seq: u64) -> Option<&Entry> {
        match seq.checked_sub(self.first) {
            Some(place) => self.entries.get(place as usize),
            None => self.keyed.as_ref()?.aged.get(&seq),
        }
    }

    fn entry_mut(&mut self, seq: u64) -> Option<&mut Entry> {
        match seq.checked_sub(self.first) {
            Some(place) => self.entries.get_mut(place as usize),
            None => self.keyed.as_mut()?.aged.get_mut(&seq),
        }
    }

    /// Every entry from `from` on, those that outlived the window first.
    fn entries_from(&self, from: u64) -> impl DoubleEndedIterator<Item = (u64, &Entry)> {
        let aged = self.keyed.as_ref().map(|keyed| keyed.aged.range(from..));
        let aged = aged.into_iter().flatten().map(|(seq, entry)| (*seq, entry));
        let place = from.saturating_sub(self.first).min(self.entries.len() as u64);
        let first = self.first + place;
        let rest = self.entries.range(place as usize..).enumerate();
        aged.chain(rest.map(move |(n, entry)| (first + n as u64, entry)))
    }

    /// The number the next entry will get.
    pub fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Whether entries from `seq` on have left the window.
    pub fn has_trimmed(&self, seq: u64) -> bool {
        seq < self.first
    }

    /// Every publication with a greater offset, up to the head, is here.
    pub fn complete_since(&self) -> Offset {
        self.complete_since
    }

    /// Bytes of all entries.
    pub fn bytes(&self) -> usize {
        self.bytes + self.keyed.as_ref().map_or(0, |keyed| keyed.aged_bytes)
    }

    /// Bytes of entries that some subscriber has not got yet.
    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// What is here so far is of a history that broke off; a new one goes on after `offset`.
    pub fn break_at(&mut self, offset: Offset) {
        self.complete_since = offset;
        self.replay_from = self.end();
    }

    /// A walk begins: what was joined for the last one is of no more use.
    pub fn start_walk(&mut self) {
        self.pieces.clear();
    }

    /// Every subscriber has got everything below `seq`. Returns the bytes that are no longer pending.
    pub fn finish_walk(&mut self, seq: u64) -> usize {
        let range = (self.walked.max(self.first) - self.first) as usize..(seq - self.first) as usize;
        let done: usize = self.entries.range(range).map(|e| e.weight as usize).sum();
        self.walked = seq;
        self.pending_bytes -= done;
        if self.walked == self.end() {
            self.pieces = Vec::new();
        }
        done
    }

    /// Trims the replay window to `count` entries and `bytes`; what is pending stays, and so does the
    /// newest publication of each key, for `keys_max` keys. Returns the bytes freed.
    pub fn trim(&mut self, count: usize, bytes: usize, keys_max: usize) -> usize {
        let before = self.bytes();
        while (self.entries.len() > count || self.bytes > bytes) && self.first < self.walked {
            let entry = self.entries.pop_front().expect("first < walked <= end");
            let seq = self.first;
            self.first += 1;
            self.bytes -= entry.weight as usize;
            let is_lossy = entry.lane(Lane::Reliable) == Lane::Lossy;
            self.lossy -= usize::from(is_lossy);
            match (&mut self.keyed, &entry.item) {
                // Whoever needs it finds a newer one.
                (Some(_), _) if entry.is_replaced && self.keeps_newest => {}
                (Some(keyed), Item::Publication(_)) if self.keeps_newest && !is_lossy => {
                    keyed.keep(seq, entry);
                }
                (keyed, Item::Publication(publication)) => {
                    let is_newest =
                        |keyed: &&mut Box<Keyed>| keyed.by_key.get(&publication.key) == Some(&seq);
                    if let Some(keyed) = keyed.as_mut().filter(is_newest) {
                        keyed.by_key.remove(&publication.key);
                    }
                    let offset = publication.offset;
                    self.has_forgotten(seq, offset);
                }
                (_, Item::Members(_) | Item::Gap(_)) => {}
            }
        }
        while let Some((seq, offset)) = self
            .keyed
            .as_mut()
            .and_then(|keyed| keyed.forget_oldest(keys_max))
        {
            self.has_forgotten(seq, offset);
        }
        before - self.bytes()
    }

    /// Whether something in it promises less than its namespace does.
    pub fn has_lossy(&self) -> bool {
        self.lossy > 0
    }

    fn has_forgotten(&mut self, seq: u64, offset: Offset) {
        if seq >= self.replay_from {
            self.complete_since = self.complete_since.max(offset);
        }
    }

    /// Keys whose newest publication has left the window.
    pub fn aged(&self) -> usize {
        self.keyed.as_ref().map_or(0, |keyed| keyed.aged.len())
    }

    /// How many entries are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The publications after `offset` that are worth a replay, oldest first, with their entries' numbers.
    pub fn publications_after(&self, offset: Offset) -> impl DoubleEndedIterator<Item = (u64, &Publication)> {
        let from = self.replay_from;
        self.entries_from(from)
            .filter_map(move |(seq, entry)| match &entry.item {
                Item::Publication(publication) => {
                    let is_worth_it = !(entry.is_replaced && self.keeps_newest);
                    (publication.offset > offset && is_worth_it).then_some((seq, publication))
                }
                Item::Members(_) | Item::Gap(_) => None,
            })
    }

    /// Chooses what a subscriber is given that stands at `from`, has been told everything up to `offset`, and wants
    /// only `keys`: about `budget` bytes, at least one entry. In `lossy` the newest fit, elsewhere the oldest.
    pub fn choose(
        &self,
        (from, offset): (u64, Offset),
        keys: Option<&HashSet<Bytes, FixedState>>,
        policy: &Policy,
        Budget {
            bytes: budget,
            spares,
        }: Budget,
        now: Moment,
    ) -> Choice {
        if let Some(gap) = self.gap_after(from, policy.lane) {
            return self.choose_gap(from, gap);
        }
        let mut choice = Choice {
            next: self.end(),
            offset,
            ..Choice::default()
        };
        let gives_all = self.gives_all(from, policy.lane);
        let is_wanted = |publication: &Publication| keys.is_none_or(|keys| keys.contains(&publication.key));
        // Publications that were wanted and are still here, but not worth it any more.
        let mut stale = LeftOut::NOTHING;
        let mut bytes = 0;
        for (seq, entry) in self.entries_from(from) {
            if let Item::Publication(publication) = &entry.item {
                let is_wanted = is_wanted(publication);
                let lane = entry.lane(policy.lane);
                let is_spared = !entry.is_worth(policy, now) || (spares && lane == Lane::Lossy);
                if is_wanted && is_spared && !gives_all {
                    stale.count(lane, 1);
                } else if is_wanted {
                    bytes += entry.weight as usize;
                    if policy.lane != Lane::Lossy && bytes > budget && !choice.seqs.is_empty() {
                        choice.next = seq;
                        break;
                    }
                    choice.seqs.push(seq);
                }
                choice.offset = choice.offset.max(publication.offset);
            } else {
                if let Item::Gap(Push::Gap { position, .. }) = &entry.item {
                    // Offsets may begin anew there.
                    choice.offset = position.offset;
                }
                choice.seqs.push(seq);
            }
        }
        // Nothing of it may be left in the window.
        if choice.next == self.end() {
            choice.offset = self.newest;
        }
        if policy.lane == Lane::Lossy {
            stale.dropped += self.thin(&mut choice.seqs, bytes, budget);
        }
        let publication = |seq: &u64| match &self.entry(*seq)?.item {
            Item::Publication(publication) => Some(publication.offset),
            Item::Members(_) | Item::Gap(_) => None,
        };
        let given = choice.seqs.iter().filter_map(publication);
        choice.left_out = match keys {
            // Every offset was its own: what it did not get is what is missing.
            None if policy.lane != Lane::Reliable => {
                let counted = given.clone().count() as u64;
                let missing = choice.offset.saturating_sub(offset).saturating_sub(counted);
                let mut left_out = LeftOut::NOTHING;
                if policy.lane == Lane::Latest {
                    left_out.dropped = stale.dropped.min(missing);
                }
                left_out.count(policy.lane, missing - left_out.dropped);
                left_out
            }
            _ => stale,
        };
        choice.gap_offset = given.clone().next().map_or(choice.offset, |first| first - 1);
        choice
    }

    /// The gap that is to be told next to a subscriber that stands at `from`, in a lane in which something may be left
    /// out: what was before it is told by it. That is the last, unless the epoch was another in between.
    fn gap_after(&self, from: u64, lane: Lane) -> Option<u64> {
        let gaps = [&self.last_epoch, &self.last_gap].into_iter().flatten();
        let mut seqs = gaps.map(|gap| gap.0).filter(|seq| from <= *seq);
        seqs.next().filter(|_| lane != Lane::Reliable)
    }

    /// One of the gaps that are told even when they have left the window.
    fn told_gap(&self, seq: u64) -> Option<&Push> {
        let gaps = [&self.last_epoch, &self.last_gap].into_iter().flatten();
        gaps.map(|gap| &**gap).find(|gap| gap.0 == seq).map(|gap| &gap.1)
    }

    /// Where everything is promised and the history broke off, nothing is left out around the gap: that could not be
    /// told, for offsets may begin anew there.
    fn gives_all(&self, from: u64, lane: Lane) -> bool {
        let is_ahead = self.last_gap.as_ref().is_some_and(|gap| from <= gap.0);
        lane == Lane::Reliable && is_ahead
    }

    /// Members' changes up to the gap, and the gap. What follows is another round: offsets may begin anew.
    fn choose_gap(&self, from: u64, gap: u64) -> Choice {
        let before = self.entries_from(from).take_while(|(seq, _)| *seq < gap);
        let members = before.filter(|(_, entry)| matches!(entry.item, Item::Members(_)));
        let mut seqs: Vec<u64> = members.map(|(seq, _)| seq).collect();
        seqs.push(gap);
        let offset = match self.told_gap(gap) {
            Some(Push::Gap { position, .. }) => position.offset,
            _ => 0,
        };
        Choice {
            seqs,
            next: gap + 1,
            offset,
            ..Choice::default()
        }
    }

    /// Drops the oldest publications of `seqs` until they weigh no more than `budget`; one stays. Returns how many.
    fn thin(&self, seqs: &mut Vec<u64>, mut bytes: usize, budget: usize) -> u64 {
        let mut dropped = 0;
        let last = seqs.last().copied();
        seqs.retain(|seq| {
            let entry = self.entry(*seq).expect("it was just seen");
            let goes = bytes > budget && matches!(entry.item, Item::Publication(_)) && Some(*seq) != last;
            if goes {
                bytes -= entry.weight as usize;
                dropped += 1;
            }
            !goes
        });
        dropped
    }

    /// The frame of one entry; empty if this variant does not get it.
    pub fn frame(&mut self, seq: u64, variant: Variant, room: &RoomName, encoder: &mut Encoder) -> Batch {
        let Some(entry) = self.entry_mut(seq) else {
            return match self.told_gap(seq) {
                Some(gap) => Batch {
                    bytes: encoder.push(variant.link(), gap),
                    ..Batch::EMPTY
                },
                _ => Batch::EMPTY,
            };
        };
        let (publications, offset) = match &entry.item {
            Item::Publication(publication) => (1, Some(publication.offset)),
            // Offsets may begin anew there.
            Item::Gap(Push::Gap { position, .. }) => (0, Some(position.offset)),
            Item::Members(_) | Item::Gap(_) => (0, None),
        };
        if matches!(entry.item, Item::Members(_)) && !variant.watches_members() {
            return Batch::EMPTY;
        }
        let link = variant.link();
        let bytes = entry.frames[link.number()].get_or_insert_with(|| match &entry.item {
            Item::Publication(publication) => encoder.event(link, room, publication),
            Item::Members(change) => encoder.push(link, &Push::Members(change.clone())),
            Item::Gap(gap) => encoder.push(link, gap),
        });
        Batch {
            bytes: bytes.clone(),
            publications,
            left_out: LeftOut::NOTHING,
            offset,
        }
    }

    /// The next bytes for a subscriber that stands at `seq` and is not behind, and where it stands then.
    /// Several frames are joined once, for all who stand there; of what is not worth it any more a gap tells.
    pub fn batch(
        &mut self,
        seq: u64,
        variant: Variant,
        face: Face<'_>,
        encoder: &mut Encoder,
        now: Moment,
    ) -> (Batch, u64) {
        let Face { room, epoch, policy } = face;
        let is_full = self.pieces.len() == JOINED_PIECES_MAX && policy.lane == Lane::Reliable;
        let is_worth = || self.entry(seq).is_none_or(|entry| entry.is_worth(policy, now));
        if seq + 1 == self.end() && is_worth() {
            return (self.frame(seq, variant, room, encoder), seq + 1);
        }
        let known = self.pieces.iter().find(|p| p.from == seq && p.variant == variant);
        if let Some(piece) = known.filter(|piece| now <= piece.until) {
            return (piece.batch.clone(), piece.to);
        }
        if is_full && is_worth() {
            return (self.frame(seq, variant, room, encoder), seq + 1);
        }
        let gap_seq = self.gap_after(seq, policy.lane);
        let gives_all = self.gives_all(seq, policy.lane);
        let mut joined = Vec::new();
        let (mut to, mut publications) = (seq, 0);
        let mut left_out = LeftOut::NOTHING;
        let (mut gap_offset, mut given, mut offset) = (0, false, None);
        let mut until = Moment(u64::MAX);
        while to < self.end() {
            let entry = &self.entries[(to - self.first) as usize];
            if let Item::Publication(publication) = &entry.item {
                if gap_seq.is_some_and(|gap| to < gap) {
                    to += 1;
                    continue;
                }
                if !given {
                    gap_offset = publication.offset - 1;
                }
                if !gives_all && !entry.is_worth(policy, now) {
                    offset = Some(publication.offset);
                    left_out.count(entry.lane(policy.lane), 1);
                    to += 1;
                    continue;
                }
                given = true;
                if entry.lane(policy.lane) == Lane::Lossy {
                    until = until.min(entry.at + policy.deadline);
                }
            }
            let next = self.frame(to, variant, room, encoder);
            if !joined.is_empty() && joined.len() + next.bytes.len() > JOINED_BYTES_MAX {
                break;
            }
            joined.extend_from_slice(&next.bytes);
            publications += next.publications;
            offset = next.offset.or(offset);
            to += 1;
            if gap_seq.is_some_and(|gap| to > gap) {
                break;
            }
        }
        if left_out != LeftOut::NOTHING {
            let offset = if given { gap_offset } else { gap_offset + 1 };
            let position = Position { epoch, offset };
            let mut whole = left_out.frames(room, position, variant.link(), encoder);
            whole.append(&mut joined);
            joined = whole;
        }
        let batch = Batch {
            bytes: joined.into(),
            publications,
            left_out,
            offset,
        };
        self.pieces.retain(|piece| now <= piece.until);
        if self.pieces.len() < JOINED_PIECES_MAX {
            self.pieces.push(Piece {
                variant,
                from: seq,
                to,
                until,
                batch: batch.clone(),
            });
        }
        (batch, to)
    }
}

//! What goes wrong with the engine.

use std::{collections::VecDeque, time::Duration};

use tidegate_core::{
    Moment,
    request::{Event, Request},
};
use tidegate_wire::{Epoch, RoomName};

use super::{Engine, Story};
use crate::{mutation::Mutation, plan::Fate, presence::Presence};

impl Engine {
    /// Breaks one attachment.
    pub fn break_attachment(&mut self, name: &RoomName, port: u8) -> Option<(u8, Event)> {
        let room = self.rooms.get_mut(name)?;
        if !room.ports.remove(&port) {
            return None;
        }
        room.has_broken = true;
        if self.planted.strikes(Mutation::ForgetBroken) {
            return None;
        }
        Some((port, Event::Broken { room: name.clone() }))
    }

    /// Keeps only the newest publications of a room.
    pub fn trim(&mut self, name: &RoomName, keep: u64) {
        if let Some(room) = self.rooms.get_mut(name) {
            let story = room.stories.last_mut().expect("a room has a story");
            let next = story.log.len() as u64 + 1;
            story.oldest = story.oldest.max(next.saturating_sub(keep));
        }
    }

    /// Ends and begins again: requests on their way are refused or forgotten, attachments
    /// break. Members live on, as they do where the engine lives in the server.
    pub fn restart(&mut self, fate: Fate, now: Moment) -> Vec<(u8, Event)> {
        let mut out = Vec::new();
        self.faults.refuses_until = now + Duration::from_secs(3600);
        self.faults.keeps_while_refusing = false;
        for (_, port, request) in std::mem::take(&mut self.incoming) {
            let is_forgotten = matches!(request, Request::Publish { .. }) && self.chance.one_in(2);
            if !is_forgotten {
                self.handle(port, request, now, &mut out);
            }
        }
        self.faults.refuses_until = now + Duration::from_millis(self.chance.below(2_000));
        let broken: Vec<(RoomName, u8)> = self
            .rooms
            .iter()
            .flat_map(|(name, room)| room.ports.iter().map(|port| (name.clone(), *port)))
            .collect();
        for (name, port) in broken {
            out.extend(self.break_attachment(&name, port));
        }
        self.begin_anew(fate);
        out
    }

    /// The whole server ends, the engine with it: nothing on its way is left, and nobody is a member.
    pub fn restart_with_server(&mut self, fate: Fate) {
        self.incoming.clear();
        self.swapped = None;
        for room in self.rooms.values_mut() {
            room.ports.clear();
            room.presence = Presence::default();
        }
        self.begin_anew(fate);
    }

    /// One server of several ends: what it asked for is done, and it hears of nothing more.
    pub fn forget_port(&mut self, port: u8, now: Moment) -> Vec<(u8, Event)> {
        let (mut out, mut others) = (Vec::new(), VecDeque::new());
        for (at, from, request) in std::mem::take(&mut self.incoming) {
            match from == port {
                true => self.handle(port, request, now, &mut out),
                false => others.push_back((at, from, request)),
            }
        }
        self.incoming = others;
        for room in self.rooms.values_mut() {
            room.ports.remove(&port);
            let lease = now + room.policy.presence.lease;
            room.presence.lose(port, lease, now);
        }
        out.retain(|(to, _)| *to != port);
        out
    }

    fn begin_anew(&mut self, fate: Fate) {
        if fate == Fate::Kept {
            return;
        }
        let keeps_epoch = self.planted.is(Mutation::KeepEpoch);
        for room in self.rooms.values_mut() {
            let epoch = if keeps_epoch {
                room.story().epoch
            } else {
                Epoch(self.chance.number())
            };
            room.stories.push(Story::new(epoch));
        }
    }
}

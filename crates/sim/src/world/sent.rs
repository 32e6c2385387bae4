//! Sending away: one shard of several, whose clients go elsewhere, or all until they are replaced.
//! Nobody is closed before its slot where another takes it in, nobody comes back before, what was
//! asked before is answered, and in the end nobody is left.

use std::time::Duration;

use tidegate_core::drain::{ComeBack, Pacing};

use super::World;
use crate::{
    agenda::Happening,
    checks::{Violation, broken},
    driver::{FAREWELL, slots::GRAIN},
    network::Stamp,
    plan::Fate,
};

/// How long answers are waited for where the server is replaced,
const PATIENCE: Duration = Duration::from_secs(1);
/// when it is, unless turns were held up,
const REPLACED: Duration = Duration::from_secs(4);
/// and what a shard needs for its last turns.
const LAST_TURNS: Duration = Duration::from_secs(1);

impl World {
    pub(super) fn drain(&mut self, shard: usize, pacing: Pacing) {
        let now = self.now;
        if self.nodes[shard].drain(ComeBack::Elsewhere, pacing, now) {
            self.nodes[shard].plan_turn(now, &mut self.agenda);
            let longest = pacing.within + self.plan.limits.request_timeout + FAREWELL + LAST_TURNS;
            self.agenda
                .plan(now + longest, Happening::Gone(shard, self.servers[shard]));
        }
    }

    pub(super) fn replace(&mut self, pacing: Pacing) {
        let now = self.now;
        if self.nodes.iter().any(|node| node.shard.is_draining()) {
            return;
        }
        let come_back = ComeBack::Here {
            first_slot: REPLACED,
            patience: PATIENCE,
        };
        for node in &mut self.nodes {
            node.drain(come_back, pacing, now);
            node.plan_turn(now, &mut self.agenda);
        }
        self.agenda
            .plan(now + REPLACED, Happening::Gone(0, self.servers[0]));
    }

    /// The shards that let someone in, or all.
    pub(super) fn open_shards(&self) -> Vec<usize> {
        let all = 0..self.nodes.len();
        let open: Vec<usize> = all
            .clone()
            .filter(|shard| !self.nodes[*shard].shard.is_draining())
            .collect();
        if open.is_empty() { all.collect() } else { open }
    }

    /// Everyone must be gone; then the next process takes the place.
    pub(super) fn on_gone(&mut self, shard: usize, server: u32) -> Result<(), Violation> {
        if self.servers[shard] != server {
            return Ok(());
        }
        let is_replaced = self.nodes[shard].is_replaced();
        let shards = match is_replaced {
            true => 0..self.nodes.len(),
            false => shard..shard + 1,
        };
        // A shard whose turns were held up has the time that it would have had.
        let held = self.nodes[shards.clone()].iter().map(|node| node.held_until);
        let by = held.max().unwrap_or_default() + self.plan.limits.request_timeout + FAREWELL + LAST_TURNS;
        if self.now < by {
            self.agenda.plan(by, Happening::Gone(shard, server));
            return Ok(());
        }
        for node in &self.nodes[shards] {
            node.check_drained()?;
        }
        if is_replaced {
            self.restart_server(Fate::Kept);
        } else {
            self.restart_node(shard);
            let events = self.engine.forget_port(shard as u8, self.now);
            self.spread(events);
        }
        Ok(())
    }

    /// A client was told its slot, or closed because it was sent away.
    pub(super) fn check_sent_away(
        &mut self,
        client: usize,
        link: usize,
        stamp: Option<Stamp>,
    ) -> Result<(), Violation> {
        let told = self.clients[client].told.take();
        let parted = self.clients[client].parted.take();
        let of = &mut self.network.links[link];
        if let (Some(in_ms), Some(stamp)) = (told, stamp) {
            let slot = stamp.at + Duration::from_millis(in_ms);
            of.slot = Some(slot);
            self.slots[client] = Some(slot);
            // One that has passed is told as now.
            if in_ms > 0 {
                self.nodes[of.shard].check_slot(slot, stamp.at)?;
            }
        }
        let (Some(unanswered), Some(parting)) = (parted, of.parting) else {
            return Ok(());
        };
        let answered_by = match (parting.here_by, of.slot) {
            (None, Some(slot)) if parting.at + GRAIN < slot => {
                let detail = format!(
                    "client {client} was closed at {:?}, its slot is {slot:?}",
                    parting.at
                );
                return broken("slot", detail);
            }
            (None, slot) => slot.map(|slot| slot + self.plan.limits.request_timeout),
            (here_by, _) => here_by,
        };
        match (unanswered, answered_by) {
            (Some(command), Some(by)) if parting.at < by => broken(
                "answer",
                format!(
                    "client {client} was closed at {:?} and not answered: {command:?}",
                    parting.at
                ),
            ),
            _ => Ok(()),
        }
    }

    /// A client comes back.
    pub(super) fn check_slot_is_kept(&mut self, client: usize) {
        if let Some(slot) = self.slots[client].take().filter(|slot| self.now < *slot) {
            let detail = format!(
                "client {client} came back at {:?}, its slot is {slot:?}",
                self.now
            );
            self.early = broken::<()>("slot", detail).err();
        }
    }
}

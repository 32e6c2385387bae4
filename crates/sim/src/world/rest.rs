//! The world at rest: everyone is back, nothing waits, every ledger balances.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::World;
use crate::{
    checks::{Violation, broken, check_messages},
    client::State,
};

impl World {
    pub(super) fn check_at_rest(&mut self) -> Result<(), Violation> {
        for node in 0..self.nodes.len() {
            self.collect_counters(node);
            self.nodes[node].check_at_rest()?;
        }
        for (name, room) in &self.engine.rooms {
            check_messages(name, room)?;
        }
        let mut entered = BTreeMap::<_, BTreeSet<Bytes>>::new();
        for (id, client) in self.clients.iter().enumerate() {
            self.stats.acknowledged += client.acknowledged;
            self.stats.given_up += client.calls.given_up;
            match client.state {
                State::Idle | State::Closed => continue,
                State::Connected => {}
                State::Connecting | State::Waiting => {
                    return broken("liveness", format!("client {id} is {:?}", client.state));
                }
            }
            client.asked.check_at_rest(self.now)?;
            if !client.calls.is_empty() {
                return broken(
                    "liveness",
                    format!("{} calls of client {id} wait", client.calls.len()),
                );
            }
            for (name, state) in &client.rooms {
                let Some(room) = self.engine.rooms.get(name).filter(|_| state.is_joined) else {
                    return broken("liveness", format!("client {id} is not in {name:?}"));
                };
                if let Err(Violation { check, detail }) = state.view.check_at_rest(room) {
                    return broken(check, format!("client {id} in {name:?}: {detail}"));
                }
                if state.options.enter {
                    let users = entered.entry(name.clone()).or_default();
                    users.insert(Bytes::from(client.user.clone()));
                }
            }
        }
        for (name, room) in &self.engine.rooms {
            let expected = entered.remove(name).unwrap_or_default();
            if room.presence.users() != expected {
                let detail = format!(
                    "{name:?}: {expected:?} entered, {:?} listed",
                    room.presence.users()
                );
                return broken("presence", detail);
            }
        }
        Ok(())
    }

    /// Everyone went: nothing is left of them.
    pub(super) fn check_gone(&mut self) -> Result<(), Violation> {
        for node in &self.nodes {
            node.check_gone()?;
        }
        let listed = self
            .engine
            .rooms
            .iter()
            .find(|(_, room)| !room.presence.users().is_empty());
        match listed {
            Some((name, room)) => broken("presence", format!("{:?} in {name:?}", room.presence.users())),
            None => Ok(()),
        }
    }
}

//! The room of most stories of overload, `px:a`: what is done in it, and what a client was given there.

use tidegate_core::{Lane, Limits, Policy};
use tidegate_wire::{
    Epoch, Position,
    frame::{GapReason, Ok as Reply, Push},
};

use super::{ClientId, World, keyed_command};

/// Its namespace, in a lane.
pub fn policy(lane: Lane) -> Policy {
    Policy {
        lane,
        ..Policy::with_defaults("px")
    }
}

pub fn world_of(policy: Policy) -> World {
    World::with(Limits::default(), policy)
}

/// Publishes, and is acknowledged.
pub fn publish(world: &mut World, client: ClientId, key: &str, text: &str) {
    world.send(client, keyed_command("px:a", key, text));
    world.turn();
    assert!(matches!(world.reply(client), Ok(Reply::Published(_))));
}

/// What came since the last look.
pub fn texts(world: &mut World, client: ClientId) -> Vec<String> {
    let received = world.received(client, "px:a").into_iter();
    received.map(|(_, text)| text).collect()
}

/// The gaps told since the last look: reason, position, count.
pub fn gaps(world: &mut World, client: ClientId) -> Vec<(GapReason, Position, u64)> {
    let told = world.pushes(client).into_iter().filter_map(|push| match push {
        Push::Gap {
            reason,
            position,
            count,
            ..
        } => Some((reason, position, count)),
        _ => None,
    });
    told.collect()
}

pub fn position(epoch: u64, offset: u64) -> Position {
    Position {
        epoch: Epoch(epoch),
        offset,
    }
}

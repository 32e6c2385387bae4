//! Memory that becomes short, and is there again: what a shard is told of it, and what may and must
//! give way then. `docs/overload.md` says which class goes from which mark on, and when it comes back.

use std::time::Duration;

use tidegate_core::{
    ConnId, Moment,
    admission::{Class, Pressure},
};
use tidegate_wire::{Codec, Command};

use super::Node;
use crate::{
    checks::{Violation, broken},
    mutation::Mutation,
};

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// From which share on each of [`Class::SHEDDABLE`] gives way, in percent.
const MARKS: [u8; 4] = [70, 80, 90, 97];
/// So far below its mark a class may come back,
const SLACK: u8 = 10;
/// the last that went first, each after half a second, as it is seen by looking.
const BACK: Duration = Duration::from_millis(1_000);
/// What is used while nothing presses.
const CALM: u8 = 30;

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pressed {
    percent: u8,
    until: Moment,
    look_at: Option<Moment>,
    /// What the shard was last told, truthfully.
    told: u8,
    /// Until when each class had its reason to be refused; none before it had one.
    reasons: [Option<Moment>; 4],
}

impl Pressed {
    /// The next process begins where this one ended.
    pub fn inherited(self, now: Moment) -> Self {
        Self {
            told: 0,
            look_at: (now < self.until).then_some(now),
            ..self
        }
    }

    /// When it wants to be looked at.
    pub fn look_at(&self) -> Option<Moment> {
        self.look_at
    }
}

impl Node {
    /// So much of the memory is used from now on.
    pub fn press(&mut self, percent: u8, until: Moment, now: Moment) {
        let pressed = &mut self.pressed;
        (pressed.percent, pressed.until) = (percent, until);
        pressed.look_at.get_or_insert(now);
        for (reason, mark) in pressed.reasons.iter_mut().zip(MARKS) {
            // Once refused it stays refused until there is some slack.
            if percent >= mark || (reason.is_some() && percent + SLACK >= mark) {
                *reason = Some(until.max(reason.unwrap_or_default()));
            }
        }
    }

    /// Nothing presses any more.
    pub fn relieve(&mut self, now: Moment) {
        self.pressed.until = self.pressed.until.min(now);
        for reason in self.pressed.reasons.iter_mut().flatten() {
            *reason = now.min(*reason);
        }
    }

    /// Tells the shard how things stand, when it is time to.
    pub(super) fn look_at_pressure(&mut self, now: Moment) {
        if self.pressed.look_at.is_none_or(|at| now < at) {
            return;
        }
        let is_over = now >= self.pressed.until;
        let percent = if is_over { CALM } else { self.pressed.percent };
        if is_over && self.planted.is(Mutation::ForgetRelief) {
            self.pressed.look_at = None;
            return;
        }
        self.pressed.told = percent;
        let told = match self.planted.is(Mutation::OverstatePressure) {
            true => (percent + 10).min(100),
            false => percent,
        };
        let pressure = Pressure::new(f64::from(told) / 100.0);
        self.shard.handle_pressure(pressure, now);
        // Now everyone is told what was left out.
        for room in std::mem::take(&mut self.untold) {
            if let Some(head) = self.heads.get_mut(&room) {
                head.at = now;
            }
        }
        self.pressed.look_at = (!is_over || self.shard.is_shedding()).then(|| now + LOOK);
    }

    fn must_shed(&self, class: usize) -> bool {
        self.pressed.told >= MARKS[class]
    }

    /// What gives way is what has to, and nothing that need not.
    pub(super) fn check_shed(&self, now: Moment) -> Result<(), Violation> {
        for (class, is_shed) in self.shard.gate_counters().is_shedding.into_iter().enumerate() {
            let back = BACK * (4 - class as u32) + BACK;
            let may =
                self.pressed.reasons[class].is_some_and(|until| now <= until.max(self.held_until) + back);
            let name = Class::SHEDDABLE[class].name();
            if is_shed == 1 && !may {
                return broken("shed", format!("{name} is refused: {:?}", self.pressed));
            }
            if is_shed == 0 && self.must_shed(class) {
                return broken("shed", format!("{name} is let in: {:?}", self.pressed));
            }
        }
        Ok(())
    }

    /// Gives the shard a message. What has to give way makes nothing wait.
    pub(super) fn give_message(&mut self, conn: ConnId, codec: Codec, message: &[u8], now: Moment) {
        if !self.must_shed(Class::Replay as usize) {
            return self.shard.handle_message(conn, message, now);
        }
        let mut gives_way = false;
        let decoded = codec.decode(message, &mut |request| {
            gives_way |= match request.map(|request| request.command) {
                Ok(Command::Publish(_)) => self.must_shed(Class::Publish as usize),
                Ok(Command::History(_)) => true,
                Ok(_) | Err(_) => false,
            };
        });
        let waiting = |node: &Self| {
            let limits = node.shard.gate_counters().limits;
            let lines: u64 = limits.iter().map(|limit| limit.waiting).sum();
            node.shard.waiting().tickets as u64 + lines
        };
        let before = waiting(self);
        self.shard.handle_message(conn, message, now);
        if gives_way && decoded.is_ok() && waiting(self) > before {
            let detail = format!("a command was let in that gives way: {:?}", self.pressed);
            self.found = broken::<()>("shed", detail).err();
        }
    }
}

//! More than can be done: in every other run not everyone is let in. Limits are low and move by one
//! of the rules, buckets are small, memory comes and goes, the engine is slow while many publish.
//!
//! All of it is drawn from a source of its own: the rest of a seed's plan is what it is without.

use std::time::Duration;

use tidegate_core::{
    Admission, Moment,
    admission::{Adaptive, Rate, Rates, Rule},
};

use crate::{
    chance::Chance,
    plan::{Action, Keys, Plan, Side},
};

/// One in so many runs is strained.
const ONE_IN: u64 = 2;

/// Draws what admission is set to, and what strains it.
pub fn strain(plan: &mut Plan) {
    let mut chance = Chance::of(plan.seed, "strain", 0);
    if !chance.one_in(ONE_IN) {
        return;
    }
    let chance = &mut chance;
    let is_crowd = plan.clients > 200;
    plan.is_strained = true;
    plan.admission = Admission {
        publishes: adaptive(is_crowd, chance),
        replays: adaptive(is_crowd, chance),
        stall_max: Duration::from_millis(chance.pick(&[2, 20, 80])),
        rates: match is_crowd {
            true => Rates::default(),
            false => rates(chance),
        },
        keys_max: chance.pick(&[2, 8, 65_536]),
        ..Admission::default()
    };
    for policy in plan.policies.iter_mut().filter(|_| !is_crowd) {
        policy.publish_rate = rate(4, chance);
        policy.room_publish_rate = rate(4, chance);
    }
    let kinds: Vec<Strain> = Strain::ALL.into_iter().filter(|_| chance.one_in(2)).collect();
    for _ in 0..chance.range(4, 24) {
        let Some(kind) = kinds.get(chance.below(kinds.len() as u64) as usize) else {
            return;
        };
        let at = Moment(chance.range(1_000_000_000, plan.ends.0));
        kind.plan(at, plan, chance);
    }
    plan.actions.sort_by_key(|(at, _)| *at);
}

fn adaptive(is_crowd: bool, chance: &mut Chance) -> Adaptive {
    let floor = chance.pick(&[1, 2, 4, 16]);
    let ceiling = chance.pick(&[floor, 8, 32, 10_000]).max(floor);
    Adaptive {
        rule: chance.pick(&[Rule::Gradient2, Rule::Vegas, Rule::Aimd, Rule::Off]),
        floor: if is_crowd { floor * 16 } else { floor },
        ceiling: if is_crowd { ceiling.max(256) } else { ceiling },
    }
}

/// A rate that what is tried again fits into, once nothing else is asked.
fn rate(one_in: u64, chance: &mut Chance) -> Option<Rate> {
    let rate = Rate {
        per_second: chance.pick(&[20, 50, 200]),
        burst: chance.pick(&[4, 20]),
    };
    chance.one_in(one_in).then_some(rate)
}

fn rates(chance: &mut Chance) -> Rates {
    let commands = Rate {
        per_second: chance.pick(&[50, 200]),
        burst: chance.pick(&[10, 40]),
    };
    Rates {
        connection_commands: chance.one_in(4).then_some(commands),
        connection_publishes: rate(4, chance),
        user_publishes: rate(4, chance),
        address_publishes: rate(4, chance),
        server_publishes: rate(4, chance),
        address_handshakes: None,
    }
}

#[derive(Debug, Clone, Copy)]
enum Strain {
    Pressure,
    SlowEngine,
    StallEngine,
    Burst,
    /// Many read history of an engine that is slow, and some are gone before it answers.
    Reads,
}

impl Strain {
    const ALL: [Self; 5] = [
        Self::Pressure,
        Self::SlowEngine,
        Self::StallEngine,
        Self::Burst,
        Self::Reads,
    ];

    fn plan(self, at: Moment, plan: &mut Plan, chance: &mut Chance) {
        let ms = |from: u64, to: u64, chance: &mut Chance| Duration::from_millis(chance.range(from, to));
        if let Self::Reads = self {
            for n in 0..chance.range(2, 12) {
                let client = chance.below(plan.clients as u64) as usize;
                let room = chance.below(plan.rooms.len() as u64) as usize;
                let at = at + Duration::from_millis(10 + n);
                plan.actions.push((at, Action::ReadHistory { client, room }));
                if chance.one_in(3) {
                    let at = at + ms(10, 400, chance);
                    let side = Side::Both;
                    plan.actions.push((at, Action::Cut { client, side }));
                }
            }
        }
        let mut burst = |at: Moment, plan: &mut Plan| {
            let burst = Action::Burst {
                room: chance.below(plan.rooms.len() as u64) as usize,
                clients: chance.range(1, plan.clients.min(8) as u64) as usize,
                count: chance.pick(&[4, 16, 40]),
                bytes: chance.pick(&[20, 600]),
                keys: Keys {
                    first: 0,
                    step: 1,
                    count: plan.keys,
                },
            };
            plan.actions.push((at, burst));
        };
        let action = match self {
            Self::Burst => return burst(at, plan),
            Self::Reads => Action::SlowEngine {
                delay: ms(50, 800, chance),
                time: ms(500, 2_000, chance),
            },
            Self::SlowEngine => {
                burst(at + Duration::from_millis(10), plan);
                Action::SlowEngine {
                    delay: ms(50, 1_500, chance),
                    time: ms(500, 5_000, chance),
                }
            }
            Self::StallEngine => {
                burst(at + Duration::from_millis(10), plan);
                Action::StallEngine {
                    time: ms(10, 5_000, chance),
                }
            }
            Self::Pressure => Action::Pressure {
                percent: chance.pick(&[65, 72, 82, 92, 98, 100]),
                time: ms(200, 6_000, chance),
            },
        };
        plan.actions.push((at, action));
    }
}

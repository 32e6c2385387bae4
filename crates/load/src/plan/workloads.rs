//! The plan of each workload.

use std::rc::Rc;

use super::{
    Burst, ClassPlan, Kind, Lane, Plan, Reading, Role, Schedule, Seat, Stream, schedule::BURST_PHASES,
};

/// Members of a quiet room.
const QUIET_MEMBERS: usize = 5;
/// Publications a second in each quiet room.
const QUIET_RATE: f64 = 1.0;
/// Publishers of a saturated room: the server bounds what one connection has in flight.
const SATURATE_PUBLISHERS: usize = 64;

/// What `slow` asks for.
pub(crate) struct Slow<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) lane: Lane,
    pub(crate) subscribers: usize,
    pub(crate) stopped: usize,
    pub(crate) trickling: usize,
    pub(crate) bytes_per_second: f64,
    pub(crate) rate: f64,
    pub(crate) keys: u32,
}

/// What `mixed` asks for; rates are of each room.
pub(crate) struct Mixed {
    pub(crate) rooms: usize,
    pub(crate) members: usize,
    pub(crate) chat: f64,
    pub(crate) cursors: f64,
    pub(crate) ticks: f64,
    pub(crate) keys: u32,
    pub(crate) churn: f64,
}

/// What `mixed --bid` asks for.
pub(crate) struct Bid {
    pub(crate) subscribers: usize,
    pub(crate) bids: f64,
    pub(crate) cursors: f64,
    pub(crate) bytes_per_second: Option<f64>,
}

impl Plan {
    /// One large room beside quiet ones.
    pub(crate) fn viral(workload: &'static str, subscribers: usize, rate: f64, quiet: usize) -> Self {
        let room: Rc<str> = "load:hot".into();
        let mut plan = Self {
            workload,
            classes: vec![class(workload, Lane::Reliable, 0, subscribers)],
            phases: vec![""],
            subscribers: vec![(member(&room, 0), subscribers)],
            publishers: vec![Role::default(); 2],
            streams: vec![stream(workload, vec![room], 1..2, rate)],
            ..Self::default()
        };
        if quiet > 0 {
            let rooms = names("load:quiet", quiet);
            let members = rooms.iter().map(|room| (member(room, 1), QUIET_MEMBERS));
            plan.subscribers.extend(members);
            plan.classes
                .push(class("quiet", Lane::Reliable, 1, QUIET_MEMBERS));
            let rate = QUIET_RATE * quiet as f64;
            plan.streams.push(stream("quiet", rooms, 0..1, rate));
        }
        plan
    }

    /// As `viral`, but the large room is received in processes of its own.
    pub(crate) fn hot(subscribers: usize, rate: f64, quiet: usize) -> Self {
        Self {
            apart: 1,
            ..Self::viral("hot", subscribers, rate, quiet)
        }
    }

    /// One room in which some read slowly, or not at all.
    pub(crate) fn slow(ask: &Slow<'_>) -> Self {
        let room: Rc<str> = format!("{}:slow", ask.namespace).into();
        let slow = (ask.stopped + ask.trickling).min(ask.subscribers);
        let stopped = ask.stopped.min(slow);
        let mut plan = Self {
            workload: "slow",
            phases: vec![""],
            publishers: vec![Role::default()],
            streams: vec![Stream {
                kind: Kind::Publish { keys: ask.keys },
                ..stream("slow", vec![room.clone()], 0..1, ask.rate)
            }],
            ..Self::default()
        };
        let groups = [
            ("others", Reading::Always, ask.subscribers - slow),
            ("stopped", Reading::Stopped, stopped),
            (
                "trickling",
                Reading::Trickling(ask.bytes_per_second),
                slow - stopped,
            ),
        ];
        for (name, reading, count) in groups.into_iter().filter(|(_, _, count)| *count > 0) {
            let role = Role {
                reading,
                ..member(&room, plan.classes.len())
            };
            plan.subscribers.push((role, count));
            plan.classes.push(class(name, ask.lane, 0, count));
        }
        plan
    }

    /// A quiet rate with bursts on top.
    pub(crate) fn burst(namespace: &str, lane: Lane, subscribers: usize, rate: f64, burst: Burst) -> Self {
        let room: Rc<str> = format!("{namespace}:burst").into();
        let mut stream = Stream {
            kind: Kind::Publish { keys: 100 },
            ..stream("burst", vec![room.clone()], 0..SATURATE_PUBLISHERS, rate)
        };
        stream.schedule.burst = Some(burst);
        Self {
            workload: "burst",
            classes: vec![class("burst", lane, 0, subscribers)],
            phases: BURST_PHASES.to_vec(),
            subscribers: vec![(member(&room, 0), subscribers)],
            publishers: vec![Role::default(); SATURATE_PUBLISHERS],
            streams: vec![stream],
            ..Self::default()
        }
    }

    /// Many small rooms.
    pub(crate) fn rooms(rooms: usize, subscribers: usize, rate: f64) -> Self {
        let rooms = names("load:room", rooms);
        let members = subscribers.max(1);
        Self {
            workload: "rooms",
            classes: vec![class("rooms", Lane::Reliable, 0, members)],
            phases: vec![""],
            subscribers: rooms.iter().map(|room| (member(room, 0), members - 1)).collect(),
            // As in a chat: a member of the room writes.
            publishers: rooms.iter().map(|room| member(room, 0)).collect(),
            streams: vec![stream("rooms", rooms.clone(), 0..rooms.len(), rate)],
            ..Self::default()
        }
    }

    /// One room at one rate; several of them are tried.
    pub(crate) fn saturate(subscribers: usize, rate: f64) -> Self {
        let room: Rc<str> = "load:hot".into();
        Self {
            workload: "saturate",
            classes: vec![class("viral", Lane::Reliable, 0, subscribers)],
            phases: vec![""],
            subscribers: vec![(member(&room, 0), subscribers)],
            publishers: vec![Role::default(); SATURATE_PUBLISHERS],
            streams: vec![stream("viral", vec![room], 0..SATURATE_PUBLISHERS, rate)],
            ..Self::default()
        }
    }

    /// Publishers above what the server takes. The phases: unloaded, the search for the peak, the flood, and after it.
    pub(crate) fn flood(publishers: usize, rooms: usize, subscribers: usize, rate: f64) -> Self {
        let rooms = names("load:flood", rooms);
        Self {
            workload: "flood",
            classes: vec![class("flood", Lane::Reliable, 0, subscribers)],
            phases: vec!["unloaded", "search", "flood", "after"],
            slotted: Some(3),
            subscribers: rooms.iter().map(|room| (member(room, 0), subscribers)).collect(),
            publishers: vec![Role::default(); publishers],
            // What publishers hear must not wait in our own queue, or for our own core, behind what subscribers do.
            apart: rooms.len(),
            is_apart_patient: true,
            streams: vec![stream("flood", rooms, 0..publishers, rate)],
        }
    }

    /// Chat, cursors, ticks and presence over the same connections.
    pub(crate) fn mixed(ask: &Mixed) -> Self {
        let (members, rooms) = (ask.members.max(1), ask.rooms.max(1));
        let kinds = [
            ("chat", "load", Lane::Reliable, ask.chat),
            ("cursors", "lossy", Lane::Skipping, ask.cursors),
            ("ticks", "latest", Lane::Skipping, ask.ticks),
            ("presence", "load", Lane::Reliable, ask.churn),
        ];
        let mut plan = Self {
            workload: "mixed",
            phases: vec![""],
            ..Self::default()
        };
        let connections = rooms * members;
        for (number, (name, namespace, lane, rate)) in kinds.into_iter().enumerate() {
            let rooms = names(&format!("{namespace}:{name}"), rooms);
            plan.classes.push(class(name, lane, number, members));
            let mut stream = stream(name, rooms, 0..connections, rate * ask.rooms as f64);
            match name {
                "ticks" => stream.kind = Kind::Publish { keys: ask.keys },
                "presence" => stream.kind = Kind::Churn,
                _ => {}
            }
            plan.streams.push(stream);
        }
        // All publish: connection `n` is in room `n mod rooms`, so a publication goes to its sender's own.
        plan.publishers = (0..connections)
            .map(|n| Role {
                seats: plan
                    .streams
                    .iter()
                    .enumerate()
                    .map(|(class, stream)| Seat {
                        room: stream.rooms[n % rooms].clone(),
                        class,
                        enters: stream.kind == Kind::Churn,
                    })
                    .collect(),
                reading: Reading::Always,
            })
            .collect();
        let presence = plan.classes.last_mut().expect("four of them");
        (presence.stream, presence.members) = (None, Some(members as u64));
        plan
    }

    /// Bids beside a flood of cursors, sent over one connection and received over one. The phases: alone, beside.
    pub(crate) fn bid(ask: &Bid) -> Self {
        let (bids, cursors): (Rc<str>, Rc<str>) = ("load:bids".into(), "lossy:cursors".into());
        let seats = [(&bids, 0), (&cursors, 1)].map(|(room, class)| Seat {
            room: room.clone(),
            class,
            enters: false,
        });
        let reading = ask.bytes_per_second.map_or(Reading::Always, Reading::Trickling);
        Self {
            workload: "bid",
            classes: vec![
                class("bids", Lane::Reliable, 0, ask.subscribers),
                class("cursors", Lane::Skipping, 1, ask.subscribers),
            ],
            phases: vec!["alone", "beside"],
            subscribers: vec![(
                Role {
                    seats: seats.to_vec(),
                    reading,
                },
                ask.subscribers,
            )],
            publishers: vec![Role::default()],
            streams: vec![
                stream("bids", vec![bids], 0..1, ask.bids),
                stream("cursors", vec![cursors], 0..1, ask.cursors),
            ],
            ..Self::default()
        }
    }

    /// Connections that stay silent, spread over rooms: for `idle` and `storm`.
    pub(crate) fn silent(workload: &'static str, connections: usize, rooms: usize) -> Self {
        let rooms = names(&format!("load:{workload}"), rooms.max(1));
        let place = |n: usize| &rooms[n % rooms.len()];
        Self {
            workload,
            phases: vec![""],
            classes: vec![ClassPlan {
                stream: None,
                ..class("silent", Lane::Reliable, 0, 0)
            }],
            subscribers: (0..connections).map(|n| (member(place(n), 0), 1)).collect(),
            ..Self::default()
        }
    }

    /// As `silent`, and something is published in every room all the while. Rooms are of one size:
    /// connections that do not go round are left out. The phases: before, while they return, after.
    pub(crate) fn busy_storm(connections: usize, rooms: usize, rate: f64) -> Self {
        let rooms = names("load:storm", rooms.clamp(1, connections.max(1)));
        let members = connections / rooms.len();
        Self {
            workload: "storm",
            phases: vec!["before", "storm", "after"],
            classes: vec![class("storm", Lane::Reliable, 0, members)],
            subscribers: rooms.iter().map(|room| (member(room, 0), members)).collect(),
            publishers: vec![Role::default(); 4],
            streams: vec![stream("storm", rooms, 0..4, rate)],
            ..Self::default()
        }
    }

    /// Members of rooms, who are to leave and return.
    pub(crate) fn returning(rooms: usize, members: usize) -> Self {
        Self::silent("return", rooms * members, rooms)
    }

    /// What is published in those rooms while they are away.
    pub(crate) fn written(rooms: usize, rate: f64) -> Self {
        Self {
            workload: "written",
            phases: vec![""],
            publishers: vec![Role::default(); rooms],
            streams: vec![stream("written", names("load:return", rooms), 0..rooms, rate)],
            ..Self::default()
        }
    }

    /// Publishers, each in a room of its own, and nobody who listens.
    pub(crate) fn publish(publishers: usize, rate: f64, namespace: &str) -> Self {
        let rooms = names(&format!("{namespace}:publish"), publishers);
        Self {
            workload: "publish",
            phases: vec![""],
            publishers: vec![Role::default(); publishers],
            streams: vec![stream("publish", rooms, 0..publishers, rate)],
            ..Self::default()
        }
    }
}

fn names(before: &str, count: usize) -> Vec<Rc<str>> {
    (0..count).map(|n| format!("{before}-{n}").into()).collect()
}

fn member(room: &Rc<str>, class: usize) -> Role {
    Role {
        seats: vec![Seat {
            room: room.clone(),
            class,
            enters: false,
        }],
        reading: Reading::Always,
    }
}

fn class(name: &'static str, lane: Lane, stream: usize, subscribers: usize) -> ClassPlan {
    ClassPlan {
        name,
        lane,
        stream: Some(stream),
        subscribers: subscribers as u64,
        members: None,
    }
}

fn stream(name: &'static str, rooms: Vec<Rc<str>>, publishers: std::ops::Range<usize>, rate: f64) -> Stream {
    Stream {
        name,
        kind: Kind::Publish { keys: 0 },
        rooms,
        publishers,
        schedule: Schedule::per_second(rate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_of_each_room_writes_in_it() {
        let plan = Plan::rooms(2_000, 10, 2_000.0);
        assert_eq!((plan.connections(), plan.publishers.len()), (20_000, 2_000));
        let stream = &plan.streams[0];
        for (room, writer) in stream
            .rooms
            .iter()
            .zip(&plan.publishers[stream.publishers.clone()])
        {
            assert_eq!(&writer.seats[0].room, room);
        }
        // 32 descriptors are kept: 20,000 are 32 too few.
        assert_eq!(plan.processes(20_000, None).unwrap(), 2);
    }

    #[test]
    fn in_a_mixed_plan_each_sends_to_rooms_it_is_in() {
        let plan = Plan::mixed(&Mixed {
            rooms: 3,
            members: 4,
            chat: 1.0,
            cursors: 1.0,
            ticks: 1.0,
            keys: 7,
            churn: 1.0,
        });
        for stream in &plan.streams {
            for place in 0..50 {
                let room = &stream.rooms[place % stream.rooms.len()];
                let sender = &plan.publishers[place % stream.publishers.len()];
                assert!(sender.seats.iter().any(|seat| seat.room == *room));
            }
        }
        for (class, planned) in plan.classes.iter().enumerate() {
            let seats = plan.publishers.iter().flat_map(|role| &role.seats);
            let count = seats.filter(|seat| seat.class == class).count();
            assert_eq!(count as u64, 3 * planned.subscribers, "{}", planned.name);
        }
    }

    #[test]
    fn those_who_do_not_read_are_a_class_of_their_own() {
        let plan = Plan::slow(&Slow {
            namespace: "latest",
            lane: Lane::Skipping,
            subscribers: 10,
            stopped: 3,
            trickling: 2,
            bytes_per_second: 1e5,
            rate: 1.0,
            keys: 5,
        });
        let counts = plan
            .classes
            .iter()
            .map(|class| (class.name, class.subscribers))
            .collect::<Vec<_>>();
        assert_eq!(counts, [("others", 5), ("stopped", 3), ("trickling", 2)]);
    }
}

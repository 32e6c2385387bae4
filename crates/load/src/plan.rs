//! What a workload asks for, before anything is opened: who subscribes to what, what is published
//! how often, and which process has which connections.
//!
//! A plan follows from the words of the command line alone, so every process of a run makes the
//! same one and takes its share of it. Subscribers go round: number `n` of `N` processes has
//! every `N`th. All publishers are in the first, so that one clock sends on schedule.

use std::{ops::Range, str::FromStr};

use crate::{LoadError, swarm::Role};

/// Members of a quiet room.
const QUIET_MEMBERS: usize = 5;
/// Publications a second in each quiet room.
const QUIET_RATE: f64 = 1.0;
/// Publishers of a saturated room: the server bounds what one connection has in flight.
const SATURATE_PUBLISHERS: usize = 64;
/// Descriptors a process needs for all but its connections: its own, and two per other process.
const DESCRIPTORS_KEPT: u64 = 32;
/// Far more than one machine has cores or a server has descriptors.
pub(crate) const PROCESSES_MAX: u32 = 256;

/// Something that is published at a fixed rate, whatever happens.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) rooms: Vec<String>,
    /// Subscribers of each room, those that read.
    pub(crate) subscribers: u64,
    pub(crate) class: usize,
    /// Which of the plan's publishers send it, in turn.
    pub(crate) publishers: Range<usize>,
    pub(crate) interval_ns: f64,
}

/// See the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    pub(crate) workload: &'static str,
    /// The names of the classes that are reported apart.
    pub(crate) classes: Vec<&'static str>,
    /// Subscribers, and how many of each.
    pub(crate) subscribers: Vec<(Role, usize)>,
    /// Those that publish; some of them are in a room too.
    pub(crate) publishers: Vec<Role>,
    pub(crate) streams: Vec<Stream>,
}

impl Plan {
    /// One large room beside quiet ones.
    pub(crate) fn viral(subscribers: usize, rate: f64, quiet: usize, stopped: usize) -> Self {
        let reading = subscribers.saturating_sub(stopped);
        let stands_still = Role {
            is_stopped: true,
            ..subscriber("load:hot", 0)
        };
        let mut plan = Self {
            workload: "viral",
            classes: vec!["viral"],
            subscribers: vec![
                (subscriber("load:hot", 0), reading),
                (stands_still, stopped.min(subscribers)),
            ],
            publishers: vec![Role::publisher(); 2],
            streams: vec![hot_stream(reading, rate, 1..2)],
        };
        if quiet > 0 {
            let rooms: Vec<String> = (0..quiet).map(|n| format!("load:quiet-{n}")).collect();
            let members = rooms.iter().map(|room| (subscriber(room, 1), QUIET_MEMBERS));
            plan.subscribers.extend(members);
            plan.classes.push("quiet");
            plan.streams.push(Stream {
                rooms,
                subscribers: QUIET_MEMBERS as u64,
                class: 1,
                publishers: 0..1,
                interval_ns: 1e9 / (QUIET_RATE * quiet as f64),
            });
        }
        plan
    }

    /// Many small rooms.
    pub(crate) fn rooms(rooms: usize, subscribers: usize, rate: f64) -> Self {
        let names: Vec<String> = (0..rooms).map(|n| format!("load:room-{n}")).collect();
        let members = subscribers.max(1);
        Self {
            workload: "rooms",
            classes: vec!["rooms"],
            subscribers: names
                .iter()
                .map(|room| (subscriber(room, 0), members - 1))
                .collect(),
            // As in a chat: a member of the room writes.
            publishers: names.iter().map(|room| subscriber(room, 0)).collect(),
            streams: vec![Stream {
                rooms: names,
                subscribers: members as u64,
                class: 0,
                publishers: 0..rooms,
                interval_ns: 1e9 / rate,
            }],
        }
    }

    /// One room at one rate; several of them are tried.
    pub(crate) fn saturate(subscribers: usize, rate: f64) -> Self {
        Self {
            workload: "saturate",
            classes: vec!["viral"],
            subscribers: vec![(subscriber("load:hot", 0), subscribers)],
            publishers: vec![Role::publisher(); SATURATE_PUBLISHERS],
            streams: vec![hot_stream(subscribers, rate, 0..SATURATE_PUBLISHERS)],
        }
    }

    /// Connections that stay silent, spread over rooms: for `idle` and `storm`.
    pub(crate) fn silent(workload: &'static str, connections: usize, rooms: usize) -> Self {
        let room = |n: usize| format!("load:{workload}-{}", n % rooms.max(1));
        Self {
            workload,
            classes: vec!["silent"],
            subscribers: (0..connections).map(|n| (subscriber(&room(n), 0), 1)).collect(),
            ..Self::default()
        }
    }

    /// Publishers, each in a room of its own, and nobody who listens.
    pub(crate) fn publish(publishers: usize, rate: f64, namespace: &str) -> Self {
        Self {
            workload: "publish",
            classes: vec!["acks"],
            subscribers: Vec::new(),
            publishers: vec![Role::publisher(); publishers],
            streams: vec![Stream {
                rooms: (0..publishers)
                    .map(|n| format!("{namespace}:publish-{n}"))
                    .collect(),
                subscribers: 0,
                class: 0,
                publishers: 0..publishers,
                interval_ns: 1e9 / rate,
            }],
        }
    }

    /// One connection in no room.
    pub(crate) fn one_connection() -> Self {
        Self {
            workload: "one",
            classes: vec!["one"],
            publishers: vec![Role::publisher()],
            ..Self::default()
        }
    }

    fn subscriber_count(&self) -> usize {
        self.subscribers.iter().map(|(_, count)| count).sum()
    }

    /// Connections of all processes together.
    pub(crate) fn connections(&self) -> usize {
        self.subscriber_count() + self.publishers.len()
    }

    /// How many processes it takes where each may open so many descriptors; `forced` is what
    /// the command line asks for.
    pub(crate) fn processes(&self, allowed: u64, forced: Option<u32>) -> Result<usize, LoadError> {
        let largest = |processes: usize| self.subscriber_count().div_ceil(processes) + self.publishers.len();
        let fits = |processes: usize| {
            let pipes = if processes > 1 { 2 * processes as u64 } else { 0 };
            largest(processes).max(pipes as usize) as u64 + DESCRIPTORS_KEPT <= allowed
        };
        if self.subscriber_count() == 0 && forced.is_some_and(|forced| forced > 1) {
            return Err(LoadError::OneProcess(self.workload));
        }
        let most = match self.subscriber_count() == 0 {
            true => 1,
            false => PROCESSES_MAX as usize,
        };
        let chosen = match forced {
            Some(forced) => Some(forced as usize).filter(|forced| fits(*forced)),
            None => (1..=most).find(|processes| fits(*processes)),
        };
        chosen.ok_or(LoadError::Descriptors {
            wanted: self.connections(),
            processes: forced.map_or(most, |forced| forced as usize),
            allowed,
        })
    }
}

fn subscriber(room: &str, class: usize) -> Role {
    Role {
        room: Some(room.to_owned()),
        class,
        is_stopped: false,
    }
}

fn hot_stream(reading: usize, rate: f64, publishers: Range<usize>) -> Stream {
    Stream {
        rooms: vec!["load:hot".to_owned()],
        subscribers: reading as u64,
        class: 0,
        publishers,
        interval_ns: 1e9 / rate,
    }
}

/// Which process of how many: `2/3` on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// From 0.
    pub(crate) index: usize,
    pub(crate) of: usize,
}

impl Share {
    pub(crate) const WHOLE: Self = Self { index: 0, of: 1 };

    /// Whether a subscriber with this number is its own.
    pub(crate) fn has(self, number: usize) -> bool {
        number % self.of == self.index
    }

    pub(crate) fn has_publishers(self) -> bool {
        self.index == 0
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no share like 2/3");
        let (number, of) = text.split_once('/').ok_or_else(wrong)?;
        let number: usize = number.parse().map_err(|_| wrong())?;
        let of = of.parse().map_err(|_| wrong())?;
        match (1..=of).contains(&number) {
            true => Ok(Self {
                index: number - 1,
                of,
            }),
            false => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_takes_as_many_processes_as_descriptors_need() {
        let plan = Plan::viral(500, 5.0, 0, 0);
        assert_eq!(plan.processes(20_000, None).unwrap(), 1);
        assert_eq!(
            plan.processes(534, None).unwrap(),
            1,
            "500 and 2 publishers and 32 kept"
        );
        assert_eq!(plan.processes(533, None).unwrap(), 2);
        // 222 subscribers at most in each.
        assert_eq!(plan.processes(256, None).unwrap(), 3);
        assert_eq!(plan.processes(20_000, Some(7)).unwrap(), 7);
        assert!(plan.processes(256, Some(2)).is_err());
        assert!(plan.processes(34, None).is_err());
    }

    #[test]
    fn publishers_are_never_split() {
        let plan = Plan::publish(300, 10.0, "load");
        assert!(plan.processes(256, None).is_err());
        assert!(plan.processes(20_000, Some(2)).is_err());
        assert_eq!(plan.processes(20_000, Some(1)).unwrap(), 1);
    }

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
            assert_eq!(writer.room.as_ref(), Some(room));
        }
        // 32 descriptors are kept: 20,000 are 32 too few.
        assert_eq!(plan.processes(20_000, None).unwrap(), 2);
    }

    #[test]
    fn shares_are_read_as_they_are_written() {
        assert_eq!("2/3".parse(), Ok(Share { index: 1, of: 3 }));
        for wrong in ["0/3", "4/3", "1", "a/b", "1/0", ""] {
            assert!(wrong.parse::<Share>().is_err(), "{wrong}");
        }
        let owners = (0..9).map(|n| (0..3).find(|i| Share { index: *i, of: 3 }.has(n)));
        assert!(owners.eq([0, 1, 2, 0, 1, 2, 0, 1, 2].map(Some)));
    }
}

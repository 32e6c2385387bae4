//! What a workload asks for, before anything is opened: who subscribes to what, what is published
//! how often, and which process has which connections. The plans themselves are in `workloads`,
//! intended times in `schedule`.
//!
//! A plan follows from the words of the command line alone, so every process of a run makes the
//! same one and takes its share of it. Subscribers go round: number `n` of `N` processes has
//! every `N`th. All publishers are in the first, so that one clock sends on schedule. Where the first groups of
//! subscribers are `apart`, the first process has all others and none of them: what is measured there must not wait
//! in our own queue behind what they see.

mod schedule;
mod workloads;

use std::{ops::Range, rc::Rc, str::FromStr};

pub(crate) use self::{
    schedule::{Arrivals, Burst, Schedule, Timeline},
    workloads::{Bid, Mixed, Slow},
};
use crate::LoadError;

/// Descriptors a process needs for all but its connections: its own, and two per other process.
const DESCRIPTORS_KEPT: u64 = 32;
/// Far more than one machine has cores or a server has descriptors.
pub(crate) const PROCESSES_MAX: u32 = 256;
/// Rooms of one connection: their joins have the ids 2 to 9.
pub(crate) const SEATS_MAX: usize = 8;

/// What a connection is for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Role {
    /// The rooms it joins; none for one that only publishes.
    pub(crate) seats: Vec<Seat>,
    pub(crate) reading: Reading,
}

/// A room that is joined.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    pub(crate) room: Rc<str>,
    /// Which class its deliveries count in.
    pub(crate) class: usize,
    /// It enters, and watches who else does.
    pub(crate) enters: bool,
}

/// How a connection reads while something is played. Afterwards all read as fast as they can, so
/// that everything can be accounted for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) enum Reading {
    #[default]
    Always,
    /// Not at all.
    Stopped,
    /// So many bytes a second, through a small receive buffer.
    Trickling(f64),
}

/// What a namespace promises to those behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Nothing may be left out.
    Reliable,
    /// `latest` or `lossy`: what is left out is told.
    Skipping,
}

/// Deliveries that are reported apart from others.
#[derive(Debug, Clone)]
pub(crate) struct ClassPlan {
    pub(crate) name: &'static str,
    pub(crate) lane: Lane,
    /// What it is fed by; none for those that are silent.
    pub(crate) stream: Option<usize>,
    /// Subscribers of each of the stream's rooms.
    pub(crate) subscribers: u64,
    /// Members that each of its rooms has in the end, where presence is watched.
    pub(crate) members: Option<u64>,
}

/// What a stream consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Publications; with keys, so many of them in turn.
    Publish { keys: u32 },
    /// Members that leave, and come again.
    Churn,
}

/// Something that is sent on schedule, whatever happens.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// In turn.
    pub(crate) rooms: Vec<Rc<str>>,
    /// Which of the plan's publishers send it, in turn.
    pub(crate) publishers: Range<usize>,
    pub(crate) schedule: Schedule,
}

/// See the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    pub(crate) workload: &'static str,
    pub(crate) classes: Vec<ClassPlan>,
    /// Parts of a run whose latencies are told apart; one without a name where there is no such thing.
    pub(crate) phases: Vec<&'static str>,
    /// The phase whose acknowledgements are told by tenths of a second.
    pub(crate) slotted: Option<usize>,
    /// Subscribers, and how many of each.
    pub(crate) subscribers: Vec<(Role, usize)>,
    /// Those that publish; some of them are in a room too.
    pub(crate) publishers: Vec<Role>,
    pub(crate) streams: Vec<Stream>,
    /// So many groups of subscribers, the first ones, are in processes of their own.
    pub(crate) apart: usize,
    /// Of what those apart get only the number matters, not when: on a core they share they give way to the first process.
    pub(crate) is_apart_patient: bool,
}

impl Plan {
    /// One connection in no room.
    pub(crate) fn one_connection() -> Self {
        Self {
            workload: "one",
            phases: vec![""],
            publishers: vec![Role::default()],
            ..Self::default()
        }
    }

    /// The same, with intended times as many independent users would have them.
    pub(crate) fn poisson(mut self) -> Self {
        for (seed, stream) in (1..).zip(&mut self.streams) {
            stream.schedule.arrivals = Arrivals::Poisson { seed };
        }
        self
    }

    fn subscriber_count(&self) -> usize {
        self.subscribers.iter().map(|(_, count)| count).sum()
    }

    /// Connections of all processes together.
    pub(crate) fn connections(&self) -> usize {
        self.subscriber_count() + self.publishers.len()
    }

    /// Subscribers that are apart.
    fn apart_count(&self) -> usize {
        let groups = self.subscribers.iter().take(self.apart);
        groups.map(|(_, count)| count).sum()
    }

    /// Whether subscriber `number` of all is in this share.
    pub(crate) fn is_in(&self, share: Share, number: usize) -> bool {
        let apart = self.apart_count();
        match apart > 0 && share.of > 1 {
            true if number < apart => number % (share.of - 1) + 1 == share.index,
            true => share.index == 0,
            false => share.has(number),
        }
    }

    /// Whether nothing of this share is measured by the clock.
    pub(crate) fn is_patient(&self, share: Share) -> bool {
        self.is_apart_patient && share.index > 0
    }

    /// How many processes it takes where each may open so many descriptors; `forced` is what
    /// the command line asks for.
    pub(crate) fn processes(&self, allowed: u64, forced: Option<u32>) -> Result<usize, LoadError> {
        let apart = self.apart_count();
        let largest = |processes: usize| match apart > 0 && processes > 1 {
            true => apart
                .div_ceil(processes - 1)
                .max(self.subscriber_count() - apart + self.publishers.len()),
            false => self.subscriber_count().div_ceil(processes) + self.publishers.len(),
        };
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
            None => {
                let least = if apart > 0 { 2 } else { 1 };
                (least..=most).find(|processes| fits(*processes))
            }
        };
        chosen.ok_or(LoadError::Descriptors {
            wanted: self.connections(),
            processes: forced.map_or(most, |forced| forced as usize),
            allowed,
        })
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
        let plan = Plan::viral("viral", 500, 5.0, 0);
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
    fn a_group_that_is_apart_shares_no_process_with_the_others() {
        let plan = Plan::hot(500, 5.0, 10);
        assert_eq!(plan.processes(20_000, None).unwrap(), 2);
        assert_eq!(plan.processes(300, None).unwrap(), 3);
        for of in [2, 3] {
            for number in 0..plan.subscriber_count() {
                let owners = (0..of).filter(|index| plan.is_in(Share { index: *index, of }, number));
                let owners: Vec<usize> = owners.collect();
                assert_eq!(owners.len(), 1);
                assert_eq!(owners[0] == 0, number >= 500);
            }
        }
        assert!((0..550).all(|number| plan.is_in(Share::WHOLE, number)));
    }

    #[test]
    fn publishers_are_never_split() {
        let plan = Plan::publish(300, 10.0, "load");
        assert!(plan.processes(256, None).is_err());
        assert!(plan.processes(20_000, Some(2)).is_err());
        assert_eq!(plan.processes(20_000, Some(1)).unwrap(), 1);
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

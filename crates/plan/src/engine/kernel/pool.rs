//! The servers of a node's machines: when each is free next, and who waits for them.
//!
//! Stations that share a machine's cores share its pool. Free times of one machine are a small heap in an array, so
//! that one server costs nothing to choose and sixty-four cost six comparisons.

use std::collections::VecDeque;

use super::Nanos;

/// More servers than this never make anyone wait: a load balancer's.
pub const SERVERS_MAX: u32 = 1_024;

/// Those who wait at one machine are counted up to here: 2 MB of them.
const STARTS_MAX: usize = 1 << 18;

/// See the module.
#[derive(Debug, Clone)]
pub struct Pool {
    servers: usize,
    /// By machine, then as a heap.
    free: Vec<Nanos>,
    /// By machine: when each of those who wait will start, in order.
    starts: Vec<VecDeque<Nanos>>,
}

impl Pool {
    /// A pool of so many machines with so many servers each.
    pub fn new(machines: usize, servers: u32) -> Self {
        let servers = if servers > SERVERS_MAX {
            0
        } else {
            servers.max(1) as usize
        };
        Self {
            servers,
            free: vec![0; machines * servers],
            starts: vec![VecDeque::new(); machines],
        }
    }

    /// Servers of one machine; 0 if nobody ever waits.
    pub fn servers(&self) -> usize {
        self.servers
    }

    pub fn machines(&self) -> usize {
        self.starts.len()
    }

    /// One machine more, free from then on.
    pub fn grow(&mut self, from: Nanos) {
        self.free.resize(self.free.len() + self.servers, from);
        self.starts.push(VecDeque::new());
    }

    /// Gives each machine so many servers from now on. Of fewer those are kept that are free last: what they have begun they end.
    pub fn set_servers(&mut self, servers: u32, now: Nanos) {
        let wanted = Self::new(0, servers).servers;
        let had = self.servers;
        if wanted == had {
            return;
        }
        let mut free = Vec::with_capacity(self.machines() * wanted);
        for machine in 0..self.machines() {
            let mut of_machine = self.free[machine * had..][..had].to_vec();
            of_machine.sort_unstable_by(|a, b| b.cmp(a));
            of_machine.resize(wanted, now);
            // In rising order it is a heap.
            of_machine.sort_unstable();
            free.extend(of_machine);
        }
        self.free = free;
        self.servers = wanted;
    }

    /// Bytes it takes, about.
    pub fn bytes(&self) -> usize {
        let waiting: usize = self.starts.iter().map(VecDeque::capacity).sum();
        (self.free.capacity() + waiting) * size_of::<Nanos>()
    }

    /// Takes the next server of a machine for so long, and returns when it starts.
    #[inline]
    pub fn serve(&mut self, machine: usize, now: Nanos, service: Nanos) -> Nanos {
        if self.servers == 0 {
            return now;
        }
        let free = &mut self.free[machine * self.servers..][..self.servers];
        let start = free[0].max(now);
        sink(free, start.saturating_add(service));
        if start > now && self.starts[machine].len() < STARTS_MAX {
            self.starts[machine].push_back(start);
        }
        start
    }

    /// How many wait at a machine.
    #[inline]
    pub fn waiting(&mut self, machine: usize, now: Nanos) -> usize {
        let starts = &mut self.starts[machine];
        while starts.front().is_some_and(|&start| start <= now) {
            starts.pop_front();
        }
        starts.len()
    }

    /// Servers of a machine at work.
    pub fn busy(&self, machine: usize, now: Nanos) -> usize {
        let free = &self.free[machine * self.servers..][..self.servers];
        free.iter().filter(|&&free| free > now).count()
    }

    /// How long one who comes now would wait.
    #[inline]
    pub fn backlog(&self, machine: usize, now: Nanos) -> Nanos {
        if self.servers == 0 {
            return 0;
        }
        self.free[machine * self.servers].saturating_sub(now)
    }

    /// Forgets all work of a machine; its servers are free from then on.
    pub fn reset(&mut self, machine: usize, from: Nanos) {
        self.free[machine * self.servers..][..self.servers].fill(from);
        self.starts[machine].clear();
    }
}

/// Puts a free time in the place of the earliest.
#[inline]
fn sink(free: &mut [Nanos], value: Nanos) {
    let mut place = 0;
    loop {
        let mut child = place * 2 + 1;
        if child >= free.len() {
            break;
        }
        if child + 1 < free.len() && free[child + 1] < free[child] {
            child += 1;
        }
        if free[child] >= value {
            break;
        }
        free[place] = free[child];
        place = child;
    }
    free[place] = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_never_idle_while_someone_waits() {
        // Three servers, all work of 10, one arrival each 2: the fourth waits for the first.
        let mut pool = Pool::new(1, 3);
        let starts: Vec<Nanos> = (0..6).map(|index| pool.serve(0, index * 2, 10)).collect();
        assert_eq!(starts, [0, 2, 4, 10, 12, 14]);
        assert_eq!(pool.waiting(0, 10), 2);
        assert_eq!(pool.busy(0, 10), 3);
        assert_eq!(pool.backlog(0, 10), 10);
    }

    #[test]
    fn what_a_machine_forgot_delays_nobody() {
        let mut pool = Pool::new(2, 1);
        pool.serve(1, 0, 1_000);
        pool.serve(1, 0, 1_000);
        pool.reset(1, 50);
        assert_eq!((pool.waiting(1, 1), pool.serve(1, 1, 5)), (0, 50));
    }

    #[test]
    fn servers_that_are_added_are_free_and_those_taken_end_what_they_began() {
        let mut pool = Pool::new(1, 2);
        pool.serve(0, 0, 100);
        pool.serve(0, 0, 40);
        let mut fewer = pool.clone();
        fewer.set_servers(1, 10);
        assert_eq!(fewer.serve(0, 10, 1), 100);
        pool.set_servers(3, 10);
        let starts = [10, 10, 10].map(|now| pool.serve(0, now, 60));
        assert_eq!(starts, [10, 40, 70]);
        pool.set_servers(u32::MAX, 20);
        assert_eq!(pool.serve(0, 20, 1), 20);
    }

    #[test]
    fn very_many_servers_make_nobody_wait() {
        let mut pool = Pool::new(1, u32::MAX);
        assert!((0..100).all(|_| pool.serve(0, 7, 1_000_000) == 7));
    }
}

//! From where a publication is accepted to its receivers.
//!
//! Fan-out needs no event: it is one long visit at each machine that holds a receiver, and a sample of its receivers, each
//! with its place in that visit, its network and, if it reads slowly, its outbox.

use super::{
    State,
    books::{Sample, Visited},
    publish::{Job, Phase, TOKENS_MAX},
    tables::{Tables, Visit, is_endless},
    users::NONE,
};
use crate::{
    draw::Stream,
    engine::kernel::{NEVER, Nanos},
    outcome::Stay,
};

impl State {
    /// A publication is accepted, and goes to its receivers.
    pub(super) fn fan_out(&mut self, tables: &Tables, job: u32) {
        let row = self.jobs[job as usize];
        let flow = row.way as usize;
        if row.is_ghost {
            // The next try has the same id: it is known, and not sent twice.
            self.free_job(job);
            return;
        }
        let table = &tables.flows[flow];
        let weight = f64::from(row.weight);
        self.books.on_accepted(tables, flow, weight);
        if let Some(budget) = tables.clients.retry_budget {
            self.tokens = (self.tokens + budget).min(TOKENS_MAX);
        }
        if table.has_aside {
            self.begin_aside(tables, &row, flow);
        }
        let wanted = self.users.wanted.len().max(1) as f64;
        let online = f64::from(row.receivers) * f64::from(self.users.connected) / wanted;
        self.count_deliveries(
            tables,
            flow,
            f64::from(row.count),
            f64::from(row.receivers),
            online,
        );
        let first = row.step;
        let end = tables.ways[flow].end;
        match (first < end, tables.edge) {
            (true, Some(edge)) if row.receivers > 0 => {
                self.visit_receivers(tables, job, flow, edge);
            }
            _ => {
                let at = self.now;
                for _ in 0..row.samples {
                    self.deliver(tables, flow, &row, at, row.trace, None);
                }
            }
        }
        self.free_job(job);
    }

    fn begin_aside(&mut self, tables: &Tables, row: &Job, flow: usize) {
        if self.is_full() {
            self.books.classes[flow].asides_dropped += f64::from(row.weight);
            return;
        }
        let way = tables.flows.len() + flow;
        let job = self.take_job(Job {
            began: self.now,
            tried: self.now,
            deadline: NEVER,
            end: self.now,
            way: way as u32,
            trace: NONE,
            samples: 0,
            tries: 0,
            step_tries: 0,
            phase: Phase::Arrives,
            ..*row
        });
        self.books.usage.queue_jobs += f64::from(row.count);
        self.begin_way(tables, job, 0.0);
    }

    /// One long visit at each machine that holds a receiver.
    fn visit_receivers(&mut self, tables: &Tables, job: u32, flow: usize, edge: usize) {
        let row = self.jobs[job as usize];
        let machines = self.nodes[edge].machines.len();
        let connected = f64::from(self.users.connected.max(1));
        let mut left = row.receivers;
        let mut samples_left = row.samples;
        let mut connections_left = self.users.connected;
        let scale = connected / self.users.wanted.len().max(1) as f64;
        left = {
            let online = f64::from(left) * scale;
            (online + self.flows[flow].sample.unit()).min(f64::from(left)) as u32
        };
        // Samples whose receiver is away get it when they are back, if it was kept for them.
        let away = self.count_away(flow, samples_left, scale);
        samples_left -= away;
        for machine in 0..machines {
            let here = &self.nodes[edge].machines[machine];
            if here.connections == 0 || left == 0 {
                continue;
            }
            let share = f64::from(here.connections) / f64::from(connections_left.max(1));
            let is_last = here.connections >= connections_left;
            connections_left = connections_left.saturating_sub(here.connections);
            let part = if is_last {
                left
            } else {
                part_of(left, share, &mut self.flows[flow].sample)
            };
            if part == 0 {
                continue;
            }
            let samples = if is_last {
                samples_left
            } else {
                let of = f64::from(part) / f64::from(left);
                part_of(samples_left, of, &mut self.flows[flow].sample)
            };
            left -= part;
            samples_left -= samples;
            self.visit_part(
                tables,
                job,
                flow,
                machine as u32,
                Part {
                    receivers: part,
                    samples,
                },
            );
        }
    }

    fn count_away(&mut self, flow: usize, samples: u32, connected: f64) -> u32 {
        if connected >= 1.0 {
            return 0;
        }
        (0..samples)
            .filter(|_| self.flows[flow].sample.unit() >= connected)
            .count() as u32
    }

    /// The visits of one machine, from the first of the fan-out on.
    fn visit_part(&mut self, tables: &Tables, job: u32, flow: usize, machine: u32, part: Part) {
        let row = self.jobs[job as usize];
        let weights = (f64::from(row.weight), f64::from(row.count));
        let end_step = tables.ways[flow].end;
        let mut at = self.now;
        // Where each sample is in the last long visit: its beginning, and how long each receiver takes.
        let mut slots: Option<(Nanos, Nanos, f64)> = None;
        let copies = (part.samples > 0).then(|| self.copy_trace(row.trace));
        for step in row.step..end_step {
            let visit: &Visit = &tables.visits[step as usize];
            let machine = machine as usize % self.nodes[visit.node].machines.len().max(1);
            self.fill_background(tables, visit.pool, machine);
            let node = &self.nodes[visit.node];
            let is_first = step == row.step;
            let station = &mut self.stations[visit.station];
            if !is_first {
                let travel = visit.travel.draw(&self.ziggurat, &mut station.choice);
                at = at.saturating_add(travel as Nanos);
            }
            let base = visit.service.draw(&self.ziggurat, &mut station.service);
            let factor = node.slow * self.stretch[visit.pool];
            let each = visit.per_receiver * self.paces[flow].each * factor;
            let service = (base * factor + each * f64::from(part.receivers)) as Nanos;
            let pool = &mut self.pools[visit.pool];
            let waiting = if is_endless(tables.pools[visit.pool].servers) {
                0
            } else {
                pool.waiting(machine, self.now)
            };
            let start = pool.serve(machine, at, service);
            self.books.usage.interzone_bytes += tables.flows[flow].bytes * visit.crosses * weights.1;
            self.books.on_visit(
                visit.station,
                visit.pool,
                &Visited {
                    waited: start - at,
                    start,
                    service,
                    waiting,
                },
                weights,
            );
            if let Some(trace) = copies {
                let stage = tables.stations[visit.station].stage;
                self.stay(
                    trace,
                    stage,
                    Some(visit.station),
                    start - at,
                    service,
                    waiting as u32,
                );
            }
            slots = Some((start, (base * factor) as Nanos, each));
            at = start.saturating_add(service);
        }
        let Some(trace) = copies else { return };
        for _ in 0..part.samples {
            let done = match slots {
                Some((start, base, each)) => {
                    let place = self.flows[flow].sample.below(part.receivers.max(1)) + 1;
                    start
                        .saturating_add(base)
                        .saturating_add((each * f64::from(place)) as Nanos)
                }
                None => at,
            };
            self.deliver(tables, flow, &row, done, trace, Some(at));
        }
        self.free_trace(trace);
    }

    /// One sampled delivery leaves the server: the outbox, if its reader is slow, the network, and the books.
    fn deliver(
        &mut self,
        tables: &Tables,
        flow: usize,
        row: &Job,
        at: Nanos,
        trace: u32,
        end: Option<Nanos>,
    ) {
        let table = &tables.flows[flow];
        let pace = self.paces[flow];
        let stream = &mut self.flows[flow].sample;
        let is_slow = tables.slow_readers > 0.0 && stream.unit() < tables.slow_readers;
        let (mut outbox, mut sent) = (0.0, 1.0);
        if table.is_conflated {
            let conflation = if is_slow { pace.slow } else { pace.conflation };
            outbox += conflation.wait(stream.unit());
            if is_slow {
                // A write takes a reader that is behind until the next.
                outbox += table.bytes / tables.slow_reader_rate + stream.unit() * pace.slow_window;
                sent = pace.slow.kept() / pace.conflation.kept();
            }
        } else if is_slow {
            outbox += (self.outbox + table.bytes) / tables.slow_reader_rate;
            if self.outbox_full > 0.0 && stream.unit() < self.outbox_full {
                // It found no room; who counts it is `count_deliveries`.
                return;
            }
        }
        let outbox = (outbox * 1e9) as Nanos;
        let downlink = if table.downlink {
            tables.network.draw(&self.ziggurat, stream) as Nanos
        } else {
            0
        };
        let latency = at
            .saturating_sub(row.began)
            .saturating_add(outbox)
            .saturating_add(downlink);
        let sample = Sample {
            flow,
            began: row.began,
            latency,
            outbox,
            downlink,
            receivers: f64::from(row.receivers),
            // Of its long visit it did not wait for those behind it.
            shorter: end.map_or(0, |end| end.saturating_sub(at)),
            weight: f64::from(row.weight) / table.sampled * pace.conflation.kept(),
            sent,
        };
        let stays: &[Stay] = if trace == NONE {
            &[]
        } else {
            &self.traces[trace as usize].stays
        };
        self.books.on_delivered(tables, &sample, stays);
    }
}

/// Receivers at one machine.
#[derive(Debug, Clone, Copy)]
struct Part {
    receivers: u32,
    samples: u32,
}

/// How many of `len` fall to a share: each by itself if few, else as if normal.
fn part_of(len: u32, share: f64, stream: &mut Stream) -> u32 {
    if len <= 32 {
        let limit = (share * 4_294_967_296.0) as u64;
        return (0..len).filter(|_| u64::from(stream.bits()) < limit).count() as u32;
    }
    let mean = f64::from(len) * share;
    let deviation = libm::sqrt(mean * (1.0 - share).max(0.0));
    (mean + deviation * stream.normal() + 0.5).clamp(0.0, f64::from(len)) as u32
}

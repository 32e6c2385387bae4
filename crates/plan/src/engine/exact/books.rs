//! What is counted during a run, and the outcome made of it.
//!
//! Seconds are closed one by one: who is connected is worse off for the share of it that failed, or came too late, of all that
//! was due to be delivered. Percentiles of waits are of a reservoir: an even sample of the sampled deliveries.

use super::{Nanos, State, TICK, seconds, tables::Tables};
use crate::{
    draw::{Purpose, Stream},
    engine::kernel::{nanos, tally::Tally},
    network::Stage,
    outcome::{
        BadTime, ClassOutcome, Ledger, Mark, Minute, Outcome, StageWait, StationOutcome, Stay, Usage,
        WORST_MAX,
    },
};

/// Events of each hour that are told one by one.
const WORST_HOUR: usize = 6;
/// Sampled deliveries of a class whose stages are kept.
const RESERVOIR: usize = 16_384;
/// A second in which so many of the users were worse off is bad.
const BAD_CLOCK: f64 = 0.05;
const MARKS_MAX: usize = 2_000;
/// Longer runs have longer minutes: a year's are an hour and a half.
const MINUTES_MAX: u64 = 6_000;

#[derive(Debug, Clone)]
pub(super) struct Books {
    pub classes: Vec<ClassBook>,
    stations: Vec<StationBook>,
    /// By minute, then pool: nanoseconds of work, and of servers that were there.
    busy: Vec<f64>,
    there: Vec<f64>,
    minutes: Vec<Minute>,
    minute_length: Nanos,
    /// When the minute began that was last worked in, and its place in `busy`.
    busy_from: Nanos,
    busy_row: usize,
    minute: Minute,
    minute_latency: Tally,
    pub second_busy: Vec<f64>,
    second: Second,
    missed: Missed,
    bad: BadTime,
    wanted_s: f64,
    connected_s: f64,
    pub connected_max: f64,
    pub dialed: f64,
    pub dials_failed: f64,
    pub connects: f64,
    pub connects_failed: f64,
    pub reconnect: Tally,
    pub usage: Usage,
    machine_s: Vec<f64>,
    memory_max: Vec<f64>,
    worst: Vec<Ledger>,
    worst_hour: Vec<Ledger>,
    hour: u64,
    marks: Vec<Mark>,
    sample: Stream,
    /// Visits that were simulated.
    pub simulated: f64,
    /// Those of them that were of connects.
    pub connecting: f64,
    /// Pieces of work that were put in for those that were not.
    pub background: f64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct ClassBook {
    pub published: f64,
    pub accepted: f64,
    pub failed: f64,
    pub retried: f64,
    delivered: f64,
    conflated: f64,
    lost: f64,
    late: f64,
    latency: Tally,
    pub lag: Tally,
    pub asides_dropped: f64,
    all_s: [f64; Stage::ALL.len()],
    sampled: f64,
    reservoir: Vec<Kept>,
}

/// A sampled delivery: its latency and its stages, seconds.
#[derive(Debug, Clone)]
struct Kept {
    latency: f64,
    stages: [f32; Stage::ALL.len()],
}

#[derive(Debug, Clone, Default)]
struct StationBook {
    visits: f64,
    refused: f64,
    timed_out: f64,
    waiting_max: f64,
    waiting_minute: f64,
    wait: Tally,
}

/// What went wrong in one second.
#[derive(Debug, Clone, Default)]
struct Second {
    wanted_s: f64,
    away_s: f64,
    /// Deliveries that were due, those that nobody got, and those that came too late.
    due: f64,
    failed: f64,
    late: f64,
}

/// Shares of what was due that failed, and that came too late.
#[derive(Debug, Clone, Copy, Default)]
struct Missed {
    failed: f64,
    late: f64,
    /// Seconds since something was due.
    age: u32,
}

/// A second in which nothing was due is as good as the last one, for so long.
const AGE_MAX: u32 = 30;

/// A visit, known on arrival.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visited {
    pub waited: Nanos,
    pub start: Nanos,
    pub service: Nanos,
    /// Others who waited.
    pub waiting: usize,
}

/// A sampled delivery.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub flow: usize,
    pub began: Nanos,
    pub latency: Nanos,
    pub outbox: Nanos,
    pub downlink: Nanos,
    pub receivers: f64,
    /// Of the last stay, what was for others behind it.
    pub shorter: Nanos,
    /// What was due, and the part of it that is sent.
    pub weight: f64,
    pub sent: f64,
}

impl Books {
    pub fn new(tables: &Tables) -> Self {
        let length = tables.length.max(1);
        let minute_length = 60_000_000_000 * (length / 60_000_000_000 / MINUTES_MAX + 1);
        let minutes = length.div_ceil(minute_length) as usize + 1;
        Self {
            classes: vec![ClassBook::default(); tables.flows.len()],
            stations: vec![StationBook::default(); tables.stations.len()],
            busy: vec![0.0; minutes * tables.pools.len()],
            there: vec![0.0; minutes * tables.pools.len()],
            minutes: Vec::with_capacity(minutes),
            minute_length,
            busy_from: 0,
            busy_row: 0,
            minute: Minute::default(),
            minute_latency: Tally::default(),
            second_busy: vec![0.0; tables.pools.len()],
            second: Second::default(),
            missed: Missed::default(),
            bad: BadTime::default(),
            wanted_s: 0.0,
            connected_s: 0.0,
            connected_max: 0.0,
            dialed: 0.0,
            dials_failed: 0.0,
            connects: 0.0,
            connects_failed: 0.0,
            reconnect: Tally::default(),
            usage: Usage::default(),
            machine_s: vec![0.0; tables.nodes.len()],
            memory_max: vec![0.0; tables.stations.len()],
            worst: Vec::new(),
            worst_hour: Vec::new(),
            hour: 0,
            marks: Vec::new(),
            sample: tables.stream(3, Purpose::Sample),
            simulated: 0.0,
            connecting: 0.0,
            background: 0.0,
        }
    }

    /// Bytes they take, about.
    pub fn bytes(&self) -> usize {
        let of_minute = size_of::<Minute>() + self.stations.len() * 12;
        let of_class = |class: &ClassBook| {
            class.latency.bytes() + class.lag.bytes() + class.reservoir.capacity() * size_of::<Kept>()
        };
        self.classes.iter().map(of_class).sum::<usize>()
            + self
                .stations
                .iter()
                .map(|station| station.wait.bytes())
                .sum::<usize>()
            + (self.busy.capacity() + self.there.capacity()) * size_of::<f64>()
            + self.minutes.capacity() * of_minute
            + self.minute_latency.bytes()
            + self.reconnect.bytes()
            + (self.worst.len() + self.marks.len()) * 512
    }

    pub fn mark(&mut self, at: Nanos, what: String) {
        if self.marks.len() < MARKS_MAX {
            self.marks.push(Mark {
                at_s: seconds(at),
                what,
            });
        }
    }

    /// However many there are already.
    pub fn mark_always(&mut self, at: Nanos, what: String) {
        self.marks.truncate(MARKS_MAX - 1);
        self.mark(at, what);
    }

    pub fn settle(&mut self, passed: f64, wanted: f64, connected: f64) {
        self.wanted_s += passed * wanted;
        self.connected_s += passed * connected;
        self.second.wanted_s += passed * wanted;
        self.second.away_s += passed * (wanted - connected);
        self.minute.wanted += passed * wanted;
        self.minute.connected += passed * connected;
    }

    pub fn on_published(&mut self, tables: &Tables, flow: usize, weight: f64) {
        self.classes[flow].published += weight;
        self.minute.published += weight;
        self.bad.requests += weight;
        self.usage.messages += weight;
        let table = &tables.flows[flow];
        if table.durable {
            self.usage.stored_bytes += table.bytes * weight;
        }
    }

    pub fn on_accepted(&mut self, _tables: &Tables, flow: usize, weight: f64) {
        self.classes[flow].accepted += weight;
    }

    /// A publication failed for good; so many miss it, none if its user is worse off already.
    pub fn on_failed(&mut self, flow: usize, weight: f64, missed: Option<f64>) {
        self.classes[flow].failed += weight;
        self.minute.failed += weight;
        self.bad.bad_requests += weight;
        if let Some(receivers) = missed {
            self.second.failed += weight * receivers;
            self.second.due += weight * receivers;
        }
    }

    pub fn on_refused(&mut self, station: usize, weight: f64) {
        self.stations[station].refused += weight;
    }

    pub fn on_timed_out(&mut self, station: usize, weight: f64) {
        self.stations[station].timed_out += weight;
    }

    #[inline]
    pub fn on_visit(&mut self, station: usize, pool: usize, visited: &Visited, (weight, count): (f64, f64)) {
        let &Visited {
            waited,
            start,
            service,
            waiting,
        } = visited;
        self.simulated += 1.0;
        let row = &mut self.stations[station];
        row.visits += weight;
        row.wait.record(waited, weight);
        let waiting = (waiting + usize::from(waited > 0)) as f64;
        if waiting > row.waiting_minute {
            row.waiting_minute = waiting;
        }
        let work = service as f64 * count;
        self.second_busy[pool] += work;
        self.put_busy(pool, start, work);
    }

    pub fn on_heartbeats(&mut self, pool: usize, now: Nanos, work: f64) {
        self.second_busy[pool] += work;
        self.put_busy(pool, now - 1, work);
    }

    /// Into the minute in which it begins: nearly always that of the last one, and a division is dear.
    #[inline]
    fn put_busy(&mut self, pool: usize, start: Nanos, work: f64) {
        if start.wrapping_sub(self.busy_from) >= self.minute_length {
            let pools = self.second_busy.len();
            let minute = start / self.minute_length;
            self.busy_from = minute * self.minute_length;
            self.busy_row = (minute as usize).min(self.busy.len() / pools - 1) * pools;
        }
        self.busy[self.busy_row + pool] += work;
    }

    pub fn on_delivered(&mut self, tables: &Tables, sample: &Sample, stays: &[Stay]) {
        if sample.weight <= 0.0 {
            return;
        }
        let class = &mut self.classes[sample.flow];
        let is_late = sample.latency > tables.flows[sample.flow].hard_deadline;
        self.second.due += sample.weight;
        if is_late {
            self.second.late += sample.weight;
        }
        let sample = &Sample {
            weight: sample.weight * sample.sent,
            ..*sample
        };
        class.latency.record(sample.latency, sample.weight);
        self.minute_latency.record(sample.latency, sample.weight);
        if is_late {
            class.late += sample.weight;
        }
        if stays.is_empty() {
            return;
        }
        let mut stages = [0f32; Stage::ALL.len()];
        let last = stays.len() - 1;
        for (place, stay) in stays.iter().enumerate() {
            let mut time = stay.waited_s + stay.served_s;
            if place == last {
                time -= seconds(sample.shorter);
            }
            stages[stay.stage as usize] += time.max(0.0) as f32;
        }
        stages[Stage::Outbox as usize] += seconds(sample.outbox) as f32;
        stages[Stage::Downlink as usize] += seconds(sample.downlink) as f32;
        for (sum, stage) in class.all_s.iter_mut().zip(stages) {
            *sum += f64::from(stage) * sample.weight;
        }
        class.sampled += sample.weight;
        let latency = seconds(sample.latency);
        if class.reservoir.len() < RESERVOIR {
            class.reservoir.push(Kept { latency, stages });
        } else {
            // With a chance by its weight it takes the place of any (M. T. Chao, 1982).
            let place = self.sample.unit() * class.sampled / sample.weight;
            if place < RESERVOIR as f64 {
                class.reservoir[place as usize] = Kept { latency, stages };
            }
        }
        if self.worst_hour.len() < WORST_HOUR
            || self
                .worst_hour
                .last()
                .is_some_and(|least| latency > least.latency_s)
        {
            self.keep_worst(sample, stays);
        }
    }

    fn keep_worst(&mut self, sample: &Sample, stays: &[Stay]) {
        let mut stays = stays.to_vec();
        if let Some(last) = stays.last_mut() {
            last.served_s = (last.served_s - seconds(sample.shorter)).max(0.0);
        }
        for (stage, time) in [(Stage::Outbox, sample.outbox), (Stage::Downlink, sample.downlink)] {
            if time > 0 {
                stays.push(Stay {
                    stage,
                    station: None,
                    waited_s: seconds(time),
                    served_s: 0.0,
                    ahead: 0,
                });
            }
        }
        let ledger = Ledger {
            at_s: seconds(sample.began),
            class: sample.flow as u32,
            latency_s: seconds(sample.latency),
            receivers: sample.receivers,
            stays,
        };
        // One of a fan-out stands for its others.
        let same = |other: &Ledger| other.class == ledger.class && other.at_s == ledger.at_s;
        if let Some(place) = self.worst_hour.iter().position(same) {
            if self.worst_hour[place].latency_s >= ledger.latency_s {
                return;
            }
            self.worst_hour.remove(place);
        }
        let place = self
            .worst_hour
            .partition_point(|other| other.latency_s >= ledger.latency_s);
        self.worst_hour.insert(place, ledger);
        self.worst_hour.truncate(WORST_HOUR);
    }
}

impl State {
    /// Counts what a publication brings to its receivers.
    pub(super) fn count_deliveries(
        &mut self,
        tables: &Tables,
        flow: usize,
        weight: f64,
        receivers: f64,
        online: f64,
    ) {
        let table = &tables.flows[flow];
        let away = (receivers - online).max(0.0) * weight;
        let online = online * weight;
        let pace = &self.paces[flow];
        let slow = tables.slow_readers;
        let class = &mut self.books.classes[flow];
        let delivered = if table.is_conflated {
            let kept = pace.conflation.kept() * (1.0 - slow) + pace.slow.kept() * slow;
            class.conflated += online * (1.0 - kept);
            online * kept
        } else {
            let full = online * slow * self.outbox_full;
            self.outbox_in += online * table.bytes;
            if table.coalescible {
                class.conflated += full;
            } else if table.durable {
                // Who was too slow gets it from what is stored.
                class.delivered += full;
            } else {
                class.lost += full;
            }
            online - full
        };
        class.delivered += delivered;
        if table.coalescible {
            class.conflated += away;
        } else if table.durable {
            class.delivered += away;
        } else {
            class.lost += away;
        }
        self.books.minute.delivered += delivered;
        self.books.usage.messages += delivered;
        self.books.usage.egress_bytes += delivered * table.bytes;
    }

    /// What waits for one slow reader: what all get in this second, less what it reads.
    pub(super) fn fill_outbox(&mut self, tables: &Tables) {
        let input = self.outbox_in / f64::from(self.users.connected.max(1));
        self.outbox_in = 0.0;
        self.outbox_input = input;
        let unread = (self.outbox + input - tables.slow_reader_rate).max(0.0);
        let over = (unread - tables.outbox_bytes).max(0.0);
        self.outbox = unread - over;
        self.outbox_full = if input > 0.0 { (over / input).min(1.0) } else { 0.0 };
    }

    pub(super) fn close_second(&mut self, tables: &Tables) {
        let connected = f64::from(self.users.connected);
        let books = &mut self.books;
        let second = std::mem::take(&mut books.second);
        let stands_for = self.manner.stands_for;
        if second.due > 0.0 {
            books.missed = Missed {
                failed: second.failed / second.due,
                late: second.late / second.due,
                age: 0,
            };
        } else {
            books.missed.age += 1;
            if books.missed.age > AGE_MAX {
                books.missed = Missed::default();
            }
        }
        // Who is connected misses as much of the second as of what was due in it.
        let (refused, late) = if stands_for > 0.0 {
            (connected * books.missed.failed, connected * books.missed.late)
        } else {
            (0.0, 0.0)
        };
        books.bad.disconnected_s += second.away_s;
        books.bad.refused_s += refused * stands_for;
        books.bad.late_s += late * stands_for;
        let bad = second.away_s + refused + late;
        books.minute.bad_s += bad;
        if second.wanted_s > 0.0 && bad >= BAD_CLOCK * second.wanted_s {
            // Who is away is so for this second alone.
            let is_away = second.away_s >= BAD_CLOCK * second.wanted_s;
            books.bad.bad_clock_s += if is_away { 1.0 } else { stands_for };
        }
        let minute = ((self.now - 1) / books.minute_length) as usize;
        let pools = tables.pools.len();
        for (pool, table) in tables.pools.iter().enumerate() {
            let servers = self.nodes[table.node].open.len() as f64 * f64::from(table.servers.max(1));
            if let Some(there) = books.there.get_mut(minute * pools + pool) {
                *there += servers * 1e9;
            }
            books.second_busy[pool] = 0.0;
        }
        for (node, row) in self.nodes.iter().enumerate() {
            books.machine_s[node] += row.paid() as f64;
        }
        if let Some(edge) = tables.edge {
            let most = self.nodes[edge]
                .machines
                .iter()
                .map(|machine| machine.connections)
                .max()
                .unwrap_or(0);
            for (station, table) in tables
                .stations
                .iter()
                .enumerate()
                .filter(|(_, table)| table.node == edge && table.memory_per_connection > 0.0)
            {
                let each = table.memory_per_connection + tables.slow_readers * self.outbox;
                let memory = table.memory_base + each * f64::from(most);
                books.memory_max[station] = books.memory_max[station].max(memory);
            }
        }
        if self.now.is_multiple_of(books.minute_length) {
            self.close_minute(tables);
        }
        if self.now / 3_600_000_000_000 != self.books.hour {
            self.books.hour = self.now / 3_600_000_000_000;
            let hour = std::mem::take(&mut self.books.worst_hour);
            self.books.worst.extend(hour);
        }
    }

    fn close_minute(&mut self, tables: &Tables) {
        let books = &mut self.books;
        let length = seconds(books.minute_length);
        let mut minute = std::mem::take(&mut books.minute);
        minute.wanted /= length;
        minute.connected /= length;
        minute.latency_s = books.minute_latency.quantiles([0.5, 0.95, 0.99]);
        books.minute_latency.clear();
        for (place, table) in tables.stations.iter().enumerate() {
            let station = &mut books.stations[place];
            minute.waiting.push(station.waiting_minute as f32);
            station.waiting_max = station.waiting_max.max(station.waiting_minute);
            station.waiting_minute = 0.0;
            minute.machines.push(self.nodes[table.node].open.len() as u32);
        }
        books.minutes.push(minute);
    }

    /// Closes the books.
    pub(super) fn outcome(mut self, tables: &Tables) -> Outcome {
        self.settle();
        if self.ticks * TICK < self.now {
            self.count_window(tables);
            self.close_second(tables);
        }
        if self.books.minute.wanted > 0.0 || self.books.minutes.is_empty() {
            let whole = seconds(self.books.minute_length);
            let part = seconds(self.now) - self.books.minutes.len() as f64 * whole;
            self.close_minute(tables);
            if let Some(last) = self.books.minutes.last_mut().filter(|_| part > 0.0) {
                last.wanted *= whole / part;
                last.connected *= whole / part;
            }
        }
        let sampled_share = self.sampled_share();
        let books = &mut self.books;
        let hour = std::mem::take(&mut books.worst_hour);
        books.worst.extend(hour);
        books.worst.sort_by(|a, b| b.latency_s.total_cmp(&a.latency_s));
        books.worst.truncate(WORST_MAX);
        let pools = tables.pools.len();
        let share = |minute: usize, pool: usize| {
            let there = books.there[minute * pools + pool];
            if there > 0.0 {
                (books.busy[minute * pools + pool] / there).min(1.0)
            } else {
                0.0
            }
        };
        for (place, minute) in books.minutes.iter_mut().enumerate() {
            minute.busy = tables
                .stations
                .iter()
                .map(|table| share(place, table.pool) as f32)
                .collect();
        }
        let minutes = books.minutes.len();
        let stations = tables.stations.iter().enumerate().map(|(place, table)| {
            let book = &books.stations[place];
            let mut shares: Vec<f64> = (0..minutes).map(|minute| share(minute, table.pool)).collect();
            shares.sort_by(f64::total_cmp);
            let sum = |of: &[f64]| {
                (0..minutes)
                    .map(|minute| of[minute * pools + table.pool])
                    .sum::<f64>()
            };
            StationOutcome {
                name: table.name.clone(),
                visits: book.visits,
                refused: book.refused,
                timed_out: book.timed_out,
                busy_share: (sum(&books.busy) / sum(&books.there).max(1.0)).min(1.0),
                busy_p99_minute: shares[((minutes - 1) as f64 * 0.99) as usize],
                busy_max_minute: shares[minutes - 1],
                waiting_max: book.waiting_max,
                machine_seconds: books.machine_s[table.node],
                memory_max: books.memory_max[place].max(table.memory_base),
                wait_s: book.wait.histogram(),
            }
        });
        let length = seconds(self.now);
        Outcome {
            runs: 1,
            length,
            stations: stations.collect(),
            classes: books
                .classes
                .iter()
                .zip(&tables.flows)
                .map(|(book, flow)| book.outcome(&flow.name))
                .collect(),
            reconnect_s: books.reconnect.histogram(),
            bad: BadTime {
                requests: books.bad.requests + books.dialed,
                bad_requests: books.bad.bad_requests + books.dials_failed,
                ..books.bad
            },
            wanted_s: books.wanted_s,
            connects: books.connects,
            connects_failed: books.connects_failed,
            connected_mean: if length > 0.0 {
                books.connected_s / length
            } else {
                0.0
            },
            connected_max: books.connected_max,
            usage: Usage {
                connections_new: books.connects,
                connection_seconds: books.connected_s,
                ..books.usage
            },
            sampled_share,
            visits: books.simulated,
            worst: std::mem::take(&mut books.worst),
            marks: std::mem::take(&mut books.marks),
            minutes: std::mem::take(&mut books.minutes),
        }
    }
}

impl ClassBook {
    fn outcome(&self, name: &str) -> ClassOutcome {
        let bounds = self
            .latency
            .quantiles([0.93, 0.97, 0.99])
            .map(|bound| bound * 1e9);
        let each = self.sampled / (self.reservoir.len() as f64).max(1.0);
        let waits = Stage::ALL.into_iter().enumerate().map(|(place, stage)| {
            let sum = |within: &dyn Fn(f64) -> bool| {
                let kept = self
                    .reservoir
                    .iter()
                    .filter(|kept| within(nanos(kept.latency) as f64));
                kept.map(|kept| f64::from(kept.stages[place])).sum::<f64>() * each
            };
            StageWait {
                stage,
                all_s: self.all_s[place],
                near_p95_s: sum(&|latency| latency >= bounds[0] && latency <= bounds[1]),
                beyond_p99_s: sum(&|latency| latency > bounds[2]),
            }
        });
        ClassOutcome {
            name: name.to_owned(),
            published: self.published,
            failed: self.failed,
            retried: self.retried,
            delivered: self.delivered,
            conflated: self.conflated,
            lost: self.lost,
            late: self.late,
            latency_s: self.latency.histogram(),
            lag_s: self.lag.histogram(),
            waits: waits.collect(),
        }
    }
}

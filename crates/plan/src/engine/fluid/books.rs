//! What was met, counted.
//!
//! A moment's latencies are an [`Entry`], and many moments share one: a step only adds weights to it. The histograms
//! are filled from the entries at the end.

use super::{
    latency::{SAMPLES, STAGES, Tail, Taken},
    machines::{Machines, State},
    places::Places,
    tables::{Tables, machines_hit, share_of},
    users::Users,
};
use crate::{
    conflate::{Conflation, Stream, writes_that_fit},
    network::{Flow, Machine, Network, Stage, Step},
    outcome::{
        BadTime, ClassOutcome, Ledger, Minute, Outcome, StageWait, StationOutcome, Stay, Usage, WORST_MAX,
    },
};

/// Latencies of one flow in one phase.
#[derive(Debug)]
pub(super) struct Latency {
    /// Of what the flow publishes, the part that falls into this phase.
    pub share: f64,
    pub taken: Taken,
    pub lag: Option<Taken>,
    /// Waits in each stage of the slowest, and what it was served.
    pub slowest: [[f64; 2]; STAGES],
}

#[derive(Debug)]
pub(super) struct PhaseEntry {
    pub share: f64,
    pub tails: Vec<Tail>,
    /// Seconds of backlog before each group.
    pub waits: Vec<f64>,
    pub flows: Vec<Latency>,
}

/// Moments that are like each other.
#[derive(Debug)]
pub(super) struct Entry {
    pub phases: Vec<PhaseEntry>,
    /// Mean seconds of a job, by group.
    pub job: Vec<f64>,
    pub busy_max: Vec<f64>,
    pub refuses: Vec<f64>,
    /// p50, p95 and p99 of all deliveries.
    percentiles: [f64; 3],
    /// Share of each flow's deliveries that is later than its deadline.
    late: Vec<f64>,
    /// Deliveries and jobs of each flow, and jobs of each group, that fell here.
    delivered: Vec<f64>,
    jobs: Vec<f64>,
    visits: Vec<f64>,
}

/// What a flow did in a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flowed {
    pub published: f64,
    pub failed: f64,
    pub retried: f64,
    /// Events that were put out.
    pub out: f64,
    /// Share of what is published that fails for good.
    pub fails: f64,
    /// Of one publication, on average.
    pub receivers: f64,
    pub jobs_done: f64,
    /// Seconds that a job waits.
    pub lag: f64,
}

/// One step.
pub(super) struct Moment<'a> {
    pub now: f64,
    pub step: f64,
    pub entry: usize,
    pub busy: &'a [f64],
    pub backlogs: &'a [f64],
    pub capacities: &'a [f64],
    pub refused: &'a [f64],
    pub connected: f64,
    pub wanted: f64,
    /// Users who are not connected and want to be, on average over the step.
    pub away: f64,
    pub handshakes: f64,
    pub conflations: &'a [Conflation],
    pub nodes: &'a [State],
    pub flows: Vec<Flowed>,
}

/// However much must all be sent, so much of what a slow reader takes is for what is newest.
const SLOW_MIN: f64 = 0.03;

impl Entry {
    pub fn new(groups: usize) -> Self {
        Self {
            phases: Vec::new(),
            job: vec![0.0; groups],
            busy_max: vec![0.0; groups],
            refuses: vec![0.0; groups],
            percentiles: [0.0; 3],
            late: Vec::new(),
            delivered: Vec::new(),
            jobs: Vec::new(),
            visits: vec![0.0; groups],
        }
    }

    /// Reads what can be read from its latencies, once they are all there.
    ///
    /// `costs` is what its receivers cost, so that of what is conflated only what is sent counts.
    pub fn settle(&mut self, network: &Network, costs: &[f64], published: &[f64], places: &mut Places) {
        let flows = network.flows.len();
        self.late = vec![0.0; flows];
        self.delivered = vec![0.0; flows];
        self.jobs = vec![0.0; flows];
        places.clear();
        for (flow, row) in network.flows.iter().enumerate() {
            let sent = published[flow] * receivers(row, costs[flow]) * network.kept(row);
            for phase in &self.phases {
                let latency = &phase.flows[flow];
                self.late[flow] += latency.share * latency.taken.late;
                let weight = latency.share * sent;
                if weight > 0.0 {
                    places.add_all(&latency.taken.placed, weight);
                }
            }
        }
        self.percentiles = places.quantiles([0.5, 0.95, 0.99]);
    }
}

/// Receivers of one publication, on average.
pub(super) fn receivers(flow: &Flow, growth: f64) -> f64 {
    flow.receivers
        .iter()
        .map(|(count, share)| (count * growth).max(1.0) * share)
        .sum()
}

#[derive(Debug)]
pub(super) struct Books {
    entries: Vec<Entry>,
    last_job: Vec<f64>,
    classes: Vec<ClassOutcome>,
    refused: Vec<f64>,
    stations: Vec<StationOutcome>,
    minutes: Vec<Minute>,
    bad: BadTime,
    wanted_s: f64,
    connected_s: f64,
    connected_max: f64,
    usage: Usage,
    /// Of one event of each flow: bytes that cross zones.
    crossing: Vec<f64>,
    /// Slowest of each hour: when, and the entry.
    worst: Vec<(f64, f64, usize)>,
    handshakes: f64,
    /// Bytes that wait for one slow reader.
    outbox: f64,
    out: Vec<f64>,
    jobs_done: Vec<f64>,
}

impl Books {
    pub fn new(network: &Network, groups: usize) -> Self {
        let named = |flow: &Flow| ClassOutcome {
            name: flow.name.clone(),
            ..ClassOutcome::default()
        };
        Self {
            entries: Vec::new(),
            last_job: vec![0.0; groups],
            classes: network.flows.iter().map(named).collect(),
            refused: vec![0.0; groups],
            stations: network
                .stations
                .iter()
                .map(|station| StationOutcome {
                    name: station.name.clone(),
                    ..StationOutcome::default()
                })
                .collect(),
            minutes: Vec::new(),
            bad: BadTime::default(),
            wanted_s: 0.0,
            connected_s: 0.0,
            connected_max: 0.0,
            usage: Usage::default(),
            crossing: network.flows.iter().map(|flow| crossing(network, flow)).collect(),
            worst: Vec::new(),
            handshakes: 0.0,
            outbox: 0.0,
            out: vec![0.0; network.flows.len()],
            jobs_done: vec![0.0; network.flows.len()],
        }
    }

    pub fn add(&mut self, entry: Entry) -> usize {
        self.entries.push(entry);
        self.entries.len() - 1
    }

    pub fn entry(&self, place: usize) -> &Entry {
        &self.entries[place]
    }

    /// Mean seconds of a job of a group, as it was last.
    pub fn mean_job(&self, group: usize) -> f64 {
        self.last_job[group]
    }

    /// Counts one step.
    pub fn count(&mut self, tables: &Tables, moment: &Moment) {
        let network = tables.network;
        let (now, step) = (moment.now, moment.step);
        let place = (now / 60.0) as usize;
        while self.minutes.len() <= place {
            let stations = network.stations.len();
            self.minutes.push(Minute {
                busy: vec![0.0; stations],
                waiting: vec![0.0; stations],
                machines: vec![0; stations],
                ..Minute::default()
            });
        }
        let entry = &mut self.entries[moment.entry];
        self.last_job.clone_from(&entry.job);
        let minute = &mut self.minutes[place];
        let in_minute = step / 60.0;
        minute.wanted = minute.wanted.max(moment.wanted);
        minute.connected += moment.connected * in_minute;
        if entry.percentiles[1] > minute.latency_s[1] {
            minute.latency_s = entry.percentiles;
        }
        let mut sent = 0.0;
        let (mut failing, mut late, mut wanted) = (0.0, 0.0, 0.0);
        for (flow, flowed) in moment.flows.iter().enumerate() {
            let row = &network.flows[flow];
            let class = &mut self.classes[flow];
            let reach = flowed.out * flowed.receivers;
            let kept = moment.conflations[flow].kept();
            let delivered = reach * kept;
            class.published += flowed.published;
            class.failed += flowed.failed;
            class.retried += flowed.retried;
            class.conflated += reach - delivered;
            class.delivered += delivered;
            class.late += delivered * entry.late[flow];
            entry.delivered[flow] += delivered;
            entry.jobs[flow] += flowed.jobs_done;
            if flowed.jobs_done > 0.0 && flowed.lag > 0.5 {
                // What waits for long does not depend on the rest of its way.
                entry.jobs[flow] -= flowed.jobs_done;
                class.lag_s.record(flowed.lag, flowed.jobs_done);
            }
            self.out[flow] += flowed.out;
            self.jobs_done[flow] += flowed.jobs_done;
            minute.published += flowed.published;
            minute.failed += flowed.failed;
            minute.delivered += delivered;
            let asked = flowed.published * flowed.receivers;
            wanted += asked;
            failing += asked * flowed.fails;
            late += asked * (1.0 - flowed.fails) * entry.late[flow];
            sent += delivered * row.bytes;
            self.usage.interzone_bytes += flowed.out * self.crossing[flow];
            self.usage.queue_jobs += flowed.jobs_done;
            self.usage.messages += flowed.published + delivered;
            if row.durable {
                self.usage.stored_bytes += flowed.out * row.bytes;
            }
            self.bad.requests += flowed.published;
            self.bad.bad_requests += flowed.failed;
        }
        self.usage.egress_bytes += sent;
        let slow_late = self.slow_readers(network, moment);
        let user_s = moment.connected * step;
        let away_s = moment.away * step;
        // An event that fails is missed by as many as one that is late.
        let (refused_share, late_share) = if wanted > 0.0 {
            (failing / wanted, (late + slow_late).min(wanted) / wanted)
        } else {
            (0.0, 0.0)
        };
        let refused_s = user_s * refused_share;
        let late_s = (user_s * late_share).min(user_s - refused_s);
        self.bad.disconnected_s += away_s;
        self.bad.refused_s += refused_s;
        self.bad.late_s += late_s;
        let bad_s = away_s + refused_s + late_s;
        self.minutes[place].bad_s += bad_s;
        if bad_s >= 0.05 * moment.wanted * step && bad_s > 0.0 {
            self.bad.bad_clock_s += step;
        }
        self.wanted_s += moment.wanted * step;
        self.connected_s += user_s;
        self.connected_max = self.connected_max.max(moment.connected);
        self.handshakes += moment.handshakes;
        self.count_stations(tables, moment, place);
        self.count_worst(moment);
    }

    fn count_stations(&mut self, tables: &Tables, moment: &Moment, place: usize) {
        let network = tables.network;
        let minute = &mut self.minutes[place];
        let entry = &mut self.entries[moment.entry];
        for (at, station) in network.stations.iter().enumerate() {
            let group = tables.group_of[at];
            let row = &tables.groups[group];
            let node = &moment.nodes[row.node];
            let busy = moment.busy[group];
            let job = entry.job[group].max(1e-9);
            let rate = busy * moment.capacities[group] / job;
            let waits: f64 = entry
                .phases
                .iter()
                .map(|phase| phase.share * phase.tails[group].mean())
                .sum();
            let waiting = moment.backlogs[group] / job + waits * rate.min(moment.capacities[group] / job);
            let outcome = &mut self.stations[at];
            outcome.busy_share += busy.min(1.0) * node.owned * moment.step;
            outcome.machine_seconds += node.owned * moment.step;
            outcome.waiting_max = outcome.waiting_max.max(waiting);
            minute.busy[at] += (busy.min(1.0) * moment.step / 60.0) as f32;
            minute.waiting[at] = minute.waiting[at].max(waiting as f32);
            minute.machines[at] = node.owned as u32;
            let is_edge = tables.edge == Some(at);
            let held = if is_edge {
                moment.connected / node.working.max(1.0) * node.hot
            } else {
                0.0
            };
            let slow = held * network.slow_readers * self.outbox;
            outcome.memory_max = outcome.memory_max.max(
                station.memory_base + held * station.memory_per_connection + if is_edge { slow } else { 0.0 },
            );
            if tables.leads[at] {
                entry.visits[group] += rate * moment.step;
                let refused = moment.refused[group] * rate * moment.step;
                self.refused[group] += refused;
                if row.timeout.is_some() && row.waiting_max.is_none() {
                    outcome.timed_out += refused;
                } else {
                    outcome.refused += refused;
                }
            }
        }
    }

    /// What those who read slowly miss or get late: deliveries that were due to them and came too late.
    fn slow_readers(&mut self, network: &Network, moment: &Moment) -> f64 {
        let (share, rate) = (network.slow_readers, network.slow_reader_rate.max(1.0));
        let reader_s = moment.connected * moment.step;
        if share <= 0.0 || moment.connected < 1.0 {
            return 0.0;
        }
        // What must all be sent waits in the outbox; what is newest gets the rest.
        let (mut all, mut streams) = (0.0, Vec::new());
        for (flow, flowed) in moment.flows.iter().enumerate() {
            let row = &network.flows[flow];
            let members = flowed.receivers;
            if network.is_conflated(row) {
                let (room_rate, key_rate) = row.rates(members, flowed.published / reader_s);
                streams.push((
                    flow,
                    Stream {
                        bytes: row.bytes,
                        room_rate,
                        key_rate,
                    },
                ));
            } else {
                all += flowed.out * members * row.bytes / reader_s;
            }
        }
        let input = all * moment.step;
        let unread = (self.outbox + input - rate * moment.step).max(0.0);
        let over = (unread - network.outbox_bytes).max(0.0);
        self.outbox = unread - over;
        let full = if input > 0.0 { (over / input).min(1.0) } else { 0.0 };
        let mut late = 0.0;
        if self.outbox > 0.0 {
            let wait = self.outbox / rate;
            for (flow, flowed) in moment.flows.iter().enumerate() {
                let row = &network.flows[flow];
                if network.is_conflated(row) {
                    continue;
                }
                let due = flowed.out * flowed.receivers * share;
                let missed = due * full;
                let class = &mut self.classes[flow];
                if row.coalescible {
                    class.delivered -= missed;
                    class.conflated += missed;
                } else if !row.durable {
                    class.delivered -= missed;
                    class.lost += missed;
                }
                self.usage.egress_bytes -= missed * row.bytes;
                self.entries[moment.entry].delivered[flow] -= due;
                late += self.count_slow(network, flow, &[wait], due - missed, due - missed);
            }
        }
        let left = (rate - all).max(SLOW_MIN * rate);
        let of: Vec<Stream> = streams.iter().map(|&(_, stream)| stream).collect();
        let writes = writes_that_fit(network.conflate_rate, &of, left);
        if writes < network.conflate_rate {
            for (flow, stream) in streams {
                let slow = Conflation::new(writes, stream.room_rate, stream.key_rate);
                let waits: [f64; 16] = std::array::from_fn(|place| {
                    let place = place as f64;
                    // How far it was sent, and how far its window was: each meets each.
                    let sent = (place * 7.0 % 16.0 + 0.5) / 16.0;
                    slow.wait((place + 0.5) / 16.0) + sent / writes
                });
                let due = moment.flows[flow].out * stream.room_rate * reader_s * share
                    / moment.flows[flow].published.max(f64::MIN_POSITIVE);
                let (usual, sent) = (due * moment.conflations[flow].kept(), due * slow.kept());
                let class = &mut self.classes[flow];
                class.delivered -= usual - sent;
                class.conflated += usual - sent;
                self.usage.egress_bytes -= (usual - sent) * network.flows[flow].bytes;
                self.entries[moment.entry].delivered[flow] -= usual;
                late += self.count_slow(network, flow, &waits, sent, due);
            }
        }
        late
    }

    /// Counts deliveries that wait so long, and returns how many of those due are too late.
    fn count_slow(&mut self, network: &Network, flow: usize, waits: &[f64], sent: f64, due: f64) -> f64 {
        let deadline = network.hard_deadline.get(flow).copied().unwrap_or(f64::INFINITY);
        let part = 1.0 / waits.len() as f64;
        let class = &mut self.classes[flow];
        let mut late = 0.0;
        for &wait in waits {
            class.latency_s.record(wait, sent * part);
            if wait > deadline {
                class.late += sent * part;
                late += due * part;
            }
        }
        late
    }

    fn count_worst(&mut self, moment: &Moment) {
        let hour = (moment.now / 3_600.0) as usize;
        if hour >= WORST_MAX {
            return;
        }
        while self.worst.len() <= hour {
            self.worst.push((-1.0, 0.0, 0));
        }
        let slowest = self.entries[moment.entry].percentiles[2];
        if slowest > self.worst[hour].0 {
            self.worst[hour] = (slowest, moment.now, moment.entry);
        }
    }

    /// All of it as an outcome.
    pub fn finish(mut self, tables: &Tables, users: Users, machines: Machines) -> Outcome {
        let network = tables.network;
        self.fill_classes();
        self.fill_stations(tables);
        let worst = self.ledgers(network);
        self.bad.requests += users.connects;
        self.bad.bad_requests += users.failed;
        self.usage.connections_new = self.handshakes;
        self.usage.connection_seconds = self.connected_s;
        Outcome {
            runs: 1,
            length: network.length,
            classes: self.classes,
            stations: self.stations,
            minutes: self.minutes,
            reconnect_s: users.reconnect,
            bad: self.bad,
            wanted_s: self.wanted_s,
            connects: users.connects,
            connects_failed: users.failed,
            connected_mean: self.connected_s / network.length.max(1e-9),
            connected_max: self.connected_max,
            usage: self.usage,
            sampled_share: 0.0,
            visits: 0.0,
            worst,
            marks: machines.marks,
        }
    }

    fn fill_classes(&mut self) {
        for (flow, class) in self.classes.iter_mut().enumerate() {
            let mut sums = [[0.0; STAGES]; 3];
            let (mut latencies, mut lags) = (Places::default(), Places::default());
            for entry in &self.entries {
                for phase in &entry.phases {
                    let latency = &phase.flows[flow];
                    let weight = entry.delivered[flow].max(0.0) * latency.share;
                    if weight > 0.0 {
                        latencies.add_all(&latency.taken.placed, weight / SAMPLES as f64);
                        for (sums, stages) in sums.iter_mut().zip(&latency.taken.stages) {
                            for (sum, stage) in sums.iter_mut().zip(stages) {
                                *sum += weight * stage;
                            }
                        }
                    }
                    let jobs = entry.jobs[flow].max(0.0) * latency.share;
                    if let Some(lag) = latency.lag.as_ref().filter(|_| jobs > 0.0) {
                        lags.add_all(&lag.placed, jobs / SAMPLES as f64);
                    }
                }
            }
            latencies.put_into(&mut class.latency_s);
            lags.put_into(&mut class.lag_s);
            class.waits = Stage::ALL
                .iter()
                .enumerate()
                .map(|(place, &stage)| StageWait {
                    stage,
                    all_s: sums[0][place],
                    near_p95_s: sums[1][place],
                    beyond_p99_s: sums[2][place],
                })
                .collect();
        }
    }

    fn fill_stations(&mut self, tables: &Tables) {
        /// Slices a tail is counted in.
        const SLICES: u32 = 20;
        const KEPT: f64 = 0.75;
        /// -ln 0.75, and the mean of an exponential up to there: 1 - x / (e^x - 1).
        const LN_KEPT: f64 = 0.287_682_072_451_780_9;
        const SLICE_MEAN: f64 = 0.136_953_782_644_657_3;
        let network = tables.network;
        let machines: Vec<f64> = tables.nodes.iter().map(|node| f64::from(node.machines)).collect();
        let warm = vec![1.0; network.stations.len()];
        let mut visits = vec![0.0; network.stations.len()];
        for (flow, row) in network.flows.iter().enumerate() {
            for (steps, events) in [(&row.steps, self.out[flow]), (&row.aside, self.jobs_done[flow])] {
                for step in steps {
                    let node = tables.groups[tables.group(step)].node;
                    visits[step.station.0 as usize] +=
                        events * share_of(step, &warm) * copies(step, row, machines[node]);
                }
            }
        }
        for step in &network.connect {
            visits[step.station.0 as usize] += self.handshakes * share_of(step, &warm);
        }
        for (at, outcome) in self.stations.iter_mut().enumerate() {
            let group = tables.group_of[at];
            let mut waits = Places::default();
            outcome.visits = visits[at];
            if outcome.machine_seconds > 0.0 {
                outcome.busy_share /= outcome.machine_seconds;
            }
            let mut busy: Vec<f32> = self.minutes.iter().map(|minute| minute.busy[at]).collect();
            busy.sort_by(f32::total_cmp);
            let rank = |share: f64| {
                busy.get(((busy.len() as f64 * share) as usize).min(busy.len().saturating_sub(1)))
            };
            outcome.busy_p99_minute = rank(0.99).map_or(0.0, |&busy| f64::from(busy));
            outcome.busy_max_minute = rank(1.0).map_or(0.0, |&busy| f64::from(busy));
            for entry in &self.entries {
                for phase in &entry.phases {
                    let weight = entry.visits[group] * phase.share;
                    if weight <= 0.0 {
                        continue;
                    }
                    let (tail, backlog) = (phase.tails[group], phase.waits[group]);
                    waits.add(backlog, weight * (1.0 - tail.waits));
                    if tail.waits <= 1e-6 {
                        continue;
                    }
                    // Slices of an exponential: each has three quarters of what is left, and its mean.
                    let mut left = weight * tail.waits;
                    for slice in 0..SLICES {
                        let part = if slice + 1 < SLICES {
                            left * (1.0 - KEPT)
                        } else {
                            left
                        };
                        let means =
                            f64::from(slice) * LN_KEPT + if slice + 1 < SLICES { SLICE_MEAN } else { 1.0 };
                        waits.add(backlog + means / tail.falls, part);
                        left -= part;
                    }
                }
            }
            waits.put_into(&mut outcome.wait_s);
        }
    }

    /// The slowest sample of each hour's slowest moment, slowest first.
    fn ledgers(&self, network: &Network) -> Vec<Ledger> {
        let mut ledgers = Vec::new();
        for &(slowest, at, place) in &self.worst {
            let Some(entry) = self.entries.get(place).filter(|_| slowest > 0.0) else {
                continue;
            };
            let worst = entry
                .phases
                .iter()
                .flat_map(|phase| phase.flows.iter().enumerate())
                .filter(|(_, latency)| latency.share > 0.0)
                .map(|(flow, latency)| (latency.slowest.iter().flatten().sum::<f64>(), flow, latency))
                .max_by(|a, b| a.0.total_cmp(&b.0));
            let Some((latency_s, flow, latency)) = worst else {
                continue;
            };
            let row = &network.flows[flow];
            let stays = Stage::ALL
                .iter()
                .zip(&latency.slowest)
                .filter(|(_, [waited, served])| waited + served > 0.0)
                .map(|(&stage, &[waited_s, served_s])| {
                    let station = row
                        .steps
                        .iter()
                        .map(|step| step.station.0)
                        .find(|&station| network.stations[station as usize].stage == stage);
                    Stay {
                        stage,
                        station,
                        waited_s,
                        served_s,
                        ahead: 0,
                    }
                })
                .collect();
            ledgers.push(Ledger {
                at_s: at,
                class: flow as u32,
                latency_s,
                receivers: row.receivers_max,
                stays,
            });
        }
        ledgers.sort_by(|a, b| b.latency_s.total_cmp(&a.latency_s));
        ledgers.truncate(WORST_MAX);
        ledgers
    }
}

/// Machines that one event visits at a step.
fn copies(step: &Step, flow: &Flow, machines: f64) -> f64 {
    match step.machine {
        Machine::Receivers => flow
            .receivers
            .iter()
            .map(|(count, share)| share * machines_hit(machines, *count))
            .sum(),
        Machine::Any | Machine::Home | Machine::Room => 1.0,
    }
}

/// Bytes of one event that go from one zone to another, on average: the way from the user to the first node is none.
fn crossing(network: &Network, flow: &Flow) -> f64 {
    let warm = vec![1.0; network.stations.len()];
    let mut bytes = 0.0;
    for step in flow.steps.iter().skip(1).chain(&flow.aside) {
        let station = &network.stations[step.station.0 as usize];
        let copies = copies(step, flow, f64::from(station.machines));
        let zones = f64::from(station.zones.max(1).min(station.machines.max(1)));
        bytes += flow.bytes * share_of(step, &warm) * copies * (1.0 - 1.0 / zones);
    }
    bytes
}

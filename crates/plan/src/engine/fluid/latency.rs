//! How long a delivery takes: the distributions of all stages, convolved by stratified samples.
//!
//! Each part of a way (the network, a hop, a service, a wait) is cut into [`SAMPLES`] strata of equal weight, and the
//! strata are put together by a lattice (N. Korobov, 1959), so that each two parts meet evenly. The sums are a sample
//! of the convolution that has each part's own distribution whole; a percentile is read from them, and no percentiles are
//! ever added. What does not depend on the load is summed once; for a load only the waits are added.

use std::{array, sync::LazyLock};

use super::{
    places::{Counts, Placed},
    tables::{Tables, machines_hit, place_of, share_of},
};
use crate::network::{Flow, Law, Machine, Stage, Step};

/// Strata of each part: a prime.
pub(super) const SAMPLES: usize = 509;
/// Less than the share of half a stratum.
const WAITS_MIN: f64 = 0.499 / SAMPLES as f64;
/// The lattice: of those with this prime, no two of the first 28 parts meet more evenly in the worst case.
const GENERATOR: usize = 472;
pub(super) const STAGES: usize = Stage::ALL.len();

/// Waits of one group at one load: the share that waits, and the rate at which the tail falls.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tail {
    pub waits: f64,
    pub falls: f64,
}

impl Tail {
    pub fn mean(self) -> f64 {
        if self.falls > 0.0 {
            self.waits / self.falls
        } else {
            0.0
        }
    }
}

/// A wait on the way.
#[derive(Debug)]
struct Visit {
    group: usize,
    stage: usize,
    /// Its strata: logarithms of the places from the top; above those, the visit is not made.
    ln_above: Vec<f64>,
    /// Seconds of the fan-out that grow with the rooms; empty if they do not.
    growing: Vec<f64>,
}

/// The wait of one visit at one load: (least logarithm - place's) / falls, and what waits there already.
struct Wait<'a> {
    visit: &'a Visit,
    ln_waits: f64,
    per_ln: f64,
    backlog: f64,
    growth: f64,
}

impl Wait<'_> {
    fn waited(&self, sample: usize) -> f64 {
        (self.ln_waits - self.visit.ln_above[sample]).max(0.0) * self.per_ln + self.backlog
    }

    /// Adds it to the seconds of each sample; returns the sum of what was added.
    fn put_into(&self, seconds: &mut [f64]) -> f64 {
        /// Side by side, as the processor adds them: the order of the sums is the same on every machine.
        const LANES: usize = 4;
        let mut sums = [0.0; LANES];
        let (seconds_of, seconds_left) = seconds.as_chunks_mut::<LANES>();
        let (ln_above_of, ln_above_left) = self.visit.ln_above.as_chunks::<LANES>();
        let wait = |ln_above: f64| {
            let above = self.ln_waits - ln_above;
            (if above > 0.0 { above } else { 0.0 }) * self.per_ln + self.backlog
        };
        for (seconds, ln_above) in seconds_of.iter_mut().zip(ln_above_of) {
            for lane in 0..LANES {
                let more = wait(ln_above[lane]);
                seconds[lane] += more;
                sums[lane] += more;
            }
        }
        for (seconds, &ln_above) in seconds_left.iter_mut().zip(ln_above_left) {
            let more = wait(ln_above);
            *seconds += more;
            sums[0] += more;
        }
        let mut sum: f64 = sums.iter().sum();
        for (seconds, growing) in seconds.iter_mut().zip(&self.visit.growing) {
            let more = growing * self.growth;
            *seconds += more;
            sum += more;
        }
        sum
    }

    fn grown(&self, sample: usize) -> f64 {
        self.visit
            .growing
            .get(sample)
            .map_or(0.0, |seconds| seconds * self.growth)
    }
}

/// One way, ready to be asked for its latency.
#[derive(Debug)]
pub(super) struct Way {
    /// What does not depend on the load: of each sample, and of each of its stages.
    fixed: Vec<f64>,
    stages: Vec<[f64; STAGES]>,
    stages_mean: [f64; STAGES],
    visits: Vec<Visit>,
    pub receivers: Vec<f64>,
}

/// What a load makes of a way.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    /// How long its samples take.
    pub placed: Placed,
    /// Share of them that is later than the deadline.
    pub late: f64,
    /// The sample that takes longest.
    pub slowest: usize,
    /// Means by stage: of all, of those between the 93rd and 97th percentile, of those above the 99th.
    pub stages: [[f64; STAGES]; 3],
}

/// What a way meets: the waits of each group, the seconds in its backlog, and how far rooms have grown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load<'a> {
    pub tails: &'a [Tail],
    pub backlogs: &'a [f64],
    pub growth: f64,
}

/// What else is met, of all ways alike.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meets {
    /// Share that is lost on a link, and sent again.
    pub loss: f64,
    /// Seconds.
    pub deadline: f64,
}

impl Meets {
    pub const NOTHING: Self = Self {
        loss: 0.0,
        deadline: f64::INFINITY,
    };
}

/// Longest wait that TCP adds to what was lost once: its least timeout before it sends again.
const RESEND: f64 = 0.2;

impl Way {
    /// A way over these steps; of a flow's deliveries if there is one, else of jobs.
    pub fn new(tables: &Tables, steps: &[Step], flow: Option<&Flow>, machines: &[f64], warm: &[f64]) -> Self {
        let mut way = Self {
            fixed: vec![0.0; SAMPLES],
            stages: vec![[0.0; STAGES]; SAMPLES],
            stages_mean: [0.0; STAGES],
            visits: Vec::new(),
            receivers: vec![1.0; SAMPLES],
        };
        let mut turn = 1;
        let mut strata = || {
            turn = turn * GENERATOR % SAMPLES;
            Strata { turn }
        };
        if let Some(flow) = flow {
            let (up, down, which) = (strata(), strata(), strata());
            way.add(Stage::Uplink, tables.network.network, up);
            way.add(Stage::Downlink, tables.network.network, down);
            way.draw_receivers(flow, which);
            if tables.network.is_conflated(flow) {
                let conflation = tables.network.conflation(flow, flow.receivers_mean(), flow.rate);
                let waits = strata();
                for sample in 0..SAMPLES {
                    way.put(sample, Stage::Outbox, conflation.wait(place(waits.of(sample))));
                }
            }
        }
        for step in steps {
            let (travel, service, wait, position) = (strata(), strata(), strata(), strata());
            let share = share_of(step, warm);
            let station = &tables.network.stations[step.station.0 as usize];
            // The part of the strata that makes the visit, spread over all of its own.
            let makes = |sample: usize| place(service.of(sample)) < share;
            let travels = quantiles(step.travel, 1.0);
            let services = quantiles(step.service, share);
            let grows =
                flow.is_some_and(|flow| flow.receivers_at > 0.0) && step.machine == Machine::Receivers;
            let mut growing = vec![0.0; if grows { SAMPLES } else { 0 }];
            for sample in (0..SAMPLES).filter(|&sample| makes(sample)) {
                way.put(sample, step.travel_stage, travels[travel.of(sample)]);
                let mut seconds = services[service.of(sample)];
                if step.machine == Machine::Receivers && flow.is_some() {
                    let node = tables.groups[tables.group(step)].node;
                    let receivers = way.receivers[sample];
                    let all = receivers / machines_hit(machines[node], receivers) * step.per_receiver;
                    let position = place(position.of(sample));
                    match growing.get_mut(sample) {
                        Some(growing) => *growing = position * all,
                        None => seconds += position * all,
                    }
                }
                way.put(sample, station.stage, seconds);
            }
            let ln_above = (0..SAMPLES)
                .map(|sample| {
                    if makes(sample) {
                        LN_ABOVE[wait.of(sample)]
                    } else {
                        0.0
                    }
                })
                .collect();
            way.visits.push(Visit {
                group: tables.group(step),
                stage: place_of(station.stage),
                ln_above,
                growing,
            });
        }
        for stages in &way.stages {
            for (mean, stage) in way.stages_mean.iter_mut().zip(stages) {
                *mean += stage / SAMPLES as f64;
            }
        }
        way
    }

    fn add(&mut self, stage: Stage, law: Law, strata: Strata) {
        let quantiles = quantiles(law, 1.0);
        for sample in 0..SAMPLES {
            self.put(sample, stage, quantiles[strata.of(sample)]);
        }
    }

    fn put(&mut self, sample: usize, stage: Stage, seconds: f64) {
        self.fixed[sample] += seconds;
        self.stages[sample][place_of(stage)] += seconds;
    }

    /// Rooms as a delivery meets them: more often the large ones.
    fn draw_receivers(&mut self, flow: &Flow, strata: Strata) {
        let all: f64 = flow.receivers.iter().map(|(count, share)| count * share).sum();
        for sample in 0..SAMPLES {
            let place = place(strata.of(sample));
            let mut below = 0.0;
            for &(count, share) in &flow.receivers {
                self.receivers[sample] = count;
                below += count * share / all.max(f64::MIN_POSITIVE);
                if place < below {
                    break;
                }
            }
        }
    }

    /// The waits that are felt at a load: in each group, in its backlog, and of rooms that have grown.
    fn waits(&self, load: Load) -> Vec<Wait<'_>> {
        self.visits
            .iter()
            .filter_map(|visit| {
                let (tail, backlog) = (load.tails[visit.group], load.backlogs[visit.group]);
                // Of fewer than the last stratum is none of the samples that waits.
                let waits = tail.waits > WAITS_MIN && tail.falls > 0.0;
                (waits || backlog > 0.0 || !visit.growing.is_empty()).then(|| Wait {
                    visit,
                    ln_waits: if waits {
                        libm::log(tail.waits)
                    } else {
                        f64::NEG_INFINITY
                    },
                    per_ln: if waits { 1.0 / tail.falls } else { 0.0 },
                    backlog,
                    growth: load.growth,
                })
            })
            .map(|wait| match wait.per_ln {
                // Infinity by nothing is not a number.
                0.0 => Wait {
                    ln_waits: f64::MIN,
                    ..wait
                },
                _ => wait,
            })
            .collect()
    }

    /// Latencies at a load.
    pub fn take(&self, load: Load, meets: Meets, counts: &mut Counts) -> Taken {
        let mut seconds = self.fixed.clone();
        let waits = self.waits(load);
        let weight = 1.0 / SAMPLES as f64;
        let mut stages = [self.stages_mean, [0.0; STAGES], [0.0; STAGES]];
        for wait in &waits {
            stages[0][wait.visit.stage] += wait.put_into(&mut seconds) * weight;
        }
        let mut placed = counts.place(&seconds);
        let [low, high, top] = placed.quantiles([0.93, 0.97, 0.99]);
        let mut slowest = 0;
        for (sample, &total) in seconds.iter().enumerate() {
            // Nearly all are below.
            if total < low {
                continue;
            }
            if total >= seconds[slowest] {
                slowest = sample;
            }
            for (set, is_in) in [(1, total <= high), (2, total >= top)] {
                if !is_in {
                    continue;
                }
                for (sum, stage) in stages[set].iter_mut().zip(&self.stages[sample]) {
                    *sum += stage * weight;
                }
                for wait in &waits {
                    stages[set][wait.visit.stage] += (wait.waited(sample) + wait.grown(sample)) * weight;
                }
            }
        }
        // The samples are in no order of their times.
        let lost = ((meets.loss * SAMPLES as f64) as usize).min(SAMPLES);
        if lost > 0 {
            seconds[..lost].iter_mut().for_each(|seconds| *seconds += RESEND);
            placed = counts.place(&seconds);
        }
        let is_late = |seconds: &&f64| **seconds > meets.deadline;
        let late = if meets.deadline < f64::INFINITY {
            seconds.iter().filter(is_late).count()
        } else {
            0
        };
        Taken {
            placed,
            late: late as f64 * weight,
            slowest,
            stages,
        }
    }

    /// Of one sample: waits and services, by stage.
    pub fn stays(&self, sample: usize, load: Load) -> [[f64; 2]; STAGES] {
        let mut stays = [[0.0; 2]; STAGES];
        for (stay, served) in stays.iter_mut().zip(self.stages[sample]) {
            stay[1] = served;
        }
        for wait in self.waits(load) {
            stays[wait.visit.stage][0] += wait.waited(sample);
            stays[wait.visit.stage][1] += wait.grown(sample);
        }
        stays
    }
}

/// Which stratum of a part each sample has: so many further from one to the next.
#[derive(Debug, Clone, Copy)]
struct Strata {
    turn: usize,
}

impl Strata {
    fn of(self, sample: usize) -> usize {
        sample * self.turn % SAMPLES
    }
}

/// The middle of a stratum.
fn place(stratum: usize) -> f64 {
    (stratum as f64 + 0.5) / SAMPLES as f64
}

/// Logarithms of the strata's places from the top.
static LN_ABOVE: LazyLock<[f64; SAMPLES]> =
    LazyLock::new(|| array::from_fn(|stratum| libm::log(1.0 - place(stratum))));
static NORMAL: LazyLock<[f64; SAMPLES]> =
    LazyLock::new(|| array::from_fn(|stratum| normal_quantile(place(stratum))));

/// The times of a law in the middles of the strata of the lowest share of them all.
fn quantiles(law: Law, share: f64) -> Vec<f64> {
    if share < 1.0 {
        let within = |stratum| (place(stratum) / share.max(f64::MIN_POSITIVE)).min(1.0 - f64::EPSILON);
        return (0..SAMPLES)
            .map(|stratum| quantile(law, within(stratum)))
            .collect();
    }
    match law {
        Law::Exponential { mean } => LN_ABOVE.iter().map(|ln| -mean * ln).collect(),
        Law::Lognormal { mean, cv2 } => {
            let sigma2 = libm::log1p(cv2);
            let sigma = libm::sqrt(sigma2);
            let at = |normal: &f64| mean * libm::exp(sigma * normal - sigma2 / 2.0);
            NORMAL.iter().map(at).collect()
        }
        Law::Zero | Law::Fixed { .. } | Law::Uniform { .. } => (0..SAMPLES)
            .map(|stratum| quantile(law, place(stratum)))
            .collect(),
    }
}

/// The time of a law that a share of all, above 0 and below 1, stays within.
pub(super) fn quantile(law: Law, share: f64) -> f64 {
    match law {
        Law::Zero => 0.0,
        Law::Fixed { mean } => mean,
        Law::Exponential { mean } => -mean * libm::log(1.0 - share),
        Law::Lognormal { mean, cv2 } => {
            let sigma2 = libm::log1p(cv2);
            mean * libm::exp(libm::sqrt(sigma2) * normal_quantile(share) - sigma2 / 2.0)
        }
        Law::Uniform { max } => max * share,
    }
}

/// The quantile of the standard normal, to one part in 10^9: P. Acklam's fractions (2003).
#[expect(clippy::excessive_precision, reason = "as they were published")]
fn normal_quantile(share: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_690e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 6] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 5] = [
        7.784_695_709_041_462e-3,
        3.224_671_290_700_398e-1,
        2.445_134_137_142_996,
        3.754_408_661_907_416,
        1.0,
    ];
    let along = |x: f64, of: &[f64]| of.iter().fold(0.0, |sum, &each| sum * x + each);
    if share < 0.024_25 {
        let q = libm::sqrt(-2.0 * libm::log(share));
        along(q, &C) / along(q, &D)
    } else if share > 1.0 - 0.024_25 {
        -normal_quantile(1.0 - share)
    } else {
        let q = share - 0.5;
        q * along(q * q, &A) / along(q * q, &B)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laws_have_their_quantiles() {
        assert!((normal_quantile(0.95) - 1.644_853_627).abs() < 1e-8);
        assert!((quantile(Law::Exponential { mean: 2.0 }, 0.5) - 1.386_294_361).abs() < 1e-9);
        let law = Law::Lognormal { mean: 3.0, cv2: 2.0 };
        let mean = quantiles(law, 1.0).iter().sum::<f64>() / SAMPLES as f64;
        assert!((mean / 3.0 - 1.0).abs() < 0.02, "{mean}");
    }

    #[test]
    fn all_strata_have_the_quantiles_of_their_places() {
        for law in [
            Law::Zero,
            Law::Fixed { mean: 2.0 },
            Law::Exponential { mean: 2.0 },
            Law::Lognormal { mean: 3.0, cv2: 2.0 },
            Law::Uniform { max: 4.0 },
        ] {
            for (stratum, seconds) in quantiles(law, 1.0).into_iter().enumerate() {
                assert!((seconds - quantile(law, place(stratum))).abs() < 1e-12, "{law:?}");
            }
            // Of a half, the last stratum within it has what is just below the top.
            let half = quantiles(law, 0.5);
            assert_eq!(half[SAMPLES / 2 - 1], quantile(law, place(SAMPLES / 2 - 1) / 0.5));
        }
    }

    #[test]
    fn strata_are_each_met_once() {
        for turn in [1, 5, GENERATOR] {
            let mut held = [false; SAMPLES];
            (0..SAMPLES).for_each(|sample| held[Strata { turn }.of(sample)] = true);
            assert!(held.into_iter().all(|held| held), "{turn}");
        }
    }
}

//! What comes within seconds: no scaling is that quick, so that it must find room.

use super::{
    Found, Severity,
    facts::{Facts, many, share_of, working},
};
use crate::{judge::words::time, network::Flow, plan::Burst};

/// The 95th percentile of the standard normal.
const NORMAL_P95: f64 = 1.644_853_626_951_472_7;
/// Looks at a burst, over twice its 95th percentile.
const STEPS: u32 = 400;
/// A line that is this part of a latency is told.
const SHOWS: f64 = 0.25;

/// A part of L08: a burst that is over before a machine could come.
pub(super) fn too_quick(facts: &Facts<'_>, found: &mut Found) {
    for burst in &facts.plan.scenario.bursts {
        let Burst::Cluster {
            at_hours,
            per_hour,
            share,
            delay_p50,
            delay_p95,
            class,
        } = burst
        else {
            continue;
        };
        let network = facts.network();
        let Some(flow) = network.flows.iter().find(|flow| flow.name == *class) else {
            continue;
        };
        let at = at_hours.iter().map(|hour| network.users_at(hour * 3_600.0));
        let users = match *per_hour > 0.0 {
            true => facts.peak(),
            false => at.fold(0.0, f64::max),
        };
        let reacts = users * share;
        let limit = facts.strictest_of(class);
        for (place, node) in facts.nodes() {
            if facts.is_managed(place) || !limit.is_finite() {
                continue;
            }
            let Some(tier) = Tier::of(facts, flow, place) else {
                continue;
            };
            let (most, wait) = tier.meet(reacts, *delay_p50, *delay_p95);
            if wait <= SHOWS * limit {
                continue;
            }
            let severity = match wait > limit {
                true => Severity::Error,
                false => Severity::Warning,
            };
            let evidence = format!(
                "{} of `{class}` come within {}, {} a second at most, and `{}` can do {} of them beside all else: the last wait {} of \
                 the {} that were promised, and no machine is started that quickly",
                many(reacts),
                time(*delay_p95),
                many(most),
                node.id,
                many(tier.a_second()),
                time(wait),
                time(limit)
            );
            let grow = libm::ceil(f64::from(tier.machines) * most / tier.a_second().max(1e-9)) as u32;
            let fix = match tier.is_one {
                true => format!(
                    "a larger `size` of `{}`, or a stream before it, so that only what must be at once is done at once",
                    node.id
                ),
                false => format!(
                    "have them there before: `count = {}`",
                    grow.max(tier.machines + 1)
                ),
            };
            found
                .note(severity, evidence, fix)
                .at_node(&node.id, if tier.is_one { "size" } else { "count" })
                .at_class(class, "rate");
        }
    }
}

/// What a tier does of one class.
struct Tier {
    machines: u32,
    /// Only one of its machines works.
    is_one: bool,
    /// Seconds of its servers a second that are free, and that there are.
    free: f64,
    servers: f64,
    /// Of one event.
    work: f64,
}

impl Tier {
    fn of(facts: &Facts<'_>, flow: &Flow, place: usize) -> Option<Self> {
        let network = facts.network();
        let mut tier: Option<Self> = None;
        for step in &flow.steps {
            let at = step.station.0 as usize;
            let station = &network.stations[at];
            if station.node as usize != place || station.group as usize != place {
                continue;
            }
            let servers = f64::from(working(station)) * f64::from(station.servers);
            let tier = tier.get_or_insert(Self {
                machines: working(station),
                is_one: station.takeover.is_some(),
                free: servers * (1.0 - facts.outcome().stations[at].busy_share),
                servers,
                work: 0.0,
            });
            let receivers = step.per_receiver * flow.receivers_mean();
            tier.work += share_of(step.share) * (step.service.mean() + receivers);
        }
        tier.filter(|tier| tier.work > 0.0 && tier.servers > 0.0)
    }

    fn a_second(&self) -> f64 {
        self.free / self.work
    }

    /// So many come, each after a lognormal delay: how many in the busiest second, and how long the last of the line wait.
    fn meet(&self, reacts: f64, p50: f64, p95: f64) -> (f64, f64) {
        let (p50, p95) = (p50.max(0.01), p95.max(0.02));
        let sigma = (libm::log(p95 / p50) / NORMAL_P95).clamp(0.01, 3.0);
        let came = |at: f64| match at > 0.0 {
            true => 0.5 * (1.0 + libm::erf(libm::log(at / p50) / (sigma * core::f64::consts::SQRT_2))),
            false => 0.0,
        };
        let step = 2.0 * p95 / f64::from(STEPS);
        let (mut line, mut longest, mut most) = (0.0_f64, 0.0_f64, 0.0_f64);
        for number in 0..STEPS {
            let at = f64::from(number) * step;
            let comes = reacts * (came(at + step) - came(at));
            most = most.max(comes / step);
            line = (line + comes * self.work - self.free * step).max(0.0);
            longest = longest.max(line);
        }
        (most, longest / self.free.max(1e-9))
    }
}

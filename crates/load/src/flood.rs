//! More than the server takes: what it takes at most, then a multiple of that, then what it took before.
//!
//! ```text
//!   unloaded   the base rate: p99 of acknowledgements
//!   search     half as much again at a time, then half the way, to the most that is acknowledged while
//!              p99 stays below three times that of the unloaded: the peak
//!   flood      a multiple of the peak, open loop: `retry_after_ms` is noted, and not obeyed
//!   after      the base rate again, in tenths of a second: when it is as it was
//! ```
//!
//! Nothing here knows the machine: rates follow from what was measured in the same run.

use std::time::Duration;

use crate::{
    LoadError, Target,
    crew::Crew,
    plan::Plan,
    report::{Report, ms},
    swarm::SLOT_NS,
    tally::Slot,
    workload::{Used, Watch, finish},
};

const UNLOADED: usize = 0;
const SEARCH: usize = 1;
const FLOOD: usize = 2;
const AFTER: usize = 3;

/// One step of the search, and the factor to the next; it ends when the best is known as well as that.
const STEP: Duration = Duration::from_secs(3);
const FACTOR: f64 = 1.5;
const PRECISION: f64 = 1.06;
/// A step whose acknowledgements are below this share of what was sent is past the peak, and so is one whose p99 is
/// above so many times the unloaded: what comes later is of no use.
const FOLLOWS: f64 = 0.95;
const LATE: u64 = 3;
const STEPS_MAX: usize = 32;
/// A step that does not hold is tried again: a moment of the machine's own must not end the search.
const TRIES: usize = 3;
/// The search turns back when so many rates did not hold, each above the last: one of them may be the machine's, too.
const FAILED_MAX: usize = 2;
/// After the flood.
const CALM: Duration = Duration::from_secs(5);
/// Slots in a row that must be as before for it to be normal.
const NORMAL_SLOTS: usize = 3;

/// Publications a second in a play, sent and acknowledged while it lasted.
struct Goodput {
    offered: f64,
    acknowledged: f64,
    /// Of all that was acknowledged, also after that.
    p99_us: u64,
}

impl Goodput {
    fn print(&self, holds: bool) {
        let verdict = if holds { "holds" } else { "too much" };
        eprintln!(
            "{:>9.0}/s offered, {:>9.0}/s acknowledged, p99 {:.1} ms: {verdict}",
            self.offered,
            self.acknowledged,
            self.p99_us as f64 / 1_000.0,
        );
    }
}

/// Floods with so many times the peak.
pub(crate) fn flood(target: &Target, plan: Plan, multiple: f64) -> Result<Report, LoadError> {
    let base = 1e9 / plan.streams[0].schedule.interval_ns;
    let mut crew = Crew::gather(target, plan)?;
    crew.open()?;
    let watch = Watch::begin(target);
    let unloaded = measure(&mut crew, UNLOADED, base, target.seconds)?;
    let limit_us = unloaded.p99_us * LATE;
    let peak = search(&mut crew, target, base, limit_us)?;
    let offered = peak * multiple;
    eprintln!("{offered:>9.0}/s offered: the flood");
    // As long as it takes for whatever is meant to settle: at full length only what lasts is seen.
    let flood = play(&mut crew, FLOOD, offered, target.seconds)?;
    let memory = watch.memory();
    // Without a pause: the server is to come back by itself.
    crew.play_at(CALM, AFTER, vec![1e9 / base])?;
    crew.settle()?;
    let used = Used {
        memory,
        ..watch.used()
    };
    let elapsed = target.seconds * 2 + CALM;
    let (mut report, tally) = finish(crew, used, elapsed)?;
    let answers = &tally.answers[0];
    let unloaded_p99 = ms(&answers.ack_us[UNLOADED], 0.99);
    let admitted_p99 = ms(&answers.ack_us[FLOOD], 0.99);
    report.figures.extend([
        ("unloaded_p99_ms", unloaded_p99),
        ("peak_per_second", peak),
        ("offered_per_second", flood.offered),
        ("goodput_per_second", flood.acknowledged),
        ("goodput_to_peak", flood.acknowledged / peak.max(1.0)),
        ("admitted_p99_ms", admitted_p99),
        ("admitted_to_unloaded_p99", admitted_p99 / unloaded_p99.max(1e-9)),
        ("reject_p50_ms", ms(&answers.reject_us[FLOOD], 0.5)),
        ("reject_p99_ms", ms(&answers.reject_us[FLOOD], 0.99)),
        (
            "retry_after_p50_ms",
            answers.retry_after_ms.value_at_quantile(0.5) as f64,
        ),
        ("retry_after_max_ms", answers.retry_after_ms.max() as f64),
    ]);
    let normal = seconds_until_normal(&tally.slots, limit_us);
    // A server that is not normal again within the time is told as one that takes longer than that.
    let normal = normal.unwrap_or(CALM.as_secs_f64() + 1.0);
    report.figures.push(("seconds_until_normal", normal));
    report.print(target.json);
    Ok(report)
}

/// The most that was acknowledged a second, none of it too late.
fn search(crew: &mut Crew, target: &Target, base: f64, limit_us: u64) -> Result<f64, LoadError> {
    let (mut good, mut bad, mut peak) = (0.0, f64::INFINITY, 0.0);
    let (mut rate, mut failed) = (base, 0);
    for _ in 0..STEPS_MAX {
        match try_rate(crew, target, rate, limit_us)? {
            Some(acknowledged) => {
                peak = f64::max(peak, acknowledged);
                good = rate;
                if rate > bad {
                    // What failed below was a moment of the machine's own.
                    (bad, failed) = (f64::INFINITY, 0);
                }
            }
            None => {
                bad = f64::min(bad, rate);
                failed += 1;
            }
        }
        if bad / f64::max(good, 1.0) < PRECISION {
            break;
        }
        rate = match failed {
            0..FAILED_MAX => rate * FACTOR,
            _ if good > 0.0 => (good * bad).sqrt(),
            _ => bad / FACTOR,
        };
    }
    match peak > 0.0 {
        true => Ok(peak),
        false => Err(LoadError::Server(format!("does not hold {rate:.0}/s"))),
    }
}

/// What is acknowledged a second at a rate, if that holds in one of some tries.
fn try_rate(crew: &mut Crew, target: &Target, rate: f64, limit_us: u64) -> Result<Option<f64>, LoadError> {
    for _ in 0..TRIES {
        let step = measure(crew, SEARCH, rate, STEP)?;
        let holds = step.acknowledged >= step.offered * FOLLOWS && step.p99_us <= limit_us;
        if !target.json {
            step.print(holds);
        }
        if holds {
            return Ok(Some(step.acknowledged));
        }
    }
    Ok(None)
}

/// Plays at a rate, and waits for what is left of it.
fn measure(crew: &mut Crew, phase: usize, rate: f64, time: Duration) -> Result<Goodput, LoadError> {
    let mut goodput = play(crew, phase, rate, time)?;
    crew.drain(Duration::from_secs(3), Duration::from_secs(20))?;
    goodput.p99_us = crew.status().ack_p99_us;
    Ok(goodput)
}

fn play(crew: &mut Crew, phase: usize, rate: f64, time: Duration) -> Result<Goodput, LoadError> {
    let before = crew.status();
    let elapsed = crew.play_at(time, phase, vec![1e9 / rate])?;
    let after = crew.status();
    let per_second = |count: u64| count as f64 / elapsed.as_secs_f64();
    Ok(Goodput {
        offered: per_second(after.sent() - before.sent()),
        acknowledged: per_second(after.acknowledged() - before.acknowledged()),
        p99_us: after.ack_p99_us,
    })
}

/// When the first of several tenths of a second begins in which nothing was rejected, and p95 was not above the limit.
fn seconds_until_normal(slots: &[Slot], limit_us: u64) -> Option<f64> {
    let is_normal = |slot: &Slot| {
        slot.rejected == 0 && !slot.ack_us.is_empty() && slot.ack_us.value_at_quantile(0.95) <= limit_us
    };
    let place = slots
        .windows(NORMAL_SLOTS)
        .position(|slots| slots.iter().all(is_normal))?;
    Some(place as f64 * SLOT_NS as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_normal_when_several_tenths_in_a_row_are() {
        let slot = |us: u64, rejected: u64| {
            let mut slot = Slot {
                rejected,
                ..Slot::default()
            };
            slot.ack_us.record(us).unwrap();
            slot
        };
        let normal = slot(900, 0);
        let slots = [
            slot(50_000, 0),
            normal.clone(),
            slot(900, 1),
            normal.clone(),
            normal.clone(),
            normal.clone(),
        ];
        assert_eq!(seconds_until_normal(&slots, 1_000), Some(0.3));
        assert_eq!(seconds_until_normal(&slots[..5], 1_000), None);
        assert_eq!(seconds_until_normal(&[], 1_000), None);
        assert_eq!(seconds_until_normal(&slots, 100_000), Some(0.3));
    }
}

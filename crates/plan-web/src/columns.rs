//! The minutes of a run as columns, which is what charts draw.
//!
//! A chart has no more places than a screen: longer runs are binned. A bin shows the mean of what is counted,
//! and the worst of what hurts, so that a bad minute is never averaged away.

use serde::Serialize;
use tidegate_plan::{Outcome, outcome::Minute};

/// Points of one line.
const POINTS_MAX: usize = 4_000;

/// See the module. `f32` is for the eye; nothing computes with it.
#[derive(Debug, Default, Serialize)]
pub struct Columns {
    /// The hour at which each bin ends.
    pub hours: Vec<f32>,
    pub wanted: Vec<f32>,
    pub connected: Vec<f32>,
    /// A second.
    pub published: Vec<f32>,
    pub delivered: Vec<f32>,
    pub failed: Vec<f32>,
    /// User-seconds, since the beginning.
    pub bad: Vec<f32>,
    pub asked: Vec<f32>,
    pub p50: Vec<f32>,
    pub p95: Vec<f32>,
    pub p99: Vec<f32>,
    /// By station.
    pub busy: Vec<Vec<f32>>,
    pub waiting: Vec<Vec<f32>>,
    pub machines: Vec<Vec<f32>>,
}

impl Columns {
    /// Those of an outcome.
    pub fn of(outcome: &Outcome) -> Self {
        let stations = outcome.stations.len();
        let mut columns = Self {
            busy: vec![Vec::new(); stations],
            waiting: vec![Vec::new(); stations],
            machines: vec![Vec::new(); stations],
            ..Self::default()
        };
        let width = outcome.minutes.len().div_ceil(POINTS_MAX).max(1);
        let (mut bad, mut asked) = (0.0, 0.0);
        for (bin, minutes) in outcome.minutes.chunks(width).enumerate() {
            bad += minutes.iter().map(|minute| minute.bad_s).sum::<f64>();
            asked += minutes.iter().map(|minute| minute.wanted * 60.0).sum::<f64>();
            columns
                .hours
                .push(((bin * width + minutes.len()) as f64 / 60.0) as f32);
            columns.bad.push(bad as f32);
            columns.asked.push(asked as f32);
            columns.push(minutes);
        }
        columns
    }

    fn push(&mut self, minutes: &[Minute]) {
        let mean =
            |of: &dyn Fn(&Minute) -> f64| (minutes.iter().map(of).sum::<f64>() / minutes.len() as f64) as f32;
        let worst = |of: &dyn Fn(&Minute) -> f64| minutes.iter().map(of).fold(0.0, f64::max) as f32;
        self.wanted.push(mean(&|minute| minute.wanted));
        self.connected.push(mean(&|minute| minute.connected));
        self.published.push(mean(&|minute| minute.published / 60.0));
        self.delivered.push(mean(&|minute| minute.delivered / 60.0));
        self.failed.push(mean(&|minute| minute.failed / 60.0));
        self.p50.push(worst(&|minute| minute.latency_s[0]));
        self.p95.push(worst(&|minute| minute.latency_s[1]));
        self.p99.push(worst(&|minute| minute.latency_s[2]));
        for station in 0..self.busy.len() {
            let at = |of: &Vec<f32>| of.get(station).copied().map_or(0.0, f64::from);
            self.busy[station].push(worst(&|minute| at(&minute.busy)));
            self.waiting[station].push(worst(&|minute| at(&minute.waiting)));
            self.machines[station].push(mean(&|minute| {
                minute.machines.get(station).map_or(0.0, |&n| f64::from(n))
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(minutes: usize) -> Outcome {
        let minute = Minute {
            wanted: 10.0,
            published: 120.0,
            bad_s: 1.0,
            busy: vec![0.5],
            waiting: vec![2.0],
            machines: vec![3],
            ..Minute::default()
        };
        Outcome {
            stations: vec![Default::default()],
            minutes: vec![minute; minutes],
            ..Outcome::default()
        }
    }

    #[test]
    fn a_minute_is_a_point() {
        let columns = Columns::of(&outcome(3_600));
        assert_eq!(columns.hours.len(), 3_600);
        assert_eq!(columns.hours.last(), Some(&60.0));
        assert_eq!(columns.published[7], 2.0);
        assert_eq!(columns.bad.last(), Some(&3_600.0));
        assert_eq!(columns.machines[0][0], 3.0);
    }

    #[test]
    fn a_bad_minute_of_a_long_run_is_still_seen() {
        let mut long = outcome(100_000);
        long.minutes[50_001].latency_s[1] = 9.0;
        let columns = Columns::of(&long);
        assert!(columns.hours.len() <= POINTS_MAX);
        assert_eq!(columns.p95.iter().copied().fold(0.0, f32::max), 9.0);
        assert!((columns.hours.last().unwrap() - 100_000.0 / 60.0).abs() < 0.1);
    }

    #[test]
    fn a_minute_that_lacks_a_station_is_no_panic() {
        let mut short = outcome(2);
        short.minutes[0].busy.clear();
        assert_eq!(Columns::of(&short).busy[0], [0.0, 0.5]);
        assert!(Columns::of(&Outcome::default()).hours.is_empty());
    }
}

//! What replications of one figure say about it: an interval, and the chance to be within a limit.
//!
//! A figure of all runs together (a share of summed times, a bill) is held against the same figure of each run: sectioning
//! (S. Asmussen and P. Glynn, "Stochastic Simulation", 2007, III.5). With b runs the variance of the whole is
//! Σ (each − all)² / (b (b − 1)), and Student's t with b − 1 degrees of freedom gives the interval.
//!
//! A share of all events, each run with its weight, is a ratio of sums; its variance is that of the ratio estimator
//! (W. Cochran, "Sampling Techniques", 1977, 6.4). Percentiles are made of such shares: see `estimate`.
//!
//! Runs are added until an interval tells, and who looks often finds something: with so many looks planned, each
//! is taken at its part of the doubt (C. Bonferroni). So the stated confidence is that of all looks together.

use super::student;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub figure: f64,
    /// Standard error of `figure`.
    error: f64,
    freedom: f64,
}

impl Spread {
    /// Of the figure of all runs and of each; none of fewer than two.
    pub fn of(figure: f64, each: &[f64]) -> Option<Self> {
        if each.len() < 2 || !figure.is_finite() {
            return None;
        }
        let runs = each.len() as f64;
        let squares: f64 = each.iter().map(|one| (one - figure) * (one - figure)).sum();
        Some(Self {
            figure,
            error: f64::sqrt(squares / (runs * (runs - 1.0))),
            freedom: runs - 1.0,
        })
    }

    /// Of a share of all events, by each run's (weight, share); none of fewer than two runs that had any.
    pub fn of_shares(each: &[(f64, f64)]) -> Option<Self> {
        let all: f64 = each.iter().map(|(weight, _)| weight).sum();
        let runs = each.iter().filter(|(weight, _)| *weight > 0.0).count() as f64;
        if runs < 2.0 || !all.is_finite() {
            return None;
        }
        let figure = each.iter().map(|(weight, share)| weight * share).sum::<f64>() / all;
        let squares: f64 = each
            .iter()
            .map(|(weight, share)| weight * (share - figure) / all)
            .map(|apart| apart * apart)
            .sum();
        Some(Self {
            figure,
            error: f64::sqrt(squares * runs / (runs - 1.0)),
            freedom: runs - 1.0,
        })
    }

    /// Of a figure that is computed once, and is off by about as much as this.
    pub fn of_model(figure: f64, error: f64) -> Self {
        Self {
            figure,
            error,
            freedom: MODEL_FREEDOM,
        }
    }

    /// The same, if one run's variance is at least so much.
    pub fn widened(self, variance: f64, runs: usize) -> Self {
        let error = f64::sqrt(variance.max(0.0) / (runs.max(1) as f64));
        Self {
            error: self.error.max(error),
            ..self
        }
    }

    /// Where it is, with this confidence over so many looks.
    pub fn interval(&self, confidence: f64, looks: u32) -> [f64; 2] {
        let half = self.half(confidence, looks);
        [self.figure - half, self.figure + half]
    }

    /// Half the width of that.
    pub fn half(&self, confidence: f64, looks: u32) -> f64 {
        if self.error == 0.0 {
            return 0.0;
        }
        self.steps(confidence, looks) * self.error
    }

    fn steps(&self, confidence: f64, looks: u32) -> f64 {
        let doubt = (1.0 - confidence) / f64::from(looks.max(1));
        student::quantile(1.0 - doubt / 2.0, self.freedom)
    }

    /// The chance that it is at most this, by what is known now.
    pub fn at_most(&self, limit: f64) -> f64 {
        if self.error == 0.0 {
            return if self.figure <= limit { 1.0 } else { 0.0 };
        }
        student::below((limit - self.figure) / self.error, self.freedom)
    }

    /// The chance that it is at least this.
    pub fn at_least(&self, limit: f64) -> f64 {
        if self.error == 0.0 {
            return if self.figure >= limit { 1.0 } else { 0.0 };
        }
        1.0 - self.at_most(limit)
    }

    /// Runs in all after which the interval would leave out a limit, if figure and spread stay what they are; none if it
    /// never would.
    pub fn runs_to_tell(&self, limit: f64, confidence: f64, looks: u32) -> Option<u32> {
        let gap = (self.figure - limit).abs();
        let runs = self.freedom + 1.0;
        // Half widths shrink with the root of the runs; that more of them make the steps smaller is left as margin.
        let needed = self.steps(confidence, looks) * self.error / gap;
        let needed = runs * needed * needed;
        (gap > 0.0 && needed < f64::from(RUNS_MAX)).then(|| needed.max(runs) as u32 + 1)
    }
}

/// Of what a model is off by nothing more is known than its size.
const MODEL_FREEDOM: f64 = 100.0;
/// More would take days.
const RUNS_MAX: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const EACH: [f64; 8] = [9.0, 11.0, 10.0, 12.0, 8.0, 10.5, 9.5, 10.0];

    #[test]
    fn an_interval_is_that_of_students_t() {
        // Squares sum to 10.5, so an error of 0.433, and 2.365 of them to each side.
        let spread = Spread::of(10.0, &EACH).unwrap();
        let [low, high] = spread.interval(0.95, 1);
        assert!(
            (high - 11.024).abs() < 0.001 && (low - 8.976).abs() < 0.001,
            "{low} {high}"
        );
        let [_, looks] = spread.interval(0.95, 4);
        assert!(looks > high + 0.3, "who looks four times must see more: {looks}");
        assert_eq!(Spread::of(10.0, &EACH[..1]), None);
        assert_eq!(Spread::of(f64::NAN, &EACH), None);
    }

    #[test]
    fn chance_is_one_half_at_the_figure_itself() {
        let spread = Spread::of(10.0, &EACH).unwrap();
        assert!((spread.at_most(10.0) - 0.5).abs() < 1e-12);
        assert!(spread.at_most(12.0) > 0.995 && spread.at_most(8.0) < 0.005);
        let same = Spread::of(3.0, &[3.0, 3.0]).unwrap();
        assert_eq!((same.at_most(3.0), same.at_most(2.9)), (1.0, 0.0));
        assert_eq!((same.at_least(3.0), same.at_least(3.1)), (1.0, 0.0));
        assert_eq!(same.interval(0.95, 3), [3.0, 3.0]);
    }

    #[test]
    fn a_share_weighs_each_run_by_its_events() {
        let same = Spread::of_shares(&[(1.0, 0.9), (1.0, 0.8), (1.0, 1.0)]).unwrap();
        let figures = Spread::of(0.9, &[0.9, 0.8, 1.0]).unwrap();
        assert!((same.figure - 0.9).abs() < 1e-12 && (same.error - figures.error).abs() < 1e-12);
        let weighed = Spread::of_shares(&[(1.0, 0.0), (99.0, 1.0), (0.0, 0.3)]).unwrap();
        assert!((weighed.figure - 0.99).abs() < 1e-12 && weighed.freedom == 1.0);
        assert_eq!(Spread::of_shares(&[(1.0, 0.5), (0.0, 0.5)]), None);
    }

    #[test]
    fn the_runs_that_are_missing_are_told() {
        let spread = Spread::of(10.0, &EACH).unwrap();
        // 2.365 errors of eight runs are 1.024; half of that takes four times the runs.
        let runs = spread.runs_to_tell(10.512, 0.95, 1).unwrap();
        assert!((32..=34).contains(&runs), "{runs}");
        assert_eq!(spread.runs_to_tell(10.0, 0.95, 1), None);
        assert_eq!(spread.runs_to_tell(20.0, 0.95, 1), Some(9));
    }
}

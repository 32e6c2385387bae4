//! What replications of one figure say about it: an interval, and the chance to be within a limit.
//!
//! A figure of all runs together (a percentile of merged histograms, a share of summed times) is held against the same figure
//! of each run: sectioning (S. Asmussen and P. Glynn, "Stochastic Simulation", 2007, III.5; for
//! percentiles M. Nakayama, 2014). With b runs the variance of the whole is Σ (each − all)² / (b (b − 1)), and
//! Student's t with b − 1 degrees of freedom gives the interval. A histogram's places make it wider by half a place.
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
    /// What `figure` may be off by the way it is kept.
    resolution: f64,
}

impl Spread {
    /// Of the figure of all runs and of each; none of fewer than two.
    pub fn of(figure: f64, each: &[f64], resolution: f64) -> Option<Self> {
        if each.len() < 2 || !figure.is_finite() {
            return None;
        }
        let runs = each.len() as f64;
        let squares: f64 = each.iter().map(|one| (one - figure) * (one - figure)).sum();
        Some(Self {
            figure,
            error: f64::sqrt(squares / (runs * (runs - 1.0))),
            freedom: runs - 1.0,
            resolution,
        })
    }

    /// Of a figure that is computed once, and is off by about as much as this.
    pub fn of_model(figure: f64, error: f64) -> Self {
        Self {
            figure,
            error,
            freedom: MODEL_FREEDOM,
            resolution: 0.0,
        }
    }

    /// The same, if one run's variance is at least so much.
    pub fn at_least(self, variance: f64, runs: usize) -> Self {
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

    fn half(&self, confidence: f64, looks: u32) -> f64 {
        if self.error == 0.0 {
            return self.resolution;
        }
        self.steps(confidence, looks) * self.error + self.resolution
    }

    fn steps(&self, confidence: f64, looks: u32) -> f64 {
        let doubt = (1.0 - confidence) / f64::from(looks.max(1));
        student::quantile(1.0 - doubt / 2.0, self.freedom)
    }

    /// The chance that it is at most this, by what is known now.
    pub fn at_most(&self, limit: f64) -> f64 {
        // Within a place all values are as likely: a variance of its half width squared over three.
        let error = f64::sqrt(self.error * self.error + self.resolution * self.resolution / 3.0);
        if error == 0.0 {
            return if self.figure <= limit { 1.0 } else { 0.0 };
        }
        student::below((limit - self.figure) / error, self.freedom)
    }

    /// Runs in all after which the interval would leave out a limit, if figure and spread stay what they are; none if it
    /// never would.
    pub fn runs_to_tell(&self, limit: f64, confidence: f64, looks: u32) -> Option<u32> {
        let gap = (self.figure - limit).abs() - self.resolution;
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
        let spread = Spread::of(10.0, &EACH, 0.0).unwrap();
        let [low, high] = spread.interval(0.95, 1);
        assert!(
            (high - 11.024).abs() < 0.001 && (low - 8.976).abs() < 0.001,
            "{low} {high}"
        );
        let [_, places] = Spread::of(10.0, &EACH, 0.5).unwrap().interval(0.95, 1);
        assert!((places - high - 0.5).abs() < 1e-12);
        let [_, looks] = spread.interval(0.95, 4);
        assert!(looks > high + 0.3, "who looks four times must see more: {looks}");
        assert_eq!(Spread::of(10.0, &EACH[..1], 0.0), None);
        assert_eq!(Spread::of(f64::NAN, &EACH, 0.0), None);
    }

    #[test]
    fn chance_is_one_half_at_the_figure_itself() {
        let spread = Spread::of(10.0, &EACH, 0.1).unwrap();
        assert!((spread.at_most(10.0) - 0.5).abs() < 1e-12);
        assert!(spread.at_most(12.0) > 0.995 && spread.at_most(8.0) < 0.005);
        let same = Spread::of(3.0, &[3.0, 3.0], 0.0).unwrap();
        assert_eq!((same.at_most(3.0), same.at_most(2.9)), (1.0, 0.0));
        assert_eq!(same.interval(0.95, 3), [3.0, 3.0]);
    }

    #[test]
    fn the_runs_that_are_missing_are_told() {
        let spread = Spread::of(10.0, &EACH, 0.0).unwrap();
        // 2.365 errors of eight runs are 1.024; half of that takes four times the runs.
        let runs = spread.runs_to_tell(10.512, 0.95, 1).unwrap();
        assert!((32..=34).contains(&runs), "{runs}");
        assert_eq!(spread.runs_to_tell(10.0, 0.95, 1), None);
        assert_eq!(spread.runs_to_tell(20.0, 0.95, 1), Some(9));
    }
}

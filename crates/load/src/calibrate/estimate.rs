//! A figure from several rounds: its mean, and the interval that holds it 19 times of 20.

/// A value and its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) low: f64,
    pub(crate) value: f64,
    pub(crate) high: f64,
    pub(crate) rounds: usize,
}

impl Estimate {
    /// By Student's law, of rounds that know nothing of each other; none of fewer than two, or where a round is no number.
    /// What is measured cannot be below zero, and neither is its interval.
    pub(crate) fn of(rounds: &[f64]) -> Option<Self> {
        let count = rounds.len() as f64;
        if rounds.len() < 2 || rounds.iter().any(|round| !round.is_finite()) {
            return None;
        }
        let mean = rounds.iter().sum::<f64>() / count;
        let squares: f64 = rounds.iter().map(|round| (round - mean).powi(2)).sum();
        let half = t_975(rounds.len() - 1) * (squares / (count - 1.0) / count).sqrt();
        Some(Self {
            low: (mean - half).max(0.0),
            value: mean,
            high: mean + half,
            rounds: rounds.len(),
        })
    }

    /// One that was read, not measured several times.
    pub(crate) fn exactly(value: f64) -> Self {
        Self {
            low: value,
            value,
            high: value,
            rounds: 1,
        }
    }

    /// Whether it can be told from nothing.
    pub(crate) fn is_something(&self) -> bool {
        self.value > 0.0
    }
}

/// The 97.5th percentile of Student's law.
fn t_975(freedom: usize) -> f64 {
    const TABLE: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145,
        2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048,
        2.045, 2.042,
    ];
    TABLE.get(freedom - 1).copied().unwrap_or(1.96)
}

/// The line through points, as (intercept, slope): least squares of what it is off by in parts of each point, for
/// what is measured of a large room is off by more. None where all are at one place.
pub(crate) fn line(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let (mut w, mut wx, mut wy, mut wxx, mut wxy) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (x, y) in points.iter().filter(|(_, y)| *y > 0.0) {
        let weight = 1.0 / (y * y);
        w += weight;
        wx += weight * x;
        wy += weight * y;
        wxx += weight * x * x;
        wxy += weight * x * y;
    }
    let spread = w * wxx - wx * wx;
    if spread.is_nan() || spread <= 1e-9 * w * wxx {
        return None;
    }
    let slope = (w * wxy - wx * wy) / spread;
    Some(((wy - slope * wx) / w, slope))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_students() {
        let estimate = Estimate::of(&[9.0, 10.0, 11.0]).expect("three rounds");
        assert_eq!((estimate.value, estimate.rounds), (10.0, 3));
        // 4.303 × 1 / √3.
        assert!((estimate.high - 12.4844).abs() < 1e-3, "{estimate:?}");
        assert!((estimate.low - 7.5156).abs() < 1e-3, "{estimate:?}");
        assert_eq!(Estimate::of(&[1.0]), None);
        assert_eq!(Estimate::of(&[1.0, f64::NAN]), None);
        let noise = Estimate::of(&[-1.0, 1.2]).expect("two rounds");
        assert!(noise.low == 0.0 && noise.is_something());
        assert!(!Estimate::of(&[-1.0, 0.5]).expect("two rounds").is_something());
    }

    #[test]
    fn a_line_is_found_again() {
        let on = |x: f64| (x, 50e-6 + 8e-6 * x);
        let (intercept, slope) = line(&[on(10.0), on(100.0), on(1_000.0)]).expect("a line");
        assert!((intercept - 50e-6).abs() < 1e-12 && (slope - 8e-6).abs() < 1e-12);
        // A tenth off of the largest room moves the intercept by little.
        let off = (1_000.0, on(1_000.0).1 * 1.1);
        let (intercept, _) = line(&[on(10.0), on(100.0), off]).expect("a line");
        assert!((intercept - 50e-6).abs() < 8e-6, "{intercept}");
        assert_eq!(line(&[(10.0, 1.0), (10.0, 2.0)]), None);
        assert_eq!(line(&[]), None);
    }
}

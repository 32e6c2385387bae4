//! How many users there are at an hour: a curve through points, and named shapes that make the points.
//!
//! The curve is a monotone cubic (F. Fritsch and R. Carlson, 1980): it goes through every point and never beyond
//! its neighbours, so its maximum is a point's. Slopes are the mean of the two secants, held within three times
//! the flatter one: that is within the region in which the paper proves monotony, and each piece follows from
//! the points next to it alone.

use crate::plan::{Shape, Users};

/// What points were made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Made {
    pub base: f64,
    pub peak: f64,
    /// The hour of the peak; of the day, for those that come back each day. None is the shape's own.
    pub peak_at: Option<f64>,
}

/// Hours of a day around its peak, and what part of the way from base to peak it has come.
const DAILY: &[(f64, f64)] = &[
    (-14.0, 0.0),
    (-10.0, 0.25),
    (-4.0, 0.55),
    (0.0, 1.0),
    (3.0, 0.6),
    (7.0, 0.1),
    (10.0, 0.0),
];
const MORNING: &[(f64, f64)] = &[
    (-12.0, 0.0),
    (-1.5, 0.05),
    (0.0, 1.0),
    (1.0, 0.55),
    (3.0, 0.2),
    (9.0, 0.1),
    (12.0, 0.0),
];
/// The same around the peak of an event, in hours.
const VIRAL_RISE: f64 = 1.0;
const SALE_RISE: f64 = 0.25;
/// And in parts of the whole length. A live event's mean is near a fifth of the way.
const VIRAL: &[(f64, f64)] = &[
    (0.0, 1.0),
    (0.05, 0.6),
    (0.09, 0.7),
    (0.18, 0.35),
    (0.26, 0.42),
    (0.45, 0.12),
    (0.75, 0.03),
];
const SALE: &[(f64, f64)] = &[
    (0.0, 1.0),
    (0.04, 0.9),
    (0.2, 0.85),
    (0.3, 0.4),
    (0.5, 0.1),
    (0.6, 0.05),
];
const ROLLOUT: &[(f64, f64)] = &[
    (-0.6, 0.0),
    (-0.58, 0.1),
    (-0.4, 0.1),
    (-0.38, 0.25),
    (-0.2, 0.25),
    (-0.18, 0.5),
    (-0.02, 0.5),
    (0.0, 1.0),
    (0.01, 1.0),
];
const LIVE: &[(f64, f64)] = &[
    (-0.35, 0.0),
    (-0.15, 0.15),
    (-0.05, 0.5),
    (0.0, 1.0),
    (0.05, 0.97),
    (0.1, 0.55),
    (0.2, 0.2),
    (0.3, 0.05),
    (0.4, 0.0),
];

impl Shape {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Constant,
        Self::Daily,
        Self::MorningSurge,
        Self::Viral,
        Self::FlashSale,
        Self::Rollout,
        Self::LiveEvent,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Daily => "daily",
            Self::MorningSurge => "morning-surge",
            Self::Viral => "viral",
            Self::FlashSale => "flash-sale",
            Self::Rollout => "rollout",
            Self::LiveEvent => "live-event",
        }
    }

    /// Whether its peak comes back each day.
    pub fn is_daily(self) -> bool {
        matches!(self, Self::Daily | Self::MorningSurge)
    }

    /// Points for so many hours, which is above 0; the first at 0, the last at the end.
    pub fn points(self, made: Made, hours: f64) -> Vec<(f64, f64)> {
        let at = made.peak_at;
        let parts = |at: f64, knots: &[(f64, f64)]| -> Vec<(f64, f64)> {
            knots
                .iter()
                .map(|(part, level)| (at + part * hours, *level))
                .collect()
        };
        let rise = |at: f64, hours: f64| [(at - hours, 0.0), (at - hours / 2.0, 0.4)];
        let knots = match self {
            Self::Constant => Vec::new(),
            Self::Daily => days(DAILY, at.unwrap_or(20.0), hours),
            Self::MorningSurge => days(MORNING, at.unwrap_or(8.5), hours),
            Self::Viral => {
                let at = at.unwrap_or(hours * 0.25);
                [rise(at, VIRAL_RISE).to_vec(), parts(at, VIRAL)].concat()
            }
            Self::FlashSale => {
                let at = at.unwrap_or(hours * 0.4);
                [rise(at, SALE_RISE).to_vec(), parts(at, SALE)].concat()
            }
            Self::Rollout => parts(at.unwrap_or(hours * 0.75), ROLLOUT),
            Self::LiveEvent => parts(at.unwrap_or(hours * 0.6), LIVE),
        };
        let level = |part: f64| {
            // Base and peak are met exactly.
            if part >= 1.0 {
                made.peak
            } else {
                made.base + (made.peak - made.base) * part
            }
        };
        let mut points = vec![(0.0, level(straight(&knots, 0.0)))];
        for (hour, part) in &knots {
            if *hour > 0.0 && *hour < hours && points.last().is_none_or(|(last, _)| last < hour) {
                points.push((*hour, level(*part)));
            }
        }
        points.push((hours, level(straight(&knots, hours))));
        points
    }
}

/// The same each day, from the day before to the day after.
fn days(knots: &[(f64, f64)], at: f64, hours: f64) -> Vec<(f64, f64)> {
    let count = (hours / 24.0).floor() as i32 + 1;
    (-1..=count)
        .flat_map(|day| {
            knots
                .iter()
                .map(move |(hour, part)| (f64::from(day) * 24.0 + at + hour, *part))
        })
        .collect()
}

/// The level at an hour, straight between knots.
fn straight(knots: &[(f64, f64)], hour: f64) -> f64 {
    let after = knots.partition_point(|(each, _)| *each <= hour);
    match (
        after.checked_sub(1).and_then(|before| knots.get(before)),
        knots.get(after),
    ) {
        (Some((from, low)), Some((to, high))) => low + (high - low) * (hour - from) / (to - from),
        (Some((_, level)), None) | (None, Some((_, level))) => *level,
        (None, None) => 0.0,
    }
}

impl Users {
    /// The points of a shape.
    pub fn of(shape: Shape, made: Made, hours: f64) -> Self {
        Self {
            shape: Some(shape),
            points: shape.points(made, hours),
        }
    }

    /// What its points were made of; none if they are not those of its shape.
    pub fn made(&self, hours: f64) -> Option<Made> {
        let shape = self.shape?;
        let base = self
            .points
            .iter()
            .map(|(_, users)| *users)
            .fold(f64::INFINITY, f64::min);
        let (peak_hour, peak) = self
            .points
            .iter()
            .copied()
            .reduce(|best, point| match point.1 > best.1 {
                true => point,
                false => best,
            })?;
        let peak_at = match shape.is_daily() {
            true => peak_hour - 24.0 * (peak_hour / 24.0).floor(),
            false => peak_hour,
        };
        [None, Some(peak_at)]
            .into_iter()
            .map(|peak_at| Made { base, peak, peak_at })
            .find(|made| shape.points(*made, hours) == self.points)
    }

    /// Users at an hour; before the first point and after the last, theirs.
    pub fn at(&self, hour: f64) -> f64 {
        let after = self.points.partition_point(|(each, _)| *each <= hour);
        match (after.checked_sub(1), self.points.get(after)) {
            (Some(before), Some(_)) => self.piece(before).at(hour),
            (Some(before), None) => self.points[before].1,
            (None, Some((_, users))) => *users,
            (None, None) => 0.0,
        }
    }

    /// User-hours from one hour to another.
    pub fn integral(&self, from: f64, to: f64) -> f64 {
        let (Some((first, before)), Some((last, after))) = (self.points.first(), self.points.last()) else {
            return 0.0;
        };
        if to <= from {
            return 0.0;
        }
        let mut sum = before * (to.min(*first) - from).max(0.0) + after * (to - from.max(*last)).max(0.0);
        for place in 1..self.points.len() {
            let piece = self.piece(place - 1);
            let (low, high) = (from.max(piece.from), to.min(piece.to));
            if high > low {
                sum += piece.integral(low, high);
            }
        }
        sum
    }

    /// Most users at any hour.
    pub fn max(&self) -> f64 {
        self.points.iter().map(|(_, users)| *users).fold(0.0, f64::max)
    }

    /// The curve from one point to the next.
    fn piece(&self, place: usize) -> Piece {
        let ((from, low), (to, high)) = (self.points[place], self.points[place + 1]);
        Piece {
            from,
            to,
            low,
            high,
            slope_low: self.slope(place),
            slope_high: self.slope(place + 1),
        }
    }

    /// The curve's slope at a point.
    fn slope(&self, place: usize) -> f64 {
        let secant = |place: usize| {
            let ((from, low), (to, high)) = (self.points[place], self.points[place + 1]);
            (high - low) / (to - from)
        };
        if place == 0 {
            return secant(0);
        }
        if place + 1 == self.points.len() {
            return secant(place - 1);
        }
        let (before, after) = (secant(place - 1), secant(place));
        if before * after <= 0.0 {
            return 0.0;
        }
        let most = 3.0 * before.abs().min(after.abs());
        ((before + after) / 2.0).clamp(-most, most)
    }
}

/// A cubic by its ends and its slopes there (Hermite).
struct Piece {
    from: f64,
    to: f64,
    low: f64,
    high: f64,
    slope_low: f64,
    slope_high: f64,
}

impl Piece {
    fn at(&self, hour: f64) -> f64 {
        let [a, b, c, d] = self.powers();
        let t = (hour - self.from) / (self.to - self.from);
        // Rounding must not lead past its ends.
        let (least, most) = (self.low.min(self.high), self.low.max(self.high));
        (a + t * (b + t * (c + t * d))).clamp(least, most)
    }

    fn integral(&self, from: f64, to: f64) -> f64 {
        let [a, b, c, d] = self.powers();
        let length = self.to - self.from;
        let until = |hour: f64| {
            let t = (hour - self.from) / length;
            t * (a + t * (b / 2.0 + t * (c / 3.0 + t * d / 4.0)))
        };
        (until(to) - until(from)) * length
    }

    /// Of the way from 0 to 1.
    fn powers(&self) -> [f64; 4] {
        let length = self.to - self.from;
        let (low, high) = (self.slope_low * length, self.slope_high * length);
        let rise = self.high - self.low;
        [
            self.low,
            low,
            3.0 * rise - 2.0 * low - high,
            low + high - 2.0 * rise,
        ]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn made(base: f64, peak: f64) -> Made {
        Made {
            base,
            peak,
            peak_at: None,
        }
    }

    #[test]
    fn each_shape_meets_its_base_and_its_peak() {
        for shape in Shape::ALL {
            let users = Users::of(shape, made(220.0, 3_400.0), 60.0);
            let least = users
                .points
                .iter()
                .map(|(_, users)| *users)
                .fold(f64::INFINITY, f64::min);
            assert_eq!(least, 220.0, "{shape:?}");
            let peak = if shape == Shape::Constant { 220.0 } else { 3_400.0 };
            assert_eq!(users.max(), peak, "{shape:?}");
            assert_eq!((users.points[0].0, users.points.last().unwrap().0), (0.0, 60.0));
        }
    }

    #[test]
    fn shapes_differ_as_their_names_say() {
        let hours_above = |shape, part: f64| {
            let users = Users::of(shape, made(0.0, 1.0), 72.0);
            (0..7_200)
                .filter(|place| users.at(f64::from(*place) / 100.0) > part)
                .count() as f64
                / 100.0
        };
        assert!(hours_above(Shape::MorningSurge, 0.5) < hours_above(Shape::Daily, 0.5) / 2.0);
        assert!(hours_above(Shape::Viral, 0.8) < hours_above(Shape::FlashSale, 0.8) / 3.0);
        let daily = Users::of(Shape::Daily, made(10.0, 100.0), 72.0);
        assert_eq!([20.0, 44.0, 68.0].map(|hour| daily.at(hour)), [100.0; 3]);
        // A step of a rollout lasts.
        let rollout = Users::of(Shape::Rollout, made(0.0, 1_000.0), 100.0);
        assert_eq!(rollout.at(40.0), rollout.at(50.0));
        // Live events: near a fifth of the way, on average.
        let live = Users::of(Shape::LiveEvent, made(220.0, 3_400.0), 60.0);
        let mean = live.integral(0.0, 60.0) / 60.0;
        assert!((800.0..1_000.0).contains(&mean), "{mean}");
    }

    #[test]
    fn a_straight_line_is_kept() {
        let users = Users {
            shape: None,
            points: vec![(0.0, 0.0), (1.0, 10.0), (4.0, 40.0)],
        };
        assert_eq!(
            [-1.0, 0.5, 2.0, 9.0].map(|hour| users.at(hour)),
            [0.0, 5.0, 20.0, 40.0]
        );
        assert_eq!(users.integral(0.0, 4.0), 80.0);
        assert_eq!(users.integral(-1.0, 6.0), 160.0);
        assert_eq!(users.integral(3.0, 3.0), 0.0);
    }

    #[test]
    fn without_points_there_is_nobody() {
        let users = Users {
            shape: None,
            points: Vec::new(),
        };
        assert_eq!(
            (users.at(1.0), users.max(), users.integral(0.0, 9.0)),
            (0.0, 0.0, 0.0)
        );
    }

    proptest! {
        #[test]
        fn the_curve_goes_through_its_points_and_never_beyond(
            steps in prop::collection::vec((0.01f64..10.0, 0.0f64..1e6), 2..20),
            part in 0.0f64..1.0,
        ) {
            let mut hour = 0.0;
            let points: Vec<(f64, f64)> = steps.iter().map(|(step, users)| { hour += step; (hour, *users) }).collect();
            let users = Users { shape: None, points };
            for pair in users.points.windows(2) {
                let ((from, low), (to, high)) = (pair[0], pair[1]);
                prop_assert_eq!(users.at(from), low);
                // Monotone: never back on the way from one to the next.
                let mut last = low;
                for place in 0..=20 {
                    let now = users.at((from + (to - from) * f64::from(place) / 20.0).min(to));
                    prop_assert!((now - last) * (high - low) >= -1e-6 * (high - low).abs() * 1e6f64.max(low));
                    prop_assert!(now >= low.min(high) && now <= low.max(high));
                    last = now;
                }
            }
            // The integral is what a fine sum gives, and adds up.
            let (from, to) = (users.points[0].0, hour);
            let middle = from + (to - from) * part;
            let whole = users.integral(from, to);
            prop_assert!((users.integral(from, middle) + users.integral(middle, to) - whole).abs() <= 1e-9 * whole + 1e-6);
            let parts = 20_000;
            let step = (to - from) / f64::from(parts);
            let sum: f64 = (0..parts).map(|place| users.at(from + step * (f64::from(place) + 0.5)) * step).sum();
            prop_assert!((sum - whole).abs() <= 1e-3 * whole + 1.0, "{} {}", sum, whole);
        }

        #[test]
        fn what_points_were_made_of_is_found_again(
            shape in prop::sample::select(Shape::ALL.to_vec()),
            base in 0u32..1_000, more in 1u32..5_000, hours in 30u32..200, at in prop::option::of(0u32..24),
        ) {
            let made = Made { base: f64::from(base), peak: f64::from(base + more), peak_at: at.map(f64::from) };
            let users = Users::of(shape, made, f64::from(hours));
            for pair in users.points.windows(2) {
                prop_assert!(pair[0].0 < pair[1].0);
            }
            if let Some(again) = users.made(f64::from(hours)) {
                prop_assert_eq!(shape.points(again, f64::from(hours)), users.points);
            } else {
                // Cut off at an end, so that its base or its peak is not among them.
                prop_assert!(users.points.iter().all(|(_, users)| *users > made.base) || users.max() < made.peak
                    || at.is_some());
            }
        }
    }
}

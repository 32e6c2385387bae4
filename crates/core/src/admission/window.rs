//! Percentiles of recent latencies.
//!
//! No averages: one call in a hundred that takes a second is what people notice, and an
//! average of 12 ms hides it. A [`Histogram`] counts latencies in log-linear places,
//! sixteen to each doubling, so that any percentile is off by at most 6.4 % (one place)
//! between 1 µs and 60 s; a [`Window`] is two of them that take turns.
//!
//! ```text
//!   units of 64 ns    0 1 2 .. 15 | 16 17 .. 31 | 32 34 .. 62 | 64 68 .. 124 | ..   60 s
//!   each holds        1 unit      | 1 unit      | 2 units     | 4 units      |
//! ```
//!
//! Counts have 16 bits, to have room for sixteen places in 856 bytes. When one is full
//! all of them are halved: the shape stays, and the oldest half of it weighs less.

use std::time::Duration;

use crate::moment::Moment;

/// Longest latency told apart; longer ones count as this.
pub const LATENCY_MAX: Duration = Duration::from_secs(60);

const UNIT_BITS: u32 = 6;
const PLACE_BITS: u32 = 4;
const PLACES: usize = place_of(LATENCY_MAX.as_nanos() as u64 >> UNIT_BITS) + 1;

/// A share of all latencies, from the fastest: the 0.99 of "p99".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantile(u32);

impl Quantile {
    /// Half of all are faster.
    pub const P50: Self = Self(5_000);
    /// Nine in ten are faster.
    pub const P90: Self = Self(9_000);
    /// 99 in a hundred are faster.
    pub const P99: Self = Self(9_900);
    /// 999 in a thousand are faster.
    pub const P999: Self = Self(9_990);

    /// A quantile in hundredths of a percent, 1 to 10,000; values outside are brought inside.
    pub const fn from_basis_points(points: u32) -> Self {
        Self(match points {
            0 => 1,
            1..=10_000 => points,
            _ => 10_000,
        })
    }

    /// How many of `len` values must be known for this quantile of them to be known as well,
    /// if the others are the largest: half of those beyond it may be missing.
    pub(super) fn halfway_to_all(self, len: u32) -> u32 {
        Self(5_000 + self.0 / 2).rank(len) as u32
    }

    /// The rank of this quantile among `len` values, counted from 1.
    fn rank(self, len: u32) -> u64 {
        (u64::from(len) * u64::from(self.0)).div_ceil(10_000)
    }
}

/// Latencies by size.
#[derive(Clone)]
pub struct Histogram {
    counts: [u16; PLACES],
    len: u32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: [0; PLACES],
            len: 0,
        }
    }
}

impl Histogram {
    /// Counts one latency.
    pub fn record(&mut self, latency: Duration) {
        let latency_ns = latency.min(LATENCY_MAX).as_nanos() as u64;
        let place = place_of(latency_ns >> UNIT_BITS);
        if self.counts[place] == u16::MAX {
            self.halve();
        }
        self.counts[place] += 1;
        self.len += 1;
    }

    /// Returns how many latencies are counted; fewer than were recorded once it has halved.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether nothing is counted.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns the latency which that share of all stays within; none if nothing is counted.
    pub fn quantile(&self, quantile: Quantile) -> Option<Duration> {
        quantile_of([self, &EMPTY], quantile)
    }

    fn halve(&mut self) {
        self.len = 0;
        for count in &mut self.counts {
            *count = count.div_ceil(2); // what was seen once stays seen
            self.len += u32::from(*count);
        }
    }
}

static EMPTY: Histogram = Histogram {
    counts: [0; PLACES],
    len: 0,
};

/// Latencies of the last one to two spans.
#[derive(Clone)]
pub struct Window {
    span: Duration,
    started: Moment,
    current: Histogram,
    previous: Histogram,
}

impl Window {
    /// A window that remembers for at least `span` (above zero), at most twice as long.
    pub fn new(span: Duration, now: Moment) -> Self {
        assert!(!span.is_zero(), "a window needs a span");
        Self {
            span,
            started: now,
            current: Histogram::default(),
            previous: Histogram::default(),
        }
    }

    /// Counts one latency.
    pub fn record(&mut self, now: Moment, latency: Duration) {
        self.rotate(now);
        self.current.record(latency);
    }

    /// Returns the latency which that share of the recent ones stays within; none without any.
    pub fn quantile(&mut self, now: Moment, quantile: Quantile) -> Option<Duration> {
        self.rotate(now);
        quantile_of([&self.current, &self.previous], quantile)
    }

    /// Returns how many recent latencies are counted.
    pub fn len(&mut self, now: Moment) -> u32 {
        self.rotate(now);
        self.current.len + self.previous.len
    }

    /// Whether there are no recent latencies.
    pub fn is_empty(&mut self, now: Moment) -> bool {
        self.len(now) == 0
    }

    fn rotate(&mut self, now: Moment) {
        let spans = now.since(self.started).as_nanos() / self.span.as_nanos();
        if spans == 0 {
            return;
        }
        self.started = self.started + Duration::from_nanos((spans * self.span.as_nanos()) as u64);
        std::mem::swap(&mut self.previous, &mut self.current);
        self.current.clear();
        if spans > 1 {
            self.previous.clear();
        }
    }
}

fn quantile_of(histograms: [&Histogram; 2], quantile: Quantile) -> Option<Duration> {
    let [first, second] = histograms;
    let rank = quantile.rank(first.len + second.len);
    let mut below = 0;
    for (place, (&a, &b)) in first.counts.iter().zip(&second.counts).enumerate() {
        let count = u64::from(a) + u64::from(b);
        if rank <= below + count {
            if count == 0 {
                return None; // rank 0: there is nothing at all
            }
            // The values of a place are taken to lie evenly in it.
            let (floor, width) = range_of(place);
            let inside = width * ((rank - below) * 2 - 1) / (count * 2);
            return Some(Duration::from_nanos(floor + inside));
        }
        below += count;
    }
    unreachable!("a rank is at most the number of values")
}

/// The place of a latency in units: itself below 16, then its four bits after the first
/// within its doubling.
const fn place_of(units: u64) -> usize {
    let doublings = (u64::BITS - (units | 1).leading_zeros()).saturating_sub(PLACE_BITS + 1);
    ((doublings as usize) << PLACE_BITS) + (units >> doublings) as usize
}

/// Where a place begins and how wide it is, nanoseconds.
fn range_of(place: usize) -> (u64, u64) {
    let doublings = (place >> PLACE_BITS).saturating_sub(1);
    let units = place - (doublings << PLACE_BITS);
    (
        (units as u64) << (doublings as u32 + UNIT_BITS),
        1 << (doublings as u32 + UNIT_BITS),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn histogram_is_within_a_kibibyte() {
        assert!(size_of::<Histogram>() <= 1_024, "{}", size_of::<Histogram>());
    }

    #[test]
    fn places_are_dense_and_cover_the_range() {
        let mut end = 0;
        for place in 0..PLACES {
            let (floor, width) = range_of(place);
            assert_eq!(floor, end, "place {place}");
            assert_eq!(place_of(floor >> UNIT_BITS), place);
            assert_eq!(place_of((floor + width - 1) >> UNIT_BITS), place);
            end = floor + width;
        }
        assert!(end > LATENCY_MAX.as_nanos() as u64);
    }

    #[test]
    fn nothing_recorded_has_no_percentile() {
        assert_eq!(Histogram::default().quantile(Quantile::P99), None);
        let mut window = Window::new(Duration::from_secs(1), Moment(0));
        assert_eq!(window.quantile(Moment(0), Quantile::P50), None);
    }

    #[test]
    fn one_slow_call_in_fifty_is_seen_at_p99_and_not_at_p50() {
        let mut histogram = Histogram::default();
        for n in 0..1_000 {
            histogram.record(Duration::from_millis(if n % 50 == 0 { 1_000 } else { 2 }));
        }
        let p50 = histogram.quantile(Quantile::P50).unwrap();
        let p99 = histogram.quantile(Quantile::P99).unwrap();
        assert!((0.93..1.07).contains(&(p50.as_secs_f64() / 0.002)), "{p50:?}");
        assert!((0.93..1.07).contains(&(p99.as_secs_f64() / 1.0)), "{p99:?}");
    }

    #[test]
    fn longer_than_the_longest_counts_as_it() {
        let mut histogram = Histogram::default();
        histogram.record(Duration::MAX);
        let told = histogram.quantile(Quantile::P50).unwrap();
        assert!((0.93..1.07).contains(&(told.as_secs_f64() / 60.0)), "{told:?}");
    }

    #[test]
    fn full_count_keeps_the_shape() {
        let mut histogram = Histogram::default();
        for n in 0..1_000_000u32 {
            histogram.record(Duration::from_millis(if n % 4 == 0 { 100 } else { 10 }));
        }
        assert!(histogram.len() < 150_000);
        for (points, ms) in [(5_000, 10.0), (7_300, 10.0), (7_700, 100.0)] {
            let told = histogram.quantile(Quantile::from_basis_points(points)).unwrap();
            assert!(
                (0.93..1.07).contains(&(told.as_secs_f64() * 1e3 / ms)),
                "{points} {told:?}"
            );
        }
    }

    #[test]
    fn window_forgets_after_one_to_two_spans() {
        let span = Duration::from_secs(1);
        let at_ms = |ms: u64| Moment(ms * 1_000_000);
        let mut window = Window::new(span, at_ms(0));
        window.record(at_ms(0), Duration::from_millis(5));
        window.record(at_ms(999), Duration::from_millis(5));
        assert_eq!(window.len(at_ms(1_999)), 2);
        assert!(window.is_empty(at_ms(2_000)));
        window.record(at_ms(2_000), Duration::from_millis(5));
        assert!(window.is_empty(at_ms(60_000)));
    }

    proptest! {
        #[test]
        fn percentile_is_within_seven_percent_of_the_exact_one(
            mut latencies_ns in prop::collection::vec(
                prop_oneof![1_000..100_000u64, 100_000..60_000_000_000u64, Just(1_000u64)], 1..300),
            points in 1..=10_000u32,
        ) {
            let mut histogram = Histogram::default();
            for &latency_ns in &latencies_ns {
                histogram.record(Duration::from_nanos(latency_ns));
            }
            latencies_ns.sort_unstable();
            let rank = (latencies_ns.len() * points as usize).div_ceil(10_000);
            let exact = latencies_ns[rank - 1] as f64;
            let told = histogram.quantile(Quantile::from_basis_points(points)).unwrap();
            let error = (told.as_nanos() as f64 - exact).abs() / exact;
            prop_assert!(error <= 0.07, "{told:?} for {exact} ns");
        }

        #[test]
        fn window_tells_the_last_span_and_nothing_older_than_two(
            gaps_ms in prop::collection::vec(0..700u64, 1..60),
        ) {
            let span = Duration::from_secs(1);
            let mut window = Window::new(span, Moment(0));
            let mut times_ms = Vec::new();
            let mut now_ms = 1;
            for gap in gaps_ms {
                now_ms += gap;
                let now = Moment(now_ms * 1_000_000);
                window.record(now, Duration::from_millis(1));
                times_ms.push(now_ms);
                let within = |age_ms: u64| times_ms.iter().filter(|&&t| now_ms - t < age_ms).count();
                let len = window.len(now) as usize;
                prop_assert!(within(1_000) <= len && len <= within(2_000));
            }
        }
    }
}

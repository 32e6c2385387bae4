//! Drawing from the laws of a network, quickly: ziggurats in place of logarithms.
//!
//! Exact in law, after G. Marsaglia and W. W. Tsang, "The Ziggurat Method for Generating Random
//! Variables" (2000), with 256 layers; the layer and the place in it come from different bits of one draw.

use crate::{draw::Stream, network::Law};

const LAYERS: usize = 256;
/// Where the tails begin; the paper's.
const TAIL_EXPONENTIAL: f64 = 7.697_117_470_131_05;
const TAIL_NORMAL: f64 = 3.654_152_885_361_009;

/// Layers of the two laws that all others are made of, and powers of e.
#[derive(Debug, Clone)]
pub struct Ziggurat {
    /// 2^(n / 64).
    powers: [f64; 64],
    exponential: Layers,
    normal: Layers,
}

#[derive(Debug, Clone)]
struct Layers {
    /// Right ends of the layers, from the widest, and the density there.
    ends: [f64; LAYERS + 1],
    densities: [f64; LAYERS + 1],
}

impl Layers {
    fn new(tail: f64, area: f64, density: fn(f64) -> f64, inverse: fn(f64) -> f64) -> Self {
        let mut ends = [0.0; LAYERS + 1];
        ends[0] = area / density(tail);
        ends[1] = tail;
        for layer in 2..LAYERS {
            let last = ends[layer - 1];
            ends[layer] = inverse(area / last + density(last));
        }
        Self {
            ends,
            densities: ends.map(density),
        }
    }
}

impl Default for Ziggurat {
    fn default() -> Self {
        let bell = |x: f64| libm::exp(-x * x / 2.0);
        let tail =
            libm::sqrt(std::f64::consts::FRAC_PI_2) * libm::erfc(TAIL_NORMAL / std::f64::consts::SQRT_2);
        Self {
            powers: std::array::from_fn(|n| libm::exp2(n as f64 / 64.0)),
            exponential: Layers::new(
                TAIL_EXPONENTIAL,
                (TAIL_EXPONENTIAL + 1.0) * libm::exp(-TAIL_EXPONENTIAL),
                |x| libm::exp(-x),
                |y| -libm::log(y),
            ),
            normal: Layers::new(TAIL_NORMAL, TAIL_NORMAL * bell(TAIL_NORMAL) + tail, bell, |y| {
                libm::sqrt(-2.0 * libm::log(y))
            }),
        }
    }
}

impl Ziggurat {
    /// e to a power, to thirteen digits: a power of two from the table, and the rest by its series.
    #[inline]
    pub fn exponential_of(&self, power: f64) -> f64 {
        let power = power.clamp(-700.0, 700.0);
        // Added and taken away it leaves the nearest whole number.
        const WHOLE: f64 = 6_755_399_441_055_744.0;
        let steps = (power * (64.0 / std::f64::consts::LN_2) + WHOLE) - WHOLE;
        let rest = power - steps * (std::f64::consts::LN_2 / 64.0);
        let series = 1.0 + rest * (1.0 + rest * (0.5 + rest * (1.0 / 6.0 + rest / 24.0)));
        let steps = steps as i64;
        let octave = f64::from_bits(((1_023 + (steps >> 6)) as u64) << 52);
        octave * self.powers[(steps & 63) as usize] * series
    }

    /// Exponential with mean 1.
    #[inline]
    pub fn exponential(&self, stream: &mut Stream) -> f64 {
        let Layers { ends, densities } = &self.exponential;
        loop {
            let (layer, place) = layer_of(stream);
            let x = place * ends[layer];
            if x < ends[layer + 1] {
                return x;
            }
            if layer == 0 {
                return TAIL_EXPONENTIAL - libm::log(stream.unit());
            }
            let (low, high) = (densities[layer], densities[layer + 1]);
            if low + (high - low) * stream.unit() < libm::exp(-x) {
                return x;
            }
        }
    }

    /// Standard normal.
    #[inline]
    pub fn normal(&self, stream: &mut Stream) -> f64 {
        let Layers { ends, densities } = &self.normal;
        loop {
            let (layer, place) = layer_of(stream);
            let place = place * 2.0 - 1.0;
            let x = place * ends[layer];
            if x.abs() < ends[layer + 1] {
                return x;
            }
            if layer == 0 {
                return self.tail(stream, place);
            }
            let (low, high) = (densities[layer], densities[layer + 1]);
            if low + (high - low) * stream.unit() < libm::exp(-x * x / 2.0) {
                return x;
            }
        }
    }

    fn tail(&self, stream: &mut Stream, side: f64) -> f64 {
        loop {
            let x = -libm::log(stream.unit()) / TAIL_NORMAL;
            let y = -libm::log(stream.unit());
            if y + y >= x * x {
                return (TAIL_NORMAL + x).copysign(side);
            }
        }
    }

    /// How often something happens that does so `mean` times on average: by its gaps, or if often by transformed
    /// rejection (W. Hörmann, "The transformed rejection method for generating Poisson random variables", 1993: PTRS).
    pub fn poisson(&self, stream: &mut Stream, mean: f64) -> u32 {
        if mean >= POISSON_OFTEN {
            return poisson_often(stream, mean);
        }
        let (mut count, mut sum) = (0, self.exponential(stream));
        while sum < mean {
            sum += self.exponential(stream);
            count += 1;
        }
        count
    }
}

/// From here on rejection is right, and cheaper than gaps: 10.
const POISSON_OFTEN: f64 = 10.0;

fn poisson_often(stream: &mut Stream, mean: f64) -> u32 {
    let b = 0.931 + 2.53 * libm::sqrt(mean);
    let a = -0.059 + 0.024_83 * b;
    let inside = 0.927_7 - 3.622_4 / (b - 2.0);
    loop {
        let side = stream.unit() - 0.5;
        let height = stream.unit();
        let near = 0.5 - side.abs();
        let count = libm::floor((2.0 * a / near + b) * side + mean + 0.43);
        if near >= 0.07 && height <= inside {
            return count as u32;
        }
        if count < 0.0 || (near < 0.013 && height > near) {
            continue;
        }
        let hat = libm::log(height * (1.1239 + 1.1328 / (b - 3.4)) / (a / (near * near) + b));
        if hat <= count * libm::log(mean) - mean - libm::lgamma(count + 1.0) {
            return count as u32;
        }
    }
}

#[inline]
fn layer_of(stream: &mut Stream) -> (usize, f64) {
    let (high, low) = (stream.bits(), stream.bits());
    let bits = (u64::from(high) << 32) | u64::from(low);
    (
        (bits & 0xff) as usize,
        ((bits >> 11) as f64 + 0.5) * (1.0 / (1u64 << 53) as f64),
    )
}

/// A law ready to be drawn from, nanoseconds.
#[derive(Debug, Clone, Copy)]
pub enum Drawn {
    Zero,
    Fixed(f64),
    Exponential(f64),
    /// Mean and deviation of the logarithm.
    Lognormal(f64, f64),
    Uniform(f64),
}

impl Drawn {
    /// Of a law in seconds; what is no time is none.
    pub fn of(law: Law) -> Self {
        let mean = law.mean().clamp(0.0, 1e9) * 1e9;
        if mean.is_nan() || mean == 0.0 {
            return Self::Zero;
        }
        match law {
            Law::Zero => Self::Zero,
            Law::Fixed { .. } => Self::Fixed(mean),
            Law::Exponential { .. } => Self::Exponential(mean),
            Law::Uniform { .. } => Self::Uniform(mean * 2.0),
            Law::Lognormal { cv2, .. } if cv2 > 0.0 => Self::lognormal(mean, cv2),
            Law::Lognormal { .. } => Self::Fixed(mean),
        }
    }

    /// A lognormal law of a mean, nanoseconds, and a squared coefficient of variation.
    pub fn lognormal(mean: f64, cv2: f64) -> Self {
        if mean <= 0.0 || mean.is_nan() {
            return Self::Zero;
        }
        let variance = libm::log1p(cv2.clamp(0.0, 1e6));
        Self::Lognormal(libm::log(mean) - variance / 2.0, libm::sqrt(variance))
    }

    /// Mean, nanoseconds, and squared coefficient of variation.
    pub fn moments(self) -> (f64, f64) {
        match self {
            Self::Zero => (0.0, 0.0),
            Self::Fixed(mean) => (mean, 0.0),
            Self::Exponential(mean) => (mean, 1.0),
            Self::Lognormal(mu, sigma) => {
                let variance = sigma * sigma;
                (libm::exp(mu + variance / 2.0), libm::expm1(variance))
            }
            Self::Uniform(max) => (max / 2.0, 1.0 / 3.0),
        }
    }

    /// One draw, nanoseconds.
    #[inline]
    pub fn draw(self, ziggurat: &Ziggurat, stream: &mut Stream) -> f64 {
        match self {
            Self::Zero => 0.0,
            Self::Fixed(time) => time,
            Self::Exponential(mean) => mean * ziggurat.exponential(stream),
            Self::Lognormal(mu, sigma) => ziggurat.exponential_of(mu + sigma * ziggurat.normal(stream)),
            Self::Uniform(max) => max * stream.unit(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::{Key, Purpose};

    fn moments(draws: u32, mut draw: impl FnMut(&Ziggurat, &mut Stream) -> f64) -> (f64, f64) {
        let ziggurat = Ziggurat::default();
        let mut stream = Stream::new(Key {
            seed: 11,
            replication: 0,
            entity: 1,
            purpose: Purpose::Service,
        });
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..draws {
            let x = draw(&ziggurat, &mut stream);
            sum += x;
            squares += x * x;
        }
        let mean = sum / f64::from(draws);
        (mean, squares / f64::from(draws) - mean * mean)
    }

    #[test]
    fn ziggurats_have_the_moments_and_tails_of_their_laws() {
        // Each within about five standard errors of a million draws.
        let (mean, variance) = moments(1_000_000, |ziggurat, stream| ziggurat.exponential(stream));
        assert!(
            (mean - 1.0).abs() < 0.005 && (variance - 1.0).abs() < 0.015,
            "{mean} {variance}"
        );
        let (mean, variance) = moments(1_000_000, |ziggurat, stream| ziggurat.normal(stream));
        assert!(
            mean.abs() < 0.005 && (variance - 1.0).abs() < 0.0075,
            "{mean} {variance}"
        );
        let (beyond, _) = moments(1_000_000, |ziggurat, stream| {
            f64::from(ziggurat.exponential(stream) > 8.0)
        });
        assert!((beyond - libm::exp(-8.0)).abs() < 1e-4, "{beyond}");
        let (beyond, _) = moments(1_000_000, |ziggurat, stream| {
            f64::from(ziggurat.normal(stream) > 3.7)
        });
        assert!((beyond - 1.078e-4).abs() < 6e-5, "{beyond}");
    }

    #[test]
    fn the_quick_power_is_the_exact_one_to_thirteen_digits() {
        let ziggurat = Ziggurat::default();
        for step in -7_000..=7_000 {
            let power = f64::from(step) / 10.0 + 0.013_7;
            let exact = libm::exp(power.clamp(-700.0, 700.0));
            assert!(
                (ziggurat.exponential_of(power) / exact - 1.0).abs() < 2e-13,
                "{power}"
            );
        }
    }

    #[test]
    fn laws_have_their_means_and_variations() {
        let laws = [
            Law::Fixed { mean: 0.002 },
            Law::Exponential { mean: 0.003 },
            Law::Lognormal {
                mean: 0.004,
                cv2: 2.0,
            },
            Law::Uniform { max: 0.05 },
        ];
        for law in laws {
            let drawn = Drawn::of(law);
            let (mean, variance) = moments(400_000, |ziggurat, stream| drawn.draw(ziggurat, stream) / 1e9);
            assert!((mean / law.mean() - 1.0).abs() < 0.015, "{law:?}: {mean}");
            assert!(
                (variance / (mean * mean) - law.cv2()).abs() < 0.15 * law.cv2() + 1e-9,
                "{law:?}: {variance}"
            );
        }
    }

    /// By its moments, and for the smallest mean that is drawn by rejection by each of its chances, too.
    #[test]
    fn counts_are_those_of_poisson() {
        for of in [0.2, 3.0, 9.9, 10.0, 47.0, 1e3, 1e6] {
            let (mean, variance) = moments(100_000, |ziggurat, stream| {
                f64::from(ziggurat.poisson(stream, of))
            });
            let error = (of / 100_000.0).sqrt();
            assert!((mean - of).abs() < 4.0 * error, "{of}: {mean}");
            assert!((variance / of - 1.0).abs() < 0.03, "{of}: {variance}");
        }
        let mut counts = [0.0; 40];
        let draws = 200_000.0;
        moments(200_000, |ziggurat, stream| {
            let count = ziggurat.poisson(stream, 10.0);
            counts[(count as usize).min(39)] += 1.0;
            0.0
        });
        let mut squares = 0.0;
        let mut cells = 0;
        for (count, seen) in (0..).zip(counts) {
            let k = f64::from(count);
            let expected = draws * libm::exp(k * libm::log(10.0) - 10.0 - libm::lgamma(k + 1.0));
            if expected > 20.0 {
                squares += (seen - expected) * (seen - expected) / expected;
                cells += 1;
            }
        }
        // The 99.9 % point of chi square with so many degrees of freedom, less than this (Wilson and Hilferty, 1931).
        let freedom = f64::from(cells);
        let root = 1.0 - 2.0 / (9.0 * freedom) + 3.1 * (2.0 / (9.0 * freedom)).sqrt();
        let limit = freedom * root * root * root;
        assert!(squares < limit, "{squares} of {cells}, at most {limit}");
    }

    #[test]
    fn what_is_no_time_is_none() {
        for mean in [f64::NAN, -1.0, 0.0] {
            assert!(matches!(Drawn::of(Law::Exponential { mean }), Drawn::Zero));
        }
    }
}

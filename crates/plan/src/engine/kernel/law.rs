//! Drawing from the laws of a network, quickly: ziggurats in place of logarithms.
//!
//! Exact in law, after G. Marsaglia and W. W. Tsang, "The Ziggurat Method for Generating Random
//! Variables" (2000), with 256 layers; the layer and the place in it come from different bits of one draw.

use crate::{draw::Stream, network::Law};

const LAYERS: usize = 256;
/// Where the tails begin; the paper's.
const TAIL_EXPONENTIAL: f64 = 7.697_117_470_131_05;
const TAIL_NORMAL: f64 = 3.654_152_885_361_009;

/// Layers of the two laws that all others are made of.
#[derive(Debug, Clone)]
pub struct Ziggurat {
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

    /// How often something happens that does so `mean` times on average: by its gaps, or as if normal if often.
    pub fn poisson(&self, stream: &mut Stream, mean: f64) -> u32 {
        if mean > 200.0 {
            let count = mean + libm::sqrt(mean) * self.normal(stream) + 0.5;
            return count as u32;
        }
        let (mut count, mut sum) = (0, self.exponential(stream));
        while sum < mean {
            sum += self.exponential(stream);
            count += 1;
        }
        count
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
            Law::Lognormal { cv2, .. } if cv2 > 0.0 => {
                let variance = libm::log1p(cv2.min(1e6));
                Self::Lognormal(libm::log(mean) - variance / 2.0, libm::sqrt(variance))
            }
            Law::Lognormal { .. } => Self::Fixed(mean),
        }
    }

    /// One draw, nanoseconds.
    #[inline]
    pub fn draw(self, ziggurat: &Ziggurat, stream: &mut Stream) -> f64 {
        match self {
            Self::Zero => 0.0,
            Self::Fixed(time) => time,
            Self::Exponential(mean) => mean * ziggurat.exponential(stream),
            Self::Lognormal(mu, sigma) => libm::exp(mu + sigma * ziggurat.normal(stream)),
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
        let (mean, variance) = moments(100_000, |ziggurat, stream| {
            f64::from(ziggurat.poisson(stream, 3.0))
        });
        assert!((mean - 3.0).abs() < 0.03 && (variance - 3.0).abs() < 0.08);
    }

    #[test]
    fn what_is_no_time_is_none() {
        for mean in [f64::NAN, -1.0, 0.0] {
            assert!(matches!(Drawn::of(Law::Exponential { mean }), Drawn::Zero));
        }
    }
}

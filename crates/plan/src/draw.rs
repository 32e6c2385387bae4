//! Chance by counting: the nth draw of a stream is a pure function of its key and n.
//!
//! A [`Stream`]'s key is made of the plan's seed, the replication, what draws (a node, a class, a user) and
//! what for. So a node more or less shifts nobody else's draws: two designs meet the same users,
//! bursts and failures, and the difference between them is theirs alone (common random numbers). Any moment of a
//! run can be drawn again. The generator is Philox 4x32 with 10 rounds (J. Salmon and others, "Parallel
//! Random Numbers: As Easy as 1, 2, 3", SC 2011).

/// What a stream is drawn for; a part of its key, so the numbers must never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    Arrival = 1,
    Session = 2,
    Publish = 3,
    Room = 4,
    Service = 5,
    Network = 6,
    Burst = 7,
    Failure = 8,
    Backoff = 9,
    Choice = 10,
    Sample = 11,
    Parameter = 12,
}

/// Who draws, and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    pub seed: u64,
    pub replication: u32,
    pub entity: u32,
    pub purpose: Purpose,
}

/// An endless stream of draws.
#[derive(Debug, Clone)]
pub struct Stream {
    key: [u32; 2],
    counter: [u32; 4],
    /// Two blocks that were made side by side, and how much of them was drawn.
    drawn: [u32; DRAWN],
    used: usize,
}

/// Draws made at once: a block has four, and two blocks cost hardly more than one.
const DRAWN: usize = 8;

impl Stream {
    /// The stream of a key, from its beginning.
    pub fn new(key: Key) -> Self {
        Self::at(key, 0)
    }

    /// The stream of a key from its `block`th four draws on: to take it up in the middle.
    pub fn at(key: Key, block: u64) -> Self {
        // What does not fit the 64 bits of the key goes into the half of the counter that never counts.
        Self {
            key: [key.seed as u32, (key.seed >> 32) as u32],
            counter: [
                block as u32,
                (block >> 32) as u32,
                key.entity,
                key.replication ^ ((key.purpose as u32) << 24),
            ],
            drawn: [0; DRAWN],
            used: DRAWN,
        }
    }

    /// 32 even bits.
    #[inline]
    pub fn bits(&mut self) -> u32 {
        if self.used >= DRAWN {
            self.refill();
        }
        let bits = self.drawn[self.used & (DRAWN - 1)];
        self.used += 1;
        bits
    }

    #[inline(never)]
    fn refill(&mut self) {
        let first = self.counter;
        let second = next(first);
        let blocks = philox([first, second], self.key);
        self.drawn[..4].copy_from_slice(&blocks[0]);
        self.drawn[4..].copy_from_slice(&blocks[1]);
        self.counter = next(second);
        self.used = 0;
    }

    /// Evenly from above 0 to below 1, in steps of 2^-53.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        let bits = (u64::from(self.bits()) << 32) | u64::from(self.bits());
        ((bits >> 12) as f64 + 0.5) * (1.0 / (1u64 << 52) as f64)
    }

    /// Evenly from 0 to below `len`, which is above 0.
    pub fn below(&mut self, len: u32) -> u32 {
        ((u64::from(self.bits()) * u64::from(len)) >> 32) as u32
    }

    /// Exponential with that mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -libm::log(self.unit()) * mean
    }

    /// Standard normal, by G. Box and M. Muller (1958).
    pub fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(self.unit()));
        radius * libm::cos(std::f64::consts::TAU * self.unit())
    }

    /// Lognormal with that mean and squared coefficient of variation.
    pub fn lognormal(&mut self, mean: f64, cv2: f64) -> f64 {
        let sigma2 = libm::log1p(cv2);
        mean * libm::exp(libm::sqrt(sigma2) * self.normal() - sigma2 / 2.0)
    }

    /// Weibull with that shape and scale.
    pub fn weibull(&mut self, shape: f64, scale: f64) -> f64 {
        scale * libm::pow(-libm::log(self.unit()), 1.0 / shape)
    }
}

/// The counter of the block after.
fn next([low, high, entity, purpose]: [u32; 4]) -> [u32; 4] {
    let (low, carry) = low.overflowing_add(1);
    [low, high.wrapping_add(u32::from(carry)), entity, purpose]
}

/// The blocks of so many counters, side by side: the rounds of one wait for each other, and not for those of another.
fn philox<const N: usize>(mut counters: [[u32; 4]; N], mut key: [u32; 2]) -> [[u32; 4]; N] {
    for _ in 0..10 {
        for counter in &mut counters {
            let a = u64::from(counter[0]) * 0xD251_1F53;
            let b = u64::from(counter[2]) * 0xCD9E_8D57;
            *counter = [
                (b >> 32) as u32 ^ counter[1] ^ key[0],
                b as u32,
                (a >> 32) as u32 ^ counter[3] ^ key[1],
                a as u32,
            ];
        }
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counters
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(entity: u32) -> Stream {
        Stream::new(Key {
            seed: 7,
            replication: 0,
            entity,
            purpose: Purpose::Service,
        })
    }

    #[test]
    fn it_is_the_philox_of_the_paper() {
        // Known answers of the authors' Random123 (kat_vectors, philox4x32 10).
        let zeros = [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8];
        let ones = [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd];
        assert_eq!(philox([[0; 4]], [0; 2]), [zeros]);
        assert_eq!(philox([[u32::MAX; 4]], [u32::MAX; 2]), [ones]);
    }

    #[test]
    fn two_blocks_at_once_are_those_of_each_alone() {
        let (mut drawn, key) = (stream(1), stream(1).key);
        let mut counter = drawn.counter;
        for _ in 0..5 {
            let [alone] = philox([counter], key);
            assert_eq!(alone, [(); 4].map(|()| drawn.bits()));
            counter = next(counter);
        }
        assert_eq!(next([u32::MAX, 3, 1, 2]), [0, 4, 1, 2]);
    }

    #[test]
    fn a_stream_can_be_taken_up_in_the_middle() {
        let mut first = stream(1);
        let eight: Vec<u32> = (0..8).map(|_| first.bits()).collect();
        let key = Key {
            seed: 7,
            replication: 0,
            entity: 1,
            purpose: Purpose::Service,
        };
        let mut second = Stream::at(key, 1);
        assert_eq!(eight[4..], [(); 4].map(|()| second.bits()));
        assert_ne!(eight[0], stream(2).bits());
    }

    #[test]
    fn laws_have_their_means() {
        let mut stream = stream(3);
        let draws = 200_000;
        let mut mean = |draw: &mut dyn FnMut(&mut Stream) -> f64| {
            (0..draws).map(|_| draw(&mut stream)).sum::<f64>() / f64::from(draws)
        };
        // Each within five standard errors.
        assert!((mean(&mut Stream::unit) - 0.5).abs() < 0.004);
        assert!((mean(&mut |stream| stream.exponential(2.0)) - 2.0).abs() < 0.03);
        assert!(mean(&mut Stream::normal).abs() < 0.012);
        assert!((mean(&mut |stream| stream.lognormal(3.0, 2.0)) - 3.0).abs() < 0.05);
        // Gamma(1 + 1 / 0.5) is 2.
        assert!((mean(&mut |stream| stream.weibull(0.5, 20.0)) - 40.0).abs() < 1.0);
    }
}

//! How fast a reader takes what is written to it, while something waits.

use std::time::Duration;

use crate::moment::Moment;

/// Time over which one sample is taken.
const SAMPLE_MS: u32 = 20;

/// See the module. Twelve bytes of every session.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    /// Moving average, bytes a millisecond; 0 while it was never behind.
    per_ms: u32,
    since_ms: u32,
    bytes: u32,
}

impl Pace {
    /// The kernel took `len` bytes, and `rest` wait.
    pub fn learn(&mut self, len: usize, rest: usize, now: Moment) {
        let now_ms = (now.0 / 1_000_000) as u32;
        if rest == 0 {
            // It is as fast as we are: that says nothing of how fast it could be.
            (self.since_ms, self.bytes) = (now_ms, 0);
            return;
        }
        if self.bytes == 0 && self.per_ms == 0 {
            self.since_ms = now_ms;
        }
        self.bytes = self.bytes.saturating_add(len as u32);
        let elapsed_ms = now_ms.wrapping_sub(self.since_ms);
        if elapsed_ms >= SAMPLE_MS {
            let sample = self.bytes / elapsed_ms;
            self.per_ms = match self.per_ms {
                0 => sample.max(1),
                before => ((before * 3 + sample) / 4).max(1),
            };
            (self.since_ms, self.bytes) = (now_ms, 0);
        }
    }

    /// Whether it was ever behind.
    pub fn is_known(&self) -> bool {
        self.per_ms > 0
    }

    /// Bytes it takes in so much time; a great many while it was never behind.
    pub fn bytes_in(&self, time: Duration) -> usize {
        match self.per_ms {
            0 => 16 << 10,
            per_ms => per_ms as usize * time.as_millis() as usize,
        }
    }

    /// How long it takes so many bytes; no time while it was never behind.
    pub fn time_for(&self, bytes: usize) -> Duration {
        match self.per_ms {
            0 => Duration::ZERO,
            per_ms => Duration::from_millis(bytes as u64 / u64::from(per_ms)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_reader_is_measured_while_something_waits() {
        let mut pace = Pace::default();
        for ms in 1..=1_000u64 {
            pace.learn(125, 10_000, Moment(ms * 1_000_000));
        }
        let in_100_ms = pace.bytes_in(Duration::from_millis(100));
        assert!((11_000..=14_000).contains(&in_100_ms), "{in_100_ms}");
        let time = pace.time_for(125_000).as_millis();
        assert!((900..=1_100).contains(&time), "{time}");
        assert_eq!(Pace::default().time_for(125_000), Duration::ZERO);
        // A pause with nothing waiting does not count as slowness.
        pace.learn(100, 0, Moment(5_000_000_000));
        for ms in 5_001..=5_100u64 {
            pace.learn(125, 10_000, Moment(ms * 1_000_000));
        }
        let in_100_ms = pace.bytes_in(Duration::from_millis(100));
        assert!((11_000..=14_000).contains(&in_100_ms), "{in_100_ms}");
    }
}

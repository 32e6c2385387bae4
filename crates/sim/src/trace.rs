//! What happened in a run: a number that is the same for the same seed, and lines for people.

use std::fmt;

use tidegate_core::Moment;

/// Lines kept; the last ones count.
const LINES_MAX: usize = 200_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Trace {
    hash: u64,
    lines: Option<Vec<String>>,
    /// How many things were noted.
    pub events: u64,
}

impl Trace {
    /// Keeps lines only if they are wanted.
    pub fn new(wants_lines: bool) -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            lines: wants_lines.then(Vec::new),
            events: 0,
        }
    }

    /// Mixes bytes in.
    pub fn mark(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.number(u64::from_le_bytes(word));
        }
        self.number(bytes.len() as u64);
    }

    /// Mixes a number in.
    pub fn number(&mut self, number: u64) {
        self.hash = (self.hash ^ number)
            .wrapping_mul(0x0000_0100_0000_01b3)
            .rotate_left(23);
    }

    /// Notes what happens: its time and kind always, its words if lines are kept.
    pub fn say(&mut self, now: Moment, kind: &str, words: fmt::Arguments<'_>) {
        self.events += 1;
        self.number(now.0);
        self.mark(kind.as_bytes());
        if let Some(lines) = &mut self.lines
            && lines.len() < LINES_MAX
        {
            lines.push(format!("{:>12.6}  {kind:<9} {words}", now.0 as f64 / 1e9));
        }
    }

    /// The number of this run.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The lines, if they were wanted.
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}

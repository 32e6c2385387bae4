//! How much the kernel may hold unsent for one connection (`TCP_NOTSENT_LOWAT`): what its reader takes in a short time.
//!
//! What is there can be neither replaced nor overtaken any more, so a slow reader should have little of it; for a
//! fast one more saves wake-ups. Every connection begins with little, and gets more when the kernel was found to
//! be through with it soon.

use std::time::Duration;

/// How long what is held may take the reader, about.
const TIME: Duration = Duration::from_millis(50);
/// What is held at first, and at least; KiB.
const FIRST_KIB: u16 = 8;
const LEAST_KIB: u16 = 3;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unsent {
    kib: u16,
    /// When the kernel was full: milliseconds since the start, wrapping.
    full_ms: u32,
}

impl Unsent {
    /// What a new connection's kernel may hold, where the configuration allows `bytes_max`.
    pub(crate) fn first_bytes(bytes_max: u32) -> u32 {
        bytes_max.min(u32::from(FIRST_KIB) << 10)
    }

    pub(crate) fn new(bytes_max: u32) -> Self {
        Self {
            kib: (Self::first_bytes(bytes_max) >> 10).max(1) as u16,
            full_ms: 0,
        }
    }

    /// The kernel is full. `takes_in` says what the reader was measured to take in some time, if that is known.
    /// Returns the bytes it may hold from now on, if that changes.
    pub(crate) fn handle_full(
        &mut self,
        takes_in: impl FnOnce(Duration) -> Option<usize>,
        now_ms: u32,
    ) -> Option<u32> {
        self.full_ms = now_ms;
        let takes_kib = takes_in(TIME)? >> 10;
        // Not for every change of its pace.
        if takes_kib * 2 > usize::from(self.kib) || self.kib <= LEAST_KIB {
            return None;
        }
        self.set((takes_kib as u16).max(LEAST_KIB))
    }

    /// The kernel has half of it sent, and takes more.
    pub(crate) fn handle_room(&mut self, bytes_max: u32, now_ms: u32) -> Option<u32> {
        let most = (bytes_max >> 10) as u16;
        let is_fast = u128::from(now_ms.wrapping_sub(self.full_ms)) < TIME.as_millis() / 4;
        (is_fast && self.kib < most).then(|| self.set((self.kib * 2).min(most)))?
    }

    fn set(&mut self, kib: u16) -> Option<u32> {
        self.kib = kib;
        Some(u32::from(kib) << 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u32 = 32 << 10;

    #[test]
    fn a_fast_reader_gets_more_and_a_slow_one_less() {
        let mut unsent = Unsent::new(MOST);
        assert_eq!(Unsent::first_bytes(MOST), 8 << 10);
        assert_eq!(unsent.handle_full(|_| None, 100), None);
        assert_eq!(unsent.handle_room(MOST, 102), Some(16 << 10));
        unsent.handle_full(|_| None, 110);
        assert_eq!(unsent.handle_room(MOST, 111), Some(32 << 10));
        unsent.handle_full(|_| None, 120);
        assert_eq!(unsent.handle_room(MOST, 121), None, "that is all there is");
        // It falls to a tenth.
        assert_eq!(
            unsent.handle_full(|_| Some(20 << 10), 200),
            None,
            "not for every change"
        );
        assert_eq!(unsent.handle_full(|_| Some(4 << 10), 200), Some(4 << 10));
        assert_eq!(unsent.handle_room(MOST, 240), None);
        assert_eq!(unsent.handle_full(|_| Some(100), 300), Some(3 << 10));
        assert_eq!(unsent.handle_full(|_| Some(0), 300), None);
    }

    #[test]
    fn the_configuration_may_allow_less_than_the_first() {
        let mut unsent = Unsent::new(2 << 10);
        assert_eq!(Unsent::first_bytes(2 << 10), 2 << 10);
        assert_eq!(unsent.handle_full(|_| Some(100), 0), None);
        assert_eq!(unsent.handle_room(2 << 10, 1), None);
    }
}

//! Where a publication stands in its room: epoch + offset.
//!
//! Offsets count from 1 within an epoch; 0 is before the first publication. The
//! epoch changes when history was lost, so that offsets never lie: equal offsets
//! in two epochs are different publications.

use std::{fmt, str::FromStr};

/// The number of a publication within its epoch, from 1; 0 means "before the first".
pub type Offset = u64;

/// One unbroken history of a room. Written as 16 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// A place in a room's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// Which unbroken history.
    pub epoch: Epoch,
    /// The last publication seen in it.
    pub offset: Offset,
}

/// A text that is not 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an epoch is 16 lowercase hexadecimal digits")]
pub struct EpochError;

impl FromStr for Epoch {
    type Err = EpochError;
    fn from_str(text: &str) -> Result<Self, EpochError> {
        let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 16 || !text.bytes().all(is_digit) {
            return Err(EpochError);
        }
        u64::from_str_radix(text, 16).map(Epoch).map_err(|_| EpochError)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_survives_its_text() {
        for value in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef] {
            assert_eq!(Epoch(value).to_string().parse(), Ok(Epoch(value)));
        }
        assert_eq!("1".parse::<Epoch>(), Err(EpochError));
        assert_eq!("00000000000000FF".parse::<Epoch>(), Err(EpochError));
    }
}

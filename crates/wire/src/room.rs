//! The name of a room: `namespace:name`, checked once, trusted afterwards.
//!
//! The namespace chooses the policy, the whole name chooses the order of
//! publications and the home shard. Backed by shared bytes, so a clone is cheap
//! and may cross threads.

use std::{fmt, ops::Deref};

use bytes::Bytes;

/// Longest namespace in bytes.
pub const NAMESPACE_BYTES_MAX: usize = 32;
/// Longest whole name, `namespace:name`, in bytes.
pub const ROOM_BYTES_MAX: usize = 200;

/// A valid room name: `namespace:name`, at most [`ROOM_BYTES_MAX`] bytes of UTF-8.
///
/// The namespace is 1 to 32 of `a-z 0-9 _ -`; the name is at least one character,
/// none of them white space or control.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomName(Bytes);

/// Why a text is not a room name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RoomNameError {
    /// No `:` between a namespace and a name.
    #[error("a room is written `namespace:name`")]
    NoNamespace,
    /// The namespace is empty, too long, or has other characters than `a-z 0-9 _ -`.
    #[error("a namespace is 1 to 32 characters of a-z, 0-9, `_` and `-`")]
    BadNamespace,
    /// The part after the colon is empty.
    #[error("the name after the namespace is empty")]
    Empty,
    /// The whole is longer than [`ROOM_BYTES_MAX`] bytes.
    #[error("a room name has at most 200 bytes")]
    TooLong,
    /// White space or a control character in the name.
    #[error("a room name has no white space and no control characters")]
    BadCharacter,
}

impl RoomName {
    /// Checks and copies `text`.
    pub fn parse(text: &str) -> Result<Self, RoomNameError> {
        if text.len() > ROOM_BYTES_MAX {
            return Err(RoomNameError::TooLong);
        }
        let Some((namespace, name)) = text.split_once(':') else {
            return Err(RoomNameError::NoNamespace);
        };
        if !is_namespace(namespace) {
            return Err(RoomNameError::BadNamespace);
        }
        if name.is_empty() {
            return Err(RoomNameError::Empty);
        }
        let is_bad = |byte: u8| byte <= b' ' || byte == 0x7f;
        if name.bytes().any(is_bad)
            || (!name.is_ascii() && name.chars().any(|c| c.is_whitespace() || c.is_control()))
        {
            return Err(RoomNameError::BadCharacter);
        }
        Ok(Self(Bytes::copy_from_slice(text.as_bytes())))
    }

    /// Returns the part before the first colon.
    pub fn namespace(&self) -> &str {
        let text = self.as_str();
        &text[..text.find(':').expect("checked by parse")]
    }

    /// Returns the whole name.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("made from a str")
    }

    /// Returns the whole name's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Whether `text` may stand before the colon of a room name.
pub fn is_namespace(text: &str) -> bool {
    (1..=NAMESPACE_BYTES_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

impl Deref for RoomName {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_accepted() {
        for text in ["chat:lobby", "px:AAPL", "match:eu-42", "doc:a:b/c", "a:ü"] {
            let room = RoomName::parse(text).expect(text);
            assert_eq!(room.as_str(), text);
            assert_eq!(room.namespace(), text.split(':').next().unwrap());
        }
    }

    #[test]
    fn bad_names_are_refused_with_their_reason() {
        let long = format!("a:{}", "x".repeat(ROOM_BYTES_MAX));
        for (text, why) in [
            ("lobby", RoomNameError::NoNamespace),
            (":lobby", RoomNameError::BadNamespace),
            ("Chat:lobby", RoomNameError::BadNamespace),
            ("chat:", RoomNameError::Empty),
            ("chat:a b", RoomNameError::BadCharacter),
            ("chat:a\u{7f}", RoomNameError::BadCharacter),
            ("chat:a\u{2003}b", RoomNameError::BadCharacter),
            (&long, RoomNameError::TooLong),
        ] {
            assert_eq!(RoomName::parse(text), Err(why), "{text:?}");
        }
    }
}

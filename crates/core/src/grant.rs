//! What a token lets its bearer do: room patterns × rights, until a moment.

use std::rc::Rc;

use bytes::Bytes;
use tidegate_wire::RoomName;

use crate::moment::Moment;

/// One thing that can be done in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Right {
    /// Subscribe.
    Join = 1,
    /// Send.
    Publish = 2,
    /// Enter the members, and read them.
    Presence = 4,
    /// Read kept publications. Replays on a join need only `Join`.
    History = 8,
}

/// A set of rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights(pub u8);

impl Rights {
    /// Every right.
    pub const ALL: Rights = Rights(15);
    /// Adds one.
    pub fn with(self, right: Right) -> Self {
        Self(self.0 | right as u8)
    }
    /// Whether `right` is in the set.
    pub fn allow(self, right: Right) -> bool {
        self.0 & right as u8 != 0
    }
}

/// Rights in all rooms a pattern fits. `*` in a pattern stands for any run of
/// characters, also none; everything else for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Such as `chat:*` or `user:ann`.
    pub pattern: String,
    /// What may be done there.
    pub rights: Rights,
}

/// What the verifier found in a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The subject; empty lets the shard make up a name (development mode).
    pub user: Bytes,
    /// JSON shown to others in presence; empty for none.
    pub info: Bytes,
    /// When it ends; none for never.
    pub expires: Option<Moment>,
    /// What it lets do. Shared, because thousands of tokens grant the same.
    pub grants: Rc<[Grant]>,
}

/// Whether any of `grants` gives `right` in `room`.
pub fn allows(grants: &[Grant], room: &RoomName, right: Right) -> bool {
    grants
        .iter()
        .any(|grant| grant.rights.allow(right) && fits(grant.pattern.as_bytes(), room.as_bytes()))
}

/// Whether `pattern` fits `text`; linear in their product, no recursion.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            retry = Some((p + 1, t));
            p += 1;
        } else if p < pattern.len() && pattern[p] == text[t] {
            p += 1;
            t += 1;
        } else if let Some((after_star, start)) = retry {
            p = after_star;
            t = start + 1;
            retry = Some((after_star, t));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_what_they_say() {
        for (pattern, room, expected) in [
            ("chat:*", "chat:lobby", true),
            ("chat:*", "chats:lobby", false),
            ("*", "chat:lobby", true),
            ("doc:*:edit", "doc:7:edit", true),
            ("doc:*:edit", "doc:7:view", false),
            ("a:*b*c", "a:xbybc", true),
            ("a:b", "a:bc", false),
        ] {
            assert_eq!(
                fits(pattern.as_bytes(), room.as_bytes()),
                expected,
                "{pattern} {room}"
            );
        }
    }

    #[test]
    fn a_right_must_be_in_a_grant_that_fits() {
        let grants = [Grant {
            pattern: "chat:*".into(),
            rights: Rights::default().with(Right::Join),
        }];
        let room = RoomName::parse("chat:lobby").unwrap();
        assert!(allows(&grants, &room, Right::Join));
        assert!(!allows(&grants, &room, Right::Publish));
    }
}

//! Keys of the HTTP API: who may publish, read, or administer from a backend.
//!
//! Only hashes are kept. A presented key is hashed and compared with every one of
//! them in constant time, so that how long it takes tells nothing.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Shortest API key, bytes: a key is not a password, nobody types it.
pub const API_KEY_BYTES_MIN: usize = 16;

/// One thing an API key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Scope {
    /// Publish, batch, broadcast.
    Publish = 1,
    /// History, presence, rooms.
    Read = 2,
    /// Everything, and disconnecting users.
    Admin = 4,
}

impl Scope {
    /// Every scope, with its name in the configuration.
    pub const ALL: &'static [(&'static str, Scope)] = &[
        ("publish", Scope::Publish),
        ("read", Scope::Read),
        ("admin", Scope::Admin),
    ];
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// Adds one.
    pub fn with(self, scope: Scope) -> Self {
        Self(self.0 | scope as u8)
    }

    /// Whether `scope` may be used; `admin` includes the others.
    pub fn allow(self, scope: Scope) -> bool {
        self.0 & (scope as u8 | Scope::Admin as u8) != 0
    }
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Whose it is; in logs and metrics.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    hash: [u8; 32],
}

impl ApiKey {
    /// Makes one from the key itself.
    pub fn from_secret(name: &str, secret: &[u8], scopes: Scopes) -> Self {
        Self {
            name: name.to_owned(),
            scopes,
            hash: Sha256::digest(secret).into(),
        }
    }

    /// Makes one from the key's SHA-256, 64 hexadecimal digits; none if it is something else.
    pub fn from_hash(name: &str, hex: &str, scopes: Scopes) -> Option<Self> {
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        let mut hash = [0; 32];
        for (byte, place) in hash.iter_mut().zip((0..64).step_by(2)) {
            let digits = &hex[place..place + 2];
            // Rust's own parser would take a sign.
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            *byte = u8::from_str_radix(digits, 16).ok()?;
        }
        Some(Self {
            name: name.to_owned(),
            scopes,
            hash,
        })
    }
}

/// All keys of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApiKeys(Vec<ApiKey>);

impl ApiKeys {
    /// Collects keys.
    pub fn new(keys: Vec<ApiKey>) -> Self {
        Self(keys)
    }

    /// Finds the key that was presented.
    pub fn find(&self, presented: &str) -> Option<&ApiKey> {
        let hash: [u8; 32] = Sha256::digest(presented.as_bytes()).into();
        let mut found = None;
        for key in &self.0 {
            if bool::from(key.hash.ct_eq(&hash)) {
                found = Some(key);
            }
        }
        found
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the keys, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &ApiKey> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_itself_and_by_its_hash() {
        let publish = Scopes::default().with(Scope::Publish);
        let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        let keys = ApiKeys::new(vec![
            ApiKey::from_secret("a", b"key of a", publish),
            ApiKey::from_hash("b", hash, publish).unwrap(),
        ]);
        assert_eq!(keys.find("key of a").map(|key| key.name.as_str()), Some("a"));
        assert_eq!(keys.find("secret").map(|key| key.name.as_str()), Some("b"));
        assert_eq!(keys.find("Secret"), None);
        assert_eq!(keys.find(""), None);
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        for hex in ["", "abc", &"g".repeat(64), &"é".repeat(32), &"+1".repeat(32)] {
            assert_eq!(ApiKey::from_hash("a", hex, Scopes::default()), None, "{hex}");
        }
    }

    #[test]
    fn admin_includes_the_others_and_they_do_not_include_each_other() {
        let admin = Scopes::default().with(Scope::Admin);
        let read = Scopes::default().with(Scope::Read);
        for (_, scope) in Scope::ALL {
            assert!(admin.allow(*scope));
            assert_eq!(read.allow(*scope), *scope == Scope::Read);
        }
    }
}

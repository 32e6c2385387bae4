//! What stands in a token: its header and its claims, read once, bounded.
//!
//! ```text
//!   base64url({"alg":"HS256","kid":"a"}) . base64url({"sub":"ann","exp":…,"grants":[…]}) . base64url(signature)
//! ```

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;
use tidegate_core::grant::{Grant, Right, Rights};
use tidegate_wire::room::ROOM_BYTES_MAX;

/// Longest token. Checked before anything is decoded.
pub const TOKEN_BYTES_MAX: usize = 16 << 10;
/// Longest header, decoded.
const HEADER_BYTES_MAX: usize = 2 << 10;
/// Longest subject: it travels with each of the user's publications.
pub const USER_BYTES_MAX: usize = 128;
/// Longest `info`: it travels to every member of every room the user enters.
pub const INFO_BYTES_MAX: usize = 4 << 10;
/// Deepest nesting of `info`, so that no client's parser gives up on it.
const INFO_DEPTH_MAX: usize = 32;
/// Most room patterns in all grants: each command is checked against them one by one.
pub const PATTERNS_MAX: usize = 256;

/// A token's three parts, undecoded.
pub(super) struct Parts<'a> {
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
    /// What is signed: header, dot, claims.
    pub message: &'a [u8],
}

/// Splits a token; none if it does not have three parts or is too long.
pub(super) fn split(token: &str) -> Option<Parts<'_>> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let (message, signature) = token.rsplit_once('.')?;
    let (header, claims) = message.split_once('.')?;
    match claims.contains('.') {
        true => None,
        false => Some(Parts {
            header,
            claims,
            signature,
            message: message.as_bytes(),
        }),
    }
}

/// A token's header.
#[derive(Deserialize)]
pub(super) struct Header<'a> {
    #[serde(borrow)]
    pub alg: Cow<'a, str>,
    #[serde(borrow, default)]
    pub kid: Option<Cow<'a, str>>,
    /// Extensions that must be understood: we understand none.
    #[serde(default)]
    crit: Option<de::IgnoredAny>,
}

impl Parts<'_> {
    /// Decodes the header into `buffer` and reads it; none if it is no header we take.
    pub(super) fn header<'b>(&self, buffer: &'b mut Vec<u8>) -> Option<Header<'b>> {
        if self.header.len() > HEADER_BYTES_MAX.div_ceil(3) * 4 {
            return None;
        }
        buffer.clear();
        URL_SAFE_NO_PAD.decode_vec(self.header, buffer).ok()?;
        let header: Header<'b> = serde_json::from_slice(buffer)
            .ok()
            .filter(|_| is_object(buffer))?;
        header.crit.is_none().then_some(header)
    }

    /// Decodes the signature.
    pub(super) fn signature(&self) -> Option<Vec<u8>> {
        URL_SAFE_NO_PAD.decode(self.signature).ok()
    }

    /// Decodes the claims, still unread.
    pub(super) fn claims(&self) -> Option<Vec<u8>> {
        URL_SAFE_NO_PAD.decode(self.claims).ok()
    }
}

/// A token's claims, as they stand there. Unknown ones are ignored.
#[derive(Deserialize)]
pub(super) struct RawClaims<'a> {
    #[serde(borrow)]
    sub: Cow<'a, str>,
    #[serde(default, deserialize_with = "seconds")]
    pub exp: Option<u64>,
    #[serde(default, deserialize_with = "seconds")]
    pub nbf: Option<u64>,
    #[serde(borrow, default)]
    pub iss: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub aud: Option<OneOrMany<'a>>,
    #[serde(borrow, default)]
    info: Option<&'a RawValue>,
    #[serde(borrow, default)]
    grants: Vec<RawGrant<'a>>,
}

#[derive(Deserialize)]
struct RawGrant<'a> {
    #[serde(borrow)]
    rooms: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    can: Vec<Cow<'a, str>>,
}

/// `"a"` or `["a", "b"]`.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany<'a> {
    One(#[serde(borrow)] Cow<'a, str>),
    Many(#[serde(borrow)] Vec<Cow<'a, str>>),
}

impl OneOrMany<'_> {
    pub(super) fn names_any(&self, allowed: &[String]) -> bool {
        let is_allowed = |text: &str| allowed.iter().any(|allowed| allowed == text);
        match self {
            Self::One(text) => is_allowed(text),
            Self::Many(texts) => texts.iter().any(|text| is_allowed(text)),
        }
    }
}

/// Seconds since the Unix epoch; RFC 7519 allows fractions, which we cut off.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Whole(u64),
        Fraction(f64),
    }
    match Number::deserialize(deserializer)? {
        Number::Whole(seconds) => Ok(Some(seconds)),
        Number::Fraction(seconds) if seconds >= 0.0 => Ok(Some(seconds as u64)),
        Number::Fraction(_) => Err(de::Error::custom("a time before 1970")),
    }
}

/// What the rest of the server learns from a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthClaims {
    /// The subject; empty only in development mode, where the shard makes up a name.
    pub user: Bytes,
    /// JSON shown to others in presence; empty for none.
    pub info: Bytes,
    /// When it ends, seconds since the Unix epoch, leeway included; none for never.
    pub expires_unix: Option<u64>,
    /// What it lets do, as the token says it. Share it: [`super::GrantInterner`].
    pub grants: Vec<Grant>,
}

impl<'a> RawClaims<'a> {
    /// Reads claims; the error is a sentence for the developer.
    pub(super) fn read(json: &'a [u8]) -> Result<Self, String> {
        if !is_object(json) {
            return Err("the token's claims are no JSON object".to_owned());
        }
        // Says line and column of JSON that only its holder knows: safe to tell.
        serde_json::from_slice(json).map_err(|error| format!("the token's claims: {error}"))
    }

    /// Checks the bounds of what was read.
    pub(super) fn check(self) -> Result<AuthClaims, String> {
        let user = self.sub.as_bytes();
        if !(1..=USER_BYTES_MAX).contains(&user.len()) {
            return Err(format!(
                "the token's `sub` has {} bytes; 1 to {USER_BYTES_MAX} are allowed",
                user.len()
            ));
        }
        let info = self
            .info
            .map(RawValue::get)
            .filter(|info| *info != "null")
            .unwrap_or_default();
        if info.len() > INFO_BYTES_MAX {
            return Err(format!(
                "the token's `info` has {} bytes; {INFO_BYTES_MAX} are allowed",
                info.len()
            ));
        }
        if depth(info) > INFO_DEPTH_MAX {
            return Err(format!(
                "the token's `info` is nested deeper than {INFO_DEPTH_MAX}"
            ));
        }
        let patterns: usize = self.grants.iter().map(|grant| grant.rooms.len()).sum();
        if patterns > PATTERNS_MAX {
            return Err(format!(
                "the token's `grants` name {patterns} room patterns; {PATTERNS_MAX} are allowed"
            ));
        }
        let mut grants = Vec::with_capacity(patterns);
        for grant in self.grants {
            let rights = read_rights(&grant.can)?;
            for pattern in grant.rooms {
                if !(1..=ROOM_BYTES_MAX).contains(&pattern.len()) {
                    return Err(format!(
                        "a room pattern has {} bytes; 1 to {ROOM_BYTES_MAX} are allowed",
                        pattern.len()
                    ));
                }
                grants.push(Grant {
                    pattern: pattern.into_owned(),
                    rights,
                });
            }
        }
        Ok(AuthClaims {
            user: Bytes::copy_from_slice(user),
            info: Bytes::copy_from_slice(info.as_bytes()),
            expires_unix: self.exp,
            grants,
        })
    }
}

/// Names of rights, as in a token.
pub const RIGHTS: &[(&str, Right)] = &[
    ("join", Right::Join),
    ("publish", Right::Publish),
    ("presence", Right::Presence),
    ("history", Right::History),
];

fn read_rights(names: &[Cow<'_, str>]) -> Result<Rights, String> {
    let mut rights = Rights::default();
    for name in names {
        let Some((_, right)) = RIGHTS.iter().find(|(known, _)| known == name) else {
            return Err(format!(
                "the token grants {name:?}; join, publish, presence and history are known"
            ));
        };
        rights = rights.with(*right);
    }
    Ok(rights)
}

/// Whether JSON begins as an object: serde would take an array of the fields as well.
fn is_object(json: &[u8]) -> bool {
    json.trim_ascii_start().first() == Some(&b'{')
}

/// How deep valid JSON is nested; brackets in strings do not count.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) -> Result<AuthClaims, String> {
        RawClaims::read(json.as_bytes()).and_then(RawClaims::check)
    }

    #[test]
    fn claims_are_read_as_they_stand() {
        let claims = check(
            r#"{"sub":"ann","exp":1.9e9,"info":{"color": "teal"},"extra":[1],
                "grants":[{"rooms":["chat:*","px:*"],"can":["join","publish"]},{"rooms":["a:b"],"can":[]}]}"#,
        )
        .unwrap();
        assert_eq!(claims.user, "ann");
        assert_eq!(claims.info, r#"{"color": "teal"}"#);
        assert_eq!(claims.expires_unix, Some(1_900_000_000));
        let rights = Rights::default().with(Right::Join).with(Right::Publish);
        let grant = |pattern: &str, rights| Grant {
            pattern: pattern.into(),
            rights,
        };
        let expected = [
            grant("chat:*", rights),
            grant("px:*", rights),
            grant("a:b", Rights::default()),
        ];
        assert_eq!(claims.grants, expected);
    }

    #[test]
    fn claims_out_of_bounds_are_refused_with_their_reason() {
        let long = "x".repeat(USER_BYTES_MAX + 1);
        let deep = format!(
            "{}{}",
            "[".repeat(INFO_DEPTH_MAX + 1),
            "]".repeat(INFO_DEPTH_MAX + 1)
        );
        let wide = format!("\"{}\"", "x".repeat(INFO_BYTES_MAX));
        let many = vec!["\"a:*\""; PATTERNS_MAX + 1].join(",");
        for (json, why) in [
            ("[]".to_owned(), "no JSON object"),
            (r#"["ann"]"#.to_owned(), "no JSON object"),
            ("{}".to_owned(), "`sub`"),
            (r#"{"sub":7}"#.to_owned(), "claims"),
            (r#"{"sub":""}"#.to_owned(), "`sub` has 0 bytes"),
            (format!(r#"{{"sub":"{long}"}}"#), "`sub` has 129 bytes"),
            (r#"{"sub":"a","sub":"b"}"#.to_owned(), "duplicate"),
            (r#"{"sub":"a","exp":-1}"#.to_owned(), "before 1970"),
            (r#"{"sub":"a","exp":"1"}"#.to_owned(), "claims"),
            (r#"{"sub":"a","exp":null}"#.to_owned(), "claims"),
            (format!(r#"{{"sub":"a","info":{deep}}}"#), "nested"),
            (format!(r#"{{"sub":"a","info":{wide}}}"#), "`info` has"),
            (
                format!(r#"{{"sub":"a","grants":[{{"rooms":[{many}],"can":[]}}]}}"#),
                "257 room patterns",
            ),
            (
                r#"{"sub":"a","grants":[{"rooms":[""],"can":[]}]}"#.to_owned(),
                "pattern has 0 bytes",
            ),
            (
                r#"{"sub":"a","grants":[{"rooms":["a:*"],"can":["fly"]}]}"#.to_owned(),
                "\"fly\"",
            ),
            (r#"{"sub":"a","grants":[{"rooms":["a:*"]}]}"#.to_owned(), "`can`"),
        ] {
            let error = check(&json).expect_err(&json);
            assert!(error.contains(why), "{json} gave {error:?}");
        }
    }

    #[test]
    fn depth_counts_brackets_but_not_those_in_strings() {
        for (json, expected) in [
            ("", 0),
            ("1", 0),
            ("{}", 1),
            (r#"{"a":[["]]]"]]}"#, 3),
            (r#"["\"[[["]"#, 1),
        ] {
            assert_eq!(depth(json), expected, "{json}");
        }
    }

    #[test]
    fn tokens_have_three_parts() {
        for token in ["", ".", "a.b", "a.b.c.d"] {
            assert!(split(token).is_none(), "{token:?}");
        }
        assert!(split("a.b.").is_some());
        assert!(split(&"a".repeat(TOKEN_BYTES_MAX + 1)).is_none());
    }
}

//! Who is there: tokens to claims, API keys to scopes.
//!
//! ```text
//!   shard thread ── verify(token) ──► Ok(claims)      an HS token costs a few microseconds, inline
//!                                 ├─► Rejected        why, for the client
//!                                 └─► NeedsKeys ────► back office: refresh().await, then verify again
//! ```
//!
//! One [`Verifier`] serves every shard: its keys are read without a lock, and swapped
//! as a whole when a JWKS address gives new ones. Nothing here knows connections.

mod api_key;
mod claims;
mod grants;
mod jwks;
mod key;

use std::time::Duration;

pub use api_key::{API_KEY_BYTES_MIN, ApiKey, ApiKeys, Scope, Scopes};
pub use claims::{AuthClaims, INFO_BYTES_MAX, PATTERNS_MAX, RIGHTS, TOKEN_BYTES_MAX, USER_BYTES_MAX};
pub use grants::GrantInterner;
pub(crate) use jwks::check_url;
pub use jwks::{DOCUMENT_BYTES_MAX, JwksConfig, JwksError, KEYS_MAX};
pub use key::{Algorithm, Key, KeyError};

use bytes::Bytes;
use tidegate_core::grant::{Grant, Rights};
use tidegate_wire::{Reject, RejectCode};

use claims::{Header, RawClaims};
use jwks::{Due, Source};

/// Keys tried for one token that names none; beyond it the token is refused. Each try
/// with a public key costs tens of microseconds of a shard's turn.
const TRIES_MAX: usize = 8;

/// Who gets in; `[auth]` of the configuration.
#[derive(Debug, Clone, Default)]
pub struct AuthConfig {
    /// Keys that stand in the configuration.
    pub keys: Vec<Key>,
    /// Where others come from.
    pub jwks: Option<JwksConfig>,
    /// A token's `aud` must name one; unchecked when empty.
    pub audience: Vec<String>,
    /// A token's `iss` must be one; unchecked when empty.
    pub issuer: Vec<String>,
    /// How far the issuer's clock may be off.
    pub leeway: Duration,
}

impl AuthConfig {
    /// Whether there is nothing to check tokens with: development mode.
    pub fn is_open(&self) -> bool {
        self.keys.is_empty() && self.jwks.is_none()
    }
}

/// What became of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is good.
    Ok(AuthClaims),
    /// It is not: `token_invalid`, `token_expired`; or `unavailable`, when its key cannot be fetched now.
    Rejected(Reject),
    /// Its key may be at the JWKS address: await [`Verifier::refresh`], then verify again.
    NeedsKeys,
}

/// Checks tokens. Shared by all threads.
pub struct Verifier {
    keys: Vec<Key>,
    source: Option<Source>,
    audience: Vec<String>,
    issuer: Vec<String>,
    leeway: u64,
    is_open: bool,
}

impl Verifier {
    /// Makes a verifier. Fetches nothing yet.
    pub fn new(config: &AuthConfig) -> Result<Self, JwksError> {
        Ok(Self {
            keys: config.keys.clone(),
            source: config.jwks.as_ref().map(Source::new).transpose()?,
            audience: config.audience.clone(),
            issuer: config.issuer.clone(),
            leeway: config.leeway.as_secs(),
            is_open: config.is_open(),
        })
    }

    /// Whether everyone gets in, under a made-up name: development mode.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Checks a token. Never waits; `now_unix` is in seconds.
    pub fn verify(&self, token: &str, now_unix: u64) -> Verdict {
        if self.is_open {
            return Verdict::Ok(everyone(token));
        }
        match self.check(token, now_unix) {
            Ok(claims) => Verdict::Ok(claims),
            Err(Failure::Invalid(detail)) => reject(RejectCode::TokenInvalid, detail),
            Err(Failure::Expired(detail)) => reject(RejectCode::TokenExpired, detail),
            Err(Failure::NoKey) => self.without_key(),
        }
    }

    /// Fetches keys, if there is an address and it was not just asked. Many may call it at once: one fetch serves all.
    pub async fn refresh(&self) -> Result<(), JwksError> {
        match &self.source {
            Some(source) => source.refresh().await,
            None => Ok(()),
        }
    }

    /// Fetches keys at the start and at the configured interval, for ever; sooner after a failure.
    /// Ends at once when there is no address. `refreshed` is called after each try.
    pub async fn keep_fresh(&self, refreshed: impl Fn()) {
        let Some(source) = &self.source else {
            return;
        };
        loop {
            // It was logged where it failed.
            let _ = source.refresh().await;
            refreshed();
            tokio::time::sleep(source.pause()).await;
        }
    }

    fn check(&self, token: &str, now_unix: u64) -> Result<AuthClaims, Failure> {
        if token.is_empty() {
            return Err(Failure::Invalid("a token is needed".to_owned()));
        }
        let invalid = |detail: &str| Failure::Invalid(detail.to_owned());
        let parts = claims::split(token).ok_or_else(|| invalid("this is not a token (JWT)"))?;
        let mut buffer = Vec::with_capacity(128);
        let header = parts
            .header(&mut buffer)
            .ok_or_else(|| invalid("the token's header cannot be read"))?;
        let algorithm = header
            .alg
            .parse()
            .map_err(|()| invalid("the token's `alg` is not one we check"))?;
        let signature = parts
            .signature()
            .ok_or_else(|| invalid("the token's signature is no base64url"))?;
        self.check_signature(&header, algorithm, parts.message, &signature)?;

        let json = parts
            .claims()
            .ok_or_else(|| invalid("the token's claims are no base64url"))?;
        let claims = RawClaims::read(&json).map_err(Failure::Invalid)?;
        self.check_validity(&claims, now_unix)?;
        let mut claims = claims.check().map_err(Failure::Invalid)?;
        claims.expires_unix = claims
            .expires_unix
            .map(|expires| expires.saturating_add(self.leeway));
        Ok(claims)
    }

    fn check_signature(
        &self,
        header: &Header<'_>,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Failure> {
        let fetched = self.source.as_ref().map(Source::keys);
        let fetched = fetched.as_ref().map_or(&[][..], |keys| keys.as_slice());
        let of_algorithm = || {
            self.keys
                .iter()
                .chain(fetched)
                .filter(|key| key.algorithm() == algorithm)
        };
        let kid = header.kid.as_deref();
        let is_signed = |key: &Key| key.is_signed(message, signature);

        // A key of that name is the one, and no other is tried.
        let mut of_kid = of_algorithm()
            .filter(|key| kid.is_some() && key.kid() == kid)
            .peekable();
        if of_kid.peek().is_some() {
            return match of_kid.take(TRIES_MAX).any(is_signed) {
                true => Ok(()),
                false => Err(Failure::Invalid(
                    "the token's signature is not its key's".to_owned(),
                )),
            };
        }
        let mut candidates = of_algorithm().filter(|key| kid.is_none() || key.kid().is_none());
        if candidates.by_ref().take(TRIES_MAX).any(is_signed) {
            return Ok(());
        }
        let may_be_fetched = self
            .source
            .as_ref()
            .is_some_and(|source| source.config.algorithms.contains(&algorithm));
        match may_be_fetched {
            true => Err(Failure::NoKey),
            false => Err(Failure::Invalid(format!(
                "no key for this {} token",
                algorithm.name()
            ))),
        }
    }

    fn check_validity(&self, claims: &RawClaims<'_>, now_unix: u64) -> Result<(), Failure> {
        if let Some(expires) = claims.exp
            && expires.saturating_add(self.leeway) <= now_unix
        {
            return Err(Failure::Expired(format!(
                "the token expired {} s ago",
                now_unix - expires
            )));
        }
        if let Some(begins) = claims.nbf
            && begins > now_unix.saturating_add(self.leeway)
        {
            return Err(Failure::Invalid(format!(
                "the token begins in {} s",
                begins - now_unix
            )));
        }
        let is_from = claims
            .iss
            .as_ref()
            .is_some_and(|issuer| self.issuer.iter().any(|known| known == issuer));
        if !self.issuer.is_empty() && !is_from {
            return Err(Failure::Invalid(
                "the token's `iss` is not one we take".to_owned(),
            ));
        }
        let is_for = claims
            .aud
            .as_ref()
            .is_some_and(|audience| audience.names_any(&self.audience));
        if !self.audience.is_empty() && !is_for {
            return Err(Failure::Invalid("the token's `aud` does not name us".to_owned()));
        }
        Ok(())
    }

    /// No key that is here signed it, but the address may have another.
    fn without_key(&self) -> Verdict {
        match self.source.as_ref().map(Source::due) {
            Some(Due::Yes) => Verdict::NeedsKeys,
            Some(Due::Failed(wait)) => {
                let wait_ms = wait.as_millis().clamp(1_000, u128::from(u32::MAX)) as u32;
                let detail = "the token's key cannot be fetched now";
                Verdict::Rejected(Reject::retry(RejectCode::Unavailable, wait_ms, detail))
            }
            Some(Due::Answered) | None => {
                reject(RejectCode::TokenInvalid, "no key for this token".to_owned())
            }
        }
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

enum Failure {
    Invalid(String),
    Expired(String),
    NoKey,
}

fn reject(code: RejectCode, detail: String) -> Verdict {
    Verdict::Rejected(Reject::new(code, detail))
}

/// Longest name one may give oneself in development mode, bytes.
const NAME_BYTES_MAX: usize = 64;

/// What anyone may do in development mode: everything. A short word in the token's place is taken as
/// the user's name, so that someone who returns is the same; anything else is a guest.
fn everyone(token: &str) -> AuthClaims {
    let is_name =
        token.len() <= NAME_BYTES_MAX && !token.chars().any(|c| c.is_whitespace() || c.is_control());
    let name = if is_name { token } else { "" };
    AuthClaims {
        user: Bytes::copy_from_slice(name.as_bytes()),
        info: Bytes::new(),
        expires_unix: None,
        grants: vec![Grant {
            pattern: "*".to_owned(),
            rights: Rights::ALL,
        }],
    }
}

#[cfg(test)]
mod tests;

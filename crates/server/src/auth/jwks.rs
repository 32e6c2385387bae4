//! Public keys from an address (JWKS): fetched, bounded, kept.
//!
//! The address is the operator's, what it answers is not trusted: its size, time and
//! number of keys are bounded, redirects are not followed, secrets in it are ignored.
//! A failed fetch keeps the keys that are there.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use jsonwebtoken::jwk::Jwk;
use reqwest::{Client, redirect};
use serde::Deserialize;
use tracing::{info, warn};

use super::key::{Algorithm, Key};

/// Largest document; beyond it the fetch fails.
pub const DOCUMENT_BYTES_MAX: usize = 256 << 10;
/// Most keys of a document; beyond it the fetch fails.
pub const KEYS_MAX: usize = 64;

/// Where keys come from, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwksConfig {
    /// `https`, or `http` on loopback.
    pub url: String,
    /// Between two fetches when nothing is amiss.
    pub refresh: Duration,
    /// Least time between two fetches, whatever is asked.
    pub cooldown: Duration,
    /// Longest time for one fetch.
    pub timeout: Duration,
    /// What its keys may be used with; none of them symmetric.
    pub algorithms: Vec<Algorithm>,
}

/// Why keys could not be fetched. For the operator.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// The address is not one we ask.
    #[error("`{0}` cannot be used: only https, or http on loopback, without user or fragment")]
    Address(String),
    /// No answer, or half of one.
    #[error("no answer: {0}")]
    Http(String),
    /// Another status than 200.
    #[error("answered with status {0}; 200 is needed, and redirects are not followed")]
    Status(u16),
    /// More than [`DOCUMENT_BYTES_MAX`].
    #[error("answered with more than {} KiB", DOCUMENT_BYTES_MAX >> 10)]
    TooLarge,
    /// More than [`KEYS_MAX`].
    #[error("answered with {0} keys; {KEYS_MAX} are allowed")]
    TooMany(usize),
    /// No JWKS.
    #[error("answered with something else than a JWKS: {0}")]
    Malformed(String),
    /// A JWKS, but nothing to check with.
    #[error("answered without any key that can be used")]
    Empty,
}

/// The source, its keys, and when it may be asked again.
pub(super) struct Source {
    pub config: JwksConfig,
    keys: ArcSwap<Vec<Key>>,
    client: Client,
    /// One fetch at a time; whoever waits takes the result of who went before.
    turn: tokio::sync::Mutex<()>,
    last: Mutex<Option<Attempt>>,
    fetches: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
struct Attempt {
    ended: Instant,
    has_failed: bool,
}

/// Whether the source may be asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Yes.
    Yes,
    /// It was asked just now, and answered.
    Answered,
    /// It was asked just now, and failed; the cooldown ends after this.
    Failed(Duration),
}

impl Source {
    pub(super) fn new(config: &JwksConfig) -> Result<Self, JwksError> {
        let url = check_url(&config.url)?;
        let mut builder = Client::builder()
            .redirect(redirect::Policy::none())
            .timeout(config.timeout)
            .connect_timeout(config.timeout)
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")));
        if url.scheme() == "http" {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| JwksError::Http(words(&error)))?;
        Ok(Self {
            config: config.clone(),
            keys: ArcSwap::default(),
            client,
            turn: tokio::sync::Mutex::new(()),
            last: Mutex::new(None),
            fetches: AtomicU64::new(0),
        })
    }

    pub(super) fn keys(&self) -> arc_swap::Guard<std::sync::Arc<Vec<Key>>> {
        self.keys.load()
    }

    pub(super) fn due(&self) -> Due {
        let last = *self.last.lock().expect("nothing panics while it is held");
        match last {
            Some(last) if last.ended.elapsed() < self.config.cooldown => match last.has_failed {
                true => Due::Failed(self.config.cooldown.saturating_sub(last.ended.elapsed())),
                false => Due::Answered,
            },
            _ => Due::Yes,
        }
    }

    /// Fetches, unless someone just did. Cancelling it leaves everything as it was.
    pub(super) async fn refresh(&self) -> Result<(), JwksError> {
        let before = self.fetches.load(Ordering::SeqCst);
        let _turn = self.turn.lock().await;
        let has_changed = self.fetches.load(Ordering::SeqCst) != before;
        if has_changed || self.due() != Due::Yes {
            return Ok(());
        }
        let result = self.fetch().await;
        match &result {
            Ok(keys) => {
                info!(url = %self.config.url, keys = keys.len(), "fetched keys for tokens");
                self.keys.store(std::sync::Arc::new(keys.clone()));
            }
            Err(error) => {
                let kept = self.keys.load().len();
                warn!(url = %self.config.url, %error, kept, "cannot fetch keys for tokens");
            }
        }
        let attempt = Attempt {
            ended: Instant::now(),
            has_failed: result.is_err(),
        };
        *self.last.lock().expect("nothing panics while it is held") = Some(attempt);
        self.fetches.fetch_add(1, Ordering::SeqCst);
        result.map(drop)
    }

    /// How long to wait before the next fetch that nobody asked for.
    pub(super) fn pause(&self) -> Duration {
        match self.due() {
            Due::Yes => Duration::ZERO,
            Due::Answered => self.config.refresh,
            Due::Failed(wait) => wait,
        }
    }

    async fn fetch(&self) -> Result<Vec<Key>, JwksError> {
        let request = self
            .client
            .get(&self.config.url)
            .header("accept", "application/json");
        let mut response = request
            .send()
            .await
            .map_err(|error| JwksError::Http(words(&error)))?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(JwksError::Status(status));
        }
        let mut document = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| JwksError::Http(words(&error)))?
        {
            if document.len() + chunk.len() > DOCUMENT_BYTES_MAX {
                return Err(JwksError::TooLarge);
            }
            document.extend_from_slice(&chunk);
        }
        read(&document, &self.config.algorithms)
    }
}

/// Checks an address before anything is sent to it.
pub(crate) fn check_url(text: &str) -> Result<reqwest::Url, JwksError> {
    let refuse = || JwksError::Address(text.to_owned());
    let url = reqwest::Url::parse(text).map_err(|_| refuse())?;
    let host = url.host_str().ok_or_else(refuse)?;
    let is_loopback = host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    let has_more = !url.username().is_empty() || url.password().is_some() || url.fragment().is_some();
    match url.scheme() {
        "https" if !has_more => Ok(url),
        "http" if !has_more && is_loopback => Ok(url),
        _ => Err(refuse()),
    }
}

/// Reads a document. Keys that we cannot use are passed over: a set may hold others' too.
fn read(document: &[u8], algorithms: &[Algorithm]) -> Result<Vec<Key>, JwksError> {
    #[derive(Deserialize)]
    struct Document {
        keys: Vec<serde_json::Value>,
    }
    let document: Document =
        serde_json::from_slice(document).map_err(|error| JwksError::Malformed(error.to_string()))?;
    if document.keys.len() > KEYS_MAX {
        return Err(JwksError::TooMany(document.keys.len()));
    }
    let jwks = document
        .keys
        .into_iter()
        .filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    let keys: Vec<Key> = jwks.flat_map(|jwk| Key::from_jwk(&jwk, algorithms)).collect();
    match keys.is_empty() {
        true => Err(JwksError::Empty),
        false => Ok(keys),
    }
}

/// The innermost cause says more than reqwest's own sentence.
fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.to_string() == error.to_string() {
        true => error.to_string(),
        false => format!("{error}: {innermost}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_loopback_are_asked() {
        for url in [
            "https://issuer.example.com/jwks.json",
            "http://127.0.0.1:9000/jwks",
            "http://[::1]:9000/jwks",
            "http://localhost/jwks",
        ] {
            assert!(check_url(url).is_ok(), "{url}");
        }
        for url in [
            "",
            "jwks.json",
            "http://issuer.example.com/jwks.json",
            "http://127.0.0.1.example.com/",
            "http://localhost.example.com/",
            "http://10.0.0.1/",
            "http://169.254.169.254/latest/meta-data",
            "file:///etc/passwd",
            "ftp://127.0.0.1/",
            "https://user:word@issuer.example.com/",
            "https://issuer.example.com/#here",
        ] {
            assert!(check_url(url).is_err(), "{url}");
        }
    }

    #[test]
    fn documents_that_are_none_are_refused() {
        let read = |text: &str| read(text.as_bytes(), Algorithm::ALL).unwrap_err().to_string();
        assert!(read("").contains("something else"));
        assert!(read("[]").contains("something else"));
        assert!(read(&"[".repeat(100_000)).contains("something else"));
        assert!(read(r#"{"keys":[]}"#).contains("without any key"));
        // A secret, a key for encryption, a key of no curve, something else.
        assert!(
            read(r#"{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},7]}"#)
                .contains("without any key")
        );
        let many = vec!["1"; KEYS_MAX + 1].join(",");
        assert!(read(&format!(r#"{{"keys":[{many}]}}"#)).contains("65 keys"));
    }
}

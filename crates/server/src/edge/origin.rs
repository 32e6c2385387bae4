//! Which web pages may open a WebSocket here.
//!
//! Browsers name the page's origin in every handshake and cannot be made to lie about
//! it; other clients need not send one, and are not stopped: a token is what lets them in.

/// The allow-list, `[origins] allow`.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    patterns: Vec<String>,
}

impl Origins {
    /// Takes patterns such as `https://app.example.com` and `https://*.example.com`; `*` alone allows any.
    /// With none, pages of the same host and port are allowed.
    pub fn new(allow: &[String]) -> Self {
        let patterns = allow.iter().map(|pattern| pattern.to_ascii_lowercase()).collect();
        Self { patterns }
    }

    /// Whether a page of `origin` may connect to `host` (the request's `Host`).
    pub fn allow(&self, origin: Option<&[u8]>, host: Option<&[u8]>) -> bool {
        let Some(origin) = origin else {
            return true;
        };
        let Ok(origin) = std::str::from_utf8(origin) else {
            return false;
        };
        let origin = origin.to_ascii_lowercase();
        if self.patterns.is_empty() {
            return is_same_host(&origin, host.unwrap_or_default());
        }
        self.patterns.iter().any(|pattern| fits(pattern, &origin))
    }
}

fn is_same_host(origin: &str, host: &[u8]) -> bool {
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_some_and(|authority| !host.is_empty() && authority.as_bytes().eq_ignore_ascii_case(host))
}

/// One `*` stands for any run of characters.
fn fits(pattern: &str, origin: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == origin,
        Some((before, after)) => {
            origin.len() >= before.len() + after.len()
                && origin.starts_with(before)
                && origin.ends_with(after)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(allow: &[&str], origin: &str, host: &str) -> bool {
        let allow: Vec<String> = allow.iter().map(|pattern| pattern.to_string()).collect();
        Origins::new(&allow).allow(Some(origin.as_bytes()), Some(host.as_bytes()))
    }

    #[test]
    fn without_a_list_the_same_host_is_allowed() {
        assert!(allows(&[], "http://example.com:8600", "example.com:8600"));
        assert!(allows(&[], "https://Example.com", "example.com"));
        assert!(!allows(&[], "https://evil.test", "example.com"));
        assert!(!allows(&[], "http://example.com:1", "example.com:8600"));
        assert!(!allows(&[], "null", "example.com"));
        assert!(!allows(&[], "http://", ""));
    }

    #[test]
    fn a_list_says_all_that_is_allowed() {
        assert!(allows(&["https://app.test"], "https://app.test", "other"));
        assert!(!allows(
            &["https://app.test"],
            "https://app.test.evil.test",
            "other"
        ));
        assert!(!allows(&["https://app.test"], "http://other", "other"));
        assert!(allows(&["https://*.app.test"], "https://a.app.test", "other"));
        assert!(!allows(&["https://*.app.test"], "https://app.test", "other"));
        assert!(!allows(&["https://*.app.test"], "https://evilapp.test", "other"));
        assert!(allows(&["*"], "null", "other"));
    }

    #[test]
    fn clients_that_are_no_browsers_send_none() {
        assert!(Origins::new(&["https://app.test".to_owned()]).allow(None, None));
        assert!(!Origins::default().allow(Some(b"\xff"), Some(b"\xff")));
    }
}

//! What is wrong, or weak, with plan files as SARIF 2.1.0 (OASIS, 2020), which code review shows beside the lines.
//!
//! One run of one tool; a result for each remark. Lines and columns are counted from 1, in characters. A file is named
//! as it was given, so that a path relative to the repository stays one.

use serde_json::{Value, json};

/// A rule that remarks may cite.
pub struct Rule {
    pub id: &'static str,
    pub says: &'static str,
}

/// One remark.
pub struct Remark {
    pub rule: &'static str,
    pub level: Level,
    pub message: String,
    pub file: String,
    /// From 1; none when it is about what is absent.
    pub place: Option<(usize, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Error,
    Warning,
    Note,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

pub fn sarif(rules: &[Rule], remarks: &[Remark]) -> String {
    let described: Vec<Value> = rules
        .iter()
        .map(|rule| json!({"id": rule.id, "shortDescription": {"text": rule.says}}))
        .collect();
    let results: Vec<Value> = remarks.iter().map(|remark| result(rules, remark)).collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "tidegate plan", "version": env!("CARGO_PKG_VERSION"), "rules": described}},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    format!("{log:#}\n")
}

fn result(rules: &[Rule], remark: &Remark) -> Value {
    // Viewers show a result only where it has a line.
    let (line, column) = remark.place.unwrap_or((1, 1));
    let mut result = json!({
        "ruleId": remark.rule,
        "level": remark.level.name(),
        "message": {"text": remark.message},
        "locations": [{"physicalLocation": {
            "artifactLocation": {"uri": uri(&remark.file)},
            "region": {"startLine": line, "startColumn": column},
        }}],
    });
    if let Some(index) = rules.iter().position(|rule| rule.id == remark.rule) {
        result["ruleIndex"] = json!(index);
    }
    result
}

/// A path as a URI reference (RFC 3986): relative stays relative.
fn uri(path: &str) -> String {
    let mut uri = String::new();
    if path.starts_with('/') {
        uri.push_str("file://");
    }
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(byte.into())
            }
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_uri() {
        assert_eq!(uri("plans/a b.toml"), "plans/a%20b.toml");
        assert_eq!(uri("/tmp/ü#?.toml"), "file:///tmp/%C3%BC%23%3F.toml");
        assert_eq!(uri("a:b.toml"), "a%3Ab.toml", "not a scheme");
    }
}

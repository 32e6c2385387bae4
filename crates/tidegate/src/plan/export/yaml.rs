//! Scalars as YAML reads them back: the writers beside this one put them into their lines.
//!
//! Names of a plan are letters, digits, `-` and `_`; titles are anything. Words that YAML 1.1 takes for truth
//! values or for nothing are quoted, for some tools still read them so.

/// A text as a scalar, in quotes where it could be read as anything else.
pub fn text(text: &str) -> String {
    let is_plain = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || "-_./".contains(char))
        && !is_word(text);
    match is_plain {
        true => text.to_owned(),
        false => quoted(text),
    }
}

/// A text in double quotes. JSON's escapes are YAML's, too.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A name as a DNS label has it: Kubernetes allows no `_`, and an end of a letter or a digit.
pub fn label(name: &str) -> String {
    let label: String = name
        .chars()
        .map(|char| match char {
            '_' => '-',
            other => other.to_ascii_lowercase(),
        })
        .collect();
    label.trim_matches('-').to_owned()
}

fn is_word(text: &str) -> bool {
    const WORDS: [&str; 10] = [
        "y", "n", "yes", "no", "on", "off", "true", "false", "null", "none",
    ];
    WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_another_kind_of_scalar_is_quoted() {
        for same in ["ws", "chat-2", "docker.io/library/postgres"] {
            assert_eq!(text(same), same);
        }
        for (raw, scalar) in [
            ("no", "\"no\""),
            ("On", "\"On\""),
            ("1e3", "\"1e3\""),
            ("a: b", "\"a: b\""),
            ("", "\"\""),
            ("a\n\"b\" #c\\", "\"a\\n\\\"b\\\" #c\\\\\""),
        ] {
            assert_eq!(text(raw), scalar);
        }
    }

    #[test]
    fn a_label_is_one_of_dns() {
        assert_eq!([label("my_db"), label("ws_"), label("b")], ["my-db", "ws", "b"]);
    }
}

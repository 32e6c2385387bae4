//! Text from a plan within XML and HTML.
//!
//! Both take the same five escapes, in text and in quoted attributes. Characters that XML 1.0 forbids, which no
//! escape allows, become U+FFFD; so do those that turn the direction of what is read around them.

/// A text that nothing in it can end, in an element or in a quoted attribute.
pub fn markup(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(char),
            char if is_hostile(char) => escaped.push('\u{FFFD}'),
            char => escaped.push(char),
        }
    }
    escaped
}

/// Controls, what XML has no room for, and what reorders its neighbours.
pub fn is_hostile(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{FFFE}' | '\u{FFFF}' | '\u{200E}' | '\u{200F}' | '\u{061C}'
                | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_what_it_is_written_into() {
        assert_eq!(
            markup("</title><script>alert('&\"')</script>\u{0}\u{202e}ü"),
            "&lt;/title&gt;&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;\u{fffd}\u{fffd}ü"
        );
    }
}

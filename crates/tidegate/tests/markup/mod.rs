//! A strict reader of the markup that reports are written in: what it reads, any parser of XML or HTML reads the
//! same way.
//!
//! Every element is closed in order, every attribute quoted, and `<` and `&` stand only where markup begins. Comments and
//! what is not needed here are refused.

use std::collections::BTreeMap;

/// An element's name and attributes, as they are written.
pub type Element = (String, BTreeMap<String, String>);

/// HTML's elements without an end.
const VOID: [&str; 4] = ["meta", "br", "col", "link"];

/// All elements in their order; panics where the markup is not well-formed.
pub fn elements(text: &str) -> Vec<Element> {
    let mut elements = Vec::new();
    let mut open: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        content(&rest[..at]);
        let end = tag_end(&rest[at..]);
        let tag = &rest[at + 1..at + end];
        rest = &rest[at + end + 1..];
        if tag.starts_with('?') || tag.eq_ignore_ascii_case("!doctype html") {
            continue;
        }
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "<{tag}> closes another");
            continue;
        }
        let is_empty = tag.ends_with('/');
        let element = element(tag.trim_end_matches('/'));
        if !is_empty && !VOID.contains(&&*element.0) {
            open.push(element.0.clone());
        }
        // A style's text is no markup.
        if element.0 == "style" {
            let end = rest.find("</style>").expect("a style ends");
            assert!(!rest[..end].contains('<'), "a style has no markup");
            rest = &rest[end..];
        }
        elements.push(element);
    }
    content(rest);
    assert_eq!(open, Vec::<String>::new(), "these are not closed");
    elements
}

/// Where a tag's `>` is: not within quotes.
fn tag_end(tag: &str) -> usize {
    let mut quoted = false;
    for (at, char) in tag.char_indices() {
        match char {
            '"' => quoted = !quoted,
            '>' if !quoted => return at,
            '<' if at > 0 => panic!("`<` within a tag: {}", &tag[..at]),
            _ => {}
        }
    }
    panic!("a tag that does not end: {:.60}", tag)
}

fn element(tag: &str) -> Element {
    let (name, mut rest) = tag.split_once([' ', '\n']).unwrap_or((tag, ""));
    assert!(
        !name.is_empty()
            && name
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || char == '-'),
        "<{tag}>"
    );
    let mut attributes = BTreeMap::new();
    while !rest.trim().is_empty() {
        let (key, value) = rest
            .split_once("=\"")
            .unwrap_or_else(|| panic!("not an attribute: {rest}"));
        let (value, after) = value.split_once('"').expect("quotes are closed");
        content(value);
        let key = key.trim();
        assert!(
            key.chars()
                .all(|char| char.is_ascii_alphabetic() || "-:0123456789".contains(char)),
            "{key}"
        );
        assert!(
            attributes.insert(key.to_owned(), value.to_owned()).is_none(),
            "{key} twice"
        );
        rest = after;
    }
    (name.to_owned(), attributes)
}

/// Text in which every `&` begins an entity.
fn content(text: &str) {
    for (at, _) in text.match_indices('&') {
        let entity = text[at..].split(';').next().unwrap_or_default();
        assert!(
            ["&amp", "&lt", "&gt", "&quot", "&#39"].contains(&entity),
            "`&` that is no entity: {:.40}",
            &text[at..]
        );
    }
    assert!(!text.contains('>'), "`>` in a text: {text:.60}");
}

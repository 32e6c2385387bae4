//! What is written about the configuration, made from the table of keys.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::{
    keys::{Key, Kind, ROOT, Section},
    read::allowed,
};

/// Namespaces of the example and of development mode: name, what it is for, and what differs from the defaults.
const NAMESPACES: &[(&str, &str, &str)] = &[
    ("chat", "Conversations: kept for a day, members shown.", ""),
    ("room", "Anything else: the defaults.", ""),
    (
        "cursor",
        "Pointers and other things of the moment: the newest of each key, and nothing is kept.",
        "lane = \"latest\"\nhistory = { count = 0 }\ndedup_count = 0\n",
    ),
    (
        "px",
        "Prices: the last 1,000 of each.",
        "payload_bytes_max = \"4KiB\"\npresence = { enabled = false }\n",
    ),
    (
        "load",
        "Rooms of `tidegate load`, with the defaults; take it away where nobody measures.",
        "",
    ),
];

/// Returns a complete file with comments: every key with its default, its bounds and
/// its meaning. It is what development mode runs on. Keys without a default stand there as comments.
pub fn example() -> String {
    let mut text = String::from(
        "# Tidegate's configuration: every key, with its default.\n\
         # `tidegate config check FILE` tells every mistake at once.\n",
    );
    comment(&mut text, "", ROOT.doc);
    text.push('\n');
    write_keys(&mut text, "", &ROOT);
    for key in ROOT.keys {
        match key.kind {
            Kind::Table(section) => {
                // A section that must have keys when it is there cannot stand there empty.
                let mark = if section.keys.iter().any(|key| key.is_required) {
                    "#"
                } else {
                    ""
                };
                write_section(&mut text, section, &format!("{mark}[{}]", section.path), mark);
            }
            Kind::Tables { section, .. } => write_namespaces(&mut text, section),
            _ => {}
        }
    }
    text
}

fn write_section(text: &mut String, section: &'static Section, header: &str, mark: &str) {
    text.push('\n');
    comment(text, "", section.doc);
    let _ = writeln!(text, "{header}");
    write_keys(text, mark, section);
    for key in section.keys {
        match key.kind {
            Kind::Tables { section, .. } => {
                write_section(text, section, &format!("#[[{}]]", section.path), "#");
            }
            Kind::Table(section) => write_section(text, section, &format!("{mark}[{}]", section.path), mark),
            _ => {}
        }
    }
}

/// Keys that are no tables, one by one.
fn write_keys(text: &mut String, mark: &str, section: &Section) {
    for key in section.keys {
        if matches!(key.kind, Kind::Table(_) | Kind::Tables { .. }) {
            continue;
        }
        comment(text, "", &format!("{} ({})", key.doc, allowed(key.kind)));
        let _ = match key.default {
            Some(default) => writeln!(text, "{mark}{} = {default}", key.name),
            None => writeln!(text, "#{} = {}", key.name, key.example),
        };
    }
}

fn write_namespaces(text: &mut String, section: &'static Section) {
    text.push('\n');
    comment(text, "", section.doc);
    comment(
        text,
        "",
        "The first shows every key with its default; those after it say only what differs.",
    );
    for (place, (name, purpose, differs)) in NAMESPACES.iter().enumerate() {
        text.push('\n');
        comment(text, "", purpose);
        let _ = writeln!(text, "[[{}]]\nname = \"{name}\"", section.path);
        if place == 0 {
            write_policy(text, section);
        }
        text.push_str(differs);
    }
}

fn write_policy(text: &mut String, section: &Section) {
    for key in section.keys {
        if let Kind::Table(inner) = key.kind {
            comment(text, "", inner.doc);
            for key in inner.keys {
                comment(
                    text,
                    "  ",
                    &format!("`{}`: {} ({})", key.name, key.doc, allowed(key.kind)),
                );
            }
            let pairs: Vec<String> = inner.keys.iter().filter_map(pair).collect();
            let _ = writeln!(text, "{} = {{ {} }}", key.name, pairs.join(", "));
        } else if let Some(pair) = pair(key) {
            comment(text, "", &format!("{} ({})", key.doc, allowed(key.kind)));
            let _ = writeln!(text, "{pair}");
        }
    }
}

fn pair(key: &Key) -> Option<String> {
    Some(format!("{} = {}", key.name, key.default?))
}

/// Writes words as comments, broken at 100 characters.
fn comment(text: &mut String, indent: &str, words: &str) {
    let mut line = String::new();
    for word in words.split(' ').filter(|word| !word.is_empty()) {
        if !line.is_empty() && line.len() + word.len() > 100 {
            let _ = writeln!(text, "# {indent}{line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(text, "# {indent}{line}");
}

/// Returns the reference in Markdown; `docs/configuration.md` is this, and a test holds them equal.
pub fn reference() -> String {
    let mut text = String::from(
        "# Configuration\n\n\
         One TOML file. `tidegate config example` prints it complete, with comments; `tidegate config check FILE` tells every mistake at once, with its place;\n\
         `tidegate config schema` prints a JSON Schema for editors. Without a file the server runs on that example: development mode, on loopback.\n\n\
         * Durations are a whole number and `ms`, `s`, `m`, `h` or `d`; sizes a whole number and `B`, `KiB`, `MiB`, `GiB`, `TiB` (or the decimal `kB`, `MB`, `GB`, `TB`). A number without its unit is a mistake.\n\
         * An unknown key is a mistake too.\n\
         * Relative paths begin at the file's own folder.\n\
         * A secret or a PEM key is given as it is, or as `env:NAME` (an environment variable), or as `file:PATH`.\n\
         * `--listen`, `--shards` and `--demo` on the command line count for more than the file.\n\
         * SIGHUP reloads certificates; everything else needs a restart.\n\n\
         This page is made from the same table that the server checks files with (`crates/server/src/config/keys.rs`).\n",
    );
    reference_section(&mut text, &ROOT, "The top of the file");
    text
}

fn reference_section(text: &mut String, section: &'static Section, title: &str) {
    let _ = write!(
        text,
        "\n## {title}\n\n{}\n\n| key | default | allowed | |\n|---|---|---|---|\n",
        section.doc
    );
    for key in section.keys {
        if matches!(key.kind, Kind::Table(_) | Kind::Tables { .. }) {
            continue;
        }
        let default = match (key.default, key.is_required) {
            (Some(default), _) if default.len() > 40 => "all of them".to_owned(),
            (Some(default), _) => format!("`{default}`"),
            (None, true) => "required".to_owned(),
            (None, false) => String::new(),
        };
        let allowed = allowed(key.kind).replace('|', "\\|");
        let _ = writeln!(text, "| `{}` | {default} | {allowed} | {} |", key.name, key.doc);
    }
    for key in section.keys {
        match key.kind {
            Kind::Table(inner) if section.path == "namespace" => {
                reference_section(text, inner, &format!("`{}`", inner.path));
            }
            Kind::Table(inner) => reference_section(text, inner, &format!("`[{}]`", inner.path)),
            Kind::Tables { section: inner, .. } => {
                reference_section(text, inner, &format!("`[[{}]]`", inner.path));
            }
            _ => {}
        }
    }
}

/// Returns a JSON Schema (2020-12) for editors. It knows kinds and bounds; what clashes only `config check` knows.
pub fn schema() -> Value {
    let mut schema = section_schema(&ROOT);
    let root = schema.as_object_mut().expect("made as an object");
    root.insert(
        "$schema".into(),
        json!("https://json-schema.org/draft/2020-12/schema"),
    );
    root.insert("title".into(), json!("Tidegate's configuration"));
    schema
}

fn section_schema(section: &'static Section) -> Value {
    let properties: Map<String, Value> = section
        .keys
        .iter()
        .map(|key| {
            let mut schema = kind_schema(key.kind);
            let object = schema.as_object_mut().expect("made as an object");
            object.insert("description".into(), json!(key.doc));
            if let Some(default) = key.default {
                object.insert("default".into(), toml_as_json(default));
            }
            (key.name.to_owned(), schema)
        })
        .collect();
    let required: Vec<&str> = section
        .keys
        .iter()
        .filter(|key| key.is_required)
        .map(|key| key.name)
        .collect();
    json!({
        "type": "object",
        "description": section.doc,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn kind_schema(kind: Kind) -> Value {
    let said = allowed(kind);
    match kind {
        Kind::Duration { .. } => {
            json!({"type": "string", "pattern": r"^[0-9]+ *(ms|s|m|h|d)$", "title": said})
        }
        Kind::Size { .. } => {
            json!({"type": "string", "pattern": r"^[0-9]+ *(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)$", "title": said})
        }
        Kind::SizeOrAuto { .. } => {
            json!({"type": "string", "pattern": r"^(auto|[0-9]+ *(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB))$", "title": said})
        }
        Kind::Count { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::CountOrAuto { min, max } => {
            json!({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": min, "maximum": max}]})
        }
        Kind::Flag => json!({"type": "boolean"}),
        Kind::Choice(choices) => json!({"enum": choices}),
        Kind::Text { bytes_max } => json!({"type": "string", "minLength": 1, "maxLength": bytes_max}),
        Kind::Address | Kind::Path | Kind::Secret | Kind::PublicKey => {
            json!({"type": "string", "minLength": 1, "title": said})
        }
        Kind::Texts { count_max } => json!({"anyOf": [
            {"type": "string"},
            {"type": "array", "items": {"type": "string"}, "maxItems": count_max},
        ]}),
        Kind::Choices(choices) => json!({"anyOf": [
            {"enum": choices},
            {"type": "array", "items": {"enum": choices}, "minItems": 1},
        ]}),
        Kind::Table(section) => section_schema(section),
        Kind::Tables { section, count_max } => {
            json!({"type": "array", "items": section_schema(section), "maxItems": count_max})
        }
    }
}

fn toml_as_json(text: &str) -> Value {
    let value: toml::Table =
        toml::from_str(&format!("value = {text}")).expect("defaults are TOML; a test reads them all");
    serde_json::to_value(&value["value"]).expect("defaults have no dates")
}

#[cfg(test)]
mod tests {
    use super::{
        super::units::{parse_duration, parse_size},
        *,
    };

    fn every_key(section: &'static Section, seen: &mut Vec<&'static Key>) {
        for key in section.keys {
            seen.push(key);
            match key.kind {
                Kind::Table(inner) | Kind::Tables { section: inner, .. } => every_key(inner, seen),
                _ => {}
            }
        }
    }

    #[test]
    fn every_key_has_words_and_bounds_that_can_be_read() {
        let mut keys = Vec::new();
        every_key(&ROOT, &mut keys);
        assert!(keys.len() > 80, "the table was walked: {}", keys.len());
        for key in keys {
            assert!(key.doc.len() > 3 && !key.doc.contains('|'), "{}", key.name);
            match key.kind {
                Kind::Duration { min, max } => {
                    assert!(parse_duration(min) <= parse_duration(max) && parse_duration(min).is_some())
                }
                Kind::Size { min, max } | Kind::SizeOrAuto { min, max } => {
                    assert!(parse_size(min) <= parse_size(max) && parse_size(min).is_some())
                }
                Kind::Table(_) | Kind::Tables { .. } => continue,
                _ => {}
            }
            assert!(
                key.default.is_some() == key.example.is_empty(),
                "{}: a default or an example",
                key.name
            );
        }
    }
}

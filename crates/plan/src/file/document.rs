//! What is written about plan files, made from the table of keys.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::{
    keys::{Key, Kind, NAME_BYTES_MAX, Need, ROOT, Section},
    read::allowed,
};

const TIME: &str = r"^([0-9]+(\.[0-9]+)? *(ns|us|ms|s|min|h|d))+$";
const SHARE: &str = r"^[0-9]+(\.[0-9]+)? *%$";
const SIZE: &str = r"^[0-9]+(\.[0-9]+)? *(B|KiB|MiB|GiB|kB|MB|GB)$";
const RATE: &str = r"^[0-9]+(\.[0-9]+)? */ *([0-9]+(\.[0-9]+)? *)?(ns|us|ms|s|min|h|d)$";
const BYTE_RATE: &str = r"^[0-9]+(\.[0-9]+)? *(B|KiB|MiB|GiB|kB|MB|GB) */s$";
const TARGET: &str = r"^p[0-9]+(\.[0-9]+)? *< *([0-9]+(\.[0-9]+)? *(ns|us|ms|s|min|h|d))+$";

/// Returns the reference in Markdown; `docs/plan-file.md` is this, and a test holds them equal.
pub fn reference() -> String {
    let mut text = String::from(
        "# Plan files\n\n\
         One TOML file is one question: will this topology keep this contract, for this scenario? `tidegate plan new FILE` writes one to begin with;\n\
         `scenarios/` has some that can be played as lessons.\n\n\
         * Times are a number and `us`, `ms`, `s`, `min`, `h` or `d`, from large to small where there are several: `\"120ms\"`, `\"1h30min\"`.\n\
         * Shares are in percent: `\"99.9%\"`. Sizes are `B`, `KiB`, `MiB`, `GiB`, or the decimal `kB`, `MB`, `GB`. Rates are `\"0.5/s\"`, `\"20/min\"`, or `\"1/30s\"` for one every 30 seconds.\n\
         * A number without its unit is a mistake where there are units; elsewhere numbers have no quotes.\n\
         * An unknown key is a mistake too. All mistakes are told at once, at most 50, each with its line, its value and what is allowed.\n\
         * A file has at most 1 MiB. The names of nodes and classes are of a-z, 0-9, `-` and `_`, and begin with a letter.\n\n\
         This page is made from the same table that files are checked with (`crates/plan/src/file/keys.rs`).\n",
    );
    text.push_str("\n## An example\n\n```toml\n");
    text.push_str(super::TEMPLATE);
    text.push_str("```\n");
    reference_section(&mut text, &ROOT, "The top of the file");
    who_calls_whom(&mut text);
    text
}

fn reference_section(text: &mut String, section: &'static Section, title: &str) {
    let _ = write!(text, "\n## {title}\n\n{}\n\n", section.doc);
    let is_tagged = section.tag.is_some();
    let tag = section.tag.unwrap_or_default();
    let plain = |key: &&Key| !key.kind.is_table() || matches!(key.kind, Kind::Targets { .. });
    if section.keys.iter().any(|key| plain(&key)) {
        let _ = match is_tagged {
            true => write!(
                text,
                "| key | for `{tag}` | default | allowed | |\n|---|---|---|---|---|\n"
            ),
            false => write!(text, "| key | default | allowed | |\n|---|---|---|---|\n"),
        };
    }
    for key in section.keys.iter().filter(plain) {
        let default = match key.need {
            Need::Default(default) => format!("`{default}`"),
            Need::Required(_) => "required".to_owned(),
            Need::Open(_) => String::new(),
        };
        let only: Vec<String> = key.only.iter().map(|tag| format!("`{tag}`")).collect();
        let only = match is_tagged {
            true if only.is_empty() => " all |".to_owned(),
            true => format!(" {} |", only.join(", ")),
            false => String::new(),
        };
        let _ = writeln!(
            text,
            "| `{}` |{only} {default} | {} | {} |",
            key.name,
            allowed(key.kind),
            key.doc
        );
    }
    for key in section.keys {
        match key.kind {
            Kind::Table(inner) if inner.header.starts_with('[') => {
                reference_section(text, inner, &format!("`{}`", inner.header));
            }
            Kind::Table(inner) => {
                let example = match key.need {
                    Need::Required(example) | Need::Default(example) | Need::Open(example) => example,
                };
                reference_section(text, inner, &format!("`{} = {example}`", inner.header));
            }
            Kind::Tables { section: inner, .. } | Kind::Named { section: inner, .. } => {
                reference_section(text, inner, &format!("`{}`", inner.header));
            }
            _ => {}
        }
    }
}

fn who_calls_whom(text: &mut String) {
    use crate::plan::Kind as Node;
    text.push_str("\n## Who may call whom\n\n| from | to |\n|---|---|\n");
    let names = |kinds: &[Node]| {
        let names: Vec<String> = kinds.iter().map(|kind| format!("`{}`", kind.name())).collect();
        match names.is_empty() {
            true => "nothing".to_owned(),
            false => names.join(", "),
        }
    };
    let _ = writeln!(text, "| `clients` | {} |", names(Node::FIRST));
    for kind in Node::ALL {
        let _ = writeln!(text, "| `{}` | {} |", kind.name(), names(kind.calls()));
    }
}

/// Returns a JSON Schema (2020-12) for editors. It knows kinds, and numbers' bounds; what clashes only [`super::parse`] knows.
pub fn schema() -> Value {
    let mut schema = section_schema(&ROOT);
    let root = schema.as_object_mut().expect("made as an object");
    root.insert(
        "$schema".into(),
        json!("https://json-schema.org/draft/2020-12/schema"),
    );
    root.insert("title".into(), json!("A plan of tidegate"));
    schema
}

fn section_schema(section: &'static Section) -> Value {
    let properties: Map<String, Value> = section
        .keys
        .iter()
        .map(|key| (key.name.to_owned(), key_schema(key)))
        .collect();
    let required = |tag: Option<&str>| -> Vec<&str> {
        let is_for = |key: &&Key| match tag {
            Some(tag) => key.only.contains(&tag),
            None => key.only.is_empty(),
        };
        let keys = section.keys.iter().filter(is_for);
        keys.filter(|key| matches!(key.need, Need::Required(_)))
            .map(|key| key.name)
            .collect()
    };
    let mut schema = json!({
        "type": "object",
        "description": section.doc,
        "properties": properties,
        "required": required(None),
        "additionalProperties": false,
    });
    let tag = section.tag.and_then(|tag| section.key(tag));
    if let Some((tag, Kind::Choice(choices))) = tag.map(|key| (key.name, key.kind)) {
        let cases: Vec<Value> = choices
            .iter()
            .map(|choice| {
                let fits = section
                    .keys
                    .iter()
                    .filter(|key| key.only.is_empty() || key.only.contains(choice));
                let names: Vec<&str> = fits.map(|key| key.name).collect();
                json!({
                    "if": {"properties": {tag: {"const": choice}}},
                    "then": {"propertyNames": {"enum": names}, "required": required(Some(choice))},
                })
            })
            .collect();
        schema["allOf"] = json!(cases);
    }
    schema
}

fn key_schema(key: &Key) -> Value {
    let mut schema = kind_schema(key.kind);
    let object = schema.as_object_mut().expect("made as an object");
    object.insert("description".into(), json!(key.doc));
    if let Need::Default(default) = key.need {
        object.insert("default".into(), toml_as_json(default));
    }
    schema
}

fn kind_schema(kind: Kind) -> Value {
    let said = allowed(kind);
    let pattern = |pattern: &str| json!({"type": "string", "pattern": pattern, "title": said});
    match kind {
        Kind::Duration(..) | Kind::Hours(..) => pattern(TIME),
        Kind::HoursList { count_max } => {
            json!({"type": "array", "items": {"type": "string", "pattern": TIME}, "maxItems": count_max})
        }
        Kind::Share(..) => pattern(SHARE),
        Kind::Bytes(..) => pattern(SIZE),
        Kind::Rate(..) => pattern(RATE),
        Kind::ByteRate(..) => pattern(BYTE_RATE),
        Kind::Range(inner) => {
            let one = kind_schema(*inner);
            json!({"anyOf": [one, {"type": "array", "items": one, "minItems": 3, "maxItems": 3}]})
        }
        Kind::Number(least, most) => json!({"type": "number", "minimum": least, "maximum": most}),
        Kind::Count(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
        Kind::Flag => json!({"type": "boolean"}),
        Kind::Choice(choices) => json!({"enum": choices}),
        Kind::Text { bytes_max } => json!({"type": "string", "minLength": 1, "maxLength": bytes_max}),
        Kind::Word => json!({"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$", "title": said}),
        Kind::Texts { count_max, bytes_max } => json!({
            "type": "array",
            "items": {"type": "string", "minLength": 1, "maxLength": bytes_max},
            "maxItems": count_max,
        }),
        Kind::Points { count_max } => json!({
            "type": "array",
            "items": {
                "type": "array",
                "prefixItems": [{"type": "string", "pattern": TIME}, {"type": "number", "minimum": 0}],
                "minItems": 2,
                "maxItems": 2,
            },
            "minItems": 2,
            "maxItems": count_max,
        }),
        Kind::Targets { count_max } => {
            let one = json!({"type": "string", "pattern": TARGET});
            json!({
                "type": "object",
                "additionalProperties": {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]},
                "minProperties": 1,
                "maxProperties": count_max,
            })
        }
        Kind::Table(section) => section_schema(section),
        Kind::Tables { section, count_max } => {
            json!({"type": "array", "items": section_schema(section), "maxItems": count_max})
        }
        Kind::Named { section, count_max } => {
            let name = format!("^[a-z][a-z0-9_-]{{0,{}}}$", NAME_BYTES_MAX - 1);
            json!({
                "type": "object",
                "propertyNames": {"pattern": name},
                "additionalProperties": section_schema(section),
                "maxProperties": count_max,
            })
        }
    }
}

fn toml_as_json(text: &str) -> Value {
    let value: toml::Table =
        toml::from_str(&format!("value = {text}")).expect("defaults are TOML; a test reads them all");
    serde_json::to_value(&value["value"]).expect("defaults have no dates")
}

//! Reads the file against the table of keys, and notes everything that is wrong.
//!
//! Nothing stops at the first problem: a value that cannot be read is noted and its
//! default taken, so that the rest can be checked too. What comes out has a value
//! for every key that has a default.

use std::{collections::BTreeMap, net::SocketAddr, ops::Range, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    keys::{Key, Kind, Section},
    problem::Problem,
    units::{parse_duration, parse_size},
};

/// A table that was read: one entry for each key that was written or has a default.
#[derive(Debug)]
pub(super) struct Table {
    section: &'static Section,
    values: BTreeMap<&'static str, Entry>,
    /// Of its header or braces.
    pub span: Option<Range<usize>>,
}

#[derive(Debug)]
struct Entry {
    value: Value,
    /// None for a default.
    span: Option<Range<usize>>,
}

#[derive(Debug)]
enum Value {
    Duration(Duration),
    /// Sizes, and numbers.
    Number(u64),
    Auto,
    Flag(bool),
    Address(SocketAddr),
    Text(String),
    Texts(Vec<(String, Option<Range<usize>>)>),
    Table(Table),
    Tables(Vec<Table>),
}

/// Reads a whole file.
pub(super) fn read(source: &str, root: &'static Section, problems: &mut Vec<Problem>) -> Table {
    let (document, errors) = DeTable::parse_recoverable(source);
    for error in errors {
        problems.push(Problem::at(
            error.span(),
            "this is not TOML",
            error.message().to_owned(),
        ));
    }
    read_table(document.get_ref(), None, root, "", problems)
}

/// The values of a table that was not written.
pub(super) fn absent(section: &'static Section) -> Table {
    read_table(&DeTable::new(), None, section, "", &mut Vec::new())
}

/// `prefix` is the path up to the keys of this table, dot included.
fn read_table(
    table: &DeTable<'_>,
    span: Option<Range<usize>>,
    section: &'static Section,
    prefix: &str,
    problems: &mut Vec<Problem>,
) -> Table {
    let mut values = BTreeMap::new();
    for (name, value) in table.iter() {
        let Some(key) = section
            .keys
            .iter()
            .find(|key| key.name == name.get_ref().as_ref())
        else {
            problems.push(unknown_key(name.get_ref(), name.span(), section, prefix));
            continue;
        };
        if let Some(value) = read_value(key, value, prefix, problems) {
            let span = Some(name.span().start..name.span().end);
            let value_span = match &value {
                Value::Table(_) | Value::Tables(_) => span,
                _ => Some(table[key.name].span()),
            };
            values.insert(
                key.name,
                Entry {
                    value,
                    span: value_span,
                },
            );
        }
    }
    for key in section.keys {
        let is_written = table.contains_key(key.name);
        if key.is_required && !is_written {
            let message = format!("`{prefix}{}` is missing", key.name);
            let place = span.clone();
            problems.push(Problem::at(
                place,
                message,
                format!("add `{} = {}`", key.name, key.example),
            ));
        }
        if let (Some(default), false) = (key.default, values.contains_key(key.name)) {
            let value = DeValue::parse(default).expect("defaults are TOML; a test reads them all");
            let value = read_value(key, &value, prefix, &mut Vec::new());
            let value = value.expect("defaults are within their bounds; a test reads them all");
            values.insert(key.name, Entry { value, span: None });
        }
    }
    Table {
        section,
        values,
        span,
    }
}

fn unknown_key(name: &str, span: Range<usize>, section: &'static Section, prefix: &str) -> Problem {
    let nearest = section
        .keys
        .iter()
        .map(|key| (strsim::damerau_levenshtein(name, key.name), key.name))
        .min();
    let label = match nearest {
        Some((distance, nearest)) if distance <= nearest.len().max(name.len()) / 3 + 1 => {
            format!("did you mean `{nearest}`?")
        }
        _ => "nothing of this name is known here".to_owned(),
    };
    let known: Vec<String> = section.keys.iter().map(|key| format!("`{}`", key.name)).collect();
    let place = match prefix.trim_end_matches('.') {
        "" => "at the top of the file".to_owned(),
        path => format!("in `{path}`"),
    };
    Problem::at(Some(span), format!("unknown key `{prefix}{name}`"), label)
        .help(format!("{place} these are known: {}", known.join(", ")))
}

/// What one key's value must be; the message is made only when it is not.
struct Reading<'a> {
    key: &'a Key,
    prefix: &'a str,
    span: Range<usize>,
    problems: &'a mut Vec<Problem>,
}

impl Reading<'_> {
    fn refuse<T>(&mut self, found: &str, allowed: impl Into<String>) -> Option<T> {
        self.refuse_at(self.span.clone(), found, allowed)
    }

    fn refuse_at<T>(&mut self, span: Range<usize>, found: &str, allowed: impl Into<String>) -> Option<T> {
        let message = format!("`{}{}` cannot be {found}", self.prefix, self.key.name);
        self.problems.push(Problem::at(Some(span), message, allowed));
        None
    }
}

fn read_value(
    key: &Key,
    value: &Spanned<DeValue<'_>>,
    prefix: &str,
    problems: &mut Vec<Problem>,
) -> Option<Value> {
    let span = value.span();
    let value = value.get_ref();
    let mut reading = Reading {
        key,
        prefix,
        span: span.clone(),
        problems,
    };
    let found = describe(key.kind, value);
    match (key.kind, value) {
        (Kind::Duration { min, max }, DeValue::String(text)) => {
            let [least, most] = [min, max].map(|text| parse_duration(text).expect("bounds have units"));
            match parse_duration(text) {
                Some(duration) if (least..=most).contains(&duration) => Some(Value::Duration(duration)),
                _ => reading.refuse(&found, allowed(key.kind)),
            }
        }
        (Kind::SizeOrAuto { .. }, DeValue::String(text)) if text == "auto" => Some(Value::Auto),
        (Kind::Size { min, max } | Kind::SizeOrAuto { min, max }, DeValue::String(text)) => {
            let [least, most] = [min, max].map(|text| parse_size(text).expect("bounds have units"));
            match parse_size(text) {
                Some(bytes) if (least..=most).contains(&bytes) => Some(Value::Number(bytes)),
                _ => reading.refuse(&found, allowed(key.kind)),
            }
        }
        (Kind::CountOrAuto { .. }, DeValue::String(text)) if text == "auto" => Some(Value::Auto),
        (Kind::Count { min, max } | Kind::CountOrAuto { min, max }, DeValue::Integer(number)) => {
            match u64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) if (min..=max).contains(&number) => Some(Value::Number(number)),
                _ => reading.refuse(&found, allowed(key.kind)),
            }
        }
        (Kind::Flag, DeValue::Boolean(flag)) => Some(Value::Flag(*flag)),
        (Kind::Choice(choices), DeValue::String(text)) => match choices.contains(&text.as_ref()) {
            true => Some(Value::Text(text.to_string())),
            false => reading.refuse(&found, allowed(key.kind)),
        },
        (Kind::Address, DeValue::String(text)) => match text.parse() {
            Ok(address) => Some(Value::Address(address)),
            Err(_) => reading.refuse(&found, allowed(key.kind)),
        },
        (Kind::Text { bytes_max }, DeValue::String(text)) => match (1..=bytes_max).contains(&text.len()) {
            true => Some(Value::Text(text.to_string())),
            false => reading.refuse(&found, allowed(key.kind)),
        },
        (Kind::Path | Kind::Secret | Kind::PublicKey, DeValue::String(text)) => match text.is_empty() {
            false => Some(Value::Text(text.to_string())),
            true => reading.refuse("empty", allowed(key.kind)),
        },
        (Kind::Texts { .. } | Kind::Choices(_), DeValue::String(text)) => {
            read_texts(&mut reading, &[(text.as_ref(), span)])
        }
        (Kind::Texts { .. } | Kind::Choices(_), DeValue::Array(array)) => {
            let mut texts = Vec::new();
            for element in array.iter() {
                match element.get_ref() {
                    DeValue::String(text) => texts.push((text.as_ref(), element.span())),
                    other => {
                        let found = format!("a list with {}", name_of(other));
                        reading.refuse_at::<()>(element.span(), &found, allowed(key.kind));
                    }
                }
            }
            read_texts(&mut reading, &texts)
        }
        (Kind::Table(section), DeValue::Table(table)) => {
            let prefix = format!("{prefix}{}.", key.name);
            Some(Value::Table(read_table(
                table,
                Some(span),
                section,
                &prefix,
                problems,
            )))
        }
        (Kind::Tables { section, count_max }, DeValue::Array(array)) => {
            if array.len() > count_max {
                let found = format!("a list of {}", array.len());
                return reading.refuse(&found, format!("at most {count_max} are allowed"));
            }
            let prefix = format!("{prefix}{}.", key.name);
            let mut tables = Vec::new();
            for element in array.iter() {
                match element.get_ref() {
                    DeValue::Table(table) => {
                        tables.push(read_table(
                            table,
                            Some(element.span()),
                            section,
                            &prefix,
                            problems,
                        ));
                    }
                    other => {
                        let found = format!("a list with {}", name_of(other));
                        let mut reading = Reading {
                            key,
                            prefix: "",
                            span: span.clone(),
                            problems,
                        };
                        reading.refuse_at::<()>(element.span(), &found, allowed(key.kind));
                    }
                }
            }
            Some(Value::Tables(tables))
        }
        (
            Kind::Duration { .. }
            | Kind::Size { .. }
            | Kind::SizeOrAuto { .. }
            | Kind::Count { .. }
            | Kind::CountOrAuto { .. }
            | Kind::Flag
            | Kind::Choice(_)
            | Kind::Address
            | Kind::Text { .. }
            | Kind::Path
            | Kind::Secret
            | Kind::PublicKey
            | Kind::Texts { .. }
            | Kind::Choices(_)
            | Kind::Table(_)
            | Kind::Tables { .. },
            _,
        ) => reading.refuse(&found, allowed(key.kind)),
    }
}

fn read_texts(reading: &mut Reading<'_>, texts: &[(&str, Range<usize>)]) -> Option<Value> {
    let kind = reading.key.kind;
    let fits = |text: &str| match kind {
        Kind::Choices(choices) => choices.contains(&text),
        _ => !text.is_empty() && text.len() <= TEXT_BYTES_MAX,
    };
    if let Kind::Texts { count_max } = kind
        && texts.len() > count_max
    {
        return reading.refuse(&format!("a list of {}", texts.len()), allowed(kind));
    }
    if matches!(kind, Kind::Choices(_)) && texts.is_empty() {
        return reading.refuse("empty", allowed(kind));
    }
    let mut kept = Vec::new();
    for (text, span) in texts {
        match fits(text) {
            true => kept.push(((*text).to_owned(), Some(span.clone()))),
            false => {
                reading.refuse_at::<()>(span.clone(), &format!("{text:?}"), allowed(kind));
            }
        }
    }
    Some(Value::Texts(kept))
}

/// Longest text within a list.
const TEXT_BYTES_MAX: usize = 1_000;

/// What was found, for the message; secrets are not repeated.
fn describe(kind: Kind, value: &DeValue<'_>) -> String {
    match (kind, value) {
        (Kind::Secret | Kind::PublicKey, _) => name_of(value).to_owned(),
        (_, DeValue::String(text)) if text.len() > 80 => format!("a text of {} bytes", text.len()),
        (_, DeValue::String(text)) => format!("{text:?}"),
        (_, DeValue::Integer(number)) => number.to_string(),
        (_, DeValue::Boolean(flag)) => flag.to_string(),
        (_, DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_)) => {
            name_of(value).to_owned()
        }
    }
}

fn name_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "a flag",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// What is allowed, in words.
pub(super) fn allowed(kind: Kind) -> String {
    let list = |choices: &[&str]| {
        let quoted: Vec<String> = choices.iter().map(|choice| format!("\"{choice}\"")).collect();
        quoted.join(", ")
    };
    match kind {
        Kind::Duration { min, max } => format!("a duration with its unit, \"{min}\" to \"{max}\""),
        Kind::Size { min, max } => format!("a size with its unit, \"{min}\" to \"{max}\""),
        Kind::SizeOrAuto { min, max } => {
            format!("\"auto\", or a size with its unit, \"{min}\" to \"{max}\"")
        }
        Kind::Count { min, max } => format!("a whole number, {min} to {max}"),
        Kind::CountOrAuto { min, max } => format!("\"auto\", or a whole number, {min} to {max}"),
        Kind::Flag => "true or false".to_owned(),
        Kind::Choice(choices) => format!("one of {}", list(choices)),
        Kind::Address => "an address and a port, such as \"127.0.0.1:8600\" or \"[::1]:8600\"".to_owned(),
        Kind::Text { bytes_max } => format!("a text of 1 to {bytes_max} bytes"),
        Kind::Path => "a path".to_owned(),
        Kind::Secret => "a text: the secret itself, \"env:NAME\" or \"file:PATH\"".to_owned(),
        Kind::PublicKey => "a text: PEM, \"env:NAME\" or \"file:PATH\"".to_owned(),
        Kind::Texts { count_max } => format!("a list of at most {count_max} texts"),
        Kind::Choices(choices) => format!("a list of some of {}", list(choices)),
        Kind::Table(_) => "a table".to_owned(),
        Kind::Tables { count_max, .. } => format!("a list of at most {count_max} tables"),
    }
}

/// What the reader put under a key. Asking for another kind than the table's is a
/// mistake in this module, found by any test that reads a file.
impl Table {
    fn entry(&self, name: &str) -> Option<&Entry> {
        debug_assert!(
            self.section.keys.iter().any(|key| key.name == name),
            "no key `{name}`"
        );
        self.values.get(name)
    }

    /// Where it was written; none for a default.
    pub(super) fn span(&self, name: &str) -> Option<Range<usize>> {
        self.entry(name)?.span.clone()
    }

    /// Whether it stands in the file.
    pub(super) fn is_written(&self, name: &str) -> bool {
        self.span(name).is_some()
    }

    pub(super) fn duration(&self, name: &str) -> Duration {
        match self.entry(name) {
            Some(Entry {
                value: Value::Duration(duration),
                ..
            }) => *duration,
            other => unreachable!("`{name}` is {other:?}, not a duration with a default"),
        }
    }

    pub(super) fn number(&self, name: &str) -> u64 {
        self.number_or_auto(name)
            .unwrap_or_else(|| unreachable!("`{name}` has no `auto`"))
    }

    /// For sizes and counts that are held in memory.
    pub(super) fn size(&self, name: &str) -> usize {
        self.number(name).try_into().unwrap_or(usize::MAX)
    }

    pub(super) fn count(&self, name: &str) -> u32 {
        self.number(name).try_into().unwrap_or(u32::MAX)
    }

    /// None for `auto`.
    pub(super) fn number_or_auto(&self, name: &str) -> Option<u64> {
        match self.entry(name) {
            Some(Entry {
                value: Value::Number(number),
                ..
            }) => Some(*number),
            Some(Entry {
                value: Value::Auto, ..
            }) => None,
            other => unreachable!("`{name}` is {other:?}, not a number with a default"),
        }
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        match self.entry(name) {
            Some(Entry {
                value: Value::Flag(flag),
                ..
            }) => *flag,
            other => unreachable!("`{name}` is {other:?}, not a flag with a default"),
        }
    }

    pub(super) fn address(&self, name: &str) -> SocketAddr {
        match self.entry(name) {
            Some(Entry {
                value: Value::Address(address),
                ..
            }) => *address,
            other => unreachable!("`{name}` is {other:?}, not an address with a default"),
        }
    }

    /// None when it is absent (or was wrong).
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.entry(name)? {
            Entry {
                value: Value::Text(text),
                ..
            } => Some(text),
            other => unreachable!("`{name}` is {other:?}, not a text"),
        }
    }

    /// Empty when it is absent.
    pub(super) fn texts(&self, name: &str) -> &[(String, Option<Range<usize>>)] {
        match self.entry(name) {
            None => &[],
            Some(Entry {
                value: Value::Texts(texts),
                ..
            }) => texts,
            other => unreachable!("`{name}` is {other:?}, not texts"),
        }
    }

    /// None when it is absent.
    pub(super) fn table(&self, name: &str) -> Option<&Table> {
        match self.entry(name)? {
            Entry {
                value: Value::Table(table),
                ..
            } => Some(table),
            other => unreachable!("`{name}` is {other:?}, not a table"),
        }
    }

    /// Empty when it is absent.
    pub(super) fn tables(&self, name: &str) -> &[Table] {
        match self.entry(name) {
            None => &[],
            Some(Entry {
                value: Value::Tables(tables),
                ..
            }) => tables,
            other => unreachable!("`{name}` is {other:?}, not tables"),
        }
    }
}

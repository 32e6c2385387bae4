//! Reads the text against the table of keys, and notes everything that is wrong.
//!
//! Nothing stops at the first mistake: a value that cannot be read is noted and its default taken, if it has
//! one, so that the rest can be checked too.

use std::{collections::BTreeMap, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    keys::{Key, Kind, NAME_BYTES_MAX, Need, Section},
    mistake::{Mistakes, closest},
    units,
};

pub(super) type Span = Range<usize>;

/// A table that was read: what was written, and defaults of what was not.
#[derive(Debug, Default)]
pub(super) struct Table {
    values: BTreeMap<&'static str, Entry>,
    /// Written, but not to be understood: each has a mistake of its own.
    wrong: Vec<&'static str>,
    /// Of its header or braces.
    pub span: Option<Span>,
}

#[derive(Debug)]
struct Entry {
    value: Value,
    /// None for a default.
    span: Option<Span>,
}

/// What was read.
#[derive(Debug)]
pub(super) enum Value {
    /// Quantities in the units of the plan.
    Number(f64),
    Flag(bool),
    Text(String),
    Texts(Vec<(String, Span)>),
    Numbers(Vec<f64>),
    Points(Vec<(f64, f64)>),
    /// Low, mid and high.
    Range([f64; 3]),
    Targets(Vec<Target>),
    Table(Table),
    Tables(Vec<Table>),
    Named(Vec<Named>),
}

/// A line of `[contract.latency]`.
#[derive(Debug)]
pub(super) struct Target {
    pub class: String,
    pub span: Span,
    pub percentile: f64,
    pub within: f64,
}

/// A table with a name of the reader's own.
#[derive(Debug)]
pub(super) struct Named {
    pub name: String,
    pub span: Span,
    pub table: Table,
}

/// Reads a whole file.
pub(super) fn read(text: &str, root: &'static Section, mistakes: &mut Mistakes) -> Table {
    let (document, errors) = DeTable::parse_recoverable(text);
    mistakes.note_syntax(&errors);
    Reader { mistakes }.table(document.get_ref(), None, root, "")
}

/// Reads one value as it would stand in a file: for defaults and examples.
pub(super) fn read_default(key: &Key, text: &str) -> Option<Value> {
    let value = DeValue::parse(text).ok()?;
    let mut mistakes = Mistakes::default();
    let value = Reader {
        mistakes: &mut mistakes,
    }
    .value(key, &value, "");
    value.filter(|_| mistakes.is_empty())
}

struct Reader<'a> {
    mistakes: &'a mut Mistakes,
}

impl Reader<'_> {
    /// `prefix` is the path up to the keys of this table, dot included.
    fn table(
        &mut self,
        table: &DeTable<'_>,
        span: Option<Span>,
        section: &'static Section,
        prefix: &str,
    ) -> Table {
        let (mut values, mut wrong) = (BTreeMap::new(), Vec::new());
        let tag = section.tag.and_then(|tag| {
            let value = table.get(tag)?;
            match (section.key(tag)?.kind, value.get_ref()) {
                (Kind::Choice(choices), DeValue::String(text)) => {
                    choices.iter().find(|choice| *choice == text).copied()
                }
                _ => None,
            }
        });
        let fits = |key: &Key| match (section.tag, tag) {
            (Some(_), Some(tag)) => key.only.is_empty() || key.only.contains(&tag),
            _ => true,
        };
        for (name, value) in table.iter() {
            let Some(key) = section.key(name.get_ref()) else {
                self.unknown_key(name, section, &fits, prefix);
                continue;
            };
            if !fits(key) {
                let (tag_key, tag) = (section.tag.unwrap_or_default(), tag.unwrap_or_default());
                let message = format!("`{prefix}{}` does not go with `{tag_key} = \"{tag}\"`", key.name);
                let allowed = format!("it is for {}", quoted(key.only));
                self.mistakes.note(Some(name.span()), message, allowed);
                continue;
            }
            let Some(read) = self.value(key, value, prefix) else {
                wrong.push(key.name);
                continue;
            };
            let span = match read {
                Value::Table(_) | Value::Tables(_) | Value::Named(_) | Value::Targets(_) => name.span(),
                _ => value.span(),
            };
            let span = Some(span);
            values.insert(key.name, Entry { value: read, span });
        }
        // With an unknown tag nobody can tell what is missing; it has a mistake of its own.
        let is_known = section.tag.is_none() || tag.is_some();
        for key in section.keys.iter().filter(|key| fits(key)) {
            let is_written = table.contains_key(key.name);
            match key.need {
                Need::Required(example) if !is_written && (is_known || Some(key.name) == section.tag) => {
                    self.missing(key, example, span.clone(), prefix);
                }
                Need::Default(default) if !values.contains_key(key.name) => {
                    let value =
                        read_default(key, default).expect("defaults can be read; a test reads them all");
                    values.insert(key.name, Entry { value, span: None });
                }
                Need::Required(_) | Need::Default(_) | Need::Open(_) => {}
            }
        }
        Table { values, wrong, span }
    }

    fn missing(&mut self, key: &Key, example: &str, span: Option<Span>, prefix: &str) {
        if self.mistakes.is_broken {
            return;
        }
        let allowed = match key.kind {
            Kind::Table(section) if section.header.starts_with('[') => {
                format!("add `{}`: {}", section.header, key.doc)
            }
            Kind::Tables { section, .. } | Kind::Named { section, .. } => {
                format!("add `{}`: {}", section.header, key.doc)
            }
            Kind::Targets { .. } => format!("add `[{prefix}{}]` with `all = \"p95 < 120ms\"`", key.name),
            _ => format!("add `{} = {example}`", key.name),
        };
        let mistake = self
            .mistakes
            .note(span, format!("`{prefix}{}` is missing", key.name), allowed);
        // An empty canvas is where drawing begins.
        if matches!(key.kind, Kind::Named { section, .. } if std::ptr::eq(section, &super::keys::NODE)) {
            mistake.unfinished();
        }
    }

    fn unknown_key(
        &mut self,
        name: &Spanned<std::borrow::Cow<'_, str>>,
        section: &'static Section,
        fits: &dyn Fn(&Key) -> bool,
        prefix: &str,
    ) {
        let known: Vec<&str> = section
            .keys
            .iter()
            .filter(|key| fits(key))
            .map(|key| key.name)
            .collect();
        let allowed = match closest(name.get_ref(), known.iter().copied()) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => "nothing of this name is known here".to_owned(),
        };
        let place = match prefix.trim_end_matches('.') {
            "" => "at the top of the file".to_owned(),
            path => format!("in `{path}`"),
        };
        let message = format!("unknown key `{prefix}{}`", shortened(name.get_ref()));
        let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
        self.mistakes
            .note(Some(name.span()), message, allowed)
            .help(format!("{place} these are known: {}", known.join(", ")));
    }

    fn value(&mut self, key: &Key, value: &Spanned<DeValue<'_>>, prefix: &str) -> Option<Value> {
        let (span, kind) = (value.span(), key.kind);
        let path = format!("{prefix}{}", key.name);
        let read = match (kind, value.get_ref()) {
            (Kind::Number(least, most), DeValue::Integer(_) | DeValue::Float(_)) => number(value.get_ref())
                .filter(|number| (least..=most).contains(number))
                .map(Value::Number),
            (Kind::Count(least, most), DeValue::Integer(_)) => number(value.get_ref())
                .filter(|number| (least as f64..=most as f64).contains(number))
                .map(Value::Number),
            (Kind::Flag, DeValue::Boolean(flag)) => Some(Value::Flag(*flag)),
            (Kind::Choice(choices), DeValue::String(text)) => {
                let is_known = choices.contains(&text.as_ref());
                is_known.then(|| Value::Text(text.to_string()))
            }
            (Kind::Text { bytes_max }, DeValue::String(text)) => {
                let text = text.trim_end();
                (1..=bytes_max)
                    .contains(&text.len())
                    .then(|| Value::Text(text.to_owned()))
            }
            (Kind::Word, DeValue::String(text)) => is_word(text).then(|| Value::Text(text.to_string())),
            (Kind::Texts { count_max, bytes_max }, DeValue::Array(array)) if array.len() <= count_max => {
                let texts = array.iter().map(|each| match each.get_ref() {
                    DeValue::String(text) if (1..=bytes_max).contains(&text.len()) => {
                        Ok((text.to_string(), each.span()))
                    }
                    _ => Err(each),
                });
                return self.all(texts, key, &path).map(Value::Texts);
            }
            (Kind::HoursList { count_max }, DeValue::Array(array)) if array.len() <= count_max => {
                let hours = array.iter().map(|each| match each.get_ref() {
                    DeValue::String(text) => units::parse_hours(text).ok_or(each),
                    _ => Err(each),
                });
                return self.all(hours, key, &path).map(Value::Numbers);
            }
            (Kind::Points { count_max }, DeValue::Array(array)) if array.len() <= count_max => {
                let points = array.iter().map(|each| point(each.get_ref()).ok_or(each));
                let points = self.all(points, key, &path)?;
                if points.len() < 2 || points.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
                    let message =
                        format!("`{path}` must be by hour, each later than the last, and at least two");
                    self.mistakes.note(Some(span), message, allowed(kind));
                    return None;
                }
                return Some(Value::Points(points));
            }
            (Kind::Range(inner), DeValue::Array(array)) => {
                let each = array.iter().map(|each| match each.get_ref() {
                    DeValue::String(text) => quantity(*inner, text)
                        .filter(|number| within(*inner, *number))
                        .ok_or(each),
                    _ => Err(each),
                });
                let each = self.all(each, key, &path)?;
                let Ok([low, mid, high]) = <[f64; 3]>::try_from(each) else {
                    self.refuse(key, value, &path);
                    return None;
                };
                if !(low <= mid && mid <= high) {
                    let message = format!("`{path}` must rise: at least, probably, at most");
                    self.mistakes.note(Some(span), message, allowed(kind));
                    return None;
                }
                return Some(Value::Range([low, mid, high]));
            }
            (Kind::Range(inner), DeValue::String(text)) => quantity(*inner, text)
                .filter(|number| within(*inner, *number))
                .map(|number| Value::Range([number; 3])),
            (Kind::Targets { count_max }, DeValue::Table(table)) if table.len() <= count_max => {
                return Some(Value::Targets(self.targets(table, key, &path)));
            }
            (Kind::Table(section), DeValue::Table(table)) => {
                let prefix = format!("{path}.");
                return Some(Value::Table(self.table(table, Some(span), section, &prefix)));
            }
            (Kind::Tables { section, count_max }, DeValue::Array(array)) if array.len() <= count_max => {
                let prefix = format!("{path}.");
                let mut tables = Vec::new();
                for each in array.iter() {
                    match each.get_ref() {
                        DeValue::Table(table) => {
                            tables.push(self.table(table, Some(each.span()), section, &prefix));
                        }
                        _ => self.refuse(key, each, &path),
                    }
                }
                return Some(Value::Tables(tables));
            }
            (Kind::Named { section, count_max }, DeValue::Table(table)) if table.len() <= count_max => {
                return Some(Value::Named(self.named(table, section, key, &path)));
            }
            (_, DeValue::String(text)) => quantity(kind, text)
                .filter(|number| within(kind, *number))
                .map(Value::Number),
            _ => None,
        };
        if read.is_none() {
            self.refuse(key, value, &path);
        }
        read
    }

    /// All of a list, or none; each that cannot be read is noted.
    fn all<'v, T>(
        &mut self,
        values: impl Iterator<Item = Result<T, &'v Spanned<DeValue<'v>>>>,
        key: &Key,
        path: &str,
    ) -> Option<Vec<T>> {
        let mut read = Vec::new();
        let mut is_whole = true;
        for value in values {
            match value {
                Ok(value) => read.push(value),
                Err(value) => {
                    is_whole = false;
                    self.refuse(key, value, path);
                }
            }
        }
        is_whole.then_some(read)
    }

    fn targets(&mut self, table: &DeTable<'_>, key: &Key, path: &str) -> Vec<Target> {
        let mut targets: Vec<Target> = Vec::new();
        for (name, value) in by_place(table) {
            let path = format!("{path}.{}", shortened(name.get_ref()));
            let one = std::slice::from_ref(value);
            let each = match value.get_ref() {
                DeValue::Array(array) => array.iter().as_slice(),
                _ => one,
            };
            for value in each {
                let target = match value.get_ref() {
                    DeValue::String(text) => units::parse_target(text),
                    _ => None,
                };
                match target {
                    Some((percentile, within))
                        if percentile > 0.0 && percentile < 1.0 && within > 0.0 && within <= 3_600.0 =>
                    {
                        let is_twice =
                            |other: &Target| other.class == *name.get_ref() && other.percentile == percentile;
                        if targets.iter().any(is_twice) {
                            let message = format!("`{path}` has this percentile twice");
                            self.mistakes
                                .note(Some(value.span()), message, "each has one limit");
                        } else {
                            targets.push(Target {
                                class: name.get_ref().to_string(),
                                span: name.span(),
                                percentile,
                                within,
                            });
                        }
                    }
                    _ => self.refuse(key, value, &path),
                }
            }
        }
        if targets.is_empty() && self.mistakes.is_empty() {
            let message = format!("`{path}` is empty");
            self.mistakes.note(None, message, "add `all = \"p95 < 120ms\"`");
        }
        targets
    }

    fn named(&mut self, table: &DeTable<'_>, section: &'static Section, key: &Key, path: &str) -> Vec<Named> {
        let mut named = Vec::new();
        for (name, value) in by_place(table) {
            if !is_name(name.get_ref()) {
                let message = format!("`{path}` cannot have the name {:?}", shortened(name.get_ref()));
                let allowed = format!(
                    "1 to {NAME_BYTES_MAX} of a-z, 0-9, `-` and `_`, a letter first, and neither `clients` nor `all`"
                );
                self.mistakes.note(Some(name.span()), message, allowed);
            }
            let DeValue::Table(table) = value.get_ref() else {
                self.refuse(key, value, &format!("{path}.{}", shortened(name.get_ref())));
                continue;
            };
            let prefix = format!("{path}.{}.", shortened(name.get_ref()));
            named.push(Named {
                name: name.get_ref().to_string(),
                span: name.span(),
                table: self.table(table, Some(name.span()), section, &prefix),
            });
        }
        named
    }

    fn refuse(&mut self, key: &Key, value: &Spanned<DeValue<'_>>, path: &str) {
        let found = describe(value.get_ref());
        let help = hint(key.kind, value.get_ref());
        self.mistakes
            .note(
                Some(value.span()),
                format!("`{path}` cannot be {found}"),
                allowed(key.kind),
            )
            .help(help);
    }
}

/// In the order of the text, not of the alphabet.
fn by_place<'t, 'i>(
    table: &'t DeTable<'i>,
) -> Vec<(&'t Spanned<std::borrow::Cow<'i, str>>, &'t Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

fn point(value: &DeValue<'_>) -> Option<(f64, f64)> {
    let DeValue::Array(pair) = value else {
        return None;
    };
    let [hour, users] = pair.iter().as_slice() else {
        return None;
    };
    let DeValue::String(hour) = hour.get_ref() else {
        return None;
    };
    let users = number(users.get_ref()).filter(|users| (0.0..=1e7).contains(users))?;
    let hour = units::parse_hours(hour).filter(|hour| *hour <= 744.0)?;
    Some((hour, users))
}

/// A finite number.
fn number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        // Whole numbers past 2^63 are past every bound.
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .map(|integer| integer as f64),
        DeValue::Float(float) => float
            .as_str()
            .parse()
            .ok()
            .filter(|float: &f64| float.is_finite()),
        _ => None,
    }
}

/// Reads a text as that kind of quantity.
pub(super) fn quantity(kind: Kind, text: &str) -> Option<f64> {
    match kind {
        Kind::Duration(..) => units::parse_duration(text),
        Kind::Hours(..) | Kind::HoursList { .. } => units::parse_hours(text),
        Kind::Share(..) => units::parse_share(text),
        Kind::Bytes(..) => units::parse_bytes(text),
        Kind::Rate(..) => units::parse_rate(text),
        Kind::ByteRate(..) => units::parse_byte_rate(text),
        Kind::Number(..)
        | Kind::Count(..)
        | Kind::Flag
        | Kind::Choice(_)
        | Kind::Text { .. }
        | Kind::Word
        | Kind::Range(_)
        | Kind::Texts { .. }
        | Kind::Points { .. }
        | Kind::Targets { .. }
        | Kind::Table(_)
        | Kind::Tables { .. }
        | Kind::Named { .. } => None,
    }
}

fn within(kind: Kind, number: f64) -> bool {
    match kind {
        Kind::Duration(least, most)
        | Kind::Hours(least, most)
        | Kind::Share(least, most)
        | Kind::Bytes(least, most)
        | Kind::Rate(least, most)
        | Kind::ByteRate(least, most) => {
            let [least, most] = [least, most]
                .map(|text| quantity(kind, text).expect("bounds can be read; a test reads them all"));
            (least..=most).contains(&number)
        }
        _ => true,
    }
}

fn is_word(text: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=64).contains(&text.len()) && text.bytes().all(is_good)
}

/// Whether a node or a class may be called so.
pub(super) fn is_name(text: &str) -> bool {
    let is_good =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.as_bytes()[0].is_ascii_lowercase()
        && text.bytes().all(is_good)
        && text != crate::plan::CLIENTS
        && text != super::ALL
}

/// The beginning of what a reader wrote, for a message.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What was found.
fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{:?}", shortened(text)),
        DeValue::Integer(number) => shortened(&number.to_string()),
        DeValue::Float(number) => shortened(number.as_str()),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(date) => date.to_string(),
        DeValue::Array(array) => format!("a list of {}", array.len()),
        DeValue::Table(table) => format!("a table of {}", table.len()),
    }
}

/// What was most likely meant.
fn hint(kind: Kind, value: &DeValue<'_>) -> String {
    match (kind, value) {
        (Kind::Choice(choices), DeValue::String(text)) => match closest(text, choices.iter().copied()) {
            Some(choice) => format!("did you mean \"{choice}\"?"),
            None => String::new(),
        },
        (Kind::Number(..) | Kind::Count(..), DeValue::String(_)) => {
            "a number without quotes and without a unit".to_owned()
        }
        (_, DeValue::Integer(_) | DeValue::Float(_)) => {
            let Some(number) = number(value).filter(|number| *number >= 0.0) else {
                return String::new();
            };
            let units: &[&str] = match kind {
                Kind::Duration(..) => &["ms", "s", "min"],
                Kind::Hours(..) => &["h", "min"],
                Kind::Share(..) => &["%"],
                Kind::Bytes(..) => &["B", "KiB"],
                Kind::Rate(..) => &["/s", "/min"],
                Kind::ByteRate(..) => &["B/s", "KiB/s"],
                _ => return String::new(),
            };
            let texts = units.iter().map(|unit| format!("\"{number}{unit}\""));
            let texts: Vec<String> = texts
                .filter(|text| {
                    quantity(kind, text.trim_matches('"')).is_some_and(|number| within(kind, number))
                })
                .collect();
            match texts.is_empty() {
                true => String::new(),
                false => format!("its unit is missing: {}", texts.join(" or ")),
            }
        }
        (Kind::Duration(..) | Kind::Hours(..), DeValue::String(_)) => {
            "units are ms, s, min, h and d, from large to small: \"1h30min\"".to_owned()
        }
        _ => String::new(),
    }
}

fn quoted(choices: &[&str]) -> String {
    let quoted: Vec<String> = choices.iter().map(|choice| format!("\"{choice}\"")).collect();
    quoted.join(", ")
}

/// What is allowed, in words.
pub(super) fn allowed(kind: Kind) -> String {
    match kind {
        Kind::Duration(least, most) => format!("a time with its unit, \"{least}\" to \"{most}\""),
        Kind::Hours(least, most) => format!("a time with its unit, \"{least}\" to \"{most}\""),
        Kind::HoursList { count_max } => format!("a list of at most {count_max} times, such as [\"19h\", \"43h30min\"]"),
        Kind::Share(least, most) => format!("a share in percent, \"{least}\" to \"{most}\""),
        Kind::Bytes(least, most) => format!("a size with its unit, \"{least}\" to \"{most}\""),
        Kind::Rate(least, most) => {
            format!("a rate with its unit, \"{least}\" to \"{most}\", such as \"0.5/s\", \"2/min\" or \"1/30s\"")
        }
        Kind::ByteRate(least, most) => format!("bytes a second, \"{least}\" to \"{most}\""),
        Kind::Number(least, most) => format!("a number, {least} to {most}"),
        Kind::Count(least, most) => format!("a whole number, {least} to {most}"),
        Kind::Range(inner) => format!("{}; or a list of three: at least, probably, at most", allowed(*inner)),
        Kind::Flag => "true or false".to_owned(),
        Kind::Choice(choices) => format!("one of {}", quoted(choices)),
        Kind::Text { bytes_max } => format!("a text of 1 to {bytes_max} bytes"),
        Kind::Word => "1 to 64 letters, digits, `.`, `-` or `_`, in quotes".to_owned(),
        Kind::Texts { count_max, bytes_max } => {
            format!("a list of at most {count_max} texts, each of 1 to {bytes_max} bytes")
        }
        Kind::Points { count_max } => {
            format!("a list of 2 to {count_max} points, such as [[\"0h\", 220], [\"12h\", 900]]")
        }
        Kind::Targets { .. } => "a percentile above p0 and below p100 and its limit, at most 1h: \"p95 < 120ms\", or a list of those".to_owned(),
        Kind::Table(_) => "a table".to_owned(),
        Kind::Tables { count_max, section } => format!("at most {count_max} tables, each under `{}`", section.header),
        Kind::Named { count_max, section } => {
            format!("at most {count_max} tables, each under `{}`", section.header)
        }
    }
}

/// What was read under a key. Asking for another kind than the table's is a mistake in this module, found by any
/// test that reads a file.
impl Table {
    fn value(&self, name: &str) -> Option<&Value> {
        Some(&self.values.get(name)?.value)
    }

    /// Where it was written; none for a default.
    pub(super) fn span(&self, name: &str) -> Option<Span> {
        self.values.get(name)?.span.clone()
    }

    /// Whether it was written and cannot be used.
    pub(super) fn is_wrong(&self, name: &str) -> bool {
        self.wrong.contains(&name)
    }

    /// None when it is absent, or was wrong and has no default; so do all others.
    pub(super) fn number(&self, name: &str) -> Option<f64> {
        match self.value(name)? {
            Value::Number(number) => Some(*number),
            other => unreachable!("`{name}` is {other:?}, not a number"),
        }
    }

    pub(super) fn count(&self, name: &str) -> Option<u32> {
        // Bounds of counts are far below.
        self.number(name).map(|number| number as u32)
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        match self.value(name)? {
            Value::Flag(flag) => Some(*flag),
            other => unreachable!("`{name}` is {other:?}, not a flag"),
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.value(name)? {
            Value::Text(text) => Some(text),
            other => unreachable!("`{name}` is {other:?}, not a text"),
        }
    }

    pub(super) fn texts(&self, name: &str) -> &[(String, Span)] {
        match self.value(name) {
            None => &[],
            Some(Value::Texts(texts)) => texts,
            other => unreachable!("`{name}` is {other:?}, not texts"),
        }
    }

    pub(super) fn numbers(&self, name: &str) -> &[f64] {
        match self.value(name) {
            None => &[],
            Some(Value::Numbers(numbers)) => numbers,
            other => unreachable!("`{name}` is {other:?}, not numbers"),
        }
    }

    pub(super) fn range(&self, name: &str) -> Option<[f64; 3]> {
        match self.value(name)? {
            Value::Range(range) => Some(*range),
            other => unreachable!("`{name}` is {other:?}, not a range"),
        }
    }

    pub(super) fn points(&self, name: &str) -> Option<&[(f64, f64)]> {
        match self.value(name)? {
            Value::Points(points) => Some(points),
            other => unreachable!("`{name}` is {other:?}, not points"),
        }
    }

    pub(super) fn targets(&self, name: &str) -> &[Target] {
        match self.value(name) {
            None => &[],
            Some(Value::Targets(targets)) => targets,
            other => unreachable!("`{name}` is {other:?}, not targets"),
        }
    }

    pub(super) fn table(&self, name: &str) -> Option<&Table> {
        match self.value(name)? {
            Value::Table(table) => Some(table),
            other => unreachable!("`{name}` is {other:?}, not a table"),
        }
    }

    pub(super) fn tables(&self, name: &str) -> &[Table] {
        match self.value(name) {
            None => &[],
            Some(Value::Tables(tables)) => tables,
            other => unreachable!("`{name}` is {other:?}, not tables"),
        }
    }

    pub(super) fn named(&self, name: &str) -> &[Named] {
        match self.value(name) {
            None => &[],
            Some(Value::Named(named)) => named,
            other => unreachable!("`{name}` is {other:?}, not named tables"),
        }
    }
}

/// The values of a table that was not written.
pub(super) fn absent(section: &'static Section) -> Table {
    let mut mistakes = Mistakes::default();
    Reader {
        mistakes: &mut mistakes,
    }
    .table(&DeTable::new(), None, section, "")
}

//! The plan file: text becomes a [`Plan`], and a plan becomes text.
//!
//! ```text
//!   keys (every key, once) ──► read ──► build, check ──► Plan ──► write ──► the same text
//!        │                       └─────────┴────► FileErrors: many at once, with their places
//!        └──► document: reference, JSON Schema
//! ```
//!
//! The text is TOML, and treated as hostile: it may come from a link. What is a default of a node
//! belongs to `component`; whether a price book or an entry of it exists, to `price`.

mod build;
mod check;
mod document;
mod keys;
mod mistake;
mod read;
mod units;
mod write;

pub use document::{reference, schema};
pub use mistake::{ERRORS_MAX, FileError};
pub use write::write;

use crate::plan::Plan;

/// Largest file.
pub const BYTES_MAX: usize = 1 << 20;

/// In `[contract.latency]`, all classes together.
const ALL: &str = "all";

/// What `tidegate plan new` begins with.
pub const TEMPLATE: &str = include_str!("template.toml");

/// Whether a section, by the first word of its header, may have a key; the top of the file has no name.
#[cfg(test)]
pub(crate) fn is_key(section: &str, key: &str) -> bool {
    let section = match section {
        "" => Some(&keys::ROOT),
        "node" => Some(&keys::NODE),
        "class" => Some(&keys::CLASS),
        _ => keys::ROOT.key(section).and_then(|key| match key.kind {
            keys::Kind::Table(section) => Some(section),
            _ => None,
        }),
    };
    section.is_some_and(|section| section.key(key).is_some())
}

/// Seconds of a time as plans have them: `19h43min`, `90s`; none if it is not one.
pub fn time(text: &str) -> Option<f64> {
    units::parse_duration(text)
}

/// Reads a plan file.
pub fn parse(text: &str) -> Result<Plan, Vec<FileError>> {
    match draft(text)? {
        (plan, missing) if missing.is_empty() => Ok(plan),
        (_, missing) => Err(missing),
    }
}

/// Reads a plan file whose topology may still be drawn: also gives what that lacks before it can run. What stands in it must be right.
pub fn draft(text: &str) -> Result<(Plan, Vec<FileError>), Vec<FileError>> {
    let mut mistakes = mistake::Mistakes::default();
    if text.len() > BYTES_MAX {
        let message = format!("the file has {} bytes", text.len());
        mistakes
            .note(None, message, "at most 1 MiB")
            .help("is it the right file?");
        return Err(mistakes.into_errors(text));
    }
    let root = read::read(text, &keys::ROOT, &mut mistakes);
    // What TOML did not understand is not there; what follows from that would mislead.
    if mistakes.is_broken {
        return Err(mistakes.into_errors(text));
    }
    let plan = build::plan(&root, &mut mistakes);
    match mistakes.is_draft() {
        true => Ok((plan, mistakes.into_errors(text))),
        false => Err(mistakes.into_errors(text)),
    }
}

#[cfg(test)]
mod tests;

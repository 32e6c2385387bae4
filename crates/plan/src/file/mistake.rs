//! What is wrong with a plan file: many mistakes at once, each with its place and the way out.
//!
//! Words only: a command line or a page draws them its own way, from the span.

use std::{fmt, ops::Range};

use serde::Serialize;

/// Most that are told of one file: who has read so many has seen the pattern.
pub const ERRORS_MAX: usize = 50;
/// Of those that TOML itself finds: one bracket too few breaks every line below.
const SYNTAX_MAX: usize = 10;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileError {
    /// Both from 1; the column counts characters. 1 and 1 when it is about what is absent.
    pub line: u32,
    pub column: u32,
    /// Bytes of the text; none when it is about what is absent.
    pub span: Option<Range<usize>>,
    /// What, with the key and the value.
    pub message: String,
    /// What is allowed there, or what it clashes with.
    pub allowed: String,
    /// The way out, where that does not say it; may be empty.
    pub help: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {}: {}",
            self.line, self.column, self.message, self.allowed
        )?;
        match self.help.as_str() {
            "" => Ok(()),
            help => write!(f, " ({help})"),
        }
    }
}

impl std::error::Error for FileError {}

/// One mistake, before its line is known.
#[derive(Debug)]
pub(super) struct Mistake {
    pub span: Option<Range<usize>>,
    pub message: String,
    pub allowed: String,
    pub help: String,
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Mistakes {
    found: Vec<Mistake>,
    /// It is no TOML: what is absent may only not have been understood.
    pub is_broken: bool,
}

impl Mistakes {
    /// Notes one; those past a bound are dropped, so that a file of junk costs no memory.
    pub(super) fn note(
        &mut self,
        span: Option<Range<usize>>,
        message: impl Into<String>,
        allowed: impl Into<String>,
    ) -> &mut Mistake {
        // All of a kind come together; those at the top of the file are told, and four times as many are kept to
        // choose from.
        if self.found.len() >= ERRORS_MAX * 4 {
            self.sort();
            self.found.truncate(ERRORS_MAX);
        }
        self.found.push(Mistake {
            span,
            message: message.into(),
            allowed: allowed.into(),
            help: String::new(),
        });
        self.found.last_mut().expect("pushed above")
    }

    /// What TOML itself says.
    pub(super) fn note_syntax(&mut self, errors: &[toml::de::Error]) {
        self.is_broken = !errors.is_empty();
        for error in errors.iter().take(SYNTAX_MAX) {
            self.note(error.span(), "this is not TOML", error.message());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    fn sort(&mut self) {
        self.found
            .sort_by_key(|mistake| mistake.span.as_ref().map_or(usize::MAX, |span| span.start));
    }

    /// In the order of the text; what is absent comes last.
    pub(super) fn into_errors(mut self, text: &str) -> Vec<FileError> {
        self.sort();
        self.found.truncate(ERRORS_MAX);
        self.found
            .into_iter()
            .map(|mistake| {
                let (line, column) = mistake
                    .span
                    .as_ref()
                    .map_or((1, 1), |span| place(text, span.start));
                FileError {
                    line,
                    column,
                    span: mistake.span,
                    message: mistake.message,
                    allowed: mistake.allowed,
                    help: mistake.help,
                }
            })
            .collect()
    }
}

impl Mistake {
    /// Adds the way out.
    pub(super) fn help(&mut self, help: impl Into<String>) {
        self.help = help.into();
    }
}

/// Line and column of a byte.
fn place(text: &str, at: usize) -> (u32, u32) {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = &text[..at];
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.chars().rev().take_while(|char| *char != '\n').count() + 1;
    (line as u32, column as u32)
}

/// A known name that is close to one that is not.
pub(super) fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A longer one is no slip of a finger, and would take long to compare.
    if name.len() > 100 {
        return None;
    }
    known
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .min()
        .filter(|(distance, known)| *distance <= known.len().max(name.len()) / 3 + 1)
        .map(|(_, known)| known)
}

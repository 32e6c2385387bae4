//! What is wrong with a configuration: every problem at once, each with its place.
//!
//! Rendered by rustc's own renderer. Values of secrets are masked before anything is
//! printed, because error messages end in logs and in tickets.

use std::{fmt, ops::Range};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What: lowercase, with the key.
    pub message: String,
    /// Where in the file; none when it is about what is absent.
    pub span: Option<Range<usize>>,
    /// What is allowed there, or what it clashes with.
    pub label: String,
    /// The way out, where the label does not say it.
    pub help: String,
}

impl Problem {
    /// A problem at a place.
    pub(super) fn at(
        span: Option<Range<usize>>,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Self {
        Self {
            message: message.into(),
            span,
            label: label.into(),
            help: String::new(),
        }
    }

    /// Adds the way out.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }
}

/// How problems are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// For files and logs.
    Plain,
    /// For terminals.
    Colours,
}

/// Everything that is wrong with one configuration; never empty.
#[derive(Clone)]
pub struct ConfigErrors {
    /// The file's name, as it was given.
    path: String,
    /// Its text, secrets masked.
    source: String,
    problems: Vec<Problem>,
}

impl ConfigErrors {
    pub(super) fn new(path: &str, source: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.span.as_ref().map_or(usize::MAX, |span| span.start));
        Self {
            path: path.to_owned(),
            source: mask_secrets(source),
            problems,
        }
    }

    /// One problem that has no place in a file.
    pub(super) fn one(path: &str, problem: Problem) -> Self {
        Self::new(path, "", vec![problem])
    }

    /// Returns the problems, in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Renders all of them, as rustc does.
    pub fn render(&self, paint: Paint) -> String {
        let renderer = match paint {
            Paint::Plain => Renderer::plain(),
            Paint::Colours => Renderer::styled(),
        };
        let mut text = String::new();
        for problem in &self.problems {
            let title = Level::ERROR.primary_title(problem.message.as_str());
            let mut group = match &problem.span {
                Some(span) => title.element(
                    Snippet::source(self.source.as_str())
                        .path(self.path.as_str())
                        .annotation(
                            AnnotationKind::Primary
                                .span(self.clamp(span))
                                .label(problem.label.as_str()),
                        ),
                ),
                None => Group::with_title(title),
            };
            if problem.span.is_none() && !problem.label.is_empty() {
                group = group.element(Level::NOTE.message(problem.label.as_str()));
            }
            if !problem.help.is_empty() {
                group = group.element(Level::HELP.message(problem.help.as_str()));
            }
            text.push_str(&renderer.render(&[group]));
            text.push_str("\n\n");
        }
        let count = match self.problems.len() {
            1 => "1 error".to_owned(),
            n => format!("{n} errors"),
        };
        let path = match self.path.as_str() {
            "" => "the configuration",
            path => path,
        };
        text.push_str(&format!("{path}: {count}"));
        text
    }

    /// Spans come from the parser and lie within the text; an empty one points at its place.
    fn clamp(&self, span: &Range<usize>) -> Range<usize> {
        let end = span.end.min(self.source.len());
        span.start.min(end)..end
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Paint::Plain))
    }
}

impl fmt::Debug for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ConfigErrors {}

/// Replaces the values of keys named `secret` by asterisks, byte for byte, so that
/// spans stay true. Works on lines, because the text may be too broken to parse.
fn mask_secrets(source: &str) -> String {
    let mut masked = String::with_capacity(source.len());
    for line in source.split_inclusive('\n') {
        let mut rest = line;
        while let Some(start) = secret_value(rest) {
            let (head, value) = rest.split_at(start);
            masked.push_str(head);
            // A quote ends it, or the line does: what is within a broken string stays hidden too.
            let end = value.find(['"', '\'', '\n', '\r']).unwrap_or(value.len());
            let (value, tail) = value.split_at(end);
            match value.starts_with("env:") || value.starts_with("file:") {
                true => masked.push_str(value),
                false => masked.extend(std::iter::repeat_n('*', value.len())),
            }
            rest = tail;
        }
        masked.push_str(rest);
    }
    masked
}

/// Where, in `line`, the value of a key `secret` begins (after its quotes).
fn secret_value(line: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(found) = line[from..].find("secret") {
        let key_end = from + found + "secret".len();
        let after = line[key_end..].trim_start_matches(['"', '\'']).trim_start();
        if let Some(value) = after.strip_prefix('=') {
            let value = value.trim_start_matches([' ', '\t', '"', '\'']);
            return Some(line.len() - value.len());
        }
        from = key_end;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_lengths_kept() {
        for (source, expected) in [
            ("secret = \"hunter2\"\n", "secret = \"*******\"\n"),
            ("secret = \"env:NAME\"", "secret = \"env:NAME\""),
            ("{ secret='a', secret = 'bc' }", "{ secret='*', secret = '**' }"),
            (
                "secret = \"never closed\nnext = 1",
                "secret = \"************\nnext = 1",
            ),
            ("the secret of it = 1", "the secret of it = 1"),
            ("\"secret\" = \"ü\"", "\"secret\" = \"**\""),
        ] {
            let masked = mask_secrets(source);
            assert_eq!(masked, expected);
            assert_eq!(masked.len(), source.len());
        }
    }
}

//! A plan file as it was read: its text, its plan, and where in it things stand.
//!
//! What is wrong with it is told as rustc tells it: file, line, value, what is allowed, the way out.
//! A file is treated as hostile: its size is bounded before it is read, and nothing of it reaches a
//! terminal that could steer it.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    ops::Range,
    path::Path,
};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use tidegate_plan::{
    Network, Plan,
    compile::{self, CompileError},
    engine,
    file::{self, FileError},
    price::{self, Book, BookError},
};

use super::{
    Unanswered,
    report::{sarif::Rule, shown::plain},
};
use crate::log;

/// What may be wrong with a plan before it runs.
pub const RULES: [Rule; 3] = [
    Rule {
        id: FILE,
        says: "The file is not a plan: a key, a value or a unit is wrong, or something is absent.",
    },
    Rule {
        id: TOPOLOGY,
        says: "The topology cannot run: an edge makes no sense, or a tier is missing.",
    },
    Rule {
        id: PRICE,
        says: "A node has a size that the price book does not know, or there is no such book.",
    },
];
pub const FILE: &str = "plan-file";
pub const TOPOLOGY: &str = "plan-topology";
pub const PRICE: &str = "plan-price";

/// See the module.
pub struct Source {
    /// As it was asked for.
    pub name: String,
    pub text: String,
}

/// A plan that runs, and where it came from.
pub struct Ready {
    pub source: Source,
    pub plan: Plan,
    pub network: Network,
}

/// Something that is wrong with a text, and where.
pub struct Wrong {
    /// The rule it breaks: the file's, the compiler's or the price book's.
    pub rule: &'static str,
    pub span: Option<Range<usize>>,
    pub message: String,
    /// What is allowed there.
    pub label: String,
    /// The way out; may be empty.
    pub help: String,
}

impl From<FileError> for Wrong {
    fn from(error: FileError) -> Self {
        Self {
            rule: FILE,
            span: error.span,
            message: error.message,
            label: error.allowed,
            help: error.help,
        }
    }
}

impl Source {
    /// Reads a file, or standard input for `-`.
    pub fn read(path: &Path) -> Result<Self, Unanswered> {
        let name = plain(&path.display().to_string()).into_owned();
        Self::read_other(
            path,
            &format!("`tidegate plan new {name}` writes one to begin with"),
        )
    }

    /// The same of a file that is no plan; `way` is how one comes to be.
    pub fn read_other(path: &Path, way: &str) -> Result<Self, Unanswered> {
        let (name, read) = match path.as_os_str() == "-" {
            true => ("<stdin>".to_owned(), bounded(io::stdin().lock())),
            false => (
                plain(&path.display().to_string()).into_owned(),
                File::open(path).and_then(bounded),
            ),
        };
        let bytes = read.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                format!("tidegate plan: there is no file {name}; {way}")
            }
            _ => format!("tidegate plan: cannot read {name}: {error}"),
        })?;
        if bytes.len() > file::BYTES_MAX {
            return Err(Unanswered(format!(
                "tidegate plan: {name} has more than 1 MiB, the most a file may have; is it the right file?"
            )));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes()[..valid]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count();
            format!("tidegate plan: {name}:{line}: this is not UTF-8 text; is it the right file?")
        })?;
        Ok(Self { name, text })
    }

    /// Its plan, made ready to run.
    pub fn ready(self) -> Result<Ready, Unanswered> {
        match self.compiled() {
            Ok((plan, network)) => Ok(Ready {
                source: self,
                plan,
                network,
            }),
            Err(wrongs) => Err(Unanswered(self.render(&wrongs))),
        }
    }

    /// Reads, compiles and prices it, by its own book or the one asked for.
    pub fn priced(&self, asked: Option<&Book>) -> Result<(Plan, Network, Book), Vec<Wrong>> {
        let (plan, network) = self.compiled()?;
        let wrong = |span, message, label: &str, help| Wrong {
            rule: PRICE,
            span,
            message,
            label: label.to_owned(),
            help,
        };
        let Some(book) = asked.cloned().or_else(|| Book::by_name(&plan.book)) else {
            let span = self.line_of("prices");
            let names = format!("there are {}", Book::NAMES.join(", "));
            let help = "or run it with a file of your own: `--book prices.toml`".to_owned();
            let message = format!("there is no price book {:?}", plan.book);
            return Err(vec![wrong(span, message, &names, help)]);
        };
        // What has no price shows only when it is billed; any outcome will do.
        if let Err(missing) = price::bill(&plan, &network, &book, &engine::fluid::run(&network)) {
            let wrongs = missing.iter().map(|missing| {
                wrong(
                    self.node(&missing.node),
                    missing.to_string(),
                    "take a size that is in the book, or another book",
                    format!("see prices/{}.toml", missing.book),
                )
            });
            return Err(wrongs.collect());
        }
        Ok((plan, network, book))
    }

    /// Reads and compiles it.
    pub fn compiled(&self) -> Result<(Plan, Network), Vec<Wrong>> {
        let plan = file::parse(&self.text)
            .map_err(|errors| errors.into_iter().map(Wrong::from).collect::<Vec<_>>())?;
        let network = compile::compile(&plan).map_err(|error| vec![self.uncompiled(error)])?;
        Ok((plan, network))
    }

    fn uncompiled(&self, error: CompileError) -> Wrong {
        let (span, who) = match (&error.edge, &error.node) {
            (Some((from, to)), _) => (self.edge(from, to), format!("edge `{from}` → `{to}`: ")),
            (None, Some(node)) => (self.node(node), format!("node `{node}`: ")),
            (None, None) => (None, String::new()),
        };
        Wrong {
            rule: TOPOLOGY,
            span,
            message: format!("{who}{}", error.what),
            label: error.way,
            help: String::new(),
        }
    }

    /// Where a key is set, as `node.ws.count`: else where its table begins; none if that is not there.
    pub fn key(&self, path: &str) -> Option<Range<usize>> {
        let (table, key) = match path.rsplit_once('.') {
            Some((table, key)) => (table, key),
            None => return self.line_of(path).or_else(|| self.header(&format!("[[{path}]]"))),
        };
        let header = self.header(&format!("[{table}]"))?;
        let mut at = header.end;
        for line in self.text[header.end..].split_inclusive('\n') {
            // The next table begins.
            if line.starts_with('[') {
                break;
            }
            let indent = line.len() - line.trim_start().len();
            let set = line.trim_start().strip_prefix(key).map(str::trim_start);
            if set.is_some_and(|rest| rest.starts_with('=')) {
                return Some(at + indent..at + line.trim_end().len());
            }
            at += line.len();
        }
        Some(header)
    }

    /// The header of a node's table.
    pub fn node(&self, id: &str) -> Option<Range<usize>> {
        self.header(&format!("[node.{id}]"))
    }

    /// The first line that sets a key.
    pub fn line_of(&self, key: &str) -> Option<Range<usize>> {
        let mut at = 0;
        for line in self.text.split_inclusive('\n') {
            let set = line.trim_start().strip_prefix(key).map(str::trim_start);
            if set.is_some_and(|rest| rest.starts_with('=')) {
                return Some(at..at + line.trim_end().len());
            }
            at += line.len();
        }
        None
    }

    /// The line that is this header.
    fn header(&self, header: &str) -> Option<Range<usize>> {
        let mut at = 0;
        for line in self.text.split_inclusive('\n') {
            let indent = line.len() - line.trim_start().len();
            if line.trim_start().starts_with(header) {
                return Some(at + indent..at + indent + header.len());
            }
            at += line.len();
        }
        None
    }

    /// The way in which one node calls another.
    fn edge(&self, from: &str, to: &str) -> Option<Range<usize>> {
        let mut at = 0;
        for line in self.text.split_inclusive('\n') {
            let way = line.trim_end_matches(['\n', '\r']);
            let nodes: Vec<&str> = way
                .split("->")
                .map(|node| node.trim_matches([' ', '\t', '"', '\'', ',', '[', ']']))
                .collect();
            if nodes.windows(2).any(|pair| pair == [from, to]) {
                let indent = way.len() - way.trim_start().len();
                return Some(at + indent..at + way.len());
            }
            at += line.len();
        }
        None
    }

    /// Renders what is wrong with it, and how much.
    pub fn render(&self, wrongs: &[Wrong]) -> String {
        let renderer = match io::stderr().is_terminal() && log::has_colours() {
            true => Renderer::styled(),
            false => Renderer::plain(),
        };
        let mut text = String::new();
        for wrong in wrongs {
            let (message, label, help) = (plain(&wrong.message), plain(&wrong.label), plain(&wrong.help));
            let title = Level::ERROR.primary_title(message.as_ref());
            let mut group = match &wrong.span {
                Some(span) => title.element(
                    Snippet::source(self.text.as_str())
                        .path(self.name.as_str())
                        .annotation(
                            AnnotationKind::Primary
                                .span(self.clamp(span))
                                .label(label.as_ref()),
                        ),
                ),
                None => Group::with_title(title),
            };
            if wrong.span.is_none() && !label.is_empty() {
                group = group.element(Level::NOTE.message(label.as_ref()));
            }
            if !help.is_empty() {
                group = group.element(Level::HELP.message(help.as_ref()));
            }
            text.push_str(&renderer.render(&[group]));
            text.push_str("\n\n");
        }
        let count = match wrongs.len() {
            1 => "1 error".to_owned(),
            n => format!("{n} errors"),
        };
        text.push_str(&format!("{}: {count}", self.name));
        text
    }

    /// Spans lie within the text; an empty one points at its place.
    fn clamp(&self, span: &Range<usize>) -> Range<usize> {
        let end = span.end.min(self.text.len());
        span.start.min(end)..end
    }

    /// Line and column of a place, from 1; the column counts characters.
    pub fn place(&self, span: &Range<usize>) -> (usize, usize) {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let start = before
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        (
            line,
            String::from_utf8_lossy(&before[start..]).chars().count() + 1,
        )
    }
}

/// One byte more than a plan may have tells that it is too large.
fn bounded(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(file::BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The price book of a plan, or the one asked for in its place: a name, or a file that ends in `.toml`.
pub fn book(asked: Option<&str>, plan: &Plan) -> Result<Book, Unanswered> {
    named_book(asked, asked.unwrap_or(&plan.book))
}

/// The price book that was asked for, whatever the plan.
pub fn asked_book(asked: Option<&str>) -> Result<Option<Book>, Unanswered> {
    asked.map(|name| named_book(asked, name)).transpose()
}

fn named_book(asked: Option<&str>, name: &str) -> Result<Book, Unanswered> {
    if let Some(path) = asked.filter(|name| name.ends_with(".toml")) {
        let source = Source::read(Path::new(path))?;
        return Book::parse(&source.text).map_err(|BookError { line, what }| {
            let what = plain(&what);
            Unanswered(format!(
                "tidegate plan: {}:{}: {what}",
                source.name,
                line.unwrap_or(1)
            ))
        });
    }
    Book::by_name(name).ok_or_else(|| {
        let names = Book::NAMES.join(", ");
        Unanswered(format!(
            "tidegate plan: there is no price book {name:?}; there are {names}, or a file of your own (`--book prices.toml`)"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source {
            name: "a.toml".to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_node_and_an_edge_have_their_places() {
        let source = source("x = 1\n  \"clients -> lb -> ws\",\n[node.ws2]\n[node.ws] # y\n");
        let at = |span: Option<Range<usize>>| span.map(|span| &source.text[span]);
        assert_eq!(at(source.node("ws")), Some("[node.ws]"));
        assert_eq!(at(source.edge("lb", "ws")), Some("\"clients -> lb -> ws\","));
        assert_eq!(source.place(&source.node("ws").expect("it is there")), (4, 1));
        assert_eq!(
            source.place(&source.edge("lb", "ws").expect("it is there")),
            (2, 3)
        );
        assert_eq!(source.edge("ws", "lb"), None);
        assert_eq!(source.node("nobody"), None);
    }

    #[test]
    fn a_key_has_its_place_or_that_of_its_table() {
        let source = source(
            "prices = \"x\"\n[node.ws]\nkind = \"ws\"\n  count = 2 # y\n[node.ws2]\nzones = 3\n[[burst]]\n",
        );
        let at = |path: &str| source.key(path).map(|span| &source.text[span]);
        assert_eq!(at("node.ws.count"), Some("count = 2 # y"));
        assert_eq!(at("node.ws.zones"), Some("[node.ws]"));
        assert_eq!(at("node.ws2.zones"), Some("zones = 3"));
        assert_eq!(
            (at("prices"), at("burst")),
            (Some("prices = \"x\""), Some("[[burst]]"))
        );
        assert_eq!((at("clients.jitter"), at("seed")), (None, None));
    }

    #[test]
    fn a_place_beyond_the_text_is_its_end() {
        let source = source("a\n");
        let wrong = Wrong {
            rule: FILE,
            span: Some(70..90),
            message: "m\u{1b}[2J".to_owned(),
            label: "l".to_owned(),
            help: String::new(),
        };
        let text = source.render(&[wrong]);
        assert!(text.contains("a.toml") && !text.contains("\u{1b}[2J"), "{text}");
    }
}

//! `tidegate plan lint`: what is wrong, or weak, in a design, each with its evidence, its place and a way out.
//!
//! The rules are the planner's (`tidegate_plan::lint`). Here findings get their lines, and the forms in which they are
//! told, for `plan check`, too.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;
use tidegate_plan::{
    Plan,
    lint::{self, Finding, Given, Severity},
    price::Book,
};

use super::{
    Ending, Unanswered,
    report::{
        sarif::{Level, Remark, Rule, sarif},
        shown::plain,
        text::{Paint, wrapped},
    },
    run::today,
    show,
    source::{self, Source, Wrong, asked_book},
    write,
};
use crate::configure::complain;

#[derive(Args)]
#[command(
    after_help = "Exit status: 0 no rule finds an error, 3 a file is wrong or cannot be read, 4 a rule finds an error.

Examples:
  tidegate plan lint plan.toml
  tidegate plan lint plans/*.toml --json | jq '.files[].findings[] | select(.severity == \"error\")'"
)]
pub struct Arguments {
    /// The plans; `-` is standard input.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// A price book in place of the plans': a name, or a file that ends in `.toml`.
    #[arg(long, value_name = "NAME")]
    book: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Also write the findings as SARIF, for code review.
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<Ending, Unanswered> {
    let book = asked_book(arguments.book.as_deref())?;
    let paint = Paint::of_stdout();
    let (mut files, mut remarks) = (Vec::new(), Vec::new());
    let (mut is_wrong, mut is_flawed) = (false, false);
    for path in &arguments.files {
        match linted(path, book.as_ref(), &mut remarks) {
            Ok((source, found)) => {
                is_flawed |= found.iter().any(Found::is_error);
                remarks.extend(found.iter().map(|found| found.remark(&source.name)));
                if !arguments.json {
                    show(&text(&source.name, &found, Severity::Note, paint))?;
                }
                files.push(Linted {
                    file: source.name,
                    findings: found,
                });
            }
            Err(Unanswered(words)) => {
                is_wrong = true;
                complain(&words);
            }
        }
    }
    if let Some(path) = &arguments.sarif {
        write(path, &sarif(&rules(), &remarks))?;
    }
    if arguments.json {
        let answer = Answer { version: 1, files };
        show(&(serde_json::to_string_pretty(&answer).expect("all keys are strings") + "\n"))?;
    }
    Ok(match (is_wrong, is_flawed) {
        (true, _) => Ending::Unanswered,
        (false, true) => Ending::Flawed,
        (false, false) => Ending::Good,
    })
}

#[derive(Serialize)]
struct Answer {
    version: u32,
    files: Vec<Linted>,
}

#[derive(Serialize)]
struct Linted {
    file: String,
    findings: Vec<Found>,
}

/// What is found in a file; what is wrong with another is noted.
fn linted(
    path: &Path,
    book: Option<&Book>,
    remarks: &mut Vec<Remark>,
) -> Result<(Source, Vec<Found>), Unanswered> {
    let source = read(path, remarks)?;
    let priced = source.priced(book);
    let (plan, _, book) = priced.map_err(|wrongs| {
        remarks.extend(wrongs.iter().map(|wrong| remark(&source, wrong)));
        Unanswered(source.render(&wrongs))
    })?;
    let found = look(&source, &plan, &book, Pairs::Made);
    Ok((source, found))
}

/// Reads a file; that it cannot be read is noted.
pub fn read(path: &Path, remarks: &mut Vec<Remark>) -> Result<Source, Unanswered> {
    Source::read(path).inspect_err(|Unanswered(words)| {
        remarks.push(Remark {
            rule: source::FILE,
            level: Level::Error,
            message: words.clone(),
            file: path.display().to_string(),
            place: None,
        });
    })
}

/// A mistake as code review shows it.
pub fn remark(source: &Source, wrong: &Wrong) -> Remark {
    let parts = [&wrong.message, &wrong.label, &wrong.help];
    let said: Vec<&str> = parts
        .into_iter()
        .map(String::as_str)
        .filter(|part| !part.is_empty())
        .collect();
    Remark {
        rule: wrong.rule,
        level: Level::Error,
        message: said.join("; "),
        file: source.name.clone(),
        place: wrong.span.as_ref().map(|span| source.place(span)),
    }
}

/// All rules that remarks on a plan may cite.
pub fn rules() -> Vec<Rule> {
    let own = lint::RULES.iter().map(|rule| Rule {
        id: rule.id,
        says: rule.says,
    });
    source::RULES.into_iter().chain(own).collect()
}

/// Whether rules make pairs of runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairs {
    Made,
    /// There is no time for them.
    LeftOut,
}

/// A finding, and where in the file it is to be mended.
#[derive(Serialize)]
pub struct Found {
    #[serde(flatten)]
    pub finding: Finding,
    /// From 1; none of what is not in the file yet.
    pub line: Option<usize>,
    pub column: Option<usize>,
}

/// What the rules find in a plan, by the day and with places.
pub fn look(source: &Source, plan: &Plan, book: &Book, pairs: Pairs) -> Vec<Found> {
    let given = Given {
        book: Some(book),
        today: Some(&today()),
        with_pairs: pairs == Pairs::Made,
    };
    let findings = lint::lint(plan, &given).unwrap_or_default();
    findings
        .into_iter()
        .map(|finding| {
            let place = finding.keys.iter().find_map(|key| source.key(key));
            let place = place.map(|span| source.place(&span));
            Found {
                finding,
                line: place.map(|(line, _)| line),
                column: place.map(|(_, column)| column),
            }
        })
        .collect()
}

impl Found {
    pub fn is_error(&self) -> bool {
        self.finding.severity == Severity::Error
    }

    pub fn remark(&self, file: &str) -> Remark {
        let finding = &self.finding;
        Remark {
            rule: finding.rule,
            level: match finding.severity {
                Severity::Error => Level::Error,
                Severity::Warning => Level::Warning,
                Severity::Note => Level::Note,
            },
            message: format!("{}: {}. Way out: {}", finding.name, finding.evidence, finding.fix),
            file: file.to_owned(),
            place: self.line.zip(self.column),
        }
    }
}

/// Findings for a terminal, from a severity on; the others are counted.
pub fn text(file: &str, found: &[Found], from: Severity, paint: Paint) -> String {
    let mut text = String::new();
    for found in found.iter().filter(|found| found.finding.severity >= from) {
        let finding = &found.finding;
        let place = match (found.line, found.column) {
            (Some(line), Some(column)) => format!("{file}:{line}:{column}"),
            _ => file.to_owned(),
        };
        let about = match &finding.nodes[..] {
            [] => String::new(),
            nodes => format!(" ({})", nodes.join(", ")),
        };
        let _ = writeln!(
            text,
            "{place}: {} {} {}{about}",
            paint.severity(finding.severity),
            finding.rule,
            finding.name
        );
        text.push_str(&wrapped(&plain(&finding.evidence)));
        text.push_str(&wrapped(&format!("→ {}", plain(&finding.fix))));
        if let Some(mistake) = finding.mistake {
            let _ = writeln!(text, "  common mistake: {mistake}");
        }
        text.push('\n');
    }
    let _ = writeln!(text, "{file}: {}", counted(found));
    let hidden = found.iter().filter(|found| found.finding.severity < from).count();
    if hidden > 0 {
        let _ = writeln!(text, "  notes are told by `tidegate plan lint {file}`");
    }
    text
}

/// `2 errors, 1 warning, 3 notes`, or that there is nothing.
pub fn counted(found: &[Found]) -> String {
    let parts: Vec<String> = [Severity::Error, Severity::Warning, Severity::Note]
        .into_iter()
        .filter_map(|severity| {
            let count = found
                .iter()
                .filter(|found| found.finding.severity == severity)
                .count();
            match count {
                0 => None,
                1 => Some(format!("1 {severity}")),
                count => Some(format!("{count} {severity}s")),
            }
        })
        .collect();
    match parts.is_empty() {
        true => "the rules find nothing".to_owned(),
        false => parts.join(", "),
    }
}

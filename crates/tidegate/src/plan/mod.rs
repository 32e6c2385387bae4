//! `tidegate plan`: will a design hold, for this traffic and this money?
//!
//! ```text
//!   FILE ─► source ─► trial: runs, on all cores ─► report: text, JSON, HTML, JUnit
//! ```
//!
//! Each sub-command has a file of its own. What a plan means, how it runs and what it costs is the
//! business of the crate `tidegate-plan`, which is pure: files, threads, the day and the terminal are here.

mod calibrate;
mod check;
mod compare;
mod drift;
mod explain;
mod export;
mod library;
mod lint;
mod new;
mod open;
mod optimize;
mod report;
mod run;
mod source;
mod trial;

use std::{fs, path::Path, process::ExitCode};

use clap::Subcommand;
use tidegate_plan::file;

use crate::configure::{complain, print};

#[derive(Subcommand)]
pub enum Command {
    /// Write a plan to begin with: a commented template, or a scenario of the library.
    New(new::Arguments),
    /// The one command for CI: read plans, tell every mistake, look for what is weak in them, and judge.
    Check(check::Arguments),
    /// Tell what is wrong, or weak, in a design, with the evidence and a way out.
    Lint(lint::Arguments),
    /// Run a plan: the verdict, the contract clause by clause, the bill, who is busy, where events wait.
    Run(run::Arguments),
    /// Tell why: where events wait, what is the cause, where the error budget went, whether it recovers.
    Explain(explain::Arguments),
    /// Find the cheapest design that holds, what more money buys, and which clause costs it.
    Optimize(optimize::Arguments),
    /// Run two designs under the same chance, and tell what differs by more than noise.
    Compare(compare::Arguments),
    /// Put what `tidegate load calibrate` measured into a plan, and tell what that changes.
    Calibrate(calibrate::Arguments),
    /// Hold a running server's metrics against a plan.
    Drift(drift::Arguments),
    /// Write a plan as JSON, its topology as a Graphviz graph, or the minutes of a run as CSV.
    Export(export::Arguments),
    /// Serve the planner's page on this machine, with a plan in it.
    Open(open::Arguments),
    /// Print a JSON Schema of plan files, for editors.
    Schema,
}

/// What a command ends with; docs/planner.md tells the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// It was done; a contract holds.
    Good = 0,
    /// A contract breaks.
    Bad = 1,
    /// The runs do not tell whether the contract holds. Clap ends with the same when the command line is wrong.
    TooClose = 2,
    /// A file could not be read or written, or is no plan that runs.
    Unanswered = 3,
    /// A rule found an error, whatever the runs say.
    Flawed = 4,
}

impl From<report::Verdict> for Ending {
    fn from(verdict: report::Verdict) -> Self {
        match verdict {
            report::Verdict::Holds => Self::Good,
            report::Verdict::Breaks => Self::Bad,
            report::Verdict::TooClose => Self::TooClose,
        }
    }
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        Self::from(ending as u8)
    }
}

/// It could not be done, and this says why; nothing if it was told already.
struct Unanswered(String);

impl From<String> for Unanswered {
    fn from(words: String) -> Self {
        Self(words)
    }
}

pub fn run(command: &Command) -> ExitCode {
    let ending = match command {
        Command::New(arguments) => new::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Lint(arguments) => lint::run(arguments),
        Command::Run(arguments) => run::run(arguments),
        Command::Explain(arguments) => explain::run(arguments),
        Command::Optimize(arguments) => optimize::run(arguments),
        Command::Compare(arguments) => compare::run(arguments),
        Command::Calibrate(arguments) => calibrate::run(arguments),
        Command::Drift(arguments) => drift::run(arguments),
        Command::Export(arguments) => export::run(arguments),
        Command::Open(arguments) => open::run(arguments),
        Command::Schema => show(&format!("{:#}\n", file::schema())).map(|()| Ending::Good),
    };
    match ending {
        Ok(ending) => ending.into(),
        Err(Unanswered(words)) => {
            if !words.is_empty() {
                complain(&words);
            }
            Ending::Unanswered.into()
        }
    }
}

/// Prints an answer.
fn show(text: &str) -> Result<(), Unanswered> {
    match print(text) == ExitCode::SUCCESS {
        true => Ok(()),
        // It has told why.
        false => Err(Unanswered(String::new())),
    }
}

/// Writes a form of an answer beside what is printed.
fn write(path: &Path, text: &str) -> Result<(), Unanswered> {
    fs::write(path, text)
        .map_err(|error| Unanswered(format!("tidegate plan: cannot write {}: {error}", path.display())))
}

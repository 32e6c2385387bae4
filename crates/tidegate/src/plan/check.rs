//! `tidegate plan check`: the one command for CI. Each file is read, compiled and priced; then judged; then looked at by
//! the rules.
//!
//! ```text
//!   FILE ─► mistakes? ──► invalid (3)
//!             └─► judge ─► lint ─► breaks (1), an error of a rule (4), too close (2), or all is well (0)
//! ```
//!
//! Of several files the gravest counts, in that order: who lets pass what is too close does not let pass an error.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;
use tidegate_plan::{
    Network, Plan,
    judge::{Judge, What},
    lint::Severity,
    price::Book,
};

use super::{
    Ending, Unanswered,
    lint::{self, Found, Pairs},
    report::{
        Report, Verdict,
        html::html,
        junit::{Suite, junit},
        sarif::{Level, Remark, Rule, sarif},
        shown::{clause_limit, clause_name, clause_value, count, plain, share, span},
        text::{self, Paint},
    },
    show,
    source::{Source, Wrong, asked_book},
    trial::{self, Asked, Within},
    write,
};
use crate::configure::complain;

#[derive(Args)]
#[command(
    after_help = "Exit status: 0 all contracts hold, 1 one breaks, 2 one is too close to tell (and clap's, when the command line is
wrong), 3 a file is wrong or cannot be read, 4 contracts hold and a rule finds an error. Of several files the gravest
counts: 3, 1, 4, 2, 0.

Examples:
  tidegate plan check plans/*.toml --sarif plan.sarif --junit plan.xml
  tidegate plan check plan.toml --within 2s
  tidegate plan check plan.toml --no-run"
)]
pub struct Arguments {
    /// The plans; `-` is standard input.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Only tell mistakes in the files; nothing is judged, and no rule is asked.
    #[arg(long, conflicts_with_all = ["within", "html", "junit"])]
    no_run: bool,
    #[command(flatten)]
    effort: Asked,
    #[command(flatten)]
    within: Within,
    /// A price book in place of the plans': a name, or a file that ends in `.toml`.
    #[arg(long, value_name = "NAME")]
    book: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Also write mistakes, findings and clauses that do not hold as SARIF, for code review.
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
    /// Also write JUnit XML: each clause is a test, and each error that a rule finds.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Also write a report as one HTML file, with charts; of one plan.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// A clause that does not hold, as code review cites it.
const CLAUSE: Rule = Rule {
    id: "plan-contract",
    says: "A clause of the contract is broken, or too close to tell.",
};

pub fn run(arguments: &Arguments) -> Result<Ending, Unanswered> {
    if arguments.html.is_some() && arguments.files.len() > 1 {
        let files = arguments.files.len();
        return Err(Unanswered(format!(
            "tidegate plan: `--html` shows one plan, and there are {files}; check them one by one"
        )));
    }
    let book = asked_book(arguments.book.as_deref())?;
    let mut remarks = Vec::new();
    let mut checked: Vec<Checked> = Vec::new();
    for path in &arguments.files {
        let one = check(path, arguments, book.as_ref(), &mut remarks);
        if !one.complaint.is_empty() {
            complain(&one.complaint);
        }
        if !arguments.json {
            show(&one.text)?;
        }
        if let (Some(path), Some(report)) = (&arguments.html, &one.report) {
            write(path, &html(report))?;
        }
        checked.push(one);
    }
    if let Some(path) = &arguments.sarif {
        let rules: Vec<Rule> = lint::rules().into_iter().chain([CLAUSE]).collect();
        write(path, &sarif(&rules, &remarks))?;
    }
    if let Some(path) = &arguments.junit {
        let suites: Vec<Suite> = checked.iter().map(Checked::suite).collect();
        write(path, &junit(&suites))?;
    }
    let ending = checked
        .iter()
        .map(|one| one.ending)
        .max_by_key(|ending| gravity(*ending))
        .unwrap_or(Ending::Good);
    if arguments.json {
        let answer = Answer {
            version: 1,
            status: ending as u8,
            files: &checked,
        };
        show(&(serde_json::to_string_pretty(&answer).expect("all keys are strings") + "\n"))?;
    }
    Ok(ending)
}

/// How grave an ending is, beside others.
fn gravity(ending: Ending) -> u8 {
    match ending {
        Ending::Good => 0,
        Ending::TooClose => 1,
        Ending::Flawed => 2,
        Ending::Bad => 3,
        Ending::Unanswered => 4,
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    version: u32,
    status: u8,
    files: &'a [Checked],
}

/// What came of one file.
#[derive(Serialize)]
struct Checked {
    file: String,
    /// `holds`, `breaks`, `too close`, `invalid` or `lint error`; `valid` where nothing was run.
    says: &'static str,
    mistakes: Vec<Mistake>,
    findings: Vec<Found>,
    /// As `plan run --json` has it.
    report: Option<Report>,
    #[serde(skip)]
    ending: Ending,
    #[serde(skip)]
    text: String,
    /// For standard error.
    #[serde(skip)]
    complaint: String,
}

#[derive(Serialize)]
struct Mistake {
    rule: &'static str,
    line: Option<usize>,
    column: Option<usize>,
    message: String,
}

impl Checked {
    fn invalid(file: String, mistakes: Vec<Mistake>, complaint: String) -> Self {
        Self {
            file,
            says: "invalid",
            mistakes,
            findings: Vec::new(),
            report: None,
            ending: Ending::Unanswered,
            text: String::new(),
            complaint,
        }
    }

    fn suite(&self) -> Suite {
        let mut suite = Suite::new(&self.file);
        for mistake in &self.mistakes {
            suite.fail("the file is a plan", "INVALID", &mistake.message);
        }
        if let Some(report) = &self.report {
            suite.judge(report);
            let errors = self.findings.iter().filter(|found| found.is_error());
            for Found { finding, .. } in errors.clone() {
                let said = format!("{}. Way out: {}", finding.evidence, finding.fix);
                suite.fail(format!("{} {}", finding.rule, finding.name), "LINT", said);
            }
            if errors.count() == 0 {
                suite.pass("no rule finds an error", lint::counted(&self.findings));
            }
        }
        suite
    }
}

fn check(path: &Path, arguments: &Arguments, book: Option<&Book>, remarks: &mut Vec<Remark>) -> Checked {
    let source = match lint::read(path, remarks) {
        Ok(source) => source,
        Err(Unanswered(words)) => {
            let mistake = Mistake {
                rule: super::source::FILE,
                line: None,
                column: None,
                message: words.clone(),
            };
            return Checked::invalid(path.display().to_string(), vec![mistake], words);
        }
    };
    let (plan, network, book) = match source.priced(book) {
        Ok(priced) => priced,
        Err(wrongs) => {
            let complaint = source.render(&wrongs);
            let noted: Vec<Remark> = wrongs.iter().map(|wrong| lint::remark(&source, wrong)).collect();
            let mistakes = noted
                .iter()
                .zip(&wrongs)
                .map(|(remark, wrong)| mistake(remark, wrong))
                .collect();
            remarks.extend(noted);
            return Checked::invalid(source.name, mistakes, complaint);
        }
    };
    if arguments.no_run {
        return Checked {
            text: summary(&source.name, &plan, &network),
            file: source.name,
            says: "valid",
            mistakes: Vec::new(),
            findings: Vec::new(),
            report: None,
            ending: Ending::Good,
            complaint: String::new(),
        };
    }
    let judge = Judge::of(&plan, network, &arguments.effort.effort()).with_book(book.clone());
    let report = Report::new(
        &source.name,
        &plan,
        &trial::judged_within(judge, arguments.within),
    );
    let pairs = match arguments.within.is_set() {
        true => Pairs::LeftOut,
        false => Pairs::Made,
    };
    let findings = lint::look(&source, &plan, &book, pairs);
    remarks.extend(findings.iter().map(|found| found.remark(&source.name)));
    remarks.extend(clauses(&source, &report));
    let is_flawed = findings.iter().any(Found::is_error);
    let (ending, says) = match (report.verdict, is_flawed) {
        (Verdict::Breaks, _) => (Ending::Bad, "breaks"),
        (Verdict::Holds | Verdict::TooClose, true) => (Ending::Flawed, "lint error"),
        (Verdict::TooClose, false) => (Ending::TooClose, "too close"),
        (Verdict::Holds, false) => (Ending::Good, "holds"),
    };
    let paint = Paint::of_stdout();
    let mut text = text::head(&report, paint);
    text.push('\n');
    text.push_str(&lint::text(&source.name, &findings, Severity::Warning, paint));
    if pairs == Pairs::LeftOut {
        text.push_str("  rules that make pairs of runs (L33, L36) were left out, for want of time\n");
    }
    let _ = writeln!(text, "{}: {}\n", source.name, paint.verdict(report.verdict));
    Checked {
        file: source.name,
        says,
        mistakes: Vec::new(),
        findings,
        report: Some(report),
        ending,
        text,
        complaint: String::new(),
    }
}

fn mistake(remark: &Remark, wrong: &Wrong) -> Mistake {
    Mistake {
        rule: wrong.rule,
        line: remark.place.map(|(line, _)| line),
        column: remark.place.map(|(_, column)| column),
        message: remark.message.clone(),
    }
}

/// Clauses that do not hold, beside where they are promised.
fn clauses(source: &Source, report: &Report) -> Vec<Remark> {
    let currency = report.bill.as_ref().map_or("", |bill| &bill.currency);
    let failed = report
        .clauses
        .iter()
        .filter(|clause| clause.verdict != Verdict::Holds);
    failed
        .map(|clause| {
            let promise = &clause.promise;
            let key = match promise.what {
                What::Uptime => "contract.uptime".to_owned(),
                What::Latency => {
                    format!("contract.latency.{}", promise.class.as_deref().unwrap_or("all"))
                }
                What::Budget => "contract.budget".to_owned(),
                What::Loss => "contract.loss".to_owned(),
                What::Reconnect => "contract.reconnect".to_owned(),
            };
            let measured = clause
                .measured
                .map_or("nothing to measure".to_owned(), |measured| {
                    clause_value(promise, measured, currency)
                });
            Remark {
                rule: CLAUSE.id,
                level: match clause.verdict {
                    Verdict::Breaks => Level::Error,
                    Verdict::TooClose | Verdict::Holds => Level::Warning,
                },
                message: format!(
                    "{}: {}, measured {measured}, promised {}",
                    clause.verdict.word(),
                    clause_name(promise, report.error_budget.weigh),
                    clause_limit(promise, currency)
                ),
                file: source.name.clone(),
                place: source.key(&key).map(|span| source.place(&span)),
            }
        })
        .collect()
}

fn summary(name: &str, plan: &Plan, network: &Network) -> String {
    let users = network.users.iter().map(|&(_, users)| users);
    let (least, most) = users.fold((f64::INFINITY, 0.0_f64), |(least, most), users| {
        (least.min(users), most.max(users))
    });
    let classes: Vec<&str> = network.flows.iter().map(|flow| flow.name.as_str()).collect();
    let nodes: Vec<String> = plan
        .topology
        .nodes
        .iter()
        .map(|node| match node.count {
            1 => node.id.clone(),
            count => format!("{count} {}", node.id),
        })
        .collect();
    let failures = match plan.failures.scheduled.len() {
        0 => "none for sure".to_owned(),
        n => format!("{n} for sure"),
    };
    let targets = match plan.contract.latency.len() {
        1 => "1 latency target".to_owned(),
        n => format!("{n} latency targets"),
    };
    let rows = [
        ("title", plain(&plan.title).into_owned()),
        ("length", span(network.length)),
        ("users", format!("{} to {}", count(least), count(most))),
        ("classes", classes.join(", ")),
        ("nodes", nodes.join(", ")),
        ("failures", failures),
        (
            "contract",
            format!(
                "{} uptime, {}, {} a month ({})",
                share(plan.contract.uptime),
                targets,
                count(plan.contract.budget),
                plan.book
            ),
        ),
    ];
    let rows = rows.map(|(name, value)| format!("  {name:<12}{value}\n"));
    format!("{name}: good\n{}", rows.concat())
}

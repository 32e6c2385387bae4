//! Reports as JUnit XML, which every CI shows: each plan is a suite, and each clause of its contract a test.
//!
//! A clause that breaks is a failure; so is one that is too close to tell, for nobody should merge on it unread. Its type says
//! which of the two it is. What else a check finds wrong is a test that fails, too.

use std::fmt::Write;

use super::{
    Report, Verdict,
    escape::markup,
    shown::{clause_limit, clause_name, clause_value},
};

/// The tests of one plan.
pub struct Suite {
    file: String,
    cases: Vec<Case>,
}

struct Case {
    name: String,
    came: Came,
}

/// What came of a test, and what is said of it.
enum Came {
    Passed(String),
    Failed { said: String, kind: &'static str },
    Skipped(String),
}

impl Suite {
    /// One without tests yet.
    pub fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            cases: Vec::new(),
        }
    }

    /// Adds a test that failed.
    pub fn fail(&mut self, name: impl Into<String>, kind: &'static str, said: impl Into<String>) {
        self.cases.push(Case {
            name: name.into(),
            came: Came::Failed {
                said: said.into(),
                kind,
            },
        });
    }

    /// Adds a test that passed.
    pub fn pass(&mut self, name: impl Into<String>, said: impl Into<String>) {
        self.cases.push(Case {
            name: name.into(),
            came: Came::Passed(said.into()),
        });
    }

    /// Adds a test for each clause.
    pub fn judge(&mut self, report: &Report) {
        let currency = report.bill.as_ref().map_or("", |bill| &bill.currency);
        for clause in &report.clauses {
            let name = clause_name(&clause.promise, report.error_budget.weigh);
            let measured = clause
                .measured
                .map_or("nothing to measure".to_owned(), |measured| {
                    clause_value(&clause.promise, measured, currency)
                });
            let said = format!(
                "{}: measured {measured}, promised {}",
                clause.verdict.word(),
                clause_limit(&clause.promise, currency)
            );
            match clause.verdict {
                Verdict::Holds => self.pass(name, said),
                Verdict::Breaks | Verdict::TooClose => self.fail(name, clause.verdict.word(), said),
            }
        }
        if !report.unpriced.is_empty() {
            self.cases.push(Case {
                name: "bill, a month".to_owned(),
                came: Came::Skipped(report.unpriced.join("; ")),
            });
        }
    }

    fn failures(&self) -> usize {
        let failed = |case: &&Case| matches!(case.came, Came::Failed { .. });
        self.cases.iter().filter(failed).count()
    }

    fn skipped(&self) -> usize {
        let skipped = |case: &&Case| matches!(case.came, Came::Skipped(_));
        self.cases.iter().filter(skipped).count()
    }
}

pub fn junit(suites: &[Suite]) -> String {
    let counts = |suites: &[Suite]| {
        let sum = |of: fn(&Suite) -> usize| suites.iter().map(of).sum::<usize>();
        format!(
            "tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"0\"",
            sum(|suite| suite.cases.len()),
            sum(Suite::failures),
            sum(Suite::skipped)
        )
    };
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"tidegate plan\" {}>\n",
        counts(suites)
    );
    for suite in suites {
        let file = markup(&suite.file);
        let _ = writeln!(
            text,
            "  <testsuite name=\"{file}\" {}>",
            counts(std::slice::from_ref(suite))
        );
        for case in &suite.cases {
            let name = markup(&case.name);
            let _ = writeln!(
                text,
                "    <testcase name=\"{name}\" classname=\"{file}\" time=\"0\">"
            );
            let _ = match &case.came {
                Came::Passed(said) => writeln!(text, "      <system-out>{}</system-out>", markup(said)),
                Came::Failed { said, kind } => {
                    let said = markup(said);
                    writeln!(
                        text,
                        "      <failure message=\"{said}\" type=\"{kind}\">{said}</failure>"
                    )
                }
                Came::Skipped(why) => writeln!(text, "      <skipped message=\"{}\"/>", markup(why)),
            };
            text.push_str("    </testcase>\n");
        }
        text.push_str("  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

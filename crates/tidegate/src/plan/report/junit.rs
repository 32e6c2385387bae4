//! The report as JUnit XML, which every CI shows: each clause of the contract is a test.
//!
//! A clause that breaks is a failure; so is one that is too close to tell, for nobody should merge on it unread. Its type says
//! which of the two it is.

use std::fmt::Write;

use super::{
    Report, Verdict,
    escape::markup,
    shown::{clause_limit, clause_name, clause_value},
};

pub fn junit(report: &Report) -> String {
    let currency = report.bill.as_ref().map_or("", |bill| &bill.currency);
    let failures = report
        .clauses
        .iter()
        .filter(|clause| clause.verdict != Verdict::Holds)
        .count();
    let skipped = usize::from(!report.unpriced.is_empty());
    let tests = report.clauses.len() + skipped;
    let counts =
        format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\" time=\"0\"");
    let file = markup(&report.file);
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"tidegate plan\" {counts}>\n  \
         <testsuite name=\"{file}\" {counts}>\n"
    );
    for clause in &report.clauses {
        let name = markup(&clause_name(&clause.promise, report.error_budget.weigh));
        let measured = clause
            .measured
            .map_or("nothing to measure".to_owned(), |measured| {
                clause_value(&clause.promise, measured, currency)
            });
        let said = markup(&format!(
            "{}: measured {measured}, promised {}",
            clause.verdict.word(),
            clause_limit(&clause.promise, currency)
        ));
        let _ = writeln!(
            text,
            "    <testcase name=\"{name}\" classname=\"{file}\" time=\"0\">"
        );
        let _ = match clause.verdict {
            Verdict::Holds => writeln!(text, "      <system-out>{said}</system-out>"),
            Verdict::Breaks | Verdict::TooClose => writeln!(
                text,
                "      <failure message=\"{said}\" type=\"{}\">{said}</failure>",
                clause.verdict.word()
            ),
        };
        text.push_str("    </testcase>\n");
    }
    if skipped > 0 {
        let why = markup(&report.unpriced.join("; "));
        let _ = writeln!(
            text,
            "    <testcase name=\"bill, a month\" classname=\"{file}\" time=\"0\">\n      <skipped message=\"{why}\"/>\n    </testcase>"
        );
    }
    text.push_str("  </testsuite>\n</testsuites>\n");
    text
}

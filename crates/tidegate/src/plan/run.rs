//! `tidegate plan run`: the verdict on a plan, and what it rests on.

use std::{
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::Args;
use tidegate_plan::{
    judge::Judge,
    price::{self, Book},
};

use super::{
    Ending, Unanswered,
    report::{
        Report,
        html::html,
        json::json,
        junit::{Suite, junit},
        text::{self, Paint},
    },
    show,
    source::{Ready, Source, book},
    trial::{self, Asked, Within},
    write,
};
use crate::configure::complain;

#[derive(Args)]
#[command(
    after_help = "Exit status: 0 the contract holds, 1 it breaks, 2 too close to tell (and clap's, when the command line is wrong),
3 the file is wrong or cannot be read.

Examples:
  tidegate plan run plan.toml
  tidegate plan run plan.toml --fidelity fluid --json | jq .verdict
  tidegate plan run plan.toml --book my-prices.toml --html report.html"
)]
pub struct Arguments {
    /// The plan; `-` is standard input.
    file: PathBuf,
    #[command(flatten)]
    effort: Asked,
    #[command(flatten)]
    within: Within,
    /// A price book in place of the plan's: a name, or a file that ends in `.toml`.
    #[arg(long, value_name = "NAME")]
    book: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Also write a report as one HTML file, with charts.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Also write JUnit XML: each clause is a test.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<Ending, Unanswered> {
    let ready = Source::read(&arguments.file)?.ready()?;
    let book = book(arguments.book.as_deref(), &ready.plan)?;
    if book.is_stale(&today()) == Some(true) {
        complain(&format!(
            "tidegate plan: the prices of {} are of {}, more than {} days old",
            book.name,
            book.as_of,
            price::STALE_DAYS
        ));
    }
    let report = report(ready, book, arguments.effort, arguments.within);
    if let Some(path) = &arguments.html {
        write(path, &html(&report))?;
    }
    if let Some(path) = &arguments.junit {
        let mut suite = Suite::new(&report.file);
        suite.judge(&report);
        write(path, &junit(&[suite]))?;
    }
    show(&match arguments.json {
        true => json(&report),
        false => text::text(&report, Paint::of_stdout()),
    })?;
    Ok(report.verdict.into())
}

/// The same judgement on any number of cores.
fn report(ready: Ready, book: Book, asked: Asked, within: Within) -> Report {
    let Ready {
        source,
        plan,
        network,
    } = ready;
    let judge = Judge::of(&plan, network, &asked.effort()).with_book(book);
    Report::new(&source.name, &plan, &trial::judged_within(judge, within))
}

/// The day, in UTC: `2026-07-20`.
pub fn today() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    date(since.as_secs() / 86_400)
}

/// The date of a day since 1970 (E. Richards' algorithm, counting from March of year 0).
fn date(days: u64) -> String {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = match month {
        0..=9 => (era * 400 + year_of_era, month + 3),
        _ => (era * 400 + year_of_era + 1, month - 9),
    };
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        assert_eq!(
            [0, 58, 59, 11_016, 20_512, 47_540].map(date),
            [
                "1970-01-01",
                "1970-02-28",
                "1970-03-01",
                "2000-02-29",
                "2026-02-28",
                "2100-02-28"
            ]
        );
    }
}

//! The report for a terminal: fits a hundred columns, and says without colours all it says with them.

use std::{
    fmt::Write,
    io::{self, IsTerminal},
};

use super::{
    Class, Rare, Report, Verdict,
    shown::{
        cents, chance, clause_interval, clause_limit, clause_name, clause_value, count, moment, money, plain,
        share, span, time, unit,
    },
    stage_name,
    table::{Align, Table},
};
use tidegate_plan::{judge::What, lint::Severity};

use crate::{log, plan::trial::Fidelity};

/// Stations, and marks, that are told; the rest is counted.
const STATIONS_SHOWN: usize = 10;
const MARKS_SHOWN: usize = 8;
/// Failures by chance, costliest first.
const RARE_SHOWN: usize = 3;
/// Stages of a wait that are told, largest first.
const STAGES_SHOWN: usize = 4;
/// Columns of a terminal that everybody has.
const WIDTH: usize = 100;
/// A name's, a bar's or a course's characters.
const NAME_WIDTH: usize = 32;
const BAR_WIDTH: usize = 6;
const COURSE_WIDTH: usize = 60;

/// Whether there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    Plain,
    Colours,
}

impl Paint {
    /// As standard output wants it.
    pub fn of_stdout() -> Self {
        match io::stdout().is_terminal() && log::has_colours() {
            true => Self::Colours,
            false => Self::Plain,
        }
    }

    pub fn verdict(self, verdict: Verdict) -> String {
        let colour = match verdict {
            Verdict::Holds => "1;32",
            Verdict::Breaks => "1;31",
            Verdict::TooClose => "1;33",
        };
        self.with(colour, verdict.word())
    }

    /// How grave a finding is.
    pub fn severity(self, severity: Severity) -> String {
        let colour = match severity {
            Severity::Error => "1;31",
            Severity::Warning => "1;33",
            Severity::Note => "1",
        };
        self.with(colour, &severity.to_string())
    }

    fn title(self, text: &str) -> String {
        self.with("1", text)
    }

    fn with(self, colour: &str, text: &str) -> String {
        match self {
            Self::Colours => format!("\u{1b}[{colour}m{text}\u{1b}[0m"),
            Self::Plain => text.to_owned(),
        }
    }
}

/// The head of it: the verdict, and the contract clause by clause.
pub fn head(report: &Report, paint: Paint) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{}  {}\n{}",
        paint.verdict(report.verdict),
        paint.title(&one_line(&report.title)),
        summary(report)
    );
    contract(&mut text, report, paint);
    let _ = writeln!(text, "\n{}", provenance(report));
    text
}

pub fn text(report: &Report, paint: Paint) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{}  {}\n{}",
        paint.verdict(report.verdict),
        paint.title(&one_line(&report.title)),
        summary(report)
    );
    contract(&mut text, report, paint);
    error_budget(&mut text, report);
    besides(&mut text, report);
    stations(&mut text, report, paint);
    waits(&mut text, report, paint);
    marks(&mut text, report, paint);
    bill(&mut text, report, paint);
    let _ = writeln!(text, "\n{}", provenance(report));
    text
}

/// The clauses that do not hold, in words.
pub fn summary(report: &Report) -> String {
    let not = |verdict: Verdict| {
        report
            .clauses
            .iter()
            .filter(|clause| clause.verdict == verdict)
            .map(|clause| clause_name(&clause.promise, report.error_budget.weigh))
            .collect::<Vec<_>>()
            .join("; ")
    };
    let said = match report.verdict {
        Verdict::Holds => "every clause of the contract is kept".to_owned(),
        Verdict::Breaks => format!("broken: {}", not(Verdict::Breaks)),
        Verdict::TooClose => format!("not settled: {}", not(Verdict::TooClose)),
    };
    match report.probability {
        Some(probability) => format!("{said}; the chance that all holds: {}", chance(probability)),
        None => said,
    }
}

fn currency(report: &Report) -> &str {
    report.bill.as_ref().map_or("", |bill| &bill.currency)
}

fn contract(text: &mut String, report: &Report, paint: Paint) {
    let _ = writeln!(text, "\n{}", paint.title("Contract"));
    let interval = format!("{} sure", share(report.confidence));
    let mut table = Table::new(&[
        ("clause", Align::Left),
        ("measured", Align::Right),
        (&interval, Align::Right),
        ("limit", Align::Right),
        ("chance", Align::Right),
        ("", Align::Left),
    ]);
    for clause in &report.clauses {
        table.row([
            clause_name(&clause.promise, report.error_budget.weigh),
            clause
                .measured
                .map_or("nothing to measure".to_owned(), |measured| {
                    clause_value(&clause.promise, measured, currency(report))
                }),
            clause.interval.map_or("–".to_owned(), |interval| {
                clause_interval(&clause.promise, interval, currency(report))
            }),
            clause_limit(&clause.promise, currency(report)),
            clause.probability.map_or("–".to_owned(), chance),
            paint.verdict(clause.verdict),
        ]);
    }
    text.push_str(&table.render());
    for line in settling(report) {
        text.push_str(&wrapped(&line));
    }
    for why in &report.unpriced {
        text.push_str(&wrapped(&format!("the budget is not judged: {}", one_line(why))));
    }
}

/// What would settle each clause that is too close.
pub fn settling(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for clause in &report.clauses {
        let name = clause_name(&clause.promise, report.error_budget.weigh);
        if let Some(runs) = clause.runs_to_settle {
            lines.push(format!(
                "to settle {name}: about {runs} runs in all (`--runs {runs}`)"
            ));
        }
        if let Some(measure) = &clause.measure_to_settle {
            lines.push(format!("to settle {name}, measure: {}", one_line(measure)));
        }
    }
    lines
}

/// Failures by chance that cost most, whether the runs met them or not.
pub fn costliest(report: &Report) -> Vec<&Rare> {
    let mut rare: Vec<&Rare> = report
        .rare
        .iter()
        .filter(|rare| rare.per_run * rare.uptime_cost > 0.0)
        .collect();
    rare.sort_by(|a, b| (b.per_run * b.uptime_cost).total_cmp(&(a.per_run * a.uptime_cost)));
    rare.truncate(RARE_SHOWN);
    rare
}

/// What happens, and to whom.
pub fn rare_name(rare: &Rare) -> String {
    match &rare.node {
        Some(node) => format!("{node}: {}", rare.what),
        None => rare.what.to_owned(),
    }
}

fn besides(text: &mut String, report: &Report) {
    let rare = costliest(report);
    if rare.is_empty() {
        return;
    }
    let mut table = Table::new(&[
        ("what chance may bring", Align::Left),
        ("in a run", Align::Right),
        ("it costs, at the worst moment", Align::Right),
    ]);
    for rare in rare {
        table.row([
            rare_name(rare),
            count(rare.per_run),
            format!("{} of the uptime", share(rare.uptime_cost)),
        ]);
    }
    text.push_str(&table.render());
}

/// A sentence under a table: two in, what does not fit four in.
pub fn wrapped(sentence: &str) -> String {
    let mut text = String::new();
    let mut line = String::from(" ");
    for word in sentence.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > WIDTH && !line.trim().is_empty() {
            text.push_str(&line);
            text.push('\n');
            line = String::from("   ");
        }
        line.push(' ');
        line.push_str(word);
    }
    text + &line + "\n"
}

fn error_budget(text: &mut String, report: &Report) {
    use tidegate_plan::plan::Weigh;
    let budget = &report.error_budget;
    let (amount, of): (fn(f64) -> String, _) = match budget.weigh {
        Weigh::UserMinutes => (|seconds| count(seconds / 60.0), "user-minutes"),
        Weigh::Requests => (count, "requests"),
        Weigh::Time => (span, "of the clock"),
    };
    let _ = write!(
        text,
        "  error budget: {} of {} {of} spent",
        amount(budget.spent),
        amount(budget.allowed)
    );
    let lost = [
        ("not connected", budget.disconnected_s),
        ("refused", budget.refused_s),
        ("too late", budget.late_s),
    ];
    let all: f64 = lost.iter().map(|(_, seconds)| seconds).sum();
    if all > 0.0 {
        let lost = lost
            .iter()
            .filter(|(_, seconds)| *seconds > 0.0)
            .map(|(what, seconds)| format!("{what} {}", share_of(*seconds, all)));
        let lost: Vec<String> = lost.collect();
        let _ = write!(text, "\n  users lost theirs to: {}", lost.join(", "));
    }
    text.push('\n');
}

fn share_of(part: f64, all: f64) -> String {
    match part / all {
        small if small < 0.005 => "< 1 %".to_owned(),
        part => format!("{:.0} %", part * 100.0),
    }
}

fn stations(text: &mut String, report: &Report, paint: Paint) {
    let _ = writeln!(text, "\n{}", paint.title("Users and load"));
    let wanted: Vec<f64> = report.minutes.iter().map(|minute| minute.wanted).collect();
    let connected: Vec<f64> = report.minutes.iter().map(|minute| minute.connected).collect();
    let most = wanted.iter().chain(&connected).copied().fold(0.0, f64::max);
    // An outage is when few are connected: of each piece the least counts.
    let courses = [
        ("wanted", course(&wanted, most, f64::max)),
        ("connected", course(&connected, most, f64::min)),
    ];
    for (name, course) in courses {
        let _ = writeln!(text, "  {name:<10}{course}");
    }
    let _ = writeln!(
        text,
        "  at most {} wanted to be connected, and {} were",
        count(report.connections.wanted_max),
        count(report.connections.connected_max)
    );
    let mut table = Table::new(&[
        ("station", Align::Left),
        ("machines", Align::Right),
        ("mean", Align::Right),
        ("p99 minute", Align::Left),
        ("worst", Align::Right),
        ("waiting", Align::Right),
        ("refused", Align::Right),
        ("p95 wait", Align::Right),
    ]);
    for station in report.stations.iter().take(STATIONS_SHOWN) {
        table.row([
            clipped(&station.name),
            station.machines.to_string(),
            busy(station.busy_share),
            format!(
                "{} {}",
                bar(station.busy_p99_minute),
                busy(station.busy_p99_minute)
            ),
            busy(station.busy_max_minute),
            count(station.waiting_max),
            count(station.refused + station.timed_out),
            station.wait_s.quantile(0.95).map_or("–".to_owned(), waited),
        ]);
    }
    text.push_str(&table.render());
    if let Some(more) = more(report.stations.len(), STATIONS_SHOWN) {
        let _ = writeln!(text, "  and {more} that are less busy");
    }
}

/// A name that leaves room for what is told of it.
fn clipped(name: &str) -> String {
    let name = one_line(name);
    match name.chars().count() > NAME_WIDTH {
        true => name.chars().take(NAME_WIDTH - 1).chain(['…']).collect(),
        false => name,
    }
}

/// A wait; histograms know none below a microsecond.
fn waited(seconds: f64) -> String {
    time(if seconds < 1.1e-6 { 0.0 } else { seconds })
}

fn more(all: usize, shown: usize) -> Option<usize> {
    all.checked_sub(shown).filter(|more| *more > 0)
}

/// A utilisation.
pub fn busy(share: f64) -> String {
    match share > 0.0 && share < 0.01 {
        true => "< 1 %".to_owned(),
        false => format!("{:.0} %", share * 100.0),
    }
}

fn bar(share: f64) -> String {
    let full = (share.clamp(0.0, 1.0) * BAR_WIDTH as f64).round() as usize;
    format!("{}{}", "█".repeat(full), "░".repeat(BAR_WIDTH - full))
}

/// A course over the run, of the worst of each piece.
fn course(minutes: &[f64], most: f64, worse: fn(f64, f64) -> f64) -> String {
    const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let width = minutes.len().div_ceil(COURSE_WIDTH).max(1);
    minutes
        .chunks(width)
        .map(|piece| {
            let worst = piece.iter().copied().reduce(worse).unwrap_or(0.0);
            let step = worst / most.max(f64::MIN_POSITIVE) * 7.0;
            STEPS[(step.round() as usize).min(7)]
        })
        .collect()
}

fn waits(text: &mut String, report: &Report, paint: Paint) {
    let _ = writeln!(text, "\n{}", paint.title("From publish to deliver"));
    let mut table = Table::new(&[
        ("class", Align::Left),
        ("published", Align::Right),
        ("failed", Align::Right),
        ("delivered", Align::Right),
        ("p50", Align::Right),
        ("p95", Align::Right),
        ("p99", Align::Right),
        ("jobs p95", Align::Right),
    ]);
    for class in &report.classes {
        let quantile = |share| class.latency_s.quantile(share).map_or("–".to_owned(), time);
        table.row([
            clipped(&class.name),
            count(class.published),
            count(class.failed),
            count(class.delivered),
            quantile(0.5),
            quantile(0.95),
            quantile(0.99),
            class.lag_s.quantile(0.95).map_or("–".to_owned(), time),
        ]);
    }
    text.push_str(&table.render());
    if report.classes.iter().all(|class| class.waits.is_empty()) {
        return;
    }
    let mut table = Table::new(&[
        ("class", Align::Left),
        ("where a delivery near p95 spends its time", Align::Left),
    ]);
    for class in &report.classes {
        table.row([clipped(&class.name), stages(class)]);
    }
    text.push_str(&table.render());
}

/// The stages that have most of a class's 95th percentile.
fn stages(class: &Class) -> String {
    let all: f64 = class.waits.iter().map(|wait| wait.p95_s).sum();
    let mut waits = class.waits.clone();
    waits.sort_by(|a, b| b.p95_s.total_cmp(&a.p95_s));
    let stages = waits
        .iter()
        .take(STAGES_SHOWN)
        .filter(|wait| wait.p95_s >= 0.01 * all && all > 0.0)
        .map(|wait| format!("{} {:.0} %", stage_name(wait.stage), wait.p95_s / all * 100.0));
    stages.collect::<Vec<_>>().join(", ")
}

fn marks(text: &mut String, report: &Report, paint: Paint) {
    if report.marks.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{}", paint.title("What happened in the first run"));
    let mut table = Table::new(&[("", Align::Right), ("", Align::Left)]);
    for mark in report.marks.iter().take(MARKS_SHOWN) {
        table.row([moment(mark.at_s), one_line(&mark.what)]);
    }
    text.push_str(&table.render());
    if let Some(more) = more(report.marks.len(), MARKS_SHOWN) {
        let _ = writeln!(text, "  and {more} more; `--json` and `--html` have them all");
    }
}

fn bill(text: &mut String, report: &Report, paint: Paint) {
    let Some(bill) = &report.bill else {
        return;
    };
    let title = format!(
        "Bill of a month, {} (prices: {} of {})",
        plain(&bill.currency),
        plain(&bill.book),
        plain(&bill.as_of)
    );
    let _ = writeln!(text, "\n{}", paint.title(&title));
    let mut table = Table::new(&[
        ("for", Align::Left),
        ("", Align::Left),
        ("quantity", Align::Right),
        ("", Align::Left),
        ("rate", Align::Right),
        ("amount", Align::Right),
    ]);
    for line in &bill.lines {
        table.row([
            clipped(line.node.as_deref().unwrap_or_default()),
            one_line(&line.what),
            count(line.quantity),
            unit(line.unit).to_owned(),
            format!("× {}", rate(line.rate)),
            format!("= {}", cents(line.amount)),
        ]);
    }
    table.row([
        "total".to_owned(),
        String::new(),
        String::new(),
        String::new(),
        String::new(),
        format!("= {}", cents(bill.total)),
    ]);
    text.push_str(&table.render());
    if let Some(clause) = report
        .clauses
        .iter()
        .find(|clause| clause.promise.what == What::Budget)
    {
        let left = clause.promise.promised - bill.total;
        let words = if left < 0.0 { "over" } else { "left of" };
        let _ = writeln!(
            text,
            "  {} {words} the budget of {}",
            money(left.abs(), &bill.currency),
            money(clause.promise.promised, &bill.currency)
        );
    }
}

/// A rate as the book has it: no figure of it is lost.
pub fn rate(rate: f64) -> String {
    rate.to_string()
}

/// How it was found out.
pub fn provenance(report: &Report) -> String {
    let runs = match report.runs {
        1 => "1 run".to_owned(),
        n => format!("{n} runs"),
    };
    let how = match report.fidelity {
        Fidelity::Fluid => "fluid: rates and expectations, no chance".to_owned(),
        Fidelity::Exact => format!("exact: {runs}, {} visits", count(report.visits)),
        Fidelity::Hybrid => format!(
            "hybrid: {runs}, {} of the time event by event, {} visits",
            share(report.sampled_share),
            count(report.visits)
        ),
    };
    let cut_short = report.cut_short.map_or_else(String::new, |cut| {
        format!(
            "\nstopped: {} of {} runs were made in the {} there were (`--within`)",
            report.runs,
            cut.wanted,
            time(cut.within_s)
        )
    });
    format!(
        "{} simulated, {how}, seed {}{cut_short}",
        span(report.length_s),
        report.seed
    )
}

/// A text that takes one line and cannot steer the terminal.
fn one_line(text: &str) -> String {
    plain(text).replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use tidegate_plan::{
        file,
        judge::{self, Effort},
    };

    use super::*;
    use crate::plan::trial::Judged;

    #[test]
    fn colours_say_nothing_that_words_do_not() {
        let plan = file::parse(file::TEMPLATE).expect("the template is a plan");
        let effort = Effort {
            fidelity: judge::Fidelity::Fluid,
            ..Effort::default()
        };
        let judgement = judge::judge(&plan, &effort).expect("it runs");
        let judged = Judged {
            judgement,
            cut_short: None,
        };
        let report = Report::new("a.toml", &plan, &judged);
        let (coloured, plain) = (text(&report, Paint::Colours), text(&report, Paint::Plain));
        let mut stripped = String::new();
        for piece in coloured.split_inclusive('m') {
            stripped.push_str(piece.split('\u{1b}').next().unwrap_or_default());
        }
        assert_eq!(stripped, plain);
        assert!(coloured.contains("\u{1b}[1;3") && !plain.contains('\u{1b}'));
    }

    #[test]
    fn a_course_shows_the_worst_of_each_piece() {
        let mut minutes = vec![0.0; 3_600];
        minutes[61] = 8.0;
        let course = course(&minutes, 8.0, f64::max);
        assert_eq!(course.chars().count(), COURSE_WIDTH);
        assert_eq!(course.chars().nth(1), Some('█'));
        assert_eq!(super::course(&[], 0.0, f64::min), "");
    }

    #[test]
    fn a_long_sentence_takes_more_lines() {
        let text = wrapped(&"word ".repeat(40));
        assert!(text.lines().count() == 3 && text.lines().all(|line| line.chars().count() <= WIDTH));
        assert_eq!(wrapped("a b"), "  a b\n");
        assert_eq!(wrapped(&"x".repeat(200)).trim(), "x".repeat(200));
    }

    #[test]
    fn a_bar_is_full_at_one_and_beyond() {
        assert_eq!([0.0, 0.5, 7.0].map(bar), ["░░░░░░", "███░░░", "██████"]);
        assert_eq!([busy(0.0), busy(0.004), busy(0.4)], ["0 %", "< 1 %", "40 %"]);
    }
}

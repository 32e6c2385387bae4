//! The report as one HTML file, for people who were not there: it needs nothing from elsewhere, and runs nothing.
//!
//! Its policy forbids scripts and everything that is loaded, so that even a name that got through would do no harm;
//! all names are escaped. Light or dark as the reader has it.

use std::fmt::Write;

use tidegate_plan::{judge::What, network::Stage, plan::Weigh};

use super::{
    Class, Clause, Report, Station,
    chart::{Chart, Scale, Series, Shape, bridged, least, most},
    escape::markup,
    shown::{
        cents, chance, clause_interval, clause_limit, clause_name, clause_value, count, moment, money, share,
        span, time, unit,
    },
    stage_name,
    text::{busy, costliest, provenance, rare_name, rate, settling, summary},
};

const STYLE: &str = include_str!("style.css");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
/// Lines of one chart that can be told apart.
const STATIONS_DRAWN: usize = 5;
const COLOURS: [&str; STATIONS_DRAWN] = ["c0", "c1", "c2", "c3", "c4"];
/// Marks that are drawn over a chart; more would hide it.
const MARKS_DRAWN: usize = 40;

pub fn html(report: &Report) -> String {
    let title = markup(&report.title);
    let verdict = report.verdict.word();
    let mut text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n\
         <title>{verdict}: {title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
        markup(POLICY)
    );
    let _ = write!(
        text,
        "<header>\n{}\n<h1>{title}</h1>\n<p>{}</p>\n<p class=\"soft\"><code>{}</code></p>\n</header>\n<main>\n",
        badge(report.verdict),
        markup(&summary(report)),
        markup(&report.file)
    );
    contract(&mut text, report);
    charts(&mut text, report);
    waits(&mut text, report);
    stations(&mut text, report);
    classes(&mut text, report);
    bill(&mut text, report);
    marks(&mut text, report);
    let _ = write!(
        text,
        "</main>\n<footer class=\"soft\">\n<p>{}; tidegate {}.</p>\n\
         <p>A model: it is as good as its figures. What it leaves out stands in Tidegate's <code>docs/planner.md</code>.</p>\n\
         </footer>\n</body>\n</html>\n",
        markup(&provenance(report)),
        report.tidegate
    );
    text
}

fn badge(verdict: super::Verdict) -> String {
    let word = verdict.word();
    format!("<span class=\"verdict {}\">{word}</span>", word.replace(' ', "-"))
}

/// A column's title and its classes: `number` is set right, `wide` is left out on a phone.
type Column<'a> = (&'a str, &'a str);

/// A table that scrolls by itself where there is no room.
fn table(text: &mut String, columns: &[Column], rows: impl IntoIterator<Item = Vec<String>>, foot: &[&str]) {
    let row = |text: &mut String, tag: &str, cells: &[&str]| {
        text.push_str("<tr>");
        for (cell, (_, class)) in cells.iter().zip(columns) {
            let _ = match *class {
                "" => write!(text, "<{tag}>{cell}</{tag}>"),
                class => write!(text, "<{tag} class=\"{class}\">{cell}</{tag}>"),
            };
        }
        text.push_str("</tr>\n");
    };
    let titles: Vec<&str> = columns.iter().map(|(title, _)| *title).collect();
    text.push_str("<div class=\"scroll\"><table>\n<thead>");
    row(text, "th", &titles);
    text.push_str("</thead>\n<tbody>\n");
    for cells in rows {
        let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
        row(text, "td", &cells);
    }
    text.push_str("</tbody>\n");
    if !foot.is_empty() {
        text.push_str("<tfoot>");
        row(text, "td", foot);
        text.push_str("</tfoot>\n");
    }
    text.push_str("</table></div>\n");
}

fn currency(report: &Report) -> &str {
    report.bill.as_ref().map_or("", |bill| &bill.currency)
}

fn contract(text: &mut String, report: &Report) {
    text.push_str("<section class=\"card\">\n<h2>Contract</h2>\n");
    let rows = report.clauses.iter().map(|clause| {
        let measured = clause
            .measured
            .map_or("nothing to measure".to_owned(), |measured| {
                clause_value(&clause.promise, measured, currency(report))
            });
        vec![
            markup(&clause_name(&clause.promise, report.error_budget.weigh)),
            markup(&measured),
            clause.interval.map_or(String::new(), |interval| {
                markup(&clause_interval(&clause.promise, interval, currency(report)))
            }),
            markup(&clause_limit(&clause.promise, currency(report))),
            meter(used(clause)),
            markup(&clause.probability.map_or("–".to_owned(), chance)),
            badge(clause.verdict),
        ]
    });
    let interval = format!("at {} confidence", share(report.confidence));
    let columns = [
        ("clause", ""),
        ("measured", "number"),
        (&interval, "number wide"),
        ("limit", "number"),
        ("of what is allowed", "wide"),
        ("chance", "number wide"),
        ("", ""),
    ];
    table(text, &columns, rows, &[]);
    for line in settling(report) {
        let _ = writeln!(text, "<p>{}</p>", markup(&line));
    }
    for why in &report.unpriced {
        let _ = writeln!(text, "<p>The budget is not judged: {}</p>", markup(why));
    }
    let budget = &report.error_budget;
    let (amount, of): (fn(f64) -> String, _) = match budget.weigh {
        Weigh::UserMinutes => (|seconds| count(seconds / 60.0), "user-minutes"),
        Weigh::Requests => (count, "requests"),
        Weigh::Time => (span, "of the clock"),
    };
    let _ = writeln!(
        text,
        "<p>Error budget: {} of {} {of} spent. User-minutes lost: {} not connected, {} refused, {} too late.</p>",
        amount(budget.spent),
        amount(budget.allowed),
        count(budget.disconnected_s / 60.0),
        count(budget.refused_s / 60.0),
        count(budget.late_s / 60.0)
    );
    let rare = costliest(report);
    if !rare.is_empty() {
        text.push_str("<h2>What chance may bring besides</h2>\n");
        let columns = [
            ("failure", ""),
            ("in a run", "number"),
            ("uptime lost, at worst", "number"),
        ];
        let rows = rare.into_iter().map(|rare| {
            vec![
                markup(&rare_name(rare)),
                count(rare.per_run),
                share(rare.uptime_cost),
            ]
        });
        table(text, &columns, rows, &[]);
    }
    text.push_str("</section>\n");
}

/// How much of what a clause allows was used.
fn used(clause: &Clause) -> Option<f64> {
    let measured = clause.measured?;
    let (used, allowed) = match clause.promise.what {
        What::Uptime => (1.0 - measured, 1.0 - clause.promise.promised),
        What::Latency | What::Budget | What::Loss | What::Reconnect => (measured, clause.promise.promised),
    };
    (allowed > 0.0).then(|| used / allowed)
}

fn meter(used: Option<f64>) -> String {
    let Some(used) = used else {
        return String::new();
    };
    let class = if used > 1.0 { " class=\"over\"" } else { "" };
    format!(
        "<span class=\"meter\" title=\"{:.0} %\"><i{class} style=\"width:{:.0}%\"></i></span>",
        used * 100.0,
        used.clamp(0.0, 1.0) * 100.0
    )
}

fn charts(text: &mut String, report: &Report) {
    if report.minutes.is_empty() {
        return;
    }
    let minutes = &report.minutes;
    let of = |value: &dyn Fn(&tidegate_plan::outcome::Minute) -> f64| most(minutes.iter().map(value));
    let marks: Vec<(f64, String)> = report
        .marks
        .iter()
        .take(MARKS_DRAWN)
        .map(|mark| (mark.at_s, format!("{} {}", moment(mark.at_s), mark.what)))
        .collect();
    let line = |name: &str, colour: &'static str, values: Vec<f64>| Series {
        name: name.to_owned(),
        colour,
        shape: Shape::Line(values),
    };
    let chart = |title, note, scale, label, series, limits| Chart {
        title,
        note,
        length_s: report.length_s,
        scale,
        label,
        series,
        limits,
        marks: marks.clone(),
    };
    text.push_str("<div class=\"columns\">\n");
    let wanted = of(&|minute| minute.wanted);
    // An outage is when there are few.
    let connected = least(minutes.iter().map(|minute| minute.connected));
    let users = chart(
        "Users",
        "in the first run; dotted: something happened",
        Scale::linear(wanted.iter().chain(&connected).copied()),
        &count,
        vec![
            line("want to be connected", "c5", wanted),
            line("are", "c0", connected),
        ],
        Vec::new(),
    );
    let drawn = busiest(report);
    let busy: Vec<Series> = drawn
        .iter()
        .zip(COLOURS)
        .map(|(station, colour)| {
            let values = of(&|minute| minute.busy.get(station.place).copied().map_or(0.0, f64::from));
            line(&station.name, colour, values)
        })
        .collect();
    let busy = chart(
        "Utilisation",
        "of the busiest station of each node",
        Scale::Linear(1.0),
        &|value| format!("{:.0} %", value * 100.0),
        busy,
        Vec::new(),
    );
    // Where only a sample of the calm minutes was simulated, there is a straight line between them.
    let (note, is_sampled) = match report.sampled_share > 0.0 && report.sampled_share < 0.995 {
        true => (
            "of all classes; straight between minutes that were simulated",
            true,
        ),
        false => ("from publish to deliver, all classes", false),
    };
    let [p50, p95, p99] = [0, 1, 2].map(|at| {
        let values = of(&|minute| minute.latency_s[at]);
        if is_sampled { bridged(values) } else { values }
    });
    let targets: Vec<(String, f64)> = report
        .clauses
        .iter()
        .filter(|clause| clause.promise.what == What::Latency)
        .map(|clause| {
            let name = clause_name(&clause.promise, report.error_budget.weigh);
            (
                format!("{name} {}", clause_limit(&clause.promise, "")),
                clause.promise.promised,
            )
        })
        .collect();
    let limits = targets.iter().map(|(_, limit)| *limit);
    let latency = chart(
        "Latency",
        note,
        Scale::powers(p50.iter().chain(&p99).copied().chain(limits)),
        &time,
        vec![
            Series {
                name: "p50 to p99".to_owned(),
                colour: "c0",
                shape: Shape::Between(p50, p99),
            },
            line("p95", "c0", p95),
        ],
        targets,
    );
    let waiting: Vec<Vec<f64>> = drawn
        .iter()
        .map(|station| of(&|minute| minute.waiting.get(station.place).copied().map_or(0.0, f64::from)))
        .collect();
    let scale = Scale::linear(waiting.iter().flatten().copied());
    let waiting = drawn.iter().zip(COLOURS).zip(waiting);
    let waiting = waiting.map(|((station, colour), values)| line(&station.name, colour, values));
    let waiting = chart(
        "Backlog",
        "most that waited there in a minute",
        scale,
        &count,
        waiting.collect(),
        Vec::new(),
    );
    for chart in [users, latency, busy, waiting] {
        let _ = writeln!(text, "<section class=\"card\">\n{}</section>", chart.html());
    }
    text.push_str("</div>\n");
}

/// The busiest station of each node: those of one node share its machines, and would be drawn over each other.
fn busiest(report: &Report) -> Vec<&Station> {
    let mut drawn: Vec<&Station> = Vec::new();
    for station in &report.stations {
        if drawn.len() < STATIONS_DRAWN && drawn.iter().all(|other| other.node != station.node) {
            drawn.push(station);
        }
    }
    drawn
}

/// A stage's colour, the same as in the planner's page.
fn hue(stage: Stage) -> usize {
    let place = Stage::ALL.iter().position(|each| *each == stage).unwrap_or(0);
    (place * 360 / Stage::ALL.len() + 190) % 360
}

fn waits(text: &mut String, report: &Report) {
    /// Whose, and what each stage has of it.
    type Bar<'a> = (&'a Class, &'a str, Vec<(Stage, f64)>);
    let bars: Vec<Bar> = report
        .classes
        .iter()
        .flat_map(|class| {
            let parts = |of: fn(&super::Wait) -> f64| {
                let parts = class.waits.iter().map(move |wait| (wait.stage, of(wait)));
                parts.filter(|(_, seconds)| *seconds > 0.0).collect::<Vec<_>>()
            };
            [
                (class, "p95", parts(|wait| wait.p95_s)),
                (class, "p99", parts(|wait| wait.p99_s)),
            ]
        })
        .filter(|(_, _, parts)| !parts.is_empty())
        .collect();
    if bars.is_empty() {
        return;
    }
    let total = |parts: &[(Stage, f64)]| parts.iter().map(|(_, seconds)| seconds).sum::<f64>();
    let longest = bars.iter().map(|(_, _, parts)| total(parts)).fold(0.0, f64::max);
    text.push_str("<section class=\"card\">\n<h2>Where it waits <span class=\"soft\">events near each percentile, by stage</span></h2>\n<ul class=\"key\">");
    let shown = |stage: Stage| {
        let parts = bars.iter().flat_map(|(_, _, parts)| parts);
        // What nobody could see in a bar needs no key.
        parts
            .filter(|part| part.0 == stage)
            .any(|part| part.1 > longest * 0.002)
    };
    for stage in Stage::ALL.into_iter().filter(|stage| shown(*stage)) {
        let _ = write!(
            text,
            "<li><i class=\"stage\" style=\"--hue:{}\"></i>{}</li>",
            hue(stage),
            stage_name(stage)
        );
    }
    text.push_str("</ul>\n<div class=\"waits\">\n");
    for (class, percentile, parts) in &bars {
        let said: Vec<String> = parts
            .iter()
            .map(|(stage, seconds)| format!("{} {}", stage_name(*stage), time(*seconds)))
            .collect();
        let _ = write!(
            text,
            "<div>{} {percentile} <b>{}</b><div class=\"stack\" role=\"img\" aria-label=\"{}\" style=\"width:{:.1}%\">",
            markup(&class.name),
            time(total(parts)),
            markup(&said.join(", ")),
            total(parts) / longest * 100.0
        );
        for (stage, seconds) in parts {
            let _ = write!(
                text,
                "<i style=\"--hue:{};flex:{:.0}\" title=\"{} {}\"></i>",
                hue(*stage),
                seconds / longest * 10_000.0,
                stage_name(*stage),
                time(*seconds)
            );
        }
        text.push_str("</div></div>\n");
    }
    text.push_str("</div>\n</section>\n");
}

fn stations(text: &mut String, report: &Report) {
    text.push_str("<section class=\"card\">\n<h2>Stations <span class=\"soft\">busiest first</span></h2>\n");
    let rows = report.stations.iter().map(|station| {
        vec![
            markup(&station.name),
            stage_name(station.stage).to_owned(),
            station.machines.to_string(),
            markup(&busy(station.busy_share)),
            markup(&busy(station.busy_p99_minute)),
            meter(Some(station.busy_p99_minute.min(1.0))),
            markup(&busy(station.busy_max_minute)),
            count(station.waiting_max),
            count(station.refused),
            count(station.timed_out),
        ]
    });
    let columns = [
        ("station", ""),
        ("stage", "wide"),
        ("machines", "number wide"),
        ("mean", "number wide"),
        ("p99 minute", "number"),
        ("", "wide"),
        ("worst", "number"),
        ("waiting", "number"),
        ("refused", "number wide"),
        ("timed out", "number wide"),
    ];
    table(text, &columns, rows, &[]);
    text.push_str("</section>\n");
}

fn classes(text: &mut String, report: &Report) {
    text.push_str("<section class=\"card\">\n<h2>Events <span class=\"soft\">of one run</span></h2>\n");
    let rows = report.classes.iter().map(|class| {
        let quantile = |share| class.latency_s.quantile(share).map_or("–".to_owned(), time);
        vec![
            markup(&class.name),
            count(class.published),
            count(class.failed),
            count(class.delivered),
            count(class.conflated),
            count(class.lost),
            quantile(0.5),
            quantile(0.95),
            quantile(0.99),
        ]
    });
    let columns = [
        ("class", ""),
        ("published", "number wide"),
        ("failed", "number"),
        ("delivered", "number wide"),
        ("conflated", "number wide"),
        ("lost", "number wide"),
        ("p50", "number wide"),
        ("p95", "number"),
        ("p99", "number"),
    ];
    table(text, &columns, rows, &[]);
    let reconnects = &report.connections.reconnect_s;
    if let Some(p95) = reconnects.quantile(0.95) {
        let _ = writeln!(
            text,
            "<p>{} reconnects in all runs; 95 % of them took at most {}.</p>",
            count(reconnects.len()),
            time(p95)
        );
    }
    text.push_str("</section>\n");
}

fn bill(text: &mut String, report: &Report) {
    let Some(bill) = &report.bill else {
        return;
    };
    let _ = writeln!(
        text,
        "<section class=\"card\">\n<h2>Bill of a month <span class=\"soft\">in {}; prices: {} of {}</span></h2>",
        markup(&bill.currency),
        markup(&bill.book),
        markup(&bill.as_of)
    );
    let rows = bill.lines.iter().map(|line| {
        let arithmetic = format!(
            "{} {} × {}",
            count(line.quantity),
            unit(line.unit),
            rate(line.rate)
        );
        vec![
            markup(line.node.as_deref().unwrap_or("traffic")),
            format!(
                "{}<span class=\"narrow soft\">{arithmetic}</span>",
                markup(&line.what)
            ),
            arithmetic,
            cents(line.amount),
            format!("<span class=\"soft\">{}</span>", markup(&line.source)),
        ]
    });
    let columns = [
        ("for", ""),
        ("", ""),
        ("quantity × rate", "number wide"),
        ("amount", "number"),
        ("source of the rate", "wide"),
    ];
    let total = cents(bill.total);
    table(text, &columns, rows, &["total", "", "", &total, ""]);
    if let Some(clause) = report
        .clauses
        .iter()
        .find(|clause| clause.promise.what == What::Budget)
    {
        let _ = writeln!(
            text,
            "<p>The budget is {}.</p>",
            money(clause.promise.promised, &bill.currency)
        );
    }
    text.push_str("</section>\n");
}

fn marks(text: &mut String, report: &Report) {
    if report.marks.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "<section class=\"card\">\n<details><summary>What happened in the first run: {} events</summary>",
        report.marks.len()
    );
    let rows = report
        .marks
        .iter()
        .map(|mark| vec![moment(mark.at_s), markup(&mark.what)]);
    table(text, &[("at", "number"), ("what", "")], rows, &[]);
    text.push_str("</details>\n</section>\n");
}

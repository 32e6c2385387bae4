//! `tidegate plan drift`: a running server's metrics, held against its plan.
//!
//! How many are connected is the day's, so all else is held against what the plan says for as many as there are. What is
//! counted in so short a time is off by chance, too; that much is allowed besides the tolerance.

mod scrape;

use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use clap::Args;
use serde::Serialize;
use tidegate_plan::{
    Plan,
    component::{Costs, figures},
    expect::{Expected, expected},
};

use self::scrape::{Between, Scrape};
use super::{
    Ending, Unanswered,
    calibrate::bytes,
    report::{
        shown::{count, plain, time},
        table::{Align, Table},
    },
    show,
    source::Source,
};
use crate::{operate, serve::within};

/// CPU that is not told apart, cores: what a server that does nothing takes, and its timers.
const CPU_LEAST: f64 = 0.01;

#[derive(Args)]
#[command(
    after_help = "Exit status: 0 all is within the tolerance, 1 something has moved further, 2 there is no answer.

Examples:
  tidegate plan drift plan.toml --metrics http://127.0.0.1:8600/metrics --over 30s
  tidegate plan drift plan.toml --metrics before.txt --metrics after.txt --tolerance 10%"
)]
pub struct Arguments {
    /// The plan; `-` is standard input.
    file: PathBuf,
    /// A server's `/metrics`, which is asked twice; or, given twice, files with what it said at two moments.
    #[arg(long, value_name = "URL", required = true)]
    metrics: Vec<String>,
    /// From the first look at a server to the second.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = within)]
    over: Duration,
    /// How far something may be from the plan.
    #[arg(long, value_name = "SHARE", default_value = "20%", value_parser = tolerance)]
    tolerance: f64,
    /// The node the server is a machine of; the only one of the kind `ws` if not given.
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// An API key with the scope `read`: `env:NAME`, `file:PATH`, or itself.
    #[arg(long, value_name = "KEY", env = "TIDEGATE_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn tolerance(text: &str) -> Result<f64, String> {
    let percent = text.strip_suffix('%').and_then(|text| text.parse::<f64>().ok());
    percent
        .filter(|percent| (0.1..=1_000.0).contains(percent))
        .map(|percent| percent / 100.0)
        .ok_or_else(|| "a share in per cent, 0.1% to 1000%".to_owned())
}

/// One figure, as planned and as measured.
#[derive(Debug, Serialize)]
struct Row {
    figure: &'static str,
    unit: Unit,
    planned: f64,
    measured: f64,
    /// Measured less planned, as a share of the latter; none where nothing was planned.
    moved: Option<f64>,
    /// How far it may be off: the tolerance, and what is chance.
    allowed: f64,
    standing: Standing,
}

#[derive(Debug, Clone, Copy, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Unit {
    Count,
    PerSecond,
    Cores,
    Seconds,
    Bytes,
}

#[derive(Debug, Clone, Copy, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Standing {
    Within,
    Moved,
    /// Too little of it to tell.
    Untold,
}

/// As it is printed with `--json`.
#[derive(Serialize)]
struct Answer<'a> {
    version: u32,
    file: &'a str,
    node: &'a str,
    seconds: f64,
    tolerance: f64,
    is_within: bool,
    figures: &'a [Row],
}

pub fn run(arguments: &Arguments) -> Result<Ending, Unanswered> {
    let ready = Source::read(&arguments.file)?.ready()?;
    let (one, two) = scrapes(arguments)?;
    let between = one
        .until(&two)
        .map_err(|why| Unanswered(format!("tidegate plan: {}: {why}", arguments.metrics[0])))?;
    let expected = expected(&ready.plan, arguments.node.as_deref(), between.connections)
        .map_err(|error| Unanswered(format!("tidegate plan: {}: {error}", ready.source.name)))?;
    let rows = rows(
        &expected,
        &between,
        sync(&ready.plan, &expected),
        arguments.tolerance,
    );
    let is_within = rows.iter().all(|row| row.standing != Standing::Moved);
    show(&match arguments.json {
        true => {
            let answer = Answer {
                version: 1,
                file: &ready.source.name,
                node: &expected.node,
                seconds: between.seconds,
                tolerance: arguments.tolerance,
                is_within,
                figures: &rows,
            };
            serde_json::to_string_pretty(&answer).expect("it has text keys and numbers") + "\n"
        }
        false => said(&rows, &expected, &between, arguments.tolerance),
    })?;
    Ok(match is_within {
        true => Ending::Good,
        false => Ending::Bad,
    })
}

/// What a server said at two moments.
fn scrapes(arguments: &Arguments) -> Result<(Scrape, Scrape), Unanswered> {
    let is_url = |text: &str| text.starts_with("http://") || text.starts_with("https://");
    match arguments.metrics.as_slice() {
        [url] if is_url(url) => {
            let look = || {
                let text = operate::get(url, arguments.api_key.as_deref());
                text.map(|text| Scrape::parse(&text))
                    .map_err(|why| Unanswered(format!("tidegate plan: {why}")))
            };
            let one = look()?;
            // Before the wait: another address will not be one after it.
            one.connections()
                .map_err(|why| Unanswered(format!("tidegate plan: {url}: {why}")))?;
            thread::sleep(arguments.over);
            Ok((one, look()?))
        }
        [one, two] if !is_url(one) && !is_url(two) => {
            let read = |path: &str| {
                let way = "`curl -s …/metrics > FILE` writes one";
                Source::read_other(Path::new(path), way).map(|source| Scrape::parse(&source.text))
            };
            Ok((read(one)?, read(two)?))
        }
        _ => Err(Unanswered(
            "tidegate plan: `--metrics` takes one address (http://…/metrics), or is given twice, with a file each"
                .to_owned(),
        )),
    }
}

/// How long the plan's own log takes, where that was measured.
fn sync(plan: &Plan, expected: &Expected) -> Option<f64> {
    let node = plan.topology.nodes.iter().find(|node| node.id == expected.node)?;
    let named = plan
        .costs
        .iter()
        .find(|costs| Some(&costs.name) == node.options.costs.as_ref())?;
    (named.costs.sync != Costs::default().sync).then_some(named.costs.sync.mid)
}

fn rows(expected: &Expected, between: &Between, sync: Option<f64>, tolerance: f64) -> Vec<Row> {
    let row = |figure, unit, planned: f64, measured: f64, chance: f64| {
        let moved = (planned > 0.0).then(|| measured / planned - 1.0);
        let allowed = tolerance + chance;
        let standing = match moved {
            Some(moved) if moved.abs() > allowed => Standing::Moved,
            None if measured > 0.0 => Standing::Moved,
            _ => Standing::Within,
        };
        Row {
            figure,
            unit,
            planned,
            measured,
            moved,
            allowed,
            standing,
        }
    };
    // Two standard errors of a count.
    let chance = 2.0 / (expected.publications * between.seconds).max(1e-9).sqrt();
    let mut connections = row(
        "connections, at the most",
        Unit::Count,
        expected.connections_max,
        between.connections,
        0.0,
    );
    if between.connections <= expected.connections_max {
        connections.standing = Standing::Within;
    }
    let mut rows = vec![
        connections,
        row(
            "publications",
            Unit::PerSecond,
            expected.publications,
            between.publications,
            chance,
        ),
        row(
            "deliveries",
            Unit::PerSecond,
            expected.deliveries,
            between.deliveries,
            chance,
        ),
    ];
    let mut cpu = row("CPU", Unit::Cores, expected.cpu, between.cpu, chance);
    if (between.cpu - expected.cpu).abs() < CPU_LEAST {
        cpu.standing = Standing::Untold;
    }
    rows.push(cpu);
    if expected.deliveries > 0.0 && between.deliveries > 0.0 {
        let each = |cpu: f64, deliveries: f64| cpu / deliveries;
        let mut each = row(
            "CPU of a delivery",
            Unit::Seconds,
            each(expected.cpu, expected.deliveries),
            each(between.cpu, between.deliveries),
            0.0,
        );
        if between.cpu < 2.0 * CPU_LEAST {
            each.standing = Standing::Untold;
        }
        rows.push(each);
    }
    rows.push(row(
        "memory of the process",
        Unit::Bytes,
        expected.memory,
        between.memory,
        0.0,
    ));
    if let (Some(planned), true) = (sync, between.sync > 0.0) {
        // The metric is a median, the figure a mean.
        let median = planned / (1.0 + figures::WS_SYNC.cv2).sqrt();
        rows.push(row("to the disk, p50", Unit::Seconds, median, between.sync, 0.0));
    }
    rows
}

fn said(rows: &[Row], expected: &Expected, between: &Between, tolerance: f64) -> String {
    let by = |row: &Row| match row.moved {
        Some(moved) => format!("{:.0} %", 100.0 * moved.abs()),
        None => "from nothing".to_owned(),
    };
    let size = |row: &Row| row.moved.map_or(f64::INFINITY, f64::abs);
    let furthest = |standing: Standing| {
        let rows = rows.iter().filter(|row| row.standing == standing);
        rows.max_by(|a, b| size(a).total_cmp(&size(b)))
    };
    let tolerance = format!("{:.0} %", tolerance * 100.0);
    let head = match furthest(Standing::Moved) {
        Some(row) => format!(
            "MOVED {} from plan: {} (tolerance {tolerance})",
            by(row),
            row.figure
        ),
        None => format!("WITHIN {tolerance} of the plan"),
    };
    let mut text = format!(
        "{head}\na machine of `{}` with {} connections, over {}\n\n",
        plain(&expected.node),
        count(between.connections),
        time(between.seconds)
    );
    let mut table = Table::new(&[
        ("figure", Align::Left),
        ("planned", Align::Right),
        ("measured", Align::Right),
        ("moved", Align::Right),
        ("", Align::Left),
    ]);
    for row in rows {
        let say = |value: f64| match row.unit {
            Unit::Count => count(value),
            Unit::PerSecond => format!("{}/s", count(value)),
            Unit::Cores => format!("{value:.3} cores"),
            Unit::Seconds => time(value),
            Unit::Bytes => bytes(value),
        };
        table.row([
            row.figure.to_owned(),
            say(row.planned),
            say(row.measured),
            row.moved.map_or_else(String::new, |moved| {
                format!("{:+.0} %", 100.0 * moved).replace('-', "−")
            }),
            match row.standing {
                Standing::Within => "within",
                Standing::Moved => "MOVED",
                Standing::Untold => "too little to tell",
            }
            .to_owned(),
        ]);
    }
    text.push_str(&table.render());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expectation() -> Expected {
        Expected {
            node: "ws".to_owned(),
            machines: 1,
            connections: 100.0,
            connections_max: 200.0,
            publications: 100.0,
            deliveries: 1_000.0,
            cpu: 0.1,
            cores: 1,
            memory: 2e7,
        }
    }

    fn measured() -> Between {
        Between {
            seconds: 100.0,
            connections: 100.0,
            publications: 105.0,
            deliveries: 1_050.0,
            cpu: 0.112,
            memory: 2.1e7,
            sync: 0.0,
        }
    }

    #[test]
    fn what_is_within_the_tolerance_has_not_moved() {
        let rows = rows(&expectation(), &measured(), None, 0.2);
        assert!(
            rows.iter().all(|row| row.standing == Standing::Within),
            "{rows:#?}"
        );
        let text = said(&rows, &expectation(), &measured(), 0.2);
        assert!(text.starts_with("WITHIN 20 % of the plan\n"), "{text}");
    }

    #[test]
    fn what_has_moved_furthest_is_told_first() {
        let more = Between {
            cpu: 0.14,
            deliveries: 1_300.0,
            connections: 150.0,
            ..measured()
        };
        let rows = rows(&expectation(), &more, None, 0.2);
        let text = said(&rows, &expectation(), &more, 0.2);
        assert!(
            text.starts_with("MOVED 40 % from plan: CPU (tolerance 20 %)"),
            "{text}"
        );
        // More connections than now, and not more than ever.
        assert_eq!(rows[0].standing, Standing::Within);
        let moved = rows.iter().filter(|row| row.standing == Standing::Moved);
        assert_eq!(moved.count(), 2, "{rows:#?}");
    }

    #[test]
    fn chance_and_what_a_server_takes_at_rest_are_not_drift() {
        let few = Expected {
            publications: 1.0,
            deliveries: 10.0,
            cpu: 0.0005,
            ..expectation()
        };
        let seen = Between {
            publications: 1.3,
            deliveries: 13.0,
            cpu: 0.004,
            ..measured()
        };
        let told = |seen: &Between| {
            let rows = rows(&few, seen, Some(2e-3), 0.2);
            rows.into_iter().map(|row| row.standing).collect::<Vec<_>>()
        };
        let standings = told(&seen);
        assert!(
            standings.iter().all(|standing| *standing != Standing::Moved),
            "{standings:?}"
        );
        assert_eq!(standings[3], Standing::Untold);
        let slow = Between { sync: 0.02, ..seen };
        assert_eq!(told(&slow).last(), Some(&Standing::Moved));
    }

    #[test]
    fn a_tolerance_is_in_per_cent() {
        assert_eq!((tolerance("20%"), tolerance("0.5%")), (Ok(0.2), Ok(0.005)));
        for wrong in ["", "20", "0%", "-1%", "nan%", "2000%"] {
            assert!(tolerance(wrong).is_err(), "{wrong}");
        }
    }
}

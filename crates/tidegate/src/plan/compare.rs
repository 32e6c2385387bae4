//! `tidegate plan compare`: two designs under the same chance.
//!
//! Both meet the same users, the same messages and the same failures in each replication (common random
//! numbers), so what chance does to both alike cancels out of their difference. A difference is told as one where
//! its interval at 95 % confidence, over the replications, leaves out zero. With `--from` they have the past of the
//! first in common, and the second takes over at that moment, with all that is under way.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use tidegate_plan::{
    Outcome, Plan, file,
    judge::{Judge, Promise, What, student},
    plan::Scenario,
    price::{self, Book},
};

use super::{
    Ending, Unanswered,
    report::{
        Verdict,
        shown::{clause_limit, clause_name, clause_value, money, plain},
        table::{Align, Table},
        text::Paint,
    },
    show,
    source::{Ready, Source, book},
    trial::{self, Asked},
};

#[derive(Args)]
#[command(after_help = "Example:
  tidegate plan compare main.toml branch.toml --runs 16
  tidegate plan compare plan.toml more-servers.toml --from 19h43min")]
pub struct Arguments {
    /// The design to begin from.
    a: PathBuf,
    /// The other; its own seed does not count, for both meet the chance of the first.
    b: PathBuf,
    #[command(flatten)]
    effort: Asked,
    /// A price book in place of the plans' own: a name, or a file that ends in `.toml`.
    #[arg(long, value_name = "NAME")]
    book: Option<String>,
    /// Until this moment of the run both are A; then B takes over, with all that is under way. Its topology must have the
    /// same ways: counts, sizes and options may differ, and what clients do.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<f64>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A whole second of the run.
fn moment(text: &str) -> Result<f64, String> {
    let seconds =
        file::time(text).ok_or_else(|| "a time with its unit, such as 19h43min or 90s".to_owned())?;
    Ok(seconds.floor())
}

/// Both designs, and what differs between them.
#[derive(Serialize)]
struct Comparison {
    version: u32,
    fidelity: trial::Fidelity,
    runs: u32,
    seed: u64,
    /// Seconds until `b` takes over from `a`; none where each is run from its beginning.
    from_s: Option<f64>,
    a: Side,
    b: Side,
    /// Whether both are asked the same question: the scenario, but for how clients behave, and the contract.
    is_same_question: bool,
    clauses: Vec<Difference>,
    /// Utilisation of each node's busiest station; of nodes that both have.
    nodes: Vec<Difference>,
}

#[derive(Serialize)]
struct Side {
    file: String,
    title: String,
    verdict: Verdict,
    probability: Option<f64>,
}

/// One figure of both. The interval is of `b` less `a`, at 95 % confidence; none of a single run.
#[derive(Serialize)]
struct Difference {
    name: String,
    a: Option<f64>,
    b: Option<f64>,
    interval: Option<(f64, f64)>,
    says: Says,
    #[serde(skip)]
    promise: Option<Promise>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Says {
    /// `b` is better, or worse, by more than noise.
    Better,
    Worse,
    Same,
    /// Not more than what chance does.
    Noise,
    /// One of them has nothing to measure, or there is only one run of it.
    Unknown,
}

/// What one replication of one side gave.
struct Measured {
    figures: Vec<(Promise, Option<f64>)>,
    busy: Vec<(String, f64)>,
}

pub fn run(arguments: &Arguments) -> Result<Ending, Unanswered> {
    let a = Source::read(&arguments.a)?.ready()?;
    let mut b = Source::read(&arguments.b)?.ready()?;
    b.plan.seed = a.plan.seed;
    b.network.seed = a.network.seed;
    let books = [
        book(arguments.book.as_deref(), &a.plan)?,
        book(arguments.book.as_deref(), &b.plan)?,
    ];
    let comparison = compare(&[a, b], &books, arguments)?;
    show(&match arguments.json {
        true => format!("{:#}\n", serde_json::json!(comparison)),
        false => text(&comparison, &books, Paint::of_stdout()),
    })?;
    Ok(Ending::Good)
}

fn compare(sides: &[Ready; 2], books: &[Book; 2], arguments: &Arguments) -> Result<Comparison, Unanswered> {
    let effort = arguments.effort.effort_fixed();
    let mut judges = [0, 1].map(|side| {
        let Ready { plan, network, .. } = &sides[side];
        Judge::of(plan, network.clone(), &effort).with_book(books[side].clone())
    });
    let makers = judges.clone();
    if let Some(from) = arguments.from {
        can_fork(&sides[0], &makers, from)
            .map_err(|why| format!("tidegate plan: {}: {why}", sides[1].source.name))?;
    }
    let mut measured: [Vec<Measured>; 2] = [Vec::new(), Vec::new()];
    trial::each(
        0..judges[0].wanted(),
        |number| {
            let mut side = 0;
            runs_of(&makers, number, arguments.from).map(|outcome| {
                let figures = measure(&sides[side], &books[side], &outcome);
                side += 1;
                (figures, outcome)
            })
        },
        |number, runs| {
            for (side, (figures, outcome)) in runs.into_iter().enumerate() {
                measured[side].push(figures);
                judges[side].take(number, outcome);
            }
        },
    );
    let judgements = judges.map(Judge::finish);
    let sums = [0, 1].map(|side| measure(&sides[side], &books[side], &judgements[side].outcome));
    let side = |side: usize| Side {
        file: sides[side].source.name.clone(),
        title: sides[side].plan.title.clone(),
        verdict: judgements[side].verdict.into(),
        probability: judgements[side].probability,
    };
    let [plan_a, plan_b] = [&sides[0].plan, &sides[1].plan];
    // How clients behave is a part of a design.
    let asked_of_b = Scenario {
        clients: plan_a.scenario.clients,
        ..plan_b.scenario.clone()
    };
    Ok(Comparison {
        version: 1,
        fidelity: effort.fidelity.into(),
        runs: judgements[0].runs,
        seed: plan_a.seed,
        from_s: arguments.from,
        a: side(0),
        b: side(1),
        is_same_question: plan_a.scenario == asked_of_b && plan_a.contract == plan_b.contract,
        clauses: differing_clauses(plan_a, &sums, &measured),
        nodes: differing_nodes(&sums, &measured),
    })
}

/// Whether B can take over from A at a moment.
fn can_fork(a: &Ready, [of_a, of_b]: &[Judge; 2], from: f64) -> Result<(), String> {
    if from >= a.network.length {
        return Err(format!(
            "`--from` is after the end: the run lasts {}",
            super::report::shown::moment(a.network.length)
        ));
    }
    let run = of_a
        .begin(0)
        .ok_or("`--from` needs events: the fluid model has no state; take `--fidelity hybrid` or `exact`")?;
    of_b.could_take_over(&run, from)
        .map_err(|unlike| format!("it cannot take over at `--from`: {unlike}"))
}

/// A run of both: each from its beginning, or B from A at a moment.
fn runs_of([a, b]: &[Judge; 2], number: u32, from: Option<f64>) -> [Outcome; 2] {
    let forked = from.and_then(|from| Some((from, a.begin(number)?)));
    let Some((from, mut run)) = forked else {
        return [a.replicate(number), b.replicate(number)];
    };
    run.run_until(from);
    let mut fork = run.clone();
    b.take_over(&mut fork).expect("it was tried before");
    [run.finish(), fork.finish()]
}

fn measure(side: &Ready, book: &Book, outcome: &Outcome) -> Measured {
    let Ready { plan, network, .. } = side;
    let bill = price::bill(plan, network, book, outcome).ok();
    let monthly = bill.map(|bill| bill.total);
    let mut busy: Vec<(String, f64)> = Vec::new();
    for (place, node) in plan.topology.nodes.iter().enumerate() {
        let shares = network
            .stations
            .iter()
            .zip(&outcome.stations)
            .filter(|(station, _)| station.node as usize == place)
            .map(|(_, station)| station.busy_share);
        busy.push((node.id.clone(), shares.fold(0.0, f64::max)));
    }
    let promises = Promise::all_of(plan).into_iter();
    Measured {
        figures: promises
            .map(|promise| {
                let figure = promise.measure(plan, outcome, monthly);
                (promise, figure)
            })
            .collect(),
        busy,
    }
}

fn differing_clauses(plan: &Plan, sums: &[Measured; 2], runs: &[Vec<Measured>; 2]) -> Vec<Difference> {
    // What each is held against may differ; what is measured is the same.
    let is_same =
        |a: &Promise, b: &Promise| (a.what, &a.class, a.percentile) == (b.what, &b.class, b.percentile);
    let of = |measured: &Measured, promise: &Promise| {
        let same = measured.figures.iter().find(|(other, _)| is_same(other, promise));
        same.and_then(|(_, figure)| *figure)
    };
    let other = |promise: &Promise| sums[1].figures.iter().any(|(other, _)| is_same(other, promise));
    let promises = sums[0].figures.iter().map(|(promise, _)| promise);
    promises
        .filter(|promise| other(promise))
        .map(|promise| {
            let pairs = pairs(runs, |measured| of(measured, promise));
            let figures = [of(&sums[0], promise), of(&sums[1], promise)];
            let name = clause_name(promise, plan.contract.weigh);
            Difference {
                promise: Some(promise.clone()),
                ..difference(name, figures, &pairs, promise.what == What::Uptime)
            }
        })
        .collect()
}

fn differing_nodes(sums: &[Measured; 2], runs: &[Vec<Measured>; 2]) -> Vec<Difference> {
    let of = |measured: &Measured, node: &str| {
        let found = measured.busy.iter().find(|(name, _)| name == node);
        found.map(|(_, busy)| *busy)
    };
    sums[0]
        .busy
        .iter()
        .filter_map(|(node, busy)| {
            let other = of(&sums[1], node)?;
            let pairs = pairs(runs, |measured| of(measured, node));
            Some(difference(
                node.clone(),
                [Some(*busy), Some(other)],
                &pairs,
                false,
            ))
        })
        .collect()
}

/// A figure of both sides in each replication that has it on both.
fn pairs(runs: &[Vec<Measured>; 2], of: impl Fn(&Measured) -> Option<f64>) -> Vec<f64> {
    let both = runs[0].iter().zip(&runs[1]);
    both.filter_map(|(a, b)| Some(of(b)? - of(a)?)).collect()
}

fn difference(name: String, [a, b]: [Option<f64>; 2], pairs: &[f64], is_more_better: bool) -> Difference {
    let interval = interval(pairs);
    let says = match interval {
        _ if a.is_none() || b.is_none() => Says::Unknown,
        Some((low, high)) if low == 0.0 && high == 0.0 => Says::Same,
        Some((low, high)) if low > 0.0 || high < 0.0 => match (low > 0.0) == is_more_better {
            true => Says::Better,
            false => Says::Worse,
        },
        Some(_) => Says::Noise,
        None => Says::Unknown,
    };
    Difference {
        name,
        a,
        b,
        interval,
        says,
        promise: None,
    }
}

/// The mean of some differences at 95 % confidence; none of fewer than two.
fn interval(differences: &[f64]) -> Option<(f64, f64)> {
    if differences.len() < 2 {
        return None;
    }
    let n = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / n;
    let spread = differences.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let half = student::quantile(0.975, n - 1.0) * (spread / n).sqrt();
    Some((mean - half, mean + half))
}

fn text(comparison: &Comparison, books: &[Book; 2], paint: Paint) -> String {
    let Comparison { a, b, .. } = comparison;
    let mut text = format!(
        "A  {}  {} ({})\nB  {}  {} ({})\n",
        paint.verdict(a.verdict),
        plain(&a.title).replace('\n', " "),
        a.file,
        paint.verdict(b.verdict),
        plain(&b.title).replace('\n', " "),
        b.file,
    );
    if !comparison.is_same_question {
        text.push_str("their scenarios or contracts differ: what differs below is not by the design alone\n");
    }
    let mut table = Table::new(&[
        ("clause", Align::Left),
        ("limit", Align::Right),
        ("A", Align::Right),
        ("B", Align::Right),
        ("B less A, 95 % sure", Align::Right),
        ("", Align::Left),
    ]);
    for difference in &comparison.clauses {
        let Some(promise) = &difference.promise else {
            continue;
        };
        let value = |value: Option<f64>, book: &Book| {
            value.map_or("–".to_owned(), |value| {
                clause_value(promise, value, &book.currency)
            })
        };
        table.row([
            difference.name.clone(),
            clause_limit(promise, &books[0].currency),
            value(difference.a, &books[0]),
            value(difference.b, &books[1]),
            difference.interval.map_or("–".to_owned(), |ends| {
                shown_interval(ends, |end| difference_value(promise, end, &books[0].currency))
            }),
            says(difference.says).to_owned(),
        ]);
    }
    text.push('\n');
    text.push_str(&table.render());
    let mut table = Table::new(&[
        ("busy, on average", Align::Left),
        ("A", Align::Right),
        ("B", Align::Right),
        ("B less A, 95 % sure", Align::Right),
        ("", Align::Left),
    ]);
    for difference in &comparison.nodes {
        let percent =
            |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{:.2} %", value * 100.0));
        table.row([
            difference.name.clone(),
            percent(difference.a),
            percent(difference.b),
            difference.interval.map_or("–".to_owned(), |ends| {
                shown_interval(ends, |end| format!("{:.2}", end * 100.0))
            }),
            match difference.says {
                Says::Better => "less",
                Says::Worse => "more",
                other => says(other),
            }
            .to_owned(),
        ]);
    }
    text.push('\n');
    text.push_str(&table.render());
    if let Some(from) = comparison.from_s {
        text.push_str(&format!(
            "\nboth are A until {}; the figures are of the whole run\n",
            super::report::shown::moment(from)
        ));
    }
    let runs = match comparison.runs {
        1 => "1 run of each: nothing is said about noise; take more `--runs`".to_owned(),
        n => format!("{n} pairs of runs, each pair with the same chance"),
    };
    text.push_str(&format!("\n{runs}, seed {}\n", comparison.seed));
    text
}

fn says(says: Says) -> &'static str {
    match says {
        Says::Better => "better",
        Says::Worse => "worse",
        Says::Same => "the same",
        Says::Noise => "within noise",
        Says::Unknown => "",
    }
}

fn shown_interval((low, high): (f64, f64), shown: impl Fn(f64) -> String) -> String {
    let signed = |end: f64| match end {
        end if end < 0.0 => format!("−{}", shown(-end)),
        end if end > 0.0 => format!("+{}", shown(end)),
        _ => "0".to_owned(),
    };
    match low == high {
        true => signed(low),
        // What does not show is not told as two signs of nothing.
        false if shown(low.abs()) == shown(0.0) && shown(high.abs()) == shown(0.0) => "0".to_owned(),
        false => format!("{} to {}", signed(low), signed(high)),
    }
}

/// A difference of a clause's values; not negative. Shares differ by points of a per cent.
fn difference_value(promise: &Promise, value: f64, currency: &str) -> String {
    match promise.what {
        What::Uptime | What::Loss => format!("{:.3} points", value * 100.0),
        What::Latency | What::Reconnect => clause_value(promise, value, currency),
        What::Budget => money(value, currency),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_told_only_where_its_interval_leaves_out_zero() {
        let says = |pairs: &[f64], is_more_better| {
            difference("x".to_owned(), [Some(1.0), Some(2.0)], pairs, is_more_better).says
        };
        assert!(says(&[1.0, 1.1, 0.9, 1.0], false) == Says::Worse);
        assert!(says(&[1.0, 1.1, 0.9, 1.0], true) == Says::Better);
        assert!(says(&[1.0, -1.1, 0.9, -1.0], true) == Says::Noise);
        assert!(says(&[0.0, 0.0], true) == Says::Same);
        assert!(says(&[5.0], true) == Says::Unknown);
    }

    #[test]
    fn the_interval_is_students() {
        // Mean 2, spread 1, n 3: 4.303 / √3.
        let (low, high) = interval(&[1.0, 2.0, 3.0]).unwrap();
        assert!(
            (low + 0.4843).abs() < 1e-3 && (high - 4.4843).abs() < 1e-3,
            "{low} {high}"
        );
    }
}

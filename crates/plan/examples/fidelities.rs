//! What each fidelity says of each scenario of the library, side by side.
//!
//! `cargo run --release -p tidegate-plan --example fidelities [--part] [WORD …]`: files whose names have one of the
//! words, all if none. With `--part` only the hour in which most goes wrong is run, and exact as well. Time is the
//! core's, memory the process's at most.

mod measure;

use std::{fs, path::Path};

use measure::{forget_peak, on_core_s, peak_mb};
use tidegate_plan::{
    Network, Outcome, Plan, compile, engine, file,
    price::{self, Book},
};

/// Station visits of one hybrid run, as the planner's page asks for them.
const VISITS: f64 = 2e6;

fn main() {
    let (options, words): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|word| word.starts_with("--"));
    let is_part = options.iter().any(|option| option == "--part");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the library is there")
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    files.sort();
    for path in files {
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if !words.is_empty() && !words.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let text = fs::read_to_string(&path).expect("it can be read");
        let Ok(plan) = file::parse(&text) else {
            println!("{name}: no plan");
            continue;
        };
        let whole = match compile::compile(&plan) {
            Ok(network) => network,
            Err(error) => {
                println!("{name}: {error}");
                continue;
            }
        };
        println!("{name}");
        let network = if is_part {
            let (from, to) = worst_hour(&plan);
            whole.part(from, to)
        } else {
            whole
        };
        show("fluid", &plan, &network, || engine::fluid::run(&network));
        for replication in 0..2 {
            show("hybrid", &plan, &network, || {
                engine::hybrid::run(&network, replication, VISITS)
            });
        }
        if is_part {
            for replication in 0..2 {
                show("exact", &plan, &network, || {
                    engine::exact::run(&network, replication)
                });
            }
        }
    }
}

/// From a quarter of an hour before the first thing that goes wrong near the peak: seconds.
fn worst_hour(plan: &Plan) -> (f64, f64) {
    let users = &plan.scenario.users;
    let peak = users
        .points
        .iter()
        .copied()
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map_or(0.0, |point| point.0);
    let nearest = (plan.failures.scheduled.iter())
        .map(|failure| failure.at_hour)
        .min_by(|a, b| (a - peak).abs().total_cmp(&(b - peak).abs()))
        .unwrap_or(peak);
    let from = (nearest - 0.25).clamp(0.0, (plan.scenario.hours - 1.0).max(0.0));
    (from * 3_600.0, (from + 1.0) * 3_600.0)
}

fn show(fidelity: &str, plan: &Plan, network: &Network, run: impl FnOnce() -> Outcome) {
    forget_peak();
    let began = on_core_s();
    let outcome = run();
    let took = on_core_s() - began;
    let (delivered, lost, conflated, failed, published, late) =
        outcome
            .classes
            .iter()
            .fold((0.0, 0.0, 0.0, 0.0, 0.0, 0.0), |sum, class| {
                (
                    sum.0 + class.delivered,
                    sum.1 + class.lost,
                    sum.2 + class.conflated,
                    sum.3 + class.failed,
                    sum.4 + class.published,
                    sum.5 + class.late,
                )
            });
    let mut clauses = format!("up {:.4} %", outcome.uptime(plan.contract.weigh) * 100.0);
    let mut broken = outcome.uptime(plan.contract.weigh) < plan.contract.uptime;
    for target in &plan.contract.latency {
        let measured = outcome
            .latency(target.class.as_deref(), target.percentile)
            .unwrap_or(0.0);
        broken |= measured > target.within;
        clauses += &format!(
            ", {} p{:.0} {:.1} of {:.0} ms",
            target.class.as_deref().unwrap_or("all"),
            target.percentile * 100.0,
            measured * 1e3,
            target.within * 1e3,
        );
    }
    if let Some(most) = plan.contract.loss {
        let measured = lost / (delivered + lost).max(1.0);
        broken |= measured > most;
        clauses += &format!(", loss {:.4} %", measured * 100.0);
    }
    let back = outcome.reconnect_s.quantile(0.95);
    if let Some(most) = plan.contract.reconnect {
        broken |= back.unwrap_or(0.0) > most;
    }
    clauses += &format!(", back {:.1} s", back.unwrap_or(0.0));
    if let Some(book) = Book::by_name(&plan.book)
        && let Ok(bill) = price::bill(plan, network, &book, &outcome)
    {
        broken |= bill.total > plan.contract.budget;
        clauses += &format!(", {:.0} of {:.0} a month", bill.total, plan.contract.budget);
    }
    let busiest = (outcome.stations.iter())
        .max_by(|a, b| a.busy_max_minute.total_cmp(&b.busy_max_minute))
        .map_or_else(String::new, |station| {
            format!(
                "{} {:.3}, {:.2} at most",
                station.name, station.busy_share, station.busy_max_minute
            )
        });
    println!(
        "  {fidelity:<7}{} {clauses}; bad {:.0} + {:.0} + {:.0} s",
        if broken { "BREAKS" } else { "holds " },
        outcome.bad.disconnected_s,
        outcome.bad.refused_s,
        outcome.bad.late_s
    );
    println!(
        "          {} {:.4e} published, {:.2} % failed; {:.4e} delivered, {:.2} % conflated, {:.3} % lost, {:.2} % late; {busiest}; \
         {:.0} ms, {:.1e} visits, {:.0} % of the time, {:.0} MB",
        outcome
            .marks
            .iter()
            .filter(|m| m.what.starts_with("cut"))
            .map(|m| m.what.clone())
            .collect::<String>(),
        published,
        100.0 * failed / published.max(1.0),
        delivered,
        100.0 * conflated / (delivered + conflated).max(1.0),
        100.0 * lost / (delivered + lost).max(1.0),
        100.0 * late / delivered.max(1.0),
        took * 1e3,
        outcome.visits,
        outcome.sampled_share * 100.0,
        peak_mb(),
    );
}

//! What the three fidelities say of plan files, side by side: the first look when they should agree and do not.
//!
//! `cargo run --release -p tidegate-plan --example fidelities -- scenarios/*.toml`. A line of each: uptime, each class's
//! p95, deliveries, seconds it took. `--exact HOURS` runs the exact one too, on files of no more hours than that.

use std::time::Instant;

use tidegate_plan::{Outcome, compile, engine, file, price, price::Book};

/// Visits of a hybrid run.
const VISITS: f64 = 500_000.0;

fn main() {
    let mut exact_hours = 0.0;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--exact" {
            exact_hours = arguments
                .next()
                .and_then(|hours| hours.parse().ok())
                .unwrap_or(0.0);
            continue;
        }
        let text = std::fs::read_to_string(&argument).expect("a file");
        let plan = file::parse(&text).unwrap_or_else(|errors| panic!("{argument}: {errors:?}"));
        let network = compile::compile(&plan).unwrap_or_else(|error| panic!("{argument}: {error}"));
        println!("{argument}");
        let show = |name: &str, run: &dyn Fn() -> Outcome| {
            let begun = Instant::now();
            let outcome = run();
            let seconds = begun.elapsed().as_secs_f64();
            let bill =
                Book::by_name(&plan.book).and_then(|book| price::bill(&plan, &network, &book, &outcome).ok());
            let monthly = bill.map_or(f64::NAN, |bill| bill.total);
            print!(
                "  {name:<7} {:>9.4} %",
                outcome.uptime(plan.contract.weigh) * 100.0
            );
            for class in &outcome.classes {
                let p95 = class.latency_s.quantile(0.95).unwrap_or(f64::NAN) * 1e3;
                let runs = f64::from(outcome.runs);
                print!(
                    "  {} {p95:.0} ms {:.4e} lost {:.1e}",
                    class.name,
                    class.delivered / runs,
                    class.lost / runs
                );
            }
            println!(
                "  {monthly:.0} a month  {:.3} s, {:.1e} visits",
                seconds, outcome.visits
            );
        };
        show("fluid", &|| engine::fluid::run(&network));
        for replication in 0..2 {
            show("hybrid", &|| engine::hybrid::run(&network, replication, VISITS));
        }
        if plan.scenario.hours <= exact_hours {
            show("exact", &|| engine::exact::run(&network, 0));
        }
    }
}

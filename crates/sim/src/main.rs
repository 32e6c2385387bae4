//! The simulation's command line: `check` many seeds, `replay` one.

use std::{
    ops::Range,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use clap::{Args, Parser, Subcommand};
use tidegate_sim::{
    mutation::Mutation,
    plan::{Plan, Size},
    shrink::{shrink, try_run},
    world::{Outcome, Stats},
};

/// Lines of a trace shown, from its end.
const LINES_SHOWN: usize = 60;

/// What is left out of a trace, unless all is asked for.
const QUIET: &[&str] = &["  turn  ", ": Pong", ": 2 bytes", "ping"];

/// The seed under way, for a panic's last words: release builds abort.
static SEED: AtomicU64 = AtomicU64::new(0);

#[derive(Parser)]
#[command(about = "Simulates shards, engine, network and clients from a seed")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run many seeds; stop at the first that breaks a promise, and make it small.
    Check {
        /// How many.
        #[arg(long, default_value_t = 1_000)]
        seeds: u64,
        /// The first.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Lines of the small trace shown, from its end.
        #[arg(long, default_value_t = LINES_SHOWN)]
        lines: usize,
        /// Go on after a failure: name all seeds that fail, make none smaller.
        #[arg(long)]
        keep_going: bool,
        #[command(flatten)]
        run: Run,
    },
    /// Run one seed.
    Replay {
        /// Which.
        #[arg(long)]
        seed: u64,
        /// Print all that happens.
        #[arg(long)]
        trace: bool,
        #[command(flatten)]
        run: Run,
    },
}

#[derive(Args, Clone, Copy)]
struct Run {
    /// Clients; the seed chooses some dozens by default.
    #[arg(long)]
    clients: Option<usize>,
    /// Actions after everyone came; the seed chooses by default.
    #[arg(long)]
    steps: Option<usize>,
    /// A bug to plant.
    #[arg(long)]
    mutation: Option<Mutation>,
}

impl Run {
    fn plan(&self, seed: u64) -> Plan {
        let Self { clients, steps, .. } = *self;
        Plan::of(seed, Size { clients, steps })
    }
}

fn main() -> ExitCode {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        eprintln!("seed {} panicked", SEED.load(Ordering::Relaxed));
        usual(info);
    }));
    match Cli::parse().command {
        Command::Check {
            seeds,
            from,
            lines,
            keep_going,
            run,
        } => {
            let seeds = from..from.saturating_add(seeds);
            check(seeds, (!keep_going).then_some(lines), run)
        }
        Command::Replay { seed, trace, run } => replay(seed, trace, run),
    }
}

/// Makes the first failure small and shows so many lines of it; or none, and names every failure.
fn check(seeds: Range<u64>, lines: Option<usize>, run: Run) -> ExitCode {
    let (from, count) = (seeds.start, seeds.end - seeds.start);
    let begun = Instant::now();
    let mut stats = Stats::default();
    let mut failures = 0;
    for seed in seeds {
        SEED.store(seed, Ordering::Relaxed);
        let plan = run.plan(seed);
        let outcome = try_run(&plan, run.mutation, false);
        stats.add(&outcome.stats);
        if let Some(violation) = outcome.violation {
            println!("seed {seed} breaks `{}`: {}", violation.check, violation.detail);
            let Some(lines) = lines else {
                failures += 1;
                continue;
            };
            println!("making it smaller ...");
            let small = shrink(&plan, run.mutation, violation.check);
            show(&small, &try_run(&small, run.mutation, true), lines);
            return ExitCode::FAILURE;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{count} seeds from {from} in {seconds:.1} s: {:.1} a second",
        count as f64 / seconds
    );
    println!("{stats:?}");
    if failures > 0 {
        println!("{failures} seeds failed");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn replay(seed: u64, trace: bool, run: Run) -> ExitCode {
    SEED.store(seed, Ordering::Relaxed);
    let plan = run.plan(seed);
    let outcome = try_run(&plan, run.mutation, true);
    show(&plan, &outcome, if trace { usize::MAX } else { LINES_SHOWN });
    match outcome.violation {
        Some(_) => ExitCode::FAILURE,
        None => ExitCode::SUCCESS,
    }
}

fn show(plan: &Plan, outcome: &Outcome, lines_shown: usize) {
    let Plan {
        seed,
        clients,
        shards,
        limits,
        ..
    } = plan;
    println!(
        "seed {seed}: {clients} clients, {shards} shards, {} actions",
        plan.actions.len()
    );
    println!("{limits:?}\n");
    let is_news =
        |line: &&String| lines_shown == usize::MAX || !QUIET.iter().any(|quiet| line.contains(quiet));
    let news: Vec<&String> = outcome.lines.iter().filter(is_news).collect();
    for line in &news[news.len().saturating_sub(lines_shown)..] {
        println!("{line}");
    }
    println!("\n{} actions:", plan.actions.len());
    for (at, action) in plan.actions.iter().take(LINES_SHOWN) {
        println!("{:>12.6}  {action:?}", at.0 as f64 / 1e9);
    }
    match &outcome.violation {
        Some(violation) => println!("\nbroken: {}: {}", violation.check, violation.detail),
        None => println!("\nall promises kept; {:?}", outcome.stats),
    }
    println!("hash {:016x}", outcome.hash);
}

//! An open-loop load generator, and the floor to compare with.
//!
//! Open loop: publications leave at their intended times, whatever the server does, and a
//! latency counts from the intended time. A server that stalls is charged for all that waited (no
//! coordinated omission).
//!
//! ```text
//!   arguments  the words of the command line
//!   workload   what is done in which order, and what is asked of the outcome; `flood` has a file of its own
//!   calibrate  what each thing costs the server, for the planner
//!   plan       who subscribes to what, what is published how often, which process has which
//!   crew       carries out a plan, alone or in several processes
//!   part       one process's share: a turn at a time
//!   parts      the other processes, as the parent sees them
//!   child      one of them, as it sees itself
//!   tally      what one process counted, told to another and merged
//!   accounts   whether what was counted adds up
//!   returned   who was sent away or lost, and how all came back
//!   swarm      thousands of connections on one epoll, received as cheaply as can be
//!   floor      the bare server: accept, and write pre-framed buffers
//!   report     the accounts, percentiles, the server's CPU and memory
//! ```

mod accounts;
mod arguments;
mod calibrate;
mod child;
mod crew;
mod error;
mod flood;
mod floor;
mod part;
mod parts;
mod plan;
mod process;
mod report;
mod returned;
mod swarm;
mod tally;
mod workload;

use std::{process::ExitCode, time::Duration};

use crate::arguments::Workload;
pub use crate::{
    arguments::{Args, Target},
    error::LoadError,
};

/// Runs a workload. Fails when a sum does not add up: something was lost, doubled or out of order.
pub fn run(args: Args) -> ExitCode {
    if let Workload::Calibrate { target, calibrate } = &args.workload {
        return measure_costs(target, calibrate);
    }
    let Some((target, plan)) = args.workload.plan() else {
        return serve_floor(&args.workload);
    };
    if let Some(share) = target.part {
        return child::serve(target, &plan, share);
    }
    let outcome = match &args.workload {
        Workload::Saturate {
            subscribers,
            limit_ms,
            ..
        } => workload::saturate(target, *subscribers, Duration::from_millis(*limit_ms)),
        Workload::Idle { .. } => workload::idle(target, plan),
        Workload::Storm {
            wait_restart,
            drain,
            rate,
            ..
        } => match (*drain, *rate > 0.0) {
            (true, _) => workload::busy_storm(target, plan, workload::Loss::Drain),
            (false, true) if *wait_restart => workload::busy_storm(target, plan, workload::Loss::Crash),
            (false, true) => workload::busy_storm(target, plan, workload::Loss::Own),
            (false, false) => workload::storm(target, plan, *wait_restart),
        },
        Workload::Publish { .. } => workload::publish(target, plan),
        Workload::Flood { times, .. } => flood::flood(target, plan, *times),
        Workload::Mixed { bid: true, .. } => workload::bid(target, plan),
        Workload::Viral { .. }
        | Workload::Hot { .. }
        | Workload::Rooms { .. }
        | Workload::Slow { .. }
        | Workload::Burst { .. }
        | Workload::Mixed { .. }
        | Workload::Calibrate { .. }
        | Workload::Floor { .. } => workload::play(target, plan),
    };
    match outcome {
        Ok(report) if report.is_clean() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(2),
        Err(error) => fail(&error),
    }
}

fn measure_costs(target: &Target, words: &arguments::CostsAsked) -> ExitCode {
    let costs = match calibrate::calibrate(target, &words.ask()) {
        Ok(costs) => costs,
        Err(error) => return fail(&error),
    };
    match std::fs::write(&words.emit, costs.to_toml()) {
        Ok(()) => {
            costs.print(target.json);
            ExitCode::SUCCESS
        }
        Err(why) => fail(&LoadError::System {
            what: "cannot write the costs",
            why,
        }),
    }
}

fn serve_floor(workload: &Workload) -> ExitCode {
    let Workload::Floor { listen, corked, fair } = workload else {
        unreachable!("only the floor has no plan");
    };
    let mode = match (corked, fair) {
        (true, _) => floor::Mode::Corked,
        (_, true) => floor::Mode::Fair,
        _ => floor::Mode::Plain,
    };
    match floor::serve(*listen, mode) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &LoadError) -> ExitCode {
    eprintln!("tidegate load: {error}");
    ExitCode::FAILURE
}

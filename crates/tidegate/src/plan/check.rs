//! `tidegate plan check`: every mistake of plan files, with its place and the way out.

use std::path::PathBuf;

use clap::Args;
use tidegate_plan::{Network, Plan, engine, price};

use super::{
    Ending, Unanswered,
    report::shown::{count, plain, share, span},
    show,
    source::{Source, Wrong, book},
};
use crate::configure::complain;

#[derive(Args)]
pub struct Arguments {
    /// The files; `-` is standard input.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<Ending, Unanswered> {
    let mut ending = Ending::Good;
    for file in &arguments.files {
        let checked = Source::read(file).and_then(|source| check(&source));
        match checked {
            Ok(summary) => show(&summary)?,
            Err(Unanswered(words)) => {
                complain(&words);
                ending = Ending::Bad;
            }
        }
    }
    Ok(ending)
}

/// What a right file comes to.
fn check(source: &Source) -> Result<String, Unanswered> {
    let (plan, network) = source
        .compiled()
        .map_err(|wrongs| Unanswered(source.render(&wrongs)))?;
    let book = book(None, &plan)?;
    // What has no price shows only when it is billed; any outcome will do.
    let priced = price::bill(&plan, &network, &book, &engine::fluid::run(&network));
    if let Err(missing) = priced {
        let wrongs: Vec<Wrong> = missing
            .iter()
            .map(|missing| Wrong {
                span: source.node(&missing.node),
                message: missing.to_string(),
                label: "take a size that is in the book, or another book".to_owned(),
                help: format!("see prices/{}.toml", missing.book),
            })
            .collect();
        return Err(Unanswered(source.render(&wrongs)));
    }
    Ok(summary(&source.name, &plan, &network))
}

fn summary(name: &str, plan: &Plan, network: &Network) -> String {
    let users = network.users.iter().map(|&(_, users)| users);
    let (least, most) = users.fold((f64::INFINITY, 0.0_f64), |(least, most), users| {
        (least.min(users), most.max(users))
    });
    let classes: Vec<&str> = network.flows.iter().map(|flow| flow.name.as_str()).collect();
    let nodes: Vec<String> = plan
        .topology
        .nodes
        .iter()
        .map(|node| match node.count {
            1 => node.id.clone(),
            count => format!("{count} {}", node.id),
        })
        .collect();
    let failures = match plan.failures.scheduled.len() {
        0 => "none for sure".to_owned(),
        n => format!("{n} for sure"),
    };
    let rows = [
        ("title", plain(&plan.title).into_owned()),
        ("length", span(network.length)),
        ("users", format!("{} to {}", count(least), count(most))),
        ("classes", classes.join(", ")),
        ("nodes", nodes.join(", ")),
        ("failures", failures),
        (
            "contract",
            format!(
                "{} uptime, {} latency targets, {} a month ({})",
                share(plan.contract.uptime),
                plan.contract.latency.len(),
                count(plan.contract.budget),
                plan.book
            ),
        ),
    ];
    let rows = rows.map(|(name, value)| format!("  {name:<12}{value}\n"));
    format!("{name}: good\n{}", rows.concat())
}

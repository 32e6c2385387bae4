//! `tidegate plan check`: every mistake of plan files, with its place and the way out.

use std::path::{Path, PathBuf};

use clap::Args;
use tidegate_plan::{
    Network, Plan, engine,
    price::{self, Book, NoPrice},
};

use super::{
    Ending, Unanswered,
    report::{
        sarif::{Level, Remark, sarif},
        shown::{count, plain, share, span},
    },
    show,
    source::{self, Source, Wrong},
    write,
};
use crate::configure::complain;

#[derive(Args)]
#[command(after_help = "Exit status: 0 all are right, 1 a file is wrong or cannot be read.")]
pub struct Arguments {
    /// The files; `-` is standard input.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Also write the mistakes as SARIF, for code review.
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<Ending, Unanswered> {
    let mut ending = Ending::Good;
    let mut remarks = Vec::new();
    for file in &arguments.files {
        match checked(file, &mut remarks) {
            Ok(summary) => show(&summary)?,
            Err(Unanswered(words)) => {
                complain(&words);
                ending = Ending::Bad;
            }
        }
    }
    if let Some(path) = &arguments.sarif {
        write(path, &sarif(&source::RULES, &remarks))?;
    }
    Ok(ending)
}

/// What a right file comes to; what is wrong with another is noted, too.
fn checked(file: &Path, remarks: &mut Vec<Remark>) -> Result<String, Unanswered> {
    let source = Source::read(file).inspect_err(|Unanswered(words)| {
        remarks.push(Remark {
            rule: source::FILE,
            level: Level::Error,
            message: words.clone(),
            file: file.display().to_string(),
            place: None,
        });
    })?;
    check(&source).map_err(|wrongs| {
        remarks.extend(wrongs.iter().map(|wrong| remark(&source, wrong)));
        Unanswered(source.render(&wrongs))
    })
}

fn remark(source: &Source, wrong: &Wrong) -> Remark {
    let parts = [&wrong.message, &wrong.label, &wrong.help];
    let said: Vec<&str> = parts
        .into_iter()
        .map(String::as_str)
        .filter(|part| !part.is_empty())
        .collect();
    Remark {
        rule: wrong.rule,
        level: Level::Error,
        message: said.join("; "),
        file: source.name.clone(),
        place: wrong.span.as_ref().map(|span| source.place(span)),
    }
}

fn check(source: &Source) -> Result<String, Vec<Wrong>> {
    let (plan, network) = source.compiled()?;
    let price = |span, message, label: &str, help| Wrong {
        rule: source::PRICE,
        span,
        message,
        label: label.to_owned(),
        help,
    };
    let Some(book) = Book::by_name(&plan.book) else {
        let span = source.line_of("prices");
        let names = format!("there are {}", Book::NAMES.join(", "));
        let help = "or run it with a file of your own: `--book prices.toml`".to_owned();
        let message = format!("there is no price book {:?}", plan.book);
        return Err(vec![price(span, message, &names, help)]);
    };
    // What has no price shows only when it is billed; any outcome will do.
    if let Err(missing) = price::bill(&plan, &network, &book, &engine::fluid::run(&network)) {
        let wrong = |missing: &NoPrice| {
            price(
                source.node(&missing.node),
                missing.to_string(),
                "take a size that is in the book, or another book",
                format!("see prices/{}.toml", missing.book),
            )
        };
        return Err(missing.iter().map(wrong).collect());
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
    let targets = match plan.contract.latency.len() {
        1 => "1 latency target".to_owned(),
        n => format!("{n} latency targets"),
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
                "{} uptime, {}, {} a month ({})",
                share(plan.contract.uptime),
                targets,
                count(plan.contract.budget),
                plan.book
            ),
        ),
    ];
    let rows = rows.map(|(name, value)| format!("  {name:<12}{value}\n"));
    format!("{name}: good\n{}", rows.concat())
}

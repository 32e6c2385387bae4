//! `tidegate plan explain`: where events wait, what is the cause, and where the error budget went.

use std::{fmt::Write, path::PathBuf};

use clap::Args;
use serde::Serialize;
use tidegate_plan::{
    judge::{self, Judge, Judgement},
    why::{Depth, Why, why},
};

use super::{
    Ending, Unanswered,
    report::{
        Verdict,
        shown::{plain, share, span, time},
        stage_name,
        table::{Align, Table},
        text::Paint,
    },
    show,
    source::{Ready, Source, book},
    trial::{self, Asked},
};

/// Causes of a clause that are told, and lines of the error budget.
const CAUSES_SHOWN: usize = 5;
const LINES_SHOWN: usize = 8;
/// Layers of a wait thinner than this part of it are left out.
const LAYER_MIN: f64 = 0.01;
/// Characters of the widest bar.
const BAR: f64 = 40.0;

#[derive(Args)]
#[command(
    after_help = "Exit status: as of `plan run`: 0 the contract holds, 1 it breaks, 2 there is no answer, 3 too close to tell.

Example:
  tidegate plan explain plan.toml"
)]
pub struct Arguments {
    /// The plan; `-` is standard input.
    file: PathBuf,
    #[command(flatten)]
    effort: Asked,
    /// A price book in place of the plan's: a name, or a file that ends in `.toml`.
    #[arg(long, value_name = "NAME")]
    book: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// As it is printed with `--json`.
#[derive(Serialize)]
struct Answer<'a> {
    version: u32,
    file: &'a str,
    title: &'a str,
    verdict: Verdict,
    #[serde(flatten)]
    why: &'a Why,
}

pub fn run(arguments: &Arguments) -> Result<Ending, Unanswered> {
    let Ready {
        source,
        plan,
        network,
    } = Source::read(&arguments.file)?.ready()?;
    let book = book(arguments.book.as_deref(), &plan)?;
    let judge = Judge::of(&plan, network, &arguments.effort.effort()).with_book(book);
    let judgement = trial::judged(judge);
    let why = why(&plan, &judgement, &Depth::default());
    let verdict = Verdict::from(judgement.verdict);
    show(&match arguments.json {
        true => {
            let answer = Answer {
                version: 1,
                file: &source.name,
                title: &plan.title,
                verdict,
                why: &why,
            };
            serde_json::to_string_pretty(&answer).expect("it has text keys and numbers") + "\n"
        }
        false => text(&plan.title, verdict, &judgement, &why),
    })?;
    Ok(verdict.into())
}

fn text(title: &str, verdict: Verdict, judgement: &Judgement, why: &Why) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{}  {}\n",
        Paint::of_stdout().verdict(verdict),
        plain(title)
    );
    for clause in &why.clauses {
        let _ = writeln!(text, "{}", plain(&clause.sentence));
        // What cannot be told from chance is no cause.
        let proven = clause.causes.iter().filter(|cause| cause.is_proven);
        let is_kept = clause.standing == judge::Verdict::Holds;
        for cause in proven.take(if is_kept { 0 } else { CAUSES_SHOWN }) {
            let promise = &clause.promise;
            let proof = if cause.would_hold {
                ", and then it holds"
            } else {
                ""
            };
            let _ = writeln!(
                text,
                "  without {}: {}{proof}",
                plain(&cause.removed.words()),
                promise.say(cause.after)
            );
        }
    }
    stacks(&mut text, why);
    account(&mut text, why);
    kick(&mut text, why);
    let _ = writeln!(
        text,
        "\n{} runs; a cause is what a pair of runs with the same chance shows, one of them without it",
        judgement.runs
    );
    text
}

/// Where those near the percentile were.
fn stacks(text: &mut String, why: &Why) {
    for stack in &why.stacks {
        let name = stack.promise.name();
        let _ = writeln!(
            text,
            "\nWhere {} of {} is spent",
            plain(&name),
            time(stack.latency_s)
        );
        let mut table = Table::new(&[("", Align::Left), ("", Align::Right), ("", Align::Left)]);
        for layer in &stack.layers {
            let part = layer.seconds / stack.latency_s.max(f64::MIN_POSITIVE);
            if part < LAYER_MIN {
                continue;
            }
            let node = layer
                .node
                .as_deref()
                .map_or_else(String::new, |node| format!("{}: ", plain(node)));
            table.row([
                format!("{node}{}", stage_name(layer.stage)),
                time(layer.seconds),
                "█".repeat((part * BAR).round().clamp(0.0, BAR) as usize),
            ]);
        }
        text.push_str(&table.render());
    }
}

fn account(text: &mut String, why: &Why) {
    let account = &why.account;
    let _ = writeln!(
        text,
        "\nError budget: {:.0} of {:.0} minutes spent",
        account.bad_min, account.allowed_min
    );
    let mut table = Table::new(&[("", Align::Left), ("", Align::Right), ("", Align::Left)]);
    for line in account.lines.iter().take(LINES_SHOWN) {
        let node = line
            .node
            .as_deref()
            .map_or_else(String::new, |node| format!("{}: ", plain(node)));
        let by_chance = if line.is_chance { ", by chance" } else { "" };
        table.row([
            format!("{node}{}{by_chance}", plain(&line.what)),
            share(line.budget_share),
            "of the budget".to_owned(),
        ]);
    }
    text.push_str(&table.render());
}

fn kick(text: &mut String, why: &Why) {
    let Some(kick) = &why.kick else {
        return;
    };
    let what = format!(
        "\nKick: {} times the publications for {} at {:.0} users",
        kick.factor,
        span(kick.seconds),
        kick.users
    );
    let came = match (kick.is_down_before, kick.recovers_after_s, kick.users_to_recover) {
        (true, _, _) => "it is down before".to_owned(),
        (_, Some(after), _) => format!("it recovers {} after", span(after)),
        (_, None, Some(users)) => format!(
            "it does not recover within {}, before no more than {users:.0} users are left: a metastable failure",
            span(kick.watched_s)
        ),
        (_, None, None) => format!(
            "it does not recover within {}: a metastable failure",
            span(kick.watched_s)
        ),
    };
    let _ = writeln!(text, "{what}: {came}");
}

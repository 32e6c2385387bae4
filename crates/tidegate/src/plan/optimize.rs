//! `tidegate plan optimize`: the cheapest design that holds, and what the money buys.

use std::{fmt::Write, path::PathBuf};

use clap::Args;
use serde::Serialize;
use tidegate_plan::{
    Plan, compile, file,
    judge::{Effort, Judge},
    optimize::{Change, Confirmed, Design, Excuse, Found, HEADROOM_MAX, Impossible, Wishes, optimize},
    price::Book,
};

use super::{
    Ending, Unanswered,
    report::{
        shown::{money, plain},
        table::{Align, Table},
    },
    show,
    source::{Source, book},
    trial::{self, Asked},
    write,
};

/// Of what was rejected, so much is told.
const EXCUSES_SHOWN: usize = 5;
/// A change among others is told in so many characters.
const CHANGES_WIDTH: usize = 64;

/// Station visits of one run of a confirmation: what chance does shows in how many runs there are, not how long each is.
const CONFIRM_VISITS: f64 = 200_000.0;

#[derive(Args)]
#[command(
    after_help = "Exit status: 0 a design holds within the budget, 1 none does, 2 there is no answer.

Examples:
  tidegate plan optimize plan.toml
  tidegate plan optimize plan.toml --margin 50 --out cheaper.toml"
)]
pub struct Arguments {
    /// The plan; `-` is standard input.
    file: PathBuf,
    /// Per cent more users than planned that the roomy design must hold.
    #[arg(long, value_name = "PERCENT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=400))]
    margin: u32,
    /// How closely a design is looked at before it is believed.
    #[command(flatten)]
    effort: Asked,
    /// A price book in place of the plan's: a name, or a file that ends in `.toml`.
    #[arg(long, value_name = "NAME")]
    book: Option<String>,
    /// Write the cheapest design as a plan file.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
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
    #[serde(flatten)]
    found: &'a Found,
}

pub fn run(arguments: &Arguments) -> Result<Ending, Unanswered> {
    let ready = Source::read(&arguments.file)?.ready()?;
    let book = book(arguments.book.as_deref(), &ready.plan)?;
    let wishes = Wishes {
        margin: f64::from(arguments.margin) / 100.0,
        ..Wishes::default()
    };
    let effort = arguments.effort;
    let mut confirm = |plan: &Plan| confirmed(plan, &book, effort);
    let found = optimize(&ready.plan, &book, &wishes, &mut confirm)
        .map_err(|refused| Unanswered(format!("tidegate plan: {refused}")))?;
    if let (Some(path), Some(design)) = (&arguments.out, best(&found)) {
        write(path, &file::write(&design.plan))?;
    }
    show(&match arguments.json {
        true => {
            let answer = Answer {
                version: 1,
                file: &ready.source.name,
                title: &ready.plan.title,
                found: &found,
            };
            let text = serde_json::to_string_pretty(&answer).expect("it has text keys and numbers");
            text + "\n"
        }
        false => text(&ready.plan.title, &found, arguments.margin),
    })?;
    Ok(match best(&found) {
        Some(design) if design.monthly <= found.budget => Ending::Good,
        _ => Ending::Bad,
    })
}

/// The cheapest; if that is above the budget and conflation brings it below, that.
fn best(found: &Found) -> Option<&Design> {
    let conflated = found.conflated.as_ref().map(|(_, design)| design);
    conflated.or(found.cheapest.as_ref())
}

/// Whether all but the budget holds, by runs on all cores.
fn confirmed(plan: &Plan, book: &Book, effort: Asked) -> Confirmed {
    let Ok(network) = compile::compile(plan) else {
        return Confirmed::NO;
    };
    let effort = Effort {
        visits: CONFIRM_VISITS,
        ..effort.effort()
    };
    let judge = Judge::of(plan, network, &effort).with_book(book.clone());
    Confirmed::of(&trial::judged(judge).clauses)
}

fn text(title: &str, found: &Found, margin: u32) -> String {
    let mut text = String::new();
    let unit = &found.currency;
    let _ = writeln!(text, "{}  (budget {})", plain(title), money(found.budget, unit));
    match (&found.cheapest, &found.impossible) {
        (Some(_), None) => {}
        (_, Some(impossible)) => {
            let _ = writeln!(text, "{}", why_not(impossible, unit));
        }
        (None, None) => {
            let _ = writeln!(text, "nothing was found in {} trials", found.trials);
        }
    }
    design(&mut text, "as given", &found.given, unit);
    if let Some(cheapest) = &found.cheapest {
        design(&mut text, "the cheapest that holds", cheapest, unit);
    }
    if let Some(roomy) = &found.roomy {
        design(
            &mut text,
            &format!("the cheapest that holds {margin} % more users"),
            roomy,
            unit,
        );
    }
    if let Some((rate, conflated)) = &found.conflated {
        let name = format!("with what is coalescible conflated to {rate}/s for one client");
        design(&mut text, &name, conflated, unit);
    }
    frontier(&mut text, found);
    for shadow in &found.binding {
        let promise = &shadow.clause.promise;
        let _ = writeln!(
            text,
            "\n{} of {} in place of {} would save {} a month",
            promise.name(),
            promise.say(shadow.relaxed),
            promise.say(promise.promised),
            money(shadow.saves, unit)
        );
    }
    excuses(&mut text, &found.rejected, unit);
    let _ = writeln!(
        text,
        "\n{} designs tried; changes of counts, sizes and options, one or two at a time: a good design, and no proof
that there is none cheaper. The tiers and edges are yours.",
        found.trials
    );
    text
}

fn design(text: &mut String, name: &str, design: &Design, unit: &str) {
    let headroom = match design.headroom {
        none if none <= 0.0 => "does not hold the planned users".to_owned(),
        most if most >= HEADROOM_MAX => format!("holds {most:.0} times the planned users, at least"),
        times => format!("holds up to {times:.2} times the planned users"),
    };
    let _ = writeln!(
        text,
        "\n{name}: {} a month, {headroom}",
        money(design.monthly, unit)
    );
    for clause in &design.clauses {
        let promise = &clause.promise;
        let measured = clause
            .measured
            .map_or_else(|| "nothing".to_owned(), |figure| promise.say(figure));
        let _ = writeln!(
            text,
            "  {} {measured}, promised {}",
            promise.name(),
            promise.say(promise.promised)
        );
    }
    for change in &design.changes {
        let _ = writeln!(text, "  {}", told(change));
    }
}

/// `ws: count 1 → 3`.
fn told(change: &Change) -> String {
    let Change { node, what, from, to } = change;
    let place = node.as_deref().unwrap_or("the clients");
    let place = plain(place);
    match (*what, from.is_empty()) {
        ("added", _) => format!("{place}: added, {to}"),
        ("clients", _) => format!("{place}: {to}"),
        (_, true) => format!("{place}: {what} {to}"),
        (_, false) => format!("{place}: {what} {from} → {to}"),
    }
}

fn frontier(text: &mut String, found: &Found) {
    if found.frontier.len() < 2 {
        return;
    }
    let _ = writeln!(text, "\nWhat the money buys");
    let mut table = Table::new(&[
        ("a month", Align::Right),
        ("holds up to", Align::Right),
        ("worst regret", Align::Right),
        ("holds in", Align::Right),
        ("", Align::Left),
    ]);
    for (place, design) in found.frontier.iter().enumerate() {
        let regret = found.steadiest.as_ref().and_then(|steadiest| {
            let (regret, share) = steadiest.of_each.get(place)?;
            Some((*regret, *share, steadiest.design == place))
        });
        table.row([
            money(design.monthly, &found.currency),
            format!("{:.2} × the users", design.headroom),
            regret.map_or_else(String::new, |(regret, _, _)| money(regret, &found.currency)),
            regret.map_or_else(String::new, |(_, share, _)| format!("{:.0} %", share * 100.0)),
            match regret {
                Some((_, _, true)) => "the least regret".to_owned(),
                _ => String::new(),
            },
        ]);
    }
    text.push_str(&table.render());
    if let Some(steadiest) = &found.steadiest {
        let _ = writeln!(
            text,
            "  of {} worlds in which users, their rates and the time of all work differ from the plan",
            steadiest.worlds
        );
    }
}

fn excuses(text: &mut String, rejected: &[Excuse], unit: &str) {
    if rejected.is_empty() {
        return;
    }
    let _ = writeln!(text, "\nCheaper, and why not");
    for excuse in rejected.iter().take(EXCUSES_SHOWN) {
        let promise = &excuse.clause.promise;
        let measured = excuse.clause.measured;
        let measured = measured.map_or_else(|| "nothing came".to_owned(), |figure| promise.say(figure));
        let by = match (excuse.by_events, excuse.is_close) {
            (false, _) => "",
            (true, false) => ", event by event",
            (true, true) => ", event by event: too close to be sure",
        };
        let mut changes: String = excuse.changes.iter().map(told).collect::<Vec<_>>().join("; ");
        if changes.is_empty() {
            changes = "as given".to_owned();
        }
        if changes.chars().count() > CHANGES_WIDTH {
            changes = changes.chars().take(CHANGES_WIDTH).collect::<String>() + " …";
        }
        let _ = writeln!(
            text,
            "  {}: {} {measured}, promised {}{by}\n    {changes}",
            money(excuse.monthly, unit),
            promise.name(),
            promise.say(promise.promised)
        );
    }
}

fn why_not(impossible: &Impossible, unit: &str) -> String {
    match impossible {
        Impossible::Traffic { lines, nodes, floor } => {
            let traffic: f64 = lines.iter().map(|line| line.amount).sum();
            format!(
                "no design fits the budget: what leaves to the users costs {} a month whatever is built,\nand the least the nodes cost is {}: {} together. Send less, or elsewhere.",
                money(traffic, unit),
                money(*nodes, unit),
                money(*floor, unit)
            )
        }
        Impossible::TooDear { monthly } => {
            format!(
                "nothing was found within the budget; the cheapest that holds is {} a month",
                money(*monthly, unit)
            )
        }
        Impossible::Clause { clause } => {
            let promise = &clause.promise;
            let measured = clause
                .measured
                .map_or_else(|| "nothing".to_owned(), |figure| promise.say(figure));
            format!(
                "no design holds: the largest that was tried has {} {measured}, and {} is promised",
                promise.name(),
                promise.say(promise.promised)
            )
        }
        Impossible::Unconfirmed => {
            "no design holds: some did by the fluid model, and none event by event".to_owned()
        }
    }
}

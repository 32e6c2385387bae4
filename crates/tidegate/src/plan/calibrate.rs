//! `tidegate plan calibrate`: what was measured of a server takes the place of the usual figures of a plan.

use std::{fmt::Write, path::PathBuf};

use clap::Args;
use serde::Serialize;
use tidegate_plan::{
    component::{Costs, Interval, Measured, UNUSED},
    expect, file,
    plan::NamedCosts,
};

use super::{
    Ending, Unanswered,
    report::{
        shown::{plain, time},
        table::{Align, Table},
    },
    show,
    source::Source,
    write,
};

#[derive(Args)]
#[command(
    after_help = "Exit status: 0 done, 2 there is no answer (a wrong file or command line).

Examples:
  tidegate load calibrate --pid $(pidof tidegate) --emit costs.toml
  tidegate plan calibrate plan.toml --costs costs.toml --out plan.toml"
)]
pub struct Arguments {
    /// The plan; `-` is standard input.
    file: PathBuf,
    /// What `tidegate load calibrate` wrote.
    #[arg(long, value_name = "FILE")]
    costs: PathBuf,
    /// The node that was measured; the only one of the kind `ws` if not given.
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// What the costs are called in the plan; those of that name are replaced.
    #[arg(long, value_name = "NAME", default_value = "measured", value_parser = name)]
    name: String,
    /// Write the plan with them.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// As a plan file can have it.
fn name(text: &str) -> Result<String, String> {
    let is_good = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || "-_".contains(char);
    let is_name = text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.len() <= 32
        && text.chars().all(is_good)
        && !["clients", "all"].contains(&text);
    match is_name {
        true => Ok(text.to_owned()),
        false => Err("1 to 32 of a-z, 0-9, `-` and `_`, a letter first".to_owned()),
    }
}

/// As it is printed with `--json`.
#[derive(Serialize)]
struct Answer<'a> {
    version: u32,
    file: &'a str,
    node: &'a str,
    name: &'a str,
    measured: String,
    figures: Vec<Changed>,
    /// Measured, and nothing the model asks for.
    unused: Vec<String>,
}

#[derive(Serialize)]
struct Changed {
    figure: &'static str,
    unit: &'static str,
    before: Interval,
    after: Interval,
}

pub fn run(arguments: &Arguments) -> Result<Ending, Unanswered> {
    let ready = Source::read(&arguments.file)?.ready()?;
    let measured = read_costs(&arguments.costs)?;
    let mut plan = ready.plan;
    let place = expect::holder(&plan, arguments.node.as_deref())
        .map_err(|error| Unanswered(format!("tidegate plan: {}: {error}", ready.source.name)))?;
    let before = {
        let named = plan.topology.nodes[place].options.costs.as_ref();
        let named = named.and_then(|name| plan.costs.iter().find(|costs| costs.name == *name));
        named.map_or_else(Costs::default, |named| named.costs)
    };
    let after = measured.over(before);
    let named = NamedCosts {
        name: arguments.name.clone(),
        measured: Some(measured.place()),
        costs: after,
    };
    match plan.costs.iter_mut().find(|costs| costs.name == named.name) {
        Some(old) => *old = named,
        None => plan.costs.push(named),
    }
    plan.topology.nodes[place].options.costs = Some(arguments.name.clone());
    // What is written is a plan that is read again: a name too many, say, is told before the file is there.
    let text = file::write(&plan);
    let again = Source {
        name: "the calibrated plan".to_owned(),
        text,
    };
    if let Err(wrongs) = again.compiled() {
        return Err(Unanswered(again.render(&wrongs)));
    }
    if let Some(path) = &arguments.out {
        write(path, &again.text)?;
    }
    let figures = before.each().into_iter().zip(after.each());
    let answer = Answer {
        version: 1,
        file: &ready.source.name,
        node: &plan.topology.nodes[place].id,
        name: &arguments.name,
        measured: measured.place(),
        figures: figures
            .filter(|((_, _, before), (_, _, after))| before != after)
            .map(|((_, figure, before), (_, _, after))| Changed {
                figure: figure.name,
                unit: figure.unit,
                before,
                after,
            })
            .collect(),
        unused: measured
            .figure
            .keys()
            .filter(|name| UNUSED.contains(&name.as_str()))
            .cloned()
            .collect(),
    };
    show(&match arguments.json {
        true => serde_json::to_string_pretty(&answer).expect("it has text keys and numbers") + "\n",
        false => said(&answer, arguments.out.is_some()),
    })?;
    Ok(Ending::Good)
}

fn read_costs(path: &std::path::Path) -> Result<Measured, Unanswered> {
    let source = Source::read_other(path, "`tidegate load calibrate --emit FILE` writes one")?;
    Measured::parse(&source.text)
        .map_err(|why| Unanswered(format!("tidegate plan: {}: {}", source.name, plain(&why))))
}

fn said(answer: &Answer<'_>, is_written: bool) -> String {
    let mut text = format!(
        "{} of {} counts with what was measured ({})\n\n",
        plain(answer.node),
        plain(answer.file),
        plain(&answer.measured)
    );
    let mut table = Table::new(&[
        ("figure", Align::Left),
        ("before", Align::Right),
        ("measured", Align::Right),
        ("95 % sure", Align::Right),
        ("", Align::Right),
    ]);
    for changed in &answer.figures {
        let say = |value: f64| match changed.unit {
            "bytes" => bytes(value),
            _ => time(value),
        };
        let Changed { before, after, .. } = changed;
        let by = match before.mid > 0.0 {
            true => format!("{:+.0} %", 100.0 * (after.mid / before.mid - 1.0)).replace('-', "−"),
            false => String::new(),
        };
        table.row([
            changed.figure.to_owned(),
            say(before.mid),
            say(after.mid),
            format!("{} to {}", say(after.low), say(after.high)),
            by,
        ]);
    }
    text.push_str(&table.render());
    if answer.figures.is_empty() {
        text.push_str("  nothing: the plan has just these\n");
    }
    if !answer.unused.is_empty() {
        let _ = write!(
            text,
            "\nmeasured, and nothing the model asks for: {}\n",
            answer.unused.join(", ")
        );
    }
    if !is_written {
        text.push_str("\nnothing was written; `--out FILE` writes the plan with them\n");
    }
    text
}

/// `4,672 B`, `318 MB`.
pub fn bytes(bytes: f64) -> String {
    match bytes {
        _ if bytes >= 1e7 => format!("{:.0} MB", bytes / 1e6),
        _ if bytes >= 1e5 => format!("{:.0} kB", bytes / 1e3),
        _ => format!("{bytes:.0} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_a_plan_takes() {
        assert_eq!(name("this-machine_2"), Ok("this-machine_2".to_owned()));
        for wrong in ["", "2x", "A", "a b", "all", &"a".repeat(33)] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }
}

//! `tidegate plan export`: a plan, its topology or its minutes for other tools.

use std::{collections::BTreeMap, fmt::Write, path::PathBuf};

use clap::Args;
use serde_json::json;
use tidegate_plan::{Network, Outcome, Plan, judge::Judge, plan::CLIENTS};

use super::{
    Ending, Unanswered,
    report::shown::plain,
    show,
    source::{Ready, Source},
    trial::Asked,
};

#[derive(Args)]
#[command(after_help = "Examples:
  tidegate plan export plan.toml --json | jq .plan.topology
  tidegate plan export plan.toml --dot | dot -Tsvg > topology.svg
  tidegate plan export plan.toml --csv > minutes.csv")]
pub struct Arguments {
    /// The plan; `-` is standard input.
    file: PathBuf,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    effort: Asked,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Form {
    /// The plan with all its defaults, and the stations and ways it becomes.
    #[arg(long)]
    json: bool,
    /// The topology, for Graphviz.
    #[arg(long)]
    dot: bool,
    /// The minutes of the first run: users, publications, latency, and each station's utilisation, queue and machines.
    #[arg(long)]
    csv: bool,
}

pub fn run(arguments: &Arguments) -> Result<Ending, Unanswered> {
    let Ready { plan, network, .. } = Source::read(&arguments.file)?.ready()?;
    let text = if arguments.form.json {
        format!("{:#}\n", json!({"version": 1, "plan": plan, "network": network}))
    } else if arguments.form.dot {
        dot(&plan)
    } else {
        let judge = Judge::of(
            &plan,
            network.clone(),
            BTreeMap::new(),
            &arguments.effort.effort(),
        );
        csv(&network, &judge.replicate(0))
    };
    show(&text)?;
    Ok(Ending::Good)
}

/// A directed graph, from the clients on.
fn dot(plan: &Plan) -> String {
    let mut text =
        String::from("digraph plan {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n");
    let _ = writeln!(
        text,
        "  label={};\n  {} [shape=ellipse];",
        quoted(&plan.title),
        quoted(CLIENTS)
    );
    for node in &plan.topology.nodes {
        let count = match node.count {
            1 => String::new(),
            count => format!("{count} × "),
        };
        let size = match node.size.as_str() {
            "" => String::new(),
            size => format!("\n{size}"),
        };
        let kind = node.kind.name();
        let label = match node.id == kind {
            true => format!("{count}{kind}{size}"),
            false => format!("{}\n{count}{kind}{size}", node.id),
        };
        let _ = writeln!(text, "  {} [label={}];", quoted(&node.id), quoted(&label));
    }
    for edge in &plan.topology.edges {
        let _ = writeln!(text, "  {} -> {};", quoted(&edge.from), quoted(&edge.to));
    }
    text.push_str("}\n");
    text
}

/// A string of the DOT language: a backslash begins an escape there, a quote ends it.
fn quoted(text: &str) -> String {
    let text = plain(text)
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{text}\"")
}

/// A row for each minute.
fn csv(network: &Network, outcome: &Outcome) -> String {
    let mut text =
        String::from("minute,wanted,connected,published,delivered,failed,bad_user_s,p50_s,p95_s,p99_s");
    for station in &network.stations {
        let name = field(&station.name);
        let _ = write!(text, ",{name}.busy,{name}.waiting,{name}.machines");
    }
    text.push('\n');
    for (at, minute) in outcome.minutes.iter().enumerate() {
        let [p50, p95, p99] = minute.latency_s;
        let _ = write!(
            text,
            "{at},{},{},{},{},{},{},{p50},{p95},{p99}",
            minute.wanted, minute.connected, minute.published, minute.delivered, minute.failed, minute.bad_s
        );
        for station in 0..network.stations.len() {
            let at = |of: &[f32]| of.get(station).copied().unwrap_or(0.0);
            let machines = minute.machines.get(station).copied().unwrap_or(0);
            let _ = write!(text, ",{},{},{machines}", at(&minute.busy), at(&minute.waiting));
        }
        text.push('\n');
    }
    text
}

/// A name as a part of a column's: without what separates, quotes or begins a formula.
fn field(name: &str) -> String {
    name.chars()
        .map(
            |char| match char.is_ascii_alphanumeric() || "-_. ".contains(char) {
                true => char,
                false => '_',
            },
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_does_not_leave_its_quotes() {
        assert_eq!(quoted("a\"]; b\\\n"), "\"a\\\"]; b\\\\\\n\"");
    }

    #[test]
    fn a_column_is_one_column() {
        assert_eq!(field("=ws,\"1\"\n"), "_ws__1__");
    }
}

//! `tidegate plan export`: a plan in the forms of other tools.
//!
//! ```text
//!   plan ──────────────► dot          a picture of the topology
//!   first run ─────────► csv          its minutes
//!   plan + first run ──► needs ─┬───► tidegate     limits of the server
//!                               ├───► compose      the topology on one machine
//!                               ├───► kubernetes   the topology in a cluster
//!                               ├───► alerts       when reality leaves the plan
//!                               └───► load         the same traffic, from `tidegate load`
//! ```
//!
//! What a run says of one machine of `ws` is put together once, in `needs`; each form has a file of its own and
//! only words it. All of them are drafts for a person to read: whatever was computed says from what.

mod alerts;
mod compose;
mod csv;
mod dot;
mod kubernetes;
mod load;
mod needs;
mod tidegate;
mod yaml;

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tidegate_plan::judge::Judge;

use self::needs::Needs;
use super::{
    Ending, Unanswered, show,
    source::{Ready, Source},
    trial::Asked,
};

#[derive(Args)]
#[command(after_help = "Examples:
  tidegate plan export plan.toml --json | jq .plan.topology
  tidegate plan export plan.toml --dot | dot -Tsvg > topology.svg
  tidegate plan export plan.toml --csv > minutes.csv
  tidegate plan export plan.toml --tidegate > tidegate.toml
  tidegate plan export plan.toml --kubernetes > tidegate.yaml
  tidegate plan export plan.toml --load-script --scale 0.1 > load.sh")]
pub struct Arguments {
    /// The plan; `-` is standard input.
    file: PathBuf,
    #[command(flatten)]
    form: Form,
    /// With `--load-script`: the share of the users it stands for, 0.001 to 1; as many as one machine can open if absent.
    #[arg(long, value_name = "SHARE", value_parser = scale)]
    scale: Option<f64>,
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
    /// A configuration of the server (`tidegate.toml`): limits, drain and namespaces, each with what it was computed from.
    #[arg(long)]
    tidegate: bool,
    /// A Compose file of the topology, for one machine.
    #[arg(long)]
    compose: bool,
    /// Kubernetes manifests of the topology.
    #[arg(long)]
    kubernetes: bool,
    /// Alert rules for Prometheus: where reality leaves the plan, or comes near what the design bears.
    #[arg(long)]
    alerts: bool,
    /// A shell script that puts the same traffic on a server with `tidegate load`.
    #[arg(long)]
    load_script: bool,
}

fn scale(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(scale) if (0.001..=1.0).contains(&scale) => Ok(scale),
        _ => Err("a number from 0.001 to 1".to_owned()),
    }
}

pub fn run(arguments: &Arguments) -> Result<Ending, Unanswered> {
    let Ready {
        source,
        plan,
        network,
    } = Source::read(&arguments.file)?.ready()?;
    let form = &arguments.form;
    if arguments.scale.is_some() && !form.load_script {
        // Clap lets it pass: the form that is there excludes the one that it would require.
        return Err(Unanswered(
            "tidegate plan: `--scale` is for `--load-script` only".to_owned(),
        ));
    }
    let text = if form.json {
        format!("{:#}\n", json!({"version": 1, "plan": plan, "network": network}))
    } else if form.dot {
        dot::dot(&plan)
    } else {
        let effort = arguments.effort.effort();
        let outcome = Judge::of(&plan, network.clone(), &effort).replicate(0);
        if form.csv {
            csv::csv(&network, &outcome)
        } else {
            let needs = Needs::of(&plan, &network, &outcome)
                .map_err(|why| Unanswered(format!("tidegate plan: {}: {why}", source.name)))?;
            let made = match () {
                () if form.tidegate => tidegate::tidegate(&needs, tidegate::Place::Here),
                () if form.compose => compose::compose(&needs)
                    .map_err(|why| Unanswered(format!("tidegate plan: {}: {why}", source.name)))?,
                () if form.kubernetes => kubernetes::kubernetes(&needs),
                () if form.alerts => alerts::alerts(&needs),
                () => load::load(&needs, arguments.scale),
            };
            format!("{}{made}", needs.header(form_name(form)))
        }
    };
    show(&text)?;
    Ok(Ending::Good)
}

/// The option that asks for a form which begins with a header.
fn form_name(form: &Form) -> &'static str {
    match () {
        () if form.tidegate => "tidegate",
        () if form.compose => "compose",
        () if form.kubernetes => "kubernetes",
        () if form.alerts => "alerts",
        () => "load-script",
    }
}

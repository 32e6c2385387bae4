//! What the rules find in a plan: each finding with its evidence, the nodes it is about and a way out.

use serde::{Deserialize, Serialize};
use tidegate_plan::{
    file,
    lint::{Finding, Given, lint},
};

use crate::Failed;

/// What is to be looked at.
#[derive(Debug, Deserialize)]
pub struct Asked {
    text: String,
    /// `2026-07-20`: without it nothing is said of the age of prices.
    today: Option<String>,
    /// Whether pairs of runs are made for the rules that need them: those take half a second.
    #[serde(default = "yes")]
    with_pairs: bool,
}

fn yes() -> bool {
    true
}

/// What was found, the gravest first.
#[derive(Debug, Serialize)]
pub struct Linted {
    findings: Vec<Finding>,
}

/// Looks.
pub fn look(asked: &Asked) -> Result<Linted, Failed> {
    let plan = file::parse(&asked.text).map_err(Failed::of_file)?;
    let given = Given {
        book: None,
        today: asked.today.as_deref(),
        with_pairs: asked.with_pairs,
    };
    let findings = lint(&plan, &given).map_err(|error| Failed::of(error.to_string()))?;
    Ok(Linted { findings })
}

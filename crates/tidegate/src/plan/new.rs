//! `tidegate plan new`: a file to begin with.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write},
    path::PathBuf,
};

use clap::Args;
use tidegate_plan::file;

use super::{Ending, Unanswered, library, show};

#[derive(Args)]
#[command(after_help = "Examples:
  tidegate plan new --list
  tidegate plan new plan.toml
  tidegate plan new --scenario websocket-scaling-match game.toml")]
pub struct Arguments {
    /// Begin with a scenario of the library in place of the template; `NAME.holds` is the design that holds.
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// List the scenarios.
    #[arg(long, conflicts_with_all = ["scenario", "file"])]
    list: bool,
    /// The file to write; what is there already is never overwritten. `-` prints it.
    #[arg(default_value = "plan.toml")]
    file: PathBuf,
}

pub fn run(arguments: &Arguments) -> Result<Ending, Unanswered> {
    if arguments.list {
        show(&list())?;
        return Ok(Ending::Good);
    }
    let text = match &arguments.scenario {
        None => file::TEMPLATE.to_owned(),
        Some(name) => library::text(name).ok_or_else(|| {
            format!(
                "tidegate plan: there is no scenario {name:?}; there are\n{}",
                list()
            )
        })?,
    };
    if arguments.file.as_os_str() == "-" {
        show(&text)?;
        return Ok(Ending::Good);
    }
    let path = arguments.file.display();
    // Whether it is there is asked and answered in one step.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&arguments.file)
        .map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => {
                format!("tidegate plan: {path} is there already; name another file, or move it away")
            }
            _ => format!("tidegate plan: cannot write {path}: {error}"),
        })?;
    file.write_all(text.as_bytes())
        .map_err(|error| format!("tidegate plan: cannot write {path}: {error}"))?;
    show(&format!(
        "{path}: written; next: `tidegate plan run {path}`, or `tidegate plan open {path}`\n"
    ))?;
    Ok(Ending::Good)
}

fn list() -> String {
    library::names()
        .iter()
        .filter(|name| !name.ends_with(".holds"))
        .map(|name| format!("  {name:<26}{}\n", library::title(name).unwrap_or_default()))
        .chain(["each with a design that holds beside it: NAME.holds\n".to_owned()])
        .collect()
}

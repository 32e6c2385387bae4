//! `tidegate config`: check, example, schema.

use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Subcommand;
use tidegate_server::config::{self, Config, ConfigErrors, Paint};

use crate::log;

#[derive(Subcommand)]
pub enum Command {
    /// Read a configuration and tell every mistake in it.
    Check {
        /// The file.
        #[arg(default_value = "tidegate.toml")]
        file: PathBuf,
    },
    /// Print a complete configuration: every key with its default, bounds and meaning.
    Example,
    /// Print a JSON Schema of the configuration, for editors.
    Schema,
}

pub fn run(command: &Command) -> ExitCode {
    match command {
        Command::Check { file } => check(file),
        Command::Example => print(&config::example()),
        Command::Schema => print(&format!("{:#}\n", config::schema())),
    }
}

fn check(file: &Path) -> ExitCode {
    match Config::load(file) {
        Ok(config) => print(&format!("{}: good\n{}", file.display(), summary(&config))),
        Err(errors) => {
            report(&errors);
            ExitCode::FAILURE
        }
    }
}

/// What the file comes to, where that may surprise.
fn summary(config: &Config) -> String {
    let names: Vec<&str> = config
        .namespaces
        .iter()
        .map(|policy| policy.namespace.as_str())
        .collect();
    let clients = match config.is_development() {
        true => "no keys: development mode, everyone on this machine gets in",
        false => "with a token",
    };
    let api = match (config.is_development(), config.api_keys.is_empty()) {
        (true, true) => "development mode: open".to_owned(),
        (false, true) => "no `[[api.keys]]`: closed to everyone".to_owned(),
        (_, false) => {
            let names: Vec<&str> = config.api_keys.iter().map(|key| key.name.as_str()).collect();
            format!("with a key: {}", names.join(", "))
        }
    };
    let rows = [
        ("listens on", config.listen.to_string()),
        ("clients", clients.to_owned()),
        ("HTTP API", api),
        ("namespaces", names.join(", ")),
    ];
    rows.map(|(name, value)| format!("  {name:<12}{value}\n"))
        .concat()
}

/// Tells all that is wrong with a configuration.
pub fn report(errors: &ConfigErrors) {
    let paint = match io::stderr().is_terminal() && log::has_colours() {
        true => Paint::Colours,
        false => Paint::Plain,
    };
    complain(&errors.render(paint));
}

/// Prints an answer; that nobody reads it is no error of ours (`tidegate config example | head`).
pub fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format!("tidegate: cannot write the answer: {error}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Says what went wrong. Where even that cannot be written, the exit code has to do.
pub fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

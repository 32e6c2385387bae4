//! Where logs go and how they look: readable on a terminal, JSON otherwise.

use std::io::{self, IsTerminal};

use clap::{Args, ValueEnum};
use tracing_subscriber::{EnvFilter, fmt};

/// What is logged, and how.
#[derive(Debug, Args)]
pub struct Options {
    /// What to log: `error`, `warn`, `info`, `debug`, `trace`, or per module, `info,tidegate_server::acceptor=debug`.
    #[arg(
        long,
        value_name = "FILTER",
        env = "TIDEGATE_LOG",
        default_value = "info,fjall=warn,lsm_tree=warn"
    )]
    log: String,
    /// How to write logs; `auto` is text on a terminal, JSON otherwise.
    #[arg(long, value_name = "FORMAT", env = "TIDEGATE_LOG_FORMAT", value_enum, default_value_t = Format::Auto)]
    log_format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Auto,
    Text,
    Json,
}

/// Starts logging to standard error; the error is a sentence.
pub fn start(options: &Options) -> Result<(), String> {
    let filter = EnvFilter::try_new(&options.log).map_err(|error| {
        format!(
            "the log filter {:?} cannot be read: {error}; try `info`",
            options.log
        )
    })?;
    let is_terminal = io::stderr().is_terminal();
    let is_text = match options.log_format {
        Format::Auto => is_terminal,
        Format::Text => true,
        Format::Json => false,
    };
    let logs = fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // A log that cannot be written must not end the server: the fallback would panic.
        .log_internal_errors(false);
    match is_text {
        true => logs
            .with_ansi(is_terminal && has_colours())
            .with_target(false)
            .init(),
        false => logs.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Whether colours are wanted on a terminal (<https://no-color.org>).
pub fn has_colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

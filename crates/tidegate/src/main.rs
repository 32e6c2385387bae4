//! The command line: `serve`, `drain`, `rebalance`, `load`, `token`, `config`, `plan`.
//!
//! Each command has a file of its own; this one only finds the right one. Every error
//! ends here, in words, with the way out where there is one.

mod configure;
mod log;
mod operate;
mod plan;
mod serve;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A self-hosted real-time server: rooms over WebSocket, durable by default.
#[derive(Parser)]
#[command(
    name = "tidegate",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the server.
    Serve(serve::Arguments),
    /// Send a server's clients away at their slots, and end it: the same as SIGTERM.
    Drain(operate::Drain),
    /// Send a share of a server's clients away at their slots, to where its address leads them.
    Rebalance(operate::Rebalance),
    /// Measure a server under load, or serve the floor to compare with.
    Load(tidegate_load::Args),
    /// Make a token that lets a client in.
    Token(token::Arguments),
    /// Check a configuration, or print an example or its schema.
    #[command(subcommand, arg_required_else_help = true)]
    Config(configure::Command),
    /// Plan capacity: will it hold, for this traffic and this money?
    #[command(subcommand, arg_required_else_help = true)]
    Plan(plan::Command),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Drain(arguments) => operate::drain(&arguments),
        Command::Rebalance(arguments) => operate::rebalance(&arguments),
        Command::Load(arguments) => tidegate_load::run(arguments),
        Command::Token(arguments) => token::run(&arguments),
        Command::Config(command) => configure::run(&command),
        Command::Plan(command) => plan::run(&command),
    }
}

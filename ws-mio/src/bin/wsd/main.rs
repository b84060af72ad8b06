//! The `wsd` program: WebSocket servers on event loops. For Unix.

#![forbid(unsafe_code)]

mod echo;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// WebSocket servers on event loops.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve, and send every message back.
    Echo(echo::Echo),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Echo(echo) => echo.run(),
    }
}

//! The `wsd` program: WebSocket servers on one event loop. For Unix.

#![forbid(unsafe_code)]

mod echo;
mod peer;
mod server;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// WebSocket servers on one event loop.
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

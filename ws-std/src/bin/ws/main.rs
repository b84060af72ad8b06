//! The `ws` program: WebSocket on the command line.

#![forbid(unsafe_code)]

mod echo;
mod send;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// WebSocket on the command line.
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
    /// Send messages, and print a reply to each.
    Send(send::Send),
}

fn main() -> ExitCode {
    // A usage error ends the program with status 2, which is clap's own choice, too.
    match Arguments::parse().command {
        Command::Echo(echo) => echo.run(),
        Command::Send(send) => send.run(),
    }
}

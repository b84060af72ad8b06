//! `ws echo`: a server that sends every message back.

use std::{
    io::{self, Write},
    process::ExitCode,
    thread,
    time::Duration,
};

use clap::Args;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use ws_std::{Config, Handle, Limit, Server};

#[derive(Args)]
pub(crate) struct Echo {
    /// Address to listen on; port 0 is any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8765")]
    listen: String,
    /// Longest message, in bytes
    #[arg(long, value_name = "N", default_value_t = 1 << 20)]
    max_message: u64,
    /// Most fragments of a message
    #[arg(long, value_name = "N", default_value_t = 4096)]
    max_fragments: u64,
    /// Receive buffer of each connection, in bytes
    #[arg(long, value_name = "N", default_value_t = 64 << 10,
        value_parser = clap::value_parser!(u32).range(256..=64 << 20))]
    receive_buffer: u32,
    /// Subprotocol to support; the one named first is preferred
    #[arg(long = "subprotocol", value_name = "NAME")]
    subprotocols: Vec<String>,
}

impl Echo {
    pub(crate) fn run(self) -> ExitCode {
        match self.serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("ws: {}: {error}", self.listen);
                ExitCode::from(3)
            }
        }
    }

    fn serve(&self) -> io::Result<()> {
        let mut config = Config::new();
        config.limits.max_message = Limit::At(self.max_message);
        config.limits.max_fragments = Limit::At(self.max_fragments);
        let mut server = Server::bind(&self.listen)?
            .config(config)
            .receive_buffer(usize::try_from(self.receive_buffer).unwrap_or(usize::MAX));
        for name in &self.subprotocols {
            server = server.subprotocol(name);
        }
        end_on_signals(server.handle())?;
        let mut stdout = io::stdout();
        writeln!(stdout, "listening on ws://{}/", server.local_addr()?)?;
        stdout.flush()?;
        server.serve(|socket| {
            socket.for_each(|message, reply| reply.send(message))?;
            Ok(())
        })
    }
}

/// The first signal shuts down in order, the second at once.
fn end_on_signals(handle: Handle) -> io::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(30);
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new()
        .name("ws signals".to_owned())
        .spawn(move || {
            let mut signals = signals.forever();
            if signals.next().is_none() {
                return;
            }
            let shutdown = thread::spawn(move || handle.shutdown(PATIENCE));
            if signals.next().is_some() && !shutdown.is_finished() {
                std::process::exit(130);
            }
        })?;
    Ok(())
}

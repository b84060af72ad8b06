//! `wsd echo`: a server that sends every message back.

use std::{
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
};

use clap::Args;
use mio::net::TcpListener;
use ws_mio::Config;
use ws_proto::Limit;

use crate::server::Server;

#[derive(Args)]
pub(crate) struct Echo {
    /// Address to listen on; port 0 is any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8765")]
    listen: SocketAddr,
    /// Longest message, in bytes
    #[arg(long, value_name = "N", default_value_t = 1 << 20)]
    max_message: u64,
    /// Most fragments of a message
    #[arg(long, value_name = "N", default_value_t = 4096)]
    max_fragments: u64,
}

impl Echo {
    pub(crate) fn run(self) -> ExitCode {
        match self.serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("wsd: {}: {error}", self.listen);
                ExitCode::from(3)
            }
        }
    }

    fn serve(&self) -> io::Result<()> {
        let mut config = Config::new();
        config.limits.max_message = Limit::At(self.max_message);
        config.limits.max_fragments = Limit::At(self.max_fragments);
        let listener = TcpListener::bind(self.listen)?;
        let address = listener.local_addr()?;
        // One configuration for as long as the program runs.
        let server = Server::new(listener, Box::leak(Box::new(config)))?;
        let mut stdout = io::stdout();
        writeln!(stdout, "listening on ws://{address}/")?;
        stdout.flush()?;
        server.run()
    }
}

//! `wsd echo`: a server that sends every message back, on every path.

use std::{
    io::{self, Write},
    net::SocketAddr,
    os::unix::net::UnixStream,
    process::ExitCode,
};

use clap::Args;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    low_level::pipe,
};
use ws_mio::{
    Chunk, Config, Context, Decision, Delivery, Limit, Listener, Message, Request, Server, Session,
    Shutdown, accept_with,
};

#[derive(Args)]
pub(crate) struct Echo {
    /// Address to listen on; port 0 is any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8765")]
    listen: SocketAddr,
    /// Share the port with other processes
    #[arg(long)]
    reuse_port: bool,
    /// Event loops, each on a thread of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    loops: u16,
    /// Send parts of long messages back as they come, in constant memory
    #[arg(long)]
    stream: bool,
    /// Longest message, in bytes
    #[arg(long, value_name = "N", default_value_t = 1 << 20)]
    max_message: u64,
    /// Most fragments of a message
    #[arg(long, value_name = "N", default_value_t = 4096)]
    max_fragments: u64,
    /// Subprotocol to support; the one named first is preferred
    #[arg(long = "subprotocol", value_name = "NAME")]
    subprotocols: Vec<String>,
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
        let listener = match self.reuse_port {
            true => Listener::shared_tcp(self.listen)?,
            false => Listener::tcp(self.listen)?,
        };
        let address = listener.local_addr().unwrap_or(self.listen);
        let server = Server::new([listener])?
            .loops(self.loops)?
            .config(config)
            .shutdown_by(signals()?, Shutdown::new())?;
        let mut stdout = io::stdout();
        writeln!(stdout, "listening on ws://{address}/")?;
        stdout.flush()?;

        // As long as the program.
        let subprotocols: Vec<&'static str> = self
            .subprotocols
            .iter()
            .map(|name| &*name.clone().leak())
            .collect();
        let agree = move |request: &Request<'_, '_>| request.choose(&subprotocols);
        match self.stream {
            true => server.run(accept_with(move |request, _| {
                Decision::accept(Stream).subprotocol(agree(request))
            }))?,
            false => server.run(accept_with(move |request, _| {
                Decision::accept(Whole).subprotocol(agree(request))
            }))?,
        };
        Ok(())
    }
}

/// A stream that gets a byte for each signal.
fn signals() -> io::Result<UnixStream> {
    let (signals, sink) = UnixStream::pair()?;
    pipe::register(SIGINT, sink.try_clone()?)?;
    pipe::register(SIGTERM, sink)?;
    Ok(signals)
}

/// Echoes whole messages.
struct Whole;

/// Echoes messages as they come.
struct Stream;

impl Session for Whole {
    fn message(&mut self, message: Message<'_>, cx: &mut Context<'_>) {
        echo(message, cx);
    }
}

impl Session for Stream {
    fn delivery(&self) -> Delivery {
        Delivery::Chunks
    }

    fn message(&mut self, message: Message<'_>, cx: &mut Context<'_>) {
        echo(message, cx);
    }

    fn chunk(&mut self, chunk: Chunk<'_>, cx: &mut Context<'_>) {
        _ = cx.send_chunk(chunk);
    }
}

/// What was sent after our Close was not to be echoed, and a peer that does not take its echoes is
/// not read from: what a send says needs no answer.
fn echo(message: Message<'_>, cx: &mut Context<'_>) {
    _ = match message {
        Message::Text(text) => cx.send_text(text),
        Message::Binary(bytes) => cx.send_binary(bytes),
    };
}

//! The rim of the peers' echo servers: their command line, their listener and their one loop, so
//! that they differ in nothing but the peer.

use std::{
    env,
    io::{self, Write as _},
    net::SocketAddr,
    str::FromStr,
};

use tokio::net::{TcpListener, TcpStream};

/// What every echo server is told: `[--listen ADDR] [--max-message BYTES]`.
#[derive(Clone, Copy, Debug)]
pub struct Arguments {
    /// Where to listen. By default a free port of the loopback, which the first line tells.
    pub listen: SocketAddr,
    /// The largest message that the server takes; each peer's limits are set to it.
    pub max_message: usize,
}

impl Arguments {
    /// Those of this process.
    ///
    /// # Errors
    ///
    /// An unknown argument, one without its value, or a value that is no such thing.
    pub fn from_env() -> io::Result<Self> {
        let mut parsed = Self::default();
        let mut arguments = env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments.next();
            match name.as_str() {
                "--listen" => parsed.listen = parse(&name, value)?,
                "--max-message" => parsed.max_message = parse(&name, value)?,
                _ => return Err(invalid(format!("unknown argument {name}"))),
            }
        }
        Ok(parsed)
    }
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            // The peers' own defaults lie between 16 KiB and 64 MiB; a benchmark wants one.
            max_message: 16 << 20,
        }
    }
}

/// Tells that the server listens, as the generators await it: the first line, at once.
///
/// # Errors
///
/// Those of standard output.
pub fn announce(address: SocketAddr) -> io::Result<()> {
    println!("listening on ws://{address}/");
    io::stdout().flush()
}

/// Serves each connection with a task of `echo`, all of them on this one thread, for ever.
///
/// # Errors
///
/// Those of the runtime and the listener. How a connection ends is nobody's concern.
pub fn serve<F>(listen: SocketAddr, echo: impl Fn(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output: Send> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await?;
        announce(listener.local_addr()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(echo(stream));
        }
    })
}

fn parse<T: FromStr>(name: &str, value: Option<String>) -> io::Result<T> {
    value
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| invalid(format!("{name} wants a value")))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

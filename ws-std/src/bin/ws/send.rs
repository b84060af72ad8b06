//! `ws send`: messages from the command line, replies to standard output.

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args;
use ws_std::{
    Client, CloseCode, Closed, Config, Error, Limit, Message, MessageRef, Stage, Stream, Timeout,
    Violation, WebSocket, escape,
};

#[derive(Args)]
pub(crate) struct Send {
    /// Send binary messages
    #[arg(short, long)]
    binary: bool,
    /// Send this header, too
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Offer this subprotocol; the one named first is preferred
    #[arg(short, long = "subprotocol", value_name = "NAME")]
    subprotocols: Vec<String>,
    /// When all replies are there, print what still comes for so long
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds)]
    wait: Option<Duration>,
    /// Wait so long for the connection, for each reply, and for the close
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    timeout: Duration,
    /// Longest message to receive, in bytes
    #[arg(long, value_name = "N", default_value_t = 1 << 20)]
    max_message: u64,
    /// Show the handshake and the close on standard error
    #[arg(short, long)]
    verbose: bool,
    /// Print replies as they are: neither escaped nor as hexadecimal digits
    #[arg(long)]
    raw: bool,
    /// Where to: ws://host:port/path
    url: String,
    /// What to send, each as one message
    #[arg(value_name = "MESSAGE", required = true)]
    messages: Vec<OsString>,
}

/// How a conversation ended.
enum End {
    Closed(Closed),
    /// Before all replies were there.
    Unanswered(Closed),
}

impl Send {
    pub(crate) fn run(self) -> ExitCode {
        if !self.binary
            && self
                .messages
                .iter()
                .any(|message| message.to_str().is_none())
        {
            eprintln!("ws: a text message is UTF-8; -b sends any bytes");
            return ExitCode::from(USAGE);
        }
        let outcome = self
            .connect()
            .and_then(|mut socket| self.converse(&mut socket));
        match outcome {
            Ok(End::Closed(closed)) | Err(Error::Closed(closed)) => self.report(&closed),
            Ok(End::Unanswered(closed)) => {
                eprintln!("ws: closed before a reply");
                self.report(&closed)
            }
            Err(error) => complain(&error),
        }
    }

    fn connect(&self) -> Result<WebSocket<Stream>, Error> {
        let mut config = Config::new();
        config.limits.max_message = Limit::At(self.max_message);
        config.timeouts.close =
            Timeout::Ms(u32::try_from(self.timeout.as_millis()).unwrap_or(u32::MAX));
        let mut client = Client::new().config(config).connect_timeout(self.timeout);
        for (name, value) in &self.headers {
            client = client.header(name, value);
        }
        for name in &self.subprotocols {
            client = client.subprotocol(name);
        }
        if self.verbose {
            client = client.on_head_line(|line| eprintln!("{line}"));
        }
        client.connect(&self.url).map_err(|error| match error {
            // There is no connection yet that could fail.
            Error::Io(error) => Error::Connect(error),
            error => error,
        })
    }

    fn converse(&self, socket: &mut WebSocket<Stream>) -> Result<End, Error> {
        for message in &self.messages {
            let sent = match message.to_str() {
                Some(text) if !self.binary => socket.send_text(text),
                _ => socket.send_binary(message.as_encoded_bytes()),
            };
            match sent {
                // What the peer said before it went tells more.
                Ok(()) | Err(Error::Closing | Error::Io(_)) => {}
                Err(error) => return Err(error),
            }
            match socket.recv_timeout(self.timeout) {
                Ok(Some(reply)) => self.print(&reply)?,
                Ok(None) => {
                    sent?;
                    return Err(Error::Timeout(Stage::Receive));
                }
                Err(Error::Closed(closed)) => return Ok(End::Unanswered(closed)),
                Err(error) => return Err(error),
            }
        }
        if let Some(wait) = self.wait {
            let end = Instant::now().checked_add(wait);
            let left = || {
                end.map_or(Duration::MAX, |end| {
                    end.saturating_duration_since(Instant::now())
                })
            };
            while let Some(reply) = socket.recv_timeout(left())? {
                self.print(&reply)?;
            }
        }
        match socket.close(CloseCode::NORMAL, "") {
            Ok(()) | Err(Error::Closing) => socket.wait_closed().map(End::Closed),
            Err(error) => Err(error),
        }
    }

    fn print(&self, message: &Message) -> Result<(), Error> {
        let mut line = Vec::new();
        match MessageRef::from(message) {
            MessageRef::Text(text) if self.raw => line.extend_from_slice(text.as_bytes()),
            MessageRef::Text(text) => line.extend_from_slice(escape(text).as_bytes()),
            MessageRef::Binary(bytes) if self.raw => line.extend_from_slice(bytes),
            MessageRef::Binary(bytes) => {
                for byte in bytes {
                    let _ = write!(line, "{byte:02x}");
                }
            }
        }
        if !self.raw || matches!(message, Message::Text(_)) {
            line.push(b'\n');
        }
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(&line)
            .and_then(|()| stdout.flush())
            .map_err(Error::other)
    }

    /// Shows how the connection was closed, and makes it an exit code.
    fn report(&self, closed: &Closed) -> ExitCode {
        let is_ordinary = matches!(closed.code, CloseCode::NORMAL | CloseCode::GOING_AWAY);
        if self.verbose || !is_ordinary {
            eprintln!("close {} \"{}\"", closed.code, escape(&closed.reason));
        }
        if is_ordinary {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(1)
        }
    }
}

/// Says on standard error what went wrong, and makes it an exit code.
fn complain(error: &Error) -> ExitCode {
    eprintln!("ws: {error}");
    if let Error::Rejected(rejection) = error {
        let body = String::from_utf8_lossy(&rejection.body);
        for line in body.lines() {
            eprintln!("{}", escape(line));
        }
    }
    ExitCode::from(match error {
        Error::Uri(_) | Error::Request(_) | Error::Misuse(_) => USAGE,
        Error::Resolve(_) | Error::Connect(_) => 3,
        Error::Tls => 4,
        Error::Rejected(_) => 5,
        Error::Timeout(_) | Error::Violation(Violation::PingTimeout | Violation::IdleTimeout) => 6,
        Error::Violation(_) | Error::Response(_) | Error::NoResponse | Error::Truncated => 7,
        _ => 1,
    })
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a header is NAME: VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    if seconds > MOST_SECONDS {
        return Err(format!("more than {MOST_SECONDS} seconds"));
    }
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// The exit code of a usage error: clap's.
const USAGE: u8 = 2;
/// Over thirty years.
const MOST_SECONDS: f64 = 1e9;

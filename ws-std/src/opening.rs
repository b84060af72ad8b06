//! What an opening handshake said, kept for the life of the connection: [`Opening`], [`Headers`].

use std::{
    fmt,
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
    str,
    time::{Duration, Instant},
};

use ws_proto::handshake;

use crate::{
    buffer::{Inbox, is_timeout},
    error::{Error, Stage},
    log,
    transport::Transport,
};

/// The headers of a request or response, in their order. `Debug` shows no secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    headers: Vec<(Box<str>, Box<[u8]>)>,
}

impl Headers {
    /// Appends a header. Whether it may be sent is judged when it is.
    pub fn push(&mut self, name: impl Into<Box<str>>, value: impl Into<Vec<u8>>) {
        self.headers
            .push((name.into(), value.into().into_boxed_slice()));
    }

    /// The value of the first header of this name, case aside.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// The value of the first header of this name, if it is text.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        str::from_utf8(self.get(name)?).ok()
    }

    /// The values of all headers of this name, case aside.
    pub fn get_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(move |(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// All headers: names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The headers as the handshake takes them.
    pub(crate) fn views(&self) -> Vec<handshake::Header<'_>> {
        self.iter()
            .map(|(name, value)| handshake::Header { name, value })
            .collect()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What holds these is printed in panics and logs.
        let lines = self.iter().map(|(name, value)| {
            log::head_line(&format!("{name}: {}", String::from_utf8_lossy(value)))
        });
        f.debug_list().entries(lines).finish()
    }
}

impl From<handshake::Headers<'_, '_>> for Headers {
    fn from(headers: handshake::Headers<'_, '_>) -> Self {
        let mut owned = Self::default();
        for header in headers {
            owned.push(header.name, header.value);
        }
        owned
    }
}

/// What a client asks for, as a server sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) headers: Headers,
    pub(crate) subprotocols: Vec<String>,
    pub(crate) peer: Option<SocketAddr>,
}

impl Request {
    pub(crate) fn new(request: &handshake::Request<'_, '_>, peer: Option<SocketAddr>) -> Self {
        Self {
            method: request.method().to_owned(),
            target: request.target().to_owned(),
            path: request.path().to_owned(),
            query: request.query().map(str::to_owned),
            headers: request.headers().into(),
            subprotocols: request.subprotocols().map(str::to_owned).collect(),
            peer,
        }
    }

    /// The method: `GET`.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The target as it was sent: path and query, in most cases.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The path, percent-encoded, beginning with `/`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What follows the first `?`, percent-encoded.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The headers.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The subprotocols that the client offers, the one it prefers first.
    pub fn subprotocols(&self) -> impl Iterator<Item = &str> {
        self.subprotocols.iter().map(String::as_str)
    }

    /// The address of the client, or of the last proxy before us.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }
}

/// What the opening handshake of a connection said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    pub(crate) target: String,
    pub(crate) headers: Headers,
    pub(crate) subprotocol: Option<String>,
}

impl Opening {
    /// The request target: path and query.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The path of the target.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The query of the target.
    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// The headers that the peer sent: of the request on a server, of the response on a client.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The subprotocol that was agreed on.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }
}

/// Reads once, behind what is there; 0 at the end of the stream.
pub(crate) fn read_until<S: Transport>(
    stream: &mut S,
    inbox: &mut Inbox,
    deadline: Option<Instant>,
) -> Result<usize, Error> {
    loop {
        stream
            .set_read_timeout(left(deadline)?)
            .map_err(Error::Io)?;
        match Read::read(stream, inbox.free_mut()) {
            Ok(n) => {
                inbox.filled(n);
                return Ok(n);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if is_timeout(&error) => return Err(Error::Timeout(Stage::Handshake)),
            Err(error) => return Err(Error::Io(error)),
        }
    }
}

/// Writes a head within the write timeout.
pub(crate) fn write_all<W: Write>(writer: &mut W, bytes: &[u8]) -> Result<(), Error> {
    match writer.write_all(bytes).and_then(|()| writer.flush()) {
        Ok(()) => Ok(()),
        Err(error) if is_timeout(&error) => Err(Error::Timeout(Stage::Handshake)),
        Err(error) => Err(Error::Io(io::Error::from(error.kind()))),
    }
}

/// What is left of the time for the handshake; `None` is for ever.
pub(crate) fn left(deadline: Option<Instant>) -> Result<Option<Duration>, Error> {
    let Some(deadline) = deadline else {
        return Ok(None);
    };
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Error::Timeout(Stage::Handshake));
    }
    Ok(Some(left.max(SHORTEST)))
}

/// The most headers of a response or request.
pub(crate) const MAX_HEADERS: usize = 100;
/// Operating systems take no timeout of zero.
pub(crate) const SHORTEST: Duration = Duration::from_millis(1);

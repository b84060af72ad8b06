//! [`Error`]: what can go wrong, and whose fault it is.

use std::{error, fmt, io};

use ws_proto::{
    CloseCode, Initiator, Misuse, Violation,
    handshake::{HandshakeMisuse, ResponseError},
    uri::UriError,
};

use crate::opening::Headers;

/// Why a call on a connection, or the attempt to make one, did not do what it says.
///
/// After any of [`Closed`](Error::Closed), [`Violation`](Error::Violation),
/// [`Truncated`](Error::Truncated) and [`Io`](Error::Io) from a `recv`, the connection has ended,
/// and each further call says so again.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The URI is not one.
    Uri(UriError),
    /// The URI is a `wss:` one, and TLS is not built in.
    Tls,
    /// The name of the host has no address, or nobody knows.
    Resolve(io::Error),
    /// No address of the host takes connections; the error is that of the last one tried.
    Connect(io::Error),
    /// It took longer than it may.
    Timeout(Stage),
    /// The server answered the opening handshake with something else than 101.
    Rejected(Box<Rejection>),
    /// What was to be asked for must not be: a header, a subprotocol, the origin.
    Request(HandshakeMisuse),
    /// The response to the opening handshake breaks a rule (RFC 6455 §4.1).
    Response(ResponseError),
    /// The stream ended before the response to the opening handshake did.
    NoResponse,
    /// The connection is closed: by a closing handshake, or with code 1006 because the peer went
    /// without one.
    Closed(Closed),
    /// The peer broke a rule, or was silent for too long, and was told so.
    Violation(Violation),
    /// The stream ended inside a message.
    Truncated,
    /// Our Close was sent: nothing follows it (RFC 6455 §5.5.1).
    Closing,
    /// The call itself is wrong.
    Misuse(Misuse),
    /// The stream failed.
    Io(io::Error),
    /// An error of the application's, on its way through
    /// [`for_each`](crate::WebSocket::for_each). See [`Error::other`].
    Other(Box<dyn error::Error + Send + Sync>),
}

/// What took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Finding an address, and connecting to it.
    Connect,
    /// The opening handshake.
    Handshake,
    /// A message that was waited for. No call of this library says so by itself:
    /// [`recv_timeout`](crate::WebSocket::recv_timeout) returns `None`. It is for those that turn that
    /// into an error.
    Receive,
    /// A write: the peer does not read. From a method that sends it means that nothing was taken,
    /// and that it may be tried again; from any other, that what is queued stays queued.
    Send,
}

/// How a connection ended (RFC 6455 §7.1.4 to 7.1.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The code of the peer's Close frame, [`NO_STATUS`](CloseCode::NO_STATUS) if it had none,
    /// [`ABNORMAL`](CloseCode::ABNORMAL) if there was no Close frame.
    pub code: CloseCode,
    /// The peer's reason, as it was written: escape it before it is shown to anybody.
    pub reason: String,
    /// Who sent the first Close.
    pub initiator: Initiator,
    /// Both ends sent a Close frame.
    pub clean: bool,
}

/// A server's answer that is not an acceptance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The status code.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// The headers, in order.
    pub headers: Headers,
    /// The body, or its beginning: at most 64 KiB.
    pub body: Vec<u8>,
}

impl Error {
    /// Wraps an error of the application's.
    pub fn other(error: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        Self::Other(error.into())
    }

    /// How the connection was closed, if that is what this says.
    pub fn closed(&self) -> Option<&Closed> {
        match self {
            Self::Closed(closed) => Some(closed),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(error) => write!(f, "bad URI: {error}"),
            Self::Tls => f.write_str("wss: needs TLS, which is not built in"),
            Self::Resolve(error) => write!(f, "no address for the host: {error}"),
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::Timeout(Stage::Connect) => f.write_str("connecting took too long"),
            Self::Timeout(Stage::Handshake) => f.write_str("the opening handshake took too long"),
            Self::Timeout(Stage::Receive) => f.write_str("no message came in time"),
            Self::Timeout(Stage::Send) => f.write_str("sending took too long"),
            Self::Rejected(rejection) => rejection.fmt(f),
            Self::Request(misuse) => write!(f, "bad request: {misuse}"),
            Self::Response(error) => write!(f, "bad response: {error}"),
            Self::NoResponse => f.write_str("the stream ended before the response did"),
            Self::Closed(closed) => closed.fmt(f),
            // It broke nothing: it is not there.
            Self::Violation(violation @ (Violation::PingTimeout | Violation::IdleTimeout)) => {
                write!(f, "the peer is silent: {violation}")
            }
            Self::Violation(violation) => write!(f, "the peer broke a rule: {violation}"),
            Self::Truncated => f.write_str("the stream ended inside a message"),
            Self::Closing => f.write_str("the connection is closing"),
            Self::Misuse(misuse) => misuse.fmt(f),
            Self::Io(error) => write!(f, "the stream failed: {error}"),
            Self::Other(error) => error.fmt(f),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Resolve(error) | Self::Connect(error) | Self::Io(error) => Some(error),
            Self::Uri(error) => Some(error),
            Self::Request(misuse) => Some(misuse),
            Self::Response(error) => Some(error),
            Self::Violation(violation) => Some(violation),
            Self::Misuse(misuse) => Some(misuse),
            Self::Other(error) => Some(&**error),
            _ => None,
        }
    }
}

impl From<Misuse> for Error {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "closed with {}", self.code)?;
        if !self.reason.is_empty() {
            // The peer wrote it, and a terminal may read it.
            write!(f, " \"{}\"", self.reason.escape_debug())?;
        }
        Ok(())
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server answered {}", self.status)?;
        if !self.reason.is_empty() {
            write!(f, " {}", self.reason.escape_debug())?;
        }
        Ok(())
    }
}

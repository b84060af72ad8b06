//! State. [`ServerHandshake`]: receives a request and answers it (RFC 6455 §4.2).

use core::{borrow::Borrow, fmt};

use crate::{
    config::{Config, Limits, Timeouts},
    connection::Connection,
    error::Full,
    extension::Extensions,
    frame::Role,
    handshake::{
        Deadline, HandshakeError, HandshakeMisuse, Header,
        accept::Key,
        check_headers,
        head::{find_end, parse_request},
        request::{Request, RequestError, Subprotocol},
        write_decimal, write_headers,
    },
    output::Output,
};

/// A server's side of the opening handshake.
///
/// [`receive`](Self::receive) gives the [`Request`]; one of [`accept`](Self::accept),
/// [`reject`](Self::reject), [`reject_error`](Self::reject_error) and [`respond`](Self::respond)
/// answers it. The request need not be kept for that: a decision may come later, and from
/// elsewhere.
pub struct ServerHandshake {
    deadline: Deadline,
    phase: Phase,
}

enum Phase {
    /// The head is not complete; so much of it was looked at.
    ExpectHead { scanned: usize },
    /// The head was judged.
    ExpectAnswer {
        head_len: usize,
        /// Of a request that may be accepted.
        key: Option<Key>,
        content: Content,
    },
    /// Nothing more is to be done.
    Answered { head_len: usize },
}

/// Whether answers are sent with their bodies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    Sent,
    /// RFC 9110 §9.3.2: "the server MUST NOT send content in the response" to HEAD.
    Omitted,
}

impl ServerHandshake {
    /// A handshake that awaits its request.
    pub const fn new() -> Self {
        Self {
            deadline: Deadline::ExpectTick,
            phase: Phase::ExpectHead { scanned: 0 },
        }
    }

    /// Looks for a request in `input`: all that was received since the handshake began. Gives
    /// `None` when more has to come; present it behind the same bytes.
    ///
    /// The request borrows from `input` and `headers` only. When it was given once it is given
    /// again, parsed anew.
    ///
    /// # Errors
    ///
    /// What cannot be HTTP/1.1, or is larger than `limits` and `headers` allow. Answer with
    /// [`reject_error`](Self::reject_error), then close the transport.
    pub fn receive<'h, 'b>(
        &mut self,
        input: &'b [u8],
        headers: &'h mut [Header<'b>],
        limits: &Limits,
    ) -> Result<Option<Request<'h, 'b>>, RequestError> {
        let Some(head_len) = self.find_head(input, limits)? else {
            return Ok(None);
        };
        let head = input.get(..head_len).unwrap_or_default();
        let (request, key) = Request::judge(parse_request(head, headers)?)?;
        if let Phase::ExpectHead { .. } = self.phase {
            self.phase = Phase::ExpectAnswer {
                head_len,
                key,
                content: if request.method() == "HEAD" {
                    Content::Omitted
                } else {
                    Content::Sent
                },
            };
        }
        Ok(Some(request))
    }

    /// Accepts the request: writes the 101 response, and opens the connection.
    ///
    /// The response has about 130 bytes, and those of the acceptance. The bytes behind
    /// [`head_len`](Self::head_len) in the input are the first frames.
    ///
    /// # Errors
    ///
    /// When the output has too little room, when a header must not be written, or when there is no
    /// request for a WebSocket. Nothing is written then, and what was passed is given back.
    pub fn accept<C: Borrow<Config>>(
        self,
        acceptance: &Acceptance<'_>,
        config: C,
        output: &mut Output<'_>,
    ) -> Result<Connection<C>, Unaccepted<C>> {
        match self.write_acceptance(acceptance, output) {
            Ok(()) => Ok(Connection::established(
                Role::Server,
                Extensions::NONE,
                config,
            )),
            Err(error) => Err(Unaccepted {
                handshake: self,
                config,
                error,
            }),
        }
    }

    /// Refuses the request with a status of 300 to 599. Close the transport when it is written,
    /// after reading what the client still sends: a reset would take the answer away from it.
    ///
    /// `Connection: close` and `Content-Length` are added; with 426 also `Upgrade` and
    /// `Sec-WebSocket-Version` (§4.4). A 401 should have `WWW-Authenticate`, a 3xx `Location`, a 429
    /// or 503 `Retry-After` among its headers.
    ///
    /// # Errors
    ///
    /// When the output has too little room, or when status, headers or body must not be written.
    pub fn reject(
        &mut self,
        status: u16,
        headers: &[Header<'_>],
        body: &[u8],
        output: &mut Output<'_>,
    ) -> Result<(), HandshakeError> {
        if status < 300 {
            return Err(HandshakeMisuse::InvalidStatus.into());
        }
        self.respond(status, headers, body, Persistence::Close, output)
    }

    /// Refuses the request as its error asks for: with the status, what belongs to that, and the
    /// error as text. It takes less than 300 bytes.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Full`].
    pub fn reject_error(
        &mut self,
        error: RequestError,
        output: &mut Output<'_>,
    ) -> Result<(), HandshakeError> {
        const TEXT: Header<'_> = Header {
            name: "Content-Type",
            value: b"text/plain",
        };
        const ALLOW: Header<'_> = Header {
            name: "Allow",
            value: b"GET",
        };
        let headers: &[_] = match error {
            RequestError::MethodNotAllowed => &[TEXT, ALLOW],
            _ => &[TEXT],
        };
        self.reject(error.status(), headers, error.message().as_bytes(), output)
    }

    /// Answers a request of plain HTTP with a status of 200 to 599. `Connection` and
    /// `Content-Length` are added.
    ///
    /// With [`Persistence::KeepAlive`] a new handshake awaits the next request, in the bytes behind
    /// the [`body`](Request::body) of this one.
    ///
    /// # Errors
    ///
    /// As [`reject`](Self::reject).
    pub fn respond(
        &mut self,
        status: u16,
        headers: &[Header<'_>],
        body: &[u8],
        then: Persistence,
        output: &mut Output<'_>,
    ) -> Result<(), HandshakeError> {
        if !(200..=599).contains(&status) {
            return Err(HandshakeMisuse::InvalidStatus.into());
        }
        check_headers(headers, &[])?;
        let may_have_body = !matches!(status, 204 | 304);
        if !may_have_body && !body.is_empty() {
            return Err(HandshakeMisuse::UnexpectedBody.into());
        }
        let sent = if self.content() == Content::Sent {
            body
        } else {
            b""
        };
        output.atomically(|output| {
            write_status_line(output, status)?;
            write_connection(output, status, then)?;
            if may_have_body {
                output.append_all(&[b"Content-Length: "])?;
                write_decimal(output, body.len() as u64)?;
                output.append_all(&[b"\r\n"])?;
            }
            write_headers(output, headers)?;
            output.append_all(&[b"\r\n", sent])
        })?;
        self.phase = Phase::Answered {
            head_len: self.head_len(),
        };
        self.deadline = Deadline::Never;
        Ok(())
    }

    /// Tells the time, in milliseconds of any monotonic clock. The first call starts the deadline,
    /// [`Timeouts::handshake`], which then holds until the request is answered, whatever is
    /// received.
    ///
    /// Gives [`RequestError::Timeout`] once, when it has passed.
    pub fn handle_timeout(&mut self, now_ms: u64, timeouts: &Timeouts) -> Option<RequestError> {
        let over = self.deadline.tick(now_ms, timeouts.handshake);
        over.then_some(RequestError::Timeout)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next, on its clock; at once if
    /// that is past, never if it is `None`.
    pub fn next_timeout(&self) -> Option<u64> {
        self.deadline.next()
    }

    /// How many bytes of the input are the head of the request; 0 as long as it is not complete.
    pub fn head_len(&self) -> usize {
        match self.phase {
            Phase::ExpectHead { .. } => 0,
            Phase::ExpectAnswer { head_len, .. } | Phase::Answered { head_len } => head_len,
        }
    }

    fn find_head(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, RequestError> {
        let Phase::ExpectHead { scanned } = &mut self.phase else {
            return Ok(Some(self.head_len()));
        };
        let end = find_end(input, *scanned, limits.max_start_line, limits.max_head)?;
        if end.is_none() {
            *scanned = input.len();
        }
        Ok(end)
    }

    fn write_acceptance(
        &self,
        acceptance: &Acceptance<'_>,
        output: &mut Output<'_>,
    ) -> Result<(), HandshakeError> {
        let Phase::ExpectAnswer { key: Some(key), .. } = &self.phase else {
            return Err(HandshakeMisuse::NothingToAccept.into());
        };
        check_headers(acceptance.headers, &[])?;
        output.atomically(|output| {
            output.append_all(&[SWITCHING_PROTOCOLS, &key.accept(), b"\r\n"])?;
            if let Some(subprotocol) = acceptance.subprotocol {
                let name = subprotocol.as_str().as_bytes();
                output.append_all(&[b"Sec-WebSocket-Protocol: ", name, b"\r\n"])?;
            }
            write_headers(output, acceptance.headers)?;
            output.append_all(&[b"\r\n"])
        })?;
        Ok(())
    }

    fn content(&self) -> Content {
        match self.phase {
            Phase::ExpectAnswer { content, .. } => content,
            _ => Content::Sent,
        }
    }
}

impl Default for ServerHandshake {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ServerHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandshake")
            .field("head_len", &self.head_len())
            .finish_non_exhaustive()
    }
}

/// With what a request for a WebSocket is accepted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Acceptance<'a> {
    subprotocol: Option<Subprotocol<'a>>,
    headers: &'a [Header<'a>],
}

impl<'a> Acceptance<'a> {
    /// Without a subprotocol or further headers.
    pub const fn new() -> Self {
        Self {
            subprotocol: None,
            headers: &[],
        }
    }

    /// The subprotocol that [`Request::choose`] found, if it found one.
    #[must_use]
    pub const fn subprotocol(mut self, subprotocol: Option<Subprotocol<'a>>) -> Self {
        self.subprotocol = subprotocol;
        self
    }

    /// Further headers, such as `Set-Cookie`. Their names must be tokens, their values have no
    /// control characters; `Upgrade`, `Connection`, `Content-Length`, `Transfer-Encoding` and
    /// `Sec-WebSocket-*` are the handshake's own.
    #[must_use]
    pub const fn headers(mut self, headers: &'a [Header<'a>]) -> Self {
        self.headers = headers;
        self
    }
}

/// What becomes of the transport after an answer of plain HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Persistence {
    /// It is closed.
    Close,
    /// It is kept for another request.
    KeepAlive,
}

/// What [`ServerHandshake::accept`] gives back when it could not write its response.
#[derive(Debug)]
pub struct Unaccepted<C> {
    /// The handshake as it was.
    pub handshake: ServerHandshake,
    /// The configuration.
    pub config: C,
    /// Why nothing was written.
    pub error: HandshakeError,
}

impl<C> fmt::Display for Unaccepted<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<C: fmt::Debug> core::error::Error for Unaccepted<C> {}

impl<C> From<Unaccepted<C>> for HandshakeError {
    fn from(unaccepted: Unaccepted<C>) -> Self {
        unaccepted.error
    }
}

/// RFC 6455 §4.2.2(5), up to the value of `Sec-WebSocket-Accept`. RFC 9110 §8.6: "A server MUST NOT
/// send a Content-Length header field in any response with a status code of 1xx".
const SWITCHING_PROTOCOLS: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: ";

fn write_status_line(output: &mut Output<'_>, status: u16) -> Result<(), Full> {
    output.append_all(&[b"HTTP/1.1 "])?;
    write_decimal(output, u64::from(status))?;
    output.append_all(&[b" ", reason(status), b"\r\n"])
}

fn write_connection(output: &mut Output<'_>, status: u16, then: Persistence) -> Result<(), Full> {
    let connection: &[u8] = match then {
        Persistence::Close => b"close",
        Persistence::KeepAlive => b"keep-alive",
    };
    output.append_all(&[b"Connection: ", connection])?;
    // RFC 6455 §4.4: "the server MUST respond with one or more |Sec-WebSocket-Version| header
    // fields indicating all versions it is capable of understanding."
    output.append_all(&[match status {
        426 => b", Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        _ => b"\r\n",
    }])
}

/// The usual words, for people who read the wire. Machines go by the number.
fn reason(status: u16) -> &'static [u8] {
    match status {
        200 => b"OK",
        201 => b"Created",
        202 => b"Accepted",
        204 => b"No Content",
        301 => b"Moved Permanently",
        302 => b"Found",
        303 => b"See Other",
        304 => b"Not Modified",
        307 => b"Temporary Redirect",
        308 => b"Permanent Redirect",
        400 => b"Bad Request",
        401 => b"Unauthorized",
        403 => b"Forbidden",
        404 => b"Not Found",
        405 => b"Method Not Allowed",
        408 => b"Request Timeout",
        409 => b"Conflict",
        411 => b"Length Required",
        413 => b"Content Too Large",
        414 => b"URI Too Long",
        415 => b"Unsupported Media Type",
        426 => b"Upgrade Required",
        429 => b"Too Many Requests",
        431 => b"Request Header Fields Too Large",
        500 => b"Internal Server Error",
        501 => b"Not Implemented",
        502 => b"Bad Gateway",
        503 => b"Service Unavailable",
        504 => b"Gateway Timeout",
        505 => b"HTTP Version Not Supported",
        _ => b"",
    }
}

// One per connection that is not open yet.
const _: () = assert!(size_of::<ServerHandshake>() <= 64);

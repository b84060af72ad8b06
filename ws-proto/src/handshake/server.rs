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
    /// request for a WebSocket that was not answered yet. Nothing is written then, and what was
    /// passed is given back.
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
    /// When the output has too little room, when status, headers or body must not be written, or when
    /// there was an answer already.
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
    /// [`HandshakeError::Full`], or [`HandshakeMisuse::AlreadyAnswered`].
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
        if matches!(self.phase, Phase::Answered { .. }) {
            return Err(HandshakeMisuse::AlreadyAnswered.into());
        }
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
                write_decimal(output, body.len())?;
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
            let misuse = match self.phase {
                Phase::Answered { .. } => HandshakeMisuse::AlreadyAnswered,
                _ => HandshakeMisuse::NothingToAccept,
            };
            return Err(misuse.into());
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
    write_decimal(output, usize::from(status))?;
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

#[cfg(test)]
mod tests {
    use std::{format, string::String, vec::Vec};

    use super::*;
    use crate::handshake::{EMPTY_HEADER, Upgrade};

    /// The example of RFC 6455 §1.3.
    const REQUEST: &[u8] = b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\n\
        Upgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://example.com\r\n\
        Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\r\n";

    static CONFIG: Config = Config::new();

    /// A handshake that has received this.
    fn received(request: &[u8]) -> ServerHandshake {
        let mut handshake = ServerHandshake::new();
        let mut headers = [EMPTY_HEADER; 16];
        let received = handshake.receive(request, &mut headers, &CONFIG.limits);
        assert!(matches!(received, Ok(Some(_))), "{received:?}");
        handshake
    }

    fn written(
        write: impl FnOnce(&mut Output<'_>) -> Result<(), HandshakeError>,
    ) -> Result<String, HandshakeError> {
        let mut buffer = [0; 1024];
        let mut output = Output::new(&mut buffer);
        let result = write(&mut output);
        if result.is_err() {
            assert!(output.is_empty(), "nothing is written with an error");
        }
        result.map(|()| String::from_utf8_lossy(output.written()).into_owned())
    }

    fn accept(
        handshake: ServerHandshake,
        acceptance: &Acceptance<'_>,
        output: &mut Output<'_>,
    ) -> Result<(), HandshakeError> {
        handshake.accept(acceptance, &CONFIG, output)?;
        Ok(())
    }

    fn accepted(acceptance: &Acceptance<'_>) -> Result<String, HandshakeError> {
        written(|output| accept(received(REQUEST), acceptance, output))
    }

    #[test]
    fn rfc_034_acceptance_of_the_rfc() {
        let response = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        assert_eq!(accepted(&Acceptance::new()), Ok(format!("{response}\r\n")));

        // Row 35: the subprotocol comes from the request.
        let mut handshake = ServerHandshake::new();
        let mut headers = [EMPTY_HEADER; 16];
        let request = handshake.receive(REQUEST, &mut headers, &CONFIG.limits);
        let request = request.expect("valid").expect("complete");
        assert_eq!(request.upgrade(), Upgrade::WebSocket);
        assert_eq!(request.choose(&["x"]), None);
        let headers = [
            Header {
                name: "Set-Cookie",
                value: b"a=b",
            },
            Header {
                name: "X",
                value: b"",
            },
        ];
        let acceptance = Acceptance::new()
            .subprotocol(request.choose(&["superchat", "chat"]))
            .headers(&headers);
        assert_eq!(
            accepted(&acceptance),
            Ok(format!(
                "{response}Sec-WebSocket-Protocol: superchat\r\nSet-Cookie: a=b\r\nX: \r\n\r\n"
            ))
        );
    }

    #[test]
    fn rfc_037_headers_of_the_caller_are_checked() {
        use HandshakeMisuse::{InvalidHeaderName, InvalidHeaderValue, ReservedHeader};
        let table: &[(&str, &[u8], HandshakeMisuse)] = &[
            ("", b"x", InvalidHeaderName),
            ("A B", b"x", InvalidHeaderName),
            ("A:", b"x", InvalidHeaderName),
            ("A\r\nB", b"x", InvalidHeaderName),
            ("\u{e9}", b"x", InvalidHeaderName),
            ("A", b"x\r\nB: y", InvalidHeaderValue),
            ("A", b"\r", InvalidHeaderValue),
            ("A", b"\n", InvalidHeaderValue),
            ("A", b"\0", InvalidHeaderValue),
            ("A", b"\x7f", InvalidHeaderValue),
            ("upgrade", b"x", ReservedHeader),
            ("CONNECTION", b"x", ReservedHeader),
            ("Content-Length", b"0", ReservedHeader),
            ("transfer-encoding", b"chunked", ReservedHeader),
            ("sec-websocket-Protocol", b"x", ReservedHeader),
            ("Sec-WebSocket-", b"x", ReservedHeader),
        ];
        let fine = Header {
            name: "Fine",
            value: b"a\t\xff",
        };
        assert!(accepted(&Acceptance::new().headers(&[fine])).is_ok());
        for &(name, value, misuse) in table {
            let headers = [fine, Header { name, value }];
            let error = Err(HandshakeError::Misuse(misuse));
            assert_eq!(accepted(&Acceptance::new().headers(&headers)), error);
            let rejected = written(|output| received(REQUEST).reject(403, &headers, b"", output));
            assert_eq!(rejected, error, "{name}");
        }
    }

    #[test]
    fn acceptance_is_all_or_nothing() {
        let headers = [Header {
            name: "A",
            value: b"b",
        }];
        let acceptance = Acceptance::new().headers(&headers);
        let whole = accepted(&acceptance).expect("room");
        for room in 0..whole.len() {
            let mut buffer = [0; 1024];
            let mut output = Output::new(&mut buffer[..room]);
            let unaccepted = received(REQUEST)
                .accept(&acceptance, &CONFIG, &mut output)
                .expect_err("no room");
            assert_eq!(unaccepted.error, HandshakeError::Full);
            assert!(output.is_empty());
            // Nothing is lost: with more room it succeeds.
            let again = written(|output| {
                let handshake = unaccepted.handshake;
                accept(handshake, &acceptance, output)
            });
            assert_eq!(again.as_ref(), Ok(&whole));
        }
    }

    #[test]
    fn only_a_good_request_is_accepted_and_once() {
        let nothing = |handshake: ServerHandshake| {
            let result = written(|output| accept(handshake, &Acceptance::new(), output));
            assert_eq!(result, Err(HandshakeMisuse::NothingToAccept.into()));
        };
        nothing(ServerHandshake::new());
        nothing(received(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    }

    /// A second answer would be taken for that to the next request.
    #[test]
    fn request_is_answered_once() {
        let get = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        let answered = || {
            let mut handshake = received(get);
            let answer = |output: &mut Output<'_>| {
                handshake.respond(200, &[], b"ok", Persistence::KeepAlive, output)
            };
            assert!(written(answer).is_ok());
            handshake
        };
        let again = Err(HandshakeMisuse::AlreadyAnswered.into());
        let respond =
            |output: &mut Output<'_>| answered().respond(200, &[], b"", Persistence::Close, output);
        assert_eq!(written(respond), again);
        let reject = |output: &mut Output<'_>| answered().reject(404, &[], b"", output);
        assert_eq!(written(reject), again);
        let reject_error =
            |output: &mut Output<'_>| answered().reject_error(RequestError::Timeout, output);
        assert_eq!(written(reject_error), again);

        let mut rejected = received(REQUEST);
        assert!(written(|output| rejected.reject(404, &[], b"", output)).is_ok());
        assert_eq!(
            written(|output| accept(rejected, &Acceptance::new(), output)),
            again
        );
        // What could not be written was no answer.
        let mut handshake = received(get);
        let full = handshake.reject(404, &[], b"", &mut Output::new(&mut [0; 8]));
        assert_eq!(full, Err(HandshakeError::Full));
        assert!(written(|output| handshake.reject(404, &[], b"", output)).is_ok());
    }

    /// Row 33, and fault 17 of the peers: any segmentation, the same request.
    #[test]
    fn rfc_033_request_in_segments() {
        let bytes = [REQUEST, b"\x82\x80\0\0\0\0"].concat();
        for step in [1, 2, 3, 7, 64, 500] {
            let mut handshake = ServerHandshake::new();
            let mut len = 0;
            let head_len = loop {
                len = (len + step).min(bytes.len());
                let mut headers = [EMPTY_HEADER; 16];
                match handshake.receive(&bytes[..len], &mut headers, &CONFIG.limits) {
                    Ok(Some(request)) => {
                        assert_eq!(request.path(), "/chat");
                        break handshake.head_len();
                    }
                    Ok(None) => assert_eq!(handshake.head_len(), 0),
                    Err(error) => panic!("{error}"),
                }
            };
            assert_eq!(head_len, REQUEST.len(), "row 38: frames stay behind");
            // A decision that comes later may look again.
            let mut headers = [EMPTY_HEADER; 16];
            let again = handshake.receive(&bytes, &mut headers, &CONFIG.limits);
            assert_eq!(again.map(|it| it.map(|it| it.headers().len())), Ok(Some(7)));
            let accepted = written(|output| accept(handshake, &Acceptance::new(), output));
            assert!(accepted.is_ok());
        }
    }

    /// Every byte replaced by those that mean something: whole or byte by byte, the same outcome.
    #[test]
    fn broken_requests_are_judged_alike_however_they_are_cut() {
        let outcome = |bytes: &[u8], lens: &mut dyn Iterator<Item = usize>| {
            let mut handshake = ServerHandshake::new();
            for len in lens {
                let mut headers = [EMPTY_HEADER; 16];
                match handshake.receive(&bytes[..len], &mut headers, &CONFIG.limits) {
                    Ok(None) => {}
                    Ok(Some(request)) => {
                        return Ok(Some((request.upgrade(), handshake.head_len())));
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(None)
        };
        for place in 0..REQUEST.len() {
            for byte in *b"\n\r\0 :,;#x\xff" {
                let mut bytes = REQUEST.to_vec();
                bytes[place] = byte;
                let whole = outcome(&bytes, &mut core::iter::once(bytes.len()));
                let single = outcome(&bytes, &mut (1..=bytes.len()));
                assert_eq!(whole, single, "{}", bytes.escape_ascii());
            }
        }
    }

    /// What was looked at may as well be something else.
    #[test]
    fn rfc_033_request_is_looked_at_once() {
        let mut bytes = REQUEST[..REQUEST.len() - 1].to_vec();
        let mut handshake = ServerHandshake::new();
        for len in 1..=bytes.len() {
            let mut headers = [EMPTY_HEADER; 16];
            let received = handshake.receive(&bytes[..len], &mut headers, &CONFIG.limits);
            assert!(matches!(received, Ok(None)), "{len}");
            if len > 3 {
                bytes[len - 3] = b'\n';
            }
        }
    }

    /// Row 38 and fault 19 of the peers.
    #[test]
    fn rfc_038_bytes_behind_the_head_are_the_first_frames() {
        let mut bytes = [REQUEST, b"\x81\x82\0\0\0\0hi"].concat();
        let handshake = received(&bytes);
        let head_len = handshake.head_len();
        let mut buffer = [0; 512];
        let mut output = Output::new(&mut buffer);
        let mut connection = handshake
            .accept(&Acceptance::new(), &CONFIG, &mut output)
            .expect("room");
        let mut frames = &mut bytes[head_len..];
        assert_eq!(
            connection.receive(&mut frames, &mut output),
            Some(crate::Event::Text("hi"))
        );
    }

    /// Row 31 and fault 17 of the peers: refused before more than the limit is awaited.
    #[test]
    fn rfc_031_limits_and_their_answers() {
        let status = |input: &[u8], headers: usize| {
            let mut handshake = ServerHandshake::new();
            let mut headers = std::vec![EMPTY_HEADER; headers];
            let received = handshake.receive(input, &mut headers, &CONFIG.limits);
            received
                .map(|it| it.is_some())
                .map_err(RequestError::status)
        };
        let long_line = [b"GET /", &[b'a'; 8192][..]].concat();
        assert_eq!(status(&long_line, 100), Err(414));
        let long_header = [b"GET / HTTP/1.1\r\nA: ", &[b'a'; 16384][..]].concat();
        assert_eq!(status(&long_header, 100), Err(431));
        let mut many = b"GET / HTTP/1.1\r\nHost: h\r\n".to_vec();
        many.extend_from_slice(&b"A: b\r\n".repeat(100));
        many.extend_from_slice(b"\r\n");
        assert_eq!(status(&many, 100), Err(431));
        assert_eq!(status(&many, 101), Ok(true));
    }

    #[test]
    fn rfc_032_deadline_is_absolute() {
        let mut handshake = ServerHandshake::new();
        assert_eq!(handshake.next_timeout(), Some(0));
        assert_eq!(handshake.handle_timeout(5_000, &CONFIG.timeouts), None);
        assert_eq!(handshake.next_timeout(), Some(15_000));
        let mut headers = [EMPTY_HEADER; 1];
        assert!(matches!(
            handshake.receive(b"GET", &mut headers, &CONFIG.limits),
            Ok(None)
        ));
        assert_eq!(handshake.handle_timeout(14_999, &CONFIG.timeouts), None);
        assert_eq!(handshake.next_timeout(), Some(15_000));
        let over = handshake.handle_timeout(15_000, &CONFIG.timeouts);
        assert_eq!(over, Some(RequestError::Timeout));
        assert_eq!(handshake.handle_timeout(15_001, &CONFIG.timeouts), None);
        let answer = written(|output| handshake.reject_error(RequestError::Timeout, output));
        assert!(answer.expect("room").starts_with("HTTP/1.1 408 "));

        // A deferred decision does not stop it, an answer does.
        let mut handshake = received(REQUEST);
        assert_eq!(handshake.handle_timeout(0, &CONFIG.timeouts), None);
        assert_eq!(handshake.next_timeout(), Some(10_000));
        assert!(written(|output| handshake.reject(403, &[], b"", output)).is_ok());
        assert_eq!(handshake.next_timeout(), None);

        let mut handshake = ServerHandshake::new();
        assert_eq!(handshake.handle_timeout(0, &Timeouts::never()), None);
        assert_eq!(handshake.next_timeout(), None);
    }

    /// Fault 24 of the peers: whatever is refused gets an answer.
    #[test]
    fn refused_requests_get_an_answer_of_http() {
        let table: &[(&[u8], &str, &[&str])] = &[
            (b"\x16\x03\x01", "400 Bad Request", &[]),
            (b"GET / HTTP/1.1\n", "400 Bad Request", &[]),
            (b"GET / HTTP/1.1\r\n\r\n", "400 Bad Request", &[]),
            (
                b"POST / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n",
                "405 Method Not Allowed",
                &["\r\nAllow: GET\r\n"],
            ),
            (
                b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
                "426 Upgrade Required",
                &[
                    "\r\nSec-WebSocket-Version: 13\r\n",
                    "\r\nUpgrade: websocket\r\n",
                ],
            ),
            (
                b"GET / HTTP/1.0\r\nUpgrade: websocket\r\n\r\n",
                "505 HTTP Version Not Supported",
                &[],
            ),
            (
                b"GET / HTTP/2.0\r\n\r\n",
                "505 HTTP Version Not Supported",
                &[],
            ),
        ];
        for (input, status, contained) in table {
            let mut handshake = ServerHandshake::new();
            let mut headers = [EMPTY_HEADER; 16];
            let error = match handshake.receive(input, &mut headers, &CONFIG.limits) {
                Err(error) => error,
                Ok(Some(request)) => match request.upgrade() {
                    Upgrade::Refused(error) => error,
                    upgrade => panic!("{upgrade:?}"),
                },
                Ok(None) => panic!("{}", input.escape_ascii()),
            };
            let answer = written(|output| handshake.reject_error(error, output));
            let answer = answer.expect("room");
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\nConnection: close")));
            assert!(answer.contains(&format!(
                "\r\nContent-Length: {}\r\n",
                error.message().len()
            )));
            assert!(answer.ends_with(&format!("\r\n\r\n{error}")));
            for part in *contained {
                assert!(answer.contains(part), "{part} in {answer}");
            }
            assert!(answer.len() < 300, "{answer}");
        }
    }

    #[test]
    fn rejections() {
        let answer = written(|output| {
            let location = Header {
                name: "Location",
                value: b"/new",
            };
            received(REQUEST).reject(308, &[location], b"moved", output)
        });
        assert_eq!(
            answer.as_deref(),
            Ok("HTTP/1.1 308 Permanent Redirect\r\nConnection: close\r\n\
                Content-Length: 5\r\nLocation: /new\r\n\r\nmoved")
        );
        for status in [0, 100, 101, 199, 200, 204, 299, 600, 65535] {
            let answer = written(|output| received(REQUEST).reject(status, &[], b"", output));
            assert_eq!(
                answer,
                Err(HandshakeMisuse::InvalidStatus.into()),
                "{status}"
            );
        }
        let unknown = written(|output| received(REQUEST).reject(599, &[], b"", output));
        assert!(unknown.expect("room").starts_with("HTTP/1.1 599 \r\n"));
        let mut small = [0; 60];
        let mut output = Output::new(&mut small);
        let full = received(REQUEST).reject(400, &[], b"body", &mut output);
        assert_eq!((full, output.len()), (Err(HandshakeError::Full), 0));
    }

    #[test]
    fn plain_http() {
        let get = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\nGET";
        let answer = written(|output| {
            let mut handshake = received(get);
            handshake.respond(200, &[], b"ok", Persistence::KeepAlive, output)?;
            assert_eq!(handshake.head_len(), get.len() - 3);
            Ok(())
        });
        assert_eq!(
            answer.as_deref(),
            Ok("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")
        );
        let head = b"HEAD /healthz HTTP/1.1\r\nHost: h\r\n\r\n";
        let answer =
            written(|output| received(head).respond(200, &[], b"ok", Persistence::Close, output));
        assert_eq!(
            answer.as_deref(),
            Ok("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n")
        );
        let none = |body: &'static [u8]| {
            written(|output| received(get).respond(204, &[], body, Persistence::Close, output))
        };
        assert_eq!(
            none(b"").as_deref(),
            Ok("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        );
        assert_eq!(none(b"x"), Err(HandshakeMisuse::UnexpectedBody.into()));
        let interim =
            written(|output| received(get).respond(101, &[], b"", Persistence::KeepAlive, output));
        assert_eq!(interim, Err(HandshakeMisuse::InvalidStatus.into()));
    }

    #[test]
    fn every_error_has_a_status_with_words() {
        let mut seen = Vec::new();
        for error in [
            RequestError::InvalidRequestLine,
            RequestError::RequestLineTooLong,
            RequestError::HeadTooLong,
            RequestError::UnsupportedHttpVersion,
            RequestError::Timeout,
            RequestError::MethodNotAllowed,
            RequestError::UnsupportedVersion,
        ] {
            assert!(!reason(error.status()).is_empty());
            seen.push(error.status());
        }
        assert_eq!(seen, [400, 414, 431, 505, 408, 405, 426]);
    }
}

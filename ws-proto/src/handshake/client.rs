//! State. [`ClientHandshake`]: sends a request and judges the response (RFC 6455 §4.1).

use core::{borrow::Borrow, fmt};

use crate::{
    config::{Config, Limits, Timeouts},
    connection::Connection,
    error::Full,
    extension::{Extensions, Offers},
    frame::Role,
    handshake::{
        Deadline, HandshakeError, HandshakeMisuse, Header, Headers,
        accept::{ACCEPT_LEN, Key, encode},
        check_headers,
        head::{HeadError, ResponseHead, find_end, is_token, parse_response},
        list_contains, write_decimal, write_headers,
    },
    output::Output,
    uri::WsUri,
};

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub struct ClientRequest<'a> {
    uri: WsUri<'a>,
    origin: Option<&'a str>,
    subprotocols: &'a [&'a str],
    headers: &'a [Header<'a>],
}

impl<'a> ClientRequest<'a> {
    /// A request for this resource and nothing else.
    pub const fn new(uri: WsUri<'a>) -> Self {
        Self {
            uri,
            origin: None,
            subprotocols: &[],
            headers: &[],
        }
    }

    /// The `Origin` to send; only browsers have to (§4.1(8)).
    #[must_use]
    pub const fn origin(mut self, origin: &'a str) -> Self {
        self.origin = Some(origin);
        self
    }

    /// The subprotocols to offer, the one preferred first (§4.1(10)).
    #[must_use]
    pub const fn subprotocols(mut self, subprotocols: &'a [&'a str]) -> Self {
        self.subprotocols = subprotocols;
        self
    }

    /// Further headers. `Host`, `Origin`, `Upgrade`, `Connection`, `Content-Length`,
    /// `Transfer-Encoding` and `Sec-WebSocket-*` are the handshake's own. An `Authorization` among
    /// them replaces the one that is made of the URI's user name and password.
    #[must_use]
    pub const fn headers(mut self, headers: &'a [Header<'a>]) -> Self {
        self.headers = headers;
        self
    }

    fn check(&self) -> Result<(), HandshakeMisuse> {
        check_headers(self.headers, &["Host", "Origin"])?;
        let is_visible = |origin: &str| origin.bytes().all(|byte| byte.is_ascii_graphic());
        if !self.origin.is_none_or(is_visible) {
            return Err(HandshakeMisuse::InvalidOrigin);
        }
        // RFC 6455 §4.1(10): "The elements that comprise this value MUST be non-empty strings with
        // characters in the range U+0021 to U+007E not including separator characters ... and MUST
        // all be unique strings."
        let mut before = self.subprotocols.iter();
        while let Some(name) = before.next_back() {
            if !is_token(name.as_bytes()) {
                return Err(HandshakeMisuse::InvalidSubprotocol);
            }
            if before.as_slice().contains(name) {
                return Err(HandshakeMisuse::RepeatedSubprotocol);
            }
        }
        Ok(())
    }

    fn write(&self, key: &Key, output: &mut Output<'_>) -> Result<(), Full> {
        // RFC 6455 §4.1(2): "The method of the request MUST be GET, and the HTTP version MUST be at
        // least 1.1."
        let [path, query] = self.uri.resource_name();
        let target = [path.as_bytes(), query.as_bytes()];
        output.append_all(&[b"GET ", target[0], target[1], b" HTTP/1.1\r\n"])?;
        self.write_host(output)?;
        output.append_all(&[
            b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ",
            key.as_bytes(),
            b"\r\nSec-WebSocket-Version: 13\r\n",
        ])?;
        if let Some(origin) = self.origin {
            output.append_all(&[b"Origin: ", origin.as_bytes(), b"\r\n"])?;
        }
        if let Some((first, others)) = self.subprotocols.split_first() {
            output.append_all(&[b"Sec-WebSocket-Protocol: ", first.as_bytes()])?;
            for name in others {
                output.append_all(&[b", ", name.as_bytes()])?;
            }
            output.append_all(&[b"\r\n"])?;
        }
        self.write_authorization(output)?;
        write_headers(output, self.headers)?;
        output.append_all(&[b"\r\n"])
    }

    /// RFC 6455 §4.1(4): "a |Host| header field whose value contains /host/ plus optionally ':'
    /// followed by /port/ (when not using the default port)."
    fn write_host(&self, output: &mut Output<'_>) -> Result<(), Full> {
        output.append_all(&[b"Host: ", self.uri.host_with_brackets().as_bytes()])?;
        if !self.uri.is_default_port() {
            output.append_all(&[b":"])?;
            write_decimal(output, usize::from(self.uri.port()))?;
        }
        output.append_all(&[b"\r\n"])
    }

    /// RFC 7617 §2, from the user name and password of the URI.
    fn write_authorization(&self, output: &mut Output<'_>) -> Result<(), Full> {
        let Some(user_info) = self.uri.user_info() else {
            return Ok(());
        };
        let mut headers = self.headers.iter();
        if headers.any(|header| header.name.eq_ignore_ascii_case("Authorization")) {
            return Ok(());
        }
        output.append_all(&[b"Authorization: Basic "])?;
        let colon = if user_info.contains(':') { "" } else { ":" };
        let mut bytes = percent_decode(user_info).chain(colon.bytes());
        loop {
            let mut group = [0; 3];
            let mut len = 0;
            for (place, byte) in group.iter_mut().zip(bytes.by_ref()) {
                *place = byte;
                len += 1;
            }
            if len == 0 {
                break;
            }
            let mut text = [0; 4];
            encode(group.get(..len).unwrap_or_default(), &mut text);
            output.append_all(&[&text])?;
        }
        output.append_all(&[b"\r\n"])
    }
}

/// A client's side of the opening handshake.
///
/// ```
/// use ws_proto::{
///     ClientHandshake, Config, Output, WsUri,
///     handshake::{ClientRequest, EMPTY_HEADER, Outcome},
/// };
///
/// static CONFIG: Config = Config::new();
///
/// let uri = WsUri::parse("ws://server.example.com/chat")?;
/// let request = ClientRequest::new(uri).subprotocols(&["superchat", "chat"]);
/// let nonce = *b"the sample nonce"; // Random bytes, others for each attempt.
/// let mut buffer = [0; 512];
/// let mut output = Output::new(&mut buffer);
/// let mut handshake = ClientHandshake::start(&request, nonce, &mut output)?;
///
/// // Send `output.written()`, and receive:
/// let input = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
///     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
/// let mut headers = [EMPTY_HEADER; 16];
/// match handshake.receive(input, &mut headers, &CONFIG.limits)? {
///     Some(Outcome::Accepted { agreed, .. }) => {
///         assert_eq!(agreed.subprotocol(), Some("chat"));
///         let connection = agreed.finish(&CONFIG);
///         let frames = &input[handshake.head_len()..];
///     }
///     Some(Outcome::Rejected(response)) => println!("refused: {}", response.status()),
///     None => println!("more has to come"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ClientHandshake<'a> {
    subprotocols: &'a [&'a str],
    accept: [u8; ACCEPT_LEN],
    deadline: Deadline,
    /// Where the head begins that is awaited, behind interim responses.
    start: usize,
    /// How much of the input was looked at.
    scanned: usize,
    /// Where the response's head ends, once it has.
    head_len: usize,
    interim: u8,
}

impl<'a> ClientHandshake<'a> {
    /// Writes the request and awaits the response.
    ///
    /// The nonce has to be random and fresh for each attempt (§4.1(7)). Nothing else may be sent
    /// until the request is accepted: the `output` may as well be an unmasked one.
    ///
    /// # Errors
    ///
    /// When the request must not be written, or the output has too little room: it takes about 160
    /// bytes, and those of the URI and of what was asked for. Nothing is written then.
    pub fn start(
        request: &ClientRequest<'a>,
        nonce: [u8; 16],
        output: &mut Output<'_>,
    ) -> Result<Self, HandshakeError> {
        request.check()?;
        let key = Key::from_nonce(nonce);
        output.atomically(|output| request.write(&key, output))?;
        Ok(Self {
            subprotocols: request.subprotocols,
            accept: key.accept(),
            deadline: Deadline::ExpectTick,
            start: 0,
            scanned: 0,
            head_len: 0,
            interim: 0,
        })
    }

    /// Looks for the response in `input`: all that was received since the request was sent. Gives
    /// `None` when more has to come; present it behind the same bytes.
    ///
    /// Interim responses (1xx, but not 101) are passed over; they count towards the limits of the
    /// head. The outcome borrows from `input` and `headers` only, and from the names of
    /// subprotocols.
    ///
    /// # Errors
    ///
    /// What cannot be a response to this request. Close the transport.
    pub fn receive<'h, 'b>(
        &mut self,
        input: &'b [u8],
        headers: &'h mut [Header<'b>],
        limits: &Limits,
    ) -> Result<Option<Outcome<'a, 'h, 'b>>, ResponseError> {
        while let Some(len) = self.find_head(input, limits)? {
            let rest = input.get(self.start..).unwrap_or_default();
            let (head, body) = rest.split_at_checked(len).unwrap_or((rest, b""));
            if !is_interim(head) {
                self.head_len = self.start + len;
                let head = parse_response(head, headers)?;
                return self.judge(Response { head, body }).map(Some);
            }
            parse_response(head, &mut *headers)?;
            // RFC 9110 §15.2: "A client MUST be able to parse one or more 1xx responses received
            // prior to a final response". As many as anybody sends, no more.
            if self.interim == MAX_INTERIM {
                return Err(ResponseError::TooManyInterimResponses);
            }
            self.interim += 1;
            self.start += len;
        }
        Ok(None)
    }

    /// Tells the time, in milliseconds of any monotonic clock. The first call starts the deadline,
    /// [`Timeouts::handshake`].
    ///
    /// Gives [`ResponseError::Timeout`] once, when it has passed.
    pub fn handle_timeout(&mut self, now_ms: u64, timeouts: &Timeouts) -> Option<ResponseError> {
        let over = self.deadline.tick(now_ms, timeouts.handshake);
        over.then_some(ResponseError::Timeout)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next, on its clock; at once if
    /// that is past, never if it is `None`.
    pub fn next_timeout(&self) -> Option<u64> {
        self.deadline.next()
    }

    /// How many bytes of the input are the head of the response, with the interim ones before it; 0
    /// as long as it is not complete. The bytes behind are the first frames, or the body.
    pub fn head_len(&self) -> usize {
        self.head_len
    }

    fn find_head(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, ResponseError> {
        let rest = input.get(self.start..).unwrap_or_default();
        let end = find_end(
            rest,
            self.scanned.saturating_sub(self.start),
            limits.max_start_line,
            limits.max_head.saturating_sub(self.start),
        )?;
        if end.is_none() {
            self.scanned = self.start + rest.len();
        }
        Ok(end)
    }

    fn judge<'h, 'b>(
        &self,
        response: Response<'h, 'b>,
    ) -> Result<Outcome<'a, 'h, 'b>, ResponseError> {
        // RFC 6455 §4.1(1): "If the status code received from the server is not 101, the client
        // handles the response per HTTP [RFC2616] procedures."
        if response.status() != 101 {
            return Ok(Outcome::Rejected(response));
        }
        if response.head.minor_version == 0 {
            return Err(ResponseError::UnsupportedHttpVersion);
        }
        let headers = response.headers();
        let mut connection = headers.get_all("Connection");
        // §4.1(2) and (3): the client MUST fail the connection when `Upgrade` is not "websocket" and
        // when `Connection` has no "Upgrade", both without regard to case.
        let is_websocket = |value: &[u8]| value.eq_ignore_ascii_case(b"websocket");
        if !only(headers, "Upgrade")?.is_some_and(is_websocket) {
            return Err(ResponseError::InvalidUpgrade);
        }
        if !connection.any(|value| list_contains(value, b"upgrade")) {
            return Err(ResponseError::MissingConnectionUpgrade);
        }
        // §4.1(4): "If the response lacks a |Sec-WebSocket-Accept| header field or the
        // |Sec-WebSocket-Accept| contains a value other than the base64-encoded SHA-1 of the
        // concatenation of the |Sec-WebSocket-Key| ... the client MUST _Fail the WebSocket
        // Connection_."
        if only(headers, "Sec-WebSocket-Accept")? != Some(&self.accept[..]) {
            return Err(ResponseError::InvalidAccept);
        }
        self.check_extensions(headers)?;
        let agreed = Agreed {
            subprotocol: self.agreed_subprotocol(headers)?,
            extensions: Extensions::NONE,
        };
        Ok(Outcome::Accepted { agreed, response })
    }

    /// RFC 6455 §4.1(5): "If the response includes a |Sec-WebSocket-Extensions| header field and
    /// this header field indicates the use of an extension that was not present in the client's
    /// handshake ..., the client MUST _Fail the WebSocket Connection_."
    fn check_extensions(&self, headers: Headers<'_, '_>) -> Result<(), ResponseError> {
        let values = headers.get_all("Sec-WebSocket-Extensions");
        let mut responses = values.flat_map(Offers::parse);
        match responses.next() {
            None => Ok(()),
            // Nothing is offered yet.
            Some(Ok(_)) => Err(ResponseError::UnofferedExtension),
            Some(Err(_)) => Err(ResponseError::InvalidExtensions),
        }
    }

    /// RFC 6455 §4.1(6): "If the response includes a |Sec-WebSocket-Protocol| header field and this
    /// header field indicates the use of a subprotocol that was not present in the client's
    /// handshake ..., the client MUST _Fail the WebSocket Connection_."
    fn agreed_subprotocol(
        &self,
        headers: Headers<'_, '_>,
    ) -> Result<Option<&'a str>, ResponseError> {
        let Some(chosen) = only(headers, "Sec-WebSocket-Protocol")? else {
            return Ok(None);
        };
        let mut offered = self.subprotocols.iter().copied();
        match offered.find(|name| name.as_bytes() == chosen) {
            Some(name) => Ok(Some(name)),
            None => Err(ResponseError::UnofferedSubprotocol),
        }
    }
}

impl fmt::Debug for ClientHandshake<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientHandshake")
            .field("subprotocols", &self.subprotocols)
            .field("head_len", &self.head_len)
            .finish_non_exhaustive()
    }
}

/// How a server answered.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a, 'h, 'b> {
    /// The connection is open.
    Accepted {
        /// What was agreed; it makes the connection.
        agreed: Agreed<'a>,
        /// The response, for its headers.
        response: Response<'h, 'b>,
    },
    /// There is no WebSocket: the response says why, or where.
    Rejected(Response<'h, 'b>),
}

/// What client and server agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed<'a> {
    subprotocol: Option<&'a str>,
    extensions: Extensions,
}

impl<'a> Agreed<'a> {
    /// The subprotocol, one of those that were offered. Its absence is no fault (§4.1); a client
    /// that cannot do without closes the connection.
    pub fn subprotocol(&self) -> Option<&'a str> {
        self.subprotocol
    }

    /// The extensions.
    pub fn extensions(&self) -> Extensions {
        self.extensions
    }

    /// The open connection.
    pub fn finish<C: Borrow<Config>>(self, config: C) -> Connection<C> {
        Connection::established(Role::Client, self.extensions, config)
    }
}

/// A response, as views of the input and the header array.
#[derive(Clone, Copy, Debug)]
pub struct Response<'h, 'b> {
    head: ResponseHead<'h, 'b>,
    body: &'b [u8],
}

impl<'h, 'b> Response<'h, 'b> {
    /// The status.
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// The words behind the status, ASCII; often empty.
    pub fn reason(&self) -> &'b str {
        self.head.reason
    }

    /// All headers.
    pub fn headers(&self) -> Headers<'h, 'b> {
        Headers::new(self.head.headers)
    }

    /// What of the input is behind the head: the first bytes of the body, or the first frames.
    pub fn body(&self) -> &'b [u8] {
        self.body
    }

    /// Where a redirect (301, 302, 303, 307, 308) leads: a URI reference, not checked. Nothing
    /// follows it by itself: a client that does must drop credentials at the border of an origin.
    pub fn redirect(&self) -> Option<&'b [u8]> {
        match self.status() {
            301 | 302 | 303 | 307 | 308 => self.headers().get("Location"),
            _ => None,
        }
    }

    /// The challenges of a 401, one for each `WWW-Authenticate`.
    pub fn challenges(&self) -> impl Iterator<Item = &'b [u8]> + use<'h, 'b> {
        let is_challenge = self.status() == 401;
        self.headers()
            .get_all("WWW-Authenticate")
            .filter(move |_| is_challenge)
    }
}

/// Why a response is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ResponseError {
    /// The status line is not one.
    InvalidStatusLine,
    /// The status line is longer than [`Limits::max_start_line`].
    StatusLineTooLong,
    /// The head is longer than [`Limits::max_head`].
    HeadTooLong,
    /// More headers than the lent array holds.
    TooManyHeaders,
    /// A line ends with LF alone.
    BareLineFeed,
    /// A header line without a name that is a token, directly followed by a colon; folded lines
    /// are such lines.
    InvalidHeaderName,
    /// A CR, NUL or other control character in a value.
    InvalidHeaderValue,
    /// A version of HTTP other than 1.1, or 1.0 with the status 101.
    UnsupportedHttpVersion,
    /// More than 8 responses with a status of 1xx.
    TooManyInterimResponses,
    /// `Upgrade` is not `websocket` (RFC 6455 §4.1(2)).
    InvalidUpgrade,
    /// `Connection` does not list `upgrade` (§4.1(3)).
    MissingConnectionUpgrade,
    /// `Sec-WebSocket-Accept` is missing or does not answer the key (§4.1(4)).
    InvalidAccept,
    /// `Sec-WebSocket-Extensions` violates the grammar of §9.1.
    InvalidExtensions,
    /// An extension that was not offered (§4.1(5)).
    UnofferedExtension,
    /// A subprotocol that was not offered (§4.1(6)).
    UnofferedSubprotocol,
    /// A header of the handshake is there more than once (§11.3).
    RepeatedHeader,
    /// The response was not complete within [`Timeouts::handshake`].
    Timeout,
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidStatusLine => "status line is malformed",
            Self::StatusLineTooLong => "status line is too long",
            Self::HeadTooLong => "head is too long",
            Self::TooManyHeaders => "too many headers",
            Self::BareLineFeed => "line ends without CR",
            Self::InvalidHeaderName => "header name is malformed",
            Self::InvalidHeaderValue => "header value has a control character",
            Self::UnsupportedHttpVersion => "HTTP version is not supported",
            Self::TooManyInterimResponses => "too many interim responses",
            Self::InvalidUpgrade => "Upgrade is not websocket",
            Self::MissingConnectionUpgrade => "Connection does not list upgrade",
            Self::InvalidAccept => "Sec-WebSocket-Accept does not answer the key",
            Self::InvalidExtensions => "Sec-WebSocket-Extensions is malformed",
            Self::UnofferedExtension => "extension was not offered",
            Self::UnofferedSubprotocol => "subprotocol was not offered",
            Self::RepeatedHeader => "header of the handshake is repeated",
            Self::Timeout => "response was not complete in time",
        })
    }
}

impl core::error::Error for ResponseError {}

impl From<HeadError> for ResponseError {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::InvalidStartLine => Self::InvalidStatusLine,
            HeadError::StartLineTooLong => Self::StatusLineTooLong,
            HeadError::TooLong => Self::HeadTooLong,
            HeadError::TooManyHeaders => Self::TooManyHeaders,
            HeadError::BareLineFeed => Self::BareLineFeed,
            HeadError::InvalidHeaderName => Self::InvalidHeaderName,
            HeadError::InvalidHeaderValue => Self::InvalidHeaderValue,
            HeadError::UnsupportedVersion => Self::UnsupportedHttpVersion,
        }
    }
}

/// Enough for `100 Continue` and a few `103 Early Hints`, too few for an endless stream.
const MAX_INTERIM: u8 = 8;

/// Whether a head is that of a response with a status of 1xx, but not 101, if it is valid at all.
fn is_interim(head: &[u8]) -> bool {
    let status = head.get(b"HTTP/1.1 ".len()..).unwrap_or_default();
    status.starts_with(b"1") && !status.starts_with(b"101")
}

/// The value of a header that may be there once.
fn only<'b>(headers: Headers<'_, 'b>, name: &str) -> Result<Option<&'b [u8]>, ResponseError> {
    let mut values = headers.get_all(name);
    let first = values.next();
    if values.next().is_some() {
        return Err(ResponseError::RepeatedHeader);
    }
    Ok(first)
}

/// The bytes that a percent-encoded text stands for.
fn percent_decode(text: &str) -> impl Iterator<Item = u8> {
    let mut rest = text.as_bytes();
    core::iter::from_fn(move || {
        let (byte, tail) = match rest {
            [b'%', high, low, tail @ ..] => (hex(*high)? << 4 | hex(*low)?, tail),
            [byte, tail @ ..] => (*byte, tail),
            [] => return None,
        };
        rest = tail;
        Some(byte)
    })
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|digit| digit as u8)
}

const _: () = assert!(size_of::<ResponseError>() == 1);
const _: () = assert!(size_of::<ClientHandshake<'_>>() <= 96);

#[cfg(test)]
mod tests {
    use std::{format, string::String, vec::Vec};

    use super::*;
    use crate::handshake::EMPTY_HEADER;

    static CONFIG: Config = Config::new();

    const NONCE: [u8; 16] = *b"the sample nonce";
    const RESPONSE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    fn uri(text: &str) -> WsUri<'_> {
        WsUri::parse(text).expect(text)
    }

    fn request(request: &ClientRequest<'_>) -> Result<String, HandshakeError> {
        let mut buffer = [0; 1024];
        let mut output = Output::new(&mut buffer);
        let started = ClientHandshake::start(request, NONCE, &mut output).map(drop);
        if started.is_err() {
            assert!(output.is_empty(), "nothing is written with an error");
        }
        started.map(|()| String::from_utf8(output.written().to_vec()).expect("ASCII"))
    }

    fn handshake<'a>(subprotocols: &'a [&'a str]) -> ClientHandshake<'a> {
        let request = ClientRequest::new(uri("ws://h/")).subprotocols(subprotocols);
        let mut buffer = [0; 1024];
        ClientHandshake::start(&request, NONCE, &mut Output::new(&mut buffer)).expect("valid")
    }

    /// The subprotocol of an accepted response.
    fn outcome<'a>(
        handshake: &mut ClientHandshake<'a>,
        response: &[u8],
    ) -> Result<Option<&'a str>, ResponseError> {
        let mut headers = [EMPTY_HEADER; 16];
        match handshake.receive(response, &mut headers, &CONFIG.limits)? {
            Some(Outcome::Accepted { agreed, .. }) => Ok(agreed.subprotocol()),
            other => panic!("{other:?}"),
        }
    }

    fn changed(from: &str, to: &str) -> String {
        assert!(RESPONSE.contains(from), "{from}");
        RESPONSE.replacen(from, to, 1)
    }

    type Expected = Result<Option<&'static str>, ResponseError>;

    fn check(table: &[(&str, &str, Expected)]) {
        for (from, to, expected) in table {
            let response = changed(from, to);
            let mut handshake = handshake(&["chat", "superchat"]);
            let found = outcome(&mut handshake, response.as_bytes());
            assert_eq!(found, *expected, "{from} -> {to}");
        }
    }

    #[test]
    fn rfc_008_to_011_request_as_written() {
        let plain = request(&ClientRequest::new(uri("ws://server.example.com/chat?x=1")));
        assert_eq!(
            plain.as_deref(),
            Ok("GET /chat?x=1 HTTP/1.1\r\nHost: server.example.com\r\n\
                Upgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                Sec-WebSocket-Version: 13\r\n\r\n")
        );
        let headers = [Header {
            name: "Cookie",
            value: b"a=b",
        }];
        let full = ClientRequest::new(uri("wss://me:p%40ss@[::1]:8443?q"))
            .origin("http://example.com")
            .subprotocols(&["chat", "superchat"])
            .headers(&headers);
        assert_eq!(
            request(&full).as_deref(),
            Ok("GET /?q HTTP/1.1\r\nHost: [::1]:8443\r\n\
                Upgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                Sec-WebSocket-Version: 13\r\nOrigin: http://example.com\r\n\
                Sec-WebSocket-Protocol: chat, superchat\r\n\
                Authorization: Basic bWU6cEBzcw==\r\nCookie: a=b\r\n\r\n")
        );
    }

    #[test]
    fn rfc_003_user_info_becomes_basic_credentials() {
        let table = [
            (
                "ws://Aladdin:open%20sesame@h",
                "QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            ),
            ("ws://me@h", "bWU6"),
            ("ws://@h", "Og=="),
            ("ws://a:@h", "YTo="),
        ];
        for (text, credentials) in table {
            let written = request(&ClientRequest::new(uri(text))).expect("valid");
            assert!(
                written.starts_with("GET / HTTP/1.1\r\nHost: h\r\n"),
                "{text}"
            );
            let header = format!("\r\nAuthorization: Basic {credentials}\r\n");
            assert!(written.contains(&header), "{written}");
        }
        let own = [Header {
            name: "authorization",
            value: b"Bearer x",
        }];
        let written = request(&ClientRequest::new(uri("ws://me@h")).headers(&own));
        assert!(!written.expect("valid").contains("Basic"));
    }

    #[test]
    fn rfc_012_subprotocols_are_unique_tokens() {
        use HandshakeMisuse::{InvalidSubprotocol, RepeatedSubprotocol};
        let table: &[(&[&str], HandshakeMisuse)] = &[
            (&[""], InvalidSubprotocol),
            (&["a b"], InvalidSubprotocol),
            (&["a,b"], InvalidSubprotocol),
            (&["a", "b\r\nX: y"], InvalidSubprotocol),
            (&["\u{e9}"], InvalidSubprotocol),
            (&["a", "b", "a"], RepeatedSubprotocol),
        ];
        for (subprotocols, misuse) in table {
            let written = request(&ClientRequest::new(uri("ws://h")).subprotocols(subprotocols));
            assert_eq!(written, Err((*misuse).into()), "{subprotocols:?}");
        }
        // They are compared with regard to case.
        let written = request(&ClientRequest::new(uri("ws://h")).subprotocols(&["a", "A"]));
        assert!(written.is_ok());
    }

    #[test]
    fn rfc_015_nothing_is_injected_or_overridden() {
        use HandshakeMisuse::{InvalidHeaderName, InvalidHeaderValue, ReservedHeader};
        let table: &[(&str, &[u8], HandshakeMisuse)] = &[
            ("A\r\nB", b"x", InvalidHeaderName),
            ("A\0", b"x", InvalidHeaderName),
            ("A", b"x\r\nB: y", InvalidHeaderValue),
            ("A", b"x\n", InvalidHeaderValue),
            ("A", b"\0", InvalidHeaderValue),
            ("Host", b"x", ReservedHeader),
            ("origin", b"x", ReservedHeader),
            ("Upgrade", b"x", ReservedHeader),
            ("connection", b"x", ReservedHeader),
            ("Sec-WebSocket-Key", b"x", ReservedHeader),
            ("Content-Length", b"1", ReservedHeader),
            ("Transfer-Encoding", b"chunked", ReservedHeader),
        ];
        for &(name, value, misuse) in table {
            let headers = [Header { name, value }];
            let written = request(&ClientRequest::new(uri("ws://h")).headers(&headers));
            assert_eq!(written, Err(misuse.into()), "{name}");
        }
        for origin in ["a b", "a\r\nX: y", "\0", "\u{e9}"] {
            let written = request(&ClientRequest::new(uri("ws://h")).origin(origin));
            assert_eq!(written, Err(HandshakeMisuse::InvalidOrigin.into()));
        }
    }

    #[test]
    fn request_is_all_or_nothing() {
        let ask = ClientRequest::new(uri("ws://me:p@h:81/x")).subprotocols(&["a", "b"]);
        let whole = request(&ask).expect("room").len();
        for room in 0..whole {
            let mut buffer = [0; 1024];
            let mut output = Output::new(&mut buffer[..room]);
            let started = ClientHandshake::start(&ask, NONCE, &mut output).map(drop);
            assert_eq!((started, output.len()), (Err(HandshakeError::Full), 0));
        }
    }

    #[test]
    fn rfc_039_other_statuses_are_outcomes() {
        let table = [
            "200 OK",
            "204 No Content",
            "301 Moved",
            "302 Found",
            "307 X",
            "308 X",
            "304 X",
            "401 Unauthorized",
            "404 Not Found",
            "426 Upgrade Required",
            "503 ",
            "999 x",
        ];
        for status in table {
            let response = format!(
                "HTTP/1.1 {status}\r\nLocation: /b\r\nWWW-Authenticate: Basic\r\n\
                 WWW-Authenticate: Digest\r\n\r\nthe body"
            );
            let mut handshake = handshake(&[]);
            let mut headers = [EMPTY_HEADER; 16];
            let outcome = handshake.receive(response.as_bytes(), &mut headers, &CONFIG.limits);
            let Ok(Some(Outcome::Rejected(rejected))) = outcome else {
                panic!("{status}: {outcome:?}");
            };
            let code: u16 = status[..3].parse().expect("three digits");
            assert_eq!(rejected.status(), code);
            assert_eq!(rejected.reason(), &status[4..]);
            assert_eq!(rejected.body(), b"the body");
            assert_eq!(rejected.headers().len(), 3);
            let leads = matches!(code, 301 | 302 | 307 | 308);
            assert_eq!(rejected.redirect(), leads.then_some(&b"/b"[..]), "{status}");
            let challenges: Vec<_> = rejected.challenges().collect();
            let expected: &[&[u8]] = if code == 401 {
                &[b"Basic", b"Digest"]
            } else {
                &[]
            };
            assert_eq!(challenges, expected);
            assert_eq!(handshake.head_len(), response.len() - 8);
        }
        // A refusal may come from something that speaks HTTP/1.0.
        let mut headers = [EMPTY_HEADER; 16];
        let old = b"HTTP/1.0 503 x\r\n\r\n";
        let mut handshake = handshake(&[]);
        let outcome = handshake.receive(old, &mut headers, &CONFIG.limits);
        assert!(matches!(outcome, Ok(Some(Outcome::Rejected(_)))));
    }

    #[test]
    fn rfc_040_upgrade_and_connection() {
        use ResponseError::{InvalidUpgrade, MissingConnectionUpgrade, RepeatedHeader};
        let upgrade = "Upgrade: websocket";
        let connection = "Connection: Upgrade";
        check(&[
            (upgrade, "upgrade:\tWEBSOCKET ", Ok(None)),
            (upgrade, "X: y", Err(InvalidUpgrade)),
            (upgrade, "Upgrade: h2c", Err(InvalidUpgrade)),
            (upgrade, "Upgrade: websocket, h2c", Err(InvalidUpgrade)),
            (
                upgrade,
                "Upgrade: websocket\r\nUpgrade: websocket",
                Err(RepeatedHeader),
            ),
            (connection, "connection: keep-alive, UPGRADE", Ok(None)),
            (connection, "Connection: a\r\nConnection: upgrade", Ok(None)),
            (connection, "X: y", Err(MissingConnectionUpgrade)),
            (
                connection,
                "Connection: close",
                Err(MissingConnectionUpgrade),
            ),
        ]);
    }

    /// Row 41 and fault 18 of the peers.
    #[test]
    fn rfc_041_accept_answers_the_key() {
        use ResponseError::{InvalidAccept, RepeatedHeader};
        let at = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        let twice = format!("{at}\r\n{at}");
        check(&[
            (
                at,
                "sec-websocket-accept: \t s3pPLMBiTxaQ9kYGzzhZRbK+xOo= ",
                Ok(None),
            ),
            (at, "X: y", Err(InvalidAccept)),
            (at, "Sec-WebSocket-Accept:", Err(InvalidAccept)),
            (
                at,
                "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo",
                Err(InvalidAccept),
            ),
            (
                at,
                "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
                Err(InvalidAccept),
            ),
            (
                at,
                "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=, x",
                Err(InvalidAccept),
            ),
            (at, &twice, Err(RepeatedHeader)),
        ]);
    }

    #[test]
    fn rfc_042_extensions_were_offered() {
        use ResponseError::{InvalidExtensions, UnofferedExtension};
        let at = "Connection: Upgrade";
        let with = |value: &str, expected| {
            let lines = format!("{at}\r\nSec-WebSocket-Extensions: {value}");
            check(&[(at, &lines, Err(expected))]);
        };
        with("permessage-deflate", UnofferedExtension);
        with("x; y=\"z\"", UnofferedExtension);
        with("", InvalidExtensions);
        with("a b", InvalidExtensions);
    }

    #[test]
    fn rfc_043_subprotocol_was_offered() {
        use ResponseError::{RepeatedHeader, UnofferedSubprotocol};
        let at = "Connection: Upgrade";
        let with = |value: &str, expected| {
            let lines = format!("{at}\r\nSec-WebSocket-Protocol: {value}");
            check(&[(at, &lines, expected)]);
        };
        with("superchat", Ok(Some("superchat")));
        with("chat", Ok(Some("chat")));
        with("Chat", Err(UnofferedSubprotocol));
        with("", Err(UnofferedSubprotocol));
        with("chat, superchat", Err(UnofferedSubprotocol));
        with("x", Err(UnofferedSubprotocol));
        with("chat\r\nSec-WebSocket-Protocol: chat", Err(RepeatedHeader));
        // Bytes outside ASCII are no reason to panic (CVE-2026-55517).
        let bytes = [
            b"HTTP/1.1 101 \xff\r\nX: \xff\r\n",
            &RESPONSE.as_bytes()[34..],
        ]
        .concat();
        assert_eq!(outcome(&mut handshake(&[]), &bytes), Ok(None));
    }

    #[test]
    fn rfc_044_grammar_and_limits() {
        use ResponseError::{
            BareLineFeed, HeadTooLong, InvalidHeaderName, InvalidHeaderValue, InvalidStatusLine,
            StatusLineTooLong, TooManyHeaders, UnsupportedHttpVersion,
        };
        check(&[
            ("HTTP/1.1", "HTTP/1.0", Err(UnsupportedHttpVersion)),
            ("HTTP/1.1", "HTTP/2.0", Err(UnsupportedHttpVersion)),
            ("HTTP/1.1", "ICY", Err(InvalidStatusLine)),
            ("HTTP/1.1", "\x15", Err(InvalidStatusLine)),
            ("101 ", "1O1 ", Err(InvalidStatusLine)),
            ("\r\nUpgrade", "\nUpgrade", Err(BareLineFeed)),
            ("Upgrade:", "Upgrade :", Err(InvalidHeaderName)),
            ("Upgrade:", " Upgrade:", Err(InvalidHeaderName)),
            ("websocket", "websocket\0", Err(InvalidHeaderValue)),
            (
                "Upgrade",
                &("A: b\r\n".repeat(14) + "Upgrade"),
                Err(TooManyHeaders),
            ),
        ]);
        let long = [b"HTTP/1.1 ", &[b'1'; 9000][..]].concat();
        assert_eq!(outcome(&mut handshake(&[]), &long), Err(StatusLineTooLong));
        let long = [b"HTTP/1.1 200 x\r\nA: ", &[b'a'; 17000][..]].concat();
        assert_eq!(outcome(&mut handshake(&[]), &long), Err(HeadTooLong));
    }

    #[test]
    fn rfc_044_interim_responses_and_segments() {
        let interim = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
        let frame = b"\x81\x02hi";
        let bytes = [interim.repeat(8).as_bytes(), RESPONSE.as_bytes(), frame].concat();
        let head_len = bytes.len() - frame.len();
        for step in [1, 2, 5, 100, 2000] {
            let mut handshake = handshake(&[]);
            let mut len = 0;
            loop {
                len = (len + step).min(bytes.len());
                let mut headers = [EMPTY_HEADER; 16];
                match handshake.receive(&bytes[..len], &mut headers, &CONFIG.limits) {
                    Ok(Some(Outcome::Accepted { agreed, response })) => {
                        assert_eq!(response.headers().len(), 3);
                        assert!(agreed.extensions().claims(0));
                        break;
                    }
                    Ok(None) => assert!(len < head_len, "{len}"),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(handshake.head_len(), head_len);
            assert_eq!(&bytes[handshake.head_len()..], frame);
        }
        let nine = [interim.repeat(9).as_bytes(), RESPONSE.as_bytes()].concat();
        let found = outcome(&mut handshake(&[]), &nine);
        assert_eq!(found, Err(ResponseError::TooManyInterimResponses));
        let bad = [b"HTTP/1.1 100 x\r\nA : b\r\n\r\n", RESPONSE.as_bytes()].concat();
        let found = outcome(&mut handshake(&[]), &bad);
        assert_eq!(found, Err(ResponseError::InvalidHeaderName));
        // All heads together are within the limit of one.
        let hint = format!("HTTP/1.1 103 x\r\nLink: {}\r\n\r\n", "x".repeat(6000));
        let long = [hint.repeat(3).as_bytes(), RESPONSE.as_bytes()].concat();
        let found = outcome(&mut handshake(&[]), &long);
        assert_eq!(found, Err(ResponseError::HeadTooLong));
    }

    /// Row 33, for a client: what was looked at may as well be something else.
    #[test]
    fn rfc_044_response_is_looked_at_once() {
        let interim = b"HTTP/1.1 100 x\r\n\r\n";
        let mut bytes = [&interim[..], &RESPONSE.as_bytes()[..100]].concat();
        let mut handshake = handshake(&[]);
        for len in 1..=bytes.len() {
            let mut headers = [EMPTY_HEADER; 16];
            let received = handshake.receive(&bytes[..len], &mut headers, &CONFIG.limits);
            assert!(matches!(received, Ok(None)), "{len}");
            if len > interim.len() + 3 {
                bytes[len - 3] = b'\n';
            }
        }
    }

    #[test]
    fn client_has_a_deadline() {
        let mut handshake = handshake(&[]);
        assert_eq!(handshake.next_timeout(), Some(0));
        assert_eq!(handshake.handle_timeout(7, &CONFIG.timeouts), None);
        assert_eq!(handshake.next_timeout(), Some(10_007));
        let over = handshake.handle_timeout(10_007, &CONFIG.timeouts);
        assert_eq!(over, Some(ResponseError::Timeout));
        assert_eq!(handshake.next_timeout(), None);
    }
}

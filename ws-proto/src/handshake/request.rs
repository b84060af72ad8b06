//! State. [`Request`]: what a client asks for, and whether that is a WebSocket (RFC 6455 §4.2.1).

use core::fmt;

use crate::{
    extension::{Offer, Offers},
    handshake::{
        Headers, VERSION,
        accept::Key,
        elements,
        head::{HeadError, RequestHead, is_token},
        list_contains,
    },
    uri::{split_authority, split_once, split_scheme},
};

/// A request, as views of the input and the header array; it does not hold on to the handshake.
#[derive(Clone, Copy, Debug)]
pub struct Request<'h, 'b> {
    head: RequestHead<'h, 'b>,
    host: &'b str,
    /// The target without scheme and authority.
    resource: &'b str,
    body: Body,
    upgrade: Upgrade,
}

impl<'h, 'b> Request<'h, 'b> {
    /// The method, a token; case-sensitive.
    pub fn method(&self) -> &'b str {
        self.head.method
    }

    /// The request target as it was sent: visible ASCII without `#`, mostly path and query, but it
    /// may be an absolute URI (RFC 9112 §3.2.2) or, with OPTIONS, `*`.
    pub fn target(&self) -> &'b str {
        self.head.target
    }

    /// The path, percent-encoded, beginning with `/`; `*` if that is the target.
    pub fn path(&self) -> &'b str {
        let path = match split_once(self.resource, b'?') {
            Some((path, _)) => path,
            None => self.resource,
        };
        if path.is_empty() { "/" } else { path }
    }

    /// What follows the first `?`, percent-encoded; `None` if there is none.
    pub fn query(&self) -> Option<&'b str> {
        split_once(self.resource, b'?').map(|(_, query)| query)
    }

    /// The version of HTTP.
    pub fn version(&self) -> HttpVersion {
        match self.head.minor_version {
            0 => HttpVersion::Http10,
            _ => HttpVersion::Http11,
        }
    }

    /// All headers.
    pub fn headers(&self) -> Headers<'h, 'b> {
        Headers::new(self.head.headers)
    }

    /// The host and port that were asked for, as `Host` has them; empty only in a request of
    /// HTTP/1.0 without that header.
    pub fn host(&self) -> &'b str {
        self.host
    }

    /// The origin of the script that asks, if a browser does (§10.2). It is there at most once in a
    /// request that asks for a WebSocket.
    pub fn origin(&self) -> Option<&'b [u8]> {
        self.headers().get("Origin")
    }

    /// What follows the head.
    pub fn body(&self) -> Body {
        self.body
    }

    /// Whether the request asks for a WebSocket.
    pub fn upgrade(&self) -> Upgrade {
        self.upgrade
    }

    /// The subprotocols that the client offers, all tokens, in its order of preference, over all
    /// its `Sec-WebSocket-Protocol` headers.
    pub fn subprotocols(&self) -> impl Iterator<Item = &'b str> + use<'h, 'b> {
        self.headers()
            .get_all("Sec-WebSocket-Protocol")
            .flat_map(elements)
            .filter(|element| is_token(element))
            .filter_map(|element| core::str::from_utf8(element).ok())
    }

    /// The first of the server's subprotocols that the client offers, too.
    ///
    /// Do not list what a client smuggles a secret in: the answer would repeat it.
    pub fn choose<'s>(&self, supported: &[&'s str]) -> Option<Subprotocol<'s>> {
        // RFC 6455 §4.2.2(5): "The value chosen MUST be derived from the client's handshake".
        let offered = |name: &&'s str| self.subprotocols().any(|offer| offer == *name);
        supported
            .iter()
            .copied()
            .find(offered)
            .map(|name| Subprotocol { name })
    }

    /// The extensions that the client offers, in its order of preference, over all its
    /// `Sec-WebSocket-Extensions` headers.
    pub fn extensions(&self) -> impl Iterator<Item = Offer<'b>> + use<'h, 'b> {
        self.headers()
            .get_all("Sec-WebSocket-Extensions")
            .flat_map(|value| Offers::parse(value).map_while(Result::ok))
    }

    /// Judges a head; gives the key with a request that asks for a WebSocket as it should.
    pub(crate) fn judge(head: RequestHead<'h, 'b>) -> Result<(Self, Option<Key>), RequestError> {
        let facts = Facts::gather(head.headers);
        let (authority, resource) = split_target(&head)?;
        let host = judge_host(&facts, authority, head.minor_version)?;
        let body = facts.body()?;
        let (upgrade, key) = match facts.key_of_upgrade(&head, body) {
            None => (Upgrade::None, None),
            Some(Ok(key)) => (Upgrade::WebSocket, Some(key)),
            Some(Err(error)) => (Upgrade::Refused(error), None),
        };
        let request = Self {
            head,
            host,
            resource,
            body,
            upgrade,
        };
        Ok((request, key))
    }
}

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HttpVersion {
    /// HTTP/1.0, which cannot be upgraded.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// What follows the head of a request (RFC 9112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// Nothing, or after an upgrade the first frames.
    None,
    /// As many bytes.
    Length(u64),
    /// Something in a transfer encoding, mostly `chunked`.
    Encoded,
}

/// Whether a request asks for a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Upgrade {
    /// No: it is plain HTTP.
    None,
    /// Yes, and it may be accepted.
    WebSocket,
    /// Yes, but not as it should. Answer with
    /// [`reject_error`](crate::ServerHandshake::reject_error), unless the path alone says 404.
    Refused(RequestError),
}

/// A subprotocol that the client offers and the server supports: made by [`Request::choose`] only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subprotocol<'s> {
    name: &'s str,
}

impl<'s> Subprotocol<'s> {
    /// Its name, a token.
    pub fn as_str(&self) -> &'s str {
        self.name
    }
}

/// Why a request is refused. [`status`](RequestError::status) is what the client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RequestError {
    /// The request line is not one.
    InvalidRequestLine,
    /// The request line is longer than [`Limits::max_start_line`](crate::Limits::max_start_line).
    RequestLineTooLong,
    /// The head is longer than [`Limits::max_head`](crate::Limits::max_head).
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
    /// A version of HTTP other than 1.1, or 1.0 where an upgrade is asked for.
    UnsupportedHttpVersion,
    /// The target has `#` or something outside visible ASCII, or is neither a path nor a URI.
    InvalidTarget,
    /// `Host` is missing, empty, repeated or malformed.
    InvalidHost,
    /// The target is a URI whose host is not that of `Host`.
    HostMismatch,
    /// `Content-Length` is not a number, or repeated, or in the company of `Transfer-Encoding`.
    InvalidContentLength,
    /// The head was not complete within [`Timeouts::handshake`](crate::Timeouts::handshake).
    Timeout,
    /// An upgrade with another method than GET (RFC 6455 §4.2.1(1)).
    MethodNotAllowed,
    /// An upgrade with a body: what follows could be read as frames, or as a request
    /// (CVE-2026-69243).
    UnexpectedBody,
    /// `Upgrade` without the `upgrade` in `Connection` (§4.2.1(4)).
    MissingConnectionUpgrade,
    /// `Sec-WebSocket-Version` is not 13 (§4.2.1(6)).
    UnsupportedVersion,
    /// `Sec-WebSocket-Key` is missing, repeated, or not the base64 of 16 bytes (§4.2.1(5)).
    InvalidKey,
    /// `Sec-WebSocket-Protocol` is not a list of tokens (§4.3).
    InvalidSubprotocols,
    /// `Sec-WebSocket-Extensions` violates the grammar of §9.1.
    InvalidExtensions,
    /// More than one `Origin`: whoever checks one of them may check the wrong one.
    RepeatedOrigin,
}

impl RequestError {
    /// The status of the answer.
    pub const fn status(self) -> u16 {
        match self {
            Self::MethodNotAllowed => 405,
            Self::Timeout => 408,
            Self::RequestLineTooLong => 414,
            Self::UnsupportedVersion => 426,
            Self::HeadTooLong | Self::TooManyHeaders => 431,
            Self::UnsupportedHttpVersion => 505,
            Self::InvalidRequestLine
            | Self::BareLineFeed
            | Self::InvalidHeaderName
            | Self::InvalidHeaderValue
            | Self::InvalidTarget
            | Self::InvalidHost
            | Self::HostMismatch
            | Self::InvalidContentLength
            | Self::UnexpectedBody
            | Self::MissingConnectionUpgrade
            | Self::InvalidKey
            | Self::InvalidSubprotocols
            | Self::InvalidExtensions
            | Self::RepeatedOrigin => 400,
        }
    }

    pub(crate) const fn message(self) -> &'static str {
        match self {
            Self::InvalidRequestLine => "request line is malformed",
            Self::RequestLineTooLong => "request line is too long",
            Self::HeadTooLong => "head is too long",
            Self::TooManyHeaders => "too many headers",
            Self::BareLineFeed => "line ends without CR",
            Self::InvalidHeaderName => "header name is malformed",
            Self::InvalidHeaderValue => "header value has a control character",
            Self::UnsupportedHttpVersion => "HTTP version is not supported",
            Self::InvalidTarget => "request target is malformed",
            Self::InvalidHost => "Host is missing, repeated or malformed",
            Self::HostMismatch => "Host is not that of the request target",
            Self::InvalidContentLength => "length of the body is ambiguous",
            Self::Timeout => "request was not complete in time",
            Self::MethodNotAllowed => "WebSocket needs the method GET",
            Self::UnexpectedBody => "WebSocket request has a body",
            Self::MissingConnectionUpgrade => "Connection does not list upgrade",
            Self::UnsupportedVersion => "Sec-WebSocket-Version is not 13",
            Self::InvalidKey => "Sec-WebSocket-Key is not base64 of 16 bytes",
            Self::InvalidSubprotocols => "Sec-WebSocket-Protocol is malformed",
            Self::InvalidExtensions => "Sec-WebSocket-Extensions is malformed",
            Self::RepeatedOrigin => "Origin is repeated",
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl core::error::Error for RequestError {}

impl From<HeadError> for RequestError {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::InvalidStartLine => Self::InvalidRequestLine,
            HeadError::StartLineTooLong => Self::RequestLineTooLong,
            HeadError::TooLong => Self::HeadTooLong,
            HeadError::TooManyHeaders => Self::TooManyHeaders,
            HeadError::BareLineFeed => Self::BareLineFeed,
            HeadError::InvalidHeaderName => Self::InvalidHeaderName,
            HeadError::InvalidHeaderValue => Self::InvalidHeaderValue,
            HeadError::UnsupportedVersion => Self::UnsupportedHttpVersion,
        }
    }
}

/// A header that may be there once.
#[derive(Clone, Copy)]
enum Field<'b> {
    Absent,
    Once(&'b [u8]),
    Repeated,
}

impl<'b> Field<'b> {
    fn note(&mut self, value: &'b [u8]) {
        *self = match self {
            Self::Absent => Self::Once(value),
            _ => Self::Repeated,
        };
    }
}

/// What one pass over the headers finds in them.
struct Facts<'b> {
    host: Field<'b>,
    origin: Field<'b>,
    key: Field<'b>,
    version: Field<'b>,
    content_length: Field<'b>,
    is_encoded: bool,
    lists_websocket: bool,
    lists_upgrade: bool,
    subprotocols_are_valid: bool,
    extensions_are_valid: bool,
}

impl<'b> Facts<'b> {
    fn gather(headers: &[httparse::Header<'b>]) -> Self {
        let mut facts = Self {
            host: Field::Absent,
            origin: Field::Absent,
            key: Field::Absent,
            version: Field::Absent,
            content_length: Field::Absent,
            is_encoded: false,
            lists_websocket: false,
            lists_upgrade: false,
            subprotocols_are_valid: true,
            extensions_are_valid: true,
        };
        for httparse::Header { name, value } in headers {
            facts.note(name, value);
        }
        facts
    }

    /// Most names are not ours; their length alone says so of nearly all.
    fn note(&mut self, name: &str, value: &'b [u8]) {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match name.len() {
            4 if is("Host") => self.host.note(value),
            6 if is("Origin") => self.origin.note(value),
            7 if is("Upgrade") => self.lists_websocket |= list_contains(value, "websocket"),
            10 if is("Connection") => self.lists_upgrade |= list_contains(value, "upgrade"),
            14 if is("Content-Length") => self.content_length.note(value),
            17 if is("Sec-WebSocket-Key") => self.key.note(value),
            17 if is("Transfer-Encoding") => self.is_encoded = true,
            21 if is("Sec-WebSocket-Version") => self.version.note(value),
            22 if is("Sec-WebSocket-Protocol") => {
                self.subprotocols_are_valid &= is_token_list(value);
            }
            24 if is("Sec-WebSocket-Extensions") => {
                self.extensions_are_valid &= Offers::parse(value).all(|offer| offer.is_ok());
            }
            _ => {}
        }
    }

    fn body(&self) -> Result<Body, RequestError> {
        // RFC 9112 §6.3: a length that two readers may read differently is how requests are
        // smuggled.
        match (self.content_length, self.is_encoded) {
            (Field::Absent, false) => Ok(Body::None),
            (Field::Absent, true) => Ok(Body::Encoded),
            (Field::Once(value), false) => match decimal(value) {
                Some(0) => Ok(Body::None),
                Some(len) => Ok(Body::Length(len)),
                None => Err(RequestError::InvalidContentLength),
            },
            _ => Err(RequestError::InvalidContentLength),
        }
    }

    /// `None` if the request does not ask for a WebSocket.
    fn key_of_upgrade(
        &self,
        head: &RequestHead<'_, '_>,
        body: Body,
    ) -> Option<Result<Key, RequestError>> {
        // RFC 6455 §4.2.1(3): "An |Upgrade| header field containing the value 'websocket', treated
        // as an ASCII case-insensitive value."
        self.lists_websocket.then(|| self.check_upgrade(head, body))
    }

    /// RFC 6455 §4.2.1: "If the server, while reading the handshake, finds that the client did not
    /// send a handshake that matches the description below ... the server MUST stop processing the
    /// client's handshake and return an HTTP response with an appropriate error code".
    fn check_upgrade(&self, head: &RequestHead<'_, '_>, body: Body) -> Result<Key, RequestError> {
        // §4.2.1(1): "An HTTP/1.1 or higher GET request".
        if head.method != "GET" {
            return Err(RequestError::MethodNotAllowed);
        }
        if head.minor_version == 0 {
            return Err(RequestError::UnsupportedHttpVersion);
        }
        if body != Body::None {
            return Err(RequestError::UnexpectedBody);
        }
        // §4.2.1(4): "A |Connection| header field that includes the token 'Upgrade', treated as an
        // ASCII case-insensitive value."
        if !self.lists_upgrade {
            return Err(RequestError::MissingConnectionUpgrade);
        }
        // §4.2.1(6): "A |Sec-WebSocket-Version| header field, with a value of 13." Before the key,
        // which the oldest drafts did not have.
        if !matches!(self.version, Field::Once(VERSION)) {
            return Err(RequestError::UnsupportedVersion);
        }
        if !self.subprotocols_are_valid {
            return Err(RequestError::InvalidSubprotocols);
        }
        if !self.extensions_are_valid {
            return Err(RequestError::InvalidExtensions);
        }
        if matches!(self.origin, Field::Repeated) {
            return Err(RequestError::RepeatedOrigin);
        }
        match self.key {
            Field::Once(value) => Key::parse(value).ok_or(RequestError::InvalidKey),
            _ => Err(RequestError::InvalidKey),
        }
    }
}

/// The authority of an absolute target, and the rest of any target.
fn split_target<'b>(
    head: &RequestHead<'_, 'b>,
) -> Result<(Option<&'b str>, &'b str), RequestError> {
    let target = head.target;
    let wrong = target.bytes().fold(false, |wrong, byte| {
        wrong | (byte == b'#') | !byte.is_ascii_graphic()
    });
    if wrong {
        return Err(RequestError::InvalidTarget);
    }
    if target.starts_with('/') || (target == "*" && head.method == "OPTIONS") {
        return Ok((None, target));
    }
    let (scheme, rest) = split_scheme(target).ok_or(RequestError::InvalidTarget)?;
    let schemes = ["http", "https", "ws", "wss"];
    if !schemes.iter().any(|it| scheme.eq_ignore_ascii_case(it)) {
        return Err(RequestError::InvalidTarget);
    }
    let (authority, resource) = split_authority(rest);
    Ok((Some(authority), resource))
}

/// RFC 9112 §3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1
/// request message that lacks a Host header field and to any request message that contains more
/// than one Host header field line or a Host header field with an invalid field value."
fn judge_host<'b>(
    facts: &Facts<'b>,
    authority: Option<&'b str>,
    minor_version: u8,
) -> Result<&'b str, RequestError> {
    let host = match facts.host {
        Field::Once(value) => host_text(value).ok_or(RequestError::InvalidHost)?,
        Field::Absent if minor_version == 0 => authority.unwrap_or_default(),
        _ => return Err(RequestError::InvalidHost),
    };
    // RFC 9112 §3.2.2 has the authority override `Host`. That they have to agree is stricter: two
    // answers to one question are how a check is passed and another host reached.
    match authority {
        Some(authority) if !authority.eq_ignore_ascii_case(host) => Err(RequestError::HostMismatch),
        _ => Ok(host),
    }
}

/// The value of `Host`, if all its characters may be in one (RFC 3986 §3.2.2 and §3.2.3).
fn host_text(value: &[u8]) -> Option<&str> {
    let is_valid = |byte: &u8| byte.is_ascii_alphanumeric() || HOST_MARKS.contains(byte);
    if value.is_empty() || !value.iter().all(is_valid) {
        return None;
    }
    core::str::from_utf8(value).ok()
}

const HOST_MARKS: &[u8] = b"-._~:[]%!$&'()*+,;=";

fn is_token_list(value: &[u8]) -> bool {
    elements(value).all(is_token) && elements(value).next().is_some()
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| byte - b'0')?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

const _: () = assert!(size_of::<RequestError>() == 1);
const _: () = assert!(size_of::<Upgrade>() <= 2);

//! State. [`Request`]: what a client asks for, and whether that is a WebSocket (RFC 6455 §4.2.1).

use core::fmt;

use crate::{
    extension::{Offer, Offers},
    handshake::{
        Header, Headers, VERSION,
        accept::Key,
        elements,
        head::{HeadError, RequestHead, is_token},
        is_ignoring_case, list_contains,
    },
    uri::{is_host_and_port, split_authority, split_once, split_scheme},
};

/// A request, as views of the input and the header array; it does not hold on to the handshake.
#[derive(Clone, Copy, Debug)]
pub struct Request<'h, 'b> {
    head: RequestHead<'h, 'b>,
    /// It is ASCII.
    host: &'b [u8],
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
        core::str::from_utf8(self.host).unwrap_or_default()
    }

    /// The origin of the script that asks, if a browser does (§10.2). It is there at most once in a
    /// request that asks for a WebSocket.
    pub fn origin(&self) -> Option<&'b [u8]> {
        self.headers().get("Origin")
    }

    /// Whether a script of the very site asks: the origin is `scheme`, `://` and
    /// [`host`](Self::host), to the letter but for case. The scheme is `https` behind TLS, also
    /// where a proxy ends that, and else `http`.
    ///
    /// Without an origin no browser asks (RFC 6455 §10.2), and the answer is `false`. Whom to let in
    /// is the caller's decision; a server that identifies users by cookies and does not ask this, or
    /// hold a list against [`origin`](Self::origin), lets every page act in their names.
    pub fn is_same_origin(&self, scheme: &str) -> bool {
        let is_host = |origin: &'b [u8]| {
            let (before, rest) = origin.split_at_checked(scheme.len())?;
            let host = rest.strip_prefix(b"://")?;
            let same = before.eq_ignore_ascii_case(scheme.as_bytes())
                && host.eq_ignore_ascii_case(self.host);
            Some(same)
        };
        self.origin().and_then(is_host).unwrap_or_default()
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
    #[inline]
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
    /// The target has `#` or something outside visible ASCII, or is neither a path nor a URI with a
    /// host.
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
    fn gather(headers: &[Header<'b>]) -> Self {
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
        for Header { name, value } in headers {
            facts.note(name, value);
        }
        facts
    }

    /// Most names are not ours; their length alone says so of nearly all.
    #[inline]
    fn note(&mut self, name: &str, value: &'b [u8]) {
        let name = name.as_bytes();
        match name.len() {
            4 if is_ignoring_case(name, b"host") => self.host.note(value),
            6 if is_ignoring_case(name, b"origin") => self.origin.note(value),
            7 if is_ignoring_case(name, b"upgrade") => {
                self.lists_websocket |= list_contains(value, b"websocket");
            }
            10 if is_ignoring_case(name, b"connection") => {
                self.lists_upgrade |= list_contains(value, b"upgrade");
            }
            14 if is_ignoring_case(name, b"content-length") => self.content_length.note(value),
            17 if is_ignoring_case(name, b"sec-websocket-key") => self.key.note(value),
            17 if is_ignoring_case(name, b"transfer-encoding") => self.is_encoded = true,
            21 if is_ignoring_case(name, b"sec-websocket-version") => self.version.note(value),
            22 if is_ignoring_case(name, b"sec-websocket-protocol") => {
                self.subprotocols_are_valid &= is_token_list(value);
            }
            24 if is_ignoring_case(name, b"sec-websocket-extensions") => {
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
) -> Result<&'b [u8], RequestError> {
    let host = match facts.host {
        Field::Once(host) if is_host_and_port(host) => host,
        Field::Absent if minor_version == 0 => return host_of_target(authority),
        _ => return Err(RequestError::InvalidHost),
    };
    // RFC 9112 §3.2.2 has the authority override `Host`. That they have to agree is stricter: two
    // answers to one question are how a check is passed and another host reached.
    match authority {
        Some(authority) if !authority.as_bytes().eq_ignore_ascii_case(host) => {
            Err(RequestError::HostMismatch)
        }
        _ => Ok(host),
    }
}

/// HTTP/1.0 has no `Host`; then an absolute target says it, or nothing does.
fn host_of_target(authority: Option<&str>) -> Result<&[u8], RequestError> {
    match authority.map(str::as_bytes) {
        Some(host) if is_host_and_port(host) => Ok(host),
        Some(_) => Err(RequestError::InvalidTarget),
        None => Ok(b""),
    }
}

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

#[cfg(test)]
mod tests {
    use std::{format, string::String, vec::Vec};

    use super::*;
    use crate::handshake::head::{EMPTY_HEADER, parse_request};

    const REQUEST: &str = "GET /chat?x=1 HTTP/1.1\r\nHost: server.example.com\r\n\
        Upgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

    fn read<T>(head: &[u8], look: impl FnOnce(Request<'_, '_>) -> T) -> Result<T, RequestError> {
        let mut headers = [EMPTY_HEADER; 16];
        let head = parse_request(head, &mut headers)?;
        Request::judge(head).map(|(request, key)| {
            assert_eq!(key.is_some(), request.upgrade() == Upgrade::WebSocket);
            look(request)
        })
    }

    /// The good request with one thing replaced.
    fn changed(from: &str, to: &str) -> String {
        assert!(REQUEST.contains(from), "{from}");
        REQUEST.replacen(from, to, 1)
    }

    fn check(table: &[(&str, &str, Result<Upgrade, RequestError>)]) {
        for (from, to, expected) in table {
            let head = changed(from, to);
            let found = read(head.as_bytes(), |request| request.upgrade());
            assert_eq!(found, *expected, "{from} -> {to}");
        }
    }

    const YES: Result<Upgrade, RequestError> = Ok(Upgrade::WebSocket);
    const PLAIN: Result<Upgrade, RequestError> = Ok(Upgrade::None);

    const fn refused(error: RequestError) -> Result<Upgrade, RequestError> {
        Ok(Upgrade::Refused(error))
    }

    #[test]
    fn good_request_is_a_websocket() {
        check(&[("GET", "GET", YES)]);
        let seen = read(REQUEST.as_bytes(), |request| {
            assert_eq!(request.method(), "GET");
            assert_eq!(request.target(), "/chat?x=1");
            assert_eq!((request.path(), request.query()), ("/chat", Some("x=1")));
            assert_eq!(request.version(), HttpVersion::Http11);
            assert_eq!(request.host(), "server.example.com");
            assert_eq!((request.origin(), request.body()), (None, Body::None));
        });
        assert_eq!(seen, Ok(()));
    }

    #[test]
    fn rfc_017_method_and_version_of_http() {
        use RequestError::{MethodNotAllowed, UnsupportedHttpVersion};
        check(&[
            ("GET", "POST", refused(MethodNotAllowed)),
            ("GET", "get", refused(MethodNotAllowed)),
            ("GET", "HEAD", refused(MethodNotAllowed)),
            ("HTTP/1.1", "HTTP/1.0", refused(UnsupportedHttpVersion)),
            ("HTTP/1.1", "HTTP/2.0", Err(UnsupportedHttpVersion)),
            ("HTTP/1.1", "HTTP/1.2", Err(UnsupportedHttpVersion)),
            ("HTTP/1.1", "HTP/1.1", Err(RequestError::InvalidRequestLine)),
        ]);
    }

    #[test]
    fn rfc_018_absolute_targets_agree_with_host() {
        use RequestError::{HostMismatch, InvalidTarget};
        let at = "/chat?x=1";
        check(&[
            (at, "http://server.example.com/chat", YES),
            (at, "WSS://Server.Example.COM/chat", YES),
            (at, "http://server.example.com", YES),
            (at, "http://other.example.com/chat", Err(HostMismatch)),
            (at, "http://server.example.com:80/chat", Err(HostMismatch)),
            (at, "http://u@server.example.com/", Err(HostMismatch)),
            (at, "http:///chat", Err(HostMismatch)),
            (at, "ftp://server.example.com/chat", Err(InvalidTarget)),
            (at, "server.example.com:80", Err(InvalidTarget)),
        ]);
        let table = [
            ("http://server.example.com", "/", None),
            ("http://server.example.com?a?b", "/", Some("a?b")),
            ("http://server.example.com/x/y?", "/x/y", Some("")),
        ];
        for (target, path, query) in table {
            let head = changed(at, target);
            let seen = read(head.as_bytes(), |request| {
                assert_eq!(request.target(), target);
                assert_eq!((request.path(), request.query()), (path, query));
            });
            assert_eq!(seen, Ok(()));
        }
    }

    #[test]
    fn rfc_019_targets_are_visible_ascii_without_fragment() {
        use RequestError::{InvalidRequestLine, InvalidTarget};
        let at = "/chat?x=1";
        check(&[
            (at, "/chat#x", Err(InvalidTarget)),
            (at, "/#", Err(InvalidTarget)),
            (at, "/ch\u{e9}t", Err(InvalidTarget)),
            (at, "chat", Err(InvalidTarget)),
            (at, "*", Err(InvalidTarget)),
            (at, "/a b", Err(InvalidRequestLine)),
            (at, "/a\tb", Err(InvalidRequestLine)),
            (at, "/a\x01b", Err(InvalidRequestLine)),
            (at, "/a\x7fb", Err(InvalidRequestLine)),
        ]);
        let options = "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n";
        let path = read(options.as_bytes(), |request| {
            (request.path() == "*", request.upgrade())
        });
        assert_eq!(path, Ok((true, Upgrade::None)));
    }

    #[test]
    fn rfc_020_host_is_there_once() {
        use RequestError::InvalidHost;
        let at = "Host: server.example.com\r\n";
        check(&[
            (at, "", Err(InvalidHost)),
            (at, "Host:\r\n", Err(InvalidHost)),
            (at, "Host: \t \r\n", Err(InvalidHost)),
            (at, "Host: a\r\nHost: a\r\n", Err(InvalidHost)),
            (at, "Host: a b\r\n", Err(InvalidHost)),
            (at, "Host: u@a\r\n", Err(InvalidHost)),
            (at, "Host: a/b\r\n", Err(InvalidHost)),
            (at, "Host: \u{e9}\r\n", Err(InvalidHost)),
            (at, "host: [::1]:8080\r\n", YES),
        ]);
        // A host and a port, not merely their characters.
        for host in [
            ":::[[]]..:",
            ":80",
            ":",
            "::1",
            "[]",
            "[::1",
            "::1]",
            "[::1]x",
            "[::1]8080",
            "[1.2.3.4]",
            "[::g]",
            "a]",
            "h:0",
            "h:99999",
            "h:65536",
            "h:+80",
            "h:8o",
            "h:80:80",
        ] {
            check(&[(at, &format!("Host: {host}\r\n"), Err(InvalidHost))]);
        }
        // RFC 3986 §3.2.3 has the port be any number of digits, also none.
        for host in [
            "h",
            "h:",
            "h:1",
            "H.example.:65535",
            "[::1]",
            "[::1]:",
            "1.2.3.4:8",
        ] {
            check(&[(at, &format!("Host: {host}\r\n"), YES)]);
        }
        // HTTP/1.0 had no such header.
        let old = read(b"GET / HTTP/1.0\r\n\r\n", |request| {
            assert_eq!(request.version(), HttpVersion::Http10);
            (request.host().is_empty(), request.upgrade())
        });
        assert_eq!(old, Ok((true, Upgrade::None)));
        let twice = read(b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", |_| ());
        assert_eq!(twice, Err(InvalidHost));
        // There the target may be all that names the host.
        let old = |authority: &str| {
            let head = format!("GET http://{authority}/x HTTP/1.0\r\n\r\n");
            read(head.as_bytes(), |request| request.host() == authority)
        };
        for authority in ["h", "h:", "h:80", "[::1]:80"] {
            assert_eq!(old(authority), Ok(true), "{authority}");
        }
        for authority in ["", ":80", ":::[[]]..:", "h:99999", "u@h", "[::1", "a%41"] {
            let invalid = Err(RequestError::InvalidTarget);
            assert_eq!(old(authority), invalid, "{authority}");
        }
    }

    #[test]
    fn rfc_021_without_upgrade_it_is_plain_http() {
        let at = "Upgrade: websocket";
        check(&[
            (at, "X: y", PLAIN),
            (at, "Upgrade: h2c", PLAIN),
            (at, "Upgrade: websocket/13", PLAIN),
            (at, "Upgrade: xwebsocket", PLAIN),
            (at, "Upgrade: WebSocket", YES),
            (at, "upgrade:websocket\t", YES),
            (at, "UPGRADE: h2c ,, WEBSOCKET", YES),
            (at, "Upgrade: h2c\r\nUpgrade: websocket", YES),
        ]);
    }

    #[test]
    fn rfc_022_connection_lists_upgrade() {
        let no = refused(RequestError::MissingConnectionUpgrade);
        let at = "Connection: Upgrade";
        check(&[
            (at, "X: y", no),
            (at, "Connection: keep-alive", no),
            (at, "Connection: upgraded", no),
            (at, "Connection: keep-alive upgrade", no),
            (at, "Connection: keep-alive, Upgrade", YES),
            (at, "connection: ,UPGRADE,", YES),
            (at, "Connection: close\r\nConnection: upgrade", YES),
        ]);
    }

    #[test]
    fn rfc_023_key_is_there_once() {
        let no = refused(RequestError::InvalidKey);
        let at = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
        let twice = format!("{at}\r\n{at}");
        check(&[
            (at, "X: y", no),
            (at, "Sec-WebSocket-Key:", no),
            (at, &twice, no),
            (at, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==", no),
            (at, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ", no),
            (at, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZXh4", no),
            (at, "SEC-WEBSOCKET-KEY:\tAAAAAAAAAAAAAAAAAAAAAA== ", YES),
        ]);
    }

    #[test]
    fn rfc_024_version_is_13() {
        let no = refused(RequestError::UnsupportedVersion);
        let at = "Sec-WebSocket-Version: 13";
        let twice = format!("{at}\r\n{at}");
        check(&[
            (at, "X: y", no),
            (at, "Sec-WebSocket-Version:", no),
            (at, "Sec-WebSocket-Version: 0", no),
            (at, "Sec-WebSocket-Version: 7", no),
            (at, "Sec-WebSocket-Version: 8", no),
            (at, "Sec-WebSocket-Version: 013", no),
            (at, "Sec-WebSocket-Version: 13, 8", no),
            (at, &twice, no),
            (at, "sec-websocket-version:13\t", YES),
        ]);
    }

    #[test]
    fn rfc_025_lists_conform_to_their_grammar() {
        let at = "Sec-WebSocket-Version: 13";
        for (header, good, bad) in [
            (
                "Sec-WebSocket-Protocol",
                &["a", "a,b", " , a ,\tb,"][..],
                &["", ",", "a b", "a/b", "a;b", "\u{e9}", "\"a\""][..],
            ),
            (
                "Sec-WebSocket-Extensions",
                &[
                    "a",
                    "permessage-deflate; client_max_window_bits",
                    "a;b=\"c\"",
                ],
                &["", "a b", "a;", "a;b=\"c d\"", "a;b=\"c", "a;b=\"\""],
            ),
        ] {
            let error = if header.ends_with("Protocol") {
                RequestError::InvalidSubprotocols
            } else {
                RequestError::InvalidExtensions
            };
            for value in good {
                check(&[(at, &format!("{at}\r\n{header}: {value}"), YES)]);
            }
            for value in bad {
                let lines = format!("{at}\r\n{header}: good\r\n{header}: {value}");
                check(&[(at, &lines, refused(error))]);
            }
        }
    }

    #[test]
    fn rfc_029_upgrade_has_no_body() {
        use RequestError::{InvalidContentLength, UnexpectedBody};
        let at = "Connection: Upgrade";
        let with = |headers: &str, expected| {
            check(&[(at, &format!("{at}\r\n{headers}"), expected)]);
        };
        with("Content-Length: 0", YES);
        with("Content-Length: 5", refused(UnexpectedBody));
        with("Transfer-Encoding: chunked", refused(UnexpectedBody));
        with("transfer-encoding: identity", refused(UnexpectedBody));
        for length in ["", "+5", "-1", "5, 5", "0x5", "18446744073709551616"] {
            with(
                &format!("Content-Length: {length}"),
                Err(InvalidContentLength),
            );
        }
        with(
            "Content-Length: 5\r\nContent-Length: 5",
            Err(InvalidContentLength),
        );
        with(
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            Err(InvalidContentLength),
        );
    }

    #[test]
    fn bodies_of_plain_http() {
        let table = [
            ("", Body::None),
            ("Content-Length: 0\r\n", Body::None),
            (
                "Content-Length: 18446744073709551615\r\n",
                Body::Length(u64::MAX),
            ),
            ("Transfer-Encoding: chunked\r\n", Body::Encoded),
        ];
        for (header, body) in table {
            let head = format!("POST /x HTTP/1.1\r\nHost: h\r\n{header}\r\n");
            let found = read(head.as_bytes(), |request| {
                (request.body(), request.upgrade())
            });
            assert_eq!(found, Ok((body, Upgrade::None)), "{header}");
        }
    }

    #[test]
    fn origin_is_there_once() {
        let at = "Connection: Upgrade";
        let one = format!("{at}\r\nOrigin: http://a");
        let two = format!("{one}\r\nOrigin: http://b");
        check(&[
            (at, &one, YES),
            (at, &two, refused(RequestError::RepeatedOrigin)),
        ]);
        let origin = read(changed(at, &one).as_bytes(), |request| {
            request.origin().map(<[u8]>::to_vec)
        });
        assert_eq!(origin, Ok(Some(b"http://a".to_vec())));
    }

    /// Security record §1, row 13.
    #[test]
    fn rfc_026_same_origin() {
        let at = "Connection: Upgrade";
        let same = |origin: &str, scheme: &str| {
            let head = changed(at, &format!("{at}{origin}"));
            read(head.as_bytes(), |request| request.is_same_origin(scheme))
        };
        for origin in ["https://server.example.com", "HTTPS://Server.Example.COM"] {
            let origin = format!("\r\nOrigin: {origin}");
            assert_eq!(same(&origin, "https"), Ok(true));
            assert_eq!(same(&origin, "http"), Ok(false));
        }
        assert_eq!(same("", "https"), Ok(false));
        for origin in [
            "",
            "null",
            "https",
            "https://",
            "http://server.example.com",
            "https://server.example.com:8443",
            "https://server.example.com.",
            "https://server.example.com/",
            "https://evil.server.example.com",
            "https://evilserver.example.com",
            "https://server.example.com.evil.com",
            "https://server.example.com@evil.com",
            "https://u@server.example.com",
            "https:server.example.com",
        ] {
            let origin = format!("\r\nOrigin: {origin}");
            assert_eq!(same(&origin, "https"), Ok(false), "{origin}");
        }
    }

    #[test]
    fn offers_are_read_over_several_lines() {
        let at = "Connection: Upgrade";
        let lines = "Connection: Upgrade\r\nSec-WebSocket-Protocol: chat.v1, ,x\r\n\
            Sec-WebSocket-Extensions: a; b, c\r\nsec-websocket-protocol: chat.v2\r\n\
            Sec-WebSocket-Extensions: d";
        let seen = read(changed(at, lines).as_bytes(), |request| {
            let subprotocols: Vec<_> = request.subprotocols().collect();
            assert_eq!(subprotocols, ["chat.v1", "x", "chat.v2"]);
            let extensions: Vec<_> = request.extensions().map(|offer| offer.name()).collect();
            assert_eq!(extensions, ["a", "c", "d"]);

            // The server's order counts, names are case-sensitive.
            let chosen = request.choose(&["X", "chat.v2", "chat.v1"]);
            assert_eq!(chosen.map(|it| it.as_str()), Some("chat.v2"));
            assert_eq!(request.choose(&["chat", ""]), None);
            assert_eq!(request.choose(&[]), None);
        });
        assert_eq!(seen, Ok(()));
    }

    #[test]
    fn headers_are_bytes_in_their_order() {
        let head = b"GET / HTTP/1.1\r\nHost: h\r\nX: 1\r\nx: \xff\r\nY:\r\n\r\n";
        let seen = read(head, |request| {
            let headers = request.headers();
            let all: Vec<_> = headers.get_all("X").collect();
            assert_eq!(all, [&b"1"[..], b"\xff"]);
            assert_eq!(headers.get("y"), Some(&b""[..]));
            assert_eq!(headers.get_str("HOST"), Some("h"));
            assert_eq!(headers.get("z"), None);
            assert_eq!((headers.len(), headers.is_empty()), (4, false));
            assert_eq!(headers.iter().count(), headers.into_iter().count());
        });
        assert_eq!(seen, Ok(()));
        let not_text = read(b"GET / HTTP/1.1\r\nHost: h\r\nX: \xff\r\n\r\n", |request| {
            request.headers().get_str("X").is_none()
        });
        assert_eq!(not_text, Ok(true));
    }
}

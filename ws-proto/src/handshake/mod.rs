//! State. The opening handshake (RFC 6455 §4): what its two machines, [`server`] and [`client`],
//! have in common.
//!
//! # For adapter authors
//!
//! Keep what was received in one buffer from its start, and present all of it to `receive` each time
//! more has come. The lent array of headers bounds their number: 100 are usual on hosts, 16 on
//! firmware. When the head is complete, `head_len` says how long it was; the bytes behind it are
//! the first frames, to be given to the [`Connection`](crate::Connection):
//!
//! ```
//! use ws_proto::{
//!     Config, Event, Output, ServerHandshake,
//!     handshake::{Acceptance, EMPTY_HEADER, Upgrade},
//! };
//!
//! static CONFIG: Config = Config::new();
//!
//! // What the transport delivered: a request, and a first frame right behind it.
//! let mut input = *b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
//!     Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
//!     Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\r\n\
//!     \x82\x81\0\0\0\0!";
//! let mut buffer = [0; 512];
//! let mut output = Output::new(&mut buffer);
//!
//! let mut handshake = ServerHandshake::new();
//! let mut headers = [EMPTY_HEADER; 16];
//! let request = match handshake.receive(&input, &mut headers, &CONFIG.limits) {
//!     Ok(Some(request)) => request,
//!     Ok(None) => return Ok(()), // Read more behind what is there.
//!     Err(error) => return handshake.reject_error(error, &mut output),
//! };
//! match request.upgrade() {
//!     Upgrade::WebSocket => {}
//!     Upgrade::Refused(error) => return handshake.reject_error(error, &mut output),
//!     Upgrade::None => return handshake.reject(404, &[], b"no such page", &mut output),
//! }
//! let acceptance = Acceptance::new().subprotocol(request.choose(&["superchat", "chat"]));
//! let head_len = handshake.head_len();
//! let mut connection = handshake.accept(&acceptance, &CONFIG, &mut output)?;
//!
//! let mut frames = &mut input[head_len..];
//! assert_eq!(connection.receive(&mut frames, &mut output), Some(Event::Binary(b"!")));
//! # Ok::<(), ws_proto::handshake::HandshakeError>(())
//! ```
//!
//! Negotiation is apart from the writing of HTTP/1.1: [`Connection::established`] opens a connection
//! whose handshake another carried out.
//!
//! [`Connection::established`]: crate::Connection::established

use core::fmt;

use crate::{
    config::Timeout,
    error::Full,
    handshake::head::{HeadError, is_token},
    output::Output,
};

pub mod accept;
pub mod client;
pub mod head;
pub mod request;
pub mod server;

pub use self::{
    client::{Agreed, ClientHandshake, ClientRequest, Outcome, Response, ResponseError},
    head::{EMPTY_HEADER, Header},
    request::{Body, HttpVersion, Request, RequestError, Subprotocol, Upgrade},
    server::{Acceptance, Persistence, ServerHandshake, Unaccepted},
};

/// The headers of a request or response, in their order. Names are compared without regard to case;
/// values are bytes, for nothing says that they are UTF-8 (CVE-2026-55517 was a server that took it
/// for granted).
#[derive(Clone, Copy, Debug)]
pub struct Headers<'h, 'b> {
    headers: &'h [Header<'b>],
}

impl<'h, 'b> Headers<'h, 'b> {
    pub(crate) fn new(headers: &'h [Header<'b>]) -> Self {
        Self { headers }
    }

    /// The value of the first header of this name.
    pub fn get(&self, name: &str) -> Option<&'b [u8]> {
        self.get_all(name).next()
    }

    /// The value of the first header of this name, if it is UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&'b str> {
        core::str::from_utf8(self.get(name)?).ok()
    }

    /// The values of all headers of this name.
    pub fn get_all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'b [u8]> + use<'h, 'b, 'n> {
        self.headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }

    /// All headers.
    pub fn iter(&self) -> core::slice::Iter<'h, Header<'b>> {
        self.headers.iter()
    }

    /// How many headers there are.
    pub fn len(&self) -> usize {
        self.headers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }
}

impl<'h, 'b> IntoIterator for Headers<'h, 'b> {
    type Item = &'h Header<'b>;
    type IntoIter = core::slice::Iter<'h, Header<'b>>;

    fn into_iter(self) -> Self::IntoIter {
        self.headers.iter()
    }
}

/// Why nothing was written by a handshake. The output and the handshake are as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum HandshakeError {
    /// The output has too little room; flush it, or lend a larger one, and call again.
    Full,
    /// The call itself is wrong.
    Misuse(HandshakeMisuse),
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => Full.fmt(f),
            Self::Misuse(misuse) => misuse.fmt(f),
        }
    }
}

impl core::error::Error for HandshakeError {}

impl From<HandshakeMisuse> for HandshakeError {
    fn from(misuse: HandshakeMisuse) -> Self {
        Self::Misuse(misuse)
    }
}

impl From<Full> for HandshakeError {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

/// A request or an answer that must not be written; found by reading the calling code, or the code
/// that checks what its users may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum HandshakeMisuse {
    /// A header's name is not a token.
    InvalidHeaderName,
    /// A header's value has a CR, LF, NUL or other control character: it could begin a header or a
    /// message of its own (CVE-2026-47072).
    InvalidHeaderValue,
    /// A header that only the handshake writes.
    ReservedHeader,
    /// The origin has a space or something outside visible ASCII.
    InvalidOrigin,
    /// A subprotocol that is not a token (RFC 6455 §4.1(10)).
    InvalidSubprotocol,
    /// A subprotocol that is offered twice (§4.1(10)).
    RepeatedSubprotocol,
    /// A status that this answer cannot have.
    InvalidStatus,
    /// A body where HTTP allows none: behind 204 and 304.
    UnexpectedBody,
    /// There is no request for a WebSocket to accept.
    NothingToAccept,
    /// The request was answered: a second answer would be taken for that to the next request.
    AlreadyAnswered,
}

impl fmt::Display for HandshakeMisuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidHeaderName => "header name is not a token",
            Self::InvalidHeaderValue => "header value has a control character",
            Self::ReservedHeader => "header is written by the handshake itself",
            Self::InvalidOrigin => "origin is not visible ASCII",
            Self::InvalidSubprotocol => "subprotocol is not a token",
            Self::RepeatedSubprotocol => "subprotocol is offered twice",
            Self::InvalidStatus => "status does not fit this answer",
            Self::UnexpectedBody => "status allows no body",
            Self::NothingToAccept => "there is no request for a WebSocket to accept",
            Self::AlreadyAnswered => "request was answered already",
        })
    }
}

impl core::error::Error for HandshakeMisuse {}

/// RFC 6455 §4.1(9): the one version there is. Older drafts are not spoken (CVE-2026-59898).
pub(crate) const VERSION: &[u8] = b"13";

/// When a handshake has to be complete: an absolute time, so that a peer which sends a byte now and
/// then gains nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deadline {
    ExpectTick,
    At(u64),
    Never,
}

impl Deadline {
    /// Whether it has passed, which is reported once. The first tick starts it.
    pub(crate) fn tick(&mut self, now_ms: u64, timeout: Timeout) -> bool {
        if matches!(self, Self::ExpectTick) {
            *self = timeout.after(now_ms).map_or(Self::Never, Self::At);
        }
        match *self {
            Self::At(end) if end <= now_ms => {
                *self = Self::Never;
                true
            }
            _ => false,
        }
    }

    /// When to tick next: at once if it is past, never if it is `None`.
    pub(crate) fn next(self) -> Option<u64> {
        match self {
            Self::ExpectTick => Some(0),
            Self::At(end) => Some(end),
            Self::Never => None,
        }
    }
}

/// Whether a comma-separated list has this element, given in lower case, which is compared without
/// regard to case.
#[inline]
pub(crate) fn list_contains<const N: usize>(list: &[u8], element: &[u8; N]) -> bool {
    // Mostly the list is just that.
    is_ignoring_case(list, element) || elements(list).any(|other| is_ignoring_case(other, element))
}

/// Whether the text, which has no control characters, is this word of letters and hyphens, given in
/// lower case.
///
/// The length is a constant of the caller's, so this is a few instructions: setting one bit is lower
/// case for letters, keeps hyphens, and makes neither of anything but a CR.
#[inline]
pub(crate) fn is_ignoring_case<const N: usize>(text: &[u8], lower_case: &[u8; N]) -> bool {
    let Ok(text) = <&[u8; N]>::try_from(text) else {
        return false;
    };
    text.iter()
        .zip(lower_case)
        .fold(0, |other, (byte, lower)| other | ((byte | 0x20) ^ lower))
        == 0
}

/// The elements of a comma-separated list; empty ones do not count (RFC 2616 §2.1).
pub(crate) fn elements<'b>(list: &'b [u8]) -> impl Iterator<Item = &'b [u8]> + use<'b> {
    list.split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// Whether the caller's headers may be written, `reserved` being refused besides those that belong
/// to every handshake.
pub(crate) fn check_headers(
    headers: &[Header<'_>],
    reserved: &[&str],
) -> Result<(), HandshakeMisuse> {
    for Header { name, value } in headers {
        if !is_token(name.as_bytes()) {
            return Err(HandshakeMisuse::InvalidHeaderName);
        }
        if value
            .iter()
            .any(|&byte| byte != b'\t' && byte.is_ascii_control())
        {
            return Err(HandshakeMisuse::InvalidHeaderValue);
        }
        let is = |other: &&str| name.eq_ignore_ascii_case(other);
        let prefix = name.get(..RESERVED_PREFIX.len()).unwrap_or_default();
        if RESERVED.iter().any(is)
            || reserved.iter().any(is)
            || prefix.eq_ignore_ascii_case(RESERVED_PREFIX)
        {
            return Err(HandshakeMisuse::ReservedHeader);
        }
    }
    Ok(())
}

const RESERVED: &[&str] = &[
    "Upgrade",
    "Connection",
    "Content-Length",
    "Transfer-Encoding",
];
const RESERVED_PREFIX: &str = "Sec-WebSocket-";

/// Appends headers that were checked.
pub(crate) fn write_headers(output: &mut Output<'_>, headers: &[Header<'_>]) -> Result<(), Full> {
    for Header { name, value } in headers {
        output.append_all(&[name.as_bytes(), b": ", value, b"\r\n"])?;
    }
    Ok(())
}

/// Appends a number in decimal: a length in memory, or a smaller thing. (A `u64` would bring a
/// division of 470 bytes into firmware.)
pub(crate) fn write_decimal(output: &mut Output<'_>, mut number: usize) -> Result<(), Full> {
    // 20 digits hold 64 bits.
    let mut digits = [b'0'; 20];
    let mut unused = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        unused -= 1;
        if number == 0 {
            break;
        }
    }
    output.append_all(&[digits.get(unused..).unwrap_or_default()])
}

const _: () = assert!(size_of::<HandshakeMisuse>() == 1);
const _: () = assert!(size_of::<HandshakeError>() <= 8);
const _: () = assert!(size_of::<Deadline>() <= 16);
const _: () = assert!(size_of::<HeadError>() == 1);

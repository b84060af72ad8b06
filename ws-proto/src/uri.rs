//! Wire. `ws:` and `wss:` URIs (RFC 6455 §3).

use core::fmt;

/// A `ws:` or `wss:` URI, split into borrowed parts.
///
/// The path and the query are left as they are written, percent-encoding included: what the server
/// sees is what the caller wrote.
///
/// ```
/// use ws_proto::uri::WsUri;
///
/// let uri = WsUri::parse("wss://[2001:db8::1]:8443?room=7")?;
/// assert!(uri.is_secure());
/// assert_eq!((uri.host(), uri.port()), ("2001:db8::1", 8443));
/// assert_eq!((uri.path(), uri.query()), ("/", Some("room=7")));
/// # Ok::<(), ws_proto::uri::UriError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct WsUri<'a> {
    secure: bool,
    user_info: Option<&'a str>,
    /// With the brackets of an IPv6 literal, as in `Host`.
    host: &'a str,
    port: u16,
    /// Empty, or from the first `/` or `?` to the end.
    resource: &'a str,
}

impl<'a> WsUri<'a> {
    /// Splits a URI.
    ///
    /// Stricter than RFC 3986: an empty port, port 0, percent-encoding in the host and an IPv6 zone
    /// are refused, because what reads them next does not agree about their meaning.
    ///
    /// # Errors
    ///
    /// A [`UriError`] names the part that is wrong.
    pub fn parse(uri: &'a str) -> Result<Self, UriError> {
        // What is not visible ASCII could end the request line (CVE-2026-47072) or be written
        // differently by the next reader.
        if !uri.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(UriError::InvalidCharacter);
        }
        // RFC 6455 §3: "Fragment identifiers are meaningless in the context of WebSocket URIs and
        // MUST NOT be used on these URIs." A literal `#` is written `%23`.
        if uri.contains('#') {
            return Err(UriError::Fragment);
        }
        let (scheme, rest) = split_scheme(uri).ok_or(UriError::UnknownScheme)?;
        let secure = match scheme {
            _ if scheme.eq_ignore_ascii_case("ws") => false,
            _ if scheme.eq_ignore_ascii_case("wss") => true,
            _ => return Err(UriError::UnknownScheme),
        };
        let (authority, resource) = split_authority(rest);
        let (user_info, host_and_port) = match split_once(authority, b'@') {
            Some((user_info, _)) if !is_user_info(user_info) => {
                return Err(UriError::InvalidUserInfo);
            }
            Some((user_info, host_and_port)) => (Some(user_info), host_and_port),
            None => (None, authority),
        };
        let (host_len, port) = split_host(host_and_port.as_bytes())?;
        let port = match port {
            Some(digits) => parse_port(digits)?,
            None => default_port(secure),
        };
        let host = host_and_port.get(..host_len).unwrap_or_default();
        if host.is_empty() {
            return Err(UriError::MissingHost);
        }
        Ok(Self {
            secure,
            user_info,
            host,
            port,
            resource,
        })
    }

    /// Whether the scheme is `wss`: TLS comes first (§4.1).
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host to connect to: a name or an address, without the brackets of an IPv6 literal.
    pub fn host(&self) -> &'a str {
        let inner = self.host.strip_prefix('[');
        inner
            .and_then(|inner| inner.strip_suffix(']'))
            .unwrap_or(self.host)
    }

    /// The host as the `Host` header has it, with the brackets of an IPv6 literal, without the
    /// port.
    pub fn host_with_brackets(&self) -> &'a str {
        self.host
    }

    /// The port: 80 for `ws` and 443 for `wss` unless the URI names another (§3).
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the port is the scheme's own, which `Host` does not repeat (§4.1).
    pub fn is_default_port(&self) -> bool {
        self.port == default_port(self.secure)
    }

    /// The path, `/` if the URI has none (§3).
    pub fn path(&self) -> &'a str {
        let path = match split_once(self.resource, b'?') {
            Some((path, _)) => path,
            None => self.resource,
        };
        if path.is_empty() { "/" } else { path }
    }

    /// What follows the first `?`; `None` if there is none.
    pub fn query(&self) -> Option<&'a str> {
        split_once(self.resource, b'?').map(|(_, query)| query)
    }

    /// The resource name (§3) in two pieces, to be written one behind the other: path, then query.
    pub fn resource_name(&self) -> [&'a str; 2] {
        // RFC 6455 §3: the resource name is '"/" if the path component is empty', then the path,
        // '"?" if the query component is non-empty', and the query.
        if self.resource.starts_with('/') {
            [self.resource, ""]
        } else {
            ["/", self.resource]
        }
    }

    /// The user name and password as they are written, percent-encoded, with a colon between them;
    /// for `Authorization: Basic`, never for the request line.
    pub fn user_info(&self) -> Option<&'a str> {
        self.user_info
    }
}

/// The URI without its user name and password: fit for logs.
impl fmt::Display for WsUri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.secure { "wss://" } else { "ws://" })?;
        f.write_str(self.host)?;
        if !self.is_default_port() {
            write!(f, ":{}", self.port)?;
        }
        let [path, query] = self.resource_name();
        f.write_str(path)?;
        f.write_str(query)
    }
}

impl fmt::Debug for WsUri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WsUri({self})")
    }
}

/// What is wrong with a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum UriError {
    /// A space, a control character, or a character outside ASCII.
    InvalidCharacter,
    /// Neither `ws://` nor `wss://`.
    UnknownScheme,
    /// A fragment (`#`); a literal `#` is written `%23`.
    Fragment,
    /// The user name or password has a character that is to be percent-encoded.
    InvalidUserInfo,
    /// No host.
    MissingHost,
    /// The host is neither a name nor an address.
    InvalidHost,
    /// The port is not a number from 1 to 65535.
    InvalidPort,
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidCharacter => "URI has a character that must be percent-encoded",
            Self::UnknownScheme => "URI is neither ws: nor wss:",
            Self::Fragment => "URI has a fragment",
            Self::InvalidUserInfo => "user name or password of the URI is malformed",
            Self::MissingHost => "URI has no host",
            Self::InvalidHost => "host of the URI is malformed",
            Self::InvalidPort => "port of the URI is not 1 to 65535",
        })
    }
}

impl core::error::Error for UriError {}

// Separators are ASCII, and looked for byte by byte: the searches of `str` are made for patterns of
// any length, cost a kilobyte of firmware, and have panicking paths.

/// What is before and behind the first `separator`.
pub(crate) fn split_once(text: &str, separator: u8) -> Option<(&str, &str)> {
    let at = text.bytes().position(|byte| byte == separator)?;
    let (before, rest) = text.split_at_checked(at)?;
    Some((before, rest.get(1..)?))
}

/// The scheme of a URI, and what is behind its `://`.
pub(crate) fn split_scheme(uri: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = split_once(uri, b':')?;
    Some((scheme, rest.strip_prefix("//")?))
}

/// The authority at the start of `rest`, and the path and query.
pub(crate) fn split_authority(rest: &str) -> (&str, &str) {
    let ends = |byte| matches!(byte, b'/' | b'?');
    let end = rest.bytes().position(ends).unwrap_or(rest.len());
    rest.split_at_checked(end).unwrap_or((rest, ""))
}

const fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

/// Whether the text is a host and perhaps a port, as `Host` has them: what [`WsUri::parse`] takes,
/// and the empty port besides, for nothing is read into it there.
///
/// In bytes, for each request is asked this: what has passed is ASCII.
pub(crate) fn is_host_and_port(text: &[u8]) -> bool {
    // RFC 3986 §3.2.3: "port = *DIGIT".
    let is_port = |digits: &[u8]| digits.is_empty() || parse_port(digits).is_ok();
    split_host(text).is_ok_and(|(host_len, port)| host_len != 0 && port.is_none_or(is_port))
}

/// The length of the host at the start of an authority, with its brackets, and the digits of the
/// port, if there is a colon for one. The host is valid, but may be missing.
fn split_host(authority: &[u8]) -> Result<(usize, Option<&[u8]>), UriError> {
    let host_len = match authority {
        [b'[', rest @ ..] => address_len(rest).ok_or(UriError::InvalidHost)? + "[]".len(),
        name => name.iter().take_while(|byte| is_name_byte(**byte)).count(),
    };
    match authority.get(host_len..) {
        None | Some([]) => Ok((host_len, None)),
        Some([b':', digits @ ..]) => Ok((host_len, Some(digits))),
        Some(_) => Err(UriError::InvalidHost),
    }
}

/// The length of the IPv6 address before a bracket.
fn address_len(text: &[u8]) -> Option<usize> {
    let len = text.iter().position(|&byte| byte == b']')?;
    is_ipv6(text.get(..len)?).then_some(len)
}

/// RFC 3986 §3.2.2, `IPv6address`. The parser of the standard library has panicking paths, which
/// what a peer sends must not come near, and a kilobyte of firmware.
fn is_ipv6(text: &[u8]) -> bool {
    let Some(at) = text.windows(2).position(|pair| pair == b"::") else {
        return groups(text) == Some(8);
    };
    let before = text.get(..at).unwrap_or_default();
    let behind = text.get(at + 2..).unwrap_or_default();
    // The gap stands for one group at least, and IPv4 comes last.
    let counts = groups(before).zip(groups(behind));
    !before.contains(&b'.') && counts.is_some_and(|(before, behind)| before + behind <= 7)
}

/// How many groups of 16 bits the text has, the last two of which may be written as IPv4.
fn groups(text: &[u8]) -> Option<usize> {
    if text.is_empty() {
        return Some(0);
    }
    let mut groups = 0;
    let mut parts = text.split(|&byte| byte == b':');
    while let Some(part) = parts.next() {
        groups += match part.len() {
            1..=4 if part.iter().all(u8::is_ascii_hexdigit) => 1,
            _ if is_ipv4(part) && parts.next().is_none() => 2,
            _ => return None,
        };
    }
    Some(groups)
}

fn is_ipv4(text: &[u8]) -> bool {
    let is_octet = |part: &[u8]| {
        matches!(
            part,
            [b'0'..=b'9']
                | [b'1'..=b'9', b'0'..=b'9']
                | [b'1', b'0'..=b'9', b'0'..=b'9']
                | [b'2', b'0'..=b'4', b'0'..=b'9']
                | [b'2', b'5', b'0'..=b'5']
        )
    };
    let mut parts = text.split(|&byte| byte == b'.');
    parts.all(is_octet) && text.iter().filter(|byte| **byte == b'.').count() == 3
}

/// Stricter than RFC 3986 §3.2.2, by what no resolver knows: percent-encoding and sub-delims.
#[inline]
fn is_name_byte(byte: u8) -> bool {
    IS_NAME[usize::from(byte)]
}

/// A look here has no branch to mispredict.
static IS_NAME: [bool; 256] = {
    let mut is_name = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        is_name[byte] = matches!(byte as u8,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~');
        byte += 1;
    }
    is_name
};

fn parse_port(digits: &[u8]) -> Result<u16, UriError> {
    let number = digits.iter().try_fold(0_u16, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| byte - b'0')?;
        number.checked_mul(10)?.checked_add(u16::from(digit))
    });
    number
        .filter(|&number| number != 0)
        .ok_or(UriError::InvalidPort)
}

/// RFC 3986 §3.2.1: unreserved, percent-encoded, sub-delims and colons.
fn is_user_info(text: &str) -> bool {
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let valid = match byte {
            b'%' => {
                let digits = [rest.next(), rest.next()];
                digits
                    .iter()
                    .all(|digit| digit.is_some_and(|digit| digit.is_ascii_hexdigit()))
            }
            _ => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:".contains(&byte),
        };
        if !valid {
            return false;
        }
    }
    true
}

const _: () = assert!(size_of::<UriError>() == 1);

#[cfg(test)]
mod tests {
    use core::net::Ipv6Addr;
    use std::{string::String, vec::Vec};

    use super::*;

    /// Every text of up to five pieces is judged as the standard library does.
    #[test]
    fn rfc_003_ipv6_addresses() {
        let pieces = [
            ":",
            "::",
            "1:",
            "ab:",
            "fF09",
            "1",
            "12345:",
            "g",
            "1.2.3.4",
            "1.256.0.0",
            "01.",
        ];
        let mut texts = Vec::from([String::new()]);
        for _ in 0..5 {
            let longer = |text: &String| pieces.map(|piece| std::format!("{text}{piece}"));
            texts = texts.iter().flat_map(longer).collect();
            for text in &texts {
                for filler in ["", "0:0:0:", "0:0:0:0:0:"] {
                    let text = std::format!("{filler}{text}");
                    let expected = text.parse::<Ipv6Addr>().is_ok();
                    assert_eq!(is_ipv6(text.as_bytes()), expected, "{text}");
                }
            }
        }
    }

    #[test]
    fn rfc_001_uri_table() {
        let refused = [
            ("http://h", UriError::UnknownScheme),
            ("h/p", UriError::UnknownScheme),
            ("", UriError::UnknownScheme),
            ("ws:/h/", UriError::UnknownScheme),
            ("ws://h/#x", UriError::Fragment),
            ("ws://h#", UriError::Fragment),
            ("ws:///p", UriError::MissingHost),
            ("ws://", UriError::MissingHost),
            ("ws://:80/", UriError::MissingHost),
            ("ws://u@/", UriError::MissingHost),
            ("ws://h:/", UriError::InvalidPort),
            ("ws://h:0/", UriError::InvalidPort),
            ("ws://h:65536/", UriError::InvalidPort),
            ("ws://h:+80/", UriError::InvalidPort),
            ("ws://h:8o/", UriError::InvalidPort),
            ("ws://::1/", UriError::InvalidPort),
            ("ws://[::1/", UriError::InvalidHost),
            ("ws://[::1]x/", UriError::InvalidHost),
            ("ws://[::g]/", UriError::InvalidHost),
            ("ws://[fe80::1%25eth0]/", UriError::InvalidHost),
            ("ws://a%00b/", UriError::InvalidHost),
            ("ws://a,b/", UriError::InvalidHost),
            ("ws://a@b@c/", UriError::InvalidHost),
            ("ws://a%4@c/", UriError::InvalidUserInfo),
            ("ws://a\\@c/", UriError::InvalidUserInfo),
            ("ws://h/a b", UriError::InvalidCharacter),
            ("ws://h/\r\nX: y", UriError::InvalidCharacter),
            ("ws://h/\0", UriError::InvalidCharacter),
            ("ws://h/\x7f", UriError::InvalidCharacter),
            ("ws://h/é", UriError::InvalidCharacter),
            (" ws://h/", UriError::InvalidCharacter),
        ];
        for (uri, error) in refused {
            assert_eq!(WsUri::parse(uri), Err(error), "{uri:?}");
        }
    }

    #[test]
    fn rfc_002_resource_name_and_default_ports() {
        let table = [
            ("ws://h", 80, true, ["/", ""], "/", None),
            ("WSS://h", 443, true, ["/", ""], "/", None),
            ("ws://h:443/", 443, false, ["/", ""], "/", None),
            ("wss://h:443?", 443, true, ["/", "?"], "/", Some("")),
            ("ws://h?a=b", 80, true, ["/", "?a=b"], "/", Some("a=b")),
            (
                "ws://h/a?b?c/d",
                80,
                true,
                ["/a?b?c/d", ""],
                "/a",
                Some("b?c/d"),
            ),
            (
                "ws://h/%23%2f/..",
                80,
                true,
                ["/%23%2f/..", ""],
                "/%23%2f/..",
                None,
            ),
            ("ws://h/a@b:c", 80, true, ["/a@b:c", ""], "/a@b:c", None),
        ];
        for (text, port, default, resource, path, query) in table {
            let uri = WsUri::parse(text).expect(text);
            assert_eq!((uri.host(), uri.port()), ("h", port), "{text}");
            assert_eq!(uri.is_default_port(), default, "{text}");
            assert_eq!(uri.resource_name(), resource, "{text}");
            assert_eq!((uri.path(), uri.query()), (path, query), "{text}");
        }
    }

    #[test]
    fn rfc_003_user_info_and_ipv6() {
        let uri = WsUri::parse("ws://me:p%40ss@[::1]:81/x").expect("valid");
        assert_eq!(uri.user_info(), Some("me:p%40ss"));
        assert_eq!((uri.host(), uri.host_with_brackets()), ("::1", "[::1]"));
        assert_eq!(std::format!("{uri}"), "ws://[::1]:81/x");
        assert_eq!(std::format!("{uri:?}"), "WsUri(ws://[::1]:81/x)");
        assert_eq!(WsUri::parse("ws://h").expect("valid").user_info(), None);
    }
}

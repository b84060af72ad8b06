//! Wire. `ws:` and `wss:` URIs (RFC 6455 §3).

use core::{fmt, net::Ipv6Addr};

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
        let (host, port) = split_port(host_and_port)?;
        let port = match port {
            Some(digits) => parse_port(digits)?,
            None => default_port(secure),
        };
        check_host(host)?;
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
pub(crate) fn is_host_and_port(text: &str) -> bool {
    // RFC 3986 §3.2.3: "port = *DIGIT".
    let is_port = |digits: &str| digits.is_empty() || parse_port(digits).is_ok();
    split_port(text).is_ok_and(|(host, port)| check_host(host).is_ok() && port.is_none_or(is_port))
}

/// Separates the port from the host, which keeps its brackets.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), UriError> {
    let find = |wanted| authority.bytes().position(|byte| byte == wanted);
    // The colons of an IPv6 literal are inside the brackets.
    let end = if authority.starts_with('[') {
        1 + find(b']').ok_or(UriError::InvalidHost)?
    } else {
        find(b':').unwrap_or(authority.len())
    };
    let (host, rest) = authority.split_at_checked(end).unwrap_or((authority, ""));
    match rest.strip_prefix(':') {
        Some(digits) => Ok((host, Some(digits))),
        None if rest.is_empty() => Ok((host, None)),
        None => Err(UriError::InvalidHost),
    }
}

fn parse_port(digits: &str) -> Result<u16, UriError> {
    // A sign would be a number to the standard library.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UriError::InvalidPort);
    }
    match digits.parse() {
        Ok(0) | Err(_) => Err(UriError::InvalidPort),
        Ok(port) => Ok(port),
    }
}

fn check_host(host: &str) -> Result<(), UriError> {
    if host.is_empty() {
        return Err(UriError::MissingHost);
    }
    let valid = match host.strip_prefix('[') {
        Some(inner) => inner
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        // Stricter than RFC 3986 §3.2.2, by what no resolver knows: percent-encoding and sub-delims.
        None => host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')),
    };
    if valid {
        Ok(())
    } else {
        Err(UriError::InvalidHost)
    }
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
    use super::*;

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

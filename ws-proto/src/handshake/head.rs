//! Wire. Heads of HTTP/1.1 messages (RFC 9112): where one ends, and what is in it.
//!
//! A head is found first and parsed afterwards, once. [`find_end`] resumes where it stopped, so
//! that a head costs the same whatever the segments it comes in (CVE-2023-43669 was a parser that
//! began anew with each), and refuses what is too long before it is complete.

use httparse::{Error, Status};

/// An element of the lent array that is not filled yet.
#[doc(inline)]
pub use httparse::EMPTY_HEADER;
/// A header of HTTP: a name, and a value without whitespace around it.
///
/// It is the type of `httparse` 1, which fills the lent array in place. With one of our own there
/// would be a second array on the stack, 3200 bytes for 100 headers on 64 bits, and a pass that
/// copies one to the other. So the next major version of `httparse` waits for one of ours; rely on
/// nothing but the two fields and [`EMPTY_HEADER`].
///
#[doc(inline)]
pub use httparse::Header;

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum HeadError {
    /// The request or status line is not one.
    InvalidStartLine,
    /// The request or status line is longer than the limit.
    StartLineTooLong,
    /// The head is longer than the limit.
    TooLong,
    /// More headers than the lent array holds.
    TooManyHeaders,
    /// A line ends with LF alone.
    BareLineFeed,
    /// A header line without a name that is a token, directly followed by a colon; folded lines
    /// are such lines.
    InvalidHeaderName,
    /// A CR, NUL or other control character in a value.
    InvalidHeaderValue,
    /// A version of HTTP other than 1.0 and 1.1.
    UnsupportedVersion,
}

/// The start line and headers of a request, as views of the head.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'h, 'b> {
    /// The method, a token.
    pub method: &'b str,
    /// The request target, not further checked.
    pub target: &'b str,
    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    pub minor_version: u8,
    /// The headers in their order, without whitespace around the values.
    pub headers: &'h [Header<'b>],
}

/// The status line and headers of a response, as views of the head.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'h, 'b> {
    /// The status code: 100 to 999.
    pub status: u16,
    /// The reason phrase; empty also when it is not ASCII.
    pub reason: &'b str,
    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    pub minor_version: u8,
    /// The headers in their order, without whitespace around the values.
    pub headers: &'h [Header<'b>],
}

/// Looks for the end of the head that begins with `input`, the first `scanned` bytes of which an
/// earlier call has seen. Gives the length of the head, its empty line included, or `None` when
/// there has to be more input.
///
/// Each byte is looked at once, except for the start line when the input outgrows
/// `max_start_line`, and the two bytes before `scanned`.
///
/// # Errors
///
/// [`HeadError::BareLineFeed`], [`HeadError::StartLineTooLong`], [`HeadError::TooLong`], and
/// [`HeadError::InvalidStartLine`] when the first byte already cannot be right (a TLS handshake
/// knocking at a plain port): each at once, not when the head is complete.
pub fn find_end(
    input: &[u8],
    scanned: usize,
    max_start_line: usize,
    max_head: usize,
) -> Result<Option<usize>, HeadError> {
    // RFC 9112 §2.2 lets a server skip empty lines before the request line. We do not: nothing
    // that speaks WebSocket sends them.
    if input.first().is_some_and(|&first| !is_token_byte(first)) {
        return Err(HeadError::InvalidStartLine);
    }
    let window = input.get(..max_head).unwrap_or(input);
    // Before what may be wrong behind it: the fault that is named is the first there is, however
    // the head was cut.
    let bound = max_start_line.saturating_add(LINE_END);
    if scanned < bound
        && let Some(start) = window.get(..bound)
        && !start.contains(&b'\n')
    {
        return Err(HeadError::StartLineTooLong);
    }
    let end = find_empty_line(window, scanned)?;
    if end.is_none() && input.len() >= max_head {
        return Err(HeadError::TooLong);
    }
    Ok(end)
}

/// Reads the head of a request that [`find_end`] has found.
///
/// # Errors
///
/// Any [`HeadError`] that is not about lengths, and [`HeadError::TooManyHeaders`].
pub fn parse_request<'h, 'b>(
    head: &'b [u8],
    headers: &'h mut [Header<'b>],
) -> Result<RequestHead<'h, 'b>, HeadError> {
    let mut parsed = httparse::Request::new(headers);
    let len = parsed.parse(head);
    check_parsed(len, head)?;
    match parsed {
        httparse::Request {
            method: Some(method),
            path: Some(target),
            version: Some(minor_version),
            headers,
        } => Ok(RequestHead {
            method,
            target,
            minor_version,
            headers,
        }),
        _ => Err(HeadError::InvalidStartLine),
    }
}

/// Reads the head of a response that [`find_end`] has found.
///
/// # Errors
///
/// As [`parse_request`].
pub fn parse_response<'h, 'b>(
    head: &'b [u8],
    headers: &'h mut [Header<'b>],
) -> Result<ResponseHead<'h, 'b>, HeadError> {
    let mut parsed = httparse::Response::new(headers);
    let len = parsed.parse(head);
    check_parsed(len, head)?;
    match parsed {
        httparse::Response {
            version: Some(minor_version),
            // RFC 9110 §15: "All valid status codes are within the range of 100 to 599, inclusive."
            // Those above are in use, and are a refusal like any; nothing sends one below.
            code: Some(status @ 100..),
            reason,
            headers,
        } => Ok(ResponseHead {
            status,
            reason: reason.unwrap_or_default(),
            minor_version,
            headers,
        }),
        _ => Err(HeadError::InvalidStartLine),
    }
}

/// Whether `text` is a token: one or more of RFC 9110 §5.6.2's characters, which are those of RFC
/// 2616 as well.
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_token_byte(byte))
}

#[inline]
pub(crate) fn is_token_byte(byte: u8) -> bool {
    IS_TOKEN[usize::from(byte)]
}

/// A look here has no branch to mispredict.
static IS_TOKEN: [bool; 256] = {
    let mut is_token = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        is_token[byte] = matches!(byte as u8,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'!' | b'#' | b'$' | b'%' | b'&' | b'\''
            | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~');
        byte += 1;
    }
    is_token
};

const LINE_END: usize = b"\r\n".len();

/// Bytes judged at a time: enough to hide the cost of the judgement.
const BLOCK: usize = 32;

/// The same for what is left, so that little of it is looked at byte by byte.
const SMALL_BLOCK: usize = 8;

/// The length up to the first empty line, looking from `scanned` on.
///
/// Both things looked for end with an LF: a bare one has no CR before it, and that of an empty line
/// has an LF two bytes before it. Whole blocks are searched for either; only the block that has one
/// is looked at byte by byte.
fn find_empty_line(window: &[u8], scanned: usize) -> Result<Option<usize>, HeadError> {
    let mut at = scanned;
    while at < 2 {
        match window.get(at) {
            None => return Ok(None),
            Some(b'\n') => return Err(HeadError::BareLineFeed),
            Some(_) => at += 1,
        }
    }
    at += quiet::<BLOCK>(window, at);
    at += quiet::<SMALL_BLOCK>(window, at);
    let rest = window.get(at - 2..).unwrap_or_default();
    for (i, bytes) in rest.windows(3).enumerate() {
        match bytes {
            b"\n\r\n" => return Ok(Some(at + i + 1)),
            [_, before, b'\n'] if *before != b'\r' => return Err(HeadError::BareLineFeed),
            _ => {}
        }
    }
    Ok(None)
}

/// How many bytes from `at`, in whole blocks, have nothing in them that is looked for.
#[inline]
fn quiet<const N: usize>(window: &[u8], at: usize) -> usize {
    let blocks = |from: usize| {
        let bytes = window.get(from..).unwrap_or_default();
        bytes.as_chunks::<N>().0.iter()
    };
    let blocks = blocks(at).zip(blocks(at - 1)).zip(blocks(at - 2));
    N * blocks
        .take_while(|((block, before), two_before)| !ends_something(block, before, two_before))
        .count()
}

/// Whether the block has an LF that is bare or the end of an empty line. Without branches, so that
/// it becomes a handful of vector instructions.
#[inline]
fn ends_something<const N: usize>(block: &[u8; N], before: &[u8; N], two_before: &[u8; N]) -> bool {
    let mut found = 0;
    for i in 0..N {
        let bare = u8::from(before[i] != b'\r');
        let empty = u8::from(two_before[i] == b'\n');
        found |= u8::from(block[i] == b'\n') & (bare | empty);
    }
    found != 0
}

/// Whether the parser took the whole head, and what it says if not.
fn check_parsed(len: httparse::Result<usize>, head: &[u8]) -> Result<(), HeadError> {
    Err(match len {
        Ok(Status::Complete(len)) if len == head.len() => return Ok(()),
        Ok(_) => HeadError::InvalidHeaderName,
        Err(Error::TooManyHeaders) => HeadError::TooManyHeaders,
        Err(Error::HeaderName) => HeadError::InvalidHeaderName,
        Err(Error::HeaderValue | Error::NewLine) => HeadError::InvalidHeaderValue,
        Err(Error::Version) if has_version(head) => HeadError::UnsupportedVersion,
        Err(Error::Status | Error::Token | Error::Version) => HeadError::InvalidStartLine,
    })
}

/// Whether there is a version of HTTP where the start line should have one, if not one of ours.
fn has_version(head: &[u8]) -> bool {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|&byte| byte == b' ');
    let version = if line.starts_with(b"HTTP/") {
        words.next()
    } else {
        words.nth(2)
    };
    matches!(version, Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor])
        if major.is_ascii_digit() && minor.is_ascii_digit())
}

const _: () = assert!(size_of::<HeadError>() == 1);

#[cfg(test)]
mod tests {
    use std::{vec, vec::Vec};

    use super::*;

    const HEAD: &[u8] = b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nA: \r\n\r\n";

    fn find(input: &[u8]) -> Result<Option<usize>, HeadError> {
        find_end(input, 0, 8192, 16384)
    }

    #[test]
    fn head_ends_at_its_first_empty_line() {
        assert_eq!(find(HEAD), Ok(Some(HEAD.len())));
        let mut more = HEAD.to_vec();
        more.extend_from_slice(b"\x81\x80\n\n\r\n\r\n");
        assert_eq!(find(&more), Ok(Some(HEAD.len())));
        for cut in 0..HEAD.len() {
            assert_eq!(find(&HEAD[..cut]), Ok(None), "{cut}");
            for first in 0..=cut {
                assert_eq!(find_end(&HEAD[..cut], first, 8192, 16384), Ok(None));
            }
            assert_eq!(find_end(HEAD, cut, 8192, 16384), Ok(Some(HEAD.len())));
        }
    }

    /// All alignments of the end to the blocks.
    #[test]
    fn head_ends_at_every_offset() {
        for len in 0..200 {
            let mut head = b"GET / HTTP/1.1\r\nA: ".to_vec();
            head.resize(head.len() + len, b'x');
            head.extend_from_slice(b"\r\n\r\n");
            assert_eq!(find(&head), Ok(Some(head.len())), "{len}");
            head.extend_from_slice(&[0x81; 100]);
            assert_eq!(find(&head), Ok(Some(head.len() - 100)), "{len}");
        }
    }

    #[test]
    fn rfc_030_bare_line_feed_at_every_offset_is_found_at_once() {
        for len in 1..200 {
            let mut head = vec![b'x'; len];
            head.push(b'\n');
            for scanned in 0..=len {
                let found = find_end(&head, scanned, 8192, 16384);
                assert_eq!(found, Err(HeadError::BareLineFeed), "{len} {scanned}");
            }
        }
        assert_eq!(find(b"GET / HTTP/1.1\r\n\n"), Err(HeadError::BareLineFeed));
        assert_eq!(find(b"G\r\r\n\n"), Err(HeadError::BareLineFeed));
    }

    /// What was scanned is not looked at again: it may as well be something else.
    #[test]
    fn rfc_033_each_byte_is_looked_at_once_in_segments_of_one_byte() {
        let mut head = b"GET / HTTP/1.1\r\nA: ".to_vec();
        head.resize(16380, b'x');
        head.extend_from_slice(b"\r\n\r\n");
        let mut poisoned = head.clone();
        for len in 1..=head.len() {
            // Only the first byte and the two before the new one are still what they were.
            if let Some(old) = len.checked_sub(4).filter(|&old| old > 0) {
                poisoned[old] = b'\n';
            }
            let expected = if len < head.len() { None } else { Some(len) };
            let found = find_end(&poisoned[..len], len - 1, 8192, 16384);
            assert_eq!(found, Ok(expected), "{len}");
        }
    }

    #[test]
    fn rfc_031_limits_hold_before_the_head_is_complete() {
        let line = b"GET /aaa HTTP/1.1\r\n";
        let exact = line.len() - 2;
        assert_eq!(find_end(line, 0, exact, 99), Ok(None));
        assert_eq!(
            find_end(line, 0, exact - 1, 99),
            Err(HeadError::StartLineTooLong)
        );
        assert_eq!(
            find_end(&line[..exact + 1], 0, exact - 1, 99),
            Err(HeadError::StartLineTooLong)
        );
        assert_eq!(find_end(&line[..exact], 0, exact - 1, 99), Ok(None));
        // The same when it comes byte by byte.
        let one_by_one = |max: usize| -> Vec<_> {
            (1..=line.len())
                .map(|len| find_end(&line[..len], len - 1, max, 99))
                .collect()
        };
        assert!(one_by_one(exact).iter().all(|found| *found == Ok(None)));
        assert!(one_by_one(exact - 1).contains(&Err(HeadError::StartLineTooLong)));

        assert_eq!(find_end(HEAD, 0, 99, HEAD.len()), Ok(Some(HEAD.len())));
        let too_long = Err(HeadError::TooLong);
        assert_eq!(find_end(HEAD, 0, 99, HEAD.len() - 1), too_long);
        assert_eq!(find_end(&HEAD[..40], 0, 99, 40), too_long);
        assert_eq!(find_end(&HEAD[..39], 0, 99, 40), Ok(None));
        assert_eq!(find_end(b"G", 0, usize::MAX, usize::MAX), Ok(None));
    }

    #[test]
    fn first_byte_is_judged_at_once() {
        for first in 0..=u8::MAX {
            let expected = if is_token_byte(first) {
                Ok(None)
            } else {
                Err(HeadError::InvalidStartLine)
            };
            assert_eq!(find(&[first]), expected, "{first:#x}");
        }
    }

    #[test]
    fn rfc_016_grammar_of_heads() {
        use HeadError::{
            InvalidHeaderName, InvalidHeaderValue, InvalidStartLine, UnsupportedVersion,
        };

        let table: &[(&[u8], HeadError)] = &[
            (b"GET / HTTP/1.1\r\nA : b\r\n\r\n", InvalidHeaderName),
            (b"GET / HTTP/1.1\r\nA\t: b\r\n\r\n", InvalidHeaderName),
            (b"GET / HTTP/1.1\r\n A: b\r\n\r\n", InvalidHeaderName),
            (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", InvalidHeaderName),
            (b"GET / HTTP/1.1\r\nA: b\r\n\tc\r\n\r\n", InvalidHeaderName),
            (b"GET / HTTP/1.1\r\nA:\r\n c\r\n\r\n", InvalidHeaderName),
            (b"GET / HTTP/1.1\r\nA\r\n\r\n", InvalidHeaderName),
            (b"GET / HTTP/1.1\r\n: b\r\n\r\n", InvalidHeaderName),
            (b"GET / HTTP/1.1\r\nA(: b\r\n\r\n", InvalidHeaderName),
            (b"GET / HTTP/1.1\r\nA\xe9: b\r\n\r\n", InvalidHeaderName),
            (b"GET / HTTP/1.1\r\nA\0: b\r\n\r\n", InvalidHeaderName),
            (b"GET / HTTP/1.1\r\nA: b\0c\r\n\r\n", InvalidHeaderValue),
            (b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", InvalidHeaderValue),
            (b"GET / HTTP/1.1\r\nA: b\r\r\n\r\n", InvalidHeaderValue),
            (b"GET / HTTP/1.1\r\nA: b\x0bc\r\n\r\n", InvalidHeaderValue),
            (b"GET / HTTP/1.1\r\nA: b\x7fc\r\n\r\n", InvalidHeaderValue),
            (b"GET / HTTP/1.1\r\n\r\n\r\n", InvalidHeaderName),
            (b"GET  / HTTP/1.1\r\n\r\n", InvalidStartLine),
            (b"GET /  HTTP/1.1\r\n\r\n", InvalidStartLine),
            (b"GET / HTTP/1.1 \r\n\r\n", InvalidHeaderValue),
            (b"GET / \r\n\r\n", InvalidStartLine),
            (b"GET /\r\n\r\n", InvalidStartLine),
            (b"GET / HTTP/1\r\n\r\n", InvalidStartLine),
            (b"GET / http/1.1\r\n\r\n", InvalidStartLine),
            (b"GET / HTTP/0.9\r\n\r\n", UnsupportedVersion),
            (b"GET / HTTP/1.2\r\n\r\n", UnsupportedVersion),
            (b"GET / HTTP/2.0\r\n\r\n", UnsupportedVersion),
            (b"PRI * HTTP/2.0\r\n\r\n", UnsupportedVersion),
            (b"G(T / HTTP/1.1\r\n\r\n", InvalidStartLine),
            (b"GET /\x01 HTTP/1.1\r\n\r\n", InvalidStartLine),
        ];
        for (head, error) in table {
            let mut headers = [EMPTY_HEADER; 4];
            let parsed = parse_request(head, &mut headers).map(drop);
            assert_eq!(parsed, Err(*error), "{}", head.escape_ascii());
        }
    }

    /// Every byte inside a value is either kept as it is or refused; none ends a line (security
    /// record §1, row 10).
    #[test]
    fn every_byte_in_a_value() {
        for byte in 0..=u8::MAX {
            let head = [b"GET / HTTP/1.1\r\nA: b", &[byte][..], b"c\r\n\r\n"].concat();
            let mut headers = [EMPTY_HEADER; 4];
            let parsed = find(&head).and_then(|_| parse_request(&head, &mut headers));
            match byte {
                0..=8 | 10..=31 | 127 => assert!(parsed.is_err(), "{byte:#x}"),
                _ => assert_eq!(parsed.expect("kept").headers[0].value, [b'b', byte, b'c']),
            }
        }
    }

    #[test]
    fn rfc_031_header_count_is_bounded_by_the_lent_array() {
        let mut headers = [EMPTY_HEADER; 2];
        let parsed = parse_request(HEAD, &mut headers).map(|head| head.headers.len());
        assert_eq!(parsed, Ok(2));
        let parsed = parse_request(HEAD, &mut headers[..1]).map(drop);
        assert_eq!(parsed, Err(HeadError::TooManyHeaders));
    }

    #[test]
    fn heads_of_responses() {
        let mut headers = [EMPTY_HEADER; 2];
        let head = parse_response(b"HTTP/1.1 101 Yes\r\nA: \t b \t\r\n\r\n", &mut headers);
        let head = head.expect("valid");
        assert_eq!((head.status, head.reason), (101, "Yes"));
        assert_eq!((head.minor_version, head.headers[0].value), (1, &b"b"[..]));
        for (head, error) in [
            (&b"HTTP/1.1 10 x\r\n\r\n"[..], HeadError::InvalidStartLine),
            (b"HTTP/1.1 1010 x\r\n\r\n", HeadError::InvalidStartLine),
            (b"HTTP/1.1 000 x\r\n\r\n", HeadError::InvalidStartLine),
            (b"HTTP/1.1 099 x\r\n\r\n", HeadError::InvalidStartLine),
            (b"HTTP/3.0 101 x\r\n\r\n", HeadError::UnsupportedVersion),
            (b"SSH-2.0-x\r\n\r\n", HeadError::InvalidStartLine),
            (
                b"HTTP/1.1 101 x\r\nA : b\r\n\r\n",
                HeadError::InvalidHeaderName,
            ),
        ] {
            let parsed = parse_response(head, &mut headers).map(drop);
            assert_eq!(parsed, Err(error), "{}", head.escape_ascii());
        }
    }

    #[test]
    fn tokens() {
        assert!(is_token(b"chat.v2-!#$%&'*+^_`|~"));
        for text in [&b""[..], b"a b", b"a,b", b"a\r", b"\0", b"a/b", b"\xe9"] {
            assert!(!is_token(text), "{}", text.escape_ascii());
        }
    }
}

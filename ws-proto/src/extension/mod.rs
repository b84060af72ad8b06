//! State. Extensions (RFC 6455 §9): the grammar of their negotiation, and who owns which RSV bit.
//!
//! ```text
//! Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-other; q="1"
//!                           |------------- an Offer -----------------|
//!                           |----- name -----|  |----- a Param ------|
//! ```
//!
//! The iterators here need no memory and look at each byte a fixed number of times.

use core::{fmt, iter::FusedIterator};

use crate::handshake::head::is_token_byte;

/// The extensions that were agreed on, as far as frames show them: which RSV bits have a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Extensions {
    rsv: u8,
}

impl Extensions {
    /// None: every RSV bit is reserved.
    pub const NONE: Self = Self { rsv: 0 };

    /// RSV1 marks the first frame of a compressed message (RFC 7692 §6).
    pub const PER_MESSAGE_DEFLATE: Self = Self {
        rsv: crate::frame::header::RSV1,
    };

    /// Whether all of these RSV bits, as 0x40, 0x20, 0x10, have a meaning.
    pub const fn claims(self, rsv: u8) -> bool {
        rsv & !self.rsv == 0
    }
}

/// One extension in a `Sec-WebSocket-Extensions` header: an offer of the client's, or the server's
/// response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer<'b> {
    name: &'b [u8],
    params: Cursor<'b>,
}

impl<'b> Offer<'b> {
    /// The extension's registered name, a token.
    pub fn name(&self) -> &'b str {
        text(self.name)
    }

    /// The parameters in their order; repeated ones are not left out.
    pub fn params(&self) -> Params<'b> {
        Params { rest: self.params }
    }
}

/// A parameter of an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param<'b> {
    name: &'b [u8],
    value: Option<ParamValue<'b>>,
}

impl<'b> Param<'b> {
    /// The name, a token.
    pub fn name(&self) -> &'b str {
        text(self.name)
    }

    /// The value, if there is one.
    pub fn value(&self) -> Option<ParamValue<'b>> {
        self.value
    }
}

/// The value of a parameter: a token, whether it was quoted or not (§9.1).
#[derive(Clone, Copy)]
pub struct ParamValue<'b> {
    /// Without the quotes. Backslashes are escapes: none is part of a token.
    raw: &'b [u8],
}

impl<'b> ParamValue<'b> {
    /// The bytes of the token, unescaped; all are ASCII.
    pub fn bytes(&self) -> impl Iterator<Item = u8> + Clone + use<'b> {
        self.raw.iter().copied().filter(|&byte| byte != b'\\')
    }

    /// The value as a decimal number of at most `u32::MAX`, without leading zeros.
    pub fn as_number(&self) -> Option<u32> {
        let mut bytes = self.bytes();
        let first = bytes.next().filter(u8::is_ascii_digit)? - b'0';
        if first == 0 {
            return bytes.next().is_none().then_some(0);
        }
        bytes.try_fold(u32::from(first), |number, byte| {
            let digit = byte.is_ascii_digit().then(|| byte - b'0')?;
            number.checked_mul(10)?.checked_add(u32::from(digit))
        })
    }
}

impl PartialEq for ParamValue<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes().eq(other.bytes())
    }
}

impl Eq for ParamValue<'_> {}

impl PartialEq<str> for ParamValue<'_> {
    fn eq(&self, other: &str) -> bool {
        self.bytes().eq(other.bytes())
    }
}

impl fmt::Debug for ParamValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text(self.raw).fmt(f)
    }
}

/// A header that violates the grammar of §9.1.
///
/// RFC 6455 §9.1: "If a value is received ... that does not conform to the ABNF below, the recipient
/// of such malformed data MUST immediately _Fail the WebSocket Connection_."
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MalformedExtensions;

impl fmt::Display for MalformedExtensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sec-WebSocket-Extensions is malformed")
    }
}

impl core::error::Error for MalformedExtensions {}

/// The extensions in one value of `Sec-WebSocket-Extensions`, in their order; an error ends them.
///
/// ```
/// use ws_proto::extension::Offers;
///
/// let mut offers = Offers::parse(b"permessage-deflate; server_max_window_bits=\"10\", x");
/// let deflate = offers.next().expect("two")?;
/// let bits = deflate.params().next().and_then(|param| param.value()).expect("a value");
/// assert_eq!((deflate.name(), bits.as_number()), ("permessage-deflate", Some(10)));
/// assert_eq!(offers.next().expect("two")?.name(), "x");
/// # Ok::<(), ws_proto::extension::MalformedExtensions>(())
/// ```
#[derive(Clone, Debug)]
pub struct Offers<'b> {
    rest: Cursor<'b>,
    state: ListState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ListState {
    /// No element was seen yet: the grammar asks for one.
    ExpectFirst,
    /// There may be more.
    ExpectMore,
    /// The end was reached, or an error reported.
    Ended,
}

impl<'b> Offers<'b> {
    /// Begins to read a header value.
    pub fn parse(value: &'b [u8]) -> Self {
        Self {
            rest: Cursor::new(value),
            state: ListState::ExpectFirst,
        }
    }

    fn step(&mut self) -> Result<Option<Offer<'b>>, MalformedExtensions> {
        // RFC 2616 §2.1: "null elements are allowed, but do not contribute to the count".
        self.rest.skip(|byte| matches!(byte, b' ' | b'\t' | b','));
        if self.rest.is_empty() {
            return match self.state {
                ListState::ExpectFirst => Err(MalformedExtensions),
                _ => Ok(None),
            };
        }
        let name = self.rest.token().ok_or(MalformedExtensions)?;
        let params = self.rest;
        while self.rest.param()?.is_some() {}
        if !self.rest.is_empty() && !self.rest.eat(b',') {
            return Err(MalformedExtensions);
        }
        self.state = ListState::ExpectMore;
        Ok(Some(Offer { name, params }))
    }
}

impl<'b> Iterator for Offers<'b> {
    type Item = Result<Offer<'b>, MalformedExtensions>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == ListState::Ended {
            return None;
        }
        let offer = self.step().transpose();
        if !matches!(offer, Some(Ok(_))) {
            self.state = ListState::Ended;
        }
        offer
    }
}

impl FusedIterator for Offers<'_> {}

/// The parameters of one [`Offer`].
#[derive(Clone, Debug)]
pub struct Params<'b> {
    rest: Cursor<'b>,
}

impl<'b> Iterator for Params<'b> {
    type Item = Param<'b>;

    fn next(&mut self) -> Option<Self::Item> {
        // They were judged when the offer was read.
        self.rest.param().ok().flatten()
    }
}

impl FusedIterator for Params<'_> {}

/// What of a header value is still to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor<'b> {
    rest: &'b [u8],
}

impl<'b> Cursor<'b> {
    fn new(rest: &'b [u8]) -> Self {
        Self { rest }
    }

    /// `*( ";" token [ "=" ( token | quoted-string ) ] )`, one of them, with whitespace (the
    /// implied LWS of RFC 2616) before, between and behind.
    fn param(&mut self) -> Result<Option<Param<'b>>, MalformedExtensions> {
        self.skip(is_space);
        if !self.eat(b';') {
            return Ok(None);
        }
        self.skip(is_space);
        let name = self.token().ok_or(MalformedExtensions)?;
        self.skip(is_space);
        if !self.eat(b'=') {
            return Ok(Some(Param { name, value: None }));
        }
        self.skip(is_space);
        let raw = if self.eat(b'"') {
            self.quoted_token()
        } else {
            self.token()
        };
        let value = Some(ParamValue {
            raw: raw.ok_or(MalformedExtensions)?,
        });
        self.skip(is_space);
        Ok(Some(Param { name, value }))
    }

    fn token(&mut self) -> Option<&'b [u8]> {
        let token = self.skip(is_token_byte);
        if token.is_empty() { None } else { Some(token) }
    }

    /// What is between the quotes, the first of which is eaten.
    ///
    /// RFC 6455 §9.1: "When using the quoted-string syntax variant, the value after quoted-string
    /// unescaping MUST conform to the 'token' ABNF."
    fn quoted_token(&mut self) -> Option<&'b [u8]> {
        let start = self.rest;
        let mut len = 0_usize;
        loop {
            match self.rest {
                [b'\\', byte, rest @ ..] if is_token_byte(*byte) => {
                    self.rest = rest;
                    len += 2;
                }
                [byte, rest @ ..] if is_token_byte(*byte) => {
                    self.rest = rest;
                    len += 1;
                }
                [b'"', ..] if len > 0 => {
                    let raw = start.get(..len);
                    self.eat(b'"');
                    return raw;
                }
                _ => return None,
            }
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        match self.rest {
            [first, rest @ ..] if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Goes to the first byte that `skipped` is not true of, and gives what was passed.
    fn skip(&mut self, skipped: impl Fn(u8) -> bool) -> &'b [u8] {
        let end = self.rest.iter().position(|&byte| !skipped(byte));
        let end = end.unwrap_or(self.rest.len());
        let (passed, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, b""));
        self.rest = rest;
        passed
    }

    fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

/// Tokens are ASCII.
fn text(token: &[u8]) -> &str {
    core::str::from_utf8(token).unwrap_or_default()
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

const _: () = assert!(size_of::<Extensions>() == 1);
const _: () = assert!(size_of::<MalformedExtensions>() == 0);

#[cfg(test)]
mod tests {
    use std::{format, string::String, vec::Vec};

    use super::*;

    /// The offers, written back in one plain form.
    fn parse(value: &[u8]) -> Result<String, MalformedExtensions> {
        let mut out = String::new();
        for offer in Offers::parse(value) {
            let offer = offer?;
            out += &format!("[{}", offer.name());
            for param in offer.params() {
                out += &format!(" {}", param.name());
                if let Some(value) = param.value() {
                    let bytes: Vec<u8> = value.bytes().collect();
                    out += &format!("={}", String::from_utf8(bytes).expect("ASCII"));
                }
            }
            out.push(']');
        }
        Ok(out)
    }

    #[test]
    fn rfc_025_grammar_of_extensions() {
        let good: &[(&[u8], &str)] = &[
            (b"a", "[a]"),
            (b"a, b", "[a][b]"),
            (b", a ,\t,b,", "[a][b]"),
            (b"a;b", "[a b]"),
            (b"a ; b = c ; d , e", "[a b=c d][e]"),
            (b"a;b=\"c\"", "[a b=c]"),
            (b"a;b=\"\\c\\1\"; d", "[a b=c1 d]"),
            (
                b"permessage-deflate; client_max_window_bits; server_max_window_bits=10",
                "[permessage-deflate client_max_window_bits server_max_window_bits=10]",
            ),
            (b"a;b;b;b=1", "[a b b b=1]"),
        ];
        for (value, expected) in good {
            let parsed = parse(value);
            assert_eq!(parsed.as_deref(), Ok(*expected), "{}", value.escape_ascii());
        }
        let bad: &[&[u8]] = &[
            b"",
            b" ",
            b",",
            b"a b",
            b"a;",
            b"a;;b",
            b"a; ,b",
            b"a;b=",
            b"a;=c",
            b";a",
            b"=a",
            b"a=b",
            b"a;b=c d",
            b"a;b=\"\"",
            b"a;b=\"c",
            b"a;b=\"c d\"",
            b"a;b=\"c,d\"",
            b"a;b=\"c\\",
            b"a;b=\"c\\\"",
            b"a;b=\"c\\\"\"",
            b"a;b=\"c\\\\\"",
            b"a;b=\"c\"d",
            b"a;b=\"c\"\"d\"",
            b"a\xe9",
            b"a;b=\xe9",
            b"a, \"b\"",
            b"a/b",
        ];
        for value in bad {
            let parsed = parse(value);
            assert_eq!(parsed, Err(MalformedExtensions), "{}", value.escape_ascii());
        }
    }

    #[test]
    fn error_ends_the_offers() {
        let mut offers = Offers::parse(b"a, b c, d");
        assert!(matches!(offers.next(), Some(Ok(_))));
        assert_eq!(offers.next(), Some(Err(MalformedExtensions)));
        assert_eq!(offers.next(), None);
    }

    /// The lists that were quadratic or worse elsewhere (security record §1, row 3).
    #[test]
    fn rfc_025_hostile_lists_are_read_in_linear_time() {
        let mut spaces = b"b".to_vec();
        spaces.resize(60_000, b' ');
        spaces.push(b'x');
        let quotes = [b"a;b=\"".as_slice(), &b"\\c".repeat(30_000)].concat();
        let mut many = b"a;b,".repeat(15_000);
        many.push(b'(');
        for value in [spaces, quotes, many] {
            assert_eq!(parse(&value), Err(MalformedExtensions));
        }
    }

    #[test]
    fn numbers_of_parameters() {
        let table = [
            ("0", Some(0)),
            ("8", Some(8)),
            ("\"15\"", Some(15)),
            ("\"\\15\"", Some(15)),
            ("08", None),
            ("00", None),
            ("1x", None),
            ("x", None),
            ("4294967295", Some(u32::MAX)),
            ("4294967296", None),
            ("99999999999999", None),
        ];
        for (value, number) in table {
            let header = format!("a;b={value}");
            let offer = Offers::parse(header.as_bytes()).next().expect("one");
            let param = offer.expect("valid").params().next().expect("one");
            assert_eq!(
                param.value().expect("a value").as_number(),
                number,
                "{value}"
            );
        }
    }

    #[test]
    fn extensions_own_bits() {
        assert!(Extensions::NONE.claims(0));
        assert!(!Extensions::NONE.claims(0x40));
        assert!(Extensions::PER_MESSAGE_DEFLATE.claims(0x40));
        assert!(!Extensions::PER_MESSAGE_DEFLATE.claims(0x20));
        assert!(!Extensions::PER_MESSAGE_DEFLATE.claims(0x60));
    }
}

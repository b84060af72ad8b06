//! Wire. Incremental validation of UTF-8 (RFC 6455 §8.1, RFC 3629).
//!
//! Text arrives in pieces that may end inside a character. Whole characters are checked by the
//! standard library, or by `simdutf8` where that feature is on; only the character across a cut
//! goes through the small machine here. An error is found at the first byte that cannot be right,
//! which is what Autobahn's 6.4.* call strict.

/// Where a text is: between two characters, or inside one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utf8 {
    /// Continuation bytes that the current character still needs.
    missing: u8,
    /// The range of the next of them: narrower than 80..=BF behind some first bytes, to keep out
    /// overlong forms, surrogates and what is beyond U+10FFFF.
    low: u8,
    high: u8,
}

impl Utf8 {
    /// The start of a text.
    pub const fn new() -> Self {
        Self {
            missing: 0,
            low: 0x80,
            high: 0xBF,
        }
    }

    /// Whether the text may end here.
    #[inline]
    pub const fn is_boundary(self) -> bool {
        self.missing == 0
    }

    /// Takes the next bytes of the text.
    ///
    /// # Errors
    ///
    /// The index of the first byte that cannot be right; the bytes before it are taken.
    ///
    /// ```
    /// use ws_proto::utf8::Utf8;
    ///
    /// let mut text = Utf8::new();
    /// assert_eq!(text.take(b"caf\xc3"), Ok(()));
    /// assert!(!text.is_boundary());
    /// assert_eq!(text.take(b"\xa9 "), Ok(()));
    /// assert_eq!(text.take(b"\xe2\x82!"), Err(2));
    /// ```
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut at = 0;
        while !self.is_boundary() {
            let Some(&byte) = bytes.get(at) else {
                return Ok(());
            };
            self.step(byte).map_err(|()| at)?;
            at += 1;
        }
        let rest = bytes.get(at..).unwrap_or_default();
        let Err(valid) = validate(rest) else {
            return Ok(());
        };
        for (i, &byte) in rest.iter().enumerate().skip(valid) {
            self.step(byte).map_err(|()| at + i)?;
        }
        Ok(())
    }

    fn step(&mut self, byte: u8) -> Result<(), ()> {
        if self.missing == 0 {
            let (missing, low, high) = match byte {
                0x00..=0x7F => (0, 0x80, 0xBF),
                0xC2..=0xDF => (1, 0x80, 0xBF),
                0xE0 => (2, 0xA0, 0xBF),
                0xE1..=0xEC | 0xEE..=0xEF => (2, 0x80, 0xBF),
                0xED => (2, 0x80, 0x9F),
                0xF0 => (3, 0x90, 0xBF),
                0xF1..=0xF3 => (3, 0x80, 0xBF),
                0xF4 => (3, 0x80, 0x8F),
                _ => return Err(()),
            };
            *self = Self { missing, low, high };
            return Ok(());
        }
        if !(self.low..=self.high).contains(&byte) {
            return Err(());
        }
        *self = Self {
            missing: self.missing - 1,
            ..Self::new()
        };
        Ok(())
    }
}

impl Default for Utf8 {
    fn default() -> Self {
        Self::new()
    }
}

/// `bytes` as text, if they are.
#[inline]
pub(crate) fn from_utf8(bytes: &[u8]) -> Option<&str> {
    // Short texts, and those that begin as ASCII as long as the set-up costs more than it saves,
    // are left to the standard library (measured: 125 bytes of ASCII take 7 ns there and 11 by
    // `simdutf8`; of Cyrillic, 68 and 17).
    #[cfg(feature = "simdutf8")]
    if bytes.len() >= 128
        || bytes.len() >= 64 && !bytes.first_chunk::<16>().is_some_and(|c| c.is_ascii())
    {
        return simdutf8::basic::from_utf8(bytes).ok();
    }
    core::str::from_utf8(bytes).ok()
}

/// How far `bytes` are whole characters, if not to their end.
fn validate(bytes: &[u8]) -> Result<(), usize> {
    #[cfg(feature = "simdutf8")]
    if simdutf8::basic::from_utf8(bytes).is_ok() {
        return Ok(());
    }
    core::str::from_utf8(bytes)
        .map(drop)
        .map_err(|error| error.valid_up_to())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every sequence of one to three bytes, cut everywhere, judged as by the standard library.
    #[test]
    fn all_sequences_of_three_bytes() {
        for word in 0..1u32 << 24 {
            let [_, bytes @ ..] = word.to_be_bytes();
            let mut text = Utf8::new();
            let taken = text.take(&bytes[..1]).and_then(|()| text.take(&bytes[1..]));
            let valid = taken.is_ok() && text.is_boundary();
            assert_eq!(valid, core::str::from_utf8(&bytes).is_ok(), "{bytes:x?}");
        }
    }

    #[test]
    fn first_wrong_byte_is_named_whatever_the_cut() {
        let table: &[(&[u8], usize)] = &[
            (b"\xce\xba\xe1\xbd\xb9\xf4\x90\x80\x80", 6),
            (b"abc\xff", 3),
            (b"abc\xc0\xaf", 3),
            (b"\xed\xa0\x80", 1),
            (b"\xe0\x80\xaf", 1),
            (b"\xf0\x8f\xbf\xbf", 1),
            (b"\xf0\x9f\x98x", 3),
        ];
        for (bytes, wrong) in table {
            for cut in 0..=bytes.len() {
                let mut text = Utf8::new();
                let taken = text
                    .take(&bytes[..cut])
                    .and_then(|()| text.take(&bytes[cut..]).map_err(|at| cut + at));
                assert_eq!(taken, Err(*wrong), "{bytes:x?} cut at {cut}");
            }
        }
    }
}

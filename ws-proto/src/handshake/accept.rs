//! Wire. `Sec-WebSocket-Key` and the answer to it, `Sec-WebSocket-Accept` (RFC 6455 §4.2.2(5)).

use core::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use sha1_smol::Sha1;

/// The value of `Sec-WebSocket-Key`: the base64 of 16 bytes.
///
/// Aligned, so that it is copied in words: byte by byte, and read back at once, it stalls.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(align(8))]
pub struct Key([u8; Key::LEN]);

impl Key {
    /// Bytes in the value: 16 in base64.
    pub const LEN: usize = 24;

    /// The key that a client makes of 16 random bytes.
    ///
    /// RFC 6455 §4.1(7): "The nonce MUST be selected randomly for each connection."
    pub fn from_nonce(nonce: [u8; 16]) -> Self {
        let mut key = [0; Self::LEN];
        encode(&nonce, &mut key);
        Self(key)
    }

    /// The key in a header value, or `None`.
    ///
    /// RFC 6455 §4.2.1(5): "A |Sec-WebSocket-Key| header field with a base64-encoded ... value
    /// that, when decoded, is 16 bytes in length." It has to be in the one canonical form, which is
    /// stricter than the RFC: an encoder that leaves bits behind the sixteenth byte is broken.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let key: [u8; Self::LEN] = value.try_into().ok()?;
        // 21 symbols hold 126 bits; the last one the two that remain, and four zeros. Nobody needs
        // the bytes, so nothing is decoded.
        let [symbols @ .., b'A' | b'Q' | b'g' | b'w', b'=', b'='] = &key else {
            return None;
        };
        let valid = symbols.iter().fold(true, |valid, byte| {
            valid & (byte.is_ascii_alphanumeric() | (*byte == b'+') | (*byte == b'/'))
        });
        valid.then_some(Self(key))
    }

    /// The value of the `Sec-WebSocket-Accept` that answers this key.
    ///
    /// ```
    /// use ws_proto::handshake::accept::Key;
    ///
    /// let key = Key::parse(b"dGhlIHNhbXBsZSBub25jZQ==").expect("16 bytes");
    /// assert_eq!(&key.accept(), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    /// ```
    pub fn accept(&self) -> [u8; ACCEPT_LEN] {
        let mut text = [0; Self::LEN + GUID.len()];
        let (key, guid) = text.split_at_mut(Self::LEN);
        key.copy_from_slice(&self.0);
        guid.copy_from_slice(GUID);
        let mut accept = [0; ACCEPT_LEN];
        encode(&Sha1::from(text).digest().bytes(), &mut accept);
        accept
    }

    /// The value as it is on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// RFC 6455 §10.3: the key keeps what does not speak WebSocket from answering; it is no secret.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.0.escape_ascii())
    }
}

/// Bytes in the value of `Sec-WebSocket-Accept`: the 20 of a SHA-1 in base64.
pub const ACCEPT_LEN: usize = 28;

/// RFC 6455 §1.3.
const GUID: &[u8; 36] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Writes `bytes` as base64 into `text`, which is as long as that.
pub(crate) fn encode(bytes: &[u8], text: &mut [u8]) {
    let written = STANDARD.encode_slice(bytes, text);
    debug_assert!(written.is_ok(), "the lengths are constants");
}

const _: () = assert!(ACCEPT_LEN == 20_usize.div_ceil(3) * 4);
const _: () = assert!(Key::LEN == 16_usize.div_ceil(3) * 4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_shown_as_it_is_on_the_wire() {
        let key = Key::from_nonce(*b"the sample nonce");
        assert_eq!(std::format!("{key:?}"), "Key(dGhlIHNhbXBsZSBub25jZQ==)");
    }

    #[test]
    fn rfc_034_vector_of_the_rfc() {
        let key = Key::parse(b"dGhlIHNhbXBsZSBub25jZQ==").expect("valid");
        assert_eq!(&key.accept(), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(key.as_bytes(), b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(Key::from_nonce(*b"the sample nonce"), key);
    }

    /// Each byte in each place, against a decoder.
    #[test]
    fn rfc_023_keys_are_canonical_base64_of_sixteen_bytes() {
        let good = *b"dGhlIHNhbXBsZSBub25jZQ==";
        for place in 0..good.len() {
            for byte in 0..=u8::MAX {
                let mut value = good;
                value[place] = byte;
                let decoded = STANDARD.decode_slice(value, &mut [0; 18]);
                let expected = decoded == Ok(16);
                assert_eq!(Key::parse(&value).is_some(), expected, "{place} {byte:#x}");
            }
        }
        let wrong: [&[u8]; 6] = [
            b"",
            b"dGhlIHNhbXBsZSBub25jZQ",
            b"dGhlIHNhbXBsZSBub25jZQ=",
            b"dGhlIHNhbXBsZSBub25jZQ===",
            b"dGhlIHNhbXBsZSBub25jZXh4",
            b"dGhlIHNhbXBsZSBub25jZQ== ",
        ];
        for value in wrong {
            assert!(Key::parse(value).is_none(), "{}", value.escape_ascii());
        }
    }

    #[test]
    fn rfc_010_nonces_become_keys() {
        for i in 0..10_000_u128 {
            let nonce = i.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
            let key = Key::from_nonce(nonce.to_be_bytes());
            let mut decoded = [0; 18];
            let len = STANDARD.decode_slice(key.as_bytes(), &mut decoded);
            assert_eq!(len, Ok(16));
            assert_eq!(decoded[..16], nonce.to_be_bytes());
            assert_eq!(Key::parse(key.as_bytes()), Some(key));
        }
    }
}

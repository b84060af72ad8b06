//! Wire. The frame header (RFC 6455 §5.2).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-------+-+-------------+-------------------------------+
//! |F|R|R|R| opcode|M| Payload len |    Extended payload length    |
//! |I|S|S|S|  (4)  |A|     (7)     |        (0, 16 or 64 bits)     |
//! |N|V|V|V|       |S|             |   (if payload len is 126/127) |
//! | |1|2|3|       |K|             |                               |
//! +-+-+-+-+-------+-+-------------+-------------------------------+
//! |     Masking key, if M is set (32 bits)    |   Payload ...     |
//! +-------------------------------------------+-------------------+
//! ```
//!
//! The first two bytes are the prefix: they decide everything but the length, and say how long
//! the header is.

use core::ops::Deref;

use super::{Opcode, mask::MaskingKey};
use crate::error::Violation;

pub(crate) const FIN: u8 = 0x80;
pub(crate) const RSV: u8 = 0x70;
pub(crate) const RSV1: u8 = 0x40;
pub(crate) const MASK: u8 = 0x80;

/// The longest header: two bytes, eight of length and four of key.
pub const MAX_HEADER: usize = 14;
/// The longest payload of a control frame (§5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;
/// The longest control frame: two bytes, a key, and the payload.
pub const MAX_CONTROL_FRAME: usize = 2 + MaskingKey::LEN + MAX_CONTROL_PAYLOAD;

const LEN16: u8 = 126;
const LEN64: u8 = 127;

/// The first two bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    pub(crate) fin: bool,
    /// The RSV bits where they stand in the byte.
    pub(crate) rsv: u8,
    pub(crate) opcode: Opcode,
    pub(crate) masked: bool,
    len7: u8,
}

impl Prefix {
    pub(crate) fn parse([first, second]: [u8; 2]) -> Result<Self, Violation> {
        // RFC 6455 §5.2: "If an unknown opcode is received, the receiving endpoint MUST _Fail the
        // WebSocket Connection_."
        let opcode = Opcode::from_bits(first).ok_or(Violation::ReservedOpcode)?;
        let prefix = Self {
            fin: first & FIN != 0,
            rsv: first & RSV,
            opcode,
            masked: second & MASK != 0,
            len7: second & !MASK,
        };
        // §5.5: "All control frames MUST have a payload length of 125 bytes or less and MUST NOT
        // be fragmented."
        if opcode.is_control() {
            if !prefix.fin {
                return Err(Violation::FragmentedControlFrame);
            }
            if usize::from(prefix.len7) > MAX_CONTROL_PAYLOAD {
                return Err(Violation::ControlFrameTooLong);
            }
        }
        Ok(prefix)
    }

    /// The header that starts with this prefix and lies in `bytes`; `None` while it is incomplete.
    pub(crate) fn complete(self, bytes: &[u8]) -> Result<Option<(FrameHeader, usize)>, Violation> {
        let Some((payload_len, mut header_len)) = self.payload_len(bytes)? else {
            return Ok(None);
        };
        let mut masking_key = None;
        if self.masked {
            let Some(key) = bytes.get(header_len..).and_then(|rest| rest.first_chunk()) else {
                return Ok(None);
            };
            masking_key = Some(MaskingKey::from(*key));
            header_len += MaskingKey::LEN;
        }
        let Self {
            fin, rsv, opcode, ..
        } = self;
        Ok(Some((
            FrameHeader {
                fin,
                rsv,
                opcode,
                masking_key,
                payload_len,
            },
            header_len,
        )))
    }

    /// The payload length and where it ends in the header.
    fn payload_len(self, bytes: &[u8]) -> Result<Option<(u64, usize)>, Violation> {
        // RFC 6455 §5.2: "in all cases, the minimal number of bytes MUST be used to encode the
        // length". It says so to senders; we hold the peer to it, because two parsers that
        // disagree about the laxer form are a hole.
        match self.len7 {
            LEN16 => {
                let Some(&[_, _, high, low]) = bytes.first_chunk() else {
                    return Ok(None);
                };
                let len = u16::from_be_bytes([high, low]);
                if len < u16::from(LEN16) {
                    return Err(Violation::NonMinimalLength);
                }
                Ok(Some((u64::from(len), 4)))
            }
            LEN64 => {
                let Some(&[_, _, len @ ..]) = bytes.first_chunk::<10>() else {
                    return Ok(None);
                };
                let len = u64::from_be_bytes(len);
                // "the most significant bit MUST be 0"
                if len >> 63 != 0 {
                    return Err(Violation::LengthOverflow);
                }
                if len <= u64::from(u16::MAX) {
                    return Err(Violation::NonMinimalLength);
                }
                Ok(Some((len, 10)))
            }
            len => Ok(Some((u64::from(len), 2))),
        }
    }
}

/// A frame header (RFC 6455 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// This is the last fragment of its message.
    pub fin: bool,
    /// The bits RSV1, RSV2, RSV3 as 0x40, 0x20, 0x10.
    pub rsv: u8,
    /// What the frame is.
    pub opcode: Opcode,
    /// The key that the payload is masked with, if it is.
    pub masking_key: Option<MaskingKey>,
    /// The length of the payload in bytes, below 2^63.
    pub payload_len: u64,
}

impl FrameHeader {
    /// Reads the header at the start of `bytes`, and says how long it is in bytes, 2 to 14; `None`
    /// while it is incomplete.
    ///
    /// This is the codec alone: whether the frame may come now, in this direction and with these
    /// RSV bits, is for [`Connection`](crate::Connection) to say.
    ///
    /// # Errors
    ///
    /// The [`Violation`] as soon as the bytes show it, be the header complete or not:
    /// `ReservedOpcode`, `FragmentedControlFrame`, `ControlFrameTooLong`, `NonMinimalLength` or
    /// `LengthOverflow`.
    ///
    /// ```
    /// use ws_proto::frame::{FrameHeader, Opcode};
    ///
    /// let (header, len) = FrameHeader::parse(&[0x81, 0x05, b'H'])?.expect("it is complete");
    /// assert_eq!((header.opcode, header.payload_len, len), (Opcode::Text, 5, 2));
    /// assert_eq!(FrameHeader::parse(&[0x81])?, None);
    /// # Ok::<(), ws_proto::Violation>(())
    /// ```
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Violation> {
        let Some(prefix) = bytes.first_chunk() else {
            return Ok(None);
        };
        Prefix::parse(*prefix)?.complete(bytes)
    }

    /// The bytes of the header; the length takes the shortest form.
    ///
    /// ```
    /// use ws_proto::frame::{FrameHeader, Opcode};
    ///
    /// let header =
    ///     FrameHeader { fin: true, rsv: 0, opcode: Opcode::Binary, masking_key: None, payload_len: 256 };
    /// assert_eq!(*header.to_bytes(), [0x82, 126, 1, 0]);
    /// ```
    pub fn to_bytes(&self) -> HeaderBytes {
        let mut bytes = [0; MAX_HEADER];
        let rest = self.write(&mut bytes).map_or(0, |rest| rest.len());
        HeaderBytes {
            bytes,
            len: (MAX_HEADER - rest) as u8,
        }
    }

    /// The length in bytes of the header on the wire.
    #[inline]
    pub(crate) const fn wire_len(&self) -> usize {
        let key_len = if self.masking_key.is_some() {
            MaskingKey::LEN
        } else {
            0
        };
        key_len
            + match self.payload_len {
                0..=125 => 2,
                126..=0xFFFF => 4,
                _ => 10,
            }
    }

    /// Writes the header at the start of `space`, and returns what is behind it.
    ///
    /// Each form is stored as one array. (Pushed byte by byte and read back as a word, a header
    /// costs more than a message of 100 bytes: the loads wait for the stores.)
    #[inline]
    pub(crate) fn write<'s>(&self, space: &'s mut [u8]) -> Option<&'s mut [u8]> {
        let first = if self.fin { FIN } else { 0 } | self.rsv & RSV | self.opcode as u8;
        let mask = if self.masking_key.is_some() { MASK } else { 0 };
        let rest = match self.payload_len {
            len @ 0..=125 => put(space, [first, mask | len as u8])?,
            len @ 126..=0xFFFF => {
                let [high, low] = (len as u16).to_be_bytes();
                put(space, [first, mask | LEN16, high, low])?
            }
            len => put(put(space, [first, mask | LEN64])?, len.to_be_bytes())?,
        };
        match self.masking_key {
            Some(key) => put(rest, key.to_bytes()),
            None => Some(rest),
        }
    }
}

#[inline]
fn put<const N: usize>(space: &mut [u8], bytes: [u8; N]) -> Option<&mut [u8]> {
    let (to, rest) = space.split_first_chunk_mut()?;
    *to = bytes;
    Some(rest)
}

/// A header on the stack, 2 to 14 bytes, read as a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderBytes {
    bytes: [u8; MAX_HEADER],
    len: u8,
}

impl Deref for HeaderBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(fin: bool, rsv: u8, opcode: Opcode, key: Option<[u8; 4]>, len: u64) -> FrameHeader {
        FrameHeader {
            fin,
            rsv,
            opcode,
            masking_key: key.map(MaskingKey::from),
            payload_len: len,
        }
    }

    /// RFC 6455 §5.7 and the borders of the three forms of length.
    #[test]
    fn table_in_both_directions() {
        const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
        let table: &[(FrameHeader, &[u8])] = &[
            (header(true, 0, Opcode::Text, None, 5), &[0x81, 0x05]),
            (
                header(true, 0, Opcode::Text, Some(KEY), 5),
                &[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d],
            ),
            (header(false, 0, Opcode::Text, None, 3), &[0x01, 0x03]),
            (
                header(true, 0, Opcode::Continuation, None, 2),
                &[0x80, 0x02],
            ),
            (header(true, 0x40, Opcode::Binary, None, 0), &[0xc2, 0x00]),
            (header(true, 0, Opcode::Ping, None, 125), &[0x89, 0x7d]),
            (
                header(true, 0, Opcode::Binary, None, 126),
                &[0x82, 0x7e, 0, 126],
            ),
            (
                header(true, 0, Opcode::Binary, None, 65535),
                &[0x82, 0x7e, 0xff, 0xff],
            ),
            (
                header(true, 0, Opcode::Binary, None, 65536),
                &[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0],
            ),
            (
                header(true, 0, Opcode::Binary, Some(KEY), (1 << 63) - 1),
                &[
                    0x82, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 0x37, 0xfa, 0x21, 0x3d,
                ],
            ),
        ];
        for (header, bytes) in table {
            assert_eq!(&*header.to_bytes(), *bytes);
            assert_eq!(FrameHeader::parse(bytes), Ok(Some((*header, bytes.len()))));
            for cut in 0..bytes.len() {
                assert_eq!(
                    FrameHeader::parse(&bytes[..cut]),
                    Ok(None),
                    "{header:?} cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn all_first_bytes() {
        for first in 0..=255 {
            let parsed = FrameHeader::parse(&[first, 0]);
            match first & 0x0f {
                3..=7 | 0xb..=0xf => assert_eq!(parsed, Err(Violation::ReservedOpcode)),
                8.. if first & FIN == 0 => {
                    assert_eq!(parsed, Err(Violation::FragmentedControlFrame));
                }
                _ => assert!(matches!(parsed, Ok(Some((_, 2)))), "{first:#x}"),
            }
        }
    }

    #[test]
    fn longer_forms_than_needed() {
        for len in [0u16, 1, 125] {
            let [high, low] = len.to_be_bytes();
            let bytes = [0x82, 126, high, low];
            assert_eq!(FrameHeader::parse(&bytes), Err(Violation::NonMinimalLength));
        }
        for len in [0u64, 126, 65535] {
            let mut bytes = [0x82, 127, 0, 0, 0, 0, 0, 0, 0, 0];
            bytes[2..].copy_from_slice(&len.to_be_bytes());
            assert_eq!(FrameHeader::parse(&bytes), Err(Violation::NonMinimalLength));
        }
        let overflow = [0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(
            FrameHeader::parse(&overflow),
            Err(Violation::LengthOverflow)
        );
    }
}

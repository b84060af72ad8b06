//! The frames of an echo client: what it sends is masked, what it receives is short and is not.
//!
//! Written for this test alone, so that a fault of the code under test cannot hide itself.

/// The opcodes that occur.
pub(crate) const BINARY: u8 = 0x2;
/// A heartbeat of the server.
pub(crate) const PING: u8 = 0x9;
/// Our answer to it.
pub(crate) const PONG: u8 = 0xa;

/// The bytes of a message.
pub(crate) const MESSAGE_LEN: usize = 20;

/// The longest payload whose length fits into the second byte.
const SHORT_MAX: u8 = 125;

/// A whole frame at the start of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// One of the constants above, or what is not expected.
    pub(crate) opcode: u8,
    /// Not masked.
    pub(crate) payload: &'a [u8],
    /// Of header and payload.
    pub(crate) len: usize,
}

/// The frame at the start of `bytes`, if it is whole.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Frame<'_>>, String> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    // Final, nothing reserved, not masked, short: our messages and pings come as nothing else.
    if first & 0xf0 != 0x80 || *second > SHORT_MAX {
        return Err(format!("a frame that starts with {first:02x} {second:02x}"));
    }
    let len = usize::from(*second);
    Ok(rest.get(..len).map(|payload| Frame {
        opcode: first & 0x0f,
        payload,
        len: 2 + len,
    }))
}

/// A final masked frame with a payload of at most 125 bytes.
pub(crate) fn frame(opcode: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode, 0x80 | payload.len() as u8];
    frame.extend(key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(a, b)| a ^ b));
    frame
}

/// A message unlike any other of the test: echoes can neither be swapped nor repeated.
pub(crate) fn message(client: u32, connection: u32, number: u32) -> [u8; MESSAGE_LEN] {
    let mut random = Random((u64::from(client) << 32 | u64::from(connection)) + u64::from(number));
    let mut message = [0; MESSAGE_LEN];
    message[..4].copy_from_slice(&client.to_be_bytes());
    message[4..8].copy_from_slice(&connection.to_be_bytes());
    message[8..12].copy_from_slice(&number.to_be_bytes());
    message[12..].copy_from_slice(&random.next().to_be_bytes());
    message
}

/// SplitMix64 (Steele, Lea, Flood 2014): keys and choices, the same in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`, evenly enough.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// A masking key.
    pub(crate) fn key(&mut self) -> [u8; 4] {
        (self.next() as u32).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_parsed_when_they_are_whole() {
        let bytes = [0x82, 3, 1, 2, 3, 0x89, 0];
        for end in 0..5 {
            assert_eq!(parse(&bytes[..end]), Ok(None));
        }
        let frame = |opcode, payload, len| Frame {
            opcode,
            payload,
            len,
        };
        assert_eq!(parse(&bytes), Ok(Some(frame(BINARY, &[1, 2, 3], 5))));
        assert_eq!(parse(&bytes[5..]), Ok(Some(frame(PING, &[], 2))));
    }

    #[test]
    fn unexpected_frames_are_refused() {
        for start in [[0x02, 1], [0xc2, 1], [0x82, 0x81], [0x82, 126]] {
            assert!(parse(&start).is_err());
        }
    }

    #[test]
    fn frames_are_masked() {
        // RFC 6455 §5.7: a single-frame masked text message, "Hello".
        let hello = frame(0x1, b"Hello", [0x37, 0xfa, 0x21, 0x3d]);
        let expected = [
            0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
        ];
        assert_eq!(hello, expected);
    }

    #[test]
    fn messages_differ() {
        assert_ne!(message(0, 1, 0)[12..], message(0, 0, 0)[12..]);
        assert_ne!(message(0, 0, 1), message(0, 1, 0));
    }
}

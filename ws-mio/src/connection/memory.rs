//! [`Memory`]: where a message that comes in pieces is put together, and sent from.

use std::{mem, ops::Range};

use ws_proto::{frame::HeaderBytes, message::Storage};

/// Memory of a message, with room in front of it for the header of a frame: an echo is then written
/// from one piece. (As two, header and payload, a megabyte cost a seventh more, in three interleaved rounds.)
#[derive(Debug)]
pub(super) struct Memory(Vec<u8>);

/// A header has at most 14 bytes; this keeps the message aligned.
const HEADROOM: usize = 16;

impl Memory {
    /// Over memory that was in use before.
    pub(super) fn over(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Puts a header in front of the first `len` bytes. Gives all the memory, and where the frame
    /// lies.
    pub(super) fn into_frame(mut self, header: HeaderBytes, len: usize) -> (Vec<u8>, Range<usize>) {
        let start = HEADROOM - header.len();
        self.0[start..HEADROOM].copy_from_slice(&header);
        (self.0, start..HEADROOM + len)
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl AsRef<[u8]> for Memory {
    fn as_ref(&self) -> &[u8] {
        self.0.get(HEADROOM..).unwrap_or_default()
    }
}

impl AsMut<[u8]> for Memory {
    fn as_mut(&mut self) -> &mut [u8] {
        self.0.get_mut(HEADROOM..).unwrap_or_default()
    }
}

impl Storage for Memory {
    fn grow(&mut self, len: usize) {
        if self.as_ref().len() < len {
            self.0.resize(HEADROOM + len, 0);
        }
    }

    fn shrink(&mut self) {
        self.0 = Vec::new();
    }
}

/// The message that is being reported, whose memory it can be sent from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lent {
    /// Where it lies: compared with what is sent, and never read from.
    start: usize,
    len: usize,
}

impl Lent {
    pub(super) fn of(message: &[u8]) -> Self {
        Self {
            start: message.as_ptr().addr(),
            len: message.len(),
        }
    }

    /// Whether these are the bytes, all of them.
    fn is(self, bytes: &[u8]) -> bool {
        self.start == bytes.as_ptr().addr() && self.len == bytes.len()
    }
}

/// What becomes of a message's memory when it was reported.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Fate {
    /// It serves the next message.
    #[default]
    Pool,
    /// The same, but while it is reported it may be sent.
    Lent(Lent),
    /// The message is sent from it, with this header.
    Sent(HeaderBytes, usize),
}

impl Fate {
    /// Decides that the message is to be sent from its memory, if `bytes` are the message.
    pub(super) fn send(&mut self, header: HeaderBytes, bytes: &[u8]) -> bool {
        match *self {
            Self::Lent(lent) if lent.is(bytes) => {
                *self = Self::Sent(header, bytes.len());
                true
            }
            _ => false,
        }
    }

    /// How many bytes are to be sent from the memory.
    pub(super) fn pending(self) -> Option<usize> {
        match self {
            Self::Sent(header, len) => Some(header.len() + len),
            Self::Pool | Self::Lent(_) => None,
        }
    }

    pub(super) fn take(&mut self) -> Self {
        mem::take(self)
    }
}

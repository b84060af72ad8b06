//! Wire. Frames (RFC 6455 §5.2): opcodes and roles; the header in [`header`], masking in [`mask`].

pub mod header;
pub mod mask;

pub use header::{FrameHeader, HeaderBytes};

/// The two ends of a connection. The other end is the *peer*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Role {
    /// It opened the connection and masks its frames (RFC 6455 §5.1).
    Client,
    /// It accepted the connection and never masks.
    Server,
}

impl Role {
    /// The role of the peer.
    pub const fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// What a frame is (RFC 6455 §5.2). The reserved ones are [`Violation::ReservedOpcode`].
///
/// [`Violation::ReservedOpcode`]: crate::Violation::ReservedOpcode
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of the message that is open.
    Continuation = 0x0,
    /// A text message, or its first fragment.
    Text = 0x1,
    /// A binary message, or its first fragment.
    Binary = 0x2,
    /// The last frame of its sender.
    Close = 0x8,
    /// A question for a sign of life.
    Ping = 0x9,
    /// The answer.
    Pong = 0xA,
}

impl Opcode {
    /// The opcode in the low four bits of a frame's first byte; `None` if it is reserved.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits & 0x0F {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    /// Whether it is Close, Ping or Pong (§5.5).
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

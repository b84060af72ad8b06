//! State. Whose fault it is: [`Violation`] is the peer's, [`Misuse`] is the caller's.
//!
//! *Receive reports, send refuses.* What the peer does wrong arrives as
//! [`Event::Failed`](crate::Event::Failed) with the Close frame already written; what the caller
//! does wrong is an `Err`. "Need more bytes" and the ordinary end of a connection are neither.

use core::fmt;

use crate::close::CloseCode;

/// A rule that the peer broke (RFC 6455 §7.1.7, *Fail the WebSocket Connection*).
///
/// Each is named by the rule. [`close_code`](Violation::close_code) is what the peer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Violation {
    /// An RSV bit is set that no negotiated extension gives a meaning (§5.2).
    ReservedBits,
    /// An opcode of 3 to 7 or 11 to 15 (§5.2).
    ReservedOpcode,
    /// A client's frame without a mask (§5.1).
    UnmaskedClientFrame,
    /// A server's frame with a mask (§5.1).
    MaskedServerFrame,
    /// A control frame without FIN (§5.5).
    FragmentedControlFrame,
    /// A control frame with more than 125 bytes of payload (§5.5).
    ControlFrameTooLong,
    /// A continuation frame while no message is open (§5.4).
    UnexpectedContinuation,
    /// A new data frame inside a fragmented message (§5.4).
    ExpectedContinuation,
    /// A payload length in a longer form than it needs (§5.2).
    NonMinimalLength,
    /// A 64-bit payload length with the most significant bit set (§5.2).
    LengthOverflow,
    /// A message longer than [`Limits::max_message`](crate::Limits::max_message) (§10.4).
    MessageTooBig,
    /// More fragments than [`Limits::max_fragments`](crate::Limits::max_fragments) (§10.4).
    TooManyFragments,
    /// A text message that is not UTF-8 (§8.1).
    InvalidUtf8,
    /// A Close frame with a payload of one byte (§5.5.1).
    CloseTooShort,
    /// A Close frame with a code that must not be on the wire (§7.4).
    InvalidCloseCode,
    /// A Close frame whose reason is not UTF-8 (§5.5.1).
    InvalidCloseReason,
    /// A kind of data that the application does not take; told by the application (§7.4.1).
    UnsupportedData,
    /// A rule of the application; told by the application (§7.4.1).
    PolicyViolation,
    /// No answer to a ping of the heartbeat in time (§5.5.2).
    PingTimeout,
    /// Nothing heard for [`Timeouts::idle`](crate::Timeouts::idle).
    IdleTimeout,
}

impl Violation {
    /// The code of the Close frame that tells the peer (§7.4.1).
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::ReservedBits
            | Self::ReservedOpcode
            | Self::UnmaskedClientFrame
            | Self::MaskedServerFrame
            | Self::FragmentedControlFrame
            | Self::ControlFrameTooLong
            | Self::UnexpectedContinuation
            | Self::ExpectedContinuation
            | Self::NonMinimalLength
            | Self::LengthOverflow
            | Self::CloseTooShort
            | Self::InvalidCloseCode => CloseCode::PROTOCOL_ERROR,
            Self::InvalidUtf8 | Self::InvalidCloseReason => CloseCode::INVALID_PAYLOAD,
            Self::MessageTooBig => CloseCode::MESSAGE_TOO_BIG,
            Self::TooManyFragments | Self::PolicyViolation => CloseCode::POLICY_VIOLATION,
            Self::UnsupportedData => CloseCode::UNSUPPORTED_DATA,
            // As Python `websockets` and others from both roles, although a client may not begin to
            // close with 1011 of its own will.
            Self::PingTimeout => CloseCode::INTERNAL_ERROR,
            Self::IdleTimeout => CloseCode::GOING_AWAY,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReservedBits => "reserved bits are set",
            Self::ReservedOpcode => "reserved opcode",
            Self::UnmaskedClientFrame => "frame of a client is not masked",
            Self::MaskedServerFrame => "frame of a server is masked",
            Self::FragmentedControlFrame => "control frame is fragmented",
            Self::ControlFrameTooLong => "control frame has more than 125 bytes",
            Self::UnexpectedContinuation => "continuation of no message",
            Self::ExpectedContinuation => "new message inside a fragmented one",
            Self::NonMinimalLength => "payload length is not minimal",
            Self::LengthOverflow => "payload length has its highest bit set",
            Self::MessageTooBig => "message is too big",
            Self::TooManyFragments => "message has too many fragments",
            Self::InvalidUtf8 => "text is not UTF-8",
            Self::CloseTooShort => "close payload of one byte",
            Self::InvalidCloseCode => "close code must not be on the wire",
            Self::InvalidCloseReason => "close reason is not UTF-8",
            Self::UnsupportedData => "kind of data is not supported",
            Self::PolicyViolation => "policy violation",
            Self::PingTimeout => "ping was not answered in time",
            Self::IdleTimeout => "nothing heard for too long",
        })
    }
}

impl core::error::Error for Violation {}

/// A call that the contract of this crate forbids; found by reading the calling code, never caused
/// by what the peer sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Misuse {
    /// A control frame takes at most 125 bytes (RFC 6455 §5.5).
    ControlPayloadTooLong,
    /// A close code that must not be sent by this role (§7.4).
    InvalidCloseCode,
    /// A close reason takes at most 123 bytes (§5.5.1).
    CloseReasonTooLong,
    /// A message was begun and not finished; only control frames may pass it (§5.4).
    MessageInProgress,
    /// A fragment without [`begin`](crate::Connection::begin).
    NoMessageInProgress,
    /// The fragments of a text message are not UTF-8 together (§5.6).
    InvalidUtf8,
    /// A client writes with [`Output::masked`](crate::Output::masked) (§5.3).
    MissingMaskingKeys,
    /// The payload is longer than 2^63 - 1 bytes (§5.2).
    PayloadTooLong,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ControlPayloadTooLong => "control payload has more than 125 bytes",
            Self::InvalidCloseCode => "close code must not be sent",
            Self::CloseReasonTooLong => "close reason has more than 123 bytes",
            Self::MessageInProgress => "a fragmented message is not finished",
            Self::NoMessageInProgress => "no fragmented message was begun",
            Self::InvalidUtf8 => "fragments of text are not UTF-8",
            Self::MissingMaskingKeys => "a client needs an output with masking keys",
            Self::PayloadTooLong => "payload is longer than a frame can say",
        })
    }
}

impl core::error::Error for Misuse {}

/// Why nothing was written by a `send_*`, [`ping`](crate::Connection::ping) or
/// [`close`](crate::Connection::close). The output and the connection are as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SendError {
    /// The output has too little room; flush it and call again. See
    /// [`REPLY_ROOM`](crate::REPLY_ROOM).
    Full,
    /// A Close frame was sent already: nothing follows it (RFC 6455 §5.5.1).
    Closing,
    /// The call itself is wrong.
    Misuse(Misuse),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("output has too little room"),
            Self::Closing => f.write_str("connection is closing"),
            Self::Misuse(misuse) => misuse.fmt(f),
        }
    }
}

impl core::error::Error for SendError {}

impl From<Misuse> for SendError {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}

impl From<Full> for SendError {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

/// An [`Output`](crate::Output) has too little room; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("output has too little room")
    }
}

impl core::error::Error for Full {}

// Errors travel in registers.
const _: () = assert!(size_of::<Violation>() == 1);
const _: () = assert!(size_of::<Misuse>() == 1);
const _: () = assert!(size_of::<SendError>() == 1);

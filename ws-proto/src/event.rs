//! State. [`Event`]: all that a connection can report.

use crate::{close::CloseCode, error::Violation};

/// What a message is (RFC 6455 §5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum MessageKind {
    /// UTF-8 text.
    Text,
    /// Bytes with a meaning of the application's.
    Binary,
}

/// A part of the payload of a message, as it arrived.
///
/// The chunks of a message, joined, are the message. Where they are cut says nothing: it depends
/// on the transport as much as on the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'b> {
    /// What the message is.
    pub kind: MessageKind,
    /// The bytes, unmasked. Of a text message they are valid so far, but may end inside a
    /// character.
    pub bytes: &'b [u8],
    /// The message begins with this chunk.
    pub first: bool,
    /// The message ends with this chunk.
    pub last: bool,
    /// The message was compressed by the peer (RFC 7692): `bytes` are to be inflated, and text is
    /// not yet checked.
    pub compressed: bool,
}

/// Who sent the first Close, or gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Initiator {
    /// This end.
    Local,
    /// The other end.
    Peer,
}

/// How a connection ended (RFC 6455 §7.1.4 to 7.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Closed {
    /// Who began to close.
    pub initiator: Initiator,
    /// *The WebSocket Connection Close Code*: the one in the peer's Close frame,
    /// [`NO_STATUS`](CloseCode::NO_STATUS) if that had none, [`ABNORMAL`](CloseCode::ABNORMAL) if
    /// there was no Close frame.
    pub code: CloseCode,
    /// Both ends sent a Close frame, and no rule was broken.
    pub clean: bool,
}

/// What [`receive`](crate::Connection::receive) found in the input. It borrows from the input
/// only, never from the connection: an echo needs no copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'b> {
    /// A whole text message that lay in the input in one piece.
    Text(&'b str),
    /// A whole binary message that lay in the input in one piece.
    Binary(&'b [u8]),
    /// A part of any other message.
    Chunk(Chunk<'b>),
    /// A Ping; its Pong is in the output, unless [`Config::pong`](crate::Config::pong) is manual
    /// or our Close was sent.
    Ping(&'b [u8]),
    /// A Pong, asked for or not.
    Pong(&'b [u8]),
    /// The peer's Close frame; ours is in the output, unless
    /// [`Config::close`](crate::Config::close) is manual or it was sent before. No data follows.
    Close {
        /// The code, or [`NO_STATUS`](CloseCode::NO_STATUS) when the frame had none.
        code: CloseCode,
        /// The reason, at most 123 bytes. It was written by the peer: escape it before it is
        /// shown to anybody (RFC 6455 §7.1.6).
        reason: &'b str,
    },
    /// The peer broke a rule; the Close frame that says so is in the output. No data follows.
    Failed(Violation),
    /// The end, reported once: nothing more is awaited from the transport. Flush the output, end the
    /// sending side of the transport, and read on for a moment before closing it: a transport closed
    /// with input unread may take our last frames away from the peer (RFC 6455 §7.1.1).
    Closed(Closed),
}

const _: () = assert!(size_of::<Event<'_>>() <= 40);
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Event<'_>>() == 32);

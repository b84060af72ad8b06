//! What an end saw: events with bytes of their own, their chunks joined.
//!
//! Where a transport cuts the stream decides where chunks are cut, and nothing else. A [`Log`]
//! therefore joins consecutive chunks of a message: two logs of the same conversation are equal,
//! however it was cut. A message that came whole equals its joined chunks.

use ws_proto::{Chunk, Closed, Event, MessageKind, Violation};

/// One event, or the consecutive chunks of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A message, or the part of it that came between two other events.
    Data {
        /// What the message is.
        kind: MessageKind,
        /// The bytes, joined.
        bytes: Vec<u8>,
        /// The message begins here.
        first: bool,
        /// The message ends here.
        last: bool,
        /// The bytes are to be inflated.
        compressed: bool,
    },
    /// [`Event::Ping`].
    Ping(Vec<u8>),
    /// [`Event::Pong`].
    Pong(Vec<u8>),
    /// [`Event::Close`], with the number of its code.
    Close(u16, String),
    /// [`Event::Failed`].
    Failed(Violation),
    /// [`Event::Closed`].
    Closed(Closed),
}

impl Seen {
    /// A whole text message.
    pub fn text(text: &str) -> Self {
        Self::part(MessageKind::Text, text.as_bytes(), true, true)
    }

    /// A whole binary message.
    pub fn binary(bytes: &[u8]) -> Self {
        Self::part(MessageKind::Binary, bytes, true, true)
    }

    /// A part of an uncompressed message.
    pub fn part(kind: MessageKind, bytes: &[u8], first: bool, last: bool) -> Self {
        Self::Data {
            kind,
            bytes: bytes.to_vec(),
            first,
            last,
            compressed: false,
        }
    }
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::text(text),
            Event::Binary(bytes) => Self::binary(bytes),
            Event::Chunk(chunk) => Self::Data {
                kind: chunk.kind,
                bytes: chunk.bytes.to_vec(),
                first: chunk.first,
                last: chunk.last,
                compressed: chunk.compressed,
            },
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong(payload) => Self::Pong(payload.to_vec()),
            Event::Close { code, reason } => Self::Close(code.get(), reason.to_owned()),
            Event::Failed(violation) => Self::Failed(violation),
            Event::Closed(closed) => Self::Closed(closed),
        }
    }
}

/// Where an end puts its events.
pub trait Record: Default {
    /// Takes the next event.
    fn record(&mut self, event: &Event<'_>);
}

/// All that an end saw, in order, consecutive chunks of a message joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log(Vec<Seen>);

impl Log {
    /// What was seen so far.
    pub fn events(&self) -> &[Seen] {
        &self.0
    }

    /// Adds an entry.
    pub fn push(&mut self, seen: Seen) {
        self.0.push(seen);
    }

    /// What was seen since the last call.
    pub fn take(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.0)
    }

    /// The chunk continues the entry before it, if that is the beginning of its message.
    fn join(&mut self, chunk: &Chunk<'_>) -> bool {
        match self.0.last_mut() {
            Some(Seen::Data {
                kind,
                bytes,
                last: last @ false,
                compressed,
                ..
            }) if !chunk.first && *kind == chunk.kind && *compressed == chunk.compressed => {
                bytes.extend_from_slice(chunk.bytes);
                *last = chunk.last;
                true
            }
            _ => false,
        }
    }
}

impl Record for Log {
    fn record(&mut self, event: &Event<'_>) {
        match event {
            Event::Chunk(chunk) if self.join(chunk) => {}
            event => self.0.push(Seen::from(*event)),
        }
    }
}

/// Forgets what it is told: for measurements that the log's own memory would disturb.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ignore;

impl Record for Ignore {
    fn record(&mut self, _event: &Event<'_>) {}
}

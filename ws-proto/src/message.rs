//! State. Whole messages out of chunks, in memory that the caller lends (RFC 6455 §5.4, §6.2).
//!
//! [`Messages`] stands between a [`Connection`] and an application that wants whole messages. A
//! message that lies in the input in one piece is reported from there; only what comes in pieces is
//! put together in the [`Storage`]. UTF-8 was checked on the way in; a text put together is checked
//! once more, because a `&str` cannot be had from bytes otherwise without `unsafe`.

use core::borrow::Borrow;

use crate::{
    REPLY_ROOM,
    config::Config,
    connection::{Connection, State, Want},
    error::Violation,
    event::{Chunk, Event, MessageKind},
    output::{Output, copy},
    utf8::from_utf8,
};

/// Memory for a message. Its length is what it can hold; [`grow`](Storage::grow) may make it
/// longer.
pub trait Storage: AsRef<[u8]> + AsMut<[u8]> {
    /// Makes the memory at least `len` bytes long, if it can.
    fn grow(&mut self, _len: usize) {}

    /// Gives back what was grown.
    fn shrink(&mut self) {}
}

impl Storage for &mut [u8] {}

impl<const N: usize> Storage for [u8; N] {}

impl<const N: usize> Storage for heapless::Vec<u8, N> {
    fn grow(&mut self, len: usize) {
        let len = len.min(N);
        if self.len() < len {
            let _ = self.resize_default(len);
        }
    }
}

/// It grows with the bytes that arrive, to at most twice what is needed, and never by what a header
/// declares.
#[cfg(feature = "alloc")]
impl Storage for alloc::vec::Vec<u8> {
    fn grow(&mut self, len: usize) {
        if self.len() < len {
            self.resize(len, 0);
        }
    }

    fn shrink(&mut self) {
        *self = Self::new();
    }
}

/// Puts the chunks of messages together.
///
/// The length of a message is bounded by [`Limits::max_message`](crate::Limits::max_message) and by
/// what the storage can hold, whichever is less; beyond, the connection fails with
/// [`Violation::MessageTooBig`].
///
/// ```
/// use ws_proto::{Config, Connection, Event, Messages, Output};
///
/// let mut connection = Connection::server(Config::new());
/// let mut messages = Messages::new([0; 1024]);
/// let mut buffer = [0; 256];
/// let mut output = Output::new(&mut buffer);
///
/// // "Hel" and "lo" in two fragments, masked with zeros
/// let mut received = *b"\x01\x83\0\0\0\0Hel\x80\x82\0\0\0\0lo";
/// let mut input = &mut received[..];
/// let event = messages.receive(&mut connection, &mut input, &mut output);
/// assert_eq!(event, Some(Event::Text("Hello")));
/// ```
#[derive(Clone, Debug)]
pub struct Messages<B> {
    storage: B,
    len: usize,
    failed: Option<Violation>,
}

impl<B: Storage> Messages<B> {
    /// Messages that are put together in `storage`.
    pub const fn new(storage: B) -> Self {
        Self {
            storage,
            len: 0,
            failed: None,
        }
    }

    /// Reports the next event in `input`, as [`Connection::receive`] does, but whole messages in
    /// place of chunks. (Compressed chunks are reported as they are.)
    pub fn receive<'m, 'b: 'm, C: Borrow<Config>>(
        &'m mut self,
        connection: &mut Connection<C>,
        input: &mut &'b mut [u8],
        output: &mut Output<'_>,
    ) -> Option<Event<'m>> {
        if let Some(violation) = self.failed.take()
            && connection.state() != State::Closed
        {
            return Some(Event::Failed(violation));
        }
        loop {
            match connection.receive(input, output)? {
                Event::Chunk(chunk) if !chunk.compressed => {
                    let last = chunk.last;
                    if !self.take_in(chunk, connection, output) {
                        return Some(Event::Failed(Violation::MessageTooBig));
                    }
                    if last {
                        return self.whole(chunk.kind);
                    }
                }
                event => return Some(event),
            }
        }
    }

    /// Takes a chunk that the connection itself reported, and gives the message when that makes it
    /// whole, or the failure when it does not fit: for drivers that call
    /// [`Connection::receive`], and have memory for messages only while one comes in pieces. A
    /// compressed chunk is not for this.
    pub fn add<C: Borrow<Config>>(
        &mut self,
        chunk: Chunk<'_>,
        connection: &mut Connection<C>,
        output: &mut Output<'_>,
    ) -> Option<Event<'_>> {
        if !self.take_in(chunk, connection, output) {
            return Some(Event::Failed(Violation::MessageTooBig));
        }
        if chunk.last {
            return self.whole(chunk.kind);
        }
        None
    }

    /// What is needed before [`receive`](Messages::receive) returns an event, for drivers that lend
    /// events out of a buffer of their own: as [`Connection::wants`], but parts of messages that
    /// lie in `input` are stored on the way.
    pub fn wants<C: Borrow<Config>>(
        &mut self,
        connection: &mut Connection<C>,
        input: &mut &mut [u8],
        output: &mut Output<'_>,
    ) -> Want {
        while self.failed.is_none()
            && !connection.next_is_compressed(input)
            && connection.next_is_part(input)
        {
            if connection.wants(input, output.room()) != Want::Event {
                break;
            }
            self.failed = match connection.receive(input, output) {
                Some(Event::Chunk(chunk)) if !self.store(chunk) => connection
                    .fail(Violation::MessageTooBig, output)
                    .and(Some(Violation::MessageTooBig)),
                Some(Event::Failed(violation)) => Some(violation),
                _ => None,
            };
        }
        if self.failed.is_some() && connection.state() != State::Closed {
            return Want::Event;
        }
        connection.wants(input, output.room())
    }

    /// The memory that the rest of the current frame may be read into, straight from the transport:
    /// not longer than that rest, and `None` when no message is being put together, the storage
    /// cannot grow, or `room`, what is free in the output, is less than
    /// [`REPLY_ROOM`]. What was read is told by [`commit`](Messages::commit).
    ///
    /// Only where the input is empty: its bytes come first.
    pub fn spare_mut<C: Borrow<Config>>(
        &mut self,
        connection: &Connection<C>,
        room: usize,
    ) -> Option<&mut [u8]> {
        // Memory follows what has arrived, at most twice that, and never what a header declares.
        const STEP: usize = 1 << 10;
        if connection.next_is_compressed(&[]) || self.failed.is_some() || room < REPLY_ROOM {
            return None;
        }
        let remaining = usize::try_from(connection.payload_remaining()).unwrap_or(usize::MAX);
        let step = remaining.min(self.len.max(STEP));
        self.storage.grow(self.len.saturating_add(step));
        let spare = self.storage.as_mut().get_mut(self.len..)?;
        let len = spare.len().min(remaining);
        spare.get_mut(..len).filter(|spare| !spare.is_empty())
    }

    /// Takes the first `n` bytes of what [`spare_mut`](Messages::spare_mut) returned as received.
    /// `output` still has the room that was told there.
    pub fn commit<C: Borrow<Config>>(
        &mut self,
        n: usize,
        connection: &mut Connection<C>,
        output: &mut Output<'_>,
    ) -> Option<Event<'_>> {
        let end = self.len.saturating_add(n);
        let mut input = self.storage.as_mut().get_mut(self.len..end)?;
        match connection.receive(&mut input, output)? {
            Event::Chunk(chunk) => {
                self.len += chunk.bytes.len();
                let (kind, last) = (chunk.kind, chunk.last);
                if last { self.whole(kind) } else { None }
            }
            Event::Failed(violation) => Some(Event::Failed(violation)),
            _ => None,
        }
    }

    /// Gives memory back that the last message needed, where the storage grows.
    pub fn shrink(&mut self) {
        if self.len == 0 {
            self.storage.shrink();
        }
    }

    /// The storage, for other use.
    pub fn into_storage(self) -> B {
        self.storage
    }

    /// The length in bytes of what is stored of a message that is not whole yet.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no part of a message is stored.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a chunk; `false` if it does not fit and the connection has failed for that.
    ///
    /// What does not fit may be the good beginning of a broken text, whose failure is due already
    /// and is the one to be reported.
    fn take_in<C: Borrow<Config>>(
        &mut self,
        chunk: Chunk<'_>,
        connection: &mut Connection<C>,
        output: &mut Output<'_>,
    ) -> bool {
        self.store(chunk) || connection.fail(Violation::MessageTooBig, output).is_none()
    }

    /// Appends a chunk; `false` if it does not fit.
    fn store(&mut self, chunk: Chunk<'_>) -> bool {
        if chunk.first {
            self.len = 0;
        }
        let end = self.len.saturating_add(chunk.bytes.len());
        if self.storage.as_ref().len() < end {
            self.storage.grow(end.max(self.len.saturating_mul(2)));
        }
        let Some(to) = self.storage.as_mut().get_mut(self.len..end) else {
            self.len = 0;
            return false;
        };
        copy(chunk.bytes, to);
        self.len = end;
        true
    }

    /// The message that has become whole.
    fn whole(&mut self, kind: MessageKind) -> Option<Event<'_>> {
        let len = core::mem::take(&mut self.len);
        let bytes = self.storage.as_ref().get(..len)?;
        Some(match kind {
            MessageKind::Binary => Event::Binary(bytes),
            MessageKind::Text => Event::Text(from_utf8(bytes)?),
        })
    }
}

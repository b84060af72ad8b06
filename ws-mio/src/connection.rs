//! One WebSocket on a non-blocking source, for people who own their `mio::Poll`.
//!
//! Readiness in, events out. Register the source once for both interests, call
//! [`Connection::turn`] with what the poll tells, and [`Connection::handle_timeout`] when
//! [`Connection::next_timeout`] is over. Edges are remembered here: what is ready stays so until the source said
//! otherwise, whatever the reason why it was left alone. [`Turn::Again`] asks for another turn without waiting for
//! the poll, after the others had theirs.
//!
//! All memory is lent for the turn: [`Buffers`] serve all connections of a loop, and an idle
//! connection owns none.

mod memory;
mod outgoing;
mod queue;
mod reader;
mod sender;

use std::{
    io::{self, Read, Write},
    mem,
};

use ws_proto::{Event, REPLY_ROOM, State, Want};

pub(crate) use self::sender::Core;
pub use self::sender::{Overflow, Refused, Sender, Sent};
use self::{
    memory::Fate,
    queue::Queue,
    reader::{Parts, Reader},
};
use crate::buffers::Buffers;

#[cfg(test)]
mod tests;

/// Something to read from and to write to.
pub(crate) trait Source: Read + Write {}

impl<S: Read + Write> Source for S {}

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing more can be done until the source is ready again, or the timeout is over.
    Wait,
    /// More may have come: the turn ended to be fair to others. Call again without waiting.
    Again,
    /// The WebSocket has ended and all is written: end the source.
    Closed,
}

/// What the poll told of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// There is something to read.
    pub readable: bool,
    /// It takes bytes.
    pub writable: bool,
    /// The peer has ended its half, or the stream is broken: read to the end.
    pub read_closed: bool,
}

impl Ready {
    /// Nothing new: a turn because the last one said [`Turn::Again`].
    pub const AGAIN: Self = Self {
        readable: false,
        writable: false,
        read_closed: false,
    };
    /// Anything may be ready: nobody was asked.
    pub const ALL: Self = Self {
        readable: true,
        writable: true,
        read_closed: true,
    };
}

impl From<&mio::event::Event> for Ready {
    fn from(event: &mio::event::Event) -> Self {
        Self {
            readable: event.is_readable() || event.is_error(),
            writable: event.is_writable(),
            read_closed: event.is_read_closed() || event.is_error(),
        }
    }
}

/// What a read of fewer bytes than were asked for says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShortRead {
    /// Nothing is left, as with sockets: that spares the read that would say so.
    IsAll,
    /// Nothing at all, as with TLS: only [`WouldBlock`](io::ErrorKind::WouldBlock) does.
    MayBePart,
}

/// How messages are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Whole, up to the limit of their length.
    Messages,
    /// As they come, in constant memory: those that do not lie in the input in one piece as
    /// [`Event::Chunk`].
    Chunks,
}

/// One WebSocket on a non-blocking source: a `mio::net::TcpStream`, a Unix stream, or anything that
/// is `Read + Write` and answers [`WouldBlock`](io::ErrorKind::WouldBlock).
pub struct Connection<S> {
    core: Core,
    source: S,
    flags: Flags,
    queue: Option<Box<Queue>>,
    parts: Option<Box<Parts>>,
}

/// What is known of the connection beyond its core.
#[derive(Debug)]
struct Flags {
    /// Messages that were dropped since somebody asked.
    dropped: u16,
    /// The source may have something to read.
    readable: bool,
    /// The peer's half is known to end.
    read_closed: bool,
    /// The source may take something.
    writable: bool,
    /// The source has ended.
    ended: bool,
    /// The last message had memory of its own, and so may the next.
    expects_large: bool,
    /// The user does not want to receive.
    paused: bool,
    /// The peer does not read, and is not read from.
    over_high_water: bool,
    /// The peer took some of the queue since the last tick.
    progressed: bool,
    /// The user was told to wait until the queue is drained.
    owes_drained: bool,
    /// It is, and the user is to be told.
    is_drained: bool,
    overflow: Overflow,
    delivery: Delivery,
    short_read: ShortRead,
}

impl<S: Read + Write> Connection<S> {
    /// An end of a WebSocket whose opening handshake is done: `core` is what that gave. Take a
    /// first turn with [`Ready::ALL`].
    pub fn new(source: S, core: Core) -> Self {
        Self {
            core,
            source,
            flags: Flags {
                dropped: 0,
                readable: true,
                read_closed: false,
                writable: true,
                ended: false,
                expects_large: false,
                paused: false,
                over_high_water: false,
                progressed: false,
                owes_drained: false,
                is_drained: false,
                overflow: Overflow::Disconnect,
                delivery: Delivery::Messages,
                short_read: ShortRead::MayBePart,
            },
            queue: None,
            parts: None,
        }
    }

    /// Begins with bytes that were read already: those behind the head of the opening handshake,
    /// which are the first frames when the peer did not wait. The source does not become ready for
    /// them, so take a [`turn`](Self::turn) at once.
    #[must_use]
    pub fn resume(mut self, unread: &[u8]) -> Self {
        if !unread.is_empty() {
            let parts = self.parts.get_or_insert_default();
            parts.unread.extend_from_slice(unread);
        }
        self
    }

    /// Begins with bytes that are to be sent before all others: what the source did not take of the
    /// answer of the opening handshake.
    #[must_use]
    pub(crate) fn behind(mut self, unsent: &[u8]) -> Self {
        if !unsent.is_empty() {
            self.queue = Some(Box::new(Queue::resume(&[unsent], 0)));
        }
        self
    }

    /// Begins with what the opening handshake knows of the source.
    #[must_use]
    pub(crate) fn ready(mut self, ready: Ready) -> Self {
        self.flags.readable = ready.readable;
        self.flags.read_closed = ready.read_closed;
        self
    }

    /// How messages are reported; whole ones are the default.
    #[must_use]
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.flags.delivery = delivery;
        self
    }

    /// What a short read says of this source; by default nothing.
    #[must_use]
    pub fn short_read(mut self, short_read: ShortRead) -> Self {
        self.flags.short_read = short_read;
        self
    }

    /// Writes what waits, receives once and reports what came, and writes what that made the
    /// callback send.
    ///
    /// # Errors
    ///
    /// Those of the source, but for `WouldBlock` and `Interrupted`; `WriteZero` when it takes no
    /// bytes. The connection is of no use behind these, and [`end`](Self::end) tells how it ended.
    pub fn turn(
        &mut self,
        ready: Ready,
        buffers: &mut Buffers,
        on_event: impl FnMut(Event<'_>, &mut Sender<'_>),
    ) -> io::Result<Turn> {
        self.turn_with(ready, buffers, |sender| sender, on_event)
    }

    /// Sends outside of a turn. `send` gets the sending half; what it sends is written at once.
    ///
    /// # Errors
    ///
    /// As [`turn`](Self::turn).
    pub fn send<T>(
        &mut self,
        buffers: &mut Buffers,
        send: impl FnOnce(&mut Sender<'_>) -> T,
    ) -> io::Result<T> {
        let mut result = None;
        self.send_with(
            buffers,
            |sender| sender,
            |sender| result = Some(send(sender)),
        )?;
        Ok(result.expect("it was called"))
    }

    /// Tells the time, in milliseconds of any monotonic clock, as
    /// [`ws_proto::Connection::handle_timeout`].
    ///
    /// When the WebSocket has ended and its last bytes are not taken within a second, it gives up on
    /// them and says [`Turn::Closed`].
    ///
    /// # Errors
    ///
    /// As [`turn`](Self::turn).
    pub fn handle_timeout(
        &mut self,
        now_ms: u64,
        buffers: &mut Buffers,
        on_event: impl FnMut(Event<'_>, &mut Sender<'_>),
    ) -> io::Result<Turn> {
        self.handle_timeout_with(now_ms, buffers, |sender| sender, on_event)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next; at once if that is past,
    /// never if it is `None`. Ask again after each turn.
    #[inline]
    pub fn next_timeout(&self) -> Option<u64> {
        match (&self.queue, self.core.state()) {
            (Some(queue), State::Closed) => Some(queue.end_ms.unwrap_or(0)),
            _ => self.core.next_timeout(),
        }
    }

    /// Tells that the source is broken, and gives the end to be reported unless it was.
    pub fn end(&mut self) -> Option<Event<'static>> {
        self.queue = None;
        self.parts = None;
        self.core.end_of_input()
    }

    /// Whether less waits than [`Marks::low`](crate::Marks::low), after a send had answered [`Sent::OverHighWater`];
    /// told once.
    #[inline]
    pub fn take_drained(&mut self) -> bool {
        mem::take(&mut self.flags.is_drained)
    }

    /// Whether a turn would do something without the source becoming ready.
    pub fn wants_turn(&self) -> bool {
        outcome(&self.core, &self.flags, &self.queue, &self.parts) != Turn::Wait
    }

    /// What the source has not taken of what was sent. It is not kept any longer.
    pub(crate) fn take_unsent(&mut self) -> Vec<u8> {
        let queue = self.queue.take();
        queue.map_or(Vec::new(), |queue| queue.into_bytes())
    }

    /// Whether [`take_drained`](Self::take_drained) would say so.
    #[inline]
    pub(crate) fn is_drained(&self) -> bool {
        self.flags.is_drained
    }

    /// Whether the source was read to its end.
    pub(crate) fn has_ended(&self) -> bool {
        self.flags.ended
    }

    /// What is known of the source: whether it may have something to read, or the end.
    pub(crate) fn known(&self) -> Ready {
        Ready {
            readable: self.flags.readable || self.flags.ended,
            writable: self.flags.writable,
            read_closed: self.flags.read_closed,
        }
    }

    /// The source, to be registered.
    pub fn source(&mut self) -> &mut S {
        &mut self.source
    }

    /// The source, to be ended in order behind [`Turn::Closed`]. What is queued is lost.
    pub fn into_source(self) -> S {
        self.source
    }

    /// The core, for questions.
    pub fn core(&self) -> &Core {
        &self.core
    }

    pub(crate) fn turn_with<'a, X: AsMut<Sender<'a>>>(
        &'a mut self,
        ready: Ready,
        buffers: &'a mut Buffers,
        context: impl FnOnce(Sender<'a>) -> X,
        mut on_event: impl FnMut(Event<'_>, &mut X),
    ) -> io::Result<Turn> {
        self.flags.readable |= ready.readable || ready.read_closed;
        self.flags.writable |= ready.writable;
        self.flags.read_closed |= ready.read_closed;
        let (mut reader, sender) = self.lend(buffers);
        let mut cx = context(sender);
        let sender = cx.as_mut();
        if sender.queue.is_some() {
            sender.flush();
        }
        if sender.may_receive() {
            reader.receive_once(&mut cx, &mut on_event);
        }
        finish(cx.as_mut(), reader.parts)
    }

    pub(crate) fn send_with<'a, X: AsMut<Sender<'a>>>(
        &'a mut self,
        buffers: &'a mut Buffers,
        context: impl FnOnce(Sender<'a>) -> X,
        send: impl FnOnce(&mut X),
    ) -> io::Result<Turn> {
        let (reader, sender) = self.lend(buffers);
        let mut cx = context(sender);
        send(&mut cx);
        finish(cx.as_mut(), reader.parts)
    }

    pub(crate) fn handle_timeout_with<'a, X: AsMut<Sender<'a>>>(
        &'a mut self,
        now_ms: u64,
        buffers: &'a mut Buffers,
        context: impl FnOnce(Sender<'a>) -> X,
        mut on_event: impl FnMut(Event<'_>, &mut X),
    ) -> io::Result<Turn> {
        let (reader, sender) = self.lend(buffers);
        let mut cx = context(sender);
        cx.as_mut().judge_fairly();
        loop {
            let sender = cx.as_mut();
            let event = sender.core.handle_timeout(now_ms, &mut sender.output);
            sender.settle_reply();
            match event {
                Some(event) => on_event(event, &mut cx),
                None => break,
            }
        }
        let sender = cx.as_mut();
        if sender.core.state() == State::Closed {
            sender.linger(now_ms);
        }
        finish(sender, reader.parts)
    }

    fn lend<'a>(&'a mut self, buffers: &'a mut Buffers) -> (Reader<'a>, Sender<'a>) {
        let (input, output, pool, marks) = buffers.lend_all();
        let reader = Reader {
            parts: &mut self.parts,
            input,
        };
        let sender = Sender {
            core: &mut self.core,
            output,
            queue: &mut self.queue,
            flags: &mut self.flags,
            source: &mut self.source,
            marks,
            pool,
            fate: Fate::Pool,
            brake: false,
            error: None,
        };
        (reader, sender)
    }
}

/// Writes what was sent, and says what is to be done next.
fn finish(sender: &mut Sender<'_>, parts: &mut Option<Box<Parts>>) -> io::Result<Turn> {
    sender.flush();
    if sender.core.state() == State::Closed {
        // Nothing is made of it any more, and the queue may take a while.
        *parts = None;
    }
    match sender.error.take() {
        Some(error) => Err(error),
        None => Ok(outcome(sender.core, sender.flags, sender.queue, parts)),
    }
}

fn outcome(
    core: &Core,
    flags: &Flags,
    queue: &Option<Box<Queue>>,
    parts: &Option<Box<Parts>>,
) -> Turn {
    if core.state() == State::Closed {
        return match queue {
            None => Turn::Closed,
            Some(_) => Turn::Wait,
        };
    }
    if core.state() == State::Open && parts.is_none() && !flags.readable && !flags.ended {
        return Turn::Wait;
    }
    let is_unread = || {
        let unread = parts.as_ref().map_or(&[][..], |parts| parts.unread());
        core.wants(unread, REPLY_ROOM) == Want::Event
    };
    let may_receive = !flags.paused && !flags.over_high_water;
    match may_receive && (flags.readable || flags.ended || is_unread()) {
        true => Turn::Again,
        false => Turn::Wait,
    }
}

/// How long a WebSocket that has ended waits for its peer to take the rest of the queue: as long as
/// ws-std lingers. The core's own deadlines are over by then.
const LINGER_MS: u64 = 1_000;

impl Sender<'_> {
    /// A peer that is not read from is not judged by what it does not seem to say: one that takes
    /// bytes is alive, and of one that the user does not listen to nothing is known.
    fn judge_fairly(&mut self) {
        let progressed = mem::take(&mut self.flags.progressed);
        if self.flags.paused || self.flags.over_high_water && progressed {
            self.core.note_alive();
        }
    }

    /// The peer has a while to take the rest of the queue, and then no more.
    fn linger(&mut self, now_ms: u64) {
        if let Some(queue) = self.queue.as_mut() {
            let end_ms = *queue.end_ms.get_or_insert(now_ms.saturating_add(LINGER_MS));
            if end_ms <= now_ms {
                *self.queue = None;
            }
        }
    }
}

const _: () = assert!(size_of::<Flags>() <= 16);
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Connection<()>>() == 96 + 32);

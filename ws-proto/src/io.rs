//! Driver. A blocking WebSocket over [`embedded_io::Read`] and [`Write`] (feature `embedded-io`).
//!
//! Everything it needs is lent: a stream, a buffer for what comes in and one for what goes out.
//! It is a page of glue around [`Connection`]; where it does not fit, write another.
//!
//! # Buffers
//!
//! `rx` holds at least 131 bytes ([`REPLY_ROOM`]), a whole control frame. A message that lies in it
//! whole is reported whole, any other in chunks as it comes.
//!
//! `tx` holds at least 131 bytes too, a reply, and with a heartbeat 141.
//! [`send_text`](WebSocket::send_text) and [`send_binary`](WebSocket::send_binary) send longer
//! messages past it. What [`turn`](WebSocket::turn), [`with`](WebSocket::with) and
//! [`ping`](WebSocket::ping) send goes through it: for that it is 155 bytes
//! ([`SEND_ROOM`](crate::SEND_ROOM)) longer than the longest payload.
//!
//! # Time
//!
//! The clock is the caller's. A heartbeat needs a stream whose reads time out, once per second say:
//!
//! ```
//! use embedded_io::{Error as _, ErrorKind, Read, Write};
//! use ws_proto::{Event, io::{Error, WebSocket}};
//!
//! fn listen<S: Read + Write>(
//!     socket: &mut WebSocket<'_, S>,
//!     now_ms: impl Fn() -> u64,
//! ) -> Result<(), Error<S::Error>> {
//!     loop {
//!         match socket.receive() {
//!             Ok(Event::Closed(_)) => return Ok(()),
//!             Ok(event) => drop(event), // The application's part.
//!             Err(Error::Io(error)) if error.kind() == ErrorKind::TimedOut => {}
//!             Err(error) => return Err(error),
//!         }
//!         // Pings when it is time, and gives up on a peer that does not answer.
//!         let due = socket.with(|connection, output| connection.handle_timeout(now_ms(), output));
//!         if let Some(Event::Closed(_)) = due {
//!             return Ok(());
//!         }
//!     }
//! }
//! ```

mod handshake;

use core::{borrow::Borrow, fmt};

use embedded_io::{Read, Write};

pub use self::handshake::MAX_HEADERS;
use crate::{
    REPLY_ROOM,
    close::CloseCode,
    config::Config,
    connection::{Connection, State, Want},
    error::SendError,
    event::{Event, MessageKind},
    frame::FrameHeader,
    handshake::{HandshakeError, RequestError, ResponseError},
    output::{MaskingKeys, Output},
};

/// Why a call of [`WebSocket`] failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error<E> {
    /// The stream failed.
    Io(E),
    /// The stream took no byte of a write.
    WriteZero,
    /// [`Event::Closed`] was reported before, a send broke off in the middle of its frame, or the
    /// stream ended in the opening handshake.
    Closed,
    /// `rx` or `tx` is too small for what is to go through it; see [Buffers](self#buffers).
    BufferTooSmall,
    /// A request that was refused, and answered.
    Request(RequestError),
    /// A response that was refused.
    Response(ResponseError),
    /// The opening handshake was refused with this HTTP status: by us, or by the server.
    Refused(u16),
    /// A request or an answer that cannot be written.
    Handshake(HandshakeError),
    /// The connection refused to send.
    Send(SendError),
}

impl<E> From<SendError> for Error<E> {
    fn from(error: SendError) -> Self {
        Self::Send(error)
    }
}

impl<E> From<HandshakeError> for Error<E> {
    fn from(error: HandshakeError) -> Self {
        Self::Handshake(error)
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::WriteZero => f.write_str("the stream takes no more bytes"),
            Self::Closed => f.write_str("the connection has ended"),
            Self::BufferTooSmall => f.write_str("a lent buffer is too small"),
            Self::Send(error) => error.fmt(f),
            Self::Request(error) => error.fmt(f),
            Self::Response(error) => error.fmt(f),
            Self::Refused(status) => write!(f, "refused with HTTP status {status}"),
            Self::Handshake(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for Error<E> {}

/// A WebSocket over a blocking stream, in lent memory.
///
/// ```
/// use ws_proto::{Config, Connection, Event, SEND_ROOM, State, io::{Error, WebSocket}};
///
/// fn echo<S: embedded_io::Read + embedded_io::Write>(stream: S) -> Result<(), Error<S::Error>> {
///     // Whatever `rx` holds can be sent by way of `tx`.
///     let (mut rx, mut tx) = ([0; 1024], [0; 1024 + SEND_ROOM]);
///     let connection = Connection::server(Config::new());
///     let mut socket = WebSocket::server(stream, connection, &mut rx, &mut tx);
///     while socket.connection().state() != State::Closed {
///         socket.turn(|event, connection, output| match event {
///             Event::Text(text) => connection.send_text(text, output),
///             Event::Binary(bytes) => connection.send_binary(bytes, output),
///             Event::Chunk(chunk) => {
///                 if chunk.first {
///                     connection.begin(chunk.kind)?;
///                 }
///                 match chunk.last {
///                     false => connection.send_fragment(chunk.bytes, output),
///                     true => connection.finish(chunk.bytes, output),
///                 }
///             }
///             _ => Ok(()),
///         })??;
///     }
///     Ok(())
/// }
/// ```
pub struct WebSocket<'a, S, C = &'static Config> {
    stream: S,
    connection: Connection<C>,
    keys: Option<&'a mut dyn MaskingKeys>,
    rx: &'a mut [u8],
    /// What was read and not received: `rx[start..end]`.
    start: usize,
    end: usize,
    queue: Queue<'a>,
}

impl<'a, S: Read + Write, C: Borrow<Config>> WebSocket<'a, S, C> {
    /// The server's end of an established connection.
    pub fn server(
        stream: S,
        connection: Connection<C>,
        rx: &'a mut [u8],
        tx: &'a mut [u8],
    ) -> Self {
        Self {
            stream,
            connection,
            keys: None,
            rx,
            start: 0,
            end: 0,
            queue: Queue::new(tx, 0),
        }
    }

    /// The client's end of an established connection.
    pub fn client(
        stream: S,
        connection: Connection<C>,
        rx: &'a mut [u8],
        tx: &'a mut [u8],
        keys: &'a mut dyn MaskingKeys,
    ) -> Self {
        Self {
            keys: Some(keys),
            ..Self::server(stream, connection, rx, tx)
        }
    }

    /// Takes the first `len` bytes of `rx` as read before: what came behind the opening handshake.
    #[must_use]
    pub fn resume(mut self, len: usize) -> Self {
        (self.start, self.end) = (0, len.min(self.rx.len()));
        self
    }

    /// Waits for the next event. What is due to the peer is flushed first.
    ///
    /// After [`Event::Closed`] the stream may be closed. That event is reported even if our last
    /// Close could not be written; [`flush`](Self::flush) may then be repeated, and says why.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::WriteZero`], [`Error::BufferTooSmall`], or [`Error::Closed`] after
    /// [`Event::Closed`]. No bytes are lost by an error: a stream that timed out may be asked again.
    pub fn receive(&mut self) -> Result<Event<'_>, Error<S::Error>> {
        self.turn(|event, _, _| event)
    }

    /// Waits for the next event, as [`receive`](Self::receive), and calls `react` with it. The event
    /// borrows `rx`, the sends of the connection go to `tx`: an answer made of what was received
    /// needs no copy in between.
    ///
    /// While the connection is open, `tx` is empty then but for the reply to the event. What
    /// `react` sends is flushed by the next call.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive); `react` was not called then.
    pub fn turn<'s, T>(
        &'s mut self,
        react: impl FnOnce(Event<'s>, &mut Connection<C>, &mut Output<'_>) -> T,
    ) -> Result<T, Error<S::Error>> {
        let end_of_input = self.wait()?;
        let input = self.rx.get_mut(self.start..self.end);
        let mut input = input.unwrap_or_default();
        let mut output = self.queue.output(&mut self.keys);
        let event = match end_of_input {
            None => self.connection.receive(&mut input, &mut output),
            closed => closed,
        };
        self.start = self.end - input.len();
        let result = event.map(|event| react(event, &mut self.connection, &mut output));
        self.queue.len = output.len();
        if self.connection.state() == State::Closed {
            // A peer that is gone takes nothing of us, which must not hide that it is gone.
            let _ = self.queue.flush(&mut self.stream);
        }
        result.ok_or(Error::Closed)
    }

    /// Sends a text message of any length.
    ///
    /// A message that does not fit into `tx` is written past it, and nothing is read meanwhile: two
    /// ends that both send more than the stream holds wait for each other for ever. Where that may
    /// happen, send fragments, or let one end send at a time.
    ///
    /// # Errors
    ///
    /// [`Error::Send`], [`Error::Closed`], [`Error::BufferTooSmall`], or those of the stream.
    ///
    /// An error of the stream is final for the message: it is queued, lost or sent in part, and not
    /// to be sent again. One that fails in the middle of a frame ends the connection, for the peer
    /// could not tell what follows: all later calls fail with [`Error::Closed`]. Who cannot do
    /// without time limits of writes calls [`flush`](Self::flush) until it succeeds, and then sends
    /// what fits into `tx`: that is never lost.
    pub fn send_text(&mut self, text: &str) -> Result<(), Error<S::Error>> {
        self.send(MessageKind::Text, text.as_bytes())
    }

    /// Sends a binary message of any length.
    ///
    /// # Errors
    ///
    /// As [`send_text`](Self::send_text).
    pub fn send_binary(&mut self, bytes: &[u8]) -> Result<(), Error<S::Error>> {
        self.send(MessageKind::Binary, bytes)
    }

    /// Sends a Ping, with a payload of up to 125 bytes.
    ///
    /// # Errors
    ///
    /// As [`Connection::ping`], [`Error::BufferTooSmall`], and those of the stream.
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Error<S::Error>> {
        self.send_queued(|connection, output| connection.ping(payload, output))
    }

    /// Starts the closing handshake, or answers the peer's Close where [`Config::close`] is manual;
    /// go on to [`receive`](Self::receive) until [`Event::Closed`].
    ///
    /// # Errors
    ///
    /// As [`Connection::close`], [`Error::BufferTooSmall`], and those of the stream.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error<S::Error>> {
        self.send_queued(|connection, output| connection.close(code, reason, output))
    }

    /// Calls any method of the connection, such as
    /// [`send_fragment`](Connection::send_fragment) or
    /// [`handle_timeout`](Connection::handle_timeout), with what is free of `tx`. What it wrote is
    /// flushed later, by [`flush`](Self::flush) or [`receive`](Self::receive).
    pub fn with<T>(&mut self, call: impl FnOnce(&mut Connection<C>, &mut Output<'_>) -> T) -> T {
        let mut output = self.queue.output(&mut self.keys);
        let result = call(&mut self.connection, &mut output);
        self.queue.len = output.len();
        result
    }

    /// Writes what is queued to the stream, and flushes that. It may be repeated after an error.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::WriteZero`]; what was not written is still queued.
    pub fn flush(&mut self) -> Result<(), Error<S::Error>> {
        self.queue.flush(&mut self.stream)
    }

    /// The stream, to set its time limits, say. What is read from it or written to it here is
    /// missing in the connection.
    pub fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The stream.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// The connection.
    pub fn connection(&self) -> &Connection<C> {
        &self.connection
    }

    /// The stream, and what was read from it and not received.
    pub fn into_parts(self) -> (S, &'a [u8]) {
        let unread = self.rx.get(self.start..self.end).unwrap_or_default();
        (self.stream, unread)
    }

    /// Waits until the connection has an event to report: `None`, or the end of the stream.
    fn wait(&mut self) -> Result<Option<Event<'static>>, Error<S::Error>> {
        loop {
            let flushed = self.flush();
            match self.connection.state() {
                State::Open => flushed?,
                // The peer may have closed and gone: that is learnt by reading on.
                State::Closing => {}
                State::Closed => return Err(Error::Closed),
            }
            let unread = self.rx.get(self.start..self.end).unwrap_or_default();
            match self.connection.wants(unread, self.queue.room()) {
                Want::Event => return Ok(None),
                // Nothing is queued in an open connection, so there will never be more room.
                Want::Output => return Err(Error::BufferTooSmall),
                Want::Input => self.discard(),
            }
            if self.fill()? == 0 {
                let closed = self.connection.end_of_input();
                return closed.map(Some).ok_or(Error::Closed);
            }
        }
    }

    /// Lets the connection drop what will never be an event: input behind the peer's Close, while
    /// ours is owed by the caller. What it still needs it leaves.
    fn discard(&mut self) {
        if self.connection.state() == State::Open || self.start == self.end {
            return;
        }
        let mut input = self.rx.get_mut(self.start..self.end).unwrap_or_default();
        let mut output = self.queue.output(&mut self.keys);
        let _ = self.connection.receive(&mut input, &mut output);
        self.start = self.end - input.len();
        self.queue.len = output.len();
    }

    /// Reads more behind what is unread; 0 at the end of the stream.
    fn fill(&mut self) -> Result<usize, Error<S::Error>> {
        if self.start > 0 {
            self.rx.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let n = fill(&mut self.stream, self.rx, self.end)?;
        self.end += n;
        Ok(n)
    }

    fn send(&mut self, kind: MessageKind, payload: &[u8]) -> Result<(), Error<S::Error>> {
        let sent = self.send_queued(|connection, output| {
            connection.send_message(kind.into(), payload, output)
        });
        match sent {
            Err(Error::BufferTooSmall) => self.send_past_buffer(kind, payload),
            sent => sent,
        }
    }

    /// Sends something by way of an empty `tx`.
    fn send_queued(
        &mut self,
        call: impl FnOnce(&mut Connection<C>, &mut Output<'_>) -> Result<(), SendError>,
    ) -> Result<(), Error<S::Error>> {
        if self.connection.state() == State::Closed {
            return Err(Error::Closed);
        }
        self.flush()?;
        match self.with(call) {
            Ok(()) => self.flush(),
            Err(SendError::Full) => Err(Error::BufferTooSmall),
            Err(error) => Err(error.into()),
        }
    }

    /// A message that is longer than `tx`: its payload goes straight to the stream, masked through
    /// `tx` on a client. Nothing is queued.
    fn send_past_buffer(
        &mut self,
        kind: MessageKind,
        payload: &[u8],
    ) -> Result<(), Error<S::Error>> {
        if self.queue.tx.len() < REPLY_ROOM {
            return Err(Error::BufferTooSmall);
        }
        let payload_len = payload.len() as u64;
        let header =
            self.with(|connection, output| connection.frame_header(kind, payload_len, output))?;
        let written = write_frame(&mut self.stream, &header, payload, self.queue.tx);
        if written.is_err() {
            // The peer takes what we send next for the rest of this frame: so we send nothing.
            let _ = self.connection.end_of_input();
            return written;
        }
        self.queue.is_flush_due = true;
        self.flush()
    }
}

impl<S: fmt::Debug, C: fmt::Debug> fmt::Debug for WebSocket<'_, S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("stream", &self.stream)
            .field("connection", &self.connection)
            .field("unread", &(self.end - self.start))
            .field("queued", &self.queue.len)
            .finish_non_exhaustive()
    }
}

/// What goes out.
struct Queue<'a> {
    tx: &'a mut [u8],
    /// What is not written: `tx[..len]`.
    len: usize,
    /// Something was written, and the stream not flushed since.
    is_flush_due: bool,
}

impl<'a> Queue<'a> {
    fn new(tx: &'a mut [u8], len: usize) -> Self {
        Self {
            tx,
            len,
            is_flush_due: false,
        }
    }

    fn flush<S: Write>(&mut self, stream: &mut S) -> Result<(), Error<S::Error>> {
        let rest = self.tx.get(..self.len).unwrap_or_default();
        let (n, written) = write_all(stream, rest);
        if n > 0 {
            self.tx.copy_within(n..self.len, 0);
            self.len -= n;
            self.is_flush_due = true;
        }
        written?;
        if self.is_flush_due {
            stream.flush().map_err(Error::Io)?;
            self.is_flush_due = false;
        }
        Ok(())
    }

    /// An output behind what is queued. Its length is to be taken over.
    fn output<'o>(&'o mut self, keys: &'o mut Option<&mut dyn MaskingKeys>) -> Output<'o> {
        match keys {
            Some(keys) => Output::masked(self.tx, *keys),
            None => Output::new(self.tx),
        }
        .resume(self.len)
    }

    fn room(&self) -> usize {
        self.tx.len() - self.len
    }
}

/// Reads behind the first `end` bytes of `rx`; 0 at the end of the stream.
fn fill<S: Read>(stream: &mut S, rx: &mut [u8], end: usize) -> Result<usize, Error<S::Error>> {
    let space = rx.get_mut(end..).unwrap_or_default();
    if space.is_empty() {
        // A read of nothing says 0 too.
        return Err(Error::BufferTooSmall);
    }
    let n = stream.read(space).map_err(Error::Io)?;
    Ok(n.min(space.len()))
}

/// Writes a frame, its payload masked through `buffer` if it has a key.
fn write_frame<S: Write>(
    stream: &mut S,
    header: &FrameHeader,
    payload: &[u8],
    buffer: &mut [u8],
) -> Result<(), Error<S::Error>> {
    write_all(stream, &header.to_bytes()).1?;
    let Some(mut key) = header.masking_key else {
        return write_all(stream, payload).1;
    };
    for chunk in payload.chunks(buffer.len().max(1)) {
        let masked = buffer.get_mut(..chunk.len()).unwrap_or_default();
        key.copy(chunk, masked);
        key = key.skip(chunk.len());
        write_all(stream, masked).1?;
    }
    Ok(())
}

/// Writes all, or as much as it could before an error.
fn write_all<S: Write>(stream: &mut S, bytes: &[u8]) -> (usize, Result<(), Error<S::Error>>) {
    let mut n = 0;
    while let Some(rest) = bytes.get(n..).filter(|rest| !rest.is_empty()) {
        match stream.write(rest) {
            Ok(0) => return (n, Err(Error::WriteZero)),
            Ok(more) => n += more.min(rest.len()),
            Err(error) => return (n, Err(Error::Io(error))),
        }
    }
    (n, Ok(()))
}

//! Driver. A blocking WebSocket over [`embedded_io::Read`] and [`Write`] (feature `embedded-io`).
//!
//! Everything it needs is lent: a stream, a buffer for what comes in and one for what goes out.
//! It is one page of glue around [`Connection`]; where it does not fit, write another.
//!
//! # Buffers
//!
//! `rx` holds at least 131 bytes, a whole control frame. Messages that fit into it in one piece are
//! reported in one piece; longer ones come as chunks. `tx` holds at least 145 bytes, a reply and a
//! header; messages longer than that are sent all the same, past the buffer.

mod handshake;

use core::{borrow::Borrow, fmt};

use embedded_io::{Read, Write};

use crate::{
    close::CloseCode,
    config::Config,
    connection::{Connection, State, Want},
    error::SendError,
    event::{Event, MessageKind},
    handshake::{HandshakeError, RequestError, ResponseError},
    output::{MaskingKeys, Output},
};

/// Why a call of [`WebSocket`] failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<E> {
    /// The stream failed.
    Io(E),
    /// The stream took no byte of a write.
    WriteZero,
    /// [`Event::Closed`] was reported before, or the stream ended in the opening handshake.
    Closed,
    /// A request that was refused, and answered.
    Request(RequestError),
    /// A response that was refused.
    Response(ResponseError),
    /// The opening handshake was refused with this HTTP status: by us, or by the server.
    Refused(u16),
    /// A request or an answer that cannot be written.
    Handshake(HandshakeError),
    /// The connection refused to send; never with [`SendError::Full`], unless `tx` is too small
    /// for a control frame.
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
/// use ws_proto::{Config, Connection, Event, io::WebSocket};
///
/// fn echo<S: embedded_io::Read + embedded_io::Write>(
///     stream: S,
/// ) -> Result<(), ws_proto::io::Error<S::Error>> {
///     let (mut rx, mut tx) = ([0; 1024], [0; 256]);
///     let connection = Connection::server(Config::new());
///     let mut socket = WebSocket::server(stream, connection, &mut rx, &mut tx);
///     let mut memory = [0; 1024];
///     loop {
///         let len = match socket.receive()? {
///             Event::Text(text) => {
///                 memory[..text.len()].copy_from_slice(text.as_bytes());
///                 text.len()
///             }
///             Event::Closed(_) => return Ok(()),
///             _ => continue,
///         };
///         socket.send_binary(&memory[..len])?;
///     }
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
    tx: &'a mut [u8],
    /// What was written and not flushed: `tx[..queued]`.
    queued: usize,
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
            tx,
            queued: 0,
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

    /// Waits for the next event. What is due to the peer is flushed before the stream is read.
    ///
    /// After [`Event::Closed`] the stream may be closed.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::WriteZero`], or [`Error::Closed`] after [`Event::Closed`]. No bytes
    /// are lost by an error: a stream that timed out may be asked again.
    pub fn receive(&mut self) -> Result<Event<'_>, Error<S::Error>> {
        loop {
            let unread = self.rx.get(self.start..self.end).unwrap_or_default();
            match self.connection.wants(unread, self.tx.len() - self.queued) {
                Want::Event => break,
                Want::Output => self.flush()?,
                Want::Input => {
                    self.flush()?;
                    if self.connection.state() == State::Closed {
                        return Err(Error::Closed);
                    }
                    if self.fill()? == 0 {
                        return self.connection.end_of_input().ok_or(Error::Closed);
                    }
                }
            }
        }
        let Self {
            connection,
            keys,
            rx,
            tx,
            ..
        } = self;
        let mut input = rx.get_mut(self.start..self.end).unwrap_or_default();
        let mut output = output(tx, keys).resume(self.queued);
        let event = connection.receive(&mut input, &mut output);
        self.queued = output.len();
        self.start = self.end - input.len();
        if matches!(event, Some(Event::Closed(_))) {
            flush(&mut self.stream, tx, &mut self.queued)?;
        }
        event.ok_or(Error::Closed)
    }

    /// Sends a text message of any length.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::WriteZero`] or [`Error::Send`].
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

    /// Starts the closing handshake; go on to [`receive`](Self::receive) until
    /// [`Event::Closed`].
    ///
    /// # Errors
    ///
    /// As [`Connection::close`], and those of the stream.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error<S::Error>> {
        self.write(|connection, output| connection.close(code, reason, output))?;
        self.flush()
    }

    /// Calls a `send_*`, [`ping`](Connection::ping) or
    /// [`handle_timeout`](Connection::handle_timeout) of the connection; what it wrote is flushed
    /// later, by [`flush`](Self::flush) or [`receive`](Self::receive).
    pub fn write<T>(&mut self, call: impl FnOnce(&mut Connection<C>, &mut Output<'_>) -> T) -> T {
        let mut output = output(self.tx, &mut self.keys).resume(self.queued);
        let result = call(&mut self.connection, &mut output);
        self.queued = output.len();
        result
    }

    /// Writes what is queued to the stream.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::WriteZero`]; what was not written is still queued.
    pub fn flush(&mut self) -> Result<(), Error<S::Error>> {
        flush(&mut self.stream, self.tx, &mut self.queued)
    }

    /// The connection.
    pub fn connection(&self) -> &Connection<C> {
        &self.connection
    }

    /// The stream.
    pub fn into_stream(self) -> S {
        self.stream
    }

    fn send(&mut self, kind: MessageKind, payload: &[u8]) -> Result<(), Error<S::Error>> {
        let sent =
            self.write(|connection, output| connection.send_message(kind.into(), payload, output));
        match sent {
            Ok(()) => self.flush(),
            Err(SendError::Full) => self.send_past_buffer(kind, payload),
            Err(error) => Err(error.into()),
        }
    }

    /// A message that is longer than `tx`: its payload goes straight to the stream, masked through
    /// `tx` on a client.
    fn send_past_buffer(
        &mut self,
        kind: MessageKind,
        payload: &[u8],
    ) -> Result<(), Error<S::Error>> {
        self.flush()?;
        let header = self.write(|connection, output| {
            connection.frame_header(kind, payload.len() as u64, output)
        })?;
        write_all(&mut self.stream, &header.to_bytes())?;
        let Some(mut key) = header.masking_key else {
            return write_all(&mut self.stream, payload);
        };
        for piece in payload.chunks(self.tx.len().max(1)) {
            let masked = self.tx.get_mut(..piece.len()).unwrap_or_default();
            key.copy(piece, masked);
            key = key.skip(piece.len());
            write_all(&mut self.stream, masked)?;
        }
        Ok(())
    }

    /// Reads more behind what is unread; 0 at the end of the stream.
    fn fill(&mut self) -> Result<usize, Error<S::Error>> {
        if self.start > 0 {
            self.rx.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let space = self.rx.get_mut(self.end..).unwrap_or_default();
        let n = self.stream.read(space).map_err(Error::Io)?.min(space.len());
        self.end += n;
        Ok(n)
    }
}

fn output<'o>(tx: &'o mut [u8], keys: &'o mut Option<&mut dyn MaskingKeys>) -> Output<'o> {
    match keys {
        Some(keys) => Output::masked(tx, *keys),
        None => Output::new(tx),
    }
}

fn flush<S: Write>(
    stream: &mut S,
    tx: &mut [u8],
    queued: &mut usize,
) -> Result<(), Error<S::Error>> {
    let mut at = 0;
    let mut result = Ok(());
    while at < *queued {
        match write_some(stream, tx.get(at..*queued).unwrap_or_default()) {
            Ok(n) => at += n,
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    if at > 0 {
        tx.copy_within(at..*queued, 0);
        *queued -= at;
        stream.flush().map_err(Error::Io)?;
    }
    result
}

fn write_all<S: Write>(stream: &mut S, mut bytes: &[u8]) -> Result<(), Error<S::Error>> {
    while !bytes.is_empty() {
        let n = write_some(stream, bytes)?;
        bytes = bytes.get(n..).unwrap_or_default();
    }
    stream.flush().map_err(Error::Io)
}

fn write_some<S: Write>(stream: &mut S, bytes: &[u8]) -> Result<usize, Error<S::Error>> {
    match stream.write(bytes).map_err(Error::Io)? {
        0 => Err(Error::WriteZero),
        n => Ok(n.min(bytes.len())),
    }
}

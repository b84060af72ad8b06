//! [`WebSocket`]: one open connection on a blocking stream.

use std::{
    fmt, io,
    io::ErrorKind,
    mem,
    ops::ControlFlow,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use ws_proto::{
    CloseCode, Config, Connection, Event, MessageKind, Messages, Role, State, Violation, Want,
};

use crate::{
    buffer::{Inbox, Outbox, is_timeout},
    clock::Clock,
    error::{Closed, Error, Stage},
    message::{Message, MessageRef},
    opening::Opening,
    reply::Reply,
    transport::Transport,
};

/// How large the receive buffer is, in bytes, unless a builder is told otherwise: 16 KiB, the
/// longest HTTP head that is accepted. Four times as much makes pipelined messages of 20 bytes not
/// measurably faster.
pub const RECEIVE_BUFFER: usize = 16 << 10;

/// One WebSocket connection on a blocking stream.
///
/// [`connect`](crate::connect) and [`Server`](crate::Server) make them; [`client`](Self::client) and
/// [`server`](Self::server) put one on any [`Transport`] whose opening handshake was done elsewhere.
///
/// # Who drives the protocol
///
/// The thread that calls. Pings are answered, and timeouts are noticed, inside
/// [`recv`](Self::recv), [`recv_timeout`](Self::recv_timeout) and [`for_each`](Self::for_each), and
/// nowhere else: a program that computes for a minute between two of them looks dead for a minute,
/// and its peer may say so.
///
/// # Buffers
///
/// A connection owns two buffers of 16 KiB. One read may bring many frames; all are taken before
/// the next read, and the replies to all of them leave in one write. A message larger than the
/// buffer is read straight into memory of its own, which is given back when it is not used again,
/// and written straight from the caller's.
pub struct WebSocket<S: Transport> {
    pub(crate) stream: S,
    pub(crate) connection: Connection<Arc<Config>>,
    messages: Messages<Vec<u8>>,
    inbox: Inbox,
    pub(crate) outbox: Outbox,
    clock: Clock,
    /// The reason of the peer's Close.
    reason: String,
    end: Option<End>,
    /// What is worth remembering of the opening handshake.
    opening: Option<Box<Opening>>,
    /// `messages` has grown since the last tick.
    has_grown: bool,
}

/// How the connection ended, to be told again and again.
#[derive(Debug)]
enum End {
    Closed(Closed),
    Violation(Violation),
    Truncated,
    Io(ErrorKind),
}

/// What a look at the inbox, or a read, led to.
enum Step<R> {
    /// The caller's function broke off.
    Break(R),
    /// There may be more where that came from.
    Again,
    /// All is taken that was there.
    Empty,
    /// The connection has ended.
    Ended(ws_proto::Closed),
    /// The caller's time is up.
    TimedOut,
}

impl<S: Transport> WebSocket<S> {
    /// The client's end of a connection whose opening handshake was done elsewhere.
    pub fn client(stream: S, config: Arc<Config>) -> Self {
        Self::established(
            stream,
            Connection::client(config),
            Inbox::new(RECEIVE_BUFFER),
        )
    }

    /// The server's end of a connection whose opening handshake was done elsewhere.
    pub fn server(stream: S, config: Arc<Config>) -> Self {
        Self::established(
            stream,
            Connection::server(config),
            Inbox::new(RECEIVE_BUFFER),
        )
    }

    pub(crate) fn established(
        stream: S,
        connection: Connection<Arc<Config>>,
        inbox: Inbox,
    ) -> Self {
        let outbox = Outbox::new(connection.role(), OUTPUT_BUFFER);
        Self {
            stream,
            connection,
            messages: Messages::new(Vec::new()),
            inbox,
            outbox,
            clock: Clock::start(),
            reason: String::new(),
            end: None,
            opening: None,
            has_grown: false,
        }
    }

    pub(crate) fn opened(mut self, opening: Opening) -> Self {
        self.opening = Some(Box::new(opening));
        self
    }

    /// Waits for the next message.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] after the last message, however the connection was closed; it is the
    /// ordinary end. [`Error::Violation`], [`Error::Truncated`] and [`Error::Io`] are the others. Each
    /// is given again by all further calls. [`Error::Timeout`] says that a reply could not be
    /// written in time; nothing is lost, and `recv` may be called again.
    pub fn recv(&mut self) -> Result<Message, Error> {
        self.recv_until(None)?
            .ok_or_else(|| Error::Io(ErrorKind::WouldBlock.into()))
    }

    /// Waits for the next message, but not longer than `timeout`: `None` if none has come by then.
    /// Nothing is lost of a message that has come in part.
    ///
    /// With a timeout of zero it takes what is there already.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Message>, Error> {
        self.recv_until(Instant::now().checked_add(timeout))
    }

    /// Calls a function with each message until the connection ends: the way to the least work per
    /// message.
    ///
    /// The message is lent from the receive buffer. What the function sends through the [`Reply`] is
    /// collected, and leaves with one write when all messages of one read are handled.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), ws_std::Error> {
    /// let mut socket = ws_std::connect("ws://127.0.0.1:8765")?;
    /// let closed = socket.for_each(|message, reply| reply.send(message))?;
    /// println!("{closed}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The first one that the function returns; otherwise as [`recv`](Self::recv), but the ordinary
    /// end is `Ok`.
    pub fn for_each<F>(&mut self, mut handler: F) -> Result<Closed, Error>
    where
        F: FnMut(MessageRef<'_>, &mut Reply<'_, S>) -> Result<(), Error>,
    {
        let outcome = self.pump(None, &mut |message, reply| match handler(message, reply) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        });
        match outcome {
            Ok(Some(error)) => {
                let _ = self.flush();
                Err(error)
            }
            Ok(None) => Err(Error::Io(ErrorKind::WouldBlock.into())),
            Err(Error::Closed(closed)) => Ok(closed),
            Err(error) => Err(error),
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// [`Error::Closing`] after our Close, or when the connection has ended; [`Error::Timeout`] when
    /// the peer does not read; [`Error::Io`]; [`Error::Misuse`] between [`begin`](Self::begin) and
    /// [`finish`](Self::finish).
    pub fn send<'a>(&mut self, message: impl Into<MessageRef<'a>>) -> Result<(), Error> {
        let message = message.into();
        self.reply(|reply| reply.send(message))
    }

    /// Sends a text message.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_text(&mut self, text: &str) -> Result<(), Error> {
        self.reply(|reply| reply.send_text(text))
    }

    /// Sends a binary message.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_binary(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.reply(|reply| reply.send_binary(bytes))
    }

    /// Begins a message whose length is not known yet. Its fragments follow with
    /// [`send_fragment`](Self::send_fragment), its end with [`finish`](Self::finish); messages may
    /// be received meanwhile.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn begin(&mut self, kind: MessageKind) -> Result<(), Error> {
        self.reply(|reply| reply.begin(kind))
    }

    /// Sends the next fragment, or several if it is larger than the send buffer. A fragment of text
    /// may end inside a character.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`Error::Misuse`] without [`begin`](Self::begin) or when text is
    /// not UTF-8.
    pub fn send_fragment(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.reply(|reply| reply.send_fragment(bytes))
    }

    /// Sends the last fragment.
    ///
    /// # Errors
    ///
    /// As [`send_fragment`](Self::send_fragment).
    pub fn finish(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.reply(|reply| reply.finish(bytes))
    }

    /// Sends a Ping with up to 125 bytes.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`Error::Misuse`] if the payload is longer.
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.reply(|reply| reply.ping(payload))
    }

    /// Starts the closing handshake (RFC 6455 §7.1.2), and returns at once. What the peer sent
    /// before it learns of this can still be received; then comes [`Error::Closed`], at the latest
    /// after [`Timeouts::close`](ws_proto::Timeouts::close). [`wait_closed`](Self::wait_closed) waits for that.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`Error::Misuse`] for a code that must not be sent, or a reason
    /// over 123 bytes.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        self.reply(|reply| reply.close(code, reason))
    }

    /// Waits for the end of the connection, and drops what messages come before it.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), but the ordinary end is `Ok`.
    pub fn wait_closed(&mut self) -> Result<Closed, Error> {
        self.for_each(|_, _| Ok(()))
    }

    /// Writes what is queued, after an [`Error::Timeout`].
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] again, or [`Error::Io`].
    pub fn flush(&mut self) -> Result<(), Error> {
        self.outbox.flush(&mut self.stream).map_err(send_error)
    }

    /// Where the connection is in its life. `Open` may be over the moment after.
    pub fn state(&self) -> State {
        self.connection.state()
    }

    /// Which end this is.
    pub fn role(&self) -> Role {
        self.connection.role()
    }

    /// The subprotocol that was agreed on.
    pub fn subprotocol(&self) -> Option<&str> {
        self.opening()?.subprotocol()
    }

    /// What the opening handshake said, unless it was done elsewhere.
    pub fn opening(&self) -> Option<&Opening> {
        self.opening.as_deref()
    }

    /// The stream.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// The stream, for its options. What is read from it or written to it is missing from the
    /// connection.
    pub fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    fn recv_until(&mut self, deadline: Option<Instant>) -> Result<Option<Message>, Error> {
        let message = self.pump(deadline, &mut |message: MessageRef<'_>, _: &mut _| {
            ControlFlow::Break(Message::from(message))
        })?;
        // The replies to one read leave together: with the last message that it brought.
        if message.is_some()
            && !self.outbox.is_empty()
            && self
                .connection
                .wants(self.inbox.unread(), self.outbox.room())
                == Want::Input
        {
            let _ = self.flush_replies();
        }
        Ok(message)
    }

    /// Sends, and flushes at once.
    fn reply(
        &mut self,
        send: impl FnOnce(&mut Reply<'_, S>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut reply = Reply {
            stream: &mut self.stream,
            connection: &mut self.connection,
            outbox: &mut self.outbox,
        };
        send(&mut reply)?;
        reply.flush()
    }

    /// The loop: take what was read, write the replies, read. It ends when the function breaks off,
    /// when the time is up (`None`), and with the connection.
    fn pump<R>(
        &mut self,
        deadline: Option<Instant>,
        on_message: &mut impl FnMut(MessageRef<'_>, &mut Reply<'_, S>) -> ControlFlow<R>,
    ) -> Result<Option<R>, Error> {
        let mut has_read = false;
        loop {
            if let Some(end) = &self.end {
                return Err(end.into());
            }
            let mut step = self.take(on_message)?;
            if matches!(step, Step::Empty) {
                self.flush_replies()?;
                step = self.tick()?;
            }
            if matches!(step, Step::Empty) {
                step = self.fill(deadline, has_read, on_message)?;
                has_read = true;
            }
            match step {
                Step::Break(result) => return Ok(Some(result)),
                Step::TimedOut => return Ok(None),
                Step::Ended(closed) => self.ended(closed),
                Step::Again | Step::Empty => {}
            }
        }
    }

    /// Takes what lies in the inbox.
    fn take<R>(
        &mut self,
        on_message: &mut impl FnMut(MessageRef<'_>, &mut Reply<'_, S>) -> ControlFlow<R>,
    ) -> Result<Step<R>, Error> {
        let Self {
            stream,
            connection,
            messages,
            inbox,
            outbox,
            reason,
            ..
        } = self;
        let mut input = inbox.unread_mut();
        let outcome = loop {
            let event = outbox.with(|output| messages.receive(connection, &mut input, output));
            let Some(event) = event else {
                match connection.wants(input, outbox.room()) {
                    Want::Input => break Ok(Step::Empty),
                    Want::Output => {
                        if let Err(error) = outbox.flush(stream).map_err(send_error) {
                            break Err(error);
                        }
                        continue;
                    }
                    Want::Event => continue,
                }
            };
            let mut reply = Reply {
                stream,
                connection,
                outbox,
            };
            match dispatch(event, &mut reply, reason, on_message) {
                Step::Empty => {}
                step => break Ok(step),
            }
        };
        let unread = input.len();
        inbox.keep(unread);
        outcome
    }

    /// Reads once: behind what lies in the inbox, or into the memory of a message that would not
    /// fit there.
    fn fill<R>(
        &mut self,
        deadline: Option<Instant>,
        has_read: bool,
        on_message: &mut impl FnMut(MessageRef<'_>, &mut Reply<'_, S>) -> ControlFlow<R>,
    ) -> Result<Step<R>, Error> {
        let begun = self.clock.now();
        if has_read && deadline.is_some_and(|deadline| deadline <= begun) {
            return Ok(Step::TimedOut);
        }
        let armed = self
            .clock
            .arm(&mut self.stream, self.connection.next_timeout(), deadline)
            .map_err(Error::Io)?;
        let is_large = self.inbox.is_empty()
            && self.connection.payload_remaining() >= self.inbox.capacity() as u64;
        let spare = if is_large {
            self.messages.spare_mut(&self.connection)
        } else {
            None
        };
        let is_direct = spare.is_some();
        let buffer = match spare {
            Some(spare) => spare,
            None => self.inbox.free_mut(),
        };
        match self.stream.read(buffer) {
            Ok(0) => Ok(self.end_of_input()),
            Ok(n) if is_direct => Ok(self.commit(n, on_message)),
            Ok(n) => {
                self.inbox.filled(n);
                Ok(Step::Again)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(Step::Again),
            Err(error) if is_timeout(&error) => {
                // A stream that is not asked to wait, or does not know how, must not be asked
                // again at once: the caller knows better when.
                let early = armed.is_none_or(|armed| begun.elapsed() < armed / 2);
                Ok(if early { Step::TimedOut } else { Step::Again })
            }
            Err(error) => Ok(self.broken(error)),
        }
    }

    /// The next `n` bytes of a large message are in its memory.
    fn commit<R>(
        &mut self,
        n: usize,
        on_message: &mut impl FnMut(MessageRef<'_>, &mut Reply<'_, S>) -> ControlFlow<R>,
    ) -> Step<R> {
        self.has_grown = true;
        let Self {
            stream,
            connection,
            messages,
            outbox,
            reason,
            ..
        } = self;
        match outbox.with(|output| messages.commit(n, connection, output)) {
            None => Step::Again,
            Some(event) => {
                let mut reply = Reply {
                    stream,
                    connection,
                    outbox,
                };
                match dispatch(event, &mut reply, reason, on_message) {
                    Step::Empty => Step::Again,
                    step => step,
                }
            }
        }
    }

    /// Does what the time asks for.
    fn tick<R>(&mut self) -> Result<Step<R>, Error> {
        let now_ms = self.clock.tick();
        if self
            .connection
            .next_timeout()
            .is_none_or(|due| due > now_ms)
        {
            if self.connection.next_timeout().is_none() {
                self.shrink();
            }
            return Ok(Step::Empty);
        }
        let event = self
            .outbox
            .with(|output| self.connection.handle_timeout(now_ms, output));
        self.shrink();
        self.flush_replies()?;
        Ok(match event {
            Some(Event::Closed(closed)) => Step::Ended(closed),
            Some(_) => Step::Again,
            None => Step::Empty,
        })
    }

    /// Gives back the memory of large messages, unless there was one since the last time.
    fn shrink(&mut self) {
        if !mem::take(&mut self.has_grown) {
            self.messages.shrink();
        }
    }

    /// Writes what the protocol owes. When the stream takes nothing any more, there may still be
    /// something to read: a Close that says why.
    fn flush_replies(&mut self) -> Result<(), Error> {
        match self.outbox.flush(&mut self.stream) {
            Err(error) if is_timeout(&error) => Err(Error::Timeout(Stage::Send)),
            _ => Ok(()),
        }
    }

    /// The stream has ended.
    fn end_of_input<R>(&mut self) -> Step<R> {
        if self.stream.is_stopping() {
            return self.stop();
        }
        let truncated = self.connection.is_inside_message() || !self.inbox.is_empty();
        if truncated
            && self.connection.violation().is_none()
            && self.connection.state() == State::Open
        {
            self.connection.end_of_input();
            self.end = Some(End::Truncated);
            self.settle(Duration::ZERO);
        } else if let Some(Event::Closed(closed)) = self.connection.end_of_input() {
            self.end_with(closed);
            self.settle(Duration::ZERO);
        }
        Step::Again
    }

    /// Another thread woke this one to close the connection. What the peer says until its own Close
    /// can still be read, but not be waited for: the reading half was ended to wake us.
    fn stop<R>(&mut self) -> Step<R> {
        const PAUSE: Duration = Duration::from_millis(2);
        if self.connection.state() == State::Open {
            let _ = self.close(CloseCode::GOING_AWAY, "");
        } else {
            thread::sleep(PAUSE);
        }
        Step::Again
    }

    /// The stream has failed.
    fn broken<R>(&mut self, error: io::Error) -> Step<R> {
        let was_open = self.connection.state() == State::Open;
        let closed = self.connection.end_of_input();
        self.outbox.give_up(error.kind());
        match closed {
            // After both Closes a peer may drop the connection as it likes.
            Some(Event::Closed(closed)) if !was_open => self.end_with(closed),
            _ => self.end = Some(End::Io(error.kind())),
        }
        self.settle(Duration::ZERO);
        Step::Again
    }

    /// The protocol has ended.
    fn ended(&mut self, closed: ws_proto::Closed) {
        self.end_with(closed);
        self.settle(LINGER);
    }

    fn end_with(&mut self, closed: ws_proto::Closed) {
        self.end = Some(match self.connection.violation() {
            Some(violation) => End::Violation(violation),
            None => End::Closed(Closed {
                code: closed.code,
                reason: mem::take(&mut self.reason),
                initiator: closed.initiator,
                clean: closed.clean,
            }),
        });
        tracing::debug!(target: "ws::conn", role = ?self.connection.role(), end = ?self.end, "ended");
    }

    /// Ends the stream so that the peer can read what we wrote last: closing a socket with unread
    /// input resets the connection, and a reset overtakes our Close.
    fn settle(&mut self, patience: Duration) {
        if !self.outbox.is_empty() {
            let _ = self.stream.set_write_timeout(Some(LINGER / 2));
        }
        let _ = self.outbox.flush(&mut self.stream);
        self.outbox.give_up(ErrorKind::NotConnected);
        self.inbox.keep(0);
        if self.stream.shutdown_write().is_ok() && !patience.is_zero() {
            linger(&mut self.stream, self.inbox.free_mut(), patience);
        }
    }
}

/// Best effort, and at most a second: a Close with 1001, unless the connection is closed or
/// closing.
impl<S: Transport> Drop for WebSocket<S> {
    fn drop(&mut self) {
        if self.end.is_some() {
            return;
        }
        let _ = self
            .outbox
            .with(|output| self.connection.close(CloseCode::GOING_AWAY, "", output));
        self.settle(LINGER / 2);
    }
}

impl<S: Transport> fmt::Debug for WebSocket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("role", &self.role())
            .field("state", &self.state())
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

/// Hands a message out, and remembers what else matters.
fn dispatch<S: Transport, R>(
    event: Event<'_>,
    reply: &mut Reply<'_, S>,
    close_reason: &mut String,
    on_message: &mut impl FnMut(MessageRef<'_>, &mut Reply<'_, S>) -> ControlFlow<R>,
) -> Step<R> {
    let flow = match event {
        Event::Text(text) => on_message(MessageRef::Text(text), reply),
        Event::Binary(bytes) => on_message(MessageRef::Binary(bytes), reply),
        Event::Close { reason, .. } => {
            reason.clone_into(close_reason);
            return Step::Empty;
        }
        Event::Closed(closed) => return Step::Ended(closed),
        // Replies are written, a violation is kept by the connection, and no extension that
        // compresses is negotiated.
        Event::Ping(_) | Event::Pong(_) | Event::Failed(_) | Event::Chunk(_) => return Step::Empty,
    };
    match flow {
        ControlFlow::Continue(()) => Step::Empty,
        ControlFlow::Break(result) => Step::Break(result),
    }
}

impl From<&End> for Error {
    fn from(end: &End) -> Self {
        match end {
            End::Closed(closed) => Self::Closed(closed.clone()),
            End::Violation(violation) => Self::Violation(*violation),
            End::Truncated => Self::Truncated,
            End::Io(kind) => Self::Io((*kind).into()),
        }
    }
}

pub(crate) fn send_error(error: io::Error) -> Error {
    if is_timeout(&error) {
        Error::Timeout(Stage::Send)
    } else {
        Error::Io(error)
    }
}

/// Reads and drops what the peer still sends, until it ends its half too, so long at most and not
/// more than 64 KiB.
pub(crate) fn linger<S: Transport>(stream: &mut S, buffer: &mut [u8], patience: Duration) {
    const MAX_BYTES: usize = 64 << 10;
    let begun = Instant::now();
    let mut discarded = 0;
    while discarded < MAX_BYTES && !stream.is_stopping() {
        let left = patience.saturating_sub(begun.elapsed());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return;
        }
        match stream.read(buffer) {
            Ok(0) => return,
            Ok(n) => discarded += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// How long the end of a connection may take, beside what the closing handshake takes.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// Replies to a whole receive buffer of messages of 20 bytes fit: a masked one is as long as what it
/// replies to.
pub(crate) const OUTPUT_BUFFER: usize = RECEIVE_BUFFER + ws_proto::REPLY_ROOM;

const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<WebSocket<crate::Stream>>();
};

//! [`WebSocket`]: one open connection on a blocking stream.

mod drive;
mod end;

use std::{
    fmt,
    io::{self, ErrorKind},
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use ws_proto::{
    CloseCode, Config, Connection, MessageKind, Messages, Role, SEND_ROOM, State, Want,
};

use self::end::{End, Stopping};
pub(crate) use self::end::{LINGER, linger};

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
/// longest HTTP head that is accepted. The send buffer is as large.
///
/// Four times as much made pipelined messages of 1 KiB a third cheaper (an echo over loopback, 64
/// outstanding, 0.97 µs of CPU in place of 1.40), an idle connection 8 KiB larger, and nothing of
/// 20 bytes, or sent one at a time, any different.
pub const RECEIVE_BUFFER: usize = 16 << 10;

/// One WebSocket connection on a blocking stream.
///
/// [`connect`](crate::connect) and [`Server`](crate::Server) make them; [`client`](Self::client) and
/// [`server`](Self::server) put one on any [`Transport`] whose opening handshake was done elsewhere.
///
/// # Who drives the protocol
///
/// The thread that calls. Pings are answered, and timeouts are noticed, inside
/// [`recv`](Self::recv), [`recv_timeout`](Self::recv_timeout), [`for_each`](Self::for_each) and
/// [`wait_closed`](Self::wait_closed), and nowhere else: a program that computes for a minute
/// between two of them looks dead for a minute, and its peer may say so.
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
    stopping: Stopping,
    /// What is worth remembering of the opening handshake.
    opening: Option<Box<Opening>>,
    /// `messages` has grown since the last tick.
    has_grown: bool,
}

impl<S: Transport> WebSocket<S> {
    /// The client's end of a connection whose opening handshake was done elsewhere.
    ///
    /// Pings and Closes are answered, whatever the configuration says of
    /// [`pong`](Config::pong) and [`close`](Config::close): there is nobody else here to see them.
    pub fn client(stream: S, config: Arc<Config>) -> Self {
        Self::established(
            stream,
            Connection::client(shared_automatic(config)),
            Inbox::new(RECEIVE_BUFFER),
        )
    }

    /// The server's end of a connection whose opening handshake was done elsewhere. The
    /// configuration is held to as by [`client`](Self::client).
    pub fn server(stream: S, config: Arc<Config>) -> Self {
        Self::established(
            stream,
            Connection::server(shared_automatic(config)),
            Inbox::new(RECEIVE_BUFFER),
        )
    }

    pub(crate) fn established(
        stream: S,
        connection: Connection<Arc<Config>>,
        inbox: Inbox,
    ) -> Self {
        // Replies to a whole receive buffer of echoes fit.
        let outbox = Outbox::new(connection.role(), inbox.capacity() + SEND_ROOM);
        Self {
            stream,
            connection,
            messages: Messages::new(Vec::new()),
            inbox,
            outbox,
            clock: Clock::start(),
            reason: String::new(),
            end: None,
            stopping: Stopping::No,
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
    /// let mut socket = ws_std::connect("ws://127.0.0.1:8765")?;
    /// let closed = socket.for_each(|message, reply| reply.send(message))?;
    /// println!("{closed}");
    /// # Ok::<(), ws_std::Error>(())
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
    /// the peer does not read, and there is no room for the message; [`Error::Io`];
    /// [`Error::Misuse`] between [`begin`](Self::begin) and [`finish`](Self::finish).
    ///
    /// The three answers to a peer that does not read, guaranteed for all methods that send:
    ///
    /// - `Ok`: the message is taken. If the write timed out it is queued; [`flush`](Self::flush),
    ///   `recv`, or the next `send` write it before anything else. Sending it again would send it
    ///   twice.
    /// - [`Error::Timeout`]: nothing of it is taken. It may be sent again.
    /// - [`Error::Io`], with `TimedOut`: a message larger than the buffer broke off in the middle.
    ///   Nothing can be sent any more, and the peer is told so by the end of the stream; what it
    ///   sent can still be received. [`state`](Self::state) is no longer `Open`.
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

    /// Writes what is queued: what was sent while the peer did not read.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] when the peer still does not read, and what is left stays queued;
    /// [`Error::Io`].
    pub fn flush(&mut self) -> Result<(), Error> {
        self.outbox.flush(&mut self.stream).map_err(send_error)
    }

    /// Where the connection is in its life. `Open` may be over the moment after. When a write has
    /// failed it is `Closing`: there may still be something to receive.
    pub fn state(&self) -> State {
        match self.connection.state() {
            State::Open if self.outbox.is_broken() => State::Closing,
            state => state,
        }
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
    ///
    /// Its read timeout is the connection's, which remembers what it has set: one that is changed
    /// here delays heartbeats and [`recv_timeout`](Self::recv_timeout), or makes them return early. The
    /// write timeout may be changed; without one a peer that does not read blocks a send for ever.
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

    /// Sends, and flushes at once. What is taken and cannot leave now leaves later; that is no
    /// error, or it would be sent again. It is one for the next to send.
    fn reply(
        &mut self,
        send: impl FnOnce(&mut Reply<'_, S>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut reply = Reply {
            stream: &mut self.stream,
            connection: &mut self.connection,
            outbox: &mut self.outbox,
        };
        if reply.outbox.is_stalled() {
            reply.flush()?;
        }
        send(&mut reply)?;
        match reply.flush() {
            Err(Error::Timeout(Stage::Send)) => Ok(()),
            flushed => flushed,
        }
    }
}

/// Best effort, and at most a second on a stream that has timeouts: a Close with 1001, unless the
/// connection is closed or closing.
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

/// This configuration, with the replies left to the connection: the events that would tell a caller
/// of a Ping or Close to answer are not handed out.
pub(crate) fn automatic(mut config: Config) -> Config {
    config.pong = ws_proto::Reply::Automatic;
    config.close = ws_proto::Reply::Automatic;
    config
}

fn shared_automatic(config: Arc<Config>) -> Arc<Config> {
    if *config == automatic(*config) {
        config
    } else {
        Arc::new(automatic(*config))
    }
}

pub(crate) fn send_error(error: io::Error) -> Error {
    if is_timeout(&error) {
        Error::Timeout(Stage::Send)
    } else {
        Error::Io(error)
    }
}

const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<WebSocket<crate::Stream>>();
};

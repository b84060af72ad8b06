//! One WebSocket on a non-blocking source, for people who own their `mio::Poll`.
//!
//! Readiness in, events out. Register the source for both interests, and call
//! [`Connection::turn`] whenever it is ready: it reads until the source would block, reports what
//! came, and writes until the source would block, as edge-triggered polls need it.
//!
//! The buffer that is read into is lent for the turn. One serves all connections of a loop, and an
//! idle connection owns none.

use std::{
    borrow::Borrow,
    io::{self, ErrorKind, Read, Write},
};

use ws_proto::{
    CloseCode, Config, Event, MaskingKeys, Messages, Output, Role, SEND_ROOM, SendError, State,
    Want,
};

#[cfg(test)]
mod tests;

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing more can be done until the source is ready again, or the timeout is over.
    Wait,
    /// More may have come: the turn ended to be fair to others. Call again without waiting.
    Again,
    /// The WebSocket has ended and all is written: close the source.
    Closed,
}

/// One WebSocket on a non-blocking source: a `mio::net::TcpStream`, a Unix stream, or anything that
/// is `Read + Write` and answers [`ErrorKind::WouldBlock`].
pub struct Connection<S, C = &'static Config> {
    source: S,
    sender: Sender<C>,
    messages: Messages<Vec<u8>>,
    /// What was read and is incomplete: part of a header or of a control frame. At first also what
    /// came behind the opening handshake.
    unread: Vec<u8>,
    input: Input,
    linger: Linger,
}

/// What is known of the source's receiving side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Open,
    Ended,
}

/// How long a WebSocket that has ended waits for its peer to take the rest of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Linger {
    ExpectTick,
    Until(u64),
    Over,
}

/// The sending half of a [`Connection`], lent to the callback of its turn.
///
/// What is sent is queued, and written at the end of the turn with one call.
pub struct Sender<C = &'static Config> {
    core: ws_proto::Connection<C>,
    keys: Option<Box<dyn MaskingKeys + Send>>,
    /// `queue[written..]` is to be written.
    queue: Vec<u8>,
    written: usize,
}

impl<S: Read + Write, C: Borrow<Config>> Connection<S, C> {
    /// The server's end: `core` is what the opening handshake gave, or
    /// [`ws_proto::Connection::server`].
    ///
    /// # Panics
    ///
    /// With debug assertions, when `core` is a client's: without masking keys it could send nothing.
    pub fn server(source: S, core: ws_proto::Connection<C>) -> Self {
        debug_assert_eq!(core.role(), Role::Server, "not a server's connection");
        Self::new(source, core, None)
    }

    /// The client's end, and the source of its masking keys.
    ///
    /// # Panics
    ///
    /// With debug assertions, when `core` is a server's: its frames are not to be masked.
    pub fn client(
        source: S,
        core: ws_proto::Connection<C>,
        keys: impl MaskingKeys + Send + 'static,
    ) -> Self {
        debug_assert_eq!(core.role(), Role::Client, "not a client's connection");
        Self::new(source, core, Some(Box::new(keys)))
    }

    /// Begins with bytes that were read already: those behind the head of the opening handshake,
    /// which are the first frames when the peer did not wait. The source does not become ready for
    /// them, so take a [`turn`](Self::turn) at once.
    #[must_use]
    pub fn resume(mut self, unread: &[u8]) -> Self {
        self.unread.extend_from_slice(unread);
        self
    }

    /// Receives once into `buffer` and reports what came, whole messages and control frames; then
    /// writes what is queued. `buffer` holds at least 1 KiB; 64 KiB is a good size.
    ///
    /// A peer that does not read what it is sent is not read from: beyond 64 KiB in the queue, the
    /// turn waits for the source to become writable.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when `buffer` is smaller; nothing was done then. Those of the source, but for
    /// `WouldBlock` and `Interrupted`; `WriteZero` when it takes no bytes. The connection is of no
    /// use behind these.
    pub fn turn(
        &mut self,
        buffer: &mut [u8],
        mut on_event: impl FnMut(Event<'_>, &mut Sender<C>),
    ) -> io::Result<Turn> {
        const HIGH_WATER: usize = 64 << 10;

        if buffer.len() < MIN_BUFFER {
            return Err(ErrorKind::InvalidInput.into());
        }
        self.sender.flush(&mut self.source)?;
        if self.linger == Linger::Over {
            return Ok(Turn::Closed);
        }
        if self.sender.queued() >= HIGH_WATER {
            return Ok(Turn::Wait);
        }
        let (input, read) = self.fill(buffer)?;
        self.receive(input, &mut on_event);
        if self.input == Input::Ended
            && let Some(event) = self.sender.core.end_of_input()
        {
            on_event(event, &mut self.sender);
        }
        self.sender.flush(&mut self.source)?;
        if read.is_none() {
            self.messages.shrink();
        }
        Ok(match (self.sender.core.state(), read) {
            (State::Closed, _) if self.sender.queued() == 0 => Turn::Closed,
            (State::Closed, _) | (_, None) => Turn::Wait,
            _ => Turn::Again,
        })
    }

    /// Tells the time, in milliseconds of any monotonic clock, as
    /// [`ws_proto::Connection::handle_timeout`]; call [`turn`](Self::turn) behind it.
    ///
    /// When the WebSocket has ended and its last bytes are not taken within a second, the turn gives
    /// up on them and says [`Turn::Closed`].
    pub fn handle_timeout(&mut self, now_ms: u64, mut on_event: impl FnMut(Event<'_>)) {
        // As long as ws-std lingers. The core's own deadlines are over by then.
        const LINGER_MS: u64 = 1_000;

        while let Some(event) = self
            .sender
            .reply(|core, output| core.handle_timeout(now_ms, output))
        {
            on_event(event);
        }
        if self.sender.core.state() == State::Closed {
            self.linger = match self.linger {
                Linger::ExpectTick => Linger::Until(now_ms.saturating_add(LINGER_MS)),
                Linger::Until(end) if end <= now_ms => Linger::Over,
                linger => linger,
            };
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next; at once if that is past,
    /// never if it is `None`. Ask again after each turn.
    pub fn next_timeout(&self) -> Option<u64> {
        match (self.sender.core.state(), self.linger) {
            (State::Closed, _) if self.sender.queued() == 0 => None,
            (State::Closed, Linger::ExpectTick) => Some(0),
            (State::Closed, Linger::Until(end)) => Some(end),
            (State::Closed, Linger::Over) => None,
            _ => self.sender.core.next_timeout(),
        }
    }

    /// The sending half, outside of a turn; call [`turn`](Self::turn) to have it written.
    pub fn sender(&mut self) -> &mut Sender<C> {
        &mut self.sender
    }

    /// The source, to be registered.
    pub fn source(&mut self) -> &mut S {
        &mut self.source
    }

    /// The source, to be ended in order behind [`Turn::Closed`]. What is queued is lost.
    pub fn into_source(self) -> S {
        self.source
    }

    fn new(
        source: S,
        core: ws_proto::Connection<C>,
        keys: Option<Box<dyn MaskingKeys + Send>>,
    ) -> Self {
        let sender = Sender {
            core,
            keys,
            queue: Vec::new(),
            written: 0,
        };
        Self {
            source,
            sender,
            messages: Messages::new(Vec::new()),
            unread: Vec::new(),
            input: Input::Open,
            linger: Linger::ExpectTick,
        }
    }

    /// Moves what is unread into the buffer and reads once behind it. Gives both, and how many bytes
    /// came; `None` when the source would block.
    fn fill<'b>(&mut self, buffer: &'b mut [u8]) -> io::Result<(&'b mut [u8], Option<usize>)> {
        // An empty read could not be told from the end of the input.
        let kept = self.unread.len().min(buffer.len() - 1);
        buffer[..kept].copy_from_slice(&self.unread[..kept]);
        self.unread.drain(..kept);
        if !self.unread.is_empty() {
            return Ok((&mut buffer[..kept], Some(kept)));
        }
        let read = match self.input {
            Input::Ended => Some(0),
            Input::Open => read(&mut self.source, &mut buffer[kept..])?,
        };
        if read == Some(0) {
            self.input = Input::Ended;
        }
        Ok((&mut buffer[..kept + read.unwrap_or(0)], read))
    }

    /// Receives what is in `input`, and keeps what is incomplete.
    fn receive(
        &mut self,
        mut input: &mut [u8],
        on_event: &mut impl FnMut(Event<'_>, &mut Sender<C>),
    ) {
        while let Some(event) = self.sender.reply(|core, output| {
            let wants = self.messages.wants(core, &mut input, output);
            (wants == Want::Event)
                .then(|| self.messages.receive(core, &mut input, output))
                .flatten()
        }) {
            on_event(event, &mut self.sender);
        }
        self.unread.splice(..0, input.iter().copied());
        if self.unread.is_empty() {
            // Few segments end within a header: an idle connection need not own memory for it.
            self.unread = Vec::new();
        }
    }
}

/// Room for what is kept, which is less than 131 bytes, and for progress behind it.
const MIN_BUFFER: usize = 1 << 10;

impl<C: Borrow<Config>> Sender<C> {
    /// Sends a text message.
    ///
    /// # Errors
    ///
    /// [`SendError::Closing`] after our Close.
    pub fn send_text(&mut self, text: &str) -> Result<(), SendError> {
        self.append(text.len(), |core, output| core.send_text(text, output))
    }

    /// Sends a binary message.
    ///
    /// # Errors
    ///
    /// As [`send_text`](Self::send_text).
    pub fn send_binary(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.append(bytes.len(), |core, output| core.send_binary(bytes, output))
    }

    /// Starts the closing handshake.
    ///
    /// # Errors
    ///
    /// As [`ws_proto::Connection::close`].
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), SendError> {
        self.append(0, |core, output| core.close(code, reason, output))
    }

    /// How many bytes wait for the source to take them.
    pub fn queued(&self) -> usize {
        self.queue.len() - self.written
    }

    /// Calls the core with an output that has room for any reply.
    fn reply<T>(
        &mut self,
        call: impl FnOnce(&mut ws_proto::Connection<C>, &mut Output<'_>) -> T,
    ) -> T {
        self.append(0, call)
    }

    /// Calls the core with an output that has room for a message of `len` bytes and any reply, at
    /// the end of the queue.
    fn append<T>(
        &mut self,
        len: usize,
        call: impl FnOnce(&mut ws_proto::Connection<C>, &mut Output<'_>) -> T,
    ) -> T {
        let start = self.queue.len();
        self.queue.resize(start + len + SEND_ROOM, 0);
        let mut output = match &mut self.keys {
            Some(keys) => Output::masked(&mut self.queue, &mut **keys),
            None => Output::new(&mut self.queue),
        }
        .resume(start);
        let result = call(&mut self.core, &mut output);
        let end = output.len();
        self.queue.truncate(end);
        result
    }

    /// Writes until the queue is empty or the sink would block.
    fn flush(&mut self, sink: &mut impl Write) -> io::Result<()> {
        while self.written < self.queue.len() {
            match sink.write(&self.queue[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => self.written += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.tidy();
        Ok(())
    }

    /// Drops what is written and gives memory back. A peer that is always a message behind would
    /// make the queue grow without bound if that waited until it is empty.
    fn tidy(&mut self) {
        // Each byte that is moved was paid for by one that was written.
        if self.written >= self.queued() {
            self.queue.drain(..self.written);
            self.written = 0;
        }
        let needed = self.queue.len().max(KEPT);
        if self.queue.capacity() / 4 > needed || self.queue.is_empty() {
            self.queue.shrink_to(needed);
        }
    }
}

/// How much memory an empty queue keeps: that of common messages, so that echoing them allocates
/// nothing.
const KEPT: usize = 4 << 10;

/// Reads once; `None` when the source would block.
fn read(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        match source.read(buffer) {
            Ok(n) => return Ok(Some(n)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

//! [`Reply`]: sending without a write for each message.

use std::{
    io::{self, ErrorKind},
    sync::Arc,
};

use ws_proto::{CloseCode, Config, Connection, MessageKind, Output, SendError};

use crate::{
    buffer::Outbox,
    error::{Error, Stage},
    message::MessageRef,
    transport::Transport,
    websocket::send_error,
};

/// The sending half, lent to the function of [`for_each`](crate::WebSocket::for_each). What is sent
/// is collected, and written when the messages that came with one read are handled, when the buffer
/// is full, or by [`flush`](Self::flush).
///
/// [`Error::Timeout`] from any `send` means what it does there: nothing was taken.
pub struct Reply<'a, S> {
    pub(crate) stream: &'a mut S,
    pub(crate) connection: &'a mut Connection<Arc<Config>>,
    pub(crate) outbox: &'a mut Outbox,
}

impl<S: Transport> Reply<'_, S> {
    /// Sends a message.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`](crate::WebSocket::send).
    #[inline]
    pub fn send<'a>(&mut self, message: impl Into<MessageRef<'a>>) -> Result<(), Error> {
        match message.into() {
            MessageRef::Text(text) => self.send_text(text),
            MessageRef::Binary(bytes) => self.send_binary(bytes),
        }
    }

    /// Sends a text message.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`](crate::WebSocket::send).
    #[inline]
    pub fn send_text(&mut self, text: &str) -> Result<(), Error> {
        match self
            .outbox
            .with(|output| self.connection.send_text(text, output))
        {
            Ok(()) => self.outbox.intact().map_err(Error::Io),
            Err(error) => self.send_again(error, MessageRef::Text(text)),
        }
    }

    /// Sends a binary message.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`](crate::WebSocket::send).
    #[inline]
    pub fn send_binary(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match self
            .outbox
            .with(|output| self.connection.send_binary(bytes, output))
        {
            Ok(()) => self.outbox.intact().map_err(Error::Io),
            Err(error) => self.send_again(error, MessageRef::Binary(bytes)),
        }
    }

    /// Begins a message whose length is not known yet.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::begin`](crate::WebSocket::begin).
    pub fn begin(&mut self, kind: MessageKind) -> Result<(), Error> {
        self.connection.begin(kind).map_err(refusal)
    }

    /// Sends the next fragment.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send_fragment`](crate::WebSocket::send_fragment).
    pub fn send_fragment(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        let longest = self.outbox.longest_payload();
        let mut taken = Taken::Nothing;
        while bytes.len() > longest {
            let (fragment, rest) = bytes.split_at(longest);
            let sent = self.append(|connection, output| connection.send_fragment(fragment, output));
            self.whole(sent, taken)?;
            (bytes, taken) = (rest, Taken::Part);
        }
        let sent = self.append(|connection, output| connection.send_fragment(bytes, output));
        self.whole(sent, taken)
    }

    /// Sends the last fragment.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::finish`](crate::WebSocket::finish).
    pub fn finish(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let (before, last) =
            bytes.split_at(bytes.len().saturating_sub(self.outbox.longest_payload()));
        let mut taken = Taken::Nothing;
        if !before.is_empty() {
            self.send_fragment(before)?;
            taken = Taken::Part;
        }
        let sent = self.append(|connection, output| connection.finish(last, output));
        self.whole(sent, taken)
    }

    /// Sends a Ping with up to 125 bytes.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::ping`](crate::WebSocket::ping).
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.append(|connection, output| connection.ping(payload, output))
    }

    /// Starts the closing handshake.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::close`](crate::WebSocket::close).
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        self.append(|connection, output| connection.close(code, reason, output))
    }

    /// Writes what was sent so far.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] when the peer does not read; what is left stays queued. [`Error::Io`].
    #[inline]
    pub fn flush(&mut self) -> Result<(), Error> {
        self.outbox.flush(self.stream).map_err(send_error)
    }

    /// Appends a frame that fits into an empty buffer.
    fn append(
        &mut self,
        mut append: impl FnMut(&mut Connection<Arc<Config>>, &mut Output<'_>) -> Result<(), SendError>,
    ) -> Result<(), Error> {
        let result = self.outbox.with(|output| append(self.connection, output));
        if result != Err(SendError::Full) {
            result.map_err(refusal)?;
            return self.outbox.intact().map_err(Error::Io);
        }
        self.flush()?;
        self.outbox
            .with(|output| append(self.connection, output))
            .map_err(refusal)
    }

    /// "Try again" must not be said of what was taken in part: whoever did would send that twice.
    fn whole(&mut self, sent: Result<(), Error>, taken: Taken) -> Result<(), Error> {
        match (sent, taken) {
            (Err(Error::Timeout(_)), Taken::Part) => Err(self.give_up(ErrorKind::TimedOut.into())),
            (sent, _) => sent,
        }
    }

    /// Nothing can follow a message that broke off. The peer, if it ever reads again, shall not
    /// wait for the rest.
    fn give_up(&mut self, error: io::Error) -> Error {
        self.outbox.give_up(error.kind());
        let _ = self.stream.shutdown_write();
        Error::Io(error)
    }

    /// A message that found no room: there is some after a flush, unless the message is too long for
    /// the buffer and has to go past it.
    #[cold]
    fn send_again(&mut self, error: SendError, message: MessageRef<'_>) -> Result<(), Error> {
        if error != SendError::Full {
            return Err(refusal(error));
        }
        let payload = message.as_bytes();
        if payload.len() <= self.outbox.longest_payload() {
            return self.append(|connection, output| match message {
                MessageRef::Text(text) => connection.send_text(text, output),
                MessageRef::Binary(bytes) => connection.send_binary(bytes, output),
            });
        }
        let kind = match message {
            MessageRef::Text(_) => MessageKind::Text,
            MessageRef::Binary(_) => MessageKind::Binary,
        };
        // What goes past the buffer cannot wait in it: as long as it is not begun, it can be tried
        // again.
        if self.outbox.is_stalled() {
            self.flush()?;
        }
        let header = self
            .outbox
            .with(|output| {
                self.connection
                    .frame_header(kind, payload.len() as u64, output)
            })
            .map_err(refusal)?;
        self.outbox
            .write_through(self.stream, &header, payload)
            .map_err(|error| self.give_up(error))
    }
}

/// How much of a fragment that is sent in pieces was taken.
#[derive(Clone, Copy)]
enum Taken {
    Nothing,
    Part,
}

fn refusal(error: SendError) -> Error {
    match error {
        // Only a peer that does not read keeps the buffer full.
        SendError::Full => Error::Timeout(Stage::Send),
        SendError::Closing => Error::Closing,
        SendError::Misuse(misuse) => Error::Misuse(misuse),
    }
}

//! The loop that drives a connection: take what was read, write the replies, read.

use std::{io::ErrorKind, mem, ops::ControlFlow, time::Instant};

use ws_proto::{Event, Want};

use super::{WebSocket, send_error};
use crate::{
    buffer::is_timeout,
    error::{Error, Stage},
    message::MessageRef,
    reply::Reply,
    transport::Transport,
};

/// What a look at the inbox, or a read, led to.
pub(super) enum Step<R> {
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
    /// The loop: take what was read, write the replies, read. It ends when the function breaks off,
    /// when the time is up (`None`), and with the connection.
    pub(super) fn pump<R>(
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
    pub(super) fn take<R>(
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
    pub(super) fn fill<R>(
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
            self.messages
                .spare_mut(&self.connection, self.outbox.room())
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
    pub(super) fn commit<R>(
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
    pub(super) fn tick<R>(&mut self) -> Result<Step<R>, Error> {
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
    pub(super) fn flush_replies(&mut self) -> Result<(), Error> {
        match self.outbox.flush(&mut self.stream) {
            Err(error) if is_timeout(&error) => Err(Error::Timeout(Stage::Send)),
            _ => Ok(()),
        }
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

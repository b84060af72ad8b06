//! State. An open connection with its session; the calls of one into the other, each of which may
//! panic.

use std::{io, panic::AssertUnwindSafe};

use ws_proto::{CloseCode, Closed, Event, State};

use super::{Stream, contained, discard};
use crate::{
    buffers::Buffers,
    connection::{Connection, Ready, Sender, Turn},
    handle::ConnectionId,
    session::{Context, Extra, Message, Now, Outside, Session},
};

pub(super) struct Open<S, T> {
    pub(super) connection: Connection<S>,
    session: T,
}

/// What a context is made of, beside the sending half.
pub(super) struct Surroundings<'a> {
    pub(super) id: ConnectionId,
    pub(super) now: Now,
    pub(super) extra: &'a mut Option<Box<Extra>>,
    pub(super) outside: &'a mut Outside,
}

/// What a call came to.
pub(super) enum Outcome {
    /// The session returned.
    Done(Turn),
    /// The stream is broken.
    Broken(io::Error),
    Panicked,
}

impl<S: Stream, T: Session> Open<S, T> {
    pub(super) fn new(connection: Connection<S>, session: T) -> Self {
        Self {
            connection: connection.short_read(S::SHORT_READ),
            session,
        }
    }

    pub(super) fn turn(
        &mut self,
        ready: Ready,
        buffers: &mut Buffers,
        around: Surroundings<'_>,
    ) -> Outcome {
        let Self {
            connection,
            session,
        } = self;
        Outcome::of(contained(AssertUnwindSafe(|| {
            connection.turn_with(
                ready,
                buffers,
                |sender| around.context(sender),
                |event, cx| report(session, event, cx),
            )
        })))
    }

    pub(super) fn handle_timeout(
        &mut self,
        buffers: &mut Buffers,
        around: Surroundings<'_>,
    ) -> Outcome {
        let Self {
            connection,
            session,
        } = self;
        let now_ms = around.now.monotonic_ms;
        Outcome::of(contained(AssertUnwindSafe(|| {
            connection.handle_timeout_with(
                now_ms,
                buffers,
                |sender| around.context(sender),
                |event, cx| report(session, event, cx),
            )
        })))
    }

    /// Calls the session outside of a turn.
    pub(super) fn call(
        &mut self,
        buffers: &mut Buffers,
        around: Surroundings<'_>,
        call: impl FnOnce(&mut T, &mut Context<'_>),
    ) -> Outcome {
        let Self {
            connection,
            session,
        } = self;
        Outcome::of(contained(AssertUnwindSafe(|| {
            connection.send_with(
                buffers,
                |sender| around.context(sender),
                |cx| call(session, cx),
            )
        })))
    }

    /// Whether the session knows of the end.
    pub(super) fn is_over(&self) -> bool {
        self.connection.core().state() == State::Closed
    }

    /// Tells the session that the stream is broken, unless it knows of the end.
    pub(super) fn end(&mut self, buffers: &mut Buffers, around: Surroundings<'_>) {
        if let Some(event) = self.connection.end() {
            // Nothing follows from it, whatever it comes to.
            self.call(buffers, around, |session, cx| report(session, event, cx));
        }
    }

    /// Says goodbye for a session that panicked, and tells it; gives what is still to be written.
    pub(super) fn fail(&mut self, buffers: &mut Buffers, around: Surroundings<'_>) -> Vec<u8> {
        _ = self.connection.send(buffers, |sender| {
            sender.close_now(CloseCode::INTERNAL_ERROR, "")
        });
        let unsent = self.connection.take_unsent();
        self.end(buffers, around);
        unsent
    }

    /// Whether nothing is to be told to the session, and no deadline comes earlier than it was known
    /// to: while a connection is open, what is received only puts them off.
    #[inline]
    pub(super) fn is_quiet(&self) -> bool {
        self.connection.core().state() == State::Open && !self.connection.is_drained()
    }

    /// Whether the peer sends nothing more, and all that it sent is read.
    pub(super) fn is_done(&self) -> bool {
        let is_clean = |closed: Closed| closed.clean;
        self.connection.has_ended()
            || self.connection.core().closed().is_some_and(is_clean)
                && !self.connection.known().readable
    }

    /// Drops the session, and gives what is left: the stream, and what is known of it.
    pub(super) fn into_stream(self) -> (S, Ready) {
        let Self {
            connection,
            session,
        } = self;
        discard(session);
        let ready = connection.known();
        (connection.into_source(), ready)
    }
}

impl Outcome {
    fn of(result: Option<io::Result<Turn>>) -> Self {
        match result {
            Some(Ok(turn)) => Self::Done(turn),
            Some(Err(error)) => Self::Broken(error),
            None => Self::Panicked,
        }
    }
}

impl<'a> Surroundings<'a> {
    fn context(self, sender: Sender<'a>) -> Context<'a> {
        Context {
            sender,
            id: self.id,
            now: self.now,
            extra: self.extra,
            outside: self.outside,
        }
    }
}

#[inline]
fn report<T: Session>(session: &mut T, event: Event<'_>, cx: &mut Context<'_>) {
    match event {
        Event::Text(text) => session.message(Message::Text(text), cx),
        Event::Binary(bytes) => session.message(Message::Binary(bytes), cx),
        Event::Chunk(chunk) => session.chunk(chunk, cx),
        Event::Ping(payload) => session.ping(payload, cx),
        Event::Pong(payload) => session.pong(payload, cx),
        Event::Close { code, reason } => session.closing(code, reason, cx),
        // It is told as the end, which is due next; the context knows the violation.
        Event::Failed(_) => {}
        Event::Closed(why) => session.close(&why, cx),
    }
}

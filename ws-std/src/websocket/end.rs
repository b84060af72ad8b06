//! How a connection ends, and how its end is told.

use std::{
    io::{self, ErrorKind},
    mem, thread,
    time::{Duration, Instant},
};

use ws_proto::{CloseCode, Event, Role, State, Violation};

use super::{WebSocket, drive::Step};
use crate::{
    error::{Closed, Error},
    transport::Transport,
};

/// How the connection ended, to be told again and again.
#[derive(Debug)]
pub(super) enum End {
    Closed(Closed),
    Violation(Violation),
    Truncated,
    Io(ErrorKind),
}

/// How far the connection is in closing because another thread wants it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopping {
    No,
    /// Our Close has left, and our end of the stream behind it. The peer's is looked for now and
    /// then.
    HalfClosed {
        pause: Duration,
    },
    /// The peer's end has come, too: what is there now is all.
    Gone,
}

impl<S: Transport> WebSocket<S> {
    /// The stream has ended.
    pub(super) fn end_of_input<R>(&mut self) -> Step<R> {
        if self.stream.is_stopping() {
            return self.stop();
        }
        if let Stopping::HalfClosed { .. } = self.stopping {
            // The peer may have said something between that read and its end.
            self.stopping = Stopping::Gone;
            return Step::Again;
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
    /// can still be read, but not be waited for: the reading half was ended to wake us. Its end
    /// cannot be read either, but the stream knows when both directions have ended, so ours ends first.
    fn stop<R>(&mut self) -> Step<R> {
        const PAUSE: Duration = Duration::from_millis(2);
        const LONGEST_PAUSE: Duration = Duration::from_millis(50);
        if self.connection.state() == State::Open {
            let _ = self.close(CloseCode::GOING_AWAY, "");
        }
        let pause = match self.stopping {
            Stopping::HalfClosed { pause } => LONGEST_PAUSE.min(pause * 2),
            _ => PAUSE,
        };
        if self.outbox.is_empty() && self.stopping == Stopping::No {
            let _ = self.stream.shutdown_write();
            self.stopping = Stopping::HalfClosed { pause };
            return Step::Again;
        }
        if let Stopping::HalfClosed { .. } = self.stopping {
            self.stopping = Stopping::HalfClosed { pause };
        }
        thread::sleep(pause);
        Step::Again
    }

    /// The stream has failed.
    pub(super) fn broken<R>(&mut self, error: io::Error) -> Step<R> {
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
    pub(super) fn ended(&mut self, closed: ws_proto::Closed) {
        // A client has waited for the end already, and after both Closes there is nothing that a
        // reset could take away. A server's Close may still be on its way.
        let patience = match self.connection.role() {
            Role::Client if closed.clean => Duration::ZERO,
            _ => LINGER,
        };
        self.end_with(closed);
        self.settle(patience);
    }

    pub(super) fn end_with(&mut self, closed: ws_proto::Closed) {
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
    pub(super) fn settle(&mut self, patience: Duration) {
        let _ = self.outbox.flush_within(&mut self.stream, LINGER / 2);
        self.outbox.give_up(ErrorKind::NotConnected);
        self.inbox.keep(0);
        if self.stream.shutdown_write().is_ok() && !patience.is_zero() {
            linger(&mut self.stream, self.inbox.free_mut(), patience);
        }
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

/// Reads and drops what the peer still sends, until it ends its half too, so long at most and not
/// more than 16 MiB: where a message was too big, the rest of it is on the way, and a socket that is
/// closed before it has come is reset, which may take our Close away.
pub(crate) fn linger<S: Transport>(stream: &mut S, buffer: &mut [u8], patience: Duration) {
    const MAX_BYTES: usize = 16 << 20;
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

//! Time, and how long a read may take: a system call to change, so seldom changed.

use std::{
    io,
    time::{Duration, Instant},
};

use crate::transport::Transport;

/// The clock of one connection.
pub(crate) struct Clock {
    started: Instant,
    now: Instant,
    armed: Armed,
}

/// The read timeout of the stream.
#[derive(Clone, Copy)]
enum Armed {
    Unknown,
    Set(Option<Duration>),
}

impl Clock {
    pub(crate) fn start() -> Self {
        let now = Instant::now();
        Self {
            started: now,
            now,
            armed: Armed::Unknown,
        }
    }

    /// Looks at the clock, once per read: milliseconds since the connection was opened.
    pub(crate) fn tick(&mut self) -> u64 {
        self.now = Instant::now();
        let elapsed = self.now.saturating_duration_since(self.started);
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }

    /// The last tick.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Sees to it that a read from now on returns in time for the protocol, which asks to be called
    /// at `due_ms`, and for the caller, who waits until `deadline`. Gives the bound of the read.
    ///
    /// The protocol may be late: a timer that is exact to half of what is left needs a few changes
    /// of the timeout in many seconds, however many reads there are. For the caller it is exact to an
    /// eighth.
    pub(crate) fn arm<S: Transport>(
        &mut self,
        stream: &mut S,
        due_ms: Option<u64>,
        deadline: Option<Instant>,
    ) -> io::Result<Option<Duration>> {
        let due = due_ms
            .and_then(|ms| self.started.checked_add(Duration::from_millis(ms)))
            .map(|due| due.saturating_duration_since(self.now).max(SHORTEST));
        let left = deadline.map(|end| end.saturating_duration_since(self.now).max(SHORTEST));
        let wanted = [due, left].into_iter().flatten().min();
        let latest = [
            due.map(|due| due * 2 + COARSE),
            left.map(|left| left + left / 8),
        ];
        let latest = latest.into_iter().flatten().min();
        if let Armed::Set(armed) = self.armed
            && suits(armed, wanted, latest)
        {
            return Ok(armed);
        }
        stream.set_read_timeout(wanted)?;
        self.armed = Armed::Set(wanted);
        Ok(wanted)
    }
}

/// Whether a timeout that is set will do: it is not too late, and not so early that reads return
/// for nothing.
fn suits(armed: Option<Duration>, wanted: Option<Duration>, latest: Option<Duration>) -> bool {
    match (armed, wanted, latest) {
        (None, None, _) => true,
        (Some(armed), Some(wanted), Some(latest)) => armed <= latest && armed >= wanted / 4,
        _ => false,
    }
}

/// Operating systems take no timeout of zero, and count in milliseconds.
const SHORTEST: Duration = Duration::from_millis(1);
/// What nobody notices in a heartbeat.
const COARSE: Duration = Duration::from_millis(100);

//! State. Timers: heartbeat, idle, close and end-of-input timeout (RFC 6455 §5.5.2, §7.1.1).
//!
//! Time is an argument. [`receive`](Connection::receive) only notes that something was heard; ticks
//! put an instant to it. A deadline is therefore exact to one tick, and there is a tick at least
//! each quarter of the shortest span.

use core::borrow::Borrow;

use super::{Connection, Lifecycle};
use crate::{
    config::{Config, Timeout, Timeouts},
    error::Violation,
    event::Event,
    output::Output,
};

/// Instants are milliseconds of the caller's monotonic clock.
#[derive(Clone, Debug)]
pub(super) struct Timers {
    /// The last tick.
    now: u64,
    /// The tick at which something had been heard.
    heard_at: u64,
    /// While open: the last ping, or the start. Then: the last step of the closing handshake.
    since: u64,
    /// The number of the last ping; its payload.
    sequence: u32,
    /// Pings that failed in a row.
    failures: u8,
    phase: Phase,
    ping: Ping,
}

/// Whether `since` is an instant yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// There was no tick yet.
    New,
    /// The lifecycle made a step: `since` is the next tick.
    Restarted,
    Running,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ping {
    Answered,
    Outstanding,
}

impl Timers {
    pub(super) const fn new() -> Self {
        Self {
            now: 0,
            heard_at: 0,
            since: 0,
            sequence: 0,
            failures: 0,
            phase: Phase::New,
            ping: Ping::Answered,
        }
    }

    /// The closing handshake made a step; its timeout starts at the next tick.
    pub(super) fn restart_close(&mut self) {
        if self.phase == Phase::Running {
            self.phase = Phase::Restarted;
        }
    }

    /// RFC 6455 §5.5.3: "If an endpoint receives a Ping frame and has not yet sent Pong frame(s) in
    /// response to previous Ping frame(s), the endpoint MAY elect to send a Pong frame for only the
    /// most recently processed Ping frame." So a pong also answers the pings that failed before.
    pub(super) fn pong_received(&mut self, payload: &[u8]) {
        let Ok(sequence) = payload.try_into().map(u32::from_be_bytes) else {
            return;
        };
        if self.sequence.wrapping_sub(sequence) <= u32::from(self.failures) && self.sequence != 0 {
            self.ping = Ping::Answered;
            self.failures = 0;
        }
    }

    fn tick(&mut self, now: u64, heard: bool, timeouts: &Timeouts) {
        let asleep = now.saturating_sub(self.now);
        let stalled = shortest(timeouts).is_some_and(|span| asleep > u64::from(span));
        // A caller that was itself asleep for longer than it asked to be cannot tell who was
        // silent: peers get a fresh span before they are judged.
        if heard || stalled || self.phase == Phase::New {
            self.heard_at = now;
        }
        if self.phase != Phase::Running || stalled && self.ping == Ping::Outstanding {
            self.since = now;
        }
        self.phase = Phase::Running;
        self.now = now;
    }

    /// The instant at which the outstanding ping has failed.
    fn ping_deadline(&self, timeouts: &Timeouts) -> Option<u64> {
        let Timeout::Ms(ms) = timeouts.pong else {
            return None;
        };
        // A peer in the middle of a huge frame sends bytes, but cannot send a Pong.
        let patience = if self.heard_at > self.since { 4 } else { 1 };
        Some(self.since.saturating_add(patience * u64::from(ms)))
    }
}

impl<C: Borrow<Config>> Connection<C> {
    /// Tells the time, in milliseconds of any monotonic clock, and does what is due: sends a ping of
    /// the heartbeat, or gives up on the peer. The first call starts the timers.
    ///
    /// It returns [`Event::Failed`] for a ping or idle timeout and [`Event::Closed`] when the
    /// closing handshake takes too long. Call it until it returns `None`.
    ///
    /// A ping of the heartbeat carries its number in 4 bytes, big-endian. Its round trip is the
    /// caller's to measure: from the flush of the output to [`Event::Pong`].
    pub fn handle_timeout(
        &mut self,
        now_ms: u64,
        output: &mut Output<'_>,
    ) -> Option<Event<'static>> {
        let heard = core::mem::take(&mut self.incoming.heard);
        let timeouts = self.config.borrow().timeouts;
        self.timers.tick(now_ms, heard, &timeouts);
        let over = |span: Timeout, since| span.after(since).is_some_and(|end| end <= now_ms);
        match self.lifecycle {
            Lifecycle::FailureDue | Lifecycle::CloseDue => self.receive(&mut &mut [][..], output),
            Lifecycle::AwaitClose | Lifecycle::OweClose => {
                over(timeouts.close, self.timers.since).then(|| self.report_closed())
            }
            Lifecycle::AwaitEnd => {
                over(timeouts.end_of_input, self.timers.since).then(|| self.report_closed())
            }
            Lifecycle::Open if over(timeouts.idle, self.timers.heard_at) => {
                self.fail(Violation::IdleTimeout, output)
            }
            Lifecycle::Open => self.beat(&timeouts, output),
            Lifecycle::Closed => None,
        }
    }

    /// Tells that the peer is alive, as the caller knows by other means than what it received: it does
    /// not listen at present, or its transport takes bytes. At the next tick that counts as something
    /// heard, and as the answer to the outstanding ping.
    pub fn note_alive(&mut self) {
        self.incoming.heard = true;
        self.timers.ping = Ping::Answered;
        self.timers.failures = 0;
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next, on its clock; at once if
    /// that is past, never if it is `None`. Ask again after each call of another method.
    pub fn next_timeout(&self) -> Option<u64> {
        let timers = &self.timers;
        let timeouts = &self.config().timeouts;
        // Until a tick has put an instant to `since`, the tick itself is what is due.
        let after = |span: Timeout, since| {
            let end = span.after(since)?;
            Some(if timers.phase == Phase::Running {
                end
            } else {
                timers.now
            })
        };
        match self.lifecycle {
            Lifecycle::Closed => None,
            Lifecycle::FailureDue | Lifecycle::CloseDue => Some(timers.now),
            Lifecycle::AwaitClose | Lifecycle::OweClose => after(timeouts.close, timers.since),
            Lifecycle::AwaitEnd => after(timeouts.end_of_input, timers.since),
            Lifecycle::Open => {
                let beat = match timers.ping {
                    Ping::Outstanding => timers.ping_deadline(timeouts),
                    Ping::Answered => after(timeouts.ping_interval, timers.since),
                };
                let idle = after(timeouts.idle, timers.heard_at);
                let end = [beat, idle].into_iter().flatten().min()?;
                let quarter = |ms: u32| timers.now.saturating_add(u64::from(ms / 4).max(1));
                let tick = shortest(timeouts).map_or(end, quarter);
                // A ping that is due and found no room is tried again at the next tick, not at
                // once: the caller of a peer that does not read would never sleep.
                let is_waiting = timers.phase == Phase::Running && end <= timers.now;
                Some(if is_waiting { tick } else { end.min(tick) })
            }
        }
    }

    /// The heartbeat of an open connection.
    fn beat(&mut self, timeouts: &Timeouts, output: &mut Output<'_>) -> Option<Event<'static>> {
        let now = self.timers.now;
        if self.timers.ping == Ping::Outstanding
            && self
                .timers
                .ping_deadline(timeouts)
                .is_some_and(|end| end <= now)
        {
            self.timers.ping = Ping::Answered;
            self.timers.failures = self.timers.failures.saturating_add(1);
            if self.timers.failures >= timeouts.max_ping_failures.max(1) {
                return self.fail(Violation::PingTimeout, output);
            }
        }
        let due = timeouts
            .ping_interval
            .after(self.timers.since)
            .is_some_and(|due| due <= now);
        if due && self.timers.ping == Ping::Answered {
            let sequence = self.timers.sequence.wrapping_add(1);
            // Without room the ping waits for the next tick.
            if self.send_heartbeat(sequence, output).is_ok() {
                self.timers.sequence = sequence;
                self.timers.since = now;
                // Where no Pong is waited for, the heartbeat only keeps the path open.
                if timeouts.pong != Timeout::Never {
                    self.timers.ping = Ping::Outstanding;
                }
            }
        }
        None
    }
}

/// The shortest span that is judged by what was heard, in milliseconds.
fn shortest(timeouts: &Timeouts) -> Option<u32> {
    let spans = [timeouts.ping_interval, timeouts.pong, timeouts.idle];
    let ms = spans.into_iter().filter_map(|span| match span {
        Timeout::Ms(ms) => Some(ms),
        Timeout::Never => None,
    });
    ms.min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        close::CloseCode,
        event::{Closed, Initiator},
    };

    const PING: Timeouts = Timeouts {
        ping_interval: Timeout::Ms(1000),
        pong: Timeout::Ms(1000),
        ..Timeouts::never()
    };

    fn config(timeouts: Timeouts) -> Config {
        Config {
            timeouts,
            ..Config::new()
        }
    }

    /// Ticks as asked until an event or `until`, and returns the event, what was written and when.
    fn run(
        connection: &mut Connection<Config>,
        until: u64,
        buffer: &mut [u8],
    ) -> (Option<(u64, Event<'static>)>, usize) {
        let mut output = Output::new(buffer);
        while let Some(at) = connection.next_timeout().filter(|&at| at <= until) {
            if let Some(event) = connection.handle_timeout(at, &mut output) {
                return (Some((at, event)), output.len());
            }
        }
        (None, output.len())
    }

    #[test]
    fn heartbeat_pings_after_an_interval_and_fails_without_a_sign() {
        let mut connection = Connection::server(config(PING));
        let mut buffer = [0; 256];
        assert_eq!(connection.next_timeout(), Some(0));
        let (event, written) = run(&mut connection, 1999, &mut buffer);
        assert_eq!(
            (event, &buffer[..written]),
            (None, &b"\x89\x04\0\0\0\x01"[..])
        );
        let (event, written) = run(&mut connection, 9999, &mut buffer);
        assert_eq!(event, Some((2000, Event::Failed(Violation::PingTimeout))));
        assert_eq!(&buffer[..written], b"\x88\x02\x03\xf3");
        let (event, _) = run(&mut connection, 9999, &mut buffer);
        let closed = Closed {
            initiator: Initiator::Local,
            code: CloseCode::ABNORMAL,
            clean: false,
        };
        assert_eq!(event.map(|(_, event)| event), Some(Event::Closed(closed)));
        assert_eq!(connection.next_timeout(), None);
    }

    #[test]
    fn pong_answers_and_bytes_without_pong_buy_four_spans() {
        let mut connection = Connection::client(config(PING));
        let mut buffer = [0; 512];
        let mut key = || [1, 2, 3, 4];
        let mut output = Output::masked(&mut buffer, &mut key);
        for at in [0, 250, 1000] {
            assert_eq!(connection.handle_timeout(at, &mut output), None);
        }
        let mut pong = *b"\x8a\x04\0\0\0\x01";
        let event = connection.receive(&mut &mut pong[..], &mut output);
        assert_eq!(event, Some(Event::Pong(b"\0\0\0\x01")));
        // The next ping is due at 2000; its failure is not at 3000 but at 6000.
        let mut failed_at = None;
        for at in (1250..=7000).step_by(250) {
            let mut data = *b"\x82\x00";
            if connection
                .receive(&mut &mut data[..], &mut output)
                .is_none()
            {
                break;
            }
            if connection.handle_timeout(at, &mut output).is_some() {
                failed_at = Some(at);
                break;
            }
        }
        assert_eq!(failed_at, Some(6000));
    }

    #[test]
    fn stalled_caller_grants_a_fresh_span() {
        let mut connection = Connection::server(config(PING));
        let mut buffer = [0; 512];
        let mut output = Output::new(&mut buffer);
        for at in [0, 1000, 60_000, 60_250] {
            assert_eq!(connection.handle_timeout(at, &mut output), None, "at {at}");
        }
        assert!(connection.handle_timeout(61_000, &mut output).is_some());
    }

    #[test]
    fn failures_in_a_row_are_counted() {
        let timeouts = Timeouts {
            max_ping_failures: 3,
            ..PING
        };
        let mut connection = Connection::server(config(timeouts));
        let mut buffer = [0; 512];
        let (event, _) = run(&mut connection, 60_000, &mut buffer);
        assert_eq!(event, Some((4000, Event::Failed(Violation::PingTimeout))));
    }

    #[test]
    fn idle_close_and_end_of_input_timeouts() {
        let mut buffer = [0; 512];
        let idle = Timeouts {
            idle: Timeout::Ms(3000),
            ..Timeouts::never()
        };
        let mut connection = Connection::server(config(idle));
        let (event, written) = run(&mut connection, 9999, &mut buffer);
        assert_eq!(event, Some((3000, Event::Failed(Violation::IdleTimeout))));
        assert_eq!(&buffer[..written], b"\x88\x02\x03\xe9");

        let mut connection = Connection::server(Config::new());
        assert_eq!(
            connection.handle_timeout(100, &mut Output::new(&mut buffer)),
            None
        );
        let mut output = Output::new(&mut buffer);
        assert_eq!(connection.close(CloseCode::NORMAL, "", &mut output), Ok(()));
        assert_eq!(
            connection.next_timeout(),
            Some(100),
            "the timer is armed by a tick"
        );
        let (event, _) = run(&mut connection, 99_999, &mut buffer);
        let closed = Closed {
            initiator: Initiator::Local,
            code: CloseCode::ABNORMAL,
            clean: false,
        };
        assert_eq!(event, Some((10_100, Event::Closed(closed))));

        let mut connection = Connection::client(Config::new());
        let mut key = || [0; 4];
        let mut output = Output::masked(&mut buffer, &mut key);
        assert_eq!(connection.handle_timeout(5, &mut output), None);
        let mut close = *b"\x88\x02\x03\xe8";
        assert!(
            connection
                .receive(&mut &mut close[..], &mut output)
                .is_some()
        );
        let (event, _) = run(&mut connection, 99_999, &mut buffer);
        let closed = Closed {
            initiator: Initiator::Peer,
            code: CloseCode::NORMAL,
            clean: true,
        };
        assert_eq!(event, Some((2005, Event::Closed(closed))));
    }

    /// A sender that fills its output to the brim must not silence its own heartbeat.
    #[test]
    fn heartbeat_finds_room_beside_a_busy_sender() {
        for role in [crate::Role::Server, crate::Role::Client] {
            let mut connection =
                Connection::established(role, crate::Extensions::NONE, config(PING));
            let mut buffer = [0; 256];
            let mut key = || [1, 2, 3, 4];
            let mut output = Output::masked(&mut buffer, &mut key);
            assert_eq!(connection.handle_timeout(0, &mut output), None);
            while connection.send_binary(b"x", &mut output).is_ok() {}
            while connection.ping(b"", &mut output).is_ok() {}
            let before = output.len();
            assert_eq!(connection.handle_timeout(1000, &mut output), None);
            assert!(output.len() > before, "{role:?} sent its ping");
            assert!(output.room() >= crate::REPLY_ROOM);
        }
    }

    #[test]
    fn heartbeat_without_a_pong_timeout_keeps_beating() {
        let timeouts = Timeouts {
            pong: Timeout::Never,
            ..PING
        };
        let mut connection = Connection::server(config(timeouts));
        let mut buffer = [0; 512];
        let (event, written) = run(&mut connection, 10_500, &mut buffer);
        assert_eq!((event, written), (None, 10 * 6));
    }

    #[test]
    fn nothing_is_due_where_nothing_times_out() {
        let connection = Connection::server(config(Timeouts::never()));
        assert_eq!(connection.next_timeout(), None);
    }
}

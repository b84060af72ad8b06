//! [`Backoff`]: how long to wait before connecting again (RFC 6455 §7.2.3).

use std::time::Duration;

use crate::keys;

/// The delays between attempts to connect again: each is random up to a bound that doubles with
/// every attempt, and starts anew behind a connection that was stable.
///
/// RFC 6455 §7.2.3: "a client SHOULD use some form of backoff when trying to reconnect after
/// abnormal closures", and "the first reconnect attempt SHOULD be delayed by a random amount of
/// time": a server that restarts would otherwise meet all its clients at once. Every delay is drawn
/// from zero up to its bound ("full jitter"), because equal delays keep clients in step.
///
/// ```no_run
/// use std::{thread, time::Instant};
/// use ws_std::{Backoff, Error, connect};
///
/// let mut backoff = Backoff::new();
/// loop {
///     if let Ok(mut socket) = connect("ws://127.0.0.1:8765") {
///         let opened = Instant::now();
///         let _ = socket.for_each(|message, _| Ok(println!("{message:?}")));
///         backoff.closed_after(opened.elapsed());
///     }
///     thread::sleep(backoff.next_delay());
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    attempts: u32,
    first: Duration,
    base: Duration,
    longest: Duration,
    stable: Duration,
}

impl Backoff {
    /// The first delay is up to 1 s, then up to 1 s, 2 s, 4 s and so on, never over 30 s; behind a
    /// connection that was open for 10 s it begins anew.
    pub const fn new() -> Self {
        Self {
            attempts: 0,
            first: Duration::from_secs(1),
            base: Duration::from_millis(500),
            longest: Duration::from_secs(30),
            stable: Duration::from_secs(10),
        }
    }

    /// Bounds the first delay; the RFC suggests 5 s.
    #[must_use]
    pub const fn first(mut self, bound: Duration) -> Self {
        self.first = bound;
        self
    }

    /// Bounds every delay.
    #[must_use]
    pub const fn longest(mut self, bound: Duration) -> Self {
        self.longest = bound;
        self
    }

    /// The delay before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        self.delay_from(u32::from_ne_bytes(keys::random()))
    }

    /// The same with randomness of the caller's: 0 gives no delay, `u32::MAX` nearly all of the
    /// bound.
    pub fn delay_from(&mut self, random: u32) -> Duration {
        let doubled = 1_u32.checked_shl(self.attempts).unwrap_or(u32::MAX);
        let bound = match self.attempts {
            0 => self.first,
            _ => self.base.saturating_mul(doubled),
        };
        self.attempts = self.attempts.saturating_add(1);
        bound
            .min(self.longest)
            .mul_f64(f64::from(random) / 2_f64.powi(32))
    }

    /// Tells how long the last connection was open. Only one that was stable starts the delays
    /// anew: a server that accepts and closes at once would be hammered otherwise.
    pub fn closed_after(&mut self, open: Duration) {
        if open >= self.stable {
            self.attempts = 0;
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

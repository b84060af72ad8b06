//! The load while all connections are open: messages at a fixed rate, whatever comes back.
//!
//! Latency counts from the instant at which a message was *meant* to be sent. A server that stalls
//! is charged for the messages that it kept from being sent, too.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use mio::{Interest, Registry, Token, unix::SourceFd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::Fallible;

/// For the last echoes, after the last message.
const GRACE: Duration = Duration::from_secs(5);

/// Latencies in nanoseconds, to three digits; what takes longer than a minute is cut to it.
const LATENCY_MAX_NS: u64 = 60_000_000_000;

/// A schedule, and what became of it.
pub(crate) struct Load {
    /// Wakes the loop at each due time; a poll's own timeout is too coarse, by up to 1 ms.
    timer: OwnedFd,
    started: Instant,
    period: Duration,
    total: u32,
    sent: u32,
    echoed: u32,
    /// From the intended time to the echo.
    latency: Histogram<u64>,
    /// From the intended time to when it was sent: our own fault, not the server's.
    lateness: Histogram<u64>,
}

impl Load {
    /// `total` messages, one each period.
    pub(crate) fn start(
        registry: &Registry,
        token: Token,
        total: u32,
        period: Duration,
    ) -> Fallible<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        let each = Timespec {
            tv_sec: period.as_secs() as i64,
            tv_nsec: i64::from(period.subsec_nanos()),
        };
        let started = Instant::now();
        timerfd_settime(
            &timer,
            TimerfdTimerFlags::empty(),
            &Itimerspec {
                it_interval: each,
                it_value: each,
            },
        )?;
        Ok(Self {
            timer,
            started,
            period,
            total,
            sent: 0,
            echoed: 0,
            latency: histogram()?,
            lateness: histogram()?,
        })
    }

    /// The timer has fired; its edges are told only after it was read.
    pub(crate) fn ticked(&self) -> io::Result<()> {
        match rustix::io::read(&self.timer, &mut [0; 8]) {
            Err(error) if error != rustix::io::Errno::AGAIN => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// When the next message was meant to be sent, if that is past.
    pub(crate) fn next_due(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let intended = self.started + self.period * (self.sent + 1);
        if self.sent == self.total || intended > now {
            return None;
        }
        self.sent += 1;
        self.lateness.saturating_record(ns(now - intended));
        Some(intended)
    }

    /// The echo came.
    pub(crate) fn echoed(&mut self, intended: Instant) {
        self.echoed += 1;
        self.latency.saturating_record(ns(intended.elapsed()));
    }

    /// Whether there is nothing more to wait for.
    pub(crate) fn is_over(&self) -> bool {
        let end = self.started + self.period * self.total + GRACE;
        self.sent == self.total && (self.echoed == self.sent || Instant::now() > end)
    }

    /// In words that `clients` understands.
    pub(crate) fn told(&self) -> String {
        format!(
            "sent={} echoed={} latency={} lateness={}",
            self.sent,
            self.echoed,
            listed(&self.latency),
            listed(&self.lateness)
        )
    }
}

/// An empty one.
pub(crate) fn histogram() -> Fallible<Histogram<u64>> {
    Ok(Histogram::new_with_max(LATENCY_MAX_NS, 3)?)
}

fn ns(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Values and how often each was recorded.
fn listed(histogram: &Histogram<u64>) -> String {
    let counts = histogram.iter_recorded().map(|step| {
        let (value, count) = (step.value_iterated_to(), step.count_since_last_iteration());
        format!("{value}:{count}")
    });
    counts.collect::<Vec<_>>().join(",")
}

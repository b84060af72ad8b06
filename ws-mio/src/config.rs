//! The bounds of many connections: how many there may be, and how they end.

use ws_proto::{CloseCode, Limit};

/// How many connections a server takes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// All of them, on all loops. Where 5 % are left, or 128 if that is less, a request is answered
    /// with 503; beyond, a connection is closed without a word. Default: the descriptors that the
    /// process may open, less 64, and at most a million.
    pub connections: Limit,
    /// Those from one address; of IPv6, from one network of 64 bits. Unlimited by default, because behind a
    /// proxy all come from one.
    pub per_address: Limit,
    /// Those whose handshake is not done, of which each loop has an equal share. Beyond, the one that
    /// has waited longest makes room: who connects and says nothing keeps nobody out. Default 1024, or
    /// a quarter of [`connections`](Self::connections) if that is less.
    pub handshakes: Limit,
}

impl Capacity {
    /// The defaults for a process that may open this many descriptors.
    pub const fn of_descriptors(descriptors: u64) -> Self {
        let spare = descriptors.saturating_sub(64);
        let connections = if spare < 1_000_000 { spare } else { 1_000_000 };
        let quarter = connections / 4;
        Self {
            connections: Limit::At(connections),
            per_address: Limit::Unlimited,
            handshakes: Limit::At(if quarter < 1024 { quarter } else { 1024 }),
        }
    }

    /// The defaults for this process.
    pub fn of_process() -> Self {
        Self::of_descriptors(descriptors())
    }
}

impl Capacity {
    /// What one of so many loops takes on.
    pub(crate) fn share_of(self, loops: usize) -> Self {
        let share = |most: u64| (most / loops as u64).max(1);
        Self {
            handshakes: match self.handshakes {
                Limit::At(most) => Limit::At(share(most)),
                Limit::Unlimited => Limit::Unlimited,
            },
            ..self
        }
    }
}

#[cfg(unix)]
fn descriptors() -> u64 {
    let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limits.current.unwrap_or(u64::MAX)
}

#[cfg(not(unix))]
fn descriptors() -> u64 {
    u64::MAX
}

/// How a server ends. It accepts nobody any more, answers handshakes with 503, and closes what is
/// open; what is still there at the deadline is aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// What the peers are told. Default 1001, going away.
    pub code: CloseCode,
    /// In milliseconds. Default 30 s.
    pub deadline_ms: u64,
    /// Over how many milliseconds the Closes are spread, so that clients that connect again do not
    /// all come in one second; but 2 000 connections a second are closed at the least. Default 5 s.
    pub stagger_ms: u64,
}

impl Shutdown {
    /// The defaults named at each field.
    pub const fn new() -> Self {
        Self {
            code: CloseCode::GOING_AWAY,
            deadline_ms: 30_000,
            stagger_ms: 5_000,
        }
    }

    /// The same without patience.
    pub(crate) const fn at_once(self) -> Self {
        Self {
            deadline_ms: 0,
            stagger_ms: 0,
            ..self
        }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

/// How the connections of a server ended, once it was told to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Before the deadline.
    pub in_time: usize,
    /// Aborted at the deadline.
    pub aborted: usize,
}

impl Report {
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            in_time: self.in_time + other.in_time,
            aborted: self.aborted + other.aborted,
        }
    }
}

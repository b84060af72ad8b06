//! State. [`Config`]: the bounds of a connection, shared by all connections that have the same.

/// A bound on something a peer may repeat or enlarge. "No bound" is a word of its own, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// At most this many bytes, or pieces; 0 allows none.
    At(u64),
    /// As many as the peer cares to send. The caller has another bound, or trusts the peer.
    Unlimited,
}

impl Limit {
    /// Whether `n` is within the limit.
    #[inline]
    pub const fn allows(self, n: u64) -> bool {
        match self {
            Self::At(limit) => n <= limit,
            Self::Unlimited => true,
        }
    }
}

/// A span of time in milliseconds. "For ever" is a word of its own, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timeout {
    /// After this many milliseconds.
    Ms(u32),
    /// Not at all.
    Never,
}

impl Timeout {
    /// The instant at which a span that began at `since_ms` is over.
    pub(crate) fn after(self, since_ms: u64) -> Option<u64> {
        match self {
            Self::Ms(ms) => Some(since_ms.saturating_add(u64::from(ms))),
            Self::Never => None,
        }
    }
}

/// Whether the core answers by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// The answer is in the output when the event is reported.
    Automatic,
    /// The caller answers; RFC 6455 then holds the caller to it.
    Manual,
}

/// Bounds in bytes and counts of one connection (RFC 6455 §10.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest message delivered, in bytes, over all its fragments; judged on the header of
    /// each frame, before its payload. Default 1 MiB, as Python `websockets` and cowboy.
    pub max_message: Limit,
    /// The most fragments a message may have behind its first frame, empty ones included; with 0
    /// there is no fragmentation. Default 4096, as Python `websockets`: npm `ws` found 131 072 too
    /// high (CVE-2026-62389).
    pub max_fragments: Limit,
    /// The longest HTTP head, in bytes, request line included. Default 16 KiB.
    pub max_head: usize,
    /// The longest request or status line, in bytes. Default 8 KiB, as Python `websockets`.
    pub max_start_line: usize,
}

impl Limits {
    /// The defaults named at each field.
    pub const fn new() -> Self {
        Self {
            max_message: Limit::At(1 << 20),
            max_fragments: Limit::At(4096),
            max_head: 16 << 10,
            max_start_line: 8 << 10,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

/// Spans of time of one connection. They are judged by
/// [`handle_timeout`](crate::Connection::handle_timeout) and exact to one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the start of the opening handshake to its end. Default 10 s, as uWebSockets and Netty.
    pub handshake: Timeout,
    /// Between two pings of the heartbeat. Default 20 s, as Python `websockets`.
    pub ping_interval: Timeout,
    /// From a ping to its failure when nothing at all is heard; four times as long when bytes
    /// come, but no pong: a peer in the middle of a huge frame cannot answer. Default 20 s.
    pub pong: Timeout,
    /// Pings that may fail in a row before the connection does. Default 1; 0 counts as 1.
    pub max_ping_failures: u8,
    /// Without a whole control frame or any payload from the peer. Default 120 s, as uWebSockets; while the heartbeat runs it
    /// never fires on a live peer.
    pub idle: Timeout,
    /// From our Close to the peer's. Default 10 s, as Python `websockets`.
    pub close: Timeout,
    /// How long a client waits for the server to end the transport after both Closes (§7.1.1).
    /// Default 2 s, as Chromium.
    pub end_of_input: Timeout,
}

impl Timeouts {
    /// The defaults named at each field.
    pub const fn new() -> Self {
        Self {
            handshake: Timeout::Ms(10_000),
            ping_interval: Timeout::Ms(20_000),
            pong: Timeout::Ms(20_000),
            max_ping_failures: 1,
            idle: Timeout::Ms(120_000),
            close: Timeout::Ms(10_000),
            end_of_input: Timeout::Ms(2_000),
        }
    }

    /// Nothing ever times out: for callers without a clock.
    pub const fn never() -> Self {
        Self {
            handshake: Timeout::Never,
            ping_interval: Timeout::Never,
            pong: Timeout::Never,
            max_ping_failures: 1,
            idle: Timeout::Never,
            close: Timeout::Never,
            end_of_input: Timeout::Never,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self::new()
    }
}

/// What a connection is held to. Connections share it: a [`Connection`](crate::Connection) keeps
/// whatever borrows as a `Config`, such as `&'static Config` or `Arc<Config>`.
///
/// ```
/// use ws_proto::{Config, Limit};
///
/// static CONFIG: Config = {
///     let mut config = Config::new();
///     config.limits.max_message = Limit::At(16 << 20);
///     config
/// };
/// assert!(CONFIG.limits.max_message.allows(16 << 20));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bounds in bytes and counts.
    pub limits: Limits,
    /// Spans of time.
    pub timeouts: Timeouts,
    /// Who answers a Ping (§5.5.2). Default [`Reply::Automatic`].
    pub pong: Reply,
    /// Who answers a Close (§5.5.1); with [`Reply::Manual`] the caller may finish the message it
    /// is sending, and then calls [`close`](crate::Connection::close). Default
    /// [`Reply::Automatic`].
    pub close: Reply,
}

impl Config {
    /// The defaults named at each field.
    pub const fn new() -> Self {
        Self {
            limits: Limits::new(),
            timeouts: Timeouts::new(),
            pong: Reply::Automatic,
            close: Reply::Automatic,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

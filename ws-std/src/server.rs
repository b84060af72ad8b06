//! [`Server`]: a thread for each connection, and not more of them than it may.

mod answer;
mod connection;

use std::{
    collections::HashMap,
    error::Error,
    fmt, fs, io,
    io::ErrorKind,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use socket2::SockRef;
use ws_proto::{Config, Limit, Timeout};

pub use self::answer::{Accept, Decision, Reject};
use self::connection::Admission;
use crate::{
    opening::{Request, SHORTEST},
    transport::{Remote, Stream},
    websocket::{RECEIVE_BUFFER, WebSocket, automatic},
};

/// What a handler may fail with: anything. The peer is told 1011, the log is told the error.
pub type HandlerError = Box<dyn Error + Send + Sync>;

/// A server with a thread for each connection.
///
/// ```
/// use std::{thread, time::Duration};
/// use ws_std::Server;
///
/// let server = Server::bind("127.0.0.1:0")?;
/// let uri = format!("ws://{}", server.local_addr()?);
/// let handle = server.handle();
/// let serving = thread::spawn(move || {
///     server.serve(|socket| {
///         loop {
///             let message = socket.recv()?;
///             socket.send(&message)?;
///         }
///     })
/// });
///
/// let mut socket = ws_std::connect(&uri)?;
/// socket.send_text("Hello")?;
/// assert_eq!(socket.recv()?.as_text(), Some("Hello"));
/// drop(socket);
///
/// let report = handle.shutdown(Duration::from_secs(5));
/// assert_eq!(report.forced, 0);
/// serving.join().expect("it does not panic")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub struct Server {
    shared: Arc<Shared>,
    options: Options,
}

/// What connections are held to.
pub(crate) struct Options {
    config: Config,
    subprotocols: Vec<String>,
    send_timeout: Option<Duration>,
    receive_buffer: usize,
    max_connections: usize,
    on_request: Option<OnRequest>,
}

type OnRequest = Box<dyn Fn(&Request) -> Decision + Send + Sync>;

/// A hold on a running server. Clones hold the same server.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// How a shutdown went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// Connections that ended by themselves, in time, with or without a closing handshake.
    pub in_time: usize,
    /// Connections that were cut off at the deadline.
    pub forced: usize,
}

struct Shared {
    listener: TcpListener,
    origin: Origin,
    table: Mutex<Table>,
    changed: Condvar,
}

/// Where the listening socket comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Ours,
    /// Others may hold it, too.
    Passed,
}

#[derive(Default)]
struct Table {
    connections: HashMap<u64, Remote>,
    next_id: u64,
    /// How many of the connections are only told 503.
    refused: usize,
    phase: Phase,
    /// A thread is in [`Server::serve`], and not done accepting.
    is_accepting: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Serving,
    Draining,
    Stopped(Shutdown),
}

impl Server {
    /// Listens on an address. Port 0 is any free one; [`local_addr`](Self::local_addr) tells which.
    ///
    /// # Errors
    ///
    /// Those of the socket.
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        Ok(Self::new(TcpListener::bind(address)?, Origin::Ours))
    }

    /// Serves on a socket that listens already: one that a service manager passed, say. Whoever
    /// else holds it can go on accepting after this server is shut down.
    pub fn from_listener(listener: TcpListener) -> Self {
        Self::new(listener, Origin::Passed)
    }

    fn new(listener: TcpListener, origin: Origin) -> Self {
        Self {
            shared: Arc::new(Shared {
                listener,
                origin,
                table: Mutex::default(),
                changed: Condvar::new(),
            }),
            options: Options {
                config: Config::new(),
                subprotocols: Vec::new(),
                send_timeout: Some(Duration::from_secs(30)),
                receive_buffer: RECEIVE_BUFFER,
                max_connections: default_max_connections(),
                on_request: None,
            },
        }
    }

    /// Supports this subprotocol; those named before it are preferred. Without any, none is agreed
    /// on, whatever is offered.
    pub fn subprotocol(mut self, name: &str) -> Self {
        self.options.subprotocols.push(name.to_owned());
        self
    }

    /// The most connections at a time; what comes above is told 503. Default: the limit on open
    /// files less 64, where it can be known, and not more than 16 384.
    pub fn max_connections(mut self, n: usize) -> Self {
        self.options.max_connections = n;
        self
    }

    /// The longest message that is received, in bytes; a longer one is answered with a Close with
    /// 1009. Default 1 MiB.
    pub fn max_message(mut self, limit: Limit) -> Self {
        self.options.config.limits.max_message = limit;
        self
    }

    /// From accepting a connection to its request being complete, whatever comes meanwhile. Default
    /// 10 s.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        let ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        self.options.config.timeouts.handshake = Timeout::Ms(ms);
        self
    }

    /// How long a write may find no room because the peer does not read. Default 30 s; `None` is
    /// for ever, and the least is 1 ms.
    pub fn send_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.options.send_timeout = timeout.map(|timeout| timeout.max(SHORTEST));
        self
    }

    /// All bounds and timers of the protocol. It replaces [`max_message`](Self::max_message) and
    /// [`handshake_timeout`](Self::handshake_timeout).
    ///
    /// Pings and Closes are answered by the connection, whatever `pong` and `close` say: there is
    /// nobody else here to see them.
    pub fn config(mut self, config: Config) -> Self {
        self.options.config = automatic(config);
        self
    }

    /// The size of the receive buffer of a connection, in bytes. Default [`RECEIVE_BUFFER`]; not
    /// smaller than [`Limits::max_head`](ws_proto::Limits::max_head), and from 256 bytes to 64 MiB.
    pub fn receive_buffer(mut self, bytes: usize) -> Self {
        self.options.receive_buffer = bytes;
        self
    }

    /// Decides about each request for a WebSocket that is one. Without this all are accepted.
    ///
    /// ```
    /// use ws_std::{Accept, Reject, Server};
    ///
    /// let server = Server::bind("127.0.0.1:0")?.on_request(|request| match request.path() {
    ///     "/chat" => Accept::new().header("Set-Cookie", "seen=1").into(),
    ///     _ => Reject::new(404).body("no such place\n").into(),
    /// });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn on_request(
        mut self,
        decide: impl Fn(&Request) -> Decision + Send + Sync + 'static,
    ) -> Self {
        self.options.on_request = Some(Box::new(decide));
        self
    }

    /// Accepts connections and runs `handler` for each, on a thread of its own, until
    /// [`Handle::shutdown`] is done.
    ///
    /// When the handler returns `Ok` the connection is closed with 1000, when it returns an error or
    /// panics, with 1011. A connection that has ended makes `recv` return an error; to pass that on
    /// is the ordinary way out of a handler.
    ///
    /// # Errors
    ///
    /// None that a peer can cause, nor a lack of descriptors or threads: those are waited out.
    pub fn serve<H>(self, handler: H) -> io::Result<()>
    where
        H: Fn(&mut WebSocket<Stream>) -> Result<(), HandlerError> + Send + Sync + 'static,
    {
        let Self { shared, options } = self;
        let service = Arc::new(Service { options, handler });
        let mut pause = MIN_PAUSE;
        while shared.begin_accepting() {
            let accepted = shared.listener.accept();
            if shared.table().phase != Phase::Serving {
                break;
            }
            match accepted {
                Ok((tcp, peer)) => {
                    pause = MIN_PAUSE;
                    shared.admit(&service, tcp, peer);
                }
                Err(error) if is_of_one_peer(&error) => {}
                Err(error) => {
                    // No descriptors, no memory: accepting again at once would fail at once.
                    tracing::warn!(target: "ws::conn", %error, "cannot accept");
                    shared.rest(pause);
                    pause = MAX_PAUSE.min(pause * 2);
                }
            }
        }
        let mut table = shared.table();
        table.is_accepting = false;
        shared.changed.notify_all();
        while !matches!(table.phase, Phase::Stopped(_)) {
            table = shared.wait(table);
        }
        Ok(())
    }

    /// The address that is listened on.
    ///
    /// # Errors
    ///
    /// Those of the socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.listener.local_addr()
    }

    /// A hold on this server, to shut it down from another thread.
    pub fn handle(&self) -> Handle {
        Handle {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Handle {
    /// Stops the server: accepts nothing more, tells handshakes in progress 503 and connections 1001,
    /// gives them so long to end, and cuts off the rest.
    ///
    /// A handler that is receiving is woken at once; one that computes learns of it when it receives
    /// again. One that never does keeps its thread.
    ///
    /// Not to be called by a handler: it would wait for the connection that is waiting for it,
    /// until the time is up.
    pub fn shutdown(&self, patience: Duration) -> Shutdown {
        let deadline = Instant::now().checked_add(patience);
        let mut table = self.shared.table();
        let at_first = table.connections.len();
        if table.phase == Phase::Serving {
            table.phase = Phase::Draining;
            for remote in table.connections.values() {
                remote.stop();
            }
            drop(table);
            self.shared.wake();
            table = self.shared.table();
        }
        table = self.shared.drain(table, deadline);
        if let Phase::Stopped(report) = table.phase {
            return report;
        }
        let forced = table.connections.len();
        for remote in table.connections.values() {
            remote.force();
        }
        table = self
            .shared
            .drain(table, Instant::now().checked_add(FORCED_PATIENCE));
        let report = Shutdown {
            in_time: at_first.saturating_sub(forced),
            forced,
        };
        table.phase = Phase::Stopped(report);
        self.shared.changed.notify_all();
        report
    }

    /// How many connections there are, those in their handshake included.
    pub fn connections(&self) -> usize {
        self.shared.table().connections.len()
    }

    /// The address that is listened on.
    ///
    /// # Errors
    ///
    /// Those of the socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.listener.local_addr()
    }
}

/// What is the same for all connections.
struct Service<H> {
    options: Options,
    handler: H,
}

impl Shared {
    /// Starts a thread for a connection, if there may be one more.
    fn admit<H>(self: &Arc<Self>, service: &Arc<Service<H>>, tcp: TcpStream, peer: SocketAddr)
    where
        H: Fn(&mut WebSocket<Stream>) -> Result<(), HandlerError> + Send + Sync + 'static,
    {
        let accepted = Instant::now();
        let stream = Stream::new(tcp);
        let remote = stream.remote();
        let (place, admission) = {
            let mut table = self.table();
            if table.phase != Phase::Serving {
                // The shutdown began after the connection was accepted. It has told all that were
                // in the table to stop, and would wait for this one in vain.
                return;
            }
            let serving = table.connections.len() - table.refused;
            let admission = if serving < service.options.max_connections {
                Admission::Serve
            } else if table.refused < MAX_REFUSED {
                table.refused += 1;
                Admission::Refuse
            } else {
                // Whoever knocks at this rate need not be told why.
                return;
            };
            let id = table.next_id;
            table.next_id += 1;
            table.connections.insert(id, stream.remote());
            let shared = Arc::clone(self);
            (
                Place {
                    shared,
                    id,
                    admission,
                },
                admission,
            )
        };
        let service = Arc::clone(service);
        let spawned = thread::Builder::new()
            .name(format!("ws {peer}"))
            .spawn(move || {
                let _place = place;
                service.run(stream, peer, accepted, admission);
            });
        if let Err(error) = spawned {
            tracing::warn!(target: "ws::conn", %error, "no thread for a connection");
            remote.refuse(answer::UNAVAILABLE);
        }
    }

    /// Whether there is anything to accept for. A shutdown after this wakes the thread that asked.
    fn begin_accepting(&self) -> bool {
        let mut table = self.table();
        table.is_accepting = table.phase == Phase::Serving;
        table.is_accepting
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it holds the lock; and if it did, the table would be whole.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, table: MutexGuard<'a, Table>) -> MutexGuard<'a, Table> {
        self.changed
            .wait(table)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there are no connections, or the time is up.
    fn drain<'a>(
        &self,
        mut table: MutexGuard<'a, Table>,
        deadline: Option<Instant>,
    ) -> MutexGuard<'a, Table> {
        while !table.connections.is_empty() && !matches!(table.phase, Phase::Stopped(_)) {
            let Some(deadline) = deadline else {
                table = self.wait(table);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            (table, _) = self
                .changed
                .wait_timeout(table, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
        table
    }

    /// Pauses, but not longer than the server serves.
    fn rest(&self, pause: Duration) {
        let table = self.table();
        let _ = self
            .changed
            .wait_timeout_while(table, pause, |table| table.phase == Phase::Serving);
    }

    /// Wakes the thread that accepts.
    fn wake(&self) {
        self.changed.notify_all();
        // Linux ends a blocked accept when the listening socket is shut down. That ends it for
        // everybody who holds it, so it is only done to our own.
        if self.origin == Origin::Ours
            && SockRef::from(&self.listener)
                .shutdown(std::net::Shutdown::Both)
                .is_ok()
        {
            return;
        }
        // Elsewhere one last connection does. Another holder of the socket may be the one that
        // accepts it, hence more than one.
        const ATTEMPTS: usize = 20;
        let Ok(address) = self.listener.local_addr().map(reachable) else {
            return;
        };
        for _ in 0..ATTEMPTS {
            if !self.table().is_accepting {
                return;
            }
            let _ = TcpStream::connect_timeout(&address, FORCED_PATIENCE);
            let table = self.table();
            let _ = self
                .changed
                .wait_timeout_while(table, MIN_PAUSE, |table| table.is_accepting);
        }
    }
}

/// Where a socket can be connected to that listens here. Not every system takes "any address" for
/// this machine.
fn reachable(mut listening: SocketAddr) -> SocketAddr {
    if listening.ip().is_unspecified() {
        listening.set_ip(match listening {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    listening
}

/// The place of a connection in the table, left when its thread ends, however it ends.
struct Place {
    shared: Arc<Shared>,
    id: u64,
    admission: Admission,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.shared.table();
        let remote = table.connections.remove(&self.id);
        if self.admission == Admission::Refuse {
            table.refused -= 1;
        }
        drop(table);
        drop(remote);
        self.shared.changed.notify_all();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("listener", &self.shared.listener)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("listener", &self.shared.listener)
            .field("connections", &self.connections())
            .finish()
    }
}

/// Errors of `accept` that are about the one connection that was about to be accepted: Linux passes
/// on what happened to it meanwhile.
fn is_of_one_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::Interrupted
            | ErrorKind::NetworkDown
            | ErrorKind::NetworkUnreachable
            | ErrorKind::HostUnreachable
    )
}

/// The limit on open files less what the rest of the program may need.
fn default_max_connections() -> usize {
    const SPARE: usize = 64;
    const UNKNOWN: usize = 1024;
    const MOST: usize = 16_384;
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let open_files = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|values| values.split_whitespace().next())
        .and_then(|soft| soft.parse().ok())
        .unwrap_or(UNKNOWN);
    MOST.min(open_files.saturating_sub(SPARE)).max(1)
}

/// How long to pause when nothing can be accepted.
const MIN_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_millis(500);
/// How many connections at a time are told that there are too many.
const MAX_REFUSED: usize = 32;
/// How long connections have that were cut off.
const FORCED_PATIENCE: Duration = Duration::from_secs(1);

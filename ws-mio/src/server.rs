//! [`Server`]: listeners and event loops, joined.

use std::{
    io::{self, ErrorKind},
    net::{self, SocketAddr, ToSocketAddrs},
    sync::Arc,
    thread,
};

#[cfg(unix)]
use std::os::unix::net as unix;

use mio::{Poll, Waker};
use ws_proto::Config;

#[cfg(unix)]
use crate::reactor::bell::Bell;
use crate::{
    accept::Application,
    buffers::Marks,
    config::{Capacity, Report, Shutdown},
    handle::{Handle, LoopSide, Shared, Wake},
    random,
    reactor::{
        Adoptions, Clock, Mail, Reactor, WAKE,
        engine::{Engine, Settings},
        inbox::Inbox,
        listener::{self, Acceptor, Listening, Port, To},
    },
};

/// A server that is going to listen on these addresses.
///
/// ```no_run
/// use ws_mio::{Context, Decision, Message, Server, Session, accept_with};
///
/// struct Echo;
///
/// impl Session for Echo {
///     fn message(&mut self, message: Message<'_>, cx: &mut Context<'_>) {
///         _ = match message {
///             Message::Text(text) => cx.send_text(text),
///             Message::Binary(bytes) => cx.send_binary(bytes),
///         };
///     }
/// }
///
/// # fn main() -> std::io::Result<()> {
/// let app = accept_with(|_request, _peer| Decision::accept(Echo));
/// let report = Server::bind("127.0.0.1:8765")?.loops(2)?.run(app)?;
/// # Ok(())
/// # }
/// ```
pub struct Server {
    listeners: Vec<Listener>,
    settings: Settings,
    sides: Vec<Side>,
    shared: Arc<Shared>,
    #[cfg(unix)]
    bell: Option<(unix::UnixStream, Shutdown)>,
}

/// Where a server listens.
#[derive(Debug)]
pub struct Listener(Kind);

#[derive(Debug)]
enum Kind {
    /// One loop accepts, and hands connections to the loops in turn.
    One(Listening),
    /// Each loop has a socket of its own on this address, and the system chooses.
    Each(net::TcpListener),
}

/// One loop before it runs.
struct Side {
    poll: Poll,
    adoptions: Arc<Adoptions>,
}

/// What may wait in the inbox of a loop: more is a loop that has fallen behind.
const INBOX: usize = 64 << 10;

impl Listener {
    /// Over TCP.
    ///
    /// # Errors
    ///
    /// When the address is not known, or in use.
    pub fn tcp(address: impl ToSocketAddrs) -> io::Result<Self> {
        let listener = first(address, |address| listener::bind(address, Port::Own))?;
        Ok(Self(Kind::One(Listening::tcp(listener)?)))
    }

    /// Over TCP, on a port that is shared (`SO_REUSEPORT`): with other processes of the same user,
    /// and among the loops, each of which then has a socket of its own. The system spreads
    /// connections by their addresses, which is less even than taking turns.
    ///
    /// # Errors
    ///
    /// As [`tcp`](Self::tcp).
    pub fn shared_tcp(address: impl ToSocketAddrs) -> io::Result<Self> {
        let listener = first(address, |address| listener::bind(address, Port::Shared))?;
        Ok(Self(Kind::Each(listener)))
    }

    /// Over a Unix socket at this path, which must not exist. Nobody removes it afterwards.
    ///
    /// # Errors
    ///
    /// When the path cannot be made a socket.
    #[cfg(unix)]
    pub fn unix(path: impl AsRef<std::path::Path>) -> io::Result<Self> {
        unix::UnixListener::bind(path)?.try_into()
    }

    /// The address, if it has one.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.0 {
            Kind::One(listening) => listening.local_addr(),
            Kind::Each(listener) => listener.local_addr().ok(),
        }
    }

    /// The same with connections that cut every read and write at a random size, and now and then
    /// would block though they need not: what a server does must not depend on how the network cuts
    /// its bytes. Sizes depend on nothing but `seed`, on the order in which connections come, and on
    /// what each of them is asked. One loop accepts, also on a shared port.
    ///
    /// For tests (feature `testing`): it is slow.
    ///
    /// # Errors
    ///
    /// When the socket is of no use any more.
    #[cfg(feature = "chopped")]
    pub fn chopped(self, seed: u64) -> io::Result<Self> {
        let listening = match self.0 {
            Kind::One(listening) => listening,
            Kind::Each(listener) => Listening::tcp(listener)?,
        };
        Ok(Self(Kind::One(listening.chopped(seed))))
    }
}

/// A socket that was bound before, perhaps by a supervisor.
impl TryFrom<net::TcpListener> for Listener {
    type Error = io::Error;

    fn try_from(listener: net::TcpListener) -> io::Result<Self> {
        Ok(Self(Kind::One(Listening::tcp(listener)?)))
    }
}

/// A socket that was bound before, perhaps by a supervisor.
#[cfg(unix)]
impl TryFrom<unix::UnixListener> for Listener {
    type Error = io::Error;

    fn try_from(listener: unix::UnixListener) -> io::Result<Self> {
        Ok(Self(Kind::One(Listening::unix(listener)?)))
    }
}

impl Server {
    /// A server on this address over TCP, with one loop and all defaults.
    ///
    /// # Errors
    ///
    /// As [`Listener::tcp`].
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        Self::new([Listener::tcp(address)?])
    }

    /// A server on these listeners, with one loop and all defaults.
    ///
    /// # Errors
    ///
    /// When the system has no poll for it.
    pub fn new(listeners: impl IntoIterator<Item = Listener>) -> io::Result<Self> {
        let (sides, shared) = sides(1)?;
        Ok(Self {
            listeners: listeners.into_iter().collect(),
            settings: Settings {
                config: Arc::new(Config::new()),
                capacity: Capacity::of_process(),
                marks: Marks::new(),
            },
            sides,
            shared,
            #[cfg(unix)]
            bell: None,
        })
    }

    /// With this many event loops, each on a thread of its own; at least one. As many as there are
    /// cores are enough. [Handles](Self::handle) are to be taken behind this.
    ///
    /// # Errors
    ///
    /// When the system has no polls for them.
    pub fn loops(mut self, loops: u16) -> io::Result<Self> {
        (self.sides, self.shared) = sides(loops.max(1))?;
        Ok(self)
    }

    /// With these limits and timeouts for each connection.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.settings.config = Arc::new(config);
        self
    }

    /// With these bounds of how many connections there may be.
    #[must_use]
    pub fn capacity(mut self, capacity: Capacity) -> Self {
        self.settings.capacity = capacity;
        self
    }

    /// With these marks for what waits for slow peers.
    #[must_use]
    pub fn marks(mut self, marks: Marks) -> Self {
        self.settings.marks = marks;
        self
    }

    /// Ends by itself, as the plan says, when a byte comes through this stream, and at once when a second
    /// one comes: the other end is for signal handlers, such as `signal_hook::low_level::pipe` registers. (A
    /// thread that waits for signals would make every system call of the loops dearer, by about 2 % of an
    /// echo: what threads share is counted.)
    ///
    /// # Errors
    ///
    /// When the stream cannot be made non-blocking.
    #[cfg(unix)]
    pub fn shutdown_by(mut self, stream: unix::UnixStream, plan: Shutdown) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        self.bell = Some((stream, plan));
        Ok(self)
    }

    /// The address of the first listener that has one.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listeners.iter().find_map(Listener::local_addr)
    }

    /// The server from outside.
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.shared))
    }

    /// Serves until [`Handle::shutdown`], on this thread and one more for each further loop.
    ///
    /// # Errors
    ///
    /// When a loop cannot be set up, or its poll fails; the others are ended then.
    pub fn run<A: Application>(self, app: A) -> io::Result<Report> {
        let app = Arc::new(app);
        let handle = self.handle();
        #[cfg(unix)]
        let mut bell = self
            .bell
            .map(|(stream, plan)| Bell::new(stream, plan, handle.clone()));
        let mut acceptors = acceptors(self.listeners, self.sides.len())?.into_iter();
        let sides = self.sides.iter();
        let adopters: Vec<_> = sides.map(|side| Arc::clone(&side.adoptions)).collect();
        let shared = self.shared;
        let settings = self.settings.for_each_of(self.sides.len());
        let clock = Clock::new();
        let mut runs = Vec::new();
        for (loop_index, side) in (0..).zip(self.sides) {
            let mail = Mail::new(Arc::clone(&shared), loop_index, side.adoptions);
            let own = acceptors.next().unwrap_or_default();
            #[cfg(unix)]
            let bell = bell.take();
            let (adopters, settings) = (adopters.clone(), settings.clone());
            let mut clock = clock.clone();
            let (app, shared) = (Arc::clone(&app), Arc::clone(&shared));
            // Sessions never leave their loop, so the engine is made on its thread.
            runs.push(move || {
                let random = random::generator();
                let engine = Engine::new(app, shared, loop_index, &settings, clock.now(), random);
                let reactor = Reactor::new(side.poll, engine, own, mail, adopters, clock)?;
                #[cfg(unix)]
                let reactor = reactor.with_bell(bell)?;
                reactor.run()
            });
        }
        run_all(runs, &handle)
    }
}

/// Runs the first here and the others on threads of their own. When one fails or dies, all end.
fn run_all(
    mut runs: Vec<impl FnOnce() -> io::Result<Report> + Send>,
    handle: &Handle,
) -> io::Result<Report> {
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for (i, run) in (1..).zip(runs.split_off(1)) {
            let name = format!("ws-loop-{i}");
            let body = move || EndsAll(handle).unless_well(run);
            let thread = thread::Builder::new().name(name).spawn_scoped(scope, body);
            if thread.is_err() {
                handle.shutdown(Shutdown::new().at_once());
            }
            threads.push(thread);
        }
        let here = runs.into_iter().map(|run| EndsAll(handle).unless_well(run));
        let mut reports: Vec<_> = here.collect();
        for thread in threads {
            reports.push(thread.and_then(|thread| {
                let died = || io::Error::other("a loop has died");
                thread.join().unwrap_or_else(|_| Err(died()))
            }));
        }
        let reports = reports.into_iter().collect::<io::Result<Vec<_>>>()?;
        Ok(reports.into_iter().fold(Report::default(), Report::and))
    })
}

/// Ends all loops when it is dropped, be it by a panic.
struct EndsAll<'a>(&'a Handle);

impl EndsAll<'_> {
    fn unless_well(self, run: impl FnOnce() -> io::Result<Report>) -> io::Result<Report> {
        let report = run()?;
        std::mem::forget(self);
        Ok(report)
    }
}

impl Drop for EndsAll<'_> {
    fn drop(&mut self) {
        self.0.shutdown(Shutdown::new().at_once());
    }
}

/// The listeners of each loop.
fn acceptors(listeners: Vec<Listener>, loops: usize) -> io::Result<Vec<Vec<Acceptor>>> {
    let mut acceptors: Vec<_> = (0..loops).map(|_| Vec::new()).collect();
    for listener in listeners {
        match listener.0 {
            Kind::One(listening) => acceptors[0].push(Acceptor::new(listening, To::AllInTurn)),
            Kind::Each(listener) => {
                let address = listener.local_addr()?;
                let mut first = Some(listener);
                for own in &mut acceptors {
                    let listener = match first.take() {
                        Some(listener) => listener,
                        None => listener::bind(address, Port::Shared)?,
                    };
                    own.push(Acceptor::new(Listening::tcp(listener)?, To::OwnLoop));
                }
            }
        }
    }
    Ok(acceptors)
}

fn sides(loops: u16) -> io::Result<(Vec<Side>, Arc<Shared>)> {
    let (mut sides, mut outsides) = (Vec::new(), Vec::new());
    for _ in 0..loops {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let wake = || -> Wake {
            let waker = Arc::clone(&waker);
            // It fails only where the poll has gone, and then nobody is to be woken.
            Box::new(move || _ = waker.wake())
        };
        outsides.push(LoopSide {
            inbox: Inbox::new(INBOX, wake()),
            wake: wake(),
        });
        let adoptions = Arc::new(Inbox::new(INBOX, wake()));
        sides.push(Side { poll, adoptions });
    }
    Ok((sides, Arc::new(Shared::new(outsides))))
}

/// The first of the addresses that works; the last error if none does.
fn first<T>(
    address: impl ToSocketAddrs,
    bind: impl Fn(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = None;
    for address in address.to_socket_addrs()? {
        match bind(address) {
            Ok(bound) => return Ok(bound),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(ErrorKind::InvalidInput, "no address")))
}

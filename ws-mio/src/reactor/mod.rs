//! An event loop: readiness, deadlines and mail in, turns of the [`engine`] out.
//!
//! This is the rim: here are sockets, the poll and the clock. What is decided is decided in the
//! engine, which knows none of them.

#[cfg(unix)]
pub(crate) mod bell;
pub(crate) mod census;
#[cfg(feature = "chopped")]
mod chopped;
mod drain;
pub(crate) mod engine;
mod farewell;
pub(crate) mod inbox;
pub(crate) mod listener;
mod open;
mod opening;
pub(crate) mod slab;
mod wheel;

// Not below `inbox`: tests/inbox_loom.rs includes that with the locks of a model checker.
#[cfg(test)]
#[path = "inbox/tests.rs"]
mod inbox_tests;

use std::{
    io::{self, ErrorKind, Read, Write},
    panic::{AssertUnwindSafe, UnwindSafe, catch_unwind},
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use mio::{Events, Interest, Poll, Token};

use self::{
    engine::Engine,
    inbox::Inbox,
    listener::{Acceptor, Socket, To},
    slab::Key,
};
use crate::{
    accept::{Application, Peer},
    config::Report,
    connection::ShortRead,
    handle::{Errand, Shared, Wake},
    session::Now,
};

/// What `inbox` locks with, named here so that a model checker's twin can stand in for it.
mod sync {
    pub(crate) use std::sync::{Mutex, MutexGuard};
}

/// What an engine drives: a non-blocking stream.
pub(crate) trait Stream: Read + Write {
    /// What its short reads say.
    const SHORT_READ: ShortRead;

    /// Ends our half.
    fn shutdown_write(&mut self) -> io::Result<()>;
}

/// Keeps a panic of the application to one connection; `None` if there was one.
pub(crate) fn contained<T>(call: impl FnOnce() -> T + UnwindSafe) -> Option<T> {
    catch_unwind(call).ok()
}

/// Drops what is the application's, and may panic at that.
pub(crate) fn discard<T>(thing: T) {
    if contained(AssertUnwindSafe(|| drop(thing))).is_none() {
        tracing::error!(target: "ws::loop", "the application panicked while something was dropped");
    }
}

/// One event loop.
pub(crate) struct Reactor<A: Application> {
    poll: Poll,
    engine: Engine<Socket, A>,
    acceptors: Vec<Acceptor>,
    /// Where this loop's mail comes in.
    mail: Mail,
    /// The inboxes of all loops that connections are handed to in turn, this one's among them.
    adopters: Vec<Arc<Adoptions>>,
    next_adopter: usize,
    clock: Clock,
    #[cfg(unix)]
    bell: Option<bell::Bell>,
}

/// Connections that one loop accepted for another.
pub(crate) type Adoptions = Inbox<(Socket, Peer), Wake>;

/// What comes to a loop from other threads.
pub(crate) struct Mail {
    shared: Arc<Shared>,
    loop_index: u16,
    adoptions: Arc<Adoptions>,
    errands: Vec<(Key, Errand)>,
    adopted: Vec<(Socket, Peer)>,
    /// The shutdowns that were wanted and are known here.
    shutdowns: usize,
}

impl Mail {
    pub(crate) fn new(shared: Arc<Shared>, loop_index: u16, adoptions: Arc<Adoptions>) -> Self {
        Self {
            shared,
            loop_index,
            adoptions,
            errands: Vec::new(),
            adopted: Vec::new(),
            shutdowns: 0,
        }
    }
}

/// The tokens that are no connection's, from the largest downwards.
pub(crate) const WAKE: Token = Token(usize::MAX);
#[cfg(unix)]
const BELL: Token = Token(usize::MAX - 1);
const LISTENERS: usize = usize::MAX - 2;

impl<A: Application> Reactor<A> {
    pub(crate) fn new(
        poll: Poll,
        engine: Engine<Socket, A>,
        acceptors: Vec<Acceptor>,
        mail: Mail,
        adopters: Vec<Arc<Adoptions>>,
        clock: Clock,
    ) -> io::Result<Self> {
        let mut reactor = Self {
            poll,
            engine,
            acceptors,
            mail,
            adopters,
            next_adopter: 0,
            clock,
            #[cfg(unix)]
            bell: None,
        };
        for (i, acceptor) in reactor.acceptors.iter_mut().enumerate() {
            let token = Token(LISTENERS - i);
            let registry = reactor.poll.registry();
            registry.register(&mut acceptor.listener, token, Interest::READABLE)?;
        }
        Ok(reactor)
    }

    /// With a bell to listen to.
    #[cfg(unix)]
    pub(crate) fn with_bell(mut self, bell: Option<bell::Bell>) -> io::Result<Self> {
        self.bell = bell;
        if let Some(bell) = &mut self.bell {
            bell.register(self.poll.registry(), BELL)?;
        }
        Ok(self)
    }

    /// Runs until a shutdown is done.
    pub(crate) fn run(mut self) -> io::Result<Report> {
        let mut events = Events::with_capacity(1024);
        loop {
            match self.poll.poll(&mut events, self.timeout()) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            self.engine.set_now(self.clock.now());
            let mut has_mail = false;
            for event in &events {
                match event.token() {
                    WAKE => has_mail = true,
                    #[cfg(unix)]
                    BELL => self.bell.iter_mut().for_each(bell::Bell::listen),
                    Token(token) if token > LISTENERS - self.acceptors.len() => {
                        self.acceptors[LISTENERS - token].is_ready();
                    }
                    Token(token) => self.engine.ready(Key::from_token(token), event.into()),
                }
            }
            events.clear();
            self.accept();
            if has_mail {
                self.take_mail();
            }
            self.engine.run();
            if let Some(report) = self.engine.report() {
                return Ok(report);
            }
        }
    }

    /// How long the poll may wait.
    fn timeout(&self) -> Option<Duration> {
        let acceptors = self.acceptors.iter().filter_map(Acceptor::next_timeout);
        let next = acceptors.chain(self.engine.next_timeout()).min()?;
        // The time that the turns took is not worth a look at the clock: ticks are coarser.
        Some(Duration::from_millis(
            next.saturating_sub(self.clock.last_ms()),
        ))
    }

    /// Accepts some, to be fair to those who are here already.
    fn accept(&mut self) {
        let now_ms = self.clock.last_ms();
        for i in 0..self.acceptors.len() {
            for _ in 0..Acceptor::AT_ONCE {
                let Some((socket, peer)) = self.acceptors[i].accept(now_ms) else {
                    break;
                };
                match self.acceptors[i].to {
                    To::OwnLoop => self.admit(socket, peer),
                    To::AllInTurn => self.assign(socket, peer),
                }
            }
        }
    }

    /// Takes on a connection, or hands it to the loop whose turn it is.
    fn assign(&mut self, socket: Socket, peer: Peer) {
        let Some(adopter) = self.adopters.get(self.next_adopter) else {
            return self.admit(socket, peer);
        };
        self.next_adopter = (self.next_adopter + 1) % self.adopters.len();
        if Arc::ptr_eq(adopter, &self.mail.adoptions) {
            return self.admit(socket, peer);
        }
        // Where a loop is so far behind, its connections would not be better off.
        _ = adopter.push((socket, peer));
    }

    fn admit(&mut self, socket: Socket, peer: Peer) {
        let registry = self.poll.registry();
        self.engine.admit(socket, peer, |socket, token| {
            let both = Interest::READABLE | Interest::WRITABLE;
            registry.register(socket, Token(token), both)
        });
    }

    fn take_mail(&mut self) {
        let side = &self.mail.shared.loops[usize::from(self.mail.loop_index)];
        side.inbox.drain(&mut self.mail.errands);
        for (key, errand) in self.mail.errands.drain(..) {
            self.engine.perform(key, errand);
        }
        self.mail.adoptions.drain(&mut self.mail.adopted);
        for (socket, peer) in std::mem::take(&mut self.mail.adopted) {
            self.admit(socket, peer);
        }
        let wanted = self.mail.shared.wanted.load(Ordering::Acquire);
        if wanted != self.mail.shutdowns {
            self.mail.shutdowns = wanted;
            self.acceptors.clear();
            let plan = self.mail.shared.shutdown.lock();
            if let Some(plan) = *plan.unwrap_or_else(PoisonError::into_inner) {
                self.engine.shut_down(plan);
            }
        }
    }
}

impl<A: Application> Drop for Reactor<A> {
    fn drop(&mut self) {
        // What comes later is refused, and what came too late is dropped here.
        self.mail.shared.loops[usize::from(self.mail.loop_index)]
            .inbox
            .close();
        self.mail.adoptions.close();
    }
}

/// The clock of one loop, looked at once when the poll returns.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    started: Instant,
    last: Now,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            last: Now {
                monotonic_ms: 0,
                unix_s: unix_s(),
            },
        }
    }

    pub(crate) fn now(&mut self) -> Now {
        const SECOND_MS: u64 = 1_000;
        let monotonic_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        // The other clock has whole seconds: it is asked when one has passed by this.
        if monotonic_ms / SECOND_MS != self.last.monotonic_ms / SECOND_MS {
            self.last.unix_s = unix_s();
        }
        self.last.monotonic_ms = monotonic_ms;
        self.last
    }

    /// What [`now`](Self::now) said last.
    fn last_ms(&self) -> u64 {
        self.last.monotonic_ms
    }
}

fn unix_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

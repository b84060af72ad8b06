//! The event loop: readiness and deadlines in, turns of peers out.

use std::{
    collections::BTreeSet,
    io::{self, ErrorKind, Read},
    mem,
    os::unix::net::UnixStream as StdUnixStream,
    time::{Duration, Instant},
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream, UnixStream},
};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    low_level::pipe,
};
use slab::Slab;
use ws_mio::{Config, Turn};

use crate::peer::Peer;

/// One loop with all its peers, whose number is bounded by the file descriptors the process may
/// have.
pub(crate) struct Server {
    poll: Poll,
    signals: UnixStream,
    listener: Option<TcpListener>,
    accepting: Accepting,
    config: &'static Config,
    peers: Slab<Entry>,
    /// Those that are to have a turn, each once.
    ready: Vec<usize>,
    /// When who is to be told the time.
    deadlines: BTreeSet<(u64, usize)>,
    /// Serves all connections: only one at a time is read from.
    buffer: Box<[u8]>,
    started: Instant,
    /// When the last peers are given up on, once a signal came.
    end_ms: Option<u64>,
}

struct Entry {
    peer: Peer,
    deadline: Option<u64>,
    is_ready: bool,
}

/// What is known of the listener.
#[derive(Clone, Copy)]
enum Accepting {
    /// There may be more to accept.
    Ready,
    /// It is to become ready.
    Wait,
    /// There are no file descriptors; its readiness would not be told again.
    PausedUntil(u64),
}

const LISTENER: Token = Token(usize::MAX - 1);
const SIGNALS: Token = Token(usize::MAX - 2);

impl Server {
    pub(crate) fn new(mut listener: TcpListener, config: &'static Config) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut signals = catch_signals()?;
        let registry = poll.registry();
        registry.register(&mut listener, LISTENER, Interest::READABLE)?;
        registry.register(&mut signals, SIGNALS, Interest::READABLE)?;
        Ok(Self {
            poll,
            signals,
            listener: Some(listener),
            accepting: Accepting::Ready,
            config,
            peers: Slab::new(),
            ready: Vec::new(),
            deadlines: BTreeSet::new(),
            buffer: vec![0; 64 << 10].into_boxed_slice(),
            started: Instant::now(),
            end_ms: None,
        })
    }

    /// Serves until a signal, and then for as long as the peers take to say goodbye, or 3 seconds.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        while !self.is_over() {
            match self.poll.poll(&mut events, self.timeout()) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.listener_is_ready(),
                    SIGNALS => self.go_away(),
                    Token(key) => self.wake(key),
                }
            }
            events.clear();
            self.accept();
            self.expire();
            for key in mem::take(&mut self.ready) {
                self.turn(key);
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.end_ms
            .is_some_and(|end| self.peers.is_empty() || end <= self.now_ms())
    }

    /// How long the poll may wait.
    fn timeout(&self) -> Option<Duration> {
        let paused = match self.accepting {
            Accepting::Ready => Some(0),
            Accepting::PausedUntil(end) => Some(end),
            Accepting::Wait => None,
        };
        let ready = (!self.ready.is_empty()).then_some(0);
        let deadline = self.deadlines.first().map(|&(at, _)| at);
        let next = [paused, ready, deadline, self.end_ms];
        let next = next.into_iter().flatten().min()?;
        Some(Duration::from_millis(next.saturating_sub(self.now_ms())))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn listener_is_ready(&mut self) {
        if let Accepting::Wait = self.accepting {
            self.accepting = Accepting::Ready;
        }
    }

    /// The first signal ends the server in order, the second at once.
    fn go_away(&mut self) {
        const PATIENCE_MS: u64 = 3_000;
        let now_ms = self.now_ms();
        // Edges are told only of a stream that was emptied.
        while matches!(self.signals.read(&mut [0; 16]), Ok(1..)) {}
        if self.end_ms.is_some() {
            self.end_ms = Some(now_ms);
            return;
        }
        self.end_ms = Some(now_ms + PATIENCE_MS);
        self.listener = None;
        self.accepting = Accepting::Wait;
        let keys: Vec<usize> = self.peers.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.peers[key].peer.go_away(now_ms);
            self.wake(key);
        }
    }

    /// Accepts some, to be fair to those who are here already.
    fn accept(&mut self) {
        const AT_ONCE: usize = 64;
        const PAUSE_MS: u64 = 100;
        let now_ms = self.now_ms();
        match self.accepting {
            Accepting::Wait => return,
            Accepting::PausedUntil(end) if now_ms < end => return,
            _ => self.accepting = Accepting::Ready,
        }
        for _ in 0..AT_ONCE {
            let Some(listener) = &self.listener else {
                return;
            };
            match listener.accept() {
                // One that cannot be registered is dropped, and closed by that.
                Ok((stream, _)) => _ = self.admit(stream, now_ms),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return self.accepting = Accepting::Wait,
                    // That one has gone; the next may be there.
                    ErrorKind::ConnectionAborted | ErrorKind::Interrupted => {}
                    // EMFILE, ENFILE, ENOBUFS: it would be the same again at once.
                    _ => return self.accepting = Accepting::PausedUntil(now_ms + PAUSE_MS),
                },
            }
        }
    }

    fn admit(&mut self, mut stream: TcpStream, now_ms: u64) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let vacant = self.peers.vacant_entry();
        let key = vacant.key();
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(key), both)?;
        let mut peer = Peer::new(stream, self.config);
        // The first tick starts the deadline of the handshake.
        peer.handle_timeout(now_ms);
        vacant.insert(Entry {
            peer,
            deadline: None,
            is_ready: false,
        });
        self.wake(key);
        Ok(())
    }

    /// Tells the time to those who wait for it.
    fn expire(&mut self) {
        let now_ms = self.now_ms();
        while let Some(&(at, key)) = self.deadlines.first()
            && at <= now_ms
        {
            self.deadlines.pop_first();
            if let Some(entry) = self.peers.get_mut(key) {
                entry.deadline = None;
                entry.peer.handle_timeout(now_ms);
            }
            self.wake(key);
        }
    }

    /// Has a peer take a turn, unless it has gone.
    fn wake(&mut self, key: usize) {
        if let Some(entry) = self.peers.get_mut(key)
            && !mem::replace(&mut entry.is_ready, true)
        {
            self.ready.push(key);
        }
    }

    fn turn(&mut self, key: usize) {
        let now_ms = self.now_ms();
        let Some(entry) = self.peers.get_mut(key) else {
            return;
        };
        entry.is_ready = false;
        let turn = entry.peer.turn(&mut self.buffer, now_ms);
        let next = match turn {
            Ok(Turn::Wait | Turn::Again) => entry.peer.next_timeout(),
            Ok(Turn::Closed) | Err(_) => None,
        };
        if entry.deadline != next {
            if let Some(at) = mem::replace(&mut entry.deadline, next) {
                self.deadlines.remove(&(at, key));
            }
            self.deadlines.extend(next.map(|at| (at, key)));
        }
        match turn {
            Ok(Turn::Wait) => {}
            Ok(Turn::Again) => self.wake(key),
            Ok(Turn::Closed) | Err(_) => _ = self.peers.remove(key),
        }
    }
}

/// A stream that gets a byte for each signal.
fn catch_signals() -> io::Result<UnixStream> {
    let (signals, sink) = StdUnixStream::pair()?;
    signals.set_nonblocking(true)?;
    pipe::register(SIGINT, sink.try_clone()?)?;
    pipe::register(SIGTERM, sink)?;
    Ok(UnixStream::from_std(signals))
}

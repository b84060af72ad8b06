//! Connections that come and go: open, upgrade, close.

use std::{
    error::Error,
    io::{ErrorKind, Read as _, Write as _},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};

use crate::{
    client::{is_upgrade, request},
    load::Turn,
    process::{PATIENCE, Server},
};

/// So many under way at a time.
const AT_ONCE: usize = 16;

/// Close with 1000, masked with zeros; and what must come back.
const CLOSE: &[u8] = &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];
const CLOSE_REPLY: &[u8] = &[0x88, 0x02, 0x03, 0xe8];

/// One turn of cycles: the figures are per cycle.
pub(crate) fn turn(server: &Server, turn: Duration) -> Result<Turn, Box<dyn Error>> {
    let mut cycles = Cycles::new(server)?;
    cycles.run(turn / 8)?;
    Turn::of(server, || cycles.run(turn))
}

/// All that one generator has under way.
pub(crate) struct Cycles {
    poll: Poll,
    events: Events,
    address: std::net::SocketAddr,
    request: Vec<u8>,
    slots: Vec<Option<Cycle>>,
}

struct Cycle {
    stream: TcpStream,
    state: State,
    received: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    ExpectUpgrade,
    ExpectClose,
    ExpectEnd,
    Over,
}

impl Cycles {
    pub(crate) fn new(server: &Server) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            address: server.address.parse()?,
            request: request(&server.address),
            slots: (0..AT_ONCE).map(|_| None).collect(),
        })
    }

    /// Opens and closes for a while; how often it did.
    pub(crate) fn run(&mut self, turn: Duration) -> Result<usize, Box<dyn Error>> {
        let start = Instant::now();
        let (mut active, mut done) = (AT_ONCE, 0);
        for slot in 0..AT_ONCE {
            self.begin(slot)?;
        }
        while active > 0 {
            match self.poll.poll(&mut self.events, Some(PATIENCE)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result?,
            }
            if self.events.is_empty() {
                return Err("no reply came".into());
            }
            let goes_on = start.elapsed() < turn;
            let ready: Vec<usize> = self.events.iter().map(|event| event.token().0).collect();
            for slot in ready {
                let Some(cycle) = &mut self.slots[slot] else {
                    continue;
                };
                if cycle.step(&self.request)? == State::Over {
                    self.slots[slot] = None;
                    done += 1;
                    match goes_on {
                        true => self.begin(slot)?,
                        false => active -= 1,
                    }
                }
            }
        }
        Ok(done)
    }

    fn begin(&mut self, slot: usize) -> Result<(), Box<dyn Error>> {
        let mut cycle = Cycle {
            stream: TcpStream::connect(self.address)?,
            state: State::Connecting,
            received: Vec::with_capacity(256),
        };
        // On loopback it is connected already; where not, it will become writable.
        cycle.step(&self.request)?;
        let registry = self.poll.registry();
        let both = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut cycle.stream, Token(slot), both)?;
        self.slots[slot] = Some(cycle);
        Ok(())
    }
}

impl Cycle {
    /// Goes on as far as can be done without waiting.
    fn step(&mut self, request: &[u8]) -> Result<State, Box<dyn Error>> {
        if self.state == State::Connecting {
            match self.stream.write(request) {
                Ok(written) if written == request.len() => self.state = State::ExpectUpgrade,
                Ok(_) => return Err("a socket that takes no request".into()),
                Err(error) if is_early(error.kind()) => {}
                Err(error) => return Err(error.into()),
            }
            return Ok(self.state);
        }
        while self.state != State::Over {
            let mut buffer = [0; 1024];
            let read = match self.stream.read(&mut buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            };
            self.received.extend_from_slice(&buffer[..read]);
            self.receive(read)?;
        }
        Ok(self.state)
    }

    fn receive(&mut self, read: usize) -> Result<(), Box<dyn Error>> {
        match self.state {
            State::ExpectUpgrade if self.received.ends_with(b"\r\n\r\n") => {
                if !is_upgrade(&self.received) {
                    return Err("no upgrade".into());
                }
                self.received.clear();
                if self.stream.write(CLOSE)? != CLOSE.len() {
                    return Err("a socket that takes no Close".into());
                }
                self.state = State::ExpectClose;
            }
            State::ExpectClose if self.received == CLOSE_REPLY => self.state = State::ExpectEnd,
            State::ExpectEnd if read == 0 && self.received == CLOSE_REPLY => {
                self.state = State::Over;
            }
            _ if read == 0 => return Err("the server closed a connection".into()),
            _ if self.received.len() > 1024 => return Err("more came than was asked for".into()),
            _ => {}
        }
        Ok(())
    }
}

fn is_early(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::NotConnected)
}

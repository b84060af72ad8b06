//! A client process: opens connections when told to, keeps them alive, and loads them.
//!
//! It reads commands from its standard input, a line each, answers each with one line, and ends
//! when its input does. `open N` opens connections until there are N: `open COUNT`. `load N US`
//! sends N messages, one each US microseconds, over connections chosen at random: `loaded ..`.
//! Lines that start with `trouble` come unasked.

pub(crate) mod connection;
pub(crate) mod load;
mod wire;

use std::{
    io::{self, ErrorKind, Write as _},
    net::{Ipv4Addr, SocketAddr},
    ops::Range,
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, unix::SourceFd};

use self::{
    connection::{Connection, Fault, First, Heard, Name},
    load::Load,
    wire::Random,
};
use crate::Fallible;

/// Below those that the system gives away: nobody else takes them, and none is searched for. One
/// address for each client, so there are enough.
pub(crate) const LOCAL_PORTS: Range<u16> = 10_240..32_768;

/// When no connection was opened for so long, no more will be.
const STALLED: Duration = Duration::from_secs(20);

/// How often it looks at the clock when nothing else happens.
const TICK: Duration = Duration::from_millis(200);

/// Faults that are told in words; the others are only counted.
const TROUBLES_MAX: usize = 3;

const COMMANDS: Token = Token(usize::MAX - 1);
const TIMER: Token = Token(usize::MAX - 2);

/// `client NUMBER CONCURRENCY SERVER..`
pub(crate) fn run(arguments: &[&str]) -> Fallible<()> {
    let [number, concurrency, servers @ ..] = arguments else {
        return Err("client NUMBER CONCURRENCY SERVER..".into());
    };
    let servers: Result<Vec<SocketAddr>, _> = servers.iter().map(|word| word.parse()).collect();
    let mut client = Client {
        poll: Poll::new()?,
        number: number.parse()?,
        servers: servers?,
        ports: LOCAL_PORTS,
        concurrency: concurrency.parse()?,
        connections: Vec::new(),
        tally: Tally::default(),
        awaiting: Awaiting::Command,
        random: Random(number.parse()?),
    };
    client.serve()
}

struct Client {
    poll: Poll,
    number: u8,
    servers: Vec<SocketAddr>,
    ports: Range<u16>,
    /// Most handshakes at a time.
    concurrency: usize,
    /// In the order of opening; those that are lost stay as gaps.
    connections: Vec<Option<Connection>>,
    tally: Tally,
    awaiting: Awaiting,
    random: Random,
}

/// What has happened so far.
#[derive(Default)]
struct Tally {
    opened: usize,
    /// Those that failed before they were open.
    failed: usize,
    lost: usize,
    differing: usize,
    pings: usize,
    /// Connections with at least one ping.
    pinged: usize,
    troubles: usize,
}

/// What must come before it goes on.
enum Awaiting {
    Command,
    Handshakes {
        goal: usize,
        progress: (usize, Instant),
    },
    Echoes(Box<Load>),
}

impl Client {
    fn serve(&mut self) -> Fallible<()> {
        let input = io::stdin();
        self.poll.registry().register(
            &mut SourceFd(&input.as_raw_fd()),
            COMMANDS,
            Interest::READABLE,
        )?;
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; 4096];
        loop {
            match self.poll.poll(&mut events, Some(TICK)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            for event in &events {
                match (event.token(), &self.awaiting) {
                    (COMMANDS, _) => {
                        let read = rustix::io::read(&input, &mut *buffer)?;
                        if read == 0 {
                            return Ok(());
                        }
                        self.obey(std::str::from_utf8(&buffer[..read])?)?;
                    }
                    (TIMER, Awaiting::Echoes(load)) => load.ticked()?,
                    (TIMER, _) => {}
                    (Token(index), _) => self.ready(index, &mut buffer),
                }
            }
            self.go_on()?;
        }
    }

    /// Each command is written at once and only after the answer to the last.
    fn obey(&mut self, command: &str) -> Fallible<()> {
        let words: Vec<&str> = command.split_whitespace().collect();
        self.awaiting = match words.as_slice() {
            ["open", goal] => Awaiting::Handshakes {
                goal: goal.parse()?,
                progress: (0, Instant::now()),
            },
            ["load", total, period_us] => {
                self.tally.pings = 0;
                let period = Duration::from_micros(period_us.parse()?);
                let registry = self.poll.registry();
                let load = Load::start(registry, TIMER, total.parse()?, period)?;
                Awaiting::Echoes(Box::new(load))
            }
            _ => return Err(format!("{command:?} is no command").into()),
        };
        Ok(())
    }

    /// Does what is due, and answers when there is no more to do.
    fn go_on(&mut self) -> Fallible<()> {
        match std::mem::replace(&mut self.awaiting, Awaiting::Command) {
            Awaiting::Command => {}
            Awaiting::Handshakes { goal, mut progress } => {
                self.connect(goal)?;
                let settled = self.tally.opened + self.tally.failed;
                if settled > progress.0 {
                    progress = (settled, Instant::now());
                }
                if settled >= goal || progress.1.elapsed() > STALLED {
                    tell(&format!("open {}", self.open_now()))?;
                } else {
                    self.awaiting = Awaiting::Handshakes { goal, progress };
                }
            }
            Awaiting::Echoes(mut load) => {
                while let Some(intended) = load.next_due() {
                    self.send(intended);
                }
                if load.is_over() {
                    tell(&format!("loaded {} {}", self.told(), load.told()))?;
                } else {
                    self.awaiting = Awaiting::Echoes(load);
                }
            }
        }
        Ok(())
    }

    /// Starts as many handshakes as may be under way.
    fn connect(&mut self, goal: usize) -> Fallible<()> {
        let source = Ipv4Addr::new(127, 0, 0, 2 + self.number);
        loop {
            let index = self.connections.len();
            let settled = self.tally.opened + self.tally.failed;
            if index >= goal || index - settled >= self.concurrency {
                return Ok(());
            }
            let port = self.ports.next().ok_or("no local port is left")?;
            let server = self.servers[index % self.servers.len()];
            let mut connection = match Connection::connect((source, port).into(), server) {
                // Someone has that port on all addresses.
                Err(error) if error.kind() == ErrorKind::AddrInUse => continue,
                other => other?,
            };
            let interest = Interest::READABLE | Interest::WRITABLE;
            let registry = self.poll.registry();
            registry.register(&mut connection.stream, Token(index), interest)?;
            self.connections.push(Some(connection));
        }
    }

    fn ready(&mut self, index: usize, buffer: &mut [u8]) {
        let name = self.name(index);
        let Some(connection) = &mut self.connections[index] else {
            return;
        };
        let (tally, awaiting, random) = (&mut self.tally, &mut self.awaiting, &mut self.random);
        let outcome = connection.ready(
            name,
            buffer,
            || random.key(),
            |heard| match (heard, &mut *awaiting) {
                (Heard::Opened, _) => tally.opened += 1,
                (Heard::Ping(first), _) => {
                    tally.pings += 1;
                    tally.pinged += usize::from(first == First::Yes);
                }
                (Heard::Echo(intended), Awaiting::Echoes(load)) => load.echoed(intended),
                // Too late to count; the load was found incomplete.
                (Heard::Echo(_), _) => {}
            },
        );
        if let Err(fault) = outcome {
            self.lose(index, &fault);
        }
    }

    /// Sends over any open connection.
    fn send(&mut self, intended: Instant) {
        let count = self.connections.len();
        let is_open = |&index: &usize| {
            let connection = &self.connections[index];
            connection.as_ref().is_some_and(Connection::is_open)
        };
        let mut choices = (0..count).map(|_| self.random.below(count));
        let chosen = choices.find(is_open);
        let Some(index) = chosen else { return };
        let (name, key) = (self.name(index), self.random.key());
        let Some(connection) = &mut self.connections[index] else {
            return;
        };
        if let Err(fault) = connection.send(name, intended, key) {
            self.lose(index, &fault);
        }
    }

    fn lose(&mut self, index: usize, fault: &Fault) {
        let Some(connection) = self.connections[index].take() else {
            return;
        };
        self.tally.failed += usize::from(!connection.is_open());
        let reason = match fault {
            Fault::Lost(reason) => {
                self.tally.lost += 1;
                reason
            }
            Fault::Differs => {
                self.tally.differing += 1;
                "an echo differs from its message"
            }
        };
        self.tally.troubles += 1;
        if self.tally.troubles <= TROUBLES_MAX {
            let reason = reason.replace(['\r', '\n'], " ");
            // Who does not listen has ended, and so shall we at the next look at our input.
            let _ = tell(&format!("trouble connection {index}: {reason}"));
        }
    }

    fn open_now(&self) -> usize {
        let open = self.connections.iter().flatten();
        open.filter(|connection| connection.is_open()).count()
    }

    fn told(&self) -> String {
        let Tally {
            lost,
            differing,
            pings,
            pinged,
            ..
        } = self.tally;
        let open = self.open_now();
        format!("open={open} lost={lost} differing={differing} pings={pings} pinged={pinged}")
    }

    fn name(&self, index: usize) -> Name {
        Name {
            client: u32::from(self.number),
            connection: index as u32,
        }
    }
}

fn tell(line: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}

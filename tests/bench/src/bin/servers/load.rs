//! The load: all connections of a workload in one loop.

use std::{
    error::Error,
    fs,
    io::ErrorKind,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token};

use crate::{
    client::{Client, Opening, Progress},
    process::{PATIENCE, Server},
    workload::Script,
};

/// What one turn cost the server, and how much it got done.
#[derive(Clone, Copy)]
pub(crate) struct Turn {
    /// CPU time per message in microseconds, or what else was counted.
    pub(crate) cost: f64,
    pub(crate) per_second: f64,
    /// How much of the time the server had work: well below 1, the generator could not keep up.
    pub(crate) busy: f64,
    /// Where system calls were counted, those among them that wait.
    pub(crate) waits: f64,
    /// Cores that other programs than these two kept busy.
    pub(crate) others: f64,
}

impl Turn {
    /// Of something that is not time.
    pub(crate) fn counted(cost: f64) -> Self {
        Self {
            cost,
            per_second: f64::NAN,
            busy: f64::NAN,
            waits: f64::NAN,
            others: 0.0,
        }
    }

    /// Of the work done between two looks at the clocks.
    pub(crate) fn of(
        server: &Server,
        work: impl FnOnce() -> Result<usize, Box<dyn Error>>,
    ) -> Result<Self, Box<dyn Error>> {
        let (machine, own) = (machine_busy()?, own_cpu());
        let (cpu, start) = (server.cpu()?, Instant::now());
        let done = work()? as f64;
        let elapsed = start.elapsed().as_secs_f64();
        let cpu = (server.cpu()? - cpu).as_secs_f64();
        let (machine, own) = (machine_busy()? - machine, own_cpu() - own);
        Ok(Self {
            cost: cpu * 1e6 / done,
            per_second: done / elapsed,
            busy: cpu / elapsed,
            waits: f64::NAN,
            others: ((machine - cpu - own) / elapsed).max(0.0),
        })
    }
}

/// Seconds that all cores together were not idle: in hundredths, which is coarse.
fn machine_busy() -> Result<f64, Box<dyn Error>> {
    const IDLE: [usize; 2] = [3, 4];
    /// The rest is part of what was counted.
    const FIELDS: usize = 8;

    let stat = fs::read_to_string("/proc/stat")?;
    let fields = stat.split_whitespace().skip(1).take(FIELDS).enumerate();
    let busy = fields.filter(|(index, _)| !IDLE.contains(index));
    let hundredths: Result<Vec<u64>, _> = busy.map(|(_, field)| field.parse::<u64>()).collect();
    Ok(hundredths?.iter().sum::<u64>() as f64 / 100.0)
}

fn own_cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Connections to one server, and the script they run.
pub(crate) struct Load<'s> {
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
    script: &'s Script,
    buffer: Vec<u8>,
}

impl<'s> Load<'s> {
    /// Opens that many connections, all of which are idle.
    pub(crate) fn open(
        server: &Server,
        opening: Opening,
        connections: usize,
        script: &'s Script,
    ) -> Result<Self, Box<dyn Error>> {
        let mut load = Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            clients: Vec::new(),
            script,
            buffer: vec![0; 256 << 10],
        };
        load.grow(server, opening, connections)?;
        Ok(load)
    }

    /// Opens more, up to that many.
    pub(crate) fn grow(
        &mut self,
        server: &Server,
        opening: Opening,
        connections: usize,
    ) -> Result<(), Box<dyn Error>> {
        let both = Interest::READABLE | Interest::WRITABLE;
        for index in self.clients.len()..connections {
            let mut client = Client::open(&server.address, opening)?;
            let registry = self.poll.registry();
            registry.register(&mut client.stream, Token(index), both)?;
            self.clients.push(client);
        }
        Ok(())
    }

    /// Another script from now on; all connections are idle.
    pub(crate) fn change(&mut self, script: &'s Script) {
        self.script = script;
    }

    /// One turn on connections that are warm.
    pub(crate) fn turn(&mut self, server: &Server, turn: Duration) -> Result<Turn, Box<dyn Error>> {
        self.run(turn / 8)?;
        Turn::of(server, || self.run(turn))
    }

    /// Runs the script over and over on all connections for a while; counts the messages.
    pub(crate) fn run(&mut self, turn: Duration) -> Result<usize, Box<dyn Error>> {
        let all = 0..self.clients.len();
        self.run_on(all, turn)
    }

    /// The same on some of the connections, each of which runs it at least once.
    pub(crate) fn run_on(
        &mut self,
        some: std::ops::Range<usize>,
        turn: Duration,
    ) -> Result<usize, Box<dyn Error>> {
        let start = Instant::now();
        let (mut active, mut runs) = (some.len(), 0);
        for client in &mut self.clients[some] {
            client.begin(self.script)?;
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
            for event in &self.events {
                let Token(index) = event.token();
                let client = &mut self.clients[index];
                if event.is_writable() {
                    client.send(self.script)?;
                }
                if event.is_readable()
                    && client.receive(self.script, &mut self.buffer)? == Progress::Complete
                {
                    runs += 1;
                    match goes_on {
                        true => client.begin(self.script)?,
                        false => active -= 1,
                    }
                }
            }
        }
        Ok(runs * self.script.messages)
    }
}

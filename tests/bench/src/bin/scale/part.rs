//! One part of the test: servers, clients, connections in steps, and a load at the end.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    Fallible,
    client::LOCAL_PORTS,
    clients::{Clients, Loaded},
    memory::{Sample, overflows},
    servers::Servers,
};

/// How many connections, and between whom.
pub(crate) struct Part<'a> {
    pub(crate) servers: usize,
    pub(crate) connections: usize,
    /// Starts a server.
    pub(crate) command: &'a [&'a str],
    /// Most connections of one client.
    pub(crate) per_client: usize,
    /// How long all connections are held, under load.
    pub(crate) hold_seconds: u64,
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) connections: usize,
    /// Those that were open after the last step.
    pub(crate) opened: usize,
    /// Time to open all of them, without the looks at the memory.
    pub(crate) opening: Duration,
    /// Handshakes that listeners dropped meanwhile.
    pub(crate) overflows: u64,
    pub(crate) clients: usize,
    /// One for each step, in order.
    pub(crate) samples: Vec<Sample>,
    /// After the load.
    pub(crate) last: Sample,
    pub(crate) loaded: Loaded,
    pub(crate) load_seconds: f64,
    /// Cores that all servers together kept busy under load.
    pub(crate) cores: f64,
    /// Fewest and most descriptors of one server.
    pub(crate) descriptors: (usize, usize),
    pub(crate) troubles: Vec<String>,
}

/// At so many counts memory is looked at.
const STEPS: usize = 5;

/// Until what was freed is given back.
const SETTLE: Duration = Duration::from_secs(1);

/// Messages per second, over all connections: enough for a p99, little enough to hide in no queue.
pub(crate) const MESSAGES_PER_SECOND: usize = 2000;

/// A step takes seconds; a client that makes no progress says so much earlier.
const STEP_MAX: Duration = Duration::from_secs(120);

impl Part<'_> {
    /// Runs it; all processes have ended when it returns.
    pub(crate) fn run(&self) -> Fallible<Outcome> {
        // What the part before has freed is to be gone.
        thread::sleep(SETTLE);
        // An address has few ports, and a process few descriptors.
        let per_client = self.per_client.min(LOCAL_PORTS.len() - 3000);
        // At least two: one would measure its own queue.
        let count = self.connections.div_ceil(per_client).max(2);
        // Dropped in reverse order: clients before servers, so that nobody sees a loss.
        let servers = Servers::start(self.command, self.servers)?;
        let mut clients = Clients::start(count, &servers.addresses)?;
        let nothing = Sample::take(0, &servers, &clients)?;
        let overflows_before = overflows()?;
        let (mut samples, mut opening, mut opened) = (Vec::new(), Duration::ZERO, 0);
        for step in 1..=STEPS {
            let total = self.connections * step / STEPS;
            let start = Instant::now();
            opened = clients.open(total, STEP_MAX)?;
            opening += start.elapsed();
            thread::sleep(SETTLE);
            let sample = Sample::take(opened, &servers, &clients)?;
            will_it_fit(&nothing, &sample, self.connections)?;
            samples.push(sample);
            if opened < total {
                break;
            }
        }
        let descriptors = servers.descriptors()?;
        let (start, cpu) = (Instant::now(), servers.cpu()?);
        let loaded = clients.load(MESSAGES_PER_SECOND, self.hold_seconds)?;
        let load_seconds = start.elapsed().as_secs_f64();
        Ok(Outcome {
            connections: self.connections,
            opened,
            opening,
            overflows: overflows()? - overflows_before,
            clients: count,
            samples,
            last: Sample::take(loaded.open, &servers, &clients)?,
            load_seconds,
            cores: (servers.cpu()? - cpu).as_secs_f64() / load_seconds,
            descriptors,
            troubles: std::mem::take(&mut clients.troubles),
            loaded,
        })
    }
}

/// The kernel's memory for both ends is here: better to stop than to make it look for more.
fn will_it_fit(nothing: &Sample, now: &Sample, connections: usize) -> Fallible<()> {
    let taken = now.total_kib().saturating_sub(nothing.total_kib());
    let left = connections.saturating_sub(now.connections);
    let needed = taken * left as u64 / now.connections.max(1) as u64;
    // A fifth is left to others.
    if needed > now.available_kib / 5 * 4 {
        return Err(format!(
            "{} connections took {taken} KiB; {left} more do not fit into the {} KiB available",
            now.connections, now.available_kib
        )
        .into());
    }
    Ok(())
}

impl Outcome {
    /// Bytes by which the servers grew under load, per connection.
    pub(crate) fn growth(&self) -> f64 {
        let before = self.samples.last().map_or(0, |sample| sample.servers_kib);
        let grown = self.last.servers_kib as f64 - before as f64;
        grown * 1024.0 / self.loaded.open as f64
    }

    /// Everything that must not be.
    pub(crate) fn faults(&self) -> Vec<String> {
        let Loaded {
            open,
            lost,
            differing,
            sent,
            echoed,
            pings,
            ..
        } = self.loaded;
        let mut faults = Vec::new();
        let mut must = |is: bool, fault: String| {
            if !is {
                faults.push(fault);
            }
        };
        must(
            self.opened == self.connections,
            format!("{} connections not opened", self.connections - self.opened),
        );
        must(lost == 0, format!("{lost} connections lost"));
        must(differing == 0, format!("{differing} echoes differ"));
        must(
            open == self.connections,
            format!("{open} connections open at the end"),
        );
        must(
            sent > 0 && echoed == sent,
            format!("{echoed} echoes of {sent} messages"),
        );
        must(pings > 0, "no heartbeat".to_owned());
        faults
    }
}

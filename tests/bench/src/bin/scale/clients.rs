//! The client processes, as seen by the process that starts them.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use crate::{Fallible, client::load::histogram, servers::rss_anon_kib};

/// Handshakes under way, over all clients: fewer than any listener lets wait.
const CONCURRENCY: usize = 256;

/// Started clients; they are killed when they are dropped.
pub(crate) struct Clients {
    children: Vec<Child>,
    lines: Receiver<(usize, String)>,
    /// What they said unasked.
    pub(crate) troubles: Vec<String>,
}

/// What all clients together have to say of a load.
pub(crate) struct Loaded {
    pub(crate) open: usize,
    pub(crate) lost: usize,
    pub(crate) differing: usize,
    /// Messages.
    pub(crate) sent: usize,
    pub(crate) echoed: usize,
    /// Pings while it went on, all of them answered.
    pub(crate) pings: usize,
    /// Connections with at least one ping since they were opened.
    pub(crate) pinged: usize,
    pub(crate) latency: Histogram<u64>,
    pub(crate) lateness: Histogram<u64>,
}

impl Clients {
    /// Starts so many, whose connections go to the servers in turn.
    pub(crate) fn start(count: usize, servers: &[String]) -> Fallible<Self> {
        let (sender, lines) = channel();
        let mut clients = Self {
            children: Vec::new(),
            lines,
            troubles: Vec::new(),
        };
        for number in 0..count {
            clients.start_one(
                number,
                (CONCURRENCY / count).max(1),
                servers,
                sender.clone(),
            )?;
        }
        Ok(clients)
    }

    /// Opens connections until there are so many; returns how many there are.
    pub(crate) fn open(&mut self, total: usize, patience: Duration) -> Fallible<usize> {
        let count = self.children.len();
        let share = |number| total * (number + 1) / count - total * number / count;
        let answers = self.ask(|number| format!("open {}", share(number)), patience)?;
        let open = answers.iter().map(|answer| match answer.split_once(' ') {
            Some(("open", open)) => Ok(open.parse::<usize>()?),
            _ => Err(format!("a client said {answer:?}").into()),
        });
        open.sum()
    }

    /// Sends so many messages per second; returns when the last has come back or is given up.
    pub(crate) fn load(&mut self, per_second: usize, seconds: u64) -> Fallible<Loaded> {
        let count = self.children.len();
        let period_us = 1_000_000 * count / per_second;
        let messages = seconds * 1_000_000 / period_us as u64;
        let patience = Duration::from_secs(seconds + 30);
        let answers = self.ask(|_| format!("load {messages} {period_us}"), patience)?;
        let mut loaded = Loaded::new()?;
        for answer in &answers {
            loaded.add(answer)?;
        }
        Ok(loaded)
    }

    /// `RssAnon` of all of them.
    pub(crate) fn memory_kib(&self) -> Fallible<u64> {
        self.children
            .iter()
            .map(|child| rss_anon_kib(child.id()))
            .sum()
    }

    fn start_one(
        &mut self,
        number: usize,
        concurrency: usize,
        servers: &[String],
        sender: Sender<(usize, String)>,
    ) -> Fallible<()> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["client", &number.to_string(), &concurrency.to_string()])
            .args(servers)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take();
        self.children.push(child);
        let output = BufReader::new(stdout.ok_or("a pipe was asked for")?);
        // It ends with the output of the client.
        thread::spawn(move || {
            let lines = output.lines().map_while(Result::ok);
            for line in lines.chain(["trouble ended".to_owned()]) {
                if sender.send((number, line)).is_err() {
                    return;
                }
            }
        });
        Ok(())
    }

    /// A command for each, and the answers of all.
    fn ask(
        &mut self,
        command: impl Fn(usize) -> String,
        patience: Duration,
    ) -> Fallible<Vec<String>> {
        for (number, child) in self.children.iter_mut().enumerate() {
            let stdin = child.stdin.as_mut().ok_or("a pipe was asked for")?;
            // In one piece, as the client expects.
            stdin.write_all(format!("{}\n", command(number)).as_bytes())?;
        }
        let end = Instant::now() + patience;
        let mut answers = Vec::new();
        while answers.len() < self.children.len() {
            let left = end.saturating_duration_since(Instant::now());
            let (number, line) = self.lines.recv_timeout(left)?;
            match line.strip_prefix("trouble ") {
                None => answers.push(line),
                Some("ended") => return Err(format!("client {number} ended").into()),
                Some(trouble) => self.troubles.push(format!("client {number}, {trouble}")),
            }
        }
        Ok(answers)
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended by itself; either way it is collected.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Loaded {
    fn new() -> Fallible<Self> {
        Ok(Self {
            open: 0,
            lost: 0,
            differing: 0,
            sent: 0,
            echoed: 0,
            pings: 0,
            pinged: 0,
            latency: histogram()?,
            lateness: histogram()?,
        })
    }

    /// Adds what one client said.
    fn add(&mut self, answer: &str) -> Fallible<()> {
        let words = answer.strip_prefix("loaded ").unwrap_or_default();
        for word in words.split(' ') {
            let unknown = || format!("a client said {answer:?}");
            let (name, value) = word.split_once('=').ok_or_else(unknown)?;
            let count = match name {
                "open" => &mut self.open,
                "lost" => &mut self.lost,
                "differing" => &mut self.differing,
                "sent" => &mut self.sent,
                "echoed" => &mut self.echoed,
                "pings" => &mut self.pings,
                "pinged" => &mut self.pinged,
                "latency" => {
                    add_counts(&mut self.latency, value)?;
                    continue;
                }
                "lateness" => {
                    add_counts(&mut self.lateness, value)?;
                    continue;
                }
                _ => return Err(unknown().into()),
            };
            *count += value.parse::<usize>()?;
        }
        Ok(())
    }
}

/// The other end of `listed` in `client::load`.
fn add_counts(histogram: &mut Histogram<u64>, listed: &str) -> Fallible<()> {
    for pair in listed.split(',').filter(|pair| !pair.is_empty()) {
        let (value, count) = pair.split_once(':').ok_or("a value without a count")?;
        histogram.record_n(value.parse()?, count.parse()?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_of_clients_are_added() -> Fallible<()> {
        let mut loaded = Loaded::new()?;
        loaded.add("loaded open=2 pings=1 latency=1000:2,5000:1 lateness=")?;
        loaded.add("loaded open=3 pings=0 latency= lateness=7:1")?;
        assert_eq!((loaded.open, loaded.pings), (5, 1));
        assert_eq!((loaded.latency.len(), loaded.lateness.len()), (3, 1));
        assert!(loaded.add("loaded nonsense").is_err());
        Ok(())
    }
}

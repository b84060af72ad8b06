//! The servers under test: processes of their own, watched through `/proc`.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::Fallible;

/// Started servers; they are killed when they are dropped.
pub(crate) struct Servers {
    children: Vec<Child>,
    /// Where they listen: one address if they share it.
    pub(crate) addresses: Vec<String>,
}

impl Servers {
    /// Starts so many of them by the command.
    pub(crate) fn start(command: &[&str], count: usize) -> Fallible<Self> {
        let mut servers = Self {
            children: Vec::new(),
            addresses: Vec::new(),
        };
        let is_shared = is_shared(command);
        for _ in 0..count {
            // The first one finds a free port.
            let shared = servers.addresses.first().filter(|_| is_shared).cloned();
            let listen = shared.clone().unwrap_or("127.0.0.1:0".to_owned());
            let address = servers.start_one(command, &listen)?;
            match shared {
                Some(shared) if shared != address => {
                    return Err(format!("{address} is not the shared {shared}").into());
                }
                Some(_) => {}
                None => servers.addresses.push(address),
            }
        }
        Ok(servers)
    }

    /// `RssAnon` of all of them.
    pub(crate) fn memory_kib(&self) -> Fallible<u64> {
        self.children
            .iter()
            .map(|child| rss_anon_kib(child.id()))
            .sum()
    }

    /// The fewest and the most descriptors that one of them has.
    pub(crate) fn descriptors(&self) -> Fallible<(usize, usize)> {
        let mut counts = Vec::new();
        for child in &self.children {
            counts.push(fs::read_dir(format!("/proc/{}/fd", child.id()))?.count());
        }
        counts.sort();
        let ends = counts.first().copied().zip(counts.last().copied());
        Ok(ends.unwrap_or_default())
    }

    /// CPU time of all of them, user and system: the first field of `schedstat`, in ns.
    pub(crate) fn cpu(&self) -> Fallible<Duration> {
        let mut total = 0;
        for child in &self.children {
            for task in fs::read_dir(format!("/proc/{}/task", child.id()))? {
                let line = fs::read_to_string(task?.path().join("schedstat"))?;
                total += line.split(' ').next().unwrap_or_default().parse::<u64>()?;
            }
        }
        Ok(Duration::from_nanos(total))
    }

    /// Its first line names `ws://HOST:PORT/`.
    fn start_one(&mut self, command: &[&str], listen: &str) -> Fallible<String> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("leash")
            .args(command)
            .args(["--listen", listen])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take();
        self.children.push(child);
        let mut line = String::new();
        BufReader::new(stdout.ok_or("a pipe was asked for")?).read_line(&mut line)?;
        let address = line.trim_end().split_once("ws://");
        let address = address.map(|(_, rest)| rest.trim_end_matches('/').to_owned());
        Ok(address.ok_or(format!("{command:?} said {line:?}"))?)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended by itself; either way it is collected.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether all servers of the command listen on one port.
pub(crate) fn is_shared(command: &[&str]) -> bool {
    command.contains(&"--reuse-port")
}

/// Private memory of a process. Exact since Linux 6.17; before, a process may be told by some pages
/// per core too little or too much.
pub(crate) fn rss_anon_kib(pid: u32) -> Fallible<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    crate::memory::field(&status, "RssAnon:").ok_or("no RssAnon".into())
}

//! System calls, counted from outside.
//!
//! `perf stat` costs next to nothing: it counts what happens when the generator is as fast as it
//! is. Under `strace` a server is so slow that it always has work, and every call that waits for
//! readiness returns as much as it can: that count repeats best.

use std::{
    error::Error,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
};

use crate::{
    load::Turn,
    process::{PATIENCE, Server},
};

/// A program that counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counter {
    Perf,
    Strace,
}

impl Counter {
    /// Those that work here.
    pub(crate) fn find() -> Vec<Self> {
        let works = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output();
            output.is_ok_and(|output| {
                let told = String::from_utf8_lossy(&output.stderr);
                output.status.success() && !told.contains("not supported")
            })
        };
        let mut found = Vec::new();
        if works("perf", &["stat", "-x,", "-e", EVENTS, "true"]) {
            found.push(Self::Perf);
        }
        if works("strace", &["-c", "-f", "true"]) {
            found.push(Self::Strace);
        }
        found
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Perf => "`perf stat`",
            Self::Strace => "`strace`",
        }
    }

    /// How many calls a server made per unit of this work.
    pub(crate) fn per_unit(
        self,
        server: &Server,
        work: impl FnOnce() -> Result<usize, Box<dyn Error>>,
    ) -> Result<Turn, Box<dyn Error>> {
        let counting = match self {
            Self::Perf => Counting::perf(server)?,
            Self::Strace => Counting::strace(server)?,
        };
        let done = work()? as f64;
        let (all, waits) = counting.end()?;
        Ok(Turn {
            waits: waits / done,
            ..Turn::counted(all / done)
        })
    }
}

/// All calls, and those which wait.
const EVENTS: &str = "raw_syscalls:sys_enter,syscalls:sys_enter_epoll_wait";

/// A counter at work, killed when it is dropped.
struct Counting {
    child: Child,
    stderr: Option<BufReader<ChildStderr>>,
    /// Commands for `perf` and its acknowledgements.
    control: Option<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Counting {
    fn perf(server: &Server) -> Result<Self, Box<dyn Error>> {
        let mut counting = Self::spawn(
            Command::new("perf")
                .args([
                    "stat",
                    "-x,",
                    "-e",
                    EVENTS,
                    "--delay=-1",
                    "--control=fd:0,1",
                ])
                .args(["-p", &server.id().to_string()]),
        )?;
        let stdin = counting.child.stdin.take();
        let stdout = counting.child.stdout.take();
        let (Some(stdin), Some(stdout)) = (stdin, stdout) else {
            return Err("pipes were asked for".into());
        };
        counting.control = Some((stdin, BufReader::new(stdout)));
        counting.command("enable")?;
        Ok(counting)
    }

    fn strace(server: &Server) -> Result<Self, Box<dyn Error>> {
        let mut counting = Self::spawn(
            Command::new("strace")
                .args(["-c", "-f", "-U", "calls,name"])
                .args(["-p", &server.id().to_string()]),
        )?;
        let mut stderr = counting.stderr.take().ok_or("a pipe was asked for")?;
        let (line, stderr) = patiently(move || {
            let mut line = String::new();
            stderr.read_line(&mut line).map(|_| (line, stderr))
        })??;
        if !line.contains("attached") {
            return Err(format!("strace: {line}").into());
        }
        counting.stderr = Some(stderr);
        Ok(counting)
    }

    fn spawn(command: &mut Command) -> Result<Self, Box<dyn Error>> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take().map(BufReader::new);
        Ok(Self {
            child,
            stderr,
            control: None,
        })
    }

    /// Has `perf` begin or end, and waits until it has.
    fn command(&mut self, word: &str) -> Result<(), Box<dyn Error>> {
        let (mut stdin, mut stdout) = self.control.take().ok_or("no control of perf")?;
        writeln!(stdin, "{word}")?;
        let (line, stdout) = patiently(move || {
            let mut line = String::new();
            stdout.read_line(&mut line).map(|_| (line, stdout))
        })??;
        if !line.contains("ack") {
            return Err("perf stat does not obey".into());
        }
        self.control = Some((stdin, stdout));
        Ok(())
    }

    /// Ends it; how many calls there were, and how many of them waited.
    fn end(mut self) -> Result<(f64, f64), Box<dyn Error>> {
        if self.control.is_some() {
            self.command("disable")?;
        }
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::INT)?;
        let mut stderr = self.stderr.take().ok_or("a pipe was asked for")?;
        let told = patiently(move || {
            let mut told = String::new();
            stderr.read_to_string(&mut told).map(|_| told)
        })??;
        // Both tell the count first and the name last, or nearly so.
        let count = |names: [&str; 2]| {
            let words = |line: &str| line.split([',', ' ']).any(|word| names.contains(&word));
            let line = told.lines().find(|line| words(line))?;
            let digits = line.trim_start().split([',', ' ']).next()?;
            digits.parse::<f64>().ok()
        };
        let all = count(["raw_syscalls:sys_enter", "total"]);
        // A server that never waits is not in the list of `strace`.
        let waits = count(["syscalls:sys_enter_epoll_wait", "epoll_wait"]).unwrap_or_default();
        Ok((all.ok_or_else(|| format!("no count in {told:?}"))?, waits))
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is collected.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reading a pipe has no timeout, so a thread does it; its program is killed if that takes too
/// long, and the thread ends with it.
fn patiently<T: Send + 'static>(
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Box<dyn Error>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // Nobody waits any more when that took too long.
        let _ = sender.send(read());
    });
    Ok(receiver
        .recv_timeout(PATIENCE)
        .map_err(|_| "a counter that does not answer")?)
}

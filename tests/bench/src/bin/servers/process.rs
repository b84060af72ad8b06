//! A server under measurement: a process of its own on cores of its own.

use std::{
    error::Error,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStderr, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use nix::{
    time::{ClockId, clock_getcpuclockid},
    unistd::Pid,
};

/// Nothing here takes longer, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Where servers run; the generator has the other one.
pub(crate) const SERVER_CORE: &str = "0";

/// A running server, killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    /// Held open: who writes to it must not be killed for that.
    _stderr: Option<ChildStderr>,
    _stdout: Option<BufReader<std::process::ChildStdout>>,
    pub(crate) address: String,
    clock: ClockId,
}

impl Server {
    /// Starts it on these cores; its first line names `ws://HOST:PORT/`.
    pub(crate) fn start(command: &[String], cores: &str) -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new("taskset")
            .args(["-c", cores])
            .args(command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("taskset: {error}"))?;
        let clock = clock_getcpuclockid(Pid::from_raw(child.id() as i32))?;
        let stdout = child.stdout.take().ok_or("a pipe was asked for")?;
        let mut server = Self {
            _stderr: child.stderr.take(),
            _stdout: None,
            child,
            address: String::new(),
            clock,
        };

        // A thread, because a pipe has no timeout; when the process is killed, the thread ends.
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut line = String::new();
            let result = stdout.read_line(&mut line);
            // Nobody waits any more when that took too long.
            let _ = sender.send(result.map(|_| (line, stdout)));
        });
        let (line, stdout) = receiver
            .recv_timeout(PATIENCE)
            .map_err(|_| "it did not say where it listens")??;
        let Some((_, address)) = line.trim_end().split_once("ws://") else {
            return Err(server.complaint(&line).into());
        };
        server.address = address.trim_end_matches('/').to_owned();
        server._stdout = Some(stdout);
        Ok(server)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// CPU time of all its threads, user and system, those that have ended included.
    pub(crate) fn cpu(&self) -> Result<Duration, Box<dyn Error>> {
        Ok(self.clock.now()?.into())
    }

    /// Memory that is its own and no file's, in bytes: counted page by page, where the counters of
    /// `status` are approximate.
    pub(crate) fn memory(&self) -> Result<f64, Box<dyn Error>> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.id()))?;
        let kib = rollup
            .lines()
            .find_map(|line| line.strip_prefix("Anonymous:"))
            .ok_or("smaps_rollup without Anonymous")?;
        let kib: f64 = kib.trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024.0)
    }

    /// Why it did not start: the first line that it wrote.
    fn complaint(&mut self, stdout: &str) -> String {
        // Killed first, so that reading comes to an end.
        let _ = self.child.kill();
        let mut stderr = String::new();
        if let Some(mut pipe) = self._stderr.take() {
            let _ = pipe.read_to_string(&mut stderr);
        }
        let line = stderr.lines().chain(stdout.lines()).next();
        line.unwrap_or("it ended at once").to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is collected.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

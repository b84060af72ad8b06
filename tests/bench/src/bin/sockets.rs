//! Blocking servers over loopback: `ws echo` against tungstenite, a thread per connection in both,
//! and against the floor.
//!
//! `sockets [--quick] --ours COMMAND.. --peer COMMAND.. --floor COMMAND..` starts the echo servers,
//! each of which prints its address, and loads them in turn: every round of every workload measures
//! one right after the other. The generator is this one thread over raw sockets; it compares every
//! byte that comes back. What counts is the server's CPU time per message: the generator shares the
//! machine and is often the bottleneck.

use std::{
    error::Error,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use ws_bench::{
    frames::{Alphabet, Batch, Kind, payload},
    harness::median,
    report::conditions,
};

/// A way to load a server.
struct Workload {
    name: &'static str,
    len: usize,
    connections: usize,
    /// Messages sent before the first of them is awaited.
    outstanding: usize,
    /// The most that our CPU time per message may be of the peer's.
    target: f64,
}

const WORKLOADS: [Workload; 5] = [
    Workload {
        name: "ping-pong 20 B",
        len: 20,
        connections: 8,
        outstanding: 1,
        target: 0.6,
    },
    Workload {
        name: "ping-pong 1 KiB",
        len: 1 << 10,
        connections: 8,
        outstanding: 1,
        target: 0.6,
    },
    Workload {
        name: "pipelined 20 B",
        len: 20,
        connections: 4,
        outstanding: 64,
        target: 0.1,
    },
    Workload {
        name: "pipelined 125 B",
        len: 125,
        connections: 4,
        outstanding: 64,
        target: 0.1,
    },
    Workload {
        name: "pipelined 1 KiB",
        len: 1 << 10,
        connections: 4,
        outstanding: 64,
        target: 0.1,
    },
];

/// Nothing on loopback takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let (rounds, turn) = if quick {
        (1, Duration::from_millis(100))
    } else {
        (7, Duration::from_millis(500))
    };
    let ours = Server::start(command(&arguments, "--ours"))?;
    let peer = Server::start(command(&arguments, "--peer"))?;
    let floor = Server::start(command(&arguments, "--floor"))?;

    println!(
        "## Blocking servers over loopback\n\n{}",
        conditions(rounds)
    );
    println!("Server's CPU time (user and system) in µs per message, a thread per connection;");
    println!(
        "in brackets: thousands of messages per second. One core each for server and generator.\n"
    );
    println!("| workload | `ws echo` | tungstenite | ratio | target | | floor | its ratio |");
    println!("|---|--:|--:|--:|--:|---|--:|--:|");
    for workload in &WORKLOADS {
        let (mut our_turns, mut peer_turns, mut floor_turns) = (vec![], vec![], vec![]);
        for _ in 0..rounds {
            our_turns.push(ours.load(workload, turn)?);
            peer_turns.push(peer.load(workload, turn)?);
            floor_turns.push(floor.load(workload, turn)?);
        }
        report(workload, &our_turns, &peer_turns, &floor_turns);
    }
    Ok(())
}

/// What one turn cost the server, and how much it got done.
struct Turn {
    cpu_us: f64,
    per_second: f64,
}

fn report(workload: &Workload, ours: &[Turn], peer: &[Turn], floor: &[Turn]) {
    let of = |turns: &[Turn], figure: fn(&Turn) -> f64| median(turns.iter().map(figure).collect());
    let cell = |turns| {
        let rate = of(turns, |turn| turn.per_second) / 1000.0;
        format!("{:.2} ({rate:.0})", of(turns, |turn| turn.cpu_us))
    };
    let ratio = |turns: &[Turn]| {
        let ratios = turns
            .iter()
            .zip(peer)
            .map(|(turn, peer)| turn.cpu_us / peer.cpu_us);
        median(ratios.collect())
    };
    println!(
        "| {}, {} × {} | {} | {} | {:.2} | {} | {} | {} | {:.2} |",
        workload.name,
        workload.connections,
        workload.outstanding,
        cell(ours),
        cell(peer),
        ratio(ours),
        workload.target,
        if ratio(ours) <= workload.target {
            "ok"
        } else {
            "**missed**"
        },
        cell(floor),
        ratio(floor),
    );
}

/// The words behind a flag, up to the next one of ours.
fn command<'a>(arguments: &'a [String], flag: &str) -> &'a [String] {
    let from = arguments
        .iter()
        .position(|word| word == flag)
        .map_or(arguments.len(), |at| at + 1);
    let words = &arguments[from..];
    let is_flag =
        |word: &String| ["--ours", "--peer", "--floor", "--quick"].contains(&word.as_str());
    &words[..words.iter().position(is_flag).unwrap_or(words.len())]
}

/// An echo server of its own process, killed when it is dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    /// Starts it; its first line names `ws://HOST:PORT/`.
    fn start(command: &[String]) -> Result<Self, Box<dyn Error>> {
        let [program, arguments @ ..] = command else {
            return Err("--ours, --peer and --floor".into());
        };
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{program}: {error}"))?;
        let stdout = child.stdout.take().ok_or("a pipe was asked for")?;
        let mut server = Self {
            child,
            address: String::new(),
        };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line
            .trim_end()
            .split_once("ws://")
            .map(|(_, rest)| rest.trim_end_matches('/'));
        server.address = address
            .ok_or(format!("{program} said {line:?}"))?
            .to_owned();
        Ok(server)
    }

    /// One turn over fresh connections.
    fn load(&self, workload: &Workload, turn: Duration) -> Result<Turn, Box<dyn Error>> {
        let batch = Batch::of(
            Kind::Binary,
            payload(Alphabet::Bytes, workload.len),
            workload.outstanding,
        );
        let mut connections = Vec::new();
        for _ in 0..workload.connections {
            connections.push(Connection::open(&self.address, &batch)?);
        }
        drive(&mut connections, &batch, turn / 10)?;
        // The threads of these connections live on until after the second look, so that no time
        // vanishes with them.
        let (cpu, start) = (self.cpu()?, Instant::now());
        let messages = drive(&mut connections, &batch, turn)? as f64;
        let (cpu, elapsed) = (self.cpu()? - cpu, start.elapsed());
        Ok(Turn {
            cpu_us: cpu.as_nanos() as f64 / 1000.0 / messages,
            per_second: messages / elapsed.as_secs_f64(),
        })
    }

    /// CPU time of all its threads, user and system: the first field of `schedstat`, in ns.
    fn cpu(&self) -> Result<Duration, Box<dyn Error>> {
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread of an earlier turn may end meanwhile; it is not what we measure.
            let Ok(line) = fs::read_to_string(task?.path().join("schedstat")) else {
                continue;
            };
            total += line.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
        Ok(Duration::from_nanos(total))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is collected.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keeps `outstanding` messages under way on each connection for a while, and counts the replies.
fn drive(
    connections: &mut [Connection],
    batch: &Batch,
    turn: Duration,
) -> Result<usize, Box<dyn Error>> {
    let start = Instant::now();
    let mut messages = 0;
    for connection in &mut *connections {
        connection.stream.write_all(&batch.wire)?;
    }
    while start.elapsed() < turn {
        for connection in &mut *connections {
            connection.await_replies()?;
            connection.stream.write_all(&batch.wire)?;
        }
        messages += connections.len() * batch.frames;
    }
    for connection in &mut *connections {
        connection.await_replies()?;
    }
    Ok(messages + connections.len() * batch.frames)
}

/// A client that knows what must come back.
struct Connection {
    stream: TcpStream,
    expected: Vec<u8>,
    received: Vec<u8>,
}

impl Connection {
    fn open(address: &str, batch: &Batch) -> Result<Self, Box<dyn Error>> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        // The key and its answer are RFC 6455's own (§1.3).
        stream.write_all(
            format!(
                "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            .as_bytes(),
        )?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.extend(byte);
        }
        let head = String::from_utf8(head)?;
        if !head.starts_with("HTTP/1.1 101 ") || !head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") {
            return Err(format!("no upgrade: {head}").into());
        }
        let expected = batch.replies();
        let received = vec![0; expected.len()];
        Ok(Self {
            stream,
            expected,
            received,
        })
    }

    fn await_replies(&mut self) -> Result<(), Box<dyn Error>> {
        self.stream.read_exact(&mut self.received)?;
        if self.received != self.expected {
            return Err("a reply differs from what was sent".into());
        }
        Ok(())
    }
}

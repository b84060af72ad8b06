//! A server that has no descriptors left: a process of its own, which is this test again.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, setrlimit};
use ws_mio::{Capacity, Context, Decision, Limit, Message, Server, Session, Shutdown, accept_with};

use crate::bytes::{frame, request};

const CHILD: &str = "WS_TEST_DESCRIPTORS";
const NAME: &str = "descriptors::sec_39_a_server_without_descriptors_serves_those_it_has";
const DESCRIPTORS: u64 = 64;

struct Echo;

impl Session for Echo {
    fn message(&mut self, message: Message<'_>, cx: &mut Context<'_>) {
        if let Message::Text(text) = message {
            _ = cx.send_text(text);
        }
    }
}

/// Serves until its input ends; tells its address first.
fn serve() {
    let limit = Rlimit {
        current: Some(DESCRIPTORS),
        maximum: Some(DESCRIPTORS),
    };
    setrlimit(Resource::Nofile, limit).expect("a limit may be lowered");
    let capacity = Capacity {
        connections: Limit::Unlimited,
        per_address: Limit::Unlimited,
        handshakes: Limit::Unlimited,
    };
    let server = Server::bind("127.0.0.1:0")
        .expect("a port")
        .capacity(capacity);
    println!("address {}", server.local_addr().expect("it has one"));
    let handle = server.handle();
    thread::spawn(move || {
        _ = std::io::stdin().read_to_end(&mut Vec::new());
        handle.shutdown(Shutdown::new());
    });
    server
        .run(accept_with(|_, _| Decision::accept(Echo)))
        .expect("it runs");
}

/// The other process; its end ends it.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

impl Process {
    fn start() -> (Self, SocketAddr) {
        let child = Command::new(env::current_exe().expect("this test"))
            .args(["--exact", NAME, "--nocapture"])
            .env(CHILD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut process = Self(child.expect("a process"));
        let output = process.0.stdout.take().expect("it is piped");
        let lines = BufReader::new(output).lines().map_while(Result::ok);
        let address = lines.filter_map(|line| Some(line.split_once("address ")?.1.parse()));
        let address = address.flatten().next().expect("an address");
        (process, address)
    }

    /// How many ticks of the processor it has used; there are a hundred in a second.
    #[cfg(target_os = "linux")]
    fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).expect("it runs");
        let (_, rest) = stat.rsplit_once(") ").expect("a name");
        let numbers: Vec<_> = rest.split(' ').collect();
        let number = |at: usize| numbers[at].parse::<u64>().expect("a number");
        number(11) + number(12)
    }

    #[cfg(not(target_os = "linux"))]
    fn ticks(&self) -> u64 {
        0
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("there is a backlog");
    let patience = Some(Duration::from_secs(20));
    stream.set_read_timeout(patience).expect("a timeout");
    stream
}

/// The handshake; `false` if the server ended the connection instead.
fn open(stream: &mut TcpStream) -> bool {
    if stream.write_all(&request("/")).is_err() {
        return false;
    }
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) => answer.push(byte[0]),
            // Closed, or reset as the request was not read.
            Ok(_) => return false,
            Err(error) => {
                assert_ne!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock,
                    "nobody answers"
                );
                return false;
            }
        }
    }
    answer.starts_with(b"HTTP/1.1 101 ")
}

fn is_served(stream: &mut TcpStream) {
    stream
        .write_all(&frame(0x81, b"hello"))
        .expect("it is open");
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).expect("it is served");
    assert_eq!(&answer, b"\x81\x05hello");
}

/// node #45242 and libuv #690, ranch #36, libmill, vibe.d: accepting fails at once, again and again,
/// and the loop does nothing else.
#[test]
fn sec_39_a_server_without_descriptors_serves_those_it_has() {
    if env::var_os(CHILD).is_some() {
        return serve();
    }
    let (process, address) = Process::start();
    let mut first = connect(address);
    assert!(open(&mut first));
    let mut open_ones = Vec::new();
    let mut turned_away = 0;
    let (started, ticks) = (Instant::now(), process.ticks());
    // One is turned away for each pause of the accepting, which lasts longer and longer.
    while turned_away < 5 {
        let mut stream = connect(address);
        match open(&mut stream) {
            true => open_ones.push(stream),
            false => turned_away += 1,
        }
        is_served(&mut first);
        assert!(open_ones.len() < DESCRIPTORS as usize);
    }
    assert!(open_ones.len() > 20, "{}", open_ones.len());
    let elapsed_ms = started.elapsed().as_millis() as u64;
    let used_ms = (process.ticks() - ticks) * 10;
    // Four pauses, of 50 ms to 400.
    assert!(elapsed_ms >= 740, "{elapsed_ms}");
    assert!(
        used_ms < 100 + elapsed_ms / 4,
        "{used_ms} of {elapsed_ms} ms"
    );
    for stream in &mut open_ones {
        is_served(stream);
    }
    // When some go, others are let in.
    drop(open_ones.split_off(10));
    let mut next = connect(address);
    while !open(&mut next) {
        next = connect(address);
    }
    is_served(&mut next);
    is_served(&mut first);
}

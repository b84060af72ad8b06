//! The `wsd` program: what it prints, what it answers, and how it ends.
#![cfg(all(feature = "cli", unix))]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use ws_std::{CloseCode, Error, Message, MessageKind, Stream, WebSocket};

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a server waits for a peer's Close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: server.example.com\r\n\
    Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// `wsd echo`; it does not outlive its test.
struct Echo {
    child: Child,
    stdout: BufReader<ChildStdout>,
    uri: String,
}

impl Echo {
    fn start(options: &[&str]) -> Self {
        Self::listen("127.0.0.1:0", options)
    }

    fn listen(address: &str, options: &[&str]) -> Self {
        let mut command = wsd(&["echo", "--listen", address]);
        let mut child = command
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it speaks");
        let uri = line.strip_prefix("listening on ").map(str::trim_end);
        let uri = uri.unwrap_or_else(|| panic!("where it listens, not {line:?}"));
        Self {
            child,
            stdout,
            uri: uri.to_owned(),
        }
    }

    fn address(&self) -> SocketAddr {
        let address = self.uri.strip_prefix("ws://");
        let address = address.and_then(|address| address.strip_suffix('/'));
        let address = address.expect("a URI of an address and the root");
        address.parse().expect("an address")
    }

    fn connect(&self) -> WebSocket<Stream> {
        ws_std::connect(&self.uri).expect("it listens")
    }

    fn tcp(&self) -> TcpStream {
        let tcp = TcpStream::connect(self.address()).expect("it listens");
        tcp.set_read_timeout(Some(PATIENCE)).expect("a socket");
        tcp
    }

    /// A peer behind the opening handshake that does nothing by itself.
    fn mute(&self) -> TcpStream {
        let mut tcp = self.tcp();
        tcp.write_all(REQUEST.as_bytes()).expect("written");
        let head = read_until(&mut tcp, b"\r\n\r\n");
        assert!(head.starts_with(b"HTTP/1.1 101 "));
        tcp
    }

    /// What it answers to these bytes, up to the end.
    fn answer(&self, bytes: &[u8]) -> String {
        let mut tcp = self.tcp();
        // The answer may come before all is written.
        _ = tcp.write_all(bytes);
        let mut answer = Vec::new();
        _ = tcp.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn kill(&self, signal: &str) {
        let id = self.child.id().to_string();
        let killed = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(killed.expect("it runs").success());
    }

    /// How it ended, and what it said since it listens.
    fn wait(mut self, patience: Duration) -> (ExitStatus, String) {
        let mut status = None;
        wait_until("it ends", patience, || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("it has ended");
        (status.expect("it has ended"), rest)
    }

    fn ends_well(self) {
        let (status, rest) = self.wait(PATIENCE);
        assert_eq!((status.code(), rest.as_str()), (Some(0), ""));
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn wsd(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wsd"));
    command.args(arguments);
    command
}

/// A run that is to end by itself.
fn run(arguments: &[&str]) -> Output {
    let mut command = wsd(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    let end = Instant::now() + PATIENCE;
    while child.try_wait().expect("our child").is_none() {
        if Instant::now() > end {
            _ = child.kill();
            panic!("{arguments:?} does not end");
        }
        thread::sleep(Duration::from_millis(1));
    }
    child.wait_with_output().expect("it has ended")
}

/// Waits until something holds, within bounds.
fn wait_until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain for: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn read_until(stream: &mut impl Read, mark: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(mark) {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("it goes on");
        bytes.push(byte[0]);
    }
    bytes
}

fn assert_echoes(socket: &mut WebSocket<Stream>, text: &str) {
    socket.send_text(text).expect("sent");
    assert_eq!(receive(socket).as_text(), Some(text));
}

fn receive(socket: &mut WebSocket<Stream>) -> Message {
    let received = socket.recv_timeout(PATIENCE).expect("no end");
    received.expect("a message in time")
}

/// The code with which the peer closes.
fn goodbye(socket: &mut WebSocket<Stream>) -> CloseCode {
    match socket.recv_timeout(PATIENCE) {
        Err(Error::Closed(closed)) => closed.code,
        other => panic!("{other:?} in place of a Close"),
    }
}

fn assert_refused(error: &Error) {
    assert!(matches!(error, Error::Connect(_) | Error::Io(_)), "{error}");
}

#[test]
fn echo_says_where_it_listens_and_echoes() {
    for options in [
        &[][..],
        &["--stream"],
        &["--loops", "2"],
        &["--stream", "--loops", "2"],
        &["--reuse-port", "--loops", "3"],
    ] {
        let echo = Echo::start(options);
        // More than there are loops.
        let mut sockets: Vec<_> = (0..5).map(|_| echo.connect()).collect();
        for (i, socket) in sockets.iter_mut().enumerate() {
            assert_echoes(socket, &format!("wörld {i}"));
            socket.send_binary(b"\0\xff").expect("sent");
            assert_eq!(receive(socket).as_bytes(), b"\0\xff");
            assert_echoes(socket, "");
            // What no buffer holds.
            assert_echoes(socket, &"x".repeat(1 << 20));
            socket.begin(MessageKind::Text).expect("begun");
            socket.send_fragment("ä".as_bytes()).expect("sent");
            socket.finish("ö".as_bytes()).expect("sent");
            assert_eq!(receive(socket).as_text(), Some("äö"));
        }
        for mut socket in sockets {
            socket.close(CloseCode::new(4000), "why").expect("sent");
            assert_eq!(goodbye(&mut socket), CloseCode::new(4000), "{options:?}");
        }
        echo.kill("TERM");
        echo.ends_well();
    }
}

#[test]
fn limits_hold_for_messages_and_their_parts() {
    for options in [&[][..], &["--stream"]] {
        let limits = ["--max-message", "100", "--max-fragments", "3"];
        let echo = Echo::start(&[&limits[..], options].concat());
        let code = |send: &dyn Fn(&mut WebSocket<Stream>)| {
            let mut socket = echo.connect();
            assert_echoes(&mut socket, &"x".repeat(100));
            send(&mut socket);
            goodbye(&mut socket)
        };
        let too_long = code(&|socket| _ = socket.send_text(&"x".repeat(101)));
        assert_eq!(too_long, CloseCode::MESSAGE_TOO_BIG, "{options:?}");
        let too_many = code(&|socket| {
            socket.begin(MessageKind::Text).expect("begun");
            for _ in 0..5 {
                _ = socket.send_fragment(b"x");
            }
        });
        assert_ne!(too_many, CloseCode::NORMAL, "{options:?}");
    }
}

#[test]
fn subprotocol_is_the_first_of_ours_that_is_offered() {
    let echo = Echo::start(&["--subprotocol", "b", "--subprotocol", "a"]);
    let agreed = |offers: &[&str]| {
        let mut client = ws_std::Client::new();
        for offer in offers {
            client = client.subprotocol(offer);
        }
        let socket = client.connect(&echo.uri).expect("connected");
        socket.subprotocol().map(str::to_owned)
    };
    assert_eq!(agreed(&["a", "b"]).as_deref(), Some("b"));
    assert_eq!(agreed(&["c", "a"]).as_deref(), Some("a"));
    assert_eq!(agreed(&["c"]), None);
    assert_eq!(agreed(&[]), None);
}

#[cfg(target_os = "linux")]
#[test]
fn loops_have_threads_of_their_own() {
    let echo = Echo::start(&["--loops", "3"]);
    // Of the last loop's being there nothing else tells.
    let names = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", echo.child.id()));
        let names = tasks.expect("it runs").filter_map(|task| {
            let name = fs::read_to_string(task.ok()?.path().join("comm")).ok()?;
            Some(name.trim_end().to_owned())
        });
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    // And one loop has none: what threads share makes each system call dearer.
    let expected = ["ws-loop-1", "ws-loop-2", "wsd"];
    wait_until("three loops", PATIENCE, || names() == expected);
}

#[test]
fn port_is_shared_among_processes_that_say_so() {
    let first = Echo::start(&["--reuse-port"]);
    assert_echoes(&mut first.connect(), "first");
    let address = first.address().to_string();
    let second = Echo::listen(&address, &["--reuse-port", "--loops", "2"]);
    assert_eq!(first.uri, second.uri);
    let sockets = (0..8).map(|_| second.connect());
    for mut socket in sockets.collect::<Vec<_>>() {
        assert_echoes(&mut socket, "either");
    }
    first.kill("TERM");
    first.ends_well();
    assert_echoes(&mut second.connect(), "second");
}

#[test]
fn address_in_use_is_told_and_ends_it_with_3() {
    for options in [&[][..], &["--reuse-port"]] {
        let first = Echo::start(options);
        let address = first.address().to_string();
        // Sharing takes two.
        let arguments = ["echo", "--listen", &address];
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(3));
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_clear = shown.starts_with(&format!("wsd: {address}: ")) && shown.contains("in use");
        assert!(is_clear && shown.lines().count() == 1, "{shown}");
        assert_eq!(output.stdout, b"");
        assert_echoes(&mut first.connect(), "unharmed");
    }
}

#[test]
fn bad_arguments_are_usage_errors() {
    for arguments in [
        &[][..],
        &["nonsense"],
        &["echo", "nonsense"],
        &["echo", "--nonsense"],
        &["echo", "--listen"],
        &["echo", "--listen", "nowhere"],
        &["echo", "--listen", "127.0.0.1"],
        &["echo", "--listen", "127.0.0.1:65536"],
        &["echo", "--loops", "0"],
        &["echo", "--loops", "1025"],
        &["echo", "--loops", "-1"],
        &["echo", "--max-message", "-1"],
        &["echo", "--max-message", "1e6"],
        &["echo", "--max-fragments", "many"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(output.stdout, b"", "{arguments:?}");
        assert_ne!(output.stderr, b"", "{arguments:?}");
    }
}

#[test]
fn signal_says_goodbye_to_all_and_ends_it_in_order() {
    for signal in ["INT", "TERM"] {
        for options in [
            &[][..],
            &["--loops", "2"],
            &["--reuse-port", "--loops", "2"],
        ] {
            let echo = Echo::start(options);
            let mut half = echo.tcp();
            half.write_all(&REQUEST.as_bytes()[..30]).expect("written");
            let mut sockets: Vec<_> = (0..4).map(|_| echo.connect()).collect();
            for socket in &mut sockets {
                assert_echoes(socket, "here");
            }
            echo.kill(signal);
            for socket in &mut sockets {
                assert_eq!(
                    goodbye(socket),
                    CloseCode::GOING_AWAY,
                    "{signal} {options:?}"
                );
            }
            let mut answer = String::new();
            _ = half.read_to_string(&mut answer);
            // Where its loop had not accepted it yet, it is just gone.
            let is_answered = answer.starts_with("HTTP/1.1 503 ");
            let is_certain = options.is_empty();
            assert!(is_answered || answer.is_empty() && !is_certain, "{answer}");
            // It lingers for those who do not end.
            drop(half);
            let refused = ws_std::connect(&echo.uri).expect_err("nobody accepts");
            assert_refused(&refused);
            echo.ends_well();
        }
    }
}

#[test]
fn second_signal_ends_it_at_once() {
    for (first, second) in [("INT", "INT"), ("TERM", "INT"), ("INT", "TERM")] {
        for options in [&[][..], &["--loops", "2"]] {
            let echo = Echo::start(options);
            let mut peers: Vec<_> = (0..2).map(|_| echo.mute()).collect();
            echo.kill(first);
            for peer in &mut peers {
                let goodbye = read_until(peer, b"\x03\xe9");
                assert_eq!(goodbye, b"\x88\x02\x03\xe9");
            }
            // It waits for their Closes, and they will not come.
            echo.kill(second);
            let (status, rest) = echo.wait(CLOSE_TIMEOUT / 2);
            assert_eq!((status.code(), rest.as_str()), (Some(0), ""), "{options:?}");
            for mut peer in peers {
                _ = peer.read_to_end(&mut Vec::new());
            }
        }
    }
}

/// Whatever anybody sends, it stays up and keeps nothing.
#[cfg(target_os = "linux")]
#[test]
fn rubbish_does_no_harm_and_leaves_no_descriptors() {
    for options in [&[][..], &["--stream", "--loops", "2"]] {
        let echo = Echo::start(options);
        let directory = format!("/proc/{}/fd", echo.child.id());
        let descriptors = || fs::read_dir(&directory).expect("it runs").count();
        let mut regular = echo.connect();
        assert_echoes(&mut regular, "before");
        let before = descriptors();
        for seed in 1..=4 {
            answers(&echo);
            random_bytes(&echo, seed);
            halves(&echo);
            resets(&echo);
        }
        wait_until("descriptors are given back", PATIENCE, || {
            descriptors() <= before
        });
        assert_echoes(&mut regular, "still here");
        assert_echoes(&mut echo.connect(), "and for others");
        echo.kill("TERM");
        assert_eq!(goodbye(&mut regular), CloseCode::GOING_AWAY);
        echo.ends_well();
    }
}

fn answers(echo: &Echo) {
    let plain = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned();
    let old = REQUEST.replace("Version: 13", "Version: 8");
    let no_key = REQUEST.replace("Sec-WebSocket-Key", "X-Key");
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx".to_owned();
    let long_line = format!("GET /{} HTTP/1.1\r\n", "x".repeat(9000));
    let long_head = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(1 << 20));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(101));
    for (request, status) in [
        (plain.as_bytes(), "426"),
        (old.as_bytes(), "426"),
        (no_key.as_bytes(), "400"),
        (post.as_bytes(), "426"),
        (b"GET / HTTP/1.0\r\n\r\n", "426"),
        (long_line.as_bytes(), "414"),
        (long_head.as_bytes(), "431"),
        (many.as_bytes(), "431"),
        // The beginning of a TLS ClientHello.
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", "400"),
        (b"\n", "400"),
    ] {
        let answer = echo.answer(request);
        let shown = String::from_utf8_lossy(&request[..request.len().min(40)]);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{shown:?} is answered {answer:?}"
        );
    }
}

/// Before the handshake, and behind it.
fn random_bytes(echo: &Echo, seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for len in [1, 10, 1000, 100_000] {
        let bytes: Vec<u8> = (0..len)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state as u8
            })
            .collect();
        for mut tcp in [echo.tcp(), echo.mute()] {
            _ = tcp.write_all(&bytes);
            finish(tcp);
        }
    }
}

/// Requests and frames that end in the middle.
fn halves(echo: &Echo) {
    for len in [0, 1, 3, 4, 30, REQUEST.len() - 1] {
        let mut tcp = echo.tcp();
        tcp.write_all(&REQUEST.as_bytes()[..len]).expect("written");
        finish(tcp);
    }
    let frame = [&[0x82, 0xfe, 1, 44, 1, 2, 3, 4][..], &[0; 300]].concat();
    for len in [0, 1, 2, 5, 8, 100, frame.len() - 1] {
        let mut tcp = echo.mute();
        tcp.write_all(&frame[..len]).expect("written");
        finish(tcp);
    }
    // A header which declares more than anybody will send.
    let mut tcp = echo.mute();
    let huge = [0x82, 0xff, 0, 0, 0, 0, 0, 0x0f, 0, 0, 1, 2, 3, 4, 5];
    tcp.write_all(&huge).expect("written");
    finish(tcp);
}

/// Closed while the answer is on its way, which makes a reset of it.
fn resets(echo: &Echo) {
    drop(echo.tcp());
    let mut tcp = echo.tcp();
    tcp.write_all(REQUEST.as_bytes()).expect("written");
    drop(tcp);
    let mut tcp = echo.mute();
    for _ in 0..100 {
        // "Hello", with a masking key of zeros.
        if tcp.write_all(b"\x81\x85\0\0\0\0Hello").is_err() {
            break;
        }
    }
    drop(tcp);
}

/// Ends our half, and reads the other to its end.
fn finish(mut tcp: TcpStream) {
    _ = tcp.shutdown(Shutdown::Write);
    let ended = tcp.read_to_end(&mut Vec::new());
    let is_late = ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    assert!(!is_late, "it does not notice the end");
}

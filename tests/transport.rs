//! Rows of the checklist and faults that an adapter has to obey, on `ws-std`: over a stream of our
//! own that misbehaves as told, and over sockets where sockets matter.

use std::{
    cell::RefCell,
    collections::{HashSet, VecDeque},
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    rc::Rc,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use ws_proto::{
    Config, Initiator, Limit, Role, Timeout, Violation,
    frame::{
        FrameHeader,
        Opcode::{self, Continuation, Ping, Pong},
    },
};
use ws_std::{Client, Closed, Error, RECEIVE_BUFFER, Reject, Server, Stage, Transport, WebSocket};
use ws_tests::{
    Frame, Frames,
    case::{ROLES, close_frame, frame, pattern},
};

const RESPONSE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// What a read brings.
#[derive(Clone, Debug)]
enum Reading {
    Bytes(Vec<u8>),
    /// The same bytes, as often as they are asked for.
    Endless(Vec<u8>),
    Error(ErrorKind),
    End,
}

/// What a write takes.
#[derive(Clone, Copy, Debug)]
enum Writing {
    All,
    /// At most so many bytes.
    AtMost(usize),
    /// At most so many bytes, and every other time none for now.
    Haltingly(usize),
    /// None, and says that this was fine.
    Zero,
    /// None for now.
    Never,
}

/// A stream that does as it is told, and tells what was done to it.
#[derive(Clone)]
struct Tape(Rc<RefCell<State>>);

struct State {
    readings: VecDeque<Reading>,
    writing: Writing,
    written: Vec<u8>,
    reads: usize,
    writes: usize,
    bytes_read: usize,
    /// The longest buffer that was to be filled.
    longest_read: usize,
    read_timeouts: Vec<Option<Duration>>,
    /// What was written when the writing half was ended.
    shut_down_at: Option<usize>,
}

impl Tape {
    fn new(readings: impl IntoIterator<Item = Reading>, writing: Writing) -> Self {
        Self(Rc::new(RefCell::new(State {
            readings: readings.into_iter().collect(),
            writing,
            written: Vec::new(),
            reads: 0,
            writes: 0,
            bytes_read: 0,
            longest_read: 0,
            read_timeouts: Vec::new(),
            shut_down_at: None,
        })))
    }

    fn written(&self) -> Vec<u8> {
        self.0.borrow().written.clone()
    }

    fn frames(&self) -> Vec<Frame> {
        Frame::read_all(&self.written())
    }
}

impl Read for Tape {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let state = &mut *self.0.borrow_mut();
        state.reads += 1;
        state.longest_read = state.longest_read.max(to.len());
        let (bytes, rest) = match state.readings.pop_front() {
            Some(Reading::Bytes(bytes)) if bytes.len() > to.len() => {
                let rest = bytes[to.len()..].to_vec();
                (bytes, Some(Reading::Bytes(rest)))
            }
            Some(Reading::Bytes(bytes)) => (bytes, None),
            Some(Reading::Endless(bytes)) => (bytes.clone(), Some(Reading::Endless(bytes))),
            Some(Reading::Error(kind)) => return Err(kind.into()),
            Some(Reading::End) | None => (Vec::new(), Some(Reading::End)),
        };
        if let Some(rest) = rest {
            state.readings.push_front(rest);
        }
        let len = bytes.len().min(to.len());
        to[..len].copy_from_slice(&bytes[..len]);
        state.bytes_read += len;
        Ok(len)
    }
}

impl Write for Tape {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let state = &mut *self.0.borrow_mut();
        state.writes += 1;
        assert!(state.writes < 10_000_000, "it writes for ever");
        let most = match state.writing {
            Writing::All => from.len(),
            Writing::AtMost(most) => most,
            Writing::Haltingly(most) if state.writes.is_multiple_of(2) => most,
            Writing::Haltingly(_) | Writing::Never => return Err(ErrorKind::WouldBlock.into()),
            Writing::Zero => {
                assert!(state.writes < 100, "it asks again and again");
                0
            }
        };
        let len = from.len().min(most);
        state.written.extend_from_slice(&from[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Tape {
    fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.borrow_mut().read_timeouts.push(timeout);
        Ok(())
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        let state = &mut *self.0.borrow_mut();
        state.shut_down_at.get_or_insert(state.written.len());
        Ok(())
    }
}

fn socket(role: Role, tape: &Tape, config: Config) -> WebSocket<Tape> {
    match role {
        Role::Client => WebSocket::client(tape.clone(), Arc::new(config)),
        Role::Server => WebSocket::server(tape.clone(), Arc::new(config)),
    }
}

/// One byte per read.
fn trickle(bytes: &[u8]) -> Vec<Reading> {
    bytes
        .iter()
        .map(|byte| Reading::Bytes(vec![*byte]))
        .collect()
}

/// A server whose handler echoes, and calls `decide` for each request.
fn serve(server: Server) -> (SocketAddr, impl FnOnce()) {
    let address = server.local_addr().expect("it is bound");
    let handle = server.handle();
    let serving = thread::spawn(move || {
        server.serve(|socket| {
            loop {
                let message = socket.recv()?;
                socket.send(&message)?;
            }
        })
    });
    let stop = move || {
        handle.shutdown(Duration::from_secs(10));
        serving
            .join()
            .expect("it does not panic")
            .expect("it ends well");
    };
    (address, stop)
}

fn bind() -> Server {
    Server::bind("127.0.0.1:0").expect("there is a free port")
}

/// A socket to a server; whatever is awaited there comes at once, or never.
fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("it is no zero");
    stream
}

/// Sends a request, and reads all that is answered until the server ends the stream.
fn ask(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = dial(address);
    stream.write_all(request).expect("it reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .expect("it answers, and ends the stream");
    answer
}

/// The same after the opening handshake, whose response is read.
fn open(address: SocketAddr) -> TcpStream {
    let mut stream = dial(address);
    stream.write_all(REQUEST.as_bytes()).expect("it reads");
    let mut response = vec![0; RESPONSE.len()];
    stream.read_exact(&mut response).expect("it answers");
    assert_eq!(response, RESPONSE.as_bytes());
    stream
}

/// One deadline covers all of connecting: each read of the response is given what is left of it, and
/// no more for what has come.
#[test]
fn rfc_007_one_deadline_covers_the_whole_handshake() {
    let tape = Tape::new(trickle(&RESPONSE.as_bytes()[..100]), Writing::All);
    let patience = Duration::from_secs(60);
    let connected = Client::new()
        .connect_timeout(patience)
        .connect_on(tape.clone(), "ws://h")
        .map(drop);
    assert!(matches!(connected, Err(Error::NoResponse)), "{connected:?}");
    let timeouts: Vec<_> = tape
        .0
        .borrow()
        .read_timeouts
        .iter()
        .flatten()
        .copied()
        .collect();
    assert!(timeouts.len() >= 100, "{}", timeouts.len());
    assert!(timeouts[0] <= patience);
    assert!(timeouts.is_sorted_by(|a, b| a >= b), "{timeouts:?}");
    assert!(
        timeouts.last() < timeouts.first(),
        "it is the time that is left"
    );
}

/// A server that accepts the connection and falls silent.
#[test]
fn rfc_007_client_gives_up_a_server_that_stalls() {
    for said in [
        "",
        "HTTP/1.1 101 Switching Protocols\r\nUpg",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let (given_up, wait) = mpsc::channel::<()>();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody connects");
            stream.write_all(said.as_bytes()).expect("it reads");
            // The socket is kept until the client has gone.
            let _ = wait.recv();
        });
        let connected = Client::new()
            .connect_timeout(Duration::from_millis(50))
            .connect(&format!("ws://{address}"))
            .map(drop);
        assert!(
            matches!(connected, Err(Error::Timeout(Stage::Handshake))),
            "{connected:?}"
        );
        drop(given_up);
        server.join().expect("it does not panic");
    }
}

/// RFC 6455 §4.1(7): "The nonce MUST be selected randomly for each connection."
#[test]
fn rfc_010_key_is_fresh_for_each_attempt() {
    let client = Client::new();
    let keys: HashSet<_> = (0..10_000)
        .map(|_| {
            let tape = Tape::new([Reading::End], Writing::All);
            let connected = client.connect_on(tape.clone(), "ws://h").map(drop);
            assert!(matches!(connected, Err(Error::NoResponse)), "{connected:?}");
            let request = String::from_utf8(tape.written()).expect("ASCII");
            let (_, key) = request
                .split_once("Sec-WebSocket-Key: ")
                .expect("it has a key");
            key.split_once("\r\n").expect("a line ends").0.to_owned()
        })
        .collect();
    assert_eq!(keys.len(), 10_000);
    assert!(
        keys.iter()
            .all(|key| key.len() == 24 && key.ends_with("=="))
    );
}

/// RFC 6455 §4.1: "Once the client's opening handshake has been sent, the client MUST wait for a
/// response from the server before sending any further data."
#[test]
fn rfc_014_nothing_follows_the_request_before_the_response() {
    // The accept is wrong, which shows with the last byte only.
    let tape = Tape::new(trickle(RESPONSE.as_bytes()), Writing::All);
    let connected = Client::new().connect_on(tape.clone(), "ws://h").map(drop);
    assert!(connected.is_err());
    let written = String::from_utf8(tape.written()).expect("nothing but the request");
    assert!(written.starts_with("GET / HTTP/1.1\r\n") && written.ends_with("\r\n\r\n"));
    assert_eq!(written.matches("\r\n\r\n").count(), 1, "{written}");
}

/// RFC 6455 §4.2.2(4): 403 for an origin, 404 for a resource, and in either case no 101 before it.
#[test]
fn rfc_026_refusals_of_the_application_come_instead_of_the_101() {
    let server = bind().on_request(|request| match request.headers().get_str("Origin") {
        Some(origin) if origin != "https://good.example" => Reject::new(403).into(),
        _ if request.path() != "/" => Reject::new(404).body("no such room").into(),
        _ => ws_std::Accept::new().into(),
    });
    let (address, stop) = serve(server);
    let evil = REQUEST.replace("\r\n\r\n", "\r\nOrigin: https://evil.example\r\n\r\n");
    let answer = ask(address, evil.as_bytes());
    assert!(
        answer.starts_with("HTTP/1.1 403 Forbidden\r\nConnection: close\r\n"),
        "{answer}"
    );
    let elsewhere = REQUEST.replace("GET /", "GET /elsewhere");
    let answer = ask(address, elsewhere.as_bytes());
    assert!(
        answer.starts_with("HTTP/1.1 404 Not Found\r\nConnection: close\r\n"),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n\r\nno such room"), "{answer}");
    let mut stream = open(address);
    stream
        .write_all(&Frames::of(Role::Client).close(1000, "").take())
        .expect("it reads");
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .expect("the server ends the stream");
    stop();
}

/// RFC 6455 §5.3: "The masking key needs to be unpredictable; thus, the masking key MUST be derived
/// from a strong source of entropy". Over 100 000 frames no byte of the keys prefers a value, and no
/// key foretells the next.
#[test]
fn rfc_046_keys_of_a_client_are_spread_evenly() {
    const FRAMES: usize = 100_000;
    let keys_of_a_thread = |frames: usize| -> Vec<[u8; 4]> {
        let tape = Tape::new([], Writing::All);
        let mut client = socket(Role::Client, &tape, Config::new());
        for _ in 0..frames {
            client.send_binary(b"").expect("it is open");
        }
        let written = tape.written();
        let keys = written.chunks(6).map(|frame| {
            let (header, len) = FrameHeader::parse(frame).expect("good").expect("whole");
            assert_eq!(len, 6);
            header
                .masking_key
                .expect("a client's frame has a mask")
                .to_bytes()
        });
        keys.collect()
    };
    let keys = keys_of_a_thread(FRAMES);
    assert_eq!(keys.len(), FRAMES);

    // Of 2^32 keys, 100 000 collide once or twice by chance; ten times is no chance any more.
    let distinct: HashSet<_> = keys.iter().collect();
    assert!(
        FRAMES - distinct.len() < 10,
        "{} keys twice",
        FRAMES - distinct.len()
    );
    let next_minus_last = keys.windows(2).map(|pair| {
        u32::from_ne_bytes(pair[1])
            .wrapping_sub(u32::from_ne_bytes(pair[0]))
            .to_ne_bytes()
    });
    for bytes in [keys.clone(), next_minus_last.collect()] {
        for place in 0..4 {
            let mut counts = [0_u32; 256];
            for key in &bytes {
                counts[usize::from(key[place])] += 1;
            }
            let expected = bytes.len() as f64 / 256.0;
            let chi_square: f64 = counts
                .iter()
                .map(|&n| (f64::from(n) - expected).powi(2) / expected)
                .sum();
            // 255 degrees of freedom: 255 ± 23. Six deviations to either side.
            assert!(
                (120.0..400.0).contains(&chi_square),
                "byte {place}: {chi_square}"
            );
        }
    }
    // Another thread has another seed.
    let others = thread::spawn(move || keys_of_a_thread(1000))
        .join()
        .expect("it does not panic");
    assert!(others.iter().filter(|key| distinct.contains(key)).count() < 5);
}

/// RFC 6455 §5.5.2: "It SHOULD respond with Pong frame as soon as is practical." It leaves with the
/// replies to the read that brought the ping, in one write, before anything more is read; and between
/// frames, also where the ping comes inside a message.
#[test]
fn rfc_076_pong_leaves_before_the_next_read() {
    for role in ROLES {
        let mut peer = Frames::of(role.peer());
        let read = peer
            .frame(false, Opcode::Text, "a")
            .ping("1")
            .ping("2")
            .take();
        let rest = peer.frame(true, Continuation, "b").take();
        let readings = [
            Reading::Bytes(read),
            Reading::Error(ErrorKind::WouldBlock),
            Reading::Bytes(rest),
        ];
        let tape = Tape::new(readings, Writing::All);
        let mut socket = socket(role, &tape, Config::new());
        assert!(matches!(
            socket.recv_timeout(Duration::from_secs(60)),
            Ok(None)
        ));
        let pongs = [frame(role, true, Pong, b"1"), frame(role, true, Pong, b"2")];
        assert_eq!(tape.frames(), pongs);
        assert_eq!(tape.0.borrow().writes, 1);
        assert_eq!(socket.recv().expect("it comes").as_text(), Some("ab"));
        // Between the fragments of a message of our own.
        socket.begin(ws_std::MessageKind::Text).expect("it is open");
        socket.send_fragment(b"x").expect("it was begun");
        let ping = Frames::of(role.peer()).ping("3").take();
        tape.0
            .borrow_mut()
            .readings
            .push_front(Reading::Error(ErrorKind::WouldBlock));
        tape.0
            .borrow_mut()
            .readings
            .push_front(Reading::Bytes(ping));
        assert!(matches!(
            socket.recv_timeout(Duration::from_secs(60)),
            Ok(None)
        ));
        socket.finish(b"y").expect("it was begun");
        let sent = [
            frame(role, false, Opcode::Text, b"x"),
            frame(role, true, Pong, b"3"),
            frame(role, true, Continuation, b"y"),
        ];
        assert_eq!(tape.frames()[2..], sent);
    }
}

/// RFC 6455 §7.1.1: "the server MUST close the TCP connection immediately". The client here keeps its
/// half open, and reads the end all the same: whoever began.
#[test]
fn rfc_088_server_ends_the_stream_after_both_closes() {
    let (address, stop) = serve(bind());
    let mut stream = open(address);
    let close = Frames::of(Role::Client).close(1000, "bye").take();
    stream.write_all(&close).expect("it reads");
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .expect("the server ends the stream");
    assert_eq!(answer, b"\x88\x02\x03\xe8");
    drop(stream);

    // The server begins: its handler fails.
    let server = bind();
    let (failing, handle) = (server.local_addr().expect("it is bound"), server.handle());
    let serving = thread::spawn(move || server.serve(|_| Err("it fails".into())));
    let mut stream = open(failing);
    let mut first = [0; 4];
    stream.read_exact(&mut first).expect("a Close");
    assert_eq!(&first, b"\x88\x02\x03\xf3");
    stream
        .write_all(&Frames::of(Role::Client).close(1011, "").take())
        .expect("it reads");
    assert_eq!(stream.read(&mut first).expect("the end"), 0);
    drop(stream);
    handle.shutdown(Duration::from_secs(10));
    serving
        .join()
        .expect("it does not panic")
        .expect("it ends well");
    stop();
}

/// RFC 6455 §7.1.1: "the client SHOULD wait for the server to close the connection". It goes on
/// reading after both Closes, to the end; and gives up a server that keeps the socket.
#[test]
fn rfc_089_client_waits_for_the_end_of_the_stream() {
    let close = Frames::of(Role::Server).close(1000, "bye").take();
    let tape = Tape::new([Reading::Bytes(close.clone()), Reading::End], Writing::All);
    let mut client = socket(Role::Client, &tape, Config::new());
    client.close(1000.into(), "").expect("it is open");
    let closed = client.wait_closed().expect("it ends well");
    assert!(closed.clean && closed.reason == "bye", "{closed:?}");
    assert_eq!(tape.0.borrow().reads, 2, "the Close, and the end");
    assert_eq!(tape.0.borrow().shut_down_at, Some(8), "behind our Close");

    let (stream, mut keeper) = std::os::unix::net::UnixStream::pair().expect("there are sockets");
    let mut config = Config::new();
    config.timeouts.end_of_input = Timeout::Ms(30);
    let mut client = WebSocket::client(stream, Arc::new(config));
    keeper.write_all(&close).expect("there is room");
    let closed = client.wait_closed().expect("it ends well");
    assert_eq!((closed.clean, closed.initiator), (true, Initiator::Peer));
    drop(client);
    let mut sent = Vec::new();
    keeper.read_to_end(&mut sent).expect("the client has gone");
    assert_eq!(Frame::read_all(&sent), [close_frame(Role::Client, 1000)]);
}

/// RFC 6455 §7.1.7: after failing, what the peer still sends is read and dropped, so that it can read
/// our Close instead of a reset; but not for ever.
#[test]
fn rfc_093_flood_after_a_violation_is_dropped_and_bounded() {
    for role in ROLES {
        let violation = Frames::of(role.peer()).first_byte(0x83, "").take();
        let flood = Frames::of(role.peer())
            .ping("flood")
            .text("flood")
            .take()
            .repeat(100);
        let readings = [Reading::Bytes(violation), Reading::Endless(flood)];
        let tape = Tape::new(readings, Writing::All);
        let mut socket = socket(role, &tape, Config::new());
        for _ in 0..3 {
            let error = socket.recv().expect_err("the peer broke a rule");
            assert!(
                matches!(error, Error::Violation(Violation::ReservedOpcode)),
                "{error}"
            );
        }
        assert_eq!(tape.frames(), [close_frame(role, 1002)]);
        let state = tape.0.borrow();
        assert_eq!(
            state.shut_down_at,
            Some(state.written.len()),
            "behind the Close"
        );
        assert!(state.bytes_read > 1000, "it lingers");
        assert!(
            state.bytes_read <= (16 << 20) + 2 * RECEIVE_BUFFER,
            "{}",
            state.bytes_read
        );
    }
}

/// The same over a socket: the peer, which still sends, reads the Close and the end.
#[test]
fn rfc_093_peer_that_floods_reads_our_close() {
    let (address, stop) = serve(bind());
    let mut stream = open(address);
    let violation = Frames::of(Role::Client).first_byte(0x83, "").take();
    let flood = Frames::of(Role::Client).binary(pattern(20_000)).take();
    stream
        .write_all(&[violation, flood].concat())
        .expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("no reset");
    assert_eq!(answer, b"\x88\x02\x03\xea");
    stop();
}

/// RFC 6455 §7.1.5: "If _The WebSocket Connection is Closed_ and no Close control frame was received
/// by the endpoint (such as could occur if the underlying transport connection is lost), _The
/// WebSocket Connection Close Code_ is considered to be 1006." Told once by the protocol, and as often
/// as it is asked for by the adapter, without another read.
#[test]
fn rfc_095_end_without_close_is_told_and_not_read_again() {
    for role in ROLES {
        let whole = Frames::of(role.peer()).text("whole").take();
        let part = Frames::of(role.peer())
            .frame(false, Opcode::Text, "part")
            .take();
        let header = Frames::of(role.peer()).text("cut").cut_off(4).take();
        let abnormal = |error: &Error| matches!(error, Error::Closed(Closed { code, clean: false, .. }) if code.get() == 1006);
        let truncated = |error: &Error| matches!(error, Error::Truncated);
        let reset = |error: &Error| matches!(error, Error::Io(error) if error.kind() == ErrorKind::ConnectionReset);
        type Judge<'a> = &'a dyn Fn(&Error) -> bool;
        let end = Reading::End;
        let broken = Reading::Error(ErrorKind::ConnectionReset);
        let table: [(&[u8], &Reading, Judge<'_>); 5] = [
            (b"", &end, &abnormal),
            (&part, &end, &truncated),
            (&header, &end, &truncated),
            (b"", &broken, &reset),
            (&part, &broken, &reset),
        ];
        for (bytes, last, judge) in table {
            let bytes = [&whole[..], bytes].concat();
            let tape = Tape::new([Reading::Bytes(bytes), last.clone()], Writing::All);
            let mut socket = socket(role, &tape, Config::new());
            assert_eq!(socket.recv().expect("it came").as_text(), Some("whole"));
            for _ in 0..3 {
                let error = socket.recv().expect_err("it has ended");
                assert!(judge(&error), "{error:?}");
            }
            assert!(tape.0.borrow().reads <= 3, "{}", tape.0.borrow().reads);
            assert!(matches!(socket.send_text("more"), Err(Error::Closing)));
            drop(socket);
            assert_eq!(tape.frames(), [], "nobody is there to read it");
        }
    }
}

/// Half of a connection that a peer ended can still be written to: what it asked for before, it gets.
#[test]
fn rfc_095_half_closed_peer_reads_its_answers() {
    let (address, stop) = serve(bind());
    let mut stream = open(address);
    stream
        .write_all(&Frames::of(Role::Client).text("last words").take())
        .expect("it reads");
    stream.shutdown(Shutdown::Write).expect("it is open");
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .expect("the server ends the stream");
    assert!(answer.starts_with(b"\x81\x0alast words"), "{answer:x?}");
    stop();
}

/// RFC 6455 §7.1.6: the reason "is not guaranteed to be human readable" and "MUST NOT be shown to end
/// users" by a client; what shows it for people who want to know, escapes it.
#[test]
fn rfc_097_close_reason_is_escaped_where_it_is_shown() {
    for (reason, shown) in [
        ("bye \u{e9}", "bye \u{e9}"),
        ("\u{1b}[2J", "\\u{1b}[2J"),
        ("a\nb\r\t\0", "a\\nb\\r\\t"),
        ("\u{9b}2J\u{7f}", "\\u{9b}2J\\u{7f}"),
        ("\u{202e}abc", "\\u{202e}abc"),
    ] {
        let close = Frames::of(Role::Server).close(4000, reason).take();
        let tape = Tape::new([Reading::Bytes(close), Reading::End], Writing::All);
        let error = socket(Role::Client, &tape, Config::new())
            .recv()
            .expect_err("it is closed");
        let text = error.to_string();
        assert!(text.contains(shown), "{text}");
        assert!(!text.chars().any(char::is_control), "{text:?}");
        assert!(!text.contains('\u{202e}'), "{text:?}");
        assert_eq!(
            error.closed().map(|closed| &closed.reason[..]),
            Some(reason),
            "for programs"
        );
        assert!(
            ws_std::escape(reason).contains(shown),
            "{}",
            ws_std::escape(reason)
        );
    }
}

/// Pending replies of 20 MB were seen. Here nothing more is read while replies cannot leave.
#[test]
fn fault_08_peer_that_pings_and_does_not_read_is_not_read_from() {
    for role in ROLES {
        let pings = Frames::of(role.peer())
            .ping(pattern(125))
            .take()
            .repeat(1000);
        let tape = Tape::new([Reading::Endless(pings)], Writing::Never);
        let mut socket = socket(role, &tape, Config::new());
        for _ in 0..10 {
            let stuck = socket.recv();
            assert!(
                matches!(stuck, Err(Error::Timeout(Stage::Send))),
                "{stuck:?}"
            );
            assert!(tape.0.borrow().bytes_read <= 2 * RECEIVE_BUFFER);
        }
        assert_eq!(tape.written(), b"");
    }
}

/// What is read into grows with what has come, not with what was declared.
#[test]
fn fault_09_declared_length_is_no_length_of_a_read() {
    for role in ROLES {
        let mut config = Config::new();
        config.limits.max_message = Limit::Unlimited;
        let header = Frames::of(role.peer())
            .declared(0x82, 8, 1 << 40, b"a")
            .take();
        let readings = [
            Reading::Bytes(header),
            Reading::Bytes(vec![0; 10]),
            Reading::Bytes(vec![0; 10]),
            Reading::End,
        ];
        let tape = Tape::new(readings, Writing::All);
        let ended = socket(role, &tape, config).recv();
        assert!(matches!(ended, Err(Error::Truncated)), "{ended:?}");
        let longest = tape.0.borrow().longest_read;
        assert!(longest <= 64 << 10, "{longest}");
    }
}

/// It was asked again for ever.
#[test]
fn fault_20_writer_that_takes_nothing_is_an_error() {
    let zero = |result: &Result<(), Error>| matches!(result, Err(Error::Io(error)) if error.kind() == ErrorKind::WriteZero);
    for role in ROLES {
        for payload in [10, 10_000, 100_000] {
            let tape = Tape::new([Reading::End], Writing::Zero);
            let sent = socket(role, &tape, Config::new()).send_binary(&pattern(payload));
            assert!(zero(&sent), "{payload}: {sent:?}");
        }
        // As a reply, there is nobody to tell; reading goes on to the end.
        let ping = Frames::of(role.peer()).ping("?").text("Hello").take();
        let tape = Tape::new([Reading::Bytes(ping), Reading::End], Writing::Zero);
        let mut socket = socket(role, &tape, Config::new());
        assert_eq!(socket.recv().expect("it came").as_text(), Some("Hello"));
        assert!(socket.recv().is_err());
    }
    let tape = Tape::new([Reading::End], Writing::Zero);
    let connected = Client::new().connect_on(tape, "ws://h").map(drop);
    assert!(zero(&connected), "{connected:?}");
}

/// At every byte: what was refused for now goes on where it stopped.
#[test]
fn fault_21_short_writes_resume_where_they_stopped() {
    let payloads = [pattern(1), pattern(200), pattern(0), pattern(70)];
    for role in ROLES {
        let expected: Vec<_> = payloads
            .iter()
            .map(|payload| frame(role, true, Opcode::Binary, payload))
            .collect();
        for most in (1..40).chain([100, 205, 206, 207, 1000]) {
            for writing in [Writing::AtMost(most), Writing::Haltingly(most)] {
                let tape = Tape::new([], writing);
                let mut socket = socket(role, &tape, Config::new());
                for payload in &payloads {
                    // Not taken yet: the flush of what is queued before it was cut short.
                    while let Err(error) = socket.send_binary(payload) {
                        assert!(matches!(error, Error::Timeout(Stage::Send)), "{error}");
                    }
                }
                while let Err(error) = socket.flush() {
                    assert!(matches!(error, Error::Timeout(Stage::Send)), "{error}");
                }
                assert_eq!(tape.frames(), expected, "{writing:?}");
            }
        }
        // Past the buffer: header and payload from where they lie.
        let large = pattern(40_000);
        for most in [1, 2, 3, 7, 13, 14, 15, 1000, 16_383] {
            let tape = Tape::new([], Writing::AtMost(most));
            let mut socket = socket(role, &tape, Config::new());
            socket.send_binary(&large).expect("it is taken");
            socket.ping(b"behind").expect("it is taken");
            let sent = [
                frame(role, true, Opcode::Binary, &large),
                frame(role, true, Ping, b"behind"),
            ];
            assert_eq!(tape.frames(), sent, "{most}");
        }
    }
}

/// Over a socket, too: who is refused reads why, and then the end.
#[test]
fn fault_24_refused_handshake_is_answered_over_a_socket() {
    let (address, stop) = serve(bind());
    let long_line = "G".repeat(10_000);
    for (request, status) in [
        ("\x16\x03\x01\x02\x00\x01", 400),
        ("GET / HTTP/1.0\r\nUpgrade: websocket\r\n\r\n", 505),
        (&REQUEST.replace("GET", "POST"), 405),
        (&REQUEST.replace("13", "12"), 426),
        (&REQUEST.replace("Upgrade: websocket\r\n", ""), 426),
        (&REQUEST.replace("ZQ==", "ZQ"), 400),
        (&long_line, 414),
    ] {
        let answer = ask(address, request.as_bytes());
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(
            head.contains(&format!("Content-Length: {}", body.len())),
            "{answer}"
        );
    }
    stop();
}

//! The blocking driver over a stream that reads and writes little, times out, fails and ends: it
//! comes to the same as the harness.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

use embedded_io::{ErrorKind, ErrorType, Read, Write};
use ws_proto::{
    CloseCode, Config, Connection, Event, MessageKind, Output, REPLY_ROOM, Reply, Role, SEND_ROOM,
    SendError, ServerHandshake, State, Violation, WsUri,
    frame::Opcode,
    handshake::{
        Acceptance, ClientHandshake, ClientRequest, EMPTY_HEADER, Outcome, RequestError, Upgrade,
    },
    io::{Error, MAX_HEADERS, WebSocket},
};
use ws_tests::{
    Conversation, Do, Frame, Frames, Keys, Log, Pair, Record, Script, Seen, When,
    case::pattern,
    corpus::{
        self, DIALOGUES,
        heads::{NONCE, OFFERED, REQUESTS, RESPONSES},
    },
};

/// Room enough that nothing ever waits for it.
const AMPLE: usize = 1 << 17;

type Failure = Error<ErrorKind>;

#[test]
fn conversations_over_a_stream_of_any_grain() {
    for conversation in corpus::all() {
        for (read, write) in [(1, 1), (2, 1000), (13, 7), (131, 131), (AMPLE, AMPLE)] {
            for room in [room_of(conversation.script), AMPLE] {
                let mut stream = Scripted::new(&conversation.received);
                (stream.read, stream.write) = (read, write);
                check(&conversation, stream, REPLY_ROOM, room);
            }
        }
    }
}

#[test]
fn conversations_over_a_stream_that_times_out() {
    for conversation in corpus::all() {
        for every in [1, 2, 3] {
            let mut stream = Scripted::new(&conversation.received);
            (stream.read, stream.write) = (97, 89);
            stream.timeouts = Timeouts::EachTime(every);
            check(&conversation, stream, REPLY_ROOM, AMPLE);
        }
    }
}

/// The least `tx` for what the application does.
fn room_of(script: Script) -> usize {
    let is_queued = |&(_, action): &(When, Do)| {
        !matches!(
            action,
            Do::Echo | Do::Text(_) | Do::Binary(_) | Do::Close(..) | Do::Begin(_) | Do::Fail(_)
        )
    };
    match script.iter().any(is_queued) {
        true => 512,
        false => REPLY_ROOM,
    }
}

#[track_caller]
fn check(conversation: &Conversation, stream: Scripted, rx: usize, tx: usize) {
    let expected = conversation.play(AMPLE, &[]);
    let connection = Connection::established(
        conversation.role,
        conversation.extensions,
        conversation.config,
    );
    let (mut rx, mut tx, mut keys) = (vec![0; rx], vec![0; tx], Keys::default());
    let socket = match conversation.role {
        Role::Client => WebSocket::client(stream, connection, &mut rx, &mut tx, &mut keys),
        Role::Server => WebSocket::server(stream, connection, &mut rx, &mut tx),
    };
    let (seen, stream) = App::new(socket, conversation.script).run();
    assert_eq!(seen, expected.seen, "{}", conversation.name);
    assert_eq!(stream.sent, expected.sent, "{}", conversation.name);
    assert_eq!(stream.flushed, stream.sent.len(), "{}", conversation.name);
}

#[test]
fn dialogues_of_two_ends() {
    for dialogue in DIALOGUES {
        let mut pair = Pair::new(dialogue.client, dialogue.server);
        pair.drive();
        for (rx, tx) in [(REPLY_ROOM, 512), (4096, 4096)] {
            let (client, server) = pipe();
            let client = thread::spawn(move || {
                let (mut rx, mut tx, mut keys) = (vec![0; rx], vec![0; tx], Keys::default());
                let connection = Connection::client(Config::new());
                let socket = WebSocket::client(client, connection, &mut rx, &mut tx, &mut keys);
                App::new(socket, dialogue.client).run().0
            });
            let (mut rx, mut tx) = (vec![0; rx], vec![0; tx]);
            let connection = Connection::server(Config::new());
            let socket = WebSocket::server(server, connection, &mut rx, &mut tx);
            let server = App::new(socket, dialogue.server).run().0;
            let client = client.join().expect("the client does not panic");
            assert_eq!(client, pair.client.seen, "{}", dialogue.name);
            assert_eq!(server, pair.server.seen, "{}", dialogue.name);
        }
    }
}

#[test]
fn server_reports_the_end_though_its_close_cannot_be_written() {
    let mut stream = Scripted::new(&Frames::of(Role::Client).close(1000, "").take());
    stream.writable = 0;
    with_server(stream, REPLY_ROOM, 512, |mut socket| {
        assert!(matches!(socket.receive(), Ok(Event::Close { .. })));
        assert!(matches!(socket.receive(), Ok(Event::Closed(_))));
        assert_eq!(socket.flush(), Err(Error::Io(ErrorKind::BrokenPipe)));
        assert_eq!(socket.receive(), Err(Error::Closed));
        // It was not lost: the peer may read again.
        socket.stream_mut().writable = usize::MAX;
        assert_eq!(socket.flush(), Ok(()));
        assert_eq!(socket.stream().sent, *b"\x88\x02\x03\xe8");
    });
}

#[test]
fn client_reports_the_end_though_its_close_cannot_be_written() {
    let mut stream = Scripted::new(&Frames::of(Role::Server).close(1000, "").take());
    stream.writable = 0;
    let (mut rx, mut tx, mut keys) = ([0; REPLY_ROOM], [0; 512], Keys::default());
    let connection = Connection::client(Config::new());
    let mut socket = WebSocket::client(stream, connection, &mut rx, &mut tx, &mut keys);
    assert!(matches!(socket.receive(), Ok(Event::Close { .. })));
    assert_eq!(socket.receive(), Err(Error::Io(ErrorKind::TimedOut)));
    assert!(matches!(socket.receive(), Ok(Event::Closed(_))));
}

#[test]
fn failure_and_end_are_reported_though_nothing_can_be_written() {
    let mut stream = Scripted::new(b"\xff\xff\xff");
    stream.writable = 0;
    with_server(stream, REPLY_ROOM, 512, |mut socket| {
        assert!(matches!(socket.receive(), Ok(Event::Failed(_))));
        assert!(matches!(socket.receive(), Ok(Event::Closed(_))));
    });
}

#[test]
fn long_message_that_fails_in_its_middle_ends_the_connection() {
    for writable in [0, 1, 4, 5, 200] {
        let mut stream = Scripted::new(&Frames::of(Role::Client).text("unseen").take());
        stream.writable = writable;
        with_server(stream, REPLY_ROOM, 512, |mut socket| {
            let broken = Err(Error::Io(ErrorKind::BrokenPipe));
            assert_eq!(socket.send_binary(&pattern(1000)), broken);
            socket.stream_mut().writable = usize::MAX;
            assert_eq!(socket.send_text("x"), Err(Error::Closed));
            assert_eq!(socket.ping(b""), Err(Error::Closed));
            assert_eq!(socket.close(CloseCode::NORMAL, ""), Err(Error::Closed));
            assert_eq!(socket.receive(), Err(Error::Closed));
            assert_eq!(socket.flush(), Ok(()));
            assert_eq!(socket.stream().sent.len(), writable);
        });
    }
}

#[test]
fn short_message_that_cannot_be_written_waits() {
    let mut stream = Scripted::new(b"");
    stream.writable = 3;
    with_server(stream, REPLY_ROOM, 512, |mut socket| {
        let sent = socket.send_text("Hello");
        assert_eq!(sent, Err(Error::Io(ErrorKind::BrokenPipe)));
        socket.stream_mut().writable = usize::MAX;
        assert_eq!(socket.send_text("again"), Ok(()));
        assert_eq!(socket.stream().sent, *b"\x81\x05Hello\x81\x05again");
    });
}

#[test]
fn heartbeat_runs_on_reads_that_time_out() {
    let mut stream = Scripted::new(b"");
    stream.timeouts = Timeouts::Reads;
    let (mut rx, mut tx) = ([0; REPLY_ROOM], [0; SEND_ROOM]);
    let connection = Connection::server(Config::new());
    let mut socket = WebSocket::server(stream, connection, &mut rx, &mut tx);
    let mut now_ms = 0;
    let mut log = Log::default();
    while socket.connection().state() == State::Open {
        assert_eq!(socket.receive(), Err(Error::Io(ErrorKind::TimedOut)));
        let due = socket.with(|connection, output| connection.handle_timeout(now_ms, output));
        if let Some(event) = due {
            log.record(&event);
        }
        now_ms += 1000;
    }
    assert_eq!(log.take(), [Seen::Failed(Violation::PingTimeout)]);
    assert!(matches!(socket.receive(), Ok(Event::Closed(_))));
    let sent = Frame::read_all(&socket.stream().sent);
    let opcodes: Vec<_> = sent.iter().map(|frame| frame.opcode).collect();
    assert_eq!(opcodes, [Opcode::Ping, Opcode::Close]);
}

#[test]
fn stream_that_takes_nothing_is_an_error() {
    let mut stream = Scripted::new(b"");
    stream.write = 0;
    with_server(stream, REPLY_ROOM, 512, |mut socket| {
        assert_eq!(socket.send_text("Hello"), Err(Error::WriteZero));
    });
}

#[test]
fn flush_that_failed_is_repeated() {
    let mut stream = Scripted::new(b"");
    stream.failing_flushes = 2;
    with_server(stream, REPLY_ROOM, 512, |mut socket| {
        let failed = Err(Error::Io(ErrorKind::TimedOut));
        assert_eq!(socket.send_text("Hello"), failed);
        assert_eq!(socket.stream().sent.len(), 7);
        assert_eq!(socket.flush(), failed);
        assert_eq!(socket.flush(), Ok(()));
        assert_eq!(socket.stream().flushed, 7);
        // Of a long message too, which is not in the middle of anything then.
        socket.stream_mut().failing_flushes = 1;
        assert_eq!(socket.send_binary(&[0; 1000]), failed);
        assert_eq!(socket.flush(), Ok(()));
        assert_eq!(socket.stream().flushed, 7 + 1004);
    });
}

#[test]
fn too_small_tx_is_an_error() {
    for tx in [0, 1, REPLY_ROOM - 1] {
        let stream = Scripted::new(&Frames::of(Role::Client).text("Hello").take());
        with_server(stream, REPLY_ROOM, tx, |mut socket| {
            assert_eq!(socket.receive(), Err(Error::BufferTooSmall));
            assert_eq!(socket.send_text("Hello"), Err(Error::BufferTooSmall));
            assert_eq!(socket.ping(b"Hello"), Err(Error::BufferTooSmall));
        });
    }
}

#[test]
fn too_small_rx_is_an_error_and_not_the_end() {
    let ping = Frames::of(Role::Client).ping([7; 125]).take();
    for rx in [0, 1, 13, REPLY_ROOM - 1] {
        with_server(Scripted::new(&ping), rx, 512, |mut socket| {
            assert_eq!(socket.receive(), Err(Error::BufferTooSmall));
            assert_eq!(socket.receive(), Err(Error::BufferTooSmall));
            assert_eq!(socket.connection().state(), State::Open);
        });
    }
    with_server(Scripted::new(&ping), REPLY_ROOM, 512, |mut socket| {
        assert_eq!(socket.receive(), Ok(Event::Ping(&[7; 125])));
    });
}

#[test]
fn input_behind_a_close_that_is_not_answered_is_discarded() {
    const CONFIG: Config = {
        let mut config = Config::new();
        config.close = Reply::Manual;
        config
    };
    let received = Frames::of(Role::Client)
        .close(1000, "")
        .raw([0xff; 1000])
        .take();
    let (mut rx, mut tx) = ([0; REPLY_ROOM], [0; 512]);
    let stream = Scripted::new(&received);
    let connection = Connection::server(CONFIG);
    let mut socket = WebSocket::server(stream, connection, &mut rx, &mut tx);
    assert!(matches!(socket.receive(), Ok(Event::Close { .. })));
    assert_eq!(socket.receive(), Err(Error::Io(ErrorKind::TimedOut)));
    assert_eq!(socket.close(CloseCode::NORMAL, ""), Ok(()));
    assert!(matches!(socket.receive(), Ok(Event::Closed(closed)) if closed.clean));
}

#[test]
fn close_and_ping_find_room_behind_what_is_queued() {
    with_server(Scripted::new(b""), REPLY_ROOM, 300, |mut socket| {
        let queued = socket.with(|connection, output| connection.pong(&[1; 125], output));
        assert_eq!(queued, Ok(()));
        assert_eq!(socket.ping(&[2; 125]), Ok(()));
        let queued = socket.with(|connection, output| connection.pong(&[3; 125], output));
        assert_eq!(queued, Ok(()));
        assert_eq!(socket.close(CloseCode::NORMAL, &"r".repeat(123)), Ok(()));
        assert_eq!(Frame::read_all(&socket.stream().sent).len(), 4);
        let closing = Err(Error::Send(SendError::Closing));
        assert_eq!(socket.close(CloseCode::NORMAL, ""), closing);
    });
}

#[test]
fn echo_in_turns_needs_no_memory_of_its_own() {
    let mut peer = Frames::of(Role::Client);
    for len in [0, 1, 100, 500, 3000] {
        peer.text("x".repeat(len)).binary(pattern(len));
    }
    let received = peer.ping("?").close(1000, "").take();
    for read in [1, 100, AMPLE] {
        let mut stream = Scripted::new(&received);
        stream.read = read;
        with_server(stream, 1024, 1024 + SEND_ROOM, |mut socket| {
            let mut log = Log::default();
            while socket.connection().state() != State::Closed {
                let sent = socket.turn(|event, connection, output| {
                    log.record(&event);
                    echo(event, connection, output)
                });
                assert_eq!(sent, Ok(Ok(())));
            }
            let (stream, unread) = socket.into_parts();
            assert_eq!(unread, b"");
            let mut client = ws_tests::End::<Log>::new(Role::Client, Config::new());
            client.receive(&stream.sent);
            let messages = |log: &mut Log| {
                let is_data = |seen: &Seen| matches!(seen, Seen::Data { .. });
                log.take().into_iter().filter(is_data).collect::<Vec<_>>()
            };
            assert!(messages(&mut client.seen) == messages(&mut log), "{read}");
        });
    }
}

/// However much came at once, and though writes time out: each answer has the whole of `tx`.
#[test]
fn answers_longer_than_their_questions_find_room() {
    let mut peer = Frames::of(Role::Client);
    let received = (0..30).fold(&mut peer, |peer, _| peer.text("?")).take();
    for timeouts in [
        Timeouts::AtEnd,
        Timeouts::EachTime(1),
        Timeouts::EachTime(2),
    ] {
        let mut stream = Scripted::new(&received);
        (stream.write, stream.timeouts) = (100, timeouts);
        with_server(stream, 1024, 300 + SEND_ROOM, |mut socket| {
            let mut answered = 0;
            while answered < 30 {
                match socket.turn(|_, connection, output| connection.send_binary(&[7; 300], output))
                {
                    Err(Error::Io(ErrorKind::TimedOut)) => {}
                    sent => {
                        assert_eq!(sent, Ok(Ok(())));
                        answered += 1;
                    }
                }
            }
        });
    }
}

fn echo(
    event: Event<'_>,
    connection: &mut Connection<Config>,
    output: &mut Output<'_>,
) -> Result<(), SendError> {
    match event {
        Event::Text(text) => connection.send_text(text, output),
        Event::Binary(bytes) => connection.send_binary(bytes, output),
        Event::Chunk(chunk) => {
            if chunk.first {
                connection.begin(chunk.kind)?;
            }
            match chunk.last {
                false => connection.send_fragment(chunk.bytes, output),
                true => connection.finish(chunk.bytes, output),
            }
        }
        _ => Ok(()),
    }
}

#[test]
fn parts_are_given_back() {
    let received = Frames::of(Role::Client).text("Hello").raw(b"\x81").take();
    with_server(Scripted::new(&received), 512, 512, |mut socket| {
        assert_eq!(socket.receive(), Ok(Event::Text("Hello")));
        let debug = format!("{socket:?}");
        assert!(debug.contains("unread: 1, queued: 0"), "{debug}");
        assert_eq!(socket.into_parts().1, b"\x81");
    });
}

#[test]
fn opening_handshake_of_two_ends() {
    let (client, server) = pipe();
    let server = thread::spawn(move || {
        let (mut rx, mut tx) = ([0; 512], [0; 512]);
        let mut socket = WebSocket::accept(server, Config::new(), &mut rx, &mut tx, |request| {
            assert_eq!(request.target(), "/chat?room=1");
            Ok(Acceptance::new().subprotocol(request.choose(&["superchat"])))
        })
        .expect("it is accepted");
        assert_eq!(socket.receive(), Ok(Event::Text("Hello")));
        assert_eq!(socket.send_text("welcome"), Ok(()));
        assert!(matches!(socket.receive(), Ok(Event::Close { .. })));
        assert!(matches!(socket.receive(), Ok(Event::Closed(closed)) if closed.clean));
    });
    let (mut rx, mut tx, mut keys) = ([0; 512], [0; 512], Keys::default());
    let (mut socket, subprotocol) = connect(client, &mut rx, &mut tx, &mut keys).expect("it is on");
    assert_eq!(subprotocol, Some("superchat"));
    assert_eq!(socket.send_text("Hello"), Ok(()));
    assert_eq!(socket.receive(), Ok(Event::Text("welcome")));
    assert_eq!(socket.close(CloseCode::NORMAL, ""), Ok(()));
    assert!(matches!(socket.receive(), Ok(Event::Close { .. })));
    server.join().expect("the server does not panic");
    assert!(matches!(socket.receive(), Ok(Event::Closed(closed)) if closed.clean));
}

#[test]
fn refusal_is_told_to_both_ends_and_leaves_a_lent_stream() {
    let (mut client, mut server) = pipe();
    let server = thread::spawn(move || {
        let (mut rx, mut tx) = ([0; 512], [0; 512]);
        let config = Config::new();
        let refused = WebSocket::accept(&mut server, config, &mut rx, &mut tx, |_| Err(404));
        assert_eq!(refused.map(drop), Err(Error::Refused(404)));
        server.write(b"more").expect("it is not dropped");
    });
    let (mut rx, mut tx, mut keys) = ([0; 512], [0; 512], Keys::default());
    let refused = connect(&mut client, &mut rx, &mut tx, &mut keys);
    assert_eq!(refused.map(drop), Err(Error::Refused(404)));
    server.join().expect("the server does not panic");
    assert_ne!(client.read(&mut [0; 512]), Err(ErrorKind::TimedOut));
}

#[test]
fn servers_accept_and_refuse_as_the_machine_does() {
    for (name, request) in REQUESTS {
        let mut headers = [EMPTY_HEADER; MAX_HEADERS];
        let limits = Config::new().limits;
        let expected = match ServerHandshake::new().receive(request, &mut headers, &limits) {
            Ok(None) => Err(Error::Closed),
            Err(error) => Err(Error::Request(error)),
            Ok(Some(request)) => match request.upgrade() {
                Upgrade::WebSocket => Ok(()),
                Upgrade::Refused(error) => Err(Error::Request(error)),
                Upgrade::None => Err(Error::Refused(426)),
            },
        };
        for read in [1, 7, AMPLE] {
            let mut stream = Scripted::new(request);
            (stream.read, stream.timeouts) = (read, Timeouts::Never);
            let accepted = accept(&mut stream, 2048, 512);
            assert_eq!(accepted, expected, "{name}");
            let status = match accepted {
                Ok(()) => 101,
                Err(Error::Refused(status)) => status,
                Err(Error::Request(error)) => error.status(),
                _ => {
                    assert_eq!(stream.sent, b"", "{name}");
                    continue;
                }
            };
            let line = format!("HTTP/1.1 {status} ");
            assert!(stream.sent.starts_with(line.as_bytes()), "{name}");
            assert_eq!(stream.flushed, stream.sent.len(), "{name}");
        }
    }
}

#[test]
fn frames_behind_the_request_are_received() {
    let (_, request) = REQUESTS
        .iter()
        .find(|(name, _)| *name == "frames_behind")
        .expect("it is there");
    let (mut rx, mut tx) = ([0; 512], [0; 512]);
    let stream = Scripted::new(request);
    let accepted = WebSocket::accept(stream, Config::new(), &mut rx, &mut tx, |_| {
        Ok(Acceptance::new())
    });
    let mut socket = accepted.expect("it is accepted");
    assert_eq!(socket.receive(), Ok(Event::Text("Hello")));
    assert!(matches!(socket.receive(), Ok(Event::Close { .. })));
}

#[test]
fn head_that_does_not_fit_is_refused() {
    let (_, request) = REQUESTS[0];
    let accepted = accept(&mut Scripted::new(request), 100, 512);
    assert_eq!(accepted, Err(Error::Request(RequestError::HeadTooLong)));
    let mut stream = Scripted::new(request);
    assert!(matches!(
        accept(&mut stream, 512, 10),
        Err(Error::Handshake(_))
    ));
    assert_eq!(stream.sent, b"");
}

#[test]
fn clients_take_responses_as_the_machine_does() {
    for (name, response) in RESPONSES {
        let mut memory = [0; 512];
        let handshake = ClientHandshake::start(&request(), NONCE, &mut Output::new(&mut memory));
        let mut handshake = handshake.expect("there is room");
        let mut headers = [EMPTY_HEADER; MAX_HEADERS];
        let limits = Config::new().limits;
        let expected = match handshake.receive(response, &mut headers, &limits) {
            Ok(None) => Err(Error::Closed),
            Ok(Some(Outcome::Accepted { agreed, .. })) => Ok(agreed.subprotocol()),
            Ok(Some(Outcome::Rejected(response))) => Err(Error::Refused(response.status())),
            Err(error) => Err(Error::Response(error)),
        };
        for read in [1, 7, AMPLE] {
            let mut stream = Scripted::new(response);
            (stream.read, stream.timeouts) = (read, Timeouts::Never);
            let (mut rx, mut tx, mut keys) = ([0; 2048], [0; 512], Keys::default());
            let connected = connect(stream, &mut rx, &mut tx, &mut keys);
            let connected = connected.map(|(_, subprotocol)| subprotocol);
            assert_eq!(connected, expected, "{name}");
        }
    }
}

fn accept(stream: &mut Scripted, rx: usize, tx: usize) -> Result<(), Failure> {
    let (mut rx, mut tx) = (vec![0; rx], vec![0; tx]);
    WebSocket::accept(stream, Config::new(), &mut rx, &mut tx, |_| {
        Ok(Acceptance::new())
    })
    .map(drop)
}

type Connected<'a, S> = (WebSocket<'a, S, Config>, Option<&'static str>);

fn connect<'a, S: Read + Write>(
    stream: S,
    rx: &'a mut [u8],
    tx: &'a mut [u8],
    keys: &'a mut Keys,
) -> Result<Connected<'a, S>, Error<S::Error>> {
    WebSocket::connect(stream, Config::new(), &request(), NONCE, rx, tx, keys)
}

fn request() -> ClientRequest<'static> {
    let uri = WsUri::parse("ws://server.example.com/chat?room=1").expect("it is one");
    ClientRequest::new(uri).subprotocols(OFFERED)
}

fn with_server(
    stream: Scripted,
    rx: usize,
    tx: usize,
    f: impl FnOnce(WebSocket<'_, Scripted, Config>),
) {
    let (mut rx, mut tx) = (vec![0; rx], vec![0; tx]);
    let connection = Connection::server(Config::new());
    f(WebSocket::server(stream, connection, &mut rx, &mut tx));
}

/// An application that follows a script, as that of [`ws_tests::End`], on a socket.
struct App<'a, S> {
    socket: WebSocket<'a, S, Config>,
    script: Script,
    seen: Log,
    kind: MessageKind,
    message: Vec<u8>,
    messages: usize,
    ping: Vec<u8>,
}

impl<'a, S: Read<Error = ErrorKind> + Write + Ends> App<'a, S> {
    fn new(socket: WebSocket<'a, S, Config>, script: Script) -> Self {
        Self {
            socket,
            script,
            seen: Log::default(),
            kind: MessageKind::Binary,
            message: Vec::new(),
            messages: 0,
            ping: Vec::new(),
        }
    }

    /// Plays the script to the end of the connection.
    fn run(mut self) -> (Log, S) {
        self.act(When::Start);
        let mut is_last = false;
        loop {
            let event = match self.socket.receive() {
                Ok(event) => event,
                Err(Error::Closed) => break,
                Err(Error::Io(ErrorKind::TimedOut)) => {
                    if self.socket.stream().is_at_end() && !is_last {
                        is_last = true;
                        self.act(When::Last);
                    }
                    continue;
                }
                Err(error) => panic!("{error:?}"),
            };
            self.seen.record(&event);
            let seen = Seen::from(event);
            self.react(seen);
        }
        while self.socket.flush().is_err() {}
        (self.seen, self.socket.into_parts().0)
    }

    fn react(&mut self, seen: Seen) {
        match seen {
            Seen::Data {
                kind,
                bytes,
                first,
                last,
                ..
            } => {
                if first {
                    self.message.clear();
                    self.kind = kind;
                }
                self.message.extend(bytes);
                if last {
                    self.messages += 1;
                    self.act(When::EachMessage);
                    self.act(When::Message(self.messages));
                }
            }
            Seen::Ping(payload) => {
                self.ping = payload;
                self.act(When::EachPing);
            }
            Seen::Pong(_) => self.act(When::EachPong),
            Seen::Close(..) => self.act(When::Close),
            Seen::Failed(_) | Seen::Closed(_) => {}
        }
    }

    fn act(&mut self, now: When) {
        for (when, action) in self.script {
            if *when == now {
                // What is flushed first cannot be lost by a timeout.
                while self.socket.flush().is_err() {}
                match self.perform(*action) {
                    Ok(()) | Err(Error::Io(ErrorKind::TimedOut) | Error::Closed) => {}
                    // A script may do what is refused.
                    Err(Error::Send(error)) if error != SendError::Full => {}
                    Err(error) => panic!("{action:?}: {error:?}"),
                }
            }
        }
    }

    fn perform(&mut self, action: Do) -> Result<(), Failure> {
        let Self {
            socket,
            message,
            ping,
            ..
        } = self;
        match action {
            Do::Echo => match self.kind {
                MessageKind::Binary => socket.send_binary(message)?,
                MessageKind::Text => {
                    socket.send_text(str::from_utf8(message).expect("it was checked"))?;
                }
            },
            Do::Text(text) => socket.send_text(text)?,
            Do::Binary(bytes) => socket.send_binary(bytes)?,
            Do::Ping(payload) => socket.ping(payload)?,
            Do::Close(code, reason) => socket.close(CloseCode::new(code), reason)?,
            Do::Begin(kind) => socket.with(|c, _| c.begin(kind))?,
            Do::Fragment(bytes) => socket.with(|c, output| c.send_fragment(bytes, output))?,
            Do::Finish(bytes) => socket.with(|c, output| c.finish(bytes, output))?,
            Do::Pong => socket.with(|c, output| c.pong(&std::mem::take(ping), output))?,
            Do::Fail(violation) => {
                if let Some(event) = socket.with(|c, output| c.fail(violation, output)) {
                    self.seen.record(&event);
                }
            }
        }
        Ok(())
    }
}

/// A stream that knows when its peer has said all.
trait Ends {
    fn is_at_end(&self) -> bool;
}

/// A stream whose peer has said all before. At the end of that it times out once, and then ends.
#[derive(Debug)]
struct Scripted {
    received: VecDeque<u8>,
    sent: Vec<u8>,
    /// How much of that was flushed.
    flushed: usize,
    /// The most bytes of one read, and of one write.
    read: usize,
    write: usize,
    /// How many bytes it takes before it is broken.
    writable: usize,
    failing_flushes: usize,
    timeouts: Timeouts,
    calls: usize,
    is_told_last: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timeouts {
    Never,
    AtEnd,
    /// All reads.
    Reads,
    /// This many times before each call that succeeds.
    EachTime(usize),
}

impl Scripted {
    fn new(received: &[u8]) -> Self {
        Self {
            received: received.iter().copied().collect(),
            sent: Vec::new(),
            flushed: 0,
            read: usize::MAX,
            write: usize::MAX,
            writable: usize::MAX,
            failing_flushes: 0,
            timeouts: Timeouts::AtEnd,
            calls: 0,
            is_told_last: false,
        }
    }

    fn call(&mut self) -> Result<(), ErrorKind> {
        self.calls += 1;
        match self.timeouts {
            Timeouts::EachTime(n) if !self.calls.is_multiple_of(n + 1) => Err(ErrorKind::TimedOut),
            _ => Ok(()),
        }
    }
}

impl Ends for Scripted {
    fn is_at_end(&self) -> bool {
        self.is_told_last
    }
}

impl ErrorType for Scripted {
    type Error = ErrorKind;
}

impl Read for Scripted {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        assert!(!buffer.is_empty(), "a read of nothing");
        self.call()?;
        if self.timeouts == Timeouts::Reads {
            return Err(ErrorKind::TimedOut);
        }
        if self.received.is_empty() && !self.is_told_last && self.timeouts != Timeouts::Never {
            self.is_told_last = true;
            return Err(ErrorKind::TimedOut);
        }
        let n = self.read.min(buffer.len());
        std::io::Read::read(&mut self.received, &mut buffer[..n]).map_err(|_| ErrorKind::Other)
    }
}

impl Write for Scripted {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        assert!(!bytes.is_empty(), "a write of nothing");
        self.call()?;
        let n = self.write.min(bytes.len()).min(self.writable);
        if self.writable == 0 {
            return Err(ErrorKind::BrokenPipe);
        }
        self.writable -= n;
        self.sent.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        self.call()?;
        if self.failing_flushes > 0 {
            self.failing_flushes -= 1;
            return Err(ErrorKind::TimedOut);
        }
        self.flushed = self.sent.len();
        Ok(())
    }
}

/// One end of a pipe in memory. Reads wait; dropping it ends the other end's stream.
struct Pipe {
    incoming: Arc<Way>,
    outgoing: Arc<Way>,
}

#[derive(Default)]
struct Way {
    bytes: Mutex<(VecDeque<u8>, bool)>,
    changed: Condvar,
}

fn pipe() -> (Pipe, Pipe) {
    let ways = [Arc::new(Way::default()), Arc::new(Way::default())];
    let [a, b] = ways;
    let client = Pipe {
        incoming: Arc::clone(&a),
        outgoing: Arc::clone(&b),
    };
    let server = Pipe {
        incoming: b,
        outgoing: a,
    };
    (client, server)
}

impl Ends for Pipe {
    fn is_at_end(&self) -> bool {
        false
    }
}

impl ErrorType for Pipe {
    type Error = ErrorKind;
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        let bytes = self.incoming.bytes.lock().expect("no end panics");
        // The time limit is for a test that has failed: it is never awaited.
        let limit = Duration::from_secs(20);
        let (mut bytes, waited) = self
            .incoming
            .changed
            .wait_timeout_while(bytes, limit, |(bytes, ended)| bytes.is_empty() && !*ended)
            .expect("no end panics");
        if waited.timed_out() {
            return Err(ErrorKind::ConnectionAborted);
        }
        std::io::Read::read(&mut bytes.0, buffer).map_err(|_| ErrorKind::Other)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        let mut way = self.outgoing.bytes.lock().expect("no end panics");
        way.0.extend(bytes);
        self.outgoing.changed.notify_one();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        if let Ok(mut way) = self.outgoing.bytes.lock() {
            way.1 = true;
        }
        self.outgoing.changed.notify_one();
    }
}

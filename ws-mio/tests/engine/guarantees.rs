//! What the documentation of `Session` promises.

use proptest::{collection::vec, prelude::*};
use ws_mio::{
    CloseCode, Limit, Sent, Shutdown,
    testing::{Faults, Received, Setup, TestClient},
};

use crate::{frame, probe::Call, request, serve, server};

const CLEAN: Call = Call::Close {
    code: 1000,
    clean: true,
};

#[test]
fn open_is_first_and_close_is_last() {
    let (server, log) = server();
    let client = server.connect("/");
    client.send_text("hello");
    client.expect_text("hello");
    client.close(1000, "bye");
    client.expect_close(1000);
    let calls = [
        Call::Open,
        Call::Text("hello".into()),
        Call::Closing(1000),
        CLEAN,
        Call::Dropped,
    ];
    assert_eq!(log.of(0), calls);
    assert_eq!(server.connections(), 0);
    log.check();
    server.check();
}

/// What a client does.
#[derive(Clone, Debug)]
enum Do {
    Text(&'static str),
    Binary(usize),
    Ping,
    Close,
    Raw(Vec<u8>),
    Finish,
    Reset,
    StopReading,
    ReadOn,
    Mute,
    /// It connects again, to this path.
    Connect(&'static str),
    /// The same without waiting for an answer.
    Rush(&'static str),
    Advance(u64),
}

fn deed() -> impl Strategy<Value = Do> {
    const WORDS: &[&str] = &[
        "echo",
        "panic",
        "close 4000",
        "wake 50",
        "wake 0",
        "never",
        "pause",
        "post 0 resume",
        "post 1 resume",
        "post 2 panic",
        "post 0 do_nothing",
        "tell 1 hello",
        "tell 0 hello",
        "kick 0 4001",
        "kick 1 4002",
        "ball 0 20",
        "ball 1 20",
        "drop-oldest",
        "reject",
        "flood 30 900",
        "latest 5 10 500",
    ];
    const PATHS: &[&str] = &[
        "/",
        "/chunks",
        "/teapot",
        "/panic/open",
        "/panic/timer",
        "/panic/post",
        "/panic/drained",
        "/panic/close",
        "/panic/closing",
        "/panic/drop",
        "/panic/ping",
        "/panic/chunk",
        "/panic/delivery",
        "/panic/accept",
        "/bad-answer",
    ];
    prop_oneof![
        12 => prop::sample::select(WORDS).prop_map(Do::Text),
        3 => (0..5000_usize).prop_map(Do::Binary),
        2 => Just(Do::Ping),
        2 => Just(Do::Close),
        2 => vec(any::<u8>(), 1..20).prop_map(Do::Raw),
        1 => prop::sample::select(vec![
            frame(0x01, b"part"), frame(0x80, b"rest"), frame(0x09, b"x"), frame(0x8A, b"pong"),
            frame(0x88, &[3]), frame(0x81, b"\xFF"), vec![0x82, 0xFF, 0, 0, 0, 0, 0, 9, 0, 0],
        ]).prop_map(Do::Raw),
        1 => Just(Do::Finish),
        1 => Just(Do::Reset),
        2 => Just(Do::StopReading),
        3 => Just(Do::ReadOn),
        1 => Just(Do::Mute),
        4 => prop::sample::select(PATHS).prop_map(Do::Connect),
        2 => prop::sample::select(PATHS).prop_map(Do::Rush),
        3 => prop_oneof![0..300_u64, 0..30_000_u64].prop_map(Do::Advance),
    ]
}

fn faults() -> impl Strategy<Value = Faults> {
    let chance = || prop_oneof![Just(0_u8), 1..40_u8];
    let piece = prop_oneof![Just(usize::MAX), 1..100_usize];
    let reset = prop::option::weighted(0.3, 1..60_u64);
    (piece, chance(), chance(), chance(), chance(), reset).prop_map(
        |(piece, short_writes, blocked, interrupted, spurious, reset_at_call)| Faults {
            piece,
            short_writes,
            blocked,
            interrupted,
            spurious,
            reset_at_call,
        },
    )
}

fn act(client: &TestClient, deed: &Do) {
    let is_open = client.status() == Some(101);
    match deed {
        // By hand, so that it is sent whatever state the client is in.
        Do::Text(text) if is_open => client.raw(&frame(0x81, text.as_bytes())),
        Do::Binary(len) if is_open => client.raw(&frame(0x82, &vec![0; *len])),
        Do::Ping if is_open => client.raw(&frame(0x89, b"?")),
        Do::Close if is_open => client.raw(&frame(0x88, b"\x03\xE8")),
        Do::Raw(bytes) => client.raw(bytes),
        Do::Finish => client.finish(),
        Do::Reset => client.reset(),
        Do::StopReading => client.stop_reading(),
        Do::ReadOn => client.read_on(),
        Do::Mute => client.mute(),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn guarantees_hold_whatever_happens(
        seed in 1..u64::MAX,
        faults in faults(),
        room in prop_oneof![1..200_usize, Just(64 << 10)],
        loops in 1..3_u16,
        deeds in vec((0..4_usize, deed()), 1..60),
    ) {
        let mut capacity = ws_mio::Capacity::of_descriptors(1088);
        capacity.per_address = Limit::At(1000);
        let marks = ws_mio::Marks { high: 2000, low: 500, limit: 10_000 };
        let setup = Setup::new().seed(seed).loops(loops).room(room).faults(faults);
        let (server, log) = serve(setup.capacity(capacity).marks(marks));
        let mut clients: Vec<_> = (0..4).map(|_| server.connect("/")).collect();
        for (who, deed) in &deeds {
            match deed {
                Do::Connect(path) => clients[*who] = server.connect(path),
                Do::Rush(path) => {
                    clients[*who] = server.dial();
                    clients[*who].raw(&request(path));
                    clients[*who].raw(&frame(0x81, b"echo"));
                }
                Do::Advance(ms) => server.advance(*ms),
                deed => act(&clients[*who], deed),
            }
            server.check();
        }
        server.shutdown(Shutdown::new());
        prop_assert_eq!(server.connections(), 0);
        server.check();
        log.check();
    }
}

/// One whole conversation, in which each call of a session and of the wire happens; how many calls
/// of the wire there were.
fn converse(faults: Faults) -> u64 {
    let (server, log) = serve(Setup::new().faults(faults).room(1000).seed(1));
    let client = server.connect("/");
    if client.status() == Some(101) {
        let mut bytes = frame(0x81, b"hello");
        bytes.extend(frame(0x01, b"in "));
        bytes.extend(frame(0x89, b"?"));
        bytes.extend(frame(0x80, b"parts"));
        bytes.extend(frame(0x82, &[0; 5000]));
        bytes.extend(frame(0x81, b"wake 150"));
        client.raw(&bytes);
        server.run();
        server.check();
        server.advance(45_000);
        client.raw(&frame(0x88, b"\x03\xE8"));
        client.finish();
        server.run();
    }
    server.check();
    server.shutdown(Shutdown::new());
    assert_eq!(server.connections(), 0);
    log.check();
    server.check();
    client.calls()
}

#[test]
fn guarantees_hold_when_any_call_finds_a_reset() {
    let calls = converse(Faults::none());
    assert!(calls > 20, "{calls}");
    for call in 1..=calls {
        let reset_at_call = Some(call);
        converse(Faults {
            reset_at_call,
            ..Faults::none()
        });
    }
}

#[test]
fn a_panic_is_the_end_of_one_session_only() {
    for (path, provoke) in [
        ("/panic/open", &b""[..]),
        ("/panic/message", &frame(0x81, b"x")),
        ("/panic/timer", b""),
        ("/panic/post", b""),
        ("/panic/ping", &frame(0x89, b"")),
        ("/panic/pong", &frame(0x8A, b"")),
        ("/", &frame(0x81, b"panic")),
    ] {
        let (server, log) = server();
        let other = server.connect("/");
        let client = server.connect(path);
        match path {
            "/panic/timer" => client.send_text("wake 100"),
            "/panic/post" => other.send_text("post 1 word"),
            _ => client.raw(provoke),
        }
        server.advance(200);
        let mut received = client.receive_all();
        // What was sent before is not lost.
        if path == "/panic/ping" {
            assert_eq!(received.remove(0), Received::Pong(Vec::new()));
        }
        assert!(
            matches!(&received[..], [Received::Close(code, _), Received::End] if code.get() == 1011),
            "{path}: {received:?}\n{}",
            server.transcript()
        );
        other.send_text("still here");
        other.expect_text("still here");
        assert_eq!(server.connections(), 1, "{path}");
        server.shutdown(Shutdown::new());
        log.check();
        server.check();
    }
}

#[test]
fn a_panic_at_the_end_is_kept_to_its_session() {
    for path in ["/panic/closing", "/panic/close", "/panic/drop"] {
        let (server, log) = server();
        let other = server.connect("/");
        let client = server.connect(path);
        client.close(1000, "");
        server.run();
        assert!(client.is_ended(), "{path}");
        other.send_text("still here");
        other.expect_text("still here");
        assert_eq!(server.connections(), 1, "{path}");
        server.shutdown(Shutdown::new());
        log.check();
        server.check();
    }
}

/// Whatever is the application's may panic: also what was never open.
#[test]
fn a_panic_around_the_handshake_is_kept_to_its_connection() {
    for path in [
        "/panic/accept",
        "/panic/delivery",
        "/panic/drop/unopened",
        "/bad-answer",
    ] {
        let (server, log) = server();
        let other = server.connect("/");
        let client = server.connect(path);
        assert_ne!(client.status(), None, "{path}");
        assert!(client.is_ended(), "{path}");
        other.send_text("still here");
        other.expect_text("still here");
        assert_eq!(server.connections(), 1, "{path}");
        server.check();
        drop(log);
    }
    // The answer finds a reset, and the session that was just made panics as it goes.
    let (server, _log) = server();
    server.set_faults(Faults {
        reset_at_call: Some(2),
        ..Faults::none()
    });
    server.connect("/panic/drop");
    assert_eq!(server.connections(), 0);
    server.check();
}

/// A note is the application's too: it goes where its session has gone.
#[test]
fn a_note_that_panics_as_it_is_lost_is_contained() {
    struct Bad;

    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }

    let (server, log) = server();
    let other = server.connect("/");
    let client = server.connect("/");
    client.reset();
    server.run();
    let id = log.id(1).expect("it was open");
    let posted = server.handle().post(id, Box::new(Bad));
    posted.expect("there is room in the inbox");
    other.send_text("still here");
    other.expect_text("still here");
}

/// A session that drains panics too; its peer has not read, and still learns why.
#[test]
fn a_panic_in_drained_tells_the_peer() {
    let (server, log) = serve(Setup::new().room(4096));
    let client = server.connect("/panic/drained");
    client.stop_reading();
    client.send_text("flood 400 1000");
    server.run();
    client.read_on();
    let mut received = client.receive_all();
    received.retain(|received| !matches!(received, Received::Binary(_)));
    assert!(
        matches!(&received[..], [Received::Close(code, _), Received::End] if code.get() == 1011),
        "{received:?}"
    );
    assert_eq!(server.connections(), 0);
    log.check();
}

/// The peer takes the last bytes slowly: the session is over all the same.
#[test]
fn nothing_comes_after_close_while_the_last_bytes_wait() {
    let (server, log) = serve(Setup::new().room(4096));
    let other = server.connect("/");
    let client = server.connect("/");
    client.stop_reading();
    client.send_text("wake 500");
    client.send_text("flood 70 1000");
    server.run();
    // Over high water nothing is read: the end comes as a violation before that mark instead.
    let client = server.connect("/");
    client.stop_reading();
    client.send_text("wake 500");
    client.send_text("flood 20 1000");
    client.close(1000, "");
    server.run();
    assert_eq!(log.of(2).last(), Some(&CLEAN), "it is over, and lingers");
    other.send_text("post 2 word");
    server.advance(600);
    assert_eq!(log.of(2).last(), Some(&CLEAN), "no post, no timer");
    client.read_on();
    server.run();
    assert_eq!(log.of(2)[log.of(2).len() - 2..], [CLEAN, Call::Dropped]);
    server.shutdown(Shutdown::new());
    log.check();
}

#[test]
fn drained_does_not_come_after_close() {
    let marks = ws_mio::Marks {
        high: 10_000,
        low: 5_000,
        limit: 1 << 20,
    };
    let (server, log) = serve(Setup::new().room(1000).marks(marks));
    let client = server.connect("/");
    client.mute();
    client.stop_reading();
    client.send_text("flood 5 1000");
    server.run();
    client.send_text("flood 20 1000");
    server.run();
    assert_eq!(log.sent().last(), Some(&Sent::OverHighWater));
    let id = log.id(0).expect("it is open");
    let closed = server.handle().close(id, CloseCode::NORMAL, "");
    closed.expect("there is room in the inbox");
    server.advance(10_500);
    let calls = log.of(0);
    assert!(
        matches!(calls.last(), Some(Call::Close { .. })),
        "it waits for the last bytes"
    );
    client.read_on();
    server.run();
    server.shutdown(Shutdown::new());
    log.check();
}

#[test]
fn effects_are_settled_in_order_and_after_the_call() {
    let (server, log) = server();
    let [one, two] = [server.connect("/"), server.connect("/")];
    one.send_text("post 1 first");
    one.send_text("tell 1 second");
    one.send_text("post 0 third");
    one.send_text("kick 1 4000");
    one.send_text("post 1 too-late");
    server.run();
    two.expect_text("second");
    two.expect_close(4000);
    let order: Vec<_> = log
        .all()
        .into_iter()
        .filter(|(_, call)| matches!(call, Call::Post(_)))
        .collect();
    assert_eq!(
        order,
        [
            (1, Call::Post("first".into())),
            (0, Call::Post("third".into())),
            // The closing handshake goes on; the session is called until it is over.
            (1, Call::Post("too-late".into())),
        ]
    );
    server.shutdown(Shutdown::new());
    log.check();
}

#[test]
fn errands_reach_other_loops() {
    let (server, log) = serve(Setup::new().loops(3));
    let clients = [(); 3].map(|()| server.connect("/"));
    clients[0].send_text("post 1 word");
    clients[0].send_text("tell 2 hello");
    clients[1].send_text("kick 0 4000");
    server.run();
    assert!(log.of(1).contains(&Call::Post("word".into())));
    clients[2].expect_text("hello");
    clients[0].expect_close(4000);
    server.shutdown(Shutdown::new());
    log.check();
}

/// Two sessions that answer each other for ever do not keep the loop for themselves.
#[test]
fn sessions_that_answer_each_other_starve_nobody() {
    for loops in [1, 2] {
        let (server, log) = serve(Setup::new().loops(loops));
        let clients = [(); 3].map(|()| server.connect("/"));
        clients[0].send_text("ball 1 1000000");
        clients[1].send_text("ball 1 1000000");
        for _ in 0..10 {
            server.step();
        }
        let balls = log.all().len();
        assert!((20..70).contains(&balls), "{balls} calls in ten rounds");
        clients[2].raw(&frame(0x81, b"x"));
        let before = log.all().len();
        for _ in 0..10 {
            server.step();
        }
        assert!(log.of(2).contains(&Call::Text("x".into())));
        let balls = log.all().len() - before;
        assert!((20..70).contains(&balls), "{balls} calls in ten rounds");
    }
}

//! Attacks from the record of the field, by the number of their class: what a peer can make a server
//! keep is bounded, and everything comes back.
//!
//! Those that need a clock, or all cuts, are with the engine's other tests; the race of two writers
//! is in the model of the inbox; the handshake's and the codec's are below the adapters.

#[path = "engine/bytes.rs"]
mod bytes;
#[cfg(unix)]
#[path = "security/descriptors.rs"]
mod descriptors;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use ws_mio::{
    Application, Capacity, Context, Decision, Encoded, Limit, Marks, Message, Session, Shutdown,
    accept_with,
    testing::{Faults, Received, Setup, TestClient, TestServer},
};

use self::bytes::{frame, request};

/// Counts the bytes that each thread keeps. (Tests run in threads of their own.)
struct Counting;

thread_local! {
    static KEPT: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // At the end of a thread they are gone.
    _ = KEPT.try_with(|kept| {
        kept.set(kept.get() + bytes);
        _ = MOST.try_with(|most| most.set(most.get().max(kept.get())));
    });
}

// SAFETY: each call is handed to the system's allocator as it came; the counters are plain numbers.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller promises what the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: `memory` came from the system's allocator, with this layout.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        // While it moves both are there.
        count(len as isize);
        count(-(layout.size() as isize));
        // SAFETY: `memory` came from the system's allocator, with this layout.
        unsafe { System.realloc(memory, layout, len) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// By how many bytes at most what is kept grows while `f` runs.
fn growth<T>(f: impl FnOnce() -> T) -> (isize, T) {
    let before = KEPT.get();
    MOST.set(before);
    let result = f();
    (MOST.get() - before, result)
}

const KIB: isize = 1 << 10;

#[test]
fn growth_is_seen() {
    let (most, _) = growth(|| drop(std::hint::black_box(vec![0_u8; 100_000])));
    assert!((100_000..101_000).contains(&most), "{most}");
}

/// Sends everything back, and publishes what begins with an exclamation mark.
struct Echo {
    /// It listens only.
    is_mute: bool,
    live: Arc<AtomicUsize>,
}

impl Session for Echo {
    fn message(&mut self, message: Message<'_>, cx: &mut Context<'_>) {
        if self.is_mute {
            return;
        }
        _ = match message {
            Message::Text(text) => cx.send_text(text),
            Message::Binary(bytes) => cx.send_binary(bytes),
        };
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A server of [`Echo`]s, and how many there are.
fn echo(
    setup: Setup,
) -> (
    TestServer<impl Application<Session = Echo>>,
    Arc<AtomicUsize>,
) {
    let live = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&live);
    let app = accept_with(move |request, _| {
        if request.target() == "/teapot" {
            return Decision::reject(418, "short and stout");
        }
        counted.fetch_add(1, Ordering::Relaxed);
        Decision::accept(Echo {
            is_mute: request.target() == "/mute",
            live: Arc::clone(&counted),
        })
    });
    (setup.serve(app), live)
}

/// A client that is open and answers nothing by itself.
fn open<A: Application>(server: &TestServer<A>, target: &str) -> TestClient {
    let client = server.dial();
    client.raw(&request(target));
    assert!(client.bytes().starts_with(b"HTTP/1.1 101 "));
    client
}

/// Sends `bytes` to a fresh connection, which may have been sent `before`; what came back, by how
/// much the server grew, and whether it gave up.
fn attack(before: &[u8], bytes: &[u8]) -> (Vec<u8>, isize, bool) {
    let (server, _live) = echo(Setup::new());
    // What is allocated once is, and the harness has room for what it sends.
    let first = open(&server, "/");
    first.raw(&frame(0x82, &vec![0; 60_000]));
    first.bytes();
    let client = open(&server, "/");
    client.raw(before);
    client.bytes();
    let (most, answer) = growth(|| {
        client.raw(bytes);
        client.bytes()
    });
    // The client's own copies of what it sends and receives.
    let own = 4 * (bytes.len() + answer.len()) as isize;
    let is_ended = client.is_ended();
    client.finish();
    first.finish();
    assert_eq!(server.connections(), 0);
    server.check();
    (answer, most - own, is_ended)
}

/// The Close with this code.
fn close(code: u16) -> Vec<u8> {
    let [high, low] = code.to_be_bytes();
    vec![0x88, 2, high, low]
}

/// hono CVE-2026-73565, OpenClaw CVE-2026-100558, fastify-http-proxy CVE-2026-129500 and -129502: a
/// handshake that fails leaves something behind.
#[test]
fn sec_06_handshakes_that_fail_leave_nothing() {
    let good = String::from_utf8(request("/")).expect("ASCII");
    let mut kinds: Vec<Vec<u8>> = Vec::new();
    for (from, to) in [
        ("GET", "POST"),
        ("GET", "get"),
        ("GET /", "GET"),
        ("GET /", "GET /#fragment"),
        ("GET /", "GET  /"),
        ("GET /", "GET http://[/"),
        ("GET /", "GET /teapot"),
        ("HTTP/1.1", "HTTP/1.0"),
        ("HTTP/1.1", "HTTP/2.0"),
        ("HTTP/1.1", "HTTQ/1.1"),
        ("Host: server.example\r\n", ""),
        ("Host: server.example\r\n", "Host: a\r\nHost: b\r\n"),
        ("Host:", "Host :"),
        ("Host:", " Host:"),
        ("Upgrade: websocket\r\n", ""),
        ("Upgrade: websocket", "Upgrade: h2c"),
        ("Connection: Upgrade\r\n", ""),
        ("Connection: Upgrade", "Connection: close"),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
        ("dGhlIHNhbXBsZSBub25jZQ==", "short"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ==="),
        ("dGhlIHNhbXBsZSBub25jZQ==", "\0"),
        ("Version: 13", "Version: 7"),
        ("Version: 13", "Version: 14"),
        ("Sec-WebSocket-Version: 13\r\n", ""),
        ("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello"),
        ("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (
            "\r\n\r\n",
            "\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
        ),
        ("\r\n", "\n"),
        ("\r\n", "\r"),
        ("\r\n\r\n", "\r\nX: a\0b\r\n\r\n"),
        ("\r\n\r\n", "\r\nno colon\r\n\r\n"),
        ("\r\n\r\n", "\r\n: no name\r\n\r\n"),
        ("\r\n\r\n", "\r\n"),
        ("\r\n\r\n", ""),
    ] {
        kinds.push(good.replace(from, to).into_bytes());
    }
    kinds.push(
        good.replacen("Host", &format!("X: {}\r\nHost", "x".repeat(17_000)), 1)
            .into_bytes(),
    );
    kinds.push(
        good.replacen("Host", &format!("{}Host", "X: y\r\n".repeat(120)), 1)
            .into_bytes(),
    );
    kinds.push(format!("GET /{} HTTP/1.1\r\n", "x".repeat(9_000)).into_bytes());
    kinds.push(b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03".to_vec());
    kinds.push(Vec::new());
    assert_eq!(kinds.len(), 40);

    let (server, live) = echo(Setup::new());
    let round = || {
        for (n, kind) in kinds.iter().enumerate() {
            let client = server.dial();
            client.raw(kind);
            match n % 3 {
                0 => client.finish(),
                1 => {
                    server.run();
                    client.reset();
                }
                _ => {
                    server.run();
                    client.finish();
                }
            }
            server.run();
        }
    };
    for _ in 0..20 {
        round();
    }
    let before = KEPT.get();
    for _ in 0..200 {
        round();
    }
    assert_eq!(server.connections(), 0);
    assert_eq!(live.load(Ordering::Relaxed), 0);
    let kept = KEPT.get() - before;
    assert!(kept <= 4 * KIB, "{kept} bytes are left of 8000 handshakes");
    server.check();
}

/// A header that declares so much, and no payload.
fn header(first: u8, len: u64) -> Vec<u8> {
    let mut header = vec![first, 0xFF];
    header.extend(len.to_be_bytes());
    header.extend([1, 2, 3, 4]);
    header
}

/// CVE-2020-27813 (gorilla), CVE-2026-1528 (undici), CVE-2017-2921 (Mongoose), CVE-2026-0716
/// (libsoup), CVE-2020-13935 (Tomcat), CVE-2025-1866 (libwebsockets): lengths that wrap.
#[test]
fn sec_19_lengths_that_wrap_are_refused() {
    let part = frame(0x02, &[0; 100]);
    for bits in [31, 32, 53, 62] {
        for len in [(1 << bits) - 1, 1 << bits, (1_u64 << bits) + 1] {
            for (before, first) in [(&b""[..], 0x82), (&b""[..], 0x01), (&part, 0x80)] {
                let (answer, most, is_ended) = attack(before, &header(first, len));
                assert_eq!(answer, close(1009), "{len}");
                assert!(is_ended && most < 16 * KIB, "{len}: {most}");
            }
        }
    }
    // "the most significant bit MUST be 0": that is no length at all.
    for len in [1 << 63, (1 << 63) + 1, u64::MAX, u64::MAX - 99] {
        for (before, first) in [(&b""[..], 0x82), (&part, 0x80)] {
            assert_eq!(attack(before, &header(first, len)).0, close(1002), "{len}");
        }
    }
    // The sum wraps.
    let (answer, ..) = attack(&part, &header(0x80, i64::MAX as u64));
    assert_eq!(answer, close(1009));
}

/// CVE-2022-35922 (rust-websocket), GHSA-8h6x-h86x-75wh (SIPGO), CVE-2026-19204 (Jetty, by an
/// unknown opcode), CVE-2026-103472 (restbed): memory for what is only declared.
#[test]
fn sec_20_nothing_is_allocated_for_what_is_declared() {
    for opcode in 0..16 {
        for fin in [0, 0x80] {
            let (answer, most, _) = attack(b"", &header(fin | opcode, 1 << 20));
            assert!(most < 64 * KIB, "opcode {opcode}: {most}");
            let is_data = matches!(opcode, 1 | 2);
            assert_eq!(answer.is_empty(), is_data, "opcode {opcode}: {answer:?}");
        }
    }
    // Memory follows what comes.
    let mut bytes = header(0x82, 1 << 20);
    bytes.resize(10_000, 0);
    let (_, most, _) = attack(b"", &bytes);
    assert!(most < 64 * KIB, "{most}");
    let (_, most, _) = attack(&bytes, &[0; 10]);
    assert!(most < 64 * KIB, "{most}");
}

/// CVE-2014-0193 (Netty), CVE-2026-42786 (Bandit), CVE-2026-9675 (undici), CVE-2016-10542 (ws),
/// CVE-2018-21035 (Qt), CVE-2026-44545 (daphne): a limit of each frame is none of the message.
#[test]
fn sec_21_the_limit_is_of_the_message() {
    let (server, _live) = echo(Setup::new());
    let client = open(&server, "/");
    client.raw(&frame(0x02, &[0; 60_000]));
    client.bytes();
    let part = frame(0x00, &[0; 60_000]);
    let (most, parts) = growth(|| {
        for n in 1.. {
            client.raw(&part);
            if client.is_ended() {
                return n;
            }
        }
        0
    });
    assert_eq!(parts, (1 << 20) / 60_000, "the part that is too much");
    assert_eq!(client.bytes(), close(1009));
    // The message, the half of it while its memory grows, and a wire.
    assert!(most < 3 << 20, "{most}");
    client.finish();
    assert_eq!(server.connections(), 0);
}

/// CVE-2026-48779 and CVE-2026-62389 (ws), CVE-2026-12151 (undici): fragments that are tiny or
/// empty cost more than they weigh.
#[test]
fn sec_22_fragments_are_counted_however_small() {
    for payload in [&b""[..], b"x"] {
        let (server, _live) = echo(Setup::new());
        let client = open(&server, "/");
        client.raw(&frame(0x01, payload));
        let parts = frame(0x00, payload).repeat(1_000);
        client.raw(&parts);
        client.bytes();
        let (most, ()) = growth(|| {
            for _ in 0..1_000 {
                client.raw(&parts);
                if client.is_ended() {
                    return;
                }
            }
        });
        // What is behind the last is under way already.
        let answer = client.bytes();
        assert_eq!(answer.len(), 4, "{answer:?}");
        assert!(answer.starts_with(&[0x88, 2]), "{answer:?}");
        assert!(most < 64 * KIB, "{most}");
        client.finish();
        assert_eq!(server.connections(), 0);
    }
}

/// CVE-2026-54274 (aiohttp): the limit was looked at when a frame was whole.
#[test]
fn sec_23_the_limit_is_of_what_is_declared() {
    let mut bytes = header(0x82, (1 << 20) + 1);
    let at = bytes.len();
    bytes.extend([0; 100]);
    for len in [at, at + 1, at + 100] {
        let (answer, _, is_ended) = attack(b"", &bytes[..len]);
        assert_eq!((answer, is_ended), (close(1009), true));
    }
    let (answer, _, is_ended) = attack(b"", &header(0x82, 1 << 20));
    assert_eq!((answer, is_ended), (Vec::new(), false));
}

/// CVE-2026-45736 (ws), CVE-2026-107928 (curl, after a partial write): memory that is not the
/// message's is sent.
#[test]
fn sec_28_what_is_captured_is_what_was_sent() {
    for seed in 1..60 {
        let setup = Setup::new().seed(seed).room(500 + 1_000 * seed as usize);
        let (server, _live) = echo(setup.faults(Faults {
            short_writes: 50,
            blocked: 20,
            interrupted: 20,
            ..Faults::none()
        }));
        let client = server.connect("/");
        let lens = [
            0, 1, 125, 126, 999, 65_535, 65_536, 70_000, 131_072, 200_000, 3,
        ];
        let message =
            |n: usize| -> Vec<u8> { (0..lens[n]).map(|i| (i * 7 + n * 13) as u8).collect() };
        for n in 0..lens.len() {
            client.send_binary(&message(n));
        }
        for n in 0..lens.len() {
            let received = client.receive();
            assert!(
                received == Some(Received::Binary(message(n))),
                "message {n}, seed {seed}"
            );
        }
        client.close(1000, "");
        client.expect_close(1000);
    }
}

/// undici #3206 and others: Closes that are malformed, repeated, in a message, or not the last.
#[test]
fn sec_29_closes_are_taken_for_what_they_are() {
    let abuse = |payload: &[u8]| attack(b"", &frame(0x88, payload)).0;
    assert_eq!(abuse(b""), [0x88, 0]);
    assert_eq!(abuse(b"\x03"), close(1002));
    assert_eq!(abuse(b"\x03\xE8\xFF"), close(1007));
    assert_eq!(abuse(&[3; 126]), close(1002), "too long");
    for code in (0..=65_535_u16)
        .step_by(251)
        .chain(990..1020)
        .chain([2_999, 3_000, 4_999, 5_000])
    {
        let is_good = matches!(code, 1000..=1003 | 1007..=1014 | 3_000..=4_999);
        let answer = if is_good { code } else { 1002 };
        assert_eq!(abuse(&code.to_be_bytes()), close(answer), "{code}");
    }
    let good = frame(0x88, b"\x03\xE8");
    let twice = attack(&good, &good);
    assert_eq!(twice.0, b"", "the second is not answered");
    let inside = attack(&frame(0x01, b"part"), &good);
    assert_eq!(inside.0, close(1000), "a Close may come inside a message");
    // Data without end behind a Close is thrown away, and not for long.
    let (server, _live) = echo(Setup::new());
    let client = open(&server, "/");
    client.raw(&good);
    client.bytes();
    let message = frame(0x82, &[0; 10_000]);
    let (most, ()) = growth(|| {
        for _ in 0..20 {
            client.raw(&message);
            server.run();
        }
    });
    assert!(client.is_dropped() && most < 64 * KIB, "{most}");
}

/// HTTP.jl JLSEC-2026-620 and the class of "100k messages queued": many small frames cost memory, or
/// the others their turn.
#[test]
fn sec_30_a_flood_of_small_frames_is_flat_and_holds_up_nobody() {
    let (server, _live) = echo(Setup::new());
    let client = open(&server, "/mute");
    let other = server.connect("/");
    let flood = frame(0x82, b"").repeat(10_000);
    client.raw(&flood);
    client.bytes();
    let mut rounds_waited = 0;
    let (most, ()) = growth(|| {
        for _ in 0..300 {
            client.raw(&flood);
            other.send_text("x");
            let before = server.turns();
            other.expect_text("x");
            rounds_waited = rounds_waited.max(server.turns() - before);
        }
    });
    assert!(most < 64 * KIB, "{most}");
    assert!(rounds_waited < 10, "{rounds_waited}");
}

/// ws 8.23.0, undici GHSA-9fm3-97px-rjf6, CVE-2026-11586 (curl), CVE-2016-10518 (ws): pongs pile up
/// for a peer that pings and does not read.
#[test]
fn sec_31_pings_of_a_peer_that_does_not_read_pile_up_nowhere() {
    let (server, _live) = echo(Setup::new());
    let client = server.connect("/");
    let pings = frame(0x89, &[7; 125]).repeat(500);
    client.raw(&pings);
    server.run();
    client.receive_all();
    client.stop_reading();
    let (most, sent) = growth(|| {
        let mut sent = 0;
        // As long as the server takes them, twenty seconds at the most.
        for _ in 0..20 {
            if client.unread() == 0 {
                client.raw(&pings);
                sent += 500;
            }
            server.advance(900);
        }
        sent
    });
    assert!(
        sent >= 1_000 && most < 256 * KIB,
        "{sent} pings, {most} bytes"
    );
    client.read_on();
    client.ping(b"last");
    let received = client.receive_all();
    let is_pong = |received: &Received| matches!(received, Received::Pong(_) | Received::Ping(_));
    assert!(received.iter().all(is_pong), "it is as before");
    assert_eq!(received.last(), Some(&Received::Pong(b"last".to_vec())));
    client.send_text("on we go");
    client.expect_text("on we go");
}

/// CVE-2021-3690 (Undertow): a buffer leaks for each pong.
#[test]
fn sec_32_pongs_leave_nothing() {
    let (server, _live) = echo(Setup::new());
    let client = open(&server, "/");
    let mut pongs = frame(0x8A, b"").repeat(4_000);
    pongs.extend(frame(0x8A, &[0; 125]).repeat(100));
    client.raw(&pongs);
    client.bytes();
    let before = KEPT.get();
    for _ in 0..250 {
        client.raw(&pongs);
        server.run();
    }
    let kept = KEPT.get() - before;
    assert!(kept < 4 * KIB, "{kept} bytes are left of a million pongs");
    assert!(!client.is_ended());
}

struct Subscriber;

impl Session for Subscriber {
    fn message(&mut self, _message: Message<'_>, _cx: &mut Context<'_>) {}

    fn open(&mut self, cx: &mut Context<'_>) {
        IDS.with_borrow_mut(|ids| ids.push(cx.id()));
    }
}

thread_local! {
    static IDS: std::cell::RefCell<Vec<ws_mio::ConnectionId>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// CVE-2020-35896 (ws-rs), uWebSockets #1338, kubestellar #7957: who does not read makes the server
/// keep all that is sent to everybody.
#[test]
fn sec_34_subscribers_that_do_not_read_cost_their_limit_and_are_left() {
    const SUBSCRIBERS: usize = 100;
    const SLOW: usize = 5;
    let marks = Marks::new();
    let setup = Setup::new().marks(marks).room(64 << 10);
    let server = setup.serve(accept_with(|_, _| Decision::accept(Subscriber)));
    let clients: Vec<_> = (0..SUBSCRIBERS).map(|_| server.connect("/")).collect();
    for slow in &clients[..SLOW] {
        slow.stop_reading();
    }
    let handle = server.handle();
    let mut broadcast = |n: u64| {
        let mut bytes = vec![0; 16 << 10];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        let message = Encoded::binary(&bytes);
        let ids = IDS.with_borrow(Clone::clone);
        for id in ids {
            handle
                .send(id, &message)
                .expect("there is room in the inbox");
        }
        for client in &clients[SLOW..] {
            let received = client.receive();
            assert!(
                received == Some(Received::Binary(bytes.clone())),
                "message {n}"
            );
        }
    };
    broadcast(0);
    let (most, ()) = growth(|| (1..130).for_each(&mut broadcast));
    // Their wires; and what the others have received, until they are asked.
    let own = SLOW * (128 << 10) + SUBSCRIBERS * (17 << 10);
    let bound = (SLOW * (marks.limit + (64 << 10)) + own) as isize;
    assert!(most < bound, "{most} of {bound}");
    for slow in &clients[..SLOW] {
        slow.read_on();
        let received = slow.receive_all();
        let (messages, end) = received.split_at(received.len() - 2);
        let is_close = matches!(&end[0], Received::Close(code, _) if code.get() == 1013);
        assert!(is_close && end[1] == Received::End, "{end:?}");
        // No gap before it.
        for (n, message) in (0..).zip(messages) {
            let Received::Binary(bytes) = message else {
                panic!("{message:?}");
            };
            assert_eq!(bytes[..8], u64::to_be_bytes(n));
        }
    }
    assert_eq!(server.connections(), SUBSCRIBERS - SLOW);
    server.shutdown(Shutdown::new());
    server.check();
}

/// A server's own figures are what they were when all have gone.
#[test]
fn everything_comes_back_after_a_crowd() {
    let mut capacity = Capacity::of_descriptors(10_000);
    capacity.per_address = Limit::At(10_000);
    let (server, live) = echo(Setup::new().capacity(capacity));
    let round = || {
        let clients: Vec<_> = (0..500).map(|_| server.connect("/")).collect();
        for client in &clients {
            client.send_binary(&[0; 3_000]);
            client.stop_reading();
            client.send_binary(&[0; 100_000]);
        }
        server.run();
        for client in &clients {
            client.reset();
        }
        server.run();
    };
    round();
    let before = KEPT.get();
    round();
    round();
    assert_eq!((server.connections(), live.load(Ordering::Relaxed)), (0, 0));
    let kept = KEPT.get() - before;
    assert!(kept < 64 * KIB, "{kept}");
    server.check();
}

//! What anybody may send to a server: it answers what deserves an answer, stays up, and keeps
//! nothing. One test, for it counts what the process has.

mod support;

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::Duration,
};

use socket2::SockRef;
use support::{REQUEST, Running, bind, echo, masked, read_head, wait_until};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_millis(150);

#[test]
fn server_outlives_rubbish_and_keeps_nothing() {
    let server = Running::start(bind().handshake_timeout(HANDSHAKE_TIMEOUT), echo);
    // What is allocated once is not a leak.
    round(&server, 0);
    server.wait_idle();
    let before = Resources::now();
    for seed in 1..=8 {
        round(&server, seed);
    }
    server.wait_idle();
    wait_until("threads and descriptors are given back", || {
        let now = Resources::now();
        now.threads <= before.threads && now.descriptors <= before.descriptors
    });
    let grown = Resources::now().memory.saturating_sub(before.memory);
    assert!(grown < 4 << 20, "memory has grown by {grown} bytes");

    let mut socket = ws_std::connect(&server.uri()).expect("the server is up");
    socket.send_text("still here").expect("sent");
    assert_eq!(
        socket.recv().expect("a reply").as_text(),
        Some("still here")
    );
}

fn round(server: &Running, seed: u64) {
    answers(server);
    random_bytes(server, seed);
    slow_heads(server);
    half_frames(server);
    resets(server);
}

fn answers(server: &Running) {
    let http10 = "GET / HTTP/1.0\r\n\r\n".to_owned();
    let upgrade10 = String::from_utf8_lossy(REQUEST).replace("HTTP/1.1", "HTTP/1.0");
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx".to_owned();
    let plain = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned();
    let old = String::from_utf8_lossy(REQUEST).replace("Version: 13", "Version: 8");
    let no_key = String::from_utf8_lossy(REQUEST).replace("Sec-WebSocket-Key", "X-Key");
    let long_line = format!("GET /{} HTTP/1.1\r\n", "x".repeat(9000));
    let long_head = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(1 << 20));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(101));
    for (request, status) in [
        (http10.as_bytes(), "426"),
        (upgrade10.as_bytes(), "505"),
        (post.as_bytes(), "405"),
        (plain.as_bytes(), "426"),
        (old.as_bytes(), "426"),
        (no_key.as_bytes(), "400"),
        (long_line.as_bytes(), "414"),
        (long_head.as_bytes(), "431"),
        (many.as_bytes(), "431"),
        // The beginning of a TLS ClientHello.
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", "400"),
        (b"\n", "400"),
        (b"GET / HTTP/1.1\nHost: a\n\n", "400"),
    ] {
        let answer = server.answer(request);
        let shown = String::from_utf8_lossy(&request[..request.len().min(40)]);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{shown:?} is answered {answer:?}"
        );
    }
}

fn random_bytes(server: &Running, seed: u64) {
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
        // Before the handshake, and behind it.
        let mut tcp = server.tcp();
        let _ = tcp.write_all(&bytes);
        finish(tcp);
        let mut tcp = open(server);
        let _ = tcp.write_all(&bytes);
        finish(tcp);
    }
}

/// A head that comes a byte at a time is cut off when the time is up, whatever still comes.
fn slow_heads(server: &Running) {
    let mut tcp = server.tcp();
    let slow = tcp.try_clone().expect("a descriptor");
    let writer = thread::spawn(move || {
        for byte in REQUEST.iter().cycle() {
            if (&slow).write_all(&[*byte]).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(3));
        }
    });
    assert!(read_head(&mut tcp).starts_with("HTTP/1.1 408 "));
    let _ = tcp.shutdown(Shutdown::Both);
    writer.join().expect("no panic");

    // Who says nothing is told nothing.
    let mut answer = Vec::new();
    server.tcp().read_to_end(&mut answer).expect("an end");
    assert_eq!(answer, b"");
}

fn half_frames(server: &Running) {
    let frame = masked(0x82, &[1; 300]);
    for len in [1, 2, 5, 8, 100, frame.len() - 1] {
        let mut tcp = open(server);
        tcp.write_all(&frame[..len]).expect("written");
        finish(tcp);
    }
    // A header which declares more than anybody will send.
    let mut tcp = open(server);
    tcp.write_all(&[0x82, 0xff, 0, 0, 0, 0, 0, 0x0f, 0, 0, 1, 2, 3, 4, 5])
        .expect("written");
    finish(tcp);
}

/// A linger of zero makes closing a reset.
fn resets(server: &Running) {
    let reset = |tcp: TcpStream| {
        SockRef::from(&tcp)
            .set_linger(Some(Duration::ZERO))
            .expect("it is a socket");
    };
    reset(server.tcp());
    let mut tcp = server.tcp();
    tcp.write_all(&REQUEST[..30]).expect("written");
    reset(tcp);
    reset(open(server));
    let mut tcp = open(server);
    tcp.write_all(&masked(0x82, &[1; 300])[..100])
        .expect("written");
    reset(tcp);
    let mut tcp = open(server);
    tcp.write_all(&masked(0x82, &[1; 300])).expect("written");
    reset(tcp);
}

fn open(server: &Running) -> TcpStream {
    let mut tcp = server.tcp();
    tcp.write_all(REQUEST).expect("written");
    assert!(read_head(&mut tcp).starts_with("HTTP/1.1 101 "));
    tcp
}

/// Ends our half, and reads the other to its end.
fn finish(mut tcp: TcpStream) {
    let _ = tcp.shutdown(Shutdown::Write);
    let _ = tcp.read_to_end(&mut Vec::new());
}

/// What the process has.
struct Resources {
    threads: usize,
    descriptors: usize,
    memory: usize,
}

impl Resources {
    fn now() -> Self {
        let count = |directory| fs::read_dir(directory).map_or(0, Iterator::count);
        let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
        Self {
            threads: count("/proc/self/task"),
            descriptors: count("/proc/self/fd"),
            memory: pages.unwrap_or(0) * 4096,
        }
    }
}

//! Peers that end their half of the stream before anybody looked at it: what they said and its end
//! are one edge, and no other tells of the end.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

use ws_mio::{Config, Context, Decision, Message, Server, Session, Timeout, accept_with};

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(10);

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: server.example.com\r\n\
    Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// "Hello", with a masking key of zeros.
const HELLO: &[u8] = b"\x81\x85\0\0\0\0Hello";

struct Echo;

impl Session for Echo {
    fn message(&mut self, message: Message<'_>, cx: &mut Context<'_>) {
        _ = match message {
            Message::Text(text) => cx.send_text(text),
            Message::Binary(bytes) => cx.send_binary(bytes),
        };
    }
}

/// What a server answers that runs only after all of this was sent, and the stream ended. No
/// deadline helps it to notice the end.
fn answer(sent: &[u8]) -> String {
    let mut config = Config::new();
    config.timeouts.handshake = Timeout::Never;
    config.timeouts.idle = Timeout::Never;
    config.timeouts.ping_interval = Timeout::Never;
    let server = Server::bind("127.0.0.1:0").expect("a free port");
    let server = server.config(config);
    let mut tcp = TcpStream::connect(server.local_addr().expect("bound")).expect("connected");
    tcp.set_read_timeout(Some(PATIENCE)).expect("a socket");
    tcp.write_all(sent).expect("the socket has room");
    tcp.shutdown(Shutdown::Write).expect("our half ends");

    let handle = server.handle();
    let app = accept_with(|_, _| Decision::accept(Echo));
    let server = thread::spawn(move || server.run(app));
    let mut answer = Vec::new();
    let ended = tcp.read_to_end(&mut answer);
    let end = Instant::now() + PATIENCE;
    while ended.is_ok() && handle.connections() > 0 && Instant::now() < end {
        thread::yield_now();
    }
    let left = handle.connections();
    handle.shutdown(Default::default());
    handle.shutdown(Default::default());
    server.join().expect("no panic").expect("no error");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(ended.is_ok(), "the end was not noticed behind {answer:?}");
    assert_eq!(left, 0, "connections are left");
    answer
}

#[test]
fn half_a_request_and_the_end() {
    assert_eq!(answer(&REQUEST.as_bytes()[..30]), "");
}

#[test]
fn nothing_but_the_end() {
    assert_eq!(answer(b""), "");
}

#[test]
fn a_request_and_the_end() {
    let answer = answer(REQUEST.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn a_request_a_message_and_the_end() {
    let answer = answer(&[REQUEST.as_bytes(), HELLO].concat());
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.ends_with("\x05Hello"), "{answer}");
}

/// More than is read with the request.
#[test]
fn a_request_many_messages_and_the_end() {
    const COUNT: usize = 20_000;
    let answer = answer(&[REQUEST.as_bytes(), &HELLO.repeat(COUNT)].concat());
    assert_eq!(answer.matches("Hello").count(), COUNT);
}

#[test]
fn an_ordinary_request_and_the_end() {
    let answer = answer(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
}

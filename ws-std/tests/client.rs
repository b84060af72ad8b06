//! [`Client`]: what it asks for, and how its failures differ.

mod support;

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
    time::Duration,
};

use support::{PATIENCE, Read1, Running, Script, bind, echo, in_time, plain, read_head};
use ws_std::{
    Client, Error, Stage,
    ws_proto::handshake::{HandshakeMisuse, ResponseError},
};

const URI: &str = "ws://server.example.com/chat?x=1";

/// What connecting to a server that answers so leads to.
fn answered(answer: &[u8]) -> Error {
    let stream = Script::new([Read1::Bytes(answer.to_vec()), Read1::End]);
    match Client::new().connect_on(stream, URI) {
        Err(error) => error,
        Ok(_) => panic!("it is open"),
    }
}

/// Times that no clock will show, and those that no system takes.
/// RFC 6455 §7.1.1: "a client SHOULD wait for the server to close the connection but MAY close the
/// connection at any time", and we do when the wait is over.
#[test]
fn client_does_not_linger_after_a_clean_end() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let tcp = std::net::TcpStream::connect(listener.local_addr().expect("it is bound"))
        .expect("it listens");
    let (mut peer, _) = listener.accept().expect("a connection");
    peer.write_all(&plain(0x88, b"\x03\xe8")).expect("written");
    let mut config = ws_std::Config::new();
    config.timeouts.end_of_input = ws_std::Timeout::Ms(10);
    let mut socket = ws_std::WebSocket::client(tcp, std::sync::Arc::new(config));
    let begun = std::time::Instant::now();
    assert!(socket.wait_closed().expect("an ordinary end").clean);
    assert!(begun.elapsed() < Duration::from_millis(900));
    drop(peer);
}

#[test]
fn bounds_at_both_ends_of_their_range_do_no_harm() {
    let server = bind().send_timeout(Some(Duration::ZERO)).receive_buffer(0);
    let server = Running::start(server, echo);
    let client = Client::new()
        .connect_timeout(Duration::MAX)
        .send_timeout(Some(Duration::ZERO))
        .receive_buffer(usize::MAX)
        .header("Authorization", "Bearer s3cret");
    assert!(!format!("{client:?}").contains("s3cret"));
    let mut socket = client.connect(&server.uri()).expect("connected");
    socket.send_text("x").expect("sent");
    let reply = socket.recv_timeout(Duration::MAX);
    assert_eq!(
        reply.expect("no error").expect("a reply").as_text(),
        Some("x")
    );
}

#[test]
fn request_says_what_was_asked_for() {
    let mut stream = Script::new([Read1::End]);
    let error = Client::new()
        .header("X-Ours", "1")
        .subprotocol("a")
        .subprotocol("b")
        .origin("https://example.com")
        .connect_on(&mut stream, "ws://user:pass@server.example.com:81/chat?x=1")
        .expect_err("nobody answers");
    assert!(matches!(error, Error::NoResponse));
    let request = String::from_utf8(stream.written()).expect("it is ASCII");
    for line in [
        "GET /chat?x=1 HTTP/1.1\r\n",
        "\r\nHost: server.example.com:81\r\n",
        "\r\nX-Ours: 1\r\n",
        "\r\nSec-WebSocket-Protocol: a, b\r\n",
        "\r\nOrigin: https://example.com\r\n",
        "\r\nAuthorization: Basic dXNlcjpwYXNz\r\n",
    ] {
        assert!(request.contains(line), "{line:?} in {request}");
    }
    let mut again = Script::new([Read1::End]);
    let _ = Client::new().connect_on(&mut again, URI);
    assert_ne!(key(&stream.written()), key(&again.written()), "a fresh key");
}

fn key(request: &[u8]) -> String {
    let request = String::from_utf8_lossy(request).into_owned();
    let key = request
        .lines()
        .find(|line| line.starts_with("Sec-WebSocket-Key"));
    key.expect("there is one").to_owned()
}

#[test]
fn failures_are_told_apart() {
    let connect = |uri: &str| ws_std::connect(uri).expect_err("it fails");
    assert!(matches!(connect("http://127.0.0.1/"), Error::Uri(_)));
    assert!(matches!(connect("wss://127.0.0.1/"), Error::Tls));
    assert!(matches!(connect("ws://nobody.invalid/"), Error::Resolve(_)));

    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = port.local_addr().expect("it is bound");
    drop(port);
    assert!(matches!(
        connect(&format!("ws://{address}/")),
        Error::Connect(_)
    ));

    let refused = Client::new()
        .header("Host", "x")
        .connect_on(Script::default(), URI);
    assert!(matches!(
        refused,
        Err(Error::Request(HandshakeMisuse::ReservedHeader))
    ));
    assert!(matches!(answered(b""), Error::NoResponse));
    assert!(matches!(
        answered(b"HTTP/1.1 101 Switching"),
        Error::NoResponse
    ));
    let wrong = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n";
    assert!(matches!(
        answered(wrong),
        Error::Response(ResponseError::InvalidAccept)
    ));
    assert!(matches!(
        answered(b"SSH-2.0-OpenSSH\r\n\r\n"),
        Error::Response(_)
    ));
}

#[test]
fn body_of_a_rejection_ends_where_it_says_or_with_the_stream() {
    for (answer, body) in [
        (
            &b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno, never"[..],
            &b"no"[..],
        ),
        (b"HTTP/1.1 403 Forbidden\r\n\r\nno, never", b"no, never"),
        (
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
            b"",
        ),
    ] {
        match answered(answer) {
            Error::Rejected(rejection) => assert_eq!(rejection.body, body),
            error => panic!("{error}"),
        }
    }
}

/// A server that takes connections and says nothing.
#[test]
fn connect_timeout_covers_the_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let uri = format!("ws://{}/", listener.local_addr().expect("it is bound"));
    let error = in_time(move || {
        Client::new()
            .connect_timeout(Duration::from_millis(50))
            .connect(&uri)
            .expect_err("nobody answers")
    });
    assert!(matches!(error, Error::Timeout(Stage::Handshake)), "{error}");
}

/// One that sends a byte now and then gains no time by it.
#[test]
fn connect_timeout_is_absolute() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let uri = format!("ws://{}/", listener.local_addr().expect("it is bound"));
    let server = thread::spawn(move || {
        let (mut tcp, _) = listener.accept().expect("a connection");
        while tcp.write_all(b"HTTP/1.1 200 x"[..1].as_ref()).is_ok() {
            thread::sleep(Duration::from_millis(5));
        }
    });
    let error = in_time(move || {
        Client::new()
            .connect_timeout(Duration::from_millis(60))
            .connect(&uri)
            .expect_err("the response never ends")
    });
    assert!(matches!(error, Error::Timeout(Stage::Handshake)), "{error}");
    server.join().expect("no panic");
}

#[test]
fn name_of_a_host_is_resolved_and_all_addresses_are_tried() {
    let server = Running::echo();
    // Where `localhost` is ::1 first, nobody listens there.
    let uri = format!("ws://localhost:{}/", server.address.port());
    let mut socket = ws_std::connect(&uri).expect("connected");
    socket.send_text("x").expect("sent");
    assert!(socket.recv().is_ok());
}

#[test]
fn frame_right_behind_the_response_is_received() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let uri = format!("ws://{}/", listener.local_addr().expect("it is bound"));
    let server = thread::spawn(move || {
        let (mut tcp, _) = listener.accept().expect("a connection");
        tcp.set_read_timeout(Some(PATIENCE))
            .expect("it is a socket");
        let request = read_head(&mut tcp);
        let key = request
            .lines()
            .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
            .expect("a key");
        let accept = ws_proto::handshake::accept::Key::parse(key.as_bytes())
            .expect("a good key")
            .accept();
        let mut response = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Accept: "
            .to_vec();
        response.extend_from_slice(&accept);
        response.extend_from_slice(b"\r\n\r\n");
        response.extend(plain(0x81, b"first"));
        tcp.write_all(&response).expect("written");
        let _ = tcp.read_to_end(&mut Vec::new());
    });
    let mut socket = ws_std::connect(&uri).expect("connected");
    assert_eq!(socket.recv().expect("a message").as_text(), Some("first"));
    drop(socket);
    server.join().expect("no panic");
}

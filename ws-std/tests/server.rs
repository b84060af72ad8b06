//! [`Server`] over real sockets: handshakes, handlers, limits, shutdown.

mod support;

use std::{
    io::{Read, Write},
    net::{Shutdown as TcpShutdown, TcpStream},
    sync::{Arc, Barrier, mpsc},
    time::{Duration, Instant},
};

use support::{
    PATIENCE, REQUEST, Running, bind, echo, in_time, masked, plain, read_head, read_n, wait_until,
};
use ws_std::{
    Accept, Client, CloseCode, Error, Limit, Message, Reject, Shutdown, State, Violation,
};

#[test]
fn echo_over_a_socket() {
    let server = Running::echo();
    let mut socket = ws_std::connect(&server.uri()).expect("connected");
    assert_eq!(
        socket.opening().expect("it was opened").target(),
        "/chat?x=1"
    );
    for message in ["", "Hello", &"é".repeat(100_000)] {
        socket.send_text(message).expect("sent");
        assert_eq!(socket.recv().expect("a reply").as_text(), Some(message));
    }
    let payload = vec![7; 1 << 20];
    socket.send_binary(&payload).expect("sent");
    assert_eq!(socket.recv().expect("a reply"), Message::Binary(payload));
    socket.close(CloseCode::new(4001), "done").expect("sent");
    let closed = socket.wait_closed().expect("an ordinary end");
    assert_eq!((closed.code, closed.clean), (CloseCode::new(4001), true));
    server.wait_idle();
}

#[test]
fn recv_timeout_returns_in_time() {
    let server = Running::echo();
    let mut socket = ws_std::connect(&server.uri()).expect("connected");
    let begun = Instant::now();
    let nothing = socket.recv_timeout(Duration::from_millis(20));
    assert!(matches!(nothing, Ok(None)));
    // The heartbeat alone would wake it after 5 s.
    assert!(begun.elapsed() < Duration::from_secs(4));
    socket.send_text("still here").expect("sent");
    let reply = socket.recv_timeout(PATIENCE).expect("no error");
    assert_eq!(reply, Some(Message::Text("still here".to_owned())));
}

#[test]
fn fault_19_frames_behind_the_request_are_not_lost() {
    let server = Running::echo();
    let mut tcp = server.tcp();
    let first = [REQUEST, &masked(0x81, b"early")].concat();
    // The request, and the beginning of a second frame, in one segment.
    tcp.write_all(&[&first[..], &masked(0x81, b"late")[..3]].concat())
        .expect("written");
    assert!(read_head(&mut tcp).starts_with("HTTP/1.1 101 "));
    assert_eq!(read_n(&mut tcp, 7), plain(0x81, b"early"));
    tcp.write_all(&masked(0x81, b"late")[3..]).expect("written");
    assert_eq!(read_n(&mut tcp, 6), plain(0x81, b"late"));
}

#[test]
fn subprotocol_is_the_first_that_the_server_prefers() {
    let server = Running::start(bind().subprotocol("b").subprotocol("a"), |socket| {
        let name = socket.subprotocol().unwrap_or("none").to_owned();
        socket.send_text(&name)?;
        Ok(())
    });
    for (offers, agreed) in [
        (&["a", "b"][..], Some("b")),
        (&["c", "a"], Some("a")),
        (&["c"], None),
        (&[], None),
    ] {
        let client = offers
            .iter()
            .fold(Client::new(), |client, name| client.subprotocol(name));
        let mut socket = client.connect(&server.uri()).expect("connected");
        assert_eq!(socket.subprotocol(), agreed);
        let told = socket.recv().expect("a message");
        assert_eq!(told.as_text(), Some(agreed.unwrap_or("none")));
    }
}

#[test]
fn hook_sees_the_request_and_adds_headers() {
    let server = bind().on_request(|request| {
        assert_eq!(request.method(), "GET");
        assert_eq!(request.target(), "/chat?x=1");
        assert_eq!((request.path(), request.query()), ("/chat", Some("x=1")));
        assert_eq!(request.headers().get_str("x-ours"), Some("1"));
        assert!(request.peer().expect("a socket").ip().is_loopback());
        assert!(request.subprotocols().eq(["a", "b"]));
        Accept::new()
            .subprotocol("b")
            .header("X-Theirs", "2")
            .into()
    });
    let server = Running::start(server, |socket| {
        let opening = socket.opening().expect("it was opened");
        let (path, query) = (opening.path(), opening.query());
        let ours = opening.headers().get_str("X-Ours");
        let told = format!("{path} {query:?} {ours:?}");
        socket.send_text(&told)?;
        Ok(())
    });
    let mut socket = Client::new()
        .header("X-Ours", "1")
        .subprotocol("a")
        .subprotocol("b")
        .connect(&server.uri())
        .expect("connected");
    assert_eq!(socket.subprotocol(), Some("b"));
    let opening = socket.opening().expect("it was opened");
    assert_eq!(opening.headers().get_str("x-theirs"), Some("2"));
    let told = socket.recv().expect("what the handler saw");
    assert_eq!(told.as_text(), Some("/chat Some(\"x=1\") Some(\"1\")"));
}

#[test]
fn rejection_arrives_whole() {
    let body = vec![b'x'; 60_000];
    let answer = body.clone();
    let server = bind().on_request(move |_| {
        Reject::new(401)
            .header("WWW-Authenticate", "Bearer")
            .body(answer.clone())
            .into()
    });
    let server = Running::start(server, echo);
    // What the client sends meanwhile must not reset the connection under the answer.
    let mut tcp = server.tcp();
    tcp.write_all(&[REQUEST, &[0; 30_000]].concat())
        .expect("written");
    let mut raw = Vec::new();
    tcp.read_to_end(&mut raw).expect("no reset");
    assert!(raw.ends_with(&body));
    still_listens(&mut tcp);

    let error = ws_std::connect(&server.uri()).expect_err("rejected");
    let Error::Rejected(rejection) = error else {
        panic!("{error}");
    };
    assert_eq!(
        (rejection.status, &*rejection.reason),
        (401, "Unauthorized")
    );
    assert_eq!(
        rejection.headers.get_str("www-authenticate"),
        Some("Bearer")
    );
    assert_eq!(rejection.body, body);
}

#[test]
fn mistakes_of_a_hook_are_500() {
    for (name, mistake) in [
        (
            "panic",
            Box::new(|| -> Accept { panic!("on purpose") })
                as Box<dyn Fn() -> Accept + Send + Sync>,
        ),
        ("not offered", Box::new(|| Accept::new().subprotocol("x"))),
        (
            "reserved",
            Box::new(|| Accept::new().header("Upgrade", "x")),
        ),
        ("split", Box::new(|| Accept::new().header("X", "a\r\nY: b"))),
    ] {
        let server = Running::start(bind().on_request(move |_| mistake().into()), echo);
        assert!(
            server.answer(REQUEST).starts_with("HTTP/1.1 500 "),
            "{name}"
        );
    }
}

#[test]
fn message_over_the_limit_is_1009() {
    let server = Running::start(bind().max_message(Limit::At(1000)), echo);
    let mut socket = ws_std::connect(&server.uri()).expect("connected");
    socket.send_binary(&[0; 1000]).expect("sent");
    assert_eq!(socket.recv().expect("a reply").as_bytes().len(), 1000);
    socket.send_binary(&[0; 1001]).expect("sent");
    let error = socket.recv().expect_err("closed");
    assert_eq!(
        error.closed().expect("closed").code,
        CloseCode::MESSAGE_TOO_BIG
    );

    let mut socket = Client::new()
        .max_message(Limit::At(10))
        .connect(&server.uri())
        .expect("connected");
    socket.send_binary(&[0; 11]).expect("sent");
    let error = socket.recv().expect_err("too big");
    assert!(matches!(error, Error::Violation(Violation::MessageTooBig)));
}

#[test]
fn end_of_a_handler_is_a_close_code() {
    let server = Running::start(bind(), |socket| match socket.recv()?.as_text() {
        Some("panic") => panic!("on purpose"),
        Some("error") => Err("on purpose".into()),
        _ => Ok(()),
    });
    for (word, code) in [
        ("ok", CloseCode::NORMAL),
        ("error", CloseCode::INTERNAL_ERROR),
        ("panic", CloseCode::INTERNAL_ERROR),
        ("ok", CloseCode::NORMAL),
    ] {
        let mut socket = ws_std::connect(&server.uri()).expect("the server lives");
        socket.send_text(word).expect("sent");
        let closed = socket.wait_closed().expect("closed");
        assert_eq!((closed.code, closed.clean), (code, true), "{word}");
    }
}

#[test]
fn connections_above_the_bound_are_told_503() {
    let server = Running::start(bind().max_connections(2), echo);
    let sockets: Vec<_> = (0..2)
        .map(|_| ws_std::connect(&server.uri()).expect("connected"))
        .collect();
    let error = ws_std::connect(&server.uri()).expect_err("full");
    let Error::Rejected(rejection) = error else {
        panic!("{error}");
    };
    assert_eq!(rejection.status, 503);
    assert_eq!(rejection.headers.get_str("Retry-After"), Some("1"));
    drop(sockets);
    server.wait_idle();
    assert!(
        ws_std::connect(&server.uri()).is_ok(),
        "there is room again"
    );
}

#[test]
fn shutdown_tells_1001_and_waits() {
    let server = Running::echo();
    let mut sockets: Vec<_> = (0..3)
        .map(|_| ws_std::connect(&server.uri()).expect("connected"))
        .collect();
    // One in the middle of its handshake.
    let mut half = server.tcp();
    half.write_all(&REQUEST[..20]).expect("written");
    wait_until("four connections", || server.handle.connections() == 4);
    // All are served, not only accepted.
    for socket in &mut sockets {
        socket.send_text("x").expect("sent");
        assert!(socket.recv().is_ok());
    }
    let handle = server.handle.clone();
    let shutdown = std::thread::spawn(move || handle.shutdown(PATIENCE));
    for mut socket in sockets {
        let closed = socket.wait_closed().expect("closed");
        assert_eq!((closed.code, closed.clean), (CloseCode::GOING_AWAY, true));
    }
    let mut answer = String::new();
    half.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let report = in_time(move || shutdown.join()).expect("no panic");
    assert_eq!(
        report,
        Shutdown {
            in_time: 4,
            forced: 0
        }
    );
    assert!(ws_std::connect(&server.uri()).is_err(), "nothing listens");
}

/// The socket may be a service manager's, which passes it on to the next process.
#[test]
fn shutdown_leaves_a_listener_that_was_passed_to_its_other_holders() {
    for address in ["127.0.0.1:0", "0.0.0.0:0"] {
        let listener = std::net::TcpListener::bind(address).expect("a free port");
        let other = listener.try_clone().expect("a duplicate");
        let server = Running::start(ws_std::Server::from_listener(listener), echo);
        let port = other.local_addr().expect("it is bound").port();
        let socket = ws_std::connect(&format!("ws://127.0.0.1:{port}/")).expect("connected");
        drop(socket);
        in_time(move || drop(server));
        in_time(move || {
            let _connecting = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
            other.accept().expect("it still accepts");
        });
    }
}

#[test]
fn shutdown_cuts_off_at_the_deadline() {
    let server = Running::echo();
    // A peer that never answers the Close.
    let mut silent = server.tcp();
    silent.write_all(REQUEST).expect("written");
    read_head(&mut silent);
    let handle = server.handle.clone();
    let report = in_time(move || handle.shutdown(Duration::from_millis(50)));
    assert_eq!(
        report,
        Shutdown {
            in_time: 0,
            forced: 1
        }
    );
    let mut rest = Vec::new();
    // Long before the closing handshake times out.
    silent
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("it is a socket");
    silent.read_to_end(&mut rest).expect("cut off, not left");
    assert_eq!(rest, plain(0x88, b"\x03\xe9"));
    assert_eq!(server.handle.shutdown(PATIENCE), report, "once and for all");
}

#[test]
fn shutdown_does_not_wait_for_a_handler_that_computes() {
    let (sender, receiver) = mpsc::channel();
    let barrier = Arc::new(Barrier::new(2));
    let computing = Arc::clone(&barrier);
    let server = Running::start(bind(), move |socket| {
        sender.send(socket.state()).expect("the test listens");
        computing.wait();
        Ok(())
    });
    let socket = ws_std::connect(&server.uri()).expect("connected");
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok(State::Open));
    let handle = server.handle.clone();
    let report = in_time(move || handle.shutdown(Duration::from_millis(20)));
    assert_eq!(report.forced, 1);
    barrier.wait();
    drop(socket);
    server.wait_idle();
}

#[test]
fn heartbeat_and_idle_timeout_run_while_a_handler_receives() {
    let mut config = ws_std::Config::new();
    config.timeouts.ping_interval = ws_std::Timeout::Ms(20);
    config.timeouts.pong = ws_std::Timeout::Ms(40);
    let server = Running::start(bind().config(config), echo);
    let mut tcp = server.tcp();
    tcp.write_all(REQUEST).expect("written");
    read_head(&mut tcp);
    assert_eq!(read_n(&mut tcp, 6), plain(0x89, b"\0\0\0\x01"));
    let mut rest = Vec::new();
    let _ = tcp.read_to_end(&mut rest);
    assert_eq!(
        rest,
        plain(0x88, b"\x03\xf3"),
        "1011: the ping was not answered"
    );
    server.wait_idle();
}

#[test]
fn server_end_of_closing_can_be_read_though_the_client_still_sends() {
    let server = Running::start(bind(), |_| Ok(()));
    let mut tcp = server.tcp();
    let mut bytes = REQUEST.to_vec();
    bytes.extend(masked(0x82, &[0; 1000]).repeat(20));
    bytes.extend(masked(0x88, b"\x03\xe8"));
    tcp.write_all(&bytes).expect("written");
    read_head(&mut tcp);
    let mut rest = Vec::new();
    tcp.read_to_end(&mut rest).expect("no reset");
    assert_eq!(rest, plain(0x88, b"\x03\xe8"));
    still_listens(&mut tcp);
}

/// After its last word the server reads on for a while: a reset would throw away what we have not
/// read yet. On this machine the last word is faster than any reset, so this looks for the reset.
fn still_listens(tcp: &mut TcpStream) {
    for _ in 0..100 {
        tcp.write_all(&[0; 100]).expect("nobody resets");
        std::thread::yield_now();
    }
    tcp.shutdown(TcpShutdown::Write).expect("nobody resets");
}

#[test]
fn shutdown_does_not_wait_for_a_peer_that_has_gone() {
    let (sender, receiver) = mpsc::channel();
    let barrier = Arc::new(Barrier::new(2));
    let computing = Arc::clone(&barrier);
    let server = Running::start(bind(), move |socket| {
        sender.send(()).expect("the test listens");
        computing.wait();
        echo(socket)
    });
    let mut tcp = server.tcp();
    tcp.write_all(REQUEST).expect("written");
    read_head(&mut tcp);
    receiver.recv_timeout(PATIENCE).expect("it is served");
    drop(tcp);
    let handle = server.handle.clone();
    let begun = Instant::now();
    let shutdown = std::thread::spawn(move || handle.shutdown(PATIENCE));
    wait_until("the server stops", || {
        TcpStream::connect(server.address).is_err()
    });
    barrier.wait();
    let report = shutdown.join().expect("no panic");
    assert_eq!(report.forced, 0);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

/// The same for one that says FIN, and no Close: its end cannot be read, because reading was ended
/// to wake the thread.
#[test]
fn shutdown_does_not_wait_for_a_peer_that_ends_without_a_close() {
    let server = Running::echo();
    let mut tcp = server.tcp();
    tcp.write_all(&[REQUEST, &masked(0x81, b"x")].concat())
        .expect("written");
    read_head(&mut tcp);
    assert_eq!(read_n(&mut tcp, 3), plain(0x81, b"x"));
    let handle = server.handle.clone();
    let begun = Instant::now();
    let shutdown = std::thread::spawn(move || handle.shutdown(PATIENCE));
    assert_eq!(read_n(&mut tcp, 4), plain(0x88, b"\x03\xe9"));
    tcp.shutdown(TcpShutdown::Write).expect("it is open");
    let report = shutdown.join().expect("no panic");
    assert_eq!(report.forced, 0);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn peer_that_does_not_read_is_given_up_on() {
    let (sender, receiver) = mpsc::channel();
    let server = bind().send_timeout(Some(Duration::from_millis(50)));
    let server = Running::start(server, move |socket| {
        let payload = vec![0; 1 << 20];
        loop {
            if let Err(error) = socket.send_binary(&payload) {
                sender.send(error).expect("the test listens");
                return Ok(());
            }
        }
    });
    let mut tcp = server.tcp();
    tcp.write_all(REQUEST).expect("written");
    let error = receiver.recv_timeout(PATIENCE).expect("it gives up");
    assert!(
        matches!(&error, Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut),
        "{error}"
    );
    let begun = Instant::now();
    server.wait_idle();
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "no closing handshake"
    );
}

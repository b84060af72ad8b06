//! The `ws` program: what it prints, and how it ends.
#![cfg(all(feature = "cli", unix))]

mod support;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process::{Child, Command, Output, Stdio},
};

use support::{Running, bind, echo, in_time};
use ws_std::{CloseCode, MessageKind, Reject};

fn ws(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ws"));
    command.args(arguments);
    in_time(move || command.output().expect("it runs"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn send_prints_replies() {
    let server = Running::echo();
    let uri = server.uri();
    let output = ws(&["send", &uri, "Hello", "wörld", "a\u{1b}[2Jb\u{202e}"]);
    assert_eq!(
        text(&output.stdout),
        "Hello\nwörld\na\\u{1b}[2Jb\\u{202e}\n"
    );
    assert_eq!(output.status.code(), Some(0));
    let output = ws(&["send", "-b", &uri, "abc"]);
    assert_eq!(text(&output.stdout), "616263\n");
    let output = ws(&["send", "-b", "--raw", &uri, "a\u{1b}"]);
    assert_eq!(output.stdout, b"a\x1b");
}

#[test]
fn send_shows_the_handshake_without_secrets() {
    let server = Running::start(bind().subprotocol("chat"), echo);
    let output = ws(&[
        "send",
        "-v",
        "-H",
        "Authorization: Bearer s3cret",
        "-H",
        "X-Ours: 1",
        "-s",
        "chat",
        &server.uri(),
        "x",
    ]);
    let shown = text(&output.stderr);
    for line in [
        "> GET /chat?x=1 HTTP/1.1\n",
        "> X-Ours: 1\n",
        "> Authorization: [redacted]\n",
        "< HTTP/1.1 101 Switching Protocols\n",
        "< Sec-WebSocket-Protocol: chat\n",
        "close 1000 \"\"\n",
    ] {
        assert!(shown.contains(line), "{line:?} in {shown}");
    }
    assert!(!shown.contains("s3cret"));
}

#[test]
fn exit_codes() {
    let code = |arguments: &[&str]| ws(arguments).status.code();
    let server = Running::start(bind(), |socket| {
        match socket.recv()?.as_text() {
            Some("4000") => socket.close(CloseCode::new(4000), "why\u{7}")?,
            Some("silence") => _ = socket.recv()?,
            _ => socket.send_text("reply")?,
        }
        Ok(())
    });
    let uri = server.uri();
    assert_eq!(code(&["send", &uri, "x"]), Some(0));
    let output = ws(&["send", &uri, "4000"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("close 4000 \"why\\u{7}\""));
    assert_eq!(code(&["send"]), Some(2));
    assert_eq!(code(&["send", "http://127.0.0.1/", "x"]), Some(2));
    assert_eq!(code(&["send", "ws://nobody.invalid/", "x"]), Some(3));
    assert_eq!(code(&["send", "wss://127.0.0.1/", "x"]), Some(4));
    assert_eq!(
        code(&["send", "--timeout", "0.1", &uri, "silence"]),
        Some(6)
    );

    let rejecting = bind().on_request(|_| Reject::new(403).body("not\x07you").into());
    let rejecting = Running::start(rejecting, echo);
    let output = ws(&["send", &rejecting.uri(), "x"]);
    assert_eq!(output.status.code(), Some(5));
    let shown = text(&output.stderr);
    assert!(shown.contains("403 Forbidden\nnot\\u{7}you\n"), "{shown}");

    let closing = Running::start(bind(), |_| Ok(()));
    let output = ws(&["send", &closing.uri(), "x"]);
    assert_eq!(output.status.code(), Some(0), "1000 is an ordinary end");
    assert!(text(&output.stderr).contains("closed before a reply"));

    // The reset of a socket with unread input.
    let resetting = raw(|tcp| {
        let _ = tcp.peek(&mut [0]);
    });
    assert_eq!(code(&["send", &resetting, "x"]), Some(3));
    let truncating = Running::start(bind(), |socket| {
        socket.begin(MessageKind::Text)?;
        socket.send_fragment(b"x")?;
        socket.stream().tcp().shutdown(Shutdown::Write)?;
        Ok(())
    });
    assert_eq!(code(&["send", &truncating.uri(), "x"]), Some(7));

    let breaking = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let uri = format!("ws://{}/", breaking.local_addr().expect("it is bound"));
    let server = std::thread::spawn(move || {
        let (mut tcp, _) = breaking.accept().expect("a connection");
        support::read_head(&mut tcp);
        Write::write_all(&mut tcp, b"SSH-2.0-x\r\n\r\n").expect("written");
    });
    assert_eq!(code(&["send", &uri, "x"]), Some(7));
    server.join().expect("no panic");
}

/// A server that does this to its one connection, and its URI.
fn raw(serve: impl FnOnce(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let uri = format!("ws://{}/", listener.local_addr().expect("it is bound"));
    std::thread::spawn(move || serve(listener.accept().expect("a connection").0));
    uri
}

#[test]
fn numbers_out_of_range_and_text_that_is_none_are_usage_errors() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    for arguments in [
        &["send", "-w", "1e19", "ws://127.0.0.1:1/", "x"][..],
        &["send", "--timeout", "-1", "ws://127.0.0.1:1/", "x"],
        &["send", "--timeout", "NaN", "ws://127.0.0.1:1/", "x"],
        &["echo", "--receive-buffer", "99999999999999"],
        &["echo", "--receive-buffer", "1"],
    ] {
        assert_eq!(ws(arguments).status.code(), Some(2), "{arguments:?}");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_ws"));
    command.args(["send", "ws://127.0.0.1:1/"]);
    command.arg(OsStr::from_bytes(b"\xff"));
    let status = in_time(move || command.status().expect("it runs"));
    assert_eq!(status.code(), Some(2));
}

/// A child that does not outlive its test.
struct Echo(Child);

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn echo_says_where_it_listens_holds_its_limits_and_ends_on_a_signal() {
    let mut echo = Command::new(env!("CARGO_BIN_EXE_ws"));
    echo.args(["echo", "--listen", "127.0.0.1:0", "--max-message", "5"]);
    let mut echo = Echo(echo.stdout(Stdio::piped()).spawn().expect("it runs"));
    let mut stdout = BufReader::new(echo.0.stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("it speaks");
    let uri = line
        .strip_prefix("listening on ")
        .expect("where it listens")
        .trim_end();
    assert!(uri.starts_with("ws://127.0.0.1:") && uri.ends_with('/'));

    let output = ws(&["send", uri, "12345"]);
    assert_eq!(text(&output.stdout), "12345\n");
    let output = ws(&["send", uri, "123456"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("close 1009"));

    let mut socket = ws_std::connect(uri).expect("connected");
    let id = echo.0.id().to_string();
    let killed = Command::new("kill").arg(id).status().expect("it runs");
    assert!(killed.success());
    let closed = socket.wait_closed().expect("closed in order");
    assert_eq!(closed.code, CloseCode::GOING_AWAY);
    let status = in_time(move || echo.0.wait().expect("it ends"));
    assert!(status.success());
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("it has ended");
    assert_eq!(rest, "");
}

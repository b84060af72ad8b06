//! RFC 6455 §4.2 to §4.4, rows 16 to 38 of the checklist: a server's side of the opening handshake.

use ws_proto::{
    Config, Event, Limits, Output, Role, ServerHandshake, Timeouts,
    handshake::{
        Acceptance, EMPTY_HEADER, HandshakeError, HandshakeMisuse, Header, RequestError, Upgrade,
    },
};
use ws_tests::Frames;

static CONFIG: Config = Config::new();

/// RFC 6455 §1.2 and §1.3, with the key of the example.
const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// How a server that takes what may be taken answers; what is no request for a WebSocket it does
/// not know. Nothing, as long as it awaits more.
///
/// The request comes whole and byte by byte, which must be the same.
#[track_caller]
fn answer(request: impl AsRef<[u8]>) -> String {
    let request = request.as_ref();
    let whole = answer_in_steps(request, [request.len()]);
    let single = answer_in_steps(request, 1..=request.len());
    assert_eq!(whole, single, "{}", request.escape_ascii());
    whole
}

fn answer_in_steps(request: &[u8], lens: impl IntoIterator<Item = usize>) -> String {
    let mut handshake = ServerHandshake::new();
    let mut buffer = [0; 1024];
    let mut output = Output::new(&mut buffer);
    for len in lens {
        let mut headers = [EMPTY_HEADER; 100];
        let asked = match handshake.receive(&request[..len], &mut headers, &CONFIG.limits) {
            Ok(None) => continue,
            Ok(Some(request)) => Ok((request.upgrade(), request.choose(&["chat", "superchat"]))),
            Err(error) => Err(error),
        };
        let answered = match asked {
            Ok((Upgrade::WebSocket, subprotocol)) => {
                let acceptance = Acceptance::new().subprotocol(subprotocol);
                let accepted = handshake.accept(&acceptance, &CONFIG, &mut output);
                accepted.map(drop).map_err(HandshakeError::from)
            }
            Ok((Upgrade::None, _)) => handshake.reject(404, &[], b"", &mut output),
            Ok((Upgrade::Refused(error), _)) | Err(error) => {
                handshake.reject_error(error, &mut output)
            }
        };
        assert_eq!(answered, Ok(()));
        break;
    }
    String::from_utf8(output.written().to_vec()).expect("answers are ASCII")
}

/// The request is refused with this status, in a whole answer of HTTP that ends the connection.
#[track_caller]
fn refused(request: impl AsRef<[u8]>, status: u16) -> String {
    let request = request.as_ref();
    let answer = answer(request);
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    let start = format!("HTTP/1.1 {status} ");
    assert!(
        head.starts_with(&start),
        "{status}: {} got {head}",
        request.escape_ascii()
    );
    assert!(head.contains("\r\nConnection: close"), "{head}");
    assert!(
        answer.contains(&format!("\r\nContent-Length: {}\r\n", body.len())),
        "{head}"
    );
    answer
}

/// The request of the RFC with `from` replaced.
#[track_caller]
fn with(from: &str, to: &str) -> String {
    assert!(REQUEST.contains(from));
    REQUEST.replacen(from, to, 1)
}

/// The request of the RFC with more lines.
fn and(lines: &str) -> String {
    with("\r\n\r\n", &format!("\r\n{lines}\r\n"))
}

/// RFC 6455 §4.2.1: "If the server, while reading the handshake, finds that the client did not send
/// a handshake that matches the description below [...], including but not limited to any violations
/// of the ABNF grammar specified for the components of the handshake, the server MUST stop
/// processing the client's handshake and return an HTTP response with an appropriate error code
/// (such as 400 Bad Request)."
#[test]
fn rfc_016_violated_grammar_is_answered_with_400() {
    assert_eq!(answer(REQUEST), ACCEPTED);
    for line in [
        "GET  /chat HTTP/1.1",
        "GET /chat",
        "GET",
        "GET /chat HTTP/1.1 ",
        "G@T / HTTP/1.1",
    ] {
        refused(with("GET /chat HTTP/1.1", line), 400);
    }
    for line in ["Host", ": x", "A B: c", "A\tB: c", "(A): b", "A\u{e9}: b"] {
        refused(and(&format!("{line}\r\n")), 400);
    }
    // TLS, and whatever else begins with no letter, is known by its first byte.
    for first in [0x16, 0x00, 0x80, b' ', b'\r', b'\n', 0xff] {
        refused([first], 400);
    }
}

/// RFC 6455 §4.2.1(1): "An HTTP/1.1 or higher GET request".
#[test]
fn rfc_017_method_is_get_and_version_1_1() {
    for method in ["POST", "HEAD", "PUT", "OPTIONS", "get"] {
        let request = with("GET", method);
        let answer = answer(&request);
        assert!(
            answer.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"),
            "{answer}"
        );
        // RFC 9110 §15.5.6: "The origin server MUST generate an Allow header field in a 405
        // response".
        assert!(answer.contains("\r\nAllow: GET\r\n"), "{answer}");
    }
    for version in ["HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/3.0"] {
        refused(with("HTTP/1.1", version), 505);
    }
    for version in ["HTTP/11", "HTP/1.1", "HTTP/1", "http/1.1"] {
        refused(with("HTTP/1.1", version), 400);
    }
}

/// RFC 6455 §4.2.1(1) takes a resource name or an absolute URI. RFC 9112 §3.2.2: "When an origin
/// server receives a request with an absolute-form of request-target, the origin server MUST ignore
/// the received Host header field (if any) and instead use the host information of the
/// request-target." Where they differ we refuse, which is stricter.
#[test]
fn rfc_018_target_is_a_path_or_a_uri_of_this_host() {
    for target in [
        "/chat?a=b",
        "http://server.example.com/chat",
        "ws://server.example.com/chat",
        "WSS://SERVER.example.com?a",
        "http://server.example.com",
    ] {
        assert_eq!(answer(with("/chat", target)), ACCEPTED, "{target}");
    }
    for target in [
        "http://other.example.com/chat",
        "http://server.example.com:81/chat",
        "http://server.example.com@other/chat",
        "http:///chat",
        "ftp://server.example.com/chat",
        "chat",
        "*",
        "server.example.com:80",
    ] {
        refused(with("/chat", target), 400);
    }
    let mut headers = [EMPTY_HEADER; 100];
    let request = with("/chat", "http://server.example.com/chat/a?b=c");
    let mut handshake = ServerHandshake::new();
    let received = handshake.receive(request.as_bytes(), &mut headers, &CONFIG.limits);
    let received = received.expect("right").expect("whole");
    assert_eq!(
        (received.host(), received.path()),
        ("server.example.com", "/chat/a")
    );
    assert_eq!(received.query(), Some("b=c"));
}

/// Nobody agrees about what such targets mean, and the next reader may take another view.
#[test]
fn rfc_019_target_is_visible_ascii_without_fragment() {
    for target in [
        "/chat#x", "/#", "/a b", "/a\tb", "/a\0", "/a\x7f", "/a\u{e9}", "/a\x1b", "/a\rb",
    ] {
        refused(with("/chat", target), 400);
    }
    assert_eq!(answer(with("/chat", "/%23%20%00~")), ACCEPTED);
}

/// RFC 6455 §4.2.1(2): "A |Host| header field containing the server's authority." RFC 9112 §3.2: "A
/// server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that
/// lacks a Host header field and to any request message that contains more than one Host header
/// field line or a Host header field with an invalid field value."
#[test]
fn rfc_020_host_is_there_once() {
    const HOST: &str = "Host: server.example.com\r\n";
    for host in [
        "",
        "Host:\r\n",
        "Host:  \r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nhost: b\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: u@a\r\n",
        "Host: \u{e9}\r\n",
    ] {
        refused(with(HOST, host), 400);
    }
    for host in ["Host: a:81\r\n", "HOST: [::1]:81\r\n", "host:1.2.3.4\r\n"] {
        assert_eq!(answer(with(HOST, host)), ACCEPTED, "{host}");
    }
}

/// RFC 6455 §4.2.1(3): "An |Upgrade| header field containing the value "websocket", treated as an
/// ASCII case-insensitive value."
#[test]
fn rfc_021_upgrade_lists_websocket() {
    const UPGRADE: &str = "Upgrade: websocket\r\n";
    for upgrade in [
        "Upgrade: WebSocket\r\n",
        "UPGRADE:WEBSOCKET\r\n",
        "Upgrade: h2c, websocket\r\n",
        "Upgrade: h2c\r\nUpgrade: websocket\r\n",
        "Upgrade: ,websocket,\r\n",
    ] {
        assert_eq!(answer(with(UPGRADE, upgrade)), ACCEPTED, "{upgrade}");
    }
    // Anything else is plain HTTP, which this server does not have.
    for upgrade in [
        "",
        "Upgrade: h2c\r\n",
        "Upgrade: websockets\r\n",
        "Upgrade: web socket\r\n",
        "Upgrade:\r\n",
    ] {
        refused(with(UPGRADE, upgrade), 404);
    }
    // Who asks all the same may be told what to ask for.
    let request = with(UPGRADE, "");
    let mut headers = [EMPTY_HEADER; 100];
    let mut handshake = ServerHandshake::new();
    let received = handshake.receive(request.as_bytes(), &mut headers, &CONFIG.limits);
    assert_eq!(
        received.expect("right").expect("whole").upgrade(),
        Upgrade::None
    );
    let mut buffer = [0; 1024];
    let mut output = Output::new(&mut buffer);
    handshake
        .reject(426, &[], b"", &mut output)
        .expect("there is room");
    let answer = String::from_utf8_lossy(output.written()).into_owned();
    assert!(answer.contains("\r\nUpgrade: websocket\r\n"), "{answer}");
}

/// RFC 6455 §4.2.1(4): "A |Connection| header field that includes the token "Upgrade", treated as an
/// ASCII case-insensitive value."
#[test]
fn rfc_022_connection_lists_upgrade() {
    const CONNECTION: &str = "Connection: Upgrade\r\n";
    for connection in [
        "connection: upgrade\r\n",
        "Connection: keep-alive, Upgrade\r\n",
        "Connection: UPGRADE,keep-alive\r\n",
        "Connection: keep-alive\r\nConnection: Upgrade\r\n",
        "Connection: , ,\tUpgrade ,\r\n",
    ] {
        assert_eq!(
            answer(with(CONNECTION, connection)),
            ACCEPTED,
            "{connection}"
        );
    }
    for connection in [
        "",
        "Connection: keep-alive\r\n",
        "Connection: upgrades\r\n",
        "Connection: keep-alive Upgrade\r\n",
    ] {
        refused(with(CONNECTION, connection), 400);
    }
}

/// RFC 6455 §4.2.1(5): "A |Sec-WebSocket-Key| header field with a base64-encoded (see Section 4 of
/// [RFC4648]) value that, when decoded, is 16 bytes in length."
#[test]
fn rfc_023_key_is_there_once_and_has_sixteen_bytes() {
    let header = |key: &str| format!("Sec-WebSocket-Key: {key}\r\n");
    for key in [
        "",
        "dGhlIHNhbXBsZSBub25j",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZSE=",
        "dGhlIHNhbXBsZSBub25jZSEh",
        "dGhlIHNhbXBsZSBub25jZR==",
        "dGhlIHNhbXBsZSBub25j*Q==",
        "dGhlIHNhbXBsZSBub25j-Q==",
        "dGhl HNhbXBsZSBub25jZQ==",
        "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==",
        &"A".repeat(4096),
    ] {
        refused(with(KEY, &header(key)), 400);
    }
    refused(with(KEY, ""), 400);
    refused(with(KEY, &KEY.repeat(2)), 400);
    for last in ["A", "Q", "g", "w"] {
        let accepted = answer(with(
            KEY,
            &header(&format!("dGhlIHNhbXBsZSBub25jZ{last}==")),
        ));
        assert!(accepted.starts_with("HTTP/1.1 101 "), "{last}");
    }
    assert_eq!(
        answer(with(
            KEY,
            &KEY.replace(": ", ":\t ").replace("\r\n", " \t\r\n")
        )),
        ACCEPTED
    );
}

/// RFC 6455 §4.4: "If the server doesn't support the requested version, it MUST respond with [...]
/// an appropriate HTTP error code (such as 426 Upgrade Required) and a |Sec-WebSocket-Version|
/// header field indicating the version(s) the server is capable of understanding."
#[test]
fn rfc_024_other_versions_are_answered_with_426() {
    const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
    for version in [
        "".to_owned(),
        VERSION.repeat(2),
        VERSION.replace("13", ""),
        VERSION.replace("13", "8"),
        VERSION.replace("13", "0"),
        VERSION.replace("13", "14"),
        VERSION.replace("13", "013"),
        VERSION.replace("13", "13, 8"),
        VERSION.replace("13", "13;q=1"),
        VERSION.replace("13", "8, 13"),
    ] {
        let answer = refused(with(VERSION, &version), 426);
        assert!(
            answer.contains("\r\nSec-WebSocket-Version: 13\r\n"),
            "{answer}"
        );
        assert!(answer.contains("\r\nUpgrade: websocket\r\n"), "{answer}");
    }
    // Drafts of before had no version, and two keys: there is no path to them.
    let hixie = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nSec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n";
    refused(hixie, 426);
}

/// RFC 6455 §9.1: "If a value is received by either the client or the server during negotiation that
/// does not conform to the ABNF below, the recipient of such malformed data MUST immediately _Fail
/// the WebSocket Connection_." §4.3 has the grammar of both headers.
#[test]
fn rfc_025_lists_that_violate_their_grammar_are_refused() {
    for value in ["", ",", "a b", "\"a\"", "a/b", "a,b c", "a;b", "\u{e9}"] {
        refused(and(&format!("Sec-WebSocket-Protocol: {value}\r\n")), 400);
    }
    for value in [
        "",
        ",",
        "a;",
        "a b",
        "a;b=",
        "a;b=\"",
        "a;b=\"c d\"",
        "a;=c",
        "a;b=c d",
        "=a",
        "a, b;",
    ] {
        refused(and(&format!("Sec-WebSocket-Extensions: {value}\r\n")), 400);
    }
    // One bad line among good ones.
    refused(
        and("Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b c\r\n"),
        400,
    );
    refused(
        and("Sec-WebSocket-Extensions: a\r\nSec-WebSocket-Extensions: ;\r\n"),
        400,
    );
    let good = "Sec-WebSocket-Extensions: a, b; c; d=e; f=\"g\"\r\nSec-WebSocket-Protocol: x,,y\r\n\
        Sec-WebSocket-Extensions: h\r\nSec-WebSocket-Protocol: z\r\n";
    assert_eq!(answer(and(good)), ACCEPTED);
}

/// The same "in linear time": of a quarter megabyte, whose square is more than any test run could take.
#[test]
fn rfc_025_hostile_lists_are_read_in_linear_time() {
    const LEN: usize = 1 << 18;
    let limits = Limits {
        max_head: 3 * LEN,
        ..Limits::new()
    };
    for (name, pieces) in [
        ("Sec-WebSocket-Protocol", [",", "a,", "a ,", " "]),
        (
            "Sec-WebSocket-Extensions",
            ["a,", "a;b,", ", ", "a;b=\"\\c\","],
        ),
        ("Sec-WebSocket-Extensions", ["\\c", "a;", ";", "\""]),
        ("Connection", ["a,", ",", " ", "upgrade "]),
        ("Upgrade", ["a,", ",", " ", "websocket "]),
    ] {
        for piece in pieces {
            let value = piece.repeat(LEN / piece.len());
            let request = and(&format!("{name}: x; a=\"{value}\r\n{name}: {value}(\r\n"));
            let mut headers = [EMPTY_HEADER; 16];
            let mut handshake = ServerHandshake::new();
            let received = handshake.receive(request.as_bytes(), &mut headers, &limits);
            let request = received.expect("right").expect("whole");
            let lists = request.extensions().count() + request.subprotocols().count();
            assert!(lists <= LEN);
        }
    }
}

/// What a server does with the origin before it accepts.
fn answer_to_origin(request: &str, allowed: &[&str]) -> String {
    let mut headers = [EMPTY_HEADER; 100];
    let mut handshake = ServerHandshake::new();
    let mut buffer = [0; 1024];
    let mut output = Output::new(&mut buffer);
    let received = handshake.receive(request.as_bytes(), &mut headers, &CONFIG.limits);
    let request = received.expect("right").expect("whole");
    let is_allowed = request
        .origin()
        .is_none_or(|origin| allowed.iter().any(|allowed| allowed.as_bytes() == origin));
    match request.upgrade() {
        Upgrade::Refused(error) => handshake.reject_error(error, &mut output),
        _ if !is_allowed => handshake.reject(403, &[], b"", &mut output),
        _ => handshake
            .accept(&Acceptance::new(), &CONFIG, &mut output)
            .map(drop)
            .map_err(From::from),
    }
    .expect("there is room");
    String::from_utf8(output.written().to_vec()).expect("ASCII")
}

/// RFC 6455 §4.2.2(4): "If the server does not validate the origin, it will accept connections from
/// anywhere." and "If the origin indicated is unacceptable to the server, then it SHOULD respond
/// with an appropriate HTTP error code (e.g., 403 Forbidden) and abort the WebSocket handshake". The
/// core shows the origin before anything is written; there is never more than one to choose from.
#[test]
fn rfc_026_unacceptable_origin_is_refused_before_the_101() {
    let allowed = ["https://example.com", "https://example.com:8443"];
    for origin in allowed {
        assert_eq!(
            answer_to_origin(&and(&format!("Origin: {origin}\r\n")), &allowed),
            ACCEPTED
        );
    }
    for origin in [
        "null",
        "http://example.com",
        "https://example.com.evil.org",
        "https://example.com:443",
        "https://EXAMPLE.com",
        "https://example.com/",
        "",
    ] {
        let answer = answer_to_origin(&and(&format!("Origin: {origin}\r\n")), &allowed);
        assert!(
            answer.starts_with("HTTP/1.1 403 Forbidden\r\nConnection: close"),
            "{origin}"
        );
        assert!(!answer.contains(" 101 "), "{answer}");
    }
    let twice = and("Origin: https://example.com\r\nOrigin: https://evil.org\r\n");
    refused(twice, 400);
}

/// RFC 6455 §4.2.2(4): "If the requested service is not available, the server MUST send an
/// appropriate HTTP error code (such as 404 Not Found) and abort the WebSocket handshake."
#[test]
fn rfc_027_unknown_resource_is_answered_with_404() {
    let mut headers = [EMPTY_HEADER; 100];
    let mut handshake = ServerHandshake::new();
    let received = handshake.receive(REQUEST.as_bytes(), &mut headers, &CONFIG.limits);
    let request = received.expect("right").expect("whole");
    assert_eq!(
        (request.upgrade(), request.path()),
        (Upgrade::WebSocket, "/chat")
    );
    let mut buffer = [0; 1024];
    let mut output = Output::new(&mut buffer);
    handshake
        .reject(404, &[], b"no such room", &mut output)
        .expect("there is room");
    let answer =
        b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 12\r\n\r\nno such room";
    assert_eq!(output.written(), answer);
    // What was refused cannot be accepted any more.
    let accepted = handshake.accept(&Acceptance::new(), &CONFIG, &mut output);
    let error = accepted.expect_err("it was refused").error;
    assert_eq!(
        error,
        HandshakeError::Misuse(HandshakeMisuse::AlreadyAnswered)
    );
    assert_eq!(output.written(), answer);
}

/// RFC 6455 §10.2: "The |Origin| header field protects from the attack cases when the untrusted party
/// is typically the author of a JavaScript application that is executing in the context of the
/// trusted client." Who sends none is no browser.
#[test]
fn rfc_028_absent_origin_is_no_browser() {
    assert_eq!(
        answer_to_origin(REQUEST, &["https://example.com"]),
        ACCEPTED
    );
}

/// What follows could be read as frames by one and as a request by another (CVE-2026-69243).
#[test]
fn rfc_029_upgrade_with_a_body_is_refused() {
    for lines in [
        "Content-Length: 1\r\n",
        "Content-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "transfer-encoding: identity\r\n",
        "Transfer-Encoding:\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 0\r\nContent-Length: 0\r\n",
        "Content-Length: 0, 0\r\n",
        "Content-Length: +0\r\n",
        "Content-Length: -1\r\n",
        "Content-Length:\r\n",
        "Content-Length: 99999999999999999999\r\n",
    ] {
        refused(and(lines), 400);
    }
    assert_eq!(answer(and("Content-Length: 0\r\n")), ACCEPTED);
}

/// RFC 9112 §5.1: "No whitespace is allowed between the field name and colon." §2.2: "A recipient of
/// such a bare CR MUST consider that element to be invalid". §5.2: "A server that receives an
/// obs-fold in a request message [...] MUST [...] reject the message by sending a 400 (Bad Request)".
#[test]
fn rfc_030_sloppy_heads_are_refused() {
    for line in [
        "A : b\r\n",
        "A\t: b\r\n",
        " A: b\r\n",
        "A: b\r\n c\r\n",
        "A: b\r\n\tc\r\n",
        "A: b\0c\r\n",
        "A: b\rc\r\n",
        "A: b\x1bc\r\n",
        "A: b\x7fc\r\n",
        "\u{e9}: b\r\n",
        "A\0: b\r\n",
        "A,B: c\r\n",
    ] {
        refused(and(line), 400);
    }
    // A bare LF at the end of each line in turn.
    for (at, _) in REQUEST.match_indices("\r\n") {
        let mut request = REQUEST.to_owned();
        request.remove(at);
        refused(request, 400);
    }
    assert_eq!(
        answer(and("A: b\t c \u{e9}\r\n")),
        ACCEPTED,
        "obs-text is a value"
    );
}

/// RFC 6455 §10.4 asks for limits; RFC 9110 and RFC 6585 have 414 and 431 for them. The answer comes
/// at the byte that is too much, and not when the head is complete.
#[test]
fn rfc_031_limits_are_judged_before_more_is_awaited() {
    let refused_at = |request: &[u8], headers: usize, limits: &Limits| {
        let mut handshake = ServerHandshake::new();
        for len in 1..=request.len() {
            let mut headers = vec![EMPTY_HEADER; headers];
            match handshake.receive(&request[..len], &mut headers, limits) {
                Ok(None) => {}
                Ok(Some(_)) => return Ok(len),
                Err(error) => return Err((len, error.status())),
            }
        }
        panic!("it awaits more than {}", request.len());
    };
    let limits = Limits {
        max_start_line: 30,
        max_head: REQUEST.len(),
        ..Limits::new()
    };
    // As long as is allowed, and longer by one.
    let line = |len: usize| {
        with(
            "/chat",
            &format!("/{}", "a".repeat(len - "GET / HTTP/1.1".len())),
        )
    };
    let roomy = Limits {
        max_head: 1000,
        ..limits
    };
    assert!(refused_at(line(30).as_bytes(), 100, &roomy).is_ok());
    let (at, status) = refused_at(line(31).as_bytes(), 100, &roomy).expect_err("too long");
    assert_eq!(status, 414);
    assert!(at <= 30 + 2, "{at}");
    let (at, status) = refused_at(&b"A".repeat(100), 100, &roomy).expect_err("too long");
    assert_eq!((at <= 32, status), (true, 414));

    assert_eq!(
        refused_at(REQUEST.as_bytes(), 100, &limits),
        Ok(REQUEST.len())
    );
    let longer = with("server", "serverr");
    let tight = refused_at(longer.as_bytes(), 100, &limits);
    assert_eq!(tight, Err((limits.max_head, 431)));
    let endless = [REQUEST.trim_end().as_bytes(), &b"x".repeat(5000)].concat();
    assert_eq!(
        refused_at(&endless, 100, &limits),
        Err((limits.max_head, 431))
    );

    // Five headers are five headers.
    assert_eq!(
        refused_at(REQUEST.as_bytes(), 5, &Limits::new()),
        Ok(REQUEST.len())
    );
    assert_eq!(
        refused_at(REQUEST.as_bytes(), 4, &Limits::new()),
        Err((REQUEST.len(), 431))
    );

    // The defaults: 8 KiB of request line, 16 KiB of head.
    let defaults = Limits::new();
    let (at, status) = refused_at(&b"G".repeat(20_000), 100, &defaults).expect_err("too long");
    assert_eq!((at <= (8 << 10) + 2, status), (true, 414));
    let endless = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(20_000));
    assert_eq!(
        refused_at(endless.as_bytes(), 100, &defaults),
        Err((16 << 10, 431))
    );
    refused(endless, 431);
}

/// §10.4 in time: the head has to be complete by an instant, however busily its bytes trickle in.
#[test]
fn rfc_032_deadline_is_absolute() {
    let timeouts = Timeouts::new();
    let mut handshake = ServerHandshake::new();
    let mut now = 1_000_000;
    assert_eq!(handshake.handle_timeout(now, &timeouts), None);
    let deadline = now + 10_000;
    for len in 1..REQUEST.len() {
        let mut headers = [EMPTY_HEADER; 100];
        let received = handshake.receive(&REQUEST.as_bytes()[..len], &mut headers, &CONFIG.limits);
        assert!(matches!(received, Ok(None)));
        now += 100;
        assert_eq!(handshake.next_timeout(), Some(deadline));
        let over = handshake.handle_timeout(now.min(deadline - 1), &timeouts);
        assert_eq!(over, None);
    }
    assert!(now > deadline, "the last byte would come too late");
    let over = handshake.handle_timeout(deadline, &timeouts);
    assert_eq!(over, Some(RequestError::Timeout));
    assert_eq!(
        handshake.handle_timeout(deadline + 1, &timeouts),
        None,
        "it is told once"
    );
    assert_eq!(handshake.next_timeout(), None);
    let mut buffer = [0; 512];
    let mut output = Output::new(&mut buffer);
    handshake
        .reject_error(RequestError::Timeout, &mut output)
        .expect("there is room");
    assert!(
        output
            .written()
            .starts_with(b"HTTP/1.1 408 Request Timeout\r\nConnection: close")
    );
}

/// CVE-2023-43669 was a head parsed anew with each segment. Here each byte is searched once: those
/// that were seen may turn into anything, bare LFs and empty lines among it, and nobody notices
/// until the head is complete.
#[test]
fn rfc_033_bytes_that_were_seen_are_not_looked_at_again() {
    let line = "A: b\r\n".repeat(90);
    let request = and(&format!("{line}B: {}\r\n", "b".repeat(12_000)));
    let bytes = request.as_bytes();
    for step in [1, 2, 7, 100, 1000] {
        let mut handshake = ServerHandshake::new();
        let mut len = 0;
        while len + step < bytes.len() {
            let seen = len.saturating_sub(2);
            len += step;
            let mut spoilt = bytes[..len].to_vec();
            for (i, byte) in spoilt[..seen].iter_mut().enumerate().skip(1) {
                *byte = b"\n\r\n\r\n\0"[i % 6];
            }
            let mut headers = [EMPTY_HEADER; 100];
            let received = handshake.receive(&spoilt, &mut headers, &CONFIG.limits);
            assert!(
                matches!(received, Ok(None)),
                "at {len} in steps of {step}: {received:?}"
            );
        }
        let mut headers = [EMPTY_HEADER; 100];
        let received = handshake.receive(bytes, &mut headers, &CONFIG.limits);
        let request = received.expect("right").expect("whole");
        assert_eq!(
            (request.upgrade(), request.headers().len()),
            (Upgrade::WebSocket, 96)
        );
    }
}

/// RFC 6455 §4.2.2(5): the response, with the key and the answer of §1.3.
#[test]
fn rfc_034_response_of_the_rfc() {
    assert_eq!(answer(REQUEST), ACCEPTED);
    // Another key, another answer.
    let other = answer(with("dGhlIHNhbXBsZSBub25jZQ==", "x3JJHMbDL1EzLkh9GBhXDw=="));
    assert!(
        other.contains("\r\nSec-WebSocket-Accept: HSmrc0sMlYUkAGmm5OPpG2HaGWk=\r\n"),
        "{other}"
    );
}

/// RFC 6455 §4.2.2(5): "The value chosen MUST be derived from the client's handshake, specifically
/// by selecting one of the values from the |Sec-WebSocket-Protocol| field that the server is willing
/// to use for this connection" and: "The absence of such a field is equivalent to the null value
/// (meaning that if the server does not wish to agree to one of the suggested subprotocols, it MUST
/// NOT send back a |Sec-WebSocket-Protocol| header field in its response)." Only
/// `Request::choose` makes a subprotocol, so another cannot be answered.
#[test]
fn rfc_035_subprotocol_is_one_that_was_offered() {
    for (offered, chosen) in [
        ("chat", Some("chat")),
        ("superchat, chat", Some("chat")),
        ("x, superchat", Some("superchat")),
        (
            "x\r\nSec-WebSocket-Protocol: y, superchat",
            Some("superchat"),
        ),
        ("x", None),
        ("Chat", None),
        ("chatter, cha", None),
    ] {
        let answer = answer(and(&format!("Sec-WebSocket-Protocol: {offered}\r\n")));
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        let line = answer
            .lines()
            .find(|line| line.starts_with("Sec-WebSocket-Protocol"));
        let expected = chosen.map(|chosen| format!("Sec-WebSocket-Protocol: {chosen}"));
        assert_eq!(line, expected.as_deref(), "{offered}");
    }
    assert!(!answer(REQUEST).contains("Protocol:"));
}

/// RFC 6455 §4.2.2(5): "If the server wishes to use [no extension], this field is omitted"; §9.1: "A
/// server MUST NOT accept any extension that was not requested by the client." None is supported yet,
/// so none is answered, whatever is offered.
#[test]
fn rfc_036_no_extension_is_answered_that_was_not_agreed() {
    for offered in [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits, x-webkit-deflate-frame",
        "foo",
    ] {
        assert_eq!(
            answer(and(&format!("Sec-WebSocket-Extensions: {offered}\r\n"))),
            ACCEPTED
        );
    }
}

/// RFC 9110 §8.6: "A server MUST NOT send a Content-Length header field in any response with a status
/// code of 1xx". What the application adds can neither be that nor end the head.
#[test]
fn rfc_037_response_has_no_body_and_no_smuggled_headers() {
    let accept = |name: &str, value: &[u8]| {
        let mut headers = [EMPTY_HEADER; 100];
        let mut handshake = ServerHandshake::new();
        handshake
            .receive(REQUEST.as_bytes(), &mut headers, &CONFIG.limits)
            .expect("right");
        let mut buffer = [0; 1024];
        let mut output = Output::new(&mut buffer);
        let added = [Header { name, value }];
        let result = handshake.accept(&Acceptance::new().headers(&added), &CONFIG, &mut output);
        match result {
            Ok(_) => Ok(String::from_utf8(output.written().to_vec()).expect("ASCII")),
            Err(unaccepted) => {
                assert_eq!(output.written(), b"");
                Err(unaccepted.error)
            }
        }
    };
    let added = ACCEPTED.replace("\r\n\r\n", "\r\nSet-Cookie: a=b\r\n\r\n");
    assert_eq!(accept("Set-Cookie", b"a=b"), Ok(added));
    for name in [
        "Content-Length",
        "transfer-encoding",
        "UPGRADE",
        "Connection",
        "Sec-WebSocket-Accept",
        "sec-websocket-protocol",
        "Sec-WebSocket-Extensions",
        "Sec-WebSocket-Version",
    ] {
        let reserved = Err(HandshakeError::Misuse(HandshakeMisuse::ReservedHeader));
        assert_eq!(accept(name, b"x"), reserved, "{name}");
    }
    for name in ["", "A B", "A:", "A\r\nB", "A\n"] {
        let wrong = Err(HandshakeError::Misuse(HandshakeMisuse::InvalidHeaderName));
        assert_eq!(accept(name, b"x"), wrong, "{name:?}");
    }
    for value in [&b"a\r\nB: c"[..], b"a\nB: c", b"a\r", b"a\0", b"\r\n\r\n"] {
        let wrong = Err(HandshakeError::Misuse(HandshakeMisuse::InvalidHeaderValue));
        assert_eq!(accept("A", value), wrong, "{value:?}");
    }
}

/// Bytes behind the head are the first frames: neither lost nor looked at before the acceptance.
#[test]
fn rfc_038_bytes_behind_the_request_are_the_first_frames() {
    let frames = Frames::of(Role::Client).text("Hello").ping("?").take();
    for len in 0..=frames.len() {
        let mut input = [REQUEST.as_bytes(), &frames[..len]].concat();
        let mut handshake = ServerHandshake::new();
        let mut headers = [EMPTY_HEADER; 100];
        let received = handshake.receive(&input, &mut headers, &CONFIG.limits);
        assert!(matches!(received, Ok(Some(_))));
        assert_eq!(handshake.head_len(), REQUEST.len());
        assert_eq!(input[REQUEST.len()..], frames[..len], "still as they came");
        let mut buffer = [0; 512];
        let mut output = Output::new(&mut buffer);
        let mut connection = handshake
            .accept(&Acceptance::new(), &CONFIG, &mut output)
            .expect("there is room");
        // The rest comes later.
        let mut rest = input.split_off(REQUEST.len());
        rest.extend_from_slice(&frames[len..]);
        let mut input = &mut rest[..];
        assert_eq!(
            connection.receive(&mut input, &mut output),
            Some(Event::Text("Hello"))
        );
        assert_eq!(
            connection.receive(&mut input, &mut output),
            Some(Event::Ping(b"?"))
        );
        assert!(output.written().ends_with(b"\r\n\r\n\x8a\x01?"));
    }
    // What would be no frame does not matter to the handshake.
    let rubbish = [REQUEST.as_bytes(), b"\xff\xff\n\n"].concat();
    assert_eq!(answer(rubbish), ACCEPTED);
}

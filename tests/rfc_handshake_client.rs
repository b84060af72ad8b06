//! RFC 6455 §3 and §4.1, rows 1 to 15 and 39 to 45 of the checklist: URIs, and a client's side of
//! the opening handshake.

use std::collections::HashSet;

use ws_proto::{
    ClientHandshake, Config, Connection, Event, Limits, Output, Role, Timeouts, WsUri,
    handshake::{
        ClientRequest, EMPTY_HEADER, HandshakeError,
        HandshakeMisuse::{
            self, InvalidHeaderName, InvalidHeaderValue, InvalidOrigin, InvalidSubprotocol,
            RepeatedSubprotocol, ReservedHeader,
        },
        Header, Outcome, ResponseError,
    },
    uri::UriError,
};
use ws_tests::Frames;

static CONFIG: Config = Config::new();

/// The nonce of RFC 6455 §1.3.
const NONCE: [u8; 16] = *b"the sample nonce";

const RESPONSE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// The request that a client writes.
fn written(request: &ClientRequest<'_>) -> Result<String, HandshakeError> {
    let mut buffer = [0; 2048];
    let mut output = Output::new(&mut buffer);
    let result = ClientHandshake::start(request, NONCE, &mut output);
    if result.is_err() {
        assert_eq!(output.written(), b"", "what is refused leaves no trace");
    }
    result.map(|_| String::from_utf8(output.written().to_vec()).expect("ASCII"))
}

fn request_for(uri: &str) -> String {
    let uri = WsUri::parse(uri).expect(uri);
    written(&ClientRequest::new(uri)).expect("it may be written")
}

/// The values of a header, in a request or response.
fn values<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let named = |line: &'a str| {
        let (other, value) = line.split_once(": ")?;
        other.eq_ignore_ascii_case(name).then_some(value)
    };
    head.split("\r\n").filter_map(named).collect()
}

/// What a client makes of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Judged {
    Accepted(Option<String>),
    /// Status, headers and the bytes behind the head.
    Rejected(u16, usize, Vec<u8>),
    Failed(ResponseError),
    /// More has to come.
    Awaited,
}

/// What a client that offers `subprotocols` makes of `response`, which comes whole and byte by byte.
#[track_caller]
fn judged(response: impl AsRef<[u8]>, subprotocols: &[&str]) -> Judged {
    let response = response.as_ref();
    let whole = judged_in_steps(response, subprotocols, [response.len()]);
    let single = judged_in_steps(response, subprotocols, 1..=response.len());
    let same = match (&whole, &single) {
        // The body is what is there when the head is complete.
        (Judged::Rejected(a, b, _), Judged::Rejected(c, d, _)) => (a, b) == (c, d),
        _ => whole == single,
    };
    assert!(
        same,
        "{whole:?} and {single:?}: {}",
        response.escape_ascii()
    );
    whole
}

fn judged_in_steps(
    response: &[u8],
    subprotocols: &[&str],
    lens: impl IntoIterator<Item = usize>,
) -> Judged {
    let uri = WsUri::parse("ws://h/").expect("valid");
    let request = ClientRequest::new(uri).subprotocols(subprotocols);
    let mut buffer = [0; 1024];
    let mut output = Output::new(&mut buffer);
    let mut handshake = ClientHandshake::start(&request, NONCE, &mut output).expect("room");
    for len in lens {
        let mut headers = [EMPTY_HEADER; 100];
        match handshake.receive(&response[..len], &mut headers, &CONFIG.limits) {
            Ok(None) => assert_eq!(handshake.head_len(), 0),
            Ok(Some(Outcome::Accepted { agreed, .. })) => {
                return Judged::Accepted(agreed.subprotocol().map(str::to_owned));
            }
            Ok(Some(Outcome::Rejected(r))) => {
                return Judged::Rejected(r.status(), r.headers().len(), r.body().to_vec());
            }
            Err(error) => return Judged::Failed(error),
        }
    }
    Judged::Awaited
}

#[track_caller]
fn fails(response: impl AsRef<[u8]>, error: ResponseError) {
    let response = response.as_ref();
    assert_eq!(
        judged(response, &["chat"]),
        Judged::Failed(error),
        "{}",
        response.escape_ascii()
    );
}

#[track_caller]
fn accepted(response: impl AsRef<[u8]>) {
    let response = response.as_ref();
    assert_eq!(
        judged(response, &[]),
        Judged::Accepted(None),
        "{}",
        response.escape_ascii()
    );
}

/// The response of the RFC with `from` replaced.
#[track_caller]
fn with(from: &str, to: &str) -> String {
    assert!(RESPONSE.contains(from));
    RESPONSE.replacen(from, to, 1)
}

/// The response of the RFC with more lines.
fn and(lines: &str) -> String {
    with("\r\n\r\n", &format!("\r\n{lines}\r\n"))
}

/// RFC 6455 §3: `ws-URI = "ws:" "//" host [ ":" port ] path [ "?" query ]`, and "Fragment
/// identifiers are meaningless in the context of WebSocket URIs and MUST NOT be used on these URIs.
/// [...] any "#" character, when not indicating the start of a fragment, MUST be escaped as %23."
#[test]
fn rfc_001_uri_is_ws_or_wss_with_a_host_and_no_fragment() {
    let refused = [
        ("http://h", UriError::UnknownScheme),
        ("https://h", UriError::UnknownScheme),
        ("wsss://h", UriError::UnknownScheme),
        ("//h", UriError::UnknownScheme),
        ("h", UriError::UnknownScheme),
        ("ws:h", UriError::UnknownScheme),
        ("ws://h/#x", UriError::Fragment),
        ("ws://h#", UriError::Fragment),
        ("ws://h/?a#b", UriError::Fragment),
        ("ws:///p", UriError::MissingHost),
        ("ws://?q", UriError::MissingHost),
        ("ws://:80", UriError::MissingHost),
        ("ws://h:x/", UriError::InvalidPort),
        ("ws://h:65536/", UriError::InvalidPort),
        ("ws://[::1", UriError::InvalidHost),
        ("ws://a\u{ad}b/", UriError::InvalidCharacter),
        ("ws://h/\u{e9}", UriError::InvalidCharacter),
        ("ws://h/a b", UriError::InvalidCharacter),
    ];
    for (uri, error) in refused {
        assert_eq!(WsUri::parse(uri), Err(error), "{uri}");
    }
    for (uri, secure) in [
        ("ws://h", false),
        ("WSS://h/%23", true),
        ("wS://h.example:1/", false),
    ] {
        assert_eq!(
            WsUri::parse(uri).map(|uri| uri.is_secure()),
            Ok(secure),
            "{uri}"
        );
    }
}

/// RFC 6455 §3: the port defaults to 80 for ws and 443 for wss, and the resource name is `"/" if the
/// path component is empty`, the path, and the query if there is one.
#[test]
fn rfc_002_request_line_has_path_and_query() {
    for (uri, target, port) in [
        ("ws://h", "/", 80),
        ("wss://h", "/", 443),
        ("ws://h/", "/", 80),
        ("ws://h:8080/a/b", "/a/b", 8080),
        ("ws://h?q=1", "/?q=1", 80),
        ("ws://h/p?", "/p?", 80),
        ("wss://h/p?q=%23&r?s", "/p?q=%23&r?s", 443),
    ] {
        let start = format!("GET {target} HTTP/1.1\r\n");
        assert!(request_for(uri).starts_with(&start), "{uri}");
        assert_eq!(WsUri::parse(uri).map(|uri| uri.port()), Ok(port), "{uri}");
    }
}

/// RFC 9110 §4.2.4: senders MUST NOT generate userinfo in a target; RFC 7617 has a header for it.
/// RFC 3986 §3.2.2: an IPv6 literal keeps its brackets.
#[test]
fn rfc_003_user_info_is_not_on_the_request_line() {
    let request = request_for("ws://Aladdin:open%20sesame@h/p");
    assert!(
        request.starts_with("GET /p HTTP/1.1\r\nHost: h\r\n"),
        "{request}"
    );
    assert_eq!(
        values(&request, "Authorization"),
        ["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]
    );
    assert!(
        !request.contains("Aladdin") && !request.contains('@'),
        "{request}"
    );
    assert_eq!(values(&request_for("ws://h"), "Authorization"), [""; 0]);
    assert_eq!(values(&request_for("ws://[::1]:81/"), "Host"), ["[::1]:81"]);
    assert_eq!(
        values(&request_for("wss://[2001:db8::1]/"), "Host"),
        ["[2001:db8::1]"]
    );
    assert_eq!(
        WsUri::parse("ws://[::1]:81/").map(|uri| uri.host()),
        Ok("::1")
    );
}

/// One deadline for the whole of it, from the first tick: interim responses and single bytes do not
/// move it.
#[test]
fn rfc_007_deadline_is_absolute() {
    let timeouts = Timeouts::new();
    let uri = WsUri::parse("ws://h/").expect("valid");
    let mut buffer = [0; 512];
    let mut output = Output::new(&mut buffer);
    let mut handshake =
        ClientHandshake::start(&ClientRequest::new(uri), NONCE, &mut output).expect("room");
    assert_eq!(handshake.next_timeout(), Some(0));
    assert_eq!(handshake.handle_timeout(5000, &timeouts), None);
    let trickle = format!("HTTP/1.1 100 Continue\r\n\r\n{RESPONSE}");
    let mut now = 5000;
    for len in 1..trickle.len() {
        let mut headers = [EMPTY_HEADER; 16];
        let received = handshake.receive(&trickle.as_bytes()[..len], &mut headers, &CONFIG.limits);
        assert!(matches!(received, Ok(None)));
        now = (now + 100).min(14_999);
        assert_eq!(handshake.handle_timeout(now, &timeouts), None);
        assert_eq!(handshake.next_timeout(), Some(15_000));
    }
    assert_eq!(now, 14_999);
    assert_eq!(
        handshake.handle_timeout(15_000, &timeouts),
        Some(ResponseError::Timeout)
    );
    assert_eq!(handshake.handle_timeout(15_001, &timeouts), None);
    assert_eq!(handshake.next_timeout(), None);
}

/// RFC 6455 §4.1(1), (2) and (3): "The method of the request MUST be GET, and the HTTP version MUST
/// be at least 1.1." "The "Request-URI" part of the request MUST match the /resource name/".
#[test]
fn rfc_008_request_is_get_of_the_resource_name() {
    let request = request_for("ws://server.example.com/chat?room=7");
    let expected = "GET /chat?room=7 HTTP/1.1\r\nHost: server.example.com\r\n\
        Upgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    assert_eq!(request, expected);
}

/// RFC 6455 §4.1(4): "a |Host| header field whose value contains /host/ plus optionally ":" followed
/// by /port/ (when not using the default port)"; (5): "an |Upgrade| header field whose value MUST
/// include the "websocket" keyword"; (6): "a |Connection| header field whose value MUST include the
/// "Upgrade" token".
#[test]
fn rfc_009_request_names_host_and_upgrade() {
    for (uri, host) in [
        ("ws://h.example", "h.example"),
        ("ws://h.example:80", "h.example"),
        ("ws://h.example:443", "h.example:443"),
        ("wss://h.example:443", "h.example"),
        ("wss://h.example:80", "h.example:80"),
        ("ws://127.0.0.1:65535/p", "127.0.0.1:65535"),
    ] {
        let request = request_for(uri);
        assert_eq!(values(&request, "Host"), [host], "{uri}");
        assert_eq!(values(&request, "Upgrade"), ["websocket"]);
        assert_eq!(values(&request, "Connection"), ["Upgrade"]);
    }
}

/// RFC 6455 §4.1(7): "The value of this header field MUST be a nonce consisting of a randomly selected
/// 16-byte value that has been base64-encoded (see Section 4 of [RFC4648]). The nonce MUST be selected
/// randomly for each connection." The core writes the 16 bytes that it is given, whatever they are.
#[test]
fn rfc_010_key_is_the_base64_of_sixteen_bytes() {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut keys = HashSet::new();
    for attempt in 0..10_000_u128 {
        let nonce = attempt
            .wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
            .to_be_bytes();
        let mut buffer = [0; 512];
        let mut output = Output::new(&mut buffer);
        let request = ClientRequest::new(WsUri::parse("ws://h").expect("valid"));
        ClientHandshake::start(&request, nonce, &mut output).expect("room");
        let text = std::str::from_utf8(output.written()).expect("ASCII");
        let [key] = values(text, "Sec-WebSocket-Key")[..] else {
            panic!("{text}");
        };
        let symbols = key.strip_suffix("==").expect("padding");
        assert_eq!(symbols.len(), 22);
        let sextets = symbols.bytes().map(|symbol| {
            ALPHABET
                .iter()
                .position(|&other| other == symbol)
                .expect("base64")
        });
        let bits: Vec<_> = sextets
            .flat_map(|sextet| (0..6).rev().map(move |bit| sextet >> bit & 1))
            .collect();
        let (decoded, padding) = bits.split_at(128);
        assert_eq!(padding, [0; 4]);
        let decoded = decoded
            .iter()
            .fold(0, |value, bit| value << 1 | *bit as u128);
        assert_eq!(decoded.to_be_bytes(), nonce);
        assert!(keys.insert(key.to_owned()));
    }
}

/// RFC 6455 §4.1(9): "The request MUST include a header field with the name |Sec-WebSocket-Version|.
/// The value of this header field MUST be 13."
#[test]
fn rfc_011_version_is_13_once() {
    assert_eq!(
        values(&request_for("ws://h"), "Sec-WebSocket-Version"),
        ["13"]
    );
}

/// RFC 6455 §4.1(10): "The elements that comprise this value MUST be non-empty strings with
/// characters in the range U+0021 to U+007E not including separator characters as defined in
/// [RFC2616] and MUST all be unique strings."
#[test]
fn rfc_012_subprotocols_are_unique_tokens() {
    let request = ClientRequest::new(WsUri::parse("ws://h").expect("valid"));
    let text = written(&request.subprotocols(&["chat", "super.chat+1", "Chat"])).expect("tokens");
    assert_eq!(
        values(&text, "Sec-WebSocket-Protocol"),
        ["chat, super.chat+1, Chat"]
    );
    for name in [
        "",
        " ",
        "a b",
        "a,b",
        "a\r\nB: c",
        "a\0",
        "\u{e9}",
        "a\"",
        "a/b",
        "(a)",
        "a;b",
        "a=b",
    ] {
        for subprotocols in [&[name][..], &["chat", name]] {
            let refused = Err(HandshakeError::Misuse(InvalidSubprotocol));
            assert_eq!(
                written(&request.subprotocols(subprotocols)),
                refused,
                "{name:?}"
            );
        }
    }
    for repeated in [&["a", "a"][..], &["a", "b", "a"], &["x", "b", "b"]] {
        let refused = Err(HandshakeError::Misuse(RepeatedSubprotocol));
        assert_eq!(
            written(&request.subprotocols(repeated)),
            refused,
            "{repeated:?}"
        );
    }
}

/// RFC 6455 §11.3.1: "The |Sec-WebSocket-Key| header field MUST NOT appear more than once in an HTTP
/// request." §11.3.5 says so of the version. Neither may the client see its answers twice.
#[test]
fn rfc_013_headers_of_the_handshake_are_there_once() {
    let uri = WsUri::parse("ws://u:p@h/p?q").expect("valid");
    let more = [
        Header {
            name: "X",
            value: b"1",
        },
        Header {
            name: "X",
            value: b"2",
        },
    ];
    let request = ClientRequest::new(uri)
        .origin("https://example.com")
        .subprotocols(&["a", "b"])
        .headers(&more);
    let text = written(&request).expect("it may be written");
    for name in [
        "Host",
        "Upgrade",
        "Connection",
        "Origin",
        "Authorization",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "Sec-WebSocket-Protocol",
    ] {
        assert_eq!(values(&text, name).len(), 1, "{name}");
    }
    assert_eq!(values(&text, "X"), ["1", "2"]);
    for name in ["Sec-WebSocket-Accept", "Upgrade"] {
        let value = values(RESPONSE, name)[0];
        fails(
            and(&format!("{name}: {value}\r\n")),
            ResponseError::RepeatedHeader,
        );
    }
    let twice = "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat\r\n";
    fails(and(twice), ResponseError::RepeatedHeader);
}

/// RFC 6455 §4.1: "Once the client's opening handshake has been sent, the client MUST wait for a
/// response from the server before sending any further data." There is no connection to send with
/// before the response was judged, and what is received writes nothing.
#[test]
fn rfc_014_nothing_follows_the_request() {
    let uri = WsUri::parse("ws://h/").expect("valid");
    let mut buffer = [0; 1024];
    let mut output = Output::new(&mut buffer);
    let mut handshake =
        ClientHandshake::start(&ClientRequest::new(uri), NONCE, &mut output).expect("room");
    assert!(output.written().ends_with(b"\r\n\r\n"));
    let input = [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        RESPONSE.as_bytes(),
        b"\x89\x00",
    ]
    .concat();
    for len in 0..=input.len() - 2 {
        let mut headers = [EMPTY_HEADER; 16];
        let received = handshake.receive(&input[..len], &mut headers, &CONFIG.limits);
        match received.expect("it is right") {
            None => assert!(len < input.len() - 2),
            Some(Outcome::Accepted { agreed, .. }) => {
                assert_eq!(len, input.len() - 2);
                let _: Connection = agreed.finish(&CONFIG);
            }
            Some(Outcome::Rejected(response)) => panic!("{response:?}"),
        }
    }
}

/// CVE-2026-47072 was a header that a value smuggled in. What could begin a line or a request of its
/// own is refused before anything is written; what belongs to the handshake is not the caller's.
#[test]
fn rfc_015_nothing_is_injected_or_overridden() {
    let request = ClientRequest::new(WsUri::parse("ws://h").expect("valid"));
    let refused = |misuse: HandshakeMisuse| Err(HandshakeError::Misuse(misuse));
    for end in ["\r\n", "\r", "\n", "\0", "\r\n\r\n"] {
        let injected = format!("a{end}B: c");
        let value = [Header {
            name: "A",
            value: injected.as_bytes(),
        }];
        assert_eq!(
            written(&request.headers(&value)),
            refused(InvalidHeaderValue),
            "{end:?}"
        );
        let name = [Header {
            name: &injected,
            value: b"",
        }];
        assert_eq!(
            written(&request.headers(&name)),
            refused(InvalidHeaderName),
            "{end:?}"
        );
        assert_eq!(
            written(&request.origin(&injected)),
            refused(InvalidOrigin),
            "{end:?}"
        );
        let subprotocols = [&injected[..]];
        assert_eq!(
            written(&request.subprotocols(&subprotocols)),
            refused(InvalidSubprotocol)
        );
        for uri in [
            format!("ws://h/{injected}"),
            format!("ws://h/?{injected}"),
            format!("ws://{injected}/"),
            format!("ws://u:{injected}@h/"),
        ] {
            assert_eq!(
                WsUri::parse(&uri),
                Err(UriError::InvalidCharacter),
                "{uri:?}"
            );
        }
    }
    for name in [
        "Host",
        "ORIGIN",
        "upgrade",
        "Connection",
        "Content-Length",
        "Transfer-Encoding",
        "Sec-WebSocket-Key",
        "sec-websocket-version",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
    ] {
        let headers = [Header { name, value: b"x" }];
        assert_eq!(
            written(&request.headers(&headers)),
            refused(ReservedHeader),
            "{name}"
        );
    }
    // Percent-encoded they are harmless on the request line, and decoded only inside base64.
    let text = request_for("ws://u%0d%0a:p@h/%0d%0a");
    assert!(
        text.starts_with("GET /%0d%0a HTTP/1.1\r\nHost: h\r\n"),
        "{text}"
    );
    assert_eq!(values(&text, "Authorization"), ["Basic dQ0KOnA="]);
}

/// RFC 6455 §4.1(1): "If the status code received from the server is not 101, the client handles the
/// response per HTTP [RFC2616] procedures." It is an outcome with all there is to know.
#[test]
fn rfc_039_other_statuses_are_outcomes() {
    for status in [200, 204, 301, 401, 404, 426, 500, 503, 599] {
        let response = format!("HTTP/1.1 {status} Words\r\nA: b\r\nContent-Length: 4\r\n\r\nbody");
        assert_eq!(
            judged(response, &[]),
            Judged::Rejected(status, 2, b"body".to_vec())
        );
    }
    let response =
        b"HTTP/1.1 401 \r\nWWW-Authenticate: Basic\r\nWWW-Authenticate: Digest a=b\r\n\r\n";
    let mut headers = [EMPTY_HEADER; 16];
    let mut buffer = [0; 512];
    let request = ClientRequest::new(WsUri::parse("ws://h").expect("valid"));
    let mut handshake =
        ClientHandshake::start(&request, NONCE, &mut Output::new(&mut buffer)).expect("room");
    let received = handshake.receive(response, &mut headers, &CONFIG.limits);
    let Ok(Some(Outcome::Rejected(response))) = received else {
        panic!("{received:?}");
    };
    let challenges: Vec<_> = response.challenges().collect();
    assert_eq!(challenges, [&b"Basic"[..], b"Digest a=b"]);
}

/// RFC 6455 §4.1(2): "If the response lacks an |Upgrade| header field or the |Upgrade| header field
/// contains a value that is not an ASCII case-insensitive match for the value "websocket", the client
/// MUST _Fail the WebSocket Connection_." (3) says so of `Connection` and its token "Upgrade".
#[test]
fn rfc_040_upgrade_and_connection_are_checked() {
    for upgrade in [
        "",
        "Upgrade: h2c\r\n",
        "Upgrade: websockets\r\n",
        "Upgrade:\r\n",
    ] {
        fails(
            with("Upgrade: websocket\r\n", upgrade),
            ResponseError::InvalidUpgrade,
        );
    }
    for connection in [
        "",
        "Connection: close\r\n",
        "Connection: upgraded\r\n",
        "Connection:\r\n",
    ] {
        let error = ResponseError::MissingConnectionUpgrade;
        fails(with("Connection: Upgrade\r\n", connection), error);
    }
    accepted(with("Upgrade: websocket", "UPGRADE:WebSocket"));
    accepted(with(
        "Connection: Upgrade",
        "connection: keep-alive, upgrade",
    ));
    accepted(and("Connection: keep-alive\r\n"));
    fails(
        with("HTTP/1.1", "HTTP/1.0"),
        ResponseError::UnsupportedHttpVersion,
    );
}

/// RFC 6455 §4.1(4): "If the response lacks a |Sec-WebSocket-Accept| header field or the
/// |Sec-WebSocket-Accept| contains a value other than the base64-encoded SHA-1 of the concatenation
/// of the |Sec-WebSocket-Key| (as a string, not base64-decoded) with the string
/// "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" but ignoring any leading and trailing whitespace, the
/// client MUST _Fail the WebSocket Connection_."
#[test]
fn rfc_041_accept_answers_the_key() {
    const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    let header = |value: &str| format!("Sec-WebSocket-Accept: {value}\r\n");
    for accept in [
        "".to_owned(),
        header(""),
        header("S3PPLMBITXAQ9KYGZZHZRBK+XOO="),
        header("s3pPLMBiTxaQ9kYGzzhZRbK+xOo"),
        header("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=="),
        header("s3pPLMBiTxaQ9kYGzzhZRbK+xOp="),
        header("HSmrc0sMlYUkAGmm5OPpG2HaGWk="),
        header("dGhlIHNhbXBsZSBub25jZQ=="),
        header("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=, x"),
    ] {
        fails(with(ACCEPT, &accept), ResponseError::InvalidAccept);
    }
    accepted(with(ACCEPT, &header(" \ts3pPLMBiTxaQ9kYGzzhZRbK+xOo= \t")));
    accepted(with(
        ACCEPT,
        &ACCEPT.replace("Sec-WebSocket-Accept", "sec-websocket-accept"),
    ));
}

/// RFC 6455 §4.1(5): "If the response includes a |Sec-WebSocket-Extensions| header field and this
/// header field indicates the use of an extension that was not present in the client's handshake (the
/// server has indicated an extension not requested by the client), the client MUST _Fail the
/// WebSocket Connection_."
#[test]
fn rfc_042_extension_that_was_not_offered_fails() {
    for value in [
        "permessage-deflate",
        "permessage-deflate; x; x",
        "foo; a=\"b\", bar",
    ] {
        let response = and(&format!("Sec-WebSocket-Extensions: {value}\r\n"));
        fails(response, ResponseError::UnofferedExtension);
    }
    for value in ["", "a b", ";"] {
        let response = and(&format!("Sec-WebSocket-Extensions: {value}\r\n"));
        fails(response, ResponseError::InvalidExtensions);
    }
}

/// RFC 6455 §4.1(6): "If the response includes a |Sec-WebSocket-Protocol| header field and this header
/// field indicates the use of a subprotocol that was not present in the client's handshake (the
/// server has indicated a subprotocol not requested by the client), the client MUST _Fail the
/// WebSocket Connection_."
#[test]
fn rfc_043_subprotocol_that_was_not_offered_fails() {
    let answer = |name: &str| and(&format!("Sec-WebSocket-Protocol: {name}\r\n"));
    for name in ["superchat", "Chat", "chat, chat", "", "chat, other"] {
        fails(answer(name), ResponseError::UnofferedSubprotocol);
    }
    let none = judged(answer("chat"), &[]);
    assert_eq!(none, Judged::Failed(ResponseError::UnofferedSubprotocol));
    for name in ["chat", "superchat"] {
        let chosen = judged(answer(name), &["chat", "superchat"]);
        assert_eq!(chosen, Judged::Accepted(Some(name.to_owned())));
    }
    // None chosen is no fault of the protocol: the caller sees it and may close.
    assert_eq!(judged(RESPONSE, &["chat"]), Judged::Accepted(None));
}

/// The grammar and the limits are those of requests.
#[test]
fn rfc_044_response_head_is_held_to_grammar_and_limits() {
    use ResponseError as E;
    for (line, error) in [
        ("A : b", E::InvalidHeaderName),
        ("A: b\r\n c", E::InvalidHeaderName),
        (": b", E::InvalidHeaderName),
        ("A: b\0", E::InvalidHeaderValue),
        ("A: b\rc", E::InvalidHeaderValue),
        ("A: b\x7f", E::InvalidHeaderValue),
        ("A: b\nC: d", E::BareLineFeed),
    ] {
        fails(and(&format!("{line}\r\n")), error);
    }
    for status in [
        "HTTP/1.1 99",
        "HTTP/1.1 1010 x",
        "101 Switching",
        "HTTP/1.1 abc",
    ] {
        let response = with("HTTP/1.1 101 Switching Protocols", status);
        fails(response, E::InvalidStatusLine);
    }
    fails(with("HTTP/1.1", "HTTP/2.0"), E::UnsupportedHttpVersion);
    fails("\x16\x03\x01", E::InvalidStatusLine);
    fails(
        "HTTP/1.1 101 ".to_owned() + &"x".repeat(9000),
        E::StatusLineTooLong,
    );
    fails(
        and("").trim_end().to_owned() + &"x".repeat(17_000),
        E::HeadTooLong,
    );
    fails(and(&"A: b\r\n".repeat(98)), E::TooManyHeaders);
    accepted(and(&"A: b\r\n".repeat(97)));
}

/// RFC 9110 §15.2: "A client MUST be able to parse one or more 1xx responses received prior to a final
/// response". Eight are more than anybody sends; they count towards the limit of the head.
#[test]
fn rfc_044_interim_responses_are_passed_over() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    for n in 0..=8 {
        accepted(interim.repeat(n) + RESPONSE);
    }
    fails(
        interim.repeat(9) + RESPONSE,
        ResponseError::TooManyInterimResponses,
    );
    let long = format!("HTTP/1.1 100 Continue\r\nA: {}\r\n\r\n", "a".repeat(6000));
    fails(long.repeat(3) + RESPONSE, ResponseError::HeadTooLong);
    fails(
        "HTTP/1.1 100 Continue\r\nA : b\r\n\r\n",
        ResponseError::InvalidHeaderName,
    );
    assert_eq!(judged(interim, &[]), Judged::Awaited);
}

/// As row 33, for responses: what was seen is not looked at again, interim responses included.
#[test]
fn rfc_044_bytes_that_were_seen_are_not_looked_at_again() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let response = interim.to_owned() + &and(&format!("B: {}\r\n", "b".repeat(8000)));
    let bytes = response.as_bytes();
    let request = ClientRequest::new(WsUri::parse("ws://h").expect("valid"));
    for step in [1, 3, 100] {
        let mut buffer = [0; 512];
        let mut handshake =
            ClientHandshake::start(&request, NONCE, &mut Output::new(&mut buffer)).expect("room");
        // The interim response has to be whole when it is judged.
        let mut len = interim.len();
        let mut headers = [EMPTY_HEADER; 16];
        let received = handshake.receive(&bytes[..len], &mut headers, &CONFIG.limits);
        assert!(matches!(received, Ok(None)));
        while len + step < bytes.len() {
            let seen = len.saturating_sub(2);
            len += step;
            let mut spoilt = bytes[..len].to_vec();
            for (i, byte) in spoilt[..seen].iter_mut().enumerate() {
                let keep = i == 0 || i == interim.len();
                *byte = if keep { *byte } else { b"\n\r\n\r\n\0"[i % 6] };
            }
            let mut headers = [EMPTY_HEADER; 16];
            let received = handshake.receive(&spoilt, &mut headers, &CONFIG.limits);
            assert!(
                matches!(received, Ok(None)),
                "at {len} in steps of {step}: {received:?}"
            );
        }
        let mut headers = [EMPTY_HEADER; 16];
        let received = handshake.receive(bytes, &mut headers, &CONFIG.limits);
        assert!(
            matches!(received, Ok(Some(Outcome::Accepted { .. }))),
            "{received:?}"
        );
        assert_eq!(handshake.head_len(), bytes.len());
    }
}

/// Frames in the segment of the 101 are delivered.
#[test]
fn rfc_044_frames_behind_the_response_are_delivered() {
    let frames = Frames::of(Role::Server).text("Hello").take();
    let request = ClientRequest::new(WsUri::parse("ws://h").expect("valid"));
    for len in 0..=frames.len() {
        let mut buffer = [0; 512];
        let mut output = Output::new(&mut buffer);
        let mut handshake = ClientHandshake::start(&request, NONCE, &mut output).expect("room");
        let mut input = [RESPONSE.as_bytes(), &frames[..len]].concat();
        let mut headers = [EMPTY_HEADER; 16];
        let received = handshake.receive(&input, &mut headers, &CONFIG.limits);
        let Ok(Some(Outcome::Accepted { agreed, .. })) = received else {
            panic!("{received:?}");
        };
        let mut connection = agreed.finish(&CONFIG);
        let mut rest = input.split_off(handshake.head_len());
        assert_eq!(rest, frames[..len]);
        rest.extend_from_slice(&frames[len..]);
        let event = connection.receive(&mut &mut rest[..], &mut output);
        assert_eq!(event, Some(Event::Text("Hello")));
    }
}

/// RFC 6455 §4.1(1): "the server might redirect the client using a 3xx status code (but clients are
/// not required to follow them)". Ours does not; the caller is told where it would lead.
#[test]
fn rfc_045_redirect_is_data_and_followed_by_nobody() {
    let request = ClientRequest::new(WsUri::parse("wss://u:p@h/a").expect("valid"));
    for (status, location, expected) in [
        (301, "ws://evil.example/", Some(&b"ws://evil.example/"[..])),
        (302, "/b", Some(b"/b")),
        (303, "//x/b", Some(b"//x/b")),
        (307, "wss://h/b", Some(b"wss://h/b")),
        (308, "http://h/\u{e9}", Some("http://h/\u{e9}".as_bytes())),
        (300, "/b", None),
        (304, "/b", None),
        (200, "/b", None),
    ] {
        let mut buffer = [0; 512];
        let mut output = Output::new(&mut buffer);
        let mut handshake = ClientHandshake::start(&request, NONCE, &mut output).expect("room");
        let response = format!("HTTP/1.1 {status} x\r\nLocation: {location}\r\n\r\n");
        let mut headers = [EMPTY_HEADER; 16];
        let received = handshake.receive(response.as_bytes(), &mut headers, &Limits::new());
        let Ok(Some(Outcome::Rejected(response))) = received else {
            panic!("{received:?}");
        };
        assert_eq!(response.redirect(), expected, "{status}");
    }
}

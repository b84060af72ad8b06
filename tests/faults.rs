//! Faults that were reproduced in released crates; each has a test here that it is not ours.

use std::{cell::Cell, rc::Rc};

use ws_proto::{
    ClientHandshake, Config, Connection, Event, Extensions, Initiator, Limit, Limits, MessageKind,
    Messages, Misuse, Output, Role, SendError, ServerHandshake, Timeout, Timeouts, Violation, Want,
    WsUri,
    frame::Opcode::{self, Close, Continuation, Ping, Pong},
    handshake::{Acceptance, ClientRequest, EMPTY_HEADER, Outcome, RequestError, Upgrade},
    message::Storage,
};
use ws_tests::{
    Do, Frames, Pair, Seen, When,
    case::{Case, ROLES, close_frame, closed, frame, given_up, pattern},
};

static CONFIG: Config = Config::new();

const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

const RESPONSE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Any split of the input gives the same events as no split: here with what went wrong elsewhere,
/// text that is not UTF-8 over two reads, and a ping between fragments; at every two places.
#[test]
fn fault_01_input_split_anywhere_gives_the_same_events() {
    for role in ROLES {
        let case = Case::of(role);
        let mut peer = case.peer();
        peer.text("h\u{e9}llo")
            .frame(false, Opcode::Text, b"a\xe2")
            .ping("1")
            .frame(false, Continuation, "")
            .frame(true, Continuation, b"\x82\xac")
            .binary("")
            .text(b"ok \xed\xa0\x80 wrong")
            .text("never seen");
        let bytes = peer.take();
        let unsplit = case.receives(&bytes);
        let last = [Seen::Failed(Violation::InvalidUtf8), given_up()];
        assert!(unsplit.seen.ends_with(&last), "{:?}", unsplit.seen);
        for second in 0..=bytes.len() {
            for first in 0..=second {
                let mut end = case.end();
                end.receive(&bytes[..first]);
                end.receive(&bytes[first..second]);
                end.receive(&bytes[second..]);
                assert_eq!(end.seen.events(), unsplit.seen, "{first} {second}");
                assert_eq!(end.take_frames(), unsplit.sent, "{first} {second}");
            }
        }
    }
}

/// It was shortened silently.
#[test]
fn fault_02_character_cut_off_in_the_last_fragment_is_an_error() {
    for role in ROLES {
        let case = Case::of(role);
        for last in [&b"b\xe2"[..], b"b\xe2\x82", b"b\xf0\x9f\x98"] {
            let mut peer = case.peer();
            peer.frame(false, Opcode::Text, "a")
                .frame(true, Continuation, last);
            let good = [b"a", &last[..last.len() - 1]].concat();
            let before = [Seen::part(MessageKind::Text, &good, true, false)];
            case.fails(&peer.take(), &before, Violation::InvalidUtf8, 1007);
        }
    }
}

#[test]
fn fault_03_mask_of_the_wrong_direction_is_refused() {
    for (role, violation) in [
        (Role::Server, Violation::UnmaskedClientFrame),
        (Role::Client, Violation::MaskedServerFrame),
    ] {
        let case = Case::of(role);
        for first in [0x81, 0x82, 0x01, 0x88, 0x89, 0x8a] {
            let bytes = case.peer().wrong_mask(first, "").take();
            case.fails(&bytes[..2], &[], violation, 1002);
        }
    }
}

#[test]
fn fault_04_data_frame_inside_a_fragmented_message_is_refused() {
    for role in ROLES {
        let case = Case::of(role);
        for second in [0x81, 0x82, 0x01, 0x02] {
            let mut peer = case.peer();
            peer.frame(false, Opcode::Binary, "a")
                .first_byte(second, "b");
            let bytes = peer
                .cut_off(1 + if role == Role::Server { 4 } else { 0 })
                .take();
            let part = [Seen::part(MessageKind::Binary, b"a", true, false)];
            case.fails(&bytes, &part, Violation::ExpectedContinuation, 1002);
        }
    }
}

/// In all three opcodes, received and sent.
#[test]
fn fault_05_control_payload_over_125_bytes_is_refused() {
    for role in ROLES {
        let case = Case::of(role);
        for opcode in [Close, Ping, Pong] {
            for (form, len) in [(2, 126), (2, 4096), (8, 65_536)] {
                let bytes = case
                    .peer()
                    .declared(0x80 | opcode as u8, form, len, b"")
                    .take();
                case.fails(&bytes[..2], &[], Violation::ControlFrameTooLong, 1002);
            }
        }
        let mut end = case.end();
        let long = pattern(126);
        let reason = "x".repeat(124);
        let results = [
            end.send(|c, output| c.ping(&long, output)),
            end.send(|c, output| c.pong(&long, output)),
            end.send(|c, output| c.close(1000.into(), &reason, output)),
        ];
        let refused = [
            Misuse::ControlPayloadTooLong,
            Misuse::ControlPayloadTooLong,
            Misuse::CloseReasonTooLong,
        ];
        assert_eq!(
            results,
            refused.map(|misuse| Err(SendError::Misuse(misuse)))
        );
        assert_eq!(end.take_sent(), b"");
    }
}

/// 64 MiB were buffered before the limit was looked at.
#[test]
fn fault_06_limits_hold_over_fragments_and_on_the_header() {
    for role in ROLES {
        let case = Case::of(role).config(|config| config.limits.max_message = Limit::At(300));
        let bytes = case.peer().declared(0x82, 8, 64 << 20, b"").take();
        case.fails(&bytes, &[], Violation::MessageTooBig, 1009);
        let hundred = pattern(100);
        let mut peer = case.peer();
        peer.frame(false, Opcode::Binary, &hundred);
        for _ in 0..2 {
            peer.frame(false, Continuation, &hundred);
        }
        let bytes = peer.declared(0x00, 0, 1, b"").take();
        let part = [Seen::part(
            MessageKind::Binary,
            &hundred.repeat(3),
            true,
            false,
        )];
        case.fails(&bytes, &part, Violation::MessageTooBig, 1009);
    }
}

/// By default, after 4096 of them.
#[test]
fn fault_07_flood_of_empty_continuations_ends() {
    for role in ROLES {
        let case = Case::of(role);
        let mut peer = case.peer();
        peer.frame(false, Opcode::Binary, "");
        for _ in 0..4096 {
            peer.frame(false, Continuation, "");
        }
        let mut end = case.end();
        end.receive(&peer.take());
        assert_eq!(end.connection.violation(), None);
        end.receive(&peer.frame(false, Continuation, "").take());
        assert_eq!(
            end.connection.violation(),
            Some(Violation::TooManyFragments)
        );
        assert_eq!(end.take_frames(), [close_frame(role, 1008)]);
    }
}

/// Replies took 20 MB. Here they take the output that was lent; when it is full, the pings stay
/// where they are.
#[test]
fn fault_08_pings_of_a_peer_that_does_not_read_are_not_taken() {
    const PINGS: usize = 200_000;
    for role in ROLES {
        let mut connection = Connection::established(role, Extensions::NONE, &CONFIG);
        let payload = pattern(125);
        let ping = Frames::of(role.peer()).ping(&payload).take();
        let mut bytes = ping.repeat(PINGS);
        let mut buffer = [0; 4096];
        let mut keys = || [0; 4];
        let mut output = match role {
            Role::Client => Output::masked(&mut buffer, &mut keys),
            Role::Server => Output::new(&mut buffer),
        };
        let mut input = &mut bytes[..];
        let mut taken = 0;
        while let Some(event) = connection.receive(&mut input, &mut output) {
            assert_eq!(event, Event::Ping(&payload));
            taken += 1;
        }
        let pong = 127 + if role == Role::Client { 4 } else { 0 };
        assert!(taken <= 4096 / pong, "{taken}");
        assert_eq!(output.len(), taken * pong);
        assert_eq!(input.len(), (PINGS - taken) * ping.len());
        assert_eq!(connection.wants(input, output.room()), Want::Output);
    }
}

/// Up to 262 MB were. A store of messages grows with what arrived.
#[test]
fn fault_09_declared_length_reserves_nothing() {
    for declared in [1 << 20, 1 << 32, (1 << 63) - 1] {
        let mut config = Config::new();
        config.limits.max_message = Limit::Unlimited;
        let mut connection = Connection::server(config);
        let asked = Rc::new(Cell::new(0));
        let mut messages = Messages::new(Watched {
            bytes: Vec::new(),
            asked: Rc::clone(&asked),
        });
        let mut buffer = [0; 256];
        let mut output = Output::new(&mut buffer);
        let mut arrived = 0;
        let mut bytes = Frames::of(Role::Client)
            .declared(0x82, 8, declared, b"a")
            .take();
        for piece in [1, 10, 1000, 100_000] {
            let event = messages.receive(&mut connection, &mut &mut bytes[..], &mut output);
            assert_eq!(event, None);
            arrived += if arrived == 0 { 1 } else { bytes.len() };
            assert_eq!(messages.len(), arrived);
            assert!(asked.get() <= 2 * arrived, "{} for {arrived}", asked.get());
            // What the transport may read into directly is a step of 64 KiB, or twice what is there.
            let spare = messages
                .spare_mut(&connection, usize::MAX)
                .expect("there is more to come")
                .len();
            assert!(spare <= arrived.max(64 << 10), "{spare} for {arrived}");
            asked.set(0);
            bytes = vec![0; piece];
        }
    }
}

/// Received and sent, at the borders of the three forms.
#[test]
fn fault_10_lengths_have_their_shortest_form() {
    for role in ROLES {
        let case = Case::of(role);
        for (form, len) in [(2, 0), (2, 125), (8, 125), (8, 126), (8, 65_535)] {
            let bytes = case.peer().declared(0x82, form, len, b"").take();
            case.fails(&bytes[..2 + form], &[], Violation::NonMinimalLength, 1002);
        }
        for (len, header) in [(125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let payload = pattern(len);
            let mut end = case.end();
            end.send(|c, output| c.send_binary(&payload, output))
                .expect("it is open");
            let sent = end.take_sent();
            let key = if role == Role::Client { 4 } else { 0 };
            assert_eq!(sent.len(), header + key + len, "{len}");
            Case::of(role.peer()).sees(&sent, &[Seen::binary(&payload)]);
        }
    }
}

#[test]
fn fault_11_ping_between_own_fragments_keeps_all_opcodes() {
    for role in ROLES {
        let mut end = Case::of(role).end();
        end.send(|c, _| c.begin(MessageKind::Text))
            .expect("it is open");
        end.send(|c, output| c.send_fragment(b"a", output))
            .expect("it was begun");
        end.send(|c, output| c.ping(b"1", output))
            .expect("it passes");
        end.send(|c, output| c.send_fragment(b"b", output))
            .expect("it was begun");
        end.receive(&Case::of(role).peer().ping("2").take());
        end.send(|c, output| c.finish(b"c", output))
            .expect("it was begun");
        let sent = [
            frame(role, false, Opcode::Text, b"a"),
            frame(role, true, Ping, b"1"),
            frame(role, false, Continuation, b"b"),
            frame(role, true, Pong, b"2"),
            frame(role, true, Continuation, b"c"),
        ];
        assert_eq!(end.take_frames(), sent);
    }
}

/// Whatever comes, whatever is asked for, whatever the clock says.
#[test]
fn fault_12_nothing_is_written_after_own_close() {
    for role in ROLES {
        let case = Case::of(role).config(|config| {
            config.timeouts = Timeouts {
                ping_interval: Timeout::Ms(1000),
                pong: Timeout::Ms(1000),
                idle: Timeout::Ms(5000),
                close: Timeout::Ms(60_000),
                ..Timeouts::never()
            }
        });
        let mut end = case.end();
        end.handle_timeout(0);
        end.send(|c, output| c.close(1000.into(), "", output))
            .expect("it is open");
        assert_eq!(end.take_frames().len(), 1);
        for now in (0..60_000).step_by(500) {
            end.handle_timeout(now);
        }
        let mut peer = case.peer();
        end.receive(
            &peer
                .ping("?")
                .text("data")
                .close(1000, "")
                .ping("?")
                .close(1000, "")
                .take(),
        );
        let refused = end.send(|c, output| c.send_text("no", output));
        assert_eq!(refused, Err(SendError::Closing));
        end.fail(Violation::PolicyViolation);
        end.end_of_input();
        end.handle_timeout(1_000_000);
        assert_eq!(end.take_sent(), b"");

        // A violation behind our Close has no Close of its own.
        let mut end = case.script(&[(When::Start, Do::Close(1000, ""))]).end();
        end.receive(&case.peer().first_byte(0x83, "").take());
        assert_eq!(end.connection.violation(), Some(Violation::ReservedOpcode));
        assert_eq!(end.take_frames(), [close_frame(role, 1000)]);
    }
}

#[test]
fn fault_13_errors_are_told_with_a_close() {
    for role in ROLES {
        let case = Case::of(role).config(|config| config.limits.max_message = Limit::At(10));
        for (bytes, code) in [
            (case.peer().first_byte(0x83, "").take(), 1002),
            (case.peer().text(b"\xff").take(), 1007),
            (case.peer().binary([0; 11]).take(), 1009),
        ] {
            let outcome = case.receives(&bytes);
            assert_eq!(outcome.sent, [close_frame(role, code)]);
            assert_eq!(outcome.seen.last(), Some(&given_up()));
        }
    }
}

#[test]
fn fault_14_close_payloads_are_judged() {
    for role in ROLES {
        let case = Case::of(role);
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
            let bytes = case.peer().close(code, "").take();
            case.fails(&bytes, &[], Violation::InvalidCloseCode, 1002);
            let mut end = case.end();
            let sent = end.send(|c, output| c.close(code.into(), "", output));
            assert_eq!(
                sent,
                Err(SendError::Misuse(Misuse::InvalidCloseCode)),
                "{code}"
            );
        }
        let bytes = case.peer().frame(true, Close, [0x03]).take();
        case.fails(&bytes, &[], Violation::CloseTooShort, 1002);
        let bytes = case.peer().close(1000, b"\xc3\x28").take();
        case.fails(&bytes, &[], Violation::InvalidCloseReason, 1007);
        let mut end = case.end();
        let reason = "\u{e9}".repeat(62);
        let sent = end.send(|c, output| c.close(1000.into(), &reason, output));
        assert_eq!(sent, Err(SendError::Misuse(Misuse::CloseReasonTooLong)));
        assert_eq!(end.take_sent(), b"");
    }
}

/// A long key made one panic, long heads cost two others quadratic time: 8 MiB took seconds. Here
/// they take as many steps as there are bytes; were it the square, this would not end.
#[test]
fn fault_17_hostile_heads_are_refused_in_linear_time() {
    let judged = |request: &str| {
        let mut headers = [EMPTY_HEADER; 128];
        let mut handshake = ServerHandshake::new();
        match handshake.receive(request.as_bytes(), &mut headers, &CONFIG.limits) {
            Ok(Some(request)) => match request.upgrade() {
                Upgrade::Refused(error) => Err(error),
                _ => Ok(()),
            },
            Ok(None) => panic!("it awaits more"),
            Err(error) => Err(error),
        }
    };
    let more = |line: &str| REQUEST.replace("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"));
    for len in [25, 32, 256, 4096, 12_000] {
        let key = REQUEST.replace("dGhlIHNhbXBsZSBub25jZQ==", &"A".repeat(len));
        assert_eq!(judged(&key), Err(RequestError::InvalidKey));
        let subprotocol = more(&format!("Sec-WebSocket-Protocol: {}", "a".repeat(len)));
        assert_eq!(judged(&subprotocol), Ok(()));
    }
    let lines = |n: usize| more("A: b\r\n".repeat(n).trim_end());
    assert_eq!(judged(&lines(128 - 5)), Ok(()));
    assert_eq!(judged(&lines(129 - 5)), Err(RequestError::TooManyHeaders));
    assert_eq!(
        judged(&more(&format!("A: {}", "b".repeat(20_000)))),
        Err(RequestError::HeadTooLong)
    );

    // Where the limits allow 2 MiB, one endless header, a byte at a time, for either role.
    let limits = Limits {
        max_head: 2 << 20,
        ..Limits::new()
    };
    let uri = WsUri::parse("ws://h").expect("valid");
    let mut buffer = [0; 512];
    let mut client = ClientHandshake::start(
        &ClientRequest::new(uri),
        [0; 16],
        &mut Output::new(&mut buffer),
    )
    .expect("room");
    let mut server = ServerHandshake::new();
    let endless = [b"HTTP/1.1 200 OK\r\nA: ", &b"b".repeat(2 << 20)[..]].concat();
    for len in 1..limits.max_head {
        let mut headers = [EMPTY_HEADER; 1];
        let received = client.receive(&endless[..len], &mut headers, &limits);
        assert!(matches!(received, Ok(None)), "{received:?}");
    }
    let endless = [b"GET / HTTP/1.1\r\nA: ", &b"b".repeat(2 << 20)[..]].concat();
    for len in 1..limits.max_head {
        let mut headers = [EMPTY_HEADER; 1];
        let received = server.receive(&endless[..len], &mut headers, &limits);
        assert!(matches!(received, Ok(None)), "{received:?}");
    }
    let mut headers = [EMPTY_HEADER; 1];
    let received = server.receive(&endless[..limits.max_head], &mut headers, &limits);
    assert_eq!(received.map(drop), Err(RequestError::HeadTooLong));
}

/// Some never verified the accept, others demanded the exact bytes of one server.
#[test]
fn fault_18_answers_are_verified_and_tokens_compared_without_case() {
    let accepts = |response: &str| {
        let uri = WsUri::parse("ws://h").expect("valid");
        let request = ClientRequest::new(uri);
        let mut buffer = [0; 512];
        let mut output = Output::new(&mut buffer);
        let nonce = *b"the sample nonce";
        let mut handshake = ClientHandshake::start(&request, nonce, &mut output).expect("room");
        let mut headers = [EMPTY_HEADER; 16];
        let received = handshake.receive(response.as_bytes(), &mut headers, &CONFIG.limits);
        matches!(received, Ok(Some(Outcome::Accepted { .. })))
    };
    assert!(accepts(RESPONSE));
    assert!(!accepts(&RESPONSE.replace("s3pPLMBi", "S3pPLMBi")));
    assert!(!accepts(&RESPONSE.replace("Sec-WebSocket-Accept", "X")));
    assert!(accepts(&RESPONSE.replace(
        "Connection: Upgrade",
        "CONNECTION:keep-alive, uPGRADE"
    )));
    assert!(accepts(
        &RESPONSE.replace("Upgrade: websocket", "upgrade: WebSocket")
    ));

    let upgrades = |request: &str| {
        let mut headers = [EMPTY_HEADER; 16];
        let mut handshake = ServerHandshake::new();
        let received = handshake.receive(request.as_bytes(), &mut headers, &CONFIG.limits);
        received.expect("right").expect("whole").upgrade() == Upgrade::WebSocket
    };
    assert!(upgrades(&REQUEST.replace(
        "Connection: Upgrade",
        "Connection: keep-alive, Upgrade"
    )));
    assert!(upgrades(
        &REQUEST.replace("Connection: Upgrade", "connection: UPGRADE , x")
    ));
    assert!(upgrades(
        &REQUEST.replace("Upgrade: websocket", "uPGRADE: WEBSOCKET")
    ));
    assert!(!upgrades(
        &REQUEST.replace("Connection: Upgrade", "Connection: keep-alive")
    ));
}

/// Behind the request, and behind the response.
#[test]
fn fault_19_pipelined_bytes_are_the_first_frames() {
    let mut input = [
        REQUEST.as_bytes(),
        &Frames::of(Role::Client).text("early").take(),
    ]
    .concat();
    let mut headers = [EMPTY_HEADER; 16];
    let mut handshake = ServerHandshake::new();
    let received = handshake.receive(&input, &mut headers, &CONFIG.limits);
    assert!(received.expect("right").is_some());
    let head_len = handshake.head_len();
    let mut buffer = [0; 512];
    let mut output = Output::new(&mut buffer);
    let mut server = handshake
        .accept(&Acceptance::new(), &CONFIG, &mut output)
        .expect("there is room");
    let event = server.receive(&mut &mut input[head_len..], &mut output);
    assert_eq!(event, Some(Event::Text("early")));

    server
        .send_text("at once", &mut output)
        .expect("there is room");
    let mut input = output.written().to_vec();
    let uri = WsUri::parse("ws://h").expect("valid");
    let mut buffer = [0; 512];
    let mut output = Output::new(&mut buffer);
    let nonce = *b"the sample nonce";
    let mut handshake =
        ClientHandshake::start(&ClientRequest::new(uri), nonce, &mut output).expect("room");
    let mut headers = [EMPTY_HEADER; 16];
    let received = handshake.receive(&input, &mut headers, &CONFIG.limits);
    let Ok(Some(Outcome::Accepted { agreed, .. })) = received else {
        panic!("{received:?}");
    };
    let mut client = agreed.finish(&CONFIG);
    let head_len = handshake.head_len();
    let event = client.receive(&mut &mut input[head_len..], &mut output);
    assert_eq!(event, Some(Event::Text("at once")));
}

/// A length that is cut to 16 or 32 bits would make these frames whole.
#[test]
fn fault_22_lengths_beyond_usize_are_not_cut_off() {
    for role in ROLES {
        let case = Case::of(role).config(|config| config.limits.max_message = Limit::Unlimited);
        for len in [
            (1 << 16) + 3,
            (1 << 32) + 3,
            (1 << 62) + (1 << 32) + (1 << 16) + 3,
        ] {
            let bytes = case.peer().declared(0x82, 8, len, b"abc").take();
            case.sees(
                &bytes,
                &[Seen::part(MessageKind::Binary, b"abc", true, false)],
            );
        }
        // Judged in u64 as well.
        let case = Case::of(role).config(|config| config.limits.max_message = Limit::At(3));
        for len in [(1 << 16) + 3, (1 << 32) + 3] {
            let bytes = case.peer().declared(0x82, 8, len, b"").take();
            case.fails(&bytes, &[], Violation::MessageTooBig, 1009);
        }
        let case = Case::of(role).config(|config| {
            config.limits.max_message = Limit::At((1 << 32) + 3);
        });
        let bytes = case.peer().declared(0x82, 8, (1 << 32) + 3, b"abc").take();
        case.sees(
            &bytes,
            &[Seen::part(MessageKind::Binary, b"abc", true, false)],
        );
    }
}

/// Behind the peer's Close, and behind both.
#[test]
fn fault_23_frames_behind_a_close_change_nothing() {
    for role in ROLES {
        for (script, initiator) in [
            (&[][..], Initiator::Peer),
            (&[(When::Start, Do::Close(1001, ""))], Initiator::Local),
        ] {
            let case = Case::of(role).script(script);
            let code = if script.is_empty() { 1000 } else { 1001 };
            let mut behind = [
                case.peer().ping("late").take(),
                case.peer().close(1001, "late").take(),
                case.peer().text("late").take(),
                case.peer().first_byte(0xff, "late").take(),
            ];
            for behind in &mut behind {
                let mut bytes = case.peer().close(1000, "").take();
                bytes.append(behind);
                let outcome = case.receives(&bytes);
                let seen = [
                    Seen::Close(1000, String::new()),
                    closed(initiator, 1000, true),
                ];
                assert_eq!(outcome.seen, seen);
                assert_eq!(outcome.sent, [close_frame(role, code)]);
            }
        }
    }
    // The same between two real ends: one closes, the other sends until it learns of it.
    let mut pair = Pair::new(
        &[(When::Start, Do::Close(1000, ""))],
        &[(When::Start, Do::Text("x"))],
    );
    pair.drive();
    assert_eq!(pair.client.seen.events()[0], Seen::text("x"));
    assert!(pair.client.is_closed() && pair.server.is_closed());
}

/// A refused client waits for an answer; some got a closed socket.
#[test]
fn fault_24_refused_handshake_gets_an_answer_of_http() {
    let endless = format!("GET / HTTP/1.1\r\nA: {}", "b".repeat(20_000));
    let long_line = "G".repeat(10_000);
    for (request, status) in [
        ("\x16\x03\x01\x02", 400),
        ("\r\n\r\n", 400),
        ("\u{0}", 400),
        ("GET / HTTP/1.1\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("SSH-2.0-x\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\nUpgrade: websocket\r\n\r\n", 505),
        (&REQUEST.replace("GET", "POST"), 405),
        (&REQUEST.replace("13", "12"), 426),
        (&REQUEST.replace("ZQ==", "ZQ"), 400),
        (&REQUEST.replace("Connection: Upgrade\r\n", ""), 400),
        (&REQUEST.replace("Host", "Guest"), 400),
        (&endless, 431),
        (&long_line, 414),
    ] {
        let mut headers = [EMPTY_HEADER; 100];
        let mut handshake = ServerHandshake::new();
        let error = match handshake.receive(request.as_bytes(), &mut headers, &CONFIG.limits) {
            Ok(Some(request)) => match request.upgrade() {
                Upgrade::Refused(error) => error,
                other => panic!("{other:?}"),
            },
            Ok(None) => panic!("it awaits more: {request:.40}"),
            Err(error) => error,
        };
        let mut buffer = [0; 300];
        let mut output = Output::new(&mut buffer);
        handshake
            .reject_error(error, &mut output)
            .expect("300 bytes suffice");
        let answer = std::str::from_utf8(output.written()).expect("ASCII");
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(
            head.contains(&format!("Content-Length: {}", body.len())),
            "{answer}"
        );
        assert!(head.contains("Connection: close"), "{answer}");
    }
}

/// A store that tells the most it was asked for.
struct Watched {
    bytes: Vec<u8>,
    asked: Rc<Cell<usize>>,
}

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsMut<[u8]> for Watched {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Storage for Watched {
    fn grow(&mut self, len: usize) {
        self.asked.set(self.asked.get().max(len));
        if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        }
    }
}

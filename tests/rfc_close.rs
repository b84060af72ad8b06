//! RFC 6455 §5.5.1 and §7, rows 81 to 97 of the checklist: the closing handshake, failing, ends.

use ws_proto::{
    CloseCode, Config, Connection, Event, Extensions, Initiator, Limit, MessageKind, Misuse,
    Output, Prepared, REPLY_ROOM, Reply, Role, SendError, State, Timeout, Timeouts, Violation,
    frame::Opcode::{self, Close, Continuation},
};
use ws_tests::{
    Do, End, Frames, Pair, Script, Seen, When,
    case::{Case, ROLES, close_frame, closed, frame, given_up},
};

static CONFIG: Config = Config::new();

/// §7.4.1, §7.4.2 and IANA's registry: what may be in a Close frame.
fn is_valid(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Closes as the application that the script stands for.
const CLOSE_AT_ONCE: Script = &[(When::Start, Do::Close(1000, "bye"))];

/// Calls `act` with a connection and an output of this role.
fn with_connection<T>(
    role: Role,
    act: impl FnOnce(&mut Connection, &mut Output<'_>) -> T,
) -> (T, Vec<u8>) {
    let mut connection = Connection::established(role, Extensions::NONE, &CONFIG);
    let mut buffer = [0; 2 * REPLY_ROOM];
    let mut keys = || [0; 4];
    let mut output = match role {
        Role::Client => Output::masked(&mut buffer, &mut keys),
        Role::Server => Output::new(&mut buffer),
    };
    let result = act(&mut connection, &mut output);
    (result, output.written().to_vec())
}

/// RFC 6455 §5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned
/// integer (in network byte order) representing a status code".
#[test]
fn rfc_081_close_of_one_byte_is_refused() {
    for role in ROLES {
        let case = Case::of(role);
        for byte in [0x00, 0x03, 0xff] {
            let bytes = case.peer().frame(true, Close, [byte]).take();
            case.fails(&bytes, &[], Violation::CloseTooShort, 1002);
        }
    }
}

/// RFC 6455 §7.4.1 and §7.4.2 say which codes there are; of those below 3000 only the assigned are
/// taken.
#[test]
fn rfc_082_every_close_code_received() {
    for role in ROLES {
        for code in 0..=u16::MAX {
            let mut bytes = Frames::of(role.peer()).close(code, "why").take();
            let ((), written) = with_connection(role, |connection, output| {
                let event = connection.receive(&mut &mut bytes[..], output);
                let expected = match is_valid(code) {
                    true => Event::Close {
                        code: code.into(),
                        reason: "why",
                    },
                    false => Event::Failed(Violation::InvalidCloseCode),
                };
                assert_eq!(event, Some(expected), "{code}");
            });
            let answer = if is_valid(code) { code } else { 1002 };
            assert_eq!(written.last_chunk(), Some(&answer.to_be_bytes()), "{code}");
        }
        let case = Case::of(role);
        for code in [
            0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
        ] {
            let bytes = case.peer().close(code, "").take();
            case.fails(&bytes, &[], Violation::InvalidCloseCode, 1002);
        }
    }
}

/// RFC 6455 §7.4.1: 1005, 1006 and 1015 are reserved values that "MUST NOT be set as a status code
/// in a Close control frame by an endpoint". §7.4.2: "Status codes in the range 0-999 are not used."
#[test]
fn rfc_083_every_close_code_sent() {
    for role in ROLES {
        for code in 0..=u16::MAX {
            let (result, written) =
                with_connection(role, |c, output| c.close(code.into(), "", output));
            match is_valid(code) && CloseCode::new(code).may_be_sent_by(role) {
                true => {
                    assert_eq!(result, Ok(()), "{code}");
                    assert_eq!(written.last_chunk(), Some(&code.to_be_bytes()));
                }
                false => {
                    let refused = SendError::Misuse(Misuse::InvalidCloseCode);
                    assert_eq!(result, Err(refused), "{code}");
                    assert_eq!(written, b"", "{code}");
                }
            }
        }
        // What was refused has not closed anything.
        let mut end = Case::of(role).end();
        let refused = end.send(|c, output| c.close(CloseCode::NO_STATUS, "", output));
        assert_eq!(refused, Err(SendError::Misuse(Misuse::InvalidCloseCode)));
        assert_eq!(end.connection.state(), State::Open);
        end.send(|c, output| c.send_text("still open", output))
            .expect("it is open");
    }
}

/// RFC 6455 §7.4.1: 1010 is of "an endpoint (client)", 1011 of "a server"; 1012 to 1014 are a
/// server's by their registration. They are sent by role, and accepted from either.
#[test]
fn rfc_084_codes_of_one_role_are_sent_by_that_role() {
    let table = [
        (1010, Role::Client),
        (1011, Role::Server),
        (1012, Role::Server),
        (1013, Role::Server),
        (1014, Role::Server),
    ];
    for (code, role) in table {
        let close = |role| with_connection(role, |c, output| c.close(code.into(), "", output)).0;
        assert_eq!(close(role), Ok(()), "{code}");
        let refused = Err(SendError::Misuse(Misuse::InvalidCloseCode));
        assert_eq!(close(role.peer()), refused, "{code}");
        for role in ROLES {
            let case = Case::of(role);
            let outcome = case.receives(&case.peer().close(code, "").take());
            assert_eq!(outcome.seen[0], Seen::Close(code, String::new()));
            assert_eq!(outcome.sent, [close_frame(role, code)]);
        }
    }
}

/// RFC 6455 §5.5.1: "If an endpoint receives a Close frame and did not previously send a Close
/// frame, the endpoint MUST send a Close frame in response. (When sending a Close frame in response,
/// the endpoint typically echos the status code it received.)"
#[test]
fn rfc_085_close_is_answered_with_its_code() {
    for role in ROLES {
        let case = Case::of(role);
        for code in [1000, 1001, 1011, 3000, 4999] {
            let outcome = case.receives(&case.peer().close(code, "reason").take());
            assert_eq!(outcome.seen[0], Seen::Close(code, "reason".into()));
            assert_eq!(outcome.sent, [close_frame(role, code)]);
        }
        let outcome = case.receives(&case.peer().frame(true, Close, "").take());
        assert_eq!(outcome.seen[0], Seen::Close(1005, String::new()));
        assert_eq!(outcome.sent, [frame(role, true, Close, b"")]);
        let longest = "x".repeat(123);
        let outcome = case.receives(&case.peer().close(1000, &longest).take());
        assert_eq!(outcome.seen[0], Seen::Close(1000, longest));
    }
}

/// The same: one Close from each side, whoever begins, whoever answers, however often it is asked.
#[test]
fn rfc_085_each_side_sends_one_close() {
    const AGAIN: Script = &[
        (When::Close, Do::Close(1000, "again")),
        (When::Last, Do::Close(1001, "and again")),
    ];
    for role in ROLES {
        let twice = Frames::of(role.peer())
            .close(1000, "")
            .close(1001, "")
            .take();
        for script in [AGAIN, CLOSE_AT_ONCE] {
            let case = Case::of(role).script(script);
            let outcome = case.receives(&twice);
            assert_eq!(outcome.sent.len(), 1, "{:?}", outcome.sent);
            assert_eq!(outcome.seen[0], Seen::Close(1000, String::new()));
            let closes = |seen: &&Seen| matches!(seen, Seen::Close(..));
            assert_eq!(outcome.seen.iter().filter(closes).count(), 1);
        }
        // Where the application answers, its answer is the only one.
        let manual = Case::of(role).config(|config| config.close = Reply::Manual);
        assert_eq!(manual.receives(&twice).sent, []);
        let outcome = manual.script(AGAIN).receives(&twice);
        assert_eq!(outcome.sent, [frame(role, true, Close, b"\x03\xe8again")]);
    }
}

/// RFC 6455 §5.5.1: "The application MUST NOT send any more data frames after sending a Close
/// frame." We send nothing at all.
#[test]
fn rfc_086_nothing_is_sent_after_own_close() {
    for role in ROLES {
        let mut answered = Case::of(role).end();
        answered.receive(&Case::of(role).peer().close(1000, "").take());
        let mut failed = Case::of(role).end();
        failed.fail(Violation::PolicyViolation);
        let mut ends = [Case::of(role).script(CLOSE_AT_ONCE).end(), answered, failed];
        for end in &mut ends {
            assert_eq!(end.take_frames().len(), 1);
            assert_everything_is_refused(end);
        }
        // Also what was begun before.
        let mut end = Case::of(role).end();
        end.send(|c, _| c.begin(MessageKind::Text))
            .expect("it is open");
        end.send(|c, output| c.send_fragment(b"a", output))
            .expect("it was begun");
        end.send(|c, output| c.close(1000.into(), "", output))
            .expect("it passes");
        assert_eq!(end.take_frames().len(), 2);
        assert_everything_is_refused(&mut end);
    }
}

fn assert_everything_is_refused(end: &mut End) {
    let mut memory = [0; 16];
    let prepared = Prepared::text("no", &mut memory).expect("it fits");
    let results = [
        end.send(|c, output| c.send_text("no", output)),
        end.send(|c, output| c.send_binary(b"no", output)),
        end.send(|c, output| c.send_prepared(&prepared, output)),
        end.send(|c, _| c.begin(MessageKind::Text)),
        end.send(|c, output| c.send_fragment(b"no", output)),
        end.send(|c, output| c.finish(b"no", output)),
        end.send(|c, output| c.frame_header(MessageKind::Text, 2, output).map(drop)),
        end.send(|c, output| c.ping(b"no", output)),
        end.send(|c, output| c.pong(b"no", output)),
        end.send(|c, output| c.close(1000.into(), "no", output)),
    ];
    assert_eq!(results, [Err(SendError::Closing); 10]);
    assert_eq!(end.take_sent(), b"");
}

/// RFC 6455 §1.4: "After receiving a control frame indicating the connection should be closed, a
/// peer discards any further data received."
#[test]
fn rfc_087_frames_behind_the_peers_close_are_discarded() {
    for role in ROLES {
        let case = Case::of(role);
        let close = case.peer().close(1000, "").take();
        let behind = [
            case.peer().text("late").take(),
            case.peer().ping("late").take(),
            vec![0xff; 10],
        ];
        for behind in behind {
            let outcome = case.receives(&[&close[..], &behind].concat());
            let end = [
                Seen::Close(1000, String::new()),
                closed(Initiator::Peer, 1000, true),
            ];
            assert_eq!(outcome.seen, end);
            assert_eq!(outcome.sent, [close_frame(role, 1000)]);
            assert_eq!(outcome.unread, 0);

            // Also where the application has yet to answer.
            let mut end = case.config(|config| config.close = Reply::Manual).end();
            end.receive(&[&close[..], &behind].concat());
            assert_eq!(end.seen.take(), [Seen::Close(1000, String::new())]);
            assert_eq!(end.unread(), b"");
            end.send(|c, output| c.close(1001.into(), "", output))
                .expect("it is owed");
            end.end_of_input();
            assert_eq!(end.seen.take(), [closed(Initiator::Peer, 1000, true)]);
            assert_eq!(end.unread(), b"");
        }
    }
}

/// §1.4 has it that data may still come between our Close and the peer's: it was under way.
#[test]
fn rfc_087_frames_between_both_closes_are_delivered() {
    for role in ROLES {
        let case = Case::of(role).script(CLOSE_AT_ONCE);
        let mut peer = case.peer();
        peer.text("under way")
            .frame(false, Opcode::Binary, [1])
            .pong("pong")
            .frame(true, Continuation, [2]);
        let outcome = case.receives(&peer.clone().close(1000, "").take());
        let seen = [
            Seen::text("under way"),
            Seen::part(MessageKind::Binary, &[1], true, false),
            Seen::Pong(b"pong".to_vec()),
            Seen::part(MessageKind::Binary, &[2], false, true),
            Seen::Close(1000, String::new()),
        ];
        assert_eq!(outcome.seen[..5], seen);
        // It is held to the rules as before; only the Close that would say so is sent already.
        let outcome = case.receives(&peer.raw([0xff, 0xff]).take());
        let failed = [Seen::Failed(Violation::ReservedOpcode), given_up()];
        assert_eq!(outcome.seen[4..], failed);
        assert_eq!(outcome.sent, [frame(role, true, Close, b"\x03\xe8bye")]);
    }
}

/// RFC 6455 §7.1.1: "the server MUST close the TCP connection immediately". `Closed` asks the caller
/// for it, as soon as both Closes are through, without any more input or time.
#[test]
fn rfc_088_server_ends_at_once_after_both_closes() {
    let close = Frames::of(Role::Client).close(1000, "").take();
    for (script, initiator) in [(CLOSE_AT_ONCE, Initiator::Local), (&[], Initiator::Peer)] {
        let mut server = Case::of(Role::Server).script(script).end();
        server.receive(&close[..close.len() - 1]);
        assert_eq!(server.seen.take(), []);
        server.receive(&close[close.len() - 1..]);
        let end = [
            Seen::Close(1000, String::new()),
            closed(initiator, 1000, true),
        ];
        assert_eq!(server.seen.take(), end);
        assert_eq!(server.connection.next_timeout(), None);
    }
}

/// RFC 6455 §7.1.1: "the client SHOULD wait for the server to close the connection but MAY close the
/// connection at any time subject to the constraints above". It waits for 2 s.
#[test]
fn rfc_089_client_waits_for_the_servers_end() {
    let close = Frames::of(Role::Server).close(1000, "").take();
    for (script, initiator) in [(CLOSE_AT_ONCE, Initiator::Local), (&[], Initiator::Peer)] {
        let case = Case::of(Role::Client).script(script);
        let end_seen = [closed(initiator, 1000, true)];

        let mut client = case.end();
        client.handle_timeout(50_000);
        client.receive(&close);
        assert_eq!(client.seen.take(), [Seen::Close(1000, String::new())]);
        client.end_of_input();
        assert_eq!(client.seen.take(), end_seen);

        // A server that keeps the socket is left after two seconds, and not before.
        let mut client = case.end();
        client.handle_timeout(50_000);
        client.receive(&close);
        client.seen.take();
        assert_eq!(client.connection.next_timeout(), Some(50_000));
        client.handle_timeout(50_000);
        assert_eq!(client.connection.next_timeout(), Some(52_000));
        client.handle_timeout(51_999);
        assert_eq!(client.seen.take(), []);
        client.handle_timeout(52_000);
        assert_eq!(client.seen.take(), end_seen);
        assert_eq!(client.connection.next_timeout(), None);
    }
}

/// §7.1 names no span; ten seconds from our Close the peer is given up, and its silence is 1006.
#[test]
fn rfc_090_close_timeout() {
    for role in ROLES {
        let mut end = Case::of(role).end();
        end.handle_timeout(5000);
        end.send(|c, output| c.close(1000.into(), "", output))
            .expect("it is open");
        assert_eq!(end.connection.next_timeout(), Some(5000));
        end.handle_timeout(5000);
        assert_eq!(end.connection.next_timeout(), Some(15_000));
        // Data does not prolong it.
        end.receive(&Case::of(role).peer().text("under way").take());
        end.handle_timeout(14_999);
        assert_eq!(end.seen.take(), [Seen::text("under way")]);
        end.handle_timeout(15_000);
        assert_eq!(end.seen.take(), [closed(Initiator::Local, 1006, false)]);
        assert_eq!(end.connection.next_timeout(), None);

        // The peer's Close arrived; ours never left: its code is known, the end is not clean.
        let mut end = Case::of(role)
            .config(|config| config.close = Reply::Manual)
            .end();
        end.handle_timeout(5000);
        end.receive(&Case::of(role).peer().close(1001, "").take());
        end.handle_timeout(5000);
        end.handle_timeout(14_999);
        assert_eq!(end.seen.take(), [Seen::Close(1001, String::new())]);
        end.handle_timeout(15_000);
        assert_eq!(end.seen.take(), [closed(Initiator::Peer, 1001, false)]);
    }
}

/// RFC 6455 §7.1.5: "If this Close control frame contains no status code, _The WebSocket Connection
/// Close Code_ is considered to be 1005. If _The WebSocket Connection is Closed_ and no Close
/// control frame was received by the endpoint [...], _The WebSocket Connection Close Code_ is
/// considered to be 1006." §7.1.6: the reason is "the UTF-8-encoded data following the status code".
#[test]
fn rfc_091_application_sees_code_reason_and_who_began() {
    use Initiator::{Local, Peer};
    for role in ROLES {
        let mut peer = Frames::of(role.peer());
        let with_reason = peer.close(4001, "why €").take();
        let with_code = peer.close(1001, "").take();
        let empty = peer.frame(true, Close, "").take();
        let table: [(&[u8], Option<Seen>, u16, bool); 4] = [
            (
                &with_reason,
                Some(Seen::Close(4001, "why €".into())),
                4001,
                true,
            ),
            (
                &with_code,
                Some(Seen::Close(1001, String::new())),
                1001,
                true,
            ),
            (&empty, Some(Seen::Close(1005, String::new())), 1005, true),
            (b"", None, 1006, false),
        ];
        for (bytes, close, code, clean) in table {
            for (script, initiator) in [(&[][..], Peer), (CLOSE_AT_ONCE, Local)] {
                let mut end = Case::of(role).script(script).end();
                end.receive(bytes);
                end.end_of_input();
                let seen: Vec<_> = close
                    .iter()
                    .cloned()
                    .chain([closed(initiator, code, clean)])
                    .collect();
                assert_eq!(end.seen.take(), seen);
            }
        }
    }
}

/// RFC 6455 §7.1.7: "An endpoint SHOULD send a Close frame with an appropriate status code
/// (Section 7.4) before proceeding to _Close the WebSocket Connection_." and "MUST NOT continue to
/// attempt to process data (including a responding Close frame) from the remote endpoint".
#[test]
fn rfc_092_failing_sends_a_fitting_close_and_ends() {
    use Violation as V;
    for role in ROLES {
        let case = Case::of(role).config(|config| {
            config.limits.max_message = Limit::At(1000);
            config.limits.max_fragments = Limit::At(0);
        });
        let mut p = case.peer();
        let wrong_mask = match role {
            Role::Client => V::MaskedServerFrame,
            Role::Server => V::UnmaskedClientFrame,
        };
        let open = || p.clone().frame(false, Opcode::Binary, "").clone();
        let mask = if role == Role::Server { 0x80 } else { 0 };
        let mut fragment = open();
        let mut message = open();
        let table = [
            (p.raw([0xC3, mask]).take(), V::ReservedOpcode, 1002),
            (p.raw([0xC2, mask]).take(), V::ReservedBits, 1002),
            (p.raw([0x82, mask ^ 0x80]).take(), wrong_mask, 1002),
            (p.raw([0x09, mask]).take(), V::FragmentedControlFrame, 1002),
            (
                p.raw([0x89, mask | 126]).take(),
                V::ControlFrameTooLong,
                1002,
            ),
            (p.raw([0x80, mask]).take(), V::UnexpectedContinuation, 1002),
            (
                message.raw([0x82, mask]).take(),
                V::ExpectedContinuation,
                1002,
            ),
            (
                p.raw([0x82, mask | 126, 0, 1]).take(),
                V::NonMinimalLength,
                1002,
            ),
            (
                p.raw([0x82, mask | 127, 0x80, 0, 0, 0, 0, 0, 0, 0]).take(),
                V::LengthOverflow,
                1002,
            ),
            (
                p.declared(0x82, 2, 1001, b"").take(),
                V::MessageTooBig,
                1009,
            ),
            (
                fragment.declared(0x80, 0, 0, b"").take(),
                V::TooManyFragments,
                1008,
            ),
            (p.text(b"\xff").take(), V::InvalidUtf8, 1007),
            (p.frame(true, Close, [3]).take(), V::CloseTooShort, 1002),
            (p.close(1005, "").take(), V::InvalidCloseCode, 1002),
            (p.close(1000, b"\xff").take(), V::InvalidCloseReason, 1007),
        ];
        for (bytes, violation, code) in table {
            let begun = matches!(violation, V::ExpectedContinuation | V::TooManyFragments);
            let part = [Seen::part(MessageKind::Binary, b"", true, false)];
            case.fails(&bytes, &part[..usize::from(begun)], violation, code);
            let mut end = case.end();
            end.receive(&bytes);
            assert_eq!(end.connection.violation(), Some(violation), "it is kept");
            assert_eq!(end.connection.state(), State::Closed);
        }
        // What the stages above find.
        let told = [
            (V::UnsupportedData, 1003),
            (V::PolicyViolation, 1008),
            (V::MessageTooBig, 1009),
            (V::InvalidUtf8, 1007),
        ];
        for (violation, code) in told {
            let mut end = case.end();
            end.fail(violation);
            end.fail(V::PolicyViolation);
            end.receive(&case.peer().text("more").ping("more").take());
            assert_eq!(end.seen.take(), [Seen::Failed(violation), given_up()]);
            assert_eq!(end.take_frames(), [close_frame(role, code)]);
        }
        // What time shows.
        let idle = case.config(|config| {
            config.timeouts = Timeouts {
                idle: Timeout::Ms(3000),
                ..Timeouts::never()
            };
        });
        let mut end = idle.end();
        end.handle_timeout(0);
        end.handle_timeout(2999);
        assert_eq!(end.seen.events(), []);
        end.handle_timeout(3000);
        assert_eq!(end.seen.take(), [Seen::Failed(V::IdleTimeout), given_up()]);
        assert_eq!(end.take_frames(), [close_frame(role, 1001)]);
    }
}

/// RFC 6455 §7.1.7 again: whatever comes after the failure is taken and dropped, unparsed: one call
/// for each read, whatever is in it, and no answer.
#[test]
fn rfc_093_flood_after_a_violation_is_dropped_unparsed() {
    for role in ROLES {
        let mut flood = Frames::of(role.peer());
        for _ in 0..10_000 {
            flood.ping("flood").text("flood").raw([0xff]);
        }
        let flood = flood.take();
        let (calls, written) = with_connection(role, |connection, output| {
            let mut violation = [0x83, 0x00];
            let failed = connection.receive(&mut &mut violation[..], output);
            assert!(matches!(failed, Some(Event::Failed(_))));
            let mut calls = 0;
            for i in 0..100 {
                let mut read = flood.clone();
                let mut input = &mut read[..];
                while let Some(event) = connection.receive(&mut input, output) {
                    assert!(matches!(event, Event::Closed(_)) && i == 0, "{event:?}");
                    calls += 1;
                }
                calls += 1;
                assert!(input.is_empty(), "the reader may go on");
                assert!(read == flood, "nobody looked");
            }
            calls
        });
        assert_eq!(calls, 100 + 1);
        assert_eq!(
            written.len(),
            if role == Role::Client { 8 } else { 4 },
            "one Close"
        );
    }
}

/// RFC 6455 §7.1.4: "If the TCP connection is closed after the WebSocket closing handshake was
/// completed, the WebSocket connection is said to have been closed _cleanly_." §5.5.1: "If a client
/// and server both send a Close message at the same time, both endpoints will have sent and received
/// a Close message and should consider the WebSocket connection closed".
#[test]
fn rfc_094_simultaneous_closes_end_clean_in_every_interleaving() {
    let close = |role, code| -> (End, Vec<u8>) {
        let mut end = Case::of(role).end();
        end.send(|c, output| c.close(CloseCode::new(code), "", output))
            .expect("it is open");
        let sent = end.take_sent();
        (end, sent)
    };
    let (client, to_server) = close(Role::Client, 1001);
    let (server, to_client) = close(Role::Server, 4000);
    let bytes = to_server.len() + to_client.len();
    let mut interleavings = 0;
    for order in 0_u32..1 << bytes {
        if order.count_ones() as usize != to_server.len() {
            continue;
        }
        interleavings += 1;
        let (mut client, mut server) = (client.clone(), server.clone());
        let (mut to_server, mut to_client) = (to_server.iter(), to_client.iter());
        for i in 0..bytes {
            let (end, bytes) = match order >> i & 1 {
                1 => (&mut server, &mut to_server),
                _ => (&mut client, &mut to_client),
            };
            end.receive(&[*bytes.next().expect("as many as there are")]);
        }
        let seen = [
            Seen::Close(1001, String::new()),
            closed(Initiator::Local, 1001, true),
        ];
        assert_eq!(server.seen.take(), seen);
        client.end_of_input();
        let seen = [
            Seen::Close(4000, String::new()),
            closed(Initiator::Local, 4000, true),
        ];
        assert_eq!(client.seen.take(), seen);
        assert_eq!((client.take_sent(), server.take_sent()), (vec![], vec![]));
    }
    assert_eq!(interleavings, 495);
}

/// The same over a wire: each end closes at any moment of the other's, and both end clean.
#[test]
fn rfc_094_closes_at_any_moment_end_clean() {
    for steps_between in 0..8 {
        for first in ROLES {
            let mut pair = Pair::new(&[], &[]);
            let close = |end: &mut End| end.send(|c, output| c.close(1000.into(), "", output));
            close(pair.end(first)).expect("it is open");
            for _ in 0..steps_between {
                pair.step();
            }
            match close(pair.end(first.peer())) {
                Ok(()) => {}
                Err(error) => assert_eq!(error, SendError::Closing, "it has answered already"),
            }
            pair.drive();
            for role in ROLES {
                let seen = pair.end(role).seen.take();
                let [Seen::Close(1000, _), Seen::Closed(end)] = &seen[..] else {
                    panic!("{seen:?}");
                };
                assert!(end.clean);
            }
        }
    }
}

/// RFC 6455 §7.1.5: without a Close the code is 1006; the end is told once, wherever the stream
/// breaks off, and nothing is awaited after it.
#[test]
fn rfc_095_end_of_transport_without_close_is_told_once() {
    for role in ROLES {
        let case = Case::of(role);
        let mut peer = case.peer();
        peer.text("whole")
            .frame(false, Opcode::Text, "Hel")
            .ping("?")
            .frame(true, Continuation, "lo");
        let bytes = peer.close(1000, "").cut_off(1).take();
        for script in [&[][..], CLOSE_AT_ONCE] {
            for len in 0..=bytes.len() {
                let mut end = case.script(script).end();
                end.receive(&bytes[..len]);
                let before = end.seen.events().len();
                end.take_sent();
                end.end_of_input();
                let initiator = match script {
                    [] => Initiator::Peer,
                    _ => Initiator::Local,
                };
                let closed = closed(initiator, 1006, false);
                assert_eq!(end.seen.events()[before..], [closed]);
                // Told again, or asked again, it says nothing.
                end.end_of_input();
                end.receive(&bytes);
                end.handle_timeout(1_000_000);
                assert_eq!(end.seen.events().len(), before + 1);
                assert_eq!(end.connection.next_timeout(), None);
                assert_eq!(end.connection.state(), State::Closed);
                assert_eq!(end.take_sent(), b"");
            }
        }
    }
}

/// RFC 6455 §7.3: "Clients SHOULD NOT close the WebSocket connection arbitrarily." Over an hour of
/// silence but for the heartbeat, neither end closes.
#[test]
fn rfc_097_client_does_not_close_by_itself() {
    let mut pair = Pair::new(&[], &[]);
    pair.latency_ms = 100;
    pair.drive_until(3_600_000);
    for role in ROLES {
        let seen = pair.end(role).seen.take();
        let quiet = |seen: &Seen| matches!(seen, Seen::Ping(_) | Seen::Pong(_));
        assert!(seen.len() > 300 && seen.iter().all(quiet), "{role:?}");
        assert_eq!(pair.end(role).connection.state(), State::Open);
    }
}

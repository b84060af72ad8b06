//! RFC 6455 §5.4, §5.5 and §10.4, rows 56 to 68 of the checklist: fragments, control frames, limits.

use ws_proto::{
    Config, Connection, Event, Limit,
    MessageKind::{Binary, Text},
    Messages, Misuse, Output, Prepared, Role, SendError, Violation,
    frame::Opcode::{self, Close, Continuation, Ping, Pong},
};
use ws_tests::{
    Frames, Seen,
    case::{Case, ROLES, frame, pattern},
};

const FIN: u8 = 0x80;

/// The first two bytes of a frame that this end receives, its mask bit as it should be.
fn prefix(receiver: Role, first: u8, len7: u8) -> [u8; 2] {
    let mask = if receiver == Role::Server { 0x80 } else { 0 };
    [first, mask | len7]
}

/// RFC 6455 §5.4: "A fragmented message consists of a single frame with the FIN bit clear and an
/// opcode other than 0, followed by zero or more frames with the FIN bit clear and the opcode set
/// to 0, and terminated by a single frame with the FIN bit set and an opcode of 0." Fragments may
/// be of any size, "including 0".
#[test]
fn rfc_056_message_is_the_same_in_any_fragments() {
    const TEXT: &str = "héllo";
    for role in ROLES {
        let case = Case::of(role);
        case.sees(&case.peer().text(TEXT).take(), &[Seen::text(TEXT)]);
        // Four fragments, cut at all triples of places: many of them empty.
        let places = || 0..=TEXT.len();
        for (a, b, c) in places().flat_map(|a| {
            (a..=TEXT.len()).flat_map(move |b| (b..=TEXT.len()).map(move |c| (a, b, c)))
        }) {
            let bytes = TEXT.as_bytes();
            let mut fragments = case.peer();
            fragments
                .frame(false, Opcode::Text, &bytes[..a])
                .frame(false, Continuation, &bytes[a..b])
                .frame(false, Continuation, &bytes[b..c])
                .frame(true, Continuation, &bytes[c..])
                .text("next");
            case.sees(&fragments.take(), &[Seen::text(TEXT), Seen::text("next")]);
        }
        // A message of nothing, in one frame and in three.
        case.sees(&case.peer().binary("").take(), &[Seen::binary(b"")]);
        let mut fragments = case.peer();
        fragments
            .frame(false, Opcode::Binary, "")
            .frame(false, Continuation, "")
            .frame(true, Continuation, "");
        case.sees(&fragments.take(), &[Seen::binary(b"")]);
    }
}

/// RFC 6455 §5.4: a continuation frame continues a message; with none open there is nothing that it
/// could be.
#[test]
fn rfc_057_continuation_of_nothing_is_refused() {
    for role in ROLES {
        let case = Case::of(role);
        let whole = [Seen::text("whole")];
        for first in [0x00, 0x80] {
            let header = prefix(role, first, 3);
            case.fails(&header, &[], Violation::UnexpectedContinuation, 1002);
            let unfragmented = case.peer().text("whole").raw(header).take();
            case.fails(
                &unfragmented,
                &whole,
                Violation::UnexpectedContinuation,
                1002,
            );
            let fragmented = case
                .peer()
                .frame(false, Opcode::Text, "who")
                .frame(true, Continuation, "le")
                .raw(header)
                .take();
            case.fails(&fragmented, &whole, Violation::UnexpectedContinuation, 1002);
        }
    }
}

/// RFC 6455 §5.4: "The fragments of one message MUST NOT be interleaved between the fragments of
/// another message unless an extension has been negotiated that can interpret the interleaving."
#[test]
fn rfc_058_new_message_inside_a_fragmented_one_is_refused() {
    for role in ROLES {
        let case = Case::of(role);
        for first in [0x01, 0x81, 0x02, 0x82] {
            let header = prefix(role, first, 3);
            for begun in ["a", ""] {
                let part = Seen::part(Text, begun.as_bytes(), true, false);
                let bytes = case
                    .peer()
                    .frame(false, Opcode::Text, begun)
                    .raw(header)
                    .take();
                let before = std::slice::from_ref(&part);
                case.fails(&bytes, before, Violation::ExpectedContinuation, 1002);
                let bytes = case
                    .peer()
                    .frame(false, Opcode::Text, begun)
                    .pong("")
                    .raw(header)
                    .take();
                let before = [part, Seen::Pong(vec![])];
                case.fails(&bytes, &before, Violation::ExpectedContinuation, 1002);
            }
        }
    }
}

/// RFC 6455 §5.4: "Control frames (see Section 5.5) MAY be injected in the middle of a fragmented
/// message." and "An endpoint MUST be capable of handling control frames in the middle of a
/// fragmented message."
#[test]
fn rfc_059_control_frames_between_fragments_are_processed_at_once() {
    for role in ROLES {
        let case = Case::of(role);
        let mut peer = case.peer();
        let mut end = case.end();
        end.receive(&peer.frame(false, Opcode::Text, "Hel").ping("1").take());
        let part = Seen::part(Text, b"Hel", true, false);
        assert_eq!(end.seen.take(), [part.clone(), Seen::Ping(b"1".to_vec())]);
        assert_eq!(end.take_frames(), [frame(role, true, Pong, b"1")]);

        let mut peer = case.peer();
        peer.frame(false, Opcode::Text, "Hel")
            .ping("1")
            .frame(false, Continuation, "")
            .pong("2")
            .frame(true, Continuation, "lo");
        let outcome = case.receives(&peer.take());
        let seen = [
            part,
            Seen::Ping(b"1".to_vec()),
            Seen::part(Text, b"", false, false),
            Seen::Pong(b"2".to_vec()),
            Seen::part(Text, b"lo", false, true),
        ];
        assert_eq!(outcome.seen, seen);
        assert_eq!(outcome.sent, [frame(role, true, Pong, b"1")]);

        let bytes = case
            .peer()
            .frame(false, Opcode::Text, "Hel")
            .close(1001, "")
            .take();
        let outcome = case.receives(&bytes);
        assert_eq!(outcome.seen[1], Seen::Close(1001, String::new()));
        assert_eq!(outcome.sent.len(), 1);
    }
}

/// RFC 6455 §5.4: "The fragments of one message MUST NOT be interleaved between the fragments of
/// another message". As a sender: what would come between is refused; control frames pass.
#[test]
fn rfc_060_sender_never_interleaves_messages() {
    for role in ROLES {
        for begun in [false, true] {
            let mut end = Case::of(role).end();
            end.send(|c, _| c.begin(Text)).expect("it is open");
            if begun {
                end.send(|c, output| c.send_fragment(b"Hel", output))
                    .expect("it was begun");
            }
            let mut memory = [0; 16];
            let prepared = Prepared::binary(b"no", &mut memory).expect("it fits");
            let refused = Err(SendError::Misuse(Misuse::MessageInProgress));
            assert_eq!(end.send(|c, output| c.send_text("no", output)), refused);
            assert_eq!(end.send(|c, output| c.send_binary(b"no", output)), refused);
            assert_eq!(
                end.send(|c, output| c.send_prepared(&prepared, output)),
                refused
            );
            assert_eq!(end.send(|c, _| c.begin(Binary)), refused);
            let header = end.send(|c, output| c.frame_header(Text, 2, output).map(drop));
            assert_eq!(header, refused);

            end.send(|c, output| c.ping(b"1", output))
                .expect("control frames pass");
            end.receive(&Case::of(role).peer().ping("2").take());
            end.send(|c, output| c.finish(b"lo", output))
                .expect("it was begun");
            end.send(|c, output| c.send_text("next", output))
                .expect("the way is free");
            let first = frame(role, false, Opcode::Text, b"Hel");
            let last = if begun { Continuation } else { Opcode::Text };
            let rest = [
                frame(role, true, Ping, b"1"),
                frame(role, true, Pong, b"2"),
                frame(role, true, last, b"lo"),
                frame(role, true, Opcode::Text, b"next"),
            ];
            let sent = end.take_frames();
            assert_eq!(sent[..usize::from(begun)], [first][..usize::from(begun)]);
            assert_eq!(sent[usize::from(begun)..], rest);
        }
        let mut end = Case::of(role).end();
        let refused = Err(SendError::Misuse(Misuse::NoMessageInProgress));
        assert_eq!(
            end.send(|c, output| c.send_fragment(b"no", output)),
            refused
        );
        assert_eq!(end.send(|c, output| c.finish(b"no", output)), refused);
        assert_eq!(end.take_sent(), b"");
    }
}

/// RFC 6455 §5.5: "All control frames MUST have a payload length of 125 bytes or less". The first
/// two bytes say it.
#[test]
fn rfc_061_long_control_frame_is_refused() {
    for role in ROLES {
        let case = Case::of(role);
        for opcode in [Close, Ping, Pong] {
            for len7 in [126, 127] {
                let bytes = prefix(role, FIN | opcode as u8, len7);
                case.fails(&bytes, &[], Violation::ControlFrameTooLong, 1002);
                let bytes = case
                    .peer()
                    .frame(false, Opcode::Binary, "a")
                    .raw(bytes)
                    .take();
                let part = Seen::part(Binary, b"a", true, false);
                case.fails(&bytes, &[part], Violation::ControlFrameTooLong, 1002);
            }
        }
        let longest = pattern(125);
        case.sees(&case.peer().pong(&longest).take(), &[Seen::Pong(longest)]);
    }
}

/// RFC 6455 §5.5: "All control frames [...] MUST NOT be fragmented."
#[test]
fn rfc_062_fragmented_control_frame_is_refused() {
    for role in ROLES {
        let case = Case::of(role);
        for opcode in [Close, Ping, Pong] {
            for len7 in [0, 2, 125] {
                let bytes = prefix(role, opcode as u8, len7);
                case.fails(&bytes, &[], Violation::FragmentedControlFrame, 1002);
                let bytes = case
                    .peer()
                    .frame(false, Opcode::Binary, "a")
                    .raw(bytes)
                    .take();
                let part = Seen::part(Binary, b"a", true, false);
                case.fails(&bytes, &[part], Violation::FragmentedControlFrame, 1002);
            }
        }
    }
}

/// RFC 6455 §5.5, as a sender: what is too long is refused, not cut off.
#[test]
fn rfc_063_sender_refuses_long_control_payload() {
    for role in ROLES {
        let mut end = Case::of(role).end();
        let too_long = Err(SendError::Misuse(Misuse::ControlPayloadTooLong));
        for len in [126, 127, 65_536] {
            let payload = pattern(len);
            assert_eq!(end.send(|c, output| c.ping(&payload, output)), too_long);
            assert_eq!(end.send(|c, output| c.pong(&payload, output)), too_long);
        }
        let reason = "x".repeat(124);
        let refused = Err(SendError::Misuse(Misuse::CloseReasonTooLong));
        assert_eq!(
            end.send(|c, output| c.close(1000.into(), &reason, output)),
            refused
        );
        assert_eq!(end.take_sent(), b"");

        let payload = pattern(125);
        end.send(|c, output| c.ping(&payload, output))
            .expect("it is short enough");
        end.send(|c, output| c.pong(&payload, output))
            .expect("it is short enough");
        end.send(|c, output| c.close(1000.into(), &reason[1..], output))
            .expect("it is short enough");
        let close = [&1000_u16.to_be_bytes()[..], &reason.as_bytes()[1..]].concat();
        let sent = [
            frame(role, true, Ping, &payload),
            frame(role, true, Pong, &payload),
            frame(role, true, Close, &close),
        ];
        assert_eq!(end.take_frames(), sent);
    }
}

/// RFC 6455 §10.4: "Implementations that have implementation- and/or platform-specific limitations
/// regarding the frame size or total message size after reassembly from multiple frames MUST
/// protect themselves against exceeding those limits." The header decides; §7.4.1 has 1009 for it.
#[test]
fn rfc_065_oversize_is_refused_on_the_header() {
    for role in ROLES {
        for limit in [0, 1, 125, 126, 1000, 65_535, 65_536, 1 << 20] {
            let case = Case::of(role).config(|c| c.limits.max_message = Limit::At(limit));
            for over in [limit + 1, limit + 1000, (1 << 63) - 1] {
                let form = match over {
                    0..=125 => 0,
                    126..=65_535 => 2,
                    _ => 8,
                };
                for first in [0x81, 0x82, 0x01, 0x02] {
                    let bytes = case.peer().declared(first, form, over, b"").take();
                    case.fails(&bytes, &[], Violation::MessageTooBig, 1009);
                }
            }
            if limit <= 1000 {
                let payload = pattern(limit as usize);
                case.sees(
                    &case.peer().binary(&payload).take(),
                    &[Seen::binary(&payload)],
                );
            }
        }
        // "No limit" is a word of its own.
        let case = Case::of(role).config(|c| c.limits.max_message = Limit::Unlimited);
        let bytes = case.peer().declared(0x82, 8, (1 << 63) - 1, b"a").take();
        case.sees(&bytes, &[Seen::part(Binary, b"a", true, false)]);
    }
}

/// The same section, "total message size after reassembly": the sum is checked at each fragment,
/// not at the last.
#[test]
fn rfc_066_sum_of_fragments_is_limited() {
    for role in ROLES {
        let case = Case::of(role).config(|c| c.limits.max_message = Limit::At(10));
        for first in [Opcode::Text, Opcode::Binary] {
            let kind = if first == Opcode::Text { Text } else { Binary };
            for continuation in [0x00, 0x80] {
                let mut peer = case.peer();
                peer.frame(false, first, "123456")
                    .frame(false, Continuation, "789");
                let bytes = peer.declared(continuation, 0, 2, b"").take();
                let part = Seen::part(kind, b"123456789", true, false);
                case.fails(&bytes, &[part], Violation::MessageTooBig, 1009);
            }
        }
        // As much as is allowed, twice: the sum starts anew with each message.
        let mut peer = case.peer();
        for _ in 0..2 {
            peer.frame(false, Opcode::Binary, "123456")
                .ping("control frames do not count")
                .frame(false, Continuation, "")
                .frame(true, Continuation, "7890");
        }
        let outcome = case.receives(&peer.take());
        assert_eq!(outcome.seen.len(), 6, "{:?}", outcome.seen);
        assert!(
            !outcome
                .seen
                .contains(&Seen::Failed(Violation::MessageTooBig))
        );
    }
}

/// §10.4 again: empty fragments cost the sender six bytes and add nothing to the sum.
#[test]
fn rfc_067_number_of_fragments_is_limited() {
    for role in ROLES {
        let case = Case::of(role).config(|c| c.limits.max_fragments = Limit::At(2));
        for payload in ["", "a"] {
            let mut peer = case.peer();
            peer.frame(false, Opcode::Text, payload);
            peer.frame(false, Continuation, payload)
                .frame(false, Continuation, payload);
            let len7 = payload.len() as u64;
            let part = Seen::part(Text, payload.repeat(3).as_bytes(), true, false);
            let bytes = peer.clone().declared(0x00, 0, len7, b"").take();
            case.fails(
                &bytes,
                std::slice::from_ref(&part),
                Violation::TooManyFragments,
                1008,
            );
            let bytes = peer.declared(0x80, 0, len7, b"").take();
            case.fails(&bytes, &[part], Violation::TooManyFragments, 1008);
        }
        let mut peer = case.peer();
        for _ in 0..2 {
            peer.frame(false, Opcode::Text, "a");
            peer.frame(false, Continuation, "b")
                .frame(true, Continuation, "c");
        }
        case.sees(&peer.take(), &[Seen::text("abc"), Seen::text("abc")]);
    }
}

/// Memory of an open message is as much as its bytes, not as its fragments: the core keeps a
/// number, and a store of 100 bytes is enough for 100 bytes in 100 000 fragments.
#[test]
fn rfc_067_open_message_costs_its_bytes_and_not_its_fragments() {
    let mut config = Config::new();
    config.limits.max_fragments = Limit::Unlimited;
    let mut connection = Connection::server(config);
    let mut messages = Messages::new([0; 100]);
    let mut buffer = [0; 256];
    let mut peer = Frames::of(Role::Client);
    let mut bytes = peer.frame(false, Opcode::Binary, "").take();
    for i in 0..100_000 {
        let mut output = Output::new(&mut buffer);
        let event = messages.receive(&mut connection, &mut &mut bytes[..], &mut output);
        assert_eq!(event, None);
        let payload: &[u8] = if i % 1000 == 0 { b"x" } else { b"" };
        bytes = peer.frame(false, Continuation, payload).take();
    }
    assert_eq!(messages.len(), 100);
    let mut end = peer.frame(true, Continuation, "").take();
    let mut output = Output::new(&mut buffer);
    let mut input = &mut end[..];
    let event = messages.receive(&mut connection, &mut input, &mut output);
    assert_eq!(event, Some(Event::Binary(&[b'x'; 100])));
}

/// §10.4 again (CVE-2026-54274): a payload counts from its header on, not from its last byte.
#[test]
fn rfc_068_payload_that_trickles_in_counts_from_its_header_on() {
    const LIMIT: u64 = 1 << 20;
    for role in ROLES {
        let case = Case::of(role);
        // 1 MiB + 1 is declared, half of it would come.
        let header = case.peer().declared(0x82, 8, LIMIT + 1, b"").take();
        let mut end = case.end();
        end.receive(&header);
        assert_eq!(end.seen.events()[0], Seen::Failed(Violation::MessageTooBig));
        end.receive(&pattern(1 << 19));
        assert_eq!(end.seen.events().len(), 2);
        case.fails(&header, &[], Violation::MessageTooBig, 1009);

        // Two halves, the second longer by one than allowed.
        let half = pattern(1 << 19);
        let mut peer = case.peer();
        peer.frame(false, Opcode::Binary, &half);
        let mut end = case.end();
        end.receive(&peer.take());
        assert_eq!(end.seen.take().len(), 1);
        end.receive(&peer.declared(0x00, 8, (1 << 19) + 1, b"").take());
        assert_eq!(end.seen.events()[0], Seen::Failed(Violation::MessageTooBig));
    }
}

//! RFC 6455 §5.6 and §8.1, rows 70 to 75 of the checklist: text is UTF-8.

use std::str::from_utf8;

use ws_proto::{
    Config, Connection, Event, Extensions,
    MessageKind::Text,
    Misuse, Output, REPLY_ROOM, Role, SendError, Violation,
    frame::Opcode::{self, Continuation},
};
use ws_tests::{
    End, Frames, Log, Seen,
    case::{Case, ROLES, close_frame, frame, given_up},
};

static CONFIG: Config = Config::new();

/// Texts of all lengths of characters and of the borders between them, with neighbours.
const TORTURE: &str =
    "a\u{80}é\u{7ff}\u{800}€\u{d7ff}\u{e000}\u{fffd}\u{ffff}\u{10000}😀\u{10ffff}z";

/// What is not UTF-8, and the index of the first byte that cannot be right.
const WRONG: &[(&[u8], usize)] = &[
    // Bytes that begin nothing, or are in no character at all.
    (b"\x80", 0),
    (b"\xbf", 0),
    (b"\xc0", 0),
    (b"\xc1", 0),
    (b"\xf5", 0),
    (b"\xfe", 0),
    (b"\xff", 0),
    (b"ab\xff", 2),
    // Overlong forms.
    (b"\xc0\xaf", 0),
    (b"\xc1\xbf", 0),
    (b"\xe0\x80\xaf", 1),
    (b"\xe0\x9f\xbf", 1),
    (b"\xf0\x80\x80\xaf", 1),
    (b"\xf0\x8f\xbf\xbf", 1),
    (b"\xf8\x80\x80\x80\xaf", 0),
    // Surrogates.
    (b"\xed\xa0\x80", 1),
    (b"\xed\xad\xbf", 1),
    (b"\xed\xbf\xbf", 1),
    // Beyond U+10FFFF.
    (b"\xf4\x90\x80\x80", 1),
    (b"\xf7\xbf\xbf\xbf", 0),
    // Characters that something else breaks off.
    (b"\xc3a", 1),
    (b"\xe2\x82a", 2),
    (b"\xf0\x9f\x98a", 3),
    (b"\xe2\xe2\x82\xac", 1),
    // RFC 6455 §8.1 is Autobahn's 6.4.*: good, wrong, good.
    (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xf4\x90\x80\x80\x65", 8),
];

/// What an end reports of text that goes wrong behind `good`.
fn wrong_behind(good: &[u8]) -> Vec<Seen> {
    let mut seen = vec![Seen::Failed(Violation::InvalidUtf8), given_up()];
    if !good.is_empty() {
        seen.insert(0, Seen::part(Text, good, true, false));
    }
    seen
}

/// RFC 6455 §8.1: "When an endpoint is to interpret a byte stream as UTF-8 but finds that the byte
/// stream is not, in fact, a valid UTF-8 stream, that endpoint MUST _Fail the WebSocket
/// Connection_."
#[test]
fn rfc_070_text_that_is_not_utf8_is_refused() {
    for role in ROLES {
        let case = Case::of(role);
        for (text, good) in WRONG {
            for whole in [true, false] {
                let mut peer = case.peer();
                match whole {
                    true => peer.text(text),
                    false => {
                        peer.frame(false, Opcode::Text, text)
                            .frame(true, Continuation, "behind")
                    }
                };
                let outcome = case.receives(&peer.take());
                assert_eq!(outcome.seen, wrong_behind(&text[..*good]), "{text:x?}");
                assert_eq!(outcome.sent, [close_frame(role, 1007)], "{text:x?}");
            }
            // The same bytes are a fine binary message.
            case.sees(&case.peer().binary(text).take(), &[Seen::binary(text)]);
        }
    }
}

/// All texts of two bytes, judged as the standard library judges them; in one frame, in two, and
/// cut by the transport.
#[test]
fn rfc_070_every_text_of_two_bytes() {
    for role in ROLES {
        for word in 0..=u16::MAX {
            let text = word.to_be_bytes();
            let whole = Frames::of(role.peer()).text(text).take();
            let mut peer = Frames::of(role.peer());
            peer.frame(false, Opcode::Text, &text[..1]);
            let fragments = peer.frame(true, Continuation, &text[1..]).take();
            let (head, tail) = whole.split_at(whole.len() - 1);
            let ways: [&[&[u8]]; 3] = [&[&whole], &[&fragments], &[head, tail]];
            for pieces in ways {
                let read = read_message(role, pieces);
                assert_eq!(
                    read,
                    from_utf8(&text).map(|_| text.to_vec()).ok(),
                    "{text:x?}"
                );
            }
        }
    }
}

/// The message in these bytes; `None` if it fails with 1007.
fn read_message(role: Role, pieces: &[&[u8]]) -> Option<Vec<u8>> {
    let mut connection = Connection::established(role, Extensions::NONE, &CONFIG);
    let mut buffer = [0; REPLY_ROOM];
    let mut keys = || [0; 4];
    let mut output = match role {
        Role::Client => Output::masked(&mut buffer, &mut keys),
        Role::Server => Output::new(&mut buffer),
    };
    let mut message = Vec::new();
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut input = &mut piece[..];
        while let Some(event) = connection.receive(&mut input, &mut output) {
            match event {
                Event::Text(text) => message.extend_from_slice(text.as_bytes()),
                Event::Chunk(chunk) => message.extend_from_slice(chunk.bytes),
                Event::Failed(Violation::InvalidUtf8) => {
                    assert_eq!(output.written().last_chunk(), Some(&1007_u16.to_be_bytes()));
                    return None;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(!connection.is_inside_message());
    Some(message)
}

/// RFC 6455 §5.6: "Note that a particular text frame might include a partial UTF-8 sequence;
/// however, the whole message MUST contain valid UTF-8."
#[test]
fn rfc_071_characters_may_be_cut_by_frames_and_by_the_transport() {
    let text = TORTURE.as_bytes();
    let whole = [Seen::text(TORTURE)];
    for role in ROLES {
        let case = Case::of(role);
        for second in 0..=text.len() {
            for first in 0..=second {
                let mut peer = case.peer();
                peer.frame(false, Opcode::Text, &text[..first])
                    .frame(false, Continuation, &text[first..second])
                    .frame(true, Continuation, &text[second..]);
                case.sees(&peer.take(), &whole);
            }
        }
        let bytes = case.peer().text(text).take();
        for second in 0..=bytes.len() {
            for first in 0..=second {
                let mut end = case.end();
                end.receive(&bytes[..first]);
                end.receive(&bytes[first..second]);
                end.receive(&bytes[second..]);
                assert_eq!(end.seen.events(), whole, "cut at {first} and {second}");
            }
        }
    }
}

/// RFC 6455 §8.1 once more: a text that ends inside a character is none, however it ends.
#[test]
fn rfc_072_text_that_ends_inside_a_character_is_refused() {
    for role in ROLES {
        let case = Case::of(role);
        for character in ["é", "€", "\u{800}", "😀", "\u{10ffff}"] {
            let character = character.as_bytes();
            for len in 1..character.len() {
                let text = [b"ab", &character[..len]].concat();
                let (good, last) = text.split_at(text.len() - 1);

                case.fails(
                    &case.peer().text(&text).take(),
                    &wrong_behind(good)[..1],
                    Violation::InvalidUtf8,
                    1007,
                );

                let mut fragments = case.peer();
                fragments
                    .frame(false, Opcode::Text, good)
                    .frame(true, Continuation, last);
                case.fails(
                    &fragments.take(),
                    &wrong_behind(good)[..1],
                    Violation::InvalidUtf8,
                    1007,
                );

                // The last fragment is empty: nothing completes the character any more.
                let mut fragments = case.peer();
                fragments
                    .frame(false, Opcode::Text, &text)
                    .frame(true, Continuation, "");
                case.fails(
                    &fragments.take(),
                    &wrong_behind(&text)[..1],
                    Violation::InvalidUtf8,
                    1007,
                );
            }
        }
        // The next message starts at a boundary of its own.
        let mut peer = case.peer();
        peer.binary(b"\xe2\x82").text("€");
        case.sees(&peer.take(), &[Seen::binary(b"\xe2\x82"), Seen::text("€")]);
    }
}

/// §8.1 leaves open when; we fail at the first byte that cannot be right, in the middle of a frame
/// of which more is announced (Autobahn 6.4.*, strict).
#[test]
fn rfc_073_text_fails_at_its_first_wrong_byte() {
    for role in ROLES {
        let case = Case::of(role);
        for (text, good) in WRONG {
            let (good, wrong) = (&text[..*good], &text[..=*good]);
            let before = &wrong_behind(good)[..usize::from(!good.is_empty())];

            let unfinished = case.peer().declared(0x81, 0, 100, wrong).take();
            case.fails(&unfinished, before, Violation::InvalidUtf8, 1007);

            let unfinished = case.peer().declared(0x01, 2, 1000, wrong).take();
            case.fails(&unfinished, before, Violation::InvalidUtf8, 1007);

            // Across a border of fragments, too.
            let mut peer = case.peer();
            peer.frame(false, Opcode::Text, good);
            let unfinished = peer.declared(0x80, 0, 100, &wrong[good.len()..]).take();
            let begun = [Seen::part(Text, good, true, false)];
            case.fails(&unfinished, &begun, Violation::InvalidUtf8, 1007);
        }
    }
}

/// RFC 6455 §5.5.1: "Following the 2-byte integer, the body MAY contain UTF-8-encoded data with
/// value /reason/". §8.1 holds for it as for text, and no later frame could complete it.
#[test]
fn rfc_074_close_reason_that_is_not_utf8_is_refused() {
    for role in ROLES {
        let case = Case::of(role);
        let partial: [&[u8]; 4] = [b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"bye\xf0"];
        for reason in WRONG.iter().map(|(reason, _)| *reason).chain(partial) {
            let bytes = case.peer().close(1000, reason).take();
            case.fails(&bytes, &[], Violation::InvalidCloseReason, 1007);
        }
        let outcome = case.receives(&case.peer().close(1000, TORTURE).take());
        assert_eq!(outcome.seen[0], Seen::Close(1000, TORTURE.to_owned()));
    }
}

/// §5.6 as a sender: `send_text` takes a `&str`; text in fragments is bytes, which are checked
/// together. What is refused leaves no trace.
#[test]
fn rfc_075_sender_checks_text_that_comes_as_bytes() {
    let refused = Err(SendError::Misuse(Misuse::InvalidUtf8));
    for role in ROLES {
        for (text, _) in WRONG {
            let mut end = End::<Log>::new(role, Default::default());
            end.send(|c, _| c.begin(Text)).expect("it is open");
            assert_eq!(end.send(|c, output| c.send_fragment(text, output)), refused);
            assert_eq!(end.send(|c, output| c.finish(text, output)), refused);
            assert_eq!(end.take_sent(), b"");
            end.send(|c, output| c.finish(b"right", output))
                .expect("it may be mended");
            assert_eq!(
                end.take_frames(),
                [frame(role, true, Opcode::Text, b"right")]
            );
        }
        // A character may be cut between fragments, but not left open at the end.
        let mut end = End::<Log>::new(role, Default::default());
        end.send(|c, _| c.begin(Text)).expect("it is open");
        end.send(|c, output| c.send_fragment(b"\xe2\x82", output))
            .expect("it is right so far");
        assert_eq!(end.send(|c, output| c.finish(b"", output)), refused);
        assert_eq!(end.send(|c, output| c.send_fragment(b"a", output)), refused);
        end.send(|c, output| c.finish(b"\xac", output))
            .expect("it is right");
        let sent = [
            frame(role, false, Opcode::Text, b"\xe2\x82"),
            frame(role, true, Continuation, b"\xac"),
        ];
        assert_eq!(end.take_frames(), sent);
        // And what was sent is received.
        let mut bytes = Frames::of(role);
        bytes
            .frame(false, Opcode::Text, b"\xe2\x82")
            .frame(true, Continuation, b"\xac");
        Case::of(role.peer()).sees(&bytes.take(), &[Seen::text("€")]);
    }
    let _: fn(&mut Connection, &str, &mut Output<'_>) -> _ = Connection::send_text;
}

//! RFC 6455 §5.1 to §5.3, rows 46 to 55, 64 and 69 of the checklist: masks and headers.

use ws_proto::{
    Config, Connection, Event, Extensions, Limit,
    MessageKind::{Binary, Text},
    Misuse, Output, Prepared, Role, SendError, Violation,
    frame::{
        FrameHeader,
        Opcode::{self, Close, Continuation, Ping, Pong},
        mask::MaskingKey,
    },
};
use ws_tests::{
    End, Frame, Frames, Seen,
    case::{Case, ROLES, pattern},
};

const FIN: u8 = 0x80;

/// All six opcodes that mean something.
const OPCODES: [Opcode; 6] = [
    Continuation,
    Opcode::Text,
    Opcode::Binary,
    Close,
    Ping,
    Pong,
];

/// The first two bytes of a frame that this end receives, its mask bit as it should be.
fn prefix(receiver: Role, first: u8, len7: u8) -> [u8; 2] {
    let mask = if receiver == Role::Server { 0x80 } else { 0 };
    [first, mask | len7]
}

/// Every frame that an end can send of its own: messages, prepared, fragments, control frames.
fn send_everything(end: &mut End) -> Result<(), SendError> {
    end.send(|c, output| c.send_text("text", output))?;
    end.send(|c, output| c.send_binary(b"binary", output))?;
    let mut memory = [0; 64];
    let prepared = Prepared::text("prepared", &mut memory).expect("it fits");
    end.send(|c, output| c.send_prepared(&prepared, output))?;
    end.send(|c, _| c.begin(Text))?;
    end.send(|c, output| c.send_fragment(b"first", output))?;
    end.send(|c, output| c.ping(b"ping", output))?;
    end.send(|c, output| c.finish(b"last", output))?;
    end.send(|c, output| c.pong(b"pong", output))?;
    end.send(|c, output| c.close(1000.into(), "bye", output))
}

/// All frames that an end sends, of its own and in answer, as bytes.
fn everything_sent(role: Role) -> Vec<Vec<u8>> {
    let mut own = Case::of(role).end();
    send_everything(&mut own).expect("all of it is right");
    let mut sent = vec![own.take_sent()];
    let peer = || Frames::of(role.peer());
    let violation = [0x83, 0];
    for bytes in [
        peer().ping("ping").take(),
        peer().close(1000, "").take(),
        violation.to_vec(),
    ] {
        let mut end = Case::of(role).end();
        end.receive(&bytes);
        sent.push(end.take_sent());
    }
    // The first ping of the heartbeat.
    let mut end = Case::of(role).end();
    end.handle_timeout(0);
    end.handle_timeout(20_000);
    sent.push(end.take_sent());
    sent
}

/// RFC 6455 §5.1: "a client MUST mask all frames that it sends to the server". §5.3: "The masking
/// key is a 32-bit value chosen at random by the client. When preparing a masked frame, the client
/// MUST pick a fresh masking key from the set of allowed 32-bit values."
#[test]
fn rfc_046_client_masks_each_frame_with_a_fresh_key() {
    let mut frames = 0;
    for mut bytes in everything_sent(Role::Client).iter().map(Vec::as_slice) {
        let mut keys = Vec::new();
        assert!(!bytes.is_empty());
        while let Some((frame, len)) = Frame::read(bytes).filter(|_| !bytes.is_empty()) {
            let (header, _) = FrameHeader::parse(bytes).expect("good").expect("whole");
            let key = header.masking_key.expect("a client's frame has a mask");
            assert!(
                !keys.contains(&key.to_bytes()),
                "{frame:?} has a key of before"
            );
            keys.push(key.to_bytes());
            bytes = &bytes[len..];
        }
        frames += keys.len();
    }
    assert_eq!(frames, 8 + 4);
}

/// The same section: "The masking key needs to be unpredictable": the core draws it from the source
/// that it was lent, one for each frame, and has none of its own.
#[test]
fn rfc_046_client_draws_one_key_for_each_frame() {
    let mut drawn = 0_u8;
    let mut keys = || {
        drawn += 1;
        [drawn, 0xAA, 0x55, !drawn]
    };
    let mut buffer = [0; 512];
    let mut output = Output::masked(&mut buffer, &mut keys);
    let mut client = Connection::client(Config::new());
    client
        .send_text("Hello", &mut output)
        .expect("there is room");
    client.ping(b"", &mut output).expect("there is room");
    let header = client
        .frame_header(Binary, 70_000, &mut output)
        .expect("it is open");
    client
        .send_binary(b"\0\0\0\0", &mut output)
        .expect("there is room");
    assert_eq!(
        header.masking_key,
        Some(MaskingKey::from([3, 0xAA, 0x55, !3]))
    );
    let expected = [
        &[0x81, 0x85, 1, 0xAA, 0x55, !1][..],
        &[b'H' ^ 1, b'e' ^ 0xAA, b'l' ^ 0x55, b'l' ^ !1, b'o' ^ 1],
        &[0x89, 0x80, 2, 0xAA, 0x55, !2],
        &[0x82, 0x84, 4, 0xAA, 0x55, !4, 4, 0xAA, 0x55, !4],
    ];
    assert_eq!(output.written(), expected.concat());
    assert_eq!(drawn, 4);
}

/// A client that was given no keys sends nothing rather than an unmasked frame.
#[test]
fn rfc_046_client_without_keys_sends_nothing() {
    let mut buffer = [0; 512];
    let mut output = Output::new(&mut buffer);
    let mut client = Connection::client(Config::new());
    let refused = Err(SendError::Misuse(Misuse::MissingMaskingKeys));
    assert_eq!(client.send_text("Hello", &mut output), refused);
    assert_eq!(client.ping(b"", &mut output), refused);
    assert_eq!(client.close(1000.into(), "", &mut output), refused);
    let mut ping = *b"\x89\x00";
    assert_eq!(
        client.receive(&mut &mut ping[..], &mut output),
        Some(Event::Ping(b""))
    );
    assert_eq!(output.written(), b"");
}

/// RFC 6455 §5.1: "The server MUST close the connection upon receiving a frame that is not masked.
/// In this case, a server MAY send a Close frame with a status code of 1002 (protocol error)".
#[test]
fn rfc_047_server_receives_unmasked_frame() {
    let case = Case::of(Role::Server);
    for opcode in OPCODES {
        for len in [0, 1, 125] {
            case.fails(
                &[FIN | opcode as u8, len],
                &[],
                Violation::UnmaskedClientFrame,
                1002,
            );
        }
    }
    // The frames before are delivered, nothing of this one is.
    let bytes = case
        .peer()
        .text("good")
        .wrong_mask(0x81, "bad")
        .cut_off(3)
        .take();
    case.fails(
        &bytes,
        &[Seen::text("good")],
        Violation::UnmaskedClientFrame,
        1002,
    );
    // Not even inside a message.
    let bytes = case
        .peer()
        .frame(false, Opcode::Binary, [1])
        .raw([0x80, 0x01])
        .take();
    let part = Seen::part(Binary, &[1], true, false);
    case.fails(&bytes, &[part], Violation::UnmaskedClientFrame, 1002);
}

/// RFC 6455 §5.1: "A server MUST NOT mask any frames that it sends to the client."
#[test]
fn rfc_048_server_masks_nothing() {
    let sent = everything_sent(Role::Server);
    let frames: Vec<_> = sent
        .iter()
        .flat_map(|bytes| Frame::read_all(bytes))
        .collect();
    assert_eq!(frames.len(), 8 + 4);
    assert!(frames.iter().all(|frame| !frame.masked), "{frames:?}");
    // Keys that are lent by mistake make no difference.
    let mut keys = || -> [u8; 4] { panic!("a server draws no keys") };
    let mut buffer = [0; 256];
    let mut output = Output::masked(&mut buffer, &mut keys);
    let mut server = Connection::server(Config::new());
    server
        .send_text("Hello", &mut output)
        .expect("there is room");
    assert_eq!(output.written(), b"\x81\x05Hello");
}

/// RFC 6455 §5.1: "A client MUST close a connection if it detects a masked frame. In this case, it
/// MAY use the status code 1002 (protocol error)".
#[test]
fn rfc_049_client_receives_masked_frame() {
    let case = Case::of(Role::Client);
    for opcode in OPCODES {
        for len in [0, 1, 125] {
            let bytes = [FIN | opcode as u8, 0x80 | len];
            case.fails(&bytes, &[], Violation::MaskedServerFrame, 1002);
        }
    }
    let bytes = case
        .peer()
        .text("good")
        .wrong_mask(0x81, "bad")
        .cut_off(4 + 3)
        .take();
    case.fails(
        &bytes,
        &[Seen::text("good")],
        Violation::MaskedServerFrame,
        1002,
    );
}

/// RFC 6455 §5.2, RSV1, RSV2, RSV3: "MUST be 0 unless an extension is negotiated that defines
/// meanings for non-zero values. If a nonzero value is received and none of the negotiated
/// extensions defines the meaning of such a nonzero value, the receiving endpoint MUST _Fail the
/// WebSocket Connection_."
#[test]
fn rfc_050_reserved_bits_are_refused() {
    for role in ROLES {
        let case = Case::of(role);
        let open = case.peer().frame(false, Opcode::Binary, [1]).take();
        let part = [Seen::part(Binary, &[1], true, false)];
        for rsv in (0x10..=0x70).step_by(0x10) {
            for opcode in OPCODES {
                let bytes = prefix(role, FIN | rsv | opcode as u8, 5);
                case.fails(&bytes, &[], Violation::ReservedBits, 1002);
                let bytes = [&open[..], &bytes].concat();
                case.fails(&bytes, &part, Violation::ReservedBits, 1002);
            }
        }
    }
}

/// The same, where RSV1 has a meaning: RFC 7692 §6 gives it one on the first frame of a data
/// message, and nowhere else.
#[test]
fn rfc_050_agreed_bit_means_something_only_at_the_start_of_a_message() {
    for role in ROLES {
        let case = Case::of(role).extensions(Extensions::PER_MESSAGE_DEFLATE);
        for rsv in [0x10, 0x20, 0x30, 0x50, 0x60, 0x70] {
            for opcode in OPCODES {
                let bytes = prefix(role, FIN | rsv | opcode as u8, 5);
                case.fails(&bytes, &[], Violation::ReservedBits, 1002);
            }
        }
        for opcode in [Continuation, Close, Ping, Pong] {
            let bytes = prefix(role, FIN | 0x40 | opcode as u8, 0);
            case.fails(&bytes, &[], Violation::ReservedBits, 1002);
        }
        let seen = Seen::Data {
            kind: Binary,
            bytes: b"any".to_vec(),
            first: true,
            last: true,
            compressed: true,
        };
        case.sees(&case.peer().first_byte(0xC2, "any").take(), &[seen]);
    }
}

/// RFC 6455 §5.2: "If an unknown opcode is received, the receiving endpoint MUST _Fail the
/// WebSocket Connection_." The first two bytes say so: no payload is awaited.
#[test]
fn rfc_051_reserved_opcodes_are_refused() {
    for role in ROLES {
        let case = Case::of(role);
        let open = case.peer().frame(false, Opcode::Text, "a").take();
        let part = [Seen::part(Text, b"a", true, false)];
        for opcode in (0x3..=0x7).chain(0xB..=0xF) {
            for (fin, len7) in [(FIN, 0), (0, 0), (FIN, 126), (FIN, 127)] {
                let bytes = prefix(role, fin | opcode, len7);
                case.fails(&bytes, &[], Violation::ReservedOpcode, 1002);
                let bytes = [&open[..], &bytes].concat();
                case.fails(&bytes, &part, Violation::ReservedOpcode, 1002);
            }
        }
    }
}

/// RFC 6455 §5.2: "If 127, the following 8 bytes interpreted as a 64-bit unsigned integer (the most
/// significant bit MUST be 0) are the payload length."
#[test]
fn rfc_052_length_with_its_highest_bit_set_is_refused() {
    for role in ROLES {
        for limit in [Limit::At(1 << 20), Limit::Unlimited] {
            let case = Case::of(role).config(|config| config.limits.max_message = limit);
            for len in [1 << 63, u64::MAX, (1 << 63) + 1, (1 << 63) | 125] {
                for first in [0x81, 0x82, 0x01, 0x02] {
                    let bytes = [&prefix(role, first, 127)[..], &len.to_be_bytes()].concat();
                    case.fails(&bytes, &[], Violation::LengthOverflow, 1002);
                }
            }
        }
    }
}

/// RFC 6455 §5.2: "Note that in all cases, the minimal number of bytes MUST be used to encode the
/// length, for example, the length of a 124-byte-long string can't be encoded as the sequence 126,
/// 0, 124."
#[test]
fn rfc_053_longer_forms_of_a_length_are_refused() {
    for role in ROLES {
        let case = Case::of(role);
        for first in [0x81, 0x82, 0x01] {
            for len in 0..=125_u16 {
                let bytes = [&prefix(role, first, 126)[..], &len.to_be_bytes()].concat();
                case.fails(&bytes, &[], Violation::NonMinimalLength, 1002);
            }
            for len in [0_u64, 1, 125, 126, 127, 255, 256, 65534, 65535] {
                let bytes = [&prefix(role, first, 127)[..], &len.to_be_bytes()].concat();
                case.fails(&bytes, &[], Violation::NonMinimalLength, 1002);
            }
        }
        // The least that each form is for.
        for len in [126, 65536] {
            let payload = pattern(len);
            case.sees(
                &case.peer().binary(&payload).take(),
                &[Seen::binary(&payload)],
            );
        }
    }
}

/// The same rule, as a sender: the form is the shortest at all its borders, whatever sends.
#[test]
fn rfc_054_sender_uses_the_shortest_form_of_a_length() {
    for role in ROLES {
        let mask = if role == Role::Client { 0x80 } else { 0 };
        for len in (0..=130).chain([255, 256]).chain(65_530..=65_540) {
            let form = match len {
                0..=125 => vec![mask | len as u8],
                126..=65_535 => [&[mask | 126][..], &(len as u16).to_be_bytes()].concat(),
                _ => [&[mask | 127][..], &(len as u64).to_be_bytes()].concat(),
            };
            let text = "x".repeat(len);
            let mut memory = vec![0; len + 10];
            let prepared = Prepared::text(&text, &mut memory).expect("it fits");
            type Send<'a> = &'a dyn Fn(&mut End) -> Result<(), SendError>;
            let ways: [(u8, Send<'_>); 5] = [
                (0x81, &|end| {
                    end.send(|c, output| c.send_text(&text, output))
                }),
                (0x82, &|end| {
                    end.send(|c, output| c.send_binary(text.as_bytes(), output))
                }),
                (0x81, &|end| {
                    end.send(|c, output| c.send_prepared(&prepared, output))
                }),
                (0x01, &|end| {
                    end.send(|c, _| c.begin(Text))?;
                    end.send(|c, output| c.send_fragment(text.as_bytes(), output))
                }),
                (0x82, &|end| {
                    end.send(|c, _| c.begin(Binary))?;
                    end.send(|c, output| c.finish(text.as_bytes(), output))
                }),
            ];
            for (first, send) in ways {
                let mut end = Case::of(role).end();
                send(&mut end).expect("it is open");
                let sent = end.take_sent();
                assert_eq!(sent[0], first);
                assert_eq!(&sent[1..=form.len()], form, "{role:?} {len}");
                let key = if role == Role::Client { 4 } else { 0 };
                assert_eq!(sent.len(), 1 + form.len() + key + len, "{role:?} {len}");
            }
        }
    }
}

/// RFC 6455 §5.2: the header has 2 to 14 bytes; the transport may cut it anywhere.
#[test]
fn rfc_055_header_cut_at_any_two_places_reads_the_same() {
    for role in ROLES {
        let case = Case::of(role);
        let key_len = if role == Role::Server { 4 } else { 0 };
        for (len, form) in [(0, 0), (1, 0), (125, 0), (126, 2), (65_535, 2), (65_536, 8)] {
            let header_len = 2 + form + key_len;
            let payload = pattern(len);
            let bytes = case.peer().binary(&payload).take();
            assert_eq!(bytes.len(), header_len + len);
            let ends = header_len + len.min(2);
            for second in 0..=ends {
                for first in 0..=second {
                    let mut end = case.end();
                    end.receive(&bytes[..first]);
                    end.receive(&bytes[first..second]);
                    end.receive(&bytes[second..]);
                    assert_eq!(
                        end.seen.events(),
                        [Seen::binary(&payload)],
                        "{first} {second}"
                    );
                }
            }
        }
    }
}

/// RFC 6455 §5.3: "Octet i of the transformed data ("transformed-octet-i") is the XOR of octet i of
/// the original data ("original-octet-i") with octet at index i modulo 4 of the masking key".
#[test]
fn rfc_064_unmasking_is_right_for_every_length_offset_and_cut() {
    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let masked = |payload: &[u8]| -> Vec<u8> {
        payload
            .iter()
            .enumerate()
            .map(|(i, byte)| byte ^ KEY[i % 4])
            .collect()
    };
    let case = Case::of(Role::Server);
    // Each length, cut once at each place: the key goes on where it stopped.
    for len in 0..=64_usize {
        let payload = pattern(len);
        let header = [0x82, 0x80 | len as u8, KEY[0], KEY[1], KEY[2], KEY[3]];
        let bytes = [&header[..], &masked(&payload)].concat();
        for cut in header.len()..=bytes.len() {
            let mut end = case.end();
            end.receive(&bytes[..cut]);
            end.receive(&bytes[cut..]);
            assert_eq!(
                end.seen.events(),
                [Seen::binary(&payload)],
                "{len} cut at {cut}"
            );
        }
        // At each alignment of the memory: in one buffer behind other frames.
        let mut output = [0; 256];
        for start in 0..32 {
            let mut memory = vec![0; start];
            memory.extend_from_slice(&bytes);
            let mut server = Connection::server(Config::new());
            let event = server.receive(&mut &mut memory[start..], &mut Output::new(&mut output));
            assert_eq!(event, Some(Event::Binary(&payload)), "{len} at {start}");
        }
    }
    // Large, in pieces of all small sizes.
    let payload = pattern(70_001);
    let bytes = case.peer().binary(&payload).take();
    for piece in (1..=37).chain([1023, 4096, 65_535, 70_001]) {
        let mut end = case.end();
        end.reserve(payload.len());
        for piece in bytes.chunks(piece) {
            end.receive(piece);
        }
        assert_eq!(
            end.seen.events(),
            [Seen::binary(&payload)],
            "pieces of {piece}"
        );
    }
}

/// The same as a sender: what is masked on the way into the output is what was meant.
#[test]
fn rfc_064_masking_is_right_for_every_length() {
    let payload = pattern(70_000);
    for len in (0..=130).chain([255, 256, 257, 1000, 65_535, 65_536, 70_000]) {
        for start in 0..4_usize.min(payload.len() - len + 1) {
            let payload = &payload[start..start + len];
            let mut client = Case::of(Role::Client).end();
            client
                .send(|c, output| c.send_binary(payload, output))
                .expect("it is open");
            if len <= 125 {
                client
                    .send(|c, output| c.ping(payload, output))
                    .expect("it is open");
            }
            let sent = client.take_frames();
            assert!(
                sent.iter()
                    .all(|frame| frame.masked && frame.payload == payload)
            );
            assert_eq!(sent.len(), if len <= 125 { 2 } else { 1 });
        }
    }
}

/// §10.4 again: a length of 63 bits is no `usize` on 32 bits, and never becomes one: what is there
/// flows, and what remains is counted in `u64`.
#[test]
fn rfc_069_lengths_beyond_usize_are_not_cut_off() {
    for role in ROLES {
        let case = Case::of(role).config(|c| c.limits.max_message = Limit::Unlimited);
        for len in [
            (1 << 16) + 1,
            u64::from(u32::MAX),
            1 << 32,
            (1 << 32) + 1,
            1 << 33,
            (1 << 63) - 1,
        ] {
            let payload = pattern(1001);
            let bytes = case.peer().declared(0x82, 8, len, &payload).take();
            case.sees(&bytes, &[Seen::part(Binary, &payload, true, false)]);
            let mut end = case.end();
            for piece in bytes.chunks(13) {
                end.receive(piece);
            }
            assert_eq!(end.connection.payload_remaining(), len - 1001);
            assert!(end.connection.is_inside_message());
        }
    }
    // A sender says what it is told, and refuses what no frame can say.
    let mut buffer = [0; 64];
    let mut output = Output::new(&mut buffer);
    let mut server = Connection::server(Config::new());
    let header = server
        .frame_header(Binary, (1 << 63) - 1, &mut output)
        .expect("it can be said");
    assert_eq!(
        *header.to_bytes(),
        [0x82, 127, 0x7f, 255, 255, 255, 255, 255, 255, 255]
    );
    let refused = Err(SendError::Misuse(Misuse::PayloadTooLong));
    assert_eq!(server.frame_header(Binary, 1 << 63, &mut output), refused);
}

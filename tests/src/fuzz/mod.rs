//! What the fuzz targets call, one function for each, and `corpus_files.rs` with all seeds.
//!
//! Each takes any bytes, and panics where a promise of the core is broken. None of them needs to be
//! told what is right: it is held against a definition, the other role, or itself.

mod handshake;

pub use self::handshake::{request, response};

use ws_proto::{
    CloseCode, Config, Extensions, Limit, MessageKind, REPLY_ROOM, Reply, Role, Violation, close,
    frame::{FrameHeader, Opcode, mask::MaskingKey},
    utf8::Utf8,
};

use crate::{
    corpus::{Conversation, ECHO, Outcome},
    end::{Do, End, Script, When},
    events::{Log, Seen},
    frames::Frame,
};

/// Room enough that nothing ever waits for it.
const AMPLE: usize = 1 << 12;

/// What is written is what was read, and nothing can be said of a part of a header.
pub fn frame_header(bytes: &[u8]) {
    let parsed = FrameHeader::parse(bytes);
    let decisive = match &parsed {
        Ok(Some((header, len))) => {
            assert_eq!(*header.to_bytes(), bytes[..*len]);
            assert!(header.payload_len >> 63 == 0);
            assert!(!header.opcode.is_control() || header.fin && header.payload_len <= 125);
            *len
        }
        Ok(None) => bytes.len(),
        Err(_) => 0,
    };
    for shorter in 0..bytes.len().min(14) {
        let found = FrameHeader::parse(&bytes[..shorter]);
        match found {
            Ok(None) => {}
            found => assert_eq!(found, parsed, "more bytes change nothing"),
        }
        assert!(
            shorter >= decisive || found == Ok(None),
            "a header is whole or not there"
        );
    }
    let mut payload = bytes.to_vec();
    if let Some((key, text)) = bytes.split_first_chunk::<4>() {
        MaskingKey::from(*key).apply(&mut payload[4..]);
        let masked = text.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k);
        assert!(masked.eq(payload[4..].iter().copied()));
    }
}

/// A server receives these bytes from its client.
pub fn server(bytes: &[u8]) {
    receive_as(Role::Server, bytes);
}

/// A client receives these bytes from its server.
pub fn client(bytes: &[u8]) {
    receive_as(Role::Client, bytes);
}

fn receive_as(role: Role, bytes: &[u8]) {
    for application in APPLICATIONS {
        let conversation = application.receives(role, bytes);
        let outcome = conversation.play(AMPLE, &[]);
        check_log(outcome.seen.events());
        check_sent(role, &outcome.sent);
    }
}

/// Any two ways to cut the same bytes give the same events and the same bytes out.
///
/// The first byte chooses role, application and room, the second the number of cuts; two bytes for
/// each of those; the rest is received.
pub fn splits(bytes: &[u8]) {
    let Some((&[choice, count], rest)) = bytes.split_first_chunk() else {
        return;
    };
    let count = usize::from(count % 16).min(rest.len() / 2);
    let (positions, received) = rest.split_at(2 * count);
    let mut cuts: Vec<usize> = positions
        .as_chunks()
        .0
        .iter()
        .map(|position| usize::from(u16::from_be_bytes(*position)) % (received.len() + 1))
        .collect();
    cuts.sort_unstable();
    let role = match choice & 1 {
        0 => Role::Server,
        _ => Role::Client,
    };
    let application = &APPLICATIONS[usize::from(choice >> 1 & 3) % APPLICATIONS.len()];
    let conversation = application.receives(role, received);
    let whole = conversation.play(AMPLE, &[]);
    assert_eq!(conversation.play(AMPLE, &cuts), whole, "cut at {cuts:?}");
    let room = REPLY_ROOM + usize::from(choice >> 3);
    assert_eq!(conversation.play(room, &cuts), whole, "room {room}");
    if received.len() < 128 {
        let byte_by_byte: Outcome = conversation.play_in_pieces(room, 1);
        assert_eq!(byte_by_byte, whole, "byte by byte, room {room}");
    }
}

/// A Close payload, and a text that the first byte cuts in two.
pub fn close_and_utf8(bytes: &[u8]) {
    check_close(bytes);
    if let Some((&cut, text)) = bytes.split_first() {
        check_utf8(text, usize::from(cut).min(text.len()));
    }
}

fn check_close(payload: &[u8]) {
    let parsed = close::parse(payload);
    let expected = match payload {
        [] => Ok((CloseCode::NO_STATUS, "")),
        [_] => Err(Violation::CloseTooShort),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            match (code, str::from_utf8(reason)) {
                (0..=999 | 1004..=1006 | 1015..=2999 | 5000.., _) => {
                    Err(Violation::InvalidCloseCode)
                }
                (_, Err(_)) => Err(Violation::InvalidCloseReason),
                (_, Ok(reason)) => Ok((CloseCode::new(code), reason)),
            }
        }
    };
    assert_eq!(parsed, expected);
    // What may be sent is sent so that it is received.
    if let Ok((code, reason)) = parsed {
        for role in [Role::Client, Role::Server] {
            let mut end = End::<Log>::new(role, Config::new());
            let sent = end.send(|connection, output| connection.close(code, reason, output));
            let allowed = code.may_be_sent_by(role) && reason.len() <= close::MAX_REASON;
            assert_eq!(sent.is_ok(), allowed);
            if allowed {
                assert_eq!(end.take_frames()[0].payload, payload);
            }
        }
    }
}

fn check_utf8(text: &[u8], cut: usize) {
    let mut utf8 = Utf8::new();
    let (head, tail) = text.split_at(cut);
    let taken = utf8
        .take(head)
        .and_then(|()| utf8.take(tail).map_err(|wrong| cut + wrong));
    match str::from_utf8(text) {
        Ok(_) => assert_eq!((taken, utf8.is_boundary()), (Ok(()), true)),
        Err(error) => match error.error_len() {
            None => assert_eq!((taken, utf8.is_boundary()), (Ok(()), false)),
            Some(len) => {
                // The wrong byte is the first of its character, or the one behind its good start.
                let begins = matches!(text[error.valid_up_to()], 0xC2..=0xF4);
                let wrong = error.valid_up_to() + if begins { len } else { 0 };
                assert_eq!(taken, Err(wrong));
            }
        },
    }
}

/// What a log may look like: messages whose parts are in order, texts that are good so far, and
/// nothing behind the end.
///
/// # Panics
///
/// If it does not.
pub fn check_log(events: &[Seen]) {
    let mut open = None;
    let mut text = Utf8::new();
    let (last, before) = events.split_last().expect("the end is reported");
    assert!(matches!(last, Seen::Closed(_)), "the end comes last");
    for (i, seen) in before.iter().enumerate() {
        match seen {
            Seen::Data {
                kind,
                bytes,
                first,
                last,
                compressed,
            } => {
                assert_eq!(*first, open.is_none(), "a message begins behind another");
                assert!(open.is_none_or(|open| open == *kind));
                if *kind == MessageKind::Text && !compressed {
                    assert_eq!(text.take(bytes), Ok(()));
                    assert!(!last || text.is_boundary());
                }
                open = (!last).then_some(*kind);
            }
            Seen::Ping(payload) | Seen::Pong(payload) => assert!(payload.len() <= 125),
            Seen::Close(..) | Seen::Failed(_) => {
                // The application may fail a connection that is closing.
                let rest = &before[i + 1..];
                let may_follow = match seen {
                    Seen::Close(..) => matches!(rest, [] | [Seen::Failed(_)]),
                    _ => rest.is_empty(),
                };
                assert!(may_follow, "only the end follows: {rest:?}");
            }
            Seen::Closed(_) => panic!("the end is reported once"),
        }
    }
}

/// What an end of this role may send: frames that its peer takes, and nothing behind a Close.
///
/// # Panics
///
/// If it does not.
pub fn check_sent(role: Role, sent: &[u8]) {
    let frames = Frame::read_all(sent);
    let closes = frames.iter().filter(|frame| frame.opcode == Opcode::Close);
    assert!(closes.count() <= 1, "one Close");
    let last_but_one = frames.iter().rev().skip(1);
    for frame in last_but_one {
        assert_ne!(frame.opcode, Opcode::Close, "nothing follows a Close");
    }
    let mut config = Config::new();
    config.limits.max_message = Limit::Unlimited;
    config.limits.max_fragments = Limit::Unlimited;
    let mut peer = End::<Log>::new(role.peer(), config);
    peer.receive(sent);
    let failed = peer.connection.violation();
    assert_eq!(failed, None, "our own end takes it");
    assert!(peer.unread().is_empty(), "frames are sent whole");
}

/// An application that the bytes are received by.
struct Application {
    script: Script,
    config: Config,
    extensions: Extensions,
}

impl Application {
    fn receives(&self, role: Role, bytes: &[u8]) -> Conversation {
        Conversation {
            name: String::new(),
            role,
            config: self.config,
            extensions: self.extensions,
            script: self.script,
            received: bytes.to_vec(),
        }
    }
}

const SMALL_LIMITS: Config = {
    let mut config = Config::new();
    config.limits.max_message = Limit::At(64);
    config.limits.max_fragments = Limit::At(4);
    config
};

const MANUAL: Config = {
    let mut config = Config::new();
    config.pong = Reply::Manual;
    config.close = Reply::Manual;
    config
};

const APPLICATIONS: &[Application] = &[
    Application {
        script: ECHO,
        config: Config::new(),
        extensions: Extensions::NONE,
    },
    Application {
        script: &[
            (When::Message(2), Do::Close(1000, "")),
            (When::EachPong, Do::Fail(Violation::PolicyViolation)),
        ],
        config: SMALL_LIMITS,
        extensions: Extensions::PER_MESSAGE_DEFLATE,
    },
    Application {
        script: &[
            (When::EachPing, Do::Pong),
            (When::Message(1), Do::Begin(MessageKind::Text)),
            (When::EachPing, Do::Fragment(b"\xc3")),
            (When::EachPong, Do::Fragment(b"\xa4 ")),
            (When::Close, Do::Finish(b"")),
            (When::Close, Do::Close(1000, "")),
            (When::Last, Do::Close(1001, "")),
        ],
        config: MANUAL,
        extensions: Extensions::NONE,
    },
];

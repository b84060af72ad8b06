//! Messages and fragments (RFC 6455 §5.4, §5.6): every length form, every order.

use ws_proto::{
    Config, Limit, MessageKind,
    frame::Opcode::{Binary, Continuation, Text},
};

use super::Scene;
use crate::end::{Do, Script, When};

const LISTEN: Script = &[];
/// Each message comes back.
pub const ECHO: Script = &[(When::EachMessage, Do::Echo)];

/// Something of every length.
static BYTES: [u8; 65_537] = {
    let mut bytes = [0; 65_537];
    let mut i = 0;
    while i < bytes.len() {
        bytes[i] = (i * 7 + i / 251) as u8;
        i += 1;
    }
    bytes
};

const SEND_LARGE: Script = &[
    (When::Message(1), Do::Binary(&BYTES)),
    (When::Message(1), Do::Text("behind")),
    (When::Message(2), Do::Binary(BYTES.split_at(126).0)),
];

const EXACTLY_FIVE: Config = {
    let mut config = Config::new();
    config.limits.max_message = Limit::At(5);
    config.limits.max_fragments = Limit::At(2);
    config
};

pub(super) const SCENES: &[Scene] = &[
    Scene::new("nothing", LISTEN, |peer| peer),
    Scene::new("text_hello", LISTEN, |peer| peer.text("Hello")),
    Scene::new("echo_text_and_binary", ECHO, |peer| {
        peer.text("Hello").binary([0, 255, 0x80]).text("again")
    }),
    Scene::new("empty_messages", ECHO, |peer| {
        peer.text("").binary("").text("")
    }),
    Scene::new("lengths_1_to_9", ECHO, |peer| {
        (1..10).fold(peer, |peer, n| peer.binary(&BYTES[..n]))
    }),
    Scene::new("length_125", ECHO, |peer| peer.binary(&BYTES[..125])),
    Scene::new("length_126", ECHO, |peer| peer.binary(&BYTES[..126])),
    Scene::new("length_127_text", ECHO, |peer| peer.text([b'x'; 127])),
    Scene::new("length_65535", LISTEN, |peer| peer.binary(&BYTES[..65_535])),
    Scene::new("length_65536", ECHO, |peer| peer.binary(&BYTES[..65_536])),
    Scene::new("two_fragments", ECHO, |peer| {
        peer.frame(false, Text, "Hel")
            .frame(true, Continuation, "lo")
    }),
    Scene::new("fragments_of_one_byte", ECHO, |peer| {
        peer.frame(false, Binary, [1]);
        for byte in 2..9 {
            peer.frame(false, Continuation, [byte]);
        }
        peer.frame(true, Continuation, [9]).text("next")
    }),
    Scene::new("empty_fragments", ECHO, |peer| {
        peer.frame(false, Text, "")
            .frame(false, Continuation, "")
            .frame(false, Continuation, "ab")
            .frame(false, Continuation, "")
            .frame(true, Continuation, "")
    }),
    Scene::new("only_empty_fragments", ECHO, |peer| {
        peer.frame(false, Binary, "")
            .frame(true, Continuation, "")
            .frame(false, Text, "")
            .frame(false, Continuation, "")
            .frame(true, Continuation, "")
    }),
    Scene::new("control_frames_between_fragments", ECHO, |peer| {
        peer.frame(false, Text, "one ")
            .ping("1")
            .frame(false, Continuation, "two ")
            .pong("unasked")
            .ping("")
            .frame(true, Continuation, "three")
            .ping("2")
    }),
    Scene::new("large_fragments", LISTEN, |peer| {
        peer.frame(false, Binary, &BYTES[..130])
            .ping(&BYTES[..125])
            .frame(true, Continuation, &BYTES[130..400])
    }),
    Scene::new("limits_reached_exactly", ECHO, |peer| {
        peer.frame(false, Text, "He")
            .frame(false, Continuation, "ll")
            .frame(true, Continuation, "o")
            .text("Hello")
    })
    .with_config(EXACTLY_FIVE),
    Scene::new("cut_off_in_a_header", LISTEN, |peer| {
        peer.text("x").binary(&BYTES[..300]).cut_off(301)
    }),
    Scene::new("cut_off_in_a_payload", LISTEN, |peer| {
        peer.text("Hello").text("Hello").cut_off(3)
    }),
    Scene::new("cut_off_between_fragments", LISTEN, |peer| {
        peer.frame(false, Text, "Hel").ping("")
    }),
    Scene::new("compressed", LISTEN, |peer| {
        peer.first_byte(0xC1, [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00])
            .text("plain")
            .first_byte(0x42, [0xF2, 0x48])
            .ping("between")
            .frame(true, Continuation, [0xCD, 0xFF, 0xC9, 0x07])
            .first_byte(0xC2, "")
    })
    .with_deflate(),
    Scene::new(
        "sends_fragments_while_receiving",
        &[
            (When::Start, Do::Begin(MessageKind::Text)),
            (When::Message(1), Do::Fragment("gr\u{fc}".as_bytes())),
            (When::EachPing, Do::Fragment(b"\xc3")),
            (When::EachPing, Do::Ping(b"in between")),
            (When::EachPing, Do::Text("refused: a message is begun")),
            (When::Message(2), Do::Finish(b"\x9f")),
            (When::Message(2), Do::Echo),
        ],
        |peer| {
            peer.text("1")
                .ping("p")
                .frame(false, Binary, "2")
                .frame(true, Continuation, "")
        },
    ),
    Scene::new("sends_large_messages", SEND_LARGE, |peer| {
        peer.text("send").ping("").text("send")
    }),
];

//! The closing handshake (RFC 6455 §7): who begins, with what, and what comes too late.

use ws_proto::{
    Config, MessageKind, Reply, Violation,
    frame::Opcode::{Close, Continuation, Text},
};

use super::{Scene, messages::ECHO};
use crate::end::{Do, Script, When};

const LISTEN: Script = &[];

const MANUAL_CLOSE: Config = {
    let mut config = Config::new();
    config.close = Reply::Manual;
    config
};

pub(super) const SCENES: &[Scene] = &[
    Scene::new("close_without_code", LISTEN, |peer| {
        peer.frame(true, Close, "")
    }),
    Scene::new("close_1000", LISTEN, |peer| peer.close(1000, "")),
    Scene::new("close_with_reason", LISTEN, |peer| {
        peer.text("x").close(1001, "auf Wiedersehen 世界")
    }),
    Scene::new("close_longest_reason", LISTEN, |peer| {
        peer.close(4999, [b'r'; 123])
    }),
    Scene::new("close_3000", LISTEN, |peer| peer.close(3000, "library")),
    Scene::new("close_between_fragments", LISTEN, |peer| {
        peer.frame(false, Text, "Hel").close(1000, "")
    }),
    Scene::new("data_after_close", ECHO, |peer| {
        peer.close(1000, "done")
            .text("late")
            .ping("late")
            .close(1000, "")
    }),
    Scene::new("rubbish_after_close", LISTEN, |peer| {
        peer.close(1000, "").raw([0xFF; 40])
    }),
    Scene::new("close_bad_code", LISTEN, |peer| peer.close(1005, "")),
    Scene::new("close_code_999", LISTEN, |peer| peer.close(999, "x")),
    Scene::new("close_code_5000", LISTEN, |peer| peer.close(5000, "")),
    Scene::new("close_one_byte", LISTEN, |peer| {
        peer.frame(true, Close, [3]).text("unseen")
    }),
    Scene::new("close_reason_not_utf8", LISTEN, |peer| {
        peer.close(1000, b"\xce\xba\xe1\xbd\xb9\xed\xa0\x80")
    }),
    Scene::new("close_reason_truncated", LISTEN, |peer| {
        peer.close(1000, b"\xe4\xb8")
    }),
    Scene::new(
        "close_from_our_side",
        &[(When::Message(1), Do::Close(1000, "enough"))],
        |peer| {
            peer.text("x")
                .ping("on the way")
                .text("this too")
                .close(1000, "")
        },
    ),
    Scene::new(
        "close_from_our_side_unanswered",
        &[(When::Start, Do::Close(1001, ""))],
        |peer| peer.text("still talking").pong(""),
    ),
    Scene::new(
        "close_inside_an_incoming_message",
        &[
            (When::EachPing, Do::Close(4000, "")),
            (When::EachMessage, Do::Text("refused: closing")),
        ],
        |peer| {
            peer.frame(false, Text, "a")
                .ping("")
                .frame(true, Continuation, "b")
                .frame(true, Close, "")
        },
    ),
    Scene::new(
        "close_simultaneous",
        &[(When::Start, Do::Close(1000, "ours"))],
        |peer| peer.close(3001, "theirs"),
    ),
    Scene::new(
        "close_at_last",
        &[(When::Last, Do::Close(1000, "bye"))],
        |peer| peer.text("a").text("b"),
    ),
    Scene::new(
        "close_by_the_application",
        &[(When::Close, Do::Close(1000, "as you like"))],
        |peer| peer.close(4001, "please").text("late"),
    )
    .with_config(MANUAL_CLOSE),
    Scene::new(
        "close_by_the_application_behind_its_message",
        &[
            (When::Message(1), Do::Begin(MessageKind::Binary)),
            (When::Message(1), Do::Fragment(b"first ")),
            (When::Close, Do::Finish(b"last")),
            (When::Close, Do::Ping(b"allowed")),
            (When::Last, Do::Close(1000, "")),
        ],
        |peer| peer.text("x").close(1000, "").ping("late"),
    )
    .with_config(MANUAL_CLOSE),
    Scene::new("close_never_answered", LISTEN, |peer| {
        peer.close(1000, "").text("late")
    })
    .with_config(MANUAL_CLOSE),
    Scene::new(
        "failed_by_the_application",
        &[(When::Message(2), Do::Fail(Violation::UnsupportedData))],
        |peer| {
            peer.text("x")
                .binary("not this")
                .text("unseen")
                .close(1000, "")
        },
    ),
    Scene::new(
        "broken_rule_behind_our_close",
        &[(When::Start, Do::Close(1000, ""))],
        |peer| peer.text("x").first_byte(0x83, "").close(1000, ""),
    ),
];

//! UTF-8 (RFC 6455 §8.1): texts that are right, and texts that go wrong at a certain byte.

use ws_proto::frame::Opcode::{Continuation, Text};

use super::{Scene, messages::ECHO};

const LISTEN: crate::end::Script = &[];

/// One to four bytes a character, the ends of each range, and what is not a character.
const TORTURE: &str = "\u{0}\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{fffd}\u{ffff}\u{10000}\u{10ffff} \
    κόσμε 世界你好 こんにちは 안녕 😀👩‍👩‍👧‍👦 e\u{301}";

pub(super) const SCENES: &[Scene] = &[
    Scene::new("text_torture", ECHO, |peer| peer.text(TORTURE)),
    Scene::new("text_cjk", ECHO, |peer| {
        peer.text("世界").text("漢字かな交じり文".repeat(9))
    }),
    Scene::new("text_emoji_in_fragments_of_one_byte", ECHO, |peer| {
        let bytes = "\u{1f600}\u{e9}x\u{4e16}".as_bytes();
        peer.frame(false, Text, [bytes[0]]);
        for byte in &bytes[1..bytes.len() - 1] {
            peer.frame(false, Continuation, [*byte]);
        }
        peer.frame(true, Continuation, [bytes[bytes.len() - 1]])
    }),
    Scene::new(
        "text_cut_inside_a_character_by_control_frames",
        ECHO,
        |peer| {
            peer.frame(false, Text, b"\xf0\x9f")
                .ping("\u{1f600}")
                .frame(false, Continuation, "")
                .frame(true, Continuation, b"\x98\x80")
        },
    ),
    Scene::new("text_long_ascii_then_wide", ECHO, |peer| {
        peer.text(["a".repeat(200), "\u{10ffff}".repeat(20)].concat())
    }),
    Scene::new("text_invalid_byte", LISTEN, |peer| {
        peer.text("fine").text(b"abc\xffdef").text("unseen")
    }),
    Scene::new("text_invalid_first_byte", LISTEN, |peer| peer.text(b"\x80")),
    Scene::new("text_overlong", LISTEN, |peer| peer.text(b"ab\xc0\xafcd")),
    Scene::new("text_overlong_of_three", LISTEN, |peer| {
        peer.text(b"ab\xe0\x80\xafcd")
    }),
    Scene::new("text_surrogate", LISTEN, |peer| {
        peer.text(b"ab\xed\xa0\x80cd")
    }),
    Scene::new("text_beyond_unicode", LISTEN, |peer| {
        peer.text(b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited")
    }),
    Scene::new("text_truncated", LISTEN, |peer| {
        peer.text(b"ab\xe4\xb8").text("unseen")
    }),
    Scene::new("text_truncated_in_last_fragment", LISTEN, |peer| {
        peer.frame(false, Text, "世")
            .frame(true, Continuation, b"\xf0\x9f\x98")
    }),
    Scene::new(
        "text_truncated_before_empty_last_fragment",
        LISTEN,
        |peer| {
            peer.frame(false, Text, b"x\xf0\x9f")
                .frame(true, Continuation, "")
        },
    ),
    Scene::new("text_broken_across_fragments", LISTEN, |peer| {
        peer.frame(false, Text, b"x\xf0\x9f")
            .ping("")
            .frame(true, Continuation, b"zzz")
    }),
    Scene::new("text_invalid_in_unfinished_frame", LISTEN, |peer| {
        peer.text([&b"good \xc3\x28"[..], &[b'x'; 100]].concat())
            .cut_off(90)
    }),
    Scene::new("text_invalid_behind_200_bytes", LISTEN, |peer| {
        peer.text([&[b'x'; 200], &b"\xc3\xa9\xed\xbf\xbf"[..]].concat())
    }),
];

//! Broken rules, each alone: first something right, then the violation, then what must not be seen.

use ws_proto::{
    Config, Limit,
    frame::Opcode::{Binary, Continuation, Ping, Text},
};

use super::Scene;
use crate::end::Script;

const LISTEN: Script = &[];

const SMALL: Config = {
    let mut config = Config::new();
    config.limits.max_message = Limit::At(10);
    config.limits.max_fragments = Limit::At(2);
    config
};

pub(super) const SCENES: &[Scene] = &[
    Scene::new("reserved_bit_1", LISTEN, |peer| {
        peer.text("x").first_byte(0xC1, "abc").text("unseen")
    }),
    Scene::new("reserved_bit_2", LISTEN, |peer| peer.first_byte(0xA2, "")),
    Scene::new("reserved_bit_3", LISTEN, |peer| {
        peer.first_byte(0x92, "abc")
    }),
    Scene::new("reserved_bit_of_ping", LISTEN, |peer| {
        peer.first_byte(0xC9, "").text("unseen")
    })
    .with_deflate(),
    Scene::new("reserved_bit_of_continuation", LISTEN, |peer| {
        peer.first_byte(0x41, "abc").first_byte(0xC0, "def")
    })
    .with_deflate(),
    Scene::new("reserved_opcode_data", LISTEN, |peer| {
        peer.text("x").first_byte(0x83, "abc").text("unseen")
    }),
    Scene::new("reserved_opcode_control", LISTEN, |peer| {
        peer.first_byte(0x8B, "")
    }),
    Scene::new("wrong_mask", LISTEN, |peer| {
        peer.text("x").wrong_mask(0x81, "Hello").text("unseen")
    }),
    Scene::new("wrong_mask_of_ping", LISTEN, |peer| {
        peer.wrong_mask(0x89, "")
    }),
    Scene::new("fragmented_ping", LISTEN, |peer| {
        peer.text("x").frame(false, Ping, "Hel").text("unseen")
    }),
    Scene::new("ping_too_long", LISTEN, |peer| {
        peer.frame(true, Ping, [b'x'; 126]).text("unseen")
    }),
    Scene::new("unexpected_continuation", LISTEN, |peer| {
        peer.text("x")
            .frame(true, Continuation, "lo")
            .text("unseen")
    }),
    Scene::new("continuation_behind_finished_message", LISTEN, |peer| {
        peer.frame(false, Text, "Hel")
            .frame(true, Continuation, "lo")
            .frame(false, Continuation, "!")
    }),
    Scene::new("expected_continuation", LISTEN, |peer| {
        peer.frame(false, Text, "Hel").ping("").binary("lo")
    }),
    Scene::new("expected_continuation_unfinished", LISTEN, |peer| {
        peer.frame(false, Binary, "").frame(false, Binary, "lo")
    }),
    Scene::new("length_16_for_125", LISTEN, |peer| {
        peer.text("x").declared(0x82, 2, 125, &[1; 125])
    }),
    Scene::new("length_64_for_125", LISTEN, |peer| {
        peer.declared(0x82, 8, 125, &[1; 125])
    }),
    Scene::new("length_64_for_65535", LISTEN, |peer| {
        peer.declared(0x82, 8, 65_535, &[1; 9])
    }),
    Scene::new("length_overflow", LISTEN, |peer| {
        peer.declared(0x82, 8, 1 << 63, &[1; 9])
    }),
    Scene::new("length_largest", LISTEN, |peer| {
        peer.declared(0x82, 8, (1 << 63) - 1, &[1; 9])
    }),
    Scene::new("length_largest_without_limit", LISTEN, |peer| {
        peer.declared(0x82, 8, (1 << 63) - 1, &[1; 300])
    })
    .with_config({
        let mut config = Config::new();
        config.limits.max_message = Limit::Unlimited;
        config
    }),
    Scene::new("message_too_big", LISTEN, |peer| {
        peer.text("0123456789").text("0123456789a")
    })
    .with_config(SMALL),
    Scene::new("message_too_big_in_fragments", LISTEN, |peer| {
        peer.frame(false, Text, "01234567")
            .ping("")
            .frame(true, Continuation, "89a")
    })
    .with_config(SMALL),
    Scene::new("too_many_fragments", LISTEN, |peer| {
        peer.frame(false, Text, "")
            .frame(false, Continuation, "")
            .frame(false, Continuation, "")
            .frame(true, Continuation, "")
    })
    .with_config(SMALL),
    Scene::new("rubbish", LISTEN, |peer| {
        peer.raw(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
    }),
];

//! Pings and pongs (RFC 6455 §5.5.2, §5.5.3), answered by the core or by the application.

use ws_proto::{
    Config, Reply,
    frame::Opcode::{Binary, Continuation},
};

use super::{Scene, messages::ECHO};
use crate::end::{Do, Script, When};

const LISTEN: Script = &[];

const MANUAL_PONG: Config = {
    let mut config = Config::new();
    config.pong = Reply::Manual;
    config
};

pub(super) const SCENES: &[Scene] = &[
    Scene::new("ping_empty", LISTEN, |peer| peer.ping("")),
    Scene::new("ping_125", LISTEN, |peer| peer.ping([0xA5; 125])),
    Scene::new("ping_not_utf8", LISTEN, |peer| peer.ping([0xFF, 0xFE, 0])),
    Scene::new("many_pings", LISTEN, |peer| {
        (0..30).fold(peer, |peer, n| peer.ping([n; 40]))
    }),
    Scene::new("pings_between_messages", ECHO, |peer| {
        peer.ping("1").text("a").ping("2").binary("b").ping("3")
    }),
    Scene::new("pong_unasked", LISTEN, |peer| peer.pong("").pong([7; 125])),
    Scene::new(
        "pong_to_our_ping",
        &[
            (When::Start, Do::Ping(b"are you there?")),
            (When::EachPong, Do::Text("yes")),
        ],
        |peer| peer.pong("are you there?"),
    ),
    Scene::new(
        "pong_by_the_application",
        &[(When::EachPing, Do::Pong)],
        |peer| peer.ping("first").text("x").ping("second"),
    )
    .with_config(MANUAL_PONG),
    Scene::new("pong_never", LISTEN, |peer| peer.ping("first").ping("")).with_config(MANUAL_PONG),
    Scene::new(
        "pings_while_a_message_is_not_finished",
        &[(When::EachPing, Do::Ping(b"back"))],
        |peer| {
            peer.frame(false, Binary, "")
                .ping("1")
                .frame(false, Continuation, [1, 2, 3])
                .ping("2")
                .frame(true, Continuation, [4])
        },
    ),
];

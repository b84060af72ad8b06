//! Dialogues: conversations of two ends of ours, each with an application.

use ws_proto::MessageKind;

use super::messages::ECHO;
use crate::end::{Do, Script, When};

/// What the applications at both ends do.
#[derive(Clone, Copy, Debug)]
pub struct Dialogue {
    /// What it is about.
    pub name: &'static str,
    /// What the client's application does.
    pub client: Script,
    /// What the server's application does.
    pub server: Script,
}

/// All dialogues.
pub const DIALOGUES: &[Dialogue] = &[
    Dialogue {
        name: "echo_and_close",
        client: &[
            (When::Start, Do::Text("Hello, 世界")),
            (When::Start, Do::Binary(&[0xFF; 300])),
            (When::Message(2), Do::Close(1000, "enough")),
        ],
        server: ECHO,
    },
    Dialogue {
        name: "server_closes",
        client: ECHO,
        server: &[
            (When::Start, Do::Text("")),
            (When::Start, Do::Ping(b"ping")),
            (When::EachPong, Do::Binary(&[1, 2, 3])),
            (When::Message(2), Do::Close(1001, "")),
        ],
    },
    Dialogue {
        name: "fragments_both_ways",
        client: &[
            (When::Start, Do::Begin(MessageKind::Text)),
            (When::Start, Do::Fragment(b"\xf0\x9f")),
            (When::Start, Do::Ping(b"1")),
            (When::Start, Do::Fragment(b"")),
            (When::EachPong, Do::Fragment(b"\x98")),
            (When::EachPong, Do::Finish(b"\x80 done")),
            (When::Message(1), Do::Close(3000, "")),
        ],
        server: &[
            (When::EachPing, Do::Begin(MessageKind::Binary)),
            (When::EachPing, Do::Fragment(&[7; 130])),
            (When::EachPing, Do::Ping(b"back")),
            (When::EachMessage, Do::Finish(b"")),
        ],
    },
    Dialogue {
        name: "both_close_at_once",
        client: &[
            (When::Start, Do::Text("a")),
            (When::Start, Do::Close(1000, "client")),
        ],
        server: &[
            (When::Start, Do::Text("b")),
            (When::Start, Do::Close(1001, "server")),
        ],
    },
    Dialogue {
        name: "many_pings_both_ways",
        client: &[
            (When::Start, Do::Ping(&[1; 125])),
            (When::Start, Do::Ping(&[2; 125])),
            (When::Start, Do::Ping(&[3; 125])),
            (When::EachPing, Do::Ping(b"")),
            (When::Message(1), Do::Close(1000, "")),
        ],
        server: &[
            (When::Start, Do::Ping(&[4; 125])),
            (When::EachPong, Do::Text("pong")),
        ],
    },
];

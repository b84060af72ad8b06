//! The harness of the whole-system tests: two real ends, a fake wire, a fake clock.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`frames`] | the bytes of a peer, right or wrong, frame by frame; and reading back what was sent |
//! | [`end`] | one end: a connection, its buffers, and an application that follows a script |
//! | [`events`] | what an end saw, the same however the stream was cut |
//! | [`pair`] | a client and a server that talk to each other |
//! | [`case`] | one end and the bytes of a peer, presented whole and byte by byte |
//! | [`corpus`] | conversations, each a peer's bytes and what the application does about them |
//! | [`fuzz`], [`seeds`] | what the fuzz targets call, and what they begin with |
//! | [`random`] | randomness that is the same in each run |
//!
//! ```
//! use ws_proto::{Config, Role, frame::Opcode};
//! use ws_tests::{End, Frames, Log, Pair, Seen};
//!
//! // One end, and bytes of our own making.
//! let mut server = End::<Log>::new(Role::Server, Config::new());
//! server.receive(&Frames::of(Role::Client).ping("?").text("Hello").take());
//! assert_eq!(server.seen.events(), [Seen::Ping(b"?".to_vec()), Seen::text("Hello")]);
//! assert_eq!(server.take_frames()[0].opcode, Opcode::Pong);
//!
//! // Two ends.
//! let mut pair = Pair::new(&[], &[]);
//! pair.client.send(|client, output| client.send_text("Hello", output))?;
//! pair.drive();
//! assert_eq!(pair.server.seen.events(), [Seen::text("Hello")]);
//! # Ok::<(), ws_proto::SendError>(())
//! ```

pub mod case;
pub mod corpus;
pub mod end;
pub mod events;
pub mod frames;
pub mod fuzz;
pub mod pair;
pub mod random;
pub mod seeds;

pub use crate::{
    corpus::Conversation,
    end::{Do, End, Script, When},
    events::{Ignore, Log, Record, Seen},
    frames::{Frame, Frames, Keys},
    pair::{Pair, Split},
};

/// The examples of the workspace's README are tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

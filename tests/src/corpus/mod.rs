//! Conversations: what a peer sends, and what the application at the end under test does about it.
//!
//! Each is written once, as a scene, and played in both roles: the frames of the peer are masked
//! or not as the role asks. What must come of it is said by the tests; that it is the same however
//! the stream is cut, by `splits.rs`.

mod closing;
mod control;
mod dialogues;
pub mod heads;
mod messages;
mod text;
mod violations;

pub use self::{
    dialogues::{DIALOGUES, Dialogue},
    messages::ECHO,
};

use ws_proto::{Config, Extensions, Role};

use crate::{
    end::{End, Script},
    events::{Log, Record},
    frames::Frames,
};

/// One conversation, in one role.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// The role and the scene, such as `server_text_hello`.
    pub name: String,
    /// The role of the end under test.
    pub role: Role,
    /// What that end is held to.
    pub config: Config,
    /// What was negotiated.
    pub extensions: Extensions,
    /// What its application does.
    pub script: Script,
    /// What the peer sends.
    pub received: Vec<u8>,
}

/// What came of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The events, chunks joined.
    pub seen: Log,
    /// The bytes sent.
    pub sent: Vec<u8>,
}

/// All conversations, each in both roles.
pub fn all() -> Vec<Conversation> {
    let scenes = [
        messages::SCENES,
        text::SCENES,
        control::SCENES,
        closing::SCENES,
        violations::SCENES,
    ];
    let roles = [Role::Server, Role::Client];
    let in_roles = |scene: &Scene| roles.map(|role| scene.in_role(role));
    scenes.concat().iter().flat_map(in_roles).collect()
}

/// The conversation with this name.
///
/// # Panics
///
/// If there is none.
pub fn named(name: &str) -> Conversation {
    let found = all().into_iter().find(|c| c.name == name);
    found.unwrap_or_else(|| panic!("there is a conversation {name}"))
}

impl Conversation {
    /// The end under test, before anything is received, with an output of `room` bytes.
    pub fn end<R: Record>(&self, room: usize) -> End<R> {
        let mut end = End::established(self.role, self.extensions, self.config).with_room(room);
        end.reserve(self.received.len());
        end.with_script(self.script)
    }

    /// Plays the conversation, the stream cut at these positions, and then ends the transport.
    pub fn play(&self, room: usize, cuts: &[usize]) -> Outcome {
        let mut end = self.end(room);
        let mut from = 0;
        for &cut in cuts {
            end.receive(&self.received[from..cut]);
            from = cut;
        }
        end.receive(&self.received[from..]);
        Self::finish(end)
    }

    /// Plays the conversation, the stream cut into pieces of `n` bytes.
    pub fn play_in_pieces(&self, room: usize, n: usize) -> Outcome {
        let mut end = self.end(room);
        self.received.chunks(n).for_each(|piece| end.receive(piece));
        Self::finish(end)
    }

    fn finish(mut end: End<Log>) -> Outcome {
        end.receive_last();
        end.end_of_input();
        let sent = end.take_sent();
        Outcome {
            seen: end.seen,
            sent,
        }
    }
}

/// A conversation in either role.
#[derive(Clone, Copy)]
struct Scene {
    name: &'static str,
    script: Script,
    config: Config,
    extensions: Extensions,
    peer: fn(&mut Frames) -> &mut Frames,
}

impl Scene {
    const fn new(name: &'static str, script: Script, peer: fn(&mut Frames) -> &mut Frames) -> Self {
        Self {
            name,
            script,
            config: Config::new(),
            extensions: Extensions::NONE,
            peer,
        }
    }

    const fn with_config(self, config: Config) -> Self {
        Self { config, ..self }
    }

    const fn with_deflate(self) -> Self {
        Self {
            extensions: Extensions::PER_MESSAGE_DEFLATE,
            ..self
        }
    }

    fn in_role(&self, role: Role) -> Conversation {
        let prefix = match role {
            Role::Client => "client",
            Role::Server => "server",
        };
        Conversation {
            name: format!("{prefix}_{}", self.name),
            role,
            config: self.config,
            extensions: self.extensions,
            script: self.script,
            received: (self.peer)(&mut Frames::of(role.peer())).take(),
        }
    }
}

//! One end and the bytes of a peer, presented whole and byte by byte: both ways must come to the
//! same.

use ws_proto::{CloseCode, Closed, Config, Extensions, Initiator, Role, Violation, frame::Opcode};

use crate::{
    end::{End, Script},
    events::Seen,
    frames::{Frame, Frames},
};

/// Both roles: most rules hold for either.
pub const ROLES: [Role; 2] = [Role::Client, Role::Server];

/// An end of some role, and what it is held to.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    role: Role,
    extensions: Extensions,
    config: Config,
    script: Script,
}

/// What an end reported and sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its events, consecutive chunks joined.
    pub seen: Vec<Seen>,
    /// The frames it sent.
    pub sent: Vec<Frame>,
    /// How many bytes of the input it did not take.
    pub unread: usize,
    /// The number of bytes after which it reported a violation, when it got them one by one.
    pub failed_at: Option<usize>,
}

impl Case {
    /// An end with the default configuration, no extensions, and an application that listens.
    pub fn of(role: Role) -> Self {
        Self {
            role,
            extensions: Extensions::NONE,
            config: Config::new(),
            script: &[],
        }
    }

    /// The same with extensions.
    #[must_use]
    pub fn extensions(self, extensions: Extensions) -> Self {
        Self { extensions, ..self }
    }

    /// The same with a configuration that is changed a little.
    #[must_use]
    pub fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// The same with an application that acts.
    #[must_use]
    pub fn script(self, script: Script) -> Self {
        Self { script, ..self }
    }

    /// The frames of its peer.
    pub fn peer(&self) -> Frames {
        Frames::of(self.role.peer())
    }

    /// The end before anything is received.
    pub fn end(&self) -> End {
        End::established(self.role, self.extensions, self.config).with_script(self.script)
    }

    /// Presents `bytes` whole and byte by byte.
    ///
    /// # Panics
    ///
    /// If that makes a difference.
    pub fn receives(&self, bytes: &[u8]) -> Outcome {
        let mut whole = self.end();
        whole.receive(bytes);
        let mut single = self.end();
        let mut failed_at = None;
        for (i, byte) in bytes.iter().enumerate() {
            single.receive(&[*byte]);
            if failed_at.is_none() && single.connection.violation().is_some() {
                failed_at = Some(i + 1);
            }
        }
        assert_eq!(whole.seen, single.seen, "whole, and byte by byte");
        let sent = whole.take_sent();
        assert_eq!(sent, single.take_sent(), "whole, and byte by byte");
        assert_eq!(whole.unread(), single.unread(), "whole, and byte by byte");
        Outcome {
            seen: whole.seen.take(),
            sent: Frame::read_all(&sent),
            unread: whole.unread().len(),
            failed_at,
        }
    }

    /// Presents `bytes`, the last of which breaks a rule: after `before` nothing is reported but
    /// the violation and the end, and the one frame sent is a Close with `code`. What comes behind
    /// changes nothing.
    ///
    /// # Panics
    ///
    /// If it is otherwise.
    #[track_caller]
    pub fn fails(&self, bytes: &[u8], before: &[Seen], violation: Violation, code: u16) {
        let outcome = self.receives(bytes);
        let end = [Seen::Failed(violation), given_up()];
        assert_eq!(outcome.seen, [before, &end].concat(), "{bytes:x?}");
        let sent = [close_frame(self.role, code)];
        assert_eq!(outcome.sent, sent, "{bytes:x?}");
        assert_eq!(outcome.failed_at, Some(bytes.len()), "{bytes:x?}");
        assert_eq!(outcome.unread, 0);

        let behind = self.peer().text("more").close(1000, "").take();
        let later = self.receives(&[bytes, &behind].concat());
        assert_eq!(later, outcome, "{bytes:x?} and more");
    }

    /// Presents `bytes`: exactly `seen` is reported, nothing is sent, and nothing left over.
    ///
    /// # Panics
    ///
    /// If it is otherwise.
    #[track_caller]
    pub fn sees(&self, bytes: &[u8], seen: &[Seen]) {
        let outcome = self.receives(bytes);
        assert_eq!(outcome.seen, seen, "{bytes:x?}");
        assert_eq!(outcome.sent, [], "{bytes:x?}");
        assert_eq!(outcome.unread, 0, "{bytes:x?}");
    }
}

/// The end of a connection that this end gave up.
pub fn given_up() -> Seen {
    closed(Initiator::Local, 1006, false)
}

/// The end of a connection.
pub fn closed(initiator: Initiator, code: u16, clean: bool) -> Seen {
    Seen::Closed(Closed {
        initiator,
        code: CloseCode::new(code),
        clean,
    })
}

/// A Close frame with a code and no reason.
pub fn close_frame(sender: Role, code: u16) -> Frame {
    frame(sender, true, Opcode::Close, &code.to_be_bytes())
}

/// A frame that is as it should be.
pub fn frame(sender: Role, fin: bool, opcode: Opcode, payload: &[u8]) -> Frame {
    Frame {
        fin,
        rsv: 0,
        opcode,
        masked: sender == Role::Client,
        payload: payload.to_vec(),
    }
}

/// `len` bytes that tell an offset from its neighbours.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
}

//! State. The machines of an open connection (RFC 6455 §5.4 to §7).
//!
//! A [`Connection`] is five small machines and the one lifecycle that couples them:
//!
//! | machine | states | file |
//! | --- | --- | --- |
//! | lifecycle | see below | here |
//! | incoming frame and message | `ExpectMessage`, `ExpectFragment`, `ExpectPayload` | `receive` |
//! | UTF-8 of the incoming text | [`Utf8`](crate::utf8::Utf8) | |
//! | outgoing message | `Idle`, `Begun`, `Continuing` | `send` |
//! | timers | what was last heard and asked | `timer` |
//!
//! ```text
//!           our close()                    peer's Close
//!   Open ───────────────▶ AwaitClose ─────────────────────┐
//!    │                                                    ▼
//!    │ peer's Close, Reply::Automatic               both were sent
//!    ├──────────────────────────────────────────────────▶ │
//!    │ peer's Close, Reply::Manual         our close()    │ server ──▶ CloseDue
//!    ├────────────────────────▶ OweClose ────────────────▶│
//!    │                                                    │ client ──▶ AwaitEnd ──▶ CloseDue
//!    │ a rule is broken                                        end of input, or timeout
//!    └────────────────────────▶ (FailureDue) ──▶ CloseDue ──▶ Closed
//! ```
//!
//! `FailureDue` and `CloseDue` stand for an event that the next [`receive`](Connection::receive)
//! reports before it looks at its input. The end of the transport and the close timeout lead from
//! every state to `Closed`.

mod receive;
mod send;
mod timer;

use core::borrow::Borrow;

use self::{receive::Incoming, send::Outgoing, timer::Timers};
pub use self::{
    receive::Want,
    send::{Prepared, SEND_ROOM},
};
use crate::{
    close::CloseCode,
    config::{Config, Reply},
    error::Violation,
    event::{Closed, Event, Initiator},
    extension::Extensions,
    frame::{Opcode, Role},
    output::Output,
};

/// Where a connection is in its life (RFC 6455 §4.1, §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Messages go both ways.
    Open,
    /// A Close frame was sent or received, or a rule was broken.
    Closing,
    /// [`Event::Closed`] was reported.
    Closed,
}

/// What the connection awaits next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lifecycle {
    Open,
    /// Our Close is sent, the peer's is not here.
    AwaitClose,
    /// The peer's Close is here, ours is owed by the caller.
    OweClose,
    /// Both Closes are done; a client waits for the server to end the transport.
    AwaitEnd,
    /// [`Event::Failed`] is due, with the violation kept.
    FailureDue,
    /// [`Event::Closed`] is due.
    CloseDue,
    Closed,
}

/// One WebSocket connection after its opening handshake: bytes in, [`Event`]s and bytes out.
///
/// `C` is how it holds its configuration: `&'static Config`, `Arc<Config>`, or a `Config` of its
/// own. The contract of the loop is told in the [crate's documentation](crate).
///
/// ```
/// use ws_proto::{Config, Connection, Event, Output};
///
/// static CONFIG: Config = Config::new();
///
/// let mut connection = Connection::server(&CONFIG);
/// let mut received = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"; // "Hello", masked
/// let mut input = &mut received[..];
/// let mut buffer = [0; 256];
/// let mut output = Output::new(&mut buffer);
/// while let Some(event) = connection.receive(&mut input, &mut output) {
///     if let Event::Text(text) = event {
///         connection.send_text(text, &mut output)?;
///     }
/// }
/// assert_eq!(output.written(), b"\x81\x05Hello");
/// # Ok::<(), ws_proto::SendError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Connection<C = &'static Config> {
    config: C,
    incoming: Incoming,
    timers: Timers,
    outgoing: Outgoing,
    closed: Closed,
    violation: Option<Violation>,
    lifecycle: Lifecycle,
    role: Role,
    extensions: Extensions,
}

const _: () = assert!(size_of::<Incoming>() <= 48);
const _: () = assert!(size_of::<Connection>() <= 96);
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Connection>() == 96);

impl<C: Borrow<Config>> Connection<C> {
    /// An open connection, its opening handshake done elsewhere: by HTTP/2 (RFC 8441), by an
    /// embedding HTTP server, or by a test.
    pub fn established(role: Role, extensions: Extensions, config: C) -> Self {
        Self {
            config,
            incoming: Incoming::new(),
            timers: Timers::new(),
            outgoing: Outgoing::new(),
            closed: Closed {
                initiator: Initiator::Peer,
                code: CloseCode::ABNORMAL,
                clean: false,
            },
            violation: None,
            lifecycle: Lifecycle::Open,
            role,
            extensions,
        }
    }

    /// An established connection of a client without extensions.
    pub fn client(config: C) -> Self {
        Self::established(Role::Client, Extensions::NONE, config)
    }

    /// An established connection of a server without extensions.
    pub fn server(config: C) -> Self {
        Self::established(Role::Server, Extensions::NONE, config)
    }

    /// Tells that the transport has ended: nothing will be presented to
    /// [`receive`](Connection::receive) any more. It reports [`Event::Closed`], unless that was
    /// reported before. A failure that [`receive`](Connection::receive) was about to report is then
    /// known by [`violation`](Connection::violation) only.
    ///
    /// The end is clean only after both Close frames (RFC 6455 §7.1.4). Call it when all that came
    /// before has been received; [`is_inside_message`](Connection::is_inside_message) and bytes that
    /// `receive` left unread say whether the peer was cut off in the middle of something.
    pub fn end_of_input(&mut self) -> Option<Event<'static>> {
        match self.lifecycle {
            Lifecycle::Closed => None,
            _ => Some(self.report_closed()),
        }
    }

    /// *Fails the WebSocket Connection* (§7.1.7), for the stages above: an application that refuses
    /// a kind of data, a decompressor, a message that outgrows its memory.
    ///
    /// The Close frame with [`Violation::close_code`] is written as far as there is room, unless
    /// ours was sent before; [`Event::Closed`] is due next. It returns the event to report, or
    /// `None` when the connection has ended or failed already.
    pub fn fail(
        &mut self,
        violation: Violation,
        output: &mut Output<'_>,
    ) -> Option<Event<'static>> {
        if matches!(
            self.lifecycle,
            Lifecycle::FailureDue | Lifecycle::CloseDue | Lifecycle::Closed
        ) {
            return None;
        }
        self.break_off(violation, output);
        Some(Event::Failed(violation))
    }

    /// Where the connection is in its life.
    #[inline]
    pub fn state(&self) -> State {
        match self.lifecycle {
            Lifecycle::Open => State::Open,
            Lifecycle::Closed => State::Closed,
            _ => State::Closing,
        }
    }

    /// Which end this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The extensions that were agreed on.
    pub fn extensions(&self) -> Extensions {
        self.extensions
    }

    /// The configuration it is held to.
    pub fn config(&self) -> &Config {
        self.config.borrow()
    }

    /// The rule that the peer broke, if the connection has failed.
    pub fn violation(&self) -> Option<Violation> {
        self.violation
    }

    /// How the connection ended, once [`Event::Closed`] was reported.
    pub fn closed(&self) -> Option<Closed> {
        (self.lifecycle == Lifecycle::Closed).then_some(self.closed)
    }

    /// Writes the Close frame that a violation calls for, and gives up on the peer.
    fn break_off(&mut self, violation: Violation, output: &mut Output<'_>) {
        if matches!(self.lifecycle, Lifecycle::Open | Lifecycle::OweClose) {
            // RFC 6455 §7.1.7: "An endpoint SHOULD send a Close frame with an appropriate status
            // code (Section 7.4) before proceeding to _Close the WebSocket Connection_". Without
            // room the peer has long stopped reading.
            let _ = self.write_close(violation.close_code(), "", output);
        }
        if self.lifecycle == Lifecycle::Open {
            self.closed.initiator = Initiator::Local;
        }
        self.violation = Some(violation);
        self.lifecycle = Lifecycle::CloseDue;
    }

    /// Our Close was written.
    fn close_sent(&mut self) {
        match self.lifecycle {
            Lifecycle::Open => {
                self.closed.initiator = Initiator::Local;
                self.lifecycle = Lifecycle::AwaitClose;
            }
            Lifecycle::OweClose => self.both_closed(),
            _ => {}
        }
        self.timers.restart_close();
    }

    /// The peer's Close was received, and answered if it could be.
    fn close_received(&mut self, code: CloseCode, payload: &[u8], output: &mut Output<'_>) {
        self.closed.code = code;
        match self.lifecycle {
            Lifecycle::Open if self.config().close == Reply::Automatic => {
                // RFC 6455 §5.5.1: "When sending a Close frame in response, the endpoint typically
                // echos the status code it received."
                let echo = payload.get(..2).unwrap_or_default();
                let written = self.write_control(Opcode::Close, echo, output);
                debug_assert!(written.is_ok(), "a client's output has masking keys");
                self.both_closed();
                self.closed.clean = written.is_ok();
            }
            Lifecycle::Open => self.lifecycle = Lifecycle::OweClose,
            _ => self.both_closed(),
        }
        self.timers.restart_close();
    }

    /// RFC 6455 §7.1.1: "the server MUST close the TCP connection immediately, the client SHOULD
    /// wait for the server to close the connection but MAY close the connection at any time".
    fn both_closed(&mut self) {
        self.closed.clean = true;
        self.lifecycle = match self.role {
            Role::Server => Lifecycle::CloseDue,
            Role::Client => Lifecycle::AwaitEnd,
        };
    }

    fn report_closed(&mut self) -> Event<'static> {
        self.lifecycle = Lifecycle::Closed;
        Event::Closed(self.closed)
    }
}

//! The seam between the engine and an application: [`Session`], called with a [`Context`].
//!
//! Neither knows sockets or a clock: what a session may do it does through the context, and what
//! time it is stands there. Whatever drives an engine, event loops or a test's virtual clock, a
//! session cannot tell.

use std::{
    any::Any,
    net::IpAddr,
    ops::{Deref, DerefMut},
};

use ws_proto::{Chunk, CloseCode, Closed};

use crate::{
    connection::{Delivery, Sender},
    handle::{ConnectionId, Encoded, Errand},
};

/// A whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// UTF-8 text.
    Text(&'a str),
    /// Bytes with a meaning of the application's.
    Binary(&'a [u8]),
}

/// What travels to a session from elsewhere: see [`Handle::post`](crate::Handle::post).
pub type Note = Box<dyn Any + Send>;

/// One connection of an application, and its state.
///
/// # Guarantees
///
/// - [`open`](Session::open) is the first call and [`close`](Session::close) the last; each comes
///   exactly once, also when the peer breaks a rule, the socket breaks, or a call panics.
/// - Calls of one session, and of all sessions of a loop, come one after the other. Nothing that a
///   session does calls another session, or itself, before the call returns: what it sends leaves at
///   the end of its turn, and what touches others is settled after that.
/// - After a panic the connection is closed with 1011, unless it was closing, `close` is called, and
///   nothing else is. Other connections do not notice. (A session whose acceptance can no longer be
///   written is dropped without any call.)
pub trait Session {
    /// How messages are to be reported; asked once, before [`open`](Session::open).
    fn delivery(&self) -> Delivery {
        Delivery::Messages
    }

    /// The opening handshake is done.
    fn open(&mut self, cx: &mut Context<'_>) {
        _ = cx;
    }

    /// A whole message has come.
    fn message(&mut self, message: Message<'_>, cx: &mut Context<'_>);

    /// A part of a message has come, with [`Delivery::Chunks`]. Messages that came in one piece go
    /// to [`message`](Session::message) all the same.
    fn chunk(&mut self, chunk: Chunk<'_>, cx: &mut Context<'_>) {
        _ = (chunk, cx);
    }

    /// A Ping has come, and its Pong is on the way.
    fn ping(&mut self, payload: &[u8], cx: &mut Context<'_>) {
        _ = (payload, cx);
    }

    /// A Pong has come, asked for or not. Those of the heartbeat have 4 bytes.
    fn pong(&mut self, payload: &[u8], cx: &mut Context<'_>) {
        _ = (payload, cx);
    }

    /// Less waits than the low mark, after a send was answered by
    /// [`Sent::OverHighWater`](crate::Sent::OverHighWater).
    fn drained(&mut self, cx: &mut Context<'_>) {
        _ = cx;
    }

    /// The time has come that was asked for by [`Context::wake_at`].
    fn timer(&mut self, cx: &mut Context<'_>) {
        _ = cx;
    }

    /// A note was posted to this connection.
    fn post(&mut self, note: Note, cx: &mut Context<'_>) {
        _ = (note, cx);
    }

    /// The peer's Close has come; `reason` was written by the peer. The end follows.
    fn closing(&mut self, code: CloseCode, reason: &str, cx: &mut Context<'_>) {
        _ = (code, reason, cx);
    }

    /// The end. Nothing can be sent any more.
    fn close(&mut self, why: &Closed, cx: &mut Context<'_>) {
        _ = (why, cx);
    }
}

/// Sessions of several kinds on one server.
impl<S: Session + ?Sized> Session for Box<S> {
    fn delivery(&self) -> Delivery {
        (**self).delivery()
    }

    fn open(&mut self, cx: &mut Context<'_>) {
        (**self).open(cx);
    }

    fn message(&mut self, message: Message<'_>, cx: &mut Context<'_>) {
        (**self).message(message, cx);
    }

    fn chunk(&mut self, chunk: Chunk<'_>, cx: &mut Context<'_>) {
        (**self).chunk(chunk, cx);
    }

    fn ping(&mut self, payload: &[u8], cx: &mut Context<'_>) {
        (**self).ping(payload, cx);
    }

    fn pong(&mut self, payload: &[u8], cx: &mut Context<'_>) {
        (**self).pong(payload, cx);
    }

    fn drained(&mut self, cx: &mut Context<'_>) {
        (**self).drained(cx);
    }

    fn timer(&mut self, cx: &mut Context<'_>) {
        (**self).timer(cx);
    }

    fn post(&mut self, note: Note, cx: &mut Context<'_>) {
        (**self).post(note, cx);
    }

    fn closing(&mut self, code: CloseCode, reason: &str, cx: &mut Context<'_>) {
        (**self).closing(code, reason, cx);
    }

    fn close(&mut self, why: &Closed, cx: &mut Context<'_>) {
        (**self).close(why, cx);
    }
}

/// What time it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that never goes back. It begins anywhere.
    pub monotonic_ms: u64,
    /// Seconds since 1970, as the system has it.
    pub unix_s: u64,
}

/// What a session can do, for the length of one call: all that a [`Sender`] can, and what an engine
/// adds.
pub struct Context<'a> {
    pub(crate) sender: Sender<'a>,
    pub(crate) id: ConnectionId,
    pub(crate) now: Now,
    pub(crate) extra: &'a mut Option<Box<Extra>>,
    pub(crate) outside: &'a mut Outside,
}

/// What a session can touch beyond its own connection.
pub(crate) struct Outside {
    /// In the order in which they were asked for; settled when the turn is over.
    pub(crate) errands: Vec<(ConnectionId, Errand)>,
    pub(crate) random: Box<dyn FnMut() -> u64 + Send>,
}

impl Context<'_> {
    /// Who this connection is, for others to post to.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// What time it is: that of the beginning of the turn.
    pub fn now(&self) -> Now {
        self.now
    }

    /// 64 bits that nobody can predict, from the generator of the loop.
    pub fn random(&mut self) -> u64 {
        (self.outside.random)()
    }

    /// Has [`Session::timer`] called at this time, within 100 ms, in place of any time that was asked
    /// for before. A time that has passed is now.
    pub fn wake_at(&mut self, monotonic_ms: u64) {
        Extra::set_wake_at_ms(self.extra, monotonic_ms);
    }

    /// Takes back what [`wake_at`](Self::wake_at) asked for.
    pub fn never_wake(&mut self) {
        Extra::set_wake_at_ms(self.extra, NEVER);
    }

    /// Calls [`Session::post`] of another connection, or of this one, when this turn is over. To
    /// one that has gone it is lost; so it is, with a warning in the log, where that belongs to
    /// another loop which has fallen behind by 65 536 errands. [`Handle::post`](crate::Handle::post)
    /// would tell.
    pub fn post(&mut self, to: ConnectionId, note: Note) {
        self.outside.errands.push((to, Errand::Note(note)));
    }

    /// Sends to another connection when this turn is over, as [`post`](Self::post) does.
    pub fn send_to(&mut self, to: ConnectionId, message: &Encoded) {
        self.outside
            .errands
            .push((to, Errand::Send(message.clone())));
    }

    /// Closes another connection when this turn is over, as [`post`](Self::post) does.
    pub fn close_other(&mut self, other: ConnectionId, code: CloseCode, reason: &str) {
        let errand = Errand::Close(code, reason.into());
        self.outside.errands.push((other, errand));
    }
}

/// What few connections have, and an idle one does not pay for.
#[derive(Debug)]
pub(crate) struct Extra {
    /// When the session wants to be woken, or [`NEVER`].
    wake_at_ms: u64,
    /// Where the connection is counted, if addresses are.
    pub(crate) network: Option<IpAddr>,
}

impl Extra {
    pub(crate) fn of(network: IpAddr) -> Self {
        Self {
            wake_at_ms: NEVER,
            network: Some(network),
        }
    }

    pub(crate) fn wake_at_ms(this: &Option<Box<Self>>) -> u64 {
        this.as_ref().map_or(NEVER, |extra| extra.wake_at_ms)
    }

    pub(crate) fn set_wake_at_ms(this: &mut Option<Box<Self>>, wake_at_ms: u64) {
        match this {
            Some(extra) => extra.wake_at_ms = wake_at_ms,
            None if wake_at_ms == NEVER => {}
            None => {
                *this = Some(Box::new(Self {
                    wake_at_ms,
                    network: None,
                }));
            }
        }
    }
}

/// No time at all.
pub(crate) const NEVER: u64 = u64::MAX;

impl<'a> Deref for Context<'a> {
    type Target = Sender<'a>;

    fn deref(&self) -> &Sender<'a> {
        &self.sender
    }
}

impl<'a> DerefMut for Context<'a> {
    fn deref_mut(&mut self) -> &mut Sender<'a> {
        &mut self.sender
    }
}

impl<'a> AsMut<Sender<'a>> for Context<'a> {
    #[inline]
    fn as_mut(&mut self) -> &mut Sender<'a> {
        &mut self.sender
    }
}

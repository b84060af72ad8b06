//! [`Handle`]: a server from outside, from any thread.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use ws_proto::{CloseCode, Full, Prepared};

use crate::{
    config::Shutdown,
    reactor::{
        census::Census,
        inbox::{Inbox, Refused},
        slab::Key,
    },
    session::Note,
};

/// Names one connection: no other of the same server has an equal one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    pub(crate) key: Key,
    pub(crate) loop_index: u16,
}

/// A message encoded once, to be sent to many connections.
#[derive(Clone, Debug)]
pub struct Encoded(Prepared<Arc<[u8]>>);

impl Encoded {
    /// A text message.
    pub fn text(text: &str) -> Self {
        let mut memory = vec![0; MAX_PREFIX + text.len()];
        Self::keep(Prepared::text(text, &mut memory))
    }

    /// A binary message.
    pub fn binary(bytes: &[u8]) -> Self {
        let mut memory = vec![0; MAX_PREFIX + bytes.len()];
        Self::keep(Prepared::binary(bytes, &mut memory))
    }

    /// As [`Sender::send_prepared`](crate::Sender::send_prepared) takes it.
    pub fn prepared(&self) -> &Prepared<Arc<[u8]>> {
        &self.0
    }

    fn keep(prepared: Result<Prepared<&[u8]>, Full>) -> Self {
        Self(prepared.expect("the memory is large enough").keep())
    }
}

/// The longest header of an unmasked frame.
const MAX_PREFIX: usize = 10;

/// What is to be done to a connection, on its own loop.
#[derive(Debug)]
pub(crate) enum Errand {
    Note(Note),
    Send(Encoded),
    Close(CloseCode, Box<str>),
}

/// A server from outside: any thread may hold it, and clones of it.
///
/// What is posted waits in the inbox of the connection's loop, which is bounded, and is done in the
/// order in which one thread posted it. Whether the connection is still there is only known there:
/// what comes too late is lost.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// Why nothing was posted. What was to be posted is given back.
#[derive(Debug, PartialEq, Eq)]
pub enum PostError<T> {
    /// The loop is far behind: there is no room in its inbox.
    Full(T),
    /// The loop has ended.
    Closed(T),
}

impl<T> fmt::Display for PostError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the inbox of the loop is full",
            Self::Closed(_) => "the loop has ended",
        })
    }
}

impl<T: fmt::Debug> std::error::Error for PostError<T> {}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Calls [`Session::post`](crate::Session::post) of a connection.
    ///
    /// # Errors
    ///
    /// When the loop's inbox is full, or the loop has ended.
    pub fn post(&self, to: ConnectionId, note: Note) -> Result<(), PostError<Note>> {
        self.push(to, Errand::Note(note), |errand| match errand {
            Errand::Note(note) => note,
            _ => unreachable!("it comes back as it was"),
        })
    }

    /// Sends to a connection.
    ///
    /// # Errors
    ///
    /// As [`post`](Self::post).
    pub fn send(&self, to: ConnectionId, message: &Encoded) -> Result<(), PostError<()>> {
        self.push(to, Errand::Send(message.clone()), |_| ())
    }

    /// Closes a connection.
    ///
    /// # Errors
    ///
    /// As [`post`](Self::post).
    pub fn close(
        &self,
        connection: ConnectionId,
        code: CloseCode,
        reason: &str,
    ) -> Result<(), PostError<()>> {
        self.push(connection, Errand::Close(code, reason.into()), |_| ())
    }

    /// Has the server end as the plan says; [`Server::run`](crate::Server::run) then returns its
    /// report. Said a second time, it ends at once.
    pub fn shutdown(&self, plan: Shutdown) {
        let shared = &self.shared;
        let mut wanted = shared
            .shutdown
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *wanted = Some(match *wanted {
            None => plan,
            Some(first) => first.at_once(),
        });
        drop(wanted);
        shared.wanted.fetch_add(1, Ordering::Release);
        for side in &shared.loops {
            (side.wake)();
        }
    }

    /// How many connections are open, handshakes included.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    fn push<T>(
        &self,
        to: ConnectionId,
        errand: Errand,
        back: impl FnOnce(Errand) -> T,
    ) -> Result<(), PostError<T>> {
        let Some(side) = self.shared.loops.get(usize::from(to.loop_index)) else {
            return Err(PostError::Closed(back(errand)));
        };
        side.inbox
            .push((to.key, errand))
            .map_err(|refused| match refused {
                Refused::Full((_, errand)) => PostError::Full(back(errand)),
                Refused::Closed((_, errand)) => PostError::Closed(back(errand)),
            })
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

/// What all loops of a server share with the handles.
pub(crate) struct Shared {
    pub(crate) loops: Vec<LoopSide>,
    pub(crate) connections: AtomicUsize,
    pub(crate) census: Census,
    /// How often a shutdown was asked for; the plan is behind the lock.
    pub(crate) wanted: AtomicUsize,
    pub(crate) shutdown: Mutex<Option<Shutdown>>,
}

impl Shared {
    pub(crate) fn new(loops: Vec<LoopSide>) -> Self {
        Self {
            loops,
            connections: AtomicUsize::new(0),
            census: Census::default(),
            wanted: AtomicUsize::new(0),
            shutdown: Mutex::new(None),
        }
    }
}

/// One loop, from outside.
pub(crate) struct LoopSide {
    pub(crate) inbox: Inbox<(Key, Errand), Wake>,
    pub(crate) wake: Wake,
}

/// Wakes a loop.
pub(crate) type Wake = Box<dyn Fn() + Send + Sync>;

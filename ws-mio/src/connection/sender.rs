//! [`Sender`]: the sending half of a connection, lent to callbacks.

use std::{io, mem, sync::Arc};

use ws_proto::{
    Chunk, CloseCode, Config, MessageKind, Misuse, Output, Prepared, REPLY_ROOM, SendError, State,
    Violation,
};

use super::{
    Flags, Source,
    memory::Fate,
    queue::{Kind, Queue},
};
use crate::buffers::{Marks, Pool};

/// What became of something that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Sent {
    /// It leaves at the end of the turn, with all that was sent in it.
    Corked,
    /// The peer is slow: it waits behind what was sent before.
    Queued,
    /// It waits, and more waits now than [`Marks::high`]. Better send no more until the connection
    /// is drained.
    OverHighWater,
    /// It was not sent.
    Refused(Refused),
}

impl Sent {
    /// Whether it was sent, now or later.
    pub const fn is_sent(self) -> bool {
        !matches!(self, Self::Refused(_))
    }
}

/// Why something was not sent. The connection is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refused {
    /// More would wait than [`Marks::limit`], and the connection is held to
    /// [`Overflow::Reject`]; or what would have to be dropped for it must not be.
    Full,
    /// Our Close was sent, or the connection has ended: nothing follows (RFC 6455 §5.5.1).
    Closing,
    /// The call itself is wrong.
    Misuse(Misuse),
}

/// What happens to a connection whose peer takes less than it is sent, when more would wait than
/// [`Marks::limit`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// It is closed with 1013, what waits is dropped, and nothing more is sent: a peer never sees a
    /// gap. The default, as in Centrifugo.
    #[default]
    Disconnect,
    /// The send is [refused](Refused::Full); the sender waits until the connection is drained.
    Reject,
    /// The oldest messages of which nothing is written are dropped. Control frames and fragments
    /// never are.
    DropOldest,
}

/// The core of a connection here: its configuration is shared.
pub(crate) type Core = ws_proto::Connection<Arc<Config>>;

/// The sending half of a [`Connection`](crate::Connection), lent to callbacks of a turn.
///
/// What is sent is collected and leaves with one write at the end of the turn; where the socket does
/// not take it all, the rest waits in a queue of the connection's own. A server's messages and
/// fragments from 64 KiB on are not copied first, unless others wait before them.
pub struct Sender<'a> {
    pub(super) core: &'a mut Core,
    /// The loop's, and empty where there is a queue.
    pub(super) output: Output<'a>,
    pub(super) queue: &'a mut Option<Box<Queue>>,
    pub(super) flags: &'a mut Flags,
    pub(super) source: &'a mut dyn Source,
    pub(super) marks: &'a Marks,
    pub(super) pool: &'a mut Pool,
    /// What becomes of the memory of the message that is being reported, if it has some of its own.
    pub(super) fate: Fate,
    /// Nothing more is to be received in this turn.
    pub(super) brake: bool,
    pub(super) error: Option<io::Error>,
}

impl AsMut<Self> for Sender<'_> {
    fn as_mut(&mut self) -> &mut Self {
        self
    }
}

/// From here on a message is written from where it lies: below, copying it is as fast.
pub(super) const DIRECT: usize = 64 << 10;

impl Sender<'_> {
    /// Sends a text message.
    #[inline]
    pub fn send_text(&mut self, text: &str) -> Sent {
        if self.queue.is_none()
            && text.len() < DIRECT
            && self.core.send_text(text, &mut self.output).is_ok()
        {
            return Sent::Corked;
        }
        self.send_slowly(MessageKind::Text, text.as_bytes(), |core, output| {
            core.send_text(text, output)
        })
    }

    /// Sends a binary message.
    #[inline]
    pub fn send_binary(&mut self, bytes: &[u8]) -> Sent {
        if self.queue.is_none()
            && bytes.len() < DIRECT
            && self.core.send_binary(bytes, &mut self.output).is_ok()
        {
            return Sent::Corked;
        }
        self.send_slowly(MessageKind::Binary, bytes, |core, output| {
            core.send_binary(bytes, output)
        })
    }

    /// Sends a message that was encoded before, perhaps for many connections.
    #[inline]
    pub fn send_prepared<B: AsRef<[u8]>>(&mut self, message: &Prepared<B>) -> Sent {
        if self.queue.is_none() && self.core.send_prepared(message, &mut self.output).is_ok() {
            return Sent::Corked;
        }
        let len = message.payload().len();
        self.append(Kind::Messages, len, |core, output| {
            core.send_prepared(message, output)
        })
    }

    /// Sends a text message that is of use only until the next one with the same `key`: one that
    /// still waits, none of it written, is dropped for it. For prices, positions, cursors.
    ///
    /// Order is kept: the newer message stands where it was sent, not where the older one stood.
    /// What was corked in the turn in which the peer turned out to be slow is not replaced any more.
    pub fn send_latest_text(&mut self, key: u64, text: &str) -> Sent {
        self.append(Kind::Latest(key), text.len(), |core, output| {
            core.send_text(text, output)
        })
    }

    /// As [`send_latest_text`](Self::send_latest_text), for a binary message.
    pub fn send_latest_binary(&mut self, key: u64, bytes: &[u8]) -> Sent {
        self.append(Kind::Latest(key), bytes.len(), |core, output| {
            core.send_binary(bytes, output)
        })
    }

    /// Begins a message of unknown length, whose parts follow by
    /// [`send_fragment`](Self::send_fragment) and [`finish`](Self::finish) (RFC 6455 §5.4).
    pub fn begin(&mut self, kind: MessageKind) -> Sent {
        match self.core.begin(kind) {
            Ok(()) => Sent::Corked,
            Err(error) => refuse(error),
        }
    }

    /// Sends the next part of the message that was [begun](Self::begin). A part of a text may end
    /// inside a character.
    pub fn send_fragment(&mut self, bytes: &[u8]) -> Sent {
        if self.is_direct(bytes) {
            let header = self.core.fragment_header(bytes, &mut self.output);
            return self.write_directly(header, bytes);
        }
        self.append(Kind::Kept, bytes.len(), |core, output| {
            core.send_fragment(bytes, output)
        })
    }

    /// Sends the last part of the message that was [begun](Self::begin).
    pub fn finish(&mut self, bytes: &[u8]) -> Sent {
        if self.is_direct(bytes) {
            let header = self.core.finish_header(bytes, &mut self.output);
            return self.write_directly(header, bytes);
        }
        self.append(Kind::Kept, bytes.len(), |core, output| {
            core.finish(bytes, output)
        })
    }

    /// Sends a chunk as it was received: a whole message in one frame, a part of one as a fragment.
    ///
    /// A chunk that was refused may be sent again; those behind it make no sense without it.
    pub fn send_chunk(&mut self, chunk: Chunk<'_>) -> Sent {
        if chunk.first {
            if chunk.last && chunk.kind == MessageKind::Binary {
                return self.send_binary(chunk.bytes);
            }
            // A message that was begun could not be begun again with the same chunk.
            if let Err(refused) = self.admit(chunk.bytes.len()) {
                return Sent::Refused(refused);
            }
            if let refused @ Sent::Refused(_) = self.begin(chunk.kind) {
                return refused;
            }
        }
        match chunk.last {
            true => self.finish(chunk.bytes),
            false => self.send_fragment(chunk.bytes),
        }
    }

    /// Sends a Ping of at most 125 bytes, which come back in the Pong (RFC 6455 §5.5.2).
    pub fn ping(&mut self, payload: &[u8]) -> Sent {
        self.append(Kind::Kept, payload.len(), |core, output| {
            core.ping(payload, output)
        })
    }

    /// Sends a Pong: the answer to a Ping where [`Config::pong`] is manual, or an unasked sign of life
    /// (RFC 6455 §5.5.3).
    pub fn pong(&mut self, payload: &[u8]) -> Sent {
        self.append(Kind::Kept, payload.len(), |core, output| {
            core.pong(payload, output)
        })
    }

    /// *Starts the Closing Handshake* (RFC 6455 §7.1.2), behind all that was sent before. A reason
    /// has at most 123 bytes.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Sent {
        let write = |core: &mut Core, output: &mut Output<'_>| core.close(code, reason, output);
        match self.cork(reason.len(), write) {
            Some(sent) => sent,
            // It is the last, and no limit keeps it away.
            None => self.enqueue(Kind::Kept, reason.len(), write),
        }
    }

    /// As [`close`](Self::close), but what waits and is not begun is dropped.
    pub fn close_now(&mut self, code: CloseCode, reason: &str) -> Sent {
        let Some(queue) = self.queue else {
            return self.close(code, reason);
        };
        // It is written first: where it is refused, all that waits stays, an earlier Close included.
        let mut frame = [0; REPLY_ROOM];
        let mut output = self.output.over(&mut frame);
        if let Err(error) = self.core.close(code, reason, &mut output) {
            return refuse(error);
        }
        queue.drop_frames();
        queue.append_frames(output.written());
        self.sent()
    }

    /// Receives no more, not even what was read already, until [`resume`](Self::resume). Pings are
    /// not answered meanwhile, and the peer's Close is not seen; nor is the peer judged by what it
    /// does not seem to say.
    pub fn pause(&mut self) {
        self.flags.paused = true;
        self.brake = true;
    }

    /// Receives again, from the next turn on.
    pub fn resume(&mut self) {
        self.flags.paused = false;
    }

    /// What happens when more waits than [`Marks::limit`].
    pub fn set_overflow(&mut self, overflow: Overflow) {
        self.flags.overflow = overflow;
    }

    /// How many bytes the peer has not taken yet, those of this turn aside.
    pub fn queued(&self) -> usize {
        self.queue
            .as_ref()
            .map_or(0, |queue| queue.len() - queue.expected())
    }

    /// How many messages were dropped for [`Overflow::DropOldest`] since this was asked last;
    /// 65 535 if they were more.
    pub fn take_dropped(&mut self) -> u32 {
        u32::from(mem::take(&mut self.flags.dropped))
    }

    /// Where the connection is in its life.
    pub fn state(&self) -> State {
        self.core.state()
    }

    /// The rule that the peer broke, if the connection has failed.
    pub fn violation(&self) -> Option<Violation> {
        self.core.violation()
    }

    /// The configuration the connection is held to.
    pub fn config(&self) -> &Config {
        self.core.config()
    }
}

pub(super) fn refuse(error: SendError) -> Sent {
    Sent::Refused(match error {
        SendError::Full => Refused::Full,
        SendError::Closing => Refused::Closing,
        SendError::Misuse(misuse) => Refused::Misuse(misuse),
    })
}

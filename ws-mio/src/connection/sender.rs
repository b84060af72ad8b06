//! [`Sender`]: the sending half of a connection, lent to callbacks.

use std::{
    io::{self, ErrorKind, IoSlice},
    mem,
    sync::Arc,
};

use ws_proto::{
    Chunk, CloseCode, Config, MessageKind, Misuse, Output, Prepared, REPLY_ROOM, Role, SEND_ROOM,
    SendError, State, Violation, frame::FrameHeader,
};

use super::{
    Flags, Source,
    memory::{Fate, Memory},
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
/// not take it all, the rest waits in a queue of the connection's own. Messages from 64 KiB on are
/// written at once, from where they lie.
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
const DIRECT: usize = 64 << 10;

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
    /// not answered meanwhile, and the peer's Close is not seen.
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
        self.queue.as_ref().map_or(0, |queue| queue.len())
    }

    /// How many messages were dropped for [`Overflow::DropOldest`] since this was asked last.
    pub fn take_dropped(&mut self) -> u32 {
        mem::take(&mut self.flags.dropped)
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

    /// What the fast path did not take.
    #[inline(never)]
    fn send_slowly(
        &mut self,
        kind: MessageKind,
        payload: &[u8],
        write: impl Fn(&mut Core, &mut Output<'_>) -> Result<(), SendError>,
    ) -> Sent {
        if self.is_direct(payload) {
            let len = payload.len() as u64;
            let header = self.core.frame_header(kind, len, &mut self.output);
            return self.write_directly(header, payload);
        }
        self.append(Kind::Messages, payload.len(), write)
    }

    /// Whether this is to be written from where it lies. A client's payload must be masked on the
    /// way.
    fn is_direct(&self, payload: &[u8]) -> bool {
        payload.len() >= DIRECT
            && self.core.role() == Role::Server
            && self.queue.is_none()
            && self.error.is_none()
            && self.fate.pending().is_none()
    }

    /// Writes what is corked, and this frame from where it lies. What the socket does not take is
    /// copied to the queue. A message with memory of its own is not even written yet: when it has
    /// been reported, its memory can be had.
    fn write_directly(&mut self, header: Result<FrameHeader, SendError>, payload: &[u8]) -> Sent {
        let header = match header {
            Ok(header) => header.to_bytes(),
            Err(error) => return refuse(error),
        };
        if self.output.is_empty() && self.fate.send(header, payload) {
            return Sent::Corked;
        }
        let mut written = 0;
        let parts = [self.output.written(), &header, payload];
        let result = write_parts(self.source, &parts, &mut written);
        if let Err(error) = result {
            self.break_off(error);
            return Sent::Refused(Refused::Closing);
        }
        let corked = self.output.len();
        if written < corked + header.len() + payload.len() {
            self.flags.writable = false;
            *self.queue = Some(Box::new(match written.checked_sub(corked) {
                Some(written @ 1..) => Queue::resume(&[&header, payload], written),
                // The frame is not begun.
                _ => {
                    let mut queue = Queue::resume_frames(self.output.written(), written);
                    queue.append_frames(&[&header, payload].concat());
                    queue
                }
            }));
        }
        self.output.clear();
        self.sent()
    }

    /// Sends the message that was reported from its memory, if that was decided, and has the memory
    /// serve the next one. What was sent since stands behind it.
    pub(super) fn settle_memory(&mut self, memory: Memory) {
        let (memory, frame) = match self.fate.take() {
            Fate::Sent(header, len) if self.error.is_none() => memory.into_frame(header, len),
            _ => return self.pool.give(memory.into_bytes()),
        };
        if let Some(queue) = self.queue {
            queue.donate(memory, frame);
            return self.flush();
        }
        let mut written = 0;
        let result = write_parts(self.source, &[&memory[frame.clone()]], &mut written);
        if let Err(error) = result {
            return self.break_off(error);
        }
        if written == frame.len() {
            return self.pool.give(memory);
        }
        self.flags.writable = false;
        let mut queue = Box::new(Queue::expecting(frame.len() - written));
        queue.donate(memory, frame.start + written..frame.end);
        queue.append_frames(self.output.written());
        self.output.clear();
        let queued = queue.len();
        *self.queue = Some(queue);
        if queued >= self.marks.high {
            self.over_high_water();
        }
    }

    /// Something is to stand behind a message that is not sent yet, and to be queued.
    #[cold]
    fn expect_memory(&mut self, len: usize) {
        let mut queue = Box::new(Queue::expecting(len));
        queue.append_frames(self.output.written());
        self.output.clear();
        *self.queue = Some(queue);
    }

    /// Appends to what is corked, or to the queue.
    #[inline(never)]
    fn append(
        &mut self,
        kind: Kind,
        len: usize,
        write: impl Fn(&mut Core, &mut Output<'_>) -> Result<(), SendError>,
    ) -> Sent {
        if let Some(sent) = self.cork(len, &write) {
            return sent;
        }
        match self.admit(len) {
            Ok(()) => self.enqueue(kind, len, write),
            Err(refused) => Sent::Refused(refused),
        }
    }

    /// Whether a frame with `len` bytes of payload may wait.
    fn admit(&mut self, len: usize) -> Result<(), Refused> {
        let queued = self.queued();
        let header = match len {
            0..126 => 2,
            126..=0xFFFF => 4,
            _ => 10,
        };
        let mask = if self.core.role() == Role::Client {
            4
        } else {
            0
        };
        let len = len.saturating_add(header + mask);
        match queued >= self.marks.high
            && queued.saturating_add(len) > self.marks.limit
            && self.core.state() == State::Open
        {
            true => self.make_room(len),
            false => Ok(()),
        }
    }

    /// Appends to what is corked, which is written first if it is in the way; `None` if there is a
    /// queue, or what is to be sent is too long to be corked.
    fn cork(
        &mut self,
        len: usize,
        write: impl Fn(&mut Core, &mut Output<'_>) -> Result<(), SendError>,
    ) -> Option<Sent> {
        if self.queue.is_some() {
            return None;
        }
        match write(self.core, &mut self.output) {
            Ok(()) => return Some(Sent::Corked),
            Err(SendError::Full) => self.flush(),
            Err(error) => return Some(refuse(error)),
        }
        if self.queue.is_some() || self.output.room() < len + SEND_ROOM {
            return None;
        }
        Some(match write(self.core, &mut self.output) {
            Ok(()) => Sent::Corked,
            Err(error) => refuse(error),
        })
    }

    fn enqueue(
        &mut self,
        kind: Kind,
        len: usize,
        write: impl Fn(&mut Core, &mut Output<'_>) -> Result<(), SendError>,
    ) -> Sent {
        let queued = self.queued();
        let queue = self.queue.get_or_insert_default();
        let (core, output) = (&mut *self.core, &mut self.output);
        let appended = queue.append(kind, len + SEND_ROOM, |memory| {
            let mut output = output.over(memory);
            write(core, &mut output).map(|()| output.len())
        });
        match appended {
            Ok(()) => {
                // Where there was no queue before, the peer is not known to be slow.
                if queued == 0 {
                    self.flush();
                }
                self.sent()
            }
            Err(error) => {
                if queue.len() == 0 {
                    *self.queue = None;
                }
                refuse(error)
            }
        }
    }

    /// Makes room for a frame of `len` bytes in the way that [`Overflow`] names.
    fn make_room(&mut self, len: usize) -> Result<(), Refused> {
        let Some(queue) = self.queue else {
            return Ok(());
        };
        match self.flags.overflow {
            Overflow::Reject => Err(Refused::Full),
            Overflow::DropOldest => {
                let most = self.marks.limit.checked_sub(len).ok_or(Refused::Full)?;
                let dropped = queue.drop_oldest(most).ok_or(Refused::Full)?;
                self.flags.dropped = self.flags.dropped.saturating_add(dropped);
                Ok(())
            }
            Overflow::Disconnect => {
                // Behind the Close every send is refused: the verdict is final.
                _ = self.close_now(CloseCode::TRY_AGAIN_LATER, "too slow");
                Err(Refused::Closing)
            }
        }
    }

    fn sent(&mut self) -> Sent {
        match self.queued() {
            0 => Sent::Corked,
            queued if queued >= self.marks.high => {
                self.flags.owes_drained = true;
                self.over_high_water();
                Sent::OverHighWater
            }
            _ => Sent::Queued,
        }
    }

    /// Writes what is corked or queued until the sink would block.
    #[inline]
    pub(super) fn flush(&mut self) {
        if self.queue.is_some() || self.error.is_some() {
            return self.flush_queue();
        }
        if let Some(len) = self.fate.pending() {
            return self.expect_memory(len);
        }
        let corked = self.output.written();
        if corked.is_empty() {
            return;
        }
        match self.source.write(corked) {
            Ok(n) if n == corked.len() => self.output.clear(),
            result => self.flush_slowly(result),
        }
    }

    #[cold]
    fn flush_queue(&mut self) {
        if self.fate.pending().is_some() {
            // Its memory comes first, and will be here in a moment.
            return;
        }
        if self.error.is_some() {
            self.output.clear();
            *self.queue = None;
        }
        let Some(queue) = self.queue.as_deref_mut() else {
            return;
        };
        if !self.flags.writable {
            return;
        }
        let result = queue.write_to(self.source);
        let queued = queue.len();
        if let Some(spent) = queue.take_spent() {
            self.pool.give(spent);
        }
        self.flags.writable = queued == 0;
        if queued <= self.marks.low {
            self.flags.over_high_water = false;
            self.flags.is_drained |= mem::take(&mut self.flags.owes_drained);
        }
        if queued == 0 {
            *self.queue = None;
        }
        if let Err(error) = result {
            self.break_off(error);
        }
    }

    /// The first write of what is corked did not take it all.
    #[cold]
    fn flush_slowly(&mut self, first: io::Result<usize>) {
        let mut written = 0;
        let result = match first {
            Ok(0) => Err(ErrorKind::WriteZero.into()),
            Ok(n) => {
                written = n;
                write_parts(self.source, &[self.output.written()], &mut written)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                write_parts(self.source, &[self.output.written()], &mut written)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            return self.break_off(error);
        }
        if written < self.output.len() {
            self.flags.writable = false;
            let queue = Queue::resume_frames(self.output.written(), written);
            let queued = queue.len();
            *self.queue = Some(Box::new(queue));
            if queued >= self.marks.high {
                self.over_high_water();
            }
        }
        self.output.clear();
    }

    /// Moves what the core has just replied into the queue, if there is one: a Close of a failure
    /// and a Pong overtake what waits, the answer to the peer's Close does not.
    pub(super) fn settle_reply(&mut self) {
        let Some(queue) = self.queue else {
            return;
        };
        let reply = self.output.written();
        if reply.is_empty() {
            return;
        }
        if self.core.violation().is_some() {
            queue.drop_frames();
        }
        match self.core.state() == State::Open || self.core.violation().is_some() {
            true => queue.reply(reply),
            false => queue.append_frames(reply),
        }
        self.output.clear();
        if queue.len() >= self.marks.high {
            self.over_high_water();
        }
    }

    /// A server does not read from a peer that does not read. Of two ends that both did so, neither
    /// might ever read again: a client always reads.
    fn over_high_water(&mut self) {
        if self.core.role() == Role::Server {
            self.flags.over_high_water = true;
            self.brake = true;
        }
    }

    /// The transport is of no use any more.
    #[cold]
    pub(super) fn break_off(&mut self, error: io::Error) {
        *self.queue = None;
        self.output.clear();
        self.brake = true;
        self.error.get_or_insert(error);
    }
}

fn refuse(error: SendError) -> Sent {
    Sent::Refused(match error {
        SendError::Full => Refused::Full,
        SendError::Closing => Refused::Closing,
        SendError::Misuse(misuse) => Refused::Misuse(misuse),
    })
}

/// Writes the parts one behind the other until the sink would block.
fn write_parts(sink: &mut dyn Source, parts: &[&[u8]], written: &mut usize) -> io::Result<()> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    while *written < len {
        let mut slices = [IoSlice::new(&[]); 3];
        let mut skip = *written;
        let mut count = 0;
        for part in parts {
            let rest = part.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(part.len());
            if !rest.is_empty() {
                slices[count] = IoSlice::new(rest);
                count += 1;
            }
        }
        let result = match &slices[..count] {
            [one] => sink.write(one),
            many => sink.write_vectored(many),
        };
        match result {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => *written += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

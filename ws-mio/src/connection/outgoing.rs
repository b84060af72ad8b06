//! What was sent, on its way: corked, then written, and what the source does not take is queued.

use std::{
    io::{self, ErrorKind, IoSlice},
    mem, thread,
};

use ws_proto::{
    CloseCode, MessageKind, Output, Role, SEND_ROOM, SendError, State, frame::FrameHeader,
};

use super::{
    Overflow, Refused, Sender, Sent, Source,
    memory::{Fate, Memory},
    queue::{Kind, Queue},
    sender::{Core, DIRECT, refuse},
};

impl Sender<'_> {
    /// What the fast path did not take.
    #[inline(never)]
    pub(super) fn send_slowly(
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
    pub(super) fn is_direct(&self, payload: &[u8]) -> bool {
        payload.len() >= DIRECT
            && self.core.role() == Role::Server
            && self.queue.is_none()
            && self.error.is_none()
            && self.fate.pending().is_none()
    }

    /// Writes what is corked, and this frame from where it lies. What the socket does not take is
    /// copied to the queue. A message with memory of its own is not even written yet: when it has
    /// been reported, its memory can be had.
    pub(super) fn write_directly(
        &mut self,
        header: Result<FrameHeader, SendError>,
        payload: &[u8],
    ) -> Sent {
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
            self.flush();
            if self.queued() >= self.marks.high {
                self.over_high_water();
            }
            return;
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
    pub(super) fn expect_memory(&mut self, len: usize) {
        let mut queue = Box::new(Queue::expecting(len));
        queue.append_frames(self.output.written());
        self.output.clear();
        *self.queue = Some(queue);
    }

    /// Appends to what is corked, or to the queue.
    #[inline(never)]
    pub(super) fn append(
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

    /// Appends to what is corked, which is written first if it is in the way; `None` if there is a
    /// queue, or what is to be sent is too long to be corked.
    pub(super) fn cork(
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

    /// Whether a frame with `len` bytes of payload may wait.
    pub(super) fn admit(&mut self, len: usize) -> Result<(), Refused> {
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

    pub(super) fn enqueue(
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
                    self.flags.over_high_water = false;
                }
                refuse(error)
            }
        }
    }

    /// Makes room for a frame of `len` bytes in the way that [`Overflow`] names.
    pub(super) fn make_room(&mut self, len: usize) -> Result<(), Refused> {
        let Some(queue) = self.queue else {
            return Ok(());
        };
        match self.flags.overflow {
            Overflow::Reject => Err(Refused::Full),
            Overflow::DropOldest => {
                let most = self.marks.limit.checked_sub(len).ok_or(Refused::Full)?;
                let dropped = queue.drop_oldest(most).ok_or(Refused::Full)?;
                let dropped = u16::try_from(dropped).unwrap_or(u16::MAX);
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

    pub(super) fn sent(&mut self) -> Sent {
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
    pub(super) fn flush_queue(&mut self) {
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
        let before = queue.len();
        let result = queue.write_to(self.source);
        let queued = queue.len();
        self.flags.progressed |= queued < before;
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
    pub(super) fn flush_slowly(&mut self, first: io::Result<usize>) {
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
    pub(super) fn over_high_water(&mut self) {
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

/// A callback that panics takes nothing away that was sent before: the rest of the turn is skipped,
/// but not its write.
impl Drop for Sender<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            // The message that was being reported is lost, and its memory with it.
            let is_unsent = self.fate.take().pending().is_some();
            if is_unsent
                && self
                    .queue
                    .as_ref()
                    .is_some_and(|queue| queue.expected() > 0)
            {
                return *self.queue = None;
            }
            self.flush();
        }
    }
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

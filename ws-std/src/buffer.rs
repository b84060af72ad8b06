//! The two buffers of a connection: [`Inbox`] between reads, [`Outbox`] between writes.

use std::{
    io::{self, ErrorKind, IoSlice, Write},
    time::{Duration, Instant},
};

use ws_proto::{
    Output, Role, SEND_ROOM,
    frame::{FrameHeader, mask::MaskingKey},
};

use crate::{keys::ThreadKeys, opening::SHORTEST, transport::Transport};

/// What was read and not taken yet.
pub(crate) struct Inbox {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Inbox {
    /// The capacity is held within bounds: any control frame has to fit, and memory is finite.
    pub(crate) fn new(capacity: usize) -> Self {
        const LEAST: usize = 256;
        const MOST: usize = 64 << 20;
        Self {
            bytes: vec![0; capacity.clamp(LEAST, MOST)].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }

    pub(crate) fn unread_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.end).unwrap_or_default()
    }

    pub(crate) fn unread(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// All but the last `unread` bytes are taken.
    pub(crate) fn keep(&mut self, unread: usize) {
        self.start = self.end.saturating_sub(unread);
    }

    /// The free memory behind the unread bytes, which move to the front: they are the beginning of
    /// a frame, at most 130 bytes, or a head that is read once.
    pub(crate) fn free_mut(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// The first `n` bytes of [`free_mut`](Self::free_mut) were read.
    pub(crate) fn filled(&mut self, n: usize) {
        self.end = self.end.saturating_add(n).min(self.bytes.len());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(crate) fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

/// What is to be written: whole frames, of which the first may have left in part.
pub(crate) struct Outbox {
    bytes: Box<[u8]>,
    /// What has left. Short writes move this, never the bytes.
    start: usize,
    end: usize,
    role: Role,
    keys: ThreadKeys,
    /// Nothing can be written any more.
    broken: Option<ErrorKind>,
    /// A write found no room, and what was queued then has not left yet.
    is_stalled: bool,
}

impl Outbox {
    pub(crate) fn new(role: Role, capacity: usize) -> Self {
        Self {
            bytes: vec![0; capacity].into_boxed_slice(),
            start: 0,
            end: 0,
            role,
            keys: ThreadKeys::default(),
            broken: None,
            is_stalled: false,
        }
    }

    /// Lends the buffer to the protocol, which appends to it.
    #[inline]
    pub(crate) fn with<R>(&mut self, append: impl FnOnce(&mut Output<'_>) -> R) -> R {
        let mut output = match self.role {
            Role::Server => Output::new(&mut self.bytes),
            Role::Client => Output::masked(&mut self.bytes, &mut self.keys),
        }
        .resume(self.end);
        let result = append(&mut output);
        self.end = output.len();
        if self.broken.is_some() {
            // Replies that nobody will write must not fill the buffer: without room for a reply
            // nothing more is received.
            (self.start, self.end) = (0, 0);
        }
        result
    }

    /// Nothing can be written any more.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// Whether the next to send has to wait until what is queued has left.
    pub(crate) fn is_stalled(&self) -> bool {
        self.is_stalled
    }

    pub(crate) fn room(&self) -> usize {
        self.bytes.len() - self.end
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The longest payload that fits into the empty buffer, with its header before it and the room
    /// for replies behind.
    pub(crate) fn longest_payload(&self) -> usize {
        self.bytes.len().saturating_sub(SEND_ROOM)
    }

    /// Nothing can be written any more: what is queued is given up.
    pub(crate) fn give_up(&mut self, why: ErrorKind) {
        // What came too late once would otherwise look as if it could be tried again.
        self.broken.get_or_insert(match why {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => ErrorKind::BrokenPipe,
            why => why,
        });
        (self.start, self.end) = (0, 0);
    }

    /// Writes what is queued. When that fails the rest stays queued, unless the stream is broken.
    #[inline]
    pub(crate) fn flush<W: Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.is_empty() {
            return self.intact();
        }
        self.flush_some(writer)
    }

    fn flush_some<W: Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.intact()?;
        self.keys.expire();
        while let Some(rest) = self
            .bytes
            .get(self.start..self.end)
            .filter(|rest| !rest.is_empty())
        {
            match written(writer.write(rest)) {
                Ok(n) => self.start = self.start.saturating_add(n).min(self.end),
                Err(error) => return Err(self.judge(error)),
            }
        }
        (self.start, self.end) = (0, 0);
        self.is_stalled = false;
        writer.flush()
    }

    /// Writes what is queued, as far as it goes in this time: a peer that takes a byte now and then
    /// must not stretch it.
    pub(crate) fn flush_within<S: Transport>(
        &mut self,
        stream: &mut S,
        patience: Duration,
    ) -> io::Result<()> {
        let begun = Instant::now();
        while !self.is_empty() {
            self.intact()?;
            let left = patience.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            stream.set_write_timeout(Some(left.max(SHORTEST)))?;
            let rest = self.bytes.get(self.start..self.end).unwrap_or_default();
            match written(stream.write(rest)) {
                Ok(n) => self.start = self.start.saturating_add(n).min(self.end),
                Err(error) => return Err(self.judge(error)),
            }
        }
        self.flush(stream)
    }

    /// Writes what is queued, a header, and its payload, which is too long for this buffer.
    ///
    /// A failure in the middle of the payload breaks the stream: the rest is not ours to keep.
    pub(crate) fn write_through<W: Write>(
        &mut self,
        writer: &mut W,
        header: &FrameHeader,
        payload: &[u8],
    ) -> io::Result<()> {
        let result = match header.masking_key {
            None => self.write_vectored(writer, &header.to_bytes(), payload),
            Some(key) => self.write_masked(writer, &header.to_bytes(), key, payload),
        };
        result.map_err(|error| {
            self.give_up(error.kind());
            // Where a stream says "would block" for "too late", this is not the time to try again.
            if is_timeout(&error) {
                ErrorKind::TimedOut.into()
            } else {
                error
            }
        })
    }

    fn write_vectored<W: Write>(
        &mut self,
        writer: &mut W,
        header: &[u8],
        payload: &[u8],
    ) -> io::Result<()> {
        self.intact()?;
        let queued = self.bytes.get(self.start..self.end).unwrap_or_default();
        let mut slices = [queued, header, payload].map(IoSlice::new);
        let mut rest = &mut slices[..];
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let n = written(writer.write_vectored(rest))?;
            IoSlice::advance_slices(&mut rest, n);
        }
        (self.start, self.end) = (0, 0);
        writer.flush()
    }

    fn write_masked<W: Write>(
        &mut self,
        writer: &mut W,
        header: &[u8],
        mut key: MaskingKey,
        mut payload: &[u8],
    ) -> io::Result<()> {
        if self.room() < header.len() {
            self.flush(writer)?;
        }
        if let Some(to) = self.bytes.get_mut(self.end..self.end + header.len()) {
            to.copy_from_slice(header);
            self.end += header.len();
        }
        while !payload.is_empty() {
            let (piece, rest) = payload.split_at(payload.len().min(self.room()));
            if let Some(to) = self.bytes.get_mut(self.end..self.end + piece.len()) {
                key.copy(piece, to);
                self.end += piece.len();
            }
            key = key.skip(piece.len());
            payload = rest;
            self.flush(writer)?;
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn intact(&self) -> io::Result<()> {
        match self.broken {
            None => Ok(()),
            Some(kind) => Err(kind.into()),
        }
    }

    /// A writer that has no time now is resumed later; any other failure is for good.
    fn judge(&mut self, error: io::Error) -> io::Error {
        if is_timeout(&error) {
            self.is_stalled = true;
        } else {
            self.give_up(error.kind());
        }
        error
    }
}

/// Whether a read or write took longer than it may, in the words of either operating system.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// How much a write wrote. A writer that takes nothing and says so without an error would be asked
/// for ever.
fn written(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Ok(0) => Err(ErrorKind::WriteZero.into()),
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(0),
        result => result,
    }
}

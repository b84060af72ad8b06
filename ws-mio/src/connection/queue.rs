//! [`Queue`]: what a slow peer has not taken yet, frame by frame.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice},
    ops::Range,
};

use ws_proto::frame::{FrameHeader, Opcode, header::MAX_HEADER};

use super::Source;

/// Frames that wait for the peer to take them, in order; and replies, which overtake at the next
/// frame boundary, so that a pong does not wait behind a megabyte.
///
/// ```text
///   begun ─▶ urgent ─▶ segment, segment, ..
///   the rest  replies   whole frames
///   of a frame
/// ```
///
/// Only whole frames can be dropped: those in the segments, of which nothing is written.
#[derive(Debug, Default)]
pub(super) struct Queue {
    begun: Begun,
    /// Memory that was begun and is written.
    spent: Option<Vec<u8>>,
    urgent: Vec<u8>,
    segments: VecDeque<Segment>,
    /// Bytes of a frame whose memory is still to be [donated](Queue::donate): it comes first.
    expected: usize,
    /// The bytes of all of them.
    len: usize,
    /// When the rest is given up on, once the WebSocket has ended.
    pub(super) end_ms: Option<u64>,
}

/// The rest of what is partly written.
#[derive(Debug, Default)]
struct Begun {
    memory: Vec<u8>,
    rest: Range<usize>,
}

/// Whole frames of one kind, in one piece of memory.
#[derive(Debug)]
struct Segment {
    bytes: Vec<u8>,
    /// `bytes[start..]` is to be written; it begins with a frame.
    start: usize,
    kind: Kind,
}

/// What may become of frames that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Whole messages, which may be dropped for newer ones.
    Messages,
    /// A message that the next one with the same key replaces.
    Latest(u64),
    /// Control frames and fragments, without which the rest makes no sense.
    Kept,
}

impl Queue {
    /// The rest of `frames`, of whose bytes the first `written` have left. The first of the frames
    /// is whole, and so are all the others.
    pub(super) fn resume(frames: &[&[u8]], written: usize) -> Self {
        let mut memory = Vec::new();
        let mut skip = written;
        for part in frames {
            let rest = part.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(part.len());
            memory.extend_from_slice(rest);
        }
        Self {
            len: memory.len(),
            begun: Begun::from(memory),
            ..Self::default()
        }
    }

    /// The rest of a frame, `len` bytes, which is to be [donated](Self::donate) before anything is
    /// written.
    pub(super) fn expecting(len: usize) -> Self {
        Self {
            expected: len,
            len,
            ..Self::default()
        }
    }

    /// The memory that this queue was expecting: `rest` of it is to be written.
    pub(super) fn donate(&mut self, memory: Vec<u8>, rest: Range<usize>) {
        debug_assert_eq!(self.expected, rest.len(), "what was expected");
        self.expected = 0;
        self.begun = Begun { memory, rest };
    }

    /// Memory that is worth keeping, once it is written.
    pub(super) fn take_spent(&mut self) -> Option<Vec<u8>> {
        self.spent.take()
    }

    /// As [`resume`](Self::resume), for many frames in one piece: those that are not begun can be
    /// overtaken and dropped.
    pub(super) fn resume_frames(frames: &[u8], written: usize) -> Self {
        let boundary = boundary(frames, written);
        let mut queue = Self::resume(&[frames.get(..boundary).unwrap_or_default()], written);
        queue.append_frames(frames.get(boundary..).unwrap_or_default());
        queue
    }

    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many of them the peer was not even offered yet.
    pub(super) fn expected(&self) -> usize {
        self.expected
    }

    /// Appends what `write` writes into a buffer of `room` bytes, in order.
    pub(super) fn append<E>(
        &mut self,
        kind: Kind,
        room: usize,
        write: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        // Small frames share memory; a segment that is being written is short.
        const SHARED: usize = 16 << 10;
        let shares = self.segments.back().is_some_and(|last| {
            let is_alike = last.kind == kind && !matches!(kind, Kind::Latest(_));
            is_alike && last.bytes.len() + room <= SHARED
        });
        if !shares {
            self.segments.push_back(Segment {
                bytes: Vec::new(),
                start: 0,
                kind,
            });
        }
        let Some(last) = self.segments.back_mut() else {
            return Ok(());
        };
        let start = last.bytes.len();
        last.bytes.resize(start + room, 0);
        let written = write(last.bytes.get_mut(start..).unwrap_or_default());
        let len = *written.as_ref().unwrap_or(&0);
        last.bytes.truncate(start + len);
        if last.bytes.is_empty() {
            self.segments.pop_back();
        } else if last.bytes.capacity() / 2 > last.bytes.len() {
            last.bytes.shrink_to_fit();
        }
        self.len += len;
        if len > 0 && matches!(kind, Kind::Latest(_)) {
            self.drop_replaced(kind);
        }
        written.map(|_| ())
    }

    /// Appends frames that are encoded already, in order. Pongs among them are replies, so that those
    /// to come do not overtake them.
    pub(super) fn append_frames(&mut self, frames: &[u8]) {
        let mut rest = frames;
        while !rest.is_empty() {
            let kind = Kind::of(rest);
            let mut end = 0;
            while end < rest.len() && !is_pong(&rest[end..]) && Kind::of(&rest[end..]) == kind {
                end += frame_len(&rest[end..]);
            }
            if end == 0 {
                let (pong, behind) = rest.split_at(frame_len(rest).min(rest.len()));
                self.reply(pong);
                rest = behind;
                continue;
            }
            let (bytes, behind) = rest.split_at(end.min(rest.len()));
            self.len += bytes.len();
            self.segments.push_back(Segment {
                bytes: bytes.to_vec(),
                start: 0,
                kind,
            });
            rest = behind;
        }
    }

    /// Adds replies, which are written at the next frame boundary.
    ///
    /// RFC 6455 §5.5.3: "If an endpoint receives a Ping frame and has not yet sent Pong frame(s) in
    /// response to previous Ping frame(s), the endpoint MAY elect to send a Pong frame for only the
    /// most recently processed Ping frame." So a peer that pings and does not read costs little.
    pub(super) fn reply(&mut self, frames: &[u8]) {
        const MOST: usize = 4 << 10;
        if self.urgent.len() + frames.len() > MOST {
            let before = self.urgent.len();
            drop_pongs(&mut self.urgent);
            self.len -= before - self.urgent.len();
        }
        self.urgent.extend_from_slice(frames);
        self.len += frames.len();
    }

    /// Drops all of which nothing is written.
    pub(super) fn drop_frames(&mut self) {
        self.urgent = Vec::new();
        self.segments = VecDeque::new();
        self.len = self.begun.rest.len() + self.expected;
    }

    /// Drops the oldest messages until at most `most` bytes wait. How many messages that were;
    /// `None`, and nothing is dropped, if what must be kept is more.
    pub(super) fn drop_oldest(&mut self, most: usize) -> Option<u32> {
        let messages = self.segments.iter().filter(|s| s.kind != Kind::Kept);
        let droppable: usize = messages.map(Segment::len).sum();
        if self.len - droppable > most {
            return None;
        }
        let mut dropped = 0;
        let mut at = 0;
        while self.len > most
            && let Some(segment) = self.segments.get_mut(at)
        {
            if segment.kind == Kind::Kept {
                at += 1;
                continue;
            }
            let len = frame_len(segment.rest());
            segment.start += len;
            self.len -= len;
            dropped += 1;
            if segment.len() == 0 {
                self.segments.remove(at);
            }
        }
        Some(dropped)
    }

    /// All that waits, in the order in which it would be written.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        let mut bytes = self.begun.bytes().to_vec();
        bytes.extend_from_slice(&self.urgent);
        for segment in &self.segments {
            bytes.extend_from_slice(segment.rest());
        }
        bytes
    }

    /// Writes until all is written or the sink would block.
    pub(super) fn write_to(&mut self, sink: &mut dyn Source) -> io::Result<()> {
        const AT_ONCE: usize = 16;
        while self.len > 0 {
            let mut slices = [IoSlice::new(&[]); AT_ONCE];
            let first = [self.begun.bytes(), &self.urgent];
            let rest = self.segments.iter().map(Segment::rest);
            let parts = first
                .into_iter()
                .chain(rest)
                .filter(|part| !part.is_empty());
            let mut count = 0;
            for (slice, part) in slices.iter_mut().zip(parts) {
                *slice = IoSlice::new(part);
                count += 1;
            }
            match sink.write_vectored(&slices[..count]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => self.advance(n),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The first `n` bytes have left.
    fn advance(&mut self, mut n: usize) {
        self.len -= n;
        let begun = self.begun.rest.len();
        self.begun.rest.start += n.min(begun);
        if n < begun {
            return;
        }
        n -= begun;
        let spent = std::mem::take(&mut self.begun).memory;
        if !spent.is_empty() {
            self.spent = Some(spent);
        }
        if n == 0 {
            return;
        }
        if n <= self.urgent.len() {
            // Only the frame that is begun: what is left of the replies is not too much for more.
            let behind = self.urgent.split_off(boundary(&self.urgent, n));
            let urgent = std::mem::replace(&mut self.urgent, behind);
            if n < urgent.len() {
                self.begun = Begun::from(urgent);
                self.begun.rest.start = n;
            }
            return;
        }
        n -= self.urgent.len();
        self.urgent = Vec::new();
        while let Some(segment) = self.segments.front_mut() {
            if n < segment.len() {
                break;
            }
            n -= segment.len();
            self.segments.pop_front();
        }
        if n > 0 {
            self.begin_segment(n);
        }
    }

    /// The first `n` bytes of the first segment have left: the rest of the frame that they end in
    /// is begun.
    fn begin_segment(&mut self, n: usize) {
        let Some(segment) = self.segments.front_mut() else {
            return;
        };
        let boundary = boundary(segment.rest(), n);
        if boundary == segment.len() {
            self.begun.rest = segment.start + n..segment.bytes.len();
            self.begun.memory = std::mem::take(&mut segment.bytes);
            self.segments.pop_front();
        } else {
            let rest = segment.rest().get(n..boundary).unwrap_or_default();
            self.begun = Begun::from(rest.to_vec());
            segment.start += boundary;
        }
    }

    /// Drops the message that the last one replaces.
    fn drop_replaced(&mut self, kind: Kind) {
        let older = self.segments.len() - 1;
        let mut old = self.segments.iter().take(older);
        if let Some(at) = old.position(|old| old.kind == kind)
            && let Some(old) = self.segments.remove(at)
        {
            self.len -= old.len();
        }
    }
}

impl Kind {
    /// Of the frame at the start of `frames`.
    fn of(frames: &[u8]) -> Self {
        match frames.first() {
            Some(0x81 | 0x82) => Self::Messages,
            _ => Self::Kept,
        }
    }
}

impl Begun {
    fn bytes(&self) -> &[u8] {
        self.memory.get(self.rest.clone()).unwrap_or_default()
    }
}

impl From<Vec<u8>> for Begun {
    fn from(memory: Vec<u8>) -> Self {
        Self {
            rest: 0..memory.len(),
            memory,
        }
    }
}

impl Segment {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    fn len(&self) -> usize {
        self.bytes.len() - self.start
    }
}

/// Where the first frame ends that ends at or behind `at`.
fn boundary(frames: &[u8], at: usize) -> usize {
    let mut end = 0;
    while end < at {
        end += frame_len(frames.get(end..).unwrap_or_default());
    }
    end.min(frames.len())
}

/// The length of the frame at the start of `frames`, which are our own.
fn frame_len(frames: &[u8]) -> usize {
    let header = frames.get(..MAX_HEADER).unwrap_or(frames);
    match FrameHeader::parse(header) {
        Ok(Some((header, len))) => {
            usize::try_from(header.payload_len).map_or(frames.len(), |payload| len + payload)
        }
        // What is not a frame of ours is one piece.
        _ => frames.len().max(1),
    }
}

fn is_pong(frames: &[u8]) -> bool {
    frames
        .first()
        .is_some_and(|first| first & 0x0F == Opcode::Pong as u8)
}

/// Keeps what is no Pong.
fn drop_pongs(frames: &mut Vec<u8>) {
    let mut kept = Vec::new();
    let mut rest = &frames[..];
    while !rest.is_empty() {
        let (frame, behind) = rest.split_at(frame_len(rest).min(rest.len()));
        if !is_pong(frame) {
            kept.extend_from_slice(frame);
        }
        rest = behind;
    }
    *frames = kept;
}

#[cfg(test)]
mod tests;

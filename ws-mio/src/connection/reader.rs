//! [`Reader`]: the receiving half of a connection, for one turn.

use std::{
    io::{self, ErrorKind, IoSliceMut},
    mem,
};

use ws_proto::{Event, Messages, REPLY_ROOM, State, Want};

use super::{
    Delivery, Sender, ShortRead, Source,
    memory::{Fate, Lent, Memory},
};

/// Input that could not be reported yet.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// `unread[at..]` was read and is not received: part of a header or of a control frame, or all
    /// that lay behind a pause.
    pub(super) unread: Vec<u8>,
    at: usize,
    /// A message that comes in pieces.
    pub(super) messages: Option<Messages<Memory>>,
}

/// The receiving half, for one turn.
pub(super) struct Reader<'a> {
    pub(super) parts: &'a mut Option<Box<Parts>>,
    pub(super) input: &'a mut [u8],
}

/// The most that is read at once straight into the memory of a message, in fairness to others: about
/// a tenth of a millisecond.
const STRETCH: usize = 1 << 20;

/// From here on reading a message in two steps costs less than copying its beginning.
const LARGE: usize = 128 << 10;

/// What is read where a large message may begin.
const GLANCE: usize = 4 << 10;

impl<'a> Reader<'a> {
    /// Reads once, and reports all that came.
    pub(super) fn receive_once<X: AsMut<Sender<'a>>>(
        &mut self,
        cx: &mut X,
        on_event: &mut impl FnMut(Event<'_>, &mut X),
    ) {
        let kept = match self.parts {
            Some(parts) => {
                let unread = parts.unread();
                let sender = cx.as_mut();
                let want = sender.core.wants(unread, sender.output.room());
                // Behind a Close that is not answered yet nothing is wanted, however much it is.
                if want == Want::Event || unread.len() >= REPLY_ROOM {
                    return self.receive_kept(cx, on_event);
                }
                if unread.is_empty() && parts.messages.is_some() {
                    return self.receive_message(cx, on_event);
                }
                // It is less than a control frame.
                let len = unread.len();
                self.input[..len].copy_from_slice(unread);
                parts.forget_unread();
                len
            }
            None => 0,
        };
        let sender = cx.as_mut();
        let input = mem::take(&mut self.input);
        // Of a large message little is read here, so that little is copied to its own memory.
        let end = match sender.flags.expects_large {
            true => input.len().min(kept + GLANCE),
            false => input.len(),
        };
        let read = sender.read(&mut input[kept..end]);
        sender.flags.expects_large &= read == 0;
        let rest = self.receive(&mut input[..kept + read], cx, on_event);
        let is_all = rest.is_empty();
        if !is_all {
            self.parts.get_or_insert_default().keep(rest);
        }
        self.input = input;
        // The rest of a large message at once, while its beginning is in the caches.
        if is_all && self.is_inside_large(cx.as_mut()) {
            return self.receive_message(cx, on_event);
        }
        self.finish(cx, on_event);
    }

    /// Whether the source may have more of a large message.
    fn is_inside_large(&self, sender: &Sender<'_>) -> bool {
        let is_stored = self
            .parts
            .as_ref()
            .is_some_and(|parts| parts.messages.is_some());
        is_stored
            && sender.flags.readable
            && !sender.brake
            && sender.core.payload_remaining() > LARGE as u64
    }

    /// Receives from what lay behind a pause.
    fn receive_kept<X: AsMut<Sender<'a>>>(
        &mut self,
        cx: &mut X,
        on_event: &mut impl FnMut(Event<'_>, &mut X),
    ) {
        let Some(parts) = self.parts else { return };
        let mut unread = mem::take(&mut parts.unread);
        let at = parts.at;
        let rest = self.receive(&mut unread[at..], cx, on_event).len();
        let parts = self.parts.get_or_insert_default();
        parts.at = unread.len() - rest;
        if rest < REPLY_ROOM {
            // Most often nothing, or part of a frame: that need not own what it came with.
            unread = unread.split_off(parts.at);
            parts.at = 0;
        }
        parts.unread = unread;
        self.finish(cx, on_event);
    }

    /// Reads the rest of a large frame to where its message is put together.
    fn receive_message<X: AsMut<Sender<'a>>>(
        &mut self,
        cx: &mut X,
        on_event: &mut impl FnMut(Event<'_>, &mut X),
    ) {
        let sender = cx.as_mut();
        let mut behind = 0;
        if let Some(messages) = self
            .parts
            .as_mut()
            .and_then(|parts| parts.messages.as_mut())
        {
            let room = sender.output.room();
            let spare = messages.spare_mut(sender.core, room).unwrap_or_default();
            let len = spare.len().min(STRETCH);
            let spare = &mut spare[..len];
            // What follows comes with it, so that a short read tells that nothing is left.
            let read = sender.read_two(spare, self.input);
            behind = read.saturating_sub(len);
            let event = messages.commit(read.min(len), sender.core, &mut sender.output);
            sender.settle_reply();
            if let Some(event) = event {
                report_own(event, cx, on_event);
                self.settle_message(cx.as_mut());
            }
        }
        let input = mem::take(&mut self.input);
        let rest = match cx.as_mut().brake {
            true => &mut input[..behind],
            false => self.receive(&mut input[..behind], cx, on_event),
        };
        if !rest.is_empty() {
            self.parts.get_or_insert_default().keep(rest);
        }
        self.finish(cx, on_event);
    }

    /// Reports what is in `input`, and gives what is left of it.
    #[inline]
    fn receive<'b, X: AsMut<Sender<'a>>>(
        &mut self,
        mut input: &'b mut [u8],
        cx: &mut X,
        on_event: &mut impl FnMut(Event<'_>, &mut X),
    ) -> &'b mut [u8] {
        loop {
            let sender = cx.as_mut();
            let Some(event) = sender.core.receive(&mut input, &mut sender.output) else {
                if sender.output.room() >= REPLY_ROOM {
                    break;
                }
                // All that is corked leaves, or goes to the queue.
                sender.flush();
                if sender.brake {
                    break;
                }
                continue;
            };
            if sender.queue.is_some() {
                sender.settle_reply();
            }
            match event {
                Event::Chunk(chunk)
                    if sender.flags.delivery == Delivery::Messages && !chunk.compressed =>
                {
                    let parts = self.parts.get_or_insert_default();
                    let messages = parts
                        .messages
                        .get_or_insert_with(|| Messages::new(Memory::over(sender.pool.take())));
                    let event = messages.add(chunk, sender.core, &mut sender.output);
                    sender.settle_reply();
                    if let Some(event) = event {
                        report_own(event, cx, on_event);
                        self.settle_message(cx.as_mut());
                    }
                }
                event => on_event(event, cx),
            }
            let sender = cx.as_mut();
            if sender.brake || input.is_empty() && sender.core.state() == State::Open {
                break;
            }
        }
        input
    }

    /// The end of the input, and memory that is not needed any more.
    fn finish<X: AsMut<Sender<'a>>>(
        &mut self,
        cx: &mut X,
        on_event: &mut impl FnMut(Event<'_>, &mut X),
    ) {
        let sender = cx.as_mut();
        if sender.flags.ended && sender.may_receive() {
            let unread = self.parts.as_ref().map_or(&[][..], |parts| parts.unread());
            let is_all = sender.core.wants(unread, sender.output.room()) != Want::Event;
            if is_all && let Some(event) = sender.core.end_of_input() {
                on_event(event, cx);
            }
        }
        if let Some(parts) = self.parts
            && parts.messages.is_none()
            && parts.unread().is_empty()
        {
            *self.parts = None;
        }
    }

    /// A message was reported: it is sent from its memory, or that serves the next one.
    fn settle_message(&mut self, sender: &mut Sender<'_>) {
        let messages = self.parts.as_mut().and_then(|parts| parts.messages.take());
        if let Some(messages) = messages {
            sender.settle_memory(messages.into_storage());
        }
    }
}

/// Reports a message that has memory of its own, which is not needed behind it.
fn report_own<'a, X: AsMut<Sender<'a>>>(
    event: Event<'_>,
    cx: &mut X,
    on_event: &mut impl FnMut(Event<'_>, &mut X),
) {
    let message = match event {
        Event::Text(text) => text.as_bytes(),
        Event::Binary(bytes) => bytes,
        _ => return on_event(event, cx),
    };
    let sender = cx.as_mut();
    sender.fate = Fate::Lent(Lent::of(message));
    sender.flags.expects_large = message.len() > LARGE;
    on_event(event, cx);
}

impl Parts {
    pub(super) fn unread(&self) -> &[u8] {
        self.unread.get(self.at..).unwrap_or_default()
    }

    /// Puts `rest` in front of nothing: all that was unread has been presented.
    fn keep(&mut self, rest: &[u8]) {
        debug_assert!(
            self.unread().is_empty(),
            "input was read around what is unread"
        );
        self.at = 0;
        self.unread.clear();
        self.unread.extend_from_slice(rest);
    }

    fn forget_unread(&mut self) {
        self.at = 0;
        self.unread = Vec::new();
    }
}

/// Reading, which needs what the sending half holds: the source, and what is known of it.
impl Sender<'_> {
    pub(super) fn may_receive(&self) -> bool {
        !self.brake && !self.flags.paused && !self.flags.over_high_water && self.error.is_none()
    }

    /// Reads once. How many bytes came; what else there is to know is in the flags.
    #[inline]
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> usize {
        if !self.flags.readable || self.flags.ended {
            return 0;
        }
        match self.source.read(buffer) {
            Ok(n) if n > 0 => {
                self.note_read(n < buffer.len());
                n
            }
            result => self.read_slowly(result, |source| source.read(buffer)),
        }
    }

    /// As [`read`](Self::read), into one buffer and then the other.
    pub(super) fn read_two(&mut self, first: &mut [u8], second: &mut [u8]) -> usize {
        if !self.flags.readable || self.flags.ended {
            return 0;
        }
        let len = first.len();
        let buffers = &mut [IoSliceMut::new(first), IoSliceMut::new(second)];
        let room = len + buffers[1].len();
        let read = match self.source.read_vectored(buffers) {
            Ok(n) if n > 0 => n,
            result => self.read_slowly(result, |source| source.read_vectored(buffers)),
        };
        if read > 0 {
            // A source that fills one buffer at a time says nothing with a full one.
            self.note_read(read < room && read != len);
        }
        read
    }

    /// Whether more may be there than came.
    #[inline]
    fn note_read(&mut self, is_short: bool) {
        let is_all = is_short && self.flags.short_read == ShortRead::IsAll;
        self.flags.readable = !is_all || self.flags.read_closed;
    }

    /// What to do when nothing came; `again` is the same read.
    #[cold]
    fn read_slowly(
        &mut self,
        mut result: io::Result<usize>,
        mut again: impl FnMut(&mut dyn Source) -> io::Result<usize>,
    ) -> usize {
        loop {
            match result {
                Ok(0) => {
                    self.flags.ended = true;
                    self.flags.readable = false;
                    return 0;
                }
                Ok(n) => return n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    result = again(self.source);
                }
                Err(error) => {
                    self.flags.readable = false;
                    // There was no end: the next one is told by an edge of its own.
                    self.flags.read_closed = false;
                    if error.kind() != ErrorKind::WouldBlock {
                        self.break_off(error);
                    }
                    return 0;
                }
            }
        }
    }
}

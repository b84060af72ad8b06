//! State. Receiving: frames, fragments, control frames (RFC 6455 §5.2 to §6.2).

use core::borrow::Borrow;

use super::{Connection, Lifecycle};
use crate::{
    REPLY_ROOM, close,
    config::{Config, Reply},
    error::Violation,
    event::{Chunk, Event, MessageKind},
    frame::{
        FrameHeader, Opcode, Role,
        header::{FIN, MASK, Prefix, RSV1},
        mask::MaskingKey,
    },
    output::Output,
    utf8::{self, Utf8},
};

const WHOLE_TEXT: u8 = FIN | Opcode::Text as u8;
const WHOLE_BINARY: u8 = FIN | Opcode::Binary as u8;

/// What a connection needs before it can report the next event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Want {
    /// Nothing: the next [`receive`](Connection::receive) returns an event.
    Event,
    /// More input behind what is there.
    Input,
    /// Room in the output: at least [`REPLY_ROOM`] bytes.
    Output,
}

/// The frame and the message that are coming in.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    /// The bytes of the open message, by the headers seen so far.
    message_len: u64,
    expect: Expect,
    /// The frames of the open message.
    fragments: u32,
    utf8: Utf8,
    kind: MessageKind,
    compressed: bool,
    /// The next chunk is the first of its message.
    first: bool,
    /// A frame arrived since the last tick.
    pub(super) heard: bool,
}

/// What the next byte of the input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// A header; no message is open.
    Message,
    /// A header; a message is open.
    Fragment,
    /// Payload of a data frame.
    Payload {
        remaining: u64,
        key: MaskingKey,
        fin: bool,
    },
}

impl Incoming {
    pub(super) const fn new() -> Self {
        Self {
            message_len: 0,
            expect: Expect::Message,
            fragments: 0,
            utf8: Utf8::new(),
            kind: MessageKind::Binary,
            compressed: false,
            first: true,
            heard: false,
        }
    }
}

impl<C: Borrow<Config>> Connection<C> {
    /// Reports the next event in `input`, and advances `input` past what it took, the way
    /// `Read for &[u8]` does. Replies that the protocol owes are appended to `output`.
    ///
    /// It returns `None` when it needs more input, or room for a reply; [`wants`](Self::wants) says
    /// which. What is left in `input` then is at most a header (14 bytes) or an incomplete control
    /// frame (130 bytes), or anything if room is what it needs; it is to be presented again with
    /// more behind it. The payload of data frames is unmasked in place and handed out as it comes.
    ///
    /// After [`Event::Closed`], and while the answer to the peer's Close is the caller's to send, it
    /// discards its input.
    #[inline]
    pub fn receive<'b>(
        &mut self,
        input: &mut &'b mut [u8],
        output: &mut Output<'_>,
    ) -> Option<Event<'b>> {
        if self.lifecycle == Lifecycle::Open
            && self.incoming.expect == Expect::Message
            && output.room() >= REPLY_ROOM
            && let Some((first, payload)) = self.take_whole_message(input)
        {
            if first == WHOLE_BINARY {
                return Some(Event::Binary(payload));
            }
            // Each event is built where it is returned: moving one costs more than the frame.
            return match utf8::from_utf8(payload) {
                Some(text) => Some(Event::Text(text)),
                None => self.fail_in_text(payload, output),
            };
        }
        self.receive_step(input, output)
    }

    /// What the connection needs before it can report the next event, `input` being what is unread
    /// and `room` what is free in the output. It changes nothing.
    ///
    /// Drivers that lend events out of a buffer of their own loop on this question, fill the buffer
    /// or flush the output, and call [`receive`](Self::receive) once at the end.
    pub fn wants(&self, input: &[u8], room: usize) -> Want {
        match self.lifecycle {
            Lifecycle::FailureDue | Lifecycle::CloseDue => Want::Event,
            Lifecycle::Closed | Lifecycle::OweClose => Want::Input,
            _ if input.is_empty() => Want::Input,
            // The server goes on after both Closes: we need not wait for its end.
            Lifecycle::AwaitEnd => Want::Event,
            Lifecycle::Open if room < REPLY_ROOM => Want::Output,
            Lifecycle::Open | Lifecycle::AwaitClose => match self.incoming.expect {
                Expect::Payload { .. } => Want::Event,
                Expect::Message | Expect::Fragment => self.wants_of_frame(input),
            },
        }
    }

    /// Whether a message was begun and has not ended, as far as the input was received.
    pub fn is_inside_message(&self) -> bool {
        self.incoming.expect != Expect::Message
    }

    /// How many bytes of the current data frame's payload are still to come; 0 between frames, and
    /// when none is awaited any more because the connection has failed or ended.
    pub fn payload_remaining(&self) -> u64 {
        match (self.lifecycle, self.incoming.expect) {
            (Lifecycle::Open | Lifecycle::AwaitClose, Expect::Payload { remaining, .. }) => {
                remaining
            }
            _ => 0,
        }
    }

    /// Whether the next event will be a part of a message that does not end it, or the failure of
    /// one.
    pub(crate) fn next_is_part(&self, input: &[u8]) -> bool {
        if !matches!(self.lifecycle, Lifecycle::Open | Lifecycle::AwaitClose) {
            return false;
        }
        let (remaining, fin, here) = match self.incoming.expect {
            Expect::Payload { remaining, fin, .. } => (remaining, fin, input.len()),
            Expect::Message | Expect::Fragment => match self.judge(input) {
                Ok(Some((header, len))) if !header.opcode.is_control() => {
                    (header.payload_len, header.fin, input.len() - len)
                }
                _ => return false,
            },
        };
        let here = here as u64;
        if here < remaining { here > 0 } else { !fin }
    }

    /// Whether the next data is of a compressed message: the one that is open, or the one whose
    /// header lies in `input`.
    pub(crate) fn next_is_compressed(&self, input: &[u8]) -> bool {
        match self.incoming.expect {
            Expect::Message => input.first().is_some_and(|first| first & RSV1 != 0),
            _ => self.incoming.compressed,
        }
    }

    /// The fast path: an unfragmented, uncompressed message whose length has 7 or 16 bits, in one
    /// piece and within the limits: its first byte and its payload. Everything else, right or wrong,
    /// is left to the steps below.
    #[inline]
    fn take_whole_message<'b>(&mut self, input: &mut &'b mut [u8]) -> Option<(u8, &'b mut [u8])> {
        let (&[first, second], rest) = input.split_first_chunk()?;
        if first != WHOLE_TEXT && first != WHOLE_BINARY {
            return None;
        }
        let (len7, mask_len) = match self.role {
            Role::Server => (second ^ MASK, MaskingKey::LEN),
            Role::Client => (second, 0),
        };
        let (len, len_end) = match len7 {
            0..=125 => (usize::from(len7), 2),
            126 => {
                let len = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
                (len, if len > 125 { 4 } else { return None })
            }
            _ => return None,
        };
        let header_len = len_end + mask_len;
        // Subtracted, because the sum does not fit where `usize` has 16 bits.
        let here = input.len().checked_sub(header_len)?;
        if here < len || !self.config.borrow().limits.max_message.allows(len as u64) {
            return None;
        }
        let key = input.get(len_end..)?.first_chunk().copied();
        let (frame, rest) = core::mem::take(input).split_at_mut_checked(header_len + len)?;
        let (_, payload) = frame.split_at_mut_checked(header_len)?;
        *input = rest;
        if let (Role::Server, Some(key)) = (self.role, key) {
            MaskingKey::from(key).apply(payload);
        }
        self.incoming.heard = true;
        Some((first, payload))
    }

    /// The text is whole and wrong: its good beginning is reported as it would have been had it
    /// come byte by byte, and the failure next.
    #[cold]
    fn fail_in_text<'b>(
        &mut self,
        payload: &'b [u8],
        output: &mut Output<'_>,
    ) -> Option<Event<'b>> {
        let mut utf8 = Utf8::new();
        // A text that ends inside a character is wrong at its last byte.
        let wrong = utf8.take(payload).err().unwrap_or(payload.len() - 1);
        let good = payload.get(..wrong).unwrap_or_default();
        Some(self.report_until(MessageKind::Text, good, true, output))
    }

    /// Breaks off for bad UTF-8 behind `good`, which is reported first if there is any.
    fn report_until<'b>(
        &mut self,
        kind: MessageKind,
        good: &'b [u8],
        first: bool,
        output: &mut Output<'_>,
    ) -> Event<'b> {
        self.break_off(Violation::InvalidUtf8, output);
        if good.is_empty() {
            return Event::Failed(Violation::InvalidUtf8);
        }
        self.lifecycle = Lifecycle::FailureDue;
        Event::Chunk(Chunk {
            kind,
            bytes: good,
            first,
            last: false,
            compressed: false,
        })
    }

    /// One step of the lifecycle and the frame machine.
    #[inline(never)]
    fn receive_step<'b>(
        &mut self,
        input: &mut &'b mut [u8],
        output: &mut Output<'_>,
    ) -> Option<Event<'b>> {
        match (self.lifecycle, self.violation) {
            (Lifecycle::FailureDue, Some(violation)) => {
                self.lifecycle = Lifecycle::CloseDue;
                return Some(Event::Failed(violation));
            }
            (Lifecycle::FailureDue | Lifecycle::CloseDue, _) => return Some(self.report_closed()),
            (Lifecycle::AwaitEnd, _) if !input.is_empty() => return Some(self.report_closed()),
            (Lifecycle::Open, _) if output.room() < REPLY_ROOM => return None,
            (Lifecycle::Open | Lifecycle::AwaitClose, _) => {}
            // RFC 6455 §1.4: "after receiving a control frame indicating the connection should be
            // closed, a peer discards any further data received."
            (Lifecycle::Closed | Lifecycle::OweClose, _) => {
                *input = &mut [];
                return None;
            }
            (Lifecycle::AwaitEnd, _) => return None,
        }
        match self.incoming.expect {
            Expect::Payload {
                remaining,
                key,
                fin,
            } => self.receive_payload(input, output, remaining, key, fin),
            Expect::Message | Expect::Fragment => self.receive_frame(input, output),
        }
    }

    /// A header, and with it a whole control frame or the first bytes of a data frame.
    fn receive_frame<'b>(
        &mut self,
        input: &mut &'b mut [u8],
        output: &mut Output<'_>,
    ) -> Option<Event<'b>> {
        let (header, header_len) = match self.judge(input) {
            Ok(Some(header)) => header,
            Ok(None) => return None,
            Err(violation) => return self.fail(violation, output),
        };
        if header.opcode.is_control() {
            let payload = take_frame(input, header_len, header.payload_len)?;
            self.incoming.heard = true;
            if let Some(key) = header.masking_key {
                key.apply(payload);
            }
            return Some(self.receive_control(header.opcode, payload, output));
        }
        // A header is consumed only together with the first byte of its payload, so that each
        // step reports something.
        if header.payload_len > 0 && input.len() == header_len {
            return None;
        }
        let (_, payload) = core::mem::take(input).split_at_mut_checked(header_len)?;
        *input = payload;
        self.open_data_frame(&header);
        let key = header
            .masking_key
            .unwrap_or(MaskingKey::from([0; MaskingKey::LEN]));
        self.receive_payload(input, output, header.payload_len, key, header.fin)
    }

    /// The header at the start of `input`, judged in full: what may come now, in this direction,
    /// with these bits and of this length. Violations show as early as the bytes that show them.
    fn judge(&self, input: &[u8]) -> Result<Option<(FrameHeader, usize)>, Violation> {
        let Some(prefix) = input.first_chunk() else {
            return Ok(None);
        };
        let prefix = Prefix::parse(*prefix)?;
        self.judge_prefix(prefix)?;
        let complete = prefix.complete(input)?;
        if let Some((header, _)) = complete.filter(|(header, _)| !header.opcode.is_control()) {
            self.judge_size(&header)?;
        }
        Ok(complete)
    }

    fn judge_prefix(&self, prefix: Prefix) -> Result<(), Violation> {
        // RFC 6455 §5.2: "MUST be 0 unless an extension is negotiated that defines meanings for
        // non-zero values."
        if prefix.rsv != 0 {
            let starts_message = matches!(prefix.opcode, Opcode::Text | Opcode::Binary);
            if !starts_message || !self.extensions.claims(prefix.rsv) {
                return Err(Violation::ReservedBits);
            }
        }
        // RFC 6455 §5.1: "The server MUST close the connection upon receiving a frame that is not
        // masked." and "A client MUST close a connection if it detects a masked frame."
        match self.role {
            Role::Server if !prefix.masked => return Err(Violation::UnmaskedClientFrame),
            Role::Client if prefix.masked => return Err(Violation::MaskedServerFrame),
            _ => {}
        }
        // RFC 6455 §5.4: "The fragments of one message MUST NOT be interleaved between the
        // fragments of another message".
        match (prefix.opcode, self.incoming.expect) {
            (Opcode::Continuation, Expect::Message) => Err(Violation::UnexpectedContinuation),
            (Opcode::Text | Opcode::Binary, Expect::Fragment) => {
                Err(Violation::ExpectedContinuation)
            }
            _ => Ok(()),
        }
    }

    /// RFC 6455 §10.4: limits on "the frame size and total message size after reassembly", judged
    /// before any of the payload is awaited.
    fn judge_size(&self, header: &FrameHeader) -> Result<(), Violation> {
        let (len, fragments) = match header.opcode {
            Opcode::Continuation => (self.incoming.message_len, self.incoming.fragments),
            _ => (0, 0),
        };
        let limits = &self.config().limits;
        if !limits
            .max_message
            .allows(len.saturating_add(header.payload_len))
        {
            return Err(Violation::MessageTooBig);
        }
        if !limits.max_fragments.allows(u64::from(fragments)) {
            return Err(Violation::TooManyFragments);
        }
        Ok(())
    }

    fn open_data_frame(&mut self, header: &FrameHeader) {
        let incoming = &mut self.incoming;
        if header.opcode != Opcode::Continuation {
            let kind = match header.opcode {
                Opcode::Text => MessageKind::Text,
                _ => MessageKind::Binary,
            };
            let compressed = header.rsv & RSV1 != 0;
            *incoming = Incoming {
                kind,
                compressed,
                ..Incoming::new()
            };
        }
        incoming.heard = true;
        incoming.message_len += header.payload_len;
        incoming.fragments = incoming.fragments.saturating_add(1);
    }

    /// As much of the payload as there is; at the end of the frame, what comes next.
    fn receive_payload<'b>(
        &mut self,
        input: &mut &'b mut [u8],
        output: &mut Output<'_>,
        remaining: u64,
        key: MaskingKey,
        fin: bool,
    ) -> Option<Event<'b>> {
        if remaining > 0 && input.is_empty() {
            return None;
        }
        // RFC 6455 §5.2 allows payloads that no memory of this machine could hold: the comparison
        // is in u64, and only what is there becomes a usize.
        let here = usize::try_from(remaining).map_or(input.len(), |n| n.min(input.len()));
        let (payload, rest) = core::mem::take(input).split_at_mut_checked(here)?;
        *input = rest;
        if self.role == Role::Server {
            key.apply(payload);
        }
        let incoming = &mut self.incoming;
        incoming.heard = true;
        let remaining = remaining - here as u64;
        incoming.expect = match (remaining, fin) {
            (0, true) => Expect::Message,
            (0, false) => Expect::Fragment,
            _ => Expect::Payload {
                remaining,
                key: key.skip(here),
                fin,
            },
        };
        let last = incoming.expect == Expect::Message;
        let first = core::mem::replace(&mut incoming.first, last);
        let (kind, compressed) = (incoming.kind, incoming.compressed);
        match (kind, first && last) {
            _ if compressed => {}
            (MessageKind::Binary, true) => return Some(Event::Binary(payload)),
            (MessageKind::Binary, false) => {}
            (MessageKind::Text, true) => {
                return match utf8::from_utf8(payload) {
                    Some(text) => Some(Event::Text(text)),
                    None => self.fail_in_text(payload, output),
                };
            }
            (MessageKind::Text, false) => {
                if let Err(wrong) = incoming.check_text(payload, last) {
                    let good = payload.get(..wrong).unwrap_or_default();
                    return Some(self.report_until(kind, good, first, output));
                }
            }
        }
        Some(Event::Chunk(Chunk {
            kind,
            bytes: payload,
            first,
            last,
            compressed,
        }))
    }

    fn receive_control<'b>(
        &mut self,
        opcode: Opcode,
        payload: &'b [u8],
        output: &mut Output<'_>,
    ) -> Event<'b> {
        match opcode {
            Opcode::Ping => {
                // RFC 6455 §5.5.2: "Upon receipt of a Ping frame, an endpoint MUST send a Pong
                // frame in response, unless it already received a Close frame." Behind our own
                // Close we send nothing at all.
                if self.lifecycle == Lifecycle::Open && self.config().pong == Reply::Automatic {
                    let _ = self.write_control(Opcode::Pong, payload, output);
                }
                Event::Ping(payload)
            }
            Opcode::Pong => {
                self.timers.pong_received(payload);
                Event::Pong(payload)
            }
            _ => match close::parse(payload) {
                Ok((code, reason)) => {
                    self.close_received(code, payload, output);
                    Event::Close { code, reason }
                }
                Err(violation) => {
                    self.break_off(violation, output);
                    Event::Failed(violation)
                }
            },
        }
    }

    /// The part of [`wants`](Self::wants) that looks at a frame.
    fn wants_of_frame(&self, input: &[u8]) -> Want {
        match self.judge(input) {
            Ok(None) => Want::Input,
            Err(_) => Want::Event,
            Ok(Some((header, header_len))) => {
                // A control frame is taken whole, a data frame with its first byte.
                let needed = match header.opcode.is_control() {
                    true => header.payload_len,
                    false => header.payload_len.min(1),
                };
                match (input.len() - header_len) as u64 >= needed {
                    true => Want::Event,
                    false => Want::Input,
                }
            }
        }
    }
}

impl Incoming {
    /// Takes the next bytes of a text; the index of the first byte that cannot be right.
    fn check_text(&mut self, bytes: &[u8], last: bool) -> Result<(), usize> {
        self.utf8.take(bytes)?;
        if last && !self.utf8.is_boundary() {
            return Err(bytes.len().saturating_sub(1));
        }
        Ok(())
    }
}

/// Takes a frame off `input` if it is there whole, and returns its payload.
fn take_frame<'b>(
    input: &mut &'b mut [u8],
    header_len: usize,
    payload_len: u64,
) -> Option<&'b mut [u8]> {
    let len = header_len.checked_add(usize::try_from(payload_len).ok()?)?;
    if input.len() < len {
        return None;
    }
    let (frame, rest) = core::mem::take(input).split_at_mut_checked(len)?;
    *input = rest;
    Some(frame.split_at_mut_checked(header_len)?.1)
}

//! State. Sending: messages, fragments, prepared frames, control frames (RFC 6455 §5.4 to §6.1).

use core::borrow::Borrow;

use super::{Connection, Lifecycle};
use crate::{
    REPLY_ROOM,
    close::{CloseCode, MAX_REASON},
    config::Config,
    error::{Full, Misuse, SendError},
    event::MessageKind,
    frame::{
        FrameHeader, Opcode, Role,
        header::{MAX_CONTROL_FRAME, MAX_CONTROL_PAYLOAD, MAX_HEADER},
    },
    output::{Output, copy},
    utf8::Utf8,
};

/// The message that is being sent in fragments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing {
    message: Message,
    utf8: Utf8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    Idle,
    /// Begun, and nothing of it sent.
    Begun(MessageKind),
    /// At least one fragment is sent.
    Continuing(MessageKind),
}

impl Outgoing {
    pub(super) const fn new() -> Self {
        Self {
            message: Message::Idle,
            utf8: Utf8::new(),
        }
    }
}

impl From<MessageKind> for Opcode {
    fn from(kind: MessageKind) -> Self {
        match kind {
            MessageKind::Text => Self::Text,
            MessageKind::Binary => Self::Binary,
        }
    }
}

impl<C: Borrow<Config>> Connection<C> {
    /// Sends a text message in one frame.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] when `output` has not room for the frame and 141 bytes behind it, which are
    /// kept for replies and the heartbeat;
    /// [`SendError::Closing`] after our Close; [`Misuse::MessageInProgress`] between
    /// [`begin`](Self::begin) and [`finish`](Self::finish); [`Misuse::MissingMaskingKeys`] on a
    /// client whose output is not [masked](Output::masked), as with every other send. Nothing is
    /// written then.
    #[inline]
    pub fn send_text(&mut self, text: &str, output: &mut Output<'_>) -> Result<(), SendError> {
        self.send_message(Opcode::Text, text.as_bytes(), output)
    }

    /// Sends a binary message in one frame.
    ///
    /// # Errors
    ///
    /// As [`send_text`](Self::send_text).
    #[inline]
    pub fn send_binary(&mut self, bytes: &[u8], output: &mut Output<'_>) -> Result<(), SendError> {
        self.send_message(Opcode::Binary, bytes, output)
    }

    /// Sends a message that was encoded before, perhaps for many connections.
    ///
    /// # Errors
    ///
    /// As [`send_text`](Self::send_text).
    #[inline]
    pub fn send_prepared<B: AsRef<[u8]>>(
        &mut self,
        prepared: &Prepared<B>,
        output: &mut Output<'_>,
    ) -> Result<(), SendError> {
        if self.role == Role::Client {
            return self.send_message(prepared.kind.into(), prepared.payload(), output);
        }
        self.may_send_message()?;
        let room = output.room().checked_sub(RESERVE).ok_or(Full)?;
        if room < prepared.as_bytes().len() {
            return Err(SendError::Full);
        }
        Ok(output.append_all(&[prepared.as_bytes()])?)
    }

    /// Begins a message of unknown length. Its fragments follow with
    /// [`send_fragment`](Self::send_fragment), its end with [`finish`](Self::finish); receiving and
    /// control frames go on meanwhile. Nothing is written yet.
    ///
    /// # Errors
    ///
    /// [`SendError::Closing`], or [`Misuse::MessageInProgress`].
    ///
    /// ```
    /// use ws_proto::{Config, Connection, MessageKind, Output};
    ///
    /// let mut connection = Connection::server(Config::new());
    /// let mut buffer = [0; 256];
    /// let mut output = Output::new(&mut buffer);
    /// connection.begin(MessageKind::Text)?;
    /// connection.send_fragment(b"Hel", &mut output)?;
    /// connection.finish(b"lo", &mut output)?;
    /// assert_eq!(output.written(), b"\x01\x03Hel\x80\x02lo");
    /// # Ok::<(), ws_proto::SendError>(())
    /// ```
    pub fn begin(&mut self, kind: MessageKind) -> Result<(), SendError> {
        self.may_send_message()?;
        self.outgoing = Outgoing {
            message: Message::Begun(kind),
            utf8: Utf8::new(),
        };
        Ok(())
    }

    /// Sends the next fragment of the message that was [begun](Self::begin). A fragment of text may
    /// end inside a character.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`], [`SendError::Closing`], [`Misuse::NoMessageInProgress`], or
    /// [`Misuse::InvalidUtf8`]. Nothing is written then, and the fragment may be sent again.
    pub fn send_fragment(
        &mut self,
        bytes: &[u8],
        output: &mut Output<'_>,
    ) -> Result<(), SendError> {
        self.send_part(bytes, false, output)
    }

    /// Sends the last fragment of the message that was [begun](Self::begin).
    ///
    /// # Errors
    ///
    /// As [`send_fragment`](Self::send_fragment); a text must not end inside a character.
    pub fn finish(&mut self, bytes: &[u8], output: &mut Output<'_>) -> Result<(), SendError> {
        self.send_part(bytes, true, output)
    }

    /// Sends a Ping; its payload of up to 125 bytes comes back in the Pong (RFC 6455 §5.5.2).
    ///
    /// # Errors
    ///
    /// [`SendError::Full`], [`SendError::Closing`], or [`Misuse::ControlPayloadTooLong`].
    pub fn ping(&mut self, payload: &[u8], output: &mut Output<'_>) -> Result<(), SendError> {
        self.send_control(Opcode::Ping, payload, output)
    }

    /// Sends a Pong: the answer to a Ping where [`Config::pong`] is manual, or an unasked sign of
    /// life (§5.5.3).
    ///
    /// # Errors
    ///
    /// As [`ping`](Self::ping).
    pub fn pong(&mut self, payload: &[u8], output: &mut Output<'_>) -> Result<(), SendError> {
        self.send_control(Opcode::Pong, payload, output)
    }

    /// *Starts the Closing Handshake* (§7.1.2), or answers the peer's Close where
    /// [`Config::close`] is manual. Nothing can be sent after it; what the peer sends until its own
    /// Close is still reported.
    ///
    /// It may use the room that other sends leave free.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`], [`SendError::Closing`], [`Misuse::InvalidCloseCode`] when `code` must
    /// not be sent by this role, or [`Misuse::CloseReasonTooLong`] over 123 bytes. An answer may have
    /// the code that was received, [`CloseCode::NO_STATUS`] for an empty frame included.
    pub fn close(
        &mut self,
        code: CloseCode,
        reason: &str,
        output: &mut Output<'_>,
    ) -> Result<(), SendError> {
        self.may_send()?;
        if reason.len() > MAX_REASON {
            return Err(Misuse::CloseReasonTooLong.into());
        }
        // An answer may echo whatever was received.
        let is_answer = self.lifecycle == Lifecycle::OweClose;
        match code {
            CloseCode::NO_STATUS if is_answer && reason.is_empty() => {
                self.write_control(Opcode::Close, b"", output)?;
            }
            _ if code.may_be_sent_by(self.role) || is_answer && code.is_valid_on_wire() => {
                self.write_close(code, reason, output)?;
            }
            _ => return Err(Misuse::InvalidCloseCode.into()),
        }
        self.close_sent();
        Ok(())
    }

    /// The header of a message of `payload_len` bytes in one frame, for adapters that write the
    /// payload by themselves: vectored, or from where it lies. A client masks the payload with
    /// [`FrameHeader::masking_key`]'s key, drawn from `output`; nothing is written to it.
    ///
    /// The whole frame then belongs to the peer, before anything else of this connection.
    ///
    /// # Errors
    ///
    /// As [`send_text`](Self::send_text), but for `Full`; [`Misuse::PayloadTooLong`] from 2^63.
    pub fn frame_header(
        &mut self,
        kind: MessageKind,
        payload_len: u64,
        output: &mut Output<'_>,
    ) -> Result<FrameHeader, SendError> {
        self.may_send_message()?;
        if payload_len >> 63 != 0 {
            return Err(Misuse::PayloadTooLong.into());
        }
        self.header(true, kind.into(), payload_len, output)
    }

    /// The header of the next fragment of the message that was [begun](Self::begin), for adapters
    /// that write the payload by themselves, as with [`frame_header`](Self::frame_header). The
    /// fragment counts as sent.
    ///
    /// # Errors
    ///
    /// As [`send_fragment`](Self::send_fragment), but for `Full`.
    pub fn fragment_header(
        &mut self,
        bytes: &[u8],
        output: &mut Output<'_>,
    ) -> Result<FrameHeader, SendError> {
        self.part_header(bytes, false, output)
    }

    /// The header of the last fragment of the message that was [begun](Self::begin), as
    /// [`fragment_header`](Self::fragment_header).
    ///
    /// # Errors
    ///
    /// As [`finish`](Self::finish), but for `Full`.
    pub fn finish_header(
        &mut self,
        bytes: &[u8],
        output: &mut Output<'_>,
    ) -> Result<FrameHeader, SendError> {
        self.part_header(bytes, true, output)
    }

    #[inline]
    pub(crate) fn send_message(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        output: &mut Output<'_>,
    ) -> Result<(), SendError> {
        self.may_send_message()?;
        self.write_frame(true, opcode, payload, SEND_ROOM, output)
    }

    fn send_part(
        &mut self,
        bytes: &[u8],
        fin: bool,
        output: &mut Output<'_>,
    ) -> Result<(), SendError> {
        let (opcode, next) = self.next_part(bytes, fin)?;
        self.write_frame(fin, opcode, bytes, SEND_ROOM, output)?;
        self.outgoing = next;
        Ok(())
    }

    fn part_header(
        &mut self,
        bytes: &[u8],
        fin: bool,
        output: &mut Output<'_>,
    ) -> Result<FrameHeader, SendError> {
        let (opcode, next) = self.next_part(bytes, fin)?;
        let header = self.header(fin, opcode, bytes.len() as u64, output)?;
        self.outgoing = next;
        Ok(header)
    }

    /// What the next fragment is, and what is to be sent behind it.
    fn next_part(&self, bytes: &[u8], fin: bool) -> Result<(Opcode, Outgoing), SendError> {
        self.may_send()?;
        let (kind, opcode) = match self.outgoing.message {
            Message::Idle => return Err(Misuse::NoMessageInProgress.into()),
            Message::Begun(kind) => (kind, kind.into()),
            Message::Continuing(kind) => (kind, Opcode::Continuation),
        };
        let mut utf8 = self.outgoing.utf8;
        // RFC 6455 §5.6: "the whole message MUST contain valid UTF-8."
        if kind == MessageKind::Text && (utf8.take(bytes).is_err() || fin && !utf8.is_boundary()) {
            return Err(Misuse::InvalidUtf8.into());
        }
        let message = if fin {
            Message::Idle
        } else {
            Message::Continuing(kind)
        };
        Ok((opcode, Outgoing { message, utf8 }))
    }

    fn send_control(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        output: &mut Output<'_>,
    ) -> Result<(), SendError> {
        self.may_send()?;
        // RFC 6455 §5.5: "All control frames MUST have a payload length of 125 bytes or less".
        if payload.len() > MAX_CONTROL_PAYLOAD {
            return Err(Misuse::ControlPayloadTooLong.into());
        }
        self.write_frame(true, opcode, payload, CONTROL_ROOM, output)
    }

    /// Sends the heartbeat's ping, into the room that other sends leave it.
    pub(super) fn send_heartbeat(
        &mut self,
        sequence: u32,
        output: &mut Output<'_>,
    ) -> Result<(), SendError> {
        self.may_send()?;
        let payload = sequence.to_be_bytes();
        const OVERHEAD: usize = CONTROL_HEADER + REPLY_ROOM;
        self.write_frame(true, Opcode::Ping, &payload, OVERHEAD, output)
    }

    /// RFC 6455 §5.5.1: "The application MUST NOT send any more data frames after sending a Close
    /// frame." We send nothing at all.
    #[inline]
    fn may_send(&self) -> Result<(), SendError> {
        match self.lifecycle {
            Lifecycle::Open | Lifecycle::OweClose => Ok(()),
            _ => Err(SendError::Closing),
        }
    }

    #[inline]
    fn may_send_message(&self) -> Result<(), SendError> {
        self.may_send()?;
        match self.outgoing.message {
            Message::Idle => Ok(()),
            _ => Err(Misuse::MessageInProgress.into()),
        }
    }

    pub(super) fn write_close(
        &mut self,
        code: CloseCode,
        reason: &str,
        output: &mut Output<'_>,
    ) -> Result<(), SendError> {
        let mut payload = [0; MAX_CONTROL_PAYLOAD];
        let bytes = code.get().to_be_bytes().into_iter().chain(reason.bytes());
        for (to, byte) in payload.iter_mut().zip(bytes) {
            *to = byte;
        }
        let payload = payload.get(..2 + reason.len()).unwrap_or_default();
        self.write_control(Opcode::Close, payload, output)
    }

    /// Writes a control frame into the room kept for it. Its payload has at most 125 bytes.
    pub(super) fn write_control(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        output: &mut Output<'_>,
    ) -> Result<(), SendError> {
        self.write_frame(true, opcode, payload, CONTROL_HEADER, output)
    }

    /// Writes a frame, if there is room for its payload and `overhead`.
    #[inline]
    fn write_frame(
        &mut self,
        fin: bool,
        opcode: Opcode,
        payload: &[u8],
        overhead: usize,
        output: &mut Output<'_>,
    ) -> Result<(), SendError> {
        let payload_len = payload.len() as u64;
        match self.role {
            Role::Server => {
                let header = FrameHeader {
                    fin,
                    rsv: 0,
                    opcode,
                    masking_key: None,
                    payload_len,
                };
                Ok(write(&header, payload, overhead, output)?)
            }
            Role::Client => write_masked(fin, opcode, payload, overhead, output),
        }
    }

    fn header(
        &self,
        fin: bool,
        opcode: Opcode,
        payload_len: u64,
        output: &mut Output<'_>,
    ) -> Result<FrameHeader, SendError> {
        let masking_key = match self.role {
            Role::Server => None,
            Role::Client => Some(output.next_key().ok_or(Misuse::MissingMaskingKeys)?),
        };
        Ok(FrameHeader {
            fin,
            rsv: 0,
            opcode,
            masking_key,
            payload_len,
        })
    }
}

/// Writes a client's frame. Inlined into the server's path it would slow that by half: 5.7 ns in
/// place of 3.5 for 20 bytes.
#[inline(never)]
fn write_masked(
    fin: bool,
    opcode: Opcode,
    payload: &[u8],
    overhead: usize,
    output: &mut Output<'_>,
) -> Result<(), SendError> {
    // Judged before a key is drawn: a frame that is not sent costs no randomness.
    if !fits(payload, overhead, output.room()) {
        return Err(SendError::Full);
    }
    let payload_len = payload.len() as u64;
    let masking_key = Some(output.next_key().ok_or(Misuse::MissingMaskingKeys)?);
    let header = FrameHeader {
        fin,
        rsv: 0,
        opcode,
        masking_key,
        payload_len,
    };
    Ok(write(&header, payload, overhead, output)?)
}

/// Writes header and payload. One check covers all that is written.
#[inline(always)]
fn write(
    header: &FrameHeader,
    payload: &[u8],
    overhead: usize,
    output: &mut Output<'_>,
) -> Result<(), Full> {
    let space = output.spare();
    if !fits(payload, overhead, space.len()) {
        return Err(Full);
    }
    let space = header.write(space).ok_or(Full)?;
    let body = space.get_mut(..payload.len()).ok_or(Full)?;
    match header.masking_key {
        None => copy(payload, body),
        Some(key) => key.copy(payload, body),
    }
    output.advance(header.wire_len() + payload.len());
    Ok(())
}

#[inline]
fn fits(payload: &[u8], overhead: usize, room: usize) -> bool {
    room.checked_sub(overhead)
        .is_some_and(|room| payload.len() <= room)
}

/// The longest header of a control frame.
const CONTROL_HEADER: usize = MAX_CONTROL_FRAME - MAX_CONTROL_PAYLOAD;
/// A ping of the heartbeat.
const HEARTBEAT: usize = CONTROL_HEADER + size_of::<u32>();
/// What sends leave free: for replies, so that two ends never starve each other, and for the
/// heartbeat, which a peer that reads slowly must be asked all the same.
const RESERVE: usize = REPLY_ROOM + HEARTBEAT;
/// The room that a control frame needs beyond its payload.
const CONTROL_ROOM: usize = CONTROL_HEADER + RESERVE;
/// The room that a message in one frame needs beyond its payload: 155 bytes, for the longest header
/// and what is left free for replies and the heartbeat.
pub const SEND_ROOM: usize = MAX_HEADER + RESERVE;

/// A message encoded once, to be sent to many connections.
///
/// Servers send the frame as it is; a client masks its payload afresh each time. `B` is the memory
/// of the frame: what was lent to encode it, or what [`keep`](Prepared::keep) made of that.
///
/// ```
/// use ws_proto::{Config, Connection, Output, Prepared};
///
/// let mut memory = [0; 64];
/// let news = Prepared::text("news", &mut memory)?;
/// let mut buffer = [0; 256];
/// for mut subscriber in [Connection::server(Config::new()), Connection::server(Config::new())] {
///     let mut output = Output::new(&mut buffer);
///     subscriber.send_prepared(&news, &mut output)?;
///     assert_eq!(output.written(), b"\x81\x04news");
/// }
/// # Ok::<(), ws_proto::SendError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Prepared<B> {
    kind: MessageKind,
    frame: B,
    header_len: u8,
}

impl<'a> Prepared<&'a [u8]> {
    /// A text message, encoded into `memory`: its length and at most 10 bytes.
    ///
    /// # Errors
    ///
    /// [`Full`] when `memory` is too small.
    pub fn text(text: &str, memory: &'a mut [u8]) -> Result<Self, Full> {
        Self::encode(MessageKind::Text, text.as_bytes(), memory)
    }

    /// A binary message, encoded into `memory`: its length and at most 10 bytes.
    ///
    /// # Errors
    ///
    /// [`Full`] when `memory` is too small.
    pub fn binary(bytes: &[u8], memory: &'a mut [u8]) -> Result<Self, Full> {
        Self::encode(MessageKind::Binary, bytes, memory)
    }

    fn encode(kind: MessageKind, payload: &[u8], memory: &'a mut [u8]) -> Result<Self, Full> {
        let payload_len = payload.len() as u64;
        let opcode = kind.into();
        let header = FrameHeader {
            fin: true,
            rsv: 0,
            opcode,
            masking_key: None,
            payload_len,
        };
        let len = header.wire_len() + payload.len();
        let frame = memory.get_mut(..len).ok_or(Full)?;
        copy(payload, header.write(frame).ok_or(Full)?);
        let header_len = header.wire_len() as u8;
        Ok(Self {
            kind,
            frame,
            header_len,
        })
    }

    /// A frame that was encoded before, such as [`as_bytes`](Self::as_bytes) of another, kept in an
    /// `Arc<[u8]>`; `None` if it is not one unmasked message, whole and alone.
    pub fn from_bytes(frame: &'a [u8]) -> Option<Self> {
        let (header, header_len) = FrameHeader::parse(frame).ok()??;
        let kind = match header.opcode {
            Opcode::Text => MessageKind::Text,
            Opcode::Binary => MessageKind::Binary,
            _ => return None,
        };
        let payload = frame.get(header_len..)?;
        let is_whole = header.fin
            && header.rsv == 0
            && header.masking_key.is_none()
            && header.payload_len == payload.len() as u64
            && (kind == MessageKind::Binary || core::str::from_utf8(payload).is_ok());
        let header_len = header_len as u8;
        is_whole.then_some(Self {
            kind,
            frame,
            header_len,
        })
    }

    /// The same in memory of another kind, such as an `Arc<[u8]>`, which must hold the same bytes.
    pub fn keep<B: From<&'a [u8]>>(self) -> Prepared<B> {
        Prepared {
            kind: self.kind,
            frame: self.frame.into(),
            header_len: self.header_len,
        }
    }
}

impl<B: AsRef<[u8]>> Prepared<B> {
    /// The frame as a server sends it.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.frame.as_ref()
    }

    /// The message.
    pub fn payload(&self) -> &[u8] {
        self.as_bytes()
            .get(usize::from(self.header_len)..)
            .unwrap_or_default()
    }

    /// What the message is.
    pub fn kind(&self) -> MessageKind {
        self.kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Reply, event::Event};

    /// RFC 6455 §5.5.2: "Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in
    /// response". `receive` asks for `REPLY_ROOM`, so that must be enough.
    #[test]
    fn longest_replies_fit_into_reply_room() {
        let mut ping = [b'x'; MAX_CONTROL_FRAME];
        ping[..6].copy_from_slice(b"\x89\xfd\0\0\0\0");
        let mut buffer = [0; REPLY_ROOM];
        let mut output = Output::new(&mut buffer);
        let mut server = Connection::server(Config::new());
        let event = server.receive(&mut &mut ping[..], &mut output);
        assert_eq!(event, Some(Event::Ping(&[b'x'; MAX_CONTROL_PAYLOAD])));
        assert_eq!(output.len(), 2 + MAX_CONTROL_PAYLOAD);

        let mut ping = [b'x'; 2 + MAX_CONTROL_PAYLOAD];
        ping[..2].copy_from_slice(b"\x89\x7d");
        let mut keys = || [1, 2, 3, 4];
        let mut output = Output::masked(&mut buffer, &mut keys);
        let mut client = Connection::client(Config::new());
        let event = client.receive(&mut &mut ping[..], &mut output);
        assert_eq!(event, Some(Event::Ping(&[b'x'; MAX_CONTROL_PAYLOAD])));
        assert_eq!(output.len(), MAX_CONTROL_FRAME);
    }

    /// RFC 6455 §5.5.1: "the endpoint typically echos the status code it received."
    #[test]
    fn answer_to_a_close_may_be_its_echo() {
        let table: [(&mut [u8], CloseCode, &[u8]); 2] = [
            (
                &mut { *b"\x88\x02\x03\xf3" },
                CloseCode::INTERNAL_ERROR,
                b"\x88\x82\0\0\0\0\x03\xf3",
            ),
            (
                &mut { *b"\x88\x00" },
                CloseCode::NO_STATUS,
                b"\x88\x80\0\0\0\0",
            ),
        ];
        for (mut close, code, echo) in table {
            let config = Config {
                close: Reply::Manual,
                ..Config::new()
            };
            let mut client = Connection::client(config);
            let (mut buffer, mut keys) = ([0; 256], || [0; 4]);
            let mut output = Output::masked(&mut buffer, &mut keys);
            let refused = Err(Misuse::InvalidCloseCode.into());
            assert_eq!(
                client.close(code, "", &mut output),
                refused,
                "not an answer yet"
            );
            let event = client.receive(&mut close, &mut output);
            assert_eq!(event, Some(Event::Close { code, reason: "" }));
            assert_eq!(client.close(code, "", &mut output), Ok(()));
            assert_eq!(output.written(), echo);
        }
    }

    #[test]
    fn prepared_frames_are_whole_messages() {
        let mut memory = [0; 16];
        let news = Prepared::text("news", &mut memory).expect("it fits");
        let again = Prepared::from_bytes(news.as_bytes()).expect("it is one");
        assert_eq!(
            (again.kind(), again.payload()),
            (MessageKind::Text, &b"news"[..])
        );
        let wrong: [&[u8]; 7] = [
            b"",
            b"\x81\x05news",
            b"\x81\x03news",
            b"\x01\x04news",
            b"\x89\x04news",
            b"\x81\x84\0\0\0\0news",
            b"\x81\x01\xff",
        ];
        for frame in wrong {
            assert!(
                Prepared::from_bytes(frame).is_none(),
                "{}",
                frame.escape_ascii()
            );
        }
    }
}

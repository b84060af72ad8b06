//! The floor under event-loop servers: the socket calls that `wsd echo` makes, and between them the
//! least that still echoes WebSocket messages through a callback.
//!
//! Edge-triggered, registered once for both interests. One read buffer for all connections, one
//! read per readiness (a short one has emptied the socket). Every frame is unmasked in place, text
//! is checked, and the callback copies the message into the one output buffer, which is written
//! with one call. Where a frame is not whole the buffer stays with its connection, and the others
//! get another one; a long frame is unmasked as it comes, while it is in the caches, and answered
//! from where it lies.
//!
//! No limits, no timers, no judging of headers; a fragment is echoed as the frame it is. Not for
//! any other use.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    mem,
    ops::Range,
    ptr,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mio::{
    Events, Interest, Poll, Token,
    event::Event,
    net::{TcpListener, TcpStream},
};
use slab::Slab;
use ws_bench::floors;
use ws_proto::frame::mask::MaskingKey;

/// As much as a generous read takes.
const BUFFER: usize = 128 << 10;
/// From here on a payload is answered from where it lies.
const LONG: usize = 32 << 10;
/// From here on the kernel of `ws-proto`, which has the widest vectors, beats that of the floors.
const WIDE: usize = 128;
/// Room behind a long frame, so that the read which ends it is a short one.
const SLACK: usize = 4 << 10;
/// Kept, because their pages are mapped already.
const SPARE_BUFFERS: usize = 8;

const LISTENER: Token = Token(usize::MAX);

fn main() -> io::Result<()> {
    let mut listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address"))?;
    // Linux hands it on to the accepted sockets, which saves a call for each.
    rustix::net::sockopt::set_tcp_nodelay(&listener, true)?;
    let mut poll = Poll::new()?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listening on ws://{}/", listener.local_addr()?);
    io::stdout().flush()?;

    let mut connections = Slab::new();
    let mut shared = Shared {
        buffers: Vec::new(),
        output: Output {
            buffer: vec![0; BUFFER],
            len: 0,
            lent: ptr::null(),
            is_in_place: false,
        },
    };
    let mut on_message = |message: Message<'_>, output: &mut Output| match message {
        Message::Text(text) => output.send(TEXT, text.as_bytes()),
        Message::Binary(bytes) => output.send(BINARY, bytes),
        Message::Fragment(first, bytes) => output.send(first, bytes),
    };
    let mut events = Events::with_capacity(1024);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut connections)?;
                continue;
            }
            let Token(key) = event.token();
            // Every error ends the connection, and nobody asks why.
            if let Some(connection) = connections.get_mut(key)
                && let Err(_) | Ok(Turn::Over) =
                    connection.turn(event, &mut shared, &mut on_message)
            {
                connections.remove(key);
            }
        }
    }
}

fn accept(listener: &TcpListener, poll: &Poll, to: &mut Slab<Connection>) -> io::Result<()> {
    while let Ok((mut stream, _)) = listener.accept() {
        let vacant = to.vacant_entry();
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry()
            .register(&mut stream, Token(vacant.key()), both)?;
        vacant.insert(Connection {
            stream,
            phase: Phase::Handshake,
            input: None,
            backlog: None,
        });
    }
    Ok(())
}

/// What all connections of the loop have in common.
struct Shared {
    /// The last one is in everybody's use; more only where frames were not whole.
    #[expect(
        clippy::vec_box,
        reason = "they move in and out of connections, which hold a pointer"
    )]
    buffers: Vec<Box<Input>>,
    output: Output,
}

impl Shared {
    fn lend(&mut self) -> Box<Input> {
        self.buffers.pop().unwrap_or_else(|| {
            Box::new(Input {
                buffer: vec![0; BUFFER],
                filled: 0,
                unmasked: 0,
            })
        })
    }

    fn give_back(&mut self, mut input: Box<Input>) {
        if self.buffers.len() < SPARE_BUFFERS {
            (input.filled, input.unmasked) = (0, 0);
            self.buffers.push(input);
        }
    }
}

struct Input {
    buffer: Vec<u8>,
    filled: usize,
    /// How much of the first frame's payload.
    unmasked: usize,
}

struct Backlog {
    input: Box<Input>,
    unwritten: Range<usize>,
}

struct Connection {
    stream: TcpStream,
    phase: Phase,
    /// A frame that is not whole.
    input: Option<Box<Input>>,
    /// What the socket did not take.
    backlog: Option<Box<Backlog>>,
}

#[derive(PartialEq, Eq)]
enum Phase {
    Handshake,
    Open,
}

#[derive(PartialEq, Eq)]
enum Turn {
    Wait,
    Over,
}

impl Connection {
    fn turn(
        &mut self,
        event: &Event,
        shared: &mut Shared,
        on_message: &mut impl FnMut(Message<'_>, &mut Output),
    ) -> io::Result<Turn> {
        let mut is_readable = event.is_readable();
        if let Some(mut backlog) = self.backlog.take() {
            let unwritten = &backlog.input.buffer[backlog.unwritten.clone()];
            backlog.unwritten.start += taken(self.stream.write(unwritten))?;
            if !backlog.unwritten.is_empty() {
                self.backlog = Some(backlog);
                return Ok(Turn::Wait);
            }
            shared.give_back(backlog.input);
            // The edge may have come while nobody read.
            is_readable = true;
        }
        while is_readable {
            let mut input = self.input.take().unwrap_or_else(|| shared.lend());
            let room = input.buffer.len() - input.filled;
            let read = match self.stream.read(&mut input.buffer[input.filled..]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => None,
                result => Some(result?),
            };
            if let Some(read) = read {
                input.filled += read;
                if read == 0 || self.receive(&mut input, shared, on_message)? == Turn::Over {
                    shared.give_back(input);
                    return Ok(Turn::Over);
                }
            }
            match input.filled {
                0 => shared.give_back(input),
                _ => self.input = Some(input),
            }
            // Data and the end can come with one event.
            is_readable = self.backlog.is_none()
                && read.is_some_and(|read| read == room || event.is_read_closed());
        }
        Ok(Turn::Wait)
    }

    /// Answers all that is whole, and leaves the rest at the front of the buffer.
    fn receive(
        &mut self,
        input: &mut Box<Input>,
        shared: &mut Shared,
        on_message: &mut impl FnMut(Message<'_>, &mut Output),
    ) -> io::Result<Turn> {
        let mut used = 0;
        if self.phase == Phase::Handshake {
            used = upgrade(&input.buffer[..input.filled], &mut shared.output)?;
            if used == 0 {
                return Ok(Turn::Wait);
            }
            self.phase = Phase::Open;
        }
        loop {
            let end = decode(input, &mut used, &mut shared.output, on_message)?;
            self.write_output(shared)?;
            match end {
                End::Input => break,
                End::Close => return Ok(Turn::Over),
                End::InPlace(reply) => self.write_in_place(reply, &mut used, input, shared)?,
            }
        }
        if used > 0 {
            input.buffer.copy_within(used..input.filled, 0);
            input.filled -= used;
        }
        Ok(Turn::Wait)
    }

    fn write_output(&mut self, shared: &mut Shared) -> io::Result<()> {
        let len = mem::take(&mut shared.output.len);
        let mut written = 0;
        if len > 0 && self.backlog.is_none() {
            written = taken(self.stream.write(&shared.output.buffer[..len]))?;
        }
        if written == len {
            return Ok(());
        }
        let unwritten = &shared.output.buffer[written..len];
        if let Some(backlog) = &mut self.backlog {
            backlog.input.buffer.truncate(backlog.unwritten.end);
            backlog.input.buffer.extend_from_slice(unwritten);
            backlog.unwritten.end += unwritten.len();
        } else {
            let unwritten = unwritten.to_vec();
            let mut input = shared.lend();
            input.buffer[..unwritten.len()].copy_from_slice(&unwritten);
            self.backlog = Some(Box::new(Backlog {
                input,
                unwritten: 0..unwritten.len(),
            }));
        }
        Ok(())
    }

    /// What the socket does not take stays in this buffer; what came behind it gets another one.
    fn write_in_place(
        &mut self,
        mut reply: Range<usize>,
        used: &mut usize,
        input: &mut Box<Input>,
        shared: &mut Shared,
    ) -> io::Result<()> {
        if self.backlog.is_none() {
            reply.start += taken(self.stream.write(&input.buffer[reply.clone()]))?;
        }
        if reply.is_empty() {
            return Ok(());
        }
        if let Some(backlog) = &mut self.backlog {
            backlog.input.buffer.truncate(backlog.unwritten.end);
            backlog
                .input
                .buffer
                .extend_from_slice(&input.buffer[reply.clone()]);
            backlog.unwritten.end += reply.len();
            return Ok(());
        }
        let mut next = shared.lend();
        next.filled = input.filled - *used;
        let needed = next.filled.max(next.buffer.len());
        next.buffer.resize(needed, 0);
        next.buffer[..next.filled].copy_from_slice(&input.buffer[*used..input.filled]);
        *used = 0;
        self.backlog = Some(Box::new(Backlog {
            input: mem::replace(input, next),
            unwritten: reply,
        }));
        Ok(())
    }
}

/// The server's side of RFC 6455 §4.2 without a question asked; says how long the head was, 0 when
/// it is not whole.
fn upgrade(head: &[u8], output: &mut Output) -> io::Result<usize> {
    const KEY: &[u8] = b"sec-websocket-key:";

    let end = match head.ends_with(b"\r\n\r\n") {
        true => head.len(),
        false => match head.windows(4).position(|four| four == b"\r\n\r\n") {
            Some(at) => at + 4,
            None => return Ok(0),
        },
    };
    let key = head[..end]
        .split(|&byte| byte == b'\n')
        .find_map(|line| match line.split_at_checked(KEY.len()) {
            Some((name, key)) if name.eq_ignore_ascii_case(KEY) => Some(key.trim_ascii()),
            _ => None,
        })
        .ok_or(ErrorKind::InvalidData)?;
    let mut digest = sha1_smol::Sha1::from(key);
    digest.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let mut accept = [0; 28];
    STANDARD
        .encode_slice(digest.digest().bytes(), &mut accept)
        .map_err(io::Error::other)?;
    output.append(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: ",
    );
    output.append(&accept);
    output.append(b"\r\n\r\n");
    Ok(end)
}

/// What a callback gets.
enum Message<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    /// With the first byte of its frame.
    Fragment(u8, &'a [u8]),
}

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// Why decoding ended.
enum End {
    /// The next frame is not whole.
    Input,
    /// The last message is to be answered from where it lies.
    InPlace(Range<usize>),
    Close,
}

/// Hands on every whole frame from `used` on.
#[inline]
fn decode(
    input: &mut Input,
    used: &mut usize,
    output: &mut Output,
    on_message: &mut impl FnMut(Message<'_>, &mut Output),
) -> io::Result<End> {
    loop {
        let frame = &mut input.buffer[*used..input.filled];
        let Some((header_len, payload_len)) = header(frame) else {
            return Ok(End::Input);
        };
        let len = header_len + payload_len;
        let Some(whole) = frame.get_mut(..len) else {
            await_rest(input, *used, header_len, len);
            return Ok(End::Input);
        };
        let first = whole[0];
        let (header, payload) = whole.split_at_mut(header_len);
        let key = *header.last_chunk().expect("a header ends with the key");
        if payload_len < WIDE {
            floors::unmask(payload, key);
        } else {
            let unmasked = mem::take(&mut input.unmasked);
            let key = MaskingKey::from(key).skip(unmasked);
            key.apply(&mut payload[unmasked..]);
        }
        let at = *used;
        *used += len;
        if payload_len >= LONG {
            output.lent = payload.as_ptr();
        }
        match first {
            TEXT => {
                let text = from_utf8(payload).ok_or(ErrorKind::InvalidData)?;
                on_message(Message::Text(text), output);
            }
            BINARY => on_message(Message::Binary(payload), output),
            PING => output.send(PONG, payload),
            CLOSE => {
                output.send(CLOSE, payload);
                return Ok(End::Close);
            }
            fragment => on_message(Message::Fragment(fragment, payload), output),
        }
        if mem::take(&mut output.is_in_place) {
            // The header without its key, moved up to the payload.
            header.copy_within(..header_len - 4, 4);
            header[5] &= 0x7f;
            return Ok(End::InPlace(at + 4..at + len));
        }
    }
}

/// The lengths of header and payload; `None` if the header is not whole.
#[inline]
fn header(frame: &[u8]) -> Option<(usize, usize)> {
    let (header_len, payload_len) = match *frame.get(1)? & 0x7f {
        126 => {
            let len = frame.get(2..)?.first_chunk()?;
            (8, usize::from(u16::from_be_bytes(*len)))
        }
        127 => {
            let len = frame.get(2..)?.first_chunk()?;
            (14, u64::from_be_bytes(*len) as usize)
        }
        len => (6, usize::from(len)),
    };
    (frame.len() >= header_len).then_some((header_len, payload_len))
}

/// Unmasks what there is of a long frame, and makes room for the rest.
#[cold]
fn await_rest(input: &mut Input, used: usize, header_len: usize, len: usize) {
    let frame = &mut input.buffer[used..input.filled];
    if len >= LONG {
        let (header, payload) = frame.split_at_mut(header_len);
        let key = *header.last_chunk().expect("a header ends with the key");
        let key = MaskingKey::from(key).skip(input.unmasked);
        key.apply(&mut payload[input.unmasked..]);
        input.unmasked = payload.len();
    }
    if input.buffer.len() < len + SLACK {
        let mut grown = vec![0; len + SLACK];
        grown[used..input.filled].copy_from_slice(&input.buffer[used..input.filled]);
        input.buffer = grown;
    }
}

#[inline]
fn from_utf8(bytes: &[u8]) -> Option<&str> {
    // As ws-proto chooses, for its reasons.
    if bytes.len() >= 128 || bytes.len() >= 64 && !bytes[..16].is_ascii() {
        return simdutf8::basic::from_utf8(bytes).ok();
    }
    std::str::from_utf8(bytes).ok()
}

/// The replies of one turn: never longer than the frames, each of which lost its key.
struct Output {
    buffer: Vec<u8>,
    len: usize,
    /// The last long payload, known again by its address.
    lent: *const u8,
    is_in_place: bool,
}

impl Output {
    #[inline]
    fn send(&mut self, first: u8, payload: &[u8]) {
        if payload.len() >= LONG {
            self.send_long(first, payload);
            return;
        }
        let buffer = &mut self.buffer[self.len..];
        let header_len = match payload.len() {
            short @ 0..=125 => {
                buffer[..2].copy_from_slice(&[first, short as u8]);
                2
            }
            medium => {
                let [high, low] = (medium as u16).to_be_bytes();
                buffer[..4].copy_from_slice(&[first, 126, high, low]);
                4
            }
        };
        buffer[header_len..][..payload.len()].copy_from_slice(payload);
        self.len += header_len + payload.len();
    }

    #[cold]
    fn send_long(&mut self, first: u8, payload: &[u8]) {
        if payload.as_ptr() == self.lent {
            self.is_in_place = true;
            return;
        }
        let mut header = [first, 127, 0, 0, 0, 0, 0, 0, 0, 0];
        header[2..].copy_from_slice(&(payload.len() as u64).to_be_bytes());
        let needed = self.len + header.len() + payload.len();
        self.buffer.resize(needed.max(self.buffer.len()), 0);
        self.append(&header);
        self.append(payload);
    }

    fn append(&mut self, bytes: &[u8]) {
        self.buffer[self.len..][..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}

/// How much a socket took: nothing when it is full.
fn taken(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

//! Connections on a scripted source, which moves as much as it is told to.

use std::{
    collections::VecDeque,
    io::{ErrorKind, IoSlice, IoSliceMut},
    sync::Arc,
};

use ws_proto::{
    CloseCode, Config, Extensions, Limit, MessageKind, Misuse, Prepared, Reply, Role, Timeouts,
    frame::{FrameHeader, Opcode, mask::MaskingKey},
};

use super::*;
use crate::buffers::Marks;

/// What a read brings.
enum Reading {
    Bytes(Vec<u8>),
    /// The same bytes, as often as they are asked for.
    Endless(Vec<u8>),
    Error(ErrorKind),
    End,
}

/// What a write takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writing {
    /// At most so many bytes in a call, until there is no room.
    AtMost(usize),
    /// Nothing, and says that this was fine.
    Zero,
    Error(ErrorKind),
}

/// Gives what it was given and then blocks; takes `room` bytes and then blocks.
struct Script {
    readings: VecDeque<Reading>,
    is_vectored: bool,
    writing: Writing,
    room: usize,
    taken: Vec<u8>,
    reads: usize,
    writes: usize,
}

impl Script {
    fn giving(readings: impl IntoIterator<Item = Reading>) -> Self {
        Self {
            readings: readings.into_iter().collect(),
            is_vectored: true,
            writing: Writing::AtMost(usize::MAX),
            room: usize::MAX,
            taken: Vec::new(),
            reads: 0,
            writes: 0,
        }
    }
}

impl Read for Script {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_vectored(&mut [IoSliceMut::new(buffer)])
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.reads += 1;
        let room: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        assert!(room > 0, "nothing can be told from an empty read");
        let mut bytes = match self.readings.pop_front() {
            Some(Reading::Bytes(bytes)) => bytes,
            Some(Reading::Endless(bytes)) => {
                self.readings.push_front(Reading::Endless(bytes.clone()));
                bytes
            }
            Some(Reading::Error(kind)) => return Err(kind.into()),
            Some(Reading::End) => {
                self.readings.push_front(Reading::End);
                return Ok(0);
            }
            None => return Err(ErrorKind::WouldBlock.into()),
        };
        let mut read = 0;
        for buffer in buffers {
            let n = buffer.len().min(bytes.len() - read);
            buffer[..n].copy_from_slice(&bytes[read..read + n]);
            read += n;
            if !self.is_vectored && n > 0 {
                break;
            }
        }
        let is_endless = matches!(self.readings.front(), Some(Reading::Endless(_)));
        if read < bytes.len() && !is_endless {
            bytes.drain(..read);
            self.readings.push_front(Reading::Bytes(bytes));
        }
        Ok(read)
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.writes += 1;
        let most = match self.writing {
            Writing::AtMost(most) => most.min(self.room),
            Writing::Zero => return Ok(0),
            Writing::Error(kind) => return Err(kind.into()),
        };
        let before = self.taken.len();
        for slice in slices {
            let n = slice.len().min(most - (self.taken.len() - before));
            self.taken.extend_from_slice(&slice[..n]);
        }
        let n = self.taken.len() - before;
        self.room -= n;
        match n {
            0 => Err(ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const READABLE: Ready = Ready {
    readable: true,
    ..Ready::AGAIN
};
const WRITABLE: Ready = Ready {
    writable: true,
    ..Ready::AGAIN
};

/// A connection, the memory of its loop, and what it reported.
struct Rig {
    connection: Connection<Script>,
    buffers: Buffers,
    seen: Vec<String>,
}

impl Rig {
    fn new(role: Role, config: Config, readings: impl IntoIterator<Item = Reading>) -> Self {
        Self::established(role, Extensions::NONE, config, readings)
    }

    fn established(
        role: Role,
        extensions: Extensions,
        config: Config,
        readings: impl IntoIterator<Item = Reading>,
    ) -> Self {
        let core = Core::established(role, extensions, Arc::new(config));
        let mut key = 0_u8;
        let keys = move || {
            key = key.wrapping_add(1);
            [key; 4]
        };
        Self {
            connection: Connection::new(Script::giving(readings), core),
            buffers: match role {
                Role::Server => Buffers::new(Marks::new()),
                Role::Client => Buffers::masked(Marks::new(), keys),
            },
            seen: Vec::new(),
        }
    }

    fn server(readings: impl IntoIterator<Item = Reading>) -> Self {
        Self::new(Role::Server, NO_TIMEOUTS, readings)
    }

    fn marks(mut self, high: usize, low: usize, limit: usize) -> Self {
        self.buffers.marks = Marks { high, low, limit };
        self
    }

    /// With less to read into.
    fn input(mut self, len: usize) -> Self {
        self.buffers.input = vec![0; len].into_boxed_slice();
        self
    }

    /// Nothing is taken until there is room again.
    fn blocked(mut self) -> Self {
        self.connection.source.room = 0;
        self
    }

    fn change(mut self, change: impl FnOnce(Connection<Script>) -> Connection<Script>) -> Self {
        self.connection = change(self.connection);
        self
    }

    /// Turns until it would wait or has closed.
    fn run(&mut self, ready: Ready, mut act: impl FnMut(Event<'_>, &mut Sender<'_>)) -> Turn {
        self.try_run(ready, &mut act).expect("it has no faults")
    }

    fn try_run(
        &mut self,
        mut ready: Ready,
        mut act: impl FnMut(Event<'_>, &mut Sender<'_>),
    ) -> io::Result<Turn> {
        for _ in 0..10_000 {
            let turn = self
                .connection
                .turn(ready, &mut self.buffers, |event, sender| {
                    self.seen.push(brief(&event));
                    act(event, sender);
                })?;
            assert_eq!(self.connection.wants_turn(), turn != Turn::Wait);
            if turn != Turn::Again {
                return Ok(turn);
            }
            ready = Ready::AGAIN;
        }
        panic!("it turns for ever");
    }

    fn listen(&mut self, ready: Ready) -> Turn {
        self.run(ready, |_, _| {})
    }

    fn send<T>(&mut self, send: impl FnOnce(&mut Sender<'_>) -> T) -> T {
        let sent = self.connection.send(&mut self.buffers, send);
        sent.expect("it has no faults")
    }

    fn tick(&mut self, now_ms: u64) -> Turn {
        let turn = self
            .connection
            .handle_timeout(now_ms, &mut self.buffers, |event, _| {
                self.seen.push(brief(&event));
            });
        turn.expect("it has no faults")
    }

    /// Lets the peer take so many bytes more, and all there is to take.
    fn take(&mut self, room: usize) -> Turn {
        self.connection.source.room = room;
        self.listen(WRITABLE)
    }

    fn give(&mut self, bytes: impl AsRef<[u8]>) {
        let reading = Reading::Bytes(bytes.as_ref().to_vec());
        self.connection.source.readings.push_back(reading);
    }

    fn queued(&mut self) -> usize {
        self.connection
            .queue
            .as_ref()
            .map_or(0, |queue| queue.len())
    }

    fn taken(&self) -> &[u8] {
        &self.connection.source.taken
    }

    fn seen(&mut self) -> Vec<String> {
        mem::take(&mut self.seen)
    }

    #[track_caller]
    fn owns_nothing(&self) {
        assert!(self.connection.queue.is_none(), "no queue");
        assert!(self.connection.parts.is_none(), "no input");
    }
}

/// An event in a few words: long payloads by their length.
fn brief(event: &Event<'_>) -> String {
    match event {
        Event::Text(text) if text.len() > 30 => format!("Text({})", text.len()),
        Event::Binary(bytes) if bytes.len() > 30 => format!("Binary({})", bytes.len()),
        Event::Binary(bytes) => format!("Binary({:?})", bytes.escape_ascii().to_string()),
        Event::Ping(bytes) => format!("Ping({:?})", bytes.escape_ascii().to_string()),
        Event::Pong(bytes) => format!("Pong({:?})", bytes.escape_ascii().to_string()),
        Event::Chunk(chunk) => format!(
            "Chunk({}{}{})",
            if chunk.first { "^" } else { "" },
            chunk.bytes.len(),
            if chunk.last { "$" } else { "" },
        ),
        Event::Close { code, reason } => format!("Close({}, {reason:?})", code.get()),
        Event::Failed(violation) => format!("Failed({violation:?})"),
        Event::Closed(closed) => format!("Closed({}, {})", closed.code.get(), closed.clean),
        event => format!("{event:?}"),
    }
}

const NO_TIMEOUTS: Config = {
    let mut config = Config::new();
    config.timeouts = Timeouts::never();
    config
};

fn echo(event: Event<'_>, sender: &mut Sender<'_>) {
    let sent = match event {
        Event::Text(text) => sender.send_text(text),
        Event::Binary(bytes) => sender.send_binary(bytes),
        Event::Chunk(chunk) => sender.send_chunk(chunk),
        _ => return,
    };
    assert!(sent.is_sent(), "{sent:?}");
}

fn frame(fin: bool, opcode: Opcode, masking_key: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        fin,
        rsv: 0,
        opcode,
        masking_key: masking_key.map(MaskingKey::from),
        payload_len: payload.len() as u64,
    };
    let mut frame = header.to_bytes().to_vec();
    let start = frame.len();
    frame.extend_from_slice(payload);
    if let Some(key) = masking_key {
        MaskingKey::from(key).apply(&mut frame[start..]);
    }
    frame
}

/// A frame of a client.
fn client(opcode: Opcode, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(true, opcode, Some([1, 2, 3, 4]), payload.as_ref())
}

/// A frame of a server.
fn server(opcode: Opcode, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(true, opcode, None, payload.as_ref())
}

fn text(payload: &str) -> Vec<u8> {
    client(Opcode::Text, payload)
}

fn bytes(frames: impl AsRef<[u8]>) -> [Reading; 1] {
    [Reading::Bytes(frames.as_ref().to_vec())]
}

/// `len` bytes that tell an offset from its neighbours.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
}

/// Text, fragments, a ping between them, and binary; with what a server says to it when it echoes.
fn talk() -> (Vec<u8>, Vec<&'static str>, Vec<u8>) {
    let key = Some([1, 2, 3, 4]);
    let received = [
        text("Hello"),
        frame(false, Opcode::Binary, key, b"two "),
        client(Opcode::Ping, "?"),
        frame(true, Opcode::Continuation, key, b"parts"),
        client(Opcode::Pong, ""),
        text(""),
        client(Opcode::Close, [3, 232]),
    ];
    let seen = vec![
        "Text(\"Hello\")",
        "Ping(\"?\")",
        "Binary(\"two parts\")",
        "Pong(\"\")",
        "Text(\"\")",
        "Close(1000, \"\")",
        "Closed(1000, true)",
    ];
    let sent = [
        server(Opcode::Text, "Hello"),
        server(Opcode::Pong, "?"),
        server(Opcode::Binary, "two parts"),
        server(Opcode::Text, ""),
        server(Opcode::Close, [3, 232]),
    ];
    (received.concat(), seen, sent.concat())
}

// ---- reading

#[test]
fn server_reads_pieces_of_every_length() {
    let (received, seen, sent) = talk();
    for len in 1..=received.len() {
        for short_read in [ShortRead::IsAll, ShortRead::MayBePart] {
            // Each piece comes with an event of its own.
            let mut rig = Rig::server([]).change(|c| c.short_read(short_read));
            let mut turn = rig.run(Ready::ALL, echo);
            for piece in received.chunks(len) {
                assert_eq!(turn, Turn::Wait);
                rig.give(piece);
                turn = rig.run(READABLE, echo);
            }
            assert_eq!((turn, rig.seen()), (Turn::Closed, owned(&seen)), "by {len}");
            assert_eq!(rig.taken(), sent, "by {len}");
            rig.owns_nothing();
        }
    }
}

#[test]
fn server_reads_pieces_that_all_came_with_one_event() {
    let (received, seen, sent) = talk();
    for len in 1..=received.len() {
        let pieces = received.chunks(len).map(<[u8]>::to_vec).map(Reading::Bytes);
        let mut rig = Rig::server(pieces);
        assert_eq!(rig.run(READABLE, echo), Turn::Closed);
        assert_eq!(
            (rig.seen(), rig.taken()),
            (owned(&seen), &sent[..]),
            "by {len}"
        );
        rig.owns_nothing();
    }
}

fn owned(seen: &[&str]) -> Vec<String> {
    seen.iter().copied().map(String::from).collect()
}

#[test]
fn short_read_that_is_all_spares_the_next_read() {
    for (short_read, reads) in [(ShortRead::IsAll, 1), (ShortRead::MayBePart, 2)] {
        let mut rig = Rig::server(bytes(text("Hello"))).change(|c| c.short_read(short_read));
        assert_eq!(rig.listen(READABLE), Turn::Wait);
        assert_eq!(rig.connection.source.reads, reads, "{short_read:?}");
        // Nothing is read where nothing is readable.
        rig.give(text("later"));
        assert_eq!(rig.listen(WRITABLE), Turn::Wait);
        assert_eq!(rig.connection.source.reads, reads, "{short_read:?}");
        assert_eq!(rig.listen(READABLE), Turn::Wait);
        assert_eq!(rig.seen(), ["Text(\"Hello\")", "Text(\"later\")"]);
    }
}

#[test]
fn read_that_fills_the_buffer_is_not_all() {
    let frames = text("Hello").repeat(10);
    let mut rig = Rig::server(bytes(&frames))
        .input(frames.len() / 2)
        .change(|c| c.short_read(ShortRead::IsAll));
    assert_eq!(rig.listen(READABLE), Turn::Wait);
    assert_eq!(rig.seen().len(), 10);
}

/// Data and FIN came with one event: there will be no other.
#[test]
fn end_that_came_with_data_is_read() {
    for ready in [
        Ready {
            read_closed: true,
            ..READABLE
        },
        Ready {
            read_closed: true,
            ..Ready::AGAIN
        },
    ] {
        let [hello] = bytes(text("Hello"));
        let mut rig = Rig::server([hello, Reading::End]).change(|c| c.short_read(ShortRead::IsAll));
        rig.connection.flags.readable = false;
        assert_eq!(rig.listen(ready), Turn::Closed, "{ready:?}");
        assert_eq!(rig.seen(), ["Text(\"Hello\")", "Closed(1006, false)"]);
        rig.owns_nothing();
    }
}

#[test]
fn end_is_reported_once_wherever_it_comes() {
    let (received, seen, _) = talk();
    for cut in 0..=received.len() {
        let [piece] = bytes(&received[..cut]);
        let mut rig = Rig::server([piece, Reading::End]);
        if cut == 0 {
            rig.connection.source.readings.pop_front();
        }
        assert_eq!(rig.listen(READABLE), Turn::Closed, "behind {cut} bytes");
        assert_eq!(rig.listen(Ready::ALL), Turn::Closed);
        assert_eq!(rig.tick(1), Turn::Closed);
        let events = rig.seen();
        let ends = events.iter().filter(|event| event.starts_with("Closed"));
        assert_eq!(ends.count(), 1, "behind {cut} bytes");
        let last = match cut == received.len() {
            true => "Closed(1000, true)",
            false => "Closed(1006, false)",
        };
        assert_eq!(events.last().map(String::as_str), Some(last));
        assert_eq!(events[..events.len() - 1], seen[..events.len() - 1]);
        assert_eq!(rig.connection.end(), None);
        rig.owns_nothing();
    }
}

#[test]
fn interrupted_reads_are_repeated() {
    let [hello] = bytes(text("Hello"));
    let interrupted = || Reading::Error(ErrorKind::Interrupted);
    let mut rig = Rig::server([interrupted(), interrupted(), hello, interrupted()]);
    assert_eq!(rig.listen(READABLE), Turn::Wait);
    assert_eq!(rig.seen(), ["Text(\"Hello\")"]);
    assert_eq!(rig.connection.source.reads, 5);
}

#[test]
fn broken_source_is_an_error_and_its_end_told_once() {
    let [hello] = bytes(&talk().0[..30]);
    let mut rig = Rig::server([hello, Reading::Error(ErrorKind::ConnectionReset)]);
    let error = rig
        .try_run(READABLE, echo)
        .expect_err("the source is broken");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let end = rig.connection.end().map(|event| brief(&event));
    assert_eq!(end.as_deref(), Some("Closed(1006, false)"));
    assert_eq!(rig.connection.end(), None);
    rig.owns_nothing();
}

#[test]
fn server_resumes_with_frames_behind_the_handshake() {
    // The last one is cut, and more is kept than the buffer holds.
    let mut unread = text("Hello").repeat(300);
    let rest = unread.split_off(unread.len() - 4);
    let mut rig = Rig::server(bytes(&rest))
        .input(1024)
        .change(|connection| connection.resume(&unread));
    assert_eq!(rig.listen(Ready::ALL), Turn::Wait);
    assert_eq!(rig.seen(), ["Text(\"Hello\")"].repeat(300));
    rig.owns_nothing();
}

#[test]
fn server_resumes_with_frames_on_a_silent_source() {
    let mut rig = Rig::server([]).change(|connection| connection.resume(&text("Hello")));
    assert_eq!(rig.listen(Ready::ALL), Turn::Wait);
    assert_eq!(rig.seen(), ["Text(\"Hello\")"]);
    rig.owns_nothing();
    assert!(
        Rig::server([])
            .change(|c| c.resume(b""))
            .connection
            .parts
            .is_none()
    );
}

/// What comes behind the peer's Close is nobody's, however much it is.
#[test]
fn rubbish_behind_a_close_that_is_not_answered_yet() {
    let config = Config {
        close: Reply::Manual,
        ..NO_TIMEOUTS
    };
    let unread = [client(Opcode::Close, ""), vec![0xFF; 2000]].concat();
    let mut rig = Rig::new(Role::Server, config, [])
        .input(1024)
        .change(|connection| connection.resume(&unread));
    let turn = rig.run(Ready::ALL, |_, sender| sender.pause());
    assert_eq!(
        (turn, rig.seen()),
        (Turn::Wait, owned(&["Close(1005, \"\")"]))
    );
    rig.send(|sender| sender.resume());
    assert_eq!(rig.listen(READABLE), Turn::Wait);
    let sent = rig.send(|sender| sender.close(CloseCode::NO_STATUS, ""));
    assert!(sent.is_sent());
    assert_eq!(rig.listen(Ready::AGAIN), Turn::Closed);
    assert_eq!(rig.seen(), ["Closed(1005, true)"]);
    assert_eq!(rig.taken(), server(Opcode::Close, ""));
    rig.owns_nothing();
}

// ---- pausing

#[test]
fn pause_at_every_event_loses_nothing() {
    let (received, seen, sent) = talk();
    for len in 1..=received.len() {
        let pieces = received.chunks(len).map(<[u8]>::to_vec).map(Reading::Bytes);
        let mut rig = Rig::server(pieces);
        let mut ready = READABLE;
        for _ in 0..seen.len() {
            let before = rig.seen.len();
            let turn = rig.run(ready, |event, sender| {
                echo(event, sender);
                sender.pause();
            });
            assert_eq!(turn == Turn::Closed, rig.seen.len() == seen.len());
            assert_eq!(rig.seen.len(), before + 1, "one event, and no more");
            // Paused means that nothing is read or reported, whatever the poll tells.
            let reads = rig.connection.source.reads;
            rig.listen(Ready::ALL);
            assert_eq!(rig.seen.len(), before + 1);
            assert!(turn == Turn::Closed || rig.connection.source.reads == reads);
            rig.send(|sender| sender.resume());
            ready = Ready::AGAIN;
        }
        assert_eq!(
            (rig.seen(), rig.taken()),
            (owned(&seen), &sent[..]),
            "by {len}"
        );
        rig.owns_nothing();
    }
}

/// The edge came before the pause, and no other will.
#[test]
fn readable_is_remembered_across_a_pause() {
    let mut rig = Rig::server(bytes(text("first")));
    rig.send(|sender| sender.pause());
    assert_eq!(rig.listen(READABLE), Turn::Wait);
    assert!(!rig.connection.wants_turn());
    rig.send(|sender| sender.resume());
    assert!(rig.connection.wants_turn());
    assert_eq!(rig.listen(Ready::AGAIN), Turn::Wait);
    assert_eq!(rig.seen(), ["Text(\"first\")"]);
}

#[test]
fn end_is_seen_behind_a_pause() {
    let [hello] = bytes(text("Hello").repeat(2));
    let mut rig = Rig::server([hello, Reading::End]);
    assert_eq!(rig.run(READABLE, |_, sender| sender.pause()), Turn::Wait);
    rig.send(|sender| sender.resume());
    assert_eq!(rig.listen(Ready::AGAIN), Turn::Closed);
    assert_eq!(rig.seen().len(), 3);
}

#[test]
fn pause_keeps_what_is_unread_and_no_more() {
    let mut rest = client(Opcode::Ping, "second");
    let tail = rest.split_off(rest.len() - 3);
    let frames = [text(&"x".repeat(100_000)), text("first"), rest].concat();
    let mut rig = Rig::server(bytes(&frames));
    rig.run(READABLE, |_, sender| sender.pause());
    let unread = |rig: &Rig| {
        let parts = rig.connection.parts.as_ref();
        parts.map_or(0, |parts| parts.unread.capacity())
    };
    assert!((1..64).contains(&unread(&rig)), "{} bytes", unread(&rig));

    // Of much that was kept, little is left.
    let mut rig = Rig::server([]).change(|connection| connection.resume(&frames));
    rig.listen(Ready::ALL);
    assert!((1..64).contains(&unread(&rig)), "{} bytes", unread(&rig));

    // The same where the source has nothing to say.
    let mut again = Rig::server([]).change(|connection| connection.resume(&frames));
    again.connection.flags.readable = false;
    assert_eq!(again.listen(WRITABLE), Turn::Wait);
    assert!(
        (1..64).contains(&unread(&again)),
        "{} bytes",
        unread(&again)
    );
    again.give(&tail);
    assert_eq!(again.listen(READABLE), Turn::Wait);
    assert_eq!(
        again.seen(),
        ["Text(100000)", "Text(\"first\")", "Ping(\"second\")"]
    );
    again.owns_nothing();
}

// ---- large messages

#[test]
fn large_message_is_read_into_its_own_memory_and_given_back() {
    let message = pattern(300_000);
    let frames = [
        client(Opcode::Binary, &message),
        text("behind"),
        client(Opcode::Binary, &message[..200_000]),
    ];
    for (is_vectored, short_read) in [
        (true, ShortRead::MayBePart),
        (true, ShortRead::IsAll),
        (false, ShortRead::MayBePart),
        (false, ShortRead::IsAll),
    ] {
        let mut rig = Rig::server(bytes(frames.concat()))
            .input(1024)
            .change(|c| c.short_read(short_read));
        rig.connection.source.is_vectored = is_vectored;
        let mut whole = Vec::new();
        let turn = rig.run(READABLE, |event, _| {
            if let Event::Binary(bytes) = event {
                whole.push(bytes.to_vec());
            }
        });
        assert_eq!(turn, Turn::Wait, "{is_vectored}, {short_read:?}");
        assert_eq!(
            rig.seen(),
            ["Binary(300000)", "Text(\"behind\")", "Binary(200000)"]
        );
        assert!(whole == [&message[..], &message[..200_000]]);
        // Most of it never was in the buffer of the loop: reads double.
        if is_vectored {
            let reads = rig.connection.source.reads;
            assert!(reads < 30, "{reads} reads");
        }
        rig.owns_nothing();
        // One memory served both.
        let memory = rig.buffers.pool.take();
        assert!((300_000..=600_000 + 2048).contains(&memory.len()));
        assert_eq!(rig.buffers.pool.take().len(), 0);
    }
}

#[test]
fn large_message_cut_at_every_kind_of_place() {
    let message = pattern(5_000);
    let key = Some([9, 8, 7, 6]);
    let received = [
        frame(false, Opcode::Binary, key, &message[..2_000]),
        client(Opcode::Ping, "in between"),
        frame(false, Opcode::Continuation, key, b""),
        frame(true, Opcode::Continuation, key, &message[2_000..]),
        text("behind"),
    ]
    .concat();
    for cut in (0..received.len())
        .step_by(7)
        .chain([2_008, 2_009, 2_024, 2_030])
    {
        let (first, second) = received.split_at(cut);
        let mut rig = Rig::server([])
            .input(300)
            .change(|c| c.short_read(ShortRead::IsAll));
        for piece in [first, second] {
            if !piece.is_empty() {
                rig.give(piece);
            }
            let turn = rig.run(READABLE, |event, _| {
                if let Event::Binary(bytes) = event {
                    assert!(bytes == message);
                }
            });
            assert_eq!(turn, Turn::Wait);
        }
        assert_eq!(
            rig.seen(),
            ["Ping(\"in between\")", "Binary(5000)", "Text(\"behind\")"],
            "cut at {cut}"
        );
        rig.owns_nothing();
    }
}

#[test]
fn pause_behind_a_large_message_loses_nothing() {
    let frames = [
        client(Opcode::Binary, pattern(5_000)),
        text("behind").repeat(3),
    ]
    .concat();
    let mut rig = Rig::server(bytes(&frames)).input(300);
    assert_eq!(rig.run(READABLE, |_, sender| sender.pause()), Turn::Wait);
    assert_eq!(rig.seen(), ["Binary(5000)"]);
    rig.send(|sender| sender.resume());
    rig.listen(Ready::AGAIN);
    assert_eq!(rig.seen(), ["Text(\"behind\")"].repeat(3));
    rig.owns_nothing();
}

#[test]
fn chunks_are_delivered_in_constant_memory() {
    let message = pattern(100_000);
    let frames = [client(Opcode::Binary, &message), text("Hello")].concat();
    let mut rig = Rig::server(bytes(&frames))
        .input(1000)
        .change(|connection| connection.delivery(Delivery::Chunks));
    let mut joined = Vec::new();
    rig.run(READABLE, |event, _| {
        if let Event::Chunk(chunk) = event {
            assert_eq!(chunk.first, joined.is_empty());
            joined.extend_from_slice(chunk.bytes);
            assert_eq!(chunk.last, joined.len() == message.len());
        }
    });
    assert!(joined == message);
    assert_eq!(rig.seen.last().map(String::as_str), Some("Text(\"Hello\")"));
    assert_eq!(rig.buffers.pool.take().len(), 0, "nothing was put together");
    rig.owns_nothing();
}

#[test]
fn compressed_chunks_are_reported_as_they_are() {
    let mut frame = client(Opcode::Text, [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]);
    frame[0] |= 0x40;
    let extensions = Extensions::PER_MESSAGE_DEFLATE;
    let mut rig = Rig::established(Role::Server, extensions, NO_TIMEOUTS, bytes(&frame));
    rig.listen(READABLE);
    assert_eq!(rig.seen(), ["Chunk(^7$)"]);
    rig.owns_nothing();
}

#[test]
fn message_over_the_limit_fails_and_leaves_nothing() {
    let mut config = NO_TIMEOUTS;
    config.limits.max_message = Limit::At(1000);
    let key = Some([1, 2, 3, 4]);
    let frames = [
        frame(false, Opcode::Binary, key, &[0; 900]),
        frame(true, Opcode::Continuation, key, &[0; 101]),
        text("unseen"),
    ];
    let mut rig = Rig::new(Role::Server, config, bytes(frames.concat())).input(300);
    assert_eq!(rig.run(READABLE, echo), Turn::Closed);
    assert_eq!(rig.seen(), ["Failed(MessageTooBig)", "Closed(1006, false)"]);
    assert_eq!(rig.taken(), server(Opcode::Close, [3, 241]));
    rig.owns_nothing();
}

/// A connection that has ended owes its peer the queue, and nothing to itself.
#[test]
fn message_that_is_cut_off_costs_nothing_behind_the_end() {
    let key = Some([1, 2, 3, 4]);
    let [part] = bytes(frame(false, Opcode::Binary, key, &[0; 900]));
    let mut rig = Rig::server([part, Reading::End]).blocked();
    let sent = rig.send(|sender| sender.send_text("Hello"));
    assert_eq!(sent, Sent::Corked);
    assert_eq!(rig.listen(READABLE), Turn::Wait);
    assert_eq!(rig.seen(), ["Closed(1006, false)"]);
    assert!(rig.connection.parts.is_none());
    assert_eq!(rig.take(100), Turn::Closed);
}

// ---- writing

#[test]
fn sends_of_a_turn_leave_with_one_write() {
    let frames = [text("Hello"), client(Opcode::Ping, "?")]
        .concat()
        .repeat(100);
    let mut rig = Rig::server(bytes(&frames));
    rig.run(READABLE, echo);
    let echoed = [server(Opcode::Text, "Hello"), server(Opcode::Pong, "?")].concat();
    assert_eq!(rig.taken(), echoed.repeat(100));
    assert_eq!(rig.connection.source.writes, 1);
    rig.owns_nothing();
}

#[test]
fn server_writes_pieces_of_every_length() {
    let (received, seen, sent) = talk();
    for most in 1..=sent.len() {
        for blocks in [false, true] {
            let mut rig = Rig::server(bytes(&received));
            rig.connection.source.writing = Writing::AtMost(most);
            if blocks {
                // Where nothing is begun, the pong comes first.
                rig.connection.source.room = 1;
            }
            let mut turn = rig.run(READABLE, echo);
            while turn == Turn::Wait {
                assert!(blocks && rig.queued() > 0);
                turn = rig.take(most);
            }
            assert_eq!((turn, rig.seen()), (Turn::Closed, owned(&seen)));
            assert_eq!(rig.taken(), sent, "{most} at once");
            rig.owns_nothing();
        }
    }
}

/// The old queue compacted itself only when it was empty, and a peer one message behind made it
/// grow for ever.
#[test]
fn server_sends_to_a_peer_one_message_behind() {
    const MESSAGE: [u8; 1000] = [7; 1000];
    const FRAME: usize = 4 + MESSAGE.len();
    let mut rig = Rig::server([]).blocked();
    let send = |rig: &mut Rig| {
        let sent = rig.send(|sender| sender.send_binary(&MESSAGE));
        assert!(sent.is_sent());
    };
    send(&mut rig);
    for _ in 0..1000 {
        send(&mut rig);
        assert_eq!(rig.take(FRAME), Turn::Wait);
        assert_eq!(rig.queued(), FRAME);
    }
    rig.take(FRAME);
    let whole = rig.taken().chunks_exact(FRAME);
    assert!(whole.into_iter().all(|frame| frame[4..] == MESSAGE));
    rig.owns_nothing();
}

/// What is written directly goes on at every byte, behind what was corked, and replies come behind
/// the frame that is begun.
#[test]
fn large_message_is_written_from_where_it_lies() {
    let message = pattern(DIRECT_LEN);
    let corked = server(Opcode::Text, "corked");
    let large = server(Opcode::Binary, &message);
    let pong = server(Opcode::Pong, "?");
    let all = corked.len() + large.len();
    let rooms = (0..40).chain(DIRECT_LEN - 5..=all).chain([30_000]);
    for room in rooms {
        let mut rig = Rig::server([]);
        rig.connection.source.room = room;
        let (writes, sent) = rig.send(|sender| {
            assert_eq!(sender.send_text("corked"), Sent::Corked);
            let sent = sender.send_binary(&message);
            (sender.queued(), sent)
        });
        assert_eq!(writes, all - room);
        match room == all {
            true => assert_eq!(sent, Sent::Corked),
            false => assert!(matches!(sent, Sent::Queued | Sent::OverHighWater)),
        }
        assert!(rig.connection.source.writes <= 2);
        // A reply, and more behind it.
        rig.connection.flags.over_high_water = false;
        rig.give(client(Opcode::Ping, "?"));
        rig.listen(READABLE);
        rig.send(|sender| assert!(sender.send_text("more").is_sent()));
        rig.take(usize::MAX);
        let more = server(Opcode::Text, "more");
        let expected = match room {
            0 => [&pong, &corked, &large, &more],
            1..=8 => [&corked, &pong, &large, &more],
            _ => [&corked, &large, &pong, &more],
        };
        assert!(
            rig.taken() == expected.map(Vec::as_slice).concat(),
            "room for {room}"
        );
        rig.owns_nothing();
    }
}

const DIRECT_LEN: usize = 64 << 10;

#[test]
fn large_message_is_written_in_pieces_of_many_lengths() {
    let message = pattern(DIRECT_LEN);
    let expected = [
        server(Opcode::Text, "corked"),
        server(Opcode::Binary, &message),
    ]
    .concat();
    for most in [1, 2, 7, 8, 9, 17, 18, 19, 1000, DIRECT_LEN] {
        let mut rig = Rig::server([]);
        rig.connection.source.writing = Writing::AtMost(most);
        rig.send(|sender| {
            assert_eq!(sender.send_text("corked"), Sent::Corked);
            assert_eq!(sender.send_binary(&message), Sent::Corked);
        });
        assert!(rig.taken() == expected, "{most} at once");
        rig.owns_nothing();
    }
}

/// Row 38: what said that it would block is not asked again until the poll tells of it.
#[test]
fn source_that_would_block_is_left_alone() {
    let mut rig = Rig::server([]);
    fill(&mut rig, 200);
    rig.take(50);
    let writes = rig.connection.source.writes;
    rig.connection.source.room = usize::MAX;
    for _ in 0..3 {
        rig.give(text("Hello"));
        assert_eq!(rig.run(READABLE, echo), Turn::Wait);
        rig.send(|sender| assert!(sender.send_text("more").is_sent()));
        rig.tick(0);
    }
    assert_eq!(rig.connection.source.writes, writes);
    let reads = rig.connection.source.reads;
    rig.take(usize::MAX);
    assert_eq!(rig.connection.source.writes, writes + 1);
    assert_eq!(rig.connection.source.reads, reads);
}

#[test]
fn large_message_of_which_nothing_is_written_may_be_dropped() {
    let mut rig = Rig::server([]).marks(1000, 100, 100_000);
    rig.connection.source.room = server(Opcode::Text, "corked").len();
    let dropped = rig.send(|sender| {
        sender.set_overflow(Overflow::DropOldest);
        assert!(sender.send_text("corked").is_sent());
        assert_eq!(sender.send_binary(&[1; DIRECT_LEN]), Sent::OverHighWater);
        assert_eq!(sender.send_binary(&[2; DIRECT_LEN]), Sent::OverHighWater);
        sender.take_dropped()
    });
    assert_eq!(dropped, 1);
    rig.take(usize::MAX);
    let sent = [
        server(Opcode::Text, "corked"),
        server(Opcode::Binary, [2; DIRECT_LEN]),
    ];
    assert!(rig.taken() == sent.concat());
}

#[test]
fn source_that_takes_nothing_is_an_error() {
    type Send = fn(&mut Sender<'_>) -> Sent;
    let sends: [Send; 3] = [
        |sender| sender.send_text("corked"),
        |sender| sender.send_binary(&[0; DIRECT_LEN]),
        |sender| sender.send_binary(&[0; 400_000]),
    ];
    for send in sends {
        for (writing, kind) in [
            (Writing::Zero, ErrorKind::WriteZero),
            (Writing::Error(ErrorKind::BrokenPipe), ErrorKind::BrokenPipe),
        ] {
            for is_queued in [false, true] {
                let mut rig = Rig::server([]);
                if is_queued {
                    rig = rig.blocked();
                    assert!(rig.send(send).is_sent());
                    rig.connection.flags.writable = true;
                }
                rig.connection.source.writing = writing;
                let writes = rig.connection.source.writes;
                let result = rig.connection.send(&mut rig.buffers, |sender| {
                    let sent = send(sender);
                    // More is not written behind the gap.
                    let more = [send(sender), sender.send_text("more")];
                    [sent, more[0], more[1]]
                });
                let error = result.expect_err("the source is broken");
                assert_eq!(error.kind(), kind);
                assert_eq!(rig.connection.source.writes, writes + 1, "it asks no more");
                rig.owns_nothing();
                let end = rig.connection.end().map(|event| brief(&event));
                assert_eq!(end.as_deref(), Some("Closed(1006, false)"));
            }
        }
    }
}

#[test]
fn interrupted_write_is_repeated() {
    struct Interrupting(Script, bool);
    impl Read for Interrupting {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }
    impl Write for Interrupting {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 = !self.1;
            match self.1 {
                true => Err(ErrorKind::Interrupted.into()),
                false => self.0.write(&bytes[..1]),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let core = Core::server(Arc::new(NO_TIMEOUTS));
    let source = Interrupting(Script::giving([]), false);
    let mut connection = Connection::new(source, core);
    let mut buffers = Buffers::new(Marks::new());
    let sent = connection.send(&mut buffers, |sender| sender.send_text("Hello"));
    assert!(matches!(sent, Ok(Sent::Corked)));
    assert_eq!(connection.source.0.taken, server(Opcode::Text, "Hello"));
}

// ---- slow peers

/// Fills the queue to `len` bytes, by messages of 100 bytes with their headers.
fn fill(rig: &mut Rig, len: usize) {
    rig.connection.source.room = 0;
    for _ in 0..len / 100 {
        let sent = rig.send(|sender| sender.send_binary(&[b'f'; 98]));
        assert!(sent.is_sent());
    }
    assert_eq!(rig.queued(), len);
}

/// [`Marks`]: from the high mark on sends say so; nothing beyond the limit, but for one message sent
/// below the high mark.
#[test]
fn marks_are_obeyed_to_the_byte() {
    let mut rig = Rig::server([]).marks(1000, 300, 2000);
    let reject = |sender: &mut Sender<'_>| sender.set_overflow(Overflow::Reject);
    rig.send(reject);
    fill(&mut rig, 900);
    assert_eq!(rig.send(|s| s.send_binary(&[0; 97])), Sent::Queued);
    assert_eq!(rig.queued(), 999);
    assert_eq!(rig.send(|s| s.send_binary(&[])), Sent::OverHighWater);
    assert_eq!(rig.queued(), 1001);
    // Up to the limit, and not a byte more.
    let full = Sent::Refused(Refused::Full);
    assert_eq!(rig.send(|s| s.send_binary(&[0; 996])), full);
    assert_eq!(rig.send(|s| s.send_binary(&[0; 995])), Sent::OverHighWater);
    assert_eq!(rig.queued(), 2000);
    assert_eq!(rig.send(|s| s.send_binary(&[])), full);
    assert_eq!(rig.send(|s| s.send_text("")), full);
    assert_eq!(rig.send(|s| s.ping(b"")), full);
    assert_eq!(rig.send(|s| s.send_latest_text(1, "")), full);
    let mut memory = [0; 10];
    let prepared = Prepared::text("", &mut memory).expect("it fits");
    assert_eq!(rig.send(|s| s.send_prepared(&prepared)), full);
    assert_eq!(rig.queued(), 2000);

    // Below the high mark one message may be as long as it likes.
    let mut rig = Rig::server([]).marks(1000, 300, 2000);
    rig.send(reject);
    fill(&mut rig, 900);
    assert_eq!(
        rig.send(|s| s.send_binary(&[0; 50_000])),
        Sent::OverHighWater
    );
    assert_eq!(rig.queued(), 900 + 50_004);
    assert_eq!(rig.send(|s| s.send_binary(&[])), full);
}

#[test]
fn drained_is_told_once_at_the_low_mark() {
    let mut rig = Rig::server([]).marks(1000, 300, 2000);
    fill(&mut rig, 900);
    rig.take(600);
    assert!(
        !rig.connection.take_drained(),
        "it was not over the high mark"
    );
    rig.take(300);
    fill(&mut rig, 1200);
    assert_eq!(rig.take(899), Turn::Wait);
    assert!(!rig.connection.take_drained(), "301 bytes wait");
    rig.take(1);
    assert!(rig.connection.take_drained());
    assert!(!rig.connection.take_drained(), "told once");
    rig.take(usize::MAX);
    assert!(!rig.connection.take_drained(), "told once");
    rig.owns_nothing();
}

#[test]
fn overflow_disconnects_with_1013_and_nothing_after() {
    let mut rig = Rig::new(Role::Server, Config::new(), []).marks(1000, 300, 2000);
    rig.tick(0);
    fill(&mut rig, 2000);
    rig.take(50);
    rig.connection.source.room = 0;
    let closing = Sent::Refused(Refused::Closing);
    // 1950 wait, the first of them begun.
    assert_eq!(rig.send(|s| s.send_binary(&[0; 98])), closing);
    let close = server(Opcode::Close, b"\x03\xf5too slow");
    assert_eq!(rig.queued(), 50 + close.len());
    assert_eq!(rig.send(|s| s.send_text("more")), closing);
    assert_eq!(rig.send(|s| s.ping(b"")), closing);
    assert_eq!(rig.send(|s| s.close(CloseCode::NORMAL, "")), closing);
    assert_eq!(rig.send(|s| s.close_now(CloseCode::NORMAL, "")), closing);
    assert_eq!(rig.queued(), 50 + close.len(), "the verdict is final");
    // The peer takes the rest, or it does not.
    let mut whole = server(Opcode::Binary, [b'f'; 98]);
    whole.extend(close);
    rig.take(usize::MAX);
    assert_eq!(rig.taken(), whole);
    rig.give(client(Opcode::Close, [3, 245]));
    assert_eq!(rig.listen(READABLE), Turn::Closed);
    assert_eq!(rig.seen(), ["Close(1013, \"\")", "Closed(1013, true)"]);
}

/// RFC 6455 does not ask anybody to wait for ever: the close timeout, and then the linger.
#[test]
fn overflow_of_a_peer_that_never_reads_ends_in_time() {
    let mut rig = Rig::new(Role::Server, Config::new(), []).marks(1000, 300, 2000);
    rig.tick(0);
    fill(&mut rig, 2000);
    assert_eq!(
        rig.send(|s| s.send_binary(&[0; 98])),
        Sent::Refused(Refused::Closing)
    );
    let mut now = 0;
    let mut turn = Turn::Wait;
    for _ in 0..10 {
        let Some(next) = rig.connection.next_timeout() else {
            break;
        };
        now = now.max(next);
        turn = rig.tick(now);
    }
    assert_eq!((turn, now), (Turn::Closed, 11_000));
    assert_eq!(rig.seen(), ["Closed(1006, false)"]);
    rig.owns_nothing();
}

#[test]
fn overflow_rejects_and_loses_nothing() {
    let mut rig = Rig::server([]).marks(1000, 300, 1000);
    rig.send(|sender| sender.set_overflow(Overflow::Reject));
    fill(&mut rig, 1000);
    for _ in 0..10 {
        assert_eq!(
            rig.send(|s| s.send_text("no")),
            Sent::Refused(Refused::Full)
        );
    }
    rig.take(700);
    assert!(rig.connection.take_drained());
    rig.connection.source.room = 0;
    assert_eq!(rig.send(|s| s.send_text("yes")), Sent::Queued);
    rig.take(usize::MAX);
    let sent = [
        server(Opcode::Binary, [b'f'; 98]).repeat(10),
        server(Opcode::Text, "yes"),
    ];
    assert_eq!(rig.taken(), sent.concat());
}

#[test]
fn overflow_drops_the_oldest_messages_and_counts_them() {
    let mut rig = Rig::server([]).marks(1000, 300, 1000);
    rig.send(|sender| sender.set_overflow(Overflow::DropOldest));
    fill(&mut rig, 800);
    rig.take(150);
    rig.connection.source.room = 0;
    rig.send(|sender| {
        assert!(sender.begin(MessageKind::Binary).is_sent());
        assert!(sender.send_fragment(&[b'1'; 98]).is_sent());
        assert!(sender.finish(&[b'2'; 98]).is_sent());
        assert!(sender.ping(b"!").is_sent());
        assert!(sender.send_text(&"t".repeat(200)).is_sent());
    });
    // 650 + 200 + 3 + 204 wait; six of the first kind are whole, one is begun.
    assert_eq!(rig.queued(), 1057);
    assert_eq!(rig.send(|s| s.send_binary(&[b'n'; 98])), Sent::Queued);
    assert_eq!(rig.send(|s| s.take_dropped()), 2);
    assert_eq!(rig.send(|s| s.take_dropped()), 0);
    assert_eq!(rig.queued(), 957);

    // What cannot be is refused, and nothing dropped for it.
    rig.send(|s| assert!(s.send_binary(&[b'm'; 98]).is_sent()));
    for len in [800, 998, 1001] {
        let sent = rig.send(|s| s.send_binary(&vec![0; len]));
        assert_eq!(sent, Sent::Refused(Refused::Full), "{len} bytes");
    }
    assert_eq!(rig.send(|s| s.take_dropped()), 0);
    assert_eq!(rig.queued(), 1057);
    rig.take(usize::MAX);
    let expected = [
        server(Opcode::Binary, [b'f'; 98]).repeat(6),
        frame(false, Opcode::Binary, None, &[b'1'; 98]),
        frame(true, Opcode::Continuation, None, &[b'2'; 98]),
        server(Opcode::Ping, "!"),
        server(Opcode::Text, "t".repeat(200)),
        server(Opcode::Binary, [b'n'; 98]),
        server(Opcode::Binary, [b'm'; 98]),
    ];
    assert!(rig.taken() == expected.concat());
}

#[test]
fn latest_of_a_key_replaces_what_waits() {
    let mut rig = Rig::server([]);
    fill(&mut rig, 100);
    rig.send(|sender| {
        for price in ["1", "2", "3"] {
            assert_eq!(sender.send_latest_text(7, price), Sent::Queued);
            assert_eq!(sender.send_latest_binary(8, price.as_bytes()), Sent::Queued);
        }
    });
    rig.take(usize::MAX);
    let expected = [server(Opcode::Text, "3"), server(Opcode::Binary, "3")];
    assert_eq!(rig.taken()[100..], expected.concat());
}

#[test]
fn server_does_not_read_from_a_peer_that_does_not_read() {
    let message = [b'm'; 998];
    let mut rig = Rig::server([Reading::Endless(client(Opcode::Binary, message))])
        .marks(10_000, 3_000, 20_000)
        .blocked();
    // It stops in the middle of what it has read.
    assert_eq!(rig.run(READABLE, echo), Turn::Wait);
    assert!((10_000..11_100).contains(&rig.queued()), "{}", rig.queued());
    let reads = rig.connection.source.reads;
    assert_eq!(rig.run(Ready::ALL, echo), Turn::Wait);
    assert_eq!(rig.connection.source.reads, reads);
    // With the low mark it reads again, though the poll says nothing of it: the edge has passed.
    rig.connection.source.room = 8_000;
    assert_eq!(rig.run(WRITABLE, echo), Turn::Wait);
    assert!(rig.connection.source.reads > reads);
    let echoed = rig.taken().chunks_exact(1002);
    assert!(echoed.into_iter().all(|frame| frame[4..] == message));
}

/// Of two ends that both did as the server does, neither might ever read again.
#[test]
fn client_reads_from_a_peer_that_does_not_read() {
    let pieces = (0..30).map(|_| Reading::Bytes(server(Opcode::Binary, [b'm'; 998])));
    let mut rig = Rig::new(Role::Client, NO_TIMEOUTS, pieces)
        .marks(10_000, 3_000, 100_000)
        .blocked();
    assert_eq!(rig.run(READABLE, echo), Turn::Wait);
    assert_eq!(rig.seen().len(), 30);
    assert_eq!(rig.queued(), 30 * (8 + 998));
}

/// The first that a slow peer does not take may be all that a turn has corked.
#[test]
fn server_is_over_high_water_with_what_was_corked() {
    let mut rig = Rig::server(bytes(text("go")).into_iter().chain(bytes(text("unread"))))
        .marks(1000, 300, 2000)
        .blocked();
    let turn = rig.run(READABLE, |_, sender| {
        for _ in 0..10 {
            assert_eq!(sender.send_binary(&[0; 198]), Sent::Corked);
        }
    });
    assert_eq!((turn, rig.seen()), (Turn::Wait, owned(&["Text(\"go\")"])));
    rig.take(1720);
    assert_eq!(rig.seen(), ["Text(\"unread\")"]);
}

#[test]
fn replies_overtake_what_waits() {
    let mut rig = Rig::server([]);
    fill(&mut rig, 500);
    rig.take(10);
    rig.connection.source.room = 0;
    rig.give([client(Opcode::Ping, "1"), client(Opcode::Ping, "2")].concat());
    rig.listen(READABLE);
    rig.take(usize::MAX);
    let whole = server(Opcode::Binary, [b'f'; 98]);
    let pongs = [server(Opcode::Pong, "1"), server(Opcode::Pong, "2")].concat();
    let expected = [&whole[..], &pongs, &whole.repeat(4)];
    assert_eq!(rig.taken(), expected.concat());
}

#[test]
fn heartbeat_overtakes_what_waits() {
    let mut rig = Rig::new(Role::Server, Config::new(), []);
    rig.tick(0);
    fill(&mut rig, 300);
    for now in (5_000..=20_000).step_by(5_000) {
        rig.tick(now);
    }
    rig.take(usize::MAX);
    assert_eq!(rig.taken()[..6], server(Opcode::Ping, [0, 0, 0, 1]));
}

/// RFC 6455 §7.1.2, §5.5.1: the answer to the peer's Close is the last frame, and what was sent before
/// is not lost by it.
#[test]
fn echo_of_a_close_stays_behind_what_waits() {
    let mut rig = Rig::server([]);
    fill(&mut rig, 500);
    rig.give([client(Opcode::Ping, ""), client(Opcode::Close, [3, 233])].concat());
    assert_eq!(rig.listen(READABLE), Turn::Wait);
    assert_eq!(
        rig.seen().last().map(String::as_str),
        Some("Closed(1001, true)")
    );
    assert_eq!(
        rig.send(|s| s.send_text("no")),
        Sent::Refused(Refused::Closing)
    );
    assert_eq!(rig.take(usize::MAX), Turn::Closed);
    let expected = [
        server(Opcode::Pong, ""),
        server(Opcode::Binary, [b'f'; 98]).repeat(5),
        server(Opcode::Close, [3, 233]),
    ];
    assert_eq!(rig.taken(), expected.concat());
    rig.owns_nothing();
}

#[test]
fn close_of_a_failure_drops_what_is_not_begun() {
    for begun in [0, 10] {
        let mut rig = Rig::server([]);
        fill(&mut rig, 500);
        rig.take(begun);
        rig.connection.source.room = 0;
        rig.give([client(Opcode::Ping, ""), b"\x81\0".to_vec(), text("unseen")].concat());
        assert_eq!(rig.listen(READABLE), Turn::Wait);
        assert_eq!(
            rig.seen(),
            [
                "Ping(\"\")",
                "Failed(UnmaskedClientFrame)",
                "Closed(1006, false)"
            ]
        );
        assert_eq!(rig.take(usize::MAX), Turn::Closed);
        let first = server(Opcode::Binary, [b'f'; 98]);
        let whole = if begun > 0 { &first[..] } else { &[] };
        let expected = [whole, &server(Opcode::Close, [3, 234])];
        assert_eq!(rig.taken(), expected.concat());
        rig.owns_nothing();
    }
}

// ---- closing

#[test]
fn close_stays_behind_what_waits_and_no_limit_keeps_it_away() {
    let mut rig = Rig::server([]).marks(1000, 300, 1000);
    fill(&mut rig, 1000);
    let sent = rig.send(|s| s.close(CloseCode::GOING_AWAY, "bye"));
    assert_eq!(sent, Sent::OverHighWater);
    assert_eq!(
        rig.send(|s| s.send_text("no")),
        Sent::Refused(Refused::Closing)
    );
    // It is not sent twice, and not taken back.
    let closing = Sent::Refused(Refused::Closing);
    assert_eq!(rig.send(|s| s.close(CloseCode::NORMAL, "")), closing);
    assert_eq!(rig.send(|s| s.close_now(CloseCode::NORMAL, "")), closing);
    rig.take(usize::MAX);
    let expected = [
        server(Opcode::Binary, [b'f'; 98]).repeat(10),
        server(Opcode::Close, b"\x03\xe9bye"),
    ];
    assert_eq!(rig.taken(), expected.concat());
}

#[test]
fn close_now_drops_what_is_not_begun() {
    let mut rig = Rig::server([]);
    fill(&mut rig, 500);
    rig.take(10);
    rig.connection.source.room = 0;
    assert!(
        rig.send(|s| s.close_now(CloseCode::GOING_AWAY, "bye"))
            .is_sent()
    );
    rig.take(usize::MAX);
    let expected = [
        server(Opcode::Binary, [b'f'; 98]),
        server(Opcode::Close, b"\x03\xe9bye"),
    ];
    assert_eq!(rig.taken(), expected.concat());

    let mut idle = Rig::server([]);
    assert_eq!(
        idle.send(|s| s.close_now(CloseCode::NORMAL, "")),
        Sent::Corked
    );
    assert_eq!(idle.taken(), server(Opcode::Close, [3, 232]));
}

#[test]
fn close_that_is_misuse_changes_nothing() {
    let mut rig = Rig::server([]);
    fill(&mut rig, 500);
    let long = "x".repeat(124);
    for (code, reason, misuse) in [
        (CloseCode::NO_STATUS, "", Misuse::InvalidCloseCode),
        (CloseCode::NORMAL, &long[..], Misuse::CloseReasonTooLong),
    ] {
        let refused = Sent::Refused(Refused::Misuse(misuse));
        assert_eq!(rig.send(|s| s.close_now(code, reason)), refused);
        assert_eq!(rig.send(|s| s.close(code, reason)), refused);
        assert_eq!(rig.queued(), 500);
    }
    assert_eq!(rig.send(|s| s.send_text("more")), Sent::Queued);
}

#[test]
fn server_closes_on_a_peer_that_does_not_read() {
    // A frame that is not masked: it fails, with a Close that nobody takes.
    let mut rig = Rig::new(Role::Server, Config::new(), bytes(b"\x81\0")).blocked();
    rig.tick(5_000);
    assert_eq!(rig.listen(READABLE), Turn::Wait);
    assert_eq!(rig.seen().len(), 2);
    // The first tick starts the deadline.
    assert_eq!(rig.connection.next_timeout(), Some(0));
    assert_eq!(rig.tick(6_000), Turn::Wait);
    assert_eq!(rig.connection.next_timeout(), Some(7_000));
    assert_eq!(rig.tick(6_999), Turn::Wait);
    assert_eq!(rig.listen(Ready::ALL), Turn::Wait);
    assert_eq!(rig.tick(7_000), Turn::Closed);
    assert_eq!(rig.connection.next_timeout(), None);
    assert_eq!(rig.seen(), [""; 0]);
    rig.owns_nothing();
}

#[test]
fn server_closes_on_a_peer_that_reads_late() {
    let mut rig = Rig::new(Role::Server, Config::new(), bytes(b"\x81\0")).blocked();
    assert_eq!(rig.listen(READABLE), Turn::Wait);
    assert_eq!(rig.take(usize::MAX), Turn::Closed);
    assert_eq!(rig.connection.next_timeout(), None);
    assert_eq!(rig.taken(), server(Opcode::Close, [3, 234]));
}

#[test]
fn timeouts_are_told_with_their_close() {
    let mut rig = Rig::new(Role::Server, Config::new(), []);
    let mut turn = rig.listen(Ready::ALL);
    let mut ticks = 0;
    while turn == Turn::Wait {
        let next = rig.connection.next_timeout().expect("the heartbeat runs");
        turn = rig.tick(next);
        ticks += 1;
        assert!(ticks < 100);
    }
    assert_eq!(turn, Turn::Closed);
    assert_eq!(rig.seen(), ["Failed(PingTimeout)", "Closed(1006, false)"]);
    let expected = [
        server(Opcode::Ping, [0, 0, 0, 1]),
        server(Opcode::Close, [3, 243]),
    ];
    assert_eq!(rig.taken()[..6], expected[0]);
    assert_eq!(rig.taken()[6..8], expected[1][..2]);
}

/// Paused or over the high mark, what is due is told by the clock.
#[test]
fn end_is_told_by_the_clock_to_those_who_pause() {
    let mut rig = Rig::server(bytes(b"\x81\0"));
    let turn = rig.run(READABLE, |_, sender| sender.pause());
    assert_eq!((turn, rig.seen().len()), (Turn::Wait, 1));
    assert!(rig.connection.next_timeout().is_some());
    assert_eq!(rig.tick(0), Turn::Closed);
    assert_eq!(rig.seen(), ["Closed(1006, false)"]);
}

// ---- memory

/// RFC 6455 §5.5.3, and row 31 of the security table.
#[test]
fn peer_that_pings_and_does_not_read_costs_four_kib() {
    let pings: Vec<u8> = (0..100_u8)
        .flat_map(|i| client(Opcode::Ping, [i; 125]))
        .collect();
    let mut rig = Rig::server([]);
    fill(&mut rig, 200);
    for _ in 0..50 {
        rig.give(&pings);
        assert_eq!(rig.listen(READABLE), Turn::Wait);
        assert!(rig.queued() <= 200 + (4 << 10), "{} bytes", rig.queued());
    }
    assert_eq!(rig.seen().len(), 5_000);
    // It reads again, and has the latest.
    rig.take(usize::MAX);
    let data = server(Opcode::Binary, [b'f'; 98]).repeat(2);
    let latest = [server(Opcode::Pong, [99; 125]), data].concat();
    assert!(rig.taken().ends_with(&latest));
    rig.owns_nothing();
}

/// Without a queue before, the pongs of the first turn are corked: of these it keeps no more.
#[test]
fn peer_that_only_pings_and_never_reads_costs_four_kib() {
    let pings = client(Opcode::Ping, [b'p'; 125]).repeat(1000);
    let mut rig = Rig::server([Reading::Endless(pings)]).blocked();
    rig.connection.source.room = 10;
    let mut ready = READABLE;
    for _ in 0..100 {
        let turn = rig
            .connection
            .turn(ready, &mut rig.buffers, |_, _| {})
            .expect("it has no faults");
        assert_eq!(turn, Turn::Again);
        ready = Ready::AGAIN;
        assert!(
            (1..=117 + (4 << 10)).contains(&rig.queued()),
            "{}",
            rig.queued()
        );
    }
    let held = rig.connection.queue.as_ref().map(|queue| queue.held());
    assert!(held <= Some(9 << 10), "{held:?}");
}

/// Row 32.
#[test]
fn pongs_cost_nothing() {
    let mut rig = Rig::server(bytes(client(Opcode::Pong, [0; 125]).repeat(900)));
    rig.listen(READABLE);
    assert_eq!(rig.seen().len(), 900);
    assert_eq!(rig.connection.source.writes, 0);
    rig.owns_nothing();
}

// ---- clients, and other ways to send

#[test]
fn client_masks_with_the_keys_of_its_loop() {
    let received = [server(Opcode::Text, "Hello"), server(Opcode::Ping, "?")].concat();
    let mut rig = Rig::new(Role::Client, NO_TIMEOUTS, bytes(&received));
    rig.run(READABLE, echo);
    let large = pattern(300_000);
    let mut memory = [0; 20];
    let prepared = Prepared::text("prepared", &mut memory).expect("it fits");
    rig.send(|sender| {
        assert_eq!(sender.send_prepared(&prepared), Sent::Corked);
        assert_eq!(sender.send_binary(&large), Sent::Corked);
        assert_eq!(sender.close(CloseCode::NORMAL, ""), Sent::Corked);
    });
    let key = |n| Some([n; 4]);
    let expected = [
        frame(true, Opcode::Text, key(1), b"Hello"),
        frame(true, Opcode::Pong, key(2), b"?"),
        frame(true, Opcode::Text, key(3), b"prepared"),
        frame(true, Opcode::Binary, key(4), &large),
        frame(true, Opcode::Close, key(5), &[3, 232]),
    ];
    assert!(rig.taken() == expected.concat());
    rig.owns_nothing();
    // The server ends the stream (RFC 6455 §7.1.1).
    rig.give(server(Opcode::Close, [3, 232]));
    assert_eq!(rig.listen(READABLE), Turn::Wait);
    rig.connection.source.readings.push_back(Reading::End);
    assert_eq!(rig.listen(READABLE), Turn::Closed);
    assert_eq!(
        rig.seen().last().map(String::as_str),
        Some("Closed(1000, true)")
    );
}

#[test]
fn client_writes_pieces_of_every_length() {
    let message = pattern(400);
    let frames = [
        frame(true, Opcode::Binary, Some([1; 4]), &message),
        frame(true, Opcode::Text, Some([2; 4]), b"behind"),
    ]
    .concat();
    for most in 1..=frames.len() {
        let mut rig = Rig::new(Role::Client, NO_TIMEOUTS, []).blocked();
        rig.send(|sender| {
            assert!(sender.send_binary(&message).is_sent());
            assert!(sender.send_text("behind").is_sent());
        });
        while rig.queued() > 0 {
            rig.take(most);
        }
        assert!(rig.taken() == frames, "{most} at once");
    }
}

#[test]
fn client_without_keys_is_told_and_nothing_remains() {
    let mut rig = Rig::new(Role::Client, NO_TIMEOUTS, []);
    rig.buffers = Buffers::new(Marks::new());
    let misuse = Sent::Refused(Refused::Misuse(Misuse::MissingMaskingKeys));
    assert_eq!(rig.send(|s| s.send_text("small")), misuse);
    rig.connection.flags.writable = false;
    assert_eq!(rig.send(|s| s.send_binary(&[0; 300_000])), misuse);
    assert_eq!(rig.send(|s| s.send_binary(&[0; DIRECT_LEN])), misuse);
    rig.owns_nothing();
}

/// RFC 6455 §5.5.2: "Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in response".
#[test]
fn pong_is_sent_by_an_application_that_answers_itself() {
    let config = Config {
        pong: Reply::Manual,
        ..NO_TIMEOUTS
    };
    let mut rig = Rig::new(Role::Server, config, bytes(client(Opcode::Ping, "?")));
    rig.run(READABLE, |event, sender| {
        if let Event::Ping(payload) = event {
            assert_eq!(sender.pong(payload), Sent::Corked);
        }
    });
    assert_eq!(rig.taken(), server(Opcode::Pong, "?"));
}

/// As [`Sender::send_chunk`] promises.
#[test]
fn chunk_that_was_refused_may_be_sent_again() {
    for kind in [MessageKind::Text, MessageKind::Binary] {
        let mut rig = Rig::server([]).marks(1000, 300, 1000);
        rig.send(|sender| sender.set_overflow(Overflow::Reject));
        let fill = |rig: &mut Rig| {
            rig.connection.source.room = 0;
            for _ in 0..10 {
                assert!(rig.send(|sender| sender.ping(&[b'f'; 98])).is_sent());
            }
        };
        fill(&mut rig);
        let chunks = [(true, false), (false, false), (false, true), (true, true)];
        for (first, last) in chunks {
            let chunk = ws_proto::Chunk {
                kind,
                bytes: b"chunk",
                first,
                last,
                compressed: false,
            };
            let full = Sent::Refused(Refused::Full);
            assert_eq!(rig.send(|s| s.send_chunk(chunk)), full);
            assert_eq!(rig.send(|s| s.send_chunk(chunk)), full);
            rig.take(900);
            rig.connection.source.room = 0;
            assert_eq!(
                rig.send(|s| s.send_chunk(chunk)),
                Sent::Queued,
                "{first} {last}"
            );
            rig.take(usize::MAX);
            fill(&mut rig);
        }
        let opcode = Opcode::from(kind);
        let expected = [
            frame(false, opcode, None, b"chunk"),
            server(Opcode::Ping, [b'f'; 98]).repeat(10),
            frame(false, Opcode::Continuation, None, b"chunk"),
            server(Opcode::Ping, [b'f'; 98]).repeat(10),
            frame(true, Opcode::Continuation, None, b"chunk"),
            server(Opcode::Ping, [b'f'; 98]).repeat(10),
            server(opcode, b"chunk"),
        ];
        assert!(rig.taken()[1000..] == expected.concat(), "{kind:?}");
    }
}

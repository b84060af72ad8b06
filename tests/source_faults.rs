//! Whatever a source may do to `ws_mio`, at every call: what is harmless makes no difference, and what
//! is not ends the connection once.
//!
//! Each conversation of the corpus is played on a source that moves a little at a time and tells what
//! an edge-triggered poll would tell: that it is ready, once, behind each time that it was not.

use std::{
    io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write},
    mem,
    sync::Arc,
};

use ws_mio::{
    Buffers, CloseCode, Connection, Delivery, Event, Marks, Ready, Sender, Sent, ShortRead, Turn,
};
use ws_proto::{Chunk, MessageKind, Role, frame::Opcode};
use ws_tests::{
    Conversation, Do, Frame, Keys, Log, Record, Script, Seen, When, corpus, random::Random,
};

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// One byte is moved, and no more.
    Short,
    /// It would block, and will not the next time.
    WouldBlock,
    Interrupted,
    /// The source is broken from here on.
    Reset,
    /// It takes nothing, now and ever.
    WriteZero,
    /// The peer has gone.
    End,
}

const HARMLESS: [Fault; 3] = [Fault::Short, Fault::WouldBlock, Fault::Interrupted];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Read,
    Write,
}

impl Fault {
    fn may_happen_to(self, call: Call) -> bool {
        match self {
            Self::WriteZero => call == Call::Write,
            Self::End => call == Call::Read,
            _ => true,
        }
    }
}

/// What happens to which call, by its number.
type Plan<'a> = &'a mut dyn FnMut(usize, Call) -> Option<Fault>;

struct Source<'a> {
    plan: Plan<'a>,
    calls: Vec<Call>,
    received: &'a [u8],
    /// At most so many bytes are moved in a call.
    piece: usize,
    short_read: ShortRead,
    sent: Vec<u8>,
    has_ended: bool,
    /// What every call gives from here on.
    broken: Option<Fault>,
    /// What a poll would tell next.
    edges: Ready,
}

impl Source<'_> {
    /// The fault of this call, if it is not to go on as usual.
    fn call(&mut self, call: Call) -> io::Result<Option<Fault>> {
        assert!(self.calls.len() < 20_000, "it goes on for ever");
        assert!(self.broken.is_none(), "a broken source is left alone");
        let fault = (self.plan)(self.calls.len(), call).filter(|f| f.may_happen_to(call));
        self.calls.push(call);
        match fault {
            Some(Fault::Interrupted) => Err(ErrorKind::Interrupted.into()),
            Some(Fault::WouldBlock) => Err(self.would_block(call)),
            Some(Fault::Reset) => {
                self.broken = fault;
                Err(ErrorKind::ConnectionReset.into())
            }
            Some(Fault::WriteZero) => {
                self.broken = fault;
                Ok(fault)
            }
            _ => Ok(fault),
        }
    }

    fn would_block(&mut self, call: Call) -> io::Error {
        match call {
            Call::Read => self.edges.readable = self.has_more(),
            Call::Write => self.edges.writable = true,
        }
        ErrorKind::WouldBlock.into()
    }

    fn has_more(&self) -> bool {
        self.has_ended || !self.received.is_empty()
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_vectored(&mut [IoSliceMut::new(buffer)])
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let room: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        assert!(room > 0, "nothing can be told from an empty read");
        let most = match self.call(Call::Read)? {
            Some(Fault::Short) => 1,
            Some(Fault::End) => {
                (self.received, self.has_ended) = (&[], true);
                return Ok(0);
            }
            _ => self.piece,
        };
        if self.received.is_empty() {
            return match self.has_ended {
                true => Ok(0),
                false => Err(self.would_block(Call::Read)),
            };
        }
        let mut read = 0;
        for buffer in buffers {
            let n = buffer.len().min(self.received.len()).min(most - read);
            let (bytes, rest) = self.received.split_at(n);
            buffer[..n].copy_from_slice(bytes);
            (self.received, read) = (rest, read + n);
        }
        // More comes later, where a short read says that this was all.
        self.edges.readable = read < room && self.has_more() && self.short_read == ShortRead::IsAll;
        Ok(read)
    }
}

impl Write for Source<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let most = match self.call(Call::Write)? {
            Some(Fault::Short) => 1,
            Some(Fault::WriteZero) => 0,
            _ => self.piece.max(100),
        };
        let before = self.sent.len();
        for slice in slices {
            let n = slice.len().min(most - (self.sent.len() - before));
            self.sent.extend_from_slice(&slice[..n]);
        }
        Ok(self.sent.len() - before)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An application that follows a script, by way of the sender.
struct App {
    script: Script,
    seen: Log,
    kind: MessageKind,
    message: Vec<u8>,
    messages: usize,
    ping: Vec<u8>,
}

impl App {
    fn take(&mut self, event: Event<'_>, sender: &mut Sender<'_>) {
        self.seen.record(&event);
        match event {
            Event::Text(text) => self.take_whole(MessageKind::Text, text.as_bytes(), sender),
            Event::Binary(bytes) => self.take_whole(MessageKind::Binary, bytes, sender),
            Event::Chunk(chunk) => self.take_chunk(chunk, sender),
            Event::Ping(payload) => {
                self.ping = payload.to_vec();
                self.act(When::EachPing, sender);
            }
            Event::Pong(_) => self.act(When::EachPong, sender),
            Event::Close { .. } => self.act(When::Close, sender),
            Event::Failed(_) | Event::Closed(_) => {}
        }
    }

    fn take_whole(&mut self, kind: MessageKind, bytes: &[u8], sender: &mut Sender<'_>) {
        let chunk = Chunk {
            kind,
            bytes,
            first: true,
            last: true,
            compressed: false,
        };
        self.take_chunk(chunk, sender);
    }

    fn take_chunk(&mut self, chunk: Chunk<'_>, sender: &mut Sender<'_>) {
        if chunk.first {
            (self.kind, self.message) = (chunk.kind, Vec::new());
        }
        self.message.extend_from_slice(chunk.bytes);
        if chunk.last {
            self.messages += 1;
            self.act(When::EachMessage, sender);
            self.act(When::Message(self.messages), sender);
        }
    }

    fn act(&mut self, now: When, sender: &mut Sender<'_>) {
        for (_, action) in self.script.iter().filter(|(when, _)| *when == now) {
            // What is refused is refused whatever the source does.
            _ = self.perform(*action, sender);
        }
    }

    fn perform(&mut self, action: Do, sender: &mut Sender<'_>) -> Sent {
        match action {
            Do::Echo => match (self.kind, &self.message) {
                (MessageKind::Binary, message) => sender.send_binary(message),
                (MessageKind::Text, message) => {
                    sender.send_text(str::from_utf8(message).expect("it was checked on its way in"))
                }
            },
            Do::Text(text) => sender.send_text(text),
            Do::Binary(bytes) => sender.send_binary(bytes),
            Do::Begin(kind) => sender.begin(kind),
            Do::Fragment(bytes) => sender.send_fragment(bytes),
            Do::Finish(bytes) => sender.finish(bytes),
            Do::Ping(payload) => sender.ping(payload),
            Do::Pong => sender.pong(&mem::take(&mut self.ping)),
            Do::Close(code, reason) => sender.close(CloseCode::new(code), reason),
            Do::Fail(_) => unreachable!("a sender cannot fail the connection"),
        }
    }
}

/// How a connection is driven.
#[derive(Clone, Copy, Debug)]
struct Manner {
    short_read: ShortRead,
    delivery: Delivery,
    /// When edges are told.
    poll: Poll,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Poll {
    /// Before each turn, as a loop does that has others to serve.
    EachTurn,
    /// Only where the connection waits.
    WhenItWaits,
}

const MANNERS: [Manner; 4] = {
    const fn manner(short_read: ShortRead, delivery: Delivery) -> Manner {
        Manner {
            short_read,
            delivery,
            poll: Poll::EachTurn,
        }
    }
    [
        manner(ShortRead::IsAll, Delivery::Messages),
        manner(ShortRead::IsAll, Delivery::Chunks),
        manner(ShortRead::MayBePart, Delivery::Messages),
        manner(ShortRead::MayBePart, Delivery::Chunks),
    ]
};

/// What came of a conversation.
struct Played {
    seen: Vec<Seen>,
    sent: Vec<u8>,
    calls: Vec<Call>,
    error: Option<ErrorKind>,
}

fn play(conversation: &Conversation, manner: Manner, pieces: usize, plan: Plan<'_>) -> Played {
    let core = ws_proto::Connection::established(
        conversation.role,
        conversation.extensions,
        Arc::new(conversation.config),
    );
    let source = Source {
        plan,
        calls: Vec::new(),
        received: &conversation.received,
        piece: conversation.received.len().div_ceil(pieces).max(1),
        short_read: manner.short_read,
        sent: Vec::new(),
        has_ended: false,
        broken: None,
        edges: Ready::ALL,
    };
    let mut buffers = match conversation.role {
        Role::Server => Buffers::new(Marks::new()),
        Role::Client => Buffers::masked(Marks::new(), Keys::default()),
    };
    let mut connection = Connection::new(source, core)
        .delivery(manner.delivery)
        .short_read(manner.short_read);
    let mut app = App {
        script: conversation.script,
        seen: Log::default(),
        kind: MessageKind::Binary,
        message: Vec::new(),
        messages: 0,
        ping: Vec::new(),
    };
    let driven = drive(&mut connection, &mut buffers, &mut app, manner.poll);
    // What is due when the source is broken, and nothing where all was told.
    let end = connection.end();
    assert!(end.is_none() || driven.is_err(), "{}", conversation.name);
    if let Some(event) = end {
        app.seen.record(&event);
    }
    assert_eq!(connection.end(), None, "{}", conversation.name);
    let source = connection.into_source();
    Played {
        seen: app.seen.take(),
        sent: source.sent,
        calls: source.calls,
        error: driven.err().map(|error| error.kind()),
    }
}

/// Plays all that the peer sends, and then the end of the transport.
fn drive(
    connection: &mut Connection<Source<'_>>,
    buffers: &mut Buffers,
    app: &mut App,
    poll: Poll,
) -> io::Result<()> {
    connection.send(buffers, |sender| app.act(When::Start, sender))?;
    let mut is_last = false;
    let mut turn = Turn::Wait;
    loop {
        let source = connection.source();
        let ready = match turn == Turn::Wait || poll == Poll::EachTurn {
            true => mem::replace(&mut source.edges, Ready::AGAIN),
            false => Ready::AGAIN,
        };
        if turn == Turn::Wait && ready == Ready::AGAIN {
            assert!(!source.has_ended, "it waits for an edge that has passed");
            assert!(source.received.is_empty(), "it waits in front of bytes");
            if !mem::replace(&mut is_last, true) {
                connection.send(buffers, |sender| app.act(When::Last, sender))?;
                continue;
            }
            source.has_ended = true;
            (source.edges.readable, source.edges.read_closed) = (true, true);
            continue;
        }
        turn = connection.turn(ready, buffers, |event, sender| app.take(event, sender))?;
        if turn == Turn::Closed {
            return Ok(());
        }
    }
}

/// The conversations whose application does what a sender can.
fn conversations() -> impl Iterator<Item = Conversation> {
    corpus::all().into_iter().filter(|conversation| {
        let mut script = conversation.script.iter();
        !script.any(|(_, action)| matches!(action, Do::Fail(_)))
    })
}

/// As many pieces as make the calls worth counting.
const PIECES: [usize; 2] = [1, 9];

/// This layer and the core alone come to the same.
#[test]
fn conversations_on_a_source_are_those_of_the_core() {
    for conversation in conversations() {
        let core = conversation.play(1 << 17, &[]);
        for manner in MANNERS {
            for pieces in [1, 2, 3, 9, 50, 1000] {
                let played = play(&conversation, manner, pieces, &mut |_, _| None);
                let name = format!("{} in {pieces}, {manner:?}", conversation.name);
                assert_eq!(played.error, None, "{name}");
                assert!(played.sent == core.sent, "{name}");
                if manner.delivery == Delivery::Chunks {
                    assert_eq!(played.seen, core.seen.events(), "{name}");
                }
                assert_eq!(closed(&played.seen), 1, "{name}");
            }
        }
    }
}

#[test]
fn harmless_faults_at_every_call_make_no_difference() {
    for_each_call(&HARMLESS, |whole, played, name, fault| {
        assert_eq!(played.error, None, "{name}");
        assert_eq!(played.seen, whole.seen, "{name}");
        // A reply may overtake what the source did not take.
        match fault {
            Fault::WouldBlock => is_the_same_but_for_replies(&played.sent, whole, name),
            _ => assert!(played.sent == whole.sent, "{name}"),
        }
    });
}

#[test]
fn fatal_faults_at_every_call_end_it_once() {
    for_each_call(
        &[Fault::Reset, Fault::WriteZero, Fault::End],
        |whole, played, name, fault| {
            let expected = match fault {
                Fault::Reset => Some(ErrorKind::ConnectionReset),
                Fault::WriteZero => Some(ErrorKind::WriteZero),
                _ => None,
            };
            assert_eq!(played.error, expected, "{name}");
            assert_eq!(closed(&played.seen), 1, "{name}: {:?}", played.seen);
            is_a_beginning(&played.seen, &whole.seen, name);
            if fault != Fault::End {
                assert!(whole.sent.starts_with(&played.sent), "{name}");
            }
        },
    );
}

#[test]
fn harmless_faults_all_at_once_make_no_difference() {
    let mut random = Random::new(0xfa17);
    for conversation in conversations() {
        for manner in MANNERS {
            let whole = play(&conversation, manner, 1, &mut |_, _| None);
            for round in 0..40 {
                let poll = [Poll::EachTurn, Poll::WhenItWaits][round % 2];
                let pieces = 1 + random.below(20);
                let one_in = 1 + random.below(4);
                let mut plan = |_: usize, _: Call| match random.below(one_in + 1) {
                    0 => HARMLESS.get(random.below(3)).copied(),
                    _ => None,
                };
                let manner = Manner { poll, ..manner };
                let played = play(&conversation, manner, pieces, &mut plan);
                let name = &format!("{} in {pieces}, {manner:?}, {round}", conversation.name);
                assert_eq!(played.error, None, "{name}");
                assert_eq!(played.seen, whole.seen, "{name}");
                is_the_same_but_for_replies(&played.sent, &whole, name);
            }
        }
    }
}

/// Plays each conversation without a fault, and with each of the faults at each of its calls.
fn for_each_call(faults: &[Fault], check: impl Fn(&Played, &Played, &str, Fault)) {
    for conversation in conversations() {
        for (manner, pieces) in MANNERS.into_iter().flat_map(|m| PIECES.map(|n| (m, n))) {
            let whole = play(&conversation, manner, pieces, &mut |_, _| None);
            for (at, call) in whole.calls.iter().enumerate() {
                for &fault in faults.iter().filter(|fault| fault.may_happen_to(*call)) {
                    let name = &format!(
                        "{} in {pieces}, {manner:?}: {fault:?} at {call:?} {at}",
                        conversation.name
                    );
                    let mut happened = false;
                    let played = play(&conversation, manner, pieces, &mut |n, _| {
                        happened |= n == at;
                        (n == at).then_some(fault)
                    });
                    assert!(happened, "{name}");
                    check(&whole, &played, name, fault);
                }
            }
        }
    }
}

fn closed(seen: &[Seen]) -> usize {
    let ends = seen.iter().filter(|seen| matches!(seen, Seen::Closed(_)));
    ends.count()
}

/// The same frames, those that answer among themselves and the others among themselves; behind a
/// Close nothing. The Close of a failure may have dropped others.
fn is_the_same_but_for_replies(sent: &[u8], whole: &Played, name: &str) {
    if sent == whole.sent {
        return;
    }
    let is_reply = |frame: &Frame| matches!(frame.opcode, Opcode::Pong | Opcode::Close);
    let split = |bytes| Frame::read_all(bytes).into_iter().partition(is_reply);
    let (replies, others): (Vec<_>, Vec<_>) = split(sent);
    let (whole_replies, whole_others): (Vec<_>, Vec<_>) = split(&whole.sent);
    let last = Frame::read_all(sent).pop().map(|frame| frame.opcode);
    let has_close = replies.iter().any(|frame| frame.opcode == Opcode::Close);
    assert_eq!(has_close, last == Some(Opcode::Close), "{name}");
    let has_failed = whole
        .seen
        .iter()
        .any(|seen| matches!(seen, Seen::Failed(_)));
    match has_failed {
        true => {
            assert!(whole_others.starts_with(&others), "{name}");
            assert_eq!(replies.last(), whole_replies.last(), "{name}");
        }
        false => {
            assert_eq!(others, whole_others, "{name}");
            assert_eq!(replies, whole_replies, "{name}");
        }
    }
}

/// `seen` is how `whole` begins, and the end.
fn is_a_beginning(seen: &[Seen], whole: &[Seen], name: &str) {
    let mut seen = seen.to_vec();
    assert!(matches!(seen.pop(), Some(Seen::Closed(_))), "{name}");
    let Some(last) = seen.pop() else {
        return;
    };
    assert!(whole.starts_with(&seen), "{name}");
    let last_whole = &whole[seen.len()];
    let is_part = match (&last, last_whole) {
        (Seen::Data { bytes, .. }, Seen::Data { bytes: all, .. }) => all.starts_with(bytes),
        (last, whole) => last == whole,
    };
    assert!(is_part, "{name}: {last:?} of {last_whole:?}");
}

//! Whole messages: every storage and every way to read gives the messages of the conversation.

use ws_proto::{
    Config, Connection, Event, Messages, Output, REPLY_ROOM, Role, Violation, Want,
    frame::Opcode::{Binary, Continuation, Text},
    message::Storage,
};
use ws_tests::{Conversation, Frames, Keys, Log, Record, Seen, corpus, random::Random};

/// The largest message of the corpus fits.
const ENOUGH: usize = 66_000;

/// How an adapter reads.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Until `receive` returns nothing.
    Receive,
    /// It asks `wants` first, and calls `receive` once: the way to lend events from a buffer.
    Lend,
    /// Large messages go straight into the storage.
    Direct,
}

#[test]
fn slices_in_all_cuts() {
    read_all_ways(|way, conversation, cuts| {
        Reader::new(conversation, &mut [0; ENOUGH][..]).read(way, conversation, cuts)
    });
}

#[test]
fn heapless_vecs_in_all_cuts() {
    read_all_ways(|way, conversation, cuts| {
        let storage = heapless::Vec::<u8, ENOUGH>::new();
        Reader::new(conversation, storage).read(way, conversation, cuts)
    });
}

#[test]
fn vecs_in_all_cuts() {
    read_all_ways(|way, conversation, cuts| {
        Reader::new(conversation, Vec::new()).read(way, conversation, cuts)
    });
}

#[test]
fn vec_grows_with_what_arrives_and_never_by_what_is_declared() {
    let mut config = Config::new();
    config.limits.max_message = ws_proto::Limit::Unlimited;
    let mut messages = Messages::new(Vec::new());
    let mut connection = Connection::server(config);
    let mut bytes = Frames::of(Role::Client)
        .declared(0x82, 8, 1 << 40, &[1; 1000])
        .take();
    let mut memory = [0; 256];
    let mut output = Output::new(&mut memory);
    let event = messages.receive(&mut connection, &mut &mut bytes[..], &mut output);
    assert_eq!(event, None);
    assert_eq!(messages.len(), 1000);
    let spare = messages
        .spare_mut(&connection, usize::MAX)
        .map(|spare| spare.len());
    assert_eq!(
        spare,
        Some(1 << 10),
        "as much as has arrived, not a tebibyte"
    );
}

#[test]
fn message_that_fits_exactly_and_one_that_does_not() {
    for role in [Role::Client, Role::Server] {
        let fragments = |text: &str| {
            let (head, tail) = text.split_at(3);
            Frames::of(role.peer())
                .frame(false, Text, head)
                .frame(true, Continuation, tail)
                .take()
        };
        for way in [Way::Receive, Way::Lend, Way::Direct] {
            let conversation = conversation(role, fragments("12345678"));
            let mut storage = [0; 8];
            let (log, _) = Reader::new(&conversation, &mut storage[..]).read(
                way,
                &conversation,
                &[conversation.received.len() - 2],
            );
            assert_eq!(log.events()[0], Seen::text("12345678"));

            let conversation = self::conversation(role, fragments("123456789"));
            let (log, sent) =
                Reader::new(&conversation, &mut storage[..]).read(way, &conversation, &[]);
            assert_eq!(log.events()[0], Seen::Failed(Violation::MessageTooBig));
            assert_eq!(log.events().len(), 2, "then it is closed: {log:?}");
            let close = ws_tests::Frame::read_all(&sent).pop();
            let payload = close.map(|close| close.payload);
            assert_eq!(payload, Some(1009u16.to_be_bytes().to_vec()));
        }
    }
}

/// The text does not fit into the storage, and is not UTF-8 either: one failure is reported, at
/// once, and then the end.
#[test]
fn broken_text_beyond_the_storage_is_reported_at_once() {
    for role in [Role::Client, Role::Server] {
        let bytes = Frames::of(role.peer())
            .frame(false, Text, b"123456789\xff")
            .take();
        for way in [Way::Receive, Way::Lend, Way::Direct] {
            let conversation = conversation(role, bytes.clone());
            let mut storage = [0; 8];
            let mut reader = Reader::new(&conversation, &mut storage[..]);
            reader.take(way, &conversation.received);
            let failed = |seen: &Seen| matches!(seen, Seen::Failed(_));
            let log = reader.log.events();
            assert!(log.first().is_some_and(failed), "{way:?}: {log:?}");
            assert!(
                matches!(log.last(), Some(Seen::Closed(_))),
                "{way:?}: {log:?}"
            );
        }
    }
}

/// The application fails the connection in the middle of a frame that is read directly.
#[test]
fn closed_is_reported_after_a_failure_inside_a_large_frame() {
    let mut connection = Connection::server(Config::new());
    let mut messages = Messages::new([0; 1024]);
    let mut bytes = Frames::of(Role::Client)
        .binary([1; 600])
        .cut_off(300)
        .take();
    let mut memory = [0; 512];
    let mut output = Output::new(&mut memory);
    let mut input = &mut bytes[..];
    let event = messages.receive(&mut connection, &mut input, &mut output);
    assert_eq!(event, None);
    let failed = connection.fail(Violation::PolicyViolation, &mut output);
    assert_eq!(failed, Some(Event::Failed(Violation::PolicyViolation)));

    let mut closed = false;
    if let Some(spare) = messages.spare_mut(&connection, usize::MAX) {
        let n = spare.len();
        closed |= matches!(
            messages.commit(n, &mut connection, &mut output),
            Some(Event::Closed(_))
        );
    }
    let event = messages.receive(&mut connection, &mut &mut [][..], &mut output);
    closed |= matches!(event, Some(Event::Closed(_)));
    assert!(closed, "the end is reported once, and not swallowed");
}

#[test]
fn shrink_gives_memory_back_between_messages_only() {
    let mut connection = Connection::client(Config::new());
    let mut messages = Messages::new(Vec::new());
    let mut keys = Keys::default();
    let mut memory = [0; 256];
    let mut output = Output::masked(&mut memory, &mut keys);
    let mut peer = Frames::of(Role::Server);
    let mut first = peer.frame(false, Binary, [1; 500]).take();
    let mut second = peer.frame(true, Continuation, [2; 500]).take();
    let event = messages.receive(&mut connection, &mut &mut first[..], &mut output);
    assert_eq!(event, None);
    messages.shrink();
    assert_eq!(messages.len(), 500);
    let event = messages.receive(&mut connection, &mut &mut second[..], &mut output);
    assert!(matches!(event, Some(Event::Binary(bytes)) if bytes.len() == 1000));
    messages.shrink();
    assert!(messages.is_empty());
}

fn read_all_ways(read: impl Fn(Way, &Conversation, &[usize]) -> (Log, Vec<u8>)) {
    let mut random = Random::new(0x3e55);
    for conversation in corpus::all() {
        // Whether the application sends makes no difference to what it receives, unless it closes.
        let conversation = Conversation {
            script: &[],
            ..conversation
        };
        let whole = conversation.play(1 << 17, &[]);
        let expected = (whole_messages(whole.seen), whole.sent);
        let len = conversation.received.len();
        let once = (0..=len).step_by(len / 100 + 1).map(|cut| vec![cut]);
        let byte_by_byte = (len < 2048).then(|| (0..len).collect());
        let many = (0..20).map(|count| random.cuts(len, count));
        for cuts in once.chain(byte_by_byte).chain(many.collect::<Vec<_>>()) {
            for way in [Way::Receive, Way::Lend, Way::Direct] {
                let found = read(way, &conversation, &cuts);
                assert_eq!(
                    found, expected,
                    "{} {way:?} cut at {cuts:?}",
                    conversation.name
                );
            }
        }
    }
}

/// The log of a reader of whole messages: the parts of a message become one entry, where the last
/// of them came. Compressed parts stay as they are.
fn whole_messages(mut log: Log) -> Log {
    let mut whole = Log::default();
    let mut message = Vec::new();
    for seen in log.take() {
        match seen {
            Seen::Data {
                kind,
                bytes,
                first,
                last,
                compressed: false,
            } => {
                if first {
                    message.clear();
                }
                message.extend(bytes);
                if last {
                    whole.push(Seen::part(kind, &message, true, true));
                }
            }
            other => whole.push(other),
        }
    }
    whole
}

fn conversation(role: Role, received: Vec<u8>) -> Conversation {
    Conversation {
        role,
        received,
        ..corpus::named("server_nothing")
    }
}

/// An adapter, in miniature.
struct Reader<B> {
    connection: Connection<Config>,
    messages: Messages<B>,
    unread: Vec<u8>,
    memory: [u8; REPLY_ROOM],
    keys: Keys,
    sent: Vec<u8>,
    log: Log,
}

impl<B: Storage> Reader<B> {
    fn new(conversation: &Conversation, storage: B) -> Self {
        Self {
            connection: Connection::established(
                conversation.role,
                conversation.extensions,
                conversation.config,
            ),
            messages: Messages::new(storage),
            unread: Vec::new(),
            memory: [0; REPLY_ROOM],
            keys: Keys::default(),
            sent: Vec::new(),
            log: Log::default(),
        }
    }

    fn read(mut self, way: Way, conversation: &Conversation, cuts: &[usize]) -> (Log, Vec<u8>) {
        let mut from = 0;
        for &cut in cuts {
            self.take(way, &conversation.received[from..cut]);
            from = cut;
        }
        self.take(way, &conversation.received[from..]);
        if let Some(event) = self.connection.end_of_input() {
            self.log.record(&event);
        }
        (self.log, self.sent)
    }

    fn take(&mut self, way: Way, mut bytes: &[u8]) {
        if matches!(way, Way::Direct) && self.unread.is_empty() {
            bytes = self.take_directly(bytes);
        }
        self.unread.extend_from_slice(bytes);
        let mut memory = std::mem::take(&mut self.unread);
        let mut input = &mut memory[..];
        while self.step(way, &mut input) {}
        self.unread = input.to_vec();
    }

    /// One event, or one flush; whether there may be more.
    fn step(&mut self, way: Way, input: &mut &mut [u8]) -> bool {
        let Self {
            connection,
            messages,
            memory,
            keys,
            ..
        } = self;
        let mut output = match connection.role() {
            Role::Client => Output::masked(memory, keys),
            Role::Server => Output::new(memory),
        };
        let mut want = Want::Event;
        if matches!(way, Way::Lend) {
            want = messages.wants(connection, input, &mut output);
        }
        let mut reported = false;
        if want == Want::Event {
            let event = messages.receive(connection, input, &mut output);
            reported = event.is_some();
            assert!(
                reported || !matches!(way, Way::Lend),
                "wants promised an event"
            );
            if let Some(event) = event {
                self.log.record(&event);
            }
        }
        self.sent.extend_from_slice(output.written());
        let room = output.room();
        reported || self.connection.wants(input, room) == Want::Output
    }

    /// Reads as much of `bytes` as there is spare memory for; the rest.
    fn take_directly<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        while !bytes.is_empty()
            && let Some(spare) = self.messages.spare_mut(&self.connection, self.memory.len())
        {
            let n = spare.len().min(bytes.len());
            let (now, rest) = bytes.split_at(n);
            spare[..n].copy_from_slice(now);
            bytes = rest;
            let mut output = match self.connection.role() {
                Role::Client => Output::masked(&mut self.memory, &mut self.keys),
                Role::Server => Output::new(&mut self.memory),
            };
            let event = self.messages.commit(n, &mut self.connection, &mut output);
            if let Some(event) = event {
                self.log.record(&event);
            }
            self.sent.extend_from_slice(output.written());
        }
        bytes
    }
}

/// Bytes that were read into memory which nobody takes would be lost.
#[test]
fn no_memory_is_lent_while_a_reply_would_find_no_room() {
    let mut connection = Connection::server(Config::new());
    let mut messages = Messages::new(vec![0; 4096]);
    let mut bytes = Frames::of(Role::Client).binary([7; 1000]).take();
    let mut memory = [0; REPLY_ROOM];
    let mut output = Output::new(&mut memory);
    let mut head = &mut bytes[..100];
    assert_eq!(
        messages.receive(&mut connection, &mut head, &mut output),
        None
    );
    assert_eq!(messages.spare_mut(&connection, REPLY_ROOM - 1), None);
    let spare = messages.spare_mut(&connection, REPLY_ROOM);
    assert_eq!(spare.map(|spare| spare.len()), Some(1000 - 92));
    let event = messages.commit(1000 - 92, &mut connection, &mut output);
    assert!(matches!(event, Some(Event::Binary(bytes)) if bytes.len() == 1000));
}

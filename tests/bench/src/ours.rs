//! `ws-proto`, driven as its documentation says.

use std::hint::black_box;

use ws_proto::{
    Chunk, Config, Connection, Event, MessageKind, Output, REPLY_ROOM, SEND_ROOM, ServerHandshake,
    handshake::{Acceptance, EMPTY_HEADER, Upgrade},
};

use crate::{
    bytewise,
    decode::Decoder,
    encode::{self, Keys, Sender},
    frames::{Batch, Kind},
    handshake,
    harness::Contender,
    report::OURS,
};

/// The defaults, limits and all: 1 MiB is the longest message.
pub static CONFIG: Config = Config::new();

/// Unread bytes are at most a control frame that is incomplete.
const UNREAD_MAX: usize = REPLY_ROOM;

/// `Connection::receive` over a lent buffer.
#[derive(Debug)]
pub struct Ours {
    connection: Connection,
    input: Vec<u8>,
    output: [u8; 512],
}

impl Decoder for Ours {
    const NAME: &'static str = OURS;
    const CHECKS: &'static str = "all, limits included";

    fn new(batch: &Batch) -> Self {
        Self {
            connection: Connection::server(&CONFIG),
            input: batch.wire.clone(),
            output: [0; 512],
        }
    }

    fn load(&mut self, wire: &[u8]) {
        self.input.copy_from_slice(wire);
    }

    fn drain(&mut self, _: usize, mut sink: impl FnMut(Kind, &[u8])) {
        let mut input = self.input.as_mut_slice();
        let mut output = Output::new(&mut self.output);
        while let Some(event) = self.connection.receive(&mut input, &mut output) {
            match event {
                Event::Text(text) => sink(Kind::Text, text.as_bytes()),
                Event::Binary(bytes) => sink(Kind::Binary, bytes),
                event => panic!("{event:?}"),
            }
        }
    }
}

/// Our sends, in the race of encoders.
#[must_use]
pub fn encoder(sender: Sender, batch: &Batch) -> Contender<'_> {
    let frames = batch.frames;
    let mut keys = Keys::default();
    let mut connection = match sender {
        Sender::Server => Connection::server(&CONFIG),
        Sender::Client => Connection::client(&CONFIG),
    };
    encode::contender(OURS, sender, batch, move |payload, output| {
        output.resize(encode::room(payload.len(), frames) + SEND_ROOM, 0);
        let mut output = match sender {
            Sender::Server => Output::new(output),
            Sender::Client => Output::masked(output, black_box(&mut keys)),
        };
        for _ in 0..frames {
            connection
                .send_binary(payload, &mut output)
                .expect("room for the frame");
        }
        black_box(output.written());
    })
}

/// Our receiver in the race of those that are fed byte by byte.
#[must_use]
pub fn bytewise(batch: &Batch) -> Contender<'_> {
    let mut connection = Connection::server(&CONFIG);
    bytewise::contender(OURS, batch, move |wire| feed(&mut connection, wire))
}

/// Feeds byte by byte; what is left unread is presented again, with the next byte behind it.
/// Returns how many payload bytes came out.
pub fn feed(connection: &mut Connection, wire: &[u8]) -> usize {
    let mut buffer = [0; UNREAD_MAX + 1];
    let mut reply = [0; REPLY_ROOM];
    let mut output = Output::new(&mut reply);
    let (mut unread, mut seen) = (0, 0);
    for byte in wire {
        buffer[unread] = *byte;
        let mut input = &mut buffer[..=unread];
        while let Some(event) = connection.receive(&mut input, &mut output) {
            seen += payload_len(event);
        }
        // Bytes are left from the front on: those of a header, all or none.
        unread = input.len();
    }
    seen
}

/// Our half of the opening handshake, in the race of those.
#[must_use]
pub fn handshake<'a>() -> Contender<'a> {
    let mut buffer = [0; 512];
    handshake::contender(
        OURS,
        "all checks, connection made",
        move |request, answer| {
            let mut output = Output::new(&mut buffer);
            black_box(accept(request, &mut output));
            answer.extend_from_slice(output.written());
        },
    )
}

/// Accepts a request that lies here whole.
pub fn accept(request: &[u8], output: &mut Output<'_>) -> Connection {
    let mut handshake = ServerHandshake::new();
    let mut headers = [EMPTY_HEADER; 32];
    let received = handshake.receive(request, &mut headers, &CONFIG.limits);
    let upgrade = received.expect("valid").expect("whole").upgrade();
    assert!(matches!(upgrade, Upgrade::WebSocket), "an upgrade");
    handshake
        .accept(&Acceptance::new(), &CONFIG, output)
        .expect("room for the answer")
}

fn payload_len(event: Event<'_>) -> usize {
    match event {
        Event::Text(text) => text.len(),
        Event::Binary(bytes) => bytes.len(),
        Event::Chunk(Chunk {
            bytes,
            kind: MessageKind::Text | MessageKind::Binary,
            ..
        }) => bytes.len(),
        event => panic!("{event:?}"),
    }
}

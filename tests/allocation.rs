//! The core allocates nothing: not in a conversation, not in a handshake, not in an error.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    convert::Infallible,
};

use embedded_io::{ErrorType, Read, Write};
use ws_proto::{
    ClientHandshake, Config, Connection, Event, Messages, Output, ServerHandshake, WsUri,
    handshake::{Acceptance, ClientRequest, EMPTY_HEADER, Outcome, Persistence, Upgrade},
    io::{Error, WebSocket},
    message::Storage,
};
use ws_tests::{
    Conversation, End, Ignore, Keys,
    corpus::{self, heads},
};

/// Counts what each thread allocates. (Tests run in threads of their own.)
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: each call is handed to the system's allocator as it came; the counter is a plain number.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller promises what the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: `memory` came from the system's allocator, with this layout.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: `memory` came from the system's allocator, with this layout.
        unsafe { System.realloc(memory, layout, len) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many allocations are made while `f` runs.
fn allocations(f: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    f();
    ALLOCATIONS.get() - before
}

#[test]
fn counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1, 2, 3]))), 1);
    assert_eq!(allocations(|| ()), 0);
}

#[test]
fn conversations_allocate_nothing() {
    for conversation in corpus::all() {
        for room in [131, 300, 4096] {
            for piece in [1, 13, 1000, usize::MAX] {
                let mut end: End<Ignore> = conversation.end(room);
                // The harness's own memory, for all that is received and sent.
                end.reserve(conversation.received.len().max(70_000));
                end.sent.reserve(1 << 18);
                let count = allocations(|| {
                    for piece in conversation.received.chunks(piece) {
                        end.receive(piece);
                    }
                    end.handle_timeout(0);
                    end.receive_last();
                    end.handle_timeout(25_000);
                    end.end_of_input();
                });
                assert_eq!(count, 0, "{} in pieces of {piece}", conversation.name);
            }
        }
    }
}

#[test]
fn whole_messages_allocate_nothing() {
    let mut slice = vec![0; 66_000];
    for conversation in corpus::all() {
        read_messages(&conversation, &mut slice[..]);
        read_messages(&conversation, heapless::Vec::<u8, 1024>::new());
        read_messages(&conversation, [0; 1024]);
    }
}

fn read_messages(conversation: &Conversation, storage: impl Storage) {
    let mut connection = Connection::established(
        conversation.role,
        conversation.extensions,
        conversation.config,
    );
    let mut messages = Messages::new(storage);
    let mut received = conversation.received.clone();
    let mut memory = [0; 131];
    let mut keys = Keys::default();
    let count = allocations(|| {
        let mut input = &mut received[..];
        loop {
            let mut output = match conversation.role {
                ws_proto::Role::Client => Output::masked(&mut memory, &mut keys),
                ws_proto::Role::Server => Output::new(&mut memory),
            };
            if messages
                .receive(&mut connection, &mut input, &mut output)
                .is_none()
                && output.is_empty()
            {
                break;
            }
        }
        let _ = connection.end_of_input();
    });
    assert_eq!(count, 0, "{}", conversation.name);
}

#[test]
fn blocking_driver_allocates_nothing() {
    let (mut rx, mut tx) = ([0; 131], [0; 512]);
    for conversation in corpus::all() {
        let connection = Connection::established(
            conversation.role,
            conversation.extensions,
            conversation.config,
        );
        let mut keys = Keys::default();
        let stream = Wire(&conversation.received);
        let count = allocations(|| {
            let mut socket = match conversation.role {
                ws_proto::Role::Client => {
                    WebSocket::client(stream, connection, &mut rx, &mut tx, &mut keys)
                }
                ws_proto::Role::Server => WebSocket::server(stream, connection, &mut rx, &mut tx),
            };
            assert_eq!(socket.send_binary(&[0; 1000]), Ok(()));
            let mut echo = || {
                socket.turn(|event, connection, output| match event {
                    Event::Text(text) => connection.send_text(text, output),
                    _ => Ok(()),
                })
            };
            while echo() != Err(Error::Closed) {}
        });
        assert_eq!(count, 0, "{}", conversation.name);
    }
    for (name, request) in heads::REQUESTS {
        let (config, stream) = (Config::new(), Wire(request));
        let count = allocations(|| {
            let _ = WebSocket::accept(stream, config, &mut rx, &mut tx, |_| Ok(Acceptance::new()));
        });
        assert_eq!(count, 0, "request {name}");
    }
}

/// A stream of these bytes, which takes all that is written.
struct Wire<'a>(&'a [u8]);

impl ErrorType for Wire<'_> {
    type Error = Infallible;
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        self.0.read(buffer)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

#[test]
fn handshakes_allocate_nothing() {
    const CONFIG: Config = Config::new();
    let mut memory = [0; 512];
    for (name, request) in heads::REQUESTS {
        let count = allocations(|| {
            let mut handshake = ServerHandshake::new();
            let mut output = Output::new(&mut memory);
            let mut headers = [EMPTY_HEADER; 16];
            let answered = match handshake.receive(request, &mut headers, &CONFIG.limits) {
                Ok(None) => Ok(()),
                Err(error) => handshake.reject_error(error, &mut output),
                Ok(Some(request)) => match request.upgrade() {
                    Upgrade::Refused(error) => handshake.reject_error(error, &mut output),
                    Upgrade::None => {
                        handshake.respond(200, &[], b"hello", Persistence::Close, &mut output)
                    }
                    Upgrade::WebSocket => {
                        request.extensions().for_each(drop);
                        let chosen = request.choose(heads::OFFERED);
                        let acceptance = Acceptance::new().subprotocol(chosen);
                        let accepted = handshake.accept(&acceptance, CONFIG, &mut output);
                        accepted.map(drop).map_err(Into::into)
                    }
                },
            };
            assert_eq!(answered, Ok(()));
        });
        assert_eq!(count, 0, "request {name}");
    }
    for (name, response) in heads::RESPONSES {
        let count = allocations(|| {
            let uri = WsUri::parse("ws://user:pass@server.example.com:81/chat?a").expect("valid");
            let request = ClientRequest::new(uri).subprotocols(heads::OFFERED);
            let mut output = Output::new(&mut memory);
            let handshake = ClientHandshake::start(&request, heads::NONCE, &mut output);
            let mut handshake = handshake.expect("there is room");
            let mut headers = [EMPTY_HEADER; 16];
            match handshake.receive(response, &mut headers, &CONFIG.limits) {
                Ok(Some(Outcome::Accepted { agreed, .. })) => drop(agreed.finish(CONFIG)),
                Ok(Some(Outcome::Rejected(response))) => response.challenges().for_each(drop),
                Ok(None) | Err(_) => {}
            }
        });
        assert_eq!(count, 0, "response {name}");
    }
}

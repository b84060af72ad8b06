//! Connections on a scripted source, which moves as much as it is told to.

use std::collections::VecDeque;

use ws_proto::Timeouts;

use super::*;

static CONFIG: Config = Config::new();
static NO_TIMEOUTS: Config = {
    let mut config = Config::new();
    config.timeouts = Timeouts::never();
    config
};

/// A text message of a client, with a key of zeros.
const MASKED_HELLO: &[u8] = b"\x81\x85\0\0\0\0Hello";

/// Gives `input` piece by piece and then blocks; takes `room` bytes and then blocks.
#[derive(Default)]
struct Script {
    input: VecDeque<Vec<u8>>,
    room: usize,
    taken: Vec<u8>,
}

impl Script {
    fn giving(input: &[u8]) -> Self {
        Self {
            input: VecDeque::from([input.to_vec()]),
            room: usize::MAX,
            ..Self::default()
        }
    }
}

impl Read for Script {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        assert!(!buffer.is_empty(), "nothing can be told from an empty read");
        let Some(piece) = self.input.front_mut() else {
            return Err(ErrorKind::WouldBlock.into());
        };
        let n = piece.len().min(buffer.len());
        buffer[..n].copy_from_slice(&piece[..n]);
        piece.drain(..n);
        if piece.is_empty() {
            self.input.pop_front();
        }
        Ok(n)
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(self.room);
        if n == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.room -= n;
        self.taken.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn server(source: Script, config: &'static Config) -> Connection<Script> {
    Connection::server(source, ws_proto::Connection::server(config))
}

/// Turns until it would wait or has closed; the events as text.
fn run(connection: &mut Connection<Script>, buffer: &mut [u8]) -> (Turn, Vec<String>) {
    let mut events = Vec::new();
    loop {
        let turn = connection
            .turn(buffer, |event, _| events.push(format!("{event:?}")))
            .expect("the script has no errors");
        if turn != Turn::Again {
            return (turn, events);
        }
    }
}

#[test]
fn server_sends_to_a_peer_one_message_behind() {
    const MESSAGE: [u8; 1000] = [7; 1000];
    const FRAME: usize = 4 + MESSAGE.len();
    let mut connection = server(Script::default(), &NO_TIMEOUTS);
    let send = |connection: &mut Connection<Script>| {
        let sent = connection.sender().send_binary(&MESSAGE);
        assert_eq!(sent, Ok(()));
    };
    send(&mut connection);
    for turn in 0..1000 {
        send(&mut connection);
        connection.source.room = FRAME;
        assert_eq!(run(&mut connection, &mut [0; 1024]).0, Turn::Wait);
        assert_eq!(connection.sender.queued(), FRAME);
        let capacity = connection.sender.queue.capacity();
        assert!(capacity <= 8 * FRAME, "{capacity} bytes after turn {turn}");
    }
    let whole = connection.source.taken.chunks_exact(FRAME);
    assert!(whole.into_iter().all(|frame| frame[4..] == MESSAGE));
}

#[test]
fn server_gives_memory_back_after_large_messages() {
    let message = vec![0; 512 << 10];
    // Masked with zeros, in a frame with 64 bits of length.
    let mut frame = b"\x82\xff\0\0\0\0\0\x08\0\0\0\0\0\0".to_vec();
    frame.extend_from_slice(&message);
    let mut connection = server(Script::giving(&frame), &NO_TIMEOUTS);
    assert_eq!(connection.sender().send_binary(&message), Ok(()));
    // The peer takes all but a little, and then the rest.
    connection.source.room = message.len();
    let (turn, _) = run(&mut connection, &mut [0; 1024]);
    assert_eq!((turn, connection.sender.queued()), (Turn::Wait, 10));
    assert!(connection.sender.queue.capacity() <= 4 * KEPT);
    let messages = std::mem::replace(&mut connection.messages, Messages::new(Vec::new()));
    assert_eq!(messages.into_storage().capacity(), 0);
    connection.source.room = usize::MAX;
    run(&mut connection, &mut [0; 1024]);
    assert!(connection.sender.queue.capacity() <= KEPT);
    assert_eq!(connection.source.taken.len(), 10 + message.len());
}

#[test]
fn server_closes_on_a_peer_that_does_not_read() {
    // A frame that is not masked: it fails, with a Close that nobody takes.
    let mut connection = server(Script::giving(b"\x81\0"), &CONFIG);
    connection.source.room = 0;
    let buffer = &mut [0; 1024];
    connection.handle_timeout(5_000, |_| {});
    let (turn, events) = run(&mut connection, buffer);
    assert_eq!((turn, events.len()), (Turn::Wait, 2));
    // The first tick starts the deadline.
    assert_eq!(connection.next_timeout(), Some(0));
    connection.handle_timeout(6_000, |_| {});
    assert_eq!(connection.next_timeout(), Some(7_000));
    connection.handle_timeout(6_999, |_| {});
    assert_eq!(run(&mut connection, buffer).0, Turn::Wait);
    connection.handle_timeout(7_000, |_| {});
    assert_eq!(connection.next_timeout(), None);
    assert_eq!(run(&mut connection, buffer).0, Turn::Closed);
}

#[test]
fn server_closes_on_a_peer_that_reads_late() {
    let mut connection = server(Script::giving(b"\x81\0"), &CONFIG);
    connection.source.room = 0;
    assert_eq!(run(&mut connection, &mut [0; 1024]).0, Turn::Wait);
    connection.source.room = usize::MAX;
    assert_eq!(run(&mut connection, &mut [0; 1024]).0, Turn::Closed);
    assert_eq!(connection.next_timeout(), None);
    assert_eq!(connection.source.taken[0], 0x88);
}

#[test]
fn server_resumes_with_frames_behind_the_handshake() {
    // The last one is cut, and more is kept than the buffer holds.
    let mut unread = MASKED_HELLO.repeat(300);
    let rest = unread.split_off(unread.len() - 4);
    let mut connection = server(Script::giving(&rest), &NO_TIMEOUTS).resume(&unread);
    let (turn, events) = run(&mut connection, &mut [0; 1024]);
    assert_eq!((turn, events.len()), (Turn::Wait, 300));
    assert!(events.iter().all(|event| event == "Text(\"Hello\")"));
    assert_eq!(connection.unread.capacity(), 0);
}

#[test]
fn server_resumes_with_frames_on_a_silent_source() {
    let mut connection = server(Script::default(), &NO_TIMEOUTS).resume(MASKED_HELLO);
    let (turn, events) = run(&mut connection, &mut [0; 1024]);
    assert_eq!((turn, events.len()), (Turn::Wait, 1));
}

#[test]
fn server_is_lent_too_small_a_buffer() {
    // Half of a ping, which is kept.
    let mut ping = b"\x89\xfd\0\0\0\0".to_vec();
    ping.resize(6 + 125, b'!');
    let rest = ping.split_off(100);
    let mut connection = server(Script::giving(&ping), &NO_TIMEOUTS);
    run(&mut connection, &mut [0; 1024]);
    connection.source.input.push_back(rest);
    for len in [0, 100, MIN_BUFFER - 1] {
        let error = connection
            .turn(&mut vec![0; len], |_, _| {})
            .expect_err("the buffer is too small");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    // Nothing was lost by that.
    let (turn, events) = run(&mut connection, &mut [0; MIN_BUFFER]);
    assert_eq!((turn, events.len()), (Turn::Wait, 1));
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "a server's connection")]
fn server_is_made_of_a_client() {
    Connection::server(Script::default(), ws_proto::Connection::client(&CONFIG));
}

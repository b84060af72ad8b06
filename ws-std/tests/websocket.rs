//! [`WebSocket`] on streams in memory: reads, writes, faults, ends.

mod support;

use std::{
    io::ErrorKind,
    sync::Arc,
    time::{Duration, Instant},
};

use support::{Read1, Script, masked, plain, unmask};
use ws_std::{
    CloseCode, Config, Error, Initiator, Limit, Message, MessageKind, Misuse, Stage, State,
    Violation, WebSocket,
};

fn server(stream: &mut Script) -> WebSocket<&mut Script> {
    WebSocket::server(stream, Arc::new(Config::new()))
}

fn client(stream: &mut Script) -> WebSocket<&mut Script> {
    WebSocket::client(stream, Arc::new(Config::new()))
}

fn text(text: &str) -> Message {
    Message::Text(text.to_owned())
}

#[test]
fn server_receives_many_frames_of_one_read_and_replies_in_one_write() {
    let frames: Vec<u8> = (0..100)
        .flat_map(|n| {
            let mut frames = masked(0x82, &[n; 20]);
            frames.extend(masked(0x89, &[n]));
            frames
        })
        .chain(masked(0x88, b"\x03\xe8"))
        .collect();
    let mut stream = Script::bytes(&frames);
    stream.reads.push_back(Read1::End);
    let mut count = 0;
    let closed = server(&mut stream)
        .for_each(|message, reply| {
            count += 1;
            reply.send(message)
        })
        .expect("an ordinary end");
    assert_eq!((closed.code, closed.clean), (CloseCode::NORMAL, true));
    assert_eq!(count, 100);
    assert_eq!(stream.writes.len(), 1, "one write");
    let expected: Vec<u8> = (0..100)
        .flat_map(|n| {
            let mut frames = plain(0x82, &[n; 20]);
            frames.extend(plain(0x8a, &[n]));
            frames
        })
        .chain(plain(0x88, b"\x03\xe8"))
        .collect();
    assert_eq!(stream.written(), expected);
    assert!(stream.is_shut_down);
}

#[test]
fn recv_sends_the_pongs_of_one_read_in_one_write_with_the_last_message() {
    let frames = [
        masked(0x89, b"1"),
        masked(0x81, b"a"),
        masked(0x89, b"2"),
        masked(0x81, b"b"),
    ];
    let mut stream = Script::bytes(&frames.concat());
    let mut socket = server(&mut stream);
    assert_eq!(socket.recv().expect("a message"), text("a"));
    assert_eq!(socket.stream().writes.len(), 0);
    assert_eq!(socket.recv().expect("a message"), text("b"));
    assert_eq!(
        socket.stream().writes,
        [[plain(0x8a, b"1"), plain(0x8a, b"2")].concat()]
    );
}

#[test]
fn replies_that_fill_the_buffer_leave_before_its_end() {
    let frames = masked(0x82, &[7; 20]).repeat(600);
    let mut stream = Script::bytes(&frames);
    let mut socket = server(&mut stream);
    let outcome = socket.for_each(|_, reply| reply.send_binary(&[1; 1000]));
    assert!(matches!(outcome, Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock));
    let stream = socket.stream();
    assert_eq!(stream.written(), plain(0x82, &[1; 1000]).repeat(600));
    assert!(stream.writes.iter().all(|write| write.len() <= 17 << 10));
}

/// A message cut at every byte, with the time running out at the cut.
#[test]
fn recv_timeout_loses_nothing_of_partial_data() {
    let frames = [masked(0x01, "Hé".as_bytes()), masked(0x80, &[b'x'; 200])].concat();
    let expected = format!("Hé{}", "x".repeat(200));
    for cut in 1..frames.len() {
        let mut stream = Script::new([
            Read1::Bytes(frames[..cut].to_vec()),
            Read1::Error(ErrorKind::WouldBlock),
            Read1::Error(ErrorKind::TimedOut),
            Read1::Bytes(frames[cut..].to_vec()),
        ]);
        let mut socket = server(&mut stream);
        let mut messages = Vec::new();
        for _ in 0..4 {
            messages.extend(
                socket
                    .recv_timeout(Duration::from_secs(9))
                    .expect("no error"),
            );
        }
        assert_eq!(messages, [text(&expected)], "cut at {cut}");
    }
}

#[test]
fn recv_timeout_of_zero_takes_what_is_there() {
    let frames = [masked(0x81, b"a"), masked(0x81, b"b")].concat();
    let mut stream = Script::bytes(&frames);
    let mut socket = server(&mut stream);
    let mut receive = || socket.recv_timeout(Duration::ZERO).expect("no error");
    assert_eq!(receive(), Some(text("a")));
    assert_eq!(receive(), Some(text("b")));
    assert_eq!(receive(), None);
}

/// What a server does with a conversation, whatever goes wrong for a moment.
fn converse(stream: &mut Script) -> Vec<Message> {
    let mut socket = server(stream);
    let mut messages = Vec::new();
    loop {
        let message = match socket.recv() {
            Ok(message) => message,
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(Error::Timeout(Stage::Send)) => continue,
            Err(Error::Closed(closed)) => {
                assert!(closed.clean);
                return messages;
            }
            Err(error) => panic!("{error}"),
        };
        if let Err(error) = socket.send(&message) {
            assert!(matches!(error, Error::Timeout(Stage::Send)), "{error}");
            while socket.flush().is_err() {}
        }
        messages.push(message);
    }
}

fn conversation() -> Vec<u8> {
    [
        masked(0x89, b"ping"),
        masked(0x01, b"Hel"),
        masked(0x89, b"inside"),
        masked(0x80, b"lo"),
        masked(0x82, &[9; 300]),
        masked(0x88, b"\x03\xe8bye"),
    ]
    .concat()
}

fn answers() -> Vec<u8> {
    [
        plain(0x8a, b"ping"),
        plain(0x8a, b"inside"),
        plain(0x81, b"Hello"),
        plain(0x82, &[9; 300]),
        plain(0x88, b"\x03\xe8"),
    ]
    .concat()
}

#[test]
fn fault_21_short_writes_resume_by_offset_at_every_length() {
    for limit in 1..=answers().len() {
        let mut stream = Script::bytes(&conversation());
        stream.reads.push_back(Read1::End);
        stream.write_limit = Some(limit);
        let messages = converse(&mut stream);
        assert_eq!(messages, [text("Hello"), Message::Binary(vec![9; 300])]);
        assert_eq!(stream.written(), answers(), "writes of {limit}");
    }
}

/// One call fails for the moment: every call in turn, over a stream that reads and writes in pieces.
#[test]
fn interruption_and_would_block_at_every_call_change_nothing() {
    let script = |fault| {
        let pieces = conversation();
        let pieces = pieces.chunks(7).map(|piece| Read1::Bytes(piece.to_vec()));
        let mut stream = Script::new(pieces.chain([Read1::End]));
        stream.write_limit = Some(5);
        stream.fault = fault;
        stream
    };
    let mut undisturbed = script(None);
    converse(&mut undisturbed);
    assert!(undisturbed.calls > 100);
    for kind in [
        ErrorKind::Interrupted,
        ErrorKind::WouldBlock,
        ErrorKind::TimedOut,
    ] {
        // The last flush, and the reads after it, are best effort: nobody could call again.
        let last = undisturbed.calls - 4;
        for call in 0..last {
            let mut stream = script(Some((call, kind)));
            let messages = converse(&mut stream);
            assert_eq!(messages, [text("Hello"), Message::Binary(vec![9; 300])]);
            assert_eq!(stream.written(), answers(), "{kind} at call {call}");
        }
    }
}

#[test]
fn fault_20_writer_that_takes_nothing_is_an_error() {
    let is_write_zero =
        |outcome| matches!(outcome, Err(Error::Io(error)) if error.kind() == ErrorKind::WriteZero);
    let dead = || Script {
        takes_nothing: true,
        ..Script::default()
    };
    for len in [5, 100_000] {
        let (mut one, mut other) = (dead(), dead());
        for mut socket in [server(&mut one), client(&mut other)] {
            assert!(is_write_zero(socket.send_binary(&vec![0; len])), "{len}");
            assert!(is_write_zero(socket.send_binary(b"x")), "and again");
        }
    }
}

#[test]
fn messages_larger_than_the_buffers_go_both_ways() {
    for len in [16_000, 16_384, 16_516, 65_536, 300_001] {
        let payload: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
        for limit in [None, Some(1000)] {
            let mut stream = Script::bytes(&masked(0x82, &payload));
            stream.write_limit = limit;
            stream.fault = Some((3, ErrorKind::Interrupted));
            let mut socket = server(&mut stream);
            let message = socket.recv().expect("a message");
            assert_eq!(message.as_bytes(), payload);
            socket.send(&message).expect("sent");
            assert!(socket.stream().written() == plain(0x82, &payload), "{len}");

            let mut stream = Script::bytes(&plain(0x82, &payload));
            stream.write_limit = limit;
            stream.fault = Some((4, ErrorKind::Interrupted));
            let mut socket = client(&mut stream);
            let message = socket.recv().expect("a message");
            assert_eq!(message.as_bytes(), payload);
            socket.send(&message).expect("sent");
            assert!(
                unmask(&socket.stream().written()) == plain(0x82, &payload),
                "{len}"
            );
        }
    }
}

#[test]
fn large_message_leaves_in_one_write_with_what_is_queued() {
    let payload = vec![5; 100_000];
    let mut stream = Script::bytes(&masked(0x81, b"x"));
    let mut socket = server(&mut stream);
    let _ = socket.for_each(|message, reply| {
        reply.send(message)?;
        reply.send_binary(&payload)
    });
    let expected = [plain(0x81, b"x"), plain(0x82, &payload)].concat();
    assert!(socket.stream().writes == [expected]);
}

#[test]
fn fragments_are_sent_as_they_come() {
    let mut stream = Script::default();
    let mut socket = server(&mut stream);
    socket.begin(MessageKind::Text).expect("begun");
    socket.send_fragment(b"Hel").expect("sent");
    socket.ping(b"p").expect("a control frame may pass");
    assert!(matches!(
        socket.send_text("x"),
        Err(Error::Misuse(Misuse::MessageInProgress))
    ));
    socket.finish(b"lo").expect("sent");
    let expected = [plain(0x01, b"Hel"), plain(0x89, b"p"), plain(0x80, b"lo")];
    assert_eq!(socket.stream().writes, expected);

    let mut stream = Script::default();
    let mut socket = server(&mut stream);
    let long = vec![b'x'; 50_000];
    socket.begin(MessageKind::Binary).expect("begun");
    socket.send_fragment(&long).expect("sent");
    socket.finish(&long).expect("sent");
    let written = socket.stream().written();
    let mut peer = Script::bytes(&written);
    let message = client(&mut peer).recv().expect("a whole message");
    assert_eq!(message.as_bytes(), vec![b'x'; 100_000]);
}

#[test]
fn peer_closes_after_its_messages_and_is_told_for_ever() {
    let frames = [masked(0x81, b"last"), masked(0x88, b"\x0f\xa0why")].concat();
    let mut stream = Script::bytes(&frames);
    stream.reads.push_back(Read1::End);
    let mut socket = server(&mut stream);
    assert_eq!(socket.recv().expect("the message first"), text("last"));
    for _ in 0..3 {
        match socket.recv() {
            Err(Error::Closed(closed)) => {
                assert_eq!(closed.code, CloseCode::new(4000));
                assert_eq!(closed.reason, "why");
                assert_eq!(closed.initiator, Initiator::Peer);
                assert!(closed.clean);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(socket.send_text("x"), Err(Error::Closing)));
    assert_eq!(socket.state(), State::Closed);
    drop(socket);
    assert_eq!(
        stream.written(),
        plain(0x88, b"\x0f\xa0"),
        "one Close, nothing behind it"
    );
    assert!(stream.is_shut_down);
}

#[test]
fn we_close_and_still_receive() {
    let frames = [plain(0x81, b"late"), plain(0x88, b"\x03\xe8")].concat();
    let mut stream = Script::bytes(&frames);
    stream.reads.push_back(Read1::End);
    let mut socket = client(&mut stream);
    socket.close(CloseCode::NORMAL, "done").expect("sent");
    assert!(matches!(socket.send_text("x"), Err(Error::Closing)));
    assert!(matches!(
        socket.close(CloseCode::NORMAL, ""),
        Err(Error::Closing)
    ));
    assert_eq!(socket.recv().expect("a late message"), text("late"));
    let closed = socket.wait_closed().expect("an ordinary end");
    assert_eq!((closed.initiator, closed.clean), (Initiator::Local, true));
    drop(socket);
    assert_eq!(unmask(&stream.written()), plain(0x88, b"\x03\xe8done"));
}

/// The events that would ask the caller for an answer are not handed out here.
#[test]
fn pings_and_closes_are_answered_whatever_the_configuration_says() {
    let mut config = Config::new();
    config.pong = ws_proto::Reply::Manual;
    config.close = ws_proto::Reply::Manual;
    let frames = [masked(0x89, b"p"), masked(0x88, b"\x03\xe8")].concat();
    let mut stream = Script::new([Read1::Bytes(frames), Read1::End]);
    let mut socket = WebSocket::server(&mut stream, Arc::new(config));
    assert!(socket.wait_closed().expect("an ordinary end").clean);
    let expected = [plain(0x8a, b"p"), plain(0x88, b"\x03\xe8")];
    assert_eq!(socket.stream().written(), expected.concat());
}

#[test]
fn dropped_connection_says_1001() {
    let mut stream = Script::default();
    drop(server(&mut stream));
    assert_eq!(stream.written(), plain(0x88, b"\x03\xe9"));
    assert!(stream.is_shut_down);
}

/// A peer that takes a byte now and then: each write is in time, and all together would not be.
#[test]
fn drop_has_one_deadline_for_all_its_writes() {
    let mut stream = Script {
        fault: Some((0, ErrorKind::WouldBlock)),
        write_limit: Some(1),
        write_pause: Duration::from_millis(20),
        ..Script::default()
    };
    let mut socket = server(&mut stream);
    socket.send_binary(&[0; 1000]).expect("taken, not written");
    let begun = Instant::now();
    drop(socket);
    assert!(begun.elapsed() < Duration::from_secs(5), "20 s in all");
    assert!(stream.is_shut_down);
}

#[test]
fn ends_are_told_apart() {
    let end = |reads: &[Read1]| {
        let mut stream = Script::new(reads.iter().cloned());
        let mut socket = server(&mut stream);
        let first = socket.recv().expect_err("an end");
        let second = socket.recv().expect_err("the same end");
        assert_eq!(first.to_string(), second.to_string());
        drop(socket);
        (first, stream.written())
    };
    let bytes = |frame: Vec<u8>| Read1::Bytes(frame);

    let (error, _) = end(&[Read1::End]);
    let closed = error.closed().expect("closed");
    assert_eq!((closed.code, closed.clean), (CloseCode::ABNORMAL, false));
    for part in [
        masked(0x01, b"Hel"),
        masked(0x81, b"Hello")[..7].to_vec(),
        vec![0x81],
    ] {
        let (error, _) = end(&[bytes(part), Read1::End]);
        assert!(matches!(error, Error::Truncated), "{error:?}");
    }
    let (error, _) = end(&[Read1::Error(ErrorKind::ConnectionReset)]);
    assert!(matches!(&error, Error::Io(e) if e.kind() == ErrorKind::ConnectionReset));
    let (error, written) = end(&[bytes(masked(0x81, b"\xff")), Read1::End]);
    assert!(matches!(error, Error::Violation(Violation::InvalidUtf8)));
    assert_eq!(written, plain(0x88, b"\x03\xef"));
    let (error, written) = end(&[bytes(plain(0x81, b"x")), Read1::End]);
    assert!(matches!(
        error,
        Error::Violation(Violation::UnmaskedClientFrame)
    ));
    assert_eq!(written, plain(0x88, b"\x03\xea"));
    // After both Closes a reset is nobody's business.
    let (error, _) = end(&[
        bytes(masked(0x88, b"")),
        Read1::Error(ErrorKind::ConnectionReset),
    ]);
    assert!(error.closed().expect("closed").clean);
}

#[test]
fn message_over_the_limit_is_1009() {
    let mut config = Config::new();
    config.limits.max_message = Limit::At(10);
    let config = Arc::new(config);
    let mut stream = Script::bytes(&masked(0x82, &[0; 10]));
    stream.reads.push_back(Read1::Bytes(masked(0x82, &[0; 11])));
    stream.reads.push_back(Read1::End);
    let mut socket = WebSocket::server(&mut stream, config);
    assert!(socket.recv().is_ok());
    let error = socket.recv().expect_err("too big");
    assert!(matches!(error, Error::Violation(Violation::MessageTooBig)));
    drop(socket);
    assert_eq!(stream.written(), plain(0x88, b"\x03\xf1"));
}

#[test]
fn failed_writer_does_not_hide_what_the_peer_said() {
    let mut stream = Script::new([
        Read1::Bytes(masked(0x89, b"p")),
        Read1::Bytes([masked(0x81, b"bye"), masked(0x88, b"\x03\xf5")].concat()),
    ]);
    // The pong, between the reads.
    stream.fault = Some((1, ErrorKind::BrokenPipe));
    let mut socket = server(&mut stream);
    assert_eq!(socket.recv().expect("a message"), text("bye"));
    let closed = socket.recv().expect_err("the end");
    assert_eq!(closed.closed().expect("closed").code, CloseCode::new(1013));
}

/// Pongs that nobody writes must not take the room that receiving needs.
#[test]
fn failed_writer_does_not_fill_up_with_pongs() {
    let mut stream = Script::new([
        Read1::Bytes(masked(0x89, b"p")),
        Read1::Bytes(masked(0x89, &[0; 125]).repeat(1000)),
        Read1::Bytes(masked(0x81, b"bye")),
    ]);
    stream.fault = Some((1, ErrorKind::BrokenPipe));
    let mut socket = server(&mut stream);
    assert_eq!(socket.recv().expect("a message"), text("bye"));
    let sent = socket.for_each(|_, _| Ok(()));
    assert!(matches!(sent, Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock));
}

/// Whatever is answered, each message that was taken arrives once, and no other.
#[test]
fn send_that_times_out_took_all_or_nothing() {
    for len in [1, 1000, 16_000, 20_000] {
        let mut stream = Script {
            is_full: true,
            ..Script::default()
        };
        let mut socket = server(&mut stream);
        let mut expected = Vec::new();
        let mut refused = 0;
        for n in 0..40 {
            let payload = vec![n; len];
            match socket.send_binary(&payload) {
                Ok(()) => expected.extend(plain(0x82, &payload)),
                Err(Error::Timeout(Stage::Send)) => refused += 1,
                Err(Error::Io(_)) if len == 20_000 => break,
                Err(error) => panic!("{error}"),
            }
            socket.stream_mut().is_full = n % 3 != 0;
        }
        socket.stream_mut().is_full = false;
        if len == 20_000 {
            assert_eq!(socket.state(), State::Closing);
        } else {
            assert!(refused > 0);
            socket.flush().expect("there is room");
        }
        assert_eq!(socket.stream().written(), expected, "{len}");
    }
}

/// A fragment of several pieces of which some have left cannot be tried again.
#[test]
fn fragment_that_breaks_off_is_not_to_be_sent_again() {
    let mut stream = Script {
        fault: Some((1, ErrorKind::WouldBlock)),
        ..Script::default()
    };
    let mut socket = server(&mut stream);
    socket.begin(MessageKind::Binary).expect("begun");
    let sent = socket.send_fragment(&[0; 60_000]);
    assert!(matches!(sent, Err(Error::Io(error)) if error.kind() == ErrorKind::TimedOut));
    assert_eq!(socket.state(), State::Closing);
}

#[test]
fn error_of_a_function_comes_out_and_its_replies_leave() {
    let frames = [masked(0x81, b"a"), masked(0x81, b"b"), masked(0x81, b"c")].concat();
    let mut stream = Script::bytes(&frames);
    let mut socket = server(&mut stream);
    let outcome = socket.for_each(|message, reply| {
        reply.send(message)?;
        match message.as_bytes() {
            b"b" => Err(Error::other("enough")),
            _ => Ok(()),
        }
    });
    assert_eq!(outcome.expect_err("ours").to_string(), "enough");
    assert_eq!(socket.stream().written(), b"\x81\x01a\x81\x01b");
    assert_eq!(socket.recv().expect("the rest is there"), text("c"));
}

#[test]
fn read_timeout_is_set_once_for_many_reads() {
    let reads = (0..1000).map(|_| Read1::Bytes(masked(0x81, b"x")));
    let mut stream = Script::new(reads);
    let mut socket = server(&mut stream);
    let _ = socket.for_each(|message, reply| reply.send(message));
    assert_eq!(socket.stream().writes.len(), 1000);
    let [Some(timeout)] = socket.stream().read_timeouts[..] else {
        panic!("{:?}", socket.stream().read_timeouts);
    };
    // A quarter of the heartbeat's 20 s.
    assert!((4900..=5000).contains(&timeout.as_millis()), "{timeout:?}");
}

/// The rest of a large message is not ours to keep: it cannot be sent later.
#[test]
fn large_message_that_times_out_in_the_middle_breaks_sending_but_not_receiving() {
    let mut stream = Script::bytes(&masked(0x81, b"still here"));
    stream.write_limit = Some(1000);
    stream.fault = Some((3, ErrorKind::WouldBlock));
    let mut socket = server(&mut stream);
    let sent = socket.send_binary(&[0; 100_000]);
    assert!(matches!(sent, Err(Error::Io(error)) if error.kind() == ErrorKind::TimedOut));
    assert_eq!(socket.state(), State::Closing);
    assert!(socket.stream().is_shut_down);
    let again = socket.send_text("x");
    assert!(matches!(again, Err(Error::Io(error)) if error.kind() == ErrorKind::BrokenPipe));
    assert_eq!(socket.recv().expect("a message"), text("still here"));
    assert_eq!(socket.stream().writes.len(), 3, "nothing inside the frame");
}

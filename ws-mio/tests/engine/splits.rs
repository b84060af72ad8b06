//! The same conversation, however it is cut, and wherever it breaks off.

use ws_mio::testing::{Faults, Setup, TestServer};

use crate::{
    frame,
    probe::{Call, Log, Probe},
    request, serve, server,
};

/// A handshake, messages in one frame and in several, a Ping between them, a Close.
fn conversation() -> Vec<u8> {
    let mut bytes = request("/");
    bytes.extend(frame(0x81, "grüße".as_bytes()));
    bytes.extend(frame(0x01, "in pa€".as_bytes()));
    bytes.extend(frame(0x89, b"ping"));
    bytes.extend(frame(0x80, b"rts"));
    bytes.extend(frame(0x82, &[7; 300]));
    bytes.extend(frame(0x8A, b"pong"));
    bytes.extend(frame(0x88, b"\x0F\xA0bye"));
    bytes
}

/// What the server answers and its session is told when `bytes` come in these pieces.
fn play<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> (Vec<u8>, Vec<Call>) {
    let (server, log) = server();
    let client = server.dial();
    for piece in pieces {
        client.raw(piece);
        server.run();
        server.check();
    }
    client.finish();
    let bytes = client.bytes();
    assert_eq!(server.connections(), 0);
    log.check();
    (bytes, log.of(0))
}

#[test]
fn every_cut_gives_the_same() {
    let bytes = conversation();
    let whole = play([&bytes[..]]);
    assert!(
        whole.0.ends_with(b"\x88\x02\x0F\xA0"),
        "{}",
        whole.0.escape_ascii()
    );
    assert_eq!(whole.1.len(), 9, "{:?}", whole.1);
    for at in 1..bytes.len() {
        let (first, rest) = bytes.split_at(at);
        assert_eq!(play([first, rest]), whole, "cut at {at}");
    }
    for len in [1, 2, 3, 7, 64] {
        assert_eq!(play(bytes.chunks(len)), whole, "in pieces of {len}");
    }
}

#[test]
fn faults_of_the_wire_give_the_same() {
    let bytes = conversation();
    let whole = play([&bytes[..]]);
    for seed in 1..300 {
        let setup = Setup::new().seed(seed).room(1 + seed as usize * 3);
        let (server, log) = serve(setup.faults(Faults {
            piece: 1 + seed as usize % 50,
            short_writes: 20,
            blocked: 20,
            interrupted: 20,
            spurious: 10,
            reset_at_call: None,
        }));
        let client = server.dial();
        client.raw(&bytes);
        client.finish();
        let seen = client.bytes();
        assert_eq!(server.connections(), 0, "seed {seed}");
        assert_eq!(sorted(&seen), sorted(&whole.0), "seed {seed}");
        assert_eq!(log.of(0), whole.1, "seed {seed}");
        server.check();
    }
}

/// The head, the messages and Close in their order, and the Pong, which overtakes what waits.
fn sorted(bytes: &[u8]) -> Vec<&[u8]> {
    let end = bytes.windows(4).position(|end| end == b"\r\n\r\n");
    let (head, mut frames) = bytes.split_at(end.expect("an answer") + 4);
    let mut sorted = vec![head];
    while let [_, len, ..] = frames {
        let len = match len {
            126 => 4 + usize::from(u16::from_be_bytes([frames[2], frames[3]])),
            len => 2 + usize::from(*len),
        };
        let (frame, rest) = frames.split_at(len);
        sorted.push(frame);
        frames = rest;
    }
    sorted.sort_by_key(|frame| frame[0] == 0x8A);
    sorted
}

/// The end comes behind the first `n` bytes, in the same edge; how many calls that was.
fn break_off(
    bytes: &[u8],
    how: Break,
) -> (
    TestServer<impl ws_mio::Application<Session = Probe>>,
    Log,
    u64,
) {
    let (server, log) = server();
    let client = server.dial();
    client.raw(bytes);
    match how {
        Break::Fin => client.finish(),
        Break::FinLater => {
            server.run();
            client.finish();
        }
        Break::Reset => {
            server.run();
            client.reset();
        }
    }
    server.run();
    (server, log, client.calls())
}

#[derive(Clone, Copy, Debug)]
enum Break {
    Fin,
    FinLater,
    Reset,
}

/// CVE-2017-2670 (Undertow), CVE-2025-5399 (curl): a stream that is half dead keeps a loop busy.
#[test]
fn sec_38_an_end_at_any_byte_is_noticed_at_once_and_costs_a_few_calls() {
    let bytes = conversation();
    let whole = break_off(&bytes, Break::FinLater).2;
    for n in 0..bytes.len() {
        for how in [Break::Fin, Break::FinLater, Break::Reset] {
            let (server, log, calls) = break_off(&bytes[..n], how);
            let transcript = server.transcript();
            assert_eq!(server.connections(), 0, "{how:?} behind {n}\n{transcript}");
            assert!(
                calls <= whole + 3,
                "{how:?} behind {n}: {calls}\n{transcript}"
            );
            let turns = server.turns();
            assert!(
                turns <= 8,
                "{how:?} behind {n}: {turns} turns\n{transcript}"
            );
            server.advance(60_000);
            assert_eq!(server.turns(), turns, "nothing is left to do");
            log.check();
            server.check();
        }
    }
}

/// What the end of a stream brought with it is received.
#[test]
fn data_that_comes_with_the_end_is_received() {
    let bytes = conversation();
    let frames = &bytes[request("/").len()..];
    let (server, log) = server();
    let client = server.connect("/");
    client.raw(frames);
    client.finish();
    server.run();
    assert_eq!(log.of(0).len(), 9);
    assert_eq!(server.connections(), 0);
}

/// A stream that is being ended hears of the peer's end at once too.
#[test]
fn the_end_is_heard_behind_data_while_we_say_goodbye() {
    let (server, _) = server();
    let client = server.dial();
    client.raw(b"BREW /pot HTTP/1.1\r\n\r\n");
    assert!(client.is_ended());
    assert_eq!(server.connections(), 1, "it waits for the peer's end");
    client.raw(b"more of this");
    client.finish();
    assert_eq!(server.connections(), 0, "{}", server.transcript());
    server.check();
}

/// A signal in the middle of a goodbye takes nothing away.
#[test]
fn an_interrupted_goodbye_goes_on() {
    for seed in 1..100 {
        let (server, _) = serve(Setup::new().seed(seed).room(20).faults(Faults {
            interrupted: 60,
            ..Faults::none()
        }));
        let client = server.dial();
        client.raw(b"BREW /pot HTTP/1.1\r\n\r\n");
        client.finish();
        let answer = client.bytes();
        let is_whole = answer.starts_with(b"HTTP/1.1 400 ") && answer.ends_with(b"malformed");
        assert!(is_whole, "seed {seed}: {}", answer.escape_ascii());
        assert_eq!(server.connections(), 0);
    }
}

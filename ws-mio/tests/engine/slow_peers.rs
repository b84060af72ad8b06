//! Peers that take less than they are sent.

use ws_mio::{
    CloseCode, Context, Decision, Marks, Message, Refused, Sent, Session, Shutdown, accept_with,
    testing::{Received, Setup, TestClient},
};

use crate::{frame, probe::Call, serve};

const MARKS: Marks = Marks {
    high: 10_000,
    low: 2_000,
    limit: 30_000,
};

fn setup() -> Setup {
    Setup::new().marks(MARKS).room(1_000)
}

/// The numbers of the messages of a flood.
fn numbers(client: &TestClient) -> Vec<u64> {
    let received = client.receive_all();
    let numbers = received.iter().filter_map(|received| match received {
        Received::Binary(bytes) => bytes.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)),
        _ => None,
    });
    numbers.collect()
}

#[test]
fn over_high_water_a_peer_is_not_read_from_and_drained_is_told_once() {
    let (server, log) = serve(setup());
    let client = server.connect("/");
    client.stop_reading();
    client.send_text("flood 3 1000");
    server.run();
    client.send_text("flood 12 1000");
    server.run();
    assert_eq!(log.sent().last(), Some(&Sent::OverHighWater));
    client.send_text("not yet");
    client.raw(&frame(0x89, b"nor this"));
    assert!(client.unread() > 0);
    let calls = client.calls();
    server.advance(5_000);
    assert_eq!(client.calls(), calls, "nothing is tried in vain");
    client.read_on();
    let received = client.receive_all();
    assert_eq!(received.len(), 17);
    assert_eq!(received[16], Received::Text("not yet".into()));
    // A Pong does not wait behind what is queued.
    assert!(received.contains(&Received::Pong(b"nor this".into())));
    assert_eq!(log.count(&Call::Drained), 1);
    assert_eq!(client.unread(), 0);
    server.shutdown(Shutdown::new());
    assert_eq!(log.count(&Call::Drained), 1);
    log.check();
}

#[test]
fn disconnect_is_final_and_leaves_no_gap() {
    let (server, log) = serve(setup());
    let client = server.connect("/");
    client.stop_reading();
    client.send_text("flood 3 1000");
    server.run();
    client.send_text("flood 100 1000");
    server.run();
    let sent = log.sent();
    let first = sent
        .iter()
        .position(|sent| !sent.is_sent())
        .expect("one is too many");
    assert!(
        sent[first..]
            .iter()
            .all(|sent| *sent == Sent::Refused(Refused::Closing))
    );
    client.read_on();
    let received = client.receive_all();
    let (end, messages) = received
        .split_last_chunk::<2>()
        .map(|(messages, end)| (end, messages))
        .expect("a Close");
    assert!(
        matches!(end, [Received::Close(code, _), Received::End] if code.get() == 1013),
        "{end:?}"
    );
    // What waited is dropped, so only what had been begun has come.
    assert!(messages.len() <= 2, "{}", messages.len());
    assert_eq!(server.connections(), 0);
    log.check();
}

#[test]
fn reject_refuses_what_is_too_much_and_drains() {
    let (server, log) = serve(setup());
    let client = server.connect("/");
    client.send_text("reject");
    client.stop_reading();
    client.send_text("flood 3 1000");
    server.run();
    client.send_text("flood 100 1000");
    server.run();
    let sent = log.sent();
    assert!(sent.contains(&Sent::Refused(Refused::Full)));
    let taken = sent.iter().filter(|sent| sent.is_sent()).count();
    client.read_on();
    assert_eq!(numbers(&client).len(), taken);
    assert_eq!(log.count(&Call::Drained), 1);
    client.send_text("and on");
    client.expect_text("and on");
    server.shutdown(Shutdown::new());
    log.check();
}

#[test]
fn drop_oldest_keeps_order_and_the_newest() {
    let (server, log) = serve(setup());
    let client = server.connect("/");
    client.send_text("drop-oldest");
    client.stop_reading();
    client.send_text("flood 3 1000");
    server.run();
    client.send_text("flood 100 1000");
    server.run();
    assert!(log.sent().iter().all(|sent| sent.is_sent()));
    client.read_on();
    let numbers = numbers(&client);
    let behind = &numbers[1..];
    assert!(behind.len() < 40, "{numbers:?}");
    assert!(behind.is_sorted_by(|one, next| one < next), "{numbers:?}");
    assert_eq!(behind.last(), Some(&99));
    server.shutdown(Shutdown::new());
    log.check();
}

#[test]
fn the_latest_by_key_replaces_what_waits() {
    let (server, log) = serve(setup());
    let client = server.connect("/");
    client.stop_reading();
    client.send_text("flood 3 1000");
    server.run();
    client.send_text("latest 1 50 800");
    client.send_text("latest 2 50 800");
    server.run();
    client.read_on();
    let mut received = client.receive_all();
    received.retain(|received| matches!(received, Received::Text(_)));
    let is_last =
        |received: &Received| matches!(received, Received::Text(text) if text.starts_with("49 "));
    assert!(
        received.len() == 2 && received.iter().all(is_last),
        "{}",
        received.len()
    );
    server.shutdown(Shutdown::new());
    log.check();
}

#[test]
fn a_paused_session_receives_nothing_until_it_resumes() {
    let (server, log) = serve(setup());
    let client = server.connect("/");
    let other = server.connect("/");
    // The rest of what was read in one piece waits too.
    client.raw(
        &[
            frame(0x81, b"pause"),
            frame(0x81, b"one"),
            frame(0x89, b"two"),
        ]
        .concat(),
    );
    client.send_binary(&[0; 3000]);
    client.expect_nothing();
    assert!(client.unread() > 0, "and what comes is left on the wire");
    server.advance(5_000);
    client.expect_nothing();
    other.send_text("post 0 resume");
    client.expect_text("one");
    assert_eq!(client.receive(), Some(Received::Pong(b"two".into())));
    client.expect_binary(&[0; 3000]);
    server.shutdown(Shutdown::new());
    log.check();
    server.check();
}

/// While one does not read, the others are served.
#[test]
fn sec_35_one_slow_peer_holds_up_nobody() {
    let (server, log) = serve(Setup::new().marks(MARKS).room(4_000));
    let slow = server.connect("/");
    slow.stop_reading();
    let clients: Vec<_> = (1..20).map(|_| server.connect("/")).collect();
    for round in 0..100 {
        for n in 0..20 {
            clients[0].send_text(&format!("tell {n} news-{round}"));
        }
        let before = server.turns();
        server.run();
        assert!(server.turns() - before < 20, "it takes a few turns");
        for client in &clients {
            client.expect_text(&format!("news-{round}"));
        }
        slow.raw(&frame(0x81, &[b'x'; 100]));
    }
    server.shutdown(Shutdown::new());
    log.check();
}

/// Echoes, and then says more than fits beside it.
struct Talkative(CloseCode);

impl Session for Talkative {
    fn message(&mut self, message: Message<'_>, cx: &mut Context<'_>) {
        let Message::Binary(bytes) = message else {
            return;
        };
        assert!(cx.send_binary(bytes).is_sent());
        for _ in 0..4 {
            assert!(cx.send_binary(&[7; 100_000]).is_sent());
        }
        let closed = match self.0 {
            CloseCode::GOING_AWAY => cx.close_now(self.0, ""),
            code => cx.close(code, ""),
        };
        assert!(closed.is_sent());
    }
}

/// A message that is sent from its own memory is counted once, and comes first.
#[test]
fn what_is_sent_beside_a_large_echo_stands_behind_it() {
    let large = vec![1; 1 << 20];
    for (code, room) in [
        (1000, 1 << 22),
        (1000, 5_000),
        (1001, 1 << 22),
        (1001, 5_000),
    ] {
        let code = CloseCode::new(code);
        let app = accept_with(move |_, _| Decision::accept(Talkative(code)));
        let server = Setup::new().room(room).serve(app);
        let client = server.connect("/");
        client.send_binary(&large);
        server.run();
        client.expect_binary(&large);
        // What was not begun is dropped by `close_now`.
        if code == CloseCode::NORMAL {
            (0..4).for_each(|_| client.expect_binary(&[7; 100_000]));
        }
        client.expect_close(code.get());
        server.shutdown(Shutdown::new());
        server.check();
    }
}

/// Pauses at the first message, for as long as it says in seconds.
struct Sleepy;

impl Session for Sleepy {
    fn message(&mut self, message: Message<'_>, cx: &mut Context<'_>) {
        let Message::Text(seconds) = message else {
            return;
        };
        let seconds: u64 = seconds.parse().expect("a number");
        cx.pause();
        cx.wake_at(cx.now().monotonic_ms + 1000 * seconds);
    }

    fn timer(&mut self, cx: &mut Context<'_>) {
        cx.resume();
        assert!(cx.send_text("awake").is_sent());
    }
}

/// What a peer says while nobody listens cannot be held against it.
#[test]
fn a_peer_that_is_not_listened_to_is_not_judged() {
    let server = Setup::new().serve(accept_with(|_, _| Decision::accept(Sleepy)));
    let client = server.connect("/");
    client.send_text("600");
    server.advance(601_000);
    assert!(
        client
            .receive_all()
            .contains(&Received::Text("awake".into()))
    );
    client.mute();
    server.advance(60_000);
    assert!(client.is_ended(), "and then it is judged again");
    server.shutdown(Shutdown::new());
    server.check();
}

/// A slow peer that takes bytes is alive, though its pongs are not read; one that takes none is not.
#[test]
fn a_peer_over_high_water_lives_by_what_it_takes() {
    let (server, log) = serve(setup());
    let client = server.connect("/");
    client.stop_reading();
    client.send_text("flood 3 1000");
    server.run();
    client.send_text("flood 20 1000");
    server.run();
    for _ in 0..12 {
        server.advance(10_000);
        // A wire's worth at a time.
        client.read_on();
        server.step();
        client.stop_reading();
    }
    let is_over = |call: &Call| matches!(call, Call::Close { .. });
    assert!(!log.of(0).iter().any(is_over), "it takes bytes");
    server.advance(60_000);
    assert!(log.of(0).iter().any(is_over), "it takes none");
    server.shutdown(Shutdown::new());
    log.check();
}

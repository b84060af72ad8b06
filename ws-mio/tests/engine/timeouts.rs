//! Every span of time there is, by a clock that is told what time it is.
//!
//! Deadlines are exact to a tick of the wheel, which is 100 ms: never early, and less than that late.

use ws_mio::{
    Application, Config, Shutdown, Timeout,
    testing::{Received, Setup, TestClient, TestServer},
};

use crate::{frame, open_by_hand, probe::Call, serve, server};

const TICK_MS: u64 = 100;

/// `happens` at this many milliseconds from now, and not before.
#[track_caller]
fn happens_at<A: Application>(server: &TestServer<A>, ms: u64, happens: impl Fn() -> bool) {
    server.advance(ms - 1);
    assert!(!happens(), "it is early\n{}", server.transcript());
    server.advance(TICK_MS);
    assert!(happens(), "it is late\n{}", server.transcript());
    server.check();
}

#[test]
fn handshake_has_ten_seconds_from_the_accept_whatever_trickles() {
    let (server, _) = server();
    let silent = server.dial();
    let slow = server.dial();
    for byte in b"GET / HTTP" {
        server.advance(999);
        slow.raw(&[*byte]);
    }
    assert!(!silent.is_ended() && !slow.is_ended());
    happens_at(&server, 10, || silent.is_ended() && slow.is_ended());
    for client in [silent, slow] {
        let answer = client.bytes();
        assert!(
            answer.starts_with(b"HTTP/1.1 408 "),
            "{}",
            answer.escape_ascii()
        );
        assert!(!client.is_dropped(), "it may still take the answer");
    }
    server.advance(1_000);
    assert_eq!(server.connections(), 0);
    server.check();
}

#[test]
fn goodbye_takes_a_second_or_64_kib() {
    let (server, _) = server();
    let client = open_by_hand(&server);
    client.raw(&[0xFF; 10]);
    assert_eq!(client.bytes(), b"\x88\x02\x03\xEA");
    assert!(client.is_ended());
    happens_at(&server, 1_000, || client.is_dropped());

    let client = open_by_hand(&server);
    client.raw(&[0xFF; 10]);
    server.run();
    client.raw(&vec![0; 64 << 10]);
    server.run();
    assert!(!client.is_dropped());
    client.raw(&[0; 10]);
    assert!(client.is_dropped());
    assert_eq!(server.connections(), 0);
    server.check();
}

fn ping(number: u8) -> Vec<u8> {
    vec![0x89, 4, 0, 0, 0, number]
}

#[test]
fn heartbeat_pings_every_twenty_seconds() {
    let (server, log) = server();
    let client = open_by_hand(&server);
    for number in 1..=10 {
        happens_at(&server, 20_000 - TICK_MS * u64::from(number > 1), || {
            client.is_ended() || log.all().len() > usize::from(number) || !peek(&client, number)
        });
        client.raw(&frame(0x8A, &ping(number)[2..]));
        server.run();
    }
    assert_eq!(log.count(&Call::Pong(4)), 10);
    server.check();
}

/// Whether the ping with this number has not come.
fn peek(client: &TestClient, number: u8) -> bool {
    let bytes = client.bytes();
    assert!(bytes.is_empty() || bytes == ping(number), "{bytes:?}");
    bytes.is_empty()
}

#[test]
fn silence_behind_a_ping_is_the_end_after_twenty_seconds() {
    let (server, log) = server();
    let client = open_by_hand(&server);
    server.advance(20_000 + TICK_MS);
    assert_eq!(client.bytes(), ping(1));
    happens_at(&server, 20_000 - TICK_MS, || client.is_ended());
    assert_eq!(client.bytes(), b"\x88\x02\x03\xF3");
    server.advance(1_100);
    assert_eq!(server.connections(), 0);
    log.check();
}

#[test]
fn bytes_without_a_pong_buy_four_times_as_long() {
    let (server, log) = server();
    let client = open_by_hand(&server);
    server.advance(20_000 + TICK_MS);
    assert_eq!(client.bytes(), ping(1));
    // A huge frame, whose payload trickles.
    client.raw(&[0x82, 0xFF, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0]);
    for _ in 0..79 {
        server.advance(1_000);
        client.raw(&[0]);
        assert!(!client.is_ended());
    }
    server.advance(1_000 + TICK_MS);
    assert!(client.is_ended());
    assert_eq!(client.bytes(), b"\x88\x02\x03\xF3");
    server.shutdown(Shutdown::new());
    log.check();
}

fn config(change: impl Fn(&mut ws_mio_timeouts::Timeouts)) -> Config {
    let mut config = Config::new();
    change(&mut config.timeouts);
    config
}

mod ws_mio_timeouts {
    pub(super) use ws_proto::Timeouts;
}

#[test]
fn idle_peers_are_left_after_two_minutes() {
    let (server, log) = serve(Setup::new().config(config(|timeouts| {
        timeouts.ping_interval = Timeout::Never;
    })));
    let client = open_by_hand(&server);
    server.advance(100_000);
    client.raw(&frame(0x8A, b""));
    server.advance(30_000);
    assert!(!client.is_ended(), "a pong was heard");
    // What was heard is known at the next look, a quarter of the span later at the most.
    server.advance(59_000);
    assert!(!client.is_ended());
    server.advance(61_200);
    assert!(client.is_ended());
    assert_eq!(client.bytes(), b"\x88\x02\x03\xE9");
    server.shutdown(Shutdown::new());
    log.check();
}

#[test]
fn a_close_without_answer_is_the_end_after_ten_seconds() {
    let (server, log) = server();
    let client = server.connect("/");
    client.mute();
    client.send_text("close 4000");
    server.run();
    happens_at(&server, 10_000, || client.is_ended());
    let closed = Call::Close {
        code: 1006,
        clean: false,
    };
    assert_eq!(log.of(0)[2..], [closed, Call::Dropped]);
    server.advance(1_100);
    assert_eq!(server.connections(), 0);
}

/// CVE-free, but the deadlock of Python `websockets` 11.0.2 and 14.2: closing waited for a full
/// buffer.
#[test]
fn sec_40_a_close_ends_in_time_though_all_is_full_and_nobody_answers() {
    let (server, log) = serve(Setup::new().room(1000));
    let client = server.connect("/");
    client.stop_reading();
    client.send_text("flood 30 60000");
    client.send_binary(&[0; 5000]);
    server.run();
    assert!(client.unread() > 0, "it is not read from");
    let closed = server.handle().close(
        log.id(0).expect("it is open"),
        ws_mio::CloseCode::NORMAL,
        "",
    );
    closed.expect("there is room in the inbox");
    server.run();
    let is_over = || matches!(log.of(0).last(), Some(Call::Close { .. } | Call::Dropped));
    happens_at(&server, 10_000, is_over);
    // Then a second for the last bytes, and another for the goodbye.
    server.advance(2_200);
    assert_eq!(server.connections(), 0);
    log.check();
    server.check();
}

#[test]
fn last_bytes_wait_a_second() {
    let (server, log) = serve(Setup::new().room(1000));
    let client = server.connect("/");
    client.stop_reading();
    client.send_text("flood 20 1000");
    client.close(1000, "");
    server.run();
    assert!(log.of(0).contains(&Call::Close {
        code: 1000,
        clean: true
    }));
    happens_at(&server, 1_000, || log.of(0).contains(&Call::Dropped));
}

#[test]
fn a_session_is_woken_within_a_tick_and_never_early() {
    for ms in [
        0, 1, 49, 50, 51, 99, 100, 101, 149, 150, 151, 6_400, 12_345, 500_000, 30_000_001,
    ] {
        let (server, log) = server();
        let client = server.connect("/");
        let asked = server.now().monotonic_ms + ms;
        client.send_text(&format!("wake {ms}"));
        server.advance(ms + 2 * TICK_MS);
        let timers: Vec<_> = log
            .of(0)
            .into_iter()
            .filter_map(|call| match call {
                Call::Timer(at) => Some(at),
                _ => None,
            })
            .collect();
        let &[at] = &timers[..] else {
            panic!("{ms}: {timers:?}")
        };
        assert!(
            at >= asked && at < asked + TICK_MS,
            "asked for {asked}, woken at {at}"
        );
        server.check();
    }
}

#[test]
fn the_last_wish_to_be_woken_counts() {
    let (server, log) = server();
    let client = server.connect("/");
    client.send_text("wake 1000");
    client.send_text("wake 5000");
    server.advance(4_999);
    assert_eq!(log.of(0).len(), 3, "{:?}", log.of(0));
    server.advance(TICK_MS);
    assert_eq!(log.of(0).len(), 4);
    client.send_text("wake 5000");
    client.send_text("wake 1000");
    server.advance(1_000 + TICK_MS);
    assert_eq!(log.of(0).len(), 7);
    client.send_text("wake 1000");
    client.send_text("never");
    server.advance(10_000);
    assert_eq!(log.of(0).len(), 9);
}

/// libwebsockets #1223: who only listens to himself thinks that the peer is there.
#[test]
fn sec_36_own_sends_are_no_sign_of_life() {
    let (server, log) = server();
    let client = open_by_hand(&server);
    let other = server.connect("/");
    let mut ended_at = None;
    for second in 1..=60 {
        other.send_text("tell 0 news");
        server.advance(1_000);
        if client.is_ended() {
            ended_at = Some(second);
            break;
        }
    }
    assert_eq!(ended_at, Some(41), "the ping of second 20 has failed");
    assert!(client.bytes().ends_with(b"\x88\x02\x03\xF3"));
    server.shutdown(Shutdown::new());
    log.check();
}

/// coder/websocket #25184: control frames wait until somebody reads. Here the loop drives the
/// protocol, whatever the session does.
#[test]
fn sec_37_control_frames_are_answered_without_the_session() {
    let (server, _) = server();
    let client = server.connect("/");
    client.ping(b"are you there");
    assert_eq!(
        client.receive(),
        Some(Received::Pong(b"are you there".into()))
    );
    let dead = open_by_hand(&server);
    server.advance(41_000);
    assert!(dead.is_ended() && !client.is_ended());
}

#[test]
fn shutdown_aborts_at_its_deadline() {
    let (server, log) = serve(Setup::new().config(config(|timeouts| {
        timeouts.close = Timeout::Never;
        timeouts.ping_interval = Timeout::Never;
        timeouts.idle = Timeout::Never;
    })));
    let good = server.connect("/");
    let bad = server.connect("/");
    bad.mute();
    server.handle().shutdown(Shutdown::new());
    server.run();
    good.expect_close(1001);
    happens_at(&server, 30_000, || server.report().is_some());
    let report = server.report().expect("it is there");
    assert_eq!((report.in_time, report.aborted), (1, 1));
    assert_eq!(server.connections(), 0);
    log.check();
    server.check();
}

#[test]
fn shutdown_tells_a_crowd_evenly() {
    let capacity = ws_mio::Capacity::of_descriptors(10_000);
    let (server, log) = serve(Setup::new().capacity(capacity));
    let clients: Vec<_> = (0..3_000).map(|_| server.connect("/")).collect();
    let plan = Shutdown {
        stagger_ms: 1_000,
        ..Shutdown::new()
    };
    server.handle().shutdown(plan);
    server.run();
    let gone = |server: &TestServer<_>| 3_000 - server.connections();
    assert_eq!(gone(&server), 300);
    for tenth in 2..=10 {
        server.advance(TICK_MS);
        assert_eq!(gone(&server), tenth * 300);
    }
    assert_eq!(
        server
            .report()
            .map(|report| (report.in_time, report.aborted)),
        Some((3_000, 0))
    );
    drop(clients);
    log.check();
    server.check();
}

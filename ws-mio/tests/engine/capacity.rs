//! How many connections there may be, and how all of them end.

use std::net::SocketAddr;

use ws_mio::{
    Capacity, Limit, Peer, Shutdown,
    testing::{Faults, Received, Setup},
};

use crate::{probe::Call, request, serve, server};

fn capacity(connections: u64, per_address: Limit, handshakes: u64) -> Setup {
    Setup::new().capacity(Capacity {
        connections: Limit::At(connections),
        per_address,
        handshakes: Limit::At(handshakes),
    })
}

#[test]
fn from_95_percent_on_requests_are_turned_away_and_beyond_nobody_is_let_in() {
    let (server, log) = serve(capacity(100, Limit::Unlimited, 100));
    let clients: Vec<_> = (0..95).map(|_| server.connect("/")).collect();
    assert!(clients.iter().all(|client| client.status() == Some(101)));
    let turned_away = server.dial();
    turned_away.raw(&request("/"));
    let answer = turned_away.bytes();
    assert!(
        answer.starts_with(b"HTTP/1.1 503 "),
        "{}",
        answer.escape_ascii()
    );
    assert!(answer.windows(13).any(|part| part == b"Retry-After: "));
    let others: Vec<_> = (96..100).map(|_| server.dial()).collect();
    for client in &others {
        client.raw(&request("/"));
    }
    assert_eq!(
        server.connections(),
        100,
        "all that are turned away are still there"
    );
    let beyond = server.dial();
    assert!(beyond.is_dropped() && beyond.bytes().is_empty());
    assert!(others.iter().all(|client| !client.is_dropped()));
    clients[0].close(1000, "");
    clients[0].expect_close(1000);
    turned_away.finish();
    for client in &others {
        client.finish();
    }
    assert_eq!(server.connections(), 94);
    assert_eq!(server.connect("/").status(), Some(101));
    server.shutdown(Shutdown::new());
    assert_eq!(server.connections(), 0);
    log.check();
    server.check();
}

#[test]
fn who_says_nothing_makes_room_where_there_is_none_for_anybody() {
    let (server, log) = serve(capacity(3, Limit::Unlimited, 100));
    let open = server.connect("/");
    let silent = [server.dial(), server.dial()];
    let client = server.connect("/");
    assert_eq!(client.status(), Some(101));
    assert!(
        silent[0].is_dropped() && !silent[1].is_dropped(),
        "the older one"
    );
    open.send_text("still here");
    open.expect_text("still here");
    server.shutdown(Shutdown::new());
    log.check();
    server.check();
}

fn from(address: &str) -> Peer {
    Peer::Internet(SocketAddr::new(address.parse().expect("an address"), 1))
}

#[test]
fn connections_are_counted_by_address_over_all_loops() {
    let (server, log) = serve(capacity(100, Limit::At(2), 100).loops(2));
    let one = "2001:db8::1";
    let first = server.connect_from(from(one), "/");
    let second = server.connect_from(from("2001:db8::2"), "/");
    let third = server.connect_from(from("2001:db8::3"), "/");
    assert!(third.is_dropped() && third.status().is_none());
    assert_eq!(
        server.connect_from(from("2001:db8:0:1::1"), "/").status(),
        Some(101)
    );
    assert_eq!(server.connect_from(Peer::Unix, "/").status(), Some(101));
    server.check();
    first.reset();
    server.run();
    assert_eq!(server.connect_from(from(one), "/").status(), Some(101));
    assert!(server.connect_from(from(one), "/").is_dropped());
    assert_eq!(second.status(), Some(101));
    server.shutdown(Shutdown::new());
    log.check();
    server.check();
}

/// OpenClaw CVE-2026-32062, TinyWeb CVE-2026-27630, RUSTSEC-2024-0341: who connects and says
/// nothing, or little, keeps the others out.
#[test]
fn sec_15_silent_clients_keep_nobody_out() {
    let (server, log) = serve(capacity(2_000, Limit::Unlimited, 100));
    let early = server.connect("/");
    let silent: Vec<_> = (0..5_000).map(|_| server.dial()).collect();
    let slow: Vec<_> = (0..5_000).map(|_| server.dial()).collect();
    server.run();
    assert_eq!(server.connections(), 101);
    assert!(
        silent.iter().all(|client| client.is_dropped()),
        "the oldest make room"
    );
    let clients: Vec<_> = (0..200).map(|_| server.connect("/")).collect();
    assert!(
        clients.iter().all(|client| client.status() == Some(101)),
        "served at once"
    );
    early.send_text("still here");
    early.expect_text("still here");
    for _ in 0..11 {
        server.advance(900);
        for client in &slow[4_900..] {
            client.raw(b"G");
        }
    }
    assert_eq!(server.connections(), 300, "at 9.9 s");
    server.advance(1_200);
    assert_eq!(server.connections(), 201, "at 11.1 s");
    server.shutdown(Shutdown::new());
    log.check();
    server.check();
}

/// Pipelined requests: one request is served of each connection (Netty CVE-2026-100658).
#[test]
fn a_rejected_request_is_the_last() {
    let (server, log) = server();
    let client = server.dial();
    client.raw(&request("/teapot").repeat(50));
    let answer = client.bytes();
    let heads = answer
        .windows(9)
        .filter(|part| part == b"HTTP/1.1 ")
        .count();
    assert_eq!(heads, 1, "{}", answer.escape_ascii());
    assert!(answer.starts_with(b"HTTP/1.1 418 "));
    client.finish();
    assert_eq!(server.connections(), 0);
    assert_eq!(log.sessions(), 0);
}

#[test]
fn shutdown_turns_handshakes_away_and_closes_the_rest() {
    let (server, log) = serve(Setup::new().loops(2));
    let client = server.connect("/");
    let half = server.dial();
    half.raw(b"GET / HTTP/1.1\r\n");
    server.run();
    server.handle().shutdown(Shutdown::new());
    server.run();
    client.expect_close(1001);
    assert!(half.bytes().starts_with(b"HTTP/1.1 503 "));
    let late = server.dial();
    assert!(late.is_dropped());
    server.advance(1_200);
    let report = server.report().expect("both have gone");
    assert_eq!((report.in_time, report.aborted), (2, 0));
    assert_eq!(
        log.of(0)[1..],
        [
            Call::Closing(1001),
            Call::Close {
                code: 1001,
                clean: true
            },
            Call::Dropped
        ]
    );
    assert_eq!(server.connect("/").receive(), Some(Received::Reset));
    server.check();
}

/// A handshake that goes at once, because its client has, is one that went in time.
#[test]
fn report_counts_who_goes_while_turned_away() {
    let (server, _) = server();
    server.set_faults(Faults {
        reset_at_call: Some(2),
        ..Faults::none()
    });
    let _clients: Vec<_> = (0..10).map(|_| server.dial()).collect();
    server.run();
    assert_eq!(server.handle().connections(), 10);
    let report = server.shutdown(Shutdown::new());
    assert_eq!((report.in_time, report.aborted), (10, 0));
}

#[test]
fn a_second_shutdown_is_at_once() {
    let (server, log) = server();
    let client = server.connect("/");
    client.mute();
    server.handle().shutdown(Shutdown::new());
    server.run();
    assert!(server.report().is_none());
    server.handle().shutdown(Shutdown::new());
    server.run();
    let report = server.report().expect("at once");
    assert_eq!((report.in_time, report.aborted), (0, 1));
    assert_eq!(server.connections(), 0);
    log.check();
    server.check();
}

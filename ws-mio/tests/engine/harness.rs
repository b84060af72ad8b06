//! The harness itself.

use ws_mio::testing::{Faults, Received, Setup};

use crate::{serve, server};

fn faults() -> Faults {
    Faults {
        piece: 7,
        short_writes: 30,
        blocked: 20,
        interrupted: 20,
        spurious: 10,
        reset_at_call: None,
    }
}

/// A conversation of several clients over two loops, and its transcript.
fn transcript(seed: u64) -> String {
    let setup = Setup::new().seed(seed).loops(2).faults(faults());
    let (server, log) = serve(setup.room(100));
    let clients: Vec<_> = (0..4).map(|_| server.connect("/")).collect();
    for (n, client) in clients.iter().enumerate() {
        client.send_text(&format!("post {} word", (n + 1) % 4));
        client.send_text(&"long ".repeat(50));
        client.ping(b"?");
    }
    server.advance(50_000);
    clients[0].reset();
    clients[1].finish();
    server.advance(1_000);
    clients[2].close(1000, "bye");
    server.shutdown(ws_mio::Shutdown::new());
    log.check();
    server.check();
    server.transcript()
}

#[test]
fn same_seed_gives_the_same_transcript() {
    let first = transcript(7);
    assert_eq!(first, transcript(7));
    assert_ne!(first, transcript(8));
    assert_eq!(transcript(0), transcript(0));
}

#[test]
fn faults_do_not_change_what_is_said() {
    for seed in 1..40 {
        let setup = Setup::new().seed(seed).faults(faults()).room(64);
        let (server, log) = serve(setup);
        let client = server.connect("/");
        for n in 0..10 {
            client.send_text(&format!("message {n} {}", "x".repeat(n * 13)));
        }
        client.close(1000, "");
        for n in 0..10 {
            client.expect_text(&format!("message {n} {}", "x".repeat(n * 13)));
        }
        client.expect_close(1000);
        assert_eq!(server.connections(), 0);
        log.check();
        server.check();
    }
}

#[test]
fn a_reset_takes_away_what_was_under_way() {
    let (server, _) = server();
    let client = server.connect("/");
    client.stop_reading();
    client.send_text("never seen");
    server.run();
    client.reset();
    client.read_on();
    assert_eq!(client.receive_all(), [Received::Reset]);
    assert_eq!(server.connections(), 0);
}

//! The engine on wires in memory and a virtual clock: what it promises to sessions, to peers, and
//! to those who have to keep it running.

mod bytes;
mod capacity;
mod guarantees;
mod harness;
mod probe;
mod slow_peers;
mod splits;
mod timeouts;

use ws_mio::{
    Application,
    testing::{Setup, TestClient, TestServer},
};

use self::{
    bytes::{frame, request},
    probe::{Log, Probe, app},
};

/// A server of [`Probe`]s, and the log of their calls.
fn server() -> (TestServer<impl Application<Session = Probe>>, Log) {
    serve(Setup::new())
}

fn serve(setup: Setup) -> (TestServer<impl Application<Session = Probe>>, Log) {
    let log = Log::default();
    (setup.serve(app(&log)), log)
}

/// A client that is open and answers nothing by itself.
fn open_by_hand<A: Application>(server: &TestServer<A>) -> TestClient {
    let client = server.dial();
    client.raw(&request("/"));
    let answer = client.bytes();
    assert!(
        answer.starts_with(b"HTTP/1.1 101 "),
        "{}",
        answer.escape_ascii()
    );
    assert!(answer.ends_with(b"\r\n\r\n"), "{}", answer.escape_ascii());
    client
}

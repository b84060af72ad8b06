//! The engine on wires in memory and a virtual clock: what it promises to sessions, to peers, and
//! to those who have to keep it running.

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

use self::probe::{Log, Probe, app};

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

/// A good request.
fn request(target: &str) -> Vec<u8> {
    format!(
        "GET {target} HTTP/1.1\r\nHost: server.example\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes()
}

/// A frame of a client, masked with zeros. `first` is the byte with FIN and opcode.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ ..126 => frame.push(0x80 | len as u8),
        len @ ..=0xFFFF => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

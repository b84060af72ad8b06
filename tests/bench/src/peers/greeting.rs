//! The peers answering a handshake.

use super::{Memory, run};
use crate::{handshake::contender, harness::Contender};

/// The peers which bring HTTP along. fastwebsockets and yawc leave it to hyper, edge-ws to
/// edge-http.
#[must_use]
pub fn handshakes<'a>() -> Vec<Contender<'a>> {
    vec![
        contender(
            "sockudo-ws",
            "parse_request, build_response",
            |request, output| {
                use sockudo_ws::handshake::{build_response, generate_accept_key, parse_request};

                let (request, _) = parse_request(request).expect("valid").expect("whole");
                let answer = build_response(&generate_accept_key(request.key), None, None);
                output.extend_from_slice(&answer);
            },
        ),
        contender(
            "embedded-websocket",
            "httparse, server_accept",
            |request, output| {
                use embedded_websocket::{WebSocketServer, read_http_header};

                let mut headers = [httparse::EMPTY_HEADER; 16];
                let mut parsed = httparse::Request::new(&mut headers);
                assert!(
                    parsed.parse(request).expect("valid").is_complete(),
                    "a whole request"
                );
                let headers = parsed
                    .headers
                    .iter()
                    .map(|header| (header.name, header.value));
                let context = read_http_header(headers)
                    .expect("valid")
                    .expect("an upgrade");
                let mut answer = [0; 512];
                let len = WebSocketServer::new_server()
                    .server_accept(&context.sec_websocket_key, None, &mut answer)
                    .expect("room for the answer");
                output.extend_from_slice(&answer[..len]);
            },
        ),
        contender(
            "tungstenite",
            "accept over memory, connection made",
            |request, output| {
                let accepted = tungstenite::accept(Memory::holding(request)).expect("valid");
                output.extend_from_slice(&accepted.get_ref().written);
            },
        ),
        contender(
            "tokio-websockets",
            "accept over memory, connection made",
            |request, output| {
                let builder = tokio_websockets::ServerBuilder::new();
                let (_, accepted) = run(builder.accept(Memory::holding(request))).expect("valid");
                output.extend_from_slice(&accepted.get_ref().written);
            },
        ),
        contender(
            "websocketz",
            "accept over memory, connection made",
            |request, output| {
                use websocketz::{WebSocket, mock::Noop, options::AcceptOptions};

                let (mut read, mut write) = ([0; 1024], [0; 512]);
                let memory = Memory::holding(request);
                let accepting = WebSocket::accept::<16>(
                    AcceptOptions::default(),
                    memory,
                    Noop,
                    &mut read,
                    &mut write,
                    &mut [],
                );
                let accepted = run(accepting).expect("valid");
                output.extend_from_slice(&accepted.inner().written);
            },
        ),
    ]
}

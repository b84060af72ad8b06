//! Whole connections, from the first byte of the opening handshake on: however both directions are
//! cut, both ends open, and what lies behind a head is the first frames.

use ws_proto::{
    ClientHandshake, Config, Connection, Output, Role, ServerHandshake, WsUri,
    handshake::{Acceptance, ClientRequest, EMPTY_HEADER, Outcome, Upgrade},
};
use ws_tests::{
    End, Frames, Log, Seen,
    corpus::heads::{NONCE, OFFERED},
    fuzz,
};

const CONFIG: Config = Config::new();

#[test]
fn opened_by_every_cut_of_the_request() {
    let stream = to_server();
    for cut in 0..=stream.len() {
        let (head, tail) = stream.split_at(cut);
        check_server(&open_server([head, tail]), cut);
    }
    check_server(&open_server(stream.chunks(1)), 0);
}

#[test]
fn opened_by_every_cut_of_the_response() {
    let stream = to_client();
    for cut in 0..=stream.len() {
        let (head, tail) = stream.split_at(cut);
        check_client(&open_client([head, tail]), cut);
    }
    check_client(&open_client(stream.chunks(1)), 0);
}

/// Found by fuzzing: the line is too long before it ends badly. (Its limit is 40 bytes in one of
/// the configurations tried.)
#[test]
fn long_start_line_is_refused_as_such_however_it_is_cut() {
    fuzz::request(b"GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n\n");
    fuzz::response(b"HTTP/1.1 200 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n\n");
}

/// The request, and frames of a client that is sure of its acceptance.
fn to_server() -> Vec<u8> {
    let mut memory = [0; 512];
    let mut output = Output::new(&mut memory);
    start(&mut output);
    let mut stream = output.written().to_vec();
    stream.extend(Frames::of(Role::Client).text("early").ping("?").take());
    stream
}

/// The response, and the frames of a server that speaks first.
fn to_client() -> Vec<u8> {
    let mut server = open_server([&to_server()[..]]);
    let welcomed = server.send(|c, output| c.send_text("welcome", output));
    assert_eq!(welcomed, Ok(()));
    server.take_sent()
}

fn check_server(server: &End<Log>, cut: usize) {
    let expected = [Seen::text("early"), Seen::Ping(b"?".to_vec())];
    assert_eq!(server.seen.events(), expected, "cut at {cut}");
}

fn check_client(client: &End<Log>, cut: usize) {
    let expected = [Seen::Pong(b"?".to_vec()), Seen::text("welcome")];
    assert_eq!(client.seen.events(), expected, "cut at {cut}");
}

/// A server's end that was opened by these pieces. What it sent begins with its response.
fn open_server<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> End<Log> {
    let mut handshake = Some(ServerHandshake::new());
    let mut received = Vec::new();
    let mut server = End::new(Role::Server, CONFIG);
    for piece in pieces {
        received.extend_from_slice(piece);
        match handshake.take() {
            None => server.receive(piece),
            Some(waiting) => match accept(waiting, &received, &mut server.sent) {
                Ok((connection, head_len)) => {
                    server.connection = connection;
                    server.receive(&received[head_len..]);
                }
                Err(waiting) => handshake = Some(waiting),
            },
        }
    }
    assert!(handshake.is_none(), "the request is complete");
    server
}

/// The connection and where its frames begin, or the handshake that awaits more.
fn accept(
    mut handshake: ServerHandshake,
    received: &[u8],
    sent: &mut Vec<u8>,
) -> Result<(Connection<Config>, usize), ServerHandshake> {
    let mut headers = [EMPTY_HEADER; 16];
    let request = handshake.receive(received, &mut headers, &CONFIG.limits);
    let Some(request) = request.expect("the request is good") else {
        return Err(handshake);
    };
    assert_eq!(request.upgrade(), Upgrade::WebSocket);
    assert_eq!(request.target(), "/chat?room=1");
    let acceptance = Acceptance::new().subprotocol(request.choose(&["superchat"]));
    let head_len = handshake.head_len();
    let mut memory = [0; 512];
    let mut output = Output::new(&mut memory);
    let connection = handshake.accept(&acceptance, CONFIG, &mut output);
    let connection = connection.expect("it may be accepted");
    sent.extend_from_slice(output.written());
    Ok((connection, head_len))
}

/// A client's end that was opened by these pieces.
fn open_client<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> End<Log> {
    let mut memory = [0; 512];
    let mut handshake = start(&mut Output::new(&mut memory));
    let mut received = Vec::new();
    let mut client = End::new(Role::Client, CONFIG);
    let mut is_open = false;
    for piece in pieces {
        if is_open {
            client.receive(piece);
            continue;
        }
        received.extend_from_slice(piece);
        let mut headers = [EMPTY_HEADER; 16];
        let outcome = handshake.receive(&received, &mut headers, &CONFIG.limits);
        match outcome.expect("the response is good") {
            None => {}
            Some(Outcome::Rejected(response)) => panic!("{response:?}"),
            Some(Outcome::Accepted { agreed, .. }) => {
                assert_eq!(agreed.subprotocol(), Some("superchat"));
                client.connection = agreed.finish(CONFIG);
                client.receive(&received[handshake.head_len()..]);
                is_open = true;
            }
        }
    }
    assert!(is_open, "the response is complete");
    client
}

fn start(output: &mut Output<'_>) -> ClientHandshake<'static> {
    let uri = WsUri::parse("ws://server.example.com/chat?room=1").expect("it is one");
    let request = ClientRequest::new(uri).subprotocols(OFFERED);
    ClientHandshake::start(&request, NONCE, output).expect("there is room")
}

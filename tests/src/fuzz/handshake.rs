//! The opening handshake, both sides.

use ws_proto::{
    ClientHandshake, Config, Limits, Output, ServerHandshake, WsUri,
    handshake::{
        Acceptance, ClientRequest, EMPTY_HEADER, Outcome, Persistence, Request, RequestError,
        Upgrade, head,
    },
};

use crate::corpus::heads::{NONCE, OFFERED};

const DEFAULT: Config = Config::new();

const SMALL: Config = {
    let mut config = Config::new();
    config.limits.max_head = 200;
    config.limits.max_start_line = 40;
    config
};

/// A server receives these bytes from a client that has just connected. However they are cut, it
/// finds the same in them, or the same fault: the client is told which.
pub fn request(bytes: &[u8]) {
    for config in [DEFAULT, SMALL] {
        let whole = receive_request(bytes, &config.limits, bytes.len());
        let byte_by_byte = receive_request(bytes, &config.limits, 1);
        assert_eq!(whole, byte_by_byte);
    }
}

/// A client receives these bytes as the answer to its request. However they are cut, it finds the
/// same in them, or a fault: which one, where there are several, nobody is told.
pub fn response(bytes: &[u8]) {
    for config in [DEFAULT, SMALL] {
        let whole = receive_response(bytes, &config.limits, bytes.len());
        let byte_by_byte = receive_response(bytes, &config.limits, 1);
        assert_eq!(whole.map_err(drop), byte_by_byte.map_err(drop));
    }
}

/// What came of a head: nothing yet, what it says, or a refusal.
type Judged<E> = Result<Option<String>, E>;

fn receive_request(bytes: &[u8], limits: &Limits, step: usize) -> Judged<RequestError> {
    let mut handshake = ServerHandshake::new();
    for end in ends(bytes.len(), step) {
        let mut headers = [EMPTY_HEADER; 16];
        match handshake.receive(&bytes[..end], &mut headers, limits) {
            Ok(None) => {}
            Ok(Some(request)) => {
                let told = tell_request(&request);
                let head_len = handshake.head_len();
                assert!((1..=end.min(limits.max_head)).contains(&head_len));
                answer(handshake, &request);
                return Ok(Some(format!("{told} {head_len}")));
            }
            Err(error) => {
                refuse(handshake, error);
                return Err(error);
            }
        }
    }
    Ok(None)
}

/// All that a request says.
fn tell_request(request: &Request<'_, '_>) -> String {
    let subprotocols: Vec<_> = request.subprotocols().collect();
    let extensions: Vec<_> = request.extensions().collect();
    assert!(request.target().contains(request.path()));
    format!(
        "{request:?} {} {:?} {} {:?} {subprotocols:?} {extensions:?}",
        request.path(),
        request.query(),
        request.host(),
        request.origin(),
    )
}

/// Answers the request as it asks to be. The answer is such as our client understands.
fn answer(mut handshake: ServerHandshake, request: &Request<'_, '_>) {
    let mut memory = [0; 512];
    let mut output = Output::new(&mut memory);
    match request.upgrade() {
        Upgrade::Refused(error) => refuse(handshake, error),
        Upgrade::None => {
            let then = Persistence::KeepAlive;
            let answered = handshake.respond(200, &[], b"hello", then, &mut output);
            assert_eq!(answered, Ok(()));
            check_answer(output.written(), 200);
        }
        Upgrade::WebSocket => {
            let chosen = request.choose(OFFERED);
            let acceptance = Acceptance::new().subprotocol(chosen);
            let accepted = handshake.accept(&acceptance, DEFAULT, &mut output);
            assert!(accepted.is_ok(), "what is a WebSocket can be accepted");
            check_answer(output.written(), 101);
        }
    }
}

fn refuse(mut handshake: ServerHandshake, error: RequestError) {
    let mut memory = [0; 300];
    let mut output = Output::new(&mut memory);
    assert_eq!(handshake.reject_error(error, &mut output), Ok(()));
    check_answer(output.written(), error.status());
}

fn check_answer(answer: &[u8], status: u16) {
    let end = head::find_end(answer, 0, 100, 512);
    let len = end
        .expect("our heads are good")
        .expect("our heads are whole");
    let mut headers = [EMPTY_HEADER; 16];
    let parsed = head::parse_response(&answer[..len], &mut headers);
    assert_eq!(parsed.expect("our heads are good").status, status);
}

fn receive_response(
    bytes: &[u8],
    limits: &Limits,
    step: usize,
) -> Judged<ws_proto::handshake::ResponseError> {
    let uri = WsUri::parse("ws://server.example.com/chat").expect("it is one");
    let request = ClientRequest::new(uri).subprotocols(OFFERED);
    let mut memory = [0; 512];
    let mut output = Output::new(&mut memory);
    let mut handshake =
        ClientHandshake::start(&request, NONCE, &mut output).expect("there is room");
    for end in ends(bytes.len(), step) {
        let mut headers = [EMPTY_HEADER; 16];
        let Some(outcome) = handshake.receive(&bytes[..end], &mut headers, limits)? else {
            continue;
        };
        let (agreed, response) = match outcome {
            Outcome::Accepted { agreed, response } => (Some(agreed), response),
            Outcome::Rejected(response) => (None, response),
        };
        assert_eq!(agreed.is_some(), response.status() == 101);
        let challenges: Vec<_> = response.challenges().collect();
        let told = format!(
            "{agreed:?} {} {:?} {:?} {:?} {challenges:?}",
            response.status(),
            response.reason(),
            response.headers(),
            response.redirect(),
        );
        let head_len = handshake.head_len();
        assert_eq!(&bytes[head_len..end], response.body());
        return Ok(Some(format!("{told} {head_len}")));
    }
    Ok(None)
}

/// The ends of pieces of `step` bytes.
fn ends(len: usize, step: usize) -> impl Iterator<Item = usize> {
    (0..len)
        .step_by(step.max(1))
        .map(move |start| len.min(start + step))
}

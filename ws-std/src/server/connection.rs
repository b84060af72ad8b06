//! The life of one connection of a server: handshake, handler, end.

use std::{
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use ws_proto::{
    CloseCode, Connection, Output, ServerHandshake, State, Timeout,
    handshake::{Acceptance, EMPTY_HEADER, Header, RequestError, Upgrade},
};

use super::{
    HandlerError, Options, Service,
    answer::{Accept, Decision, Reject},
};
use crate::{
    buffer::Inbox,
    error::{Error, Stage},
    log,
    opening::{MAX_HEADERS, Opening, Request, read_until, write_all},
    transport::{Stream, Transport},
    websocket::{LINGER, WebSocket, linger},
};

/// Whether a connection finds a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Serve,
    /// It is told that there are too many.
    Refuse,
}

impl<H> Service<H>
where
    H: Fn(&mut WebSocket<Stream>) -> Result<(), HandlerError>,
{
    pub(super) fn run(
        &self,
        stream: Stream,
        peer: SocketAddr,
        accepted: Instant,
        admission: Admission,
    ) {
        let _ = stream.tcp().set_nodelay(true);
        let handshake = Handshake {
            options: &self.options,
            handshake: ServerHandshake::new(),
            inbox: Inbox::new(
                self.options
                    .receive_buffer
                    .max(self.options.config.limits.max_head),
            ),
            stream,
            peer,
            deadline: deadline(&self.options, accepted, admission),
        };
        let Some(mut socket) = handshake.carry_out(admission) else {
            return;
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.handler)(&mut socket)));
        let code = match outcome {
            Ok(Ok(())) => CloseCode::NORMAL,
            Ok(Err(error)) => {
                if socket.state() == State::Open {
                    let error = log::elide(&error.to_string());
                    tracing::warn!(target: "ws::conn", %peer, error, "handler failed");
                }
                CloseCode::INTERNAL_ERROR
            }
            Err(_) => {
                tracing::error!(target: "ws::conn", %peer, "handler panicked");
                CloseCode::INTERNAL_ERROR
            }
        };
        // A handler may have left a message unfinished; a control frame may pass it. Where not even
        // that can be written there is no answer to wait for.
        if socket.connection.state() != State::Open || socket.close(code, "").is_ok() {
            let _ = socket.wait_closed();
        }
    }
}

/// When the request has to be complete. Who is refused anyway is given a moment.
fn deadline(options: &Options, accepted: Instant, admission: Admission) -> Option<Instant> {
    let patience = match (admission, options.config.timeouts.handshake) {
        (Admission::Refuse, _) => LINGER,
        (Admission::Serve, Timeout::Ms(ms)) => Duration::from_millis(ms.into()),
        (Admission::Serve, Timeout::Never) => return None,
    };
    accepted.checked_add(patience)
}

struct Handshake<'o> {
    options: &'o Options,
    handshake: ServerHandshake,
    inbox: Inbox,
    stream: Stream,
    peer: SocketAddr,
    deadline: Option<Instant>,
}

/// Why there is no connection.
enum Refusal {
    Reject(Reject),
    /// The request is not as it should be.
    Error(RequestError),
    /// There is nobody to answer.
    Silence,
}

impl Handshake<'_> {
    /// Reads the request and answers it; the open connection if it is accepted.
    fn carry_out(mut self, admission: Admission) -> Option<WebSocket<Stream>> {
        let request = match (self.request(), admission) {
            (Err(Refusal::Silence), _) => Err(Refusal::Silence),
            (_, Admission::Refuse) => Err(too_many()),
            (request, Admission::Serve) => request,
        };
        let accepted = request.and_then(|request| Ok((self.decide(&request)?, request)));
        let patience = self.deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            left.max(LINGER)
        });
        let _ = self.stream.set_write_timeout(patience);
        match accepted {
            Ok((accept, request)) => self.accept(&request, &accept),
            Err(Refusal::Reject(reject)) => self.reject(&reject),
            Err(Refusal::Error(error)) => self.refuse(error),
            Err(Refusal::Silence) => None,
        }
    }

    /// The request for a WebSocket, or what there is to say to anything else.
    fn request(&mut self) -> Result<Request, Refusal> {
        loop {
            let mut headers = [EMPTY_HEADER; MAX_HEADERS];
            let input = self.inbox.unread();
            let limits = &self.options.config.limits;
            let received = self.handshake.receive(input, &mut headers, limits);
            if let Some(request) = received.map_err(Refusal::Error)? {
                for line in log_lines(input.get(..self.handshake.head_len())) {
                    tracing::debug!(target: "ws::handshake", peer = %self.peer, "< {line}");
                }
                return match request.upgrade() {
                    Upgrade::WebSocket => Ok(Request::new(&request, Some(self.peer))),
                    Upgrade::Refused(error) => Err(Refusal::Error(error)),
                    Upgrade::None => Err(Refusal::Reject(plain(request.method()))),
                };
            }
            self.read()?;
        }
    }

    fn read(&mut self) -> Result<(), Refusal> {
        match read_until(&mut self.stream, &mut self.inbox, self.deadline) {
            Ok(0) if self.stream.is_stopping() => Err(too_many()),
            Ok(0) => Err(Refusal::Silence),
            Ok(_) => Ok(()),
            // Who said nothing asked nothing.
            Err(Error::Timeout(Stage::Handshake)) if !self.inbox.is_empty() => {
                Err(Refusal::Error(RequestError::Timeout))
            }
            Err(_) => Err(Refusal::Silence),
        }
    }

    fn decide(&self, request: &Request) -> Result<Accept, Refusal> {
        if self.stream.is_stopping() {
            return Err(too_many());
        }
        let Some(decide) = &self.options.on_request else {
            return Ok(Accept::new());
        };
        match catch_unwind(AssertUnwindSafe(|| decide(request))) {
            Ok(Decision::Accept(accept)) => Ok(accept),
            Ok(Decision::Reject(reject)) => Err(Refusal::Reject(reject)),
            Err(_) => {
                tracing::error!(target: "ws::handshake", peer = %self.peer, "on_request panicked");
                Err(Refusal::Reject(Reject::new(500)))
            }
        }
    }

    fn accept(mut self, request: &Request, accept: &Accept) -> Option<WebSocket<Stream>> {
        let headers = accept.headers.views();
        let mut buffer = vec![0; room(&headers) + request_room(request)];
        let mut output = Output::new(&mut buffer);
        let preferred: Vec<&str> = match &accept.subprotocol {
            Some(name) => vec![name],
            None => self
                .options
                .subprotocols
                .iter()
                .map(String::as_str)
                .collect(),
        };
        let mut parsed = [EMPTY_HEADER; MAX_HEADERS];
        let limits = &self.options.config.limits;
        let again = self
            .handshake
            .receive(self.inbox.unread(), &mut parsed, limits)
            .ok()
            .flatten();
        let chosen = again.and_then(|request| request.choose(&preferred));
        if accept.subprotocol.is_some() && chosen.is_none() {
            tracing::error!(target: "ws::handshake", "the subprotocol was not offered");
            return self.reject(&Reject::new(500));
        }
        let acceptance = Acceptance::new().subprotocol(chosen).headers(&headers);
        let subprotocol = chosen.map(|name| name.as_str().to_owned());
        let unread = self.inbox.unread().len() - self.handshake.head_len();
        let config = Arc::new(self.options.config);
        let connection: Connection<_> =
            match self.handshake.accept(&acceptance, config, &mut output) {
                Ok(connection) => connection,
                Err(unaccepted) => {
                    let error = unaccepted.error;
                    tracing::error!(target: "ws::handshake", %error, "cannot accept");
                    self.handshake = unaccepted.handshake;
                    return self.reject(&Reject::new(500));
                }
            };
        for line in log_lines(Some(output.written())) {
            tracing::debug!(target: "ws::handshake", peer = %self.peer, "> {line}");
        }
        let answered = write_all(&mut self.stream, output.written()).and_then(|()| {
            self.stream
                .set_write_timeout(self.options.send_timeout)
                .map_err(Error::Io)
        });
        if let Err(error) = answered {
            tracing::debug!(target: "ws::handshake", peer = %self.peer, %error, "cannot answer");
            return None;
        }
        self.inbox.keep(unread);
        let opening = Opening {
            target: request.target.clone(),
            headers: request.headers.clone(),
            subprotocol,
        };
        Some(WebSocket::established(self.stream, connection, self.inbox).opened(opening))
    }

    fn reject<T>(mut self, reject: &Reject) -> Option<T> {
        let headers = reject.headers.views();
        let mut buffer = vec![0; room(&headers) + reject.body.len()];
        let mut output = Output::new(&mut buffer);
        let rejected = self
            .handshake
            .reject(reject.status, &headers, &reject.body, &mut output);
        if let Err(error) = rejected {
            tracing::error!(target: "ws::handshake", %error, "cannot reject");
            let _ = self.handshake.reject(500, &[], b"", &mut output);
        }
        self.answer(output.written())
    }

    fn refuse<T>(mut self, error: RequestError) -> Option<T> {
        let mut buffer = [0; REFUSAL];
        let mut output = Output::new(&mut buffer);
        let _ = self.handshake.reject_error(error, &mut output);
        tracing::debug!(target: "ws::handshake", peer = %self.peer, %error, "refused");
        self.answer(output.written())
    }

    /// Writes the answer, and ends the stream so that it can be read: all of it, then FIN, and then
    /// what the client still sends is read, or a reset would take the answer away.
    fn answer<T>(mut self, answer: &[u8]) -> Option<T> {
        for line in log_lines(Some(answer)) {
            tracing::debug!(target: "ws::handshake", peer = %self.peer, "> {line}");
        }
        if write_all(&mut self.stream, answer).is_ok() && self.stream.shutdown_write().is_ok() {
            self.inbox.keep(0);
            linger(&mut self.stream, self.inbox.free_mut(), LINGER);
        }
        None
    }
}

/// What plain HTTP is told. RFC 9110 §15.5.22: "The server MUST send an Upgrade header field in a
/// 426 response"; the handshake does.
fn plain(method: &str) -> Reject {
    match method {
        "GET" | "HEAD" => Reject::new(426)
            .header("Content-Type", "text/plain")
            .body("this is a WebSocket server\n"),
        _ => Reject::new(405).header("Allow", "GET, HEAD"),
    }
}

fn too_many() -> Refusal {
    Refusal::Reject(Reject::new(503).header("Retry-After", "1"))
}

/// The head of an answer as lines, if anybody reads them.
fn log_lines(head: Option<&[u8]>) -> impl Iterator<Item = String> {
    let head = head.filter(|_| tracing::enabled!(target: "ws::handshake", tracing::Level::DEBUG));
    let head = head.unwrap_or_default();
    let end = head.windows(4).position(|window| window == b"\r\n\r\n");
    log::head_lines(head.get(..end.unwrap_or(head.len())).unwrap_or_default())
}

/// How long an answer with these headers may become, its body aside.
fn room(headers: &[Header<'_>]) -> usize {
    let headers = headers.iter();
    let headers: usize = headers
        .map(|header| header.name.len() + header.value.len() + 4)
        .sum();
    REFUSAL + headers
}

fn request_room(request: &Request) -> usize {
    request
        .subprotocols
        .iter()
        .map(String::len)
        .max()
        .unwrap_or(0)
}

/// What the answers of the handshake itself take.
const REFUSAL: usize = 512;

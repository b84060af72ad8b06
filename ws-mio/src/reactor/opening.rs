//! State. A connection whose opening handshake is not done (RFC 6455 §4.2).

use std::{
    io::{self, ErrorKind},
    panic::AssertUnwindSafe,
    sync::Arc,
};

use ws_proto::{
    Config, Output, ServerHandshake,
    handshake::{Acceptance, EMPTY_HEADER, HandshakeError, Header, Request, RequestError, Upgrade},
};

use super::{Stream, contained, discard};
use crate::{
    accept::{Accepted, Application, Decision, Peer, Rejected, Verdict},
    connection::{Core, Delivery, Ready, ShortRead},
    session::Session,
};

/// A stream that is to become a WebSocket.
pub(super) struct Opening<S> {
    pub(super) stream: S,
    pub(super) handshake: ServerHandshake,
    pub(super) peer: Peer,
    /// What was received, where one read did not bring the whole head; bounded by the limit of a
    /// head, and one read.
    head: Vec<u8>,
    /// What the poll told, and reads have not answered. A short read does not answer for the end.
    pub(super) ready: Ready,
}

/// Who is asked to let it in.
pub(super) struct Host<'a, A> {
    pub(super) app: &'a A,
    pub(super) config: &'a Arc<Config>,
    /// There is hardly any room left.
    pub(super) is_crowded: bool,
}

/// What a turn of an opening came to.
pub(super) enum Opened<T> {
    /// More has to come.
    Wait,
    /// More may be there.
    Again,
    /// The peer has gone, or the stream is broken.
    Gone,
    /// The answer is in the output, and the stream is to be ended behind it.
    Answered,
    /// The answer is in the output, and frames may follow.
    Accepted {
        core: Core,
        session: T,
        delivery: Delivery,
        /// What came behind the head: the first frames.
        behind: Vec<u8>,
    },
}

impl<S: Stream> Opening<S> {
    pub(super) fn new(stream: S, peer: Peer) -> Self {
        Self {
            stream,
            handshake: ServerHandshake::new(),
            peer,
            head: Vec::new(),
            ready: Ready {
                readable: true,
                ..Ready::AGAIN
            },
        }
    }

    /// Reads once, and answers the request if it is whole.
    pub(super) fn turn<A: Application>(
        &mut self,
        ready: Ready,
        host: Host<'_, A>,
        buffer: &mut [u8],
        output: &mut Output<'_>,
    ) -> Opened<A::Session> {
        let config = host.config;
        self.ready.readable |= ready.readable || ready.read_closed;
        self.ready.read_closed |= ready.read_closed;
        let n = match self.read(buffer) {
            Ok(Some(0)) | Err(_) => return Opened::Gone,
            Ok(Some(n)) => n,
            Ok(None) => return Opened::Wait,
        };
        let received = if self.head.is_empty() {
            &buffer[..n]
        } else {
            self.head.extend_from_slice(&buffer[..n]);
            &self.head
        };
        let mut headers = [EMPTY_HEADER; HEADERS];
        let request = match self
            .handshake
            .receive(received, &mut headers, &config.limits)
        {
            Ok(Some(request)) => request,
            Ok(None) => {
                if self.head.is_empty() {
                    self.head.extend_from_slice(&buffer[..n]);
                }
                return if self.ready.readable {
                    Opened::Again
                } else {
                    Opened::Wait
                };
            }
            Err(error) => {
                self.refuse(error, output);
                return Opened::Answered;
            }
        };
        let decision = match request.upgrade() {
            Upgrade::WebSocket if host.is_crowded => {
                self.turn_away(output);
                return Opened::Answered;
            }
            Upgrade::WebSocket => decide(host.app, &request, &self.peer),
            Upgrade::Refused(error) => {
                self.refuse(error, output);
                return Opened::Answered;
            }
            Upgrade::None => {
                let rejection = Decision::reject(426, "This is for WebSocket only.\n");
                (rejection, Delivery::Messages)
            }
        };
        match decision {
            (Decision(Verdict::Reject(rejected)), _) => self.reject(&rejected, output),
            (Decision(Verdict::Accept(accepted)), delivery) => {
                let behind = received[self.handshake.head_len()..].to_vec();
                self.accept(accepted, delivery, behind, config, output)
            }
        }
    }

    /// Answers what is wrong with the request. Where nothing can be written, the stream ends without
    /// an answer.
    pub(super) fn refuse(&mut self, error: RequestError, output: &mut Output<'_>) {
        _ = self.handshake.reject_error(error, output);
    }

    /// Answers that the server has no room, or ends.
    pub(super) fn turn_away(&mut self, output: &mut Output<'_>) {
        const RETRY: Header<'_> = Header {
            name: "Retry-After",
            value: b"5",
        };
        _ = self.handshake.reject(503, &[RETRY], b"", output);
    }

    fn accept<T>(
        &mut self,
        accepted: Accepted<T>,
        delivery: Delivery,
        behind: Vec<u8>,
        config: &Arc<Config>,
        output: &mut Output<'_>,
    ) -> Opened<T> {
        let headers = views(&accepted.headers);
        let acceptance = Acceptance::new()
            .subprotocol(accepted.subprotocol)
            .headers(&headers);
        let config = accepted.config.as_ref().unwrap_or(config);
        let handshake = std::mem::take(&mut self.handshake);
        match handshake.accept(&acceptance, Arc::clone(config), output) {
            Ok(core) => Opened::Accepted {
                core,
                session: accepted.session,
                delivery,
                behind,
            },
            Err(unaccepted) => {
                discard(accepted.session);
                self.handshake = unaccepted.handshake;
                self.answer_failure(unaccepted.error, output)
            }
        }
    }

    fn reject<T>(&mut self, rejected: &Rejected, output: &mut Output<'_>) -> Opened<T> {
        let headers = views(&rejected.headers);
        let body = rejected.body.as_bytes();
        match self
            .handshake
            .reject(rejected.status, &headers, body, output)
        {
            Ok(()) => Opened::Answered,
            Err(error) => self.answer_failure(error, output),
        }
    }

    /// The application's answer cannot be written: that is no fault of the client's.
    fn answer_failure<T>(&mut self, error: HandshakeError, output: &mut Output<'_>) -> Opened<T> {
        tracing::error!(target: "ws::handshake", %error, "an answer that must not be written");
        _ = self.handshake.reject(500, &[], b"", output);
        Opened::Answered
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        while self.ready.readable {
            match self.stream.read(buffer) {
                Ok(n) => {
                    let is_all = n < buffer.len() && S::SHORT_READ == ShortRead::IsAll;
                    self.ready.readable = !is_all || self.ready.read_closed;
                    return Ok(Some(n));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.ready.readable = false;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// As many as RFC 6455's own peers send is a dozen; more than this is an attack (CVE-2024-37890).
const HEADERS: usize = 100;

/// The decision, and how messages are to be reported. A panic is the application's failure, and no
/// answer the client's.
fn decide<A: Application>(
    app: &A,
    request: &Request<'_, '_>,
    peer: &Peer,
) -> (Decision<A::Session>, Delivery) {
    let decide = || {
        let decision = app.accept(request, peer);
        let delivery = match &decision.0 {
            Verdict::Accept(accepted) => accepted.session.delivery(),
            Verdict::Reject(_) => Delivery::Messages,
        };
        (decision, delivery)
    };
    contained(AssertUnwindSafe(decide)).unwrap_or_else(|| {
        tracing::error!(target: "ws::handshake", ?peer, "the application panicked at a request");
        (Decision::reject(500, ""), Delivery::Messages)
    })
}

fn views<'h>(headers: &'h [(&'static str, String)]) -> Vec<Header<'h>> {
    headers
        .iter()
        .map(|(name, value)| Header {
            name,
            value: value.as_bytes(),
        })
        .collect()
}

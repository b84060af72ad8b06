//! Driver. The opening handshakes over a blocking stream, both sides (RFC 6455 §4).

use core::borrow::Borrow;

use embedded_io::{Read, Write};

use super::{Error, Queue, WebSocket, fill};
use crate::{
    config::Config,
    handshake::{
        Acceptance, ClientHandshake, ClientRequest, EMPTY_HEADER, Outcome, Request, RequestError,
        ResponseError, ServerHandshake, Upgrade,
    },
    output::{MaskingKeys, Output},
};

/// How many headers a head may have in [`WebSocket::accept`] and [`WebSocket::connect`]; one that
/// has more is refused. Browsers send about 15. They lie on the stack: 16 bytes each where pointers
/// have 4.
pub const MAX_HEADERS: usize = 24;

impl<'a, S: Read + Write, C: Borrow<Config>> WebSocket<'a, S, C> {
    /// Receives a request and accepts it, if `decide` does: it returns the acceptance, or the
    /// status to refuse with. Every request that is refused is answered.
    ///
    /// `rx` has to hold the head of the request, `tx` the answer (130 bytes and the subprotocol).
    /// No time limit is kept: a stream that can wait for ever needs one of its own. Nor can a
    /// handshake go on after an error: a read that times out ends it.
    ///
    /// The stream is dropped with an error. Lend it (`&mut stream`) to keep it.
    ///
    /// # Errors
    ///
    /// [`Error::Request`] or [`Error::Refused`], after the answer was written; [`Error::Closed`]
    /// when the stream ended early; [`Error::Handshake`] for an acceptance that cannot be written.
    ///
    /// ```
    /// use ws_proto::{Config, handshake::Acceptance, io::{Error, WebSocket}};
    ///
    /// fn chat<S: embedded_io::Read + embedded_io::Write>(
    ///     stream: S,
    /// ) -> Result<(), Error<S::Error>> {
    ///     let (mut rx, mut tx) = ([0; 1024], [0; 512]);
    ///     let mut socket =
    ///         WebSocket::accept(stream, Config::new(), &mut rx, &mut tx, |request| {
    ///             match request.path() {
    ///                 "/chat" => Ok(Acceptance::new().subprotocol(request.choose(&["chat"]))),
    ///                 _ => Err(404),
    ///             }
    ///         })?;
    ///     socket.send_text("welcome")
    /// }
    /// ```
    pub fn accept<'s>(
        mut stream: S,
        config: C,
        rx: &'a mut [u8],
        tx: &'a mut [u8],
        decide: impl FnOnce(&Request<'_, '_>) -> Result<Acceptance<'s>, u16>,
    ) -> Result<Self, Error<S::Error>> {
        let mut handshake = ServerHandshake::new();
        let limits = config.borrow().limits;
        let mut end = 0;
        let decision = loop {
            let mut headers = [EMPTY_HEADER; MAX_HEADERS];
            let input = rx.get(..end).unwrap_or_default();
            match handshake.receive(input, &mut headers, &limits) {
                Ok(Some(request)) => match request.upgrade() {
                    Upgrade::WebSocket => break decide(&request).map_err(Error::Refused),
                    Upgrade::Refused(error) => break Err(Error::Request(error)),
                    Upgrade::None => break Err(Error::Refused(426)),
                },
                Ok(None) if end == rx.len() => {
                    break Err(Error::Request(RequestError::HeadTooLong));
                }
                Ok(None) => end += fill_some(&mut stream, rx, end)?,
                Err(error) => break Err(Error::Request(error)),
            }
        };
        let start = handshake.head_len();
        let mut output = Output::new(tx);
        let opened = match decision {
            Ok(acceptance) => handshake
                .accept(&acceptance, config, &mut output)
                .map_err(|unaccepted| Error::Handshake(unaccepted.error)),
            Err(error) => {
                let written = match error {
                    Error::Request(error) => handshake.reject_error(error, &mut output),
                    Error::Refused(status) => handshake.reject(status, &[], b"", &mut output),
                    _ => Ok(()),
                };
                Err(written.map_or_else(Error::Handshake, |()| error))
            }
        };
        let queued = output.len();
        let mut queue = Queue::new(tx, queued);
        queue.flush(&mut stream)?;
        Ok(Self {
            start,
            end,
            ..Self::server(stream, opened?, rx, queue.tx)
        })
    }

    /// Sends a request and waits for the response. The nonce has to be random, and fresh for each
    /// attempt. What was agreed on is returned beside the connection.
    ///
    /// `tx` has to hold the request, `rx` the head of the response. As with
    /// [`accept`](Self::accept), an error ends the handshake, and a stream that is lent survives it.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with the status of the server's answer; [`Error::Response`];
    /// [`Error::Closed`] when the stream ended early; [`Error::Handshake`] when the request must
    /// not be written.
    pub fn connect<'r>(
        mut stream: S,
        config: C,
        request: &ClientRequest<'r>,
        nonce: [u8; 16],
        rx: &'a mut [u8],
        tx: &'a mut [u8],
        keys: &'a mut dyn MaskingKeys,
    ) -> Result<(Self, Option<&'r str>), Error<S::Error>> {
        let mut output = Output::new(tx);
        let mut handshake = ClientHandshake::start(request, nonce, &mut output)?;
        let queued = output.len();
        let mut queue = Queue::new(tx, queued);
        queue.flush(&mut stream)?;
        let limits = config.borrow().limits;
        let mut end = 0;
        let agreed = loop {
            let mut headers = [EMPTY_HEADER; MAX_HEADERS];
            let input = rx.get(..end).unwrap_or_default();
            match handshake
                .receive(input, &mut headers, &limits)
                .map_err(Error::Response)?
            {
                Some(Outcome::Accepted { agreed, .. }) => break agreed,
                Some(Outcome::Rejected(response)) => return Err(Error::Refused(response.status())),
                None if end == rx.len() => return Err(Error::Response(ResponseError::HeadTooLong)),
                None => end += fill_some(&mut stream, rx, end)?,
            }
        };
        let subprotocol = agreed.subprotocol();
        let start = handshake.head_len();
        let socket = Self::client(stream, agreed.finish(config), rx, queue.tx, keys);
        Ok((
            Self {
                start,
                end,
                ..socket
            },
            subprotocol,
        ))
    }
}

/// As [`fill`], where the end of the stream comes too early.
fn fill_some<S: Read>(stream: &mut S, rx: &mut [u8], end: usize) -> Result<usize, Error<S::Error>> {
    match fill(stream, rx, end)? {
        0 => Err(Error::Closed),
        n => Ok(n),
    }
}

//! One peer, from its opening handshake to the end of its stream.

use std::{
    io::{self, ErrorKind, Read, Write},
    mem,
    net::Shutdown,
};

use mio::net::TcpStream;
use ws_mio::{CloseCode, Config, Connection, Event, Sender, Turn};
use ws_proto::{
    Output, ServerHandshake,
    handshake::{Acceptance, EMPTY_HEADER, HandshakeError, RequestError, Upgrade},
};

pub(crate) struct Peer {
    config: &'static Config,
    phase: Phase,
}

enum Phase {
    Handshake {
        stream: TcpStream,
        handshake: ServerHandshake,
        /// What was received; bounded by the limit of a head, and one read.
        input: Vec<u8>,
    },
    Open(Connection<TcpStream>),
    Farewell(Farewell),
    Gone,
}

impl Peer {
    pub(crate) fn new(stream: TcpStream, config: &'static Config) -> Self {
        let phase = Phase::Handshake {
            stream,
            handshake: ServerHandshake::new(),
            input: Vec::new(),
        };
        Self { config, phase }
    }

    /// Does what can be done without waiting. Behind an error the stream is of no use.
    pub(crate) fn turn(&mut self, buffer: &mut [u8], now_ms: u64) -> io::Result<Turn> {
        match &mut self.phase {
            Phase::Handshake { .. } => self.shake(buffer, now_ms),
            Phase::Open(connection) => {
                let turn = connection.turn(buffer, echo)?;
                if turn == Turn::Closed {
                    self.say_farewell(Vec::new(), now_ms);
                    return Ok(Turn::Again);
                }
                Ok(turn)
            }
            Phase::Farewell(farewell) => farewell.turn(buffer),
            Phase::Gone => Ok(Turn::Closed),
        }
    }

    pub(crate) fn handle_timeout(&mut self, now_ms: u64) {
        match &mut self.phase {
            Phase::Handshake { handshake, .. } => {
                if let Some(error) = handshake.handle_timeout(now_ms, &self.config.timeouts) {
                    self.reject(now_ms, |handshake, output| {
                        handshake.reject_error(error, output)
                    });
                }
            }
            Phase::Open(connection) => connection.handle_timeout(now_ms, |_| {}),
            Phase::Farewell(farewell) if farewell.end_ms <= now_ms => self.phase = Phase::Gone,
            Phase::Farewell(_) | Phase::Gone => {}
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<u64> {
        match &self.phase {
            Phase::Handshake { handshake, .. } => handshake.next_timeout(),
            Phase::Open(connection) => connection.next_timeout(),
            Phase::Farewell(farewell) => Some(farewell.end_ms),
            Phase::Gone => None,
        }
    }

    /// The server ends.
    pub(crate) fn go_away(&mut self, now_ms: u64) {
        match &mut self.phase {
            // It may be closing already, which is as good.
            Phase::Open(connection) => {
                _ = connection.sender().close(CloseCode::GOING_AWAY, "");
            }
            Phase::Handshake { .. } => self.reject(now_ms, |handshake, output| {
                handshake.reject(503, &[], b"", output)
            }),
            Phase::Farewell(_) | Phase::Gone => {}
        }
    }

    /// Reads once, and answers the request if it is whole.
    fn shake(&mut self, buffer: &mut [u8], now_ms: u64) -> io::Result<Turn> {
        let Phase::Handshake {
            stream,
            handshake,
            input,
        } = &mut self.phase
        else {
            return Ok(Turn::Again);
        };
        let Some(n) = unless_blocked(stream.read(buffer))? else {
            return Ok(Turn::Wait);
        };
        if n == 0 {
            return Ok(Turn::Closed);
        }
        input.extend_from_slice(&buffer[..n]);
        match judge(handshake, input, self.config) {
            Verdict::Incomplete => {}
            Verdict::Accept => self.accept()?,
            Verdict::Refuse(error) => self.reject(now_ms, |handshake, output| {
                handshake.reject_error(error, output)
            }),
            Verdict::NotWebSocket => self.reject(now_ms, |handshake, output| {
                handshake.reject(426, &[], b"WebSocket only\n", output)
            }),
        }
        Ok(Turn::Again)
    }

    fn accept(&mut self) -> io::Result<()> {
        let Phase::Handshake {
            mut stream,
            handshake,
            input,
        } = mem::replace(&mut self.phase, Phase::Gone)
        else {
            return Ok(());
        };
        let head_len = handshake.head_len();
        let mut buffer = [0; ANSWER_ROOM];
        let mut output = Output::new(&mut buffer);
        let core = handshake
            .accept(&Acceptance::new(), self.config, &mut output)
            .map_err(|unaccepted| io::Error::other(unaccepted.error))?;
        // It is the first that is sent: a socket that does not take 130 bytes is broken.
        if stream.write(output.written())? < output.len() {
            return Err(ErrorKind::WriteZero.into());
        }
        // Frames may be in the segment of the head.
        self.phase = Phase::Open(Connection::server(stream, core).resume(&input[head_len..]));
        Ok(())
    }

    fn reject(
        &mut self,
        now_ms: u64,
        write: impl FnOnce(&mut ServerHandshake, &mut Output<'_>) -> Result<(), HandshakeError>,
    ) {
        let Phase::Handshake { handshake, .. } = &mut self.phase else {
            return;
        };
        let mut buffer = [0; ANSWER_ROOM];
        let mut output = Output::new(&mut buffer);
        // Where nothing could be written, the stream ends without an answer.
        _ = write(handshake, &mut output);
        self.say_farewell(output.written().to_vec(), now_ms);
    }

    fn say_farewell(&mut self, answer: Vec<u8>, now_ms: u64) {
        self.phase = match mem::replace(&mut self.phase, Phase::Gone) {
            Phase::Handshake { stream, .. } => {
                Phase::Farewell(Farewell::new(stream, answer, now_ms))
            }
            Phase::Open(connection) => {
                Phase::Farewell(Farewell::new(connection.into_source(), answer, now_ms))
            }
            phase => phase,
        };
    }
}

/// Room for any answer of ours; the longest is a rejection, of less than 300 bytes.
const ANSWER_ROOM: usize = 512;

/// What is to become of a request.
enum Verdict {
    Incomplete,
    Accept,
    Refuse(RequestError),
    NotWebSocket,
}

fn judge(handshake: &mut ServerHandshake, input: &[u8], config: &Config) -> Verdict {
    let mut headers = [EMPTY_HEADER; 100];
    match handshake.receive(input, &mut headers, &config.limits) {
        Ok(None) => Verdict::Incomplete,
        Err(error) => Verdict::Refuse(error),
        Ok(Some(request)) => match request.upgrade() {
            Upgrade::WebSocket => Verdict::Accept,
            Upgrade::Refused(error) => Verdict::Refuse(error),
            Upgrade::None => Verdict::NotWebSocket,
        },
    }
}

/// What is sent after our Close was not to be echoed.
fn echo(event: Event<'_>, sender: &mut Sender) {
    match event {
        Event::Text(text) => _ = sender.send_text(text),
        Event::Binary(bytes) => _ = sender.send_binary(bytes),
        _ => {}
    }
}

/// The end of a stream: the last answer, the end of our half, and then what still comes is thrown
/// away for a while, for closing on unread input would reset the stream and take the answer back.
struct Farewell {
    stream: TcpStream,
    answer: Vec<u8>,
    written: usize,
    half: Half,
    /// How many bytes may still come.
    patience: usize,
    end_ms: u64,
}

/// Our half of the stream.
#[derive(PartialEq, Eq)]
enum Half {
    Open,
    Ended,
}

impl Farewell {
    fn new(stream: TcpStream, answer: Vec<u8>, now_ms: u64) -> Self {
        Self {
            stream,
            answer,
            written: 0,
            half: Half::Open,
            patience: 64 << 10,
            end_ms: now_ms + 1_000,
        }
    }

    fn turn(&mut self, buffer: &mut [u8]) -> io::Result<Turn> {
        while self.written < self.answer.len() {
            match unless_blocked(self.stream.write(&self.answer[self.written..]))? {
                Some(0) => return Err(ErrorKind::WriteZero.into()),
                Some(n) => self.written += n,
                None => return Ok(Turn::Wait),
            }
        }
        if self.half == Half::Open {
            self.stream.shutdown(Shutdown::Write)?;
            self.half = Half::Ended;
        }
        Ok(match unless_blocked(self.stream.read(buffer))? {
            None => Turn::Wait,
            Some(n) if n == 0 || n > self.patience => Turn::Closed,
            Some(n) => {
                self.patience -= n;
                Turn::Again
            }
        })
    }
}

/// `None` when the call would block. One that never blocks is never interrupted, either.
fn unless_blocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(n) => Ok(Some(n)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

//! One connection of a client, from `connect` to its last echo.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read as _, Write as _},
    net::SocketAddr,
    time::{Duration, Instant},
};

use mio::net::TcpStream;
use socket2::{Domain, Socket, Type};

use super::wire::{self, MESSAGE_LEN};

/// A socket, and what is still to come from it.
pub(crate) struct Connection {
    /// For the registry.
    pub(crate) stream: TcpStream,
    state: State,
    /// Bytes of what is not yet whole.
    received: Vec<u8>,
    /// When each message without an echo was meant to be sent.
    sent_at: VecDeque<Instant>,
    /// The next message that comes back.
    echoed: u32,
    is_pinged: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    ExpectConnected,
    ExpectHead,
    Open,
}

/// Who a connection is: it goes into its messages.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    /// The process.
    pub(crate) client: u32,
    /// The connection in it.
    pub(crate) connection: u32,
}

/// What a connection had to tell.
pub(crate) enum Heard {
    /// The handshake is over.
    Opened,
    /// A ping, which was answered.
    Ping(First),
    /// The right bytes, for a message that was meant to be sent then.
    Echo(Instant),
}

/// Whether something is the first of its kind on a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum First {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// Why a connection is of no more use.
pub(crate) enum Fault {
    /// It ended, or what came is no echo server's.
    Lost(String),
    /// An echo has other bytes than the message.
    Differs,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

impl Connection {
    /// Starts to connect from this address.
    pub(crate) fn connect(from: SocketAddr, to: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        // It ends by a reset: nothing waits for minutes, and its port is free for the next part.
        socket.set_linger(Some(Duration::ZERO))?;
        socket.bind(&from.into())?;
        match socket.connect(&to.into()) {
            Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => return Err(error),
            _ => {}
        }
        Ok(Self {
            stream: TcpStream::from_std(socket.into()),
            state: State::ExpectConnected,
            received: Vec::new(),
            sent_at: VecDeque::new(),
            echoed: 0,
            is_pinged: false,
        })
    }

    /// Sends its next message, which was meant to be sent at `intended`.
    pub(crate) fn send(
        &mut self,
        name: Name,
        intended: Instant,
        key: [u8; 4],
    ) -> Result<(), Fault> {
        let number = self.echoed.wrapping_add(self.sent_at.len() as u32);
        self.sent_at.push_back(intended);
        self.write(&wire::frame(wire::BINARY, &name.message(number), key))
    }

    /// Reads all there is, and answers pings.
    pub(crate) fn ready(
        &mut self,
        name: Name,
        buffer: &mut [u8],
        mut key: impl FnMut() -> [u8; 4],
        mut hear: impl FnMut(Heard),
    ) -> Result<(), Fault> {
        if self.state == State::ExpectConnected && !self.shake_hands()? {
            return Ok(());
        }
        loop {
            let read = match self.stream.read(buffer) {
                Ok(0) => return Err(Fault::Lost("closed by the server".to_owned())),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            self.received.extend_from_slice(&buffer[..read]);
            let received = std::mem::take(&mut self.received);
            let consumed = self.consume(name, &received, &mut key, &mut hear)?;
            // Mostly nothing remains, and nothing is kept.
            self.received = received[consumed..].to_vec();
        }
    }

    /// Whether the handshake is over.
    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Asks for the upgrade once TCP is connected.
    fn shake_hands(&mut self) -> Result<bool, Fault> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error.into());
        }
        match self.stream.peer_addr() {
            Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(false),
            other => other?,
        };
        self.write(REQUEST)?;
        self.state = State::ExpectHead;
        Ok(true)
    }

    fn consume(
        &mut self,
        name: Name,
        received: &[u8],
        key: &mut impl FnMut() -> [u8; 4],
        hear: &mut impl FnMut(Heard),
    ) -> Result<usize, Fault> {
        let mut at = 0;
        if self.state == State::ExpectHead {
            at = head_len(received)?;
            if at == 0 {
                return Ok(0);
            }
            self.state = State::Open;
            hear(Heard::Opened);
        }
        while let Some(frame) = wire::parse(&received[at..]).map_err(Fault::Lost)? {
            match frame.opcode {
                wire::PING => {
                    self.write(&wire::frame(wire::PONG, frame.payload, key()))?;
                    let first = match std::mem::replace(&mut self.is_pinged, true) {
                        true => First::No,
                        false => First::Yes,
                    };
                    hear(Heard::Ping(first));
                }
                wire::BINARY => {
                    let sent_at = self.sent_at.pop_front().ok_or(Fault::Differs)?;
                    if frame.payload != name.message(self.echoed) {
                        return Err(Fault::Differs);
                    }
                    self.echoed = self.echoed.wrapping_add(1);
                    hear(Heard::Echo(sent_at));
                }
                other => return Err(Fault::Lost(format!("a frame with opcode {other:x}"))),
            }
            at += frame.len;
        }
        Ok(at)
    }

    /// Some bytes into an almost empty socket: whatever stops them is a fault.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match self.stream.write(bytes)? {
            all if all == bytes.len() => Ok(()),
            _ => Err(Fault::Lost("its socket is full".to_owned())),
        }
    }
}

impl Name {
    fn message(self, number: u32) -> [u8; MESSAGE_LEN] {
        wire::message(self.client, self.connection, number)
    }
}

/// The length of a whole head that agrees to the upgrade; 0 if it is not whole.
fn head_len(received: &[u8]) -> Result<usize, Fault> {
    let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(0);
    };
    let head = String::from_utf8_lossy(&received[..end]);
    if !head.starts_with("HTTP/1.1 101 ") || !head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") {
        return Err(Fault::Lost(format!("no upgrade: {head}")));
    }
    Ok(end + 4)
}

/// The key and its answer are RFC 6455's own (§1.3).
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A `connect` that goes on without us.
const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();

//! One connection of the generator: it sends a script, and compares every byte that comes back.

use std::{
    error::Error,
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream as StdTcpStream,
};

use mio::net::TcpStream;

use crate::{
    process::PATIENCE,
    workload::{Replies, Script},
};

/// The key and its answer are RFC 6455's own (§1.3).
pub(crate) const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The request that opens a connection.
pub(crate) fn request(address: &str) -> Vec<u8> {
    format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// Whether this is the head that must come back, and nothing else.
pub(crate) fn is_upgrade(head: &[u8]) -> bool {
    head.starts_with(b"HTTP/1.1 101 ")
        && head.ends_with(b"\r\n\r\n")
        && head.windows(ACCEPT.len()).any(|part| part == ACCEPT)
}

/// What a connection speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    WebSocket,
    /// Nothing: the first bytes are the script's.
    Raw,
}

/// A connection in the middle of a script, or between two runs of it.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    /// Bytes of the script.
    sent: usize,
    received: Received,
}

/// All of any script: between two runs there is nothing to send, however writable the socket is.
const IDLE: usize = usize::MAX;

/// How far the replies have come.
#[derive(Default)]
struct Received {
    /// Bytes of the replies, or of the payload, that came and were right.
    compared: usize,
    /// Of a frame's header, where frames are to be told apart.
    header: Vec<u8>,
    /// Of the payload of the frame under way.
    remaining: usize,
    is_final: bool,
}

/// Whether all replies have come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Awaiting,
    Complete,
}

impl Client {
    /// Opens one and waits for it.
    pub(crate) fn open(address: &str, opening: Opening) -> Result<Self, Box<dyn Error>> {
        let mut stream = StdTcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        if opening == Opening::WebSocket {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(&request(address))?;
            let mut head = [0; 1024];
            let mut len = 0;
            while !head[..len].ends_with(b"\r\n\r\n") {
                match stream.read(&mut head[len..])? {
                    0 => return Err("closed in the handshake".into()),
                    read => len += read,
                }
            }
            if !is_upgrade(&head[..len]) {
                let head = head[..len].escape_ascii();
                return Err(format!("no upgrade: {head}").into());
            }
        }
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: TcpStream::from_std(stream),
            sent: IDLE,
            received: Received::default(),
        })
    }

    /// Runs the script again from its start.
    pub(crate) fn begin(&mut self, script: &Script) -> Result<(), Box<dyn Error>> {
        self.sent = 0;
        self.received.compared = 0;
        self.send(script)
    }

    /// Sends what the socket takes.
    pub(crate) fn send(&mut self, script: &Script) -> Result<(), Box<dyn Error>> {
        while self.sent < script.wire.len() {
            match self.stream.write(&script.wire[self.sent..]) {
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads until the socket is empty, or all has come.
    pub(crate) fn receive(
        &mut self,
        script: &Script,
        buffer: &mut [u8],
    ) -> Result<Progress, Box<dyn Error>> {
        loop {
            let read = match self.stream.read(buffer) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(Progress::Awaiting);
                }
                Err(error) => return Err(error.into()),
            };
            let progress = match &script.replies {
                Replies::Bytes(bytes) => self.received.compare(&buffer[..read], bytes)?,
                Replies::Message { opcode, payload } => {
                    self.received.frames(&buffer[..read], *opcode, payload)?
                }
            };
            if progress == Progress::Complete {
                return match self.sent < script.wire.len() {
                    true => Err("replies to what was not sent".into()),
                    false => {
                        self.sent = IDLE;
                        Ok(progress)
                    }
                };
            }
            // A short read has emptied the socket: what comes later makes an edge.
            if read < buffer.len() {
                return Ok(progress);
            }
        }
    }
}

impl Received {
    fn compare(&mut self, bytes: &[u8], expected: &[u8]) -> Result<Progress, &'static str> {
        let start = self.compared;
        self.compared += bytes.len();
        if expected.get(start..self.compared) != Some(bytes) {
            return Err("a reply differs from what was sent");
        }
        Ok(match self.compared == expected.len() {
            true => Progress::Complete,
            false => Progress::Awaiting,
        })
    }

    /// Of one message in whatever frames; control frames have no business here.
    fn frames(
        &mut self,
        mut bytes: &[u8],
        opcode: u8,
        payload: &[u8],
    ) -> Result<Progress, &'static str> {
        loop {
            if self.remaining == 0 && !self.read_header(&mut bytes, opcode)? {
                return Ok(Progress::Awaiting);
            }
            let (part, rest) = bytes.split_at(self.remaining.min(bytes.len()));
            self.remaining -= part.len();
            bytes = rest;
            self.compare(part, payload)?;
            if self.remaining > 0 {
                return Ok(Progress::Awaiting);
            }
            if self.is_final {
                return match (self.compared == payload.len(), bytes) {
                    (true, []) => Ok(Progress::Complete),
                    (true, _) => Err("more came back than was sent"),
                    (false, _) => Err("less came back than was sent"),
                };
            }
        }
    }

    /// Whether it is whole.
    fn read_header(&mut self, bytes: &mut &[u8], opcode: u8) -> Result<bool, &'static str> {
        while let Some((&byte, rest)) = bytes.split_first() {
            *bytes = rest;
            self.header.push(byte);
            let len = match *self.header.as_slice() {
                [_, len] if len < 126 => u64::from(len),
                [_, 126, high, low] => u64::from(u16::from_be_bytes([high, low])),
                [_, 127, ref len @ ..] => match len.try_into() {
                    Ok(len) => u64::from_be_bytes(len),
                    Err(_) => continue,
                },
                [_, 0x80..=0xff, ..] => return Err("a masked reply"),
                _ => continue,
            };
            let expected = if self.compared == 0 { opcode } else { 0 };
            if self.header[0] & 0x7f != expected {
                return Err("a frame of another message");
            }
            self.is_final = self.header[0] & 0x80 != 0;
            self.remaining = len as usize;
            self.header.clear();
            return Ok(true);
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: &[u8] = &[7; 300];

    /// Fed in two parts, cut at `cut`.
    fn feed(stream: &[u8], cut: usize) -> Result<Progress, &'static str> {
        let mut received = Received::default();
        if received.frames(&stream[..cut], 2, PAYLOAD)? == Progress::Complete {
            return Err("complete too early");
        }
        received.frames(&stream[cut..], 2, PAYLOAD)
    }

    /// Three fragments: of 100 bytes, of none, and the rest with a longer header.
    fn fragments() -> Vec<u8> {
        let (first, rest) = PAYLOAD.split_at(100);
        let last = [&[0x80, 126, 0, 200], rest].concat();
        [&[0x02, 100], first, &[0x00, 0], &last].concat()
    }

    #[test]
    fn fragments_are_one_message_wherever_they_are_cut() {
        let stream = fragments();
        for cut in 0..stream.len() {
            assert!(feed(&stream, cut) == Ok(Progress::Complete), "cut at {cut}");
        }
    }

    #[test]
    fn every_wrong_byte_is_found() {
        for at in 0..fragments().len() {
            let mut stream = fragments();
            stream[at] ^= 1;
            assert!(feed(&stream, 50) != Ok(Progress::Complete), "byte {at}");
        }
    }
}

//! Fake streams, and a peer that speaks in bytes.

#![expect(dead_code, reason = "each test file uses its part")]

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use ws_std::{Handle, HandlerError, Server, Stream, Transport, WebSocket};

/// What a read of a [`Script`] does.
#[derive(Clone, Debug)]
pub(crate) enum Read1 {
    Bytes(Vec<u8>),
    Error(ErrorKind),
    End,
}

/// A stream that does what it is told, and keeps what was written.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) reads: VecDeque<Read1>,
    /// What was written, one entry per call that took anything.
    pub(crate) writes: Vec<Vec<u8>>,
    /// How much one write takes.
    pub(crate) write_limit: Option<usize>,
    /// The call with this number fails so, reads and writes counted together; once.
    pub(crate) fault: Option<(usize, ErrorKind)>,
    pub(crate) calls: usize,
    pub(crate) read_timeouts: Vec<Option<Duration>>,
    pub(crate) is_shut_down: bool,
    /// How long a write takes.
    pub(crate) write_pause: Duration,
    /// Writes find no room.
    pub(crate) is_full: bool,
    /// Writes take nothing and say so without an error.
    pub(crate) takes_nothing: bool,
}

impl Script {
    pub(crate) fn new(reads: impl IntoIterator<Item = Read1>) -> Self {
        Self {
            reads: reads.into_iter().collect(),
            ..Self::default()
        }
    }

    pub(crate) fn bytes(bytes: &[u8]) -> Self {
        Self::new([Read1::Bytes(bytes.to_vec())])
    }

    pub(crate) fn written(&self) -> Vec<u8> {
        self.writes.concat()
    }

    fn call(&mut self) -> io::Result<()> {
        self.calls += 1;
        match self.fault {
            Some((at, kind)) if at + 1 == self.calls => Err(kind.into()),
            _ => Ok(()),
        }
    }
}

impl Read for Script {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.call()?;
        match self.reads.pop_front() {
            None => Err(ErrorKind::WouldBlock.into()),
            Some(Read1::End) => {
                self.reads.push_front(Read1::End);
                Ok(0)
            }
            Some(Read1::Error(kind)) => Err(kind.into()),
            Some(Read1::Bytes(mut bytes)) => {
                let n = bytes.len().min(to.len());
                to[..n].copy_from_slice(&bytes[..n]);
                if n < bytes.len() {
                    self.reads.push_front(Read1::Bytes(bytes.split_off(n)));
                }
                Ok(n)
            }
        }
    }
}

impl Write for Script {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.call()?;
        thread::sleep(self.write_pause);
        if self.is_full {
            return Err(ErrorKind::WouldBlock.into());
        }
        if self.takes_nothing {
            return Ok(0);
        }
        let n = from.len().min(self.write_limit.unwrap_or(usize::MAX));
        self.writes.push(from[..n].to_vec());
        Ok(n)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let all: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        self.write(&all)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Script {
    fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.read_timeouts.push(timeout);
        Ok(())
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.is_shut_down = true;
        Ok(())
    }
}

/// A frame of a client.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = head(first, 0x80, payload.len());
    frame.extend_from_slice(&key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(a, b)| a ^ b));
    frame
}

/// A frame of a server.
pub(crate) fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(first, 0, payload.len());
    frame.extend_from_slice(payload);
    frame
}

fn head(first: u8, mask: u8, len: usize) -> Vec<u8> {
    match len {
        0..=125 => vec![first, mask | len as u8],
        126..=65535 => [&[first, mask | 126][..], &(len as u16).to_be_bytes()].concat(),
        _ => [&[first, mask | 127][..], &(len as u64).to_be_bytes()].concat(),
    }
}

/// Takes the masks off the frames that a client wrote.
pub(crate) fn unmask(mut bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    while let [first, second, ..] = *bytes {
        assert_ne!(second & 0x80, 0, "a client masks");
        let (len, at) = match second & 0x7f {
            126 => (usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), 4),
            127 => (
                u64::from_be_bytes(bytes[2..10].try_into().expect("8 bytes")) as usize,
                10,
            ),
            len => (usize::from(len), 2),
        };
        let key = &bytes[at..at + 4];
        let payload = &bytes[at + 4..at + 4 + len];
        plain.extend(head(first, 0, len));
        plain.extend(payload.iter().zip(key.iter().cycle()).map(|(a, b)| a ^ b));
        bytes = &bytes[at + 4 + len..];
    }
    plain
}

pub(crate) const REQUEST: &[u8] = b"GET /chat?x=1 HTTP/1.1\r\nHost: server.example.com\r\n\
    Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A server on a thread; it is shut down when this is dropped.
pub(crate) struct Running {
    pub(crate) handle: Handle,
    pub(crate) address: SocketAddr,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Running {
    pub(crate) fn start<H>(server: Server, handler: H) -> Self
    where
        H: Fn(&mut WebSocket<Stream>) -> Result<(), HandlerError> + Send + Sync + 'static,
    {
        let handle = server.handle();
        let address = server.local_addr().expect("it is bound");
        let thread = thread::spawn(move || server.serve(handler));
        Self {
            handle,
            address,
            thread: Some(thread),
        }
    }

    pub(crate) fn echo() -> Self {
        Self::start(bind(), echo)
    }

    pub(crate) fn uri(&self) -> String {
        format!("ws://{}/chat?x=1", self.address)
    }

    pub(crate) fn tcp(&self) -> TcpStream {
        let tcp = TcpStream::connect(self.address).expect("the server listens");
        tcp.set_read_timeout(Some(PATIENCE))
            .expect("it is a socket");
        tcp
    }

    /// What the server answers to these bytes, up to the end.
    pub(crate) fn answer(&self, bytes: &[u8]) -> String {
        let mut tcp = self.tcp();
        // The answer may come before all is written.
        let _ = tcp.write_all(bytes);
        let mut answer = Vec::new();
        let _ = tcp.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Waits until all connections are gone.
    pub(crate) fn wait_idle(&self) {
        wait_until("no connections", || self.handle.connections() == 0);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.shutdown(PATIENCE);
        if let Some(thread) = self.thread.take() {
            let served = thread.join();
            if !thread::panicking() {
                served.expect("no panic").expect("no error");
            }
        }
    }
}

pub(crate) fn bind() -> Server {
    Server::bind("127.0.0.1:0").expect("a free port")
}

pub(crate) fn echo(socket: &mut WebSocket<Stream>) -> Result<(), HandlerError> {
    socket.for_each(|message, reply| reply.send(message))?;
    Ok(())
}

/// Waits until something holds, within bounds.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain for: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Runs something that must not take longer than [`PATIENCE`].
pub(crate) fn in_time<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(run()));
    receiver.recv_timeout(PATIENCE).expect("it ends in time")
}

/// The head of an HTTP message, read byte by byte.
pub(crate) fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("the head goes on");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("it is ASCII")
}

pub(crate) fn read_n(stream: &mut impl Read, n: usize) -> Vec<u8> {
    let mut bytes = vec![0; n];
    stream.read_exact(&mut bytes).expect("there is more");
    bytes
}

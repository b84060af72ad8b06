//! Listening sockets: accepting, and what to do when there are no descriptors left.

use std::{
    fs::File,
    io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write},
    net::{self, Shutdown, SocketAddr},
};

#[cfg(unix)]
use std::os::unix::net as unix;

#[cfg(unix)]
use mio::net::{UnixListener, UnixStream};
use mio::{
    Interest, Registry, Token,
    event::Source,
    net::{TcpListener, TcpStream},
};

use super::Stream;
#[cfg(feature = "chopped")]
use super::chopped::{Chopped, Chopping};
use crate::{accept::Peer, connection::ShortRead};

/// A listening socket of any kind.
#[derive(Debug)]
pub(crate) enum Listening {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
    #[cfg(feature = "chopped")]
    Chopped(Box<Chopping>),
}

/// A connection of any kind.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    #[cfg(feature = "chopped")]
    Chopped(Box<Chopped>),
}

/// A listening socket on a loop.
#[derive(Debug)]
pub(crate) struct Acceptor {
    pub(crate) listener: Listening,
    state: Accepting,
    /// Given up to accept one connection when there are no descriptors, which is then closed: its
    /// client is told, instead of waiting for a server that cannot answer.
    reserve: Option<File>,
    pause_ms: u64,
    pub(crate) to: To,
}

/// Whose an accepted connection becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    OwnLoop,
    /// Of each loop in turn.
    AllInTurn,
}

/// What is known of the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepting {
    /// There may be more to accept.
    Ready,
    /// It is to become ready.
    Wait,
    /// There are no descriptors; its readiness would not be told again.
    PausedUntil(u64),
}

/// From the shortest pause to the longest, while there are no descriptors.
const PAUSES_MS: (u64, u64) = (50, 500);

impl Acceptor {
    /// As many as one listener accepts in a turn of the loop.
    pub(crate) const AT_ONCE: usize = 64;

    pub(crate) fn new(listener: Listening, to: To) -> Self {
        Self {
            listener,
            state: Accepting::Ready,
            reserve: reserve(),
            pause_ms: PAUSES_MS.0,
            to,
        }
    }

    pub(crate) fn is_ready(&mut self) {
        if self.state == Accepting::Wait {
            self.state = Accepting::Ready;
        }
    }

    /// When it is to be asked again though the poll says nothing.
    pub(crate) fn next_timeout(&self) -> Option<u64> {
        match self.state {
            Accepting::Ready => Some(0),
            Accepting::PausedUntil(at) => Some(at),
            Accepting::Wait => None,
        }
    }

    /// The next connection that waits.
    pub(crate) fn accept(&mut self, now_ms: u64) -> Option<(Socket, Peer)> {
        match self.state {
            Accepting::Wait => return None,
            Accepting::PausedUntil(end) if now_ms < end => return None,
            _ => self.state = Accepting::Ready,
        }
        match self.listener.accept() {
            Ok(accepted) => {
                self.pause_ms = PAUSES_MS.0;
                return Some(accepted);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.state = Accepting::Wait,
            // There are no descriptors, or no memory: it would be the same again at once.
            Err(error) if is_scarcity(&error) => self.pause(now_ms, &error),
            // That one has gone, for any reason; the next may be there in the next turn.
            Err(_) => {}
        }
        None
    }

    fn pause(&mut self, now_ms: u64, error: &io::Error) {
        tracing::warn!(target: "ws::loop", %error, pause_ms = self.pause_ms, "accepting pauses");
        if self.reserve.take().is_some() {
            _ = self.listener.accept();
        }
        self.reserve = reserve();
        self.state = Accepting::PausedUntil(now_ms.saturating_add(self.pause_ms));
        self.pause_ms = (2 * self.pause_ms).min(PAUSES_MS.1);
    }
}

#[cfg(unix)]
fn is_scarcity(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let scarcities = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| scarcities.contains(&errno))
}

#[cfg(not(unix))]
fn is_scarcity(_: &io::Error) -> bool {
    true
}

fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

impl Listening {
    pub(crate) fn tcp(listener: net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        // Where accepted sockets inherit it, that is a system call less for each.
        socket2::SockRef::from(&listener).set_tcp_nodelay(true)?;
        Ok(Self::Tcp(TcpListener::from_std(listener)))
    }

    #[cfg(unix)]
    pub(crate) fn unix(listener: unix::UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self::Unix(UnixListener::from_std(listener)))
    }

    /// Its connections cut what they read and write.
    #[cfg(feature = "chopped")]
    pub(crate) fn chopped(self, seed: u64) -> Self {
        Self::Chopped(Box::new(Chopping::new(self, seed)))
    }

    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            Self::Unix(_) => None,
            #[cfg(feature = "chopped")]
            Self::Chopped(chopping) => chopping.listener.local_addr(),
        }
    }

    pub(super) fn accept(&mut self) -> io::Result<(Socket, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept()?;
                if !cfg!(target_os = "linux") {
                    // It fails where the peer has gone, which will show.
                    _ = stream.set_nodelay(true);
                }
                Ok((Socket::Tcp(stream), Peer::Internet(address)))
            }
            #[cfg(unix)]
            Self::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                Ok((Socket::Unix(stream), Peer::Unix))
            }
            #[cfg(feature = "chopped")]
            Self::Chopped(chopping) => chopping.accept(),
        }
    }
}

/// A listening socket over TCP, as servers want it. With [`Port::Shared`] other sockets may listen on
/// the same port, of this process and of others of the same user.
pub(crate) fn bind(address: SocketAddr, port: Port) -> io::Result<net::TcpListener> {
    const BACKLOG: i32 = 4096;
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    if port == Port::Shared {
        socket.set_reuse_port(true)?;
    }
    _ = port;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether a port is for one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    Own,
    Shared,
}

impl Stream for Socket {
    const SHORT_READ: ShortRead = ShortRead::IsAll;

    fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            #[cfg(unix)]
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
            #[cfg(feature = "chopped")]
            Self::Chopped(chopped) => chopped.socket.shutdown_write(),
        }
    }
}

/// The same call on whichever it is.
macro_rules! each {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self {
            Self::Tcp($stream) => $call,
            #[cfg(unix)]
            Self::Unix($stream) => $call,
            #[cfg(feature = "chopped")]
            Self::Chopped($stream) => $call,
        }
    };
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        each!(self, stream => stream.read(buffer))
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        each!(self, stream => stream.read_vectored(buffers))
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        each!(self, stream => stream.write(bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        each!(self, stream => stream.write_vectored(slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Socket {
    fn register(&mut self, registry: &Registry, token: Token, both: Interest) -> io::Result<()> {
        each!(self, stream => stream.register(registry, token, both))
    }

    fn reregister(&mut self, registry: &Registry, token: Token, both: Interest) -> io::Result<()> {
        each!(self, stream => stream.reregister(registry, token, both))
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        each!(self, stream => stream.deregister(registry))
    }
}

impl Source for Listening {
    fn register(&mut self, registry: &Registry, token: Token, both: Interest) -> io::Result<()> {
        each!(self, listener => listener.register(registry, token, both))
    }

    fn reregister(&mut self, registry: &Registry, token: Token, both: Interest) -> io::Result<()> {
        each!(self, listener => listener.reregister(registry, token, both))
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        each!(self, listener => listener.deregister(registry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acceptor() -> (Acceptor, SocketAddr) {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = bind(any, Port::Own).expect("a port");
        let address = listener.local_addr().expect("it has an address");
        let listening = Listening::tcp(listener).expect("a socket");
        (Acceptor::new(listening, To::OwnLoop), address)
    }

    /// As without descriptors.
    fn pause(acceptor: &mut Acceptor, now_ms: u64) -> Option<u64> {
        acceptor.pause(now_ms, &io::Error::other("no descriptors"));
        acceptor.next_timeout()
    }

    #[test]
    fn pauses_grow_until_somebody_is_accepted() {
        let (mut acceptor, address) = acceptor();
        let mut now_ms = 1_000;
        for pause_ms in [50, 100, 200, 400, 500, 500] {
            assert_eq!(pause(&mut acceptor, now_ms), Some(now_ms + pause_ms));
            now_ms += pause_ms;
        }
        // Nobody is accepted in a pause, whatever the poll says.
        let _client = net::TcpStream::connect(address).expect("there is a backlog");
        assert_eq!(pause(&mut acceptor, now_ms), Some(now_ms + 500));
        let _other = net::TcpStream::connect(address).expect("there is a backlog");
        acceptor.is_ready();
        assert!(acceptor.accept(now_ms + 499).is_none());
        assert!(acceptor.accept(now_ms + 500).is_some());
        assert_eq!(acceptor.next_timeout(), Some(0), "there may be more");
        assert!(acceptor.accept(now_ms + 500).is_none());
        assert_eq!(acceptor.next_timeout(), None);
        assert_eq!(pause(&mut acceptor, now_ms), Some(now_ms + 50));
    }

    /// The descriptor in reserve is for one who would wait in vain.
    #[test]
    fn one_is_turned_away_for_each_pause() {
        let (mut acceptor, address) = acceptor();
        let mut client = net::TcpStream::connect(address).expect("there is a backlog");
        pause(&mut acceptor, 0);
        assert_eq!(client.read(&mut [0]).ok(), Some(0));
        assert!(acceptor.reserve.is_some(), "and there is one for the next");
    }
}

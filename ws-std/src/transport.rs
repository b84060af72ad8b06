//! The byte streams a WebSocket runs over: [`Transport`], and [`Stream`] for those of this crate.

use std::{
    fmt,
    io::{self, IoSlice, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// A byte stream in both directions whose calls block, and whose reads and writes can be told how
/// long.
///
/// The methods have defaults that do nothing, so that any `Read + Write` becomes a transport in one
/// line. What is lost then is what they are for: without a read timeout a silent peer is noticed by
/// nobody, and [`recv_timeout`](crate::WebSocket::recv_timeout) waits as long as a read does.
///
/// ```
/// use std::io::{Cursor, Read, Result, Write};
///
/// struct Tape(Cursor<Vec<u8>>);
///
/// impl Read for Tape {
///     fn read(&mut self, to: &mut [u8]) -> Result<usize> {
///         self.0.read(to)
///     }
/// }
///
/// impl Write for Tape {
///     fn write(&mut self, from: &[u8]) -> Result<usize> {
///         Ok(from.len())
///     }
///
///     fn flush(&mut self) -> Result<()> {
///         Ok(())
///     }
/// }
///
/// impl ws_std::Transport for Tape {}
/// ```
pub trait Transport: Read + Write {
    /// Bounds each read from now on; a read that takes longer fails with `WouldBlock` or
    /// `TimedOut`. `None` is for ever.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    fn set_read_timeout(&mut self, _timeout: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    /// Bounds each write from now on, as [`set_read_timeout`](Self::set_read_timeout) does reads.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    fn set_write_timeout(&mut self, _timeout: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    /// Ends this direction of the stream: the peer reads to the end of what was written.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Whether an end of input that was just read is this end's own doing: another thread wants the
    /// connection to close, and woke the one that was reading.
    fn is_stopping(&self) -> bool {
        false
    }
}

impl<T: Transport + ?Sized> Transport for &mut T {
    fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        (**self).set_read_timeout(timeout)
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        (**self).set_write_timeout(timeout)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        (**self).shutdown_write()
    }

    fn is_stopping(&self) -> bool {
        (**self).is_stopping()
    }
}

impl Transport for TcpStream {
    fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        TcpStream::set_read_timeout(self, timeout)
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        TcpStream::set_write_timeout(self, timeout)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

#[cfg(unix)]
impl Transport for std::os::unix::net::UnixStream {
    fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        std::os::unix::net::UnixStream::set_read_timeout(self, timeout)
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        std::os::unix::net::UnixStream::set_write_timeout(self, timeout)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// The stream of a connection that [`connect`](crate::connect) or a [`Server`](crate::Server)
/// made: TCP.
///
/// It is opaque so that other streams, TLS first, can come without a new type for every caller.
pub struct Stream {
    tcp: Arc<TcpStream>,
    stop: Arc<Stop>,
}

/// How a server's other threads speak to the one that owns a connection.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    stopping: AtomicBool,
    forced: AtomicBool,
}

impl Stream {
    pub(crate) fn new(tcp: TcpStream) -> Self {
        Self {
            tcp: Arc::new(tcp),
            stop: Arc::default(),
        }
    }

    /// The address of the peer.
    ///
    /// # Errors
    ///
    /// Those of the socket, such as that the peer has gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.peer_addr()
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// Those of the socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// The socket, for its options.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    pub(crate) fn remote(&self) -> Remote {
        Remote {
            tcp: Arc::clone(&self.tcp),
            stop: Arc::clone(&self.stop),
        }
    }
}

impl Read for Stream {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self.tcp).read(buffer)
    }
}

impl Write for Stream {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.tcp).write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self.tcp).write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Stream {
    fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.tcp.set_read_timeout(timeout)
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.tcp.set_write_timeout(timeout)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.tcp.shutdown(Shutdown::Write)
    }

    fn is_stopping(&self) -> bool {
        self.stop.stopping.load(Ordering::Acquire)
            && !self.stop.forced.load(Ordering::Acquire)
            // A peer that went just before resets the connection when it is told that we go; reads
            // do not show it, because for them the end came first.
            && self.tcp.peer_addr().is_ok()
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tcp.fmt(f)
    }
}

/// A hold on a connection from outside its thread.
pub(crate) struct Remote {
    tcp: Arc<TcpStream>,
    stop: Arc<Stop>,
}

impl Remote {
    /// Wakes a thread that reads, and lets it close in order: its direction stays open.
    ///
    /// Ending the reading half is the one wake-up that costs the reader nothing until it happens: a
    /// second descriptor to poll would double its system calls.
    pub(crate) fn stop(&self) {
        self.stop.stopping.store(true, Ordering::Release);
        let _ = self.tcp.shutdown(Shutdown::Read);
    }

    /// Writes a last word that finds room in any socket, for a connection without a thread.
    pub(crate) fn refuse(&self, answer: &[u8]) {
        let _ = self.tcp.set_nonblocking(true);
        let _ = (&*self.tcp).write_all(answer);
        let _ = self.tcp.shutdown(Shutdown::Write);
    }

    /// Ends both directions at once.
    pub(crate) fn force(&self) {
        self.stop.stopping.store(true, Ordering::Release);
        self.stop.forced.store(true, Ordering::Release);
        let _ = self.tcp.shutdown(Shutdown::Both);
    }
}

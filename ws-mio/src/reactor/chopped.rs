//! Sockets which cut every read and write at random, for tests (feature `chopped`).
//!
//! It looks as if the network had brought, or taken, only so much by now: what is left becomes
//! ready later and by an edge of its own, for which the socket registers itself again. So the loops
//! run the code that they run in earnest, where a short read means that nothing is left, and hang
//! if they forget what an edge told.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};

use chacha20::{
    ChaCha12Rng,
    rand_core::{Rng, SeedableRng},
};
use mio::{Interest, Registry, Token, event::Source};

use super::listener::{Listening, Socket};
use crate::accept::Peer;

/// A listening socket whose connections are [`Chopped`], each in its own way.
#[derive(Debug)]
pub(crate) struct Chopping {
    pub(super) listener: Listening,
    seeds: ChaCha12Rng,
}

impl Chopping {
    pub(super) fn new(listener: Listening, seed: u64) -> Self {
        Self {
            listener,
            seeds: ChaCha12Rng::seed_from_u64(seed),
        }
    }

    pub(super) fn accept(&mut self) -> io::Result<(Socket, Peer)> {
        let (socket, peer) = self.listener.accept()?;
        let chopped = Chopped {
            socket,
            random: ChaCha12Rng::from_rng(&mut self.seeds),
            home: None,
        };
        Ok((Socket::Chopped(Box::new(chopped)), peer))
    }
}

/// A connection which cuts every read and write.
#[derive(Debug)]
pub(crate) struct Chopped {
    pub(super) socket: Socket,
    random: ChaCha12Rng,
    home: Option<Home>,
}

/// Where it is registered.
#[derive(Debug)]
struct Home {
    registry: Registry,
    token: Token,
    interest: Interest,
}

impl Chopped {
    /// How many bytes the next call moves at most; `WouldBlock` once in eight times.
    fn chop(&mut self) -> io::Result<usize> {
        let random = self.random.next_u64();
        let (kind, size) = (random % 8, (random >> 32) as usize);
        Ok(match kind {
            0 => {
                self.tell_again()?;
                return Err(ErrorKind::WouldBlock.into());
            }
            1 => 1 + size % (128 << 10),
            _ => 1 + size % 64,
        })
    }

    /// What is ready now is told by the next poll.
    fn tell_again(&mut self) -> io::Result<()> {
        match &self.home {
            Some(home) => self
                .socket
                .reregister(&home.registry, home.token, home.interest),
            None => Ok(()),
        }
    }
}

impl Read for Chopped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_vectored(&mut [IoSliceMut::new(buffer)])
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let most = self.chop()?;
        let mut left = most;
        let mut cut: Vec<_> = buffers
            .iter_mut()
            .map(|buffer| {
                let len = buffer.len().min(left);
                left -= len;
                IoSliceMut::new(&mut buffer[..len])
            })
            .collect();
        let n = self.socket.read_vectored(&mut cut)?;
        // Otherwise it was the socket that had no more, or the buffers.
        if n == most {
            self.tell_again()?;
        }
        Ok(n)
    }
}

impl Write for Chopped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = self.chop()?;
        self.socket.write(&bytes[..bytes.len().min(most)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut left = self.chop()?;
        let cut: Vec<_> = slices
            .iter()
            .map(|slice| {
                let len = slice.len().min(left);
                left -= len;
                IoSlice::new(&slice[..len])
            })
            .collect();
        self.socket.write_vectored(&cut)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Chopped {
    fn register(&mut self, registry: &Registry, token: Token, both: Interest) -> io::Result<()> {
        self.home = Some(Home {
            registry: registry.try_clone()?,
            token,
            interest: both,
        });
        self.socket.register(registry, token, both)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, both: Interest) -> io::Result<()> {
        self.socket.reregister(registry, token, both)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.home = None;
        self.socket.deregister(registry)
    }
}

impl Source for Chopping {
    fn register(&mut self, registry: &Registry, token: Token, both: Interest) -> io::Result<()> {
        self.listener.register(registry, token, both)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, both: Interest) -> io::Result<()> {
        self.listener.reregister(registry, token, both)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.listener.deregister(registry)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::time::Duration;

    use mio::{Events, Poll, net::UnixStream};

    use super::*;

    /// As the loops do it: a read that brings less than it might is the last until the next edge.
    #[test]
    fn edges_bring_all_that_was_cut() {
        const LEN: usize = 64 << 10;
        let (near, mut far) = UnixStream::pair().expect("two sockets");
        far.write_all(&[7; LEN]).expect("it has room");
        drop(far);
        let mut chopped = Chopped {
            socket: Socket::Unix(near),
            random: ChaCha12Rng::seed_from_u64(1),
            home: None,
        };
        let mut poll = Poll::new().expect("a poll");
        let both = Interest::READABLE | Interest::WRITABLE;
        let registered = chopped.register(poll.registry(), Token(0), both);
        registered.expect("registered");
        let mut events = Events::with_capacity(1);
        let (mut received, mut edges, mut buffer) = (0, 0, [0; LEN]);
        while received < LEN {
            let polled = poll.poll(&mut events, Some(Duration::from_secs(10)));
            polled.expect("polled");
            assert!(!events.is_empty(), "{} bytes are forgotten", LEN - received);
            edges += 1;
            match chopped.read(&mut buffer) {
                Ok(n) => received += n,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        assert!(edges > 2, "it came in {edges} pieces");
    }
}

//! A stream whose bytes end the server.

use std::{
    io::{self, Read},
    os::unix::net,
};

use mio::{Interest, Registry, Token, net::UnixStream};

use crate::{config::Shutdown, handle::Handle};

/// It rings on one loop, and all are told.
#[derive(Debug)]
pub(crate) struct Bell {
    stream: UnixStream,
    plan: Shutdown,
    handle: Handle,
}

impl Bell {
    /// The stream is non-blocking.
    pub(crate) fn new(stream: net::UnixStream, plan: Shutdown, handle: Handle) -> Self {
        Self {
            stream: UnixStream::from_std(stream),
            plan,
            handle,
        }
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.stream, token, Interest::READABLE)
    }

    /// Its other end being closed says nothing.
    pub(crate) fn listen(&mut self) {
        let mut bytes = [0; 16];
        while let Ok(n @ 1..) = self.stream.read(&mut bytes) {
            for _ in 0..n {
                self.handle.shutdown(self.plan);
            }
        }
    }
}

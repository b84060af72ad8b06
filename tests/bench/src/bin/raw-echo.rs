//! The floor under streaming: sends every byte back as it came, over mio, and knows nothing of
//! WebSocket.
//!
//! One buffer for all connections, one write per read; what the socket does not take is kept, and
//! nothing is read meanwhile.

use std::io::{self, ErrorKind, Read as _, Write as _};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use slab::Slab;

/// As much as a generous read takes.
const BUFFER: usize = 128 << 10;
const LISTENER: Token = Token(usize::MAX);

struct Connection {
    stream: TcpStream,
    /// `backlog[written..]` waits for room.
    backlog: Vec<u8>,
    written: usize,
}

fn main() -> io::Result<()> {
    let mut listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address"))?;
    // Linux hands it on to the accepted sockets.
    rustix::net::sockopt::set_tcp_nodelay(&listener, true)?;
    let mut poll = Poll::new()?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listening on ws://{}/", listener.local_addr()?);
    io::stdout().flush()?;

    let mut connections = Slab::new();
    let mut buffer = vec![0; BUFFER];
    let mut events = Events::with_capacity(1024);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    let vacant = connections.vacant_entry();
                    let both = Interest::READABLE | Interest::WRITABLE;
                    poll.registry()
                        .register(&mut stream, Token(vacant.key()), both)?;
                    vacant.insert(Connection {
                        stream,
                        backlog: Vec::new(),
                        written: 0,
                    });
                }
                continue;
            }
            let Token(key) = event.token();
            if let Some(connection) = connections.get_mut(key)
                && connection.turn(&mut buffer, event.is_readable()).is_err()
            {
                connections.remove(key);
            }
        }
    }
}

impl Connection {
    /// Echoes until the socket is empty or full. Every error ends the connection, its end too.
    fn turn(&mut self, buffer: &mut [u8], mut is_readable: bool) -> io::Result<()> {
        if self.written < self.backlog.len() {
            let unwritten = &self.backlog[self.written..];
            self.written += would_block_is_0(self.stream.write(unwritten))?;
            if self.written < self.backlog.len() {
                return Ok(());
            }
            self.backlog.clear();
            self.written = 0;
            // The edge may have come while nobody read.
            is_readable = true;
        }
        while is_readable {
            let read = match self.stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                result => result?,
            };
            let written = would_block_is_0(self.stream.write(&buffer[..read]))?;
            self.backlog.extend_from_slice(&buffer[written..read]);
            is_readable = read == buffer.len() && self.backlog.is_empty();
        }
        Ok(())
    }
}

fn would_block_is_0(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

//! tungstenite on one event loop: its blocking API over mio's non-blocking sockets, as the docs of
//! its `server` module allow.
//!
//! A turn reads until the socket would block, and then flushes: the replies to all that came leave
//! together. While a write would block nothing is read. The UTF-8 of Text messages is checked.

use std::io;

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use slab::Slab;
use tungstenite::{
    Error, HandshakeError, Message, Result, ServerHandshake, WebSocket,
    handshake::{MidHandshake, server::NoCallback},
    protocol::WebSocketConfig,
};
use ws_bench::serving::{self, Arguments};

const LISTENER: Token = Token(usize::MAX);

fn main() -> io::Result<()> {
    let arguments = Arguments::from_env()?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(arguments.max_message))
        .max_frame_size(Some(arguments.max_message));
    let mut listener = TcpListener::bind(arguments.listen)?;
    let mut poll = Poll::new()?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    serving::announce(listener.local_addr()?)?;

    let mut events = Events::with_capacity(1024);
    let mut connections = Slab::new();
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            match event.token() {
                LISTENER => accept_all(&listener, &poll, config, &mut connections)?,
                Token(key) => turn(key, &mut connections),
            }
        }
    }
}

fn accept_all(
    listener: &TcpListener,
    poll: &Poll,
    config: WebSocketConfig,
    connections: &mut Connections,
) -> io::Result<()> {
    loop {
        let (mut stream, _) = match listener.accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            accepted => accepted?,
        };
        stream.set_nodelay(true)?;
        let entry = connections.vacant_entry();
        // mio tells of changes only, and tells at once how the socket is: no turn is needed here.
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry()
            .register(&mut stream, Token(entry.key()), interest)?;
        let handshake = ServerHandshake::start(stream, NoCallback, Some(config));
        entry.insert(Some(Connection::Handshaking(Box::new(handshake))));
    }
}

fn turn(key: usize, connections: &mut Connections) {
    if let Some(connection) = connections.get_mut(key) {
        *connection = connection.take().and_then(Connection::turn);
        if connection.is_none() {
            connections.remove(key);
        }
    }
}

/// Each is taken out for its turn.
type Connections = Slab<Option<Connection>>;

/// Boxed, because each turn moves it.
enum Connection {
    Handshaking(Box<MidHandshake<ServerHandshake<TcpStream, NoCallback>>>),
    Open(Box<WebSocket<TcpStream>>),
}

impl Connection {
    /// Goes as far as the socket does without blocking; none when the connection is over.
    fn turn(self) -> Option<Self> {
        let mut websocket = match self {
            Self::Open(websocket) => websocket,
            Self::Handshaking(handshake) => match handshake.handshake() {
                Ok(websocket) => Box::new(websocket),
                Err(HandshakeError::Interrupted(handshake)) => {
                    return Some(Self::Handshaking(Box::new(handshake)));
                }
                Err(HandshakeError::Failure(_)) => return None,
            },
        };
        let result = echo(&mut websocket);
        (result.is_ok() || is_blocked(&result)).then_some(Self::Open(websocket))
    }
}

/// Echoes all that can be read. A message whose write would block is queued nevertheless.
fn echo(websocket: &mut WebSocket<TcpStream>) -> Result<()> {
    websocket.flush()?;
    loop {
        let message = websocket.read();
        if is_blocked(&message) {
            return websocket.flush();
        }
        if let message @ (Message::Text(_) | Message::Binary(_)) = message? {
            websocket.write(message)?;
        }
    }
}

fn is_blocked<T>(result: &Result<T>) -> bool {
    matches!(result, Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock)
}
